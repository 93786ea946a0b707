//! Functions that read streams and queues: nothing is passed over, and what is done is done once.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use steppe_cloud::kernel::error::ApiResult;
use steppe_cloud::kernel::service;

use crate::in_process::{InProcess, role, until};
use crate::serving::{Serving, now};

/// It writes every event to the file OUT, and ends when there is the file OUT.fails, or when a
/// record is "bad", which is "YmFk" in base64.
const WRITES: &str = r#"printf '%s\n' "$BODY" >> "$OUT"
case "$BODY" in *'"YmFk"'*|*'"bad"'*) exit 4;; esac
BODY='{}'; [ ! -e "$OUT.fails" ] || exit 3"#;
const READS: [&str; 13] = [
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
    "kinesis:DescribeStream",
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:SendMessage",
];

/// A cloud with a function that writes down what it is given.
struct Sources {
    home: InProcess,
    out: PathBuf,
}

impl Sources {
    async fn new(more: Value) -> Self {
        let home = InProcess::start().await;
        let bash = include_str!("bootstrap.sh");
        let command = bash.lines().find(|line| line.contains("eval ")).expect("the command");
        home.put_package(&bash.replace(command.trim(), WRITES));
        let out = home.folder().join("out");
        let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let mut resources = json!({
            "Role": role("reader", "lambda.amazonaws.com", &READS),
            "F": { "Type": "AWS::Lambda::Function", "Properties": {
                "FunctionName": "f", "Runtime": "provided.al2023", "Handler": "bootstrap",
                "Architectures": [own], "Timeout": 20, "MemorySize": 256,
                "Role": { "Fn::GetAtt": ["Role", "Arn"] },
                "Code": { "S3Bucket": "code", "S3Key": "package.zip" },
                "Environment": { "Variables": { "OUT": out } },
            } },
            "Stream": { "Type": "AWS::Kinesis::Stream", "Properties": {
                "Name": "events", "ShardCount": 1,
            } },
            "Table": { "Type": "AWS::DynamoDB::Table", "Properties": {
                "TableName": "items", "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
                "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
                "StreamSpecification": { "StreamViewType": "NEW_AND_OLD_IMAGES" },
            } },
            "Failed": { "Type": "AWS::SQS::Queue", "Properties": { "QueueName": "failed" } },
            "Queue": { "Type": "AWS::SQS::Queue", "Properties": {
                "QueueName": "queue", "VisibilityTimeout": 30,
            } },
        });
        let all = resources.as_object_mut().expect("resources");
        all.extend(more.as_object().cloned().unwrap_or_default());
        home.created("s", resources).await;
        Self { home, out }
    }

    async fn call(&self, service: &str, operation: &str, params: Value) -> ApiResult {
        let caller = self.home.cloud.identities.administrator();
        service::call(&self.home.cloud, &caller, service, operation, &params).await
    }

    async fn put(&self, data: &[&str]) {
        let record = |data: &&str| json!({ "Data": BASE64.encode(data), "PartitionKey": data });
        let records: Vec<Value> = data.iter().map(record).collect();
        let params = json!({ "StreamName": "events", "Records": records });
        self.call("kinesis", "PutRecords", params).await.expect("put");
    }

    async fn put_items(&self, keys: &[&str]) {
        for key in keys {
            let item = json!({ "pk": { "S": key } });
            let params = json!({ "TableName": "items", "Item": item });
            self.call("dynamodb", "PutItem", params).await.expect("put");
        }
    }

