//! What CloudFormation refuses in a template before it looks at values, and what this cloud does
//! not have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::parameters::check_declaration;
use super::{attribute_of, entries, references, rules};
use crate::kernel::{resource, schema};
use crate::services::cloudformation::creation_policy;

const SECTIONS: [&str; 8] = [
    "AWSTemplateFormatVersion",
    "Description",
    "Parameters",
    "Conditions",
    "Resources",
    "Outputs",
    "Metadata",
    "Rules",
];
/// Sections that AWS has beside those and [`SECTIONS`] with limits of their own.
const SECTIONS_MISSING: [&str; 2] = ["Transform", "Hooks"];
const ATTRIBUTES: [&str; 8] = [
    "Type",
    "Properties",
    "DependsOn",
    "Condition",
    "DeletionPolicy",
    "UpdateReplacePolicy",
    "CreationPolicy",
    "Metadata",
];
const ATTRIBUTES_MISSING: [&str; 1] = ["UpdatePolicy"];
const FUNCTIONS: [&str; 10] = [
    "Fn::GetAtt",
    "Fn::Join",
    "Fn::Sub",
    "Fn::Base64",
    "Fn::Select",
    "Fn::GetAZs",
    "Fn::Split",
    "Fn::FindInMap",
    "Fn::If",
    "Fn::ImportValue",
];

/// Bytes of a description.
const DESCRIPTION_BYTES_MAX: usize = 1_024;
/// Characters of a logical ID.
const NAME_CHARS_MAX: usize = 255;

/// Checks everything that does not depend on the values of parameters.
pub fn form(template: &Value) -> Result<(), String> {
    sections(template)?;
    description(template)?;
    let counted = [
        ("Resources", "resources", 500),
        ("Parameters", "parameters", 200),
        ("Outputs", "outputs", 200),
        ("Mappings", "mappings", 200),
    ];
    for (section, what, most) in counted {
        let count = entries(template, section).count();
        if count > most {
            return Err(format!(
                "Template format error: Number of {what}, {count}, is greater than maximum \
                 allowed, {most}"
            ));
        }
        entries(template, section).try_for_each(|(id, _)| logical_id(section, id))?;
    }
    for (name, declaration) in entries(template, "Parameters") {
        check_declaration(name, declaration)?;
    }
    rules::form(template)?;
    for (id, resource) in entries(template, "Resources") {
        attributes(template, id, resource)?;
    }
    for (name, output) in entries(template, "Outputs") {
        if output.get("Value").is_none() {
            let words = "Every Outputs member must contain a Value object";
            return Err(format!("Template format error: [/Outputs/{name}] {words}"));
        }
        let known = ["Value", "Description", "Condition", "Export"];
        if let Some(other) = unknown(output, &known) {
            return Err(format!("Invalid template output property '{other}'"));
        }
        condition_exists(template, output)?;
    }
    Ok(())
}

fn sections(template: &Value) -> Result<(), String> {
    let names = template.as_object().into_iter().flat_map(Map::keys);
    let strange: Vec<&str> = names
        .map(String::as_str)
        .filter(|n| !SECTIONS.contains(n) && !SECTIONS_MISSING.contains(n) && *n != "Mappings")
        .collect();
    if !strange.is_empty() {
        return Err(format!("Invalid template property or properties [{}]", strange.join(", ")));
    }
    if let Some(missing) = SECTIONS_MISSING.iter().find(|s| template.get(**s).is_some()) {
        return Err(format!(
            "Template format error: the embedded cloud does not implement the section {missing}"
        ));
    }
    for section in
        ["Parameters", "Mappings", "Conditions", "Rules", "Resources", "Outputs", "Metadata"]
    {
        if template.get(section).is_some_and(|s| !s.is_object()) {
            return Err(format!("Template format error: {section} must be an object."));
        }
    }
    let version = template.get("AWSTemplateFormatVersion");
    if version.is_some_and(|v| v != "2010-09-09") {
        let words = "unsupported value for AWSTemplateFormatVersion.";
        return Err(format!("Template format error: {words}"));
    }
    if entries(template, "Resources").next().is_none() {
        let words = "At least one Resources member must be defined.";
        return Err(format!("Template format error: {words}"));
    }
    Ok(())
}

