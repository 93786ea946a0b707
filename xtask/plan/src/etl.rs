//! From the manifest's SQL and rules to the one plan that both engines run.
//!
//! The statements keep to what Spark 3.5 and DataFusion read alike: no quoted identifiers, no
//! functions that only one of them has.

mod text;

use steppe_wire::etl::{self, ColumnName, ETL_PLAN_SCHEMA_VERSION, EtlPlan, REJECTED_NEWEST_SHOWN};

use steppe_spec::{Action, Column, Footnotes, Manifest, Spacing};

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
    let columns: Vec<&str> = manifest.data.columns.iter().map(|c| c.name.as_str()).collect();
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
        judged_sql: judged_sql(manifest, &judgements),
        clean_sql: format!("SELECT {} FROM judged WHERE _rule IS NULL", columns.join(", ")),
        rejects_sql: if judgements.is_empty() {
            "SELECT file.*, '' AS _rule, '' AS _reason FROM file WHERE 1 = 0".to_owned()
        } else {
            format!(
                "SELECT file.*, rejected._rule AS _rule,\n\
                 \x20 CASE rejected._rule{reasons} END AS _reason\n\
                 FROM (SELECT _row, _rule FROM judged WHERE _rule IS NOT NULL) rejected\n\
                 JOIN file ON file._row = rejected._row\n\
                 ORDER BY file._row"
            )
        },
        newest_sql: newest_sql(manifest),
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
fn newest_sql(manifest: &Manifest) -> Option<String> {
    let (series, time, target) =
        (&manifest.task.series, &manifest.task.time, &manifest.task.target);
    let quality = &manifest.quality;
    let own = quality.rules.iter().filter(|r| r.action == Action::Reject).map(|r| &*r.name);
    let unique = quality.unique.filter(|u| u.action == Action::Reject).map(|_| UNIQUE);
    let rules: Vec<String> = own.chain(unique).map(literal).collect();
    let rules = (!rules.is_empty()).then(|| rules.join(", "))?;
    Some(format!(
        "SELECT late.*, COUNT(*) OVER () AS _all FROM (\n\
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
            if manifest.task.frequency().season() > 1 {
                "one season before"
            } else {
                "the one before"
            }
        ),
        action: p.action,
    });
    left_out.into_iter().chain(missing).chain(own).chain(unique).chain(partial).collect()
}

/// Whether a record of the view `file` says that it has no value; none when that says nothing
/// about the record: cells without a value make none, and with features it may be of a period to
/// come.
fn missing_sql(manifest: &Manifest) -> Option<String> {
    let plain = manifest.data.wide.is_none() && !manifest.task.knows_ahead();
    is_missing(&manifest.task.target, &manifest.data.missing).filter(|_| plain)
}

/// The rows of `typed` with the first rule that each breaks, in the order of the clean table, which
/// is that of the windows: so rows are sorted once.
///
/// Neighbours instead of a count tell duplicates: their windows stream, while a count over a whole
/// partition holds all of the input in memory. The small table stands first in each join: engines
/// without statistics hold that side in memory.
fn judged_sql(manifest: &Manifest, judgements: &[Judgement]) -> String {
    let (series, time) = (&manifest.task.series, &manifest.task.time);
    let cases: String =
        judgements.iter().map(|j| format!("    WHEN {} THEN '{}'\n", j.when, j.name)).collect();
    let rule = if judgements.is_empty() {
        "CAST(NULL AS STRING)".to_owned()
    } else {
        format!("CASE\n{cases}  END")
    };
    let mut tables = Vec::new();
    let mut from = "typed".to_owned();
    if let Some(sql) = missing_sql(manifest) {
        tables.push(format!(
            "marked AS (\n\
             \x20 SELECT typed.*, marks._missing_row\n\
             \x20 FROM (SELECT _row AS _missing_row FROM file WHERE {sql}) marks\n\
             \x20 RIGHT JOIN typed ON typed._row = marks._missing_row\n\
             )"
        ));
        from = "marked AS typed".to_owned();
    }
    let mut columns = String::new();
    if let Some(partial) = manifest.quality.partial_period {
        tables.push(partial_tables(manifest, partial.below));
        from = format!("partial RIGHT JOIN {from} ON typed.{time} = partial._partial_period");
        columns += ", partial._partial_period";
    }
    if manifest.quality.unique.is_some() {
        for (function, name) in [("LAG", "_earlier"), ("LEAD", "_later")] {
            columns += &format!(
                ",\n    {function}(_row) OVER (PARTITION BY {series}, {time} ORDER BY _row) AS \
                 {name}"
            );
        }
    }
    tables.push(format!("neighbours AS (\n  SELECT typed.*{columns}\n  FROM {from}\n)"));
    format!(
        "WITH {}\nSELECT neighbours.*, {rule} AS _rule FROM neighbours\n\
         ORDER BY {series}, {time}, _row",
        tables.join(",\n")
    )
}

/// The table `partial`: the newest period, if its total is below a share of that one season before.
fn partial_tables(manifest: &Manifest, below: f64) -> String {
    let (time, target) = (&manifest.task.time, &manifest.task.target);
    // Years are numbers; other periods are texts that sort as they follow each other. November is
    // compared with the November before, not with October.
    let before = match (manifest.task.frequency, manifest.task.frequency().season()) {
        (Spacing::Yearly, _) => "newest._period - 1".to_owned(),
        (_, season) => format!("(SELECT MAX(_period) FROM ranked WHERE _rank = {})", season + 1),
    };
    format!(
        "totals AS (\n\
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
         )"
    )
}
