//! Reading shards, for the API and for the services that consume streams.
//!
//! A consumer asks [`may_read`] once with its rights, finds with [`open_position`] where to begin,
//! and then calls [`read`] with the position that the last [`Batch`] gave it, which it may keep
//! across restarts; when a batch is empty it waits for [`changes`]. A batch without a next position
//! was the last one of a shard that was split or merged: its children come after it.

use std::ops::ControlFlow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::shards::Shard;
use super::{Stream, arn, find, invalid};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// With the oldest record.
    TrimHorizon,
    /// With what comes from now on.
    Latest,
    /// With the first record at or after a time.
    At(Timestamp),
    /// Where an earlier batch ended.
    Log(u64),
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRecord {
    /// Its sequence number.
    pub sequence: String,
    /// When it came, in milliseconds since 1970.
    pub arrived: i64,
    /// Its partition key.
    pub key: String,
    /// Its data.
    pub data: Vec<u8>,
    /// The position after it.
    pub next: u64,
}

/// Records that were read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The records.
    pub records: Vec<ReadRecord>,
    /// Where to go on; nothing at the end of a closed shard.
    pub next: Option<u64>,
    /// How old the first record is that was not read; 0 when there is none.
    pub behind_millis: i64,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Records.
    pub records: usize,
    /// Bytes of data and keys; one record is read even if it has more.
    pub bytes: usize,
}

/// Whether `caller` may consume a stream.
pub fn may_read(cloud: &Cloud, caller: &Caller, name: &str) -> ApiResult<()> {
    let arn = arn(cloud, name);
    for operation in ["DescribeStream", "GetShardIterator", "GetRecords"] {
        cloud.authorize(caller, &format!("kinesis:{operation}"), &arn, &[])?;
    }
    Ok(())
}

/// Wakes whenever records were put or shards changed.
pub fn changes(cloud: &Cloud, name: &str) -> ApiResult<watch::Receiver<u64>> {
    Ok(cloud.services.kinesis.lives.of(&find(cloud, name)?.id).changes())
}

/// The position in a shard's log.
pub fn open_position(
    cloud: &Cloud,
    stream: &Stream,
    shard: u32,
    position: Position,
) -> ApiResult<u64> {
    let log = cloud.services.kinesis.lives.of(&stream.id).log(shard)?;
    let horizon = stream.horizon(cloud.clock.now());
    let found = match position {
        Position::TrimHorizon => log.first_since(horizon),
        Position::Latest => Ok(log.readable_end()),
        Position::At(time) => log.first_since(time.as_millisecond().max(horizon)),
        Position::Log(at) => Ok(at),
    };
    found.map_err(ApiError::internal)
}

/// Reads records from a position on. It reads files, so it is not for who answers requests.
pub fn read(
    cloud: &Cloud,
    stream: &Stream,
    shard: &Shard,
    from: u64,
    most: Most,
) -> ApiResult<Batch> {
    let log = cloud.services.kinesis.lives.of(&stream.id).log(shard.number)?;
    let now = cloud.clock.now();
    let horizon = stream.horizon(now);
    let mut batch = Batch { next: Some(from), ..Batch::default() };
    let mut bytes = 0;
    let read = log.read(from, |placed| {
        let record = placed.record;
        if record.arrived < horizon {
            batch.next = Some(placed.next);
            return ControlFlow::Continue(());
        }
        bytes += record.data.len() + record.key.len();
        let full = batch.records.len() >= most.records
            || (bytes > most.bytes && !batch.records.is_empty());
        if full {
            batch.behind_millis = (now.as_millisecond() - record.arrived).max(0);
            return ControlFlow::Break(());
        }
        batch.next = Some(placed.next);
        batch.records.push(ReadRecord {
            sequence: shard.sequence(placed.at, record.arrived).digits(),
            arrived: record.arrived,
            key: record.key,
            data: record.data,
            next: placed.next,
        });
        ControlFlow::Continue(())
    });
    read.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => invalid(error.to_string()),
        _ => ApiError::internal(error),
    })?;
    if shard.closed.is_some_and(|(_, end)| batch.next.is_some_and(|next| next >= end)) {
        batch.next = None;
    }
    Ok(batch)
}
