//! What comes next in each of many series.

pub mod backtest;
pub mod calendar;
pub mod combination;
pub mod conformal;
pub mod dataset;
pub mod evaluation;
pub mod fallback;
pub mod leakage;
pub mod metrics;
pub mod seasonality;
pub mod window;
pub mod windows;
