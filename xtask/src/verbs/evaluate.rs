//! `evaluate`: backtests every family and writes the report.

use std::time::Instant;

use anyhow::{Context, Result};
use steppe_model::evaluation::evaluate;
use steppe_model::host::Stage;

use crate::artifacts;
use crate::cli::DataArgs;
use crate::exit::Outcome;
use crate::progress::Progress;
use crate::project::{Workspace, write};
use crate::report;
use crate::story::Story;
use crate::training;

/// Runs the verb.
pub async fn run(workspace: &Workspace, data: &DataArgs, as_json: bool) -> Result<Outcome> {
    let story = Story::begin();
    artifacts::build(&workspace.root, &story).await?;
    let raw = workspace.raw_data(data)?;
    let (data, spec) = (training::data(workspace, &raw, &story).await?, workspace.train_spec()?);
    let started = Instant::now();
    let progress = Progress::new(workspace.scratch().join("evaluations").join(spec.key(&data)));
    let host = progress.clone();
    let evaluation = tokio::task::spawn_blocking(move || evaluate(&data, &spec, &Stage::new(&host))).await?;
    progress.finish();
    progress.forget();
    let evaluation = evaluation.with_context(|| format!("{} cannot be evaluated", raw.file.display()))?;
    story.done("evaluated", &format!("{} families, {} series", evaluation.families.len(), evaluation.series.len()), started.elapsed());
    let folder = workspace.scratch().join("reports").join(&workspace.manifest.name);
    let json = serde_json::to_vec_pretty(&evaluation)?;
    write(&folder.join("evaluation.json"), &json)?;
    write(&folder.join("evaluation.html"), report::html(&evaluation)?.as_bytes())?;
    story.note("report", &format!("{}", folder.join("evaluation.html").display()));
    if as_json {
        println!("{}", String::from_utf8_lossy(&json));
    } else {
        print!("{}", evaluation.to_text());
    }
    Ok(Outcome::Done)
}
