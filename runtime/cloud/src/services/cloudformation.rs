//! CloudFormation: templates become resources, in dependency order and in parallel, with change
//! sets, early validation, events, rollback and wedged states.
//!
//! A stack deletes only what it made: a resource counts as made when its creation has begun, and
//! creation begins only after its name was found free. Every decision rests on the stored stack, so
//! an operation that the process did not survive is taken up again.
//!
//! Differences from AWS: macros, nested stacks, stack sets, imports of resources, creation and
//! update policies, notifications, and updates of stacks whose last operation failed and was not
//! rolled back are not implemented and refused by name; a template may use the resource types and properties that services register only. The caller needs the
//! permission for the operation of CloudFormation, for reading the template from S3, for passing
//! roles to services, and for what the stack does to each resource ([`permissions`]). Signals
//! of wait conditions are kept in memory only, because a creation that was cut off is rolled back.
//! Instances are made anew where AWS would stop and start them
//! (`ResourceType::also_replacing`).

mod api;
mod drift;
mod engine;
mod events;
mod exports;
mod nested;
mod permissions;
mod resources;
mod signals;
mod stack_policy;
mod template;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use api::SERVICE;
pub use engine::resume;
pub use nested::check_used;
pub use permissions::{Work as Rights, check_rights, note_work};
pub use signals::{Refused, signal};
pub use template::{Parameters, Template, parse};

use crate::kernel::cloud::Cloud;
use crate::kernel::cloud::Opening;
use crate::kernel::identity::Caller;
use crate::kernel::store::NotStored;
use crate::kernel::store::Table;
use anyhow::Result;

/// Whether a text is a template.
pub fn parses(text: &str) -> bool {
    template::parse(text).is_ok()
}

/// What CloudFormation has.
#[derive(Debug)]
pub struct State {
    /// Stacks by ID.
    pub stacks: Table<Stack>,
    /// Change sets by ARN.
    pub change_sets: Table<ChangeSet>,
    /// Detections of drift by ID.
    pub detections: Table<drift::Detection>,
    /// What is kept in memory only.
    pub work: Work,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            stacks: opening.table("stacks"),
            change_sets: opening.table("change_sets"),
            detections: opening.table("drift_detections"),
            work: Work::default(),
        })
    }
}

/// The type under which a stack appears among its own events.
const STACK: &str = "AWS::CloudFormation::Stack";

/// A stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Status in CloudFormation's words.
    pub status: String,
    /// Why it has this status.
    pub reason: Option<String>,
    /// The template as it was given.
    pub template: String,
    /// Values of the parameters as they were given.
    pub parameters: BTreeMap<String, String>,
    /// What SSM parameters had when the operation began.
    #[serde(default)]
    pub resolved: BTreeMap<String, String>,
    /// Tags.
    pub tags: Value,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Option<Timestamp>,
    /// When it was deleted.
    pub deleted: Option<Timestamp>,
    /// Outputs.
    pub outputs: BTreeMap<String, Value>,
    /// Resources by logical ID.
    pub resources: BTreeMap<String, Resource>,
    /// What an unfinished update has to put back: resources as they were; absent ones were not
    /// there.
    pub before: Option<Before>,
    /// Whether it must not be deleted.
    pub protected: bool,
    /// How the operation under way, or the last one, was ordered.
    #[serde(default)]
    pub operation: Operation,
    /// Names of exports that it uses.
    #[serde(default)]
    pub imports: BTreeSet<String>,
    /// What updates may not touch: a stack policy as it was given.
    #[serde(default)]
    pub policy: Option<String>,
    /// ARN of the service role with whose rights it is worked on.
    #[serde(default)]
    pub role: Option<String>,
    /// How resources were found to differ from their template.
    #[serde(default)]
    pub drift: drift::Drift,
}

impl Stack {
    /// Its parameters.
    pub fn parameters(&self) -> Parameters {
        Parameters { given: self.parameters.clone(), resolved: self.resolved.clone() }
    }

    /// Whether an operation is under way.
    pub fn is_busy(&self) -> bool {
        self.status.ends_with("_IN_PROGRESS") && self.status != "REVIEW_IN_PROGRESS"
    }
}

