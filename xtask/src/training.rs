//! Cleans the raw data on this machine and trains, unless a model that fits is there already.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use steppe_model::forecast::dataset::Note;
use steppe_model::host::Stage;
use steppe_model::{Artifact, Dataset, training_key};
use steppe_plan::stack::sha256_hex;
use steppe_spec::{Total, TrainSpec};
use steppe_store::table;
use steppe_wire::etl::{EtlReport, RejectedNewest};
use steppe_wire::keys::{CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::ModelPointer;
use steppe_wire::text::shown;

use crate::artifacts::own_binary;
use crate::progress::Progress;
use crate::project::{RawData, Workspace, write};
use crate::story::Story;

/// Series that are too short for the model and are named.
const SHORT_NAMED: usize = 5;

/// Cleans and trains; returns the model and the name of its configuration and data.
pub async fn run(
    workspace: &Workspace,
    raw: &RawData,
    story: &Story,
) -> Result<(Artifact, String)> {
    let data = data(workspace, raw, story).await?;
    let spec = TrainSpec::of(&workspace.manifest);
    let key = training_key(&spec, &data);
    let dir = workspace.scratch().join("models").join(&workspace.manifest.name).join(&key);
    if let Some(artifact) = load(&dir) {
        story.note("model", &format!("{} fits the data", artifact.version()));
        tell_short(&artifact, &data, story);
        return Ok((artifact, key));
    }
    let started = Instant::now();
    let progress = Progress::new(dir.join("checkpoints"));
    let host = progress.clone();
    let work = move || (Artifact::train(&data, &spec, &Stage::new(&host)), data);
    let (artifact, data) = tokio::task::spawn_blocking(work).await?;
    progress.finish();
    let artifact =
        artifact.with_context(|| format!("no model can be trained on {}", raw.given.display()))?;
    save(&dir, &artifact)?;
    progress.forget();
    story.done("trained", &format!("model {}", artifact.version()), started.elapsed());
    tell_short(&artifact, &data, story);
    Ok((artifact, key))
}

/// Series that get the plain rule instead of the model.
fn tell_short(artifact: &Artifact, data: &Dataset, story: &Story) {
    let forecast = data.series().iter().filter(|s| data.absence(&s.name).is_none());
    let short: Vec<&str> =
        forecast.filter(|s| !artifact.suits(s.view())).map(|s| s.name.as_str()).collect();
    if short.is_empty() {
        return;
    }
    let named = short[..short.len().min(SHORT_NAMED)].join("`, `");
    let more = if short.len() > SHORT_NAMED { ", …" } else { "" };
    let what = format!(
        "{} series have too few values for the model and are forecast by a plain rule: `{named}`\
         {more}",
        short.len()
    );
    story.note("note", &what);
}

/// The cleaned data as series.
pub async fn data(workspace: &Workspace, raw: &RawData, story: &Story) -> Result<Dataset> {
    let source = if raw.synthetic { "synthetic sample, invented numbers" } else { "given file" };
    story.note("data", &format!("{} ({source})", raw.given.display()));
    raw.told.iter().for_each(|line| story.note("read", line));
    clean(workspace, raw, story).await
}

/// The model trained here last, if any.
pub fn newest(workspace: &Workspace) -> Option<Artifact> {
    let dirs = std::fs::read_dir(workspace.scratch().join("models").join(&workspace.manifest.name))
        .ok()?;
    let by_time = |d: &std::fs::DirEntry| d.metadata().and_then(|m| m.modified()).ok();
    let mut dirs: Vec<_> = dirs.flatten().collect();
    dirs.sort_by_key(by_time);
    dirs.iter().rev().find_map(|d| load(&d.path()))
}

fn load(dir: &Path) -> Option<Artifact> {
    let pointer: ModelPointer =
        serde_json::from_slice(&std::fs::read(dir.join("current.json")).ok()?).ok()?;
    Artifact::load(
        std::fs::read(dir.join(CARD_FILE)).ok()?,
        std::fs::read(dir.join(WEIGHTS_FILE)).ok()?,
        &pointer,
    )
    .ok()
}

fn save(dir: &Path, artifact: &Artifact) -> Result<()> {
    write(&dir.join(CARD_FILE), &artifact.card_bytes)?;
    write(&dir.join(WEIGHTS_FILE), &artifact.weights_bytes)?;
    // Written last: without it the folder counts as empty.
    write(&dir.join("current.json"), &serde_json::to_vec_pretty(&artifact.pointer())?)
}

/// Cleans with the embedded engine; the result is kept by the hash of data and plan.
async fn clean(workspace: &Workspace, raw: &RawData, story: &Story) -> Result<Dataset> {
    let plan = serde_json::to_vec_pretty(&workspace.etl_plan)?;
    let key = sha256_hex(format!("{}{}", raw.sha256, sha256_hex(&plan)).as_bytes());
    let dir = workspace.scratch().join("clean").join(&workspace.manifest.name).join(&key[..16]);
    let (started, report_file) = (Instant::now(), dir.join("report.json"));
    if !report_file.exists() {
        write(&dir.join("plan.json"), &plan)?;
        engine(workspace, raw, &dir).await?;
    }
    let report: EtlReport = serde_json::from_slice(&std::fs::read(&report_file)?)
        .with_context(|| format!("{} is damaged\nhint: delete it", report_file.display()))?;
    story.done(
        "cleaned",
        &format!("{} of {} rows", report.clean_rows, report.raw_rows),
        started.elapsed(),
    );
    for (rule, count) in &report.rejected_by_rule {
        story.note("rejected", &format!("{count} rows by the rule `{rule}`"));
    }
    for line in rejected_newest(&report) {
        story.note("note", &line);
    }
    let data = Dataset::from_parquet(
        parquet_files(&dir.join("processed"))?,
        &TrainSpec::of(&workspace.manifest),
    )?;
    for line in steppe_model::forecast::dataset::lines(data.notes()) {
        story.note("note", &line);
    }
    refuse_total(workspace, &data)?;
    Ok(data)
}

/// Sums over all series would be twice the truth, in the queries and wherever else people add up.
fn refuse_total(workspace: &Workspace, data: &Dataset) -> Result<()> {
    let total = data.notes().iter().find_map(|note| match note {
        Note::Total { series, .. } => Some(series),
        _ => None,
    });
    match total {
        Some(series) if workspace.manifest.quality.total == Total::Fail => bail!(
            "`{series}` is the sum of all other series, so that sums count everything twice\nhint: \
             `leave_out = [\"{series}\"]` under `[data]` of the manifest leaves it out; `total = \
             \"keep\"` under `[quality]` keeps it as a series like the others"
        ),
        _ => Ok(()),
    }
}

/// Series of which only older values are left: their forecasts begin before their data end.
fn rejected_newest(report: &EtlReport) -> Vec<String> {
    let line = |newest: &RejectedNewest| {
        format!(
            "series `{}`: its newest records, {} up to {}, are rejected by the rule `{}`; a \
             forecast of it would begin before them",
            shown(&newest.series),
            newest.records,
            newest.period,
            newest.rule
        )
    };
    let mut lines: Vec<String> = report.rejected_newest.iter().map(line).collect();
    let others = report.rejected_newest_count.saturating_sub(lines.len() as u64);
    if others > 0 {
        lines.push(format!("and {others} more series whose newest records are rejected"));
    }
    lines
}

fn parquet_files(dir: &Path) -> Result<Vec<bytes::Bytes>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    files.retain(|f| f.extension().is_some_and(|e| e == "parquet"));
    files.sort();
    let sizes: Vec<u64> =
        files.iter().map(|f| Ok(f.metadata()?.len())).collect::<std::io::Result<_>>()?;
    // What is trained here is served there.
    table::check(files.len(), sizes.iter().sum(), table::BYTES_MAX)
        .context("the clean table is larger than the model server takes")?;
    files.iter().map(|f| Ok(std::fs::read(f)?.into())).collect()
}

async fn engine(workspace: &Workspace, raw: &RawData, dir: &Path) -> Result<()> {
    let place = |name: &str| dir.join(name).display().to_string();
    let mut command = tokio::process::Command::new(own_binary(&workspace.root, "steppe-etl"));
    command.args([
        "clean-files",
        "--plan",
        &place("plan.json"),
        "--input",
        &raw.copy.path().display().to_string(),
        "--called",
        &raw.given.display().to_string(),
    ]);
    command.args([
        "--output",
        &place("processed"),
        "--rejects",
        &place("rejects"),
        "--report",
        &place("report.json"),
    ]);
    let output = command
        .output()
        .await
        .context("cannot start the engine\nhint: `cargo build --bin steppe-etl` builds it")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("error: "));
    }
    Ok(())
}
