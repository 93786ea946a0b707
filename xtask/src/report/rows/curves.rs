//! Charts of probabilities and thresholds, and of numbers beside what happened.

use anyhow::Result;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use steppe_model::rows::metrics::Reliability;
use steppe_model::tabular::judged::{AtThreshold, Band, Judged, Point};

use crate::report::{Area, BLUE, GREY, RED, axis_label, failed};

/// Shares of what happens that the table of thresholds finds.
const RECALLS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Radii of dots of the fewest and the most rows.
const RADII: (f64, f64) = (3.0, 9.0);
/// What happened, beside recall and false alarms.
const GREEN: RGBColor = RGBColor(46, 125, 80);

/// A share that a threshold has.
type Share = fn(&Point) -> f64;

/// A chart that can be drawn on.
pub type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// What stands around a chart.
#[derive(Debug)]
pub struct Axes<'a> {
    /// What it shows.
    pub caption: &'a str,
    /// From where to where.
    pub x: (f64, f64),
    /// From where to where.
    pub y: (f64, f64),
    /// What its axes are; nothing of one that goes without saying.
    pub names: (&'a str, &'a str),
    /// Whether heights are numbers.
    pub has_y_axis: bool,
}

/// Draws them.
pub fn axes<'a, 'b>(area: &'a Area<'b>, frame: &Axes<'_>) -> Result<Chart<'a, 'b>> {
    let Axes { caption, x, y, names, has_y_axis } = frame;
    let space = |name: &str, plain: u32| if name.is_empty() { plain } else { plain + 16 };
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(space(names.0, 24))
        .y_label_area_size(space(names.1, 48))
        .build_cartesian_2d(x.0..x.1, y.0..y.1)
        .map_err(failed)?;
    let mut mesh = chart.configure_mesh();
    if !has_y_axis {
        mesh.disable_y_axis().disable_y_mesh();
    }
    mesh.x_labels(6)
        .y_labels(6)
        .x_desc(names.0)
        .y_desc(names.1)
        .x_label_formatter(&|value| axis_label(*value, x.1 - x.0))
        .y_label_formatter(&|value| axis_label(*value, y.1 - y.0))
        .light_line_style(WHITE)
        .bold_line_style(GREY.mix(0.15))
        .axis_style(GREY)
        .draw()
        .map_err(failed)?;
    Ok(chart)
}

/// Share of what happens, among the rows that were judged.
fn prior(groups: &[Reliability]) -> f64 {
    let rows: usize = groups.iter().map(|group| group.rows).sum();
    let happened: f64 = groups.iter().map(|group| group.rows as f64 * group.observed).sum();
    happened / rows.max(1) as f64
}

/// Recall, precision, share of false alarms, and share that is answered yes.
pub fn at(at: &AtThreshold) -> [f64; 4] {
    let c = &at.confusion;
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    let said = c.true_positives + c.false_positives;
    let not = c.false_positives + c.true_negatives;
    let rows = said + c.true_negatives + c.false_negatives;
    [c.recall(), c.precision(), share(c.false_positives, not), share(said, rows)]
}

/// Threshold, recall, precision, false alarms and share of yes of some points, highest first.
pub fn some_thresholds(judged: &Judged) -> Vec<[f64; 5]> {
    let prior = prior(&judged.reliability);
    let line = |point: &Point| {
        let Point { threshold, recall, precision, false_alarms } = *point;
        let yes = prior * recall + (1.0 - prior) * false_alarms;
        Some([threshold, recall, precision?, false_alarms, yes])
    };
    let points: Vec<[f64; 5]> = judged.curve.iter().filter_map(line).collect();
    let nearest = |recall: &f64| {
        let distance = |point: &&[f64; 5]| (point[1] - recall).abs();
        points.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).copied()
    };
    let mut some: Vec<[f64; 5]> = RECALLS.iter().filter_map(nearest).collect();
    some.dedup_by(|a, b| a[0] == b[0]);
    some
}

/// Recall over false alarms.
pub fn roc(area: &Area<'_>, judged: &Judged) -> Result<()> {
    let area_under = judged.score("ROC-AUC").map_or_else(String::new, |v| format!(", area {v:.3}"));
    let frame = Axes {
        caption: &format!("ROC curve{area_under} (grey: chance)"),
        x: (0.0, 1.0),
        y: (0.0, 1.0),
        names: ("false alarms", "recall"),
        has_y_axis: true,
    };
    let mut chart = axes(area, &frame)?;
    let chance = LineSeries::new([(0.0, 0.0), (1.0, 1.0)], GREY.mix(0.6).stroke_width(1));
    chart.draw_series(chance).map_err(failed)?;
    let begin = std::iter::once((0.0, 0.0));
    let points = begin.chain(judged.curve.iter().map(|point| (point.false_alarms, point.recall)));
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2))).map_err(failed)?;
    if let Some(chosen) = &judged.at_threshold {
        let [recall, _, false_alarms, _] = at(chosen);
        mark(&mut chart, (false_alarms, recall))?;
    }
    Ok(())
}

