//! What a deployment keeps in S3, as every program sees it: buckets, the models and which one is in
//! service, what became of trainings, and the files of the clean table.
//!
//! It knows neither what a model is nor what is in a table: it hands out bytes that are bounded and
//! belong together. The runtime programs reach S3 through [`Bucket`], the deployer through clients
//! of its own behind [`Objects`].

mod bucket;
mod listing;
mod objects;
mod page;
mod records;
mod registry;
pub mod table;

pub use bucket::{Bucket, key, objects, open, unnameable, with};
pub use objects::{BucketError, Object, Objects, StoreError, read_json, write_json};
pub use records::Checkpoints;
pub use registry::{ModelFiles, Pointer, Registry};
