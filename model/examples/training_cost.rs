//! What training costs: one network of a given shape, and how the cost grows with the number of
//! series.
//!
//! `training_cost speed` prints `windows epochs seconds` of one network (24 steps, 4 features,
//! hidden 64,
//! 36 outputs, batch 64), for comparison with a peer of the same shape. `training_cost growth`
//! prints `series windows seconds` of backtest, training and forecasts for 100, 1,000 and 10,000
//! series. `training_cost panel` has all families of the field compete on 10,000 monthly series
//! and prints `series seconds`; after it stand names of families, where not all are wanted.

#![expect(clippy::disallowed_macros, reason = "its table is the result")]

use std::time::Instant;

use steppe_model::families::Model;
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset, Series};
use steppe_spec::{Backtest, Family, Frequency, Kind, Lstm, TrainSpec, Trees};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("speed") => {
            let (data, spec) = (data(200, 148), spec(64, 5));
            let windows = 200 * (148 - 25 - 12 + 1);
            // The first epochs of a process run on cold caches; users wait for whole trainings.
            let started = Instant::now();
            Model::fit(Family::Lstm, &data, &spec, &Stage::new(&Quiet))?;
            println!("{windows} {} {:.3}", spec.model.lstm.epochs, started.elapsed().as_secs_f64());
        }
        Some("growth") => {
            for series in [100, 1_000, 10_000] {
                let (data, spec) = (data(series, 84), spec(16, 1));
                let started = Instant::now();
                let artifact = Artifact::train(&data, &spec, &Stage::new(&Quiet))?;
                let views: Vec<_> = data.series().iter().map(Series::view).collect();
                let forecasts = artifact.forecast(&views, spec.task.horizon);
                println!(
                    "{} {} {:.3}",
                    forecasts.len(),
                    series * (84 - 25 - 12 + 1),
                    started.elapsed().as_secs_f64()
                );
            }
        }
        Some("panel") => {
            let named = |name: String| serde_json::from_value(serde_json::Value::String(name));
            let families = std::env::args().skip(2).map(named).collect::<Result<Vec<_>, _>>()?;
            let (data, spec) = (data(10_000, 84), field(families));
            let started = Instant::now();
            let artifact = Artifact::train(&data, &spec, &Stage::new(&Quiet))?;
            let views: Vec<_> = data.series().iter().map(Series::view).collect();
            let forecasts = artifact.forecast(&views, spec.task.horizon);
            println!("{} {:.1}", forecasts.len(), started.elapsed().as_secs_f64());
        }
        _ => return Err("usage: training_cost speed | growth | panel [FAMILY]...".into()),
    }
    Ok(())
}

fn data(series: usize, length: u32) -> Dataset {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut one = |s: usize| {
        let level = 100.0 * (s % 50 + 1) as f64;
        let value = |t: u32| {
            let season = 1.0 + 0.2 * (std::f64::consts::TAU * f64::from(t % 12) / 12.0).sin();
            level * season * (1.0 + 0.004 * f64::from(t)) * (1.0 + 0.05 * (rng.f64() - 0.5))
        };
        Series::new(format!("s{s:05}"), 2010 * 12, (0..length).map(value).collect())
    };
    Dataset::new(Frequency::Monthly, (0..series).map(&mut one).collect())
}

fn spec(hidden: usize, epochs: usize) -> TrainSpec {
    TrainSpec::forecast("bench", ["series", "time", "value"]).with(|s| {
        s.task.set_frequency(Frequency::Monthly);
        s.model.kind = Kind::Of(Family::Lstm);
        s.model.candidates = Some(vec![]);
        s.task.horizon = 12;
        s.model.lstm = Lstm {
            context: 24,
            hidden,
            epochs,
            members: 1,
            learning_rate: 0.003,
            weight_decay: 0.01,
            batch: 64,
            ..Lstm::default()
        };
        s.model.trees = Trees { rounds: 20, depth: 3, learning_rate: 0.1, rows_max: 1_000 };
        s.backtest = Backtest { origins: 2, stride: Some(1), refit: false, ..Backtest::default() };
    })
}

/// What a manifest has that says nothing of models, with these families or with all that compete
/// unasked.
fn field(families: Vec<Family>) -> TrainSpec {
    TrainSpec::forecast("bench", ["series", "time", "value"]).with(|s| {
        s.task.set_frequency(Frequency::Monthly);
        s.task.horizon = 12;
        s.model.candidates = (!families.is_empty()).then_some(families);
    })
}
