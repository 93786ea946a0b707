//! `drift`: runs the deployed check for drift and shows its report.

use anyhow::{Context, Result, bail};
use serde_json::json;
use steppe_aws::Aws;
use steppe_model::forecast::metrics::decimals_of_error;
use steppe_plan::events::{Did, Finding, Step};
use steppe_plan::runs::RunPlan;
use steppe_wire::drift::{DriftReport, Labelled, Realised, Side, StatisticDrift};
use steppe_wire::hint::Hinted;
use steppe_wire::keys;

use crate::cli::PlanArgs;
use crate::deployment::Deployment;
use crate::execution::run_to_end;
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::Workspace;
use crate::registry::{deciding, short};
use crate::table::table;

/// Runs the verb.
pub async fn run(workspace: &Workspace, host: &Host, options: PlanArgs) -> Result<Outcome> {
    if workspace.manifest.drift.is_none() {
        bail!(Hinted::new(
            format!("the pipeline `{}` has no check for drift", workspace.manifest.name),
            "add the section `[drift]` to its manifest and deploy",
        ));
    }
    let ours = Deployment::open(workspace).await?;
    let plan = RunPlan {
        machine: ours.output("DriftMachineArn")?.to_owned(),
        input: json!({}),
        what: "look for drift; what is found for the first time is also sent as a message",
    };
    if options.dry_run {
        host.result(&plan, &plan.to_string());
        return Ok(Outcome::Done);
    }
    host.planned(&plan);
    let work = host.begin(Step::CheckDrift, None);
    run_to_end(&ours, &plan.machine, &plan.input).await?;
    let report = newest(ours.aws(), workspace).await?.context("the check left no report")?;
    host.result(&report, &text(&report));
    work.done(Did::CheckDrift { findings: report.findings.len() });
    if report.findings.is_empty() {
        return Ok(Outcome::Done);
    }
    for finding in report.findings {
        host.found(Finding::Drift { what: finding.text });
    }
    Ok(Outcome::Found)
}

/// The newest report of a deployment; `None` before the first check.
pub async fn newest(aws: &Aws, workspace: &Workspace) -> Result<Option<DriftReport>> {
    let key = keys::drift_report(&workspace.names.pipeline);
    let Some(bytes) = aws.get(&workspace.names.data_bucket(), &key).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).with_context(|| format!("`{key}` cannot be read"))
}

fn text(report: &DriftReport) -> String {
    if let Some(new) = &report.table {
        let mut text = format!(
            "model {}: {} rows are new since its training, or have changed\n\n{}",
            new.model_version,
            new.rows,
            statistics(&new.statistics)
        );
        for (column, rows) in &new.unknown_levels {
            text +=
                &format!("\n`{column}` has a level that the model has not seen in {rows} rows\n");
        }
        return text + &labelled(&report.labelled);
    }
    let server = &report.server;
    let mut text = format!(
        "model {}, in service at its server since {}: {} forecasts counted\n\n{}",
        server.model_version,
        short(&server.since),
        server.forecasts,
        statistics(&server.statistics),
    );
    if report.realised.is_empty() {
        text += "\nno stored forecast has met its actual value yet\n";
        return text;
    }
    text += "\npast forecasts beside what happened\n";
    let realised = |r: &Realised| {
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
    text + &table(&columns, &report.realised.iter().map(realised).collect::<Vec<_>>())
}

fn statistics(all: &[StatisticDrift]) -> String {
    let statistic = |d: &StatisticDrift| {
        let side = if d.side == Side::Input { "input" } else { "output" };
        let verdict = if d.drifted { "drifts" } else { "" };
        let beside = |value: f64, limit: f64| format!("{value:.3} of {limit:.3}");
        vec![
            d.statistic.clone(),
            side.to_owned(),
            d.count.to_string(),
            if d.count > 0 { beside(d.psi, d.psi_limit) } else { String::new() },
            if d.count > 0 { beside(d.ks, d.ks_limit) } else { String::new() },
            verdict.to_owned(),
        ]
    };
    let columns = ["statistic", "side", "values", "PSI of limit", "KS of limit", ""];
    table(&columns, &all.iter().map(statistic).collect::<Vec<_>>())
}

/// Past scores of rows that their model had not seen.
fn labelled(all: &[Labelled]) -> String {
    if all.is_empty() {
        return "\nno past score of a row that its model had not seen has met its label yet\n"
            .to_owned();
    }
    let row = |labelled: &Labelled| {
        let happened = labelled.expected.zip(labelled.happened);
        vec![
            labelled.model_version.clone(),
            labelled.rows.to_string(),
            deciding(&labelled.scores),
            deciding(&labelled.in_trials),
            happened.map_or_else(String::new, |(expected, happened)| {
                format!("{happened} of {expected:.1}")
            }),
        ]
    };
    let columns = ["model", "rows", "score", "in trials", "happened of expected"];
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    format!("\npast scores beside what happened\n{}", table(&columns, &rows))
}
