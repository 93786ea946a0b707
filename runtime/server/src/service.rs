//! A forecast request from its parsed form to its answer: queue, data set, model.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use steppe_model::Dataset;
use steppe_wire::predict::{Forecast, PredictRequest, PredictResponse, Step};
use tokio::sync::Semaphore;

use crate::config::Limits;
use crate::datasets::Datasets;
use crate::metrics::Metrics;
use crate::model_store::{ModelStore, ServedModel};
use crate::problems::RequestError;

/// Everything a request needs; shared by all of them.
#[derive(Debug)]
pub struct Service {
    /// The model in service.
    pub models: ModelStore,
    /// Counters.
    pub metrics: Metrics,
    /// Bounds.
    pub limits: Limits,
    datasets: Datasets,
    data_bucket: String,
    working: Semaphore,
    queue: Semaphore,
    draining: AtomicBool,
}

impl Service {
    /// A service that reads `data_bucket` through `datasets`.
    pub fn new(models: ModelStore, datasets: Datasets, data_bucket: &str, limits: Limits) -> prometheus::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            models,
            datasets,
            metrics: Metrics::new()?,
            data_bucket: data_bucket.to_owned(),
            working: Semaphore::new(limits.working),
            queue: Semaphore::new(limits.working + limits.waiting),
            draining: AtomicBool::new(false),
            limits,
        }))
    }

    /// From now on the server says that it is not ready; requests at work are finished.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether new requests are welcome.
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    /// Forecasts, within the bounds of the queue. The caller sets the deadline.
    pub async fn predict(&self, request: PredictRequest) -> Result<PredictResponse, RequestError> {
        let started = Instant::now();
        let _place = self.queue.try_acquire().map_err(|_| RequestError::Busy(self.limits.waiting))?;
        self.metrics.waiting.inc();
        let turn = self.working.acquire().await;
        self.metrics.waiting.dec();
        let _turn = turn.map_err(|_| RequestError::Draining)?;

        let model = self.models.current();
        let spec = &model.artifact.card.spec;
        let names = request.series(&spec.series_column).map_err(RequestError::Invalid)?;
        if names.len() > self.limits.series {
            return Err(RequestError::Invalid(format!("{} series in one request; at most {}", names.len(), self.limits.series)));
        }
        if request.bucket_name != self.data_bucket {
            return Err(RequestError::WrongBucket { asked: request.bucket_name, own: self.data_bucket.clone() });
        }
        let (data, loaded) = self.datasets.get(&request.dataset_key, spec).await?;
        self.metrics.dataset_loads.inc_by(u64::from(loaded));
        let forecasts = forecast(&model, &data, &names)?;
        self.metrics.forecasts.inc_by(forecasts.len() as u64);
        Ok(PredictResponse { forecasts, model: model.model_ref.clone(), seconds: started.elapsed().as_secs_f64() })
    }
}

/// Forecasts `names` from `data`: a pure function of the three.
pub fn forecast(model: &ServedModel, data: &Dataset, names: &[String]) -> Result<Vec<Forecast>, RequestError> {
    let (forecaster, card) = (&model.artifact.forecaster, &model.artifact.card);
    let series = names
        .iter()
        .map(|name| {
            let series = data.find(name).ok_or_else(|| unknown(name, data))?;
            let (length, needed) = (series.values.len(), forecaster.context + 1);
            if forecaster.accepts(series) { Ok(series) } else { Err(RequestError::TooShort { name: name.clone(), length, needed }) }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let histories: Vec<&[f64]> = series.iter().map(|s| s.values.as_slice()).collect();
    let values = forecaster.forecast(&histories);
    let forecasts = series.iter().zip(values).map(|(series, values)| {
        let steps = (1..).zip(values).zip(&card.backtest.interval_half_widths).map(|((step, value), half_width)| Step {
            step,
            period: (series.last_year() + step as i32).to_string(),
            value,
            // Half widths are distances in ln(1 + v), the scale the interval was calibrated on.
            lower: ((value.ln_1p() - half_width).exp() - 1.0).max(0.0),
            upper: (value.ln_1p() + half_width).exp() - 1.0,
            level: card.spec.interval_level,
        });
        Forecast {
            series: series.name.clone(),
            observed_until: series.last_year().to_string(),
            last_value: series.values[series.values.len() - 1],
            steps: steps.collect(),
        }
    });
    Ok(forecasts.collect())
}

fn unknown(name: &str, data: &Dataset) -> RequestError {
    let likeness = |have: &str| strsim::jaro_winkler(&name.to_lowercase(), &have.to_lowercase());
    let nearest = data.series().iter().map(|s| (likeness(&s.name), &s.name)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((likeness, nearest)) if likeness > 0.8 => format!("; did you mean `{nearest}`?"),
        _ => format!("; the data set has {} others", data.series().len()),
    };
    RequestError::UnknownSeries { name: name.to_owned(), hint }
}
