//! A deployment as data: what was observed, what is wanted, and the steps from one to the other.
//!
//! `plan` prints a [`DeployPlan`], `deploy` executes the same value. What must not be done at all
//! is a [`Refusal`] and comes instead of a plan; what a person must agree to are the plan's
//! [`DeployPlan::concerns`].

mod refusal;

use std::collections::BTreeSet;
use std::fmt;

pub use refusal::Refusal;
use serde::Serialize;

use crate::builds::Builds;
use crate::observed::{BucketSetting, BucketState, Observed};
use crate::review::Concern;
use crate::status::{StackStatus, StackStep};

/// An object that must lie in the artifacts bucket. Its key holds its hash, so one that is there is
/// right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// Tags of the stack and of everything in it.
    pub tags: Vec<(String, String)>,
    /// Bucket of the artifacts.
    pub artifacts_bucket: String,
    /// Bucket of the data.
    pub data_bucket: String,
    /// Everything that the stack is made of.
    pub uploads: Vec<Upload>,
    /// Key of the template among the uploads.
    pub template_key: String,
    /// What it costs, for people.
    pub costs: String,
    /// The image that the server is made from.
    pub image_id: String,
    /// Version of the model.
    pub model_version: String,
    /// Key of its card among the uploads.
    pub model_card_key: String,
    /// SHA-256 of the raw data.
    pub raw_sha256: String,
    /// Size of the raw data.
    pub raw_bytes: usize,
    /// Whether the pipeline runs at the end.
    pub runs: bool,
}

impl Desired {
    /// Whether the deployment puts its model into service. What a training or a person has chosen
    /// since a deployment stays, unless this model is new: then somebody wants other data or
    /// another configuration.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", content = "of", rename_all = "kebab-case")]
pub enum Step {
    /// Wait for somebody's operation, then plan again.
    AwaitStack(StackStatus),
    /// Make the bucket that everything else is uploaded to, with all of its settings.
    CreateArtifactsBucket(String),
    /// Make settings of the artifacts bucket that are missing.
    SetArtifactsBucket {
        /// The bucket.
        bucket: String,
        /// What is missing.
        settings: BTreeSet<BucketSetting>,
    },
    /// Upload an artifact.
    Upload(Upload),
    /// Put a model into service.
    SetModel(String),
    /// Delete all objects of the data bucket of a stack that has to be deleted.
    EmptyDataBucket {
        /// The bucket.
        bucket: String,
        /// Objects that were seen in it.
        objects: u64,
    },
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
        /// The server's image, old and new, when it differs.
        image: Option<(String, String)>,
    },
    /// Upload the raw data.
    UploadData {
        /// The bucket.
        bucket: String,
        /// Its size.
        bytes: usize,
    },
    /// Note what the deployment is made of, and delete builds that are superseded.
    KeepBuilds {
        /// The note.
        builds: Builds,
        /// ETag of the note that it replaces.
        tag: Option<String>,
        /// Keys of builds that neither this deployment nor the one before is made of.
        superseded: Vec<String>,
    },
    /// Run the pipeline once.
    RunPipeline(RunWhen),
}

/// When a deployment runs the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunWhen {
    /// In any case: model, data or stack are new, or it has not run with them.
    Always,
    /// Only if the change set changes the stack: it has run with this model and these data.
    StackChanges,
}

