//! CloudFormation of the embedded cloud: exports, stack policies, service roles, kept failures,
//! cancelled updates, rules and drift.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cloudformation_account::{Account, TOPIC, request, settle};

const EXPORTING: &str = "Resources:\n  Own: { Type: 'AWS::SNS::Topic', Properties: { TopicName: \
                         own, DisplayName: First } }\nOutputs:\n  Name: { Value: !GetAtt \
                         Own.TopicName, Export: { Name: !Sub '${AWS::StackName}-name' } }\n";
const IMPORTING: &str = "Resources:\n  Uses: { Type: 'AWS::SNS::Topic', Properties: { TopicName: \
                         uses, DisplayName: !ImportValue base-name } }\n";

#[tokio::test]
async fn what_is_imported_stays_as_it_is() {
    let account = Account::new();
    let (id, status) = account.create("early", IMPORTING).await;
    assert_eq!(status, "ROLLBACK_COMPLETE");
    let story = account.story(&id).await;
    let words =
        "early ROLLBACK_IN_PROGRESS: No export named base-name found. Rollback requested by user.";
    assert!(story.iter().any(|line| line == words), "{story:#?}");
    let set = account.change_set("later", "CREATE", IMPORTING).await.expect("made");
    assert_eq!(set["StatusReason"], "No export named base-name found.");
    account.create("base", EXPORTING).await;
    let (_, status) = account.create("app", IMPORTING).await;
    assert_eq!(status, "CREATE_COMPLETE");
    let topics = account.cloud.services.sns.topics.all();
    assert!(topics.iter().any(|(_, topic)| topic.display_name == "own"));
    let exports = account.call("ListExports", json!({})).await.expect("listed");
    assert_eq!(exports["Exports"][0]["Name"], "base-name");
    assert_eq!(exports["Exports"][0]["Value"], "own");
    let imports = account.call("ListImports", json!({ "ExportName": "base-name" })).await;
    assert_eq!(imports.expect("listed")["Imports"], json!(["app"]));
    // Neither changed, nor deleted, nor exported twice, while it is in use.
    let gone = account.update("base", TOPIC).await;
    assert_eq!(gone, "UPDATE_ROLLBACK_COMPLETE");
    let story = account.story("base").await.join("\n");
    assert!(story.contains("Export base-name cannot be deleted as it is in use by app"), "{story}");
    let changed = account.update("base", &EXPORTING.replace("own", "other")).await;
    assert_eq!(changed, "UPDATE_ROLLBACK_COMPLETE");
    let story = account.story("base").await.join("\n");
    assert!(story.contains("Export base-name cannot be updated as it is in use by app"), "{story}");
    assert_eq!(account.delete("base").await, "UPDATE_ROLLBACK_COMPLETE");
    let described = account.call("DescribeStacks", json!({ "StackName": "base" })).await;
    assert_eq!(
        described.expect("described")["Stacks"][0]["StackStatusReason"],
        "Delete canceled. Cannot delete export base-name as it is in use by app."
    );
    let twice = EXPORTING.replace("own", "twice").replace("${AWS::StackName}", "base");
    let (id, status) = account.create("second", &twice).await;
    assert_eq!(status, "ROLLBACK_COMPLETE");
    let story = account.story(&id).await.join("\n");
    let words = "Export with name base-name is already exported by stack base.";
    assert!(story.contains(words), "{story}");
    account.delete("app").await;
    assert_eq!(account.delete("base").await, "DELETE_COMPLETE");
}

