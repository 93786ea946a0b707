//! Rows into the one file of a table.

use anyhow::{Context, Result};
use datafusion::config::TableParquetOptions;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use object_store::buffered::BufWriter;
use steppe_wire::etl::TableFormat;
use tokio::io::AsyncWriteExt;

use super::places::part;
use super::strip;
use crate::formats;
use crate::scan::on_own_thread;
use crate::storage::Place;

/// Writes rows into the file of a table; returns its address.
pub(super) async fn write(
    rows: DataFrame,
    format: TableFormat,
    prefix: &Place,
) -> Result<String> {
    let file = prefix.join(&part(0, format));
    let written = match format {
        TableFormat::Parquet => write_parquet(rows, &file).await,
        _ => write_by(rows, format, &file).await,
    };
    written.with_context(|| format!("writing {} failed", file.name))?;
    Ok(file.name)
}

async fn write_parquet(rows: DataFrame, file: &Place) -> Result<()> {
    // Snappy, because every reader of the table has it, Spark and Athena included.
    let mut options = TableParquetOptions::default();
    options.global.compression = Some("snappy".to_owned());
    let single = DataFrameWriteOptions::new().with_single_file_output(true);
    let written = rows.write_parquet(file.url.as_str(), single, Some(options)).await;
    written.map(|_| ()).map_err(|e| anyhow::anyhow!(strip(&e)))
}

/// By way of a file of this machine: most formats end with what says where everything is.
async fn write_by(rows: DataFrame, format: TableFormat, file: &Place) -> Result<()> {
    let (schema, spooled) = (rows.schema().inner().clone(), tempfile::tempfile()?);
    let mut writer = formats::writer(format, schema, spooled.try_clone()?)?;
    let mut rows = rows.execute_stream().await.map_err(|e| anyhow::anyhow!(strip(&e)))?;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|e| anyhow::anyhow!(strip(&e)))?;
        writer = on_own_thread(move || {
            writer.write(&batch)?;
            Ok(writer)
        })
        .await?;
    }
    on_own_thread(move || writer.finish()).await?;
    let mut spooled = tokio::fs::File::from_std(spooled);
    tokio::io::AsyncSeekExt::rewind(&mut spooled).await?;
    let mut out = BufWriter::new(file.store.clone(), file.path.clone());
    tokio::io::copy(&mut spooled, &mut out).await?;
    Ok(out.shutdown().await?)
}
