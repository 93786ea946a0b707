//! What is read in shards: Kinesis streams and streams of tables.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Mapping;
use super::filter::Filters;
use super::settings::Kind;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::services::dynamodb::streams::{self as tables, TableStream};
use crate::services::kinesis::shards::{self, Key};
use crate::services::kinesis::{self, Most, Position};
use crate::services::lambda::destinations::SERVICE;
use crate::services::lambda::function::invalid;

/// Records that are read at once.
const READ_RECORDS: usize = 1_000;
/// Bytes that are read at once.
const READ_BYTES: usize = 6 * 1024 * 1024;
/// Bytes of a record of a stream in an event beside its data and its key.
const RECORD_BYTES: usize = 768;

/// What is read.
#[derive(Debug, Clone)]
pub enum Source {
    /// A Kinesis stream.
    Stream(Arc<kinesis::Stream>),
    /// A stream of a table, and the table's name.
    Table(String, TableStream),
}

/// A shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its number.
    pub number: u32,
    /// Those that it came from.
    pub parents: Vec<u32>,
    /// Whether more can come.
    pub is_open: bool,
}

/// A record on its way.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its sequence number.
    pub sequence: String,
    /// When it came, in milliseconds since 1970.
    pub arrived: i64,
    /// The position after it.
    pub next: u64,
    /// What keeps an order: records of one partition key or of one item.
    key: Key,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// Partition key and data.
    Data(String, Vec<u8>),
    /// An event of a table.
    Event(Value),
}

/// Records that were read, and where to go on; nothing at the end of a shard.
pub type Batch = (Vec<Record>, Option<u64>);

impl Source {
    /// The source of an ARN.
    pub fn find(cloud: &Cloud, kind: Kind, arn: &str) -> ApiResult<Self> {
        let absent = || invalid(format!("Stream not found: {arn}"));
        if kind == Kind::Table {
            let (name, stream) = tables::find(cloud, arn).map_err(|_| absent())?;
            return Ok(Self::Table(name, stream));
        }
        let name = kinesis::name_of(cloud, arn).ok_or_else(absent)?;
        kinesis::find(cloud, name).map(Self::Stream).map_err(|_| absent())
    }

    /// Refuses a role that may not read a source.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-create.html>,
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html>
    pub fn check_access(cloud: &Arc<Cloud>, kind: Kind, role: &str, arn: &str) -> ApiResult<()> {
        let lists = if kind == Kind::Table { "" } else { "ListShards, " };
        let denied = || {
            invalid(format!(
                "Cannot access stream {arn}. Please ensure the role can perform the GetRecords, \
                 GetShardIterator, DescribeStream, {lists}and ListStreams Actions on your stream \
                 in IAM."
            ))
        };
        let session = cloud.assume(role, SERVICE, "lambda").map_err(|_| denied())?;
        let may = |action: &str, on: &str| cloud.authorize(&session, action, on, &[]).is_ok();
        let (prefix, needed) = match kind {
            Kind::Table => ("dynamodb", &["DescribeStream", "GetRecords", "GetShardIterator"][..]),
            _ => (
                "kinesis",
                &[
                    "DescribeStream",
                    "DescribeStreamSummary",
                    "GetRecords",
                    "GetShardIterator",
                    "ListShards",
                ][..],
            ),
        };
        let reads = needed.iter().all(|name| may(&format!("{prefix}:{name}"), arn));
        // Policies give the right to list streams of tables on all or on the stream itself.
        let lists = || {
            let list = "dynamodb:ListStreams";
            kind != Kind::Table || may(list, "*") || may(list, arn)
        };
        if reads && lists() { Ok(()) } else { Err(denied()) }
    }

    /// What tells it from another one of the same name.
    pub fn id(&self) -> &str {
        match self {
            Self::Stream(stream) => &stream.id,
            Self::Table(_, stream) => &stream.label,
        }
    }

    /// How long its records can be read.
    pub fn kept(&self) -> SignedDuration {
        match self {
            Self::Stream(stream) => SignedDuration::from_hours(stream.retention_hours.into()),
            Self::Table(..) => tables::KEPT,
        }
    }

    /// Its shards.
    pub fn shards(&self) -> Vec<Shard> {
        let of = |shard: &shards::Shard| Shard {
            number: shard.number,
            parents: shard.parents.clone(),
            is_open: shard.is_open(),
        };
        match self {
            Self::Stream(stream) => stream.shards.all.iter().map(of).collect(),
            Self::Table(_, stream) => {
                let is_open = stream.closed.is_none();
                vec![Shard { number: 0, parents: Vec::new(), is_open }]
            }
        }
    }

    /// The ID of a shard.
    pub fn shard_id(&self, number: u32) -> String {
        match self {
            Self::Stream(_) => shards::id(number),
            Self::Table(_, stream) => stream.shard(),
        }
    }

