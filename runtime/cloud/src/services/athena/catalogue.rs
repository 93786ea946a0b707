//! The Glue catalogue as Athena shows it: to the engine, and in its own API of metadata.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use serde_json::{Value, json};
use steppe_wire::query::{
    Catalogue, CsvLayout, Listing, Needs, OrcAccess, Partition, Quotes, Table, TableColumn,
    TableFormat, View,
};

use super::{DATA_CATALOG, invalid, page, work_groups};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::service::Call;
use crate::services::glue;

/// The database that Athena asks for whatever a query reads.
const DEFAULT_DATABASE: &str = "default";
/// What reads Hadoop sequence files.
const SEQUENCE_FILES: &str = "org.apache.hadoop.mapred.SequenceFileInputFormat";

/// What of the catalogue a statement may see. A table or database that is named needs permissions;
/// of a list of everything, what the caller may not see is left out.
pub fn visible(cloud: &Cloud, caller: &Caller, needs: &Needs) -> ApiResult<Catalogue> {
    glue::authorize(cloud, caller, "glue:GetDatabase", Some(DEFAULT_DATABASE), None)?;
    let mut databases = BTreeSet::new();
    let mut tables = Vec::new();
    for (database, name) in &needs.tables {
        glue::authorize(cloud, caller, "glue:GetDatabase", Some(database), None)?;
        glue::authorize(cloud, caller, "glue:GetTable", Some(database), Some(name))?;
        if cloud.services.glue.databases.contains(database) {
            databases.insert(database.clone());
        }
        if let Some(table) = glue::find_table(cloud, database, name) {
            let mut wire = wire_table(&table);
            if !wire.keys.is_empty() && !is_projected(&wire) {
                let (database, table) = (Some(database.as_str()), Some(name.as_str()));
                glue::authorize(cloud, caller, "glue:GetPartitions", database, table)?;
                let partitions = glue::partitions::of(cloud, &wire.database, name);
                if let Some(what) = partitions.iter().find_map(|p| unreadable(&wire, p)) {
                    wire.format = Err(what);
                }
                wire.partitions = partitions.iter().map(|p| wire_partition(p)).collect();
            }
            tables.push(wire);
        }
    }
    match &needs.listing {
        Listing::Nothing => {}
        Listing::Databases => {
            glue::authorize(cloud, caller, "glue:GetDatabases", Some("*"), None)?;
            databases.extend(cloud.services.glue.databases.all().into_iter().map(|(name, _)| name));
        }
        Listing::Tables(database) => {
            glue::authorize(cloud, caller, "glue:GetTables", Some(database), Some("*"))?;
            if cloud.services.glue.databases.contains(database) {
                databases.insert(database.clone());
            }
            tables.extend(glue::tables_of(cloud, database).iter().map(|t| wire_table(t)));
        }
        Listing::All => {
            glue::authorize(cloud, caller, "glue:GetDatabases", Some("*"), None)?;
            for (database, _) in cloud.services.glue.databases.all() {
                let action = "glue:GetTables";
                if glue::authorize(cloud, caller, action, Some(&database), Some("*")).is_err() {
                    continue;
                }
                let known = |t: &Table| (t.database.clone(), t.name.clone());
                let own = glue::tables_of(cloud, &database);
                for table in own.iter().map(|t| wire_table(t)) {
                    if !tables.iter().any(|t| known(t) == known(&table)) {
                        tables.push(table);
                    }
                }
                databases.insert(database);
            }
        }
    }
    Ok(Catalogue { databases: databases.into_iter().collect(), tables })
}

fn wire_table(table: &glue::Table) -> Table {
    let descriptor = &table.input["StorageDescriptor"];
    Table {
        database: table.database.clone(),
        name: table.name.clone(),
        location: text(&descriptor["Location"]),
        format: format(&table.input),
        columns: columns(&descriptor["Columns"]),
        keys: columns(&table.input["PartitionKeys"]),
        partitions: vec![],
        parameters: parameters(&table.input["Parameters"]),
        view: view(&table.input),
    }
}

