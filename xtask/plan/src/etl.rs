//! From the manifest's SQL and rules to the one plan that both engines run.
//!
//! The statements keep to what Spark 3.5 and DataFusion read alike: no quoted identifiers, no
//! functions that only one of them has.

mod again;
mod as_of;
mod judged;
mod text;
mod typed;

use std::collections::BTreeMap;

use steppe_spec::{Action, Column, Footnotes, ForecastEntry, Format, Input, Manifest, Table};
use steppe_wire::etl::{
    self, ColumnName, CsvOptions, ETL_PLAN_SCHEMA_VERSION, EtlPlan, InputPlan, Output, TablePlan,
};
use steppe_wire::keys;

pub use again::again;
use judged::{judged_sql, judgements, newest_sql};
use text::{forms, literal};
pub use typed::cleaning_sql;

/// SQL beside the manifest, by file name.
pub type SqlFiles = BTreeMap<String, String>;

/// The files of SQL that a manifest names.
pub fn sql_files(manifest: &Manifest) -> impl Iterator<Item = &str> {
    let inputs = manifest.inputs.iter().filter_map(|input| input.sql.as_deref());
    inputs.chain(manifest.tables.iter().filter_map(|table| table.sql.as_deref()))
}

/// The plan of `manifest`, with the SQL that it names, under `root`: `s3://bucket/`.
pub fn etl_plan(manifest: &Manifest, sql: &SqlFiles, root: &str) -> EtlPlan {
    EtlPlan {
        schema_version: ETL_PLAN_SCHEMA_VERSION,
        pipeline: manifest.name.clone(),
        root: root.to_owned(),
        report: keys::etl_report(&manifest.name),
        inputs: manifest.inputs.iter().map(|input| input_plan(manifest, input, sql)).collect(),
        tables: manifest.tables.iter().map(|table| table_plan(manifest, table, sql)).collect(),
    }
}

/// An input as the statements about it see it.
#[derive(Clone, Copy)]
struct Judged<'a> {
    input: &'a Input,
    /// The task that is about its clean table, when that forecasts.
    task: Option<&'a ForecastEntry>,
}

fn input_plan(manifest: &Manifest, input: &Input, sql: &SqlFiles) -> InputPlan {
    let about = manifest.source().name == input.name;
    let judged = Judged { input, task: manifest.task().forecast().filter(|_| about) };
    let judgements = judgements(judged);
    let columns: Vec<&str> = input.columns.iter().map(|c| c.name.as_str()).collect();
    let reasons: String = judgements
        .iter()
        .map(|j| format!(" WHEN '{}' THEN {}", j.name, literal(&j.reason)))
        .collect();
    let fatal = judgements.iter().filter(|j| j.action == Action::Fail);
    InputPlan {
        name: input.name.clone(),
        prefix: keys::raw_prefix(&manifest.name, &input.name),
        format: input.format.into(),
        container: input.container.into(),
        csv: (input.format == Format::Csv).then(|| csv_options(input)),
        columns: input.columns.iter().map(column_name).collect(),
        forms: forms(input),
        drop: input.drop.clone(),
        cleaning_sql: match &input.sql {
            Some(file) => statement(sql, file),
            None => cleaning_sql(input),
        },
        judged_sql: judged_sql(judged, &judgements),
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
        newest_sql: newest_sql(judged),
        fatal_rules: fatal.map(|j| j.name.clone()).collect(),
        rule_columns: judgements.iter().map(|j| (j.name.clone(), j.column.clone())).collect(),
        output: output(manifest, &input.name, input.output),
        rejects: keys::rejects_prefix(&manifest.name, &input.name),
    }
}

fn csv_options(input: &Input) -> CsvOptions {
    CsvOptions {
        delimiter: input.delimiter,
        skip_lines: input.skip_lines,
        leave_out_footnotes: input.footnotes == Footnotes::LeaveOut,
        wide: input.wide.as_ref().map(|wide| etl::Wide {
            keep: wide.keep.clone(),
            names: wide.names.clone(),
            values: wide.values.clone(),
            missing: input.missing.clone(),
        }),
    }
}

fn column_name(column: &Column) -> ColumnName {
    ColumnName {
        source: column.source().to_owned(),
        name: column.name.clone(),
        kind: column.kind.hive().into_owned(),
        zone: column.table_zone().map(str::to_owned),
    }
}

fn table_plan(manifest: &Manifest, table: &Table, sql: &SqlFiles) -> TablePlan {
    let column = |c: &Column| (c.name.clone(), c.kind.hive().into_owned());
    TablePlan {
        name: table.name.clone(),
        sql: match (&table.sql, &table.as_of) {
            (None, Some(join)) => as_of::as_of_sql(manifest, table, join),
            (file, _) => statement(sql, file.as_deref().unwrap_or_default()),
        },
        columns: table.columns.iter().map(column).collect(),
        keys: table.keys.clone(),
        output: output(manifest, &table.name, table.output),
    }
}

fn output(manifest: &Manifest, table: &str, format: Format) -> Output {
    Output { prefix: keys::table_prefix(&manifest.name, table), format: format.into() }
}

/// A statement as an engine takes it; a file that was not read is an empty one.
fn statement(sql: &SqlFiles, file: &str) -> String {
    sql.get(file).map(|text| text.trim().trim_end_matches(';').to_owned()).unwrap_or_default()
}
