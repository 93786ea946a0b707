//! Creates, updates, rolls back and deletes stacks.
//!
//! Every decision rests on the stored stack, so an operation that the process did not survive is
//! taken up again: a creation or update that was cut off is rolled back, a deletion goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::resources::{self, Place};
use super::template::{Scope, Template, UNKNOWN, parse};
use super::{Before, Resource, Stack, set_resource, set_status};
use crate::cloud::Cloud;
use crate::table::NotStored;

/// What happens to one resource in an update.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Pseudo parameters beside the template's own.
pub fn all_parameters(
    cloud: &Cloud,
    stack_id: &str,
    name: &str,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = own.clone();
    for (key, value) in [
        ("AWS::AccountId", cloud.config.account.as_str()),
        ("AWS::Region", &cloud.config.region),
        ("AWS::Partition", "aws"),
        ("AWS::URLSuffix", "amazonaws.com"),
        ("AWS::StackName", name),
        ("AWS::StackId", stack_id),
    ] {
        all.insert(key.to_owned(), value.to_owned());
    }
    all
}

/// What happens to a resource that is declared with `properties`.
pub fn fate(old: Option<&Resource>, kind: &str, properties: &Value) -> Fate {
    let Some(old) = old else { return Fate::Create };
    if old.kind != kind {
        return Fate::Replace;
    }
    let changed = changed_properties(&old.properties, properties);
    if changed.is_empty() {
        Fate::Keep
    } else if changed.iter().any(|p| resources::replaces(kind, p)) {
        Fate::Replace
    } else {
        Fate::Update
    }
}

/// Names of the properties that differ.
pub fn changed_properties(old: &Value, new: &Value) -> Vec<String> {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names.into_iter().filter(|n| old.get(*n) != new.get(*n)).cloned().collect()
}

/// Starts the creation or update of a stack in the background; its status is set at once.
pub fn start(cloud: &Arc<Cloud>, stack_id: &str, create: bool) {
    let status = if create { "CREATE_IN_PROGRESS" } else { "UPDATE_IN_PROGRESS" };
    set_status(cloud, stack_id, status, Some("User Initiated"));
    let (cloud, stack_id) = (cloud.clone(), stack_id.to_owned());
    tokio::spawn(async move {
        match apply(&cloud, &stack_id).await {
            Ok(()) if create => set_status(&cloud, &stack_id, "CREATE_COMPLETE", None),
            Ok(()) => clean_up(&cloud, &stack_id).await,
            Err(reason) => roll_back(&cloud, &stack_id, create, &reason).await,
        }
    });
}

/// Starts a deletion in the background.
pub fn start_delete(cloud: &Arc<Cloud>, stack_id: &str, retain: Vec<String>) {
    set_status(cloud, stack_id, "DELETE_IN_PROGRESS", Some("User Initiated"));
    let (cloud, stack_id) = (cloud.clone(), stack_id.to_owned());
    tokio::spawn(async move { delete(&cloud, &stack_id, &retain).await });
}

/// Starts putting back, once more, what a failed rollback left.
pub fn continue_rollback(cloud: &Arc<Cloud>, stack_id: &str) {
    let (cloud, stack_id) = (cloud.clone(), stack_id.to_owned());
    tokio::spawn(async move { roll_back(&cloud, &stack_id, false, "User Initiated").await });
}

/// Takes up what an earlier process left in progress.
pub fn resume(cloud: &Arc<Cloud>) {
    for (id, stack) in cloud.stacks.all() {
        let (cloud, reason) = (cloud.clone(), "the embedded cloud stopped while the operation ran");
        match stack.status.as_str() {
            "CREATE_IN_PROGRESS" | "ROLLBACK_IN_PROGRESS" => {
                drop(tokio::spawn(async move { roll_back(&cloud, &id, true, reason).await }))
            }
            "UPDATE_IN_PROGRESS" | "UPDATE_ROLLBACK_IN_PROGRESS" => {
                drop(tokio::spawn(async move { roll_back(&cloud, &id, false, reason).await }))
            }
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" => {
                drop(tokio::spawn(async move { clean_up(&cloud, &id).await }))
            }
            "DELETE_IN_PROGRESS" => {
                drop(tokio::spawn(async move { delete(&cloud, &id, &[]).await }))
            }
            _ => {}
        }
    }
}

/// What an operation works with.
struct Operation<'a> {
    cloud: &'a Arc<Cloud>,
    stack_id: &'a str,
    stack: Arc<Stack>,
    template: Template,
    parameters: BTreeMap<String, String>,
    conditions: BTreeMap<String, bool>,
}

