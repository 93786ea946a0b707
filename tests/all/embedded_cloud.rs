//! The embedded cloud: stacks, permissions, and what it refuses.

use std::ops::Deref;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use serde_json::{Value, json};
use steppe_cloud::cloud::{Cloud, Config};
use steppe_cloud::cloudformation::handle;
use steppe_cloud::services::events;
use steppe_plan::catalogue::RawColumn;
use steppe_plan::elf::Architecture;
use steppe_plan::manifest::Manifest;
use steppe_plan::names::Names;
use steppe_plan::site::Site;
use steppe_plan::stack::{ArtifactHashes, StackSpec};
use tempfile::TempDir;

use crate::serving::Serving;
use crate::tools::{binary, root};

/// A cloud that serves on a port of its own until it is dropped.
pub struct Running(Serving);

impl Deref for Running {
    type Target = Serving;
    fn deref(&self) -> &Serving {
        &self.0
    }
}

/// Starts a cloud in this process.
pub async fn start() -> Running {
    Running(Serving::start().await)
}

impl Running {
    /// Calls CloudFormation as the administrator.
    pub async fn call(&self, operation: &str, params: Value) -> Result<Value, String> {
        handle(&self.cloud, &self.cloud.identities.administrator(), operation, &params)
            .await
            .map_err(|e| e.to_string())
    }

    /// Makes the stack `s` and waits for its end.
    pub async fn create(&self, template: &str) -> String {
        let params = json!({ "StackName": "s", "TemplateBody": template, "Capabilities": ["CAPABILITY_NAMED_IAM"] });
        let id = self.call("CreateStack", params).await.expect("accepted")["StackId"]
            .as_str()
            .expect("an ID")
            .to_owned();
        self.settle(&id).await;
        id
    }

