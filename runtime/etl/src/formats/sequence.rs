//! Hadoop sequence files of version 6: a container, whose values are a record of text each.
//!
//! It is no format of its own: [`Lines`] makes lines of the values, and the readers of CSV and JSON
//! read these. Keys are left out, as Hive and Athena leave them out. What a file says of lengths is
//! believed only as far as the bytes are there: nothing is allocated by it. Marks between records
//! are checked; that a file can be read in parts by them is of no use here.
//!
//! <https://hadoop.apache.org/docs/stable/api/org/apache/hadoop/io/SequenceFile.html>

use std::io::{self, BufReader, Read};

use anyhow::{Context, Result, anyhow, bail, ensure};
use steppe_wire::etl::records::RECORD_BYTES_MAX;
use steppe_wire::hint::Hinted;

use self::codec::{Codec, Decoder};
use super::{Bytes, exactly};

mod codec;
mod lines;

pub use lines::Lines;

/// How a file begins: its mark and its version.
const MAGIC: &[u8; 4] = b"SEQ\x06";
/// Bytes of the mark between records.
const SYNC_BYTES: usize = 16;
/// What stands instead of a length where a mark follows.
const SYNC_FOLLOWS: i32 = -1;
/// Bytes of a header, names of classes and other entries together.
const HEADER_BYTES_MAX: u64 = 1024 * 1024;
/// Compressed bytes of the values of a block, or of one value.
const COMPRESSED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Classes of `org.apache.hadoop.io` that keys may have: Spark makes one of the class, though
/// nobody looks at it, and knows no others.
const KEYS: [&str; 12] = [
    "BooleanWritable",
    "ByteWritable",
    "BytesWritable",
    "DoubleWritable",
    "FloatWritable",
    "IntWritable",
    "LongWritable",
    "NullWritable",
    "ShortWritable",
    "Text",
    "VIntWritable",
    "VLongWritable",
];

/// What values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueClass {
    /// `org.apache.hadoop.io.Text`
    Text,
    /// `org.apache.hadoop.io.BytesWritable`
    Bytes,
}

/// The values of a file, one after another.
pub struct Values {
    file: BufReader<Bytes>,
    /// What they are.
    pub class: ValueClass,
    kept: Kept,
    sync: [u8; SYNC_BYTES],
    records: u64,
}

/// How records are kept.
enum Kept {
    /// One by one, their values compressed or not.
    Singly(Option<Codec>),
    /// Many together, compressed.
    InBlocks(Codec, Option<Block>),
}

/// Records that are compressed together.
struct Block {
    left: u64,
    lengths: Decoder,
    values: Decoder,
}

impl Values {
    /// Reads the header of a file.
    pub fn open(file: Bytes) -> Result<Self> {
        let mut file = BufReader::with_capacity(256 * 1024, file);
        let mut magic = [0; 4];
        let is_one = file.read_exact(&mut magic).is_ok() && magic == *MAGIC;
        ensure!(is_one, "this is no sequence file of version 6");
        let mut header = file.by_ref().take(HEADER_BYTES_MAX);
        let damaged =
            || format!("the header is damaged, or has more than {HEADER_BYTES_MAX} bytes");
        let named = Header::read(&mut header).with_context(damaged)?;
        check_key(&named.key_class)?;
        let class = value_class(&named.value_class)?;
        let codec = named.codec.as_deref().map(Codec::named).transpose()?;
        let kept = match (codec, named.in_blocks) {
            (Some(codec), true) => Kept::InBlocks(codec, None),
            (codec, false) => Kept::Singly(codec),
            (None, true) => bail!("the header is damaged: blocks have no codec"),
        };
        Ok(Self { file, class, kept, sync: named.sync, records: 0 })
    }

    /// Appends the next value to `value`; false at the end of the file.
    pub fn next(&mut self, value: &mut Vec<u8>) -> Result<bool> {
        let number = self.records + 1;
        let next = match self.kept {
            Kept::Singly(codec) => self.single(codec, value),
            Kept::InBlocks(..) => self.in_block(value),
        };
        let is_there = next.map_err(|error| {
            Hinted::new(
                format!("record {number} cannot be read: {error:#}"),
                "copy the file again from where it was written; `hadoop fs -text FILE` tells \
                 whether it is whole there",
            )
        })?;
        self.records += u64::from(is_there);
        Ok(is_there)
    }

