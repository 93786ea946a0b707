//! Functions of dates and times.
//!
//! <https://trino.io/docs/current/functions/datetime.html>

use datafusion::arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::DateTimeField;

use super::arithmetic::moved;
use super::calendar::{self, Civil, MICROS_OF_DAY, MICROS_OF_SECOND, UTC};
use super::call::{self, Call, Outcome, Spec, invalid};
use super::cast;
use super::decimal;
use super::formats::instant;
use super::rows::literal;
use super::types;
use super::value::Value;

/// Months of `INTERVAL '1-3' YEAR TO MONTH`; `None` when it is no such interval.
pub fn months_of_literal(text: &str, from: &DateTimeField, to: &DateTimeField) -> Option<i64> {
    use DateTimeField as Field;
    let number = |text: &str| text.trim().parse::<u32>().ok().map(i64::from);
    match (from, to) {
        (Field::Year | Field::Years, Field::Year | Field::Years) => Some(number(text)? * 12),
        (Field::Month | Field::Months, Field::Month | Field::Months) => number(text),
        (Field::Year | Field::Years, Field::Month | Field::Months) => {
            let (years, months) = text.split_once('-').unwrap_or((text, "0"));
            Some(number(years)? * 12 + number(months)?)
        }
        _ => None,
    }
}

/// Milliseconds of `INTERVAL '1 02:03:04.5' DAY TO SECOND`.
pub fn millis_of_literal(text: &str, from: &DateTimeField, to: &DateTimeField) -> Option<i64> {
    let rank = |field: &DateTimeField| {
        use DateTimeField as Field;
        Some(match field {
            Field::Week(None) | Field::Weeks => 0usize,
            Field::Day | Field::Days => 1,
            Field::Hour | Field::Hours => 2,
            Field::Minute | Field::Minutes => 3,
            Field::Second | Field::Seconds => 4,
            _ => return None,
        })
    };
    const MILLIS: [i64; 5] = [7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1_000];
    let (first, last) = (rank(from)?, rank(to)?);
    let parts: Vec<&str> = text.split([' ', ':']).filter(|part| !part.is_empty()).collect();
    if last < first || parts.is_empty() || parts.len() > last - first + 1 {
        return None;
    }
    let mut millis = 0i64;
    for (at, part) in parts.iter().enumerate() {
        let (digits, scale) = decimal::parse(part).filter(|_| !part.starts_with(['-', '+']))?;
        if scale > 0 && first + at != 4 {
            return None;
        }
        let scaled = digits.checked_mul(i128::from(MILLIS[first + at]))?;
        let whole = scaled / decimal::power(scale.unsigned_abs().into())?;
        millis = millis.checked_add(i64::try_from(whole).ok()?)?;
    }
    Some(millis)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Unit {
    fn of(name: &str, kind: &DataType) -> Outcome<Self> {
        let unit = match name.to_lowercase().as_str() {
            "millisecond" => Self::Millisecond,
            "second" => Self::Second,
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "quarter" => Self::Quarter,
            "year" => Self::Year,
            _ => return invalid(format!("'{name}' is not a valid {} field", field_of(kind))),
        };
        let of_date = *kind == DataType::Date32 && unit < Self::Day;
        let of_time = matches!(kind, DataType::Time64(_)) && unit >= Self::Day;
        match of_date || of_time {
            true => invalid(format!("'{name}' is not a valid {} field", field_of(kind))),
            false => Ok(unit),
        }
    }

    /// Microseconds, of units that always have as many.
    fn micros(self) -> Option<i64> {
        Some(match self {
            Self::Millisecond => 1_000,
            Self::Second => MICROS_OF_SECOND,
            Self::Minute => 60 * MICROS_OF_SECOND,
            Self::Hour => 3_600 * MICROS_OF_SECOND,
            Self::Day => MICROS_OF_DAY,
            Self::Week => 7 * MICROS_OF_DAY,
            _ => return None,
        })
    }

    fn months(self) -> i64 {
        match self {
            Self::Quarter => 3,
            Self::Year => 12,
            _ => 1,
        }
    }
}

fn field_of(kind: &DataType) -> &'static str {
    match kind {
        DataType::Date32 => "DATE",
        DataType::Time64(_) => "TIME",
        _ => "TIMESTAMP",
    }
}

