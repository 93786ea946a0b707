//! Redrives: what did not succeed goes on where it was, what did is not done again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::Cloud;
use steppe_cloud::services::glue::crawlers;

use crate::catalogued::{BUCKET, DATABASE, JSON, table_input};
use crate::machines::{
    Machines, call, children, definition, distributed, ended, events, failure, history, least,
    map_run,
};

/// A state that makes a partition named by `value`, which fails when it is there already.
fn makes(value: &str, next: &str) -> Value {
    json!({
        "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:glue:createPartition", "Next": next,
        "Arguments": {
            "DatabaseName": DATABASE, "TableName": "done",
            "PartitionInput": { "Values": [value] },
        },
        "Output": "{% $states.input %}",
    })
}

/// A state that fails until there is a crawler named by `value`.
fn needs(value: &str, more: Value) -> Value {
    let mut state = json!({
        "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:glue:getCrawler",
        "Arguments": { "Name": value },
    });
    for (name, value) in more.as_object().expect("fields") {
        state[name] = value.clone();
    }
    state
}

fn make_crawler(cloud: &Cloud, name: &str) {
    let members = json!({
        "Role": "arn:aws:iam::000000000000:role/machine", "DatabaseName": DATABASE,
        "Targets": { "S3Targets": [{ "Path": format!("s3://{BUCKET}/raw/") }] },
    });
    crawlers::put(cloud, name, &members).expect("made");
}

async fn start(definition: Value) -> Machines {
    let own = Machines::new(definition).await;
    let mut input = table_input("done", JSON, &[("n", "int")]);
    input["PartitionKeys"] = json!([{ "Name": "item", "Type": "string" }]);
    own.table("done", input);
    own
}

fn done(cloud: &Cloud) -> Vec<String> {
    let partitions = steppe_cloud::services::glue::partitions::of(cloud, DATABASE, "done");
    partitions.iter().map(|p| p.values().join("/")).collect()
}

/// Children that make a partition each and then need a crawler each; `b` has none at first.
fn items() -> Value {
    json!({
        "A": makes("{% $states.input %}", "B"),
        "B": needs("{% $states.input %}", given()),
    })
}

