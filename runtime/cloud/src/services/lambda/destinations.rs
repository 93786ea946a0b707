//! Destinations: what Lambda sends about invocations and batches, and with which right.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html>. Lambda
//! sends with the execution role of the function, at least once; what cannot be delivered is tried
//! again for an hour. Buckets as destinations are refused by name.

use std::sync::Arc;

use serde_json::{Value, json};

use super::function::invalid;
use super::{Reference, arn};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::delivery::{self, Delivery, Retry};
use crate::kernel::error::ApiResult;
use crate::kernel::outbox::{self, Outcome, Parcel, Tried};
use crate::kernel::service;
use crate::services::{cloudwatch, sqs};

/// Until when something is sent.
const RETRY: Retry = Retry { age_secs_max: 3_600, attempts_max: 100 };
/// Bytes of a message to a topic, and to anything else.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_OnFailure.html>: what is larger goes without
/// the payloads.
const MESSAGE_BYTES_MAX: [usize; 2] = [256 * 1024, 1024 * 1024];
/// Lambda's name among the services.
pub const SERVICE: &str = "lambda.amazonaws.com";

/// A kind of destination, and what is asked of it.
struct Kind {
    service: &'static str,
    action: &'static str,
    /// What the action is called in refusals.
    call: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind { service: "sqs", action: "sqs:SendMessage", call: "SendMessage" },
    Kind { service: "sns", action: "sns:Publish", call: "Publish" },
    Kind { service: "lambda", action: "lambda:InvokeFunction", call: "InvokeFunction" },
    Kind { service: "events", action: "events:PutEvents", call: "PutEvents" },
];

fn service_of(arn: &str) -> &str {
    arn.split(':').nth(2).unwrap_or_default()
}

/// The kind of a destination among those of these services, unless it is a FIFO queue or topic.
fn kind(arn: &str, services: &[&str]) -> Option<&'static Kind> {
    let service = service_of(arn);
    let kind = KINDS.iter().find(|kind| kind.service == service && services.contains(&service));
    kind.filter(|_| !arn.ends_with(".fifo"))
}

fn is_there(cloud: &Cloud, destination: &str) -> bool {
    let services = &cloud.services;
    let last = destination.rsplit(':').next().unwrap_or_default();
    match service_of(destination) {
        "sqs" => {
            sqs::name_in(cloud, destination).is_some_and(|name| services.sqs.queues.contains(name))
        }
        "sns" => services.sns.topics.contains(destination),
        "lambda" => {
            let reference = Reference::parse(destination, None);
            super::resolve(cloud, &reference, super::Alias::main).is_ok()
        }
        "events" => last == "event-bus/default",
        _ => false,
    }
}

/// Whether a role may send to a destination.
fn may_send(cloud: &Arc<Cloud>, role: &str, kind: &Kind, destination: &str) -> bool {
    let session = cloud.assume(role, SERVICE, "lambda");
    session.is_ok_and(|caller| cloud.authorize(&caller, kind.action, destination, &[]).is_ok())
}

/// Refuses a dead-letter queue that Lambda could not send to.
pub fn check_dead_letter(cloud: &Arc<Cloud>, role: &str, target: &str) -> ApiResult<()> {
    let kind = kind(target, &["sqs", "sns"]).ok_or_else(|| {
        invalid(format!("The provided target ARN {target} is no standard queue or topic."))
    })?;
    if !may_send(cloud, role, kind, target) {
        return Err(invalid(format!(
            "The provided execution role does not have permissions to call {} on {}",
            kind.call,
            kind.service.to_uppercase()
        )));
    }
    Ok(())
}

/// Refuses a destination of a function's events that Lambda could not send to.
pub fn check_event(
    cloud: &Arc<Cloud>,
    (name, role): (&str, &str),
    config: &Value,
) -> ApiResult<()> {
    let of = |outcome: &str| {
        config[outcome]["Destination"].as_str().filter(|destination| !destination.is_empty())
    };
    let (success, failure) = (of("OnSuccess"), of("OnFailure"));
    for destination in [success, failure].into_iter().flatten() {
        let Some(kind) = kind(destination, &["sqs", "sns", "lambda", "events"]) else {
            let part = |outcome: &str, destination: Option<&str>| {
                let shown = |arn| format!("{outcome}(destination={arn})");
                destination.map_or_else(|| "null".to_owned(), shown)
            };
            return Err(invalid(format!(
                "The provided destination config DestinationConfig(onSuccess={}, onFailure={}) is \
                 invalid.",
                part("OnSuccess", success),
                part("OnFailure", failure)
            )));
        };
        if kind.service == "lambda" && Reference::parse(destination, None).name == name {
            let words = "You can't specify the function as a destination for itself.";
            return Err(invalid(words));
        }
        check(cloud, role, kind, destination)?;
    }
    Ok(())
}

/// Refuses a destination of batches that Lambda could not send to.
pub fn check_batch(cloud: &Arc<Cloud>, role: &str, destination: &str) -> ApiResult<()> {
    let kind = kind(destination, &["sqs", "sns"])
        .ok_or_else(|| invalid(format!("The destination ARN {destination} is invalid.")))?;
    check(cloud, role, kind, destination)
}

