//! Times by a pattern of MySQL or of Joda, and `format` by a pattern of Java.
//!
//! <https://trino.io/docs/current/functions/datetime.html>,
//! <https://trino.io/docs/current/functions/conversion.html>

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;

use super::calendar::{self, Civil, MICROS_OF_SECOND};
use super::call::{self, Call, Outcome, Spec, invalid};
use super::cast;
use super::rows::literal;
use super::types;
use super::value::Value;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Era,
    Century,
    Year,
    /// Of a century.
    ShortYear,
    WeekYear,
    Month,
    MonthName,
    ShortMonthName,
    Day,
    DayOfYear,
    Week,
    Weekday,
    WeekdayName,
    ShortWeekdayName,
    Hour,
    /// 1 to 24.
    HourFromOne,
    /// 0 to 11.
    HalfHour,
    /// 1 to 12.
    HalfHourFromOne,
    HalfOfDay,
    Minute,
    Second,
    Fraction,
    Offset,
    OffsetWithColon,
    Zone,
}

/// A part with its digits, or text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Part(Part, usize),
    Text(String),
}

fn text(items: &mut Vec<Item>, character: char) {
    match items.last_mut() {
        Some(Item::Text(text)) => text.push(character),
        _ => items.push(Item::Text(character.to_string())),
    }
}

/// `%Y-%m-%d`.
fn mysql(pattern: &str) -> Outcome<Vec<Item>> {
    let (mut items, mut rest) = (Vec::new(), pattern.chars());
    while let Some(character) = rest.next() {
        if character != '%' {
            text(&mut items, character);
            continue;
        }
        let parts: &[(Part, usize)] = match rest.next() {
            Some('a') => &[(Part::ShortWeekdayName, 1)],
            Some('b') => &[(Part::ShortMonthName, 1)],
            Some('c') => &[(Part::Month, 1)],
            Some('d') => &[(Part::Day, 2)],
            Some('e') => &[(Part::Day, 1)],
            Some('f') => &[(Part::Fraction, 6)],
            Some('H') => &[(Part::Hour, 2)],
            Some('h' | 'I') => &[(Part::HalfHourFromOne, 2)],
            Some('i') => &[(Part::Minute, 2)],
            Some('j') => &[(Part::DayOfYear, 3)],
            Some('k') => &[(Part::Hour, 1)],
            Some('l') => &[(Part::HalfHourFromOne, 1)],
            Some('M') => &[(Part::MonthName, 1)],
            Some('m') => &[(Part::Month, 2)],
            Some('p') => &[(Part::HalfOfDay, 1)],
            Some('S' | 's') => &[(Part::Second, 2)],
            Some('v') => &[(Part::Week, 2)],
            Some('W') => &[(Part::WeekdayName, 1)],
            Some('x') => &[(Part::WeekYear, 4)],
            Some('Y') => &[(Part::Year, 4)],
            Some('y') => &[(Part::ShortYear, 2)],
            Some(clock @ ('r' | 'T')) => {
                let hour = if clock == 'r' { Part::HalfHourFromOne } else { Part::Hour };
                items.push(Item::Part(hour, 2));
                text(&mut items, ':');
                items.push(Item::Part(Part::Minute, 2));
                text(&mut items, ':');
                items.push(Item::Part(Part::Second, 2));
                if clock == 'r' {
                    text(&mut items, ' ');
                    items.push(Item::Part(Part::HalfOfDay, 1));
                }
                continue;
            }
            Some(other @ ('D' | 'U' | 'u' | 'V' | 'w' | 'X')) => {
                return invalid(format!("%{other} not currently supported in date format string"));
            }
            Some(other) => {
                text(&mut items, other);
                continue;
            }
            None => break,
        };
        items.extend(parts.iter().map(|(part, digits)| Item::Part(*part, *digits)));
    }
    Ok(items)
}

