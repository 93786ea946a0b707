//! Who called what: events over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use crate::in_process::role;
use crate::signed::{Keys, Request, Served};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn send(served: &Served, keys: &Keys, params: &Value) -> (u16, Value) {
    let target = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents";
    let headers = vec![("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
    let body = params.to_string();
    let request = Request { body: &body, ..Request::with(keys, "cloudtrail", "/", headers) };
    let answer = served.send(&request).await;
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

/// The events with an attribute.
async fn events(served: &Served, key: &str, value: &str) -> Vec<Value> {
    let attribute = json!({ "AttributeKey": key, "AttributeValue": value });
    let params = json!({ "LookupAttributes": [attribute] });
    let (status, answer) = send(served, &served.administrator(), &params).await;
    assert_eq!(status, 200, "{answer}");
    answer["Events"].as_array().cloned().expect("a list")
}

/// An event itself.
fn record(event: &Value) -> Value {
    serde_json::from_str(event["CloudTrailEvent"].as_str().expect("a text")).expect("JSON")
}

async fn s3(served: &Served, keys: &Keys, method: &str, path: &str) -> u16 {
    let form = Request::form(keys, "s3");
    let request = Request { method, path, headers: vec![], body: "", ..form };
    served.send(&request).await.status
}

/// Keys of a session of a role that may make buckets and look events up.
async fn session(served: &Served) -> Keys {
    let keys = served.administrator();
    let trust = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow",
        "Principal": { "AWS": "arn:aws:iam::000000000000:root" }, "Action": "sts:AssumeRole" }] });
    let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow",
        "Action": ["s3:CreateBucket", "s3:PutObject"], "Resource": "*" }] });
    let trust = trust.to_string();
    let policy = policy.to_string();
    for params in [
        vec![
            ("Action", "CreateRole"),
            ("RoleName", "maker"),
            ("AssumeRolePolicyDocument", trust.as_str()),
        ],
        vec![
            ("Action", "PutRolePolicy"),
            ("RoleName", "maker"),
            ("PolicyName", "p"),
            ("PolicyDocument", policy.as_str()),
        ],
    ] {
        let answer = served.query(&keys, "iam", &params).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let params = [
        ("Action", "AssumeRole"),
        ("RoleArn", "arn:aws:iam::000000000000:role/maker"),
        ("RoleSessionName", "someone"),
    ];
    let answer = served.query(&keys, "sts", &params).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    Keys {
        id: answer.element("AccessKeyId"),
        secret: answer.element("SecretAccessKey"),
        token: Some(answer.element("SessionToken")),
    }
}

#[tokio::test]
async fn events_have_the_form_of_cloudtrail() {
    let served = Served::start().await;
    let keys = session(&served).await;
    assert_eq!(s3(&served, &keys, "PUT", "/made-bucket").await, 200);
    assert_eq!(s3(&served, &keys, "PUT", "/made-bucket/key").await, 200);
    assert_eq!(s3(&served, &keys, "DELETE", "/made-bucket").await, 403);
    let made = events(&served, "EventName", "CreateBucket").await;
    let [made] = made.as_slice() else { panic!("{made:#?}") };
    assert_eq!(made["Username"], "someone");
    assert_eq!(
        (&made["ReadOnly"], &made["EventSource"]),
        (&json!("false"), &json!("s3.amazonaws.com"))
    );
    let bucket = json!([{ "ResourceType": "AWS::S3::Bucket", "ResourceName": "made-bucket" }]);
    assert_eq!(made["Resources"], bucket);
    let event = record(made);
    let identity = &event["userIdentity"];
    assert_eq!(
        (&identity["type"], &identity["accessKeyId"]),
        (&json!("AssumedRole"), &json!(keys.id))
    );
    let issuer = &identity["sessionContext"]["sessionIssuer"];
    assert_eq!(issuer["arn"], "arn:aws:iam::000000000000:role/maker");
    assert_eq!((&issuer["type"], &issuer["userName"]), (&json!("Role"), &json!("maker")));
    assert_eq!(identity["arn"], "arn:aws:sts::000000000000:assumed-role/maker/someone");
    for (member, value) in [
        ("eventVersion", json!("1.11")),
        ("eventName", json!("CreateBucket")),
        ("awsRegion", json!("us-east-1")),
        ("sourceIPAddress", json!("127.0.0.1")),
        ("eventType", json!("AwsApiCall")),
        ("managementEvent", json!(true)),
        ("readOnly", json!(false)),
        ("eventID", made["EventId"].clone()),
    ] {
        assert_eq!(event[member], value, "{member}");
    }
    assert_eq!(event.get("errorCode"), None);
    // What was denied is an event as well; what is done to objects is none.
    let denied = events(&served, "EventName", "DeleteBucket").await;
    let denied = record(&denied[0]);
    assert_eq!(denied["errorCode"], "AccessDenied");
    let words = denied["errorMessage"].as_str().expect("words");
    assert!(words.contains("is not authorized to perform: s3:DeleteBucket"), "{words}");
    assert_eq!(s3(&served, &served.administrator(), "HEAD", "/no-bucket").await, 404);
    let missing = events(&served, "EventName", "HeadBucket").await;
    assert_eq!(record(&missing[0])["errorCode"], "NoSuchBucket");
    assert_eq!(events(&served, "EventName", "PutObject").await, [] as [Value; 0]);
}

