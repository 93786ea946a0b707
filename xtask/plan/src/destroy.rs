//! A destruction as data: what is deleted, in which order, and what a person must agree to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::deploy::Refusal;
use crate::observed::{BucketState, Observed, ObservedCloud};
use crate::review::Concern;
use crate::status::StackStatus;

/// What is to be destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// The stack.
    pub stack: String,
    /// Tags of the stack and of everything in it.
    pub tags: Vec<(String, String)>,
    /// Bucket of the artifacts.
    pub artifacts_bucket: String,
    /// Bucket of the data.
    pub data_bucket: String,
}

/// One step; each can be repeated after a crash without harm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", content = "of", rename_all = "kebab-case")]
pub enum DestroyStep {
    /// Wait for somebody's operation, then plan again.
    AwaitStack(StackStatus),
    /// Stop what these state machines run and would write into a bucket that was just emptied.
    StopExecutions(Vec<String>),
    /// Delete all objects of a bucket.
    EmptyBucket {
        /// The bucket.
        bucket: String,
        /// Objects that were seen in it.
        objects: u64,
    },
    /// Delete the stack, and interfaces that Lambda left in its network and that block it.
    DeleteStack(String),
    /// Delete a bucket that no stack deletes.
    DeleteBucket(String),
    /// Look for everything that a deployment may ever have made; what is left ends the plan.
    FindLeftovers,
    /// Stop the embedded cloud, unless somebody has begun to use it meanwhile.
    StopCloud,
    /// Leave the embedded cloud to those who use it.
    LeaveCloud(CloudUse),
}

/// Why the embedded cloud is not stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloudUse {
    /// It holds another stack.
    Stack(String),
    /// Another command works in it.
    Command,
}

impl CloudUse {
    /// Who uses it beside this deployment.
    pub fn of(cloud: &ObservedCloud) -> Option<Self> {
        match cloud.other_stacks.first() {
            Some(other) => Some(Self::Stack(other.clone())),
            None => cloud.is_busy.then_some(Self::Command),
        }
    }
}

impl fmt::Display for CloudUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stack(stack) => write!(f, "the embedded cloud, which holds the stack {stack}"),
            Self::Command => f.write_str("the embedded cloud, in which another command works"),
        }
    }
}

/// The steps, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DestroyPlan {
    /// The steps.
    pub steps: Vec<DestroyStep>,
}

impl DestroyPlan {
    /// The steps from `observed` to nothing. Whether the deletion is allowed is asked before
    /// anything is emptied.
    pub fn new(observed: &Observed, doomed: &Doomed) -> Result<Self, Refusal> {
        let stack = observed.stack.as_ref().filter(|s| s.status != StackStatus::DeleteComplete);
        if let Some(stack) = stack {
            if let Some(why) = stack.stranger(&doomed.tags) {
                return Err(Refusal::StrangeStack { stack: doomed.stack.clone(), why });
            }
            if stack.termination_protection {
                let status = stack.status;
                return Err(Refusal::Protected { stack: doomed.stack.clone(), status });
            }
            if stack.status.is_in_progress() {
                return Ok(Self { steps: vec![DestroyStep::AwaitStack(stack.status)] });
            }
        }
        let data = ours(&observed.data_bucket, &doomed.data_bucket, doomed)?;
        let artifacts = ours(&observed.artifacts_bucket, &doomed.artifacts_bucket, doomed)?;
        let empty =
            |bucket: &str, objects| DestroyStep::EmptyBucket { bucket: bucket.to_owned(), objects };
        let mut steps = Vec::new();
        let machines = stack.map(|s| s.machines.clone()).filter(|all| !all.is_empty());
        steps.extend(machines.map(DestroyStep::StopExecutions));
        steps.extend(data.filter(|n| *n > 0).map(|n| empty(&doomed.data_bucket, n)));
        match (stack, data) {
            (Some(_), _) => steps.push(DestroyStep::DeleteStack(doomed.stack.clone())),
            (None, Some(_)) => steps.push(DestroyStep::DeleteBucket(doomed.data_bucket.clone())),
            (None, None) => {}
        }
        if let Some(objects) = artifacts {
            steps.extend((objects > 0).then(|| empty(&doomed.artifacts_bucket, objects)));
            steps.push(DestroyStep::DeleteBucket(doomed.artifacts_bucket.clone()));
        }
        steps.push(DestroyStep::FindLeftovers);
        steps.extend(observed.cloud.as_ref().map(|cloud| match CloudUse::of(cloud) {
            Some(others) => DestroyStep::LeaveCloud(others),
            None => DestroyStep::StopCloud,
        }));
        Ok(Self { steps })
    }

    /// What a person must agree to.
    pub fn concerns(&self) -> Vec<Concern> {
        let concern = |step: &DestroyStep| match step {
            DestroyStep::EmptyBucket { bucket, objects } => {
                Some(Concern(format!("{objects} objects in {bucket} will be lost")))
            }
            DestroyStep::DeleteStack(stack) => {
                Some(Concern(format!("the stack {stack} will be deleted")))
            }
            _ => None,
        };
        self.steps.iter().filter_map(concern).collect()
    }
}

