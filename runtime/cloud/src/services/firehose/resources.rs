//! `AWS::KinesisFirehose::DeliveryStream`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::arn;
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes};

/// `AWS::KinesisFirehose::DeliveryStream`.
pub const DELIVERY_STREAM: ResourceType = ResourceType::new(
    "AWS::KinesisFirehose::DeliveryStream",
    &[
        "DeliveryStreamName",
        "DeliveryStreamType=DirectPut|KinesisStreamAsSource",
        "KinesisStreamSourceConfiguration",
        "ExtendedS3DestinationConfiguration",
        "Tags",
    ],
    &DeliveryStream,
)
.named_by("DeliveryStreamName");

/// The configuration of the destination.
const CONFIGURATION: &str = "ExtendedS3DestinationConfiguration";

#[derive(Debug)]
struct DeliveryStream;

#[async_trait]
impl Handler for DeliveryStream {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.firehose.streams.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let mut request = json!({ "DeliveryStreamName": id });
        for name in ["DeliveryStreamType", "KinesisStreamSourceConfiguration", "Tags"] {
            if !properties[name].is_null() {
                request[name] = properties[name].clone();
            }
        }
        request[CONFIGURATION] = typed(&properties[CONFIGURATION]);
        place.call("firehose", "CreateDeliveryStream", &request).await?;
        Ok(attributes(json!({ "Arn": arn(place.cloud, id) })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, new: &Value, old: &Value) -> Made {
        if new[CONFIGURATION] != old[CONFIGURATION] {
            let version = place.cloud.services.firehose.streams.get(id).map(|s| s.version);
            let request = json!({
                "DeliveryStreamName": id, "DestinationId": "destinationId-000000000001",
                "CurrentDeliveryStreamVersionId": version.unwrap_or_default().to_string(),
                "ExtendedS3DestinationUpdate": typed(&new[CONFIGURATION]),
            });
            place.call("firehose", "UpdateDestination", &request).await?;
        }
        let keys = |properties: &Value| -> Vec<Value> {
            let tags = properties["Tags"].as_array().into_iter().flatten();
            tags.map(|tag| tag["Key"].clone()).collect()
        };
        let kept = keys(new);
        let gone: Vec<Value> = keys(old).into_iter().filter(|key| !kept.contains(key)).collect();
        if !gone.is_empty() {
            let request = json!({ "DeliveryStreamName": id, "TagKeys": gone });
            place.call("firehose", "UntagDeliveryStream", &request).await?;
        }
        if new["Tags"] != old["Tags"] && !kept.is_empty() {
            let request = json!({ "DeliveryStreamName": id, "Tags": new["Tags"] });
            place.call("firehose", "TagDeliveryStream", &request).await?;
        }
        Ok(attributes(json!({ "Arn": arn(place.cloud, id) })))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        let request = json!({ "DeliveryStreamName": id });
        place.call_unless_gone("firehose", "DeleteDeliveryStream", &request).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.firehose.streams.get(id).map(|stream| {
            let kind = if stream.source.is_some() { "KinesisStreamAsSource" } else { "DirectPut" };
            let mut out = json!({
                "DeliveryStreamName": id, "DeliveryStreamType": kind,
                CONFIGURATION: stream.destination.given,
            });
            if let Some(source) = &stream.source {
                out["KinesisStreamSourceConfiguration"] =
                    json!({ "KinesisStreamARN": source.arn, "RoleARN": source.role });
            }
            if !stream.tags.is_empty() {
                let tags = stream.tags.iter();
                out["Tags"] = tags.map(|(k, v)| json!({ "Key": k, "Value": v })).collect();
            }
            out
        }))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(arn(cloud, id))
    }
}

/// Templates may write numbers and booleans as texts.
fn typed(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(typed).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let number = value.as_str().and_then(|text| text.parse::<u64>().ok());
                let counted = ["SizeInMBs", "IntervalInSeconds"].contains(&name.as_str());
                match number.filter(|_| counted) {
                    Some(number) => (name.clone(), number.into()),
                    None => (name.clone(), typed(value)),
                }
            })
            .collect(),
        Value::String(text) if text == "true" => true.into(),
        Value::String(text) if text == "false" => false.into(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_delivery_stream_is_made_changed_read_and_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let cloud = Cloud::for_tests(folder.path());
        let place = Place::for_tests(&cloud);
        let properties = |seconds: Value| {
            json!({ CONFIGURATION: {
                "RoleARN": "arn:aws:iam::000000000000:role/r", "BucketARN": "arn:aws:s3:::b",
                "BufferingHints": { "SizeInMBs": 1, "IntervalInSeconds": seconds },
            } })
        };
        let (old, new) = (properties(json!("60")), properties(json!(30)));
        let made = DeliveryStream.create(&place, "hose", &old).await.expect("made");
        assert_eq!(made["Arn"], arn(&cloud, "hose"));
        DeliveryStream.update(&place, "hose", &new, &old).await.expect("changed");
        let Live::Is(read) = DeliveryStream.read(&cloud, "hose", &new) else { panic!("there") };
        assert_eq!(read[CONFIGURATION], new[CONFIGURATION]);
        assert_eq!(read["DeliveryStreamType"], "DirectPut");
        DeliveryStream.delete(&place, "hose", &new).await.expect("deleted");
        DeliveryStream.delete(&place, "hose", &new).await.expect("deleted again");
        assert_eq!(DeliveryStream.read(&cloud, "hose", &new), Live::Gone);
    }
}
