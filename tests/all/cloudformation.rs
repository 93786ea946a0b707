//! CloudFormation of the embedded cloud: whose resources are whose, and what stays.

use serde_json::json;

use crate::cloudformation_account::{Account, TOPIC, inventory};

/// A package with one file, `bootstrap`, stored without compression.
fn package() -> Vec<u8> {
    let (name, content) = (b"bootstrap", b"#!/bin/sh\n");
    let crc = !content.iter().fold(!0_u32, |crc, byte| {
        let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        (0..8).fold(crc ^ u32::from(*byte), step)
    });
    let numbers = |parts: &[(u64, usize)]| {
        let bytes = |(number, size): &(u64, usize)| number.to_le_bytes()[..*size].to_vec();
        parts.iter().flat_map(bytes).collect::<Vec<u8>>()
    };
    let (size, length) = (content.len() as u64, name.len() as u64);
    let common = [(20, 2), (0, 2), (0, 2), (0, 4), (crc.into(), 4), (size, 4), (size, 4)];
    let mut file = numbers(&[&[(0x0403_4b50, 4)][..], &common, &[(length, 2), (0, 2)]].concat());
    file.extend(name);
    file.extend(content);
    let start = file.len() as u64;
    let rest = [(length, 2), (0, 2), (0, 2), (0, 2), (0, 2), (0o755 << 16, 4), (0, 4)];
    let made = [(0x0201_4b50, 4), (0x031e, 2)];
    let mut entry = numbers(&[&made[..], &common, &rest].concat());
    entry.extend(name);
    let end = [(0x0605_4b50, 4), (0, 2), (0, 2), (1, 2), (1, 2), (entry.len() as u64, 4)];
    file.extend(&entry);
    file.extend(numbers(&[&end[..], &[(start, 4), (0, 2)]].concat()));
    file
}

/// One resource of every type that has a name: the name's property, and the declaration.
fn named_types() -> Vec<(&'static str, String)> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let role = "arn:aws:iam::000000000000:role/shared";
    let machine = r#"{"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#;
    let trust = "{ Version: '2012-10-17', Statement: [{ Effect: Allow, Principal: { Service: \
                 [lambda.amazonaws.com, states.amazonaws.com, events.amazonaws.com, \
                 ec2.amazonaws.com, glue.amazonaws.com] }, Action: sts:AssumeRole }] }";
    let policy = "{ Version: '2012-10-17', Statement: [{ Effect: Allow, Principal: { AWS: \
                  arn:aws:iam::000000000000:role/shared }, Action: s3:GetObject, Resource: \
                  'arn:aws:s3:::shared-data/*' }] }";
    [
        ("AWS::S3::Bucket", "BucketName: shared-data".to_owned()),
        ("AWS::IAM::Role", format!("RoleName: shared, AssumeRolePolicyDocument: {trust}")),
        ("AWS::S3::BucketPolicy", format!("Bucket: shared-data, PolicyDocument: {policy}")),
        ("AWS::IAM::InstanceProfile", "InstanceProfileName: shared, Roles: [shared]".to_owned()),
        (
            "AWS::Lambda::Function",
            format!(
                "FunctionName: shared, Runtime: provided.al2023, Handler: bootstrap, \
                 Architectures: [{architecture}], Role: {role}, \
                 Code: {{ S3Bucket: packages, S3Key: package.zip }}"
            ),
        ),
        ("AWS::Logs::LogGroup", "LogGroupName: shared".to_owned()),
        (
            "AWS::Glue::Database",
            "CatalogId: '000000000000', DatabaseInput: { Name: shared }".to_owned(),
        ),
        (
            "AWS::Glue::Table",
            "CatalogId: '000000000000', DatabaseName: shared, TableInput: { Name: shared, \
             StorageDescriptor: { Location: 's3://shared-data/raw/' } }"
                .to_owned(),
        ),
        (
            "AWS::Glue::Job",
            format!(
                "Name: shared, Role: {role}, \
                 Command: {{ Name: glueetl, ScriptLocation: 's3://shared-data/job.py' }}"
            ),
        ),
        ("AWS::Athena::WorkGroup", "Name: shared".to_owned()),
        ("AWS::SNS::Topic", "TopicName: shared".to_owned()),
        (
            "AWS::StepFunctions::StateMachine",
            format!("StateMachineName: shared, RoleArn: {role}, DefinitionString: '{machine}'"),
        ),
        (
            "AWS::Events::Rule",
            format!(
                "Name: shared, ScheduleExpression: rate(1 day), Targets: [{{ Id: t, Arn: \
                 'arn:aws:states:us-east-1:000000000000:stateMachine:shared', RoleArn: {role} }}]"
            ),
        ),
        (
            "AWS::CloudWatch::Alarm",
            "AlarmName: shared, Namespace: AWS/States, MetricName: ExecutionsFailed, Statistic: \
             Sum, Period: 60, EvaluationPeriods: 1, Threshold: 1, ComparisonOperator: \
             GreaterThanOrEqualToThreshold, Dimensions: [{ Name: StateMachineArn, Value: x }]"
                .to_owned(),
        ),
    ]
    .to_vec()
}

