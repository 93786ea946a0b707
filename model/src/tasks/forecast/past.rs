//! What the served family forecast in the backtest, case by case: kept beside the weights, so that
//! what was predicted can stand beside what came.
//!
//! These are answers of fits that had not seen what they forecast. The model in service has seen
//! everything: what it would say of the past is no forecast.

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use super::Artifact;
use super::backtest::Run;
use crate::artifact::ArtifactError;

/// Name of the tensor.
pub const PAST: &str = "past.json";
/// Cases that are kept, the newest ones, so that an artifact stays small.
const CASES_MAX: usize = 100_000;

/// A forecast of the backtest.
#[derive(Debug, Clone, PartialEq)]
pub struct PastForecast {
    /// The series.
    pub series: String,
    /// The last period that was known.
    pub origin: i64,
    /// Steps ahead, from 0.
    pub step: usize,
    /// The point forecast.
    pub value: f64,
    /// Lower end of the interval, calibrated on other origins.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
}

/// As it is stored: names once, and a case as number of the name, origin, step, and three values.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    series: Vec<String>,
    cases: Vec<(usize, i64, usize, f64, f64, f64)>,
}

/// What an artifact keeps of a backtest.
pub(super) fn kept(run: &Run<'_>) -> Vec<u8> {
    let served = run.served();
    let interval = run.intervals(served);
    let newest = run.cases.len().saturating_sub(CASES_MAX)..run.cases.len();
    let case = |number: usize| {
        let (case, value) = (&run.cases[number], served.points[number]);
        let super::metrics::IntervalOutcome { lower, upper, .. } = interval(number);
        (case.series, run.origins[case.origin], case.step, value, lower, upper)
    };
    let series = run.data().series().iter().map(|series| series.name.clone()).collect();
    let kept = Kept { series, cases: newest.map(case).collect() };
    serde_json::to_vec(&kept).expect("a record of plain values")
}

impl Artifact {
    /// What was forecast in the backtest, by origins; of many cases the newest.
    pub fn past(&self) -> Result<Vec<PastForecast>, ArtifactError> {
        let tensors = SafeTensors::deserialize(&self.weights_bytes)?;
        let Kept { series, cases } = serde_json::from_slice(tensors.tensor(PAST)?.data())?;
        let (horizon, count) = (self.card.spec.task.horizon, cases.len());
        let past = cases.into_iter().filter_map(|(number, origin, step, value, lower, upper)| {
            let usable = step < horizon && lower <= value && value <= upper && lower.is_finite();
            let series = series.get(number).filter(|_| usable && upper.is_finite())?.clone();
            Some(PastForecast { series, origin, step, value, lower, upper })
        });
        let past: Vec<PastForecast> = past.collect();
        match past.len() == count && count <= CASES_MAX {
            true => Ok(past),
            false => Err(ArtifactError::Defect(format!("`{PAST}` has cases that cannot be"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::backtest;
    use crate::host::{Quiet, Stage};
    use crate::training_key::tests::spec;
    use crate::{Dataset, Series};

    fn data() -> Dataset {
        let value = |s: i64, t: i64| (100 * (s + 1) + 3 * t + t * 7 % 5) as f64;
        let values = |s: i64| (0..16).map(|t| value(s, t)).collect();
        let series = |s: i64| Series::new(format!("s{s}"), 2000, values(s));
        Dataset::new(steppe_spec::Frequency::Yearly, (0..3).map(series).collect())
    }

    #[test]
    fn an_artifact_tells_what_its_backtest_forecast() {
        let (data, spec, stage) = (data(), spec(), Stage::new(&Quiet));
        let run = backtest::run(&data, &spec, &stage).expect("runs");
        let artifact = Artifact::from_trials(&data, &spec, &run, &stage).expect("trains");
        let past = artifact.past().expect("its past");
        assert_eq!(past.len(), run.cases.len());
        for ((case, value), past) in run.cases.iter().zip(&run.served().points).zip(&past) {
            let series = &data.series()[case.series].name;
            assert_eq!((&past.series, past.step, past.value), (series, case.step, *value));
            assert_eq!(past.origin, run.origins[case.origin]);
        }
    }

    #[test]
    fn a_past_that_cannot_be_is_refused() {
        let mut artifact = Artifact::train(&data(), &spec(), &Stage::new(&Quiet)).expect("trains");
        let cases = b"\"cases\":[[";
        let found = artifact.weights_bytes.windows(cases.len()).position(|bytes| bytes == cases);
        let first = found.expect("the first case") + cases.len();
        artifact.weights_bytes[first] = b'9';
        let error = artifact.past().expect_err("a series that is not there");
        assert!(error.to_string().contains("cases that cannot be"), "{error}");
    }
}
