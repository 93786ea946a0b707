//! What is bounded in number, age, time and memory.

use std::time::Duration;

use crate::serving::now;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::Limits;
use steppe_cloud::kernel::error::ApiError;
use steppe_cloud::kernel::service;
use steppe_cloud::services::lambda;
use steppe_cloud::services::logs::{self, LogGroup};

use crate::catalogued::{Catalogued, request};
use crate::in_process::{InProcess, is_alive, role, until};

const BOOTSTRAP: &str = include_str!("bootstrap.sh");
const LOGS: [&str; 2] = ["logs:CreateLogStream", "logs:PutLogEvents"];

fn days_ago(days: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(24 * days)
}

#[tokio::test]
async fn queries_are_forgotten_when_athena_forgets_them() {
    let own = Catalogued::start().await;
    let caller = own.administrator();
    let mut ids = Vec::new();
    for days in [44, 46] {
        let id = own.begin(&caller, request("SELECT 1")).await.expect("begun");
        own.await_query(&id, &["SUCCEEDED"]).await;
        let aged =
            own.cloud.services.athena.queries.update(&id, |e| e.completed = Some(days_ago(days)));
        aged.expect("stored").expect("there");
        ids.push(id);
    }
    let id = own.begin(&caller, request("SELECT 2")).await.expect("begun");
    own.await_query(&id, &["SUCCEEDED"]).await;
    assert!(own.cloud.services.athena.queries.contains(&ids[0]));
    let gone = own.athena("GetQueryExecution", json!({ "QueryExecutionId": ids[1] })).await;
    assert_eq!(gone.expect_err("too old").code, "InvalidRequestException");
}

#[tokio::test]
async fn executions_are_forgotten_with_their_histories_after_90_days() {
    let home = InProcess::start().await;
    let definition = json!({
        "QueryLanguage": "JSONata", "StartAt": "P", "States": { "P": { "Type": "Succeed" } },
    });
    let machine = json!({ "Type": "AWS::StepFunctions::StateMachine", "Properties": {
        "StateMachineName": "m", "DefinitionString": definition.to_string(),
        "RoleArn": { "Fn::GetAtt": ["Role", "Arn"] },
    } });
    let resources = json!({ "Role": role("m", "states.amazonaws.com", &LOGS), "Machine": machine });
    home.created("s", resources).await;
    let caller = home.cloud.identities.administrator();
    let arn = "arn:aws:states:us-east-1:000000000000:stateMachine:m";
    let start = async |name: &str| {
        let params = json!({ "stateMachineArn": arn, "name": name });
        let started =
            service::call(&home.cloud, &caller, "states", "StartExecution", &params).await;
        let id = started.expect("started")["executionArn"].as_str().expect("an ARN").to_owned();
        let ended =
            || home.cloud.services.states.executions.get(&id).is_some_and(|e| e.stopped.is_some());
        until("the execution ends", ended).await;
        id
    };
    let age = |id: &str, days: i64| {
        let aged =
            home.cloud.services.states.executions.update(id, |e| e.stopped = Some(days_ago(days)));
        aged.expect("stored").expect("there");
    };
    let (young, old) = (start("young").await, start("old").await);
    age(&young, 89);
    age(&old, 91);
    let histories = || std::fs::read_dir(home.folder().join("executions")).expect("them").count();
    assert_eq!(histories(), 2);
    start("new").await;
    assert!(
        home.cloud.services.states.executions.contains(&young)
            && !home.cloud.services.states.executions.contains(&old)
    );
    assert_eq!(histories(), 2);
}

#[tokio::test]
async fn an_executed_change_set_leaves_no_other_one() {
    let home = InProcess::start().await;
    let template = |name: &str| {
        json!({ "Resources": { "B": {
            "Type": "AWS::S3::Bucket", "Properties": { "BucketName": name },
        } } })
        .to_string()
    };
    let id = home.created("s", json!({ "T": { "Type": "AWS::SNS::Topic" } })).await;
    for round in 0..2 {
        for set in ["one", "other"] {
            let params = json!({
                "StackName": "s", "ChangeSetName": format!("{set}{round}"),
                "TemplateBody": template(&format!("bucket-{round}")),
            });
            home.call("CreateChangeSet", params).await.expect("made");
        }
        let params = json!({ "StackName": "s", "ChangeSetName": format!("one{round}") });
        home.call("ExecuteChangeSet", params).await.expect("executed");
        let status = || {
            home.cloud
                .services
                .cloudformation
                .stacks
                .get(&id)
                .is_some_and(|s| s.status == "UPDATE_COMPLETE")
        };
        until("the stack is updated", status).await;
        let left: Vec<String> = home
            .cloud
            .services
            .cloudformation
            .change_sets
            .all()
            .into_iter()
            .map(|(_, set)| set.name.clone())
            .collect();
        assert_eq!(left, [format!("one{round}")]);
    }
}

