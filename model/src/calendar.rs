//! Frequencies, and periods as whole numbers: the unit in which series, gaps and seasons are
//! counted.
//!
//! A period is the number of periods since the start of the calendar that its frequency counts in:
//! years since year 0, quarters and months since January of year 0, weeks, days, hours and half
//! hours since 1970-01-01. Times are local or UTC as the data have them; nothing here shifts them.

use jiff::civil::{Date, DateTime, date};
use serde::{Deserialize, Serialize};

/// How often a series is observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frequency {
    /// Once a year: `2023`.
    #[default]
    Yearly,
    /// Four times a year: `2023-Q4`.
    Quarterly,
    /// Once a month: `2023-11`.
    Monthly,
    /// Once a week, named by its first day, a Monday: `2023-11-06`.
    Weekly,
    /// Once a day: `2023-11-06`.
    Daily,
    /// Once an hour: `2023-11-06T05:00`.
    Hourly,
    /// Twice an hour: `2023-11-06T05:30`.
    HalfHourly,
}

/// 1970-01-01 was a Thursday; weeks are counted from the Monday before.
const FIRST_MONDAY: Date = date(1969, 12, 29);
const EPOCH: Date = date(1970, 1, 1);

impl Frequency {
    /// Every frequency, slowest first.
    pub const ALL: [Self; 7] = [
        Self::Yearly,
        Self::Quarterly,
        Self::Monthly,
        Self::Weekly,
        Self::Daily,
        Self::Hourly,
        Self::HalfHourly,
    ];

    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yearly => "yearly",
            Self::Quarterly => "quarterly",
            Self::Monthly => "monthly",
            Self::Weekly => "weekly",
            Self::Daily => "daily",
            Self::Hourly => "hourly",
            Self::HalfHourly => "half-hourly",
        }
    }

    /// Lengths of its seasons in periods, shortest first: a day and a week for hours.
    ///
    /// The year of weekly data counts as 52 weeks, and daily data have a week but no year: a season
    /// that few histories hold twice cannot be learned from them.
    pub fn seasons(self) -> &'static [usize] {
        match self {
            Self::Yearly => &[],
            Self::Quarterly => &[4],
            Self::Monthly => &[12],
            Self::Weekly => &[52],
            Self::Daily => &[7],
            Self::Hourly => &[24, 168],
            Self::HalfHourly => &[48, 336],
        }
    }

    /// Length of the shortest season; 1 when there is none.
    pub fn season(self) -> usize {
        self.seasons().first().copied().unwrap_or(1)
    }

    /// The period that `text` names; `None` when it names none or lies inside of one.
    pub fn parse(self, text: &str) -> Option<i64> {
        let text = text.trim();
        match self {
            Self::Yearly => {
                text.get(..4).filter(|_| text.len() == 4 || is_new_year(text))?.parse().ok()
            }
            Self::Quarterly => quarter(text).or_else(|| moment(text).and_then(|t| self.of(t))),
            Self::Monthly => month(text).or_else(|| moment(text).and_then(|t| self.of(t))),
            _ => moment(text).and_then(|t| self.of(t)),
        }
    }

    /// The period that begins at `time`; `None` when none does.
    pub fn of(self, time: DateTime) -> Option<i64> {
        let (day, clock) = (time.date(), time.time());
        let seconds = i64::from(clock.hour()) * 3_600
            + i64::from(clock.minute()) * 60
            + i64::from(clock.second());
        if clock.subsec_nanosecond() != 0 {
            return None;
        }
        let (year, month) = (i64::from(day.year()), i64::from(day.month()) - 1);
        let days = days_between(EPOCH, day);
        let midnight = seconds == 0;
        match self {
            Self::Yearly => (midnight && day.day_of_year() == 1).then_some(year),
            Self::Quarterly => {
                (midnight && day.day() == 1 && month % 3 == 0).then_some(year * 4 + month / 3)
            }
            Self::Monthly => (midnight && day.day() == 1).then_some(year * 12 + month),
            Self::Weekly => {
                let days = days_between(FIRST_MONDAY, day);
                (midnight && days.rem_euclid(7) == 0).then_some(days.div_euclid(7))
            }
            Self::Daily => midnight.then_some(days),
            Self::Hourly => (seconds % 3_600 == 0).then_some(days * 24 + seconds / 3_600),
            Self::HalfHourly => (seconds % 1_800 == 0).then_some(days * 48 + seconds / 1_800),
        }
    }

    /// What people call `period`; [`Frequency::parse`] reads it back.
    pub fn label(self, period: i64) -> String {
        let (day_of, clock_of) = match self {
            Self::Yearly => return format!("{period:04}"),
            Self::Quarterly => {
                return format!("{:04}-Q{}", period.div_euclid(4), period.rem_euclid(4) + 1);
            }
            Self::Monthly => {
                return format!("{:04}-{:02}", period.div_euclid(12), period.rem_euclid(12) + 1);
            }
            Self::Weekly => (add_days(FIRST_MONDAY, period * 7), None),
            Self::Daily => (add_days(EPOCH, period), None),
            Self::Hourly => {
                (add_days(EPOCH, period.div_euclid(24)), Some((period.rem_euclid(24), 0)))
            }
            Self::HalfHourly => {
                let half = period.rem_euclid(48);
                (add_days(EPOCH, period.div_euclid(48)), Some((half / 2, half % 2 * 30)))
            }
        };
        match clock_of {
            None => day_of.to_string(),
            Some((hour, minute)) => format!("{day_of}T{hour:02}:{minute:02}"),
        }
    }
}

