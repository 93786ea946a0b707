//! Forms of the query protocols: `Tags.member.1.Key=a`, read by the shape of an operation's input.
//!
//! A form is first taken apart at its dots, with depth and numbers bounded, and then read as the
//! shape says. What the shape does not know stays as it was written, so that it is refused by name.
//!
//! <https://smithy.io/2.0/aws/protocols/aws-query-protocol.html>,
//! <https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html>

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::moment;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::model::{List, Member, Model, Shape, Structure};

/// Levels of a name; the deepest input of AWS's services needs fewer than 20.
const DEPTH_MAX: usize = 20;
/// Numbers of a list.
const ITEMS_MAX: usize = 10_000;

/// A form, taken apart.
#[derive(Debug, Default)]
pub struct Form {
    text: Option<String>,
    inner: BTreeMap<String, Form>,
}

/// Takes a form apart.
pub fn parse(body: &[u8]) -> ApiResult<Form> {
    let mut root = Form::default();
    for (key, value) in url::form_urlencoded::parse(body) {
        root.insert(&key, value.into_owned())?;
    }
    Ok(root)
}

impl Form {
    /// A text at the top, which is taken out.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.inner.remove(name)?.text
    }

    fn insert(&mut self, key: &str, text: String) -> ApiResult<()> {
        let mut form = self;
        for (level, step) in key.split('.').enumerate() {
            if level == DEPTH_MAX {
                return Err(malformed("a parameter is nested too deeply"));
            }
            if form.text.is_some() {
                return Err(malformed(&format!("the parameter {key} has two shapes")));
            }
            form = form.inner.entry(step.to_owned()).or_default();
        }
        if !form.inner.is_empty() {
            return Err(malformed(&format!("the parameter {key} has two shapes")));
        }
        if form.text.replace(text).is_some() {
            return Err(malformed(&format!("the parameter {key} is given twice")));
        }
        Ok(())
    }

    /// What has numbers for names, in their order.
    fn items(&self) -> ApiResult<Vec<&Self>> {
        let mut items = BTreeMap::new();
        for (name, item) in &self.inner {
            let number = name.parse().ok().filter(|number| (1..=ITEMS_MAX).contains(number));
            let number = number
                .ok_or_else(|| malformed(&format!("a list has no place {}", &shortened(name))))?;
            items.insert(number, item);
        }
        Ok(items.into_values().collect())
    }

    /// As it is written, where no shape says what it is.
    pub fn raw(&self) -> Value {
        match &self.text {
            Some(text) => text.clone().into(),
            None => self.inner.iter().map(|(name, form)| (name.clone(), form.raw())).collect(),
        }
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(20).collect()
}

fn malformed(what: &str) -> ApiError {
    ApiError::new("MalformedInput", format!("The request is malformed: {what}."))
}

/// How names in a form follow from a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// As AWS's query protocol has them.
    Query,
    /// As EC2 has them.
    Ec2,
}

/// Reads a form by shapes.
pub struct Reader<'m> {
    /// Whose shapes.
    pub model: &'m Model,
    /// Which names.
    pub names: Names,
}

impl Reader<'_> {
    /// The members of a structure.
    pub fn structure(&self, structure: &Structure, form: &Form) -> ApiResult {
        let mut members = Map::new();
        for (written, inner) in &form.inner {
            let own = structure.members.iter().find(|(name, m)| self.is_written(name, m, written));
            match own {
                Some((name, member)) => {
                    members.insert(name.clone(), self.member(member, inner)?);
                }
                None => {
                    members.insert(written.clone(), inner.raw());
                }
            }
        }
        Ok(Value::Object(members))
    }

    fn is_written(&self, name: &str, member: &Member, written: &str) -> bool {
        match self.names {
            Names::Ec2 => match (&member.query_name, &member.location_name) {
                (Some(name), _) => name == written,
                (None, Some(name)) => crate::kernel::model::sdk::capital(name) == written,
                (None, None) => name == written,
            },
            Names::Query => match self.model.of(member) {
                // A flattened list is written with the name of its items.
                Some(Shape::List(List { flattened: true, member: item, .. })) => {
                    item.wire_name(member.wire_name(name)) == written
                }
                _ => member.wire_name(name) == written,
            },
        }
    }

    fn member(&self, member: &Member, form: &Form) -> ApiResult {
        let Some(shape) = self.model.of(member) else { return Ok(form.raw()) };
        match (shape, &form.text) {
            (Shape::Structure(structure), _) => self.structure(structure, form),
            (Shape::List(_), Some(text)) if text.is_empty() => Ok(json!([])),
            (Shape::List(list), _) => {
                let flat = list.flattened || self.names == Names::Ec2;
                let name = list.member.wire_name("member");
                let items = if flat { form } else { form.inner.get(name).unwrap_or(form) };
                items.items()?.into_iter().map(|item| self.member(&list.member, item)).collect()
            }
            (Shape::Map(map), _) => {
                let entries = form.inner.get("entry").filter(|_| !map.flattened).unwrap_or(form);
                let mut read = Map::new();
                for entry in entries.items()? {
                    let part = |member: &Member, name| entry.inner.get(member.wire_name(name));
                    let key = part(&map.key, "key").and_then(|key| key.text.clone());
                    let key = key.ok_or_else(|| malformed("an entry of a map has no key"))?;
                    let value = part(&map.value, "value");
                    let value = value.map_or(Ok(Value::Null), |v| self.member(&map.value, v))?;
                    read.insert(key, value);
                }
                Ok(Value::Object(read))
            }
            (scalar, Some(text)) => Ok(typed(scalar, text)),
            (_, None) => Ok(form.raw()),
        }
    }
}

