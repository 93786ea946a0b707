//! One input: its records are read once, judged once, and counted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::logical_expr::{ColumnarValue, Volatility, col, create_udf, lit};
use datafusion::prelude::{DataFrame, SessionContext};
use datafusion::sql::sqlparser::ast::{Statement, visit_relations};
use datafusion::sql::sqlparser::dialect::DatabricksDialect;
use datafusion::sql::sqlparser::parser::Parser;
use futures::StreamExt;
use steppe_wire::etl::header::ROW_COLUMN;
use steppe_wire::etl::{InputPlan, InputReport, RejectedNewest, TableFormat};

use super::places::InputPlaces;
use super::{Called, collect, dealt_out, in_order, own, sink, sql, told, zones};
use crate::objects::Objects;
use crate::rows::Rows;
use crate::source::{ROW_MASK, Source, row_place};
use crate::spill::{Order, keep};
use crate::types;

/// The column that says in which file a rejected record stands.
const FILE_COLUMN: &str = "_file";

/// An input whose every record is clean or rejected.
pub(super) struct Judged {
    /// What became of it.
    pub report: InputReport,
    clean: DataFrame,
    rejects: Option<DataFrame>,
    format: TableFormat,
}

/// Reads and judges an input. Its clean table is then a table of the session, under its name.
pub(super) async fn judge(
    context: &SessionContext,
    plan: &InputPlan,
    places: &InputPlaces,
    called: &Called,
) -> Result<Judged> {
    let Objects { all, read } = Objects::list(&places.files, called).await?;
    dealt_out(context);
    let source = Source::open(plan, &all).await?;
    register(context, &source, plan).await?;
    let (mut report, rejected) = counted(context, &source, plan, called_of(&all)).await?;
    report.read = read;
    told::refuse_fatal(context, plan, &source, &report).await?;
    if report.rejected_rows > 0 {
        add_rejected_newest(context, plan, &mut report).await?;
    }
    if report.clean_rows == 0 {
        bail!(
            "{}: no record is left after cleaning ({} in the input)",
            called_of(&all),
            report.raw_rows
        );
    }
    let what = format!("the cleaning SQL of the input `{}`", plan.name);
    let clean = sql(context, "the manifest's SQL", &plan.clean_sql).await?;
    let columns = plan.columns.iter().map(|c| (c.name.clone(), c.kind.clone()));
    let clean = types::conformed(clean, &what, &columns.collect::<Vec<_>>())?;
    let rejects = match report.rejected_rows {
        0 => None,
        _ => {
            let rejected = source.only(rejected).table(parts(context));
            context.deregister_table("file")?;
            context.register_table("file", Arc::new(rejected))?;
            let rejects = sql(context, "the manifest's rules", &plan.rejects_sql).await?;
            let drop: Vec<&str> = plan.drop.iter().map(String::as_str).collect();
            Some(placed(rejects.drop_columns(&drop)?, &source)?)
        }
    };
    for view in ["file", "raw", "typed", "judged"] {
        context.deregister_table(view)?;
    }
    let zoned = plan.columns.iter().filter_map(|c| Some((c.name.clone(), c.zone.clone()?)));
    let table = zones::marked(clean.clone(), &zoned.collect())?;
    context.register_table(&plan.name, table.into_view())?;
    Ok(Judged { report, clean, rejects, format: plan.output.format })
}

/// What messages call the input: its file, or of several the first one.
fn called_of(objects: &[crate::objects::Object]) -> String {
    let first = objects.first().map(|object| object.place.name.as_str()).unwrap_or_default();
    match objects.len() {
        0 | 1 => first.to_owned(),
        more => format!("{first} and {} more", more - 1),
    }
}

impl Judged {
    /// Writes table and rejects; returns the addresses of what it wrote.
    pub async fn write(&self, places: &InputPlaces) -> Result<Vec<String>> {
        let rejects = async {
            match &self.rejects {
                Some(rows) => {
                    let written = sink::write(rows.clone(), TableFormat::Csv, &places.rejects);
                    written.await.map(Some)
                }
                None => Ok(None),
            }
        };
        let clean = sink::write(self.clean.clone(), self.format, &places.output);
        let (rejects, clean) = tokio::try_join!(rejects, clean)?;
        Ok(rejects.into_iter().chain([clean]).collect())
    }
}

/// How many threads may read an input.
fn parts(context: &SessionContext) -> usize {
    context.state().config().target_partitions()
}

/// The views `file` and `raw`.
async fn register(context: &SessionContext, source: &Source, plan: &InputPlan) -> Result<()> {
    context.register_table("file", Arc::new(source.table(parts(context))))?;
    let mut raw = context.table("file").await?;
    for form in &plan.forms {
        let plain = raw.parse_sql_expr(&form.sql)?;
        raw = raw.with_column(&form.column, plain)?;
    }
    context.register_table("raw", raw.into_view())?;
    Ok(())
}

