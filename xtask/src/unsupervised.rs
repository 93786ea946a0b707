//! What is looked for without a target, on this machine: `evaluate` tells what a run would find,
//! and how good the search is.

mod proof;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use steppe_model::unsupervised::faults::Panel;
use steppe_model::unsupervised::rows::{Found, Judged};
use steppe_model::unsupervised::{
    Entities, Readings, clustering, read_entities, read_series, rows, series,
};
use steppe_plan::events::{Did, Fact, Step};
use steppe_spec::unsupervised::anomaly::AnomalyTask;
use steppe_spec::{UnsupervisedSpec, UnsupervisedTask};
use steppe_wire::keys;

use crate::cleaning::parquet_files;
use crate::host::Host;
use crate::project::Workspace;
use crate::report::unsupervised as pages;
use crate::table::table;
pub use proof::Proof;

/// Flagged rows that a text names.
const NAMED: usize = 10;

/// What a search found, as texts and pages tell it.
pub enum Looked {
    /// Rows of a table.
    Rows(Box<OfRows>),
    /// Values of series.
    Series(OfSeries),
    /// Groups.
    Groups(Box<OfGroups>),
}

/// Unusual rows.
pub struct OfRows {
    /// What was looked for.
    pub task: AnomalyTask,
    /// What was found.
    pub found: Found,
    /// The values behind the rows, where the task names them.
    pub panel: Option<Panel>,
    /// How good the search is.
    pub proof: Option<Proof>,
}

/// Unusual values.
pub struct OfSeries {
    /// The series.
    pub series: Vec<Readings>,
    /// The alarms of each.
    pub alarms: Vec<Vec<series::Alarm>>,
}

/// Groups of rows.
pub struct OfGroups {
    /// The rows.
    pub table: Entities,
    /// Their groups.
    pub groups: clustering::Groups,
    /// The family that formed them.
    pub family: &'static str,
}

/// What an evaluation says of all such tasks: a text, a value, and the pages that were written.
pub struct Told {
    /// For a terminal.
    pub text: String,
    /// For programs, by task.
    pub whole: Value,
}

/// Looks for everything that the manifest asks for, in the clean tables of a folder, and writes a
/// page per task, and one per flagged row, beside the evaluation.
pub async fn evaluate(
    workspace: &Workspace,
    host: &Host,
    clean: &Path,
    reports: &Path,
) -> Result<Told> {
    let (mut text, mut whole) = (String::new(), serde_json::Map::new());
    for spec in UnsupervisedSpec::all(&workspace.manifest) {
        let looked = look(workspace, host, clean, &spec)
            .await
            .with_context(|| format!("the task `{}` cannot be looked at", spec.name))?;
        text += &format!("\n{}\n{}", spec.name, looked.to_text());
        whole.insert(spec.name.clone(), looked.to_value());
        let page = pages::write_all(&spec, &looked, reports)?;
        host.fact(Fact::Report { file: page.display().to_string() });
    }
    Ok(Told { text, whole: Value::Object(whole) })
}

async fn look(
    workspace: &Workspace,
    host: &Host,
    clean: &Path,
    spec: &UnsupervisedSpec,
) -> Result<Looked> {
    let work = host.begin(Step::LookFor, spec.name.clone());
    let files = parquet_files(&folder(workspace, clean, &spec.table))?;
    let mut looked = match &spec.task {
        UnsupervisedTask::Anomaly(task) if task.is_of_series() => {
            let series = read_series(task, files)?;
            let alarms = series.iter().map(|series| series::alarms(series, task));
            let alarms = alarms.collect::<Result<Vec<_>, _>>()?;
            Looked::Series(OfSeries { series, alarms })
        }
        UnsupervisedTask::Anomaly(task) => {
            let table = read_entities(spec, (task.entity(), task.within.as_deref()), files)?;
            let found = rows::find(&table, task)?;
            let panel = proof::panel(workspace, clean, task)?;
            let task = (**task).clone();
            Looked::Rows(Box::new(OfRows { task, found, panel, proof: None }))
        }
        UnsupervisedTask::Clustering(task) => {
            let table = read_entities(spec, (&task.entity, None), files)?;
            let groups = clustering::find(&table, task)?;
            Looked::Groups(Box::new(OfGroups { table, groups, family: task.model.kind.name() }))
        }
    };
    let (looked_at, found) = looked.summary();
    work.done(Did::LookFor { task: spec.name.clone(), looked_at, found });
    for note in looked.notes() {
        host.fact(Fact::DataNote { note: note.clone() });
    }
    if let Looked::Rows(of) = &mut looked
        && let Some(panel) = &of.panel
    {
        let bench = proof::Bench { workspace, clean, spec, task: &of.task, panel };
        of.proof = Some(bench.prove(host).await?);
    }
    Ok(looked)
}

/// Where a table lies in a folder that looks like the bucket.
fn folder(workspace: &Workspace, clean: &Path, table: &str) -> PathBuf {
    clean.join(keys::table_prefix(&workspace.manifest.name, table))
}

