//! Small objects whole: what the registry and the jobs read and write.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use serde::Serialize;
use serde::de::DeserializeOwned;
use steppe_wire::edge::EdgeError;
use steppe_wire::failure::Failure;
use thiserror::Error as ThisError;

use crate::bucket;

/// Largest object that is read whole.
pub const OBJECT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// An object's bytes, and the ETag that a conditional write needs.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its ETag.
    pub tag: String,
}

/// A bucket as the registry needs it.
pub trait Objects: Sync {
    /// How a call fails.
    type Error: std::error::Error + Send + Sync + 'static;

    /// An object of at most `bytes_max`; `None` when it is not there.
    fn read(
        &self,
        key: &str,
        bytes_max: u64,
    ) -> impl Future<Output = Result<Option<Object>, Self::Error>> + Send;

    /// Writes an object, whatever is there.
    fn write(
        &self,
        key: &str,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Writes an object only where it is still what it was when its ETag was read, or, without
    /// one, not there; false when it is something else by now.
    fn write_if(
        &self,
        key: &str,
        bytes: Vec<u8>,
        tag: Option<&str>,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// All keys below `folder`, which ends with `/`.
    fn keys(&self, folder: &str) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;
}

/// Why something that is kept cannot be had.
#[derive(Debug, ThisError)]
pub enum StoreError<E: std::error::Error + 'static = BucketError> {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] E),
    /// The object is not what it should be.
    #[error("`{key}` is not {what}")]
    Unreadable {
        /// Its key.
        key: String,
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The pointer was replaced since it was read.
    #[error("the model in service was changed meanwhile")]
    Changed,
    /// The pointer names what can be no model.
    #[error("`{key}` is not usable")]
    Version {
        /// Key of the pointer.
        key: String,
        /// Why not.
        source: EdgeError,
    },
    /// A model without one of its files.
    #[error("model {version} has no {file}")]
    Missing {
        /// The model.
        version: String,
        /// The file.
        file: &'static str,
    },
}

/// Why a call on a [`Bucket`] failed.
#[derive(Debug, ThisError)]
pub enum BucketError {
    /// What S3 or the way to it said.
    #[error("`{key}` in S3: {error}")]
    S3 {
        /// The key.
        key: String,
        /// The library's error, which says why in its own text.
        error: Error,
    },
    /// Larger than anything that is read whole.
    #[error("`{key}` has {size} bytes; at most {bytes_max} are read")]
    TooLarge {
        /// The key.
        key: String,
        /// Its size.
        size: u64,
        /// The largest size.
        bytes_max: u64,
    },
}

impl BucketError {
    /// What S3 said about `key`.
    pub fn of(key: &str, error: Error) -> Self {
        Self::S3 { key: key.to_owned(), error }
    }
}

/// A denial will be a denial again.
impl From<BucketError> for Failure {
    fn from(error: BucketError) -> Self {
        match &error {
            BucketError::S3 { error: cause, .. } if !is_denial(cause) => {
                Self::retryable(error.to_string())
            }
            _ => Self::permanent(error.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Call(error) => error.into(),
            StoreError::Changed => Self::retryable(error.to_string()),
            StoreError::Unreadable { ref source, .. } => {
                Self::permanent(format!("{error}: {source}"))
            }
            StoreError::Version { ref source, .. } => Self::permanent(format!("{error}: {source}")),
            StoreError::Missing { .. } => Self::permanent(error.to_string()),
        }
    }
}

impl Objects for Arc<dyn ObjectStore + '_> {
    type Error = BucketError;

    async fn read(&self, key: &str, bytes_max: u64) -> Result<Option<Object>, BucketError> {
        let failed = |error| BucketError::of(key, error);
        let found = match self.get(&Path::from(key)).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            // S3 tells only those who may list the whole bucket that an object is not there; others
            // are denied.
            Err(error) if is_denial(&error) && !is_listed(&**self, key).await? => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let size = found.meta.size;
        if size > bytes_max {
            return Err(BucketError::TooLarge { key: key.to_owned(), size, bytes_max });
        }
        let tag = found.meta.e_tag.clone().unwrap_or_default();
        Ok(Some(Object { bytes: found.bytes().await.map_err(failed)?, tag }))
    }

    async fn write(&self, key: &str, bytes: Vec<u8>) -> Result<(), BucketError> {
        let put = self.put(&Path::from(key), bytes.into()).await;
        put.map(|_| ()).map_err(|error| BucketError::of(key, error))
    }

    async fn write_if(
        &self,
        key: &str,
        bytes: Vec<u8>,
        tag: Option<&str>,
    ) -> Result<bool, BucketError> {
        let mode = tag.map_or(PutMode::Create, |tag| {
            PutMode::Update(UpdateVersion { e_tag: Some(tag.to_owned()), version: None })
        });
        match self.put_opts(&Path::from(key), bytes.into(), PutOptions::from(mode)).await {
            Ok(_) => Ok(true),
            Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(BucketError::of(key, error)),
        }
    }

    async fn keys(&self, folder: &str) -> Result<Vec<String>, BucketError> {
        let listed = self.list(Some(&Path::from(folder)));
        let keys = listed.and_then(|object| std::future::ready(Ok(object.location.into())));
        keys.try_collect().await.map_err(|error| BucketError::of(folder, error))
    }
}

fn is_denial(error: &Error) -> bool {
    matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
}

/// Whether a listing of its folder has `key`.
async fn is_listed(store: &dyn ObjectStore, key: &str) -> Result<bool, BucketError> {
    let folder = Path::from(key.rsplit_once('/').map_or("", |(folder, _)| folder));
    let wanted = key.to_owned();
    let mut found = bucket::objects(store, &folder, move |key| key == wanted);
    let found = found.try_next().await.map_err(|error| BucketError::of(key, error))?;
    Ok(found.is_some())
}

/// An object of JSON; `None` when it is not there.
pub async fn read_json<O: Objects, T: DeserializeOwned>(
    objects: &O,
    key: &str,
    what: &'static str,
) -> Result<Option<T>, StoreError<O::Error>> {
    let Some(object) = objects.read(key, OBJECT_BYTES_MAX).await? else { return Ok(None) };
    parsed(&object.bytes, key, what).map(Some)
}

/// Writes an object of JSON.
pub async fn write_json<O: Objects>(
    objects: &O,
    key: &str,
    value: &impl Serialize,
) -> Result<(), O::Error> {
    objects.write(key, json(value)).await
}

/// What the bytes say.
pub(crate) fn parsed<T: DeserializeOwned, E: std::error::Error>(
    bytes: &[u8],
    key: &str,
    what: &'static str,
) -> Result<T, StoreError<E>> {
    serde_json::from_slice(bytes).map_err(|source| StoreError::Unreadable {
        key: key.to_owned(),
        what,
        source,
    })
}

/// JSON for people, too.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("records have text keys and write into memory")
}
