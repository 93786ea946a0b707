//! What a crawl writes into the catalogue, and what it leaves there.
//!
//! Names are those of folders and files in small letters, letters, digits and underscores only,
//! behind the prefix. When there is a table of that name over the same place, it is that table,
//! whoever made it, and the policy for changes says what becomes of it; a table over another place
//! gives way to no one: the new one gets a hash of its place as a suffix. AWS documents the names
//! and the suffix; it documents for tables that were made by hand that a crawler keeps them up to
//! date when they are its *catalogue* targets, which the embedded cloud has not, and nothing for
//! this case.
//!
//! A table that this crawler made and whose files are gone is treated by the policy for deletions,
//! partitions likewise, except that they are not marked.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/add-crawler.html>,
//! <https://docs.aws.amazon.com/glue/latest/dg/crawler-configuration.html>,
//! <https://docs.aws.amazon.com/glue/latest/dg/tables-described.html#update-manual-tables>

use std::collections::BTreeSet;

use jiff::Timestamp;
use md5::{Digest, Md5};
use serde_json::{Map, Value, json};
use steppe_wire::crawl::{Classification, Content, Found, Partition as FoundPartition};

use super::settings::{Delete, Settings, Update};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiResult;
use crate::kernel::identity::Caller;
use crate::services::glue::versions::{self, Archive};
use crate::services::glue::{self, Table, find_table, partitions};

/// Characters of a name.
const NAME_CHARS_MAX: usize = 128;
/// By which a table knows its crawler.
const CRAWLER: &str = "UPDATED_BY_CRAWLER";
/// Which run wrote a table.
const RUN: &str = "CRAWL_RUN_ID";
/// When a table was found to be gone, in milliseconds since 1970.
const DEPRECATED: &str = "DEPRECATED_BY_CRAWLER";

/// Writes what one crawl found.
pub struct Writer<'a> {
    cloud: &'a Cloud,
    role: &'a Caller,
    crawler: &'a str,
    run: &'a str,
    settings: &'a Settings,
    /// What was done, as lines of the log.
    pub log: Vec<String>,
}

impl<'a> Writer<'a> {
    /// Of the run of a crawler, by their names.
    pub fn new(
        cloud: &'a Cloud,
        role: &'a Caller,
        (crawler, run): (&'a str, &'a str),
        settings: &'a Settings,
    ) -> Self {
        Self { cloud, role, crawler, run, settings, log: vec![] }
    }

    /// Makes, changes and deletes tables.
    pub fn write(&mut self, found: &[Found]) -> ApiResult<()> {
        let mut there = BTreeSet::new();
        for table in found {
            there.insert(self.table(table)?);
        }
        let own = glue::tables_of(self.cloud, &self.settings.database);
        let crawler = self.crawler;
        let own = own.iter().filter(|table| table.input["Parameters"][CRAWLER] == crawler);
        for gone in own.filter(|table| !there.contains(&table.name)) {
            self.gone(gone)?;
        }
        Ok(())
    }

    fn allowed(&self, action: &str, table: &str) -> ApiResult<()> {
        let action = format!("glue:{action}");
        glue::authorize(self.cloud, self.role, &action, Some(&self.settings.database), Some(table))
    }

    fn say(&mut self, what: &str, table: &str) {
        let database = &self.settings.database;
        self.log.push(format!("INFO : {what} table {table} in database {database}"));
    }

    /// Makes or changes a table with its partitions; its name.
    fn table(&mut self, found: &Found) -> ApiResult<String> {
        let database = self.settings.database.clone();
        let mut name = table_name(&self.settings.prefix, &found.name);
        let mut former = self.lookup(&name)?;
        if former.as_ref().is_some_and(|table| location(&table.input) != found.location) {
            name = with_hash(&name, &found.location);
            former = self.lookup(&name)?;
        }
        let input = self.table_input(&name, found);
        let input = match &former {
            None => {
                self.allowed("CreateTable", &name)?;
                self.say("Created", &name);
                Some(input)
            }
            Some(table) => self.changed(table, input)?,
        };
        if let Some(input) = input {
            versions::put(self.cloud, &database, &name, input, Archive::Keep)?;
        }
        if let Some(table) = find_table(self.cloud, &database, &name) {
            self.partitions(&table, found)?;
        }
        Ok(name)
    }