/// `yyyy-MM-dd HH:mm:ss`.
fn joda(pattern: &str) -> Outcome<Vec<Item>> {
    let (mut items, mut rest) = (Vec::new(), pattern.chars().peekable());
    while let Some(character) = rest.next() {
        if character == '\'' {
            if rest.peek() == Some(&'\'') {
                rest.next();
                text(&mut items, '\'');
                continue;
            }
            loop {
                match rest.next() {
                    Some('\'') if rest.peek() == Some(&'\'') => {
                        rest.next();
                        text(&mut items, '\'');
                    }
                    Some('\'') | None => break,
                    Some(inside) => text(&mut items, inside),
                }
            }
            continue;
        }
        if !character.is_ascii_alphabetic() {
            text(&mut items, character);
            continue;
        }
        let mut count = 1;
        while rest.peek() == Some(&character) {
            rest.next();
            count += 1;
        }
        let part = match (character, count) {
            ('G', _) => Part::Era,
            ('C', _) => Part::Century,
            ('y' | 'Y' | 'u', 2) => Part::ShortYear,
            ('y' | 'Y' | 'u', _) => Part::Year,
            ('x', _) => Part::WeekYear,
            ('M', 1 | 2) => Part::Month,
            ('M', 3) => Part::ShortMonthName,
            ('M', _) => Part::MonthName,
            ('d', _) => Part::Day,
            ('D', _) => Part::DayOfYear,
            ('w', _) => Part::Week,
            ('e', _) => Part::Weekday,
            ('E', 1..=3) => Part::ShortWeekdayName,
            ('E', _) => Part::WeekdayName,
            ('a', _) => Part::HalfOfDay,
            ('H', _) => Part::Hour,
            ('k', _) => Part::HourFromOne,
            ('K', _) => Part::HalfHour,
            ('h', _) => Part::HalfHourFromOne,
            ('m', _) => Part::Minute,
            ('s', _) => Part::Second,
            ('S', _) => Part::Fraction,
            ('Z', 1) => Part::Offset,
            ('Z', 2) => Part::OffsetWithColon,
            ('Z' | 'z', _) => Part::Zone,
            _ => return invalid(format!("Illegal pattern component: {character}")),
        };
        items.push(Item::Part(part, count));
    }
    Ok(items)
}

fn half(hour: i64) -> i64 {
    if hour % 12 == 0 { 12 } else { hour % 12 }
}

/// A time in its zone by a pattern.
fn print(items: &[Item], micros: i64, zone: Option<&str>) -> Outcome<String> {
    let civil = Civil::of(calendar::to_local(zone, micros)?);
    let days = civil.days();
    let mut written = String::new();
    for item in items {
        let (part, digits) = match item {
            Item::Text(inside) => {
                written.push_str(inside);
                continue;
            }
            Item::Part(part, digits) => (*part, *digits),
        };
        let number = match part {
            Part::Century => civil.year.div_euclid(100),
            Part::Year => civil.year,
            Part::ShortYear => civil.year.rem_euclid(100),
            Part::WeekYear => calendar::week(days).0,
            Part::Month => i64::from(civil.month),
            Part::Day => i64::from(civil.day),
            Part::DayOfYear => days - calendar::days(civil.year, 1, 1) + 1,
            Part::Week => calendar::week(days).1,
            Part::Weekday => calendar::weekday(days),
            Part::Hour => civil.hour(),
            Part::HourFromOne => {
                if civil.hour() == 0 {
                    24
                } else {
                    civil.hour()
                }
            }
            Part::HalfHour => civil.hour() % 12,
            Part::HalfHourFromOne => half(civil.hour()),
            Part::Minute => civil.minute(),
            Part::Second => civil.second(),
            _ => {
                written.push_str(&word(part, digits, civil, days, micros, zone)?);
                continue;
            }
        };
        written.push_str(&format!("{number:0digits$}"));
    }
    Ok(written)
}

