//! The catalogue by Glue's API: names, versions, expressions.

use serde_json::{Value, json};

use crate::catalogued::{BUCKET, Catalogued, DATABASE};

fn table(name: &str, comment: &str) -> Value {
    json!({ "DatabaseName": DATABASE, "TableInput": {
        "Name": name, "TableType": "EXTERNAL_TABLE", "Description": comment,
        "PartitionKeys": [{ "Name": "year", "Type": "int" }, { "Name": "kind", "Type": "string" }],
        "StorageDescriptor": {
            "Columns": [{ "Name": "a", "Type": "int" }],
            "Location": format!("s3://{BUCKET}/{name}/"),
            "InputFormat": "In", "OutputFormat": "Out",
            "SerdeInfo": { "SerializationLibrary": "x.ParquetHiveSerDe" },
        },
    } })
}

#[tokio::test]
async fn a_table_keeps_what_it_was_unless_it_is_told_not_to() {
    let own = Catalogued::start().await;
    own.glue("CreateTable", table("Sales", "one")).await.expect("made");
    let twice = own.glue("CreateTable", table("SALES", "one")).await.expect_err("there");
    assert_eq!(twice.to_string(), "AlreadyExistsException: Table already exists.");
    own.glue("UpdateTable", table("sales", "two")).await.expect("changed");
    let mut quiet = table("sales", "three");
    quiet["SkipArchive"] = true.into();
    own.glue("UpdateTable", quiet).await.expect("changed");
    let mut stale = table("sales", "four");
    stale["VersionId"] = "0".into();
    let refused = own.glue("UpdateTable", stale).await.expect_err("stale");
    assert_eq!(refused.code, "ConcurrentModificationException");
    let names = json!({ "DatabaseName": "DB", "TableName": "sales" });
    let versions = own.glue("GetTableVersions", names.clone()).await.expect("versions");
    let told = |version: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&version["VersionId"]), text(&version["Table"]["Description"]))
    };
    let all = versions["TableVersions"].as_array().expect("a list");
    let all: Vec<(String, String)> = all.iter().map(told).collect();
    let pair = |id: &str, text: &str| (id.to_owned(), text.to_owned());
    assert_eq!(all, [pair("2", "three"), pair("0", "one")]);
    let mut one = names.clone();
    one["VersionId"] = "0".into();
    own.glue("DeleteTableVersion", one.clone()).await.expect("deleted");
    let gone = own.glue("GetTableVersion", one).await.expect_err("gone");
    assert_eq!(gone.code, "EntityNotFoundException");
    let deleted = json!({ "DatabaseName": DATABASE, "Name": "Sales" });
    own.glue("DeleteTable", deleted).await.expect("deleted");
    let gone = own.glue("GetTableVersions", names).await.expect_err("gone");
    assert_eq!(gone.code, "EntityNotFoundException");
}

