//! Buckets and objects on disk. An object is a file with a name of its own and a record that names
//! it, so readers see the old object or the new one.
//!
//! Bytes are durable before the record that names them, the record before the answer; old bytes go
//! last. What a crash leaves in between are files without a record, which the next start collects.

mod chunks;
mod files;
mod records;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

pub use chunks::{Verified, VerifiedBytes};
pub use files::{Incoming, Received};
pub use records::{Bucket, FinishedPart, FinishedUpload, Meta, Object, Part, Upload};

use self::chunks::Damaged;
use self::files::Files;
use super::checksums::{Algorithm, Checksum};
use super::names;
use crate::kernel::cloud::Opening;
use crate::kernel::store::{NotStored, Store, Table};

/// How often a reader looks again when the object that it is about to open is being replaced.
const OPENINGS: usize = 20;

/// Kinds of records.
const BUCKETS: &str = "buckets";
const OBJECTS: &str = "objects";
const UPLOADS: &str = "uploads";
const PARTS: &str = "parts";

/// The objects of a bucket, whose names cannot contain the slash.
fn objects_of(store: &Arc<Store>, bucket: &str) -> Arc<Table<Object>> {
    Arc::new(Table::scoped(store, OBJECTS, &format!("{bucket}/")))
}

/// The files that records name; `None` when nobody knows, because records were set aside.
fn named_files(store: &Store) -> Result<Option<BTreeSet<String>>> {
    let mut named = BTreeSet::new();
    for kind in [OBJECTS, PARTS] {
        match store.verified_texts(kind, "file")? {
            Some(files) if !store.has_damaged(kind)? => named.extend(files),
            _ => return Ok(None),
        }
    }
    Ok(Some(named))
}

/// Why the store refused.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No such bucket.
    #[error("The specified bucket does not exist")]
    NoSuchBucket,
    /// No such object.
    #[error("The specified key does not exist.")]
    NoSuchKey,
    /// No such multipart upload.
    #[error(
        "The specified upload does not exist. The upload ID may be invalid, or the upload may \
         have been aborted or completed."
    )]
    NoSuchUpload,
    /// Not a bucket name; names become folders.
    #[error("The specified bucket is not valid.")]
    InvalidName,
    /// The bucket is there already.
    #[error("Your previous request to create the named bucket succeeded and you already own it.")]
    BucketExists,
    /// The bucket belongs to another account.
    #[error(
        "The requested bucket name is not available. The bucket namespace is shared by all users \
         of the system. Please select a different name and try again."
    )]
    BucketTaken,
    /// The bucket has objects.
    #[error("The bucket you tried to delete is not empty")]
    NotEmpty,
    /// The object is not as the writer expects it.
    #[error("At least one of the pre-conditions you specified did not hold")]
    ConditionFailed,
    /// The bytes on the disk are not those that were written.
    #[error("the object's bytes are damaged: {0}")]
    Damaged(String),
    /// The disk refused a record.
    #[error(transparent)]
    NotStored(#[from] NotStored),
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Io(#[from] std::io::Error),
}

/// What a writer expects of the object that is there; judged when the object is written.
pub trait Condition: Send + 'static {
    /// An error when the object is not as expected.
    fn judge(&self, existing: Option<&Object>) -> Result<(), StoreError>;
}

/// No expectation.
pub struct Always;

