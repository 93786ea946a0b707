//! Rolling-origin backtest: train on what was known at the end of a year, forecast what came next.
//!
//! Every origin trains its own model and its own scaler on the data until that year, so nothing of
//! the future reaches a forecast.

use serde::{Deserialize, Serialize};
use steppe_wire::predict::Errors;

use crate::baseline::Baseline;
use crate::dataset::Dataset;
use crate::forecaster::{TrainError, train};
use crate::metrics::{Outcome, conformal_quantile, errors, naive_scale};
use crate::spec::TrainSpec;
use crate::window::log;

/// Errors of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name: `lstm`, `last value`, …
    pub name: String,
    /// Errors one step ahead.
    pub errors: Errors,
}

/// What a backtest found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    /// Last years known to each of the trained models.
    pub origins: Vec<i32>,
    /// One-step forecasts that were compared.
    pub outcomes: usize,
    /// Errors of the model.
    pub model: Errors,
    /// Errors of the baselines on the same forecasts.
    pub baselines: Vec<Candidate>,
    /// Half width of the prediction interval per step, in logarithms.
    pub interval_half_widths: Vec<f64>,
    /// Share of backtest forecasts whose interval, made from all *other* origins, held the actual value.
    pub interval_coverage: f64,
}

impl Backtest {
    /// The baseline with the smallest MAE, when it beats the model.
    pub fn better_baseline(&self) -> Option<&Candidate> {
        let best = self.baselines.iter().min_by(|a, b| a.errors.mae.total_cmp(&b.errors.mae))?;
        (best.errors.mae < self.model.mae).then_some(best)
    }
}

/// One forecast of one origin.
struct Trial {
    origin: i32,
    step: usize,
    model: Outcome,
    baselines: Vec<Outcome>,
}

/// Trains once per origin and compares. Origins run in parallel; the result does not depend on how.
pub fn backtest(data: &Dataset, spec: &TrainSpec) -> Result<Backtest, TrainError> {
    let newest = data.last_year() - 1;
    let origins: Vec<i32> = (0..spec.origins as i32).rev().map(|back| newest - back).collect();
    let shortest = data.series().iter().map(|s| s.values.len()).min().unwrap_or(0);
    if origins.is_empty() || shortest < spec.min_length() + spec.origins {
        return Err(TrainError::TooFewForBacktest { origins: spec.origins, shortest });
    }
    let trials = run_parallel(&origins, |origin| trials_of(data, spec, origin))?;
    let first: Vec<&Trial> = trials.iter().filter(|t| t.step == 1).collect();
    let error_of = |pick: &dyn Fn(&Trial) -> Outcome| {
        errors(&first.iter().map(|t| pick(t)).collect::<Vec<_>>()).ok_or(TrainError::TooFewForBacktest { origins: spec.origins, shortest })
    };
    let baselines = Baseline::ALL
        .iter()
        .enumerate()
        .map(|(i, b)| Ok(Candidate { name: b.name().to_owned(), errors: error_of(&|t| t.baselines[i])? }))
        .collect::<Result<_, TrainError>>()?;
    Ok(Backtest {
        outcomes: first.len(),
        model: error_of(&|t| t.model)?,
        baselines,
        interval_half_widths: half_widths(&trials, spec),
        interval_coverage: coverage(&first, &origins, spec.interval_level),
        origins,
    })
}

fn run_parallel(origins: &[i32], work: impl Fn(i32) -> Result<Vec<Trial>, TrainError> + Sync) -> Result<Vec<Trial>, TrainError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(origins.len());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let take = || next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut results: Vec<(usize, Result<Vec<Trial>, TrainError>)> = std::thread::scope(|scope| {
        let worker =
            || std::iter::from_fn(|| Some(take()).filter(|&i| i < origins.len())).map(|i| (i, work(origins[i]))).collect::<Vec<_>>();
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        handles.into_iter().flat_map(|h| h.join().expect("a training thread does not panic")).collect()
    });
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().try_fold(Vec::new(), |mut all, (_, result)| {
        all.extend(result?);
        Ok(all)
    })
}

fn trials_of(data: &Dataset, spec: &TrainSpec, origin: i32) -> Result<Vec<Trial>, TrainError> {
    let known = data.until(origin);
    let model = train(&known, spec)?;
    let usable: Vec<_> = known.series().iter().filter(|s| s.last_year() == origin && model.accepts(s)).collect();
    let forecasts = model.forecast(&usable.iter().map(|s| s.values.as_slice()).collect::<Vec<_>>());
    let mut trials = Vec::new();
    for (series, steps) in usable.iter().zip(forecasts) {
        let future = data.find(&series.name);
        let scale = naive_scale(&series.values);
        for (step, forecast) in (1..).zip(steps) {
            let Some(actual) = future.and_then(|s| s.at(origin + step as i32)) else { continue };
            let outcome = |forecast| Outcome { forecast, actual, naive_scale: scale };
            let baselines = Baseline::ALL.iter().map(|b| outcome(b.forecast(&series.values, step))).collect();
            trials.push(Trial { origin, step, model: outcome(forecast), baselines });
        }
    }
    Ok(trials)
}

/// Distance of forecast and actual value in logarithms: comparable between large and small series.
fn score(outcome: &Outcome) -> f64 {
    (log(outcome.forecast) - log(outcome.actual)).abs()
}

fn half_widths(trials: &[Trial], spec: &TrainSpec) -> Vec<f64> {
    let of_step = |step| trials.iter().filter(|t| t.step == step).map(|t| score(&t.model)).collect();
    let mut widest = 0.0f64;
    (1..=spec.horizon)
        .map(|step| {
            // A later step is never more certain than an earlier one, whatever few trials say.
            widest = widest.max(conformal_quantile(of_step(step), spec.interval_level).unwrap_or(widest));
            widest
        })
        .collect()
}

fn coverage(first: &[&Trial], origins: &[i32], level: f64) -> f64 {
    let covered = |origin: i32| {
        let others = first.iter().filter(|t| t.origin != origin).map(|t| score(&t.model)).collect();
        let width = conformal_quantile(others, level).unwrap_or(f64::INFINITY);
        first.iter().filter(|t| t.origin == origin && score(&t.model) <= width).count()
    };
    origins.iter().map(|&o| covered(o)).sum::<usize>() as f64 / first.len().max(1) as f64
}
