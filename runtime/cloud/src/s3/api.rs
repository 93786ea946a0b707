//! S3's operations on the store, behind signatures and policies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::http::HeaderMap;
use base64::Engine;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use md5::{Digest, Md5};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::*;
use s3s::path::S3Path;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::store::{Incoming, Meta, Object as StoredObject, StoreError};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::identity::{Caller, Origin};
use crate::services::events;

/// Keys in one page of a listing.
const PAGE: usize = 1_000;

/// S3's protocol over `cloud`.
pub fn service(cloud: &Arc<Cloud>) -> S3Service {
    let mut builder =
        S3ServiceBuilder::new(Api { cloud: cloud.clone(), uploads: Mutex::default() });
    builder.set_auth(Auth(cloud.clone()));
    builder.set_access(Access(cloud.clone()));
    builder.build()
}

struct Auth(Arc<Cloud>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.0
            .identities
            .secret(access_key)
            .map(SecretKey::from)
            .ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

struct Access(Arc<Cloud>);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let credentials =
            cx.credentials().ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        let query: HashMap<String, String> =
            url::form_urlencoded::parse(cx.uri().query().unwrap_or("").as_bytes())
                .into_owned()
                .collect();
        let token = header(cx.headers(), "x-amz-security-token")
            .or_else(|| query.get("X-Amz-Security-Token").cloned());
        let (_, caller) =
            self.0.identities.lookup(&credentials.access_key, token.as_deref()).map_err(denied)?;
        let origin = cx.extensions_mut().get::<Origin>().cloned().unwrap_or_default();
        let caller = caller.from(origin);
        let operation = cx.s3_op().name();
        let prefix = query.get("prefix").cloned().unwrap_or_default();
        for (action, resource) in permissions(operation, cx.s3_path(), cx.headers())? {
            let conditions = if action == "s3:ListBucket" {
                vec![("s3:prefix", prefix.clone())]
            } else {
                vec![]
            };
            self.0.authorize(&caller, action, &resource, &conditions).map_err(denied)?;
        }
        cx.extensions_mut().insert(caller);
        Ok(())
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn denied(error: ApiError) -> S3Error {
    let code = if error.code == "AccessDeniedException" {
        S3ErrorCode::AccessDenied
    } else {
        S3ErrorCode::Custom(error.code.into())
    };
    let mut s3 = S3Error::with_message(code, error.message);
    s3.set_status_code(axum::http::StatusCode::FORBIDDEN);
    s3
}

/// The permissions that an operation needs.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
fn permissions(
    operation: &str,
    path: &S3Path,
    headers: &HeaderMap,
) -> S3Result<Vec<(&'static str, String)>> {
    let bucket = path.get_bucket_name().or(path.as_object().map(|(b, _)| b)).unwrap_or("*");
    let on_bucket = format!("arn:aws:s3:::{bucket}");
    let on_object = path
        .as_object()
        .map_or_else(|| format!("{on_bucket}/*"), |(_, key)| format!("{on_bucket}/{key}"));
    let (action, resource) = match operation {
        "ListBuckets" => ("s3:ListAllMyBuckets", "arn:aws:s3:::*".to_owned()),
        "CreateBucket" => ("s3:CreateBucket", on_bucket),
        "DeleteBucket" => ("s3:DeleteBucket", on_bucket),
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => ("s3:ListBucket", on_bucket),
        "GetBucketLocation" => ("s3:GetBucketLocation", on_bucket),
        "GetBucketTagging" => ("s3:GetBucketTagging", on_bucket),
        "PutBucketTagging" => ("s3:PutBucketTagging", on_bucket),
        "GetBucketPolicy" => ("s3:GetBucketPolicy", on_bucket),
        "PutBucketPolicy" => ("s3:PutBucketPolicy", on_bucket),
        "PutPublicAccessBlock" => ("s3:PutBucketPublicAccessBlock", on_bucket),
        "GetObject" | "HeadObject" => ("s3:GetObject", on_object),
        "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => {
            ("s3:PutObject", on_object)
        }
        "AbortMultipartUpload" => ("s3:AbortMultipartUpload", on_object),
        "DeleteObject" => ("s3:DeleteObject", on_object),
        // The keys are in the body; `delete_objects` asks for each.
        "DeleteObjects" => return Ok(vec![]),
        "CopyObject" => {
            let source = header(headers, "x-amz-copy-source").unwrap_or_default();
            let source = format!("arn:aws:s3:::{}", source.trim_start_matches('/'));
            return Ok(vec![("s3:GetObject", source), ("s3:PutObject", on_object)]);
        }
        other => {
            return Err(S3Error::with_message(
                S3ErrorCode::NotImplemented,
                format!("The embedded cloud does not implement s3:{other}."),
            ));
        }
    };
    Ok(vec![(action, resource)])
}

