//! Intrinsic functions.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use serde_json::Value;

use super::{Template, UNKNOWN, attribute_of, scalar};

/// The function that gives the value of an export.
pub const IMPORT: &str = "Fn::ImportValue";
use crate::services::cloudformation::Resource;

/// Bytes that the functions of one resource may make together; a template of 1 MB could otherwise
/// grow a thousandfold.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// What expressions are resolved against.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The template, for its mappings.
    pub template: &'a Template,
    /// Values of the parameters, pseudo parameters among them; lists are arrays.
    pub parameters: &'a BTreeMap<String, Value>,
    /// Resources as far as they are there.
    pub resources: &'a BTreeMap<String, Resource>,
    /// Logical IDs whose values are not known yet.
    pub unknown: &'a BTreeSet<String>,
    /// Conditions, evaluated.
    pub conditions: &'a BTreeMap<String, bool>,
    /// Values of exports by name.
    pub exports: &'a BTreeMap<String, String>,
}

impl Scope<'_> {
    /// Resolves all intrinsic functions; `None` for `AWS::NoValue`.
    pub fn resolve(&self, value: &Value) -> Result<Option<Value>, String> {
        Work { scope: self, left: Cell::new(BYTES_MAX) }.resolve(value)
    }
}

impl Scope<'_> {
    /// Adds the names of exports that a value uses, where its conditions hold.
    pub fn imports(&self, value: &Value, found: &mut BTreeSet<String>) -> Result<(), String> {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.imports(item, found)),
            Value::Object(fields) => {
                if let Some(name) = fields.get(IMPORT) {
                    let name = self.resolve(name)?.as_ref().and_then(scalar);
                    found.extend(name);
                    return Ok(());
                }
                if let Some(choice) = fields.get("Fn::If") {
                    let condition = choice[0].as_str().and_then(|c| self.conditions.get(c));
                    let chosen = if condition == Some(&false) { 2 } else { 1 };
                    return self.imports(&choice[chosen], found);
                }
                fields.values().try_for_each(|field| self.imports(field, found))
            }
            _ => Ok(()),
        }
    }
}

/// One value that is being resolved.
struct Work<'a, 'b> {
    scope: &'a Scope<'b>,
    left: Cell<usize>,
}

impl Work<'_, '_> {
    fn resolve(&self, value: &Value) -> Result<Option<Value>, String> {
        match value {
            Value::Array(items) => {
                let mut resolved = Vec::with_capacity(items.len());
                for item in items {
                    resolved.extend(self.resolve(item)?);
                }
                Ok(Some(resolved.into()))
            }
            Value::Object(fields) => match fields.iter().next() {
                Some((name, argument))
                    if fields.len() == 1 && (name == "Ref" || name.starts_with("Fn::")) =>
                {
                    let made = self.function(name, argument)?;
                    self.spend(made.as_ref())?;
                    Ok(made)
                }
                _ => {
                    let mut resolved = serde_json::Map::new();
                    for (name, field) in fields {
                        if let Some(field) = self.resolve(field)? {
                            resolved.insert(name.clone(), field);
                        }
                    }
                    Ok(Some(Value::Object(resolved)))
                }
            },
            other => Ok(Some(other.clone())),
        }
    }

    /// Counts what a function made.
    fn spend(&self, made: Option<&Value>) -> Result<(), String> {
        fn bytes(value: &Value) -> usize {
            match value {
                Value::String(text) => text.len(),
                Value::Array(items) => items.iter().map(|i| 8 + bytes(i)).sum(),
                Value::Object(fields) => fields.iter().map(|(k, v)| k.len() + bytes(v)).sum(),
                _ => 8,
            }
        }
        let left = self.left.get().checked_sub(made.map_or(0, bytes)).ok_or_else(|| {
            format!(
                "Template error: the functions of one resource make more than {BYTES_MAX} bytes"
            )
        })?;
        self.left.set(left);
        Ok(())
    }

    fn text(&self, value: &Value, function: &str) -> Result<String, String> {
        self.resolve(value)?
            .as_ref()
            .and_then(scalar)
            .ok_or_else(|| format!("Template error: {value} in {function} is not text"))
    }

    fn list(&self, value: &Value, function: &str) -> Result<Vec<Value>, String> {
        match self.resolve(value)? {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(format!("Template error: {value} in {function} is not a list")),
        }
    }

