//! `AWS::Lambda::Function`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{plain, set_tags};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{
    Failure, Handler, Live, Made, Place, ResourceType, attributes, text,
};
use crate::kernel::tags;
use crate::services::lambda::arn;
use crate::services::lambda::function::Function;

/// `AWS::Lambda::Function`.
pub const FUNCTION: ResourceType = ResourceType::new(
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
        "Code/S3ObjectVersion",
        "Environment/Variables",
        "LoggingConfig/LogGroup",
        "LoggingConfig/LogFormat=Text",
        "VpcConfig/SubnetIds",
        "VpcConfig/SecurityGroupIds",
        "DeadLetterConfig/TargetArn",
        "ReservedConcurrentExecutions",
        "PackageType=Zip",
        "Tags",
    ],
    &Functions,
)
.named_by("FunctionName");

#[derive(Debug)]
struct Functions;

/// What says where the code is.
const CODE: [&str; 2] = ["Code", "Architectures"];
/// What the configuration has, with what it is when a template says nothing of it.
fn configuration(id: &str, properties: &Value) -> Value {
    let or = |name: &str, default: Value| match &properties[name] {
        Value::Null => default,
        given => plain(given),
    };
    let given = properties["Environment"]["Variables"].as_object().into_iter().flatten();
    let written = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let variables: Map<String, Value> =
        given.map(|(name, value)| (name.clone(), written(value).into())).collect();
    let group = text(&properties["LoggingConfig"], "LogGroup");
    let group = if group.is_empty() { format!("/aws/lambda/{id}") } else { group.to_owned() };
    json!({
        "FunctionName": id, "Role": properties["Role"], "Runtime": properties["Runtime"],
        "Handler": properties["Handler"],
        "Description": properties["Description"].as_str().unwrap_or_default(),
        "Timeout": or("Timeout", 3.into()), "MemorySize": or("MemorySize", 128.into()),
        "Environment": { "Variables": variables },
        "VpcConfig": or("VpcConfig", json!({ "SubnetIds": [], "SecurityGroupIds": [] })),
        "DeadLetterConfig": or("DeadLetterConfig", json!({ "TargetArn": "" })),
        "LoggingConfig": { "LogGroup": group, "LogFormat": "Text" },
    })
}

fn of(place: &Place<'_>, id: &str) -> Option<Arc<Function>> {
    place.cloud.services.lambda.functions.get(id)
}

/// Waits until a function is neither being made nor changed.
async fn settled(place: &Place<'_>, id: &str) {
    let clock = &place.cloud.clock;
    while let Some(change) = of(place, id).and_then(|function| function.changing(clock.now())) {
        clock.sleep_until(change.until).await;
    }
}

async fn reserve(place: &Place<'_>, id: &str, wanted: &Value) -> Result<(), Failure> {
    let params = json!({ "FunctionName": id });
    let (operation, params) = match wanted {
        Value::Null => ("DeleteFunctionConcurrency", params),
        count => {
            let count = plain(count);
            let params = json!({ "FunctionName": id, "ReservedConcurrentExecutions": count });
            ("PutFunctionConcurrency", params)
        }
    };
    place.call("lambda", operation, &params).await.map(drop)
}

fn described(place: &Place<'_>, id: &str) -> Map<String, Value> {
    attributes(json!({ "Arn": arn(place.cloud, id) }))
}

#[async_trait]
impl Handler for Functions {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.lambda.functions.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let mut params = configuration(id, properties);
        for name in CODE {
            params[name] = properties[name].clone();
        }
        params["Tags"] = json!(tags::parse(&properties["Tags"]));
        place.call("lambda", "CreateFunction", &params).await?;
        if !properties["ReservedConcurrentExecutions"].is_null() {
            reserve(place, id, &properties["ReservedConcurrentExecutions"]).await?;
        }
        Ok(described(place, id))
    }

    async fn settle(
        &self,
        place: &Place<'_>,
        id: &str,
        _: &Value,
        made: Map<String, Value>,
    ) -> Made {
        settled(place, id).await;
        Ok(made)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        if CODE.iter().any(|name| properties[*name] != old[*name]) {
            let mut params = json!({ "FunctionName": id });
            for name in ["S3Bucket", "S3Key", "S3ObjectVersion"] {
                params[name] = properties["Code"][name].clone();
            }
            params["Architectures"] = properties["Architectures"].clone();
            settled(place, id).await;
            place.call("lambda", "UpdateFunctionCode", &params).await?;
        }
        let wanted = configuration(id, properties);
        if wanted != configuration(id, old) {
            settled(place, id).await;
            place.call("lambda", "UpdateFunctionConfiguration", &wanted).await?;
        }
        let reserved = &properties["ReservedConcurrentExecutions"];
        if *reserved != old["ReservedConcurrentExecutions"] {
            reserve(place, id, reserved).await?;
        }
        set_tags(place, &arn(place.cloud, id), properties, old).await?;
        settled(place, id).await;
        Ok(described(place, id))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        let params = json!({ "FunctionName": id });
        place.call_unless_gone("lambda", "DeleteFunction", &params).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        let function = cloud.services.lambda.functions.get(id);
        Live::of(function.map(|function| {
            let mut is = json!({
                "FunctionName": id, "Description": function.description,
                "Runtime": function.runtime, "Handler": function.handler,
                "Architectures": [function.architecture], "MemorySize": function.memory_mb,
                "Timeout": function.timeout_secs, "Role": function.role, "PackageType": "Zip",
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
            if let Some(target) = &function.dead_letter {
                is["DeadLetterConfig"] = json!({ "TargetArn": target });
            }
            if let Some(count) = function.reserved {
                is["ReservedConcurrentExecutions"] = count.into();
            }
            if !function.tags.is_empty() {
                is["Tags"] = tags::list(&function.tags).into();
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
