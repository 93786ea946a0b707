//! The beginning of a text, from which the rest is estimated.

use std::io::Read;

use anyhow::{Context, Result};

use crate::objects::Bytes;

/// Bytes that are read at a time.
const SAMPLE_BYTES: usize = 1024 * 1024;
/// Bytes that are read at most.
const SAMPLE_BYTES_MAX: usize = 10 * SAMPLE_BYTES;
/// The mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The beginning of a text.
pub struct Sample {
    rest: Bytes,
    bytes: Vec<u8>,
    /// Whether that is all of it.
    pub is_all: bool,
    /// How much of it the records have that were counted.
    pub counted_bytes: usize,
}

impl Sample {
    /// Of a text from its beginning.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, bytes: vec![], is_all: false, counted_bytes: 0 }
    }

    /// Reads a megabyte more.
    pub fn grow(&mut self) -> Result<()> {
        let mut more = self.rest.by_ref().take(SAMPLE_BYTES as u64);
        let read = more.read_to_end(&mut self.bytes).context("the file cannot be read")?;
        self.is_all = read < SAMPLE_BYTES;
        Ok(())
    }

    /// Whether no more may be read.
    pub fn is_enough(&self) -> bool {
        self.is_all || self.bytes.len() >= SAMPLE_BYTES_MAX
    }

    /// The text without the mark of its encoding.
    pub fn text(&self) -> &[u8] {
        self.bytes.strip_prefix(MARK).unwrap_or(&self.bytes)
    }

    /// Records of a file of this size, when so many were counted. How much is in a compressed file
    /// is not known, so that these are the least.
    pub fn estimated(&self, counted: u64, size: u64, gzip: bool) -> u64 {
        let bytes = self.counted_bytes as u64;
        if bytes == 0 || gzip || self.is_all && bytes as usize >= self.text().len() {
            return counted;
        }
        let records = u128::from(counted) * u128::from(size) / u128::from(bytes);
        u64::try_from(records).unwrap_or(u64::MAX).max(counted)
    }
}