fn date_add(call: &Call, v: &[Value]) -> Outcome {
    let (unit, count, kind) = (Unit::of(v[0].str(), &call.kinds[2])?, v[1].whole(), &call.kinds[2]);
    let out = || "INVALID_FUNCTION_ARGUMENT: a time is out of range".to_owned();
    let Some(micros) = unit.micros() else {
        let months = count.checked_mul(unit.months()).and_then(|m| i32::try_from(m).ok());
        return moved(&v[2], kind, &Value::Months(months.ok_or_else(out)?), false);
    };
    let amount = micros.checked_mul(count).ok_or_else(out)?;
    // Days of a zone may be longer or shorter than others.
    if let (Value::Instant(at), Some(zone), true) = (&v[2], call.zone(2), unit >= Unit::Day) {
        let local = calendar::to_local(Some(zone), *at)?.checked_add(amount).ok_or_else(out)?;
        return calendar::from_local(Some(zone), local).map(Value::Instant);
    }
    moved(&v[2], kind, &Value::Span(amount / 1_000), false)
}

/// Whole units from one time to another.
fn date_diff(call: &Call, v: &[Value]) -> Outcome {
    let unit = Unit::of(v[0].str(), &call.kinds[1])?;
    if let (Value::Time(from), Value::Time(to)) = (&v[1], &v[2]) {
        return Ok(Value::Whole((to - from) / unit.micros().unwrap_or(1)));
    }
    let ((from, zone), (to, other)) = (instant(call, v, 1), instant(call, v, 2));
    if let Some(micros) = unit.micros().filter(|_| unit < Unit::Day) {
        return Ok(Value::Whole((to - from) / micros));
    }
    let (from, to) = (calendar::to_local(zone, from)?, calendar::to_local(other.and(zone), to)?);
    if let Some(micros) = unit.micros() {
        return Ok(Value::Whole((to - from) / micros));
    }
    let (a, b) = (Civil::of(from), Civil::of(to));
    let months = (b.year - a.year) * 12 + i64::from(b.month) - i64::from(a.month);
    // The last month counts when its day has come; the last day of a short month has come.
    let moved = a.plus_months(months).and_then(Civil::instant).unwrap_or(to);
    let months = match months {
        months if months > 0 && moved > to => months - 1,
        months if months < 0 && moved < to => months + 1,
        months => months,
    };
    Ok(Value::Whole(months / unit.months()))
}

fn date_trunc(call: &Call, v: &[Value]) -> Outcome {
    let unit = Unit::of(v[0].str(), &call.kinds[1])?;
    if let Value::Time(micros) = &v[1] {
        let size = unit.micros().unwrap_or(1);
        return Ok(Value::Time(micros - micros % size));
    }
    let (at, zone) = instant(call, v, 1);
    let local = calendar::to_local(zone, at)?;
    let civil = Civil::of(local);
    let days = civil.days();
    let day = match unit {
        Unit::Week => days - calendar::weekday(days) + 1,
        Unit::Month => calendar::days(civil.year, civil.month, 1),
        Unit::Quarter => calendar::days(civil.year, (civil.month - 1) / 3 * 3 + 1, 1),
        Unit::Year => calendar::days(civil.year, 1, 1),
        _ => days,
    };
    if let Value::Date(_) = &v[1] {
        return Ok(i32::try_from(day).map_or(Value::Null, Value::Date));
    }
    let size = unit.micros().filter(|_| unit < Unit::Day);
    let truncated = match size {
        Some(size) => local - local.rem_euclid(size),
        None => day * MICROS_OF_DAY,
    };
    calendar::from_local(zone, truncated).map(Value::Instant)
}

/// A field of a time, in its zone.
fn field(call: &Call, v: &[Value], of: fn(Civil, i64) -> i64) -> Outcome {
    let (at, zone) = match &v[0] {
        Value::Time(micros) => (*micros, None),
        _ => instant(call, v, 0),
    };
    let civil = Civil::of(calendar::to_local(zone, at)?);
    Ok(Value::Whole(of(civil, civil.days())))
}

macro_rules! of_day {
    ($name:literal, $of:expr) => {
        call::of(
            $name,
            &["(date) -> bigint", "(timestamp) -> bigint", "(timestamp with time zone) -> bigint"],
            |call, v| field(call, v, $of),
        )
    };
}

/// Also of an interval of months, whose parts these are.
macro_rules! of_months {
    ($name:literal, $of:expr, $months:expr) => {
        call::of(
            $name,
            &[
                "(date) -> bigint",
                "(timestamp) -> bigint",
                "(timestamp with time zone) -> bigint",
                "(interval year to month) -> bigint",
            ],
            |call, v| match &v[0] {
                Value::Months(months) => {
                    let of: fn(i64) -> i64 = $months;
                    Ok(Value::Whole(of(i64::from(*months))))
                }
                _ => field(call, v, $of),
            },
        )
    };
}