/// The steps, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeployPlan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl DeployPlan {
    /// The steps from `observed` to `desired`.
    pub fn new(observed: &Observed, desired: &Desired) -> Result<Self, Refusal> {
        let status = observed.stack.as_ref().map(|s| s.status);
        let stack_step = StackStatus::next_step(status);
        refuse_strangers(observed, desired)?;
        if let (StackStep::Attach, Some(status)) = (stack_step, status) {
            return Ok(Self { steps: vec![Step::AwaitStack(status)] });
        }
        let mut steps = artifacts(observed, desired);
        let new_model = desired.replaces_model(observed);
        if new_model {
            steps.push(Step::SetModel(desired.model_version.clone()));
        }
        match (stack_step, status) {
            (StackStep::DeleteFirst, Some(status)) => {
                steps.extend(delete_first(observed, desired, status)?);
            }
            (StackStep::ContinueRollback, _) => steps.push(Step::ContinueRollback),
            _ => {}
        }
        let create = matches!(stack_step, StackStep::Create | StackStep::DeleteFirst);
        if create {
            refuse_left_bucket(observed, desired)?;
        }
        let before = observed.stack.as_ref().and_then(|s| s.image_id.clone());
        steps.push(Step::ChangeStack {
            stack: desired.stack.clone(),
            create,
            template_key: desired.template_key.clone(),
            image: before
                .filter(|image| !create && *image != desired.image_id)
                .map(|image| (image, desired.image_id.clone())),
        });
        let new_data = create || observed.raw_sha256.as_ref() != Some(&desired.raw_sha256);
        if new_data {
            steps.push(Step::UploadData {
                bucket: desired.data_bucket.clone(),
                bytes: desired.raw_bytes,
            });
        }
        steps.extend(keep_builds(observed, desired));
        let when = match observed.has_run && !new_model && !new_data {
            true => RunWhen::StackChanges,
            false => RunWhen::Always,
        };
        steps.extend(desired.runs.then_some(Step::RunPipeline(when)));
        Ok(Self { steps })
    }

    /// What a person must agree to before the first step. The change set has its own review later.
    pub fn concerns(&self) -> Vec<Concern> {
        let concern = |step: &Step| match step {
            Step::EmptyDataBucket { bucket, objects } if *objects > 0 => {
                Some(Concern(format!("{bucket} is emptied: {objects} objects are lost")))
            }
            _ => None,
        };
        self.steps.iter().filter_map(concern).collect()
    }
}

/// What of the artifacts bucket and of the stack must not be touched.
fn refuse_strangers(observed: &Observed, desired: &Desired) -> Result<(), Refusal> {
    for (bucket, state) in [
        (&desired.artifacts_bucket, &observed.artifacts_bucket),
        (&desired.data_bucket, &observed.data_bucket),
    ] {
        if *state == BucketState::Foreign {
            return Err(Refusal::ForeignBucket { bucket: bucket.clone() });
        }
    }
    if let Some(why) = observed.stack.as_ref().and_then(|s| s.stranger(&desired.tags)) {
        return Err(Refusal::StrangeStack { stack: desired.stack.clone(), why });
    }
    match &observed.artifacts_bucket {
        // A bucket without objects may be one whose making was cut off before the tags.
        BucketState::Ours(bucket) if bucket.objects > 0 && !bucket.is_of(&desired.tags) => {
            Err(unknown(&desired.artifacts_bucket, desired, bucket.objects))
        }
        _ => Ok(()),
    }
}

fn unknown(bucket: &str, desired: &Desired, objects: u64) -> Refusal {
    Refusal::UnknownBucket { bucket: bucket.to_owned(), stack: desired.stack.clone(), objects }
}

/// A stack that is made cannot make a bucket that is there.
fn refuse_left_bucket(observed: &Observed, desired: &Desired) -> Result<(), Refusal> {
    let BucketState::Ours(bucket) = &observed.data_bucket else { return Ok(()) };
    if bucket.of_stack {
        return Ok(());
    }
    Err(if bucket.is_of(&desired.tags) {
        Refusal::LeftBucket { bucket: desired.data_bucket.clone(), objects: bucket.objects }
    } else {
        unknown(&desired.data_bucket, desired, bucket.objects)
    })
}

/// The artifacts bucket and what must lie in it.
fn artifacts(observed: &Observed, desired: &Desired) -> Vec<Step> {
    let bucket = desired.artifacts_bucket.clone();
    let first = match &observed.artifacts_bucket {
        BucketState::Ours(found) if found.unset.is_empty() => None,
        BucketState::Ours(found) => {
            Some(Step::SetArtifactsBucket { bucket, settings: found.unset.clone() })
        }
        BucketState::Absent | BucketState::Foreign => Some(Step::CreateArtifactsBucket(bucket)),
    };
    let missing = desired.uploads.iter().filter(|u| !observed.artifact_keys.contains(&u.key));
    first.into_iter().chain(missing.cloned().map(Step::Upload)).collect()
}

