//! What a person gives as data, as the CSV in UTF-8 that everything else works on.
//!
//! The file is opened once and read as a stream into a private copy. The copy is what is hashed,
//! trained on and uploaded, whatever happens to the file meanwhile. What has to be unpacked or
//! converted is, and that is told; what cannot be read for certain is refused by name.

mod encoding;
mod snapshot;
mod workbook;

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use encoding_rs::{DecoderResult, Encoding, UTF_16BE, UTF_16LE};
use steppe_wire::format::{BEGINNING_BYTES, Format};

use encoding::Guess;
pub use snapshot::Snapshot;

/// Bytes that are read at once.
const PART_BYTES: usize = 1024 * 1024;
/// The mark of UTF-8.
const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";

/// How the data are read.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The folder of everything that is made here.
    pub scratch: &'a Path,
    /// Field separator of the CSV.
    pub delimiter: char,
    /// The sheet of a workbook; the first visible one when absent.
    pub sheet: Option<&'a str>,
}

/// The data as CSV in UTF-8.
#[derive(Debug)]
pub struct Reading {
    /// The copy.
    pub copy: Snapshot,
    /// What was done to it, for people.
    pub told: Vec<String>,
}

type Stream = Box<dyn Read>;

/// Reads `file`.
pub fn read(file: &Path, options: Options<'_>) -> Result<Reading> {
    let opened = File::open(file)?;
    let before = opened.metadata()?;
    if before.is_dir() {
        bail!("it is a folder\nhint: give the one file with the table");
    }
    let handle = opened.try_clone()?;
    let mut told = Vec::new();
    let copy = copied(Box::new(opened), &options, &mut told)?;
    let after = handle.metadata()?;
    let changed = before.len() != after.len() || before.modified()? != after.modified()?;
    if before.is_file() && changed {
        bail!("it was changed while it was read\nhint: repeat the command when it is complete");
    }
    Ok(Reading { copy, told })
}

/// Unpacks and converts; says in `told` what it did.
fn copied(file: Stream, options: &Options<'_>, told: &mut Vec<String>) -> Result<Snapshot> {
    let (beginning, stream) = peeked(file)?;
    let format = Format::of(&beginning);
    let unpacked: Stream = match format {
        Format::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stream)),
        Format::Zstandard => Box::new(zstd::Decoder::new(stream)?),
        _ => return converted(&beginning, stream, options, told),
    };
    told.push(format!("{}, unpacked", format.name()));
    let unpack = || {
        let (beginning, stream) = peeked(unpacked)?;
        converted(&beginning, stream, options, told)
    };
    unpack().context(format.name())
}

/// The copy of a file that is no archive.
fn converted(
    beginning: &[u8],
    mut stream: Stream,
    options: &Options<'_>,
    told: &mut Vec<String>,
) -> Result<Snapshot> {
    let mut copy = Snapshot::new(options.scratch)?;
    let mut done = Vec::new();
    match Format::of(beginning) {
        Format::Text => {
            if let Some(invalid) = copy_text(stream, &mut copy)? {
                let encoding = encoding_of(&copy, invalid, beginning.starts_with(UTF_8_MARK))?;
                let mut text = Snapshot::new(options.scratch)?;
                convert(copy.read()?, encoding, &mut text)?;
                copy = text;
                done.push(as_utf_8(encoding));
            }
        }
        Format::Utf16 => {
            let encoding = if beginning[0] == 0xff { UTF_16LE } else { UTF_16BE };
            convert(stream, encoding, &mut copy)?;
            done.push(as_utf_8(encoding));
        }
        Format::Zip | Format::OldWorkbook => {
            std::io::copy(&mut stream, &mut copy)?;
            let mut table = Snapshot::new(options.scratch)?;
            done.extend(workbook::convert(&copy, options, &mut table)?);
            copy = table;
        }
        packed @ (Format::Gzip | Format::Zstandard) => {
            bail!("what was unpacked is {} again\nhint: unpack it once before", packed.name())
        }
        other @ Format::Other(_, way) => bail!("the file is {}\nhint: {way}", other.name()),
    }
    told.append(&mut done);
    Ok(copy)
}

