//! What a data file is, told by its beginning: one list for whoever reads data.

use crate::etl::{Container, InputPlan, TableFormat};
use crate::hint::Hinted;

/// Bytes of a file's beginning that tell what it is.
pub const BEGINNING_BYTES: usize = 64 * 1024;

/// What a data file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text, in UTF-8 or an encoding of which no beginning tells.
    Text,
    /// Text in UTF-16 with the mark of its order of bytes.
    Utf16,
    /// Compressed by gzip.
    Gzip,
    /// Compressed by Zstandard.
    Zstandard,
    /// A workbook as spreadsheets have it since 2007, or another archive.
    Zip,
    /// A workbook as they had it before.
    OldWorkbook,
    /// A Hadoop sequence file, whose values may be records of text.
    Sequence,
    /// A table in a form of its own.
    Table(TableFormat),
    /// What nothing here reads, and what to do about it.
    Other(&'static str, &'static str),
}

/// What to do about a file that the deployer reads and a job does not.
pub const CONVERTS: &str = "`cargo xtask deploy --data FILE` converts it and uploads CSV in UTF-8";
const AS_CSV: &str = "give the data as CSV in UTF-8";
const REWRITE_SEQUENCE: &str = "write it again with Hadoop 1 or later, which has version 6";
const AS_UTF_8: &str = "save the file as \"CSV UTF-8\"";
const ONE_FILE: &str = "unpack it and give the one file with the table, or compress by gzip";
/// What a manifest says of sequence files.
const IN_SEQUENCE: &str = "`container = \"sequence\"` of the input in the manifest reads it, with \
                           `format` \"csv\" or \"json\" for what its values are";
const FROM_ARRAY: &str = "give an object per line, for example with `jq -c '.[]' FILE.json`";

/// What to do about a file that is no sequence file.
pub const NO_SEQUENCE: &str = "leave `container` out of the input in the manifest, or give files \
                               that Hadoop wrote as sequence files";

/// Formats that begin with bytes of their own.
const MARKS: [(&[u8], Format); 19] = [
    (b"\xff\xfe\0\0", Format::Other("text in UTF-32", AS_UTF_8)),
    (b"\0\0\xfe\xff", Format::Other("text in UTF-32", AS_UTF_8)),
    (b"\xff\xfe", Format::Utf16),
    (b"\xfe\xff", Format::Utf16),
    (b"\x1f\x8b", Format::Gzip),
    (b"\x28\xb5\x2f\xfd", Format::Zstandard),
    (b"PK\x03\x04", Format::Zip),
    (b"\xd0\xcf\x11\xe0", Format::OldWorkbook),
    (b"BZh91AY&SY", Format::Other("compressed by bzip2", ONE_FILE)),
    (b"\xfd7zXZ\0", Format::Other("compressed by xz", ONE_FILE)),
    (b"7z\xbc\xaf\x27\x1c", Format::Other("an archive of 7-Zip", ONE_FILE)),
    (b"Rar!\x1a\x07", Format::Other("an archive of RAR", ONE_FILE)),
    (b"Obj\x01", Format::Table(TableFormat::Avro)),
    (b"SEQ\x06", Format::Sequence),
    (b"SEQ\x05", Format::Other("a sequence file of an old version", REWRITE_SEQUENCE)),
    (b"SEQ\x04", Format::Other("a sequence file of an old version", REWRITE_SEQUENCE)),
    (b"%PDF-", Format::Other("a PDF document", AS_CSV)),
    (b"SQLite format 3\0", Format::Other("a database of SQLite", AS_CSV)),
    (b"ARROW1\0\0", Format::Other("an Arrow file", AS_CSV)),
];

/// Formats whose first letters might as well begin a table; more of them are no text.
const LETTERS: [(&[u8], Format); 2] =
    [(b"PAR1", Format::Table(TableFormat::Parquet)), (b"ORC", Format::Table(TableFormat::Orc))];

