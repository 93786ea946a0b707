//! Checks that the answer does not reach a forecast by another way: by a feature that is the
//! target in disguise, or from values after its origin, the target's or a past feature's.

use crate::error::TrainError;
use crate::families::Model;
use crate::forecast::Forecaster;
use crate::forecast::dataset::{Dataset, FeatureValues, Fill};
use crate::host::{Quiet, Stage};
use steppe_spec::{Family, TrainSpec};

/// Correlation with the target from which a feature counts as the target in disguise.
const CORRELATION_MAX: f64 = 0.999;
/// Values of a series from which its correlations are looked at.
const VALUES_MIN: usize = 8;

/// Refuses features known ahead that are a function of the target in the same period: one that
/// follows it exactly within each series, or two whose product or ratio does, such as a daily mean
/// and a count of readings beside a daily sum. A past feature may: no model sees it in time.
pub fn check_data(data: &Dataset, spec: &TrainSpec) -> Result<(), TrainError> {
    let name = |i: usize| &spec.task.features[i].column;
    let ahead: Vec<usize> = (0..spec.task.features.len())
        .filter(|number| spec.task.features[*number].known.ahead())
        .collect();
    for &i in &ahead {
        if follows(data, |features, at| features[i].values[at]) {
            return Err(TrainError::Leak(format!(
                "the feature `{}` follows `{}` in the same period; drop it, or say that it is \
                 `known = \"past\"`",
                name(i),
                spec.task.target
            )));
        }
        for &j in &ahead {
            let of_both = |f: fn(f64, f64) -> f64| {
                follows(data, |features, at| f(features[i].values[at], features[j].values[at]))
            };
            let (product, ratio) =
                (j < i && of_both(|a, b| a * b), j != i && of_both(|a, b| a / b));
            if product || ratio {
                let sign = if product { "×" } else { "÷" };
                return Err(TrainError::Leak(format!(
                    "`{}` {sign} `{}` follows `{}` in the same period; drop one of the two",
                    name(i),
                    name(j),
                    spec.task.target
                )));
            }
        }
    }
    Ok(())
}

/// Whether a function of the features follows the target's changes in the typical series.
fn follows(data: &Dataset, feature: impl Fn(&[FeatureValues], usize) -> f64) -> bool {
    let mut correlations: Vec<f64> = Vec::new();
    for series in data.series().iter().filter(|s| s.values.len() >= VALUES_MIN) {
        // Changes, not levels: two trends follow each other without one being the other.
        let known: Vec<f64> =
            (0..series.values.len()).map(|at| feature(&series.features, at)).collect();
        correlations.push(correlation(&changes(&known), &changes(&series.values)));
    }
    correlations.sort_by(f64::total_cmp);
    let middle = correlations.get(correlations.len() / 2).copied().unwrap_or(0.0);
    middle.is_finite() && middle.abs() > CORRELATION_MAX
}

fn changes(values: &[f64]) -> Vec<f64> {
    values.windows(2).map(|w| w[1] - w[0]).collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum::<f64>();
    let scale = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    if scale > 0.0 { sum(&|x, y| x * y) / scale } else { 0.0 }
}

/// The newest origin, and the newest one that lies inside of a gap: a history that ends there must
/// not know what came after the gap.
pub(super) fn origins(data: &Dataset, spec: &TrainSpec) -> Vec<i64> {
    let newest = data.last() - spec.task.horizon as i64;
    let filled = data
        .series()
        .iter()
        .flat_map(|series| series.filled.iter().map(|place| series.start + *place as i64));
    let inside = filled.filter(|period| *period < newest).max();
    std::iter::once(newest).chain(inside).collect()
}

/// The data as they were and with everything after `origin` scrambled, gaps filled after that.
pub(super) fn scrambled(
    data: &Dataset,
    spec: &TrainSpec,
    origin: i64,
    fill: Fill,
) -> (Dataset, Dataset) {
    let mut rng = fastrand::Rng::with_seed(spec.model.seed);
    let as_it_was = data.changed_after(origin, fill, |value| value);
    let other = data.changed_after(origin, fill, |value| value * (0.25 + 4.0 * rng.f64()) + 1.0);
    (as_it_was, other)
}

