//! An evaluation as one HTML page that needs nothing else: tables, and charts as SVG.

pub mod answer;
pub mod profile;
pub mod rows;
mod service;
pub mod unsupervised;

use anyhow::{Result, anyhow};
use maud::{DOCTYPE, Markup, PreEscaped, Render, html};
use plotters::coord::Shift;
use plotters::prelude::*;
use steppe_model::forecast::dataset::lines;
use steppe_model::forecast::evaluation::{Evaluation, FamilyReport, SeriesReport};
use steppe_model::forecast::metrics::holds;

pub use service::ServiceReport;

const BLUE: RGBColor = RGBColor(31, 95, 173);
const GREY: RGBColor = RGBColor(90, 90, 90);
const RED: RGBColor = RGBColor(196, 66, 52);
/// Series with a chart of their own: the hardest, the easiest and those in the middle.
const CHARTS: usize = 9;
/// Observations before the first forecast that a chart shows, in multiples of the backtest's
/// length.
const CONTEXT: usize = 3;
/// Periods with forecasts above which these are a line: so many dots would hide everything else.
const DOTS_MAX: usize = 100;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The page; with a section about the model in service where one is deployed.
pub fn html(report: &Evaluation, service: Option<&ServiceReport>) -> Result<String> {
    let (data, origins) = (&report.data, &report.origins);
    let notes = lines(&data.notes);
    let several_steps = report.chosen().filter(|chosen| chosen.by_step.len() > 1);
    let steps = several_steps.map(|chosen| chart((900, 260), |area| by_step(area, chosen)));
    let steps = steps.transpose()?;
    let decides = report.chosen().is_some_and(|chosen| chosen.decision.is_some());
    let series = selection(report).into_iter().map(series_chart).collect::<Result<Vec<_>>>()?;
    let body = html! {
        h1 { (report.pipeline) }
        p {
            (data.series) " series, " (data.rows) " observations, " (data.first) " to " (data.last)
            ". Forecasts from " (origins.len()) " origins, "
            (origins.first().map_or("", String::as_str)) " to "
            (origins.last().map_or("", String::as_str))
            ". Served: " b { (report.chosen.name()) } "."
        }
        @if !notes.is_empty() {
            h2 { "About the data" }
            (list(&notes))
        }
        h2 { "Families" }
        (families(report))
        p.note {
            "p: probability of a difference from the served family at least this large when there \
             is none (Wilcoxon’s signed-rank test over the series’ mean errors, or over origins \
             where series are few). Intervals are calibrated on all other origins."
        }
        @if let Some(verdict) = report.verdict() { p { "Beside the baselines: " (verdict) "." } }
        (decisions(report))
        @if let Some(steps) = steps {
            h2 { "Error and coverage by step" }
            (steps)
        }
        h2 { "Error by series" }
        (chart((900, 260), |area| by_series(area, report))?)
        h2 { "Residuals" }
        (chart((900, 260), |area| residuals(area, report))?)
        h2 { "Forecasts" }
        p.note {
            "Line: observations. Dots, or of many a line: forecasts, with their intervals."
            @if decides { " Red: how much to procure." }
            " The hardest series first."
        }
        .grid { @for figure in &series { (figure) } }
        h2 { "Checked for leaks" }
        (list(&report.checks))
        @if let Some(service) = service { (service::html(service)) }
    };
    Ok(page(&format!("{}: evaluation", report.pipeline), "", &body))
}

/// A page with a style of its own beside that of all.
fn page(title: &str, own_style: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) }
                style { (STYLE) (own_style) }
            }
            body { main { (body) } }
        }
    };
    page.into_string() + "\n"
}

fn list(lines: &[String]) -> Markup {
    html! { ul { @for line in lines { li { (line) } } } }
}

/// A table's first row.
fn heads<const N: usize>(names: [&str; N]) -> Markup {
    html! { tr { @for name in names { th { (name) } } } }
}

/// A row of a table.
fn row<const N: usize>(class: Option<&str>, cells: [&dyn Render; N]) -> Markup {
    html! { tr class=[class] { @for cell in cells { td { (cell) } } } }
}

