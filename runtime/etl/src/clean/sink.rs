//! Rows into the one file of a table.

use anyhow::{Context, Result};
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use object_store::buffered::BufWriter;
use steppe_wire::etl::TableFormat;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::own;
use super::places::part;
use crate::formats;
use crate::scan::on_own_thread;
use crate::storage::Place;

/// Batches that wait until they are written.
const WAITING_MAX: usize = 4;

/// Writes rows into the file of a table; returns its address.
pub(super) async fn write(rows: DataFrame, format: TableFormat, prefix: &Place) -> Result<String> {
    let file = prefix.join(&part(0, format));
    let written = spooled(rows, format).await;
    let written = match written {
        Ok(spooled) => upload(spooled, &file).await,
        Err(error) => Err(error),
    };
    written.with_context(|| format!("writing {} failed", file.name))?;
    Ok(file.name)
}

/// A file of this machine without a name: most formats end with what says where everything is, and
/// an object is there whole or not at all.
async fn spooled(rows: DataFrame, format: TableFormat) -> Result<std::fs::File> {
    let (schema, spooled) = (rows.schema().inner().clone(), tempfile::tempfile()?);
    let mut writer = formats::writer(format, schema, spooled.try_clone()?)?;
    let mut rows = rows.execute_stream().await.map_err(|e| own(&e))?;
    let (sender, mut batches) = tokio::sync::mpsc::channel(WAITING_MAX);
    let writing = on_own_thread(move || {
        while let Some(batch) = batches.blocking_recv() {
            writer.write(&batch)?;
        }
        writer.finish()
    });
    let reading = async move {
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|e| own(&e))?;
            // Nobody takes it when writing has failed, which is told by that.
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::try_join!(reading, writing)?;
    Ok(spooled)
}

async fn upload(spooled: std::fs::File, file: &Place) -> Result<()> {
    let mut spooled = tokio::fs::File::from_std(spooled);
    spooled.rewind().await?;
    let mut out = BufWriter::new(file.store.clone(), file.path.clone());
    tokio::io::copy(&mut spooled, &mut out).await?;
    Ok(out.shutdown().await?)
}
