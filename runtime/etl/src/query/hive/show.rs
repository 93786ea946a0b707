//! `SHOW` and `DESCRIBE` of one table, partition or view, in the forms that Hive gives them.
//!
//! <https://github.com/aoyagikouhei/athena-local/blob/main/docs/dev/measurements/query-results.md>
//! has measured forms of lines and columns.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use steppe_wire::query::QueryFailure;

use super::apply::{no_table, refused, table_of};
use super::partitions::{self, Keys};
use super::statement::{Detail, Hive, Spec};
use super::words::TableName;
use crate::query::catalogue::{PARTITIONED, matcher, pad};
use crate::query::conversation::Conversation;
use crate::query::failure::failed;
use crate::query::lines::{Lines, text_column};

type Done = Result<Lines, QueryFailure>;

/// Answers a statement that only shows.
pub async fn show(talk: &mut Conversation, statement: Hive) -> Done {
    match statement {
        Hive::ShowPartitions { table, spec } => show_partitions(talk, &table, &spec).await,
        Hive::ShowProperties { table, name } => {
            let described = table_of(talk, &table).await?;
            Ok(properties(&described, &table, name.as_deref()))
        }
        Hive::ShowCreateTable(name) => {
            let table = table_of(talk, &name).await?;
            if table["TableType"] == "VIRTUAL_VIEW" {
                let what = "FAILED: SemanticException: SHOW CREATE TABLE is not supported on views";
                return Err(failed(what));
            }
            let rows = create_table(&name, &table);
            Ok(Lines::of(&["createtab_stmt"], rows))
        }
        Hive::ShowCreateView(name) => {
            let table = table_of(talk, &name).await?;
            let sql = view_sql(&table).ok_or_else(|| no_table(&name))?;
            let text = format!("CREATE VIEW \"{}\".\"{}\" AS \n{sql}", name.database, name.name);
            let rows = text.lines().map(str::to_owned).collect();
            Ok(Lines { columns: vec![text_column("create view", "varchar")], rows })
        }
        Hive::ShowViews { database, pattern } => {
            let input = json!({ "DatabaseName": database });
            let tables = talk.all("GetTables", input, "TableList").await?;
            let tables = tables.map_err(|error| refused(&error))?;
            let matches = matcher(pattern.as_deref())?;
            let views = tables.iter().filter(|table| table["TableType"] == "VIRTUAL_VIEW");
            let names = views.filter_map(|view| view["Name"].as_str()).filter(|n| matches(n));
            let rows = names.map(str::to_owned).collect();
            Ok(Lines { columns: vec![text_column("views", "varchar")], rows })
        }
        Hive::Describe { table, detail, column, partition } => {
            describe(talk, &table, detail, column.as_deref(), partition).await
        }
        other => Err(failed(format!("GENERIC_INTERNAL_ERROR: {other:?} shows nothing"))),
    }
}

/// The statement of a view in Presto's form.
pub fn view_sql(table: &Value) -> Option<String> {
    if table["TableType"] != "VIRTUAL_VIEW" {
        return None;
    }
    let text = table["ViewOriginalText"].as_str()?.trim();
    let inside = text.strip_prefix("/* Presto View: ")?.strip_suffix("*/")?.trim();
    let document: Value = serde_json::from_slice(&STANDARD.decode(inside).ok()?).ok()?;
    document["originalSql"].as_str().map(str::to_owned)
}

async fn show_partitions(talk: &mut Conversation, name: &TableName, spec: &Spec) -> Done {
    let table = table_of(talk, name).await?;
    let keys = Keys::of(name, &table);
    if keys.names.is_empty() {
        return Err(failed(format!(
            "FAILED: Execution Error, return code 1 from \
             org.apache.hadoop.hive.ql.exec.DDLTask. Table {} is not a partitioned table",
            name.name
        )));
    }
    keys.check(spec)?;
    let all = partitions::all(talk, &keys).await?;
    let all = all.iter().map(partitions::values);
    let wanted = all.filter(|values| partitions::is_of(&keys, values, spec));
    let rows = wanted.map(|values| keys.folder(&values)).collect();
    Ok(Lines::of(&["partition"], rows))
}

