//! Tags of objects.

use std::collections::BTreeMap;

use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use super::Api;
use super::conditions::check_version;
use super::errors::{custom, invalid_argument};
use super::options::take;

/// Tags of one object.
const TAGS_MAX: usize = 10;

/// The tags of the header `x-amz-tagging`, a form.
pub fn parse(header: &str) -> S3Result<BTreeMap<String, String>> {
    check(url::form_urlencoded::parse(header.as_bytes()).into_owned().collect())
}

fn invalid(message: &'static str) -> S3Error {
    S3Error::with_message(s3s::S3ErrorCode::InvalidTag, message)
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>
fn check(pairs: Vec<(String, String)>) -> S3Result<BTreeMap<String, String>> {
    if pairs.len() > TAGS_MAX {
        return Err(custom("BadRequest", 400, "Object tags cannot be greater than 10"));
    }
    let mut tags = BTreeMap::new();
    for (key, value) in pairs {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(invalid("The TagKey you have provided is invalid"));
        }
        if value.chars().count() > 256 {
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
    take!(req.input => PutObjectTaggingInput { bucket, key, tagging, version_id }
        elsewhere { checksum_algorithm, content_md5, expected_bucket_owner, request_payer }
        refuse {});
    check_version(version_id.as_deref())?;
    let pair = |t: Tag| (t.key.unwrap_or_default(), t.value.unwrap_or_default());
    let tags = check(tagging.tag_set.into_iter().map(pair).collect())?;
    api.buckets().set_tags(&bucket, &key, tags)?;
    Ok(S3Response::new(PutObjectTaggingOutput::default()))
}

pub async fn get_object_tagging(
    api: &Api,
    req: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let S3Request { input, extensions, .. } = req;
    take!(input => GetObjectTaggingInput { bucket, key, version_id }
        elsewhere { expected_bucket_owner, request_payer } refuse {});
    check_version(version_id.as_deref())?;
    let object = api.head(&extensions, &bucket, &key)?;
    let tag = |(k, v): (&String, &String)| Tag { key: Some(k.clone()), value: Some(v.clone()) };
    let tag_set = object.meta.tags.iter().map(tag).collect();
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: None }))
}

pub async fn delete_object_tagging(
    api: &Api,
    req: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    take!(req.input => DeleteObjectTaggingInput { bucket, key, version_id }
        elsewhere { expected_bucket_owner } refuse {});
    check_version(version_id.as_deref())?;
    api.buckets().set_tags(&bucket, &key, BTreeMap::new())?;
    Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
}

/// Whether a copy keeps its source's tags.
pub fn keeps_tags(directive: Option<&TaggingDirective>) -> S3Result<bool> {
    match directive.map(TaggingDirective::as_str) {
        None | Some("COPY") => Ok(true),
        Some("REPLACE") => Ok(false),
        Some(_) => Err(invalid_argument("Unknown tagging directive.")),
    }
}