/// The messages of a group as the API shows them.
fn messages(home: &InProcess, group: &str) -> Vec<String> {
    let caller = home.cloud.identities.administrator();
    let params = json!({ "logGroupName": group });
    let answer = now(&home.cloud, &caller, "logs", "FilterLogEvents", &params).expect("events");
    let events = answer["events"].as_array().cloned().unwrap_or_default();
    events.iter().filter_map(|e| Some(e["message"].as_str()?.to_owned())).collect()
}

#[tokio::test]
async fn logs_are_kept_as_long_as_their_group_says() {
    let home = InProcess::start().await;
    let group = LogGroup { retention_days: Some(3), created: Timestamp::now() };
    home.cloud.services.logs.groups.put("g", group).expect("stored");
    logs::append(&home.cloud, "g", "s", &["new".to_owned()]).expect("written");
    let folder = home.folder().join("logs");
    let entry = std::fs::read_dir(folder).expect("a folder").next().expect("a file");
    let file = entry.expect("an entry").path();
    let now = Timestamp::now();
    let line = |days: i64| {
        let time = (now - SignedDuration::from_hours(24 * days)).as_millisecond();
        format!("{}\n", json!({ "stream": "s", "time": time, "message": format!("{days} days") }))
    };
    let text = std::fs::read_to_string(&file).expect("readable");
    std::fs::write(&file, format!("{}{}{}{text}", line(5), line(4), line(2))).expect("written");
    assert_eq!(messages(&home, "g"), ["2 days", "new"]);
    logs::sweep(&home.cloud);
    let kept = std::fs::read_to_string(&file).expect("readable");
    assert_eq!(kept, format!("{}{text}", line(2)));
    // Without a retention nothing goes.
    let for_ever = |group: &mut LogGroup| group.retention_days = None;
    home.cloud.services.logs.groups.update("g", for_ever).expect("stored").expect("there");
    std::fs::write(&file, format!("{}{text}", line(4_000))).expect("written");
    logs::sweep(&home.cloud);
    assert_eq!(messages(&home, "g"), ["4000 days", "new"]);
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_ended_with_its_engine() {
    let limits = Limits { query_time: Duration::ZERO, ..Limits::default() };
    let own = Catalogued::limited(limits).await;
    let id = own.begin(&own.administrator(), request("SELECT * FROM raw")).await.expect("begun");
    let ended = own.await_query(&id, &["SUCCEEDED", "FAILED"]).await;
    assert_eq!(ended["Status"]["State"], "FAILED");
    assert_eq!(ended["Status"]["StateChangeReason"], "Query timeout");
    let places = own.cloud.engines.queries.clone();
    until("the engine's place is free", || places.available_permits() == 4).await;
}

#[tokio::test]
async fn a_query_that_needs_more_memory_than_its_pool_fails_and_nothing_else() {
    let own = Catalogued::start().await;
    let line = format!("{},1\n", "x".repeat(10_000));
    own.object("raw/b.csv", format!("region,year\n{}", line.repeat(300)).as_bytes());
    // One value of nearly a gigabyte.
    let sql = "SELECT array_agg(a.region || b.year) FROM raw a CROSS JOIN raw b";
    let refused = own.ask(sql).await.expect_err("more than the pool has");
    assert!(refused.contains("Query exhausted resources at this scale factor"), "{refused}");
    // A text of ten gigabytes.
    let sql = "SELECT length(array_join(repeat(rpad('x', 1000000, 'x'), 10000), ''))";
    let refused = own.ask(sql).await.expect_err("more than a process has");
    assert!(refused.contains("Query exhausted resources at this scale factor"), "{refused}");
    for (sql, words) in [
        ("SELECT repeat('x', 2000000000)", "count argument of repeat function must be"),
        ("SELECT rpad('x', 3000000000, 'x')", "Target length must be in the range"),
    ] {
        let refused = own.ask(sql).await.expect_err(sql);
        assert!(refused.contains(words), "{refused}");
    }
    own.ask("SELECT count(*) FROM raw").await.expect("the next one is answered");
}

fn function(name: &str, memory_mb: u64) -> Value {
    json!({ "Type": "AWS::Lambda::Function", "Properties": {
        "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap", "Timeout": 30,
        "MemorySize": memory_mb, "Role": { "Fn::GetAtt": ["Role", "Arn"] },
        "Code": { "S3Bucket": "code", "S3Key": "package.zip" },
    } })
}

async fn with_functions(limits: Limits) -> InProcess {
    let home = InProcess::limited(limits).await;
    home.put_package(BOOTSTRAP);
    let resources = json!({
        "Role": role("f", "lambda.amazonaws.com", &LOGS),
        "Log": {
            "Type": "AWS::Logs::LogGroup", "Properties": { "LogGroupName": "/aws/lambda/f" },
        },
        "F": function("f", 128), "G": function("g", 128),
    });
    home.created("s", resources).await;
    home
}

async fn invoke(home: &InProcess, name: &str, command: &str) -> Result<lambda::Invoked, ApiError> {
    let caller = home.cloud.identities.administrator();
    let payload = json!({ "do": command }).to_string();
    lambda::invoke(&home.cloud, &caller, name, payload.into()).await
}

async fn pid_of(home: &InProcess, name: &str) -> u64 {
    let invoked = invoke(home, name, ":").await.expect("invoked");
    let answer: Value = serde_json::from_slice(&invoked.payload).expect("JSON");
    answer["pid"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn an_idle_process_gives_way_to_another_functions() {
    let home = with_functions(Limits { processes: 1, ..Limits::default() }).await;
    let first = pid_of(&home, "f").await;
    assert_eq!(pid_of(&home, "f").await, first, "it is kept for the next invocation");
    let other = pid_of(&home, "g").await;
    until("the idle process has ended", || !is_alive(first)).await;
    assert_ne!(pid_of(&home, "f").await, first);
    until("the other one has ended, too", || !is_alive(other)).await;
}

#[tokio::test]
async fn an_account_has_a_number_of_invocations_at_a_time() {
    let home = with_functions(Limits { invocations: 2, ..Limits::default() }).await;
    let (begun, go) = (home.folder().join("begun"), home.folder().join("go"));
    let command = format!(
        "echo >> {}; while [ ! -e {} ]; do read -t 0.01 < /dev/zero; done",
        begun.display(),
        go.display()
    );
    let lines = || std::fs::read_to_string(&begun).map_or(0, |text| text.lines().count());
    let third = async {
        until("two are at work", || lines() == 2).await;
        let refused = invoke(&home, "g", ":").await;
        std::fs::write(&go, "").expect("written");
        refused
    };
    let both = futures::future::join(invoke(&home, "f", &command), invoke(&home, "f", &command));
    let (both, third) = futures::future::join(both, third).await;
    assert!(both.0.is_ok() && both.1.is_ok());
    let refused = third.expect_err("the third at a time");
    assert_eq!((refused.code.as_str(), refused.status), ("TooManyRequestsException", 429));
    invoke(&home, "g", ":").await.expect("there is room again");
}

#[tokio::test]
async fn a_function_that_uses_more_memory_than_it_has_is_killed() {
    let home = with_functions(Limits::default()).await;
    let invoked = invoke(&home, "f", ":").await.expect("invoked");
    let tail = String::from_utf8_lossy(&invoked.log_tail).into_owned();
    assert!(tail.contains("Memory Size: 128 MB\tMax Memory Used: "), "{tail}");
    let pid = pid_of(&home, "f").await;
    let grow =
        "x=xxxxxxxxxxxxxxxx; while true; do x=$x$x; [ ${#x} -gt 300000000 ] && sleep 30; done";
    let invoked = invoke(&home, "f", grow).await.expect("invoked");
    assert_eq!(invoked.function_error, Some("Unhandled"));
    let answer: Value = serde_json::from_slice(&invoked.payload).expect("JSON");
    assert_eq!(answer["errorType"], "Runtime.ExitError", "{answer}");
    let message = answer["errorMessage"].as_str().expect("a message");
    assert!(message.ends_with(" Error: Runtime exited with error: signal: killed"), "{message}");
    let tail = String::from_utf8_lossy(&invoked.log_tail).into_owned();
    assert!(tail.contains("Memory Size: 128 MB\tMax Memory Used: 128 MB"), "{tail}");
    until("the process has ended", || !is_alive(pid)).await;
    assert_ne!(pid_of(&home, "f").await, pid, "the next invocation has a new process");
}