/// A text as the value that a shape says it is; what it cannot be stays a text, which the check of
/// the input refuses.
pub fn typed(shape: &Shape, text: &str) -> Value {
    let value = match shape {
        Shape::Integer(_) => text.parse::<i64>().ok().map(Value::from),
        Shape::Float(_) => text.parse::<f64>().ok().map(Value::from),
        Shape::Boolean => text.to_ascii_lowercase().parse::<bool>().ok().map(Value::from),
        Shape::Timestamp(_) => moment::read(text),
        _ => None,
    };
    value.unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: Names, form: &str) -> ApiResult {
        let about = json!({
            "origin": "", "name": "", "others": [], "errors": {},
            "operations": { "Put": {
                "http": { "method": "POST", "requestUri": "/" }, "input": "In",
            } },
            "shapes": {
                "In": { "type": "structure", "members": {
                    "Tags": { "shape": "Tags", "locationName": "tag" },
                    "Names": { "shape": "Names" }, "Sizes": { "shape": "Sizes" },
                    "Count": { "shape": "Count" }, "On": { "shape": "On" },
                    "At": { "shape": "At" }, "Unread": {},
                } },
                "Tags": { "type": "list", "member": { "shape": "Tag" } },
                "Tag": { "type": "structure", "members": { "Key": { "shape": "Text" } } },
                "Names": { "type": "list", "flattened": true, "member": {
                    "shape": "Text", "locationName": "Name",
                } },
                "Sizes": { "type": "map", "key": { "shape": "Text" }, "value": { "shape": "Count" } },
                "Text": { "type": "string" }, "Count": { "type": "integer" },
                "On": { "type": "boolean" }, "At": { "type": "timestamp" },
            },
        });
        let model = Model::read(&about.to_string());
        let form = parse(form.as_bytes())?;
        Reader { model: &model, names }.structure(model.input("Put").expect("a structure"), &form)
    }

    #[test]
    fn forms_are_read_by_their_shapes() {
        let form = "tag.member.2.Key=b%20c&tag.member.1.Key=a&Name.1=x&Count=3&On=true\
                    &At=1970-01-01T00:00:01Z&Sizes.entry.1.key=k&Sizes.entry.1.value=4&Unread.1=u";
        assert_eq!(
            read(Names::Query, form).expect("a form"),
            json!({
                "At": 1.0, "Count": 3, "Names": ["x"], "On": true, "Sizes": { "k": 4 },
                "Unread": { "1": "u" }, "Tags": [{ "Key": "a" }, { "Key": "b c" }],
            })
        );
        let of_ec2 = read(Names::Ec2, "Tag.1.Key=a&Names.1=x&Names.2=y").expect("a form");
        assert_eq!(of_ec2, json!({ "Tags": [{ "Key": "a" }], "Names": ["x", "y"] }));
        assert_eq!(read(Names::Query, "tag=").expect("a form"), json!({ "Tags": [] }));
        // What is no number stays what it is, and the check of the input refuses it.
        assert_eq!(read(Names::Query, "Count=x").expect("a form"), json!({ "Count": "x" }));
    }

    #[test]
    fn what_is_deep_large_or_ambiguous_is_refused() {
        for form in [
            "a.".repeat(200_000) + "a=1",
            "tag.member.99999999999999999999=1".to_owned(),
            "tag.member.0=1".to_owned(),
            "tag.member.10001=1".to_owned(),
            "Sizes.other.1.key=k".to_owned(),
            "Sizes.entry.1.value=4".to_owned(),
            "A=1&A.B=2".to_owned(),
            "A.B=2&A=1".to_owned(),
            "A=1&A=2".to_owned(),
        ] {
            let error = read(Names::Query, &form).expect_err(&form[..form.len().min(40)]);
            assert_eq!(error.code, "MalformedInput");
        }
    }
}