fn description(template: &Value) -> Result<(), String> {
    match template.get("Description") {
        None => Ok(()),
        Some(Value::String(text)) if text.len() <= DESCRIPTION_BYTES_MAX => Ok(()),
        Some(Value::String(_)) => Err(format!(
            "Template format error: 'Description' length is greater than {DESCRIPTION_BYTES_MAX}."
        )),
        Some(_) => {
            Err("Template format error: every Description member must be a string.".to_owned())
        }
    }
}

fn logical_id(section: &str, id: &str) -> Result<(), String> {
    let what = section.trim_end_matches('s');
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(format!("Template format error: {what} name {id} is non alphanumeric."));
    }
    if id.len() > NAME_CHARS_MAX {
        return Err(format!(
            "Template format error: {what} name {id} is longer than {NAME_CHARS_MAX} characters."
        ));
    }
    Ok(())
}

/// The first member that is not `known`.
fn unknown<'a>(value: &'a Value, known: &[&str]) -> Option<&'a str> {
    let mut names = value.as_object()?.keys().map(String::as_str);
    names.find(|n| !known.contains(n))
}

fn attributes(template: &Value, id: &str, resource: &Value) -> Result<(), String> {
    let at = format!("[/Resources/{id}]");
    if !resource.is_object() {
        return Err(format!("Template format error: {at} resource definition is malformed"));
    }
    if resource["Type"].as_str().is_none_or(str::is_empty) {
        let words = "Every Resources object must contain a Type member.";
        return Err(format!("Template format error: {at} {words}"));
    }
    let known = [&ATTRIBUTES[..], &ATTRIBUTES_MISSING[..]].concat();
    if let Some(other) = unknown(resource, &known) {
        return Err(format!("Invalid template resource property '{other}'"));
    }
    if resource.get("Properties").is_some_and(|p| !p.is_object()) {
        let words = "Every Properties member must be an object.";
        return Err(format!("Template format error: {at} {words}"));
    }
    nulls(&resource["Properties"], &format!("/Resources/{id}/Properties"))?;
    let names = |v: &Value| match v {
        Value::Null | Value::String(_) => true,
        Value::Array(items) => items.iter().all(Value::is_string),
        _ => false,
    };
    if !names(&resource["DependsOn"]) {
        let words = "Every DependsOn value must be a string.";
        return Err(format!("Template format error: {at} {words}"));
    }
    condition_exists(template, resource)?;
    policy(id, resource, "DeletionPolicy", &["Delete", "Retain", "RetainExceptOnCreate"])?;
    policy(id, resource, "UpdateReplacePolicy", &["Delete", "Retain"])
}

fn nulls(value: &Value, path: &str) -> Result<(), String> {
    let fields: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, v)| (n.to_string(), v)).collect(),
        _ => vec![],
    };
    for (name, field) in fields {
        let path = format!("{path}/{name}");
        if field.is_null() {
            let words = "'null' values are not allowed in templates";
            return Err(format!("Template format error: [{path}] {words}"));
        }
        nulls(field, &path)?;
    }
    Ok(())
}

fn condition_exists(template: &Value, holder: &Value) -> Result<(), String> {
    let Some(name) = holder.get("Condition") else { return Ok(()) };
    match name.as_str() {
        Some(name) if template["Conditions"].get(name).is_some() => Ok(()),
        Some(name) => Err(format!("Template format error: Condition {name}  is not defined.")),
        None => Err("Template format error: Every Condition member must be a string.".to_owned()),
    }
}

fn policy(id: &str, resource: &Value, attribute: &str, words: &[&str]) -> Result<(), String> {
    let Some(value) = resource.get(attribute) else { return Ok(()) };
    let Some(word) = value.as_str() else {
        return Err(format!("Template format error: Every {attribute} member must be a string."));
    };
    if words.contains(&word) {
        return Ok(());
    }
    if word == "Snapshot" {
        let kind = resource["Type"].as_str().unwrap_or_default();
        let what = if attribute == "DeletionPolicy" { "deletion" } else { "update replace" };
        return Err(format!(
            "Template error: resource type {kind} does not support {what} policy Snapshot"
        ));
    }
    Err(format!("Template format error: Unrecognized {attribute} {word} for resource {id}"))
}

/// Everything that is referred to must be there.
pub fn dependencies(template: &Value, needs: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    let missing = |names: BTreeSet<String>, block: &str| {
        let open: Vec<String> = names.into_iter().filter(|n| !needs.contains_key(n)).collect();
        match open.as_slice() {
            [] => Ok(()),
            open => Err(format!(
                "Template format error: Unresolved resource dependencies [{}] in the {block} \
                 block of the template",
                open.join(", ")
            )),
        }
    };
    missing(needs.values().flatten().cloned().collect(), "Resources")?;
    let mut found = BTreeSet::new();
    for (_, output) in entries(template, "Outputs") {
        references(template, &output["Value"], &mut found);
    }
    missing(found, "Outputs")
}

