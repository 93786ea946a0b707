//! The clean table's files: which ones are a table, and how much a table may have.
//!
//! There is one set of bounds, so that a table that trains can be served.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::future::ready;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt};
use thiserror::Error as ThisError;

use crate::bucket::{Bucket, objects};

/// Files of one table.
pub const FILES_MAX: usize = 10_000;
/// Bytes of one table.
pub const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Files read at once.
const READS: usize = 16;

/// Why a table cannot be had.
#[derive(Debug, ThisError)]
pub enum TableError {
    /// No path can name its key.
    #[error("it is not a key: {0}")]
    Key(object_store::path::Error),
    /// What S3 or the way to it said.
    #[error("{0}")]
    S3(Error),
    /// Beyond the bounds.
    #[error("{files} files with {bytes} bytes; at most {FILES_MAX} files and {bytes_max} bytes")]
    TooLarge {
        /// Its files, or one more than there may be.
        files: usize,
        /// Their bytes.
        bytes: u64,
        /// Bytes that there may be.
        bytes_max: u64,
    },
    /// It grew while it was read.
    #[error("it grew beyond {0} bytes")]
    Grew(u64),
    /// A file is gone that was listed: it may be there again in a moment, under another name.
    #[error("its files are being replaced")]
    Replaced,
}

/// The files of a table as they were listed.
#[derive(Debug)]
pub struct Table {
    files: Vec<ObjectMeta>,
    bytes_max: u64,
}

impl Table {
    /// Lists the table at `key`: one object, or the folder that `key` names when it ends with `/`.
    /// `None` when there are no files.
    pub async fn find(
        bucket: &dyn ObjectStore,
        key: &str,
        bytes_max: u64,
    ) -> Result<Option<Self>, TableError> {
        let path = Path::parse(key).map_err(TableError::Key)?;
        let found = if key.ends_with('/') {
            let folder = path.clone();
            listed(bucket, &path, move |key| is_table_file(key, &folder)).await
        } else {
            file(bucket, &path).await
        };
        let mut files = found.map_err(TableError::S3)?;
        files.sort_by(|a, b| a.location.cmp(&b.location));
        check(files.len(), files.iter().map(|f| f.size).sum(), bytes_max)?;
        Ok(Some(Self { files, bytes_max }).filter(|table| !table.files.is_empty()))
    }

    /// What tells whether a table is still the same.
    pub fn etags(&self) -> Vec<Option<String>> {
        self.files.iter().map(|f| f.e_tag.clone()).collect()
    }

    /// The files' keys, in the order of their names.
    pub fn keys(&self) -> Vec<String> {
        self.files.iter().map(|file| file.location.to_string()).collect()
    }

    /// Reads the files, in the order of their names.
    pub async fn read(self, bucket: &Bucket) -> Result<Vec<Bytes>, TableError> {
        let (bytes_max, read) = (self.bytes_max, AtomicU64::new(0));
        let read = &read;
        let one = |file: ObjectMeta| async move {
            let found = bucket.get(&file.location).await.map_err(vanished)?;
            // Somebody may have replaced it since it was listed.
            let size = found.meta.size;
            if read.fetch_add(size, Ordering::Relaxed).saturating_add(size) > bytes_max {
                return Err(TableError::Grew(bytes_max));
            }
            found.bytes().await.map_err(vanished)
        };
        stream::iter(self.files).map(one).buffered(READS).try_collect().await
    }
}

/// Refuses what is beyond the bounds.
pub fn check(files: usize, bytes: u64, bytes_max: u64) -> Result<(), TableError> {
    if files > FILES_MAX || bytes > bytes_max {
        return Err(TableError::TooLarge { files, bytes, bytes_max });
    }
    Ok(())
}

/// The objects of a folder that are wanted and not empty; one more than is allowed tells that there
/// are too many. An empty one is a mark that somebody made a folder or ended a job.
async fn listed(
    bucket: &dyn ObjectStore,
    folder: &Path,
    wanted: impl Fn(&str) -> bool + Send + 'static,
) -> object_store::Result<Vec<ObjectMeta>> {
    let filled = objects(bucket, folder, wanted).try_filter(|file| ready(file.size > 0));
    filled.take(FILES_MAX + 1).try_collect().await
}