/// Also of an interval of days to seconds.
macro_rules! of_clock {
    ($name:literal, $of:expr, $millis:expr) => {
        call::of(
            $name,
            &[
                "(time) -> bigint",
                "(timestamp) -> bigint",
                "(timestamp with time zone) -> bigint",
                "(interval day to second) -> bigint",
            ],
            |call, v| match &v[0] {
                Value::Span(millis) => {
                    let of: fn(i64) -> i64 = $millis;
                    Ok(Value::Whole(of(*millis)))
                }
                _ => field(call, v, $of),
            },
        )
    };
}

/// The zone of a literal that a function is told.
fn zone_at(literals: &[Option<&ScalarValue>], index: usize, function: &str) -> Outcome<String> {
    match literal(literals.get(index).copied().flatten()) {
        Some(name) => calendar::zone_name(name),
        None => Err(format!(
            "NOT_SUPPORTED: line 1:1: the embedded cloud implements '{function}' with a literal \
             for the time zone only"
        )),
    }
}

fn at_zone_type(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    let unit = match fields[0].data_type() {
        DataType::Timestamp(unit, _) => *unit,
        _ => TimeUnit::Millisecond,
    };
    let zone = zone_at(literals, 1, "at_timezone")?;
    Ok(DataType::Timestamp(unit, Some(zone.into())))
}

fn from_unixtime_type(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    Ok(match fields.len() {
        1 => types::zoned(UTC),
        2 => types::zoned(&zone_at(literals, 1, "from_unixtime")?),
        _ => {
            let number = |index: usize| match literals.get(index).copied().flatten() {
                Some(ScalarValue::Int32(Some(number))) => Some(i64::from(*number)),
                Some(ScalarValue::Int64(Some(number))) => Some(*number),
                _ => None,
            };
            let (Some(hours), Some(minutes)) = (number(1), number(2)) else {
                return zone_at(&[], 1, "from_unixtime").map(|_| types::timestamp());
            };
            let seconds = i32::try_from(hours * 3_600 + minutes * 60).unwrap_or(0);
            types::zoned(&calendar::zone_name(&calendar::offset_text(seconds))?)
        }
    })
}

fn from_unixtime(_: &Call, v: &[Value]) -> Outcome {
    let seconds = v[0].double();
    let millis = (seconds * 1_000.0).round();
    if !millis.is_finite() || millis.abs() > 9e15 {
        return invalid("a time is out of range");
    }
    Ok(Value::Instant(millis as i64 * 1_000))
}

/// `2020-05-11T11:15:05.055+01:00`, and dates by weeks and days of years.
fn read_iso(text: &str) -> Option<calendar::Written> {
    let (date, clock) = text.split_once('T').unwrap_or((text, ""));
    let date = iso_date(date)?;
    let written = format!("{} {clock}", calendar::date_text(date));
    calendar::read_timestamp(&written)
}

fn iso_date(text: &str) -> Option<i64> {
    if let Some((year, week)) = text.split_once("-W") {
        let (week, day) = week.split_once('-').unwrap_or((week, "1"));
        let (year, week, day): (i64, i64, i64) =
            (year.parse().ok()?, week.parse().ok()?, day.parse().ok()?);
        let fourth = calendar::days(year, 1, 4);
        let monday = fourth - calendar::weekday(fourth) + 1;
        let there = (1..=53).contains(&week) && (1..=7).contains(&day);
        return there.then(|| monday + (week - 1) * 7 + day - 1);
    }
    match text.split('-').collect::<Vec<_>>().as_slice() {
        [year] if year.len() == 4 => calendar::read_date(&format!("{year}-01-01")),
        [year, day] if day.len() == 3 => {
            let year: i64 = year.parse().ok()?;
            let day: i64 = day.parse().ok()?;
            (1..=366).contains(&day).then(|| calendar::days(year, 1, 1) + day - 1)
        }
        [year, month] => calendar::read_date(&format!("{year}-{month}-01")),
        _ => calendar::read_date(text),
    }
}

fn iso_type(_: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    let read = literal(literals.first().copied().flatten()).and_then(read_iso);
    let zone = read.and_then(|read| read.zone);
    Ok(types::zoned(zone.as_deref().unwrap_or(UTC)))
}

