//! `AWS::DynamoDB::Table`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{arn, streams, tables};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Failure, Handler, Live, Made, Place, ResourceType, attributes};

/// `AWS::DynamoDB::Table`.
pub const TABLE: ResourceType = ResourceType::new(
    "AWS::DynamoDB::Table",
    &[
        "TableName",
        "AttributeDefinitions",
        "KeySchema",
        "BillingMode",
        "ProvisionedThroughput",
        "GlobalSecondaryIndexes/IndexName",
        "GlobalSecondaryIndexes/KeySchema",
        "GlobalSecondaryIndexes/Projection",
        "GlobalSecondaryIndexes/ProvisionedThroughput",
        "LocalSecondaryIndexes",
        "StreamSpecification/StreamViewType",
        "TimeToLiveSpecification",
        "DeletionProtectionEnabled",
        "TableClass",
        "Tags",
        "SSESpecification/SSEEnabled=false",
        "PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled=false",
    ],
    &Table,
)
.named_by("TableName");

/// Properties that `CreateTable` takes as they are.
const CREATED_WITH: [&str; 9] = [
    "AttributeDefinitions",
    "KeySchema",
    "BillingMode",
    "ProvisionedThroughput",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
    "DeletionProtectionEnabled",
    "TableClass",
    "Tags",
];

#[derive(Debug)]
struct Table;

#[async_trait]
impl Handler for Table {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.dynamodb.tables.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let mut request = json!({ "TableName": id });
        for name in CREATED_WITH {
            if !properties[name].is_null() {
                request[name] = numbers(&properties[name]);
            }
        }
        if let Some(view) = view(properties) {
            request["StreamSpecification"] = enabled(view);
        }
        place.call("dynamodb", "CreateTable", &request).await?;
        if let Some(expiry) = expiry(properties) {
            set_expiry(place, id, &expiry, true).await?;
        }
        Ok(described(place, id))
    }

    async fn update(&self, place: &Place<'_>, id: &str, new: &Value, old: &Value) -> Made {
        // One change at a time, as AWS makes them.
        for request in changes(id, new, old) {
            place.call("dynamodb", "UpdateTable", &request).await?;
        }
        set_stream(place, id, view(new), view(old)).await?;
        let (former, wanted) = (expiry(old), expiry(new));
        if former != wanted {
            if let Some(former) = former {
                set_expiry(place, id, &former, false).await?;
            }
            if let Some(wanted) = wanted {
                set_expiry(place, id, &wanted, true).await?;
            }
        }
        if new["Tags"] != old["Tags"] {
            set_tags(place, id, new, old).await?;
        }
        Ok(described(place, id))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        let request = json!({ "TableName": id });
        place.call_unless_gone("dynamodb", "DeleteTable", &request).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        let Some(record) = cloud.services.dynamodb.tables.get(id) else { return Live::Gone };
        let Ok(table) = tables::look_here(cloud, id) else { return Live::Unread };
        let mut out = json!({
            "TableName": id, "AttributeDefinitions": table["AttributeDefinitions"],
            "KeySchema": table["KeySchema"], "Tags": record.tags,
            "DeletionProtectionEnabled": table["DeletionProtectionEnabled"] == true,
            "BillingMode": billing(&table),
        });
        if billing(&table) == "PROVISIONED" {
            out["ProvisionedThroughput"] = throughput(&table["ProvisionedThroughput"]);
        }
        if let Some(stream) = record.open_stream() {
            out["StreamSpecification"] = json!({ "StreamViewType": stream.view });
        }
        if let Some(attribute) = &record.expiry {
            out["TimeToLiveSpecification"] = json!({ "Enabled": true, "AttributeName": attribute });
        }
        for kind in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
            if let Some(indexes) = table[kind].as_array() {
                out[kind] = indexes.iter().map(index).collect();
            }
        }
        Live::Is(out)
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(arn(cloud, id))
    }
}

/// What a template can ask of a table.
fn described(place: &Place<'_>, id: &str) -> Map<String, Value> {
    let cloud = place.cloud;
    let mut known = json!({ "Arn": arn(cloud, id) });
    let table = cloud.services.dynamodb.tables.get(id);
    if let Some(stream) = table.as_ref().and_then(|table| table.open_stream()) {
        known["StreamArn"] = streams::stream_arn(cloud, id, stream).into();
    }
    attributes(known)
}

/// What the stream of a table shows, if a template says that it has one.
fn view(properties: &Value) -> Option<&str> {
    properties["StreamSpecification"]["StreamViewType"].as_str()
}

