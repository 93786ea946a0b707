//! The cleaning job: judge every record, refuse what must not pass, write what is clean.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::config::TableParquetOptions;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use steppe_wire::etl::{ETL_PLAN_SCHEMA_VERSION, EtlPlan, EtlReport};

use crate::csv_source::{CsvSource, ROW_COLUMN};
use crate::storage::Place;

/// Memory that sorts and aggregates may use before they spill.
const MEMORY_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Offending records that an error shows.
const SHOWN_MAX: usize = 10;
/// The one file of a clean table.
const PART_FILE: &str = "part-00000.parquet";

/// Where a job reads and writes.
#[derive(Debug)]
pub struct Places {
    /// The CSV.
    pub input: Place,
    /// Prefix of the clean table.
    pub output: Place,
    /// Prefix of the rejected records.
    pub rejects: Place,
    /// The report.
    pub report: Place,
}

/// Runs `plan`. Nothing is written when a fatal rule is broken or no row is left.
pub async fn clean(plan: &EtlPlan, places: &Places) -> Result<EtlReport> {
    if plan.schema_version != ETL_PLAN_SCHEMA_VERSION {
        bail!(
            "the ETL plan has schema version {}, this program runs {ETL_PLAN_SCHEMA_VERSION}",
            plan.schema_version
        );
    }
    let source = CsvSource::open(places.input.clone(), plan.delimiter, &plan.columns).await?;
    let context = session()?;
    [&places.input, &places.output, &places.rejects].iter().for_each(|p| p.register(&context));
    let table = StreamingTable::try_new(
        datafusion::physical_plan::streaming::PartitionStream::schema(&source).clone(),
        vec![Arc::new(source.clone())],
    )?;
    context.register_table("raw", Arc::new(table))?;

    let report = judge(&context, plan, places).await?;
    refuse_fatal(&context, plan, &source, places, &report).await?;
    if report.clean_rows == 0 {
        bail!(
            "{}: no record is left after cleaning ({} in the file)",
            places.input.name,
            report.raw_rows
        );
    }
    write(&context, plan, places, &report).await?;
    let bytes = serde_json::to_vec_pretty(&report)?;
    places
        .report
        .store
        .put(&places.report.path, bytes.into())
        .await
        .context("writing the report failed")?;
    Ok(report)
}

fn session() -> Result<SessionContext> {
    // Fair: every sort gets its share and spills, instead of the first one taking all.
    let pool = Arc::new(FairSpillPool::new(MEMORY_BYTES_MAX));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    Ok(SessionContext::new_with_config_rt(SessionConfig::new(), runtime))
}

async fn sql(context: &SessionContext, what: &str, statement: &str) -> Result<DataFrame> {
    context.sql(statement).await.with_context(|| format!("{what} is not valid:\n{statement}"))
}

async fn collect(
    context: &SessionContext,
    what: &str,
    statement: &str,
) -> Result<Vec<RecordBatch>> {
    let frame = sql(context, what, statement).await?;
    frame.collect().await.map_err(|e| anyhow::anyhow!(strip(&e)))
}

/// DataFusion wraps our own errors in its words; people should see only ours.
fn strip(error: &datafusion::error::DataFusionError) -> String {
    error.find_root().to_string().trim_start_matches("External error: ").to_owned()
}

/// One pass that counts: records in all, and rejected ones by rule.
async fn judge(context: &SessionContext, plan: &EtlPlan, places: &Places) -> Result<EtlReport> {
    let batches = collect(context, "the count of the input", "SELECT count(*) FROM raw")
        .await
        .map_err(|e| anyhow::anyhow!("{}: {e}", places.input.name))?;
    let raw_rows = batches
        .iter()
        .find(|b| b.num_rows() > 0)
        .map_or(0, |b| b.column(0).as_primitive::<Int64Type>().value(0)) as u64;
    if raw_rows == 0 {
        bail!("{}: the file has a header but no records", places.input.name);
    }
    let statement = format!("SELECT _rule, count(*) FROM ({}) GROUP BY _rule", plan.rejects_sql);
    let mut rejected_by_rule = BTreeMap::new();
    for batch in collect(context, "the manifest's SQL or one of its rules", &statement).await? {
        for row in 0..batch.num_rows() {
            let rule = array_value_to_string(batch.column(0), row)?;
            rejected_by_rule
                .insert(rule, batch.column(1).as_primitive::<Int64Type>().value(row) as u64);
        }
    }
    let rejected_rows = rejected_by_rule.values().sum();
    let clean = collect(
        context,
        "the manifest's SQL",
        &format!("SELECT count(*) FROM ({})", plan.clean_sql),
    )
    .await?;
    let clean_rows = clean
        .iter()
        .find(|b| b.num_rows() > 0)
        .map_or(0, |b| b.column(0).as_primitive::<Int64Type>().value(0))
        as u64;
    let engine = format!("datafusion {}", datafusion::DATAFUSION_VERSION);
    let report = EtlReport {
        pipeline: plan.pipeline.clone(),
        engine,
        raw_rows,
        clean_rows,
        rejected_rows,
        rejected_by_rule,
    };
    if !report.adds_up() {
        bail!(
            "the manifest's SQL must give one row per record and keep `{ROW_COLUMN}`: {raw_rows} records became {clean_rows} clean and {rejected_rows} rejected rows"
        );
    }
    Ok(report)
}

