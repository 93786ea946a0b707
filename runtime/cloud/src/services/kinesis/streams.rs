//! Operations on whole streams.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::shards::{self, Shard, Shards};
use super::{Mode, Stream, arn, invalid, named, tags};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::{number_of, token_of};
use crate::kernel::service::Call;

/// Open shards of an account: AWS's quota for smaller regions.
pub const SHARDS_MAX: usize = 500;
/// Streams on demand of an account.
const ON_DEMAND_MAX: usize = 50;
/// Shards of a new stream on demand.
const ON_DEMAND_SHARDS: u32 = 4;
/// Hours that records are kept at least, and by default.
pub const RETENTION_HOURS: u32 = 24;
/// Hours that records are kept at most: a year.
const RETENTION_HOURS_MAX: u64 = 8_760;

/// `CreateStream`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let name = call.required("StreamName")?;
    call.authorize(&arn(cloud, name))?;
    let tags = tags::of(&params["Tags"])?;
    if !tags.is_empty() {
        cloud.authorize(call.caller, "kinesis:AddTagsToStream", &arn(cloud, name), &[])?;
    }
    let mode = mode(&params["StreamModeDetails"]);
    let count = match (mode, params["ShardCount"].as_u64()) {
        (Mode::OnDemand, None) => ON_DEMAND_SHARDS,
        (Mode::OnDemand, Some(_)) => {
            return Err(invalid("ShardCount is not allowed in the ON_DEMAND capacity mode."));
        }
        (Mode::Provisioned, None) => {
            return Err(ApiError::new(
                "ValidationException",
                "ShardCount is required in the PROVISIONED capacity mode.",
            ));
        }
        (Mode::Provisioned, Some(count)) => u32::try_from(count).unwrap_or(u32::MAX),
    };
    check_limits(cloud, mode, count as usize)?;
    let now = cloud.clock.now();
    let stream = Stream {
        id: uuid::Uuid::new_v4().simple().to_string(),
        created: now,
        mode,
        retention_hours: RETENTION_HOURS,
        shards: Shards::uniform(count, now),
        tags,
        scaled: vec![],
    };
    if !cloud.services.kinesis.streams.create(name, stream)? {
        let account = &cloud.config.account;
        let words = format!("Stream {name} under account {account} already exists.");
        return Err(ApiError::new("ResourceInUseException", words));
    }
    Ok(json!({}))
}

fn mode(details: &Value) -> Mode {
    match details["StreamMode"].as_str() {
        Some("ON_DEMAND") => Mode::OnDemand,
        _ => Mode::Provisioned,
    }
}

/// Whether the account may have that many open shards more.
pub fn check_limits(cloud: &Cloud, mode: Mode, more: usize) -> ApiResult<()> {
    let (open, on_demand) = count(cloud);
    if open + more > SHARDS_MAX {
        let words = format!(
            "This request would exceed the shard limit for the account {} in {}. Current shard \
             count for the account: {open}. Limit: {SHARDS_MAX}.",
            cloud.config.account, cloud.config.region
        );
        return Err(ApiError::new("LimitExceededException", words));
    }
    if mode == Mode::OnDemand && on_demand >= ON_DEMAND_MAX {
        let words =
            format!("The account has {ON_DEMAND_MAX} on-demand streams, which is the limit.");
        return Err(ApiError::new("LimitExceededException", words));
    }
    Ok(())
}

/// The account's open shards and streams on demand.
fn count(cloud: &Cloud) -> (usize, usize) {
    let streams = cloud.services.kinesis.streams.all();
    let open = streams.iter().map(|(_, stream)| stream.shards.open().len()).sum();
    (open, streams.iter().filter(|(_, stream)| stream.mode == Mode::OnDemand).count())
}

/// `DeleteStream`; there are no consumers that could keep it.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (name, stream) = named(call)?;
    call.cloud.services.kinesis.streams.remove(name)?;
    call.cloud.services.kinesis.lives.remove(&stream.id);
    Ok(json!({}))
}

/// What all descriptions have.
fn common(cloud: &Cloud, name: &str, stream: &Stream) -> Value {
    json!({
        "StreamName": name, "StreamARN": arn(cloud, name), "StreamStatus": "ACTIVE",
        "StreamModeDetails": { "StreamMode": stream.mode },
        "StreamCreationTimestamp": epoch_secs(stream.created),
    })
}