struct Api {
    cloud: Arc<Cloud>,
    uploads: Mutex<HashMap<String, Upload>>,
}

/// A multipart upload; it does not survive the process, and clients start such uploads again.
struct Upload {
    meta: Meta,
    parts: HashMap<i32, Vec<u8>>,
}

fn store(error: StoreError) -> S3Error {
    let code = match &error {
        StoreError::NoSuchBucket => S3ErrorCode::NoSuchBucket,
        StoreError::NoSuchKey => S3ErrorCode::NoSuchKey,
        StoreError::InvalidName => S3ErrorCode::InvalidBucketName,
        StoreError::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
        StoreError::NotEmpty => S3ErrorCode::BucketNotEmpty,
        StoreError::Io(_) | StoreError::NotStored(_) => S3ErrorCode::InternalError,
    };
    S3Error::with_message(code, error.to_string())
}

fn io(error: impl std::fmt::Display) -> S3Error {
    S3Error::with_message(S3ErrorCode::InternalError, error.to_string())
}

fn timestamp(time: jiff::Timestamp) -> Timestamp {
    std::time::SystemTime::from(time).into()
}

fn ok<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

async fn receive(
    body: Option<StreamingBlob>,
    mut incoming: Incoming,
    content_md5: Option<&str>,
) -> S3Result<Incoming> {
    if let Some(mut body) = body {
        while let Some(chunk) = body.next().await {
            incoming.write(&chunk.map_err(io)?).map_err(io)?;
        }
    }
    let actual = base64::engine::general_purpose::STANDARD.encode(incoming.md5());
    match content_md5 {
        Some(expected) if expected != actual => Err(s3_error!(
            BadDigest,
            "The Content-MD5 you specified did not match what we received."
        )),
        _ => Ok(incoming),
    }
}

fn meta(content_type: Option<String>, metadata: Option<Metadata>) -> Meta {
    Meta { content_type, metadata: metadata.unwrap_or_default().into_iter().collect() }
}

fn metadata(object: &StoredObject) -> Option<Metadata> {
    (!object.metadata.is_empty()).then(|| object.metadata.clone().into_iter().collect())
}

fn listed(key: &str, object: &StoredObject) -> Object {
    Object {
        key: Some(key.to_owned()),
        size: Some(object.size as i64),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Default::default()
    }
}

/// One page of a listing.
struct Page {
    contents: Vec<Object>,
    prefixes: Vec<CommonPrefix>,
    next: Option<String>,
}

impl Api {
    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<&str>,
        max: usize,
    ) -> S3Result<Page> {
        let objects = self.cloud.buckets.objects(bucket).map_err(store)?;
        let mut page = Page { contents: vec![], prefixes: vec![], next: None };
        let mut last = String::new();
        if max == 0 {
            return Ok(page);
        }
        for (key, object) in objects.range(prefix, after) {
            let group = delimiter.and_then(|d| {
                key[prefix.len()..].find(d).map(|at| &key[..prefix.len() + at + d.len()])
            });
            if group
                .is_some_and(|g| page.prefixes.last().and_then(|p| p.prefix.as_deref()) == Some(g))
            {
                last = key;
                continue;
            }
            if page.contents.len() + page.prefixes.len() >= max {
                page.next = Some(last);
                break;
            }
            match group {
                Some(group) => page.prefixes.push(CommonPrefix { prefix: Some(group.to_owned()) }),
                None => page.contents.push(listed(&key, &object)),
            }
            last = key;
        }
        Ok(page)
    }

    fn uploads(&self) -> std::sync::MutexGuard<'_, HashMap<String, Upload>> {
        self.uploads.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn matches(condition: Option<&ETagCondition>, object: Option<&StoredObject>) -> Option<bool> {
    Some(match (condition?, object) {
        (ETagCondition::Any, object) => object.is_some(),
        (ETagCondition::ETag(tag), object) => object.is_some_and(|o| o.etag == tag.value()),
    })
}