impl<'a> Operation<'a> {
    fn new(cloud: &'a Arc<Cloud>, stack_id: &'a str) -> Result<Self, String> {
        let stack = cloud.stacks.get(stack_id).ok_or("the stack no longer exists")?;
        let template = parse(&stack.template)?;
        let parameters = all_parameters(cloud, stack_id, &stack.name, &stack.parameters);
        let conditions = template.conditions(&parameters)?;
        Ok(Self { cloud, stack_id, stack, template, parameters, conditions })
    }

    fn current(&self) -> BTreeMap<String, Resource> {
        self.cloud.stacks.get(self.stack_id).map(|s| s.resources.clone()).unwrap_or_default()
    }

    fn place<'b>(&'b self, logical_id: &'b str) -> Place<'b> {
        Place {
            cloud: self.cloud,
            stack_id: self.stack_id,
            stack_name: &self.stack.name,
            logical_id,
        }
    }

    /// Resolves a resource against what is there now.
    fn resolved(&self, id: &str) -> Result<Value, String> {
        let (resources, unknown) = (self.current(), BTreeSet::new());
        let scope = Scope {
            parameters: &self.parameters,
            resources: &resources,
            unknown: &unknown,
            conditions: &self.conditions,
        };
        let properties = self
            .template
            .resource(id)
            .get("Properties")
            .cloned()
            .unwrap_or_else(|| Value::Object(Map::new()));
        Ok(scope.resolve(&properties)?.unwrap_or_else(|| Value::Object(Map::new())))
    }

    /// Brings one resource to its declaration.
    async fn bring(&self, id: String) -> Result<String, (String, String)> {
        let declaration = self.template.resource(&id);
        let kind = declaration["Type"].as_str().unwrap_or_default();
        let old = self.stack.before.as_ref().and_then(|b| b.resources.get(&id));
        let properties = self.resolved(&id).map_err(|e| (id.clone(), e))?;
        let fate = fate(old, kind, &properties);
        let (in_progress, complete, failed) = match fate {
            Fate::Keep => return Ok(id),
            Fate::Update => ("UPDATE_IN_PROGRESS", "UPDATE_COMPLETE", "UPDATE_FAILED"),
            Fate::Create | Fate::Replace => {
                ("CREATE_IN_PROGRESS", "CREATE_COMPLETE", "CREATE_FAILED")
            }
        };
        let place = self.place(&id);
        let physical_id = match (&fate, old) {
            (Fate::Update, Some(old)) => old.physical_id.clone(),
            _ => resources::physical_id(&place, kind, &properties),
        };
        let mut resource = Resource {
            kind: kind.to_owned(),
            physical_id,
            status: in_progress.to_owned(),
            reason: None,
            attributes: old
                .filter(|_| fate == Fate::Update)
                .map(|o| o.attributes.clone())
                .unwrap_or_default(),
            needs: self.template.needs(&id),
            retained: declaration["DeletionPolicy"] == "Retain",
            updated: Timestamp::now(),
            properties,
        };
        // Stored before the work begins, so that a crash in between leaves a record to roll back.
        set_resource(self.cloud, self.stack_id, &id, &resource);
        let result = match (&fate, old) {
            (Fate::Update, Some(old)) => {
                resources::update(&place, &resource, &old.properties).await
            }
            _ => resources::create(&place, &resource).await,
        };
        resource.updated = Timestamp::now();
        let outcome = match result {
            Ok(attributes) => {
                resource.attributes = attributes;
                resource.status = complete.to_owned();
                Ok(id.clone())
            }
            Err(reason) => {
                resource.status = failed.to_owned();
                resource.reason = Some(reason.clone());
                Err((id.clone(), reason))
            }
        };
        set_resource(self.cloud, self.stack_id, &id, &resource);
        outcome
    }
}

/// Brings all resources to their declarations, each as soon as what it needs is there.
async fn apply(cloud: &Arc<Cloud>, stack_id: &str) -> Result<(), String> {
    let operation = Operation::new(cloud, stack_id)?;
    let mut waiting = operation.template.active(&operation.conditions);
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut working = FuturesUnordered::new();
    let active: BTreeSet<String> = waiting.iter().cloned().collect();
    loop {
        let is_ready = |id: &String| {
            operation.template.needs(id).iter().all(|n| done.contains(n) || !active.contains(n))
        };
        let (ready, blocked): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_ready);
        waiting = blocked;
        ready.into_iter().for_each(|id| working.push(operation.bring(id)));
        match working.next().await {
            None => break,
            Some(Ok(id)) => drop(done.insert(id)),
            Some(Err((id, _))) => {
                // Leaving the set cancels what is still at work, as CloudFormation does.
                drop(working);
                cancel(cloud, stack_id);
                return Err(format!("The following resource(s) failed: [{id}]."));
            }
        }
    }
    drop(working);
    let (resources, unknown) = (operation.current(), BTreeSet::new());
    let scope = Scope {
        parameters: &operation.parameters,
        resources: &resources,
        unknown: &unknown,
        conditions: &operation.conditions,
    };
    let outputs = operation.template.outputs(&scope)?;
    cloud.stacks.update(stack_id, |s| {
        s.outputs = outputs;
        s.updated = s.before.as_ref().map(|_| Timestamp::now());
    })?;
    Ok(())
}

