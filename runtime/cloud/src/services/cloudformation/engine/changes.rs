//! What an operation would change, and what early validation finds in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{all_parameters, place};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource;
use crate::kernel::schema;
use crate::services::cloudformation::template::{
    Scope, Template, UNKNOWN, masked, or_empty, parse,
};
use crate::services::cloudformation::{Parameters, Policy, Resource, Stack};
use crate::services::cloudformation::{creation_policy, exports, nested};

/// What happens to one resource in an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is made anew; the old one goes at the end.
    Replace,
    /// Nothing.
    Keep,
}

/// What happens to a resource that is declared with `properties`.
pub fn fate(old: Option<&Resource>, kind: &str, properties: &Value) -> Result<Fate, String> {
    let Some(old) = old.filter(|old| !old.is_remains()) else { return Ok(Fate::Create) };
    if old.kind != kind {
        return Ok(Fate::Replace);
    }
    let changed = changed_properties(&old.properties, properties);
    if changed.is_empty() {
        // What failed is tried again, also when nobody wants it otherwise.
        return Ok(if old.status == "UPDATE_FAILED" { Fate::Update } else { Fate::Keep });
    }
    let kind = resource::find(kind)?;
    let replaces = |property: &String| kind.replaces(property, &old.properties, properties);
    Ok(if changed.iter().any(replaces) { Fate::Replace } else { Fate::Update })
}

/// Names of the properties that differ.
fn changed_properties(old: &Value, new: &Value) -> Vec<String> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter(|n| old.get(*n) != new.get(*n)).cloned().collect()
}

/// What an operation would do.
#[derive(Debug, Default)]
pub struct Planned {
    /// Changes in the API's form, with the values of properties.
    pub changes: Vec<Value>,
    /// What early validation found: validation, then what `DescribeEvents` tells of it.
    pub problems: Vec<(&'static str, Value)>,
    /// The name of an export that is used and that nobody exports.
    pub missing_export: Option<String>,
}

/// The changes from a stack to a template.
pub fn plan(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    stack: &Stack,
    template: &Template,
    parameters: &Parameters,
) -> Result<Planned, String> {
    let all = all_parameters(cloud, stack_id, Some(stack), template.values(parameters));
    let conditions = template.conditions(&all)?;
    let active = template.active(&conditions);
    template.check_implemented(&active)?;
    let new = |id: &&String| stack.resources.get(*id).is_none_or(Resource::is_remains);
    let mut unknown: BTreeSet<String> = active.iter().filter(new).cloned().collect();
    let mut planned = Planned::default();
    let mut exports = template.exports(|| exports::values(cloud));
    let none = BTreeMap::new();
    let imports = {
        let scope = Scope {
            template,
            parameters: &all,
            resources: &stack.resources,
            unknown: &unknown,
            conditions: &conditions,
            exports: &none,
        };
        template.imports(&scope, &active)?
    };
    for name in
        imports.iter().filter(|name| !exports.contains_key(*name)).cloned().collect::<Vec<_>>()
    {
        planned.missing_export.get_or_insert_with(|| name.clone());
        exports.insert(name, UNKNOWN.to_owned());
    }
    let secrets = secrets(stack, template, parameters);
    for id in &active {
        let scope = Scope {
            template,
            parameters: &all,
            resources: &stack.resources,
            unknown: &unknown,
            conditions: &conditions,
            exports: &exports,
        };
        let properties = template.resource(id).get("Properties");
        let resolved = properties.map(|p| scope.resolve(p)).transpose()?.flatten();
        let properties = or_empty(resolved);
        creation_policy::Policy::of(template, id, &scope)?;
        nested::check(id, resource::find(template.kind(id))?, &properties)?;
        let old = stack.resources.get(id);
        let fate = fate(old, template.kind(id), &properties)?;
        if fate == Fate::Replace {
            unknown.insert(id.clone());
        }
        let kind = template.kind(id);
        let next = Next { id, kind, properties: &properties, fate, secrets: &secrets };
        planned.problems.extend(next.problems(cloud, stack_id, stack, old)?);
        let policy = (fate == Fate::Replace).then(|| match template.policies(id) {
            (_, Policy::Retain) => "ReplaceAndRetain",
            _ => "ReplaceAndDelete",
        });
        planned.changes.extend(next.described(old, policy));
    }
    let wanted: BTreeSet<&String> = active.iter().collect();
    for (id, old) in stack.resources.iter().filter(|(id, _)| !wanted.contains(id)) {
        let policy = if old.deletion.keeps(false, false) { "Retain" } else { "Delete" };
        planned.changes.push(json!({ "Type": "Resource", "ResourceChange": {
            "PolicyAction": policy, "Action": "Remove", "LogicalResourceId": id,
            "PhysicalResourceId": old.physical_id, "ResourceType": old.kind, "Scope": [],
            "Details": [], "BeforeContext": context(&masked(&old.properties, &secrets)),
        } }));
    }
    Ok(planned)
}

/// Values that nobody may see, of the template that is there and of the new one.
fn secrets(stack: &Stack, template: &Template, parameters: &Parameters) -> Vec<String> {
    let mut secrets = template.secrets(parameters);
    secrets.extend(
        parse(&stack.template).map(|t| t.secrets(&stack.parameters())).into_iter().flatten(),
    );
    secrets
}

/// `{"Properties":{…}}` as text, as the API has it.
fn context(properties: &Value) -> String {
    json!({ "Properties": properties }).to_string()
}

/// One resource of the new template.
struct Next<'a> {
    id: &'a str,
    kind: &'a str,
    properties: &'a Value,
    fate: Fate,
    secrets: &'a [String],
}

