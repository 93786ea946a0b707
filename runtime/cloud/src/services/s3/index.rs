//! Tags of buckets for the index of all services: `PutBucketTagging` without HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::S3Error;
use serde_json::{Value, json};

use super::store::StoreError;
use super::tagging::of_bucket;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::service::{Tagged, Tagging, Tags, tag_list};

const ARN: &str = "arn:aws:s3:::";

/// How buckets carry tags. There is one operation, which replaces all of them.
pub const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.s3.all().into_iter();
        all.map(|(name, bucket)| (format!("{ARN}{name}"), tags_of(&bucket.tags))).collect()
    },
    change: Tagging::By {
        tag: |_, arn, tags| ("PutBucketTagging", json!({ "Bucket": name_in(arn), "Add": tags })),
        untag: |_, arn, keys| {
            ("PutBucketTagging", json!({ "Bucket": name_in(arn), "Remove": keys }))
        },
    },
};

fn name_in(arn: &str) -> &str {
    arn.strip_prefix(ARN).unwrap_or_default()
}

fn tags_of(list: &Value) -> Tags {
    let tags = list.as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    tags.filter_map(|tag| Some((text(&tag["Key"])?, text(&tag["Value"])?))).collect()
}

/// Gives tags to a bucket, or takes them, when the caller may.
pub async fn change_tags(cloud: &Arc<Cloud>, caller: &Caller, input: &Value) -> ApiResult {
    let caller = caller.anew();
    let changed = change(cloud, &caller, input).await;
    cloud.note(&caller, "s3", "PutBucketTagging", changed.as_ref().err());
    changed
}

async fn change(cloud: &Arc<Cloud>, caller: &Caller, input: &Value) -> ApiResult {
    let bucket = input["Bucket"].as_str().unwrap_or_default().to_owned();
    cloud.authorize(caller, "s3:PutBucketTagging", &format!("{ARN}{bucket}"), &[])?;
    let found = cloud.services.s3.get(&bucket).map_err(|error| told(error.into()))?;
    let mut tags = tags_of(&found.tags);
    for (key, value) in input["Add"].as_object().into_iter().flatten() {
        tags.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    for key in input["Remove"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        tags.remove(key);
    }
    let tags: BTreeMap<_, _> = of_bucket(tags.into_iter().collect()).map_err(told)?;
    let list = tag_list(&tags, "Key", "Value");
    let cloud = cloud.clone();
    let configure = move || cloud.services.s3.configure(&bucket, |bucket| bucket.tags = list);
    let configured: Result<(), StoreError> =
        tokio::task::spawn_blocking(configure).await.map_err(ApiError::internal)?;
    configured.map_err(|error| told(error.into()))?;
    Ok(json!({}))
}

fn told(error: S3Error) -> ApiError {
    let message = error.message().unwrap_or_default().to_owned();
    let status = error.status_code().map_or(400, |status| status.as_u16());
    ApiError::new(error.code().as_str(), message).with_status(status)
}
