//! Columns of a file: which are wanted, and what their values are as plain types.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, RecordBatchOptions,
    StringArray,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    ArrowTimestampType, DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, Int64Type,
    Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use datafusion::arrow::util::display::array_value_to_string;
use steppe_wire::etl::ColumnName;
use steppe_wire::etl::header::{position, trimmed};
use steppe_wire::hint::Hinted;

use super::{Choose, FileColumn};

/// Times in microseconds, without a zone.
pub const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Where the wanted columns stand in a file with columns of these names.
pub fn find(names: &[String], wanted: &[ColumnName]) -> Result<Vec<usize>> {
    let header: Vec<String> = names.iter().map(|name| trimmed(name).to_owned()).collect();
    let (mut indices, mut missing) = (Vec::new(), Vec::new());
    for column in wanted {
        match position(&header, column)? {
            Some(index) => indices.push(index),
            None => missing.push(format!("`{}`", trimmed(&column.source))),
        }
    }
    if !missing.is_empty() {
        bail!("column {} is missing; the file has {}", missing.join(", "), header.join(", "));
    }
    Ok(indices)
}

/// The choice of columns by their names.
pub fn by_name(
    wanted: &[ColumnName],
) -> impl Fn(&[FileColumn]) -> Result<Vec<(usize, ColumnName)>> + '_ {
    |file| {
        let names: Vec<String> = file.iter().map(|column| column.name.clone()).collect();
        Ok(find(&names, wanted)?.into_iter().zip(wanted.iter().cloned()).collect())
    }
}

/// A column of rows, which may be null.
pub fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// The columns of a file that are wanted, where a library reads them.
#[derive(Debug)]
pub struct Columns {
    /// Where they stand in the file.
    indices: Vec<usize>,
    /// What they become.
    pub schema: SchemaRef,
}

impl Columns {
    /// Of a file with these columns.
    pub fn select(file: &Fields, choose: Choose<'_>) -> Result<Self> {
        let column = |field: &FieldRef| FileColumn {
            name: field.name().clone(),
            kind: Some(field.data_type().clone()),
        };
        let chosen = choose(&file.iter().map(column).collect::<Vec<_>>())?;
        let indices = chosen.iter().map(|(index, _)| *index).collect();
        let fields = chosen.iter().map(|(index, column)| {
            let found = file[*index].data_type();
            let plain = plain_type(found).ok_or_else(|| unread(&column.source, found))?;
            Ok(field(&column.name, plain))
        });
        let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        Ok(Self { indices, schema })
    }

    /// What is to be read, in the order of the file.
    pub fn projection(&self) -> Vec<usize> {
        let mut projection = self.indices.clone();
        projection.sort_unstable();
        projection.dedup();
        projection
    }

    /// Rows of the columns of [`Columns::projection`]; `before` stand before them.
    pub fn rows(&self, read: &RecordBatch, before: u64) -> Result<RecordBatch> {
        let projection = self.projection();
        let arrays = self.indices.iter().zip(self.schema.fields()).map(|(index, field)| {
            let at = projection.binary_search(index).map_err(|_| anyhow!("a column is lost"))?;
            plain(read.columns().get(at).context("a column is lost")?, field.name(), before)
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        batch(&self.schema, arrays, read.num_rows())
    }
}

/// A batch that has rows also when it has no columns.
pub fn batch(schema: &SchemaRef, arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
}

/// A column of a type that is not read.
pub fn unread(column: &str, found: impl std::fmt::Display) -> anyhow::Error {
    let hint = "leave the column out of the manifest, or make columns of text, numbers, dates or \
                times of it";
    Hinted::new(format!("column `{column}` is of the type {found}, which is not read"), hint).into()
}

/// Names of columns and what becomes of their types.
pub fn named_types(file: &Fields) -> Vec<(String, Option<DataType>)> {
    file.iter().map(|field| (field.name().clone(), plain_type(field.data_type()))).collect()
}

/// What becomes of a type.
pub fn plain_type(found: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Decimal32, Decimal64, Decimal128, Decimal256,
        Dictionary, FixedSizeBinary, Float16, Float32, Float64, Int8, Int16, Int32, Int64,
        LargeBinary, LargeUtf8, Null, RunEndEncoded, Timestamp, UInt8, UInt16, UInt32, UInt64,
        Utf8, Utf8View,
    };
    match found {
        Null | Utf8 | LargeUtf8 | Utf8View => Some(Utf8),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Some(Utf8),
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => Some(Int64),
        Float16 | Float32 | Float64 => Some(Float64),
        Boolean => Some(Boolean),
        Date32 => Some(Date32),
        Timestamp(_, _) => Some(MICROS),
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale) => {
            let fits = *precision <= DECIMAL128_MAX_PRECISION && *scale >= 0;
            fits.then_some(Decimal128(*precision, *scale))
        }
        Dictionary(_, values) => plain_type(values),
        RunEndEncoded(_, values) => plain_type(values.data_type()),
        _ => None,
    }
}

