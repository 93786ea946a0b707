//! What pipelines write into buckets, by the layout of their keys.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::ask::Ask;
use crate::services::s3::Object;

/// Objects that are looked at below a prefix of a bucket.
const OBJECTS_MAX: usize = 20_000;
/// Bytes of an object that is read whole.
const BYTES_MAX: u64 = 8 * 1024 * 1024;

/// An object with its place.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// What is known of it.
    pub object: Arc<Object>,
}

/// Objects below `prefix` of a bucket whose keys fit.
pub fn below(ask: &Ask, bucket: &str, prefix: &str, fits: impl Fn(&str) -> bool) -> Vec<Found> {
    let mut found = Vec::new();
    let Ok(objects) = ask.cloud.services.s3.objects(bucket) else { return found };
    let mut seen = 0;
    objects.scan(prefix, None, |key, object| {
        seen += 1;
        if fits(key) {
            found.push(Found { bucket: bucket.to_owned(), key: key.to_owned(), object });
        }
        if seen < OBJECTS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    found
}

/// The same in all buckets of this account, the newest first.
pub fn everywhere(ask: &Ask, prefix: &str, fits: impl Fn(&str) -> bool) -> Vec<Found> {
    let buckets = ask.cloud.services.s3.all().into_iter();
    let own = buckets.filter(|(_, bucket)| bucket.owner.is_none());
    let mut found: Vec<Found> =
        own.flat_map(|(name, _)| below(ask, &name, prefix, &fits)).collect();
    found.sort_by_key(|found| std::cmp::Reverse(found.object.modified));
    found
}

impl Found {
    /// Its bytes, unless there are too many.
    pub fn read(&self, ask: &Ask) -> Option<Vec<u8>> {
        if self.object.size > BYTES_MAX {
            return None;
        }
        ask.cloud.services.s3.read(&self.bucket, &self.key).ok()
    }

    /// The value that it is.
    pub fn json(&self, ask: &Ask) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.read(ask)?).ok()
    }
}
