//! A file without a name, for formats that are read from their end.

use std::fs::File;
use std::io::{self, BufReader, Read, copy};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::parquet;
use datafusion::parquet::file::reader::{ChunkReader, Length};
use tokio_util::bytes::Bytes;

/// A file that many readers read at once, each from its own place.
#[derive(Debug, Clone)]
pub struct Spool {
    file: Arc<File>,
    len: u64,
}

impl Spool {
    /// Takes all of a stream.
    pub fn new(mut bytes: super::Bytes) -> Result<Self> {
        let mut file = tempfile::tempfile().context("there is no place for a temporary file")?;
        let len = copy(&mut bytes, &mut file).context("the file cannot be read")?;
        Ok(Self { file: Arc::new(file), len })
    }

    fn from(&self, start: u64) -> BufReader<Part> {
        BufReader::new(Part { file: self.file.clone(), at: start })
    }

    /// Bytes that stand before the last `after` ones.
    pub fn before_end(&self, after: u64, length: u64) -> io::Result<Bytes> {
        let start = after.checked_add(length).and_then(|from_end| self.len.checked_sub(from_end));
        self.part(start.ok_or(io::ErrorKind::UnexpectedEof)?, length)
    }

    /// Bytes that are there: a damaged file must not make room for what it has not.
    fn part(&self, start: u64, length: u64) -> io::Result<Bytes> {
        let end = start.checked_add(length).filter(|end| *end <= self.len);
        if end.is_none() {
            let told = format!("{length} bytes from byte {start} of {}", self.len);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, told));
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// The file from a place on.
#[derive(Debug)]
pub struct Part {
    file: Arc<File>,
    at: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Length for Spool {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Spool {
    type T = BufReader<Part>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.from(start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        Ok(self.part(start, length as u64)?)
    }
}

impl orc_rust::reader::ChunkReader for Spool {
    type T = BufReader<Part>;

    fn len(&self) -> u64 {
        self.len
    }

    fn get_read(&self, start: u64) -> io::Result<Self::T> {
        Ok(self.from(start))
    }

    fn get_bytes(&self, start: u64, length: u64) -> io::Result<Bytes> {
        self.part(start, length)
    }
}
