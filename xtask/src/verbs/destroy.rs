//! `destroy`: empty what must be emptied, delete, look for leftovers.

use std::time::{Duration, Instant};

use anyhow::Result;
use steppe_aws::StackView;
use steppe_plan::status::StackStatus;

use super::deploy::lock;
use super::{connect, local_cloud, target};
use crate::deployer::Deployer;
use crate::exit::Outcome;
use crate::project::Workspace;
use crate::story::{Story, confirm};

/// Longest wait for executions to stop; what still writes after it fails the deletion, which can be repeated.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Destroys the deployment.
pub async fn run(workspace: &Workspace, yes: bool) -> Result<Outcome> {
    let story = Story::begin();
    let _lock = lock(workspace, "destroy")?;
    let local = local_cloud(workspace);
    if let Some(local) = local.as_ref().filter(|_| target(workspace).is_err()) {
        if !local.dir.exists() {
            story.note("nothing left", "the embedded cloud has no state");
            return Ok(Outcome::Done);
        }
        local.start()?;
    }
    let aws = connect(workspace).await?;
    let names = &workspace.names;
    let (data_bucket, artifacts_bucket) = (names.data_bucket(), names.artifacts_bucket());
    // In an account of others' things people say yes; the embedded cloud holds only what deploy put there.
    if local.is_none() && !yes {
        let objects = if aws.bucket_exists(&data_bucket).await? {
            aws.keys(&data_bucket, "").await?.len()
        } else {
            0
        };
        story.failed(
            "attention",
            &format!(
                "the stack {} and {objects} objects in {data_bucket} will be lost",
                names.stack()
            ),
        );
        if !confirm("Destroy?") {
            story.failed("stopped", "nothing was deleted; agree with `--yes`");
            return Ok(Outcome::NeedsApproval);
        }
    }
    let deployer = Deployer { aws: &aws, names, story: &story, yes };
    if let Some(stack) = aws.stack(&names.stack()).await? {
        if stack.status.is_in_progress() {
            story.note("waiting", &format!("an operation is in progress ({})", stack.status));
            deployer.watch(&names.stack(), None).await?;
        }
        stop_executions(&aws, &stack, &story).await?;
        empty(&aws, &data_bucket, &story).await?;
        aws.delete_stack(&names.stack()).await?;
        let seen = aws
            .events_after(&stack.id, None)
            .await?
            .iter()
            .rev()
            .find(|e| e.status != "DELETE_IN_PROGRESS" && !e.status.starts_with("DELETE"))
            .map(|e| e.id.clone());
        let left = deployer
            .watch(&stack.id, seen)
            .await?
            .filter(|s| s.status != StackStatus::DeleteComplete);
        if let Some(left) = left {
            story.failed(
                "wedged",
                &format!("the stack is in {}: {}", left.status, left.reason.unwrap_or_default()),
            );
            return Ok(Outcome::Wedged);
        }
    }
    if aws.bucket_exists(&artifacts_bucket).await? {
        empty(&aws, &artifacts_bucket, &story).await?;
        aws.delete_bucket(&artifacts_bucket).await?;
    }
    let leftovers = aws
        .leftovers(&names.stack(), &names.database(), &names.log_prefix(), &names.tags())
        .await?;
    if !leftovers.is_empty() {
        leftovers.iter().for_each(|l| story.failed("left", l));
        return Ok(Outcome::Found);
    }
    if let Some(local) = local {
        local.stop()?;
        story.note("stopped", "embedded cloud");
    }
    story.done("nothing left", &names.stack(), story.elapsed());
    Ok(Outcome::Done)
}

/// What still runs would write into a bucket that has just been emptied.
async fn stop_executions(aws: &steppe_aws::Aws, stack: &StackView, story: &Story) -> Result<()> {
    let machines = ["StateMachineArn", "DriftMachineArn"]
        .into_iter()
        .filter_map(|name| stack.outputs.get(name));
    for machine in machines {
        let stopped = aws.stop_executions(machine).await?;
        if stopped > 0 {
            story.note(
                "stopping",
                &format!(
                    "{stopped} running executions of {}",
                    machine.rsplit(':').next().unwrap_or(machine)
                ),
            );
        }
        let begun = Instant::now();
        while aws.stop_executions(machine).await? > 0 && begun.elapsed() < STOP_LIMIT {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

async fn empty(aws: &steppe_aws::Aws, bucket: &str, story: &Story) -> Result<()> {
    if aws.bucket_exists(bucket).await? {
        let started = Instant::now();
        let count = aws.empty_bucket(bucket).await?;
        story.done("emptied", &format!("{bucket} ({count} objects)"), started.elapsed());
    }
    Ok(())
}
