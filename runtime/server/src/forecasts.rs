//! Forecasts as this server takes and gives them: in JSON and in tensors. What follows is all of
//! the server's own that knows what a question is about.

mod histories;

use steppe_model::forecast::{PredictedStep, Prediction};
use steppe_model::{Dataset, ModelCard, Series};
use steppe_wire::predict::{Forecast, HistoriesRequest, History, PredictResponse, Quantile, Step};

use crate::model_store::ServedModel;
use crate::problems::RequestError;
use crate::tensors::{Datatype, Signature, Slot, Tensor, invalid};

pub use histories::series;

/// The tensors of a forecaster: `history` (series × observations, FP64 or FP32) and one period per
/// series in, values and intervals (series × steps) out. Models with features or static features
/// are served in JSON only.
pub fn signature(card: &ModelCard) -> Signature {
    let slot = |name, datatype, shape: &[i64]| Slot { name, datatype, shape: shape.to_vec() };
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
pub fn asked(
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
pub fn shape(answer: &PredictResponse) -> [usize; 2] {
    [answer.forecasts.len(), answer.forecasts.first().map_or(0, |f| f.steps.len())]
}

/// The values of an output of [`signature`].
pub fn output<'a>(answer: &'a PredictResponse, name: &str) -> impl Iterator<Item = f64> + use<'a> {
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
) -> Option<Forecast> {
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
    Some(Forecast {
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
