//! Profiles of tables as one HTML page that needs nothing else.

use anyhow::Result;
use maud::{Markup, html};
use plotters::prelude::*;
use steppe_plan::profile::{
    ColumnProfile, Correlations, Count, Histogram, Numbers, Shape, TableProfile,
};

use steppe_plan::deploy::size;

use super::{Area, BLUE, GREY, chart, failed, heads, page, row, short};

/// Bars of a chart of times; longer ones stand for several periods.
const BARS_MAX: usize = 120;
/// Pairs in the list of the strongest.
const PAIRS_SHOWN: usize = 10;
/// Characters of a text or name that are shown.
const SHOWN_CHARACTERS: usize = 60;
/// Bytes that Athena bills for a statement at least, in words.
const BILLED: &str = "10 MB";

const OWN_STYLE: &str = ".top td:last-child{width:45%}.facts{margin:.2rem 0}\
    .heat td,.heat th{padding:.1rem .25rem;min-width:1.7rem;text-align:center;border:0;\
    font-size:.8em}\
    .heat td:first-child,.heat tr:first-child th:first-child{text-align:left;white-space:nowrap}\
    .strong{color:#fff}figure{min-width:0}.wide td{white-space:nowrap}\
    figure td,figure th{padding:.2rem .4rem;white-space:nowrap}\
    figcaption,p,li,.top td:first-child{overflow-wrap:anywhere;white-space:normal}";

/// The page.
pub fn html(pipeline: &str, profiles: &[TableProfile]) -> Result<String> {
    let statements: usize = profiles.iter().map(|profile| profile.statements).sum();
    let bytes: u64 = profiles.iter().map(|profile| profile.scanned_bytes).sum();
    let body = html! {
        h1 { (pipeline) }
        p {
            "What its tables hold. Athena scanned "
            (size(usize::try_from(bytes).unwrap_or(usize::MAX))) " in " (statements)
            " statements; it bills at least " (BILLED) " for each."
        }
        p {
            @for (at, profile) in profiles.iter().enumerate() {
                a href={ "#t" (at) } { (profile.table) } " "
            }
        }
        @for (at, profile) in profiles.iter().enumerate() { (of_table(at, profile)?) }
        p.note {
            "Quantiles, and numbers of different values with “about”, are approximations \
             (approx_percentile, approx_distinct)."
        }
    };
    Ok(page(&format!("{pipeline}: profile"), OWN_STYLE, &body))
}

fn of_table(at: usize, profile: &TableProfile) -> Result<Markup> {
    Ok(html! {
        h2 id={ "t" (at) } { (profile.table) }
        p {
            @if !profile.description.is_empty() {
                (profile.description.trim_end_matches('.')) ". "
            }
            b { (profile.records) } " records, " (profile.columns.len()) " columns. "
            (key(profile))
        }
        @if !profile.notes.is_empty() {
            h3 { "Look at" }
            ul { @for note in &profile.notes { li { (marked(note)) } } }
        }
        h3 { "Columns" }
        (overview(profile))
        .grid { @for column in &profile.columns { (card(column)?) } }
        @if let Some(found) = &profile.correlations { (correlations(found)) }
    })
}

/// Names in backticks as code.
fn marked(note: &str) -> Markup {
    let parts: Vec<&str> = note.split('`').collect();
    // Within a name there may be one, too.
    if parts.len().is_multiple_of(2) {
        return html! { (note) };
    }
    html! {
        @for (at, part) in parts.iter().enumerate() {
            @if at % 2 == 0 { (part) } @else { code { (part) } }
        }
    }
}

fn key(profile: &TableProfile) -> String {
    let Some(repeated) = profile.repeated_keys else { return String::new() };
    let told = if repeated == 0 { "unique".to_owned() } else { format!("{repeated} repeated") };
    format!("Key: {} ({told}).", profile.key.join(", "))
}

fn overview(profile: &TableProfile) -> Markup {
    let heads = heads(["column", "type", "missing", "%", "distinct", "min", "mean", "max"]);
    let of = |column: &ColumnProfile| {
        let (min, mean, max) = match &column.shape {
            Shape::Numbers(n) => {
                (value(&n.min), n.mean.map_or_else(String::new, digits), value(&n.max))
            }
            Shape::Times { first, last, .. } => (moment(first), String::new(), moment(last)),
            Shape::Text { .. } | Shape::Truth { .. } => Default::default(),
        };
        row(
            None,
            [
                &shown(&column.column),
                &column.kind,
                &column.missing,
                &share(column.missing_share),
                &distinct(column),
                &min,
                &mean,
                &max,
            ],
        )
    };
    html! { .wide { table { (heads) @for column in &profile.columns { (of(column)) } } } }
}

fn card(column: &ColumnProfile) -> Result<Markup> {
    let missing = match column.missing {
        0 => "none missing".to_owned(),
        missing => format!("{missing} missing ({} %)", share(column.missing_share)),
    };
    let (fact, below) = shape(column)?;
    Ok(html! {
        figure {
            figcaption { (shown(&column.column)) " " span.note { (column.kind) } }
            p.facts.note { (missing) "; " (distinct(column)) " different" (fact) }
            (below)
        }
    })
}

