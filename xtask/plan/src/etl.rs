//! From the manifest's SQL and rules to the one plan that both engines run.
//!
//! The statements keep to what Spark 3.5 and DataFusion read alike: no quoted identifiers, no
//! functions that only one of them has.

mod text;

use steppe_wire::etl::{self, ColumnName, ETL_PLAN_SCHEMA_VERSION, EtlPlan, REJECTED_NEWEST_SHOWN};

use steppe_spec::{Action, Column, DayCalendar, Footnotes, Frequency, Manifest};

pub use text::cleaning_sql;
use text::{forms, is_missing, literal};

/// Name of the rule about records of one series and period.
const UNIQUE: &str = "unique";

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
    let data = &manifest.data;
    let column_name =
        |c: &Column| ColumnName { source: c.source().to_owned(), name: c.name.clone() };
    EtlPlan {
        schema_version: ETL_PLAN_SCHEMA_VERSION,
        pipeline: manifest.name.clone(),
        delimiter: data.delimiter,
        skip_lines: data.skip_lines,
        leave_out_footnotes: data.footnotes == Footnotes::LeaveOut,
        columns: data.columns.iter().map(column_name).collect(),
        wide: data.wide.as_ref().map(|wide| etl::Wide {
            keep: wide.keep.clone(),
            names: wide.names.clone(),
            values: wide.values.clone(),
            missing: data.missing.clone(),
        }),
        forms: forms(manifest),
        cleaning_sql: sql.trim().trim_end_matches(';').to_owned(),
        clean_sql: format!(
            "{with}SELECT {}\nFROM judged WHERE _rule IS NULL\nORDER BY {}, {}",
            columns.join(", "),
            task.series,
            task.time
        ),
        rejects_sql: if judgements.is_empty() {
            "SELECT file.*, '' AS _rule, '' AS _reason FROM file WHERE 1 = 0".to_owned()
        } else {
            format!(
                "{with}SELECT file.*, judged._rule AS _rule,\n\
                 \x20 CASE judged._rule{reasons} END AS _reason\n\
                 FROM judged JOIN file ON file._row = judged._row\n\
                 WHERE judged._rule IS NOT NULL\nORDER BY file._row"
            )
        },
        newest_sql: newest_sql(manifest, &with),
        fatal_rules: judgements
            .iter()
            .filter(|j| j.action == Action::Fail)
            .map(|j| j.name.clone())
            .collect(),
        rule_columns: judgements.iter().map(|j| (j.name.clone(), j.column.clone())).collect(),
    }
}

/// A rule that rejects may turn away the newest values of a series and leave old ones to be
/// forecast from.
fn newest_sql(manifest: &Manifest, with: &str) -> Option<String> {
    let (series, time, target) =
        (&manifest.task.series, &manifest.task.time, &manifest.task.target);
    let quality = &manifest.quality;
    let own = quality.rules.iter().filter(|r| r.action == Action::Reject).map(|r| &*r.name);
    let unique = quality.unique.filter(|u| u.action == Action::Reject).map(|_| UNIQUE);
    let rules: Vec<String> = own.chain(unique).map(literal).collect();
    let rules = (!rules.is_empty()).then(|| rules.join(", "))?;
    Some(format!(
        "{with}SELECT late.*, COUNT(*) OVER () AS _all FROM (\n\
         \x20 SELECT judged.{series} AS _series, CAST(MAX(judged.{time}) AS STRING) AS _period,\n\
         \x20   COUNT(*) AS _records, MIN(judged._rule) AS _rule\n\
         \x20 FROM (\n\
         \x20   SELECT {series} AS _name,\n\
         \x20     MAX(CASE WHEN _rule IS NULL AND {target} IS NOT NULL THEN {time} END) AS _clean\n\
         \x20   FROM judged WHERE {series} IS NOT NULL GROUP BY {series}\n\
         \x20 ) newest JOIN judged ON judged.{series} = newest._name\n\
         \x20 WHERE judged._rule IN ({rules}) AND judged.{time} IS NOT NULL\n\
         \x20   AND (newest._clean IS NULL OR judged.{time} > newest._clean)\n\
         \x20 GROUP BY judged.{series}\n\
         ) late ORDER BY _series LIMIT {REJECTED_NEWEST_SHOWN}"
    ))
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
    let missing = missing_sql(manifest).map(|_| Judgement {
        name: "missing".to_owned(),
        column: task.target.clone(),
        when: "_missing_row IS NOT NULL".to_owned(),
        reason: "the manifest's `missing` says that this is no value".to_owned(),
        action: Action::Reject,
    });
    let unique = manifest.quality.unique.map(|u| Judgement {
        name: UNIQUE.to_owned(),
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
    left_out.into_iter().chain(missing).chain(own).chain(unique).chain(partial).collect()
}

/// Whether a record of the view `file` says that it has no value; none when that says nothing
/// about the record: cells without a value make none, and with covariates it may be of a period to
/// come.
fn missing_sql(manifest: &Manifest) -> Option<String> {
    let plain = manifest.data.wide.is_none() && manifest.task.covariates.is_empty();
    is_missing(&manifest.task.target, &manifest.data.missing).filter(|_| plain)
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
    let (marked, typed) = match missing_sql(manifest) {
        None => (String::new(), "typed"),
        Some(sql) => (
            format!(
                "marked AS (\n\
                 \x20 SELECT typed.*, marks._missing_row\n\
                 \x20 FROM (SELECT _row AS _missing_row FROM file WHERE {sql}) marks\n\
                 \x20 RIGHT JOIN typed ON typed._row = marks._missing_row\n\
                 ),\n"
            ),
            "marked AS typed",
        ),
    };
    format!(
        "WITH typed AS (\n{}\n),\n\
         totals AS (\n\
         \x20 SELECT {time} AS _period, SUM({target}) AS _total\n\
         \x20 FROM typed WHERE {time} IS NOT NULL GROUP BY {time}\n\
         ),\n\
         ranked AS (\n\
         \x20 SELECT _period, ROW_NUMBER() OVER (ORDER BY _period DESC) AS _rank FROM totals\n\
         ),\n\
         partial AS (\n\
         \x20 SELECT newest._period AS _partial_period\n\
         \x20 FROM totals newest CROSS JOIN totals earlier\n\
         \x20 WHERE earlier._period = {before}\n\
         \x20   AND newest._period = (SELECT MAX(_period) FROM totals)\n\
         \x20   AND newest._total < {below} * earlier._total\n\
         ),\n\
         {marked}neighbours AS (\n\
         \x20 SELECT typed.*,\n\
         \x20   LAG(_row) OVER (PARTITION BY {series}, {time} ORDER BY _row) AS _earlier,\n\
         \x20   LEAD(_row) OVER (PARTITION BY {series}, {time} ORDER BY _row) AS _later,\n\
         \x20   partial._partial_period\n\
         \x20 FROM partial RIGHT JOIN {typed} ON typed.{time} = partial._partial_period\n\
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
