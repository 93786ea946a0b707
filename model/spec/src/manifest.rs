//! `pipeline.toml`: what a pipeline reads, checks, trains, asks and deploys.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::as_of::Earlier;
use crate::capabilities::{DriftCheck, Retrain, Scoring, StackOptions};
use crate::column::{Column, ColumnType, Columns};
use crate::defects::Defects;
use crate::input::{Format, Input};
use crate::names::{name_defect, project_defect};
use crate::problems::{Problems, nearest, parse};
use crate::rules::{default_rules, looked_at};
use crate::schema::json_schema;
use crate::shape;
use crate::tables::Table;
use crate::tasks::forecast::{ForecastEntry, Holidays};
use crate::tasks::unsupervised::anomaly::AnomalyTask;
use crate::tasks::unsupervised::{Fits, Unsupervised, need_column};
use crate::tasks::{Served, TaskEntry};
use crate::training::TrainSpec;

/// Version of the manifest's schema.
pub const MANIFEST_SCHEMA_VERSION: u32 = 2;
/// Names of the catalogue's own tables.
const OWN_TABLES: [&str; 2] = ["predictions", "forecasts"];
/// What the names of the catalogue's tables on files begin with.
const RAW: &str = "raw_";

/// What a pipeline reads, checks, trains, asks and deploys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "pipeline.toml")]
pub struct Manifest {
    /// Version of this form: 2.
    pub schema_version: u32,
    /// Name of the pipeline, which is its folder's: lower-case letters and digits, at most 16.
    pub name: String,
    /// What it predicts, for people.
    #[serde(default = "description")]
    pub description: String,
    /// The files that it reads, each of one form.
    #[schemars(length(min = 1, max = 50))]
    pub inputs: Vec<Input>,
    /// Tables made of them.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub tables: Vec<Table>,
    /// What is predicted: one task whose model is trained and served; and what is looked for beside
    /// it, `anomaly` and `clustering`.
    #[schemars(length(min = 1, max = 10))]
    pub tasks: Vec<TaskEntry>,
    /// Named questions in SQL, for `cargo xtask query`.
    #[serde(default)]
    pub queries: Vec<NamedQuery>,
    /// What must hold of the tables of a deployment, for `cargo xtask smoke-test`.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub checks: Vec<TableCheck>,
    /// What is deployed, and how large it is.
    #[serde(default)]
    pub stack: StackOptions,
    /// Training in the stack, champion against challenger; none without this section.
    pub retrain: Option<Retrain>,
    /// The check for drift in the stack; none without this section.
    pub drift: Option<DriftCheck>,
}

/// A named question in SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedQuery {
    /// Name of the question: lower-case letters, digits and inner hyphens.
    pub name: String,
    /// What it answers, for people.
    pub description: String,
    /// File of its SQL, beside the manifest.
    pub file: String,
    /// What `query NAME --chart` draws of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<Chart>,
}

/// A chart of an answer: lines over its rows, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    /// The column whose values stand along the axis.
    pub x: String,
    /// Columns of numbers, a line each; the first one is what the others are held against.
    #[schemars(length(min = 1, max = 4))]
    pub y: Vec<String>,
    /// The column whose values have a chart each; one chart when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Two columns of numbers with the ends of a shaded band.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<[String; 2]>,
}

/// A question in SQL whose answer is a number within bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableCheck {
    /// Name of the check: lower-case letters, digits and inner hyphens.
    pub name: String,
    /// What the number is, for people.
    pub description: String,
    /// File of its SQL, beside the manifest: one row with one number.
    pub file: String,
    /// The least that it may be.
    pub at_least: f64,
    /// The most that it may be.
    pub at_most: f64,
}

