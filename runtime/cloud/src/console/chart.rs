//! Charts as SVG within the page, drawn by the server. What a chart shows is in a table as well.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Labels below a chart.
const LABELS: usize = 6;
/// Lines across a chart, about.
const LEVELS: f64 = 5.0;
/// Points that are marked, so that few do not look like none.
const MARKED_MAX: usize = 60;
/// Series that have a colour of their own.
pub const SERIES_MAX: usize = 6;

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Points that follow each other.
    Line,
    /// A bar for each.
    Bars,
}

/// Values of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Places and values, in the order of places.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// How.
    pub kind: Kind,
    /// The values.
    pub series: Vec<Series>,
    /// An interval: places, lower and upper ends.
    pub band: Vec<(f64, f64, f64)>,
    /// Names of places, in their order.
    pub labels: Vec<(f64, String)>,
}

/// From values to points of the picture.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
    step: f64,
}

impl Scale {
    fn of(chart: &Chart) -> Option<Self> {
        let points = || chart.series.iter().flat_map(|s| s.points.iter().copied());
        let xs = points().map(|(x, _)| x).chain(chart.band.iter().map(|(x, ..)| *x));
        let ends = chart.band.iter().flat_map(|(_, low, high)| [*low, *high]);
        let ys = points().map(|(_, y)| y).chain(ends);
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values.filter(|v| v.is_finite()).fold(None, |range: Option<(f64, f64)>, v| {
                Some(range.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
            })
        };
        let mut x = range(&mut xs.into_iter())?;
        let mut y = range(&mut ys.into_iter())?;
        if chart.kind == Kind::Bars {
            y = (y.0.min(0.0), y.1.max(0.0));
            x = (x.0 - 0.5, x.1 + 0.5);
        } else if y.0 > 0.0 && y.0 < (y.1 - y.0) {
            y.0 = 0.0;
        }
        if x.0 == x.1 {
            x = (x.0 - 1.0, x.1 + 1.0);
        }
        let step = level_step(y.1 - y.0, y.1.abs().max(y.0.abs()));
        let y = ((y.0 / step).floor() * step, (y.1 / step).ceil() * step);
        let y = if y.0 == y.1 { (y.0 - step, y.1 + step) } else { y };
        Some(Self { x, y, step })
    }

