//! The first round: how many values there are, how different, and between which bounds.

use serde_json::{Number, Value};
use steppe_spec::ColumnType;

use super::sql::{COLUMNS_PER_STATEMENT, Cells};
use super::{ColumnProfile, Numbers, Question, Rows, Shape, Subject, TableProfile, row};

/// The quantiles that are asked for.
const QUANTILES: [&str; 5] = ["0.05", "0.25", "0.5", "0.75", "0.95"];

pub fn questions(subject: &Subject) -> Vec<Question> {
    let all: Vec<usize> = (0..subject.columns.len()).collect();
    let question = |columns: &[usize]| {
        let measures = columns.iter().map(|at| {
            let measures = measures(subject.columns[*at].1, *at);
            format!("  {}", measures.join(", "))
        });
        let measures = measures.collect::<Vec<_>>().join(",\n");
        let sql = format!("SELECT\n  count(*),\n{measures}\n{}", subject.rows(columns));
        Question { sql, rows_max: 1 }
    };
    all.chunks(COLUMNS_PER_STATEMENT).map(question).collect()
}

fn measures(kind: ColumnType, at: usize) -> Vec<String> {
    let (raw, number) = (format!("r{at}"), format!("c{at}"));
    let mut measures = vec![format!("count({raw})"), format!("approx_distinct({raw})")];
    match kind {
        ColumnType::String => {
            measures.push(format!("min(length({raw}))"));
            measures.push(format!("max(length({raw}))"));
        }
        ColumnType::Boolean => measures.push(format!("count(CASE WHEN {raw} THEN 1 END)")),
        ColumnType::Date | ColumnType::Timestamp => {
            measures.push(format!("min({raw})"));
            measures.push(format!("max({raw})"));
        }
        _ => {
            // Doubles without those that are not finite; whole numbers and decimals exactly.
            let exact = if kind == ColumnType::Double { &number } else { &raw };
            measures.extend([
                format!("count({number})"),
                format!("min({exact})"),
                format!("max({exact})"),
                format!("avg({number})"),
                format!("stddev_samp({number})"),
            ]);
            let quantile = |share: &&str| format!("approx_percentile({number}, {share})");
            measures.extend(QUANTILES.iter().map(quantile));
        }
    }
    measures
}

pub fn read(subject: &Subject, answers: &[Rows]) -> Result<TableProfile, String> {
    let mut answers = answers.iter();
    let (mut columns, mut records) = (Vec::new(), 0);
    for part in subject.columns.chunks(COLUMNS_PER_STATEMENT) {
        let mut cells = row(&mut answers)?;
        records = cells.count()?;
        for (name, kind) in part {
            columns.push(column(name, *kind, records, &mut cells)?);
        }
    }
    Ok(TableProfile {
        table: subject.name.clone(),
        description: subject.description.clone(),
        records,
        key: subject.key.clone(),
        repeated_keys: None,
        columns,
        correlations: None,
        notes: vec![],
        statements: 0,
        scanned_bytes: 0,
    })
}

fn column(
    name: &str,
    kind: ColumnType,
    records: u64,
    cells: &mut Cells<'_>,
) -> Result<ColumnProfile, String> {
    let values = cells.count()?;
    let distinct = cells.count()?.min(values);
    let missing = records.saturating_sub(values);
    let shape = match kind {
        ColumnType::String => {
            Shape::Text { shortest: cells.value()?, longest: cells.value()?, top: vec![] }
        }
        ColumnType::Boolean => Shape::Truth { yes: cells.count()? },
        ColumnType::Date | ColumnType::Timestamp => Shape::Times {
            first: cells.text()?.map(str::to_owned),
            last: cells.text()?.map(str::to_owned),
            period: None,
            counts: vec![],
        },
        _ => Shape::Numbers(Box::new(numbers(values, cells)?)),
    };
    let is_constant = match &shape {
        Shape::Numbers(found) => found.not_finite == 0 && found.min == found.max && values > 0,
        Shape::Times { first: Some(first), last: Some(last), .. } => first == last,
        _ => false,
    };
    let distinct = if is_constant { 1 } else { distinct };
    Ok(ColumnProfile {
        column: name.to_owned(),
        kind: kind.hive().into_owned(),
        values,
        missing,
        missing_share: if records == 0 { 0.0 } else { missing as f64 / records as f64 },
        distinct,
        distinct_is_exact: is_constant || distinct == 0,
        shape,
    })
}

fn numbers(values: u64, cells: &mut Cells<'_>) -> Result<Numbers, String> {
    let finite = cells.count()?;
    let (min, max) = (number(cells.text()?), number(cells.text()?));
    let (mean, standard_deviation) = (cells.finite()?, cells.finite()?);
    let mut quantiles = [0.0; QUANTILES.len()];
    let mut complete = true;
    for quantile in &mut quantiles {
        match cells.finite()? {
            Some(value) => *quantile = value,
            None => complete = false,
        }
    }
    Ok(Numbers {
        not_finite: values.saturating_sub(finite),
        min,
        max,
        mean,
        standard_deviation,
        quantiles: complete.then_some(quantiles),
        at_median: 0,
        histogram: None,
    })
}

/// Whole numbers exactly; NULL when there is none.
fn number(text: Option<&str>) -> Value {
    let Some(text) = text else { return Value::Null };
    if let Ok(whole) = text.parse::<i64>() {
        return whole.into();
    }
    text.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}
