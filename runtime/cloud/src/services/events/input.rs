//! What a target gets of an event: all of it, a part, a constant, or a text made of parts.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html>
//!
//! A variable whose path leads nowhere is empty within a text and `null` elsewhere.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Target;
use crate::kernel::cloud::iso;

/// Variables of a transformer.
const VARIABLES_MAX: usize = 100;

/// A text made of parts of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transformer {
    /// Paths by variable.
    pub paths: BTreeMap<String, String>,
    /// JSON with `<variables>` in it.
    pub template: String,
}

/// What variables of EventBridge say.
pub struct About<'a> {
    /// Name of the rule.
    pub rule: &'a str,
    /// Its ARN.
    pub arn: &'a str,
    /// When the event came.
    pub ingested: Timestamp,
}

/// What a target gets.
pub fn of(target: &Target, event: &Value, about: &About<'_>) -> String {
    if let Some(constant) = &target.input {
        return constant.clone();
    }
    if let Some(path) = &target.path {
        return at(event, path).cloned().unwrap_or_default().to_string();
    }
    match &target.transformer {
        Some(transformer) => transformer.of(event, about),
        None => event.to_string(),
    }
}

/// A step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Item(usize),
}

/// `$.detail.items[0]['a b']`
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut left = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !left.is_empty() {
        if let Some(rest) = left.strip_prefix('.') {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let name = &rest[..end];
            if name.is_empty() || name.contains(['*', '(', '?', '@']) {
                return None;
            }
            steps.push(Step::Member(name.to_owned()));
            left = &rest[end..];
            continue;
        }
        let (inner, rest) = left.strip_prefix('[')?.split_once(']')?;
        let quoted = |quote: char| inner.strip_prefix(quote)?.strip_suffix(quote);
        let step = match quoted('\'').or_else(|| quoted('"')) {
            Some(name) => Step::Member(name.to_owned()),
            None => Step::Item(inner.parse().ok()?),
        };
        steps.push(step);
        left = rest;
    }
    Some(steps)
}

/// Whether something is a path.
pub fn check_path(path: &str) -> Result<(), String> {
    steps(path).map(drop).ok_or_else(|| format!("Invalid JSONPath: {path}"))
}

fn at<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    steps(path)?.iter().try_fold(event, |value, step| match step {
        Step::Member(name) => value.get(name),
        Step::Item(number) => value.get(number),
    })
}

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// A variable, and whether it stands within a text.
    Variable(&'a str, bool),
}

/// Takes a template apart.
fn pieces(template: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut begin, mut at) = (Vec::new(), 0, 0);
    let (mut within, bytes) = (false, template.as_bytes());
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => within = !within,
            b'<' => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
                let name = template[at + 1..].split_once('>').map(|(name, _)| name);
                if let Some(name) = name.filter(|n| !n.is_empty() && n.chars().all(plain)) {
                    pieces.push(Piece::Text(&template[begin..at]));
                    pieces.push(Piece::Variable(name, within));
                    at += name.len() + 1;
                    begin = at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    pieces.push(Piece::Text(&template[begin..]));
    pieces
}

impl Transformer {
    /// Reads and checks a transformer.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let paths = value["InputPathsMap"].as_object().into_iter().flatten();
        let paths =
            paths.map(|(name, path)| (name.clone(), path.as_str().unwrap_or_default().to_owned()));
        let paths: BTreeMap<String, String> = paths.collect();
        if paths.len() > VARIABLES_MAX {
            return Err(format!("InputPathsMap has more than {VARIABLES_MAX} variables"));
        }
        paths.values().try_for_each(|path| check_path(path))?;
        if let Some(name) = paths.keys().find(|name| name.to_ascii_lowercase().starts_with("aws")) {
            return Err(format!("InputPathsMap has a variable that begins with AWS: {name}"));
        }
        let template = value["InputTemplate"].as_str().unwrap_or_default().to_owned();
        let transformer = Self { paths, template };
        for piece in pieces(&transformer.template) {
            if let Piece::Variable(name, _) = piece
                && !transformer.paths.contains_key(name)
                && !OWN.contains(&name)
            {
                return Err(format!(
                    "InputTemplate contains placeholder {name} that is not in InputPathsMap"
                ));
            }
        }
        let filled = transformer.filled(|_| None);
        match serde_json::from_str::<Value>(&filled) {
            Ok(_) => Ok(transformer),
            Err(error) => Err(format!("InputTemplate is not JSON: {error}")),
        }
    }

    fn filled(&self, value: impl Fn(&str) -> Option<Value>) -> String {
        let fill = |piece: Piece<'_>| match piece {
            Piece::Text(text) => text.to_owned(),
            Piece::Variable(name, false) => value(name).unwrap_or_default().to_string(),
            Piece::Variable(name, true) => {
                let text = match value(name) {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text,
                    Some(other) => other.to_string(),
                };
                let quoted = Value::from(text).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
        };
        pieces(&self.template).into_iter().map(fill).collect()
    }

    fn of(&self, event: &Value, about: &About<'_>) -> String {
        self.filled(|name| match self.paths.get(name) {
            Some(path) => at(event, path).cloned(),
            None => own(name, event, about),
        })
    }
}