fn word(
    part: Part,
    digits: usize,
    civil: Civil,
    days: i64,
    micros: i64,
    zone: Option<&str>,
) -> Outcome<String> {
    let month = MONTHS[(civil.month as usize).clamp(1, 12) - 1];
    let weekday = DAYS[(calendar::weekday(days) as usize).clamp(1, 7) - 1];
    let offset = || -> Outcome<String> {
        match zone {
            Some(zone) => Ok(calendar::offset_text(calendar::offset_at(zone, micros)?)),
            None => Ok("+00:00".to_owned()),
        }
    };
    Ok(match part {
        Part::Era => if civil.year > 0 { "AD" } else { "BC" }.to_owned(),
        Part::MonthName => month.to_owned(),
        Part::ShortMonthName => month[..3].to_owned(),
        Part::WeekdayName => weekday.to_owned(),
        Part::ShortWeekdayName => weekday[..3].to_owned(),
        Part::HalfOfDay => if civil.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        Part::Fraction => {
            let all = format!("{:06}", civil.micros % MICROS_OF_SECOND);
            // Trino keeps milliseconds.
            let all = format!("{:0<digits$}", &all[..3]);
            all[..digits].to_owned()
        }
        Part::Offset => offset()?.replace(':', ""),
        Part::OffsetWithColon => offset()?,
        _ => zone.unwrap_or(calendar::UTC).to_owned(),
    })
}

/// What a text says by a pattern.
struct Read {
    /// Without its zone.
    local: i64,
    zone: Option<String>,
}

#[derive(Default)]
struct Parts {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<i64>,
    week_year: Option<i64>,
    weekday: Option<i64>,
    hour: i64,
    half_hour: Option<i64>,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
    zone: Option<String>,
}

/// Digits that a field may have.
fn longest(part: Part) -> usize {
    match part {
        Part::Year | Part::WeekYear => 9,
        Part::DayOfYear => 3,
        Part::Weekday => 1,
        _ => 2,
    }
}

fn number(rest: &mut &str, most: usize) -> Option<i64> {
    let negative = rest.starts_with('-');
    let digits: &str = if negative { &rest[1..] } else { rest };
    let end = digits.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let value = digits[..end].parse::<i64>().ok()?;
    *rest = &digits[end..];
    Some(if negative { -value } else { value })
}

fn named(rest: &mut &str, names: &[&str]) -> Option<i64> {
    for (index, name) in names.iter().enumerate() {
        for name in [*name, &name[..3]] {
            if let Some(start) = rest.get(..name.len())
                && start.eq_ignore_ascii_case(name)
            {
                *rest = &rest[name.len()..];
                return Some(index as i64 + 1);
            }
        }
    }
    None
}

fn read(items: &[Item], whole: &str) -> Outcome<Read> {
    let mut rest = whole;
    let mut parts = Parts::default();
    for (index, item) in items.iter().enumerate() {
        let taken = match item {
            Item::Text(text) => rest.strip_prefix(text.as_str()).map(|after| rest = after),
            Item::Part(part, digits) => {
                let numeric = matches!(items.get(index + 1), Some(Item::Part(next, _))
                    if !matches!(next, Part::HalfOfDay | Part::Zone | Part::Offset
                        | Part::OffsetWithColon | Part::MonthName | Part::ShortMonthName));
                let most = if numeric { *digits } else { longest(*part).max(*digits) };
                take(&mut rest, *part, most, &mut parts)
            }
        };
        if taken.is_none() {
            return malformed(whole, rest);
        }
    }
    if !rest.is_empty() {
        return malformed(whole, rest);
    }
    together(&parts).map_or_else(
        || invalid(format!("Invalid format: \"{whole}\" has a field that is out of range")),
        |local| Ok(Read { local, zone: parts.zone.clone() }),
    )
}

fn malformed<T>(whole: &str, rest: &str) -> Outcome<T> {
    match rest {
        "" => invalid(format!("Invalid format: \"{whole}\" is too short")),
        rest if rest.len() == whole.len() => invalid(format!("Invalid format: \"{whole}\"")),
        rest => invalid(format!("Invalid format: \"{whole}\" is malformed at \"{rest}\"")),
    }
}

