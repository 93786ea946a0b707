//! Buckets and objects on disk. A version of an object is a file with a name of its own and a record
//! that names it, so readers see the old object or the new one. [`versions`] says where records are.
//!
//! Bytes are durable before the record that names them, the record before the answer; old bytes go
//! last. What a crash leaves in between are files without a record, which the next start collects.

mod chunks;
mod files;
mod objects;
mod outbox;
mod records;
mod shelf;
mod uploads;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
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
pub use objects::Deleted;
pub use outbox::{Notice, To};
pub use records::{Bucket, FinishedPart, FinishedUpload, Meta, Object, Part, Upload};
pub use shelf::{About, Place, Versioning};
pub use versions::{Which, sequence_of};

use self::chunks::Damaged;
use self::files::Files;
use self::shelf::{OBJECTS, Shelf, VERSIONS};
use super::checksums::Checksum;
use super::names;
use crate::kernel::clock::Clock;
use crate::kernel::cloud::Opening;
use crate::kernel::store::{NotStored, Store, Table};

/// Kinds of records.
const BUCKETS: &str = "buckets";
const UPLOADS: &str = "uploads";
const PARTS: &str = "parts";
const SWEEPS: &str = "s3_sweeps";

/// The files that records name; `None` when nobody knows, because records were set aside.
fn named_files(store: &Store) -> Result<Option<BTreeSet<String>>> {
    let kinds = [OBJECTS, VERSIONS, PARTS];
    let Some(named) = store.verified_texts(&kinds, "file")? else { return Ok(None) };
    for kind in kinds {
        if store.has_damaged(kind)? {
            return Ok(None);
        }
    }
    Ok(Some(named.into_iter().collect()))
}