    fn lookup(&self, name: &str) -> ApiResult<Option<std::sync::Arc<Table>>> {
        self.allowed("GetTable", name)?;
        Ok(find_table(self.cloud, &self.settings.database, name))
    }

    /// What a table becomes, if anything else.
    fn changed(&mut self, table: &Table, input: Value) -> ApiResult<Option<Value>> {
        let changed = match self.settings.update {
            Update::NewColumns => merged(&table.input, &input),
            _ => input,
        };
        if without_run(&changed) == without_run(&table.input) {
            return Ok(None);
        }
        if self.settings.update == Update::Log {
            if shape(&changed) != shape(&table.input) {
                self.say("Schema change detected, not updated:", &table.name);
            }
            return Ok(None);
        }
        self.allowed("UpdateTable", &table.name)?;
        self.say("Updated", &table.name);
        Ok(Some(changed))
    }

    /// New partitions are made whatever the policy.
    fn partitions(&mut self, table: &Table, found: &Found) -> ApiResult<()> {
        let name = table.name.as_str();
        let keys = names(&table.input["PartitionKeys"]);
        let at = (self.settings.database.as_str(), name);
        let known = partitions::of(self.cloud, at.0, at.1);
        if keys.is_empty() && known.is_empty() {
            return Ok(());
        }
        if keys != found.keys {
            let what = format!("Partitions are by {}, not updated:", found.keys.join(", "));
            self.say(&what, name);
            return Ok(());
        }
        self.allowed("GetPartitions", name)?;
        let (mut made, mut there) = (0_usize, BTreeSet::new());
        for partition in &found.partitions {
            there.insert(partition.values.clone());
            let former = known.iter().find(|known| known.values() == partition.values);
            let input = self.partition_input(&table.input, partition);
            match former {
                None => {
                    self.allowed("BatchCreatePartition", name)?;
                    made += 1;
                }
                Some(known) if known.input == input => continue,
                Some(_) if self.settings.update == Update::Log && !self.settings.inherit => {
                    continue;
                }
                Some(_) => self.allowed("UpdatePartition", name)?,
            }
            let created = former.map_or_else(Timestamp::now, |known| known.created);
            partitions::put(self.cloud, at, partitions::Partition { input, created })?;
        }
        if made > 0 {
            self.say(&format!("Created {made} partitions of"), name);
        }
        // Those with another number of values are of keys that the table had before.
        let gone = known.iter().map(|known| known.values());
        let gone: Vec<_> = gone.filter(|values| !there.contains(values)).collect();
        for values in gone {
            let is_old = values.len() != keys.len();
            if self.settings.delete == Delete::FromDatabase || is_old {
                self.allowed("BatchDeletePartition", name)?;
                partitions::delete(self.cloud, at, &values)?;
            } else {
                self.say(&format!("Partition {} is gone from", values.join("/")), name);
            }
        }
        Ok(())
    }

    fn gone(&mut self, table: &Table) -> ApiResult<()> {
        let name = table.name.as_str();
        match self.settings.delete {
            Delete::Log => self.say("No files are left of", name),
            Delete::FromDatabase => {
                self.allowed("DeleteTable", name)?;
                glue::delete_table(self.cloud, &table.database, name)?;
                self.say("Deleted", name);
            }
            Delete::Deprecate if table.input["Parameters"][DEPRECATED].is_null() => {
                self.allowed("UpdateTable", name)?;
                let mut input = table.input.clone();
                let now = Timestamp::now().as_millisecond().to_string();
                input["Parameters"][DEPRECATED] = now.into();
                versions::put(self.cloud, &table.database, name, input, Archive::Keep)?;
                self.say("Marked as deprecated:", name);
            }
            Delete::Deprecate => {}
        }
        Ok(())
    }

