//! Values that are counted by themselves: frequent texts, periods of time, keys that repeat.

use serde::Serialize;

use super::sql::quoted;
use super::{ColumnProfile, Question, Rows, Shape, Subject, TableProfile, next, row};

/// Frequent texts of a column that are told.
pub const TOP: usize = 10;
/// Characters of a text that are told.
const TEXT_CHARACTERS: usize = 200;
/// Columns of a statement: Athena allows 150 steps, of which each takes a few.
const COLUMNS: usize = 20;
/// Periods of a column: years of a calendar.
const PERIODS_MAX: usize = 10_000;

/// How often a value is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The value.
    pub value: String,
    /// Records that have it.
    pub count: u64,
}

/// How long the periods are in which records are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Period {
    /// Its name, which is Trino's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// Such that there are a few hundred at most, unless it is years.
    fn between(first: &str, last: &str) -> Self {
        let (days, has_hours) = (day(last) - day(first), first.len() > "2000-01-01".len());
        match days {
            days if days <= 3 && has_hours => Self::Hour,
            days if days <= 120 => Self::Day,
            days if days <= 14_600 => Self::Month,
            _ => Self::Year,
        }
    }
}

/// About how many days a date lies after the first one of a calendar.
fn day(date: &str) -> i64 {
    let mut parts = date.split(['-', ' ']).map(|part| part.parse::<i64>().unwrap_or(0));
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    year.unwrap_or(0) * 365 + month.unwrap_or(0) * 30 + day.unwrap_or(0)
}

/// Asks for values of the key that more than one record has.
pub fn key(subject: &Subject) -> Option<Question> {
    let key: Vec<String> = subject.key.iter().map(|name| quoted(name)).collect();
    (!key.is_empty()).then(|| {
        let (key, table) = (key.join(", "), quoted(&subject.name));
        let sql = format!(
            "SELECT count(*)\nFROM (\n  SELECT count(*) AS n\n  FROM {table}\n  GROUP BY {key}\n  \
             HAVING count(*) > 1\n)"
        );
        Question { sql, rows_max: 1 }
    })
}

pub fn read_key(
    subject: &Subject,
    profile: &mut TableProfile,
    answers: &mut std::slice::Iter<'_, Rows>,
) -> Result<(), String> {
    if !subject.key.is_empty() {
        profile.repeated_keys = Some(row(answers)?.count()?);
    }
    Ok(())
}

/// Columns whose values are counted, and the period where they are times.
fn columns(profile: &TableProfile) -> Vec<(usize, Option<Period>)> {
    let of = |(at, column): (usize, &ColumnProfile)| match &column.shape {
        Shape::Text { .. } if column.values > 0 => Some((at, None)),
        Shape::Times { first: Some(first), last: Some(last), .. } => {
            Some((at, Some(Period::between(first, last))))
        }
        _ => None,
    };
    profile.columns.iter().enumerate().filter_map(of).collect()
}

pub fn questions(subject: &Subject, profile: &TableProfile) -> Vec<Question> {
    let question = |part: &[(usize, Option<Period>)]| {
        let arms = part.iter().map(|(at, period)| arm(subject, *at, *period));
        let rows_max = part.iter().map(|(_, period)| rows_max(*period)).sum();
        Question { sql: arms.collect::<Vec<_>>().join("\nUNION ALL\n"), rows_max }
    };
    columns(profile).chunks(COLUMNS).map(question).collect()
}

fn rows_max(period: Option<Period>) -> usize {
    if period.is_some() { PERIODS_MAX } else { TOP + 1 }
}

/// Counts of one column, in a form that all have.
fn arm(subject: &Subject, at: usize, period: Option<Period>) -> String {
    let (column, table) = (subject.column(at), quoted(&subject.name));
    let (value, shown, order) = match period {
        Some(period) => {
            let name = period.name();
            (format!("date_trunc('{name}', {column})"), "CAST(v AS varchar)".to_owned(), "v")
        }
        None => (column.clone(), format!("substr(v, 1, {TEXT_CHARACTERS})"), "n DESC, v"),
    };
    format!(
        "SELECT * FROM (\n  SELECT {at} AS c, {shown} AS t, n\n  FROM (\n    SELECT {value} AS v, \
         count(*) AS n\n    FROM {table}\n    WHERE {column} IS NOT NULL\n    GROUP BY \
         {value}\n    ORDER BY {order}\n    LIMIT {}\n  )\n)",
        rows_max(period)
    )
}

pub fn read(
    whole: &TableProfile,
    profile: &mut TableProfile,
    answers: &mut std::slice::Iter<'_, Rows>,
) -> Result<(), String> {
    for part in columns(whole).chunks(COLUMNS) {
        let rows = next(answers)?;
        for (at, unit) in part {
            let mut counts = Vec::new();
            for row in rows {
                let mut cells = super::sql::Cells::new(row);
                if cells.value::<usize>()? == Some(*at) {
                    let value = cells.text()?.unwrap_or_default().to_owned();
                    counts.push(Count { value, count: cells.count()? });
                }
            }
            put(&mut profile.columns[*at], *unit, counts);
        }
    }
    Ok(())
}

fn put(column: &mut ColumnProfile, unit: Option<Period>, mut found: Vec<Count>) {
    match &mut column.shape {
        Shape::Text { top, .. } => {
            found.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
            if found.len() <= TOP {
                column.distinct = found.len() as u64;
                column.distinct_is_exact = true;
            }
            found.truncate(TOP);
            *top = found;
        }
        Shape::Times { period, counts, .. } => {
            found.sort_by(|a, b| a.value.cmp(&b.value));
            (*period, *counts) = (unit, found);
        }
        Shape::Numbers(_) | Shape::Truth { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_as_long_as_the_span_needs() {
        for (first, last, period) in [
            ("2013-06-01 00:00:00.000", "2013-06-02 23:00:00.000", Period::Hour),
            ("2013-06-01", "2013-06-02", Period::Day),
            ("2013-06-01", "2014-06-02", Period::Month),
            ("1969-12-31", "1970-01-01", Period::Day),
            ("0001-01-01", "9999-12-31", Period::Year),
        ] {
            assert_eq!(Period::between(first, last), period, "{first} {last}");
        }
    }
}
