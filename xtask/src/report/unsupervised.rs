//! What was found without a target, as pages: one per task, and one per flagged row.

use std::path::{Path, PathBuf};

use anyhow::Result;
use maud::{Markup, html};
use steppe_model::unsupervised::rows::{Judged, Reason};
use steppe_model::unsupervised::series::Alarm;
use steppe_model::unsupervised::{Readings, clustering};
use steppe_spec::UnsupervisedSpec;

use super::answer::{Group, sized};
use super::{heads, page, row};
use crate::project::write;
use crate::unsupervised::{Looked, OfGroups, OfRows, OfSeries, Proof, reasons, short};

/// Rows, and series, that have a page or a chart of their own, at most.
const SHOWN: usize = 200;
/// What is words stands to the left.
const OWN_STYLE: &str = ".words td,.words th{text-align:left}";
/// Points of a chart, at most: of more, each stands for several.
const POINTS: usize = 900;

/// Writes the page of a task and those of its flagged rows; tells where the former is.
pub fn write_all(spec: &UnsupervisedSpec, looked: &Looked, reports: &Path) -> Result<PathBuf> {
    let file = reports.join(format!("{}.html", spec.name));
    let (title, body) = match looked {
        Looked::Rows(of) => {
            let folder = reports.join(&spec.name);
            // Pages of an earlier evaluation are about other rows.
            let _ = std::fs::remove_dir_all(&folder);
            for (number, judged) in of.flagged().into_iter().take(SHOWN).enumerate() {
                let body = one_row(spec, of, judged)?;
                let own = folder.join(file_name(number, judged));
                write(&own, page(&judged.entity, OWN_STYLE, &body).as_bytes())?;
            }
            (format!("{}: unusual rows", spec.name), of_rows(spec, of))
        }
        Looked::Series(of) => (format!("{}: unusual values", spec.name), of_series(spec, of)?),
        Looked::Groups(of) => (format!("{}: groups", spec.name), of_groups(spec, of)),
    };
    write(&file, page(&title, OWN_STYLE, &body).as_bytes())?;
    Ok(file)
}

/// `003-MAC000958.html`: the name as far as it can be that of a file.
fn file_name(number: usize, judged: &Judged) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = judged.entity.chars().map(plain).take(60).collect();
    format!("{:03}-{name}.html", number + 1)
}

fn of_rows(spec: &UnsupervisedSpec, of: &OfRows) -> Markup {
    let flagged = of.flagged();
    let families: Vec<&str> = of.task.deciding().iter().map(|family| family.name()).collect();
    html! {
        h1 { (spec.name) }
        p {
            (flagged.len()) " of " (of.found.rows.len()) " rows of " b { (spec.table) }
            " are unlike the others, by " (families.join(", ")) ", as "
            (format!("{}", of.task.share * 100.0)) " % are to be flagged."
        }
        @for note in &of.found.notes { p.note { (note) "." } }
        table.words {
            (heads(["", "row", "within", "score", "flagged by", "reasons"]))
            @for (number, judged) in flagged.iter().enumerate() {
                tr {
                    td { (number + 1) }
                    td {
                        @if number < SHOWN {
                            a href=(format!("{}/{}", spec.name, file_name(number, judged))) {
                                (judged.entity)
                            }
                        } @else { (judged.entity) }
                    }
                    td { (judged.within.as_deref().unwrap_or("all rows")) }
                    td { (format!("{:.3}", judged.score)) }
                    td { (alone(judged)) }
                    td { (reasons(judged)) }
                }
            }
        }
        p.note {
            "Score: minus the logarithm of the share of the rows compared that are at least as "
            "unusual. Flagged by: families that flag the row by themselves."
        }
        @if let Some(proof) = &of.proof { (proven(proof)) }
    }
}

fn alone(judged: &Judged) -> String {
    judged.families.iter().map(|family| family.name()).collect::<Vec<_>>().join(", ")
}

