//! `status`, `outputs` and `logs`.

use anyhow::Result;
use steppe_aws::Aws;

use crate::cli::LogSource;
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::project::Workspace;
use crate::story::table;
use crate::terminal::{out, out_json, say};

/// Age from which an image is called old: Amazon Linux has a new one about every two weeks.
const OLD_IMAGE_DAYS: i64 = 45;

/// Shows the stack, its resources, and what somebody should do about it.
pub async fn status(workspace: &Workspace) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let (aws, name) = (ours.aws(), ours.names().stack());
    let Some(stack) = ours.found() else {
        say!("{name}: not deployed");
        return Ok(Outcome::Done);
    };
    say!(
        "{name}: {}{}\n",
        stack.status,
        stack.reason.as_ref().map_or_else(String::new, |r| format!(" ({r})"))
    );
    let resources = aws.stack_resources(&stack.id).await?;
    let rows: Vec<Vec<String>> = resources
        .into_iter()
        .map(|r| vec![r.logical_id, r.resource_type, r.status, r.physical_id])
        .collect();
    out(&table(&["resource", "type", "status", "id"], &rows));
    if let Some(image) = stack.outputs.get("ImageId") {
        image_age(aws, image).await;
    }
    if let Some(topic) = stack.outputs.get("TopicArn") {
        for address in aws.unconfirmed_subscribers(topic).await? {
            say!(
                "\n{address} has not confirmed the subscription (PendingConfirmation): it gets no \
                 mail"
            );
        }
    }
    Ok(Outcome::Done)
}

/// Tells how old the server's image is. Nobody patches the instance: a new image does.
async fn image_age(aws: &Aws, image: &str) {
    let date = match aws.image_date(image).await {
        Ok(Some(date)) => date,
        Ok(None) => {
            say!("\nimage {image} is not offered any more; `cargo xtask deploy` takes the newest");
            return;
        }
        // Without the permission, or where nobody keeps images, there is nothing to tell.
        Err(_) => return,
    };
    let Ok(made) = date.parse::<jiff::Timestamp>() else { return };
    let days = jiff::Timestamp::now().duration_since(made).as_hours() / 24;
    let old = if days > OLD_IMAGE_DAYS { "; `cargo xtask deploy` renews it" } else { "" };
    say!("\nimage {image} is {days} days old{old}");
}

/// Prints the stack's outputs.
pub async fn outputs(workspace: &Workspace, as_json: bool) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let stack = ours.stack()?;
    if as_json {
        out_json(&serde_json::to_string_pretty(&stack.outputs)?);
    } else {
        stack.outputs.iter().for_each(|(name, value)| say!("{name}={value}"));
    }
    Ok(Outcome::Done)
}

/// Prints logs.
pub async fn logs(workspace: &Workspace, of: LogSource, minutes: u32) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let aws = ours.aws();
    let groups: &[&str] = match of {
        LogSource::Predictor => &["PredictorLogGroup"],
        // Glue writes what a job says and what went wrong into two groups.
        LogSource::Clean => &["CleanLogGroup", "CleanErrorLogGroup"],
        LogSource::Train => &["TrainJobLogGroup"],
        LogSource::Drift => &["DriftJobLogGroup"],
        LogSource::Server => {
            out(&aws.console(ours.output("ServerInstanceId")?).await?);
            return Ok(Outcome::Done);
        }
    };
    let since = jiff::Timestamp::now().as_millisecond() - i64::from(minutes) * 60_000;
    let mut events = Vec::new();
    for group in groups {
        events.extend(aws.log_events(ours.output(group)?, since).await?);
    }
    events.sort_by_key(|(time, _)| *time);
    for (time, message) in events {
        let time = jiff::Timestamp::from_millisecond(time)?;
        say!("{} {}", time.strftime("%Y-%m-%d %H:%M:%S"), message.trim_end());
    }
    Ok(Outcome::Done)
}
