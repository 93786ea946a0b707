//! What every family says about fixed data, number by number, beside what it said before.
//!
//! The files in `goldens/` hold every digit, so a change of the last bit is seen. Networks are
//! computed by kernels of the processor, whose sums differ in their last digits: on another
//! processor than the file's, numbers are compared with a tolerance. `EXPECTORATE=overwrite` writes
//! the files anew.

use std::fmt::Write;
use std::path::PathBuf;

use steppe_model::contest::retrain;
use steppe_model::drift::Tally;
use steppe_model::families::lstm::kernel::Cpu;
use steppe_model::forecast::Prediction;
use steppe_model::forecast::dataset::{FeatureValues, View};
use steppe_model::forecast::evaluation::evaluate;
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset, Series};
use steppe_spec::{
    Backtest, Does, Family, Feature, Frequency, Kind, Known, Lstm, TrainSpec, Transform, Trees,
};
use steppe_wire::registry::Scores;

/// Largest share by which a number may differ on another processor.
const TOLERANCE: f64 = 2e-3;

fn check(name: &str, text: String) {
    let cpu = Cpu::available().into_iter().last().map_or("none", Cpu::name);
    let text = format!("processor {cpu}\n{text}");
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/{name}.txt"));
    if std::env::var("EXPECTORATE").is_ok_and(|mode| mode == "overwrite") {
        std::fs::write(&file, text).expect("written");
        return;
    }
    let golden = std::fs::read_to_string(&file).expect("the golden file");
    let exact = golden.lines().next() == text.lines().next();
    let mut lines = golden.lines().zip(text.lines()).skip(1);
    let differs = lines.find(|(a, b)| if exact { a != b } else { !alike(a, b) });
    assert!(
        differs.is_none() && golden.lines().count() == text.lines().count(),
        "{}: {differs:?}; `EXPECTORATE=overwrite` accepts the new numbers",
        file.display()
    );
}

/// Whether two lines have the same words, and numbers that differ by rounding only.
fn alike(a: &str, b: &str) -> bool {
    let close = |(a, b): (&str, &str)| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(1.0),
        _ => a == b,
    };
    let (mut a, mut b) = (a.split(' '), b.split(' '));
    a.by_ref().zip(b.by_ref()).all(close) && a.next().is_none() && b.next().is_none()
}

/// A number between −1 and 1 that looks like chance and is the same everywhere.
fn noise(a: usize, b: usize) -> f64 {
    let mixed =
        (a as u64 * 7_919 + b as u64 * 104_729 + 12_345).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as f64 / (1u64 << 23) as f64 - 1.0
}

fn spec(frequency: Frequency, horizon: usize) -> TrainSpec {
    TrainSpec::forecast("golden", ["s", "t", "v"]).with(|s| {
        s.task.set_frequency(frequency);
        s.model.candidates = Some(vec![
            Family::Theta,
            Family::ExponentialSmoothing,
            Family::Autoregression,
            Family::PooledAutoregression,
            Family::GradientBoosting,
            Family::Lstm,
        ]);
        s.task.horizon = horizon;
        s.model.seed = 11;
        s.model.lstm = Lstm {
            context: 6,
            hidden: 5,
            epochs: 4,
            members: 2,
            learning_rate: 0.01,
            weight_decay: 1e-3,
            batch: 16,
            ..Lstm::default()
        };
        s.model.trees = Trees { rounds: 12, depth: 3, learning_rate: 0.1, rows_max: 10_000 };
        s.backtest = Backtest { origins: 4, stride: Some(1), ..Backtest::default() };
    })
}

/// Nine series of years, one of them too short for most models.
fn yearly(years: usize) -> Dataset {
    let value = |s: usize, t: usize| {
        200.0 * (s + 1) as f64 * (1.0 + 0.02 * (s as f64 - 3.0)).powi(t as i32)
            + 9.0 * (s + 1) as f64 * noise(s, t)
    };
    let values = |s: usize, from: usize| (from..years).map(|t| value(s, t)).collect::<Vec<_>>();
    let from = |s: usize| if s == 8 { years - 2 } else { 0 };
    let series = |s: usize| Series::new(format!("s{s}"), 2000 + from(s) as i64, values(s, from(s)));
    Dataset::new(Frequency::Yearly, (0..9).map(series).collect())
}

