//! `GetShardIterator` and `GetRecords`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::read::{self, Batch, Most, Position};
use super::sequence::Sequence;
use super::shards::{self, Shard, id};
use super::{Stream, arn, find, invalid, name_of, named, put};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// How long an iterator is good for.
const ITERATOR_MILLIS: i64 = 300_000;
/// Records of an answer.
const RECORDS_MAX: usize = 10_000;
/// Bytes of an answer.
const BYTES_MAX: usize = 10 * 1024 * 1024;

/// What an iterator says.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    stream: String,
    id: String,
    shard: u32,
    position: u64,
    issued_millis: i64,
}

impl Token {
    fn text(&self) -> String {
        let Self { stream, id, shard, position, issued_millis } = self;
        STANDARD.encode(format!("{stream}/{id}/{shard}/{position}/{issued_millis}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let parts: Vec<&str> = text.split('/').collect();
        let [stream, id, shard, position, issued_millis] = parts.as_slice() else { return None };
        Some(Self {
            stream: (*stream).to_owned(),
            id: (*id).to_owned(),
            shard: shard.parse().ok()?,
            position: position.parse().ok()?,
            issued_millis: issued_millis.parse().ok()?,
        })
    }
}

fn shard_of<'s>(
    cloud: &Cloud,
    name: &str,
    stream: &'s Stream,
    number: Option<u32>,
    id: &str,
) -> ApiResult<&'s Shard> {
    number.and_then(|number| stream.shards.get(number)).ok_or_else(|| {
        let account = &cloud.config.account;
        let words = format!("Shard {id} in stream {name} under account {account} does not exist");
        ApiError::new("ResourceNotFoundException", words)
    })
}

/// `GetShardIterator`.
pub fn iterator(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let (name, stream) = named(call)?;
    let shard_id = call.required("ShardId")?;
    let shard = shard_of(cloud, name, &stream, shards::number(shard_id), shard_id)?;
    let kind = call.required("ShardIteratorType")?;
    let (sequence, time) = (call.text("StartingSequenceNumber"), params["Timestamp"].as_f64());
    let needs =
        |what: &str| invalid(format!("Must specify {what} parameter for iterator of type {kind}."));
    if sequence.is_some() != kind.ends_with("SEQUENCE_NUMBER") {
        return Err(match sequence {
            None => needs("startingSequenceNumber"),
            Some(_) => {
                invalid(format!("StartingSequenceNumber is not for iterators of type {kind}."))
            }
        });
    }
    if time.is_some() && kind != "AT_TIMESTAMP" {
        return Err(invalid(format!("Timestamp is not for iterators of type {kind}.")));
    }
    let position = match kind {
        "TRIM_HORIZON" => read::open_position(cloud, &stream, shard.number, Position::TrimHorizon)?,
        "LATEST" => read::open_position(cloud, &stream, shard.number, Position::Latest)?,
        "AT_TIMESTAMP" => {
            let time = moment(cloud, time.ok_or_else(|| needs("timestamp"))?)?;
            read::open_position(cloud, &stream, shard.number, Position::At(time))?
        }
        _ => {
            let digits = sequence.ok_or_else(|| needs("startingSequenceNumber"))?;
            by_sequence(cloud, name, &stream, shard, digits, kind.starts_with("AFTER"))?
        }
    };
    Ok(json!({ "ShardIterator": token(cloud, name, &stream, shard.number, position) }))
}

fn token(cloud: &Cloud, name: &str, stream: &Stream, shard: u32, position: u64) -> String {
    let (stream, id) = (name.to_owned(), stream.id.clone());
    Token { stream, id, shard, position, issued_millis: cloud.clock.now().as_millisecond() }.text()
}

fn moment(cloud: &Cloud, secs: f64) -> ApiResult<Timestamp> {
    let time = Timestamp::from_millisecond((secs * 1000.0) as i64);
    let time = time.map_err(|_| invalid("Timestamp is no time."))?;
    if time > cloud.clock.now() {
        return Err(invalid(format!(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
             timestampInMillis: {}, currentTimestampInMillis: {}",
            time.as_millisecond(),
            cloud.clock.now().as_millisecond()
        )));
    }
    Ok(time)
}

