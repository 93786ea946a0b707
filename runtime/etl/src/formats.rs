//! Stand-in until the formats are merged.
use std::fs::File;
use std::io::Read;

use anyhow::{Result, bail};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use steppe_wire::etl::ColumnName;
pub use steppe_wire::etl::TableFormat;

/// x
pub type Bytes = Box<dyn Read + Send>;
/// x
pub trait Format: Send + Sync {
    /// x
    fn read(&self, bytes: Bytes, wanted: &[ColumnName]) -> Result<Reader>;
}
/// x
pub struct Reader {
    /// x
    pub schema: SchemaRef,
    /// x
    pub batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}
/// x
pub trait Writer: Send {
    /// x
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    /// x
    fn finish(self: Box<Self>) -> Result<()>;
}
struct Csv(datafusion::arrow::csv::Writer<File>);
impl Writer for Csv {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.0.write(batch)?)
    }
    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
/// x
pub fn format(_kind: TableFormat) -> Option<&'static dyn Format> {
    None
}
/// x
pub fn writer(kind: TableFormat, _schema: SchemaRef, out: File) -> Result<Box<dyn Writer>> {
    match kind {
        TableFormat::Csv => Ok(Box::new(Csv(datafusion::arrow::csv::WriterBuilder::new()
            .with_header(true)
            .build(out)))),
        _ => bail!("no writer"),
    }
}
