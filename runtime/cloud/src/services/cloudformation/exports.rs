//! Exports: outputs that other stacks import by name.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-exports.html>

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Stack;
use crate::kernel::cloud::Cloud;

/// An export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The stack that exports it: its ID.
    pub stack_id: String,
    /// The stack's name.
    pub stack_name: String,
    /// Its value.
    pub value: String,
}

/// The exports of one stack's outputs: name and value.
pub fn of(outputs: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let named = |output: &Value| {
        Some((
            output["ExportName"].as_str()?.to_owned(),
            output["OutputValue"].as_str()?.to_owned(),
        ))
    };
    outputs.values().filter_map(named).collect()
}

/// All exports of the account, by name.
pub fn all(cloud: &Cloud) -> BTreeMap<String, Export> {
    let mut found = BTreeMap::new();
    for (stack_id, stack) in live(cloud) {
        for (name, value) in of(&stack.outputs) {
            let (stack_id, stack_name) = (stack_id.clone(), stack.name.clone());
            found.insert(name, Export { stack_id, stack_name, value });
        }
    }
    found
}

/// Values of all exports by name.
pub fn values(cloud: &Cloud) -> BTreeMap<String, String> {
    all(cloud).into_iter().map(|(name, export)| (name, export.value)).collect()
}

fn live(cloud: &Cloud) -> impl Iterator<Item = (String, std::sync::Arc<Stack>)> {
    let all = cloud.services.cloudformation.stacks.all().into_iter();
    all.filter(|(_, stack)| stack.status != "DELETE_COMPLETE")
}

/// Names of the stacks that import a name.
pub fn importers(cloud: &Cloud, name: &str) -> Vec<String> {
    let importing = live(cloud).filter(|(_, stack)| stack.imports.contains(name));
    importing.map(|(_, stack)| stack.name.clone()).collect()
}

/// Why a stack cannot be deleted, if others import of it.
pub fn blocks_deletion(cloud: &Cloud, stack: &Stack) -> Option<String> {
    of(&stack.outputs).into_keys().find_map(|name| {
        let users = importers(cloud, &name);
        (!users.is_empty()).then(|| {
            let users = users.join(", ");
            format!("Delete canceled. Cannot delete export {name} as it is in use by {users}.")
        })
    })
}

/// Whether a stack may have these outputs now: nobody else exports their names, and nobody imports
/// what is gone or changed.
pub fn check_change(
    cloud: &Cloud,
    stack_id: &str,
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> Result<(), String> {
    let (before, after) = (of(before), of(after));
    let exported = if after.is_empty() { BTreeMap::new() } else { all(cloud) };
    for name in after.keys() {
        if let Some(other) = exported.get(name).filter(|export| export.stack_id != stack_id) {
            let owner = &other.stack_name;
            return Err(format!("Export with name {name} is already exported by stack {owner}."));
        }
    }
    for (name, value) in &before {
        let what = match after.get(name) {
            Some(now) if now == value => continue,
            Some(_) => "updated",
            None => "deleted",
        };
        let users = importers(cloud, name);
        if !users.is_empty() {
            let users = users.join(", ");
            return Err(format!("Export {name} cannot be {what} as it is in use by {users}"));
        }
    }
    Ok(())
}

/// The first name that nobody exports.
pub fn missing<'n>(cloud: &Cloud, names: &'n BTreeSet<String>) -> Option<&'n String> {
    if names.is_empty() {
        return None;
    }
    let exported = all(cloud);
    names.iter().find(|name| !exported.contains_key(*name))
}
