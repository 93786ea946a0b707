//! A forecast request from its parsed form to its answer: queue, data, model.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use steppe_model::forecast::Prediction;
use steppe_model::{Dataset, Series};
use steppe_wire::edge;
use steppe_wire::predict::{Forecast, HistoriesRequest, LeftOut, PredictRequest, PredictResponse};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::batch::{self, Source};
use crate::body::Untaken;
use crate::config::Limits;
use crate::datasets::Datasets;
use crate::forecasts;
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
    /// Answers that clients have not taken yet.
    pub untaken: Untaken,
    datasets: Datasets,
    data_bucket: String,
    working: Semaphore,
    queue: Semaphore,
    draining: AtomicBool,
}

impl Service {
    /// A service that reads `data_bucket` through `datasets`.
    pub fn new(
        models: ModelStore,
        datasets: Datasets,
        data_bucket: &str,
        limits: Limits,
    ) -> prometheus::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            models,
            datasets,
            metrics: Metrics::new()?,
            data_bucket: data_bucket.to_owned(),
            working: Semaphore::new(limits.working),
            queue: Semaphore::new(limits.working + limits.waiting),
            untaken: Untaken::new(limits.untaken_bytes),
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

    /// A place among the requests that are answered or wait.
    fn place(&self) -> Result<SemaphorePermit<'_>, RequestError> {
        self.queue.try_acquire().map_err(|_| RequestError::Busy(self.limits.waiting))
    }

    /// Forecasts series of a data set in S3, within the bounds of the queue. The caller sets the
    /// deadline.
    pub async fn predict(&self, request: PredictRequest) -> Result<PredictResponse, RequestError> {
        let started = Instant::now();
        let _place = self.place()?;
        edge::check_key(&request.dataset_key).map_err(invalid)?;
        check_form(request.model_version.as_deref())?;
        let model = self.models.current_after_look(request.model_version.as_deref()).await;
        check_version(&model, request.model_version.as_deref())?;
        let spec = &model.artifact.card.spec;
        let names = request.series(&spec.task.series).map_err(RequestError::Invalid)?;
        self.check_count(names.len())?;
        if request.bucket_name != self.data_bucket {
            return Err(RequestError::WrongBucket {
                asked: request.bucket_name,
                own: self.data_bucket.clone(),
            });
        }
        let (data, loaded) = self.datasets.get(&request.dataset_key, &model.artifact.card).await?;
        self.metrics.dataset_loads.inc_by(u64::from(loaded));
        let (mut numbers, mut left_out) = (Vec::with_capacity(names.len()), Vec::new());
        for series in names {
            match data.absence(&series) {
                Some(reason) => left_out.push(LeftOut { series, reason }),
                None => numbers.push(data.number(&series).ok_or_else(|| unknown(&series, &data))?),
            }
        }
        let (horizon, source) = (spec.task.horizon, Source::Data(data, numbers));
        let answer = self.answer(model.clone(), source, horizon, false, started).await?;
        Ok(PredictResponse { left_out, ..answer })
    }

    /// Forecasts from observations that the request brings along.
    pub async fn predict_histories(
        &self,
        request: HistoriesRequest,
    ) -> Result<PredictResponse, RequestError> {
        let started = Instant::now();
        let _place = self.place()?;
        check_form(request.model_version.as_deref())?;
        let model = self.models.current();
        check_version(&model, request.model_version.as_deref())?;
        let spec = &model.artifact.card.spec;
        if request.histories.is_empty() {
            return Err(RequestError::Invalid("`histories` must not be empty".to_owned()));
        }
        self.check_count(request.histories.len())?;
        let horizon = request.horizon.unwrap_or(spec.task.horizon);
        if !(1..=spec.task.horizon).contains(&horizon) {
            return Err(RequestError::Horizon { asked: horizon, max: spec.task.horizon });
        }
        let series = request
            .histories
            .into_iter()
            .map(|h| forecasts::series(h, &model.artifact.card, horizon))
            .collect::<Result<Vec<_>, _>>()?;
        self.answer(
            model.clone(),
            Source::Own(Arc::new(series)),
            horizon,
            request.quantiles,
            started,
        )
        .await
    }

    /// Quick ones together with whatever else is ready; the others, for example models that fit
    /// each series, on a thread of their own, a few at a time, so that other requests go on.
    async fn predictions(
        &self,
        model: &Arc<ServedModel>,
        source: &Source,
        horizon: usize,
    ) -> Result<Vec<Prediction>, RequestError> {
        if is_quick(model, source.len()) {
            return batch::forecast(model.clone(), source.clone(), horizon)
                .await
                .ok_or(RequestError::Internal);
        }
        self.metrics.waiting.inc();
        let turn = self.working.acquire().await;
        self.metrics.waiting.dec();
        let _turn = turn.map_err(|_| RequestError::Draining)?;
        let (model, source) = (model.clone(), source.clone());
        let work =
            tokio::task::spawn_blocking(move || batch::forecast_alone(&model, &source, horizon));
        work.await.map_err(|_| RequestError::Internal)
    }

    fn check_count(&self, count: usize) -> Result<(), RequestError> {
        if count > self.limits.series {
            return Err(RequestError::Invalid(format!(
                "{count} series in one request; at most {}",
                self.limits.series
            )));
        }
        Ok(())
    }

    fn check_size(
        &self,
        model: &ServedModel,
        steps: usize,
        quantiles: bool,
    ) -> Result<(), RequestError> {
        let listed =
            if quantiles { model.artifact.card.section.calibration.probabilities.len() } else { 0 };
        if steps * (1 + listed) > self.limits.answer_values {
            return Err(RequestError::AnswerTooLarge);
        }
        Ok(())
    }

    async fn answer(
        &self,
        model: Arc<ServedModel>,
        source: Source,
        horizon: usize,
        quantiles: bool,
        started: Instant,
    ) -> Result<PredictResponse, RequestError> {
        let needed = model.artifact.min_history();
        if let Some(short) = source.series().into_iter().find(|s| s.values.len() < needed) {
            return Err(RequestError::TooShort {
                name: short.name.clone(),
                length: short.values.len(),
                needed,
            });
        }
        self.check_size(&model, source.len() * horizon, quantiles)?;
        let predictions = self.predictions(&model, &source, horizon).await?;
        let data = match &source {
            Source::Data(data, _) => Some(data.as_ref()),
            Source::Own(_) => None,
        };
        let answered = |(series, prediction): (&Series, Prediction)| {
            let answer = forecasts::answer(&model, data, series, &prediction, quantiles);
            let answer = answer.ok_or_else(|| RequestError::NotFinite(series.name.clone()))?;
            // What clients bring along is theirs to invent: it says nothing about the pipeline's
            // data.
            if data.is_some() && !prediction.by_rule {
                model.watch.count(&model.artifact, series, &prediction);
            }
            Ok(answer)
        };
        let pairs = source.series().into_iter().zip(predictions);
        let forecasts: Vec<Forecast> = pairs.map(answered).collect::<Result<_, RequestError>>()?;
        self.metrics.forecasts.inc_by(forecasts.len() as u64);
        let took = started.elapsed().as_secs_f64();
        self.metrics.observe(&model.model_ref.version, took);
        let model = model.model_ref.clone();
        Ok(PredictResponse { forecasts, left_out: Vec::new(), model, seconds: took })
    }
}

