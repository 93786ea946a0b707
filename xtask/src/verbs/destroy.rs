//! `destroy`: what may be lost is agreed to first; then empty, delete, look for leftovers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use steppe_aws::{Aws, StackView};
use steppe_plan::destroy::{DestroyPlan, DestroyStep, Doomed};
use steppe_plan::names::Names;

use super::deploy::LOOKS_MAX;
use crate::deployer::Deployer;
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::leftovers;
use crate::local::LocalCloud;
use crate::lock::{lock, others_work};
use crate::observe::{Purpose, observe};
use crate::project::Workspace;
use crate::story::Story;
use crate::target::local_cloud;

/// Longest wait for executions to stop; what still writes after it fails the deletion, which can be
/// repeated.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Destroys the deployment.
pub async fn run(workspace: &Workspace, yes: bool) -> Result<Outcome> {
    let story = Story::begin();
    let _lock = lock(workspace, "destroy")?;
    let (local, names) = (local_cloud(workspace)?, &workspace.names);
    if let Some(local) = local.as_ref().filter(|local| local.running().is_none()) {
        if !local.dir.exists() {
            story.note("nothing left", "the embedded cloud has no state");
            return Ok(Outcome::Done);
        }
        local.start(Some(&names.stack()))?;
    }
    let ours = Deployment::open(workspace).await?;
    let aws = ours.aws();
    // In an account of others' things people say yes; the embedded cloud holds only what deploy
    // put there, and what it did not is refused before.
    let yes = yes || local.is_some();
    let deployer = Deployer { aws, names, story: &story, yes, local: local.as_ref() };
    if let Some(stopped) = delete_all(&deployer).await? {
        return Ok(stopped);
    }
    let found = aws.leftovers(&leftovers::wanted(names)).await?;
    found.unknown.iter().for_each(|kind| story.note("not seen", kind));
    if !found.left.is_empty() {
        found.left.iter().for_each(|l| story.failed("left", l));
        return Ok(Outcome::Found);
    }
    if let Some(local) = &local {
        stop_local(local, aws, workspace, &story).await?;
    }
    story.done("nothing left", &names.stack(), story.elapsed());
    Ok(Outcome::Done)
}

/// Plans and carries out; a plan that only waits is followed by another. `Some` when it had to
/// stop.
async fn delete_all(deployer: &Deployer<'_>) -> Result<Option<Outcome>> {
    let doomed = doomed(deployer.names);
    for _ in 0..LOOKS_MAX {
        let observed = observe(deployer.aws, deployer.names, Purpose::Destroy).await?;
        let plan = DestroyPlan::new(&observed, &doomed)?;
        // Nobody has to be told what they have agreed to.
        let agreed = deployer.yes || deployer.agreed(&plan.concerns());
        if !agreed {
            return Ok(Some(Outcome::NeedsApproval));
        }
        let waits = matches!(plan.steps.as_slice(), [DestroyStep::AwaitStack(_)]);
        for step in plan.steps {
            if let Some(stopped) = carry_out(deployer, step).await? {
                return Ok(Some(stopped));
            }
        }
        if !waits {
            return Ok(None);
        }
    }
    bail!(
        "other operations keep the stack {} busy\nhint: `cargo xtask status` shows what goes on; \
         repeat the command later",
        doomed.stack
    )
}

fn doomed(names: &Names) -> Doomed {
    Doomed {
        stack: names.stack(),
        tags: names.tags(),
        artifacts_bucket: names.artifacts_bucket(),
        data_bucket: names.data_bucket(),
    }
}

/// Carries out one step; `Some` when it must be the last one.
async fn carry_out(deployer: &Deployer<'_>, step: DestroyStep) -> Result<Option<Outcome>> {
    let (aws, story) = (deployer.aws, deployer.story);
    match step {
        DestroyStep::AwaitStack(_) => {
            story.note("waiting", &step.to_string());
            deployer.attach().await?;
        }
        DestroyStep::StopExecutions => {
            if let Some(stack) = aws.stack(&deployer.names.stack()).await? {
                stop_executions(aws, &stack, story).await?;
            }
        }
        DestroyStep::EmptyBucket { bucket, objects } => {
            if !deployer.empty(&bucket, objects).await? {
                return Ok(Some(Outcome::NeedsApproval));
            }
        }
        DestroyStep::DeleteStack(_) => {
            if let Some(left) = deployer.delete_stack().await? {
                let reason = left.reason.unwrap_or_default();
                story.failed("wedged", &format!("the stack is in {}: {reason}", left.status));
                return Ok(Some(Outcome::Wedged));
            }
        }
        DestroyStep::DeleteBucket(bucket) => aws.delete_bucket(&bucket).await?,
    }
    Ok(None)
}

/// What still runs would write into a bucket that has just been emptied.
async fn stop_executions(aws: &Aws, stack: &StackView, story: &Story) -> Result<()> {
    let machines = ["StateMachineArn", "DriftMachineArn"]
        .into_iter()
        .filter_map(|name| stack.outputs.get(name));
    for machine in machines {
        let stopped = aws.stop_executions(machine).await?;
        if stopped == 0 {
            continue;
        }
        let name = machine.rsplit(':').next().unwrap_or(machine);
        story.note("stopping", &format!("{stopped} running executions of {name}"));
        let begun = Instant::now();
        while aws.stop_executions(machine).await? > 0 && begun.elapsed() < STOP_LIMIT {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// Stops the embedded cloud, unless it holds something else or another command works in it.
async fn stop_local(
    local: &LocalCloud,
    aws: &Aws,
    workspace: &Workspace,
    story: &Story,
) -> Result<()> {
    let others = aws.stacks().await?;
    if let Some(other) = others.first() {
        story.note("goes on", &format!("the embedded cloud, which holds the stack {other}"));
    } else if others_work(&workspace.scratch(), Some(&workspace.names.stack())) {
        story.note("goes on", "the embedded cloud, in which another command works");
    } else {
        local.stop()?;
        story.note("stopped", "embedded cloud");
    }
    Ok(())
}
