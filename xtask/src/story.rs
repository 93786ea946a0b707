//! What a verb tells while it works: one line per finished thing, on standard error.
//!
//! Standard output carries results only. Colour and nothing else depends on a terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::terminal::{ask, err, shown};

/// Tells about one verb.
#[derive(Debug)]
pub struct Story {
    started: Instant,
    colour: bool,
}

impl Story {
    /// Begins.
    pub fn begin() -> Self {
        Self {
            started: Instant::now(),
            colour: std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// `    uploaded  the model server (7.1 MB)            0.2 s`.
    pub fn done(&self, verb: &str, what: &str, took: Duration) {
        self.line("32", verb, &format!("{what:<66} {:>6.1} s", took.as_secs_f64()));
    }

    /// A fact that took no time.
    pub fn note(&self, verb: &str, what: &str) {
        self.line("36", verb, what);
    }

    /// Something that went wrong.
    pub fn failed(&self, verb: &str, what: &str) {
        self.line("31", verb, what);
    }

    fn line(&self, colour: &str, verb: &str, rest: &str) {
        let mut parts = rest.trim_end().split("\nhint: ").map(shown);
        let rest = parts.next().unwrap_or_default();
        if self.colour {
            err(&format!("\u{1b}[1;{colour}m{verb:>12}\u{1b}[0m  {rest}"));
        } else {
            err(&format!("{verb:>12}  {rest}"));
        }
        parts.for_each(|hint| err(&format!("{:>12}  {hint}", "hint")));
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Asks a question that only a person can answer; without a terminal the answer is no.
pub fn confirm(question: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    ask(&format!("{question} [y/N] "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// A table with aligned columns; numbers to the right. Every cell stays on its line.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<_> = header.iter().map(|text| shown(text)).collect();
    let rows: Vec<Vec<_>> = rows.iter().map(|r| r.iter().map(|c| shown(c)).collect()).collect();
    let width = |i: usize| {
        rows.iter()
            .map(|r| r[i].chars().count())
            .chain([header[i].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let numeric: Vec<bool> = (0..header.len())
        .map(|i| {
            !rows.is_empty() && rows.iter().all(|r| r[i].is_empty() || r[i].parse::<f64>().is_ok())
        })
        .collect();
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[std::borrow::Cow<str>]| {
        let cell = |i: usize, text: &str| {
            if numeric[i] {
                format!("{text:>0$}", widths[i])
            } else {
                format!("{text:<0$}", widths[i])
            }
        };
        let cells: Vec<String> = cells.iter().enumerate().map(|(i, text)| cell(i, text)).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let rule: Vec<_> = widths.iter().map(|w| "─".repeat(*w).into()).collect();
    let mut out = line(&header) + &line(&rule);
    rows.iter().for_each(|r| out += &line(r));
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn tables_align_numbers_to_the_right() {
        let text = super::table(
            &["name", "n"],
            &[vec!["a".into(), "7".into()], vec!["bcdef".into(), "1234".into()]],
        );
        assert_eq!(text, "name      n\n─────  ────\na         7\nbcdef  1234\n");
    }
}