impl Manifest {
    /// Parses and checks `text`, the content of `file`. Everything wrong is reported at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let mut value: Value = parse(file, text)?;
        let mut defects = Defects::default();
        shape::check(&json_schema::<Self>(), &mut value, "", &mut defects);
        let read = serde_json::from_value::<Self>(value);
        match &read {
            Ok(manifest) => manifest.defects(file, &mut defects),
            // Otherwise what is needed is missing, and that is told.
            Err(error) if defects.is_empty() => defects.add("", error.to_string()),
            Err(_) => {}
        }
        defects.located(file, text)?;
        Ok(read.expect("an error is a defect").completed())
    }

    /// With what is not said because it follows.
    fn completed(mut self) -> Self {
        let (table, entry) = (self.source().name.to_owned(), self.task());
        let columns = self.input(&table).map(|input| &input.columns);
        let rules = columns.map(|columns| default_rules(entry, columns)).unwrap_or_default();
        let keys = entry.keys();
        for input in &mut self.inputs {
            if input.name == table {
                if input.rules.is_empty() {
                    input.rules.clone_from(&rules);
                }
                if input.unique.is_empty() {
                    input.unique.clone_from(&keys);
                }
            }
            let (columns, rules) = (&input.columns, &mut input.rules);
            for rule in rules.iter_mut().filter(|rule| rule.column.is_none()) {
                rule.column = looked_at(&rule.when, columns).map(str::to_owned);
            }
        }
        self
    }

    /// What is predicted.
    ///
    /// # Panics
    /// If nothing is, which no manifest that was parsed says.
    pub fn task(&self) -> Served<'_> {
        self.served().expect("a manifest has a task that is served").1
    }

    /// What is predicted, with its number.
    fn served(&self) -> Option<(usize, Served<'_>)> {
        let mut tasks = self.tasks.iter().enumerate();
        tasks.find_map(|(at, task)| Some((at, task.served()?)))
    }

    /// Whether a run's answers are made by functions that score parts of the table.
    pub fn scores_batches(&self) -> bool {
        self.stack.scoring == Scoring::Batch
            || self.served().is_some_and(|(_, task)| task.tabular().is_some())
    }

    /// Whether a run knows what to answer about when nobody has named it.
    pub fn runs_by_itself(&self) -> bool {
        self.stack.verify || self.scores_batches()
    }

    /// What is looked for without a target, in the order of the tasks.
    pub fn unsupervised(&self) -> impl Iterator<Item = Unsupervised<'_>> {
        self.tasks.iter().filter_map(Unsupervised::of)
    }

    /// The table that the task is about.
    pub fn source(&self) -> Source<'_> {
        let named = self.served().and_then(|(_, task)| task.table());
        let name = named.unwrap_or(&self.inputs[0].name);
        self.stored().find(|table| table.name == name).unwrap_or(Source::of(&self.inputs[0]))
    }

    /// Every table that a run makes: those of inputs first.
    pub fn stored(&self) -> impl Iterator<Item = Source<'_>> {
        self.inputs.iter().map(Source::of).chain(self.tables.iter().map(Source::made))
    }

    /// The input called `name`.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }

    fn defects(&self, file: &str, out: &mut Defects) {
        let (version, name) = (self.schema_version, &self.name);
        out.need("schema_version", version == MANIFEST_SCHEMA_VERSION, || {
            format!("`schema_version` is {version}, this program reads {MANIFEST_SCHEMA_VERSION}")
        });
        if let Some(defect) = name_defect(name) {
            out.add("name", format!("the name `{name}` {defect}"));
        }
        // A copied folder whose manifest has the original's name would be deployed as the original.
        let folder = file.rsplit('/').nth(1).unwrap_or(name);
        out.need("name", folder == name, || {
            format!(
                "the name is `{name}`, but the folder is `{folder}`; a pipeline is called as its \
                 folder"
            )
        });
        self.table_names(out);
        self.inputs.iter().enumerate().for_each(|(at, input)| input.defects(at, out));
        let mut earlier: Earlier<'_> =
            self.inputs.iter().map(|input| (Source::of(input), &*input.unique)).collect();
        for (at, table) in self.tables.iter().enumerate() {
            table.defects(at, &earlier, out);
            earlier.push((Source::made(table), &table.keys));
        }
        self.task_defects(out);
        self.query_names(out);
        self.check_defects(out);
        self.stack.defects(self, out);
    }

    /// Inputs and tables are tables of one database.
    fn table_names(&self, out: &mut Defects) {
        let inputs = self.inputs.iter().map(|input| &input.name).enumerate();
        let inputs = inputs.map(|(at, name)| (format!("inputs[{at}].name"), name));
        let tables = self.tables.iter().map(|table| &table.name).enumerate();
        let tables = tables.map(|(at, name)| (format!("tables[{at}].name"), name));
        let mut seen = BTreeSet::new();
        for (key, name) in inputs.chain(tables) {
            if let Some(defect) = table_name_defect(name) {
                out.add(&key, format!("the table name `{name}` {defect}"));
            }
            let own = OWN_TABLES.contains(&name.as_str()) || name.starts_with(RAW);
            out.need(&key, !own, || {
                format!("`{name}` is the name of a table that the pipeline makes itself")
            });
            out.need(&key, seen.insert(name), || format!("the table `{name}` is declared twice"));
        }
    }

    fn task_defects(&self, out: &mut Defects) {
        for (at, task) in self.tasks.iter().enumerate() {
            match Unsupervised::of(task) {
                Some(task) => self.unsupervised_defects(at, task, out),
                None => self.served_defects(at, task, out),
            }
        }
        if self.served().is_none() {
            out.add(
                "tasks",
                "no task has a model that is served: what is unusual and which groups there are is \
                 looked for beside a task `forecast`, `classification` or `regression`"
                    .to_owned(),
            );
        }
    }

    /// The table `name` of the task with the number `at`, as a task can read it.
    fn table_of(&self, at: usize, name: &str, out: &mut Defects) -> Option<Source<'_>> {
        let key = format!("tasks[{at}].table");
        let Some(source) = self.stored().find(|table| table.name == name) else {
            let near = nearest(name, self.stored().map(|table| table.name));
            out.add_with(
                key,
                format!("`table` is `{name}`, but there is no such input or table"),
                near.map(|near| format!("did you mean `{near}`?")),
            );
            return None;
        };
        out.need(key, source.format == Format::Parquet, || {
            format!("a task reads Parquet, and `output` of `{}` says otherwise", source.name)
        });
        Some(source)
    }

    fn served_defects(&self, at: usize, task: &TaskEntry, out: &mut Defects) {
        let Some(served) = task.served() else { return };
        if let Some(defect) = project_defect(task.name()) {
            let message = format!("the task name `{}` {defect}", task.name());
            out.add(format!("tasks[{at}].name"), message);
        }
        let first = self.served().is_some_and(|(first, _)| first == at);
        out.need(format!("tasks[{at}]"), first, || {
            format!("`{}` would be a second model to train and serve; there is one", task.name())
        });
        if served.table().is_none() {
            let only = self.inputs.len() == 1 && self.tables.is_empty();
            out.need(format!("tasks[{at}].table"), only, || {
                "there are several tables, so `table` must say which the task is about".to_owned()
            });
        }
        let name = served.table().unwrap_or(&self.inputs[0].name);
        let Some(source) = self.table_of(at, name, out) else { return };
        match served {
            Served::Forecast(entry) => self.forecast_defects(at, entry, source, out),
            Served::Tabular(entry) => out.of_task(at, |out| {
                entry.task.column_defects(source.name, source.columns, out);
                entry.task.defects(out);
            }),
        }
    }

    fn unsupervised_defects(&self, at: usize, task: Unsupervised<'_>, out: &mut Defects) {
        let (key, name) = (format!("tasks[{at}].name"), task.name());
        if let Some(defect) = table_name_defect(name) {
            out.add(&key, format!("the name `{name}` is that of the task's table, which {defect}"));
        }
        let taken = self.stored().any(|table| table.name == name);
        out.need(&key, !taken && !OWN_TABLES.contains(&name), || {
            format!("`{name}` is the name of the task's table, and there is another one of it")
        });
        let earlier = self.tasks[..at].iter().any(|earlier| earlier.name() == name);
        out.need(&key, !earlier, || format!("the task `{name}` is declared twice"));
        let Some(source) = self.table_of(at, task.table(), out) else { return };
        let table = (source.name, source.columns);
        out.of_task(at, |out| match task {
            Unsupervised::Anomaly(entry) => {
                entry.task.defects(table, out);
                self.readings_defects(&entry.task, out);
            }
            Unsupervised::Clustering(entry) => entry.task.defects(table, out),
        });
    }

    /// What is wrong with the values behind the rows of a task.
    fn readings_defects(&self, task: &AnomalyTask, out: &mut Defects) {
        let (Some(readings), Some(entity)) = (&task.readings, &task.entity) else { return };
        let Some(input) = self.input(&readings.input) else {
            let near = nearest(&readings.input, self.inputs.iter().map(|input| &*input.name));
            out.add_with(
                "task.readings.input",
                format!("there is no input `{}`", readings.input),
                near.map(|near| format!("did you mean `{near}`?")),
            );
            return;
        };
        let table = (&*input.name, &input.columns);
        let need = |key, name, fits: Fits, expected, out: &mut Defects| {
            need_column((key, name), table, (fits, expected), out);
        };
        let text = |kind| kind == ColumnType::String;
        need("task.readings.input", entity, text, "`string`", out);
        let time = ColumnType::is_time;
        need("task.readings.time", &readings.time, time, "`date` or `timestamp`", out);
        let double = |kind| kind == ColumnType::Double;
        need("task.readings.value", &readings.value, double, "`double`", out);
    }

    fn forecast_defects(
        &self,
        at: usize,
        entry: &ForecastEntry,
        source: Source<'_>,
        out: &mut Defects,
    ) {
        out.of_task(at, |out| {
            entry.task.column_defects(source.name, source.columns, out);
            TrainSpec::of_entry(self, entry).defects(out);
        });
        if let Holidays::Table(name) = &entry.task.holidays {
            let table = self.stored().find(|table| table.name == name);
            let day = table.and_then(|table| table.column("day"));
            let read = table.is_some_and(|table| table.format == Format::Parquet);
            let fits = read && day.is_some_and(|day| day.kind == ColumnType::Date);
            out.need(format!("tasks[{at}].holidays"), fits, || {
                format!(
                    "`holidays` is `{name}`; expected an input or table with a column `day` of the \
                     type `date`, stored as Parquet"
                )
            });
        }
        let of_input = [
            ("leave_out", !entry.leave_out.is_empty()),
            ("partial_period", entry.partial_period.is_some()),
        ];
        for (key, given) in of_input {
            out.need(format!("tasks[{at}].{key}"), !given || source.input.is_some(), || {
                format!(
                    "`{key}` rejects records of an input, and `{}` is made by SQL: let its SQL do \
                     that",
                    source.name
                )
            });
        }
    }

    fn check_defects(&self, out: &mut Defects) {
        let mut names = BTreeSet::new();
        for (at, check) in self.checks.iter().enumerate() {
            let (key, name) = (format!("checks[{at}].name"), &check.name);
            if let Some(defect) = project_defect(name) {
                out.add(&key, format!("the name of the check `{name}` {defect}"));
            }
            out.need(&key, names.insert(name), || format!("the check `{name}` is declared twice"));
            out.need(format!("checks[{at}].at_most"), check.at_least <= check.at_most, || {
                format!("`at_most` of the check `{name}` is less than `at_least`")
            });
        }
    }

    fn query_names(&self, out: &mut Defects) {
        let mut queries = BTreeSet::new();
        for (at, name) in self.queries.iter().map(|query| &query.name).enumerate() {
            let key = format!("queries[{at}].name");
            if let Some(defect) = project_defect(name) {
                out.add(&key, format!("the query name `{name}` {defect}"));
            }
            out.need(&key, queries.insert(name), || {
                format!("the query `{name}` is declared twice")
            });
        }
    }
}

/// A table that a run makes.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it holds.
    pub description: &'a str,
    /// Its columns.
    pub columns: &'a Columns,
    /// Format in which it is stored.
    pub format: Format,
    /// The input whose clean table it is.
    pub input: Option<&'a Input>,
}

impl<'a> Source<'a> {
    fn of(input: &'a Input) -> Self {
        Self {
            name: &input.name,
            description: "",
            columns: &input.columns,
            format: input.output,
            input: Some(input),
        }
    }

    fn made(table: &'a Table) -> Self {
        Self {
            name: &table.name,
            description: &table.description,
            columns: &table.columns,
            format: table.output,
            input: None,
        }
    }

    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&'a Column> {
        self.columns.get(name)
    }
}

/// What is wrong with a name of the catalogue, if anything.
fn table_name_defect(name: &str) -> Option<&'static str> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    (!plain || !begins || name.len() > 64).then_some(
        "must begin with a lower-case letter and consist of at most 64 lower-case letters, digits \
         and underscores",
    )
}

fn description() -> String {
    "Forecasts of the next periods".to_owned()
}
