//! Which chart a result of a query is, by its columns.

use std::collections::BTreeMap;

use super::chart::{Chart, Kind, SERIES_MAX, Series};

/// Bars of one chart.
const BARS_MAX: usize = 60;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// Whether a column of this type has numbers.
pub fn is_number(kind: &str) -> bool {
    let kind = kind.split('(').next().unwrap_or(kind);
    matches!(
        kind,
        "tinyint"
            | "smallint"
            | "int"
            | "integer"
            | "bigint"
            | "float"
            | "real"
            | "double"
            | "decimal"
    )
}

fn is_time(kind: &str) -> bool {
    kind == "date" || kind.starts_with("timestamp")
}

fn is_text(kind: &str) -> bool {
    kind.starts_with("varchar") || kind.starts_with("char") || kind == "string"
}

/// Whether there may be a chart of such columns.
pub fn is_drawable(columns: &[(String, String)]) -> bool {
    columns.len() > 1 && columns.iter().any(|(_, kind)| is_number(kind))
}

/// Where a text stands on the axis of times and numbers: days since 1970, or the number.
pub fn place(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let date = text.get(..10).and_then(|date| date.parse::<jiff::civil::Date>().ok());
    if let Some(date) = date {
        let days = f64::from(date.since(jiff::civil::date(1970, 1, 1)).ok()?.get_days());
        let clock = text.get(11..).filter(|clock| !clock.is_empty());
        let clock = clock.map(|clock| clock.split([' ', 'Z', '+']).next().unwrap_or(clock));
        let seconds = clock.and_then(|clock| clock.parse::<jiff::civil::Time>().ok());
        let seconds = seconds.map_or(0.0, |t| {
            f64::from(t.hour()) * 3600.0 + f64::from(t.minute()) * 60.0 + f64::from(t.second())
        });
        return Some(days + seconds / SECONDS_PER_DAY);
    }
    // `2023-04`, `2023-Q2`, `2023-W07`.
    let (year, part) = text.split_once('-')?;
    let year: f64 = year.parse().ok()?;
    let (digits, parts) = match part.strip_prefix(['Q', 'q']) {
        Some(quarter) => (quarter, 4.0),
        None => part.strip_prefix(['W', 'w']).map_or((part, 12.0), |week| (week, 53.0)),
    };
    let number: f64 = digits.parse().ok()?;
    (number >= 1.0 && number <= parts).then(|| (year - 1970.0 + (number - 1.0) / parts) * 365.25)
}

/// The columns of a chart: places, values, and what tells series apart.
struct Roles {
    place: usize,
    values: Vec<usize>,
    group: Option<usize>,
}

impl Roles {
    fn of(columns: &[(String, String)], rows: &[Vec<Option<String>>]) -> Option<Self> {
        let find = |fits: &dyn Fn(&str) -> bool| columns.iter().position(|(_, kind)| fits(kind));
        let looks_like_time = |index: usize| {
            let texts: Vec<&str> =
                rows.iter().filter_map(|row| row.get(index)?.as_deref()).collect();
            !texts.is_empty()
                && texts.iter().all(|text| text.parse::<f64>().is_err() && place(text).is_some())
        };
        let text_time =
            (0..columns.len()).find(|at| is_text(&columns[*at].1) && looks_like_time(*at));
        let numbers: Vec<usize> =
            (0..columns.len()).filter(|at| is_number(&columns[*at].1)).collect();
        let named = numbers.iter().copied().find(|at| {
            ["year", "month", "day", "hour", "step", "period", "time", "week"]
                .contains(&columns[*at].0.to_lowercase().as_str())
        });
        let several = (numbers.len() > 1).then(|| numbers[0]);
        let label = find(&is_text);
        let time = find(&is_time).or(text_time).or(named);
        let place = time.or_else(|| label.filter(|_| rows.len() <= BARS_MAX)).or(several)?;
        let values: Vec<usize> =
            numbers.into_iter().filter(|at| *at != place).take(SERIES_MAX).collect();
        if values.is_empty() {
            return None;
        }
        let group = label.filter(|at| *at != place);
        Some(Self { place, values, group })
    }
}

