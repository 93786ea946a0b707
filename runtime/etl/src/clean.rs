//! The cleaning job: judge every record, refuse what must not pass, write what is clean.
//!
//! The output prefix is the job's own: the job writes one file there, and deletes what the report
//! of the run before names and this run does not write again. Anything else that lies there, or
//! places that overlap, is an error before anything is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::config::TableParquetOptions;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use steppe_store::key;
use steppe_store::table::{below, is_hidden};
use steppe_wire::etl::header::ROW_COLUMN;
use steppe_wire::etl::{
    ETL_PLAN_SCHEMA_VERSION, EtlPlan, EtlReport, InputObject, RejectedNewest, Wide,
};
use steppe_wire::text::shown;

use crate::csv_source::CsvSource;
use crate::shape;
use crate::spill::{Order, keep};
use crate::storage::{Place, Realm};

/// Memory that sorts, joins and aggregates may use before they spill.
pub const MEMORY_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Offending records that an error shows.
const SHOWN_MAX: usize = 10;
/// The one file of a clean table.
const PART_FILE: &str = "part-00000.parquet";
/// The one file of rejected records.
const REJECTS_FILE: &str = "part-00000.csv";

/// Where a job reads and writes.
#[derive(Debug)]
pub struct Places {
    /// What all of them are.
    pub realm: Realm,
    /// The ETL plan.
    pub plan: Place,
    /// The CSV.
    pub input: Place,
    /// Prefix of the clean table.
    pub output: Place,
    /// Prefix of the rejected records.
    pub rejects: Place,
    /// The report.
    pub report: Place,
}

impl Places {
    /// What is written must not lie in anything else that the job reads or writes.
    fn refuse_overlaps(&self) -> Result<()> {
        let named = [
            ("output", &self.output),
            ("rejects", &self.rejects),
            ("report", &self.report),
            ("input", &self.input),
            ("plan", &self.plan),
        ];
        let written = 3;
        for (index, (one, place)) in named.iter().enumerate().take(written) {
            let others = &named[index + 1..];
            if let Some((other, second)) = others.iter().find(|(_, o)| place.overlaps(o)) {
                bail!(
                    "the {one} {} and the {other} {} overlap\nhint: give each a prefix of its own",
                    place.name,
                    second.name
                );
            }
        }
        Ok(())
    }
}

/// Runs the job's plan. Nothing is written when a fatal rule is broken or no row is left.
pub async fn clean(places: &Places) -> Result<EtlReport> {
    places.refuse_overlaps()?;
    let plan = read_plan(&places.plan).await?;
    let former = former_report(&plan, &places.report).await?;
    refuse_foreign(&former, "output", &places.output, PART_FILE).await?;
    refuse_foreign(&former, "rejects", &places.rejects, REJECTS_FILE).await?;
    run(&plan, places, &former).await
}

async fn read_plan(place: &Place) -> Result<EtlPlan> {
    let bytes = place
        .store
        .get(&place.path)
        .await
        .with_context(|| format!("cannot read the plan at {}", place.name))?
        .bytes()
        .await?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not an ETL plan", place.name))
}

/// The report of the run before; its `objects` are all that this run may delete.
async fn former_report(plan: &EtlPlan, place: &Place) -> Result<Vec<String>> {
    let bytes = match place.store.get(&place.path).await {
        Ok(object) => object.bytes().await?,
        Err(object_store::Error::NotFound { .. }) => return Ok(vec![]),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the report {}", place.name));
        }
    };
    let report: EtlReport = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is there and is no report of a cleaning job", place.name))?;
    if report.pipeline != plan.pipeline {
        bail!(
            "{} is the report of the pipeline `{}`, not of `{}`\n\
             hint: two pipelines need two places",
            place.name,
            report.pipeline,
            plan.pipeline
        );
    }
    Ok(report.objects)
}

/// Readers take every file below a prefix, so one that no run wrote would be read with them, and
/// deleting it is nobody's right.
async fn refuse_foreign(
    former: &[String],
    what: &str,
    place: &Place,
    own_file: &str,
) -> Result<()> {
    let mut objects = place.store.list(Some(&place.path));
    while let Some(entry) = objects.next().await {
        let key = key(entry).with_context(|| format!("listing {} failed", place.name))?;
        let below = below(&key, &place.path);
        let name = format!("{}{below}", place.name);
        // The place itself is a mark of a folder, which the console makes.
        let is_own = below.is_empty() || below == own_file || former.contains(&name);
        if !is_own && !is_hidden(below) {
            let name = shown(&name);
            bail!(
                "{name} was not written by this job, and would be read as part of its {what}\n\
                 hint: choose an empty prefix as the {what}, or move that object away"
            );
        }
    }
    Ok(())
}