/// What a family that is fitted on what was known at `origin` forecasts from there.
pub(super) fn forecast_from(
    data: &Dataset,
    origin: i64,
    family: Family,
    spec: &TrainSpec,
) -> Result<Vec<Vec<f64>>, TrainError> {
    let model = Model::fit(family, &data.until(origin), spec, &Stage::new(&Quiet))?;
    let views: Vec<_> = data
        .series()
        .iter()
        .map(|s| s.until(origin))
        .filter(|v| v.len() >= model.min_history() && v.last() == origin)
        .collect();
    Ok(model.forecast(&views, spec.task.horizon))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Forecast;
    use crate::forecast::dataset::{Series, carried};
    use crate::leaks;
    use crate::training_key::tests::spec;
    use steppe_spec::{Does, Feature, Known};

    /// Twenty values that wander, with the given functions of them as features.
    fn data(known: Known, features: &[fn(f64, f64) -> f64]) -> Dataset {
        let mut rng = fastrand::Rng::with_seed(4);
        let values: Vec<f64> = (0..20).map(|_| 50.0 + 20.0 * rng.f64()).collect();
        let noise: Vec<f64> = (0..22).map(|_| 1.0 + rng.f64()).collect();
        let len = if known.ahead() { 22 } else { 20 };
        let column = |f: &fn(f64, f64) -> f64| {
            FeatureValues::new(known, (0..len).map(|i| f(values[i.min(19)], noise[i])).collect())
        };
        let features = features.iter().map(column).collect();
        Dataset::new(
            steppe_spec::Frequency::Yearly,
            vec![Series { features, ..Series::new("A", 2000, values) }],
        )
    }

    fn message(known: Known, features: &[fn(f64, f64) -> f64]) -> Option<String> {
        let names = &["first", "second"][..features.len()];
        let declared = names.iter().map(|name| Feature::new(name, known)).collect();
        let spec = spec().with(|s| s.task.features = declared);
        check_data(&data(known, features), &spec).err().map(|e| e.to_string())
    }

    #[test]
    fn a_feature_that_is_the_target_in_disguise_is_refused_unless_it_is_past() {
        let ahead = |features: &[fn(f64, f64) -> f64]| message(Known::Forecast, features);
        assert_eq!(message(Known::Past, &[|y, _| 3.0 * y - 1.0]), None);
        assert_eq!(ahead(&[|_, noise| noise]), None);
        assert_eq!(ahead(&[|y, noise| y + 20.0 * noise]), None);
        assert!(
            ahead(&[|y, _| 3.0 * y - 1.0])
                .expect("a leak")
                .contains("the feature `first` follows `v` in the same period")
        );
        assert!(
            ahead(&[|y, noise| y / noise, |_, noise| noise])
                .expect("a leak")
                .contains("`second` × `first` follows `v`")
        );
    }

    #[test]
    fn no_family_sees_the_future() {
        for known in [Known::Past, Known::Forecast] {
            let data = data(known, &[|_, noise| noise]);
            let spec = spec().with(|s| s.task.features = vec![Feature::new("noise", known)]);
            let families: Vec<Family> = Family::that(Does::Series).collect();
            let checked = leaks::check::<Forecast>(&data, &spec, &families).expect("no leak");
            assert_eq!(checked, families);
        }
    }

    #[test]
    fn a_family_that_has_too_little_is_not_looked_at() {
        let long = spec().with(|s| s.model.lstm.context = 30);
        let families = [Family::LastValue, Family::Lstm, Family::Drift];
        let checked = leaks::check::<Forecast>(&data(Known::Past, &[]), &long, &families);
        assert_eq!(checked.expect("no leak"), [Family::LastValue, Family::Drift]);
    }

    #[test]
    fn a_family_that_reads_a_past_feature_of_the_period_it_forecasts_is_found() {
        let data = data(Known::Past, &[|_, noise| noise]);
        let spec = spec().with(|s| s.task.features = vec![Feature::new("noise", Known::Past)]);
        let origin = origins(&data, &spec)[0];
        let (mut was, mut other) = scrambled(&data, &spec, origin, carried);
        let families = [Family::GradientBoosting, Family::RandomForest, Family::Lstm];
        let told = |pair: &(Dataset, Dataset)| {
            leaks::compare::<Forecast>(pair, origin, &spec, &families).map_err(|e| e.to_string())
        };
        assert_eq!(told(&(was.clone(), other.clone())), Ok(()));
        // Said to be known ahead, it is shown to families for the periods that they forecast.
        for data in [&mut was, &mut other] {
            let series = Series {
                features: vec![FeatureValues {
                    known: Known::Forecast,
                    ..data.series()[0].features[0].clone()
                }],
                ..data.series()[0].clone()
            };
            *data = Dataset::new(data.frequency(), vec![series]);
        }
        let error = told(&(was, other)).expect_err("a leak");
        assert!(error.contains("changes with values after its origin"), "{error}");
    }

    /// What gaps were once filled with: a line to the next value.
    fn line(before: (i64, f64), after: (i64, f64), at: i64) -> f64 {
        let share = (at - before.0) as f64 / (after.0 - before.0) as f64;
        before.1 + (after.1 - before.1) * share
    }

    #[test]
    fn a_gap_that_is_filled_from_the_future_is_found() {
        let mut data = data(Known::Past, &[]);
        let series = Series { filled: vec![15, 16], ..data.series()[0].clone() };
        data = Dataset::new(steppe_spec::Frequency::Yearly, vec![series]);
        let families = [Family::LastValue, Family::Drift];
        leaks::check::<Forecast>(&data, &spec(), &families).expect("carried forward");
        let error = origins(&data, &spec()).into_iter().find_map(|origin| {
            let pair = scrambled(&data, &spec(), origin, line);
            leaks::compare::<Forecast>(&pair, origin, &spec(), &families).err()
        });
        let error = error.expect("a leak");
        assert!(error.to_string().contains("changes with values after its origin"), "{error}");
    }
}
