//! Tasks that move messages from a dead-letter queue back, or to another queue. They are kept, and
//! go on after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rows::Row;
use super::shelf::Entry;
use super::{Queue, invalid, messages, name_in};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Messages that are moved together.
const TOGETHER: usize = 100;
/// Messages a second that a caller may ask for.
const RATE_MAX: u64 = 500;
/// Tasks of a queue that are shown.
const SHOWN_MAX: u64 = 10;

/// A task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Move {
    source: String,
    destination: Option<String>,
    /// Messages a second.
    rate: Option<u64>,
    status: Status,
    moved: u64,
    to_move: u64,
    started: Timestamp,
    failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Running,
    Completed,
    Cancelling,
    Cancelled,
    Failed,
}

impl Status {
    fn active(self) -> bool {
        matches!(self, Self::Running | Self::Cancelling)
    }
}

fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceNotFoundException", message).with_status(404)
}

fn handle(id: &str, source: &str) -> String {
    BASE64.encode(json!({ "taskId": id, "sourceArn": source }).to_string())
}

fn id_in(handle: &str) -> Option<String> {
    let parts: Value = serde_json::from_slice(&BASE64.decode(handle).ok()?).ok()?;
    parts["taskId"].as_str().map(str::to_owned)
}

fn queue(cloud: &Cloud, arn: &str) -> Option<Arc<Queue>> {
    cloud.services.sqs.queues.get(name_in(cloud, arn)?)
}

/// `StartMessageMoveTask`.
pub fn start(call: &Call<'_>) -> ApiResult {
    let (cloud, state) = (call.cloud, &call.cloud.services.sqs);
    let source = call.required("SourceArn")?;
    call.authorize(source)?;
    for action in ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"] {
        cloud.authorize(call.caller, action, source, &[])?;
    }
    let missing = |name: &str| {
        not_found(format!(
            "The resource that you specified for the {name} parameter doesn't exist."
        ))
    };
    let from = queue(cloud, source).ok_or_else(|| missing("SourceArn"))?;
    let queues = state.queues.all();
    let is_source = |queue: &Queue| queue.settings().redrive.is_some_and(|r| r.target == source);
    if !queues.iter().any(|(_, queue)| is_source(queue)) {
        return Err(invalid("Source queue must be configured as a Dead Letter Queue."));
    }
    let destination = call.text("DestinationArn");
    if let Some(arn) = destination {
        cloud.authorize(call.caller, "sqs:SendMessage", arn, &[])?;
        let to = queue(cloud, arn).ok_or_else(|| missing("DestinationArn"))?;
        if to.settings().fifo != from.settings().fifo {
            return Err(invalid("The source and the destination must be queues of the same type."));
        }
    }
    let rate = call.params["MaxNumberOfMessagesPerSecond"].as_i64();
    let rate = match rate {
        Some(rate) => {
            let rate = u64::try_from(rate).ok().filter(|rate| (1..=RATE_MAX).contains(rate));
            let words = "for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must \
                         enter a value between 1 and 500.";
            Some(rate.ok_or_else(|| {
                invalid(format!("Value {:?} {words}", call.params["MaxNumberOfMessagesPerSecond"]))
            })?)
        }
        None => None,
    };
    if state.moves.all().iter().any(|(_, task)| task.source == source && task.status.active()) {
        return Err(invalid(
            "There is already a task running. Only one active task is allowed for a source queue \
             arn at a given time.",
        ));
    }
    let now = cloud.clock.now();
    let id = uuid::Uuid::new_v4().to_string();
    let task = Move {
        source: source.to_owned(),
        destination: destination.map(str::to_owned),
        rate,
        status: Status::Running,
        moved: 0,
        to_move: state.shelf(&from).counts(now).ready as u64,
        started: now,
        failure: None,
    };
    state.moves.put(&id, task)?;
    tokio::spawn(run(cloud.clone(), id.clone()));
    Ok(json!({ "TaskHandle": handle(&id, source) }))
}

/// Goes on with the tasks that an earlier process began.
pub fn resume(cloud: &Arc<Cloud>) {
    for (id, task) in cloud.services.sqs.moves.all() {
        if task.status.active() {
            tokio::spawn(run(cloud.clone(), id));
        }
    }
}

