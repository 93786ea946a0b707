//! What carries which tags, over all services.

use serde_json::{Value, json};
use steppe_cloud::kernel::service;

use crate::signed::{Keys, Request, Served};

const STACK: &str = r#"{ "Resources": {
    "Bucket": { "Type": "AWS::S3::Bucket", "Properties": { "BucketName": "tagged-bucket",
        "Tags": [{ "Key": "team", "Value": "own" }] } },
    "Vpc": { "Type": "AWS::EC2::VPC", "Properties": { "CidrBlock": "10.0.0.0/16" } },
    "Database": { "Type": "AWS::Glue::Database", "Properties": {
        "CatalogId": { "Ref": "AWS::AccountId" }, "DatabaseInput": { "Name": "d" } } },
    "Topic": { "Type": "AWS::SNS::Topic", "Properties": { "TopicName": "t" } },
    "Group": { "Type": "AWS::Logs::LogGroup", "Properties": { "LogGroupName": "/g" } } } }"#;

async fn resources(served: &Served, keys: &Keys, params: &Value) -> (u16, Value) {
    call(served, keys, "GetResources", params).await
}

async fn call(served: &Served, keys: &Keys, operation: &str, params: &Value) -> (u16, Value) {
    let target = format!("ResourceGroupsTaggingAPI_20170126.{operation}");
    let target = target.as_str();
    let headers = vec![("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
    let body = params.to_string();
    let request = Request { body: &body, ..Request::with(keys, "tagging", "/", headers) };
    let answer = served.send(&request).await;
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

/// The last parts of the ARNs of an answer.
fn names(answer: &Value) -> Vec<&str> {
    let listed = answer["ResourceTagMappingList"].as_array().expect("a list");
    let arns = listed.iter().map(|r| r["ResourceARN"].as_str().expect("an ARN"));
    arns.map(|arn| arn.splitn(6, ':').last().expect("a part")).collect()
}

/// A cloud with a stack of five resources under the tags `team` and `place`.
async fn start() -> (Served, Keys) {
    let served = Served::start().await;
    let keys = served.administrator();
    let params = [
        ("Action", "CreateStack"),
        ("StackName", "s"),
        ("TemplateBody", STACK),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "theirs"),
        ("Tags.member.2.Key", "place"),
        ("Tags.member.2.Value", "here"),
    ];
    let made = served.query(&keys, "cloudformation", &params).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let complete = || {
        served
            .cloud
            .services
            .cloudformation
            .stacks
            .all()
            .iter()
            .all(|(_, s)| s.status == "CREATE_COMPLETE")
    };
    crate::in_process::until("the stack is made", complete).await;
    (served, keys)
}

#[tokio::test]
async fn whatever_has_all_tags_is_found_page_by_page_as_long_as_it_is_there() {
    let (served, keys) = start().await;
    let here = json!([{ "Key": "place", "Values": ["there", "here"] }]);
    let (status, all) = resources(&served, &keys, &json!({ "TagFilters": here })).await;
    assert_eq!((status, &all["PaginationToken"]), (200, &json!("")), "{all}");
    let found = names(&all);
    assert_eq!(found.len(), 5, "a database has no tags, the stack has: {found:?}");
    assert!(found.contains(&"log-group:/g") && found.contains(&"tagged-bucket"), "{found:?}");
    // A template's own tag goes before the stack's.
    let own = json!({ "TagFilters": [{ "Key": "team", "Values": ["own"] }] });
    assert_eq!(names(&resources(&served, &keys, &own).await.1), ["tagged-bucket"]);
    let both = json!({ "TagFilters": [
        { "Key": "team", "Values": ["own"] }, { "Key": "place", "Values": ["there"] },
    ] });
    assert_eq!(names(&resources(&served, &keys, &both).await.1), Vec::<&str>::new());
    let kinds = json!({ "TagFilters": here, "ResourceTypeFilters": ["ec2:vpc", "logs"] });
    assert_eq!(names(&resources(&served, &keys, &kinds).await.1).len(), 2);

    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let asked = json!({
            "TagFilters": here, "ResourcesPerPage": 2, "PaginationToken": token,
        });
        let page = resources(&served, &keys, &asked).await.1;
        assert!(names(&page).len() <= 2);
        seen.extend(names(&page).into_iter().map(str::to_owned));
        page["PaginationToken"].as_str().expect("a token").clone_into(&mut token);
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, found);

    served.cloud.services.logs.groups.remove("/g").expect("stored");
    let left = resources(&served, &keys, &json!({ "TagFilters": here })).await.1;
    assert!(!names(&left).contains(&"log-group:/g"), "{left}");
}

#[tokio::test]
async fn what_is_not_done_is_refused_by_name() {
    let (served, keys) = start().await;
    for (params, status, expected) in [
        (json!({ "IncludeComplianceDetails": true }), 501, "IncludeComplianceDetails"),
        (json!({ "TagsPerPage": 100 }), 501, "TagsPerPage"),
        (
            json!({ "ResourceARNList": ["arn:aws:s3:::b"], "ResourcesPerPage": 1 }),
            400,
            "ResourceARNList and ResourcesPerPage cannot be specified in the same request.",
        ),
        (json!({ "TagFilters": [{ "Key": "k", "Value": "v" }] }), 501, "Value"),
        (json!({ "TagFilters": [{ "Values": ["v"] }] }), 400, "A tag filter has a key"),
        (json!({ "ResourcesPerPage": 101 }), 400, "ResourcesPerPage must be 1 to 100."),
        (json!({ "PaginationToken": "x" }), 400, "Invalid Token: 'x'"),
    ] {
        let (code, answer) = resources(&served, &keys, &params).await;
        assert_eq!(code, status, "{answer}");
        let message = answer["message"].as_str().or_else(|| answer["Message"].as_str());
        assert!(message.expect("words").contains(expected), "{answer}");
    }
}

/// One resource of every service that keeps tags itself, made by its own operations.
async fn made(served: &Served) -> Vec<String> {
    let administrator = served.cloud.identities.administrator();
    let ask = async |service: &str, operation: &str, params: Value| {
        let answer = service::call(&served.cloud, &administrator, service, operation, &params);
        answer.await.unwrap_or_else(|error| panic!("{service}:{operation}: {error}"))
    };
    served.cloud.services.s3.create("own-bucket", json!([])).expect("made");
    ask("sqs", "CreateQueue", json!({ "QueueName": "q" })).await;
    ask("sns", "CreateTopic", json!({ "Name": "t" })).await;
    let table = json!({
        "TableName": "items", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "k", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "k", "KeyType": "HASH" }],
    });
    ask("dynamodb", "CreateTable", table).await;
    ask("kinesis", "CreateStream", json!({ "StreamName": "s", "ShardCount": 1 })).await;
    let key = ask("kms", "CreateKey", json!({})).await;
    for name in ["plain", "/in/folder"] {
        let parameter = json!({ "Name": name, "Type": "String", "Value": "v" });
        ask("ssm", "PutParameter", parameter).await;
    }
    ask("scheduler", "CreateScheduleGroup", json!({ "Name": "g" })).await;
    let rule = json!({ "Name": "r", "ScheduleExpression": "rate(1 day)" });
    ask("events", "PutRule", rule).await;
    let alarm = json!({
        "AlarmName": "a", "MetricName": "m", "Namespace": "n", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
    });
    ask("monitoring", "PutMetricAlarm", alarm).await;
    let here =
        |service: &str, rest: &str| format!("arn:aws:{service}:us-east-1:000000000000:{rest}");
    vec![
        "arn:aws:s3:::own-bucket".to_owned(),
        here("sqs", "q"),
        here("sns", "t"),
        here("dynamodb", "table/items"),
        here("kinesis", "stream/s"),
        key["KeyMetadata"]["Arn"].as_str().expect("an ARN").to_owned(),
        here("ssm", "parameter/plain"),
        here("ssm", "parameter/in/folder"),
        here("scheduler", "schedule-group/g"),
        here("events", "rule/r"),
        here("cloudwatch", "alarm:a"),
    ]
}

