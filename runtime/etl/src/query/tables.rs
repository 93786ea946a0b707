//! Catalogued tables as the engine's: Hive's types, and files as Athena's readers read them.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::Column;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::functions::expr_fn::nullif;
use datafusion::logical_expr::{cast, lit};
use datafusion::prelude::{Expr, SessionContext};
use object_store::ObjectStore;
use object_store::path::Path;
use steppe_wire::query::{Catalogue, CsvLayout, Table, TableFormat};
use url::Url;

use super::csv_files::Split;
use super::described::{DescribedFiles, Layout};
use super::failure::Failed;
use super::files::Files;
use super::scanned::Scan;
use super::sequence_files::SequenceFields;
use super::statement::Select;
use crate::storage::Realm;

/// Types in types.
const NESTING_MAX: usize = 16;

/// Registers the tables that a statement names; one that the catalogue has not is an error.
pub fn register(
    context: &SessionContext,
    databases: &MemoryCatalogProvider,
    select: &Select,
    catalogue: &Catalogue,
    scan: &Scan,
) -> Result<(), Failed> {
    let named: BTreeSet<&str> = select
        .tables()
        .iter()
        .map(|(database, _)| database.as_str())
        .filter(|database| *database != "information_schema")
        .collect();
    for database in named {
        let schema = Arc::new(MemorySchemaProvider::new());
        for (_, name) in select.tables().iter().filter(|(d, _)| d == database) {
            let table = find(select, catalogue, database, name)?;
            let place = Realm::S3.prefix(&table.location).map_err(|e| {
                Failed::named("HIVE_INVALID_METADATA", format!("table {name}: {e}"))
            })?;
            let store = scan.over(place.store.clone());
            let url = place.url.as_str();
            let provider: Arc<dyn TableProvider> = match &table.format {
                Ok(TableFormat::Csv(layout)) => texts(context, table, place.path, store, layout)?,
                Ok(TableFormat::Orc(access)) => {
                    let layout = Layout::Orc(*access);
                    Arc::new(described(table, &place.url, place.path, store, layout)?)
                }
                Ok(TableFormat::Avro(schema)) => {
                    let layout = Layout::avro(schema.as_deref(), &table.columns);
                    let layout = layout.map_err(|what| unsupported(table, what))?;
                    Arc::new(described(table, &place.url, place.path, store, layout)?)
                }
                Ok(TableFormat::Sequence(delimiter)) => {
                    Arc::new(fields(table, &place.url, place.path, store, *delimiter)?)
                }
                Ok(TableFormat::Parquet) => {
                    context.register_object_store(&place.url, store);
                    Arc::new(listing(table, url, Arc::new(ParquetFormat::default()))?)
                }
                Ok(TableFormat::Json) => {
                    context.register_object_store(&place.url, store);
                    Arc::new(listing(table, url, Arc::new(JsonFormat::default()))?)
                }
                Err(what) => return Err(unsupported(table, what.clone())),
            };
            schema.register_table(name.clone(), provider).map_err(Failed::execution)?;
        }
        databases.register_schema(database, schema).map_err(Failed::execution)?;
    }
    Ok(())
}

/// Text files with the table's types; an empty field is an empty text, and no number.
fn texts(
    context: &SessionContext,
    table: &Table,
    folder: Path,
    store: Arc<dyn ObjectStore>,
    layout: &CsvLayout,
) -> Result<Arc<dyn TableProvider>, Failed> {
    let unsupported = |what: String| unsupported(table, what);
    let mut columns = Vec::new();
    for column in &table.columns {
        let kind = arrow_type(&column.hive_type).map_err(unsupported)?;
        // OpenCSVSerde counts days and milliseconds in these, which nothing here writes.
        if kind.is_temporal() || kind.is_nested() {
            let what = format!("the embedded cloud reads no {} from CSV", column.hive_type);
            return Err(unsupported(what));
        }
        let text = Expr::Column(Column::from_name(&column.name));
        columns.push(match kind {
            DataType::Utf8 => text,
            kind => cast(nullif(text, lit("")), kind).alias(&column.name),
        });
    }
    let names = table.columns.iter();
    let texts = names.map(|column| Field::new(&column.name, DataType::Utf8, true));
    let schema = Arc::new(Schema::new(texts.collect::<Vec<_>>()));
    let reader = Arc::new(Split::new(layout).map_err(unsupported)?);
    let files = Files { store, folder, schema: schema.clone(), reader };
    let view = StreamingTable::try_new(schema, vec![Arc::new(files)])
        .and_then(|files| context.read_table(Arc::new(files)))
        .and_then(|files| files.select(columns));
    Ok(view.map_err(Failed::execution)?.into_view())
}

