//! Where fields in quotes end. The library reads whatever is behind a closing quote as part of the
//! field; Spark as `etl.py` asks leaves out blanks there and refuses text, and so does this.

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
    /// Behind blanks behind the last quote of a field.
    Behind,
}

const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

impl Quotes {
    /// Of a file whose fields are parted by `delimiter`.
    pub fn new(delimiter: u8) -> Self {
        Self { delimiter, at: At::Start, mark: 0 }
    }

    /// Looks at the next bytes, and takes blanks behind closing quotes out of them; how many are
    /// left.
    pub fn look(&mut self, bytes: &mut [u8]) -> Result<usize, BareQuote> {
        let blanks = self.blanks(bytes)?;
        if blanks.is_empty() {
            return Ok(bytes.len());
        }
        let (mut next, mut kept) = (0, 0);
        for blank in blanks.into_iter().chain([bytes.len()]) {
            bytes.copy_within(next..blank, kept);
            (kept, next) = (kept + blank - next, blank + 1);
        }
        Ok(kept)
    }

    /// Places of blanks behind closing quotes.
    fn blanks(&mut self, bytes: &[u8]) -> Result<Vec<usize>, BareQuote> {
        let (mut here, mut blanks) = (self.behind_mark(bytes), vec![]);
        while here < bytes.len() {
            let next = memchr::memchr(b'"', &bytes[here..]).map(|found| here + found);
            match (self.at, next) {
                (At::Closed | At::Behind, _) => {
                    self.at = match bytes[here] {
                        b'"' if self.at == At::Closed => At::Quoted,
                        byte if self.parts(byte) => At::Start,
                        byte if byte <= b' ' => {
                            blanks.push(here);
                            At::Behind
                        }
                        _ => {
                            let before = memchr::memchr_iter(b'\n', &bytes[..here]).count();
                            return Err(BareQuote { lines_before: before as u64 });
                        }
                    };
                    here += 1;
                }
                (At::Quoted, None) => break,
                (At::Quoted, Some(quote)) => (self.at, here) = (At::Closed, quote + 1),
                (At::Start | At::Plain, None) => {
                    let last = bytes[bytes.len() - 1];
                    self.at = if self.parts(last) { At::Start } else { At::Plain };
                    break;
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
        Ok(blanks)
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

    /// What is left of a file, or ends of lines before its first bare quote, however it is cut into
    /// pieces.
    fn found(file: &str) -> Result<String, u64> {
        let cut = |size: usize| {
            let (mut quotes, mut lines, mut left) = (Quotes::new(b';'), 0, vec![]);
            for piece in file.as_bytes().chunks(size) {
                let mut bytes = piece.to_vec();
                let kept = quotes.look(&mut bytes).map_err(|bare| lines + bare.lines_before)?;
                left.extend_from_slice(&bytes[..kept]);
                lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
            Ok(String::from_utf8(left).expect("text"))
        };
        let whole = cut(file.len().max(1));
        (1..file.len()).for_each(|size| assert_eq!(cut(size), whole, "{file:?} in {size}"));
        whole
    }

    #[test]
    fn what_stands_behind_a_closing_quote_is_seen() {
        for (file, line) in [
            ("a;b\n\"x\"y;1\n", 1),
            ("a;b\n1;\"x\" \"\n", 1),
            ("a;b\n1;\"x\" y\n", 1),
            ("a;b\n\"x\ny\";\"1\"\"2\"3\n", 2),
            ("\u{feff}\"a\"b;c\n", 0),
        ] {
            assert_eq!(found(file), Err(line), "{file:?}");
        }
        for file in [
            "\"a\";\"b\"\n\"\"\"x\"\"\";\"\"\n",
            "5\" of;it\"s\n \"x\"y;1\n",
            "\u{feff}\"a;\";b\n\"x\n\ny\";1",
            "\"\u{feff}\";1\n",
            "",
        ] {
            assert_eq!(found(file).as_deref(), Ok(file));
        }
        let blanks = "\"x\" ;\"y \"\t \n a ;\"z\"\n";
        assert_eq!(found(blanks).as_deref(), Ok("\"x\";\"y \"\n a ;\"z\"\n"));
    }
}
