//! What AWS's API models refuse in an input, in the words of AWS's own framework.
//!
//! Types, members that must be given, lengths, ranges, allowed values and patterns are checked; the
//! few patterns that look ahead or behind are left to the services. `1 validation error detected:
//! Value 'x' at 'maxResults' failed to satisfy constraint: Member must …` is what clients know from
//! AWS; the code of that error is the service's.

use serde_json::Value;

use super::{Bounds, List, Map, Member, Model, Shape, Structure, Text};

/// Longest value that is repeated in an error.
const SHOWN_MAX: usize = 256;

/// What is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A member of a member that AWS does not have, which AWS would ignore.
    Unknown(String),
    /// A value of another type than it must be.
    Type(String),
    /// Values that may not be, in AWS's words.
    Constraints(String),
}

/// Checks an input.
pub fn check(model: &Model, input: &Structure, value: &Value) -> Result<(), Refusal> {
    let mut check = Check { model, violations: vec![], wrong_type: None, unknown: None };
    check.structure(input, value, "");
    if let Some(unknown) = check.unknown {
        return Err(Refusal::Unknown(unknown));
    }
    if let Some(wrong) = check.wrong_type {
        return Err(Refusal::Type(wrong));
    }
    match check.violations.len() {
        0 => Ok(()),
        count => {
            let errors = if count == 1 { "error" } else { "errors" };
            let all = check.violations.join("; ");
            Err(Refusal::Constraints(format!("{count} validation {errors} detected: {all}")))
        }
    }
}

struct Check<'m> {
    model: &'m Model,
    violations: Vec<String>,
    wrong_type: Option<String>,
    unknown: Option<String>,
}

impl Check<'_> {
    fn violation(&mut self, value: &Value, path: &str, constraint: &str) {
        let shown = match value {
            Value::Null => "Value null".to_owned(),
            Value::String(text) if text.len() <= SHOWN_MAX => format!("Value '{text}'"),
            Value::Number(number) => format!("Value '{number}'"),
            _ => "Value".to_owned(),
        };
        let words = format!("{shown} at '{path}' failed to satisfy constraint: {constraint}");
        self.violations.push(words);
    }

    fn wrong_type(&mut self, value: &Value, path: &str, wanted: &str) {
        let found = match value {
            Value::Null => "NULL_VALUE",
            Value::Bool(_) => "BOOLEAN_VALUE",
            Value::Number(_) => "NUMBER_VALUE",
            Value::String(_) => "STRING_VALUE",
            Value::Array(_) => "LIST_VALUE",
            Value::Object(_) => "STRUCTURE_VALUE",
        };
        let words = format!("{found} can not be converted to {wanted} (at '{path}')");
        self.wrong_type.get_or_insert(words);
    }

    fn structure(&mut self, structure: &Structure, value: &Value, path: &str) {
        let Value::Object(members) = value else {
            return self.wrong_type(value, path, "a structure");
        };
        for name in &structure.required {
            if members.get(name).is_none_or(Value::is_null) {
                self.violation(&Value::Null, &inner(path, name), "Member must not be null");
            }
        }
        for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            match structure.members.get(name) {
                Some(member) => self.member(member, value, &inner(path, name)),
                None => drop(self.unknown.get_or_insert_with(|| inner(path, name))),
            }
        }
    }

    fn member(&mut self, member: &Member, value: &Value, path: &str) {
        if let Some(shape) = self.model.of(member) {
            self.value(shape, value, path);
        }
    }

    fn value(&mut self, shape: &Shape, value: &Value, path: &str) {
        match (shape, value) {
            (Shape::Structure(structure), _) => self.structure(structure, value, path),
            (Shape::List(list), Value::Array(items)) => self.list(list, value, items, path),
            (Shape::Map(map), Value::Object(entries)) => self.map(map, value, entries, path),
            (Shape::String(text), Value::String(given)) => self.text(text, value, given, path),
            (Shape::Integer(bounds), Value::Number(number)) if !number.is_f64() => {
                self.number(*bounds, value, path);
            }
            (Shape::Float(bounds), Value::Number(_)) => self.number(*bounds, value, path),
            (Shape::Boolean, Value::Bool(_))
            | (Shape::Blob(_), Value::String(_))
            | (Shape::Timestamp(_), Value::Number(_)) => {}
            (shape, _) => self.wrong_type(value, path, wanted(shape)),
        }
    }

    fn number(&mut self, bounds: Bounds, value: &Value, path: &str) {
        let number = value.as_f64().unwrap_or(f64::NAN);
        if let Some(min) = bounds.min.filter(|min| number < *min) {
            let words = format!("Member must have value greater than or equal to {min}");
            self.violation(value, path, &words);
        }
        if let Some(max) = bounds.max.filter(|max| number > *max) {
            let words = format!("Member must have value less than or equal to {max}");
            self.violation(value, path, &words);
        }
    }

    fn length(&mut self, length: usize, bounds: Bounds, value: &Value, path: &str) {
        let length = length as f64;
        if let Some(min) = bounds.min.filter(|min| length < *min) {
            let words = format!("Member must have length greater than or equal to {min}");
            self.violation(value, path, &words);
        }
        if let Some(max) = bounds.max.filter(|max| length > *max) {
            let words = format!("Member must have length less than or equal to {max}");
            self.violation(value, path, &words);
        }
    }

    fn text(&mut self, text: &Text, value: &Value, given: &str, path: &str) {
        if !text.values.is_empty() && !text.values.iter().any(|allowed| allowed == given) {
            let all = text.values.join(", ");
            self.violation(value, path, &format!("Member must satisfy enum value set: [{all}]"));
        }
        let bounds = Bounds { min: text.min, max: text.max };
        self.length(given.chars().count(), bounds, value, path);
        if text.regex().is_some_and(|regex| !regex.is_match(given)) {
            let pattern = text.pattern.as_deref().unwrap_or_default();
            let words = format!("Member must satisfy regular expression pattern: {pattern}");
            self.violation(value, path, &words);
        }
    }

    fn list(&mut self, list: &List, value: &Value, items: &[Value], path: &str) {
        self.length(items.len(), Bounds { min: list.min, max: list.max }, value, path);
        for (number, item) in items.iter().enumerate() {
            self.member(&list.member, item, &format!("{path}.{}.member", number + 1));
        }
    }

    fn map(
        &mut self,
        map: &Map,
        value: &Value,
        entries: &serde_json::Map<String, Value>,
        path: &str,
    ) {
        self.length(entries.len(), Bounds { min: map.min, max: map.max }, value, path);
        for (key, inner) in entries {
            self.member(&map.key, &Value::String(key.clone()), path);
            self.member(&map.value, inner, &format!("{path}.{key}.member"));
        }
    }
}

