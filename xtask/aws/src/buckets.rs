//! Buckets and objects.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, Delete, ObjectIdentifier,
    PublicAccessBlockConfiguration, Tag, Tagging,
};

use crate::{Aws, AwsError, Result};

/// Metadata that holds an object's hash.
const SHA256: &str = "sha256";

impl Aws {
    /// Whether a bucket exists and is ours.
    pub async fn bucket_exists(&self, bucket: &str) -> Result<bool> {
        match self
            .s3
            .head_bucket()
            .bucket(bucket)
            .send()
            .await
            .map_err(|e| AwsError::new("s3:HeadBucket", e))
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a private bucket that takes encrypted connections only.
    pub async fn create_bucket(
        &self,
        bucket: &str,
        region: &str,
        tags: &[(String, String)],
    ) -> Result<()> {
        let mut request = self.s3.create_bucket().bucket(bucket);
        // The first region is the default and must not be named.
        if region != "us-east-1" {
            let place = CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(region))
                .build();
            request = request.create_bucket_configuration(place);
        }
        request.send().await.map_err(|e| AwsError::new("s3:CreateBucket", e))?;
        let block = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        self.s3
            .put_public_access_block()
            .bucket(bucket)
            .public_access_block_configuration(block)
            .send()
            .await
            .map_err(|e| AwsError::new("s3:PutPublicAccessBlock", e))?;
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"TlsOnly","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"],"Condition":{{"Bool":{{"aws:SecureTransport":"false"}}}}}}]}}"#
        );
        self.s3
            .put_bucket_policy()
            .bucket(bucket)
            .policy(policy)
            .send()
            .await
            .map_err(|e| AwsError::new("s3:PutBucketPolicy", e))?;
        let tags: std::result::Result<Vec<Tag>, _> =
            tags.iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect();
        let tagging = tags
            .and_then(|t| Tagging::builder().set_tag_set(Some(t)).build())
            .map_err(|e| AwsError::local("s3:PutBucketTagging", e.to_string()))?;
        self.s3
            .put_bucket_tagging()
            .bucket(bucket)
            .tagging(tagging)
            .send()
            .await
            .map_err(|e| AwsError::new("s3:PutBucketTagging", e))?;
        Ok(())
    }

    /// Deletes an empty bucket; one that is not there is deleted.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<()> {
        match self
            .s3
            .delete_bucket()
            .bucket(bucket)
            .send()
            .await
            .map_err(|e| AwsError::new("s3:DeleteBucket", e))
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// All keys below a prefix.
    pub async fn keys(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        let mut pages =
            self.s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("s3:ListObjectsV2", e))?;
            keys.extend(page.contents.unwrap_or_default().into_iter().filter_map(|o| o.key));
        }
        Ok(keys)
    }

    /// Deletes all objects; returns how many there were.
    pub async fn empty_bucket(&self, bucket: &str) -> Result<usize> {
        let keys = self.keys(bucket, "").await?;
        // DeleteObjects takes 1,000 keys.
        for chunk in keys.chunks(1_000) {
            let objects = chunk
                .iter()
                .map(|k| ObjectIdentifier::builder().key(k).build())
                .collect::<std::result::Result<Vec<_>, _>>();
            let delete =
                objects.and_then(|o| Delete::builder().set_objects(Some(o)).quiet(true).build());
            let delete = delete.map_err(|e| AwsError::local("s3:DeleteObjects", e.to_string()))?;
            let answer = self
                .s3
                .delete_objects()
                .bucket(bucket)
                .delete(delete)
                .send()
                .await
                .map_err(|e| AwsError::new("s3:DeleteObjects", e))?;
            if let Some(error) = answer.errors.unwrap_or_default().first() {
                return Err(AwsError::local(
                    "s3:DeleteObjects",
                    format!(
                        "{}: {}",
                        error.key().unwrap_or_default(),
                        error.message().unwrap_or_default()
                    ),
                ));
            }
        }
        Ok(keys.len())
    }

    /// Writes an object with its hash in its metadata.
    pub async fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>, sha256: &str) -> Result<()> {
        let request = self
            .s3
            .put_object()
            .bucket(bucket)
            .key(key)
            .metadata(SHA256, sha256)
            .body(ByteStream::from(bytes));
        request.send().await.map_err(|e| AwsError::new("s3:PutObject", e))?;
        Ok(())
    }

    /// An object's bytes; `None` when it is not there.
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.get_tagged(bucket, key).await?.map(|(bytes, _)| bytes))
    }

    /// An object's bytes and its ETag; `None` when it is not there.
    pub async fn get_tagged(&self, bucket: &str, key: &str) -> Result<Option<(Vec<u8>, String)>> {
        match self
            .s3
            .get_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .map_err(|e| AwsError::new("s3:GetObject", e))
        {
            Ok(object) => {
                let tag = object.e_tag.unwrap_or_default();
                let bytes = object
                    .body
                    .collect()
                    .await
                    .map_err(|e| AwsError::local("s3:GetObject", e.to_string()))?;
                Ok(Some((bytes.to_vec(), tag)))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes an object only where it is still what it was when its ETag was read, or, without one, not
    /// there; false when it is something else by now.
    pub async fn put_if(
        &self,
        bucket: &str,
        key: &str,
        bytes: Vec<u8>,
        tag: Option<&str>,
    ) -> Result<bool> {
        let request = self.s3.put_object().bucket(bucket).key(key).body(ByteStream::from(bytes));
        let request = match tag {
            Some(tag) => request.if_match(tag),
            None => request.if_none_match("*"),
        };
        match request.send().await.map_err(|e| AwsError::new("s3:PutObject", e)) {
            Ok(_) => Ok(true),
            Err(error) if error.is_precondition() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The hash that an object was written with.
    pub async fn sha256_of(&self, bucket: &str, key: &str) -> Result<Option<String>> {
        match self
            .s3
            .head_object()
            .bucket(bucket)
            .key(key)
            .send()
            .await
            .map_err(|e| AwsError::new("s3:HeadObject", e))
        {
            Ok(head) => Ok(head.metadata.and_then(|m| m.get(SHA256).cloned())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
