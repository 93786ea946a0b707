//! What is there, gathered once by reading calls, and what it allows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::builds::ObservedBuilds;
use crate::status::StackStatus;

/// What is there, gathered once by reading calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The bucket that is made before the stack.
    pub artifacts_bucket: BucketState,
    /// The pipeline's bucket, which belongs to the stack.
    pub data_bucket: BucketState,
    /// Keys in the artifacts bucket.
    pub artifact_keys: BTreeSet<String>,
    /// What earlier deployments are made of, if one has noted it.
    pub builds: Option<ObservedBuilds>,
    /// The model in service.
    pub model: Option<ObservedModel>,
    /// The stack, if there is one.
    pub stack: Option<ObservedStack>,
    /// SHA-256 of the raw data in the data bucket.
    pub raw_sha256: Option<String>,
    /// Whether the newest run was one of all series with the model in service, and its clean table
    /// is of the raw data that are there.
    pub has_run: bool,
    /// The embedded cloud, when it is the one that is spoken to.
    pub cloud: Option<ObservedCloud>,
}

/// The embedded cloud as others use it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedCloud {
    /// Stacks of other deployments in it.
    pub other_stacks: Vec<String>,
    /// Whether another command works in it.
    pub is_busy: bool,
}

/// A stack as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedStack {
    /// Its status.
    pub status: StackStatus,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether CloudFormation refuses to delete it.
    pub termination_protection: bool,
    /// The image that its server was made from: the output `ImageId`.
    pub image_id: Option<String>,
    /// The zones of its subnets: the output `Zones`.
    pub zones: Option<[String; 2]>,
    /// ARNs of its state machines, which may be running something.
    pub machines: Vec<String>,
}

impl ObservedStack {
    /// A stack in `status` of which nothing else is known.
    pub fn new(status: StackStatus) -> Self {
        Self {
            status,
            tags: BTreeMap::new(),
            termination_protection: false,
            image_id: None,
            zones: None,
            machines: Vec::new(),
        }
    }

    /// What tells that the stack belongs to another deployment.
    ///
    /// A stack that only waits for the execution of its first change set has no tags yet.
    pub fn stranger(&self, tags: &[(String, String)]) -> Option<String> {
        if matches!(self.status, StackStatus::ReviewInProgress | StackStatus::DeleteComplete) {
            return None;
        }
        let (key, wanted) = tags.iter().find(|(key, value)| self.tags.get(key) != Some(value))?;
        Some(match self.tags.get(key) {
            Some(found) => format!("its tag {key} is `{found}`, not `{wanted}`"),
            None => format!("it has no tag {key}; this deployment's is `{wanted}`"),
        })
    }
}

/// A bucket of a name that is ours by derivation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BucketState {
    /// There is none.
    #[default]
    Absent,
    /// It exists and belongs to another account.
    Foreign,
    /// It exists and belongs to the configured account.
    Ours(ObservedBucket),
}

/// A bucket of the configured account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedBucket {
    /// Objects in it.
    pub objects: u64,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether the stack's list of resources has it as made by the stack.
    pub of_stack: bool,
    /// Settings of the artifacts bucket that are not as they must be.
    pub unset: BTreeSet<BucketSetting>,
}

impl ObservedBucket {
    /// Whether it was made by this deployment: by its stack, or it carries all of its tags.
    pub fn is_of(&self, tags: &[(String, String)]) -> bool {
        self.of_stack || tags.iter().all(|(key, value)| self.tags.get(key) == Some(value))
    }
}

/// A setting of the artifacts bucket, made by a call of its own after the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BucketSetting {
    /// All public access is blocked.
    PublicAccessBlock,
    /// Encrypted connections only.
    Policy,
    /// The deployment's tags.
    Tags,
    /// Unfinished uploads are removed.
    Lifecycle,
}

impl BucketSetting {
    /// Every setting.
    pub const ALL: [Self; 4] = [Self::PublicAccessBlock, Self::Policy, Self::Tags, Self::Lifecycle];

    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PublicAccessBlock => "block of public access",
            Self::Policy => "policy",
            Self::Tags => "tags",
            Self::Lifecycle => "lifecycle rule",
        }
    }
}

/// The model in service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedModel {
    /// Its version.
    pub version: String,
    /// Whether a training in the stack or a person put it there, and not a deployment.
    pub chosen_since: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> Vec<(String, String)> {
        vec![
            ("steppe:pipeline".to_owned(), "marriages".to_owned()),
            ("steppe:environment".to_owned(), "eu".to_owned()),
        ]
    }

    #[test]
    fn a_stack_with_other_tags_is_another_deployments() {
        let mut stack = ObservedStack::new(StackStatus::CreateComplete);
        stack.tags = tags().into_iter().collect();
        assert_eq!(stack.stranger(&tags()), None);
        stack.tags.insert("steppe:environment".to_owned(), "dev-eu".to_owned());
        assert_eq!(
            stack.stranger(&tags()).as_deref(),
            Some("its tag steppe:environment is `dev-eu`, not `eu`")
        );
        stack.tags.clear();
        assert_eq!(
            stack.stranger(&tags()).as_deref(),
            Some("it has no tag steppe:pipeline; this deployment's is `marriages`")
        );
        stack.status = StackStatus::ReviewInProgress;
        assert_eq!(stack.stranger(&tags()), None, "a stack in review has no tags yet");
    }

    #[test]
    fn a_bucket_is_of_a_deployment_by_its_stack_or_by_all_tags() {
        let mut bucket = ObservedBucket::default();
        assert!(!bucket.is_of(&tags()));
        bucket.tags.insert("steppe:pipeline".to_owned(), "marriages".to_owned());
        assert!(!bucket.is_of(&tags()), "one tag of two");
        bucket.tags.insert("steppe:environment".to_owned(), "eu".to_owned());
        assert!(bucket.is_of(&tags()));
        assert!(ObservedBucket { of_stack: true, ..ObservedBucket::default() }.is_of(&tags()));
    }
}
