//! SQL over catalogued objects in Athena's dialect: reading statements only, results in its forms.
//!
//! Statements are Trino's as far as the engine has the same meaning for them. What only the engine
//! has is refused as Athena refuses it; what only Athena has is refused by name.

mod catalogue;
mod csv_files;
mod described;
mod dialect;
mod failure;
mod files;
mod form;
mod functions;
mod scanned;
mod semantics;
mod sequence_files;
mod statement;
mod tables;

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use datafusion::catalog::MemoryCatalogProvider;
use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use object_store::buffered::BufWriter;
use steppe_wire::query::{Catalogue, Query, QueryFailure, QueryResult, Said};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::Receiver;

use crate::clean::MEMORY_BYTES_MAX;
use crate::storage::Realm;
use failure::Failed;
use scanned::Scan;
use statement::{Parsed, Select};

/// The catalogue's name in Athena.
const CATALOG: &str = "awsdatacatalog";
/// The database of names without one, when the request names none.
const DEFAULT_DATABASE: &str = "default";

/// Answers the query on the first line; the second is the catalogue.
pub async fn answer(mut lines: Receiver<String>) -> Result<Said> {
    let line = lines.recv().await.context("there is no query on standard input")?;
    let query: Query = serde_json::from_str(&line).context("standard input is not a query")?;
    Ok(match run(&query, &mut lines).await? {
        Ok(result) => Said::Done(result),
        Err(failure) => Said::Failed(failure),
    })
}

#[expect(clippy::disallowed_macros, reason = "whoever started the engine reads its lines")]
async fn run(
    query: &Query,
    lines: &mut Receiver<String>,
) -> Result<Result<QueryResult, QueryFailure>> {
    let begun = Instant::now();
    let parsed = match Parsed::read(query) {
        Ok(parsed) => parsed,
        Err(failure) => return Ok(Err(failure)),
    };
    println!("{}", serde_json::to_string(&Said::Needs(parsed.needs()))?);
    let line = lines.recv().await.context("there is no catalogue on standard input")?;
    let catalogue: Catalogue = serde_json::from_str(&line).context("that is not a catalogue")?;
    let done = match parsed {
        Parsed::Select(select) => self::select(query, *select, &catalogue, begun).await,
        Parsed::Listing(listing) => {
            let rows = match listing.rows(&catalogue) {
                Ok(rows) => rows,
                Err(failure) => return Ok(Err(failure)),
            };
            let place = Realm::S3.file(&query.output)?;
            let count = rows.len() as u64;
            place.store.put_opts(&place.path, rows.join("\n").into(), Default::default()).await?;
            Ok(QueryResult {
                columns: listing.columns(),
                rows: count,
                scanned_bytes: 0,
                planning_ms: 0,
                engine_ms: millis(begun),
            })
        }
    };
    Ok(done)
}

fn millis(begun: Instant) -> u64 {
    begun.elapsed().as_millis() as u64
}

async fn select(
    query: &Query,
    select: Select,
    catalogue: &Catalogue,
    begun: Instant,
) -> Result<QueryResult, QueryFailure> {
    let scan = Scan::new(query.scanned_bytes_max);
    let failed = |error: Failed| if scan.exceeded() { scan.failure() } else { error.into() };
    let context = session(query, &select, catalogue, &scan).map_err(failed)?;
    let frame = plan(&context, &select).await.map_err(failed)?;
    let names = select.column_names(frame.schema().fields().iter().map(|f| f.name().clone()));
    let columns: Vec<_> = names
        .into_iter()
        .zip(frame.schema().fields())
        .map(|(name, field)| form::column(name, field.data_type()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let planning_ms = millis(begun);
    let header = columns.iter().map(|c| Some(c.name.clone()));
    let rows = write(query, frame, form::csv_line(header)).await.map_err(failed)?;
    // A limit is a limit also for the last bytes.
    if scan.exceeded() {
        return Err(scan.failure());
    }
    Ok(QueryResult {
        columns,
        rows,
        scanned_bytes: scan.bytes(),
        planning_ms,
        engine_ms: millis(begun),
    })
}

async fn plan(context: &SessionContext, select: &Select) -> Result<DataFrame, Failed> {
    let located = |e| Failed::plan(e, select);
    let state = context.state();
    let plan = state.statement_to_plan(select.statement()).await.map_err(located)?;
    let reading_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reading_only.verify_plan(&plan).map_err(located)?;
    let plan = semantics::as_trino(plan).map_err(located)?;
    context.execute_logical_plan(plan).await.map_err(located)
}

/// Writes the rows as CSV; returns how many.
async fn write(query: &Query, frame: DataFrame, header: String) -> Result<u64, Failed> {
    let place = Realm::S3.file(&query.output).map_err(Failed::other)?;
    let mut writer = BufWriter::new(place.store.clone(), place.path.clone());
    writer.write_all(header.as_bytes()).await.map_err(Failed::writing)?;
    let mut stream = stream(frame).await.map_err(Failed::execution)?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(Failed::execution)?;
        rows += batch.num_rows() as u64;
        let text = form::csv_rows(&batch)?;
        writer.write_all(text.as_bytes()).await.map_err(Failed::writing)?;
    }
    writer.shutdown().await.map_err(Failed::writing)?;
    Ok(rows)
}

/// The rows of a plan. Where the library finds no way to share the work that it believes itself, as
/// with `ORDER BY ABS(…)` over a window, it is not shared: that needs no merging of sorted parts.
async fn stream(frame: DataFrame) -> datafusion::error::Result<SendableRecordBatchStream> {
    let context = frame.task_ctx();
    let (state, plan) = frame.clone().into_parts();
    let physical = match frame.create_physical_plan().await {
        Ok(physical) => physical,
        Err(error) => {
            let config = state.config().clone().with_target_partitions(1);
            let state = SessionStateBuilder::new_from_existing(state).with_config(config).build();
            state.create_physical_plan(&plan).await.map_err(|_| error)?
        }
    };
    execute_stream(physical, Arc::new(context))
}

fn session(
    query: &Query,
    select: &Select,
    catalogue: &Catalogue,
    scan: &Scan,
) -> Result<SessionContext, Failed> {
    let default_schema = query.database.as_deref().unwrap_or(DEFAULT_DATABASE).to_lowercase();
    let mut config = SessionConfig::new()
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, &default_schema);
    // Athena reads everything below a location.
    config.options_mut().execution.listing_table_ignore_subdirectory = false;
    let pool = Arc::new(FairSpillPool::new(MEMORY_BYTES_MAX));
    let runtime =
        RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().map_err(Failed::execution)?;
    Realm::S3.confine(&runtime).map_err(Failed::other)?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    functions::register(&context);
    let databases = Arc::new(MemoryCatalogProvider::new());
    context.register_catalog(CATALOG, databases.clone());
    tables::register(&context, &databases, select, catalogue, scan)?;
    catalogue::register_information_schema(&databases, catalogue).map_err(Failed::execution)?;
    Ok(context)
}
