//! Multipart uploads until they are put together: begun, filled, looked at, given up.

use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::Api;
use super::checksums::{Algorithm, Claim, answer_checksum, claimed_checksums};
use super::conditions::ReadConditions;
use super::errors::{invalid_argument, invalid_request};
use super::lifecycle;
use super::objects;
use super::options::{self, take};
use super::store::{Part as StoredPart, Upload};

/// Parts of an upload, and of one page of them.
pub const PARTS_MAX: i32 = 10_000;
const PAGE: i32 = 1_000;

fn check_part_number(number: i32) -> S3Result<()> {
    if (1..=PARTS_MAX).contains(&number) {
        return Ok(());
    }
    Err(invalid_argument("Part number must be an integer between 1 and 10000, inclusive"))
}

/// Algorithm that was asked for, and whether the object's checksum will be composite.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>
fn checksum_kind(
    algorithm: Option<&ChecksumAlgorithm>,
    kind: Option<&ChecksumType>,
) -> S3Result<(Option<Algorithm>, bool)> {
    let algorithm = algorithm.map(|a| Algorithm::named(a.as_str())).transpose()?;
    let Some(named) = algorithm else {
        return match kind {
            None => Ok((None, false)),
            Some(_) => Err(invalid_request(
                "The x-amz-checksum-type header can only be used with the \
                 x-amz-checksum-algorithm header.",
            )),
        };
    };
    let hash = matches!(named, Algorithm::Sha1 | Algorithm::Sha256);
    let composite = match kind.map(ChecksumType::as_str) {
        None => named != Algorithm::Crc64Nvme,
        Some("COMPOSITE") => true,
        Some("FULL_OBJECT") => false,
        Some(_) => return Err(invalid_request("Value for x-amz-checksum-type header is invalid.")),
    };
    if (composite && named == Algorithm::Crc64Nvme) || (!composite && hash) {
        let kind = if composite { "COMPOSITE" } else { "FULL_OBJECT" };
        return Err(invalid_request(format!(
            "The {kind} checksum type cannot be used with the {} checksum algorithm.",
            named.name().to_lowercase()
        )));
    }
    Ok((algorithm, composite))
}

pub async fn create_multipart_upload(
    api: &Api,
    req: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let S3Request { input, headers, .. } = req;
    take!(input => CreateMultipartUploadInput {
        bucket, key, metadata, checksum_algorithm, checksum_type, acl, grant_full_control,
        grant_read, grant_read_acp, grant_write_acp, storage_class, server_side_encryption,
    }
    elsewhere {
        expected_bucket_owner, request_payer, cache_control, content_disposition,
        content_encoding, content_language, content_type, expires, tagging,
    }
    refuse {
        bucket_key_enabled, object_lock_legal_hold_status, object_lock_mode,
        object_lock_retain_until_date, sse_customer_algorithm, sse_customer_key,
        sse_customer_key_md5, ssekms_encryption_context, ssekms_key_id,
        website_redirect_location,
    });
    let grants = [&grant_full_control, &grant_read, &grant_read_acp, &grant_write_acp];
    options::check_acl(acl.as_ref().map(ObjectCannedACL::as_str), &grants)?;
    options::check_encryption(server_side_encryption.as_ref())?;
    let (algorithm, composite) =
        checksum_kind(checksum_algorithm.as_ref(), checksum_type.as_ref())?;
    let initiated = api.buckets().clock.now();
    let abort = lifecycle::abort(&api.buckets().about(&bucket)?.rules, &key, initiated);
    let (abort_date, abort_rule_id) = abort.unzip();
    let upload = Upload {
        bucket: bucket.clone(),
        key: key.clone(),
        meta: options::meta(&headers, metadata, storage_class.as_ref())?,
        initiated,
        algorithm,
        composite,
    };
    let id = api.blocking(move |cloud| cloud.services.s3.begin_upload(upload)).await?;
    let kind = if composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(bucket),
        key: Some(key),
        upload_id: Some(id),
        abort_date: abort_date.map(super::timestamp),
        abort_rule_id,
        checksum_type: algorithm.map(|_| ChecksumType::from_static(kind)),
        checksum_algorithm,
        server_side_encryption: options::encryption(),
        ..Default::default()
    }))
}

