//! Where people should look, in words.

use super::{ColumnProfile, Shape, TableProfile};

/// Share of missing values from which on they are told.
const MISSING: f64 = 0.01;
/// Share of one value from which on it is told.
const ONE_VALUE: f64 = 0.95;
/// Correlation from which on it is told, and the fewest cases of which it is.
const STRONG: (f64, u64) = (0.95, 10);
/// Characters of a value in a note.
const VALUE_CHARACTERS: usize = 60;

/// All notes about a table.
pub fn notes(profile: &TableProfile) -> Vec<String> {
    if profile.records == 0 {
        return vec!["The table has no records.".to_owned()];
    }
    let mut notes = Vec::new();
    if let Some(repeated @ 1..) = profile.repeated_keys {
        let key = profile.key.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        notes.push(format!(
            "The key {} is not unique: {repeated} of its values {} in more than one record.",
            key.join(", "),
            if repeated == 1 { "is" } else { "are" }
        ));
    }
    notes.extend(profile.columns.iter().flat_map(|column| of_column(column, profile.records)));
    let pairs = profile.correlations.iter().flat_map(|found| &found.pairs);
    for pair in pairs {
        let Some(r) = pair.correlation.filter(|r| r.abs() > STRONG.0) else { continue };
        if pair.cases >= STRONG.1 {
            notes.push(format!(
                "`{}` and `{}` say nearly the same: correlation {r:.3} in {} records.",
                pair.a, pair.b, pair.cases
            ));
        }
    }
    notes
}

fn of_column(column: &ColumnProfile, records: u64) -> Vec<String> {
    let name = &column.column;
    if column.values == 0 {
        return vec![format!("`{name}` has no values.")];
    }
    let mut notes = Vec::new();
    if column.missing_share > MISSING {
        notes.push(format!(
            "`{name}` is missing in {} % of the records ({} of {records}).",
            percent(column.missing_share),
            column.missing
        ));
    }
    if let Shape::Numbers(numbers) = &column.shape
        && numbers.not_finite > 0
    {
        let odd = numbers.not_finite;
        notes.push(format!("`{name}` has {odd} values that are infinite or no number (NaN)."));
    }
    if let Some((value, count)) = most_frequent(column) {
        let share = count as f64 / column.values as f64;
        if count == column.values {
            notes.push(format!("`{name}` is constant: {value}."));
        } else if share >= ONE_VALUE {
            notes.push(format!("`{name}` is {value} in {} % of its values.", percent(share)));
        }
    }
    notes
}

/// The value that most records have, where it is known, and how many.
fn most_frequent(column: &ColumnProfile) -> Option<(String, u64)> {
    match &column.shape {
        Shape::Text { top, .. } => {
            let first = top.first()?;
            let value: String = first.value.chars().take(VALUE_CHARACTERS).collect();
            Some((format!("`{value}`"), first.count))
        }
        Shape::Truth { yes } => {
            let no = column.values - yes;
            Some(if *yes >= no { ("true".to_owned(), *yes) } else { ("false".to_owned(), no) })
        }
        Shape::Times { first: Some(first), last: Some(last), .. } => {
            (first == last).then(|| (first.clone(), column.values))
        }
        Shape::Numbers(numbers) if numbers.min == numbers.max && !numbers.min.is_null() => {
            Some((numbers.min.to_string(), column.values - numbers.not_finite))
        }
        Shape::Numbers(numbers) => Some((numbers.quantiles?[2].to_string(), numbers.at_median)),
        Shape::Times { .. } => None,
    }
}

/// A share in words, which is not 100 as long as something is left.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 99.9 && share < 1.0 {
        "more than 99.9".to_owned()
    } else {
        format!("{percent:.1}")
    }
}
