//! Objects are written, found, opened and deleted.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::shelf::{Shelf, Versioning};
use super::versions::Which;
use super::{Always, Buckets, Condition, Meta, NewObject, Object, Received, StoreError, Verified};
use crate::services::s3::checksums::Algorithm;
use crate::services::s3::messages::{Cause, Change};

/// How often a reader looks again when the object that it is about to open is being replaced.
const OPENINGS: usize = 20;

/// What a deletion did.
#[derive(Debug, Default)]
pub struct Deleted {
    /// The version that was deleted, or the marker that was made.
    pub version: Option<String>,
    /// Whether a marker was deleted or made.
    pub marker: bool,
}

impl Buckets {
    /// Begins to receive bytes, hashed with `algorithm` beside MD5.
    pub fn incoming(&self, algorithm: Algorithm) -> Result<super::Incoming, StoreError> {
        Ok(self.files.begin(algorithm)?)
    }

    /// Writes an object when `condition` holds for the one that is there. Blocks.
    pub fn put(
        &self,
        bucket: &str,
        key: &str,
        new: NewObject,
        condition: &dyn Condition,
        cause: &Cause,
    ) -> Result<Object, StoreError> {
        let (mut object, received) = self.record_of(new);
        let kept = self.files.keep(received)?;
        object.file = kept.name().to_owned();
        // Held until the record is there, so that the bucket cannot be deleted meanwhile.
        let shelves = self.shelves();
        let shelf = shelves.get(bucket).ok_or(StoreError::NoSuchBucket)?;
        let (old, about) = self.store.together(key, |writes| {
            let current = shelf.objects.get_in(writes, key)?;
            condition.judge(current.as_deref())?;
            let about = shelf.about();
            object.modified = self.clock.now();
            let old = shelf.displace(writes, key, current, &mut object)?;
            shelf.objects.put_in(writes, key, &object)?;
            self.tell(writes, bucket, &about, &Change::written(key, &object), cause)?;
            Ok::<_, StoreError>((old, about))
        })?;
        kept.named();
        drop(shelves);
        self.wake(&about);
        if let Some(old) = old {
            self.forget(&old);
        }
        Ok(object)
    }

    fn record_of(&self, new: NewObject) -> (Object, Received) {
        let NewObject { received, meta, etag, checksum, upload } = new;
        let md5 = hex::encode(received.md5);
        let object = Object {
            size: received.size,
            etag: etag.unwrap_or_else(|| md5.clone()),
            meta,
            md5: Some(md5),
            checksum: Some(checksum.unwrap_or_else(|| received.checksum.clone())),
            upload,
            chunks: received.chunks.clone(),
            marker: false,
            ..Object::marker(self.clock.now())
        };
        (object, received)
    }

