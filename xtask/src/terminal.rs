//! Everything that this program prints goes through here.
//!
//! Names of series, messages of services and logs come from outside. A control or bidirectional
//! character in them could set the terminal's title, hide a line or turn a sentence around, so such
//! characters are shown and never sent. A pipe that was closed ends nothing: whoever reads only the
//! beginning of a deployment's story must not break the deployment off.
//!
//! What goes on is drawn in a block below everything else, and drawn again after whatever is
//! written, so that the scrollback holds finished lines only.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Why a result could not be written, if it could not.
static LOST: OnceLock<String> = OnceLock::new();

/// Writes a result to standard output. Newlines and tabs stay.
pub fn out(text: &str) {
    write_out(&shown_lines(text));
}

/// Writes a JSON document and a newline to standard output; it stays the same document.
pub fn out_json(json: &str) {
    write_out(&format!("{}\n", escaped(json, |c| matches!(c, '\n' | '\t'), json_escape)));
}

fn write_out(text: &str) {
    let written = above_the_block(|| {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    });
    if let Err(error) = written.as_ref().map_err(std::io::Error::kind)
        && error != ErrorKind::BrokenPipe
    {
        let why = written.err().map(|e| e.to_string()).unwrap_or_default();
        // Only the first reason counts.
        let _ = LOST.set(why);
    }
}

/// Why the result, or a part of it, did not reach standard output.
pub fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Writes a line to standard error. What cannot be written is lost: progress is not the result.
pub fn err(line: &str) {
    above_the_block(|| {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    });
}

/// Writes to standard error without a newline, for questions. Nothing is drawn until the next
/// [`draw`], so that the cursor stays behind the question.
pub fn ask(text: &str) {
    let mut block = block();
    block.erase();
    block.lines.clear();
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Draws what goes on, below everything that was written, in place of what was drawn before.
pub fn draw(lines: Vec<String>) {
    let mut block = block();
    if block.lines != lines {
        block.erase();
        block.lines = lines;
        block.show();
    }
}

/// Columns of the terminal behind standard error.
pub fn width() -> usize {
    let size = console::Term::stderr().size_checked();
    size.map_or(WIDTH, |(_, columns)| usize::from(columns).max(WIDTH_MIN))
}

/// Columns of a terminal that does not tell.
const WIDTH: usize = 80;
/// Columns below which a terminal is not taken at its word.
const WIDTH_MIN: usize = 20;

/// The last lines of the screen, which are drawn again and again.
struct Block {
    /// What is to be seen.
    lines: Vec<String>,
    /// Columns that each of the lines on the screen takes.
    drawn: Vec<usize>,
}

static BLOCK: Mutex<Block> = Mutex::new(Block { lines: Vec::new(), drawn: Vec::new() });

fn block() -> MutexGuard<'static, Block> {
    BLOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes something that stays, where the block was.
fn above_the_block<T>(write: impl FnOnce() -> T) -> T {
    let mut block = block();
    block.erase();
    let written = write();
    block.show();
    written
}

impl Block {
    /// Takes the lines from the screen. A terminal that has become narrower has broken them.
    fn erase(&mut self) {
        if self.drawn.is_empty() {
            return;
        }
        let width = width();
        let rows: usize = self.drawn.drain(..).map(|columns| columns.div_ceil(width).max(1)).sum();
        let upwards = format!("\r\u{1b}[{rows}A\u{1b}[J");
        let _ = std::io::stderr().lock().write_all(upwards.as_bytes());
    }

    /// Draws the lines, none wider than the screen.
    fn show(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        // The last column stays free: some terminals begin a new line there.
        let width = width() - 1;
        let cut = |line: &String| console::truncate_str(line, width, "…").into_owned();
        let lines: Vec<String> = self.lines.iter().map(cut).collect();
        self.drawn = lines.iter().map(|line| console::measure_text_width(line)).collect();
        let frame = lines.join("\n") + "\n";
        let _ = std::io::stderr().lock().write_all(frame.as_bytes());
    }
}

/// A text of one line with its control and bidirectional characters shown as `\u{1b}`.
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false, rust_escape)
}

/// A text of many lines, likewise; newlines and tabs stay.
pub fn shown_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'), rust_escape)
}

fn escaped(text: &str, keeps: fn(char) -> bool, escape: fn(&mut String, char)) -> Cow<'_, str> {
    let is_bad = |c: char| moves_things(c) && !keeps(c);
    if !text.contains(is_bad) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_bad(c) {
            escape(&mut safe, c);
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

fn rust_escape(to: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = write!(to, "\\u{{{:x}}}", u32::from(c));
}

/// Everything that needs it is below U+10000, so one unit of UTF-16 is enough.
fn json_escape(to: &mut String, c: char) {
    let _ = write!(to, "\\u{:04x}", u32::from(c));
}

/// Whether a character does something to a terminal, or to the order of what it shows, instead of
/// being shown.
fn moves_things(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{escaped, json_escape, shown, shown_lines};

    #[test]
    fn what_moves_the_cursor_is_shown() {
        assert_eq!(shown("Алматы, Côte d’Ivoire 北京"), "Алматы, Côte d’Ivoire 北京");
        assert_eq!(shown("a\u{1b}]0;owned\u{7}b"), "a\\u{1b}]0;owned\\u{7}b");
        assert_eq!(shown("a\r\nb\u{9b}1A\u{7f}"), "a\\u{d}\\u{a}b\\u{9b}1A\\u{7f}");
        assert_eq!(shown("\u{202e}gpj.exe\u{2066}"), "\\u{202e}gpj.exe\\u{2066}");
        assert_eq!(shown_lines("a\tb\nc\u{1b}"), "a\tb\nc\\u{1b}");
    }

    #[test]
    fn a_json_document_stays_what_it_is() {
        let text = serde_json::to_string(&"a\u{202e}\u{9b}\u{7f}\n").expect("JSON");
        let safe = escaped(&text, |_| false, json_escape);
        assert!(safe.is_ascii(), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).expect("JSON"), "a\u{202e}\u{9b}\u{7f}\n");
    }

    #[test]
    fn nothing_is_printed_past_this_module() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![source];
        let mut printing = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("terminal.rs") {
                    let text = std::fs::read_to_string(&path).expect("readable");
                    if text.contains("print!(") || text.contains("println!(") {
                        printing.push(path);
                    }
                }
            }
        }
        assert!(printing.is_empty(), "{printing:?}");
    }
}
