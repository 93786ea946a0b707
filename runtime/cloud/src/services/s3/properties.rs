//! A bucket between its settings and the properties of `AWS::S3::Bucket`.

use std::sync::Arc;

use s3s::S3Error;
use serde_json::{Map, Value, json};

use super::Bucket;
use super::delivery;
use super::lifecycle::setting;
use super::messages::new_request_id;
use super::notifications::Notifications;
use super::rules::{LIFECYCLE, NOTIFICATION};
use super::versioning::VERSIONING;
use crate::kernel::cloud::Cloud;

/// Properties that are kept as they are written.
const KEPT: [&str; 3] = ["BucketEncryption", "PublicAccessBlockConfiguration", "OwnershipControls"];

fn words(error: &S3Error) -> String {
    error.message().map_or_else(|| error.code().as_str().to_owned(), str::to_owned)
}

/// Gives a bucket the properties of a template, all of them or none. What a template does not say
/// is as in a new bucket, except that a bucket that kept versions only stops to do so, as in AWS.
pub async fn configure(cloud: &Arc<Cloud>, name: &str, properties: &Value) -> Result<(), String> {
    let given = |name: &str| properties.get(name).filter(|value| !value.is_null());
    let mut settings: Vec<(&str, Value)> = Vec::new();
    for name in KEPT {
        settings.extend(given(name).map(|value| (name, value.clone())));
    }
    if let Some(value) = given(LIFECYCLE) {
        settings.push((LIFECYCLE, setting::write(&setting::read(value)?)));
    }
    if let Some(value) = given(NOTIFICATION) {
        let wanted = Notifications::read(value)?;
        let before = cloud.services.s3.about(name).map_err(|e| e.to_string())?;
        // Who is told already gets no other test message.
        let known = |to: &_| before.notifications.destinations.contains(to);
        let mut new = wanted.clone();
        new.destinations.retain(|to| !known(to));
        let validated = delivery::validate(cloud, name, &new, &new_request_id()).await;
        validated.map_err(|error| words(&error))?;
        settings.push((NOTIFICATION, wanted.write()));
    }
    let status = match given(VERSIONING).map(|value| &value["Status"]) {
        None => None,
        Some(Value::String(status)) if status == "Enabled" || status == "Suspended" => {
            Some(status.clone())
        }
        Some(other) => return Err(format!("{other} is no Status of VersioningConfiguration")),
    };
    let tags = tags(given("Tags"))?;
    let change = move |bucket: &mut Bucket| {
        let had_versions = bucket.settings.get(VERSIONING).is_some_and(|v| !v.is_null());
        let status = status.or_else(|| had_versions.then(|| "Suspended".to_owned()));
        bucket.settings =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if let Some(status) = status {
            bucket.settings.insert(VERSIONING.to_owned(), json!({ "Status": status }));
        }
        bucket.tags = tags;
    };
    let (cloud, name) = (cloud.clone(), name.to_owned());
    let done = tokio::task::spawn_blocking(move || cloud.services.s3.configure(&name, change));
    done.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

fn tags(given: Option<&Value>) -> Result<Value, String> {
    let Some(given) = given else { return Ok(json!([])) };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pairs = given.as_array().into_iter().flatten();
    let pairs = pairs.map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect();
    super::tagging::of_bucket(pairs).map_err(|error| words(&error))?;
    Ok(given.clone())
}

/// The properties of a bucket as they are now.
pub fn properties(bucket: &Bucket) -> Value {
    let mut properties = Map::new();
    for (name, value) in bucket.settings.iter().filter(|(_, value)| !value.is_null()) {
        let value = if name == LIFECYCLE { setting::as_property(value) } else { value.clone() };
        properties.insert(name.clone(), value);
    }
    properties.insert("Tags".to_owned(), bucket.tags.clone());
    Value::Object(properties)
}