/// Makes `typed` and `judged`, and counts: records in all, and rejected ones by rule; which those
/// are.
async fn counted(
    context: &SessionContext,
    source: &Source,
    plan: &InputPlan,
    called: String,
) -> Result<(InputReport, Rows)> {
    let what = format!("the cleaning SQL of the input `{}`", plan.name);
    let frame = sql(context, &what, &plan.cleaning_sql).await?;
    if streams(&plan.judged_sql)? {
        context.register_table("typed", frame.into_view())?;
    } else {
        keep(context, "typed", frame, Order::Any).await.map_err(|e| own(&e))?;
        in_order(context);
    }
    let rules = format!("`when` of one of the rules of the input `{}`", plan.name);
    let frame = sql(context, &rules, &plan.judged_sql).await?;
    keep(context, "judged", frame, Order::Kept).await.map_err(|e| own(&e))?;
    in_order(context);
    let Some(raw_rows) = source.rows() else { bail!("{what} does not read every record of `raw`") };
    if raw_rows == 0 {
        bail!("{called}: the file has a header but no records");
    }
    let (mut rejected_by_rule, mut clean_rows) = (BTreeMap::new(), 0);
    let mut rejected = Rows::default();
    let told =
        format!("the SQL of the input `{}` must keep `{ROW_COLUMN}` as it is in `raw`", plan.name);
    let verdicts = sql(context, "the verdicts", "SELECT _row, _rule FROM judged").await?;
    let mut verdicts = verdicts.execute_stream().await.map_err(|e| own(&e))?;
    while let Some(batch) = verdicts.next().await {
        let batch = batch.map_err(|e| own(&e))?;
        let rules = batch.column(1).as_string::<i32>();
        clean_rows += rules.null_count() as u64;
        if rules.null_count() == rules.len() {
            continue;
        }
        let rows = types::whole(batch.column(0)).with_context(|| told.clone())?;
        for (row, rule) in rows.iter().zip(rules) {
            if let Some(rule) = rule {
                let row = row.filter(|row| source.has(*row)).with_context(|| told.clone())?;
                rejected.insert(row);
                match rejected_by_rule.get_mut(rule) {
                    Some(count) => *count += 1,
                    None => drop(rejected_by_rule.insert(rule.to_owned(), 1)),
                }
            }
        }
    }
    let report = InputReport {
        name: plan.name.clone(),
        raw_rows,
        clean_rows,
        rejected_rows: rejected_by_rule.values().sum(),
        rejected_by_rule,
        ..InputReport::default()
    };
    if !report.adds_up() {
        bail!(
            "the SQL of the input `{}` must give one row per record and keep `{ROW_COLUMN}`: \
             {raw_rows} records became {clean_rows} clean and {} rejected rows",
            plan.name,
            report.rejected_rows
        );
    }
    Ok((report, rejected))
}

/// Whether rows may be judged while they are read: when they are asked for once, and sorted.
fn streams(judged_sql: &str) -> Result<bool> {
    let statements = Parser::parse_sql(&DatabricksDialect {}, judged_sql)?;
    let sorted = matches!(&statements[..], [Statement::Query(q)] if q.order_by.is_some());
    let mut readings = 0;
    let _all = visit_relations(&statements, |name| {
        readings += usize::from(name.to_string() == "typed");
        ControlFlow::<()>::Continue(())
    });
    Ok(sorted && readings == 1)
}

/// What is forecast of such a series begins earlier than its data, so people must know.
async fn add_rejected_newest(
    context: &SessionContext,
    plan: &InputPlan,
    report: &mut InputReport,
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

/// Rejected records with the file in which each stands, and its number there.
fn placed(rejects: DataFrame, source: &Source) -> Result<DataFrame> {
    let source = source.clone();
    let names = move |arguments: &[ColumnarValue]| {
        let rows = ColumnarValue::values_to_arrays(arguments)?;
        let name = |row: i64| Some(source.object(row_place(row).0)?.name.as_str());
        let rows = rows[0].as_primitive::<Int64Type>().iter();
        let names: StringArray = rows.map(|row| row.and_then(name)).collect();
        Ok(ColumnarValue::Array(Arc::new(names)))
    };
    let name = create_udf(
        FILE_COLUMN,
        vec![DataType::Int64],
        DataType::Utf8,
        Volatility::Immutable,
        Arc::new(names),
    );
    let row = || col(ROW_COLUMN);
    Ok(rejects
        .with_column(FILE_COLUMN, name.call(vec![row()]))?
        .with_column(ROW_COLUMN, row() & lit(ROW_MASK))?)
}
