//! One input: its records are read once, judged once, and counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::logical_expr::{ColumnarValue, Volatility, col, create_udf, lit};
use datafusion::prelude::{DataFrame, SessionContext};
use steppe_wire::etl::header::ROW_COLUMN;
use steppe_wire::etl::{InputPlan, InputReport, RejectedNewest, TableFormat};

use super::places::InputPlaces;
use super::{Called, collect, dealt_out, in_order, sink, sql, strip, told};
use crate::objects::Objects;
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
    let mut report = counted(context, &source, plan, called_of(&all)).await?;
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
        _ => Some(placed(sql(context, "the manifest's rules", &plan.rejects_sql).await?, &source)?),
    };
    for view in ["file", "raw", "typed", "judged"] {
        context.deregister_table(view)?;
    }
    context.register_table(&plan.name, clean.clone().into_view())?;
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
        let mut written = Vec::new();
        if let Some(rejects) = &self.rejects {
            written.push(sink::write(rejects.clone(), TableFormat::Csv, &places.rejects).await?);
        }
        written.push(sink::write(self.clean.clone(), self.format, &places.output).await?);
        Ok(written)
    }
}

/// The views `file` and `raw`.
async fn register(context: &SessionContext, source: &Source, plan: &InputPlan) -> Result<()> {
    let parts = context.state().config().target_partitions();
    context.register_table("file", Arc::new(source.table(parts)?))?;
    let mut raw = context.table("file").await?;
    for form in &plan.forms {
        let plain = raw.parse_sql_expr(&form.sql)?;
        raw = raw.with_column(&form.column, plain)?;
    }
    context.register_table("raw", raw.into_view())?;
    Ok(())
}

/// Makes `typed` and `judged`, and counts: records in all, and rejected ones by rule.
async fn counted(
    context: &SessionContext,
    source: &Source,
    plan: &InputPlan,
    called: String,
) -> Result<InputReport> {
    let what = format!("the cleaning SQL of the input `{}`", plan.name);
    let frame = sql(context, &what, &plan.cleaning_sql).await?;
    keep(context, "typed", frame, Order::Any).await.map_err(|e| anyhow::anyhow!(strip(&e)))?;
    let Some(raw_rows) = source.rows() else { bail!("{what} does not read every record of `raw`") };
    if raw_rows == 0 {
        bail!("{called}: the file has a header but no records");
    }
    let what = format!("`when` of one of the rules of the input `{}`", plan.name);
    in_order(context);
    let frame = sql(context, &what, &plan.judged_sql).await?;
    keep(context, "judged", frame, Order::Kept).await.map_err(|e| anyhow::anyhow!(strip(&e)))?;
    let (mut rejected_by_rule, mut clean_rows) = (BTreeMap::new(), 0);
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
    Ok(report)
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
