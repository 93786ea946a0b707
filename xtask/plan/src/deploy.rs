//! A deployment as data: what was observed, what is wanted, and the steps from one to the other.
//!
//! `plan` prints a [`DeployPlan`], `deploy` executes the same value.

use std::collections::BTreeSet;
use std::fmt;

use crate::status::{StackStatus, StackStep};

/// What is there, gathered once by reading calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the artifacts bucket exists.
    pub artifacts_bucket_exists: bool,
    /// Keys in the artifacts bucket.
    pub artifact_keys: BTreeSet<String>,
    /// The model in service.
    pub model: Option<ObservedModel>,
    /// State of the stack, if there is one.
    pub stack: Option<StackStatus>,
    /// SHA-256 of the raw data in the data bucket.
    pub raw_sha256: Option<String>,
}

/// The model in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedModel {
    /// Its version.
    pub version: String,
    /// Whether a training in the stack or a person put it there, and not a deployment.
    pub chosen_since: bool,
}

/// An object that must lie in the artifacts bucket. Its key holds its hash, so one that is there is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// What it is, for people.
    pub what: String,
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: usize,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The stack.
    pub stack: String,
    /// Bucket of the artifacts.
    pub artifacts_bucket: String,
    /// Bucket of the data.
    pub data_bucket: String,
    /// Everything that the stack is made of.
    pub uploads: Vec<Upload>,
    /// Key of the template among the uploads.
    pub template_key: String,
    /// Version of the model.
    pub model_version: String,
    /// Key of its card among the uploads.
    pub model_card_key: String,
    /// SHA-256 of the raw data.
    pub raw_sha256: String,
    /// Size of the raw data.
    pub raw_bytes: usize,
}

impl Desired {
    /// Whether the deployment puts its model into service. What a training or a person has chosen since a
    /// deployment stays, unless this model is new: then somebody wants other data or another configuration.
    fn replaces_model(&self, observed: &Observed) -> bool {
        match &observed.model {
            None => true,
            Some(model) if model.version == self.model_version => false,
            Some(model) => {
                !model.chosen_since || !observed.artifact_keys.contains(&self.model_card_key)
            }
        }
    }
}

/// One step; each can be repeated after a crash without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Wait for somebody's operation, then plan again.
    AwaitStack(StackStatus),
    /// Make the bucket that everything else is uploaded to.
    CreateArtifactsBucket(String),
    /// Upload an artifact.
    Upload(Upload),
    /// Put a model into service.
    SetModel(String),
    /// Delete a stack that a failed creation left behind.
    DeleteFailedStack(StackStatus),
    /// Continue a rollback that failed.
    ContinueRollback,
    /// Create or update the stack through a change set.
    ChangeStack {
        /// The stack.
        stack: String,
        /// Whether it is made.
        create: bool,
        /// Key of the template.
        template_key: String,
    },
    /// Upload the raw data.
    UploadData {
        /// The bucket.
        bucket: String,
        /// Its size.
        bytes: usize,
    },
}

/// The steps, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployPlan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl DeployPlan {
    /// The steps from `observed` to `desired`.
    pub fn new(observed: &Observed, desired: &Desired) -> Self {
        let stack_step = StackStatus::next_step(observed.stack);
        let mut steps = Vec::new();
        if let (StackStep::Attach, Some(status)) = (stack_step, observed.stack) {
            return Self { steps: vec![Step::AwaitStack(status)] };
        }
        if !observed.artifacts_bucket_exists {
            steps.push(Step::CreateArtifactsBucket(desired.artifacts_bucket.clone()));
        }
        let missing = desired.uploads.iter().filter(|u| !observed.artifact_keys.contains(&u.key));
        steps.extend(missing.cloned().map(Step::Upload));
        if desired.replaces_model(observed) {
            steps.push(Step::SetModel(desired.model_version.clone()));
        }
        match (stack_step, observed.stack) {
            (StackStep::DeleteFirst, Some(status)) => steps.push(Step::DeleteFailedStack(status)),
            (StackStep::ContinueRollback, _) => steps.push(Step::ContinueRollback),
            _ => {}
        }
        let create = matches!(stack_step, StackStep::Create | StackStep::DeleteFirst);
        steps.push(Step::ChangeStack {
            stack: desired.stack.clone(),
            create,
            template_key: desired.template_key.clone(),
        });
        if create || observed.raw_sha256.as_ref() != Some(&desired.raw_sha256) {
            steps.push(Step::UploadData {
                bucket: desired.data_bucket.clone(),
                bytes: desired.raw_bytes,
            });
        }
        Self { steps }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwaitStack(status) => {
                write!(f, "wait for the operation in progress ({status}), then plan again")
            }
            Self::CreateArtifactsBucket(bucket) => write!(f, "create the bucket {bucket}"),
            Self::Upload(u) => write!(f, "upload {} ({})", u.what, size(u.bytes)),
            Self::SetModel(version) => write!(f, "put model {version} into service"),
            Self::DeleteFailedStack(status) => {
                write!(f, "delete what a failed creation left ({status})")
            }
            Self::ContinueRollback => f.write_str("continue the rollback that failed"),
            Self::ChangeStack { stack, create: true, .. } => write!(f, "create the stack {stack}"),
            Self::ChangeStack { stack, create: false, .. } => {
                write!(f, "update the stack {stack} if the template differs")
            }
            Self::UploadData { bucket, bytes } => {
                write!(f, "upload the raw data ({}) to {bucket}", size(*bytes))
            }
        }
    }
}

