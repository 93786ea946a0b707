//! Where fields in quotes end. The library reads text behind a closing quote as part of the field,
//! Spark as `etl.py` asks refuses it, and so does this.

/// A field in quotes that goes on behind its closing quote.
#[derive(Debug, thiserror::Error)]
#[error("a field in quotes has a quote in it; it must be written twice")]
pub struct BareQuote {
    /// Ends of lines before it among the bytes that were looked at.
    pub lines_before: u64,
}

/// Follows the quotes of a file, piece by piece. Lines end with LF.
#[derive(Debug)]
pub struct Quotes {
    delimiter: u8,
    at: At,
    /// Bytes of a mark of byte order at the beginning, which is no part of the first field.
    mark: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Where a field begins.
    Start,
    /// In a field without quotes, in which others are text.
    Plain,
    /// In quotes.
    Quoted,
    /// Behind a quote that is the last of the field, or the first of two.
    Closed,
}

const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

impl Quotes {
    /// Of a file whose fields are parted by `delimiter`.
    pub fn new(delimiter: u8) -> Self {
        Self { delimiter, at: At::Start, mark: 0 }
    }

    /// Looks at the next bytes.
    pub fn look(&mut self, bytes: &[u8]) -> Result<(), BareQuote> {
        let mut here = self.behind_mark(bytes);
        while here < bytes.len() {
            let next = memchr::memchr(b'"', &bytes[here..]).map(|found| here + found);
            match (self.at, next) {
                (At::Closed, _) => {
                    self.at = match bytes[here] {
                        b'"' => At::Quoted,
                        byte if self.parts(byte) => At::Start,
                        _ => {
                            let before = memchr::memchr_iter(b'\n', &bytes[..here]).count();
                            return Err(BareQuote { lines_before: before as u64 });
                        }
                    };
                    here += 1;
                }
                (At::Quoted, None) => return Ok(()),
                (At::Quoted, Some(quote)) => (self.at, here) = (At::Closed, quote + 1),
                (At::Start | At::Plain, None) => {
                    let last = bytes[bytes.len() - 1];
                    self.at = if self.parts(last) { At::Start } else { At::Plain };
                    return Ok(());
                }
                (At::Start | At::Plain, Some(quote)) => {
                    let opens = match quote == here {
                        true => self.at == At::Start,
                        false => self.parts(bytes[quote - 1]),
                    };
                    (self.at, here) = (if opens { At::Quoted } else { At::Plain }, quote + 1);
                }
            }
        }
        Ok(())
    }

    /// Whether a field ends before `byte`.
    fn parts(&self, byte: u8) -> bool {
        byte == self.delimiter || byte == b'\n'
    }

    /// Where the first field begins, in the first bytes of a file.
    fn behind_mark(&mut self, bytes: &[u8]) -> usize {
        let mut here = 0;
        while let Some(wanted) = MARK.get(usize::from(self.mark))
            && here < bytes.len()
        {
            if bytes[here] != *wanted {
                // What seemed to be a mark was text.
                self.at = if self.mark > 0 { At::Plain } else { At::Start };
                self.mark = MARK.len() as u8;
                break;
            }
            (self.mark, here) = (self.mark + 1, here + 1);
        }
        here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends of lines before the first bare quote, however the file is cut into pieces.
    fn found(file: &str) -> Option<u64> {
        let whole = Quotes::new(b';').look(file.as_bytes()).err().map(|e| e.lines_before);
        for size in 1..file.len() {
            let (mut quotes, mut lines) = (Quotes::new(b';'), 0);
            let cut = file.as_bytes().chunks(size).find_map(|piece| {
                let bare = quotes.look(piece).err().map(|e| lines + e.lines_before);
                lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
                bare
            });
            assert_eq!(cut, whole, "{file:?} in pieces of {size}");
        }
        whole
    }

    #[test]
    fn what_stands_behind_a_closing_quote_is_seen() {
        for (file, line) in [
            ("a;b\n\"x\"y;1\n", Some(1)),
            ("a;b\n1;\"x\" \n", Some(1)),
            ("a;b\n\"x\ny\";\"1\"\"2\"3\n", Some(2)),
            ("\u{feff}\"a\"b;c\n", Some(0)),
        ] {
            assert_eq!(found(file), line, "{file:?}");
        }
        for file in [
            "\"a\";\"b\"\n\"\"\"x\"\"\";\"\"\n",
            "5\" of;it\"s\n \"x\"y;1\n",
            "\u{feff}\"a;\";b\n\"x\n\ny\";1",
            "\"\u{feff}\";1\n",
            "",
        ] {
            assert_eq!(found(file), None, "{file:?}");
        }
    }
}
