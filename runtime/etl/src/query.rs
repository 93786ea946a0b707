//! A SQL query over catalogued objects: only reading statements, result as CSV in Athena's form.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::{MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use object_store::buffered::BufWriter;
use steppe_wire::query::{Query, QueryResult, Table, TableFormat};
use tokio::io::AsyncWriteExt;

use crate::storage::Place;

/// The catalogue's name in Athena.
const CATALOG: &str = "awsdatacatalog";

/// Runs `query` and writes its rows to `query.output`.
pub async fn query(query: &Query) -> Result<QueryResult> {
    let context = session(query)?;
    let reading_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = context
        .sql_with_options(&query.sql, reading_only)
        .await
        .map_err(|e| anyhow::anyhow!("{}", e.strip_backtrace()))?;
    let columns: Vec<(String, String)> = frame
        .schema()
        .fields()
        .iter()
        .map(|f| Ok((f.name().clone(), athena_type(f.data_type())?)))
        .collect::<Result<_>>()?;
    let place = Place::parse(&query.output)?;
    let mut writer = BufWriter::new(place.store.clone(), place.path.clone());
    let names: Vec<Option<String>> = columns.iter().map(|(name, _)| Some(name.clone())).collect();
    writer.write_all(csv_line(&names).as_bytes()).await?;
    let mut stream =
        frame.execute_stream().await.map_err(|e| anyhow::anyhow!("{}", e.strip_backtrace()))?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| anyhow::anyhow!("{}", e.strip_backtrace()))?;
        rows += batch.num_rows() as u64;
        writer
            .write_all(csv_rows(&batch)?.as_bytes())
            .await
            .context("writing the result failed")?;
    }
    writer.shutdown().await.context("writing the result failed")?;
    Ok(QueryResult { columns, rows })
}

fn session(query: &Query) -> Result<SessionContext> {
    let default_schema = query.database.clone().unwrap_or_else(|| "default".to_owned());
    let config = SessionConfig::new()
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, &default_schema);
    let context = SessionContext::new_with_config(config);
    let catalog = Arc::new(MemoryCatalogProvider::new());
    context.register_catalog(CATALOG, catalog.clone());
    let mut databases: Vec<&str> = query.tables.iter().map(|t| t.database.as_str()).collect();
    databases.push(&default_schema);
    databases.sort_unstable();
    databases.dedup();
    for database in databases {
        let schema = Arc::new(MemorySchemaProvider::new());
        for table in query.tables.iter().filter(|t| t.database == database) {
            Place::parse(&table.location)?.register(&context);
            schema.register_table(table.name.clone(), Arc::new(listing(table)?))?;
        }
        datafusion::catalog::CatalogProvider::register_schema(&*catalog, database, schema)?;
    }
    Ok(context)
}

fn listing(table: &Table) -> Result<ListingTable> {
    let (format, extension): (Arc<dyn FileFormat>, &str) = match table.format {
        TableFormat::Parquet => (Arc::new(ParquetFormat::default()), ".parquet"),
        TableFormat::Csv => {
            (Arc::new(CsvFormat::default().with_has_header(table.has_header)), ".csv")
        }
        TableFormat::Json => (Arc::new(JsonFormat::default()), ".json"),
    };
    let fields: Vec<Field> = table
        .columns
        .iter()
        .map(|(name, hive)| Ok(Field::new(name, arrow_type(hive)?, true)))
        .collect::<Result<_>>()?;
    let options = ListingOptions::new(format).with_file_extension(extension);
    let location = ListingTableUrl::parse(&table.location)
        .with_context(|| format!("the location of `{}` is not an address", table.name))?;
    let config = ListingTableConfig::new(location)
        .with_listing_options(options)
        .with_schema(Arc::new(Schema::new(fields)));
    Ok(ListingTable::try_new(config)?)
}

fn arrow_type(hive: &str) -> Result<DataType> {
    Ok(match hive {
        "string" => DataType::Utf8,
        "boolean" => DataType::Boolean,
        "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "double" => DataType::Float64,
        "float" => DataType::Float32,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Millisecond, None),
        other => match other.strip_prefix("array<struct<").and_then(|s| s.strip_suffix(">>")) {
            Some(fields) => DataType::new_list(struct_type(fields)?, true),
            None => bail!(
                "the embedded engine has no column type `{other}`; it has string, boolean, int, bigint, double, float, date, timestamp and array<struct<…>>"
            ),
        },
    })
}

fn struct_type(fields: &str) -> Result<DataType> {
    let field = |text: &str| {
        let (name, hive) =
            text.split_once(':').with_context(|| format!("`{text}` is not `name:type`"))?;
        Ok(Field::new(name, arrow_type(hive)?, true))
    };
    Ok(DataType::Struct(fields.split(',').map(field).collect::<Result<Vec<_>>>()?.into()))
}

fn athena_type(arrow: &DataType) -> Result<String> {
    Ok(match arrow {
        DataType::Boolean => "boolean",
        DataType::Int8 => "tinyint",
        DataType::Int16 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "varchar",
        DataType::Date32 => "date",
        DataType::Timestamp(..) => "timestamp",
        DataType::Decimal128(..) => "decimal",
        DataType::List(_) => "array",
        DataType::Struct(_) => "row",
        other => bail!("the embedded engine cannot return a column of type {other}"),
    }
    .to_owned())
}

/// Rows as Athena writes them: every value in double quotes, nothing at all for NULL.
fn csv_rows(batch: &RecordBatch) -> Result<String> {
    let options = FormatOptions::default();
    let formatters = batch
        .columns()
        .iter()
        .map(|c| ArrayFormatter::try_new(c, &options))
        .collect::<Result<Vec<_>, _>>()?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        let values: Vec<Option<String>> = batch
            .columns()
            .iter()
            .zip(&formatters)
            .map(|(column, f)| (!column.is_null(row)).then(|| f.value(row).to_string()))
            .collect();
        text += &csv_line(&values);
    }
    Ok(text)
}

fn csv_line(values: &[Option<String>]) -> String {
    let quoted = values.iter().map(|v| {
        v.as_ref().map_or_else(String::new, |v| format!("\"{}\"", v.replace('"', "\"\"")))
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}
