//! Everything that decides a deployment or a destruction, in one round of reading calls.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use steppe_aws::{Aws, Kind, Owner, ResourceView, StackView};
use steppe_plan::builds::ObservedBuilds;
use steppe_plan::elf::Architecture;
use steppe_plan::environment::Environment;
use steppe_plan::names::Names;
use steppe_plan::observed::{
    BucketState, Observed, ObservedBucket, ObservedCloud, ObservedModel, ObservedStack,
};
use steppe_plan::site::{Site, ZoneChoice, image_parameter};
use steppe_plan::status::{StackStatus, StackStep};
use steppe_spec::Manifest;
use steppe_wire::keys;
use steppe_wire::registry::{Promoter, Service};

use crate::deployment::Deployment;
use crate::freshness::{has_run, uploaded};
use crate::lock::others_work;
use crate::project::Workspace;
use crate::registry::Registry;
use crate::target::local_cloud;

/// Output of the stack: ARN of the state machine that is the pipeline.
const PIPELINE: &str = "StateMachineArn";
/// Output of the stack: ARN of the state machine that looks for drift.
const DRIFT: &str = "DriftMachineArn";

/// Largest note about builds that is read.
const NOTE_BYTES_MAX: u64 = 1024 * 1024;

/// What an observation is for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A deployment, which needs to know what is there.
    Deploy(&'a Manifest),
    /// A destruction, which needs to know what is lost, and who else uses the place.
    Destroy(&'a Workspace),
}

/// Looks at everything.
pub async fn observe(ours: &Deployment, purpose: Purpose<'_>) -> Result<Observed> {
    let (aws, names) = (ours.aws(), ours.names());
    let (artifacts, data, name) = (names.artifacts_bucket(), names.data_bucket(), names.stack());
    let (artifacts_owner, data_owner, stack) =
        tokio::try_join!(aws.bucket_owner(&artifacts), aws.bucket_owner(&data), aws.stack(&name))?;
    let step = StackStatus::next_step(stack.as_ref().map(|s| s.status));
    // Counting the objects of a large bucket takes many calls, and only a deletion asks for it.
    let counts = matches!(purpose, Purpose::Destroy(_))
        || matches!(step, StackStep::Create | StackStep::DeleteFirst);
    let ((artifacts_bucket, artifact_keys), data_bucket) = tokio::try_join!(
        artifacts_bucket(aws, names, artifacts_owner),
        data_bucket(aws, names, (data_owner, stack.as_ref(), counts))
    )?;
    let observed = Observed {
        artifacts_bucket,
        data_bucket,
        artifact_keys,
        stack: stack.as_ref().map(observed_stack),
        ..Observed::default()
    };
    match purpose {
        Purpose::Destroy(workspace) => {
            let cloud = match local_cloud(workspace)? {
                Some(_) => Some(cloud_of(workspace, aws).await?),
                None => None,
            };
            Ok(Observed { cloud, ..observed })
        }
        Purpose::Deploy(_) if artifacts_owner != Owner::Us => Ok(observed),
        Purpose::Deploy(manifest) => in_place(ours, stack, observed, data_owner, manifest).await,
    }
}

/// What a deployment finds beside buckets and stack: the model, the builds, the data, the last run.
async fn in_place(
    ours: &Deployment,
    stack: Option<StackView>,
    mut observed: Observed,
    data_owner: Owner,
    manifest: &Manifest,
) -> Result<Observed> {
    let (aws, names) = (ours.aws(), ours.names());
    let pointer = Registry::new(aws, names).pointer().await?.map(|p| p.in_service.current);
    observed.builds = noted_builds(aws, &names.artifacts_bucket()).await?;
    let chosen_since = |s: &Service| s.by != Promoter::Deploy;
    observed.model =
        pointer.map(|s| ObservedModel { chosen_since: chosen_since(&s), version: s.model.version });
    let deployed = stack.as_ref().is_some_and(|s| s.status.is_deployed());
    if !deployed || data_owner != Owner::Us {
        return Ok(observed);
    }
    observed.raw_sha256 = uploaded(aws, names).await?;
    let machine = stack.and_then(|s| s.outputs.get(PIPELINE).cloned());
    if let (Some(machine), Some(model)) = (machine, &observed.model) {
        observed.has_run = has_run(aws, names, manifest, &machine, &model.version).await?;
    }
    Ok(observed)
}

/// Who else uses the embedded cloud.
pub async fn cloud_of(workspace: &Workspace, aws: &Aws) -> Result<ObservedCloud> {
    let own = workspace.names.stack();
    let mut other_stacks = aws.stacks().await?;
    other_stacks.retain(|stack| *stack != own);
    let is_busy = others_work(&workspace.scratch(), Some(&own));
    Ok(ObservedCloud { other_stacks, is_busy })
}

/// What the last deployments noted about their builds. A note that cannot be read is none: then
/// nothing that is there counts as superseded.
async fn noted_builds(aws: &Aws, bucket: &str) -> Result<Option<ObservedBuilds>> {
    let note = aws.get_tagged(bucket, keys::BUILDS, NOTE_BYTES_MAX).await?;
    let Some((bytes, tag)) = note else { return Ok(None) };
    Ok(Some(ObservedBuilds { builds: serde_json::from_slice(&bytes).ok(), tag }))
}

fn observed_stack(stack: &StackView) -> ObservedStack {
    let zones = stack.outputs.get("Zones").and_then(|zones| {
        let (first, second) = zones.split_once(',')?;
        Some([first.to_owned(), second.to_owned()])
    });
    let machine = |output: &&str| stack.outputs.get(*output).cloned();
    ObservedStack {
        machines: [PIPELINE, DRIFT].iter().filter_map(machine).collect(),
        tags: stack.tags.clone(),
        termination_protection: stack.termination_protection,
        image_id: stack.outputs.get("ImageId").cloned(),
        zones,
        ..ObservedStack::new(stack.status)
    }
}

/// The bucket that is made before the stack, and its keys.
async fn artifacts_bucket(
    aws: &Aws,
    names: &Names,
    owner: Owner,
) -> Result<(BucketState, BTreeSet<String>)> {
    let bucket = names.artifacts_bucket();
    match owner {
        Owner::Nobody => return Ok((BucketState::Absent, BTreeSet::new())),
        Owner::Another => return Ok((BucketState::Foreign, BTreeSet::new())),
        Owner::Us => {}
    }
    let tags = names.tags();
    let (keys, there, unset) = tokio::try_join!(
        aws.keys(&bucket, ""),
        aws.bucket_tags(&bucket),
        aws.unset(&bucket, &tags)
    )?;
    let objects = keys.len() as u64;
    let found = ObservedBucket { objects, tags: there, of_stack: false, unset };
    Ok((BucketState::Ours(found), keys.into_iter().collect()))
}

/// The pipeline's bucket, and whether the stack made it.
async fn data_bucket(
    aws: &Aws,
    names: &Names,
    (owner, stack, counts): (Owner, Option<&StackView>, bool),
) -> Result<BucketState> {
    let bucket = names.data_bucket();
    match owner {
        Owner::Nobody => return Ok(BucketState::Absent),
        Owner::Another => return Ok(BucketState::Foreign),
        Owner::Us => {}
    }
    let made =
        |resource: &ResourceView| resource.physical_id == bucket && resource.status.is_made();
    let of_stack = match stack {
        Some(stack) => aws.stack_resources(&stack.id).await?.iter().any(made),
        None => false,
    };
    let tags = aws.bucket_tags(&bucket).await?;
    let objects = if counts { aws.keys(&bucket, "").await?.len() as u64 } else { 0 };
    Ok(BucketState::Ours(ObservedBucket { objects, tags, of_stack, ..ObservedBucket::default() }))
}

/// What the template takes from the place that it is deployed to.
pub async fn site(
    aws: &Aws,
    workspace: &Workspace,
    architecture: Architecture,
    observed: &Observed,
) -> Result<Site> {
    let parameter = image_parameter(architecture);
    let instance_type = architecture.instance_type(&workspace.manifest);
    let s3 = format!("com.amazonaws.{}.s3", workspace.names.region);
    let (image_id, offering, s3_prefix_list) = tokio::join!(
        aws.parameter(&parameter),
        aws.zones_offering(instance_type),
        aws.prefix_list(&s3)
    );
    let embedded = workspace.environment.is_embedded();
    let known = Site::embedded(architecture);
    let image_id = match image_id {
        Err(error) if embedded && error.kind == Kind::NotImplemented => known.image_id,
        other => other.with_context(|| format!("the newest image `{parameter}` is not known"))?,
    };
    let offering = match offering {
        // This program without the EC2 client, or an old build of the embedded cloud.
        Err(error) if embedded && error.kind != Kind::Unreachable => known.zones.to_vec(),
        other => other?,
    };
    let s3_prefix_list = match s3_prefix_list {
        Err(error) if embedded && error.kind != Kind::Unreachable => known.s3_prefix_list,
        other => other?,
    };
    let wanted = match &workspace.environment {
        Environment::Aws { zones, .. } => zones.as_ref(),
        Environment::Embedded { .. } => None,
    };
    let choice = ZoneChoice {
        offering: &offering,
        instance_type,
        wanted,
        current: observed.stack.as_ref().and_then(|s| s.zones.as_ref()),
    };
    let zones = choice.choose().context("no zones can be chosen")?;
    Ok(Site { image_id, zones, s3_prefix_list })
}