async fn run(plan: &EtlPlan, places: &Places, former: &[String]) -> Result<EtlReport> {
    if plan.schema_version != ETL_PLAN_SCHEMA_VERSION {
        bail!(
            "the ETL plan has schema version {}, this program runs {ETL_PLAN_SCHEMA_VERSION}",
            plan.schema_version
        );
    }
    let input = places.input.store.head(&places.input.path).await;
    let input = input.with_context(|| format!("cannot read {}", places.input.name))?;
    let source = CsvSource::open(places.input.clone(), plan).await?;
    let context = session(places.realm)?;
    [&places.input, &places.output, &places.rejects].iter().for_each(|p| p.register(&context));
    register(&context, &source, plan).await?;

    let mut report = judge(&context, &source, plan, places).await?;
    refuse_fatal(&context, plan, &source, places, &report).await?;
    if report.rejected_rows > 0 {
        add_rejected_newest(&context, plan, &mut report).await?;
    }
    if report.clean_rows == 0 {
        bail!(
            "{}: no record is left after cleaning ({} in the file)",
            places.input.name,
            report.raw_rows
        );
    }
    report.input =
        Some(InputObject { bytes: input.size, modified: input.last_modified.timestamp() });
    report.objects = write(&context, plan, places, &report).await?;
    delete_former(former, &report.objects, places).await?;
    let bytes = serde_json::to_vec_pretty(&report)?;
    places
        .report
        .store
        .put(&places.report.path, bytes.into())
        .await
        .context("writing the report failed")?;
    Ok(report)
}

/// The views `file` and `raw`.
async fn register(context: &SessionContext, source: &CsvSource, plan: &EtlPlan) -> Result<()> {
    let partition: Arc<dyn PartitionStream> = Arc::new(source.clone());
    let table = StreamingTable::try_new(partition.schema().clone(), vec![partition])?;
    context.register_table("file", Arc::new(table))?;
    let mut raw = context.table("file").await?;
    for form in &plan.forms {
        let plain = raw.parse_sql_expr(&form.sql)?;
        raw = raw.with_column(&form.column, plain)?;
    }
    context.register_table("raw", raw.into_view())?;
    Ok(())
}

fn session(realm: Realm) -> Result<SessionContext> {
    // Fair: every sort gets its share and spills, instead of the first one taking all.
    let pool = Arc::new(FairSpillPool::new(MEMORY_BYTES_MAX));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    realm.confine(&runtime)?;
    Ok(SessionContext::new_with_config_rt(SessionConfig::new(), runtime))
}

async fn sql(context: &SessionContext, what: &str, statement: &str) -> Result<DataFrame> {
    // A plan only asks; it never makes tables or copies files.
    let reading_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    context
        .sql_with_options(statement, reading_only)
        .await
        .map_err(|e| anyhow::anyhow!("{what} is not valid: {}", strip(&e)))
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

/// Makes `typed` and `judged`, and counts: records in all, and rejected ones by rule.
async fn judge(
    context: &SessionContext,
    source: &CsvSource,
    plan: &EtlPlan,
    places: &Places,
) -> Result<EtlReport> {
    let frame = sql(context, "the cleaning SQL", &plan.cleaning_sql).await?;
    let read = keep(context, "typed", frame, Order::Any).await;
    read.map_err(|e| anyhow::anyhow!("{}: {}", places.input.name, strip(&e)))?;
    let Some(raw_rows) = source.rows() else {
        bail!("the cleaning SQL does not read every record of `raw`");
    };
    if raw_rows == 0 {
        bail!("{}: the file has a header but no records", places.input.name);
    }
    let frame = sql(context, "`when` of one of the manifest's rules", &plan.judged_sql).await?;
    let judged = keep(context, "judged", frame, Order::Kept).await;
    judged.map_err(|e| anyhow::anyhow!(strip(&e)))?;
    let mut rejected_by_rule = BTreeMap::new();
    let mut clean_rows = 0;
    let counts = "SELECT _rule, count(*) FROM judged GROUP BY _rule";
    for batch in collect(context, "the count by rules", counts).await? {
        let counts = batch.column(1).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let count = counts.value(row) as u64;
            if batch.column(0).is_null(row) {
                clean_rows += count;
            } else {
                let rule = array_value_to_string(batch.column(0), row)?;
                rejected_by_rule.insert(rule, count);
            }
        }
    }
    let report = EtlReport {
        pipeline: plan.pipeline.clone(),
        engine: format!("datafusion {}", datafusion::DATAFUSION_VERSION),
        raw_rows,
        clean_rows,
        rejected_rows: rejected_by_rule.values().sum(),
        rejected_by_rule,
        input: None,
        rejected_newest_count: 0,
        rejected_newest: vec![],
        objects: vec![],
    };
    if !report.adds_up() {
        bail!(
            "the manifest's SQL must give one row per record and keep `{ROW_COLUMN}`: \
             {raw_rows} records became {clean_rows} clean and {} rejected rows",
            report.rejected_rows
        );
    }
    Ok(report)
}

