//! Tables made of clean tables by SQL.

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::logical_expr::col;
use datafusion::prelude::SessionContext;
use steppe_wire::etl::{TablePlan, TableReport};
use steppe_wire::hint::Hinted;

use super::{collect, own, sql, zones};
use crate::spark_sql;
use crate::spill::{Order, keep};
use crate::types;

/// Makes a table and keeps it under its name.
pub(super) async fn make(context: &SessionContext, plan: &TablePlan) -> Result<TableReport> {
    let what = format!("the SQL of the table `{}`", plan.name);
    let statement = spark_sql::read(&plan.sql).with_context(|| what.clone())?;
    let frame = sql(context, &what, &statement).await?;
    let zones = zones::of(frame.logical_plan()).with_context(|| what.clone())?;
    let frame = spark_sql::as_spark(context, frame).map_err(|e| anyhow::anyhow!("{what}: {e}"))?;
    let frame = types::conformed(frame, &what, &plan.columns)?;
    // As Spark does: what has no key comes first.
    let keys = plan.keys.iter().map(|key| col(format!("\"{key}\"")).sort(true, true));
    let frame = frame.sort(keys.collect())?;
    let kept = keep(context, &plan.name, frame, Order::Kept).await;
    kept.map_err(|e| own(&e).at(&what))?;
    if !zones.is_empty() {
        let table = zones::marked(context.table(&plan.name).await?, &zones)?;
        context.deregister_table(&plan.name)?;
        context.register_table(&plan.name, table.into_view())?;
    }
    refuse_repeated(context, plan).await?;
    let count = collect(context, &what, &format!("SELECT count(*) FROM {}", plan.name)).await?;
    let rows = count.first().context("a count has a row")?.column(0);
    let rows = rows.as_primitive::<Int64Type>().value(0) as u64;
    if rows == 0 {
        bail!("{what} gives no row");
    }
    Ok(TableReport { name: plan.name.clone(), rows })
}

/// A join that multiplies rows gives several of one key.
async fn refuse_repeated(context: &SessionContext, plan: &TablePlan) -> Result<()> {
    let (name, keys) = (&plan.name, plan.keys.join(", "));
    let statement = format!(
        "SELECT {keys}, count(*) AS _rows FROM {name} GROUP BY {keys} HAVING count(*) > 1 \
         ORDER BY {keys} LIMIT 1"
    );
    let found = collect(context, "the question for repeated keys", &statement).await?;
    let Some(batch) = found.iter().find(|batch| batch.num_rows() > 0) else { return Ok(()) };
    let text = |at: usize| array_value_to_string(batch.column(at), 0);
    let mut of = Vec::with_capacity(plan.keys.len());
    for (at, key) in plan.keys.iter().enumerate() {
        of.push(format!("{key} = {}", text(at)?));
    }
    bail!(Hinted::new(
        format!(
            "the table `{name}` has {} rows of {}; its `keys` say that there is one",
            text(plan.keys.len())?,
            of.join(", ")
        ),
        "a join with several matching rows multiplies rows: join on what is unique, or aggregate \
         before"
    ))
}
