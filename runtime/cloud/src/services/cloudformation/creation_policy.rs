//! Creation policies: a resource is complete when it was signalled often enough in time.
//!
//! AWS takes them for instances and wait conditions, and for groups and fleets, which are not here;
//! on any other type it overlooks them, and here they are refused by name. Signals come by
//! `SignalResource` and are kept in memory, because a creation that was cut off is rolled back.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-creationpolicy.html>

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use super::template::{Scope, Template, parse};
use super::{Resource, Stack, events, find_stack};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::resource::number;

/// Types that may have one.
pub const TYPES: [&str; 2] = ["AWS::EC2::Instance", "AWS::CloudFormation::WaitCondition"];
/// The longest time that can be waited for signals: 12 hours.
const TIMEOUT_SECS_MAX: i64 = 12 * 60 * 60;
/// Signals that a resource can wait for.
const COUNT_MAX: u64 = 1_000;

/// What a resource waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How many successes.
    pub count: usize,
    /// For how long.
    pub timeout: Duration,
}

impl Policy {
    /// The policy of a resource, if it has one that waits.
    pub fn of(template: &Template, id: &str, scope: &Scope<'_>) -> Result<Option<Self>, String> {
        let Some(declared) = template.resource(id).get("CreationPolicy") else { return Ok(None) };
        let resolved = scope.resolve(declared)?.unwrap_or_default();
        let members = resolved.as_object().into_iter().flatten();
        if let Some((other, _)) = members.clone().find(|(name, _)| *name != "ResourceSignal") {
            return Err(format!(
                "{id}: the embedded cloud does not implement {other} of CreationPolicy"
            ));
        }
        let signal = &resolved["ResourceSignal"];
        let known = |name: &String| matches!(name.as_str(), "Count" | "Timeout");
        if let Some((other, _)) =
            signal.as_object().into_iter().flatten().find(|(name, _)| !known(name))
        {
            return Err(format!("Invalid CreationPolicy of {id}: unknown member {other}"));
        }
        match members.count() {
            0 => Ok(None),
            _ => Self::read(signal)
                .map(Some)
                .map_err(|why| format!("Invalid CreationPolicy of {id}: {why}")),
        }
    }

    fn read(signal: &Value) -> Result<Self, String> {
        let count = match &signal["Count"] {
            Value::Null => 1,
            given => number(given, u64::MAX),
        };
        let timeout = signal["Timeout"].as_str().unwrap_or("PT5M");
        let length: Option<SignedDuration> = timeout.parse().ok();
        let length = length.filter(|t| (0..=TIMEOUT_SECS_MAX).contains(&t.as_secs()));
        let secs = length.ok_or_else(|| format!("{timeout} is no Timeout of up to PT12H"))?;
        let timeout = Duration::from_secs(secs.as_secs().unsigned_abs());
        match usize::try_from(count) {
            Ok(number) if count <= COUNT_MAX => Ok(Self { count: number, timeout }),
            _ => Err(format!("{} is no Count", signal["Count"])),
        }
    }
}

/// By what the signals of a resource are found.
pub fn key(stack_id: &str, logical_id: &str) -> String {
    format!("{stack_id}#{logical_id}")
}

/// A signal.
#[derive(Debug, Clone, Copy)]
pub struct Signal<'a> {
    /// The resource.
    pub logical_id: &'a str,
    /// Who sends it.
    pub unique_id: &'a str,
    /// `SUCCESS` or `FAILURE`.
    pub status: &'a str,
}

/// Takes a signal, in AWS's words when it cannot be.
pub fn take(cloud: &Arc<Cloud>, id: &str, stack: &Stack, signal: Signal<'_>) -> ApiResult<()> {
    let Signal { logical_id, unique_id, status } = signal;
    let refused = |words: String| Err(ApiError::validation(words));
    if !matches!(stack.status.as_str(), "CREATE_IN_PROGRESS" | "UPDATE_IN_PROGRESS") {
        return refused(format!("Stack {id} is in {} state and cannot be signaled", stack.status));
    }
    let Some(resource) = stack.resources.get(logical_id) else {
        let name = &stack.name;
        return refused(format!("Resource {logical_id} does not exist for stack {name}"));
    };
    if resource.status != "CREATE_IN_PROGRESS" {
        let status = &resource.status;
        return refused(format!(
            "Resource {logical_id} is in {status} state and cannot be signaled"
        ));
    }
    let template = parse(&stack.template).map_err(ApiError::validation)?;
    if template.resource(logical_id).get("CreationPolicy").is_none() {
        return refused(format!("Resource {logical_id} has no creation policy to be signaled"));
    }
    let signals = &cloud.services.cloudformation.work.signals;
    if !signals.take(&key(id, logical_id), unique_id, status) {
        return refused(format!(
            "Signal with ID {unique_id} for resource {logical_id} already exists. Signals may only \
             be updated with a FAILURE status."
        ));
    }
    let reason = Some(format!("Received {status} signal with UniqueId {unique_id}"));
    events::of_resource(cloud, id, stack, logical_id, &Resource { reason, ..resource.clone() });
    Ok(())
}

/// What an instance's `cfn-signal` asks for: it may signal the resources of the stack that it
/// belongs to.
pub fn signal_by_instance(cloud: &Arc<Cloud>, instance: &str, asked: &Value) -> ApiResult<()> {
    let text = |name: &str| asked[name].as_str().unwrap_or_default();
    let found = find_stack(cloud, text("stack"));
    let (id, stack) = found.ok_or_else(|| {
        ApiError::validation(format!("Stack with id {} does not exist", text("stack")))
    })?;
    if !stack.resources.values().any(|resource| resource.physical_id == instance) {
        let words = format!("instance {instance} does not belong to stack {id}");
        return Err(ApiError::new("AccessDenied", words).with_status(403));
    }
    if !matches!(text("status"), "SUCCESS" | "FAILURE") {
        return Err(ApiError::validation("the status of a signal is SUCCESS or FAILURE"));
    }
    let unique_id = asked["uniqueId"].as_str().unwrap_or(instance);
    let signal = Signal { logical_id: text("resource"), unique_id, status: text("status") };
    take(cloud, &id, &stack, signal)
}
