//! Records of a CSV with the lines on which they begin, read as a stream.
//!
//! Lines end with CR, LF or both, also inside of quotes, where both engines read LF. Lines before
//! the header are skipped as they are, whatever quotes they have.

use std::io::{BufRead, BufReader, Read};

use csv::{ByteRecord, ReaderBuilder};

use super::header::trimmed;
use super::quotes::{BareQuote, Quotes};
use crate::format::CONVERTS;

/// Longest record: a quote that is not closed must not take the rest of the file into memory.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// Line on which it begins, from 1.
    pub line: u64,
    /// Line after its last.
    pub next_line: u64,
    /// The first of the empty lines before it.
    pub empty_line: Option<u64>,
}

/// The records of a file, the header among them.
#[derive(Debug)]
pub struct Records<R> {
    reader: csv::Reader<Lines<R>>,
    skipped: u64,
    next_line: u64,
}

/// Why a file has no header.
#[derive(Debug, thiserror::Error)]
pub enum NoHeader {
    /// It cannot be read.
    #[error("the header cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// Another line may be it.
    #[error("line {line} is empty, and the header may be line {found}")]
    Elsewhere {
        /// Where it should be.
        line: u64,
        /// Where it may be.
        found: u64,
    },
    /// It is text in another encoding.
    #[error("line {line}: the text is not UTF-8")]
    NotText {
        /// Its line.
        line: u64,
    },
}

impl NoHeader {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable(_) => None,
            Self::Elsewhere { .. } => {
                Some("`skip_lines` in the manifest says how many lines are before the header")
            }
            Self::NotText { .. } => Some(CONVERTS),
        }
    }
}

impl<R: Read> Records<R> {
    /// Of a file without its first `skip_lines` lines.
    pub fn new(file: R, delimiter: u8, skip_lines: u64) -> Self {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter).has_headers(false).flexible(true);
        builder.buffer_capacity(READ_BYTES);
        let lines = Lines { quotes: Some(Quotes::new(delimiter)), ..Lines::new(file, skip_lines) };
        let reader = builder.from_reader(lines);
        Self { reader, skipped: skip_lines, next_line: skip_lines + 1 }
    }

    /// Reads the header's fields, trimmed; an empty file has none.
    pub fn header(&mut self) -> Result<Vec<String>, NoHeader> {
        let (line, mut record) = (self.next_line, ByteRecord::new());
        if let Some(Stand { line: found, empty_line: Some(_), .. }) = self.read(&mut record)? {
            return Err(NoHeader::Elsewhere { line, found });
        }
        let text = |field| std::str::from_utf8(field).map_err(|_| NoHeader::NotText { line });
        record.iter().map(|field| text(field).map(|text| trimmed(text).to_owned())).collect()
    }

    /// Reads the next record that is not an empty line.
    pub fn read(&mut self, record: &mut ByteRecord) -> std::io::Result<Option<Stand>> {
        if !self.reader.read_byte_record(record).map_err(|error| self.located(error))? {
            return Ok(None);
        }
        self.reader.get_mut().record_ends();
        // The library's own line is that of the empty lines before a record. Every line here has
        // an end, so the record's first is known from its last.
        let next_line = self.skipped + self.reader.position().line();
        let inside = match next_line - self.next_line {
            // One line, as most records are: nothing is to be counted.
            1 => 0,
            _ => memchr::memchr_iter(b'\n', record.as_slice()).count() as u64,
        };
        let line = next_line - 1 - inside;
        let empty_line = (line > self.next_line).then_some(self.next_line);
        let stand = Stand { line, next_line, empty_line };
        self.next_line = next_line;
        Ok(Some(stand))
    }

    /// What kept a record from being read, as whoever reads the file told it; a quote that must not
    /// be there has its line.
    fn located(&self, error: csv::Error) -> std::io::Error {
        let read = match error.is_io_error() {
            true => error.into_kind(),
            // Any number of fields is a record, and bytes are not asked to be text.
            false => return std::io::Error::other(error),
        };
        let csv::ErrorKind::Io(read) = read else { unreachable!("it is an error of reading") };
        let bare = read.get_ref().and_then(|error| error.downcast_ref::<BareQuote>());
        let Some(bare) = bare else { return read };
        // Everything before the bytes that were looked at was read.
        let line = self.skipped + self.reader.position().line() + bare.lines_before;
        std::io::Error::other(format!("line {line}: {bare}"))
    }
}

/// Bytes of a file in which every line ends with LF, the last one, too.
#[derive(Debug)]
pub struct Lines<R> {
    file: BufReader<R>,
    skip: u64,
    after_cr: bool,
    last: u8,
    since_record: usize,
    /// Of a CSV.
    quotes: Option<Quotes>,
}

impl<R: Read> Lines<R> {
    /// Of a file without its first `skip` lines.
    pub fn new(file: R, skip: u64) -> Self {
        let file = BufReader::with_capacity(READ_BYTES, file);
        Self { file, skip, after_cr: false, last: b'\n', since_record: 0, quotes: None }
    }

