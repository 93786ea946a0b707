//! What a verb tells beside its steps: facts, and findings that somebody has to look at.

use serde::{Deserialize, Serialize};

use crate::destroy::CloudUse;
use crate::status::StackStatus;

/// Something worth knowing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// Nothing is built: STEPPE_SKIP_BUILD is set.
    BuildSkipped,
    /// This program is built with what only AWS needs, and then begins again.
    BuildingForAws,
    /// Nothing is built yet, so the template has no hashes.
    NothingBuilt,
    /// Where the data come from.
    Data {
        /// The file.
        file: String,
        /// Whether it is the manifest's synthetic sample.
        synthetic: bool,
    },
    /// What was done to read them.
    Read {
        /// For people.
        what: String,
        /// What to do when something else is wanted.
        hints: Vec<String>,
    },
    /// Something of a new pipeline that rests on a guess, or was left out.
    Guess {
        /// For people.
        what: String,
    },
    /// Rows that were rejected.
    RejectedRows {
        /// How many.
        rows: u64,
        /// By which rule.
        rule: String,
    },
    /// A series of which only older values are left.
    NewestRejected {
        /// The series.
        series: String,
        /// Its records that were rejected.
        records: u64,
        /// Their newest period.
        period: String,
        /// The rule.
        rule: String,
    },
    /// More such series.
    MoreNewestRejected {
        /// How many.
        series: u64,
    },
    /// Something about the data.
    DataNote {
        /// For people.
        note: String,
    },
    /// Series that get a plain rule instead of the model.
    ShortSeries {
        /// How many.
        series: usize,
        /// The first of them.
        named: Vec<String>,
    },
    /// The model of these data and this configuration is there already.
    ModelFits {
        /// Its version.
        version: String,
    },
    /// Training goes on without checkpoints.
    NoCheckpoints {
        /// Why.
        why: String,
    },
    /// There is nothing to change.
    StackUnchanged {
        /// The stack.
        stack: String,
    },
    /// The model that was asked for is in service already.
    ModelUnchanged {
        /// Its version.
        version: String,
    },
    /// Somebody's operation goes on; its end is waited for.
    StackBusy {
        /// The stack's status.
        status: StackStatus,
    },
    /// What a failed creation left is deleted now.
    DeletingFailedStack {
        /// The stack's status.
        status: StackStatus,
    },
    /// The pipeline is being run.
    PipelineStarted,
    /// The pipeline was not run.
    PipelineNotRun {
        /// Why.
        why: NotRun,
    },
    /// Executions are being stopped.
    StoppingExecutions {
        /// How many.
        executions: usize,
        /// Of which state machine.
        machine: String,
    },
    /// Interfaces that block a deletion are still in use.
    InterfacesInUse {
        /// How many.
        interfaces: u64,
    },
    /// The data are the manifest's sample.
    SyntheticData,
    /// What it costs.
    Cost {
        /// For people.
        estimate: String,
    },
    /// What can be done next.
    Next {
        /// Commands.
        commands: Vec<String>,
    },
    /// A way out of the state that the stack is in.
    WayOut,
    /// The embedded cloud has no state.
    NoCloud,
    /// The embedded cloud is stopped.
    CloudStopped,
    /// The embedded cloud goes on.
    CloudGoesOn {
        /// Who uses it.
        used_by: CloudUse,
    },
    /// A kind of things that could not be looked for.
    NotSeen {
        /// The kind, and why.
        what: String,
    },
    /// Where a report is.
    Report {
        /// The file.
        file: String,
    },
    /// A report says nothing of a model in service.
    NoServiceReport {
        /// Why.
        why: String,
    },
    /// When a model that was put into service takes effect.
    ModelTakesEffect,
    /// Something of this machine or configuration is in order.
    Healthy {
        /// What.
        what: String,
        /// How.
        detail: String,
    },
    /// Policies follow.
    Policies {
        /// For people.
        introduction: String,
    },
    /// There are more rows than were asked for.
    MoreRows {
        /// Rows that are shown.
        limit: usize,
    },
    /// A disk is full.
    DiskFull,
}

/// Why a deployment did not run the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotRun {
    /// `--no-run`.
    AsAsked,
    /// Runs must name their series.
    SeriesMustBeNamed,
}

/// Something that somebody has to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// What a person must agree to.
    Concern {
        /// For people.
        concern: String,
    },
    /// Nobody agreed, so nothing was changed.
    NotAgreed,
    /// The stack is as it was before.
    RolledBack,
    /// The stack is in a state that needs a decision.
    Wedged {
        /// Its status.
        status: StackStatus,
        /// Why.
        reason: String,
        /// What was being done with it.
        while_doing: Doing,
    },
    /// Something was left.
    Left {
        /// For people.
        what: String,
    },
    /// The model drifts.
    Drift {
        /// For people.
        what: String,
    },
    /// A check failed.
    CheckFailed {
        /// The check.
        check: String,
        /// Why.
        why: String,
        /// What to do.
        hints: Vec<String>,
    },
    /// Something of this machine or configuration is not in order.
    Problem {
        /// What.
        what: String,
        /// Why.
        why: String,
        /// What to do.
        hints: Vec<String>,
    },
}

/// What was being done with a stack that got stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doing {
    /// It was changed or destroyed.
    Change,
    /// What a failed creation left was deleted.
    Cleanup,
}
