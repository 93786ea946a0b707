//! The search for options: what was tried, and whether it is taken.

use anyhow::Result;
use maud::{Markup, html};
use plotters::prelude::*;
use steppe_model::rows::tuning::{Journal, Outcome, Trial};
use steppe_model::tabular::search::Tuning;
use steppe_spec::tabular::Objective;

use super::curves::{Axes, axes};
use crate::report::{Area, BLUE, GREY, RED, chart, failed, heads, row};

/// The section.
pub fn html(tuning: &Tuning) -> Result<Markup> {
    Ok(html! {
        h2 { "Search for options" }
        p.note {
            "Dots: trials, by their mean over folds; the first has the manifest’s options. Line: \
             the best so far. Ticks below: trials that were given up after one fold."
        }
        (figure(tuning)?)
    })
}

fn figure(tuning: &Tuning) -> Result<Markup> {
    let Tuning { family, objective, journal, .. } = tuning;
    Ok(html! {
        figure {
            figcaption { (family.name()) ": " (verdict(tuning)) }
            (chart((440, 220), |area| trials(area, *objective, journal))?)
            (options(journal))
            @if !objective.is_proper() {
                p.note {
                    (name(*objective)) " is no proper score: what is best by it may have worse \
                     probabilities."
                }
            }
        }
    })
}

fn verdict(tuning: &Tuning) -> String {
    let shown = |value: f64| format!("{:.4}", sign(tuning.objective) * value);
    let changed = tuning.validation.map_or_else(String::new, |(before, after)| {
        let (before, after) = (shown(before), shown(after));
        format!("; on the validation rows {before} became {after}")
    });
    match (tuning.taken, tuning.validation) {
        (true, _) => format!("what was found is taken{changed}"),
        (false, Some(_)) => format!("what was found is not taken{changed}"),
        (false, None) => "nothing better than the manifest’s options".to_owned(),
    }
}

/// The manifest's options beside those that were best.
fn options(journal: &Journal) -> Markup {
    let best = journal.best();
    let found = |at: usize| best.map_or_else(String::new, |trial| digits(trial.values[at]));
    html! {
        table {
            (heads(["option", "manifest", "best"]))
            @for (at, parameter) in journal.search.parameters.iter().enumerate() {
                (row(None, [&parameter.name, &digits(parameter.default), &found(at)]))
            }
        }
    }
}

fn digits(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.4}") }
}

/// Losses are less where a measure is better; areas are shown as people know them.
fn sign(objective: Objective) -> f64 {
    if objective.is_proper() { 1.0 } else { -1.0 }
}

fn name(objective: Objective) -> &'static str {
    match objective {
        Objective::LogLoss => "log loss",
        Objective::Brier => "Brier score",
        Objective::AucPr => "AUC-PR",
        Objective::RocAuc => "ROC-AUC",
        Objective::Rmse => "RMSE",
        Objective::Mae => "MAE",
    }
}

fn trials(area: &Area<'_>, objective: Objective, journal: &Journal) -> Result<()> {
    let numbered = || (1..).zip(&journal.trials);
    let place =
        |(number, trial): (u32, &Trial)| Some((f64::from(number), sign(objective) * trial.loss()?));
    let complete: Vec<(f64, f64)> = numbered().filter_map(place).collect();
    let values = complete.iter().map(|point| point.1);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let pad = (high - low).max(1e-9) * 0.1;
    let last = journal.trials.len() as f64 + 1.0;
    let frame = Axes {
        caption: &format!("{} of each trial", name(objective)),
        x: (0.0, last),
        y: (low - pad, high + pad),
        names: ("trial", ""),
        has_y_axis: true,
    };
    let mut chart = axes(area, &frame)?;
    let mut best: Option<f64> = None;
    let so_far = complete.iter().map(|(x, y)| {
        let better = best.is_none_or(|best| sign(objective) * (y - best) < 0.0);
        best = if better { Some(*y) } else { best };
        (*x, best.unwrap_or(*y))
    });
    let so_far: Vec<(f64, f64)> = so_far.collect();
    chart.draw_series(LineSeries::new(so_far, BLUE.stroke_width(1))).map_err(failed)?;
    let dot = |point: &(f64, f64)| {
        let colour = if point.0 == 1.0 { RED } else { BLUE };
        Circle::new(*point, 3, colour.filled())
    };
    chart.draw_series(complete.iter().map(dot)).map_err(failed)?;
    let given_up = numbered().filter(|(_, trial)| trial.outcome != Outcome::Complete);
    let tick = |(number, _): (u32, &Trial)| {
        let x = f64::from(number);
        PathElement::new([(x, low - pad), (x, low - pad * 0.4)], GREY.stroke_width(2))
    };
    chart.draw_series(given_up.map(tick)).map_err(failed)?;
    Ok(())
}