impl OfRows {
    /// The flagged rows, the most unusual first.
    pub fn flagged(&self) -> Vec<&Judged> {
        let mut flagged: Vec<&Judged> = self.found.rows.iter().filter(|row| row.flagged).collect();
        flagged.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.entity.cmp(&b.entity)));
        flagged
    }

    fn to_text(&self) -> String {
        let row = |row: &&Judged| {
            vec![
                row.entity.clone(),
                row.within.clone().unwrap_or_else(|| "all rows".to_owned()),
                format!("{:.3}", row.score),
                reasons(row),
            ]
        };
        let flagged = self.flagged();
        let rows: Vec<Vec<String>> = flagged.iter().take(NAMED).map(row).collect();
        let mut text = table(&[self.task.entity(), "within", "score", "reasons"], &rows);
        text += &left_out(flagged.len());
        if let Some(proof) = &self.proof {
            text += &format!("\n{}", proof.to_text());
        }
        text
    }
}

/// The reasons of a row in one line: `zero_days 34 (usual 0)`.
pub fn reasons(row: &Judged) -> String {
    let one = |reason: &rows::Reason| {
        let value = reason.value.map_or("missing".to_owned(), short);
        format!("{} {value} (usual {})", reason.column, short(reason.usual))
    };
    row.reasons.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A number with three digits that count; a whole one as it is.
pub fn short(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e9 {
        return format!("{value}");
    }
    let digits = if value == 0.0 { 0 } else { 2 - value.abs().log10().floor() as i32 };
    format!("{value:.*}", digits.clamp(0, 9) as usize)
}

impl OfSeries {
    fn to_text(&self) -> String {
        let all = self.alarms.iter().flatten();
        let row = |alarm: &series::Alarm| {
            let (value, score) = (short(alarm.value), format!("{:.3}", alarm.score));
            vec![alarm.series.clone(), alarm.time.clone(), value, score]
        };
        let mut alarms: Vec<&series::Alarm> = all.collect();
        alarms.sort_by(|a, b| b.score.total_cmp(&a.score));
        let rows: Vec<Vec<String>> = alarms.iter().take(NAMED).map(|alarm| row(alarm)).collect();
        let mut text = table(&["series", "time", "value", "score"], &rows);
        text += &left_out(alarms.len());
        text
    }
}

impl OfGroups {
    fn to_text(&self) -> String {
        let row = |(number, group): (usize, &clustering::Profile)| {
            vec![(number + 1).to_string(), group.rows.to_string(), group.words.clone()]
        };
        let rows: Vec<Vec<String>> = self.groups.profiles.iter().enumerate().map(row).collect();
        let mut text = table(&["group", "rows", "what is unlike the others"], &rows);
        let alone = self.groups.labels.iter().filter(|label| label.is_none()).count();
        if alone > 0 {
            text += &format!("{alone} rows are in no group\n");
        }
        if let Some(silhouette) = self.groups.silhouette {
            text += &format!("silhouette {silhouette:.3} (1: groups lie apart; 0: they touch)\n");
        }
        text
    }
}

impl Looked {
    /// Rows or series that were looked at, and what was found.
    fn summary(&self) -> (usize, String) {
        match self {
            Self::Rows(of) => (of.found.rows.len(), format!("{} flagged", of.flagged().len())),
            Self::Series(of) => {
                let alarms = of.alarms.iter().map(Vec::len).sum::<usize>();
                (of.series.len(), format!("{alarms} unusual values"))
            }
            Self::Groups(of) => {
                (of.table.names.len(), format!("{} groups", of.groups.profiles.len()))
            }
        }
    }

    fn notes(&self) -> &[String] {
        match self {
            Self::Rows(of) => &of.found.notes,
            Self::Series(_) => &[],
            Self::Groups(of) => &of.groups.notes,
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Rows(of) => of.to_text(),
            Self::Series(of) => of.to_text(),
            Self::Groups(of) => of.to_text(),
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Rows(of) => json!({
                "rows": of.found.rows.len(),
                "flagged": of.flagged(),
                "proof": of.proof,
            }),
            Self::Series(of) => {
                let alarms: Vec<&series::Alarm> = of.alarms.iter().flatten().collect();
                json!({ "series": of.series.len(), "alarms": alarms })
            }
            Self::Groups(of) => {
                let group = |group: &clustering::Profile| {
                    let means = of.table.columns.iter().zip(&group.means);
                    let means: serde_json::Map<String, Value> =
                        means.map(|(name, mean)| (name.clone(), json!(mean))).collect();
                    json!({ "rows": group.rows, "words": group.words, "means": means })
                };
                json!({
                    "groups": of.groups.profiles.iter().map(group).collect::<Vec<_>>(),
                    "silhouette": of.groups.silhouette,
                    "candidates": of.groups.candidates,
                })
            }
        }
    }
}

/// How many rows a text leaves out, if any.
fn left_out(all: usize) -> String {
    if all > NAMED { format!("and {} more\n", all - NAMED) } else { String::new() }
}
