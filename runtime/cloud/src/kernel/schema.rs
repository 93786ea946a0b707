//! AWS's published resource schemas: which properties a type has, which it needs, what they may
//! hold, and which of them make a resource anew. The data lie in `models/resource_schemas.json`,
//! with their origin and version; `models/trim_resource_schemas.py` writes them.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// What stands for a value that is known only when a stack is made.
pub const UNKNOWN: &str = "{{changeSet:KNOWN_AFTER_APPLY}}";

static SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../models/resource_schemas.json"))
        .expect("a test parses the same text")
});

/// Something in a resource's properties that its schema refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `/TableInput/Name`, or nothing for the whole.
    pub path: String,
    /// In the words of resource events.
    pub words: String,
}

fn schema(kind: &str) -> &'static Value {
    &SCHEMAS["types"][kind]
}

/// Whether AWS has this property.
pub fn has_property(kind: &str, property: &str) -> bool {
    schema(kind)["properties"].get(property).is_some()
}

/// The properties that a template may give.
pub fn properties(kind: &str) -> impl Iterator<Item = &'static str> {
    let all = schema(kind)["properties"].as_object().into_iter().flatten();
    let read_only: Vec<&str> = paths(kind, "readOnlyProperties").collect();
    all.map(|(name, _)| name.as_str())
        .filter(move |name| !read_only.iter().any(|path| *path == format!("/properties/{name}")))
}

/// Whether AWS has this attribute for `Fn::GetAtt`.
pub fn has_attribute(kind: &str, attribute: &str) -> bool {
    let path = format!("/properties/{}", attribute.replace('.', "/"));
    has_property(kind, attribute)
        || paths(kind, "readOnlyProperties").any(|p| p == path)
        // Whatever an object is made of, of which the schema names the object only.
        || attribute.split_once('.').is_some_and(|(object, _)| has_property(kind, object))
}

/// Paths of the properties whose change makes a resource anew: `TableInput/Name`.
pub fn create_only(kind: &str) -> impl Iterator<Item = &'static str> {
    paths(kind, "createOnlyProperties").map(|p| p.trim_start_matches("/properties/"))
}

/// The members that tell a resource from others of its type: `Arn`.
pub fn primary_identifier(kind: &str) -> Vec<&'static str> {
    paths(kind, "primaryIdentifier").map(|p| p.trim_start_matches("/properties/")).collect()
}

/// Whether a change of the property may make a resource anew.
pub fn may_replace(kind: &str, property: &str) -> bool {
    paths(kind, "conditionalCreateOnlyProperties")
        .any(|p| p.trim_start_matches("/properties/") == property)
}

/// Paths of the members inside of a property, through lists: `Rules/Id`.
#[cfg(test)]
pub fn members(kind: &str, property: &str) -> std::collections::BTreeSet<String> {
    fn gather(
        root: &Value,
        schema: &Value,
        path: &str,
        found: &mut std::collections::BTreeSet<String>,
    ) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/definitions/");
            return gather(root, &root["definitions"][name], path, found);
        }
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let inner_path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if path.split('/').count() < 6 && found.insert(inner_path.clone()) {
                gather(root, inner, &inner_path, found);
            }
        }
        if let Some(items) = schema.get("items") {
            gather(root, items, path, found);
        }
    }
    let mut found = std::collections::BTreeSet::new();
    gather(schema(kind), &schema(kind)["properties"][property], "", &mut found);
    found
}

/// The actions that AWS publishes for a type's handler: `create`, `read`, `update`, `delete`, or
/// `tagging`.
#[cfg(test)]
pub fn handled(kind: &str, handler: &str) -> impl Iterator<Item = &'static str> {
    let actions = schema(kind)["handlers"][handler].as_array();
    actions.into_iter().flatten().filter_map(Value::as_str)
}

fn paths(kind: &str, list: &str) -> impl Iterator<Item = &'static str> {
    schema(kind)[list].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// What the schema refuses in resolved properties. What is known only later is not looked at.
pub fn problems(kind: &str, properties: &Value) -> Vec<Problem> {
    let mut check = Check { root: schema(kind), problems: vec![] };
    check.value(schema(kind), properties, "");
    check.problems
}

struct Check {
    root: &'static Value,
    problems: Vec<Problem>,
}

impl Check {
    fn refuse(&mut self, path: &str, words: String) {
        self.problems.push(Problem { path: path.to_owned(), words });
    }

