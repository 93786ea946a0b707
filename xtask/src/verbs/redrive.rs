//! `redrive`: goes on with the newest run, if it did not succeed.

use anyhow::{Result, bail};
use serde_json::json;
use steppe_plan::events::{Did, Step};
use steppe_plan::runs::RedrivePlan;
use steppe_plan::status::ExecutionStatus;
use steppe_wire::hint::Hinted;

use crate::cli::PlanArgs;
use crate::deployment::Deployment;
use crate::execution::{is_decided, to_end};
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::Workspace;

/// Runs the verb.
pub async fn run(workspace: &Workspace, host: &Host, options: PlanArgs) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let newest = ours.aws().newest_execution(ours.output("StateMachineArn")?).await?;
    let decided = match &newest {
        Some((arn, ExecutionStatus::Failed)) => is_decided(&ours, arn).await?,
        _ => false,
    };
    let plan = match RedrivePlan::of(newest, decided) {
        Ok(plan) => plan,
        Err(nothing) => bail!(Hinted::new(nothing.to_string(), nothing.hint())),
    };
    if options.dry_run {
        host.result(&plan, &plan.to_string());
        return Ok(Outcome::Done);
    }
    host.planned(&plan);
    let work = host.begin(Step::Redrive, None);
    ours.aws().redrive_execution(&plan.execution).await?;
    let execution = to_end(&ours, plan.execution).await?;
    let count = |name: &str| execution.output[name].as_u64();
    let (answers, left_out) = (count("count").unwrap_or_default(), count("absent"));
    work.done(Did::Redrive { answers, left_out });
    host.result(&json!({ "execution": execution.arn }), &format!("{}\n", execution.arn));
    Ok(Outcome::Done)
}