fn cancel(cloud: &Cloud, stack_id: &str) {
    let resources = cloud.stacks.get(stack_id).map(|s| s.resources.clone()).unwrap_or_default();
    for (id, mut resource) in
        resources.into_iter().filter(|(_, r)| r.status.ends_with("_IN_PROGRESS"))
    {
        let verb = resource.status.trim_end_matches("_IN_PROGRESS").to_owned();
        resource.status = format!("{verb}_FAILED");
        resource.reason = Some(format!(
            "Resource {} cancelled",
            if verb == "CREATE" { "creation" } else { "update" }
        ));
        set_resource(cloud, stack_id, &id, &resource);
    }
}

/// Undoes a creation or an update.
async fn roll_back(cloud: &Arc<Cloud>, stack_id: &str, create: bool, reason: &str) {
    if create {
        set_status(
            cloud,
            stack_id,
            "ROLLBACK_IN_PROGRESS",
            Some(&format!("{reason} Rollback requested by user.")),
        );
        let ids = cloud
            .stacks
            .get(stack_id)
            .map(|s| s.resources.keys().cloned().collect::<Vec<_>>())
            .unwrap_or_default();
        let failed = delete_resources(cloud, stack_id, ids).await;
        return match failed {
            None => set_status(cloud, stack_id, "ROLLBACK_COMPLETE", None),
            Some(failed) => set_status(cloud, stack_id, "ROLLBACK_FAILED", Some(&failed)),
        };
    }
    set_status(cloud, stack_id, "UPDATE_ROLLBACK_IN_PROGRESS", Some(reason));
    match put_back(cloud, stack_id).await {
        Ok(()) => set_status(cloud, stack_id, "UPDATE_ROLLBACK_COMPLETE", None),
        Err(failed) => set_status(cloud, stack_id, "UPDATE_ROLLBACK_FAILED", Some(&failed)),
    }
}

/// Brings every resource back to what it was before the update.
async fn put_back(cloud: &Arc<Cloud>, stack_id: &str) -> Result<(), String> {
    let stack = cloud.stacks.get(stack_id).ok_or("the stack no longer exists")?;
    let Some(before) = stack.before.clone() else { return Ok(()) };
    let is_new = |id: &String, r: &Resource| {
        before.resources.get(id).is_none_or(|o| o.physical_id != r.physical_id)
    };
    let (new, changed): (Vec<_>, Vec<_>) = stack
        .resources
        .iter()
        .filter(|(id, r)| before.resources.get(*id) != Some(r))
        .partition(|(id, r)| is_new(id, r));
    for (id, now) in changed {
        let place = Place { cloud, stack_id, stack_name: &stack.name, logical_id: id };
        let mut old = before.resources[id].clone();
        let result = resources::update(&place, &old, &now.properties).await;
        old.status = if result.is_ok() { "UPDATE_COMPLETE" } else { "UPDATE_FAILED" }.to_owned();
        old.reason = result.as_ref().err().cloned();
        set_resource(cloud, stack_id, id, &old);
        result.map_err(|e| format!("The following resource(s) failed to update: [{id}]. {e}"))?;
    }
    let new: Vec<String> = new.into_iter().map(|(id, _)| id.clone()).collect();
    if let Some(failed) = delete_resources(cloud, stack_id, new).await {
        return Err(failed);
    }
    cloud.stacks.update(stack_id, |s| {
        s.template = before.template;
        s.parameters = before.parameters;
        s.outputs = before.outputs;
        s.resources = before.resources;
        s.before = None;
    })?;
    Ok(())
}

