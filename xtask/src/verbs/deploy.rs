//! `deploy` and `plan`: observe, plan, print or carry out.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use steppe_model::Artifact;
use steppe_plan::builds::Builds;
use steppe_plan::deploy::{DeployPlan, Desired, Step, Upload};
use steppe_plan::observed::{BucketSetting, Observed};
use steppe_plan::site::Site;
use steppe_plan::stack::{StackSpec, sha256_hex};
use steppe_wire::keys::{self, CARD_FILE, WEIGHTS_FILE};
use steppe_wire::registry::{Promoter, TRAINING_SCHEMA_VERSION, TrainingRecord};

use crate::artifacts::{self, Artifacts};
use crate::cli::DataArgs;
use crate::deployer::{Changed, Deployer};
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::freshness::has_run;
use crate::lock::lock;
use crate::observe::{Purpose, observe, site};
use crate::project::{RawData, Workspace};
use crate::registry::{Registry, now};
use crate::story::Story;
use crate::target::local_cloud;
use crate::terminal::out;
use crate::training;

use super::run_pinned;

/// Bodies of what is uploaded, by key.
type Bodies = HashMap<String, Vec<u8>>;

/// Looks at the cloud before giving up on somebody else's operation.
pub const LOOKS_MAX: usize = 5;

/// What a person may say about a deployment in advance.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Agrees to whatever is lost or widened.
    pub yes: bool,
    /// Prints the plan and stops.
    pub dry_run: bool,
    /// Runs the pipeline at the end.
    pub runs: bool,
}

/// A deployment that is under way, with everything that its steps need.
struct Deploying<'a> {
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
        observed_until: model.card.section.data.last.clone(),
        challenger: model.model_ref(),
        champion: None,
        contest: None,
        promoted: true,
        reason: "deployed".to_owned(),
    }
}

/// Deploys, or prints what a deployment would do.
pub async fn run(workspace: &Workspace, data: &DataArgs, options: Options) -> Result<Outcome> {
    let story = Story::begin();
    let _lock = lock(workspace, "deploy")?;
    let raw = workspace.raw_data(data)?;
    artifacts::build(&workspace.root, &story).await?;
    let (model, training_key) = training::run(workspace, &raw, &story).await?;
    let artifacts = artifacts::collect(workspace)?;
    let architecture = artifacts.architecture;
    start_local(workspace, &story)?;
    let ours = Deployment::open(workspace).await?;
    let aws = ours.aws();
    let observed = observe(aws, &workspace.names, Purpose::Deploy).await?;
    let site = site(aws, workspace, architecture, &observed).await?;
    // Without the query that lists the series, whoever starts a run has to name them.
    let runs = options.runs && workspace.manifest.stack.verify;
    let (desired, bodies) = desired(workspace, &site, (&raw, &model), artifacts, runs)?;
    if options.dry_run {
        out(&DeployPlan::new(&observed, &desired)?.to_string());
        cost(workspace, &desired, &story)?;
        return Ok(Outcome::Done);
    }
    let (local, yes) = (local_cloud(workspace)?, options.yes);
    let local = local.as_ref();
    let deployer = Deployer { aws, names: &workspace.names, story: &story, yes, local };
    let deploying = Deploying { workspace, deployer, desired, bodies, raw, model, training_key };
    let changed = deploying.execute(observed).await?;
    if matches!(changed, Changed::Deployed | Changed::NoChange) {
        deploying.summary(&changed);
        cost(workspace, &deploying.desired, &story)?;
    }
    Ok(changed.outcome())
}

