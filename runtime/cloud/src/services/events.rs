//! EventBridge: rules on a schedule and rules on events, which send to state machines, functions,
//! queues, topics and whatever else takes messages here.
//!
//! What a rule sends is in the store before the event is answered for, and is tried again as the
//! target's retry policy says, by the cloud's clock; then it goes to the dead-letter queue. It
//! arrives at least once, also when the process is killed.
//!
//! Differences from AWS: one event bus, `default`; schedules are not caught up that would have been
//! due while the process did not run; a target sends with its role where it has one, else as the
//! policy of what is sent to allows; input templates are JSON; events about executions say nothing
//! of versions, aliases and redrives, and there are none about those of a Map Run. Archives,
//! replays, connections, API destinations and other buses are refused by name.

mod emit;
mod input;
pub mod pattern;
mod resources;
mod schedules;
mod targets;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steppe_spec::Schedule;

use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::delivery::{self, Delivery};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::outbox::{self, Outbox};
use crate::kernel::pages::Pages;
use crate::kernel::service::{Call, Service, Tagged, Tagging};
use crate::kernel::store::Table;
use crate::kernel::tags;
use crate::{model, op};

pub use self::emit::{execution_changed, take};
pub use self::schedules::{fire_due, run_schedules};
pub use self::targets::Target;

/// What EventBridge has.
#[derive(Debug)]
pub struct State {
    /// Rules by name.
    pub rules: Table<Rule>,
    /// Woken when a rule is made, changed or deleted.
    pub rules_changed: tokio::sync::Notify,
    /// What rules have sent and nobody has taken yet.
    pub deliveries: Outbox<Delivery>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            rules: opening.table("rules"),
            rules_changed: tokio::sync::Notify::new(),
            deliveries: Outbox::open(opening, "event_deliveries"),
        })
    }
}

/// Rules of a bus.
const RULES_MAX: usize = 300;
/// Tags of a rule.
const TAGS_MAX: usize = 50;

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
    /// Where it sends.
    pub targets: Vec<Target>,
    /// When it was made: a rate counts from here.
    pub created: Timestamp,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Rule {
    /// As CloudFormation's properties describe it.
    pub fn properties(&self, name: &str) -> Value {
        let mut is = json!({
            "Name": name, "Description": self.description,
            "State": if self.enabled { "ENABLED" } else { "DISABLED" },
            "Targets": self.targets.iter().map(Target::shown).collect::<Vec<_>>(),
        });
        if let Some(schedule) = &self.schedule {
            is["ScheduleExpression"] = schedule.to_string().into();
        }
        if let Some(pattern) = &self.pattern {
            is["EventPattern"] = pattern.clone();
        }
        is
    }
}

/// Whether a value is a pattern of events, for the fuzzer.
pub fn check_pattern(pattern: &Value) -> bool {
    pattern::check(pattern).is_ok()
}

/// The rule's ARN.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("events", &format!("rule/{name}"))
}

/// Sends what rules send, for as long as the process runs.
pub async fn run_deliveries(cloud: Arc<Cloud>) {
    outbox::run(cloud, |cloud| &cloud.services.events.deliveries, delivery::attempt).await;
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
    let checked = pattern.as_ref().map(pattern::check).transpose();
    checked.map_err(|why| format!("Event pattern is not valid. Reason: {why}"))?;
    let enabled = match properties["State"].as_str().unwrap_or("ENABLED") {
        "ENABLED" => true,
        "DISABLED" => false,
        other => {
            return Err(format!(
                "the embedded cloud does not implement the state {other} of rules"
            ));
        }
    };
    let targets = properties["Targets"].as_array().into_iter().flatten();
    let targets = targets.map(targets::parse).collect::<Result<Vec<_>, _>>()?;
    let description = text(&properties["Description"]).unwrap_or_default();
    let tags = BTreeMap::new();
    Ok(Rule { description, schedule, pattern, enabled, targets, created, tags })
}

/// How rules carry tags.
const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.events.rules.all().into_iter();
        all.map(|(name, one)| (arn(cloud, &name), one.tags.clone())).collect()
    },
    change: Tagging::ByArn("ResourceARN", ["Key", "Value"]),
};

