//! How good a search for unusual rows is, where nobody says which ones are: faults are planted in
//! the readings behind the rows, and the tables are made anew of them; and the two halves of the
//! time are looked at apart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use steppe_model::rows::matrix::Matrix;
use steppe_model::rows::suspicions::rank_correlation;
use steppe_model::rows::table::Column;
use steppe_model::unsupervised::faults::{Fault, Panel, Planted};
use steppe_model::unsupervised::rows::Judged;
use steppe_model::unsupervised::{Entities, read_entities, rows};
use steppe_plan::etl::again;
use steppe_plan::events::{Did, Fact, Step};
use steppe_spec::UnsupervisedSpec;
use steppe_spec::unsupervised::anomaly::{AnomalyTask, Readings};
use steppe_wire::etl::{EtlPlan, TableFormat};

use super::folder;
use crate::cleaning::{Placed, engine, parquet_files};
use crate::host::Host;
use crate::project::{Workspace, write};
use crate::table::table;

/// Share of the rows that are faulty in one search.
const SHARE_FAULTY: f64 = 0.01;
const SEED: u64 = 1;

/// How good a search is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proof {
    /// What was found of each fault.
    pub faults: Vec<OfFault>,
    /// How much the halves of the time agree; none where one of them makes no rows.
    pub halves: Option<Halves>,
}

/// What was found of one fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfFault {
    /// What it is called.
    pub fault: &'static str,
    /// What was planted.
    pub what: String,
    /// Cases.
    pub planted: usize,
    /// Cases that were flagged.
    pub flagged: usize,
    /// Of these such whose first reason is the column that the fault changed most.
    pub named_first: usize,
    /// Of these such one of whose reasons is that column.
    pub named: usize,
    /// The column that it changed most, in most of the cases.
    pub column: String,
}

/// What two halves of the time say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Halves {
    /// Who has a row in both.
    pub rows: usize,
    /// Who is flagged in the first, in the second, and in both.
    pub flagged: [usize; 3],
    /// Correlation of the ranks.
    pub correlation: f64,
}

/// The readings behind the rows of a task, if it names them.
pub fn panel(workspace: &Workspace, clean: &Path, task: &AnomalyTask) -> Result<Option<Panel>> {
    let Some(readings) = &task.readings else { return Ok(None) };
    let input = workspace.manifest.input(&readings.input).context("the input of the readings")?;
    let files = parquet_files(&folder(workspace, clean, &readings.input))?;
    let names: Vec<&str> = input.columns.iter().map(|column| column.name.as_str()).collect();
    let panel = Panel::read(&names, task.entity(), readings, files)
        .with_context(|| format!("the readings of `{}` cannot be used", readings.input))?;
    Ok(Some(panel))
}

/// Where a search is tried.
pub struct Bench<'a> {
    /// The pipeline.
    pub workspace: &'a Workspace,
    /// Its clean tables.
    pub clean: &'a Path,
    /// What is looked for.
    pub spec: &'a UnsupervisedSpec,
    /// The same.
    pub task: &'a AnomalyTask,
    /// The readings.
    pub panel: &'a Panel,
}

