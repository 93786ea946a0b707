//! What people read about the manifest, made from its types: `docs/pipeline.schema.json` for
//! editors, and the reference in `docs/manifest.md`.
//!
//! `EXPECTORATE=overwrite cargo test --package steppe-spec` writes both anew.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::Value;

use crate::manifest::Manifest;
use crate::schema::json_schema;
use crate::shape::{has_kinds, range, words};

/// Between these lines of `docs/manifest.md` everything is made here.
const BEGIN: &str =
    "<!-- made from model/spec by `EXPECTORATE=overwrite cargo test --package steppe-spec` -->\n";
const END: &str = "<!-- end of what is made -->\n";

/// A table of the manifest, and the tables in it.
fn section(heading: &str, path: &str, schema: &Value, needed: bool, out: &mut String) {
    let told = schema["description"].as_str().unwrap_or_default();
    let optional = if needed { "" } else { " Optional." };
    write!(out, "### {heading}\n\n{told}{optional}\n\n").expect("text");
    out.push_str("| key | type | default | what it says |\n|---|---|---|---|\n");
    let is_needed = |name: &str| {
        schema["required"].as_array().is_some_and(|all| all.contains(&Value::from(name)))
    };
    let (mut tables, members) = (Vec::new(), schema["properties"].as_object());
    for (name, member) in members.into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if member["properties"].is_object() {
            tables.push((format!("`[{path}]`"), path, member, is_needed(name)));
        } else if member["items"]["properties"].is_object() {
            tables.push((format!("`[[{path}]]`"), path, &member["items"], is_needed(name)));
        } else if member["additionalProperties"]["properties"].is_object() {
            let heading = format!("`[{path}.COLUMN]`");
            tables.push((heading, path, &member["additionalProperties"], is_needed(name)));
        } else if has_kinds(&member["items"]) {
            for form in member["items"]["anyOf"].as_array().into_iter().flatten() {
                let kinds: Vec<&str> =
                    words(&form["properties"]["kind"]).map(|(kind, _)| kind).collect();
                let heading = format!("`[[{path}]]`, `kind` of `{}`", kinds.join("`, `"));
                tables.push((heading, path.clone(), form, is_needed(name)));
            }
        } else {
            let default = if is_needed(name) { "needed".to_owned() } else { default(member) };
            let (kind, told) = (kind(member), told_of(member));
            writeln!(out, "| `{name}` | {kind} | {default} | {told} |").expect("text");
        }
    }
    out.push('\n');
    for (heading, path, member, needed) in tables {
        section(&heading, &path, member, needed, out);
    }
}

fn default(member: &Value) -> String {
    match &member["default"] {
        Value::Null => String::new(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Object(members) if members.is_empty() => "none".to_owned(),
        value => format!("`{value}`"),
    }
}

fn kind(member: &Value) -> String {
    if let Some(forms) = member["anyOf"].as_array() {
        return forms.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let what = match member["type"].as_str() {
        _ if member.get("oneOf").is_some() => "a word",
        Some("array") if member["items"].get("oneOf").is_some() => "list of words",
        Some("array") if member["items"]["format"] == "date" => "list of dates",
        Some("array") if member["items"]["type"] == "integer" => "list of whole numbers",
        Some("array") if member["items"]["type"] == "number" => "list of numbers",
        Some("array") if member["items"]["type"] == "array" => "list of pairs",
        Some("object") if member["additionalProperties"]["properties"].is_object() => {
            "table of tables"
        }
        Some("array") if member["items"].get("anyOf").is_some() => "list of texts or tables",
        Some("array") => "list of texts",
        Some("object") => "table of texts",
        Some("boolean") => "true or false",
        Some("integer") => "whole number",
        Some("number") => "number",
        _ if member["maxLength"] == 1 => "a character",
        _ if member["format"] == crate::time_span::FORMAT => "a length of time",
        _ if member["format"] == crate::schedule::FORMAT => "a schedule",
        _ => "text",
    };
    range(member).map_or_else(|| what.to_owned(), |range| format!("{what}, {range}"))
}

fn told_of(member: &Value) -> String {
    let mut told = member["description"].as_str().unwrap_or_default().to_owned();
    for (word, meaning) in words(member) {
        write!(told, " `{word}`: {meaning}").expect("text");
    }
    let listed: Vec<&str> = words(&member["items"]).map(|(word, _)| word).collect();
    if !listed.is_empty() {
        write!(told, " Of `{}`.", listed.join("`, `")).expect("text");
    }
    told
}

/// Compares a file of `docs/` with what is made, or writes it.
fn check(file: &str, make: impl FnOnce(&str) -> String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    let made = make(&present);
    if std::env::var("EXPECTORATE").is_ok_and(|mode| mode == "overwrite") {
        std::fs::write(&path, made).expect("docs can be written");
        return;
    }
    assert!(
        present == made,
        "docs/{file} is not what the types say; \
         `EXPECTORATE=overwrite cargo test --package steppe-spec` writes it anew"
    );
}

#[test]
fn the_schema_for_editors_is_that_of_the_types() {
    let schema = json_schema::<Manifest>();
    check("pipeline.schema.json", |_| {
        format!("{}\n", serde_json::to_string_pretty(&schema).expect("JSON"))
    });
}

#[test]
fn the_reference_is_that_of_the_types() {
    let mut made = String::new();
    section("At the top", "", &json_schema::<Manifest>(), true, &mut made);
    check("manifest.md", |present| {
        let (before, rest) = present.split_once(BEGIN).expect("docs/manifest.md has a reference");
        let (_, after) = rest.split_once(END).expect("the reference has an end");
        format!("{before}{BEGIN}\n{made}{END}{after}")
    });
}

/// What people are told about a key is a sentence, and whatever is needed or not is told.
#[test]
fn every_key_is_described() {
    fn walk(key: &str, schema: &Value, found: &mut Vec<String>) {
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let key = format!("{key}.{name}");
            let told = member["description"].as_str().unwrap_or_default();
            if !told.ends_with('.') {
                found.push(key.clone());
            }
            walk(&key, member, found);
            walk(&key, &member["items"], found);
            for form in member["items"]["anyOf"].as_array().into_iter().flatten() {
                walk(&key, form, found);
            }
        }
    }
    let mut found = Vec::new();
    walk("", &json_schema::<Manifest>(), &mut found);
    assert!(found.is_empty(), "without a sentence: {found:?}");
}