/// A part must have the checksum that its upload was begun with.
fn check_algorithm(upload: &Upload, claim: &mut Claim) -> S3Result<()> {
    let Some(expected) = upload.algorithm else { return Ok(()) };
    match &claim.checksum {
        Some((actual, _)) if *actual != expected => Err(mismatch(expected, actual.name())),
        Some(_) => Ok(()),
        None if upload.composite => Err(mismatch(expected, "null")),
        None => Ok(()),
    }
}

fn mismatch(expected: Algorithm, actual: &str) -> S3Error {
    invalid_request(format!(
        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
        expected.name().to_lowercase(),
        actual.to_lowercase()
    ))
}

pub async fn upload_part(
    api: &Api,
    req: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let S3Request { input, headers, trailing_headers, .. } = req;
    take!(input => UploadPartInput {
            bucket, key, upload_id, part_number, body, content_length, content_md5, checksum_crc32,
            checksum_crc32c, checksum_crc64nvme, checksum_sha1, checksum_sha256,
        }
        elsewhere { checksum_algorithm, expected_bucket_owner, request_payer }
        refuse { sse_customer_algorithm, sse_customer_key, sse_customer_key_md5 });
    check_part_number(part_number)?;
    api.buckets().get(&bucket)?;
    let upload = api.buckets().upload(&upload_id, &bucket, &key)?;
    let claimed = claimed_checksums!(
        checksum_crc32,
        checksum_crc32c,
        checksum_crc64nvme,
        checksum_sha1,
        checksum_sha256
    );
    let mut claim = Claim::read(&headers, claimed, content_md5.as_deref())?;
    check_algorithm(&upload, &mut claim)?;
    if !objects::has_length(&headers) {
        return Err(s3_error!(
            MissingContentLength,
            "You must provide the Content-Length HTTP header."
        ));
    }
    let trailers = trailing_headers.as_ref();
    let arriving = objects::Upload { body, length: content_length, claim: &claim, trailers };
    let received = api.receive(arriving).await?;
    let checksum = received.checksum.clone();
    let put = move |cloud: &std::sync::Arc<crate::kernel::cloud::Cloud>| {
        cloud.services.s3.put_part(&upload_id, part_number, received, checksum)
    };
    let part = api.blocking(put).await?;
    let mut output = UploadPartOutput {
        e_tag: Some(ETag::Strong(part.etag.clone())),
        server_side_encryption: options::encryption(),
        ..Default::default()
    };
    // S3 repeats the client's checksum; its own it tells when the upload is complete.
    answer_checksum!(output, Some(&part.checksum).filter(|_| claim.checksum.is_some()));
    Ok(S3Response::new(output))
}

/// `bytes=0-9`, which must lie inside the source.
fn copied_range(text: Option<&str>, size: u64) -> S3Result<(u64, u64)> {
    let Some(text) = text else { return Ok((0, size)) };
    let Ok(Range::Int { first, last: Some(last) }) = Range::parse(text) else {
        return Err(invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first \
             and last are the zero-based offsets of the first and last bytes to copy",
        ));
    };
    if last >= size {
        return Err(invalid_argument(format!(
            "Range specified is not valid for source object of size: {size}"
        )));
    }
    Ok((first, last + 1 - first))
}

