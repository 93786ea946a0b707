//! Invocations that nobody waits for: kept until the function has answered, or failed too often, or
//! until they are too old.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>. What fails
//! is tried again after one minute and two; what finds no room, after longer and longer pauses.
//! Then destinations and the dead-letter queue are told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::destinations::{self, Told, delivery};
use super::event_configs::{self, EventConfig};
use super::function::LATEST;
use super::versions::{Target, resolve};
use super::{Alias, Invoked, Reference, arn, authorized};
use crate::kernel::bus;
use crate::kernel::cloud::Cloud;
use crate::kernel::delivery::Delivery;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::outbox::{self, Outcome, Parcel, Tried};

/// Bytes of an event.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Seconds that an event is kept, unless a function says otherwise.
const AGE_SECS_MAX: u64 = 6 * 60 * 60;
/// Attempts after the first, unless a function says otherwise.
const RETRIES_MAX: u64 = 2;
/// Seconds before the second and the third attempt.
const PAUSES_SECS: [u64; 2] = [60, 120];
/// Longest pause before an event that found no room is tried again.
const THROTTLED_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Bytes of an error's text that a dead-letter queue is told.
const ERROR_BYTES_MAX: usize = 1024;

/// What a function is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    function: String,
    payload: String,
    /// The version or alias that was asked for.
    #[serde(default)]
    qualifier: Option<String>,
    /// The ID of the invocation, which all attempts have.
    #[serde(default)]
    id: String,
    /// How often the function failed.
    #[serde(default)]
    failures: u64,
}

/// A message of another service.
pub async fn take(cloud: &Arc<Cloud>, message: &bus::Message) -> ApiResult {
    let reference = Reference::parse(&message.target, None);
    add(cloud, &message.caller, &reference, message.body.as_bytes())?;
    Ok(json!({}))
}

/// Keeps an event for a function; it is safe when this returns.
pub fn add(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    reference: &Reference<'_>,
    payload: &[u8],
) -> ApiResult<()> {
    authorized(cloud, caller, reference)?;
    if payload.len() > EVENT_BYTES_MAX {
        let message = format!(
            "{} byte payload is too large for the Event invocation type (limit {EVENT_BYTES_MAX} \
             bytes)",
            payload.len()
        );
        return Err(ApiError::new("RequestTooLargeException", message).with_status(413));
    }
    let text = std::str::from_utf8(payload).ok();
    let text = text.filter(|text| serde_json::from_str::<Value>(text).is_ok());
    let payload = text.ok_or_else(|| {
        let message = "Could not parse request body into json";
        ApiError::new("InvalidRequestContentException", message)
    })?;
    let event = Event {
        function: reference.name.to_owned(),
        payload: payload.to_owned(),
        qualifier: reference.qualifier.map(str::to_owned),
        id: uuid::Uuid::new_v4().to_string(),
        failures: 0,
    };
    cloud.services.lambda.events.add([event], cloud.clock.now())?;
    Ok(())
}

/// Does what is kept, for as long as the process runs.
pub async fn run_events(cloud: Arc<Cloud>) {
    outbox::run(cloud, |cloud| &cloud.services.lambda.events, attempt).await;
}

fn attempt<'a>(cloud: &'a Arc<Cloud>, parcel: &'a Parcel<Event>) -> Tried<'a> {
    Box::pin(tried(cloud, parcel))
}

/// An event at work.
struct Work<'a> {
    cloud: &'a Arc<Cloud>,
    parcel: &'a Parcel<Event>,
    target: Target,
    config: Option<EventConfig>,
}

/// Why an event is given up.
struct GivenUp<'a> {
    condition: &'static str,
    /// The last answer of the function, if there was one.
    answer: Option<&'a Invoked>,
    /// How often it was invoked.
    invoked: u64,
    /// What a dead-letter queue is told: a status and a text.
    error: (u16, String),
}

async fn tried(cloud: &Arc<Cloud>, parcel: &Parcel<Event>) -> Outcome {
    let event = &parcel.content;
    let (name, qualifier) = (event.function.as_str(), event.qualifier.as_deref());
    // A function that was deleted does nothing any more, and nobody is told.
    let Ok(target) = resolve(cloud, &Reference { name, qualifier }, Alias::choose) else {
        return Outcome::Done;
    };
    let config = event_configs::of(cloud, name, qualifier);
    let work = Work { cloud, parcel, target, config };
    let reserved = cloud.services.lambda.functions.get(name).and_then(|f| f.reserved);
    if reserved == Some(0) {
        let words = "Function not invoked. Function is configured with zero reserved concurrent \
                     executions";
        return work.give_up(&GivenUp {
            condition: "ZeroReservedConcurrency",
            answer: None,
            invoked: event.failures,
            error: (429, words.to_owned()),
        });
    }
    let payload = Bytes::from(event.payload.clone());
    match super::run(cloud, &work.target, payload, &event.id).await {
        Ok(invoked) if invoked.function_error.is_none() => work.succeeded(&invoked),
        Ok(invoked) => work.failed(&invoked),
        Err(error) if outbox::may_pass(&error) => work.throttled(&error),
        Err(error) => work.give_up(&GivenUp {
            condition: "RetriesExhausted",
            answer: None,
            invoked: event.failures,
            error: (error.status, error.message),
        }),
    }
}

