//! Rows of an Avro file.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Schema as ArrowSchema,
    SchemaRef,
};

use super::container::{Block, Blocks};
use super::cursor::Cursor;
use super::schema::{Kind, Logical, Schema};
use crate::formats::columns::{MICROS, batch, field, unread};
use crate::formats::{BATCH_BYTES_MAX, BATCH_ROWS, Bytes, Choose, Reader};

/// Rows of a file: the columns of it that are chosen.
pub fn read(bytes: Bytes, choose: Choose<'_>) -> Result<Reader> {
    let blocks = Blocks::open(bytes)?;
    let schema = Schema::parse(&blocks.schema)?;
    let fields = schema.fields()?;
    let chosen = choose(&schema.columns()?)?;
    let mut plans: Vec<Plan> = fields.iter().map(|field| Plan::Skip(field.id)).collect();
    let (mut columns, mut places) = (Vec::<Column>::new(), Vec::new());
    for (index, wanted) in &chosen {
        let place = match plans[*index] {
            Plan::Read(place) => place,
            Plan::Skip(id) => {
                columns.push(Column::new(&schema, id, &wanted.source)?);
                plans[*index] = Plan::Read(columns.len() - 1);
                columns.len() - 1
            }
        };
        places.push(place);
    }
    let fields = places
        .iter()
        .zip(&chosen)
        .map(|(place, (_, wanted))| field(&wanted.name, columns[*place].cells.data_type()));
    let rows = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    let state = Rows {
        blocks,
        schema,
        plans,
        columns,
        places,
        rows: rows.clone(),
        block: Block::default(),
        at: 0,
        records: 0,
        is_done: false,
    };
    Ok(Reader { schema: rows, batches: Box::new(state) })
}

/// Names of a file's columns and what their values become.
pub fn columns(bytes: Bytes) -> Result<Vec<(String, Option<DataType>)>> {
    let schema = Schema::parse(&Blocks::open(bytes)?.schema)?;
    let kind = |name: &str, id| Column::new(&schema, id, name).ok().map(|c| c.cells.data_type());
    let fields = schema.fields()?.iter();
    Ok(fields.map(|field| (field.name.clone(), kind(&field.name, field.id))).collect())
}

/// What is done with a field of a record.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// Passed over; with its type.
    Skip(usize),
    /// Put into that column.
    Read(usize),
}

struct Rows {
    blocks: Blocks,
    schema: Schema,
    plans: Vec<Plan>,
    columns: Vec<Column>,
    /// The column of each wanted one.
    places: Vec<usize>,
    rows: SchemaRef,
    block: Block,
    /// Where the next record begins in the block.
    at: usize,
    records: u64,
    is_done: bool,
}

impl Rows {
    fn read(&mut self) -> Result<Option<RecordBatch>> {
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS && bytes < BATCH_BYTES_MAX {
            if self.block.count == 0 {
                ensure!(
                    self.at == self.block.bytes.len(),
                    "the block before record {} has more bytes than its records",
                    self.records + 1
                );
                let Some(block) = self.blocks.next()? else { break };
                (self.block, self.at) = (block, 0);
                continue;
            }
            let (read, taken) = self.records(BATCH_ROWS - rows, BATCH_BYTES_MAX - bytes)?;
            (rows, bytes) = (rows + read, bytes + taken);
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|c| c.cells.finish()).collect();
        let arrays = self.places.iter().map(|place| arrays[*place].clone());
        Ok(Some(batch(&self.rows, arrays.collect(), rows)?))
    }