async fn refuse_fatal(
    context: &SessionContext,
    plan: &EtlPlan,
    source: &CsvSource,
    places: &Places,
    report: &EtlReport,
) -> Result<()> {
    let broken: u64 = plan.fatal_rules.iter().filter_map(|r| report.rejected_by_rule.get(r)).sum();
    if broken == 0 {
        return Ok(());
    }
    let names: Vec<String> =
        plan.fatal_rules.iter().map(|r| format!("'{}'", r.replace('\'', "''"))).collect();
    let statement = format!(
        "SELECT * FROM ({}) WHERE _rule IN ({}) ORDER BY {ROW_COLUMN} LIMIT {SHOWN_MAX}",
        plan.rejects_sql,
        names.join(", ")
    );
    let (mut rows, mut details) = (Vec::new(), Vec::new());
    for batch in collect(context, "the manifest's rules", &statement).await? {
        for row in 0..batch.num_rows() {
            rows.push(
                batch
                    .column_by_name(ROW_COLUMN)
                    .context("the rejects have no `_row`")?
                    .as_primitive::<Int64Type>()
                    .value(row),
            );
            details.push(detail(&batch, row, plan)?);
        }
    }
    let lines = source.lines_of(rows).await?;
    let mut message: Vec<String> = lines
        .iter()
        .zip(details)
        .map(|(line, detail)| format!("{}:{line}: {detail}", places.input.name))
        .collect();
    if broken as usize > message.len() {
        message.push(format!("and {} more", broken as usize - message.len()));
    }
    bail!(
        "{}\nhint: correct the file, or let the rule reject such records with `action = \"reject\"` in the manifest",
        message.join("\n")
    )
}

fn detail(batch: &RecordBatch, row: usize, plan: &EtlPlan) -> Result<String> {
    let text = |name: &str| -> Result<Option<String>> {
        let Some(column) = batch.column_by_name(name) else { return Ok(None) };
        Ok((!column.is_null(row)).then(|| array_value_to_string(column, row)).transpose()?)
    };
    let (rule, reason) = (text("_rule")?.unwrap_or_default(), text("_reason")?.unwrap_or_default());
    let Some((_, column)) = plan.rule_columns.iter().find(|(name, _)| *name == rule) else {
        return Ok(reason);
    };
    let found = text(column)?.map_or_else(|| "no value".to_owned(), |v| format!("`{v}`"));
    Ok(format!("column `{column}`: {reason}; found {found}"))
}

async fn write(
    context: &SessionContext,
    plan: &EtlPlan,
    places: &Places,
    report: &EtlReport,
) -> Result<()> {
    let single = || DataFrameWriteOptions::new().with_single_file_output(true);
    let rejects_file = places.rejects.join("part-00000.csv")?;
    if report.rejected_rows > 0 {
        let frame = sql(context, "the manifest's rules", &plan.rejects_sql).await?;
        frame
            .write_csv(rejects_file.url.as_str(), single(), None)
            .await
            .context("writing the rejected records failed")?;
    }
    // Snappy, because every reader of the table has it, Spark and Athena included.
    let mut options = TableParquetOptions::default();
    options.global.compression = Some("snappy".to_owned());
    let part = places.output.join(PART_FILE)?;
    let frame = sql(context, "the manifest's SQL", &plan.clean_sql).await?;
    frame
        .write_parquet(part.url.as_str(), single(), Some(options))
        .await
        .context("writing the clean table failed")?;
    delete_others(&places.output, &[&part]).await?;
    let keep: &[&Place] = if report.rejected_rows > 0 { &[&rejects_file] } else { &[] };
    delete_others(&places.rejects, keep).await
}

/// Removes what an earlier run, perhaps of another engine, left under `prefix`.
async fn delete_others(prefix: &Place, keep: &[&Place]) -> Result<()> {
    let objects: Vec<_> = prefix
        .store
        .list(Some(&prefix.path))
        .try_collect()
        .await
        .with_context(|| format!("listing {} failed", prefix.name))?;
    for object in objects.iter().filter(|o| keep.iter().all(|k| k.path != o.location)) {
        prefix
            .store
            .delete(&object.location)
            .await
            .with_context(|| format!("deleting `{}` failed", object.location))?;
    }
    Ok(())
}
