//! The forecast contract: what the predictor and the model server say to each other, and what lies
//! in `predictions/`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Version of the stored prediction's schema.
pub const PREDICTION_SCHEMA_VERSION: u32 = 1;

/// Body of `POST /predict`.
///
/// The series are named under `series` or under the pipeline's own column (`region` for
/// marriages); one string or a list of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PredictRequest {
    /// S3 key of a Parquet file, or a prefix that ends with `/`.
    pub dataset_key: String,
    /// The bucket that holds it; must be the server's own.
    pub bucket_name: String,
    /// The version that must answer; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// Everything else, among it the series.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl PredictRequest {
    /// A request for one series under the column name `series_field`, to whichever model is in
    /// service.
    pub fn one(series_field: &str, series: &str, bucket_name: &str, dataset_key: &str) -> Self {
        Self::of(series_field, Value::from(series), bucket_name, dataset_key)
    }

    /// A request for several series.
    pub fn several(series: &[String], bucket_name: &str, dataset_key: &str) -> Self {
        Self::of("series", Value::from(series.to_vec()), bucket_name, dataset_key)
    }

    fn of(field: &str, series: Value, bucket_name: &str, dataset_key: &str) -> Self {
        let fields = Map::from_iter([(field.to_owned(), series)]);
        Self {
            dataset_key: dataset_key.to_owned(),
            bucket_name: bucket_name.to_owned(),
            model_version: None,
            fields,
        }
    }

    /// The requested series, or what is wrong with the request.
    pub fn series(&self, series_field: &str) -> Result<Vec<String>, String> {
        if let Some(unknown) = self.fields.keys().find(|k| *k != "series" && *k != series_field) {
            return Err(format!(
                "unknown field `{unknown}`; name the series under `{series_field}` or `series`"
            ));
        }
        let value = match (self.fields.get("series"), self.fields.get(series_field)) {
            (Some(_), Some(_)) if series_field != "series" => {
                return Err(format!("give either `series` or `{series_field}`, not both"));
            }
            (Some(value), _) | (None, Some(value)) => value,
            (None, None) => return Err(format!("`{series_field}` is missing")),
        };
        let names = match value {
            Value::String(name) => vec![name.clone()],
            Value::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or("every series must be a string"))
                .collect::<Result<_, _>>()?,
            _ => return Err(format!("`{series_field}` must be a string or a list of strings")),
        };
        if names.is_empty() || names.iter().any(String::is_empty) {
            return Err(format!("`{series_field}` must not be empty"));
        }
        Ok(names)
    }
}

/// Body of `POST /predict` that brings the observations along instead of naming a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoriesRequest {
    /// One entry per forecast; at least one.
    pub histories: Vec<History>,
    /// Steps ahead; all that the model was trained for when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<usize>,
    /// The version that must answer; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// Whether every step lists its quantiles.
    #[serde(default)]
    pub quantiles: bool,
}

/// Observations of one series, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Name of the series; a known one has its own uncertainty.
    pub series: String,
    /// Period of the last value: `2023`, `2023-11`, `2023-11-06T05:00`.
    pub observed_until: String,
    /// One value per period; `null` where one is missing.
    pub values: Vec<Option<f64>>,
    /// Per feature of the model one value per period: of a past one as many as `values` has, of
    /// one that is known ahead up to the last period that is forecast.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub features: std::collections::BTreeMap<String, Vec<f64>>,
    /// Per static feature of the model its value.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub static_features: std::collections::BTreeMap<String, f64>,
}

/// Answer of `POST /predict`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PredictResponse {
    /// One forecast per requested series that is forecast, in the order of the request.
    pub forecasts: Vec<Forecast>,
    /// The others: those that the manifest leaves out, because they ended or have long gaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// The model that made them.
    pub model: ModelRef,
    /// How long the server worked on the request, in seconds.
    pub seconds: f64,
}

/// A series that is known and not forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub series: String,
    /// Why.
    pub reason: String,
}

/// Which model answered, and how wrong it usually is: of forecasts, errors in the rolling-origin
/// backtest, over all steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRef<S = Errors> {
    /// Pipeline and family: `marriages-lstm`.
    pub id: String,
    /// Content hash of the artifact, shortened.
    pub version: String,
    /// Scores on cases that it had not seen.
    pub backtest: S,
}

/// Forecast errors over all series and origins of a backtest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Mean absolute error, in units of the target.
    pub mae: f64,
    /// Root mean squared error, in units of the target.
    pub rmse: f64,
    /// Mean absolute percentage error, in percent.
    pub mape: f64,
    /// Mean absolute scaled error: 1 is the in-sample error of the last value (Hyndman and Koehler
    /// 2006).
    pub mase: f64,
    /// Symmetric mean absolute percentage error, in percent, as in the M4 competition.
    pub smape: f64,
}

