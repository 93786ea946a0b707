//! Functions: their processes, logs and limits, and what Lambda refuses.

use std::collections::BTreeSet;

use crate::serving::now;
use base64::Engine;
use bytes::Bytes;
use serde_json::{Value, json};
use steppe_cloud::kernel::error::{ApiError, ApiResult};
use steppe_cloud::kernel::service;
use steppe_cloud::services::lambda;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::in_process::{InProcess, is_alive, role, until};

const BOOTSTRAP: &str = include_str!("bootstrap.sh");
const LOGS: [&str; 2] = ["logs:CreateLogStream", "logs:PutLogEvents"];
const NETWORK: [&str; 3] =
    ["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface"];

fn function(properties: Value) -> Value {
    let mut all = json!({
        "FunctionName": "f", "Runtime": "provided.al2023", "Handler": "bootstrap", "Timeout": 20,
        "Role": { "Fn::GetAtt": ["Role", "Arn"] },
        "Code": { "S3Bucket": "code", "S3Key": "package.zip" },
    });
    for (name, value) in properties.as_object().expect("properties") {
        all[name] = value.clone();
    }
    json!({ "Type": "AWS::Lambda::Function", "Properties": all })
}

async fn with_function(properties: Value) -> (InProcess, String) {
    let home = InProcess::start().await;
    home.put_package(BOOTSTRAP);
    let resources = json!({
        "Role": role("f", "lambda.amazonaws.com", &LOGS),
        "Log": {
            "Type": "AWS::Logs::LogGroup", "Properties": { "LogGroupName": "/aws/lambda/f" },
        },
        "Function": function(properties),
    });
    let id = home.created("s", resources).await;
    (home, id)
}

async fn invoke(home: &InProcess, command: &str) -> Result<lambda::Invoked, ApiError> {
    let caller = home.cloud.identities.administrator();
    let payload = json!({ "do": command }).to_string();
    lambda::invoke(&home.cloud, &caller, "f", payload.into()).await
}

