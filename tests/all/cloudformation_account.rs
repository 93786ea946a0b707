//! What the tests of CloudFormation share: a cloud that is spoken to without HTTP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::{Cloud, Config};
use steppe_cloud::kernel::service;
use tempfile::TempDir;

use crate::tools::binary;

/// One topic.
pub const TOPIC: &str =
    "Resources:\n  Own: { Type: 'AWS::SNS::Topic', Properties: { TopicName: own } }\n";

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
        let name = format!("c{}", self.cloud.services.cloudformation.change_sets.all().len());
        let more = json!({ "ChangeSetName": name, "ChangeSetType": kind });
        let made = self.call("CreateChangeSet", request(stack, template, more)).await?;
        let params = json!({ "ChangeSetName": made["Id"], "IncludePropertyValues": true });
        self.call("DescribeChangeSet", params).await
    }
}

pub async fn call(cloud: &Arc<Cloud>, operation: &str, params: Value) -> Result<Value, String> {
    let administrator = cloud.identities.administrator();
    service::call(cloud, &administrator, "cloudformation", operation, &params)
        .await
        .map_err(|e| e.to_string())
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
        let stack = cloud.services.cloudformation.stacks.get(id).expect("the stack");
        if !stack.is_busy() {
            return stack.status.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the stack does not settle: {:?}", cloud.services.cloudformation.stacks.get(id));
}

/// Everything that an account has, by name.
pub fn inventory(cloud: &Cloud) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (name, bucket) in cloud.services.s3.all() {
        all.insert(format!("bucket {name} {:?}", bucket.policy));
    }
    for (name, topic) in cloud.services.sns.topics.all() {
        all.insert(format!("topic {name} {}", topic.subscriptions.len()));
    }
    let mut add = |kind: &str, names: Vec<String>| {
        all.extend(names.into_iter().map(|n| format!("{kind} {n}")));
    };
    macro_rules! names {
        ($service:ident.$table:ident) => {
            let all = cloud.services.$service.$table.all();
            add(stringify!($table), all.into_iter().map(|(n, _)| n).collect());
        };
    }
    names!(iam.roles);
    names!(iam.profiles);
    names!(lambda.functions);
    names!(ec2.instances);
    names!(ec2.network);
    names!(logs.groups);
    names!(glue.databases);
    names!(glue.tables);
    names!(glue.jobs);
    names!(athena.work_groups);
    names!(athena.named_queries);
    names!(states.machines);
    names!(cloudwatch.alarms);
    names!(events.rules);
    all
}