fn full(cloud: &Cloud, name: &str, stream: &Stream) -> Value {
    let mut out = common(cloud, name, stream);
    out["RetentionPeriodHours"] = stream.retention_hours.into();
    out["EncryptionType"] = "NONE".into();
    out["EnhancedMonitoring"] = json!([{ "ShardLevelMetrics": [] }]);
    out
}

/// `DescribeStream`.
pub fn describe(call: &Call<'_>) -> ApiResult {
    let (name, stream) = named(call)?;
    let limit = call.params["Limit"].as_u64().map_or(100, |limit| limit.min(10_000) as usize);
    let after = after(call.text("ExclusiveStartShardId"))?;
    let rest: Vec<&Shard> = stream.shards.all.iter().filter(|s| s.number >= after).collect();
    let mut out = full(call.cloud, name, &stream);
    out["HasMoreShards"] = (rest.len() > limit).into();
    out["Shards"] = rest.into_iter().take(limit).map(Shard::describe).collect();
    Ok(json!({ "StreamDescription": out }))
}

/// The number of the first shard after one.
fn after(id: Option<&str>) -> ApiResult<u32> {
    let Some(id) = id else { return Ok(0) };
    let number = shards::number(id).ok_or_else(|| invalid(format!("{id} is no ID of a shard.")))?;
    Ok(number.saturating_add(1))
}

/// `DescribeStreamSummary`.
pub fn summary(call: &Call<'_>) -> ApiResult {
    let (name, stream) = named(call)?;
    let mut out = full(call.cloud, name, &stream);
    out["OpenShardCount"] = stream.shards.open().len().into();
    out["ConsumerCount"] = 0.into();
    Ok(json!({ "StreamDescriptionSummary": out }))
}

/// `DescribeLimits`.
pub fn limits(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let (open, on_demand) = count(call.cloud);
    Ok(json!({
        "ShardLimit": SHARDS_MAX, "OpenShardCount": open, "OnDemandStreamCount": on_demand,
        "OnDemandStreamCountLimit": ON_DEMAND_MAX,
    }))
}

/// `ListStreams`.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let limit = call.params["Limit"].as_u64().map_or(100, |limit| limit.clamp(1, 10_000) as usize);
    let token = call.text("NextToken").map(from_token).transpose()?;
    let after = token.as_deref().or(call.text("ExclusiveStartStreamName"));
    let all = call.cloud.services.kinesis.streams.range("", after);
    let page = &all[..limit.min(all.len())];
    let more = all.len() > limit;
    let summaries: Vec<Value> = page.iter().map(|(n, s)| common(call.cloud, n, s)).collect();
    let names: Vec<&String> = page.iter().map(|(name, _)| name).collect();
    let next = names.last().filter(|_| more).map(hex::encode);
    Ok(json!({
        "StreamNames": names, "HasMoreStreams": more, "StreamSummaries": summaries,
        "NextToken": next,
    }))
}

/// The name in a token of `ListStreams`.
fn from_token(token: &str) -> ApiResult<String> {
    let name = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| ApiError::new("ExpiredNextTokenException", "NextToken is not valid."))
}

/// `ListShards`.
pub fn list_shards(call: &Call<'_>) -> ApiResult {
    let params = call.params;
    let wrong = || ApiError::new("ExpiredNextTokenException", "NextToken is not valid.");
    // A token has the stream, the first shard and the filter.
    let (name, stream, first, filter) = match call.text("NextToken") {
        None => {
            let (name, stream) = named(call)?;
            let first = after(call.text("ExclusiveStartShardId"))?;
            (name.to_owned(), stream, first, params["ShardFilter"].clone())
        }
        Some(token) => {
            let mut parts = token.splitn(3, '.');
            let mut part = || parts.next().ok_or_else(wrong);
            let (name, first, filter) = (from_token(part()?)?, part()?, part()?);
            call.authorize(&arn(call.cloud, &name))?;
            let first = number_of(first).and_then(|n| u32::try_from(n).ok()).ok_or_else(wrong)?;
            let filter = hex::decode(filter).map_err(|_| wrong())?;
            let filter = serde_json::from_slice(&filter).map_err(|_| wrong())?;
            let stream = super::find(call.cloud, &name)?;
            (name, stream, first, filter)
        }
    };
    if let Some(created) = params["StreamCreationTimestamp"].as_f64()
        && created != epoch_secs(stream.created)
    {
        let words = format!("The stream {name} was not created at that time.");
        return Err(ApiError::new("ResourceNotFoundException", words));
    }
    let admits = filter_of(&filter, &stream, call.cloud.clock.now())?;
    let limit = params["MaxResults"].as_u64().map_or(1_000, |limit| limit as usize);
    let mut rest = stream.shards.all.iter().filter(|s| s.number >= first && admits(s));
    let page: Vec<&Shard> = rest.by_ref().take(limit).collect();
    let next = rest.next().map(|shard| {
        let filter = hex::encode(filter.to_string());
        format!("{}.{}.{filter}", hex::encode(&name), token_of(shard.number.into()))
    });
    let shards: Vec<Value> = page.into_iter().map(Shard::describe).collect();
    Ok(json!({ "Shards": shards, "NextToken": next }))
}

