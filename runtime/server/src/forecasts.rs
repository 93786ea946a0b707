//! Forecasts as this server takes and gives them: in JSON and in tensors. What follows is all of
//! the server's own that knows what a question is about.

mod histories;

use std::collections::HashMap;

use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde::de::IgnoredAny;
use steppe_model::forecast::{Artifact, Forecast};
use steppe_model::{DataError, Dataset, ModelCard};
use steppe_spec::TrainSpec;
use steppe_wire::predict::{Errors, HistoriesRequest, History, ModelRef, PredictResponse, Step};

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

    fn held(card: &ModelCard, files: Vec<Bytes>) -> Result<Dataset, DataError> {
        card.data_set(files)
    }

    fn fits(card: &ModelCard, held: &Dataset) -> bool {
        card.reads_as(held)
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
