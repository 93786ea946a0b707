//! Rules of EventBridge: what starts state machines, and what is refused.

use std::time::Duration;

use crate::serving::now;
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use serde_json::{Value, json};
use steppe_cloud::kernel::service;
use steppe_cloud::services::events;

use crate::running::{Running, start};

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
                .services
                .states
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
        panic!("fewer than {count} executions: {:?}", self.cloud.services.states.executions.all());
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
    events::fire_due(cloud, at("2026-11-25T05:00:00Z"), at("2026-11-25T05:59:00Z"));
    events::fire_due(cloud, at("2026-11-25T05:59:00Z"), at("2026-11-25T06:00:00Z"));
    assert_eq!(running.inputs(2).await[1..], [json!({ "train": true })], "once, at six");
    let administrator = cloud.identities.administrator();
    let call =
        |operation: &str, params: Value| now(cloud, &administrator, "events", operation, &params);
    call("DisableRule", json!({ "Name": "daily" })).expect("disabled");
    events::fire_due(cloud, at("2026-11-25T05:59:00Z"), at("2026-11-25T06:00:00Z"));
    assert_eq!(cloud.services.states.executions.all().len(), 2);
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
        call("PutPermission", json!({}))
            .expect_err("refused")
            .message
            .contains("does not implement events:PutPermission")
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
    assert!(cloud.services.events.rules.all().is_empty());
}

#[tokio::test]
async fn a_rule_is_refused_for_what_it_cannot_do() {
    let running = start().await;
    for (from, to, expected) in [
        ("cron(0 6 * * ? *)", "cron(0 6 * * * *)", "needs `?`"),
        ("[{ prefix: raw/ }]", "[{ soundex: csv }]", "Unrecognized match type soundex"),
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
}

/// A machine that fails, one that tells of it, and a rule that has the second tell of the first.
const FAILURES: &str = r#"Resources:
  Idle:
    Type: AWS::IAM::Role
    Properties:
      RoleName: idle
      AssumeRolePolicyDocument:
        Statement:
          - Effect: Allow
            Principal: { Service: states.amazonaws.com }
            Action: sts:AssumeRole
  Starter:
    Type: AWS::IAM::Role
    Properties:
      RoleName: starter
      AssumeRolePolicyDocument:
        Statement:
          - Effect: Allow
            Principal: { Service: events.amazonaws.com }
            Action: sts:AssumeRole
      Policies:
        - PolicyName: p
          PolicyDocument:
            Version: "2012-10-17"
            Statement: [{ Effect: Allow, Action: states:StartExecution, Resource: !Ref Tells }]
  Teller:
    Type: AWS::IAM::Role
    Properties:
      RoleName: teller
      AssumeRolePolicyDocument:
        Statement:
          - Effect: Allow
            Principal: { Service: states.amazonaws.com }
            Action: sts:AssumeRole
      Policies:
        - PolicyName: p
          PolicyDocument:
            Version: "2012-10-17"
            Statement:
              - Effect: Allow
                Action: states:DescribeExecution
                Resource: !Sub "arn:aws:states:${AWS::Region}:${AWS::AccountId}:execution:fails:*"
  Fails:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      StateMachineName: fails
      RoleArn: !GetAtt Idle.Arn
      DefinitionString: '{"QueryLanguage": "JSONata", "StartAt": "A",
        "States": {"A": {"Type": "Fail", "Error": "E", "Cause": "because"}}}'
  Tells:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      StateMachineName: tells
      RoleArn: !GetAtt Teller.Arn
      DefinitionString: '{"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {
        "Type": "Task", "End": true, "Resource": "arn:aws:states:::aws-sdk:sfn:describeExecution",
        "Arguments": {"ExecutionArn": "{% $states.input.detail.executionArn %}"}}}}'
  OnFailure:
    Type: AWS::Events::Rule
    Properties:
      Name: on-failure
      EventPattern:
        source: [aws.states]
        detail-type: [Step Functions Execution Status Change]
        detail: { stateMachineArn: [!Ref Fails], status: [FAILED, TIMED_OUT] }
      Targets: [{ Id: t, Arn: !Ref Tells, RoleArn: !GetAtt Starter.Arn }]
"#;

#[tokio::test]
async fn an_execution_that_fails_is_told_of_by_a_rule_and_described_by_a_machine() {
    let running = start().await;
    let id = running.create(FAILURES).await;
    assert_eq!(running.settle(&id).await, "CREATE_COMPLETE", "{:?}", running.reasons(&id).await);
    let cloud = &running.cloud;
    let machine = cloud.config.arn("states", "stateMachine:fails");
    let failing = json!({ "stateMachineArn": machine, "name": "one", "input": "{\"a\": 1}" });
    let administrator = cloud.identities.administrator();
    service::call(cloud, &administrator, "states", "StartExecution", &failing)
        .await
        .expect("started");
    let event = running.inputs(1).await.remove(0);
    let arn = cloud.config.arn("states", "execution:fails:one");
    assert_eq!(event["resources"], json!([arn]), "{event}");
    let detail = &event["detail"];
    assert_eq!((&detail["status"], &detail["name"]), (&json!("FAILED"), &json!("one")), "{event}");
    assert_eq!((&detail["input"], &detail["output"]), (&json!("{\"a\":1}"), &Value::Null));
    assert_eq!(detail["inputDetails"], json!({ "included": true }));
    assert!(detail["stopDate"].as_i64() >= detail["startDate"].as_i64(), "{event}");
    let told =
        cloud.services.states.executions.all().into_iter().find(|(_, e)| e.status == "SUCCEEDED");
    let told = told.expect("it told").1.output.clone().expect("an output");
    assert_eq!((&told["Error"], &told["Cause"]), (&json!("E"), &json!("because")), "{told}");
    assert_eq!((&told["ExecutionArn"], &told["Status"]), (&json!(arn), &json!("FAILED")));
    assert!(told["StopDate"].as_str().is_some_and(|time| time.ends_with('Z')), "{told}");
}
