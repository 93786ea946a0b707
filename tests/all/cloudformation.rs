//! CloudFormation of the embedded cloud: whose resources are whose, what templates and requests are
//! refused, and what stacks do when something fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use steppe_cloud::cloud::{Cloud, Config};
use steppe_cloud::cloudformation::{Refused, handle, signal};
use tempfile::TempDir;

use crate::tools::binary;

/// The account `000000000000`, without a port.
pub fn config(state: &std::path::Path) -> Config {
    Config {
        state_dir: state.canonicalize().expect("a path"),
        account: "000000000000".into(),
        region: "us-east-1".into(),
        port: 1,
        engine: binary("steppe-etl"),
        own_binary: binary("steppe-cloud"),
    }
}

/// A cloud that is spoken to without HTTP.
pub struct Account {
    pub cloud: Arc<Cloud>,
    _state: TempDir,
}

impl Account {
    pub fn new() -> Self {
        let state = TempDir::new().expect("a folder");
        Self { cloud: Cloud::open(config(state.path())).expect("opens"), _state: state }
    }

    pub async fn call(&self, operation: &str, params: Value) -> Result<Value, String> {
        call(&self.cloud, operation, params).await
    }

    /// Orders a creation and waits for its end; the stack's ID and status.
    pub async fn create(&self, name: &str, template: &str) -> (String, String) {
        self.create_with(name, template, json!({})).await
    }

    pub async fn create_with(&self, name: &str, template: &str, more: Value) -> (String, String) {
        let params = request(name, template, more);
        let answer = self.call("CreateStack", params).await.expect("accepted");
        let id = answer["StackId"].as_str().expect("an ID").to_owned();
        let status = settle(&self.cloud, &id).await;
        (id, status)
    }

    pub async fn update(&self, name: &str, template: &str) -> String {
        let params = request(name, template, json!({}));
        let answer = self.call("UpdateStack", params).await.expect("accepted");
        settle(&self.cloud, answer["StackId"].as_str().expect("an ID")).await
    }

    pub async fn delete(&self, name: &str) -> String {
        let described = self.call("DescribeStacks", json!({ "StackName": name })).await;
        let id = described.expect("a stack")["Stacks"][0]["StackId"].as_str().map(str::to_owned);
        self.call("DeleteStack", json!({ "StackName": name })).await.expect("accepted");
        settle(&self.cloud, &id.expect("an ID")).await
    }

    /// `logical ID STATUS: reason` of all events, oldest first.
    pub async fn story(&self, name: &str) -> Vec<String> {
        let answer = self.call("DescribeStackEvents", json!({ "StackName": name })).await;
        let events = answer.expect("events")["StackEvents"].as_array().cloned();
        let tell = |e: &Value| {
            let reason = e["ResourceStatusReason"].as_str();
            let reason = reason.map(|r| format!(": {r}")).unwrap_or_default();
            let text = |name: &str| e[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}{reason}", text("LogicalResourceId"), text("ResourceStatus"))
        };
        events.unwrap_or_default().iter().rev().map(tell).collect()
    }

    /// A change set, described with values.
    pub async fn change_set(
        &self,
        stack: &str,
        kind: &str,
        template: &str,
    ) -> Result<Value, String> {
        let name = format!("c{}", self.cloud.change_sets.all().len());
        let more = json!({ "ChangeSetName": name, "ChangeSetType": kind });
        let made = self.call("CreateChangeSet", request(stack, template, more)).await?;
        let params = json!({ "ChangeSetName": made["Id"], "IncludePropertyValues": "true" });
        self.call("DescribeChangeSet", params).await
    }
}

pub async fn call(cloud: &Arc<Cloud>, operation: &str, params: Value) -> Result<Value, String> {
    let administrator = cloud.identities.administrator();
    handle(cloud, &administrator, operation, &params).await.map_err(|e| e.to_string())
}

