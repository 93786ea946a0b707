//! Closing prices: what is known of the next one, and how wide its interval has to be.

use std::path::Path;
use std::time::Instant;

use steppe_model::forecast::metrics::{
    IntervalOutcome, IntervalScores, interval_scores, naive_scale,
};
use steppe_model::host::{Quiet, Stage};
use steppe_model::rows::metrics::mean;
use steppe_model::{Artifact, Dataset, Series};
use steppe_spec::{Backtest, Family, Kind, Width};

use crate::{Result, sets, spec};

/// Days with trade whose prices are asked for: as many as the last fifth of twelve years.
const DAYS: usize = 604;
/// Nominal share of actual values inside.
const LEVEL: f64 = 0.9;

/// Prints all tables.
pub fn run(file: &Path) -> Result<()> {
    let days = sets::trading_days(sets::closes(file)?)?;
    errors(&days, &sets::every_day(sets::closes(file)?)?)?;
    intervals(&sets::trading_days(sets::all_closes(file)?)?)
}

/// The last value on closing prices since 2013, on the newest 43 days with trade, and how long a
/// test of 604 days takes with families that learn.
fn errors(days: &Dataset, every_day: &Dataset) -> Result<()> {
    println!("\nClosing prices since 2013: 12 symbols, one step, sMAPE %\n");
    let learning = vec![
        Family::Theta,
        Family::PooledAutoregression,
        Family::GradientBoosting,
        Family::RandomForest,
        Family::Lstm,
    ];
    for (what, data, candidates, origins) in [
        ("days with trade", days, vec![], 43),
        ("every day", every_day, vec![], 61),
        ("604 days with trade, 8 families", days, learning, 604),
    ] {
        let started = Instant::now();
        let mut spec = spec("stocks", data.frequency(), 1);
        (spec.model.kind, spec.model.candidates) = (Kind::Of(Family::LastValue), Some(candidates));
        spec.backtest = Backtest { origins, stride: Some(1), refit: false, ..Backtest::default() };
        let found = Artifact::train(data, &spec, &Stage::new(&Quiet))?.card.section.backtest;
        let seconds = started.elapsed().as_secs_f64();
        let (smape, cases) = (found.model.smape, found.cases);
        println!("{what:<36}{smape:>9.3}{cases:>9} forecasts{seconds:>9.1} s");
        for other in found.candidates.iter().filter(|_| origins == 604) {
            println!("  {:<34}{:>9.3}", other.family.name(), other.errors.smape);
        }
    }
    Ok(())
}

/// Intervals of the last value, as wide as its changes were all the time or as they are now: made
/// on all days but the last ones, and held against those, day by day, without being made anew.
fn intervals(days: &Dataset) -> Result<()> {
    println!("\nThe last value's 90 % intervals on the last {DAYS} days with trade, unseen\n");
    println!(
        "{:<24}{:>8}{:>12}{:>24}",
        "width follows", "MSIS", "inside, %", "least, most per symbol"
    );
    for (name, width) in [("changes", Width::Changes), ("volatility", Width::Volatility)] {
        let mut spec = spec("stocks", days.frequency(), 1);
        (spec.model.kind, spec.model.candidates) = (Kind::Of(Family::LastValue), Some(vec![]));
        spec.backtest = Backtest {
            origins: DAYS,
            stride: Some(1),
            refit: false,
            interval_level: LEVEL,
            interval_width: width,
        };
        let newest = days.last() - DAYS as i64;
        let artifact = Artifact::train(&days.until(newest), &spec, &Stage::new(&Quiet))?;
        let judged = days.series().iter().map(|series| judge(&artifact, series, newest));
        let judged = judged.collect::<Result<Vec<IntervalScores>>>()?;
        let covers = || judged.iter().map(|of| 100.0 * of.coverage);
        let (least, most) = (covers().fold(f64::INFINITY, f64::min), covers().fold(0.0, f64::max));
        let (msis, inside) = (mean(judged.iter().map(|of| of.msis)), mean(covers()));
        println!("{name:<24}{msis:>8.2}{inside:>12.1}{least:>16.1}{most:>8.1}");
    }
    Ok(())
}

fn judge(artifact: &Artifact, series: &Series, newest: i64) -> Result<IntervalScores> {
    let naive_scale = naive_scale(series.until(newest).history(), 1);
    let outcome = |day: i64| {
        let view = series.until(day);
        let prediction = &artifact.forecast(&[view], 1)[0];
        let calibration = artifact.calibration_of(prediction);
        let (lower, upper) = calibration.interval(&prediction.steps[0].spread);
        let actual = series.until(day + 1).history()[view.len()];
        IntervalOutcome { lower, upper, actual, naive_scale, quantiles: vec![] }
    };
    interval_scores(LEVEL, (newest..series.last()).map(outcome)).ok_or("no day".into())
}
