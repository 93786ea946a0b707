//! Columns of Parquet files, as they lie there.

use std::cell::Cell;
use std::collections::HashMap;

use bytes::Bytes;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

use crate::forecast::dataset::DataError;

/// Values that are read at once.
const BATCH: usize = 8_192;

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// Truth values.
    Boolean(Vec<Option<bool>>),
    /// Whole numbers.
    Whole(Vec<Option<i64>>),
    /// Numbers; NaN is missing.
    Number(Vec<f64>),
    /// Days since 1970.
    Day(Vec<Option<i64>>),
    /// Microseconds since 1970.
    Moment(Vec<Option<i64>>),
    /// Texts, by their places in a list of all.
    Text {
        /// A place per row.
        codes: Vec<Option<u32>>,
        /// The texts.
        texts: Vec<String>,
    },
}

/// Columns of one table in several files, by name.
#[derive(Debug, Default)]
pub struct RawTable {
    rows: usize,
    columns: HashMap<String, Raw>,
    /// The first row in which a number is there and is none, by column.
    no_numbers: HashMap<String, usize>,
}

impl RawTable {
    /// Reads those columns of `wanted` that there are.
    pub fn read(
        files: impl IntoIterator<Item = Bytes>,
        wanted: &[&str],
    ) -> Result<Self, DataError> {
        let mut table = Self::default();
        for file in files {
            table.add(file, wanted)?;
        }
        Ok(table)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A column.
    pub fn get(&self, name: &str) -> Result<&Raw, DataError> {
        self.columns.get(name).ok_or_else(|| DataError::Column {
            column: name.to_owned(),
            problem: "is missing",
            available: self.names(),
        })
    }

    /// The first row in which a column has a NaN, which is not the same as no value.
    pub fn first_nan(&self, name: &str) -> Option<usize> {
        self.no_numbers.get(name).copied()
    }

    /// Takes a column out.
    pub fn take(&mut self, name: &str) -> Option<Raw> {
        self.columns.remove(name)
    }

    /// Names of the columns that are left, for messages.
    pub fn names(&self) -> String {
        let mut names: Vec<&str> = self.columns.keys().map(String::as_str).collect();
        names.sort_unstable();
        names.join(", ")
    }

    /// The columns of a file without rows.
    fn add_empty(&mut self, columns: &[ColumnDescPtr], wanted: &[&str]) {
        let plain = columns.iter().filter(|column| column.path().parts().len() == 1);
        for column in plain.filter(|column| wanted.contains(&column.name())) {
            let empty = Reader::of(column, 0).empty();
            self.columns.entry(column.name().to_owned()).or_insert(empty);
        }
    }

    fn add(&mut self, file: Bytes, wanted: &[&str]) -> Result<(), DataError> {
        let reader = SerializedFileReader::new(file)?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        if reader.num_row_groups() == 0 && self.rows == 0 {
            self.add_empty(schema.columns(), wanted);
        }
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group)?;
            let rows = group.metadata().num_rows().max(0) as usize;
            for (at, column) in schema.columns().iter().enumerate() {
                let name = column.name();
                // What lies in lists and records is no column of the table.
                if column.path().parts().len() > 1 || !wanted.contains(&name) {
                    continue;
                }
                let reader = Reader::of(column, rows);
                let values = reader.read(group.get_column_reader(at)?)?;
                if let Some(row) = reader.first_nan.get() {
                    self.no_numbers.entry(name.to_owned()).or_insert(self.rows + row);
                }
                let fits = match self.columns.get_mut(name) {
                    Some(before) => before.append(&values),
                    None => {
                        self.columns.insert(name.to_owned(), values);
                        self.rows == 0
                    }
                };
                if !fits {
                    return Err(of_another_type(name, &self.names()));
                }
            }
            self.rows += rows;
            if let Some(name) = self.columns.iter().find(|(_, c)| c.len() != self.rows) {
                return Err(of_another_type(name.0, &self.names()));
            }
        }
        Ok(())
    }
}

fn of_another_type(name: &str, available: &str) -> DataError {
    DataError::Column {
        column: name.to_owned(),
        problem: "is not there, or of another type, in every file",
        available: available.to_owned(),
    }
}