    /// What the queue of what failed has been told.
    async fn told(&self) -> Value {
        let url = steppe_cloud::services::sqs::url(&self.home.cloud, "failed");
        for _ in 0..3_000 {
            let params = json!({ "QueueUrl": url });
            let answer = self.call("sqs", "ReceiveMessage", params).await.expect("received");
            if let Some(body) = answer["Messages"][0]["Body"].as_str() {
                return serde_json::from_str(body).expect("JSON");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing was told");
    }

    /// A cloud that begins with what this one has on the disk, as after a kill.
    async fn begun_again(&self) -> Serving {
        let folder = self.home.folder().to_owned();
        Serving::start_with(|state| {
            let copied = std::process::Command::new("cp")
                .arg("-r")
                .arg(folder.join("."))
                .arg(state)
                .status();
            assert!(copied.expect("cp runs").success());
            // A file that is copied while somebody writes it is of two moments.
            for name in ["cloud.db", "dynamodb.db"] {
                for part in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(state.join(format!("{name}{part}")));
                }
                let from = rusqlite::Connection::open(folder.join(name)).expect("a database");
                let to = state.join(name).display().to_string();
                from.execute("VACUUM INTO ?1", [to]).expect("copied");
            }
        })
        .await
    }

    /// The data of the records of each event.
    fn batches(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(&self.out).unwrap_or_default();
        let key =
            |record: &Value| record["dynamodb"]["Keys"]["pk"]["S"].as_str().map(str::to_owned);
        let data = |record: &Value| match record["body"].as_str() {
            Some(body) => body.to_owned(),
            None if key(record).is_some() => key(record).expect("a key"),
            None => {
                let data = record["kinesis"]["data"].as_str().expect("data");
                String::from_utf8(BASE64.decode(data).expect("base64")).expect("text")
            }
        };
        let batch = |line: &str| {
            let event: Value = serde_json::from_str(line).expect("JSON");
            event["Records"].as_array().expect("records").iter().map(data).collect()
        };
        text.lines().map(batch).collect()
    }

    fn mapping(&self) -> Value {
        let cloud = &self.home.cloud;
        let caller = cloud.identities.administrator();
        let listed = now(cloud, &caller, "lambda", "ListEventSourceMappings", &json!({}));
        listed.expect("listed")["EventSourceMappings"][0].clone()
    }

    /// How reading went last.
    fn result(&self) -> String {
        self.mapping()["LastProcessingResult"].as_str().expect("a result").to_owned()
    }

    fn fails(&self, fails: bool) {
        let mark = self.out.with_extension("fails");
        match fails {
            true => std::fs::write(mark, "").expect("written"),
            false => std::fs::remove_file(mark).expect("removed"),
        }
    }

    /// Lets time pass until something has come about.
    async fn passing(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let clock = self.home.cloud.clock.clone();
        let mut ticks = 0;
        until(what, || {
            ticks += 1;
            if ticks % 10 == 0 {
                clock.advance(Duration::from_secs(10));
            }
            is_so()
        })
        .await;
    }
}

fn mapping(source: &str, more: Value) -> Value {
    let arn = if source == "Table" { "StreamArn" } else { "Arn" };
    let mut properties = json!({
        "FunctionName": { "Ref": "F" }, "EventSourceArn": { "Fn::GetAtt": [source, arn] },
    });
    let all = properties.as_object_mut().expect("properties");
    all.extend(more.as_object().cloned().unwrap_or_default());
    json!({ "M": { "Type": "AWS::Lambda::EventSourceMapping", "Properties": properties } })
}

#[tokio::test]
async fn a_batch_that_fails_holds_up_what_comes_after_it() {
    let sources =
        Sources::new(mapping("Stream", json!({ "StartingPosition": "TRIM_HORIZON" }))).await;
    sources.fails(true);
    sources.put(&["1"]).await;
    sources.passing("it is tried again", || sources.batches().len() > 3).await;
    sources.put(&["2", "3"]).await;
    sources.passing("and again", || sources.batches().len() > 5).await;
    assert!(sources.batches().iter().all(|batch| *batch == ["1"]), "{:?}", sources.batches());
    assert_eq!(sources.result(), "PROBLEM: Function call failed");
    sources.fails(false);
    let last = || sources.batches().last().cloned().unwrap_or_default();
    sources.passing("the rest comes", || last() == ["2", "3"]).await;
}

#[tokio::test]
async fn children_of_a_shard_come_after_it() {
    let sources = Sources::new(mapping(
        "Stream",
        json!({
            "StartingPosition": "TRIM_HORIZON", "ParallelizationFactor": 2,
        }),
    ))
    .await;
    sources.fails(true);
    let first: Vec<String> = (0..20).map(|i| format!("a{i}")).collect();
    sources.put(&first.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let split = json!({
        "StreamName": "events", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING",
    });
    sources.call("kinesis", "UpdateShardCount", split).await.expect("split");
    let second: Vec<String> = (0..20).map(|i| format!("b{i}")).collect();
    sources.put(&second.iter().map(String::as_str).collect::<Vec<_>>()).await;
    sources.passing("it was tried", || sources.batches().len() > 4).await;
    let seen = || sources.batches().concat();
    assert!(seen().iter().all(|data| data.starts_with('a')), "{:?}", seen());
    std::fs::remove_file(&sources.out).expect("removed");
    sources.fails(false);
    let all: Vec<&String> = first.iter().chain(&second).collect();
    sources.passing("all are there", || all.iter().all(|data| seen().contains(data))).await;
    let (begins, ends) = (
        seen().iter().position(|data| data.starts_with('b')).expect("a child"),
        seen().iter().rposition(|data| data.starts_with('a')).expect("a parent"),
    );
    assert!(ends < begins, "{:?}", seen());
}

#[tokio::test]
async fn a_mapping_that_is_made_anew_begins_anew_and_a_deleted_one_leaves_nothing() {
    let sources = Sources::new(json!({})).await;
    sources.put(&["1"]).await;
    let params = json!({
        "EventSourceArn": "arn:aws:kinesis:us-east-1:000000000000:stream/events",
        "FunctionName": "f", "StartingPosition": "TRIM_HORIZON",
    });
    for round in 1..3 {
        let made = sources.call("lambda", "CreateEventSourceMapping", params.clone()).await;
        assert_eq!(made.expect("made")["State"], "Creating");
        until("the record comes", || sources.batches().len() == round).await;
        sources.home.cloud.clock.advance(Duration::from_secs(1));
        let mapping = sources.mapping();
        assert_eq!(mapping["State"], "Enabled");
        let params = json!({ "UUID": mapping["UUID"] });
        let deleted = sources.call("lambda", "DeleteEventSourceMapping", params).await;
        assert_eq!(deleted.expect("deleted")["State"], "Deleting");
    }
    assert_eq!(sources.mapping(), Value::Null);
}

#[tokio::test]
async fn a_role_that_loses_its_rights_stops_reading_and_says_why() {
    let sources = Sources::new(mapping("Stream", json!({ "StartingPosition": "LATEST" }))).await;
    sources.put(&["1"]).await;
    until("the record comes", || sources.batches().len() == 1).await;
    let roles = &sources.home.cloud.services.iam.roles;
    let policies = roles.update("reader", |role| std::mem::take(&mut role.policies));
    let policies = policies.expect("stored").expect("the role");
    sources.put(&["2"]).await;
    sources.passing("it says why", || sources.result().contains("kinesis:GetRecords")).await;
    assert_eq!(sources.batches().len(), 1);
    roles.update("reader", |role| role.policies = policies).expect("stored");
    sources.passing("it goes on", || sources.batches().len() == 2).await;
}

#[tokio::test]
async fn messages_of_a_queue_that_failed_come_again() {
    let sources = Sources::new(mapping("Queue", json!({ "BatchSize": 1 }))).await;
    let url = steppe_cloud::services::sqs::url(&sources.home.cloud, "queue");
    sources.fails(true);
    let send = json!({ "QueueUrl": url, "MessageBody": "m" });
    sources.call("sqs", "SendMessage", send).await.expect("sent");
    sources.passing("it comes again", || sources.batches().len() > 1).await;
    sources.fails(false);
    let before = sources.batches().len();
    sources.passing("and is done", || sources.batches().len() > before).await;
    let names = json!(["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]);
    for _ in 0..3_000 {
        let params = json!({ "QueueUrl": url, "AttributeNames": names });
        let left = sources.call("sqs", "GetQueueAttributes", params).await.expect("attributes");
        let left = left["Attributes"].as_object().expect("attributes");
        if left.values().all(|count| count == "0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the message stays in the queue");
}

fn poisoned(source: &str) -> Value {
    let failed = json!({ "Destination": { "Fn::GetAtt": ["Failed", "Arn"] } });
    mapping(
        source,
        json!({
            "StartingPosition": "TRIM_HORIZON", "MaximumBatchingWindowInSeconds": 60,
            "BisectBatchOnFunctionError": true, "MaximumRetryAttempts": 1,
            "DestinationConfig": { "OnFailure": failed },
        }),
    )
}

/// A batch with a bad record is divided until that is alone; the others are done once, in order.
async fn check_bad_record(sources: &Sources, info: &str) {
    let good = || {
        let batches = sources.batches();
        let good = batches.into_iter().filter(|batch| !batch.contains(&"bad".to_owned()));
        good.flatten().collect::<Vec<String>>()
    };
    sources.passing("all others are done", || good().len() > 4).await;
    assert_eq!(good(), ["1", "2", "3", "4", "5"]);
    let alone = sources.batches().iter().filter(|batch| *batch == &["bad"]).count();
    assert_eq!(alone, 2, "it is tried once more");
    let told = sources.told().await;
    assert_eq!(told["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(told["requestContext"]["approximateInvokeCount"], 2);
    let batch = &told[info];
    assert_eq!(
        (&batch["batchSize"], &batch["streamArn"]),
        (&json!(1), &sources.mapping()["EventSourceArn"])
    );
    assert_eq!(batch["startSequenceNumber"], batch["endSequenceNumber"]);
}

#[tokio::test]
async fn a_bad_record_of_a_stream_is_left_alone_and_told_of() {
    let sources = Sources::new(poisoned("Stream")).await;
    sources.put(&["1", "2", "bad", "3", "4", "5"]).await;
    check_bad_record(&sources, "KinesisBatchInfo").await;
}

#[tokio::test]
async fn a_bad_change_of_a_table_is_left_alone_and_told_of() {
    let sources = Sources::new(poisoned("Table")).await;
    sources.put_items(&["1", "2", "bad", "3", "4", "5"]).await;
    check_bad_record(&sources, "DDBStreamBatchInfo").await;
}

#[tokio::test]
async fn changes_of_a_table_go_on_after_a_restart_where_they_were() {
    let sources =
        Sources::new(mapping("Table", json!({ "StartingPosition": "TRIM_HORIZON" }))).await;
    sources.put_items(&["a", "b"]).await;
    sources.passing("they come", || sources.batches().concat() == ["a", "b"]).await;
    sources.passing("and are done", || sources.result() == "OK").await;
    sources.fails(true);
    sources.put_items(&["c", "d"]).await;
    sources.passing("more is tried", || sources.batches().concat().contains(&"c".to_owned())).await;
    let again = sources.begun_again().await;
    let params = json!({ "UUID": sources.mapping()["UUID"] });
    sources.call("lambda", "DeleteEventSourceMapping", params).await.expect("deleted");
    std::fs::remove_file(&sources.out).expect("removed");
    sources.fails(false);
    let caller = again.cloud.identities.administrator();
    let params = json!({ "TableName": "items", "Item": { "pk": { "S": "e" } } });
    service::call(&again.cloud, &caller, "dynamodb", "PutItem", &params).await.expect("put");
    let last = || sources.batches().concat().last().cloned().unwrap_or_default();
    let clock = again.cloud.clock.clone();
    until("the rest comes", || {
        clock.advance(Duration::from_secs(1));
        last() == "e"
    })
    .await;
    let mut seen = sources.batches().concat();
    seen.dedup();
    assert!(seen.ends_with(&["c", "d", "e"].map(str::to_owned)), "{seen:?}");
    assert!(!seen.contains(&"a".to_owned()), "what was done is done: {seen:?}");
}