fn proven(proof: &Proof) -> Markup {
    let share = |part: usize, of: usize| match of {
        0 => String::new(),
        of => format!("{:.0} %", 100.0 * part as f64 / of as f64),
    };
    html! {
        h2 { "How good the search is" }
        p {
            "Nobody says which rows are faulty. So faults are planted in copies of the readings, "
            "the table is made of them again, and the row takes the place of the one it was."
        }
        table.words {
            (heads(["planted", "what", "cases", "found", "named first", "named", "column"]))
            @for fault in &proof.faults {
                (row(None, [
                    &fault.fault, &fault.what, &fault.planted,
                    &share(fault.flagged, fault.planted),
                    &share(fault.named_first, fault.flagged),
                    &share(fault.named, fault.flagged), &fault.column,
                ]))
            }
        }
        p.note {
            "Named: of those found, such whose reasons have the column that the fault changed most."
        }
        @if let Some(halves) = &proof.halves { p { "The " (halves.told()) "." } }
    }
}

fn one_row(spec: &UnsupervisedSpec, of: &OfRows, judged: &Judged) -> Result<Markup> {
    let curve = of.panel.as_ref().and_then(|panel| {
        let number = panel.find(&judged.entity)?;
        let values: Vec<f64> = panel.curve(number).map(|(_, value)| value).collect();
        let label = |at: usize| panel.told(number, at);
        let name = &of.task.readings.as_ref()?.value;
        Some(sized(&thinned(name, &values, label), (900, 300)))
    });
    let curve = curve.transpose()?;
    let reason = |reason: &Reason| {
        row(
            None,
            [
                &reason.column,
                &reason.value.map_or("missing".to_owned(), short),
                &short(reason.usual),
                &format!("{:.0} %", reason.share * 100.0),
            ],
        )
    };
    Ok(html! {
        p { a href=(format!("../{}.html", spec.name)) { (spec.name) } }
        h1 { (judged.entity) }
        p {
            "Number " (judged.rank) " of the rows of "
            (judged.within.as_deref().unwrap_or("all groups")) ", score "
            (format!("{:.3}", judged.score)) "; flagged by " (alone(judged)) "."
        }
        h2 { "Reasons" }
        table {
            (heads(["column", "value", "usual", "share"]))
            @for one in &judged.reasons { (reason(one)) }
        }
        @if let Some(curve) = curve { h2 { "Readings" } (curve) }
    })
}

/// A line of so many values that a chart can show; of more, the least and the largest of each few.
fn thinned(name: &str, values: &[f64], label: impl Fn(usize) -> String) -> Group {
    let each = values.len().div_ceil(POINTS / 2).max(1);
    let places: Vec<usize> = if values.len() <= POINTS {
        (0..values.len()).collect()
    } else {
        let few = (0..values.len()).step_by(each);
        few.flat_map(|from| ends(values, from..(from + each).min(values.len()))).collect()
    };
    let shown = |at: &usize| Some(values[*at]).filter(|value| value.is_finite());
    Group {
        name: name.to_owned(),
        labels: places.iter().map(|at| label(*at)).collect(),
        lines: vec![places.iter().map(shown).collect()],
        band: None,
    }
}

/// Where the least and the largest of some values are, in their order.
fn ends(values: &[f64], range: std::ops::Range<usize>) -> [usize; 2] {
    let first = range.start;
    let known = |at: &usize| values[*at].is_finite();
    let by = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
    let low = range.clone().filter(known).min_by(by).unwrap_or(first);
    let high = range.filter(known).max_by(by).unwrap_or(first);
    [low.min(high), low.max(high)]
}

