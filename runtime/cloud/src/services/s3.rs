//! S3: objects on disk, protocol and signatures by `s3s`.
//!
//! Every operation names each member of its input; what it does not do is refused by name
//! ([`options`]). Operations that are not in [`api`] are refused by name as well.
//!
//! Differences from AWS: no access control lists (as in new buckets); no anonymous requests; bytes
//! are not encrypted at rest although every answer says `AES256`, as AWS's do; storage classes are
//! kept and told, and mean nothing; no bucket answers to web pages of other sites (CORS); lifecycle rules are executed at midnight UTC, not some time
//! after, and never move objects to another class; Signature Version 2 is refused, as for every
//! bucket of AWS since 2020. Bytes are compared with their checksums when they are read; what is
//! damaged is an error.
//!
//! For tests, `foreign_buckets.json` in the state folder names buckets that belong to another
//! account, with the policy that opens them to this one:
//! `{"name": {"owner": "111111111111", "policy": {…}}}`. It is read when the cloud starts.

mod access;
mod acl;
mod api;
mod buckets;
mod checksums;
mod completion;
mod conditions;
mod copy;
mod delivery;
mod errors;
mod front;
mod index;
mod lifecycle;
mod listing;
mod messages;
mod names;
mod notifications;
mod objects;
mod operations;
mod options;
mod parts;
mod post;
mod post_policy;
mod preflight;
mod properties;
mod reads;
mod resources;
mod rules;
mod settings;
mod store;
mod tagging;
mod unread;
mod unset;
mod versioning;

use std::sync::Arc;

use s3s::dto::{Owner, Timestamp};
use sha2::{Digest, Sha256};

use self::api::Api;
use crate::kernel::cloud::Cloud;
use crate::kernel::service::Service;
use crate::model;
pub use api::service;
pub use front::Service as Front;
pub use index::change_tags;
pub use properties::{configure, properties};
pub use store::{Bucket, Buckets as State, Object, StoreError, VerifiedBytes, Which};

/// Its operations are dispatched by `s3s`.
pub static SERVICE: Service = Service {
    elsewhere: operations::names,
    tagged: Some(index::TAGGED),
    types: resources::TYPES,
    ..Service::new("s3", model!("s3"), &[])
};

/// What goes on by itself: rules are executed, and notices of changes delivered.
pub fn begin(cloud: &Arc<Cloud>) {
    tokio::spawn(lifecycle::sweep::run(cloud.clone()));
    tokio::spawn(delivery::run(cloud.clone()));
}

fn timestamp(time: jiff::Timestamp) -> Timestamp {
    std::time::SystemTime::from(time).into()
}

/// The owner of all that is here: a canonical ID that belongs to the account.
fn owner(account: &str) -> Owner {
    Owner { id: Some(hex::encode(Sha256::digest(account))), display_name: None }
}
