//! Operations on delivery streams.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::settings::{Destination, merged};
use super::{Source, Stream, arn, invalid, named, worker};
use crate::kernel::cloud::epoch_secs;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::kinesis;

/// Delivery streams of an account.
const STREAMS_MAX: usize = 50;
/// Tags of a delivery stream.
const TAGS_MAX: usize = 50;
/// The only destination.
const DESTINATION: &str = "destinationId-000000000001";
/// Who takes the roles on.
const SERVICE: &str = "firehose.amazonaws.com";

/// `CreateDeliveryStream`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, caller, .. } = *call;
    let name = call.required("DeliveryStreamName")?;
    call.authorize(&arn(cloud, name))?;
    let tags = tags_of(&params["Tags"])?;
    if !tags.is_empty() {
        cloud.authorize(caller, "firehose:TagDeliveryStream", &arn(cloud, name), &[])?;
    }
    let given = &params["ExtendedS3DestinationConfiguration"];
    if given.is_null() {
        return Err(invalid("Exactly one destination configuration is supported for a Firehose"));
    }
    let destination = Destination::parse(given)?;
    may_pass(call, &destination)?;
    let (source, cursors) = source(call)?;
    let firehose = &cloud.services.firehose;
    if firehose.streams.len() >= STREAMS_MAX {
        let words =
            format!("You have already consumed your Firehose quota of {STREAMS_MAX} hoses.");
        return Err(ApiError::new("LimitExceededException", words));
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let stream = Stream {
        id: id.clone(),
        created: cloud.clock.now(),
        updated: None,
        version: 1,
        source,
        destination,
        tags,
        cursors,
        pending: None,
    };
    if !firehose.streams.create(name, stream)? {
        let account = &cloud.config.account;
        let words = format!("Firehose {name} under accountId {account} already exists");
        return Err(ApiError::new("ResourceInUseException", words));
    }
    worker::begin(cloud, name, &id);
    Ok(json!({ "DeliveryStreamARN": arn(cloud, name) }))
}

/// Whether the caller may give Firehose the roles of a destination.
fn may_pass(call: &Call<'_>, destination: &Destination) -> ApiResult<()> {
    call.cloud.pass_role(call.caller, &destination.role, SERVICE)?;
    if let Some(conversion) = &destination.conversion {
        call.cloud.pass_role(call.caller, &conversion.role, SERVICE)?;
    }
    Ok(())
}

/// The Kinesis stream that is read, from what comes from now on.
fn source(call: &Call<'_>) -> ApiResult<(Option<Source>, BTreeMap<u32, u64>)> {
    let cloud = call.cloud;
    let given = &call.params["KinesisStreamSourceConfiguration"];
    match (call.text("DeliveryStreamType").unwrap_or("DirectPut"), given.is_null()) {
        ("DirectPut", true) => return Ok((None, BTreeMap::new())),
        ("KinesisStreamAsSource", false) => {}
        ("DirectPut" | "KinesisStreamAsSource", _) => {
            return Err(invalid(
                "KinesisSourceStreamConfig is only applicable for KinesisStreamAsSource stream \
                 type.",
            ));
        }
        (other, _) => {
            let member = format!("DeliveryStreamType={other}");
            return Err(ApiError::unknown_parameter(&member, &call.action()));
        }
    }
    let text = |name: &str| given[name].as_str().unwrap_or_default().to_owned();
    let source = Source { arn: text("KinesisStreamARN"), role: text("RoleARN") };
    cloud.pass_role(call.caller, &source.role, SERVICE)?;
    let missing = || invalid(format!("Kinesis stream {} does not exist.", source.arn));
    let name = kinesis::name_of(cloud, &source.arn).ok_or_else(missing)?;
    let stream = kinesis::find(cloud, name).map_err(|_| missing())?;
    let mut cursors = BTreeMap::new();
    for shard in stream.shards.open() {
        let latest = kinesis::Position::Latest;
        let at = kinesis::open_position(cloud, &stream, shard.number, latest)?;
        cursors.insert(shard.number, at);
    }
    Ok((Some(source), cursors))
}

/// `DeleteDeliveryStream`; what waits for delivery is lost, as in AWS.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (name, stream) = named(call)?;
    call.cloud.services.firehose.streams.remove(name)?;
    call.cloud.services.firehose.lives.remove(&stream.id);
    Ok(json!({}))
}

/// `DescribeDeliveryStream`; there is one destination.
pub fn describe(call: &Call<'_>) -> ApiResult {
    let (name, stream) = named(call)?;
    let kind = if stream.source.is_some() { "KinesisStreamAsSource" } else { "DirectPut" };
    let destinations = match call.text("ExclusiveStartDestinationId") {
        Some(_) => vec![],
        None => vec![json!({
            "DestinationId": DESTINATION,
            "S3DestinationDescription": stream.destination.describe_plain(),
            "ExtendedS3DestinationDescription": stream.destination.describe(),
        })],
    };
    let mut out = json!({
        "DeliveryStreamName": name, "DeliveryStreamARN": arn(call.cloud, name),
        "DeliveryStreamStatus": "ACTIVE", "DeliveryStreamType": kind,
        "DeliveryStreamEncryptionConfiguration": { "Status": "DISABLED" },
        "VersionId": stream.version.to_string(), "CreateTimestamp": epoch_secs(stream.created),
        "LastUpdateTimestamp": stream.updated.map(epoch_secs),
        "Destinations": destinations, "HasMoreDestinations": false,
    });
    if let Some(source) = &stream.source {
        out["Source"] = json!({ "KinesisStreamSourceDescription": {
            "KinesisStreamARN": source.arn, "RoleARN": source.role,
            "DeliveryStartTimestamp": epoch_secs(stream.created),
        } });
    }
    Ok(json!({ "DeliveryStreamDescription": out }))
}

