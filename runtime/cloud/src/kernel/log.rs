//! The cloud's own log. A disk that is full, or a reader that went away, costs lines and nothing
//! else: requests must not fail because nobody can be told about them.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines that could not be written since the last one that could.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Writes to `W`; never fails, and says afterwards what is missing.
#[derive(Debug)]
pub struct Lossy<W>(pub W);

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let lost = LOST.swap(0, Ordering::Relaxed);
        let mut text = Vec::new();
        if lost > 0 {
            text.extend(format!("{lost} lines of this log could not be written\n").bytes());
        }
        text.extend(shown(&String::from_utf8_lossy(event)).bytes());
        if self.0.write_all(&text).is_err() {
            LOST.fetch_add(lost + 1, Ordering::Relaxed);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Text in which control and bidirectional characters are visible: names come from everywhere, and
/// a terminal that shows the log must not obey them.
pub fn shown(text: &str) -> String {
    let harmful = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if harmful(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 > 0 {
                self.0 -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_costs_lines_which_are_counted() {
        let mut log = Lossy(Full(2));
        for _ in 0..2 {
            log.write_all(b"line\n").expect("never fails");
        }
        assert_eq!(LOST.load(Ordering::Relaxed), 2);
        log.write_all(b"line\n").expect("written");
        assert_eq!(LOST.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn controls_are_shown() {
        assert_eq!(shown("a\u{1b}]0;x\u{7}\tb\u{202e}\n"), "a\\u{1b}]0;x\\u{7}\tb\\u{202e}\n");
    }
}
