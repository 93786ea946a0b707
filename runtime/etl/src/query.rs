//! SQL over catalogued objects in Athena's dialect, and its statements of tables and databases.
//!
//! Statements are Trino's as far as the engine has the same meaning for them. What only the engine
//! has is refused as Athena refuses it; what only Athena has is refused by name. What a statement
//! changes of the catalogue it asks of the cloud: the engine itself writes objects only.

mod catalogue;
mod conversation;
#[cfg(test)]
mod corpus;
mod create_view;
mod csv_files;
mod described;
mod dialect;
mod explain;
mod failure;
mod files;
mod form;
mod functions;
mod hive;
mod json_files;
mod lines;
mod parser;
mod partitioned;
mod projection;
mod scanned;
mod semantics;
mod sequence_files;
mod statement;
mod subqueries;
mod tables;
mod unnest;
mod views;
mod write;

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
use serde_json::json;
use steppe_wire::query::{Query, QueryFailure, QueryResult, Said};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::Receiver;

use crate::clean::MEMORY_BYTES_MAX;
use crate::storage::Realm;
use conversation::Conversation;
use failure::{Failed, failed};
use lines::Lines;
use scanned::Scan;
use statement::{Parsed, Select, database_of};
use views::Sources;

pub(crate) use tables::arrow_type;

/// The catalogue's name in Athena.
const CATALOG: &str = "awsdatacatalog";
/// The database of names without one, when the request names none.
const DEFAULT_DATABASE: &str = "default";

/// Answers the query on the first line; what comes then are answers to what the engine asks.
pub async fn answer(lines: Receiver<String>) -> Result<Said> {
    let mut talk = Conversation::new(lines);
    let query: Query = talk.hear().await.context("there is no query on standard input")?;
    Ok(match run(&query, &mut talk).await {
        Ok(result) => Said::Done(result),
        Err(failure) => Said::Failed(failure),
    })
}

async fn run(query: &Query, talk: &mut Conversation) -> Result<QueryResult, QueryFailure> {
    let begun = Instant::now();
    let parsed = Parsed::read(query)?;
    let catalogue = talk.catalogue(parsed.needs()).await?;
    let lines = match parsed {
        Parsed::Select(select) => {
            let sources = Sources::gather(talk, catalogue).await?;
            return self::select(query, &select, &sources, begun).await;
        }
        Parsed::Write(write) => {
            let sources = Sources::gather(talk, catalogue).await?;
            return write::run(query, &write, talk, &sources, begun).await;
        }
        Parsed::Listing(listing) => listing.answer(&catalogue)?,
        Parsed::Explain(explain) => {
            let sources = Sources::gather(talk, catalogue).await?;
            let frame = planned(query, &explain.select, &sources).await?;
            let plan = frame.into_optimized_plan().map_err(Failed::execution)?;
            explain.lines(&plan.display_indent().to_string())
        }
        Parsed::CreateView(view) => {
            let sources = Sources::gather(talk, catalogue).await?;
            let frame = planned(query, &view.select, &sources).await?;
            let fields = frame.schema().fields();
            let names = view.select.column_names(fields.iter().map(|field| field.name().clone()));
            let kinds = fields.iter().map(|field| field.data_type().clone());
            view.store(talk, &names.into_iter().zip(kinds).collect::<Vec<_>>()).await?;
            Lines::default()
        }
        Parsed::Prepare(name, sql) => {
            let input = json!({ "StatementName": name, "QueryStatement": sql });
            let called = talk.athena("CreatePreparedStatement", input).await?;
            called.map_err(|error| failed(error.message))?;
            Lines::default()
        }
        Parsed::Hive(statement) => hive::apply(talk, statement).await?,
    };
    lines.write(&query.output, &query.id).await?;
    Ok(QueryResult {
        rows: lines.rows.len() as u64,
        columns: lines.columns,
        update_count: None,
        manifest: None,
        scanned_bytes: 0,
        planning_ms: 0,
        engine_ms: millis(begun),
    })
}

/// A statement that is only planned.
async fn planned(
    query: &Query,
    select: &Select,
    sources: &Sources,
) -> Result<DataFrame, QueryFailure> {
    let context = session(query, select, sources, &Scan::new(None)).await?;
    Ok(plan(&context, select, &database_of(query)).await?)
}

fn millis(begun: Instant) -> u64 {
    begun.elapsed().as_millis() as u64
}

async fn select(
    query: &Query,
    select: &Select,
    sources: &Sources,
    begun: Instant,
) -> Result<QueryResult, QueryFailure> {
    let scan = Scan::new(query.scanned_bytes_max);
    let failed = |error: Failed| if scan.exceeded() { scan.failure() } else { error.into() };
    let context = session(query, select, sources, &scan).await.map_err(failed)?;
    let frame = plan(&context, select, &database_of(query)).await.map_err(failed)?;
    let names = select.column_names(frame.schema().fields().iter().map(|f| f.name().clone()));
    let columns: Vec<_> = names
        .into_iter()
        .zip(frame.schema().fields())
        .map(|(name, field)| form::field_column(name, field))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let planning_ms = millis(begun);
    let header = columns.iter().map(|c| Some(c.name.clone()));
    let rows = write(query, frame, form::csv_line(header)).await.map_err(failed)?;
    // A limit is a limit also for the last bytes.
    if scan.exceeded() {
        return Err(scan.failure());
    }
    lines::describe(&query.output, &query.id, None, &columns).await?;
    Ok(QueryResult {
        columns,
        rows,
        update_count: None,
        manifest: None,
        scanned_bytes: scan.bytes(),
        planning_ms,
        engine_ms: millis(begun),
    })
}

/// Plans a statement; `database` is that of names without one.
async fn plan(
    context: &SessionContext,
    select: &Select,
    database: &str,
) -> Result<DataFrame, Failed> {
    let located = |e| Failed::plan(e, select);
    let state = context.state();
    let config = state.config().clone().with_default_catalog_and_schema(CATALOG, database);
    let state = SessionStateBuilder::new_from_existing(state).with_config(config).build();
    let plan = state.statement_to_plan(select.statement()).await.map_err(located)?;
    let reading_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reading_only.verify_plan(&plan).map_err(located)?;
    let plan = unnest::beside_their_tables(plan).map_err(located)?;
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

async fn session(
    query: &Query,
    select: &Select,
    sources: &Sources,
    scan: &Scan,
) -> Result<SessionContext, Failed> {
    let default_schema = database_of(query);
    let mut config = SessionConfig::new()
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, &default_schema);
    // Athena reads everything below a location.
    config.options_mut().execution.listing_table_ignore_subdirectory = false;
    // `1.5` is a decimal.
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    // NULL comes last, in both directions.
    config.options_mut().sql_parser.default_null_ordering = "nulls_last".to_owned();
    let pool = Arc::new(FairSpillPool::new(MEMORY_BYTES_MAX));
    let runtime =
        RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().map_err(Failed::execution)?;
    Realm::S3.confine(&runtime).map_err(Failed::other)?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    functions::register(&context).map_err(Failed::execution)?;
    let databases = Arc::new(MemoryCatalogProvider::new());
    context.register_catalog(CATALOG, databases.clone());
    tables::register(&context, &databases, select, sources, scan)?;
    let listed = catalogue::register_information_schema(&databases, &sources.catalogue);
    listed.map_err(Failed::execution)?;
    sources.register(&context, &databases, select.tables()).await?;
    Ok(context)
}
