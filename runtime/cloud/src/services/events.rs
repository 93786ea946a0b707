//! EventBridge: rules on a schedule, on objects that arrive in S3 and on executions of state
//! machines, which start state machines.
//!
//! Differences from AWS: one event bus, `default`; patterns compare exact values and prefixes; a
//! target is a state machine with a constant input or the event itself; a start that fails is
//! logged and not repeated; events about executions say nothing of versions, aliases and redrives,
//! and there are none about those of a Map Run; nothing is caught up that would have been due while
//! the process did not run.

mod pattern;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steppe_spec::Schedule;

use crate::kernel::cloud::Opening;
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::{self, Call, Service};
use crate::kernel::store::Table;
use crate::services::cloudwatch;
use crate::services::states::Execution;
use crate::{model, op};
use anyhow::Result;

/// What EventBridge has.
#[derive(Debug)]
pub struct State {
    /// Rules by name.
    pub rules: Table<Rule>,
    /// Woken when a rule is made, changed or deleted.
    pub rules_changed: tokio::sync::Notify,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self { rules: opening.table("rules"), rules_changed: tokio::sync::Notify::new() })
    }
}

/// Longest sleep of the scheduler; the machine may have slept as well.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// A rule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rule {
    /// What it is for.
    pub description: String,
    /// When it acts by itself.
    pub schedule: Option<Schedule>,
    /// Which events it takes.
    pub pattern: Option<Value>,
    /// Whether it acts.
    pub enabled: bool,
    /// What it starts.
    pub targets: Vec<Target>,
    /// When it was made: a rate counts from here.
    pub created: Timestamp,
}

/// What a rule starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name within the rule.
    pub id: String,
    /// The state machine.
    pub arn: String,
    /// The role that starts it.
    pub role: String,
    /// Input of the execution, JSON; the event when absent.
    pub input: Option<String>,
}

/// The rule's ARN.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("events", &format!("rule/{name}"))
}

/// A rule out of its CloudFormation properties; everything in it must be implemented.
pub fn parse(properties: &Value, created: Timestamp) -> Result<Rule, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (schedule, pattern) = (
        text(&properties["ScheduleExpression"]),
        properties.get("EventPattern").filter(|p| !p.is_null()).cloned(),
    );
    if schedule.is_none() && pattern.is_none() {
        return Err("a rule needs a ScheduleExpression or an EventPattern".to_owned());
    }
    let schedule = schedule.map(|expression| {
        expression.parse::<Schedule>().map_err(|defect| {
            format!("Parameter ScheduleExpression is not valid: `{expression}` {defect}")
        })
    });
    let schedule = schedule.transpose()?;
    pattern.as_ref().map(pattern::check).transpose()?;
    let enabled = match properties["State"].as_str().unwrap_or("ENABLED") {
        "ENABLED" => true,
        "DISABLED" => false,
        other => {
            return Err(format!(
                "the embedded cloud does not implement the state {other} of rules"
            ));
        }
    };
    let targets = properties["Targets"]
        .as_array()
        .into_iter()
        .flatten()
        .map(target)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Rule {
        description: text(&properties["Description"]).unwrap_or_default(),
        schedule,
        pattern,
        enabled,
        targets,
        created,
    })
}

fn target(value: &Value) -> Result<Target, String> {
    let fields = value.as_object().ok_or("a target is not an object")?;
    if let Some(other) =
        fields.keys().find(|k| !["Id", "Arn", "RoleArn", "Input"].contains(&k.as_str()))
    {
        return Err(format!("the embedded cloud does not implement {other} of targets"));
    }
    let text = |name: &str| {
        value[name].as_str().map(str::to_owned).ok_or_else(|| format!("a target needs {name}"))
    };
    let target = Target {
        id: text("Id")?,
        arn: text("Arn")?,
        role: text("RoleArn")?,
        input: text("Input").ok(),
    };
    if !target.arn.contains(":stateMachine:") {
        return Err(format!("the embedded cloud starts state machines, not {}", target.arn));
    }
    if let Some(Err(error)) = target.input.as_deref().map(serde_json::from_str::<Value>) {
        return Err(format!("the Input of the target {} is not JSON: {error}", target.id));
    }
    Ok(target)
}

/// API of EventBridge, as much of it as is needed to look at rules and to switch them.
pub static SERVICE: Service = Service::new(
    "events",
    model!("events"),
    &[
        op!(ListRules(NamePrefix, Limit, NextToken) => list_rules),
        op!(DescribeRule(Name) => describe_rule),
        op!(ListTargetsByRule(Rule, Limit, NextToken) => list_targets),
        op!(EnableRule(Name) => |call| switch(call, true)),
        op!(DisableRule(Name) => |call| switch(call, false)),
    ],
);

fn list_rules(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let prefix = call.text("NamePrefix").unwrap_or_default();
    let rules = call.cloud.services.events.rules.range(prefix, None);
    let rules = rules.iter().map(|(name, rule)| describe(call.cloud, name, rule)).collect();
    listed("Rules", rules, call.params)
}

/// The rule that the member names, when the caller may do this with it.
fn named<'a>(call: &Call<'a>, member: &str) -> ApiResult<(&'a str, Arc<Rule>)> {
    let name = call.required(member)?;
    call.authorize(&arn(call.cloud, name))?;
    let rule = call.cloud.services.events.rules.get(name).ok_or_else(|| {
        let message = format!("Rule {name} does not exist on EventBus default.");
        ApiError::new("ResourceNotFoundException", message)
    })?;
    Ok((name, rule))
}

fn describe_rule(call: &Call<'_>) -> ApiResult {
    let (name, rule) = named(call, "Name")?;
    Ok(describe(call.cloud, name, &rule))
}

