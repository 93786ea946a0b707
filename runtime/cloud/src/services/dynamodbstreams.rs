//! DynamoDB Streams: the API by which streams of tables are read.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Types_Amazon_DynamoDB_Streams.html>.
//! Requests are signed for DynamoDB and permissions are DynamoDB's; the streams themselves, and how
//! they differ from AWS's, are in [`super::dynamodb::streams`]. `ShardFilter` is refused by name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::dynamodb::streams::{
    self, Batch, Change, From, TableStream, event, find, kept, number_of, position, sequence,
    stream_arn,
};
use super::dynamodb::{existing, look_here};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::{Call, Service};
use crate::{model, op};

/// No records of its own.
pub type State = super::Nothing;

/// How long an iterator is good for.
const ITERATOR_MILLIS: i64 = 15 * 60 * 1_000;
/// Records and bytes of an answer.
const MOST: (usize, usize) = (1_000, 1024 * 1024);
/// Streams or shards of a page.
const PAGE: usize = 100;

/// API of DynamoDB Streams.
pub static SERVICE: Service = Service {
    prefix: "dynamodb",
    data: &["GetRecords", "GetShardIterator"],
    ..Service::new(
        "dynamodbstreams",
        model!("dynamodbstreams"),
        &[
            op!(ListStreams(TableName, Limit, ExclusiveStartStreamArn) => list),
            op!(DescribeStream(StreamArn, Limit, ExclusiveStartShardId) => describe),
            op!(GetShardIterator(
                StreamArn, ShardId, ShardIteratorType, SequenceNumber, Timestamp
            ) => iterator),
            op!(GetRecords(ShardIterator, Limit) => async records),
        ],
    )
};

fn refused(words: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", words)
}

/// The limit of a call, which AWS refuses above `most`.
fn limit(call: &Call<'_>, most: usize) -> ApiResult<usize> {
    match call.params["Limit"].as_u64() {
        Some(given) if given > most as u64 => Err(refused(format!(
            "1 validation error detected: Value '{given}' at 'limit' failed to satisfy \
             constraint: Member must have value less than or equal to {most}"
        ))),
        given => Ok(given.map_or(most, |given| given as usize)),
    }
}

/// `ListStreams`.
fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    call.authorize("*")?;
    let limit = limit(call, PAGE)?;
    let after = call.text("ExclusiveStartStreamArn");
    let wanted = call.text("TableName");
    if let Some(name) = wanted {
        existing(cloud, name)?;
    }
    let mut all = Vec::new();
    for (name, table) in cloud.services.dynamodb.tables.all() {
        if !table.whole || wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        for stream in kept(cloud, &table) {
            let arn = stream_arn(cloud, &name, &stream);
            all.push(json!({
                "StreamArn": arn, "TableName": name, "StreamLabel": stream.label,
            }));
        }
    }
    let arn_of = |stream: &Value| stream["StreamArn"].as_str().map(str::to_owned);
    all.sort_by_key(arn_of);
    all.retain(|stream| after.is_none_or(|after| arn_of(stream).as_deref() > Some(after)));
    let more = all.len() > limit;
    all.truncate(limit);
    let last = more.then(|| all.last().and_then(arn_of)).flatten();
    Ok(json!({ "Streams": all, "LastEvaluatedStreamArn": last }))
}

/// The stream that a call names, when the caller may make the call.
fn named(call: &Call<'_>) -> ApiResult<(String, TableStream)> {
    let arn = call.required("StreamArn")?;
    call.authorize(arn)?;
    find(call.cloud, arn)
}

/// `DescribeStream`.
fn describe(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let (name, stream) = named(call)?;
    limit(call, PAGE)?;
    let table = look_here(cloud, &name)?;
    let status = if stream.closed.is_some() { "DISABLED" } else { "ENABLED" };
    let mut range = json!({ "StartingSequenceNumber": sequence(stream.begin) });
    if let Some((_, end)) = stream.closed {
        range["EndingSequenceNumber"] = sequence((end - 1).max(stream.begin)).into();
    }
    let shard = json!({ "ShardId": stream.shard(), "SequenceNumberRange": range });
    // There is nothing after the only one.
    let is_after = call.text("ExclusiveStartShardId").is_some();
    Ok(json!({ "StreamDescription": {
        "StreamArn": stream_arn(cloud, &name, &stream), "StreamLabel": stream.label,
        "StreamStatus": status, "StreamViewType": stream.view, "TableName": name,
        "CreationRequestDateTime": epoch_secs(stream.created), "KeySchema": table["KeySchema"],
        "Shards": if is_after { json!([]) } else { json!([shard]) },
    } }))
}