fn parameters(table: &Value) -> Vec<(String, String)> {
    let all = table["Parameters"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    all.map(|(name, value)| (name.clone(), text(value))).collect()
}

fn properties(table: &Value, name: &TableName, wanted: Option<&str>) -> Lines {
    let all = parameters(table);
    let rows = match wanted {
        None => all.iter().map(|(name, value)| format!("{name}\t{value}")).collect(),
        Some(wanted) => {
            let found = all.iter().find(|(name, _)| name == wanted);
            let missing = || format!("Table {name} does not have property: {wanted}");
            vec![found.map_or_else(missing, |(_, value)| value.clone())]
        }
    };
    // Values may have lines of their own.
    let rows: Vec<String> = rows;
    let rows = rows.iter().flat_map(|row| row.split('\n')).map(str::to_owned).collect();
    Lines::of(&["prpt_name", "prpt_value"], rows)
}

/// A text as Hive quotes it.
fn quoted(text: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        match character {
            '\'' => plain.push_str("\\'"),
            '\\' => plain.push_str("\\\\"),
            '\t' => plain.push_str("\\t"),
            '\n' => plain.push_str("\\n"),
            '\r' => plain.push_str("\\r"),
            other if other.is_ascii_control() => {
                plain.push_str(&format!("\\u{:04X}", other as u32));
            }
            other => plain.push(other),
        }
    }
    format!("'{plain}'")
}

/// The statement that makes a table, in lines.
fn create_table(name: &TableName, table: &Value) -> Vec<String> {
    let descriptor = &table["StorageDescriptor"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("CREATE EXTERNAL TABLE `{name}`(")];
    lines.extend(columns(&descriptor["Columns"]));
    if let Some(comment) = parameters(table).iter().find(|(name, _)| name == "comment") {
        lines.push(format!("COMMENT {}", quoted(&comment.1)));
    }
    let keys = columns(&table["PartitionKeys"]);
    if !keys.is_empty() {
        lines.push("PARTITIONED BY ( ".to_owned());
        lines.extend(keys);
    }
    let serde = &descriptor["SerdeInfo"];
    lines.push("ROW FORMAT SERDE ".to_owned());
    lines.push(format!("  {} ", quoted(&text(&serde["SerializationLibrary"]))));
    let serde_parameters = parameters(serde);
    let told: Vec<_> = serde_parameters
        .iter()
        .filter(|(name, value)| name != "serialization.format" || value != "1")
        .cloned()
        .collect();
    if !told.is_empty() {
        lines.push("WITH SERDEPROPERTIES ( ".to_owned());
        lines.extend(pairs(&told, ") "));
    }
    lines.push("STORED AS INPUTFORMAT ".to_owned());
    lines.push(format!("  {} ", quoted(&text(&descriptor["InputFormat"]))));
    lines.push("OUTPUTFORMAT ".to_owned());
    lines.push(format!("  {}", quoted(&text(&descriptor["OutputFormat"]))));
    lines.push("LOCATION".to_owned());
    lines.push(format!("  {}", quoted(&text(&descriptor["Location"]))));
    let own: Vec<_> = parameters(table)
        .into_iter()
        .filter(|(name, _)| name != "EXTERNAL" && name != "comment")
        .collect();
    lines.push("TBLPROPERTIES (".to_owned());
    lines.extend(pairs(&own, ")"));
    lines
}

fn columns(columns: &Value) -> Vec<String> {
    let all = columns.as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |(at, column): (usize, &Value)| {
        let comment = column["Comment"].as_str().filter(|text| !text.is_empty());
        let comment = comment.map_or_else(String::new, |text| format!(" COMMENT {}", quoted(text)));
        let end = if at + 1 == all.len() { ")" } else { ", " };
        format!("  `{}` {}{comment}{end}", text(&column["Name"]), text(&column["Type"]))
    };
    all.iter().enumerate().map(line).collect()
}

fn pairs(all: &[(String, String)], end: &str) -> Vec<String> {
    if all.is_empty() {
        return vec![end.to_owned()];
    }
    let line = |(at, (name, value)): (usize, &(String, String))| {
        let end = if at + 1 == all.len() { end } else { ", " };
        format!("  {}={}{end}", quoted(name), quoted(value))
    };
    all.iter().enumerate().map(line).collect()
}

