//! Records of stacks, of their resources, and of change sets.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::drift;
use super::template::Parameters;
use crate::kernel::identity::Caller;

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
    /// Resources as an update found them that goes on from an operation that failed and was kept.
    #[serde(default)]
    pub found: Option<BTreeMap<String, Resource>>,
    /// ARNs of the topics that its events are published to.
    #[serde(default)]
    pub notifications: Vec<String>,
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

    /// Whether the operation under way, or the one that failed and was kept, is an update.
    pub fn is_update(&self) -> bool {
        self.before.is_some() || self.found.is_some()
    }

    /// What an update found under a name.
    pub fn former(&self, logical_id: &str) -> Option<&Resource> {
        match &self.found {
            Some(found) => found.get(logical_id),
            None => self.before.as_ref()?.resources.get(logical_id),
        }
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
    /// Whether what fails stays as it is, so that an update can go on from there.
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
    pub fn of(word: Option<&str>) -> Self {
        match word {
            Some("Retain") => Self::Retain,
            Some("RetainExceptOnCreate") => Self::RetainExceptOnCreate,
            _ => Self::Delete,
        }
    }

    /// Whether a resource stays; `undone` when the operation that made it is rolled back.
    pub fn keeps(self, undone: bool, retain_except_on_create: bool) -> bool {
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

impl Resource {
    /// Whether it is what a creation left that failed: it never had a stable state, and the next
    /// operation deletes it.
    pub fn is_remains(&self) -> bool {
        matches!(self.status.as_str(), "CREATE_FAILED" | "DELETE_FAILED" | "DELETE_COMPLETE")
    }
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
    /// ARNs of the topics that events are to be published to, if that is to change.
    #[serde(default)]
    pub notifications: Option<Vec<String>>,
}

impl ChangeSet {
    /// Its parameters.
    pub fn parameters(&self) -> Parameters {
        Parameters { given: self.parameters.clone(), resolved: self.resolved.clone() }
    }
}
