//! What carries which tags, over all services.

use serde_json::{Value, json};

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
    let target = "ResourceGroupsTaggingAPI_20170126.GetResources";
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
        (json!({ "ResourceARNList": ["arn:aws:s3:::b"] }), 501, "ResourceARNList"),
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
