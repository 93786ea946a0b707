//! Files of one row group in Parquet, written column after column.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::DataType;
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

/// Levels of a value in a list of records: how deep it repeats, and how much of the way is there.
const REPEATED: i16 = 1;
const LIST: i16 = 1;
const ELEMENT: i16 = 3;

/// Where columns are written to, in the order of the schema.
pub type Group<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

/// A file of the columns that `write` writes.
pub fn file(schema: &str, write: impl FnOnce(&mut Group<'_>) -> Result<()>) -> Result<Vec<u8>> {
    let schema = Arc::new(parse_message_type(schema)?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    write(&mut group)?;
    group.close()?;
    writer.into_inner()
}

/// A column in which every row has a value.
pub fn required<T: DataType>(
    group: &mut Group<'_>,
    values: impl Iterator<Item = T::T>,
) -> Result<()> {
    write::<T>(group, &values.collect::<Vec<_>>(), None, None)
}

/// A column in which values may be missing.
pub fn optional<T: DataType>(
    group: &mut Group<'_>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<()> {
    let all: Vec<Option<T::T>> = values.collect();
    let levels: Vec<i16> = all.iter().map(|value| i16::from(value.is_some())).collect();
    write::<T>(group, &all.into_iter().flatten().collect::<Vec<_>>(), Some(&levels), None)
}

/// A field of the records in a list, of each row.
pub fn list<T: DataType, R>(
    group: &mut Group<'_>,
    rows: &[R],
    fields: impl Fn(&R) -> Vec<Option<T::T>>,
) -> Result<()> {
    let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let fields = fields(row);
        if fields.is_empty() {
            defined.push(LIST);
            repeated.push(0);
        }
        for (at, field) in fields.into_iter().enumerate() {
            defined.push(ELEMENT + i16::from(field.is_some()));
            repeated.push(if at == 0 { 0 } else { REPEATED });
            values.extend(field);
        }
    }
    write::<T>(group, &values, Some(&defined), Some(&repeated))
}

fn write<T: DataType>(
    group: &mut Group<'_>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<()> {
    let missing = || parquet::errors::ParquetError::General("the schema has fewer columns".into());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(values, defined, repeated)?;
    column.close()
}
