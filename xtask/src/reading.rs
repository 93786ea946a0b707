//! What a person gives as data, as the CSV in UTF-8 that everything else works on.
//!
//! The file is opened once and read as a stream into a private copy. The copy is what is hashed,
//! trained on and uploaded, whatever happens to the file meanwhile. What has to be unpacked or
//! converted is, and that is told; what cannot be read for certain is refused by name.

mod encoding;
mod snapshot;
mod workbook;

use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use encoding_rs::{DecoderResult, Encoding, UTF_16BE, UTF_16LE};
use steppe_spec::Container;
use steppe_wire::etl::TableFormat;
use steppe_wire::format::{BEGINNING_BYTES, Format, NO_SEQUENCE};

use encoding::Guess;
pub use snapshot::Snapshot;
use steppe_wire::hint::Hinted;

/// Bytes that are read at once.
const PART_BYTES: usize = 1024 * 1024;
/// The mark of UTF-8.
const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";

/// How the data are read.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The folder of everything that is made here.
    pub scratch: &'a Path,
    /// Format of the file.
    pub format: steppe_spec::Format,
    /// What holds its records.
    pub container: steppe_spec::Container,
    /// Field separator of CSV.
    pub delimiter: char,
    /// What stands before the decimals of its numbers.
    pub decimal: char,
    /// The sheet of a workbook; the first visible one when absent.
    pub sheet: Option<&'a str>,
}

/// The data as CSV in UTF-8.
#[derive(Debug)]
pub struct Reading {
    /// The copy.
    pub copy: Snapshot,
    /// What was done to it.
    pub told: Vec<Remark>,
}

/// Something that was done to read data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// What, for people.
    pub what: String,
    /// What to do when something else is wanted.
    pub hint: Option<&'static str>,
}

impl From<String> for Remark {
    fn from(what: String) -> Self {
        Self { what, hint: None }
    }
}

type Stream = Box<dyn Read>;

/// Reads `file`.
pub fn read(file: &Path, options: Options<'_>) -> Result<Reading> {
    // As text: what may be done about errors of disks is about `.steppe`.
    let opened = File::open(file).map_err(|error| anyhow::anyhow!("{error}"))?;
    let before = opened.metadata()?;
    if before.is_dir() {
        bail!(Hinted::new("it is a folder", "give the files in it"));
    }
    let handle = opened.try_clone()?;
    let mut told = Vec::new();
    let copy = copied(Box::new(opened), &options, &mut told)?;
    check_unchanged(&handle, &before)?;
    Ok(Reading { copy, told })
}

/// What another program has begun to write is not the whole of anything.
fn check_unchanged(file: &File, before: &Metadata) -> Result<()> {
    let after = file.metadata()?;
    let is_same = before.len() == after.len() && before.modified()? == after.modified()?;
    if before.is_file() && !is_same {
        bail!(Hinted::new(
            "it was changed while it was read",
            "repeat the command when it is complete",
        ));
    }
    Ok(())
}

/// The first bytes of a file as text in UTF-8, as far as they can be; of another file its own.
pub fn begin(file: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let opened = File::open(file).map_err(|error| anyhow::anyhow!("{error}"))?;
    let (beginning, stream) = peeked(Box::new(opened))?;
    let unpacked: Stream = match Format::of(&beginning) {
        Format::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stream)),
        Format::Zstandard => Box::new(zstd::Decoder::new(stream)?),
        _ => stream,
    };
    let mut begin = Vec::new();
    unpacked.take(bytes_max).read_to_end(&mut begin)?;
    if Format::of(&begin) == Format::Utf16 {
        let encoding = if begin[0] == 0xff { UTF_16LE } else { UTF_16BE };
        begin = encoding.decode(&begin).0.into_owned().into_bytes();
    }
    Ok(begin)
}

