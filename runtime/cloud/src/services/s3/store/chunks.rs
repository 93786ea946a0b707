//! Bytes are compared with what was written, chunk by chunk: every chunk has a checksum in the
//! record that names the file, so a range is verified by reading at most two chunks more than it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};
use parking_lot::{Mutex, MutexGuard};
use s3s::checksum::ChecksumHasher;

use super::{Object, Part, StoreError};
use crate::services::s3::checksums::Algorithm;

/// Bytes of a chunk; the last one of a file may be shorter.
pub const CHUNK_BYTES: u64 = 1024 * 1024;
const ALGORITHM: Algorithm = Algorithm::Crc64Nvme;
/// Bytes that are read at once where a file is verified whole.
const READ_BYTES: usize = 256 * 1024;

/// The checksums of chunks, made while a file is written.
pub struct Summing {
    sums: Vec<String>,
    hasher: ChecksumHasher,
    /// Bytes of the chunk that is not full yet.
    filled: u64,
}

impl Default for Summing {
    fn default() -> Self {
        Self { sums: Vec::new(), hasher: ALGORITHM.hasher(), filled: 0 }
    }
}

impl Summing {
    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let free = usize::try_from(CHUNK_BYTES - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(free));
            self.hasher.update(now);
            self.filled += now.len() as u64;
            if self.filled == CHUNK_BYTES {
                self.close();
            }
            bytes = later;
        }
    }

    /// The checksums of all chunks.
    pub fn finish(mut self) -> Vec<String> {
        if self.filled > 0 {
            self.close();
        }
        self.sums
    }

    fn close(&mut self) {
        let full = std::mem::replace(&mut self.hasher, ALGORITHM.hasher());
        self.sums.push(ALGORITHM.finish(full).value);
        self.filled = 0;
    }
}

fn sum(bytes: &[u8]) -> String {
    let mut hasher = ALGORITHM.hasher();
    hasher.update(bytes);
    ALGORITHM.finish(hasher).value
}

/// Files that were found to be damaged: no byte of them is answered any more.
#[derive(Debug, Clone, Default)]
pub struct Damaged(Arc<Mutex<BTreeSet<String>>>);

impl Damaged {
    fn files(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock()
    }

    /// An error when the file is known to be damaged.
    pub fn check(&self, file: &str) -> Result<(), StoreError> {
        if self.files().contains(file) { Err(damaged(file)) } else { Ok(()) }
    }

    /// Forgets a file that is gone.
    pub fn forget(&self, file: &str) {
        self.files().remove(file);
    }

    fn found(&self, file: &str) -> StoreError {
        tracing::error!("the bytes of the file {file} in the folder of S3 are damaged");
        self.files().insert(file.to_owned());
        damaged(file)
    }
}

fn damaged(file: &str) -> StoreError {
    StoreError::Damaged(format!("{file} has other bytes than were written"))
}

/// A file and what is known of its bytes.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its name.
    pub file: String,
    /// Its size.
    pub size: u64,
    /// Checksums of its chunks; older records have none.
    pub chunks: Arc<[String]>,
    /// MD5 of all bytes, when it is known.
    pub md5: Option<String>,
}

impl From<&Object> for Written {
    fn from(object: &Object) -> Self {
        Self {
            file: object.file.clone(),
            size: object.size,
            chunks: object.chunks.clone(),
            md5: object.md5().map(str::to_owned),
        }
    }
}

impl From<&Part> for Written {
    fn from(part: &Part) -> Self {
        Self {
            file: part.file.clone(),
            size: part.size,
            chunks: part.chunks.clone(),
            md5: Some(part.etag.clone()),
        }
    }
}

/// Reads a range of a file; gives only bytes of chunks that are as they were written.
#[derive(Debug)]
pub struct Verified {
    written: Written,
    file: File,
    damaged: Damaged,
    range: Range<u64>,
}

impl Verified {
    /// A reader of `range`. A file whose record has no checksums of chunks is verified whole, now.
    pub fn new(
        written: Written,
        mut file: File,
        range: Range<u64>,
        damaged: Damaged,
    ) -> Result<Self, StoreError> {
        if written.chunks.is_empty()
            && let Some(md5) = &written.md5
            && md5_of(&mut file)? != *md5
        {
            return Err(damaged.found(&written.file));
        }
        Ok(Self { written, file, damaged, range })
    }

