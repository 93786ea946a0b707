//! Partition projection: partitions that parameters of a table tell, and not the catalogue.
//!
//! A key has values of one of four kinds: `enum` a list, `integer` numbers of a range, `date` times
//! of a range in a format of Java, `injected` the values that the statement compares it with. Where
//! a partition is says `storage.location.template`, or it is `key=value/` below the table.
//!
//! <https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html>,
//! <https://docs.aws.amazon.com/athena/latest/ug/partition-projection-setting-up.html>

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::{Span, Timestamp};
use steppe_wire::query::Table;

use super::hive::partitions::escaped;

/// Values of one key.
const VALUES_MAX: usize = 1_000_000;

/// How the partitions of a table are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// What each key may be, in the order of the keys.
    pub keys: Vec<Kind>,
    template: Option<String>,
    location: String,
    names: Vec<String>,
}

/// What a key may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One of these.
    Listed(Vec<String>),
    /// What the statement says.
    Injected,
}

impl Projection {
    /// Of a table whose parameters switch it on, or why there is none.
    pub fn of(table: &Table) -> Result<Option<Self>, String> {
        let parameters = &table.parameters;
        let enabled = parameters.get("projection.enabled");
        if !enabled.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let names: Vec<String> = table.keys.iter().map(|key| key.name.clone()).collect();
        let keys = names.iter().map(|name| kind(name, parameters)).collect::<Result<_, _>>()?;
        let template = parameters.get("storage.location.template").cloned();
        if let Some(template) = &template
            && let Some(missing) = names.iter().find(|n| !template.contains(&format!("${{{n}}}")))
        {
            return Err(format!(
                "the partition key {missing} is not in storage.location.template `{template}`"
            ));
        }
        let location = format!("{}/", table.location.trim_end_matches('/'));
        Ok(Some(Self { keys, template, location, names }))
    }

    /// Where the partition with these values is.
    pub fn location(&self, values: &[String]) -> String {
        let pairs = || self.names.iter().zip(values);
        match &self.template {
            Some(template) => {
                let filled = pairs().fold(template.clone(), |filled, (name, value)| {
                    filled.replace(&format!("${{{name}}}"), value)
                });
                format!("{}/", filled.trim_end_matches('/'))
            }
            None => {
                let folders = pairs().map(|(name, value)| format!("{name}={}/", escaped(value)));
                format!("{}{}", self.location, folders.collect::<String>())
            }
        }
    }
}

fn kind(name: &str, parameters: &BTreeMap<String, String>) -> Result<Kind, String> {
    let parameter = |what: &str| {
        let key = format!("projection.{name}.{what}");
        parameters.get(&key).map(String::as_str).filter(|text| !text.is_empty())
    };
    let needed = |what: &str| {
        parameter(what).ok_or_else(|| {
            format!("the partition key {name} has no parameter projection.{name}.{what}")
        })
    };
    match needed("type")?.to_lowercase().as_str() {
        "enum" => {
            let values = needed("values")?.split(',').map(|value| value.trim().to_owned());
            Ok(Kind::Listed(values.collect()))
        }
        "integer" => integers(
            needed("range")?,
            parameter("interval").unwrap_or("1"),
            parameter("digits").unwrap_or("0"),
        )
        .map(Kind::Listed),
        "date" => {
            let format = Format::parse(needed("format")?)?;
            dates(&format, needed("range")?, parameter("interval"), parameter("interval.unit"))
                .map(Kind::Listed)
        }
        "injected" => Ok(Kind::Injected),
        other => Err(format!("projection.{name}.type is `{other}`, which there is not")),
    }
}