/// The object at `path`, or nothing when its folder does not have it.
///
/// S3 tells only those who may list a whole bucket that an object is not there, and denies it to
/// others. Who may list some folders looks there before a denial is believed.
async fn file(bucket: &dyn ObjectStore, path: &Path) -> object_store::Result<Vec<ObjectMeta>> {
    match bucket.head(path).await {
        Ok(file) => Ok(vec![file]),
        Err(Error::NotFound { .. }) => Ok(vec![]),
        Err(denied @ Error::PermissionDenied { .. }) => {
            let folder = path.parent().unwrap_or_default();
            let wanted = path.to_string();
            match listed(bucket, &folder, move |key| key == wanted).await {
                Ok(found) if found.is_empty() => Ok(found),
                // It is there, or nobody may know.
                _ => Err(denied),
            }
        }
        Err(error) => Err(error),
    }
}

fn vanished(error: Error) -> TableError {
    match error {
        Error::NotFound { .. } => TableError::Replaced,
        other => TableError::S3(other),
    }
}

/// What a key is called in `folder`; nothing for the folder itself.
pub fn below<'a>(key: &'a str, folder: &Path) -> &'a str {
    let rest = key.strip_prefix(folder.as_ref()).unwrap_or(key);
    rest.strip_prefix('/').unwrap_or(rest)
}

/// Whether readers of a table leave out a file of this name in its folder, because a part of it
/// begins with `_` or `.`: marks, and what is being written.
pub fn is_hidden(below: &str) -> bool {
    below.split('/').any(|part| part.starts_with(['_', '.']))
}

/// Whether `key` is a file of the clean table in `folder`.
fn is_table_file(key: &str, folder: &Path) -> bool {
    key.ends_with(".parquet") && !is_hidden(below(key, folder))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn hidden_files_are_in_no_table() {
        let folder = Path::from("processed/_x");
        for (key, expected) in [
            ("processed/_x/part-0.parquet", true),
            ("processed/_x/a/part-0.parquet", true),
            ("processed/_x/_temporary/0/part-0.parquet", false),
            ("processed/_x/.part-0.parquet", false),
            ("processed/_x/part-0.parquet.crc", false),
        ] {
            assert_eq!(is_table_file(key, &folder), expected, "{key}");
        }
    }

    async fn bucket(files: usize) -> Bucket {
        let bucket: Bucket = Arc::new(InMemory::new());
        for i in 0..files {
            let path = Path::from(format!("t/part-{i:05}.parquet"));
            bucket.put(&path, format!("{i}").into()).await.expect("written");
        }
        bucket
    }

    #[tokio::test]
    async fn a_table_is_read_in_the_order_of_its_files() {
        let bucket = bucket(20).await;
        bucket.put(&Path::from("t/_SUCCESS"), "x".into()).await.expect("written");
        bucket.put(&Path::from("t/empty.parquet"), "".into()).await.expect("written");
        let table = Table::find(&*bucket, "t/", 100).await.expect("listed").expect("files");
        let parts = table.read(&bucket).await.expect("read");
        let expected: Vec<Bytes> = (0..20).map(|i| Bytes::from(format!("{i}"))).collect();
        assert_eq!(parts, expected);
        let one = Table::find(&*bucket, "t/part-00007.parquet", 100).await.expect("listed");
        assert_eq!(one.expect("a file").read(&bucket).await.expect("read"), ["7"]);
        for key in ["u/", "t/part-00020.parquet"] {
            assert!(Table::find(&*bucket, key, 100).await.expect("listed").is_none(), "{key}");
        }
    }

    #[tokio::test]
    async fn a_table_beyond_the_bounds_is_refused_however_it_got_there() {
        let bucket = bucket(20).await;
        let error = Table::find(&*bucket, "t/", 29).await.expect_err("30 bytes").to_string();
        assert_eq!(error, "20 files with 30 bytes; at most 10000 files and 29 bytes");
        let table = Table::find(&*bucket, "t/", 30).await.expect("listed").expect("files");
        bucket.put(&Path::from("t/part-00000.parquet"), "xx".into()).await.expect("written");
        let error = table.read(&bucket).await.expect_err("31 bytes").to_string();
        assert_eq!(error, "it grew beyond 30 bytes");
        let table = Table::find(&*bucket, "t/", 31).await.expect("listed").expect("files");
        bucket.delete(&Path::from("t/part-00000.parquet")).await.expect("deleted");
        let error = table.read(&bucket).await.expect_err("gone").to_string();
        assert_eq!(error, "its files are being replaced");
    }
}
