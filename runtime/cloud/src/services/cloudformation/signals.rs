//! Signals of wait conditions and of creation policies. Of a condition, the random part of its
//! handle's address is the permission.
//!
//! Signals are kept while an operation of the handle's stack is under way and its condition has not
//! what it waits for. They are kept in memory only: when the process stops in between, the creation
//! is rolled back, and its handle with it.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value, json};

use super::creation_policy;
use crate::kernel::clock::Clock;
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Failure, Made, text};

/// Bytes of a signal, as AWS limits its data.
const BYTES_MAX: usize = 4_096;
/// Signals of one handle; more than any condition here waits for.
const SIGNALS_MAX: usize = 100;
/// Signals of one resource with a creation policy.
const POLICY_SIGNALS_MAX: usize = 1_000;

/// All signals that are awaited, by handle.
#[derive(Debug, Default)]
pub struct Signals {
    received: Mutex<HashMap<String, Vec<Value>>>,
    arrived: tokio::sync::Notify,
}

/// Why a signal was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Nobody has this handle.
    Unknown,
    /// It is not what a signal is.
    Malformed(String),
}

/// Takes a signal for the handle whose address is `path`: `/_steppe/wait/…`.
pub fn signal(cloud: &Cloud, path: &str, body: &[u8]) -> Result<(), Refused> {
    let handle = format!("{}{path}", cloud.config.endpoint());
    let stack = cloud
        .services
        .cloudformation
        .stacks
        .all()
        .into_iter()
        .map(|(_, stack)| stack)
        .find(|s| s.resources.values().any(|r| r.physical_id == handle))
        .ok_or(Refused::Unknown)?;
    let signal = parse(body)?;
    // Later ones change nothing, as in AWS.
    if !stack.is_busy() {
        return Ok(());
    }
    let mut all = cloud.services.cloudformation.work.signals.received();
    let received = all.entry(handle).or_default();
    // A repeated signal takes the place of the first.
    let earlier = received.iter().position(|s| s["UniqueId"] == signal["UniqueId"]);
    match earlier {
        Some(place) => received[place] = signal,
        None if received.len() < SIGNALS_MAX => received.push(signal),
        None => return Err(Refused::Malformed(format!("a handle takes {SIGNALS_MAX} signals"))),
    }
    drop(all);
    cloud.services.cloudformation.work.signals.arrived.notify_waiters();
    Ok(())
}

fn parse(body: &[u8]) -> Result<Value, Refused> {
    let malformed = |words: &str| Refused::Malformed(words.to_owned());
    if body.len() > BYTES_MAX {
        return Err(Refused::Malformed(format!("a signal has at most {BYTES_MAX} bytes")));
    }
    let signal: Value =
        serde_json::from_slice(body).map_err(|_| malformed("the signal is not JSON"))?;
    if !matches!(text(&signal, "Status"), "SUCCESS" | "FAILURE") {
        return Err(malformed("the Status of a signal is SUCCESS or FAILURE"));
    }
    if text(&signal, "UniqueId").is_empty() {
        return Err(malformed("a signal needs a UniqueId"));
    }
    Ok(signal)
}

impl Signals {
    fn received(&self) -> MutexGuard<'_, HashMap<String, Vec<Value>>> {
        self.received.lock()
    }

    fn of(&self, handle: &str) -> Vec<Value> {
        self.received().get(handle).cloned().unwrap_or_default()
    }

    /// Takes a signal of a creation policy; a second success of the same sender is refused.
    pub fn take(&self, key: &str, unique_id: &str, status: &str) -> bool {
        let signal = json!({ "UniqueId": unique_id, "Status": status });
        let mut all = self.received();
        let received = all.entry(key.to_owned()).or_default();
        let earlier = received.iter().position(|s| s["UniqueId"] == unique_id);
        match earlier {
            Some(_) if status != "FAILURE" => return false,
            Some(place) => received[place] = signal,
            None if received.len() < POLICY_SIGNALS_MAX => received.push(signal),
            // More than can be waited for change nothing.
            None => return true,
        }
        drop(all);
        self.arrived.notify_waiters();
        true
    }

    /// Waits for what a creation policy asks for.
    pub async fn satisfy(
        &self,
        clock: &Clock,
        key: &str,
        policy: creation_policy::Policy,
    ) -> Result<(), Failure> {
        let received = async {
            loop {
                // Asked for before the look, so that a signal in between is not missed.
                let next = self.arrived.notified();
                let signals = self.of(key);
                if let Some(failure) = signals.iter().find(|s| s["Status"] != "SUCCESS") {
                    let sender = text(failure, "UniqueId");
                    let words = format!("Received FAILURE signal with UniqueId {sender}");
                    return Err(Failure::Other(words));
                }
                if signals.len() >= policy.count {
                    return Ok(());
                }
                next.await;
            }
        };
        let waited = clock.within(policy.timeout, received).await;
        let missing = policy.count.saturating_sub(self.of(key).len());
        self.forget(key);
        waited.unwrap_or_else(|| {
            Err(Failure::Other(format!(
                "Failed to receive {missing} resource signal(s) within the specified duration"
            )))
        })
    }

    /// Forgets what a handle was sent.
    pub fn forget(&self, handle: &str) {
        self.received().remove(handle);
    }

    /// Waits until a handle has `count` signals; the data of all is the attribute `Data`.
    pub async fn wait(&self, clock: &Clock, handle: &str, count: usize, limit: Duration) -> Made {
        let received = async {
            loop {
                // Asked for before the look, so that a signal in between is not missed.
                let next = self.arrived.notified();
                let signals = self.of(handle);
                if let Some(failure) = signals.iter().find(|s| s["Status"] != "SUCCESS") {
                    return Err(Failure::Other(format!(
                        "WaitCondition received failed message: '{}' for uniqueId: {}",
                        text(failure, "Reason"),
                        text(failure, "UniqueId")
                    )));
                }
                if signals.len() >= count {
                    return Ok(signals);
                }
                next.await;
            }
        };
        let waited = clock.within(limit, received).await;
        let signals = waited.unwrap_or_else(|| {
            let received = self.of(handle).len();
            Err(Failure::Other(format!(
                "WaitCondition timed out. Received {received} conditions when expecting {count}"
            )))
        });
        self.forget(handle);
        let data: Map<String, Value> =
            signals?.iter().map(|s| (text(s, "UniqueId").to_owned(), s["Data"].clone())).collect();
        let mut attributes = Map::new();
        attributes.insert("Data".to_owned(), Value::Object(data).to_string().into());
        Ok(attributes)
    }
}
