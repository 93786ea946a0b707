//! What the catalogue has: `SHOW`, `DESCRIBE` and `information_schema`.
//!
//! Forms were measured on Athena (engine version 3) by others: names of `SHOW TABLES` and
//! `SHOW DATABASES` as they are, columns padded to 20 characters, a line of `DESCRIBE` as one value
//! with tabs in it.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::catalog::{
    CatalogProvider, MemTable, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use regex::RegexBuilder;
use steppe_wire::query::{
    Catalogue, Listing, Needs, QueryFailure, Statement, Table, TableColumn, View,
};

use super::CATALOG;
use super::failure::{failed, malformed};
use super::hive::words::{TableName, Words};
use super::lines::{Lines, text_column};
use super::tables::arrow_type;

/// Characters that Hive pads to.
const WIDTH: usize = 20;
/// What Hive says between the columns of a table and its partition keys.
pub const PARTITIONED: [&str; 4] = [
    "\t \t ",
    "# Partition Information\t \t ",
    "# col_name            \tdata_type           \tcomment             ",
    "\t \t ",
];
/// Compiled size of a pattern of `SHOW TABLES`.
const PATTERN_BYTES_MAX: usize = 100_000;
const INFORMATION_SCHEMA: &str = "information_schema";

/// A statement that lists what the catalogue has.
#[derive(Debug, PartialEq, Eq)]
pub enum CatalogueListing {
    /// `SHOW DATABASES LIKE 'pattern'`.
    Databases(Option<String>),
    /// `SHOW TABLES IN database 'pattern'`.
    Tables {
        /// The database.
        database: String,
        /// Names that are wanted.
        pattern: Option<String>,
    },
    /// `SHOW COLUMNS IN table` or `DESCRIBE table`.
    Columns {
        /// The table.
        table: TableName,
        /// With types and comments.
        described: bool,
    },
}

impl CatalogueListing {
    /// Reads a statement in Hive's grammar.
    pub fn parse(
        statement: Statement,
        tokens: &[TokenWithSpan],
        database: String,
    ) -> Result<Self, QueryFailure> {
        let mut words = Words::new(tokens);
        let first = words.keyword(&["SHOW", "DESCRIBE", "DESC"]);
        debug_assert!(first, "the first word tells the statement");
        let parsed = match statement {
            Statement::ShowDatabases => {
                words.keyword(&["DATABASES", "SCHEMAS"]);
                words.keyword(&["LIKE"]);
                Self::Databases(words.text())
            }
            Statement::ShowTables => {
                words.keyword(&["TABLES"]);
                let named = words.keyword(&["IN", "FROM"]);
                let database = if named { words.name()? } else { database };
                words.keyword(&["LIKE"]);
                Self::Tables { database, pattern: words.text() }
            }
            Statement::ShowColumns => {
                words.keyword(&["COLUMNS"]);
                if !words.keyword(&["IN", "FROM"]) {
                    return Err(words.unexpected("'FROM', 'IN'"));
                }
                let mut table = words.table(&database)?;
                if words.keyword(&["IN", "FROM"]) {
                    table.database = words.name()?;
                }
                Self::Columns { table, described: false }
            }
            _ => Self::Columns { table: words.table(&database)?, described: true },
        };
        words.end()?;
        Ok(parsed)
    }

    /// What of the catalogue it reads.
    pub fn needs(&self) -> Needs {
        match self {
            Self::Databases(_) => Needs { tables: vec![], listing: Listing::Databases },
            Self::Tables { database, .. } => {
                Needs { tables: vec![], listing: Listing::Tables(database.clone()) }
            }
            Self::Columns { table, .. } => Needs {
                tables: vec![(table.database.clone(), table.name.clone())],
                listing: Listing::Nothing,
            },
        }
    }

    /// Its lines with their columns.
    pub fn answer(&self, catalogue: &Catalogue) -> Result<Lines, QueryFailure> {
        match self {
            Self::Databases(pattern) => {
                let matches = java_matcher(pattern.as_deref())?;
                let all = catalogue.databases.iter().filter(|name| matches(name)).cloned();
                Ok(Lines::of(&["database_name"], all.collect()))
            }
            Self::Tables { database, pattern } => {
                if !catalogue.databases.contains(database) {
                    return Err(failed(format!(
                        "FAILED: SemanticException [Error 10072]: Database does not exist: \
                         {database}"
                    )));
                }
                let matches = matcher(pattern.as_deref())?;
                let tables = catalogue.tables.iter().filter(|t| t.database == *database);
                let names = tables.map(|t| t.name.clone()).filter(|name| matches(name)).collect();
                Ok(Lines::of(&["tab_name"], names))
            }
            Self::Columns { table, described } => {
                let mut all = catalogue.tables.iter();
                let found = all.find(|t| t.database == table.database && t.name == table.name);
                let found = found.ok_or_else(|| malformed("Entity Not Found"))?;
                Ok(match (&found.view, described) {
                    (Some(_), _) => view_columns(found),
                    (None, true) => described_columns(found),
                    (None, false) => {
                        let names = found.all_columns().map(|column| pad(&column.name)).collect();
                        Lines::of(&["field"], names)
                    }
                })
            }
        }
    }
}

