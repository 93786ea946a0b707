//! What the deployer calls is there in the embedded cloud, in AWS's form.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use steppe_cloud::services::cloudwatch;
use steppe_cloud::services::glue::Job;

use crate::signed::{Answer, Keys, Request, Served};
use crate::tools::root;

/// Services that speak JSON: name in calls, name in signatures, target.
const JSON: [(&str, &str, &str); 8] = [
    ("athena", "athena", "AmazonAthena"),
    ("cloudwatch", "monitoring", "GraniteServiceVersion20100801"),
    ("events", "events", "AWSEvents"),
    ("glue", "glue", "AWSGlue"),
    ("logs", "logs", "Logs_20140328"),
    ("ssm", "ssm", "AmazonSSM"),
    ("states", "states", "AWSStepFunctions"),
    ("tag", "tagging", "ResourceGroupsTaggingAPI_20170126"),
];

/// `s3:PutObject` and all others that the deployer's sources name.
fn calls() -> BTreeSet<(String, String)> {
    let mut calls = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("xtask/aws/src")).expect("a folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("readable");
        for word in text.split('"') {
            let Some((service, operation)) = word.split_once(':') else { continue };
            let named = service != "aws"
                && !service.is_empty()
                && service.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
                && operation.starts_with(|c: char| c.is_ascii_uppercase())
                && operation.chars().all(char::is_alphanumeric);
            if named {
                calls.insert((service.to_owned(), operation.to_owned()));
            }
        }
    }
    calls
}

