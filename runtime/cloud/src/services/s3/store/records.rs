//! What the store keeps about buckets, objects and unfinished uploads.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::services::s3::checksums::{Algorithm, Checksum};

/// A bucket's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bucket {
    /// When it was made.
    pub created: Timestamp,
    /// Tags as `[{"Key", "Value"}]`.
    pub tags: Value,
    /// Its policy.
    pub policy: Option<Value>,
    /// Settings that are kept and reported, by name.
    pub settings: BTreeMap<String, Value>,
    /// The account that it belongs to when it is not this cloud's own.
    #[serde(default)]
    pub owner: Option<String>,
}

/// An object's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Row")]
pub struct Object {
    /// Name of the file that holds its bytes.
    pub file: String,
    /// Size in bytes.
    pub size: u64,
    /// MD5 in hexadecimal; of multipart uploads AWS's hash of hashes.
    pub etag: String,
    /// When it was written.
    pub modified: Timestamp,
    /// What the client said about it.
    #[serde(flatten)]
    pub meta: Meta,
    /// MD5 of all bytes in hexadecimal; older records have none.
    pub md5: Option<String>,
    /// Its checksum; older records have none.
    pub checksum: Option<Checksum>,
    /// The multipart upload that it came by.
    pub upload: Option<FinishedUpload>,
    /// Checksums of its chunks; older records have none.
    #[serde(with = "chunks")]
    pub chunks: Arc<[String]>,
    /// ID of the version; none of what was written while the bucket kept no versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// By which the versions of a key are ordered; 0 of those of buckets that keep none.
    #[serde(skip_serializing_if = "is_zero")]
    pub sequence: u64,
    /// Whether it is a delete marker, which has no file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub marker: bool,
}

/// An object's record as it is read: a list reads thousands, and a flattened member would be parsed
/// twice.
#[derive(Deserialize)]
struct Row {
    file: String,
    size: u64,
    etag: String,
    modified: Timestamp,
    content_type: Option<String>,
    cache_control: Option<String>,
    content_disposition: Option<String>,
    content_encoding: Option<String>,
    content_language: Option<String>,
    expires: Option<String>,
    storage_class: Option<String>,
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    md5: Option<String>,
    checksum: Option<Checksum>,
    upload: Option<FinishedUpload>,
    #[serde(default, with = "chunks")]
    chunks: Arc<[String]>,
    version: Option<String>,
    #[serde(default)]
    sequence: u64,
    #[serde(default)]
    marker: bool,
}

impl From<Row> for Object {
    fn from(row: Row) -> Self {
        let meta = Meta {
            content_type: row.content_type,
            cache_control: row.cache_control,
            content_disposition: row.content_disposition,
            content_encoding: row.content_encoding,
            content_language: row.content_language,
            expires: row.expires,
            storage_class: row.storage_class,
            metadata: row.metadata,
            tags: row.tags,
        };
        Self {
            file: row.file,
            size: row.size,
            etag: row.etag,
            modified: row.modified,
            meta,
            md5: row.md5,
            checksum: row.checksum,
            upload: row.upload,
            chunks: row.chunks,
            version: row.version,
            sequence: row.sequence,
            marker: row.marker,
        }
    }
}

/// For serde, which hands over references.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Object {
    /// A delete marker.
    pub fn marker(modified: Timestamp) -> Self {
        Self {
            file: String::new(),
            size: 0,
            etag: String::new(),
            modified,
            meta: Meta::default(),
            md5: None,
            checksum: None,
            upload: None,
            chunks: Arc::default(),
            version: None,
            sequence: 0,
            marker: true,
        }
    }

    /// ID of the version, unless it is the null version.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// ID of the version as requests name it.
    pub fn version_id(&self) -> String {
        self.version.clone().unwrap_or_else(|| "null".to_owned())
    }

    /// By which the versions of a key are ordered.
    pub fn sequence(&self) -> u64 {
        match self.sequence {
            0 => u64::try_from(self.modified.as_nanosecond()).unwrap_or_default(),
            sequence => sequence,
        }
    }

    /// MD5 of all bytes, when it is known.
    pub fn md5(&self) -> Option<&str> {
        let plain = (!self.etag.contains('-')).then_some(self.etag.as_str());
        self.md5.as_deref().or(plain)
    }
}

/// What an upload brings besides its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Media type.
    pub content_type: Option<String>,
    /// `Cache-Control`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// `Content-Encoding`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// `Expires`, an HTTP date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Storage class when it is not STANDARD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// Metadata of the user.
    pub metadata: BTreeMap<String, String>,
    /// Tags of the object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// The multipart upload that an object came by.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinishedUpload {
    /// Its ID, by which a repeated completion is known.
    pub id: String,
    /// Its parts in order.
    pub parts: Vec<FinishedPart>,
}

/// A part of a finished upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinishedPart {
    /// Its number.
    pub number: i32,
    /// Its size in bytes.
    pub size: u64,
    /// Its checksum, when the upload has checksums by parts.
    pub checksum: Option<Checksum>,
}

/// A multipart upload that is not finished.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upload {
    /// Bucket of the object that it will be.
    pub bucket: String,
    /// Key of the object that it will be.
    pub key: String,
    /// What the client said about it.
    pub meta: Meta,
    /// When it began.
    pub initiated: Timestamp,
    /// The algorithm that was asked for.
    pub algorithm: Option<Algorithm>,
    /// Whether the checksum will be the one of the parts' checksums.
    pub composite: bool,
}

/// A part of a multipart upload that is not finished.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// Name of the file that holds its bytes.
    pub file: String,
    /// Its number.
    pub number: i32,
    /// Size in bytes.
    pub size: u64,
    /// MD5 in hexadecimal.
    pub etag: String,
    /// Its checksum.
    pub checksum: Checksum,
    /// When it was written.
    pub modified: Timestamp,
    /// Checksums of its chunks; older records have none.
    #[serde(default, with = "chunks")]
    pub chunks: Arc<[String]>,
}

/// Checksums of chunks, as one text.
mod chunks {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(chunks: &[String], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&chunks.join(" "))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<[String]>, D::Error> {
        let text = String::deserialize(from)?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_older_ones_too() {
        let record = json!({
            "file": "f", "size": 3, "etag": "e", "modified": "2026-01-31T00:00:00Z",
            "content_type": "text/csv", "expires": "never", "storage_class": "STANDARD_IA",
            "metadata": { "a": "1" }, "tags": { "b": "2" }, "md5": "m",
            "checksum": { "algorithm": "SHA1", "value": "v", "composite": false },
            "upload": null, "chunks": "c d", "version": "v", "sequence": 7, "marker": true,
        });
        let read: Object = serde_json::from_value(record.clone()).expect("a record");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), record);
        let old = json!({
            "file": "f", "size": 3, "etag": "e", "modified": "2026-01-31T00:00:00Z",
            "content_type": null, "metadata": {},
        });
        let read: Object = serde_json::from_value(old).expect("an old record");
        assert_eq!(
            (read.md5(), read.chunks.len(), read.meta.clone()),
            (Some("e"), 0, Meta::default())
        );
    }
}