    fn x(&self, x: f64) -> f64 {
        LEFT + (x - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, y: f64) -> f64 {
        TOP + (self.y.1 - y) / (self.y.1 - self.y.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn levels(&self) -> Vec<f64> {
        let count = ((self.y.1 - self.y.0) / self.step).round().clamp(1.0, 20.0) as usize;
        (0..=count).map(|index| self.y.0 + self.step * index as f64).collect()
    }
}

/// 1, 2 or 5 times a power of ten.
fn level_step(range: f64, most: f64) -> f64 {
    let range = if range > 0.0 { range } else { most.max(1.0) };
    let rough = range / LEVELS;
    let power = 10_f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= rough);
    times.unwrap_or(10.0) * power
}

/// A number with as many digits as its neighbours need.
pub fn number(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", &*text), |digits| ("-", digits));
    let (whole, rest) =
        digits.split_once('.').map_or((digits, String::new()), |(w, r)| (w, format!(".{r}")));
    if whole.len() > 12 {
        return format!("{value:.2e}");
    }
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

impl Chart {
    /// As a piece of a page; nothing when there are no values.
    pub fn drawn(&self) -> Markup {
        let Some(scale) = Scale::of(self) else { return html! {} };
        html! {
            figure.chart {
                div.wide role="region" aria-label="Chart" tabindex="0" { (self.picture(&scale)) }
                figcaption {
                    (self.title)
                    @if self.series.len() > 1 || !self.band.is_empty() {
                        ul.legend {
                            @for (index, series) in self.shown() {
                                li {
                                    @let key = format!("key s{}", index % SERIES_MAX);
                                    span class=(key) aria-hidden="true" {}
                                    (series.name)
                                }
                            }
                            @if !self.band.is_empty() {
                                li { span.key.band-key aria-hidden="true" {} "prediction interval" }
                            }
                        }
                    }
                }
            }
        }
    }

    fn picture(&self, scale: &Scale) -> Markup {
        html! {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(self.described()) {
                (self.frame(scale))
                @if !self.band.is_empty() { path.band d=(self.band_path(scale)) {} }
                @for (index, series) in self.series.iter().enumerate() {
                    @match self.kind {
                        Kind::Line => (line(series, index, scale)),
                        Kind::Bars => (bars(series, index, self.series.len(), scale)),
                    }
                }
            }
        }
    }

    /// The series that have values, with their numbers.
    fn shown(&self) -> impl Iterator<Item = (usize, &Series)> {
        self.series.iter().enumerate().filter(|(_, series)| !series.points.is_empty())
    }

    /// For who does not see it.
    fn described(&self) -> String {
        let mut words = format!("{}.", self.title);
        for (_, series) in self.shown().take(SERIES_MAX) {
            let values = series.points.iter().map(|(_, y)| *y);
            let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
            let _ = write!(
                words,
                " {}: {} values from {low} to {high}.",
                series.name,
                series.points.len()
            );
        }
        words
    }

    fn frame(&self, scale: &Scale) -> Markup {
        let every = self.labels.len().div_ceil(LABELS).max(1);
        html! {
            @for level in scale.levels() {
                @let y = scale.y(level);
                line.level x1=(LEFT) x2=(WIDTH - RIGHT) y1=(round(y)) y2=(round(y)) {}
                text.label x=(LEFT - 8.0) y=(round(y + 4.0)) text-anchor="end" {
                    (number(level, scale.step))
                }
            }
            @for (place, label) in self.labels.iter().step_by(every) {
                text.label x=(round(scale.x(*place))) y=(HEIGHT - 12.0) text-anchor="middle" {
                    (super::html::short(label, 14))
                }
            }
        }
    }

    fn band_path(&self, scale: &Scale) -> String {
        let there = self.band.iter().map(|(x, _, high)| (*x, *high));
        let back = self.band.iter().rev().map(|(x, low, _)| (*x, *low));
        path(there.chain(back), scale) + "Z"
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn path(points: impl Iterator<Item = (f64, f64)>, scale: &Scale) -> String {
    let mut out = String::new();
    for (index, (x, y)) in points.filter(|(x, y)| x.is_finite() && y.is_finite()).enumerate() {
        let letter = if index == 0 { 'M' } else { 'L' };
        let _ = write!(out, "{letter}{} {} ", round(scale.x(x)), round(scale.y(y)));
    }
    out
}

fn line(series: &Series, index: usize, scale: &Scale) -> Markup {
    let class = format!("s{}", index % SERIES_MAX);
    html! {
        path class={ "line " (class) } d=(path(series.points.iter().copied(), scale)) {}
        @if series.points.len() <= MARKED_MAX {
            @for (x, y) in &series.points {
                @let (x, y) = (round(scale.x(*x)), round(scale.y(*y)));
                circle class={ "mark " (class) } cx=(x) cy=(y) r="2.5" {}
            }
        }
    }
}

fn bars(series: &Series, index: usize, all: usize, scale: &Scale) -> Markup {
    let slot = (scale.x(1.0) - scale.x(0.0)).abs();
    let width = (slot * 0.8 / all as f64).max(1.0);
    let base = scale.y(0.0);
    let mut out = String::new();
    for (x, y) in series.points.iter().filter(|(_, y)| y.is_finite()) {
        let left = scale.x(*x) - slot * 0.4 + width * index as f64;
        let top = scale.y(*y);
        let (top, height) = (top.min(base), (top - base).abs().max(0.5));
        let _ = write!(
            out,
            "<rect class=\"bar s{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            index % SERIES_MAX,
            round(left),
            round(top),
            round(width),
            round(height),
        );
    }
    PreEscaped(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(kind: Kind, points: Vec<(f64, f64)>) -> Chart {
        let labels = points.iter().map(|(x, _)| (*x, format!("<{x}>"))).collect();
        let series = vec![Series { name: "<b>n</b>".to_owned(), points }];
        Chart { title: "T".to_owned(), kind, series, band: vec![], labels }
    }

    #[test]
    fn levels_are_round_numbers() {
        for (range, step) in [(100.0, 20.0), (7.0, 2.0), (0.03, 0.01), (1e9, 2e8)] {
            assert!((level_step(range, range) - step).abs() < step / 1e6, "{range}");
        }
        assert_eq!(number(1_234_567.0, 1_000.0), "1\u{202f}234\u{202f}567");
        assert_eq!(number(-0.05, 0.01), "-0.05");
        assert_eq!(number(1e15, 1e14), "1.00e15");
    }

    #[test]
    fn charts_stay_within_their_frame_and_escape_names() {
        for kind in [Kind::Line, Kind::Bars] {
            let drawn =
                chart(kind, vec![(0.0, -5.0), (1.0, 10.0), (2.0, 3.0)]).drawn().into_string();
            assert!(drawn.contains("&lt;0&gt;") && !drawn.contains("<b>"), "{drawn}");
            assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        }
    }

    #[test]
    fn strange_values_draw_nothing_or_something() {
        assert_eq!(chart(Kind::Line, vec![]).drawn().into_string(), "");
        assert_eq!(chart(Kind::Line, vec![(f64::NAN, f64::NAN)]).drawn().into_string(), "");
        for points in
            [vec![(1.0, 0.0)], vec![(1.0, 7.0), (2.0, 7.0)], vec![(0.0, 1e300), (1.0, -1e300)]]
        {
            let drawn = chart(Kind::Line, points).drawn().into_string();
            assert!(drawn.contains("<path") && !drawn.contains("NaN"), "{drawn}");
        }
    }
}
