//! Multipart uploads: they survive the process, as their parts do.

use std::sync::Arc;

use super::{Buckets, Part, Received, StoreError, Upload, Verified};
use crate::services::s3::checksums::Checksum;

/// `id/00001`: parts of an upload lie together, in the order of their numbers.
fn part_name(id: &str, number: i32) -> String {
    format!("{id}/{number:05}")
}

impl Buckets {
    /// Begins an upload; returns its ID.
    pub fn begin_upload(&self, upload: Upload) -> Result<String, StoreError> {
        let buckets = self.shelves();
        if !buckets.contains_key(&upload.bucket) {
            return Err(StoreError::NoSuchBucket);
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        self.uploads.put(&id, upload)?;
        Ok(id)
    }

    /// The upload of that ID, which must have been begun for this bucket and key.
    pub fn upload(&self, id: &str, bucket: &str, key: &str) -> Result<Arc<Upload>, StoreError> {
        let upload = self.uploads.get(id).ok_or(StoreError::NoSuchUpload)?;
        let fits = upload.bucket == bucket && upload.key == key;
        if fits { Ok(upload) } else { Err(StoreError::NoSuchUpload) }
    }

    /// All unfinished uploads to a bucket, in the order of their keys, then of their beginning.
    pub fn uploads_to(&self, bucket: &str) -> Vec<(String, Arc<Upload>)> {
        let mut uploads = self.uploads.all();
        uploads.retain(|(_, u)| u.bucket == bucket);
        uploads.sort_by(|(i, a), (j, b)| (&a.key, a.initiated, i).cmp(&(&b.key, b.initiated, j)));
        uploads
    }

    /// Writes a part; one of the same number is replaced. Blocks.
    pub fn put_part(
        &self,
        id: &str,
        number: i32,
        received: Received,
        checksum: Checksum,
    ) -> Result<Part, StoreError> {
        let (size, etag) = (received.size, hex::encode(received.md5));
        let chunks = received.chunks.clone();
        let kept = self.files.keep(received)?;
        let part = Part {
            file: kept.name().to_owned(),
            number,
            size,
            etag,
            checksum,
            modified: self.clock.now(),
            chunks,
        };
        let ending = self.ending.read();
        if !self.uploads.contains(id) {
            return Err(StoreError::NoSuchUpload);
        }
        let old =
            self.parts.replace(&part_name(id, number), |_| Ok::<_, StoreError>(part.clone()))?;
        kept.named();
        drop(ending);
        if let Some(old) = old {
            self.files.remove(&old.file);
        }
        Ok(part)
    }

    /// The parts of an upload in the order of their numbers.
    pub fn parts(&self, id: &str) -> Vec<Arc<Part>> {
        self.parts.range(&format!("{id}/"), None).into_iter().map(|(_, part)| part).collect()
    }

    /// Reads a part.
    pub fn read_part(&self, part: &Part) -> Result<Verified, StoreError> {
        let file = self.files.open_file(&part.file)?;
        Verified::new(part.into(), file, 0..part.size, self.damaged.clone())
    }

    /// Ends an upload: it was put together, or nobody wants it any more. Its parts go last.
    pub fn end_upload(&self, id: &str) -> Result<(), StoreError> {
        let _ending = self.ending.write();
        self.uploads.remove(id)?.ok_or(StoreError::NoSuchUpload)?;
        for part in self.parts(id) {
            // What stays is collected at the next start, because its upload is gone.
            match self.parts.remove(&part_name(id, part.number)) {
                Ok(_) => self.files.remove(&part.file),
                Err(error) => tracing::warn!("a part of an ended upload stays: {error}"),
            }
        }
        Ok(())
    }

    /// Claims an upload for one completion at a time; `None` while another one has it.
    pub fn claim_completion(&self, id: &str) -> Option<Completing<'_>> {
        let new = self.completing().insert(id.to_owned());
        new.then(|| Completing { buckets: self, id: id.to_owned() })
    }

    fn completing(&self) -> parking_lot::MutexGuard<'_, std::collections::BTreeSet<String>> {
        self.completing.lock()
    }
}

/// The claim to an upload's completion.
pub struct Completing<'a> {
    buckets: &'a Buckets,
    id: String,
}

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        self.buckets.completing().remove(&self.id);
    }
}