fn take(rest: &mut &str, part: Part, most: usize, parts: &mut Parts) -> Option<()> {
    match part {
        Part::Era => *rest = rest.strip_prefix("AD")?,
        Part::Year => parts.year = Some(number(rest, most)?),
        Part::ShortYear => {
            let before = rest.len();
            let year = number(rest, 9)?;
            // Two digits are a year from 1970 to 2069.
            let two = before - rest.len() == 2;
            parts.year = Some(if two { year + if year < 70 { 2000 } else { 1900 } } else { year });
        }
        Part::WeekYear => parts.week_year = Some(number(rest, most)?),
        Part::Month => parts.month = Some(number(rest, most)?),
        Part::MonthName | Part::ShortMonthName => parts.month = Some(named(rest, &MONTHS)?),
        Part::Day => parts.day = Some(number(rest, most)?),
        Part::DayOfYear => parts.day_of_year = Some(number(rest, most)?),
        Part::Week => parts.week = Some(number(rest, most)?),
        Part::Weekday => parts.weekday = Some(number(rest, most)?),
        Part::WeekdayName | Part::ShortWeekdayName => parts.weekday = Some(named(rest, &DAYS)?),
        Part::Hour => parts.hour = within(number(rest, most)?, 0, 23)?,
        Part::HourFromOne => parts.hour = within(number(rest, most)?, 1, 24)? % 24,
        Part::HalfHour => parts.half_hour = Some(within(number(rest, most)?, 0, 11)?),
        Part::HalfHourFromOne => parts.half_hour = Some(within(number(rest, most)?, 1, 12)? % 12),
        Part::HalfOfDay => {
            let half = rest.get(..2)?.to_uppercase();
            parts.afternoon = Some(match half.as_str() {
                "AM" => false,
                "PM" => true,
                _ => return None,
            });
            *rest = &rest[2..];
        }
        Part::Minute => parts.minute = within(number(rest, most)?, 0, 59)?,
        Part::Second => parts.second = within(number(rest, most)?, 0, 59)?,
        Part::Fraction => {
            let end = rest.bytes().take(9).take_while(u8::is_ascii_digit).count();
            let digits = rest.get(..end).filter(|digits| !digits.is_empty())?;
            // Of a second, of which milliseconds are kept.
            parts.micros = format!("{digits:0<3}")[..3].parse::<i64>().ok()? * 1_000;
            *rest = &rest[end..];
        }
        Part::Offset | Part::OffsetWithColon | Part::Zone => {
            let end = rest.find(|c: char| !c.is_alphanumeric() && !"+-:/_".contains(c));
            let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
            parts.zone = Some(calendar::zone_name(name).ok()?);
            *rest = after;
        }
        Part::Century => return None,
    }
    Some(())
}

fn within(number: i64, least: i64, most: i64) -> Option<i64> {
    (least..=most).contains(&number).then_some(number)
}

fn together(parts: &Parts) -> Option<i64> {
    let hour = match (parts.half_hour, parts.afternoon) {
        (Some(hour), Some(true)) => hour + 12,
        (Some(hour), _) => hour,
        (None, _) => parts.hour,
    };
    let days = match (parts.week_year, parts.week, parts.day_of_year) {
        (week_year, Some(week), _) if week_year.is_some() || parts.month.is_none() => {
            let year = week_year.or(parts.year).unwrap_or(1970);
            let fourth = calendar::days(year, 1, 4);
            let monday = fourth - calendar::weekday(fourth) + 1;
            let day = monday + (within(week, 1, 53)? - 1) * 7;
            day + within(parts.weekday.unwrap_or(1), 1, 7)? - 1
        }
        (_, _, Some(day)) => {
            let year = parts.year.unwrap_or(1970);
            let most = if calendar::is_leap(year) { 366 } else { 365 };
            calendar::days(year, 1, 1) + within(day, 1, most)? - 1
        }
        _ => {
            let year = parts.year.unwrap_or(1970);
            let month = within(parts.month.unwrap_or(1), 1, 12)? as u32;
            let most = calendar::days_of_month(year, month);
            let day = within(parts.day.unwrap_or(1), 1, i64::from(most))? as u32;
            calendar::days(year, month, day)
        }
    };
    let seconds = (hour * 60 + parts.minute) * 60 + parts.second;
    days.checked_mul(calendar::MICROS_OF_DAY)?
        .checked_add(seconds * MICROS_OF_SECOND + parts.micros)
}

