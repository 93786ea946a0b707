//! The delivery of one buffer: the same records make the same objects, however often it is done.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::json;

use super::settings::Destination;
use super::{Pending, Stream, arn, convert, prefix, worker};
use crate::kernel::cloud::Cloud;
use crate::kernel::identity::Caller;
use crate::services::{kinesis, logs};

/// How sessions of the roles are called.
const SESSION: &str = "AmazonKinesisFirehose";
/// Who takes the roles on.
const SERVICE: &str = "firehose.amazonaws.com";

/// A record of a buffer.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// When it came, in milliseconds since 1970.
    pub arrived: i64,
    /// Its data.
    pub data: Vec<u8>,
    /// Its sequence number, when it is one of Kinesis.
    pub sequence: Option<String>,
}

/// A role of a delivery stream's configuration.
pub fn assume(cloud: &Cloud, name: &str, role: &str) -> Result<Caller, String> {
    cloud.assume_for(role, SERVICE, SESSION, Some(&arn(cloud, name)))
}

/// Delivers a buffer; the error says why not, and then it may be done again.
pub async fn deliver(
    cloud: &Arc<Cloud>,
    name: &str,
    stream: &Arc<Stream>,
    pending: &Pending,
) -> Result<(), String> {
    let destination = &pending.destination;
    let role = assume(cloud, name, &destination.role)?;
    if let Some(source) = &stream.source {
        let reader = assume(cloud, name, &source.role)?;
        let read = kinesis::name_of(cloud, &source.arn).unwrap_or_default();
        kinesis::may_read(cloud, &reader, read).map_err(|error| error.message)?;
    }
    let records = read(cloud, stream, pending).await?;
    if records.is_empty() {
        return Ok(());
    }
    let key = |error_type: Option<&str>| key_of(name, pending, error_type);
    let Some(conversion) = &destination.conversion else {
        let body = joined(records, destination).map_err(|error| error.to_string())?;
        return put(cloud, &role, &destination.bucket, &key(None), body).await;
    };
    let work = convert::Work { cloud, name, stream_id: &stream.id, conversion };
    let made = work.convert(&records).await?;
    // First what did not fit: once the rest is there the buffer is as good as delivered.
    if let Some(errors) = made.errors {
        let key = key(Some("format-conversion-failed"));
        put(cloud, &role, &destination.bucket, &key, errors).await?;
    }
    match made.parquet {
        Some(parquet) => put(cloud, &role, &destination.bucket, &key(None), parquet).await,
        None => Ok(()),
    }
}

/// The key of an object of a buffer.
fn key_of(name: &str, pending: &Pending, error_type: Option<&str>) -> String {
    let Pending { destination, oldest_millis, version, unique, .. } = pending;
    let at = Timestamp::from_millisecond(*oldest_millis).unwrap_or(Timestamp::UNIX_EPOCH);
    let (given, extension) = match error_type {
        None => (&destination.prefix, destination.extension.as_str()),
        Some(_) => (&destination.error_prefix, ""),
    };
    let prefix = prefix::evaluate(given, *oldest_millis, error_type.unwrap_or_default(), unique);
    let time = at.strftime("%Y-%m-%d-%H-%M-%S");
    format!("{prefix}{name}-{version}-{time}-{unique}{extension}")
}

/// The records of a buffer, shard after shard.
async fn read(
    cloud: &Arc<Cloud>,
    stream: &Arc<Stream>,
    pending: &Pending,
) -> Result<Vec<Delivered>, String> {
    let (cloud, stream, ranges) = (cloud.clone(), stream.clone(), pending.ranges.clone());
    let work = tokio::task::spawn_blocking(move || {
        let live = cloud.services.firehose.lives.of(&stream.id).map_err(|e| e.message)?;
        let mut records = Vec::new();
        for (shard, log) in worker::sources(&cloud, &stream, &live)? {
            let Some((begin, end)) = ranges.get(&shard).copied() else { continue };
            let read = log.read(begin, |placed| {
                if placed.at >= end {
                    return ControlFlow::Break(());
                }
                let sequence = log.sequence(&placed);
                let (arrived, data) = (placed.record.arrived, placed.record.data);
                records.push(Delivered { arrived, data, sequence });
                ControlFlow::Continue(())
            });
            read.map_err(|error| error.to_string())?;
        }
        Ok(records)
    });
    work.await.map_err(|error| error.to_string())?
}

/// Records one after the other.
fn joined(records: Vec<Delivered>, destination: &Destination) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    for record in records {
        plain.extend_from_slice(&record.data);
        plain.extend_from_slice(destination.delimiter.as_bytes());
    }
    if !destination.gzip {
        return Ok(plain);
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain)?;
    encoder.finish()
}

/// Writes an object as the delivery role.
async fn put(
    cloud: &Arc<Cloud>,
    role: &Caller,
    bucket: &str,
    key: &str,
    body: Vec<u8>,
) -> Result<(), String> {
    let object = format!("arn:aws:s3:::{bucket}/{key}");
    cloud.authorize(role, "s3:PutObject", &object, &[]).map_err(|error| error.message)?;
    let work = tokio::task::spawn_blocking({
        let (cloud, bucket, key) = (cloud.clone(), bucket.to_owned(), key.to_owned());
        move || cloud.services.s3.put_bytes(&bucket, &key, &body)
    });
    let written = work.await.map_err(|error| error.to_string())?;
    written.map_err(|error| format!("s3://{bucket}/{key}: {error}"))?;
    Ok(())
}

/// Writes why a delivery failed into the log that the configuration names, as the delivery role.
pub fn log(cloud: &Cloud, name: &str, stream: &Stream, pending: &Pending, words: &str) {
    let Some((group, log_stream)) = &pending.destination.log else { return };
    let line = json!({
        "deliveryStreamARN": arn(cloud, name),
        "destination": format!("arn:aws:s3:::{}", pending.destination.bucket),
        "deliveryStreamVersionId": stream.version, "message": words,
        "errorCode": code_of(words),
    });
    let written = assume(cloud, name, &pending.destination.role).and_then(|role| {
        let lines = [line.to_string()];
        logs::write(cloud, &role, group, log_stream, &lines).map_err(|error| error.message)
    });
    if let Err(error) = written {
        tracing::warn!("the log of the delivery stream `{name}` is lost: {error}");
    }
}

/// The code of a failure, as far as it is one of S3.
/// <https://docs.aws.amazon.com/firehose/latest/dev/monitoring-with-cloudwatch-logs.html>
fn code_of(words: &str) -> &'static str {
    if words.contains("s3:PutObject") {
        "S3.AccessDenied"
    } else if words.contains("bucket does not exist") {
        "S3.NoSuchBucket"
    } else {
        "InternalError"
    }
}

/// A record's data as errors have it.
pub fn raw(data: &[u8]) -> String {
    STANDARD.encode(data)
}