/// After an update: deletes what the new template no longer has, and what was replaced.
async fn clean_up(cloud: &Arc<Cloud>, stack_id: &str) {
    set_status(cloud, stack_id, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", None);
    let Some(stack) = cloud.stacks.get(stack_id) else { return };
    let template = parse(&stack.template);
    let parameters = all_parameters(cloud, stack_id, &stack.name, &stack.parameters);
    let active =
        template.and_then(|t| t.conditions(&parameters).map(|c| t.active(&c))).unwrap_or_default();
    let mut gone: Vec<(String, Resource)> = Vec::new();
    for (id, old) in stack.before.iter().flat_map(|b| &b.resources) {
        let replaced = stack.resources.get(id).is_some_and(|r| r.physical_id != old.physical_id);
        if replaced || !active.contains(id) {
            gone.push((id.clone(), old.clone()));
        }
    }
    for (id, resource) in in_reverse(gone) {
        let place = Place { cloud, stack_id, stack_name: &stack.name, logical_id: &id };
        // What cannot be deleted is left behind and said so; the update itself has succeeded.
        let result =
            if resource.retained { Ok(()) } else { resources::delete(&place, &resource).await };
        let (status, reason) = match &result {
            Ok(()) => ("DELETE_COMPLETE", None),
            Err(e) => ("DELETE_FAILED", Some(e.as_str())),
        };
        let event = super::Event {
            logical_id: &id,
            kind: &resource.kind,
            physical_id: &resource.physical_id,
            status,
            reason,
        };
        super::add_event(cloud, stack_id, &stack.name, &event);
    }
    cloud.stacks.settle(stack_id, |s| {
        s.resources.retain(|id, _| active.contains(id));
        s.before = None;
    });
    set_status(cloud, stack_id, "UPDATE_COMPLETE", None);
}

/// Orders resources so that each goes before what it needs.
fn in_reverse(resources: Vec<(String, Resource)>) -> Vec<(String, Resource)> {
    let mut left = resources;
    let mut out = Vec::new();
    while !left.is_empty() {
        let needed: BTreeSet<String> = left.iter().flat_map(|(_, r)| r.needs.clone()).collect();
        let (free, blocked): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(id, _)| !needed.contains(id));
        if free.is_empty() {
            out.extend(blocked);
            break;
        }
        out.extend(free);
        left = blocked;
    }
    out
}

/// Deletes resources, in parallel where nothing needs them; an error names those that stay.
async fn delete_resources(cloud: &Arc<Cloud>, stack_id: &str, ids: Vec<String>) -> Option<String> {
    let stack = cloud.stacks.get(stack_id)?;
    let mut left: BTreeMap<String, Resource> = ids
        .iter()
        .filter_map(|id| Some((id.clone(), stack.resources.get(id)?.clone())))
        .filter(|(_, r)| r.status != "DELETE_COMPLETE")
        .collect();
    let mut failed: Vec<String> = Vec::new();
    let mut working = FuturesUnordered::new();
    loop {
        let held: BTreeSet<String> = stack
            .resources
            .iter()
            .filter(|(id, _)| left.contains_key(*id) || failed.contains(id))
            .flat_map(|(_, r)| r.needs.clone())
            .collect();
        let at_work: BTreeSet<String> = left
            .iter()
            .filter(|(_, r)| r.status == "DELETE_IN_PROGRESS")
            .map(|(id, _)| id.clone())
            .collect();
        let free: Vec<String> = left
            .keys()
            .filter(|id| !held.contains(*id) && !at_work.contains(*id))
            .cloned()
            .collect();
        for id in free {
            let Some(resource) = left.get_mut(&id) else { continue };
            resource.status = "DELETE_IN_PROGRESS".to_owned();
            set_resource(cloud, stack_id, &id, resource);
            let (name, resource) = (stack.name.clone(), resource.clone());
            working.push(async move {
                let place = Place { cloud, stack_id, stack_name: &name, logical_id: &id };
                let result = if resource.retained {
                    Ok(())
                } else {
                    resources::delete(&place, &resource).await
                };
                (id, resource, result)
            });
        }
        let Some((id, mut resource, result)) = working.next().await else { break };
        resource.status =
            if result.is_ok() { "DELETE_COMPLETE" } else { "DELETE_FAILED" }.to_owned();
        resource.reason = result.as_ref().err().cloned();
        set_resource(cloud, stack_id, &id, &resource);
        if result.is_err() {
            failed.push(id.clone());
        }
        left.remove(&id);
    }
    (!failed.is_empty())
        .then(|| format!("The following resource(s) failed to delete: [{}].", failed.join(", ")))
}