/// Objects in a bucket that this deployment may empty; `None` when there is no such bucket.
///
/// An empty bucket needs no proof: it holds nothing that could be lost.
fn ours(state: &BucketState, bucket: &str, doomed: &Doomed) -> Result<Option<u64>, Refusal> {
    match state {
        // Nothing of ours, so nothing to delete: the name is all that we have in common.
        BucketState::Absent | BucketState::Foreign => Ok(None),
        BucketState::Ours(found) if found.objects == 0 || found.is_of(&doomed.tags) => {
            Ok(Some(found.objects))
        }
        BucketState::Ours(found) => Err(Refusal::UnknownBucket {
            bucket: bucket.to_owned(),
            stack: doomed.stack.clone(),
            objects: found.objects,
        }),
    }
}

impl fmt::Display for DestroyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwaitStack(status) => {
                write!(f, "wait for the operation in progress ({status}), then plan again")
            }
            Self::StopExecutions(machines) => {
                let names = machines.iter().map(|arn| arn.rsplit(':').next().unwrap_or(arn));
                let names: Vec<&str> = names.collect();
                write!(f, "stop running executions of {}", names.join(", "))
            }
            Self::EmptyBucket { bucket, objects } => {
                write!(f, "delete all {objects} objects in {bucket}")
            }
            Self::DeleteStack(stack) => write!(f, "delete the stack {stack}"),
            Self::DeleteBucket(bucket) => write!(f, "delete the bucket {bucket}"),
            Self::FindLeftovers => f.write_str("look for what is left, by exact names and by tags"),
            Self::StopCloud => f.write_str("stop the embedded cloud"),
            Self::LeaveCloud(others) => write!(f, "leave {others}"),
        }
    }
}

impl fmt::Display for DestroyPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().zip(1..).try_for_each(|(step, n)| writeln!(f, "{n:>3}. {step}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{ObservedBucket, ObservedStack};

    fn doomed() -> Doomed {
        Doomed {
            stack: "s".into(),
            tags: vec![("p:environment".into(), "e".into())],
            artifacts_bucket: "a".into(),
            data_bucket: "d".into(),
        }
    }

    fn tagged(objects: u64) -> BucketState {
        let tags = doomed().tags.into_iter().collect();
        BucketState::Ours(ObservedBucket { objects, tags, ..ObservedBucket::default() })
    }

    fn whole() -> Observed {
        let tags = doomed().tags.into_iter().collect();
        let machines = ["arn:aws:states:r:1:stateMachine:s".to_owned()].into();
        let made = ObservedStack::new(StackStatus::CreateComplete);
        Observed {
            artifacts_bucket: tagged(9),
            data_bucket: tagged(26),
            stack: Some(ObservedStack { tags, machines, ..made }),
            ..Observed::default()
        }
    }

    #[test]
    fn everything_goes_in_order_and_what_is_lost_is_named() {
        let plan = DestroyPlan::new(&whole(), &doomed()).expect("a plan");
        let expected = "  1. stop running executions of s\n  2. delete all 26 objects in d\n  \
                        3. delete the stack s\n  4. delete all 9 objects in a\n  \
                        5. delete the bucket a\n  \
                        6. look for what is left, by exact names and by tags\n";
        assert_eq!(plan.to_string(), expected);
        assert_eq!(plan.concerns().len(), 3);
        let nothing = DestroyPlan::new(&Observed::default(), &doomed()).expect("a plan");
        assert_eq!(nothing.steps, [DestroyStep::FindLeftovers]);
    }

    #[test]
    fn the_embedded_cloud_is_stopped_only_when_nobody_else_uses_it() {
        let last = |other_stacks: &[&str], is_busy| {
            let other_stacks = other_stacks.iter().map(|s| (*s).to_owned()).collect();
            let cloud = Some(ObservedCloud { other_stacks, is_busy });
            let plan = DestroyPlan::new(&Observed { cloud, ..whole() }, &doomed());
            plan.expect("a plan").steps.pop().expect("steps").to_string()
        };
        assert_eq!(last(&[], false), "stop the embedded cloud");
        assert_eq!(last(&["t"], true), "leave the embedded cloud, which holds the stack t");
        assert!(last(&[], true).ends_with("in which another command works"));
    }

    #[test]
    fn nothing_is_emptied_when_the_stack_may_not_be_deleted() {
        let mut observed = whole();
        observed.stack.iter_mut().for_each(|s| s.termination_protection = true);
        let refused = DestroyPlan::new(&observed, &doomed()).expect_err("protected");
        assert!(refused.to_string().contains("termination protection is on"), "{refused}");
        observed.stack = Some(ObservedStack::new(StackStatus::CreateComplete));
        let refused = DestroyPlan::new(&observed, &doomed()).expect_err("a stranger");
        assert!(refused.to_string().contains("another deployment"), "{refused}");
    }

    #[test]
    fn buckets_of_others_are_left_alone() {
        let unknown = BucketState::Ours(ObservedBucket { objects: 1, ..Default::default() });
        let observed = Observed { artifacts_bucket: unknown, ..whole() };
        let refused = DestroyPlan::new(&observed, &doomed()).expect_err("not ours");
        assert!(refused.to_string().contains("the bucket a is there (1 objects)"), "{refused}");
        let observed = Observed { artifacts_bucket: BucketState::Foreign, ..whole() };
        let plan = DestroyPlan::new(&observed, &doomed()).expect("a plan");
        assert!(!plan.to_string().contains(" a\n"), "{plan}");
    }

    #[test]
    fn a_data_bucket_that_outlived_its_stack_goes_too() {
        let plan = DestroyPlan::new(&Observed { stack: None, ..whole() }, &doomed());
        assert!(plan.expect("a plan").to_string().contains("delete the bucket d\n"));
    }
}