impl Bench<'_> {
    /// Plants faults and looks whether they are found.
    pub async fn prove(&self, host: &Host) -> Result<Proof> {
        let work = host.begin(Step::Plant, self.spec.name.clone());
        let before = self.rows_in(self.clean)?;
        let mut cases: BTreeMap<Fault, Vec<Case>> = BTreeMap::new();
        for round in self.panel.rounds(SEED) {
            let (values, planted) = self.panel.plant(&round, SEED);
            let after = self.table_of(self.panel.csv(&values, |_| true)).await?;
            for (fault, case) in self.cases(&before, &after, &planted)? {
                cases.entry(fault).or_default().push(case);
            }
        }
        let faults: Vec<OfFault> =
            cases.into_iter().map(|(fault, cases)| OfFault::of(fault, &cases)).collect();
        let halves = self.halves(host).await?;
        let (all, found) = (faults.iter().map(|f| f.planted), faults.iter().map(|f| f.flagged));
        work.done(Did::Plant { faults: all.sum(), found: found.sum() });
        Ok(Proof { faults, halves })
    }

    /// Each case in a table of others as they are.
    fn cases(
        &self,
        before: &Entities,
        after: &Entities,
        planted: &[Planted],
    ) -> Result<Vec<(Fault, Case)>> {
        let names: Vec<&str> = self.panel.names().collect();
        let (old, new) = (places(before), places(after));
        let (mut cases, mut known) = (Vec::new(), Vec::new());
        for one in planted {
            let name = names[one.entity];
            // Whoever had no row before is not looked at, faulty or not.
            let Some(at) = old.get(name) else { continue };
            match new.get(name) {
                Some(from) => known.push((*one, *at, *from)),
                None => cases.push((one.fault, Case::lost())),
            }
        }
        let at_once = ((SHARE_FAULTY * before.names.len() as f64) as usize).max(1);
        for some in known.chunks(at_once) {
            let mixed = replaced(before, after, some);
            let found = rows::decide(&mixed, self.task)?;
            for (one, at, from) in some {
                let changed = most_changed(before, *at, after, *from);
                cases.push((one.fault, Case::of(&found.rows[*at], changed)));
            }
        }
        Ok(cases)
    }

    async fn halves(&self, host: &Host) -> Result<Option<Halves>> {
        let (middle, mut found) = (self.panel.middle(), Vec::new());
        for first in [true, false] {
            let values = self.panel.values();
            let half = self.table_of(self.panel.csv(values, |time| (time < middle) == first));
            // A half may be too short for the SQL to make a row of anybody.
            match half.await {
                Ok(half) => found.push(rows::decide(&half, self.task)?.rows),
                Err(error) => {
                    let half = if first { "first" } else { "second" };
                    let note = format!("halves not compared: of the {half} one, {error:#}");
                    host.fact(Fact::DataNote { note });
                    return Ok(None);
                }
            }
        }
        Ok(Halves::of(&found[0], &found[1]))
    }

    /// The rows that the pipeline's SQL makes of other readings.
    async fn table_of(&self, readings: Vec<u8>) -> Result<Entities> {
        let scratch = tempfile::tempdir_in(self.workspace.scratch())
            .context("cannot make a folder for planted faults")?;
        let wanted: &Readings = self.task.readings.as_ref().context("the task names readings")?;
        let manifest = &self.workspace.manifest;
        let plan = again(manifest, &self.workspace.etl_plan, &wanted.input, &self.spec.table);
        let file = scratch.path().join("readings.csv");
        write(&file, &readings)?;
        let placed = self.placed(&plan, &wanted.input, &file)?;
        let dir = scratch.path().join("run");
        engine(&self.workspace.root, &plan, &placed, &dir)
            .await
            .context("the tables cannot be made of readings in which faults were planted")?;
        self.rows_in(&dir)
    }

    /// The files of each input: clean tables as they are, but for the readings.
    fn placed(&self, plan: &EtlPlan, changed: &str, file: &Path) -> Result<Vec<Vec<Placed>>> {
        let place =
            |path: PathBuf, name: String| Placed { called: path.display().to_string(), name, path };
        let of = |input: &steppe_wire::etl::InputPlan| {
            if input.name == changed {
                return Ok(vec![place(file.to_owned(), "readings.csv".to_owned())]);
            }
            let stored = folder(self.workspace, self.clean, &input.name);
            let files = std::fs::read_dir(&stored)?.map(|entry| Ok(entry?.path()));
            let mut files = files.collect::<std::io::Result<Vec<PathBuf>>>()?;
            files.retain(|path| is_of(path, input.format));
            files.sort();
            let named = files.into_iter().enumerate();
            let extension = input.format.name();
            Ok(named.map(|(at, path)| place(path, format!("{at}.{extension}"))).collect())
        };
        plan.inputs.iter().map(of).collect()
    }

    fn rows_in(&self, dir: &Path) -> Result<Entities> {
        let files = parquet_files(&folder(self.workspace, dir, &self.spec.table))?;
        let own = (self.task.entity(), self.task.within.as_deref());
        Ok(read_entities(self.spec, own, files)?)
    }
}

/// Whether a file of a table is one of its data.
fn is_of(path: &Path, format: TableFormat) -> bool {
    path.extension().is_some_and(|extension| extension == format.name())
}

fn places(table: &Entities) -> BTreeMap<&str, usize> {
    table.names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect()
}

/// A table in which some rows are those of another one.
fn replaced(before: &Entities, after: &Entities, some: &[(Planted, usize, usize)]) -> Entities {
    let mut values = Matrix::empty(before.names.len());
    for column in 0..before.columns.len() {
        let mut of_column = before.values.column(column).to_vec();
        for (_, at, from) in some {
            of_column[*at] = after.values.at(*from, column);
        }
        values.push(&of_column);
    }
    Entities { values, ..before.clone() }
}