fn from_iso(call: &Call, v: &[Value]) -> Outcome {
    let DataType::Timestamp(_, Some(zone)) = call.result else { return Ok(Value::Null) };
    let Some(read) = read_iso(v[0].str()) else {
        return invalid(format!("Invalid format: \"{}\"", v[0].str()));
    };
    let own = read.zone.as_deref().unwrap_or(UTC);
    if own != &**zone {
        return Err(cast::other_zone(own, zone));
    }
    calendar::from_local(Some(own), read.micros).map(Value::Instant)
}

fn to_iso(call: &Call, v: &[Value]) -> Outcome {
    let (DataType::Timestamp(unit, zone), Value::Instant(micros)) = (&call.kinds[0], &v[0]) else {
        return Ok(Value::Text(calendar::date_text(v[0].whole())));
    };
    let local = calendar::to_local(zone.as_deref(), *micros)?;
    let text = calendar::timestamp_text(local, types::digits(*unit), None)?.replacen(' ', "T", 1);
    let zone = match zone.as_deref() {
        None => String::new(),
        Some(zone) => match calendar::offset_at(zone, *micros)? {
            0 => "Z".to_owned(),
            seconds => calendar::offset_text(seconds),
        },
    };
    Ok(Value::Text(text + &zone))
}

fn human_readable(_: &Call, v: &[Value]) -> Outcome {
    let mut rest = v[0].double().abs().round() as i64;
    let units =
        [("week", 604_800), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    let mut parts = Vec::new();
    for (name, size) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            parts.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    Ok(Value::Text(if parts.is_empty() { "0 seconds".to_owned() } else { parts.join(", ") }))
}

/// `3.81 days` as an interval.
fn parse_duration(_: &Call, v: &[Value]) -> Outcome {
    let text = v[0].str().trim();
    let wrong = || {
        format!("INVALID_FUNCTION_ARGUMENT: duration is not a valid data duration string: {text}")
    };
    let end = text.find(|c: char| c.is_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ns" => 1e-6,
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        _ => return Err(wrong()),
    };
    Ok(Value::Span((number * millis).round() as i64))
}

fn offset(call: &Call, v: &[Value]) -> Outcome<i64> {
    Ok(i64::from(calendar::offset_at(call.zone(0).unwrap_or(UTC), v[0].whole())?))
}

const OF_ZONED: &[&str] = &["(timestamp with time zone) -> bigint"];

/// The functions.
pub const FUNCTIONS: &[Spec] = &[
    call::of(
        "date_add",
        &[
            "(varchar, bigint, date) -> date",
            "(varchar, bigint, time) -> time",
            "(varchar, bigint, timestamp) -> timestamp",
            "(varchar, bigint, timestamp with time zone) -> timestamp with time zone",
        ],
        date_add,
    ),
    call::of(
        "date_diff",
        &[
            "(varchar, date, date) -> bigint",
            "(varchar, time, time) -> bigint",
            "(varchar, timestamp, timestamp) -> bigint",
            "(varchar, timestamp with time zone, timestamp with time zone) -> bigint",
            "(varchar, timestamp, timestamp with time zone) -> bigint",
            "(varchar, timestamp with time zone, timestamp) -> bigint",
        ],
        date_diff,
    ),
    call::of(
        "date_trunc",
        &[
            "(varchar, date) -> date",
            "(varchar, time) -> time",
            "(varchar, timestamp) -> timestamp",
            "(varchar, timestamp with time zone) -> timestamp with time zone",
        ],
        date_trunc,
    ),
    of_months!("year", |civil, _| civil.year, |months| months / 12),
    of_months!("month", |civil, _| i64::from(civil.month), |months| months % 12),
    of_day!("quarter", |civil, _| i64::from(civil.month - 1) / 3 + 1),
    of_day!("week", |_, days| calendar::week(days).1),
    of_day!("year_of_week", |_, days| calendar::week(days).0),
    call::of(
        "day",
        &[
            "(date) -> bigint",
            "(timestamp) -> bigint",
            "(timestamp with time zone) -> bigint",
            "(interval day to second) -> bigint",
        ],
        |call, v| match &v[0] {
            Value::Span(millis) => Ok(Value::Whole(millis / 86_400_000)),
            _ => field(call, v, |civil, _| i64::from(civil.day)),
        },
    ),
    of_day!("day_of_week", |_, days| calendar::weekday(days)),
    of_day!("day_of_year", |civil, days| days - calendar::days(civil.year, 1, 1) + 1),
    of_clock!("hour", |civil, _| civil.hour(), |millis| millis / 3_600_000 % 24),
    of_clock!("minute", |civil, _| civil.minute(), |millis| millis / 60_000 % 60),
    of_clock!("second", |civil, _| civil.second(), |millis| millis / 1_000 % 60),
    of_clock!("millisecond", |civil, _| civil.millisecond(), |millis| millis % 1_000),
    call::of(
        "last_day_of_month",
        &["(date) -> date", "(timestamp) -> date", "(timestamp with time zone) -> date"],
        |call, v| {
            let (at, zone) = instant(call, v, 0);
            let civil = Civil::of(calendar::to_local(zone, at)?);
            let day = calendar::days_of_month(civil.year, civil.month);
            let days = calendar::days(civil.year, civil.month, day);
            Ok(i32::try_from(days).map_or(Value::Null, Value::Date))
        },
    ),
    call::of(
        "date",
        &[
            "(varchar) -> date",
            "(date) -> date",
            "(timestamp) -> date",
            "(timestamp with time zone) -> date",
        ],
        |call, v| {
            let to = types::Written { kind: DataType::Date32, length: None };
            cast::cast(v[0].clone(), &call.kinds[0], &to)
        },
    ),
    call::of("from_iso8601_date", &["(varchar) -> date"], |_, v| {
        match iso_date(v[0].str()).and_then(|days| i32::try_from(days).ok()) {
            Some(days) => Ok(Value::Date(days)),
            None => invalid(format!("Invalid format: \"{}\"", v[0].str())),
        }
    }),
    call::of("from_iso8601_timestamp", &["(varchar) -> timestamp(3)"], from_iso).typed(iso_type),
    call::of(
        "to_iso8601",
        &["(date) -> varchar", "(timestamp) -> varchar", "(timestamp with time zone) -> varchar"],
        to_iso,
    ),
    call::of(
        "from_unixtime",
        &[
            "(double) -> timestamp(3)",
            "(double, varchar) -> timestamp(3)",
            "(double, bigint, bigint) -> timestamp(3)",
        ],
        from_unixtime,
    )
    .typed(from_unixtime_type),
    call::of("from_unixtime_nanos", &["(bigint) -> timestamp(9) with time zone"], |_, v| {
        match v[0].whole() % 1_000 {
            0 => Ok(Value::Instant(v[0].whole() / 1_000)),
            _ => Err("NOT_SUPPORTED: the embedded cloud keeps no single nanoseconds".to_owned()),
        }
    }),
    call::of(
        "to_unixtime",
        &["(timestamp) -> double", "(timestamp with time zone) -> double"],
        |call, v| Ok(Value::Double(instant(call, v, 0).0 as f64 / 1e6)),
    ),
    call::of(
        "at_timezone",
        &[
            "(timestamp with time zone, varchar) -> timestamp with time zone",
            "(timestamp, varchar) -> timestamp",
        ],
        |_, v| Ok(v[0].clone()),
    )
    .typed(at_zone_type),
    call::of("with_timezone", &["(timestamp, varchar) -> timestamp"], |call, v| {
        let DataType::Timestamp(_, zone) = call.result else { return Ok(Value::Null) };
        calendar::from_local(zone.as_deref(), v[0].whole()).map(Value::Instant)
    })
    .typed(at_zone_type),
    call::of("timezone", &["(timestamp with time zone) -> varchar"], |call, _| {
        Ok(Value::text(call.zone(0).unwrap_or(UTC)))
    }),
    call::of("current_timezone", &["() -> varchar"], |_, _| Ok(Value::text(UTC))),
    call::of("timezone_hour", OF_ZONED, |call, v| Ok(Value::Whole(offset(call, v)? / 3_600))),
    call::of("timezone_minute", OF_ZONED, |call, v| Ok(Value::Whole(offset(call, v)? / 60 % 60))),
    call::of("human_readable_seconds", &["(double) -> varchar"], human_readable),
    call::of("parse_duration", &["(varchar) -> interval day to second"], parse_duration),
    call::of("to_milliseconds", &["(interval day to second) -> bigint"], |_, v| {
        Ok(Value::Whole(v[0].whole()))
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_intervals() {
        use DateTimeField as Field;
        assert_eq!(months_of_literal("1-3", &Field::Year, &Field::Month), Some(15));
        assert_eq!(millis_of_literal("2", &Field::Day, &Field::Day), Some(172_800_000));
        let long = millis_of_literal("1 02:03:04.5", &Field::Day, &Field::Second);
        assert_eq!(long, Some(93_784_500));
        assert_eq!(millis_of_literal("1.5", &Field::Day, &Field::Day), None);
        assert_eq!(millis_of_literal("x", &Field::Day, &Field::Day), None);
    }
}