    fn value(&mut self, schema: &'static Value, value: &Value, path: &str) {
        if value.as_str().is_some_and(|t| t.contains(UNKNOWN)) {
            return;
        }
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/definitions/");
            return self.value(&self.root["definitions"][name], value, path);
        }
        if let Some(expected) = wrong_type(&schema["type"], value) {
            let found = java_name(value);
            return self.refuse(path, format!("expected type: {expected}, found: {found}"));
        }
        let same = |allowed: &Value| text_of(allowed) == text_of(value);
        if schema["enum"].as_array().is_some_and(|allowed| !allowed.iter().any(same)) {
            self.refuse(path, format!("{} is not a valid enum value", text_of(value)));
        }
        match value {
            Value::Object(fields) => self.object(schema, fields, path),
            Value::Array(items) => self.array(schema, items, path),
            scalar => self.scalar(schema, scalar, path),
        }
        for word in ["anyOf", "oneOf"] {
            let Some(choices) = schema[word].as_array() else { continue };
            let mut fits = |choice: &'static Value| {
                let mut check = Self { root: self.root, problems: vec![] };
                check.value(choice, value, path);
                check.problems.is_empty()
            };
            if !choices.iter().any(&mut fits) {
                let count = choices.len();
                let words = format!("no subschema matched out of the total {count} subschemas");
                self.refuse(path, words);
            }
        }
    }

    fn object(&mut self, schema: &'static Value, fields: &Map<String, Value>, path: &str) {
        let required = schema["required"].as_array().into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|n| !fields.contains_key(*n)) {
            self.refuse(path, format!("required key [{name}] not found"));
        }
        let patterns = schema["patternProperties"].as_object();
        for (name, field) in fields {
            let inner = format!("{path}/{name}");
            if let Some(known) = schema["properties"].get(name) {
                self.value(known, field, &inner);
                continue;
            }
            let by_pattern = patterns
                .into_iter()
                .flatten()
                .find(|(p, _)| Regex::new(p).is_ok_and(|p| p.is_match(name)));
            if let Some((_, known)) = by_pattern {
                self.value(known, field, &inner);
            } else if schema["additionalProperties"] == false {
                self.refuse(path, format!("extraneous key [{name}] is not permitted"));
            }
        }
    }

    fn array(&mut self, schema: &'static Value, items: &[Value], path: &str) {
        let count = items.len() as u64;
        if let Some(least) = schema["minItems"].as_u64().filter(|l| count < *l) {
            self.refuse(path, format!("expected minimum item count: {least}, found: {count}"));
        }
        if let Some(most) = schema["maxItems"].as_u64().filter(|m| count > *m) {
            self.refuse(path, format!("expected maximum item count: {most}, found: {count}"));
        }
        let known: Vec<String> =
            items.iter().map(Value::to_string).filter(|t| !t.contains(UNKNOWN)).collect();
        let different: std::collections::BTreeSet<&String> = known.iter().collect();
        if schema["uniqueItems"] == true && different.len() < known.len() {
            self.refuse(path, "array items are not unique".to_owned());
        }
        if schema.get("items").is_some() {
            for (n, item) in items.iter().enumerate() {
                self.value(&schema["items"], item, &format!("{path}/{n}"));
            }
        }
    }

    fn scalar(&mut self, schema: &'static Value, value: &Value, path: &str) {
        let text = text_of(value);
        let chars = text.chars().count() as u64;
        if let Some(least) = schema["minLength"].as_u64().filter(|l| chars < *l) {
            self.refuse(path, format!("expected minLength: {least}, actual: {chars}"));
        }
        if let Some(most) = schema["maxLength"].as_u64().filter(|m| chars > *m) {
            self.refuse(path, format!("expected maxLength: {most}, actual: {chars}"));
        }
        // AWS's few patterns that look ahead or behind are left to the resources themselves.
        let pattern = schema["pattern"].as_str().and_then(compiled);
        if pattern.is_some_and(|p| !p.is_match(&text)) {
            let words = "failed validation constraint for keyword [pattern]";
            self.refuse(path, words.to_owned());
        }
        let Ok(number) = text.parse::<f64>() else { return };
        if let Some(least) = schema["minimum"].as_f64().filter(|l| number < *l) {
            self.refuse(path, format!("{text} is not greater or equal to {least}"));
        }
        if let Some(most) = schema["maximum"].as_f64().filter(|m| number > *m) {
            self.refuse(path, format!("{text} is not less or equal to {most}"));
        }
    }
}

