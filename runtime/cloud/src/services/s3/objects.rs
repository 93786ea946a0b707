//! Objects are written in one piece, and deleted.

use axum::http::{Extensions, HeaderMap};
use futures::StreamExt;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, TrailingHeaders, s3_error};

use super::Api;
use super::access::{caller, of_a_version};
use super::checksums::{Claim, answer_checksum_and_type, claimed_checksums};
use super::conditions::{DeleteCondition, WriteConditions, which};
use super::errors::{custom, denied, internal, malformed_xml, not_implemented};
use super::options::{self, take};
use super::store::{Deleted, NewObject, Received, Which};

/// Bytes of an object that comes in one piece.
pub const OBJECT_BYTES_MAX: i64 = 5 * 1024 * 1024 * 1024;
/// Keys that one request deletes.
const KEYS_MAX: usize = 1_000;
/// Of them those that are deleted at the same time.
const DELETIONS: usize = 64;

/// What arrives with an object or a part.
pub struct Upload<'a> {
    /// Its bytes.
    pub body: Option<StreamingBlob>,
    /// How many they are said to be.
    pub length: Option<i64>,
    /// What they are said to have.
    pub claim: &'a Claim,
    /// Where the rest of the claim comes when they have arrived.
    pub trailers: Option<&'a TrailingHeaders>,
}

impl Api {
    /// Receives bytes into a file of their own and compares them with what was claimed.
    pub async fn receive(&self, upload: Upload<'_>) -> S3Result<Received> {
        let Upload { body, length, claim, trailers } = upload;
        if length.is_some_and(|l| l > OBJECT_BYTES_MAX) {
            return Err(s3_error!(
                EntityTooLarge,
                "Your proposed upload exceeds the maximum allowed size"
            ));
        }
        let mut incoming = self.buckets().incoming(claim.algorithm())?;
        if let Some(mut body) = body {
            while let Some(chunk) = body.next().await {
                incoming.write(&chunk.map_err(|e| broken(&e.to_string()))?).map_err(internal)?;
            }
        }
        let received = incoming.finish();
        claim.verify(&received.md5, &received.checksum, trailers)?;
        Ok(received)
    }
}

/// Why a body ended early, or is not what its signature says.
fn broken(error: &str) -> S3Error {
    if error.contains("Sha256Mismatch") {
        return custom(
            "XAmzContentSHA256Mismatch",
            400,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
    }
    if error.contains("SignatureMismatch") {
        return s3_error!(SignatureDoesNotMatch);
    }
    s3_error!(
        IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header \
         ({error})"
    )
}

/// Whether a request says how long its body is.
pub fn has_length(headers: &HeaderMap) -> bool {
    headers.contains_key(axum::http::header::CONTENT_LENGTH)
        || headers.contains_key("x-amz-decoded-content-length")
}

pub async fn put_object(
    api: &Api,
    req: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let S3Request { input, headers, trailing_headers, extensions, .. } = req;
    take!(input => PutObjectInput {
        bucket, key, body, content_length, content_md5, metadata, if_match, if_none_match,
        checksum_crc32, checksum_crc32c, checksum_crc64nvme, checksum_sha1, checksum_sha256,
        acl, grant_full_control, grant_read, grant_read_acp, grant_write_acp, storage_class,
        server_side_encryption,
    }
    elsewhere {
        expected_bucket_owner, request_payer, checksum_algorithm, cache_control,
        content_disposition, content_encoding, content_language, content_type, expires, tagging,
    }
    refuse {
        bucket_key_enabled, object_lock_legal_hold_status, object_lock_mode,
        object_lock_retain_until_date, sse_customer_algorithm, sse_customer_key,
        sse_customer_key_md5, ssekms_encryption_context, ssekms_key_id,
        website_redirect_location, write_offset_bytes,
    });
    let grants = [&grant_full_control, &grant_read, &grant_read_acp, &grant_write_acp];
    options::check_acl(acl.as_ref().map(ObjectCannedACL::as_str), &grants)?;
    options::check_encryption(server_side_encryption.as_ref())?;
    let condition = WriteConditions::new(if_match, if_none_match)?;
    let claimed = claimed_checksums!(
        checksum_crc32,
        checksum_crc32c,
        checksum_crc64nvme,
        checksum_sha1,
        checksum_sha256
    );
    let claim = Claim::read(&headers, claimed, content_md5.as_deref())?;
    let meta = options::meta(&headers, metadata, storage_class.as_ref())?;
    api.buckets().get(&bucket)?;
    if !has_length(&headers) {
        return Err(s3_error!(
            MissingContentLength,
            "You must provide the Content-Length HTTP header."
        ));
    }
    let trailers = trailing_headers.as_ref();
    let upload = Upload { body, length: content_length, claim: &claim, trailers };
    let received = api.receive(upload).await?;
    let new = NewObject::whole(received, meta);
    let cause = api.cause(&extensions, "PutObject");
    let object = api
        .blocking({
            let (bucket, key) = (bucket.clone(), key.clone());
            move |cloud| cloud.services.s3.put(&bucket, &key, new, &condition, &cause)
        })
        .await?;
    let mut output = PutObjectOutput {
        e_tag: Some(ETag::Strong(object.etag.clone())),
        version_id: api.new_version_id(&bucket, &object),
        expiration: api.expiration(&bucket, &key, &object),
        server_side_encryption: options::encryption(),
        ..Default::default()
    };
    answer_checksum_and_type!(output, object.checksum.as_ref());
    Ok(S3Response::new(output))
}

/// S3 compares ETags with the current version only: beside a version that is named, a condition is
/// refused (<https://github.com/localstack/localstack/issues/13894> asked it).
fn check_unnamed(which: &Which, condition: Option<&ETagCondition>) -> S3Result<()> {
    if *which != Which::Current && condition.is_some() {
        return Err(not_implemented("If-Match beside a version"));
    }
    Ok(())
}

pub async fn delete_object(
    api: &Api,
    req: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let S3Request { input, extensions, .. } = req;
    take!(input => DeleteObjectInput { bucket, key, if_match, version_id }
        elsewhere { bypass_governance_retention, expected_bucket_owner, request_payer }
        refuse { if_match_last_modified_time, if_match_size, mfa });
    let which = which(version_id.as_deref())?;
    check_unnamed(&which, if_match.as_ref())?;
    let (condition, cause) = (DeleteCondition(if_match), api.cause(&extensions, "DeleteObject"));
    let removed = api
        .blocking(move |cloud| cloud.services.s3.remove(&bucket, &key, &which, &condition, &cause));
    let deleted = removed.await?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: deleted.marker.then_some(true),
        version_id: deleted.version.or(version_id),
        ..Default::default()
    }))
}