#[async_trait::async_trait]
impl S3 for Api {
    async fn list_buckets(
        &self,
        _req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let buckets = self.cloud.buckets.all();
        let buckets = buckets.iter().map(|(name, b)| Bucket {
            name: Some(name.clone()),
            creation_date: Some(timestamp(b.created)),
            bucket_region: Some(self.cloud.config.region.clone()),
        });
        ok(ListBucketsOutput { buckets: Some(buckets.collect()), ..Default::default() })
    }

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let name = req.input.bucket;
        self.cloud.buckets.create(&name, json!([])).map_err(store)?;
        ok(CreateBucketOutput { location: Some(format!("/{name}")) })
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.cloud.buckets.delete(&req.input.bucket).map_err(store)?;
        ok(DeleteBucketOutput::default())
    }

    async fn head_bucket(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.cloud.buckets.get(&req.input.bucket).map_err(store)?;
        ok(HeadBucketOutput {
            bucket_region: Some(self.cloud.config.region.clone()),
            ..Default::default()
        })
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.cloud.buckets.get(&req.input.bucket).map_err(store)?;
        // AWS answers nothing for its first region.
        ok(GetBucketLocationOutput::default())
    }

    async fn put_bucket_tagging(
        &self,
        req: S3Request<PutBucketTaggingInput>,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let tags: Vec<Value> = req
            .input
            .tagging
            .tag_set
            .iter()
            .map(|t| json!({ "Key": t.key, "Value": t.value }))
            .collect();
        self.cloud
            .buckets
            .configure(&req.input.bucket, |b| b.tags = Value::from(tags))
            .map_err(store)?;
        ok(PutBucketTaggingOutput::default())
    }

    async fn get_bucket_tagging(
        &self,
        req: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let bucket = self.cloud.buckets.get(&req.input.bucket).map_err(store)?;
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let tags: Vec<Tag> = bucket
            .tags
            .as_array()
            .into_iter()
            .flatten()
            .map(|t| Tag { key: text(&t["Key"]), value: text(&t["Value"]) })
            .collect();
        if tags.is_empty() {
            return Err(S3Error::with_message(
                S3ErrorCode::NoSuchTagSet,
                "The TagSet does not exist",
            ));
        }
        ok(GetBucketTaggingOutput { tag_set: tags })
    }

    async fn put_public_access_block(
        &self,
        req: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        let c = req.input.public_access_block_configuration;
        let setting = json!({
            "BlockPublicAcls": c.block_public_acls, "IgnorePublicAcls": c.ignore_public_acls,
            "BlockPublicPolicy": c.block_public_policy, "RestrictPublicBuckets": c.restrict_public_buckets,
        });
        let keep = |b: &mut super::Bucket| {
            drop(b.settings.insert("PublicAccessBlockConfiguration".to_owned(), setting))
        };
        self.cloud.buckets.configure(&req.input.bucket, keep).map_err(store)?;
        ok(PutPublicAccessBlockOutput::default())
    }

    async fn put_bucket_policy(
        &self,
        req: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let malformed =
            |message: String| S3Error::with_message(S3ErrorCode::MalformedPolicy, message);
        let policy: Value =
            serde_json::from_str(&req.input.policy).map_err(|e| malformed(e.to_string()))?;
        crate::iam::check_bucket_policy(&self.cloud, &req.input.bucket, &policy)
            .map_err(malformed)?;
        self.cloud
            .buckets
            .configure(&req.input.bucket, |b| b.policy = Some(policy))
            .map_err(store)?;
        ok(PutBucketPolicyOutput::default())
    }

    async fn get_bucket_policy(
        &self,
        req: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        let bucket = self.cloud.buckets.get(&req.input.bucket).map_err(store)?;
        let policy = bucket.policy.as_ref().ok_or_else(|| {
            S3Error::with_message(
                S3ErrorCode::NoSuchBucketPolicy,
                "The bucket policy does not exist",
            )
        })?;
        ok(GetBucketPolicyOutput { policy: Some(policy.to_string()) })
    }

    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        let objects = self.cloud.buckets.objects(&input.bucket).map_err(store)?;
        let existing = objects.get(&input.key);
        let met = matches(input.if_match.as_ref(), existing.as_deref()).unwrap_or(true);
        if !met || matches(input.if_none_match.as_ref(), existing.as_deref()) == Some(true) {
            return Err(s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            ));
        }
        let incoming = receive(
            input.body,
            self.cloud.buckets.incoming().map_err(store)?,
            input.content_md5.as_deref(),
        )
        .await?;
        let object = self
            .cloud
            .buckets
            .put(
                &input.bucket,
                &input.key,
                incoming,
                meta(input.content_type, input.metadata),
                None,
            )
            .map_err(store)?;
        events::object_created(&self.cloud, &input.bucket, &input.key, &object, "PutObject");
        ok(PutObjectOutput { e_tag: Some(ETag::Strong(object.etag)), ..Default::default() })
    }

    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let (object, file) =
            self.cloud.buckets.open_object(&input.bucket, &input.key).map_err(store)?;
        if matches(input.if_match.as_ref(), Some(&object)) == Some(false) {
            return Err(s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            ));
        }
        if matches(input.if_none_match.as_ref(), Some(&object)) == Some(true) {
            return Err(s3_error!(NotModified));
        }
        let range = input.range.map(|r| r.check(object.size)).transpose()?;
        let (start, length) =
            range.as_ref().map_or((0, object.size), |r| (r.start, r.end - r.start));
        let mut file = tokio::fs::File::from_std(file);
        file.seek(std::io::SeekFrom::Start(start)).await.map_err(io)?;
        let stream = ReaderStream::with_capacity(file.take(length), 64 * 1024);
        ok(GetObjectOutput {
            body: Some(StreamingBlob::wrap(stream.map_ok(|b: Bytes| b))),
            content_length: Some(length as i64),
            content_range: range
                .map(|r| format!("bytes {}-{}/{}", r.start, r.end.saturating_sub(1), object.size)),
            accept_ranges: Some("bytes".to_owned()),
            content_type: object.content_type.clone(),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(timestamp(object.modified)),
            metadata: metadata(&object),
            ..Default::default()
        })
    }

    async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.cloud.buckets.head(&req.input.bucket, &req.input.key).map_err(store)?;
        ok(HeadObjectOutput {
            content_length: Some(object.size as i64),
            accept_ranges: Some("bytes".to_owned()),
            content_type: object.content_type.clone(),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(timestamp(object.modified)),
            metadata: metadata(&object),
            ..Default::default()
        })
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.cloud.buckets.remove(&req.input.bucket, &req.input.key).map_err(store)?;
        ok(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let caller = req
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        let bucket = req.input.bucket;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in req.input.delete.objects {
            match self.cloud.authorize(
                &caller,
                "s3:DeleteObject",
                &format!("arn:aws:s3:::{bucket}/{}", object.key),
                &[],
            ) {
                Ok(()) => {
                    self.cloud.buckets.remove(&bucket, &object.key).map_err(store)?;
                    deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
                }
                Err(error) => errors.push(Error {
                    code: Some("AccessDenied".to_owned()),
                    key: Some(object.key),
                    message: Some(error.message),
                    ..Default::default()
                }),
            }
        }
        let quiet = req.input.delete.quiet.unwrap_or(false);
        ok(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..Default::default()
        })
    }

    async fn copy_object(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let CopySource::Bucket { bucket, key, .. } = &req.input.copy_source else {
            return Err(s3_error!(NotImplemented, "The embedded cloud copies only from buckets."));
        };
        let source = self.cloud.buckets.head(bucket, key).map_err(store)?;
        let bytes = self.cloud.buckets.read(bucket, key).map_err(store)?;
        let mut incoming = self.cloud.buckets.incoming().map_err(store)?;
        incoming.write(&bytes).map_err(io)?;
        let meta =
            Meta { content_type: source.content_type.clone(), metadata: source.metadata.clone() };
        let object = self
            .cloud
            .buckets
            .put(&req.input.bucket, &req.input.key, incoming, meta, None)
            .map_err(store)?;
        events::object_created(
            &self.cloud,
            &req.input.bucket,
            &req.input.key,
            &object,
            "CopyObject",
        );
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(object.etag)),
            last_modified: Some(timestamp(object.modified)),
            ..Default::default()
        };
        ok(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let max = input.max_keys.map_or(PAGE, |m| (m.max(0) as usize).min(PAGE));
        let after = input.continuation_token.as_ref().or(input.start_after.as_ref());
        let page = self.list(
            &input.bucket,
            &prefix,
            input.delimiter.as_deref(),
            after.map(String::as_str),
            max,
        )?;
        ok(ListObjectsV2Output {
            name: Some(input.bucket),
            key_count: Some((page.contents.len() + page.prefixes.len()) as i32),
            max_keys: Some(max as i32),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next,
            continuation_token: input.continuation_token,
            delimiter: input.delimiter,
            prefix: Some(prefix),
            contents: Some(page.contents),
            common_prefixes: Some(page.prefixes),
            ..Default::default()
        })
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = req.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let max = input.max_keys.map_or(PAGE, |m| (m.max(0) as usize).min(PAGE));
        let page = self.list(
            &input.bucket,
            &prefix,
            input.delimiter.as_deref(),
            input.marker.as_deref(),
            max,
        )?;
        ok(ListObjectsOutput {
            name: Some(input.bucket),
            max_keys: Some(max as i32),
            is_truncated: Some(page.next.is_some()),
            next_marker: page.next,
            delimiter: input.delimiter,
            prefix: Some(prefix),
            contents: Some(page.contents),
            common_prefixes: Some(page.prefixes),
            ..Default::default()
        })
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        self.cloud.buckets.get(&input.bucket).map_err(store)?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        self.uploads().insert(
            id.clone(),
            Upload { meta: meta(input.content_type, input.metadata), parts: HashMap::new() },
        );
        ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        })
    }

    async fn upload_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        let mut bytes = Vec::new();
        if let Some(mut body) = input.body {
            while let Some(chunk) = body.next().await {
                bytes.extend_from_slice(&chunk.map_err(io)?);
            }
        }
        let etag = hex::encode(Md5::digest(&bytes));
        let mut uploads = self.uploads();
        let upload = uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, bytes);
        ok(UploadPartOutput { e_tag: Some(ETag::Strong(etag)), ..Default::default() })
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let upload =
            self.uploads().remove(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let parts = input.multipart_upload.and_then(|m| m.parts).unwrap_or_default();
        let mut incoming = self.cloud.buckets.incoming().map_err(store)?;
        let mut hashes = Md5::new();
        for part in &parts {
            let bytes = part
                .part_number
                .and_then(|n| upload.parts.get(&n))
                .ok_or_else(|| s3_error!(InvalidPart))?;
            hashes.update(Md5::digest(bytes));
            incoming.write(bytes).map_err(io)?;
        }
        let etag = format!("{}-{}", hex::encode(hashes.finalize()), parts.len());
        let object = self
            .cloud
            .buckets
            .put(&input.bucket, &input.key, incoming, upload.meta, Some(etag))
            .map_err(store)?;
        events::object_created(
            &self.cloud,
            &input.bucket,
            &input.key,
            &object,
            "CompleteMultipartUpload",
        );
        ok(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(object.etag)),
            ..Default::default()
        })
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.uploads().remove(&req.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        ok(AbortMultipartUploadOutput::default())
    }
}
