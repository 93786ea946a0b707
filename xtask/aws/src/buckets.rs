//! Buckets: whether they are ours, and how they are set up.
//!
//! Every call says whose bucket it means, so that S3 refuses one of another account: names of
//! buckets are global and follow from what is public, so somebody else may have made one first.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint,
    CreateBucketConfiguration, ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
    PublicAccessBlockConfiguration, Tag, Tagging,
};
use serde_json::{Value, json};
use steppe_plan::observed::BucketSetting;

use crate::{Aws, AwsError, Kind, Result};

/// Pauses while S3 is busy with a bucket that was made or deleted a moment ago.
const PAUSES: [u64; 7] = [300, 700, 2_000, 4_000, 8_000, 15_000, 30_000];
/// Name of the rule that removes what broken-off uploads left.
const UPLOADS_RULE: &str = "unfinished-uploads";
/// How long a broken-off upload may lie.
const UPLOADS_DAYS: i32 = 7;

/// Whether a bucket is there, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// There is no such bucket.
    Nobody,
    /// Another account.
    Another,
    /// The configured account.
    Us,
}

impl Aws {
    /// Whose bucket it is.
    pub async fn bucket_owner(&self, bucket: &str) -> Result<Owner> {
        let ask = self.s3.head_bucket().bucket(bucket).expected_bucket_owner(&self.account);
        match ask.send().await.map_err(|e| AwsError::new("s3:HeadBucket", e)) {
            Ok(_) => Ok(Owner::Us),
            Err(error) if error.is_not_found() => Ok(Owner::Nobody),
            // S3 says 403 to a wrong owner and to missing permissions alike.
            Err(error) if error.kind == Kind::Denied => self.refused(bucket, error).await,
            Err(error) => Err(error),
        }
    }

