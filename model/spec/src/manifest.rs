//! `pipeline.toml`: what a pipeline reads, checks, trains, asks and deploys.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::capabilities::{DriftCheck, Retrain, StackOptions};
use crate::column::Column;
use crate::defects::Defects;
use crate::families::Model;
use crate::input::Data;
use crate::names::{name_defect, project_defect};
use crate::problems::{Problems, parse};
use crate::quality::{Quality, default_rules};
use crate::schema::json_schema;
use crate::shape;
use crate::tasks::forecast::{Backtest, Task};
use crate::training::TrainSpec;

/// Version of the manifest's schema.
pub const MANIFEST_SCHEMA_VERSION: u32 = 1;

/// What a pipeline reads, checks, trains, asks and deploys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "pipeline.toml")]
pub struct Manifest {
    /// Version of this form: 1.
    pub schema_version: u32,
    /// Name of the pipeline, which is its folder's: lower-case letters and digits, at most 16.
    pub name: String,
    /// What it forecasts, for people.
    #[serde(default = "description")]
    pub description: String,
    /// The file, and what its columns say.
    pub data: Data,
    /// Which records and data are refused.
    #[serde(default)]
    pub quality: Quality,
    /// What is forecast.
    pub task: Task,
    /// With which model.
    #[serde(default)]
    pub model: Model,
    /// How models are judged: by forecasts of the past.
    #[serde(default)]
    pub backtest: Backtest,
    /// Named questions in SQL, for `cargo xtask query`.
    #[serde(default)]
    pub queries: Vec<NamedQuery>,
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
        let mut manifest = read.expect("an error is a defect");
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
        self.task.column_defects(&self.data, out);
        TrainSpec::of(self).defects(out);
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
