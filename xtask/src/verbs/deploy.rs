//! `deploy` and `plan`: observe, plan, print or carry out.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::Read;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use steppe_aws::Aws;
use steppe_model::Artifact;
use steppe_model::artifact::{CARD_FILE, WEIGHTS_FILE};
use steppe_plan::deploy::{DeployPlan, Desired, Step, Upload};
use steppe_plan::elf::Architecture;
use steppe_plan::environment::Environment;
use steppe_plan::names::Names;
use steppe_plan::observed::{BucketState, Observed, ObservedBucket, ObservedModel, ObservedStack};
use steppe_plan::site::Site;
use steppe_plan::stack::{StackSpec, sha256_hex, told};
use steppe_plan::status::{StackStatus, resource_is_made};
use steppe_wire::keys;
use steppe_wire::registry::{Promoter, Service, TRAINING_SCHEMA_VERSION, TrainingRecord};

use super::{connect, local_cloud};
use crate::artifacts::{self, Artifacts};
use crate::cli::DataArgs;
use crate::deployer::{Changed, Deployer};
use crate::exit::Outcome;
use crate::project::{RawData, Workspace};
use crate::registry::{Registry, now};
use crate::story::Story;
use crate::training;

/// Bodies of what is uploaded, by key.
type Bodies = HashMap<String, Vec<u8>>;

/// Looks at the cloud before giving up on somebody else's operation.
const LOOKS_MAX: usize = 5;

/// A deployment with everything that its steps need.
struct Deployment<'a> {
    workspace: &'a Workspace,
    deployer: Deployer<'a>,
    desired: Desired,
    bodies: Bodies,
    raw: RawData,
    model: Artifact,
    /// Names the model's configuration and data.
    training_key: String,
}

/// What a deployment's training found: no contest, because whoever deploys wants this model.
fn record(model: &Artifact, key: &str) -> TrainingRecord {
    TrainingRecord {
        schema_version: TRAINING_SCHEMA_VERSION,
        key: key.to_owned(),
        time: now(),
        execution: "deploy".to_owned(),
        observed_until: model.card.data.last.clone(),
        challenger: model.model_ref(),
        champion: None,
        contest: None,
        promoted: true,
        reason: "deployed".to_owned(),
    }
}

/// Deploys, or prints what a deployment would do.
pub async fn run(
    workspace: &Workspace,
    data: &DataArgs,
    yes: bool,
    dry_run: bool,
) -> Result<Outcome> {
    let story = Story::begin();
    let _lock = lock(workspace, "deploy")?;
    let raw = workspace.raw_data(data)?;
    artifacts::build(&workspace.root, &story).await?;
    let (model, training_key) = training::run(workspace, &raw, &story).await?;
    let artifacts = artifacts::collect(workspace)?;
    let architecture = artifacts.architecture;
    let (desired, bodies) = desired(workspace, &raw, &model, artifacts)?;
    start_local(workspace, &story)?;
    let aws = connect(workspace).await?;
    if dry_run {
        print!("{}", planned(&observe(&aws, workspace).await?, &desired)?);
        cost(workspace, architecture, &story);
        return Ok(Outcome::Done);
    }
    let deployer = Deployer { aws: &aws, names: &workspace.names, story: &story, yes };
    let deployment = Deployment { workspace, deployer, desired, bodies, raw, model, training_key };
    let changed = deployment.execute().await?;
    if matches!(changed, Changed::Deployed | Changed::NoChange) {
        deployment.summary(&changed);
        cost(workspace, architecture, &story);
    }
    Ok(changed.outcome())
}

/// One deployment at a time; the second says who holds the lock.
pub fn lock(workspace: &Workspace, verb: &str) -> Result<File> {
    let file = workspace.scratch().join(format!("{}.lock", workspace.names.stack()));
    std::fs::create_dir_all(workspace.scratch())?;
    let mut lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file)
        .with_context(|| format!("cannot open {}", file.display()))?;
    let taken = lock.try_lock();
    if let Err(TryLockError::Error(error)) = taken {
        return Err(error).with_context(|| format!("cannot lock {}", file.display()));
    }
    if taken.is_err() {
        let mut holder = String::new();
        lock.read_to_string(&mut holder)?;
        bail!(
            "another command works on {}: {}\nhint: wait until it has ended",
            workspace.names.stack(),
            holder.trim()
        );
    }
    lock.set_len(0)?;
    let holder = format!(
        "`cargo xtask {verb}`, process {}, since {}",
        std::process::id(),
        jiff::Timestamp::now().strftime("%H:%M:%S UTC")
    );
    std::io::Write::write_all(&mut lock, holder.as_bytes())?;
    Ok(lock)
}

fn start_local(workspace: &Workspace, story: &Story) -> Result<()> {
    if std::env::var_os("AWS_ENDPOINT_URL").is_some() {
        return Ok(());
    }
    let Some(local) = local_cloud(workspace) else { return Ok(()) };
    let started = Instant::now();
    let (about, new) = local.start()?;
    if new {
        story.done(
            "started",
            &format!("embedded cloud on 127.0.0.1:{}", about.port),
            started.elapsed(),
        );
    }
    Ok(())
}