/// A time of any type, and its zone.
pub fn instant<'a>(call: &'a Call, values: &[Value], index: usize) -> (i64, Option<&'a str>) {
    match &values[index] {
        Value::Date(days) => (i64::from(*days) * calendar::MICROS_OF_DAY, None),
        other => (other.whole(), call.zone(index)),
    }
}

/// With the zone of a literal.
fn parsed_type(_: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    let of = |index: usize| literal(literals.get(index).copied().flatten());
    let zone = match (of(0), of(1)) {
        (Some(text), Some(pattern)) => read(&joda(pattern)?, text)?.zone,
        _ => None,
    };
    Ok(types::zoned(zone.as_deref().unwrap_or(calendar::UTC)))
}

fn parse_datetime(call: &Call, v: &[Value]) -> Outcome {
    let DataType::Timestamp(_, Some(zone)) = call.result else { return Ok(Value::Null) };
    let read = read(&joda(v[1].str())?, v[0].str())?;
    let own = read.zone.as_deref().unwrap_or(calendar::UTC);
    if own != &**zone {
        return Err(cast::other_zone(own, zone));
    }
    Ok(Value::Instant(calendar::from_local(Some(own), read.local)?))
}

const PRINTED: &[&str] =
    &["(timestamp, varchar) -> varchar", "(timestamp with time zone, varchar) -> varchar"];

/// The functions.
pub const FUNCTIONS: &[Spec] = &[
    call::of("date_format", PRINTED, |call, v| {
        let (micros, zone) = instant(call, v, 0);
        print(&mysql(v[1].str())?, micros, zone).map(Value::Text)
    }),
    call::of("format_datetime", PRINTED, |call, v| {
        let (micros, zone) = instant(call, v, 0);
        print(&joda(v[1].str())?, micros, zone).map(Value::Text)
    }),
    call::of("date_parse", &["(varchar, varchar) -> timestamp(3)"], |_, v| {
        Ok(Value::Instant(read(&mysql(v[1].str())?, v[0].str())?.local))
    }),
    call::of("parse_datetime", &["(varchar, varchar) -> timestamp(3)"], parse_datetime)
        .typed(parsed_type),
    call::of("format", &["(varchar, ?...) -> varchar"], format).with_nulls(),
];

/// A conversion of Java: `%-10.2f`.
#[derive(Default)]
struct Conversion {
    index: Option<usize>,
    left: bool,
    zeros: bool,
    commas: bool,
    plus: bool,
    space: bool,
    brackets: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    letter: char,
    /// Of a time, behind `t`.
    part: char,
}

fn conversion(rest: &mut std::iter::Peekable<std::str::Chars>) -> Option<Conversion> {
    let mut of = Conversion::default();
    let digits = |rest: &mut std::iter::Peekable<std::str::Chars>| {
        let mut number: Option<usize> = None;
        while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
            number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit as usize));
            rest.next();
        }
        number
    };
    if rest.peek() != Some(&'0')
        && let Some(number) = digits(rest)
    {
        if rest.peek() == Some(&'$') {
            rest.next();
            of.index = number.checked_sub(1);
        } else {
            of.width = number;
        }
    }
    while of.width == 0
        && let Some(flag) = rest.peek().copied()
    {
        match flag {
            '-' => of.left = true,
            '0' => of.zeros = true,
            ',' => of.commas = true,
            '+' => of.plus = true,
            ' ' => of.space = true,
            '(' => of.brackets = true,
            '#' => of.alternate = true,
            _ => break,
        }
        rest.next();
    }
    if let Some(width) = digits(rest) {
        of.width = width;
    }
    if rest.peek() == Some(&'.') {
        rest.next();
        of.precision = Some(digits(rest)?);
    }
    of.letter = rest.next()?;
    if matches!(of.letter, 't' | 'T') {
        of.part = rest.next()?;
    }
    (of.width <= 10_000 && of.precision.unwrap_or(0) <= 1_000).then_some(of)
}