/// Refuses what this cloud does not implement in the resources `ids` and in the outputs.
pub fn implemented(template: &Value, ids: &[String]) -> Result<(), String> {
    let mut problems = Vec::new();
    for id in ids {
        let resource = &template["Resources"][id];
        resource_problems(id, resource, &mut problems);
        functions(template, &resource["Properties"], &mut problems);
    }
    for (name, output) in entries(template, "Outputs") {
        functions(template, &output["Value"], &mut problems);
        functions(template, &output["Export"], &mut problems);
        let mut needed = BTreeSet::new();
        references(template, &output["Export"], &mut needed);
        if let Some(resource) = needed.first() {
            problems.push(format!(
                "Template error: the Export of output {name} must not depend on resources, and it \
                 does on {resource}"
            ));
        }
    }
    problems.dedup();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

fn resource_problems(id: &str, resource: &Value, problems: &mut Vec<String>) {
    for attribute in ATTRIBUTES_MISSING.iter().filter(|a| resource.get(**a).is_some()) {
        problems
            .push(format!("{id}: the embedded cloud does not implement the attribute {attribute}"));
    }
    let kind = resource["Type"].as_str().unwrap_or_default();
    let waits = resource.get("CreationPolicy").is_some();
    if waits && !creation_policy::TYPES.contains(&kind) {
        problems.push(format!(
            "{id}: the embedded cloud does not implement the attribute CreationPolicy of {kind}"
        ));
    }
    let handle = resource["Properties"].get("Handle").is_some();
    if kind == "AWS::CloudFormation::WaitCondition" && handle == waits {
        problems.push(format!(
            "{id}: a wait condition has either a Handle or a CreationPolicy, and not both"
        ));
    }
    let known = match resource::find(kind) {
        Ok(known) => known,
        Err(unknown) => return problems.push(format!("{id}: {unknown}")),
    };
    // A property that AWS does not have either is a matter of the schema.
    for property in resource["Properties"].as_object().into_iter().flat_map(Map::keys) {
        if !known.properties().any(|name| name == property) && schema::has_property(kind, property)
        {
            problems.push(format!(
                "{id}: the embedded cloud does not implement the property {property} of {kind}"
            ));
        }
    }
}

/// Functions that are not there, and attributes that no such resource has.
fn functions(template: &Value, value: &Value, problems: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|i| functions(template, i, problems)),
        Value::Object(fields) => {
            for (name, field) in fields {
                if name.starts_with("Fn::") && !FUNCTIONS.contains(&name.as_str()) {
                    problems.push(format!(
                        "Template error: the embedded cloud does not implement the function {name}"
                    ));
                }
                if name == "Fn::ImportValue" {
                    problems.extend(import_problem(template, field));
                }
                if name == "Fn::GetAtt" {
                    problems.extend(attribute_problem(template, field));
                }
                functions(template, field, problems);
            }
        }
        _ => {}
    }
}

/// The name of an export is known before anything is made.
fn import_problem(template: &Value, argument: &Value) -> Option<String> {
    let mut needed = BTreeSet::new();
    references(template, argument, &mut needed);
    let is_fixed = needed.is_empty() && !argument.to_string().contains("Fn::ImportValue");
    (!is_fixed).then(|| {
        "Template error: the attribute in Fn::ImportValue must not depend on any resources, \
         imported values, or Fn::GetAZs"
            .to_owned()
    })
}

fn attribute_problem(template: &Value, argument: &Value) -> Option<String> {
    let (resource, attribute) = attribute_of(argument).unwrap_or_default();
    if resource.is_empty() || attribute.is_empty() {
        return Some(
            "Template error: every Fn::GetAtt object requires two non-empty parameters, the \
             resource name and the resource attribute"
                .to_owned(),
        );
    }
    let kind = template["Resources"][resource]["Type"].as_str()?;
    let has = resource::find(kind).is_err() || schema::has_attribute(kind, attribute);
    (!has).then(|| {
        format!(
            "Template error: resource {resource} does not support attribute type {attribute} \
             in Fn::GetAtt"
        )
    })
}
