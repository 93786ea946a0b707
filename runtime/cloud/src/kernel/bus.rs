//! The bus: what one service sends to resources of others.
//!
//! A service that can be a target registers how it takes a message; who sends one knows the ARN of
//! the target and with which right it may be sent: a role that the sender takes on, or its own name,
//! which the policy of the target must allow.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::cloud::Cloud;
use super::error::{ApiError, ApiResult};
use super::identity::Caller;
use super::service::{Pending, Service};

/// A message on its way to a target.
#[derive(Debug, Clone)]
pub struct Message {
    /// The ARN of the target.
    pub target: String,
    /// Who sends it: a role's session, or a service.
    pub caller: Caller,
    /// The body, which most targets take for JSON.
    pub body: String,
    /// What the sender set for this kind of target: `MessageGroupId` of a queue, `PartitionKey` of a
    /// stream.
    pub parameters: Value,
}

/// How a service takes a message: with the rights of the caller, and not before it is safe.
#[derive(Clone, Copy)]
pub struct Takes(pub for<'a> fn(&'a Arc<Cloud>, &'a Message) -> Pending<'a>);

impl fmt::Debug for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Takes")
    }
}

/// The right with which a service sends.
#[derive(Debug, Clone, Copy)]
pub enum Right<'a> {
    /// It takes on a role.
    Role(&'a str),
    /// It has none but what the target's policy gives it.
    Own,
}

/// Who sends: a service for one of its resources.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// `events.amazonaws.com`.
    pub service: &'a str,
    /// The ARN of the rule, bucket, schedule, …
    pub source_arn: &'a str,
    /// The name of the session when a role is taken on.
    pub session: &'a str,
}

/// Whether anything takes messages at an ARN; the error says so.
pub fn check(arn: &str) -> Result<(), String> {
    taker(arn).map(drop)
}

fn taker(arn: &str) -> Result<Takes, String> {
    let prefix = arn.split(':').nth(2).unwrap_or_default();
    let service = crate::services::all().find(|service: &&Service| service.prefix == prefix);
    service
        .and_then(|service| service.takes)
        .ok_or_else(|| format!("the embedded cloud does not deliver to {arn}"))
}

/// Delivers a message, or says why not.
pub async fn deliver(
    cloud: &Arc<Cloud>,
    sender: Sender<'_>,
    right: Right<'_>,
    target: &str,
    body: String,
    parameters: Value,
) -> ApiResult {
    let refused = |words: String| ApiError::new("InvalidParameterValue", words);
    let taker = taker(target).map_err(refused)?;
    let caller = match right {
        Right::Role(role) => {
            let source = Some(sender.source_arn);
            let assumed = cloud.assume_for(role, sender.service, sender.session, source);
            assumed.map_err(|words| ApiError::new("AccessDenied", words).with_status(403))?
        }
        Right::Own => cloud.identities.service(sender.service, sender.source_arn),
    };
    let message = Message { target: target.to_owned(), caller, body, parameters };
    (taker.0)(cloud, &message).await
}
