//! Formats of tables in files: how a file becomes rows, and how rows become a file.
//!
//! Rows have plain types whatever the file has: text, whole numbers of 64 bits, floating point
//! numbers of 64 bits, booleans, dates, times in microseconds without a zone (what had one is in
//! UTC), and decimals. What does not fit into one of these without a loss is an error that says
//! where. Files may be damaged or hostile: what is read at once is bounded, and a library's panic
//! is an error. CSV is read elsewhere, because it has a header to judge. What holds text, such as a
//! sequence file, is no format: it is read as the lines that are in it.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, bail, ensure};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use steppe_wire::etl::ColumnName;
pub use steppe_wire::etl::TableFormat;

pub mod avro;
mod columns;
mod csv;
mod json;
pub mod orc;
mod parquet;
pub mod sequence;
mod spool;
pub(crate) mod text;

/// Rows per batch, about.
const BATCH_ROWS: usize = 8_192;
/// Bytes of text after which a batch ends, however few rows it has.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A file from its beginning.
pub type Bytes = Box<dyn Read + Send>;

/// A format of tables other than CSV.
pub trait Format: Send + Sync {
    /// Names of a file's columns and what their values become; nothing for a type that is not read.
    fn columns(&self, bytes: Bytes) -> Result<Vec<(String, Option<DataType>)>>;

    /// Rows of a file: of its columns those that are `wanted`, in that order and under their names.
    /// It waits for the file, so it is called on a thread of its own.
    fn read(&self, bytes: Bytes, wanted: &[ColumnName]) -> Result<Reader>;

    /// Writes rows of `schema` into `out`, as they come.
    fn writer(&self, schema: SchemaRef, out: File) -> Result<Box<dyn Writer>>;
}

/// A column that a file says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileColumn {
    /// Its name.
    pub name: String,
    /// Its type; none when there is no type for it here.
    pub kind: Option<DataType>,
}

/// What chooses the columns of a file that are read: where each stands, and what it is called.
pub type Choose<'a> = &'a dyn Fn(&[FileColumn]) -> Result<Vec<(usize, ColumnName)>>;

/// Rows of a file.
pub struct Reader {
    /// The wanted columns, which may all be null.
    pub schema: SchemaRef,
    /// The rows; after an error there are no more.
    pub batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

/// What writes rows into a file. The file is whole only after [`Writer::finish`].
pub trait Writer: Send {
    /// Writes rows, whose columns are those of the schema.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Writes what is left.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// The format of that kind; CSV is none of these.
pub fn format(kind: TableFormat) -> Option<&'static dyn Format> {
    match kind {
        TableFormat::Csv => None,
        TableFormat::Json => Some(&json::Json),
        TableFormat::Parquet => Some(&parquet::Parquet),
        TableFormat::Avro => Some(&avro::Avro),
        TableFormat::Orc => Some(&orc::Orc),
    }
}

/// Writes rows of `schema` into `out` in a format, CSV among them.
pub fn writer(kind: TableFormat, schema: SchemaRef, out: File) -> Result<Box<dyn Writer>> {
    match format(kind) {
        Some(format) => format.writer(schema, out),
        None => csv::writer(&schema, out),
    }
}

/// So many bytes. Room is made for what is there only.
fn exactly(file: &mut impl Read, size: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(size as u64).read_to_end(&mut bytes)?;
    ensure!(bytes.len() == size, "the file ends too early");
    Ok(bytes)
}

/// Lets a library work on a file that may be damaged, on which some panic.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        bail!("the file is damaged; the standard error says where reading it failed")
    })
}

/// Batches of a library: its panics are errors, after an error there are none, and there must be as
/// many rows as the file says.
struct Guarded<I> {
    batches: Option<I>,
    rows: u64,
    expected: u64,
}

impl<I: Iterator<Item = Result<RecordBatch>>> Guarded<I> {
    fn new(batches: I, expected: u64) -> Self {
        Self { batches: Some(batches), rows: 0, expected }
    }

    fn read(&mut self) -> Result<Option<RecordBatch>> {
        let Some(batches) = &mut self.batches else { return Ok(None) };
        let rows = self.rows;
        let next = guarded(|| batches.next().transpose());
        let Some(batch) = next.with_context(|| format!("after {rows} rows"))? else {
            self.batches = None;
            if self.rows != self.expected {
                let (rows, expected) = (self.rows, self.expected);
                bail!("the file is damaged: it has {rows} rows and says {expected}");
            }
            return Ok(None);
        };
        self.rows += batch.num_rows() as u64;
        Ok(Some(batch))
    }
}

impl<I: Iterator<Item = Result<RecordBatch>>> Iterator for Guarded<I> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read();
        if next.is_err() {
            self.batches = None;
        }
        next.transpose()
    }
}

#[cfg(test)]
mod tests;