#[tokio::test]
async fn a_stack_policy_protects_from_updates() {
    let account = Account::new();
    let policy = json!({ "Statement": [
        { "Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": "Update:*", "Principal": "*",
          "Resource": "LogicalResourceId/Own" },
    ] })
    .to_string();
    account.create_with("s", TOPIC, json!({ "StackPolicyBody": policy })).await;
    let read = account.call("GetStackPolicy", json!({ "StackName": "s" })).await.expect("read");
    assert_eq!(read["StackPolicyBody"], policy.as_str());
    let changed = TOPIC.replace("TopicName: own", "TopicName: own, DisplayName: New");
    let words = |action: &str| {
        format!(
            "Own UPDATE_FAILED: Action denied by stack policy: Statement [#2] does not allow \
             [{action}] for resource [LogicalResourceId/Own];"
        )
    };
    for (template, action) in [
        (changed.clone(), "Update:Modify"),
        (TOPIC.replace("own", "renamed"), "Update:Replace"),
        (TOPIC.replace("Own", "Another").replace("own", "another"), "Update:Delete"),
    ] {
        assert_eq!(account.update("s", &template).await, "UPDATE_ROLLBACK_COMPLETE", "{action}");
        let story = account.story("s").await;
        assert!(story.contains(&words(action)), "{story:#?}");
    }
    let names: Vec<String> =
        account.cloud.services.sns.topics.all().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["arn:aws:sns:us-east-1:000000000000:own"]);
    let all = json!({ "Statement": [
        { "Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*" },
    ] });
    let during = json!({ "StackPolicyDuringUpdateBody": all.to_string() });
    account.call("UpdateStack", request("s", &changed, during)).await.expect("accepted");
    let (id, _) = account.cloud.services.cloudformation.stacks.all().remove(0);
    assert_eq!(settle(&account.cloud, &id).await, "UPDATE_COMPLETE");
    let wrong = json!({ "StackName": "s", "StackPolicyBody": "{}" });
    let error = account.call("SetStackPolicy", wrong).await.expect_err("refused");
    assert_eq!(error, "ValidationError: Error validating stack policy: Invalid stack policy");
}

/// A role that CloudFormation may take on, and that may do these things.
fn service_role(actions: &[&str]) -> String {
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "Service": "cloudformation.amazonaws.com" },
    }] });
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": actions, "Resource": "*",
    }] });
    json!({ "Resources": { "Role": { "Type": "AWS::IAM::Role", "Properties": {
        "RoleName": "deployer", "AssumeRolePolicyDocument": trust,
        "Policies": [{ "PolicyName": "p", "PolicyDocument": policy }],
    } } } })
    .to_string()
}

#[tokio::test]
async fn a_service_role_works_with_its_own_rights() {
    let account = Account::new();
    let arn = "arn:aws:iam::000000000000:role/deployer";
    let role = json!({ "RoleARN": arn });
    let error = account.call("CreateStack", request("s", TOPIC, role.clone())).await;
    assert_eq!(error, Err(format!("ValidationError: Role {arn} is invalid or cannot be assumed")));
    account.create("role", &service_role(&["sns:CreateTopic", "sns:GetTopicAttributes"])).await;
    let (_, status) = account.create_with("s", TOPIC, role.clone()).await;
    assert_eq!(status, "CREATE_COMPLETE", "{:#?}", account.story("s").await);
    let described = account.call("DescribeStacks", json!({ "StackName": "s" })).await;
    assert_eq!(described.expect("described")["Stacks"][0]["RoleARN"], arn);
    // It stays the stack's, and may not delete what it made.
    assert_eq!(account.delete("s").await, "DELETE_FAILED");
    let story = account.story("s").await.join("\n");
    assert!(story.contains("assumed-role/deployer/AWSCloudFormation"), "{story}");
    assert!(story.contains("is not authorized to perform: SNS:DeleteTopic"), "{story}");
    account
        .update(
            "role",
            &service_role(&["sns:CreateTopic", "sns:GetTopicAttributes", "sns:DeleteTopic"]),
        )
        .await;
    assert_eq!(account.delete("s").await, "DELETE_COMPLETE");
}

const TWO: &str = "Resources:\n  Own: { Type: 'AWS::SNS::Topic', Properties: { TopicName: own, \
                   DisplayName: New } }\n  Bad: { Type: 'AWS::Logs::LogGroup', DependsOn: Own, \
                   Properties: { RetentionInDays: 8 } }\n";