/// A number to three decimals, or nothing.
fn thousandths(number: Option<f64>) -> String {
    number.map_or_else(String::new, |number| format!("{number:.3}"))
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;margin:0}main{max-width:960px;margin:auto;padding:1rem}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}\
th:first-child,td:first-child{text-align:left}.chosen{background:#eaf2fb;font-weight:600}.note{color:#555;font-size:.9em}\
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(420px,100%),1fr));gap:1rem}figure{margin:0}figcaption{font-weight:600}svg{width:100%;height:auto}\
.wide{overflow-x:auto}.text{text-align:left}.found{color:#c44234;font-weight:600}.bar{width:7rem;height:.7rem;background:#eee}.bar div{height:100%;background:#1f5fad}.over div{background:#c44234}";

fn families(report: &Evaluation) -> Markup {
    let decimals = report.error_decimals();
    let chosen = |family| (family == report.chosen).then_some("chosen");
    let heads =
        heads(["family", "MAE", "RMSE", "sMAPE %", "MASE", "MSIS", "inside %", "CRPS", "p"]);
    let of = |f: &FamilyReport| {
        let (e, i) = (&f.errors, &f.intervals);
        row(
            chosen(f.family),
            [
                &f.family.name(),
                &format_args!("{:.decimals$}", e.mae),
                &format_args!("{:.decimals$}", e.rmse),
                &format_args!("{:.2}", e.smape),
                &format_args!("{:.3}", e.mase),
                &format_args!("{:.2}", i.msis),
                &format_args!("{:.1}", i.coverage * 100.0),
                &format_args!("{:.3}", i.crps),
                &thousandths(f.p_value),
            ],
        )
    };
    html! { table { (heads) @for family in &report.families { (of(family)) } } }
}

/// What deciding by a quantile would have cost, beside deciding by the point forecast.
fn decisions(report: &Evaluation) -> Markup {
    let decided = |f: &FamilyReport| f.decision.map(|decision| (f.family, decision));
    let all: Vec<_> = report.families.iter().filter_map(decided).collect();
    let Some((_, first)) = all.first() else { return html! {} };
    let decimals = report.error_decimals();
    let chosen = |family| (family == report.chosen).then_some("chosen");
    let heads = heads(["family", "at most it %", "loss", "loss by point forecast", "less %"]);
    html! {
        h2 { "How much to procure" }
        p {
            "By the quantile " (first.probability) ", which costs least: so often should the \
             actual value be at most it."
        }
        table {
            (heads)
            @for (family, decision) in &all {
                (row(chosen(*family), [
                    &family.name(),
                    &format_args!("{:.1}", decision.covered * 100.0),
                    &format_args!("{:.decimals$}", decision.pinball),
                    &format_args!("{:.decimals$}", decision.pinball_of_point),
                    &format_args!("{:.1}", decision.saved()),
                ]))
            }
        }
        p.note {
            "Loss: mean pinball loss in units of the target, in proportion to what a unit short \
             and a unit over cost."
        }
    }
}

fn series_chart(series: &SeriesReport) -> Result<Markup> {
    Ok(html! {
        figure {
            figcaption { (series.series) ", MASE " (format_args!("{:.2}", series.errors.mase)) }
            (chart((440, 220), |area| forecasts(area, series))?)
        }
    })
}

/// The hardest series, those in the middle and the easiest.
fn selection(report: &Evaluation) -> Vec<&SeriesReport> {
    let mut sorted: Vec<&SeriesReport> = report.series.iter().collect();
    sorted.sort_by(|a, b| b.errors.mase.total_cmp(&a.errors.mase));
    if sorted.len() <= CHARTS {
        return sorted;
    }
    let (third, middle) = (CHARTS / 3, sorted.len() / 2);
    let mut chosen: Vec<usize> = (0..third)
        .chain(middle - third / 2..middle - third / 2 + third)
        .chain(sorted.len() - third..sorted.len())
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen.into_iter().map(|i| sorted[i]).collect()
}

fn chart(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<Markup> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    // An XML declaration has no place inside of HTML.
    let begin = svg.find("<svg").unwrap_or(0);
    Ok(PreEscaped(svg.split_off(begin)))
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a chart could not be drawn: {error}")
}

fn by_step(area: &Area<'_>, chosen: &FamilyReport) -> Result<()> {
    let (left, right) = area.split_horizontally(450);
    let steps = chosen.by_step.len() as f64;
    let highest = chosen.by_step.iter().map(|s| s.errors.mase).fold(0.0, f64::max).max(1e-9) * 1.1;
    let line = |area: &Area<'_>,
                caption: &str,
                range: std::ops::Range<f64>,
                points: Vec<(f64, f64)>,
                level: Option<f64>|
     -> Result<()> {
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(44)
            .build_cartesian_2d(1.0..steps, range)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_label_formatter(&short)
            .y_label_formatter(&short)
            .light_line_style(WHITE)
            .bold_line_style(GREY.mix(0.15))
            .axis_style(GREY)
            .draw()
            .map_err(failed)?;
        if let Some(level) = level {
            chart
                .draw_series(LineSeries::new([(1.0, level), (steps, level)], RED.stroke_width(1)))
                .map_err(failed)?;
        }
        chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2))).map_err(failed)?;
        Ok(())
    };
    let points = |value: &dyn Fn(&steppe_model::forecast::evaluation::StepReport) -> f64| {
        chosen.by_step.iter().map(|s| (s.step as f64, value(s))).collect()
    };
    line(&left, "MASE by step", 0.0..highest, points(&|s| s.errors.mase), None)?;
    line(
        &right,
        "inside the interval, % (red: nominal)",
        50.0..100.0,
        points(&|s| s.intervals.coverage * 100.0),
        Some(chosen.intervals.level * 100.0),
    )
}