    /// Waits until nothing is in progress; returns the status.
    async fn settle(&self, id: &str) -> String {
        for _ in 0..1_000 {
            let status = self.cloud.stacks.get(id).expect("the stack").status.clone();
            if !status.ends_with("_IN_PROGRESS") || status == "REVIEW_IN_PROGRESS" {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the stack does not settle: {:?}", self.cloud.stacks.get(id));
    }

    async fn reasons(&self, id: &str) -> Vec<String> {
        let events =
            self.call("DescribeStackEvents", json!({ "StackName": id })).await.expect("events");
        let events = events["StackEvents"].as_array().cloned().unwrap_or_default();
        events
            .iter()
            .rev()
            .filter_map(|e| {
                Some(format!(
                    "{} {}: {}",
                    e["LogicalResourceId"].as_str()?,
                    e["ResourceStatus"].as_str()?,
                    e["ResourceStatusReason"].as_str()?
                ))
            })
            .collect()
    }
}

const BUCKET: &str =
    "Resources:\n  Data:\n    Type: AWS::S3::Bucket\n    Properties:\n      BucketName: my-data\n";

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
    assert_eq!(running.cloud.topics.all().len(), 1);
    let again =
        running.call("UpdateStack", json!({ "StackName": "s", "TemplateBody": changed })).await;
    assert_eq!(again, Err("ValidationError: No updates are to be performed.".to_owned()));
    running
        .call("UpdateStack", json!({ "StackName": "s", "TemplateBody": BUCKET }))
        .await
        .expect("accepted");
    assert_eq!(
        (running.settle(&id).await.as_str(), running.cloud.topics.all().len()),
        ("UPDATE_COMPLETE", 0)
    );
    running.call("DeleteStack", json!({ "StackName": "s" })).await.expect("accepted");
    assert_eq!(
        (running.settle(&id).await.as_str(), running.cloud.buckets.all().len()),
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
    assert!(running.cloud.buckets.all().is_empty(), "the bucket must be gone");
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
    assert!(running.cloud.instances.all().is_empty());
    running.call("DeleteStack", json!({ "StackName": "s" })).await.expect("accepted");
    running.settle(&id).await;
    let id = running.create(&boot("SUCCESS")).await;
    assert_eq!(running.settle(&id).await, "CREATE_COMPLETE", "{:?}", running.reasons(&id).await);
    let stack = running.cloud.stacks.get(&id).expect("the stack");
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
    assert_eq!(running.cloud.topics.all()[0].1.display_name, "before");
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
    let machine =
        running.cloud.stacks.get(&id).expect("the stack").resources["Machine"].physical_id.clone();
    let broken = format!(
        "{}  Handle:\n    Type: AWS::CloudFormation::WaitConditionHandle\n  Never:\n    Type: AWS::CloudFormation::WaitCondition\n    DependsOn: Machine\n    Properties:\n      Handle: !Ref Handle\n      Timeout: \"1\"\n",
        with("after")
    );
    running
        .call("UpdateStack", json!({ "StackName": "s", "TemplateBody": broken }))
        .await
        .expect("accepted");
    while running.cloud.instances.get(&machine).is_some_and(|i| i.tags[0]["Value"] == "before") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Somebody deletes the instance behind the stack's back, so that its tags cannot be put back.
    let instance = running.cloud.instances.remove(&machine).expect("deleted").expect("an instance");
    assert_eq!(running.settle(&id).await, "UPDATE_ROLLBACK_FAILED");
    let early = running
        .call("UpdateStack", json!({ "StackName": "s", "TemplateBody": BUCKET }))
        .await
        .expect_err("wedged");
    assert!(early.contains("UPDATE_ROLLBACK_FAILED state and can not be updated"), "{early}");
    running.cloud.instances.put(&machine, (*instance).clone()).expect("stored");
    running.call("ContinueUpdateRollback", json!({ "StackName": "s" })).await.expect("accepted");
    assert_eq!(running.settle(&id).await, "UPDATE_ROLLBACK_COMPLETE");
    assert_eq!(running.cloud.instances.get(&machine).expect("back").tags[0]["Value"], "before");
}

#[tokio::test]
async fn a_bucket_that_is_not_empty_keeps_the_stack_until_it_is() {
    let running = start().await;
    let id = running.create(BUCKET).await;
    running.cloud.buckets.put_bytes("my-data", "k", b"x").expect("stored");
    running.call("DeleteStack", json!({ "StackName": "s" })).await.expect("accepted");
    assert_eq!(running.settle(&id).await, "DELETE_FAILED");
    assert!(
        running
            .reasons(&id)
            .await
            .iter()
            .any(|r| r.contains("The bucket you tried to delete is not empty"))
    );
    running.cloud.buckets.remove("my-data", "k").expect("removed");
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
            json!({ "StackName": "s", "ChangeSetName": "c", "IncludePropertyValues": "true" }),
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

#[tokio::test]
async fn roles_may_do_what_their_policies_say_and_no_more() {
    let running = start().await;
    let role = "  Role:\n    Type: AWS::IAM::Role\n    Properties:\n      RoleName: reader\n      AssumeRolePolicyDocument:\n        Statement:\n          - Effect: Allow\n            Principal: { Service: lambda.amazonaws.com }\n            Action: sts:AssumeRole\n      Policies:\n        - PolicyName: p\n          PolicyDocument:\n            Version: \"2012-10-17\"\n            Statement:\n              - Sid: Read\n                Effect: Allow\n                Action: s3:GetObject\n                Resource: !Sub \"${Data.Arn}/open/*\"\n              - Sid: List\n                Effect: Allow\n                Action: s3:ListBucket\n                Resource: !GetAtt Data.Arn\n                Condition:\n                  StringLike:\n                    s3:prefix: open/*\n              - Sid: Deny\n                Effect: Deny\n                Action: s3:*\n                Resource: !Sub \"${Data.Arn}/open/secret\"\n";
    let id = running.create(&format!("{BUCKET}{role}")).await;
    assert_eq!(running.settle(&id).await, "CREATE_COMPLETE", "{:?}", running.reasons(&id).await);
    let cloud = &running.cloud;
    let caller = cloud
        .assume("arn:aws:iam::000000000000:role/reader", "lambda.amazonaws.com", "f")
        .expect("trusted");
    let may = |action: &str, resource: &str, prefix: Option<&str>| {
        let conditions: Vec<(&'static str, String)> =
            prefix.map(|p| ("s3:prefix", p.to_owned())).into_iter().collect();
        cloud.authorize(&caller, action, resource, &conditions)
    };
    assert!(may("s3:GetObject", "arn:aws:s3:::my-data/open/a", None).is_ok());
    assert!(may("s3:ListBucket", "arn:aws:s3:::my-data", Some("open/x")).is_ok());
    assert!(may("s3:ListBucket", "arn:aws:s3:::my-data", None).is_err());
    assert!(may("s3:GetObject", "arn:aws:s3:::my-data/open/secret", None).is_err());
    let denied =
        may("s3:GetObject", "arn:aws:s3:::my-data/closed", None).expect_err("denied").message;
    let words = "User: arn:aws:sts::000000000000:assumed-role/reader/f is not authorized to perform: s3:GetObject on resource: \"arn:aws:s3:::my-data/closed\" because no identity-based policy allows the s3:GetObject action";
    assert_eq!(denied, words);
    assert!(
        cloud
            .assume("arn:aws:iam::000000000000:role/reader", "ec2.amazonaws.com", "i")
            .expect_err("not trusted")
            .contains("trust policy")
    );
}

/// The repository's pipeline.
fn manifest() -> Manifest {
    let file = root().join("model/pipelines/marriages/pipeline.toml");
    Manifest::parse("pipeline.toml", &std::fs::read_to_string(file).expect("readable"))
        .expect("valid")
}

/// Its template.
fn rendered(manifest: &Manifest) -> String {
    let text = str::to_owned;
    let names = Names {
        project: text("steppe"),
        pipeline: text("marriages"),
        environment: text("t"),
        account: text("000000000000"),
        region: text("us-east-1"),
    };
    let hash = || "0".repeat(64);
    let spec = StackSpec {
        names: &names,
        manifest,
        query_sql: vec![text("SELECT 1"); manifest.queries.len()],
        raw_columns: vec![RawColumn::plain("region")],
        hashes: ArtifactHashes {
            server: hash(),
            predictor: hash(),
            jobs: hash(),
            train_spec: hash(),
            glue_script: hash(),
            etl_plan: hash(),
        },
        architecture: Architecture::X86_64,
        site: &Site::embedded(Architecture::X86_64),
    };
    spec.render().expect("renders")
}

#[tokio::test]
async fn every_combination_of_options_is_implemented_to_the_last_property_and_state() {
    let running = start().await;
    running.cloud.buckets.create("templates", json!([])).expect("a bucket");
    let combinations = manifest().combinations();
    assert_eq!(combinations.len(), 24, "training needs the verification");
    for (options, manifest) in combinations {
        let template = rendered(&manifest);
        running
            .cloud
            .buckets
            .put_bytes("templates", "t.yaml", template.as_bytes())
            .expect("stored");
        let url = format!("{}/templates/t.yaml", running.cloud.config.endpoint());
        running
            .call("ValidateTemplate", json!({ "TemplateURL": url }))
            .await
            .unwrap_or_else(|e| panic!("{options}: {e}"));
        for definition in template.split("DefinitionString: |\n").skip(1) {
            let definition = definition.split("\n      Tags:").next().expect("a definition");
            let definition: Value = serde_json::from_str(definition).expect("JSON");
            assert_eq!(
                steppe_cloud::services::states::check(&definition),
                Ok(()),
                "combination {options}"
            );
        }
    }
}

/// A bucket that sends events, a state machine that ends at once, and two rules that start it.
const RULES: &str = r#"Resources:
  Data:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: my-data
      NotificationConfiguration: { EventBridgeConfiguration: { EventBridgeEnabled: true } }
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: starter
      AssumeRolePolicyDocument:
        Statement:
          - Effect: Allow
            Principal: { Service: [events.amazonaws.com, states.amazonaws.com] }
            Action: sts:AssumeRole
      Policies:
        - PolicyName: p
          PolicyDocument:
            Version: "2012-10-17"
            Statement: [{ Sid: Start, Effect: Allow, Action: states:StartExecution, Resource: !Ref Machine }]
  Machine:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      StateMachineName: m
      RoleArn: !GetAtt Other.Arn
      DefinitionString: '{"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}'
  Other:
    Type: AWS::IAM::Role
    Properties:
      RoleName: other
      AssumeRolePolicyDocument:
        Statement: [{ Effect: Allow, Principal: { Service: states.amazonaws.com }, Action: sts:AssumeRole }]
  OnData:
    Type: AWS::Events::Rule
    Properties:
      Name: on-data
      EventPattern:
        source: [aws.s3]
        detail-type: [Object Created]
        detail: { bucket: { name: [!Ref Data] }, object: { key: [{ prefix: raw/ }] } }
      Targets: [{ Id: t, Arn: !Ref Machine, RoleArn: !GetAtt Role.Arn }]
  Daily:
    Type: AWS::Events::Rule
    Properties:
      Name: daily
      ScheduleExpression: cron(0 6 * * ? *)
      Targets: [{ Id: t, Arn: !Ref Machine, RoleArn: !GetAtt Role.Arn, Input: '{"train": true}' }]
"#;

impl Running {
    /// Inputs of all executions that have ended, oldest first, once there are `count`.
    async fn inputs(&self, count: usize) -> Vec<Value> {
        for _ in 0..1_000 {
            let mut ended: Vec<_> = self
                .cloud
                .executions
                .all()
                .into_iter()
                .map(|(_, e)| e)
                .filter(|e| e.status == "SUCCEEDED")
                .collect();
            if ended.len() >= count {
                ended.sort_by_key(|e| e.started);
                return ended.iter().map(|e| e.input.clone()).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("fewer than {count} executions: {:?}", self.cloud.executions.all());
    }

    /// Puts an object as the administrator does, over the wire.
    async fn upload(&self, key: &str) {
        let keys: Value = serde_json::from_slice(
            &std::fs::read(self.cloud.path("credentials.json")).expect("readable"),
        )
        .expect("JSON");
        let text = |name: &str| keys[name].as_str().expect("text").to_owned();
        let builder = AmazonS3Builder::new()
            .with_bucket_name("my-data")
            .with_region("us-east-1")
            .with_allow_http(true);
        let builder = builder
            .with_access_key_id(text("access_key_id"))
            .with_secret_access_key(text("secret_access_key"));
        let bucket = builder.with_endpoint(self.cloud.config.endpoint()).build().expect("a client");
        bucket.put(&Path::from(key), "x".into()).await.expect("stored");
    }
}

#[tokio::test]
async fn rules_start_state_machines_on_new_objects_and_on_schedule() {
    let running = start().await;
    let id = running.create(RULES).await;
    assert_eq!(running.settle(&id).await, "CREATE_COMPLETE", "{:?}", running.reasons(&id).await);
    running.upload("other/x.csv").await;
    running.upload("raw/x.csv").await;
    let event = running.inputs(1).await.remove(0);
    assert_eq!(
        (&event["detail-type"], &event["detail"]["object"]["key"]),
        (&json!("Object Created"), &json!("raw/x.csv")),
        "{event}"
    );
    assert_eq!(
        (&event["detail"]["reason"], &event["detail"]["object"]["size"]),
        (&json!("PutObject"), &json!(1))
    );
    let at = |text: &str| text.parse().expect("a time");
    let cloud = &running.cloud;
    events::fire_due(cloud, at("2026-11-25T05:00:00Z"), at("2026-11-25T05:59:00Z")).await;
    events::fire_due(cloud, at("2026-11-25T05:59:00Z"), at("2026-11-25T06:00:00Z")).await;
    assert_eq!(running.inputs(2).await[1..], [json!({ "train": true })], "once, at six");
    let administrator = cloud.identities.administrator();
    let call =
        |operation: &str, params: Value| events::handle(cloud, &administrator, operation, &params);
    call("DisableRule", json!({ "Name": "daily" })).expect("disabled");
    events::fire_due(cloud, at("2026-11-25T05:59:00Z"), at("2026-11-25T06:00:00Z")).await;
    assert_eq!(cloud.executions.all().len(), 2);
    assert_eq!(
        call("DescribeRule", json!({ "Name": "daily" })).expect("described")["State"],
        "DISABLED"
    );
    assert!(
        call("DescribeRule", json!({ "Name": "x" }))
            .expect_err("missing")
            .message
            .contains("Rule x does not exist")
    );
    assert!(
        call("PutEvents", json!({}))
            .expect_err("refused")
            .message
            .contains("does not implement events:PutEvents")
    );
    let audit = std::fs::read_to_string(cloud.path("audit.ndjson")).expect("readable");
    assert_eq!(
        audit
            .lines()
            .filter(|l| l.contains("assumed-role/starter/on-data")
                && l.contains("states:StartExecution"))
            .count(),
        1
    );
    running.call("DeleteStack", json!({ "StackName": "s" })).await.expect("accepted");
    running.settle(&id).await;
    assert!(cloud.rules.all().is_empty());
}

#[tokio::test]
async fn a_rule_is_refused_for_what_it_cannot_do() {
    let running = start().await;
    for (from, to, expected) in [
        ("cron(0 6 * * ? *)", "cron(0 6 * * * *)", "needs `?`"),
        (
            "[{ prefix: raw/ }]",
            "[{ suffix: .csv }]",
            "does not implement the filter suffix for `key`",
        ),
        (
            "Principal: { Service: [events.amazonaws.com, states.amazonaws.com] }",
            "Principal: { Service: states.amazonaws.com }",
            "cannot be assumed by events.amazonaws.com",
        ),
    ] {
        assert!(RULES.contains(from), "{from}");
        let id = running.create(&RULES.replace(from, to)).await;
        let reasons = running.reasons(&id).await.join("\n");
        assert!(reasons.contains(expected), "{to}: {reasons}");
        running.call("DeleteStack", json!({ "StackName": "s" })).await.expect("accepted");
        running.settle(&id).await;
    }
    for (from, to, expected) in [
        (
            "Input: '{\"train\": true}'",
            "InputPath: $.detail",
            "does not implement Targets/InputPath",
        ),
        (
            "{ EventBridgeConfiguration: { EventBridgeEnabled: true } }",
            "{ QueueConfigurations: [{ Event: 's3:ObjectCreated:*', Queue: q }] }",
            "does not implement NotificationConfiguration/QueueConfigurations",
        ),
    ] {
        assert!(RULES.contains(from), "{from}");
        let params = json!({
            "StackName": "t", "TemplateBody": RULES.replace(from, to),
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
        });
        let error = running.call("CreateStack", params).await.expect_err("refused");
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[tokio::test]
async fn what_it_does_not_implement_is_an_error_that_names_it() {
    let running = start().await;
    let refuse = |template: &'static str| {
        running.call("CreateStack", json!({ "StackName": "s", "TemplateBody": template }))
    };
    let error = refuse("Resources:\n  Q:\n    Type: AWS::SQS::Queue\n").await.expect_err("refused");
    assert!(error.contains("does not implement the resource type AWS::SQS::Queue"), "{error}");
    let error = refuse("Resources:\n  B:\n    Type: AWS::S3::Bucket\n    Properties: { VersioningConfiguration: { Status: Enabled } }\n")
        .await
        .expect_err("refused");
    assert!(
        error
            .contains("does not implement the property VersioningConfiguration of AWS::S3::Bucket"),
        "{error}"
    );
    let error = running
        .call("CreateStack", json!({ "StackName": "s", "TemplateBody": BUCKET, "RoleARN": "x" }))
        .await
        .expect_err("refused");
    assert!(error.contains("does not implement the parameter RoleARN"), "{error}");
    let error =
        running.call("DetectStackDrift", json!({ "StackName": "s" })).await.expect_err("refused");
    assert!(error.contains("does not implement cloudformation:DetectStackDrift"), "{error}");
    assert!(running.cloud.stacks.all().is_empty(), "nothing half-done");
}

#[tokio::test]
async fn state_survives_a_crash_and_an_interrupted_creation_is_rolled_back() {
    let state = TempDir::new().expect("a folder");
    let config = Config {
        state_dir: state.path().canonicalize().expect("a path"),
        account: "000000000000".into(),
        region: "us-east-1".into(),
        port: 1,
        engine: binary("steppe-etl"),
        own_binary: binary("steppe-cloud"),
    };
    let open = || Cloud::open(config.clone()).expect("opens");
    let cloud = open();
    let waiting = format!(
        "{BUCKET}  Handle:\n    Type: AWS::CloudFormation::WaitConditionHandle\n  Ready:\n    Type: AWS::CloudFormation::WaitCondition\n    DependsOn: Data\n    Properties:\n      Handle: !Ref Handle\n      Timeout: \"600\"\n"
    );
    let answer = handle(
        &cloud,
        &cloud.identities.administrator(),
        "CreateStack",
        &json!({ "StackName": "s", "TemplateBody": waiting }),
    )
    .await
    .expect("accepted");
    let id = answer["StackId"].as_str().expect("an ID").to_owned();
    while cloud.stacks.get(&id).is_none_or(|s| !s.resources.contains_key("Ready")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What the disk holds now is what a crash would leave.
    let again = open();
    assert_eq!(again.stacks.get(&id).expect("the stack").status, "CREATE_IN_PROGRESS");
    assert_eq!(again.buckets.all().len(), 1);
    steppe_cloud::cloudformation::resume(&again);
    while again.stacks.get(&id).expect("the stack").status != "ROLLBACK_COMPLETE" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(again.buckets.all().is_empty());
}

#[tokio::test]
async fn a_damaged_record_is_set_aside_and_the_others_are_served() {
    let running = start().await;
    running.create(BUCKET).await;
    let dir = running.cloud.path("state/stacks");
    let files = || std::fs::read_dir(&dir).expect("a folder").flatten().map(|f| f.path());
    let file = files().next().expect("a record");
    std::fs::write(&file, "{").expect("written");
    let again = Cloud::open(running.cloud.config.clone()).expect("opens");
    assert!(again.stacks.all().is_empty());
    assert_eq!(again.buckets.all().len(), 1);
    let aside = file.with_extension("damaged");
    assert_eq!(files().collect::<Vec<_>>(), std::slice::from_ref(&aside));
    assert_eq!(std::fs::read_to_string(aside).expect("kept"), "{");
}

#[tokio::test]
async fn a_request_without_a_valid_signature_is_refused() {
    let running = start().await;
    let port = running.cloud.config.port;
    let send = |head: &str, body: &str| {
        let request = format!(
            "{head}\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut stream =
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            answer
        }
    };
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &now[..8];
    let signed = format!(
        "POST / HTTP/1.1\r\nX-Amz-Date: {now}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIAX/{day}/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
    );
    let answer = send(&signed, "Action=GetCallerIdentity").await;
    assert!(
        answer.starts_with("HTTP/1.1 403") && answer.contains("InvalidClientTokenId"),
        "{answer}"
    );
    let answer = send("GET /my-bucket/key HTTP/1.1", "").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("AccessDenied"), "{answer}");
    let answer = send("GET /_steppe/imds/guess/latest/meta-data/local-ipv4 HTTP/1.1", "").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
