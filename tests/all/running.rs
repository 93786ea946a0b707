//! An embedded cloud within the test's own process, with one stack called `s` from a template.

use std::ops::Deref;
use std::time::Duration;

use serde_json::{Value, json};
use steppe_cloud::kernel::service;

use crate::serving::Serving;

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
        service::call(
            &self.cloud,
            &self.cloud.identities.administrator(),
            "cloudformation",
            operation,
            &params,
        )
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
    pub async fn settle(&self, id: &str) -> String {
        for _ in 0..1_000 {
            let status = self
                .cloud
                .services
                .cloudformation
                .stacks
                .get(id)
                .expect("the stack")
                .status
                .clone();
            if !status.ends_with("_IN_PROGRESS") || status == "REVIEW_IN_PROGRESS" {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "the stack does not settle: {:?}",
            self.cloud.services.cloudformation.stacks.get(id)
        );
    }

    /// Reasons of the stack's events, oldest first.
    pub async fn reasons(&self, id: &str) -> Vec<String> {
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

/// A template with one bucket, to which more resources can be added.
pub const BUCKET: &str =
    "Resources:\n  Data:\n    Type: AWS::S3::Bucket\n    Properties:\n      BucketName: my-data\n";