#[tokio::test]
async fn failures_that_are_kept_are_rolled_back_on_demand() {
    let account = Account::new();
    let keep = json!({ "DisableRollback": true });
    let (id, status) = account.create_with("new", &TWO.replace("own", "n"), keep.clone()).await;
    assert_eq!(status, "CREATE_FAILED");
    let update = account.call("UpdateStack", request("new", TOPIC, json!({}))).await;
    let error = update.expect_err("refused");
    assert!(error.contains("is currently in a non-terminal [CREATE_FAILED] state"), "{error}");
    account.call("RollbackStack", json!({ "StackName": "new" })).await.expect("accepted");
    assert_eq!(settle(&account.cloud, &id).await, "ROLLBACK_COMPLETE");
    let (id, _) = account.create("s", TOPIC).await;
    account.call("UpdateStack", request("s", TWO, keep)).await.expect("accepted");
    assert_eq!(settle(&account.cloud, &id).await, "UPDATE_FAILED");
    let name = |account: &Account| {
        let topic = account.cloud.services.sns.topics.all().remove(0).1;
        topic.display_name.clone()
    };
    assert_eq!(name(&account), "New", "what was changed stays");
    let again = account.call("RollbackStack", json!({ "StackName": "s" })).await;
    assert!(again.expect("accepted")["OperationId"].is_string());
    assert_eq!(settle(&account.cloud, &id).await, "UPDATE_ROLLBACK_COMPLETE");
    assert_eq!(name(&account), "");
    let error = account.call("RollbackStack", json!({ "StackName": "s" })).await;
    let error = error.expect_err("refused");
    assert!(error.contains("is in UPDATE_ROLLBACK_COMPLETE state and can not be"), "{error}");
}

#[tokio::test]
async fn an_update_is_cancelled_and_undone() {
    let account = Account::new();
    let (id, _) = account.create("s", TOPIC).await;
    let cancel = json!({ "StackName": "s" });
    let error = account.call("CancelUpdateStack", cancel.clone()).await;
    assert_eq!(
        error,
        Err("ValidationError: CancelUpdateStack cannot be called from current stack status"
            .to_owned())
    );
    let waiting = format!(
        "{TOPIC}  Handle: {{ Type: 'AWS::CloudFormation::WaitConditionHandle' }}\n  Ready: {{ \
         Type: 'AWS::CloudFormation::WaitCondition', Properties: {{ Handle: !Ref Handle, Timeout: \
         '3600' }} }}\n"
    );
    account.call("UpdateStack", request("s", &waiting, json!({}))).await.expect("accepted");
    account.call("CancelUpdateStack", cancel).await.expect("accepted");
    assert_eq!(settle(&account.cloud, &id).await, "UPDATE_ROLLBACK_COMPLETE");
    let left = account.cloud.services.cloudformation.stacks.get(&id).expect("there");
    assert_eq!(left.resources.keys().collect::<Vec<_>>(), ["Own"]);
}

#[tokio::test]
async fn a_wait_ends_by_the_clouds_clock() {
    let account = Account::new();
    let waiting = "Resources:\n  Handle: { Type: 'AWS::CloudFormation::WaitConditionHandle' }\n  \
                   Ready: { Type: 'AWS::CloudFormation::WaitCondition', Properties: { Handle: !Ref \
                   Handle, Timeout: '43200' } }\n";
    let made = account.call("CreateStack", request("s", waiting, json!({}))).await;
    let id = made.expect("accepted")["StackId"].as_str().expect("an ID").to_owned();
    let waits = || {
        let stack = account.cloud.services.cloudformation.stacks.get(&id).expect("there");
        stack.resources.get("Ready").is_some_and(|r| r.status == "CREATE_IN_PROGRESS")
    };
    crate::in_process::until("the condition waits", waits).await;
    // It is recorded before it waits.
    for _ in 0..100 {
        account.cloud.clock.advance(Duration::from_secs(12 * 60 * 60));
        tokio::task::yield_now().await;
    }
    assert_eq!(settle(&account.cloud, &id).await, "ROLLBACK_COMPLETE");
    let story = account.story(&id).await.join("\n");
    assert!(story.contains("WaitCondition timed out"), "{story}");
}

