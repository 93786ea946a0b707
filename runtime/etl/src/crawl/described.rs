//! Files that say which columns they have: Parquet and ORC by their footers, Avro by its header.

use anyhow::{Context, Result, bail};
use datafusion::parquet::arrow::parquet_to_arrow_schema;
use datafusion::parquet::file::metadata::ParquetMetaDataReader;
use orc_rust::proto::r#type::Kind as OrcKind;
use orc_rust::proto::{Footer, Type as OrcType};
use serde_json::{Value, json};
use steppe_wire::crawl::Classification;
use tokio_util::bytes::Bytes as Buffer;

use super::hive::{Column, Hive};
use super::seen::Seen;
use crate::formats::avro::{Blocks, Field, Kind, Logical, Schema};
use crate::formats::{guarded, orc};
use crate::objects::{Bytes, Object};

/// Bytes of a file's end that have its footer, mostly.
const TAIL_BYTES: u64 = 64 * 1024;
/// Bytes of a file's end that are read at most.
const TAIL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How a file of Parquet ends: bytes of its footer and four letters.
const PARQUET_END_BYTES: usize = 8;
/// Depth of types within types.
const DEPTH_MAX: usize = 64;

/// Reads more of the end, until that is enough.
async fn from_tail<T>(object: &Object, read: impl Fn(&Buffer) -> Result<T>) -> Result<T> {
    let mut length = TAIL_BYTES;
    loop {
        let tail = object.tail(length).await?;
        let is_all = length >= object.size.min(TAIL_BYTES_MAX);
        match guarded(|| read(&tail)) {
            Err(_) if !is_all => length *= 32,
            read => return read,
        }
    }
}

/// Of Parquet.
pub async fn parquet(object: &Object) -> Result<Seen> {
    let (schema, records) = from_tail(object, |tail| {
        let (rest, end) = tail
            .split_last_chunk::<PARQUET_END_BYTES>()
            .filter(|(_, end)| end.ends_with(b"PAR1"))
            .context("the file does not end as one of Parquet")?;
        let length = u32::from_le_bytes([end[0], end[1], end[2], end[3]]) as usize;
        let start = rest.len().checked_sub(length).context("the footer is cut off")?;
        let metadata = ParquetMetaDataReader::decode_metadata(&rest[start..])?;
        let file = metadata.file_metadata();
        Ok((parquet_to_arrow_schema(file.schema_descr(), None)?, file.num_rows()))
    })
    .await?;
    let columns = schema.fields().iter();
    let columns = columns.map(|f| (f.name().clone(), Hive::of(f.data_type()))).collect();
    let records = u64::try_from(records).context("the number of rows is negative")?;
    Ok(seen(Classification::Parquet, columns, object.size, records))
}

/// Of ORC.
pub async fn orc(object: &Object) -> Result<Seen> {
    let footer: Footer = from_tail(object, |tail| {
        orc::tail::footer(|after, length| {
            let part = || {
                let end = tail.len().checked_sub(usize::try_from(after).ok()?)?;
                let start = end.checked_sub(usize::try_from(length).ok()?)?;
                Some(tail.slice(start..end))
            };
            part().ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
        })
    })
    .await?;
    let root = footer.types.first().context("the file has no type")?;
    let columns = match root.kind() {
        OrcKind::Struct => orc_fields(&footer.types, root)?,
        kind => bail!("the rows are of the type {}", kind.as_str_name()),
    };
    Ok(seen(Classification::Orc, columns, object.size, footer.number_of_rows()))
}

fn orc_fields(types: &[OrcType], parent: &OrcType) -> Result<Vec<Column>> {
    let children = parent.field_names.iter().zip(orc_children(types, parent)?);
    Ok(children.map(|(name, kind)| (name.clone(), kind)).collect())
}

/// The types within one; that they are a small tree was looked at before.
fn orc_children(types: &[OrcType], parent: &OrcType) -> Result<Vec<Hive>> {
    let child = |id: &u32| orc_type(types, &types[*id as usize]);
    parent.subtypes.iter().map(child).collect()
}

fn orc_type(types: &[OrcType], kind: &OrcType) -> Result<Hive> {
    let length = kind.maximum_length.unwrap_or_default();
    let mut children = orc_children(types, kind)?;
    let mut next = || {
        let first = (!children.is_empty()).then(|| Box::new(children.remove(0)));
        first.context("a type lacks what is within it")
    };
    Ok(match kind.kind() {
        OrcKind::Boolean => Hive::Boolean,
        OrcKind::Byte => Hive::TinyInt,
        OrcKind::Short => Hive::SmallInt,
        OrcKind::Int => Hive::Int,
        OrcKind::Long => Hive::BigInt,
        OrcKind::Float => Hive::Float,
        OrcKind::Double => Hive::Double,
        OrcKind::String => Hive::String,
        OrcKind::Binary => Hive::Binary,
        OrcKind::Timestamp | OrcKind::TimestampInstant => Hive::Timestamp,
        OrcKind::Date => Hive::Date,
        OrcKind::Varchar => Hive::Letters("varchar", length),
        OrcKind::Char => Hive::Letters("char", length),
        OrcKind::Decimal => Hive::Decimal(kind.precision.unwrap_or(38), kind.scale()),
        OrcKind::List => Hive::Array(next()?),
        OrcKind::Map => Hive::Map(next()?, next()?),
        OrcKind::Struct => Hive::Struct(orc_fields(types, kind)?),
        OrcKind::Union => Hive::Union(children),
    })
}

