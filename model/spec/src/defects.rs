//! What is wrong with a configuration file beyond its syntax, each with the key that it is about.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problems::{Problem, Problems, line_and_column};

/// Everything that is wrong.
#[derive(Default)]
pub struct Defects {
    found: Vec<Defect>,
    /// Tables of which something could not be read, so that a default may stand for it.
    doubtful: BTreeSet<String>,
    /// The number of the task whose keys are those of a task by itself, as in `task.horizon` and
    /// `model.lstm`.
    of_task: Option<usize>,
}

struct Defect {
    /// As in `inputs[0].columns.year`.
    key: String,
    message: String,
    hint: Option<String>,
}

impl Defects {
    /// Notes a defect of form, which is told in any case.
    pub(crate) fn form(&mut self, key: impl Into<String>, message: String, hint: Option<String>) {
        self.found.push(Defect { key: key.into(), message, hint });
    }

    /// What the table at `key` says is not known in full: other defects of its keys may only follow
    /// from that, and are not told.
    pub(crate) fn doubt(&mut self, key: &str) {
        self.doubtful.insert(key.to_owned());
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Notes a defect.
    pub fn add(&mut self, key: impl Into<String>, message: String) {
        self.add_with(key, message, None);
    }

    /// Notes a defect, and what may be meant.
    pub fn add_with(&mut self, key: impl Into<String>, message: String, hint: Option<String>) {
        let key = self.place(key.into());
        let table = key.rsplit_once('.').map_or("", |(table, _)| table);
        if !self.doubtful.contains(table) {
            self.form(key, message, hint);
        }
    }

    /// Notes defects of a manifest's task with a number, which somebody else knows as a task by
    /// itself.
    pub(crate) fn of_task(&mut self, number: usize, note: impl FnOnce(&mut Self)) {
        self.of_task = Some(number);
        note(self);
        self.of_task = None;
    }

    /// Where the key of a task by itself stands in a manifest.
    fn place(&self, key: String) -> String {
        match (self.of_task, key.strip_prefix("task.")) {
            (None, _) => key,
            (Some(number), Some(own)) => format!("tasks[{number}].{own}"),
            (Some(number), None) => format!("tasks[{number}].{key}"),
        }
    }

    /// Notes a defect unless something holds.
    pub fn need(&mut self, key: impl Into<String>, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.add(key, message());
        }
    }

    /// The defects without places; none is good.
    pub(crate) fn told(self) -> Result<(), String> {
        let messages: Vec<String> = self.found.into_iter().map(|defect| defect.message).collect();
        if messages.is_empty() { Ok(()) } else { Err(messages.join("; ")) }
    }

    /// The defects with their places in `text`, the content of `file`; none is good.
    pub fn located(self, file: &str, text: &str) -> Result<(), Problems> {
        if self.found.is_empty() {
            return Ok(());
        }
        let document = DeTable::parse(text).ok();
        let mut found: Vec<(usize, Problem)> = Vec::new();
        for Defect { key, message, hint } in self.found {
            let at = document.as_ref().and_then(|d| position(d.get_ref(), &key));
            let place = match at {
                Some(at) => format!("{file}:{}", line_and_column(text, at)),
                None => file.to_owned(),
            };
            found.push((at.unwrap_or_default(), Problem { place, message, hint }));
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
        let text = "name = \"x\"\n[data]\ncolumns = [\n  { name = \"a\" },\n  { name = \"b\" },\n\
                    ]\n\
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