/// The answer of an invocation that must succeed.
async fn answer(home: &InProcess, command: &str) -> Value {
    let invoked = invoke(home, command).await.expect("invoked");
    let text = String::from_utf8_lossy(&invoked.payload).into_owned();
    assert_eq!(invoked.function_error, None, "{text}");
    serde_json::from_slice(&invoked.payload).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Calls `Invoke` with these members besides the function and a payload.
async fn call(home: &InProcess, more: Value) -> ApiResult {
    let payload = base64::engine::general_purpose::STANDARD.encode(r#"{"do":"echo hello"}"#);
    let mut params = json!({ "FunctionName": "f", "Payload": payload });
    params.as_object_mut().expect("members").extend(more.as_object().cloned().unwrap_or_default());
    let caller = home.cloud.identities.administrator();
    service::call(&home.cloud, &caller, "lambda", "Invoke", &params).await
}

#[tokio::test]
async fn output_that_is_no_text_or_has_no_end_ends_neither_log_nor_function() {
    let (home, _) = with_function(json!({})).await;
    // A byte that no text has, then a line without end.
    let first = answer(&home, "base64 -d <<<Yf9iCg==; head -c 1000000 /dev/zero").await;
    let second = answer(&home, "echo after").await;
    assert_eq!(first["pid"], second["pid"], "the function was not killed by its log");
    let caller = home.cloud.identities.administrator();
    let params = json!({ "logGroupName": "/aws/lambda/f" });
    let events = now(&home.cloud, &caller, "logs", "FilterLogEvents", &params).expect("events");
    let messages: Vec<&str> = events["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|e| e["message"].as_str())
        .collect();
    let longest = messages.iter().map(|m| m.len()).max();
    assert!(longest.is_some_and(|l| l <= 300 * 1024), "{longest:?}");
    assert!(messages.iter().any(|m| m.ends_with("after")), "{:?}", messages.last());
    assert!(messages.iter().any(|m| m.starts_with("REPORT RequestId")));
}

#[tokio::test]
async fn a_process_that_ended_while_it_was_idle_is_replaced() {
    let (home, _) = with_function(json!({})).await;
    let first = answer(&home, ":").await["pid"].as_u64().expect("a process");
    steppe_cloud::kernel::processes::tell(
        first as u32,
        steppe_cloud::kernel::processes::Signal::Kill,
    );
    let second = answer(&home, ":").await["pid"].as_u64().expect("a process");
    assert_ne!(first, second);
    // One that ends at work has failed.
    let failed = invoke(&home, "exit 3").await.expect("invoked");
    let text = String::from_utf8_lossy(&failed.payload).into_owned();
    assert_eq!(failed.function_error, Some("Unhandled"));
    assert!(text.contains("Runtime.ExitError") && text.contains("exit status 3"), "{text}");
}

#[tokio::test]
async fn too_large_answers_and_payloads_are_refused_in_awss_words() {
    let (home, _) = with_function(json!({})).await;
    let large = invoke(&home, "BODY=$(printf %07000000d 1)").await.expect("invoked");
    assert_eq!(large.function_error, Some("Unhandled"));
    let error: Value = serde_json::from_slice(&large.payload).expect("JSON");
    assert_eq!(error["errorType"], "Function.ResponseSizeTooLarge");
    let expected = "Response payload size exceeded maximum allowed payload size (6291556 bytes).";
    assert_eq!(error["errorMessage"], expected);
    let next = answer(&home, "BODY=0").await;
    assert_eq!(next["got"], 0, "the process is as good as before");
    let payload = format!("\"{}\"", "x".repeat(6 * 1024 * 1024));
    let caller = home.cloud.identities.administrator();
    let error = lambda::invoke(&home.cloud, &caller, "f", payload.into()).await.expect_err("large");
    assert_eq!((error.code.as_str(), error.status), ("RequestTooLargeException", 413));
}

#[tokio::test]
async fn what_a_function_started_ends_with_it() {
    let (home, id) = with_function(json!({})).await;
    let in_group = answer(&home, "sleep 1000 >/dev/null 2>&1 & BODY=$!").await;
    let escaped = answer(&home, "setsid sleep 1000 >/dev/null 2>&1 & BODY=$!").await;
    let pids = [&in_group["pid"], &in_group["got"], &escaped["got"]]
        .map(|p| p.as_u64().expect("a number"));
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    assert_eq!(home.delete(&id).await, "DELETE_COMPLETE");
    until("all processes are gone", || !pids.iter().any(|pid| is_alive(*pid))).await;
    assert!(!home.folder().join("lambda/f").exists());
}

#[tokio::test]
async fn only_the_function_itself_reaches_its_runtime_api() {
    let (home, _) = with_function(json!({})).await;
    let given = answer(&home, "BODY=${api#*:}").await;
    let port = given["got"].as_u64().expect("a port") as u16;
    let mut stranger = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    let next = format!(
        "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    );
    // The connection may be closed before anything is sent.
    let sent = stranger.write_all(next.as_bytes()).await;
    let mut heard = Vec::new();
    let read = stranger.read_to_end(&mut heard).await;
    assert!(heard.is_empty(), "{sent:?} {read:?} {}", String::from_utf8_lossy(&heard));
    // The function was not disturbed.
    for wrong in
        ["host=evil.example; call GET /x ''", "call GET /x '' 'Origin: http://evil.example'"]
    {
        let status = "BODY=$(printf '%s' $HEAD | cut -c9-11)";
        let refused = answer(&home, &format!("{wrong}; host=$api; {status}")).await;
        assert_eq!(refused["got"], 403, "{wrong}");
    }
}

#[tokio::test]
async fn invocations_have_what_they_ask_for_or_are_refused_by_name() {
    let (home, _) = with_function(json!({})).await;
    let answer = call(&home, json!({ "LogType": "Tail" })).await.expect("invoked");
    let log = answer["LogResult"].as_str().expect("a log");
    let log = base64::engine::general_purpose::STANDARD.decode(log).expect("base64");
    let log = String::from_utf8(log).expect("text");
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].starts_with("START RequestId: "), "{log}");
    assert_eq!(lines[1], "hello", "{log}");
    assert!(lines[3].starts_with("REPORT RequestId: "), "{log}");
    let dry = call(&home, json!({ "InvocationType": "DryRun" })).await.expect("allowed");
    assert_eq!(dry, json!({ "StatusCode": 204 }));
    let later = call(&home, json!({ "InvocationType": "Event" })).await.expect("accepted");
    assert_eq!(later, json!({ "StatusCode": 202 }));
    assert!(call(&home, json!({ "Qualifier": "$LATEST" })).await.is_ok());
    for (more, code, words) in [
        (json!({ "InvocationType": "Later" }), "ValidationException", "'Later'"),
        (json!({ "LogType": "All" }), "ValidationException", "[None, Tail]"),
        (json!({ "ClientContext": "e30=" }), "NotImplemented", "ClientContext"),
        (json!({ "Other": 1 }), "NotImplemented", "Other of lambda:Invoke"),
        (
            json!({ "Qualifier": "PROD" }),
            "ResourceNotFoundException",
            "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:PROD",
        ),
        (json!({ "FunctionName": "g" }), "ResourceNotFoundException", "function:g"),
    ] {
        let error = call(&home, more.clone()).await.expect_err("refused");
        assert_eq!(error.code, code, "{more}");
        assert!(error.message.contains(words), "{error}");
    }
}

#[tokio::test]
async fn many_invocations_share_few_processes() {
    let (home, _) = with_function(json!({})).await;
    let invocations = (0..40).map(|_| answer(&home, "sleep 0.05"));
    let answers = futures::future::join_all(invocations).await;
    let pids: BTreeSet<u64> = answers.iter().filter_map(|a| a["pid"].as_u64()).collect();
    assert!((1..=32).contains(&pids.len()), "{} processes", pids.len());
}

#[tokio::test]
async fn a_start_that_fails_is_the_invocations_error() {
    let home = InProcess::start().await;
    home.put_package(&BOOTSTRAP.replace(
        "while true; do",
        "call POST /init/error '{\"errorType\":\"Broken\"}'; exit 1\nwhile true; do",
    ));
    let role = role("f", "lambda.amazonaws.com", &LOGS);
    home.created("s", json!({ "Role": role, "Function": function(json!({})) })).await;
    let failed = invoke(&home, ":").await.expect("invoked");
    assert_eq!(failed.function_error, Some("Unhandled"));
    assert_eq!(failed.payload, Bytes::from_static(b"{\"errorType\":\"Broken\"}"));
}

fn networked(actions: &[&str], depends: Value) -> Value {
    let all: Vec<&str> = LOGS.iter().chain(actions).copied().collect();
    let part = |kind: &str, properties: Value| {
        let kind = format!("AWS::EC2::{kind}");
        json!({ "Type": kind, "Properties": properties, "DependsOn": depends })
    };
    let vpc = json!({ "Type": "AWS::EC2::VPC", "Properties": { "CidrBlock": "10.0.0.0/16" } });
    json!({
        "Role": role("f", "lambda.amazonaws.com", &all),
        "Vpc": vpc,
        "Subnet": part("Subnet", json!({ "VpcId": { "Ref": "Vpc" }, "CidrBlock": "10.0.0.0/24" })),
        "Group":
            part("SecurityGroup", json!({ "VpcId": { "Ref": "Vpc" }, "GroupDescription": "g" })),
        "Function": function(json!({
            "VpcConfig": {
                "SubnetIds": [{ "Ref": "Subnet" }], "SecurityGroupIds": [{ "Ref": "Group" }],
            },
        })),
    })
}

fn interfaces(home: &InProcess) -> Vec<Value> {
    let caller = home.cloud.identities.administrator();
    let filter = json!([{ "Name": "description", "Values": ["AWS Lambda VPC ENI-f-*"] }]);
    let params = json!({ "Filters": filter });
    let answer = now(&home.cloud, &caller, "ec2", "DescribeNetworkInterfaces", &params);
    answer.expect("described")["NetworkInterfaces"].as_array().cloned().expect("a set")
}

#[tokio::test]
async fn a_function_in_a_network_has_an_interface_that_goes_with_it() {
    let home = InProcess::start().await;
    home.put_package(BOOTSTRAP);
    let (id, status) = home.create("denied", networked(&NETWORK[..2], json!([]))).await;
    assert_eq!(status, "ROLLBACK_COMPLETE");
    let reasons = home.reasons(&id).await.join("\n");
    let words = "does not have permissions to call DeleteNetworkInterface on EC2";
    assert!(reasons.contains(words), "{reasons}");
    // The network goes before the role, so the role is there when Lambda tidies up.
    let id = home.created("s", networked(&NETWORK, json!(["Role"]))).await;
    assert_eq!(interfaces(&home)[0]["Status"], "in-use");
    assert_eq!(home.delete(&id).await, "DELETE_COMPLETE");
    assert_eq!(interfaces(&home), Vec::<Value>::new());
}

#[tokio::test]
async fn an_interface_whose_role_went_first_blocks_its_network_until_it_is_deleted() {
    let home = InProcess::start().await;
    home.put_package(BOOTSTRAP);
    let id = home.created("s", networked(&NETWORK, json!([]))).await;
    assert_eq!(home.delete(&id).await, "DELETE_FAILED");
    let reasons = home.reasons(&id).await.join("\n");
    assert!(reasons.contains("has dependencies and cannot be deleted."), "{reasons}");
    assert!(reasons.contains("has a dependent object"), "{reasons}");
    let [left] = interfaces(&home).try_into().expect("one interface");
    assert_eq!(left["Status"], "available");
    let caller = home.cloud.identities.administrator();
    let params = json!({ "NetworkInterfaceId": left["NetworkInterfaceId"] });
    let delete = || now(&home.cloud, &caller, "ec2", "DeleteNetworkInterface", &params);
    assert_eq!(delete().expect("deleted"), json!({}));
    assert_eq!(delete().expect_err("gone").code, "InvalidNetworkInterfaceID.NotFound");
    assert_eq!(home.delete(&id).await, "DELETE_COMPLETE");
}
