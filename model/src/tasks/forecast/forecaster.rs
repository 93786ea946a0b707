//! What a family of forecasters does: a view of a series in, a forecast out.

use std::fmt::Debug;

use crate::artifact::ArtifactError;
use crate::error::TrainError;
use crate::families::Model;
use crate::family::Family;
use crate::host::Stage;
use crate::stored::{Saved, Stored};
use steppe_spec::TrainSpec;

use super::Forecast;
use super::dataset::{Dataset, View};

/// Something that forecasts.
pub trait Forecaster: Debug + Send + Sync {
    /// Observations that a history needs at least.
    fn min_history(&self) -> usize;

    /// Point forecasts in units of the target, one row per view, nearest step first. Every view has
    /// at least [`Forecaster::min_history`] values, and `horizon` is at most what the model was
    /// trained for.
    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>>;

    /// Forecasts with the model's own idea of their uncertainty, where it has one.
    fn paths(&self, views: &[View<'_>], horizon: usize) -> Vec<Path> {
        self.forecast(views, horizon)
            .into_iter()
            .map(|points| Path { points, spreads: Vec::new() })
            .collect()
    }
}

/// The forecast of one series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Path {
    /// Point forecasts in units of the target, nearest step first.
    pub points: Vec<f64>,
    /// Half width of the model's own interval per step, on the transformed scale; empty for a
    /// family without one. Calibration decides what it is worth.
    pub spreads: Vec<f64>,
}

/// A family that fits each series when it forecasts it: it learns nothing before, and an artifact
/// holds nothing of it.
pub trait Local: Forecaster + Clone + PartialEq {
    /// See [`Family::QUICK`].
    const QUICK: bool = false;

    /// The family as the configuration wants it.
    fn new(spec: &TrainSpec) -> Self;
}

impl<F: Local> Family<Forecast> for F {
    const GLOBAL: bool = false;
    const QUICK: bool = <F as Local>::QUICK;

    fn fit(_: &Dataset, spec: &TrainSpec, _: &Stage<'_>) -> Result<Self, TrainError> {
        Ok(F::new(spec))
    }

    fn save(&self, _: &mut Saved) {}

    fn load(_: &Stored<'_>, spec: &TrainSpec) -> Result<Self, ArtifactError> {
        Ok(F::new(spec))
    }
}

impl Model {
    /// Fits `family` on all of `data`.
    pub fn fit(
        family: steppe_spec::Family,
        data: &Dataset,
        spec: &TrainSpec,
        stage: &Stage<'_>,
    ) -> Result<Self, TrainError> {
        let recipe = Self::recipe(family).ok_or_else(|| {
            TrainError::Unusable(format!("the family `{}` does not forecast", family.name()))
        })?;
        (recipe.fit)(data, spec, stage)
    }
}

impl Forecaster for Model {
    fn min_history(&self) -> usize {
        self.role().min_history()
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        self.role().forecast(views, horizon)
    }

    fn paths(&self, views: &[View<'_>], horizon: usize) -> Vec<Path> {
        self.role().paths(views, horizon)
    }
}