impl fmt::Display for DeployPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().zip(1..).try_for_each(|(step, n)| writeln!(f, "{n:>3}. {step}"))
    }
}

/// A size for people: `2.4 MB`.
pub fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired() -> Desired {
        let upload =
            |what: &str, key: &str| Upload { what: what.into(), key: key.into(), bytes: 1_500 };
        Desired {
            stack: "s".into(),
            artifacts_bucket: "a".into(),
            data_bucket: "d".into(),
            uploads: vec![
                upload("the model server", "bin/1"),
                upload("the template", "templates/1"),
            ],
            template_key: "templates/1".into(),
            model_version: "m1".into(),
            model_card_key: "models/m1".into(),
            raw_sha256: "r1".into(),
            raw_bytes: 20,
        }
    }

    #[test]
    fn from_nothing_everything_is_made() {
        let plan = DeployPlan::new(&Observed::default(), &desired()).to_string();
        let expected = "  1. create the bucket a\n  2. upload the model server (1.5 kB)\n  3. upload the template (1.5 kB)\n  \
                        4. put model m1 into service\n  5. create the stack s\n  6. upload the raw data (20 B) to d\n";
        assert_eq!(plan, expected);
    }

    #[test]
    fn a_model_that_was_chosen_since_stays_unless_the_deployments_is_new() {
        let sets = |version: &str, chosen_since: bool, known: bool| {
            let model = Some(ObservedModel { version: version.into(), chosen_since });
            let artifact_keys = known.then(|| "models/m1".to_owned()).into_iter().collect();
            let plan = DeployPlan::new(
                &Observed { model, artifact_keys, ..Observed::default() },
                &desired(),
            );
            plan.steps.contains(&Step::SetModel("m1".into()))
        };
        assert!(!sets("m1", true, true) && !sets("m1", false, true), "it is in service");
        assert!(
            sets("m0", false, true) && sets("m0", false, false),
            "another deployment's model is replaced"
        );
        assert!(!sets("m2", true, true), "a training or a person chose m2 while m1 was known");
        assert!(sets("m2", true, false), "m1 is new");
    }

    #[test]
    fn every_stack_state_has_a_plan() {
        for &status in StackStatus::ALL {
            let observed = Observed { stack: Some(status), ..Observed::default() };
            let plan = DeployPlan::new(&observed, &desired());
            let changes =
                plan.steps.iter().filter(|s| matches!(s, Step::ChangeStack { .. })).count();
            let waits = plan.steps.iter().filter(|s| matches!(s, Step::AwaitStack(_))).count();
            assert_eq!(changes + waits, 1, "{status}");
        }
    }

    #[test]
    fn what_is_there_is_not_uploaded_again() {
        let observed = Observed {
            artifacts_bucket_exists: true,
            artifact_keys: ["bin/1", "templates/1"].map(str::to_owned).into(),
            model: Some(ObservedModel { version: "m1".into(), chosen_since: false }),
            stack: Some(StackStatus::CreateComplete),
            raw_sha256: Some("r1".into()),
        };
        assert_eq!(
            DeployPlan::new(&observed, &desired()).to_string(),
            "  1. update the stack s if the template differs\n"
        );
    }
}
