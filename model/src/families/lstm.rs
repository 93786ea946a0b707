//! An ensemble of LSTMs over all series: windows scaled per series, seasonal inputs, departures
//! from the naive forecast, all steps and three quantiles at once.

pub mod kernel;
pub mod network;
pub mod training;

use rayon::prelude::*;

use crate::error::TrainError;
use crate::forecast::dataset::{Dataset, View};
use crate::forecast::window::{Frame, Window};
use crate::host::Stage;
use crate::spec::TrainSpec;

use super::{Forecaster, Path};
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
            hidden: spec.lstm.hidden,
            outputs: spec.horizon * QUANTILES,
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
        views.par_chunks(BATCH).flat_map_iter(|chunk| self.chunk(chunk, horizon)).collect()
    }
}

/// Trains all members on all of `data`. Deterministic: the seed decides everything random.
pub fn train(data: &Dataset, spec: &TrainSpec, stage: Stage<'_>) -> Result<Ensemble, TrainError> {
    let frame = Frame::fit(data, spec, spec.lstm.context);
    let members = (0..spec.lstm.members.max(1) as u64)
        .into_par_iter()
        .map(|member| {
            training::train(
                data,
                &frame,
                spec,
                spec.seed.wrapping_add(member),
                &stage.part(&format!("member-{member}")),
            )
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Ensemble::new(frame, members))
}