async fn run(cloud: Arc<Cloud>, id: String) {
    let moves = &cloud.services.sqs.moves;
    loop {
        let Some(task) = moves.get(&id) else { return };
        if task.status == Status::Cancelling {
            moves.settle(&id, |task| task.status = Status::Cancelled);
            return;
        }
        let count = task.rate.map_or(TOGETHER, |rate| (rate as usize).min(TOGETHER));
        match step(&cloud, &task, count) {
            Ok(0) => {
                moves.settle(&id, |task| task.status = Status::Completed);
                return;
            }
            Ok(moved) => drop(moves.settle(&id, |task| task.moved += moved as u64)),
            Err(why) => {
                moves.settle(&id, |task| {
                    task.status = Status::Failed;
                    task.failure = Some(why);
                });
                return;
            }
        }
        match task.rate {
            Some(rate) => {
                let pause = Duration::from_secs_f64(count as f64 / rate as f64);
                cloud.clock.sleep(pause).await;
            }
            None => tokio::task::yield_now().await,
        }
    }
}

/// Moves some messages; how many.
fn step(cloud: &Arc<Cloud>, task: &Move, count: usize) -> Result<usize, String> {
    let gone = || "AWS.SimpleQueueService.NonExistentQueue".to_owned();
    let state = &cloud.services.sqs;
    let from = queue(cloud, &task.source).ok_or_else(gone)?;
    let shelf = state.shelf(&from);
    let taken = shelf.take_ready(count, cloud.clock.now());
    let total = taken.len();
    let mut by_target: BTreeMap<String, Vec<(u64, Entry)>> = BTreeMap::new();
    for (number, entry) in taken {
        let row = state.rows.get(&shelf.row(number));
        let origin = match row.as_deref() {
            Some(Row::Message(message)) => message.origin.clone(),
            _ => None,
        };
        let target = task.destination.clone().or(origin).unwrap_or_default();
        by_target.entry(target).or_default().push((number, entry));
    }
    let mut failure = None;
    for (target, entries) in by_target {
        let Some(to) = queue(cloud, &target) else {
            shelf.put_back(entries);
            failure.get_or_insert_with(gone);
            continue;
        };
        let moved = messages::transfer(cloud, &from, &to, entries, |message| {
            message.origin = None;
            message.receives_before = 0;
        });
        moved.map_err(|error| error.to_string())?;
    }
    failure.map_or(Ok(total), Err)
}

/// `ListMessageMoveTasks`: the newest first.
pub fn list(call: &Call<'_>) -> ApiResult {
    let source = call.required("SourceArn")?;
    call.authorize(source)?;
    queue(call.cloud, source).ok_or_else(|| {
        not_found("The resource that you specified for the SourceArn parameter doesn't exist.")
    })?;
    let count = call.params["MaxResults"].as_i64().unwrap_or(1);
    let count = u64::try_from(count).ok().filter(|count| (1..=SHOWN_MAX).contains(count));
    let count = count.ok_or_else(|| {
        let why = "You must enter a value between 1 and 10.";
        invalid(format!("Value for parameter MaxResults is invalid. Reason: {why}"))
    })?;
    let mut tasks = call.cloud.services.sqs.moves.all();
    tasks.retain(|(_, task)| task.source == source);
    tasks.sort_by_key(|(_, task)| std::cmp::Reverse(task.started));
    let shown = tasks.iter().take(count as usize).map(|(id, task)| {
        json!({
            "TaskHandle": task.status.active().then(|| handle(id, source)),
            "Status": task.status, "SourceArn": source, "DestinationArn": task.destination,
            "MaxNumberOfMessagesPerSecond": task.rate,
            "ApproximateNumberOfMessagesMoved": task.moved,
            "ApproximateNumberOfMessagesToMove": task.to_move,
            "FailureReason": task.failure, "StartedTimestamp": task.started.as_millisecond(),
        })
    });
    Ok(json!({ "Results": shown.collect::<Vec<Value>>() }))
}

/// `CancelMessageMoveTask`.
pub fn cancel(call: &Call<'_>) -> ApiResult {
    let unknown = || not_found("Task does not exist.");
    let id = id_in(call.required("TaskHandle")?)
        .ok_or_else(|| invalid("Value for parameter TaskHandle is invalid."))?;
    let moves = &call.cloud.services.sqs.moves;
    let task = moves.get(&id).ok_or_else(unknown)?;
    call.authorize(&task.source)?;
    if task.status != Status::Running {
        return Err(not_found("Only active tasks can be cancelled."));
    }
    moves.update(&id, |task| {
        if task.status == Status::Running {
            task.status = Status::Cancelling;
        }
    })?;
    Ok(json!({ "ApproximateNumberOfMessagesMoved": task.moved }))
}
