//! The tables of the catalogue: what the pipeline reads, cleans and stores.

use serde::Serialize;
use steppe_wire::keys;

use super::StackSpec;
use crate::catalogue::RawColumn;
use crate::yaml;

#[derive(Serialize)]
pub(super) struct Table {
    logical_id: &'static str,
    name: &'static str,
    description: String,
    prefix: String,
    classification: &'static str,
    header_lines: u64,
    input_format: &'static str,
    output_format: &'static str,
    serde: &'static str,
    serde_parameters: Vec<Parameter>,
    columns: Vec<TableColumn>,
}

#[derive(Serialize)]
struct TableColumn {
    name: String,
    hive_type: String,
    comment: Option<String>,
}

/// A parameter of a table's reader.
#[derive(Serialize)]
struct Parameter {
    name: &'static str,
    value: String,
}

impl StackSpec<'_> {
    pub(super) fn tables(&self) -> Vec<Table> {
        const TEXT_INPUT: &str = "org.apache.hadoop.mapred.TextInputFormat";
        const TEXT_OUTPUT: &str = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat";
        // Names are quoted: a column may be called `null` or `2020`.
        let column = |name: &str, hive: &str| TableColumn {
            name: yaml::quoted(name),
            hive_type: hive.to_owned(),
            comment: None,
        };
        let raw_column = |raw: &RawColumn| TableColumn {
            comment: raw.comment.as_deref().map(yaml::quoted),
            ..column(&raw.name, "string")
        };
        let pipeline = &self.names.pipeline;
        let raw = Table {
            logical_id: "RawTable",
            name: "raw",
            description: "The input as it came; every column is text".to_owned(),
            prefix: format!("raw/{pipeline}/"),
            classification: "csv",
            header_lines: self.raw_header.lines,
            input_format: TEXT_INPUT,
            output_format: TEXT_OUTPUT,
            serde: "org.apache.hadoop.hive.serde2.OpenCSVSerde",
            serde_parameters: self.csv_parameters(),
            columns: self.raw_header.columns.iter().map(raw_column).collect(),
        };
        let processed = Table {
            logical_id: "ProcessedTable",
            name: "processed",
            description: "The clean table".to_owned(),
            prefix: keys::processed_prefix(pipeline),
            classification: "parquet",
            header_lines: 0,
            input_format: "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
            output_format: "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            serde: "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
            serde_parameters: vec![],
            columns: self
                .manifest
                .data
                .columns
                .iter()
                .map(|c| column(&c.name, c.kind.hive()))
                .collect(),
        };
        let predictions = [
            ("schema_version", "int"),
            ("execution", "string"),
            ("series", "string"),
            ("observed_until", "string"),
            ("step", "int"),
            ("period", "string"),
            ("value", "double"),
            ("lower", "double"),
            ("upper", "double"),
            ("level", "double"),
            ("note", "string"),
            ("decimals", "int"),
            ("model_id", "string"),
            ("model_version", "string"),
            ("backtest_mae", "double"),
            ("backtest_rmse", "double"),
            ("backtest_mape", "double"),
            ("backtest_mase", "double"),
            (
                "steps",
                "array<struct<step:int,period:string,value:double,lower:double,upper:double,level:double>>",
            ),
        ];
        let predictions = Table {
            logical_id: "PredictionsTable",
            name: "predictions",
            description: "Stored forecasts, one JSON object per line".to_owned(),
            prefix: keys::PREDICTIONS_PREFIX.to_owned(),
            classification: "json",
            header_lines: 0,
            input_format: TEXT_INPUT,
            output_format: TEXT_OUTPUT,
            serde: "org.openx.data.jsonserde.JsonSerDe",
            serde_parameters: vec![],
            columns: predictions.iter().map(|(name, hive)| column(name, hive)).collect(),
        };
        vec![raw, processed, predictions]
    }

    /// How the reader of the raw file splits a line; its defaults are a comma, `"` and a backslash.
    fn csv_parameters(&self) -> Vec<Parameter> {
        let parameter = |name, value: &str| Parameter { name, value: yaml::quoted(value) };
        vec![
            parameter("separatorChar", &self.manifest.data.delimiter.to_string()),
            parameter("quoteChar", "\""),
            parameter("escapeChar", "\\"),
        ]
    }
}