fn integers(range: &str, interval: &str, digits: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{range}` every `{interval}` is no range of whole numbers");
    let (first, last) = range.split_once(',').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| wrong());
    let (first, last, step) = (number(first)?, number(last)?, number(interval)?);
    let digits: usize = digits.trim().parse().map_err(|_| wrong())?;
    if step < 1 || last.saturating_sub(first) / step.max(1) >= VALUES_MAX as i64 {
        return Err(wrong());
    }
    let values = std::iter::successors(Some(first), |n| n.checked_add(step));
    Ok(values.take_while(|n| *n <= last).map(|n| format!("{n:0digits$}")).collect())
}

/// A step of a range of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Seconds,
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
    Years,
}

impl Unit {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_uppercase().trim_end_matches('S') {
            "SECOND" => Self::Seconds,
            "MINUTE" => Self::Minutes,
            "HOUR" => Self::Hours,
            "DAY" => Self::Days,
            "WEEK" => Self::Weeks,
            "MONTH" => Self::Months,
            "YEAR" => Self::Years,
            _ => return None,
        })
    }

    fn span(self, count: i64) -> Option<Span> {
        let span = Span::new();
        match self {
            Self::Seconds => span.try_seconds(count),
            Self::Minutes => span.try_minutes(count),
            Self::Hours => span.try_hours(count),
            Self::Days => span.try_days(count),
            Self::Weeks => span.try_weeks(count),
            Self::Months => span.try_months(count),
            Self::Years => span.try_years(count),
        }
        .ok()
    }
}

/// A format of Java's `DateTimeFormatter`: numbers of these parts and text between them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Format(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A letter and how often it stands there: `yyyy`.
    Number(char, usize),
}

impl Format {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = vec![];
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\'' => {
                    let quoted: String = characters.by_ref().take_while(|c| *c != '\'').collect();
                    parts.push(Part::Text(if quoted.is_empty() { "'".to_owned() } else { quoted }));
                }
                'y' | 'u' | 'M' | 'd' | 'H' | 'm' | 's' | 'S' => {
                    let mut count = 1;
                    while characters.next_if_eq(&character).is_some() {
                        count += 1;
                    }
                    let letter = if character == 'u' { 'y' } else { character };
                    if letter == 'M' && count > 2 {
                        return Err(format!("the format `{text}` has names of months"));
                    }
                    parts.push(Part::Number(letter, count));
                }
                letter if letter.is_ascii_alphabetic() => {
                    return Err(format!("the format `{text}` has `{letter}`, which is not read"));
                }
                other => parts.push(Part::Text(other.to_string())),
            }
        }
        Ok(Self(parts))
    }

    /// The smallest part.
    fn unit(&self) -> Unit {
        let unit = |part: &Part| match part {
            Part::Text(_) => None,
            Part::Number(letter, _) => Some(match letter {
                'y' => Unit::Years,
                'M' => Unit::Months,
                'd' => Unit::Days,
                'H' => Unit::Hours,
                'm' => Unit::Minutes,
                _ => Unit::Seconds,
            }),
        };
        self.0.iter().filter_map(unit).min().unwrap_or(Unit::Days)
    }

    fn write(&self, time: DateTime) -> String {
        let mut text = String::new();
        for part in &self.0 {
            let (letter, width) = match part {
                Part::Text(between) => {
                    text.push_str(between);
                    continue;
                }
                Part::Number(letter, width) => (letter, *width),
            };
            let number = match letter {
                'y' if width == 2 => i64::from(time.year()) % 100,
                'y' => time.year().into(),
                'M' => time.month().into(),
                'd' => time.day().into(),
                'H' => time.hour().into(),
                'm' => time.minute().into(),
                's' => time.second().into(),
                _ => time.millisecond().into(),
            };
            text.push_str(&format!("{number:0width$}"));
        }
        text
    }

    fn read(&self, text: &str) -> Option<DateTime> {
        let (mut rest, mut parts) = (text, [1970_i64, 1, 1, 0, 0, 0]);
        for (at, part) in self.0.iter().enumerate() {
            let (letter, width) = match part {
                Part::Text(between) => {
                    rest = rest.strip_prefix(between.as_str())?;
                    continue;
                }
                Part::Number(letter, width) => (letter, *width),
            };
            // Numbers side by side have as many digits as their letters.
            let together = matches!(self.0.get(at + 1), Some(Part::Number(..)));
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let taken = if together { width.min(digits) } else { digits };
            let number: i64 = rest.get(..taken)?.parse().ok()?;
            rest = &rest[taken..];
            let place = "yMdHms".find(*letter);
            let number = if *letter == 'y' && width == 2 { number + 2_000 } else { number };
            if let Some(place) = place {
                parts[place] = number;
            }
        }
        if !rest.is_empty() {
            return None;
        }
        let [year, month, day, hour, minute, second] = parts;
        let small = |n: i64| i8::try_from(n).ok();
        let date = jiff::civil::Date::new(i16::try_from(year).ok()?, small(month)?, small(day)?);
        let time = jiff::civil::Time::new(small(hour)?, small(minute)?, small(second)?, 0);
        Some(date.ok()?.to_datetime(time.ok()?))
    }
}

/// `NOW-3YEARS,NOW`, or times in the format.
fn dates(
    format: &Format,
    range: &str,
    interval: Option<&str>,
    unit: Option<&str>,
) -> Result<Vec<String>, String> {
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime();
    dates_at(now, format, range, interval, unit)
}

fn dates_at(
    now: DateTime,
    format: &Format,
    range: &str,
    interval: Option<&str>,
    unit: Option<&str>,
) -> Result<Vec<String>, String> {
    let wrong = || format!("`{range}` is no range of dates in the format of the key");
    let (first, last) = range.split_once(',').ok_or_else(wrong)?;
    let bound = |text: &str| moment(now, format, text.trim()).ok_or_else(wrong);
    let (first, last) = (bound(first)?, bound(last)?);
    let unit = match unit {
        Some(text) => Unit::parse(text).ok_or_else(|| format!("`{text}` is no unit of time"))?,
        None => format.unit(),
    };
    let count: i64 = interval.unwrap_or("1").trim().parse().map_err(|_| wrong())?;
    if count < 1 {
        return Err(wrong());
    }
    let mut values: Vec<String> = vec![];
    for step in 0..=VALUES_MAX as i64 {
        let span = step.checked_mul(count).and_then(|steps| unit.span(steps)).ok_or_else(wrong)?;
        let Ok(time) = first.checked_add(span) else { break };
        if time > last {
            break;
        }
        let value = format.write(time);
        if values.last() != Some(&value) {
            values.push(value);
        }
    }
    if values.len() > VALUES_MAX { Err(wrong()) } else { Ok(values) }
}

fn moment(now: DateTime, format: &Format, text: &str) -> Option<DateTime> {
    let Some(offset) = text.to_uppercase().strip_prefix("NOW").map(str::to_owned) else {
        return format.read(text);
    };
    let offset = offset.replace(' ', "");
    if offset.is_empty() {
        return Some(now);
    }
    let letters = offset.find(|c: char| c.is_ascii_alphabetic())?;
    let (count, unit) = offset.split_at(letters);
    let span = Unit::parse(unit)?.span(count.parse().ok()?)?;
    now.checked_add(span).ok()
}

#[cfg(test)]
mod tests {
    use steppe_wire::query::{TableColumn, TableFormat};

    use super::*;

    fn table(parameters: &[(&str, &str)]) -> Table {
        let key = |name: &str| TableColumn {
            name: name.to_owned(),
            hive_type: "string".to_owned(),
            comment: None,
        };
        let own = [("projection.enabled", "true")];
        let all = own.iter().chain(parameters).map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Table {
            database: "db".to_owned(),
            name: "t".to_owned(),
            location: "s3://b/t".to_owned(),
            format: Ok(TableFormat::Parquet),
            columns: vec![],
            keys: vec![key("a"), key("b")],
            partitions: vec![],
            parameters: all.collect(),
            view: None,
        }
    }

    fn listed(values: &[&str]) -> Kind {
        Kind::Listed(values.iter().map(|v| (*v).to_owned()).collect())
    }

    #[test]
    fn keys_have_values_of_their_kinds() {
        let table = table(&[
            ("projection.a.type", "enum"),
            ("projection.a.values", "x, y"),
            ("projection.b.type", "integer"),
            ("projection.b.range", "8,12"),
            ("projection.b.interval", "2"),
            ("projection.b.digits", "2"),
        ]);
        let projection = Projection::of(&table).expect("read").expect("projected");
        assert_eq!(projection.keys, [listed(&["x", "y"]), listed(&["08", "10", "12"])]);
        let values = ["x".to_owned(), "08".to_owned()];
        assert_eq!(projection.location(&values), "s3://b/t/a=x/b=08/");
    }

    #[test]
    fn places_follow_the_template() {
        let mut table = table(&[
            ("projection.a.type", "injected"),
            ("projection.b.type", "enum"),
            ("projection.b.values", "1"),
            ("storage.location.template", "s3://c/${b}/x/${a}"),
        ]);
        let projection = Projection::of(&table).expect("read").expect("projected");
        assert_eq!(projection.location(&["q".to_owned(), "1".to_owned()]), "s3://c/1/x/q/");
        let wrong = ("storage.location.template".to_owned(), "s3://c/${b}/".to_owned());
        table.parameters.extend([wrong]);
        assert!(Projection::of(&table).is_err());
        table.parameters.remove("projection.enabled");
        assert_eq!(Projection::of(&table), Ok(None));
    }

    #[test]
    fn dates_go_from_one_to_the_other_in_steps() {
        let now = "2026-03-02T10:00:00".parse().expect("a time");
        let dates = |format: &str, range: &str, interval: Option<&str>, unit: Option<&str>| {
            dates_at(now, &Format::parse(format).expect("a format"), range, interval, unit)
        };
        let read = |texts: &[&str]| Ok(texts.iter().map(|t| (*t).to_owned()).collect());
        assert_eq!(
            dates("yyyy-MM-dd", "2024-02-28,2024-03-01", None, None),
            read(&["2024-02-28", "2024-02-29", "2024-03-01"])
        );
        assert_eq!(
            dates("yyyy/MM", "NOW-2MONTHS,NOW", None, None),
            read(&["2026/01", "2026/02", "2026/03"])
        );
        assert_eq!(
            dates("yyyyMMdd'T'HH", "20240101T00,20240101T12", Some("6"), Some("HOURS")),
            read(&["20240101T00", "20240101T06", "20240101T12"])
        );
        assert_eq!(dates("yyyy", "2024,NOW", None, None), read(&["2024", "2025", "2026"]));
        for (format, range) in [("yyyy", "x,NOW"), ("yyyy", "2024"), ("yyyy-MM-dd", "2024,2025")] {
            assert!(dates(format, range, None, None).is_err(), "{format} {range}");
        }
        assert!(Format::parse("EEE").is_err() && Format::parse("MMM").is_err());
    }
}
