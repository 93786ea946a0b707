//! What was predicted beside what came: the forecasts of the backtest with their actual values, and
//! the newest ones, which have none yet, as one Parquet file per model.
//!
//! A later run replaces the file of its model, so that every forecast is there once.

use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result as Written;
use serde::{Deserialize, Serialize};
use steppe_model::Dataset;
use steppe_model::forecast::dataset::View;
use steppe_model::forecast::past::PastForecast;
use steppe_model::forecast::{Artifact, Forecast, PredictedStep};
use steppe_spec::{Ended, TrainSpec};
use steppe_store::{Bucket, BucketError, Registry};
use steppe_wire::failure::Failure;
use steppe_wire::keys;

use crate::columnar::{self, Group, optional, required};
use crate::inputs::{data_set, spec};
use crate::score::{model_of, version_of};

/// As the catalogue's table has it.
const SCHEMA: &str = "
    message record {
        required binary series (STRING);
        required binary observed_until (STRING);
        required int32 step;
        required binary period (STRING);
        optional double actual;
        required double predicted;
        required double lower;
        required double upper;
        required double level;
        required boolean backtest;
        required binary model_id (STRING);
        required binary model_version (STRING);
        required int64 recorded_at (TIMESTAMP(MILLIS,true));
    }";

/// What the state machine asks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The version of the model; the one in service when absent.
    pub model_version: Option<String>,
}

/// What was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Forecasts, each of one period.
    pub rows: usize,
    /// Of these such whose value has come.
    pub with_actual: usize,
}

/// The recording job of one pipeline.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// Bucket of models and configuration.
    pub artifacts: Bucket,
    /// Bucket of the clean table and of records.
    pub data: Bucket,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Key of the configuration in the artifacts bucket.
    pub spec_key: String,
}

impl Recorder {
    /// Records what a model predicted.
    pub async fn run(&self, event: &Event, now: Timestamp) -> Result<Outcome, Failure> {
        let spec: TrainSpec = spec(&self.artifacts, &self.spec_key).await?;
        let registry = Registry::new(self.artifacts.clone(), &self.pipeline);
        let version = version_of(&registry, event.model_version.as_deref()).await?;
        let model = model_of::<Forecast>(&registry, &version).await?;
        let prefix = keys::table_prefix(&self.pipeline, &spec.table);
        let nothing = || Failure::permanent(format!("there is no clean table at `{prefix}`"));
        let data = data_set::<Forecast>(&self.data, &prefix, &spec).await?.ok_or_else(nothing)?;
        let work = move || recorded(&model, &data, now);
        let (bytes, outcome) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Failure::permanent(format!("the recording broke off: {e}")))??;
        let key = keys::record(&self.pipeline, &version);
        let put = self.data.put(&Path::from(key.as_str()), PutPayload::from(bytes)).await;
        put.map_err(|e| Failure::from(BucketError::of(&key, e)))?;
        Ok(outcome)
    }
}

/// One forecast of one period.
struct Row {
    series: String,
    observed_until: String,
    step: i32,
    period: String,
    actual: Option<f64>,
    /// Predicted value, lower and upper end.
    predicted: [f64; 3],
    backtest: bool,
}

fn recorded(
    model: &Artifact,
    data: &Dataset,
    now: Timestamp,
) -> Result<(Vec<u8>, Outcome), Failure> {
    let unusable = |e: &dyn std::fmt::Display| {
        Failure::permanent(format!("what was predicted cannot be recorded: {e}"))
    };
    let past = model.past().map_err(|e| unusable(&e))?;
    let mut rows = of_past(model, data, past);
    rows.extend(newest(model, data));
    let outcome = Outcome {
        rows: rows.len(),
        with_actual: rows.iter().filter(|row| row.actual.is_some()).count(),
    };
    let bytes = columnar::file(SCHEMA, |group| write(group, &rows, model, now));
    Ok((bytes.map_err(|e| unusable(&e))?, outcome))
}

/// Forecasts of the backtest. Their periods are counted as the model counted them; data that have
/// grown may count others, so the two meet by name.
fn of_past(model: &Artifact, data: &Dataset, past: Vec<PastForecast>) -> Vec<Row> {
    let (trained, now) = (&model.card.section.data.calendar, data.calendar());
    let row = |forecast: PastForecast| {
        let PastForecast { series, origin, step, value, lower, upper } = forecast;
        let period = trained.label(origin + 1 + step as i64);
        let found = data.find(&series);
        let actual = found.and_then(|series| series.observed(now.parse(&period)?));
        Row {
            series,
            observed_until: trained.label(origin),
            step: step as i32 + 1,
            period,
            actual,
            predicted: [value, lower, upper],
            backtest: true,
        }
    };
    past.into_iter().map(row).collect()
}

/// Forecasts of the series that are long enough; not of those that have ended, where the manifest
/// leaves these out.
fn newest(model: &Artifact, data: &Dataset) -> Vec<Row> {
    let ended = model.card.spec.gaps.ended;
    let asked = |view: &View<'_>| {
        let left_out = ended == Ended::LeaveOut && data.has_ended(view.series());
        view.len() >= model.min_history() && !left_out
    };
    let views: Vec<View<'_>> =
        data.series().iter().map(|series| series.view()).filter(asked).collect();
    let predictions = model.forecast(&views, model.card.spec.task.horizon);
    let calendar = data.calendar();
    let of_step = |view: View<'_>, step: i32, found: &PredictedStep| Row {
        series: view.series().name.clone(),
        observed_until: calendar.label(view.last()),
        step,
        period: calendar.label(view.last() + i64::from(step)),
        actual: None,
        predicted: [found.value, found.lower, found.upper],
        backtest: false,
    };
    let of_series = |(view, prediction): (&View<'_>, steppe_model::forecast::Prediction)| {
        let steps = (1..).zip(&prediction.steps);
        steps.map(|(step, found)| of_step(*view, step, found)).collect::<Vec<_>>()
    };
    views.iter().zip(predictions).flat_map(of_series).collect()
}

fn write(group: &mut Group<'_>, rows: &[Row], model: &Artifact, now: Timestamp) -> Written<()> {
    let number = |at: usize| rows.iter().map(move |row| row.predicted[at]);
    let level = model.card.section.calibration.level;
    let (id, version) = (ByteArray::from(&*model.card.id), ByteArray::from(&*model.version()));
    required::<ByteArrayType>(group, rows.iter().map(|row| row.series.as_str().into()))?;
    required::<ByteArrayType>(group, rows.iter().map(|row| row.observed_until.as_str().into()))?;
    required::<Int32Type>(group, rows.iter().map(|row| row.step))?;
    required::<ByteArrayType>(group, rows.iter().map(|row| row.period.as_str().into()))?;
    optional::<DoubleType>(group, rows.iter().map(|row| row.actual))?;
    required::<DoubleType>(group, number(0))?;
    required::<DoubleType>(group, number(1))?;
    required::<DoubleType>(group, number(2))?;
    required::<DoubleType>(group, rows.iter().map(|_| level))?;
    required::<BoolType>(group, rows.iter().map(|row| row.backtest))?;
    required::<ByteArrayType>(group, rows.iter().map(|_| id.clone()))?;
    required::<ByteArrayType>(group, rows.iter().map(|_| version.clone()))?;
    required::<Int64Type>(group, rows.iter().map(|_| now.as_millisecond()))
}
