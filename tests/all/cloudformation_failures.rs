//! CloudFormation of the embedded cloud: what stacks do when something fails.

use std::time::Duration;

use serde_json::json;
use steppe_cloud::services::cloudformation::{Refused, signal};

use crate::cloudformation_account::{Account, TOPIC, inventory, request, settle};
use crate::records::refused;

#[tokio::test]
async fn scripted_faults_make_reads_stale_and_deletions_fail() {
    let account = Account::new();
    let script = json!({ "rules": [
        { "service": "cloudformation", "operation": "DescribeStacks", "calls": 2,
          "effect": "stale" },
        { "service": "cloudformation", "operation": "DeleteResource", "effect":
          { "fail_resource": { "named": "AWS::SNS::Topic", "reason":
            "The subnet 'subnet-1' has dependencies and cannot be deleted." } } },
    ] });
    account.cloud.faults.set(script.to_string().as_bytes()).expect("a script");
    let template = format!("{TOPIC}Outputs: {{ Arn: {{ Value: !Ref Own }} }}\n");
    let set = account.change_set("s", "CREATE", &template).await.expect("made");
    let params = json!({ "ChangeSetName": set["ChangeSetId"] });
    account.call("ExecuteChangeSet", params).await.expect("accepted");
    settle(&account.cloud, set["StackId"].as_str().expect("an ID")).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let described = account.call("DescribeStacks", json!({ "StackName": "s" })).await;
        let status = described.expect("described")["Stacks"][0]["StackStatus"].clone();
        seen.push(status.as_str().unwrap_or_default().to_owned());
    }
    assert_eq!(seen, ["REVIEW_IN_PROGRESS", "REVIEW_IN_PROGRESS", "CREATE_COMPLETE"]);
    assert_eq!(account.delete("s").await, "DELETE_FAILED");
    let described = account.call("DescribeStacks", json!({ "StackName": "s" })).await;
    let outputs = described.expect("described")["Stacks"][0]["Outputs"].clone();
    assert_eq!(outputs[0]["OutputKey"], "Arn", "outputs stay");
    let story = account.story("s").await.join("\n");
    assert!(story.contains("Own DELETE_FAILED: The subnet 'subnet-1' has dep"), "{story}");
    assert_eq!(account.delete("s").await, "DELETE_COMPLETE");
}

#[tokio::test]
async fn a_record_that_cannot_be_stored_fails_the_operation() {
    let account = Account::new();
    let cloud = &account.cloud;
    let refusing = refused(&cloud.config.state_dir);
    let error = account.call("CreateStack", request("s", TOPIC, json!({}))).await;
    assert!(error.expect_err("not stored").contains("cannot be stored"));
    assert!(
        cloud.services.cloudformation.stacks.all().is_empty()
            && cloud.services.sns.topics.all().is_empty()
    );
    drop(refusing);
    // The disk refuses in the middle: nothing is called complete that a restart would undo.
    let waiting = "Resources:\n  H: { Type: 'AWS::CloudFormation::WaitConditionHandle' }\n  W: { \
                   Type: 'AWS::CloudFormation::WaitCondition', Properties: { Handle: !Ref H, \
                   Timeout: '60' } }\n  T: { Type: 'AWS::SNS::Topic', DependsOn: W }\n";
    let answer = account.call("CreateStack", request("s", waiting, json!({}))).await;
    let id = answer.expect("accepted")["StackId"].as_str().expect("an ID").to_owned();
    let handle = loop {
        let stack = cloud.services.cloudformation.stacks.get(&id).expect("the stack");
        if stack.resources.contains_key("W") {
            break stack.resources["H"].physical_id.clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let refusing = refused(&cloud.config.state_dir);
    let path = handle.strip_prefix(&cloud.config.endpoint()).expect("an own address").to_owned();
    let done = json!({ "Status": "SUCCESS", "UniqueId": "1", "Data": "" }).to_string();
    assert_eq!(signal(cloud, &path, done.as_bytes()), Ok(()));
    assert!(settle(cloud, &id).await.starts_with("ROLLBACK_"));
    drop(refusing);
    assert_eq!(account.delete("s").await, "DELETE_COMPLETE");
    assert!(inventory(cloud).is_empty(), "{:?}", inventory(cloud));
}

#[tokio::test]
async fn signals_are_bounded_and_forgotten() {
    let account = Account::new();
    let cloud = &account.cloud;
    let template = "Resources:\n  H: { Type: 'AWS::CloudFormation::WaitConditionHandle' }\n  W: { \
                    Type: 'AWS::CloudFormation::WaitCondition', Properties: { Handle: !Ref H, \
                    Timeout: '60', Count: 2 } }\nOutputs: { Data: { Value: !GetAtt W.Data } }\n";
    let answer = account.call("CreateStack", request("s", template, json!({}))).await;
    let id = answer.expect("accepted")["StackId"].as_str().expect("an ID").to_owned();
    let handle = loop {
        let stack = cloud.services.cloudformation.stacks.get(&id).expect("the stack");
        if let Some(handle) = stack.resources.get("H").filter(|h| !h.physical_id.is_empty()) {
            break handle.physical_id.clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let path = handle.strip_prefix(&cloud.config.endpoint()).expect("an own address");
    let send = |unique: &str, data: &str| {
        let body = json!({ "Status": "SUCCESS", "UniqueId": unique, "Data": data });
        signal(cloud, path, body.to_string().as_bytes())
    };
    assert_eq!(signal(cloud, "/_steppe/wait/guess", b"{}"), Err(Refused::Unknown));
    assert!(matches!(send("a", &"x".repeat(5_000)), Err(Refused::Malformed(_))));
    assert!(matches!(signal(cloud, path, b"{}"), Err(Refused::Malformed(_))));
    assert_eq!((send("a", "1"), send("a", "2")), (Ok(()), Ok(())), "the same one again");
    assert_eq!(send("b", "3"), Ok(()));
    assert_eq!(settle(cloud, &id).await, "CREATE_COMPLETE");
    let described = account.call("DescribeStacks", json!({ "StackName": "s" })).await;
    let data = described.expect("described")["Stacks"][0]["Outputs"][0]["OutputValue"].clone();
    assert_eq!(data, r#"{"a":"2","b":"3"}"#);
    // Late ones are taken as AWS takes them, and change nothing.
    assert_eq!(send("c", "4"), Ok(()));
}
