//! `deploy` and `plan`: observe, plan, print or carry out.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use serde_json::json;
use steppe_aws::Purpose as ChangePurpose;
use steppe_model::any::AnyModel;
use steppe_plan::builds::Builds;
use steppe_plan::deploy::{DeployPlan, Desired, RunWhen, Step, Upload};
use steppe_plan::events::{Did, Doing, Fact, NotRun, Step as Work, Unit};
use steppe_plan::observed::{BucketSetting, Observed};
use steppe_plan::site::Site;
use steppe_plan::stack::{StackSpec, sha256_hex};
use steppe_wire::etl::Uploaded;
use steppe_wire::hint::Hinted;
use steppe_wire::keys::{self, CARD_FILE, WEIGHTS_FILE};
use steppe_wire::registry::{Promoter, TRAINING_SCHEMA_VERSION, TrainingRecord};

use crate::artifacts::{self, Artifacts};
use crate::cli::DataArgs;
use crate::deployer::{Changed, Deployer};
use crate::deployment::Deployment;
use crate::execution::{pinned_run, run_to_end};
use crate::exit::Outcome;
use crate::freshness::objects_of;
use crate::host::Host;
use crate::inputs::RawData;
use crate::lock::lock;
use crate::observe::{Purpose, observe, site};
use crate::project::Workspace;
use crate::registry::{Registry, deciding, now};
use crate::target::local_cloud;
use crate::training;

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
    ours: &'a Deployment,
    deployer: Deployer<'a>,
    desired: Desired,
    bodies: Bodies,
    raw: RawData,
    model: AnyModel,
    /// Names the model's configuration and data.
    training_key: String,
}

/// What a deployment's training found: no contest, because whoever deploys wants this model.
fn record(model: &AnyModel, key: &str) -> TrainingRecord {
    TrainingRecord {
        schema_version: TRAINING_SCHEMA_VERSION,
        key: key.to_owned(),
        time: now(),
        execution: "deploy".to_owned(),
        observed_until: model.about.known.clone(),
        challenger: model.about.model.clone(),
        champion: None,
        contest: None,
        promoted: true,
        reason: "deployed".to_owned(),
    }
}

/// Deploys, or prints what a deployment would do.
pub async fn run(
    workspace: &Workspace,
    host: &Host,
    data: &DataArgs,
    options: Options,
) -> Result<Outcome> {
    let _lock = lock(workspace, "deploy")?;
    let raw = workspace.raw_data(data)?;
    artifacts::build(workspace, host).await?;
    let (model, training_key) = training::run(workspace, &raw, host).await?;
    let artifacts = artifacts::collect(workspace)?;
    let architecture = artifacts.architecture;
    start_local(workspace, host)?;
    let looking = host.begin(Work::Observe, None);
    let ours = Deployment::open(workspace).await?;
    let observed = observe(&ours, Purpose::Deploy(&workspace.manifest)).await?;
    let site = site(ours.aws(), workspace, architecture, &observed).await?;
    looking.done(Did::Observe);
    // Without the query that lists the series, whoever starts a run has to name them.
    let runs = options.runs && workspace.manifest.runs_by_itself();
    let (desired, bodies) = desired(workspace, &site, (&raw, &model), artifacts, runs)?;
    if options.dry_run {
        let plan = DeployPlan::new(&observed, &desired)?;
        host.result(&plan, &plan.to_string());
        cost(workspace, &desired, host)?;
        return Ok(Outcome::Done);
    }
    let (local, yes) = (local_cloud(workspace)?, options.yes);
    let (aws, local) = (ours.aws(), local.as_ref());
    let (names, manifest) = (&workspace.names, &workspace.manifest);
    let deployer = Deployer { aws, names, manifest, host, yes, local };
    let deploying =
        Deploying { workspace, ours: &ours, deployer, desired, bodies, raw, model, training_key };
    let changed = deploying.execute(observed).await?;
    if matches!(changed, Changed::Deployed | Changed::NoChange) {
        deploying.summary(changed);
        cost(workspace, &deploying.desired, host)?;
    }
    Ok(changed.outcome())
}

fn start_local(workspace: &Workspace, host: &Host) -> Result<()> {
    let Some(local) = local_cloud(workspace)? else { return Ok(()) };
    let own = workspace.names.stack();
    if local.current(Some(&own)).is_some() {
        return Ok(());
    }
    let work = host.begin(Work::StartCloud, None);
    let (about, _) = local.start(Some(&own))?;
    work.done(Did::StartCloud { address: format!("127.0.0.1:{}", about.port) });
    Ok(())
}

fn desired(
    workspace: &Workspace,
    site: &Site,
    (raw, model): (&RawData, &AnyModel),
    artifacts: Artifacts,
    runs: bool,
) -> Result<(Desired, Bodies)> {
    let names = &workspace.names;
    let spec = StackSpec {
        names,
        manifest: &workspace.manifest,
        query_sql: workspace.query_sql.clone(),
        raw_headers: raw.inputs.iter().map(|input| input.header.clone()).collect(),
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
        raw_sha256: raw.sha256(),
        raw_bytes: usize::try_from(raw.bytes())?,
        runs,
    };
    Ok((desired, objects.into_iter().map(|(upload, bytes)| (upload.key, bytes)).collect()))
}