/// Precision over recall.
pub fn precision_recall(area: &Area<'_>, judged: &Judged) -> Result<()> {
    let area_under = judged.score("AUC-PR").map_or_else(String::new, |v| format!(", area {v:.3}"));
    let prior = prior(&judged.reliability);
    let frame = Axes {
        caption: &format!("precision and recall{area_under} (grey: {prior:.3} happen)"),
        x: (0.0, 1.0),
        y: (0.0, 1.0),
        names: ("recall", "precision"),
        has_y_axis: true,
    };
    let mut chart = axes(area, &frame)?;
    let chance = LineSeries::new([(0.0, prior), (1.0, prior)], GREY.mix(0.6).stroke_width(1));
    chart.draw_series(chance).map_err(failed)?;
    let points = judged.curve.iter().filter_map(|point| Some((point.recall, point.precision?)));
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2))).map_err(failed)?;
    if let Some(chosen) = &judged.at_threshold {
        let [recall, precision, ..] = at(chosen);
        mark(&mut chart, (recall, precision))?;
    }
    Ok(())
}

/// A dot where the chosen threshold is.
fn mark(chart: &mut Chart<'_, '_>, place: (f64, f64)) -> Result<()> {
    chart.draw_series([Circle::new(place, 5, RED.filled())]).map_err(failed)?;
    Ok(())
}

/// What happened over what was said of groups of rows.
pub fn reliability(area: &Area<'_>, groups: &[Reliability]) -> Result<()> {
    let ends = groups.iter().flat_map(|group| [group.predicted, group.observed]);
    let highest = (ends.fold(0.0, f64::max) * 1.1).clamp(1e-6, 1.0);
    let frame = Axes {
        caption: "what happened beside what was said (larger dots: more rows)",
        x: (0.0, highest),
        y: (0.0, highest),
        names: ("mean probability", "share that happened"),
        has_y_axis: true,
    };
    let mut chart = axes(area, &frame)?;
    let right = LineSeries::new([(0.0, 0.0), (highest, highest)], GREY.mix(0.6).stroke_width(1));
    chart.draw_series(right).map_err(failed)?;
    let points = groups.iter().map(|group| (group.predicted, group.observed));
    chart.draw_series(LineSeries::new(points, BLUE.mix(0.5).stroke_width(1))).map_err(failed)?;
    let most = groups.iter().map(|group| group.rows).max().unwrap_or(1).max(1) as f64;
    let dot = |group: &Reliability| {
        let size = RADII.0 + (RADII.1 - RADII.0) * (group.rows as f64 / most);
        Circle::new((group.predicted, group.observed), size as i32, BLUE.mix(0.75).filled())
    };
    chart.draw_series(groups.iter().map(dot)).map_err(failed)?;
    Ok(())
}

/// Precision, recall and false alarms over the threshold.
pub fn sweep(area: &Area<'_>, judged: &Judged, threshold: f64) -> Result<()> {
    let told: Vec<&Point> = judged.curve.iter().filter(|p| p.precision.is_some()).collect();
    let highest = told.iter().map(|point| point.threshold).fold(threshold, f64::max);
    let frame = Axes {
        caption: "what each threshold would do (grey line: the chosen one)",
        x: (0.0, (highest * 1.02).clamp(1e-6, 1.0)),
        y: (0.0, 1.0),
        names: ("threshold", ""),
        has_y_axis: true,
    };
    let mut chart = axes(area, &frame)?;
    let chosen = LineSeries::new([(threshold, 0.0), (threshold, 1.0)], GREY.stroke_width(1));
    chart.draw_series(chosen).map_err(failed)?;
    let lines: [(&str, RGBColor, Share); 3] = [
        ("recall", BLUE, |point| point.recall),
        ("precision", GREEN, |point| point.precision.unwrap_or_default()),
        ("false alarms", RED, |point| point.false_alarms),
    ];
    for (name, colour, value) in lines {
        let points = told.iter().map(|point| (point.threshold, value(point)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(failed)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperMiddle)
        .background_style(WHITE.mix(0.85))
        .label_font(("sans-serif", 13))
        .draw()
        .map_err(failed)?;
    Ok(())
}

/// What happened over what was answered, of numbers.
pub fn bands(area: &Area<'_>, bands: &[Band]) -> Result<()> {
    let ends = bands.iter().flat_map(|band| [band.answered, band.low, band.high]);
    let (low, high) = ends.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let pad = (high - low).max(1e-9) * 0.05;
    let answered = bands.iter().map(|band| band.answered);
    let (first, last) = answered.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let beside = (last - first).max(1e-9) * 0.05;
    let frame = Axes {
        caption: "what happened beside what was answered",
        x: (first - beside, last + beside),
        y: (low - pad, high + pad),
        names: ("mean answer", "what happened"),
        has_y_axis: true,
    };
    let mut chart = axes(area, &frame)?;
    let right = LineSeries::new([(first, first), (last, last)], GREY.mix(0.6).stroke_width(1));
    chart.draw_series(right).map_err(failed)?;
    let range = |band: &Band| {
        let x = band.answered;
        PathElement::new([(x, band.low), (x, band.high)], BLUE.mix(0.4).stroke_width(5))
    };
    chart.draw_series(bands.iter().map(range)).map_err(failed)?;
    let dot = |band: &Band| Circle::new((band.answered, band.happened), 4, BLUE.filled());
    chart.draw_series(bands.iter().map(dot)).map_err(failed)?;
    Ok(())
}
