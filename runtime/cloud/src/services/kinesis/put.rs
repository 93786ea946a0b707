//! Putting records.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::log::{Log, Record};
use super::sequence::Sequence;
use super::shards::{Key, Shard, id};
use super::{arn, find, invalid, name_of, named};
use crate::kernel::bus::Message;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::{Call, Pending};

/// Bytes of a record's data.
const DATA_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of all records of a request, keys counted.
const REQUEST_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Characters of a partition key.
const KEY_CHARS_MAX: usize = 256;
/// Shards that are brought to the disk at a time.
const SYNCS_MAX: usize = 16;
/// What is answered when a shard has taken all that it takes in a second.
const EXCEEDED: &str = "ProvisionedThroughputExceededException";

/// A record on its way to a shard.
#[derive(Debug)]
struct Entry {
    hash: Key,
    key: String,
    data: Vec<u8>,
}

impl Entry {
    fn parse(value: &Value) -> ApiResult<Self> {
        let key = value["PartitionKey"].as_str().unwrap_or_default();
        let validation = |words: String| ApiError::new("ValidationException", words);
        if key.is_empty() || key.chars().count() > KEY_CHARS_MAX {
            return Err(validation(format!(
                "1 validation error detected: Value at 'partitionKey' failed to satisfy \
                 constraint: Member must have length between 1 and {KEY_CHARS_MAX}"
            )));
        }
        let data = STANDARD.decode(value["Data"].as_str().unwrap_or_default());
        let data = data.map_err(|error| {
            ApiError::new("SerializationException", format!("Data is not base64: {error}"))
        })?;
        if data.len() > DATA_BYTES_MAX {
            return Err(validation(format!(
                "1 validation error detected: Value at 'data' failed to satisfy constraint: \
                 Member must have length less than or equal to {DATA_BYTES_MAX}"
            )));
        }
        let hash = match value["ExplicitHashKey"].as_str() {
            None => Key::of(key),
            Some(digits) => Key::try_from(digits.to_owned()).map_err(|_| {
                invalid(format!(
                    "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
                     Specified value was {digits}"
                ))
            })?,
        };
        Ok(Self { hash, key: key.to_owned(), data })
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

/// What became of a record: its shard and sequence number, or why it was not taken.
type Outcome = Result<(u32, Sequence), ApiError>;

/// `PutRecord`.
pub async fn one(call: &Call<'_>) -> ApiResult {
    let (name, _) = named(call)?;
    if let Some(digits) = call.text("SequenceNumberForOrdering")
        && Sequence::parse(digits).is_none()
    {
        return Err(invalid(format!("{digits} is not a valid sequence number.")));
    }
    let entry = Entry::parse(call.params)?;
    put_one(call.cloud, name, entry).await
}

async fn put_one(cloud: &Arc<Cloud>, name: &str, entry: Entry) -> ApiResult {
    let outcome = put(cloud, name, vec![entry]).await?.pop();
    let (shard, sequence) =
        outcome.ok_or_else(|| ApiError::internal("a record has no outcome"))??;
    Ok(json!({
        "ShardId": id(shard), "SequenceNumber": sequence.digits(), "EncryptionType": "NONE",
    }))
}

/// `PutRecords`: each record is taken or not by itself.
pub async fn many(call: &Call<'_>) -> ApiResult {
    let (name, _) = named(call)?;
    let given = call.params["Records"].as_array().into_iter().flatten();
    let entries = given.map(Entry::parse).collect::<ApiResult<Vec<_>>>()?;
    if entries.iter().map(Entry::bytes).sum::<usize>() > REQUEST_BYTES_MAX {
        return Err(invalid(format!("Records size exceeds {REQUEST_BYTES_MAX} bytes.")));
    }
    let outcomes = put(call.cloud, name, entries).await?;
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let records: Vec<Value> = outcomes.into_iter().map(describe).collect();
    Ok(json!({ "FailedRecordCount": failed, "Records": records, "EncryptionType": "NONE" }))
}

fn describe(outcome: Outcome) -> Value {
    match outcome {
        Ok((shard, sequence)) => {
            json!({ "ShardId": id(shard), "SequenceNumber": sequence.digits() })
        }
        Err(error) => json!({ "ErrorCode": error.code, "ErrorMessage": error.message }),
    }
}

/// Takes a message of another service: `PartitionKey` is among its parameters, or random.
pub fn take<'a>(cloud: &'a Arc<Cloud>, message: &'a Message) -> Pending<'a> {
    Box::pin(async move {
        let missing =
            || ApiError::new("ResourceNotFoundException", format!("{} not found.", message.target));
        let name = name_of(cloud, &message.target).ok_or_else(missing)?;
        cloud.authorize(&message.caller, "kinesis:PutRecord", &arn(cloud, name), &[])?;
        let key = message.parameters["PartitionKey"].as_str().filter(|key| !key.is_empty());
        let key = key.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
        let data = STANDARD.encode(&message.body);
        let entry = Entry::parse(&json!({ "PartitionKey": key, "Data": data }))?;
        put_one(cloud, name, entry).await
    })
}

/// Puts records, away from what answers other requests.
async fn put(cloud: &Arc<Cloud>, name: &str, entries: Vec<Entry>) -> ApiResult<Vec<Outcome>> {
    let (cloud, name) = (cloud.clone(), name.to_owned());
    let work = tokio::task::spawn_blocking(move || put_here(&cloud, &name, entries));
    work.await.map_err(ApiError::internal)?
}

/// Records of one shard with their places in the request.
#[derive(Debug, Default)]
struct Group {
    indexes: Vec<usize>,
    records: Vec<Record>,
}

fn put_here(cloud: &Cloud, name: &str, entries: Vec<Entry>) -> ApiResult<Vec<Outcome>> {
    let live = cloud.services.kinesis.lives.of(&find(cloud, name)?.id);
    // No shard is closed from here on.
    let _open = live.gate.read();
    let stream = find(cloud, name)?;
    let now = cloud.clock.now().as_millisecond();
    let mut outcomes: Vec<Option<Outcome>> = entries.iter().map(|_| None).collect();
    let mut groups: BTreeMap<u32, Group> = BTreeMap::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let shard = stream.shards.taking(entry.hash);
        let shard = shard.ok_or_else(|| ApiError::internal("no shard takes a hash key"))?.number;
        let bytes = entry.bytes() as f64;
        let admitted = live.rates(shard, |rates| {
            let admitted = rates.write_records.has(1.0, now) && rates.write_bytes.has(bytes, now);
            if admitted {
                rates.write_records.take(1.0);
                rates.write_bytes.take(bytes);
            }
            admitted
        });
        if !admitted {
            outcomes[index] = Some(Err(exceeded(cloud, name, shard)));
            continue;
        }
        let group = groups.entry(shard).or_default();
        group.indexes.push(index);
        group.records.push(Record { arrived: now, key: entry.key, data: entry.data });
    }
    let logs = groups.keys().map(|shard| live.log(*shard)).collect::<ApiResult<Vec<_>>>()?;
    let written = write(&logs, groups.values());
    for ((number, group), written) in groups.iter().zip(written) {
        let shard = stream.shards.get(*number);
        let told = told(shard, group, written);
        for (index, outcome) in group.indexes.iter().zip(told) {
            outcomes[*index] = Some(outcome);
        }
    }
    live.tell();
    let none = || ApiError::internal("a record has no outcome");
    outcomes.into_iter().map(|outcome| outcome.ok_or_else(none)).collect()
}

/// What a shard answers that has taken all that it takes in a second.
pub fn exceeded(cloud: &Cloud, name: &str, shard: u32) -> ApiError {
    let words = format!(
        "Rate exceeded for shard {} in stream {name} under account {}.",
        id(shard),
        cloud.config.account
    );
    ApiError::new(EXCEEDED, words)
}

type Written = std::io::Result<Vec<(u64, i64)>>;

/// Writes the groups to their logs, and brings all of them to the disk.
fn write<'g>(logs: &[Arc<Log>], groups: impl Iterator<Item = &'g Group>) -> Vec<Written> {
    let written: Vec<_> = logs.iter().zip(groups).map(|(log, g)| log.write(&g.records)).collect();
    let ends: Vec<Option<u64>> =
        written.iter().map(|result| result.as_ref().ok().map(|(_, end)| *end)).collect();
    let synced = sync(logs, &ends);
    let both = written.into_iter().zip(synced);
    both.map(|(written, synced)| synced.and_then(|()| written.map(|(places, _)| places))).collect()
}

