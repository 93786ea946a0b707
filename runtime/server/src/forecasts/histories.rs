//! Observations that a request brings along, checked and turned into series.

use std::collections::BTreeMap;

use steppe_model::forecast::dataset::{FeatureValues, Series};
use steppe_model::{Calendar, ModelCard};
use steppe_spec::Feature;
use steppe_wire::predict::History;

use crate::problems::RequestError;

/// The series of `history`, or what is wrong with it. Gaps between two
/// known values are filled by the one before, as in data sets and as far as there, and counted.
pub fn series(history: History, card: &ModelCard, horizon: usize) -> Result<Series, RequestError> {
    let spec = &card.spec;
    let bad = |reason: String| RequestError::BadHistory { series: history.series.clone(), reason };
    let calendar = &card.section.data.calendar;
    let last = period(calendar, &history.observed_until).map_err(bad)?;
    let (values, filled) =
        filled(&history.values, spec.model.transform.signed(), spec.gaps.fill).map_err(bad)?;
    let start = last + 1 - values.len() as i64;
    let names: Vec<String> = spec.task.features.iter().map(|f| f.column.clone()).collect();
    let given = columns(&names, &history.features, "features").map_err(bad)?;
    let feature =
        |(feature, column): (&Feature, &Vec<f64>)| checked(feature, column, values.len(), horizon);
    let features = spec.task.features.iter().zip(given).map(feature);
    let features = features.collect::<Result<_, _>>().map_err(bad)?;
    let statics = columns(&spec.task.static_features, &history.static_features, "static_features")
        .map_err(bad)?;
    Ok(Series {
        name: history.series,
        start,
        values,
        features,
        statics: statics.into_iter().copied().collect(),
        filled,
        calendar: calendar.clone(),
    })
}

/// The values of a feature: one for each observation and, if it is known ahead, for each of the
/// steps to forecast.
fn checked(
    Feature { column: name, known }: &Feature,
    values: &[f64],
    observations: usize,
    horizon: usize,
) -> Result<FeatureValues, String> {
    let steps = if known.ahead() { horizon } else { 0 };
    let needed = observations + steps;
    if values.len() != needed {
        let ahead = if known.ahead() { format!(" and {steps} steps") } else { String::new() };
        return Err(format!(
            "the feature `{name}` has {} values; {observations} observations{ahead} need {needed}",
            values.len()
        ));
    }
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("the feature `{name}` has the value {value}")),
        None => Ok(FeatureValues::new(*known, values.to_vec())),
    }
}

fn period(calendar: &Calendar, text: &str) -> Result<i64, String> {
    calendar.parse(text).ok_or_else(|| {
        let (expected, example) = (calendar.expected(), calendar.example());
        format!("`observed_until` is `{text}`; expected {expected}, for example `{example}`")
    })
}

/// One value per period, and the places of those that were filled.
fn filled(
    values: &[Option<f64>],
    signed: bool,
    fill: usize,
) -> Result<(Vec<f64>, Vec<usize>), String> {
    let wrong = |v: &f64| !v.is_finite() || (*v < 0.0 && !signed);
    if let Some((at, value)) =
        values.iter().enumerate().find_map(|(i, v)| Some((i, v.filter(wrong)?)))
    {
        let sign = if signed { "" } else { " that is not negative" };
        return Err(format!("value {} is {value}; expected a finite number{sign}", at + 1));
    }
    let ends = [values.first(), values.last()];
    let (mut known, mut places) = (Vec::with_capacity(values.len()), Vec::new());
    for (place, value) in values.iter().enumerate() {
        let before = known.last().copied();
        match (value, before) {
            (Some(value), _) => known.push(*value),
            (None, Some(before)) => {
                places.push(place);
                known.push(before);
            }
            (None, None) => break,
        }
    }
    if !ends.into_iter().all(|end| end.is_some_and(Option::is_some)) {
        return Err("the first and the last value must be known".to_owned());
    }
    match values.split(Option::is_some).map(<[_]>::len).find(|missing| *missing > fill) {
        Some(missing) => {
            Err(format!("{missing} values in a row are missing; at most {fill} are filled"))
        }
        None => Ok((known, places)),
    }
}

/// The given columns in the order of `names`; one too few or too many is an error.
fn columns<'a, T>(
    names: &[String],
    given: &'a BTreeMap<String, T>,
    field: &str,
) -> Result<Vec<&'a T>, String> {
    if let Some(unknown) = given.keys().find(|k| !names.contains(k)) {
        return Err(format!("`{field}` has `{unknown}`, which the model does not know"));
    }
    names.iter().map(|n| given.get(n).ok_or_else(|| format!("`{field}` lacks `{n}`"))).collect()
}

#[cfg(test)]
mod tests {
    use steppe_spec::Known;

    use super::*;

    #[test]
    fn features_have_as_many_values_as_are_known_of_them() {
        let of = |known, values: &[f64]| checked(&Feature::new("heat", known), values, 3, 2);
        let five = [1.0, 2.0, 3.0, 4.0, 5.0];
        for (known, len) in [(Known::Past, 3), (Known::Forecast, 5), (Known::Always, 5)] {
            let values = of(known, &five[..len]).expect("as many as are known");
            assert_eq!(values, FeatureValues::new(known, five[..len].to_vec()));
        }
        let refused = |known, values: &[f64]| of(known, values).expect_err("refused");
        let expected = "the feature `heat` has 5 values; 3 observations need 3";
        assert_eq!(refused(Known::Past, &five), expected);
        let expected = "the feature `heat` has 3 values; 3 observations and 2 steps need 5";
        assert_eq!(refused(Known::Always, &five[..3]), expected);
        let nothing = refused(Known::Past, &[1.0, f64::NAN, 2.0]);
        assert_eq!(nothing, "the feature `heat` has the value NaN");
    }

    #[test]
    fn gaps_are_filled_up_to_a_limit_and_never_at_the_ends() {
        let fill = |values: &[Option<f64>]| filled(values, false, 3);
        let gap = [Some(1.0), None, None, Some(4.0)];
        assert_eq!(fill(&gap), Ok((vec![1.0, 1.0, 1.0, 4.0], vec![1, 2])));
        let long = [Some(1.0), None, None, None, None, Some(4.0)];
        assert_eq!(
            fill(&long).expect_err("too long"),
            "4 values in a row are missing; at most 3 are filled"
        );
        assert!(
            fill(&[Some(1.0), None]).is_err()
                && fill(&[None, Some(1.0)]).is_err()
                && fill(&[]).is_err()
        );
        assert!(fill(&[Some(1.0), Some(-2.0)]).expect_err("negative").starts_with("value 2 is -2"));
        assert_eq!(filled(&[Some(-2.0)], true, 3), Ok((vec![-2.0], vec![])));
    }
}
