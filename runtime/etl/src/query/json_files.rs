//! Objects of JSON, one on a line, as Athena's SerDes read them.

use std::io::BufReader;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::json::ReaderBuilder;
use datafusion::error::{DataFusionError, Result};

use super::files::{Batches, FileReader, OneFile};

/// Rows per batch.
const BATCH_ROWS: usize = 8_192;

/// Members of objects as the columns of a table.
#[derive(Debug)]
pub struct Objects {
    /// The columns by the names that members have in files.
    members: SchemaRef,
}

impl Objects {
    /// Of a table with these columns; members with capitals are called as in `known`.
    pub fn new(columns: &Schema, known: &[String]) -> Self {
        let fields = columns.fields().iter().map(|field| {
            let member = known.iter().find(|member| member.to_lowercase() == *field.name());
            let name = member.unwrap_or(field.name());
            Field::new(name, field.data_type().clone(), true)
        });
        Self { members: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
    }
}

impl FileReader for Objects {
    fn read(&self, file: OneFile, schema: &SchemaRef) -> Result<Batches> {
        let reader = ReaderBuilder::new(self.members.clone())
            .with_batch_size(BATCH_ROWS)
            .with_coerce_primitive(true)
            .build(BufReader::new(file.bytes))?;
        let schema = schema.clone();
        let rows = reader.map(move |batch| {
            let batch = batch?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            RecordBatch::try_new_with_options(schema.clone(), columns, &options)
                .map_err(DataFusionError::from)
        });
        Ok(Box::new(rows))
    }
}
