//! Drift: where resources are not as their template has them.
//!
//! Compared is what the template gives, as in AWS; what it leaves to defaults is not. Types that
//! cannot be read are `NOT_CHECKED`. The newest 1,000 detections are kept.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-stack-drift.html>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::template::{masked, parse, scalar};
use super::{Resource, Stack};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::resource::{self, Live};
use crate::kernel::store::NotStored;

/// Detections that are kept.
const DETECTIONS_MAX: usize = 1_000;

/// What a stack's last detections found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// When the whole stack was last looked at.
    pub checked: Option<Timestamp>,
    /// What was found, by logical ID.
    pub resources: BTreeMap<String, Found>,
}

impl Drift {
    /// `IN_SYNC`, `DRIFTED` or `NOT_CHECKED`.
    pub fn status(&self) -> &'static str {
        match self.checked {
            None => NOT_CHECKED,
            Some(_) if self.drifted() > 0 => "DRIFTED",
            Some(_) => "IN_SYNC",
        }
    }

    /// How many resources have drifted.
    pub fn drifted(&self) -> usize {
        self.resources.values().filter(|found| found.has_drifted()).count()
    }

    /// As descriptions of stacks have it.
    pub fn described(&self) -> Value {
        let mut out = json!({ "StackDriftStatus": self.status() });
        if let Some(time) = self.checked {
            out["LastCheckTimestamp"] = iso(time).into();
        }
        out
    }

    /// As descriptions of a resource have it.
    pub fn of_resource(&self, logical_id: &str) -> Value {
        match self.resources.get(logical_id) {
            None => json!({ "StackResourceDriftStatus": NOT_CHECKED }),
            Some(found) => json!({
                "StackResourceDriftStatus": found.status, "LastCheckTimestamp": iso(found.time),
            }),
        }
    }
}

/// The status of what nobody has looked at.
pub const NOT_CHECKED: &str = "NOT_CHECKED";

/// What was found about a resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// `IN_SYNC`, `MODIFIED`, `DELETED` or `NOT_CHECKED`.
    pub status: String,
    /// What the template gives.
    pub expected: Value,
    /// The same as it is.
    pub actual: Option<Value>,
    /// Where they differ, in the API's form.
    pub differences: Vec<Value>,
    /// When it was looked at.
    pub time: Timestamp,
}

impl Found {
    fn has_drifted(&self) -> bool {
        matches!(self.status.as_str(), "MODIFIED" | "DELETED")
    }
}

/// One order to look at a stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Detection {
    /// The stack's ID.
    pub stack_id: String,
    /// When it was looked at.
    pub time: Timestamp,
    /// What was found of the whole.
    pub status: String,
    /// How many resources had drifted.
    pub drifted: usize,
}

/// Looks at resources of a stack (all, when none is named) and stores what is found; the ID of the
/// detection.
pub fn detect(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    stack: &Stack,
    only: &BTreeSet<String>,
) -> Result<String, NotStored> {
    let time = cloud.clock.now();
    let mut found = BTreeMap::new();
    for (id, resource) in chosen(stack, only) {
        found.insert(id.clone(), look(cloud, stack, resource));
    }
    let drift = cloud.services.cloudformation.stacks.update(stack_id, |stack| {
        if only.is_empty() {
            stack.drift = Drift { checked: Some(time), resources: found };
        } else {
            stack.drift.checked = Some(time);
            stack.drift.resources.extend(found);
        }
        stack.drift.clone()
    })?;
    let drift = drift.unwrap_or_default();
    let detection = Detection {
        stack_id: stack_id.to_owned(),
        time,
        status: drift.status().to_owned(),
        drifted: drift.drifted(),
    };
    let id = uuid::Uuid::new_v4().to_string();
    let detections = &cloud.services.cloudformation.detections;
    detections.put(&id, detection)?;
    forget_oldest(cloud)?;
    Ok(id)
}

fn forget_oldest(cloud: &Cloud) -> Result<(), NotStored> {
    let detections = &cloud.services.cloudformation.detections;
    let mut all: Vec<(Timestamp, String)> =
        detections.all().into_iter().map(|(id, detection)| (detection.time, id)).collect();
    all.sort();
    let surplus = all.len().saturating_sub(DETECTIONS_MAX);
    for (_, id) in all.into_iter().take(surplus) {
        detections.remove(&id)?;
    }
    Ok(())
}

