//! Periods as whole numbers: the unit in which series, gaps and seasons are
//! counted.
//!
//! A period is the number of periods since the start of the calendar that its frequency counts in:
//! years since year 0, quarters and months since January of year 0, weeks, weekdays, days, hours
//! and half hours since 1969-12-29 or 1970-01-01. Where only some days have values, such as trading
//! days, a period is the place of its day among those days. Times are local or UTC as the data have
//! them; nothing here shifts them.

mod names;

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime, date};
use serde::{Deserialize, Serialize};
use steppe_spec::Frequency;

pub(crate) use names::{moment as moment_of_text, of_days as moment_of_days};

/// 1970-01-01 was a Thursday; weeks are counted from the Monday before.
const EPOCH: Date = date(1970, 1, 1);
/// Days from that Monday to [`EPOCH`].
const EPOCH_WEEKDAY: i64 = 3;

/// Periods with names: a frequency, and what the data say about its days.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Calendar {
    frequency: Frequency,
    /// Weekday by which weeks are named, 0 for Monday; only of weeks.
    #[serde(default, skip_serializing_if = "is_zero")]
    week_day: i64,
    /// The days with values, as days since [`EPOCH`], ascending; only of observed days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    days: Vec<i64>,
    /// Holidays, as days since [`EPOCH`]. Those after the observed days have no values; where
    /// periods do not depend on the data they are days like others, of which models may know.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    holidays: BTreeSet<i64>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A weekday counts as one on which there are values when it has at least this share of the values
/// of the commonest weekday: special sessions on a Saturday make no trading day of it.
const WEEKDAY_SHARE: f64 = 0.5;

impl Calendar {
    /// The calendar of `frequency` in which every period has values; weeks are named by Mondays.
    pub fn of(frequency: Frequency) -> Self {
        Self { frequency, ..Self::default() }
    }

    /// The calendar of the days that `moments` name, with `holidays`.
    ///
    /// Weeks are named by the weekday that the first moment has; of observed days there are exactly
    /// those of the moments, and later ones on the same weekdays that are no holidays.
    pub fn observed(
        frequency: Frequency,
        moments: impl IntoIterator<Item = DateTime>,
        holidays: &[Date],
    ) -> Self {
        let mut calendar = Self::of(frequency).with_holidays(holidays);
        let mut days = moments.into_iter().map(|moment| days_between(EPOCH, moment.date()));
        match frequency {
            Frequency::Weekly => {
                calendar.week_day = days.next().map_or(0, weekday);
            }
            Frequency::ObservedDays => {
                let days: BTreeSet<i64> = days.collect();
                calendar.days = days.into_iter().collect();
            }
            _ => {}
        }
        calendar
    }

    /// The same with these holidays, whatever it had.
    #[must_use]
    pub fn with_holidays(mut self, holidays: &[Date]) -> Self {
        self.holidays = holidays.iter().map(|day| days_between(EPOCH, *day)).collect();
        self
    }

    /// The holidays, ascending.
    pub fn holidays(&self) -> impl ExactSizeIterator<Item = Date> {
        self.holidays.iter().map(|day| add_days(EPOCH, *day))
    }

    /// How often there is a value.
    pub fn frequency(&self) -> Frequency {
        self.frequency
    }

    /// The period that `text` names; `None` when it names none or lies inside of one.
    pub fn parse(&self, text: &str) -> Option<i64> {
        self.period(names::moment(self.frequency, text)?)
    }