/// Columns of a table as Hive tells them.
fn described_columns(table: &Table) -> Lines {
    let line = |c: &TableColumn| {
        let comment = c.comment.as_deref().unwrap_or_default();
        [pad(&c.name), pad(&c.hive_type), pad(comment)].join("\t")
    };
    let mut lines: Vec<String> = table.all_columns().map(line).collect();
    if !table.keys.is_empty() {
        lines.extend(PARTITIONED.map(str::to_owned));
        lines.extend(table.keys.iter().map(line));
    }
    Lines::of(&["col_name", "data_type", "comment"], lines)
}

/// Columns of a view, in Trino's words.
fn view_columns(view: &Table) -> Lines {
    let line = |c: &TableColumn| format!("{}\t{}", c.name, trino_type(&c.hive_type));
    let columns = ["column", "type"].map(|name| text_column(name, "varchar"));
    Lines { columns: columns.to_vec(), rows: view.columns.iter().map(line).collect() }
}

/// A text as wide as Hive's columns.
pub fn pad(text: &str) -> String {
    format!("{text:<WIDTH$}")
}

/// `*` stands for anything, as in Hive; `.*` says the same as a regular expression.
pub fn matcher(pattern: Option<&str>) -> Result<impl Fn(&str) -> bool, QueryFailure> {
    let expression = match pattern {
        None => ".*".to_owned(),
        Some(pattern) if pattern.contains(".*") => pattern.to_owned(),
        Some(pattern) => pattern.replace('*', ".*"),
    };
    let compiled = RegexBuilder::new(&format!("^(?:{expression})$"))
        .case_insensitive(true)
        .size_limit(PATTERN_BYTES_MAX)
        .build();
    let compiled = compiled.map_err(|_| malformed(format!("`{expression}` is not a pattern")))?;
    Ok(move |name: &str| compiled.is_match(name))
}

/// `SHOW DATABASES` takes an expression of Java, and `*` for all.
fn java_matcher(pattern: Option<&str>) -> Result<impl Fn(&str) -> bool, QueryFailure> {
    let expression = pattern.filter(|pattern| *pattern != "*").unwrap_or(".*");
    let compiled = RegexBuilder::new(&format!("^(?:{expression})$"))
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|_| malformed(format!("`{expression}` is not a pattern")))?;
    Ok(move |name: &str| compiled.is_match(name))
}

/// `information_schema` over the part of the catalogue that the caller may see.
pub fn register_information_schema(
    databases: &MemoryCatalogProvider,
    catalogue: &Catalogue,
) -> Result<(), DataFusionError> {
    let own = [
        own_table("columns", &COLUMNS),
        own_table("schemata", &SCHEMATA),
        own_table("tables", &TABLES),
        own_table("views", &VIEWS),
    ];
    let all: Vec<&Table> = catalogue.tables.iter().chain(&own).collect();
    let schema = Arc::new(MemorySchemaProvider::new());
    let add = |name: &str, columns: &[&str], rows: Vec<Vec<Cell>>| {
        let batch = batch(columns, &rows)?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        schema.register_table(name.to_owned(), Arc::new(table)).map(|_| ())
    };
    let named = catalogue.databases.iter().map(String::as_str).chain([INFORMATION_SCHEMA]);
    add("schemata", &SCHEMATA, named.map(|n| vec![text(CATALOG), text(n)]).collect())?;
    let table_row = |t: &&Table| {
        let kind = if t.view.is_some() { "VIEW" } else { "BASE TABLE" };
        vec![text(CATALOG), text(&t.database), text(&t.name), text(kind)]
    };
    add("tables", &TABLES, all.iter().map(table_row).collect())?;
    add("columns", &COLUMNS, all.iter().flat_map(|t| column_rows(t)).collect())?;
    let views = catalogue.tables.iter().filter_map(|t| Some((t, t.view.as_ref()?)));
    let view_row = |(t, view): (&Table, &View)| {
        vec![text(CATALOG), text(&t.database), text(&t.name), text(&view.sql)]
    };
    add("views", &VIEWS, views.map(view_row).collect())?;
    databases.register_schema(INFORMATION_SCHEMA, schema)?;
    Ok(())
}