impl Condition for Always {
    fn judge(&self, _: Option<&Object>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// An object about to be written.
pub struct NewObject {
    /// Its bytes.
    pub received: Received,
    /// What the client said about it.
    pub meta: Meta,
    /// ETag of a multipart upload, which is not the MD5 of the bytes.
    pub etag: Option<String>,
    /// Checksum that is not the one of the bytes: of composite uploads.
    pub checksum: Option<Checksum>,
    /// The multipart upload that it came by.
    pub upload: Option<FinishedUpload>,
}

impl NewObject {
    /// An object that came in one piece.
    pub fn whole(received: Received, meta: Meta) -> Self {
        Self { received, meta, etag: None, checksum: None, upload: None }
    }
}

/// A bucket of another account, as `foreign_buckets.json` in the state folder has it.
#[derive(Debug, Deserialize)]
struct Foreign {
    owner: String,
    #[serde(default)]
    policy: Option<Value>,
}

/// All buckets.
#[derive(Debug)]
pub struct Buckets {
    store: Arc<Store>,
    files: Files,
    buckets: Table<Bucket>,
    objects: RwLock<BTreeMap<String, Arc<Table<Object>>>>,
    uploads: Table<Upload>,
    parts: Table<Part>,
    damaged: Damaged,
    /// Held for reading while a part is recorded, for writing while an upload ends.
    ending: RwLock<()>,
    /// Uploads that are being put together.
    completing: Mutex<BTreeSet<String>>,
}

impl Buckets {
    /// Opens the buckets of the cloud.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        let state_dir = &opening.config.state_dir;
        let dir = state_dir.join("s3");
        let buckets: Table<Bucket> = opening.table(BUCKETS);
        let objects = |name: String| (name.clone(), objects_of(opening.store, &name));
        let opened = Self {
            files: Files::open(&dir).with_context(|| format!("cannot use {}", dir.display()))?,
            store: opening.store.clone(),
            objects: RwLock::new(buckets.names("").into_iter().map(objects).collect()),
            buckets,
            uploads: opening.table(UPLOADS),
            parts: opening.table(PARTS),
            damaged: Damaged::default(),
            ending: RwLock::default(),
            completing: Mutex::default(),
        };
        opened.add_foreign(&state_dir.join("foreign_buckets.json"))?;
        opened.collect()?;
        Ok(opened)
    }

    /// Makes the buckets that tests want to belong to somebody else.
    fn add_foreign(&self, file: &Path) -> Result<()> {
        let Ok(text) = std::fs::read(file) else { return Ok(()) };
        let wanted: BTreeMap<String, Foreign> = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what it should be", file.display()))?;
        for (name, Foreign { owner, policy }) in wanted {
            if !self.buckets.contains(&name) {
                self.make(&name, Value::Null)?;
            }
            let own = |b: &mut Bucket| (b.owner, b.policy) = (Some(owner), policy);
            self.configure(&name, own)?;
        }
        Ok(())
    }

    /// Removes what a crash can leave: parts of ended uploads, and, while the cloud works already,
    /// files that no record names.
    fn collect(&self) -> Result<()> {
        for (name, _) in self.parts.all() {
            let upload = name.split('/').next().unwrap_or_default();
            if !self.uploads.contains(upload) {
                self.parts.remove(&name)?;
            }
        }
        let old = self.files.all_there_is()?;
        let (store, files) = (self.store.clone(), self.files.clone());
        std::thread::spawn(move || {
            let collected = named_files(&store).map(|named| named.map(|n| files.collect(old, &n)));
            match collected {
                Ok(Some(())) => {}
                Ok(None) => tracing::warn!(
                    "records are damaged, so files without a record are kept: they may belong to \
                     them"
                ),
                Err(error) => tracing::error!("files of nobody are not collected: {error:#}"),
            }
        });
        Ok(())
    }

    /// Makes a bucket.
    pub fn create(&self, name: &str, tags: Value) -> Result<(), StoreError> {
        if !names::is_bucket_name(name) {
            return Err(StoreError::InvalidName);
        }
        self.make(name, tags)
    }

    fn make(&self, name: &str, tags: Value) -> Result<(), StoreError> {
        let mut objects = self.tables_mut();
        if let Some(bucket) = self.buckets.get(name) {
            let owned = bucket.owner.is_none();
            return Err(if owned { StoreError::BucketExists } else { StoreError::BucketTaken });
        }
        let bucket = Bucket {
            created: Timestamp::now(),
            tags,
            policy: None,
            settings: BTreeMap::new(),
            owner: None,
        };
        self.buckets.put(name, bucket)?;
        objects.insert(name.to_owned(), objects_of(&self.store, name));
        Ok(())
    }

    /// Deletes an empty bucket, and the uploads to it that nobody finished.
    pub fn delete(&self, name: &str) -> Result<(), StoreError> {
        let mut objects = self.tables_mut();
        let table = objects.get(name).ok_or(StoreError::NoSuchBucket)?;
        if !table.is_empty() {
            return Err(StoreError::NotEmpty);
        }
        self.buckets.remove(name)?;
        objects.remove(name);
        drop(objects);
        for (id, upload) in self.uploads.all() {
            if upload.bucket == name {
                self.end_upload(&id)?;
            }
        }
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
        self.tables().get(name).cloned().ok_or(StoreError::NoSuchBucket)
    }

    fn tables(&self) -> parking_lot::RwLockReadGuard<'_, BTreeMap<String, Arc<Table<Object>>>> {
        self.objects.read()
    }

