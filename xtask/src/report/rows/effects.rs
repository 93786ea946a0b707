//! What columns add to answers: on average, and for some rows as a swarm.

use anyhow::Result;
use maud::{Markup, html};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use steppe_model::tabular::evaluation::Evaluation;
use steppe_model::tabular::model::Link;
use steppe_model::tabular::section::Importance;

use super::bar;
use super::curves::{Axes, axes};
use crate::report::{Area, BLUE, GREY, RED, chart, failed, heads, row};

/// Columns of the swarm.
const COLUMNS_SHOWN: usize = 12;
/// Height of a column's band, in pixels.
const BAND_PIXELS: usize = 34;
/// Characters of a name beside the swarm.
const NAME_CHARACTERS: usize = 20;
/// Dots of a swarm that would lie on each other are this far apart, in parts of the width.
const BINS: f64 = 150.0;
/// Dots above or below a band's middle, at most.
const STACK_MAX: i32 = 7;

/// The section.
pub fn html(report: &Evaluation) -> Result<Markup> {
    let all = &report.section.importance;
    let Some(most) = all.first().map(|first| first.effect).filter(|most| *most > 0.0) else {
        return Ok(html! {});
    };
    let unit = unit(report);
    let shown: Vec<&Importance> =
        all.iter().take(COLUMNS_SHOWN).filter(|one| !one.swarm.is_empty()).collect();
    let height = (shown.len() * BAND_PIXELS + 70) as u32;
    Ok(html! {
        h2 { "What columns add" }
        table {
            (heads(["column", "mean size", ""]))
            @for one in all {
                (row(None, [
                    &one.column,
                    &format_args!("{:.4}", one.effect),
                    &bar(one.effect / most),
                ]))
            }
        }
        p.note {
            "Shapley values of a model that is fitted on the rows above, before calibration, in "
            (unit) ". They tell what the model does, not what causes what."
        }
        @if !shown.is_empty() {
            (chart((900, height), |area| swarm(area, &shown, &unit))?)
            p.note {
                "Each dot is a row. Right: the column raises the answer; left: it lowers it. Blue: \
                 the lowest values of the column; red: the highest; grey: missing, or without an \
                 order."
            }
        }
    })
}

/// What effects are in.
fn unit(report: &Evaluation) -> String {
    match (report.section.target.labels.is_empty(), report.section.link) {
        (true, _) => format!("units of {}", report.target),
        (false, Link::Identity) => "probability".to_owned(),
        (false, Link::LogOdds) => "log odds".to_owned(),
    }
}

fn swarm(area: &Area<'_>, columns: &[&Importance], unit: &str) -> Result<()> {
    let effects = columns.iter().flat_map(|one| &one.swarm).map(|dot| f64::from(dot.1));
    let (low, high) = effects.fold((0.0_f64, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
    let pad = (high - low).max(1e-9) * 0.04;
    let (area, x) = (area.margin(0, 0, 140, 0), (low - pad, high + pad));
    let caption = format!("what each column adds, in {unit}");
    let bands = columns.len() as f64;
    let frame =
        Axes { caption: &caption, x, y: (-bands + 0.5, 0.5), names: ("", ""), has_y_axis: false };
    let mut chart = axes(&area, &frame)?;
    let zero = [(0.0, -bands + 0.5), (0.0, 0.5)];
    chart.draw_series(LineSeries::new(zero, GREY.stroke_width(1))).map_err(failed)?;
    let style = ("sans-serif", 13).into_font().color(&GREY);
    let style = style.pos(Pos::new(HPos::Right, VPos::Center));
    for (at, one) in columns.iter().enumerate() {
        let middle = -(at as f64);
        let dots = bees(&one.swarm, x.1 - x.0);
        let dot = |(effect, stack, place): (f64, i32, f32)| {
            let at = (effect, middle + f64::from(stack) * 0.42 / f64::from(STACK_MAX));
            Circle::new(at, 2, colour(place).mix(0.8).filled())
        };
        chart.draw_series(dots.into_iter().map(dot)).map_err(failed)?;
        let (left, y) = chart.backend_coord(&(x.0, middle));
        let name: String = one.column.chars().take(NAME_CHARACTERS).collect();
        // The area's own pixels begin after its margin.
        let begin = area.get_pixel_range().0.start;
        area.draw(&Text::new(name, (left - begin - 8, y), style.clone())).map_err(failed)?;
    }
    Ok(())
}

/// Where dots lie: those with about the same effect above and below each other.
fn bees(swarm: &[(f32, f32)], width: f64) -> Vec<(f64, i32, f32)> {
    let mut counts = std::collections::HashMap::new();
    let dot = |&(place, effect): &(f32, f32)| {
        let effect = f64::from(effect);
        let count: &mut i32 = counts.entry((effect / width * BINS).round() as i64).or_default();
        // 0, 1, −1, 2, −2, …
        let stack = if *count % 2 == 1 { (*count + 1) / 2 } else { -*count / 2 };
        // Where there is no more room, dots lie on those in the middle.
        *count = (*count + 1) % (2 * STACK_MAX + 1);
        (effect, stack, place)
    };
    swarm.iter().map(dot).collect()
}

/// From blue, the lowest, to red, the highest.
fn colour(place: f32) -> RGBColor {
    if !(0.0..=1.0).contains(&place) {
        return RGBColor(150, 150, 150);
    }
    let between = |from: u8, to: u8| {
        (f32::from(from) + (f32::from(to) - f32::from(from)) * place).round() as u8
    };
    RGBColor(between(BLUE.0, RED.0), between(BLUE.1, RED.1), between(BLUE.2, RED.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_of_one_effect_lie_beside_each_other() {
        let dots = bees(&[(0.0, 1.0), (0.5, 1.0), (1.0, 1.0), (-1.0, 2.0)], 10.0);
        let stacks: Vec<i32> = dots.iter().map(|dot| dot.1).collect();
        assert_eq!(stacks, [0, 1, -1, 0]);
    }

    #[test]
    fn colours_go_from_low_to_high_and_what_has_no_order_is_grey() {
        assert_eq!([0.0, 1.0].map(colour), [BLUE, RED]);
        assert_eq!([-1.0, f32::NAN].map(colour), [RGBColor(150, 150, 150); 2]);
    }
}
