//! What a model was asked about the pipeline's data and what it answered in service, counted to
//! find drift. Histories that clients bring along are not counted: anybody could raise or hide an
//! alarm. Nor are rows, see [`rows`](crate::rows).
//!
//! Every series and period counts once, however often it is asked for, because a repeated question
//! says nothing new about the data. What is remembered for that is bounded; beyond it everything
//! counts.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;

use jiff::Timestamp;
use parking_lot::Mutex;
use steppe_model::artifact::Artifact;
use steppe_model::drift::Tally;
use steppe_model::task::Task;
use steppe_wire::drift::{ServerDrift, StatisticDrift};

/// Questions remembered: 8 bytes each.
const REMEMBERED_MAX: usize = 50_000;

/// Counts of one model version.
#[derive(Debug)]
pub struct Watch<T: Task> {
    since: Timestamp,
    hasher: RandomState,
    counted: Mutex<Counted>,
    task: PhantomData<T>,
}

#[derive(Debug)]
struct Counted {
    asked: HashSet<u64>,
    forecasts: u64,
    tally: Tally,
}

impl<T: Task> Watch<T> {
    /// Nothing counted yet.
    pub fn new(artifact: &Artifact<T>) -> Self {
        let counted = Counted {
            asked: HashSet::new(),
            forecasts: 0,
            tally: Tally::new(&artifact.card.reference),
        };
        Self {
            since: Timestamp::now(),
            hasher: RandomState::new(),
            counted: Mutex::new(counted),
            task: PhantomData,
        }
    }

    /// Counts one answer to a question, which `named` tells from others.
    pub fn count(
        &self,
        artifact: &Artifact<T>,
        named: impl Hash,
        query: T::Query<'_>,
        answer: &T::Answer,
    ) {
        let question = self.hasher.hash_one(named);
        let mut counted = self.lock();
        if counted.asked.contains(&question) {
            return;
        }
        if counted.asked.len() < REMEMBERED_MAX {
            counted.asked.insert(question);
        }
        if let Some(observed) = T::statistics(artifact, query, answer) {
            counted.forecasts += 1;
            counted.tally.add(&artifact.card.reference, observed.as_ref());
        }
    }

    /// Service beside training.
    pub fn compare(&self, artifact: &Artifact<T>) -> Vec<StatisticDrift> {
        self.lock().tally.compare(&artifact.card.reference)
    }

    /// The same with what it rests on.
    pub fn report(&self, artifact: &Artifact<T>, model_version: &str) -> ServerDrift {
        let forecasts = self.lock().forecasts;
        let statistics = self.compare(artifact);
        ServerDrift {
            model_version: model_version.to_owned(),
            since: self.since.to_string(),
            forecasts,
            statistics,
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Counted> {
        self.counted.lock()
    }
}