    fn function(&self, name: &str, argument: &Value) -> Result<Option<Value>, String> {
        Ok(Some(match name {
            "Ref" if argument == "AWS::NoValue" => return Ok(None),
            "Ref" => self.reference(argument.as_str().unwrap_or_default())?,
            "Fn::GetAtt" => {
                let (resource, attribute) = attribute_of(argument).unwrap_or_default();
                self.attribute(resource, attribute)?
            }
            "Fn::Join" => self.join(argument)?,
            "Fn::Sub" => self.substitute(argument)?.into(),
            "Fn::Base64" => {
                let text = self.text(argument, name)?;
                base64::engine::general_purpose::STANDARD.encode(text).into()
            }
            "Fn::Select" => self.select(argument)?,
            "Fn::GetAZs" => {
                let asked = self.text(argument, name)?;
                let own = self.scope.parameters["AWS::Region"].as_str().unwrap_or_default();
                if !asked.is_empty() && asked != own {
                    return Err(format!(
                        "Template error: the embedded cloud has no region {asked}, only {own}"
                    ));
                }
                ["a", "b", "c"].map(|zone| format!("{own}{zone}")).to_vec().into()
            }
            "Fn::Split" => {
                let delimiter = argument[0].as_str().filter(|d| !d.is_empty()).ok_or(
                    "Template error: every Fn::Split object requires two parameters, \
                     (1) a string delimiter and (2) a string to be split",
                )?;
                let text = self.text(&argument[1], name)?;
                text.split(delimiter).map(str::to_owned).collect::<Vec<_>>().into()
            }
            "Fn::FindInMap" => {
                let part = |n: usize| self.text(&argument[n], name);
                self.scope.template.mapped(&part(0)?, &part(1)?, &part(2)?)?.clone()
            }
            "Fn::If" => {
                let condition = argument[0].as_str().and_then(|c| self.scope.conditions.get(c));
                let holds = condition.ok_or_else(|| {
                    format!("Template error: unresolved condition dependency {}", argument[0])
                })?;
                return self.resolve(&argument[if *holds { 1 } else { 2 }]);
            }
            IMPORT => {
                let name = self.text(argument, name)?;
                let value = self.scope.exports.get(&name);
                value.ok_or_else(|| format!("No export named {name} found."))?.clone().into()
            }
            other => {
                return Err(format!(
                    "Template error: the embedded cloud does not implement the function {other}"
                ));
            }
        }))
    }

    fn join(&self, argument: &Value) -> Result<Value, String> {
        let delimiter = argument[0].as_str().ok_or(
            "Template error: every Fn::Join object requires two parameters, \
             (1) a string delimiter and (2) a list of strings to be joined or a function that \
             returns a list of strings (such as Fn::GetAZs) to be joined.",
        )?;
        let mut parts = Vec::new();
        for part in self.list(&argument[1], "Fn::Join")? {
            let not_text = || format!("Template error: {part} in Fn::Join is not text");
            parts.push(scalar(&part).ok_or_else(not_text)?);
        }
        Ok(parts.join(delimiter).into())
    }

    fn select(&self, argument: &Value) -> Result<Value, String> {
        let index: usize = self
            .text(&argument[0], "Fn::Select")?
            .parse()
            .map_err(|_| "Template error: the index of Fn::Select is not a number".to_owned())?;
        let mut items = self.list(&argument[1], "Fn::Select")?;
        if index >= items.len() {
            return Err(format!(
                "Template error: Fn::Select cannot select nonexistent value at index {index}"
            ));
        }
        Ok(items.swap_remove(index))
    }

    fn reference(&self, name: &str) -> Result<Value, String> {
        if let Some(value) = self.scope.parameters.get(name) {
            return Ok(value.clone());
        }
        if self.scope.unknown.contains(name) {
            return Ok(UNKNOWN.into());
        }
        let resource = self.scope.resources.get(name);
        let resource = resource
            .ok_or_else(|| format!("Template error: unresolved resource dependency [{name}]"))?;
        Ok(resource.physical_id.clone().into())
    }

    fn attribute(&self, name: &str, attribute: &str) -> Result<Value, String> {
        if self.scope.unknown.contains(name) {
            return Ok(UNKNOWN.into());
        }
        let resource = self.scope.resources.get(name);
        let resource = resource
            .ok_or_else(|| format!("Template error: unresolved resource dependency [{name}]"))?;
        resource.attributes.get(attribute).cloned().ok_or_else(|| {
            format!(
                "Template error: resource {name} does not support attribute type {attribute} \
                 in Fn::GetAtt"
            )
        })
    }

    fn substitute(&self, argument: &Value) -> Result<String, String> {
        let text = argument.as_str().or_else(|| argument[0].as_str()).unwrap_or_default();
        let mut out = String::new();
        let mut parts = text.split("${");
        out += parts.next().unwrap_or_default();
        for part in parts {
            let (name, rest) = part.split_once('}').ok_or(
                "Template error: variable names in Fn::Sub syntax must contain only \
                 alphanumeric characters, underscores, periods, and colons",
            )?;
            if let Some(literal) = name.strip_prefix('!') {
                out += &format!("${{{literal}}}");
            } else if let Some(own) = argument[1].get(name) {
                out += &self.text(own, "Fn::Sub")?;
            } else {
                let value = match name.split_once('.') {
                    Some((resource, attribute)) => self.attribute(resource, attribute)?,
                    None => self.reference(name)?,
                };
                let value = scalar(&value)
                    .ok_or_else(|| format!("Template error: ${{{name}}} is not text"))?;
                self.spend(Some(&value.clone().into()))?;
                out += &value;
            }
            out += rest;
        }
        Ok(out)
    }
}
