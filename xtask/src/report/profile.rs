//! Profiles of tables as one HTML page that needs nothing else.

use anyhow::Result;
use plotters::prelude::*;
use steppe_plan::profile::{
    ColumnProfile, Correlations, Count, Histogram, Numbers, Shape, TableProfile,
};

use steppe_plan::deploy::size;

use super::{Area, BLUE, GREY, STYLE, chart, escape, failed, head, short};

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
    let mut page = head(&format!("{pipeline}: profile"), &format!("{STYLE}{OWN_STYLE}"));
    let statements: usize = profiles.iter().map(|profile| profile.statements).sum();
    let bytes: u64 = profiles.iter().map(|profile| profile.scanned_bytes).sum();
    page += &format!(
        "<h1>{}</h1><p>What its tables hold. Athena scanned {} in {statements} statements; it \
         bills at least {BILLED} for each.</p><p>",
        escape(pipeline),
        size(usize::try_from(bytes).unwrap_or(usize::MAX))
    );
    for (at, profile) in profiles.iter().enumerate() {
        page += &format!("<a href='#t{at}'>{}</a> ", escape(&profile.table));
    }
    page += "</p>";
    for (at, profile) in profiles.iter().enumerate() {
        page += &of_table(at, profile)?;
    }
    page += "<p class=note>Quantiles, and numbers of different values with “about”, are \
             approximations (approx_percentile, approx_distinct).</p></main></html>\n";
    Ok(page)
}

fn of_table(at: usize, profile: &TableProfile) -> Result<String> {
    let mut page = format!(
        "<h2 id=t{at}>{}</h2><p>{}<b>{}</b> records, {} columns. {}</p>",
        escape(&profile.table),
        match profile.description.as_str() {
            "" => String::new(),
            text => format!("{}. ", escape(text.trim_end_matches('.'))),
        },
        profile.records,
        profile.columns.len(),
        key(profile)
    );
    if !profile.notes.is_empty() {
        page += "<h3>Look at</h3><ul>";
        profile.notes.iter().for_each(|note| page += &format!("<li>{}", marked(note)));
        page += "</ul>";
    }
    page += "<h3>Columns</h3>";
    page += &overview(profile);
    page += "<div class=grid>";
    for column in &profile.columns {
        page += &card(column)?;
    }
    page += "</div>";
    if let Some(found) = &profile.correlations {
        page += &correlations(found);
    }
    Ok(page)
}

/// Names in backticks as code.
fn marked(note: &str) -> String {
    let parts: Vec<String> = note.split('`').map(escape).collect();
    // Within a name there may be one, too.
    if parts.len().is_multiple_of(2) {
        return escape(note);
    }
    let part = |(at, part): (usize, &String)| match at % 2 {
        0 => part.clone(),
        _ => format!("<code>{part}</code>"),
    };
    parts.iter().enumerate().map(part).collect()
}

fn key(profile: &TableProfile) -> String {
    let Some(repeated) = profile.repeated_keys else { return String::new() };
    let names: Vec<String> = profile.key.iter().map(|name| escape(name)).collect();
    let told = if repeated == 0 { "unique".to_owned() } else { format!("{repeated} repeated") };
    format!("Key: {} ({told}).", names.join(", "))
}

fn overview(profile: &TableProfile) -> String {
    let mut table =
        "<div class=wide><table><tr><th>column<th>type<th>missing<th>%<th>distinct<th>min<th>mean\
                     <th>max</tr>"
            .to_owned();
    for column in &profile.columns {
        let (min, mean, max) = match &column.shape {
            Shape::Numbers(n) => {
                (value(&n.min), n.mean.map_or_else(String::new, digits), value(&n.max))
            }
            Shape::Times { first, last, .. } => (moment(first), String::new(), moment(last)),
            Shape::Text { .. } | Shape::Truth { .. } => Default::default(),
        };
        table += &format!(
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{min}<td>{mean}<td>{max}</tr>",
            shown(&column.column),
            escape(&column.kind),
            column.missing,
            share(column.missing_share),
            distinct(column)
        );
    }
    table + "</table></div>"
}

fn card(column: &ColumnProfile) -> Result<String> {
    let mut card = format!(
        "<figure><figcaption>{} <span class=note>{}</span></figcaption>",
        shown(&column.column),
        escape(&column.kind)
    );
    let missing = match column.missing {
        0 => "none missing".to_owned(),
        missing => format!("{missing} missing ({} %)", share(column.missing_share)),
    };
    card += &format!("<p class='facts note'>{missing}; {} different", distinct(column));
    match &column.shape {
        Shape::Numbers(numbers) => {
            let is_whole = ["int", "bigint"].contains(&column.kind.as_str());
            card += &of_numbers(numbers, is_whole)?;
        }
        Shape::Text { shortest, longest, top } => {
            if let (Some(shortest), Some(longest)) = (shortest, longest) {
                card += &format!("; {shortest} to {longest} characters");
            }
            card += "</p>";
            card += &frequent(top, column.values);
        }
        Shape::Truth { yes } => {
            card += "</p>";
            let count = |value: &str, count| Count { value: value.to_owned(), count };
            let both = [count("true", *yes), count("false", column.values - yes)];
            card += &frequent(&both, column.values);
        }
        Shape::Times { first, last, period, counts } => {
            card += &format!("; {} to {}", moment(first), moment(last));
            if let Some(period) = period.filter(|_| !counts.is_empty()) {
                card += &format!("; records per {}</p>", period.name());
                card += &chart((440, 180), |area| times(area, counts))?;
            }
        }
    }
    Ok(card + "</figure>")
}

