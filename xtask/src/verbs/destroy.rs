//! `destroy`: what may be lost is agreed to first; then empty, delete, look for leftovers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;
use steppe_aws::Aws;
use steppe_plan::destroy::{CloudUse, DestroyPlan, DestroyStep, Doomed};
use steppe_plan::events::{Did, Doing, Fact, Finding, Step};
use steppe_plan::names::Names;
use steppe_wire::hint::Hinted;

use super::deploy::LOOKS_MAX;
use crate::deployer::Deployer;
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::host::Host;
use crate::lock::lock;
use crate::observe::{Purpose, cloud_of, observe};
use crate::project::Workspace;
use crate::target::local_cloud;

/// Longest wait for executions to stop; what still writes after it fails the deletion, which can be
/// repeated.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What a person may say about a destruction in advance.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Agrees to whatever is lost.
    pub yes: bool,
    /// Prints the plan and stops.
    pub dry_run: bool,
}

/// A destruction that is under way.
struct Destroying<'a> {
    workspace: &'a Workspace,
    ours: &'a Deployment,
    deployer: Deployer<'a>,
    dry_run: bool,
}

/// Destroys the deployment, or prints what that would do.
pub async fn run(workspace: &Workspace, host: &Host, options: Options) -> Result<Outcome> {
    let _lock = lock(workspace, "destroy")?;
    let (local, names) = (local_cloud(workspace)?, &workspace.names);
    if let Some(local) = local.as_ref().filter(|local| local.running().is_none()) {
        if !local.dir.exists() {
            host.fact(Fact::NoCloud);
            return Ok(Outcome::Done);
        }
        local.start(Some(&names.stack()))?;
    }
    let ours = Deployment::open(workspace).await?;
    // In an account of others' things people say yes; the embedded cloud holds only what deploy
    // put there, and what it did not is refused before.
    let yes = options.yes || local.is_some();
    let (aws, local, manifest) = (ours.aws(), local.as_ref(), &workspace.manifest);
    let deployer = Deployer { aws, names, manifest, host, yes, local };
    let (dry_run, ours) = (options.dry_run, &ours);
    Destroying { workspace, ours, deployer, dry_run }.execute().await
}

impl Destroying<'_> {
    /// Plans and carries out; a plan that only waits is followed by another.
    async fn execute(&self) -> Result<Outcome> {
        let (deployer, doomed) = (&self.deployer, doomed(self.deployer.names));
        for _ in 0..LOOKS_MAX {
            let looking = deployer.host.begin(Step::Observe, None);
            let observed = observe(self.ours, Purpose::Destroy(self.workspace)).await?;
            looking.done(Did::Observe);
            let plan = DestroyPlan::new(&observed, &doomed)?;
            if self.dry_run {
                deployer.host.result(&plan, &plan.to_string());
                return Ok(Outcome::Done);
            }
            deployer.host.planned(&plan);
            // Nobody has to be told what they have agreed to.
            if !deployer.yes && !deployer.agreed(&plan.concerns()) {
                return Ok(Outcome::NeedsApproval);
            }
            let waits = matches!(plan.steps.as_slice(), [DestroyStep::AwaitStack(_)]);
            for step in plan.steps {
                if let Some(stopped) = self.carry_out(step).await? {
                    return Ok(stopped);
                }
            }
            if !waits {
                deployer.host.result(&json!({ "stack": doomed.stack, "left": [] }), "");
                deployer.host.did(Did::Destroy { stack: doomed.stack });
                return Ok(Outcome::Done);
            }
        }
        bail!(Hinted::new(
            format!("other operations keep the stack {} busy", doomed.stack),
            "`cargo xtask status` shows what goes on; repeat the command later",
        ))
    }

    /// Carries out one step; `Some` when it must be the last one.
    async fn carry_out(&self, step: DestroyStep) -> Result<Option<Outcome>> {
        let (deployer, host) = (&self.deployer, self.deployer.host);
        match step {
            DestroyStep::AwaitStack(status) => deployer.attach(status).await?,
            DestroyStep::StopExecutions(machines) => {
                stop_executions(deployer.aws, &machines, host).await?;
            }
            DestroyStep::EmptyBucket { bucket, objects } => {
                if !deployer.empty(&bucket, objects).await? {
                    return Ok(Some(Outcome::NeedsApproval));
                }
            }
            DestroyStep::DeleteStack(_) => {
                if let Some(left) = deployer.delete_stack().await? {
                    deployer.wedged(&left, Doing::Change);
                    return Ok(Some(Outcome::Wedged));
                }
            }
            DestroyStep::DeleteBucket(bucket) => {
                let work = host.begin(Step::DeleteBucket, bucket.clone());
                deployer.aws.delete_bucket(&bucket).await?;
                work.done(Did::DeleteBucket { bucket });
            }
            DestroyStep::FindLeftovers => return self.find_leftovers().await,
            DestroyStep::StopCloud => self.stop_cloud().await?,
            DestroyStep::LeaveCloud(used_by) => host.fact(Fact::CloudGoesOn { used_by }),
        }
        Ok(None)
    }

    async fn find_leftovers(&self) -> Result<Option<Outcome>> {
        let (host, names) = (self.deployer.host, self.deployer.names);
        let work = host.begin(Step::FindLeftovers, None);
        let found = self.deployer.aws.leftovers(&self.deployer.made()).await?;
        work.done(Did::FindLeftovers);
        found.unknown.into_iter().for_each(|what| host.fact(Fact::NotSeen { what }));
        if found.left.is_empty() {
            return Ok(None);
        }
        host.result(&json!({ "stack": names.stack(), "left": found.left }), "");
        found.left.into_iter().for_each(|what| host.found(Finding::Left { what }));
        Ok(Some(Outcome::Found))
    }

    /// Stops the embedded cloud. Who has begun to use it since the plan was made is not cut off.
    async fn stop_cloud(&self) -> Result<()> {
        let (host, Some(local)) = (self.deployer.host, self.deployer.local) else { return Ok(()) };
        let cloud = cloud_of(self.workspace, self.deployer.aws).await?;
        if let Some(used_by) = CloudUse::of(&cloud) {
            host.fact(Fact::CloudGoesOn { used_by });
            return Ok(());
        }
        let work = host.begin(Step::StopCloud, None);
        local.stop()?;
        work.done(Did::StopCloud);
        host.fact(Fact::CloudStopped);
        Ok(())
    }
}

fn doomed(names: &Names) -> Doomed {
    Doomed {
        stack: names.stack(),
        tags: names.tags(),
        artifacts_bucket: names.artifacts_bucket(),
        data_bucket: names.data_bucket(),
    }
}

/// What still runs would write into a bucket that has just been emptied.
async fn stop_executions(aws: &Aws, machines: &[String], host: &Host) -> Result<()> {
    let work = host.begin(Step::StopExecutions, None);
    let mut executions = 0;
    for machine in machines {
        let stopped = aws.stop_executions(machine).await?;
        if stopped == 0 {
            continue;
        }
        executions += stopped;
        let name = machine.rsplit(':').next().unwrap_or(machine).to_owned();
        host.fact(Fact::StoppingExecutions { executions: stopped, machine: name });
        let begun = Instant::now();
        while aws.stop_executions(machine).await? > 0 && begun.elapsed() < STOP_LIMIT {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    work.done(Did::StopExecutions { executions });
    Ok(())
}