/// API of EventBridge.
pub static SERVICE: Service = Service {
    types: resources::TYPES,
    data: &["PutEvents"],
    tagged: Some(TAGGED),
    ..Service::new(
        "events",
        model!("events"),
        &[
            op!(PutRule(Name, ScheduleExpression, EventPattern, State, Description, Tags, EventBusName)
            => put_rule),
            op!(DeleteRule(Name, EventBusName) => delete_rule),
            op!(ListRules(NamePrefix, EventBusName, Limit, NextToken) => list_rules),
            op!(DescribeRule(Name, EventBusName) => describe_rule),
            op!(EnableRule(Name, EventBusName) => |call| switch(call, true)),
            op!(DisableRule(Name, EventBusName) => |call| switch(call, false)),
            op!(PutTargets(Rule, EventBusName, Targets) => targets::put),
            op!(RemoveTargets(Rule, EventBusName, Ids) => targets::remove),
            op!(ListTargetsByRule(Rule, EventBusName, Limit, NextToken) => targets::list),
            op!(ListRuleNamesByTarget(TargetArn, EventBusName, Limit, NextToken)
            => targets::rules_of),
            op!(PutEvents(Entries { Time, Source, Resources, DetailType, Detail, EventBusName })
            => emit::put_events),
            op!(TestEventPattern(EventPattern, Event) => test_pattern),
            op!(TagResource(ResourceARN, Tags) => tag),
            op!(UntagResource(ResourceARN, TagKeys) => untag),
            op!(ListTagsForResource(ResourceARN) => tags),
        ],
    )
};

/// The bus of a call, which is `default`.
fn bus_of(cloud: &Cloud, given: &Value) -> ApiResult<()> {
    let Some(name) = given.as_str() else { return Ok(()) };
    if name == "default" || name == cloud.config.arn("events", "event-bus/default") {
        return Ok(());
    }
    let message = format!("Event bus {name} does not exist.");
    Err(ApiError::new("ResourceNotFoundException", message))
}

fn no_rule(name: &str) -> ApiError {
    let message = format!("Rule {name} does not exist on EventBus default.");
    ApiError::new("ResourceNotFoundException", message)
}

/// `PutRule`: makes a rule, or sets all of it but its targets.
fn put_rule(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, call.required("Name")?);
    let rules = &cloud.services.events.rules;
    call.authorize(&arn(cloud, name))?;
    bus_of(cloud, &call.params["EventBusName"])?;
    let mut properties = call.params.clone();
    if let Some(text) = call.text("EventPattern") {
        properties["EventPattern"] =
            serde_json::from_str(text).map_err(|_| bad_pattern("Invalid JSON"))?;
    }
    let parsed = parse(&properties, cloud.clock.now());
    let rule = parsed.map_err(|why| match why.as_str() {
        why if why.starts_with("Event pattern") => {
            ApiError::new("InvalidEventPatternException", why)
        }
        why if why.contains("does not implement") => {
            ApiError::new("NotImplemented", why).with_status(501)
        }
        why if why.starts_with("Parameter") => {
            // The words of AWS, which says no more.
            ApiError::new("ValidationException", "Parameter ScheduleExpression is not valid.")
        }
        why => ApiError::new("ValidationException", why),
    })?;
    let tags = tags::parse(&call.params["Tags"]);
    check_tags(&tags)?;
    if !rules.contains(name) && rules.len() >= RULES_MAX {
        let message = "The requested resource exceeds the maximum number allowed.";
        return Err(ApiError::new("LimitExceededException", message));
    }
    rules.replace(name, |former| {
        let kept =
            former.map(|former| (former.targets.clone(), former.tags.clone(), former.created));
        let (targets, tags, created) = kept.unwrap_or((vec![], tags, rule.created));
        Ok::<_, ApiError>(Rule { targets, tags, created, ..rule })
    })?;
    cloud.services.events.rules_changed.notify_one();
    Ok(json!({ "RuleArn": arn(cloud, name) }))
}

fn bad_pattern(why: &str) -> ApiError {
    let message = format!("Event pattern is not valid. Reason: {why}");
    ApiError::new("InvalidEventPatternException", message)
}

/// `DeleteRule`: one that is not there is deleted.
fn delete_rule(call: &Call<'_>) -> ApiResult {
    let name = call.required("Name")?;
    call.authorize(&arn(call.cloud, name))?;
    bus_of(call.cloud, &call.params["EventBusName"])?;
    let rules = &call.cloud.services.events.rules;
    rules.remove_if(name, |rule| match rule {
        Some(rule) if !rule.targets.is_empty() => {
            let message = "Rule can't be deleted since it has targets.";
            Err(ApiError::new("ValidationException", message))
        }
        _ => Ok(()),
    })?;
    call.cloud.services.events.rules_changed.notify_one();
    Ok(json!({}))
}