fn start_local(workspace: &Workspace, story: &Story) -> Result<()> {
    let Some(local) = local_cloud(workspace)? else { return Ok(()) };
    let started = Instant::now();
    let (about, new) = local.start(Some(&workspace.names.stack()))?;
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
    site: &Site,
    (raw, model): (&RawData, &Artifact),
    artifacts: Artifacts,
    runs: bool,
) -> Result<(Desired, Bodies)> {
    let names = &workspace.names;
    let spec = StackSpec {
        names,
        manifest: &workspace.manifest,
        query_sql: workspace.query_sql.clone(),
        raw_header: raw.header.clone(),
        hashes: artifacts.hashes,
        architecture: artifacts.architecture,
        site,
    };
    let (template, costs) = (spec.render()?.into_bytes(), spec.costs()?);
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
        costs,
        image_id: site.image_id.clone(),
        model_version: version,
        model_card_key,
        raw_sha256: raw.sha256.clone(),
        raw_bytes: usize::try_from(raw.copy.bytes())?,
        runs,
    };
    Ok((desired, objects.into_iter().map(|(upload, bytes)| (upload.key, bytes)).collect()))
}

/// What the deployment costs; the embedded cloud costs nothing.
fn cost(workspace: &Workspace, desired: &Desired, story: &Story) -> Result<()> {
    if local_cloud(workspace)?.is_none() {
        story.note("cost", &desired.costs);
    }
    Ok(())
}

