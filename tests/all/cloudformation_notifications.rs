//! CloudFormation of the embedded cloud: events that are published to topics.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use steppe_cloud::kernel::identity::Caller;
use steppe_cloud::kernel::service;
use steppe_cloud::services::iam::Role;

use crate::cloudformation_account::{Account, request, settle};

const TEMPLATE: &str = "Parameters:\n  Word: { Type: String, NoEcho: true, Default: hidden }\n\
                        Resources:\n  Own: { Type: 'AWS::SNS::Topic', Properties: { TopicName: \
                        own, DisplayName: !Ref Word } }\nOutputs:\n  Told: { Value: !Select [0, \
                        !Ref 'AWS::NotificationARNs'] }\n";

/// A topic whose messages become mails; its ARN.
async fn topic(account: &Account, name: &str) -> String {
    let administrator = account.cloud.identities.administrator();
    let call = async |operation: &str, params: Value| {
        let answer = service::call(&account.cloud, &administrator, "sns", operation, &params).await;
        answer.expect("accepted")
    };
    let made = call("CreateTopic", json!({ "Name": name })).await;
    let arn = made["TopicArn"].as_str().expect("an ARN").to_owned();
    let params = json!({ "TopicArn": arn, "Protocol": "email", "Endpoint": "me@example.org" });
    call("Subscribe", params).await;
    arn
}

/// The messages that were sent, by name and value of their lines.
fn messages(account: &Account) -> Vec<BTreeMap<String, String>> {
    let Ok(folder) = std::fs::read_dir(account.cloud.path("outbox")) else { return vec![] };
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let mail = std::fs::read_to_string(entry.expect("an entry").path()).expect("readable");
        assert!(mail.contains("Subject: AWS CloudFormation Notification\r\n"), "{mail}");
        let (_, body) = mail.split_once("\r\n\r\n").expect("a body");
        let line = |line: &str| {
            let (name, value) = line.split_once("='")?;
            Some((name.to_owned(), value.strip_suffix('\'')?.to_owned()))
        };
        body.lines().filter_map(line).collect()
    };
    folder.map(read).collect()
}

/// Somebody who may make stacks and topics, and publish nothing.
fn person(account: &Account) -> Caller {
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "Service": "lambda.amazonaws.com" },
    }] });
    let mut role = Role::new(trust);
    let document = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": ["cloudformation:*", "sns:*Topic*"], "Resource": "*",
    }] });
    role.policies = vec![("p".to_owned(), document)];
    account.cloud.services.iam.roles.put("person", role).expect("stored");
    let arn = "arn:aws:iam::000000000000:role/person";
    account.cloud.assume(arn, "lambda.amazonaws.com", "me").expect("trusted")
}

#[tokio::test]
async fn events_are_published_in_awss_form() {
    let account = Account::new();
    let arn = topic(&account, "told").await;
    let more = json!({ "NotificationARNs": [arn], "ClientRequestToken": "t-1" });
    let (id, status) = account.create_with("s", TEMPLATE, more).await;
    assert_eq!(status, "CREATE_COMPLETE", "{:#?}", account.story("s").await);
    let described = account.call("DescribeStacks", json!({ "StackName": "s" })).await;
    let stack = described.expect("described")["Stacks"][0].clone();
    assert_eq!(stack["NotificationARNs"], json!([arn]));
    assert_eq!(stack["Outputs"][0]["OutputValue"], arn.as_str());
    let told = messages(&account);
    assert_eq!(told.len(), account.story("s").await.len(), "one for each event");
    let of = |name: &str, status: &str| {
        let fits = |m: &&BTreeMap<String, String>| {
            m["LogicalResourceId"] == name && m["ResourceStatus"] == status
        };
        told.iter().find(fits).unwrap_or_else(|| panic!("{told:#?}")).clone()
    };
    let stack = of("s", "CREATE_COMPLETE");
    let is_fixed = |name: &&String| !matches!(name.as_str(), "Timestamp" | "EventId");
    let fixed: Vec<(&str, &str)> = stack
        .iter()
        .filter(|(name, _)| is_fixed(name))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        fixed,
        [
            ("ClientRequestToken", "t-1"),
            ("LogicalResourceId", "s"),
            ("Namespace", "000000000000"),
            ("PhysicalResourceId", id.as_str()),
            ("PrincipalId", account.cloud.identities.administrator().user_id().as_str()),
            ("ResourceProperties", "null"),
            ("ResourceStatus", "CREATE_COMPLETE"),
            ("ResourceStatusReason", ""),
            ("ResourceType", "AWS::CloudFormation::Stack"),
            ("StackId", id.as_str()),
            ("StackName", "s"),
        ]
    );
    let own = of("Own", "CREATE_COMPLETE");
    assert_eq!(own["ResourceProperties"], r#"{"TopicName":"own","DisplayName":"****"}"#);
    // They stay the stack's until it is given others, or none.
    account.update("s", &TEMPLATE.replace("hidden", "other")).await;
    let after = messages(&account).len();
    assert!(after > told.len(), "{after}");
    let none = request("s", &TEMPLATE[..TEMPLATE.find("Outputs").expect("there")], json!({}));
    let mut none = none;
    none["NotificationARNs"] = json!([]);
    account.call("UpdateStack", none).await.expect("accepted");
    settle(&account.cloud, &id).await;
    assert_eq!(account.delete("s").await, "DELETE_COMPLETE");
    assert_eq!(messages(&account).len(), after);
}

#[tokio::test]
async fn who_names_a_topic_may_publish_to_it() {
    let account = Account::new();
    let arn = topic(&account, "told").await;
    let refused = async |topics: Value, caller: &Caller| {
        let params = request("s", TEMPLATE, json!({ "NotificationARNs": topics }));
        let answer =
            service::call(&account.cloud, caller, "cloudformation", "CreateStack", &params).await;
        answer.expect_err("refused").to_string()
    };
    let administrator = account.cloud.identities.administrator();
    let other = arn.replace("told", "other");
    for (topics, words) in [
        (
            json!([other]),
            "Topic does not exist (Service: AmazonSNS; Status Code: 404; Error Code: ",
        ),
        (json!(["told"]), "Invalid parameter: TopicArn (Service: AmazonSNS; Status Code: 400"),
        (json!([arn, arn, arn, arn, arn, arn]), "Member must have length less than or equal to 5"),
    ] {
        let error = refused(topics, &administrator).await;
        assert!(error.contains(words), "{error}");
    }
    let error = refused(json!([arn]), &person(&account)).await;
    assert!(
        error.contains("is not authorized to perform: SNS:Publish on resource")
            && error.contains("Status Code: 403; Error Code: AuthorizationError"),
        "{error}"
    );
}
