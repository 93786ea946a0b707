//! Distributed Maps: items out of S3, batches, children, tolerance, results, permissions, stops.

use std::time::Duration;

use serde_json::{Value, json};

use crate::catalogued::BUCKET;
use crate::machines::{
    Machines, call, children, definition, distributed, ended, events, failure, history, least,
    map_run,
};

/// A child that gives its input back.
fn echo() -> Value {
    json!({ "A": { "Type": "Pass", "End": true } })
}

/// A child that fails for the item `true`, and gives `{"was": ITEM}` else.
fn picky() -> Value {
    json!({
        "A": {
            "Type": "Choice", "Default": "C",
            "Choices": [{ "Condition": "{% $states.input = true %}", "Next": "B" }],
        },
        "B": { "Type": "Fail", "Error": "Bad", "Cause": "a bad item" },
        "C": { "Type": "Pass", "Output": { "was": "{% $states.input %}" }, "End": true },
    })
}

fn reader(config: Value) -> Value {
    json!({
        "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": config,
        "Arguments": { "Bucket": BUCKET, "Key": "{% $states.input.key %}" },
    })
}

fn writer() -> Value {
    json!({
        "Resource": "arn:aws:states:::s3:putObject",
        "Arguments": { "Bucket": BUCKET, "Prefix": "out/jobs" },
    })
}

