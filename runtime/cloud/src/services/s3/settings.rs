//! Settings of buckets that are kept: tags, policy, block of public access, encryption. They have
//! the form in which CloudFormation writes them.

use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use serde_json::{Value, json};

use super::Api;
use super::errors::{access_denied, custom, malformed_xml, not_implemented};
use super::options::take;

const BLOCK: &str = "PublicAccessBlockConfiguration";
const ENCRYPTION: &str = "BucketEncryption";

impl Api {
    /// A setting of a bucket; `None` when nobody set it.
    pub fn setting(&self, bucket: &str, name: &str) -> S3Result<Option<Value>> {
        Ok(self.buckets().get(bucket)?.settings.get(name).filter(|v| !v.is_null()).cloned())
    }

    /// Keeps a setting; `null` when nobody has set it.
    pub async fn set(&self, bucket: String, name: &'static str, value: Value) -> S3Result<()> {
        self.blocking(move |cloud| {
            let keep = |b: &mut super::Bucket| drop(b.settings.insert(name.to_owned(), value));
            cloud.services.s3.configure(&bucket, keep)
        })
        .await
    }

    async fn configure(
        &self,
        bucket: String,
        change: impl FnOnce(&mut super::Bucket) + Send + 'static,
    ) -> S3Result<()> {
        self.blocking(move |cloud| cloud.services.s3.configure(&bucket, change)).await
    }
}

/// An answer that says nothing.
pub fn done<T: Default>() -> S3Result<S3Response<T>> {
    Ok(S3Response::new(T::default()))
}

pub async fn get_bucket_tagging(
    api: &Api,
    req: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    take!(req.input => GetBucketTaggingInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    let bucket = api.buckets().get(&bucket)?;
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let tag = |t: &Value| Tag { key: text(&t["Key"]), value: text(&t["Value"]) };
    let tag_set: Vec<Tag> = bucket.tags.as_array().into_iter().flatten().map(tag).collect();
    if tag_set.is_empty() {
        return Err(s3_error!(NoSuchTagSet, "The TagSet does not exist"));
    }
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set }))
}

pub async fn put_bucket_tagging(
    api: &Api,
    req: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    take!(req.input => PutBucketTaggingInput { bucket, tagging }
        elsewhere { checksum_algorithm, content_md5, expected_bucket_owner } refuse {});
    let pair = |t: Tag| (t.key.unwrap_or_default(), t.value.unwrap_or_default());
    let tags = super::tagging::of_bucket(tagging.tag_set.into_iter().map(pair).collect())?;
    let tag = |(key, value): (String, String)| json!({ "Key": key, "Value": value });
    let tags: Vec<Value> = tags.into_iter().map(tag).collect();
    api.configure(bucket, |b| b.tags = Value::from(tags)).await?;
    done()
}

pub async fn delete_bucket_tagging(
    api: &Api,
    req: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    take!(req.input => DeleteBucketTaggingInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    api.configure(bucket, |b| b.tags = json!([])).await?;
    done()
}

fn no_policy() -> S3Error {
    s3_error!(NoSuchBucketPolicy, "The bucket policy does not exist")
}

pub async fn get_bucket_policy(
    api: &Api,
    req: S3Request<GetBucketPolicyInput>,
) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    take!(req.input => GetBucketPolicyInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    api.buckets().get(&bucket)?;
    let policy = api.buckets().policy(&bucket).ok_or_else(no_policy)?;
    Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(policy.to_string()) }))
}

pub async fn put_bucket_policy(
    api: &Api,
    req: S3Request<PutBucketPolicyInput>,
) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    // Whether a policy locks out the caller is not looked at, so it need not be confirmed.
    take!(req.input => PutBucketPolicyInput { bucket, policy }
        elsewhere {
            checksum_algorithm, confirm_remove_self_bucket_access, content_md5,
            expected_bucket_owner,
        }
        refuse {});
    let malformed = |message: String| S3Error::with_message(S3ErrorCode::MalformedPolicy, message);
    let policy: Value = serde_json::from_str(&policy).map_err(|e| malformed(e.to_string()))?;
    crate::kernel::iam::check_bucket_policy(&api.cloud, &bucket, &policy).map_err(malformed)?;
    if is_public(&policy) && blocks(&block(api, &bucket)?, "BlockPublicPolicy") {
        return Err(access_denied());
    }
    api.configure(bucket, |b| b.policy = Some(policy)).await?;
    done()
}

pub async fn delete_bucket_policy(
    api: &Api,
    req: S3Request<DeleteBucketPolicyInput>,
) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
    take!(req.input => DeleteBucketPolicyInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    api.configure(bucket, |b| b.policy = None).await?;
    done()
}

