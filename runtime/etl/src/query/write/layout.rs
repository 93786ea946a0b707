//! In which format rows are written: what a statement or a table says of it.
//!
//! Without a word, tables of a query are Parquet with GZIP; text and JSON are compressed with GZIP.
//! ORC is written with Snappy and Avro with deflate only; their other codecs are refused by name.
//!
//! <https://docs.aws.amazon.com/athena/latest/ug/create-table-as.html>,
//! <https://docs.aws.amazon.com/athena/latest/ug/compression-formats.html>

use serde_json::Value;
use steppe_wire::query::QueryFailure;

use crate::query::failure::failed;
use crate::query::hive::statement::NewColumn;
use crate::query::hive::storage::Storage;
use crate::query::hive::words::Property;

/// Hive's delimiter of fields.
const FIELD: char = '\u{1}';

/// What `WITH` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    format: Option<String>,
    compression: Option<String>,
    level: Option<i32>,
    delimiter: Option<char>,
    /// `external_location`.
    pub location: Option<String>,
    keys: Vec<String>,
}

/// Formats that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Apache ORC.
    Orc,
    /// Apache Avro.
    Avro,
    /// An object on a line.
    Json,
    /// Fields with a delimiter.
    Text,
}

/// How bytes are made fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// GZIP.
    Gzip,
    /// Snappy.
    Snappy,
    /// Zstandard of a level.
    Zstd(i32),
    /// LZ4.
    Lz4,
    /// Deflate.
    Deflate,
}

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The format.
    pub format: Format,
    /// The codec.
    pub compression: Compression,
    /// What stands between fields of text.
    pub delimiter: char,
    /// What stands before a delimiter that belongs to a value.
    pub escape: Option<char>,
    /// What every field of text stands in.
    pub quote: Option<char>,
    /// What stands for NULL.
    pub null: String,
}

fn invalid(what: impl std::fmt::Display) -> QueryFailure {
    failed(format!("INVALID_TABLE_PROPERTY: line 1:1: {what}"))
}

fn unsupported(what: impl std::fmt::Display) -> QueryFailure {
    failed(format!("NOT_SUPPORTED: the embedded cloud {what}"))
}

impl Options {
    /// Of `CREATE TABLE … WITH`.
    pub fn of_table(given: Vec<(String, Property)>) -> Result<Self, QueryFailure> {
        let mut options = Self::default();
        for (name, value) in given {
            match (name.as_str(), value) {
                ("external_location", Property::Text(text)) => options.location = Some(text),
                ("table_type", Property::Text(text)) if text.eq_ignore_ascii_case("hive") => {}
                ("table_type", Property::Text(text)) => {
                    return Err(unsupported(format!("has no tables of the type {text}")));
                }
                ("is_external", Property::Text(text)) if text.eq_ignore_ascii_case("true") => {}
                (
                    "write_compression" | "parquet_compression" | "orc_compression",
                    Property::Text(text),
                ) => options.compression = Some(text),
                ("bucketed_by" | "bucket_count", _) => {
                    return Err(unsupported("makes no tables with buckets"));
                }
                (_, value) => options.set(&name, value)?,
            }
        }
        Ok(options)
    }

