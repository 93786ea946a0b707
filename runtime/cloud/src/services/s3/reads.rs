//! Objects are read: whole, by range, by part, or only looked at.
//!
//! Bytes are compared with what was written. What is small is read before the answer begins, so
//! damage is an error; what is larger is broken off before the damaged chunk. Once damage was seen,
//! every read of the object is refused, so no client gets past it by asking for the rest.

use std::ops::Range;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::Api;
use super::checksums::{Checksum as Stored, answer_checksum, answer_checksum_and_type};
use super::conditions::{ReadConditions, which};
use super::errors::{custom, invalid_argument, invalid_request};
use super::options::{self, take};
use super::store::{Object as StoredObject, StoreError, Verified};
use crate::kernel::cloud::Cloud;

/// What is at most as large is read and compared before the answer begins.
const READ_AHEAD_BYTES: u64 = 4 * 1024 * 1024;
/// An object that is at most as large is read sooner than another thread would be woken for it.
const READ_AT_ONCE_BYTES: u64 = 64 * 1024;
/// What S3 says about the type of an object that came without one.
const DEFAULT_TYPE: &str = "binary/octet-stream";

/// Which bytes of an object are wanted.
struct Slice {
    range: Range<u64>,
    /// Whether the answer is 206 with a `Content-Range`.
    partial: bool,
    parts: Option<i32>,
}

impl Slice {
    /// The checksum of its bytes, where one is kept: of the whole, and of the parts of a composite
    /// one.
    fn checksum<'o>(&self, object: &'o StoredObject) -> Option<&'o Stored> {
        if self.range == (0..object.size) {
            let alone = object.upload.as_ref().and_then(|upload| upload.parts.first());
            let alone = alone.and_then(|part| part.checksum.as_ref()).filter(|_| self.partial);
            return alone.or(object.checksum.as_ref());
        }
        let mut start = 0;
        for part in object.upload.iter().flat_map(|upload| &upload.parts) {
            if self.range == (start..start + part.size) {
                return part.checksum.as_ref();
            }
            start += part.size;
        }
        None
    }
}

/// Finds the slice that range or part number ask for.
fn slice(
    object: &StoredObject,
    range: Option<s3s::dto::Range>,
    part: Option<i32>,
) -> S3Result<Slice> {
    let whole = 0..object.size;
    match (range, part) {
        (Some(_), Some(_)) => {
            Err(invalid_request("Cannot specify both Range header and partNumber query parameter"))
        }
        (Some(range), None) => {
            let range = range
                .check(object.size)
                .map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
            Ok(Slice { range, partial: true, parts: None })
        }
        (None, Some(number)) => part_slice(object, number),
        (None, None) => Ok(Slice { range: whole, partial: false, parts: None }),
    }
}

fn part_slice(object: &StoredObject, number: i32) -> S3Result<Slice> {
    if !(1..=10_000).contains(&number) {
        return Err(invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive",
        ));
    }
    let missing =
        || custom("InvalidPartNumber", 416, "The requested partnumber is not satisfiable");
    let Some(upload) = &object.upload else {
        let whole = Slice { range: 0..object.size, partial: true, parts: None };
        return if number == 1 { Ok(whole) } else { Err(missing()) };
    };
    let mut start = 0;
    for (part, at) in upload.parts.iter().zip(1..) {
        if at == number {
            let parts = i32::try_from(upload.parts.len()).ok();
            return Ok(Slice { range: start..start + part.size, partial: true, parts });
        }
        start += part.size;
    }
    Err(missing())
}

fn content_range(slice: &Slice, size: u64) -> Option<String> {
    let Range { start, end } = &slice.range;
    (slice.partial && size > 0).then(|| format!("bytes {start}-{}/{size}", end.saturating_sub(1)))
}

fn status(slice: &Slice) -> Option<StatusCode> {
    slice.partial.then_some(StatusCode::PARTIAL_CONTENT)
}