    /// Tells a bucket of somebody else from one that we may not see: the first is not in the list
    /// of our buckets.
    async fn refused(&self, bucket: &str, error: AwsError) -> Result<Owner> {
        let mut pages = self.s3.list_buckets().prefix(bucket).into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let Ok(page) = page.map_err(|e| AwsError::new("s3:ListBuckets", e)) else {
                let message = format!(
                    "the bucket {bucket} exists, and account {} either does not own it or does \
                     not let you see it",
                    self.account
                );
                return Err(AwsError { message, ..error });
            };
            listed.extend(page.buckets.unwrap_or_default().into_iter().filter_map(|b| b.name));
        }
        if listed.iter().any(|name| name == bucket) {
            let message = format!("the bucket {bucket} is there, but you may not list it");
            return Err(AwsError { message, ..error });
        }
        Ok(Owner::Another)
    }

    /// The tags of a bucket.
    pub async fn bucket_tags(&self, bucket: &str) -> Result<BTreeMap<String, String>> {
        let ask = self.s3.get_bucket_tagging().bucket(bucket).expected_bucket_owner(&self.account);
        match ask.send().await.map_err(|e| AwsError::new("s3:GetBucketTagging", e)) {
            Ok(answer) => Ok(answer.tag_set.into_iter().map(|t| (t.key, t.value)).collect()),
            Err(error) if error.is_not_found() => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    /// Which settings a bucket lacks. A deployment that was cut off may have left it half-made.
    pub async fn unset(
        &self,
        bucket: &str,
        tags: &[(String, String)],
    ) -> Result<BTreeSet<BucketSetting>> {
        let (private, policy, there, tidy) = tokio::try_join!(
            self.is_private(bucket),
            self.bucket_policy(bucket),
            self.bucket_tags(bucket),
            self.tidies_uploads(bucket)
        )?;
        let holds = |setting: &BucketSetting| match setting {
            BucketSetting::PublicAccessBlock => private,
            BucketSetting::Policy => policy.as_ref().is_some_and(is_tls_only),
            BucketSetting::Tags => tags.iter().all(|(k, v)| there.get(k) == Some(v)),
            BucketSetting::Lifecycle => tidy,
        };
        Ok(BucketSetting::ALL.into_iter().filter(|s| !holds(s)).collect())
    }

    async fn is_private(&self, bucket: &str) -> Result<bool> {
        let ask =
            self.s3.get_public_access_block().bucket(bucket).expected_bucket_owner(&self.account);
        match ask.send().await.map_err(|e| AwsError::new("s3:GetPublicAccessBlock", e)) {
            Ok(answer) => Ok(answer.public_access_block_configuration.is_some_and(|block| {
                [
                    block.block_public_acls,
                    block.ignore_public_acls,
                    block.block_public_policy,
                    block.restrict_public_buckets,
                ]
                .iter()
                .all(|set| *set == Some(true))
            })),
            Err(error) if error.is_not_found() => Ok(false),
            other => unasked(other.map(|_| ())),
        }
    }

    async fn bucket_policy(&self, bucket: &str) -> Result<Option<Value>> {
        let call = "s3:GetBucketPolicy";
        let ask = self.s3.get_bucket_policy().bucket(bucket).expected_bucket_owner(&self.account);
        match ask.send().await.map_err(|e| AwsError::new(call, e)) {
            Ok(answer) => answer
                .policy
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|e| AwsError::local(call, e.to_string())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn tidies_uploads(&self, bucket: &str) -> Result<bool> {
        let ask = self
            .s3
            .get_bucket_lifecycle_configuration()
            .bucket(bucket)
            .expected_bucket_owner(&self.account);
        let call = "s3:GetBucketLifecycleConfiguration";
        match ask.send().await.map_err(|e| AwsError::new(call, e)) {
            Ok(answer) => Ok(answer.rules().iter().any(|r| r.id() == Some(UPLOADS_RULE))),
            Err(error) if error.is_not_found() => Ok(false),
            other => unasked(other.map(|_| ())),
        }
    }

    /// Makes a bucket; one that we own already is made.
    pub async fn create_bucket(&self, bucket: &str) -> Result<()> {
        let call = || async {
            let mut request = self.s3.create_bucket().bucket(bucket);
            // The first region is the default and must not be named.
            if self.region != "us-east-1" {
                let place = CreateBucketConfiguration::builder()
                    .location_constraint(BucketLocationConstraint::from(self.region.as_str()))
                    .build();
                request = request.create_bucket_configuration(place);
            }
            request.send().await.map_err(|e| AwsError::new("s3:CreateBucket", e))
        };
        match settled(call).await {
            Err(error) if error.code != "BucketAlreadyOwnedByYou" => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes one setting of a bucket.
    pub async fn set_up(
        &self,
        bucket: &str,
        setting: BucketSetting,
        tags: &[(String, String)],
    ) -> Result<()> {
        match setting {
            BucketSetting::PublicAccessBlock => settled(|| self.make_private(bucket)).await,
            BucketSetting::Policy => settled(|| self.make_tls_only(bucket)).await,
            BucketSetting::Tags => settled(|| self.tag(bucket, tags)).await,
            BucketSetting::Lifecycle => {
                match settled(|| self.tidy_uploads(bucket)).await {
                    // Another endpoint than AWS's may know no such rules; then nothing is lost but
                    // a little space.
                    Err(error) if error.kind == Kind::NotImplemented => Ok(()),
                    other => other,
                }
            }
        }
    }

    async fn make_private(&self, bucket: &str) -> Result<()> {
        let block = PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true)
            .build();
        self.s3
            .put_public_access_block()
            .bucket(bucket)
            .expected_bucket_owner(&self.account)
            .public_access_block_configuration(block)
            .send()
            .await
            .map_err(|e| AwsError::new("s3:PutPublicAccessBlock", e))?;
        Ok(())
    }

    /// Adds the statement to whatever policy is there.
    async fn make_tls_only(&self, bucket: &str) -> Result<()> {
        let arn = format!("arn:{}:s3:::{bucket}", self.partition());
        let statement = json!({
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [arn, format!("{arn}/*")],
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        });
        let mut policy = self
            .bucket_policy(bucket)
            .await?
            .unwrap_or_else(|| json!({ "Version": "2012-10-17", "Statement": [] }));
        match &mut policy["Statement"] {
            Value::Array(statements) => statements.push(statement),
            single => *single = json!([single.take(), statement]),
        }
        self.s3
            .put_bucket_policy()
            .bucket(bucket)
            .expected_bucket_owner(&self.account)
            .policy(policy.to_string())
            .send()
            .await
            .map_err(|e| AwsError::new("s3:PutBucketPolicy", e))?;
        Ok(())
    }

    /// Adds the tags to those that are there: the call replaces them all.
    async fn tag(&self, bucket: &str, tags: &[(String, String)]) -> Result<()> {
        let mut all = self.bucket_tags(bucket).await?;
        all.extend(tags.iter().cloned());
        let all: std::result::Result<Vec<Tag>, _> =
            all.into_iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect();
        let tagging = all
            .and_then(|t| Tagging::builder().set_tag_set(Some(t)).build())
            .map_err(|e| AwsError::local("s3:PutBucketTagging", e.to_string()))?;
        self.s3
            .put_bucket_tagging()
            .bucket(bucket)
            .expected_bucket_owner(&self.account)
            .tagging(tagging)
            .send()
            .await
            .map_err(|e| AwsError::new("s3:PutBucketTagging", e))?;
        Ok(())
    }

    async fn tidy_uploads(&self, bucket: &str) -> Result<()> {
        let call = "s3:PutBucketLifecycleConfiguration";
        let abort =
            AbortIncompleteMultipartUpload::builder().days_after_initiation(UPLOADS_DAYS).build();
        let rule = LifecycleRule::builder()
            .id(UPLOADS_RULE)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix("").build())
            .abort_incomplete_multipart_upload(abort)
            .build()
            .map_err(|e| AwsError::local(call, e.to_string()))?;
        let rules = BucketLifecycleConfiguration::builder()
            .rules(rule)
            .build()
            .map_err(|e| AwsError::local(call, e.to_string()))?;
        self.s3
            .put_bucket_lifecycle_configuration()
            .bucket(bucket)
            .expected_bucket_owner(&self.account)
            .lifecycle_configuration(rules)
            .send()
            .await
            .map_err(|e| AwsError::new(call, e))?;
        Ok(())
    }

    /// Deletes an empty bucket; one that is not there is deleted.
    pub async fn delete_bucket(&self, bucket: &str) -> Result<()> {
        let call = || async {
            let request =
                self.s3.delete_bucket().bucket(bucket).expected_bucket_owner(&self.account);
            request.send().await.map_err(|e| AwsError::new("s3:DeleteBucket", e))
        };
        match settled(call).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// A setting that the endpoint cannot be asked for counts as made: it was, with the bucket.
fn unasked(answer: Result<()>) -> Result<bool> {
    match answer {
        Err(error) if error.kind != Kind::NotImplemented => Err(error),
        _ => Ok(true),
    }
}

fn is_tls_only(policy: &Value) -> bool {
    let denies = |s: &Value| {
        let condition = &s["Condition"]["Bool"]["aws:SecureTransport"];
        s["Effect"] == "Deny" && (condition == "false" || condition == false)
    };
    match &policy["Statement"] {
        Value::Array(statements) => statements.iter().any(denies),
        single => denies(single),
    }
}

/// Repeats a call while S3 says that another operation on the bucket is going on. It says so for
/// a while after a bucket was made or deleted, and the SDK does not repeat it.
async fn settled<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> Result<T> {
    for pause in PAUSES {
        match call().await {
            Err(error) if error.code == "OperationAborted" => {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            other => return other,
        }
    }
    call().await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_tls_only;

    #[test]
    fn a_policy_is_known_by_what_it_denies() {
        let deny = json!({ "Effect": "Deny",
            "Condition": { "Bool": { "aws:SecureTransport": "false" } } });
        assert!(is_tls_only(&json!({ "Statement": [{ "Effect": "Allow" }, deny] })));
        assert!(is_tls_only(&json!({ "Statement": deny })));
        assert!(!is_tls_only(&json!({ "Statement": [{ "Effect": "Allow" }] })));
    }
}
