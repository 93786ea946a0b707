//! Stacks of the embedded cloud: made, changed, rolled back and deleted.

use std::time::Duration;

use serde_json::json;

use crate::running::{BUCKET, start};

#[tokio::test]
async fn a_stack_is_made_changed_and_deleted() {
    let running = start().await;
    let id =
        running.create(&format!("{BUCKET}Outputs:\n  Arn:\n    Value: !GetAtt Data.Arn\n")).await;
    assert_eq!(running.settle(&id).await, "CREATE_COMPLETE");
    let stack =
        running.call("DescribeStacks", json!({ "StackName": "s" })).await.expect("described");
    assert_eq!(stack["Stacks"][0]["Outputs"][0]["OutputValue"], "arn:aws:s3:::my-data");
    let changed = format!(
        "{BUCKET}  Topic:\n    Type: AWS::SNS::Topic\n    Properties:\n      DisplayName: !Ref Data\n"
    );
    running
        .call("UpdateStack", json!({ "StackName": "s", "TemplateBody": changed }))
        .await
        .expect("accepted");
    assert_eq!(running.settle(&id).await, "UPDATE_COMPLETE");
    assert_eq!(running.cloud.services.sns.topics.all().len(), 1);
    let again =
        running.call("UpdateStack", json!({ "StackName": "s", "TemplateBody": changed })).await;
    assert_eq!(again, Err("ValidationError: No updates are to be performed.".to_owned()));
    running
        .call("UpdateStack", json!({ "StackName": "s", "TemplateBody": BUCKET }))
        .await
        .expect("accepted");
    assert_eq!(
        (running.settle(&id).await.as_str(), running.cloud.services.sns.topics.all().len()),
        ("UPDATE_COMPLETE", 0)
    );
    running.call("DeleteStack", json!({ "StackName": "s" })).await.expect("accepted");
    assert_eq!(
        (running.settle(&id).await.as_str(), running.cloud.services.s3.all().len()),
        ("DELETE_COMPLETE", 0)
    );
}

#[tokio::test]
async fn a_failed_creation_is_rolled_back_with_the_reason() {
    let running = start().await;
    let template = format!(
        "{BUCKET}  Handle:\n    Type: AWS::CloudFormation::WaitConditionHandle\n  Ready:\n    Type: AWS::CloudFormation::WaitCondition\n    DependsOn: Data\n    Properties:\n      Handle: !Ref Handle\n      Timeout: \"0\"\n"
    );
    let id = running.create(&template).await;
    assert_eq!(running.settle(&id).await, "ROLLBACK_COMPLETE");
    assert!(running.cloud.services.s3.all().is_empty(), "the bucket must be gone");
    let reasons = running.reasons(&id).await;
    assert!(
        reasons.iter().any(|r| r == "Ready CREATE_FAILED: WaitCondition timed out. Received 0 conditions when expecting 1"),
        "{reasons:?}"
    );
    let update = running
        .call("UpdateStack", json!({ "StackName": "s", "TemplateBody": BUCKET }))
        .await
        .expect_err("cannot be updated");
    assert!(update.contains("is in ROLLBACK_COMPLETE state and can not be updated"), "{update}");
}

#[tokio::test]
async fn an_instance_runs_its_user_data_and_a_failed_boot_fails_the_stack_with_the_reason() {
    let running = start().await;
    let boot = |status: &str| {
        format!(
            "Resources:\n  Handle:\n    Type: AWS::CloudFormation::WaitConditionHandle\n  Machine:\n    Type: AWS::EC2::Instance\n    Properties:\n      ImageId: ami-x\n      UserData:\n        Fn::Base64: !Sub |\n          #!/bin/bash\n          T=$(curl -sS -X PUT -H \"X-aws-ec2-metadata-token-ttl-seconds: 60\" $AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/api/token)\n          IP=$(curl -sS -H \"X-aws-ec2-metadata-token: $T\" $AWS_EC2_METADATA_SERVICE_ENDPOINT/latest/meta-data/local-ipv4)\n          curl -sS -X PUT --data-binary '{{\"Status\":\"{status}\",\"Reason\":\"no disk\",\"UniqueId\":\"m\",\"Data\":\"'$IP'\"}}' ${{Handle}}\n  Ready:\n    Type: AWS::CloudFormation::WaitCondition\n    DependsOn: Machine\n    Properties:\n      Handle: !Ref Handle\n      Timeout: \"60\"\n"
        )
    };
    let id = running.create(&boot("FAILURE")).await;
    assert_eq!(running.settle(&id).await, "ROLLBACK_COMPLETE");
    let reasons = running.reasons(&id).await;
    assert!(
        reasons.iter().any(|r| r == "Ready CREATE_FAILED: WaitCondition received failed message: 'no disk' for uniqueId: m"),
        "{reasons:?}"
    );
    assert!(running.cloud.services.ec2.instances.all().is_empty());
    running.call("DeleteStack", json!({ "StackName": "s" })).await.expect("accepted");
    running.settle(&id).await;
    let id = running.create(&boot("SUCCESS")).await;
    assert_eq!(running.settle(&id).await, "CREATE_COMPLETE", "{:?}", running.reasons(&id).await);
    let stack = running.cloud.services.cloudformation.stacks.get(&id).expect("the stack");
    let address = &stack.resources["Machine"].attributes["PrivateIp"];
    assert_eq!(stack.resources["Ready"].attributes["Data"], json!(format!("{{\"m\":{address}}}")));
}