/// The note about builds, unless it says already what it should and nothing is superseded.
fn keep_builds(observed: &Observed, desired: &Desired) -> Option<Step> {
    let before = observed.builds.as_ref();
    let uploaded = desired.uploads.iter().map(|u| u.key.as_str());
    let noted = before.and_then(|b| b.builds.as_ref());
    let builds = Builds::after(noted, uploaded, &observed.artifact_keys);
    let superseded = builds.superseded(&observed.artifact_keys);
    let same = noted == Some(&builds) && superseded.is_empty();
    (!same).then(|| Step::KeepBuilds { builds, tag: before.map(|b| b.tag.clone()), superseded })
}

/// Deletes what a failed creation or deletion left, with the objects of its own bucket and of no
/// other.
fn delete_first(
    observed: &Observed,
    desired: &Desired,
    status: StackStatus,
) -> Result<Vec<Step>, Refusal> {
    if observed.stack.as_ref().is_some_and(|s| s.termination_protection) {
        return Err(Refusal::Protected { stack: desired.stack.clone(), status });
    }
    let empty = match &observed.data_bucket {
        BucketState::Ours(bucket) if bucket.of_stack && bucket.objects > 0 => {
            Some(Step::EmptyDataBucket {
                bucket: desired.data_bucket.clone(),
                objects: bucket.objects,
            })
        }
        _ => None,
    };
    Ok(empty.into_iter().chain([Step::DeleteFailedStack(status)]).collect())
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwaitStack(status) => {
                write!(f, "wait for the operation in progress ({status}), then plan again")
            }
            Self::CreateArtifactsBucket(bucket) => write!(f, "create the bucket {bucket}"),
            Self::SetArtifactsBucket { bucket, settings } => {
                let names: Vec<&str> = settings.iter().map(|s| s.as_str()).collect();
                write!(f, "set what is missing of the bucket {bucket}: {}", names.join(", "))
            }
            Self::Upload(u) => write!(f, "upload {} ({})", u.what, size(u.bytes)),
            Self::SetModel(version) => write!(f, "put model {version} into service"),
            Self::EmptyDataBucket { bucket, objects } => {
                write!(f, "delete all {objects} objects in {bucket}")
            }
            Self::DeleteFailedStack(status) => {
                write!(f, "delete what a failed creation left ({status})")
            }
            Self::ContinueRollback => f.write_str("continue the rollback that failed"),
            Self::ChangeStack { stack, create: true, .. } => write!(f, "create the stack {stack}"),
            Self::ChangeStack { stack, image: None, .. } => {
                write!(f, "update the stack {stack} if the template differs")
            }
            Self::ChangeStack { stack, image: Some((old, new)), .. } => {
                write!(f, "update the stack {stack}, with a new server: image {new} after {old}")
            }
            Self::UploadData { bucket, bytes } => {
                write!(f, "upload the raw data ({}) to {bucket}", size(*bytes))
            }
            Self::KeepBuilds { superseded, .. } if superseded.is_empty() => {
                f.write_str("note what the deployment is made of")
            }
            Self::KeepBuilds { superseded, .. } => write!(
                f,
                "delete {} builds that neither this deployment nor the one before is made of",
                superseded.len()
            ),
            Self::RunPipeline(RunWhen::Always) => f.write_str("run the pipeline once"),
            Self::RunPipeline(RunWhen::StackChanges) => f.write_str(
                "run the pipeline once if the stack changes: it has run with this model and these \
                 data",
            ),
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
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builds::ObservedBuilds;
    use crate::observed::{ObservedBucket, ObservedModel, ObservedStack};

    fn tags() -> Vec<(String, String)> {
        vec![("p:pipeline".into(), "m".into()), ("p:environment".into(), "e".into())]
    }

    fn desired() -> Desired {
        let upload =
            |what: &str, key: &str| Upload { what: what.into(), key: key.into(), bytes: 1_500 };
        Desired {
            stack: "s".into(),
            tags: tags(),
            artifacts_bucket: "a".into(),
            data_bucket: "d".into(),
            uploads: vec![
                upload("the model server", "bin/1"),
                upload("the template", "templates/1"),
            ],
            template_key: "templates/1".into(),
            costs: "nothing".into(),
            image_id: "ami-1".into(),
            model_version: "m1".into(),
            model_card_key: "models/m1".into(),
            raw_sha256: "r1".into(),
            raw_bytes: 20,
            runs: false,
        }
    }

    fn stack(status: StackStatus) -> ObservedStack {
        let tags = tags().into_iter().collect();
        ObservedStack { tags, image_id: Some("ami-1".into()), ..ObservedStack::new(status) }
    }

    fn bucket(objects: u64, of_stack: bool, tagged: bool) -> BucketState {
        let tags = if tagged { tags().into_iter().collect() } else { Default::default() };
        BucketState::Ours(ObservedBucket { objects, of_stack, tags, unset: BTreeSet::new() })
    }

    fn plan(observed: &Observed) -> DeployPlan {
        DeployPlan::new(observed, &desired()).expect("a plan")
    }

    #[test]
    fn from_nothing_everything_is_made() {
        let expected = "  1. create the bucket a\n  2. upload the model server (1.5 kB)\n  \
                        3. upload the template (1.5 kB)\n  4. put model m1 into service\n  \
                        5. create the stack s\n  6. upload the raw data (20 B) to d\n  \
                        7. note what the deployment is made of\n";
        let plan = plan(&Observed::default());
        assert_eq!(plan.to_string(), expected);
        assert_eq!(plan.concerns(), []);
        let running = Desired { runs: true, ..desired() };
        let plan = DeployPlan::new(&Observed::default(), &running).expect("a plan");
        assert_eq!(plan.steps.last(), Some(&Step::RunPipeline(RunWhen::Always)));
    }

    #[test]
    fn a_model_that_was_chosen_since_stays_unless_the_deployments_is_new() {
        let sets = |version: &str, chosen_since: bool, known: bool| {
            let model = Some(ObservedModel { version: version.into(), chosen_since });
            let artifact_keys = known.then(|| "models/m1".to_owned()).into_iter().collect();
            let observed = Observed { model, artifact_keys, ..Observed::default() };
            plan(&observed).steps.contains(&Step::SetModel("m1".into()))
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
            let observed = Observed { stack: Some(stack(status)), ..Observed::default() };
            let plan = plan(&observed);
            let changes =
                plan.steps.iter().filter(|s| matches!(s, Step::ChangeStack { .. })).count();
            let waits = plan.steps.iter().filter(|s| matches!(s, Step::AwaitStack(_))).count();
            assert_eq!(changes + waits, 1, "{status}");
        }
    }

    #[test]
    fn what_is_there_is_not_uploaded_again() {
        let mut observed = Observed {
            artifacts_bucket: bucket(2, false, true),
            data_bucket: bucket(1, true, true),
            artifact_keys: ["bin/1", "templates/1"].map(str::to_owned).into(),
            model: Some(ObservedModel { version: "m1".into(), chosen_since: false }),
            stack: Some(stack(StackStatus::CreateComplete)),
            raw_sha256: Some("r1".into()),
            builds: Some(ObservedBuilds {
                builds: Some(Builds {
                    present: ["bin/1", "templates/1"].map(str::to_owned).into(),
                    previous: ["bin/0".to_owned()].into(),
                }),
                tag: "e".into(),
            }),
            ..Observed::default()
        };
        let nothing = "  1. update the stack s if the template differs\n";
        assert_eq!(plan(&observed).to_string(), nothing);
        observed.stack = observed.stack.map(|s| ObservedStack { image_id: None, ..s });
        assert_eq!(plan(&observed).to_string(), nothing, "an unknown image is no change");
        let older = Some("ami-0".to_owned());
        observed.stack = observed.stack.map(|s| ObservedStack { image_id: older, ..s });
        assert_eq!(
            plan(&observed).to_string(),
            "  1. update the stack s, with a new server: image ami-1 after ami-0\n"
        );
        observed.artifact_keys.extend(["bin/0", "bin/old"].map(str::to_owned));
        let last = plan(&observed).steps.pop().expect("steps");
        let expected = "delete 1 builds that neither this deployment nor the one before is made of";
        assert_eq!(last.to_string(), expected);
    }

    #[test]
    fn the_pipeline_runs_unless_it_has_run_with_all_that_is_deployed() {
        let running = Desired { runs: true, ..desired() };
        let when = |observed: &Observed| {
            let plan = DeployPlan::new(observed, &running).expect("a plan");
            match plan.steps.last() {
                Some(Step::RunPipeline(when)) => *when,
                other => panic!("{other:?}"),
            }
        };
        let same = Observed {
            stack: Some(stack(StackStatus::CreateComplete)),
            model: Some(ObservedModel { version: "m1".into(), chosen_since: false }),
            raw_sha256: Some("r1".into()),
            has_run: true,
            ..Observed::default()
        };
        assert_eq!(when(&same), RunWhen::StackChanges);
        for new in [
            Observed { has_run: false, ..same.clone() },
            Observed { model: None, ..same.clone() },
            Observed { raw_sha256: Some("r0".into()), ..same.clone() },
            Observed { stack: None, ..same },
        ] {
            assert_eq!(when(&new), RunWhen::Always, "{new:?}");
        }
    }

    #[test]
    fn an_artifacts_bucket_that_was_half_made_is_completed() {
        let unset: BTreeSet<_> = [BucketSetting::Tags, BucketSetting::Policy].into();
        let half = ObservedBucket { unset, ..ObservedBucket::default() };
        let observed =
            Observed { artifacts_bucket: BucketState::Ours(half), ..Observed::default() };
        assert_eq!(
            plan(&observed).steps[0].to_string(),
            "set what is missing of the bucket a: policy, tags"
        );
    }

    #[test]
    fn a_failed_stack_with_objects_is_emptied_only_after_consent() {
        let failed = |data_bucket| Observed {
            data_bucket,
            stack: Some(stack(StackStatus::RollbackFailed)),
            ..Observed::default()
        };
        let full = plan(&failed(bucket(26, true, true)));
        assert_eq!(full.concerns(), [Concern("d is emptied: 26 objects are lost".into())]);
        assert!(full.to_string().contains("delete all 26 objects in d\n"), "{full}");
        let empty = plan(&failed(bucket(0, true, true)));
        assert_eq!(empty.concerns(), []);
        assert!(!empty.to_string().contains("objects"), "{empty}");
    }

    #[test]
    fn what_is_not_ours_is_refused_before_the_first_step() {
        let failed = stack(StackStatus::RollbackComplete);
        let refused = |observed: &Observed| {
            DeployPlan::new(observed, &desired()).expect_err("refused").to_string()
        };
        let mut observed = Observed { data_bucket: bucket(3, false, false), ..Observed::default() };
        assert!(refused(&observed).contains("d is there (3 objects), but this deployment"));
        observed.stack = Some(failed.clone());
        assert!(refused(&observed).contains("but this deployment has not made it"));
        observed.data_bucket = bucket(3, false, true);
        assert!(refused(&observed).contains("left from an earlier stack (3 objects)"));
        observed.data_bucket = BucketState::Foreign;
        assert_eq!(refused(&observed), "the bucket d belongs to another account");
        observed.data_bucket = bucket(3, true, true);
        observed.stack = Some(ObservedStack { termination_protection: true, ..failed.clone() });
        assert!(refused(&observed).contains("termination protection is on"));
        observed.stack = Some(ObservedStack { tags: Default::default(), ..failed });
        assert!(refused(&observed).contains("belongs to another deployment: it has no tag"));
        let artifacts =
            Observed { artifacts_bucket: bucket(1, false, false), ..Observed::default() };
        assert!(refused(&artifacts).contains("the bucket a is there (1 objects)"));
    }
}