/// Removes the files that no record names. Files are listed before the records: what is kept
/// meanwhile is not in the list.
fn collect_files(store: &Store, files: &Files) -> Result<()> {
    let settled = files.settled()?;
    match named_files(store)? {
        Some(named) => {
            settled.iter().filter(|name| !named.contains(*name)).for_each(|n| files.remove(n));
        }
        None => tracing::warn!(
            "records are damaged, so files without a record are kept: they may belong to them"
        ),
    }
    Ok(())
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
    /// No such version.
    #[error("The specified version does not exist.")]
    NoSuchVersion,
    /// What is there is a delete marker.
    #[error("The specified key does not exist.")]
    Marker(Arc<Object>),
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
    /// The bucket has versions or delete markers.
    #[error(
        "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
    )]
    HasVersions,
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
    /// By which objects are dated and expire.
    pub clock: Clock,
    /// Woken when there are notices to deliver.
    pub told: tokio::sync::Notify,
    account: String,
    region: String,
    store: Arc<Store>,
    files: Files,
    buckets: Table<Bucket>,
    shelves: RwLock<BTreeMap<String, Arc<Shelf>>>,
    uploads: Table<Upload>,
    parts: Table<Part>,
    notices: Table<Notice>,
    /// When lifecycle rules were executed last.
    sweeps: Table<Timestamp>,
    damaged: Damaged,
    /// Held while settings are changed.
    configuring: Mutex<()>,
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
        let shelf = |(name, bucket): (String, Arc<Bucket>)| {
            let shelf = Shelf::new(opening.store, &name, bucket);
            (name, Arc::new(shelf))
        };
        let opened = Self {
            clock: opening.clock.clone(),
            told: tokio::sync::Notify::new(),
            account: opening.config.account.clone(),
            region: opening.config.region.clone(),
            files: Files::open(&dir).with_context(|| format!("cannot use {}", dir.display()))?,
            store: opening.store.clone(),
            shelves: RwLock::new(buckets.all().into_iter().map(shelf).collect()),
            buckets,
            uploads: opening.table(UPLOADS),
            parts: opening.table(PARTS),
            notices: opening.table(outbox::NOTICES),
            sweeps: opening.table(SWEEPS),
            damaged: Damaged::default(),
            configuring: Mutex::default(),
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
            if self.shelf(&name).is_err() {
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
        if let Some(uploads) = self.uploads.complete() {
            let uploads: BTreeSet<String> = uploads.into_iter().map(|(id, _)| id).collect();
            for name in self.parts.names("") {
                let upload = name.split('/').next().unwrap_or_default();
                if !uploads.contains(upload) {
                    self.parts.remove(&name)?;
                }
            }
        }
        let (store, files) = (self.store.clone(), self.files.clone());
        std::thread::spawn(move || {
            if let Err(error) = collect_files(&store, &files) {
                tracing::error!("files of nobody are not collected: {error:#}");
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
        let mut shelves = self.shelves.write();
        if let Some(shelf) = shelves.get(name) {
            let owned = shelf.about().bucket.owner.is_none();
            return Err(if owned { StoreError::BucketExists } else { StoreError::BucketTaken });
        }
        let bucket = Bucket {
            created: self.clock.now(),
            tags,
            policy: None,
            settings: BTreeMap::new(),
            owner: None,
        };
        self.buckets.put(name, bucket.clone())?;
        let shelf = Shelf::new(&self.store, name, Arc::new(bucket));
        shelves.insert(name.to_owned(), Arc::new(shelf));
        Ok(())
    }

    /// Deletes an empty bucket, and the uploads to it that nobody finished.
    pub fn delete(&self, name: &str) -> Result<(), StoreError> {
        let mut shelves = self.shelves.write();
        let shelf = shelves.get(name).ok_or(StoreError::NoSuchBucket)?;
        let versioned = shelf.about().versioning != Versioning::Never;
        let empty = shelf.objects.is_empty() && (!versioned || shelf.versions.is_empty());
        match (empty, versioned) {
            (false, true) => return Err(StoreError::HasVersions),
            (false, false) => return Err(StoreError::NotEmpty),
            (true, _) => {}
        }
        self.buckets.remove(name)?;
        shelves.remove(name);
        drop(shelves);
        for (id, upload) in self.uploads.all() {
            if upload.bucket == name {
                self.end_upload(&id)?;
            }
        }
        Ok(())
    }

    /// All buckets with their settings.
    pub fn all(&self) -> Vec<(String, Arc<Bucket>)> {
        let shelves = self.shelves();
        shelves.iter().map(|(name, shelf)| (name.clone(), shelf.about().bucket.clone())).collect()
    }

    /// One bucket's settings.
    pub fn get(&self, name: &str) -> Result<Arc<Bucket>, StoreError> {
        Ok(self.about(name)?.bucket.clone())
    }

    /// What is known of a bucket.
    pub fn about(&self, name: &str) -> Result<Arc<About>, StoreError> {
        Ok(self.shelves().get(name).ok_or(StoreError::NoSuchBucket)?.about())
    }

    /// Changes a bucket's settings.
    pub fn configure(
        &self,
        name: &str,
        change: impl FnOnce(&mut Bucket),
    ) -> Result<(), StoreError> {
        let _configuring = self.configuring.lock();
        let shelf = self.shelf(name)?;
        let changed = self.buckets.update(name, |bucket| {
            change(bucket);
            bucket.clone()
        })?;
        shelf.learn(name, changed.ok_or(StoreError::NoSuchBucket)?);
        Ok(())
    }

    /// A bucket's policy.
    pub fn policy(&self, name: &str) -> Option<Value> {
        self.get(name).ok()?.policy.clone()
    }

    /// The objects of a bucket: their current versions.
    pub fn objects(&self, name: &str) -> Result<Arc<Table<Object>>, StoreError> {
        Ok(self.shelf(name)?.objects.clone())
    }

    /// Shows the versions of a bucket whose keys begin with `prefix`, by key and the newest first,
    /// from behind `from` on, with whether they are the latest of their key.
    pub fn scan_versions(
        &self,
        name: &str,
        prefix: &str,
        from: Option<&Place>,
        each: impl FnMut(&str, Arc<Object>, bool) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        Ok(self.shelf(name)?.scan(&self.store, prefix, from, each)?)
    }

    /// When lifecycle rules were executed last.
    pub fn last_sweep(&self) -> Option<Timestamp> {
        self.sweeps.get(SWEEPS).map(|time| *time)
    }

    /// Lifecycle rules have been executed.
    pub fn swept(&self, time: Timestamp) -> Result<(), StoreError> {
        Ok(self.sweeps.put(SWEEPS, time)?)
    }

    fn shelf(&self, name: &str) -> Result<Arc<Shelf>, StoreError> {
        self.shelves().get(name).cloned().ok_or(StoreError::NoSuchBucket)
    }

    fn shelves(&self) -> parking_lot::RwLockReadGuard<'_, BTreeMap<String, Arc<Shelf>>> {
        self.shelves.read()
    }
}
