//! The values of a sequence file as lines, for readers of text: line `n` is record `n`.

use std::io::{self, Read};

use anyhow::{Result, bail};
use steppe_wire::hint::Hinted;

use super::Values;
use crate::formats::{Bytes, TableFormat};

/// Text in which each value is a line.
pub struct Lines {
    values: Values,
    format: TableFormat,
    line: Vec<u8>,
    at: usize,
}

impl Lines {
    /// Reads the header of a file, whose values are records of this format.
    pub fn open(file: Bytes, format: TableFormat) -> Result<Self> {
        Ok(Self { values: Values::open(file)?, format, line: vec![], at: 0 })
    }

    /// Reads the next value; whether there is one.
    fn next(&mut self) -> Result<bool> {
        self.line.clear();
        self.at = 0;
        if !self.values.next(&mut self.line)? {
            return Ok(false);
        }
        let number = self.values.records();
        // Readers leave out empty lines, and of JSON such with white space alone.
        let is_empty = match self.format {
            TableFormat::Json => self.line.trim_ascii().is_empty(),
            _ => self.line.is_empty(),
        };
        if is_empty {
            bail!(Hinted::new(
                format!("record {number}: the value is empty"),
                "leave such values out where the file is written"
            ));
        }
        if self.line.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            bail!(Hinted::new(
                format!("record {number}: the value has more than one line"),
                "each value must be one record on one line; `jq -c .` writes JSON so"
            ));
        }
        if str::from_utf8(&self.line).is_err() {
            bail!(Hinted::new(
                format!("record {number}: the text is not UTF-8"),
                "write the values in UTF-8"
            ));
        }
        self.line.push(b'\n');
        Ok(true)
    }
}

impl Read for Lines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() {
            // What stands before an error was given before.
            let next = self.next().map_err(|error| io::Error::other(Hinted::of(&*error)))?;
            if !next {
                return Ok(0);
            }
        }
        let read = (&self.line[self.at..]).read(out)?;
        self.at += read;
        Ok(read)
    }
}