/// The beginning of a stream, and the whole of it.
fn peeked(mut stream: Stream) -> std::io::Result<(Vec<u8>, Stream)> {
    let mut beginning = Vec::new();
    stream.by_ref().take(BEGINNING_BYTES as u64).read_to_end(&mut beginning)?;
    let whole = Cursor::new(beginning.clone()).chain(stream);
    Ok((beginning, Box::new(whole)))
}

/// Copies text; the place of the first byte that is not UTF-8.
fn copy_text(mut stream: Stream, copy: &mut Snapshot) -> Result<Option<u64>> {
    let mut part = vec![0; PART_BYTES];
    // The beginning of `part` that was the end of the part before: half a character.
    let (mut kept, mut before, mut invalid) = (0, 0, None);
    loop {
        let read = stream.read(&mut part[kept..])?;
        let new = &part[kept..kept + read];
        if new.contains(&0) {
            let Format::Other(name, way) = Format::binary() else { continue };
            bail!("the file is {name}\nhint: {way}");
        }
        copy.write_all(new)?;
        if read == 0 {
            return Ok(invalid.or((kept > 0).then_some(before)));
        }
        if invalid.is_some() {
            continue;
        }
        let filled = kept + read;
        let valid = match std::str::from_utf8(&part[..filled]) {
            Ok(_) => filled,
            Err(error) => {
                let valid = error.valid_up_to();
                invalid = error.error_len().map(|_| before + valid as u64);
                valid
            }
        };
        part.copy_within(valid..filled, 0);
        before += valid as u64;
        kept = if invalid.is_some() { 0 } else { filled - valid };
    }
}

/// The encoding of text that is not UTF-8 at the byte `invalid`; an error when it is not clear.
fn encoding_of(text: &Snapshot, invalid: u64, is_marked: bool) -> Result<&'static Encoding> {
    let line = line_at(text, invalid)?;
    let broken = "hint: save it again as \"CSV UTF-8\" where it comes from";
    if is_marked {
        bail!("the text is marked as UTF-8, and line {line} is not\n{broken}");
    }
    match encoding::guess(text.read()?)? {
        Guess::Is(encoding) => Ok(encoding),
        Guess::DamagedUtf8 => {
            bail!("the text is UTF-8 with wrong bytes in it, the first in line {line}\n{broken}")
        }
        Guess::Cyrillic => bail!(
            "the text is not UTF-8 (line {line}), and its letters are of Windows-1251 or of the \
             Kazakh RK1048\nhint: convert it from the right one: `iconv -f RK1048 -t UTF-8` or \
             `iconv -f WINDOWS-1251 -t UTF-8`"
        ),
        Guess::Unclear(nearest) => {
            let nearest = nearest.name();
            bail!(
                "the text is not UTF-8 (line {line}), and its encoding is not clear; the nearest \
                 is {nearest}\nhint: save it as \"CSV UTF-8\", or convert it with \
                 `iconv -f {nearest} -t UTF-8` and look at its names"
            )
        }
    }
}

/// The line in which a byte is.
fn line_at(text: &Snapshot, place: u64) -> Result<u64> {
    let mut before = BufReader::new(text.read()?.take(place));
    let mut lines = 1;
    while before.skip_until(b'\n')? > 0 {
        lines += 1;
    }
    Ok(lines)
}

/// Converts to UTF-8; what is malformed is an error.
fn convert(mut text: impl Read, encoding: &'static Encoding, out: &mut Snapshot) -> Result<()> {
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let (mut part, mut utf_8) = (vec![0; PART_BYTES], vec![0; PART_BYTES]);
    loop {
        let read = text.read(&mut part)?;
        let (mut rest, is_last) = (&part[..read], read == 0);
        loop {
            let (result, taken, written) =
                decoder.decode_to_utf8_without_replacement(rest, &mut utf_8, is_last);
            out.write_all(&utf_8[..written])?;
            rest = &rest[taken..];
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => bail!(
                    "line {} is no text in {}\nhint: save it again where it comes from",
                    line_at(out, out.bytes())?,
                    encoding.name()
                ),
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// `Windows-1251 text, as UTF-8`.
fn as_utf_8(encoding: &'static Encoding) -> String {
    let name = if encoding == UTF_16BE { UTF_16LE.name() } else { encoding.name() };
    let name = name.trim_end_matches("LE").replacen('w', "W", 1);
    format!("{name} text, as UTF-8")
}
