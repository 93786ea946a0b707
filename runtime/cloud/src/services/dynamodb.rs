//! DynamoDB: tables, items, indexes, expressions, transactions and times to live.
//!
//! Items and what is said about them are the work of the library dynoxide, whose SQLite database
//! `dynamodb.db` lies in the state folder and is synchronised to the disk before a write is
//! answered. This adapter has the records of tables (which of them are whole, tags, times to live),
//! the account's ARNs, permissions, and the deletion of expired items by the cloud's clock.
//!
//! Where it differs from AWS:
//! - Capacity is kept and shown, never enforced: nothing is throttled.
//! - Tables and indexes are `ACTIVE` as soon as they are made; all reads are consistent.
//! - Expired items go within ten minutes, in AWS within days.
//! - A `ClientRequestToken` is remembered for ten minutes, but not across restarts.
//! - A request has at most 16 MiB, as in AWS, its text in JSON counted.
//! - Of streams see [`streams`].
//! - Refused by name: global tables, backups, imports and exports, PartiQL, keys of KMS,
//!   vector indexes, resource policies, warm and on-demand throughput, and policies with the
//!   condition keys `dynamodb:…`.

mod batches;
mod engine;
mod expiry;
mod items;
mod resources;
mod sizes;
mod stream_log;
pub mod streams;
mod tables;

use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::{Call, Service, Tagged, Tagging};
use crate::kernel::store::Table as Records;
use crate::{model, op};

use self::stream_log::StreamLog;
use self::streams::{Streams, TableStream};

pub use self::expiry::run as expire;
pub use self::tables::look_here;

/// What DynamoDB has.
#[derive(Debug)]
pub struct State {
    /// Tables by name.
    pub tables: Records<TableRecord>,
    /// What has changed in tables.
    streams: Streams,
    engine: engine::Engine,
}

impl State {
    /// Opens the records and the database of items, and ends what a crash interrupted.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        let file = opening.config.state_dir.join("dynamodb.db");
        let engine = engine::Engine::open(&file)
            .with_context(|| format!("cannot open {}", file.display()))?;
        let log = StreamLog::open(&file, opening.clock)?;
        let (tables, streams) = (opening.table("dynamodb_tables"), Streams::new(log));
        let state = Self { tables, streams, engine };
        state.end_halves()?;
        state.agree_on_streams()?;
        Ok(state)
    }

    /// A table that was not made or deleted to the end is deleted.
    fn end_halves(&self) -> Result<()> {
        let Some(all) = self.tables.complete() else { return Ok(()) };
        for name in self.engine.tables()? {
            if !all.iter().any(|(known, table)| *known == name && table.whole) {
                self.engine.drop_table(&name)?;
            }
        }
        for (name, table) in all {
            let there = self.engine.has(&name)?;
            if table.whole && !there {
                tracing::error!("the table `{name}` is on record and not in dynamodb.db any more");
            }
            if !table.whole || !there {
                self.tables.remove(&name)?;
            }
        }
        Ok(())
    }

    /// A stream that was not enabled or disabled to the end is disabled.
    fn agree_on_streams(&self) -> Result<()> {
        for (name, table) in self.tables.all() {
            let (is_on, is_open) = (self.engine.has_stream(&name)?, table.open_stream().is_some());
            if is_on && !is_open {
                self.engine.end_stream(&name)?;
            }
            if !is_on && is_open {
                let end = self.streams.log.end(&name).map_err(|e| anyhow::anyhow!("{e}"))?;
                self.tables.update(&name, |table| table.close(end, Timestamp::now()))?;
            }
        }
        Ok(())
    }

    /// Runs an operation on items of these tables.
    async fn run(&self, operation: &'static str, request: Value, tables: &[String]) -> ApiResult {
        if !WRITES.contains(&operation) {
            return self.engine.run(operation, request).await;
        }
        self.streams.log.set_time()?;
        let answer = self.engine.run(operation, request).await;
        // Also when it failed: a part of it may have been done.
        for table in tables {
            self.streams.tell(table);
        }
        answer
    }
}

/// The operations that change items.
const WRITES: [&str; 5] =
    ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"];

/// What is known of a table beside what its engine knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableRecord {
    /// Whether it is there, and not only being made or deleted.
    pub whole: bool,
    /// Its `TableId`.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// Its tags, `[{"Key", "Value"}]`.
    pub tags: Vec<Tag>,
    /// The attribute that says when an item expires.
    pub expiry: Option<String>,
    /// Its streams, of which the last one may be enabled.
    #[serde(default)]
    pub streams: Vec<TableStream>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Its key.
    #[serde(rename = "Key")]
    pub key: String,
    /// Its value.
    #[serde(rename = "Value")]
    pub value: String,
}

/// A table's ARN.
pub fn arn(cloud: &Cloud, table: &str) -> String {
    cloud.config.arn("dynamodb", &format!("table/{table}"))
}

/// The name of a table that is given by its name or by its ARN.
fn table_name<'a>(cloud: &Cloud, given: &'a str) -> ApiResult<&'a str> {
    if !given.starts_with("arn:") {
        return Ok(given);
    }
    let own = cloud.config.arn("dynamodb", "table/");
    given.strip_prefix(own.as_str()).filter(|name| !name.contains('/')).ok_or_else(|| {
        let words = format!("Requested resource not found: Table: {given} not found");
        ApiError::new("ResourceNotFoundException", words)
    })
}