fn only(map: Value) -> Value {
    definition("M", json!({ "M": map }))
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_read_from_files_and_lists() {
    let cases = [
        ("in/a.jsonl", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", json!({ "InputType": "JSONL" })),
        (
            "in/a.json",
            "{\"x\":[{\"a\":1},{\"a\":2},{\"a\":3}]}",
            json!({ "InputType": "JSON", "ItemsPointer": "/x" }),
        ),
        (
            "in/a.csv",
            "a\n1\n2\n3\n",
            json!({ "InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW" }),
        ),
        (
            "in/b.csv",
            "1;x\n2;y\n3;z\n",
            json!({
                "InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["a"],
                "CSVDelimiter": "SEMICOLON",
            }),
        ),
    ];
    let own = Machines::new(only(distributed(echo(), json!({})))).await;
    for (key, text, mut config) in cases {
        own.object(key, text.as_bytes());
        config["MaxItems"] = 2.into();
        let more = json!({
            "ItemReader": reader(config),
            "ItemSelector": {
                "n": "{% $number($states.context.Map.Item.Value.a) %}",
                "at": "{% $states.context.Map.Item.Index %}",
            },
        });
        own.define(only(distributed(echo(), more)));
        let (_, execution) = own.run(json!({ "key": key })).await;
        let expected = json!([{ "n": 1, "at": 0 }, { "n": 2, "at": 1 }]);
        assert_eq!(execution.output, Some(expected), "{key}: {:?}", execution.failure);
    }
    let listing = json!({
        "Resource": "arn:aws:states:::s3:listObjectsV2",
        "Arguments": { "Bucket": BUCKET, "Prefix": "in/a." },
    });
    let more = json!({ "ItemReader": listing, "Output": "{% $states.result.Key %}" });
    own.define(only(distributed(echo(), more)));
    let (_, execution) = own.run(json!({})).await;
    assert_eq!(execution.output, Some(json!(["in/a.csv", "in/a.json", "in/a.jsonl"])));
    own.define(only(distributed(
        echo(),
        json!({ "ItemReader": reader(json!({ "InputType": "JSONL" })) }),
    )));
    for (key, why) in [
        ("in/none", "The specified key does not exist."),
        ("in/a.json", "line 1 is no JSON"),
        ("in/a.jsonl.gz", "no compressed items"),
        ("other", "not authorized to perform: s3:GetObject"),
    ] {
        if key == "in/a.json" {
            own.object(key, b"{");
        }
        let (arn, execution) = own.run(json!({ "key": key })).await;
        let (status, error, cause) = failure(&execution);
        assert_eq!((status, error), ("FAILED", "States.ItemReaderFailed"));
        assert!(cause.contains(why), "{cause}");
        let last = events(&own.cloud, &arn).await;
        assert_eq!(
            last[2..],
            [
                "MapStateStarted",
                "MapRunStarted",
                "MapRunFailed",
                "MapStateFailed",
                "ExecutionFailed"
            ]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_are_executions_with_histories_of_their_own() {
    let states = json!({
        "A": { "Type": "Pass", "Output": { "context": "{% $states.context %}" }, "End": true },
    });
    let fixed = json!({ "day": "{% $states.input[0] %}" });
    let more = json!({ "ItemBatcher": { "MaxItemsPerBatch": 2, "BatchInput": fixed } });
    let own = Machines::new(only(distributed(states, more))).await;
    let (arn, execution) = own.run(json!([7, 8, 9])).await;
    let outputs = execution.output.expect("an output");
    assert_eq!(outputs.as_array().map(Vec::len), Some(2));
    assert_eq!(
        events(&own.cloud, &arn).await,
        [
            "ExecutionStarted",
            "MapStateEntered",
            "MapStateStarted",
            "MapRunStarted",
            "MapRunSucceeded",
            "MapStateSucceeded",
            "MapStateExited",
            "ExecutionSucceeded"
        ]
    );
    let run = map_run(&own.cloud, &arn).await;
    let run_arn = run["mapRunArn"].as_str().expect("an ARN");
    assert!(run_arn.starts_with("arn:aws:states:us-east-1:000000000000:mapRun:m/items:"));
    assert_eq!(run["status"], "SUCCEEDED");
    assert_eq!(run["itemCounts"]["succeeded"], 3);
    assert_eq!(run["executionCounts"]["succeeded"], 2);
    assert_eq!(run["executionCounts"]["total"], 2);
    assert_eq!(run["redriveCount"], 0);
    let listed = children(&own.cloud, &run, json!({})).await;
    assert_eq!(listed.len(), 2);
    let mut items: Vec<u64> = listed.iter().filter_map(|c| c["itemCount"].as_u64()).collect();
    items.sort_unstable();
    assert_eq!(items, [1, 2]);
    for child in &listed {
        let child_arn = child["executionArn"].as_str().expect("an ARN");
        assert!(child_arn.contains(":execution:m/items:"), "{child_arn}");
        assert_eq!(child["mapRunArn"], run_arn);
        let params = json!({ "executionArn": child_arn });
        let described = call(&own.cloud, "DescribeExecution", params).await.expect("described");
        assert_eq!(described["mapRunArn"], run_arn);
        assert_eq!(described["status"], "SUCCEEDED");
        assert!(described["stateMachineArn"].as_str().is_some_and(|m| m.ends_with(":m/items")));
        let input: Value =
            serde_json::from_str(described["input"].as_str().expect("an input")).expect("JSON");
        assert_eq!(input["BatchInput"], json!({ "day": 7 }));
        let output: Value =
            serde_json::from_str(described["output"].as_str().expect("an output")).expect("JSON");
        assert_eq!(output["context"]["Execution"]["Id"], child_arn);
        assert_eq!(output["context"]["Execution"]["Input"], input);
        assert_eq!(output["context"]["StateMachine"]["Name"], "m/items");
        let of_child = events(&own.cloud, child_arn).await;
        assert_eq!(
            of_child,
            ["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"]
        );
    }
    let own_list = json!({ "stateMachineArn": own.arn() });
    let list = call(&own.cloud, "ListExecutions", own_list).await.expect("a list");
    assert_eq!(list["executions"].as_array().map(Vec::len), Some(1), "no children");
    let shown = history(&own.cloud, &arn).await;
    assert!(
        shown.iter().all(|e| e.as_object().is_some_and(|e| !e.keys().any(|k| k.starts_with('_'))))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tolerated_up_to_the_limit_and_not_beyond() {
    let own = Machines::new(only(distributed(picky(), json!({})))).await;
    let items = |bad: usize| -> Value {
        (0..10).map(|i| if i < bad { json!(true) } else { json!(i) }).collect()
    };
    for (limits, bad, succeeds) in [
        (json!({}), 0, true),
        (json!({}), 1, false),
        (json!({ "ToleratedFailurePercentage": 0 }), 1, false),
        (json!({ "ToleratedFailurePercentage": 20 }), 2, true),
        (json!({ "ToleratedFailurePercentage": 20 }), 3, false),
        (json!({ "ToleratedFailurePercentage": 100 }), 10, true),
        (json!({ "ToleratedFailureCount": 2 }), 2, true),
        (json!({ "ToleratedFailureCount": 2 }), 3, false),
        (json!({ "ToleratedFailureCount": 5, "ToleratedFailurePercentage": 10 }), 2, false),
    ] {
        own.define(only(distributed(picky(), limits.clone())));
        let (arn, execution) = own.run(items(bad)).await;
        let run = map_run(&own.cloud, &arn).await;
        assert_eq!(execution.status == "SUCCEEDED", succeeds, "{limits} {bad}");
        assert_eq!(run["status"], if succeeds { "SUCCEEDED" } else { "FAILED" });
        if !succeeds {
            let expected = (
                "FAILED",
                "States.ExceedToleratedFailureThreshold",
                "The specified tolerated failure threshold was exceeded",
            );
            assert_eq!(failure(&execution), expected);
            continue;
        }
        assert_eq!(run["itemCounts"]["failed"], bad);
        let output = execution.output.expect("an output");
        assert_eq!(output.as_array().map(Vec::len), Some(10));
        for (at, given) in output.as_array().into_iter().flatten().enumerate() {
            match at < bad {
                true => assert_eq!(
                    (&given["Status"], &given["Error"]),
                    (&json!("FAILED"), &json!("Bad"))
                ),
                false => assert_eq!(given, &json!({ "was": at })),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_written_with_a_manifest() {
    let more = json!({
        "MaxConcurrency": 1, "ToleratedFailureCount": 1, "ResultWriter": writer(), "Next": "Count",
    });
    let states = json!({
        "M": distributed(picky(), more),
        "Count": {
            "Type": "Pass", "Output": "{% $states.input.ResultWriterDetails.Key %}", "End": true,
        },
    });
    let own = Machines::new(definition("M", states)).await;
    let (arn, execution) = own.run(json!([1, true, 2])).await;
    let key = execution.output.expect("an output");
    let run = map_run(&own.cloud, &arn).await;
    let run_arn = run["mapRunArn"].as_str().expect("an ARN");
    let folder = format!("out/jobs/{}", run_arn.rsplit(':').next().expect("an ID"));
    assert_eq!(key, format!("{folder}/manifest.json"));
    let manifest = own.json(&format!("{folder}/manifest.json"));
    let size = |file: &str| {
        own.cloud.services.s3.head(BUCKET, &format!("{folder}/{file}")).expect("there").size
    };
    assert_eq!(
        manifest,
        json!({
            "DestinationBucket": BUCKET, "MapRunArn": run_arn,
            "ResultFiles": {
                "FAILED": [{
                    "Key": format!("{folder}/FAILED_0.json"), "Size": size("FAILED_0.json"),
                }],
                "PENDING": [],
                "SUCCEEDED": [{
                    "Key": format!("{folder}/SUCCEEDED_0.json"), "Size": size("SUCCEEDED_0.json"),
                }],
            },
        })
    );
    let succeeded = own.json(&format!("{folder}/SUCCEEDED_0.json"));
    assert_eq!(succeeded.as_array().map(Vec::len), Some(2));
    assert_eq!(succeeded[0]["Output"], "{\"was\":1}");
    assert_eq!(succeeded[0]["Input"], "1");
    assert_eq!(
        succeeded[0]["RedriveStatusReason"],
        "Execution is SUCCEEDED and cannot be redriven"
    );
    let failed = own.json(&format!("{folder}/FAILED_0.json"));
    assert_eq!((&failed[0]["Error"], &failed[0]["Cause"]), (&json!("Bad"), &json!("a bad item")));
    assert_eq!(run["executionCounts"]["resultsWritten"], 3);

    // A run that fails writes what it has, and what it did not begin.
    let more = json!({ "MaxConcurrency": 1, "ResultWriter": writer() });
    own.define(only(distributed(picky(), more)));
    let (arn, execution) = own.run(json!([1, true, 2, 3])).await;
    assert_eq!(failure(&execution).1, "States.ExceedToleratedFailureThreshold");
    let run = map_run(&own.cloud, &arn).await;
    assert_eq!(run["itemCounts"]["pending"], 2);
    let run_arn = run["mapRunArn"].as_str().expect("an ARN");
    let folder = format!("out/jobs/{}", run_arn.rsplit(':').next().expect("an ID"));
    let pending = own.json(&format!("{folder}/PENDING_0.json"));
    let whole = json!({ "Included": true });
    let one = |input: &str| json!({ "Input": input, "InputDetails": whole, "Status": "PENDING" });
    assert_eq!(pending, json!([one("2"), one("3")]));

    let flat = json!({ "WriterConfig": { "Transformation": "FLATTEN", "OutputType": "JSON" } });
    own.define(only(distributed(echo(), json!({ "ResultWriter": flat }))));
    let (_, execution) = own.run(json!([[1, 2], 3, []])).await;
    assert_eq!(execution.output, Some(json!([1, 2, 3])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_role_may_not_do_fails_the_map() {
    let more =
        json!({ "ItemReader": reader(json!({ "InputType": "JSONL" })), "ResultWriter": writer() });
    let own = Machines::new(only(distributed(echo(), more))).await;
    own.object("in/a.jsonl", b"1\n");
    let input = json!({ "key": "in/a.jsonl" });
    let (_, execution) = own.run(input.clone()).await;
    assert_eq!(execution.status, "SUCCEEDED", "{:?}", execution.failure);
    for (action, error) in [
        ("states:StartExecution", "States.Permissions"),
        ("states:DescribeExecution", "States.Permissions"),
        ("s3:GetObject", "States.ResultWriterFailed"),
        ("s3:PutObject", "States.ResultWriterFailed"),
        ("s3:AbortMultipartUpload", "States.ResultWriterFailed"),
    ] {
        let mut statements = least();
        for statement in &mut statements {
            let actions = statement["Action"].as_array_mut().expect("actions");
            actions.retain(|a| a != action);
        }
        statements.retain(|s| s["Action"] != json!([]));
        own.may(&statements);
        let (arn, execution) = own.run(input.clone()).await;
        let (_, seen, cause) = failure(&execution);
        assert_eq!(seen, error, "{action}: {cause}");
        assert!(cause.contains(action), "{cause}");
        let runs = call(&own.cloud, "ListMapRuns", json!({ "executionArn": arn })).await;
        for run in runs.expect("a list")["mapRuns"].as_array().into_iter().flatten() {
            assert!(children(&own.cloud, run, json!({})).await.is_empty(), "{action}");
        }
    }
    // The bucket of the results must be there.
    own.may(&[json!({ "Effect": "Allow", "Action": "*", "Resource": "*" })]);
    let mut elsewhere = writer();
    elsewhere["Arguments"]["Bucket"] = "nowhere".into();
    own.define(only(distributed(echo(), json!({ "ResultWriter": elsewhere }))));
    let (_, execution) = own.run(json!([1])).await;
    assert_eq!(failure(&execution).1, "States.ResultWriterFailed");
}

#[tokio::test(flavor = "multi_thread")]
async fn children_stop_with_their_parent_and_what_they_did_is_written() {
    let wait = json!({ "A": { "Type": "Wait", "Seconds": 3_600, "End": true } });
    let more = json!({ "MaxConcurrency": 2, "ResultWriter": writer() });
    let own = Machines::new(only(distributed(wait, more))).await;
    let arn = own.begin(json!([1, 2, 3])).await;
    let running = wait_for_children(&own, &arn, 2).await;
    assert_eq!(running["executionCounts"]["pending"], 1);
    let stop = json!({ "executionArn": arn, "error": "E", "cause": "C" });
    call(&own.cloud, "StopExecution", stop).await.expect("stopped");
    assert_eq!(failure(&ended(&own.cloud, &arn).await), ("ABORTED", "E", "C"));
    let run = loop {
        let run = map_run(&own.cloud, &arn).await;
        if run["status"] != "RUNNING" {
            break run;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(run["status"], "ABORTED");
    assert_eq!(run["executionCounts"]["aborted"], 2);
    assert_eq!(run["executionCounts"]["pending"], 1);
    let folder = run["mapRunArn"].as_str().and_then(|a| a.rsplit(':').next()).expect("an ID");
    let manifest = own.json(&format!("out/jobs/{folder}/manifest.json"));
    assert_eq!(manifest["ResultFiles"]["PENDING"].as_array().map(Vec::len), Some(1));
}

async fn wait_for_children(own: &Machines, arn: &str, running: u64) -> Value {
    for _ in 0..6_000 {
        let params = json!({ "executionArn": arn });
        let runs = call(&own.cloud, "ListMapRuns", params).await.expect("a list");
        if runs["mapRuns"].as_array().is_some_and(|runs| !runs.is_empty()) {
            let run = map_run(&own.cloud, arn).await;
            if run["executionCounts"]["running"] == running {
                return run;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the children do not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_updated_while_it_runs_and_its_children_can_be_stopped() {
    let wait = json!({ "A": { "Type": "Wait", "Seconds": 3_600, "End": true } });
    let own = Machines::new(only(distributed(wait, json!({ "MaxConcurrency": 1 })))).await;
    let arn = own.begin(json!([1, 2, 3])).await;
    let run = wait_for_children(&own, &arn, 1).await;
    let update = |params: Value| {
        let mut all = json!({ "mapRunArn": run["mapRunArn"] });
        for (name, value) in params.as_object().expect("members") {
            all[name] = value.clone();
        }
        call(&own.cloud, "UpdateMapRun", all)
    };
    assert!(update(json!({})).await.expect_err("refused").starts_with("ValidationException"));
    assert!(update(json!({ "toleratedFailurePercentage": 101 })).await.is_err());
    update(json!({ "maxConcurrency": 3, "toleratedFailureCount": 1 })).await.expect("updated");
    let run = wait_for_children(&own, &arn, 3).await;
    assert_eq!((&run["maxConcurrency"], &run["toleratedFailureCount"]), (&json!(3), &json!(1)));
    let filter = json!({ "statusFilter": "RUNNING" });
    for child in &children(&own.cloud, &run, filter).await[..2] {
        let stop = json!({ "executionArn": child["executionArn"] });
        call(&own.cloud, "StopExecution", stop).await.expect("stopped");
    }
    let execution = ended(&own.cloud, &arn).await;
    assert_eq!(failure(&execution).1, "States.ExceedToleratedFailureThreshold");
    let late = json!({ "mapRunArn": run["mapRunArn"], "maxConcurrency": 1 });
    assert!(call(&own.cloud, "UpdateMapRun", late).await.is_err());
    let gone = json!({ "mapRunArn": format!("{}x", run["mapRunArn"].as_str().expect("an ARN")) });
    let refused = call(&own.cloud, "DescribeMapRun", gone).await.expect_err("refused");
    assert!(refused.starts_with("ResourceNotFound"), "{refused}");
    let both = json!({ "mapRunArn": run["mapRunArn"], "stateMachineArn": own.arn() });
    assert!(call(&own.cloud, "ListExecutions", both).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn data_beyond_the_limit_end_the_map_and_variables_stay_outside() {
    let large =
        json!({ "A": { "Type": "Pass", "Output": "{% $pad('', 700, 'x') %}", "End": true } });
    let more = json!({ "Items": "{% [1..400] %}" });
    let own = Machines::new(only(distributed(large, more))).await;
    let (_, execution) = own.run(json!({})).await;
    assert_eq!(failure(&execution).1, "States.DataLimitExceeded");
    let more = json!({ "ItemSelector": "{% $pad('', 262145, 'x') %}" });
    own.define(only(distributed(echo(), more)));
    let (arn, execution) = own.run(json!([1])).await;
    assert_eq!(failure(&execution).1, "States.DataLimitExceeded");
    assert!(children(&own.cloud, &map_run(&own.cloud, &arn).await, json!({})).await.is_empty());
    // Children do not see the variables of their parent; selectors do.
    let states = json!({
        "V": { "Type": "Pass", "Assign": { "v": 5 }, "Next": "M" },
        "M": distributed(
            json!({ "A": { "Type": "Pass", "Output": "{% $v %}", "End": true } }),
            json!({ "ItemSelector": { "v": "{% $v %}" } }),
        ),
    });
    own.define(definition("V", states));
    let (arn, execution) = own.run(json!([1])).await;
    assert_eq!(failure(&execution).1, "States.ExceedToleratedFailureThreshold");
    let run = map_run(&own.cloud, &arn).await;
    let child = children(&own.cloud, &run, json!({})).await.remove(0);
    let child =
        own.cloud.services.states.executions.get(child["executionArn"].as_str().expect("an ARN"));
    let child = child.expect("the child");
    assert_eq!(child.input, json!({ "v": 5 }));
    assert_eq!(failure(&child).1, "States.QueryEvaluationError");
    let (_, execution) = own.run(json!([])).await;
    assert_eq!(execution.output, Some(json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn children_and_their_run_are_forgotten_with_their_parent() {
    let own = Machines::new(only(distributed(echo(), json!({})))).await;
    let (arn, _) = own.run(json!([1, 2])).await;
    let run = map_run(&own.cloud, &arn).await;
    let child = children(&own.cloud, &run, json!({})).await.remove(0);
    let files = || std::fs::read_dir(own.cloud.path("executions")).expect("a folder").count();
    assert_eq!((own.cloud.services.states.executions.len(), files()), (3, 4));
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * 91);
    own.cloud
        .services
        .states
        .executions
        .update(&arn, |e| e.stopped = Some(long_ago))
        .expect("stored");
    let (other, _) = own.run(json!([])).await;
    assert!(
        own.cloud.services.states.executions.contains(&other)
            && !own.cloud.services.states.executions.contains(&arn)
    );
    assert!(
        !own.cloud
            .services
            .states
            .executions
            .contains(child["executionArn"].as_str().expect("an ARN"))
    );
    assert!(
        !own.cloud.services.states.map_runs.contains(run["mapRunArn"].as_str().expect("an ARN"))
    );
    assert_eq!(
        (
            own.cloud.services.states.executions.len(),
            own.cloud.services.states.map_runs.len(),
            files()
        ),
        (1, 1, 2)
    );
}
