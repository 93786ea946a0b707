//! The bytes of objects and parts: one file each, with a name of its own, never changed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use md5::{Digest, Md5};
use parking_lot::Mutex;
use s3s::checksum::ChecksumHasher;

use super::StoreError;
use super::chunks::{Summing, Verified};
use crate::kernel::durable::sync_dir;
use crate::services::s3::checksums::{Algorithm, Checksum};

/// The folders of files: those that are being written, and those that records name.
#[derive(Debug, Clone)]
pub struct Files {
    incoming: PathBuf,
    kept: PathBuf,
    /// Kept files that no record names yet.
    unnamed: Arc<Mutex<BTreeSet<String>>>,
}

impl Files {
    /// Makes the folders, and forgets what was being written when the last process ended.
    pub fn open(dir: &Path) -> std::io::Result<Self> {
        let (incoming, kept) = (dir.join("incoming"), dir.join("files"));
        if incoming.exists() {
            std::fs::remove_dir_all(&incoming)?;
        }
        std::fs::create_dir_all(&incoming)?;
        std::fs::create_dir_all(&kept)?;
        Ok(Self { incoming, kept, unnamed: Arc::default() })
    }

    /// Begins a file; its bytes are hashed with MD5 and `algorithm`.
    pub fn begin(&self, algorithm: Algorithm) -> std::io::Result<Incoming> {
        let path = self.incoming.join(uuid::Uuid::new_v4().simple().to_string());
        let file = File::create(&path)?;
        Ok(Incoming {
            file,
            path: Unfinished(path),
            md5: Md5::new(),
            algorithm,
            hasher: algorithm.hasher(),
            size: 0,
            chunks: Summing::default(),
        })
    }

    /// Keeps a file that was received whole. When it returns, the bytes survive a crash of the
    /// machine; until a record names them, dropping [`Kept`] removes them.
    pub fn keep(&self, received: Received) -> std::io::Result<Kept<'_>> {
        received.file.sync_data()?;
        let name = uuid::Uuid::new_v4().simple().to_string();
        self.unnamed.lock().insert(name.clone());
        let kept = Kept { files: self, name, named: false };
        std::fs::rename(&received.path.0, self.path(&kept.name))?;
        sync_dir(&self.kept)?;
        Ok(kept)
    }

    /// Opens a file.
    pub fn open_file(&self, name: &str) -> std::io::Result<File> {
        File::open(self.path(name))
    }

    /// Removes a file that no record names any more. One that stays is collected at the next start.
    pub fn remove(&self, name: &str) {
        if let Err(error) = std::fs::remove_file(self.path(name)) {
            tracing::warn!(
                "the file {name} of a deleted object stays until the next start: {error}"
            );
        }
    }

    /// The files that are there and whose records are not still to be written: one that no record
    /// names afterwards was left by a crash.
    pub fn settled(&self) -> std::io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.kept)?;
        let names = entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<std::io::Result<Vec<String>>>()?;
        let unnamed = self.unnamed.lock();
        names.retain(|name| !unnamed.contains(name));
        Ok(names)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.kept.join(name)
    }
}

/// A path whose file goes away with it, unless it was moved.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Most often it was moved to its place, and there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file that is being written. It becomes [`Received`], or goes away when it is dropped.
pub struct Incoming {
    path: Unfinished,
    file: File,
    md5: Md5,
    algorithm: Algorithm,
    hasher: ChecksumHasher,
    size: u64,
    chunks: Summing,
}

impl Incoming {
    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.md5.update(bytes);
        self.hasher.update(bytes);
        self.chunks.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Adds what is read from another file.
    pub fn copy(&mut self, from: Verified) -> Result<(), StoreError> {
        for chunk in from {
            self.write(&chunk?)?;
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All bytes are there.
    pub fn finish(self) -> Received {
        Received {
            path: self.path,
            file: self.file,
            md5: self.md5.finalize().into(),
            checksum: self.algorithm.finish(self.hasher),
            size: self.size,
            chunks: self.chunks.finish().into(),
        }
    }
}

/// A file whose bytes are all there. It is kept by [`Files::keep`], or goes away.
#[derive(Debug)]
pub struct Received {
    path: Unfinished,
    file: File,
    /// MD5 of the bytes.
    pub md5: [u8; 16],
    /// Checksum of the bytes.
    pub checksum: Checksum,
    /// How many bytes.
    pub size: u64,
    /// Checksums of the chunks.
    pub chunks: Arc<[String]>,
}

/// A file that is kept, but that no record names yet.
pub struct Kept<'a> {
    files: &'a Files,
    name: String,
    named: bool,
}

impl Kept<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A record names it now.
    pub fn named(mut self) {
        self.named = true;
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if !self.named {
            self.files.remove(&self.name);
        }
        self.files.unnamed.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_whose_record_is_still_to_come_is_not_settled() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let files = Files::open(folder.path()).expect("opens");
        let received = || files.begin(Algorithm::Crc64Nvme).expect("begun").finish();
        let kept = files.keep(received()).expect("kept");
        assert!(files.settled().expect("listed").is_empty());
        let name = kept.name().to_owned();
        kept.named();
        assert_eq!(files.settled().expect("listed"), [name]);
        drop(files.keep(received()).expect("kept"));
        assert_eq!(files.settled().expect("listed").len(), 1, "it went with its guard");
    }
}