/// The table of that name, when there is one.
pub fn existing(cloud: &Cloud, name: &str) -> ApiResult<Arc<TableRecord>> {
    let table = cloud.services.dynamodb.tables.get(name).filter(|table| table.whole);
    table.ok_or_else(|| {
        let words = format!("Requested resource not found: Table: {name} not found");
        ApiError::new("ResourceNotFoundException", words)
    })
}

impl Call<'_> {
    fn table(&self) -> ApiResult<&str> {
        table_name(self.cloud, self.required("TableName")?)
    }
}

/// How tables carry tags.
const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.dynamodb.tables.all().into_iter();
        all.map(|(name, one)| {
            (
                arn(cloud, &name),
                one.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
            )
        })
        .collect()
    },
    change: Tagging::ByArn("ResourceArn", ["Key", "Value"]),
};

/// API of DynamoDB.
pub static SERVICE: Service = Service {
    types: &[resources::TABLE],
    data: &[
        "BatchGetItem",
        "BatchWriteItem",
        "BatchExecuteStatement",
        "DeleteItem",
        "ExecuteStatement",
        "ExecuteTransaction",
        "GetItem",
        "PutItem",
        "Query",
        "Scan",
        "TransactGetItems",
        "TransactWriteItems",
        "UpdateItem",
    ],
    tagged: Some(TAGGED),
    ..Service::new(
        "dynamodb",
        model!("dynamodb"),
        &[
            op!(CreateTable(
                TableName, AttributeDefinitions, KeySchema, LocalSecondaryIndexes,
                GlobalSecondaryIndexes {
                    IndexName, KeySchema, Projection, ProvisionedThroughput
                },
                BillingMode, ProvisionedThroughput,
                StreamSpecification { StreamEnabled, StreamViewType },
                SSESpecification { Enabled }, TableClass, Tags, DeletionProtectionEnabled
            ) => async tables::create),
            op!(UpdateTable(
                TableName, AttributeDefinitions, BillingMode, ProvisionedThroughput,
                GlobalSecondaryIndexUpdates, StreamSpecification { StreamEnabled, StreamViewType },
                TableClass,
                DeletionProtectionEnabled
            ) => async tables::update),
            op!(DeleteTable(TableName) => async tables::delete),
            op!(DescribeTable(TableName) => async tables::describe),
            op!(ListTables(ExclusiveStartTableName, Limit) => tables::list),
            op!(DescribeContinuousBackups(TableName) => tables::continuous_backups),
            op!(UpdateTimeToLive(TableName, TimeToLiveSpecification) => expiry::update),
            op!(DescribeTimeToLive(TableName) => expiry::describe),
            op!(TagResource(ResourceArn, Tags) => tables::tag),
            op!(UntagResource(ResourceArn, TagKeys) => tables::untag),
            op!(ListTagsOfResource(ResourceArn, NextToken) => tables::tags),
            op!(GetItem(
                TableName, Key, AttributesToGet, ConsistentRead, ReturnConsumedCapacity,
                ProjectionExpression, ExpressionAttributeNames
            ) => async items::one),
            op!(PutItem(
                TableName, Item, Expected, ReturnValues, ReturnConsumedCapacity,
                ReturnItemCollectionMetrics, ConditionalOperator, ConditionExpression,
                ExpressionAttributeNames, ExpressionAttributeValues,
                ReturnValuesOnConditionCheckFailure
            ) => async items::one),
            op!(UpdateItem(
                TableName, Key, AttributeUpdates, Expected, ConditionalOperator, ReturnValues,
                ReturnConsumedCapacity, ReturnItemCollectionMetrics, UpdateExpression,
                ConditionExpression, ExpressionAttributeNames, ExpressionAttributeValues,
                ReturnValuesOnConditionCheckFailure
            ) => async items::one),
            op!(DeleteItem(
                TableName, Key, Expected, ConditionalOperator, ReturnValues,
                ReturnConsumedCapacity, ReturnItemCollectionMetrics, ConditionExpression,
                ExpressionAttributeNames, ExpressionAttributeValues,
                ReturnValuesOnConditionCheckFailure
            ) => async items::one),
            op!(Query(
                TableName, IndexName, Select, AttributesToGet, Limit, ConsistentRead,
                KeyConditions, QueryFilter, ConditionalOperator, ScanIndexForward,
                ExclusiveStartKey, ReturnConsumedCapacity, ProjectionExpression,
                FilterExpression, KeyConditionExpression, ExpressionAttributeNames,
                ExpressionAttributeValues
            ) => async items::many),
            op!(Scan(
                TableName, IndexName, AttributesToGet, Limit, Select, ScanFilter,
                ConditionalOperator, ExclusiveStartKey, ReturnConsumedCapacity, TotalSegments,
                Segment, ProjectionExpression, FilterExpression, ExpressionAttributeNames,
                ExpressionAttributeValues, ConsistentRead
            ) => async items::many),
            op!(BatchGetItem(RequestItems, ReturnConsumedCapacity) => async batches::batch),
            op!(BatchWriteItem(
                RequestItems, ReturnConsumedCapacity, ReturnItemCollectionMetrics
            ) => async batches::batch),
            op!(TransactGetItems(TransactItems, ReturnConsumedCapacity) => async batches::transact),
            op!(TransactWriteItems(
                TransactItems, ReturnConsumedCapacity, ReturnItemCollectionMetrics,
                ClientRequestToken
            ) => async batches::transact),
        ],
    )
};