async fn delete(cloud: &Arc<Cloud>, stack_id: &str, retain: &[String]) {
    let Some(stack) = cloud.stacks.get(stack_id) else { return };
    // An update that was never finished may have left resources under both states.
    let ids: Vec<String> =
        stack.resources.keys().filter(|id| !retain.contains(id)).cloned().collect();
    match delete_resources(cloud, stack_id, ids).await {
        None => {
            set_status(cloud, stack_id, "DELETE_COMPLETE", None);
            cloud.stacks.settle(stack_id, |s| s.deleted = Some(Timestamp::now()));
        }
        Some(failed) => set_status(cloud, stack_id, "DELETE_FAILED", Some(&failed)),
    }
}

/// The changes from a stack to a template, in the API's form.
pub fn changes(
    cloud: &Cloud,
    stack_id: &str,
    stack: &Stack,
    template: &Template,
    parameters: &BTreeMap<String, String>,
) -> Result<Vec<Value>, String> {
    let all = all_parameters(cloud, stack_id, &stack.name, parameters);
    let conditions = template.conditions(&all)?;
    let active = template.active(&conditions);
    let mut unknown: BTreeSet<String> =
        active.iter().filter(|id| !stack.resources.contains_key(*id)).cloned().collect();
    let mut changes = Vec::new();
    for id in template.order()?.into_iter().filter(|id| active.contains(id)) {
        let kind = template.resource(&id)["Type"].as_str().unwrap_or_default();
        let scope = Scope {
            parameters: &all,
            resources: &stack.resources,
            unknown: &unknown,
            conditions: &conditions,
        };
        let properties = scope
            .resolve(&template.resource(&id)["Properties"])?
            .filter(|p| !p.is_null())
            .unwrap_or_else(|| Value::Object(Map::new()));
        let old = stack.resources.get(&id);
        let fate = fate(old, kind, &properties);
        if fate == Fate::Replace {
            unknown.insert(id.clone());
        }
        if let Some(change) = describe(&id, kind, old, &properties, &fate) {
            changes.push(change);
        }
    }
    for (id, old) in stack.resources.iter().filter(|(id, _)| !active.contains(id)) {
        changes.push(change_of("Remove", id, &old.kind, Some(&old.physical_id), None, vec![]));
    }
    Ok(changes)
}

fn describe(
    id: &str,
    kind: &str,
    old: Option<&Resource>,
    properties: &Value,
    fate: &Fate,
) -> Option<Value> {
    let physical_id = old.map(|o| o.physical_id.as_str());
    let details = |old: &Resource| {
        changed_properties(&old.properties, properties)
            .into_iter()
            .map(|name| {
                let recreation = if resources::replaces(kind, &name) { "Always" } else { "Never" };
                let text = |v: Option<&Value>| v.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
                let (before, after) = (text(old.properties.get(&name)), text(properties.get(&name)));
                let evaluation = if after.as_deref().is_some_and(|a| a.contains(UNKNOWN)) { "Dynamic" } else { "Static" };
                serde_json::json!({
                    "Target": { "Attribute": "Properties", "Name": name, "RequiresRecreation": recreation, "BeforeValue": before, "AfterValue": after },
                    "Evaluation": evaluation, "ChangeSource": "DirectModification",
                })
            })
            .collect()
    };
    match fate {
        Fate::Keep => None,
        Fate::Create => Some(change_of("Add", id, kind, None, None, vec![])),
        Fate::Update => Some(change_of(
            "Modify",
            id,
            kind,
            physical_id,
            Some("False"),
            old.map(details).unwrap_or_default(),
        )),
        Fate::Replace => Some(change_of(
            "Modify",
            id,
            kind,
            physical_id,
            Some("True"),
            old.map(details).unwrap_or_default(),
        )),
    }
}

fn change_of(
    action: &str,
    id: &str,
    kind: &str,
    physical_id: Option<&str>,
    replacement: Option<&str>,
    details: Vec<Value>,
) -> Value {
    serde_json::json!({
        "Type": "Resource",
        "ResourceChange": {
            "Action": action, "LogicalResourceId": id, "PhysicalResourceId": physical_id, "ResourceType": kind, "Replacement": replacement, "Details": details,
        }
    })
}

/// Remembers the state before an update, and takes over the new template.
pub fn begin_update(
    cloud: &Cloud,
    stack_id: &str,
    template: &str,
    parameters: &BTreeMap<String, String>,
    tags: &Value,
) -> Result<(), NotStored> {
    cloud.stacks.update(stack_id, |s| {
        s.before = Some(Before {
            template: std::mem::replace(&mut s.template, template.to_owned()),
            parameters: std::mem::replace(&mut s.parameters, parameters.clone()),
            resources: s.resources.clone(),
            outputs: s.outputs.clone(),
        });
        s.tags = tags.clone();
    })?;
    Ok(())
}
