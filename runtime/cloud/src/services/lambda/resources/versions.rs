//! Versions, aliases, and what becomes of events.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::plain;
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{self, Handler, Live, Made, Place, ResourceType, attributes, text};
use crate::services::lambda::versions::{Expected, publish_now, row};
use crate::services::lambda::{Reference, arn, event_configs, qualified_arn};

/// `AWS::Lambda::Version`.
pub const VERSION: ResourceType = ResourceType::new(
    "AWS::Lambda::Version",
    &["FunctionName", "CodeSha256", "Description"],
    &Versions,
);

/// `AWS::Lambda::Alias`.
pub const ALIAS: ResourceType = ResourceType::new(
    "AWS::Lambda::Alias",
    &[
        "FunctionName",
        "Name",
        "FunctionVersion",
        "Description",
        "RoutingConfig/AdditionalVersionWeights/FunctionVersion",
        "RoutingConfig/AdditionalVersionWeights/FunctionWeight",
    ],
    &Aliases,
);

/// `AWS::Lambda::EventInvokeConfig`.
pub const EVENT_CONFIG: ResourceType = ResourceType::new(
    "AWS::Lambda::EventInvokeConfig",
    &[
        "FunctionName",
        "Qualifier",
        "MaximumEventAgeInSeconds",
        "MaximumRetryAttempts",
        "DestinationConfig/OnSuccess/Destination",
        "DestinationConfig/OnFailure/Destination",
    ],
    &EventConfigs,
);

/// The function that properties name.
fn function(properties: &Value) -> &str {
    Reference::parse(text(properties, "FunctionName"), None).name
}

#[derive(Debug)]
struct Versions;

#[async_trait]
impl Handler for Versions {
    /// The number that the next version has: nobody else publishes one for a stack meanwhile.
    fn id(&self, place: &Place<'_>, _: Option<&str>, properties: &Value) -> String {
        let name = function(properties);
        let published = place.cloud.services.lambda.functions.get(name).map(|f| f.published);
        format!("{}:{}", arn(place.cloud, name), published.unwrap_or_default() + 1)
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let name = function(properties);
        let expected = Expected {
            sha256: properties["CodeSha256"].as_str(),
            description: properties["Description"].as_str(),
            ..Expected::default()
        };
        // Not through the API, which is content with a version that is there already.
        let administrator = place.cloud.identities.administrator();
        let caller = place.caller.as_ref().unwrap_or(&administrator);
        let (cloud, arn) = (place.cloud, arn(place.cloud, name));
        let allowed = cloud.authorize(caller, "lambda:PublishVersion", &arn, &[]);
        let published = allowed.and_then(|()| publish_now(cloud, name, expected));
        let number = published
            .map_err(|error| resource::handler(&error.message, "InvalidRequest"))?
            .to_string();
        if !id.ends_with(&format!(":{number}")) {
            let words = format!("The version {number} of {name} was published meanwhile.");
            return Err(resource::handler(&words, "ResourceConflict").into());
        }
        Ok(attributes(json!({ "Version": number, "FunctionArn": id })))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        let params = json!({ "FunctionName": id });
        place.call_unless_gone("lambda", "DeleteFunction", &params).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        let reference = Reference::parse(id, None);
        let row = row(reference.name, reference.qualifier.unwrap_or_default());
        let is_there = cloud.services.lambda.versions.contains(&row);
        // None of it can be changed.
        Live::of(is_there.then(|| properties.clone()))
    }
}

#[derive(Debug)]
struct Aliases;

/// What the API is asked for an alias.
fn alias_params(properties: &Value) -> Value {
    let mut params = json!({
        "FunctionName": properties["FunctionName"], "Name": properties["Name"],
        "FunctionVersion": properties["FunctionVersion"],
        "Description": properties["Description"].as_str().unwrap_or_default(),
    });
    let weights = &properties["RoutingConfig"]["AdditionalVersionWeights"];
    let weight = |one: &Value| {
        let version = plain(&one["FunctionVersion"]);
        let version = version.as_str().map_or_else(|| version.to_string(), str::to_owned);
        (version, plain(&one["FunctionWeight"]))
    };
    let weights: Map<String, Value> =
        weights.as_array().into_iter().flatten().map(weight).collect();
    params["RoutingConfig"] = json!({ "AdditionalVersionWeights": weights });
    params
}

#[async_trait]
impl Handler for Aliases {
    fn id(&self, place: &Place<'_>, _: Option<&str>, properties: &Value) -> String {
        let (name, alias) = (function(properties), text(properties, "Name"));
        qualified_arn(place.cloud, &Reference { name, qualifier: Some(alias) })
    }