    /// The period that is named by `moment`, its beginning or its last day.
    pub fn period(&self, moment: DateTime) -> Option<i64> {
        let (day, clock) = (moment.date(), moment.time());
        if clock.subsec_nanosecond() != 0 {
            return None;
        }
        let seconds = i64::from(clock.hour()) * 3_600
            + i64::from(clock.minute()) * 60
            + i64::from(clock.second());
        let days = days_between(EPOCH, day);
        match self.frequency {
            Frequency::Hourly => {
                return (seconds % 3_600 == 0).then_some(days * 24 + seconds / 3_600);
            }
            Frequency::HalfHourly => {
                return (seconds % 1_800 == 0).then_some(days * 48 + seconds / 1_800);
            }
            _ if seconds != 0 => return None,
            _ => {}
        }
        let (year, month) = (i64::from(day.year()), i64::from(day.month()) - 1);
        let month_named = day.day() == 1 || day == day.last_of_month();
        match self.frequency {
            Frequency::Yearly => {
                let named = day.day_of_year() == 1 || day == day.last_of_year();
                named.then_some(year)
            }
            Frequency::Quarterly => {
                let first = day.day() == 1 && month % 3 == 0;
                let last = day == day.last_of_month() && month % 3 == 2;
                (first || last).then_some(year * 4 + month / 3)
            }
            Frequency::Monthly => month_named.then_some(year * 12 + month),
            Frequency::Weekly => (weekday(days) == self.week_day).then_some(week(days)),
            Frequency::Weekdays => (weekday(days) < 5).then_some(week(days) * 5 + weekday(days)),
            Frequency::ObservedDays => self.place(days),
            _ => Some(days),
        }
    }

    /// What people call `period`; [`Calendar::parse`] reads it back.
    pub fn label(&self, period: i64) -> String {
        let clock = |hour: i64, minute: i64| format!("{}T{hour:02}:{minute:02}", self.day(period));
        match self.frequency {
            Frequency::Yearly => format!("{period:04}"),
            Frequency::Quarterly => {
                format!("{:04}-Q{}", period.div_euclid(4), period.rem_euclid(4) + 1)
            }
            Frequency::Monthly => {
                format!("{:04}-{:02}", period.div_euclid(12), period.rem_euclid(12) + 1)
            }
            Frequency::Hourly => clock(period.rem_euclid(24), 0),
            Frequency::HalfHourly => {
                let half = period.rem_euclid(48);
                clock(half / 2, half % 2 * 30)
            }
            _ => self.day(period).to_string(),
        }
    }

    /// The day of `period`: its first one, or the one that names a week.
    pub fn day(&self, period: i64) -> Date {
        let first_of_month = |months: i64| {
            // As in `add_days`: no period of real data is beyond.
            let months = months.clamp(-MONTHS_MAX, MONTHS_MAX);
            date(months.div_euclid(12) as i16, months.rem_euclid(12) as i8 + 1, 1)
        };
        match self.frequency {
            Frequency::Yearly => first_of_month(period.saturating_mul(12)),
            Frequency::Quarterly => first_of_month(period.saturating_mul(3)),
            Frequency::Monthly => first_of_month(period),
            _ => add_days(EPOCH, self.day_number(period)),
        }
    }

    /// The same as days since [`EPOCH`].
    fn day_number(&self, period: i64) -> i64 {
        match self.frequency {
            Frequency::Yearly | Frequency::Quarterly | Frequency::Monthly => {
                days_between(EPOCH, self.day(period))
            }
            Frequency::Weekly => period * 7 - EPOCH_WEEKDAY + self.week_day,
            Frequency::Daily => period,
            Frequency::Weekdays => period.div_euclid(5) * 7 + period.rem_euclid(5) - EPOCH_WEEKDAY,
            Frequency::ObservedDays => self.day_at(period),
            Frequency::Hourly => period.div_euclid(24),
            Frequency::HalfHourly => period.div_euclid(48),
        }
    }

    /// What days a period consists of; an hour, of the day that it lies in.
    pub fn days(&self, period: i64) -> Days {
        let named = self.day_number(period);
        let (first, count) = match self.frequency {
            Frequency::Yearly | Frequency::Quarterly | Frequency::Monthly => {
                (named, self.day_number(period + 1) - named)
            }
            Frequency::Weekly => (named - self.week_day, 7),
            _ => (named, 1),
        };
        let mut weekdays = [0.0; 7];
        (first..first + count).for_each(|day| weekdays[weekday(day) as usize] += 1.0);
        let holidays = self.holidays.range(first..first + count).count() as f64;
        Days { weekdays, holidays, of_year: first as f64 / DAYS_OF_YEAR }
    }

