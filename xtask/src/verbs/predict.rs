//! `predict`: one forecast through the deployed predictor.

use anyhow::{Result, bail};
use serde_json::json;
use steppe_plan::events::{Did, Step};
use steppe_wire::hint::Hinted;
use steppe_wire::predict::{PredictorOutput, StoredPrediction};

use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::freshness::Lake;
use crate::host::Host;
use crate::project::Workspace;
use crate::registry::Registry;

/// Forecasts one series through the deployed predictor.
pub async fn run(workspace: &Workspace, host: &Host, series: &str) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let aws = ours.aws();
    let registry = Registry::of(&ours)?;
    let (lake, in_service) =
        tokio::try_join!(Lake::of(&ours, &workspace.manifest), registry.some_pointer())?;
    lake.check()?;
    let payload = json!({
        "model_version": in_service.in_service.current.model.version,
        (&workspace.manifest.task().task.series): series,
        "dataset_key": workspace.dataset_key(),
        "bucket_name": ours.output("DataBucket")?,
    });
    let work = host.begin(Step::Predict, None);
    let answer = aws.invoke(ours.output("PredictorName")?, &payload).await?;
    if answer.failed {
        let failed = answer.payload["errorMessage"].as_str().unwrap_or("the predictor failed");
        let failed = Hinted::of_process(failed);
        bail!(match failed.to_string().contains("no data set") {
            true => failed.and("`cargo xtask smoke-test` runs the pipeline, which cleans the data"),
            false => failed,
        });
    }
    work.done(Did::Predict);
    let output: PredictorOutput = serde_json::from_value(answer.payload.clone())?;
    let Some(forecast) = &output.forecast else {
        let left_out = output.left_out.first();
        let reason = left_out.map_or("it was left out", |left| left.reason.as_str());
        bail!(Hinted::new(
            format!("{series} is not forecast: {reason}"),
            "`gaps` of the task in the manifest decides",
        ));
    };
    let place = output.s3_path.as_deref().unwrap_or_default();
    let target = &workspace.manifest.task().task.target;
    host.result(&answer.payload, &text(target, forecast, place));
    Ok(Outcome::Done)
}

fn text(target: &str, forecast: &StoredPrediction, place: &str) -> String {
    let decimals = forecast.decimals;
    let mut text =
        format!("{}: {target}, observed until {}\n", forecast.series, forecast.observed_until);
    for step in &forecast.steps {
        text += &format!(
            "  {}  {:>10.decimals$}   {:.0} % interval {:.decimals$} to {:.decimals$}",
            step.period,
            step.value,
            step.level * 100.0,
            step.lower,
            step.upper
        );
        if let Some(procure) = step.procure {
            text += &format!("   procure {procure:.decimals$}");
        }
        text.push('\n');
    }
    text += &format!(
        "model {} {}, backtest MAPE {:.2} %, MASE {:.3}\n",
        forecast.model_id, forecast.model_version, forecast.backtest_mape, forecast.backtest_mase
    );
    if let Some(note) = &forecast.note {
        text += &format!("note: {note}\n");
    }
    text + place + "\n"
}
