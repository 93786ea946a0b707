//! `status`, `outputs` and `logs`.

use anyhow::Result;
use serde_json::{Value, json};
use steppe_aws::{Aws, ResourceView, StackView};

use crate::cli::LogSource;
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::Workspace;
use crate::table::table;

/// Age from which an image is called old: Amazon Linux has a new one about every two weeks.
const OLD_IMAGE_DAYS: i64 = 45;

/// Shows the stack, its resources, and what somebody should do about it.
pub async fn status(workspace: &Workspace, host: &Host) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let (aws, name) = (ours.aws(), ours.names().stack());
    let Some(stack) = ours.found() else {
        host.result(&json!({ "stack": name, "status": null }), &format!("{name}: not deployed\n"));
        return Ok(Outcome::Done);
    };
    let resources = aws.stack_resources(&stack.id).await?;
    let notes = notes_of(aws, stack).await?;
    let result = json!({
        "stack": name, "status": stack.status, "reason": stack.reason, "notes": notes,
        "resources": resources.iter().map(as_json).collect::<Vec<_>>(),
    });
    let rows: Vec<Vec<String>> = resources
        .into_iter()
        .map(|r| vec![r.logical_id, r.resource_type, r.status.to_string(), r.physical_id])
        .collect();
    let reason = stack.reason.as_ref().map_or_else(String::new, |r| format!(" ({r})"));
    let table = table(&["resource", "type", "status", "id"], &rows);
    let notes: String = notes.iter().map(|note| format!("\n{note}\n")).collect();
    host.result(&result, &format!("{name}: {}{reason}\n\n{table}{notes}", stack.status));
    Ok(Outcome::Done)
}

fn as_json(resource: &ResourceView) -> Value {
    json!({
        "logical_id": resource.logical_id,
        "resource_type": resource.resource_type,
        "status": resource.status,
        "physical_id": resource.physical_id,
    })
}

/// What somebody should know of a stack, or do about it.
async fn notes_of(aws: &Aws, stack: &StackView) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if let Some(image) = stack.outputs.get("ImageId") {
        notes.extend(image_age(aws, image).await);
    }
    if let Some(topic) = stack.outputs.get("TopicArn") {
        for address in aws.unconfirmed_subscribers(topic).await? {
            notes.push(format!(
                "{address} has not confirmed the subscription (PendingConfirmation): it gets no \
                 mail"
            ));
        }
    }
    Ok(notes)
}

/// Tells how old the server's image is. Nobody patches the instance: a new image does.
async fn image_age(aws: &Aws, image: &str) -> Option<String> {
    // Without the permission, or where nobody keeps images, there is nothing to tell.
    let Some(date) = aws.image_date(image).await.ok()? else {
        return Some(format!(
            "image {image} is not offered any more; `cargo xtask deploy` takes the newest"
        ));
    };
    let made = date.parse::<jiff::Timestamp>().ok()?;
    let days = jiff::Timestamp::now().duration_since(made).as_hours() / 24;
    let old = if days > OLD_IMAGE_DAYS { "; `cargo xtask deploy` renews it" } else { "" };
    Some(format!("image {image} is {days} days old{old}"))
}

/// Prints the stack's outputs.
pub async fn outputs(workspace: &Workspace, host: &Host) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let outputs = &ours.stack()?.outputs;
    let lines: String = outputs.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    host.result(outputs, &lines);
    Ok(Outcome::Done)
}

/// Prints logs.
pub async fn logs(
    workspace: &Workspace,
    host: &Host,
    of: LogSource,
    minutes: u32,
) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let aws = ours.aws();
    let groups: &[&str] = match of {
        LogSource::Predictor => &["PredictorLogGroup"],
        // Glue writes what a job says and what went wrong into two groups.
        LogSource::Clean => &["CleanLogGroup", "CleanErrorLogGroup"],
        LogSource::Check => &["CheckJobLogGroup"],
        LogSource::Train => &["TrainJobLogGroup"],
        LogSource::Score => &["ScoreJobLogGroup"],
        LogSource::Look => &["LookJobLogGroup"],
        LogSource::Drift => &["DriftJobLogGroup"],
        LogSource::Server => {
            let console = aws.console(ours.output("ServerInstanceId")?).await?;
            host.result(&json!({ "console": console }), &console);
            return Ok(Outcome::Done);
        }
    };
    let since = jiff::Timestamp::now().as_millisecond() - i64::from(minutes) * 60_000;
    let mut events = Vec::new();
    for group in groups {
        events.extend(aws.log_events(ours.output(group)?, since).await?);
    }
    events.sort_by_key(|(time, _)| *time);
    let (mut text, mut result) = (String::new(), Vec::new());
    for (time, message) in events {
        let (time, message) = (jiff::Timestamp::from_millisecond(time)?, message.trim_end());
        text += &format!("{} {message}\n", time.strftime("%Y-%m-%d %H:%M:%S"));
        result.push(json!({ "time": time.to_string(), "message": message }));
    }
    host.result(&json!({ "events": result }), &text);
    Ok(Outcome::Done)
}
