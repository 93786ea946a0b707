//! S3: objects on disk, protocol and signatures by `s3s`.
//!
//! Differences from AWS: no versions, no access control lists, no lifecycle execution, no encryption
//! at rest (the setting is kept and reported); every object is of the class STANDARD;
//! a missing object is 404 even for those who may not list the bucket.

mod api;
mod store;

pub use api::service;
pub use store::{Bucket, Buckets, Object, StoreError};
