//! CloudFormation.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{
    Capability, ChangeAction as SdkAction, ChangeSetStatus, ChangeSetType, ChangeSource,
    EventFilter, OperationEvent, Replacement, ResourceAttribute, ResourceChangeDetail, StackEvent,
    StackStatus as SdkStackStatus, Tag,
};
use steppe_plan::review::{Change, ChangeAction, Derived};
use steppe_plan::status::{ResourceStatus, StackStatus, UnknownStatus};

use crate::{Aws, AwsError, Result};

/// A stack as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackView {
    /// Its ID.
    pub id: String,
    /// Its status.
    pub status: StackStatus,
    /// Why.
    pub reason: Option<String>,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether CloudFormation refuses to delete it.
    pub termination_protection: bool,
}

/// Where a template is.
#[derive(Debug, Clone)]
pub struct TemplateSource {
    /// Bucket.
    pub bucket: String,
    /// Key.
    pub key: String,
}

/// What a change set is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To make a stack.
    Create,
    /// To change one.
    Update,
}

/// A change set that is ready, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeSetView {
    /// CloudFormation is still at work on it.
    Pending,
    /// It can be executed.
    Ready(Vec<Change>),
    /// There is nothing to change.
    NoChange,
    /// CloudFormation refused.
    Failed {
        /// Its words.
        reason: String,
        /// What it found, one line each, where it tells more than those words.
        details: Vec<String>,
    },
}

/// An event of a stack.
#[derive(Debug, Clone, PartialEq)]
pub struct EventView {
    /// Its ID.
    pub id: String,
    /// Seconds since 1970.
    pub time: f64,
    /// Name in the template; the stack's own for the stack itself.
    pub logical_id: String,
    /// Resource type.
    pub resource_type: String,
    /// The status that the resource took; a word that is not documented is no error here, because
    /// the watch of a stack must not end for it.
    pub status: std::result::Result<ResourceStatus, UnknownStatus>,
    /// The status that the stack itself took, for an event of the stack.
    pub stack_status: Option<StackStatus>,
    /// Why.
    pub reason: Option<String>,
}

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceView {
    /// Name in the template.
    pub logical_id: String,
    /// Resource type.
    pub resource_type: String,
    /// Its status.
    pub status: ResourceStatus,
    /// ID of the thing itself.
    pub physical_id: String,
}

impl Aws {
    /// The stack of that name or ID.
    pub async fn stack(&self, name: &str) -> Result<Option<StackView>> {
        let answer = match self
            .stacks
            .describe_stacks()
            .stack_name(name)
            .send()
            .await
            .map_err(|e| AwsError::new("cloudformation:DescribeStacks", e))
        {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(stack) = answer.stacks.unwrap_or_default().into_iter().next() else {
            return Ok(None);
        };
        let word = stack.stack_status.as_ref().map(|s| s.as_str().to_owned()).unwrap_or_default();
        let status = known(&word, "cloudformation:DescribeStacks")?;
        let outputs = stack
            .outputs
            .unwrap_or_default()
            .into_iter()
            .filter_map(|o| Some((o.output_key?, o.output_value?)));
        Ok(Some(StackView {
            id: stack.stack_id.unwrap_or_default(),
            status,
            reason: stack.stack_status_reason,
            outputs: outputs.collect(),
            tags: stack
                .tags
                .unwrap_or_default()
                .into_iter()
                .filter_map(|t| Some((t.key?, t.value?)))
                .collect(),
            termination_protection: stack.enable_termination_protection.unwrap_or_default(),
        }))
    }

    /// Asks for a change set; returns its ID.
    pub async fn create_change_set(
        &self,
        stack: &str,
        purpose: Purpose,
        template: &TemplateSource,
        tags: &[(String, String)],
        name: &str,
    ) -> Result<String> {
        let kind = match purpose {
            Purpose::Create => ChangeSetType::Create,
            Purpose::Update => ChangeSetType::Update,
        };
        let url = format!(
            "https://s3.{}.{}/{}/{}",
            self.region,
            self.partition.dns_suffix(),
            template.bucket,
            template.key
        );
        let tags = tags.iter().map(|(k, v)| Tag::builder().key(k).value(v).build()).collect();
        let request = self
            .stacks
            .create_change_set()
            .stack_name(stack)
            .change_set_name(name)
            .change_set_type(kind)
            .template_url(url);
        let request = request.capabilities(Capability::CapabilityNamedIam).set_tags(Some(tags));
        let answer =
            request.send().await.map_err(|e| AwsError::new("cloudformation:CreateChangeSet", e))?;
        answer.id.ok_or_else(|| {
            AwsError::local("cloudformation:CreateChangeSet", "the answer has no ID")
        })
    }

    /// How far a change set is.
    pub async fn change_set(&self, id: &str) -> Result<ChangeSetView> {
        let mut changes = Vec::new();
        let mut token = None;
        loop {
            let request =
                self.stacks.describe_change_set().change_set_name(id).set_next_token(token);
            let answer = request
                .send()
                .await
                .map_err(|e| AwsError::new("cloudformation:DescribeChangeSet", e))?;
            match answer.status {
                Some(ChangeSetStatus::CreateComplete) => {}
                Some(ChangeSetStatus::Failed) => {
                    let reason = answer.status_reason.unwrap_or_default();
                    let empty = reason.contains("didn't contain changes")
                        || reason.contains("No updates are to be performed");
                    if empty {
                        return Ok(ChangeSetView::NoChange);
                    }
                    let stack = answer.stack_id.unwrap_or_default();
                    let details = self.failures_of(&stack, id).await;
                    return Ok(ChangeSetView::Failed { reason, details });
                }
                _ => return Ok(ChangeSetView::Pending),
            }
            changes.extend(
                answer
                    .changes
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|c| c.resource_change)
                    .map(|c| change(&c)),
            );
            match answer.next_token {
                Some(next) => token = Some(next),
                None => return Ok(ChangeSetView::Ready(changes)),
            }
        }
    }

