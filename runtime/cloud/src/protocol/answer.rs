//! Answers, written by the shapes of AWS's models.

use serde_json::Value;

use super::moment::{self, Format};
use crate::kernel::model::{Member, Model, Shape, Structure};

/// Writes the members of a structure as JSON, with the names and moments of the wire; the error is
/// the path of a member that AWS does not know.
pub fn json(model: &Model, structure: &Structure, value: &Value) -> Result<Value, String> {
    let Value::Object(members) = value else { return Err("the whole".to_owned()) };
    let mut written = serde_json::Map::new();
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let member = structure.members.get(name).ok_or_else(|| name.clone())?;
        let value = json_value(model, member, value).map_err(|inner| format!("{name}.{inner}"))?;
        written.insert(member.wire_name(name).to_owned(), value);
    }
    Ok(Value::Object(written))
}

fn json_value(model: &Model, member: &Member, value: &Value) -> Result<Value, String> {
    match (model.of(member), value) {
        (Some(Shape::Structure(structure)), _) => json(model, structure, value),
        (Some(Shape::List(list)), Value::Array(items)) => {
            items.iter().map(|item| json_value(model, &list.member, item)).collect()
        }
        (Some(Shape::Map(map)), Value::Object(entries)) => {
            let entry = |(key, value): (&String, &Value)| {
                Ok((key.clone(), json_value(model, &map.value, value)?))
            };
            entries.iter().map(entry).collect()
        }
        (Some(Shape::Timestamp(own)), _) => {
            let format = member.timestamp_format.as_deref().or(own.format.as_deref());
            Ok(moment::write(value, format, Format::Seconds))
        }
        _ => Ok(value.clone()),
    }
}

/// Writes the members of a structure as elements of XML.
pub fn xml(
    model: &Model,
    structure: &Structure,
    value: &Value,
    out: &mut String,
) -> Result<(), String> {
    let Value::Object(members) = value else { return Err("the whole".to_owned()) };
    for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let member = structure.members.get(name).ok_or_else(|| name.clone())?;
        let written = element(model, member, member.wire_name(name), value, out);
        written.map_err(|inner| format!("{name}.{inner}"))?;
    }
    Ok(())
}

fn element(
    model: &Model,
    member: &Member,
    name: &str,
    value: &Value,
    out: &mut String,
) -> Result<(), String> {
    match (model.of(member), value) {
        (Some(Shape::List(list)), Value::Array(items)) if list.flattened => {
            let name = list.member.wire_name(name);
            return items.iter().try_for_each(|i| element(model, &list.member, name, i, out));
        }
        (Some(Shape::Map(map)), Value::Object(entries)) if map.flattened => {
            return entries.iter().try_for_each(|(key, value)| {
                entry(model, (&map.key, &map.value), name, (key, value), out)
            });
        }
        _ => {}
    }
    *out += &format!("<{name}>");
    match (model.of(member), value) {
        (Some(Shape::Structure(structure)), _) => xml(model, structure, value, out)?,
        (Some(Shape::List(list)), Value::Array(items)) => {
            let name = list.member.wire_name("member");
            items.iter().try_for_each(|i| element(model, &list.member, name, i, out))?;
        }
        (Some(Shape::Map(map)), Value::Object(entries)) => {
            entries.iter().try_for_each(|(key, value)| {
                entry(model, (&map.key, &map.value), "entry", (key, value), out)
            })?;
        }
        (Some(Shape::Timestamp(own)), _) => {
            let format = member.timestamp_format.as_deref().or(own.format.as_deref());
            *out += &text(&moment::write(value, format, Format::Iso));
        }
        _ => *out += &escaped(&text(value)),
    }
    *out += &format!("</{name}>");
    Ok(())
}

fn entry(
    model: &Model,
    (key, value): (&Member, &Member),
    name: &str,
    given: (&String, &Value),
    out: &mut String,
) -> Result<(), String> {
    *out += &format!("<{name}>");
    element(model, key, key.wire_name("key"), &Value::String(given.0.clone()), out)?;
    element(model, value, value.wire_name("value"), given.1, out)?;
    *out += &format!("</{name}>");
    Ok(())
}

/// A scalar as it stands in XML and in headers.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A text as XML has it.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '\n' | '\t' => out.push(c),
            '\r' => out += "&#13;",
            // Not allowed in XML at all.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}