    /// Says that a record has ended, which may be at most [`RECORD_BYTES_MAX`] long.
    pub fn record_ends(&mut self) {
        self.since_record = 0;
    }

    /// Gives what the next bytes of the file say; how many that are, none at its end.
    fn next(&mut self, out: &mut [u8]) -> std::io::Result<Option<usize>> {
        let bytes = self.file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let (read, mut written) = (bytes.len().min(out.len()), 0);
        let plain = self.skip == 0 && !self.after_cr;
        if plain && memchr::memchr(b'\r', &bytes[..read]).is_none() {
            out[..read].copy_from_slice(&bytes[..read]);
            self.last = bytes[read - 1];
            self.file.consume(read);
            return Ok(Some(read));
        }
        for byte in &bytes[..read] {
            let second = *byte == b'\n' && self.after_cr;
            self.after_cr = *byte == b'\r';
            let byte = if self.after_cr { b'\n' } else { *byte };
            if second {
                continue;
            }
            if self.skip > 0 {
                self.skip -= u64::from(byte == b'\n');
            } else {
                (out[written], self.last) = (byte, byte);
                written += 1;
            }
        }
        self.file.consume(read);
        Ok(Some(written))
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.since_record > RECORD_BYTES_MAX {
            return Err(std::io::Error::other(format!(
                "a record is longer than {RECORD_BYTES_MAX} bytes; a quote in it is not closed"
            )));
        }
        let mut written = 0;
        while written == 0 && !out.is_empty() {
            match self.next(out)? {
                Some(bytes) => written = bytes,
                None if self.last == b'\n' => break,
                None => (out[0], self.last, written) = (b'\n', b'\n', 1),
            }
            if let Some(quotes) = &mut self.quotes {
                written = quotes.look(&mut out[..written]).map_err(std::io::Error::other)?;
            }
        }
        self.since_record += written;
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, skip_lines: u64) -> Vec<(Vec<String>, u64, Option<u64>)> {
        let mut records = Records::new(file.as_bytes(), b';', skip_lines);
        let (mut record, mut out) = (ByteRecord::new(), Vec::new());
        while let Some(stand) = records.read(&mut record).expect("readable") {
            let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
            out.push((record.iter().map(text).collect(), stand.line, stand.empty_line));
        }
        out
    }

    #[test]
    fn records_know_their_lines_whatever_ends_them() {
        let file = "a;b\n\"x\ny\";1\n\n\nlast;2";
        let expected = [(1, None), (2, None), (6, Some(4))];
        for end in ["\n", "\r\n", "\r"] {
            let found = read(&file.replace('\n', end), 0);
            assert_eq!(found[1].0, ["x\ny", "1"], "{end:?}");
            let stands: Vec<_> = found.iter().map(|(_, line, empty)| (*line, *empty)).collect();
            assert_eq!(stands, expected, "{end:?}");
        }
    }

    #[test]
    fn lines_before_the_header_may_have_quotes() {
        for end in ["\n", "\r\n", "\r"] {
            let found = read(&"\u{feff}5\" of\n\na;b\n1;2\n".replace('\n', end), 2);
            assert_eq!((found.len(), found[0].1, found[0].2), (2, 3, None), "{end:?}");
        }
        assert_eq!(read("\u{feff}\"a\";b\n", 0)[0].0, ["a", "b"], "the mark of byte order");
        assert_eq!(read("\n\na;b\n", 1)[0].1, 3);
        assert_eq!(read("a\nb", 5).len(), 0);
    }

    #[test]
    fn blanks_behind_a_closing_quote_are_no_part_of_the_field() {
        let found = read("\"a\" ;b\n\"x \"\t  ;\" 1\"  ", 0);
        assert_eq!([&found[0].0, &found[1].0], [&["a", "b"], &["x ", " 1"]]);
    }

    #[test]
    fn a_quote_in_quotes_is_told_with_its_line() {
        let long = "a;b\n".repeat(50_000);
        for (file, skip_lines, line) in [
            ("a;b\n1;\"x\"y\n".to_owned(), 0, 2),
            ("\n\na;b\r\n\"x\r\ny\"z;1\n".to_owned(), 2, 5),
            (format!("{long}\"x\"y;1\n"), 0, 50_001),
        ] {
            let mut records = Records::new(file.as_bytes(), b';', skip_lines);
            let mut record = ByteRecord::new();
            let error = loop {
                if let Err(error) = records.read(&mut record) {
                    break error.to_string();
                }
            };
            let told = "a field in quotes has a quote in it; it must be written twice";
            assert_eq!(error, format!("line {line}: {told}"));
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_ends_reading() {
        let file = std::io::Read::chain(&b"a\n\""[..], std::io::repeat(b'x'));
        let mut records = Records::new(file, b',', 0);
        let mut record = ByteRecord::new();
        assert!(records.read(&mut record).expect("a header").is_some());
        let error = records.read(&mut record).expect_err("too long").to_string();
        assert!(error.contains("a quote in it is not closed"), "{error}");
    }
}