#[tokio::test]
async fn tags_of_every_service_are_given_found_and_taken() {
    let served = Served::start().await;
    let keys = served.administrator();
    let arns = made(&served).await;
    let tags = json!({ "ResourceARNList": arns, "Tags": { "team": "a", "stage": "test" } });
    let (status, answer) = call(&served, &keys, "TagResources", &tags).await;
    assert_eq!((status, &answer["FailedResourcesMap"]), (200, &json!({})), "{answer}");
    let found = async |filter: Value| {
        let (status, answer) = resources(&served, &keys, &filter).await;
        assert_eq!(status, 200, "{answer}");
        let listed = answer["ResourceTagMappingList"].as_array().cloned().expect("a list");
        listed.iter().map(|r| r["ResourceARN"].as_str().expect("an ARN").to_owned()).collect()
    };
    let mut all = arns.clone();
    all.sort();
    let team = json!({ "TagFilters": [{ "Key": "team", "Values": ["a"] }] });
    let listed: Vec<String> = found(team.clone()).await;
    assert_eq!(listed, all);
    let queues: Vec<String> = found(json!({ "ResourceTypeFilters": ["sqs:queue"] })).await;
    assert_eq!(queues, [arns[1].as_str()]);
    let named: Vec<String> =
        found(json!({ "ResourceARNList": [arns[1], "arn:aws:s3:::no"] })).await;
    assert_eq!(named, [arns[1].as_str()]);
    // The service says the same.
    let url = format!("{}/000000000000/q", served.cloud.config.endpoint());
    let asked = json!({ "QueueUrl": url });
    let administrator = served.cloud.identities.administrator();
    let own = service::call(&served.cloud, &administrator, "sqs", "ListQueueTags", &asked).await;
    assert_eq!(own.expect("answered")["Tags"], json!({ "stage": "test", "team": "a" }));

    let (_, answer) = call(&served, &keys, "GetTagKeys", &json!({})).await;
    assert_eq!(answer["TagKeys"], json!(["stage", "team"]));
    let more = json!({ "ResourceARNList": [arns[0]], "Tags": { "team": "b" } });
    assert_eq!(call(&served, &keys, "TagResources", &more).await.0, 200);
    let (_, answer) = call(&served, &keys, "GetTagValues", &json!({ "Key": "team" })).await;
    assert_eq!(answer["TagValues"], json!(["a", "b"]));

    let taken = json!({ "ResourceARNList": arns, "TagKeys": ["team", "unknown"] });
    let (status, answer) = call(&served, &keys, "UntagResources", &taken).await;
    assert_eq!((status, &answer["FailedResourcesMap"]), (200, &json!({})), "{answer}");
    let left: Vec<String> = found(team).await;
    assert_eq!(left, [""; 0]);
    let stage = json!({ "TagFilters": [{ "Key": "stage", "Values": [] }] });
    let left: Vec<String> = found(stage).await;
    assert_eq!(left, all, "other tags stay");
}