pub async fn upload_part_copy(
    api: &Api,
    req: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let S3Request { input, extensions, .. } = req;
    take!(input => UploadPartCopyInput {
        bucket, key, upload_id, part_number, copy_source, copy_source_range,
        copy_source_if_match, copy_source_if_modified_since, copy_source_if_none_match,
        copy_source_if_unmodified_since,
    }
    elsewhere { expected_bucket_owner, expected_source_bucket_owner, request_payer }
    refuse {
        copy_source_sse_customer_algorithm, copy_source_sse_customer_key,
        copy_source_sse_customer_key_md5, sse_customer_algorithm, sse_customer_key,
        sse_customer_key_md5,
    });
    check_part_number(part_number)?;
    let upload = api.buckets().upload(&upload_id, &bucket, &key)?;
    let conditions = ReadConditions {
        matches: copy_source_if_match,
        matches_not: copy_source_if_none_match,
        modified_since: copy_source_if_modified_since,
        unmodified_since: copy_source_if_unmodified_since,
    };
    let source = api.open_source(&extensions, copy_source, &conditions)?;
    let (start, length) = copied_range(copy_source_range.as_deref(), source.object.size)?;
    let copy_source_version_id = api.version_id(&source.bucket, &source.object);
    let part = api
        .blocking(move |cloud| {
            let algorithm = upload.algorithm.unwrap_or(Algorithm::Crc64Nvme);
            let mut incoming = cloud.services.s3.incoming(algorithm)?;
            let range = start..start + length;
            incoming.copy(cloud.services.s3.reader(&source.object, source.file, range)?)?;
            let received = incoming.finish();
            let checksum = received.checksum.clone();
            cloud.services.s3.put_part(&upload_id, part_number, received, checksum)
        })
        .await?;
    let mut result = CopyPartResult {
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(super::timestamp(part.modified)),
        ..Default::default()
    };
    answer_checksum!(result, Some(&part.checksum));
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id,
        server_side_encryption: options::encryption(),
        ..Default::default()
    }))
}

pub async fn abort_multipart_upload(
    api: &Api,
    req: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    take!(req.input => AbortMultipartUploadInput { bucket, key, upload_id }
        elsewhere { expected_bucket_owner, request_payer } refuse { if_match_initiated_time });
    api.buckets().get(&bucket)?;
    api.buckets().upload(&upload_id, &bucket, &key)?;
    api.blocking(move |cloud| cloud.services.s3.end_upload(&upload_id)).await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

fn listed(part: &StoredPart) -> Part {
    let mut listed = Part {
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(super::timestamp(part.modified)),
        part_number: Some(part.number),
        size: i64::try_from(part.size).ok(),
        ..Default::default()
    };
    answer_checksum!(listed, Some(&part.checksum));
    listed
}

pub async fn list_parts(
    api: &Api,
    req: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    take!(req.input => ListPartsInput { bucket, key, upload_id, max_parts, part_number_marker }
        elsewhere { expected_bucket_owner, request_payer }
        refuse { sse_customer_algorithm, sse_customer_key, sse_customer_key_md5 });
    let about = api.buckets().about(&bucket)?;
    let upload = api.buckets().upload(&upload_id, &bucket, &key)?;
    let abort = lifecycle::abort(&about.rules, &key, upload.initiated);
    let (abort_date, abort_rule_id) = abort.unzip();
    let marker = part_number_marker.unwrap_or(0);
    let max = max_parts.unwrap_or(PAGE);
    if max < 0 || marker < 0 {
        return Err(invalid_argument(
            "Argument max-parts must be an integer between 0 and 2147483647",
        ));
    }
    let max = max.min(PAGE);
    let mut parts = api.buckets().parts(&upload_id);
    parts.retain(|p| p.number > marker);
    let page: Vec<Part> =
        parts.iter().take(usize::try_from(max).unwrap_or_default()).map(|p| listed(p)).collect();
    let owner = super::owner(&api.cloud.config.account);
    let kind = if upload.composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(bucket),
        key: Some(key),
        upload_id: Some(upload_id),
        is_truncated: Some(parts.len() > page.len()),
        max_parts: Some(max),
        part_number_marker: Some(marker),
        next_part_number_marker: Some(page.last().and_then(|p| p.part_number).unwrap_or(0)),
        parts: Some(page),
        checksum_algorithm: upload.algorithm.map(|a| ChecksumAlgorithm::from_static(a.name())),
        checksum_type: upload.algorithm.map(|_| ChecksumType::from_static(kind)),
        initiator: Some(Initiator { id: owner.id.clone(), display_name: None }),
        owner: Some(owner),
        storage_class: Some(options::storage_class(&upload.meta)),
        abort_date: abort_date.map(super::timestamp),
        abort_rule_id,
        ..Default::default()
    }))
}
