//! Training of one network: windows drawn by seed, gradients on all cores, early stopping,
//! checkpoints.
//!
//! A gradient step is the sum of shards of fixed size in fixed order, so the result does not depend
//! on the number of cores.

use crate::parallel;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::families::lstm::kernel::Packed;
use crate::families::lstm::network::{AdamW, Gradients, Lstm};
use crate::families::lstm::{Ensemble, QUANTILES};
use crate::forecast::dataset::Dataset;
use crate::forecast::window::Frame;
use crate::forecast::windows::Windows;
use crate::host::Stage;
use crate::stored::{from_bytes, to_bytes, view};
use steppe_spec::TrainSpec;

/// Windows of one shard: what one core works on at a time.
const SHARD: usize = 32;
/// Residuals within this many units count quadratically.
const HUBER_DELTA: f32 = 1.0;
/// Norm of the gradients of one step, at most.
const GRADIENT_MAX: f32 = 5.0;
/// Windows between two checkpoints.
const CHECKPOINT_WINDOWS: u64 = 50_000;
/// Share of the loss that goes to the outer quantiles.
const QUANTILE_SHARE: f32 = 0.25;

/// Everything a network's training is at the end of an epoch.
struct State {
    net: Lstm,
    gates: AdamW,
    head: AdamW,
    progress: Progress,
    best: Option<Lstm>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Progress {
    epoch: usize,
    rng: u64,
    gates_step: i32,
    head_step: i32,
    best_loss: Option<f64>,
    best_epoch: usize,
}

/// Trains one network.
pub fn train(
    data: &Dataset,
    frame: &Frame,
    spec: &TrainSpec,
    seed: u64,
    stage: &Stage<'_>,
) -> Result<Lstm, TrainError> {
    let (min, horizon) = (frame.min_history(), spec.task.horizon);
    let validation = match spec.model.lstm.patience {
        Some(_) => Some(Windows::newest(data, min, horizon)?),
        None => None,
    };
    let windows = if validation.is_some() {
        Windows::early(data, min, horizon)?
    } else {
        Windows::all(data, min, horizon)?
    };
    let per_epoch = spec.model.lstm.epoch_windows.min(windows.len());
    stage.host.plan((per_epoch * spec.model.lstm.epochs) as u64);
    let mut state = stage
        .host
        .load(stage.name())
        .and_then(|bytes| State::from_bytes(&bytes, frame, spec))
        .unwrap_or_else(|| State::new(frame, spec, seed));
    stage.host.advance((per_epoch * state.progress.epoch) as u64);
    let mut unsaved = 0;
    while state.progress.epoch < spec.model.lstm.epochs {
        state.epoch(&windows, per_epoch, frame, spec);
        stage.host.advance(per_epoch as u64);
        if let Some(validation) = &validation {
            state.judge(loss_of(&state.net, validation, frame, spec));
            if state.progress.epoch - state.progress.best_epoch
                >= spec.model.lstm.patience.unwrap_or(usize::MAX)
            {
                stage
                    .host
                    .advance((per_epoch * (spec.model.lstm.epochs - state.progress.epoch)) as u64);
                break;
            }
        }
        unsaved += per_epoch as u64;
        if unsaved >= CHECKPOINT_WINDOWS {
            stage.host.save(stage.name(), &state.to_bytes());
            unsaved = 0;
        }
    }
    Ok(state.best.unwrap_or(state.net))
}

impl State {
    fn new(frame: &Frame, spec: &TrainSpec, seed: u64) -> Self {
        let net = Lstm::new(Ensemble::shape(frame, spec), seed);
        let (gates, head) = (AdamW::new(net.gates.len()), AdamW::new(net.head.len()));
        let progress = Progress {
            epoch: 0,
            rng: seed ^ 0x5eed,
            gates_step: 0,
            head_step: 0,
            best_loss: None,
            best_epoch: 0,
        };
        Self { net, gates, head, progress, best: None }
    }

    fn epoch(&mut self, windows: &Windows<'_>, per_epoch: usize, frame: &Frame, spec: &TrainSpec) {
        let mut rng = fastrand::Rng::with_seed(self.progress.rng);
        let order: Vec<u32> = if per_epoch < windows.len() {
            (0..per_epoch).map(|_| rng.usize(..windows.len()) as u32).collect()
        } else {
            let mut all: Vec<u32> = (0..windows.len() as u32).collect();
            rng.shuffle(&mut all);
            all
        };
        let batches = per_epoch.div_ceil(spec.model.lstm.batch.max(1));
        let total = (spec.model.lstm.epochs * batches).max(1);
        for (done, batch) in order.chunks(spec.model.lstm.batch.max(1)).enumerate() {
            let mut gradients = gradients(&self.net, batch, windows, frame, spec);
            gradients.clip(GRADIENT_MAX);
            // Cosine decay: large steps first, none at the end.
            let place = (self.progress.epoch * batches + done) as f32 / total as f32;
            let rate = spec.model.lstm.learning_rate as f32
                * 0.5
                * (1.0 + (std::f32::consts::PI * place).cos());
            let decay = spec.model.lstm.weight_decay as f32;
            self.gates.update(&mut self.net.gates, &gradients.gates, rate, decay);
            self.head.update(&mut self.net.head, &gradients.head, rate, decay);
        }
        self.progress.epoch += 1;
        self.progress.rng = rng.u64(..);
    }