    /// What CloudFormation's checks of a change set found. Its reason only says that there is
    /// something; the ID of the change set is needed here, its name is not enough.
    async fn failures_of(&self, stack: &str, change_set: &str) -> Vec<String> {
        let request = self
            .stacks
            .describe_events()
            .stack_name(stack)
            .change_set_name(change_set)
            .filters(EventFilter::builder().failed_events(true).build());
        // Without the permission, or the operation, the reason alone has to do.
        let answer =
            request.send().await.map_err(|e| AwsError::new("cloudformation:DescribeEvents", e));
        let events = answer.ok().and_then(|a| a.operation_events).unwrap_or_default();
        events.iter().filter_map(failure).collect()
    }

    /// Executes a change set; the token makes a repeated call harmless.
    pub async fn execute_change_set(&self, id: &str, token: &str) -> Result<()> {
        let request =
            self.stacks.execute_change_set().change_set_name(id).client_request_token(token);
        request.send().await.map_err(|e| AwsError::new("cloudformation:ExecuteChangeSet", e))?;
        Ok(())
    }

    /// Deletes a change set that is not needed any more.
    pub async fn delete_change_set(&self, id: &str) -> Result<()> {
        self.stacks
            .delete_change_set()
            .change_set_name(id)
            .send()
            .await
            .map_err(|e| AwsError::new("cloudformation:DeleteChangeSet", e))?;
        Ok(())
    }

    /// Asks for a stack's deletion; the token makes a repeated call harmless.
    pub async fn delete_stack(&self, id: &str, token: &str) -> Result<()> {
        self.stacks
            .delete_stack()
            .stack_name(id)
            .client_request_token(token)
            .send()
            .await
            .map_err(|e| AwsError::new("cloudformation:DeleteStack", e))?;
        Ok(())
    }

    /// Continues a rollback that failed; the token makes a repeated call harmless.
    pub async fn continue_rollback(&self, id: &str, token: &str) -> Result<()> {
        let request =
            self.stacks.continue_update_rollback().stack_name(id).client_request_token(token);
        request
            .send()
            .await
            .map_err(|e| AwsError::new("cloudformation:ContinueUpdateRollback", e))?;
        Ok(())
    }