fn by_series(area: &Area<'_>, report: &Evaluation) -> Result<()> {
    let mut errors: Vec<f64> =
        report.series.iter().map(|s| s.errors.mase).filter(|v| v.is_finite()).collect();
    errors.sort_by(|a, b| b.total_cmp(a));
    let highest = errors.first().copied().unwrap_or(1.0).max(1e-9) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(
            "MASE of each series, hardest first (red: naive forecast in sample)",
            ("sans-serif", 15),
        )
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..errors.len().max(1) as f64, 0.0..highest)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_label_formatter(&short)
        .y_label_formatter(&short)
        .disable_x_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GREY.mix(0.15))
        .axis_style(GREY)
        .draw()
        .map_err(failed)?;
    let bar = |(i, &v): (usize, &f64)| {
        Rectangle::new([(i as f64 + 0.1, 0.0), (i as f64 + 0.9, v)], BLUE.mix(0.7).filled())
    };
    chart.draw_series(errors.iter().enumerate().map(bar)).map_err(failed)?;
    chart
        .draw_series(LineSeries::new([(0.0, 1.0), (errors.len() as f64, 1.0)], RED.stroke_width(1)))
        .map_err(failed)?;
    Ok(())
}

/// Residuals relative to the width of their interval: what lies beyond ±1 is outside.
fn residuals(area: &Area<'_>, report: &Evaluation) -> Result<()> {
    let scaled = |f: &steppe_model::forecast::evaluation::ForecastReport| {
        let error = f.actual - f.value;
        let width = if error >= 0.0 { f.upper - f.value } else { f.value - f.lower };
        // What rounding makes of a constant is no error.
        let inside = holds(f.lower, f.upper, f.actual) && error.abs() > width;
        if width > 0.0 && !inside { (error / width).clamp(-3.0, 3.0) } else { 0.0 }
    };
    const BINS: usize = 60;
    let mut bins = [0usize; BINS];
    let all = report.series.iter().flat_map(|s| &s.forecasts).map(scaled);
    all.for_each(|r| bins[(((r + 3.0) / 6.0 * BINS as f64) as usize).min(BINS - 1)] += 1);
    let highest = bins.iter().copied().max().unwrap_or(1).max(1) as f64 * 1.05;
    let mut chart = ChartBuilder::on(area)
        .caption(
            "actual less forecast, in half widths of the interval (beyond ±1: outside)",
            ("sans-serif", 15),
        )
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(44)
        .build_cartesian_2d(-3.0..3.0, 0.0..highest)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_label_formatter(&short)
        .y_label_formatter(&short)
        .light_line_style(WHITE)
        .bold_line_style(GREY.mix(0.15))
        .axis_style(GREY)
        .draw()
        .map_err(failed)?;
    let bar = |(i, &n): (usize, &usize)| {
        let from = -3.0 + 6.0 * i as f64 / BINS as f64;
        let colour = if from.abs() < 1.0 { BLUE.mix(0.7) } else { RED.mix(0.7) };
        Rectangle::new([(from, 0.0), (from + 6.0 / BINS as f64, n as f64)], colour.filled())
    };
    chart.draw_series(bins.iter().enumerate().map(bar)).map_err(failed)?;
    Ok(())
}

