//! S3: objects on disk, protocol and signatures by `s3s`.
//!
//! Every operation names each member of its input; what it does not do is refused by name
//! ([`options`]). Operations that are not in [`api`] are refused by name as well.
//!
//! Differences from AWS: no versions (every object has the version `null`), no access control lists
//! (as in new buckets), lifecycle rules are kept and told but not executed, bytes are not encrypted
//! at rest although every answer says `AES256`, as AWS's do; every object is of the class STANDARD.
//! Bytes are compared with their MD5 when an object is read whole; what is damaged is an error.
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
mod errors;
mod front;
mod lifecycle;
mod listing;
mod names;
mod objects;
mod operations;
mod options;
mod parts;
mod reads;
mod resources;
mod settings;
mod store;
mod tagging;
mod unread;
mod unset;

use s3s::dto::{Owner, Timestamp};
use sha2::{Digest, Sha256};

use self::api::Api;
use crate::kernel::service::Service;
use crate::model;
pub use api::service;
pub use front::Service as Front;
pub use store::{Bucket, Buckets as State, Object, StoreError, VerifiedBytes};

/// Its operations are dispatched by `s3s`.
pub static SERVICE: Service = Service {
    elsewhere: operations::names,
    types: resources::TYPES,
    ..Service::new("s3", model!("s3"), &[])
};

fn timestamp(time: jiff::Timestamp) -> Timestamp {
    std::time::SystemTime::from(time).into()
}

/// The owner of all that is here: a canonical ID that belongs to the account.
fn owner(account: &str) -> Owner {
    Owner { id: Some(hex::encode(Sha256::digest(account))), display_name: None }
}
