//! A request from its parsed form to its answer: queue, data, model.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use steppe_model::forecast::{Forecast, Prediction};
use steppe_model::{Dataset, Series};
use steppe_wire::edge;
use steppe_wire::predict::{
    Forecast as Told, HistoriesRequest, LeftOut, PredictRequest, PredictResponse,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::batch::{self, Source};
use crate::body::Untaken;
use crate::config::Limits;
use crate::datasets::Datasets;
use crate::forecasts;
use crate::metrics::Metrics;
use crate::model_store::{ModelStore, ServedModel};
use crate::problems::RequestError;
use crate::served::Served;

/// Everything a request needs; shared by all of them.
#[derive(Debug)]
pub struct Service<T: Served = Forecast> {
    /// The model in service.
    pub models: ModelStore<T>,
    /// Counters.
    pub metrics: Metrics,
    /// Bounds.
    pub limits: Limits,
    /// Answers that clients have not taken yet.
    pub untaken: Untaken,
    datasets: Datasets<T>,
    data_bucket: String,
    working: Semaphore,
    queue: Semaphore,
    draining: AtomicBool,
}

impl<T: Served> Service<T> {
    /// A service that reads `data_bucket` through `datasets`.
    pub fn new(
        models: ModelStore<T>,
        datasets: Datasets<T>,
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
    pub(crate) fn place(&self) -> Result<SemaphorePermit<'_>, RequestError> {
        self.queue.try_acquire().map_err(|_| RequestError::Busy(self.limits.waiting))
    }

    /// The model that answers: the one in service, which has to be the version that is asked for.
    /// When that was promoted just now, `looks` makes the server look.
    pub(crate) async fn model(
        &self,
        version: Option<&str>,
        looks: bool,
    ) -> Result<Arc<ServedModel<T>>, RequestError> {
        check_form(version)?;
        let model = match looks {
            true => self.models.current_after_look(version).await,
            false => self.models.current(),
        };
        check_version(&model, version)?;
        Ok(model)
    }

    /// A data set in S3.
    pub(crate) async fn dataset(
        &self,
        model: &ServedModel<T>,
        key: &str,
    ) -> Result<Arc<T::Held>, RequestError> {
        let (data, loaded) = self.datasets.get(key, &model.artifact.card).await?;
        self.metrics.dataset_loads.inc_by(u64::from(loaded));
        Ok(data)
    }

    /// Refuses a data set of another bucket, or one that cannot be.
    pub(crate) fn check_dataset(&self, bucket: &str, key: &str) -> Result<(), RequestError> {
        edge::check_key(key).map_err(invalid)?;
        if bucket != self.data_bucket {
            let (asked, own) = (bucket.to_owned(), self.data_bucket.clone());
            return Err(RequestError::WrongBucket { asked, own });
        }
        Ok(())
    }

    /// Long work on a thread of its own, a few at a time, so that other requests go on.
    pub(crate) async fn at_length<A: Send + 'static>(
        &self,
        work: impl FnOnce() -> A + Send + 'static,
    ) -> Result<A, RequestError> {
        self.metrics.waiting.inc();
        let turn = self.working.acquire().await;
        self.metrics.waiting.dec();
        let _turn = turn.map_err(|_| RequestError::Draining)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| RequestError::Internal)
    }
}

impl Service<Forecast> {
    /// Forecasts series of a data set in S3, within the bounds of the queue. The caller sets the
    /// deadline.
    pub async fn predict(&self, request: PredictRequest) -> Result<PredictResponse, RequestError> {
        let started = Instant::now();
        let _place = self.place()?;
        edge::check_key(&request.dataset_key).map_err(invalid)?;
        let model = self.model(request.model_version.as_deref(), true).await?;
        let spec = &model.artifact.card.spec;
        let names = request.series(&spec.task.series).map_err(RequestError::Invalid)?;
        self.check_count(names.len())?;
        self.check_dataset(&request.bucket_name, &request.dataset_key)?;
        let data = self.dataset(&model, &request.dataset_key).await?;
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
        let model = self.model(request.model_version.as_deref(), false).await?;
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
        model: &Arc<ServedModel<Forecast>>,
        source: &Source,
        horizon: usize,
    ) -> Result<Vec<Prediction>, RequestError> {
        if is_quick(model, source.len()) {
            return batch::forecast(model.clone(), source.clone(), horizon)
                .await
                .ok_or(RequestError::Internal);
        }
        let (model, source) = (model.clone(), source.clone());
        self.at_length(move || batch::forecast_alone(&model, &source, horizon)).await
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
        model: &ServedModel<Forecast>,
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
        model: Arc<ServedModel<Forecast>>,
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
            let answer = model.artifact.told(data, series, &prediction, quantiles);
            let answer = answer.ok_or_else(|| RequestError::NotFinite(series.name.clone()))?;
            // What clients bring along is theirs to invent: it says nothing about the pipeline's
            // data.
            if data.is_some() && !prediction.by_rule {
                let last = series.values.last().map(|v| v.to_bits());
                let named = (&series.name, series.last(), last);
                model.watch.count(&model.artifact, named, series.view(), &prediction);
            }
            Ok(answer)
        };
        let pairs = source.series().into_iter().zip(predictions);
        let forecasts: Vec<Told> = pairs.map(answered).collect::<Result<_, RequestError>>()?;
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

fn check_version<T: Served>(
    model: &ServedModel<T>,
    asked: Option<&str>,
) -> Result<(), RequestError> {
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
fn is_quick(model: &ServedModel<Forecast>, series: usize) -> bool {
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
