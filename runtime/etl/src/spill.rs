//! Rows on disk between two statements: what is read once and needed several times.
//!
//! The files are Arrow's own form, so that writing and reading them costs little more than the
//! copying. They have no name, so nothing is left of them however the process ends.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use anyhow::Result;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{
    SendableRecordBatchStream, execute_stream, execute_stream_partitioned,
};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt;
use tokio::task::JoinSet;

use crate::scan::on_own_thread;

/// Bytes that are written and read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Whether the order of rows is part of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It is.
    Kept,
    /// Rows may be kept in several files, which are written and read at once.
    Any,
}

/// Runs a statement, keeps its rows, and makes them the table `name`.
pub async fn keep(
    context: &SessionContext,
    name: &str,
    frame: DataFrame,
    order: Order,
) -> Result<(), DataFusionError> {
    let task = Arc::new(frame.task_ctx());
    let plan = frame.create_physical_plan().await?;
    let schema = plan.schema();
    let streams = match order {
        Order::Kept => vec![execute_stream(plan, task)?],
        Order::Any => execute_stream_partitioned(plan, task)?,
    };
    let mut writing = JoinSet::new();
    let mut partitions: Vec<Arc<dyn PartitionStream>> = Vec::with_capacity(streams.len());
    for stream in streams {
        let file = Arc::new(tempfile::tempfile()?);
        partitions.push(Arc::new(Part { file: file.clone(), schema: schema.clone() }));
        writing.spawn(write(stream, file));
    }
    while let Some(written) = writing.join_next().await {
        written.map_err(|e| DataFusionError::External(e.into()))??;
    }
    context.register_table(name, Arc::new(StreamingTable::try_new(schema, partitions)?))?;
    Ok(())
}

async fn write(
    mut rows: SendableRecordBatchStream,
    file: Arc<File>,
) -> Result<(), DataFusionError> {
    let out = BufWriter::with_capacity(BUFFER_BYTES, &*file);
    let mut writer = StreamWriter::try_new(out, &rows.schema())?;
    while let Some(batch) = rows.next().await {
        writer.write(&batch?)?;
    }
    writer.finish()?;
    Ok(())
}

/// A file of rows.
#[derive(Debug)]
struct Part {
    file: Arc<File>,
    schema: SchemaRef,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let (sender, file) = (builder.tx(), self.file.clone());
        let send = move |batch| sender.blocking_send(Ok(batch)).is_ok();
        builder.spawn(async move {
            on_own_thread(move || read(file, send))
                .await
                .map_err(|e| DataFusionError::External(format!("{e:#}").into()))
        });
        builder.build()
    }
}

/// Reads a file to its end, or until nobody takes the rows.
fn read(file: Arc<File>, send: impl Fn(RecordBatch) -> bool) -> Result<()> {
    let input = BufReader::with_capacity(BUFFER_BYTES, FromBegin { file, at: 0 });
    for batch in StreamReader::try_new(input, None)? {
        if !send(batch?) {
            break;
        }
    }
    Ok(())
}

/// A reader with a place of its own: several may read one file.
struct FromBegin {
    file: Arc<File>,
    at: u64,
}

impl Read for FromBegin {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
