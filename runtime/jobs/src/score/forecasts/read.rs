//! Files of forecasts, read back.

use bytes::Bytes;
use steppe_model::DataError;
use steppe_model::tabular::columns::{Raw, RawTable};
use steppe_wire::predict::Step;

/// A step of a forecast as it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The execution that asked.
    pub execution: String,
    /// The series.
    pub series: String,
    /// The last period that was known.
    pub observed_until: String,
    /// Version of the model.
    pub model_version: String,
    /// Its error in the backtest.
    pub backtest_mase: f64,
    /// What was forecast.
    pub step: Step,
}

/// The steps of a file of newest forecasts. A row without a name or number is no step.
pub fn read(file: Bytes) -> Result<Vec<Stored>, DataError> {
    const TEXTS: [&str; 5] = ["execution", "series", "observed_until", "model_version", "period"];
    const NUMBERS: [&str; 6] = ["step", "predicted", "lower", "upper", "level", "backtest_mase"];
    let table = RawTable::read([file], &[&TEXTS[..], &NUMBERS[..]].concat())?;
    let texts = |name: &str| Ok::<_, DataError>(table.get(name)?.texts());
    let texts = TEXTS.iter().map(|name| texts(name)).collect::<Result<Vec<_>, _>>()?;
    let numbers =
        NUMBERS.iter().map(|name| numbers(&table, name)).collect::<Result<Vec<_>, _>>()?;
    let one = |row: usize| {
        let text = |at: usize| texts[at][row].clone();
        let [step, value, lower, upper, level, backtest_mase] =
            std::array::from_fn(|at| numbers[at][row]);
        Some(Stored {
            execution: text(0)?,
            series: text(1)?,
            observed_until: text(2)?,
            model_version: text(3)?,
            backtest_mase,
            step: Step {
                step: step as u32,
                period: text(4)?,
                value,
                lower,
                upper,
                level,
                procure: None,
                quantiles: vec![],
            },
        })
    };
    Ok((0..table.rows()).filter_map(one).collect())
}

fn numbers(table: &RawTable, name: &str) -> Result<Vec<f64>, DataError> {
    let whole = |n: &Option<i64>| n.map_or(f64::NAN, |n| n as f64);
    match table.get(name)? {
        Raw::Number(numbers) => Ok(numbers.clone()),
        Raw::Whole(numbers) => Ok(numbers.iter().map(whole).collect()),
        _ => Err(DataError::Column {
            column: name.to_owned(),
            problem: "is not a number",
            available: table.names(),
        }),
    }
}