/// Fields in sequence files, all of them texts.
fn fields(
    table: &Table,
    url: &Url,
    folder: Path,
    store: Arc<dyn ObjectStore>,
    delimiter: char,
) -> Result<StreamingTable, Failed> {
    let kinds = table.columns.iter().map(|column| arrow_type(&column.hive_type));
    let other = table.columns.iter().zip(kinds).find(|(_, kind)| *kind != Ok(DataType::Utf8));
    if let Some((column, _)) = other {
        let what = format!("the embedded cloud reads no {} from these", column.hive_type);
        return Err(unsupported(table, what));
    }
    let texts = table.columns.iter().map(|column| Field::new(&column.name, DataType::Utf8, true));
    let schema = Arc::new(Schema::new(texts.collect::<Vec<_>>()));
    let bucket = url.host_str().unwrap_or_default().to_owned();
    let reader =
        Arc::new(SequenceFields::new(bucket, delimiter).map_err(|w| unsupported(table, w))?);
    let files = Files { store, folder, schema: schema.clone(), reader };
    StreamingTable::try_new(schema, vec![Arc::new(files)]).map_err(Failed::execution)
}

/// Files that say which columns they have.
fn described(
    table: &Table,
    url: &Url,
    folder: Path,
    store: Arc<dyn ObjectStore>,
    layout: Layout,
) -> Result<DescribedFiles, Failed> {
    let mut fields = Vec::new();
    for column in &table.columns {
        let kind = arrow_type(&column.hive_type).map_err(|what| unsupported(table, what))?;
        if kind.is_nested() || kind == DataType::Binary {
            let what = format!("the embedded cloud reads no {} from these", column.hive_type);
            return Err(unsupported(table, what));
        }
        fields.push(Field::new(&column.name, kind, true));
    }
    let bucket = url.host_str().unwrap_or_default().to_owned();
    Ok(DescribedFiles { store, folder, bucket, schema: Arc::new(Schema::new(fields)), layout })
}

fn unsupported(table: &Table, what: String) -> Failed {
    let what = format!("table {}.{}: {what}", table.database, table.name);
    Failed::named("NOT_SUPPORTED", what)
}

fn find<'a>(
    select: &Select,
    catalogue: &'a Catalogue,
    database: &str,
    name: &str,
) -> Result<&'a Table, Failed> {
    if let Some(table) = catalogue.tables.iter().find(|t| t.database == database && t.name == name)
    {
        return Ok(table);
    }
    if !catalogue.databases.iter().any(|d| d == database) {
        let at = select.position_of(database);
        let what = format!("{at}: Schema '{database}' does not exist");
        return Err(Failed::named("SCHEMA_NOT_FOUND", what));
    }
    let at = select.position_of(name);
    let what = format!("{at}: Table '{}.{database}.{name}' does not exist", super::CATALOG);
    Err(Failed::named("TABLE_NOT_FOUND", what))
}

fn listing(
    table: &Table,
    location: &str,
    format: Arc<dyn FileFormat>,
) -> Result<ListingTable, Failed> {
    let unsupported = |what: String| unsupported(table, what);
    let mut fields = Vec::new();
    for column in &table.columns {
        let kind = arrow_type(&column.hive_type).map_err(unsupported)?;
        fields.push(Field::new(&column.name, kind, true));
    }
    let config = ListingTableUrl::parse(location).and_then(|url| {
        // Whatever their names, files below a location are the table's.
        let options = ListingOptions::new(format).with_file_extension("");
        let config = ListingTableConfig::new(url)
            .with_listing_options(options)
            .with_schema(Arc::new(Schema::new(fields)));
        ListingTable::try_new(config)
    });
    config.map_err(Failed::execution)
}

/// The engine's type of a Hive type: `array<struct<step:int,value:double>>`.
pub fn arrow_type(hive: &str) -> Result<DataType, String> {
    let mut text = hive;
    let kind = parse_type(&mut text, 0)?;
    if text.is_empty() { Ok(kind) } else { Err(format!("`{hive}` is not a type of Hive")) }
}

