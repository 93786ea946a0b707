//! What is left behind and who clears it: interfaces of functions, superseded builds, and what
//! people have to know of a deployment.

use axum::http::StatusCode;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};

use crate::checkout::{Checkout, Said};
use crate::in_process::until;
use crate::signed_client::Signed;
use crate::through::Through;
use crate::tools::whole_xtask;
use crate::workspace::{edit_manifest, reject_odd_values, workspace};

const STACK: &str = "steppe-marriages-local";
const ARTIFACTS: &str = "steppe-marriages-local-artifacts-000000000000";
const DATA: &str = "steppe-marriages-local-data-000000000000";

async fn keys(checkout: &Checkout, bucket: &str, prefix: &str) -> Vec<String> {
    let listed = checkout.bucket(bucket).list(Some(&Path::from(prefix))).try_collect::<Vec<_>>();
    listed.await.expect("listed").into_iter().map(|o| o.location.to_string()).collect()
}

/// A role's inline policies become one that lets Lambda remove nothing.
async fn take_rights(client: &Signed, role: &str) {
    let nothing = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*",
    }] });
    let named = [("RoleName", role)];
    let listed = client.query("iam", "ListRolePolicies", "2010-05-08", &named).await;
    let text = listed.expect("answered").text();
    let policies: Vec<&str> =
        text.split("<member>").skip(1).filter_map(|rest| rest.split("</member>").next()).collect();
    assert!(!policies.is_empty(), "{text}");
    for policy in policies {
        let document = nothing.to_string();
        let params = [named[0], ("PolicyName", policy), ("PolicyDocument", document.as_str())];
        let put = client.query("iam", "PutRolePolicy", "2010-05-08", &params).await;
        assert!(put.expect("answered").is_ok(), "{policy}");
    }
}

/// A function in a network of its own, whose name begins as one of ours, and whose role goes first.
fn neighbour(package: &str) -> String {
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "Service": "lambda.amazonaws.com" },
    }] });
    let rights = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "ec2:*", "Resource": "*",
    }] });
    let resource =
        |kind: &str, properties: Value| json!({ "Type": kind, "Properties": properties });
    let network = json!({ "CidrBlock": "10.0.0.0/16" });
    let subnet = json!({ "VpcId": { "Ref": "Vpc" }, "CidrBlock": "10.0.0.0/24" });
    let group = json!({ "VpcId": { "Ref": "Vpc" }, "GroupDescription": "g" });
    let role = json!({
        "RoleName": "neighbour", "AssumeRolePolicyDocument": trust,
        "Policies": [{ "PolicyName": "p", "PolicyDocument": rights }],
    });
    let function = json!({
        "FunctionName": format!("{STACK}-predictor-x"), "Runtime": "provided.al2023",
        "Handler": "bootstrap", "Role": { "Fn::GetAtt": ["Role", "Arn"] },
        "Code": { "S3Bucket": ARTIFACTS, "S3Key": package },
        "VpcConfig": {
            "SubnetIds": [{ "Ref": "Subnet" }], "SecurityGroupIds": [{ "Ref": "Group" }],
        },
    });
    json!({ "Resources": {
        "Vpc": resource("AWS::EC2::VPC", network),
        "Subnet": resource("AWS::EC2::Subnet", subnet),
        "Group": resource("AWS::EC2::SecurityGroup", group),
        "Role": resource("AWS::IAM::Role", role),
        "Function": resource("AWS::Lambda::Function", function),
    } })
    .to_string()
}