    /// Remembers the network when its validation loss is the best so far.
    fn judge(&mut self, loss: f64) {
        if self.progress.best_loss.is_none_or(|best| loss < best) {
            (self.progress.best_loss, self.progress.best_epoch) = (Some(loss), self.progress.epoch);
            self.best = Some(self.net.clone());
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let progress = Progress {
            gates_step: self.gates.step,
            head_step: self.head.step,
            ..self.progress.clone()
        };
        let progress = serde_json::to_vec(&progress).expect("a record of numbers");
        let mut parts = vec![
            ("gates", &self.net.gates),
            ("head", &self.net.head),
            ("gates.first", &self.gates.first),
            ("gates.second", &self.gates.second),
            ("head.first", &self.head.first),
            ("head.second", &self.head.second),
        ];
        if let Some(best) = &self.best {
            parts.extend([("best.gates", &best.gates), ("best.head", &best.head)]);
        }
        let bytes: Vec<(&str, Vec<u8>)> =
            parts.into_iter().map(|(name, v)| (name, to_bytes(v))).collect();
        let mut views: Vec<(&str, TensorView<'_>)> =
            bytes.iter().map(|(name, b)| (*name, view(Dtype::F32, b, 4))).collect();
        views.push(("progress", view(Dtype::U8, &progress, 1)));
        safetensors::serialize(views, None).expect("every view is valid")
    }

    /// A checkpoint of the same shape; anything else is ignored, and training starts anew.
    fn from_bytes(bytes: &[u8], frame: &Frame, spec: &TrainSpec) -> Option<Self> {
        let tensors = SafeTensors::deserialize(bytes).ok()?;
        let progress: Progress =
            serde_json::from_slice(tensors.tensor("progress").ok()?.data()).ok()?;
        let shape = Ensemble::shape(frame, spec);
        let read = |name: &str, len: usize| {
            Some(from_bytes(tensors.tensor(name).ok()?.data())).filter(|v| v.len() == len)
        };
        let (gates, head) = (shape.gate_len(), shape.head_len());
        let lstm = |prefix: &str| {
            Some(Lstm {
                shape,
                gates: read(&format!("{prefix}gates"), gates)?,
                head: read(&format!("{prefix}head"), head)?,
            })
        };
        let adam = |name: &str, len, step| {
            Some(AdamW {
                first: read(&format!("{name}.first"), len)?,
                second: read(&format!("{name}.second"), len)?,
                step,
            })
        };
        Some(Self {
            net: lstm("")?,
            gates: adam("gates", gates, progress.gates_step)?,
            head: adam("head", head, progress.head_step)?,
            best: lstm("best."),
            progress,
        })
    }
}

/// Inputs and targets of windows, flattened.
fn examples(numbers: &[u32], windows: &Windows<'_>, frame: &Frame) -> (Vec<f32>, Vec<f32>) {
    let mut inputs = Vec::with_capacity(numbers.len() * frame.context() * frame.features());
    let mut targets = Vec::with_capacity(numbers.len() * frame.horizon());
    for &number in numbers {
        let (view, future) = windows.get(number as usize);
        let window = frame.window(view);
        frame.sequence(view, &window, &mut inputs);
        targets.extend(
            future
                .iter()
                .enumerate()
                .map(|(step, &v)| window.relative(step, frame.transform().apply(v)) as f32),
        );
    }
    (inputs, targets)
}

fn gradients(
    net: &Lstm,
    batch: &[u32],
    windows: &Windows<'_>,
    frame: &Frame,
    spec: &TrainSpec,
) -> Gradients {
    let learner = net.learner();
    let shard = |numbers: &&[u32]| {
        let (inputs, targets) = examples(numbers, windows, frame);
        let scale = 1.0 / (batch.len() * spec.task.horizon) as f32;
        learner.gradients(&inputs, numbers.len(), |out| {
            let pairs = out.chunks_exact(QUANTILES).zip(&targets);
            pairs.flat_map(|(q, &t)| slope(q, t, tail(spec)).map(|s| s * scale)).collect()
        })
    };
    let shards: Vec<_> = batch.chunks(SHARD).collect();
    let mut shards = parallel::of(&shards, shard).into_iter();
    let mut sum = shards.next().expect("a batch is not empty");
    shards.for_each(|s| sum.add(&s));
    sum
}

fn loss_of(net: &Lstm, windows: &Windows<'_>, frame: &Frame, spec: &TrainSpec) -> f64 {
    let packed = Packed::new(net);
    let numbers: Vec<u32> = (0..windows.len() as u32).collect();
    let shard = |numbers: &&[u32]| {
        let (inputs, targets) = examples(numbers, windows, frame);
        let out = packed.forward(&inputs, numbers.len());
        out.chunks_exact(QUANTILES)
            .zip(&targets)
            .map(|(q, &t)| f64::from(loss(q, t, tail(spec))))
            .sum::<f64>()
    };
    let shards: Vec<_> = numbers.chunks(SHARD).collect();
    let losses = parallel::of(&shards, shard);
    losses.iter().sum::<f64>() / (windows.len() * spec.task.horizon) as f64
}

/// Probability of each tail outside of the interval.
fn tail(spec: &TrainSpec) -> f32 {
    (1.0 - spec.backtest.interval_level as f32) / 2.0
}

/// Loss of one step: Huber's for the middle, the pinball loss of Koenker and Bassett (1978) for the
/// quantiles on both sides.
fn loss(q: &[f32], target: f32, tail: f32) -> f32 {
    let pinball = |q: f32, p: f32| (p * (target - q)).max((p - 1.0) * (target - q));
    let error = (q[1] - target).abs();
    let huber = if error <= HUBER_DELTA {
        0.5 * error * error
    } else {
        HUBER_DELTA * (error - 0.5 * HUBER_DELTA)
    };
    huber + QUANTILE_SHARE * (pinball(q[0], tail) + pinball(q[2], 1.0 - tail))
}

/// Derivative of [`loss`] by the three outputs.
fn slope(q: &[f32], target: f32, tail: f32) -> [f32; QUANTILES] {
    let pinball = |q: f32, p: f32| if target > q { -p } else { 1.0 - p };
    let huber = (q[1] - target).clamp(-HUBER_DELTA, HUBER_DELTA);
    [QUANTILE_SHARE * pinball(q[0], tail), huber, QUANTILE_SHARE * pinball(q[2], 1.0 - tail)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::forecast::dataset::Series;
    use crate::host::Host;
    use crate::training_key::tests::spec;

    fn data() -> Dataset {
        let mut rng = fastrand::Rng::with_seed(6);
        let series = (0..12).map(|s| {
            Series::new(
                format!("s{s:02}"),
                2000,
                (0..40).map(|_| 50.0 + 40.0 * rng.f64()).collect(),
            )
        });
        Dataset::new(steppe_spec::Frequency::Yearly, series.collect())
    }

    /// Remembers checkpoints and counts work.
    #[derive(Default)]
    struct Notes {
        saved: Mutex<BTreeMap<String, Vec<u8>>>,
        work: Mutex<(u64, u64)>,
    }

    impl Host for Notes {
        fn plan(&self, units: u64) {
            self.work.lock().expect("one thread").0 += units;
        }

        fn advance(&self, units: u64) {
            self.work.lock().expect("one thread").1 += units;
        }

        fn load(&self, key: &str) -> Option<Vec<u8>> {
            self.saved.lock().expect("one thread").get(key).cloned()
        }

        fn save(&self, key: &str, bytes: &[u8]) {
            self.saved.lock().expect("one thread").insert(key.to_owned(), bytes.to_vec());
        }
    }

    #[test]
    fn an_interrupted_training_ends_like_one_in_one_go() {
        let (data, spec) = (data(), spec());
        let frame = Frame::fit(&data, &spec, spec.model.lstm.context);
        let windows =
            Windows::all(&data, frame.min_history(), spec.task.horizon).expect("long enough");
        let notes = Notes::default();
        let whole = train(&data, &frame, &spec, 3, &Stage::new(&notes)).expect("trains");
        let mut state = State::new(&frame, &spec, 3);
        (0..3).for_each(|_| state.epoch(&windows, windows.len(), &frame, &spec));
        notes.save("", &state.to_bytes());
        assert_eq!(train(&data, &frame, &spec, 3, &Stage::new(&notes)).expect("goes on"), whole);
        notes.save("", b"damaged");
        assert_eq!(
            train(&data, &frame, &spec, 3, &Stage::new(&notes)).expect("starts anew"),
            whole
        );
        let (planned, done) = *notes.work.lock().expect("one thread");
        assert_eq!(planned, done, "progress ends at 100 %");
    }

    #[test]
    fn training_stops_without_progress_and_keeps_the_best_network() {
        const PATIENCE: usize = 4;
        let spec = spec().with(|s| {
            s.model.lstm.epochs = 200;
            s.model.lstm.patience = Some(PATIENCE);
        });
        let data = data();
        let frame = Frame::fit(&data, &spec, spec.model.lstm.context);
        let windows =
            Windows::early(&data, frame.min_history(), spec.task.horizon).expect("long enough");
        let validation =
            Windows::newest(&data, frame.min_history(), spec.task.horizon).expect("long enough");
        let mut state = State::new(&frame, &spec, 3);
        let (mut best, mut since) = ((f64::INFINITY, state.net.clone()), 0);
        while since < PATIENCE {
            state.epoch(&windows, windows.len(), &frame, &spec);
            let loss = loss_of(&state.net, &validation, &frame, &spec);
            since = if loss < best.0 { 0 } else { since + 1 };
            if loss < best.0 {
                best = (loss, state.net.clone());
            }
        }
        assert!(state.progress.epoch < 200, "it must stop early for this test to say anything");
        assert_eq!(
            train(&data, &frame, &spec, 3, &Stage::new(&Notes::default())).expect("trains"),
            best.1
        );
    }
}
