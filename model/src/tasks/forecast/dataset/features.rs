//! The features of a series: what is known of which period.
//!
//! A past feature goes as far as the target, and a missing value of it is the one before; one that
//! is known ahead has a value for every period, those to come among them.

use std::collections::BTreeMap;

use super::records::Told;
use super::{DataError, Dataset, FeatureValues, Note, Series};
use steppe_spec::{Ended, Feature, TrainSpec};

/// The features of every period from the first value on.
pub(super) fn of_series(
    series: &Series,
    periods: &BTreeMap<i64, Told>,
    spec: &TrainSpec,
    notes: &mut Vec<Note>,
) -> Result<Vec<FeatureValues>, DataError> {
    let known_until = periods.keys().next_back().copied().unwrap_or(series.start);
    let of = |(number, feature): (usize, &Feature)| {
        let ahead = feature.known.ahead();
        let last = if ahead { known_until } else { series.last() };
        let (mut values, mut carried): (Vec<f64>, usize) = (Vec::new(), 0);
        for period in series.start..=last {
            let told = periods.get(&period).map(|told| told.features[number]);
            let value = match (told, values.last()) {
                (Some(value), _) if value.is_finite() => value,
                (Some(_), Some(before)) if !ahead => {
                    carried += 1;
                    *before
                }
                // A filled observation keeps the features of the period before; the future has no
                // gaps.
                (None, Some(before)) if period < series.last() => *before,
                (None, _) => break,
                (Some(_), _) => return Err(missing(series, feature, period, "", None)),
            };
            values.push(value);
        }
        if carried > 0 {
            Note::carried(notes, &feature.column, carried);
        }
        Ok(FeatureValues::new(feature.known, values))
    };
    spec.task.features.iter().enumerate().map(of).collect()
}

/// Refuses data in which a period that is forecast lacks a feature that is known ahead: a forecast
/// without it would be as wrong as it looks right.
pub(super) fn check_ahead(data: &Dataset, spec: &TrainSpec) -> Result<(), DataError> {
    let left_out = |series: &Series| spec.gaps.ended == Ended::LeaveOut && data.has_ended(series);
    for series in data.series().iter().filter(|series| !left_out(series)) {
        for (feature, FeatureValues { known, values }) in
            spec.task.features.iter().zip(&series.features)
        {
            if known.ahead() && values.len() < series.values.len() + spec.task.horizon {
                let period = series.start + values.len() as i64;
                return Err(missing(series, feature, period, TO_COME, Some(HINT)));
            }
        }
    }
    Ok(())
}

const TO_COME: &str = ", which is forecast";
const HINT: &str = "records of periods to come have the feature and no target; one that is not \
                    known before is `known = \"past\"`";

fn missing(
    series: &Series,
    feature: &Feature,
    period: i64,
    why: &'static str,
    hint: Option<&'static str>,
) -> DataError {
    DataError::Feature {
        series: series.name.clone(),
        feature: feature.column.clone(),
        period: series.calendar.label(period),
        why,
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::{Record, lines};
    use crate::training_key::tests::spec;
    use jiff::civil::Date;
    use steppe_spec::Known;

    fn record(year: i16, value: Option<f64>, warmth: f64) -> Record {
        Record {
            series: "A".into(),
            moment: Date::constant(year, 1, 1).at(0, 0, 0, 0),
            value,
            features: vec![warmth],
            statics: vec![],
        }
    }

    fn read(known: Known, rows: &[Record]) -> Result<Dataset, String> {
        let spec = spec().with(|s| s.task.features = vec![Feature::new("warmth", known)]);
        Dataset::from_records(rows.to_vec(), &spec)
            .map_err(|error| [error.to_string()].into_iter().chain(error.hint().map(str::to_owned)))
            .map_err(|told| told.collect::<Vec<_>>().join("; "))
    }

    fn warmth(data: &Dataset) -> &[f64] {
        &data.series()[0].features[0].values
    }

    #[test]
    fn what_is_known_ahead_reaches_as_far_as_is_forecast() {
        let known = [record(2000, Some(1.0), 5.0), record(2001, Some(2.0), 6.0)];
        let to_come = [record(2002, None, 7.0), record(2003, None, 8.0)];
        let rows = [&known[..], &to_come].concat();
        for known in [Known::Forecast, Known::Always] {
            let data = read(known, &rows).expect("valid");
            assert_eq!((data.rows(), warmth(&data)), (2, [5.0, 6.0, 7.0, 8.0].as_slice()));
            let seen = data.series()[0].until(2000).features(0, 2).collect::<Vec<_>>();
            assert_eq!(seen, [7.0]);
        }
        let error = read(Known::Always, &rows[..3]).expect_err("too short");
        let expected =
            "series `A` has no value of the feature `warmth` for 2003, which is forecast";
        assert_eq!(error, format!("{expected}; {HINT}"));
        let unknown = [known[0].clone(), record(2001, Some(2.0), f64::NAN)];
        let error = read(Known::Forecast, &unknown).expect_err("unknown");
        assert_eq!(error, "series `A` has no value of the feature `warmth` for 2001");
    }

    #[test]
    fn what_is_past_ends_with_the_target_and_is_carried_over_what_is_missing() {
        let rows = [
            record(2000, Some(1.0), 5.0),
            record(2001, Some(2.0), f64::NAN),
            record(2002, Some(2.0), 7.0),
            record(2003, None, 8.0),
        ];
        let data = read(Known::Past, &rows).expect("valid");
        assert_eq!(warmth(&data), [5.0, 5.0, 7.0]);
        assert_eq!(
            lines(data.notes()),
            [
                "1 missing values of the feature `warmth`, in 1 series, are filled by the value before"
            ]
        );
        let series = &data.series()[0];
        let seen =
            |until| series.until(until).features(0, 2).chain(series.until(until).features(2, 0));
        assert_eq!(seen(2001).collect::<Vec<_>>(), [5.0, 5.0], "nothing after the end");
        assert_eq!(data.until(2001).series()[0].features[0].values, [5.0, 5.0]);
        let late = [record(2000, Some(1.0), f64::NAN), record(2001, Some(2.0), 6.0)];
        let error = read(Known::Past, &late).expect_err("unknown");
        assert_eq!(error, "series `A` has no value of the feature `warmth` for 2000");
    }
}
