//! What templates can make of Lambda.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::arn;
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes, text};

/// The types.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new(
        "AWS::Lambda::Function",
        &[
            "FunctionName",
            "Description",
            "Runtime",
            "Handler",
            "Architectures",
            "MemorySize",
            "Timeout",
            "Role",
            "Code/S3Bucket",
            "Code/S3Key",
            "Environment/Variables",
            "LoggingConfig/LogGroup",
            "LoggingConfig/LogFormat=Text",
            "VpcConfig/SubnetIds",
            "VpcConfig/SecurityGroupIds",
            "Tags",
        ],
        &Function,
    )
    .named_by("FunctionName"),
    ResourceType::new(
        "AWS::Lambda::Permission",
        &["FunctionName", "Action", "Principal", "SourceArn", "SourceAccount"],
        &Permission,
    ),
];

#[derive(Debug)]
struct Function;

impl Function {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        place.may_pass(text(properties, "Role"), "lambda.amazonaws.com")?;
        super::set(place.cloud, id, properties)?;
        Ok(attributes(json!({ "Arn": arn(place.cloud, id) })))
    }
}

#[async_trait]
impl Handler for Function {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.lambda.functions.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        super::delete(place.cloud, id)
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        Live::of(cloud.services.lambda.functions.get(id).map(|function| {
            let mut is = json!({
                "FunctionName": id, "Description": function.description,
                "Runtime": properties["Runtime"], "Handler": function.handler,
                "Architectures": [function.architecture], "MemorySize": function.memory_mb,
                "Timeout": function.timeout_secs, "Role": function.role,
                // Where the code came from is not kept; AWS cannot tell either.
                "Code": properties["Code"],
                "LoggingConfig": { "LogGroup": function.log_group, "LogFormat": "Text" },
            });
            if !function.variables.is_empty() {
                is["Environment"] = json!({ "Variables": function.variables });
            }
            if let Some(network) = &function.network {
                is["VpcConfig"] = json!({
                    "SubnetIds": network.subnets, "SecurityGroupIds": network.groups,
                });
            }
            is
        }))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(arn(cloud, id))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.lambda.functions.names(""))
    }
}

#[derive(Debug)]
struct Permission;

/// The function that a permission is about, and its statement's ID.
fn of_permission(id: &str, properties: &Value) -> Value {
    json!({ "FunctionName": properties["FunctionName"], "StatementId": id })
}

#[async_trait]
impl Handler for Permission {
    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let mut params = of_permission(id, properties);
        for name in ["Action", "Principal", "SourceArn", "SourceAccount"] {
            if !properties[name].is_null() {
                params[name] = properties[name].clone();
            }
        }
        place.call("lambda", "AddPermission", &params).await?;
        Ok(attributes(json!({ "Id": id })))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String> {
        place.call_unless_gone("lambda", "RemovePermission", &of_permission(id, properties)).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        let given = properties["FunctionName"].as_str().unwrap_or_default();
        let name = given.rsplit(':').next().unwrap_or(given);
        let function = cloud.services.lambda.functions.get(name);
        let is_there = function.is_some_and(|f| f.permissions.iter().any(|s| s["Sid"] == id));
        // None of it can be changed.
        Live::of(is_there.then(|| properties.clone()))
    }
}
