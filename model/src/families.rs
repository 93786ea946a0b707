//! The families of models. To add one, write its file and its line here; what people can set of it
//! is in the specification.

pub mod arima;
pub mod autoregression;
pub mod best_column;
pub mod combination;
pub mod damped_trend;
pub mod exponential_smoothing;
pub mod gradient_boosting;
pub mod level_shape;
pub mod linear;
pub mod lstm;
pub mod naive;
pub mod pooled_autoregression;
pub mod prior;
pub mod random_forest;
pub mod sum_of_columns;
pub mod theta;
pub mod trees_of_rows;
pub mod trees_of_series;

use crate::family::families;
use crate::forecast::{Forecast, Forecaster};
use crate::tabular::Tabular;
use crate::tabular::model::Scorer;

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
        Arima: arima::Arima,
        LevelShape: level_shape::LevelShape,
        Linear: linear::Linear,
        DampedTrend: damped_trend::DampedTrend,
        PooledAutoregression: pooled_autoregression::Pooled,
        GradientBoosting: gradient_boosting::Trees,
        RandomForest: random_forest::Forest,
        Lstm: lstm::Ensemble,
        Combination: combination::Combination,
    }
}

families! {
    /// A fitted model of any family about rows.
    RowModel of Tabular as Scorer {
        Prior: prior::Prior,
        BestColumn: best_column::BestColumn,
        Linear: sum_of_columns::Linear,
        Logistic: sum_of_columns::Logistic,
        GradientBoosting: trees_of_rows::BoostedRows,
        RandomForest: trees_of_rows::RandomForest,
    }
}