/// Unpacks and converts; says in `told` what it did.
fn copied(file: Stream, options: &Options<'_>, told: &mut Vec<Remark>) -> Result<Snapshot> {
    let (beginning, stream) = peeked(file)?;
    let format = Format::of(&beginning);
    let unpacked: Stream = match format {
        Format::Gzip => Box::new(flate2::read::MultiGzDecoder::new(stream)),
        Format::Zstandard => Box::new(zstd::Decoder::new(stream)?),
        _ => return converted(&beginning, stream, options, told),
    };
    told.push(format!("{}, unpacked", format.name()).into());
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
    told: &mut Vec<Remark>,
) -> Result<Snapshot> {
    let mut copy = Snapshot::new(options.scratch)?;
    let mut done = Vec::new();
    let wanted = TableFormat::from(options.format);
    match Format::of(beginning) {
        Format::Sequence if options.container == Container::Sequence => {
            std::io::copy(&mut stream, &mut copy)?;
        }
        found if options.container == Container::Sequence => {
            bail!(Hinted::new(format!("the file is {}", found.name()), NO_SEQUENCE))
        }
        Format::Table(found) if found == wanted => {
            std::io::copy(&mut stream, &mut copy)?;
        }
        Format::Sequence if wanted == TableFormat::Json => bail!(Hinted::new(
            format!("the file is {}", Format::Sequence.name()),
            Format::Sequence.instead_of_csv().unwrap_or_default(),
        )),
        found if wanted != TableFormat::Csv => bail!(Hinted::new(
            format!("the file is {}; the manifest says `{}`", found.name(), wanted.name()),
            "set `format` of the input to what its files are",
        )),
        Format::Text => {
            if let Some(invalid) = copy_text(stream, &mut copy)? {
                let encoding = encoding_of(&copy, invalid, beginning.starts_with(UTF_8_MARK))?;
                let mut text = Snapshot::new(options.scratch)?;
                convert(copy.read()?, encoding, &mut text)?;
                copy = text;
                done.push(as_utf_8(encoding).into());
            }
        }
        Format::Utf16 => {
            let encoding = if beginning[0] == 0xff { UTF_16LE } else { UTF_16BE };
            convert(stream, encoding, &mut copy)?;
            done.push(as_utf_8(encoding).into());
        }
        Format::Zip | Format::OldWorkbook => {
            std::io::copy(&mut stream, &mut copy)?;
            let mut table = Snapshot::new(options.scratch)?;
            done.extend(workbook::convert(&copy, options, &mut table)?);
            copy = table;
        }
        packed @ (Format::Gzip | Format::Zstandard) => {
            let again = format!("what was unpacked is {} again", packed.name());
            bail!(Hinted::new(again, "unpack it once before"))
        }
        other @ (Format::Sequence | Format::Table(_) | Format::Other(..)) => {
            let way = other.instead_of_csv().unwrap_or_default();
            bail!(Hinted::new(format!("the file is {}", other.name()), way))
        }
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
            bail!(Hinted::new(format!("the file is {name}"), way));
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
    let broken = "save it again as \"CSV UTF-8\" where it comes from";
    if is_marked {
        let marked = format!("the text is marked as UTF-8, and line {line} is not");
        bail!(Hinted::new(marked, broken));
    }
    match encoding::guess(text.read()?)? {
        Guess::Is(encoding) => Ok(encoding),
        Guess::DamagedUtf8 => {
            let damaged =
                format!("the text is UTF-8 with wrong bytes in it, the first in line {line}");
            bail!(Hinted::new(damaged, broken))
        }
        Guess::Cyrillic => bail!(Hinted::new(
            format!(
                "the text is not UTF-8 (line {line}), and its letters are of Windows-1251 or of \
                 the Kazakh RK1048"
            ),
            "convert it from the right one: `iconv -f RK1048 -t UTF-8` or `iconv -f WINDOWS-1251 \
             -t UTF-8`",
        )),
        Guess::Unclear(nearest) => {
            let nearest = nearest.name();
            bail!(Hinted::new(
                format!(
                    "the text is not UTF-8 (line {line}), and its encoding is not clear; the \
                     nearest is {nearest}"
                ),
                format!(
                    "save it as \"CSV UTF-8\", or convert it with `iconv -f {nearest} -t UTF-8` \
                     and look at its names"
                ),
            ))
        }
    }
}

/// The line in which a byte is.
fn line_at(text: &Snapshot, place: u64) -> Result<u64> {
    let mut before = BufReader::new(text.read()?.take(place));
    let mut line = 1;
    loop {
        let part = before.fill_buf()?;
        if part.is_empty() {
            return Ok(line);
        }
        line += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        let read = part.len();
        before.consume(read);
    }
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
                DecoderResult::Malformed(..) => {
                    let line = line_at(out, out.bytes())?;
                    let what = format!("line {line} is no text in {}", encoding.name());
                    bail!(Hinted::new(what, "save it again where it comes from"))
                }
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::hint::hints_of;

    const TABLE: &str = "region,year,marriages\nАлматы,2000,1\nШымкент,2000,2\n";

    fn options(scratch: &Path) -> Options<'_> {
        let format = steppe_spec::Format::Csv;
        Options {
            scratch,
            format,
            container: Container::Lines,
            delimiter: ',',
            decimal: '.',
            sheet: None,
        }
    }

    /// What a file with these bytes is read as, or why not, and what was told.
    fn reading(bytes: &[u8]) -> (String, Vec<String>) {
        let scratch = tempfile::TempDir::new().expect("a folder");
        let file = scratch.path().join("given");
        std::fs::write(&file, bytes).expect("written");
        let options = options(scratch.path());
        match read(&file, options) {
            Ok(Reading { copy, told }) => {
                let told = told.into_iter().map(|remark| remark.what).collect();
                (std::fs::read_to_string(copy.path()).expect("UTF-8"), told)
            }
            Err(error) => (format!("{error:#}"), hints_of(&error)),
        }
    }

    fn utf_16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(order).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        packed.write_all(bytes).expect("packed");
        packed.finish().expect("complete")
    }

    #[test]
    fn text_and_packed_text_become_utf_8() {
        let (old, ..) = encoding_rs::WINDOWS_1251.encode(TABLE);
        let utf_16_told = "UTF-16 text, as UTF-8";
        let (gzip_told, cyrillic) = ("compressed by gzip, unpacked", "Windows-1251 text, as UTF-8");
        let little = utf_16(TABLE, u16::to_le_bytes);
        let cases: [(Vec<u8>, &[&str]); 6] = [
            (TABLE.into(), &[]),
            (utf_16(TABLE, u16::to_be_bytes), &[utf_16_told]),
            (gzip(&little), &[gzip_told, utf_16_told]),
            (old.to_vec(), &[cyrillic]),
            ([gzip(&old[..20]), gzip(&old[20..])].concat(), &[gzip_told, cyrillic]),
            (
                zstd::encode_all(TABLE.as_bytes(), 1).expect("packed"),
                &["compressed by Zstandard, unpacked"],
            ),
        ];
        for (bytes, told) in cases {
            assert_eq!(
                reading(&bytes),
                (TABLE.to_owned(), told.iter().map(|t| t.to_string()).collect())
            );
        }
    }

    #[test]
    fn text_that_is_not_utf_8_only_far_from_its_beginning_is_converted() {
        let plain = "region,year,marriages\n".to_owned() + &"A,2000,1\n".repeat(200_000);
        let text = plain + TABLE;
        let (old, ..) = encoding_rs::WINDOWS_1251.encode(&text);
        let (read, told) = reading(&old);
        assert!(read == text && told == ["Windows-1251 text, as UTF-8"], "{told:?}");
    }

    #[test]
    fn characters_across_the_parts_of_a_file_are_whole() {
        let row = "Алматы,2000,1\n";
        for shift in 0..3 {
            let rows = row.repeat(2 * PART_BYTES / row.len());
            let text = format!("{}{rows}", "x".repeat(shift));
            assert!(reading(text.as_bytes()).0 == text, "shifted by {shift}");
        }
    }

    #[test]
    fn what_cannot_be_read_for_certain_is_refused_by_name() {
        let marked = |rest: &[u8]| [UTF_8_MARK, rest].concat();
        let mut odd = utf_16(TABLE, u16::to_le_bytes);
        odd.pop();
        let mut cut = gzip(TABLE.as_bytes());
        cut.truncate(cut.len() - 12);
        let packed = gzip(&gzip(TABLE.as_bytes()));
        let unmarked: Vec<u8> = TABLE.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, expected) in [
            (marked(b"region\nA\n\xcf\n"), "the text is marked as UTF-8, and line 3 is not"),
            (
                b"region\n\xd0\x90\xd0\x91\nA\xd0\n".to_vec(),
                "wrong bytes in it, the first in line 3",
            ),
            (odd, "line 3 is no text in UTF-16LE"),
            (packed, "compressed by gzip: what was unpacked is compressed by gzip again"),
            (unmarked, "the file is no text, or text in UTF-16 without its mark"),
            (b"PAR1\x15\x04\0".to_vec(), "the file is a Parquet file"),
            (b"[{\"region\": \"A\"}]".to_vec(), "the file is a JSON array"),
            (b"region\n\x8d\xe0\xf0\xe0\xba\xe0\xed\xe4\xfb\n".to_vec(), "RK1048"),
            (b"region\nMu\xf0la\n".to_vec(), "its encoding is not clear; the nearest is"),
        ] {
            let (said, hints) = reading(&bytes);
            assert!(said.contains(expected), "{said}\nexpected: {expected}");
            assert_eq!(hints.len(), 1, "{said}: {hints:?}");
        }
        let (said, hints) = reading(&cut);
        assert!(said.contains("compressed by gzip: ") && hints.is_empty(), "{said}: {hints:?}");
    }

    #[test]
    fn the_spreadsheets_unicode_text_is_read() {
        let folder = std::env::var_os("STEPPE_SHARED_CASES").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases"),
            PathBuf::from,
        );
        let Ok(bytes) = std::fs::read(folder.join("utf16.csv")) else {
            crate::terminal::err("left out: set STEPPE_SHARED_CASES to the folder with utf16.csv");
            return;
        };
        let (text, told) = reading(&bytes);
        assert!(text.starts_with("region,year,marriages\nАкмолинская область,2000,3079\n"));
        assert_eq!(told, ["UTF-16 text, as UTF-8"]);
    }

    #[test]
    fn a_file_that_grew_meanwhile_is_refused() {
        let mut file = tempfile::tempfile().expect("a file");
        let before = file.metadata().expect("known");
        check_unchanged(&file, &before).expect("unchanged");
        file.write_all(b"A,2000,1\n").expect("written");
        let refused = check_unchanged(&file, &before).expect_err("changed");
        assert_eq!(refused.to_string(), "it was changed while it was read");
        assert_eq!(hints_of(&refused).len(), 1);
    }

    #[test]
    fn nothing_is_left_of_a_refused_file() {
        let scratch = tempfile::TempDir::new().expect("a folder");
        let options = options(scratch.path());
        let refused = read(scratch.path(), options).expect_err("a folder");
        assert!(refused.to_string().starts_with("it is a folder"), "{refused}");
        let file = scratch.path().join("mixed");
        std::fs::write(&file, b"region\nMu\xf0la\n").expect("written");
        assert!(read(&file, options).is_err());
        let left: Vec<_> = std::fs::read_dir(scratch.path().join("copies"))
            .expect("a folder")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(left, ["gate"]);
    }
}
