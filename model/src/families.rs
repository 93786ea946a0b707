//! The families of models. To add one, write its file and its line here; what people can set of it
//! is in the specification.

pub mod autoregression;
pub mod combination;
pub mod exponential_smoothing;
pub mod gradient_boosting;
pub mod linear;
pub mod lstm;
pub mod naive;
pub mod pooled_autoregression;
pub mod theta;

use crate::family::families;
use crate::forecast::{Forecast, Forecaster};

families! {
    /// A fitted model of any family that forecasts.
    Model of Forecast as Forecaster {
        LastValue: naive::LastValue,
        Drift: naive::Drift,
        MeanOfThree: naive::Mean,
        SeasonalNaive: naive::SeasonalNaive,
        Theta: theta::Theta,
        ExponentialSmoothing: exponential_smoothing::Smoothing,
        Autoregression: autoregression::Autoregression,
        Linear: linear::Linear,
        PooledAutoregression: pooled_autoregression::Pooled,
        GradientBoosting: gradient_boosting::Trees,
        Lstm: lstm::Ensemble,
        Combination: combination::Combination,
    }
}
