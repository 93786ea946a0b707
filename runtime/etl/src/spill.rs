//! Rows on disk between two statements: what is read once and needed several times.
//!
//! The files are Arrow's own form, so that writing and reading them costs little more than the
//! copying. They lie in a folder of the job's own and go with it.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{
    ExecutionPlanProperties, SendableRecordBatchStream, execute_stream, execute_stream_partitioned,
};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::scan::on_own_thread;

/// Where rows are kept while a job runs.
pub struct Spills {
    folder: TempDir,
}

/// Whether the order of rows is part of what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It is.
    Kept,
    /// Rows may be kept in several files, which are written and read at once.
    Any,
}

impl Spills {
    /// Begins.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("steppe-etl-").tempdir();
        Ok(Self { folder: folder.context("there is no place for the rows of the job")? })
    }

    /// Runs a statement, keeps its rows, and makes them the table `name`.
    pub async fn keep(
        &self,
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
            Order::Any if plan.output_partitioning().partition_count() == 1 => {
                vec![execute_stream(plan, task)?]
            }
            Order::Any => execute_stream_partitioned(plan, task)?,
        };
        let mut writing = JoinSet::new();
        let mut partitions: Vec<Arc<dyn PartitionStream>> = Vec::with_capacity(streams.len());
        for (number, stream) in streams.into_iter().enumerate() {
            let file = self.folder.path().join(format!("{name}-{number}"));
            partitions.push(Arc::new(Part { file: file.clone(), schema: schema.clone() }));
            writing.spawn(write(stream, file));
        }
        while let Some(written) = writing.join_next().await {
            written.map_err(|e| DataFusionError::External(e.into()))??;
        }
        context.register_table(name, Arc::new(StreamingTable::try_new(schema, partitions)?))?;
        Ok(())
    }
}

async fn write(mut rows: SendableRecordBatchStream, file: PathBuf) -> Result<(), DataFusionError> {
    let out = BufWriter::with_capacity(1 << 20, File::create(&file)?);
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
    file: PathBuf,
    schema: SchemaRef,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let (sender, file) = (builder.tx(), self.file.clone());
        let send = move |batch| sender.blocking_send(batch).is_ok();
        builder.spawn(async move {
            on_own_thread(move || read(&file, send))
                .await
                .map_err(|e| DataFusionError::External(format!("{e:#}").into()))
        });
        builder.build()
    }
}

/// Reads a file to its end, or until nobody takes the rows.
fn read(
    file: &Path,
    send: impl Fn(Result<datafusion::arrow::array::RecordBatch, DataFusionError>) -> bool,
) -> Result<()> {
    let input = BufReader::with_capacity(1 << 20, File::open(file)?);
    for batch in StreamReader::try_new(input, None)? {
        if !send(Ok(batch?)) {
            break;
        }
    }
    Ok(())
}
