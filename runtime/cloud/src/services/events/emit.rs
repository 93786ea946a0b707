//! Events: of callers, of objects that arrive, of executions; and the rules that take them.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Rule, Target, arn, bus_of, input, pattern};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::delivery::{DeadLetter, Delivery};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::kernel::store::NotStored;
use crate::services::states::Execution;

/// Entries of one call.
const ENTRIES_MAX: usize = 10;
/// Bytes of all entries of a call.
const ENTRIES_BYTES_MAX: usize = 1024 * 1024;

/// `PutEvents`: each entry has a result of its own.
pub fn put_events(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let entries = call.params["Entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.len() > ENTRIES_MAX {
        let message = format!(
            "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member \
             must have length less than or equal to {ENTRIES_MAX}"
        );
        return Err(ApiError::new("ValidationException", message));
    }
    if entries.iter().map(bytes_of).sum::<usize>() > ENTRIES_BYTES_MAX {
        let message = "Total size of the entries in the request is over the limit.";
        return Err(ApiError::new("ValidationException", message));
    }
    let (mut results, mut events) = (Vec::new(), Vec::new());
    for entry in entries {
        match entered(call, entry)? {
            Ok(event) => {
                results.push(json!({ "EventId": event["id"] }));
                events.push(event);
            }
            Err((code, message)) => {
                results.push(json!({ "ErrorCode": code, "ErrorMessage": message }));
            }
        }
    }
    let failed = results.len() - events.len();
    emit(cloud, &events)?;
    Ok(json!({ "FailedEntryCount": failed, "Entries": results }))
}

/// What an entry counts for.
fn bytes_of(entry: &Value) -> usize {
    let texts =
        ["Source", "DetailType", "Detail"].map(|name| entry[name].as_str().map_or(0, str::len));
    let resources = entry["Resources"].as_array().into_iter().flatten();
    let resources: usize = resources.filter_map(Value::as_str).map(str::len).sum();
    let time = if entry["Time"].is_null() { 0 } else { 14 };
    texts.iter().sum::<usize>() + resources + time
}

