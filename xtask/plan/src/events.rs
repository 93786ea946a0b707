//! What a verb tells while it works, as data: one closed list.
//!
//! Verbs tell events to a host, and the host decides how they look. Words are made from them in one
//! place, [`words`]. `--json` writes them as they are, a line each, with [`SCHEMA`]; docs/events.md
//! has an example of each, which a test keeps equal to this file.

mod facts;
pub mod words;

pub use facts::{Doing, Fact, Finding, NotRun};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::status::{Happened, ResourceStatus};

/// Version of the events: raised when a reader of the former one could misunderstand them.
pub const SCHEMA: u32 = 1;

/// Something that a verb tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The verb has begun.
    Began {
        /// The verb.
        verb: String,
    },
    /// What will be done, before the first step of it.
    Planned {
        /// The plan, as `--dry-run` gives it.
        plan: Value,
    },
    /// A step has begun and is waited for.
    StepStarted {
        /// The step.
        step: Step,
        /// What it is about: a file, an artifact, a stack.
        #[serde(skip_serializing_if = "Option::is_none")]
        of: Option<String>,
        /// How long it took the last time.
        #[serde(skip_serializing_if = "Option::is_none")]
        expected_seconds: Option<f64>,
    },
    /// A step is on its way.
    Progress {
        /// The step.
        step: Step,
        /// Units that are done.
        done: u64,
        /// Units that there are, as far as is known.
        total: u64,
        /// What is counted.
        unit: Unit,
    },
    /// A step is done.
    StepDone {
        /// How long it took.
        seconds: f64,
        /// What was done.
        #[serde(flatten)]
        did: Did,
    },
    /// A step ended without having done what it should.
    StepFailed {
        /// The step.
        step: Step,
        /// How long it took.
        seconds: f64,
    },
    /// Something happened to a resource of the stack.
    Resource(Resource),
    /// Something worth knowing.
    Fact(Fact),
    /// Something that somebody has to look at.
    Finding(Finding),
    /// A question, and how it was answered.
    Question {
        /// The question.
        question: String,
        /// Whether the answer was yes.
        agreed: bool,
        /// Who answered.
        by: Answerer,
    },
    /// What the verb was run for; at most one.
    Result {
        /// Its shape depends on the verb.
        result: Value,
    },
    /// Why the verb did not come to its end.
    Error {
        /// What happened.
        message: String,
        /// Why, outermost first.
        causes: Vec<String>,
        /// What to do.
        hints: Vec<String>,
    },
    /// The last event.
    Ended {
        /// The verb.
        verb: String,
        /// How it ended.
        outcome: Outcome,
        /// The process's exit code.
        exit_code: u8,
        /// Time since the beginning.
        seconds: f64,
    },
}

/// How a verb ended. The numbers are documented in docs/cli.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what was asked.
    Done,
    /// It did not come to its end.
    Error,
    /// A check found something: a failed smoke test, something left behind.
    Found,
    /// A person must agree first.
    NeedsApproval,
    /// The deployment failed and was rolled back.
    RolledBack,
    /// The stack is in a state that needs a decision.
    Wedged,
}

impl Outcome {
    /// The exit code. 2 is clap's for wrong usage, 130 the shell's for Ctrl-C.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Found => 3,
            Self::NeedsApproval => 4,
            Self::RolledBack => 5,
            Self::Wedged => 6,
        }
    }
}

/// Who answered a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answerer {
    /// `--yes`.
    Option,
    /// Somebody at the terminal.
    Person,
    /// Nobody is there, which counts as no.
    Nobody,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Units of a training's work, all alike.
    Work,
    /// Bytes of an upload.
    Bytes,
    /// Resources of a stack.
    Resources,
    /// Checks of a smoke test.
    Checks,
}