/// What a column's values have beside others of their type, in words, and as a table or chart.
fn shape(column: &ColumnProfile) -> Result<(String, Markup)> {
    Ok(match &column.shape {
        Shape::Numbers(numbers) => {
            let fact = match numbers.not_finite {
                0 => String::new(),
                count => format!("; {count} infinite or no number"),
            };
            let is_whole = ["int", "bigint"].contains(&column.kind.as_str());
            (fact, of_numbers(numbers, is_whole)?)
        }
        Shape::Text { shortest, longest, top } => {
            let fact = match (shortest, longest) {
                (Some(shortest), Some(longest)) => format!("; {shortest} to {longest} characters"),
                _ => String::new(),
            };
            (fact, frequent(top, column.values))
        }
        Shape::Truth { yes } => {
            let count = |value: &str, count| Count { value: value.to_owned(), count };
            let both = [count("true", *yes), count("false", column.values - yes)];
            (String::new(), frequent(&both, column.values))
        }
        Shape::Times { first, last, period, counts } => {
            let fact = format!("; {} to {}", moment(first), moment(last));
            match period.filter(|_| !counts.is_empty()) {
                Some(period) => (
                    format!("{fact}; records per {}", period.name()),
                    chart((440, 180), |area| times(area, counts))?,
                ),
                None => (fact, html! {}),
            }
        }
    })
}

fn of_numbers(numbers: &Numbers, is_whole: bool) -> Result<Markup> {
    let number = |n: Option<f64>| n.map_or_else(String::new, digits);
    let quantiles = numbers.quantiles.map(|all| all.map(digits)).unwrap_or_default();
    let [low, first, median, third, high] = &quantiles;
    let (min, max) = (value(&numbers.min), value(&numbers.max));
    Ok(html! {
        @if let Some(histogram) = &numbers.histogram {
            (chart((440, 180), |area| bars(area, histogram, is_whole))?)
            @if histogram.below + histogram.above > 0 {
                p.facts.note {
                    (histogram.below) " values lie below and " (histogram.above)
                    " above what is shown."
                }
            }
        }
        .wide {
            table {
                (heads(["min", "5 %", "25 %", "50 %", "75 %", "95 %", "max"]))
                (row(None, [&min, low, first, median, third, high, &max]))
            }
        }
        p.facts.note {
            "mean " (number(numbers.mean)) ", standard deviation "
            (number(numbers.standard_deviation))
        }
    })
}

fn frequent(top: &[Count], values: u64) -> Markup {
    let part = |count: u64| count as f64 / values.max(1) as f64;
    html! {
        table.top {
            @for Count { value, count } in top {
                tr {
                    td { @if value.is_empty() { i { "empty" } } @else { (shown(value)) } }
                    td { (count) }
                    td { (share(part(*count))) " %" }
                    td {
                        .bar style="width:100%" {
                            div style=(format_args!("width:{:.0}%", part(*count) * 100.0)) {}
                        }
                    }
                }
            }
        }
    }
}

/// Bars over a histogram's bins; over those of one whole number each in the middle.
fn bars(area: &Area<'_>, histogram: &Histogram, is_whole: bool) -> Result<()> {
    let (Some(first), Some(last)) = (histogram.bins.first(), histogram.bins.last()) else {
        return Ok(());
    };
    let counts = histogram.bins.iter().map(|bin| bin.count);
    let left = if is_whole && first.to - first.from == 1.0 { 0.5 } else { 0.0 };
    let (from, to) = (first.from - left, last.to - left);
    let label = move |x: &f64| super::axis_label(*x, to - from);
    let bars = histogram.bins.iter().map(|bin| (bin.from - left, bin.to - left, bin.count));
    columns(area, (from, to), counts.max().unwrap_or(0), bars, &label)
}

/// Bars over periods, of which those without records are left out.
fn times(area: &Area<'_>, counts: &[Count]) -> Result<()> {
    let together = counts.len().div_ceil(BARS_MAX).max(1);
    let bars: Vec<u64> =
        counts.chunks(together).map(|part| part.iter().map(|count| count.count).sum()).collect();
    let label = |x: &f64| {
        let at = (x.max(0.0).floor() as usize * together).min(counts.len() - 1);
        let value = &counts[at].value;
        value.get(..10).unwrap_or(value).to_owned()
    };
    let largest = bars.iter().copied().max().unwrap_or(0);
    let placed = bars.iter().enumerate().map(|(at, n)| (at as f64, at as f64 + 1.0, *n));
    columns(area, (0.0, bars.len() as f64), largest, placed, &label)
}