/// Four series of months with a season, a feature known ahead, a static feature, filled places
/// and values below zero.
fn monthly() -> Dataset {
    let series = |s: usize| {
        let heat = |t: usize| noise(s + 40, t);
        let season = |t: usize| (std::f64::consts::TAU * t as f64 / 12.0).sin();
        let value = |t: usize| {
            30.0 * season(t) + 12.0 * heat(t) + 0.2 * t as f64 * s as f64 + 3.0 * noise(s, t) - 5.0
        };
        let mut series = Series::new(format!("m{s}"), 24_000, (0..84).map(value).collect());
        series.features = vec![FeatureValues::new(Known::Always, (0..90).map(heat).collect())];
        series.statics = vec![s as f64];
        if s == 1 {
            series.filled = vec![40, 41];
            (series.values[40], series.values[41]) = (series.values[39], series.values[39]);
        }
        series
    };
    Dataset::new(Frequency::Monthly, (0..4).map(series).collect())
}

/// Two series of hours with a day and a week in them.
fn hourly() -> Dataset {
    let value = |s: usize, t: usize| {
        let day = (std::f64::consts::TAU * (t % 24) as f64 / 24.0).cos();
        let week = if t % 168 < 120 { 1.0 } else { 0.6 };
        (s + 1) as f64 * (50.0 + 20.0 * day) * week + 2.0 * noise(s, t)
    };
    let series =
        |s: usize| Series::new(format!("h{s}"), 470_000, (0..520).map(|t| value(s, t)).collect());
    Dataset::new(Frequency::Hourly, (0..2).map(series).collect())
}

fn train(data: &Dataset, spec: &TrainSpec) -> Artifact {
    let trained = Artifact::train(data, spec, &Stage::new(&Quiet)).expect("trains");
    let (card, weights) = (trained.card_bytes.clone(), trained.weights_bytes.clone());
    let loaded = Artifact::load(card, weights, &trained.pointer()).expect("loads");
    assert_eq!(loaded.model, trained.model);
    loaded
}

/// Everything that a model says about the data and about itself.
fn told(data: &Dataset, artifact: &Artifact, text: &mut String) {
    let card = &artifact.card;
    writeln!(text, "model {}", card.to_text("VERSION")).expect("a string");
    let test = &card.section.backtest;
    writeln!(text, "errors {:?}", test.model).expect("a string");
    for candidate in &test.candidates {
        let (errors, p) = (candidate.errors, candidate.p_value);
        writeln!(text, "{} {errors:?} {p:?}", candidate.family.name()).expect("a string");
    }
    writeln!(text, "intervals {:?}", test.intervals).expect("a string");
    writeln!(text, "weights {:?}", test.weights).expect("a string");
    let all: Vec<View<'_>> = data.series().iter().map(Series::view).collect();
    let long = |view: &&View<'_>| view.len() >= artifact.min_history();
    let views: Vec<View<'_>> = all.iter().filter(long).copied().collect();
    let mut tally = Tally::new(&card.reference);
    let predictions = artifact.forecast(&views, card.spec.task.horizon);
    for (view, prediction) in views.iter().zip(&predictions) {
        forecast(artifact, view, prediction, text);
        if let Some(observed) = artifact.observed(view.history(), prediction) {
            tally.add(&card.reference, &observed);
        }
    }
    for drift in tally.compare(&card.reference) {
        writeln!(text, "{drift:?}").expect("a string");
    }
}

fn forecast(artifact: &Artifact, view: &View<'_>, prediction: &Prediction, text: &mut String) {
    let (name, calibration) = (&view.series().name, artifact.calibration_of(prediction));
    for (step, p) in prediction.steps.iter().enumerate() {
        let quantiles = calibration.quantiles(&p.spread);
        let at = |i: usize| quantiles[i].1;
        let rule = if prediction.by_rule { " by rule" } else { "" };
        writeln!(
            text,
            "{name} {step} {:?} {:?} {:?} {:?} {:?}{rule}",
            p.value,
            p.lower,
            p.upper,
            at(0),
            at(quantiles.len() / 2)
        )
        .expect("a string");
    }
}

