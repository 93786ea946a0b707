//! Buckets and objects on disk. An object is a file with a name of its own and a record that names
//! it, so readers see the old object or the new one.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use anyhow::Result;
use jiff::Timestamp;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::table::{NotStored, Table};

/// Why the store refused.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No such bucket.
    #[error("The specified bucket does not exist")]
    NoSuchBucket,
    /// No such object.
    #[error("The specified key does not exist.")]
    NoSuchKey,
    /// Not a bucket name; names become folders.
    #[error("The specified bucket is not valid.")]
    InvalidName,
    /// The bucket is there already.
    #[error("Your previous request to create the named bucket succeeded and you already own it.")]
    BucketExists,
    /// The bucket has objects.
    #[error("The bucket you tried to delete is not empty")]
    NotEmpty,
    /// The disk refused a record.
    #[error(transparent)]
    NotStored(#[from] NotStored),
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Io(#[from] std::io::Error),
}

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
}

/// An object's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Object {
    /// Name of the file that holds its bytes.
    pub file: String,
    /// Size in bytes.
    pub size: u64,
    /// MD5 in hexadecimal; of multipart uploads AWS's hash of hashes.
    pub etag: String,
    /// When it was written.
    pub modified: Timestamp,
    /// Media type.
    pub content_type: Option<String>,
    /// Metadata of the user.
    pub metadata: BTreeMap<String, String>,
}

/// What an upload brings besides its bytes.
#[derive(Debug, Clone, Default)]
pub struct Meta {
    /// Media type.
    pub content_type: Option<String>,
    /// Metadata of the user.
    pub metadata: BTreeMap<String, String>,
}

/// A file that is being written; it becomes an object in [`Buckets::put`] or goes away.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: std::fs::File,
    md5: Md5,
    size: u64,
}

impl Incoming {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.md5.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// MD5 of what has been written.
    pub fn md5(&self) -> [u8; 16] {
        self.md5.clone().finalize().into()
    }
}

/// All buckets.
#[derive(Debug)]
pub struct Buckets {
    dir: PathBuf,
    buckets: Table<Bucket>,
    objects: RwLock<BTreeMap<String, Arc<Table<Object>>>>,
}

impl Buckets {
    /// Opens the buckets below `state_dir`.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let dir = state_dir.join("s3");
        let buckets: Table<Bucket> = Table::open(dir.join("buckets"))?;
        let incoming = dir.join("incoming");
        if incoming.exists() {
            std::fs::remove_dir_all(&incoming)?;
        }
        std::fs::create_dir_all(&incoming)?;
        std::fs::create_dir_all(dir.join("files"))?;
        let mut objects = BTreeMap::new();
        for (name, _) in buckets.all() {
            objects.insert(name.clone(), Arc::new(Table::open(dir.join("objects").join(&name))?));
        }
        Ok(Self { dir, buckets, objects: RwLock::new(objects) })
    }

    /// Makes a bucket.
    pub fn create(&self, name: &str, tags: Value) -> Result<(), StoreError> {
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        if !plain || !(3..=63).contains(&name.len()) || name.contains("..") {
            return Err(StoreError::InvalidName);
        }
        if self.buckets.contains(name) {
            return Err(StoreError::BucketExists);
        }
        let table =
            Table::open(self.dir.join("objects").join(name)).map_err(std::io::Error::other)?;
        self.write().insert(name.to_owned(), Arc::new(table));
        self.buckets.put(
            name,
            Bucket { created: Timestamp::now(), tags, policy: None, settings: BTreeMap::new() },
        )?;
        Ok(())
    }

    /// Deletes an empty bucket.
    pub fn delete(&self, name: &str) -> Result<(), StoreError> {
        if !self.objects(name)?.all().is_empty() {
            return Err(StoreError::NotEmpty);
        }
        self.buckets.remove(name)?;
        self.write().remove(name);
        std::fs::remove_dir_all(self.dir.join("objects").join(name))?;
        Ok(())
    }

    /// All buckets with their settings.
    pub fn all(&self) -> Vec<(String, Arc<Bucket>)> {
        self.buckets.all()
    }

    /// One bucket's settings.
    pub fn get(&self, name: &str) -> Result<Arc<Bucket>, StoreError> {
        self.buckets.get(name).ok_or(StoreError::NoSuchBucket)
    }

    /// Changes a bucket's settings.
    pub fn configure(
        &self,
        name: &str,
        change: impl FnOnce(&mut Bucket),
    ) -> Result<(), StoreError> {
        self.buckets.update(name, change)?.ok_or(StoreError::NoSuchBucket)
    }

    /// A bucket's policy.
    pub fn policy(&self, name: &str) -> Option<Value> {
        self.buckets.get(name)?.policy.clone()
    }

    /// The objects of a bucket.
    pub fn objects(&self, name: &str) -> Result<Arc<Table<Object>>, StoreError> {
        let objects = self.objects.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        objects.get(name).cloned().ok_or(StoreError::NoSuchBucket)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Arc<Table<Object>>>> {
        self.objects.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Begins an upload.
    pub fn incoming(&self) -> Result<Incoming, StoreError> {
        let path = self.dir.join("incoming").join(uuid::Uuid::new_v4().simple().to_string());
        Ok(Incoming { file: std::fs::File::create(&path)?, path, md5: Md5::new(), size: 0 })
    }

    /// Completes an upload; `etag` replaces the MD5 for multipart uploads.
    pub fn put(
        &self,
        bucket: &str,
        key: &str,
        incoming: Incoming,
        meta: Meta,
        etag: Option<String>,
    ) -> Result<Object, StoreError> {
        let objects = self.objects(bucket)?;
        let file = uuid::Uuid::new_v4().simple().to_string();
        let etag = etag.unwrap_or_else(|| hex::encode(incoming.md5()));
        std::fs::rename(&incoming.path, self.file(&file))?;
        let object = Object {
            file,
            size: incoming.size,
            etag,
            modified: Timestamp::now(),
            content_type: meta.content_type,
            metadata: meta.metadata,
        };
        let old = objects.get(key);
        objects.put(key, object.clone())?;
        old.map_or(Ok(()), |old| std::fs::remove_file(self.file(&old.file)))?;
        Ok(object)
    }

    /// Writes `bytes` as an object.
    pub fn put_bytes(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<Object, StoreError> {
        let mut incoming = self.incoming()?;
        incoming.write(bytes)?;
        self.put(bucket, key, incoming, Meta::default(), None)
    }

    /// An object's record.
    pub fn head(&self, bucket: &str, key: &str) -> Result<Arc<Object>, StoreError> {
        self.objects(bucket)?.get(key).ok_or(StoreError::NoSuchKey)
    }

    /// An object's record and its opened file.
    pub fn open_object(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<(Arc<Object>, std::fs::File), StoreError> {
        let object = self.head(bucket, key)?;
        let file = std::fs::File::open(self.file(&object.file))?;
        Ok((object, file))
    }

    /// An object's bytes.
    pub fn read(&self, bucket: &str, key: &str) -> Result<Vec<u8>, StoreError> {
        let object = self.head(bucket, key)?;
        Ok(std::fs::read(self.file(&object.file))?)
    }

    /// Deletes an object; one that is not there counts as deleted, as in AWS.
    pub fn remove(&self, bucket: &str, key: &str) -> Result<(), StoreError> {
        if let Some(object) = self.objects(bucket)?.remove(key)? {
            std::fs::remove_file(self.file(&object.file))?;
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join("files").join(name)
    }
}
