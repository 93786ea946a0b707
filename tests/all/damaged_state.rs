//! A state folder in which something is damaged: it is said, and nothing else is lost.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use rusqlite::Connection;
use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::Cloud;
use steppe_cloud::kernel::error::ApiResult;
use steppe_cloud::kernel::service;
use steppe_cloud::services::{ec2, lambda, states};
use tempfile::TempDir;

use crate::cloudformation_account::{config, request, settle};
use crate::in_process::role;
use crate::records::set_aside;

const BOOTSTRAP: &str = "#!/bin/sh\n";

async fn call(cloud: &Arc<Cloud>, service: &str, operation: &str, params: Value) -> ApiResult {
    let caller = cloud.identities.administrator();
    service::call(cloud, &caller, service, operation, &params).await
}

async fn made(cloud: &Arc<Cloud>, service: &str, operation: &str, params: Value) -> Value {
    let answer = call(cloud, service, operation, params).await;
    answer.unwrap_or_else(|error| panic!("{service}:{operation}: {error}"))
}

/// As a process opens it, without what works on in the background.
fn open(state: &Path) -> Arc<Cloud> {
    let cloud = Cloud::open(config(state)).expect("a cloud opens whatever record is damaged");
    ec2::resume_all(&cloud);
    lambda::remove_leftovers(&cloud);
    states::resume(&cloud);
    cloud
}

fn package() -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("bootstrap", zip::write::SimpleFileOptions::default()).expect("started");
    zip.write_all(BOOTSTRAP.as_bytes()).expect("written");
    zip.finish().expect("finished").into_inner()
}

/// Something in every service that keeps more than records.
async fn fill(cloud: &Arc<Cloud>) {
    let machine = json!({ "Type": "AWS::EC2::Instance", "Properties": {
        "ImageId": "ami-x", "UserData": { "Fn::Base64": "#!/bin/bash\n" },
    } });
    let pass = json!({
        "QueryLanguage": "JSONata", "StartAt": "P", "States": { "P": { "Type": "Succeed" } },
    });
    let resources = json!({
        "Role": role("r", "lambda.amazonaws.com", &["logs:PutLogEvents"]),
        "Runner": role("m", "states.amazonaws.com", &["logs:PutLogEvents"]),
        "Machine": machine,
        "Flow": { "Type": "AWS::StepFunctions::StateMachine", "Properties": {
            "StateMachineName": "flow", "DefinitionString": pass.to_string(),
            "RoleArn": { "Fn::GetAtt": ["Runner", "Arn"] },
        } },
    });
    let template = json!({ "Resources": resources }).to_string();
    let order = request("s", &template, json!({}));
    let stack = made(cloud, "cloudformation", "CreateStack", order).await;
    let id = stack["StackId"].as_str().expect("an ID");
    assert_eq!(settle(cloud, id).await, "CREATE_COMPLETE");
    let arn = "arn:aws:states:us-east-1:000000000000:stateMachine:flow";
    made(cloud, "states", "StartExecution", json!({ "stateMachineArn": arn, "name": "e" })).await;
    cloud.services.s3.create("some-data", json!([])).expect("made");
    cloud.services.s3.put_bytes("some-data", "k", b"kept").expect("written");
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let function = json!({
        "FunctionName": "f", "Runtime": "provided.al2023", "Handler": "bootstrap",
        "Role": "arn:aws:iam::000000000000:role/r", "Architectures": [own],
        "Code": { "ZipFile": BASE64.encode(package()) },
    });
    made(cloud, "lambda", "CreateFunction", function).await;
    let table = json!({
        "TableName": "items", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "k", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "k", "KeyType": "HASH" }],
    });
    made(cloud, "dynamodb", "CreateTable", table).await;
    let item = json!({ "TableName": "items", "Item": { "k": { "S": "a" } } });
    made(cloud, "dynamodb", "PutItem", item).await;
    made(cloud, "kinesis", "CreateStream", json!({ "StreamName": "k", "ShardCount": 1 })).await;
    cloud.clock.advance(std::time::Duration::from_secs(60));
    let record = json!({ "StreamName": "k", "Data": BASE64.encode("kept"), "PartitionKey": "p" });
    made(cloud, "kinesis", "PutRecord", record).await;
    made(cloud, "sqs", "CreateQueue", json!({ "QueueName": "q" })).await;
    made(cloud, "ssm", "PutParameter", json!({ "Name": "p", "Value": "v", "Type": "String" }))
        .await;
}