fn wanted(shape: &Shape) -> &'static str {
    match shape {
        Shape::Structure(_) => "a structure",
        Shape::List(_) => "a List",
        Shape::Map(_) => "a Map",
        Shape::String(_) => "a String",
        Shape::Integer(_) => "an Integer",
        Shape::Float(_) => "a Double",
        Shape::Boolean => "a Boolean",
        Shape::Blob(_) => "a Blob",
        Shape::Timestamp(_) => "a Timestamp",
    }
}

/// `queryExecutionContext.database`: AWS's framework begins members with a small letter.
fn inner(path: &str, name: &str) -> String {
    let mut characters = name.chars();
    let name: String = match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(value: Value) -> Result<(), Refusal> {
        let model = Model::read(
            r#"{"origin": "", "name": "", "others": [], "errors": {},
            "operations": {"Get": {"http": {"method": "POST", "requestUri": "/"}, "input": "In"}},
            "shapes": {
                "In": {"type": "structure", "required": ["Name"], "members": {
                    "Name": {"shape": "Name"}, "Count": {"shape": "Count"},
                    "Kinds": {"shape": "Kinds"}, "Unread": {}}},
                "Name": {"type": "string", "min": 1, "max": 5, "pattern": "[a-z]+"},
                "Count": {"type": "integer", "min": 1, "max": 10},
                "Kinds": {"type": "list", "member": {"shape": "Kind"}, "max": 2},
                "Kind": {"type": "string", "enum": ["A", "B"]}}}"#,
        );
        check(&model, model.input("Get").expect("a structure"), &value)
    }

    fn words(value: Value) -> String {
        match refused(value) {
            Err(Refusal::Constraints(words) | Refusal::Type(words) | Refusal::Unknown(words)) => {
                words
            }
            Ok(()) => String::new(),
        }
    }

    #[test]
    fn inputs_are_refused_in_the_words_of_aws() {
        assert_eq!(refused(json!({ "Name": "abc", "Count": 10, "Kinds": ["A", "B"] })), Ok(()));
        assert_eq!(
            words(json!({ "Count": 11 })),
            "2 validation errors detected: Value null at 'name' failed to satisfy constraint: \
             Member must not be null; Value '11' at 'count' failed to satisfy constraint: Member \
             must have value less than or equal to 10"
        );
        assert_eq!(
            words(json!({ "Name": "abc", "Kinds": ["C"] })),
            "1 validation error detected: Value 'C' at 'kinds.1.member' failed to satisfy \
             constraint: Member must satisfy enum value set: [A, B]"
        );
        assert!(words(json!({ "Name": "ABC" })).ends_with("expression pattern: [a-z]+"));
        assert!(words(json!({ "Name": "" })).contains("greater than or equal to 1; "));
        assert_eq!(
            refused(json!({ "Name": 5 })),
            Err(Refusal::Type("NUMBER_VALUE can not be converted to a String (at 'name')".into()))
        );
        assert!(matches!(refused(json!({ "Name": "a", "Count": 1.5 })), Err(Refusal::Type(_))));
        assert!(matches!(refused(json!([])), Err(Refusal::Type(_))));
        let unknown = Err(Refusal::Unknown("other".to_owned()));
        assert_eq!(refused(json!({ "Name": "a", "Other": 1 })), unknown);
    }
}
