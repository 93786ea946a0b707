//! What a model was asked about the pipeline's data and what it answered in service, counted to
//! find drift. Histories that clients bring along are not counted: anybody could raise or hide an
//! alarm.
//!
//! Every series and period counts once, however often it is asked for, because a repeated question
//! says nothing new about the data. What is remembered for that is bounded; beyond it everything
//! counts.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use jiff::Timestamp;
use parking_lot::Mutex;
use steppe_model::drift::Tally;
use steppe_model::forecast::Prediction;
use steppe_model::{Artifact, Series};
use steppe_wire::drift::{ServerDrift, StatisticDrift};

/// Questions remembered: 8 bytes each.
const REMEMBERED_MAX: usize = 50_000;

/// Counts of one model version.
#[derive(Debug)]
pub struct Watch {
    since: Timestamp,
    hasher: RandomState,
    counted: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    asked: HashSet<u64>,
    forecasts: u64,
    tally: Tally,
}

impl Watch {
    /// Nothing counted yet.
    pub fn new(artifact: &Artifact) -> Self {
        let counted = Counted {
            asked: HashSet::new(),
            forecasts: 0,
            tally: Tally::new(&artifact.card.reference),
        };
        Self { since: Timestamp::now(), hasher: RandomState::new(), counted: Mutex::new(counted) }
    }

    /// Counts one forecast.
    pub fn count(&self, artifact: &Artifact, series: &Series, prediction: &Prediction) {
        let last = series.values.last().map(|v| v.to_bits());
        let question = self.hasher.hash_one((&series.name, series.last(), last));
        let mut counted = self.lock();
        if counted.asked.contains(&question) {
            return;
        }
        if counted.asked.len() < REMEMBERED_MAX {
            counted.asked.insert(question);
        }
        if let Some(observed) = artifact.observed(&series.values, prediction) {
            counted.forecasts += 1;
            counted.tally.add(&artifact.card.reference, &observed);
        }
    }

    /// Service beside training.
    pub fn compare(&self, artifact: &Artifact) -> Vec<StatisticDrift> {
        self.lock().tally.compare(&artifact.card.reference)
    }

    /// The same with what it rests on.
    pub fn report(&self, artifact: &Artifact, model_version: &str) -> ServerDrift {
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