fn format(call: &Call, v: &[Value]) -> Outcome {
    if v[0].is_null() {
        return Ok(Value::Null);
    }
    let (mut written, mut next) = (String::new(), 1);
    let mut rest = v[0].str().chars().peekable();
    let wrong = || invalid(format!("Invalid format string: {}", v[0].str()));
    while let Some(character) = rest.next() {
        if character != '%' {
            written.push(character);
            continue;
        }
        let Some(of) = conversion(&mut rest) else { return wrong() };
        match of.letter {
            '%' => written.push_str(&padded("%", &of)),
            'n' => written.push('\n'),
            _ => {
                let at = of.index.map_or(next, |index| index + 1);
                if of.index.is_none() {
                    next += 1;
                }
                let (Some(value), Some(kind)) = (v.get(at), call.kinds.get(at)) else {
                    return wrong();
                };
                match converted(value, kind, &of)? {
                    Some(text) => written.push_str(&text),
                    None => return wrong(),
                }
            }
        }
    }
    Ok(Value::Text(written))
}

fn padded(text: &str, of: &Conversion) -> String {
    let width = of.width;
    if of.left { format!("{text:<width$}") } else { format!("{text:>width$}") }
}

/// `None` when a value cannot be written in that way.
fn converted(value: &Value, kind: &DataType, of: &Conversion) -> Outcome<Option<String>> {
    let upper = of.letter.is_ascii_uppercase();
    let shown = match (of.letter.to_ascii_lowercase(), value) {
        ('b', value) => Some(match value {
            Value::Boolean(truth) => truth.to_string(),
            other => (!other.is_null()).to_string(),
        }),
        ('s', Value::Null) => Some("null".to_owned()),
        (_, Value::Null) => Some("null".to_owned()),
        ('s', value) => Some(java_text(value, kind)?),
        ('d', Value::Whole(number)) => {
            return Ok(Some(signed(&number.unsigned_abs().to_string(), *number < 0, of)));
        }
        ('x', Value::Whole(number)) => Some(format!("{number:x}")),
        ('o', Value::Whole(number)) => Some(format!("{number:o}")),
        ('c', Value::Whole(number)) => {
            u32::try_from(*number).ok().and_then(char::from_u32).map(String::from)
        }
        ('c', Value::Text(text)) => Some(text.chars().take(1).collect()),
        ('f', Value::Double(_) | Value::Real(_) | Value::Decimal(..)) => {
            return Ok(Some(fixed(value, of)));
        }
        ('e', Value::Double(_) | Value::Real(_)) => {
            let number = value.double();
            let text = format!("{:.*e}", of.precision.unwrap_or(6), number.abs());
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            let sign = if exponent < 0 { '-' } else { '+' };
            let text = format!("{digits}e{sign}{:02}", exponent.abs());
            let text = signed(&text, number < 0.0, of);
            return Ok(Some(if upper { text.to_uppercase() } else { text }));
        }
        ('t', Value::Date(_) | Value::Instant(_)) => {
            let micros = match value {
                Value::Date(days) => i64::from(*days) * calendar::MICROS_OF_DAY,
                other => other.whole(),
            };
            let pattern = match of.part {
                'F' => "yyyy-MM-dd",
                'T' => "HH:mm:ss",
                'D' => "MM/dd/yy",
                'R' => "HH:mm",
                'Y' => "yyyy",
                'y' => "yy",
                'm' => "MM",
                'd' => "dd",
                'e' => "d",
                'H' => "HH",
                'I' => "hh",
                'k' => "H",
                'M' => "mm",
                'S' => "ss",
                'L' => "SSS",
                'B' => "MMMM",
                'b' | 'h' => "MMM",
                'A' => "EEEE",
                'a' => "EEE",
                'j' => "DDD",
                'p' => "a",
                _ => return Ok(None),
            };
            let zone = match kind {
                DataType::Timestamp(_, zone) => zone.as_deref(),
                _ => None,
            };
            let text = print(&joda(pattern)?, micros, zone)?;
            Some(if of.part == 'p' { text.to_lowercase() } else { text })
        }
        _ => None,
    };
    Ok(shown.map(|text| {
        let text = match of.precision {
            Some(most) if matches!(of.letter, 's' | 'S') => text.chars().take(most).collect(),
            _ => text,
        };
        let text = if upper { text.to_uppercase() } else { text };
        match of.zeros && matches!(of.letter, 'x' | 'X' | 'o') {
            true => format!("{text:0>width$}", width = of.width),
            false => padded(&text, of),
        }
    }))
}