/// What is forecast of such a series begins earlier than its data, so people must know.
async fn add_rejected_newest(
    context: &SessionContext,
    plan: &EtlPlan,
    report: &mut EtlReport,
) -> Result<()> {
    let Some(statement) = &plan.newest_sql else { return Ok(()) };
    for batch in collect(context, "the question for rejected newest records", statement).await? {
        let column = |name: &str| {
            batch.column_by_name(name).with_context(|| format!("the result has no `{name}`"))
        };
        for row in 0..batch.num_rows() {
            let text = |name| Ok::<_, anyhow::Error>(array_value_to_string(column(name)?, row)?);
            report.rejected_newest_count = text("_all")?.parse()?;
            report.rejected_newest.push(RejectedNewest {
                series: text("_series")?,
                period: text("_period")?,
                records: text("_records")?.parse()?,
                rule: text("_rule")?,
            });
        }
    }
    Ok(())
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
    let (mut rows, mut details, mut hint) = (Vec::new(), Vec::new(), None);
    for batch in collect(context, "the manifest's rules", &statement).await? {
        for row in 0..batch.num_rows() {
            rows.push(
                batch
                    .column_by_name(ROW_COLUMN)
                    .context("the rejects have no `_row`")?
                    .as_primitive::<Int64Type>()
                    .value(row),
            );
            let detail = Detail::of(&batch, row, plan)?;
            hint = hint.or_else(|| shape::value_hint(&detail.column, detail.found.as_deref()?));
            details.push(detail);
        }
    }
    let origins = source.origins_of(rows).await?.into_iter();
    let mut message: Vec<String> = origins
        .zip(details)
        .map(|((line, cell), detail)| {
            format!("{}:{line}: {}", places.input.name, detail.told(cell.as_deref(), plan))
        })
        .collect();
    if broken as usize > message.len() {
        message.push(format!("and {} more", broken as usize - message.len()));
    }
    let hint = hint.unwrap_or_else(|| {
        "correct the file, or let the rule reject such records with `action = \"reject\"` in the \
         manifest"
            .to_owned()
    });
    bail!("{}\nhint: {hint}", message.join("\n"))
}

/// What is told of a record that breaks a rule.
struct Detail {
    /// The column that the rule looks at; empty when the plan does not say.
    column: String,
    /// What stands there.
    found: Option<String>,
    reason: String,
}

impl Detail {
    fn of(batch: &RecordBatch, row: usize, plan: &EtlPlan) -> Result<Self> {
        let text = |name: &str| -> Result<Option<String>> {
            let Some(column) = batch.column_by_name(name) else { return Ok(None) };
            Ok((!column.is_null(row)).then(|| array_value_to_string(column, row)).transpose()?)
        };
        let (rule, reason) = (text("_rule")?, text("_reason")?.unwrap_or_default());
        let looked = plan.rule_columns.iter().find(|(name, _)| Some(name) == rule.as_ref());
        let column = looked.map(|(_, column)| column.clone()).unwrap_or_default();
        Ok(Self { found: text(&column)?, column, reason })
    }

    /// In words; `cell` is the column of the file, where columns are periods.
    fn told(&self, cell: Option<&str>, plan: &EtlPlan) -> String {
        if self.column.is_empty() {
            return self.reason.clone();
        }
        let made = |wide: &Wide| [&wide.names, &wide.values].contains(&&self.column);
        let column =
            cell.filter(|_| plan.wide.as_ref().is_some_and(made)).unwrap_or(self.column.as_str());
        let found =
            self.found.as_ref().map_or_else(|| "no value".to_owned(), |value| format!("`{value}`"));
        format!("column `{column}`: {}; found {found}", self.reason)
    }
}

/// Writes table and rejects; returns the addresses of what it wrote.
async fn write(
    context: &SessionContext,
    plan: &EtlPlan,
    places: &Places,
    report: &EtlReport,
) -> Result<Vec<String>> {
    let single = || DataFrameWriteOptions::new().with_single_file_output(true);
    let mut written = Vec::new();
    if report.rejected_rows > 0 {
        let rejects_file = places.rejects.join(REJECTS_FILE);
        let frame = sql(context, "the manifest's rules", &plan.rejects_sql).await?;
        frame
            .write_csv(rejects_file.url.as_str(), single(), None)
            .await
            .context("writing the rejected records failed")?;
        written.push(rejects_file.name);
    }
    // Snappy, because every reader of the table has it, Spark and Athena included.
    let mut options = TableParquetOptions::default();
    options.global.compression = Some("snappy".to_owned());
    let part = places.output.join(PART_FILE);
    let frame = sql(context, "the manifest's SQL", &plan.clean_sql).await?;
    frame
        .write_parquet(part.url.as_str(), single(), Some(options))
        .await
        .context("writing the clean table failed")?;
    written.push(part.name);
    Ok(written)
}

/// Removes what the run before wrote and this one did not, and only below the job's own prefixes.
async fn delete_former(former: &[String], written: &[String], places: &Places) -> Result<()> {
    for address in former.iter().filter(|a| !written.contains(a)) {
        let file = places.realm.file(address)?;
        let own = [&places.output, &places.rejects];
        let Some(prefix) = own.into_iter().find(|p| p.contains(&file)) else { continue };
        match prefix.store.delete(&file.path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("deleting {address} failed"));
            }
        }
    }
    Ok(())
}