fn desired(
    workspace: &Workspace,
    raw: &RawData,
    model: &Artifact,
    artifacts: Artifacts,
) -> Result<(Desired, Bodies)> {
    let names = &workspace.names;
    let site = match workspace.environment {
        Environment::Embedded { .. } => Site::embedded(artifacts.architecture),
        Environment::Aws { .. } => {
            bail!("the zones and the image of a region are not asked for yet")
        }
    };
    let spec = StackSpec {
        names,
        manifest: &workspace.manifest,
        query_sql: workspace.query_sql.clone(),
        raw_columns: raw.columns.clone(),
        hashes: artifacts.hashes,
        architecture: artifacts.architecture,
        site: &site,
    };
    let template = spec.render()?.into_bytes();
    let template_key = keys::template(&sha256_hex(&template));
    let version = model.version();
    let mut objects = artifacts.objects;
    let mut add = |what: &str, key: String, bytes: Vec<u8>| {
        objects.push((Upload { what: what.to_owned(), key, bytes: bytes.len() }, bytes))
    };
    add(
        "the model's weights",
        keys::model_file(&names.pipeline, &version, WEIGHTS_FILE),
        model.weights_bytes.clone(),
    );
    let model_card_key = keys::model_file(&names.pipeline, &version, CARD_FILE);
    add("the model card", model_card_key.clone(), model.card_bytes.clone());
    add("the template", template_key.clone(), template);
    let desired = Desired {
        stack: names.stack(),
        tags: names.tags(),
        artifacts_bucket: names.artifacts_bucket(),
        data_bucket: names.data_bucket(),
        uploads: objects.iter().map(|(upload, _)| upload.clone()).collect(),
        template_key,
        image_id: site.image_id.clone(),
        model_version: version,
        model_card_key,
        raw_sha256: raw.sha256.clone(),
        raw_bytes: raw.bytes.len(),
    };
    Ok((desired, objects.into_iter().map(|(upload, bytes)| (upload.key, bytes)).collect()))
}

/// Everything that decides the plan, in one round of reading calls.
async fn observe(aws: &Aws, workspace: &Workspace) -> Result<Observed> {
    let names = &workspace.names;
    let (bucket, stack) = (names.artifacts_bucket(), names.stack());
    let (exists, stack) = tokio::try_join!(aws.bucket_exists(&bucket), aws.stack(&stack))?;
    let mut observed =
        Observed { data_bucket: data_bucket(aws, names).await?, ..Observed::default() };
    observed.stack = stack.map(|s| ObservedStack {
        tags: s.tags,
        termination_protection: s.termination_protection,
        image_id: s.outputs.get("ImageId").cloned(),
        ..ObservedStack::new(s.status)
    });
    if exists {
        let tags = names.tags().into_iter().collect();
        observed.artifacts_bucket =
            BucketState::Ours(ObservedBucket { tags, ..ObservedBucket::default() });
    }
    if exists {
        observed.artifact_keys = aws.keys(&bucket, "").await?.into_iter().collect();
        let pointer = Registry::new(aws, names).pointer().await?.map(|p| p.in_service.current);
        let chosen_since = |s: &Service| s.by != Promoter::Deploy;
        observed.model = pointer
            .map(|s| ObservedModel { chosen_since: chosen_since(&s), version: s.model.version });
    }
    if observed.stack.as_ref().is_some_and(|s| s.status.is_deployed()) {
        observed.raw_sha256 =
            aws.sha256_of(&names.data_bucket(), &keys::raw(&names.pipeline)).await?;
    }
    Ok(observed)
}

/// The plan, or what forbids it with the way out.
fn planned(observed: &Observed, desired: &Desired) -> Result<DeployPlan> {
    DeployPlan::new(observed, desired)
        .map_err(|refusal| anyhow::anyhow!("{refusal}\nhint: {}", refusal.hint()))
}

/// The pipeline's bucket, and whether the stack made it.
async fn data_bucket(aws: &Aws, names: &Names) -> Result<BucketState> {
    let bucket = names.data_bucket();
    if !aws.bucket_exists(&bucket).await? {
        return Ok(BucketState::Absent);
    }
    let resources = match aws.stack(&names.stack()).await? {
        Some(_) => aws.stack_resources(&names.stack()).await?,
        None => vec![],
    };
    let of_stack =
        resources.iter().any(|(_, _, status, id)| *id == bucket && resource_is_made(status));
    let objects = aws.keys(&bucket, "").await?.len() as u64;
    Ok(BucketState::Ours(ObservedBucket { objects, of_stack, ..ObservedBucket::default() }))
}

/// What the deployment costs while nothing runs; the embedded cloud costs nothing.
fn cost(workspace: &Workspace, architecture: Architecture, story: &Story) {
    if local_cloud(workspace).is_some() {
        return;
    }
    let instance = workspace.manifest.stack.instance_type(architecture);
    story.note("cost", &told(&workspace.manifest, instance));
}