fn sync(logs: &[Arc<Log>], ends: &[Option<u64>]) -> Vec<std::io::Result<()>> {
    let one = |log: &Log, end: Option<u64>| end.map_or(Ok(()), |end| log.sync(end));
    if let ([log], [end]) = (logs, ends) {
        return vec![one(log, *end)];
    }
    let mut results = Vec::with_capacity(logs.len());
    for (logs, ends) in logs.chunks(SYNCS_MAX).zip(ends.chunks(SYNCS_MAX)) {
        std::thread::scope(|scope| {
            let threads: Vec<_> = logs
                .iter()
                .zip(ends)
                .map(|(log, end)| scope.spawn(move || one(log, *end)))
                .collect();
            for thread in threads {
                let panicked = || Err(std::io::Error::other("a thread panicked"));
                results.push(thread.join().unwrap_or_else(|_| panicked()));
            }
        });
    }
    results
}

/// What became of the records of a group.
fn told(shard: Option<&Shard>, group: &Group, written: Written) -> Vec<Outcome> {
    match (shard, written) {
        (Some(shard), Ok(places)) => {
            let tell = |(at, arrived)| Ok((shard.number, shard.sequence(at, arrived)));
            places.into_iter().map(tell).collect()
        }
        (_, result) => {
            let words = result.err().map_or_else(String::new, |error| error.to_string());
            tracing::error!("records cannot be stored: {words}");
            group.indexes.iter().map(|_| Err(ApiError::internal(&words))).collect()
        }
    }
}
