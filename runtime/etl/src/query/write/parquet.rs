//! Rows as Parquet, nested ones among them.

use std::fs::File;

use anyhow::Result;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use datafusion::parquet::basic::{Compression as Codec, GzipLevel, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;

use super::layout::Compression;
use crate::formats::Writer;

/// Bytes of a row group after which the next one begins.
const ROW_GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;

struct ParquetWriter(ArrowWriter<File>);

/// Writes rows of `schema`.
pub fn writer(schema: SchemaRef, out: File, compression: Compression) -> Result<Box<dyn Writer>> {
    let codec = match compression {
        Compression::Gzip => Codec::GZIP(GzipLevel::default()),
        Compression::Snappy => Codec::SNAPPY,
        Compression::Zstd(level) => Codec::ZSTD(ZstdLevel::try_new(level)?),
        Compression::Lz4 => Codec::LZ4_RAW,
        Compression::None | Compression::Deflate => Codec::UNCOMPRESSED,
    };
    let properties = WriterProperties::builder().set_compression(codec).build();
    let options =
        ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    Ok(Box::new(ParquetWriter(ArrowWriter::try_new_with_options(out, schema, options)?)))
}

impl Writer for ParquetWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(batch)?;
        if self.0.in_progress_size() > ROW_GROUP_BYTES_MAX {
            self.0.flush()?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.close()?;
        Ok(())
    }
}
