//! A lane: the records of some partition keys of one shard, handed over batch by batch.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html>: what could
//! not be handed over is tried until it is too old for the mapping or the stream; what the function
//! failed on, also until it was tried often enough. A batch that failed is divided when the mapping
//! says so, which is no attempt; one of which a part is done goes on with the rest.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::filter::Filters;
use super::gathered::{Gathered, Own, source};
use super::outcome::{self, Outcome};
use super::settings::Kind;
use super::source::Record;
use super::stream::{Checkpoint, PROBLEM_PAUSE, row};
use super::{Mapping, payload, tell_result};
use crate::kernel::cloud::{Cloud, iso};
use crate::services::cloudwatch::{self, Metric};
use crate::services::lambda::destinations::{SERVICE, Told, delivery};
use crate::services::lambda::versions::{Target, resolve};
use crate::services::lambda::{Alias, Invoked};

/// Seconds of the longest pause before a batch is tried again.
const PAUSE_SECS_MAX: u64 = 60;

/// A lane.
pub struct Lane {
    cloud: Arc<Cloud>,
    id: String,
    mapping: Arc<Mapping>,
    shard: u32,
    lane: u32,
    filters: Arc<Filters>,
    /// Changes when this lane has to end.
    stop: watch::Receiver<u64>,
}

/// Part of a batch, and how often the function failed on it.
#[derive(Debug, Clone, Copy)]
struct Piece {
    begin: usize,
    end: usize,
    failures: u64,
}

/// How an attempt ended.
enum Tried {
    /// The function answered.
    Answered(Invoked),
    /// It was not invoked.
    Not(String),
}

impl Lane {
    /// A lane of a mapping.
    pub fn new(
        cloud: &Arc<Cloud>,
        id: &str,
        mapping: &Arc<Mapping>,
        (shard, lane): (u32, u32),
        stop: watch::Receiver<u64>,
    ) -> Self {
        let filters = Arc::new(Filters::of(mapping.settings.filters.as_deref()));
        let (cloud, id, mapping) = (cloud.clone(), id.to_owned(), mapping.clone());
        Self { cloud, id, mapping, shard, lane, filters, stop }
    }

    /// Hands records over from a position on, until the shard or the mapping ends; which lane it
    /// was.
    pub async fn run(mut self, mut position: u64) -> (u32, u32) {
        loop {
            let gathered = match self.gather(position).await {
                Ok(Some(gathered)) => gathered,
                Ok(None) => break,
                Err(words) => {
                    tell_result(&self.cloud, &self.id, &format!("PROBLEM: {words}"));
                    if !self.pause(PROBLEM_PAUSE).await {
                        break;
                    }
                    continue;
                }
            };
            if !self.process(&gathered).await {
                break;
            }
            position = gathered.next;
            if gathered.ended {
                self.keep(Checkpoint::Ended);
                break;
            }
        }
        (self.shard, self.lane)
    }

    /// Waits; whether this lane goes on.
    async fn pause(&mut self, pause: Duration) -> bool {
        tokio::select! {
            _ = self.stop.changed() => false,
            () = self.cloud.clock.sleep(pause) => true,
        }
    }

    /// Writes down how far this lane is, unless the mapping was deleted.
    fn keep(&self, checkpoint: Checkpoint) {
        let row = row(&self.id, self.shard, self.lane);
        self.cloud.services.lambda.checkpoints.settle(&row, |former| *former = checkpoint);
    }

    /// Waits for a batch; nothing when the lane has to end.
    async fn gather(&mut self, position: u64) -> Result<Option<Gathered>, String> {
        let changes =
            source(&self.cloud, &self.mapping)?.changes(&self.cloud, &self.mapping.source);
        let mut changes = changes.map_err(|error| error.message)?;
        let window = SignedDuration::from_secs(self.mapping.settings.window_secs as i64);
        let mut gathered = Gathered::from(position);
        let mut due = Timestamp::MAX;
        loop {
            changes.borrow_and_update();
            let is_full;
            (gathered, is_full) = self.read(gathered).await?;
            let now = self.cloud.clock.now();
            if !gathered.records.is_empty() && due == Timestamp::MAX {
                due = now + window;
            }
            if is_full || gathered.ended || due <= now {
                return Ok(Some(gathered));
            }
            tokio::select! {
                _ = self.stop.changed() => return Ok(None),
                changed = changes.changed() => {
                    // The stream was deleted; the next look says so.
                    changed.map_err(|_| format!("Stream not found: {}", self.mapping.source))?;
                }
                () = self.cloud.clock.sleep_until(due) => {}
            }
        }
    }