/// A published pattern; `None` for what the engine here does not have.
fn compiled(pattern: &str) -> Option<Regex> {
    let (mut translated, mut in_class, mut escaped) = (String::new(), false, false);
    for c in pattern.chars() {
        match c {
            // Python's end of text.
            'Z' if escaped => translated.push('z'),
            // A bracket in a class opens another one here, and there it is a bracket.
            '[' if in_class && !escaped => translated.push_str("\\["),
            c => translated.push(c),
        }
        in_class = match c {
            '[' if !escaped => true,
            ']' if !escaped => false,
            _ => in_class,
        };
        escaped = c == '\\' && !escaped;
    }
    Regex::new(&translated).ok()
}

/// A scalar as text, which is how CloudFormation compares: `8` and `"8"` are the same.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The type that was wanted when the value has another. Numbers and booleans may be written as
/// text and the other way round.
fn wrong_type(declared: &Value, value: &Value) -> Option<&'static str> {
    let names: Vec<&'static str> = match declared {
        Value::String(name) => vec![java_type(name)],
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(java_type).collect(),
        _ => return None,
    };
    let text = text_of(value);
    let is_scalar = !value.is_object() && !value.is_array() && !value.is_null();
    let fits = |name: &&str| match *name {
        "JSONObject" => value.is_object(),
        "JSONArray" => value.is_array(),
        "Boolean" => is_scalar && matches!(text.as_str(), "true" | "false"),
        "Integer" => is_scalar && text.parse::<i64>().is_ok(),
        "Number" => is_scalar && text.parse::<f64>().is_ok(),
        "String" => is_scalar,
        _ => true,
    };
    let fallback = names.first().copied();
    if names.iter().any(fits) { None } else { fallback }
}

fn java_type(name: &str) -> &'static str {
    match name {
        "object" => "JSONObject",
        "array" => "JSONArray",
        "boolean" => "Boolean",
        "integer" => "Integer",
        "number" => "Number",
        "string" => "String",
        _ => "",
    }
}

fn java_name(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "JSONObject",
        Value::Array(_) => "JSONArray",
        Value::Bool(_) => "Boolean",
        Value::Number(n) if n.is_f64() => "Double",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Null => "Null",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(kind: &str, properties: Value) -> Vec<String> {
        problems(kind, &properties).iter().map(|p| format!("#{}: {}", p.path, p.words)).collect()
    }

    #[test]
    fn values_are_checked_as_aws_publishes_it() {
        let group = "AWS::Logs::LogGroup";
        assert_eq!(words(group, json!({ "RetentionInDays": 7 })), [""; 0]);
        assert_eq!(words(group, json!({ "RetentionInDays": "7" })), [""; 0]);
        assert_eq!(
            words(group, json!({ "RetentionInDays": 8 })),
            ["#/RetentionInDays: 8 is not a valid enum value"]
        );
        assert_eq!(
            words(group, json!({ "Name": "x" })),
            ["#: extraneous key [Name] is not permitted"]
        );
        assert_eq!(
            words("AWS::IAM::InstanceProfile", json!({ "InstanceProfileName": "p" })),
            ["#: required key [Roles] not found"]
        );
        assert_eq!(
            words("AWS::Lambda::Function", json!({ "Code": {}, "Role": ["x"] })),
            ["#/Role: expected type: String, found: JSONArray"]
        );
        assert_eq!(words("AWS::Lambda::Function", json!({ "Code": {}, "Role": UNKNOWN })), [""; 0]);
    }

    #[test]
    fn few_of_the_published_patterns_cannot_be_checked() {
        fn gather(value: &Value, found: &mut Vec<String>) {
            if let Some(pattern) = value["pattern"].as_str()
                && compiled(pattern).is_none()
            {
                found.push(pattern.to_owned());
            }
            match value {
                Value::Object(fields) => fields.values().for_each(|v| gather(v, found)),
                Value::Array(items) => items.iter().for_each(|v| gather(v, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        gather(&SCHEMAS, &mut found);
        found.sort();
        found.dedup();
        // The engine does not look ahead or behind.
        let looks = |pattern: &String| ["(?!", "(?=", "(?<!"].iter().any(|w| pattern.contains(w));
        assert!(found.iter().all(looks) && found.len() < 9, "{found:#?}");
    }
}
