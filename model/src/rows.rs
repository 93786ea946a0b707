//! Rows instead of series: the numbers of classification and regression.
//!
//! Plain values in, plain values out. Nothing here knows a manifest, a task, a card or a file;
//! nothing reads a clock; equal values and seeds give equal answers on every number of cores.
//! Families are fitted on a [`matrix::Matrix`], in which NaN is a missing value; [`prepare`] makes
//! it of source columns and knows which came of which. Several classes are one against the rest,
//! so everything here knows two classes or a number.

pub mod agreement;
pub mod boosting;
pub mod calibration;
pub mod dbscan;
pub(crate) mod draw;
pub mod error;
pub mod fitted;
pub mod forest;
pub mod interactions;
pub mod isolation;
pub mod k_means;
pub mod linear;
pub mod linear_model;
pub mod logistic;
pub mod matrix;
pub mod metrics;
mod neighbours;
pub mod plan;
pub mod prepare;
pub mod split;
pub mod standard;
pub mod suspicions;
pub mod table;
pub mod tails;
pub mod threshold;
pub mod tree_shap;
pub mod trees;
pub mod tuning;
pub mod vote;

pub use error::RowsError;
