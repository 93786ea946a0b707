//! An ensemble of networks with its scaler: trained on a data set, it forecasts a series.

use thiserror::Error;

use crate::dataset::{Dataset, Series};
use crate::lstm::{AdamW, Lstm, Shape};
use crate::spec::TrainSpec;
use crate::window::{FEATURES, Scaler, Windows, windows};

/// Windows per gradient step.
const BATCH: usize = 32;
/// Residuals beyond this many deviations count linearly, so that a year like 2020 does not rule the fit.
const HUBER_DELTA: f32 = 1.0;

/// Why a model could not be trained.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A series is too short for one window.
    #[error("series `{series}` has {length} values, but a context of {context} and a horizon of {horizon} need {needed}")]
    TooShort {
        /// The series.
        series: String,
        /// Its values.
        length: usize,
        /// Context window.
        context: usize,
        /// Horizon.
        horizon: usize,
        /// Values needed.
        needed: usize,
    },
    /// The backtest has no origin left.
    #[error("{origins} backtest origins leave too little history to train on; the shortest series has {shortest} values")]
    TooFewForBacktest {
        /// Requested origins.
        origins: usize,
        /// Length of the shortest series.
        shortest: usize,
    },
}

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecaster {
    /// Context window.
    pub context: usize,
    /// Steps ahead.
    pub horizon: usize,
    /// Scale of the changes.
    pub scaler: Scaler,
    /// The ensemble; never empty.
    pub members: Vec<Lstm>,
}

impl Forecaster {
    /// Point forecasts for each of `histories`, nearest step first. Every history has more than
    /// `context` values; the caller checks with [`Forecaster::accepts`].
    pub fn forecast(&self, histories: &[&[f64]]) -> Vec<Vec<f64>> {
        let mut inputs = Vec::with_capacity(histories.len() * self.context * FEATURES);
        histories.iter().for_each(|h| self.scaler.input(h, self.context, &mut inputs));
        let mut sums = vec![0.0f32; histories.len() * self.horizon];
        for member in &self.members {
            let outputs = member.forward(&inputs, histories.len());
            sums.iter_mut().zip(outputs).for_each(|(sum, o)| *sum += o);
        }
        let scale = 1.0 / self.members.len() as f32;
        let steps = |(history, sums): (&&[f64], &[f32])| {
            let last = history[history.len() - 1];
            sums.iter().map(|sum| self.scaler.value(last, sum * scale)).collect()
        };
        histories.iter().zip(sums.chunks(self.horizon)).map(steps).collect()
    }

    /// Whether `series` is long enough to forecast from.
    pub fn accepts(&self, series: &Series) -> bool {
        series.values.len() > self.context
    }
}

/// Trains on all of `data`. Deterministic: the seed decides everything random.
pub fn train(data: &Dataset, spec: &TrainSpec) -> Result<Forecaster, TrainError> {
    if let Some(short) = data.series().iter().find(|s| s.values.len() < spec.min_length()) {
        return Err(TrainError::TooShort {
            series: short.name.clone(),
            length: short.values.len(),
            context: spec.context,
            horizon: spec.horizon,
            needed: spec.min_length(),
        });
    }
    let scaler = Scaler::fit(data);
    let windows = windows(data, &scaler, spec.context, spec.horizon);
    let members = (0..spec.members.max(1) as u64).map(|m| train_member(&windows, spec, spec.seed.wrapping_add(m))).collect();
    Ok(Forecaster { context: spec.context, horizon: spec.horizon, scaler, members })
}

fn train_member(windows: &Windows, spec: &TrainSpec, seed: u64) -> Lstm {
    let mut net = Lstm::new(Shape { features: FEATURES, hidden: spec.hidden, outputs: spec.horizon }, seed);
    let (mut gates_state, mut head_state) = (AdamW::new(net.gates.len()), AdamW::new(net.head.len()));
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let mut order: Vec<usize> = (0..windows.len).collect();
    let total = (spec.epochs * windows.len.div_ceil(BATCH)).max(1);
    let mut done = 0;
    let (input_len, decay) = (spec.context * FEATURES, spec.weight_decay as f32);
    for _ in 0..spec.epochs {
        rng.shuffle(&mut order);
        for batch in order.chunks(BATCH) {
            let inputs: Vec<f32> = batch.iter().flat_map(|&w| &windows.inputs[w * input_len..][..input_len]).copied().collect();
            let targets: Vec<f32> = batch.iter().flat_map(|&w| &windows.targets[w * spec.horizon..][..spec.horizon]).copied().collect();
            let (gates, head) = net.gradients(&inputs, batch.len(), |out| huber_gradient(out, &targets));
            // Cosine decay: large steps first, none at the end.
            let rate = spec.learning_rate as f32 * 0.5 * (1.0 + (std::f32::consts::PI * done as f32 / total as f32).cos());
            gates_state.update(&mut net.gates, &gates, rate, decay);
            head_state.update(&mut net.head, &head, rate, decay);
            done += 1;
        }
    }
    net
}

fn huber_gradient(out: &[f32], targets: &[f32]) -> Vec<f32> {
    let scale = 1.0 / targets.len() as f32;
    out.iter().zip(targets).map(|(o, t)| (o - t).clamp(-HUBER_DELTA, HUBER_DELTA) * scale).collect()
}
