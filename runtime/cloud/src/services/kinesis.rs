//! Kinesis Data Streams: shards, records in the order of their arrival, iterators, resharding and
//! retention.
//!
//! A shard's records are a log of files in the state folder (`kinesis/STREAM/SHARD/`), on the disk
//! before a put is answered. MD5 of the partition key chooses the shard, a shard takes 1 MB and
//! 1,000 records a second and is read five times and for 2 MB a second, by the cloud's clock;
//! records beyond the retention are not read any more and deleted within the hour.
//!
//! Where it differs from AWS:
//! - Streams and shards are there at once: `CREATING` and `UPDATING` are never seen.
//! - A stream on demand has four shards and does not grow by itself; `UpdateShardCount` of it is
//!   refused, as in AWS.
//! - A shard of which all records have expired goes at once, not later.
//! - A record has at most 1 MiB, AWS's default; a request at most 10 MiB of them.
//! - Refused by name: enhanced fan-out (consumers, `SubscribeToShard`), encryption with keys of KMS,
//!   enhanced monitoring, resource policies, queues, channels, larger records and warm throughput.

mod iterators;
pub mod live;
pub mod log;
mod put;
mod rates;
mod read;
mod resharding;
mod resources;
mod sequence;
pub mod shards;
mod streams;
mod tags;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::kernel::bus::Takes;
use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::{Call, Service, Tagged, Tagging};
use crate::kernel::store::Table;
use crate::{model, op};

use self::live::Lives;
use self::shards::Shards;

pub use self::live::keep_retention;
pub use self::read::{Batch, Most, Position, ReadRecord};
pub use self::read::{changes, may_read, open_position, read};

/// What Kinesis has.
#[derive(Debug)]
pub struct State {
    /// Streams by name.
    pub streams: Table<Stream>,
    /// Their logs.
    pub lives: Lives,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        let streams: Table<Stream> = opening.table("kinesis_streams");
        let known = streams.complete();
        let known = known.map(|all| all.iter().map(|(_, s)| s.id.clone()).collect());
        let lives = Lives::open(&opening.config.state_dir.join("kinesis"), known)?;
        Ok(Self { streams, lives })
    }
}

/// How a stream's capacity is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// By a number of shards.
    #[serde(rename = "PROVISIONED")]
    Provisioned,
    /// By AWS.
    #[serde(rename = "ON_DEMAND")]
    OnDemand,
}

/// A stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stream {
    /// Names its folder: a stream made anew under the same name is another one.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// How its capacity is decided.
    pub mode: Mode,
    /// Hours that records are kept.
    pub retention_hours: u32,
    /// Its shards.
    pub shards: Shards,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When its shards were counted anew in the last day.
    pub scaled: Vec<Timestamp>,
}

impl Stream {
    /// Before when records are beyond the retention, in milliseconds since 1970.
    pub fn horizon(&self, now: Timestamp) -> i64 {
        let kept = SignedDuration::from_hours(self.retention_hours.into());
        now.checked_sub(kept).unwrap_or(Timestamp::MIN).as_millisecond()
    }
}

/// A stream's ARN.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("kinesis", &format!("stream/{name}"))
}

/// The name in a stream's ARN.
pub fn name_of<'a>(cloud: &Cloud, arn: &'a str) -> Option<&'a str> {
    arn.strip_prefix(cloud.config.arn("kinesis", "stream/").as_str())
}

/// The stream of that name.
pub fn find(cloud: &Cloud, name: &str) -> ApiResult<Arc<Stream>> {
    cloud.services.kinesis.streams.get(name).ok_or_else(|| missing(cloud, name))
}

fn missing(cloud: &Cloud, name: &str) -> ApiError {
    let words = format!("Stream {name} under account {} not found.", cloud.config.account);
    ApiError::new("ResourceNotFoundException", words)
}

fn invalid(words: impl Into<String>) -> ApiError {
    ApiError::new("InvalidArgumentException", words)
}

