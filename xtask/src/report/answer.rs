//! The answer of a query as a page of charts: lines over the rows, one chart per group.

use anyhow::{Result, bail};
use maud::{Markup, html};
use plotters::prelude::*;
use steppe_spec::Chart;
use steppe_wire::hint::Hinted;

use super::{Area, BLUE, GREY, RED, axis_decimals, chart, failed, page};

/// Groups that have a chart, at most.
const CHARTS_MAX: usize = 60;
/// Lines of a chart; the first one is what the others are held against.
const COLOURS: [RGBColor; 4] = [GREY, BLUE, RED, RGBColor(46, 139, 87)];

/// What a query answered.
pub struct Answer<'a> {
    /// Names of the columns.
    pub columns: &'a [String],
    /// The rows; none where a value is missing.
    pub rows: &'a [Vec<Option<String>>],
}

/// A line, or an end of a band: a number per row, if there is one.
type Line = Vec<Option<f64>>;

/// What one chart shows.
pub(super) struct Group {
    /// What stands above it.
    pub(super) name: String,
    /// What stands below each place of the axis.
    pub(super) labels: Vec<String>,
    /// The lines.
    pub(super) lines: Vec<Line>,
    /// What is shaded between two lines.
    pub(super) band: Option<[Line; 2]>,
}

impl Answer<'_> {
    /// The first column along, all other columns of numbers upwards.
    pub fn usual_chart(&self) -> Result<Chart> {
        let is_number = |at: usize| {
            let mut values = self.rows.iter().filter_map(|row| row[at].as_deref()).peekable();
            values.peek().is_some() && values.all(|value| value.parse::<f64>().is_ok())
        };
        let numbers = (1..self.columns.len()).filter(|at| is_number(*at)).take(COLOURS.len());
        let y: Vec<String> = numbers.map(|at| self.columns[at].clone()).collect();
        match (self.columns.first(), y.is_empty()) {
            (Some(x), false) => Ok(Chart { x: x.clone(), y, by: None, band: None }),
            _ => bail!(Hinted::new(
                "there is nothing to draw: no column after the first one has numbers only",
                "`chart = { x = \"…\", y = [\"…\"] }` of a named query says what to draw"
            )),
        }
    }

    /// The page.
    pub fn html(&self, title: &str, description: &str, wanted: &Chart) -> Result<String> {
        let groups = self.groups(wanted)?;
        let count = groups.len();
        let left_out = groups.iter().skip(CHARTS_MAX).map(|group| group.name.clone());
        let left_out: Vec<String> = left_out.collect();
        let figures =
            groups.iter().take(CHARTS_MAX).map(figure).collect::<Result<Vec<Markup>>>()?;
        let body = html! {
            h1 { (title) }
            p { (description) }
            p.note {
                @for (name, colour) in wanted.y.iter().zip(COLOURS) {
                    span style=(format!("color:rgb({},{},{})", colour.0, colour.1, colour.2)) {
                        "— " (name) " "
                    }
                }
                @if let Some([low, high]) = &wanted.band { "shaded: " (low) " to " (high) }
            }
            .grid { @for figure in &figures { (figure) } }
            @if !left_out.is_empty() {
                p.note { "Of " (count) " groups without a chart: " (left_out.join(", ")) "." }
            }
        };
        Ok(page(title, "", &body))
    }

    fn place(&self, name: &str) -> Result<usize> {
        let found = self.columns.iter().position(|column| column == name);
        let missing = || {
            Hinted::new(
                format!("the answer has no column `{name}`, which the chart asks for"),
                format!("its columns are {}", self.columns.join(", ")),
            )
        };
        found.ok_or_else(|| missing().into())
    }

    /// The rows by the values of the column `by`, in the order in which these come.
    fn groups(&self, wanted: &Chart) -> Result<Vec<Group>> {
        let x = self.place(&wanted.x)?;
        let y = wanted.y.iter().map(|name| self.place(name)).collect::<Result<Vec<usize>>>()?;
        let by = wanted.by.as_ref().map(|name| self.place(name)).transpose()?;
        let ends = wanted.band.iter().flatten().map(|name| self.place(name));
        let ends = ends.collect::<Result<Vec<usize>>>()?;
        let mut groups: Vec<Group> = Vec::new();
        for (number, row) in self.rows.iter().enumerate() {
            let name = by.map_or("", |at| row[at].as_deref().unwrap_or("(missing)"));
            let at = groups.iter().rposition(|group| group.name == name).unwrap_or_else(|| {
                let band = (ends.len() == 2).then(|| [vec![], vec![]]);
                let lines = vec![vec![]; y.len()];
                groups.push(Group { name: name.to_owned(), labels: vec![], lines, band });
                groups.len() - 1
            });
            let group = &mut groups[at];
            group.labels.push(row[x].clone().unwrap_or_default());
            let number = |at: usize| self.number(number, at);
            for (line, at) in group.lines.iter_mut().zip(&y) {
                line.push(number(*at)?);
            }
            for (end, at) in group.band.iter_mut().flatten().zip(&ends) {
                end.push(number(*at)?);
            }
        }
        Ok(groups)
    }

    fn number(&self, row: usize, at: usize) -> Result<Option<f64>> {
        let Some(text) = &self.rows[row][at] else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(number) => Ok(Some(number).filter(|number| number.is_finite())),
            Err(_) => bail!("`{text}` of the column `{}` is no number", self.columns[at]),
        }
    }
}

