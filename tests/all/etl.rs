//! Runs of the engine on files of this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use steppe_plan::etl::{SqlFiles, etl_plan};
use steppe_spec::Manifest;
use steppe_wire::etl::{EtlPlan, EtlReport, InputReport};
use tempfile::TempDir;

use crate::tools::binary;

/// A run that ended well.
#[derive(Debug)]
pub struct Cleaned {
    /// What became of the first input.
    pub report: InputReport,
    plan: EtlPlan,
    out: TempDir,
}

impl Cleaned {
    fn files_of(&self, prefix: &str) -> Vec<PathBuf> {
        files(&self.out.path().join(prefix))
    }

    /// The files of the clean table of the first input, or of a table made of others.
    pub fn table(&self, name: &str) -> Vec<Bytes> {
        let inputs = self.plan.inputs.iter().map(|input| (&input.name, &input.output));
        let made = self.plan.tables.iter().map(|table| (&table.name, &table.output));
        let mut all = inputs.chain(made);
        let (_, output) = all.find(|(own, _)| *own == name).expect("a table of the plan");
        let read = |file: PathBuf| std::fs::read(file).expect("a table").into();
        self.files_of(&output.prefix).into_iter().map(read).collect()
    }

    /// The rejected records of the first input.
    pub fn rejects(&self) -> String {
        let read = |file: PathBuf| std::fs::read_to_string(file).expect("rejects");
        self.files_of(&self.plan.inputs[0].rejects).into_iter().map(read).collect()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// The plan of a manifest whose SQL is `sql`, by file.
pub fn plan_of(manifest: &Manifest, sql: &[(&str, &str)]) -> EtlPlan {
    let own = |(file, text): &(&str, &str)| ((*file).to_owned(), (*text).to_owned());
    etl_plan(manifest, &sql.iter().map(own).collect::<SqlFiles>(), ".")
}

/// The plan of a manifest whose first input is cleaned by this SQL.
pub fn plan_with(manifest: &Manifest, sql: &str) -> EtlPlan {
    let mut manifest = manifest.clone();
    manifest.inputs[0].sql = Some("own.sql".to_owned());
    plan_of(&manifest, &[("own.sql", sql)])
}

/// Runs a plan on files of inputs: the input, the file's name, its bytes. What the engine says, when
/// it fails; then it must have left nothing.
pub fn run(plan: &EtlPlan, given: &[(&str, &str, &[u8])]) -> Result<Cleaned, String> {
    let out = TempDir::new().expect("a folder");
    for (input, name, bytes) in given {
        let input = plan.inputs.iter().find(|own| own.name == *input).expect("an input");
        let folder = out.path().join(&input.prefix);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(name), bytes).expect("written");
    }
    let text = serde_json::to_vec(plan).expect("JSON");
    std::fs::write(out.path().join("plan.json"), text).expect("written");
    let output = Command::new(binary("steppe-etl"))
        .args(["clean-files", "--plan", "plan.json"])
        .current_dir(out.path())
        .output()
        .expect("the engine runs");
    if !output.status.success() {
        for folder in ["processed", "rejects", "reports"] {
            assert!(!out.path().join(folder).exists(), "something was written: {folder}");
        }
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let report = std::fs::read(out.path().join(&plan.report)).expect("a report");
    let whole: EtlReport = serde_json::from_slice(&report).expect("JSON");
    assert!(whole.inputs.iter().all(InputReport::adds_up), "{whole:?}");
    let report = whole.inputs[0].clone();
    Ok(Cleaned { report, plan: plan.clone(), out })
}

/// Runs a plan of one input on one file.
pub fn run_one(plan: &EtlPlan, csv: &[u8]) -> Result<Cleaned, String> {
    run(plan, &[(&plan.inputs[0].name, "data.csv", csv)])
}
