//! Tags of objects.

use std::collections::BTreeMap;

use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::Api;
use super::conditions::which;
use super::errors::{custom, invalid_argument};
use super::messages::Cause;
use super::options::take;

/// Tags of one object.
const TAGS_MAX: usize = 10;
/// Tags of one bucket.
const BUCKET_TAGS_MAX: usize = 50;

/// The tags of the header `x-amz-tagging`, a form.
pub fn parse(header: &str) -> S3Result<BTreeMap<String, String>> {
    check(url::form_urlencoded::parse(header.as_bytes()).into_owned().collect())
}

fn invalid(message: &'static str) -> S3Error {
    S3Error::with_message(s3s::S3ErrorCode::InvalidTag, message)
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>
pub fn check(pairs: Vec<(String, String)>) -> S3Result<BTreeMap<String, String>> {
    if pairs.len() > TAGS_MAX {
        return Err(custom("BadRequest", 400, "Object tags cannot be greater than 10"));
    }
    check_each(pairs)
}

/// The tags of a bucket.
pub fn of_bucket(pairs: Vec<(String, String)>) -> S3Result<BTreeMap<String, String>> {
    if pairs.len() > BUCKET_TAGS_MAX {
        return Err(custom("BadRequest", 400, "Bucket tag count cannot be greater than 50"));
    }
    check_each(pairs)
}

/// Letters, digits, spaces and some signs.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c))
}

fn check_each(pairs: Vec<(String, String)>) -> S3Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for (key, value) in pairs {
        if key.is_empty() || key.chars().count() > 128 || !is_plain(&key) {
            return Err(invalid("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > 256 || !is_plain(&value) {
            return Err(invalid("The TagValue you have provided is invalid"));
        }
        if key.starts_with("aws:") {
            return Err(invalid("System tags cannot be added/updated by requester"));
        }
        if tags.insert(key, value).is_some() {
            return Err(invalid("Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

pub async fn put_object_tagging(
    api: &Api,
    req: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let S3Request { input, extensions, .. } = req;
    take!(input => PutObjectTaggingInput { bucket, key, tagging, version_id }
        elsewhere { checksum_algorithm, content_md5, expected_bucket_owner, request_payer }
        refuse {});
    let pair = |t: Tag| (t.key.unwrap_or_default(), t.value.unwrap_or_default());
    let tags = check(tagging.tag_set.into_iter().map(pair).collect())?;
    let cause = api.cause(&extensions, "PutObjectTagging");
    let version_id = set(api, &extensions, (bucket, key, version_id), tags, cause).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

/// Replaces the tags of a version, whose ID is answered where there are versions.
async fn set(
    api: &Api,
    extensions: &axum::http::Extensions,
    (bucket, key, version): (String, String, Option<String>),
    tags: BTreeMap<String, String>,
    cause: Cause,
) -> S3Result<Option<String>> {
    let which = which(version.as_deref())?;
    api.head(extensions, &bucket, &key, version.as_deref())?;
    let name = bucket.clone();
    let tagged =
        api.blocking(move |cloud| cloud.services.s3.set_tags(&bucket, &key, &which, tags, &cause));
    let object = tagged.await?;
    Ok(api.version_id(&name, &object))
}

pub async fn get_object_tagging(
    api: &Api,
    req: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let S3Request { input, extensions, .. } = req;
    take!(input => GetObjectTaggingInput { bucket, key, version_id }
        elsewhere { expected_bucket_owner, request_payer } refuse {});
    let object = api.head(&extensions, &bucket, &key, version_id.as_deref())?;
    let version_id = api.version_id(&bucket, &object);
    let tag = |(k, v): (&String, &String)| Tag { key: Some(k.clone()), value: Some(v.clone()) };
    let tag_set = object.meta.tags.iter().map(tag).collect();
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id }))
}

pub async fn delete_object_tagging(
    api: &Api,
    req: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let S3Request { input, extensions, .. } = req;
    take!(input => DeleteObjectTaggingInput { bucket, key, version_id }
        elsewhere { expected_bucket_owner } refuse {});
    let cause = api.cause(&extensions, "DeleteObjectTagging");
    let place = (bucket, key, version_id);
    let version_id = set(api, &extensions, place, BTreeMap::new(), cause).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

/// Whether a copy keeps its source's tags.
pub fn keeps_tags(directive: Option<&TaggingDirective>) -> S3Result<bool> {
    match directive.map(TaggingDirective::as_str) {
        None | Some("COPY") => Ok(true),
        Some("REPLACE") => Ok(false),
        Some(_) => Err(invalid_argument("Unknown tagging directive.")),
    }
}