/// Where `period` stands in a season of `length` periods, in `0..length`.
pub fn phase(period: i64, length: usize) -> usize {
    period.rem_euclid(length as i64) as usize
}

fn is_new_year(text: &str) -> bool {
    moment(text).is_some_and(|t| Frequency::Yearly.of(t).is_some())
}

fn quarter(text: &str) -> Option<i64> {
    let (year, quarter) = text.split_once("-Q").or_else(|| text.split_once('Q'))?;
    let (year, quarter): (i64, i64) = (year.parse().ok()?, quarter.parse().ok()?);
    (1..=4).contains(&quarter).then_some(year * 4 + quarter - 1)
}

fn month(text: &str) -> Option<i64> {
    let (year, month) = text.split_once('-')?;
    let (year, month): (i64, i64) = (year.parse().ok()?, month.parse().ok()?);
    (1..=12).contains(&month).then_some(year * 12 + month - 1)
}

/// A date, or a date and a time, in ISO 8601; a zone is refused, because it would shift the period.
fn moment(text: &str) -> Option<DateTime> {
    if text.len() == 10 {
        return text.parse::<Date>().ok().map(|d| d.at(0, 0, 0, 0));
    }
    if text.ends_with(['Z', 'z']) || text.get(19..).is_some_and(|rest| rest.contains(['+', '-'])) {
        return None;
    }
    text.parse().ok()
}

fn days_between(from: Date, to: Date) -> i64 {
    (to - from).get_days().into()
}

fn add_days(from: Date, days: i64) -> Date {
    // Saturates at the ends of the calendar, years −9999 and 9999; no period of real data is there.
    from.saturating_add(jiff::Span::new().days(days.clamp(-3_000_000, 3_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_periods_are_inverse_for_every_frequency() {
        for frequency in Frequency::ALL {
            for period in [0i64, 1, 7, 2023, 20_000, 300_000] {
                let period = period % (9_000 * (frequency as i64 + 1).pow(3));
                let label = frequency.label(period);
                assert_eq!(frequency.parse(&label), Some(period), "{} {label}", frequency.name());
            }
        }
    }

    #[test]
    fn a_time_inside_of_a_period_or_with_a_zone_is_refused() {
        assert_eq!(Frequency::Hourly.parse("2023-11-06T05:30"), None);
        assert_eq!(
            Frequency::HalfHourly
                .label(Frequency::HalfHourly.parse("2023-11-06 05:30:00").expect("a time")),
            "2023-11-06T05:30"
        );
        assert_eq!(Frequency::Hourly.parse("2023-11-06T05:00:00Z"), None);
        assert_eq!(Frequency::Hourly.parse("2023-11-06T05:00:00+02:00"), None);
        assert_eq!(Frequency::Weekly.parse("2023-11-07"), None);
        assert_eq!(Frequency::Monthly.parse("2023-13"), None);
        assert_eq!(Frequency::Quarterly.parse("2023Q4"), Some(2023 * 4 + 3));
        assert_eq!(Frequency::Yearly.parse("2023-01-01"), Some(2023));
        assert_eq!(Frequency::Yearly.parse("2023-05-01"), None);
    }

    #[test]
    fn hours_of_a_day_and_a_week_have_phases() {
        let monday = Frequency::Hourly.parse("1970-01-05T00:00").expect("a time");
        assert_eq!((phase(monday, 24), phase(monday + 30, 24)), (0, 6));
        assert_eq!(phase(monday, 168), phase(monday + 168, 168));
    }
}