    /// Reads records of the block; gives their number and their bytes.
    fn records(&mut self, rows_max: usize, bytes_max: usize) -> Result<(usize, usize)> {
        let mut cursor = Cursor::new(&self.block.bytes[self.at..]);
        let all = cursor.left();
        let (mut rows, mut taken) = (0, 0);
        while rows < rows_max && taken < bytes_max && self.block.count > 0 {
            let number = self.records + 1;
            for plan in &self.plans {
                match plan {
                    Plan::Skip(id) => cursor.skip(&self.schema, *id, 0),
                    Plan::Read(column) => self.columns[*column].read(&mut cursor, &self.schema),
                }
                .with_context(|| format!("record {number}"))?;
            }
            rows += 1;
            self.records = number;
            self.block.count -= 1;
            let before = std::mem::replace(&mut taken, all - cursor.left());
            // Any number of them would be said in a few bytes.
            ensure!(taken > before, "record {number} takes no bytes");
        }
        self.at += taken;
        Ok((rows, taken))
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let next = self.read();
        self.is_done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

/// A wanted column.
struct Column {
    name: String,
    /// The type of the values.
    id: usize,
    /// How many choices there are, and which of them is null, when the type is a union.
    union: Option<(usize, Option<usize>)>,
    cells: Cells,
}

/// Values of a column.
enum Cells {
    Text(StringBuilder),
    Long(Int64Builder),
    Double(Float64Builder),
    Boolean(BooleanBuilder),
    Date(Date32Builder),
    Time(TimestampMicrosecondBuilder),
    Decimal(Decimal128Builder, u8, i8),
}

impl Column {
    fn new(schema: &Schema, id: usize, name: &str) -> Result<Self> {
        let mut column = Self {
            name: name.to_owned(),
            id,
            union: None,
            cells: Cells::Text(StringBuilder::new()),
        };
        if let Kind::Union(choices) = schema.kind(id) {
            let is_null = |id: &usize| matches!(schema.kind(*id), Kind::Null);
            let values: Vec<usize> = choices.iter().copied().filter(|id| !is_null(id)).collect();
            let null = choices.iter().position(is_null);
            column.id = match values[..] {
                [value] => value,
                [] => *choices.first().context("the schema has an empty union")?,
                _ => return Err(unread(name, schema.told(id))),
            };
            column.union = Some((choices.len(), null));
        }
        let cells = Cells::new(schema, column.id);
        column.cells = cells.ok_or_else(|| unread(name, schema.told(column.id)))?;
        Ok(column)
    }

    fn read(&mut self, cursor: &mut Cursor<'_>, schema: &Schema) -> Result<()> {
        let is_null = match self.union {
            Some((choices, null)) => Some(cursor.choice(choices)?) == null,
            None => false,
        };
        let read = if is_null {
            self.cells.append_null();
            Ok(())
        } else {
            self.cells.read(cursor, schema, self.id)
        };
        read.with_context(|| format!("column `{}`", self.name))
    }
}

impl Cells {
    fn new(schema: &Schema, id: usize) -> Option<Self> {
        Some(match (schema.kind(id), schema.logical(id)) {
            (_, Some(Logical::Other(_))) => return None,
            (Kind::Int, Some(Logical::Date)) => Self::Date(Date32Builder::new()),
            (
                Kind::Long,
                Some(Logical::TimestampMillis | Logical::TimestampMicros | Logical::TimestampNanos),
            ) => Self::Time(TimestampMicrosecondBuilder::new()),
            (Kind::Bytes | Kind::Fixed(_), Some(Logical::Decimal(precision, scale))) => {
                if precision > DECIMAL128_MAX_PRECISION {
                    return None;
                }
                let builder = Decimal128Builder::new();
                let builder = builder.with_precision_and_scale(precision, scale).ok()?;
                Self::Decimal(builder, precision, scale)
            }
            (Kind::Int | Kind::Long, _) => Self::Long(Int64Builder::new()),
            (Kind::Float | Kind::Double, _) => Self::Double(Float64Builder::new()),
            (Kind::Boolean, _) => Self::Boolean(BooleanBuilder::new()),
            (Kind::Null | Kind::Bytes | Kind::Text | Kind::Fixed(_) | Kind::Enum(_), _) => {
                Self::Text(StringBuilder::new())
            }
            (Kind::Record(_) | Kind::Union(_) | Kind::Array(_) | Kind::Map(_), _) => return None,
        })
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Text(_) => DataType::Utf8,
            Self::Long(_) => DataType::Int64,
            Self::Double(_) => DataType::Float64,
            Self::Boolean(_) => DataType::Boolean,
            Self::Date(_) => DataType::Date32,
            Self::Time(_) => MICROS,
            Self::Decimal(_, precision, scale) => DataType::Decimal128(*precision, *scale),
        }
    }

    fn append_null(&mut self) {
        match self {
            Self::Text(cells) => cells.append_null(),
            Self::Long(cells) => cells.append_null(),
            Self::Double(cells) => cells.append_null(),
            Self::Boolean(cells) => cells.append_null(),
            Self::Date(cells) => cells.append_null(),
            Self::Time(cells) => cells.append_null(),
            Self::Decimal(cells, _, _) => cells.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(cells) => Arc::new(cells.finish()),
            Self::Long(cells) => Arc::new(cells.finish()),
            Self::Double(cells) => Arc::new(cells.finish()),
            Self::Boolean(cells) => Arc::new(cells.finish()),
            Self::Date(cells) => Arc::new(cells.finish()),
            Self::Time(cells) => Arc::new(cells.finish()),
            Self::Decimal(cells, _, _) => Arc::new(cells.finish()),
        }
    }

    fn read(&mut self, cursor: &mut Cursor<'_>, schema: &Schema, id: usize) -> Result<()> {
        let kind = schema.kind(id);
        match self {
            Self::Text(cells) => match kind {
                Kind::Null => cells.append_null(),
                Kind::Enum(symbols) => cells.append_value(&symbols[cursor.choice(symbols.len())?]),
                _ => cells.append_value(text(raw(cursor, kind)?)?),
            },
            Self::Long(cells) => cells.append_value(match kind {
                Kind::Int => i64::from(cursor.int()?),
                _ => cursor.long()?,
            }),
            Self::Double(cells) => cells.append_value(match kind {
                Kind::Float => f64::from(f32::from_le_bytes(cursor.array()?)),
                _ => f64::from_le_bytes(cursor.array()?),
            }),
            Self::Boolean(cells) => cells.append_value(cursor.boolean()?),
            Self::Date(cells) => cells.append_value(cursor.int()?),
            Self::Time(cells) => {
                cells.append_value(micros(cursor.long()?, schema.logical(id))?);
            }
            Self::Decimal(cells, precision, scale) => {
                let value = unscaled(raw(cursor, kind)?)?;
                Decimal128Type::validate_decimal_precision(value, *precision, *scale)?;
                cells.append_value(value);
            }
        }
        Ok(())
    }
}

fn raw<'a>(cursor: &mut Cursor<'a>, kind: &Kind) -> Result<&'a [u8]> {
    match kind {
        Kind::Fixed(size) => cursor.take(*size),
        _ => cursor.bytes(),
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    str::from_utf8(bytes).context("the bytes are no text in UTF-8")
}

fn micros(value: i64, logical: Option<Logical>) -> Result<i64> {
    let micros = match logical {
        Some(Logical::TimestampMillis) => value.checked_mul(1_000),
        Some(Logical::TimestampNanos) => (value % 1_000 == 0).then_some(value / 1_000),
        _ => Some(value),
    };
    micros.with_context(|| format!("`{value}` is no time in whole microseconds"))
}

/// A number as bytes from the highest, the sign in the first.
fn unscaled(bytes: &[u8]) -> Result<i128> {
    const BYTES: usize = size_of::<i128>();
    let is_negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let sign = if is_negative { 0xff } else { 0 };
    let (more, low) = bytes.split_at(bytes.len().saturating_sub(BYTES));
    let mut value = [sign; BYTES];
    value[BYTES - low.len()..].copy_from_slice(low);
    let value = i128::from_be_bytes(value);
    if more.iter().any(|byte| *byte != sign) || value.is_negative() != is_negative {
        bail!("a decimal has more than 38 digits");
    }
    Ok(value)
}