type Entered = Result<Value, (&'static str, String)>;

/// The event of an entry, or why it is none.
fn entered(call: &Call<'_>, entry: &Value) -> ApiResult<Entered> {
    let cloud = call.cloud;
    let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty());
    let wrong = |code, message: &str| Ok(Err((code, message.to_owned())));
    let (Some(source), Some(kind)) = (text("Source"), text("DetailType")) else {
        let missing = if text("Source").is_none() { "Source" } else { "DetailType" };
        let words =
            format!("Parameter {missing} is not valid. Reason: {missing} is a required argument.");
        return wrong("InvalidArgument", &words);
    };
    let Some(detail) = text("Detail") else {
        return wrong(
            "InvalidArgument",
            "Parameter Detail is not valid. Reason: Detail is a required argument.",
        );
    };
    let detail = match serde_json::from_str::<Value>(detail) {
        Ok(detail) if detail.is_object() => detail,
        _ => return wrong("MalformedDetail", "Detail is malformed."),
    };
    if source.starts_with("aws.") {
        return wrong("NotAuthorizedForSourceException", "Not authorized for the source.");
    }
    let bus = cloud.config.arn("events", "event-bus/default");
    let conditions =
        [("events:source", source.to_owned()), ("events:detail-type", kind.to_owned())];
    cloud.authorize(call.caller, "events:PutEvents", &bus, &conditions)?;
    if let Err(error) = bus_of(cloud, &entry["EventBusName"]) {
        return Ok(Err(("ResourceNotFoundException", error.message)));
    }
    let time =
        entry["Time"].as_f64().and_then(|s| Timestamp::from_millisecond((s * 1e3) as i64).ok());
    let time = time.unwrap_or_else(|| cloud.clock.now());
    let mut event = event(cloud, source, kind, time, "", detail);
    // To the second, as in AWS.
    event["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
    event["resources"] = entry["Resources"].as_array().cloned().unwrap_or_default().into();
    Ok(Ok(event))
}

fn event(
    cloud: &Cloud,
    source: &str,
    detail_type: &str,
    time: Timestamp,
    resource: &str,
    detail: Value,
) -> Value {
    json!({
        "version": "0", "id": uuid::Uuid::new_v4().to_string(), "detail-type": detail_type,
        "source": source, "account": cloud.config.account, "time": iso(time),
        "region": cloud.config.region, "resources": [resource], "detail": detail,
    })
}

/// An event of a schedule.
pub fn scheduled_event(cloud: &Cloud, name: &str, due: Timestamp) -> Value {
    event(cloud, "aws.events", "Scheduled Event", due, &arn(cloud, name), json!({}))
}

/// Takes an event of another service; when it is answered, what rules send of it is safe.
pub fn take(cloud: &Arc<Cloud>, event: &Value) -> Result<(), NotStored> {
    emit(cloud, std::slice::from_ref(event))
}

/// Most bytes of input and output, as texts in JSON, that an event about an execution has.
const PAYLOAD_BYTES_MAX: usize = 248 * 1024;

/// Tells the rules that an execution began, went on or ended. Those of a Map Run have no events.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html>
pub fn execution_changed(cloud: &Arc<Cloud>, arn: &str, execution: &Execution) {
    let millis = |time: Timestamp| time.as_millisecond();
    let output = execution.output.as_ref().map(Value::to_string);
    let input = execution.input.to_string();
    let bytes = |text: &str| json!(text).to_string().len();
    let of_output = output.as_deref().map_or(0, bytes);
    let with_output = of_output <= PAYLOAD_BYTES_MAX;
    let with_input = bytes(&input) + of_output <= PAYLOAD_BYTES_MAX;
    let included = |is: bool| json!({ "included": is });
    let detail = json!({
        "executionArn": arn,
        "stateMachineArn": execution.machine,
        "name": execution.name,
        "status": execution.status,
        "startDate": millis(execution.started),
        "stopDate": execution.stopped.map(millis),
        "input": with_input.then_some(input),
        "output": output.as_ref().filter(|_| with_output),
        "inputDetails": included(with_input),
        "outputDetails": output.as_ref().map(|_| included(with_output)),
    });
    let time = execution.stopped.unwrap_or_else(|| cloud.clock.now());
    let kind = "Step Functions Execution Status Change";
    emit_or_log(cloud, event(cloud, "aws.states", kind, time, arn, detail));
}

/// For what happened already, whether its event can be kept or not.
fn emit_or_log(cloud: &Arc<Cloud>, event: Value) {
    if let Err(error) = emit(cloud, &[event]) {
        tracing::error!("an event is lost: {error}");
    }
}

/// Hands events to the rules that take them; what these send is safe when this returns.
pub fn emit(cloud: &Cloud, events: &[Value]) -> Result<(), NotStored> {
    let rules = cloud.services.events.rules.all();
    let takes = |rule: &Rule, event: &Value| {
        rule.enabled && rule.pattern.as_ref().is_some_and(|p| pattern::matches(p, event))
    };
    let mut deliveries = Vec::new();
    for event in events {
        for (name, rule) in rules.iter().filter(|(_, rule)| takes(rule, event)) {
            deliveries.extend(deliveries_of(cloud, name, rule, event));
        }
    }
    cloud.services.events.deliveries.add(deliveries, cloud.clock.now())
}

/// What a rule sends for an event.
pub fn deliveries_of(cloud: &Cloud, name: &str, rule: &Rule, event: &Value) -> Vec<Delivery> {
    let of = |target: &Target| {
        let arn = arn(cloud, name);
        let about = input::About { rule: name, arn: &arn, ingested: cloud.clock.now() };
        let group = target.group.as_ref().map(|group| json!({ "MessageGroupId": group }));
        Delivery {
            service: "events.amazonaws.com".to_owned(),
            body: input::of(target, event, &about),
            dead_letter: target.dead_letter.as_ref().map(|queue| dead_letter(queue, &arn, target)),
            source_arn: arn,
            session: name.to_owned(),
            role: target.role.clone(),
            target: target.arn.clone(),
            parameters: group.unwrap_or_default(),
            retry: target.retry,
            failures: Some(
                ["AWS/Events", "FailedInvocations", "RuleName", name].map(str::to_owned),
            ),
        }
    };
    rule.targets.iter().map(of).collect()
}

fn dead_letter(queue: &str, rule: &str, target: &Target) -> DeadLetter {
    let text = |value: &str| json!({ "DataType": "String", "StringValue": value });
    let attributes = [("RULE_ARN", text(rule)), ("TARGET_ARN", text(&target.arn))];
    let attributes: Map<String, Value> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let names = ["ERROR_CODE", "ERROR_MESSAGE"].map(str::to_owned);
    DeadLetter { queue: queue.to_owned(), by_role: false, attributes, names }
}