    fn table_input(&self, name: &str, found: &Found) -> Value {
        let parameters = self.parameters(&found.content);
        let keys = found.keys.iter().map(|key| json!({ "Name": key, "Type": "string" }));
        json!({
            "Name": name, "Owner": "owner", "Retention": 0,
            "StorageDescriptor": descriptor(&found.content, &found.location, &parameters),
            "PartitionKeys": keys.collect::<Vec<_>>(),
            "TableType": "EXTERNAL_TABLE", "Parameters": parameters,
        })
    }

    fn partition_input(&self, table: &Value, found: &FoundPartition) -> Value {
        let mut parameters = self.parameters(&found.content);
        let own = descriptor(&found.content, &found.location, &parameters);
        let mut descriptor = own;
        if self.settings.inherit {
            descriptor = table["StorageDescriptor"].clone();
            descriptor["Location"] = found.location.clone().into();
        }
        // Of a partition nobody asks which run wrote it, and it is written only when it changes.
        parameters.remove(RUN);
        descriptor["Parameters"] = Value::Object(parameters.clone());
        json!({
            "Values": found.values, "StorageDescriptor": descriptor, "Parameters": parameters,
        })
    }

    /// As tables have them that Glue's crawlers wrote.
    fn parameters(&self, content: &Content) -> Map<String, Value> {
        let average = content.bytes.checked_div(content.records).unwrap_or_default();
        let compression = if content.gzip { "gzip" } else { "none" };
        let classification = match &content.classification {
            Classification::Parquet => "parquet",
            Classification::Orc => "orc",
            Classification::Avro(_) => "avro",
            Classification::Json(_) => "json",
            Classification::Csv(_) => "csv",
            Classification::Unknown => "UNKNOWN",
        };
        let mut pairs = vec![
            ("CrawlerSchemaDeserializerVersion", "1.0".to_owned()),
            ("CrawlerSchemaSerializerVersion", "1.0".to_owned()),
            (CRAWLER, self.crawler.to_owned()),
            (RUN, self.run.to_owned()),
            ("averageRecordSize", average.to_string()),
            ("classification", classification.to_owned()),
            ("compressionType", compression.to_owned()),
            ("objectCount", content.objects.to_string()),
            ("recordCount", content.records.to_string()),
            ("sizeKey", content.bytes.to_string()),
            ("typeOfData", "file".to_owned()),
        ];
        match &content.classification {
            Classification::Avro(schema) => pairs.push(("avro.schema.literal", schema.clone())),
            Classification::Csv(form) => {
                pairs.push(("areColumnsQuoted", form.quoted.to_string()));
                pairs.push(("columnsOrdered", "true".to_owned()));
                pairs.push(("delimiter", form.delimiter.to_string()));
                if form.header {
                    pairs.push(("skip.header.line.count", "1".to_owned()));
                }
            }
            _ => {}
        }
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}

fn descriptor(content: &Content, location: &str, parameters: &Map<String, Value>) -> Value {
    let column = |(name, kind): &(String, String)| json!({ "Name": name, "Type": kind });
    let columns: Vec<Value> = content.columns.iter().map(column).collect();
    let (formats, serde) = reading(&content.classification);
    json!({
        "Columns": columns, "Location": location,
        "InputFormat": formats[0], "OutputFormat": formats[1],
        "Compressed": content.gzip, "NumberOfBuckets": -1, "SerdeInfo": serde,
        "BucketColumns": [], "SortColumns": [], "Parameters": parameters,
        "StoredAsSubDirectories": false,
    })
}

/// What reads files of a format, and how.
fn reading(classification: &Classification) -> ([&'static str; 2], Value) {
    const TEXT: [&str; 2] = [
        "org.apache.hadoop.mapred.TextInputFormat",
        "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
    ];
    let serde = |library: &str, parameters: Value| json!({ "SerializationLibrary": library, "Parameters": parameters });
    match classification {
        Classification::Parquet => (
            [
                "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            ],
            serde(
                "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
                json!({ "serialization.format": "1" }),
            ),
        ),
        Classification::Orc => (
            [
                "org.apache.hadoop.hive.ql.io.orc.OrcInputFormat",
                "org.apache.hadoop.hive.ql.io.orc.OrcOutputFormat",
            ],
            serde("org.apache.hadoop.hive.ql.io.orc.OrcSerde", json!({})),
        ),
        Classification::Avro(schema) => (
            [
                "org.apache.hadoop.hive.ql.io.avro.AvroContainerInputFormat",
                "org.apache.hadoop.hive.ql.io.avro.AvroContainerOutputFormat",
            ],
            serde(
                "org.apache.hadoop.hive.serde2.avro.AvroSerDe",
                json!({ "avro.schema.literal": schema, "serialization.format": "1" }),
            ),
        ),
        Classification::Json(paths) => {
            (TEXT, serde("org.openx.data.jsonserde.JsonSerDe", json!({ "paths": paths.join(",") })))
        }
        Classification::Csv(form) => (
            TEXT,
            serde(
                "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
                json!({ "field.delim": form.delimiter.to_string() }),
            ),
        ),
        Classification::Unknown => (["", ""], json!({})),
    }
}

/// `sales_year_2019` of the folder `Year=2019` behind the prefix `sales_`.
fn table_name(prefix: &str, folder: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    prefix.chars().chain(folder.chars()).map(plain).take(NAME_CHARS_MAX).collect()
}

fn with_hash(name: &str, location: &str) -> String {
    let hash = hex::encode(Md5::digest(location));
    let kept: String = name.chars().take(NAME_CHARS_MAX - hash.len() - 1).collect();
    format!("{kept}_{hash}")
}

fn location(input: &Value) -> String {
    let text = input["StorageDescriptor"]["Location"].as_str().unwrap_or_default();
    text.to_owned()
}

fn names(columns: &Value) -> Vec<String> {
    let names = columns.as_array().into_iter().flatten().map(|column| &column["Name"]);
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Everything but which run wrote it.
fn without_run(input: &Value) -> Value {
    let mut input = input.clone();
    for at in ["/Parameters", "/StorageDescriptor/Parameters"] {
        if let Some(parameters) = input.pointer_mut(at).and_then(Value::as_object_mut) {
            parameters.remove(RUN);
        }
    }
    input
}

/// What readers of a table rely on.
fn shape(input: &Value) -> [&Value; 3] {
    let descriptor = &input["StorageDescriptor"];
    [&descriptor["Columns"], &input["PartitionKeys"], &descriptor["SerdeInfo"]]
}

/// The former table with those columns of `found` that it has not.
fn merged(former: &Value, found: &Value) -> Value {
    let (mut merged, columns) = (former.clone(), &found["StorageDescriptor"]["Columns"]);
    let known = names(&former["StorageDescriptor"]["Columns"]);
    let new = columns.as_array().into_iter().flatten();
    let new = new.filter(|c| c["Name"].as_str().is_some_and(|n| !known.iter().any(|k| k == n)));
    let new: Vec<Value> = new.cloned().collect();
    if let Some(columns) = merged["StorageDescriptor"]["Columns"].as_array_mut() {
        columns.extend(new);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_letters_digits_and_underscores() {
        assert_eq!(table_name("", "Year=2019"), "year_2019");
        assert_eq!(table_name("Raw-", "data 1.json"), "raw_data_1_json");
        assert_eq!(table_name("", "Ünïts"), "_n_ts");
        let long = table_name("p_", &"x".repeat(200));
        assert_eq!(long.len(), 128);
        let hashed = with_hash(&long, "s3://my-data/x/");
        assert!(hashed.len() == 128 && hashed.starts_with("p_xxx"), "{hashed}");
        assert_ne!(hashed, with_hash(&long, "s3://my-data/y/"));
    }

    #[test]
    fn only_new_columns_are_added() {
        let table = |columns: Value| json!({ "StorageDescriptor": { "Columns": columns } });
        let column = |name: &str, kind: &str| json!({ "Name": name, "Type": kind });
        let former = table(json!([column("a", "int"), column("gone", "int")]));
        let found = table(json!([column("a", "string"), column("b", "date")]));
        let columns = json!([column("a", "int"), column("gone", "int"), column("b", "date")]);
        assert_eq!(merged(&former, &found), table(columns));
    }
}
