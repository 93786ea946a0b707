//! `evaluate`: backtests every family and writes the report.

use std::time::Instant;

use anyhow::{Context, Result};
use steppe_model::forecast::evaluation::evaluate;
use steppe_model::host::Stage;
use steppe_model::training_key;
use steppe_spec::TrainSpec;

use super::drift;
use crate::artifacts;
use crate::cli::DataArgs;
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::progress::Progress;
use crate::project::{Workspace, write};
use crate::registry::Registry;
use crate::report::{self, ServiceReport};
use crate::story::Story;
use crate::terminal::{out, out_json};
use crate::training;

/// Runs the verb.
pub async fn run(workspace: &Workspace, data: &DataArgs, as_json: bool) -> Result<Outcome> {
    let story = Story::begin();
    artifacts::build(&workspace.root, &story).await?;
    let raw = workspace.raw_data(data)?;
    let (data, spec) =
        (training::data(workspace, &raw, &story).await?, TrainSpec::of(&workspace.manifest));
    let started = Instant::now();
    let progress =
        Progress::new(workspace.scratch().join("evaluations").join(training_key(&spec, &data)));
    let host = progress.clone();
    let evaluation =
        tokio::task::spawn_blocking(move || evaluate(&data, &spec, &Stage::new(&host))).await?;
    progress.finish();
    progress.forget();
    let evaluation =
        evaluation.with_context(|| format!("{} cannot be evaluated", raw.given.display()))?;
    story.done(
        "evaluated",
        &format!("{} families, {} series", evaluation.families.len(), evaluation.series.len()),
        started.elapsed(),
    );
    let folder = workspace.scratch().join("reports").join(&workspace.manifest.name);
    let service = service_report(workspace, &story).await;
    let mut whole = serde_json::to_value(&evaluation)?;
    whole["service"] = serde_json::to_value(&service)?;
    let json = serde_json::to_vec_pretty(&whole)?;
    write(&folder.join("evaluation.json"), &json)?;
    write(
        &folder.join("evaluation.html"),
        report::html(&evaluation, service.as_ref())?.as_bytes(),
    )?;
    story.note("report", &format!("{}", folder.join("evaluation.html").display()));
    if as_json {
        out_json(&String::from_utf8_lossy(&json));
    } else {
        out(&evaluation.to_text());
    }
    Ok(Outcome::Done)
}

/// What the deployment says about its model; without one the report is about the data alone.
async fn service_report(workspace: &Workspace, story: &Story) -> Option<ServiceReport> {
    let gather = async {
        let ours = Deployment::open(workspace).await?;
        let registry = Registry::of(&ours)?;
        let in_service = registry.some_pointer().await?.in_service;
        anyhow::Ok(ServiceReport {
            in_service,
            trainings: registry.records().await?,
            drift: drift::newest(ours.aws(), workspace).await?,
        })
    };
    let gathered = gather.await;
    if let Err(error) = &gathered {
        let first = error.to_string().lines().next().unwrap_or_default().to_owned();
        story.note("note", &format!("the report says nothing of a model in service: {first}"));
    }
    gathered.ok()
}