#[tokio::test]
async fn rules_look_at_parameters_together() {
    let account = Account::new();
    let template = format!(
        "Parameters:\n  Stage: {{ Type: String }}\n  Type: {{ Type: String }}\nRules:\n  Large:\n    \
         RuleCondition: !Equals [!Ref Stage, prod]\n    Assertions:\n      - Assert: !Contains [[a, \
         b], !Ref Type]\n        AssertDescription: In production the type is a or b\n{TOPIC}"
    );
    let with = |stage: &str, kind: &str| {
        let parameter = |k: &str, v: &str| json!({ "ParameterKey": k, "ParameterValue": v });
        let parameters = json!([parameter("Stage", stage), parameter("Type", kind)]);
        request("s", &template, json!({ "Parameters": parameters }))
    };
    let error = account.call("CreateStack", with("prod", "c")).await.expect_err("refused");
    assert!(error.contains("In production the type is a or b"), "{error}");
    account.call("CreateStack", with("test", "c")).await.expect("accepted");
}

/// What a detection found: of the stack, and of each resource.
async fn detect(account: &Account) -> (String, Vec<Value>) {
    let stack = json!({ "StackName": "s" });
    let id = account.call("DetectStackDrift", stack.clone()).await.expect("accepted");
    let status = account.call("DescribeStackDriftDetectionStatus", id).await.expect("described");
    assert_eq!(status["DetectionStatus"], "DETECTION_COMPLETE");
    let drifts = account.call("DescribeStackResourceDrifts", stack).await.expect("described");
    let drifts = drifts["StackResourceDrifts"].as_array().expect("a list").clone();
    (status["StackDriftStatus"].as_str().expect("a status").to_owned(), drifts)
}

#[tokio::test]
async fn drift_is_found_and_brought_back() {
    let account = Account::new();
    let template = format!(
        "{TOPIC}  Group: {{ Type: 'AWS::Logs::LogGroup', Properties: {{ LogGroupName: g, \
         RetentionInDays: 7 }} }}\n  Wait: {{ Type: 'AWS::CloudFormation::WaitConditionHandle' }}\n"
    );
    account.create("s", &template).await;
    let (status, drifts) = detect(&account).await;
    assert_eq!((status.as_str(), drifts.len()), ("IN_SYNC", 2), "{drifts:#?}");
    let groups = &account.cloud.services.logs.groups;
    groups.update("g", |group| group.retention_days = Some(30)).expect("stored");
    let (topic, _) = account.cloud.services.sns.topics.all().remove(0);
    account.cloud.services.sns.topics.remove(&topic).expect("stored");
    let (status, drifts) = detect(&account).await;
    assert_eq!(status, "DRIFTED");
    let of = |id: &str| {
        drifts.iter().find(|drift| drift["LogicalResourceId"] == id).expect("a drift").clone()
    };
    assert_eq!(of("Own")["StackResourceDriftStatus"], "DELETED");
    assert_eq!(of("Group")["StackResourceDriftStatus"], "MODIFIED");
    assert_eq!(
        of("Group")["PropertyDifferences"],
        json!([{
            "PropertyPath": "/RetentionInDays", "DifferenceType": "NOT_EQUAL",
            "ExpectedValue": "7", "ActualValue": "30",
        }])
    );
    let more = json!({
        "ChangeSetName": "back", "ChangeSetType": "UPDATE", "DeploymentMode": "REVERT_DRIFT",
    });
    let set = account.call("CreateChangeSet", request("s", &template, more)).await.expect("made");
    let params = json!({ "ChangeSetName": set["Id"], "IncludePropertyValues": true });
    let set = account.call("DescribeChangeSet", params.clone()).await.expect("described");
    let actions = set["Changes"].as_array().into_iter().flatten();
    let actions: Vec<_> = actions.map(|c| c["ResourceChange"]["Action"].clone()).collect();
    assert_eq!(
        (actions, &set["Status"]),
        (vec![json!("Modify"), json!("Add")], &json!("CREATE_COMPLETE"))
    );
    account.call("ExecuteChangeSet", params).await.expect_err("a value too much");
    let params = json!({ "ChangeSetName": set["ChangeSetId"] });
    account.call("ExecuteChangeSet", params).await.expect("accepted");
    let id = set["StackId"].as_str().expect("an ID");
    assert_eq!(settle(&account.cloud, id).await, "UPDATE_COMPLETE");
    assert_eq!(groups.get("g").expect("there").retention_days, Some(7));
    let (status, _) = detect(&account).await;
    assert_eq!(status, "IN_SYNC");
}
