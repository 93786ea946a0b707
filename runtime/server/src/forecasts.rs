//! Forecasts as this server takes and gives them: in JSON and in tensors. What follows is all of
//! the server's own that knows what a question is about.

mod histories;

use std::collections::HashMap;

use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use jiff::civil::Date;
use serde::de::IgnoredAny;
use steppe_model::forecast::{Artifact, Forecast, PredictedStep, Prediction};
use steppe_model::{DataError, Dataset, ModelCard, Series};
use steppe_spec::{Holidays, TrainSpec};
use steppe_wire::predict::{
    Errors, Forecast as Told, HistoriesRequest, History, ModelRef, PredictResponse, Quantile, Step,
};

use crate::model_store::ServedModel;
use crate::problems::RequestError;
use crate::routes::json;
use crate::served::{Inferred, Served};
use crate::service::Service;
use crate::tensors::{Datatype, InferRequest, Signature, Slot, Tensor, Values, invalid};

pub use histories::series;

/// The tensors of a forecaster: `history` (series × observations, FP64 or FP32) and one period per
/// series in, values and intervals (series × steps) out. Models with features or static features
/// are served in JSON only.
fn signature(card: &ModelCard) -> Signature {
    let slot = |name: &'static str, datatype, shape: &[i64]| Slot::new(name, datatype, shape);
    let steps = card.spec.task.horizon as i64;
    Signature {
        inputs: vec![
            slot("history", Datatype::Fp64, &[-1, -1]),
            slot("observed_until", Datatype::Bytes, &[-1]),
        ],
        outputs: ["value", "lower", "upper"]
            .into_iter()
            .chain(card.spec.task.decide.map(|_| "procure"))
            .map(|name| slot(name, Datatype::Fp64, &[-1, steps]))
            .collect(),
    }
}

/// The request that tensors stand for.
fn asked(
    inputs: &[Tensor],
    model_version: Option<String>,
) -> Result<HistoriesRequest, RequestError> {
    let (mut values, mut periods) = (None, None);
    for tensor in inputs {
        match tensor.name.as_str() {
            "history" => values = Some(tensor.matrix("series × observations")?),
            "observed_until" => periods = Some(tensor.texts()?),
            other => {
                return Err(invalid(format!(
                    "there is no input `{other}`; inputs are `history` and `observed_until`"
                )));
            }
        }
    }
    let (values, length) = values.ok_or_else(|| invalid("the input `history` is missing"))?;
    let periods = periods.ok_or_else(|| invalid("the input `observed_until` is missing"))?;
    if length == 0 || values.len() / length != periods.len() {
        return Err(invalid(format!(
            "`history` has {} series, `observed_until` has {} periods",
            values.len().checked_div(length).unwrap_or(0),
            periods.len()
        )));
    }
    let history = |(number, (values, observed_until)): (usize, (&[f64], String))| History {
        series: number.to_string(),
        observed_until,
        // The protocol has no missing values; NaN stands for one.
        values: values.iter().map(|v| (!v.is_nan()).then_some(*v)).collect(),
        features: Default::default(),
        static_features: Default::default(),
    };
    let histories = values.chunks_exact(length).zip(periods).enumerate().map(history).collect();
    Ok(HistoriesRequest { histories, horizon: None, model_version, quantiles: false })
}

/// Lengths of every output.
fn shape(answer: &PredictResponse) -> [usize; 2] {
    [answer.forecasts.len(), answer.forecasts.first().map_or(0, |f| f.steps.len())]
}

/// The values of an output of [`signature`].
fn output<'a>(answer: &'a PredictResponse, name: &str) -> impl Iterator<Item = f64> + use<'a> {
    let value: fn(&Step) -> f64 = match name {
        "lower" => |step| step.lower,
        "upper" => |step| step.upper,
        // An output only of models that answer it.
        "procure" => |step| step.procure.unwrap_or(f64::NAN),
        _ => |step| step.value,
    };
    answer.forecasts.iter().flat_map(|f| &f.steps).map(value)
}

