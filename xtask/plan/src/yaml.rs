//! Values as YAML, where a bare word may be a number, a truth or nothing.

use std::fmt::Write as _;

use serde_json::Value;

/// `text` as a double-quoted scalar of ASCII characters. `GetTemplate` gives others back as `?`.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let code = u32::from(c);
        // Writing to a string cannot fail.
        let written = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            ' '..='~' => write!(out, "{c}"),
            _ if code <= 0xFF => write!(out, "\\x{code:02x}"),
            _ if code <= 0xFFFF => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
        written.unwrap_or_default();
    }
    out.push('"');
    out
}

/// What follows a key: a value in block style, each of its lines on a new one and `indent` columns
/// in; CloudFormation's functions in their short form. An empty map is nothing at all, so that what
/// has no properties adds none.
pub fn block(value: &Value, indent: usize) -> String {
    let lines = match node(value) {
        Node::Lines(lines) => lines,
        Node::Scalar(_) if value.as_object().is_some_and(serde_json::Map::is_empty) => vec![],
        Node::Scalar(scalar) => vec![scalar],
    };
    let pad = " ".repeat(indent);
    lines.iter().map(|line| format!("\n{pad}{line}")).collect()
}

/// A part of a document.
enum Node {
    /// What stands behind its key.
    Scalar(String),
    /// What stands below it.
    Lines(Vec<String>),
}

fn node(value: &Value) -> Node {
    match value {
        Value::String(text) => Node::Scalar(scalar(text)),
        Value::Object(map) if map.is_empty() => Node::Scalar("{}".to_owned()),
        Value::Array(items) if items.is_empty() => Node::Scalar("[]".to_owned()),
        Value::Object(map) => match function(map) {
            Some(short) => Node::Scalar(short),
            None => Node::Lines(map.iter().flat_map(|(key, value)| entry(key, value)).collect()),
        },
        Value::Array(items) => Node::Lines(items.iter().flat_map(item).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) => Node::Scalar(value.to_string()),
    }
}

fn entry(key: &str, value: &Value) -> Vec<String> {
    let key = scalar(key);
    match node(value) {
        Node::Scalar(scalar) => vec![format!("{key}: {scalar}")],
        Node::Lines(lines) => {
            let below = lines.iter().map(|line| format!("  {line}"));
            [format!("{key}:")].into_iter().chain(below).collect()
        }
    }
}

fn item(value: &Value) -> Vec<String> {
    match node(value) {
        Node::Scalar(scalar) => vec![format!("- {scalar}")],
        Node::Lines(lines) => {
            let marks = ["- "].into_iter().chain(std::iter::repeat("  "));
            marks.zip(&lines).map(|(mark, line)| format!("{mark}{line}")).collect()
        }
    }
}

/// A function of CloudFormation: `!Ref Topic`, `!GetAtt Topic.Arn`, `!Sub "…"`.
fn function(map: &serde_json::Map<String, Value>) -> Option<String> {
    let (name, argument) = map.iter().next().filter(|_| map.len() == 1)?;
    match (name.as_str(), argument) {
        ("Ref", Value::String(id)) => Some(format!("!Ref {id}")),
        ("Fn::Sub", Value::String(text)) => Some(format!("!Sub {}", quoted(text))),
        ("Fn::GetAtt", Value::Array(path)) => {
            let path: Option<Vec<&str>> = path.iter().map(Value::as_str).collect();
            Some(format!("!GetAtt {}", path?.join(".")))
        }
        _ => None,
    }
}

/// A text, bare where nobody can take it for anything else.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 8] = ["true", "false", "null", "yes", "no", "on", "off", "y"];
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./:-".contains(c))
        && !text.ends_with(':')
        && text != "n"
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if bare { text.to_owned() } else { quoted(text) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_quoted_in_ascii() {
        assert_eq!(quoted("null"), r#""null""#);
        assert_eq!(quoted("a\"b\\c\t\u{e9}"), r#""a\"b\\c\x09\xe9""#);
        assert_eq!(quoted("Я \u{1F600}"), r#""\u042f \U0001f600""#);
    }

    #[test]
    fn values_are_blocks_with_short_functions() {
        let value = json!({
            "Sid": "Read", "Action": ["s3:GetObject"], "N": 3, "Yes": "yes", "None": [], "E": {},
            "Resource": [{ "Fn::Sub": "${A.Arn}/*" }, { "Fn::GetAtt": ["A", "Arn"] }, "*"],
            "Condition": { "StringEquals": { "aws:SourceAccount": { "Ref": "AWS::AccountId" } } },
        });
        let expected = r#"
  Sid: Read
  Action:
    - s3:GetObject
  N: 3
  "Yes": "yes"
  None: []
  E: {}
  Resource:
    - !Sub "${A.Arn}/*"
    - !GetAtt A.Arn
    - "*"
  Condition:
    StringEquals:
      aws:SourceAccount: !Ref AWS::AccountId"#;
        assert_eq!(block(&value, 2), expected);
        assert_eq!(
            block(&json!([{ "a": [1, 2], "b": "c d" }]), 0),
            "\n- a:\n    - 1\n    - 2\n  b: \"c d\""
        );
        assert_eq!(block(&json!({}), 4), "");
    }
}
