//! Families of models behind one trait: a view of a series in, a forecast out.

pub mod autoregression;
pub mod exponential_smoothing;
pub mod gradient_boosting;
pub mod lstm;
pub mod naive;
pub mod pooled_autoregression;
pub mod theta;

use crate::error::TrainError;
use crate::forecast::dataset::{Dataset, View};
use crate::host::Stage;
use crate::spec::TrainSpec;
use steppe_spec::Family;

use crate::forecast::combination::Combination;
use autoregression::Autoregression;
use exponential_smoothing::Smoothing;
use gradient_boosting::Trees;
use lstm::Ensemble;
use naive::{Drift, LastValue, Mean, SeasonalNaive};
use pooled_autoregression::Pooled;
use theta::Theta;

/// Something that forecasts.
pub trait Forecaster: std::fmt::Debug + Send + Sync {
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

/// A fitted model of any family.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the variants are the families, documented there")]
pub enum Model {
    LastValue(LastValue),
    Drift(Drift),
    MeanOfThree(Mean),
    SeasonalNaive(SeasonalNaive),
    Theta(Theta),
    ExponentialSmoothing(Smoothing),
    Autoregression(Autoregression),
    PooledAutoregression(Pooled),
    GradientBoosting(Trees),
    Lstm(Ensemble),
    Combination(Combination),
}

impl Model {
    /// Fits `family` on all of `data`. A combination needs weights: [`Model::combine`].
    pub fn fit(
        family: Family,
        data: &Dataset,
        spec: &TrainSpec,
        stage: Stage<'_>,
    ) -> Result<Self, TrainError> {
        match family {
            Family::PooledAutoregression => {
                pooled_autoregression::train(data, spec).map(Self::PooledAutoregression)
            }
            Family::GradientBoosting => {
                gradient_boosting::train(data, spec).map(Self::GradientBoosting)
            }
            Family::Lstm => lstm::train(data, spec, stage).map(Self::Lstm),
            local => Ok(Self::local(local, spec).expect("every other family is local")),
        }
    }

    /// A family that fits each series when it forecasts it; `None` for one that must be trained.
    pub fn local(family: Family, spec: &TrainSpec) -> Option<Self> {
        let (season, transform) = (spec.frequency.season(), spec.transform);
        Some(match family {
            Family::LastValue => Self::LastValue(LastValue),
            Family::Drift => Self::Drift(Drift { transform }),
            Family::MeanOfThree => Self::MeanOfThree(Mean { of: 3 }),
            Family::SeasonalNaive => Self::SeasonalNaive(SeasonalNaive { season }),
            Family::Theta => Self::Theta(Theta { season, transform }),
            Family::ExponentialSmoothing => {
                Self::ExponentialSmoothing(Smoothing { season, transform })
            }
            Family::Autoregression => Self::Autoregression(Autoregression {
                seasons: spec.frequency.seasons(),
                transform,
            }),
            Family::PooledAutoregression
            | Family::GradientBoosting
            | Family::Lstm
            | Family::Combination => return None,
        })
    }

    /// A weighted mean of models.
    pub fn combine(members: Vec<(f64, Self)>, spec: &TrainSpec) -> Self {
        Self::Combination(Combination { members, transform: spec.transform })
    }

    /// Its family.
    pub fn family(&self) -> Family {
        match self {
            Self::LastValue(_) => Family::LastValue,
            Self::Drift(_) => Family::Drift,
            Self::MeanOfThree(_) => Family::MeanOfThree,
            Self::SeasonalNaive(_) => Family::SeasonalNaive,
            Self::Theta(_) => Family::Theta,
            Self::ExponentialSmoothing(_) => Family::ExponentialSmoothing,
            Self::Autoregression(_) => Family::Autoregression,
            Self::PooledAutoregression(_) => Family::PooledAutoregression,
            Self::GradientBoosting(_) => Family::GradientBoosting,
            Self::Lstm(_) => Family::Lstm,
            Self::Combination(_) => Family::Combination,
        }
    }

    fn forecaster(&self) -> &dyn Forecaster {
        match self {
            Self::LastValue(model) => model,
            Self::Drift(model) => model,
            Self::MeanOfThree(model) => model,
            Self::SeasonalNaive(model) => model,
            Self::Theta(model) => model,
            Self::ExponentialSmoothing(model) => model,
            Self::Autoregression(model) => model,
            Self::PooledAutoregression(model) => model,
            Self::GradientBoosting(model) => model,
            Self::Lstm(model) => model,
            Self::Combination(model) => model,
        }
    }
}

impl Forecaster for Model {
    fn min_history(&self) -> usize {
        self.forecaster().min_history()
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        self.forecaster().forecast(views, horizon)
    }

    fn paths(&self, views: &[View<'_>], horizon: usize) -> Vec<Path> {
        self.forecaster().paths(views, horizon)
    }
}
