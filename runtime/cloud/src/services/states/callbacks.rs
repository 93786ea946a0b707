//! Task tokens: a task waits until somebody says how it ended.
//!
//! What somebody told of a task's end is stored before the answer, and what waits for a token is in
//! the history: both outlive the process. A token that nobody waits for any more is `TaskTimedOut`.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token>

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::interpreter::{Failure, Outcome};
use super::limits;
use crate::kernel::clock::Clock;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::kernel::store::Table;

/// By which a token is known to be one.
const MARK: &str = "AQ";
/// Messages that a task may have unread; more of them say nothing new.
const UNREAD_MAX: usize = 16;

/// Tasks that wait, by their tokens.
#[derive(Debug)]
pub struct Callbacks {
    waiting: Mutex<HashMap<String, Ear>>,
    told: Table<End>,
}

/// How a task ended, as somebody told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum End {
    /// With this output.
    Done(Value),
    /// With this failure.
    Failed(Failure),
}

impl End {
    fn outcome(self) -> Outcome {
        match self {
            Self::Done(output) => Ok(output),
            Self::Failed(failure) => Err(failure),
        }
    }
}

/// Where messages to a task go, and where they wait until the task is there that will read them.
#[derive(Debug)]
struct Ear {
    sender: mpsc::Sender<Message>,
    unclaimed: Option<mpsc::Receiver<Message>>,
}

/// What is told of a task.
#[derive(Debug)]
enum Message {
    Alive,
    Done(End),
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
        self.callbacks.waiting.lock().remove(&self.token);
    }
}

impl Callbacks {
    /// None wait; what was told before is in `told`.
    pub fn new(told: Table<End>) -> Self {
        Self { waiting: Mutex::default(), told }
    }

    /// A task that will wait.
    pub fn expect(&self) -> Waiting<'_> {
        let random = [uuid::Uuid::new_v4().as_bytes().as_slice(); 2].concat();
        let unique = uuid::Uuid::new_v4();
        let token =
            format!("{MARK}{}", BASE64.encode([random.as_slice(), unique.as_bytes()].concat()));
        self.expect_again(token)
    }

    /// A task that waited in an earlier process and will wait again.
    pub fn expect_again(&self, token: String) -> Waiting<'_> {
        self.hold(&token);
        let mut waiting = self.waiting.lock();
        let messages = waiting.get_mut(&token).and_then(|ear| ear.unclaimed.take());
        // Nobody else has the token of this task: it is claimed once.
        let messages = messages.unwrap_or_else(|| mpsc::channel(1).1);
        drop(waiting);
        Waiting { token, messages, callbacks: self }
    }

    /// Takes messages for a task that is not there yet, and what was told to its former self.
    pub fn hold(&self, token: &str) {
        let mut waiting = self.waiting.lock();
        if waiting.contains_key(token) {
            return;
        }
        let (sender, messages) = mpsc::channel(UNREAD_MAX);
        if let Some(end) = self.told.get(token) {
            // There is room: nobody else has the sender.
            let _ = sender.try_send(Message::Done((*end).clone()));
        }
        waiting.insert(token.to_owned(), Ear { sender, unclaimed: Some(messages) });
    }

    /// Forgets how a task ended, once that is in its history.
    pub fn forget(&self, token: &str) {
        if let Err(error) = self.told.remove(token) {
            tracing::error!("what was told of a task stays: {error}");
        }
    }

    /// Forgets what was told of tasks that nobody will ask for.
    pub fn forget_others(&self) {
        for (token, _) in self.told.all() {
            if !self.waiting.lock().contains_key(&token) {
                self.forget(&token);
            }
        }
    }

    fn tell(&self, token: &str, message: Message) -> ApiResult<()> {
        let sender = self.waiting.lock().get(token).map(|ear| ear.sender.clone());
        let gone = || {
            let words = "Task Timed Out: 'Provided task does not exist anymore'";
            ApiError::new("TaskTimedOut", words)
        };
        match sender {
            None if token.starts_with(MARK) => Err(gone()),
            None => Err(ApiError::new("InvalidToken", "Invalid Token: 'Invalid token'")),
            Some(sender) => {
                if let Message::Done(end) = &message
                    && !self.told.create(token, end.clone())?
                {
                    return Err(gone());
                }
                // One place is kept for the end; more signs of life say nothing new.
                if matches!(message, Message::Alive) && sender.capacity() < 2 {
                    return Ok(());
                }
                sender.try_send(message).map_err(|_| gone())
            }
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
                Some(Message::Done(end)) => return end.outcome(),
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
    told(call, Message::Done(End::Done(output)))
}

/// `SendTaskFailure`.
pub fn failure(call: &Call<'_>) -> ApiResult {
    let error = call.text("error").unwrap_or_default();
    let cause = call.text("cause").unwrap_or_default();
    told(call, Message::Done(End::Failed(Failure::new(error, cause))))
}

/// `SendTaskHeartbeat`.
pub fn heartbeat(call: &Call<'_>) -> ApiResult {
    told(call, Message::Alive)
}

/// The callbacks of a cloud.
pub fn of(cloud: &Cloud) -> &Callbacks {
    &cloud.services.states.callbacks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::store::Store;

    #[tokio::test]
    async fn what_was_told_is_heard_in_the_next_process_and_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let open =
            || Callbacks::new(Table::new(&Store::open(folder.path()).expect("opens"), "task_ends"));
        let first = open();
        let token = {
            let waiting = first.expect();
            first.tell(&waiting.token, Message::Done(End::Done(json!(1)))).expect("taken");
            waiting.token.clone()
        };
        drop(first);
        let next = open();
        next.hold(&token);
        let again = next.tell(&token, Message::Done(End::Done(json!(2)))).expect_err("told");
        assert_eq!(again.code, "TaskTimedOut");
        let mut waiting = next.expect_again(token.clone());
        assert_eq!(waiting.end(&Clock::default(), None).await, Ok(json!(1)));
        next.forget(&token);
        drop(waiting);
        assert!(next.told.is_empty());
    }

    #[tokio::test]
    async fn an_end_is_heard_after_any_number_of_signs_of_life() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let callbacks = Callbacks::new(Table::new(&store, "task_ends"));
        let mut waiting = callbacks.expect();
        for _ in 0..10 * UNREAD_MAX {
            callbacks.tell(&waiting.token, Message::Alive).expect("taken");
        }
        let failure = Failure::new("E", "c");
        let end = Message::Done(End::Failed(failure.clone()));
        callbacks.tell(&waiting.token, end).expect("taken");
        assert_eq!(waiting.end(&Clock::default(), None).await, Err(failure));
    }
}