impl Work<'_> {
    fn event(&self) -> &Event {
        &self.parcel.content
    }

    fn role(&self) -> (&str, &str) {
        (&self.event().function, &self.target.function.role)
    }

    /// Whether an event may still be tried after a pause.
    fn may_wait(&self, pause: Duration) -> bool {
        let most = self.config.as_ref().and_then(|config| config.age_secs_max);
        let age = self.cloud.clock.now().duration_since(self.parcel.made);
        let age = age.saturating_add(SignedDuration::try_from(pause).unwrap_or_default());
        age.as_secs() < most.unwrap_or(AGE_SECS_MAX) as i64
    }

    fn succeeded(&self, invoked: &Invoked) -> Outcome {
        let destination = self.config.as_ref().and_then(|config| config.on_success.as_deref());
        let Some(destination) = destination else { return Outcome::Done };
        let calls = self.event().failures + 1;
        let sent = self.record("Success", calls, Some(invoked), destination);
        self.settle(vec![sent])
    }

    fn failed(&self, invoked: &Invoked) -> Outcome {
        let failures = self.event().failures + 1;
        let retries = self.config.as_ref().and_then(|config| config.retries_max);
        let pause = PAUSES_SECS.get(failures as usize - 1).copied().unwrap_or(PAUSES_SECS[1]);
        let pause = Duration::from_secs(pause);
        let condition = match () {
            () if failures > retries.unwrap_or(RETRIES_MAX) => "RetriesExhausted",
            () if !self.may_wait(pause) => "EventAgeExceeded",
            () => return self.try_again(failures, pause),
        };
        let error = String::from_utf8_lossy(&invoked.payload).into_owned();
        let answer = Some(invoked);
        self.give_up(&GivenUp { condition, answer, invoked: failures, error: (200, error) })
    }

    /// Keeps the event with the number of its failures, in the place of the one that was tried.
    fn try_again(&self, failures: u64, pause: Duration) -> Outcome {
        let event = Event { failures, ..self.event().clone() };
        let pause = SignedDuration::try_from(pause).unwrap_or_default();
        let due = self.cloud.clock.now() + pause;
        match self.cloud.services.lambda.events.add_due([(event, self.parcel.made, due)]) {
            Ok(()) => Outcome::Done,
            Err(error) => {
                tracing::error!("{error}");
                Outcome::Again(Duration::from_secs(PAUSES_SECS[0]))
            }
        }
    }

    fn throttled(&self, error: &ApiError) -> Outcome {
        let pause = outbox::pause(self.parcel.attempts).min(THROTTLED_PAUSE_MAX);
        if self.may_wait(pause) {
            return Outcome::Again(pause);
        }
        self.give_up(&GivenUp {
            condition: "EventAgeExceeded",
            answer: None,
            invoked: self.event().failures,
            error: (error.status, error.message.clone()),
        })
    }

    fn give_up(&self, given_up: &GivenUp<'_>) -> Outcome {
        let event = self.event();
        tracing::warn!("an event for the function {} is given up", event.function);
        let mut sent = Vec::new();
        let destination = self.config.as_ref().and_then(|config| config.on_failure.as_deref());
        if let Some(destination) = destination {
            let GivenUp { condition, invoked, answer, .. } = *given_up;
            sent.push(self.record(condition, invoked, answer, destination));
        }
        if let Some(queue) = &self.target.function.dead_letter {
            sent.push(self.dead_letter(queue, &given_up.error));
        }
        self.settle(sent)
    }

    /// What a destination is told.
    fn record(
        &self,
        condition: &str,
        invoked: u64,
        answer: Option<&Invoked>,
        destination: &str,
    ) -> Delivery {
        let (cloud, event) = (self.cloud, self.event());
        let function = arn(cloud, &event.function);
        let qualifier = event.qualifier.as_deref().unwrap_or(LATEST);
        let function = format!("{function}:{qualifier}");
        let answered = answer.map(|answer| (answer.version.as_str(), answer.function_error));
        let told =
            Told { id: &event.id, function: &function, condition, invoked, answer: answered };
        let mut record = told.record(cloud);
        let json_of = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
        record["requestPayload"] = json_of(event.payload.as_bytes());
        if let Some(answer) = answer {
            record["responsePayload"] = json_of(&answer.payload);
        }
        let end = if condition == "Success" { "Success" } else { "Failure" };
        let entry = json!({
            "Source": "lambda", "DetailType": format!("Lambda Function Invocation Result - {end}"),
            "Resources": [function, destination], "EventBusName": destination,
        });
        let is_bus = destination.split(':').nth(2) == Some("events");
        let parameters = if is_bus { entry } else { Value::Null };
        let body = destinations::fitting(record, destination);
        delivery(cloud, self.role(), destination, body, parameters)
    }

    /// What a dead-letter queue is told.
    fn dead_letter(&self, queue: &str, (status, error): &(u16, String)) -> Delivery {
        let (cloud, event) = (self.cloud, self.event());
        let mut end = error.len().min(ERROR_BYTES_MAX);
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        let attribute = |kind: &str, text: &str| json!({ "DataType": kind, "StringValue": text });
        let parameters = json!({ "MessageAttributes": {
            "RequestID": attribute("String", &event.id),
            "ErrorCode": attribute("Number", &status.to_string()),
            "ErrorMessage": attribute("String", &error[..end]),
        } });
        let mut sent = delivery(cloud, self.role(), queue, event.payload.clone(), parameters);
        if let Some(failures) = &mut sent.failures {
            failures[1] = "DeadLetterErrors".to_owned();
        }
        sent
    }

    /// Ends with an event when those who are told of it will be.
    fn settle(&self, sent: Vec<Delivery>) -> Outcome {
        match self.cloud.services.lambda.deliveries.add(sent, self.cloud.clock.now()) {
            Ok(()) => Outcome::Done,
            Err(error) => {
                tracing::error!("{error}");
                Outcome::Again(Duration::from_secs(PAUSES_SECS[0]))
            }
        }
    }
}