    /// Adds what has come to a batch; whether that is full.
    async fn read(&self, gathered: Gathered) -> Result<(Gathered, bool), String> {
        let (cloud, mapping) = (self.cloud.clone(), self.mapping.clone());
        let filters = self.filters.clone();
        let own = Own { shard: self.shard, lane: self.lane };
        let work = tokio::task::spawn_blocking(move || {
            let mut gathered = gathered;
            let full = own.read(&cloud, &mapping, &filters, &mut gathered)?;
            Ok::<_, String>((gathered, full))
        });
        work.await.map_err(|error| error.to_string())?
    }

    /// Hands a batch over, piece by piece; whether this lane goes on.
    async fn process(&mut self, gathered: &Gathered) -> bool {
        let count = gathered.records.len();
        if count == 0 {
            return true;
        }
        let mut pieces = vec![Piece { begin: 0, end: count, failures: 0 }];
        let mut refusals = 0;
        while let Some(piece) = pieces.pop() {
            let Some(piece) = self.give_up_old(gathered, piece).await else { return false };
            if piece.begin == piece.end {
                continue;
            }
            match self.invoke(&gathered.records[piece.begin..piece.end]).await {
                Tried::Not(words) => {
                    tell_result(&self.cloud, &self.id, &format!("PROBLEM: {words}"));
                    pieces.push(piece);
                    if !self.pause(pause(refusals)).await {
                        return false;
                    }
                    refusals += 1;
                }
                Tried::Answered(invoked) => {
                    refusals = 0;
                    if !self.judge(gathered, piece, &invoked, &mut pieces).await {
                        return false;
                    }
                }
            }
            if self.stop.has_changed().unwrap_or(true) {
                return false;
            }
        }
        true
    }

    /// Does with a piece what the function's answer asks for; whether this lane goes on.
    async fn judge(
        &mut self,
        gathered: &Gathered,
        piece: Piece,
        invoked: &Invoked,
        pieces: &mut Vec<Piece>,
    ) -> bool {
        let settings = &self.mapping.settings;
        let Piece { begin, end, failures } = piece;
        let records = &gathered.records[begin..end];
        let sequences: Vec<&str> = records.iter().map(|record| record.sequence.as_str()).collect();
        let done = match outcome::of(invoked, &sequences, settings.reports) {
            Outcome::Done => {
                self.done(gathered, end);
                self.count_age(&gathered.records[end - 1]);
                tell_result(&self.cloud, &self.id, "OK");
                return true;
            }
            Outcome::Failed => 0,
            Outcome::Partly(failed) => failed.first().copied().unwrap_or_default(),
        };
        tell_result(&self.cloud, &self.id, "PROBLEM: Function call failed");
        if done > 0 {
            self.done(gathered, begin + done);
        }
        let begin = begin + done;
        if settings.bisects && done > 0 {
            // It is divided where the function says, and the rest is tried.
            pieces.push(Piece { begin, end, failures });
            return self.pause(pause(failures)).await;
        }
        if settings.bisects && end - begin > 1 {
            let middle = begin + (end - begin) / 2;
            pieces.push(Piece { begin: middle, end, failures });
            pieces.push(Piece { begin, end: middle, failures });
            return self.pause(pause(failures)).await;
        }
        let failures = failures + 1;
        if settings.retries_max.is_some_and(|most| failures > most) {
            let given_up = Piece { begin, end, failures };
            return self.give_up(gathered, given_up, "RetryAttemptsExhausted", Some(invoked)).await;
        }
        pieces.push(Piece { begin, end, failures });
        self.pause(pause(failures - 1)).await
    }

    /// Writes down that the records before an index are done.
    fn done(&self, gathered: &Gathered, index: usize) {
        self.keep(Checkpoint::At(gathered.position(index)));
    }

    /// How old the newest record was that was handed over.
    fn count_age(&self, record: &Record) {
        let age = self.cloud.clock.now().as_millisecond() - record.arrived;
        let metric = Metric {
            namespace: "AWS/Lambda".to_owned(),
            name: "IteratorAge".to_owned(),
            dimensions: [("FunctionName".to_owned(), self.mapping.function.clone())].into(),
        };
        cloudwatch::record(&self.cloud, &metric, age.max(0) as f64, "Milliseconds");
    }

    /// Gives up the records of a piece that are too old; the rest, or nothing when this lane has
    /// to end.
    async fn give_up_old(&mut self, gathered: &Gathered, piece: Piece) -> Option<Piece> {
        // What cannot be read any more has expired, also when it is here.
        let kept = source(&self.cloud, &self.mapping).map(|source| source.kept());
        let most = [self.mapping.settings.age_max(), kept.ok()].into_iter().flatten().min();
        let Some(most) = most else { return Some(piece) };
        let oldest = self.cloud.clock.now().checked_sub(most).unwrap_or(Timestamp::MIN);
        let oldest = oldest.as_millisecond();
        let records = &gathered.records[piece.begin..piece.end];
        // Records of a shard come in the order of their arrival.
        let old = records.iter().take_while(|record| record.arrived < oldest).count();
        if old == 0 {
            return Some(piece);
        }
        let middle = piece.begin + old;
        let given_up = Piece { end: middle, ..piece };
        let goes_on = self.give_up(gathered, given_up, "RecordAgeExceeded", None).await;
        goes_on.then_some(Piece { begin: middle, ..piece })
    }