/// Every family alone, then whichever is best.
fn families(data: &Dataset, spec: &TrainSpec) -> String {
    let mut text = String::new();
    let alone = Family::that(Does::Series).filter(|family| *family != Family::Combination);
    for family in alone {
        let alone = spec.clone().with(|s| {
            s.model.kind = Kind::Of(family);
            s.model.candidates = Some(vec![]);
        });
        told(data, &train(data, &alone), &mut text);
    }
    for kind in [Kind::Of(Family::Combination), Kind::Auto] {
        told(data, &train(data, &spec.clone().with(|s| s.model.kind = kind)), &mut text);
    }
    text
}

#[test]
fn years_without_a_season() {
    check("yearly", families(&yearly(18), &spec(Frequency::Yearly, 2)));
}

#[test]
fn months_with_a_season_a_feature_and_gaps() {
    let mut spec = spec(Frequency::Monthly, 3);
    spec.task.features = vec![Feature::new("heat", Known::Always)];
    spec.task.static_features = vec!["size".into()];
    spec.model.transform = Transform::None;
    spec.model.lstm = Lstm { patience: Some(2), epoch_windows: 64, ..spec.model.lstm };
    spec.backtest =
        Backtest { refit: false, stride: Some(3), interval_level: 0.8, ..spec.backtest };
    check("monthly", families(&monthly(), &spec));
}

#[test]
fn hours_with_two_seasons() {
    let mut spec = spec(Frequency::Hourly, 5);
    spec.model.candidates.as_mut().expect("named").push(Family::LevelShape);
    spec.model.lstm = Lstm { context: 24, epochs: 1, members: 1, ..spec.model.lstm };
    spec.model.trees.rows_max = 300;
    spec.backtest = Backtest { origins: 3, stride: Some(24), refit: false, ..spec.backtest };
    let mut text = String::new();
    told(&hourly(), &train(&hourly(), &spec), &mut text);
    check("hourly", text);
}

#[test]
fn a_report_and_contests() {
    let (data, spec) = (yearly(18), spec(Frequency::Yearly, 2));
    let report = evaluate(&data, &spec, &Stage::new(&Quiet)).expect("evaluates");
    let mut text = report.to_text();
    for family in &report.families {
        let all = (&family.errors, &family.intervals, family.p_value);
        writeln!(text, "{} {all:?}", family.family.name()).expect("a string");
        for step in &family.by_step {
            writeln!(text, "{} {:?} {:?}", step.step, step.errors, step.intervals)
                .expect("a string");
        }
    }
    for series in &report.series {
        let numbers = (&series.errors, &series.intervals, &series.mase);
        writeln!(text, "{} {numbers:?}", series.series).expect("a string");
    }
    let pooled = spec.with(|s| {
        s.model.kind = Kind::Of(Family::PooledAutoregression);
        s.model.candidates = Some(vec![]);
    });
    let champion = train(&yearly(14), &pooled);
    let other = pooled.clone().with(|s| {
        s.model.kind = Kind::Auto;
        s.task.horizon = 1;
    });
    for (data, spec) in [(yearly(18), &pooled), (yearly(14), &other), (yearly(14), &pooled)] {
        let out = retrain(&data, spec, Some(&champion), &Stage::new(&Quiet)).expect("trains");
        writeln!(text, "better {} {}", out.better, out.reason).expect("a string");
        let Some(contest) = out.contest else { continue };
        let score = |scores: &Scores, name| scores.get(name).expect("a score");
        let sides = [contest.champion, contest.challenger]
            .map(|scores| (score(&scores, "MASE"), score(&scores, "coverage")));
        let about = (contest.basis, contest.origins, contest.cases, contest.p_value);
        writeln!(text, "{about:?} {sides:?}").expect("a string");
    }
    check("report", text);
}
