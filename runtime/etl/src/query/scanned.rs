//! The store of a query's tables: counts what is read, stops at the work group's limit, and shows
//! only the files that are data.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use steppe_store::table::{below, is_hidden};
use steppe_store::unnameable;
use steppe_wire::query::{FailureKind, QueryFailure};

/// Athena's words for a query over its limit.
const EXCEEDED: &str = "Bytes scanned limit was exceeded";
/// Endings of compressed files that are not unpacked here.
const COMPRESSED: [&str; 4] = [".bz2", ".lzo", ".lz4", ".snappy"];

/// How much a query has read, and how much it may.
#[derive(Debug, Clone)]
pub struct Scan {
    bytes: Arc<AtomicU64>,
    bytes_max: u64,
}

impl Scan {
    /// Nothing read yet.
    pub fn new(bytes_max: Option<u64>) -> Self {
        Self { bytes: Arc::default(), bytes_max: bytes_max.unwrap_or(u64::MAX) }
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether that is too much.
    pub fn exceeded(&self) -> bool {
        self.bytes() > self.bytes_max
    }

    /// How such a query ends.
    pub fn failure(&self) -> QueryFailure {
        QueryFailure { kind: FailureKind::Cancelled, message: EXCEEDED.to_owned() }
    }

    /// `store` with this count.
    pub fn over(&self, store: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(Scanned { scan: self.clone(), store })
    }

    fn add(&self, bytes: u64) -> Result<()> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.exceeded() {
            return Err(object_store::Error::Generic { store: "S3", source: EXCEEDED.into() });
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Scanned {
    scan: Scan,
    store: Arc<dyn ObjectStore>,
}

impl fmt::Display for Scanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

/// Names like `_SUCCESS` and `.part.crc`, folders, and empty files hold no rows. A key that no path
/// can name stays an error, unless its name hides it: rows must not go missing.
fn is_data(entry: &Result<ObjectMeta>, folder: &Path) -> bool {
    match entry {
        Ok(object) => object.size > 0 && !is_hidden(below(object.location.as_ref(), folder)),
        Err(error) => unnameable(error).is_none_or(|key| !is_hidden(below(key, folder))),
    }
}

fn refuse_compressed(object: ObjectMeta) -> Result<ObjectMeta> {
    if !COMPRESSED.iter().any(|ending| object.location.as_ref().ends_with(ending)) {
        return Ok(object);
    }
    let why = format!("the embedded cloud does not read compressed text: {}", object.location);
    Err(object_store::Error::NotSupported { source: why.into() })
}

#[async_trait]
impl ObjectStore for Scanned {
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
        let head = options.head;
        let result = self.store.get_opts(location, options).await?;
        if !head {
            self.scan.add(result.range.end - result.range.start)?;
        }
        Ok(result)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let folder = prefix.cloned().unwrap_or_default();
        let data = self
            .store
            .list(prefix)
            .filter(move |entry| futures::future::ready(is_data(entry, &folder)));
        data.map(|object| object.and_then(refuse_compressed)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
