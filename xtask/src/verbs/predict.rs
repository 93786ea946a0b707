//! `predict`: one forecast through the deployed predictor.

use anyhow::{Result, bail};
use serde_json::json;
use steppe_wire::keys;
use steppe_wire::predict::PredictorOutput;

use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::freshness::Lake;
use crate::project::Workspace;
use crate::registry::Registry;
use crate::terminal::{out_json, say};

/// Forecasts one series through the deployed predictor.
pub async fn run(workspace: &Workspace, series: &str, as_json: bool) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let aws = ours.aws();
    let registry = Registry::of(&ours)?;
    let (lake, in_service) = tokio::try_join!(Lake::of(&ours), registry.some_pointer())?;
    lake.check()?;
    let payload = json!({
        "model_version": in_service.in_service.current.model.version,
        (&workspace.manifest.task.series): series,
        "dataset_key": keys::processed_prefix(&workspace.names.pipeline),
        "bucket_name": ours.output("DataBucket")?,
    });
    let answer = aws.invoke(ours.output("PredictorName")?, &payload).await?;
    if answer.failed {
        let message =
            answer.payload["errorMessage"].as_str().unwrap_or("the predictor failed").to_owned();
        let hint = if message.contains("no data set") {
            "\nhint: `cargo xtask smoke-test` runs the pipeline, which cleans the data"
        } else {
            ""
        };
        bail!("{message}{hint}");
    }
    if as_json {
        out_json(&serde_json::to_string_pretty(&answer.payload)?);
        return Ok(Outcome::Done);
    }
    let PredictorOutput { s3_path, forecast, left_out, .. } =
        serde_json::from_value(answer.payload)?;
    let Some(forecast) = forecast else {
        let reason = left_out.first().map_or("it was left out", |left| left.reason.as_str());
        bail!("{series} is not forecast: {reason}\nhint: `[quality.gaps]` in the manifest decides");
    };
    let (target, decimals) = (&workspace.manifest.task.target, forecast.decimals);
    say!("{}: {target}, observed until {}", forecast.series, forecast.observed_until);
    for step in &forecast.steps {
        say!(
            "  {}  {:>10.decimals$}   {:.0} % interval {:.decimals$} to {:.decimals$}",
            step.period,
            step.value,
            step.level * 100.0,
            step.lower,
            step.upper
        );
    }
    say!(
        "model {} {}, backtest MAPE {:.2} %, MASE {:.3}",
        forecast.model_id,
        forecast.model_version,
        forecast.backtest_mape,
        forecast.backtest_mase
    );
    if let Some(note) = &forecast.note {
        say!("note: {note}");
    }
    say!("{}", s3_path.unwrap_or_default());
    Ok(Outcome::Done)
}