fn enabled(view: &str) -> Value {
    json!({ "StreamEnabled": true, "StreamViewType": view })
}

/// Enables and disables the stream of a table. One that shows something else is another one.
async fn set_stream(
    place: &Place<'_>,
    id: &str,
    new: Option<&str>,
    old: Option<&str>,
) -> Result<(), Failure> {
    if new == old {
        return Ok(());
    }
    let off = old.map(|_| json!({ "StreamEnabled": false }));
    for specification in off.into_iter().chain(new.map(enabled)) {
        let request = json!({ "TableName": id, "StreamSpecification": specification });
        place.call("dynamodb", "UpdateTable", &request).await?;
    }
    Ok(())
}

fn billing(table: &Value) -> &str {
    table["BillingModeSummary"]["BillingMode"].as_str().unwrap_or("PROVISIONED")
}

fn throughput(described: &Value) -> Value {
    json!({
        "ReadCapacityUnits": described["ReadCapacityUnits"],
        "WriteCapacityUnits": described["WriteCapacityUnits"],
    })
}

fn index(described: &Value) -> Value {
    let mut out = Map::new();
    for name in ["IndexName", "KeySchema", "Projection"] {
        out.insert(name.to_owned(), described[name].clone());
    }
    if described["ProvisionedThroughput"]["WriteCapacityUnits"].as_u64().is_some_and(|n| n > 0) {
        let throughput = throughput(&described["ProvisionedThroughput"]);
        out.insert("ProvisionedThroughput".to_owned(), throughput);
    }
    Value::Object(out)
}

/// Templates may write numbers and booleans as texts.
fn numbers(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(numbers).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let number = value.as_str().and_then(|text| text.parse::<u64>().ok());
                match number.filter(|_| name.ends_with("CapacityUnits")) {
                    Some(number) => (name.clone(), number.into()),
                    None => (name.clone(), numbers(value)),
                }
            })
            .collect(),
        Value::String(text) if text == "true" => true.into(),
        Value::String(text) if text == "false" => false.into(),
        other => other.clone(),
    }
}

/// The attribute of times to live, if they are on.
fn expiry(properties: &Value) -> Option<String> {
    let specification = numbers(&properties["TimeToLiveSpecification"]);
    let on = specification["Enabled"] == true;
    specification["AttributeName"].as_str().filter(|_| on).map(str::to_owned)
}

async fn set_expiry(place: &Place<'_>, id: &str, name: &str, on: bool) -> Result<(), Failure> {
    let specification = json!({ "Enabled": on, "AttributeName": name });
    let request = json!({ "TableName": id, "TimeToLiveSpecification": specification });
    place.call("dynamodb", "UpdateTimeToLive", &request).await.map(drop)
}

/// The calls of `UpdateTable` that lead from the old properties to the new ones.
fn changes(id: &str, new: &Value, old: &Value) -> Vec<Value> {
    let mut requests = Vec::new();
    let mut billing = json!({ "TableName": id });
    for name in ["BillingMode", "ProvisionedThroughput"] {
        if new[name] != old[name] && !new[name].is_null() {
            billing[name] = numbers(&new[name]);
        }
    }
    if billing.get("BillingMode").is_some() && new["BillingMode"] == "PROVISIONED" {
        billing["ProvisionedThroughput"] = numbers(&new["ProvisionedThroughput"]);
    }
    requests.push(billing);
    for (name, default) in
        [("DeletionProtectionEnabled", json!(false)), ("TableClass", json!("STANDARD"))]
    {
        let (former, wanted) = (numbers(&old[name]), numbers(&new[name]));
        if former != wanted {
            let wanted = if wanted.is_null() { default } else { wanted };
            requests.push(json!({ "TableName": id, (name): wanted }));
        }
    }
    requests.extend(index_changes(id, new, old));
    requests.retain(|request| request.as_object().is_some_and(|members| members.len() > 1));
    requests
}

fn index_changes(id: &str, new: &Value, old: &Value) -> Vec<Value> {
    let indexes = |properties: &Value| -> Vec<Value> {
        properties["GlobalSecondaryIndexes"].as_array().cloned().unwrap_or_default()
    };
    let (former, wanted) = (indexes(old), indexes(new));
    let request =
        |change: Value| json!({ "TableName": id, "GlobalSecondaryIndexUpdates": [change] });
    let mut requests = Vec::new();
    for index in former.iter().filter(|index| !wanted.contains(index)) {
        requests.push(request(json!({ "Delete": { "IndexName": index["IndexName"] } })));
    }
    for index in wanted.iter().filter(|index| !former.contains(index)) {
        let mut made = request(json!({ "Create": numbers(index) }));
        made["AttributeDefinitions"] = new["AttributeDefinitions"].clone();
        requests.push(made);
    }
    requests
}

