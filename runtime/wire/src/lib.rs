//! JSON that crosses a process: requests, responses, problems, plans, and where things lie in S3.
//!
//! Data only. It never does IO, knows no AWS service, and every type here is part of a contract:
//! a change that an older peer cannot read needs a new schema version.

pub mod convert;
pub mod crawl;
pub mod drift;
pub mod edge;
pub mod etl;
pub mod failure;
pub mod format;
pub mod hint;
pub mod keys;
pub mod look;
pub mod place;
pub mod predict;
pub mod problem;
pub mod query;
pub mod registry;
pub mod rows;
pub mod score;
pub mod text;
