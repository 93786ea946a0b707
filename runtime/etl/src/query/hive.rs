//! Hive's statements, which Athena runs on its catalogue and not on its engine.
//!
//! They are read here and done by calls of Glue's API, so that the rights that each needs are those
//! of the calls.

mod apply;
pub mod partitions;
mod show;
pub mod statement;
pub mod storage;
pub mod words;

pub use apply::{apply, find_table, now_secs, refused};
