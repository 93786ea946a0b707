//! The model server: answers over HTTP from a model and data sets in S3.
//!
//! It reads two buckets and writes none. It never trains, and never answers with a number it
//! cannot stand behind: every failure is a problem document.

pub mod access_log;
pub mod batch;
pub mod body;
pub mod clients;
pub mod config;
pub mod datasets;
pub mod forecasts;
pub mod guard;
pub mod inference;
pub mod metrics;
pub mod model_store;
pub mod patience;
pub mod problems;
pub mod routes;
pub mod rows;
pub mod served;
pub mod service;
pub mod serving;
pub mod tensors;
pub mod watch;