/// As `toString` of Java writes it.
fn java_text(value: &Value, kind: &DataType) -> Outcome<String> {
    let text = cast::text(value, kind)?;
    Ok(match value {
        Value::Instant(_) => {
            let text = text.replacen(' ', "T", 1);
            text.strip_suffix(":00")
                .filter(|t| t.matches(':').count() == 1)
                .map_or(text.clone(), str::to_owned)
        }
        _ => text,
    })
}

fn fixed(value: &Value, of: &Conversion) -> String {
    let places = of.precision.unwrap_or(6);
    let number = value.double();
    if !number.is_finite() {
        let text = if number.is_nan() { "NaN" } else { "Infinity" };
        return padded(&if number < 0.0 { format!("-{text}") } else { text.to_owned() }, of);
    }
    // The digits that the number is written with, rounded half up as Java does.
    let scale = i8::try_from(places.min(30)).unwrap_or(30);
    let digits = super::decimal::digits_of(value, scale).ok().flatten();
    let text = match digits {
        Some(digits) => super::decimal::text(digits.abs(), scale),
        None => format!("{:.places$}", number.abs()),
    };
    signed(&text, number < 0.0, of)
}

/// With its sign, groups of three digits, and its width.
fn signed(unsigned: &str, negative: bool, of: &Conversion) -> String {
    let mut text = unsigned.to_owned();
    if of.commas {
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let mut grouped = String::new();
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        text = if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") };
    }
    let (before, after) = match (negative, of.brackets) {
        (true, true) => ("(", ")"),
        (true, false) => ("-", ""),
        (false, _) if of.plus => ("+", ""),
        (false, _) if of.space => (" ", ""),
        _ => ("", ""),
    };
    let room = of.width.saturating_sub(before.len() + after.len());
    match of.zeros && !of.left {
        true => format!("{before}{text:0>room$}{after}"),
        false => padded(&format!("{before}{text}{after}"), of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_and_written() {
        let items = joda("EEE, d MMM yyyy hh:mm:ss.SSS a 'o''clock'").expect("a pattern");
        let micros = 998_449_445_321_000;
        let written = print(&items, micros, None).expect("a text");
        assert_eq!(written, "Wed, 22 Aug 2001 03:04:05.321 AM o'clock");
        assert_eq!(read(&items, &written).expect("a time").local, micros);
        let items = mysql("%Y%m%d %T").expect("a pattern");
        assert_eq!(print(&items, micros, None).as_deref(), Ok("20010822 03:04:05"));
        assert_eq!(read(&items, "20010822 03:04:05").expect("a time").local, 998_449_445_000_000);
        assert!(read(&items, "20010832 03:04:05").is_err());
        assert!(mysql("%D").is_err());
    }
}
