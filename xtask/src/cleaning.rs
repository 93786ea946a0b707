//! Cleans data on this machine, with the engine that the embedded cloud has, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use steppe_plan::events::{Did, Fact, Step};
use steppe_plan::stack::sha256_hex;
use steppe_store::table;
use steppe_wire::etl::{EtlPlan, EtlReport, InputReport, RejectedNewest};
use steppe_wire::hint::Hinted;
use steppe_wire::text::shown;

use crate::artifacts::own_binary;
use crate::hint::OrHint;
use crate::host::Host;
use crate::inputs::RawData;
use crate::project::{Workspace, make_private, write};

/// The folder with the clean tables of some data, which looks like the bucket; it is kept by the
/// hash of data and plan.
pub async fn cleaned(workspace: &Workspace, raw: &RawData, host: &Host) -> Result<PathBuf> {
    tell_of_files(raw, host);
    let plan = serde_json::to_vec_pretty(&workspace.etl_plan)?;
    let key = sha256_hex(format!("{}{}", raw.sha256(), sha256_hex(&plan)).as_bytes());
    let dir = workspace.scratch().join("clean").join(&workspace.manifest.name).join(&key[..16]);
    let (work, report_file) = (host.begin(Step::Clean, None), dir.join(&workspace.etl_plan.report));
    if !report_file.exists() {
        engine(&workspace.root, &workspace.etl_plan, &placed(raw), &dir).await?;
    }
    let report: EtlReport = serde_json::from_slice(&std::fs::read(&report_file)?)
        .or_hint(|| Hinted::new(format!("{} is damaged", report_file.display()), "delete it"))?;
    work.done(Did::Clean { clean_rows: report.clean_rows(), raw_rows: report.raw_rows() });
    for input in &report.inputs {
        for (rule, rows) in &input.rejected_by_rule {
            host.fact(Fact::RejectedRows { rows: *rows, rule: rule.clone() });
        }
        rejected_newest(input).into_iter().for_each(|fact| host.fact(fact));
    }
    Ok(dir)
}

/// Which data there are, and what was done to read them.
fn tell_of_files(raw: &RawData, host: &Host) {
    host.fact(Fact::Data { file: raw.given(), synthetic: raw.synthetic });
    for file in raw.inputs.iter().flat_map(|input| &input.files) {
        for remark in &file.told {
            let hints = remark.hint.into_iter().map(str::to_owned).collect();
            host.fact(Fact::Read { what: remark.what.clone(), hints });
        }
    }
    for file in &raw.left_out {
        let what = format!("{} left out: it has the columns of no input", file.display());
        host.fact(Fact::Read { what, hints: vec![] });
    }
}

/// Series of which only older values are left: their forecasts begin before their data end.
fn rejected_newest(report: &InputReport) -> Vec<Fact> {
    let fact = |newest: &RejectedNewest| Fact::NewestRejected {
        series: shown(&newest.series).to_string(),
        records: newest.records,
        period: newest.period.clone(),
        rule: newest.rule.clone(),
    };
    let mut facts: Vec<Fact> = report.rejected_newest.iter().map(fact).collect();
    let series = report.rejected_newest_count.saturating_sub(facts.len() as u64);
    facts.extend((series > 0).then_some(Fact::MoreNewestRejected { series }));
    facts
}

/// The files of a table that lies in a folder.
pub fn parquet_files(dir: &Path) -> Result<Vec<bytes::Bytes>> {
    let files = paths(dir)?;
    let sizes: Vec<u64> =
        files.iter().map(|f| Ok(f.metadata()?.len())).collect::<std::io::Result<_>>()?;
    // What is trained here is served there.
    table::check(files.len(), sizes.iter().sum(), table::BYTES_MAX)
        .context("the clean table is larger than the model server takes")?;
    files.iter().map(|f| Ok(std::fs::read(f)?.into())).collect()
}

/// The files of a table, by name.
pub fn paths(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "parquet"));
    files.sort();
    Ok(files)
}

/// A file of an input, as a run finds it.
pub struct Placed {
    /// Its name below the input's prefix.
    pub name: String,
    /// Where it really is.
    pub path: PathBuf,
    /// What people call it.
    pub called: String,
}

/// The files of each input.
fn placed(raw: &RawData) -> Vec<Vec<Placed>> {
    let of = |file: &crate::inputs::RawFile| Placed {
        name: file.name.clone(),
        path: file.copy.path().to_owned(),
        called: file.given.display().to_string(),
    };
    raw.inputs.iter().map(|input| input.files.iter().map(of).collect()).collect()
}

/// Runs a plan on this machine, in the folder `dir`, as it runs in the bucket: the files of each
/// of its inputs.
pub async fn engine(
    project: &Path,
    plan: &EtlPlan,
    inputs: &[Vec<Placed>],
    dir: &Path,
) -> Result<()> {
    let root = dir.display().to_string();
    let plan = EtlPlan { root: root.clone(), ..plan.clone() };
    let plan_file = dir.join("plan.json");
    write(&plan_file, &serde_json::to_vec_pretty(&plan)?)?;
    let mut called = BTreeMap::new();
    for (files, plan) in inputs.iter().zip(&plan.inputs) {
        let folder = dir.join(&plan.prefix);
        make_private(&folder)?;
        for file in files {
            let place = folder.join(&file.name);
            // What a run that was killed left here is of copies that are gone.
            let _ = std::fs::remove_file(&place);
            std::os::unix::fs::symlink(&file.path, &place)
                .with_context(|| format!("cannot write {}", place.display()))?;
            called.insert(format!("{root}/{}{}", plan.prefix, file.name), file.called.clone());
        }
    }
    let mut command = tokio::process::Command::new(own_binary(project, "steppe-etl"));
    command.args(["clean-files", "--plan", &plan_file.display().to_string()]);
    command.args(["--called", &serde_json::to_string(&called)?]);
    let output = command.output().await.or_hint(|| {
        Hinted::new("cannot start the engine", "`cargo build --bin steppe-etl` builds it")
    });
    let _ = std::fs::remove_dir_all(dir.join("raw"));
    let output = output?;
    if !output.status.success() {
        bail!(Hinted::of_process(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(())
}