fn of_numbers(numbers: &Numbers, is_whole: bool) -> Result<String> {
    let mut text = String::new();
    if numbers.not_finite > 0 {
        text += &format!("; {} infinite or no number", numbers.not_finite);
    }
    text += "</p>";
    if let Some(histogram) = &numbers.histogram {
        text += &chart((440, 180), |area| bars(area, histogram, is_whole))?;
        if histogram.below + histogram.above > 0 {
            text += &format!(
                "<p class='facts note'>{} values lie below and {} above what is shown.</p>",
                histogram.below, histogram.above
            );
        }
    }
    let number = |n: Option<f64>| n.map_or_else(String::new, digits);
    let quantiles = numbers.quantiles.map(|all| all.map(digits)).unwrap_or_default();
    let [low, first, median, third, high] = quantiles;
    text += &format!(
        "<div class=wide><table><tr><th>min<th>5 %<th>25 %<th>50 %<th>75 %<th>95 %<th>max</tr>\
         <tr><td>{}<td>{low}<td>{first}<td>{median}<td>{third}<td>{high}<td>{}</tr></table></div>\
         <p class='facts note'>mean {}, standard deviation {}</p>",
        value(&numbers.min),
        value(&numbers.max),
        number(numbers.mean),
        number(numbers.standard_deviation)
    );
    Ok(text)
}

fn frequent(top: &[Count], values: u64) -> String {
    let mut table = "<table class=top>".to_owned();
    for Count { value, count } in top {
        let part = *count as f64 / values.max(1) as f64;
        let text = if value.is_empty() { "<i>empty</i>".to_owned() } else { shown(value) };
        table += &format!(
            "<tr><td>{text}<td>{count}<td>{} %<td><div class=bar style='width:100%'><div \
             style='width:{:.0}%'></div></div></tr>",
            share(part),
            part * 100.0
        );
    }
    table + "</table>"
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
fn correlations(found: &Correlations) -> String {
    let mut text = "<h3>Correlations</h3>".to_owned();
    if found.left_out > 0 {
        text += &format!(
            "<p>Of {} columns of numbers the first {} are compared.</p>",
            found.columns.len() + found.left_out,
            found.columns.len()
        );
    }
    let size = found.columns.len();
    let mut cells = vec![None; size * size];
    for pair in &found.pairs {
        let (a, b) = pair.at;
        for at in [a * size + b, b * size + a] {
            cells[at] = Some((pair.correlation, pair.cases));
        }
    }
    text += "<div class=wide><table class=heat><tr><th>";
    (1..=size).for_each(|number| text += &format!("<th>{number}"));
    for (row, name) in found.columns.iter().enumerate() {
        text += &format!("</tr><tr><td>{} {}", row + 1, shown(name));
        for cell in &cells[row * size..(row + 1) * size] {
            text += &heat(*cell);
        }
    }
    text += "</tr></table></div><p class=note>Pearson’s, over the records that have both. Blue: \
             they rise together; red: one falls as the other rises.</p>\
             <div class=wide><table><tr><th>strongest pairs<th class=text>and<th>correlation\
             <th>records</tr>";
    for pair in found.pairs.iter().take(PAIRS_SHOWN) {
        let Some(correlation) = pair.correlation else { break };
        text += &format!(
            "<tr><td>{}<td class=text>{}<td>{correlation:.3}<td>{}</tr>",
            shown(&pair.a),
            shown(&pair.b),
            pair.cases
        );
    }
    text + "</table></div>"
}

fn heat(cell: Option<(Option<f64>, u64)>) -> String {
    match cell {
        None => "<td>·".to_owned(),
        Some((None, cases)) => format!("<td title='{cases} records'>–"),
        Some((Some(r), cases)) => {
            let colour = if r < 0.0 { "196,66,52" } else { "31,95,173" };
            let class = if r.abs() > 0.6 { " class=strong" } else { "" };
            format!(
                "<td{class} style='background:rgba({colour},{:.2})' title='{cases} records'>{r:.2}",
                r.abs()
            )
        }
    }
}

/// A text or a name, not too long.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARACTERS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    escape(&short)
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
    escape(text.trim_end_matches(".000").trim_end_matches(" 00:00:00"))
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
            marked("`<b>` is constant: `&`."),
            "<code>&lt;b&gt;</code> is constant: <code>&amp;</code>."
        );
        assert_eq!(marked("`a`b` is"), "`a`b` is", "a name with a backtick");
        assert_eq!(shown(&"я<".repeat(40)).matches("&lt;").count(), 30);
    }
}
