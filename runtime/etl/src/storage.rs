//! Where the engine reads and writes: S3 or files of this machine, behind one object store
//! interface.
//!
//! Which of the two is decided by whoever starts the process, never by a text that came with the
//! work. In a session for S3 there is no store for local files at all.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, path::Path};
use steppe_wire::place::{S3Object, S3Place};
use url::Url;

/// What the places of a process are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Realm {
    /// `s3://bucket/prefix/` and `s3://bucket/key`, and nothing else.
    S3,
    /// Paths of this machine, and nothing else.
    Files,
}

/// A file or prefix and the store it is in.
#[derive(Clone)]
pub struct Place {
    /// As people write it: `s3://bucket/key`, or a path. A prefix ends in `/`.
    pub name: String,
    /// As a URL: `s3://bucket/key` or `file:///path`.
    pub url: Url,
    /// Its path within the store.
    pub path: Path,
    /// The store.
    pub store: Arc<dyn ObjectStore>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Realm {
    /// A session's runtime without stores that this realm has not.
    pub fn confine(self, runtime: &RuntimeEnv) -> Result<()> {
        if self == Self::S3 {
            runtime.deregister_object_store(&Url::parse("file://")?)?;
        }
        Ok(())
    }

    /// One file.
    pub fn file(self, text: &str) -> Result<Place> {
        match self {
            Self::S3 => {
                let object = S3Object::parse(text)?;
                Place::s3(&object.bucket, &object.key, object.to_string())
            }
            Self::Files => Place::local(text, Url::from_file_path),
        }
    }

    /// A prefix, which ends in `/` whether `text` does or not.
    pub fn prefix(self, text: &str) -> Result<Place> {
        match self {
            Self::S3 => {
                let place = S3Place::parse(text)?;
                Place::s3(&place.bucket, &place.prefix, place.to_string())
            }
            Self::Files => {
                let mut place = Place::local(text, Url::from_directory_path)?;
                place.name = format!("{}/", place.name.trim_end_matches('/'));
                Ok(place)
            }
        }
    }
}

impl Place {
    fn s3(bucket: &str, key: &str, name: String) -> Result<Self> {
        let store = steppe_store::open(bucket, None)
            .with_context(|| format!("cannot set up access to bucket `{bucket}`"))?;
        let mut url = Url::parse(&format!("s3://{bucket}"))?;
        url.set_path(key);
        let path = Path::parse(key).with_context(|| format!("`{name}` is not a key"))?;
        Ok(Self { name, path, store, url })
    }

    fn local(name: &str, to_url: fn(std::path::PathBuf) -> Result<Url, ()>) -> Result<Self> {
        let not_a_path = || format!("`{name}` is not a path");
        let absolute = std::fs::canonicalize(name)
            .or_else(|_| std::path::absolute(name))
            .with_context(not_a_path)?;
        let url = to_url(absolute).map_err(|()| anyhow::anyhow!(not_a_path()))?;
        let path = Path::from_url_path(url.path()).with_context(not_a_path)?;
        let store = Arc::new(LocalFileSystem::new());
        Ok(Self { name: name.to_owned(), url, path, store })
    }

    /// A file below this prefix.
    pub fn join(&self, file: &str) -> Self {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{file}", url.path().trim_end_matches('/')));
        Self {
            name: format!("{}/{file}", self.name.trim_end_matches('/')),
            url,
            path: self.path.clone().join(file),
            store: self.store.clone(),
        }
    }

    /// Whether `other` is this place or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        let root = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned));
        root(&self.url) == root(&other.url) && other.path.prefix_matches(&self.path)
    }

    /// Whether one of the two lies in the other.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// Lets SQL read and write this place's store.
    pub fn register(&self, context: &SessionContext) {
        context.register_object_store(&self.url, self.store.clone());
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn what_is_not_in_s3_has_no_place_there() {
        for text in ["/etc/passwd", "passwd", "file:///etc/passwd", "s3://my-data/", "s3://my-data"]
        {
            assert!(Realm::S3.file(text).is_err() && Realm::S3.prefix(text).is_err(), "{text}");
        }
        let runtime = RuntimeEnv::default();
        let local = Url::parse("file:///etc/passwd").expect("a URL");
        assert!(runtime.object_store_registry.get_store(&local).is_ok());
        Realm::S3.confine(&runtime).expect("confined");
        assert!(runtime.object_store_registry.get_store(&local).is_err());
    }

    #[test]
    fn places_of_files_overlap_by_whole_names() {
        let prefix = |text| Realm::Files.prefix(text).expect("a place");
        assert!(prefix("/a/b").overlaps(&prefix("/a/b/c/")));
        assert!(!prefix("/a/b").overlaps(&prefix("/a/bc")));
        assert_eq!(prefix("/a/b").join("c.csv").name, "/a/b/c.csv");
    }
}