pub async fn get_bucket_policy_status(
    api: &Api,
    req: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    take!(req.input => GetBucketPolicyStatusInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    api.buckets().get(&bucket)?;
    let policy = api.buckets().policy(&bucket).ok_or_else(no_policy)?;
    let policy_status = Some(PolicyStatus { is_public: Some(is_public(&policy)) });
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
}

/// Whether a statement allows something to everybody without a condition.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>
pub fn is_public(policy: &Value) -> bool {
    let everybody = |p: &Value| match p {
        Value::String(name) => name == "*",
        Value::Object(kinds) => kinds.values().any(|v| match v {
            Value::Array(names) => names.iter().any(|n| n == "*"),
            name => name == "*",
        }),
        _ => false,
    };
    let statements = match &policy["Statement"] {
        Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    };
    let open = |s: &Value| {
        s["Effect"] == "Allow" && everybody(&s["Principal"]) && s["Condition"].is_null()
    };
    statements.iter().any(open)
}

/// The block of public access; nobody has to set it, as in AWS since April 2023.
fn block(api: &Api, bucket: &str) -> S3Result<Option<Value>> {
    let found = api.buckets().get(bucket)?;
    Ok(match found.settings.get(BLOCK) {
        None => Some(json!({
            "BlockPublicAcls": true, "IgnorePublicAcls": true,
            "BlockPublicPolicy": true, "RestrictPublicBuckets": true,
        })),
        // Deleted.
        Some(Value::Null) => None,
        Some(set) => Some(set.clone()),
    })
}

fn blocks(block: &Option<Value>, name: &str) -> bool {
    // CloudFormation's templates may have booleans as texts.
    block.as_ref().is_some_and(|b| b[name] == true || b[name] == "true")
}

pub async fn get_public_access_block(
    api: &Api,
    req: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
    take!(req.input => GetPublicAccessBlockInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    let block = block(api, &bucket)?;
    if block.is_none() {
        return Err(custom(
            "NoSuchPublicAccessBlockConfiguration",
            404,
            "The public access block configuration was not found",
        ));
    }
    let public_access_block_configuration = Some(PublicAccessBlockConfiguration {
        block_public_acls: Some(blocks(&block, "BlockPublicAcls")),
        block_public_policy: Some(blocks(&block, "BlockPublicPolicy")),
        ignore_public_acls: Some(blocks(&block, "IgnorePublicAcls")),
        restrict_public_buckets: Some(blocks(&block, "RestrictPublicBuckets")),
    });
    Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration }))
}

pub async fn put_public_access_block(
    api: &Api,
    req: S3Request<PutPublicAccessBlockInput>,
) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
    take!(req.input => PutPublicAccessBlockInput { bucket, public_access_block_configuration }
        elsewhere { checksum_algorithm, content_md5, expected_bucket_owner } refuse {});
    let c = public_access_block_configuration;
    let setting = json!({
        "BlockPublicAcls": c.block_public_acls.unwrap_or(false),
        "IgnorePublicAcls": c.ignore_public_acls.unwrap_or(false),
        "BlockPublicPolicy": c.block_public_policy.unwrap_or(false),
        "RestrictPublicBuckets": c.restrict_public_buckets.unwrap_or(false),
    });
    api.set(bucket, BLOCK, setting).await?;
    done()
}

pub async fn delete_public_access_block(
    api: &Api,
    req: S3Request<DeletePublicAccessBlockInput>,
) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
    take!(req.input => DeletePublicAccessBlockInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    api.set(bucket, BLOCK, Value::Null).await?;
    done()
}

/// Whatever was set, it is S3's own keys: nothing else can be set here.
pub async fn get_bucket_encryption(
    api: &Api,
    req: S3Request<GetBucketEncryptionInput>,
) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
    take!(req.input => GetBucketEncryptionInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    let set = api.setting(&bucket, ENCRYPTION)?.unwrap_or_default();
    let rule = &set["ServerSideEncryptionConfiguration"][0];
    let algorithm = rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"].as_str();
    let rule = ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
            sse_algorithm: ServerSideEncryption::from(algorithm.unwrap_or("AES256").to_owned()),
            kms_master_key_id: None,
        }),
        bucket_key_enabled: Some(false),
    };
    let configuration = ServerSideEncryptionConfiguration { rules: vec![rule] };
    Ok(S3Response::new(GetBucketEncryptionOutput {
        server_side_encryption_configuration: Some(configuration),
    }))
}

pub async fn put_bucket_encryption(
    api: &Api,
    req: S3Request<PutBucketEncryptionInput>,
) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
    take!(req.input => PutBucketEncryptionInput { bucket, server_side_encryption_configuration }
        elsewhere { checksum_algorithm, content_md5, expected_bucket_owner } refuse {});
    api.buckets().get(&bucket)?;
    let [rule] = server_side_encryption_configuration.rules.as_slice() else {
        return Err(malformed_xml());
    };
    if rule.bucket_key_enabled == Some(true) {
        return Err(not_implemented("BucketKeyEnabled of PutBucketEncryption"));
    }
    let Some(default) = &rule.apply_server_side_encryption_by_default else {
        return Err(malformed_xml());
    };
    if default.kms_master_key_id.is_some() {
        return Err(not_implemented("KMSMasterKeyID of PutBucketEncryption"));
    }
    super::options::check_encryption(Some(&default.sse_algorithm))?;
    let by_default = json!({ "SSEAlgorithm": default.sse_algorithm.as_str() });
    let setting = json!({
        "ServerSideEncryptionConfiguration": [{ "ServerSideEncryptionByDefault": by_default }],
    });
    api.set(bucket, ENCRYPTION, setting).await?;
    done()
}

pub async fn delete_bucket_encryption(
    api: &Api,
    req: S3Request<DeleteBucketEncryptionInput>,
) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
    take!(req.input => DeleteBucketEncryptionInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    api.set(bucket, ENCRYPTION, Value::Null).await?;
    done()
}
