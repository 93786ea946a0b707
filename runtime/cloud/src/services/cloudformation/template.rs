//! Templates: YAML or JSON, intrinsic functions, conditions, parameters.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html>
//!
//! What CloudFormation refuses when a template is validated is refused here in its words. What it
//! takes and this cloud does not have is refused by name, but only in resources whose conditions
//! hold, since nothing else is made.

mod check;
mod conditions;
mod parameters;
mod parse;
mod resolve;
mod rules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

pub use parameters::{Account, Given, Parameters, masked};
pub use resolve::Scope;

use super::Policy;

pub use crate::kernel::schema::UNKNOWN;

/// A parsed template in JSON's form, intrinsic functions in their long form.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    value: Value,
    needs: BTreeMap<String, Vec<String>>,
    order: Vec<String>,
}

/// The templates that were parsed last, with their texts: that of a stack is asked for at each look
/// at the stack.
static PARSED: Mutex<VecDeque<(String, Arc<Template>)>> = Mutex::new(VecDeque::new());
const PARSED_MAX: usize = 4;

/// Parses a template and checks what CloudFormation checks of its form.
pub fn parse(text: &str) -> Result<Arc<Template>, String> {
    if let Some((_, template)) = PARSED.lock().iter().find(|(parsed, _)| parsed == text) {
        return Ok(template.clone());
    }
    let template = Arc::new(parse_anew(text)?);
    let mut parsed = PARSED.lock();
    parsed.truncate(PARSED_MAX - 1);
    parsed.push_front((text.to_owned(), template.clone()));
    Ok(template)
}

fn parse_anew(text: &str) -> Result<Template, String> {
    let value = parse::document(text)?;
    check::form(&value)?;
    let needs: BTreeMap<String, Vec<String>> =
        entries(&value, "Resources").map(|(id, r)| (id.clone(), needs_of(&value, r))).collect();
    check::dependencies(&value, &needs)?;
    let order = order_of(&needs)?;
    Ok(Template { value, needs, order })
}

/// The members of a section.
fn entries<'a>(
    template: &'a Value,
    section: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    template[section].as_object().into_iter().flatten()
}

