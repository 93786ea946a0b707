//! Observations that a request brings along, checked and turned into series.

use std::collections::BTreeMap;

use steppe_model::dataset::{self, GAP_MAX, Series};
use steppe_model::{Frequency, TrainSpec};
use steppe_wire::predict::History;

use crate::problems::RequestError;

/// The series of `history`, or what is wrong with it. Gaps of at most [`GAP_MAX`] values between
/// two known ones are filled by a straight line, as in data sets, and counted.
pub fn series(history: History, spec: &TrainSpec, horizon: usize) -> Result<Series, RequestError> {
    let bad = |reason: String| RequestError::BadHistory { series: history.series.clone(), reason };
    let last = period(spec.frequency, &history.observed_until).map_err(bad)?;
    let (values, repaired) = filled(&history.values, spec.transform.signed()).map_err(bad)?;
    let start = last + 1 - values.len() as i64;
    let covariates = columns(&spec.covariates, &history.covariates, "covariates").map_err(bad)?;
    let needed = values.len() + horizon;
    for (name, column) in spec.covariates.iter().zip(&covariates) {
        if column.len() != needed {
            let reason = format!(
                "the covariate `{name}` has {} values; {} observations and {horizon} steps need {needed}",
                column.len(),
                values.len()
            );
            return Err(bad(reason));
        }
        if let Some(value) = column.iter().find(|v| !v.is_finite()) {
            return Err(bad(format!("the covariate `{name}` has the value {value}")));
        }
    }
    let statics =
        columns(&spec.statics, &history.static_features, "static_features").map_err(bad)?;
    let covariates = covariates.into_iter().cloned().collect();
    Ok(Series {
        name: history.series,
        start,
        values,
        covariates,
        statics: statics.into_iter().copied().collect(),
        repaired,
    })
}

fn period(frequency: Frequency, text: &str) -> Result<i64, String> {
    frequency.parse(text).ok_or_else(|| {
        let example = frequency.label(frequency.of(jiff::civil::date(2024, 1, 1).at(0, 0, 0, 0)).unwrap_or(0));
        format!("`observed_until` is `{text}`, which names no {} period; expected for example `{example}`", frequency.name())
    })
}

fn filled(values: &[Option<f64>], signed: bool) -> Result<(Vec<f64>, usize), String> {
    let wrong = |v: &f64| !v.is_finite() || (*v < 0.0 && !signed);
    if let Some((at, value)) =
        values.iter().enumerate().find_map(|(i, v)| Some((i, v.filter(wrong)?)))
    {
        let sign = if signed { "" } else { " that is not negative" };
        return Err(format!("value {} is {value}; expected a finite number{sign}", at + 1));
    }
    let ends_known = values.last().is_some_and(Option::is_some);
    let mut known =
        values.iter().enumerate().filter_map(|(place, value)| Some((place as i64, (*value)?)));
    match known.next().filter(|(place, _)| *place == 0 && ends_known) {
        Some(first) => dataset::filled(first, known).map_err(|gap| {
            format!(
                "{} values are missing from value {} on; at most {GAP_MAX} are filled",
                gap.missing,
                gap.from + 1
            )
        }),
        None => Err("the first and the last value must be known".to_owned()),
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
    use super::*;

    #[test]
    fn gaps_are_filled_up_to_a_limit_and_never_at_the_ends() {
        let fill = |values: &[Option<f64>]| filled(values, false);
        assert_eq!(fill(&[Some(1.0), None, None, Some(4.0)]), Ok((vec![1.0, 2.0, 3.0, 4.0], 2)));
        assert!(
            fill(&[Some(1.0), None, None, None, None, Some(4.0)])
                .expect_err("too long")
                .contains("4 values are missing from value 2 on")
        );
        assert!(
            fill(&[Some(1.0), None]).is_err()
                && fill(&[None, Some(1.0)]).is_err()
                && fill(&[]).is_err()
        );
        assert!(fill(&[Some(1.0), Some(-2.0)]).expect_err("negative").starts_with("value 2 is -2"));
        assert_eq!(filled(&[Some(-2.0)], true), Ok((vec![-2.0], 0)));
    }
}