/// How an operation was ordered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operation {
    /// Its ID.
    pub id: String,
    /// What it does, in the words of `DescribeEvents`.
    pub kind: String,
    /// Who ordered it, and with whose rights it is done, after a restart as well.
    pub caller: Option<Caller>,
    /// The client's token, by which a repeated request is known.
    pub token: Option<String>,
    /// What becomes of a creation that fails.
    pub on_failure: OnFailure,
    /// Whether new resources go in a rollback although their policy says that they stay.
    pub retain_except_on_create: bool,
    /// Minutes until a creation has failed.
    pub timeout_mins: Option<u64>,
    /// Logical IDs that a deletion leaves alone.
    pub retain: Vec<String>,
    /// Whether a deletion ends also when resources cannot be deleted.
    pub force: bool,
    /// Logical IDs that a continued rollback leaves as they are.
    pub skip: Vec<String>,
    /// Whether an update that fails stays as it is.
    pub keep_failed: bool,
    /// The status of the stack when a deletion was ordered.
    pub former: Option<String>,
    /// The stack policy that holds for this update instead of the stack's.
    pub policy: Option<String>,
}

/// What becomes of a stack whose creation fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Its resources are deleted.
    #[default]
    Rollback,
    /// Everything stays as it is.
    DoNothing,
    /// The stack is deleted.
    Delete,
}

/// What becomes of a resource that a stack no longer needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays.
    Retain,
    /// It stays, unless the operation that made it is rolled back.
    RetainExceptOnCreate,
}

impl Policy {
    /// The policy of that name; templates with other names are refused.
    fn of(word: Option<&str>) -> Self {
        match word {
            Some("Retain") => Self::Retain,
            Some("RetainExceptOnCreate") => Self::RetainExceptOnCreate,
            _ => Self::Delete,
        }
    }

    /// Whether a resource stays; `undone` when the operation that made it is rolled back.
    fn keeps(self, undone: bool, retain_except_on_create: bool) -> bool {
        match self {
            Self::Delete => false,
            Self::Retain => !(undone && retain_except_on_create),
            Self::RetainExceptOnCreate => !undone,
        }
    }
}

/// The state before an update.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Before {
    /// The template.
    pub template: String,
    /// Parameters.
    pub parameters: BTreeMap<String, String>,
    /// Their resolved values.
    #[serde(default)]
    pub resolved: BTreeMap<String, String>,
    /// Resources.
    pub resources: BTreeMap<String, Resource>,
    /// Outputs.
    pub outputs: BTreeMap<String, Value>,
    /// Tags.
    #[serde(default)]
    pub tags: Value,
    /// Names of exports that it used.
    #[serde(default)]
    pub imports: BTreeSet<String>,
}

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Its type.
    pub kind: String,
    /// Its ID; what `Ref` gives. Empty when nothing was made.
    pub physical_id: String,
    /// Status in CloudFormation's words.
    pub status: String,
    /// Why it has this status.
    pub reason: Option<String>,
    /// Its properties, resolved.
    pub properties: Value,
    /// What `Fn::GetAtt` gives.
    pub attributes: Map<String, Value>,
    /// Logical IDs that it needs.
    pub needs: Vec<String>,
    /// What becomes of it when it leaves the stack.
    #[serde(default, alias = "retained", deserialize_with = "policy_or_flag")]
    pub deletion: Policy,
    /// What becomes of it when it is replaced.
    #[serde(default)]
    pub replacement: Policy,
    /// Whether this stack made it: its creation has begun. Only such a resource is ever deleted.
    #[serde(default = "made")]
    pub made: bool,
    /// Last change.
    pub updated: Timestamp,
}

/// Records of earlier versions have a flag where the policy is now.
fn policy_or_flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Flag(bool),
        Policy(Policy),
    }
    Ok(match Stored::deserialize(deserializer)? {
        Stored::Flag(true) => Policy::Retain,
        Stored::Flag(false) => Policy::Delete,
        Stored::Policy(policy) => policy,
    })
}

fn made() -> bool {
    true
}

/// A change set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeSet {
    /// Its name.
    pub name: String,
    /// The stack's ID.
    pub stack: String,
    /// `CREATE_COMPLETE` or `FAILED`.
    pub status: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// `AVAILABLE`, `UNAVAILABLE`, `EXECUTE_COMPLETE`.
    pub execution_status: String,
    /// The template.
    pub template: String,
    /// Values of the parameters as they were given.
    pub parameters: BTreeMap<String, String>,
    /// Their resolved values.
    #[serde(default)]
    pub resolved: BTreeMap<String, String>,
    /// Tags.
    pub tags: Value,
    /// Changes in the API's form, with values of properties.
    pub changes: Vec<Value>,
    /// What early validation found, as `DescribeEvents` tells it.
    #[serde(default)]
    pub problems: Vec<Value>,
    /// Its description.
    #[serde(default)]
    pub description: Option<String>,
    /// The client's token.
    #[serde(default)]
    pub token: Option<String>,
    /// What becomes of a creation that fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it also brings back what has drifted.
    #[serde(default)]
    pub reverts_drift: bool,
    /// ARN of the service role that is to do it.
    #[serde(default)]
    pub role: Option<String>,
}