impl Deploying<'_> {
    /// Plans and carries out; a plan that only waits is followed by another.
    async fn execute(&self, mut observed: Observed) -> Result<Changed> {
        for _ in 0..LOOKS_MAX {
            let plan = DeployPlan::new(&observed, &self.desired)?;
            if !self.deployer.agreed(&plan.concerns()) {
                return Ok(Changed::NeedsApproval);
            }
            let waits = matches!(plan.steps.as_slice(), [Step::AwaitStack(_)]);
            let mut changed = Changed::NoChange;
            for step in plan.steps {
                changed = match self.carry_out(step, &changed).await? {
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
            observed = observe(self.deployer.aws, &self.workspace.names, Purpose::Deploy).await?;
        }
        bail!(
            "other operations keep the stack {} busy\nhint: `cargo xtask status` shows what goes \
             on; repeat the command later",
            self.desired.stack
        )
    }

    /// Carries out one step; `Some` when it changed the stack or must be the last one. `changed` is
    /// what the steps before did to the stack.
    async fn carry_out(&self, step: Step, changed: &Changed) -> Result<Option<Changed>> {
        let Self { workspace, deployer, raw, .. } = self;
        let (aws, story, names) = (deployer.aws, deployer.story, &workspace.names);
        let (started, told) = (Instant::now(), step.to_string());
        match step {
            Step::AwaitStack(_) => {
                story.note("waiting", &told);
                deployer.attach().await?;
            }
            Step::CreateArtifactsBucket(bucket) => {
                aws.create_bucket(&bucket).await?;
                self.set_up(&bucket, &BucketSetting::ALL).await?;
                story.done("created", &format!("bucket {bucket}"), started.elapsed());
            }
            Step::SetArtifactsBucket { bucket, settings } => {
                self.set_up(&bucket, &settings.into_iter().collect::<Vec<_>>()).await?;
                story.done("completed", told.trim_start_matches("set "), started.elapsed());
            }
            Step::Upload(upload) => {
                self.upload(&upload).await?;
                story.done("uploaded", told.trim_start_matches("upload "), started.elapsed());
            }
            Step::SetModel(version) => self.set_model(&version, started).await?,
            Step::EmptyDataBucket { bucket, objects } => {
                return Ok(
                    (!deployer.empty(&bucket, objects).await?).then_some(Changed::NeedsApproval)
                );
            }
            Step::DeleteFailedStack(_) => {
                story.note("deleting", &told);
                return Ok(self.delete_failed().await?.then_some(Changed::Wedged));
            }
            Step::ContinueRollback => deployer.continue_rollback().await?,
            Step::ChangeStack { create, template_key, .. } => {
                return deployer.change_stack(create, &template_key).await.map(Some);
            }
            Step::UploadData { bucket, .. } => {
                let key = keys::raw(&names.pipeline);
                aws.put_file(&bucket, &key, raw.copy.path(), &raw.sha256).await?;
                story.done("uploaded", "the raw data", started.elapsed());
            }
            Step::KeepBuilds { builds, tag, superseded } => {
                self.keep_builds(&builds, tag.as_deref(), &superseded).await?;
            }
            Step::RunPipeline => self.run_pipeline(changed).await?,
        }
        Ok(None)
    }

    async fn set_up(&self, bucket: &str, settings: &[BucketSetting]) -> Result<()> {
        let tags = self.workspace.names.tags();
        for setting in settings {
            self.deployer.aws.set_up(bucket, *setting, &tags).await?;
        }
        Ok(())
    }

    async fn upload(&self, upload: &Upload) -> Result<()> {
        let body =
            self.bodies.get(&upload.key).with_context(|| format!("no body for {}", upload.key))?;
        let bucket = &self.desired.artifacts_bucket;
        self.deployer.aws.put(bucket, &upload.key, body.clone(), &sha256_hex(body)).await?;
        Ok(())
    }

    async fn keep_builds(&self, builds: &Builds, tag: Option<&str>, gone: &[String]) -> Result<()> {
        let (started, bucket) = (Instant::now(), &self.desired.artifacts_bucket);
        let (aws, note) = (self.deployer.aws, serde_json::to_vec_pretty(builds)?);
        // Without the note somebody else deployed meanwhile, and may need what is superseded here.
        if aws.put_if(bucket, keys::BUILDS, note, tag).await? && !gone.is_empty() {
            aws.delete_objects(bucket, gone).await?;
            let what = format!("{} superseded builds", gone.len());
            self.deployer.story.done("deleted", &what, started.elapsed());
        }
        Ok(())
    }

    async fn set_model(&self, version: &str, started: Instant) -> Result<()> {
        let registry = Registry::new(self.deployer.aws, &self.workspace.names);
        let before = registry.pointer().await?;
        registry.promote(before, self.model.pointer(), Promoter::Deploy, "deployed").await?;
        registry.keep(&record(&self.model, &self.training_key)).await?;
        let story = self.deployer.story;
        story.done("in service", &format!("model {version}"), started.elapsed());
        Ok(())
    }

    /// Runs the pipeline with the model in service, unless it has run with all that is deployed:
    /// afterwards the server has that model, and the clean table is of the data that were uploaded.
    async fn run_pipeline(&self, changed: &Changed) -> Result<()> {
        let (started, story) = (Instant::now(), self.deployer.story);
        let ours = Deployment::open(self.workspace).await?;
        let version = Registry::of(&ours)?.some_pointer().await?.in_service.current.model.version;
        if *changed == Changed::NoChange && has_run(&ours, &version).await? {
            return Ok(());
        }
        story.note("running", "the pipeline: cleaning, forecasts, message");
        let execution = run_pinned(&ours, &version, &[]).await.context(
            "the stack is deployed, but its pipeline did not run to the end; forecasts are as \
             before",
        )?;
        let (count, absent) = (&execution.output["count"], &execution.output["absent"]);
        let what = format!("the pipeline: {count} series forecast, {absent} left out");
        story.done("ran", &what, started.elapsed());
        Ok(())
    }

    /// Deletes what a failed creation left; says whether it is wedged.
    async fn delete_failed(&self) -> Result<bool> {
        let Some(left) = self.deployer.delete_stack().await? else { return Ok(false) };
        let reason = left.reason.unwrap_or_default();
        let what =
            format!("the failed stack cannot be deleted, it is in {}: {reason}", left.status);
        self.deployer.story.failed("wedged", &what);
        Ok(true)
    }

    fn summary(&self, changed: &Changed) {
        let Self { workspace, model, raw, deployer, .. } = self;
        let story = deployer.story;
        let state = if *changed == Changed::Deployed { "deployed" } else { "up to date" };
        let errors = model.card.section.backtest.model;
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
        let example = &model.card.spec.task.series;
        if !self.desired.runs {
            let why = if self.workspace.manifest.stack.verify {
                "as asked: forecasts are of the data and the model before"
            } else {
                "its runs must name their series: `cargo xtask smoke-test SERIES`"
            };
            story.note("note", &format!("the pipeline was not run, {why}"));
        }
        story.note(
            "next",
            &format!(
                "cargo xtask smoke-test; cargo xtask predict {}; cargo xtask query",
                example.to_uppercase()
            ),
        );
    }
}
