//! The part of the report about the model in service: how it came there, drift, and past forecasts.

use maud::{Markup, html};
use serde::Serialize;
use steppe_model::forecast::metrics::decimals_of_error;
use steppe_wire::drift::{DriftReport, Labelled, Realised, Side, StatisticDrift};
use steppe_wire::registry::{InService, TrainingRecord};

use super::{heads, row, thousandths};
use crate::registry::{deciding, short};

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
pub fn html(report: &ServiceReport) -> Markup {
    let service = &report.in_service.current;
    html! {
        h2 { "In service" }
        p {
            "Model " b { (service.model.version) } " since " (short(&service.since)) ": "
            (service.reason) "."
        }
        (trainings(&report.trainings))
        h2 { "Drift" }
        @if let Some(drift) = &report.drift {
            (drift_section(drift))
        } @else {
            p { "No check has been made yet; " code { "cargo xtask drift" } " makes one." }
        }
    }
}

fn trainings(records: &[TrainingRecord]) -> Markup {
    let heads = heads([
        "training",
        "data until",
        "challenger",
        "champion",
        "in the contest",
        "against",
        "p",
        "outcome",
    ]);
    let of = |r: &TrainingRecord| {
        let contest = r.contest.as_ref();
        row(
            r.promoted.then_some("chosen"),
            [
                &short(&r.time),
                &r.observed_until,
                &r.challenger.version,
                &r.champion.as_ref().map_or("", |champion| &champion.version),
                &contest.map_or_else(String::new, |c| deciding(&c.challenger)),
                &contest.map_or_else(String::new, |c| deciding(&c.champion)),
                &thousandths(contest.and_then(|c| c.p_value)),
                &if r.promoted { "promoted" } else { "kept out" },
            ],
        )
    };
    let newest = records.iter().rev().take(TRAININGS_SHOWN);
    html! { table { (heads) @for record in newest { (of(record)) } } }
}

fn drift_section(drift: &DriftReport) -> Markup {
    let server = &drift.server;
    html! {
        p {
            "Checked " (short(&drift.time)) ". Model " (server.model_version)
            @if let Some(table) = &drift.table {
                ": " (table.rows) " rows are new since its training, or have changed."
            } @else {
                ", at its server since " (short(&server.since)) ": " (server.forecasts)
                " forecasts of different series and periods."
            }
        }
        (statistics(drift.table.as_ref().map_or(&server.statistics, |table| &table.statistics)))
        p.note {
            "PSI: population stability index; KS: Kolmogorov-Smirnov distance, both against what \
             the model was asked in its trials. A limit is what chance and the strangest origin, \
             or fold, of the trials explain; drift is above both."
        }
        @if let Some(table) = &drift.table {
            @for (column, rows) in &table.unknown_levels {
                p.found { (column) " has a level that the model has not seen in " (rows) " rows." }
            }
        }
        @if !drift.labelled.is_empty() {
            h2 { "Past scores beside what happened" }
            table {
                (heads(["model", "rows", "score", "in trials", "happened", "expected"]))
                @for one in &drift.labelled { (labelled(one)) }
            }
        }
        @if !drift.realised.is_empty() {
            h2 { "Past forecasts beside what happened" }
            table {
                (heads([
                    "model", "periods", "values", "MAE", "MASE", "in backtest", "inside %",
                    "promised %",
                ]))
                @for one in &drift.realised { (realised(one)) }
            }
        }
        ul {
            @for finding in &drift.findings { li.found { (finding.text) } }
            @if drift.findings.is_empty() { li { "Nothing is out of line." } }
        }
    }
}

fn statistics(all: &[StatisticDrift]) -> Markup {
    html! {
        table {
            (heads(["statistic", "side", "values", "PSI", "limit", "", "KS", "limit", ""]))
            @for one in all { (statistic(one)) }
        }
    }
}

fn labelled(one: &Labelled) -> Markup {
    row(
        None,
        [
            &one.model_version,
            &one.rows,
            &deciding(&one.scores),
            &deciding(&one.in_trials),
            &one.happened.map_or_else(String::new, |happened| happened.to_string()),
            &one.expected.map_or_else(String::new, |expected| format!("{expected:.1}")),
        ],
    )
}

fn statistic(d: &StatisticDrift) -> Markup {
    let side = if d.side == Side::Input { "input" } else { "output" };
    let bar = |value: f64, limit: f64| {
        let share = (value / limit).clamp(0.0, 1.0) * 100.0;
        html! {
            .bar.over[value > limit] { div style=(format_args!("width:{share:.0}%")) {} }
        }
    };
    row(
        None,
        [
            &d.statistic,
            &side,
            &d.count,
            &thousandths(Some(d.psi)),
            &thousandths(Some(d.psi_limit)),
            &bar(d.psi, d.psi_limit),
            &thousandths(Some(d.ks)),
            &thousandths(Some(d.ks_limit)),
            &bar(d.ks, d.ks_limit),
        ],
    )
}

fn realised(r: &Realised) -> Markup {
    let periods =
        if r.first == r.last { r.first.clone() } else { format!("{} to {}", r.first, r.last) };
    row(
        None,
        [
            &r.model_version,
            &periods,
            &r.cases,
            &format_args!("{:.*}", decimals_of_error(r.mae), r.mae),
            &thousandths(Some(r.mase)),
            &thousandths(Some(r.backtest_mase)),
            &format_args!("{:.1}", r.coverage * 100.0),
            &format_args!("{:.0}", r.level * 100.0),
        ],
    )
}
