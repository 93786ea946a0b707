//! `status`, `outputs` and `logs`.

use anyhow::Result;

use super::{deployed, output};
use crate::cli::LogSource;
use crate::exit::Outcome;
use crate::project::Workspace;
use crate::story::table;
use crate::terminal::{out, out_json, say};
use crate::target::connect;

/// Shows the stack and its resources.
pub async fn status(workspace: &Workspace) -> Result<Outcome> {
    let aws = connect(workspace).await?;
    let name = workspace.names.stack();
    let Some(stack) = aws.stack(&name).await? else {
        say!("{name}: not deployed");
        return Ok(Outcome::Done);
    };
    say!(
        "{name}: {}{}\n",
        stack.status,
        stack.reason.map_or_else(String::new, |r| format!(" ({r})"))
    );
    let resources = aws.stack_resources(&name).await?;
    let rows: Vec<Vec<String>> = resources
        .into_iter()
        .map(|(id, kind, status, physical)| vec![id, kind, status, physical])
        .collect();
    out(&table(&["resource", "type", "status", "id"], &rows));
    Ok(Outcome::Done)
}

/// Prints the stack's outputs.
pub async fn outputs(workspace: &Workspace, as_json: bool) -> Result<Outcome> {
    let stack = deployed(&connect(workspace).await?, workspace).await?;
    if as_json {
        out_json(&serde_json::to_string_pretty(&stack.outputs)?);
    } else {
        stack.outputs.iter().for_each(|(name, value)| say!("{name}={value}"));
    }
    Ok(Outcome::Done)
}

/// Prints logs.
pub async fn logs(workspace: &Workspace, of: LogSource, minutes: u32) -> Result<Outcome> {
    let aws = connect(workspace).await?;
    let stack = deployed(&aws, workspace).await?;
    let group = match of {
        LogSource::Predictor => "PredictorLogGroup",
        LogSource::Clean => "CleanLogGroup",
        LogSource::Train => "TrainJobLogGroup",
        LogSource::Drift => "DriftJobLogGroup",
        LogSource::Server => {
            out(&aws.console(output(&stack, "ServerInstanceId")?).await?);
            return Ok(Outcome::Done);
        }
    };
    let since = jiff::Timestamp::now().as_millisecond() - i64::from(minutes) * 60_000;
    for (time, message) in aws.log_events(output(&stack, group)?, since).await? {
        let time = jiff::Timestamp::from_millisecond(time)?;
        say!("{} {}", time.strftime("%Y-%m-%d %H:%M:%S"), message.trim_end());
    }
    Ok(Outcome::Done)
}