    /// How many values were read.
    pub fn records(&self) -> u64 {
        self.records
    }

    fn single(&mut self, codec: Option<Codec>, value: &mut Vec<u8>) -> Result<bool> {
        let Some(mut length) = int_or_end(&mut self.file)? else { return Ok(false) };
        if length == SYNC_FOLLOWS {
            self.check_sync()?;
            match int_or_end(&mut self.file)? {
                Some(next) => length = next,
                None => return Ok(false),
            }
        }
        let key = int(&mut self.file)?;
        let (Ok(size), Ok(key)) =
            (usize::try_from(i64::from(length) - i64::from(key)), key.try_into())
        else {
            bail!("its length is {length} with {key} of the key");
        };
        skip(&mut self.file, key)?;
        match codec {
            None => written(&mut self.file.by_ref().take(size as u64), self.class, value)?,
            Some(codec) => {
                let mut decoder = codec.decoder(compressed(&mut self.file, size)?);
                written(&mut decoder, self.class, value)?;
            }
        }
        Ok(true)
    }

    fn in_block(&mut self, value: &mut Vec<u8>) -> Result<bool> {
        loop {
            let Kept::InBlocks(codec, block) = &mut self.kept else { bail!("it has no blocks") };
            if let Some(block) = block.as_mut().filter(|block| block.left > 0) {
                block.next(self.class, value)?;
                return Ok(true);
            }
            let codec = *codec;
            let Some(next) = self.block(codec)? else { return Ok(false) };
            self.kept = Kept::InBlocks(codec, Some(next));
        }
    }

    fn block(&mut self, codec: Codec) -> Result<Option<Block>> {
        let Some(mark) = int_or_end(&mut self.file)? else { return Ok(None) };
        ensure!(mark == SYNC_FOLLOWS, "a block does not begin with a mark");
        self.check_sync()?;
        let count = vint(&mut self.file)?;
        let left = u64::try_from(count).context("the number of records is negative")?;
        // The lengths of keys, and keys.
        for _ in 0..2 {
            let size = size(vint(&mut self.file)?)?;
            skip(&mut self.file, size as u64)?;
        }
        let mut part = || -> Result<Decoder> {
            let size = size(vint(&mut self.file)?)?;
            Ok(codec.decoder(compressed(&mut self.file, size)?))
        };
        Ok(Some(Block { left, lengths: part()?, values: part()? }))
    }

    fn check_sync(&mut self) -> Result<()> {
        let mut found = [0; SYNC_BYTES];
        self.file.read_exact(&mut found).map_err(too_early)?;
        ensure!(found == self.sync, "the mark before it is not that of the file");
        Ok(())
    }
}

impl Block {
    fn next(&mut self, class: ValueClass, value: &mut Vec<u8>) -> Result<()> {
        let length = size(vint(&mut self.lengths)?)?;
        written(&mut self.values.by_ref().take(length as u64), class, value)?;
        self.left -= 1;
        if self.left == 0 {
            // Its checksums are behind its last byte.
            check_end(&mut self.lengths)?;
            check_end(&mut self.values)?;
        }
        Ok(())
    }
}

/// What a header says.
struct Header {
    key_class: String,
    value_class: String,
    codec: Option<String>,
    in_blocks: bool,
    sync: [u8; SYNC_BYTES],
}

impl Header {
    fn read(file: &mut impl Read) -> Result<Self> {
        let (key_class, value_class) = (text(file)?, text(file)?);
        let (is_compressed, in_blocks) = (byte(file)? != 0, byte(file)? != 0);
        let codec = is_compressed.then(|| text(file)).transpose()?;
        for _ in 0..size(int(file)?.into())? {
            let _entry = (text(file)?, text(file)?);
        }
        let mut sync = [0; SYNC_BYTES];
        file.read_exact(&mut sync).map_err(too_early)?;
        Ok(Self { key_class, value_class, codec, in_blocks, sync })
    }
}

