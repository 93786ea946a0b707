//! The files of a table one after another, for readers that wait for bytes.

use std::fmt::Debug;
use std::io::Read;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::scan::on_own_thread;

/// Rows of a file; after an error there are no more.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>>>;

/// A file of a table.
pub struct OneFile {
    /// Its bytes from the beginning.
    pub bytes: Box<dyn Read + Send>,
    /// Its place below the bucket.
    pub key: String,
    /// How many bytes it has.
    pub size: u64,
}

/// How a file of a table becomes rows.
pub trait FileReader: Debug + Send + Sync + 'static {
    /// The rows of a file, of which few are in memory at a time.
    fn read(&self, file: OneFile, schema: &SchemaRef) -> Result<Batches>;
}

/// The files below a folder, in the order of their names.
#[derive(Debug)]
pub struct Files {
    /// Where they are.
    pub store: Arc<dyn ObjectStore>,
    /// The folder.
    pub folder: Path,
    /// The columns of their rows.
    pub schema: SchemaRef,
    /// What reads each of them.
    pub reader: Arc<dyn FileReader>,
}

impl PartitionStream for Files {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let sender = builder.tx();
        let (store, folder) = (self.store.clone(), self.folder.clone());
        let (schema, reader) = (self.schema.clone(), self.reader.clone());
        builder.spawn(async move {
            let mut files: Vec<_> =
                store.list(Some(&folder)).try_collect().await.map_err(stored)?;
            files.sort_by(|a, b| a.location.cmp(&b.location));
            for file in files {
                let object = store.get(&file.location).await.map_err(stored)?;
                let stream = object.into_stream().map_err(std::io::Error::other);
                let bytes = SyncIoBridge::new(StreamReader::new(stream));
                let key = file.location.to_string();
                let (sender, schema, reader) = (sender.clone(), schema.clone(), reader.clone());
                let work = on_own_thread(move || {
                    let bytes = unpacked(Box::new(bytes), &key)?;
                    let one = OneFile { bytes, key, size: file.size };
                    for batch in reader.read(one, &schema)? {
                        if sender.blocking_send(Ok(batch?)).is_err() {
                            break;
                        }
                    }
                    Ok(())
                });
                work.await.map_err(told)?;
            }
            Ok(())
        });
        builder.build()
    }
}

/// What is in a compressed file, by the ending of its name.
fn unpacked(bytes: Box<dyn Read + Send>, key: &str) -> std::io::Result<Box<dyn Read + Send>> {
    Ok(match key.rsplit_once('.').map(|(_, ending)| ending) {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        Some("zst") => Box::new(zstd::Decoder::new(bytes)?),
        Some("deflate") => Box::new(flate2::read::ZlibDecoder::new(bytes)),
        _ => bytes,
    })
}

/// The engine's own errors keep their kind.
fn told(error: anyhow::Error) -> DataFusionError {
    error.downcast().unwrap_or_else(|other| DataFusionError::External(other.into()))
}

fn stored(error: object_store::Error) -> DataFusionError {
    DataFusionError::ObjectStore(Box::new(error))
}