/// Values as [`plain_type`] has them; `before` rows stand before them in the file.
pub fn plain(array: &ArrayRef, column: &str, before: u64) -> Result<ArrayRef> {
    let found = array.data_type();
    let to = plain_type(found).ok_or_else(|| unread(column, found))?;
    if *found == to {
        return Ok(array.clone());
    }
    let at = At { column, before };
    match found {
        DataType::Dictionary(_, values) => plain(&at.cast(array, values)?, column, before),
        DataType::RunEndEncoded(_, values) => {
            plain(&at.cast(array, values.data_type())?, column, before)
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => at.text(array),
        DataType::UInt64 => {
            let fits = |value| i64::try_from(value).ok();
            at.exact::<UInt64Type, Int64Type>(array, "does not fit into 64 bits with a sign", fits)
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            at.micros::<TimestampSecondType>(array, |v| v.checked_mul(1_000_000))
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            at.micros::<TimestampMillisecondType>(array, |v| v.checked_mul(1_000))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            at.micros::<TimestampMicrosecondType>(array, Some)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            at.micros::<TimestampNanosecondType>(array, |v| (v % 1_000 == 0).then_some(v / 1_000))
        }
        _ => at.cast(array, &to),
    }
}

/// Where values stand.
struct At<'a> {
    column: &'a str,
    before: u64,
}

impl At<'_> {
    /// A conversion that loses nothing or fails.
    fn cast(&self, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let (column, first) = (self.column, self.before + 1);
        cast_with_options(array, to, &options)
            .with_context(|| format!("column `{column}`, at or after row {first}"))
    }

    fn micros<T: ArrowTimestampType>(
        &self,
        array: &ArrayRef,
        convert: impl Fn(i64) -> Option<i64>,
    ) -> Result<ArrayRef> {
        let why = "is no time in whole microseconds";
        self.exact::<T, TimestampMicrosecondType>(array, why, convert)
    }

    fn exact<T: ArrowPrimitiveType, U: ArrowPrimitiveType>(
        &self,
        array: &ArrayRef,
        why: &str,
        convert: impl Fn(T::Native) -> Option<U::Native>,
    ) -> Result<ArrayRef> {
        let values = array.as_primitive::<T>();
        let converted: PrimitiveArray<U> = values.unary_opt(convert);
        if converted.null_count() > values.null_count() {
            let lost = |row: &usize| values.is_valid(*row) && converted.is_null(*row);
            let row = (0..values.len()).find(lost).context("a value is lost")?;
            let shown = array_value_to_string(array, row)?;
            bail!("column `{}`, row {}: `{shown}` {why}", self.column, self.row(row));
        }
        Ok(Arc::new(converted))
    }

    fn text(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let array = self.cast(array, &DataType::Binary)?;
        let bytes = array.as_binary::<i32>();
        if let Ok(text) = StringArray::try_from_binary(bytes.clone()) {
            return Ok(Arc::new(text));
        }
        let odd = |row: &usize| bytes.is_valid(*row) && str::from_utf8(bytes.value(*row)).is_err();
        let row = (0..bytes.len()).find(odd).context("a value is lost")?;
        bail!("column `{}`, row {}: the bytes are no text in UTF-8", self.column, self.row(row))
    }

    /// The row's number in the file.
    fn row(&self, index: usize) -> u64 {
        self.before + index as u64 + 1
    }
}

/// What writers make of rows: plain types, and the narrow numbers that tables may have.
#[derive(Debug)]
pub struct Written {
    /// The columns as they are written.
    pub schema: SchemaRef,
    rows: u64,
}

impl Written {
    /// Of rows with this schema.
    pub fn new(schema: &Schema) -> Result<Self> {
        let fields = schema.fields().iter().map(|given| {
            let to = written_type(given.data_type()).ok_or_else(|| {
                let (name, found) = (given.name(), given.data_type());
                Hinted::new(
                    format!("column `{name}` is of the type {found}, which is not written"),
                    "cast it in the SQL to text, a number, a date, a timestamp or a decimal",
                )
            })?;
            Ok(field(given.name(), to))
        });
        let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        Ok(Self { schema, rows: 0 })
    }

    /// The next rows.
    pub fn rows(&mut self, given: &RecordBatch) -> Result<RecordBatch> {
        let (expected, columns) = (self.schema.fields(), given.columns());
        if expected.len() != columns.len() {
            bail!("the rows have {} columns, the table has {}", columns.len(), expected.len());
        }
        let arrays = expected.iter().zip(columns).map(|(field, array)| {
            if array.data_type() == field.data_type() {
                return Ok(array.clone());
            }
            plain(array, field.name(), self.rows)
        });
        let rows = batch(&self.schema, arrays.collect::<Result<_>>()?, given.num_rows())?;
        self.rows += given.num_rows() as u64;
        Ok(rows)
    }
}

fn written_type(given: &DataType) -> Option<DataType> {
    match given {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Float32 => {
            Some(given.clone())
        }
        other => plain_type(other),
    }
}
