//! An evaluation as one HTML page that needs nothing else: tables, and charts as SVG.

pub mod profile;
mod service;

use std::fmt::Write;

use anyhow::{Result, anyhow};
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

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The page; with a section about the model in service where one is deployed.
pub fn html(report: &Evaluation, service: Option<&ServiceReport>) -> Result<String> {
    let mut page = head(&format!("{}: evaluation", report.pipeline), STYLE);
    write!(
        page,
        "<h1>{0}</h1><p>{1} series, {2} observations, {3} to {4}. Forecasts from {5} origins, \
         {6} to {7}. Served: <b>{8}</b>.</p>",
        escape(&report.pipeline),
        report.data.series,
        report.data.rows,
        report.data.first,
        report.data.last,
        report.origins.len(),
        report.origins.first().map_or("", String::as_str),
        report.origins.last().map_or("", String::as_str),
        report.chosen.name(),
    )?;
    let notes = lines(&report.data.notes);
    if !notes.is_empty() {
        page += "<h2>About the data</h2><ul>";
        notes.iter().try_for_each(|note| write!(page, "<li>{}", escape(note)))?;
        page += "</ul>";
    }
    page += "<h2>Families</h2>";
    page += &families(report);
    page += "<p class=note>p: probability of a difference from the served family at least this large when there is none \
             (Wilcoxon’s signed-rank test over the series’ mean errors). Intervals are calibrated on all other origins.</p>";
    page += &decisions(report);
    if let Some(chosen) = report.chosen().filter(|c| c.by_step.len() > 1) {
        page += "<h2>Error and coverage by step</h2>";
        page += &chart((900, 260), |area| by_step(area, chosen))?;
    }
    page += "<h2>Error by series</h2>";
    page += &chart((900, 260), |area| by_series(area, report))?;
    page += "<h2>Residuals</h2>";
    page += &chart((900, 260), |area| residuals(area, report))?;
    let decides = report.chosen().is_some_and(|chosen| chosen.decision.is_some());
    let procure = if decides { " Red: how much to procure." } else { "" };
    write!(
        page,
        "<h2>Forecasts</h2><p class=note>Line: observations. Dots: forecasts, with their intervals.\
         {procure} The hardest series first.</p><div class=grid>"
    )?;
    for series in selection(report) {
        write!(
            page,
            "<figure><figcaption>{}, MASE {:.2}</figcaption>",
            escape(&series.series),
            series.errors.mase
        )?;
        page += &chart((440, 220), |area| forecasts(area, series))?;
        page += "</figure>";
    }
    page += "</div><h2>Checked for leaks</h2><ul>";
    report.checks.iter().try_for_each(|check| write!(page, "<li>{}", escape(check)))?;
    page += "</ul>";
    page += &service.map_or_else(String::new, service::html);
    page += "</main></html>\n";
    Ok(page)
}

/// The beginning of a page.
fn head(title: &str, style: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content='width=device-width'>\
         <title>{}</title><style>{style}</style><main>",
        escape(title)
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;margin:0}main{max-width:960px;margin:auto;padding:1rem}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}\
th:first-child,td:first-child{text-align:left}.chosen{background:#eaf2fb;font-weight:600}.note{color:#555;font-size:.9em}\
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(420px,100%),1fr));gap:1rem}figure{margin:0}figcaption{font-weight:600}svg{width:100%;height:auto}\
.wide{overflow-x:auto}.text{text-align:left}.found{color:#c44234;font-weight:600}.bar{width:7rem;height:.7rem;background:#eee}.bar div{height:100%;background:#1f5fad}.over div{background:#c44234}";

fn families(report: &Evaluation) -> String {
    let mut table = "<table><tr><th>family<th>MAE<th>RMSE<th>sMAPE %<th>MASE<th>MSIS<th>inside %<th>CRPS<th>p</tr>".to_owned();
    for f in &report.families {
        let class = if f.family == report.chosen { " class=chosen" } else { "" };
        let p = f.p_value.map_or_else(String::new, |p| format!("{p:.3}"));
        let (e, i, decimals) = (&f.errors, &f.intervals, report.error_decimals());
        table += &format!(
            "<tr{class}><td>{}<td>{:.decimals$}<td>{:.decimals$}<td>{:.2}<td>{:.3}<td>{:.2}\
             <td>{:.1}<td>{:.3}<td>{p}</tr>",
            f.family.name(),
            e.mae,
            e.rmse,
            e.smape,
            e.mase,
            i.msis,
            i.coverage * 100.0,
            i.crps
        );
    }
    table + "</table>"
}

/// What deciding by a quantile would have cost, beside deciding by the point forecast.
fn decisions(report: &Evaluation) -> String {
    let decided = |f: &FamilyReport| f.decision.map(|decision| (f.family, decision));
    let all: Vec<_> = report.families.iter().filter_map(decided).collect();
    let Some((_, first)) = all.first() else { return String::new() };
    let mut section = format!(
        "<h2>How much to procure</h2><p>By the quantile {}, which costs least: so often should the \
         actual value be at most it.</p><table><tr><th>family<th>at most it %<th>loss\
         <th>loss by point forecast<th>less %</tr>",
        first.probability
    );
    let decimals = report.error_decimals();
    for (family, decision) in &all {
        let class = if *family == report.chosen { " class=chosen" } else { "" };
        section += &format!(
            "<tr{class}><td>{}<td>{:.1}<td>{:.decimals$}<td>{:.decimals$}<td>{:.1}</tr>",
            family.name(),
            decision.covered * 100.0,
            decision.pinball,
            decision.pinball_of_point,
            decision.saved()
        );
    }
    section
        + "</table><p class=note>Loss: mean pinball loss in units of the target, in proportion to \
           what a unit short and a unit over cost.</p>"
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

fn chart(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    // An XML declaration has no place inside of HTML.
    Ok(svg.split_once("<svg").map_or(svg.clone(), |(_, rest)| format!("<svg{rest}")))
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
    chart
        .draw_series(
            series
                .forecasts
                .iter()
                .map(|f| Circle::new((f.index as f64, f.value), 2, BLUE.filled())),
        )
        .map_err(failed)?;
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

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
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
