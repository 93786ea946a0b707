//! Brings the resources of a stack to their declarations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;

use super::changes::{Fate, fate};
use super::delete::{self, Doomed};
use super::failures::{Failed, cancel, check_properties, failure, failures};
use super::{all_parameters, place, update};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{self, Failure, Made};
use crate::services::cloudformation::creation_policy::{self, Policy};
use crate::services::cloudformation::permissions::{self, Work};
use crate::services::cloudformation::template::{Scope, Template, or_empty, parse};
use crate::services::cloudformation::{
    OnFailure, Resource, Stack, events, exports, settle_resource, stack_policy, store_resource,
};

/// What an operation works with.
struct Target<'a> {
    cloud: &'a Arc<Cloud>,
    stack_id: &'a str,
    stack: Arc<Stack>,
    template: Arc<Template>,
    parameters: BTreeMap<String, Value>,
    conditions: BTreeMap<String, bool>,
    exports: BTreeMap<String, String>,
    /// The stack policy that holds for an update.
    policy: Option<Value>,
}

/// Why an update makes a resource.
const REPLACES: &str =
    "Requested update requires the creation of a new physical resource; hence creating one.";

impl<'a> Target<'a> {
    fn new(cloud: &'a Arc<Cloud>, stack_id: &'a str) -> Result<Self, String> {
        let stack = cloud
            .services
            .cloudformation
            .stacks
            .get(stack_id)
            .ok_or("the stack no longer exists")?;
        let template = parse(&stack.template)?;
        let own = template.values(&stack.parameters());
        let parameters = all_parameters(cloud, stack_id, Some(&stack), own);
        let conditions = template.conditions(&parameters)?;
        let exports = template.exports(|| exports::values(cloud));
        let given = stack.operation.policy.as_ref().or(stack.policy.as_ref());
        let given = given.filter(|_| stack.is_update());
        let policy = given.map(|text| stack_policy::parse(text)).transpose()?;
        Ok(Self { cloud, stack_id, stack, template, parameters, conditions, exports, policy })
    }

