//! Places: `s3://bucket/key` or a local path, behind one object store interface.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::prelude::SessionContext;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, path::Path};
use url::Url;

/// A file or prefix and the store it is in.
#[derive(Debug, Clone)]
pub struct Place {
    /// As it was given, for messages.
    pub name: String,
    /// As a URL: `s3://bucket/key` or `file:///path`.
    pub url: Url,
    /// Its path within the store.
    pub path: Path,
    /// The store.
    pub store: Arc<dyn ObjectStore>,
}

impl Place {
    /// Parses `s3://bucket/key` or a path; credentials and endpoint of S3 come from the environment.
    pub fn parse(text: &str) -> Result<Self> {
        match Url::parse(text) {
            Ok(url) if url.scheme() == "s3" => Self::s3(text, url),
            Ok(url) if url.scheme() == "file" => {
                let path =
                    url.to_file_path().map_err(|()| anyhow::anyhow!("`{text}` is not a path"))?;
                let slash = if text.ends_with('/') { "/" } else { "" };
                Self::parse(&format!("{}{slash}", path.display().to_string().trim_end_matches('/')))
            }
            Ok(url) if url.scheme().len() > 1 => {
                bail!("`{text}` is neither an `s3://` address nor a path")
            }
            _ => {
                let absolute = std::fs::canonicalize(text)
                    .or_else(|_| std::path::absolute(text))
                    .with_context(|| format!("`{text}` is not a path"))?;
                let is_dir = text.ends_with('/');
                let url = if is_dir {
                    Url::from_directory_path(&absolute)
                } else {
                    Url::from_file_path(&absolute)
                };
                Self::local(text, url.map_err(|()| anyhow::anyhow!("`{text}` is not a path"))?)
            }
        }
    }

    fn s3(name: &str, url: Url) -> Result<Self> {
        let bucket = url.host_str().with_context(|| format!("`{url}` has no bucket"))?;
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .build()
            .with_context(|| format!("cannot set up access to bucket `{bucket}`"))?;
        let path =
            Path::from_url_path(url.path()).with_context(|| format!("`{url}` is not a key"))?;
        Ok(Self { name: name.to_owned(), path, store: Arc::new(store), url })
    }

    fn local(name: &str, url: Url) -> Result<Self> {
        let path =
            Path::from_url_path(url.path()).with_context(|| format!("`{url}` is not a path"))?;
        Ok(Self { name: name.to_owned(), path, store: Arc::new(LocalFileSystem::new()), url })
    }

    /// A file below this prefix.
    pub fn join(&self, name: &str) -> Result<Self> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{name}", url.path().trim_end_matches('/')));
        let path = Path::from_url_path(url.path())?;
        let joined = format!("{}/{name}", self.name.trim_end_matches('/'));
        Ok(Self { name: joined, url, path, store: self.store.clone() })
    }

    /// Lets SQL read and write this place's store.
    pub fn register(&self, context: &SessionContext) {
        context.register_object_store(&self.url, self.store.clone());
    }
}
