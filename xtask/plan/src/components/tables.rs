//! Tables of the catalogue on files of any format.

use serde_json::{Map, Value, json};
use steppe_spec::{Column, Container, Format, Input, Source};
use steppe_wire::keys;

use super::{Stack, Table, TableColumn};
use crate::catalogue::{RawColumn, RawHeader};

/// How Hive reads and writes text.
pub(super) const TEXT_FORMATS: [&str; 2] = [
    "org.apache.hadoop.mapred.TextInputFormat",
    "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
];

/// How the catalogue's readers read and write a format.
pub(super) struct Reading {
    classification: &'static str,
    pub(super) formats: [&'static str; 2],
    pub(super) library: &'static str,
}

/// How Parquet is read.
pub(super) fn parquet() -> Reading {
    reading(Format::Parquet)
}

/// Fields in sequence files. Of all SerDes, Athena's reader of these knows this one.
const SEQUENCE: Reading = Reading {
    classification: "sequencefile",
    formats: [
        "org.apache.hadoop.mapred.SequenceFileInputFormat",
        "org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat",
    ],
    library: "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
};

fn reading(format: Format) -> Reading {
    match format {
        Format::Csv => Reading {
            classification: "csv",
            formats: TEXT_FORMATS,
            library: "org.apache.hadoop.hive.serde2.OpenCSVSerde",
        },
        Format::Json => Reading {
            classification: "json",
            formats: TEXT_FORMATS,
            library: "org.openx.data.jsonserde.JsonSerDe",
        },
        Format::Parquet => Reading {
            classification: "parquet",
            formats: [
                "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            ],
            library: "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
        },
        Format::Avro => Reading {
            classification: "avro",
            formats: [
                "org.apache.hadoop.hive.ql.io.avro.AvroContainerInputFormat",
                "org.apache.hadoop.hive.ql.io.avro.AvroContainerOutputFormat",
            ],
            library: "org.apache.hadoop.hive.serde2.avro.AvroSerDe",
        },
        Format::Orc => Reading {
            classification: "orc",
            formats: [
                "org.apache.hadoop.hive.ql.io.orc.OrcInputFormat",
                "org.apache.hadoop.hive.ql.io.orc.OrcOutputFormat",
            ],
            library: "org.apache.hadoop.hive.ql.io.orc.OrcSerde",
        },
    }
}

/// The tables of all inputs as they came, and of everything that is made of them.
pub(super) fn tables(stack: &Stack<'_>) -> Vec<Table> {
    let manifest = stack.spec.manifest;
    let raw = manifest.inputs.iter().zip(&stack.spec.raw_headers);
    let raw = raw.filter_map(|(input, header)| raw_table(stack, input, header));
    raw.chain(manifest.stored().map(|source| stored_table(stack, source))).collect()
}

/// An input as it came, for looking. Avro's reader needs the whole schema of its files, which the
/// manifest does not know; for JSON in sequence files Athena has no reader.
fn raw_table(stack: &Stack<'_>, input: &Input, header: &RawHeader) -> Option<Table> {
    let reading = match (input.container, input.format) {
        (Container::Lines, Format::Avro) | (Container::Sequence, Format::Json) => return None,
        (Container::Sequence, _) => SEQUENCE,
        (Container::Lines, format) => reading(format),
    };
    let column = |raw: &RawColumn| TableColumn {
        comment: raw.comment.clone(),
        ..TableColumn::new(&raw.name, &raw.kind)
    };
    let mut table = Table {
        description: format!("The input {} as it came", input.name),
        prefix: keys::raw_prefix(&stack.spec.names.pipeline, &input.name),
        columns: header.columns.iter().map(column).collect(),
        ..table("Raw", &format!("raw_{}", input.name), reading)
    };
    if header.lines > 0 {
        let lines = json!(header.lines.to_string());
        table.parameters.insert("skip.header.line.count".to_owned(), lines);
    }
    match input.format {
        Format::Csv if input.container == Container::Sequence => {
            table.serde["Parameters"] = json!({ "field.delim": input.delimiter.to_string() });
        }
        Format::Csv => table.serde["Parameters"] = csv_parameters(input.delimiter),
        // By their places, which is Athena's default, the pipeline's columns would be others.
        Format::Orc => table.serde["Parameters"] = json!({ "orc.column.index.access": "false" }),
        Format::Json | Format::Parquet | Format::Avro => {}
    }
    Some(table)
}

/// How a line is split; the reader's defaults are a comma, `"` and a backslash.
fn csv_parameters(delimiter: char) -> Value {
    json!({ "separatorChar": delimiter.to_string(), "quoteChar": "\"", "escapeChar": "\\" })
}

/// A table that a run makes.
fn stored_table(stack: &Stack<'_>, source: Source<'_>) -> Table {
    // The reader of CSV knows text only.
    let kind = |c: &Column| match source.format {
        Format::Csv => "string".into(),
        _ => c.kind.hive(),
    };
    let sensitive = source.input.map(|input| &*input.sensitive).unwrap_or_default();
    let column = |c: &Column| {
        let comment = sensitive.contains(&c.name).then(|| "sensitive".to_owned());
        TableColumn { comment, ..TableColumn::new(&c.name, &kind(c)) }
    };
    let described = source.description;
    let mut table = Table {
        description: match source.input {
            Some(input) => format!("The clean table of the input {}", input.name),
            None if described.is_empty() => format!("The table {}", source.name),
            None => described.to_owned(),
        },
        prefix: keys::table_prefix(&stack.spec.names.pipeline, source.name),
        columns: source.columns.iter().map(column).collect(),
        ..table("Table", source.name, reading(source.format))
    };
    match source.format {
        Format::Csv => {
            table.parameters.insert("skip.header.line.count".to_owned(), json!("1"));
            table.serde["Parameters"] = csv_parameters(',');
        }
        Format::Avro => {
            let schema = json!({ "avro.schema.literal": avro_schema(source) });
            table.serde["Parameters"] = schema;
        }
        Format::Json | Format::Parquet | Format::Orc => {}
    }
    table
}

/// What Avro's reader needs to know: the schema with which the files are written, as a text.
fn avro_schema(source: Source<'_>) -> String {
    use steppe_spec::ColumnType::{
        Bigint, Boolean, Date, Decimal, Double, Int, String as Text, Timestamp,
    };
    let field = |column: &Column| {
        let kind = match column.kind {
            Text => json!("string"),
            Int => json!("int"),
            Bigint => json!("long"),
            Double => json!("double"),
            Boolean => json!("boolean"),
            Date => json!({ "type": "int", "logicalType": "date" }),
            Timestamp => json!({ "type": "long", "logicalType": "timestamp-millis" }),
            Decimal(precision, scale) => json!({
                "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale,
            }),
        };
        json!({ "name": column.name, "type": ["null", kind], "default": null })
    };
    let fields: Vec<Value> = source.columns.iter().map(field).collect();
    json!({ "type": "record", "name": source.name, "fields": fields }).to_string()
}

/// A table that is read so, without columns.
fn table(kind: &str, name: &str, reading: Reading) -> Table {
    let Reading { classification, formats: [input_format, output_format], library } = reading;
    Table {
        logical_id: format!("{kind}{}", logical(name.strip_prefix("raw_").unwrap_or(name))),
        name: name.to_owned(),
        description: String::new(),
        prefix: String::new(),
        partitions: Map::new(),
        parameters: Map::from_iter([("classification".to_owned(), json!(classification))]),
        input_format,
        output_format,
        serde: json!({ "SerializationLibrary": library }),
        columns: vec![],
    }
}

/// A name as logical IDs have it, letters and digits, so that no two become one: `meter_a` and
/// `metera` are `MeterUA` and `Metera`.
fn logical(name: &str) -> String {
    let mut id = String::new();
    for (at, part) in name.split('_').enumerate() {
        let mut letters = part.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        id.extend(((at > 0).then_some('U')).into_iter().chain(first).chain(letters));
    }
    id
}