async fn describe(
    talk: &mut Conversation,
    name: &TableName,
    detail: Detail,
    column: Option<&str>,
    partition: Option<Spec>,
) -> Done {
    let table = table_of(talk, name).await?;
    let keys = Keys::of(name, &table);
    let names = ["col_name", "data_type", "comment"];
    let own = described_columns(&table["StorageDescriptor"]["Columns"]);
    let key_lines = described_columns(&table["PartitionKeys"]);
    if let Some(column) = column {
        let all = own.iter().chain(&key_lines);
        let line = all.into_iter().find(|line| line.starts_with(&pad(column)));
        let line = line.ok_or_else(|| {
            failed(format!(
                "FAILED: SemanticException [Error 10002]: Invalid column reference {column}"
            ))
        })?;
        return Ok(Lines::of(&names, vec![line.clone()]));
    }
    let of_partition = match &partition {
        None => None,
        Some(spec) => {
            let all = partitions::all(talk, &keys).await?;
            let mut all = all.into_iter();
            let found = all.find(|p| partitions::is_of(&keys, &partitions::values(p), spec));
            Some(found.ok_or_else(|| {
                failed("FAILED: SemanticException [Error 10006]: Partition not found")
            })?)
        }
    };
    let shown = of_partition.as_ref().unwrap_or(&table);
    let mut rows: Vec<String> = own.iter().chain(&key_lines).cloned().collect();
    if !key_lines.is_empty() {
        rows.extend(PARTITIONED.map(str::to_owned));
        rows.extend(key_lines);
    }
    match detail {
        Detail::Columns => {}
        Detail::Extended => {
            rows.push("\t \t ".to_owned());
            rows.push(format!("Detailed Table Information\t{shown}\t"));
        }
        Detail::Formatted => rows.extend(formatted(name, shown)),
    }
    Ok(Lines::of(&names, rows))
}

fn described_columns(columns: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |column: &Value| {
        [pad(&text(&column["Name"])), pad(&text(&column["Type"])), pad(&text(&column["Comment"]))]
            .join("\t")
    };
    columns.as_array().into_iter().flatten().map(line).collect()
}

fn formatted(name: &TableName, table: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pair = |label: &str, value: String| [pad(label), pad(&value), String::new()].join("\t");
    let descriptor = &table["StorageDescriptor"];
    let mut rows = vec![
        "\t \t ".to_owned(),
        "# Detailed Table Information\t \t ".to_owned(),
        pair("Database:", name.database.clone()),
        pair("Owner:", text(&table["Owner"])),
        pair("Location:", text(&descriptor["Location"])),
        pair("Table Type:", text(&table["TableType"])),
        "Table Parameters:\t \t ".to_owned(),
    ];
    let parameter =
        |(name, value): (String, String)| ["".to_owned(), pad(&name), pad(&value)].join("\t");
    rows.extend(parameters(table).into_iter().map(parameter));
    let serde = &descriptor["SerdeInfo"];
    rows.extend([
        "\t \t ".to_owned(),
        "# Storage Information\t \t ".to_owned(),
        pair("SerDe Library:", text(&serde["SerializationLibrary"])),
        pair("InputFormat:", text(&descriptor["InputFormat"])),
        pair("OutputFormat:", text(&descriptor["OutputFormat"])),
        pair("Compressed:", "No".to_owned()),
        pair("Num Buckets:", descriptor["NumberOfBuckets"].as_i64().unwrap_or(-1).to_string()),
        "Storage Desc Params:\t \t ".to_owned(),
    ]);
    rows.extend(parameters(serde).into_iter().map(parameter));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_told_as_the_statement_that_makes_it() {
        let table = json!({
            "StorageDescriptor": {
                "Columns": [
                    { "Name": "a", "Type": "int", "Comment": "it's" },
                    { "Name": "b", "Type": "array<string>" },
                ],
                "Location": "s3://b/t/", "InputFormat": "In", "OutputFormat": "Out",
                "SerdeInfo": {
                    "SerializationLibrary": "Serde",
                    "Parameters": { "serialization.format": "1", "field.delim": "\t" },
                },
            },
            "PartitionKeys": [{ "Name": "p", "Type": "string" }],
            "Parameters": { "EXTERNAL": "TRUE", "k": "v" },
        });
        let name = TableName { database: "db".to_owned(), name: "t".to_owned() };
        let expected = [
            "CREATE EXTERNAL TABLE `db.t`(",
            "  `a` int COMMENT 'it\\'s', ",
            "  `b` array<string>)",
            "PARTITIONED BY ( ",
            "  `p` string)",
            "ROW FORMAT SERDE ",
            "  'Serde' ",
            "WITH SERDEPROPERTIES ( ",
            "  'field.delim'='\\t') ",
            "STORED AS INPUTFORMAT ",
            "  'In' ",
            "OUTPUTFORMAT ",
            "  'Out'",
            "LOCATION",
            "  's3://b/t/'",
            "TBLPROPERTIES (",
            "  'k'='v')",
        ];
        assert_eq!(create_table(&name, &table), expected);
    }
}
