//! `AWS::Kinesis::Stream`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Mode, arn, streams};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{
    Failure, Handler, Live, Made, Place, ResourceType, attributes, number,
};

/// `AWS::Kinesis::Stream`.
pub const STREAM: ResourceType = ResourceType::new(
    "AWS::Kinesis::Stream",
    &["Name", "ShardCount", "RetentionPeriodHours", "StreamModeDetails/StreamMode", "Tags"],
    &Stream,
)
.named_by("Name");

#[derive(Debug)]
struct Stream;

#[async_trait]
impl Handler for Stream {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.kinesis.streams.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let mut request = json!({ "StreamName": id });
        if !tags(properties).is_empty() {
            request["Tags"] = tags(properties).into();
        }
        if let Some(mode) = mode(properties) {
            request["StreamModeDetails"] = json!({ "StreamMode": mode });
        }
        match &properties["ShardCount"] {
            // A stream of a template that says nothing is provisioned, with one shard.
            Value::Null if mode(properties).is_none() => request["ShardCount"] = 1.into(),
            Value::Null => {}
            count => request["ShardCount"] = number(count, 1).into(),
        }
        place.call("kinesis", "CreateStream", &request).await?;
        set_retention(place, id, retention(properties), retention(&Value::Null)).await?;
        Ok(attributes(json!({ "Arn": arn(place.cloud, id) })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, new: &Value, old: &Value) -> Made {
        let arn = arn(place.cloud, id);
        let name = |properties| mode(properties).unwrap_or("PROVISIONED").to_owned();
        if name(new) != name(old) {
            let details = json!({ "StreamMode": name(new) });
            let request = json!({ "StreamARN": arn, "StreamModeDetails": details });
            place.call("kinesis", "UpdateStreamMode", &request).await?;
        }
        let (wanted, former) = (&new["ShardCount"], &old["ShardCount"]);
        if name(new) == "PROVISIONED" && !wanted.is_null() && wanted != former {
            let request = json!({
                "StreamName": id, "TargetShardCount": number(wanted, 1),
                "ScalingType": "UNIFORM_SCALING",
            });
            place.call("kinesis", "UpdateShardCount", &request).await?;
        }
        set_retention(place, id, retention(new), retention(old)).await?;
        set_tags(place, id, new, old).await?;
        Ok(attributes(json!({ "Arn": arn })))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        let request = json!({ "StreamName": id });
        place.call_unless_gone("kinesis", "DeleteStream", &request).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.kinesis.streams.get(id).map(|stream| {
            let mut out = json!({
                "Name": id, "RetentionPeriodHours": stream.retention_hours,
                "StreamModeDetails": { "StreamMode": stream.mode },
            });
            if stream.mode == Mode::Provisioned {
                out["ShardCount"] = stream.shards.open().len().into();
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

fn mode(properties: &Value) -> Option<&str> {
    properties["StreamModeDetails"]["StreamMode"].as_str()
}

fn tags(properties: &Value) -> Map<String, Value> {
    let tags = properties["Tags"].as_array().into_iter().flatten();
    tags.filter_map(|tag| Some((tag["Key"].as_str()?.to_owned(), tag["Value"].clone()))).collect()
}

fn retention(properties: &Value) -> u64 {
    number(&properties["RetentionPeriodHours"], streams::RETENTION_HOURS.into())
}

async fn set_retention(place: &Place<'_>, id: &str, new: u64, old: u64) -> Result<(), Failure> {
    let operation = match new.cmp(&old) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => "IncreaseStreamRetentionPeriod",
        std::cmp::Ordering::Less => "DecreaseStreamRetentionPeriod",
    };
    let request = json!({ "StreamName": id, "RetentionPeriodHours": new });
    place.call("kinesis", operation, &request).await.map(drop)
}

async fn set_tags(place: &Place<'_>, id: &str, new: &Value, old: &Value) -> Result<(), Failure> {
    let (wanted, former) = (tags(new), tags(old));
    let gone: Vec<&String> = former.keys().filter(|key| !wanted.contains_key(*key)).collect();
    if !gone.is_empty() {
        let request = json!({ "StreamName": id, "TagKeys": gone });
        place.call("kinesis", "RemoveTagsFromStream", &request).await?;
    }
    if !wanted.is_empty() && wanted != former {
        let request = json!({ "StreamName": id, "Tags": wanted });
        place.call("kinesis", "AddTagsToStream", &request).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_made_changed_read_and_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let cloud = Cloud::for_tests(folder.path());
        let place = Place::for_tests(&cloud);
        let old = json!({ "ShardCount": "2", "Tags": [{ "Key": "a", "Value": "1" }] });
        let made = Stream.create(&place, "stream", &old).await.expect("made");
        assert_eq!(made["Arn"], "arn:aws:kinesis:us-east-1:000000000000:stream/stream");
        let new = json!({
            "ShardCount": 3, "RetentionPeriodHours": 48, "Tags": [{ "Key": "b", "Value": "2" }],
        });
        Stream.update(&place, "stream", &new, &old).await.expect("changed");
        let mode = json!({ "StreamMode": "PROVISIONED" });
        let read = json!({
            "Name": "stream", "RetentionPeriodHours": 48, "StreamModeDetails": mode,
            "ShardCount": 3, "Tags": [{ "Key": "b", "Value": "2" }],
        });
        assert_eq!(Stream.read(&cloud, "stream", &new), Live::Is(read));
        Stream.delete(&place, "stream", &new).await.expect("deleted");
        Stream.delete(&place, "stream", &new).await.expect("deleted again");
        assert_eq!(Stream.read(&cloud, "stream", &new), Live::Gone);
    }
}
