//! Past forecasts beside what happened since.

use std::collections::BTreeMap;

use statrs::distribution::{Binomial, DiscreteCDF};
use steppe_model::forecast::metrics::{holds, naive_scale};
use steppe_model::{Calendar, Dataset};
use steppe_spec::TrainSpec;
use steppe_wire::drift::Realised;
use steppe_wire::predict::{Step, StoredPrediction};

use crate::score::forecasts::Stored;

/// A step of a stored forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Promised {
    /// Version of the model.
    pub model_version: String,
    /// Its error in the backtest.
    pub backtest_mase: f64,
    /// The series.
    pub series: String,
    /// The last period that was known.
    pub observed_until: String,
    /// What was forecast.
    pub step: Step,
}

impl Promised {
    /// The steps of a forecast that lies in S3 as JSON.
    pub fn of(forecast: &StoredPrediction) -> impl Iterator<Item = Self> {
        forecast.steps.iter().map(|step| Self {
            model_version: forecast.model_version.clone(),
            backtest_mase: forecast.backtest_mase,
            series: forecast.series.clone(),
            observed_until: forecast.observed_until.clone(),
            step: step.clone(),
        })
    }
}

impl From<Stored> for Promised {
    fn from(stored: Stored) -> Self {
        let Stored { series, observed_until, model_version, backtest_mase, step, .. } = stored;
        Self { model_version, backtest_mase, series, observed_until, step }
    }
}

/// A forecast and the value that came.
struct Case {
    period: i64,
    forecast: Step,
    actual: f64,
    naive_scale: f64,
    backtest_mase: f64,
}

/// Errors and coverage per model version, the version with the newest actual values first. A
/// forecast that was made several times counts once: `promised` are ordered by time, and the last
/// one counts.
pub fn realised(promised: &[Promised], data: &Dataset, spec: &TrainSpec) -> Vec<Realised> {
    let mut cases: BTreeMap<(&str, &str, i64, u32), Case> = BTreeMap::new();
    for one in promised {
        if let Some(case) = case(one, data, spec) {
            let named = (one.model_version.as_str(), one.series.as_str());
            cases.insert((named.0, named.1, case.period, one.step.step), case);
        }
    }
    let mut by_version: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    cases
        .into_iter()
        .for_each(|((version, ..), case)| by_version.entry(version).or_default().push(case));
    let mut newest_first: Vec<(i64, Realised)> = by_version
        .into_iter()
        .filter_map(|(v, cases)| summary(v, &cases, data.calendar()))
        .collect();
    newest_first
        .sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.model_version.cmp(&b.1.model_version)));
    newest_first.into_iter().map(|(_, realised)| realised).collect()
}

/// The forecast of one step beside its actual value; `None` while that has not come.
fn case(promised: &Promised, data: &Dataset, spec: &TrainSpec) -> Option<Case> {
    let (series, calendar) = (data.find(&promised.series)?, data.calendar());
    let (period, known) =
        (calendar.parse(&promised.step.period)?, calendar.parse(&promised.observed_until)?);
    let actual = series.observed(period)?;
    let naive_scale = naive_scale(series.until(known).history(), spec.frequency().season());
    Some(Case {
        period,
        forecast: promised.step.clone(),
        actual,
        naive_scale,
        backtest_mase: promised.backtest_mase,
    })
}

fn summary(version: &str, cases: &[Case], calendar: &Calendar) -> Option<(i64, Realised)> {
    let (first, last) =
        (cases.iter().map(|c| c.period).min()?, cases.iter().map(|c| c.period).max()?);
    let errors = || cases.iter().map(|c| (c, (c.forecast.value - c.actual).abs()));
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
        if count > 0.0 { sum / count } else { 0.0 }
    };
    let inside =
        cases.iter().filter(|c| holds(c.forecast.lower, c.forecast.upper, c.actual)).count();
    let level = cases[0].forecast.level;
    let realised = Realised {
        model_version: version.to_owned(),
        cases: cases.len(),
        first: calendar.label(first),
        last: calendar.label(last),
        mae: mean(&mut errors().map(|(_, e)| e)),
        mase: mean(
            &mut errors().filter(|(c, _)| c.naive_scale > 0.0).map(|(c, e)| e / c.naive_scale),
        ),
        backtest_mase: cases[0].backtest_mase,
        level,
        coverage: inside as f64 / cases.len() as f64,
        coverage_p: at_most(inside, cases.len(), level),
    };
    Some((last, realised))
}

/// Probability of at most `k` successes in `n` independent trials of probability `p`.
fn at_most(k: usize, n: usize, p: f64) -> f64 {
    let trials = Binomial::new(p.clamp(0.0, 1.0), n as u64).expect("a probability");
    trials.cdf(k as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binomial_distribution_matches_tables() {
        assert!((at_most(2, 5, 0.5) - 0.5).abs() < 1e-12);
        assert!((at_most(14, 20, 0.9) - 0.011_253).abs() < 1e-6);
        assert!((at_most(20, 20, 0.9) - 1.0).abs() < 1e-9);
        assert!(at_most(8_000, 10_000, 0.9) < 1e-100 && at_most(9_000, 10_000, 0.9) > 0.4);
    }
}
