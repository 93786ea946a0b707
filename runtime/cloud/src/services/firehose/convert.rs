//! Conversion of a buffer to Parquet, by the SQL engine's process, under a table's schema.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use steppe_wire::convert::{Column, Convert, Converted, Misfit};

use super::delivery::{self, Delivered};
use super::settings::Conversion;
use crate::kernel::cloud::Cloud;
use crate::kernel::engine::Engine;
use crate::kernel::identity::Caller;
use crate::kernel::service;

/// What a buffer became.
#[derive(Debug, Default)]
pub struct Made {
    /// Rows, if there are any.
    pub parquet: Option<Vec<u8>>,
    /// Records that do not fit, a line of JSON each, if there are any.
    pub errors: Option<Vec<u8>>,
}

/// A conversion.
pub struct Work<'a> {
    /// The cloud.
    pub cloud: &'a Arc<Cloud>,
    /// The delivery stream.
    pub name: &'a str,
    /// Its ID.
    pub stream_id: &'a str,
    /// How records are converted.
    pub conversion: &'a Conversion,
}

impl Work<'_> {
    /// Converts records.
    pub async fn convert(&self, records: &[Delivered]) -> Result<Made, String> {
        let role = delivery::assume(self.cloud, self.name, &self.conversion.role)?;
        let (version, columns) = self.schema(&role).await?;
        let folder = self.cloud.path("firehose").join(self.stream_id);
        let asked = Convert {
            columns,
            case_insensitive: self.conversion.case_insensitive,
            keys: self.conversion.keys.clone(),
            compression: self.conversion.compression,
            records: folder.join("records"),
            parquet: folder.join("parquet"),
            misfits: folder.join("misfits"),
        };
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        write_records(&asked.records, records).map_err(|error| error.to_string())?;
        let converted = self.run(&role, &asked).await?;
        let read = |file: &Path| std::fs::read(file).map_err(|error| error.to_string());
        let parquet = (converted.rows > 0).then(|| read(&asked.parquet)).transpose()?;
        let errors = match converted.misfits {
            0 => None,
            _ => Some(self.errors(records, &read(&asked.misfits)?, &version)?),
        };
        for file in [&asked.records, &asked.parquet, &asked.misfits] {
            std::fs::remove_file(file).map_err(|error| error.to_string())?;
        }
        Ok(Made { parquet, errors })
    }

    /// The table's version and columns, read with the configuration's role.
    async fn schema(&self, role: &Caller) -> Result<(String, Vec<Column>), String> {
        let Conversion { database, table, version, .. } = self.conversion;
        let mut request = json!({ "DatabaseName": database, "TableName": table });
        let found = match version {
            None => {
                let call = service::call(self.cloud, role, "glue", "GetTableVersions", &request);
                call.await.map_err(|error| error.message)?["TableVersions"][0].clone()
            }
            Some(version) => {
                request["VersionId"] = json!(version);
                let call = service::call(self.cloud, role, "glue", "GetTableVersion", &request);
                call.await.map_err(|error| error.message)?["TableVersion"].clone()
            }
        };
        let columns = found["Table"]["StorageDescriptor"]["Columns"].as_array();
        let columns = columns.into_iter().flatten().map(column).collect::<Vec<_>>();
        if columns.is_empty() {
            return Err(format!("the table {database}.{table} has no columns"));
        }
        Ok((found["VersionId"].as_str().unwrap_or_default().to_owned(), columns))
    }

    async fn run(&self, role: &Caller, asked: &Convert) -> Result<Converted, String> {
        let places = self.cloud.engines.jobs.clone();
        let _place = places.acquire().await.map_err(|error| error.to_string())?;
        let mut engine = Engine::start(self.cloud, role, &["convert"])?;
        engine.say(asked).await?;
        let said = engine.hear().await?;
        let ended = engine.end().await?;
        match said.filter(|_| ended.status.success()) {
            Some(line) => serde_json::from_str(&line).map_err(|error| error.to_string()),
            None => Err(format!("DataFormatConversion: {}", ended.reason())),
        }
    }

    /// Records that do not fit, in AWS's form.
    fn errors(
        &self,
        records: &[Delivered],
        misfits: &[u8],
        version: &str,
    ) -> Result<Vec<u8>, String> {
        let config = &self.cloud.config;
        let ended = self.cloud.clock.now().as_millisecond();
        let mut out = Vec::new();
        for misfit in serde_json::Deserializer::from_slice(misfits).into_iter::<Misfit>() {
            let misfit = misfit.map_err(|error| error.to_string())?;
            let Some(record) = records.get(misfit.index) else { continue };
            let kind = if misfit.is_json { "MalformedData" } else { "ParseError" };
            let line = json!({
                "attemptsMade": 1,
                "arrivalTimestamp": record.arrived,
                "lastErrorCode": format!("DataFormatConversion.{kind}"),
                "lastErrorMessage": misfit.message,
                "attemptEndingTimestamp": ended,
                "rawData": delivery::raw(&record.data),
                "sequenceNumber": record.sequence,
                "subSequenceNumber": null,
                "dataCatalogTable": {
                    "catalogId": config.account,
                    "databaseName": self.conversion.database,
                    "tableName": self.conversion.table,
                    "region": config.region,
                    "versionId": version,
                    "catalogArn": null,
                },
            });
            out.extend_from_slice(line.to_string().as_bytes());
            out.push(b'\n');
        }
        Ok(out)
    }
}

fn column(described: &Value) -> Column {
    let text = |name: &str| described[name].as_str().unwrap_or_default().to_owned();
    Column { name: text("Name"), kind: text("Type") }
}

fn write_records(file: &Path, records: &[Delivered]) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    for record in records {
        bytes.extend_from_slice(&(record.data.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&record.data);
    }
    std::fs::write(file, bytes)
}