    /// Of `UNLOAD … WITH`.
    pub fn of_unload(given: Vec<(String, Property)>) -> Result<Self, QueryFailure> {
        let mut options = Self::default();
        for (name, value) in given {
            match (name.as_str(), value) {
                ("compression", Property::Text(text)) => options.compression = Some(text),
                (_, value) => options.set(&name, value)?,
            }
        }
        if options.format.is_none() {
            return Err(invalid("UNLOAD needs the property 'format'"));
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: Property) -> Result<(), QueryFailure> {
        match (name, value) {
            ("format", Property::Text(text)) => self.format = Some(text),
            ("field_delimiter", Property::Text(text)) => {
                self.delimiter = Some(one_character(name, &text)?);
            }
            ("compression_level", Property::Text(text)) => {
                let level = text.parse().map_err(|_| invalid(format!("{name} is `{text}`")))?;
                self.level = Some(level);
            }
            ("partitioned_by", Property::List(keys)) => {
                self.keys = keys.into_iter().map(|key| key.to_lowercase()).collect();
            }
            (other, _) => {
                return Err(invalid(format!(
                    "Catalog 'awsdatacatalog' table property '{other}' does not exist"
                )));
            }
        }
        Ok(())
    }

    /// How many of the columns are not keys of partitions, which must be the last ones.
    pub fn data_columns(&self, columns: &[(String, String)]) -> Result<usize, QueryFailure> {
        let data = columns.len().saturating_sub(self.keys.len());
        let last: Vec<&String> = columns[data..].iter().map(|(name, _)| name).collect();
        if !self.keys.iter().eq(last) {
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            if let Some(missing) = self.keys.iter().find(|key| !names.contains(&key.as_str())) {
                return Err(invalid(format!("Partition columns not present in schema: {missing}")));
            }
            return Err(failed(format!(
                "HIVE_COLUMN_ORDER_MISMATCH: Partition keys must be the last columns in the table \
                 and in the same order as the table properties: [{}]",
                self.keys.join(", ")
            )));
        }
        if data == 0 {
            return Err(invalid("Table contains only partition columns"));
        }
        Ok(data)
    }
}

/// A number stands for the character with that code, as Hive's `LazyUtils` reads it.
fn delimiter(text: &str) -> Result<char, QueryFailure> {
    match text.parse::<u8>() {
        Ok(code) if code < 128 => Ok(char::from(code)),
        _ => one_character("field.delim", text),
    }
}

fn one_character(name: &str, text: &str) -> Result<char, QueryFailure> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        _ => Err(invalid(format!("{name} must be one character, not `{text}`"))),
    }
}

impl Format {
    fn parse(name: &str) -> Option<Self> {
        Some(match name.to_uppercase().as_str() {
            "PARQUET" => Self::Parquet,
            "ORC" => Self::Orc,
            "AVRO" => Self::Avro,
            "JSON" => Self::Json,
            "TEXTFILE" => Self::Text,
            _ => return None,
        })
    }

    /// In the words of statements.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "PARQUET",
            Self::Orc => "ORC",
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Text => "TEXTFILE",
        }
    }

    /// What it is compressed with when nobody says.
    fn default_compression(self) -> Compression {
        match self {
            Self::Parquet | Self::Json | Self::Text => Compression::Gzip,
            Self::Orc => Compression::Snappy,
            Self::Avro => Compression::Deflate,
        }
    }

    fn takes(self, compression: Compression) -> bool {
        use Compression::{Deflate, Gzip, None, Snappy, Zstd};
        match self {
            Self::Parquet => compression != Deflate,
            Self::Orc => compression == Snappy,
            Self::Avro => compression == Deflate,
            Self::Json | Self::Text => matches!(compression, None | Gzip | Zstd(_)),
        }
    }
}

impl Compression {
    fn parse(name: &str, level: Option<i32>) -> Option<Self> {
        Some(match name.to_uppercase().as_str() {
            "NONE" | "UNCOMPRESSED" => Self::None,
            "GZIP" => Self::Gzip,
            "SNAPPY" => Self::Snappy,
            "ZSTD" => Self::Zstd(level.unwrap_or(3)),
            "LZ4" => Self::Lz4,
            "DEFLATE" => Self::Deflate,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Gzip => "GZIP",
            Self::Snappy => "SNAPPY",
            Self::Zstd(_) => "ZSTD",
            Self::Lz4 => "LZ4",
            Self::Deflate => "DEFLATE",
        }
    }

    /// The ending of compressed text.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd(_) => ".zst",
            _ => "",
        }
    }
}

impl Layout {
    /// As `WITH` says it.
    pub fn of_options(options: &Options) -> Result<Self, QueryFailure> {
        let name = options.format.as_deref().unwrap_or("PARQUET");
        let format = Format::parse(name)
            .ok_or_else(|| unsupported(format!("writes no files of the format {name}")))?;
        let compression = codec(format, options.compression.as_deref(), options.level)?;
        if options.delimiter.is_some() && format != Format::Text {
            return Err(invalid(format!("Cannot specify field_delimiter for {}", format.name())));
        }
        let delimiter = options.delimiter.unwrap_or(FIELD);
        let null = "\\N".to_owned();
        Ok(Self { format, compression, delimiter, escape: None, quote: None, null })
    }

