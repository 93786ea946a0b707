//! Hadoop's codecs, as far as every reader of the same prefix has them: Glue's Spark without native
//! libraries, and Athena.

use std::io::{self, Cursor, Read};

use anyhow::{Result, bail};
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use steppe_wire::hint::Hinted;

use crate::formats::exactly;

/// Bytes of what is compressed at once, as it is in the file and without its compression. Hadoop's
/// writers have 256 KiB.
const CHUNK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What gives plain bytes.
pub type Decoder = Box<dyn Read + Send>;

/// How values are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Deflate,
    Gzip,
    Snappy,
    Lz4,
}

impl Codec {
    /// By the name of its class.
    pub fn named(class: &str) -> Result<Self> {
        let own = class.strip_prefix("org.apache.hadoop.io.compress.");
        match own {
            Some("DefaultCodec" | "DeflateCodec") => Ok(Self::Deflate),
            Some("GzipCodec") => Ok(Self::Gzip),
            Some("SnappyCodec") => Ok(Self::Snappy),
            Some("Lz4Codec") => Ok(Self::Lz4),
            _ => bail!(Hinted::new(
                format!("the records are compressed by `{class}`, which is not read"),
                "write the file with `DefaultCodec`, `GzipCodec`, `SnappyCodec` or `Lz4Codec`"
            )),
        }
    }

    /// What is in compressed bytes, made as it is read.
    pub fn decoder(self, compressed: Vec<u8>) -> Decoder {
        let bytes = Cursor::new(compressed);
        match self {
            Self::Deflate => Box::new(ZlibDecoder::new(bytes)),
            Self::Gzip => Box::new(MultiGzDecoder::new(bytes)),
            Self::Snappy => Box::new(Chunks::new(bytes, snappy)),
            Self::Lz4 => Box::new(Chunks::new(bytes, lz4)),
        }
    }
}

/// Plain bytes of a chunk, of which there are at most so many.
type Unpack = fn(&[u8], usize) -> Result<Vec<u8>>;

fn snappy(chunk: &[u8], most: usize) -> Result<Vec<u8>> {
    let size = snap::raw::decompress_len(chunk)?;
    if size > most {
        bail!("{size} bytes are compressed where {most} are left");
    }
    Ok(snap::raw::Decoder::new().decompress_vec(chunk)?)
}

fn lz4(chunk: &[u8], most: usize) -> Result<Vec<u8>> {
    let mut plain = vec![0; most];
    let size = lz4_flex::block::decompress_into(chunk, &mut plain)?;
    plain.truncate(size);
    Ok(plain)
}

/// Hadoop's `BlockCompressorStream`: the length of what is written at once, and chunks of it, each
/// behind its own length.
struct Chunks {
    bytes: Cursor<Vec<u8>>,
    unpack: Unpack,
    /// Bytes that are to come of what was written at once.
    left: usize,
    plain: Cursor<Vec<u8>>,
}

impl Chunks {
    fn new(bytes: Cursor<Vec<u8>>, unpack: Unpack) -> Self {
        Self { bytes, unpack, left: 0, plain: Cursor::default() }
    }

    /// Unpacks the next chunk; whether there is one.
    fn next(&mut self) -> Result<bool> {
        while self.left == 0 {
            let Some(length) = super::int_or_end(&mut self.bytes)? else { return Ok(false) };
            self.left = super::size(length.into())?;
        }
        let size = super::size(super::int(&mut self.bytes)?.into())?;
        if size > CHUNK_BYTES_MAX {
            bail!("a chunk says that it has {size} bytes; at most {CHUNK_BYTES_MAX} are read");
        }
        let chunk = exactly(&mut self.bytes, size)?;
        let plain = (self.unpack)(&chunk, self.left.min(CHUNK_BYTES_MAX))?;
        if plain.is_empty() {
            bail!("a chunk is empty");
        }
        self.left -= plain.len();
        self.plain = Cursor::new(plain);
        Ok(true)
    }
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(out)?;
        if read > 0 || out.is_empty() {
            return Ok(read);
        }
        match self.next() {
            Ok(true) => self.plain.read(out),
            Ok(false) => Ok(0),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{error:#}"))),
        }
    }
}
