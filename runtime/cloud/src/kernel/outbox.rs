//! Outboxes: what is still to be done for somebody else, kept until it is done.
//!
//! What is in an outbox survives a crash, so it is done at least once: what was done just before a
//! crash is done again. Work that fails is done again later, by the cloud's clock.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore};

use super::cloud::{Cloud, Opening};
use super::store::{NotStored, Table};

/// Work of one outbox that is done at the same time.
const AT_ONCE: usize = 32;
/// Longest time between two attempts.
const PAUSE_SECS_MAX: u64 = 600;

/// Something to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parcel<T> {
    /// What.
    pub content: T,
    /// Since when.
    pub made: Timestamp,
    /// When it is tried next.
    pub due: Timestamp,
    /// How often it was tried.
    pub attempts: u64,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do.
    Done,
    /// To be tried again after a time.
    Again(Duration),
}

/// How work is tried.
pub type Attempt<T> = for<'a> fn(&'a Arc<Cloud>, &'a Parcel<T>) -> Tried<'a>;

/// An attempt that is being made.
pub type Tried<'a> = std::pin::Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// An outbox.
pub struct Outbox<T> {
    table: Table<Parcel<T>>,
    /// When what is due, without what is being tried.
    waiting: Mutex<BTreeSet<(Timestamp, String)>>,
    changed: Notify,
}

impl<T> fmt::Debug for Outbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("waiting", &self.waiting.lock().len()).finish()
    }
}

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Outbox<T> {
    /// Opens the records of that kind.
    pub fn open(opening: &Opening<'_>, kind: &str) -> Self {
        let table: Table<Parcel<T>> = opening.table(kind);
        let mut waiting = BTreeSet::new();
        table.scan("", None, |name, parcel| {
            waiting.insert((parcel.due, name.to_owned()));
            std::ops::ControlFlow::Continue(())
        });
        Self { table, waiting: Mutex::new(waiting), changed: Notify::new() }
    }

    /// Puts work into the outbox; it is safe when this returns.
    pub fn add(
        &self,
        contents: impl IntoIterator<Item = T>,
        now: Timestamp,
    ) -> Result<(), NotStored> {
        self.add_due(contents.into_iter().map(|content| (content, now, now)))
    }

    /// The same for work that is as old as its first time says, and due at its second.
    pub fn add_due(
        &self,
        contents: impl IntoIterator<Item = (T, Timestamp, Timestamp)>,
    ) -> Result<(), NotStored> {
        // Names are in the order of time, so that what came first is done first.
        let named = contents.into_iter().map(|(content, made, due)| {
            let random = uuid::Uuid::new_v4().simple();
            let name = format!("{:020}-{random}", due.as_microsecond());
            (name, Parcel { content, made, due, attempts: 0 })
        });
        let named: Vec<(String, Parcel<T>)> = named.collect();
        if named.is_empty() {
            return Ok(());
        }
        let waiting: Vec<(Timestamp, String)> =
            named.iter().map(|(name, parcel)| (parcel.due, name.clone())).collect();
        self.table.put_all(named, [])?;
        self.waiting.lock().extend(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(crate) fn take_due(&self, now: Timestamp) -> Option<String> {
        let mut waiting = self.waiting.lock();
        let first = waiting.first().filter(|(due, _)| *due <= now)?.clone();
        waiting.remove(&first);
        Some(first.1)
    }

    fn next(&self) -> Timestamp {
        self.waiting.lock().first().map_or(Timestamp::MAX, |(due, _)| *due)
    }

    fn settle(&self, name: &str, outcome: Outcome, now: Timestamp) {
        let again = match outcome {
            // What cannot be written is done again, which is allowed.
            Outcome::Done => match self.table.remove(name) {
                Ok(_) => return,
                Err(error) => {
                    tracing::error!("{error}");
                    Duration::from_secs(PAUSE_SECS_MAX)
                }
            },
            Outcome::Again(after) => after,
        };
        let due = now.saturating_add(SignedDuration::try_from(again).unwrap_or_default());
        let due = due.unwrap_or(Timestamp::MAX);
        self.table.settle(name, |parcel| {
            parcel.attempts += 1;
            parcel.due = due;
        });
        self.waiting.lock().insert((due, name.to_owned()));
        self.changed.notify_one();
    }
}

/// Does what is in an outbox for as long as the process runs.
pub async fn run<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static>(
    cloud: Arc<Cloud>,
    outbox: fn(&Cloud) -> &Outbox<T>,
    attempt: Attempt<T>,
) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let own = outbox(&cloud);
        let Some(name) = own.take_due(cloud.clock.now()) else {
            drop(permit);
            tokio::select! {
                () = own.changed.notified() => {}
                () = cloud.clock.sleep_until(own.next()) => {}
            }
            continue;
        };
        let cloud = cloud.clone();
        tokio::spawn(async move {
            let own = outbox(&cloud);
            if let Some(parcel) = own.table.get(&name) {
                let outcome = attempt(&cloud, &parcel).await;
                own.settle(&name, outcome, cloud.clock.now());
            }
            drop(permit);
        });
    }
}

/// Time before the next attempt after `attempts` that failed: doubling, with some chance in it so
/// that what failed together is not tried together.
pub fn pause(attempts: u64) -> Duration {
    let secs = 1_u64.checked_shl(u32::try_from(attempts).unwrap_or(u32::MAX));
    let secs = secs.map_or(PAUSE_SECS_MAX, |secs| secs.min(PAUSE_SECS_MAX));
    Duration::from_secs_f64(secs as f64 * (0.5 + fastrand::f64() / 2.0))
}

/// Whether an error may be gone when the same is tried again.
pub fn may_pass(error: &super::error::ApiError) -> bool {
    let throttled = ["Throttl", "TooManyRequests", "ServiceUnavailable", "OverLimit"];
    (error.status >= 500 && error.status != 501)
        || error.status == 429
        || throttled.iter().any(|part| error.code.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::error::ApiError;

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        for (attempts, most) in [(0, 1.0), (3, 8.0), (10, 600.0), (500, 600.0)] {
            let pause = pause(attempts).as_secs_f64();
            assert!((most / 2.0..=most).contains(&pause), "{attempts}: {pause}");
        }
    }

    #[test]
    fn refusals_are_not_tried_again() {
        let error = |code: &str, status| ApiError::new(code, "").with_status(status);
        assert!(may_pass(&error("InternalFailure", 500)));
        assert!(may_pass(&error("ThrottlingException", 400)));
        assert!(!may_pass(&error("AccessDeniedException", 403)));
        assert!(!may_pass(&error("NotImplemented", 501)));
    }
}
