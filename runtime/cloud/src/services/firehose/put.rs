//! Putting records directly.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Stream, arn, find, invalid, named};
use crate::kernel::bus::Message;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::{Call, Pending};
use crate::services::kinesis::log::Record;

/// Bytes of a record.
const RECORD_BYTES_MAX: usize = 1_000 * 1_024;
/// Bytes of a batch.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes that may wait for delivery.
const WAITING_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// `PutRecord`.
pub async fn one(call: &Call<'_>) -> ApiResult {
    let (name, stream) = named(call)?;
    let records = vec![data(&call.params["Record"])?];
    let id = put(call.cloud, name, &stream, records).await?.pop();
    Ok(json!({ "RecordId": id, "Encrypted": false }))
}

/// `PutRecordBatch`: all are taken, or none.
pub async fn many(call: &Call<'_>) -> ApiResult {
    let (name, stream) = named(call)?;
    let given = call.params["Records"].as_array().into_iter().flatten();
    let records = given.map(data).collect::<ApiResult<Vec<_>>>()?;
    if records.iter().map(Vec::len).sum::<usize>() > BATCH_BYTES_MAX {
        return Err(invalid("Records size exceeds 4 MB limit"));
    }
    let ids = put(call.cloud, name, &stream, records).await?;
    let told: Vec<Value> = ids.into_iter().map(|id| json!({ "RecordId": id })).collect();
    Ok(json!({ "FailedPutCount": 0, "Encrypted": false, "RequestResponses": told }))
}

fn data(record: &Value) -> ApiResult<Vec<u8>> {
    let data = STANDARD.decode(record["Data"].as_str().unwrap_or_default()).map_err(|error| {
        ApiError::new("SerializationException", format!("Data is not base64: {error}"))
    })?;
    if data.len() > RECORD_BYTES_MAX {
        let words = format!(
            "1 validation error detected: Value at 'record.data' failed to satisfy constraint: \
             Member must have length less than or equal to {RECORD_BYTES_MAX}"
        );
        return Err(ApiError::new("ValidationException", words));
    }
    Ok(data)
}

/// Takes a message of another service.
pub fn take<'a>(cloud: &'a Arc<Cloud>, message: &'a Message) -> Pending<'a> {
    Box::pin(async move {
        let missing =
            || ApiError::new("ResourceNotFoundException", format!("{} not found.", message.target));
        let name = message.target.strip_prefix(arn(cloud, "").as_str()).ok_or_else(missing)?;
        cloud.authorize(&message.caller, "firehose:PutRecord", &arn(cloud, name), &[])?;
        let stream = find(cloud, name)?;
        let record = data(&json!({ "Data": STANDARD.encode(&message.body) }))?;
        let id = put(cloud, name, &stream, vec![record]).await?.pop();
        Ok(json!({ "RecordId": id, "Encrypted": false }))
    })
}

/// Puts records; their IDs when they are on the disk.
async fn put(
    cloud: &Arc<Cloud>,
    name: &str,
    stream: &Stream,
    records: Vec<Vec<u8>>,
) -> ApiResult<Vec<String>> {
    if stream.source.is_some() {
        return Err(invalid(
            "This operation is not permitted on KinesisStreamAsSource delivery stream type.",
        ));
    }
    let live = cloud.services.firehose.lives.of(&stream.id)?;
    let delivered = stream.cursors.get(&0).copied().unwrap_or_default();
    if live.log.readable_end().saturating_sub(delivered) > WAITING_BYTES_MAX {
        let words = format!("Slow down. More than 1 GiB of {name} waits for delivery.");
        return Err(ApiError::new("ServiceUnavailableException", words).with_status(503));
    }
    let (arrived, id) = (cloud.clock.now().as_millisecond(), stream.id.clone());
    let record = |data| Record { arrived, key: String::new(), data };
    let records: Vec<Record> = records.into_iter().map(record).collect();
    let work = tokio::task::spawn_blocking(move || {
        let (places, end) = live.log.write(&records)?;
        live.log.sync(end)?;
        live.tell();
        Ok::<_, std::io::Error>(places)
    });
    let places = work.await.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
    Ok(places.into_iter().map(|(at, _)| STANDARD.encode(format!("{id}/{at:020}"))).collect())
}
