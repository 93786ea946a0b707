//! Features, holidays and decisions, from a data set to the forecast of an artifact that was read.

use jiff::civil::{Date, date};
use steppe_model::forecast::PredictedStep;
use steppe_model::forecast::dataset::{FeatureValues, View};
use steppe_model::host::{Quiet, Stage};
use steppe_model::task::Data;
use steppe_model::{Artifact, Calendar, Dataset, Series};
use steppe_spec::{
    Backtest, Decide, Family, Feature, Frequency, Holidays, Kind, Known, TrainSpec, Training,
    Transform, Trees,
};

const DAYS: usize = 220;
const HORIZON: usize = 3;

/// Every tenth day, and the second one to come.
fn holidays() -> Vec<Date> {
    let calendar = Calendar::of(Frequency::Daily);
    let past = (1..DAYS).filter(|at| at % 10 == 9);
    past.chain([DAYS + 1]).map(|at| calendar.day(start() + at as i64)).collect()
}

fn start() -> i64 {
    Calendar::of(Frequency::Daily).parse("2024-01-01").expect("a day")
}

/// Loads of days that rise with heat and fall on holidays, with errors of chance; of one series
/// there are too few.
fn data() -> Dataset {
    let mut rng = fastrand::Rng::with_seed(12);
    let closed = holidays();
    let calendar = Calendar::of(Frequency::Daily);
    let mut series = |number: usize| {
        let heat: Vec<f64> = (0..DAYS + HORIZON).map(|_| 10.0 * rng.f64()).collect();
        let mut value = |at: usize| {
            let quiet = closed.contains(&calendar.day(start() + at as i64));
            let closed = if quiet { -30.0 } else { 0.0 };
            let error: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
            200.0 + 3.0 * heat[at] + closed + [0.0, 2.0, 4.0, 3.0, 8.0, -9.0, -9.0][at % 7] + error
        };
        let values: Vec<f64> = (0..DAYS).map(&mut value).collect();
        let from = if number == 3 { DAYS - 12 } else { 0 };
        Series {
            features: vec![FeatureValues::new(Known::Forecast, heat[from..].to_vec())],
            ..Series::new(format!("s{number}"), start() + from as i64, values[from..].to_vec())
        }
    };
    Dataset::new(Frequency::Daily, (0..4).map(&mut series).collect())
}

fn spec(family: Family) -> TrainSpec {
    TrainSpec::forecast("features", ["s", "t", "v"]).with(|s| {
        s.task.set_frequency(Frequency::Daily);
        s.task.features = vec![Feature::new("heat", Known::Forecast)];
        s.task.holidays = Holidays::Table("closed".into());
        s.task.horizon = HORIZON;
        s.model.kind = Kind::Of(family);
        s.model.candidates = Some(vec![]);
        s.model.transform = Transform::None;
        s.backtest = Backtest { origins: 40, stride: Some(3), refit: false, ..Backtest::default() };
        s.model.trees = Trees { rounds: 60, depth: 3, ..Trees::default() };
    })
}

fn train(data: &Dataset, spec: &TrainSpec) -> Artifact {
    let trained = Artifact::train(data, spec, &Stage::new(&Quiet)).expect("trains");
    let (card, weights) = (trained.card_bytes.clone(), trained.weights_bytes.clone());
    Artifact::load(card, weights, &trained.pointer()).expect("loads")
}

fn steps(artifact: &Artifact, data: &Dataset) -> Vec<Vec<PredictedStep>> {
    let views: Vec<View<'_>> = data.series().iter().map(Series::view).collect();
    artifact.forecast(&views, HORIZON).into_iter().map(|prediction| prediction.steps).collect()
}

#[test]
fn an_artifact_knows_the_holidays_to_come_of_a_table() {
    let (plain, closed) = (data(), data().with_holidays(&holidays()));
    assert_ne!(plain.fingerprint(), closed.fingerprint());
    let families =
        [(Family::Linear, 8.0), (Family::GradientBoosting, 20.0), (Family::RandomForest, 20.0)];
    for (family, within) in families {
        knows_holidays(&train(&closed, &spec(family)), &plain, within);
    }
}

fn knows_holidays(artifact: &Artifact, plain: &Dataset, within: f64) {
    let kept: Vec<Date> = artifact.card.section.data.calendar.holidays().collect();
    assert_eq!(kept, holidays());
    assert!(kept.last().is_some_and(|day| *day > date(2024, 8, 7)), "{kept:?}");
    // A table that is read again has no holidays of its own: those of the artifact are put in.
    let read_again = data().with_holidays(&kept);
    let (with, without) = (steps(artifact, &read_again), steps(artifact, plain));
    for (with, without) in with.iter().zip(&without).take(3) {
        let less = without[1].value - with[1].value;
        assert!((less - 30.0).abs() < within, "{less} less on a holiday");
    }
    let text = artifact.card.to_text("VERSION");
    assert!(text.contains("took `heat` from the table as if it had been forecast"), "{text}");
}

#[test]
fn a_quantile_to_decide_by_goes_all_the_way_and_costs_less_than_the_point() {
    let data = data().with_holidays(&holidays());
    for family in [Family::Linear, Family::SeasonalNaive] {
        let plain = spec(family);
        let deciding = plain.clone().with(|s| {
            s.task.decide = Some(Decide { short: 3.0, over: 1.0 });
        });
        assert!(plain.reads_like(&deciding), "it is about answers");
        let artifact = train(&data, &deciding);
        for step in steps(&artifact, &data).iter().flatten() {
            let procure = step.procure.expect("something is decided");
            assert!(step.value <= procure && procure <= step.upper, "{step:?}");
        }
        let decision = artifact.card.section.backtest.decision.expect("something is decided");
        assert_eq!(decision.probability, 0.75);
        assert!((decision.covered - 0.75).abs() < 0.08, "{decision:?}");
        assert!(decision.pinball < 0.95 * decision.pinball_of_point, "{decision:?}");
        let text = artifact.card.to_text("VERSION");
        assert!(text.contains("\nprocure    the quantile 0.75, "), "{text}");
        let without = train(&data, &plain);
        assert_eq!(without.card.section.backtest.decision, None);
        assert!(steps(&without, &data).iter().flatten().all(|step| step.procure.is_none()));
        // Whoever changes the costs on a card does not get another quantile.
        let cheap = String::from_utf8(without.card_bytes.clone()).expect("UTF-8");
        let cheap = cheap.replacen(
            "\"horizon\": 3",
            "\"decide\": { \"short\": 2.0, \"over\": 3.0 }, \"horizon\": 3",
            1,
        );
        let card = serde_json::from_str::<steppe_model::ModelCard>(&cheap).expect("a card");
        let refused = card.check().expect_err("refused");
        assert!(refused.contains("lacks the quantile to decide by"), "{refused}");
    }
}