    fn exists(&self, cloud: &Arc<Cloud>, _: &str, properties: &Value) -> Option<bool> {
        let row = row(function(properties), text(properties, "Name"));
        Some(cloud.services.lambda.aliases.contains(&row))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        place.call("lambda", "CreateAlias", &alias_params(properties)).await?;
        Ok(attributes(json!({ "AliasArn": id })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        place.call("lambda", "UpdateAlias", &alias_params(properties)).await?;
        Ok(attributes(json!({ "AliasArn": id })))
    }

    async fn delete(&self, place: &Place<'_>, _: &str, properties: &Value) -> Result<(), String> {
        let params = json!({
            "FunctionName": properties["FunctionName"], "Name": properties["Name"],
        });
        place.call_unless_gone("lambda", "DeleteAlias", &params).await
    }

    fn read(&self, cloud: &Arc<Cloud>, _: &str, properties: &Value) -> Live {
        let row = row(function(properties), text(properties, "Name"));
        Live::of(cloud.services.lambda.aliases.get(&row).map(|alias| {
            let mut is = json!({
                "FunctionName": properties["FunctionName"], "Name": properties["Name"],
                "FunctionVersion": alias.version, "Description": alias.description,
            });
            let weights = alias.weights.iter().map(
                |(version, weight)| json!({ "FunctionVersion": version, "FunctionWeight": weight }),
            );
            let weights: Vec<Value> = weights.collect();
            if !weights.is_empty() {
                is["RoutingConfig"] = json!({ "AdditionalVersionWeights": weights });
            }
            is
        }))
    }
}

#[derive(Debug)]
struct EventConfigs;

fn config_of(properties: &Value) -> Value {
    json!({
        "FunctionName": properties["FunctionName"], "Qualifier": properties["Qualifier"],
    })
}

#[async_trait]
impl Handler for EventConfigs {
    fn id(&self, _: &Place<'_>, _: Option<&str>, properties: &Value) -> String {
        format!("{}|{}", function(properties), text(properties, "Qualifier"))
    }

    fn exists(&self, cloud: &Arc<Cloud>, _: &str, properties: &Value) -> Option<bool> {
        let qualifier = properties["Qualifier"].as_str();
        Some(event_configs::of(cloud, function(properties), qualifier).is_some())
    }

    async fn create(&self, place: &Place<'_>, _: &str, properties: &Value) -> Made {
        let mut params = config_of(properties);
        for name in ["MaximumEventAgeInSeconds", "MaximumRetryAttempts", "DestinationConfig"] {
            params[name] = plain(&properties[name]);
        }
        place.call("lambda", "PutFunctionEventInvokeConfig", &params).await?;
        Ok(Map::new())
    }

    async fn update(&self, place: &Place<'_>, _: &str, properties: &Value, _: &Value) -> Made {
        let mut params = config_of(properties);
        // What is not in the template any more is as it is without it.
        for (name, default) in
            [("MaximumEventAgeInSeconds", json!(21_600)), ("MaximumRetryAttempts", json!(2))]
        {
            let given = plain(&properties[name]);
            params[name] = if given.is_null() { default } else { given };
        }
        for outcome in ["OnSuccess", "OnFailure"] {
            let given = &properties["DestinationConfig"][outcome];
            let none = json!({ "Destination": "" });
            params["DestinationConfig"][outcome] =
                if given.is_null() { none } else { given.clone() };
        }
        place.call("lambda", "UpdateFunctionEventInvokeConfig", &params).await?;
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, _: &str, properties: &Value) -> Result<(), String> {
        let operation = "DeleteFunctionEventInvokeConfig";
        place.call_unless_gone("lambda", operation, &config_of(properties)).await
    }

    fn read(&self, cloud: &Arc<Cloud>, _: &str, properties: &Value) -> Live {
        let qualifier = properties["Qualifier"].as_str();
        let config = event_configs::of(cloud, function(properties), qualifier);
        Live::of(config.map(|config| {
            let mut is = config_of(properties);
            for (name, number) in [
                ("MaximumEventAgeInSeconds", config.age_secs_max),
                ("MaximumRetryAttempts", config.retries_max),
            ] {
                if let Some(number) = number {
                    is[name] = number.into();
                }
            }
            for (outcome, to) in
                [("OnSuccess", config.on_success), ("OnFailure", config.on_failure)]
            {
                if let Some(arn) = to {
                    is["DestinationConfig"][outcome] = json!({ "Destination": arn });
                }
            }
            is
        }))
    }
}
