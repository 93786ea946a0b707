//! Rows as lines: fields with delimiters, as Hive's readers of text split them, or objects of JSON.

use std::fs::File;

use anyhow::Result;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::arrow::json::writer::{LineDelimited, WriterBuilder};

use super::layout::{Compression, Layout};
use super::sink::Packed;
use crate::formats::Writer;
use crate::query::form;

/// Writes fields with a delimiter.
pub fn fields(out: File, layout: Layout) -> Result<Box<dyn Writer>> {
    let out = Packed::new(out, layout.compression)?;
    Ok(Box::new(Fields { out, layout }))
}

struct Fields {
    out: Packed,
    layout: Layout,
}

impl Fields {
    fn append(&self, value: Option<&str>, line: &mut String) {
        let Layout { delimiter, escape, quote, null, .. } = &self.layout;
        let Some(value) = value else { return line.push_str(null) };
        if let Some(quote) = quote {
            line.push(*quote);
        }
        for character in value.chars() {
            let special = match quote {
                Some(quote) => character == *quote || Some(character) == *escape,
                None => character == *delimiter || Some(character) == *escape || character == '\n',
            };
            if let Some(escape) = escape.filter(|_| special) {
                line.push(escape);
            }
            line.push(character);
        }
        if let Some(quote) = quote {
            line.push(*quote);
        }
    }
}

impl Writer for Fields {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut lines = String::new();
        for row in 0..batch.num_rows() {
            for (at, array) in batch.columns().iter().enumerate() {
                if at > 0 {
                    lines.push(self.layout.delimiter);
                }
                self.append(form::value(array, row)?.as_deref(), &mut lines);
            }
            lines.push('\n');
        }
        Ok(self.out.write_all(lines.as_bytes())?)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(self.out.finish()?)
    }
}

/// Writes an object on a line.
pub fn json(out: File, compression: Compression) -> Result<Box<dyn Writer>> {
    Ok(Box::new(Objects { out: Packed::new(out, compression)? }))
}

struct Objects {
    out: Packed,
}

impl Writer for Objects {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut lines: LineDelimitedWriter<Vec<u8>> = WriterBuilder::new()
            .with_timestamp_format("%Y-%m-%d %H:%M:%S%.3f".to_owned())
            .build::<_, LineDelimited>(vec![]);
        lines.write(batch)?;
        lines.finish()?;
        Ok(self.out.write_all(&lines.into_inner())?)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(self.out.finish()?)
    }
}
