//! Objects.

use std::path::Path;

use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, Delete, EncodingType, ObjectIdentifier,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{Aws, AwsError, Result};

/// An object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectView {
    /// The hash that it was written with, if it was.
    pub sha256: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// When it was written, in seconds since 1970; S3 tells no more exactly.
    pub modified: i64,
}

/// An object as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, in seconds since 1970; S3 tells no more exactly.
    pub modified: i64,
    /// What changes with its content.
    pub etag: String,
}

/// Size of a part of a large upload.
const PART_BYTES: u64 = 16 * 1024 * 1024;
/// Parts that are on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// Parts that an upload may have.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const PARTS_MAX: u64 = 10_000;
/// Metadata that holds an object's hash.
const SHA256: &str = "sha256";
/// Keys that one call deletes.
const DELETED_AT_ONCE: usize = 1_000;
/// Largest object that is read whole.
const OBJECT_BYTES_MAX: u64 = 256 * 1024 * 1024;

impl Aws {
    /// All keys below a prefix.
    pub async fn keys(&self, bucket: &str, prefix: &str) -> Result<Vec<String>> {
        Ok(self.objects(bucket, prefix).await?.into_iter().map(|object| object.key).collect())
    }

    /// All objects below a prefix.
    pub async fn objects(&self, bucket: &str, prefix: &str) -> Result<Vec<Listed>> {
        // Keys may hold characters that XML cannot.
        let mut pages = self
            .s3
            .list_objects_v2()
            .bucket(bucket)
            .expected_bucket_owner(&self.account)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .into_paginator()
            .send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("s3:ListObjectsV2", e))?;
            let encoded = page.encoding_type == Some(EncodingType::Url);
            objects.extend(page.contents.unwrap_or_default().into_iter().filter_map(|object| {
                let key = object.key?;
                Some(Listed {
                    key: if encoded { url_decoded(&key) } else { key },
                    bytes: object.size.and_then(|n| n.try_into().ok()).unwrap_or_default(),
                    modified: object.last_modified.map_or(0, |time| time.secs()),
                    etag: object.e_tag.unwrap_or_default(),
                })
            }));
        }
        Ok(objects)
    }

    /// Deletes these objects.
    pub async fn delete_objects(&self, bucket: &str, keys: &[String]) -> Result<()> {
        // The request is XML, which has no way to write some characters.
        let (plain, odd): (Vec<&String>, Vec<&String>) = keys.iter().partition(|k| in_xml(k));
        for chunk in plain.chunks(DELETED_AT_ONCE) {
            self.delete_together(bucket, chunk).await?;
        }
        for key in odd {
            self.s3
                .delete_object()
                .bucket(bucket)
                .expected_bucket_owner(&self.account)
                .key(key)
                .send()
                .await
                .map_err(|e| AwsError::new("s3:DeleteObject", e))?;
        }
        Ok(())
    }

    async fn delete_together(&self, bucket: &str, keys: &[&String]) -> Result<()> {
        let call = "s3:DeleteObjects";
        let objects = keys
            .iter()
            .map(|k| ObjectIdentifier::builder().key(*k).build())
            .collect::<std::result::Result<Vec<_>, _>>();
        let delete =
            objects.and_then(|o| Delete::builder().set_objects(Some(o)).quiet(true).build());
        let delete = delete.map_err(|e| AwsError::local(call, e.to_string()))?;
        let request = self
            .s3
            .delete_objects()
            .bucket(bucket)
            .expected_bucket_owner(&self.account)
            .delete(delete);
        let answer = request.send().await.map_err(|e| AwsError::new(call, e))?;
        match answer.errors().first() {
            Some(error) => Err(AwsError::local(
                call,
                format!("{}: {}", error.key().unwrap_or_default(), error.message().unwrap_or("?")),
            )),
            None => Ok(()),
        }
    }

    /// Writes an object with its hash in its metadata.
    pub async fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>, sha256: &str) -> Result<()> {
        self.put_body(bucket, key, ByteStream::from(bytes), sha256).await
    }

    /// Writes a file as an object, without having it in memory: a large one in parts. `sent` is
    /// told of bytes that are there.
    pub async fn put_file(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        sha256: &str,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        let unreadable = |e: String| {
            AwsError::local("s3:PutObject", format!("cannot read {}: {e}", file.display()))
        };
        let bytes = std::fs::metadata(file).map_err(|e| unreadable(e.to_string()))?.len();
        if bytes > PART_BYTES {
            return self.put_parts(bucket, key, file, bytes, sha256, sent).await;
        }
        let body = ByteStream::from_path(file).await.map_err(|e| unreadable(e.to_string()))?;
        self.put_body(bucket, key, body, sha256).await?;
        sent(bytes);
        Ok(())
    }

    async fn put_parts(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        bytes: u64,
        sha256: &str,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        let begun = self
            .s3
            .create_multipart_upload()
            .bucket(bucket)
            .expected_bucket_owner(&self.account)
            .key(key)
            .metadata(SHA256, sha256)
            .send()
            .await
            .map_err(|e| AwsError::new("s3:CreateMultipartUpload", e))?;
        let upload = begun.upload_id.unwrap_or_default();
        let done = self.put_each(bucket, key, &upload, file, bytes, sent).await;
        if done.is_err() {
            // Parts of an upload that does not end cost money until the bucket's rule removes them.
            let _ = self
                .s3
                .abort_multipart_upload()
                .bucket(bucket)
                .expected_bucket_owner(&self.account)
                .key(key)
                .upload_id(upload)
                .send()
                .await;
        }
        done
    }

    async fn put_each(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        file: &Path,
        bytes: u64,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        let size = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
        let part = |(number, offset): (i32, u64)| async move {
            let length = size.min(bytes - offset);
            let body = ByteStream::read_from().path(file).offset(offset);
            let body = body.length(Length::Exact(length)).build().await.map_err(|e| {
                AwsError::local("s3:UploadPart", format!("cannot read {}: {e}", file.display()))
            })?;
            let part = self
                .s3
                .upload_part()
                .bucket(bucket)
                .expected_bucket_owner(&self.account)
                .key(key)
                .upload_id(upload)
                .part_number(number)
                .body(body)
                .send()
                .await
                .map_err(|e| AwsError::new("s3:UploadPart", e))?;
            sent(length);
            Ok(CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build())
        };
        let offsets = (0..bytes).step_by(size as usize);
        let parts = stream::iter((1..).zip(offsets)).map(part).buffered(PARTS_AT_ONCE);
        let parts: Vec<CompletedPart> = parts.try_collect().await?;
        self.s3
            .complete_multipart_upload()
            .bucket(bucket)
            .expected_bucket_owner(&self.account)
            .key(key)
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send()
            .await
            .map_err(|e| AwsError::new("s3:CompleteMultipartUpload", e))?;
        Ok(())
    }

    async fn put_body(
        &self,
        bucket: &str,
        key: &str,
        body: ByteStream,
        sha256: &str,
    ) -> Result<()> {
        let request = self
            .s3
            .put_object()
            .bucket(bucket)
            .expected_bucket_owner(&self.account)
            .key(key)
            .metadata(SHA256, sha256)
            .body(body);
        request.send().await.map_err(|e| AwsError::new("s3:PutObject", e))?;
        Ok(())
    }

    /// An object's bytes; `None` when it is not there.
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.get_tagged(bucket, key, OBJECT_BYTES_MAX).await?.map(|(bytes, _)| bytes))
    }

    /// The bytes of an object of at most `bytes_max`, and its ETag; `None` when it is not there.
    pub async fn get_tagged(
        &self,
        bucket: &str,
        key: &str,
        bytes_max: u64,
    ) -> Result<Option<(Vec<u8>, String)>> {
        let call = "s3:GetObject";
        let request =
            self.s3.get_object().bucket(bucket).expected_bucket_owner(&self.account).key(key);
        match request.send().await.map_err(|e| AwsError::new(call, e)) {
            Ok(object) => {
                let size = object.content_length.and_then(|n| n.try_into().ok());
                if size.is_none_or(|size: u64| size > bytes_max) {
                    let message = format!("`{key}` is larger than the {bytes_max} bytes read");
                    return Err(AwsError::local(call, message));
                }
                let tag = object.e_tag.unwrap_or_default();
                let body = object.body.collect().await;
                let bytes = body.map_err(|e| AwsError::local(call, e.to_string()))?;
                Ok(Some((bytes.to_vec(), tag)))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes an object only where it is still what it was when its ETag was read, or, without
    /// one, not there; false when it is something else by now.
    pub async fn put_if(
        &self,
        bucket: &str,
        key: &str,
        bytes: Vec<u8>,
        tag: Option<&str>,
    ) -> Result<bool> {
        let request = self
            .s3
            .put_object()
            .bucket(bucket)
            .expected_bucket_owner(&self.account)
            .key(key)
            .body(ByteStream::from(bytes));
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

    /// What is known of an object; `None` when it is not there.
    pub async fn object(&self, bucket: &str, key: &str) -> Result<Option<ObjectView>> {
        let request =
            self.s3.head_object().bucket(bucket).expected_bucket_owner(&self.account).key(key);
        match request.send().await.map_err(|e| AwsError::new("s3:HeadObject", e)) {
            Ok(head) => Ok(Some(ObjectView {
                bytes: head.content_length().and_then(|n| n.try_into().ok()).unwrap_or_default(),
                modified: head.last_modified().map_or(0, |time| time.secs()),
                sha256: head.metadata.and_then(|m| m.get(SHA256).cloned()),
            })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether XML 1.0 can hold all characters of a key.
fn in_xml(key: &str) -> bool {
    key.chars().all(|c| {
        !matches!(c, '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' | '\n' | '\t')
    })
}

/// A key as S3 writes it in a listing with `encoding-type=url`.
fn url_decoded(text: &str) -> String {
    percent_decoded(&text.replace('+', " "))
}

/// Text without its percent coding.
pub(crate) fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{in_xml, percent_decoded, url_decoded};

    #[test]
    fn keys_are_decoded_as_listings_encode_them() {
        assert_eq!(url_decoded("a+b%2Bc%01%0A"), "a b+c\u{1}\n");
        assert_eq!(percent_decoded("%7B%22A%22%3A%20%22s3%3A*%22%7D100%"), "{\"A\": \"s3:*\"}100%");
    }

    #[test]
    fn what_xml_cannot_hold_is_deleted_alone() {
        assert!(in_xml("predictions/Алматы <&>.json") && in_xml("a b"));
        assert!(!in_xml("a\u{1}") && !in_xml("a\nb") && !in_xml("\u{fffe}"));
    }
}
