//! The records of a CSV as batches of text, numbered.

use std::sync::Arc;

use anyhow::{Context, Result};
use csv::ByteRecord;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringBuilder, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use steppe_wire::etl::header::trimmed;
use steppe_wire::etl::{CsvOptions, InputPlan};

use crate::header::{Header, Origin};
use crate::objects::Bytes;
use crate::source::numbered;
use crate::table::{Options, Table, not_utf8, text};

/// Rows per batch, about: the cells of a record are never parted.
const BATCH_ROWS: usize = 8_192;

/// The records of a CSV on their way into batches.
pub struct CsvRows {
    table: Table<Bytes>,
    header: Arc<Header>,
    /// Its columns, all of them text, and `_row`.
    pub schema: SchemaRef,
    record: ByteRecord,
    number: i64,
    /// None for what is not asked for.
    columns: Vec<Option<StringBuilder>>,
    rows: Vec<i64>,
    wanted: Option<Wanted>,
}

/// Whether a row, by its number in the file, is one of those that are asked for.
pub type Wanted = Box<dyn Fn(i64) -> bool + Send>;

fn options(csv: &CsvOptions) -> Result<Options> {
    Ok(Options {
        delimiter: u8::try_from(csv.delimiter)
            .context("the delimiter must be one ASCII character")?,
        skip_lines: csv.skip_lines,
        leave_out_footnotes: csv.leave_out_footnotes,
    })
}

impl CsvRows {
    /// Reads the header. Columns that nobody `asks` for have no values.
    pub fn open(
        bytes: Bytes,
        plan: &InputPlan,
        csv: &CsvOptions,
        asks: impl Fn(&str) -> bool,
        wanted: Option<Wanted>,
    ) -> Result<Self> {
        let options = options(csv)?;
        let table = if plan.container.is_lines() {
            Table::open(bytes, options)?
        } else {
            let columns = plan.columns.iter().map(|c| trimmed(&c.source).to_owned()).collect();
            Table::without_header(bytes, options.delimiter, columns)
        };
        let header = Header::new(table.header.clone(), &plan.columns, csv)
            .with_context(|| format!("line {}", csv.skip_lines + 1))?;
        let made = |name: &str| asks(name).then(StringBuilder::new);
        let columns = header.columns().iter().map(|name| made(name)).collect();
        let fields = header.columns().iter().map(|c| Field::new(c, DataType::Utf8, true));
        let schema = numbered(fields);
        let (record, header) = (ByteRecord::new(), Arc::new(header));
        Ok(Self { table, header, schema, record, number: 0, columns, rows: vec![], wanted })
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        while self.rows.len() < BATCH_ROWS
            && let Some(line) = self.table.read(&mut self.record)?
        {
            self.number += 1;
            let wanted = |row| self.wanted.as_ref().is_none_or(|wanted| wanted(row));
            match self.header.wide() {
                None if !wanted(self.number) => {}
                None => {
                    let whole = text(self.record.as_slice(), line)?;
                    for (number, column) in self.columns.iter_mut().enumerate() {
                        let Some(column) = column else { continue };
                        let field = self.record.range(number).and_then(|at| whole.get(at));
                        append(column, field.ok_or_else(|| not_utf8(line))?);
                    }
                    self.rows.push(self.number);
                }
                Some(wide) => {
                    let fields: Vec<&str> =
                        self.record.iter().map(|field| text(field, line)).collect::<Result<_>>()?;
                    wide.refuse_odd(&fields, line)?;
                    for (row, cell) in wide.cells(&fields, self.number) {
                        if !wanted(row) {
                            continue;
                        }
                        for (column, field) in self.columns.iter_mut().zip(cell) {
                            if let Some(column) = column {
                                append(column, field);
                            }
                        }
                        self.rows.push(row);
                    }
                }
            }
        }
        if self.rows.is_empty() {
            return Ok(None);
        }
        let rows = self.rows.len();
        let array = |column: &mut Option<StringBuilder>| match column {
            Some(column) => Arc::new(column.finish()) as ArrayRef,
            None => new_null_array(&DataType::Utf8, rows),
        };
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(array).collect();
        arrays.push(Arc::new(Int64Array::from(std::mem::take(&mut self.rows))));
        Ok(Some(RecordBatch::try_new(self.schema.clone(), arrays)?))
    }
}

impl Iterator for CsvRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch().transpose()
    }
}

/// An empty field is "no value", as Spark's CSV reader has it.
fn append(column: &mut StringBuilder, field: &str) {
    column.append_option((!field.is_empty()).then_some(field));
}

/// The lines of the records of `rows` (ascending), and the column of the file of a cell.
pub fn lines_of(
    plan: &InputPlan,
    csv: &CsvOptions,
    bytes: Bytes,
    rows: Vec<i64>,
) -> Result<Vec<(u64, Option<String>)>> {
    let mut table = Table::open(bytes, options(csv)?)?;
    let header = Header::new(table.header.clone(), &plan.columns, csv)?;
    let (mut record, mut found, mut number, mut line) = (ByteRecord::new(), vec![], 0, 0);
    for row in rows {
        let Origin { record: wanted, column } = header.origin(row);
        while number < wanted
            && let Some(next) = table.read(&mut record)?
        {
            (number, line) = (number + 1, next);
        }
        found.push((line, column.map(str::to_owned)));
    }
    Ok(found)
}
