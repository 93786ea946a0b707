//! An ensemble of LSTMs over all series: windows scaled per series, seasonal inputs, departures
//! from the naive forecast, all steps and three quantiles at once. Features that are known ahead
//! enter a horizon early, past ones with the observation that they belong to.

pub mod kernel;
pub mod network;
pub mod training;

use crate::parallel;

use crate::error::TrainError;
use crate::forecast::dataset::{Dataset, View};
use crate::forecast::window::{Frame, Window};
use crate::host::Stage;
use steppe_spec::TrainSpec;

use crate::artifact::ArtifactError;
use crate::family::Family;
use crate::forecast::{Forecast, Forecaster, Path};
use crate::stored::{Saved, Stored};
use kernel::{Packed, Scratch};
use network::{Lstm, Shape};

/// Outputs per step: lower quantile, median, upper quantile.
pub const QUANTILES: usize = 3;

/// Networks that answer together.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// Features and scales.
    pub frame: Frame,
    /// The networks' weights; never empty.
    pub members: Vec<Lstm>,
    packed: Vec<Packed>,
}

/// Windows that go through a network together.
const BATCH: usize = 64;

impl Ensemble {
    /// An ensemble of finished networks.
    pub fn new(frame: Frame, members: Vec<Lstm>) -> Self {
        let packed = members.iter().map(Packed::new).collect();
        Self { frame, members, packed }
    }

    /// Sizes of a network for a frame.
    pub fn shape(frame: &Frame, spec: &TrainSpec) -> Shape {
        Shape {
            features: frame.features(),
            hidden: spec.model.lstm.hidden,
            outputs: spec.task.horizon * QUANTILES,
        }
    }

    /// Mean outputs of all networks, `windows × horizon × QUANTILES`.
    fn outputs(&self, inputs: &[f32], windows: usize) -> Vec<f32> {
        thread_local! {
            static MEMORY: std::cell::RefCell<(Scratch, Vec<f32>)> = std::cell::RefCell::default();
        }
        let scale = 1.0 / self.packed.len() as f32;
        let mut sums = vec![0.0f32; windows * self.frame.horizon() * QUANTILES];
        MEMORY.with_borrow_mut(|(scratch, out)| {
            for network in &self.packed {
                network.forward_into(inputs, windows, scratch, out);
                sums.iter_mut().zip(&*out).for_each(|(sum, o)| *sum += o * scale);
            }
        });
        sums
    }

    fn chunk(&self, views: &[View<'_>], horizon: usize) -> Vec<Path> {
        let mut inputs =
            Vec::with_capacity(views.len() * self.frame.context() * self.frame.features());
        let windows: Vec<Window> = views
            .iter()
            .map(|&view| {
                let window = self.frame.window(view);
                self.frame.sequence(view, &window, &mut inputs);
                window
            })
            .collect();
        let outputs = self.outputs(&inputs, views.len());
        let path = |(window, outputs): (&Window, &[f32])| {
            let steps = || outputs.chunks_exact(QUANTILES).take(horizon).enumerate();
            let point = |(step, q): (usize, &[f32])| {
                self.frame.transform().invert(window.absolute(step, f64::from(q[1])))
            };
            // Quantiles of a network may cross; a spread is at least a tenth of a typical change.
            let spread =
                |(_, q): (usize, &[f32])| window.unit * (f64::from(q[2] - q[0]) / 2.0).max(0.1);
            Path { points: steps().map(point).collect(), spreads: steps().map(spread).collect() }
        };
        windows
            .iter()
            .zip(outputs.chunks_exact(self.frame.horizon() * QUANTILES))
            .map(path)
            .collect()
    }
}

/// Windows of the one epoch that shows what a network reads.
const WINDOWS_OF_A_CHECK: usize = 64;

impl Family<Forecast> for Ensemble {
    const QUICK: bool = true;

    fn fit(data: &Dataset, spec: &TrainSpec, stage: &Stage<'_>) -> Result<Self, TrainError> {
        let frame = Frame::fit(data, spec, spec.model.lstm.context);
        let member = |member: usize| {
            let (seed, part) = (
                spec.model.seed.wrapping_add(member as u64),
                stage.part(&format!("member-{member}")),
            );
            training::train(data, &frame, spec, seed, &part)
        };
        let members = parallel::each(spec.model.lstm.members.max(1), member);
        let members = members.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(frame, members))
    }

    fn save(&self, saved: &mut Saved) {
        saved.record(&self.frame);
        for (i, Lstm { shape, gates, head }) in self.members.iter().enumerate() {
            saved.matrix(gates_of(i), (shape.gate_rows(), 4 * shape.hidden), gates);
            saved.matrix(head_of(i), (shape.hidden + 1, shape.outputs), head);
        }
    }

    fn load(stored: &Stored<'_>, spec: &TrainSpec) -> Result<Self, ArtifactError> {
        let frame: Frame = stored.record()?;
        if frame.context() != spec.model.lstm.context {
            let defect = "the frame is of another configuration than the card";
            return Err(ArtifactError::Defect(defect.to_owned()));
        }
        frame.check(spec).map_err(ArtifactError::Defect)?;
        let shape = Self::shape(&frame, spec);
        let network = |i: usize| {
            let gates = stored.numbers(&gates_of(i), shape.gate_len())?;
            let head = stored.numbers(&head_of(i), shape.head_len())?;
            Ok(Lstm { shape, gates, head })
        };
        let members = (0..spec.model.lstm.members.max(1)).map(network);
        Ok(Self::new(frame, members.collect::<Result<_, ArtifactError>>()?))
    }

    fn about(spec: &TrainSpec) -> Option<String> {
        let l = &spec.model.lstm;
        Some(format!(
            "{} × {} hidden, context {}, at most {} epochs, seed {}",
            l.members, l.hidden, l.context, l.epochs, spec.model.seed
        ))
    }

    fn shorten(spec: &mut TrainSpec) {
        let lstm = &mut spec.model.lstm;
        (lstm.members, lstm.epochs, lstm.epoch_windows) = (1, 1, WINDOWS_OF_A_CHECK);
    }
}

fn gates_of(member: usize) -> String {
    format!("{member}.gates")
}

fn head_of(member: usize) -> String {
    format!("{member}.head")
}

impl Forecaster for Ensemble {
    fn min_history(&self) -> usize {
        self.frame.min_history()
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        self.paths(views, horizon).into_iter().map(|p| p.points).collect()
    }

    fn paths(&self, views: &[View<'_>], horizon: usize) -> Vec<Path> {
        if views.len() <= BATCH {
            return self.chunk(views, horizon);
        }
        let chunks: Vec<_> = views.chunks(BATCH).collect();
        parallel::of(&chunks, |chunk| self.chunk(chunk, horizon)).into_iter().flatten().collect()
    }
}
