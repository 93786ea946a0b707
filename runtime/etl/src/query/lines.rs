//! Results that are lines, and what is written beside a result about its columns.
//!
//! The file beside a result was taken apart by others: a message of protocol buffers with the ID of
//! the execution, and for each column what `ColumnInfo` says of it.
//! <https://github.com/burtcorp/athena-jdbc>: `AthenaMetaDataParser`,
//! <https://github.com/aoyagikouhei/athena-local/blob/main/docs/dev/measurements/metadata.md>.

use object_store::ObjectStoreExt;
use steppe_wire::query::{Column, QueryFailure};

use super::failure::Failed;
use crate::storage::Realm;

/// A result of lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// Its columns; without any there is nothing beside it.
    pub columns: Vec<Column>,
    /// Its lines.
    pub rows: Vec<String>,
}

impl Lines {
    /// Lines with columns of these names.
    pub fn of(columns: &[&str], rows: Vec<String>) -> Self {
        Self { columns: columns.iter().map(|name| text_column(name, "string")).collect(), rows }
    }

    /// Writes them to `output`.
    pub async fn write(&self, output: &str, id: &str) -> Result<(), QueryFailure> {
        put(output, self.rows.join("\n").into_bytes()).await?;
        if self.columns.is_empty() {
            return Ok(());
        }
        describe(output, id, None, &self.columns).await
    }
}

/// A column as Hive describes it.
pub fn text_column(name: &str, type_name: &str) -> Column {
    Column {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
        precision: 0,
        scale: 0,
        case_sensitive: false,
    }
}

/// What a statement did, and to how many rows.
#[derive(Debug, Clone, Copy)]
pub struct Updated {
    /// `INSERT`.
    pub kind: &'static str,
    /// Rows.
    pub rows: u64,
}

/// Writes `OUTPUT.metadata`.
pub async fn describe(
    output: &str,
    id: &str,
    updated: Option<Updated>,
    columns: &[Column],
) -> Result<(), QueryFailure> {
    let mut message = vec![];
    append_text(1, id, &mut message);
    if let Some(Updated { kind, rows }) = updated {
        append_text(2, kind, &mut message);
        append_number(3, rows, &mut message);
    }
    for column in columns {
        let mut inner = vec![];
        for (number, text) in
            [(1, "hive"), (4, &column.name), (5, &column.name), (6, &column.type_name)]
        {
            append_text(number, text, &mut inner);
        }
        if column.precision > 0 {
            append_number(7, column.precision.into(), &mut inner);
            append_number(8, column.scale.into(), &mut inner);
        }
        append_number(9, 3, &mut inner);
        append_number(10, column.case_sensitive.into(), &mut inner);
        append_bytes(4, &inner, &mut message);
    }
    put(&format!("{output}.metadata"), message).await
}

/// Writes an object.
pub async fn put(place: &str, bytes: Vec<u8>) -> Result<(), QueryFailure> {
    let place = Realm::S3.file(place).map_err(Failed::other)?;
    let put = place.store.put(&place.path, bytes.into()).await;
    put.map(drop).map_err(|error| Failed::stored(&error).into())
}

fn append_varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn append_number(field: u64, value: u64, out: &mut Vec<u8>) {
    append_varint(field << 3, out);
    append_varint(value, out);
}

fn append_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    append_varint(field << 3 | 2, out);
    append_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn append_text(field: u64, text: &str, out: &mut Vec<u8>) {
    append_bytes(field, text.as_bytes(), out);
}
