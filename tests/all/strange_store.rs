//! A bucket as S3 shows it where memory does not: rights, marks of folders, objects that vanish.

use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::*;

/// What is strange about a bucket.
#[derive(Debug, Clone, Default)]
pub struct Strange {
    /// Prefixes that may be read and listed; everything when there are none.
    pub readable: Vec<&'static str>,
    /// Empty objects that listings have, at places that no object has.
    pub marks: Vec<&'static str>,
    /// Objects that listings have, but which are gone.
    pub gone: Vec<&'static str>,
    /// Every read ends in a panic.
    pub broken: bool,
}

/// A bucket in memory, seen so.
#[derive(Debug)]
pub struct StrangeStore {
    /// What it holds.
    pub store: Arc<InMemory>,
    /// How it is seen.
    pub strange: Strange,
}

impl std::fmt::Display for StrangeStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("strange")
    }
}

fn denied(path: &str) -> Error {
    Error::PermissionDenied { path: path.to_owned(), source: "403 Forbidden".into() }
}

impl StrangeStore {
    fn may(&self, path: &str) -> bool {
        let readable = &self.strange.readable;
        readable.is_empty() || readable.iter().any(|prefix| path.starts_with(prefix))
    }

    fn invented(&self, prefix: &str) -> Vec<Result<ObjectMeta>> {
        let entry = |(place, size): (&&'static str, u64)| {
            Ok(ObjectMeta {
                location: Path::from(*place),
                last_modified: Default::default(),
                size,
                e_tag: None,
                version: None,
            })
        };
        let (marks, gone) = (&self.strange.marks, &self.strange.gone);
        let all = marks.iter().map(|m| (m, 0)).chain(gone.iter().map(|g| (g, 10)));
        all.filter(|(place, _)| place.starts_with(prefix)).map(entry).collect()
    }
}

#[async_trait::async_trait]
impl ObjectStore for StrangeStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.store.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        assert!(!self.strange.broken, "a defect of a dependency");
        if !self.may(location.as_ref()) {
            return Err(denied(location.as_ref()));
        }
        let found = self.store.get_opts(location, options).await;
        found.map_err(|error| match error {
            // Whoever may not list the whole bucket is not told what it lacks.
            Error::NotFound { path, .. } if !self.strange.readable.is_empty() => denied(&path),
            other => other,
        })
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
        let text = prefix.map_or(String::new(), |prefix| format!("{prefix}/"));
        if !self.may(&text) {
            return stream::iter([Err(denied(&text))]).boxed();
        }
        let invented = self.invented(text.trim_end_matches('/'));
        stream::iter(invented).chain(self.store.list(prefix)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
