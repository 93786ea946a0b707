//! Rows as an Avro file.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;

use anyhow::{Result, bail};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Schema, TimestampMicrosecondType,
};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::{Value, json};
use steppe_wire::hint::Hinted;

use super::container::{MAGIC, SYNC_BYTES};
use crate::formats::Writer;
use crate::formats::columns::{MICROS, Written};

/// Bytes of a block after which the next one begins.
const BLOCK_BYTES: usize = 256 * 1024;

const MICROS_PER_MILLI: i64 = 1_000;

/// Writes rows of `schema`.
pub fn writer(schema: &Schema, out: File) -> Result<Box<dyn Writer>> {
    let written = Written::new(schema)?;
    let fields = written.schema.fields().iter().map(|field| -> Result<Value> {
        let name = field.name();
        if !is_name(name) {
            bail!(Hinted::new(
                format!("column `{name}` has a name that Avro does not take"),
                "give it a name of ASCII letters, digits and `_`"
            ));
        }
        Ok(json!({ "name": name, "type": ["null", avro_type(field.data_type())], "default": null }))
    });
    let fields: Vec<Value> = fields.collect::<Result<_>>()?;
    let schema = json!({ "type": "record", "name": "row", "fields": fields }).to_string();
    Ok(Box::new(AvroWriter { written, schema, out, sync: None, count: 0, block: vec![] }))
}

struct AvroWriter {
    written: Written,
    schema: String,
    out: File,
    /// The mark after each block, once the header is written.
    sync: Option<[u8; SYNC_BYTES]>,
    count: i64,
    block: Vec<u8>,
}

impl Writer for AvroWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = self.written.rows(batch)?;
        refuse_micros(&rows)?;
        let columns = rows.columns().iter().map(AsRef::as_ref);
        let columns: Vec<Values<'_>> = columns.map(Values::of).collect::<Result<_>>()?;
        for row in 0..rows.num_rows() {
            for values in &columns {
                values.append(row, &mut self.block);
            }
            self.count += 1;
            if self.block.len() >= BLOCK_BYTES {
                self.end_block()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.count > 0 { self.end_block() } else { self.sync().map(|_| ()) }
    }
}

impl AvroWriter {
    fn end_block(&mut self) -> Result<()> {
        let sync = self.sync()?;
        let mut encoder = DeflateEncoder::new(vec![], Compression::default());
        encoder.write_all(&self.block)?;
        let deflated = encoder.finish()?;
        let mut head = vec![];
        append_long(self.count, &mut head);
        append_length(deflated.len(), &mut head);
        for part in [&head, &deflated, &sync[..]] {
            self.out.write_all(part)?;
        }
        self.block.clear();
        self.count = 0;
        Ok(())
    }