fn check(cloud: &Arc<Cloud>, role: &str, kind: &Kind, destination: &str) -> ApiResult<()> {
    if !is_there(cloud, destination) {
        return Err(invalid(format!("The destination ARN {destination} is invalid.")));
    }
    if !may_send(cloud, role, kind, destination) {
        return Err(invalid(format!(
            "The function's execution role does not have permissions to call {} on {destination}",
            kind.call
        )));
    }
    Ok(())
}

/// A record as it is sent: without payloads when they make it too large.
pub fn fitting(mut record: Value, destination: &str) -> String {
    let [topic, other] = MESSAGE_BYTES_MAX;
    let most = if service_of(destination) == "sns" { topic } else { other };
    let text = record.to_string();
    if text.len() <= most {
        return text;
    }
    if let Some(members) = record.as_object_mut() {
        members.remove("requestPayload");
        members.remove("responsePayload");
    }
    record.to_string()
}

/// Something that a function's role sends.
pub fn delivery(
    cloud: &Cloud,
    (name, role): (&str, &str),
    target: &str,
    body: String,
    parameters: Value,
) -> Delivery {
    let of = ["AWS/Lambda", "DestinationDeliveryFailures", "FunctionName", name];
    Delivery {
        service: SERVICE.to_owned(),
        source_arn: arn(cloud, name),
        session: name.to_owned(),
        role: Some(role.to_owned()),
        target: target.to_owned(),
        body,
        parameters,
        retry: RETRY,
        dead_letter: None,
        failures: Some(of.map(str::to_owned)),
    }
}

/// What happened, in the form in which destinations are told.
pub struct Told<'a> {
    /// The ID of the invocation.
    pub id: &'a str,
    /// The ARN of the function.
    pub function: &'a str,
    /// `Success`, `RetriesExhausted`, …
    pub condition: &'a str,
    /// How often the function was invoked.
    pub invoked: u64,
    /// The version that answered, and whether it failed; nothing when it was not invoked.
    pub answer: Option<(&'a str, Option<&'a str>)>,
}

impl Told<'_> {
    /// The part of the record that all kinds have.
    pub fn record(&self, cloud: &Cloud) -> Value {
        let mut record = json!({
            "version": "1.0", "timestamp": iso(cloud.clock.now()),
            "requestContext": {
                "requestId": self.id, "functionArn": self.function, "condition": self.condition,
                "approximateInvokeCount": self.invoked,
            },
        });
        if let Some((version, error)) = self.answer {
            record["responseContext"] = json!({ "statusCode": 200, "executedVersion": version });
            if let Some(error) = error {
                record["responseContext"]["functionError"] = error.into();
            }
        }
        record
    }
}

/// Sends what is on its way, for as long as the process runs.
pub async fn run_deliveries(cloud: Arc<Cloud>) {
    outbox::run(cloud, |cloud| &cloud.services.lambda.deliveries, attempt).await;
}

fn attempt<'a>(cloud: &'a Arc<Cloud>, parcel: &'a Parcel<Delivery>) -> Tried<'a> {
    match service_of(&parcel.content.target) {
        "events" => Box::pin(to_bus(cloud, parcel)),
        _ => delivery::attempt(cloud, parcel),
    }
}

/// Puts a record on a bus: the body is the detail, and the parameters say the rest of the entry.
async fn to_bus(cloud: &Arc<Cloud>, parcel: &Parcel<Delivery>) -> Outcome {
    let content = &parcel.content;
    let mut entry = content.parameters.clone();
    entry["Detail"] = content.body.clone().into();
    let role = content.role.as_deref().unwrap_or_default();
    let sent = match cloud.assume(role, SERVICE, &content.session) {
        Ok(caller) => {
            let params = json!({ "Entries": [entry] });
            service::call(cloud, &caller, "events", "PutEvents", &params).await
        }
        Err(words) => Err(invalid(words)),
    };
    let failure = match sent {
        Ok(answer) if answer["FailedEntryCount"] == 0 => return Outcome::Done,
        Ok(answer) => answer["Entries"][0].to_string(),
        Err(error) if outbox::may_pass(&error) && parcel.attempts < RETRY.attempts_max => {
            return Outcome::Again(outbox::pause(parcel.attempts));
        }
        Err(error) => error.to_string(),
    };
    tracing::warn!("{} could not send to {}: {failure}", content.source_arn, content.target);
    if let Some([namespace, metric, dimension, value]) = &content.failures {
        cloudwatch::count(cloud, namespace, metric, (dimension, value));
    }
    Outcome::Done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_too_large_goes_without_payloads() {
        let record = json!({ "version": "1.0", "requestPayload": "x".repeat(300 * 1024) });
        let sent = |to: &str| fitting(record.clone(), to).len();
        assert!(sent("arn:aws:sqs:us-east-1:0:q") > 300 * 1024);
        assert_eq!(sent("arn:aws:sns:us-east-1:0:t"), r#"{"version":"1.0"}"#.len());
    }
}