impl ChangeSet {
    /// Its parameters.
    pub fn parameters(&self) -> Parameters {
        Parameters { given: self.parameters.clone(), resolved: self.resolved.clone() }
    }
}

/// What the service keeps in memory only.
#[derive(Debug, Default)]
pub struct Work {
    /// Held while an operation is admitted, so that two requests cannot both begin one.
    admission: Mutex<()>,
    /// Held from the look for a free name until the resource is there.
    creation: tokio::sync::Mutex<()>,
    /// Stacks as they were before the operation under way, for stale reads.
    earlier: Mutex<HashMap<String, Arc<Stack>>>,
    /// Signals of wait conditions that are awaited.
    signals: signals::Signals,
    /// Updates that may be cancelled, by the stack's ID.
    cancellations: Mutex<HashMap<String, Arc<tokio::sync::Notify>>>,
}

impl Work {
    fn admit(&self) -> MutexGuard<'_, ()> {
        self.admission.lock()
    }

    async fn create(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.creation.lock().await
    }

    /// What wakes the update of a stack when it is to be cancelled.
    fn cancellation(&self, stack_id: &str) -> Arc<tokio::sync::Notify> {
        self.cancellations.lock().entry(stack_id.to_owned()).or_default().clone()
    }

    fn earlier(&self) -> MutexGuard<'_, HashMap<String, Arc<Stack>>> {
        self.earlier.lock()
    }
}

/// The newest stack of that name or with that ID; a deleted one only by ID.
fn find_stack(cloud: &Cloud, name_or_id: &str) -> Option<(String, Arc<Stack>)> {
    if name_or_id.starts_with("arn:") {
        return cloud
            .services
            .cloudformation
            .stacks
            .get(name_or_id)
            .map(|s| (name_or_id.to_owned(), s));
    }
    cloud
        .services
        .cloudformation
        .stacks
        .all()
        .into_iter()
        .find(|(_, s)| s.name == name_or_id && s.status != "DELETE_COMPLETE")
}

/// Sets a stack's status and stores it, with an event. It is an error when it cannot be stored.
fn store_status(
    cloud: &Cloud,
    stack_id: &str,
    status: &str,
    reason: Option<&str>,
    change: impl FnOnce(&mut Stack),
) -> Result<(), NotStored> {
    cloud.faults.record();
    let stored = cloud.services.cloudformation.stacks.update(stack_id, |stack| {
        change(stack);
        stack.status = status.to_owned();
        stack.reason = reason.map(str::to_owned);
        stack.clone()
    })?;
    if let Some(stack) = stored {
        events::of_stack(cloud, stack_id, &stack);
    }
    Ok(())
}

/// Like [`store_status`] for failures, which memory has to know also when the disk does not: after
/// a restart the operation is taken up again.
fn settle_status(cloud: &Cloud, stack_id: &str, status: &str, reason: Option<&str>) {
    cloud.faults.record();
    let settled = cloud.services.cloudformation.stacks.settle(stack_id, |stack| {
        stack.status = status.to_owned();
        stack.reason = reason.map(str::to_owned);
        stack.clone()
    });
    if let Some(stack) = settled {
        events::of_stack(cloud, stack_id, &stack);
    }
}

/// Writes a resource into its stack, without an event.
fn store_resource(
    cloud: &Cloud,
    stack_id: &str,
    logical_id: &str,
    resource: &Resource,
) -> Result<(), NotStored> {
    cloud.faults.record();
    cloud.services.cloudformation.stacks.update(stack_id, |s| {
        s.resources.insert(logical_id.to_owned(), resource.clone());
    })?;
    Ok(())
}

/// Like [`store_resource`] for failures.
fn settle_resource(cloud: &Cloud, stack_id: &str, logical_id: &str, resource: &Resource) {
    cloud.faults.record();
    cloud.services.cloudformation.stacks.settle(stack_id, |s| {
        s.resources.insert(logical_id.to_owned(), resource.clone());
    });
}