    /// Writes `bytes` as an object.
    pub fn put_bytes(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<Object, StoreError> {
        let mut incoming = self.incoming(Algorithm::Crc64Nvme)?;
        incoming.write(bytes)?;
        let new = NewObject::whole(incoming.finish(), Meta::default());
        self.put(bucket, key, new, &Always, &Cause::of_a_service("PutObject"))
    }

    /// Replaces an object's tags; the object.
    pub fn set_tags(
        &self,
        bucket: &str,
        key: &str,
        which: &Which,
        tags: BTreeMap<String, String>,
        cause: &Cause,
    ) -> Result<Arc<Object>, StoreError> {
        let shelves = self.shelves();
        let shelf = shelves.get(bucket).ok_or(StoreError::NoSuchBucket)?;
        let found = shelf.find(&self.store, key, which)?;
        let (object, about) = self.store.together(key, |writes| {
            let about = shelf.about();
            // Looked for again, where nobody else writes.
            let changed = shelf.change(writes, key, found.version(), |o| o.meta.tags = tags)?;
            let object = changed.ok_or(StoreError::NoSuchKey)?;
            self.tell(writes, bucket, &about, &Change::tagged(key, &object), cause)?;
            Ok::<_, StoreError>((object, about))
        })?;
        drop(shelves);
        self.wake(&about);
        Ok(Arc::new(object))
    }

    /// The record of an object's current version.
    pub fn head(&self, bucket: &str, key: &str) -> Result<Arc<Object>, StoreError> {
        self.objects(bucket)?.get(key).ok_or(StoreError::NoSuchKey)
    }

    /// The record of a version.
    pub fn find(&self, bucket: &str, key: &str, which: &Which) -> Result<Arc<Object>, StoreError> {
        self.shelf(bucket)?.find(&self.store, key, which)
    }

    /// An object's record and its opened file, whose length is right and which is not known to be
    /// damaged.
    pub fn open_object(
        &self,
        bucket: &str,
        key: &str,
    ) -> Result<(Arc<Object>, std::fs::File), StoreError> {
        self.open_version(bucket, key, &Which::Current)
    }

    /// The same of a version.
    pub fn open_version(
        &self,
        bucket: &str,
        key: &str,
        which: &Which,
    ) -> Result<(Arc<Object>, std::fs::File), StoreError> {
        let mut object = self.find(bucket, key, which)?;
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
                    let now = self.find(bucket, key, which)?;
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

    /// Deletes an object, or makes a delete marker, as a service of this cloud. Blocks.
    pub fn remove_now(&self, bucket: &str, key: &str) -> Result<(), StoreError> {
        self.remove(bucket, key, &Which::Current, &Always, &Cause::lifecycle()).map(drop)
    }

    /// Deletes a version, or, where versions are kept and none is named, makes a delete marker,
    /// when `condition` holds for what is there. What is not there counts as deleted, as in AWS.
    /// Blocks.
    pub fn remove(
        &self,
        bucket: &str,
        key: &str,
        which: &Which,
        condition: &dyn Condition,
        cause: &Cause,
    ) -> Result<Deleted, StoreError> {
        let shelves = self.shelves();
        let shelf = shelves.get(bucket).ok_or(StoreError::NoSuchBucket)?;
        let about = shelf.about();
        let (gone, deleted) = self.store.together(key, |writes| {
            let marks = *which == Which::Current && shelf.about().versioning != Versioning::Never;
            if marks {
                return self.mark(writes, (bucket, shelf), key, condition, cause);
            }
            let gone = shelf.take(writes, key, which, |object| condition.judge(object))?;
            let Some(version) = &gone else { return Ok((None, Deleted::default())) };
            self.tell(writes, bucket, &shelf.about(), &Change::removed(key, version), cause)?;
            let named = *which != Which::Current;
            let deleted =
                Deleted { version: named.then(|| version.version_id()), marker: version.marker };
            Ok((gone, deleted))
        })?;
        drop(shelves);
        self.wake(&about);
        if let Some(gone) = gone {
            self.forget(&gone);
        }
        Ok(deleted)
    }

    /// Makes a delete marker; what it took the place of.
    fn mark(
        &self,
        writes: &crate::kernel::store::Together<'_>,
        (bucket, shelf): (&str, &Arc<Shelf>),
        key: &str,
        condition: &dyn Condition,
        cause: &Cause,
    ) -> Result<(Option<Arc<Object>>, Deleted), StoreError> {
        let current = shelf.objects.get_in(writes, key)?;
        condition.judge(current.as_deref())?;
        let mut marker = Object::marker(self.clock.now());
        let gone = shelf.displace(writes, key, current, &mut marker)?;
        shelf.objects.remove_in(writes, key)?;
        let deleted = Deleted { version: Some(marker.version_id()), marker: true };
        self.tell(writes, bucket, &shelf.about(), &Change::marked(key, &marker), cause)?;
        shelf.lay_aside(writes, key, Arc::new(marker))?;
        Ok((gone, deleted))
    }

    /// Removes the file of a version that is no more.
    fn forget(&self, object: &Object) {
        if !object.marker {
            self.files.remove(&object.file);
            self.damaged.forget(&object.file);
        }
    }
}