/// What a resource refers to or names in DependsOn.
fn needs_of(template: &Value, resource: &Value) -> Vec<String> {
    let mut found = BTreeSet::new();
    references(template, &resource["Properties"], &mut found);
    match &resource["DependsOn"] {
        Value::String(name) => drop(found.insert(name.clone())),
        Value::Array(names) => {
            found.extend(names.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        _ => {}
    }
    found.into_iter().collect()
}

/// Gathers the resources that a value refers to.
fn references(template: &Value, value: &Value, found: &mut BTreeSet<String>) {
    let mut add = |name: &str| {
        if !name.starts_with("AWS::") && template["Parameters"].get(name).is_none() {
            found.insert(name.to_owned());
        }
    };
    match value {
        Value::Array(items) => items.iter().for_each(|i| references(template, i, found)),
        Value::Object(fields) => {
            if let Some(name) = fields.get("Ref").and_then(Value::as_str) {
                add(name);
            } else if let Some((name, _)) = fields.get("Fn::GetAtt").and_then(attribute_of) {
                add(name);
            } else if let Some(sub) = fields.get("Fn::Sub") {
                let text = sub.as_str().or_else(|| sub[0].as_str()).unwrap_or_default();
                let own = sub[1].as_object();
                for name in placeholders(text).iter().map(|n| n.split('.').next().unwrap_or(n)) {
                    if own.is_none_or(|o| !o.contains_key(name)) {
                        add(name);
                    }
                }
                references(template, &sub[1], found);
            } else {
                fields.values().for_each(|v| references(template, v, found));
            }
        }
        _ => {}
    }
}

/// The two parts of `Fn::GetAtt`, which JSON may write as a list and YAML also as `A.B`.
fn attribute_of(argument: &Value) -> Option<(&str, &str)> {
    match argument {
        Value::String(path) => path.split_once('.'),
        list => Some((list[0].as_str()?, list[1].as_str()?)),
    }
}

/// Logical IDs, each after what it needs; an error names a cycle.
fn order_of(needs: &BTreeMap<String, Vec<String>>) -> Result<Vec<String>, String> {
    let mut order = Vec::with_capacity(needs.len());
    let mut open: BTreeMap<&str, usize> = needs.iter().map(|(id, n)| (&**id, n.len())).collect();
    let mut dependents: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, wanted) in needs {
        wanted.iter().for_each(|n| dependents.entry(n).or_default().push(id));
    }
    let mut ready: BTreeSet<&str> =
        open.iter().filter(|(_, n)| **n == 0).map(|(id, _)| *id).collect();
    while let Some(id) = ready.pop_first() {
        open.remove(id);
        order.push(id.to_owned());
        for dependent in dependents.get(id).into_iter().flatten() {
            let Some(count) = open.get_mut(dependent) else { continue };
            *count -= 1;
            if *count == 0 {
                ready.insert(dependent);
            }
        }
    }
    if open.is_empty() {
        return Ok(order);
    }
    let cycle: Vec<&str> = open.into_keys().collect();
    Err(format!("Circular dependency between resources: [{}]", cycle.join(", ")))
}

impl Template {
    /// All resources, whatever their conditions.
    pub fn resources(&self) -> impl Iterator<Item = (&String, &Value)> {
        entries(&self.value, "Resources")
    }

    /// One resource's declaration.
    pub fn resource(&self, id: &str) -> &Value {
        &self.value["Resources"][id]
    }

    /// A resource's type.
    pub fn kind(&self, id: &str) -> &str {
        self.resource(id)["Type"].as_str().unwrap_or_default()
    }

    /// What becomes of a resource when it is deleted, and of its predecessor when it is replaced.
    pub fn policies(&self, id: &str) -> (Policy, Policy) {
        let policy = |name: &str| Policy::of(self.resource(id)[name].as_str());
        (policy("DeletionPolicy"), policy("UpdateReplacePolicy"))
    }

    /// Resources whose conditions hold, each after what it needs.
    pub fn active(&self, conditions: &BTreeMap<String, bool>) -> Vec<String> {
        let holds = |id: &&String| {
            self.resource(id)["Condition"]
                .as_str()
                .is_none_or(|c| conditions.get(c).copied().unwrap_or(false))
        };
        self.order.iter().filter(holds).cloned().collect()
    }

    /// What a resource refers to or names in DependsOn.
    pub fn needs(&self, id: &str) -> Vec<String> {
        self.needs.get(id).cloned().unwrap_or_default()
    }

    /// Everything among the resources `ids` and in the outputs that this cloud does not implement,
    /// in one message.
    pub fn check_implemented(&self, ids: &[String]) -> Result<(), String> {
        check::implemented(&self.value, ids)
    }

    /// Outputs with their values, in the API's form.
    pub fn outputs(&self, scope: &Scope<'_>) -> Result<BTreeMap<String, Value>, String> {
        let active = entries(&self.value, "Outputs").filter(|(_, o)| {
            o["Condition"].as_str().is_none_or(|c| scope.conditions.get(c) == Some(&true))
        });
        let mut outputs = BTreeMap::new();
        for (name, output) in active {
            let value =
                scope.resolve(&output["Value"])?.as_ref().and_then(scalar).ok_or_else(|| {
                    format!(
                        "Template format error: Output {name} is malformed. \
                         The Value field of every Outputs member must evaluate to a String."
                    )
                })?;
            let mut described = json!({
                "OutputKey": name, "OutputValue": value, "Description": output.get("Description"),
            });
            if let Some(export) = output.get("Export") {
                let exported = scope.resolve(&export["Name"])?.as_ref().and_then(scalar);
                let exported = exported.filter(|n| !n.is_empty()).ok_or_else(|| {
                    format!("Template format error: the Export of Output {name} has no Name.")
                })?;
                described["ExportName"] = exported.into();
            }
            outputs.insert(name.clone(), described);
        }
        Ok(outputs)
    }

    /// Values of exports, where the template uses any.
    pub fn exports(
        &self,
        all: impl FnOnce() -> BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        fn uses(value: &Value) -> bool {
            match value {
                Value::Array(items) => items.iter().any(uses),
                Value::Object(fields) => {
                    fields.iter().any(|(name, field)| name == resolve::IMPORT || uses(field))
                }
                _ => false,
            }
        }
        if uses(&self.value) { all() } else { BTreeMap::new() }
    }

    /// Names of the exports that the resources `ids` and the outputs use.
    pub fn imports(&self, scope: &Scope<'_>, ids: &[String]) -> Result<BTreeSet<String>, String> {
        let mut found = BTreeSet::new();
        for id in ids {
            scope.imports(&self.resource(id)["Properties"], &mut found)?;
        }
        for (_, output) in entries(&self.value, "Outputs") {
            scope.imports(&output["Value"], &mut found)?;
        }
        Ok(found)
    }

    /// The whole of it, with functions in their long form.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The template's description.
    pub fn description(&self) -> Option<&str> {
        self.value["Description"].as_str()
    }

    /// Its metadata.
    pub fn metadata(&self) -> Option<&Value> {
        self.value.get("Metadata")
    }

    /// Whether it makes roles, and whether with names of their own.
    pub fn capabilities(&self) -> Vec<&'static str> {
        let iam = self.iam_resources();
        let named = iam.iter().any(|r| {
            let properties = &r["Properties"];
            let names = ["RoleName", "InstanceProfileName", "ManagedPolicyName"];
            names.iter().any(|name| properties.get(*name).is_some())
        });
        match (iam.is_empty(), named) {
            (true, _) => vec![],
            (false, true) => vec!["CAPABILITY_NAMED_IAM"],
            (false, false) => vec!["CAPABILITY_IAM"],
        }
    }

    /// Why it needs capabilities.
    pub fn capabilities_reason(&self) -> Option<String> {
        let iam = self.iam_resources();
        let kinds: BTreeSet<&str> = iam.iter().filter_map(|r| r["Type"].as_str()).collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        let list = kinds.join(", ");
        (!kinds.is_empty())
            .then(|| format!("The following resource(s) require capabilities: [{list}]"))
    }

    fn iam_resources(&self) -> Vec<&Value> {
        let is_iam = |r: &&Value| r["Type"].as_str().is_some_and(|t| t.starts_with("AWS::IAM::"));
        self.resources().map(|(_, r)| r).filter(is_iam).collect()
    }
}

/// A text, number or boolean as text.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

/// The names in `${…}`; `${!…}` is a literal.
fn placeholders(text: &str) -> Vec<&str> {
    text.split("${")
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .filter(|n| !n.starts_with('!'))
        .collect()
}

/// An empty object where a value is missing.
pub fn or_empty(value: Option<Value>) -> Value {
    value.filter(|v| !v.is_null()).unwrap_or_else(|| Value::Object(Map::new()))
}

#[cfg(test)]
mod tests;
