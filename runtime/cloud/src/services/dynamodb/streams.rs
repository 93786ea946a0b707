//! Streams of tables: every change of an item, in order, for a day.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html>. A consumer
//! finds a stream by its ARN ([`find`]), begins at [`position`], calls [`read`] with the position
//! that the last [`Batch`] gave it, and waits for [`changes`] when there is nothing.
//!
//! Differences from AWS: a stream has one shard, which stays open until the stream is disabled; a
//! deleted table takes its streams along at once; nothing is throttled.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

pub use super::stream_log::Change;
use super::stream_log::StreamLog;
use super::{TableRecord, arn, existing, sizes};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};

/// How long a change can be read.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Streams of one table that can still be read.
const STREAMS_MAX: usize = 50;
/// Changes that are looked at together.
const PAGE: usize = 1_000;
/// What is added to a number, so that it has the 21 digits that AWS's have at least.
const NUMBERS_BEGIN: u128 = 100_000_000_000_000_000_000;

/// A stream of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStream {
    /// What its ARN ends with.
    pub label: String,
    /// What its records show.
    pub view: String,
    /// When it was enabled.
    pub created: Timestamp,
    /// The number of its first change, or one before it.
    pub begin: i64,
    /// When it was disabled, and the number after its last change.
    pub closed: Option<(Timestamp, i64)>,
}

impl TableStream {
    fn is_kept(&self, now: Timestamp) -> bool {
        self.closed.is_none_or(|(at, _)| now.duration_since(at) < KEPT)
    }

    /// The ID of its only shard.
    pub fn shard(&self) -> String {
        format!("shardId-{:020}-00000001", self.created.as_millisecond())
    }
}

/// What streams have beside the records of tables.
#[derive(Debug)]
pub struct Streams {
    /// The changes.
    pub log: StreamLog,
    /// Held alone by who makes a change and says more of it.
    pub gate: RwLock<()>,
    waiting: Mutex<HashMap<String, watch::Sender<u64>>>,
}

impl Streams {
    /// With those changes.
    pub fn new(log: StreamLog) -> Self {
        Self { log, gate: RwLock::default(), waiting: Mutex::default() }
    }

    /// Tells those who wait that a table may have changed.
    pub fn tell(&self, table: &str) {
        if let Some(waiting) = self.waiting.lock().get(table) {
            waiting.send_modify(|count| *count += 1);
        }
    }

    /// Forgets the changes of a table that is deleted.
    pub fn forget(&self, table: &str) -> ApiResult<()> {
        self.waiting.lock().remove(table);
        self.log.forget(table)
    }
}

impl TableRecord {
    /// The stream that is enabled.
    pub fn open_stream(&self) -> Option<&TableStream> {
        self.streams.last().filter(|stream| stream.closed.is_none())
    }

    /// Enables a stream, unless one is; changes before `begin` are not in it.
    pub fn open(&mut self, name: &str, view: &str, begin: i64, now: Timestamp) -> ApiResult<()> {
        if self.open_stream().is_some() {
            return Err(enabled_already(name));
        }
        self.streams.retain(|stream| stream.is_kept(now));
        if self.streams.len() >= STREAMS_MAX {
            let words = format!("Too many streams of the table {name} were disabled lately.");
            return Err(ApiError::new("LimitExceededException", words));
        }
        let label = label(now, self.streams.last());
        let view = view.to_owned();
        self.streams.push(TableStream { label, view, created: now, begin, closed: None });
        Ok(())
    }

    /// Disables the stream that is enabled; changes from `end` on are not in it.
    pub fn close(&mut self, end: i64, now: Timestamp) {
        if let Some(open) = self.streams.last_mut().filter(|stream| stream.closed.is_none()) {
            open.closed = Some((now, end));
        }
    }
}

/// Refuses a second stream.
pub fn enabled_already(name: &str) -> ApiError {
    let words = format!("Table already has an enabled stream: TableName: {name}");
    ApiError::new("ValidationException", words)
}

/// A label that the table's last stream does not have.
fn label(now: Timestamp, last: Option<&TableStream>) -> String {
    let shown = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string();
    let label = shown(now);
    match last {
        Some(last) if last.label >= label => shown(now + SignedDuration::from_millis(1)),
        _ => label,
    }
}

/// What a table shows of its streams.
pub fn describe(cloud: &Cloud, name: &str, table: &TableRecord, out: &mut Value) {
    if let Some(members) = out.as_object_mut() {
        for member in ["StreamSpecification", "LatestStreamLabel", "LatestStreamArn"] {
            members.remove(member);
        }
    }
    let Some(latest) = table.streams.last() else { return };
    out["LatestStreamLabel"] = latest.label.clone().into();
    out["LatestStreamArn"] = stream_arn(cloud, name, latest).into();
    if latest.closed.is_none() {
        out["StreamSpecification"] =
            json!({ "StreamEnabled": true, "StreamViewType": latest.view });
    }
}

/// A stream's ARN.
pub fn stream_arn(cloud: &Cloud, table: &str, stream: &TableStream) -> String {
    format!("{}/stream/{}", arn(cloud, table), stream.label)
}

/// The streams of a table that can be read.
pub fn kept(cloud: &Cloud, table: &TableRecord) -> Vec<TableStream> {
    let now = cloud.clock.now();
    table.streams.iter().filter(|stream| stream.is_kept(now)).cloned().collect()
}