/// Which shards a `ShardFilter` admits.
fn filter_of(
    filter: &Value,
    stream: &Stream,
    now: Timestamp,
) -> ApiResult<impl Fn(&Shard) -> bool + use<>> {
    let kind = filter["Type"].as_str().unwrap_or("FROM_TRIM_HORIZON").to_owned();
    let horizon = stream.horizon(now);
    let given = |name: &str| invalid(format!("{name} is required with the filter type {kind}."));
    let at = match kind.as_str() {
        "AT_TIMESTAMP" | "FROM_TIMESTAMP" => {
            let secs = filter["Timestamp"].as_f64().ok_or_else(|| given("Timestamp"))?;
            ((secs * 1000.0) as i64).max(horizon)
        }
        _ => horizon,
    };
    let first = match kind.as_str() {
        "AFTER_SHARD_ID" => {
            after(Some(filter["ShardId"].as_str().ok_or_else(|| given("ShardId"))?))?
        }
        _ => 0,
    };
    Ok(move |shard: &Shard| {
        let closed_after =
            |millis: i64| shard.closed.is_none_or(|(closed, _)| closed.as_millisecond() >= millis);
        match kind.as_str() {
            "AT_LATEST" => shard.is_open(),
            "AT_TIMESTAMP" | "AT_TRIM_HORIZON" => {
                let first_of_all = shard.parents.is_empty();
                (first_of_all || shard.made.as_millisecond() <= at) && closed_after(at)
            }
            "FROM_TIMESTAMP" | "FROM_TRIM_HORIZON" => closed_after(at),
            _ => shard.number >= first,
        }
    })
}

/// `UpdateStreamMode`.
pub fn set_mode(call: &Call<'_>) -> ApiResult {
    let (name, stream) = named(call)?;
    let mode = mode(&call.params["StreamModeDetails"]);
    if mode == Mode::OnDemand && stream.mode != mode {
        check_limits(call.cloud, mode, 0)?;
    }
    call.cloud.services.kinesis.streams.update(name, |stream| stream.mode = mode)?;
    Ok(json!({}))
}

/// `IncreaseStreamRetentionPeriod` and `DecreaseStreamRetentionPeriod`.
pub fn set_retention(call: &Call<'_>, longer: bool) -> ApiResult {
    let (name, _) = named(call)?;
    let hours = call.params["RetentionPeriodHours"].as_u64().unwrap_or_default();
    let (least, most) = (u64::from(RETENTION_HOURS), RETENTION_HOURS_MAX);
    if !(least..=most).contains(&hours) {
        let words = format!(
            "Requested retention period ({hours} hours) for stream {name} must be {least} to \
             {most} hours."
        );
        return Err(invalid(words));
    }
    let hours = hours as u32;
    let changed = call.cloud.services.kinesis.streams.update(name, |stream| {
        let now = stream.retention_hours;
        if (longer && hours < now) || (!longer && hours > now) {
            let compared = if longer { "shorter" } else { "longer" };
            return Err(invalid(format!(
                "Requested retention period ({hours} hours) for stream {name} can not be \
                 {compared} than existing retention period ({now} hours). Use {}.",
                if longer { "DecreaseRetentionPeriod API" } else { "IncreaseRetentionPeriod API" },
            )));
        }
        stream.retention_hours = hours;
        Ok(())
    })?;
    changed.unwrap_or(Ok(()))?;
    Ok(json!({}))
}
