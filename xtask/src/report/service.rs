//! The part of the report about the model in service: how it came there, drift, and past forecasts.

use serde::Serialize;
use steppe_model::forecast::metrics::decimals_of_error;
use steppe_wire::drift::{DriftReport, Realised, Side, StatisticDrift};
use steppe_wire::registry::{InService, TrainingRecord};

use super::escape;
use crate::registry::short;

/// What a deployment says about its model.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceReport {
    /// The models in service, now and before.
    pub in_service: InService,
    /// What trainings found, oldest first.
    pub trainings: Vec<TrainingRecord>,
    /// The newest check for drift; none before the first.
    pub drift: Option<DriftReport>,
}

/// Trainings that are shown, the newest.
const TRAININGS_SHOWN: usize = 10;

/// The section.
pub fn html(report: &ServiceReport) -> String {
    let service = &report.in_service.current;
    let mut page = format!(
        "<h2>In service</h2><p>Model <b>{}</b> since {}: {}.</p>",
        escape(&service.model.version),
        short(&service.since),
        escape(&service.reason)
    );
    page += &trainings(&report.trainings);
    page += "<h2>Drift</h2>";
    match &report.drift {
        None => {
            page += "<p>No check has been made yet; <code>cargo xtask drift</code> makes one.</p>"
        }
        Some(drift) => page += &drift_section(drift),
    }
    page
}

fn trainings(records: &[TrainingRecord]) -> String {
    let mut table = "<table><tr><th>training<th>data until<th>challenger<th>champion<th>MASE<th>against<th>p<th>outcome</tr>".to_owned();
    for r in records.iter().rev().take(TRAININGS_SHOWN) {
        let class = if r.promoted { " class=chosen" } else { "" };
        let number = |n: Option<f64>| n.map_or_else(String::new, |n| format!("{n:.3}"));
        let contest = r.contest.as_ref();
        table += &format!(
            "<tr{class}><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            short(&r.time),
            escape(&r.observed_until),
            escape(&r.challenger.version),
            r.champion.as_ref().map_or_else(String::new, |c| escape(&c.version)),
            number(contest.map(|c| c.challenger.errors.mase)),
            number(contest.map(|c| c.champion.errors.mase)),
            number(contest.and_then(|c| c.p_value)),
            if r.promoted { "promoted" } else { "kept out" },
        );
    }
    table + "</table>"
}

fn drift_section(drift: &DriftReport) -> String {
    let server = &drift.server;
    let mut page = format!(
        "<p>Checked {}. Model {}, at its server since {}: {} forecasts of different series and periods.</p>",
        short(&drift.time),
        escape(&server.model_version),
        short(&server.since),
        server.forecasts
    );
    page +=
        "<table><tr><th>statistic<th>side<th>values<th>PSI<th>limit<th><th>KS<th>limit<th></tr>";
    server.statistics.iter().for_each(|d| page += &statistic(d));
    page += "</table><p class=note>PSI: population stability index; KS: Kolmogorov-Smirnov distance, both against the histories of the \
             model’s backtest. A limit is what chance and the strangest origin of the backtest explain; drift is above both.</p>";
    if !drift.realised.is_empty() {
        page += "<h2>Past forecasts beside what happened</h2><table><tr><th>model<th>periods<th>values<th>MAE<th>MASE<th>in backtest\
                 <th>inside %<th>promised %</tr>";
        drift.realised.iter().for_each(|r| page += &realised(r));
        page += "</table>";
    }
    page += "<ul>";
    drift.findings.iter().for_each(|f| page += &format!("<li class=found>{}", escape(&f.text)));
    if drift.findings.is_empty() {
        page += "<li>Nothing is out of line.";
    }
    page + "</ul>"
}

fn statistic(d: &StatisticDrift) -> String {
    let side = if d.side == Side::Input { "input" } else { "output" };
    let bar = |value: f64, limit: f64| {
        let share = (value / limit).clamp(0.0, 1.0) * 100.0;
        let class = if value > limit { "bar over" } else { "bar" };
        format!(
            "<td>{value:.3}<td>{limit:.3}<td><div class='{class}'><div style='width:{share:.0}%'></div></div>"
        )
    };
    format!(
        "<tr><td>{}<td>{side}<td>{}{}{}</tr>",
        escape(&d.statistic),
        d.count,
        bar(d.psi, d.psi_limit),
        bar(d.ks, d.ks_limit)
    )
}

fn realised(r: &Realised) -> String {
    let periods =
        if r.first == r.last { r.first.clone() } else { format!("{} to {}", r.first, r.last) };
    format!(
        "<tr><td>{}<td>{}<td>{}<td>{:.*}<td>{:.3}<td>{:.3}<td>{:.1}<td>{:.0}</tr>",
        escape(&r.model_version),
        escape(&periods),
        r.cases,
        decimals_of_error(r.mae),
        r.mae,
        r.mase,
        r.backtest_mase,
        r.coverage * 100.0,
        r.level * 100.0
    )
}
