//! A bucket of S3 as the runtime programs use it: the library's client, with listings of our own.
//!
//! The library does not ask S3 to encode keys in listings, and refuses a whole page for one key
//! that its paths cannot name, so anybody who may write one object could keep everybody from
//! reading the others. Here such a key is one error in its place, and the listing goes on.
//!
//! It keeps nothing, retries what may succeed a few times, and decides nothing about objects.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, future};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::{self, Path};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::listing::Listing;

/// A bucket.
pub type Bucket = Arc<dyn ObjectStore>;

/// Opens the bucket `name` with region, endpoint and credentials of the environment, as AWS's own
/// tools read it.
///
/// `owner` is the account that the bucket must belong to. Listings are refused when it belongs to
/// another; for reading and writing the caller's policies must see to it.
pub fn open(name: &str, owner: Option<String>) -> Result<Bucket> {
    with(AmazonS3Builder::from_env().with_bucket_name(name), owner)
}

/// As [`open`], with settings of the caller's.
pub fn with(builder: AmazonS3Builder, owner: Option<String>) -> Result<Bucket> {
    let store = builder.clone().build()?;
    let listing = Listing::new(&builder, store.credentials().clone(), owner)?;
    Ok(Arc::new(S3 { store, listing: Arc::new(listing) }))
}

/// The key that no path can name, when that is what went wrong with an entry of a listing.
pub fn unnameable(error: &Error) -> Option<&str> {
    match error {
        Error::InvalidPath {
            source: path::Error::EmptySegment { path } | path::Error::BadSegment { path, .. },
        } => Some(path),
        _ => None,
    }
}

/// The key of an entry of a listing, whether a path can name it or not.
pub fn key(entry: Result<ObjectMeta>) -> Result<String> {
    match entry {
        Ok(object) => Ok(object.location.into()),
        Err(error) => unnameable(&error).map(str::to_owned).ok_or(error),
    }
}

/// The objects below `folder` whose keys are `wanted`. One that is wanted and that no path can
/// name is an error, others are passed over.
pub fn objects(
    bucket: &dyn ObjectStore,
    folder: &Path,
    wanted: impl Fn(&str) -> bool + Send + 'static,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let is_wanted = move |entry: &Result<ObjectMeta>| match entry {
        Ok(object) => wanted(object.location.as_ref()),
        Err(error) => unnameable(error).is_none_or(&wanted),
    };
    bucket.list(Some(folder)).filter(move |entry| future::ready(is_wanted(entry))).boxed()
}

/// The library's client, and listings of our own.
#[derive(Debug)]
struct S3 {
    store: AmazonS3,
    listing: Arc<Listing>,
}

impl fmt::Display for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for S3 {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.store.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing.clone().objects(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.listing.clone().level(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_no_path_can_name_is_told() {
        for key in ["a//b", "a/\u{1}", "a/../b"] {
            let error = Error::from(Path::parse(key).expect_err("no path"));
            assert_eq!(unnameable(&error), Some(key));
        }
    }
}
