//! A file of forecasts, in Parquet: a row per series and step.

use jiff::Timestamp;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use steppe_wire::predict::{ModelRef, StoredPrediction};

use crate::columnar::{self, Group, optional, required};

/// As the catalogue's table has it.
const SCHEMA: &str = "
    message predictions {
        required binary execution (STRING);
        required binary series (STRING);
        required binary observed_until (STRING);
        required int32 step;
        required binary period (STRING);
        optional double actual;
        required double predicted;
        required double lower;
        required double upper;
        required double level;
        optional double procure;
        optional binary note (STRING);
        required boolean backtest;
        required binary model_id (STRING);
        required binary model_version (STRING);
        required double backtest_mase;
        required int64 scored_at (TIMESTAMP(MILLIS,true));
    }";

/// What all rows of a file share.
pub struct Predictions<'a> {
    /// The execution that asked.
    pub execution: &'a str,
    /// The model.
    pub model: &'a ModelRef,
    /// Nominal coverage of its intervals.
    pub level: f64,
    /// When the run began: the same again when a part is scored again.
    pub scored_at: Timestamp,
}

/// One forecast of one period.
pub struct Row<'a> {
    /// The series.
    pub series: &'a str,
    /// The last period that was known.
    pub observed_until: String,
    /// Steps ahead, from 1.
    pub step: u32,
    /// The period.
    pub period: String,
    /// What came, if it has.
    pub actual: Option<f64>,
    /// Predicted value, lower and upper end.
    pub predicted: [f64; 3],
    /// How much to procure, where that is decided.
    pub procure: Option<f64>,
    /// What a reader should know.
    pub note: Option<&'a str>,
    /// Whether it is of the backtest.
    pub backtest: bool,
}

impl<'a> Row<'a> {
    /// The newest forecast of a series, step by step.
    pub fn newest(forecast: &'a StoredPrediction) -> impl Iterator<Item = Self> {
        forecast.steps.iter().map(|step| Self {
            series: &forecast.series,
            observed_until: forecast.observed_until.clone(),
            step: step.step,
            period: step.period.clone(),
            actual: None,
            predicted: [step.value, step.lower, step.upper],
            procure: step.procure,
            note: forecast.note.as_deref(),
            backtest: false,
        })
    }
}

impl Predictions<'_> {
    /// The file.
    pub fn to_parquet(&self, rows: &[Row<'_>]) -> Result<Vec<u8>> {
        columnar::file(SCHEMA, |group| self.write(group, rows))
    }

    fn write(&self, group: &mut Group<'_>, rows: &[Row<'_>]) -> Result<()> {
        let same = |text: &str| {
            let text = ByteArray::from(text);
            rows.iter().map(move |_| text.clone())
        };
        let predicted = |at: usize| rows.iter().map(move |row| row.predicted[at]);
        required::<ByteArrayType>(group, same(self.execution))?;
        required::<ByteArrayType>(group, rows.iter().map(|row| row.series.into()))?;
        required::<ByteArrayType>(
            group,
            rows.iter().map(|row| row.observed_until.as_str().into()),
        )?;
        required::<Int32Type>(group, rows.iter().map(|row| row.step as i32))?;
        required::<ByteArrayType>(group, rows.iter().map(|row| row.period.as_str().into()))?;
        optional::<DoubleType>(group, rows.iter().map(|row| row.actual))?;
        required::<DoubleType>(group, predicted(0))?;
        required::<DoubleType>(group, predicted(1))?;
        required::<DoubleType>(group, predicted(2))?;
        required::<DoubleType>(group, rows.iter().map(|_| self.level))?;
        optional::<DoubleType>(group, rows.iter().map(|row| row.procure))?;
        optional::<ByteArrayType>(group, rows.iter().map(|row| row.note.map(ByteArray::from)))?;
        required::<BoolType>(group, rows.iter().map(|row| row.backtest))?;
        required::<ByteArrayType>(group, same(&self.model.id))?;
        required::<ByteArrayType>(group, same(&self.model.version))?;
        required::<DoubleType>(group, rows.iter().map(|_| self.model.backtest.mase))?;
        let at = self.scored_at.as_millisecond();
        required::<Int64Type>(group, rows.iter().map(|_| at))?;
        Ok(())
    }
}