impl Raw {
    fn len(&self) -> usize {
        match self {
            Self::Boolean(values) => values.len(),
            Self::Whole(values) | Self::Day(values) | Self::Moment(values) => values.len(),
            Self::Number(values) => values.len(),
            Self::Text { codes, .. } => codes.len(),
        }
    }

    /// Adds more rows of the same type; says whether it is the same.
    fn append(&mut self, more: &Self) -> bool {
        match (self, more) {
            (Self::Boolean(a), Self::Boolean(b)) => a.extend_from_slice(b),
            (Self::Whole(a), Self::Whole(b))
            | (Self::Day(a), Self::Day(b))
            | (Self::Moment(a), Self::Moment(b)) => a.extend_from_slice(b),
            (Self::Number(a), Self::Number(b)) => a.extend_from_slice(b),
            (Self::Text { codes, texts }, Self::Text { codes: more, texts: others }) => {
                let known: HashMap<String, u32> = texts.iter().cloned().zip(0..).collect();
                let mut place = |text: &String| {
                    known.get(text).copied().unwrap_or_else(|| {
                        texts.push(text.clone());
                        texts.len() as u32 - 1
                    })
                };
                let places: Vec<u32> = others.iter().map(&mut place).collect();
                codes.extend(more.iter().map(|code| code.map(|code| places[code as usize])));
            }
            _ => return false,
        }
        true
    }

    /// Each value as a text; none where it is missing.
    pub fn texts(&self) -> Vec<Option<String>> {
        match self {
            Self::Boolean(values) => values.iter().map(|v| Some(v.as_ref()?.to_string())).collect(),
            Self::Whole(values) | Self::Day(values) | Self::Moment(values) => {
                values.iter().map(|v| Some(v.as_ref()?.to_string())).collect()
            }
            Self::Number(values) => {
                values.iter().map(|v| (!v.is_nan()).then(|| v.to_string())).collect()
            }
            Self::Text { codes, texts } => {
                codes.iter().map(|code| Some(texts[(*code)? as usize].clone())).collect()
            }
        }
    }
}

/// Reads a column of a row group.
struct Reader<'a> {
    column: &'a ColumnDescriptor,
    rows: usize,
    first_nan: Cell<Option<usize>>,
}

impl<'a> Reader<'a> {
    fn of(column: &'a ColumnDescriptor, rows: usize) -> Self {
        Self { column, rows, first_nan: Cell::new(None) }
    }

    /// No values of the column's type.
    fn empty(&self) -> Raw {
        match self.column.physical_type() {
            Type::BOOLEAN => Raw::Boolean(vec![]),
            Type::INT32 if self.is_day() => Raw::Day(vec![]),
            Type::INT64 if self.micros().is_some() => Raw::Moment(vec![]),
            Type::INT96 => Raw::Moment(vec![]),
            Type::INT32 | Type::INT64 if self.scale().is_none() => Raw::Whole(vec![]),
            Type::BYTE_ARRAY if self.scale().is_none() => {
                Raw::Text { codes: vec![], texts: vec![] }
            }
            _ => Raw::Number(vec![]),
        }
    }

