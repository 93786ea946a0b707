//! What templates can make of S3.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::StoreError;
use crate::kernel::cloud::Cloud;
use crate::kernel::iam::check_bucket_policy;
use crate::kernel::resource::{
    Failure, Handler, Live, Made, Place, ResourceType, attributes, text,
};

/// The types.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new(
        "AWS::S3::Bucket",
        &[
            "BucketName",
            "BucketEncryption/ServerSideEncryptionConfiguration/ServerSideEncryptionByDefault\
             /SSEAlgorithm=AES256",
            // It saves calls of KMS only.
            "BucketEncryption/ServerSideEncryptionConfiguration/BucketKeyEnabled",
            "PublicAccessBlockConfiguration/BlockPublicAcls",
            "PublicAccessBlockConfiguration/BlockPublicPolicy",
            "PublicAccessBlockConfiguration/IgnorePublicAcls",
            "PublicAccessBlockConfiguration/RestrictPublicBuckets",
            "OwnershipControls/Rules/ObjectOwnership=BucketOwnerEnforced",
            "LifecycleConfiguration/Rules/AbortIncompleteMultipartUpload",
            "LifecycleConfiguration/Rules/ExpirationDate",
            "LifecycleConfiguration/Rules/ExpirationInDays",
            "LifecycleConfiguration/Rules/ExpiredObjectDeleteMarker",
            "LifecycleConfiguration/Rules/Id",
            "LifecycleConfiguration/Rules/NoncurrentVersionExpiration",
            "LifecycleConfiguration/Rules/NoncurrentVersionExpirationInDays",
            "LifecycleConfiguration/Rules/ObjectSizeGreaterThan",
            "LifecycleConfiguration/Rules/ObjectSizeLessThan",
            "LifecycleConfiguration/Rules/Prefix",
            "LifecycleConfiguration/Rules/Status",
            "LifecycleConfiguration/Rules/TagFilters",
            "NotificationConfiguration/EventBridgeConfiguration",
            "NotificationConfiguration/LambdaConfigurations",
            "NotificationConfiguration/QueueConfigurations",
            "NotificationConfiguration/TopicConfigurations",
            "VersioningConfiguration/Status",
            "Tags",
        ],
        &Bucket,
    )
    .named_by("BucketName"),
    ResourceType::new("AWS::S3::BucketPolicy", &["Bucket", "PolicyDocument"], &BucketPolicy),
];

#[derive(Debug)]
struct Bucket;

impl Bucket {
    async fn configure(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        super::configure(place.cloud, id, properties).await?;
        let region = &place.cloud.config.region;
        Ok(attributes(json!({
            "Arn": arn(id), "DomainName": format!("{id}.s3.amazonaws.com"),
            "RegionalDomainName": format!("{id}.s3.{region}.amazonaws.com"),
        })))
    }
}

fn arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

#[async_trait]
impl Handler for Bucket {
    fn id(&self, place: &Place<'_>, name: Option<&str>, _: &Value) -> String {
        name.map_or_else(|| place.name().to_lowercase(), str::to_owned)
    }

    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.s3.get(id).is_ok())
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let created = place.cloud.services.s3.create(id, properties["Tags"].clone());
        created.map_err(|error| match error {
            StoreError::BucketExists => Failure::Exists(format!("{id} already exists")),
            other => Failure::Other(format!("{id}: {other}")),
        })?;
        Self::configure(place, id, properties).await
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::configure(place, id, properties).await
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        match place.cloud.services.s3.delete(id) {
            Ok(()) | Err(StoreError::NoSuchBucket) => Ok(()),
            Err(error) => Err(format!("{error} (Service: S3, Status Code: 409, Bucket: {id})")),
        }
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.s3.get(id).ok().map(|bucket| {
            let mut properties = super::properties(&bucket);
            properties["BucketName"] = id.into();
            properties
        }))
    }

    fn arn(&self, _: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(arn(id))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.s3.all().into_iter().map(|(name, _)| name).collect())
    }
}

#[derive(Debug)]
struct BucketPolicy;

impl BucketPolicy {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let document = &properties["PolicyDocument"];
        check_bucket_policy(place.cloud, id, document)?;
        let stored = place.cloud.services.s3.configure(id, |b| b.policy = Some(document.clone()));
        stored.map_err(|e| e.to_string())?;
        Ok(Map::new())
    }
}

#[async_trait]
impl Handler for BucketPolicy {
    fn id(&self, _: &Place<'_>, _: Option<&str>, properties: &Value) -> String {
        text(properties, "Bucket").to_owned()
    }

    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.s3.policy(id).is_some())
    }

    fn taken(&self, _: &ResourceType, id: &str, _: &Value) -> String {
        format!("The bucket policy already exists on bucket {id}.")
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        match place.cloud.services.s3.configure(id, |b| b.policy = None) {
            // It went with its bucket.
            Ok(()) | Err(StoreError::NoSuchBucket) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        let policy = cloud.services.s3.policy(id);
        Live::of(policy.map(|document| json!({ "Bucket": id, "PolicyDocument": document })))
    }
}
