//! `retrain`: runs the pipeline with training, in the cloud, and shows who won.

use anyhow::{Context, Result, bail};
use serde_json::json;
use steppe_wire::registry::TrainingOutcome;

use super::run_to_end;
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::project::Workspace;
use crate::story::Story;
use crate::terminal::say;

/// Runs the verb.
pub async fn run(workspace: &Workspace) -> Result<Outcome> {
    if workspace.manifest.retrain.is_none() {
        bail!(
            "the pipeline `{}` has no training in the stack\nhint: add the section `[retrain]` to \
             its manifest and deploy; `cargo xtask train` trains here",
            workspace.manifest.name
        );
    }
    let story = Story::begin();
    let ours = Deployment::open(workspace).await?;
    let execution =
        run_to_end(&ours, ours.output("StateMachineArn")?, &json!({ "train": true })).await?;
    let training = execution.output.get("training").filter(|t| !t.is_null()).context(
        "the execution did not train\nhint: the deployed stack is older than the manifest's \
         `[retrain]`; `cargo xtask deploy` updates it",
    )?;
    let Ok(outcome) = serde_json::from_value::<TrainingOutcome>(training.clone()) else {
        bail!(
            "the training failed: {}\nhint: `cargo xtask logs train` shows more",
            training["summary"].as_str().unwrap_or_default()
        );
    };
    story.done(
        if outcome.promoted { "promoted" } else { "unchanged" },
        &outcome.summary,
        story.elapsed(),
    );
    story.note(
        "next",
        "`cargo xtask model list` shows both cards side by side; `cargo xtask \
                model rollback` goes back",
    );
    say!("{}", outcome.in_service);
    Ok(Outcome::Done)
}
