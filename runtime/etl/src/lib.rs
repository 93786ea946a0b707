//! Cleaning and querying on the embedded SQL engine (DataFusion).
//!
//! It runs the plan that Spark runs on AWS Glue, statement by statement, and answers SQL in
//! Athena's dialect and forms; it decides nothing about the data itself. Memory is bounded: input
//! streams, sorts spill to disk, and the process has a limit that the system keeps.

pub mod clean;
pub mod convert;
pub mod crawl;
mod csv_rows;
mod distinct;
pub mod file_rows;
pub mod formats;
mod header;
pub mod look;
mod objects;
pub mod process;
pub mod query;
mod rows;
mod scan;
mod shape;
mod source;
pub mod spark_sql;
mod spill;
pub mod storage;
mod table;
mod types;