/// How documents begin that are text and no table.
const DOCUMENTS: [&[u8]; 4] = [b"<?xml", b"<!doctype html", b"<html", b"<table"];

impl Format {
    /// What begins with these bytes.
    pub fn of(beginning: &[u8]) -> Self {
        let begins = |(mark, _): &&(&[u8], Self)| beginning.starts_with(mark);
        if let Some((_, format)) = MARKS.iter().find(begins) {
            return *format;
        }
        let is_control = |b: &u8| *b < b' ' && !b"\t\n\r\x0c\x1a".contains(b);
        if beginning.iter().any(is_control) {
            let letters = LETTERS.iter().find(begins);
            return letters.map_or(Self::binary(), |(_, format)| *format);
        }
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start();
        let opens = |mark: &&[u8]| {
            text.get(..mark.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(mark))
        };
        if DOCUMENTS.iter().any(opens) {
            let way = "open it in a spreadsheet and save the table as \"CSV UTF-8\"";
            return Self::Other("a web page or another document in XML", way);
        }
        // `[Region],[Year]` is the header of a table.
        let after = |open: u8| text.strip_prefix(&[open]).map(<[u8]>::trim_ascii_start);
        let object = after(b'{').is_some_and(|rest| rest.starts_with(b"\""));
        let array = after(b'[').and_then(<[u8]>::first).is_some_and(|next| b"{[\"".contains(next));
        match (object, array) {
            (true, _) => Self::Table(TableFormat::Json),
            (_, true) => Self::Other("a JSON array", FROM_ARRAY),
            _ => Self::Text,
        }
    }

    /// Whether a file of an input is compressed, by its name and beginning; text may be, in one
    /// way. Otherwise what is wrong with it.
    pub fn packed(plan: &InputPlan, name: &str, beginning: &[u8]) -> Result<bool, Hinted> {
        let format = Self::of(beginning);
        let lines = plan.container.is_lines();
        let text = lines && matches!(plan.format, TableFormat::Csv | TableFormat::Json);
        let packed = text && matches!(format, Self::Gzip | Self::Zstandard);
        let called_gz = name.ends_with(".gz");
        // Spark goes by names, and knows one of the two.
        if packed && (format != Self::Gzip || !called_gz) || text && !packed && called_gz {
            let is = format.name();
            return Err(Hinted::new(
                format!(
                    "the file is {is}; of compressed text, gzip is read whose name ends in `.gz`"
                ),
                "`cargo xtask deploy --data FILE` unpacks it",
            ));
        }
        Ok(packed)
    }

    /// What keeps a file that begins so, unpacked, from being read as one of an input.
    pub fn defect(plan: &InputPlan, beginning: &[u8]) -> Option<Hinted> {
        let (wanted, format) = (plan.format, Self::of(beginning));
        let told = format.name();
        if plan.container == Container::Sequence {
            return match format {
                Self::Sequence => None,
                _ if beginning.is_empty() => Some("the file is empty".to_owned().into()),
                Self::Other(_, way) => Some(Hinted::new(format!("the file is {told}"), way)),
                _ => Some(Hinted::new(format!("the file is {told}"), NO_SEQUENCE)),
            };
        }
        match (wanted, format) {
            (TableFormat::Csv, Self::Text) => encoding_defect(beginning),
            (TableFormat::Csv, other) | (TableFormat::Json, other @ Self::Sequence) => {
                let way = other.instead_of_csv().unwrap_or_else(|| CONVERTS.to_owned());
                Some(Hinted::new(format!("the file is {told}"), way))
            }
            (_, Self::Table(found)) if found == wanted => None,
            _ if beginning.is_empty() => Some("the file is empty".to_owned().into()),
            _ => Some(Hinted::new(
                format!("the file is {told}; the manifest says `format = \"{}\"`", wanted.name()),
                "set `format` of the input to what its files are",
            )),
        }
    }

