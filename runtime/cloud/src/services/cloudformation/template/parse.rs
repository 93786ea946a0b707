//! From text to a value, with bounds: nesting, one document, no aliases.

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value, json};

/// Levels of nesting, as JSON's parser has them; CloudFormation's own templates need about 30.
const DEPTH_MAX: usize = 100;

/// The functions that have a short form in YAML.
const SHORT_FORMS: [&str; 23] = [
    "And",
    "Base64",
    "Cidr",
    "Contains",
    "EachMemberEquals",
    "EachMemberIn",
    "Equals",
    "FindInMap",
    "GetAZs",
    "GetAtt",
    "If",
    "ImportValue",
    "Join",
    "Length",
    "Not",
    "Or",
    "Select",
    "Split",
    "Sub",
    "ToJsonString",
    "Transform",
    "ValueOf",
    "RefAll",
];

/// Parses JSON or YAML.
pub fn document(text: &str) -> Result<Value, String> {
    let value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|e| {
            let (line, column) = (e.line(), e.column());
            format!("Template format error: JSON not well-formed. (line {line}, column {column})")
        })?
    } else {
        yaml(text)?
    };
    if value.is_object() {
        return Ok(value);
    }
    Err("Template format error: unsupported structure.".to_owned())
}

/// A collection that is being filled.
enum Open {
    List(Vec<Value>, Option<String>),
    /// The fields, the key that waits for its value, and the tag.
    Fields(Map<String, Value>, Option<String>, Option<String>),
}

fn yaml(text: &str) -> Result<Value, String> {
    let mut open: Vec<Open> = Vec::new();
    let mut documents = 0;
    let mut root = Value::Null;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| malformed(e.marker().line(), e.marker().col()))?;
        let wrong = || malformed(span.start.line(), span.start.col());
        let done = match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(wrong());
                }
                continue;
            }
            Event::Alias(_) => return Err(aliases()),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor > 0 =>
            {
                return Err(aliases());
            }
            Event::SequenceStart(_, tag) => {
                push(&mut open, Open::List(Vec::new(), name(tag.as_deref()).ok_or_else(wrong)?))?;
                continue;
            }
            Event::MappingStart(_, tag) => {
                let tag = name(tag.as_deref()).ok_or_else(wrong)?;
                push(&mut open, Open::Fields(Map::new(), None, tag))?;
                continue;
            }
            Event::Scalar(text, style, _, tag) => {
                let tag = name(tag.as_deref()).ok_or_else(wrong)?;
                let is_core_text = tag.as_deref() == Some("!!str");
                let value = plain(&text, style, is_core_text);
                if let (Some(Open::Fields(fields, key @ None, _)), None) = (open.last_mut(), &tag) {
                    if text == "<<" || fields.contains_key(&*text) {
                        return Err(wrong());
                    }
                    *key = Some(text.into_owned());
                    continue;
                }
                long_form(tag, value).ok_or_else(wrong)?
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items, tag)) => long_form(tag, items.into()).ok_or_else(wrong)?,
                Some(Open::Fields(fields, _, tag)) => {
                    long_form(tag, Value::Object(fields)).ok_or_else(wrong)?
                }
                None => return Err(wrong()),
            },
            _ => continue,
        };
        match open.last_mut() {
            None => root = done,
            Some(Open::List(items, _)) => items.push(done),
            Some(Open::Fields(fields, key, _)) => {
                // Keys are texts.
                let key = key.take().ok_or_else(wrong)?;
                fields.insert(key, done);
            }
        }
    }
    Ok(root)
}

fn push(open: &mut Vec<Open>, next: Open) -> Result<(), String> {
    if open.len() >= DEPTH_MAX {
        return Err(format!(
            "Template format error: the template is nested deeper than {DEPTH_MAX} levels"
        ));
    }
    open.push(next);
    Ok(())
}

fn malformed(line: usize, column: usize) -> String {
    let column = column + 1;
    format!("Template format error: YAML not well-formed. (line {line}, column {column})")
}

fn aliases() -> String {
    "Template error: YAML aliases are not allowed in CloudFormation templates".to_owned()
}

/// The name of a tag; `None` for one that CloudFormation does not know.
fn name(tag: Option<&Tag>) -> Option<Option<String>> {
    let Some(tag) = tag else { return Some(None) };
    if tag.is_yaml_core_schema() {
        return (tag.suffix == "str").then(|| Some("!!str".to_owned()));
    }
    let known = matches!(tag.suffix.as_str(), "Ref" | "Condition")
        || SHORT_FORMS.contains(&tag.suffix.as_str());
    (tag.handle == "!" && known).then(|| Some(tag.suffix.clone()))
}

/// What a scalar means. Only plain ones can be anything but text.
fn plain(text: &str, style: ScalarStyle, is_core_text: bool) -> Value {
    if style != ScalarStyle::Plain || is_core_text {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => number(text).unwrap_or_else(|| text.into()),
    }
}

/// A number as JSON writes it. Zeros in front make a text: account numbers have them.
fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let zeros = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if zeros || !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    let real = text.parse::<f64>().ok().filter(|n| n.is_finite())?;
    Some(real.into())
}

/// `!GetAtt A.B` is `{"Fn::GetAtt": ["A", "B"]}`, and so on.
fn long_form(tag: Option<String>, value: Value) -> Option<Value> {
    let Some(tag) = tag else { return Some(value) };
    Some(match (tag.as_str(), &value) {
        ("!!str", _) => value,
        ("Ref" | "Condition", _) => json!({ tag: value }),
        ("GetAtt", Value::String(path)) => {
            let (resource, attribute) = path.split_once('.').unwrap_or((path, ""));
            json!({ "Fn::GetAtt": [resource, attribute] })
        }
        (function, _) => json!({ (format!("Fn::{function}")): value }),
    })
}