    fn read(&self, reader: ColumnReader) -> Result<Raw, DataError> {
        let scale = self.scale();
        let scaled = |values: Vec<Option<f64>>| {
            self.first_nan.set(values.iter().position(|value| value.is_some_and(f64::is_nan)));
            let number = |value: Option<f64>| value.map_or(f64::NAN, |v| v / scale.unwrap_or(1.0));
            Raw::Number(values.into_iter().map(number).collect())
        };
        Ok(match reader {
            ColumnReader::BoolColumnReader(reader) => Raw::Boolean(self.values(reader)?),
            ColumnReader::Int32ColumnReader(reader) => {
                let values = self.values(reader)?;
                if scale.is_some() {
                    return Ok(scaled(values.into_iter().map(|v| v.map(f64::from)).collect()));
                }
                let whole = values.into_iter().map(|v| v.map(i64::from)).collect();
                if self.is_day() { Raw::Day(whole) } else { Raw::Whole(whole) }
            }
            ColumnReader::Int64ColumnReader(reader) => {
                let values: Vec<Option<i64>> = self.values(reader)?;
                match self.micros() {
                    Some(micros) => {
                        Raw::Moment(values.into_iter().map(|v| Some(micros(v?))).collect())
                    }
                    None if scale.is_some() => {
                        scaled(values.into_iter().map(|v| v.map(|v| v as f64)).collect())
                    }
                    None => Raw::Whole(values),
                }
            }
            ColumnReader::Int96ColumnReader(reader) => {
                let values = self.values(reader)?;
                Raw::Moment(values.into_iter().map(|v| v.map(|v| v.to_micros())).collect())
            }
            ColumnReader::FloatColumnReader(reader) => {
                scaled(self.values(reader)?.into_iter().map(|v| v.map(f64::from)).collect())
            }
            ColumnReader::DoubleColumnReader(reader) => scaled(self.values(reader)?),
            ColumnReader::ByteArrayColumnReader(reader) => {
                let values: Vec<Option<ByteArray>> = self.values(reader)?;
                match scale {
                    Some(_) => scaled(
                        values.iter().map(|v| Some(big_endian(v.as_ref()?.data()))).collect(),
                    ),
                    None => self.text(&values)?,
                }
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                if scale.is_none() {
                    return Err(DataError::Column {
                        column: self.column.name().to_owned(),
                        problem: "is of a type that models do not read",
                        available: String::new(),
                    });
                }
                let values: Vec<Option<FixedLenByteArray>> = self.values(reader)?;
                scaled(values.iter().map(|v| Some(big_endian(v.as_ref()?.data()))).collect())
            }
        })
    }

    /// All values of the group; none where one is missing.
    fn values<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
    ) -> Result<Vec<Option<T::T>>, DataError> {
        let present = self.column.max_def_level();
        let mut all = Vec::with_capacity(self.rows);
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        while all.len() < self.rows {
            levels.clear();
            values.clear();
            let (records, ..) = reader.read_records(BATCH, Some(&mut levels), None, &mut values)?;
            if records == 0 {
                break;
            }
            if present == 0 {
                all.extend(values.drain(..).map(Some));
                continue;
            }
            let mut known = values.drain(..);
            all.extend(
                levels.iter().map(|level| (*level == present).then(|| known.next()).flatten()),
            );
        }
        Ok(all)
    }

    fn text(&self, values: &[Option<ByteArray>]) -> Result<Raw, DataError> {
        let mut places: HashMap<&[u8], u32> = HashMap::new();
        let mut texts: Vec<String> = Vec::new();
        let mut codes = Vec::with_capacity(values.len());
        for value in values {
            let Some(value) = value else {
                codes.push(None);
                continue;
            };
            let code = match places.get(value.data()) {
                Some(code) => *code,
                None => {
                    let text = value.as_utf8()?.to_owned();
                    places.insert(value.data(), texts.len() as u32);
                    texts.push(text);
                    texts.len() as u32 - 1
                }
            };
            codes.push(Some(code));
        }
        Ok(Raw::Text { codes, texts })
    }

    fn is_day(&self) -> bool {
        self.column.logical_type_ref() == Some(&LogicalType::Date)
            || self.column.converted_type() == ConvertedType::DATE
    }

    /// By what a stored whole number is divided; of decimals only.
    fn scale(&self) -> Option<f64> {
        let decimal = matches!(self.column.logical_type_ref(), Some(LogicalType::Decimal { .. }))
            || self.column.converted_type() == ConvertedType::DECIMAL;
        decimal.then(|| 10_f64.powi(self.column.type_scale()))
    }

    /// How a moment becomes microseconds.
    fn micros(&self) -> Option<fn(i64) -> i64> {
        match self.column.logical_type_ref() {
            Some(LogicalType::Timestamp(time)) => Some(match time.unit {
                TimeUnit::MILLIS => |v| v.saturating_mul(1_000),
                TimeUnit::MICROS => |v| v,
                TimeUnit::NANOS => |v| v.div_euclid(1_000),
            }),
            _ => match self.column.converted_type() {
                ConvertedType::TIMESTAMP_MILLIS => Some(|v| v.saturating_mul(1_000)),
                ConvertedType::TIMESTAMP_MICROS => Some(|v| v),
                _ => None,
            },
        }
    }
}

/// A whole number in bytes, the highest first, as two's complement.
fn big_endian(bytes: &[u8]) -> f64 {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1_i128 } else { 0 };
    bytes.iter().fold(start, |number, byte| (number << 8) | i128::from(*byte)) as f64
}