/// Variables of EventBridge itself.
const OWN: &[&str] = &[
    "aws.events.event",
    "aws.events.event.ingestion-time",
    "aws.events.event.json",
    "aws.events.rule-arn",
    "aws.events.rule-name",
];

fn own(name: &str, event: &Value, about: &About<'_>) -> Option<Value> {
    Some(match name {
        "aws.events.rule-arn" => about.arn.into(),
        "aws.events.rule-name" => about.rule.into(),
        "aws.events.event.ingestion-time" => iso(about.ingested).into(),
        "aws.events.event.json" => event.clone(),
        "aws.events.event" => {
            let mut head = event.clone();
            head.as_object_mut()?.remove("detail");
            head
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn transformed(paths: Value, template: &str) -> Result<String, String> {
        let event = json!({
            "source": "s",
            "detail": { "name": "a \"b\"", "size": 3, "all": [{ "x": 1 }, 2], "odd name": true },
        });
        let about = About { rule: "r", arn: "arn", ingested: Timestamp::UNIX_EPOCH };
        let value = json!({ "InputPathsMap": paths, "InputTemplate": template });
        Ok(Transformer::parse(&value)?.of(&event, &about))
    }

    #[test]
    fn variables_are_values_or_parts_of_texts() {
        let paths = json!({
            "n": "$.detail.name", "s": "$.detail.size", "a": "$.detail.all",
            "x": "$.detail.all[0].x",
            "o": "$.detail['odd name']", "none": "$.detail.none",
        });
        for (template, expected) in [
            (r#"{"n": <n>, "s": <s>, "a": <a>}"#, r#"{"n": "a \"b\"", "s": 3, "a": [{"x":1},2]}"#),
            (r#""<n> has <s>""#, r#""a \"b\" has 3""#),
            (r#"{"<x>": "<a>", "o": <o>}"#, r#"{"1": "[{\"x\":1},2]", "o": true}"#),
            (r#"{"none": <none>, "text": "<none>"}"#, r#"{"none": null, "text": ""}"#),
            (r#"{"rule": <aws.events.rule-name>}"#, r#"{"rule": "r"}"#),
            (r#"{"e": <aws.events.event>}"#, r#"{"e": {"source":"s"}}"#),
            (r#"{"a": "1 < 2"}"#, r#"{"a": "1 < 2"}"#),
            (r#"{"a": "\"<s>"}"#, r#"{"a": "\"3"}"#),
        ] {
            assert_eq!(transformed(paths.clone(), template).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn templates_and_paths_are_checked() {
        assert!(transformed(json!({}), r#"{"a": <b>}"#).is_err());
        assert!(transformed(json!({ "b": "detail" }), r#"{"a": <b>}"#).is_err());
        assert!(transformed(json!({ "b": "$.a[*]" }), r#"{"a": <b>}"#).is_err());
        assert!(transformed(json!({ "awsx": "$.a" }), r#"{"a": 1}"#).is_err());
        assert!(transformed(json!({ "b": "$.a" }), "{").is_err());
    }

    #[test]
    fn paths_are_read() {
        let member = |name: &str| Step::Member(name.to_owned());
        assert_eq!(steps("$"), Some(vec![]));
        assert_eq!(steps("$.a-b[2]"), Some(vec![member("a-b"), Step::Item(2)]));
        assert_eq!(steps("$['a.b'].c"), Some(vec![member("a.b"), member("c")]));
        for wrong in ["", "a", "$.", "$..a", "$[x]", "$[0", "$.*"] {
            assert_eq!(steps(wrong), None, "{wrong}");
        }
    }
}
