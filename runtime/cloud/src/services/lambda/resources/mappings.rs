//! `AWS::Lambda::EventSourceMapping`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{plain, set_tags};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{self, Handler, Live, Made, Place, ResourceType, attributes};
use crate::kernel::service::Call;
use crate::kernel::tags;
use crate::services::lambda::mappings::{self, Mapping, arn};
use crate::services::lambda::{Reference, SERVICE};

/// `AWS::Lambda::EventSourceMapping`.
pub const MAPPING: ResourceType = ResourceType::new(
    "AWS::Lambda::EventSourceMapping",
    &[
        "EventSourceArn",
        "FunctionName",
        "Enabled",
        "BatchSize",
        "MaximumBatchingWindowInSeconds",
        "BisectBatchOnFunctionError",
        "MaximumRetryAttempts",
        "MaximumRecordAgeInSeconds",
        "ParallelizationFactor",
        "StartingPosition",
        "StartingPositionTimestamp",
        "FunctionResponseTypes",
        "DestinationConfig/OnFailure/Destination",
        "FilterCriteria/Filters/Pattern",
        "ScalingConfig/MaximumConcurrency",
        "Tags",
    ],
    &Mappings,
);

#[derive(Debug)]
struct Mappings;

/// What can be changed.
const CHANGEABLE: [&str; 12] = [
    "FunctionName",
    "Enabled",
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "MaximumRecordAgeInSeconds",
    "ParallelizationFactor",
    "FunctionResponseTypes",
    "DestinationConfig",
    "FilterCriteria",
    "ScalingConfig",
];

/// What a setting is when a template says nothing of it any more.
fn default_of(name: &str, properties: &Value) -> Value {
    let is_queue = properties["EventSourceArn"].as_str().is_some_and(|arn| arn.contains(":sqs:"));
    match name {
        "Enabled" => true.into(),
        "BatchSize" => (if is_queue { 10 } else { 100 }).into(),
        "MaximumBatchingWindowInSeconds" => 0.into(),
        "BisectBatchOnFunctionError" => false.into(),
        "MaximumRetryAttempts" | "MaximumRecordAgeInSeconds" => (-1).into(),
        "ParallelizationFactor" => 1.into(),
        "FunctionResponseTypes" => json!([]),
        "DestinationConfig" => json!({ "OnFailure": {} }),
        "FilterCriteria" => json!({ "Filters": [] }),
        _ => json!({}),
    }
}

/// A setting as the API takes it.
fn setting(name: &str, value: &Value) -> Value {
    match name {
        "ScalingConfig" => json!({ "MaximumConcurrency": plain(&value["MaximumConcurrency"]) }),
        _ => plain(value),
    }
}

/// Waits until a mapping is neither being made nor changed.
async fn settled(place: &Place<'_>, id: &str) {
    let clock = &place.cloud.clock;
    let mapping = || place.cloud.services.lambda.mappings.get(id);
    while let Some(until) = mapping().and_then(|mapping| mapping.changing_until(clock.now())) {
        clock.sleep_until(until).await;
    }
}

fn described(place: &Place<'_>, id: &str) -> Map<String, Value> {
    attributes(json!({ "Id": id, "EventSourceMappingArn": arn(place.cloud, id) }))
}

#[async_trait]
impl Handler for Mappings {
    fn id(&self, _: &Place<'_>, _: Option<&str>, _: &Value) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let mut params = json!({
            "EventSourceArn": properties["EventSourceArn"],
            "StartingPosition": properties["StartingPosition"],
            "StartingPositionTimestamp": plain(&properties["StartingPositionTimestamp"]),
            "Tags": tags::parse(&properties["Tags"]),
        });
        for name in CHANGEABLE.iter().filter(|name| !properties[**name].is_null()) {
            params[*name] = setting(name, &properties[*name]);
        }
        // Not through the API, which chooses the ID itself.
        let administrator = place.cloud.identities.administrator();
        let caller = place.caller.as_ref().unwrap_or(&administrator);
        let (cloud, operation) = (place.cloud, "CreateEventSourceMapping");
        let call = Call { cloud, caller, service: &SERVICE, operation, params: &params };
        mappings::create_as(&call, id)
            .await
            .map_err(|error| resource::handler(&error.message, "InvalidRequest"))?;
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
        let mut params = json!({ "UUID": id });
        let is_changed = |name: &&&str| properties[**name] != old[**name];
        for name in CHANGEABLE.iter().filter(is_changed) {
            params[*name] = match &properties[*name] {
                Value::Null => default_of(name, properties),
                given => setting(name, given),
            };
        }
        if params.as_object().is_some_and(|params| params.len() > 1) {
            settled(place, id).await;
            place.call("lambda", "UpdateEventSourceMapping", &params).await?;
            settled(place, id).await;
        }
        set_tags(place, &arn(place.cloud, id), properties, old).await?;
        Ok(described(place, id))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        settled(place, id).await;
        let params = json!({ "UUID": id });
        place.call_unless_gone("lambda", "DeleteEventSourceMapping", &params).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        let mapping = cloud.services.lambda.mappings.get(id);
        Live::of(mapping.map(|mapping| {
            let mut is = mappings::describe(cloud, id, &mapping);
            if let Some(members) = is.as_object_mut() {
                members.retain(|name, _| MAPPING.properties().any(|property| property == name));
            }
            is["Enabled"] = mapping.enabled.into();
            is["FunctionName"] = named(cloud, &mapping, properties);
            if !mapping.tags.is_empty() {
                is["Tags"] = tags::list(&mapping.tags).into();
            }
            is
        }))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.lambda.mappings.names(""))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(arn(cloud, id))
    }
}

/// The function in the words of the template, when it is the one that this names.
fn named(cloud: &Cloud, mapping: &Mapping, properties: &Value) -> Value {
    let given = properties["FunctionName"].as_str().unwrap_or_default();
    match Reference::parse(given, None) == mapping.reference() {
        true => given.into(),
        false => mapping.function_arn(cloud).into(),
    }
}
