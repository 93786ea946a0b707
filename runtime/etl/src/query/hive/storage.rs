//! Formats of tables as the catalogue describes them: classes of Hive that read and write files.
//!
//! <https://docs.aws.amazon.com/athena/latest/ug/supported-serdes.html>

use serde_json::{Map, Value, json};
use steppe_wire::query::QueryFailure;

use super::statement::{NewColumn, NewTable, RowFormat, Stored};
use crate::query::failure::failed;

const TEXT: [&str; 2] = [
    "org.apache.hadoop.mapred.TextInputFormat",
    "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
];
const SEQUENCE: [&str; 2] = [
    "org.apache.hadoop.mapred.SequenceFileInputFormat",
    "org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat",
];
const PARQUET: [&str; 2] = [
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
];
const ORC: [&str; 2] = [
    "org.apache.hadoop.hive.ql.io.orc.OrcInputFormat",
    "org.apache.hadoop.hive.ql.io.orc.OrcOutputFormat",
];
const AVRO: [&str; 2] = [
    "org.apache.hadoop.hive.ql.io.avro.AvroContainerInputFormat",
    "org.apache.hadoop.hive.ql.io.avro.AvroContainerOutputFormat",
];
const LAZY: &str = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe";

/// How a table is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// What reads and what writes files.
    pub formats: [String; 2],
    /// What reads and writes rows.
    pub serde: String,
    /// Its parameters.
    pub parameters: Vec<(String, String)>,
}

/// A format by its name: classes of files, and of rows.
fn named(name: &str) -> Option<([&'static str; 2], &'static str)> {
    Some(match name.to_uppercase().as_str() {
        "TEXTFILE" => (TEXT, LAZY),
        "SEQUENCEFILE" => (SEQUENCE, LAZY),
        "PARQUET" => (PARQUET, "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"),
        "ORC" => (ORC, "org.apache.hadoop.hive.ql.io.orc.OrcSerde"),
        "AVRO" => (AVRO, "org.apache.hadoop.hive.serde2.avro.AvroSerDe"),
        "JSON" | "JSONFILE" => (TEXT, "org.apache.hive.hcatalog.data.JsonSerDe"),
        _ => return None,
    })
}

impl Storage {
    /// A format by its name: `PARQUET`.
    pub fn named(name: &str) -> Option<Self> {
        let (formats, serde) = named(name)?;
        Some(Self {
            formats: formats.map(str::to_owned),
            serde: serde.to_owned(),
            parameters: vec![("serialization.format".to_owned(), "1".to_owned())],
        })
    }

    /// As `CREATE TABLE` says it.
    pub fn of(table: &NewTable) -> Result<Self, QueryFailure> {
        let default = "TEXTFILE".to_owned();
        let mut storage = match table.stored.as_ref().unwrap_or(&Stored::As(default)) {
            Stored::As(name) => Self::named(name).ok_or_else(|| {
                failed(format!(
                    "FAILED: SemanticException Unrecognized file format in STORED AS clause: \
                     '{name}'"
                ))
            })?,
            Stored::Formats(input, output) => Self {
                formats: [input.clone(), output.clone()],
                serde: LAZY.to_owned(),
                parameters: vec![("serialization.format".to_owned(), "1".to_owned())],
            },
        };
        match &table.row_format {
            Some(RowFormat::Serde(library, parameters)) => {
                storage.serde.clone_from(library);
                storage.set(parameters);
            }
            Some(RowFormat::Delimited(parameters)) => storage.set(parameters),
            None => {}
        }
        Ok(storage)
    }

    fn set(&mut self, parameters: &[(String, String)]) {
        for (name, value) in parameters {
            self.parameters.retain(|(known, _)| known != name);
            self.parameters.push((name.clone(), value.clone()));
        }
    }

    /// The descriptor of a table with these columns at a place.
    pub fn descriptor(&self, columns: &[NewColumn], location: &str) -> Value {
        json!({
            "Columns": columns.iter().map(described).collect::<Vec<_>>(), "Location": location,
            "InputFormat": self.formats[0], "OutputFormat": self.formats[1], "Compressed": false,
            "NumberOfBuckets": -1, "BucketColumns": [], "SortColumns": [],
            "SerdeInfo": {
                "SerializationLibrary": self.serde, "Parameters": object(&self.parameters),
            },
            "Parameters": {}, "StoredAsSubDirectories": false,
        })
    }
}

/// A column as Glue has it.
pub fn described(column: &NewColumn) -> Value {
    let mut described = json!({ "Name": column.name, "Type": column.kind });
    if let Some(comment) = &column.comment {
        described["Comment"] = comment.clone().into();
    }
    described
}

/// Properties as Glue has them.
pub fn object(properties: &[(String, String)]) -> Value {
    let pairs = properties.iter().map(|(name, value)| (name.clone(), value.clone().into()));
    Value::Object(pairs.collect::<Map<_, _>>())
}
