//! `drift`: runs the deployed check for drift and shows its report.

use anyhow::{Context, Result, bail};
use serde_json::json;
use steppe_aws::Aws;
use steppe_model::forecast::metrics::decimals_of_error;
use steppe_wire::drift::{DriftReport, Side};
use steppe_wire::keys;

use super::run_to_end;
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::project::Workspace;
use crate::registry::short;
use crate::story::{Story, table};
use crate::terminal::{out, out_json, say};

/// Runs the verb.
pub async fn run(workspace: &Workspace, as_json: bool) -> Result<Outcome> {
    if workspace.manifest.drift.is_none() {
        bail!(
            "the pipeline `{}` has no check for drift\nhint: add the section `[drift]` to its \
             manifest and deploy",
            workspace.manifest.name
        );
    }
    let story = Story::begin();
    let ours = Deployment::open(workspace).await?;
    let aws = ours.aws();
    run_to_end(&ours, ours.output("DriftMachineArn")?, &json!({})).await?;
    let report = newest(aws, workspace).await?.context("the check left no report")?;
    if as_json {
        out_json(&serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    if report.findings.is_empty() {
        story.done("checked", "no drift", story.elapsed());
        return Ok(Outcome::Done);
    }
    report.findings.iter().for_each(|f| story.failed("found", &f.text));
    Ok(Outcome::Found)
}

/// The newest report of a deployment; `None` before the first check.
pub async fn newest(aws: &Aws, workspace: &Workspace) -> Result<Option<DriftReport>> {
    let key = keys::drift_report(&workspace.names.pipeline);
    let Some(bytes) = aws.get(&workspace.names.data_bucket(), &key).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("`{key}` cannot be read"))
}

fn print(report: &DriftReport) {
    let server = &report.server;
    say!(
        "model {}, in service at its server since {}: {} forecasts counted\n",
        server.model_version,
        short(&server.since),
        server.forecasts
    );
    let statistic = |d: &steppe_wire::drift::StatisticDrift| {
        let side = if d.side == Side::Input { "input" } else { "output" };
        let verdict = if d.drifted { "drifts" } else { "" };
        let beside = |value: f64, limit: f64| format!("{value:.3} of {limit:.3}");
        vec![
            d.statistic.clone(),
            side.to_owned(),
            d.count.to_string(),
            beside(d.psi, d.psi_limit),
            beside(d.ks, d.ks_limit),
            verdict.to_owned(),
        ]
    };
    out(&table(
        &["statistic", "side", "values", "PSI of limit", "KS of limit", ""],
        &server.statistics.iter().map(statistic).collect::<Vec<_>>(),
    ));
    if report.realised.is_empty() {
        say!("\nno stored forecast has met its actual value yet");
        return;
    }
    say!("\npast forecasts beside what happened");
    let realised = |r: &steppe_wire::drift::Realised| {
        vec![
            r.model_version.clone(),
            if r.first == r.last { r.first.clone() } else { format!("{} to {}", r.first, r.last) },
            r.cases.to_string(),
            format!("{:.*}", decimals_of_error(r.mae), r.mae),
            format!("{:.3}", r.mase),
            format!("{:.3}", r.backtest_mase),
            format!("{:.1} of {:.0}", r.coverage * 100.0, r.level * 100.0),
        ]
    };
    let columns = ["model", "periods", "values", "MAE", "MASE", "in backtest", "inside %"];
    out(&table(&columns, &report.realised.iter().map(realised).collect::<Vec<_>>()));
}