    /// Gives up a piece, of which the destination is told; whether this lane goes on.
    async fn give_up(
        &mut self,
        gathered: &Gathered,
        piece: Piece,
        condition: &str,
        answer: Option<&Invoked>,
    ) -> bool {
        let records = &gathered.records[piece.begin..piece.end];
        tracing::warn!(
            "{} records of {} are given up: {condition}",
            records.len(),
            self.mapping.source
        );
        while let Err(words) = self.tell(records, piece.failures, condition, answer) {
            tell_result(&self.cloud, &self.id, &format!("PROBLEM: {words}"));
            if !self.pause(PROBLEM_PAUSE).await {
                return false;
            }
        }
        self.done(gathered, piece.end);
        true
    }

    /// Sends what became of records to the destination; it is safe when this returns.
    fn tell(
        &self,
        records: &[Record],
        failures: u64,
        condition: &str,
        answer: Option<&Invoked>,
    ) -> Result<(), String> {
        let (Some(destination), [first, .., last] | [first @ last]) =
            (&self.mapping.settings.on_failure, records)
        else {
            return Ok(());
        };
        let (cloud, mapping) = (&self.cloud, &self.mapping);
        let target = resolve(cloud, &mapping.reference(), Alias::main).map_err(|e| e.message)?;
        let id = uuid::Uuid::new_v4().to_string();
        let answered = answer.map(|answer| (answer.version.as_str(), answer.function_error));
        let function = mapping.function_arn(cloud);
        let told =
            Told { id: &id, function: &function, condition, invoked: failures, answer: answered };
        let mut record = told.record(cloud);
        let arrival = |record: &Record| {
            Timestamp::from_millisecond(record.arrived).map(iso).unwrap_or_default()
        };
        let info = match mapping.kind {
            Kind::Table => "DDBStreamBatchInfo",
            _ => "KinesisBatchInfo",
        };
        record[info] = json!({
            "shardId": source(cloud, mapping)?.shard_id(self.shard),
            "startSequenceNumber": first.sequence, "endSequenceNumber": last.sequence,
            "approximateArrivalOfFirstRecord": arrival(first),
            "approximateArrivalOfLastRecord": arrival(last),
            "batchSize": records.len(), "streamArn": mapping.source,
        });
        let of = (mapping.function.as_str(), target.function.role.as_str());
        let sent = delivery(cloud, of, destination, record.to_string(), Value::Null);
        let deliveries = &cloud.services.lambda.deliveries;
        deliveries.add([sent], cloud.clock.now()).map_err(|error| error.to_string())
    }

    /// Invokes the function with records, when its role may still read them.
    async fn invoke(&self, records: &[Record]) -> Tried {
        let (cloud, mapping) = (&self.cloud, &self.mapping);
        let target = match self.target() {
            Ok(target) => target,
            Err(words) => return Tried::Not(words),
        };
        let role = &target.function.role;
        let shard = match source(cloud, mapping) {
            Ok(source) => source.shard_id(self.shard),
            Err(words) => return Tried::Not(words),
        };
        let event = |record: &Record| record.event(cloud, mapping, role, &shard);
        let payload = payload(&records.iter().map(event).collect::<Vec<Value>>());
        let id = uuid::Uuid::new_v4().to_string();
        match super::super::run(cloud, &target, payload, &id).await {
            Ok(invoked) => Tried::Answered(invoked),
            Err(error) => Tried::Not(error.message),
        }
    }

    /// The function, when its role may read the stream.
    fn target(&self) -> Result<Target, String> {
        let (cloud, mapping) = (&self.cloud, &self.mapping);
        let target = resolve(cloud, &mapping.reference(), Alias::choose).map_err(|e| e.message)?;
        let assumed = cloud.assume(&target.function.role, SERVICE, &target.name);
        let session = assumed
            .map_err(|_| "Lambda failed to assume your function execution role.".to_owned())?;
        let service = if mapping.kind == Kind::Table { "dynamodb" } else { "kinesis" };
        let action = format!("{service}:GetRecords");
        let allowed = cloud.authorize(&session, &action, &mapping.source, &[]);
        allowed.map(|()| target).map_err(|error| error.message)
    }
}

/// The pause after so many failures.
fn pause(failures: u64) -> Duration {
    Duration::from_secs((1 << failures.min(16)).min(PAUSE_SECS_MAX))
}
