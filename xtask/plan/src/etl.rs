//! From the manifest's SQL and rules to the one plan that both engines run.
//!
//! The statements keep to what Spark 3.5 and DataFusion read alike: no quoted identifiers, no
//! functions that only one of them has.

use steppe_wire::etl::{ColumnName, ETL_PLAN_SCHEMA_VERSION, EtlPlan};

use crate::manifest::{Action, DayCalendar, Frequency, Manifest};

/// One condition with everything that is said about it.
struct Judgement {
    name: String,
    column: String,
    when: String,
    reason: String,
    action: Action,
}

/// The plan of `manifest`, whose cleaning SQL is `sql`.
pub fn etl_plan(manifest: &Manifest, sql: &str) -> EtlPlan {
    let judgements = judgements(manifest);
    let with = common_tables(manifest, sql, &judgements);
    let columns: Vec<&str> = manifest.data.columns.iter().map(|c| c.name.as_str()).collect();
    let task = &manifest.task;
    let reasons: String = judgements
        .iter()
        .map(|j| format!(" WHEN '{}' THEN {}", j.name, literal(&j.reason)))
        .collect();
    EtlPlan {
        schema_version: ETL_PLAN_SCHEMA_VERSION,
        pipeline: manifest.name.clone(),
        delimiter: manifest.data.delimiter,
        columns: manifest
            .data
            .columns
            .iter()
            .map(|c| ColumnName {
                source: c.source.clone().unwrap_or_else(|| c.name.clone()),
                name: c.name.clone(),
            })
            .collect(),
        clean_sql: format!(
            "{with}SELECT {}\nFROM judged WHERE _rule IS NULL\nORDER BY {}, {}",
            columns.join(", "),
            task.series,
            task.time
        ),
        rejects_sql: if judgements.is_empty() {
            "SELECT raw.*, '' AS _rule, '' AS _reason FROM raw WHERE 1 = 0".to_owned()
        } else {
            format!(
                "{with}SELECT raw.*, judged._rule AS _rule, CASE judged._rule{reasons} END AS _reason\n\
                 FROM judged JOIN raw ON raw._row = judged._row\nWHERE judged._rule IS NOT NULL\nORDER BY raw._row"
            )
        },
        fatal_rules: judgements
            .iter()
            .filter(|j| j.action == Action::Fail)
            .map(|j| j.name.clone())
            .collect(),
        rule_columns: judgements.iter().map(|j| (j.name.clone(), j.column.clone())).collect(),
    }
}

fn judgements(manifest: &Manifest) -> Vec<Judgement> {
    let task = &manifest.task;
    let own = manifest.quality.rules.iter().map(|r| Judgement {
        name: r.name.clone(),
        column: r.column.clone(),
        when: r.when.clone(),
        reason: r.reason.clone(),
        action: r.action,
    });
    let names: Vec<String> = manifest.data.leave_out.iter().map(|name| literal(name)).collect();
    let left_out = (!names.is_empty()).then(|| Judgement {
        name: "leave_out".to_owned(),
        column: task.series.clone(),
        when: format!("{} IN ({})", task.series, names.join(", ")),
        reason: "the manifest leaves this series out".to_owned(),
        action: Action::Reject,
    });
    let unique = manifest.quality.unique.map(|u| Judgement {
        name: "unique".to_owned(),
        column: task.time.clone(),
        when: "_earlier IS NOT NULL OR _later IS NOT NULL".to_owned(),
        reason: format!(
            "there is more than one record of the same {} and {}",
            task.series, task.time
        ),
        action: u.action,
    });
    let partial = manifest.quality.partial_period.map(|p| Judgement {
        name: "partial_period".to_owned(),
        column: task.time.clone(),
        when: "_partial_period IS NOT NULL".to_owned(),
        reason: format!(
            "the newest {} is incomplete: its total is below {:.0} % of that of {}",
            task.time,
            p.below * 100.0,
            if season(manifest) > 1 { "one season before" } else { "the one before" }
        ),
        action: p.action,
    });
    left_out.into_iter().chain(own).chain(unique).chain(partial).collect()
}

/// Neighbours instead of a count tell duplicates: their windows stream, while a count over a whole
/// partition holds all of the input in memory. The small table stands first in each join: engines
/// without statistics hold that side in memory.
///
/// The tables `typed` (the manifest's SQL) and `judged` (with `_rule`, the first broken rule or
/// NULL).
fn common_tables(manifest: &Manifest, sql: &str, judgements: &[Judgement]) -> String {
    let (series, time, target) =
        (&manifest.task.series, &manifest.task.time, &manifest.task.target);
    let below = manifest.quality.partial_period.map_or(0.0, |p| p.below);
    let cases: String =
        judgements.iter().map(|j| format!("    WHEN {} THEN '{}'\n", j.when, j.name)).collect();
    let rule = if judgements.is_empty() {
        "CAST(NULL AS STRING)".to_owned()
    } else {
        format!("CASE\n{cases}  END")
    };
    // Years are numbers; other periods are texts that sort as they follow each other. November is
    // compared with the November before, not with October.
    let before = match (manifest.task.frequency, season(manifest)) {
        (Frequency::Yearly, _) => "newest._period - 1".to_owned(),
        (_, season) => format!("(SELECT MAX(_period) FROM ranked WHERE _rank = {})", season + 1),
    };
    format!(
        "WITH typed AS (\n{}\n),\n\
         totals AS (SELECT {time} AS _period, SUM({target}) AS _total FROM typed WHERE {time} IS NOT NULL GROUP BY {time}),\n\
         ranked AS (SELECT _period, ROW_NUMBER() OVER (ORDER BY _period DESC) AS _rank FROM totals),\n\
         partial AS (\n\
         \x20 SELECT newest._period AS _partial_period\n\
         \x20 FROM totals newest CROSS JOIN totals earlier\n\
         \x20 WHERE earlier._period = {before} AND newest._period = (SELECT MAX(_period) FROM totals) AND newest._total < {below} * earlier._total\n\
         ),\n\
         neighbours AS (\n\
         \x20 SELECT typed.*,\n\
         \x20   LAG(_row) OVER (PARTITION BY {series}, {time} ORDER BY _row) AS _earlier,\n\
         \x20   LEAD(_row) OVER (PARTITION BY {series}, {time} ORDER BY _row) AS _later, partial._partial_period\n\
         \x20 FROM partial RIGHT JOIN typed ON typed.{time} = partial._partial_period\n\
         ),\n\
         judged AS (SELECT neighbours.*, {rule} AS _rule FROM neighbours)\n",
        sql.trim().trim_end_matches(';')
    )
}

/// Periods of the shortest season.
fn season(manifest: &Manifest) -> usize {
    match (manifest.task.frequency, manifest.task.calendar) {
        (Frequency::Yearly, _) | (Frequency::Daily, DayCalendar::AsObserved) => 1,
        (Frequency::Quarterly, _) => 4,
        (Frequency::Monthly, _) => 12,
        (Frequency::Weekly, _) => 52,
        (Frequency::Daily, DayCalendar::Weekdays) => 5,
        (Frequency::Daily, DayCalendar::EveryDay) => 7,
        (Frequency::Hourly, _) => 24,
        (Frequency::HalfHourly, _) => 48,
    }
}

fn literal(text: &str) -> String {
    // Spark reads backslashes in literals, DataFusion does not; without them both read the same.
    format!("'{}'", text.replace('\\', "/").replace('\'', "’"))
}