#[tokio::test]
async fn events_are_found_by_one_attribute_and_within_a_time() {
    let served = Served::start().await;
    let keys = session(&served).await;
    assert_eq!(s3(&served, &keys, "PUT", "/made-bucket").await, 200);
    for (key, value, count) in [
        ("EventSource", "iam.amazonaws.com", 2),
        ("Username", "someone", 1),
        ("Username", "administrator", 3),
        ("ResourceName", "maker", 3),
        ("ResourceType", "AWS::IAM::Role", 3),
        ("AccessKeyId", keys.id.as_str(), 1),
        ("EventId", "nothing", 0),
        ("ReadOnly", "false", 3),
    ] {
        let found = events(&served, key, value).await;
        // Lookups are events as well.
        let others = found.iter().filter(|e| e["EventName"] != "LookupEvents").count();
        assert_eq!(others, count, "{key} {value}: {found:#?}");
    }
    let two = json!({ "LookupAttributes": [
        { "AttributeKey": "EventName", "AttributeValue": "a" },
        { "AttributeKey": "EventName", "AttributeValue": "b" },
    ] });
    for (params, code) in [
        (two, "InvalidLookupAttributesException"),
        (json!({ "StartTime": 2, "EndTime": 1 }), "InvalidTimeRangeException"),
        (json!({ "MaxResults": 51 }), "InvalidMaxResultsException"),
        (json!({ "NextToken": "x" }), "InvalidNextTokenException"),
        (json!({ "EventCategory": "insight" }), "NotImplemented"),
    ] {
        let (_, answer) = send(&served, &served.administrator(), &params).await;
        assert_eq!(answer["__type"], code, "{answer}");
    }
    let (status, answer) = send(&served, &keys, &json!({})).await;
    assert_eq!((status, &answer["__type"]), (400, &json!("AccessDeniedException")));
    // Ninety days later nothing of it can be looked up.
    served.cloud.clock.advance(91 * DAY);
    assert_eq!(events(&served, "EventSource", "iam.amazonaws.com").await.len(), 0);
}

#[tokio::test]
async fn pages_have_the_newest_first_and_nothing_twice() {
    let served = Served::start().await;
    let keys = served.administrator();
    for number in 0..7 {
        let name = format!("topic-{number}");
        let params = [("Action", "CreateTopic"), ("Name", name.as_str())];
        assert_eq!(served.query(&keys, "sns", &params).await.status, 200);
    }
    let attribute = json!([{ "AttributeKey": "EventName", "AttributeValue": "CreateTopic" }]);
    let (mut seen, mut params) =
        (vec![], json!({ "LookupAttributes": attribute, "MaxResults": 3 }));
    loop {
        let (status, page) = send(&served, &keys, &params).await;
        assert_eq!(status, 200, "{page}");
        let events = page["Events"].as_array().expect("a list");
        let name = |e: &Value| e["Resources"][0]["ResourceName"].as_str().map(str::to_owned);
        seen.extend(events.iter().filter_map(name));
        let Some(token) = page["NextToken"].as_str() else { break };
        params["NextToken"] = token.into();
        let mut other = params.clone();
        other["LookupAttributes"][0]["AttributeValue"] = "DeleteTopic".into();
        let (_, refused) = send(&served, &keys, &other).await;
        assert_eq!(refused["__type"], "InvalidNextTokenException");
    }
    let expected: Vec<String> = (0..7).rev().map(|n| format!("topic-{n}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn what_cloudformation_does_is_told_as_done_by_it() {
    let home = crate::in_process::InProcess::start().await;
    let role = role("made", "lambda.amazonaws.com", &["s3:GetObject"]);
    let resources = json!({ "Queue": { "Type": "AWS::SQS::Queue" }, "Role": role });
    let id = home.created("s", resources).await;
    assert_eq!(home.delete(&id).await, "DELETE_COMPLETE");
    let text = std::fs::read_to_string(home.folder().join("trail.ndjson")).expect("readable");
    let lines = text.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    let event = |name: &str| {
        let found = lines.clone().find(|line| line["event"]["eventName"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {text}"))["event"].clone()
    };
    for name in ["CreateQueue", "CreateRole", "PutRolePolicy", "DeleteQueue", "DeleteRole"] {
        let made = event(name);
        assert_eq!(made["userIdentity"]["invokedBy"], "cloudformation.amazonaws.com", "{name}");
        assert_eq!(made["sourceIPAddress"], "cloudformation.amazonaws.com", "{name}");
    }
    let of_role = lines.clone().find(|line| line["event"]["eventName"] == "CreateRole");
    assert_eq!(
        of_role.expect("an event")["resources"],
        json!(["arn:aws:iam::000000000000:role/made"])
    );
    assert_eq!(event("CreateStack")["userIdentity"]["type"], "IAMUser");
}