    /// The next bytes, at most a chunk.
    fn read_chunk(&mut self) -> Result<Bytes, StoreError> {
        let number = self.range.start / CHUNK_BYTES;
        let begin = number * CHUNK_BYTES;
        let length = CHUNK_BYTES.min(self.written.size.saturating_sub(begin));
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.seek(SeekFrom::Start(begin))?;
        self.file.read_exact(&mut bytes)?;
        let expected = usize::try_from(number).ok().and_then(|n| self.written.chunks.get(n));
        if expected.is_some_and(|expected| sum(&bytes) != *expected) {
            return Err(self.damaged.found(&self.written.file));
        }
        let end = self.range.end.min(begin + length);
        let wanted = (self.range.start - begin) as usize..(end - begin) as usize;
        self.range.start = end;
        Ok(Bytes::from(bytes).slice(wanted))
    }

    /// Bytes that are left.
    pub fn left(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// All bytes that are left.
    pub fn read_all(self) -> Result<Vec<u8>, StoreError> {
        let mut all = Vec::with_capacity(usize::try_from(self.left()).unwrap_or_default());
        for chunk in self {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }
}

impl Iterator for Verified {
    type Item = Result<Bytes, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left() == 0 {
            return None;
        }
        let read = self.read_chunk();
        if read.is_err() {
            self.range.start = self.range.end;
        }
        Some(read)
    }
}

/// The same as a stream of bytes.
#[derive(Debug)]
pub struct VerifiedBytes {
    chunks: Verified,
    pending: Bytes,
}

impl From<Verified> for VerifiedBytes {
    fn from(chunks: Verified) -> Self {
        Self { chunks, pending: Bytes::new() }
    }
}

impl Read for VerifiedBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.pending.is_empty()
            && let Some(chunk) = self.chunks.next()
        {
            self.pending = chunk.map_err(io::Error::other)?;
        }
        let now = self.pending.split_to(buffer.len().min(self.pending.len()));
        buffer[..now.len()].copy_from_slice(&now);
        Ok(now.len())
    }
}

fn md5_of(file: &mut File) -> io::Result<String> {
    let (mut hash, mut buffer) = (Md5::new(), vec![0; READ_BYTES]);
    file.rewind()?;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = CHUNK_BYTES as usize;

    fn written(bytes: &[u8]) -> Written {
        let mut summing = Summing::default();
        bytes.chunks(300_000).for_each(|piece| summing.update(piece));
        Written {
            file: "f".to_owned(),
            size: bytes.len() as u64,
            chunks: summing.finish().into(),
            md5: Some(hex::encode(Md5::digest(bytes))),
        }
    }

    #[test]
    fn ranges_are_read_and_damage_is_found_where_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..3 * MIB + 10).map(|n| (n % 251) as u8).collect();
        let whole = written(&bytes);
        assert_eq!(whole.chunks.len(), 4);
        let read = |written: &Written, range: Range<usize>, damaged: &Damaged| {
            let file = File::open(&path).expect("there");
            let range = range.start as u64..range.end as u64;
            Verified::new(written.clone(), file, range, damaged.clone())?.read_all()
        };
        std::fs::write(&path, &bytes).expect("written");
        for range in [0..bytes.len(), 0..1, 5..5, MIB - 1..MIB + 1, 3 * MIB..3 * MIB + 10] {
            let got = read(&whole, range.clone(), &Damaged::default()).expect("as written");
            assert_eq!(got, bytes[range]);
        }
        let mut changed = bytes.clone();
        changed[2 * MIB + 7] ^= 1;
        std::fs::write(&path, &changed).expect("written");
        let damaged = Damaged::default();
        assert!(read(&whole, 0..2 * MIB, &damaged).is_ok() && damaged.check("f").is_ok());
        read(&whole, 3 * MIB - 1..3 * MIB, &damaged).expect_err("a damaged chunk");
        damaged.check("f").expect_err("known from now on");
        // Without checksums of chunks every range is verified by the whole.
        let older = Written { chunks: Arc::default(), ..whole };
        read(&older, 0..1, &Damaged::default()).expect_err("a damaged file");
    }
}