fn columns(
    area: &Area<'_>,
    (from, to): (f64, f64),
    largest: u64,
    bars: impl Iterator<Item = (f64, f64, u64)>,
    label: &dyn Fn(&f64) -> String,
) -> Result<()> {
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(from..to, 0.0..largest.max(1) as f64 * 1.05)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(5)
        .y_labels(4)
        .x_label_formatter(&label)
        .y_label_formatter(&short)
        .light_line_style(WHITE)
        .bold_line_style(GREY.mix(0.15))
        .axis_style(GREY)
        .draw()
        .map_err(failed)?;
    let bar = |(from, to, count): (f64, f64, u64)| {
        let gap = (to - from) * 0.05;
        Rectangle::new([(from + gap, 0.0), (to - gap, count as f64)], BLUE.mix(0.7).filled())
    };
    chart.draw_series(bars.map(bar)).map_err(failed)?;
    Ok(())
}

/// A map of all pairs, and the strongest in words.
fn correlations(found: &Correlations) -> Markup {
    let size = found.columns.len();
    let mut cells = vec![None; size * size];
    for pair in &found.pairs {
        let (a, b) = pair.at;
        for at in [a * size + b, b * size + a] {
            cells[at] = Some((pair.correlation, pair.cases));
        }
    }
    let strongest = found.pairs.iter().take(PAIRS_SHOWN);
    let strongest = strongest.map_while(|pair| Some((pair, pair.correlation?)));
    html! {
        h3 { "Correlations" }
        @if found.left_out > 0 {
            p {
                "Of " (size + found.left_out) " columns of numbers the first " (size)
                " are compared."
            }
        }
        .wide {
            table.heat {
                tr { th {} @for number in 1..=size { th { (number) } } }
                @for (at, name) in found.columns.iter().enumerate() {
                    tr {
                        td { (at + 1) " " (shown(name)) }
                        @for cell in &cells[at * size..(at + 1) * size] { (heat(*cell)) }
                    }
                }
            }
        }
        p.note {
            "Pearson’s, over the records that have both. Blue: they rise together; red: one falls \
             as the other rises."
        }
        .wide {
            table {
                tr {
                    th { "strongest pairs" } th.text { "and" } th { "correlation" } th { "records" }
                }
                @for (pair, correlation) in strongest {
                    tr {
                        td { (shown(&pair.a)) }
                        td.text { (shown(&pair.b)) }
                        td { (format_args!("{correlation:.3}")) }
                        td { (pair.cases) }
                    }
                }
            }
        }
    }
}

fn heat(cell: Option<(Option<f64>, u64)>) -> Markup {
    match cell {
        None => html! { td { "·" } },
        Some((None, cases)) => html! { td title={ (cases) " records" } { "–" } },
        Some((Some(r), cases)) => {
            let colour = if r < 0.0 { "196,66,52" } else { "31,95,173" };
            let style = format!("background:rgba({colour},{:.2})", r.abs());
            html! {
                td.strong[r.abs() > 0.6] style=(style) title={ (cases) " records" } {
                    (format_args!("{r:.2}"))
                }
            }
        }
    }
}

/// A text or a name, not too long.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARACTERS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn distinct(column: &ColumnProfile) -> String {
    let about = if column.distinct_is_exact { "" } else { "about " };
    format!("{about}{}", column.distinct)
}

/// A number as the manifest's types have it: whole ones whole.
pub fn value(number: &serde_json::Value) -> String {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => whole.to_string(),
        (None, Some(number)) => digits(number),
        _ => String::new(),
    }
}

/// Midnight goes without saying.
fn moment(time: &Option<String>) -> String {
    let text = time.as_deref().unwrap_or_default();
    text.trim_end_matches(".000").trim_end_matches(" 00:00:00").to_owned()
}

/// Four digits that count.
fn digits(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e15).contains(&size) {
        return format!("{number:.3e}");
    }
    let decimals = (3 - size.log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{number:.decimals$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

fn share(part: f64) -> String {
    match part * 100.0 {
        percent if percent > 0.0 && percent < 0.1 => "under 0.1".to_owned(),
        percent if percent > 99.9 && part < 1.0 => "over 99.9".to_owned(),
        percent => format!("{percent:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_count() {
        let texts = [0.0, 0.1 + 0.2, -14.291125, 7978.26, 12_345_678.9, 1e-7, 1e300].map(digits);
        assert_eq!(texts, ["0", "0.3", "-14.29", "7978", "12345679", "1.000e-7", "1.000e300"]);
        assert_eq!([0.0, 0.000_1, 0.5, 0.999_9, 1.0].map(share)[..2], ["0.0", "under 0.1"]);
        assert_eq!(share(0.999_9), "over 99.9");
    }

    #[test]
    fn what_comes_from_outside_is_text() {
        assert_eq!(
            marked("`<b>` is constant: `&`.").into_string(),
            "<code>&lt;b&gt;</code> is constant: <code>&amp;</code>."
        );
        assert_eq!(marked("`a`b` is").into_string(), "`a`b` is", "a name with a backtick");
        assert_eq!(shown(&"я<".repeat(40)), format!("{}…", "я<".repeat(30)));
        let page = page("a & <b>", OWN_STYLE, &html! { (shown("<b>")) });
        assert!(page.contains("<title>a &amp; &lt;b&gt;</title>"), "{page}");
        assert!(page.contains("<main>&lt;b&gt;</main>"), "{page}");
    }
}