fn chosen<'s>(
    stack: &'s Stack,
    only: &'s BTreeSet<String>,
) -> impl Iterator<Item = (&'s String, &'s Resource)> {
    let all = stack.resources.iter().filter(|(_, resource)| resource.made);
    all.filter(move |(id, _)| only.is_empty() || only.contains(*id))
}

/// Looks at one resource.
pub fn look(cloud: &Arc<Cloud>, stack: &Stack, resource: &Resource) -> Found {
    let time = cloud.clock.now();
    let secrets =
        parse(&stack.template).map(|t| t.secrets(&stack.parameters())).unwrap_or_default();
    let shown = |value: &Value| masked(value, &secrets);
    let found = |status: &str, actual: Option<Value>, differences: Vec<Value>| Found {
        status: status.to_owned(),
        expected: shown(&resource.properties),
        actual,
        differences,
        time,
    };
    match live(cloud, resource) {
        Live::Unread => found(NOT_CHECKED, None, vec![]),
        Live::Gone => found("DELETED", None, vec![]),
        Live::Is(actual) => {
            let actual = given(&resource.properties, &actual);
            let mut differences = Vec::new();
            compare("", &resource.properties, Some(&actual), &mut differences);
            let status = if differences.is_empty() { "IN_SYNC" } else { "MODIFIED" };
            let differences = differences.iter().map(shown).collect();
            found(status, Some(shown(&actual)), differences)
        }
    }
}

fn live(cloud: &Arc<Cloud>, resource: &Resource) -> Live {
    match resource::find(&resource.kind) {
        Ok(kind) => kind.handler.read(cloud, &resource.physical_id, &resource.properties),
        Err(_) => Live::Unread,
    }
}

/// Of what a resource is, the properties that its template gives.
fn given(expected: &Value, actual: &Value) -> Value {
    let names = expected.as_object().into_iter().flatten();
    let there = names.filter_map(|(name, _)| Some((name.clone(), actual.get(name)?.clone())));
    Value::Object(there.filter(|(_, value)| !value.is_null()).collect())
}

/// Adds where `actual` is not as `expected`.
fn compare(path: &str, expected: &Value, actual: Option<&Value>, found: &mut Vec<Value>) {
    let text = |value: &Value| scalar(value).unwrap_or_else(|| value.to_string());
    let mut differ = |path: &str, kind: &str, expected: Option<&Value>, actual: Option<&Value>| {
        found.push(json!({
            "PropertyPath": path, "DifferenceType": kind,
            "ExpectedValue": expected.map_or_else(|| "null".to_owned(), text),
            "ActualValue": actual.map_or_else(|| "null".to_owned(), text),
        }));
    };
    match (expected, actual) {
        (_, None) => differ(path, "REMOVE", Some(expected), None),
        (Value::Object(expected), Some(Value::Object(actual))) => {
            for (name, value) in expected {
                compare(&format!("{path}/{name}"), value, actual.get(name), found);
            }
        }
        (Value::Array(expected), Some(Value::Array(actual))) => {
            compare_lists(path, expected, actual, found);
        }
        (expected, Some(actual)) if text(expected) == text(actual) => {}
        (expected, actual) => differ(path, "NOT_EQUAL", Some(expected), actual),
    }
}

/// Lists are sets to AWS: only what is in one of them differs. Where one item is left on each side
/// it has changed.
fn compare_lists(path: &str, expected: &[Value], actual: &[Value], found: &mut Vec<Value>) {
    let same = |one: &Value, other: &Value| {
        let mut differences = Vec::new();
        compare("", one, Some(other), &mut differences);
        differences.is_empty()
    };
    let mut left: Vec<(usize, &Value)> = actual.iter().enumerate().collect();
    let mut missing: Vec<(usize, &Value)> = Vec::new();
    for (index, item) in expected.iter().enumerate() {
        match left.iter().position(|(_, other)| same(item, other)) {
            Some(at) => drop(left.remove(at)),
            None => missing.push((index, item)),
        }
    }
    if let ([(index, item)], [(_, other)]) = (missing.as_slice(), left.as_slice()) {
        return compare(&format!("{path}/{index}"), item, Some(other), found);
    }
    for (index, item) in missing {
        compare(&format!("{path}/{index}"), item, None, found);
    }
    for (index, item) in left {
        let actual = scalar(item).unwrap_or_else(|| item.to_string());
        found.push(json!({
            "PropertyPath": format!("{path}/{index}"), "DifferenceType": "ADD",
            "ExpectedValue": "null", "ActualValue": actual,
        }));
    }
}