/// The chart of a result, where there is one.
pub fn of_rows(columns: &[(String, String)], rows: &[Vec<Option<String>>]) -> Option<Chart> {
    let roles = Roles::of(columns, rows)?;
    let is_bars = is_text(&columns[roles.place].1)
        && rows.iter().any(|row| row.get(roles.place).and_then(|v| place(v.as_deref()?)).is_none());
    let mut series: BTreeMap<(String, usize), Vec<(f64, f64)>> = BTreeMap::new();
    let mut labels: Vec<(f64, String)> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let Some(Some(label)) = row.get(roles.place) else { continue };
        let at = if is_bars { Some(number as f64) } else { place(label) };
        let Some(at) = at else { continue };
        labels.push((at, label.clone()));
        let group = roles.group.filter(|_| !is_bars).and_then(|group| row.get(group)?.clone());
        for column in &roles.values {
            let value = row.get(*column).and_then(|value| value.as_deref()?.parse::<f64>().ok());
            let Some(value) = value.filter(|value| value.is_finite()) else { continue };
            let name = match (&group, roles.values.len()) {
                (Some(group), 1) => group.clone(),
                (Some(group), _) => format!("{group}, {}", columns[*column].0),
                (None, _) => columns[*column].0.clone(),
            };
            series.entry((name, *column)).or_default().push((at, value));
        }
    }
    let mut series: Vec<Series> =
        series.into_iter().map(|((name, _), points)| Series { name, points }).collect();
    series.sort_by_key(|s| std::cmp::Reverse(s.points.len()));
    series.truncate(SERIES_MAX);
    for series in &mut series {
        series.points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    labels.sort_by(|one, other| one.0.total_cmp(&other.0));
    labels.dedup_by(|one, other| one.0 == other.0);
    if series.is_empty() || labels.len() < 2 {
        return None;
    }
    let names: Vec<&str> = roles.values.iter().map(|at| columns[*at].0.as_str()).collect();
    let title = format!("{} by {}", names.join(", "), columns[roles.place].0);
    let kind = if is_bars { Kind::Bars } else { Kind::Line };
    Some(Chart { title, kind, series, band: vec![], labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(columns: &[(&str, &str)], rows: &[&[&str]]) -> Option<Chart> {
        let columns: Vec<_> =
            columns.iter().map(|(n, k)| ((*n).to_owned(), (*k).to_owned())).collect();
        let row = |row: &&[&str]| row.iter().map(|v| Some((*v).to_owned())).collect();
        of_rows(&columns, &rows.iter().map(row).collect::<Vec<_>>())
    }

    #[test]
    fn times_and_numbers_are_lines() {
        let drawn =
            chart(&[("year", "integer"), ("n", "bigint")], &[&["2021", "3"], &["2020", "5"]])
                .expect("a chart");
        assert_eq!(drawn.kind, Kind::Line);
        assert_eq!(drawn.series[0].points, [(2020.0, 5.0), (2021.0, 3.0)]);
        let drawn =
            chart(&[("m", "varchar"), ("n", "double")], &[&["2021-01", "3"], &["2021-02", "5"]]);
        assert_eq!(drawn.expect("a chart").kind, Kind::Line);
    }

    #[test]
    fn names_are_bars_and_groups_are_series() {
        let drawn = chart(&[("region", "varchar"), ("n", "bigint")], &[&["a", "3"], &["b", "5"]])
            .expect("a chart");
        assert_eq!((drawn.kind, drawn.series.len()), (Kind::Bars, 1));
        let columns = [("region", "varchar"), ("day", "date"), ("n", "bigint")];
        let rows: [&[&str]; 4] = [
            &["a", "2024-01-01", "1"],
            &["b", "2024-01-01", "2"],
            &["a", "2024-01-02", "3"],
            &["b", "2024-01-02", "4"],
        ];
        let drawn = chart(&columns, &rows).expect("a chart");
        let names: Vec<&str> = drawn.series.iter().map(|s| s.name.as_str()).collect();
        assert_eq!((drawn.kind, names), (Kind::Line, vec!["a", "b"]));
        assert_eq!(drawn.series[0].points[1].0 - drawn.series[0].points[0].0, 1.0);
    }

    #[test]
    fn what_is_no_chart_is_none() {
        assert_eq!(chart(&[("a", "varchar"), ("b", "varchar")], &[&["x", "y"]]), None);
        assert_eq!(chart(&[("n", "bigint")], &[&["1"]]), None);
        assert_eq!(chart(&[("a", "varchar"), ("n", "bigint")], &[&["x", "1"]]), None);
        assert_eq!(place("2024-13"), None);
        assert_eq!(place("nan"), None);
    }
}