fn list_targets(call: &Call<'_>) -> ApiResult {
    let (_, rule) = named(call, "Rule")?;
    let target = |t: &Target| {
        let mut out = json!({ "Id": t.id, "Arn": t.arn, "RoleArn": t.role });
        if let Some(input) = &t.input {
            out["Input"] = input.clone().into();
        }
        out
    };
    listed("Targets", rule.targets.iter().map(target).collect(), call.params)
}

fn switch(call: &Call<'_>, enabled: bool) -> ApiResult {
    let (name, _) = named(call, "Name")?;
    call.cloud.services.events.rules.update(name, |rule| rule.enabled = enabled)?;
    call.cloud.services.events.rules_changed.notify_one();
    Ok(json!({}))
}

fn listed(name: &str, items: Vec<Value>, params: &Value) -> ApiResult {
    Pages::of("Limit", "NextToken", 100).answer(params, name, items)
}

fn describe(cloud: &Cloud, name: &str, rule: &Rule) -> Value {
    let state = if rule.enabled { "ENABLED" } else { "DISABLED" };
    let mut out = json!({
        "Name": name, "Arn": arn(cloud, name), "State": state, "Description": rule.description, "EventBusName": "default",
    });
    if let Some(schedule) = &rule.schedule {
        out["ScheduleExpression"] = schedule.to_string().into();
    }
    if let Some(pattern) = &rule.pattern {
        out["EventPattern"] = pattern.to_string().into();
    }
    out
}

/// Fires rules on a schedule for as long as the process runs.
pub async fn run_schedules(cloud: Arc<Cloud>) {
    let mut from = Timestamp::now();
    loop {
        // The clock may have been set back; what was due in the meantime is due again then.
        from = from.min(Timestamp::now());
        let rules = cloud.services.events.rules.all();
        let next = rules.iter().filter_map(|(_, rule)| due_after(rule, from, from)).min();
        let pause = next.map_or(SLEEP_MAX, |next| {
            Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default()
        });
        tokio::select! {
            () = tokio::time::sleep(pause.min(SLEEP_MAX)) => {}
            () = cloud.services.events.rules_changed.notified() => {}
        }
        let now = Timestamp::now();
        fire_due(&cloud, from, now).await;
        from = now;
    }
}

/// Fires every rule, once, whose schedule has a time after `from` and not after `to`.
pub async fn fire_due(cloud: &Arc<Cloud>, from: Timestamp, to: Timestamp) {
    for (name, rule) in cloud.services.events.rules.all() {
        if let Some(due) = due_after(&rule, from, to).filter(|due| *due <= to) {
            fire(cloud, &name, &rule, &scheduled_event(cloud, &name, due)).await;
        }
    }
}

fn due_after(rule: &Rule, from: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let schedule = rule.schedule.as_ref().filter(|_| rule.enabled)?;
    schedule.next_after(from, rule.created, now)
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
        "version": "0", "id": uuid::Uuid::new_v4().to_string(), "detail-type": detail_type, "source": source,
        "account": cloud.config.account, "time": iso(time), "region": cloud.config.region, "resources": [resource], "detail": detail,
    })
}

fn scheduled_event(cloud: &Cloud, name: &str, due: Timestamp) -> Value {
    event(cloud, "aws.events", "Scheduled Event", due, &arn(cloud, name), json!({}))
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
    let time = execution.stopped.unwrap_or_else(Timestamp::now);
    let kind = "Step Functions Execution Status Change";
    deliver(cloud, event(cloud, "aws.states", kind, time, arn, detail));
}

/// Fires the rules that take an event, while the caller goes on.
fn deliver(cloud: &Arc<Cloud>, event: Value) {
    let cloud = cloud.clone();
    tokio::spawn(async move { take(&cloud, event).await });
}

/// Fires the rules that take an event of another service.
pub async fn take(cloud: &Arc<Cloud>, event: Value) {
    for (name, rule) in cloud.services.events.rules.all() {
        if rule.enabled && rule.pattern.as_ref().is_some_and(|p| pattern::matches(p, &event)) {
            fire(cloud, &name, &rule, &event).await;
        }
    }
}

async fn fire(cloud: &Arc<Cloud>, name: &str, rule: &Rule, event: &Value) {
    for target in &rule.targets {
        let input = target.input.clone().unwrap_or_else(|| event.to_string());
        let params = json!({ "stateMachineArn": target.arn, "input": input });
        let rule_arn = arn(cloud, name);
        let role = cloud.assume_for(&target.role, "events.amazonaws.com", name, Some(&rule_arn));
        let started = match role {
            Ok(caller) => service::call(cloud, &caller, "states", "StartExecution", &params)
                .await
                .map_err(|e| e.to_string()),
            Err(error) => Err(error),
        };
        match started {
            Ok(answer) => tracing::info!(
                rule = name,
                execution = answer["executionArn"].as_str(),
                "a rule started an execution"
            ),
            Err(error) => {
                tracing::error!("the rule `{name}` could not start {}: {error}", target.arn);
                cloudwatch::count(cloud, "AWS/Events", "FailedInvocations", ("RuleName", name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_aws_does_not_know_makes_no_rule() {
        let rule = |schedule: &str| {
            parse(&json!({ "ScheduleExpression": schedule, "Targets": [] }), Timestamp::UNIX_EPOCH)
        };
        let refused = rule("cron(0 9 ? * 0 *)").expect_err("no such day");
        let expected = "Parameter ScheduleExpression is not valid: `cron(0 9 ? * 0 *)` has `0` as";
        assert!(refused.starts_with(expected), "{refused}");
        let rule = rule("rate(1 day)").expect("valid");
        assert_eq!(serde_json::to_value(rule).expect("JSON")["schedule"], "rate(1 day)");
    }
}