/// The table and the stream of an ARN.
pub fn find(cloud: &Cloud, stream: &str) -> ApiResult<(String, TableStream)> {
    let missing = || {
        let words = format!("Requested resource not found: Stream: {stream} not found");
        ApiError::new("ResourceNotFoundException", words)
    };
    let rest = stream.strip_prefix(&arn(cloud, "")).ok_or_else(missing)?;
    let (name, label) = rest.split_once("/stream/").ok_or_else(missing)?;
    let table = existing(cloud, name).map_err(|_| missing())?;
    let found = kept(cloud, &table).into_iter().find(|stream| stream.label == label);
    Ok((name.to_owned(), found.ok_or_else(missing)?))
}

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the oldest change.
    TrimHorizon,
    /// With what comes from now on.
    Latest,
    /// With the first change at or after a time, in seconds since 1970.
    Time(i64),
}

/// The position in a stream.
pub fn position(cloud: &Cloud, table: &str, stream: &TableStream, from: From) -> ApiResult<i64> {
    match from {
        From::TrimHorizon => Ok(stream.begin),
        From::Latest => Ok(cloud.services.dynamodb.streams.log.end(table)?.max(stream.begin)),
        From::Time(secs) => {
            let mut at = stream.begin;
            loop {
                let page = cloud.services.dynamodb.streams.log.read(table, at, PAGE)?;
                if let Some(first) = page.iter().find(|change| change.made_secs >= secs) {
                    return Ok(first.number);
                }
                match page.last() {
                    Some(last) => at = last.number + 1,
                    None => return Ok(at),
                }
            }
        }
    }
}

/// Changes that were read.
#[derive(Debug, Default, PartialEq)]
pub struct Batch {
    /// The changes.
    pub changes: Vec<Change>,
    /// Where to go on; nothing at the end of a stream that was disabled.
    pub next: Option<i64>,
}

/// Reads changes from a position on: so many, and so many bytes of them, but one at least if there
/// is one. It reads a file, so it is not for who answers requests.
pub fn read(
    cloud: &Cloud,
    table: &str,
    stream: &TableStream,
    from: i64,
    (records_max, bytes_max): (usize, usize),
) -> ApiResult<Batch> {
    let streams = &cloud.services.dynamodb.streams;
    let horizon = cloud.clock.now().checked_sub(KEPT).unwrap_or(Timestamp::MIN).as_second();
    let end = stream.closed.map_or(i64::MAX, |(_, end)| end);
    let most = records_max.min(PAGE);
    let (mut changes, mut next, mut bytes) = (Vec::new(), from.max(stream.begin), 0);
    loop {
        let page = {
            let _whole = streams.gate.read();
            streams.log.read(table, next, most)?
        };
        let is_last = page.len() < most;
        for change in page.into_iter().take_while(|change| change.number < end) {
            let after = change.number + 1;
            if change.made_secs >= horizon && change.is_one() {
                bytes += sizes::of_change(&change, &stream.view);
                if bytes > bytes_max && !changes.is_empty() {
                    return Ok(Batch { changes, next: Some(next) });
                }
                changes.push(change);
            }
            next = after;
            if changes.len() >= most {
                break;
            }
        }
        let is_over = next >= end || (is_last && stream.closed.is_some() && changes.len() < most);
        // What is too old or changed nothing is passed over.
        if is_over || is_last || !changes.is_empty() {
            return Ok(Batch { changes, next: (!is_over).then_some(next) });
        }
    }
}

/// Wakes whenever a table may have changed.
pub fn changes(cloud: &Cloud, table: &str) -> watch::Receiver<u64> {
    let mut waiting = cloud.services.dynamodb.streams.waiting.lock();
    waiting.entry(table.to_owned()).or_insert_with(|| watch::Sender::new(0)).subscribe()
}

/// The number of a change as it is shown.
pub fn sequence(number: i64) -> String {
    (NUMBERS_BEGIN + u128::from(number.unsigned_abs())).to_string()
}

/// The number of a change that is shown like this.
pub fn number_of(sequence: &str) -> Option<i64> {
    let shown: u128 = sequence.parse().ok()?;
    i64::try_from(shown.checked_sub(NUMBERS_BEGIN)?).ok()
}

/// A change as a consumer gets it.
pub fn event(cloud: &Cloud, stream: &TableStream, change: &Change) -> Value {
    let mut record = json!({
        "ApproximateCreationDateTime": change.made_secs, "Keys": change.keys,
        "SequenceNumber": sequence(change.number),
        "SizeBytes": sizes::of_change(change, &stream.view), "StreamViewType": stream.view,
    });
    for (member, image) in [("NewImage", &change.new), ("OldImage", &change.old)] {
        if let Some(image) = image.as_ref().filter(|_| shows(&stream.view, member)) {
            record[member] = image.clone();
        }
    }
    let mut event = json!({
        "eventID": change.id, "eventName": change.event, "eventVersion": "1.1",
        "eventSource": "aws:dynamodb", "awsRegion": cloud.config.region, "dynamodb": record,
    });
    if let Some(identity) = &change.identity {
        event["userIdentity"] = identity.clone();
    }
    event
}

/// Whether a kind of view has an image.
pub fn shows(view: &str, member: &str) -> bool {
    match member {
        "NewImage" => matches!(view, "NEW_IMAGE" | "NEW_AND_OLD_IMAGES"),
        _ => matches!(view, "OLD_IMAGE" | "NEW_AND_OLD_IMAGES"),
    }
}

/// Deletes changes that cannot be read any more, for as long as the process runs.
pub async fn keep_retention(cloud: Arc<Cloud>) {
    loop {
        let all = cloud.clone();
        let trimmed = tokio::task::spawn_blocking(move || {
            let horizon = all.clock.now().checked_sub(KEPT).unwrap_or(Timestamp::MIN);
            all.services.dynamodb.streams.log.trim(horizon.as_second())
        });
        match trimmed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("old changes of tables stay: {error}"),
            Err(error) => tracing::error!("old changes of tables stay: {error}"),
        }
        cloud.clock.sleep(std::time::Duration::from_secs(60 * 60)).await;
    }
}
