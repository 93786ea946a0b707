//! CloudFormation.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{
    Capability, ChangeAction as SdkAction, ChangeSetStatus, ChangeSetType, ChangeSource,
    Replacement, ResourceAttribute, ResourceChangeDetail, Tag,
};
use steppe_plan::review::{Change, ChangeAction, Derived};
use steppe_plan::status::StackStatus;

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
    /// Region of the bucket.
    pub region: String,
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
    Failed(String),
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
    /// ID of the thing itself.
    pub physical_id: String,
    /// Resource type.
    pub resource_type: String,
    /// Status.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
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
        let status = word.parse().map_err(|e: steppe_plan::status::UnknownStatus| {
            AwsError::local("cloudformation:DescribeStacks", e.to_string())
        })?;
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
        create: bool,
        template: &TemplateSource,
        tags: &[(String, String)],
        name: &str,
    ) -> Result<String> {
        let kind = if create { ChangeSetType::Create } else { ChangeSetType::Update };
        let url = format!(
            "https://s3.{}.amazonaws.com/{}/{}",
            template.region, template.bucket, template.key
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
                    return Ok(if empty {
                        ChangeSetView::NoChange
                    } else {
                        ChangeSetView::Failed(reason)
                    });
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

    /// Asks for a stack's deletion.
    pub async fn delete_stack(&self, name: &str) -> Result<()> {
        self.stacks
            .delete_stack()
            .stack_name(name)
            .send()
            .await
            .map_err(|e| AwsError::new("cloudformation:DeleteStack", e))?;
        Ok(())
    }

    /// Continues a rollback that failed.
    pub async fn continue_rollback(&self, name: &str) -> Result<()> {
        let request = self.stacks.continue_update_rollback().stack_name(name);
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
                let id = event.event_id.unwrap_or_default();
                if Some(id.as_str()) == last {
                    break 'pages;
                }
                events.push(EventView {
                    id,
                    time: event.timestamp.map_or(0.0, |t| t.as_secs_f64()),
                    logical_id: event.logical_resource_id.unwrap_or_default(),
                    physical_id: event.physical_resource_id.unwrap_or_default(),
                    resource_type: event.resource_type.unwrap_or_default(),
                    status: event
                        .resource_status
                        .map(|s| s.as_str().to_owned())
                        .unwrap_or_default(),
                    reason: event.resource_status_reason,
                });
            }
        }
        events.reverse();
        Ok(events)
    }

    /// Resources of a stack: logical ID, type, status, physical ID.
    pub async fn stack_resources(
        &self,
        stack: &str,
    ) -> Result<Vec<(String, String, String, String)>> {
        let answer = self
            .stacks
            .describe_stack_resources()
            .stack_name(stack)
            .send()
            .await
            .map_err(|e| AwsError::new("cloudformation:DescribeStackResources", e))?;
        let resources = answer.stack_resources.unwrap_or_default().into_iter();
        let text = Option::unwrap_or_default;
        Ok(resources
            .map(|r| {
                (
                    text(r.logical_resource_id),
                    text(r.resource_type),
                    r.resource_status.map(|s| s.as_str().to_owned()).unwrap_or_default(),
                    text(r.physical_resource_id),
                )
            })
            .collect())
    }
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