/// A stack's resources as they are: those that are gone are left out, and properties that were
/// changed have the values that they have now. An update from there brings all back.
pub fn as_is(cloud: &Arc<Cloud>, stack: &Stack) -> BTreeMap<String, Resource> {
    let is = |(id, resource): (&String, &Resource)| {
        let mut resource = resource.clone();
        match live(cloud, &resource) {
            Live::Gone => return None,
            Live::Unread => {}
            Live::Is(actual) => take_over(&mut resource.properties, &actual),
        }
        Some((id.clone(), resource))
    };
    stack.resources.iter().filter_map(is).collect()
}

fn take_over(properties: &mut Value, actual: &Value) {
    for (name, value) in properties.as_object_mut().into_iter().flatten() {
        let mut differences = Vec::new();
        let now = actual.get(name).filter(|now| !now.is_null());
        compare("", value, now, &mut differences);
        if !differences.is_empty() {
            *value = now.cloned().unwrap_or(Value::Null);
        }
    }
    if let Some(properties) = properties.as_object_mut() {
        properties.retain(|_, value| !value.is_null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(expected: Value, actual: Value) -> Vec<(String, String)> {
        let mut found = Vec::new();
        compare("", &expected, Some(&actual), &mut found);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        found.iter().map(|d| (text(&d["PropertyPath"]), text(&d["DifferenceType"]))).collect()
    }

    fn pairs(found: &[(&str, &str)]) -> Vec<(String, String)> {
        found.iter().map(|(path, kind)| ((*path).to_owned(), (*kind).to_owned())).collect()
    }

    #[test]
    fn what_the_template_gives_is_compared() {
        let expected = json!({ "A": { "B": 1, "C": "true" }, "D": "x" });
        assert_eq!(
            differences(
                expected.clone(),
                json!({ "A": { "B": "1", "C": true, "E": 3 }, "D": "x" })
            ),
            []
        );
        assert_eq!(
            differences(expected, json!({ "A": { "B": 2, "C": true } })),
            pairs(&[("/A/B", "NOT_EQUAL"), ("/D", "REMOVE")])
        );
    }

    #[test]
    fn lists_are_sets() {
        let tag = |key: &str, value: &str| json!({ "Key": key, "Value": value });
        let expected = json!({ "Tags": [tag("a", "1"), tag("b", "2")] });
        assert_eq!(
            differences(expected.clone(), json!({ "Tags": [tag("b", "2"), tag("a", "1")] })),
            []
        );
        assert_eq!(
            differences(expected.clone(), json!({ "Tags": [tag("a", "1"), tag("b", "3")] })),
            pairs(&[("/Tags/1/Value", "NOT_EQUAL")])
        );
        assert_eq!(
            differences(expected, json!({ "Tags": [tag("a", "1"), tag("c", "3"), tag("d", "4")] })),
            pairs(&[("/Tags/1", "REMOVE"), ("/Tags/1", "ADD"), ("/Tags/2", "ADD")])
        );
    }

    #[test]
    fn what_was_changed_is_taken_over() {
        let mut properties = json!({ "A": 1, "B": [1, 2], "C": "x" });
        take_over(&mut properties, &json!({ "A": "1", "B": [2, 1], "C": "y", "D": 4 }));
        assert_eq!(properties, json!({ "A": 1, "B": [1, 2], "C": "y" }));
        take_over(&mut properties, &json!({ "B": [1, 2], "C": "y" }));
        assert_eq!(properties, json!({ "B": [1, 2], "C": "y" }));
    }
}
