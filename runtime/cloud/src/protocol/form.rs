//! Forms of the query protocols: `Tags.member.1.Key=a` becomes `{"Tags": [{"Key": "a"}]}`.
//!
//! The depth and the numbers of a form are bounded before anything is built.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::kernel::error::{ApiError, ApiResult};

/// Levels of a name; the deepest input of AWS's services needs fewer than 20.
const DEPTH_MAX: usize = 20;
/// Numbers of a list.
const ITEMS_MAX: usize = 10_000;

#[derive(Debug)]
enum Node {
    Text(String),
    Fields(BTreeMap<String, Node>),
    Items(BTreeMap<usize, Node>),
}

/// The parameters of a form.
pub fn parse(body: &[u8]) -> ApiResult {
    let mut root = Node::Fields(BTreeMap::new());
    for (key, value) in url::form_urlencoded::parse(body) {
        insert(&mut root, &key, value.into_owned())?;
    }
    Ok(value(root))
}

fn insert(root: &mut Node, key: &str, text: String) -> ApiResult<()> {
    let steps: Vec<&str> = key.split('.').filter(|step| *step != "member").collect();
    if steps.len() > DEPTH_MAX {
        return Err(malformed("a parameter is nested too deeply"));
    }
    let mut node = root;
    for (at, step) in steps.iter().enumerate() {
        let last = at + 1 == steps.len();
        let empty = if last {
            Node::Text(String::new())
        } else if number(steps[at + 1])?.is_some() {
            Node::Items(BTreeMap::new())
        } else {
            Node::Fields(BTreeMap::new())
        };
        node = match (node, number(step)?) {
            (Node::Items(items), Some(number)) => items.entry(number).or_insert(empty),
            (Node::Fields(fields), None) => fields.entry((*step).to_owned()).or_insert(empty),
            _ => return Err(malformed(&format!("the parameter {key} has two shapes"))),
        };
    }
    match node {
        Node::Text(old) if old.is_empty() => {
            *old = text;
            Ok(())
        }
        _ => Err(malformed(&format!("the parameter {key} is given twice"))),
    }
}

/// Numbers count from 1.
fn number(step: &str) -> ApiResult<Option<usize>> {
    if step.is_empty() || !step.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match step.parse() {
        Ok(number) if (1..=ITEMS_MAX).contains(&number) => Ok(Some(number)),
        _ => Err(malformed(&format!("a list has no place {}", &step[..step.len().min(20)]))),
    }
}

/// At most as deep as [`DEPTH_MAX`].
fn value(node: Node) -> Value {
    match node {
        Node::Text(text) => Value::String(text),
        Node::Items(items) => Value::Array(items.into_values().map(value).collect()),
        Node::Fields(fields) => {
            let fields = fields.into_iter().map(|(name, node)| (name, value(node)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}

fn malformed(what: &str) -> ApiError {
    ApiError::new("MalformedInput", format!("The request is malformed: {what}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forms_become_nested_values() {
        let form = b"Action=X&Tags.member.2.Key=b%20c&Tags.member.1.Key=a&Filter.1.Value.1=v\
                     &Filter.1.Name=n";
        assert_eq!(
            parse(form).expect("a form"),
            json!({
                "Action": "X", "Tags": [{ "Key": "a" }, { "Key": "b c" }],
                "Filter": [{ "Value": ["v"], "Name": "n" }]
            })
        );
    }

    #[test]
    fn what_is_deep_large_or_ambiguous_is_refused() {
        for form in [
            "a.".repeat(200_000) + "a=1",
            "1.".repeat(200_000) + "1=1",
            "A.1.".repeat(100_000) + "A=1",
            "Tags.member.99999999999999999999=1".to_owned(),
            "Tags.member.0=1".to_owned(),
            "A=1&A.B=2".to_owned(),
            "A.B=2&A=1".to_owned(),
            "A.1=2&A.B=1".to_owned(),
            "A=1&A=2".to_owned(),
        ] {
            let error = parse(form.as_bytes()).expect_err(&form[..form.len().min(40)]);
            assert_eq!(error.code, "MalformedInput");
        }
    }
}