    /// Resolves against what is there now.
    fn resolve<T>(&self, with: impl FnOnce(&Scope<'_>) -> Result<T, String>) -> Result<T, String> {
        let stack = self
            .cloud
            .services
            .cloudformation
            .stacks
            .get(self.stack_id)
            .ok_or("the stack no longer exists")?;
        let unknown = BTreeSet::new();
        with(&Scope {
            template: &self.template,
            parameters: &self.parameters,
            resources: &stack.resources,
            unknown: &unknown,
            conditions: &self.conditions,
            exports: &self.exports,
        })
    }

    fn tell(&self, id: &str, resource: &Resource) {
        events::of_resource(self.cloud, self.stack_id, &self.stack, id, resource);
    }

    fn declared(&self, id: &str, properties: Value) -> Resource {
        let (deletion, replacement) = self.template.policies(id);
        Resource {
            kind: self.template.kind(id).to_owned(),
            physical_id: String::new(),
            status: String::new(),
            reason: None,
            properties,
            attributes: serde_json::Map::new(),
            needs: self.template.needs(id),
            deletion,
            replacement,
            made: false,
            updated: self.cloud.clock.now(),
        }
    }

    /// Brings one resource to its declaration.
    async fn bring(&self, id: String) -> Result<String, Failed> {
        // Most of the work never waits; others must get their turn.
        tokio::task::yield_now().await;
        let old = self.stack.former(&id).filter(|old| !old.is_remains());
        self.clear(&id).await?;
        let declaration = self.template.resource(&id).get("Properties");
        let properties = self.resolve(|scope| {
            let resolved = declaration.map(|p| scope.resolve(p)).transpose()?;
            Ok(or_empty(resolved.flatten()))
        });
        let kind = self.template.kind(&id);
        let new_fate = properties.as_ref().map_err(Clone::clone).and_then(|p| fate(old, kind, p));
        let new_fate = new_fate.and_then(|fate| self.may_be(fate));
        let mut resource = self.declared(&id, properties.unwrap_or_default());
        let verb = if old.is_some() { "UPDATE" } else { "CREATE" };
        let made = match (new_fate, old) {
            (Ok(Fate::Keep), Some(old)) => return self.keep(id, old, resource),
            (Ok(Fate::Update), Some(old)) => {
                resource.physical_id = old.physical_id.clone();
                resource.attributes = old.attributes.clone();
                resource.made = old.made;
                self.begin(&id, &mut resource, verb, None);
                match self.may_change(&id, &resource, old) {
                    Ok(()) => self.change(&id, &mut resource, old).await,
                    Err(denied) => {
                        if self.keeps_failures() {
                            // Nothing has been done to it, so the next update begins from there.
                            resource.properties = old.properties.clone();
                        }
                        Err(denied)
                    }
                }
            }
            (Ok(fate), old) => {
                let reason = (fate == Fate::Replace).then_some(REPLACES);
                self.begin(&id, &mut resource, verb, reason);
                let replaced = old.map(|old| self.may(&id, &old.kind, "Update:Replace"));
                match replaced.unwrap_or(Ok(())) {
                    Ok(()) => self.create(&id, &mut resource, old).await,
                    Err(denied) => Err(denied.into()),
                }
            }
            (Err(reason), _) => {
                self.begin(&id, &mut resource, verb, None);
                Err(Failure::Other(reason))
            }
        };
        match made {
            Ok(attributes) => self.complete(id, resource, verb, attributes),
            Err(failure) => Err(self.failed(id, resource, verb, failure)),
        }
    }

    /// Deletes what a creation left under a name that failed and was kept.
    async fn clear(&self, id: &str) -> Result<(), Failed> {
        let remains = self.stack.former(id).filter(|r| r.is_remains() && r.made);
        let Some(remains) = remains.filter(|r| r.status != "DELETE_COMPLETE") else {
            return Ok(());
        };
        let (logical_id, resource) = (id.to_owned(), remains.clone());
        let doomed = Doomed { logical_id, resource, keep: false, current: true };
        let failed = delete::all(self.cloud, self.stack_id, vec![doomed]).await;
        if failed.is_empty() { Ok(()) } else { Err(Failed { id: id.to_owned(), verb: "CREATE" }) }
    }

    /// What is not to be rolled back cannot be replaced either.
    fn may_be(&self, fate: Fate) -> Result<Fate, String> {
        match fate {
            Fate::Replace if self.keeps_failures() => {
                Err("Replacement type updates not supported on stack with disable-rollback."
                    .to_owned())
            }
            fate => Ok(fate),
        }
    }

    /// Whether a failure ends only what depends on it, because nothing is rolled back.
    fn keeps_failures(&self) -> bool {
        match self.stack.is_update() {
            true => self.stack.operation.keep_failed,
            false => self.stack.operation.on_failure == OnFailure::DoNothing,
        }
    }

    /// Whether a resource may be changed in place.
    fn may_change(&self, id: &str, resource: &Resource, old: &Resource) -> Result<(), Failure> {
        self.may(id, &resource.kind, "Update:Modify")?;
        check_properties(id, resource)?;
        let place = place(self.cloud, self.stack_id, &self.stack, id);
        permissions::check(&place, resource, Work::Update(&old.properties))?;
        Ok(self.cloud.faults.resource("UpdateResource", id, &resource.kind)?)
    }

    /// Whether the stack policy lets an update do that to a resource.
    fn may(&self, logical_id: &str, kind: &str, action: &str) -> Result<(), String> {
        let Some(policy) = &self.policy else { return Ok(()) };
        stack_policy::check(policy, stack_policy::Change { action, logical_id, kind })
    }

    /// Refuses an update that deletes what the stack policy protects; the reason of the stack.
    fn check_deletions(&self, active: &BTreeSet<&String>) -> Result<(), String> {
        let before = self.stack.before.as_ref().map(|before| &before.resources);
        let found = self.stack.found.as_ref().or(before).into_iter().flatten();
        let mut denied = Vec::new();
        for (id, old) in found.filter(|(id, _)| !active.contains(id)) {
            if let Err(words) = self.may(id, &old.kind, "Update:Delete") {
                let (status, reason) = ("UPDATE_FAILED".to_owned(), Some(words));
                self.tell(id, &Resource { status, reason, ..old.clone() });
                denied.push(id.clone());
            }
        }
        let mut denied = denied.into_iter();
        denied.next().map_or(Ok(()), |first| Err(failure("UPDATE", first, denied.collect())))
    }

    fn begin(&self, id: &str, resource: &mut Resource, verb: &str, reason: Option<&str>) {
        resource.status = format!("{verb}_IN_PROGRESS");
        resource.reason = reason.map(str::to_owned);
        self.tell(id, resource);
        resource.reason = None;
    }

    /// A resource that stays as it is may have other policies and needs than before.
    fn keep(&self, id: String, old: &Resource, declared: Resource) -> Result<String, Failed> {
        let Resource { needs, deletion, replacement, .. } = declared;
        let kept = Resource { needs, deletion, replacement, ..old.clone() };
        if kept == *old {
            return Ok(id);
        }
        match store_resource(self.cloud, self.stack_id, &id, &kept) {
            Ok(()) => Ok(id),
            Err(error) => Err(self.failed(id, kept, "UPDATE", error.into())),
        }
    }

    async fn change(&self, id: &str, resource: &mut Resource, old: &Resource) -> Made {
        let place = place(self.cloud, self.stack_id, &self.stack, id);
        store_resource(self.cloud, self.stack_id, id, resource)?;
        let changed = update(&place, resource, &old.properties).await?;
        permissions::note(&place, resource, Work::Update(&old.properties));
        Ok(changed)
    }

    async fn create(&self, id: &str, resource: &mut Resource, old: Option<&Resource>) -> Made {
        check_properties(id, resource)?;
        let made = self.make(id, resource, old).await?;
        let handler = resource::find(&resource.kind)?.handler;
        let place = place(self.cloud, self.stack_id, &self.stack, id);
        let made =
            handler.settle(&place, &resource.physical_id, &resource.properties, made).await?;
        let policy = self.resolve(|scope| Policy::of(&self.template, id, scope))?;
        if let Some(policy) = policy {
            let signals = &self.cloud.services.cloudformation.work.signals;
            let key = creation_policy::key(self.stack_id, id);
            signals.satisfy(&self.cloud.clock, &key, policy).await?;
        }
        Ok(made)
    }

    /// Makes a resource whose name is free. From the look until it is there nobody else can take
    /// the name, and the record says that the stack makes it before it does: so whatever the record
    /// says to be made by this stack is.
    async fn make(&self, id: &str, resource: &mut Resource, old: Option<&Resource>) -> Made {
        let place = place(self.cloud, self.stack_id, &self.stack, id);
        let kind = resource::find(&resource.kind)?;
        let physical_id = kind.id(&place, &resource.properties);
        if let Some(old) = old.filter(|o| o.kind == resource.kind && o.physical_id == physical_id) {
            return Err(Failure::Other(format!(
                "CloudFormation cannot update a stack when a custom-named resource requires \
                 replacing. Rename {} and update the stack again.",
                kind.given_name(&old.properties).unwrap_or(&old.physical_id)
            )));
        }
        resource.physical_id = physical_id.clone();
        let allowed = permissions::check(&place, resource, Work::Create);
        resource.physical_id = String::new();
        allowed?;
        let _held = self.cloud.services.cloudformation.work.create().await;
        if kind.is_taken(self.cloud, &physical_id, &resource.properties) {
            let words = kind.handler.taken(kind, &physical_id, &resource.properties);
            return Err(Failure::Exists(words));
        }
        (resource.physical_id, resource.made) = (physical_id, true);
        if let Err(error) = store_resource(self.cloud, self.stack_id, id, resource) {
            (resource.physical_id, resource.made) = (String::new(), false);
            return Err(error.into());
        }
        self.cloud.faults.resource("CreateResource", id, &resource.kind)?;
        let id = resource.physical_id.clone();
        let made = kind.handler.create(&place, &id, &resource.properties).await;
        // What has left nothing behind is nobody's: the next to take the name keeps it.
        let nothing = match &made {
            Ok(_) => {
                permissions::note(&place, resource, Work::Create);
                false
            }
            Err(Failure::Exists(_)) => true,
            Err(Failure::Gone(_) | Failure::Other(_)) => {
                kind.handler.exists(self.cloud, &id, &resource.properties) == Some(false)
            }
        };
        if nothing {
            (resource.physical_id, resource.made) = (String::new(), false);
        }
        made
    }

    fn complete(
        &self,
        id: String,
        mut resource: Resource,
        verb: &'static str,
        attributes: serde_json::Map<String, Value>,
    ) -> Result<String, Failed> {
        resource.updated = self.cloud.clock.now();
        resource.attributes = attributes;
        resource.status = format!("{verb}_COMPLETE");
        match store_resource(self.cloud, self.stack_id, &id, &resource) {
            Ok(()) => {
                self.tell(&id, &resource);
                Ok(id)
            }
            Err(error) => Err(self.failed(id, resource, verb, error.into())),
        }
    }

    fn failed(
        &self,
        id: String,
        mut resource: Resource,
        verb: &'static str,
        failure: Failure,
    ) -> Failed {
        resource.updated = self.cloud.clock.now();
        resource.status = format!("{verb}_FAILED");
        resource.reason = Some(failure.to_string());
        // An update that failed before it began leaves the resource, and its record, as they were.
        if resource.made || self.stack.former(&id).is_none_or(Resource::is_remains) {
            settle_resource(self.cloud, self.stack_id, &id, &resource);
        }
        self.tell(&id, &resource);
        Failed { id, verb }
    }
}

/// Brings all resources to their declarations, each as soon as what it needs is there; the error
/// is the reason of the stack.
pub async fn apply(cloud: &Arc<Cloud>, stack_id: &str) -> Result<(), String> {
    let target = Target::new(cloud, stack_id)?;
    let active = target.template.active(&target.conditions);
    let is_active: BTreeSet<&String> = active.iter().collect();
    target.check_deletions(&is_active)?;
    let imports = target.resolve(|scope| target.template.imports(scope, &active))?;
    if let Some(name) = exports::missing(cloud, &imports) {
        return Err(format!("No export named {name} found."));
    }
    // From here on nobody may take away what either template imports.
    let stacks = &cloud.services.cloudformation.stacks;
    stacks.update(stack_id, |s| s.imports.extend(imports.iter().cloned()))?;
    // How many of a resource's needs are still open, and who waits for it.
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut working = FuturesUnordered::new();
    for id in &active {
        let needs: Vec<String> =
            target.template.needs(id).into_iter().filter(|n| is_active.contains(n)).collect();
        if needs.is_empty() {
            working.push(target.bring(id.clone()));
            continue;
        }
        open.insert(id.clone(), needs.len());
        needs.into_iter().for_each(|n| dependents.entry(n).or_default().push(id.clone()));
    }
    let mut failed = Vec::new();
    while let Some(brought) = working.next().await {
        let id = match brought {
            Ok(id) => id,
            Err(one) if target.keeps_failures() => {
                // Whatever does not depend on it goes on.
                failed.push(one);
                continue;
            }
            Err(Failed { id, verb }) => {
                // Leaving the set cancels what is still at work, as CloudFormation does.
                drop(working);
                return Err(failure(verb, id, cancel(cloud, stack_id)));
            }
        };
        for dependent in dependents.remove(&id).unwrap_or_default() {
            let Some(count) = open.get_mut(&dependent) else { continue };
            *count -= 1;
            if *count == 0 {
                working.push(target.bring(dependent));
            }
        }
    }
    drop(working);
    if !failed.is_empty() {
        return Err(failures(failed));
    }
    let outputs = target.resolve(|scope| target.template.outputs(scope))?;
    exports::check_change(cloud, stack_id, &target.stack.outputs, &outputs)?;
    stacks.update(stack_id, |s| {
        s.outputs = outputs;
        s.imports = imports;
        s.updated = s.is_update().then(|| cloud.clock.now());
    })?;
    Ok(())
}