const SCHEMATA: [&str; 2] = ["catalog_name", "schema_name"];
const TABLES: [&str; 4] = ["table_catalog", "table_schema", "table_name", "table_type"];
const VIEWS: [&str; 4] = ["table_catalog", "table_schema", "table_name", "view_definition"];
const COLUMNS: [&str; 10] = [
    "table_catalog",
    "table_schema",
    "table_name",
    "column_name",
    "ordinal_position",
    "column_default",
    "is_nullable",
    "data_type",
    "comment",
    "extra_info",
];
const ORDINAL: &str = "ordinal_position";

enum Cell {
    Text(Option<String>),
    Number(i64),
}

fn text(value: &str) -> Cell {
    Cell::Text(Some(value.to_owned()))
}

fn own_table(name: &str, columns: &[&str]) -> Table {
    let column = |name: &&str| TableColumn {
        name: (*name).to_owned(),
        hive_type: if *name == ORDINAL { "bigint" } else { "string" }.to_owned(),
        comment: None,
    };
    Table {
        database: INFORMATION_SCHEMA.to_owned(),
        name: name.to_owned(),
        location: String::new(),
        format: Err("a table of information_schema has no files".to_owned()),
        columns: columns.iter().map(column).collect(),
        keys: vec![],
        partitions: vec![],
        parameters: Default::default(),
        view: None,
    }
}

fn column_rows(table: &Table) -> Vec<Vec<Cell>> {
    let row = |(index, column): (usize, &TableColumn)| {
        vec![
            text(CATALOG),
            text(&table.database),
            text(&table.name),
            text(&column.name),
            Cell::Number(index as i64 + 1),
            Cell::Text(None),
            text("YES"),
            text(&trino_type(&column.hive_type)),
            Cell::Text(column.comment.clone()),
            Cell::Text((index >= table.columns.len()).then(|| "partition key".to_owned())),
        ]
    };
    table.all_columns().enumerate().map(row).collect()
}

fn batch(columns: &[&str], rows: &[Vec<Cell>]) -> Result<RecordBatch, DataFusionError> {
    let array = |index: usize| -> ArrayRef {
        if columns[index] == ORDINAL {
            let numbers = rows.iter().map(|row| match &row[index] {
                Cell::Number(number) => Some(*number),
                Cell::Text(_) => None,
            });
            return Arc::new(numbers.collect::<Int64Array>());
        }
        let texts = rows.iter().map(|row| match &row[index] {
            Cell::Text(text) => text.clone(),
            Cell::Number(number) => Some(number.to_string()),
        });
        Arc::new(texts.collect::<StringArray>())
    };
    let arrays = columns.iter().enumerate().map(|(index, name)| (*name, array(index), true));
    Ok(RecordBatch::try_from_iter_with_nullable(arrays)?)
}

/// Hive's `array<struct<step:int>>` is Trino's `array(row(step integer))`.
pub fn trino_type(hive: &str) -> String {
    match arrow_type(hive) {
        Ok(_) => {}
        Err(_) => return hive.to_owned(),
    }
    let mut trino = String::new();
    let mut word = String::new();
    // After `struct<` and each comma in it stands a name, not a type.
    let mut open = Vec::new();
    let mut is_name = false;
    for c in hive.to_lowercase().chars().chain([' ']) {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        let written = if is_name { word.as_str() } else { trino_word(&word) };
        trino.push_str(written);
        match c {
            '<' => {
                open.push(word == "struct");
                is_name = word == "struct";
                trino.push('(');
            }
            '>' => {
                open.pop();
                trino.push(')');
            }
            ':' => {
                is_name = false;
                trino.push(' ');
            }
            ',' => {
                is_name = open.last().copied().unwrap_or(false);
                trino.push_str(if open.is_empty() { "," } else { ", " });
            }
            ' ' => {}
            other => trino.push(other),
        }
        word.clear();
    }
    trino
}

fn trino_word(hive: &str) -> &str {
    match hive {
        "string" => "varchar",
        "int" => "integer",
        "float" => "real",
        "binary" => "varbinary",
        "timestamp" => "timestamp(3)",
        "struct" => "row",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_in_trinos_words() {
        assert_eq!(
            trino_type("array<struct<step:int,map:map<string,float>>>"),
            "array(row(step integer, map map(varchar, real)))"
        );
        assert_eq!(trino_type("decimal(10,2)"), "decimal(10,2)");
        assert_eq!(trino_type("timestamp"), "timestamp(3)");
        assert_eq!(trino_type("int"), "integer");
    }

    #[test]
    fn patterns_match_whole_names() {
        let matches = |pattern: &str, name: &str| matcher(Some(pattern)).expect("a pattern")(name);
        assert!(matches("pro*", "processed") && matches("pro.*", "processed"));
        assert!(matches("raw|processed", "raw") && !matches("raw", "raw2"));
        assert!(matcher(Some("(")).is_err());
    }
}
