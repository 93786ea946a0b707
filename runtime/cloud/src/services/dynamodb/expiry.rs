//! Times to live: the attribute that says when an item expires, and the deletion of those that
//! have, by the cloud's clock.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html>: the
//! attribute is a number of seconds since 1970; an item of which it lies more than five years back
//! stays. What is expired and not yet deleted is still read and can still be changed; an item that
//! was changed in between is not deleted.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{arn, existing};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// How often expired items are looked for.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// What lies further back is no time of expiry: five years.
const OLDEST_SECS: i64 = 5 * 365 * 24 * 60 * 60;

/// `UpdateTimeToLive`.
pub fn update(call: &Call<'_>) -> ApiResult {
    let table = call.table()?;
    call.authorize(&arn(call.cloud, table))?;
    existing(call.cloud, table)?;
    let specification = &call.params["TimeToLiveSpecification"];
    let attribute = specification["AttributeName"].as_str().unwrap_or_default();
    let enabled = specification["Enabled"] == true;
    let tables = &call.cloud.services.dynamodb.tables;
    let changed = tables.update(table, |table| {
        let refused = |words: String| Err(ApiError::new("ValidationException", words));
        match (&table.expiry, enabled) {
            (Some(current), _) if current != attribute => refused(format!(
                "TimeToLive is active on a different AttributeName: current AttributeName is \
                 {current}"
            )),
            (Some(_), true) => refused("TimeToLive is already enabled".to_owned()),
            (None, false) => refused("TimeToLive is already disabled".to_owned()),
            (_, enabled) => {
                table.expiry = enabled.then(|| attribute.to_owned());
                Ok(())
            }
        }
    })?;
    changed.unwrap_or(Ok(()))?;
    Ok(json!({ "TimeToLiveSpecification": specification }))
}

/// `DescribeTimeToLive`.
pub fn describe(call: &Call<'_>) -> ApiResult {
    let table = call.table()?;
    call.authorize(&arn(call.cloud, table))?;
    let table = existing(call.cloud, table)?;
    let status = if table.expiry.is_some() { "ENABLED" } else { "DISABLED" };
    let description = json!({ "TimeToLiveStatus": status, "AttributeName": table.expiry });
    Ok(json!({ "TimeToLiveDescription": description }))
}

/// Deletes expired items for as long as the process runs.
pub async fn run(cloud: Arc<Cloud>) {
    loop {
        cloud.clock.sleep(EVERY).await;
        for (name, table) in cloud.services.dynamodb.tables.all() {
            let Some(attribute) = table.expiry.as_deref().filter(|_| table.whole) else { continue };
            if let Err(error) = sweep(&cloud, &name, attribute).await {
                tracing::error!("expired items of `{name}` are not deleted: {error}");
            }
        }
    }
}

/// Deletes the expired items of a table.
async fn sweep(cloud: &Arc<Cloud>, table: &str, attribute: &str) -> ApiResult<()> {
    let engine = &cloud.services.dynamodb.engine;
    let described = engine.run("DescribeTable", json!({ "TableName": table })).await?;
    let schema = described["Table"]["KeySchema"].as_array().into_iter().flatten();
    let keys: Vec<&str> = schema.filter_map(|key| key["AttributeName"].as_str()).collect();
    let now = cloud.clock.now().as_second();
    let mut request = json!({
        "TableName": table,
        "FilterExpression": "#t <= :now AND #t > :oldest",
        "ExpressionAttributeNames": { "#t": attribute },
        "ExpressionAttributeValues": {
            ":now": { "N": now.to_string() }, ":oldest": { "N": (now - OLDEST_SECS).to_string() },
        },
    });
    loop {
        let page = engine.run("Scan", request.clone()).await?;
        for item in page["Items"].as_array().into_iter().flatten() {
            delete(cloud, table, &keys, attribute, item).await?;
        }
        if page["LastEvaluatedKey"].is_null() {
            return Ok(());
        }
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"].clone();
    }
}

/// Deletes an expired item, unless somebody has changed meanwhile when it expires.
async fn delete(
    cloud: &Arc<Cloud>,
    table: &str,
    keys: &[&str],
    attribute: &str,
    item: &Value,
) -> ApiResult<()> {
    let key: serde_json::Map<String, Value> =
        keys.iter().map(|name| ((*name).to_owned(), item[*name].clone())).collect();
    let request = json!({
        "TableName": table, "Key": key, "ConditionExpression": "#t = :t",
        "ExpressionAttributeNames": { "#t": attribute },
        "ExpressionAttributeValues": { ":t": item[attribute] },
    });
    let (all, table) = (cloud.clone(), table.to_owned());
    let work = tokio::task::spawn_blocking(move || delete_here(&all, &table, request));
    match work.await.map_err(ApiError::internal)? {
        Err(error) if error.code != "ConditionalCheckFailedException" => Err(error),
        _ => Ok(()),
    }
}

/// Deletes an expired item; a stream of its table says that nobody asked for it.
fn delete_here(cloud: &Cloud, table: &str, request: Value) -> ApiResult<()> {
    let dynamodb = &cloud.services.dynamodb;
    let has_stream = existing(cloud, table)?.open_stream().is_some();
    if !has_stream {
        return dynamodb.engine.run_here("DeleteItem", request).map(drop);
    }
    let key = request["Key"].clone();
    // Nobody reads of the deletion before its record says who made it.
    let deleted = {
        let _alone = dynamodb.streams.gate.write();
        dynamodb.streams.log.set_time()?;
        let from = dynamodb.streams.log.end(table)?;
        let deleted = dynamodb.engine.run_here("DeleteItem", request).map(drop);
        deleted.and_then(|()| dynamodb.streams.log.mark_expired(table, from, &key))
    };
    dynamodb.streams.tell(table);
    deleted
}