/// What an iterator says: a stream, a position, and when it was issued.
struct Token {
    stream: String,
    position: i64,
    issued_millis: i64,
}

impl Token {
    fn text(cloud: &Cloud, stream: &str, position: i64) -> String {
        let issued = cloud.clock.now().as_millisecond();
        STANDARD.encode(format!("{stream}|{position}|{issued}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        let (rest, issued_millis) = text.rsplit_once('|')?;
        let (stream, position) = rest.rsplit_once('|')?;
        Some(Self {
            stream: stream.to_owned(),
            position: position.parse().ok()?,
            issued_millis: issued_millis.parse().ok()?,
        })
    }
}

/// `GetShardIterator`.
fn iterator(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let (name, stream) = named(call)?;
    let shard = call.required("ShardId")?;
    if shard != stream.shard() {
        let words = format!("Requested resource not found: Shard does not exist: {shard}");
        return Err(ApiError::new("ResourceNotFoundException", words));
    }
    let kind = call.required("ShardIteratorType")?;
    let at = match (kind, call.text("SequenceNumber"), call.params["Timestamp"].as_f64()) {
        ("TRIM_HORIZON", None, None) => position(cloud, &name, &stream, From::TrimHorizon)?,
        ("LATEST", None, None) => position(cloud, &name, &stream, From::Latest)?,
        ("AT_TIMESTAMP", None, Some(secs)) => at_time(cloud, &name, &stream, secs)?,
        ("AT_SEQUENCE_NUMBER", Some(digits), None) => at_number(digits)?,
        ("AFTER_SEQUENCE_NUMBER", Some(digits), None) => at_number(digits)? + 1,
        _ => {
            return Err(refused(format!(
                "One or more parameter values were invalid: SequenceNumber or Timestamp does not \
                 fit an iterator of the type {kind}"
            )));
        }
    };
    let arn = stream_arn(cloud, &name, &stream);
    Ok(json!({ "ShardIterator": Token::text(cloud, &arn, at) }))
}

fn at_time(cloud: &Cloud, name: &str, stream: &TableStream, secs: f64) -> ApiResult<i64> {
    if secs > epoch_secs(cloud.clock.now()) {
        return Err(refused("Timestamp must not be in the future"));
    }
    position(cloud, name, stream, From::Time(secs.ceil() as i64))
}

fn at_number(digits: &str) -> ApiResult<i64> {
    number_of(digits).ok_or_else(|| {
        refused(format!("Invalid SequenceNumber (should be a number of this shard): {digits}"))
    })
}

/// `GetRecords`.
async fn records(call: &Call<'_>) -> ApiResult {
    let token = Token::parse(call.required("ShardIterator")?);
    let token = token.ok_or_else(|| refused("Invalid ShardIterator"))?;
    call.authorize(&token.stream)?;
    let limit = limit(call, MOST.0)?;
    if call.cloud.clock.now().as_millisecond() - token.issued_millis > ITERATOR_MILLIS {
        let words = "Iterator expired. The iterator was created more than 15 minutes ago.";
        return Err(ApiError::new("ExpiredIteratorException", words));
    }
    let cloud = call.cloud.clone();
    let work = tokio::task::spawn_blocking(move || {
        let (name, stream) = find(&cloud, &token.stream)?;
        let most = (limit, MOST.1);
        let Batch { changes, next } = streams::read(&cloud, &name, &stream, token.position, most)?;
        let shown = |change: &Change| as_api(event(&cloud, &stream, change));
        let records: Vec<Value> = changes.iter().map(shown).collect();
        let next = next.map(|next| Token::text(&cloud, &token.stream, next));
        Ok(json!({ "Records": records, "NextShardIterator": next }))
    });
    work.await.map_err(ApiError::internal)?
}

/// The API writes the members of an identity in another way than events do.
fn as_api(mut event: Value) -> Value {
    if let Some(identity) = event.get_mut("userIdentity") {
        *identity = json!({ "Type": identity["type"], "PrincipalId": identity["principalId"] });
    }
    event
}