/// `ListDeliveryStreams`.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let limit = call.params["Limit"].as_u64().map_or(10, |limit| limit as usize);
    let kind = call.text("DeliveryStreamType");
    let admitted = |stream: &Stream| match kind {
        None => true,
        Some("KinesisStreamAsSource") => stream.source.is_some(),
        Some("DirectPut") => stream.source.is_none(),
        Some(_) => false,
    };
    let after = call.text("ExclusiveStartDeliveryStreamName");
    let all = call.cloud.services.firehose.streams.range("", after);
    let mut names = all.iter().filter(|(_, stream)| admitted(stream)).map(|(name, _)| name);
    let page: Vec<&String> = names.by_ref().take(limit).collect();
    let more = names.next().is_some();
    Ok(json!({ "DeliveryStreamNames": page, "HasMoreDeliveryStreams": more }))
}

/// `UpdateDestination`.
pub fn update(call: &Call<'_>) -> ApiResult {
    let (name, stream) = named(call)?;
    let cloud = call.cloud;
    if call.required("DestinationId")? != DESTINATION {
        return Err(invalid(format!(
            "Destination Id {} not found.",
            call.required("DestinationId")?
        )));
    }
    let update = &call.params["ExtendedS3DestinationUpdate"];
    let destination = Destination::parse(&merged(&stream.destination.given, update))?;
    may_pass(call, &destination)?;
    let version = call.required("CurrentDeliveryStreamVersionId")?;
    let now = cloud.clock.now();
    let changed = cloud.services.firehose.streams.update(name, |stream| {
        if stream.version.to_string() != version {
            let words = format!(
                "Cannot update firehose: {name} since the current version id: {} and specified \
                 version id: {version} do not match",
                stream.version
            );
            return Err(ApiError::new("ConcurrentModificationException", words));
        }
        stream.version += 1;
        stream.updated = Some(now);
        // A buffer that cannot be delivered is not held by what was wrong.
        if let Some(pending) = &mut stream.pending {
            pending.destination = destination.clone();
        }
        stream.destination = destination;
        Ok(())
    })?;
    changed.unwrap_or(Ok(()))?;
    cloud.services.firehose.lives.of(&stream.id)?.tell();
    Ok(json!({}))
}

fn tags_of(given: &Value) -> ApiResult<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for tag in given.as_array().into_iter().flatten() {
        let text = |name: &str| tag[name].as_str().unwrap_or_default().to_owned();
        if text("Key").starts_with("aws:") {
            return Err(invalid("The key of a tag may not begin with aws:"));
        }
        tags.insert(text("Key"), text("Value"));
    }
    Ok(tags)
}

/// `TagDeliveryStream`.
pub fn tag(call: &Call<'_>) -> ApiResult {
    let (name, _) = named(call)?;
    let added = tags_of(&call.params["Tags"])?;
    let changed = call.cloud.services.firehose.streams.update(name, |stream| {
        let mut all = stream.tags.clone();
        all.extend(added);
        if all.len() > TAGS_MAX {
            let words = format!("A Firehose has at most {TAGS_MAX} tags.");
            return Err(ApiError::new("LimitExceededException", words));
        }
        stream.tags = all;
        Ok(())
    })?;
    changed.unwrap_or(Ok(()))?;
    Ok(json!({}))
}

/// `UntagDeliveryStream`.
pub fn untag(call: &Call<'_>) -> ApiResult {
    let (name, _) = named(call)?;
    let keys = call.params["TagKeys"].as_array().into_iter().flatten();
    let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
    let streams = &call.cloud.services.firehose.streams;
    streams.update(name, |stream| stream.tags.retain(|key, _| !keys.contains(&key.as_str())))?;
    Ok(json!({}))
}

/// `ListTagsForDeliveryStream`.
pub fn tags(call: &Call<'_>) -> ApiResult {
    let (_, stream) = named(call)?;
    let after = call.text("ExclusiveStartTagKey").unwrap_or_default();
    let limit = call.params["Limit"].as_u64().map_or(TAGS_MAX, |limit| limit as usize);
    let mut rest = stream.tags.iter().filter(|(key, _)| key.as_str() > after);
    let page = rest.by_ref().take(limit);
    let tags: Vec<Value> = page.map(|(k, v)| json!({ "Key": k, "Value": v })).collect();
    Ok(json!({ "Tags": tags, "HasMoreTags": rest.next().is_some() }))
}
