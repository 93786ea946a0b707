//! Errors with what to do about them, and how a process tells both.
//!
//! Within a process a hint is a field of its error. Where a text is the only way, such as an exit
//! that Glue, Lambda or CloudFormation passes on, or standard error, the message comes first, then
//! each hint on a line of its own. Only [`text`] writes such texts, and only [`parts`] takes them
//! apart, in another process.

use std::error::Error;
use std::{fmt, io};

use crate::etl::header::HeaderDefect;
use crate::etl::records::NoHeader;

/// What a hint's line begins with.
const MARK: &str = "hint: ";

/// What happened, and what to do about it.
#[derive(Debug)]
pub struct Hinted {
    message: String,
    hints: Vec<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Hinted {
    /// An error with a hint.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with(message, vec![hint.into()])
    }

    /// An error with any number of hints.
    pub fn with(message: impl Into<String>, hints: Vec<String>) -> Self {
        Self { message: message.into(), hints, source: None }
    }

    /// What a process, or a service on behalf of one, told of an error as a text.
    pub fn of_process(text: &str) -> Self {
        let (message, hints) = parts(text.trim().trim_start_matches("error: "));
        Self::with(message, hints)
    }

    /// An error and its causes as one, whose hints it keeps.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let (mut message, mut hints) = (error.to_string(), hints_of(error));
        let mut next = error.source();
        while let Some(cause) = next {
            message.push_str(&format!(": {cause}"));
            hints.extend(hints_of(cause));
            next = cause.source();
        }
        Self::with(message, hints)
    }

    /// The same with another hint.
    pub fn and(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with what caused it.
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same at a place, which stands before the message.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// What to do about it.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// It as a process tells it, without what caused it; each line goes through `shown`.
    pub fn told(&self, shown: impl Fn(&str) -> String) -> String {
        text(&shown(&self.message), self.hints.iter().map(|hint| shown(hint)))
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}

/// A message alone.
impl From<String> for Hinted {
    fn from(message: String) -> Self {
        Self::with(message, vec![])
    }
}

/// What to do about an error of this crate; its causes' hints are theirs.
pub fn hints_of(error: &(dyn Error + 'static)) -> Vec<String> {
    if let Some(hinted) = error.downcast_ref::<Hinted>() {
        return hinted.hints.clone();
    }
    // What a reader hands on stands in for itself.
    if let Some(read) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return hints_of(read);
    }
    let header = error.downcast_ref::<HeaderDefect>().and_then(HeaderDefect::hint);
    let none = error.downcast_ref::<NoHeader>().and_then(NoHeader::hint).map(str::to_owned);
    header.into_iter().chain(none).collect()
}

/// An error, its causes and all their hints as a process tells them.
pub fn told(error: &(dyn Error + 'static)) -> String {
    let Hinted { message, mut hints, .. } = Hinted::of(error);
    hints.dedup();
    text(&message, hints)
}

/// A message and its hints where a text is the only way.
pub fn text<H: fmt::Display>(message: &str, hints: impl IntoIterator<Item = H>) -> String {
    let hints = hints.into_iter().map(|hint| format!("\n{MARK}{hint}"));
    std::iter::once(message.to_owned()).chain(hints).collect()
}

/// The message of such a text, and its hints.
pub fn parts(text: &str) -> (String, Vec<String>) {
    let (hints, message): (Vec<&str>, Vec<&str>) =
        text.trim_end().lines().partition(|line| line.starts_with(MARK));
    let hint = |line: &str| line.trim_start_matches(MARK).to_owned();
    (message.join("\n"), hints.into_iter().map(hint).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_stand_on_lines_of_their_own() {
        let (message, hints) = parts("it is a folder\nhint: give a file\nhint: or two\n");
        assert_eq!((message.as_str(), hints.len()), ("it is a folder", 2));
        assert_eq!(hints, ["give a file", "or two"]);
        assert_eq!(parts("no hint: at all"), ("no hint: at all".to_owned(), vec![]));
        assert_eq!(text(&message, &hints), "it is a folder\nhint: give a file\nhint: or two");
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_their_hints() {
        let header = NoHeader::NotText { line: 3 };
        let error = Hinted::new("a.csv", "look at it").because(header);
        let told = told(&error);
        assert!(told.starts_with("a.csv: line 3: the text is not UTF-8\nhint: look at it\n"));
        assert_eq!(parts(&told).1.len(), 2);
        let shown = Hinted::of(&error).at("raw").told(|text| text.replace("UTF-8", "UTF"));
        assert!(
            shown.starts_with("raw: a.csv: line 3: the text is not UTF\nhint: look"),
            "{shown}"
        );
    }
}