async fn await_stack(client: &Signed, name: &str, status: &str) {
    for _ in 0..600 {
        let answer = client.stacks("DescribeStacks", &[("StackName", name)]).await;
        let text = answer.expect("answered").text();
        if text.contains(&format!("<StackStatus>{status}</StackStatus>")) {
            return;
        }
        assert!(text.contains("_IN_PROGRESS</StackStatus>"), "{text}");
        // The stack's own pace; there is nothing to wait for but its status.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{name} did not become {status}");
}

/// Descriptions of the interfaces that Lambda made, with their states.
async fn interfaces(client: &Signed) -> Vec<String> {
    let answer = client.query("ec2", "DescribeNetworkInterfaces", "2016-11-15", &[]).await;
    let text = answer.expect("answered").text();
    let of = |rest: &str| rest.split("</description>").next().map(str::to_owned);
    text.split("<description>").skip(1).filter_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn interfaces_that_lambda_left_are_removed_and_nobody_elses() {
    let checkout = Checkout::new();
    checkout.done(&["deploy"]);
    let client = Signed::of(&checkout.path().join("local"));
    let package = keys(&checkout, ARTIFACTS, "lambda/predictor").await.remove(0);
    let template = neighbour(&package);
    let capability = ("Capabilities.member.1", "CAPABILITY_NAMED_IAM");
    let params = [("StackName", "neighbour"), ("TemplateBody", template.as_str()), capability];
    let created = client.stacks("CreateStack", &params).await.expect("answered");
    assert!(created.is_ok(), "{}", created.text());
    await_stack(&client, "neighbour", "CREATE_COMPLETE").await;
    // Its interface is left, too, and blocks its network: it is not ours to remove.
    let named = [("StackName", "neighbour")];
    assert!(client.stacks("DeleteStack", &named).await.expect("answered").is_ok());
    await_stack(&client, "neighbour", "DELETE_FAILED").await;
    for role in ["predictor", "train", "drift"] {
        take_rights(&client, &format!("{STACK}-{role}")).await;
    }
    let destroyed = checkout.done(&["destroy"]);
    let told = destroyed.err.contains("network interfaces that Lambda left");
    assert!(told && destroyed.err.contains("has dependencies"), "{}", destroyed.err);
    assert!(destroyed.err.contains("nothing left"), "{}", destroyed.err);
    let left = interfaces(&client).await;
    let neighbours = format!("AWS Lambda VPC ENI-{STACK}-predictor-x-");
    assert!(left.len() == 1 && left[0].starts_with(&neighbours), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn superseded_builds_go_and_those_of_the_deployment_before_stay() {
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    let run = |arguments: &[&str]| {
        let mut command = checkout.command(arguments);
        let said = Said::of(command.current_dir(&folder));
        assert_eq!(said.code, Some(0), "{arguments:?}\n{}\n{}", said.out, said.err);
        said
    };
    let keep_logs = |days: &str| {
        edit_manifest(&folder, "marriages", |line| match line.split_once(" = ") {
            Some(("log_retention_days", _)) => format!("log_retention_days = {days}"),
            _ => line.to_owned(),
        });
    };
    let mut templates: Vec<Vec<String>> = Vec::new();
    for days in ["30", "60", "90"] {
        keep_logs(days);
        let deployed = run(&["deploy", "--yes"]).err;
        assert_eq!(deployed.contains("deleted  1 superseded builds"), days == "90", "{deployed}");
        templates.push(keys(&checkout, ARTIFACTS, "templates").await);
    }
    let counts: Vec<usize> = templates.iter().map(Vec::len).collect();
    assert_eq!(counts, [1, 2, 2]);
    assert!(!templates[2].contains(&templates[0][0]), "the first one is gone");
    assert!(templates[1].iter().any(|t| templates[2].contains(t)), "the one before stays");
    // What did not change is of the present deployment as it was of the first.
    for prefix in ["bin/server", "lambda/predictor", "lambda/jobs", "specs"] {
        assert_eq!(keys(&checkout, ARTIFACTS, prefix).await.len(), 1, "{prefix}");
    }
    let again = run(&["deploy"]).err;
    assert!(again.contains("unchanged") && !again.contains("superseded"), "{again}");
    assert_eq!(keys(&checkout, ARTIFACTS, "templates").await.len(), 2);
    // A note that nobody can read supersedes nothing.
    let note = checkout.bucket(ARTIFACTS);
    note.put(&Path::from("builds.json"), "{".into()).await.expect("stored");
    keep_logs("180");
    let deployed = run(&["deploy", "--yes"]).err;
    assert!(!deployed.contains("superseded"), "{deployed}");
    assert_eq!(keys(&checkout, ARTIFACTS, "templates").await.len(), 3);
    assert!(run(&["smoke-test", "Almaty"]).out.contains("1 of 1 series in S3; 1 looked at: valid"));
    run(&["destroy"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_rows_is_told_as_such() {
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    reject_odd_values(&folder);
    edit_manifest(&folder, "marriages", |line| match line {
        "emails = []" => "emails = [\"forecasts@example.org\"]".to_owned(),
        other => other.to_owned(),
    });
    let run = |arguments: &[&str]| {
        let mut command = checkout.command(arguments);
        Said::of(command.current_dir(&folder))
    };
    assert_eq!(run(&["deploy"]).code, Some(0));
    let raw = Path::from("raw/marriages/marriages/sample.csv");
    let rows: String = (1_900..2_000).map(|year| format!("Almaty,{year},-1\n")).collect();
    let table = format!("region,year,marriages\n{rows}");
    checkout.bucket(DATA).put(&raw, table.into()).await.expect("stored");
    let said = run(&["smoke-test"]);
    // The job refuses before the state machine would find an empty table.
    let expected = "no record is left after cleaning (100 in the input)";
    assert!(said.code == Some(3) && said.err.contains(expected), "{}\n{}", said.out, said.err);
    let told = || checkout.mails().iter().any(|mail| mail.contains("no record is left"));
    until("people are told", told).await;
    assert_eq!(run(&["destroy"]).code, Some(0));
}

#[test]
fn who_has_not_confirmed_a_subscription_is_told() {
    let through = Through::new(|call, answer| {
        if call.operation() != "ListSubscriptionsByTopic" {
            return None;
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let begin = text.find("<SubscriptionArn>")? + "<SubscriptionArn>".len();
        let end = begin + text[begin..].find("</SubscriptionArn>")?;
        Some((StatusCode::OK, format!("{}PendingConfirmation{}", &text[..begin], &text[end..])))
    });
    through.checkout.done(&["deploy"]);
    let confirmed = through.checkout.done(&["status"]).out;
    assert!(!confirmed.contains("PendingConfirmation"), "{confirmed}");
    let waiting = through.done(&["status"]).out;
    let expected = "forecasts@example.org has not confirmed the subscription (PendingConfirmation)";
    assert!(waiting.contains(expected), "{waiting}");
    through.checkout.done(&["destroy"]);
}

#[test]
fn the_servers_console_is_asked_for_as_it_is_now() {
    let through = Through::new(|_, _| None);
    through.done(&["deploy"]);
    assert!(through.done(&["logs", "server"]).out.contains("\"message\":\"ready\""));
    let calls = through.middleman.calls();
    let consoles: Vec<_> = calls.iter().filter(|c| c.operation() == "GetConsoleOutput").collect();
    assert!(!consoles.is_empty() && consoles.iter().all(|c| c.mentions("Latest=true")));
    through.checkout.done(&["destroy"]);
}

#[test]
fn what_lake_formation_refuses_an_execution_is_told_with_the_way_out() {
    let through = Through::new(|call, _| {
        let body = json!({
            "executionArn": "arn:aws:states:us-east-1:000000000000:execution:x:y",
            "stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:x",
            "status": "FAILED", "startDate": 1.0, "stopDate": 2.0, "error": "States.TaskFailed",
            "cause": "Insufficient Lake Formation permission(s): Required Select on marriages",
        });
        let asks = call.operation() == "DescribeExecution";
        asks.then(|| (StatusCode::OK, body.to_string()))
    });
    through.done(&["deploy", "--no-run"]);
    let said = through.run(&["smoke-test", "Almaty"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    for expected in [
        "Insufficient Lake Formation permission(s)",
        "hint  this account lets Lake Formation decide",
        "aws lakeformation grant-permissions",
        "role/steppe-marriages-local-workflow",
        "steppe_marriages_local",
    ] {
        assert!(said.err.contains(expected), "{expected}\n{}", said.err);
    }
    through.checkout.done(&["destroy"]);
}

/// A shared configuration file of AWS with one profile.
fn profile(checkout: &Checkout, lines: &str) -> String {
    let file = checkout.path().join("aws config");
    std::fs::write(&file, format!("[profile dev]\nregion = us-east-1\n{lines}\n"))
        .expect("written");
    file.display().to_string()
}

#[test]
fn a_profile_whose_keys_a_program_prints_is_taken() {
    let Some(whole) = whole_xtask() else { return };
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    checkout.done(&["local", "start"]);
    let exported = checkout.done(&["local", "env"]).out;
    let value = |name: &str| {
        let line = exported.lines().find_map(|l| l.strip_prefix(&format!("export {name}=")));
        line.unwrap_or_else(|| panic!("{name} in {exported}")).to_owned()
    };
    let keys = json!({
        "Version": 1, "AccessKeyId": value("AWS_ACCESS_KEY_ID"),
        "SecretAccessKey": value("AWS_SECRET_ACCESS_KEY"),
    });
    let file = checkout.path().join("keys.json");
    std::fs::write(&file, keys.to_string()).expect("written");
    let config = profile(&checkout, &format!("credential_process = cat {}", file.display()));
    let mut command = checkout.command_of(&whole, &["status", "--env", "dev"]);
    command.current_dir(&folder).env("AWS_ENDPOINT_URL", value("AWS_ENDPOINT_URL"));
    let said = Said::of(command.env("AWS_CONFIG_FILE", config).env("AWS_PROFILE", "dev"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("steppe-marriages-dev: not deployed"), "{}", said.out);
}

#[test]
fn a_profile_that_signs_in_by_a_browser_is_told_with_the_way_out() {
    let Some(whole) = whole_xtask() else { return };
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    let steppe = folder.join("steppe.toml");
    let text = std::fs::read_to_string(&steppe).expect("readable");
    std::fs::write(&steppe, text + "profile = \"dev\"\n").expect("written");
    let config = profile(&checkout, "login_session = arn:aws:iam::000000000000:user/somebody");
    let mut command = checkout.command_of(&whole, &["status", "--env", "dev"]);
    command.current_dir(&folder).env("AWS_CONFIG_FILE", config);
    let said = Said::of(command.env("AWS_EC2_METADATA_DISABLED", "true"));
    let expected = "aws configure export-credentials --profile dev --format process";
    assert!(said.code == Some(1) && said.err.contains(expected), "{}", said.err);
}

#[test]
fn what_aws_needs_and_was_not_built_is_told_where_it_must_not_be_built() {
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    for verb in ["deploy", "plan", "status"] {
        let mut command = checkout.command(&[verb, "--env", "dev"]);
        let said = Said::of(command.current_dir(&folder));
        let expected = "the environment `dev` is in AWS, and this program was built without the \
                        client of EC2, and STEPPE_SKIP_BUILD is set\nhint: `cargo build --bin \
                        xtask --features xtask/ec2` builds one that has it";
        assert!(said.code == Some(1) && said.err.contains(expected), "{}", said.err);
    }
}

/// A template of things that no deployment makes under these names.
fn forgotten() -> String {
    json!({ "Resources": {
        "Group": { "Type": "AWS::Logs::LogGroup", "Properties": { "LogGroupName": "/old/name" } },
        "Topic": { "Type": "AWS::SNS::Topic", "Properties": { "TopicName": "old-topic" } },
    } })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_carries_the_tags_is_found_under_any_name() {
    let checkout = Checkout::new();
    checkout.done(&["deploy", "--no-run"]);
    let client = Signed::of(&checkout.path().join("local"));
    let template = forgotten();
    let params = [
        ("StackName", "forgotten"),
        ("TemplateBody", template.as_str()),
        ("Tags.member.1.Key", "steppe:pipeline"),
        ("Tags.member.1.Value", "marriages"),
        ("Tags.member.2.Key", "steppe:environment"),
        ("Tags.member.2.Value", "local"),
    ];
    assert!(client.stacks("CreateStack", &params).await.expect("answered").is_ok());
    await_stack(&client, "forgotten", "CREATE_COMPLETE").await;
    let said = checkout.run(&["destroy"]);
    assert_eq!(said.code, Some(3), "{}", said.err);
    assert!(said.err.contains("left  log group /old/name"), "{}", said.err);
    assert!(said.err.contains("left  topic old-topic"), "{}", said.err);
    let named = [("StackName", "forgotten")];
    assert!(client.stacks("DeleteStack", &named).await.expect("answered").is_ok());
    let gone = || checkout.run(&["destroy"]).err.contains("nothing left");
    until("nothing is left", gone).await;
}

/// What AWS's index of tags says of things that are gone.
fn lingering(resources: &[&str]) -> String {
    let listed: Vec<Value> = resources
        .iter()
        .map(|rest| json!({ "ResourceARN": format!("arn:aws:{rest}"), "Tags": [] }))
        .collect();
    json!({ "ResourceTagMappingList": listed, "PaginationToken": "" }).to_string()
}

#[test]
fn what_only_the_index_of_tags_knows_is_not_left_unless_nobody_can_ask() {
    let through = Through::new(|call, _| {
        let page = lingering(&[
            "s3:::gone",
            "sns:us-east-1:000000000000:gone",
            "lambda:us-east-1:000000000000:function:gone",
            "glue:us-east-1:000000000000:job/gone",
            "logs:us-east-1:000000000000:log-group:/gone",
            "ec2:us-east-1:000000000000:vpc/vpc-0",
        ]);
        (call.operation() == "GetResources").then_some((StatusCode::OK, page))
    });
    assert!(through.done(&["destroy", "--yes"]).err.contains("nothing left"));
    let through = Through::new(|call, _| {
        let page = lingering(&["kinesis:us-east-1:000000000000:stream/x"]);
        (call.operation() == "GetResources").then_some((StatusCode::OK, page))
    });
    let said = through.run(&["destroy", "--yes"]);
    let expected = "left  tagged thing arn:aws:kinesis:us-east-1:000000000000:stream/x";
    assert!(said.code == Some(3) && said.err.contains(expected), "{}", said.err);
}
