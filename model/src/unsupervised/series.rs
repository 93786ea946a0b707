//! Which values of series are unlike those before them.

use serde::Serialize;
use steppe_spec::unsupervised::anomaly::{AnomalyFamily, AnomalyModel, AnomalyTask};

use super::data::Readings;
use crate::anomaly::cut_forest::CutForest;
use crate::anomaly::deviation::Deviation;
use crate::anomaly::nearest::NearestWindows;
use crate::anomaly::reconstruction::{ReconstructionOptions, reconstruction_scores};
use crate::anomaly::rested::Rested;
use crate::anomaly::vote::{Vote, VoteOptions};
use crate::anomaly::{AnomalyError, Detector, known, scores};

/// Share of a series that is seen before the first alarm, where nothing else is said.
const PROBATION: f64 = 0.15;
/// Values that are seen before it, at most, where nothing else is said.
const PROBATION_MAX: usize = 750;
/// Values of a window that a reconstruction looks at, and shapes that make it up.
const WINDOW: usize = 24;
const SHAPES: usize = 4;

/// A value that is unusual.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alarm {
    /// The series.
    pub series: String,
    /// When the value was taken.
    pub time: String,
    /// Its number in the series, from 0.
    pub at: usize,
    /// The value.
    pub value: f64,
    /// How unusual it is, from 0 to 1: tenths of the powers of ten of a tail probability.
    pub score: f64,
}

/// The scores of a series, rested: after a high one only a higher one counts for a while.
///
/// # Errors
/// If an option is out of range.
pub fn rested_scores(values: &[f64], task: &AnomalyTask) -> Result<Vec<f64>, AnomalyError> {
    let rest = task.model.rest;
    let options = VoteOptions::default();
    Ok(match task.model.kind {
        AnomalyFamily::Deviation => rested(Deviation::new(&options.deviation)?, rest, values),
        AnomalyFamily::NearestWindows => {
            rested(NearestWindows::new(options.nearest)?, rest, values)
        }
        AnomalyFamily::CutForest => rested(CutForest::new(&options.forest)?, rest, values),
        AnomalyFamily::Reconstruction => {
            let options = ReconstructionOptions { window: WINDOW, components: SHAPES };
            let scores = reconstruction_scores(values, &options)?;
            rested(Told(scores.into_iter()), rest, values)
        }
        _ => rested(Vote::new(options)?, rest, values),
    })
}

fn rested(detector: impl Detector, rest: usize, values: &[f64]) -> Vec<f64> {
    scores(&mut Rested::new(detector, rest), values)
}

/// Scores that are known already.
struct Told(std::vec::IntoIter<f64>);

impl Detector for Told {
    fn score(&mut self, _: f64) -> f64 {
        self.0.next().unwrap_or_default()
    }
}

/// The alarms of a series.
///
/// # Errors
/// If an option is out of range.
pub fn alarms(series: &Readings, task: &AnomalyTask) -> Result<Vec<Alarm>, AnomalyError> {
    let scores = rested_scores(&series.values, task)?;
    let probation = probation(&series.values, &task.model);
    let mut seen = 0;
    let alarm = |(at, (value, score)): (usize, (&f64, f64))| {
        if !known(*value) {
            return None;
        }
        seen += 1;
        (seen > probation && score >= task.model.threshold).then(|| Alarm {
            series: series.series.clone(),
            time: series.times[at].clone(),
            at,
            value: *value,
            score,
        })
    };
    Ok(series.values.iter().zip(scores).enumerate().filter_map(alarm).collect())
}

fn probation(values: &[f64], model: &AnomalyModel) -> usize {
    model.probation.unwrap_or_else(|| {
        let count = values.iter().filter(|value| known(**value)).count();
        ((PROBATION * count as f64) as usize).min(PROBATION_MAX)
    })
}