pub fn request(name: &str, template: &str, more: Value) -> Value {
    let mut params = json!({
        "StackName": name, "TemplateBody": template, "Capabilities": ["CAPABILITY_NAMED_IAM"],
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    params
}

/// Waits until nothing is in progress; the status.
pub async fn settle(cloud: &Cloud, id: &str) -> String {
    for _ in 0..3_000 {
        let stack = cloud.stacks.get(id).expect("the stack");
        if !stack.is_busy() {
            return stack.status.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the stack does not settle: {:?}", cloud.stacks.get(id));
}

/// Everything that an account has, by name.
pub fn inventory(cloud: &Cloud) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (name, bucket) in cloud.buckets.all() {
        all.insert(format!("bucket {name} {:?}", bucket.policy));
    }
    for (name, topic) in cloud.topics.all() {
        all.insert(format!("topic {name} {}", topic.subscriptions.len()));
    }
    let mut add = |kind: &str, names: Vec<String>| {
        all.extend(names.into_iter().map(|n| format!("{kind} {n}")));
    };
    macro_rules! names {
        ($table:ident) => {
            add(stringify!($table), cloud.$table.all().into_iter().map(|(n, _)| n).collect());
        };
    }
    names!(roles);
    names!(profiles);
    names!(functions);
    names!(instances);
    names!(infrastructure);
    names!(log_groups);
    names!(databases);
    names!(glue_tables);
    names!(jobs);
    names!(work_groups);
    names!(named_queries);
    names!(state_machines);
    names!(alarms);
    names!(rules);
    all
}

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

const TOPIC: &str =
    "Resources:\n  Own: { Type: 'AWS::SNS::Topic', Properties: { TopicName: own } }\n";

#[tokio::test]
async fn a_stack_deletes_only_what_it_made_whatever_the_type() {
    let account = Account::new();
    let cloud = &account.cloud;
    cloud.buckets.create("packages", json!([])).expect("made");
    cloud.buckets.put_bytes("packages", "package.zip", &package()).expect("stored");
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
async fn early_validation_names_what_is_there_already_and_what_no_property_may_hold() {
    let account = Account::new();
    account.create("first", TOPIC).await;
    let template = format!(
        "{TOPIC}  Group: {{ Type: 'AWS::Logs::LogGroup', Properties: {{ RetentionInDays: 8 }} }}\n"
    );
    let set = account.change_set("second", "CREATE", &template).await.expect("made");
    assert_eq!(
        (set["Status"].as_str(), set["ExecutionStatus"].as_str(), set["StatusReason"].as_str()),
        (
            Some("FAILED"),
            Some("UNAVAILABLE"),
            Some(
                "The following hook(s)/validation failed: \
                 [AWS::EarlyValidation::PropertyValidation, \
                 AWS::EarlyValidation::ResourceExistenceCheck]. To troubleshoot Early Validation \
                 errors, use the DescribeEvents API for detailed failure information."
            )
        )
    );
    let params =
        json!({ "ChangeSetName": set["ChangeSetId"], "Filters": { "FailedEvents": "true" } });
    let events = account.call("DescribeEvents", params).await.expect("events");
    let events = events["OperationEvents"].as_array().expect("a list").clone();
    let found: Vec<(&str, &str, &str)> = events
        .iter()
        .filter(|e| e["EventType"] == "VALIDATION_ERROR")
        .map(|e| {
            let text = |name: &str| e[name].as_str().unwrap_or_default();
            (text("ValidationName"), text("ValidationPath"), text("ValidationStatusReason"))
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                "PROPERTY_VALIDATION",
                "/Resources/Group/Properties/RetentionInDays",
                "8 is not a valid enum value"
            ),
            (
                "NAME_CONFLICT_VALIDATION",
                "/Resources/Own/Properties/TopicName",
                "Resource of type 'AWS::SNS::Topic' with identifier \
                 'arn:aws:sns:us-east-1:000000000000:own' already exists."
            ),
        ]
    );
    let nothing = account.call("DescribeEvents", json!({})).await.expect_err("refused");
    assert!(nothing.contains("One of ChangeSetName, OperationId or StackName"), "{nothing}");
    // Without a change set the resource itself fails, in the words of its event.
    let (_, status) = account.create("third", &template.replace("own", "third")).await;
    assert_eq!(status, "ROLLBACK_COMPLETE");
    let story = account.story("third").await.join("\n");
    let words = "Group CREATE_FAILED: Properties validation failed for resource Group with \
                 message:\n[#/RetentionInDays: 8 is not a valid enum value]";
    assert!(story.contains(words), "{story}");
}

#[tokio::test]
async fn columns_without_names_and_places_outside_of_s3_are_refused() {
    let account = Account::new();
    let table = |location: &str, column: &str| {
        format!(
            "Resources:\n  D: {{ Type: 'AWS::Glue::Database', Properties: {{ CatalogId: '0', \
             DatabaseInput: {{ Name: cases }} }} }}\n  T: {{ Type: 'AWS::Glue::Table', Properties: \
             {{ CatalogId: '0', DatabaseName: !Ref D, TableInput: {{ Name: t, StorageDescriptor: \
             {{ Location: '{location}', Columns: [{{ Name: '{column}', Type: string }}] }} }} }} }}\n"
        )
    };
    let group = |output: &str| {
        format!(
            "Resources:\n  T: {{ Type: 'AWS::Athena::WorkGroup', Properties: {{ Name: g, \
             WorkGroupConfiguration: {{ ResultConfiguration: {{ OutputLocation: '{output}' }} }} }} }}\n"
        )
    };
    let cases = [
        (
            table("s3://cases/t/", ""),
            "StorageDescriptor/Columns/0/Name: expected minLength: 1, actual: 0",
        ),
        (table("file:///home/u/", "a"), "`file:///home/u/` is not an address in S3"),
        (table("s3://cases/", "a"), "`s3://cases/` is a whole bucket"),
        (table("s3://cases/../x/", "a"), "`s3://cases/../x/` is not a usable key in S3"),
        (group("file:///home/u/"), "OutputLocation: `file:///home/u/` is not an address in S3"),
        (group("/home/u/"), "OutputLocation: `/home/u/` is not an address in S3"),
    ];
    for (template, words) in cases {
        let (id, status) = account.create("s", &template).await;
        let story = account.story(&id).await.join("\n");
        assert_eq!(status, "ROLLBACK_COMPLETE", "{story}");
        assert!(story.contains("T CREATE_FAILED") && story.contains(words), "{story}");
        account.delete("s").await;
    }
    for template in [table("s3://cases/t/", "a"), group("s3://cases/out/")] {
        let (_, status) = account.create("s", &template).await;
        assert_eq!(status, "CREATE_COMPLETE", "{:#?}", account.story("s").await);
        account.delete("s").await;
    }
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
    let names = || cloud.buckets.all().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
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
        ("Retain", "false", true),
        ("Retain", "true", false),
        ("RetainExceptOnCreate", "false", false),
        ("Delete", "false", false),
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
            cloud.buckets.delete("new").expect("deleted");
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
    assert_eq!((status.as_str(), account.cloud.topics.all().len()), ("CREATE_FAILED", 1));
    assert_eq!(account.delete("kept").await, "DELETE_COMPLETE");
    let (id, status) = account.create_with("gone", &bad, json!({ "OnFailure": "DELETE" })).await;
    assert_eq!((status.as_str(), account.cloud.topics.all().len()), ("DELETE_COMPLETE", 0));
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
    assert_eq!(account.cloud.state_machines.all().len(), 1);
}

#[tokio::test]
async fn requests_are_refused_by_name_and_repeated_ones_do_nothing() {
    let account = Account::new();
    let refused = |operation: &'static str, params: Value| {
        let account = &account;
        async move { account.call(operation, params).await.expect_err("refused") }
    };
    for option in ["RoleARN", "NotificationARNs", "StackPolicyBody", "ResourceTypes"] {
        let error = refused("CreateStack", request("s", TOPIC, json!({ option: "x" }))).await;
        let words = format!(
            "NotImplemented: The embedded cloud does not implement the parameter {option} of \
             cloudformation:CreateStack."
        );
        assert_eq!(error, words);
    }
    let error = refused("CreateStack", request("../../x", TOPIC, json!({}))).await;
    assert!(
        error.contains(
            "Value '../../x' at 'stackName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        ),
        "{error}"
    );
    let long = format!("# {}\n{TOPIC}", "x".repeat(51_200));
    let error = refused("CreateStack", request("s", &long, json!({}))).await;
    assert!(error.contains("Member must have length less than or equal to 51200"), "{error}");
    for operation in ["DetectStackDrift", "SetStackPolicy", "CancelUpdateStack"] {
        let error = refused(operation, json!({ "StackName": "s" })).await;
        let words = format!("does not implement cloudformation:{operation}");
        assert!(error.contains(&words), "{error}");
    }
    // The same request twice makes one stack; another with the same name is refused.
    let token = json!({ "ClientRequestToken": "t-1", "EnableTerminationProtection": "true" });
    let (id, status) = account.create_with("s", TOPIC, token.clone()).await;
    assert_eq!(status, "CREATE_COMPLETE");
    let again = account.call("CreateStack", request("s", TOPIC, token)).await.expect("the same");
    assert_eq!(again["StackId"], id.as_str());
    let error = refused("CreateStack", request("s", TOPIC, json!({}))).await;
    assert_eq!(error, "AlreadyExistsException: Stack [s] already exists");
    let events = account.call("DescribeStackEvents", json!({ "StackName": "s" })).await;
    assert_eq!(events.expect("events")["StackEvents"][0]["ClientRequestToken"], "t-1");
    let error = refused("DeleteStack", json!({ "StackName": "s" })).await;
    assert!(error.contains("cannot be deleted while TerminationProtection is enabled"), "{error}");
}

#[tokio::test]
async fn a_template_in_s3_is_read_with_the_callers_rights() {
    let account = Account::new();
    let cloud = &account.cloud;
    let role = "Resources:\n  Role: { Type: 'AWS::IAM::Role', Properties: { RoleName: builder, \
                AssumeRolePolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: Allow, \
                Principal: { Service: lambda.amazonaws.com }, Action: sts:AssumeRole }] }, \
                Policies: [{ PolicyName: p, PolicyDocument: { Version: '2012-10-17', Statement: \
                [{ Effect: Allow, Action: 'cloudformation:*', Resource: '*' }, { Effect: Allow, \
                Action: s3:GetObject, Resource: 'arn:aws:s3:::templates/open/*' }] } }] } }\n";
    let (_, status) = account.create("roles", role).await;
    assert_eq!(status, "CREATE_COMPLETE", "{:#?}", account.story("roles").await);
    cloud.buckets.create("templates", json!([])).expect("made");
    for key in ["open/t.yaml", "secret/t.yaml"] {
        cloud.buckets.put_bytes("templates", key, TOPIC.as_bytes()).expect("stored");
    }
    let arn = "arn:aws:iam::000000000000:role/builder";
    let builder = cloud.assume(arn, "lambda.amazonaws.com", "f").expect("trusted");
    let validate = |key: &'static str| {
        let url = format!("https://s3.us-east-1.amazonaws.com/templates/{key}");
        let builder = &builder;
        async move { handle(cloud, builder, "ValidateTemplate", &json!({ "TemplateURL": url })).await }
    };
    assert!(validate("open/t.yaml").await.is_ok());
    for key in ["secret/t.yaml", "%73ecret/t.yaml", "secret/missing.yaml"] {
        let error = validate(key).await.expect_err("refused").message;
        assert!(error.starts_with("S3 error: Access Denied\n"), "{key}: {error}");
    }
}

#[tokio::test]
async fn a_role_is_passed_to_a_service_only_by_who_may() {
    let account = Account::new();
    let cloud = &account.cloud;
    let trust = "AssumeRolePolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: Allow, \
                 Principal: { Service: [lambda.amazonaws.com, states.amazonaws.com, \
                 ec2.amazonaws.com] }, Action: sts:AssumeRole }] }";
    let roles = format!(
        "Resources:\n  Worker: {{ Type: 'AWS::IAM::Role', Properties: {{ RoleName: worker, {trust} \
         }} }}\n  Builder: {{ Type: 'AWS::IAM::Role', Properties: {{ RoleName: builder, {trust}, \
         Policies: [{{ PolicyName: p, PolicyDocument: {{ Version: '2012-10-17', Statement: \
         [{{ Effect: Allow, Action: 'cloudformation:*', Resource: '*' }}, {{ Effect: Allow, Action: \
         iam:PassRole, Resource: 'arn:aws:iam::000000000000:role/worker', Condition: \
         {{ StringEquals: {{ 'iam:PassedToService': states.amazonaws.com }} }} }}] }} }}] }} }}\n"
    );
    let (_, status) = account.create("roles", &roles).await;
    assert_eq!(status, "CREATE_COMPLETE", "{:#?}", account.story("roles").await);
    let arn = "arn:aws:iam::000000000000:role/builder";
    let builder = cloud.assume(arn, "lambda.amazonaws.com", "f").expect("trusted");
    let build = |name: &'static str, template: String| {
        let builder = &builder;
        async move {
            let params = request(name, &template, json!({}));
            let made = handle(cloud, builder, "CreateStack", &params).await.expect("accepted");
            settle(cloud, made["StackId"].as_str().expect("an ID")).await
        }
    };
    let machine = "Resources:\n  M: { Type: 'AWS::StepFunctions::StateMachine', Properties: { RoleArn: \
                   'arn:aws:iam::000000000000:role/worker', DefinitionString: '{\"QueryLanguage\": \
                   \"JSONata\", \"StartAt\": \"A\", \"States\": {\"A\": {\"Type\": \"Pass\", \
                   \"End\": true}}}' } }\n";
    assert_eq!(build("machine", machine.to_owned()).await, "CREATE_COMPLETE");
    let profile = "Resources:\n  P: { Type: 'AWS::IAM::InstanceProfile', Properties: { Roles: \
                   [worker] } }\n";
    assert_eq!(build("profile", profile.to_owned()).await, "ROLLBACK_COMPLETE");
    let story = account.story("profile").await.join("\n");
    let words = "P CREATE_FAILED: User: arn:aws:sts::000000000000:assumed-role/builder/f is not \
                 authorized to perform: iam:PassRole on resource: \
                 arn:aws:iam::000000000000:role/worker";
    assert!(story.contains(words), "{story}");
}

#[tokio::test]
async fn parameters_from_ssm_are_looked_up_anew_in_each_operation() {
    let account = Account::new();
    let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    let template = format!(
        "Parameters:\n  Image: {{ Type: 'AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>', \
         Default: {name} }}\n  Secret: {{ Type: String, NoEcho: true, Default: hidden }}\n\
         Resources:\n  Own: {{ Type: 'AWS::SNS::Topic', Properties: {{ TopicName: own, \
         DisplayName: !Sub '${{Image}} ${{Secret}}' }} }}\n"
    );
    account.create("s", &template).await;
    let described = account.call("DescribeStacks", json!({ "StackName": "s" })).await;
    let parameters = described.expect("described")["Stacks"][0]["Parameters"].clone();
    assert_eq!(
        parameters,
        json!([
            { "ParameterKey": "Image", "ParameterValue": name,
              "ResolvedValue": "ami-0c10bedded0008664" },
            { "ParameterKey": "Secret", "ParameterValue": "****", "ResolvedValue": null },
        ])
    );
    let same = account.change_set("s", "UPDATE", &template).await.expect("made");
    assert_eq!(same["Status"], "FAILED", "nothing has changed yet");
    let script = json!({ "parameters": { name: "ami-0123456789abcdef0" } });
    account.cloud.faults.set(script.to_string().as_bytes()).expect("a script");
    let set = account.change_set("s", "UPDATE", &template).await.expect("made");
    let target = &set["Changes"][0]["ResourceChange"]["Details"][0]["Target"];
    assert_eq!(
        (target["BeforeValue"].as_str(), target["AfterValue"].as_str()),
        (Some("ami-0c10bedded0008664 ****"), Some("ami-0123456789abcdef0 ****"))
    );
}

#[tokio::test]
async fn change_sets_show_new_resources_with_their_properties_on_demand() {
    let account = Account::new();
    let set = account.change_set("s", "CREATE", TOPIC).await.expect("made");
    let change = &set["Changes"][0]["ResourceChange"];
    assert_eq!(change["Action"], "Add");
    let after: Value =
        serde_json::from_str(change["AfterContext"].as_str().expect("a context")).expect("JSON");
    assert_eq!(after, json!({ "Properties": { "TopicName": "own" } }));
    let params = json!({ "ChangeSetName": set["ChangeSetId"] });
    let plain = account.call("DescribeChangeSet", params).await.expect("described");
    assert!(plain["Changes"][0]["ResourceChange"].get("AfterContext").is_none());
    let params = json!({ "ChangeSetName": set["ChangeSetId"], "ClientRequestToken": "once" });
    for _ in 0..2 {
        account.call("ExecuteChangeSet", params.clone()).await.expect("the same request");
    }
    let id = set["StackId"].as_str().expect("an ID");
    assert_eq!(settle(&account.cloud, id).await, "CREATE_COMPLETE");
    let detail = json!({ "StackName": "s", "LogicalResourceId": "Own" });
    let detail = account.call("DescribeStackResource", detail).await.expect("described");
    assert_eq!(detail["StackResourceDetail"]["ResourceStatus"], "CREATE_COMPLETE");
    let summary = account.call("GetTemplateSummary", json!({ "StackName": "s" })).await;
    assert_eq!(summary.expect("a summary")["ResourceTypes"], json!(["AWS::SNS::Topic"]));
}

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
    let dir = cloud.path("state/stacks");
    let aside = cloud.path("state/stacks.aside");
    let refuse = || std::fs::rename(&dir, &aside).expect("renamed");
    let allow = || std::fs::rename(&aside, &dir).expect("renamed");
    refuse();
    let error = account.call("CreateStack", request("s", TOPIC, json!({}))).await;
    assert!(error.expect_err("not stored").contains("cannot be stored"));
    assert!(cloud.stacks.all().is_empty() && cloud.topics.all().is_empty());
    allow();
    // The disk refuses in the middle: nothing is called complete that a restart would undo.
    let waiting = "Resources:\n  H: { Type: 'AWS::CloudFormation::WaitConditionHandle' }\n  W: { \
                   Type: 'AWS::CloudFormation::WaitCondition', Properties: { Handle: !Ref H, \
                   Timeout: '60' } }\n  T: { Type: 'AWS::SNS::Topic', DependsOn: W }\n";
    let answer = account.call("CreateStack", request("s", waiting, json!({}))).await;
    let id = answer.expect("accepted")["StackId"].as_str().expect("an ID").to_owned();
    let handle = loop {
        let stack = cloud.stacks.get(&id).expect("the stack");
        if stack.resources.contains_key("W") {
            break stack.resources["H"].physical_id.clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    refuse();
    let path = handle.strip_prefix(&cloud.config.endpoint()).expect("an own address").to_owned();
    let done = json!({ "Status": "SUCCESS", "UniqueId": "1", "Data": "" }).to_string();
    assert_eq!(signal(cloud, &path, done.as_bytes()), Ok(()));
    assert!(settle(cloud, &id).await.starts_with("ROLLBACK_"));
    allow();
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
        let stack = cloud.stacks.get(&id).expect("the stack");
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

#[tokio::test]
async fn lists_come_in_pages() {
    let account = Account::new();
    let resources: String = (0..250)
        .map(|n| format!("  R{n}: {{ Type: 'AWS::CloudFormation::WaitConditionHandle' }}\n"))
        .collect();
    let (_, status) = account.create("s", &format!("Resources:\n{resources}")).await;
    assert_eq!(status, "CREATE_COMPLETE");
    let mut names = BTreeSet::new();
    let (mut token, mut pages) = (Value::Null, 0);
    loop {
        let params = json!({ "StackName": "s", "NextToken": token });
        let page = account.call("ListStackResources", params).await.expect("a page");
        let summaries = page["StackResourceSummaries"].as_array().cloned().unwrap_or_default();
        names.extend(summaries.iter().map(|s| s["LogicalResourceId"].to_string()));
        pages += 1;
        token = page["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!((names.len(), pages), (250, 3));
    let bad = json!({ "StackName": "s", "NextToken": "x" });
    let error = account.call("ListStackResources", bad).await.expect_err("refused");
    assert_eq!(error, "ValidationError: Invalid NextToken");
}
