//! Targets: where a rule sends what it takes.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::input::{self, Transformer};
use super::{Rule, arn, bus_of, listed, named, no_rule};
use crate::kernel::bus;
use crate::kernel::cloud::Cloud;
use crate::kernel::delivery::Retry;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Targets of a rule.
const TARGETS_MAX: usize = 5;
/// What is tried without a policy: for a day, 185 times.
const RETRY: Retry = Retry { age_secs_max: 86_400, attempts_max: 185 };

/// Where a rule sends what it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name within the rule.
    pub id: String,
    /// A state machine, a function, a queue, a topic, …
    pub arn: String,
    /// The role that sends; without one it is the policy of the target that allows it.
    #[serde(default)]
    pub role: Option<String>,
    /// What it gets, JSON; the event when neither this nor the next two are there.
    #[serde(default)]
    pub input: Option<String>,
    /// The part of the event that it gets.
    #[serde(default)]
    pub path: Option<String>,
    /// The text made of parts that it gets.
    #[serde(default)]
    pub transformer: Option<Transformer>,
    /// Message group of a FIFO queue.
    #[serde(default)]
    pub group: Option<String>,
    /// Until when it is tried.
    #[serde(default = "usual")]
    pub retry: Retry,
    /// The queue for what is given up.
    #[serde(default)]
    pub dead_letter: Option<String>,
}

fn usual() -> Retry {
    RETRY
}

const MEMBERS: &[&str] = &[
    "Id",
    "Arn",
    "RoleArn",
    "Input",
    "InputPath",
    "InputTransformer",
    "SqsParameters",
    "RetryPolicy",
    "DeadLetterConfig",
];

/// A target out of its form in the API and in templates.
pub fn parse(value: &Value) -> Result<Target, String> {
    let fields = value.as_object().ok_or("a target is not an object")?;
    let known = |name: &String| MEMBERS.contains(&name.as_str());
    if let Some((other, _)) = fields.iter().find(|(name, value)| !known(name) && !value.is_null()) {
        return Err(format!("the embedded cloud does not implement {other} of targets"));
    }
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let needed = |name: &str| text(name).ok_or_else(|| format!("a target needs {name}"));
    let number = |name: &str, usual| {
        let given = &value["RetryPolicy"][name];
        given.as_u64().or_else(|| given.as_str()?.parse().ok()).unwrap_or(usual)
    };
    let transformer = value.get("InputTransformer").filter(|given| !given.is_null());
    let target = Target {
        id: needed("Id")?,
        arn: needed("Arn")?,
        role: text("RoleArn"),
        input: text("Input"),
        path: text("InputPath"),
        transformer: transformer.map(Transformer::parse).transpose()?,
        group: value["SqsParameters"]["MessageGroupId"].as_str().map(str::to_owned),
        retry: Retry {
            age_secs_max: number("MaximumEventAgeInSeconds", RETRY.age_secs_max),
            attempts_max: number("MaximumRetryAttempts", RETRY.attempts_max),
        },
        dead_letter: value["DeadLetterConfig"]["Arn"].as_str().map(str::to_owned),
    };
    target.check()?;
    Ok(target)
}

impl Target {
    fn check(&self) -> Result<(), String> {
        bus::check(&self.arn)?;
        let inputs = [self.input.is_some(), self.path.is_some(), self.transformer.is_some()];
        if inputs.iter().filter(|given| **given).count() > 1 {
            return Err(format!(
                "Only one of Input, InputPath, or InputTransformer must be provided for target {}.",
                self.id
            ));
        }
        if let Some(Err(error)) = self.input.as_deref().map(serde_json::from_str::<Value>) {
            return Err(format!("the Input of the target {} is not JSON: {error}", self.id));
        }
        self.path.as_deref().map_or(Ok(()), input::check_path)?;
        let of = |service: &str| self.arn.split(':').nth(2) == Some(service);
        if of("states") && self.role.is_none() {
            return Err(format!("RoleArn is required for target {}.", self.arn));
        }
        let fifo = of("sqs") && self.arn.ends_with(".fifo");
        if fifo != self.group.is_some() {
            return Err(format!(
                "SqsParameters with a MessageGroupId are for FIFO queues: {}.",
                self.id
            ));
        }
        let bounds = (60..=86_400).contains(&self.retry.age_secs_max);
        if !bounds || self.retry.attempts_max > 185 {
            return Err("RetryPolicy has 60 to 86400 seconds and at most 185 attempts.".to_owned());
        }
        let dead = self.dead_letter.as_deref();
        if dead.is_some_and(|arn| arn.split(':').nth(2) != Some("sqs") || arn.ends_with(".fifo")) {
            return Err("DeadLetterConfig needs the ARN of a standard queue.".to_owned());
        }
        Ok(())
    }