fn of_series(spec: &UnsupervisedSpec, of: &OfSeries) -> Result<Markup> {
    let mut order: Vec<usize> =
        (0..of.series.len()).filter(|s| !of.alarms[*s].is_empty()).collect();
    let most = |s: &usize| of.alarms[*s].iter().map(|alarm| alarm.score).fold(0.0, f64::max);
    order.sort_by(|a, b| most(b).total_cmp(&most(a)));
    let charts = order.iter().take(SHOWN).map(|s| series_chart(&of.series[*s], &of.alarms[*s]));
    let charts = charts.collect::<Result<Vec<Markup>>>()?;
    Ok(html! {
        h1 { (spec.name) }
        p {
            (order.len()) " of " (of.series.len()) " series of " b { (spec.table) }
            " have values that are unlike those before them."
        }
        .grid { @for chart in charts { (chart) } }
    })
}

fn series_chart(series: &Readings, alarms: &[Alarm]) -> Result<Markup> {
    let mut group = thinned(&series.series, &series.values, |at| series.times[at].clone());
    let told =
        |label: &String| alarms.iter().find(|alarm| alarm.time == *label).map(|alarm| alarm.value);
    // A second line that is only where alarms are.
    group.lines.push(group.labels.iter().map(told).collect());
    let chart = sized(&group, (440, 240))?;
    let told: Vec<String> = alarms
        .iter()
        .take(5)
        .map(|alarm| format!("{}: {} ({:.2})", alarm.time, short(alarm.value), alarm.score))
        .collect();
    Ok(html! { div { (chart) p.note { (told.join("; ")) } } })
}

fn of_groups(spec: &UnsupervisedSpec, of: &OfGroups) -> Markup {
    let groups = &of.groups;
    let alone = groups.labels.iter().filter(|label| label.is_none()).count();
    html! {
        h1 { (spec.name) }
        p {
            (groups.profiles.len()) " groups of " (of.table.names.len()) " rows of "
            b { (spec.table) } ", by " (of.family)
            @if let Some(silhouette) = groups.silhouette {
                "; silhouette " (format!("{silhouette:.3}"))
            }
            "." @if alone > 0 { " " (alone) " rows are in none." }
        }
        @for note in &groups.notes { p.note { (note) "." } }
        table.words {
            (heads(["group", "rows", "what is unlike the others"]))
            @for (number, group) in groups.profiles.iter().enumerate() {
                (row(None, [&(number + 1), &group.rows, &group.words]))
            }
        }
        h2 { "What they are like" }
        (profiles(of))
        @if !groups.candidates.is_empty() { (candidates(of)) }
    }
}

/// Means of the columns, shaded by how far they are from those of all rows.
fn profiles(of: &OfGroups) -> Markup {
    let shade = |deviation: f64| {
        let strength = (deviation.abs() / 2.0).min(1.0) * 0.5;
        let colour = if deviation > 0.0 { "196,66,52" } else { "31,95,173" };
        format!("background:rgba({colour},{strength:.2})")
    };
    let cell = |group: &clustering::Profile, column: usize| {
        html! {
            td style=(shade(group.deviations[column])) {
                (short(group.means[column])) " ("
                (format!("{:+.1}", group.deviations[column])) ")"
            }
        }
    };
    html! {
        table {
            tr { th { "mean" } @for number in 1..=of.groups.profiles.len() { th { (number) } } }
            @for (column, name) in of.table.columns.iter().enumerate() {
                tr {
                    td { (name) }
                    @for group in &of.groups.profiles { (cell(group, column)) }
                }
            }
        }
        p.note { "In brackets: standard deviations from the mean of all rows." }
    }
}

fn candidates(of: &OfGroups) -> Markup {
    let chosen = of.groups.profiles.len();
    html! {
        h2 { "How many groups" }
        table {
            (heads(["groups", "silhouette", "stability", "inertia"]))
            @for one in &of.groups.candidates {
                (row((one.clusters == chosen).then_some("chosen"), [
                    &one.clusters,
                    &one.silhouette.map_or(String::new(), |value| format!("{value:.3}")),
                    &format!("{:.3}", one.stability),
                    &format!("{:.1}", one.inertia),
                ]))
            }
        }
        p.note {
            "Stability: how much searches of other seeds agree (adjusted Rand index). Chosen is "
            "the largest silhouette among stable numbers; of those alike the smallest number."
        }
    }
}
