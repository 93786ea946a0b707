//! Partitions that the API of Glue and state machines make, and queries that read them.

use serde_json::{Value, json};
use steppe_cloud::kernel::service;
use steppe_cloud::services::states;
use steppe_cloud::services::states::StateMachine;

use crate::catalogued::{BUCKET, Catalogued, DATABASE, JSON, table_input};

async fn start() -> Catalogued {
    let own = Catalogued::start().await;
    let mut input = table_input("runs", JSON, &[("n", "int")]);
    input["PartitionKeys"] = json!([{ "Name": "run", "Type": "string" }]);
    own.table("runs", input);
    own
}

fn input(run: &str) -> Value {
    json!({ "Values": [run], "StorageDescriptor": {
        "Columns": [{ "Name": "n", "Type": "int" }],
        "Location": format!("s3://{BUCKET}/runs/{run}/"),
        "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
        "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
        "SerdeInfo": { "SerializationLibrary": JSON },
    } })
}

async fn call(own: &Catalogued, operation: &str, more: Value) -> Result<Value, String> {
    let mut params = json!({ "DatabaseName": DATABASE, "TableName": "runs" });
    for (name, value) in more.as_object().expect("members") {
        params[name] = value.clone();
    }
    own.glue(operation, params).await.map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_once_read_changed_and_deleted() {
    let own = start().await;
    own.object("runs/a/x.json", b"{\"n\":1}\n{\"n\":2}\n");
    own.object("runs/b/x.json", b"{\"n\":3}\n");
    assert_eq!(own.table_of("SELECT count(*) FROM runs").await, "_col0\n0");
    let made = call(&own, "CreatePartition", json!({ "PartitionInput": input("a") })).await;
    assert_eq!(made, Ok(json!({})));
    let again = call(&own, "CreatePartition", json!({ "PartitionInput": input("a") })).await;
    assert_eq!(again, Err("AlreadyExistsException: Partition already exists.".to_owned()));
    let batch = json!({ "PartitionInputList": [input("a"), input("b")] });
    let made = call(&own, "BatchCreatePartition", batch).await.expect("made");
    assert_eq!(
        made,
        json!({ "Errors": [{
            "PartitionValues": ["a"],
            "ErrorDetail": {
                "ErrorCode": "AlreadyExistsException",
                "ErrorMessage": "Partition already exists.",
            },
        }] })
    );
    let sql = "SELECT run, sum(n) AS n FROM runs GROUP BY run ORDER BY run";
    assert_eq!(own.table_of(sql).await, "run|n\na|3\nb|3");
    let mut moved = input("a");
    moved["StorageDescriptor"]["Location"] = format!("s3://{BUCKET}/runs/b/").into();
    let update = |former: &str| json!({ "PartitionValueList": [former], "PartitionInput": moved });
    assert_eq!(call(&own, "UpdatePartition", update("a")).await, Ok(json!({})));
    let kept = call(&own, "UpdatePartition", update("b")).await.expect_err("refused");
    assert!(kept.contains("cannot be changed"), "{kept}");
    assert_eq!(own.table_of("SELECT sum(n) AS n FROM runs").await, "n\n6");
    let values = json!({ "PartitionValues": ["b"] });
    assert_eq!(call(&own, "DeletePartition", values.clone()).await, Ok(json!({})));
    let gone = Err("EntityNotFoundException: Cannot find partition.".to_owned());
    assert_eq!(call(&own, "DeletePartition", values).await, gone);
    assert_eq!(own.table_of(sql).await, "run|n\na|3");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_glue_or_athena_would_refuse_are_refused() {
    let own = start().await;
    let create = |input: Value| call(&own, "CreatePartition", json!({ "PartitionInput": input }));
    let with = |values: Value| {
        let mut changed = input("a");
        changed["Values"] = values;
        changed
    };
    for wrong in [json!([]), json!(["a", "b"]), json!([""]), json!(null)] {
        let refused = create(with(wrong.clone())).await.expect_err("refused");
        assert!(refused.starts_with("InvalidInputException"), "{wrong}: {refused}");
    }
    let count = create(with(json!(["a", "b"]))).await.expect_err("refused");
    assert!(count.ends_with("partition keys do not match the number of partition values"));
    // A batch with a partition that cannot be makes none.
    let batch = json!({ "PartitionInputList": [input("a"), with(json!([]))] });
    assert!(call(&own, "BatchCreatePartition", batch).await.is_err());
    let many: Vec<Value> = (0..101).map(|i| input(&i.to_string())).collect();
    let many = json!({ "PartitionInputList": many });
    assert!(call(&own, "BatchCreatePartition", many).await.is_err());
    let all = call(&own, "GetPartitions", json!({})).await.expect("a list");
    assert_eq!(all["Partitions"], json!([]));
    let reads = json!([{ "Effect": "Allow", "Action": "glue:Get*", "Resource": "*" }]);
    let caller = own.role("reader", "glue.amazonaws.com", &reads);
    let params =
        json!({ "DatabaseName": DATABASE, "TableName": "runs", "PartitionInput": input("a") });
    let denied = service::call(&own.cloud, &caller, "glue", "CreatePartition", &params).await;
    let denied = denied.expect_err("denied").message;
    assert!(denied.contains("glue:CreatePartition"), "{denied}");
    // Glue takes a partition without a format, but no query reads it.
    let mut bare = input("c");
    bare["StorageDescriptor"]["SerdeInfo"] = Value::Null;
    create(bare).await.expect("made");
    let refused = own.ask("SELECT * FROM runs").await.expect_err("refused");
    assert!(refused.contains("HIVE_UNSUPPORTED_FORMAT"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_machine_makes_partitions_and_catches_those_that_exist() {
    let own = start().await;
    own.role(
        "machine",
        "states.amazonaws.com",
        &json!([{ "Effect": "Allow", "Action": "glue:*Partition", "Resource": "*" }]),
    );
    let task = |operation: &str, arguments: Value, next: &str| {
        json!({
            "Type": "Task", "Next": next,
            "Resource": format!("arn:aws:states:::aws-sdk:glue:{operation}"),
            "Arguments": arguments,
            "Catch": [{ "ErrorEquals": ["Glue.AlreadyExistsException"], "Next": "There" }],
        })
    };
    let names = json!({ "DatabaseName": DATABASE, "TableName": "runs" });
    let (mut one, mut many) = (names.clone(), names);
    one["PartitionInput"] = input("a");
    many["PartitionInputList"] = json!([input("a"), input("b")]);
    let definition = json!({ "QueryLanguage": "JSONata", "StartAt": "Many", "States": {
        "Many": task("batchCreatePartition", many, "One"),
        "One": task("createPartition", one, "Made"),
        "Made": { "Type": "Fail", "Error": "Made" },
        "There": { "Type": "Succeed", "Output": "there" },
    } });
    assert_eq!(states::check(&definition), Ok(()));
    let machine = StateMachine {
        name: "m".to_owned(),
        role: "arn:aws:iam::000000000000:role/machine".to_owned(),
        definition,
        created: jiff::Timestamp::now(),
    };
    let arn = own.cloud.config.arn("states", "stateMachine:m");
    own.cloud.services.states.machines.put(&arn, machine).expect("stored");
    let params = json!({ "stateMachineArn": arn });
    let started =
        service::call(&own.cloud, &own.administrator(), "states", "StartExecution", &params).await;
    let id = started.expect("started")["executionArn"].as_str().expect("an ARN").to_owned();
    let ended = loop {
        let execution = own.cloud.services.states.executions.get(&id).expect("the execution");
        if execution.stopped.is_some() {
            break execution;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(ended.output, Some(json!("there")), "{:?}", ended.failure);
}
