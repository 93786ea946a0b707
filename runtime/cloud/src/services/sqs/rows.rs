//! Rows of a queue, and the handles of what was received.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::attributes::Settings;
use crate::kernel::error::{ApiError, ApiResult};

/// A row of a queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Row {
    /// A message.
    Message(Box<Message>),
    /// Who received a message last.
    Receipt(Receipt),
    /// What was sent to a FIFO queue.
    Seen(Seen),
}

/// A message as it was sent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Message {
    pub id: String,
    pub body: String,
    #[serde(default)]
    pub attributes: Map<String, Value>,
    /// `AWSTraceHeader`.
    #[serde(default)]
    pub system: Map<String, Value>,
    /// Unique ID of who sent it.
    pub sender: String,
    pub sent: Timestamp,
    /// When it may be received first.
    pub available: Timestamp,
    #[serde(default)]
    pub group: Option<String>,
    #[serde(default)]
    pub deduplication: Option<String>,
    /// ARN of the queue that it came from, when this one is its dead-letter queue.
    #[serde(default)]
    pub origin: Option<String>,
    /// How often it was received in queues before this one.
    #[serde(default)]
    pub receives_before: u64,
}

/// Who received a message last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// When others may receive it.
    pub visible: Timestamp,
    pub receives: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Tells this receipt from earlier ones.
    pub nonce: u64,
}

/// What was sent to a FIFO queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub id: String,
    pub sequence: u64,
    pub sent: Timestamp,
}

/// A receipt handle in parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Handle {
    pub queue: String,
    pub sequence: u64,
    pub nonce: u64,
}

impl Handle {
    /// As receivers get it.
    pub fn written(&self) -> String {
        BASE64.encode(format!("{} {} {:016x}", self.queue, self.sequence, self.nonce))
    }

    pub fn read(text: &str) -> Option<Self> {
        let decoded = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
        let mut parts = decoded.split(' ');
        let queue = parts.next()?.to_owned();
        let sequence = parts.next()?.parse().ok()?;
        let nonce = u64::from_str_radix(parts.next()?, 16).ok()?;
        parts.next().is_none().then_some(Self { queue, sequence, nonce })
    }
}

/// What a FIFO queue tells messages apart by.
pub fn duplicate_key(settings: &Settings, group: &str, deduplication: &str) -> String {
    if settings.by_group { format!("{group}\n{deduplication}") } else { deduplication.to_owned() }
}

/// A handle that is good for this queue.
pub fn handle(text: &str, queue: &str) -> ApiResult<Handle> {
    let read = Handle::read(text).filter(|handle| handle.queue == queue);
    read.ok_or_else(|| {
        let message = format!("The input receipt handle \"{text}\" is not a valid receipt handle.");
        ApiError::new("ReceiptHandleIsInvalid", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_as_they_are_written() {
        let handle = Handle { queue: "q".to_owned(), sequence: 7, nonce: 9 };
        assert_eq!(Handle::read(&handle.written()), Some(handle));
        for wrong in ["", "x", "AAAA", &BASE64.encode("q 7"), &BASE64.encode("q 7 9 1")] {
            assert_eq!(Handle::read(wrong), None);
        }
    }
}
