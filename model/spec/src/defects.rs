//! What is wrong with a manifest beyond its syntax, each with the key that it is about.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problems::{Problem, Problems, line_and_column};

/// Everything that is wrong: a key as in `data.columns[2].name`, and what is wrong with it.
#[derive(Default)]
pub(crate) struct Defects(Vec<(String, String)>);

impl Defects {
    /// Notes a defect.
    pub(crate) fn add(&mut self, key: impl Into<String>, message: String) {
        self.0.push((key.into(), message));
    }

    /// Notes a defect unless something holds.
    pub(crate) fn need(
        &mut self,
        key: impl Into<String>,
        holds: bool,
        message: impl FnOnce() -> String,
    ) {
        if !holds {
            self.add(key, message());
        }
    }

    /// Whether a number is in a range.
    pub(crate) fn range(&mut self, key: &str, value: usize, (low, high): (usize, usize)) {
        self.need(key, (low..=high).contains(&value), || {
            format!("`{key}` is {value}; expected {low} to {high}")
        });
    }

    /// The defects with their places in `text`, the content of `file`; none is good.
    pub(crate) fn located(self, file: &str, text: &str) -> Result<(), Problems> {
        if self.0.is_empty() {
            return Ok(());
        }
        let document = DeTable::parse(text).ok();
        let mut found: Vec<(usize, Problem)> = Vec::new();
        for (key, message) in self.0 {
            let at = document.as_ref().and_then(|d| position(d.get_ref(), &key));
            let place = match at {
                Some(at) => format!("{file}:{}", line_and_column(text, at)),
                None => file.to_owned(),
            };
            found.push((at.unwrap_or_default(), Problem { place, message, hint: None }));
        }
        found.sort_by_key(|(at, _)| *at);
        Err(Problems(found.into_iter().map(|(_, problem)| problem).collect()))
    }
}

/// Where a key stands; where what it would be in stands, if it is not there itself.
fn position(document: &DeTable<'_>, key: &str) -> Option<usize> {
    let mut at = None;
    let mut table = Some(document);
    for step in key.split('.') {
        let (name, index) = match step.trim_end_matches(']').split_once('[') {
            Some((name, index)) => (name, index.parse::<usize>().ok()),
            None => (step, None),
        };
        let Some((found, value)) = table.and_then(|t| t.get_key_value(name)) else { break };
        at = Some(found.span().start);
        let mut value: &Spanned<DeValue<'_>> = value;
        if let (Some(index), DeValue::Array(items)) = (index, value.get_ref()) {
            let Some(item) = items.get(index) else { break };
            at = Some(item.span().start);
            value = item;
        }
        table = match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => None,
        };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_as_far_as_it_is_there() {
        let text = "name = \"x\"\n[data]\ncolumns = [\n  { name = \"a\" },\n  { name = \"b\" },\n]\n\
                    [[rules]]\nname = \"one\"\n[[rules]]\nname = \"two\"\n";
        let document = DeTable::parse(text).expect("TOML");
        let place =
            |key: &str| position(document.get_ref(), key).map(|at| line_and_column(text, at));
        let places =
            ["name", "data.columns[1].name", "data.columns[7]", "data.sql", "rules[1].name"];
        let expected = ["1:1", "5:5", "3:1", "2:2", "10:1"].map(|p| Some(p.to_owned()));
        assert_eq!(places.map(place), expected);
        assert_eq!(place("nothing"), None);
    }
}