pub async fn delete_objects(
    api: &Api,
    req: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let S3Request { input, extensions, headers, .. } = req;
    take!(input => DeleteObjectsInput { bucket, delete }
        elsewhere {
            bypass_governance_retention, checksum_algorithm, expected_bucket_owner, request_payer,
        }
        refuse { mfa });
    let digest = |name: &str| name == "content-md5" || name.starts_with("x-amz-checksum-");
    if !headers.keys().any(|name| digest(name.as_str())) {
        return Err(super::errors::invalid_request(
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        ));
    }
    if delete.objects.is_empty() || delete.objects.len() > KEYS_MAX {
        return Err(malformed_xml());
    }
    api.buckets().get(&bucket)?;
    let quiet = delete.quiet.unwrap_or(false);
    // Those that are under way at the same time share a commit.
    let ended: Vec<_> = futures::stream::iter(delete.objects)
        .map(|object| delete_one(api, &extensions, &bucket, object))
        .buffered(DELETIONS)
        .collect()
        .await;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for one in ended {
        match one {
            Ok(done) => deleted.push(done),
            Err(error) => errors.push(error),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: (!quiet).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        ..Default::default()
    }))
}

/// Deletes what one entry names, when the caller may; what the answer tells of it.
async fn delete_one(
    api: &Api,
    extensions: &Extensions,
    bucket: &str,
    object: ObjectIdentifier,
) -> Result<DeletedObject, Error> {
    let (key, version_id) = (object.key.clone(), object.version_id.clone());
    let done = delete_named(api, extensions, bucket, object).await.map_err(|error| Error {
        code: Some(error.code().as_str().to_owned()),
        message: error.message().map(str::to_owned),
        key: Some(key.clone()),
        version_id: version_id.clone(),
    })?;
    Ok(DeletedObject {
        key: Some(key),
        delete_marker: done.marker.then_some(true),
        delete_marker_version_id: done.version.filter(|_| done.marker),
        version_id,
    })
}

async fn delete_named(
    api: &Api,
    extensions: &Extensions,
    bucket: &str,
    object: ObjectIdentifier,
) -> S3Result<Deleted> {
    let resource = format!("arn:aws:s3:::{bucket}/{}", object.key);
    let action = "s3:DeleteObject";
    let action = if object.version_id.is_some() { of_a_version(action) } else { action };
    api.cloud.authorize(caller(extensions)?, action, &resource, &[]).map_err(denied)?;
    take!(object => ObjectIdentifier { key, e_tag, version_id }
        elsewhere {} refuse { last_modified_time, size });
    let which = which(version_id.as_deref())?;
    let condition = e_tag.map(ETagCondition::ETag);
    check_unnamed(&which, condition.as_ref())?;
    let condition = DeleteCondition(condition);
    let (bucket, cause) = (bucket.to_owned(), api.cause(extensions, "DeleteObjects"));
    let removed = api
        .blocking(move |cloud| cloud.services.s3.remove(&bucket, &key, &which, &condition, &cause));
    removed.await
}