/// Of Avro. Records are counted in the first block, and estimated from there when there are more.
pub fn avro(file: Bytes, size: u64) -> Result<Seen> {
    let mut blocks = Blocks::open(file)?;
    let text = String::from_utf8(blocks.schema.clone()).context("the schema is no text")?;
    let schema = Schema::parse(text.as_bytes())?;
    let columns = avro_fields(&schema, schema.fields()?, 0)?;
    let records = match (blocks.next()?, blocks.next()?) {
        (None, _) => 0,
        (Some(only), None) => only.count,
        (Some(first), Some(_)) => {
            let record_bytes = first.bytes.len() as u64 / first.count.max(1);
            first.count.max(size / record_bytes.max(1))
        }
    };
    Ok(seen(Classification::Avro(text), columns, size, records))
}

fn avro_fields(schema: &Schema, fields: &[Field], depth: usize) -> Result<Vec<Column>> {
    let column = |field: &Field| Ok((field.name.clone(), avro_type(schema, field.id, depth + 1)?));
    fields.iter().map(column).collect()
}

/// As Hive's SerDe has it, which knows no microseconds.
/// <https://cwiki.apache.org/confluence/display/hive/avroserde>
fn avro_type(schema: &Schema, id: usize, depth: usize) -> Result<Hive> {
    if depth > DEPTH_MAX {
        bail!("the types of the schema are nested more than {DEPTH_MAX} deep");
    }
    let of = |id: usize| avro_type(schema, id, depth + 1);
    Ok(match (schema.kind(id), schema.logical(id)) {
        (Kind::Int, Some(Logical::Date)) => Hive::Date,
        (Kind::Long, Some(Logical::TimestampMillis)) => Hive::Timestamp,
        (Kind::Bytes | Kind::Fixed(_), Some(Logical::Decimal(digits, scale))) => {
            Hive::Decimal(u32::from(digits), u32::from(scale.unsigned_abs()))
        }
        (Kind::Null, _) => Hive::Unseen,
        (Kind::Boolean, _) => Hive::Boolean,
        (Kind::Int, _) => Hive::Int,
        (Kind::Long, _) => Hive::BigInt,
        (Kind::Float, _) => Hive::Float,
        (Kind::Double, _) => Hive::Double,
        (Kind::Bytes | Kind::Fixed(_), _) => Hive::Binary,
        (Kind::Text | Kind::Enum(_), _) => Hive::String,
        (Kind::Record(fields), _) => Hive::Struct(avro_fields(schema, fields, depth)?),
        (Kind::Array(item), _) => Hive::Array(Box::new(of(*item)?)),
        (Kind::Map(value), _) => Hive::Map(Box::new(Hive::String), Box::new(of(*value)?)),
        (Kind::Union(choices), _) => {
            let values = choices.iter().filter(|id| !matches!(schema.kind(**id), Kind::Null));
            let mut values = values.map(|id| of(*id)).collect::<Result<Vec<_>>>()?;
            match values.len() {
                0 => Hive::Unseen,
                1 => values.remove(0),
                _ => Hive::Union(values),
            }
        }
    })
}

/// A schema that reads the files of both: fields that only one has are null in the other's. Nothing
/// when there is none.
pub fn avro_union(a: &str, b: &str) -> Option<String> {
    let mut joined: Value = serde_json::from_str(a).ok()?;
    let mut other: Value = serde_json::from_str(b).ok()?;
    let (own, others) = (joined["fields"].as_array_mut()?, other["fields"].as_array_mut()?);
    let has = |fields: &[Value], name: &Value| fields.iter().any(|field| field["name"] == *name);
    for field in own.iter_mut().filter(|field| !has(others, &field["name"])) {
        make_optional(field);
    }
    for field in others.iter_mut() {
        if !has(own, &field["name"]) {
            make_optional(field);
            own.push(field.clone());
        }
    }
    let text = joined.to_string();
    Schema::parse(text.as_bytes()).ok().map(|_| text)
}

fn make_optional(field: &mut Value) {
    let mut kinds = match &field["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    // The default is of the first of a union's types.
    kinds.retain(|kind| *kind != "null");
    kinds.insert(0, json!("null"));
    field["type"] = Value::Array(kinds);
    field["default"] = Value::Null;
}

fn seen(classification: Classification, columns: Vec<Column>, bytes: u64, records: u64) -> Seen {
    Seen { classification, gzip: false, columns, objects: 1, bytes, records }
}