/// What the deployment costs; the embedded cloud costs nothing.
fn cost(workspace: &Workspace, desired: &Desired, host: &Host) -> Result<()> {
    if local_cloud(workspace)?.is_none() {
        host.fact(Fact::Cost { estimate: desired.costs.clone() });
    }
    Ok(())
}

impl Deploying<'_> {
    /// Plans and carries out; a plan that only waits is followed by another.
    async fn execute(&self, mut observed: Observed) -> Result<Changed> {
        for _ in 0..LOOKS_MAX {
            let plan = DeployPlan::new(&observed, &self.desired)?;
            self.deployer.host.planned(&plan);
            if !self.deployer.agreed(&plan.concerns()) {
                return Ok(Changed::NeedsApproval);
            }
            let waits = matches!(plan.steps.as_slice(), [Step::AwaitStack(_)]);
            let mut changed = Changed::NoChange;
            for step in plan.steps {
                changed = match self.carry_out(step, changed).await? {
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
            observed = observe(self.ours, Purpose::Deploy(&self.workspace.manifest)).await?;
        }
        bail!(Hinted::new(
            format!("other operations keep the stack {} busy", self.desired.stack),
            "`cargo xtask status` shows what goes on; repeat the command later",
        ))
    }

    /// Carries out one step; `Some` when it changed the stack or must be the last one. `changed` is
    /// what the steps before did to the stack.
    async fn carry_out(&self, step: Step, changed: Changed) -> Result<Option<Changed>> {
        let Self { deployer, .. } = self;
        match step {
            Step::AwaitStack(status) => deployer.attach(status).await?,
            Step::CreateArtifactsBucket(bucket) => self.create_bucket(bucket).await?,
            Step::SetArtifactsBucket { bucket, settings } => {
                self.complete_bucket(bucket, settings.into_iter().collect()).await?;
            }
            Step::Upload(upload) => self.upload(upload).await?,
            Step::SetModel(version) => self.set_model(version).await?,
            Step::EmptyDataBucket { bucket, objects } => {
                let emptied = deployer.empty(&bucket, objects).await?;
                return Ok((!emptied).then_some(Changed::NeedsApproval));
            }
            Step::DeleteFailedStack(status) => {
                deployer.host.fact(Fact::DeletingFailedStack { status });
                let Some(left) = deployer.delete_stack().await? else { return Ok(None) };
                deployer.wedged(&left, Doing::Cleanup);
                return Ok(Some(Changed::Wedged));
            }
            Step::ContinueRollback => deployer.continue_rollback().await?,
            Step::ChangeStack { create, template_key, .. } => {
                let purpose = if create { ChangePurpose::Create } else { ChangePurpose::Update };
                return deployer.change_stack(purpose, &template_key).await.map(Some);
            }
            Step::UploadData { bucket, bytes } => self.upload_data(bucket, bytes).await?,
            Step::KeepBuilds { builds, tag, superseded } => {
                self.keep_builds(&builds, tag.as_deref(), &superseded).await?;
            }
            Step::RunPipeline(RunWhen::StackChanges) if changed == Changed::NoChange => {}
            Step::RunPipeline(_) => self.run_pipeline().await?,
        }
        Ok(None)
    }

    async fn create_bucket(&self, bucket: String) -> Result<()> {
        let work = self.deployer.host.begin(Work::CreateBucket, bucket.clone());
        self.deployer.aws.create_bucket(&bucket).await?;
        self.set_up(&bucket, &BucketSetting::ALL).await?;
        work.done(Did::CreateBucket { bucket });
        Ok(())
    }

    async fn complete_bucket(&self, bucket: String, settings: Vec<BucketSetting>) -> Result<()> {
        let work = self.deployer.host.begin(Work::CompleteBucket, bucket.clone());
        self.set_up(&bucket, &settings).await?;
        let settings = settings.iter().map(|s| s.as_str().to_owned()).collect();
        work.done(Did::CompleteBucket { bucket, settings });
        Ok(())
    }

    async fn set_up(&self, bucket: &str, settings: &[BucketSetting]) -> Result<()> {
        let tags = self.workspace.names.tags();
        for setting in settings {
            self.deployer.aws.set_up(bucket, *setting, &tags).await?;
        }
        Ok(())
    }

    async fn upload(&self, upload: Upload) -> Result<()> {
        let work = self.deployer.host.begin(Work::Upload, upload.what.clone());
        let body =
            self.bodies.get(&upload.key).with_context(|| format!("no body for {}", upload.key))?;
        let bucket = &self.desired.artifacts_bucket;
        self.deployer.aws.put(bucket, &upload.key, body.clone(), &sha256_hex(body)).await?;
        let Upload { what, key, bytes } = upload;
        work.done(Did::Upload { what, key, bytes });
        Ok(())
    }

    async fn upload_data(&self, bucket: String, bytes: usize) -> Result<()> {
        let work = self.deployer.host.begin(Work::UploadData, None);
        let (aws, pipeline) = (self.deployer.aws, &self.workspace.names.pipeline);
        let prefix = format!("raw/{pipeline}/");
        let (mut keep, there) = (BTreeSet::new(), AtomicU64::new(0));
        let sent = |more| {
            let done = there.fetch_add(more, Ordering::Relaxed) + more;
            work.progress(done, bytes as u64, Unit::Bytes);
        };
        for input in &self.raw.inputs {
            for file in &input.files {
                let key = format!("{}{}", keys::raw_prefix(pipeline, &input.name), file.name);
                let (path, hash) = (file.copy.path(), file.copy.sha256());
                aws.put_file(&bucket, &key, path, &hash, &sent).await?;
                keep.insert(key);
            }
        }
        // The inputs are these files: what an earlier upload left would be read with them.
        let mut there = aws.objects(&bucket, &prefix).await?;
        let (kept, gone): (Vec<_>, Vec<_>) =
            there.drain(..).partition(|object| keep.contains(&object.key));
        let gone: Vec<String> = gone.into_iter().map(|object| object.key).collect();
        aws.delete_objects(&bucket, &gone).await?;
        let note = Uploaded { sha256: self.raw.sha256(), objects: objects_of(&kept) };
        let note = serde_json::to_vec_pretty(&note)?;
        let hash = sha256_hex(&note);
        aws.put(&bucket, &keys::uploaded(pipeline), note, &hash).await?;
        work.done(Did::UploadData { bucket, bytes });
        Ok(())
    }

    async fn keep_builds(&self, builds: &Builds, tag: Option<&str>, gone: &[String]) -> Result<()> {
        let bucket = &self.desired.artifacts_bucket;
        let (aws, note) = (self.deployer.aws, serde_json::to_vec_pretty(builds)?);
        // Without the note somebody else deployed meanwhile, and may need what is superseded here.
        if aws.put_if(bucket, keys::BUILDS, note, tag).await? && !gone.is_empty() {
            let work = self.deployer.host.begin(Work::DeleteBuilds, None);
            aws.delete_objects(bucket, gone).await?;
            work.done(Did::DeleteBuilds { builds: gone.len() });
        }
        Ok(())
    }

    async fn set_model(&self, version: String) -> Result<()> {
        let work = self.deployer.host.begin(Work::SetModel, version.clone());
        let registry = Registry::new(self.deployer.aws, &self.workspace.names);
        let before = registry.pointer().await?;
        registry.promote(before, self.model.pointer.clone(), Promoter::Deploy, "deployed").await?;
        registry.keep(&record(&self.model, &self.training_key)).await?;
        work.done(Did::SetModel { version });
        Ok(())
    }

    /// Runs the pipeline with the model in service: afterwards the server has that model, and the
    /// clean table is of the data that were uploaded.
    async fn run_pipeline(&self) -> Result<()> {
        let ours = Deployment::open(self.workspace).await?;
        let version = Registry::of(&ours)?.some_pointer().await?.in_service.current.model.version;
        self.deployer.host.fact(Fact::PipelineStarted);
        let work = self.deployer.host.begin(Work::RunPipeline, None);
        let (machine, input) = (ours.output("StateMachineArn")?, pinned_run(&version, &[]));
        let execution = run_to_end(&ours, machine, &input).await.context(
            "the stack is deployed, but its pipeline did not run to the end; forecasts are as \
             before",
        )?;
        let count = |name: &str| execution.output[name].as_u64();
        let answers = count("count").unwrap_or_default();
        work.done(Did::RunPipeline { answers, left_out: count("absent") });
        Ok(())
    }

    fn summary(&self, changed: Changed) {
        let Self { workspace, model, raw, deployer, .. } = self;
        let (host, stack) = (deployer.host, workspace.names.stack());
        let (environment, version) = (workspace.environment_name.clone(), model.version());
        let changed = changed == Changed::Deployed;
        let scores = &model.about.model.backtest;
        let score = match scores.get("MAPE") {
            Some(mape) => format!("backtest MAPE {mape:.2} %"),
            None => format!("out of fold {}", deciding(scores)),
        };
        let result = json!({ "stack": stack, "changed": changed, "model": version });
        host.result(&result, "");
        host.did(Did::Deploy { stack, environment, changed, version, score });
        if raw.synthetic {
            host.fact(Fact::SyntheticData);
        }
        if !self.desired.runs {
            let why = match workspace.manifest.runs_by_itself() {
                true => NotRun::AsAsked,
                false => NotRun::SeriesMustBeNamed,
            };
            host.fact(Fact::PipelineNotRun { why });
        }
        let task = workspace.manifest.task();
        let series = task.forecast().map(|entry| &entry.task.series);
        let asked = series.or(task.tabular().and_then(|entry| entry.task.entity.as_ref()));
        let example = asked.map_or("--row '{…}'".to_owned(), |asked| asked.to_uppercase());
        let predict = format!("cargo xtask predict {example}");
        let commands = ["cargo xtask smoke-test", &predict, "cargo xtask query"];
        host.fact(Fact::Next { commands: commands.map(str::to_owned).into() });
    }
}