macro_rules! steps {
    ($(
        $(#[$doc:meta])*
        $step:ident $({ $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })?
    ),* $(,)?) => {
        /// A step of a verb.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Step { $($(#[$doc])* $step),* }

        /// What a step has done.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "step", rename_all = "kebab-case")]
        pub enum Did { $($(#[$doc])* $step $({ $($(#[$field_doc])* $field: $type),* })?),* }

        impl Did {
            /// The step.
            pub fn step(&self) -> Step {
                match self { $(Self::$step { .. } => Step::$step),* }
            }
        }

        #[cfg(test)]
        impl Step {
            const ALL: &'static [Self] = &[$(Self::$step),*];
        }
    };
}

steps! {
    /// Build the programs.
    Build,
    /// Start the embedded cloud.
    StartCloud {
        /// Where it answers.
        address: String,
    },
    /// Look at files of which nothing is known.
    Look {
        /// Files.
        files: usize,
        /// Their records.
        records: u64,
    },
    /// Write a new pipeline.
    WritePipeline {
        /// Its folder.
        folder: String,
    },
    /// Clean the data on this machine.
    Clean {
        /// Rows of the clean table.
        clean_rows: u64,
        /// Rows of the raw data.
        raw_rows: u64,
    },
    /// Train on this machine.
    Train {
        /// Version of the model.
        version: String,
    },
    /// Compare the families of models on this machine.
    Evaluate {
        /// Families.
        families: usize,
        /// Of what, and how many.
        cases: usize,
        /// What they are called.
        of: String,
    },
    /// Look for what is unusual, or for groups, on this machine.
    LookFor {
        /// Name of the task.
        task: String,
        /// Rows or series that were looked at.
        looked_at: usize,
        /// What was found, in words.
        found: String,
    },
    /// Plant faults, and look whether they are found.
    Plant {
        /// How many.
        faults: usize,
        /// Of these such that were found.
        found: usize,
    },
    /// Ask Athena what the tables hold.
    Profile {
        /// Tables.
        tables: usize,
        /// Statements.
        statements: usize,
        /// Bytes that Athena read for them.
        scanned_bytes: u64,
    },
    /// Look at what is there.
    Observe,
    /// Make a bucket.
    CreateBucket {
        /// The bucket.
        bucket: String,
    },
    /// Make settings of a bucket.
    CompleteBucket {
        /// The bucket.
        bucket: String,
        /// The settings, for people.
        settings: Vec<String>,
    },
    /// Upload an artifact.
    Upload {
        /// What it is, for people.
        what: String,
        /// Its key.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// Upload the raw data.
    UploadData {
        /// The bucket.
        bucket: String,
        /// The size.
        bytes: usize,
    },
    /// Put a model into service.
    SetModel {
        /// Its version.
        version: String,
    },
    /// Delete all objects of a bucket.
    EmptyBucket {
        /// The bucket.
        bucket: String,
        /// Objects that were deleted.
        objects: u64,
    },
    /// Delete a bucket.
    DeleteBucket {
        /// The bucket.
        bucket: String,
    },
    /// Wait for somebody else's operation.
    AwaitStack,
    /// Let CloudFormation compare the template with the stack.
    CompareStack {
        /// Resources that will change.
        changes: usize,
    },
    /// Make the stack.
    CreateStack {
        /// The stack.
        stack: String,
        /// Resources that were made, changed or deleted.
        resources: u64,
    },
    /// Change the stack.
    UpdateStack {
        /// The stack.
        stack: String,
        /// Resources that were made, changed or deleted.
        resources: u64,
    },
    /// Delete the stack.
    DeleteStack {
        /// The stack.
        stack: String,
        /// Resources that were deleted.
        resources: u64,
    },
    /// Continue a rollback that failed.
    ContinueRollback,
    /// Delete network interfaces that Lambda left.
    FreeNetwork {
        /// Interfaces that were deleted.
        interfaces: u64,
    },
    /// Delete builds that are superseded.
    DeleteBuilds {
        /// Builds that were deleted.
        builds: usize,
    },
    /// Stop executions.
    StopExecutions {
        /// Executions that were stopped.
        executions: usize,
    },
    /// Run the pipeline.
    RunPipeline {
        /// Series that were forecast, or rows that were scored.
        answers: u64,
        /// Series that were left out; none of rows.
        left_out: Option<u64>,
    },
    /// Go on with a run that did not succeed.
    Redrive {
        /// Series that were forecast, or rows that were scored.
        answers: u64,
        /// Series that were left out; none of rows.
        left_out: Option<u64>,
    },
    /// Run the pipeline with training.
    Retrain {
        /// Whether the new model is in service.
        promoted: bool,
        /// What the training says.
        summary: String,
        /// Version of the model in service.
        in_service: String,
    },
    /// Look for drift.
    CheckDrift {
        /// Findings.
        findings: usize,
    },
    /// Carry out one check of a smoke test.
    Check {
        /// Its name.
        check: String,
        /// What it saw, for people.
        seen: String,
    },
    /// Test the deployed pipeline.
    SmokeTest {
        /// Checks that passed.
        checks: usize,
    },
    /// Look for what a deletion left.
    FindLeftovers,
    /// Stop the embedded cloud.
    StopCloud,
    /// Deploy.
    Deploy {
        /// The stack.
        stack: String,
        /// The environment.
        environment: String,
        /// Whether the stack was changed.
        changed: bool,
        /// Version of the model.
        version: String,
        /// How well it did in its trials, for people.
        score: String,
    },
    /// Destroy.
    Destroy {
        /// The stack.
        stack: String,
    },
    /// Ask for one forecast.
    Predict,
    /// Ask Athena.
    Query,
}

/// Something that happened to a resource of the stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Name in the template.
    pub logical_id: String,
    /// Resource type.
    pub resource_type: String,
    /// What happened.
    pub happened: Happened,
    /// CloudFormation's word; absent when this program does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ResourceStatus>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_named_as_what_was_begun() {
        for &step in Step::ALL {
            let name = serde_json::to_value(step).expect("JSON");
            assert!(name.as_str().is_some_and(|n| !n.contains('_')), "{name}");
        }
        let did = Did::Upload { what: "x".into(), key: "k".into(), bytes: 1 };
        let event = Event::StepDone { seconds: 0.5, did: did.clone() };
        let json = serde_json::to_value(&event).expect("JSON");
        assert_eq!(json["step"], serde_json::to_value(did.step()).expect("JSON"));
        assert_eq!(serde_json::from_value::<Event>(json).expect("an event"), event);
    }
}