fn figure(group: &Group) -> Result<Markup> {
    sized(group, (440, 240))
}

/// A chart of so many pixels.
pub(super) fn sized(group: &Group, size: (u32, u32)) -> Result<Markup> {
    Ok(html! {
        figure {
            figcaption { (group.name) }
            (chart(size, |area| draw(area, group))?)
        }
    })
}

fn draw(area: &Area<'_>, group: &Group) -> Result<()> {
    let band = group.band.iter().flatten().flatten().flatten();
    let values = group.lines.iter().flatten().flatten().chain(band);
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
    let pad = (high - low).max(1e-9) * 0.05;
    let decimals = axis_decimals(high - low + 2.0 * pad);
    let label = |x: &f64| group.labels.get(x.round() as usize).cloned().unwrap_or_default();
    let last = group.labels.len().saturating_sub(1).max(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        // The last label goes beyond the axis by half of its length.
        .margin_right(36)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..last, low - pad..high + pad)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .y_label_formatter(&|v: &f64| format!("{v:.decimals$}"))
        .x_labels(4)
        .y_labels(5)
        .x_label_formatter(&label)
        .light_line_style(WHITE)
        .bold_line_style(GREY.mix(0.15))
        .axis_style(GREY)
        .draw()
        .map_err(failed)?;
    if let Some([lower, upper]) = &group.band {
        let both = lower.iter().zip(upper).enumerate();
        let ends = both.filter_map(|(x, (low, high))| Some((x as f64, (*low)?, (*high)?)));
        let bars = ends.map(|(x, low, high)| {
            Rectangle::new([(x - 0.5, low), (x + 0.5, high)], BLUE.mix(0.18).filled())
        });
        chart.draw_series(bars).map_err(failed)?;
    }
    // The first line is drawn last: what the others are held against lies above them.
    for (line, colour) in group.lines.iter().zip(COLOURS).rev() {
        // A missing value is a gap, and a value without neighbours a dot.
        for run in runs(line) {
            match &run[..] {
                [dot] => {
                    chart.draw_series([Circle::new(*dot, 2, colour.filled())]).map_err(failed)?
                }
                _ => chart
                    .draw_series(LineSeries::new(run, colour.stroke_width(1)))
                    .map_err(failed)?,
            };
        }
    }
    Ok(())
}

/// Neighbouring values of a line.
fn runs(line: &Line) -> Vec<Vec<(f64, f64)>> {
    let mut runs: Vec<Vec<(f64, f64)>> = vec![vec![]];
    for (x, value) in line.iter().enumerate() {
        match (value, runs.last_mut()) {
            (Some(value), Some(run)) => run.push((x as f64, *value)),
            _ => runs.push(vec![]),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn row(cells: &[&str]) -> Vec<Option<String>> {
        cells.iter().map(|cell| (!cell.is_empty()).then(|| (*cell).to_owned())).collect()
    }

    fn chart() -> Chart {
        let band = Some(["low", "high"].map(str::to_owned));
        Chart { x: "day".into(), y: texts(&["real", "told"]), by: Some("who".into()), band }
    }

    #[test]
    fn each_group_has_a_chart_with_gaps_where_values_are_missing() {
        let columns = texts(&["who", "day", "real", "told", "low", "high"]);
        let rows = [
            row(&["<b>", "d1", "1", "1.5", "1", "2"]),
            row(&["<b>", "d2", "", "1.5", "1", "2"]),
            row(&["B", "d1", "7", "6", "5", "8"]),
        ];
        let answer = Answer { columns: &columns, rows: &rows };
        let page = answer.html("stocks: real", "what came", &chart()).expect("a page");
        assert_eq!(page.matches("<figure>").count(), 2);
        assert!(page.contains("&lt;b&gt;") && page.contains("shaded: low to high"), "{page}");
        assert!(!page.contains("<script") && !page.contains("NaN"));
        let groups = answer.groups(&chart()).expect("groups");
        assert_eq!(groups[0].lines[0], [Some(1.0), None]);
        assert_eq!(runs(&vec![Some(1.0), None, Some(2.0), Some(3.0)]).len(), 2);
    }

    #[test]
    fn what_cannot_be_drawn_is_told() {
        let columns = texts(&["who", "day", "real"]);
        let rows = [row(&["A", "d1", "many"])];
        let answer = Answer { columns: &columns, rows: &rows };
        let told = answer.html("t", "d", &chart()).expect_err("a column is missing");
        assert!(told.to_string().contains("no column `told`"), "{told}");
        let wanted = Chart { y: texts(&["real"]), band: None, ..chart() };
        let told = answer.html("t", "d", &wanted).expect_err("no number");
        assert!(told.to_string().contains("`many` of the column `real` is no number"), "{told}");
        assert!(answer.usual_chart().is_err());
        let rows = [row(&["A", "d1", "3"])];
        let usual = Answer { columns: &columns, rows: &rows }.usual_chart().expect("numbers");
        assert_eq!((usual.x.as_str(), usual.y), ("who", texts(&["real"])));
    }

    #[test]
    fn an_answer_without_rows_is_a_page_without_charts() {
        let columns = texts(&["who", "day", "real", "told", "low", "high"]);
        let answer = Answer { columns: &columns, rows: &[] };
        let page = answer.html("t", "d", &chart()).expect("a page");
        assert_eq!(page.matches("<figure>").count(), 0);
    }
}