/// The answer for one series, which is of `data` or was brought along; `None` when a value of it
/// is not finite.
pub fn answer(
    model: &ServedModel,
    data: Option<&Dataset>,
    series: &Series,
    prediction: &Prediction,
    quantiles: bool,
) -> Option<Told> {
    let card = &model.artifact.card;
    let calibration = model.artifact.calibration_of(prediction);
    let (calendar, last) = (&series.calendar, series.last());
    let listed = |p: &PredictedStep| {
        let quantiles = calibration.quantiles(&p.spread);
        quantiles.into_iter().map(|(probability, value)| Quantile { probability, value }).collect()
    };
    let step = |(step, p): (u32, &PredictedStep)| {
        let quantiles: Vec<Quantile> = if quantiles { listed(p) } else { Vec::new() };
        let all = [p.value, p.lower, p.upper, p.procure.unwrap_or_default()];
        let finite = all.into_iter().all(f64::is_finite);
        (finite && quantiles.iter().all(|q| q.value.is_finite())).then(|| Step {
            step,
            period: calendar.label(last + i64::from(step)),
            value: p.value,
            lower: p.lower,
            upper: p.upper,
            procure: p.procure,
            level: calibration.level,
            quantiles,
        })
    };
    Some(Told {
        series: series.name.clone(),
        observed_until: calendar.label(last),
        last_value: series.values[series.values.len() - 1],
        repaired: series.filled.len(),
        note: note(data, series, prediction),
        decimals: card.section.data.decimals,
        steps: (1..).zip(&prediction.steps).map(step).collect::<Option<_>>()?,
    })
}

/// What a reader of a forecast should know.
fn note(data: Option<&Dataset>, series: &Series, prediction: &Prediction) -> Option<String> {
    let short = prediction.by_rule.then(|| {
        let values = match series.values.len() {
            1 => "1 value is".to_owned(),
            values => format!("{values} values are"),
        };
        format!(
            "{values} too few for the model: it is the last value, moved as other series usually \
             move"
        )
    });
    let remark = data.and_then(|data| data.remark(&series.name));
    match (remark, short) {
        (Some(remark), Some(short)) => Some(format!("{remark}; {short}")),
        (remark, short) => remark.or(short),
    }
}

impl Served for Forecast {
    type Scores = Errors;
    type Held = Dataset;
    type Form = ();

    fn model_ref(artifact: &Artifact) -> ModelRef {
        artifact.forecast_ref()
    }

    fn called(spec: &TrainSpec) -> &str {
        &spec.pipeline
    }

    fn form(_: &ModelCard) {}

    /// Holidays of a table are those that the model was trained with.
    fn held(card: &ModelCard, files: Vec<Bytes>) -> Result<Dataset, DataError> {
        let data = Dataset::from_parquet(files, &card.spec)?;
        Ok(match trained_with(card) {
            Some(holidays) => data.with_holidays(&holidays),
            None => data,
        })
    }

    fn fits(card: &ModelCard, held: &Dataset) -> bool {
        trained_with(card).is_none_or(|wanted| held.calendar().holidays().eq(wanted))
    }

    async fn respond(
        service: &Service<Self>,
        _: &HeaderMap,
        body: &Bytes,
    ) -> Result<Response, RequestError> {
        let response = answer_to(service, body).await?;
        json(service, &response)
    }

    fn signature(card: &ModelCard) -> Signature {
        signature(card)
    }

    async fn infer(
        service: &Service<Self>,
        request: &InferRequest,
        model_version: Option<String>,
        outputs: &[&str],
    ) -> Result<Inferred, RequestError> {
        let asked = asked(&request.inputs, model_version)?;
        let answer = service.predict_histories(asked).await?;
        let shape = shape(&answer).map(|length| length as i64);
        let one = |name: &&str| {
            let slot = Slot::new((*name).to_owned(), Datatype::Fp64, &shape);
            (slot, Values::Numbers(output(&answer, name).collect()))
        };
        let outputs = outputs.iter().map(one).collect();
        Ok(Inferred { version: answer.model.version, outputs })
    }
}

/// Holidays of a table, as they were when the model was trained.
fn trained_with(card: &ModelCard) -> Option<Vec<Date>> {
    let of_table = matches!(card.spec.task.holidays, Holidays::Table(_));
    of_table.then(|| card.section.data.calendar.holidays().collect())
}

/// A request either brings observations along or names a data set.
async fn answer_to(
    service: &Service<Forecast>,
    body: &[u8],
) -> Result<PredictResponse, RequestError> {
    let wrong =
        |e: serde_json::Error| RequestError::Invalid(format!("the body is not a request: {e}"));
    match serde_json::from_slice::<HistoriesRequest>(body) {
        Ok(request) => service.predict_histories(request).await,
        Err(error) if names_histories(body) => Err(wrong(error)),
        Err(_) => service.predict(serde_json::from_slice(body).map_err(wrong)?).await,
    }
}

/// Whether a request means to bring observations along, whatever else is wrong with it.
fn names_histories(body: &[u8]) -> bool {
    let fields = serde_json::from_slice::<HashMap<String, IgnoredAny>>(body);
    fields.is_ok_and(|fields| fields.contains_key("histories"))
}