fn check_key(name: &str) -> Result<()> {
    let own = name.strip_prefix("org.apache.hadoop.io.");
    if !own.is_some_and(|own| KEYS.contains(&own)) {
        bail!(Hinted::new(
            format!("the keys are of the class `{name}`, which is not read"),
            "keys are left out; write `org.apache.hadoop.io.NullWritable` for each"
        ));
    }
    Ok(())
}

fn value_class(name: &str) -> Result<ValueClass> {
    match name {
        "org.apache.hadoop.io.Text" => Ok(ValueClass::Text),
        "org.apache.hadoop.io.BytesWritable" => Ok(ValueClass::Bytes),
        other => bail!(Hinted::new(
            format!("the values are of the class `{other}`, which is not read"),
            "write a record of CSV or JSON into each value, as `org.apache.hadoop.io.Text`"
        )),
    }
}

/// Appends a value as its class writes it, with nothing behind it.
fn written(file: &mut impl Read, class: ValueClass, value: &mut Vec<u8>) -> Result<()> {
    let length = match class {
        ValueClass::Text => vint(file)?,
        ValueClass::Bytes => i64::from(int(file)?),
    };
    let length = size(length)?;
    let most = RECORD_BYTES_MAX;
    ensure!(length <= most, "its length is {length} bytes; at most {most} are read");
    let read = file.by_ref().take(length as u64).read_to_end(value)?;
    ensure!(read == length, "it has {read} of {length} bytes");
    check_end(file).context("its value")
}

fn check_end(file: &mut impl Read) -> Result<()> {
    ensure!(byte_or_end(file)?.is_none(), "there are more bytes than its length says");
    Ok(())
}

fn compressed(file: &mut impl Read, size: usize) -> Result<Vec<u8>> {
    let most = COMPRESSED_BYTES_MAX;
    ensure!(size <= most, "it says that it has {size} bytes; at most {most} are read");
    exactly(file, size)
}

fn skip(file: &mut impl Read, size: u64) -> Result<()> {
    let skipped = io::copy(&mut file.take(size), &mut io::sink())?;
    ensure!(skipped == size, "the file ends too early");
    Ok(())
}

fn size(length: i64) -> Result<usize> {
    usize::try_from(length).ok().with_context(|| format!("a length is {length}"))
}

fn text(file: &mut impl Read) -> Result<String> {
    let length = size(vint(file)?)?;
    String::from_utf8(exactly(file, length)?).context("a name is no text")
}

fn byte(file: &mut impl Read) -> Result<u8> {
    byte_or_end(file)?.context("the file ends too early")
}

/// Other than of `read_exact`, a decoder's error about its own end is none of the file's.
fn byte_or_end(file: &mut impl Read) -> Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match file.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn int(file: &mut impl Read) -> Result<i32> {
    let mut bytes = [0; 4];
    file.read_exact(&mut bytes).map_err(too_early)?;
    Ok(i32::from_be_bytes(bytes))
}

/// A whole number, unless the file ends before it.
fn int_or_end(file: &mut impl Read) -> Result<Option<i32>> {
    let Some(first) = byte_or_end(file)? else { return Ok(None) };
    let mut bytes = [first, 0, 0, 0];
    file.read_exact(&mut bytes[1..]).map_err(too_early)?;
    Ok(Some(i32::from_be_bytes(bytes)))
}

/// A whole number of one to nine bytes, as Hadoop's `WritableUtils` writes it.
fn vint(file: &mut impl Read) -> Result<i64> {
    let first = i64::from(byte(file)?.cast_signed());
    if first >= -112 {
        return Ok(first);
    }
    let (bytes, is_negative) =
        if first < -120 { (-120 - first, true) } else { (-112 - first, false) };
    let mut number = 0;
    for _ in 0..bytes {
        number = number << 8 | i64::from(byte(file)?);
    }
    Ok(if is_negative { !number } else { number })
}

fn too_early(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => anyhow!("the file ends too early"),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests;
