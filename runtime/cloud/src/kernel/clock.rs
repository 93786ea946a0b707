//! The cloud's clock: the machine's, put forward as far as a test has asked for.
//!
//! Waits, schedules, buffers, times to live and retention follow this clock, so that a test lets
//! days pass without sleeping. What is real stays real: processes, requests and signatures. A clock
//! that was put forward by a request stays so as long as the state folder is there, because the
//! records in it have its times; it is never put back.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::folder::write_private;

/// File in the state folder that has how far the clock was put forward, in milliseconds.
const FILE: &str = "clock";

/// Longest single sleep: the machine may have slept meanwhile, and then its clock has jumped.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// The machine's clock is corrected by less.
const CORRECTION: SignedDuration = SignedDuration::from_mins(1);

/// Up to when work by the clock is done, of which `done` was noted, when it is `now`. The machine's
/// clock may have been set back. After a correction nothing is done again, and what is next comes
/// when it would have come; after more the clock was wrong, and nobody waits until it shows the
/// same time again.
pub fn done_until(done: Timestamp, now: Timestamp) -> Timestamp {
    if done.duration_since(now) > CORRECTION { now } else { done }
}

/// The clock; clones are the same one.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ahead_millis: AtomicI64,
    keeping: Mutex<()>,
    moved: watch::Sender<()>,
}

impl Default for Clock {
    fn default() -> Self {
        let (ahead_millis, moved) = (AtomicI64::new(0), watch::Sender::new(()));
        Self(Arc::new(Inner { ahead_millis, keeping: Mutex::new(()), moved }))
    }
}

impl Clock {
    /// The clock of a state folder.
    pub fn open(state: &Path) -> io::Result<Self> {
        let clock = Self::default();
        let ahead = match std::fs::read_to_string(state.join(FILE)) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let words = format!("{FILE} has to be a number of milliseconds, or be deleted");
                io::Error::new(io::ErrorKind::InvalidData, words)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        clock.0.ahead_millis.store(ahead, Ordering::SeqCst);
        Ok(clock)
    }

    /// Puts the clock of a state folder forward, also for who opens the folder next.
    pub fn advance_for_good(&self, by: Duration, state: &Path) -> io::Result<()> {
        let _one_at_a_time = self.0.keeping.lock();
        let ahead = self.ahead_after(by);
        write_private(&state.join(FILE), ahead.to_string().as_bytes())?;
        self.advance(by);
        Ok(())
    }

    fn ahead_after(&self, by: Duration) -> i64 {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.ahead_millis.load(Ordering::SeqCst).saturating_add(millis)
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(self.ahead()).unwrap_or(now)
    }

    /// How far it was put forward.
    pub fn ahead(&self) -> SignedDuration {
        SignedDuration::from_millis(self.0.ahead_millis.load(Ordering::SeqCst))
    }

    /// Puts the clock forward and wakes whoever sleeps by it.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let add = |ahead: i64| Some(ahead.saturating_add(millis));
        let added = self.0.ahead_millis.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
        added.expect("the closure always answers");
        self.0.moved.send_replace(());
    }

    /// Waits for `duration` by this clock.
    pub async fn sleep(&self, duration: Duration) {
        let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        self.sleep_until(self.now().saturating_add(duration).unwrap_or(Timestamp::MAX)).await;
    }

    /// Waits until this clock shows `time`.
    pub async fn sleep_until(&self, time: Timestamp) {
        let mut moved = self.0.moved.subscribe();
        loop {
            let left = time.duration_since(self.now());
            let Some(left) = Duration::try_from(left).ok().filter(|left| !left.is_zero()) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(left.min(SLEEP_MAX)) => {}
                // The sender lives as long as this clock.
                _ = moved.changed() => {}
            }
        }
    }

    /// What is left of a time that began at `since`.
    pub fn left(&self, since: Timestamp, time: Duration) -> Duration {
        let gone = Duration::try_from(self.now().duration_since(since)).unwrap_or_default();
        time.saturating_sub(gone)
    }

    /// The answer of `work`, or nothing when it takes longer than `limit`.
    pub async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = work => Some(answer),
            () = self.sleep(limit) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_clock_that_was_corrected_does_nothing_twice_and_a_wrong_one_stops_nothing() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().expect("a time");
        let ahead = |secs| now + SignedDuration::from_secs(secs);
        assert_eq!(done_until(ahead(-5), now), ahead(-5));
        assert_eq!(done_until(ahead(60), now), ahead(60));
        assert_eq!(done_until(ahead(24 * 60 * 60), now), now);
    }

    #[test]
    fn a_clock_that_was_put_forward_stays_so_in_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = || Clock::open(folder.path()).expect("readable").ahead();
        assert_eq!(opened(), SignedDuration::ZERO);
        let clock = Clock::open(folder.path()).expect("readable");
        clock.advance_for_good(DAY, folder.path()).expect("written");
        clock.advance_for_good(DAY, folder.path()).expect("written");
        assert_eq!((opened(), clock.ahead()), (SignedDuration::from_hours(48), opened()));
        std::fs::write(folder.path().join(FILE), "tomorrow").expect("written");
        Clock::open(folder.path()).expect_err("no number");
    }

    #[tokio::test]
    async fn sleepers_wake_when_the_clock_is_put_forward() {
        let clock = Clock::default();
        let began = clock.now();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(DAY).await;
                clock.now()
            }
        });
        tokio::task::yield_now().await;
        clock.advance(DAY / 2);
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(DAY / 2);
        let woken = sleeper.await.expect("no panic");
        assert!(woken.duration_since(began) >= SignedDuration::try_from(DAY).expect("fits"));
    }

    #[tokio::test]
    async fn a_limit_is_kept_by_this_clock() {
        let clock = Clock::default();
        assert_eq!(clock.within(DAY, async { 1 }).await, Some(1));
        let waiting = clock.within(DAY, std::future::pending::<()>());
        let advanced = async {
            tokio::task::yield_now().await;
            clock.advance(DAY);
        };
        assert_eq!(tokio::join!(waiting, advanced).0, None);
    }
}