    /// Bytes that no text has.
    pub fn binary() -> Self {
        Self::Other("no text, or text in UTF-16 without its mark", AS_UTF_8)
    }

    /// It, after "the file is".
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Utf16 => "text in UTF-16",
            Self::Gzip => "compressed by gzip",
            Self::Zstandard => "compressed by Zstandard",
            Self::Zip => "a workbook or another archive",
            Self::OldWorkbook => "a workbook of an old kind",
            Self::Sequence => "a Hadoop sequence file",
            Self::Table(TableFormat::Csv) => "CSV",
            Self::Table(TableFormat::Json) => "JSON",
            Self::Table(TableFormat::Parquet) => "a Parquet file",
            Self::Table(TableFormat::Avro) => "an Avro file",
            Self::Table(TableFormat::Orc) => "an ORC file",
            Self::Other(name, _) => name,
        }
    }

    /// What to do about a file that was to be CSV.
    pub fn instead_of_csv(self) -> Option<String> {
        match self {
            Self::Table(table) => Some(format!(
                "`format = \"{}\"` of the input in the manifest reads it",
                table.name()
            )),
            Self::Sequence => Some(IN_SEQUENCE.to_owned()),
            Self::Other(_, way) => Some(way.to_owned()),
            _ => None,
        }
    }
}

/// What keeps text from being read as UTF-8, told by its beginning. It is of an older encoding; the
/// deployer knows how to find out which.
fn encoding_defect(beginning: &[u8]) -> Option<Hinted> {
    let error = std::str::from_utf8(beginning).err()?;
    // The beginning may end inside of a character.
    error.error_len()?;
    let line = 1 + beginning[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
    Some(Hinted::new(format!("the text is not UTF-8 (line {line})"), CONVERTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_beginning() {
        for (beginning, name) in [
            (&b""[..], "text"),
            ("region,year\nАлматы,2000\n".as_bytes(), "text"),
            (b"\xef\xbb\xbfregion\r\n", "text"),
            (b"\xff\xfer\0e\0", "text in UTF-16"),
            (b"\xff\xfe\0\0r\0\0\0", "text in UTF-32"),
            (b"r\0e\0g\0", "no text, or text in UTF-16 without its mark"),
            (b"\x1f\x8b\x08\0", "compressed by gzip"),
            (b"PK\x03\x04\x14\0", "a workbook or another archive"),
            (b"PAR1\x15\x04\x15\x10", "a Parquet file"),
            (b"SEQ\x06\x19org.apache", "a Hadoop sequence file"),
            (b"SEQ\x05\x19org.apache", "a sequence file of an old version"),
            (b"ORC\n\x0b\n\x03\0", "an ORC file"),
            (b"\xef\xbb\xbf [\n {\"region\": 1}]", "a JSON array"),
            (b"{ \"region\": \"A\" }\n", "JSON"),
            (b"<!DOCTYPE html><html>", "a web page or another document in XML"),
        ] {
            assert_eq!(Format::of(beginning).name(), name);
        }
    }

    #[test]
    fn text_of_an_older_encoding_is_told_with_its_line() {
        assert!(encoding_defect("region,year\nАлматы,2000\n".as_bytes()).is_none());
        // `region\nАкмола` in Windows-1251.
        let cyrillic = encoding_defect(b"region\n\xc0\xea\xec\xee\xeb\xe0\n").expect("a defect");
        assert_eq!(cyrillic.to_string(), "the text is not UTF-8 (line 2)");
        assert_eq!(cyrillic.hints(), [CONVERTS]);
    }

    #[test]
    fn headers_that_look_like_a_format_are_text() {
        for header in
            ["SEQ,year\n", "ORCID,year\n", "PAR1,PAR2\n", "[Region],[Year]\n", "<TICKER>;<DATE>\n"]
        {
            assert_eq!(Format::of(header.as_bytes()), Format::Text, "{header}");
        }
    }
}
