//! Objects are copied inside the cloud.

use std::sync::Arc;

use axum::http::Extensions;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::access::{caller, of_a_version};
use super::checksums::{Algorithm, answer_checksum_and_type};
use super::conditions::{ReadConditions, WriteConditions, which};
use super::errors::{denied, invalid_argument, invalid_request, not_implemented};
use super::options::{self, take};
use super::store::{Meta, NewObject, Object as StoredObject, StoreError, Which};
use super::tagging::keeps_tags;

/// Bytes of an object that one request copies.
const COPY_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// The source of a copy, opened, with its place.
pub struct Source {
    /// Its record.
    pub object: Arc<StoredObject>,
    /// Its bytes.
    pub file: std::fs::File,
    /// Its bucket.
    pub bucket: String,
    key: String,
    /// Whether a version was named.
    named: bool,
}

impl Api {
    /// Opens the source of a copy when the conditions on it hold.
    pub fn open_source(
        &self,
        extensions: &Extensions,
        source: CopySource,
        conditions: &ReadConditions,
    ) -> S3Result<Source> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(not_implemented("copies from access points and outposts"));
        };
        let which = which(version_id.as_deref())?;
        let (object, file) = match self.buckets().open_version(&bucket, &key, &which) {
            Err(StoreError::Marker(_)) if which != Which::Current => {
                return Err(invalid_request(
                    "The source of a copy request may not specifically refer to a delete marker by \
                     version id.",
                ));
            }
            other => other.map_err(|e| self.missing(extensions, (&bucket, &key), &which, e))?,
        };
        conditions.check_copy(&object)?;
        if object.size > COPY_BYTES_MAX {
            return Err(invalid_request(
                "The specified copy source is larger than the maximum allowable size for a copy \
                 source: 5368709120",
            ));
        }
        let named = which != Which::Current;
        Ok(Source { object, file, bucket: bucket.into(), key: key.into(), named })
    }
}

/// Whether the copy has metadata of its own.
fn replaces(directive: Option<&MetadataDirective>) -> S3Result<bool> {
    match directive.map(MetadataDirective::as_str) {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(invalid_argument("Unknown metadata directive.")),
    }
}

/// Tags go along only with those who may read and write them.
fn may_copy_tags(
    api: &Api,
    extensions: &Extensions,
    source: &Source,
    (bucket, key): (&str, &str),
) -> S3Result<()> {
    let caller = caller(extensions)?;
    let may = |action: &str, bucket: &str, key: &str| {
        let resource = format!("arn:aws:s3:::{bucket}/{key}");
        api.cloud.authorize(caller, action, &resource, &[]).map_err(denied)
    };
    let read = "s3:GetObjectTagging";
    let read = if source.named { of_a_version(read) } else { read };
    may(read, &source.bucket, &source.key)?;
    may("s3:PutObjectTagging", bucket, key)
}

pub async fn copy_object(
    api: &Api,
    req: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let S3Request { input, headers, extensions, .. } = req;
    take!(input => CopyObjectInput {
        bucket, key, copy_source, copy_source_if_match, copy_source_if_modified_since,
        copy_source_if_none_match, copy_source_if_unmodified_since, checksum_algorithm,
        metadata, metadata_directive, tagging_directive, acl, grant_full_control, grant_read,
        grant_read_acp, grant_write_acp, storage_class, server_side_encryption,
    }
    elsewhere {
        expected_bucket_owner, expected_source_bucket_owner, request_payer, cache_control,
        content_disposition, content_encoding, content_language, content_type, expires, tagging,
    }
    refuse {
        bucket_key_enabled, copy_source_sse_customer_algorithm, copy_source_sse_customer_key,
        copy_source_sse_customer_key_md5, object_lock_legal_hold_status, object_lock_mode,
        object_lock_retain_until_date, sse_customer_algorithm, sse_customer_key,
        sse_customer_key_md5, ssekms_encryption_context, ssekms_key_id,
        website_redirect_location,
    });
    let grants = [&grant_full_control, &grant_read, &grant_read_acp, &grant_write_acp];
    options::check_acl(acl.as_ref().map(ObjectCannedACL::as_str), &grants)?;
    options::check_encryption(server_side_encryption.as_ref())?;
    let condition = WriteConditions::of_headers(&headers)?;
    let conditions = ReadConditions {
        matches: copy_source_if_match,
        matches_not: copy_source_if_none_match,
        modified_since: copy_source_if_modified_since,
        unmodified_since: copy_source_if_unmodified_since,
    };
    let replaced = replaces(metadata_directive.as_ref())?;
    let keeps_tags = keeps_tags(tagging_directive.as_ref())?;
    let own = options::meta(&headers, metadata, storage_class.as_ref())?;
    let source = api.open_source(&extensions, copy_source, &conditions)?;
    let itself = (source.bucket.as_str(), source.key.as_str()) == (bucket.as_str(), key.as_str());
    if itself
        && !source.named
        && !replaced
        && storage_class.is_none()
        && server_side_encryption.is_none()
    {
        return Err(invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without \
             changing the object's metadata, storage class, website redirect location or \
             encryption attributes.",
        ));
    }
    let old = &source.object.meta;
    let tags = if keeps_tags { old.tags.clone() } else { own.tags.clone() };
    let storage_class = own.storage_class.clone();
    let meta = Meta { tags, storage_class, ..if replaced { own } else { old.clone() } };
    if keeps_tags && !meta.tags.is_empty() {
        may_copy_tags(api, &extensions, &source, (&bucket, &key))?;
    }
    let copy_source_version_id = api.version_id(&source.bucket, &source.object);
    let cause = api.cause(&extensions, "CopyObject");
    let algorithm = match checksum_algorithm {
        Some(name) => Algorithm::named(name.as_str())?,
        None => source.object.checksum.as_ref().map_or(Algorithm::Crc64Nvme, |c| c.algorithm),
    };
    api.buckets().get(&bucket)?;
    let object = api
        .blocking({
            let (bucket, key) = (bucket.clone(), key.clone());
            move |cloud| {
                let mut incoming = cloud.services.s3.incoming(algorithm)?;
                let whole = 0..source.object.size;
                incoming.copy(cloud.services.s3.reader(&source.object, source.file, whole)?)?;
                let new = NewObject::whole(incoming.finish(), meta);
                cloud.services.s3.put(&bucket, &key, new, &condition, &cause)
            }
        })
        .await?;
    let mut result = CopyObjectResult {
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(super::timestamp(object.modified)),
        ..Default::default()
    };
    answer_checksum_and_type!(result, object.checksum.as_ref());
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id,
        version_id: api.new_version_id(&bucket, &object),
        expiration: api.expiration(&bucket, &key, &object),
        server_side_encryption: options::encryption(),
        ..Default::default()
    }))
}