/// The stream that a call names by name or ARN, when the caller may make the call.
fn named<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<Stream>)> {
    let name = match (call.text("StreamName"), call.text("StreamARN")) {
        (Some(name), None) => name,
        (named, Some(arn)) => {
            let other =
                || ApiError::new("ResourceNotFoundException", format!("Stream {arn} not found."));
            let name = name_of(call.cloud, arn).ok_or_else(other)?;
            if named.is_some_and(|other| other != name) {
                return Err(invalid("StreamName and StreamARN name different streams."));
            }
            name
        }
        (None, None) => {
            let words = "Either StreamName or StreamARN should be provided.";
            return Err(invalid(words));
        }
    };
    call.authorize(&arn(call.cloud, name))?;
    Ok((name, find(call.cloud, name)?))
}

/// How streams carry tags.
const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.kinesis.streams.all().into_iter();
        all.map(|(name, one)| (arn(cloud, &name), one.tags.clone())).collect()
    },
    change: Tagging::By {
        tag: |_, arn, tags| ("TagResource", json!({ "ResourceARN": arn, "Tags": tags })),
        untag: |_, arn, keys| ("UntagResource", json!({ "ResourceARN": arn, "TagKeys": keys })),
    },
};

/// API of Kinesis Data Streams.
pub static SERVICE: Service = Service {
    types: &[resources::STREAM],
    takes: Some(Takes(put::take)),
    data: &["GetRecords", "GetShardIterator", "PutRecord", "PutRecords"],
    tagged: Some(TAGGED),
    ..Service::new(
        "kinesis",
        model!("kinesis"),
        &[
            op!(CreateStream(StreamName, ShardCount, StreamModeDetails, Tags) => streams::create),
            op!(DeleteStream(StreamName, StreamARN, EnforceConsumerDeletion) => streams::delete),
            op!(DescribeStream(StreamName, StreamARN, Limit, ExclusiveStartShardId)
                => streams::describe),
            op!(DescribeStreamSummary(StreamName, StreamARN) => streams::summary),
            op!(DescribeLimits() => streams::limits),
            op!(ListStreams(Limit, ExclusiveStartStreamName, NextToken) => streams::list),
            op!(ListShards(
                StreamName, StreamARN, NextToken, ExclusiveStartShardId, MaxResults,
                StreamCreationTimestamp, ShardFilter
            ) => streams::list_shards),
            op!(UpdateStreamMode(StreamARN, StreamModeDetails) => streams::set_mode),
            op!(IncreaseStreamRetentionPeriod(StreamName, StreamARN, RetentionPeriodHours)
                => |call| streams::set_retention(call, true)),
            op!(DecreaseStreamRetentionPeriod(StreamName, StreamARN, RetentionPeriodHours)
                => |call| streams::set_retention(call, false)),
            op!(SplitShard(StreamName, StreamARN, ShardToSplit, NewStartingHashKey)
                => resharding::split),
            op!(MergeShards(StreamName, StreamARN, ShardToMerge, AdjacentShardToMerge)
                => resharding::merge),
            op!(UpdateShardCount(StreamName, StreamARN, TargetShardCount, ScalingType)
                => resharding::scale),
            op!(PutRecord(
                StreamName, StreamARN, Data, PartitionKey, ExplicitHashKey,
                SequenceNumberForOrdering
            ) => async put::one),
            op!(PutRecords(StreamName, StreamARN, Records { Data, PartitionKey, ExplicitHashKey })
                => async put::many),
            op!(GetShardIterator(
                StreamName, StreamARN, ShardId, ShardIteratorType, StartingSequenceNumber, Timestamp
            ) => iterators::iterator),
            op!(GetRecords(ShardIterator, Limit, StreamARN) => async iterators::records),
            op!(AddTagsToStream(StreamName, StreamARN, Tags) => tags::add),
            op!(RemoveTagsFromStream(StreamName, StreamARN, TagKeys) => tags::remove),
            op!(ListTagsForStream(StreamName, StreamARN, ExclusiveStartTagKey, Limit)
                => tags::list),
            op!(TagResource(ResourceARN, Tags) => tags::tag),
            op!(UntagResource(ResourceARN, TagKeys) => tags::untag),
            op!(ListTagsForResource(ResourceARN) => tags::tags_of),
        ],
    )
};