/// A state that ends with its input.
fn given() -> Value {
    json!({ "Output": "{% $states.input %}", "End": true })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_goes_on_at_the_state_that_failed_with_its_variables() {
    let states = json!({
        "V": { "Type": "Pass", "Assign": { "v": [5] }, "Output": "x", "Next": "A" },
        "A": makes("a", "B"),
        "B": needs("late", json!({
            "Assign": { "w": "{% $v[0] + 1 %}" },
            "Output": "{% $states.context.Execution.RedriveCount %}",
            "Retry": [{ "ErrorEquals": ["States.ALL"], "MaxAttempts": 1, "IntervalSeconds": 1 }],
            "Next": "C",
        })),
        "C": {
            "Type": "Pass", "End": true,
            "Output": ["{% $v %}", "{% $w %}", "{% $states.input %}"],
        },
    });
    let own = start(definition("V", states)).await;
    let (arn, execution) = own.run(json!({})).await;
    assert_eq!(failure(&execution).1, "Glue.EntityNotFoundException");
    let described = call(&own.cloud, "DescribeExecution", json!({ "executionArn": arn })).await;
    let described = described.expect("described");
    assert_eq!(
        (&described["redriveStatus"], &described["redriveCount"]),
        (&json!("REDRIVABLE"), &json!(0))
    );
    assert!(described.get("redriveDate").is_none());
    let before = history(&own.cloud, &arn).await;
    // Another definition and failed redrives change nothing of it.
    own.define(definition("V", json!({ "V": { "Type": "Succeed" } })));
    assert_eq!(own.redrive(&arn).await.status, "FAILED");
    make_crawler(&own.cloud, "late");
    let token = json!({ "executionArn": arn, "clientToken": "t" });
    let first = call(&own.cloud, "RedriveExecution", token.clone()).await.expect("redriven");
    let execution = ended(&own.cloud, &arn).await;
    assert_eq!(execution.output, Some(json!([[5], 6, 2])), "{:?}", execution.failure);
    assert_eq!(done(&own.cloud), ["a"]);
    // The same token is the same request.
    assert_eq!(call(&own.cloud, "RedriveExecution", token).await, Ok(first));
    let after = history(&own.cloud, &arn).await;
    assert_eq!(after[..before.len()], before[..]);
    let ids: Vec<u64> = after.iter().filter_map(|e| e["id"].as_u64()).collect();
    assert_eq!(ids, (1..=after.len() as u64).collect::<Vec<_>>());
    assert_eq!(
        events(&own.cloud, &arn).await[after.len() - 8..],
        [
            "ExecutionRedriven",
            "TaskScheduled",
            "TaskStarted",
            "TaskSucceeded",
            "TaskStateExited",
            "PassStateEntered",
            "PassStateExited",
            "ExecutionSucceeded"
        ]
    );
    let redriven = &after[after.len() - 8]["executionRedrivenEventDetails"];
    assert_eq!(redriven["redriveCount"], 2);
    let again = call(&own.cloud, "RedriveExecution", json!({ "executionArn": arn })).await;
    let words = "ExecutionNotRedrivable: Execution is SUCCEEDED and cannot be redriven";
    assert_eq!(again, Err(words.to_owned()));
    let described = call(&own.cloud, "DescribeExecution", json!({ "executionArn": arn })).await;
    let described = described.expect("described");
    assert_eq!(described["redriveStatus"], "NOT_REDRIVABLE");
    assert_eq!(described["redriveCount"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn iterations_and_branches_that_succeeded_are_kept() {
    let branch = |start: &str, states: Value| json!({ "StartAt": start, "States": states });
    let map = json!({
        "Type": "Map", "Next": "P", "MaxConcurrency": 1,
        "ItemProcessor": { "StartAt": "A", "States": items() },
    });
    let parallel = json!({
        "Type": "Parallel", "End": true,
        "Branches": [
            branch("X", json!({ "X": makes("x", "Y"), "Y": { "Type": "Succeed", "Output": 1 } })),
            branch("Z", json!({ "Z": needs("z", given()) })),
        ],
    });
    let own = start(definition("M", json!({ "M": map, "P": parallel }))).await;
    make_crawler(&own.cloud, "a");
    make_crawler(&own.cloud, "c");
    let (arn, execution) = own.run(json!(["a", "b", "c"])).await;
    assert_eq!(failure(&execution).1, "Glue.EntityNotFoundException");
    assert_eq!(done(&own.cloud), ["a", "b"]);
    make_crawler(&own.cloud, "b");
    let execution = own.redrive(&arn).await;
    assert_eq!(failure(&execution).1, "Glue.EntityNotFoundException", "of z");
    make_crawler(&own.cloud, "z");
    let execution = own.redrive(&arn).await;
    assert_eq!(execution.output, Some(json!([1, ["a", "b", "c"]])), "{:?}", execution.failure);
    assert_eq!(done(&own.cloud), ["a", "b", "c", "x"]);
    let seen = events(&own.cloud, &arn).await;
    let count = |kind: &str| seen.iter().filter(|seen| *seen == kind).count();
    assert_eq!(count("MapIterationStarted"), 3);
    assert_eq!((count("MapIterationFailed"), count("MapIterationSucceeded")), (1, 3));
    assert_eq!((count("MapStateStarted"), count("ParallelStateStarted")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_that_had_too_much_data_begins_anew() {
    let map = json!({
        "Type": "Map", "Items": "{% [1..40] %}", "End": true,
        "ItemProcessor": { "StartAt": "B", "States": {
            "B": { "Type": "Pass", "Output": "{% $pad('', 7000, 'x') %}", "End": true },
        } },
    });
    let own = start(definition("M", json!({ "M": map }))).await;
    let (arn, execution) = own.run(json!({})).await;
    assert_eq!(failure(&execution).1, "States.DataLimitExceeded");
    let execution = own.redrive(&arn).await;
    assert_eq!(failure(&execution).1, "States.DataLimitExceeded");
    let seen = events(&own.cloud, &arn).await;
    assert_eq!(seen.iter().filter(|kind| *kind == "MapStateStarted").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_took_too_long_has_its_time_again() {
    let retry = json!([{ "ErrorEquals": ["States.ALL"], "IntervalSeconds": 3_600 }]);
    let states = json!({ "B": needs("late", json!({ "Retry": retry, "Output": 1, "End": true })) });
    let mut definition = definition("B", states);
    definition["TimeoutSeconds"] = 1.into();
    let own = start(definition).await;
    let (arn, execution) = own.run(json!({})).await;
    assert_eq!((failure(&execution).0, failure(&execution).1), ("TIMED_OUT", "States.Timeout"));
    make_crawler(&own.cloud, "late");
    assert_eq!(own.redrive(&arn).await.output, Some(json!(1)));
}

fn run_of_items() -> Value {
    let more = json!({
        "MaxConcurrency": 2,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": { "InputType": "JSONL" },
            "Arguments": { "Bucket": BUCKET, "Key": "in/items.jsonl" },
        },
        "ToleratedFailurePercentage": 0,
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Arguments": { "Bucket": BUCKET, "Prefix": "out" },
        },
    });
    definition("M", json!({ "M": distributed(items(), more) }))
}

/// What the children gave, as the manifest of a run names it, in the order of the items.
fn results(own: &Machines, run: &Value, kind: &str) -> Vec<Value> {
    let id = run["mapRunArn"].as_str().and_then(|arn| arn.rsplit(':').next()).expect("an ID");
    let manifest = own.json(&format!("out/{id}/manifest.json"));
    let files = manifest["ResultFiles"][kind].as_array().cloned().expect("files");
    let read = |file: Value| own.json(file["Key"].as_str().expect("a key"));
    let all = files.into_iter().flat_map(|file| read(file).as_array().cloned().expect("results"));
    all.map(|result| result["Input"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_run_redrives_what_did_not_succeed_and_each_item_is_done_once() {
    let mut one_by_one = run_of_items();
    // A child that is stopped within a task may have done it, and would do it again.
    one_by_one["States"]["M"]["MaxConcurrency"] = 1.into();
    let own = start(one_by_one).await;
    own.object("in/items.jsonl", b"\"a\"\n\"b\"\n\"c\"\n\"d\"\n\"e\"\n");
    for name in ["a", "c", "d", "e"] {
        make_crawler(&own.cloud, name);
    }
    let (arn, execution) = own.run(json!({})).await;
    assert_eq!(failure(&execution).1, "States.ExceedToleratedFailureThreshold");
    let run = map_run(&own.cloud, &arn).await;
    assert_eq!(
        (&run["itemCounts"]["failed"], &run["itemCounts"]["pending"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(results(&own, &run, "FAILED").first(), Some(&json!("\"b\"")));
    let child = children(&own.cloud, &run, json!({ "statusFilter": "FAILED" })).await.remove(0);
    let child_arn = json!({ "executionArn": child["executionArn"] });
    let of_child =
        call(&own.cloud, "DescribeExecution", child_arn.clone()).await.expect("described");
    assert_eq!(of_child["redriveStatus"], "REDRIVABLE_BY_MAP_RUN");
    let refused = call(&own.cloud, "RedriveExecution", child_arn.clone()).await;
    assert!(refused.expect_err("refused").starts_with("ValidationException"));
    // The items are those of the first attempt, whatever the file says now.
    own.object("in/items.jsonl", b"\"other\"\n");
    make_crawler(&own.cloud, "b");
    // The role must be allowed to redrive children.
    let without: Vec<Value> = least()
        .into_iter()
        .filter(|statement| statement["Action"] != json!(["states:RedriveExecution"]))
        .collect();
    own.may(&without);
    let execution = own.redrive(&arn).await;
    let (_, error, cause) = failure(&execution);
    assert_eq!(error, "States.Permissions");
    assert!(cause.contains("states:RedriveExecution"), "{cause}");
    own.may(&least());
    let execution = own.redrive(&arn).await;
    assert_eq!(execution.status, "SUCCEEDED", "{:?}", execution.failure);
    assert_eq!(done(&own.cloud), ["a", "b", "c", "d", "e"]);
    let after = map_run(&own.cloud, &arn).await;
    assert_eq!(after["mapRunArn"], run["mapRunArn"]);
    assert_eq!((&after["status"], &after["redriveCount"]), (&json!("SUCCEEDED"), &json!(2)));
    assert_eq!(after["itemCounts"]["succeeded"], 5);
    assert_eq!(after["executionCounts"]["total"], 5);
    assert_eq!(results(&own, &run, "SUCCEEDED").len(), 5);
    assert!(results(&own, &run, "FAILED").is_empty());
    let listed = children(&own.cloud, &after, json!({ "redriveFilter": "REDRIVEN" })).await;
    assert!(listed.iter().any(|listed| listed["executionArn"] == child["executionArn"]));
    let all = children(&own.cloud, &after, json!({})).await;
    assert_eq!(all.len(), 5);
    let of_child = call(&own.cloud, "DescribeExecution", child_arn).await.expect("described");
    assert_eq!((&of_child["redriveCount"], &of_child["status"]), (&json!(1), &json!("SUCCEEDED")));
    let seen = history(&own.cloud, &arn).await;
    let redriven: Vec<&Value> = seen.iter().filter(|e| e["type"] == "MapRunRedriven").collect();
    let counts: Vec<&Value> =
        redriven.iter().map(|e| &e["mapRunRedrivenEventDetails"]["redriveCount"]).collect();
    assert_eq!(counts, [&json!(1), &json!(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_failed_is_asked_again() {
    let own = start(run_of_items()).await;
    let (arn, execution) = own.run(json!({})).await;
    assert_eq!(failure(&execution).1, "States.ItemReaderFailed");
    let run = map_run(&own.cloud, &arn).await;
    own.object("in/items.jsonl", b"\"a\"\n");
    make_crawler(&own.cloud, "a");
    let execution = own.redrive(&arn).await;
    assert_eq!(execution.status, "SUCCEEDED", "{:?}", execution.failure);
    assert_eq!(map_run(&own.cloud, &arn).await["mapRunArn"], run["mapRunArn"]);
    assert_eq!(done(&own.cloud), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_parent_was_stopped_is_redriven() {
    let own = start(run_of_items()).await;
    own.object("in/items.jsonl", b"\"a\"\n\"b\"\n\"c\"\n");
    for name in ["a", "c"] {
        make_crawler(&own.cloud, name);
    }
    let mut stubborn = items();
    stubborn["B"]["Retry"] = json!([{ "ErrorEquals": ["States.ALL"], "IntervalSeconds": 3_600 }]);
    let mut definition = run_of_items();
    definition["States"]["M"]["ItemProcessor"]["States"] = stubborn;
    own.define(definition);
    let arn = own.begin(json!({})).await;
    wait_until_one_waits(&own.cloud, &arn).await;
    let stop = json!({ "executionArn": arn });
    call(&own.cloud, "StopExecution", stop).await.expect("stopped");
    ended(&own.cloud, &arn).await;
    make_crawler(&own.cloud, "b");
    let execution = own.redrive(&arn).await;
    assert_eq!(execution.status, "SUCCEEDED", "{:?}", execution.failure);
    assert_eq!(done(&own.cloud), ["a", "b", "c"]);
}

/// Waits until `a` and `c` are done and `b` waits for its next attempt.
async fn wait_until_one_waits(cloud: &Arc<Cloud>, arn: &str) {
    for _ in 0..6_000 {
        let params = json!({ "executionArn": arn });
        let runs = call(cloud, "ListMapRuns", params).await.expect("a list");
        if runs["mapRuns"].as_array().is_some_and(|runs| !runs.is_empty()) {
            let run = map_run(cloud, arn).await;
            let running = children(cloud, &run, json!({ "statusFilter": "RUNNING" })).await;
            if run["executionCounts"]["succeeded"] == 2
                && let [one] = running.as_slice()
            {
                let child = one["executionArn"].as_str().expect("an ARN");
                if events(cloud, child).await.last().map(String::as_str) == Some("TaskFailed") {
                    return;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the children do not come to where they should");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_a_kill_cut_off_before_its_event_is_made() {
    let own = start(definition("B", json!({ "B": needs("late", given()) }))).await;
    let (arn, execution) = own.run(json!({})).await;
    assert_eq!(execution.status, "FAILED");
    make_crawler(&own.cloud, "late");
    let begun = own.cloud.services.states.executions.update(&arn, |execution| {
        (execution.status, execution.stopped) = ("RUNNING".to_owned(), None);
        (execution.redrives, execution.redriven) = (1, Some(jiff::Timestamp::now()));
    });
    begun.expect("stored").expect("the execution");
    let (_left, cloud) = own.left();
    assert_eq!(ended(&cloud, &arn).await.status, "SUCCEEDED");
    let kinds = events(&cloud, &arn).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "ExecutionRedriven").count(), 1, "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_cloud_goes_on_with_its_map_run() {
    let mut definition = run_of_items();
    definition["States"]["M"]["ItemProcessor"]["States"]["B"]["Retry"] =
        json!([{ "ErrorEquals": ["States.ALL"], "IntervalSeconds": 3_600 }]);
    let own = start(definition).await;
    own.object("in/items.jsonl", b"\"a\"\n\"b\"\n\"c\"\n");
    for name in ["a", "c"] {
        make_crawler(&own.cloud, name);
    }
    let arn = own.begin(json!({})).await;
    wait_until_one_waits(&own.cloud, &arn).await;
    let run = map_run(&own.cloud, &arn).await["mapRunArn"].clone();
    let (_left, cloud) = own.left();
    make_crawler(&cloud, "b");
    cloud.clock.advance(Duration::from_secs(3_600));
    let execution = ended(&cloud, &arn).await;
    assert_eq!(execution.status, "SUCCEEDED", "{:?}", execution.failure);
    assert_eq!(done(&cloud), ["a", "b", "c"]);
    let after = map_run(&cloud, &arn).await;
    assert_eq!(after["mapRunArn"], run);
    assert_eq!((&after["redriveCount"], &after["itemCounts"]["succeeded"]), (&json!(0), &json!(3)));
    let seen = history(&cloud, &arn).await;
    let kinds: Vec<_> = seen.iter().filter_map(|event| event["type"].as_str()).collect();
    let once = |kind: &str| kinds.iter().filter(|k| **k == kind).count() == 1;
    assert!(once("MapRunStarted") && once("MapStateEntered") && once("ExecutionStarted"));
    assert!(!kinds.iter().any(|k| k.contains("Redriven") || k.contains("Aborted")), "{kinds:?}");
    let ids: Vec<u64> = seen.iter().filter_map(|e| e["id"].as_u64()).collect();
    assert_eq!(ids, (1..=seen.len() as u64).collect::<Vec<_>>());
}