/// Sets what GET and HEAD answer alike.
macro_rules! describe {
    ($output:expr, $object:expr, $slice:expr, $checksum:expr) => {
        let meta = &$object.meta;
        $output.content_length = i64::try_from($slice.range.end - $slice.range.start).ok();
        $output.content_range = content_range(&$slice, $object.size);
        $output.accept_ranges = Some("bytes".to_owned());
        $output.parts_count = $slice.parts;
        $output.content_type =
            Some(meta.content_type.clone().unwrap_or_else(|| DEFAULT_TYPE.to_owned()));
        $output.cache_control = meta.cache_control.clone();
        $output.content_disposition = meta.content_disposition.clone();
        $output.content_encoding = meta.content_encoding.clone();
        $output.content_language = meta.content_language.clone();
        $output.expires = meta.expires.as_deref().and_then(http_date);
        $output.metadata =
            (!meta.metadata.is_empty()).then(|| meta.metadata.clone().into_iter().collect());
        $output.e_tag = Some(ETag::Strong($object.etag.clone()));
        $output.last_modified = Some(super::timestamp($object.modified));
        $output.storage_class = meta.storage_class.clone().map(StorageClass::from);
        $output.server_side_encryption = options::encryption();
        if $checksum.is_some_and(|mode: ChecksumMode| mode.as_str() == "ENABLED")
            && let Some(checksum) = $slice.checksum(&$object)
        {
            answer_checksum!($output, Some(checksum));
            let kind = $object.checksum.as_ref().unwrap_or(checksum).kind();
            $output.checksum_type = Some(ChecksumType::from_static(kind));
        }
    };
}

/// What is read is decrypted without being asked how.
fn check_encryption_headers(headers: &HeaderMap) -> S3Result<()> {
    if headers.contains_key("x-amz-server-side-encryption") {
        return Err(invalid_argument(
            "x-amz-server-side-encryption header is not supported for this operation.",
        ));
    }
    Ok(())
}

fn http_date(text: &str) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, text).ok()
}

pub async fn get_object(
    api: &Api,
    req: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let S3Request { input, extensions, headers, .. } = req;
    check_encryption_headers(&headers)?;
    take!(input => GetObjectInput {
            bucket, key, checksum_mode, if_match, if_none_match, if_modified_since,
            if_unmodified_since, part_number, range, version_id,
        }
        elsewhere {
            expected_bucket_owner, request_payer, response_cache_control,
            response_content_disposition, response_content_encoding, response_content_language,
            response_content_type, response_expires,
        }
        refuse { sse_customer_algorithm, sse_customer_key, sse_customer_key_md5 });
    let which = which(version_id.as_deref())?;
    let opened = api.buckets().open_version(&bucket, &key, &which);
    let (object, file) =
        opened.map_err(|e| api.missing(&extensions, (&bucket, &key), &which, e))?;
    let conditions = ReadConditions {
        matches: if_match,
        matches_not: if_none_match,
        modified_since: if_modified_since,
        unmodified_since: if_unmodified_since,
    };
    conditions.check_read(&object)?;
    let slice = slice(&object, range, part_number)?;
    let mut output = GetObjectOutput::default();
    describe!(output, object, slice, checksum_mode);
    output.version_id = api.version_id(&bucket, &object);
    output.expiration = api.expiration(&bucket, &key, &object);
    let tags = object.meta.tags.len();
    output.tag_count = i32::try_from(tags).ok().filter(|n| *n > 0);
    output.body = Some(body(api, object, file, slice.range.clone()).await?);
    let mut response = S3Response::new(output);
    response.status = status(&slice);
    Ok(response)
}

/// The bytes of the slice.
async fn body(
    api: &Api,
    object: Arc<StoredObject>,
    file: std::fs::File,
    range: Range<u64>,
) -> S3Result<StreamingBlob> {
    let small = object.size <= READ_AT_ONCE_BYTES;
    let read = move |cloud: &Arc<Cloud>| -> Result<_, StoreError> {
        let mut reader = cloud.services.s3.reader(&object, file, range)?;
        let count = if reader.left() <= READ_AHEAD_BYTES { usize::MAX } else { 1 };
        let first = reader.by_ref().take(count).collect::<Result<Vec<Bytes>, _>>()?;
        Ok((first, reader))
    };
    let (first, rest) = if small { read(&api.cloud)? } else { api.blocking(read).await? };
    let first = futures::stream::iter(first.into_iter().map(Ok::<_, std::io::Error>));
    Ok(StreamingBlob::wrap(first.chain(futures::stream::unfold(rest, next_chunk))))
}

async fn next_chunk(mut reader: Verified) -> Option<(std::io::Result<Bytes>, Verified)> {
    let read = tokio::task::spawn_blocking(move || reader.next().map(|chunk| (chunk, reader)));
    let (chunk, reader) = read.await.ok()??;
    Some((chunk.map_err(std::io::Error::other), reader))
}

