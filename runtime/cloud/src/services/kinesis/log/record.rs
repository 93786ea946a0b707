//! A record in the log of a shard: its bytes, and how they are read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Length and checksum.
const FRAME_BYTES: u64 = 8;
/// Arrival and the length of the partition key.
const HEAD_BYTES: usize = 10;
/// Longest body of a record; what claims more is none.
const BODY_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Bytes that are read at once when records are looked for.
const READ_BYTES: usize = 256 * 1024;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it came, in milliseconds since 1970.
    pub arrived: i64,
    /// Its partition key.
    pub key: String,
    /// Its data.
    pub data: Vec<u8>,
}

impl Record {
    /// Its bytes in the log.
    pub(super) fn framed(&self, arrived: i64) -> Vec<u8> {
        let length = HEAD_BYTES + self.key.len() + self.data.len();
        let mut out = Vec::with_capacity(FRAME_BYTES as usize + length);
        out.extend_from_slice(&(length as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&arrived.to_le_bytes());
        out.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(&self.data);
        let sum = crc32fast::hash(&out[FRAME_BYTES as usize..]);
        out[4..8].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let arrived = i64::from_le_bytes(body.get(..8)?.try_into().ok()?);
        let length = usize::from(u16::from_le_bytes(body.get(8..HEAD_BYTES)?.try_into().ok()?));
        let key = body.get(HEAD_BYTES..HEAD_BYTES + length)?;
        let data = body.get(HEAD_BYTES + length..)?.to_vec();
        Some(Self { arrived, key: String::from_utf8(key.to_vec()).ok()?, data })
    }
}

/// A record with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its position.
    pub at: u64,
    /// The position after it.
    pub next: u64,
    /// The record.
    pub record: Record,
}

/// Reads records one after the other.
pub(super) struct Reader {
    file: File,
    begin: u64,
    /// Where the readable part ends.
    pub end: u64,
    /// Where the next record begins.
    pub at: u64,
    buffer: Vec<u8>,
    /// The position of the buffer's first byte.
    held: u64,
}

impl Reader {
    /// Of the segment that begins at `begin`, from `at` on.
    pub fn new(file: File, (begin, end): (u64, u64), at: u64) -> Self {
        Self { file, begin, end, at, buffer: vec![], held: at }
    }

    /// The next record; the error is a position at which none begins.
    pub fn next(&mut self) -> io::Result<Placed> {
        let no_record =
            || io::Error::new(io::ErrorKind::InvalidData, "no record begins at this position");
        let frame = self.bytes(self.at, FRAME_BYTES as usize)?.ok_or_else(no_record)?;
        let length = u32::from_le_bytes(frame[..4].try_into().map_err(|_| no_record())?);
        let sum = u32::from_le_bytes(frame[4..8].try_into().map_err(|_| no_record())?);
        if length > BODY_BYTES_MAX {
            return Err(no_record());
        }
        let at = self.at;
        let body = self.bytes(at + FRAME_BYTES, length as usize)?.ok_or_else(no_record)?;
        if crc32fast::hash(body) != sum {
            return Err(no_record());
        }
        let record = Record::parse(body).ok_or_else(no_record)?;
        self.at = at + FRAME_BYTES + u64::from(length);
        Ok(Placed { at, next: self.at, record })
    }

    /// Bytes of the segment, when it has them.
    fn bytes(&mut self, from: u64, count: usize) -> io::Result<Option<&[u8]>> {
        if from + count as u64 > self.end {
            return Ok(None);
        }
        let held_to = self.held + self.buffer.len() as u64;
        if from < self.held || from + count as u64 > held_to {
            let wanted = count.max(READ_BYTES).min((self.end - from) as usize);
            self.buffer.resize(wanted, 0);
            self.file.read_exact_at(&mut self.buffer, from - self.begin)?;
            self.held = from;
        }
        let start = (from - self.held) as usize;
        Ok(Some(&self.buffer[start..start + count]))
    }
}
