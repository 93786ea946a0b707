//! Apache Avro: one block after another, without a copy of the file.
//!
//! The container and the records are read here, because the library at hand takes a file that ends
//! within a block for a shorter one, does not compare the marks between blocks and has no bounds.
//!
//! Times are written as `timestamp-millis`, because Hive and Trino, which is Athena, take nothing
//! else in Avro for a `timestamp`: microseconds would be read as milliseconds of a far future. A
//! time with microseconds is refused. Blocks are deflated, which every reader must know.

use std::fs::File;

use anyhow::Result;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use steppe_wire::etl::ColumnName;

use super::columns::by_name;
use super::{Bytes, Format, Reader, Writer};

mod container;
mod cursor;
mod reader;
mod schema;
mod writer;

pub(crate) use container::Blocks;
pub use reader::read;
pub use schema::Schema;
pub(crate) use schema::{Field, Kind, Logical};

/// Apache Avro.
pub struct Avro;

impl Format for Avro {
    fn columns(&self, bytes: Bytes) -> Result<Vec<(String, Option<DataType>)>> {
        reader::columns(bytes)
    }

    fn read(&self, bytes: Bytes, wanted: &[ColumnName]) -> Result<Reader> {
        read(bytes, &by_name(wanted))
    }

    fn writer(&self, schema: SchemaRef, out: File) -> Result<Box<dyn Writer>> {
        writer::writer(&schema, out)
    }
}