async fn set_tags(place: &Place<'_>, id: &str, new: &Value, old: &Value) -> Result<(), Failure> {
    let keys = |properties: &Value| -> Vec<Value> {
        let tags = properties["Tags"].as_array().into_iter().flatten();
        tags.map(|tag| tag["Key"].clone()).collect()
    };
    let (kept, arn) = (keys(new), arn(place.cloud, id));
    let gone: Vec<Value> = keys(old).into_iter().filter(|key| !kept.contains(key)).collect();
    if !gone.is_empty() {
        let request = json!({ "ResourceArn": arn, "TagKeys": gone });
        place.call("dynamodb", "UntagResource", &request).await?;
    }
    if !kept.is_empty() {
        let request = json!({ "ResourceArn": arn, "Tags": new["Tags"] });
        place.call("dynamodb", "TagResource", &request).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_index_is_deleted_and_made_again_one_at_a_time() {
        let index = |name: &str, kind: &str| {
            let projection = json!({ "ProjectionType": kind });
            json!({ "IndexName": name, "KeySchema": [], "Projection": projection })
        };
        let old = json!({ "GlobalSecondaryIndexes": [index("a", "ALL"), index("b", "ALL")] });
        let new = json!({
            "GlobalSecondaryIndexes": [index("b", "KEYS_ONLY")],
            "DeletionProtectionEnabled": "true",
        });
        let made = changes("t", &new, &old);
        let updates: Vec<&Value> =
            made.iter().map(|request| &request["GlobalSecondaryIndexUpdates"][0]).collect();
        assert_eq!(made.len(), 4);
        assert_eq!(made[0], json!({ "TableName": "t", "DeletionProtectionEnabled": true }));
        assert_eq!(updates[1], &json!({ "Delete": { "IndexName": "a" } }));
        assert_eq!(updates[2], &json!({ "Delete": { "IndexName": "b" } }));
        assert_eq!(updates[3], &json!({ "Create": index("b", "KEYS_ONLY") }));
        assert!(changes("t", &new, &new).is_empty());
    }

    #[tokio::test]
    async fn a_table_is_made_changed_read_and_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let cloud = Cloud::for_tests(folder.path());
        let place = Place::for_tests(&cloud);
        let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
        let attribute = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
        let old = json!({
            "AttributeDefinitions": [attribute("pk")], "KeySchema": [key("pk", "HASH")],
            "ProvisionedThroughput": { "ReadCapacityUnits": "5", "WriteCapacityUnits": 5 },
            "Tags": [{ "Key": "a", "Value": "1" }, { "Key": "b", "Value": "2" }],
        });
        let made = Table.create(&place, "table", &old).await.expect("made");
        assert_eq!(made["Arn"], "arn:aws:dynamodb:us-east-1:000000000000:table/table");
        assert_eq!(Table.exists(&cloud, "table", &old), Some(true));
        let new = json!({
            "AttributeDefinitions": [attribute("pk"), attribute("other")],
            "KeySchema": [key("pk", "HASH")], "BillingMode": "PAY_PER_REQUEST",
            "GlobalSecondaryIndexes": [{
                "IndexName": "by-other", "KeySchema": [key("other", "HASH")],
                "Projection": { "ProjectionType": "ALL" },
            }],
            "TimeToLiveSpecification": { "Enabled": "true", "AttributeName": "ttl" },
            "DeletionProtectionEnabled": true, "Tags": [{ "Key": "a", "Value": "3" }],
        });
        Table.update(&place, "table", &new, &old).await.expect("changed");
        let Live::Is(read) = Table.read(&cloud, "table", &new) else { panic!("it is there") };
        for name in ["KeySchema", "BillingMode", "GlobalSecondaryIndexes", "Tags"] {
            assert_eq!(read[name], new[name], "{name}");
        }
        assert_eq!(read["TimeToLiveSpecification"]["AttributeName"], "ttl");
        let protected = Table.delete(&place, "table", &new).await.expect_err("protected");
        assert!(protected.contains("protected against deletion"), "{protected}");
        let mut last = new.clone();
        last["DeletionProtectionEnabled"] = false.into();
        Table.update(&place, "table", &last, &new).await.expect("changed");
        Table.delete(&place, "table", &last).await.expect("deleted");
        Table.delete(&place, "table", &last).await.expect("deleted again");
        assert_eq!(Table.read(&cloud, "table", &last), Live::Gone);
    }
}
