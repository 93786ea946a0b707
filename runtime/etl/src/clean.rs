//! The cleaning job: judge every record of every input, refuse what must not pass, write what is
//! clean, and make the tables that follow from it.
//!
//! The output prefixes are the job's own: it writes files of its own names there, and deletes what
//! the report of the run before names and this run does not write again. Anything else that lies
//! there, or places that overlap, is an error before anything is written.

mod input;
mod places;
mod sink;
mod tables;
mod told;
mod zones;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion::sql::sqlparser::dialect::DatabricksDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_spark::SessionStateBuilderSpark;
use object_store::ObjectStoreExt;
use steppe_wire::etl::{ETL_PLAN_SCHEMA_VERSION, EtlPlan, EtlReport};
use steppe_wire::hint::{Hinted, hints_of};

use crate::distinct;
use crate::storage::{Place, Realm};
use places::Places;

/// Memory that sorts, joins and aggregates may use before they spill.
pub const MEMORY_BYTES_MAX: usize = 384 * 1024 * 1024;

/// Memory that is kept for putting together what a sort has spilled.
const MERGE_BYTES: usize = 32 * 1024 * 1024;

/// What messages call files, by their place.
pub type Called = BTreeMap<String, String>;

/// Runs the plan at `plan`. Nothing is written when a fatal rule is broken, no row is left, or a
/// table cannot be made.
pub async fn clean(realm: Realm, plan: &Place, called: &Called) -> Result<EtlReport> {
    let plan = read_plan(plan).await?;
    let places = Places::of(realm, &plan)?;
    let former = places.former(&plan.pipeline).await?;
    places.refuse_foreign(&former).await?;
    let context = session(realm)?;
    places.register(&context);

    let (mut inputs, mut tables) = (Vec::new(), Vec::new());
    for (input, own) in plan.inputs.iter().zip(&places.inputs) {
        inputs.push(input::judge(&context, input, own, called).await?);
    }
    for table in &plan.tables {
        tables.push(tables::make(&context, table).await?);
    }
    let mut objects = Vec::new();
    for (input, own) in inputs.iter().zip(&places.inputs) {
        objects.extend(input.write(own).await?);
    }
    for (table, own) in plan.tables.iter().zip(&places.tables) {
        let rows = context.table(&table.name).await?;
        objects.push(sink::write(rows, table.output.format, own).await?);
    }
    let report = EtlReport {
        pipeline: plan.pipeline.clone(),
        engine: format!("datafusion {}", datafusion::DATAFUSION_VERSION),
        inputs: inputs.into_iter().map(|judged| judged.report).collect(),
        tables,
        objects,
    };
    places.delete_former(&former, &report.objects).await?;
    let bytes = serde_json::to_vec_pretty(&report)?;
    let place = &places.report;
    place.store.put(&place.path, bytes.into()).await.context("writing the report failed")?;
    Ok(report)
}

async fn read_plan(place: &Place) -> Result<EtlPlan> {
    let bytes = place
        .store
        .get(&place.path)
        .await
        .with_context(|| format!("cannot read the plan at {}", place.name))?
        .bytes()
        .await?;
    let version: serde_json::Value = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not an ETL plan", place.name))?;
    if version["schema_version"] != ETL_PLAN_SCHEMA_VERSION {
        bail!(
            "the ETL plan has schema version {}, this program runs {ETL_PLAN_SCHEMA_VERSION}",
            version["schema_version"]
        );
    }
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not an ETL plan", place.name))
}

/// A session that means what Spark means, as far as statements of plans go.
fn session(realm: Realm) -> Result<SessionContext> {
    // Fair: every sort gets its share and spills, instead of the first one taking all.
    let pool = Arc::new(FairSpillPool::new(MEMORY_BYTES_MAX));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    realm.confine(&runtime)?;
    let config = SessionConfig::new()
        .with_sort_spill_reservation_bytes(MERGE_BYTES)
        .set_str("datafusion.sql_parser.dialect", "databricks")
        .set_str("datafusion.sql_parser.default_null_ordering", "nulls_min")
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_spark_features()
        .build();
    Ok(SessionContext::new_with_state(state))
}

/// From here on rows may be dealt out to all cores, where nothing asks for an order.
fn dealt_out(context: &SessionContext) {
    set_dealing(context, true);
}

/// From here on rows stay in the order in which they are kept.
fn in_order(context: &SessionContext) {
    set_dealing(context, false);
}

fn set_dealing(context: &SessionContext, dealt: bool) {
    let state = context.state_ref();
    let mut state = state.write();
    state.config_mut().options_mut().optimizer.enable_round_robin_repartition = dealt;
}

async fn sql(context: &SessionContext, what: &str, statement: &str) -> Result<DataFrame> {
    let wrong = |e: &dyn fmt::Display| anyhow::anyhow!("{what} is not valid: {e}");
    let parsed = Parser::parse_sql(&DatabricksDialect {}, statement).map_err(|e| wrong(&e))?;
    distinct::check(&parsed).map_err(|e| wrong(&e))?;
    // A plan only asks; it never makes tables or copies files.
    let reading_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    context
        .sql_with_options(statement, reading_only)
        .await
        .map_err(|e| own(&e).at(format_args!("{what} is not valid")).into())
}

async fn collect(
    context: &SessionContext,
    what: &str,
    statement: &str,
) -> Result<Vec<RecordBatch>> {
    let frame = sql(context, what, statement).await?;
    frame.collect().await.map_err(|e| own(&e).into())
}

/// DataFusion wraps our own errors in its words; people should see only ours.
fn own(error: &DataFusionError) -> Hinted {
    match error.find_root() {
        DataFusionError::External(own) => Hinted::with(own.to_string(), hints_of(&**own)),
        other => other.to_string().into(),
    }
}