impl Deployment<'_> {
    /// Plans and carries out; a plan that only waits is followed by another.
    async fn execute(&self) -> Result<Changed> {
        for _ in 0..LOOKS_MAX {
            let observed = observe(self.deployer.aws, self.workspace).await?;
            let plan = planned(&observed, &self.desired)?;
            if !self.deployer.agreed(&plan.concerns()) {
                return Ok(Changed::NeedsApproval);
            }
            let waits = matches!(plan.steps.as_slice(), [Step::AwaitStack(_)]);
            let mut changed = Changed::NoChange;
            for step in plan.steps {
                changed = match self.carry_out(step).await? {
                    Some(
                        stopped @ (Changed::NeedsApproval | Changed::RolledBack | Changed::Wedged),
                    ) => return Ok(stopped),
                    Some(other) => other,
                    None => changed,
                };
            }
            if !waits {
                return Ok(changed);
            }
        }
        bail!(
            "other operations keep the stack {} busy\nhint: `cargo xtask status` shows what goes on; repeat the command later",
            self.desired.stack
        )
    }

    /// Carries out one step; `Some` when it changed the stack or must be the last one.
    async fn carry_out(&self, step: Step) -> Result<Option<Changed>> {
        let Self { workspace, deployer, desired, raw, model, .. } = self;
        let (aws, story, names) = (deployer.aws, deployer.story, &workspace.names);
        let (started, told) = (Instant::now(), step.to_string());
        match step {
            Step::AwaitStack(_) => {
                story.note("waiting", &told);
                deployer.watch(&desired.stack, None).await?;
                return Ok(None);
            }
            Step::CreateArtifactsBucket(bucket) | Step::SetArtifactsBucket { bucket, .. } => {
                aws.create_bucket(&bucket, &names.region, &names.tags()).await?;
                story.done("created", &format!("bucket {bucket}"), started.elapsed());
            }
            Step::Upload(upload) => {
                let body = self
                    .bodies
                    .get(&upload.key)
                    .with_context(|| format!("no body for {}", upload.key))?;
                aws.put(&desired.artifacts_bucket, &upload.key, body.clone(), &sha256_hex(body))
                    .await?;
                story.done("uploaded", told.trim_start_matches("upload "), started.elapsed());
            }
            Step::SetModel(version) => {
                let registry = Registry::new(aws, names);
                let before = registry.pointer().await?;
                registry.promote(before, model.pointer(), Promoter::Deploy, "deployed").await?;
                registry.keep(&record(model, &self.training_key)).await?;
                story.done("in service", &format!("model {version}"), started.elapsed());
            }
            Step::EmptyDataBucket { bucket, .. } => {
                let count = aws.empty_bucket(&bucket).await?;
                story.done("emptied", &format!("{bucket} ({count} objects)"), started.elapsed());
            }
            Step::DeleteFailedStack(_) => {
                story.note("deleting", &told);
                let id = aws
                    .stack(&desired.stack)
                    .await?
                    .map(|s| s.id)
                    .context("the failed stack vanished")?;
                aws.delete_stack(&desired.stack).await?;
                let left = deployer
                    .watch(&id, None)
                    .await?
                    .filter(|s| s.status != StackStatus::DeleteComplete);
                if let Some(left) = left {
                    story.failed(
                        "wedged",
                        &format!(
                            "the failed stack cannot be deleted, it is in {}: {}",
                            left.status,
                            left.reason.unwrap_or_default()
                        ),
                    );
                    return Ok(Some(Changed::Wedged));
                }
            }
            Step::ContinueRollback => {
                aws.continue_rollback(&desired.stack).await?;
                deployer.watch(&desired.stack, None).await?;
            }
            Step::ChangeStack { create, template_key, .. } => {
                return deployer.change_stack(create, &template_key).await.map(Some);
            }
            Step::UploadData { bucket, .. } => {
                aws.put(&bucket, &keys::raw(&names.pipeline), raw.bytes.clone(), &raw.sha256)
                    .await?;
                story.done("uploaded", "the raw data", started.elapsed());
            }
        }
        Ok(None)
    }

    fn summary(&self, changed: &Changed) {
        let Self { workspace, model, raw, deployer, .. } = self;
        let story = deployer.story;
        let state = if *changed == Changed::Deployed { "deployed" } else { "up to date" };
        let errors = model.card.backtest.model;
        let what = format!(
            "{} in environment {}, model {} (backtest MAPE {:.2} %)",
            workspace.names.stack(),
            workspace.environment_name,
            model.version(),
            errors.mape
        );
        story.done(state, &what, story.elapsed());
        if raw.synthetic {
            story.note("note", "the data are synthetic; use your own with `--data FILE.csv`");
        }
        let example = &model.card.spec.series_column;
        story.note(
            "next",
            &format!(
                "cargo xtask smoke-test; cargo xtask predict {}; cargo xtask query",
                example.to_uppercase()
            ),
        );
    }
}
