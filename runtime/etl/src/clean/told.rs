//! What is told of records that stop a job.

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::prelude::SessionContext;
use steppe_wire::etl::header::ROW_COLUMN;
use steppe_wire::etl::{InputPlan, InputReport, Wide};
use steppe_wire::hint::Hinted;

use super::collect;
use crate::shape;
use crate::source::Source;

/// Offending records that an error shows.
const SHOWN_MAX: usize = 10;

/// Stops the job when a record breaks a rule that must not be broken.
pub(super) async fn refuse_fatal(
    context: &SessionContext,
    plan: &InputPlan,
    source: &Source,
    report: &InputReport,
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
        let numbers = batch.column_by_name(ROW_COLUMN).context("the rejects have no `_row`")?;
        for row in 0..batch.num_rows() {
            rows.push(numbers.as_primitive::<Int64Type>().value(row));
            let detail = Detail::of(&batch, row, plan)?;
            hint = hint.or_else(|| shape::value_hint(&detail.column, detail.found.as_deref()?));
            details.push(detail);
        }
    }
    let origins = source.origins_of(rows).await?.into_iter();
    let mut message: Vec<String> = origins
        .zip(details)
        .map(|((place, cell), detail)| format!("{place}: {}", detail.told(cell.as_deref(), plan)))
        .collect();
    if broken as usize > message.len() {
        message.push(format!("and {} more", broken as usize - message.len()));
    }
    let hint = hint.unwrap_or_else(|| {
        "correct the file, or let a rule reject such records with `action = \"reject\"` in the \
         manifest"
            .to_owned()
    });
    bail!(Hinted::new(message.join("\n"), hint))
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
    fn of(batch: &RecordBatch, row: usize, plan: &InputPlan) -> Result<Self> {
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
    fn told(&self, cell: Option<&str>, plan: &InputPlan) -> String {
        if self.column.is_empty() {
            return self.reason.clone();
        }
        let made = |wide: &Wide| [&wide.names, &wide.values].contains(&&self.column);
        let wide = plan.csv.as_ref().and_then(|csv| csv.wide.as_ref());
        let column = cell.filter(|_| wide.is_some_and(made)).unwrap_or(self.column.as_str());
        let found =
            self.found.as_ref().map_or_else(|| "no value".to_owned(), |value| format!("`{value}`"));
        format!("column `{column}`: {}; found {found}", self.reason)
    }
}