    /// As the API shows it.
    pub fn shown(&self) -> Value {
        let mut out = json!({ "Id": self.id, "Arn": self.arn });
        let mut add = |name: &str, value: Value| out[name] = value;
        for (name, text) in
            [("RoleArn", &self.role), ("Input", &self.input), ("InputPath", &self.path)]
        {
            if let Some(text) = text {
                add(name, text.clone().into());
            }
        }
        if let Some(transformer) = &self.transformer {
            let mut shown = json!({ "InputTemplate": transformer.template });
            if !transformer.paths.is_empty() {
                shown["InputPathsMap"] = json!(transformer.paths);
            }
            add("InputTransformer", shown);
        }
        if let Some(group) = &self.group {
            add("SqsParameters", json!({ "MessageGroupId": group }));
        }
        if self.retry != RETRY {
            add(
                "RetryPolicy",
                json!({
                    "MaximumEventAgeInSeconds": self.retry.age_secs_max,
                    "MaximumRetryAttempts": self.retry.attempts_max,
                }),
            );
        }
        if let Some(queue) = &self.dead_letter {
            add("DeadLetterConfig", json!({ "Arn": queue }));
        }
        out
    }
}

/// What a role of a target must be: the caller's to pass, and EventBridge's to take on.
fn check_role(call: &Call<'_>, rule: &str, role: &str) -> ApiResult<()> {
    call.cloud.pass_role(call.caller, role, "events.amazonaws.com")?;
    let source = arn(call.cloud, rule);
    let assumed = call.cloud.assume_for(role, "events.amazonaws.com", rule, Some(&source));
    assumed.map(drop).map_err(|_| {
        let words = "cannot be assumed by principal 'events.amazonaws.com'.";
        ApiError::new("ValidationException", format!("Provided role '{role}' {words}"))
    })
}

/// `PutTargets`.
pub fn put(call: &Call<'_>) -> ApiResult {
    bus_of(call.cloud, &call.params["EventBusName"])?;
    let (name, _) = named(call, "Rule")?;
    let given = call.params["Targets"].as_array().into_iter().flatten();
    let mut targets = Vec::new();
    for value in given {
        let target =
            parse(value).map_err(|why| match why.contains("the embedded cloud does not") {
                true => ApiError::new("NotImplemented", why).with_status(501),
                false => ApiError::new("ValidationException", why),
            })?;
        if let Some(role) = &target.role {
            check_role(call, name, role)?;
        }
        targets.push(target);
    }
    let changed = call.cloud.services.events.rules.update(name, |rule| replace(rule, targets))?;
    changed.ok_or_else(|| no_rule(name))??;
    Ok(json!({ "FailedEntryCount": 0, "FailedEntries": [] }))
}

fn replace(rule: &mut Rule, targets: Vec<Target>) -> ApiResult<()> {
    let mut all = rule.targets.clone();
    for target in targets {
        match all.iter_mut().find(|there| there.id == target.id) {
            Some(there) => *there = target,
            None => all.push(target),
        }
    }
    if all.len() > TARGETS_MAX {
        let message = "The requested resource exceeds the maximum number allowed.";
        return Err(ApiError::new("LimitExceededException", message));
    }
    rule.targets = all;
    Ok(())
}

/// `RemoveTargets`.
pub fn remove(call: &Call<'_>) -> ApiResult {
    bus_of(call.cloud, &call.params["EventBusName"])?;
    let (name, rule) = named(call, "Rule")?;
    let ids = call.params["Ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let ids: Vec<&str> = ids.collect();
    let unknown = ids.iter().filter(|id| !rule.targets.iter().any(|target| target.id == **id));
    let failed: Vec<Value> = unknown
        .map(|id| {
            let message = format!("Target {id} does not exist on Rule {name}.");
            json!({
                "TargetId": id, "ErrorCode": "ResourceNotFoundException", "ErrorMessage": message,
            })
        })
        .collect();
    let rules = &call.cloud.services.events.rules;
    rules.update(name, |rule| rule.targets.retain(|t| !ids.contains(&t.id.as_str())))?;
    Ok(json!({ "FailedEntryCount": failed.len(), "FailedEntries": failed }))
}

/// `ListTargetsByRule`.
pub fn list(call: &Call<'_>) -> ApiResult {
    bus_of(call.cloud, &call.params["EventBusName"])?;
    let (_, rule) = named(call, "Rule")?;
    listed("Targets", rule.targets.iter().map(Target::shown).collect(), call.params)
}

/// `ListRuleNamesByTarget`.
pub fn rules_of(call: &Call<'_>) -> ApiResult {
    let cloud: &Cloud = call.cloud;
    call.authorize(&arn(cloud, "*"))?;
    bus_of(cloud, &call.params["EventBusName"])?;
    let target = call.required("TargetArn")?;
    let rules = cloud.services.events.rules.all();
    let names = rules.iter().filter(|(_, rule)| rule.targets.iter().any(|t| t.arn == target));
    listed("RuleNames", names.map(|(name, _)| name.clone().into()).collect(), call.params)
}
