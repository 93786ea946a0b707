//! Deliveries: messages to targets that are tried again until they are taken or given up, and then
//! go to a dead-letter queue.

use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::bus::{self, Right, Sender};
use super::cloud::Cloud;
use super::error::ApiError;
use super::outbox::{self, Outcome, Parcel, Tried};
use crate::services::cloudwatch;

/// A message on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivery {
    /// Who sends: `events.amazonaws.com`.
    pub service: String,
    /// For which resource.
    pub source_arn: String,
    /// The name of the session when a role is taken on.
    pub session: String,
    /// The role; what the policy of the target allows the service without one.
    pub role: Option<String>,
    /// ARN of the target.
    pub target: String,
    /// What is sent.
    pub body: String,
    /// What the sender set for this kind of target.
    pub parameters: Value,
    /// Until when it is tried.
    pub retry: Retry,
    /// What becomes of it then.
    pub dead_letter: Option<DeadLetter>,
    /// Namespace, metric and dimension that count what is given up.
    pub failures: Option<[String; 4]>,
}

/// Until when something is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Seconds since it was made.
    pub age_secs_max: u64,
    /// Attempts after the first.
    pub attempts_max: u64,
}

/// Where goes what is given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetter {
    /// ARN of the queue.
    pub queue: String,
    /// Whether the role of the delivery sends it, not the service itself.
    pub by_role: bool,
    /// Attributes beside those that say why.
    pub attributes: Map<String, Value>,
    /// Names of the attributes with the code and the words of the error.
    pub names: [String; 2],
}

impl Delivery {
    fn sender(&self) -> Sender<'_> {
        Sender { service: &self.service, source_arn: &self.source_arn, session: &self.session }
    }

    fn right(&self, by_role: bool) -> Right<'_> {
        match &self.role {
            Some(role) if by_role => Right::Role(role),
            _ => Right::Own,
        }
    }
}

/// Tries a delivery.
pub fn attempt<'a>(cloud: &'a Arc<Cloud>, parcel: &'a Parcel<Delivery>) -> Tried<'a> {
    Box::pin(tried(cloud, parcel))
}

async fn tried(cloud: &Arc<Cloud>, parcel: &Parcel<Delivery>) -> Outcome {
    let content = &parcel.content;
    let (sender, right) = (content.sender(), content.right(true));
    let (body, parameters) = (content.body.clone(), content.parameters.clone());
    let sent = bus::deliver(cloud, sender, right, &content.target, body, parameters).await;
    let Err(error) = sent else { return Outcome::Done };
    let pause = outbox::pause(parcel.attempts);
    let age = cloud.clock.now().duration_since(parcel.made);
    let age = age.saturating_add(SignedDuration::try_from(pause).unwrap_or_default());
    let exhausted = match () {
        () if !outbox::may_pass(&error) => None,
        () if parcel.attempts >= content.retry.attempts_max => Some("MaximumRetryAttempts"),
        () if age.as_secs() >= content.retry.age_secs_max as i64 => {
            Some("MaximumEventAgeInSeconds")
        }
        () => return Outcome::Again(pause),
    };
    tracing::warn!("{} could not send to {}: {error}", content.source_arn, content.target);
    if let Some([namespace, metric, dimension, value]) = &content.failures {
        cloudwatch::count(cloud, namespace, metric, (dimension, value));
    }
    match &content.dead_letter {
        Some(dead) => bury(cloud, parcel, dead, &error, exhausted).await,
        None => Outcome::Done,
    }
}

async fn bury(
    cloud: &Arc<Cloud>,
    parcel: &Parcel<Delivery>,
    dead: &DeadLetter,
    error: &ApiError,
    exhausted: Option<&str>,
) -> Outcome {
    let content = &parcel.content;
    let mut attributes = dead.attributes.clone();
    let [code, words] = &dead.names;
    let mut add = |name: &str, text: &str| {
        let value = json!({ "DataType": "String", "StringValue": text });
        attributes.insert(name.to_owned(), value);
    };
    add(code, &error.code);
    add(words, &error.message);
    if dead.names[0] == "ERROR_CODE" {
        add("RETRY_ATTEMPTS", &parcel.attempts.to_string());
        if let Some(exhausted) = exhausted {
            add("EXHAUSTED_RETRY_CONDITION", exhausted);
        }
    }
    let parameters = json!({ "MessageAttributes": attributes });
    let right = content.right(dead.by_role);
    let body = content.body.clone();
    let sent = bus::deliver(cloud, content.sender(), right, &dead.queue, body, parameters).await;
    if let Err(error) = sent {
        if outbox::may_pass(&error) {
            return Outcome::Again(outbox::pause(parcel.attempts));
        }
        tracing::error!("{} lost a message for {}: {error}", content.source_arn, dead.queue);
    }
    Outcome::Done
}