impl Next<'_> {
    /// What early validation finds: properties against the schema, names against what is there.
    fn problems(
        &self,
        cloud: &Arc<Cloud>,
        stack_id: &str,
        stack: &Stack,
        old: Option<&Resource>,
    ) -> Result<Vec<(&'static str, Value)>, String> {
        let mut found = Vec::new();
        if self.fate == Fate::Keep {
            return Ok(found);
        }
        let at = |path: &str| format!("/Resources/{}/Properties{path}", self.id);
        for problem in schema::problems(self.kind, self.properties) {
            let words = match problem.words.strip_prefix("required key ") {
                Some(rest) => format!("Required property {rest}"),
                None => problem.words.clone(),
            };
            let event = self.event("PROPERTY_VALIDATION", &at(&problem.path), &words);
            found.push(("AWS::EarlyValidation::PropertyValidation", event));
        }
        let kind = resource::find(self.kind)?;
        let named = kind.given_name(self.properties).filter(|n| !n.contains(UNKNOWN));
        let place = place(cloud, stack_id, stack, self.id);
        if let (Fate::Create | Fate::Replace, Some(_), true) = (self.fate, named, found.is_empty())
        {
            let physical_id = kind.id(&place, self.properties);
            let own = old.is_some_and(|o| o.physical_id == physical_id);
            if !own && kind.is_taken(cloud, &physical_id, self.properties) {
                let words = kind.handler.taken(kind, &physical_id, self.properties);
                let path = at(&format!("/{}", kind.named_by.unwrap_or_default()));
                let event = self.event("NAME_CONFLICT_VALIDATION", &path, &words);
                found.push(("AWS::EarlyValidation::ResourceExistenceCheck", event));
            }
        }
        Ok(found)
    }

    fn event(&self, name: &str, path: &str, words: &str) -> Value {
        json!({
            "EventType": "VALIDATION_ERROR", "LogicalResourceId": self.id, "PhysicalResourceId": "",
            "ResourceType": self.kind, "ValidationFailureMode": "FAIL", "ValidationName": name,
            "ValidationStatus": "FAILED", "ValidationStatusReason": words, "ValidationPath": path,
        })
    }

    fn described(&self, old: Option<&Resource>, policy: Option<&str>) -> Option<Value> {
        let (action, replacement) = match self.fate {
            Fate::Keep => return None,
            Fate::Create => ("Add", None),
            Fate::Update => ("Modify", Some("False")),
            Fate::Replace => ("Modify", Some("True")),
        };
        let old = old.filter(|_| self.fate != Fate::Create);
        let details = old.map(|o| self.details(o)).unwrap_or_default();
        let scope: Vec<&str> = if old.is_some() { vec!["Properties"] } else { vec![] };
        Some(json!({ "Type": "Resource", "ResourceChange": {
            "PolicyAction": policy, "Action": action, "LogicalResourceId": self.id,
            "PhysicalResourceId": old.map(|o| &o.physical_id), "ResourceType": self.kind,
            "Replacement": replacement, "Scope": scope, "Details": details,
            "BeforeContext": old.map(|o| context(&masked(&o.properties, self.secrets))),
            "AfterContext": context(&masked(self.properties, self.secrets)),
        } }))
    }

    fn details(&self, old: &Resource) -> Vec<Value> {
        let kind = resource::find(self.kind);
        let mut details = Vec::new();
        for name in changed_properties(&old.properties, self.properties) {
            let replaces =
                kind.as_ref().is_ok_and(|k| k.replaces(&name, &old.properties, self.properties));
            let recreation = match (replaces, schema::may_replace(self.kind, &name)) {
                (true, _) => "Always",
                (false, true) => "Conditionally",
                (false, false) => "Never",
            };
            let text = |v: Option<&Value>| {
                let shown = masked(v?, self.secrets);
                Some(shown.as_str().map_or_else(|| shown.to_string(), str::to_owned))
            };
            let (before, after) =
                (text(old.properties.get(&name)), text(self.properties.get(&name)));
            let how = match (&before, &after) {
                (None, _) => "Add",
                (_, None) => "Remove",
                _ => "Modify",
            };
            let dynamic = after.as_deref().is_some_and(|a| a.contains(UNKNOWN));
            details.push(json!({
                "Target": {
                    "Attribute": "Properties", "Name": name, "RequiresRecreation": recreation,
                    "Path": format!("/Properties/{name}"), "BeforeValue": before,
                    "AfterValue": after, "AttributeChangeType": how,
                },
                "Evaluation": if dynamic { "Dynamic" } else { "Static" },
                "ChangeSource": "DirectModification",
            }));
        }
        details
    }
}