/// A template in which each resource waits for the one before.
fn in_a_row(types: &[(&str, String)]) -> String {
    let mut template = String::from("Resources:\n");
    for (n, (kind, properties)) in types.iter().enumerate() {
        let needs = n.checked_sub(1).map(|p| format!(", DependsOn: R{p}")).unwrap_or_default();
        template +=
            &format!("  R{n}: {{ Type: '{kind}'{needs}, Properties: {{ {properties} }} }}\n");
    }
    template
}

#[tokio::test]
async fn a_stack_deletes_only_what_it_made_whatever_the_type() {
    let account = Account::new();
    let cloud = &account.cloud;
    cloud.services.s3.create("packages", json!([])).expect("made");
    cloud.services.s3.put_bytes("packages", "package.zip", &package()).expect("stored");
    let types = named_types();
    let (_, status) = account.create("first", &in_a_row(&types)).await;
    assert_eq!(status, "CREATE_COMPLETE", "{:#?}", account.story("first").await);
    let before = inventory(cloud);
    for (kind, properties) in &types {
        // In a creation, its rollback and the deletion of the stack …
        let alone = in_a_row(&[(*kind, properties.clone())]);
        let (id, status) = account.create("second", &alone).await;
        assert_eq!(status, "ROLLBACK_COMPLETE", "{kind}: {:#?}", account.story("second").await);
        let story = account.story(&id).await.join("\n");
        assert!(story.contains("R0 CREATE_FAILED") && story.contains("already exists"), "{story}");
        assert_eq!(inventory(cloud), before, "{kind} after a creation");
        assert_eq!(account.delete("second").await, "DELETE_COMPLETE");
        assert_eq!(inventory(cloud), before, "{kind} after the deletion");
        // … and in an update, of a stack that is then deleted.
        account.create("second", TOPIC).await;
        let both = format!("{TOPIC}{}", alone.trim_start_matches("Resources:\n"));
        let status = account.update("second", &both).await;
        assert_eq!(status, "UPDATE_ROLLBACK_COMPLETE", "{kind}");
        assert_eq!(account.delete("second").await, "DELETE_COMPLETE");
        assert_eq!(inventory(cloud), before, "{kind} after an update");
    }
    assert_eq!(account.delete("first").await, "DELETE_COMPLETE");
    assert_eq!(inventory(cloud).into_iter().collect::<Vec<_>>(), ["bucket packages None"]);
}