#[tokio::test]
async fn a_failed_update_puts_everything_back() {
    let running = start().await;
    let topic = |name: &str| {
        format!(
            "{BUCKET}  Topic:\n    Type: AWS::SNS::Topic\n    Properties:\n      TopicName: t\n      DisplayName: {name}\n"
        )
    };
    let id = running.create(&topic("before")).await;
    let broken = format!(
        "{}  Group:\n    Type: AWS::Logs::LogGroup\n    Properties:\n      LogGroupName: taken\n    DependsOn: Topic\n  Twin:\n    Type: AWS::Logs::LogGroup\n    DependsOn: Group\n    Properties:\n      LogGroupName: taken\n",
        topic("after")
    );
    running
        .call("UpdateStack", json!({ "StackName": "s", "TemplateBody": broken }))
        .await
        .expect("accepted");
    assert_eq!(running.settle(&id).await, "UPDATE_ROLLBACK_COMPLETE");
    assert_eq!(running.cloud.services.sns.topics.all()[0].1.display_name, "before");
    let reasons = running.reasons(&id).await;
    assert!(
        reasons
            .iter()
            .any(|r| r.starts_with("Twin CREATE_FAILED: Resource of type 'AWS::Logs::LogGroup'")),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn a_failed_rollback_can_be_continued() {
    let running = start().await;
    let with = |name: &str| {
        format!(
            "{BUCKET}  Machine:\n    Type: AWS::EC2::Instance\n    Properties:\n      ImageId: ami-x\n      UserData: IyEvYmluL3NoCg==\n      Tags: [{{ Key: name, Value: {name} }}]\n"
        )
    };
    let id = running.create(&with("before")).await;
    let machine = running
        .cloud
        .services
        .cloudformation
        .stacks
        .get(&id)
        .expect("the stack")
        .resources["Machine"]
        .physical_id
        .clone();
    let broken = format!(
        "{}  Handle:\n    Type: AWS::CloudFormation::WaitConditionHandle\n  Never:\n    Type: AWS::CloudFormation::WaitCondition\n    DependsOn: Machine\n    Properties:\n      Handle: !Ref Handle\n      Timeout: \"1\"\n",
        with("after")
    );
    running
        .call("UpdateStack", json!({ "StackName": "s", "TemplateBody": broken }))
        .await
        .expect("accepted");
    while running
        .cloud
        .services
        .ec2
        .instances
        .get(&machine)
        .is_some_and(|i| i.tags[0]["Value"] == "before")
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Somebody deletes the instance behind the stack's back, so that its tags cannot be put back.
    let instance = running
        .cloud
        .services
        .ec2
        .instances
        .remove(&machine)
        .expect("deleted")
        .expect("an instance");
    assert_eq!(running.settle(&id).await, "UPDATE_ROLLBACK_FAILED");
    let early = running
        .call("UpdateStack", json!({ "StackName": "s", "TemplateBody": BUCKET }))
        .await
        .expect_err("wedged");
    assert!(early.contains("UPDATE_ROLLBACK_FAILED state and can not be updated"), "{early}");
    running.cloud.services.ec2.instances.put(&machine, (*instance).clone()).expect("stored");
    running.call("ContinueUpdateRollback", json!({ "StackName": "s" })).await.expect("accepted");
    assert_eq!(running.settle(&id).await, "UPDATE_ROLLBACK_COMPLETE");
    assert_eq!(
        running.cloud.services.ec2.instances.get(&machine).expect("back").tags[0]["Value"],
        "before"
    );
}

#[tokio::test]
async fn a_bucket_that_is_not_empty_keeps_the_stack_until_it_is() {
    let running = start().await;
    let id = running.create(BUCKET).await;
    running.cloud.services.s3.put_bytes("my-data", "k", b"x").expect("stored");
    running.call("DeleteStack", json!({ "StackName": "s" })).await.expect("accepted");
    assert_eq!(running.settle(&id).await, "DELETE_FAILED");
    assert!(
        running
            .reasons(&id)
            .await
            .iter()
            .any(|r| r.contains("The bucket you tried to delete is not empty"))
    );
    running.cloud.services.s3.remove_now("my-data", "k").expect("removed");
    running.call("DeleteStack", json!({ "StackName": "s" })).await.expect("accepted");
    assert_eq!(running.settle(&id).await, "DELETE_COMPLETE");
}

#[tokio::test]
async fn a_change_set_shows_properties_and_replacement() {
    let running = start().await;
    running.create(BUCKET).await;
    let params = json!({ "StackName": "s", "ChangeSetName": "c", "TemplateBody": BUCKET.replace("my-data", "other-data") });
    running.call("CreateChangeSet", params).await.expect("accepted");
    let set = running
        .call(
            "DescribeChangeSet",
            json!({ "StackName": "s", "ChangeSetName": "c", "IncludePropertyValues": true }),
        )
        .await
        .expect("described");
    let change = &set["Changes"][0]["ResourceChange"];
    assert_eq!(
        (change["Action"].as_str(), change["Replacement"].as_str()),
        (Some("Modify"), Some("True"))
    );
    let target = &change["Details"][0]["Target"];
    assert_eq!(
        (target["BeforeValue"].as_str(), target["AfterValue"].as_str()),
        (Some("my-data"), Some("other-data"))
    );
    running
        .call(
            "CreateChangeSet",
            json!({ "StackName": "s", "ChangeSetName": "n", "TemplateBody": BUCKET }),
        )
        .await
        .expect("accepted");
    let none = running
        .call("DescribeChangeSet", json!({ "StackName": "s", "ChangeSetName": "n" }))
        .await
        .expect("described");
    assert!(
        none["Status"] == "FAILED"
            && none["StatusReason"].as_str().is_some_and(|r| r.contains("didn't contain changes")),
        "{none}"
    );
}