    /// Where reading a shard begins.
    pub fn open_position(&self, cloud: &Cloud, shard: u32, at: Position) -> ApiResult<u64> {
        let (name, stream) = match self {
            Self::Stream(stream) => return kinesis::open_position(cloud, stream, shard, at),
            Self::Table(name, stream) => (name, stream),
        };
        let from = match at {
            Position::Latest => tables::From::Latest,
            _ => tables::From::TrimHorizon,
        };
        tables::position(cloud, name, stream, from).map(i64::unsigned_abs)
    }

    /// Wakes when there is more.
    pub fn changes(&self, cloud: &Cloud, arn: &str) -> ApiResult<watch::Receiver<u64>> {
        match self {
            Self::Stream(_) => {
                kinesis::changes(cloud, kinesis::name_of(cloud, arn).unwrap_or_default())
            }
            Self::Table(name, _) => Ok(tables::changes(cloud, name)),
        }
    }

    /// Reads a shard from a position on. Blocks.
    pub fn read(&self, cloud: &Cloud, shard: u32, from: u64) -> ApiResult<Batch> {
        match self {
            Self::Stream(stream) => {
                // All records of a shard that is gone have expired.
                let Some(shard) = stream.shards.get(shard) else { return Ok((Vec::new(), None)) };
                let most = Most { records: READ_RECORDS, bytes: READ_BYTES };
                let batch = kinesis::read(cloud, stream, shard, from, most)?;
                let records = batch.records.into_iter().map(|record| Record {
                    sequence: record.sequence,
                    arrived: record.arrived,
                    next: record.next,
                    key: Key::of(&record.key),
                    content: Content::Data(record.key, record.data),
                });
                Ok((records.collect(), batch.next))
            }
            Self::Table(name, stream) => {
                let from = i64::try_from(from).map_err(ApiError::internal)?;
                let most = (READ_RECORDS, READ_BYTES);
                let batch = tables::read(cloud, name, stream, from, most)?;
                let records = batch.changes.iter().map(|change| Record {
                    sequence: tables::sequence(change.number),
                    arrived: change.made_secs * 1_000,
                    next: change.number.unsigned_abs() + 1,
                    key: Key::of(&in_order(&change.keys)),
                    content: Content::Event(tables::event(cloud, stream, change)),
                });
                Ok((records.collect(), batch.next.map(i64::unsigned_abs)))
            }
        }
    }
}

/// A key with its attributes in one order.
fn in_order(keys: &Value) -> String {
    let mut parts: Vec<String> =
        keys.as_object().into_iter().flatten().map(|(k, v)| format!("{k}={v}")).collect();
    parts.sort_unstable();
    parts.join("/")
}

impl Record {
    /// Bytes that it has in an event.
    pub fn bytes(&self) -> usize {
        match &self.content {
            Content::Data(key, data) => data.len().div_ceil(3) * 4 + key.len() + RECORD_BYTES,
            Content::Event(event) => event.to_string().len() + RECORD_BYTES,
        }
    }

    /// Whether it is one of a lane, of so many.
    pub fn is_of(&self, lane: u32, lanes: u32) -> bool {
        self.key.0 % u128::from(lanes) == u128::from(lane)
    }

    /// Whether the function gets it.
    pub fn passes(&self, filters: &Filters) -> bool {
        if filters.take_all() {
            return true;
        }
        match &self.content {
            Content::Data(key, data) => {
                let text = std::str::from_utf8(data).map_or(Value::Null, Value::from);
                filters.take(self.fields(key, text), Some("data"))
            }
            Content::Event(event) => filters.take(event.clone(), None),
        }
    }

    /// What a record of a stream has in an event and for filters.
    fn fields(&self, key: &str, data: Value) -> Value {
        json!({
            "kinesisSchemaVersion": "1.0", "partitionKey": key,
            "sequenceNumber": self.sequence, "data": data,
            "approximateArrivalTimestamp": self.arrived as f64 / 1e3,
        })
    }

    /// As the function gets it.
    pub fn event(&self, cloud: &Cloud, mapping: &Mapping, role: &str, shard: &str) -> Value {
        match &self.content {
            Content::Data(key, data) => json!({
                "kinesis": self.fields(key, BASE64.encode(data).into()),
                "eventSource": "aws:kinesis", "eventVersion": "1.0",
                "eventID": format!("{shard}:{}", self.sequence),
                "eventName": "aws:kinesis:record", "invokeIdentityArn": role,
                "awsRegion": cloud.config.region, "eventSourceARN": mapping.source,
            }),
            Content::Event(event) => {
                let mut event = event.clone();
                event["eventSourceARN"] = mapping.source.clone().into();
                event
            }
        }
    }
}