/// Whether everything is as [`fill`] left it.
async fn check(cloud: &Arc<Cloud>) {
    assert_eq!(cloud.services.s3.read("some-data", "k").expect("read"), b"kept");
    let package = cloud.services.lambda.functions.get("f").expect("there").directory.clone();
    let program = std::fs::read(package.join("bootstrap")).expect("the package");
    assert_eq!(program, BOOTSTRAP.as_bytes());
    let key = json!({ "TableName": "items", "Key": { "k": { "S": "a" } } });
    assert_eq!(made(cloud, "dynamodb", "GetItem", key).await["Item"]["k"]["S"], "a");
    let shard = json!({
        "StreamName": "k", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON",
    });
    let iterator = made(cloud, "kinesis", "GetShardIterator", shard).await;
    let from = json!({ "ShardIterator": iterator["ShardIterator"] });
    let records = made(cloud, "kinesis", "GetRecords", from).await;
    assert_eq!(records["Records"][0]["Data"], BASE64.encode("kept"));
    let [(id, _)] = &cloud.services.ec2.instances.all()[..] else { panic!("no instance") };
    assert!(cloud.path("instances").join(id).join("root").is_dir());
    let execution = "arn:aws:states:us-east-1:000000000000:execution:flow:e";
    let asked = json!({ "executionArn": execution });
    made(cloud, "states", "DescribeStateMachineForExecution", asked).await;
}

/// A record as it lies in the database.
type Row = (String, String, String, i64);

fn rows(database: &Connection) -> Vec<Row> {
    let mut statement =
        database.prepare("SELECT kind, name, value, sum FROM records").expect("a statement");
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    statement.query_map([], read).expect("rows").map(|row| row.expect("a row")).collect()
}

/// What somebody does who mends it by hand; all at once, because threads of the cloud that is gone
/// here may still look for files without a record.
fn put_back(database: &mut Connection, sound: &[Row]) {
    let all = database.transaction().expect("a transaction");
    all.execute_batch("DELETE FROM records; DELETE FROM damaged").expect("emptied");
    for row in sound {
        let put = "INSERT INTO records (kind, name, value, sum) VALUES (?1, ?2, ?3, ?4)";
        all.execute(put, rusqlite::params![row.0, row.1, row.2, row.3]).expect("put back");
    }
    all.commit().expect("put back");
}

#[tokio::test]
async fn a_damaged_record_of_any_kind_takes_nothing_with_it() {
    let state = TempDir::new().expect("a folder");
    let cloud = open(state.path());
    fill(&cloud).await;
    check(&cloud).await;
    drop(cloud);
    let mut database = Connection::open(state.path().join("cloud.db")).expect("a database");
    database.busy_timeout(std::time::Duration::from_secs(5)).expect("set");
    let sound = rows(&database);
    let mut kinds: Vec<&str> = sound.iter().map(|(kind, ..)| kind.as_str()).collect();
    kinds.dedup();
    assert!(kinds.len() > 12, "{kinds:?}");
    for kind in kinds {
        let damage = "UPDATE records SET value = '{' WHERE kind = ?1";
        let count = database.execute(damage, [kind]).expect("damaged");
        let cloud = open(state.path());
        // Whatever somebody asks: it is answered or refused, and the others are there.
        made(&cloud, "sts", "GetCallerIdentity", json!({})).await;
        for (service, operation) in [
            ("s3", "ListBuckets"),
            ("lambda", "ListFunctions"),
            ("dynamodb", "ListTables"),
            ("kinesis", "ListStreams"),
            ("ec2", "DescribeInstances"),
            ("cloudformation", "DescribeStacks"),
            ("iam", "ListRoles"),
        ] {
            call(&cloud, service, operation, json!({})).await.unwrap_or_default();
        }
        drop(cloud);
        let damaged = set_aside(state.path()).len();
        assert!(damaged <= count, "{kind}");
        put_back(&mut database, &sound);
        let cloud = open(state.path());
        check(&cloud).await;
    }
}

#[test]
fn damaged_credentials_say_what_helps() {
    let state = TempDir::new().expect("a folder");
    std::fs::write(state.path().join("credentials.json"), "").expect("written");
    let error = Cloud::open(config(state.path())).expect_err("no key");
    let told = steppe_wire::hint::told(error.as_ref()).to_string();
    assert!(told.contains("credentials.json is damaged"), "{told}");
    assert!(told.contains("hint: delete the file, and a new key is made"), "{told}");
    std::fs::remove_file(state.path().join("credentials.json")).expect("removed");
    Cloud::open(config(state.path())).expect("a new key");
}