/// The position of a sequence number, or the one after it.
fn by_sequence(
    cloud: &Cloud,
    name: &str,
    stream: &Stream,
    shard: &Shard,
    digits: &str,
    after: bool,
) -> ApiResult<u64> {
    let wrong = || {
        invalid(format!(
            "StartingSequenceNumber {digits} used in GetShardIterator on shard {} in stream \
             {name} under account {} is invalid.",
            id(shard.number),
            cloud.config.account
        ))
    };
    let sequence = Sequence::parse(digits).ok_or_else(wrong)?;
    if sequence.shard != shard.number || sequence.made_secs != shard.made.as_second() {
        return Err(wrong());
    }
    if !after || !sequence.is_record() {
        return Ok(sequence.position);
    }
    let most = Most { records: 1, bytes: usize::MAX };
    let batch = read::read(cloud, stream, shard, sequence.position, most).map_err(|_| wrong())?;
    // Beyond the retention there is nothing between it and the oldest record.
    let next = batch.records.first().filter(|record| record.sequence == digits);
    Ok(next.map_or(sequence.position, |record| record.next))
}

/// `GetRecords`.
pub async fn records(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let token = Token::parse(call.required("ShardIterator")?);
    let token = token.ok_or_else(|| invalid("Invalid ShardIterator."))?;
    call.authorize(&arn(cloud, &token.stream))?;
    if call.text("StreamARN").is_some_and(|arn| name_of(cloud, arn) != Some(&token.stream)) {
        return Err(invalid("The ShardIterator is one of another stream than StreamARN."));
    }
    let now = cloud.clock.now().as_millisecond();
    if now - token.issued_millis > ITERATOR_MILLIS {
        return Err(ApiError::new(
            "ExpiredIteratorException",
            format!(
                "Iterator expired. The iterator was created at time {} while right now it is {now} \
             which is further in the future than the tolerated delay of {ITERATOR_MILLIS} \
             milliseconds.",
                token.issued_millis
            ),
        ));
    }
    let limit = call.params["Limit"].as_u64().map_or(RECORDS_MAX, |limit| limit as usize);
    let cloud = cloud.clone();
    let work = tokio::task::spawn_blocking(move || records_here(&cloud, &token, limit, now));
    work.await.map_err(ApiError::internal)?
}

fn records_here(cloud: &Cloud, token: &Token, limit: usize, now: i64) -> ApiResult {
    let stream = find(cloud, &token.stream)?;
    if stream.id != token.id {
        return Err(super::missing(cloud, &token.stream));
    }
    let number = Some(token.shard);
    let shard = shard_of(cloud, &token.stream, &stream, number, &id(token.shard))?;
    let live = cloud.services.kinesis.lives.of(&stream.id);
    let admitted = live.rates(token.shard, |rates| {
        let admitted = rates.read_calls.has(1.0, now) && rates.read_bytes.has(f64::EPSILON, now);
        if admitted {
            rates.read_calls.take(1.0);
        }
        admitted
    });
    if !admitted {
        return Err(put::exceeded(cloud, &token.stream, token.shard));
    }
    let most = Most { records: limit, bytes: BYTES_MAX };
    let batch = read::read(cloud, &stream, shard, token.position, most)?;
    let bytes: usize = batch.records.iter().map(|r| r.data.len() + r.key.len()).sum();
    live.rates(token.shard, |rates| rates.read_bytes.take(bytes as f64));
    Ok(describe(cloud, token, &stream, batch))
}

fn describe(cloud: &Cloud, token: &Token, stream: &Stream, batch: Batch) -> Value {
    let next = batch.next.map(|at| self::token(cloud, &token.stream, stream, token.shard, at));
    let children = batch.next.is_none().then(|| -> Vec<Value> {
        let children = stream.shards.children(token.shard);
        let describe = |child: &Shard| {
            let parents: Vec<String> = child.parents.iter().copied().map(id).collect();
            json!({
                "ShardId": id(child.number), "ParentShards": parents,
                "HashKeyRange": child.describe_range(),
            })
        };
        children.map(describe).collect()
    });
    let records: Vec<Value> = batch
        .records
        .into_iter()
        .map(|record| {
            json!({
                "SequenceNumber": record.sequence, "PartitionKey": record.key,
                "ApproximateArrivalTimestamp": record.arrived as f64 / 1000.0,
                "Data": STANDARD.encode(&record.data), "EncryptionType": "NONE",
            })
        })
        .collect();
    json!({
        "Records": records, "NextShardIterator": next, "MillisBehindLatest": batch.behind_millis,
        "ChildShards": children,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iterator_comes_back_and_others_are_none() {
        let token = Token {
            stream: "a.b-c".to_owned(),
            id: "0f".to_owned(),
            shard: 3,
            position: u64::MAX,
            issued_millis: 1,
        };
        assert_eq!(Token::parse(&token.text()), Some(token));
        for wrong in ["", "x", "AAAA", &STANDARD.encode("a/b/c/d/e")] {
            assert_eq!(Token::parse(wrong), None);
        }
    }
}