/// `TestEventPattern`.
fn test_pattern(call: &Call<'_>) -> ApiResult {
    const NEEDED: [&str; 7] =
        ["id", "account", "source", "time", "region", "resources", "detail-type"];
    call.authorize("*")?;
    let pattern: Value = serde_json::from_str(call.required("EventPattern")?)
        .map_err(|_| bad_pattern("Invalid JSON"))?;
    pattern::check(&pattern).map_err(|why| bad_pattern(&why))?;
    let wrong = |message: &str| ApiError::new("ValidationException", message);
    let event: Value = serde_json::from_str(call.required("Event")?)
        .map_err(|_| wrong("Parameter Event is not valid."))?;
    if NEEDED.iter().any(|name| event.get(name).is_none()) {
        return Err(wrong(&format!(
            "Parameter Event is not valid: it needs {}.",
            NEEDED.join(", ")
        )));
    }
    Ok(json!({ "Result": pattern::matches(&pattern, &event) }))
}

fn list_rules(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    bus_of(call.cloud, &call.params["EventBusName"])?;
    let prefix = call.text("NamePrefix").unwrap_or_default();
    let rules = call.cloud.services.events.rules.range(prefix, None);
    let rules = rules.iter().map(|(name, rule)| describe(call.cloud, name, rule)).collect();
    listed("Rules", rules, call.params)
}

/// The rule that the member names, when the caller may do this with it.
fn named<'a>(call: &Call<'a>, member: &str) -> ApiResult<(&'a str, Arc<Rule>)> {
    let name = call.required(member)?;
    call.authorize(&arn(call.cloud, name))?;
    let rule = call.cloud.services.events.rules.get(name).ok_or_else(|| no_rule(name))?;
    Ok((name, rule))
}

fn describe_rule(call: &Call<'_>) -> ApiResult {
    bus_of(call.cloud, &call.params["EventBusName"])?;
    let (name, rule) = named(call, "Name")?;
    Ok(describe(call.cloud, name, &rule))
}

fn switch(call: &Call<'_>, enabled: bool) -> ApiResult {
    bus_of(call.cloud, &call.params["EventBusName"])?;
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
        "Name": name, "Arn": arn(cloud, name), "State": state, "Description": rule.description,
        "EventBusName": "default",
    });
    if let Some(schedule) = &rule.schedule {
        out["ScheduleExpression"] = schedule.to_string().into();
    }
    if let Some(pattern) = &rule.pattern {
        out["EventPattern"] = pattern.to_string().into();
    }
    out
}

fn check_tags(tags: &BTreeMap<String, String>) -> ApiResult<()> {
    if tags.len() > TAGS_MAX || tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:"))
    {
        let message = "A rule has at most 50 tags, whose keys do not begin with aws:.";
        return Err(ApiError::new("ValidationException", message));
    }
    Ok(())
}

/// The rule of a call about tags.
fn tagged<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<Rule>)> {
    let resource = call.required("ResourceARN")?;
    call.authorize(resource)?;
    let name = resource.strip_prefix(&*arn(call.cloud, ""));
    let rule = name.and_then(|name| Some((name, call.cloud.services.events.rules.get(name)?)));
    rule.ok_or_else(|| no_rule(name.unwrap_or(resource)))
}

fn tag(call: &Call<'_>) -> ApiResult {
    let (name, rule) = tagged(call)?;
    let mut tags = rule.tags.clone();
    tags.extend(tags::parse(&call.params["Tags"]));
    check_tags(&tags)?;
    call.cloud.services.events.rules.update(name, |rule| rule.tags = tags)?;
    Ok(json!({}))
}

fn untag(call: &Call<'_>) -> ApiResult {
    let (name, _) = tagged(call)?;
    let keys = call.params["TagKeys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys: Vec<&str> = keys.collect();
    let rules = &call.cloud.services.events.rules;
    rules.update(name, |rule| rule.tags.retain(|key, _| !keys.contains(&key.as_str())))?;
    Ok(json!({}))
}

fn tags(call: &Call<'_>) -> ApiResult {
    let (_, rule) = tagged(call)?;
    Ok(json!({ "Tags": tags::list(&rule.tags) }))
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
