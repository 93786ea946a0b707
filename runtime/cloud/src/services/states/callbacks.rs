//! Task tokens: a task waits until somebody says how it ended.
//!
//! Tokens live as long as the process, because what waits for them does not live longer. One that
//! nobody waits for any more is `TaskTimedOut`.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token>

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::interpreter::{Failure, Outcome};
use super::limits;
use crate::kernel::clock::Clock;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// By which a token is known to be one.
const MARK: &str = "AQ";
/// Messages that a task may have unread; more of them say nothing new.
const UNREAD_MAX: usize = 16;

/// Tasks that wait, by their tokens.
#[derive(Debug, Default)]
pub struct Callbacks(Mutex<HashMap<String, mpsc::Sender<Message>>>);

/// What is told of a task.
#[derive(Debug)]
enum Message {
    Alive,
    Done(Outcome),
}

/// A task that waits; its token is good until it is dropped.
pub struct Waiting<'a> {
    /// The token.
    pub token: String,
    messages: mpsc::Receiver<Message>,
    callbacks: &'a Callbacks,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.callbacks.0.lock().remove(&self.token);
    }
}

impl Callbacks {
    /// A task that will wait.
    pub fn expect(&self) -> Waiting<'_> {
        let random = [uuid::Uuid::new_v4().as_bytes().as_slice(); 2].concat();
        let unique = uuid::Uuid::new_v4();
        let token =
            format!("{MARK}{}", BASE64.encode([random.as_slice(), unique.as_bytes()].concat()));
        let (sender, messages) = mpsc::channel(UNREAD_MAX);
        self.0.lock().insert(token.clone(), sender);
        Waiting { token, messages, callbacks: self }
    }

    fn tell(&self, token: &str, message: Message) -> ApiResult<()> {
        let sender = self.0.lock().get(token).cloned();
        let gone = || {
            let words = "Task Timed Out: 'Provided task does not exist anymore'";
            ApiError::new("TaskTimedOut", words)
        };
        match sender {
            None if token.starts_with(MARK) => Err(gone()),
            None => Err(ApiError::new("InvalidToken", "Invalid Token: 'Invalid token'")),
            Some(sender) => match sender.try_send(message) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(Message::Alive)) => Ok(()),
                Err(_) => Err(gone()),
            },
        }
    }
}

impl Waiting<'_> {
    /// Waits for the end of the task, for as long as it gives signs of life.
    pub async fn end(&mut self, clock: &Clock, heartbeat: Option<Duration>) -> Outcome {
        loop {
            let message = match heartbeat {
                Some(limit) => clock.within(limit, self.messages.recv()).await,
                None => Some(self.messages.recv().await),
            };
            match message.flatten() {
                Some(Message::Done(outcome)) => return outcome,
                Some(Message::Alive) => {}
                // The sender is kept as long as this is.
                None => {
                    let secs = heartbeat.unwrap_or_default().as_secs();
                    let cause = format!("no heartbeat came for {secs} seconds");
                    return Err(Failure::new("States.HeartbeatTimeout", cause));
                }
            }
        }
    }
}

fn told(call: &Call<'_>, message: Message) -> ApiResult {
    call.authorize("*")?;
    let callbacks = &call.cloud.services.states.callbacks;
    callbacks.tell(call.required("taskToken")?, message)?;
    Ok(json!({}))
}

/// `SendTaskSuccess`.
pub fn success(call: &Call<'_>) -> ApiResult {
    let text = call.required("output")?;
    let invalid = |words: String| ApiError::new("InvalidOutput", words);
    if text.len() > limits::DATA_BYTES_MAX {
        return Err(invalid("Invalid Output: 'the output is too large'".to_owned()));
    }
    let output: Value =
        serde_json::from_str(text).map_err(|e| invalid(format!("Invalid Output: '{e}'")))?;
    told(call, Message::Done(Ok(output)))
}

/// `SendTaskFailure`.
pub fn failure(call: &Call<'_>) -> ApiResult {
    let error = call.text("error").unwrap_or_default();
    let cause = call.text("cause").unwrap_or_default();
    told(call, Message::Done(Err(Failure::new(error, cause))))
}

/// `SendTaskHeartbeat`.
pub fn heartbeat(call: &Call<'_>) -> ApiResult {
    told(call, Message::Alive)
}

/// The callbacks of a cloud.
pub fn of(cloud: &Cloud) -> &Callbacks {
    &cloud.services.states.callbacks
}