fn parse_type(text: &mut &str, depth: usize) -> Result<DataType, String> {
    if depth > NESTING_MAX {
        return Err("a type is nested too deeply".to_owned());
    }
    let name = word(text);
    Ok(match name.as_str() {
        "string" => DataType::Utf8,
        "varchar" | "char" => {
            arguments(text)?;
            DataType::Utf8
        }
        "boolean" => DataType::Boolean,
        "tinyint" => DataType::Int8,
        "smallint" => DataType::Int16,
        "int" | "integer" => DataType::Int32,
        "bigint" => DataType::Int64,
        "double" => DataType::Float64,
        "float" => DataType::Float32,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Millisecond, None),
        "binary" => DataType::Binary,
        "decimal" => match arguments(text)?.as_slice() {
            [] => DataType::Decimal128(10, 0),
            [precision] => DataType::Decimal128(*precision, 0),
            [precision, scale] if scale <= precision => {
                let scale = i8::try_from(*scale).map_err(|_| "a scale is too large".to_owned())?;
                DataType::Decimal128(*precision, scale)
            }
            _ => return Err("a decimal has two numbers, the larger one first".to_owned()),
        },
        "array" => {
            expect(text, '<')?;
            let item = parse_type(text, depth + 1)?;
            expect(text, '>')?;
            DataType::new_list(item, true)
        }
        "map" => {
            expect(text, '<')?;
            let key = Field::new("key", parse_type(text, depth + 1)?, false);
            expect(text, ',')?;
            let value = Field::new("value", parse_type(text, depth + 1)?, true);
            expect(text, '>')?;
            let entries = DataType::Struct(Fields::from(vec![key, value]));
            DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
        }
        "struct" => DataType::Struct(parse_fields(text, depth)?),
        other => {
            return Err(format!("the embedded cloud has no column type `{other}`"));
        }
    })
}

fn parse_fields(text: &mut &str, depth: usize) -> Result<Fields, String> {
    let mut fields = Vec::new();
    expect(text, '<')?;
    loop {
        let name = word(text);
        if name.is_empty() {
            return Err("a field of a struct has no name".to_owned());
        }
        expect(text, ':')?;
        fields.push(Field::new(name, parse_type(text, depth + 1)?, true));
        if expect(text, ',').is_err() {
            break;
        }
    }
    expect(text, '>')?;
    Ok(Fields::from(fields))
}

fn word(text: &mut &str) -> String {
    let rest = text.trim_start();
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *text = after.trim_start();
    word.to_lowercase()
}

fn expect(text: &mut &str, wanted: char) -> Result<(), String> {
    let rest = text.trim_start();
    let after = rest.strip_prefix(wanted);
    *text = after.ok_or_else(|| format!("`{wanted}` is missing before `{rest}`"))?.trim_start();
    Ok(())
}

/// `(10,2)`, or nothing.
fn arguments(text: &mut &str) -> Result<Vec<u8>, String> {
    if expect(text, '(').is_err() {
        return Ok(vec![]);
    }
    let (inside, after) = text.split_once(')').ok_or("`)` is missing")?;
    *text = after.trim_start();
    let number = |n: &str| match n.trim().parse::<u16>() {
        // Lengths of texts are not kept.
        Ok(n) => Ok(u8::try_from(n).unwrap_or(u8::MAX)),
        Err(_) => Err(format!("`{n}` is not a number")),
    };
    inside.split(',').map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hive_types_are_read() {
        let rows = arrow_type("array<struct<step:int,value:decimal(10, 2)>>").expect("a type");
        let DataType::List(item) = rows else { panic!("a list") };
        let DataType::Struct(fields) = item.data_type() else { panic!("a struct") };
        assert_eq!(fields[1].data_type(), &DataType::Decimal128(10, 2));
        assert_eq!(arrow_type("VARCHAR(300)"), Ok(DataType::Utf8));
        assert!(matches!(arrow_type("map<string,int>"), Ok(DataType::Map(..))));
        for wrong in ["", "int>", "array<int", "struct<int>", "struct<>", "uniontype<int>", "x"] {
            assert!(arrow_type(wrong).is_err(), "{wrong}");
        }
        assert!(arrow_type(&"array<".repeat(100_000)).is_err());
    }
}
