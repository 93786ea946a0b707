//! Cleaning and querying on the embedded SQL engine (DataFusion).
//!
//! It runs the plan that Spark runs on AWS Glue, statement by statement; it decides nothing about
//! the data itself. Memory is bounded: input streams, and sorts spill to disk.

pub mod clean;
pub mod csv_source;
pub mod query;
pub mod storage;