    /// As the catalogue describes a table that there is.
    pub fn of_table(table: &Value) -> Result<Self, QueryFailure> {
        let descriptor = &table["StorageDescriptor"];
        let serde = &descriptor["SerdeInfo"];
        let library = serde["SerializationLibrary"].as_str().unwrap_or_default();
        let library = library.rsplit('.').next().unwrap_or_default();
        let format = match library {
            "ParquetHiveSerDe" => Format::Parquet,
            "OrcSerde" => Format::Orc,
            "AvroSerDe" => Format::Avro,
            "JsonSerDe" => Format::Json,
            "LazySimpleSerDe" | "OpenCSVSerde"
                if descriptor["InputFormat"] == "org.apache.hadoop.mapred.TextInputFormat" =>
            {
                Format::Text
            }
            other => return Err(unsupported(format!("does not write with the SerDe `{other}`"))),
        };
        let parameters = &table["Parameters"];
        let named = ["write.compression", "parquet.compression", "orc.compress"];
        let named = named.into_iter().find_map(|name| parameters[name].as_str());
        let compression = codec(format, named, None)?;
        let one = |name: &str, default: Option<char>| match serde["Parameters"][name].as_str() {
            None => Ok(default),
            Some(text) => one_character(name, text).map(Some),
        };
        let null = serde["Parameters"]["serialization.null.format"].as_str();
        let mut layout = Self {
            format,
            compression,
            delimiter: FIELD,
            escape: None,
            quote: None,
            null: null.unwrap_or("\\N").to_owned(),
        };
        if library == "LazySimpleSerDe" {
            let named = ["field.delim", "serialization.format"];
            let given = named.into_iter().find_map(|name| serde["Parameters"][name].as_str());
            layout.delimiter = delimiter(given.unwrap_or("1"))?;
            layout.escape = one("escape.delim", None)?;
        } else if library == "OpenCSVSerde" {
            layout.delimiter = one("separatorChar", Some(','))?.unwrap_or(',');
            layout.quote = one("quoteChar", Some('"'))?;
            layout.escape = one("escapeChar", Some('\\'))?;
            layout.null = String::new();
        }
        Ok(layout)
    }

    /// How Hive reads what is written.
    pub fn storage(&self, columns: &[NewColumn]) -> Storage {
        let named = Storage::named(self.format.name());
        let mut storage = named.unwrap_or_else(|| Storage {
            formats: [String::new(), String::new()],
            serde: String::new(),
            parameters: vec![],
        });
        match self.format {
            Format::Text => {
                let delimiter = self.delimiter.to_string();
                storage.parameters = vec![
                    ("serialization.format".to_owned(), delimiter.clone()),
                    ("field.delim".to_owned(), delimiter),
                ];
            }
            Format::Avro => {
                let literal = super::types::avro_schema(columns);
                storage.parameters.push(("avro.schema.literal".to_owned(), literal));
            }
            _ => {}
        }
        storage
    }

    /// What a table says of it.
    pub fn table_parameters(&self) -> Vec<(String, String)> {
        let codec = self.compression.name().to_owned();
        let own = match self.format {
            Format::Parquet => Some("parquet.compression"),
            Format::Orc => Some("orc.compress"),
            _ => None,
        };
        let own = own.map(|name| (name.to_owned(), codec.clone()));
        [("write.compression".to_owned(), codec.clone())].into_iter().chain(own).collect()
    }
}

fn codec(
    format: Format,
    name: Option<&str>,
    level: Option<i32>,
) -> Result<Compression, QueryFailure> {
    let Some(name) = name else { return Ok(format.default_compression()) };
    let known = Compression::parse(name, level).filter(|codec| format.takes(*codec));
    known.ok_or_else(|| unsupported(format!("writes no {} with {name}", format.name())))
}