fn forecasts(area: &Area<'_>, series: &SeriesReport) -> Result<()> {
    let first = series.forecasts.iter().map(|f| f.index).min().unwrap_or(0);
    let tested = series.history.len() - first;
    let from = first.saturating_sub(CONTEXT * tested.max(8));
    let shown: Vec<(f64, f64)> =
        (from..).zip(&series.history[from..]).map(|(i, o)| (i as f64, o.value)).collect();
    let ends = series
        .forecasts
        .iter()
        .flat_map(|f| [f.lower, f.upper, f.procure.unwrap_or(f.value)])
        .chain(shown.iter().map(|p| p.1));
    let (low, high) = ends.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let pad = (high - low).max(1e-9) * 0.05;
    let decimals = axis_decimals(high - low + 2.0 * pad);
    let value = |v: &f64| format!("{v:.decimals$}");
    let label = |x: &f64| {
        series.history.get(x.round() as usize).map_or_else(String::new, |o| o.period.clone())
    };
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(from as f64..series.history.len() as f64, low - pad..high + pad)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .y_label_formatter(&value)
        .x_labels(4)
        .y_labels(5)
        .x_label_formatter(&label)
        .light_line_style(WHITE)
        .bold_line_style(GREY.mix(0.15))
        .axis_style(GREY)
        .draw()
        .map_err(failed)?;
    let range = |f: &steppe_model::forecast::evaluation::ForecastReport| {
        let x = f.index as f64;
        Rectangle::new([(x - 0.3, f.lower), (x + 0.3, f.upper)], BLUE.mix(0.18).filled())
    };
    chart.draw_series(series.forecasts.iter().map(range)).map_err(failed)?;
    chart.draw_series(LineSeries::new(shown, GREY.stroke_width(1))).map_err(failed)?;
    let procured = series.forecasts.iter().filter_map(|f| {
        let (x, procure) = (f.index as f64, f.procure?);
        Some(PathElement::new([(x - 0.4, procure), (x + 0.4, procure)], RED.stroke_width(2)))
    });
    chart.draw_series(procured).map_err(failed)?;
    let points = series.forecasts.iter().map(|f| (f.index as f64, f.value));
    if tested > DOTS_MAX {
        chart.draw_series(LineSeries::new(points, BLUE.stroke_width(1))).map_err(failed)?;
    } else {
        let dots = points.map(|point| Circle::new(point, 2, BLUE.filled()));
        chart.draw_series(dots).map_err(failed)?;
    }
    Ok(())
}

/// A number as an axis shows it: no more digits than it needs.
fn short(value: &f64) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// A number on an axis of this length.
fn axis_label(value: f64, length: f64) -> String {
    if !(1e-6..1e7).contains(&length) {
        return format!("{value:.1e}");
    }
    format!("{value:.*}", axis_decimals(length))
}

/// Decimals that tell the five labels of an axis of this length apart.
fn axis_decimals(length: f64) -> usize {
    let between = (length / 5.0).log10();
    if between.is_finite() { (-between).ceil().clamp(0.0, 9.0) as usize } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_an_axis_differ() {
        let decimals = [5_000.0, 40.0, 4.0, 0.6, 0.02, 0.0].map(axis_decimals);
        assert_eq!(decimals, [0, 0, 1, 1, 3, 0]);
    }
}