async fn json_call(
    served: &Served,
    keys: &Keys,
    service: &str,
    operation: &str,
    params: &Value,
) -> Answer {
    let (_, signed_as, target) =
        JSON.iter().find(|(name, ..)| *name == service).expect("a service of JSON");
    let target = format!("{target}.{operation}");
    let headers = vec![("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &target)];
    let body = params.to_string();
    served.send(&Request { body: &body, ..Request::with(keys, signed_as, "/", headers) }).await
}

#[tokio::test]
async fn every_call_of_the_deployer_is_served() {
    let served = Served::start().await;
    let keys = served.administrator();
    let of_s3 = (steppe_cloud::services::s3::SERVICE.elsewhere)();
    let calls = calls();
    assert!(calls.len() > 50, "{calls:?}");
    let mut missing = Vec::new();
    for (service, operation) in &calls {
        let there = match service.as_str() {
            "s3" => of_s3.contains(&operation.as_str()),
            "lambda" => {
                let path = "/2015-03-31/functions/nothing";
                let invocation = format!("{path}/invocations");
                let (method, path) = match operation.as_str() {
                    "GetFunction" => ("GET", path),
                    "InvokeFunction" => ("POST", invocation.as_str()),
                    other => panic!("how is lambda:{other} called?"),
                };
                let headers = vec![("content-type", "application/json")];
                let request = Request::with(&keys, "lambda", path, headers);
                let answer = served.send(&Request { method, body: "{}", ..request }).await;
                answer.status == 404 && answer.text().contains("Function not found")
            }
            name if JSON.iter().any(|(json, ..)| *json == name) => {
                let answer = json_call(&served, &keys, service, operation, &json!({})).await;
                answer.status != 501
            }
            _ => {
                let params = [("Action", operation.as_str()), ("Version", "2010-05-15")];
                served.query(&keys, service, &params).await.status != 501
            }
        };
        if !there {
            missing.push(format!("{service}:{operation}"));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    // What is missing is seen.
    let answer = json_call(&served, &keys, "glue", "GetTrigger", &json!({})).await;
    assert_eq!(answer.status, 501, "{}", answer.text());
}

const ROLE: &str = "Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: machine
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement:
          - { Effect: Allow, Principal: { Service: ec2.amazonaws.com }, Action: sts:AssumeRole }
  Profile:
    Type: AWS::IAM::InstanceProfile
    Properties: { InstanceProfileName: machine, Roles: [!Ref Role] }
";

#[tokio::test]
async fn an_instance_profile_is_described_with_its_role() {
    let served = Served::start().await;
    let keys = served.administrator();
    let params = [
        ("Action", "CreateStack"),
        ("StackName", "s"),
        ("TemplateBody", ROLE),
        ("Capabilities.member.1", "CAPABILITY_NAMED_IAM"),
    ];
    let made = served.query(&keys, "cloudformation", &params).await;
    assert_eq!(made.status, 200, "{}", made.text());
    crate::in_process::until("the profile is made", || {
        served.cloud.services.iam.profiles.contains("machine")
    })
    .await;
    let get = [("Action", "GetInstanceProfile"), ("InstanceProfileName", "machine")];
    let answer = served.query(&keys, "iam", &get).await;
    let role = served.cloud.services.iam.roles.get("machine").expect("a role");
    assert_eq!(answer.element("RoleId"), role.id, "{}", answer.text());
    assert_eq!(answer.element("InstanceProfileName"), "machine");
    assert!(answer.element("InstanceProfileId").starts_with("AIPA"), "{}", answer.text());
    let arn = "<Arn>arn:aws:iam::000000000000:instance-profile/machine</Arn>";
    assert!(answer.text().contains(arn), "{}", answer.text());
    let get = [("Action", "GetInstanceProfile"), ("InstanceProfileName", "other")];
    let answer = served.query(&keys, "iam", &get).await;
    assert_eq!((answer.status, answer.element("Code").as_str()), (404, "NoSuchEntity"));
    assert_eq!(answer.element("Message"), "Instance Profile other cannot be found.");
}

#[tokio::test]
async fn a_job_is_described_as_it_was_made() {
    let served = Served::start().await;
    let keys = served.administrator();
    let now = jiff::Timestamp::now();
    let job = Job {
        role: "arn:aws:iam::000000000000:role/clean".to_owned(),
        script: "s3://b/etl.py".to_owned(),
        arguments: [("--plan".to_owned(), "s3://b/plan.json".to_owned())].into(),
        timeout_mins: 5,
        concurrent_max: 1,
        described: json!({ "GlueVersion": "5.0", "Command": { "Name": "glueetl" } }),
        times: Some((now, now)),
    };
    served.cloud.services.glue.jobs.put("j", job).expect("stored");
    let answer = json_call(&served, &keys, "glue", "GetJob", &json!({ "JobName": "j" })).await;
    let described: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let job = &described["Job"];
    assert_eq!(job["Name"], "j", "{job}");
    assert_eq!(job["Timeout"], 5);
    assert_eq!(job["GlueVersion"], "5.0");
    assert_eq!(job["ExecutionProperty"]["MaxConcurrentRuns"], 1);
    assert_eq!(job["DefaultArguments"]["--plan"], "s3://b/plan.json");
    assert!(job["CreatedOn"].is_number(), "{job}");
    let answer = json_call(&served, &keys, "glue", "GetJob", &json!({ "JobName": "k" })).await;
    let error: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, &error["__type"]), (400, &json!("EntityNotFoundException")));
    assert_eq!(error["message"], "Job with name: k not found.");
}

#[tokio::test]
async fn alarms_are_described_in_every_protocol() {
    let served = Served::start().await;
    let keys = served.administrator();
    for (name, missing) in [("a-1", "breaching"), ("a-2", "notBreaching"), ("b", "notBreaching")] {
        let properties = json!({
            "Namespace": "AWS/Lambda", "MetricName": "Errors", "Statistic": "Sum", "Period": 60,
            "Dimensions": [{ "Name": "FunctionName", "Value": "f" }], "EvaluationPeriods": 1,
            "Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": missing,
        });
        let alarm = cloudwatch::from_properties(&served.cloud, &properties).expect("an alarm");
        cloudwatch::put_alarm(&served.cloud, name, alarm).expect("stored");
    }
    let names = async |params: Value| {
        let answer = json_call(&served, &keys, "cloudwatch", "DescribeAlarms", &params).await;
        let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let alarms = answer["MetricAlarms"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let times = alarms.iter().map(|a| a["StateUpdatedTimestamp"].clone());
        assert!(times.into_iter().all(|time| time.is_number()), "{answer}");
        alarms.iter().filter_map(|a| Some(a["AlarmName"].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(names(json!({})).await, ["a-1", "a-2", "b"]);
    assert_eq!(names(json!({ "AlarmNames": ["b", "missing"] })).await, ["b"]);
    assert_eq!(names(json!({ "AlarmNamePrefix": "a-", "StateValue": "ALARM" })).await, ["a-1"]);
    assert_eq!(names(json!({ "AlarmTypes": ["CompositeAlarm"] })).await, [] as [&str; 0]);
    assert_eq!(names(json!({ "MaxRecords": 2 })).await, ["a-1", "a-2"]);
    let params =
        [("Action", "DescribeAlarms"), ("AlarmNames.member.1", "a-1"), ("MaxRecords", "1")];
    let answer = served.query(&keys, "monitoring", &params).await;
    assert_eq!(answer.element("StateValue"), "ALARM", "{}", answer.text());
    assert_eq!(answer.element("TreatMissingData"), "breaching");
    let time = answer.element("StateUpdatedTimestamp");
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
}
