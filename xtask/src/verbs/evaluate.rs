//! `evaluate`: backtests every family and writes the report.

use anyhow::{Context, Result};
use steppe_model::forecast::evaluation::evaluate;
use steppe_model::host::Stage;
use steppe_model::training_key;
use steppe_plan::events::{Did, Fact, Step};
use steppe_spec::TrainSpec;

use super::drift;
use crate::artifacts;
use crate::cli::DataArgs;
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::host::Host;
use crate::progress::Progress;
use crate::project::{Workspace, write};
use crate::registry::Registry;
use crate::report::{self, ServiceReport};
use crate::training;

/// Runs the verb.
pub async fn run(workspace: &Workspace, host: &Host, data: &DataArgs) -> Result<Outcome> {
    artifacts::build_own(&workspace.root, host).await?;
    let raw = workspace.raw_data(data)?;
    let data = training::data(workspace, &raw, host).await?;
    let spec = TrainSpec::of(&workspace.manifest);
    let work = host.begin(Step::Evaluate, None);
    let folder = workspace.scratch().join("evaluations").join(training_key(&spec, &data));
    let progress = Progress::new(host.clone(), Step::Evaluate, folder);
    let of_evaluation = progress.clone();
    let evaluating = move || evaluate(&data, &spec, &Stage::new(&of_evaluation));
    let evaluation = tokio::task::spawn_blocking(evaluating).await?;
    progress.forget();
    let evaluation = evaluation.with_context(|| format!("{} cannot be evaluated", raw.given()))?;
    let (families, series) = (evaluation.families.len(), evaluation.series.len());
    work.done(Did::Evaluate { families, series });
    let folder = workspace.scratch().join("reports").join(&workspace.manifest.name);
    let service = service_report(workspace, host).await;
    let mut whole = serde_json::to_value(&evaluation)?;
    whole["service"] = serde_json::to_value(&service)?;
    write(&folder.join("evaluation.json"), &serde_json::to_vec_pretty(&whole)?)?;
    write(
        &folder.join("evaluation.html"),
        report::html(&evaluation, service.as_ref())?.as_bytes(),
    )?;
    host.fact(Fact::Report { file: folder.join("evaluation.html").display().to_string() });
    host.result(&whole, &evaluation.to_text());
    Ok(Outcome::Done)
}

/// What the deployment says about its model; without one the report is about the data alone.
async fn service_report(workspace: &Workspace, host: &Host) -> Option<ServiceReport> {
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
        let why = error.to_string().lines().next().unwrap_or_default().to_owned();
        host.fact(Fact::NoServiceReport { why });
    }
    gathered.ok()
}
