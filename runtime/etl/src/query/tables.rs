//! Catalogued tables as the engine's: Hive's types, and files as Athena's readers read them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::Column;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::functions::expr_fn::{lower, nullif};
use datafusion::logical_expr::{cast, lit, try_cast, when};
use datafusion::prelude::{Expr, SessionContext};
use object_store::ObjectStore;
use object_store::path::Path;
use steppe_wire::query::{Catalogue, CsvLayout, Partition, Table, TableFormat};
use url::Url;

use super::csv_files::Split;
use super::described::{DescribedFiles, Layout};
use super::failure::Failed;
use super::files::Files;
use super::json_files::Objects;
use super::partitioned::Partitioned;
use super::scanned::Scan;
use super::sequence_files::SequenceFields;
use super::statement::Select;
use super::views::Sources;
use crate::storage::Realm;

/// Types in types.
const NESTING_MAX: usize = 16;

/// Registers the tables that a statement and its views name; one that the catalogue has not is an
/// error. Views are registered by [`Sources::register`].
pub fn register(
    context: &SessionContext,
    databases: &MemoryCatalogProvider,
    select: &Select,
    sources: &Sources,
    scan: &Scan,
) -> Result<(), Failed> {
    for ((database, name), reader) in sources.tables(select) {
        if database == "information_schema" {
            continue;
        }
        let schema = match databases.schema(&database) {
            Some(schema) => schema,
            None => {
                let new: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
                databases.register_schema(&database, new.clone()).map_err(Failed::execution)?;
                new
            }
        };
        let table = find(reader, &sources.catalogue, &database, &name)?;
        if table.view.is_some() {
            continue;
        }
        let provider = match table.keys.is_empty() {
            true => files(context, table, &table.location, scan)?,
            false => Arc::new(Partitioned::new(context, table, scan)?),
        };
        schema.register_table(name, provider).map_err(Failed::execution)?;
    }
    Ok(())
}

/// The files at one place as a table with its columns.
pub fn files(
    context: &SessionContext,
    table: &Table,
    location: &str,
    scan: &Scan,
) -> Result<Arc<dyn TableProvider>, Failed> {
    let place = Realm::S3.prefix(location).map_err(|e| {
        Failed::named("HIVE_INVALID_METADATA", format!("table {}: {e}", table.name))
    })?;
    let store = scan.over(place.store.clone());
    let url = place.url.as_str();
    Ok(match &table.format {
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
        Ok(TableFormat::Json(members)) => {
            let schema = Arc::new(columns_of(table)?);
            let reader = Arc::new(Objects::new(&schema, members));
            let files = Files { store, folder: place.path, schema: schema.clone(), reader };
            let files = StreamingTable::try_new(schema, vec![Arc::new(files)]);
            Arc::new(files.map_err(Failed::execution)?)
        }
        Err(what) => return Err(unsupported(table, what.clone())),
    })
}

/// The columns of a table's files.
fn columns_of(table: &Table) -> Result<Schema, Failed> {
    let fields = table.columns.iter().map(|column| {
        let kind = arrow_type(&column.hive_type).map_err(|what| unsupported(table, what))?;
        Ok(Field::new(&column.name, kind, true))
    });
    Ok(Schema::new(fields.collect::<Result<Vec<_>, Failed>>()?))
}

/// Refuses a partition with a column of another type than the table's, as Athena does; it takes
/// whole numbers for wider ones, and `float` for `double`. Parquet, JSON and Avro have columns by
/// name, the others by place.
/// <https://docs.aws.amazon.com/athena/latest/ug/updates-and-partitions.html>
pub fn check_partition(table: &Table, partition: &Partition) -> Result<(), Failed> {
    const WIDER: [&str; 4] = ["tinyint", "smallint", "int", "bigint"];
    let named = matches!(
        table.format,
        Ok(TableFormat::Parquet | TableFormat::Json(_) | TableFormat::Avro(_))
    );
    for (at, declared) in table.columns.iter().enumerate() {
        let own = match named {
            true => partition.columns.iter().find(|column| column.name == declared.name),
            false => partition.columns.get(at),
        };
        let Some(own) = own else { continue };
        let (from, to) = (own.hive_type.as_str(), declared.hive_type.as_str());
        let width = |kind: &str| WIDER.iter().position(|known| *known == kind);
        let widens = width(from).zip(width(to)).is_some_and(|(from, to)| from < to);
        if from != to && !widens && (from, to) != ("float", "double") {
            return Err(Failed::named(
                "HIVE_PARTITION_SCHEMA_MISMATCH",
                format!(
                    "There is a mismatch between the table and partition schemas. The types are \
                     incompatible and cannot be coerced. The column '{}' in table '{}.{}' is \
                     declared as type '{to}', but partition '{}' declared column '{}' as type \
                     '{from}'.",
                    declared.name,
                    table.database,
                    table.name,
                    named_values(table, partition),
                    own.name
                ),
            ));
        }
    }
    Ok(())
}

/// `year=2019/month=1`.
fn named_values(table: &Table, partition: &Partition) -> String {
    let pairs = table.keys.iter().zip(&partition.values);
    pairs.map(|(key, value)| format!("{}={value}", key.name)).collect::<Vec<_>>().join("/")
}

/// Text files with the table's types. With OpenCSVSerde, what is no number is an error and an empty
/// field is none; with LazySimpleSerDe, both are NULL.
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
        if kind.is_temporal() && layout.quotes.is_some() || kind.is_nested() {
            let what = format!("the embedded cloud reads no {} from CSV", column.hive_type);
            return Err(unsupported(what));
        }
        let text = Expr::Column(Column::from_name(&column.name));
        columns.push(match kind {
            DataType::Utf8 => text,
            DataType::Boolean if layout.quotes.is_none() => {
                // The only two words that LazySimpleSerDe knows.
                let word = || lower(text.clone());
                let known = word().in_list(vec![lit("true"), lit("false")], false);
                let value = when(known, word().eq(lit("true"))).end();
                value.map_err(Failed::execution)?.alias(&column.name)
            }
            kind if layout.quotes.is_none() => try_cast(text, kind).alias(&column.name),
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

/// A table of a kind that is not read.
pub fn unsupported(table: &Table, what: String) -> Failed {
    let what = format!("table {}.{}: {what}", table.database, table.name);
    Failed::named("NOT_SUPPORTED", what)
}

/// A table of the catalogue, or Trino's words when it is not there.
pub fn find<'a>(
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
    let schema = Arc::new(columns_of(table)?);
    let config = ListingTableUrl::parse(location).and_then(|url| {
        // Whatever their names, files below a location are the table's.
        let options = ListingOptions::new(format).with_file_extension("");
        let config = ListingTableConfig::new(url).with_listing_options(options).with_schema(schema);
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
