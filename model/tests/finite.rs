//! Every family has a number for whatever it may be asked, or is refused by its name.

use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset, Series};
use steppe_spec::{Backtest, Family, Frequency, Kind, Lstm, TrainSpec, Transform};

fn spec(frequency: Frequency, kind: Kind, transform: Transform) -> TrainSpec {
    TrainSpec::forecast("finite", ["s", "t", "v"]).with(|s| {
        s.task.set_frequency(frequency);
        s.task.horizon = 3;
        s.model.kind = kind;
        s.model.candidates = Some(vec![]);
        s.model.transform = transform;
        s.model.lstm = Lstm { context: 4, hidden: 4, epochs: 1, members: 1, ..Lstm::default() };
        s.backtest = Backtest { origins: 2, ..Backtest::default() };
    })
}

/// Counts with a season in whose low places nothing happens.
fn counts(frequency: Frequency, length: usize) -> Dataset {
    let mut rng = fastrand::Rng::with_seed(5);
    let season = frequency.season().max(4);
    let mut value = |t: usize| {
        let high = t % season >= season / 2;
        if high { (9.0 * rng.f64()).floor() } else { 0.0 }
    };
    let series =
        |s: usize| Series::new(format!("s{s}"), 2000, (0..length).map(&mut value).collect());
    Dataset::new(frequency, (0..6).map(series).collect())
}

#[test]
fn every_family_has_a_number_for_seasonal_counts_with_zeros() {
    let families = [
        Family::Theta,
        Family::ExponentialSmoothing,
        Family::Autoregression,
        Family::Arima,
        Family::DampedTrend,
        Family::LevelShape,
        Family::PooledAutoregression,
        Family::GradientBoosting,
        Family::RandomForest,
        Family::Lstm,
    ];
    for (frequency, length) in
        [(Frequency::Quarterly, 60), (Frequency::Monthly, 120), (Frequency::Daily, 90)]
    {
        let data = counts(frequency, length);
        for family in families {
            let spec = spec(frequency, Kind::Of(family), Transform::Log);
            let artifact = Artifact::train(&data, &spec, &Stage::new(&Quiet));
            let artifact = artifact.unwrap_or_else(|e| panic!("{family:?}, {frequency:?}: {e}"));
            let views: Vec<_> = data.series().iter().map(Series::view).collect();
            for forecast in artifact.forecast(&views, 3) {
                let steps = &forecast.steps;
                assert!(steps.iter().all(|step| step.value.is_finite()), "{family:?}: {steps:?}");
            }
        }
    }
}

#[test]
fn a_family_without_a_number_is_refused_by_name() {
    let wide = |t: usize| if t.is_multiple_of(2) { -1.5e308 } else { 1.5e308 };
    let series = Series::new("wide", 2000, (0..20).map(wide).collect());
    let data = Dataset::new(Frequency::Yearly, vec![series]);
    let spec = spec(Frequency::Yearly, Kind::Of(Family::LastValue), Transform::None);
    let error = Artifact::train(&data, &spec, &Stage::new(&Quiet)).expect_err("no number");
    let told = error.to_string();
    assert!(told.contains("`drift` says ") && told.contains(" for `wide`"), "{told}");
}
