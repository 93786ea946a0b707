//! `pipeline.toml`: what a pipeline reads, checks, trains, asks and deploys.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::capabilities::{DriftCheck, Retrain, StackOptions};
use crate::defects::Defects;
use crate::families::Model;
use crate::input::{Column, Data};
use crate::names::{name_defect, project_defect};
use crate::problems::{Problems, parse};
use crate::quality::{Quality, default_rules};
use crate::tasks::forecast::{Backtest, Task};

/// Version of the manifest's schema.
pub const MANIFEST_SCHEMA_VERSION: u32 = 1;

/// The whole manifest, checked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the pipeline.
    pub name: String,
    /// What it forecasts.
    #[serde(default = "description")]
    pub description: String,
    /// The input.
    pub data: Data,
    /// What is refused.
    #[serde(default)]
    pub quality: Quality,
    /// What is forecast.
    pub task: Task,
    /// With which model.
    #[serde(default)]
    pub model: Model,
    /// How it is judged.
    #[serde(default)]
    pub backtest: Backtest,
    /// Named questions in SQL.
    #[serde(default)]
    pub queries: Vec<NamedQuery>,
    /// What is deployed.
    #[serde(default)]
    pub stack: StackOptions,
    /// Training in the stack; none without it.
    pub retrain: Option<Retrain>,
    /// The check for drift in the stack; none without it.
    pub drift: Option<DriftCheck>,
}

/// A named question in SQL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedQuery {
    /// Its name.
    pub name: String,
    /// What it answers.
    pub description: String,
    /// Its file, beside the manifest.
    pub file: String,
}

impl Manifest {
    /// Parses and checks `text`, the content of `file`. Everything wrong is reported at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let mut manifest: Self = parse(file, text)?;
        let mut defects = Defects::default();
        manifest.defects(file, &mut defects);
        defects.located(file, text)?;
        if manifest.quality.rules.is_empty() {
            manifest.quality.rules = default_rules(&manifest);
        }
        Ok(manifest)
    }

    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.data.column(name)
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
        self.data.defects(out);
        self.quality.defects(self, out);
        self.task.defects(self, out);
        self.model.defects(out);
        self.backtest.defects(out);
        self.query_names(out);
        self.stack.defects(self, out);
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

fn description() -> String {
    "Forecasts of the next periods".to_owned()
}