#[tokio::test]
async fn what_is_retained_stays_when_it_is_deleted_replaced_or_rolled_back() {
    let account = Account::new();
    let cloud = &account.cloud;
    let bucket = |name: &str, attributes: &str| {
        format!(
            "Resources:\n  B: {{ Type: 'AWS::S3::Bucket', {attributes} Properties: {{ BucketName: \
             {name} }} }}\n  Own: {{ Type: 'AWS::SNS::Topic', Properties: {{ TopicName: own }} }}\n"
        )
    };
    let names = || cloud.services.s3.all().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
    let keep = "UpdateReplacePolicy: Retain,";
    account.create("s", &bucket("one", keep)).await;
    assert_eq!(account.update("s", &bucket("two", keep)).await, "UPDATE_COMPLETE");
    assert_eq!(names(), ["one", "two"]);
    assert!(account.story("s").await.contains(&"B DELETE_SKIPPED".to_owned()));
    // Only the attribute changes: it counts from then on.
    assert_eq!(
        account.update("s", &bucket("two", "DeletionPolicy: Retain,")).await,
        "UPDATE_COMPLETE"
    );
    assert_eq!(
        account.update("s", &bucket("tri", "DeletionPolicy: Retain,")).await,
        "UPDATE_COMPLETE"
    );
    assert_eq!(names(), ["one", "tri"], "a replaced bucket goes by UpdateReplacePolicy");
    assert_eq!(account.delete("s").await, "DELETE_COMPLETE");
    assert_eq!(names(), ["one", "tri"]);
    for (policy, option, left) in [
        ("Retain", false, true),
        ("Retain", true, false),
        ("RetainExceptOnCreate", false, false),
        ("Delete", false, false),
    ] {
        let template = format!(
            "{}  Bad: {{ Type: 'AWS::Logs::LogGroup', DependsOn: B, Properties: \
             {{ RetentionInDays: 8 }} }}\n",
            bucket("new", &format!("DeletionPolicy: {policy},"))
        );
        let more = json!({ "RetainExceptOnCreate": option });
        let (_, status) = account.create_with("t", &template, more).await;
        assert_eq!(status, "ROLLBACK_COMPLETE");
        assert_eq!(names().contains(&"new".to_owned()), left, "{policy} {option}");
        account.delete("t").await;
        if left {
            cloud.services.s3.delete("new").expect("deleted");
        }
    }
}

#[tokio::test]
async fn a_failed_creation_is_kept_or_deleted_as_ordered() {
    let account = Account::new();
    let bad = format!(
        "{TOPIC}  Bad: {{ Type: 'AWS::Logs::LogGroup', DependsOn: Own, Properties: \
         {{ RetentionInDays: 8 }} }}\n"
    );
    let (_, status) = account.create_with("kept", &bad, json!({ "OnFailure": "DO_NOTHING" })).await;
    assert_eq!(
        (status.as_str(), account.cloud.services.sns.topics.all().len()),
        ("CREATE_FAILED", 1)
    );
    assert_eq!(account.delete("kept").await, "DELETE_COMPLETE");
    let (id, status) = account.create_with("gone", &bad, json!({ "OnFailure": "DELETE" })).await;
    assert_eq!(
        (status.as_str(), account.cloud.services.sns.topics.all().len()),
        ("DELETE_COMPLETE", 0)
    );
    let story = account.story(&id).await.join("\n");
    let words = "gone DELETE_IN_PROGRESS: The following resource(s) failed to create: [Bad]. \
                 Delete requested by user.";
    assert!(story.contains(words), "{story}");
}

#[tokio::test]
async fn a_custom_name_cannot_be_replaced_by_itself() {
    let account = Account::new();
    let machine = |kind: &str| {
        let role = "  Role: { Type: 'AWS::IAM::Role', Properties: { RoleName: r, \
                    AssumeRolePolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: \
                    Allow, Principal: { Service: states.amazonaws.com }, Action: sts:AssumeRole }] \
                    } } }\n";
        format!(
            "Resources:\n{role}  M: {{ Type: 'AWS::StepFunctions::StateMachine', Properties: {{ \
             StateMachineName: m, {kind} RoleArn: !GetAtt Role.Arn, DefinitionString: \
             '{{\"QueryLanguage\": \"JSONata\", \"StartAt\": \"A\", \"States\": {{\"A\": \
             {{\"Type\": \"Pass\", \"End\": true}}}}}}' }} }}\n"
        )
    };
    account.create("s", &machine("")).await;
    let status = account.update("s", &machine("StateMachineType: STANDARD,")).await;
    assert_eq!(status, "UPDATE_ROLLBACK_COMPLETE");
    let story = account.story("s").await.join("\n");
    let words = "M UPDATE_FAILED: CloudFormation cannot update a stack when a custom-named resource \
                 requires replacing. Rename m and update the stack again.";
    assert!(story.contains(words), "{story}");
    assert_eq!(account.cloud.services.states.machines.all().len(), 1);
}
