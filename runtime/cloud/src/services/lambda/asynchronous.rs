//! Invocations that nobody waits for: kept until the function has answered, or failed three times.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Reference, authorized, pool};
use crate::kernel::bus;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::outbox::{self, Outcome, Parcel, Tried};
use crate::services::cloudwatch;

/// Bytes of an event.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Seconds that an event is kept.
const AGE_SECS_MAX: i64 = 6 * 60 * 60;
/// Seconds before the second and the third attempt.
const PAUSES_SECS: [u64; 2] = [60, 120];

/// What a function is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    function: String,
    payload: String,
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
    let event = Event { function: reference.name.to_owned(), payload: payload.to_owned() };
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

async fn tried(cloud: &Arc<Cloud>, parcel: &Parcel<Event>) -> Outcome {
    let name = &parcel.content.function;
    let Some(function) = cloud.services.lambda.functions.get(name) else { return Outcome::Done };
    let payload = Bytes::from(parcel.content.payload.clone());
    let pause = match pool::invoke(cloud, name, function, payload).await {
        Ok(invoked) if invoked.function_error.is_none() => return Outcome::Done,
        Ok(_) => {
            cloudwatch::count(cloud, "AWS/Lambda", "Errors", ("FunctionName", name));
            let pause = PAUSES_SECS.get(parcel.attempts as usize);
            pause.map(|secs| Duration::from_secs(*secs))
        }
        Err(error) if outbox::may_pass(&error) => Some(outbox::pause(parcel.attempts)),
        Err(_) => None,
    };
    let age = cloud.clock.now().duration_since(parcel.made).as_secs();
    match pause.filter(|_| age < AGE_SECS_MAX) {
        Some(pause) => Outcome::Again(pause),
        None => {
            tracing::warn!("an event for the function {name} is given up");
            Outcome::Done
        }
    }
}
