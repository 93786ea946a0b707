//! State machines of the embedded cloud: made by API, tried state by state, waiting for tokens, for
//! moments and for other machines.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::Cloud;

use crate::in_process::until;
use crate::machines::{Machines, call, definition, ended, events, history};

const ARN: &str = "arn:aws:states:us-east-1:000000000000";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn role() -> String {
    "arn:aws:iam::000000000000:role/machine".to_owned()
}

fn may(actions: &[&str]) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": "*" })
}

/// One state that ends.
fn only(mut state: Value) -> Value {
    if !matches!(state["Type"].as_str(), Some("Fail" | "Succeed")) {
        state["End"] = true.into();
    }
    definition("A", json!({ "A": state }))
}

async fn begin(cloud: &Arc<Cloud>, machine: &str) -> String {
    let params = json!({ "stateMachineArn": format!("{ARN}:stateMachine:{machine}") });
    let started = call(cloud, "StartExecution", params).await.expect("started");
    started["executionArn"].as_str().expect("an ARN").to_owned()
}

/// Waits until the history of an execution has such an event; the event.
async fn event(cloud: &Arc<Cloud>, arn: &str, kind: &str) -> Value {
    for _ in 0..3_000 {
        if let Some(event) = history(cloud, arn).await.into_iter().find(|e| e["type"] == kind) {
            return event;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no {kind}");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_made_changed_and_deleted_by_api() {
    let machines = Machines::allowed(only(json!({ "Type": "Succeed" })), &[]).await;
    let cloud = &machines.cloud;
    let text = |output: &str| only(json!({ "Type": "Pass", "Output": output })).to_string();
    let wanted = json!({ "name": "other", "definition": text("one"), "roleArn": role() });
    let made = call(cloud, "CreateStateMachine", wanted.clone()).await.expect("made");
    assert_eq!(made["stateMachineArn"], format!("{ARN}:stateMachine:other"));
    let again = call(cloud, "CreateStateMachine", wanted.clone()).await.expect("the same");
    assert_eq!(made, again);
    let mut different = wanted;
    different["definition"] = text("two").into();
    let error = call(cloud, "CreateStateMachine", different).await.expect_err("refused");
    assert!(error.starts_with("StateMachineAlreadyExists"), "{error}");
    let first = begin(cloud, "other").await;
    ended(cloud, &first).await;
    let arn = made["stateMachineArn"].clone();
    let nothing = call(cloud, "UpdateStateMachine", json!({ "stateMachineArn": arn })).await;
    assert!(nothing.expect_err("refused").starts_with("MissingRequiredParameter"));
    let update = json!({ "stateMachineArn": arn, "definition": text("two") });
    call(cloud, "UpdateStateMachine", update).await.expect("changed");
    let second = begin(cloud, "other").await;
    assert_eq!(ended(cloud, &second).await.output, Some(json!("two")));
    let params = json!({ "executionArn": first });
    let of = call(cloud, "DescribeStateMachineForExecution", params).await.expect("described");
    assert_eq!(of["definition"], text("one"));
    call(cloud, "DeleteStateMachine", json!({ "stateMachineArn": arn })).await.expect("deleted");
    let gone = call(cloud, "DescribeStateMachine", json!({ "stateMachineArn": arn })).await;
    assert!(gone.expect_err("gone").starts_with("StateMachineDoesNotExist"));
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_judged_without_a_machine() {
    let machines = Machines::allowed(only(json!({ "Type": "Succeed" })), &[]).await;
    let judge = async |text: &str| {
        let params = json!({ "definition": text });
        call(&machines.cloud, "ValidateStateMachineDefinition", params).await.expect("judged")
    };
    assert_eq!(judge(&only(json!({ "Type": "Succeed" })).to_string()).await["result"], "OK");
    let broken = judge("{").await;
    assert_eq!(broken["diagnostics"][0]["code"], "INVALID_JSON_DESCRIPTION");
    let nowhere = definition("A", json!({ "A": { "Type": "Pass", "Next": "B" } })).to_string();
    let nowhere = judge(&nowhere).await;
    assert_eq!(nowhere["result"], "FAIL");
    let words = "the state `A` names the state \"B\", which does not exist";
    assert_eq!(nowhere["diagnostics"][0]["message"], words);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_tried_alone() {
    let allowed = [may(&["sns:Publish"])];
    let machines = Machines::allowed(only(json!({ "Type": "Succeed" })), &allowed).await;
    let cloud = &machines.cloud;
    let try_it = async |mut state: Value, more: Value| {
        state["QueryLanguage"] = "JSONata".into();
        let mut params = json!({ "definition": state.to_string(), "roleArn": role() });
        for (name, value) in more.as_object().expect("members") {
            params[name] = value.clone();
        }
        call(cloud, "TestState", params).await
    };
    let pass = json!({
        "Type": "Pass", "Output": "{% $states.input.n + $add %}", "Assign": { "sum": 7 },
        "Next": "B",
    });
    let more = json!({
        "input": "{\"n\": 2}", "variables": "{\"add\": 3}", "inspectionLevel": "DEBUG",
    });
    assert_eq!(
        try_it(pass, more).await.expect("tried"),
        json!({
            "status": "SUCCEEDED", "output": "5", "nextState": "B",
            "inspectionData": {
                "input": "{\"n\":2}", "result": "{\"n\":2}",
                "variables": "{\"add\":3,\"sum\":7}",
            },
        })
    );
    let task = |more: Value| {
        let mut task = json!({
            "Type": "Task", "Resource": "arn:aws:states:::sns:publish", "End": true,
            "Arguments": { "TopicArn": format!("{}x", ARN.replace("states", "sns:")), "Message": "m" },
        });
        for (name, value) in more.as_object().expect("members") {
            task[name] = value.clone();
        }
        task
    };
    let failed = try_it(task(json!({})), json!({})).await.expect("tried");
    assert_eq!(failed["status"], "FAILED", "{failed}");
    let retry = json!({ "Retry": [{ "ErrorEquals": ["States.ALL"] }] });
    let retried = try_it(task(retry), json!({})).await.expect("tried");
    assert_eq!(retried["status"], "RETRIABLE");
    let catch = json!({ "Catch": [{ "ErrorEquals": ["States.ALL"], "Next": "C", "Output": 1 }] });
    let caught = try_it(task(catch), json!({})).await.expect("tried");
    assert_eq!((&caught["status"], &caught["nextState"]), (&json!("CAUGHT_ERROR"), &json!("C")));
    let map = json!({ "Type": "Map", "End": true });
    let refused = try_it(map, json!({})).await.expect_err("refused");
    assert!(refused.contains("does not implement trials of Map and Parallel"), "{refused}");
}

/// A machine that publishes its token and waits.
fn waiting(more: Value) -> Value {
    let mut task = json!({
        "Type": "Task", "Resource": "arn:aws:states:::sns:publish.waitForTaskToken",
        "Arguments": {
            "TopicArn": "arn:aws:sns:us-east-1:000000000000:asked",
            "Message": { "token": "{% $states.context.Task.Token %}" },
        },
    });
    for (name, value) in more.as_object().expect("members") {
        task[name] = value.clone();
    }
    only(task)
}

/// The token that an execution has sent.
async fn token(cloud: &Arc<Cloud>, arn: &str) -> String {
    event(cloud, arn, "TaskSubmitted").await;
    let scheduled = event(cloud, arn, "TaskScheduled").await;
    let parameters =
        scheduled["taskScheduledEventDetails"]["parameters"].as_str().map(str::to_owned);
    let parameters: Value = serde_json::from_str(&parameters.expect("parameters")).expect("JSON");
    parameters["Message"]["token"].as_str().expect("a token").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_waits_until_its_token_comes_back() {
    let machines = Machines::allowed(waiting(json!({})), &[may(&["sns:Publish"])]).await;
    let cloud = &machines.cloud;
    machines.topic("asked");
    let arn = begin(cloud, "m").await;
    let sent = token(cloud, &arn).await;
    call(cloud, "SendTaskHeartbeat", json!({ "taskToken": sent })).await.expect("taken");
    let success = json!({ "taskToken": sent, "output": "{\"n\": 1}" });
    call(cloud, "SendTaskSuccess", success.clone()).await.expect("taken");
    assert_eq!(ended(cloud, &arn).await.output, Some(json!({ "n": 1 })));
    let late = call(cloud, "SendTaskSuccess", success).await.expect_err("too late");
    assert_eq!(late, "TaskTimedOut: Task Timed Out: 'Provided task does not exist anymore'");
    let wrong = json!({ "taskToken": "x", "error": "E" });
    let wrong = call(cloud, "SendTaskFailure", wrong).await.expect_err("refused");
    assert_eq!(wrong, "InvalidToken: Invalid Token: 'Invalid token'");
    let arn = begin(cloud, "m").await;
    let sent = token(cloud, &arn).await;
    let failure = json!({ "taskToken": sent, "error": "Refused", "cause": "by hand" });
    call(cloud, "SendTaskFailure", failure).await.expect("taken");
    let failure = ended(cloud, &arn).await.failure;
    assert_eq!(failure, Some(("Refused".to_owned(), "by hand".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_heartbeats_times_out() {
    let beats = json!({ "HeartbeatSeconds": 3_600, "TimeoutSeconds": 86_400 });
    let machines = Machines::allowed(waiting(beats), &[may(&["sns:Publish"])]).await;
    let cloud = &machines.cloud;
    machines.topic("asked");
    let arn = begin(cloud, "m").await;
    token(cloud, &arn).await;
    cloud.clock.advance(DAY / 24);
    let execution = ended(cloud, &arn).await;
    assert_eq!(execution.failure.expect("a failure").0, "States.HeartbeatTimeout");
    let kinds = events(cloud, &arn).await;
    assert!(kinds.contains(&"TaskTimedOut".to_owned()), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_what_waits() {
    let retried = waiting(json!({
        "Retry": [{ "ErrorEquals": ["Again"], "MaxAttempts": 1, "IntervalSeconds": 3_600 }],
    }));
    let machines = Machines::allowed(retried, &[may(&["sns:Publish"])]).await;
    machines.topic("asked");
    let arn = begin(&machines.cloud, "m").await;
    let sent = token(&machines.cloud, &arn).await;
    // The token is good in the next process, which counts the attempts of this one.
    let failure = json!({ "taskToken": sent, "error": "Again", "cause": "" });
    let (_first, cloud) = machines.left();
    call(&cloud, "SendTaskFailure", failure.clone()).await.expect("taken");
    event(&cloud, &arn, "TaskFailed").await;
    assert_eq!(count(&cloud, &arn, "TaskSubmitted").await, 1, "not published again");
    call(&machines.cloud, "SendTaskFailure", failure).await.expect("taken");
    event(&machines.cloud, &arn, "TaskFailed").await;
    let (_second, cloud) = machines.left();
    cloud.clock.advance(DAY / 24);
    let last = |events: Vec<Value>| events.last().map(|event| event["type"].clone());
    for _ in 0..3_000 {
        if last(history(&cloud, &arn).await) == Some(json!("TaskSubmitted")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let events = history(&cloud, &arn).await;
    let scheduled = events.iter().rfind(|event| event["type"] == "TaskScheduled").expect("again");
    let parameters = scheduled["taskScheduledEventDetails"]["parameters"].as_str();
    let parameters: Value = serde_json::from_str(parameters.expect("text")).expect("JSON");
    let failure = json!({ "taskToken": parameters["Message"]["token"], "error": "Again" });
    call(&cloud, "SendTaskFailure", failure).await.expect("taken");
    let failure = ended(&cloud, &arn).await.failure.expect("no attempt is left");
    assert_eq!(failure.0, "Again");
}

/// How many events of a kind an execution has.
async fn count(cloud: &Arc<Cloud>, arn: &str, kind: &str) -> usize {
    events(cloud, arn).await.iter().filter(|event| *event == kind).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_with_a_wait_and_an_execution_that_is_waited_for() {
    let run = ["states:StartExecution", "states:DescribeExecution", "states:StopExecution"];
    let rule = ["events:PutTargets", "events:PutRule", "events:DescribeRule"];
    let wait = only(json!({ "Type": "Wait", "Seconds": 86_400, "Output": 7 }));
    let machines = Machines::allowed(wait, &[may(&run), may(&rule)]).await;
    let parent = only(json!({
        "Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2",
        "Arguments": { "StateMachineArn": machines.arn(), "Name": "child" },
        "Output": "{% $states.result.Output %}",
    }));
    let wanted = json!({
        "name": "parent", "definition": parent.to_string(), "roleArn": role(),
    });
    call(&machines.cloud, "CreateStateMachine", wanted).await.expect("made");
    let arn = begin(&machines.cloud, "parent").await;
    event(&machines.cloud, &arn, "TaskSubmitted").await;
    event(&machines.cloud, &format!("{ARN}:execution:m:child"), "WaitStateEntered").await;
    let (_left, cloud) = machines.left();
    cloud.clock.advance(DAY);
    let execution = ended(&cloud, &arn).await;
    assert_eq!(execution.output, Some(json!(7)), "{:?}", execution.failure);
    assert_eq!(count(&cloud, &arn, "TaskScheduled").await, 1, "started once");
    assert_eq!(count(&cloud, &format!("{ARN}:execution:m:child"), "WaitStateEntered").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_whose_machine_is_gone_ends_at_the_restart() {
    let machines = Machines::allowed(only(json!({ "Type": "Wait", "Seconds": 86_400 })), &[]).await;
    let arn = begin(&machines.cloud, "m").await;
    event(&machines.cloud, &arn, "WaitStateEntered").await;
    machines.cloud.services.states.machines.remove(&machines.arn()).expect("removed");
    let (_left, cloud) = machines.left();
    let execution = ended(&cloud, &arn).await;
    assert_eq!(execution.status, "ABORTED");
    assert_eq!(events(&cloud, &arn).await.last().map(String::as_str), Some("ExecutionAborted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_at_its_moment() {
    let machines = Machines::allowed(only(json!({ "Type": "Succeed" })), &[]).await;
    let cloud = &machines.cloud;
    let moment = cloud.clock.now() + jiff::SignedDuration::from_hours(48);
    machines.define(only(json!({ "Type": "Wait", "Timestamp": moment.to_string() })));
    let arn = begin(cloud, "m").await;
    event(cloud, &arn, "WaitStateEntered").await;
    cloud.clock.advance(DAY);
    let is_running =
        || cloud.services.states.executions.get(&arn).is_some_and(|e| e.status == "RUNNING");
    assert!(is_running());
    cloud.clock.advance(DAY);
    let execution = ended(cloud, &arn).await;
    assert_eq!(execution.status, "SUCCEEDED");
    let lasted = execution.stopped.expect("ended").duration_since(execution.started);
    assert!(lasted >= jiff::SignedDuration::from_hours(47), "{lasted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_waits_for_another() {
    let parent = |child: &str| {
        only(json!({
            "Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2",
            "Arguments": {
                "StateMachineArn": format!("{ARN}:stateMachine:{child}"), "Input": { "n": 20 },
            },
            "Output": "{% $states.result.Output %}",
        }))
    };
    let rule = ["events:PutTargets", "events:PutRule", "events:DescribeRule"];
    let run = ["states:StartExecution", "states:DescribeExecution", "states:StopExecution"];
    let machines = Machines::allowed(only(json!({ "Type": "Succeed" })), &[may(&run)]).await;
    let cloud = &machines.cloud;
    let make = async |name: &str, definition: Value| {
        let definition = definition.to_string();
        let wanted = json!({ "name": name, "definition": definition, "roleArn": role() });
        call(cloud, "CreateStateMachine", wanted).await
    };
    let twice = only(json!({ "Type": "Pass", "Output": "{% $states.input.n * 2 %}" }));
    make("child", twice).await.expect("made");
    let error = make("parent", parent("child")).await.expect_err("refused");
    assert_eq!(
        error,
        format!("AccessDeniedException: '{}' is not authorized to create managed-rule.", role())
    );
    machines.may(&[may(&run), may(&rule)]);
    make("parent", parent("child")).await.expect("made");
    let arn = begin(cloud, "parent").await;
    assert_eq!(ended(cloud, &arn).await.output, Some(json!(40)));
    make("failing", only(json!({ "Type": "Fail", "Error": "E", "Cause": "c" })))
        .await
        .expect("made");
    make("unlucky", parent("failing")).await.expect("made");
    let arn = begin(cloud, "unlucky").await;
    let (error, cause) = ended(cloud, &arn).await.failure.expect("a failure");
    assert_eq!(error, "States.TaskFailed");
    assert!(
        cause.contains("\"Error\":\"E\"") && cause.contains("\"Status\":\"FAILED\""),
        "{cause}"
    );
    // Who is stopped stops what it waits for.
    make("long", only(json!({ "Type": "Wait", "Seconds": 86_400 }))).await.expect("made");
    make("patient", parent("long")).await.expect("made");
    let arn = begin(cloud, "patient").await;
    let of_long = || {
        let all = cloud.services.states.executions.all();
        all.into_iter().find(|(arn, _)| arn.contains(":execution:long:"))
    };
    until("the other one runs", || of_long().is_some()).await;
    call(cloud, "StopExecution", json!({ "executionArn": arn })).await.expect("stopped");
    ended(cloud, &arn).await;
    let (child, _) = of_long().expect("there");
    assert_eq!(ended(cloud, &child).await.status, "ABORTED");
}