/// The forecast of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Name of the series.
    pub series: String,
    /// Period of the last observation: `2022`.
    pub observed_until: String,
    /// Its value.
    pub last_value: f64,
    /// Observations that were missing and filled by the value before them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repaired: usize,
    /// What a reader of this forecast should know: that the series is short, or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Decimals that the series' values have; numbers are shown with as many.
    #[serde(default)]
    pub decimals: usize,
    /// One entry per step ahead, nearest first; never empty.
    pub steps: Vec<Step>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// One step of a forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Steps ahead of the last observation, from 1.
    pub step: u32,
    /// The period that is forecast: `2023`.
    pub period: String,
    /// Point forecast, in units of the target.
    pub value: f64,
    /// Lower end of the prediction interval.
    pub lower: f64,
    /// Upper end of the prediction interval.
    pub upper: f64,
    /// Nominal coverage of the interval: 0.9.
    pub level: f64,
    /// How much to procure: the quantile that costs least, where the manifest says what a unit
    /// short and a unit over cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procure: Option<f64>,
    /// Quantiles, when the request asks for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<Quantile>,
}

/// A quantile of a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// Probability that the actual value is at most `value`.
    pub probability: f64,
    /// In units of the target.
    pub value: f64,
}

/// What lies in `predictions/output_<uuid>.json`: flat, one line, so that Athena reads it as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredPrediction {
    /// [`PREDICTION_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The execution that asked.
    pub execution: String,
    /// Name of the series.
    pub series: String,
    /// Period of the last observation.
    pub observed_until: String,
    /// The nearest step, flattened.
    #[serde(flatten)]
    pub first: Step,
    /// See [`Forecast::note`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// See [`Forecast::decimals`].
    #[serde(default)]
    pub decimals: usize,
    /// See [`ModelRef::id`].
    pub model_id: String,
    /// See [`ModelRef::version`].
    pub model_version: String,
    /// Backtest MAE of the model.
    pub backtest_mae: f64,
    /// Backtest RMSE of the model.
    pub backtest_rmse: f64,
    /// Backtest MAPE of the model, percent.
    pub backtest_mape: f64,
    /// Backtest MASE of the model.
    pub backtest_mase: f64,
    /// All steps, nearest first.
    pub steps: Vec<Step>,
}

impl StoredPrediction {
    /// The record of one forecast; `None` when the forecast has no steps, which breaks the
    /// contract.
    pub fn new(execution: &str, forecast: &Forecast, model: &ModelRef) -> Option<Self> {
        Some(Self {
            schema_version: PREDICTION_SCHEMA_VERSION,
            execution: execution.to_owned(),
            series: forecast.series.clone(),
            observed_until: forecast.observed_until.clone(),
            first: forecast.steps.first()?.clone(),
            note: forecast.note.clone(),
            decimals: forecast.decimals,
            model_id: model.id.clone(),
            model_version: model.version.clone(),
            backtest_mae: model.backtest.mae,
            backtest_rmse: model.backtest.rmse,
            backtest_mape: model.backtest.mape,
            backtest_mase: model.backtest.mase,
            steps: forecast.steps.clone(),
        })
    }

    /// What breaks the contract, if anything.
    pub fn defect(&self) -> Option<String> {
        if self.schema_version != PREDICTION_SCHEMA_VERSION {
            return Some(format!(
                "schema_version is {}, expected {PREDICTION_SCHEMA_VERSION}",
                self.schema_version
            ));
        }
        if self.steps.first() != Some(&self.first) {
            return Some("the first step and the flattened step differ".to_owned());
        }
        self.steps.iter().find_map(|s| {
            let ordered = s.lower <= s.value && s.value <= s.upper;
            let all = [s.lower, s.value, s.upper, s.procure.unwrap_or_default()];
            let finite = all.into_iter().all(f64::is_finite);
            (!ordered || !finite).then(|| {
                format!("step {}: {} is not within [{}, {}]", s.step, s.value, s.lower, s.upper)
            })
        })
    }
}

/// What the predictor returns to the state machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictorOutput {
    /// `s3://bucket/predictions/output_<uuid>.json`; none when no series was forecast.
    pub s3_path: Option<String>,
    /// The stored forecast, when the event named one series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<StoredPrediction>,
    /// Series that were forecast.
    pub count: usize,
    /// What people are told of them, when the event asks for that.
    pub forecasts: Vec<Summary>,
    /// Series that the manifest leaves out.
    pub left_out: Vec<LeftOut>,
}

