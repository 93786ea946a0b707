//! Targets of schedules: what they send, and with which role.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{arn, group_arn, invalid};
use crate::kernel::bus;
use crate::kernel::cloud::Cloud;
use crate::kernel::delivery::{DeadLetter, Delivery, Retry};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// The service that sends.
const SERVICE: &str = "scheduler.amazonaws.com";

/// Where a schedule sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub arn: String,
    role: String,
    input: Option<String>,
    /// Message group of a FIFO queue.
    group: Option<String>,
    pub retry: Retry,
    dead_letter: Option<String>,
}

/// One sending of a schedule.
pub struct Sending<'a> {
    pub group: &'a str,
    pub name: &'a str,
    pub due: Timestamp,
}

impl Target {
    /// Reads and checks a target.
    pub fn read(call: &Call<'_>, group: &str) -> ApiResult<Self> {
        let value = &call.params["Target"];
        let known = ["Arn", "RoleArn", "Input", "SqsParameters", "RetryPolicy", "DeadLetterConfig"];
        let members = value.as_object().into_iter().flatten();
        let given = members.filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str());
        if let Some(other) = given.into_iter().find(|name| !known.contains(name)) {
            let member = format!("Target.{other}");
            return Err(ApiError::unknown_parameter(
                &member,
                &format!("scheduler:{}", call.operation),
            ));
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let retry = &value["RetryPolicy"];
        let target = Self {
            arn: text(&value["Arn"]).unwrap_or_default(),
            role: text(&value["RoleArn"]).unwrap_or_default(),
            input: text(&value["Input"]),
            group: text(&value["SqsParameters"]["MessageGroupId"]),
            retry: Retry {
                age_secs_max: retry["MaximumEventAgeInSeconds"].as_u64().unwrap_or(86_400),
                attempts_max: retry["MaximumRetryAttempts"].as_u64().unwrap_or(185),
            },
            dead_letter: text(&value["DeadLetterConfig"]["Arn"]),
        };
        target.check(call, group)?;
        Ok(target)
    }

    fn check(&self, call: &Call<'_>, group: &str) -> ApiResult<()> {
        bus::check(&self.arn)
            .map_err(|why| ApiError::new("NotImplemented", why).with_status(501))?;
        let of = |service: &str| self.arn.split(':').nth(2) == Some(service);
        let json = self.input.as_deref().map(serde_json::from_str::<Value>);
        if of("states") && matches!(json, Some(Err(_))) {
            return Err(invalid("Invalid Input: it is not JSON."));
        }
        if (of("sqs") && self.arn.ends_with(".fifo")) != self.group.is_some() {
            return Err(invalid("SqsParameters with a MessageGroupId are for FIFO queues."));
        }
        let dead = self.dead_letter.as_deref();
        if dead.is_some_and(|arn| arn.split(':').nth(2) != Some("sqs") || arn.ends_with(".fifo")) {
            return Err(invalid("DeadLetterConfig needs the ARN of a standard queue."));
        }
        call.cloud.pass_role(call.caller, &self.role, SERVICE)?;
        let source = group_arn(call.cloud, group);
        let assumed = call.cloud.assume_for(&self.role, SERVICE, "check", Some(&source));
        assumed.map(drop).map_err(|_| {
            let message = "The execution role you provide must allow AWS EventBridge Scheduler to \
                           assume the role.";
            invalid(message)
        })
    }

    /// As the API shows it.
    pub fn shown(&self) -> Value {
        let mut shown = json!({
            "Arn": self.arn, "RoleArn": self.role,
            "RetryPolicy": {
                "MaximumEventAgeInSeconds": self.retry.age_secs_max,
                "MaximumRetryAttempts": self.retry.attempts_max,
            },
        });
        if let Some(input) = &self.input {
            shown["Input"] = input.clone().into();
        }
        if let Some(group) = &self.group {
            shown["SqsParameters"] = json!({ "MessageGroupId": group });
        }
        if let Some(queue) = &self.dead_letter {
            shown["DeadLetterConfig"] = json!({ "Arn": queue });
        }
        shown
    }

    /// What is sent at a time.
    pub fn delivery(&self, cloud: &Cloud, sending: &Sending<'_>) -> Delivery {
        let schedule = arn(cloud, sending.group, sending.name);
        let execution = uuid::Uuid::new_v4().to_string();
        let time = sending.due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let body = match &self.input {
            Some(input) => input
                .replace("<aws.scheduler.schedule-arn>", &schedule)
                .replace("<aws.scheduler.scheduled-time>", &time)
                .replace("<aws.scheduler.execution-id>", &execution)
                // Every repetition sends the same.
                .replace("<aws.scheduler.attempt-number>", "1"),
            None => json!({
                "version": "0", "id": execution, "detail-type": "Scheduled Event",
                "source": "aws.scheduler", "account": cloud.config.account, "time": time,
                "region": cloud.config.region, "resources": [schedule], "detail": "{}",
            })
            .to_string(),
        };
        let text = |value: &str| json!({ "DataType": "String", "StringValue": value });
        let attributes = [
            ("SCHEDULE_ARN", text(&schedule)),
            ("TARGET_ARN", text(&self.arn)),
            ("EXECUTION_ID", text(&execution)),
        ];
        let attributes: Map<String, Value> =
            attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let dead_letter = self.dead_letter.as_ref().map(|queue| DeadLetter {
            queue: queue.clone(),
            by_role: true,
            attributes,
            names: ["ERROR_CODE", "ERROR_MESSAGE"].map(str::to_owned),
        });
        let group = self.group.as_ref().map(|group| json!({ "MessageGroupId": group }));
        Delivery {
            service: SERVICE.to_owned(),
            source_arn: group_arn(cloud, sending.group),
            session: execution,
            role: Some(self.role.clone()),
            target: self.arn.clone(),
            body,
            parameters: group.unwrap_or_default(),
            retry: self.retry,
            dead_letter,
            failures: Some(
                ["AWS/Scheduler", "TargetErrorCount", "ScheduleGroup", sending.group]
                    .map(str::to_owned),
            ),
        }
    }
}
