//! Brings the resources of a stack to their declarations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;

use super::changes::{Fate, fate};
use super::{all_parameters, place, update};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{self, Failure, Made};
use crate::kernel::schema;
use crate::services::cloudformation::permissions::{self, Work};
use crate::services::cloudformation::template::{Scope, Template, or_empty, parse};
use crate::services::cloudformation::{
    Resource, Stack, events, exports, settle_resource, stack_policy, store_resource,
};

/// What an operation works with.
struct Target<'a> {
    cloud: &'a Arc<Cloud>,
    stack_id: &'a str,
    stack: Arc<Stack>,
    template: Template,
    parameters: BTreeMap<String, Value>,
    conditions: BTreeMap<String, bool>,
    exports: BTreeMap<String, String>,
    /// The stack policy that holds for an update.
    policy: Option<Value>,
}

/// Why an update makes a resource.
const REPLACES: &str =
    "Requested update requires the creation of a new physical resource; hence creating one.";

/// A resource that failed, and in what.
struct Failed {
    id: String,
    verb: &'static str,
}

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
        let parameters = all_parameters(cloud, stack_id, &stack.name, own);
        let conditions = template.conditions(&parameters)?;
        let exports = template.exports(|| exports::values(cloud));
        let given = stack.operation.policy.as_ref().or(stack.policy.as_ref());
        let given = given.filter(|_| stack.before.is_some());
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
        let old = self.stack.before.as_ref().and_then(|b| b.resources.get(&id));
        let declaration = self.template.resource(&id).get("Properties");
        let properties = self.resolve(|scope| {
            let resolved = declaration.map(|p| scope.resolve(p)).transpose()?;
            Ok(or_empty(resolved.flatten()))
        });
        let kind = self.template.kind(&id);
        let new_fate = properties.as_ref().map_err(Clone::clone).and_then(|p| fate(old, kind, p));
        let mut resource = self.declared(&id, properties.unwrap_or_default());
        let verb = if old.is_some() { "UPDATE" } else { "CREATE" };
        let made = match (new_fate, old) {
            (Ok(Fate::Keep), Some(old)) => return self.keep(id, old, resource),
            (Ok(Fate::Update), Some(old)) => {
                resource.physical_id = old.physical_id.clone();
                resource.attributes = old.attributes.clone();
                resource.made = old.made;
                self.begin(&id, &mut resource, verb, None);
                match self.may(&id, &resource.kind, "Update:Modify") {
                    Ok(()) => self.change(&id, &mut resource, old).await,
                    Err(denied) => Err(denied.into()),
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

    /// Whether the stack policy lets an update do that to a resource.
    fn may(&self, logical_id: &str, kind: &str, action: &str) -> Result<(), String> {
        let Some(policy) = &self.policy else { return Ok(()) };
        stack_policy::check(policy, stack_policy::Change { action, logical_id, kind })
    }

    /// Refuses an update that deletes what the stack policy protects; the reason of the stack.
    fn check_deletions(&self, active: &BTreeSet<&String>) -> Result<(), String> {
        let before = self.stack.before.iter().flat_map(|before| &before.resources);
        let mut denied = Vec::new();
        for (id, old) in before.filter(|(id, _)| !active.contains(id)) {
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
        check_properties(id, resource)?;
        let place = place(self.cloud, self.stack_id, &self.stack, id);
        permissions::check(&place, resource, Work::Update(&old.properties))?;
        self.cloud.faults.resource("UpdateResource", id, &resource.kind)?;
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
        handler.settle(&place, &resource.physical_id, &resource.properties, made).await
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
        if resource.made
            || self.stack.before.as_ref().is_none_or(|b| !b.resources.contains_key(&id))
        {
            settle_resource(self.cloud, self.stack_id, &id, &resource);
        }
        self.tell(&id, &resource);
        Failed { id, verb }
    }
}

/// What AWS publishes about the type decides, in the words of its events.
fn check_properties(id: &str, resource: &Resource) -> Result<(), Failure> {
    let problems = schema::problems(&resource.kind, &resource.properties);
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = problems.iter().map(|p| format!("#{}: {}", p.path, p.words)).collect();
    Err(Failure::Other(format!(
        "Properties validation failed for resource {id} with message:\n[{}]",
        lines.join(", ")
    )))
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
    while let Some(brought) = working.next().await {
        let id = match brought {
            Ok(id) => id,
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
    let outputs = target.resolve(|scope| target.template.outputs(scope))?;
    exports::check_change(cloud, stack_id, &target.stack.outputs, &outputs)?;
    stacks.update(stack_id, |s| {
        s.outputs = outputs;
        s.imports = imports;
        s.updated = s.before.as_ref().map(|_| cloud.clock.now());
    })?;
    Ok(())
}

/// `The following resource(s) failed to create: [A, B].`
fn failure(verb: &str, first: String, cancelled: Vec<String>) -> String {
    let mut names = vec![first];
    names.extend(cancelled);
    let verb = verb.to_lowercase();
    format!("The following resource(s) failed to {verb}: [{}].", names.join(", "))
}

/// Ends what is in progress; the names of those resources.
pub fn cancel(cloud: &Cloud, stack_id: &str) -> Vec<String> {
    let Some(stack) = cloud.services.cloudformation.stacks.get(stack_id) else { return vec![] };
    let mut cancelled = Vec::new();
    for (id, resource) in &stack.resources {
        let Some(verb) = resource.status.strip_suffix("_IN_PROGRESS") else { continue };
        let mut resource = resource.clone();
        let what = if verb == "CREATE" { "creation" } else { "update" };
        resource.reason = Some(format!("Resource {what} cancelled"));
        resource.status = format!("{verb}_FAILED");
        settle_resource(cloud, stack_id, id, &resource);
        events::of_resource(cloud, stack_id, &stack, id, &resource);
        cancelled.push(id.clone());
    }
    cancelled
}