pub async fn head_object(
    api: &Api,
    req: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let S3Request { input, extensions, headers, .. } = req;
    check_encryption_headers(&headers)?;
    take!(input => HeadObjectInput {
            bucket, key, checksum_mode, if_match, if_none_match, if_modified_since,
            if_unmodified_since, part_number, range, version_id, response_cache_control,
            response_content_disposition, response_content_encoding, response_content_language,
            response_content_type, response_expires,
        }
        elsewhere { expected_bucket_owner, request_payer }
        refuse { sse_customer_algorithm, sse_customer_key, sse_customer_key_md5 });
    let object = api.head(&extensions, &bucket, &key, version_id.as_deref())?;
    let conditions = ReadConditions {
        matches: if_match,
        matches_not: if_none_match,
        modified_since: if_modified_since,
        unmodified_since: if_unmodified_since,
    };
    conditions.check_read(&object)?;
    let slice = slice(&object, range, part_number)?;
    let mut output = HeadObjectOutput::default();
    describe!(output, object, slice, checksum_mode);
    output.version_id = api.version_id(&bucket, &object);
    output.expiration = api.expiration(&bucket, &key, &object);
    let tags = object.meta.tags.len();
    output.cache_control = response_cache_control.or(output.cache_control);
    output.content_disposition = response_content_disposition.or(output.content_disposition);
    output.content_encoding = response_content_encoding.or(output.content_encoding);
    output.content_language = response_content_language.or(output.content_language);
    output.content_type = response_content_type.or(output.content_type);
    output.expires = response_expires.or(output.expires);
    let mut response = S3Response::new(output);
    response.status = status(&slice);
    if tags > 0 {
        response.headers.insert("x-amz-tagging-count", tags.into());
    }
    Ok(response)
}

pub async fn get_object_attributes(
    api: &Api,
    req: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let S3Request { input, extensions, .. } = req;
    take!(input => GetObjectAttributesInput {
            bucket, key, max_parts, object_attributes, part_number_marker, version_id,
        }
        elsewhere { expected_bucket_owner, request_payer }
        refuse { sse_customer_algorithm, sse_customer_key, sse_customer_key_md5 });
    let object = api.head(&extensions, &bucket, &key, version_id.as_deref())?;
    // One header can hold several names.
    let names: Vec<String> = object_attributes
        .iter()
        .flat_map(|a| a.as_str().split(',').map(|n| n.trim().to_owned()))
        .collect();
    let known = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
    if names.is_empty() || names.iter().any(|n| !known.contains(&n.as_str())) {
        return Err(invalid_argument("Invalid attribute name specified."));
    }
    let wanted = |name: &str| names.iter().any(|n| n == name);
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(super::timestamp(object.modified)),
        version_id: api.version_id(&bucket, &object),
        ..Default::default()
    };
    if wanted("ETag") {
        output.e_tag = Some(ETag::Strong(object.etag.clone()));
    }
    if wanted("ObjectSize") {
        output.object_size = i64::try_from(object.size).ok();
    }
    if wanted("StorageClass") {
        output.storage_class = Some(options::storage_class(&object.meta));
    }
    if let Some(stored) = object.checksum.as_ref().filter(|_| wanted("Checksum")) {
        let mut checksum = Checksum::default();
        answer_checksum_and_type!(checksum, Some(&stored.bare()));
        output.checksum = Some(checksum);
    }
    if wanted("ObjectParts") {
        output.object_parts = parts_of(&object, part_number_marker, max_parts);
    }
    Ok(S3Response::new(output))
}

/// A page of an object's parts. S3 tells parts one by one only when they have checksums.
fn parts_of(
    object: &StoredObject,
    marker: Option<i32>,
    max: Option<i32>,
) -> Option<GetObjectAttributesParts> {
    let upload = object.upload.as_ref()?;
    let total = i32::try_from(upload.parts.len()).ok();
    if upload.parts.iter().any(|p| p.checksum.is_none()) {
        return Some(GetObjectAttributesParts { total_parts_count: total, ..Default::default() });
    }
    let (marker, max) = (marker.unwrap_or(0), max.unwrap_or(1_000).clamp(0, 1_000));
    let left: Vec<_> = upload.parts.iter().filter(|p| p.number > marker).collect();
    let max_parts = usize::try_from(max).unwrap_or_default();
    let page: Vec<ObjectPart> = left
        .iter()
        .take(max_parts)
        .map(|stored| {
            let mut part = ObjectPart {
                part_number: Some(stored.number),
                size: i64::try_from(stored.size).ok(),
                ..Default::default()
            };
            answer_checksum!(part, stored.checksum.as_ref());
            part
        })
        .collect();
    Some(GetObjectAttributesParts {
        is_truncated: Some(left.len() > page.len()),
        max_parts: Some(max),
        next_part_number_marker: page.last().and_then(|p| p.part_number),
        part_number_marker: Some(marker),
        parts: Some(page),
        total_parts_count: total,
    })
}