#[tokio::test]
async fn what_cannot_be_tagged_is_told_or_refused_by_name() {
    let (served, keys) = start().await;
    let topic = "arn:aws:sns:us-east-1:000000000000:t";
    let tag = |arn: &str| json!({ "ResourceARNList": [arn], "Tags": { "k": "v" } });
    let untag = |arn: &str, key: &str| json!({ "ResourceARNList": [arn], "TagKeys": [key] });
    for (operation, params, status, expected) in [
        ("TagResources", tag("not-an-arn"), 400, "not-an-arn is not a valid ARN."),
        (
            "TagResources",
            tag("arn:aws:logs:us-east-1:000000000000:log-group:/g"),
            501,
            "has tags by its stack only",
        ),
        ("UntagResources", untag(topic, "place"), 501, "has the tag place by its stack."),
        (
            "TagResources",
            json!({ "ResourceARNList": [topic], "Tags": { "aws:k": "v" } }),
            400,
            "Tag keys cannot begin with aws:.",
        ),
    ] {
        let (code, answer) = call(&served, &keys, operation, &params).await;
        assert_eq!(code, status, "{answer}");
        assert!(answer["message"].as_str().expect("words").contains(expected), "{answer}");
    }
    let gone = "arn:aws:sqs:us-east-1:000000000000:gone";
    let both = json!({ "ResourceARNList": [gone, topic], "Tags": { "place": "there" } });
    let (status, answer) = call(&served, &keys, "TagResources", &both).await;
    assert_eq!(status, 200, "{answer}");
    let failed = &answer["FailedResourcesMap"];
    assert_eq!(failed.as_object().map(serde_json::Map::len), Some(1), "{answer}");
    assert_eq!(failed[gone]["ErrorMessage"], "The specified queue does not exist.");
    // What somebody gives goes before what the stack gives.
    let there = json!({ "TagFilters": [{ "Key": "place", "Values": ["there"] }] });
    assert_eq!(names(&resources(&served, &keys, &there).await.1), ["t"]);
}
