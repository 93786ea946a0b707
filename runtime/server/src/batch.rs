//! Requests that arrive together go through the network together.
//!
//! Nobody waits for a batch to fill: the first request of a batch lets every connection that is
//! ready hand in its own, once around the event loop, and then computes for all. Alone it loses a
//! microsecond; under load, windows share the reading of the network's weights.

use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::Mutex;
use steppe_model::forecast::Prediction;
use steppe_model::forecast::dataset::View;
use steppe_model::{Dataset, Series};
use tokio::sync::oneshot;

use crate::model_store::ServedModel;

/// Where the series of a request are.
#[derive(Debug, Clone)]
pub enum Source {
    /// Some series of a data set, by number.
    Data(Arc<Dataset>, Vec<usize>),
    /// Series that the request brought along.
    Own(Arc<Vec<Series>>),
}

impl Source {
    /// The series.
    pub fn series(&self) -> Vec<&Series> {
        match self {
            Self::Data(data, numbers) => numbers.iter().map(|&n| &data.series()[n]).collect(),
            Self::Own(series) => series.iter().collect(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Data(_, numbers) => numbers.len(),
            Self::Own(series) => series.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn views(&self) -> Vec<View<'_>> {
        self.series().into_iter().map(Series::view).collect()
    }
}

struct Job {
    model: Arc<ServedModel>,
    source: Source,
    horizon: usize,
    answer: oneshot::Sender<Vec<Prediction>>,
}

type Queue = Arc<Mutex<Vec<Job>>>;

thread_local! {
    /// One queue per worker thread: requests of one batch are of one event loop.
    static QUEUE: RefCell<Queue> = RefCell::default();
}

/// Series of one batch.
const SERIES_MAX: usize = 64;

/// Forecasts on this thread, alone.
pub fn forecast_alone(model: &ServedModel, source: &Source, horizon: usize) -> Vec<Prediction> {
    model.artifact.forecast(&source.views(), horizon)
}

/// Forecasts, together with whatever else is ready. `None` when the model breaks on them.
pub async fn forecast(
    model: Arc<ServedModel>,
    source: Source,
    horizon: usize,
) -> Option<Vec<Prediction>> {
    let queue = QUEUE.with_borrow(Arc::clone);
    let (answer, receive) = oneshot::channel();
    let leads = {
        let mut jobs = queue.lock();
        jobs.push(Job { model, source, horizon, answer });
        jobs.len() == 1
    };
    if leads {
        // Dropped while it waits, for example with its connection, a leader must not leave the
        // others waiting.
        let run = RunOnDrop(queue);
        tokio::task::yield_now().await;
        drop(run);
    }
    receive.await.ok()
}

struct RunOnDrop(Queue);

impl Drop for RunOnDrop {
    fn drop(&mut self) {
        let jobs = std::mem::take(&mut *self.0.lock());
        run(jobs);
    }
}

fn run(mut jobs: Vec<Job>) {
    while !jobs.is_empty() {
        let (model, horizon, mut series) = (jobs[0].model.clone(), jobs[0].horizon, 0);
        let fits = |job: &mut Job| {
            let same = Arc::ptr_eq(&job.model, &model) && job.horizon == horizon;
            series += if same { job.source.len() } else { 0 };
            same && (series <= SERIES_MAX || series == job.source.len())
        };
        let together: Vec<Job> = jobs.extract_if(.., fits).collect();
        run_together(together);
    }
}

/// Forecasts for all of `jobs`. When that fails, each goes alone, and only those that fail again
/// have no answer: their sender is dropped.
fn run_together(jobs: Vec<Job>) {
    let Some(first) = jobs.first() else { return };
    let (model, horizon) = (first.model.clone(), first.horizon);
    let Some(predictions) = attempt(&model, &jobs, horizon) else {
        if jobs.len() > 1 {
            jobs.into_iter().for_each(|job| run_together(vec![job]));
        }
        return;
    };
    let mut predictions = predictions.into_iter();
    for job in jobs {
        let answer = predictions.by_ref().take(job.source.len()).collect();
        // A client that went away is no error.
        let _ = job.answer.send(answer);
    }
}

/// The forecasts, unless the model breaks on one of them. This also runs when a leader is dropped,
/// where a second panic would end the process.
fn attempt(model: &ServedModel, jobs: &[Job], horizon: usize) -> Option<Vec<Prediction>> {
    let views: Vec<View<'_>> = jobs.iter().flat_map(|job| job.source.views()).collect();
    let forecast = || model.artifact.forecast(&views, horizon);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(forecast)).ok()
}