#[tokio::test]
async fn partitions_are_found_by_expressions_and_changed_in_batches() {
    let own = Catalogued::start().await;
    own.glue("CreateTable", table("sales", "")).await.expect("made");
    let with = |member: &str, value: Value| {
        let mut params = json!({ "DatabaseName": DATABASE, "TableName": "sales" });
        params[member] = value;
        params
    };
    let partition = |year: &str, kind: &str| {
        let location = format!("s3://{BUCKET}/sales/{year}/{kind}/");
        json!({ "Values": [year, kind], "StorageDescriptor": { "Location": location } })
    };
    let inputs = json!([partition("2023", "a"), partition("2024", "a"), partition("900", "b")]);
    own.glue("BatchCreatePartition", with("PartitionInputList", inputs)).await.expect("made");
    let found = async |expression: &str| {
        let params = with("Expression", expression.into());
        let answer = own.glue("GetPartitions", params).await.map_err(|e| e.to_string())?;
        let all = answer["Partitions"].as_array().expect("a list").clone();
        Ok::<Vec<Value>, String>(all.into_iter().map(|mut p| p["Values"][0].take()).collect())
    };
    assert_eq!(found("year > 1000 AND kind = 'a'").await, Ok(vec!["2023".into(), "2024".into()]));
    assert_eq!(
        found("(year = 2024 OR kind IN ('b'))").await,
        Ok(vec!["2024".into(), "900".into()])
    );
    let refused = found("town = 'x'").await.expect_err("refused");
    assert!(refused.starts_with("InvalidInputException: Unsupported expression"), "{refused}");
    let mut moved = partition("900", "b");
    moved["Parameters"] = json!({ "moved": "yes" });
    let entries = json!([
        { "PartitionValueList": ["900", "b"], "PartitionInput": moved },
        { "PartitionValueList": ["901", "b"], "PartitionInput": partition("901", "b") },
    ]);
    let answer = own.glue("BatchUpdatePartition", with("Entries", entries)).await.expect("changed");
    assert_eq!(answer["Errors"][0]["PartitionValueList"], json!(["901", "b"]));
    let wanted = json!([{ "Values": ["900", "b"] }, { "Values": ["1", "c"] }]);
    let got = own.glue("BatchGetPartition", with("PartitionsToGet", wanted.clone())).await;
    assert_eq!(got.expect("a list")["Partitions"][0]["Parameters"]["moved"], "yes");
    let gone = own.glue("BatchDeletePartition", with("PartitionsToDelete", wanted)).await;
    assert_eq!(gone.expect("deleted")["Errors"][0]["PartitionValues"], json!(["1", "c"]));
    assert_eq!(found("kind = 'b'").await, Ok(vec![]));
    let mut segment = with("Segment", json!({ "SegmentNumber": 1, "TotalSegments": 2 }));
    let second = own.glue("GetPartitions", segment.clone()).await.expect("a list");
    assert_eq!(second["Partitions"][0]["Values"], json!(["2024", "a"]));
    segment["Segment"]["SegmentNumber"] = 2.into();
    assert!(own.glue("GetPartitions", segment).await.is_err());
}

#[tokio::test]
async fn databases_and_tables_are_made_listed_and_deleted() {
    let own = Catalogued::start().await;
    let input = json!({ "DatabaseInput": {
        "Name": "Other", "Description": "words", "Parameters": { "a": "b" },
        "LocationUri": format!("s3://{BUCKET}/other/"),
    } });
    own.glue("CreateDatabase", input.clone()).await.expect("made");
    let twice = own.glue("CreateDatabase", input).await.expect_err("there");
    assert_eq!(twice.code, "AlreadyExistsException");
    let found = own.glue("GetDatabase", json!({ "Name": "OTHER" })).await.expect("a database");
    assert_eq!(found["Database"]["Name"], "other");
    assert_eq!(found["Database"]["Parameters"], json!({ "a": "b" }));
    let federated = json!({ "DatabaseInput": { "Name": "x", "FederatedDatabase": {} } });
    let refused = own.glue("CreateDatabase", federated).await.expect_err("refused");
    assert!(refused.message.contains("FederatedDatabase"), "{refused}");
    own.glue("CreateTable", table("sales", "what is sold")).await.expect("made");
    let names = |answer: Value| -> Vec<Value> {
        let all = answer["TableList"].as_array().expect("a list").clone();
        all.into_iter().map(|mut table| table["Name"].take()).collect()
    };
    let some = json!({ "DatabaseName": DATABASE, "Expression": "s*" });
    assert_eq!(names(own.glue("GetTables", some).await.expect("a list")), ["sales"]);
    let sold = json!({ "SearchText": "sold" });
    assert_eq!(names(own.glue("SearchTables", sold).await.expect("a list")), ["sales"]);
    let both = json!({ "DatabaseName": DATABASE, "TablesToDelete": ["sales", "none"] });
    let errors = own.glue("BatchDeleteTable", both).await.expect("deleted");
    assert_eq!(errors["Errors"][0]["TableName"], "none");
    own.glue("DeleteDatabase", json!({ "Name": DATABASE })).await.expect("deleted");
    let gone = own.glue("GetTables", json!({ "DatabaseName": DATABASE })).await.expect_err("gone");
    assert_eq!(gone.to_string(), "EntityNotFoundException: Database db not found.");
}
