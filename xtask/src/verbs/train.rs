//! `train`: trains the model on this machine.

use anyhow::Result;

use crate::cli::DataArgs;
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::Workspace;
use crate::{artifacts, training};

/// Runs the verb.
pub async fn run(workspace: &Workspace, host: &Host, data: &DataArgs) -> Result<Outcome> {
    artifacts::build_own(&workspace.root, host).await?;
    let (model, _) = training::run(workspace, &workspace.raw_data(data)?, host).await?;
    let card: serde_json::Value = serde_json::from_slice(&model.card_bytes)?;
    host.result(&card, &model.about.text);
    Ok(Outcome::Done)
}