/// What people are told of a forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the series.
    pub series: String,
    /// The nearest period that is forecast.
    pub period: String,
    /// Its forecast.
    pub value: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
    /// See [`Step::procure`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procure: Option<f64>,
    /// See [`Forecast::decimals`].
    pub decimals: usize,
    /// See [`Forecast::note`], shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The object that it lies in.
    pub s3_key: String,
}

/// Bytes of one [`Summary`] or [`LeftOut`] in JSON at most, with a name of 300 bytes.
pub const SUMMARY_BYTES_MAX: usize = 930;
/// Characters of a note in a [`Summary`], and of a reason in what a run carries along.
const NOTE_CHARS_MAX: usize = 80;

impl Summary {
    /// What people are told of `record`, which lies at `key`.
    pub fn of(record: &StoredPrediction, key: &str) -> Self {
        let Step { period, value, lower, upper, procure, .. } = record.first.clone();
        Self {
            series: record.series.clone(),
            period,
            value,
            lower,
            upper,
            procure,
            decimals: record.decimals,
            note: record.note.as_deref().map(shortened),
            s3_key: key.to_owned(),
        }
    }
}

impl LeftOut {
    /// The same with a reason of one short line.
    pub fn shortened(&self) -> Self {
        Self { series: self.series.clone(), reason: shortened(&self.reason) }
    }
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= NOTE_CHARS_MAX {
        return line.to_owned();
    }
    line.chars().take(NOTE_CHARS_MAX - 1).chain(['…']).collect()
}

/// A model: its place, and the hash that everything in it is checked against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelPointer {
    /// Model version, a directory below `models/<pipeline>/`.
    pub version: String,
    /// SHA-256 of that version's `card.json`; the card holds the hash of the weights.
    pub card_sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Result<Vec<String>, String> {
        serde_json::from_str::<PredictRequest>(json).map_err(|e| e.to_string())?.series("region")
    }

    #[test]
    fn series_are_named_under_the_pipelines_column_or_under_series() {
        let ok = |json: &str| request(json).expect("valid request");
        assert_eq!(ok(r#"{"region":"Almaty","dataset_key":"k","bucket_name":"b"}"#), ["Almaty"]);
        assert_eq!(ok(r#"{"series":["A","B"],"dataset_key":"k","bucket_name":"b"}"#), ["A", "B"]);
    }

    #[test]
    fn a_stored_prediction_says_how_much_to_procure_where_that_is_asked() {
        let step = |procure| Step {
            step: 1,
            period: "2024".to_owned(),
            value: 10.0,
            lower: 8.0,
            upper: 13.0,
            level: 0.9,
            procure,
            quantiles: vec![],
        };
        let stored = |procure| {
            let errors = Errors { mae: 1.0, rmse: 1.0, mape: 1.0, mase: 1.0, smape: 1.0 };
            let model = ModelRef { id: "m".to_owned(), version: "v".to_owned(), backtest: errors };
            let forecast = Forecast {
                series: "A".to_owned(),
                observed_until: "2023".to_owned(),
                last_value: 9.0,
                repaired: 0,
                note: None,
                decimals: 0,
                steps: vec![step(procure)],
            };
            StoredPrediction::new("run", &forecast, &model).expect("a step")
        };
        let with = serde_json::to_value(stored(Some(11.5))).expect("JSON");
        assert_eq!((&with["procure"], &with["steps"][0]["procure"]), (&11.5.into(), &11.5.into()));
        let without = serde_json::to_value(stored(None)).expect("JSON");
        assert!(without.get("procure").is_none() && without["steps"][0].get("procure").is_none());
        let read: StoredPrediction = serde_json::from_value(without).expect("read back");
        assert_eq!((read.defect(), stored(Some(11.5)).defect()), (None, None));
        assert!(stored(Some(f64::NAN)).defect().is_some());
        let told = |procure| serde_json::to_value(Summary::of(&stored(procure), "key"));
        assert_eq!(told(Some(11.5)).expect("JSON")["procure"], 11.5);
        assert!(told(None).expect("JSON").get("procure").is_none());
    }

    #[test]
    fn a_malformed_request_says_what_is_wrong() {
        let cases = [
            (r#"{"dataset_key":"k","bucket_name":"b"}"#, "`region` is missing"),
            (
                r#"{"region":7,"dataset_key":"k","bucket_name":"b"}"#,
                "`region` must be a string or a list of strings",
            ),
            (r#"{"region":[],"dataset_key":"k","bucket_name":"b"}"#, "`region` must not be empty"),
            (
                r#"{"region":"A","series":"B","dataset_key":"k","bucket_name":"b"}"#,
                "give either `series` or `region`, not both",
            ),
            (
                r#"{"regoin":"A","dataset_key":"k","bucket_name":"b"}"#,
                "unknown field `regoin`; name the series under `region` or `series`",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(request(json).expect_err(json), expected);
        }
    }
}
