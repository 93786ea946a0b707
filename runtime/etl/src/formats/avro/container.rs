//! The container of an Avro file: a header, and blocks of records with a mark after each.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

use anyhow::{Context, Result, bail, ensure};
use steppe_wire::hint::Hinted;

use super::cursor::Cursor;
use crate::formats::{Bytes, exactly};

/// How a file begins.
pub const MAGIC: &[u8; 4] = b"Obj\x01";
/// Bytes of the mark after header and blocks.
pub const SYNC_BYTES: usize = 16;
/// Bytes of a header.
const HEADER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a block, as it is in the file and without its compression.
const BLOCK_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of the checksum after a block of Snappy.
const CHECKSUM_BYTES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Null,
    Deflate,
    Snappy,
    Zstandard,
}

/// The blocks of a file.
pub struct Blocks {
    file: BufReader<Bytes>,
    codec: Codec,
    sync: [u8; SYNC_BYTES],
    blocks: u64,
    /// The text of the schema.
    pub schema: Vec<u8>,
}

/// Records as they are written.
#[derive(Debug, Default)]
pub struct Block {
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub bytes: Vec<u8>,
}

impl Blocks {
    /// Reads the header of a file.
    pub fn open(file: Bytes) -> Result<Self> {
        let mut file = BufReader::with_capacity(256 * 1024, file);
        let mut magic = [0; 4];
        let is_avro = file.read_exact(&mut magic).is_ok() && magic == *MAGIC;
        ensure!(is_avro, "this is no Avro file");
        let mut header = header(&mut file).context("the header is damaged")?;
        let codec = match header.remove("avro.codec").as_deref() {
            None | Some(b"null") => Codec::Null,
            Some(b"deflate") => Codec::Deflate,
            Some(b"snappy") => Codec::Snappy,
            Some(b"zstandard") => Codec::Zstandard,
            Some(other) => bail!(Hinted::new(
                format!(
                    "the blocks are compressed by `{}`, which is not read",
                    String::from_utf8_lossy(other)
                ),
                "write the file with deflate, snappy or zstandard"
            )),
        };
        let schema = header.remove("avro.schema").context("the header has no schema")?;
        let mut sync = [0; SYNC_BYTES];
        file.read_exact(&mut sync).context("the header is damaged")?;
        Ok(Self { file, codec, sync, blocks: 0, schema })
    }

    /// The next block; there is none at the end of the file, and nowhere else.
    pub fn next(&mut self) -> Result<Option<Block>> {
        let number = self.blocks + 1;
        let Some(count) = long(&mut self.file).with_context(|| format!("block {number}"))? else {
            return Ok(None);
        };
        self.blocks = number;
        let block = self.block(count).with_context(|| format!("block {number} is damaged"))?;
        Ok(Some(block))
    }

    fn block(&mut self, count: i64) -> Result<Block> {
        let count = u64::try_from(count).context("the number of records is negative")?;
        let size = long(&mut self.file)?.context("the file ends too early")?;
        let size = usize::try_from(size).ok().filter(|size| *size <= BLOCK_BYTES_MAX);
        let Some(size) = size else { bail!("it is larger than {BLOCK_BYTES_MAX} bytes") };
        let bytes = exactly(&mut self.file, size)?;
        let mut sync = [0; SYNC_BYTES];
        self.file.read_exact(&mut sync).context("the file ends too early")?;
        ensure!(sync == self.sync, "the mark after it is not that of the file");
        Ok(Block { count, bytes: self.codec.decompressed(bytes)? })
    }
}

impl Codec {
    fn decompressed(self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        match self {
            Self::Null => Ok(bytes),
            Self::Deflate => bounded(flate2::read::DeflateDecoder::new(&bytes[..])),
            Self::Zstandard => bounded(zstd::Decoder::with_buffer(&bytes[..])?),
            Self::Snappy => {
                let end = bytes.len().checked_sub(CHECKSUM_BYTES);
                let (bytes, sum) = bytes.split_at(end.context("it has no checksum")?);
                let size = snap::raw::decompress_len(bytes)?;
                ensure!(size <= BLOCK_BYTES_MAX, "it has more than {BLOCK_BYTES_MAX} bytes");
                let bytes = snap::raw::Decoder::new().decompress_vec(bytes)?;
                let mut found = flate2::Crc::new();
                found.update(&bytes);
                ensure!(found.sum().to_be_bytes() == *sum, "its checksum is another");
                Ok(bytes)
            }
        }
    }
}

fn bounded(decoder: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take(BLOCK_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() <= BLOCK_BYTES_MAX, "it has more than {BLOCK_BYTES_MAX} bytes");
    Ok(bytes)
}

/// The header's entries.
fn header(file: &mut impl BufRead) -> Result<HashMap<String, Vec<u8>>> {
    let (mut entries, mut left) = (HashMap::new(), HEADER_BYTES_MAX);
    loop {
        let count = long(file)?.context("the file ends too early")?;
        if count == 0 {
            return Ok(entries);
        }
        if count < 0 {
            long(file)?.context("the file ends too early")?;
        }
        for _ in 0..count.unsigned_abs() {
            let (key, value) = (entry(file, &mut left)?, entry(file, &mut left)?);
            entries.insert(String::from_utf8(key).context("a key is no text")?, value);
        }
    }
}

fn entry(file: &mut impl BufRead, left: &mut usize) -> Result<Vec<u8>> {
    let size = long(file)?.context("the file ends too early")?;
    // Each has a length, so that their number is bounded, too.
    let rest = usize::try_from(size).ok().and_then(|size| left.checked_sub(size + 1));
    *left = rest.with_context(|| format!("it is larger than {HEADER_BYTES_MAX} bytes"))?;
    exactly(file, usize::try_from(size)?)
}

/// A whole number of a stream, unless the stream ends before it.
fn long(file: &mut impl BufRead) -> Result<Option<i64>> {
    const LONG_BYTES_MAX: usize = 10;
    let mut bytes = Vec::new();
    while bytes.len() < LONG_BYTES_MAX {
        let Some(byte) = file.by_ref().bytes().next().transpose()? else {
            ensure!(bytes.is_empty(), "the file ends too early");
            return Ok(None);
        };
        bytes.push(byte);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Cursor::new(&bytes).long().map(Some)
}