fn parameters(of: &Value) -> BTreeMap<String, String> {
    let all = of.as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    all.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Whether partitions are told by parameters of the table, and not by the catalogue.
/// <https://docs.aws.amazon.com/athena/latest/ug/partition-projection.html>
fn is_projected(table: &Table) -> bool {
    table.parameters.get("projection.enabled").is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// What a view stands for, in Presto's form: `/* Presto View: BASE64 */` of a document.
fn view(input: &Value) -> Option<View> {
    if input["TableType"] != "VIRTUAL_VIEW" {
        return None;
    }
    let text = input["ViewOriginalText"].as_str()?.trim();
    let inside = text.strip_prefix("/* Presto View: ")?.strip_suffix("*/")?.trim();
    let document = base64::engine::general_purpose::STANDARD.decode(inside).ok()?;
    let document: Value = serde_json::from_slice(&document).ok()?;
    let sql = document["originalSql"].as_str()?.to_owned();
    Some(View { sql, database: document["schema"].as_str().map(str::to_lowercase) })
}

/// Why a partition cannot be read: it is read by its own descriptor, not by its table's.
/// <https://docs.aws.amazon.com/athena/latest/ug/updates-and-partitions.html>
fn unreadable(table: &Table, partition: &glue::Partition) -> Option<String> {
    let descriptor = &partition.input["StorageDescriptor"];
    let missing = ["/Location", "/InputFormat", "/SerdeInfo/SerializationLibrary"]
        .into_iter()
        .find(|field| descriptor.pointer(field).is_none_or(Value::is_null))?;
    Some(format!(
        "HIVE_UNSUPPORTED_FORMAT: the partition {} of {}.{} has no StorageDescriptor{}",
        partition.values().join("/"),
        table.database,
        table.name,
        missing.replace('/', ".")
    ))
}

fn wire_partition(partition: &glue::Partition) -> Partition {
    let descriptor = &partition.input["StorageDescriptor"];
    Partition {
        values: partition.values(),
        location: text(&descriptor["Location"]),
        columns: columns(&descriptor["Columns"]),
    }
}

fn columns(of: &Value) -> Vec<TableColumn> {
    let column = |c: &Value| TableColumn {
        name: text(&c["Name"]).to_lowercase(),
        hive_type: text(&c["Type"]).to_lowercase(),
        comment: c["Comment"].as_str().map(str::to_owned),
    };
    of.as_array().into_iter().flatten().map(column).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// How the files of a table are read, or why they are not.
fn format(input: &Value) -> Result<TableFormat, String> {
    let descriptor = &input["StorageDescriptor"];
    let serde = &descriptor["SerdeInfo"];
    let library = serde["SerializationLibrary"].as_str().unwrap_or_default();
    let library = library.rsplit('.').next().unwrap_or_default();
    if descriptor["InputFormat"] == SEQUENCE_FILES {
        return sequence_fields(library, &input["Parameters"], &serde["Parameters"]);
    }
    match library {
        "ParquetHiveSerDe" => Ok(TableFormat::Parquet),
        "JsonSerDe" => json_members(&descriptor["Columns"], &serde["Parameters"]),
        "OpenCSVSerde" => csv_layout(&input["Parameters"], &serde["Parameters"]),
        "LazySimpleSerDe" => delimited(&input["Parameters"], &serde["Parameters"]),
        "OrcSerde" => orc_access(&serde["Parameters"]).map(TableFormat::Orc),
        "AvroSerDe" => avro_schema(&input["Parameters"], &serde["Parameters"]),
        other => Err(format!("the embedded cloud does not read tables with the SerDe `{other}`")),
    }
}

/// Names of members as they are in files. OpenX takes small letters for capitals; here that is done
/// for the columns themselves, of which a crawler wrote down how they are called.
fn json_members(columns: &Value, serde: &Value) -> Result<TableFormat, String> {
    let types = columns.as_array().into_iter().flatten().map(|column| text(&column["Type"]));
    // What stands before a colon is the name of a member.
    let capitals = |kind: &str| {
        let name = |part: &str| part.rsplit(['<', ',']).next().unwrap_or_default().to_owned();
        let names = kind.rsplit(':').skip(1).map(name);
        names.into_iter().any(|name| name.contains(char::is_uppercase))
    };
    if let Some(kind) = types.into_iter().find(|kind| capitals(kind)) {
        let what = "the embedded cloud reads no members with capitals within a column:";
        return Err(format!("{what} `{kind}`"));
    }
    let paths = serde["paths"].as_str().unwrap_or_default().split(',');
    let paths = paths.filter(|path| !path.is_empty()).map(str::to_owned);
    Ok(TableFormat::Json(paths.collect()))
}

/// Lines that are split at every delimiter, whatever quotes say.
/// <https://docs.aws.amazon.com/athena/latest/ug/lazy-simple-serde.html>
fn delimited(table: &Value, serde: &Value) -> Result<TableFormat, String> {
    match serde["line.delim"].as_str() {
        None | Some("\n" | "\r" | "\r\n") => {}
        Some(_) => return Err("the embedded cloud reads no text with `line.delim`".to_owned()),
    }
    let escape = match serde["escape.delim"].as_str() {
        None => None,
        Some(text) => Some(text.chars().next().ok_or("`escape.delim` is empty")?),
    };
    Ok(TableFormat::Csv(CsvLayout {
        separator: field_delimiter(serde)?,
        quotes: None,
        escape,
        null: serde["serialization.null.format"].as_str().unwrap_or("\\N").to_owned(),
        header_lines: header_lines(table)?,
    }))
}

/// A number stands for the character with that code, as Hive's `LazyUtils` reads it.
fn field_delimiter(serde: &Value) -> Result<char, String> {
    let given = ["field.delim", "serialization.format"].map(|name| serde[name].as_str());
    let text = given.into_iter().flatten().next().unwrap_or("1");
    match text.parse::<u8>() {
        Ok(code) if code < 128 => Ok(char::from(code)),
        _ => match text.as_bytes() {
            [byte] if byte.is_ascii() => Ok(char::from(*byte)),
            _ => Err("`field.delim` is not one ASCII character".to_owned()),
        },
    }
}

fn header_lines(table: &Value) -> Result<u64, String> {
    let lines = &table["skip.header.line.count"];
    let number = lines.as_u64().or_else(|| lines.as_str().and_then(|text| text.parse().ok()));
    match number {
        Some(number) => Ok(number),
        None if lines.is_null() => Ok(0),
        None => Err(format!("`skip.header.line.count` is {lines}, which is no number")),
    }
}

/// Trino reads sequence files with one SerDe only.
fn sequence_fields(library: &str, table: &Value, serde: &Value) -> Result<TableFormat, String> {
    if library != "LazySimpleSerDe" {
        let what = "Athena reads sequence files with LazySimpleSerDe, not with";
        return Err(format!("{what} `{library}`"));
    }
    let others = [
        (serde, "escape.delim"),
        (serde, "serialization.null.format"),
        (serde, "serialization.last.column.takes.rest"),
        (table, "skip.header.line.count"),
    ];
    if let Some((_, other)) = others.into_iter().find(|(of, name)| !of[*name].is_null()) {
        return Err(format!("the embedded cloud reads no sequence files with `{other}`"));
    }
    field_delimiter(serde).map(TableFormat::Sequence)
}

/// <https://docs.aws.amazon.com/athena/latest/ug/handling-schema-updates-chapter.html>
fn orc_access(serde: &Value) -> Result<OrcAccess, String> {
    match &serde["orc.column.index.access"] {
        Value::Null => Ok(OrcAccess::Index),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(OrcAccess::Index),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(OrcAccess::Name),
        other => Err(format!("`orc.column.index.access` is {other}, not \"true\" or \"false\"")),
    }
}

/// Athena takes the schema from the table only.
fn avro_schema(table: &Value, serde: &Value) -> Result<TableFormat, String> {
    let either = |name: &str| [serde, table].into_iter().find_map(|of| of[name].as_str());
    if either("avro.schema.url").is_some() {
        let what = "Athena does not support `avro.schema.url`; give `avro.schema.literal`";
        return Err(what.to_owned());
    }
    Ok(TableFormat::Avro(either("avro.schema.literal").map(str::to_owned)))
}

/// Defaults are those of OpenCSVSerde.
fn csv_layout(table: &Value, serde: &Value) -> Result<TableFormat, String> {
    let one = |name: &str, default: char| match serde[name].as_str() {
        None => Ok(default),
        Some(text) => {
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(c), None) => Ok(c),
                _ => Err(format!("{name} must be one character, not `{text}`")),
            }
        }
    };
    let quotes = Quotes { quote: one("quoteChar", '"')?, escape: one("escapeChar", '\\')? };
    Ok(TableFormat::Csv(CsvLayout {
        separator: one("separatorChar", ',')?,
        quotes: Some(quotes),
        escape: None,
        null: String::new(),
        header_lines: header_lines(table)?,
    }))
}

/// What every operation on metadata does first: whether the caller may do this with the catalogue.
/// Every catalogue is open to every work group here, as long as there is the group.
fn open(call: &Call<'_>, catalog: &str) -> ApiResult<()> {
    check_group(call)?;
    check_catalog(call.required(catalog)?)?;
    call.authorize(&call.cloud.config.arn("athena", &format!("datacatalog/{DATA_CATALOG}")))
}

fn check_group(call: &Call<'_>) -> ApiResult<()> {
    call.text("WorkGroup").map_or(Ok(()), |group| work_groups::find(call.cloud, group).map(|_| ()))
}

/// `ListDataCatalogs`.
pub fn list_catalogs(call: &Call<'_>) -> ApiResult {
    check_group(call)?;
    call.authorize("*")?;
    let own = json!({ "CatalogName": DATA_CATALOG, "Type": "GLUE" });
    page(call.params, "DataCatalogsSummary", vec![own])
}

/// `GetDataCatalog`.
pub fn get_catalog(call: &Call<'_>) -> ApiResult {
    open(call, "Name")?;
    let parameters = json!({ "catalog-id": call.cloud.config.account });
    Ok(json!({ "DataCatalog": {
        "Name": DATA_CATALOG, "Type": "GLUE", "Parameters": parameters,
    } }))
}

/// `ListDatabases`.
pub fn list_databases(call: &Call<'_>) -> ApiResult {
    open(call, "CatalogName")?;
    glue::authorize(call.cloud, call.caller, "glue:GetDatabases", Some("*"), None)?;
    let all = call.cloud.services.glue.databases.all();
    page(call.params, "DatabaseList", all.iter().map(|(n, d)| database(n, d)).collect())
}

/// `GetDatabase`.
pub fn get_database(call: &Call<'_>) -> ApiResult {
    open(call, "CatalogName")?;
    let name = call.required("DatabaseName")?;
    glue::authorize(call.cloud, call.caller, "glue:GetDatabase", Some(name), None)?;
    let found = call.cloud.services.glue.databases.get(name).ok_or_else(not_found)?;
    Ok(json!({ "Database": database(name, &found) }))
}

/// `ListTableMetadata`.
pub fn list_tables(call: &Call<'_>) -> ApiResult {
    open(call, "CatalogName")?;
    let (cloud, name) = (call.cloud, call.required("DatabaseName")?);
    glue::authorize(cloud, call.caller, "glue:GetTables", Some(name), Some("*"))?;
    if !cloud.services.glue.databases.contains(name) {
        return Err(not_found());
    }
    let wanted = glue::pattern(call.text("Expression"))?;
    let mut tables = glue::tables_of(cloud, name);
    tables.retain(|table| wanted.is_match(&table.name));
    page(call.params, "TableMetadataList", tables.iter().map(|t| metadata(t)).collect())
}

/// `GetTableMetadata`.
pub fn get_table(call: &Call<'_>) -> ApiResult {
    open(call, "CatalogName")?;
    let (database, name) = (call.required("DatabaseName")?, call.required("TableName")?);
    glue::authorize(call.cloud, call.caller, "glue:GetTable", Some(database), Some(name))?;
    let table = glue::find_table(call.cloud, database, name).ok_or_else(not_found)?;
    Ok(json!({ "TableMetadata": metadata(&table) }))
}

fn check_catalog(name: &str) -> ApiResult<()> {
    if name.eq_ignore_ascii_case(DATA_CATALOG) {
        return Ok(());
    }
    Err(invalid(format!("Data Catalog {name} is not found.")))
}

fn not_found() -> ApiError {
    let request = uuid::Uuid::new_v4();
    let message = format!(
        "Entity Not Found (Service: AmazonDataCatalog; Status Code: 400; Error Code: \
         EntityNotFoundException; Request ID: {request}; Proxy: null)"
    );
    ApiError::new("MetadataException", message)
}

fn database(name: &str, database: &glue::Database) -> Value {
    json!({ "Name": name, "Description": database.description })
}

fn metadata(table: &glue::Table) -> Value {
    let none = json!([]);
    let descriptor = &table.input["StorageDescriptor"];
    let columns = descriptor.get("Columns").unwrap_or(&none);
    let keys = table.input.get("PartitionKeys").unwrap_or(&none);
    let mut parameters = json!({
        "location": descriptor["Location"], "inputformat": descriptor["InputFormat"],
        "outputformat": descriptor["OutputFormat"],
        "serde.serialization.lib": descriptor["SerdeInfo"]["SerializationLibrary"],
    });
    for (name, value) in table.input["Parameters"].as_object().into_iter().flatten() {
        parameters[name.as_str()] = value.clone();
    }
    json!({
        "Name": table.name, "CreateTime": epoch_secs(table.created), "Columns": columns,
        "PartitionKeys": keys, "Parameters": parameters,
        "TableType": table.input["TableType"].as_str().unwrap_or("EXTERNAL_TABLE"),
    })
}