    fn tables_mut(
        &self,
    ) -> parking_lot::RwLockWriteGuard<'_, BTreeMap<String, Arc<Table<Object>>>> {
        self.objects.write()
    }

    /// Begins to receive bytes, hashed with `algorithm` beside MD5.
    pub fn incoming(&self, algorithm: Algorithm) -> Result<Incoming, StoreError> {
        Ok(self.files.begin(algorithm)?)
    }

    /// Writes an object when `condition` holds for the one that is there. Blocks.
    pub fn put(
        &self,
        bucket: &str,
        key: &str,
        new: NewObject,
        condition: &dyn Condition,
    ) -> Result<Object, StoreError> {
        let NewObject { received, meta, etag, checksum, upload } = new;
        let md5 = hex::encode(received.md5);
        let mut object = Object {
            file: String::new(),
            size: received.size,
            etag: etag.unwrap_or_else(|| md5.clone()),
            modified: Timestamp::now(),
            meta,
            md5: Some(md5),
            checksum: Some(checksum.unwrap_or_else(|| received.checksum.clone())),
            upload,
            chunks: received.chunks.clone(),
        };
        let kept = self.files.keep(received)?;
        object.file = kept.name().to_owned();
        // Held until the record is there, so that the bucket cannot be deleted meanwhile.
        let buckets = self.tables();
        let objects = buckets.get(bucket).ok_or(StoreError::NoSuchBucket)?;
        let old = objects.replace(key, |existing| {
            condition.judge(existing)?;
            object.modified = Timestamp::now();
            Ok::<_, StoreError>(object.clone())
        })?;
        kept.named();
        drop(buckets);
        if let Some(old) = old {
            self.forget(&old);
        }
        Ok(object)
    }

    /// Writes `bytes` as an object.
    pub fn put_bytes(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<Object, StoreError> {
        let mut incoming = self.incoming(Algorithm::Crc64Nvme)?;
        incoming.write(bytes)?;
        self.put(bucket, key, NewObject::whole(incoming.finish(), Meta::default()), &Always)
    }

    /// Replaces an object's tags.
    pub fn set_tags(
        &self,
        bucket: &str,
        key: &str,
        tags: BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let changed = self.objects(bucket)?.update(key, |object| object.meta.tags = tags)?;
        changed.ok_or(StoreError::NoSuchKey)
    }

    /// An object's record.
    pub fn head(&self, bucket: &str, key: &str) -> Result<Arc<Object>, StoreError> {
        self.objects(bucket)?.get(key).ok_or(StoreError::NoSuchKey)
    }

    /// An object's record and its opened file, whose length is right and which is not known to be
    /// damaged.
    pub fn open_object(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<(Arc<Object>, std::fs::File), StoreError> {
        let mut object = self.head(bucket, key)?;
        for _ in 0..OPENINGS {
            self.damaged.check(&object.file)?;
            match self.files.open_file(&object.file) {
                Ok(file) => {
                    let length = file.metadata()?.len();
                    if length == object.size {
                        return Ok((object, file));
                    }
                    let (file, size) = (&object.file, object.size);
                    let words = format!("{file} has {length} bytes instead of {size}");
                    return Err(StoreError::Damaged(words));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    // Replaced between the look at the record and the opening?
                    let now = self.head(bucket, key)?;
                    if now.file == object.file {
                        return Err(StoreError::Damaged(format!("{} is missing", now.file)));
                    }
                    object = now;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Io(std::io::ErrorKind::Interrupted.into()))
    }

    /// Reads `range` of an object that was opened. Blocks when the record is an older one.
    pub fn reader(
        &self,
        object: &Object,
        file: std::fs::File,
        range: Range<u64>,
    ) -> Result<Verified, StoreError> {
        Verified::new(object.into(), file, range, self.damaged.clone())
    }

    /// An object's bytes.
    pub fn read(&self, bucket: &str, key: &str) -> Result<Vec<u8>, StoreError> {
        let (object, file) = self.open_object(bucket, key)?;
        self.reader(&object, file, 0..object.size)?.read_all()
    }

    /// Deletes an object; one that is not there counts as deleted, as in AWS.
    pub fn remove(&self, bucket: &str, key: &str) -> Result<(), StoreError> {
        self.remove_if(bucket, key, &Always)
    }

    /// Deletes an object when `condition` holds for it.
    pub fn remove_if(
        &self,
        bucket: &str,
        key: &str,
        condition: &dyn Condition,
    ) -> Result<(), StoreError> {
        let objects = self.objects(bucket)?;
        if let Some(object) = objects.remove_if(key, |existing| condition.judge(existing))? {
            self.forget(&object);
        }
        Ok(())
    }

    /// Removes the file of an object that is no more.
    fn forget(&self, object: &Object) {
        self.files.remove(&object.file);
        self.damaged.forget(&object.file);
    }
}