    /// A name as this calendar expects it.
    pub fn example(&self) -> String {
        match self.frequency {
            Frequency::ObservedDays => self.label(0),
            Frequency::Weekly => {
                let first = days_between(EPOCH, date(2024, 1, 1)) + self.week_day;
                self.label(week(first))
            }
            _ => self
                .period(date(2024, 1, 1).at(0, 0, 0, 0))
                .map_or_else(|| self.label(0), |period| self.label(period)),
        }
    }

    /// What is expected of a name, for messages.
    pub fn expected(&self) -> String {
        match self.frequency {
            Frequency::Weekly => {
                let day = WEEKDAYS[self.week_day.rem_euclid(7) as usize];
                format!("a {day}, as the first week of the data")
            }
            Frequency::Weekdays => "a day from Monday to Friday".to_owned(),
            Frequency::ObservedDays => "a day on which the data have values, or one of the \
                                        weekdays after them"
                .to_owned(),
            frequency => format!("a {} period", frequency.name()),
        }
    }

    /// Checks a calendar that was read.
    pub fn check(&self) -> Result<(), String> {
        let observed = self.frequency == Frequency::ObservedDays;
        if !self.days.is_sorted_by(|a, b| a < b) || observed == self.days.is_empty() {
            return Err("the calendar's days are not ascending".to_owned());
        }
        let reach = |day: &i64| day.abs() <= DAYS_MAX;
        if !self.days.iter().chain(&self.holidays).all(reach) || !(0..7).contains(&self.week_day) {
            return Err("the calendar's days are beyond the years 0 to 9999".to_owned());
        }
        Ok(())
    }

    /// Place of `day` among the observed days and those that come after them.
    fn place(&self, day: i64) -> Option<i64> {
        let last = *self.days.last()?;
        if day <= last {
            return self.days.binary_search(&day).ok().map(|place| place as i64);
        }
        // A date in a request may be any; the next ones are counted one by one.
        if day > last + AHEAD_DAYS_MAX {
            return None;
        }
        let open = self.open_weekdays();
        let later = (last + 1..=day).filter(|d| self.is_open(*d, &open)).count() as i64;
        self.is_open(day, &open).then_some(self.days.len() as i64 - 1 + later)
    }

    /// The day at `place`; before the first observed day, days are counted back one by one.
    fn day_at(&self, place: i64) -> i64 {
        let known = self.days.len() as i64;
        let (first, last) = match (self.days.first(), self.days.last()) {
            (Some(first), Some(last)) => (*first, *last),
            _ => return place,
        };
        if place < 0 {
            return first + place;
        }
        if place < known {
            return self.days[place as usize];
        }
        let open = self.open_weekdays();
        let later = (last + 1..=last + AHEAD_DAYS_MAX).filter(|day| self.is_open(*day, &open));
        later.into_iter().nth((place - known) as usize).unwrap_or(last + AHEAD_DAYS_MAX)
    }

    fn is_open(&self, day: i64, weekdays: &[bool; 7]) -> bool {
        weekdays[weekday(day) as usize] && !self.holidays.contains(&day)
    }

    /// The weekdays on which there are values.
    fn open_weekdays(&self) -> [bool; 7] {
        let mut counts = [0.0f64; 7];
        self.days.iter().for_each(|day| counts[weekday(*day) as usize] += 1.0);
        let most = counts.iter().copied().fold(0.0, f64::max);
        counts.map(|count| count > 0.0 && count >= WEEKDAY_SHARE * most)
    }
}

/// The days of a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Days {
    /// How many there are of each weekday, Monday first.
    pub weekdays: [f64; 7],
    /// How many of them are holidays.
    pub holidays: f64,
    /// Years from 1970 to the first of them; its fraction is the place in the year.
    pub of_year: f64,
}