/// The column that changed most, in standard deviations of all rows.
fn most_changed(before: &Entities, at: usize, after: &Entities, from: usize) -> String {
    let change = |column: usize| {
        let all = before.values.column(column).iter().copied().filter(|value| !value.is_nan());
        let (count, sum) = all.clone().fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
        let mean = sum / count;
        let deviation = (all.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        let change = after.values.at(from, column) - before.values.at(at, column);
        let change = change.abs() / deviation;
        if change.is_finite() { change } else { 0.0 }
    };
    let most = (0..before.columns.len()).max_by(|a, b| change(*a).total_cmp(&change(*b)));
    before.columns[most.unwrap_or_default()].clone()
}

/// What was found of one planted fault.
struct Case {
    flagged: bool,
    /// The place of the column that changed most among the reasons.
    named: Option<usize>,
    column: String,
}

impl Case {
    fn of(row: &Judged, column: String) -> Self {
        let named = row.reasons.iter().position(|reason| reason.column == column);
        Self { flagged: row.flagged, named, column }
    }

    /// Of a fault by which the SQL makes no row any more: nobody can flag it.
    fn lost() -> Self {
        Self { flagged: false, named: None, column: String::new() }
    }
}

impl OfFault {
    fn of(fault: Fault, cases: &[Case]) -> Self {
        let flagged: Vec<&Case> = cases.iter().filter(|case| case.flagged).collect();
        let mut columns: BTreeMap<&str, usize> = BTreeMap::new();
        let named = cases.iter().filter(|case| !case.column.is_empty());
        named.for_each(|case| *columns.entry(&case.column).or_default() += 1);
        let column = columns.into_iter().max_by_key(|(_, count)| *count);
        Self {
            fault: fault.name(),
            what: fault.told(),
            planted: cases.len(),
            flagged: flagged.len(),
            named_first: flagged.iter().filter(|case| case.named == Some(0)).count(),
            named: flagged.iter().filter(|case| case.named.is_some()).count(),
            column: column.map(|(name, _)| name.to_owned()).unwrap_or_default(),
        }
    }
}

impl Halves {
    fn of(first: &[Judged], second: &[Judged]) -> Option<Self> {
        let of_second: BTreeMap<&str, &Judged> =
            second.iter().map(|row| (row.entity.as_str(), row)).collect();
        let both: Vec<(&Judged, &Judged)> =
            first.iter().filter_map(|row| Some((row, *of_second.get(&*row.entity)?))).collect();
        let scores: Vec<f64> = both.iter().map(|(row, _)| row.score).collect();
        let others: Vec<f64> = both.iter().map(|(_, row)| row.score).collect();
        let correlation = rank_correlation(&Column::Number(scores), &others)?;
        let flagged =
            |which: fn(&(&Judged, &Judged)) -> bool| both.iter().filter(|pair| which(pair)).count();
        Some(Self {
            rows: both.len(),
            flagged: [
                flagged(|(one, _)| one.flagged),
                flagged(|(_, other)| other.flagged),
                flagged(|(one, other)| one.flagged && other.flagged),
            ],
            correlation,
        })
    }

    /// In a sentence.
    pub fn told(&self) -> String {
        let [first, second, both] = self.flagged;
        let chance = first as f64 * second as f64 / self.rows.max(1) as f64;
        format!(
            "halves of the time: of {} rows {first} and {second} are flagged, {both} in both \
             ({chance:.1} by chance); correlation of the ranks {:.2}",
            self.rows, self.correlation
        )
    }
}

impl Proof {
    /// For a terminal.
    pub fn to_text(&self) -> String {
        let share = |part: usize, of: usize| {
            if of == 0 { String::new() } else { format!("{:.2}", part as f64 / of as f64) }
        };
        let row = |fault: &OfFault| {
            vec![
                fault.fault.to_owned(),
                fault.planted.to_string(),
                share(fault.flagged, fault.planted),
                share(fault.named_first, fault.flagged),
                share(fault.named, fault.flagged),
                fault.column.clone(),
            ]
        };
        let rows: Vec<Vec<String>> = self.faults.iter().map(row).collect();
        let head = ["planted", "cases", "found", "named first", "named", "column"];
        let mut text = table(&head, &rows);
        let columns: BTreeSet<&str> = self.faults.iter().map(|fault| &*fault.column).collect();
        if columns.is_empty() {
            text = "nothing could be planted: nobody has 60 readings above zero\n".to_owned();
        }
        if let Some(halves) = &self.halves {
            text += &format!("{}\n", halves.told());
        }
        text
    }
}