    /// Events after the one called `last`, oldest first.
    pub async fn events_after(&self, stack: &str, last: Option<&str>) -> Result<Vec<EventView>> {
        let mut pages =
            self.stacks.describe_stack_events().stack_name(stack).into_paginator().send();
        let mut events = Vec::new();
        'pages: while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("cloudformation:DescribeStackEvents", e))?;
            for event in page.stack_events.unwrap_or_default() {
                if event.event_id.is_some() && event.event_id.as_deref() == last {
                    break 'pages;
                }
                events.push(event_view(event));
            }
        }
        events.reverse();
        Ok(events)
    }

    /// The newest event of a stack.
    pub async fn newest_event(&self, stack: &str) -> Result<Option<String>> {
        let request = self.stacks.describe_stack_events().stack_name(stack);
        let answer = request
            .send()
            .await
            .map_err(|e| AwsError::new("cloudformation:DescribeStackEvents", e))?;
        Ok(answer.stack_events.unwrap_or_default().into_iter().next().and_then(|e| e.event_id))
    }

    /// Resources of a stack.
    pub async fn stack_resources(&self, stack: &str) -> Result<Vec<ResourceView>> {
        let call = "cloudformation:ListStackResources";
        let mut pages =
            self.stacks.list_stack_resources().stack_name(stack).into_paginator().send();
        let mut resources = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new(call, e))?;
            let text = Option::unwrap_or_default;
            for resource in page.stack_resource_summaries.unwrap_or_default() {
                let word = resource.resource_status.as_ref().map_or("", |s| s.as_str());
                resources.push(ResourceView {
                    status: known(word, call)?,
                    logical_id: text(resource.logical_resource_id),
                    resource_type: text(resource.resource_type),
                    physical_id: text(resource.physical_resource_id),
                });
            }
        }
        Ok(resources)
    }

    /// Names of all stacks that are there.
    pub async fn stacks(&self) -> Result<Vec<String>> {
        let mut pages = self.stacks.list_stacks().into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("cloudformation:ListStacks", e))?;
            let there = page
                .stack_summaries
                .unwrap_or_default()
                .into_iter()
                .filter(|s| s.stack_status != Some(SdkStackStatus::DeleteComplete));
            names.extend(there.filter_map(|s| s.stack_name));
        }
        Ok(names)
    }
}

/// A status that this program must know to go on.
fn known<T: std::str::FromStr<Err = UnknownStatus>>(word: &str, call: &'static str) -> Result<T> {
    word.parse().map_err(|unknown: UnknownStatus| AwsError::local(call, unknown.to_string()))
}

fn event_view(event: StackEvent) -> EventView {
    let word = event.resource_status.map(|s| s.as_str().to_owned()).unwrap_or_default();
    // A nested stack has the same type; only the stack itself has the stack's ID.
    let is_stack = event.physical_resource_id.is_some()
        && event.physical_resource_id == event.stack_id
        && event.resource_type.as_deref() == Some("AWS::CloudFormation::Stack");
    EventView {
        id: event.event_id.unwrap_or_default(),
        time: event.timestamp.map_or(0.0, |t| t.as_secs_f64()),
        logical_id: event.logical_resource_id.unwrap_or_default(),
        resource_type: event.resource_type.unwrap_or_default(),
        status: word.parse(),
        stack_status: if is_stack { word.parse().ok() } else { None },
        reason: event.resource_status_reason,
    }
}

/// A failed check as a line.
fn failure(event: &OperationEvent) -> Option<String> {
    let reason = event
        .validation_status_reason()
        .or(event.hook_status_reason())
        .or(event.resource_status_reason())?;
    let of = event.logical_resource_id().unwrap_or("the template");
    let at = event.validation_path().map_or_else(String::new, |path| format!(" at {path}"));
    Some(format!("{of}{at}: {reason}"))
}

/// The resource that a detail of a change only comes from: the template says the same as before.
fn referred(detail: &ResourceChangeDetail) -> Option<String> {
    let derived = matches!(
        detail.change_source(),
        Some(ChangeSource::ResourceReference | ChangeSource::ResourceAttribute)
    );
    let entity = detail.causing_entity().filter(|_| derived)?;
    // `Predictor.Arn` for an attribute of the resource `Predictor`.
    Some(entity.split('.').next().unwrap_or(entity).to_owned())
}

fn change(change: &aws_sdk_cloudformation::types::ResourceChange) -> Change {
    let action = match change.action() {
        Some(SdkAction::Add) => ChangeAction::Add,
        Some(SdkAction::Modify) => ChangeAction::Modify,
        Some(SdkAction::Remove) => ChangeAction::Remove,
        _ => ChangeAction::Other,
    };
    let (mut properties, mut derived, mut attributes) = (Vec::new(), Vec::new(), Vec::new());
    for detail in change.details() {
        let Some(target) = detail.target() else { continue };
        let name = target.name().map(str::to_owned);
        match (target.attribute(), name, referred(detail)) {
            (Some(ResourceAttribute::Properties) | None, Some(property), Some(from)) => {
                derived.push(Derived { property, from });
            }
            (Some(ResourceAttribute::Properties) | None, name, _) => properties.extend(name),
            (Some(other), _, _) => attributes.push(other.as_str().to_owned()),
        }
    }
    Change {
        action,
        logical_id: change.logical_resource_id().unwrap_or_default().to_owned(),
        resource_type: change.resource_type().unwrap_or_default().to_owned(),
        // "Conditional" may become a replacement, so it counts as one.
        replacement: matches!(
            change.replacement(),
            Some(Replacement::True | Replacement::Conditional)
        ),
        properties,
        derived,
        attributes,
    }
}