/// Mean length of a year in days.
const DAYS_OF_YEAR: f64 = 365.2425;
/// Days after the newest observed one that have a place: four years.
const AHEAD_DAYS_MAX: i64 = 1_500;
/// Days from 1970 to the ends of the calendar.
const DAYS_MAX: i64 = 3_000_000;
/// Months from year 0 to the ends of the calendar.
const MONTHS_MAX: i64 = 12 * 9_999;
const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Weekday of a day since [`EPOCH`], 0 for Monday.
fn weekday(day: i64) -> i64 {
    (day + EPOCH_WEEKDAY).rem_euclid(7)
}

/// Weeks from the Monday before [`EPOCH`] to a day since [`EPOCH`].
fn week(day: i64) -> i64 {
    (day + EPOCH_WEEKDAY).div_euclid(7)
}

/// Where `period` stands in a season of `length` periods, in `0..length`.
pub fn phase(period: i64, length: usize) -> usize {
    period.rem_euclid(length as i64) as usize
}

fn days_between(from: Date, to: Date) -> i64 {
    (to - from).get_days().into()
}

fn add_days(from: Date, days: i64) -> Date {
    // Saturates at the ends of the calendar, years −9999 and 9999; no period of real data is there.
    from.saturating_add(jiff::Span::new().days(days.clamp(-DAYS_MAX, DAYS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(frequency: Frequency) -> Calendar {
        let days = [date(2017, 12, 28), date(2017, 12, 29)].map(|d| d.at(0, 0, 0, 0));
        match frequency {
            Frequency::ObservedDays => Calendar::observed(frequency, days, &[]),
            frequency => Calendar::of(frequency),
        }
    }

    #[test]
    fn labels_and_periods_are_inverse_for_every_frequency() {
        for frequency in Frequency::ALL {
            let (calendar, reach) = (of(frequency), 9_000 * (frequency as i64 + 1).pow(3));
            for period in [0i64, 1, 7, 200, 2023, 20_000, 300_000] {
                let period = match frequency {
                    Frequency::ObservedDays => period.min(200),
                    _ => period % reach,
                };
                let label = calendar.label(period);
                assert_eq!(calendar.parse(&label), Some(period), "{} {label}", frequency.name());
                let day = calendar.period(calendar.day(period).at(0, 0, 0, 0));
                let hours = matches!(frequency, Frequency::Hourly | Frequency::HalfHourly);
                assert!(hours || day == Some(period), "{} {label}", frequency.name());
                assert!(!hours || label.starts_with(&calendar.day(period).to_string()), "{label}");
            }
        }
    }

    #[test]
    fn a_time_inside_of_a_period_or_with_a_zone_is_refused() {
        let parse = |frequency, text| of(frequency).parse(text);
        let half = of(Frequency::HalfHourly);
        assert_eq!(parse(Frequency::Hourly, "2023-11-06T05:30"), None);
        let read = half.parse("2023-11-06 05:30:00").expect("a time");
        assert_eq!(half.label(read), "2023-11-06T05:30");
        assert_eq!(parse(Frequency::Hourly, "2023-11-06T05:00:00Z"), None);
        assert_eq!(parse(Frequency::Hourly, "2023-11-06T05:00:00+02:00"), None);
        assert_eq!(parse(Frequency::Weekly, "2023-11-07"), None);
        assert_eq!(parse(Frequency::Yearly, "2023-05-01"), None);
        assert_eq!(parse(Frequency::Monthly, "2023-11-15"), None);
        assert_eq!(parse(Frequency::Quarterly, "2023-11-30"), None);
    }

    #[test]
    fn hours_of_a_day_and_a_week_have_phases() {
        let monday = of(Frequency::Hourly).parse("1970-01-05T00:00").expect("a time");
        assert_eq!((phase(monday, 24), phase(monday + 30, 24)), (0, 6));
        assert_eq!(phase(monday, 168), phase(monday + 168, 168));
    }

    #[test]
    fn weeks_are_named_by_the_weekday_that_the_data_use() {
        let sundays = [date(2023, 11, 5)].map(|d| d.at(0, 0, 0, 0));
        let calendar = Calendar::observed(Frequency::Weekly, sundays, &[]);
        let week = calendar.parse("2023-11-12").expect("a Sunday");
        assert_eq!(calendar.label(week + 1), "2023-11-19");
        assert_eq!(calendar.parse("2023-11-13"), None);
        assert_eq!(calendar.expected(), "a Sunday, as the first week of the data");
        assert!(calendar.parse(&calendar.example()).is_some());
    }

    #[test]
    fn periods_know_their_weekdays_and_holidays() {
        let holidays = [date(2024, 2, 29), date(2024, 12, 25)];
        let days = |frequency, text: &str| {
            let calendar = of(frequency).with_holidays(&holidays);
            calendar.days(calendar.parse(text).expect("a period"))
        };
        let february = days(Frequency::Monthly, "2024-02");
        assert_eq!((february.weekdays, february.holidays), ([4., 4., 4., 5., 4., 4., 4.], 1.0));
        let year = days(Frequency::Yearly, "2024");
        assert_eq!((year.weekdays.iter().sum::<f64>(), year.holidays), (366.0, 2.0));
        let week = days(Frequency::Weekly, "2024-12-23");
        assert_eq!((week.weekdays, week.holidays), ([1.0; 7], 1.0));
        for (text, holiday) in [("2024-12-25T23:00", 1.0), ("2024-12-26T00:00", 0.0)] {
            assert_eq!(days(Frequency::Hourly, text).holidays, holiday);
        }
        let thursday = days(Frequency::Daily, "2024-02-29");
        assert_eq!((thursday.weekdays[3], thursday.holidays), (1.0, 1.0));
        let next = days(Frequency::Daily, "2025-02-28").of_year - thursday.of_year;
        assert!((next - 1.0).abs() < 0.001, "{next}");
    }

    #[test]
    fn weekdays_have_no_weekends() {
        let calendar = of(Frequency::Weekdays);
        let friday = calendar.parse("2017-12-29").expect("a Friday");
        assert_eq!(calendar.label(friday + 1), "2018-01-01");
        assert_eq!(calendar.parse("2017-12-30"), None);
        assert_eq!(calendar.label(calendar.parse("1960-02-29").expect("a Monday")), "1960-02-29");
    }

    #[test]
    fn observed_days_are_those_of_the_data_and_go_on_with_their_weekdays() {
        // Two weeks with a holiday, and one special session on a Saturday.
        let mut days: Vec<Date> = (11..=29).map(|d| date(2017, 12, d)).collect();
        days.retain(|d| d.weekday().to_monday_zero_offset() < 5 && d.day() != 25);
        days.push(date(2017, 12, 16));
        let moments = days.iter().map(|d| d.at(0, 0, 0, 0));
        let calendar =
            Calendar::observed(Frequency::ObservedDays, moments.clone(), &[date(2018, 1, 1)]);
        let last = calendar.parse("2017-12-29").expect("the last day");
        assert_eq!(last, 14);
        assert_eq!(calendar.label(last + 1), "2018-01-02");
        assert_eq!(calendar.label(last + 5), "2018-01-08", "never a Saturday");
        assert_eq!(calendar.label(calendar.parse("2017-12-22").expect("a day") + 1), "2017-12-26");
        assert_eq!(calendar.parse("2017-12-25"), None);
        let plain = Calendar::observed(Frequency::ObservedDays, moments, &[]);
        assert_eq!(plain.label(last + 1), "2018-01-01", "a Monday, without holidays given");
        let text = serde_json::to_string(&calendar).expect("JSON");
        assert_eq!(serde_json::from_str::<Calendar>(&text).expect("read back"), calendar);
        assert!(calendar.check().is_ok());
        assert!(Calendar::of(Frequency::ObservedDays).check().is_err());
    }
}
