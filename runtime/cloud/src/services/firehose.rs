//! Amazon Data Firehose: records put directly or read from a Kinesis stream, gathered in buffers
//! and delivered to S3, as they are, compressed, or as Parquet under a table of Glue's catalogue.
//!
//! What is put is a log of files in the state folder (`firehose/STREAM/`), on the disk before it is
//! answered; of a Kinesis stream only the positions are kept, because it has the records itself. A
//! buffer is delivered when it has the size or the age of its hints, by the cloud's clock. Which
//! records a buffer has and which objects are made of it is on record before the first of them is
//! written: a delivery that a crash interrupted is done again with the same records under the same
//! keys, so nothing acknowledged is lost and nothing is there twice.
//!
//! Conversion is the work of the SQL engine's process; records that do not fit the schema go to the
//! error prefix, in AWS's form. Everything is done with the rights of the roles of the
//! configuration: `s3:PutObject`, `glue:GetTableVersions`, `kinesis:GetRecords`, … A delivery that
//! fails is tried again, at longest waits of five minutes; after 24 hours its records are given up.
//!
//! Where it differs from AWS:
//! - Delivery streams are `ACTIVE` at once, and direct puts are not throttled, but refused
//!   (`ServiceUnavailableException`) while 1 GiB waits for delivery.
//! - A buffer of a Kinesis source has its records shard after shard.
//! - Objects have no `Content-Encoding`.
//! - Refused by name: other destinations than `ExtendedS3`, processing but
//!   `AppendDelimiterToRecord`, dynamic partitioning (and `!{partitionKeyFromQuery:…}`), backups,
//!   ORC, keys of KMS, time zones, and compression but GZIP.

mod api;
mod convert;
mod delivery;
mod live;
mod prefix;
mod put;
mod resources;
mod settings;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::kernel::bus::Takes;
use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::{Call, Service, Tagged, Tagging, tag_list};
use crate::kernel::store::Table;
use crate::{model, op};

use self::live::Lives;
use self::settings::Destination;

pub use self::worker::resume;

/// What Firehose has.
#[derive(Debug)]
pub struct State {
    /// Delivery streams by name.
    pub streams: Table<Stream>,
    /// What is put into them.
    lives: Lives,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        let streams: Table<Stream> = opening.table("firehose_streams");
        let known = streams.complete();
        let known = known.map(|all| all.iter().map(|(_, s)| s.id.clone()).collect());
        let lives = Lives::open(&opening.config.state_dir.join("firehose"), known)?;
        Ok(Self { streams, lives })
    }
}

/// A delivery stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stream {
    /// Names its folder: one made anew under the same name is another one.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed.
    pub updated: Option<Timestamp>,
    /// Counts its configurations from 1.
    pub version: u64,
    /// The Kinesis stream that it reads; nothing when records are put.
    pub source: Option<Source>,
    /// Where it delivers.
    destination: Destination,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Up to where each shard was delivered; of what is put directly there is one, 0.
    cursors: BTreeMap<u32, u64>,
    /// The buffer that is being delivered.
    pending: Option<Pending>,
}

/// A Kinesis stream as a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its ARN.
    pub arn: String,
    /// The role that reads it.
    pub role: String,
}

/// A buffer that is being delivered.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pending {
    /// Where it begins and ends in each shard.
    ranges: BTreeMap<u32, (u64, u64)>,
    /// When its oldest record came, in milliseconds since 1970.
    oldest_millis: i64,
    /// The configuration as it was when the buffer was full.
    destination: Destination,
    /// Its number.
    version: u64,
    /// Ends the objects' keys.
    unique: String,
}

/// The ARN of a delivery stream.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("firehose", &format!("deliverystream/{name}"))
}

fn find(cloud: &Cloud, name: &str) -> ApiResult<Arc<Stream>> {
    cloud.services.firehose.streams.get(name).ok_or_else(|| {
        let account = &cloud.config.account;
        let words = format!("Firehose {name} under account {account} not found.");
        ApiError::new("ResourceNotFoundException", words)
    })
}

fn invalid(words: impl Into<String>) -> ApiError {
    ApiError::new("InvalidArgumentException", words)
}

/// The delivery stream that a call names, when the caller may make the call.
fn named<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<Stream>)> {
    let name = call.required("DeliveryStreamName")?;
    call.authorize(&arn(call.cloud, name))?;
    Ok((name, find(call.cloud, name)?))
}

/// The name in the ARN of a delivery stream.
fn name_in<'a>(cloud: &Cloud, arn: &'a str) -> &'a str {
    arn.strip_prefix(&*self::arn(cloud, "")).unwrap_or_default()
}

/// How delivery streams carry tags.
const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.firehose.streams.all().into_iter();
        all.map(|(name, one)| (arn(cloud, &name), one.tags.clone())).collect()
    },
    change: Tagging::By {
        tag: |cloud, arn, tags| {
            let (name, tags) = (name_in(cloud, arn), tag_list(tags, "Key", "Value"));
            ("TagDeliveryStream", json!({ "DeliveryStreamName": name, "Tags": tags }))
        },
        untag: |cloud, arn, keys| {
            (
                "UntagDeliveryStream",
                json!({ "DeliveryStreamName": name_in(cloud, arn), "TagKeys": keys }),
            )
        },
    },
};

/// API of Firehose.
pub static SERVICE: Service = Service {
    types: &[resources::DELIVERY_STREAM],
    takes: Some(Takes(put::take)),
    data: &["PutRecord", "PutRecordBatch"],
    tagged: Some(TAGGED),
    ..Service::new(
        "firehose",
        model!("firehose"),
        &[
            op!(CreateDeliveryStream(
                DeliveryStreamName, DeliveryStreamType, KinesisStreamSourceConfiguration,
                ExtendedS3DestinationConfiguration, Tags
            ) => api::create),
            op!(DeleteDeliveryStream(DeliveryStreamName, AllowForceDelete) => api::delete),
            op!(DescribeDeliveryStream(
                DeliveryStreamName, Limit, ExclusiveStartDestinationId
            ) => api::describe),
            op!(ListDeliveryStreams(
                Limit, DeliveryStreamType, ExclusiveStartDeliveryStreamName
            ) => api::list),
            op!(UpdateDestination(
                DeliveryStreamName, CurrentDeliveryStreamVersionId, DestinationId,
                ExtendedS3DestinationUpdate
            ) => api::update),
            op!(TagDeliveryStream(DeliveryStreamName, Tags) => api::tag),
            op!(UntagDeliveryStream(DeliveryStreamName, TagKeys) => api::untag),
            op!(ListTagsForDeliveryStream(DeliveryStreamName, ExclusiveStartTagKey, Limit)
                => api::tags),
            op!(PutRecord(DeliveryStreamName, Record) => async put::one),
            op!(PutRecordBatch(DeliveryStreamName, Records) => async put::many),
        ],
    )
};