fn invalid(error: edge::EdgeError) -> RequestError {
    RequestError::Invalid(error.to_string())
}

fn check_form(version: Option<&str>) -> Result<(), RequestError> {
    version.map_or(Ok(()), |version| edge::check_version(version).map_err(invalid))
}

fn check_version(model: &ServedModel, asked: Option<&str>) -> Result<(), RequestError> {
    let serving = &model.model_ref.version;
    match asked.filter(|asked| asked != serving) {
        Some(asked) => {
            Err(RequestError::WrongVersion { asked: asked.to_owned(), serving: serving.clone() })
        }
        None => Ok(()),
    }
}

/// Series up to which a quick model answers at once.
const AT_ONCE: usize = 16;

/// Whether a request is answered on its event loop: by a quick model, for few series.
fn is_quick(model: &ServedModel, series: usize) -> bool {
    series <= AT_ONCE && model.artifact.is_quick()
}

fn unknown(name: &str, data: &Dataset) -> RequestError {
    let likeness = |have: &str| strsim::jaro_winkler(&name.to_lowercase(), &have.to_lowercase());
    let nearest = data
        .series()
        .iter()
        .map(|s| (likeness(&s.name), &s.name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match nearest {
        Some((likeness, nearest)) if likeness > 0.8 => format!("; did you mean `{nearest}`?"),
        _ => format!("; the data set has {} others", data.series().len()),
    };
    RequestError::UnknownSeries { name: name.to_owned(), hint }
}
