//! An embedded cloud within the test's own process, and stacks in it.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::Limits;
use steppe_cloud::kernel::service;

use crate::serving::Serving;

/// A cloud that serves until it is dropped.
pub struct InProcess(Serving);

impl Deref for InProcess {
    type Target = Serving;
    fn deref(&self) -> &Serving {
        &self.0
    }
}

/// Waits for something that takes a while.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came about that {what}");
}

/// Whether a process is there and more than a zombie.
pub fn is_alive(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|r| r.split_whitespace().next()).is_some_and(|s| s != "Z")
}

impl InProcess {
    /// An empty cloud.
    pub async fn start() -> Self {
        Self(Serving::start().await)
    }

    /// An empty cloud with other limits.
    pub async fn limited(limits: Limits) -> Self {
        Self(Serving::limited(limits).await)
    }

    /// The state folder.
    pub fn folder(&self) -> &Path {
        &self.cloud.config.state_dir
    }

    /// Calls CloudFormation as the administrator.
    pub async fn call(&self, operation: &str, params: Value) -> Result<Value, String> {
        let caller = self.cloud.identities.administrator();
        let answer =
            service::call(&self.cloud, &caller, "cloudformation", operation, &params).await;
        answer.map_err(|e| e.to_string())
    }

    /// Makes a stack of these resources; returns its ID and status.
    pub async fn create(&self, name: &str, resources: Value) -> (String, String) {
        let template = json!({ "Resources": resources }).to_string();
        let params = json!({
            "StackName": name, "TemplateBody": template,
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
        });
        let answer = self.call("CreateStack", params).await.expect("accepted");
        let id = answer["StackId"].as_str().expect("an ID").to_owned();
        let status = self.settle(&id).await;
        (id, status)
    }

    /// Makes a stack that must succeed.
    pub async fn created(&self, name: &str, resources: Value) -> String {
        let (id, status) = self.create(name, resources).await;
        assert_eq!(status, "CREATE_COMPLETE", "{:#?}", self.reasons(&id).await);
        id
    }

    /// Deletes a stack; returns its last status.
    pub async fn delete(&self, id: &str) -> String {
        self.call("DeleteStack", json!({ "StackName": id })).await.expect("accepted");
        self.settle(id).await
    }

    async fn settle(&self, id: &str) -> String {
        let status =
            || self.cloud.services.cloudformation.stacks.get(id).expect("the stack").status.clone();
        until("the stack settles", || !status().ends_with("_IN_PROGRESS")).await;
        status()
    }

    /// Why things happened to a stack, oldest first.
    pub async fn reasons(&self, id: &str) -> Vec<String> {
        let events = self.call("DescribeStackEvents", json!({ "StackName": id })).await;
        let events = events.expect("events")["StackEvents"].as_array().cloned().unwrap_or_default();
        let reason = |e: &Value| e["ResourceStatusReason"].as_str().map(str::to_owned);
        events.iter().rev().filter_map(reason).collect()
    }

    /// A function's package in a bucket called `code`.
    pub fn put_package(&self, bootstrap: &str) {
        use std::io::Write;
        if self.cloud.services.s3.get("code").is_err() {
            self.cloud.services.s3.create("code", json!([])).expect("made");
        }
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file("bootstrap", zip::write::SimpleFileOptions::default()).expect("started");
        zip.write_all(bootstrap.as_bytes()).expect("written");
        let package = zip.finish().expect("finished").into_inner();
        self.cloud.services.s3.put_bytes("code", "package.zip", &package).expect("stored");
    }
}

/// A role that a service may take on, with a policy of one statement.
pub fn role(name: &str, service: &str, actions: &[&str]) -> Value {
    json!({
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": name,
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [{
                    "Effect": "Allow", "Principal": { "Service": service },
                    "Action": "sts:AssumeRole",
                }],
            },
            "Policies": [{
                "PolicyName": "p",
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
                },
            }],
        },
    })
}