    /// The mark; the header is written before the first block. Readers look for the mark in the
    /// midst of a file, so it must not be in the data: nobody can know it before the data are
    /// there, and the same rows give the same file.
    fn sync(&mut self) -> Result<[u8; SYNC_BYTES]> {
        if let Some(sync) = self.sync {
            return Ok(sync);
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(self.schema.as_bytes());
        hasher.write(&self.block);
        let high = hasher.finish();
        hasher.write_u64(high);
        let mut sync = [0; SYNC_BYTES];
        sync[..8].copy_from_slice(&high.to_be_bytes());
        sync[8..].copy_from_slice(&hasher.finish().to_be_bytes());

        let mut header = MAGIC.to_vec();
        // Without its zone, Hive shows times in that of whoever reads.
        let metadata = [
            ("avro.schema", self.schema.as_str()),
            ("avro.codec", "deflate"),
            ("writer.time.zone", "UTC"),
        ];
        append_length(metadata.len(), &mut header);
        for (key, value) in metadata {
            append_bytes(key.as_bytes(), &mut header);
            append_bytes(value.as_bytes(), &mut header);
        }
        append_long(0, &mut header);
        header.extend_from_slice(&sync);
        self.out.write_all(&header)?;
        self.sync = Some(sync);
        Ok(sync)
    }
}

/// Times that have microseconds would lose them.
fn refuse_micros(rows: &RecordBatch) -> Result<()> {
    for (field, array) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() else { continue };
        let lost = |micros: &i64| micros % MICROS_PER_MILLI != 0;
        if let Some(micros) = times.iter().flatten().find(lost) {
            bail!(Hinted::new(
                format!(
                    "column `{}` has the time {micros} µs after 1970, and Athena and Hive read \
                     whole milliseconds in Avro",
                    field.name()
                ),
                "`date_trunc('millisecond', …)` in the SQL, or `format = \"parquet\"`"
            ));
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_part) && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

fn avro_type(data_type: &DataType) -> Value {
    match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => json!("int"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Date32 => json!({ "type": "int", "logicalType": "date" }),
        time if *time == MICROS => json!({ "type": "long", "logicalType": "timestamp-millis" }),
        DataType::Decimal128(precision, scale) => json!({
            "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale,
        }),
        _ => json!("string"),
    }
}

/// A column of a batch.
struct Values<'a> {
    array: &'a dyn Array,
    append: fn(&'a dyn Array, usize, &mut Vec<u8>),
}

impl<'a> Values<'a> {
    fn of(array: &'a dyn Array) -> Result<Self> {
        let append: fn(&'a dyn Array, usize, &mut Vec<u8>) = match array.data_type() {
            DataType::Utf8 => |array, row, out| {
                append_bytes(array.as_string::<i32>().value(row).as_bytes(), out);
            },
            DataType::Boolean => |array, row, out| {
                out.push(u8::from(array.as_boolean().value(row)));
            },
            DataType::Int8 => |array, row, out| {
                append_long(i64::from(array.as_primitive::<Int8Type>().value(row)), out);
            },
            DataType::Int16 => |array, row, out| {
                append_long(i64::from(array.as_primitive::<Int16Type>().value(row)), out);
            },
            DataType::Int32 => |array, row, out| {
                append_long(i64::from(array.as_primitive::<Int32Type>().value(row)), out);
            },
            DataType::Date32 => |array, row, out| {
                append_long(i64::from(array.as_primitive::<Date32Type>().value(row)), out);
            },
            DataType::Int64 => |array, row, out| {
                append_long(array.as_primitive::<Int64Type>().value(row), out);
            },
            time if *time == MICROS => |array, row, out| {
                let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
                append_long(micros / MICROS_PER_MILLI, out);
            },
            DataType::Float32 => |array, row, out| {
                out.extend(array.as_primitive::<Float32Type>().value(row).to_le_bytes());
            },
            DataType::Float64 => |array, row, out| {
                out.extend(array.as_primitive::<Float64Type>().value(row).to_le_bytes());
            },
            DataType::Decimal128(_, _) => |array, row, out| {
                append_unscaled(array.as_primitive::<Decimal128Type>().value(row), out);
            },
            other => bail!("Avro is not written with the type {other}"),
        };
        Ok(Self { array, append })
    }

    /// Appends a value, or that there is none.
    fn append(&self, row: usize, out: &mut Vec<u8>) {
        if self.array.is_null(row) {
            append_long(0, out);
        } else {
            append_long(1, out);
            (self.append)(self.array, row, out);
        }
    }
}

fn append_long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest > 0x7f {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn append_length(length: usize, out: &mut Vec<u8>) {
    // Nothing in memory is longer than an `isize` counts.
    append_long(length.cast_signed() as i64, out);
}

fn append_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    append_length(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// A number as bytes from the highest, without those that only repeat the sign.
fn append_unscaled(value: i128, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let repeats = |pair: &&[u8]| pair[0] == sign && (pair[1] ^ sign) & 0x80 == 0;
    let start = bytes.windows(2).take_while(repeats).count();
    append_bytes(&bytes[start..], out);
}
