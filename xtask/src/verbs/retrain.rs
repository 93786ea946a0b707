//! `retrain`: runs the pipeline with training, in the cloud, and shows who won.

use anyhow::{Result, bail};
use serde_json::json;
use steppe_plan::events::{Did, Fact, Step};
use steppe_plan::runs::RunPlan;
use steppe_wire::hint::Hinted;
use steppe_wire::registry::TrainingOutcome;

use crate::cli::PlanArgs;
use crate::deployment::Deployment;
use crate::execution::run_to_end;
use crate::exit::Outcome;
use crate::hint::OrHint;
use crate::host::Host;
use crate::project::Workspace;

/// Runs the verb.
pub async fn run(workspace: &Workspace, host: &Host, options: PlanArgs) -> Result<Outcome> {
    if workspace.manifest.retrain.is_none() {
        bail!(Hinted::new(
            format!("the pipeline `{}` has no training in the stack", workspace.manifest.name),
            "add the section `[retrain]` to its manifest and deploy; `cargo xtask train` trains \
             here",
        ));
    }
    let ours = Deployment::open(workspace).await?;
    let plan = RunPlan {
        machine: ours.output("StateMachineArn")?.to_owned(),
        input: json!({ "train": true }),
        what: "run the pipeline with training; a better model goes into service",
    };
    if options.dry_run {
        host.result(&plan, &plan.to_string());
        return Ok(Outcome::Done);
    }
    host.planned(&plan);
    let work = host.begin(Step::Retrain, None);
    let execution = run_to_end(&ours, &plan.machine, &plan.input).await?;
    let training = execution.output.get("training").filter(|t| !t.is_null()).or_hint(|| {
        Hinted::new(
            "the execution did not train",
            "the deployed stack is older than the manifest's `[retrain]`; `cargo xtask deploy` \
             updates it",
        )
    })?;
    let Ok(outcome) = serde_json::from_value::<TrainingOutcome>(training.clone()) else {
        bail!(Hinted::new(
            format!("the training failed: {}", training["summary"].as_str().unwrap_or_default()),
            "`cargo xtask logs train` shows more",
        ));
    };
    let in_service = outcome.in_service.clone();
    let TrainingOutcome { promoted, summary, .. } = outcome.clone();
    work.done(Did::Retrain { promoted, summary, in_service });
    let commands = "`cargo xtask model list` shows both cards side by side; `cargo xtask model \
                    rollback` goes back";
    host.fact(Fact::Next { commands: vec![commands.to_owned()] });
    host.result(&outcome, &format!("{}\n", outcome.in_service));
    Ok(Outcome::Done)
}
