//! Which columns name periods, and how often there is one: by the rules by which models read them.

use std::collections::BTreeSet;

use jiff::civil::{Date, DateTime};
use steppe_model::Calendar;
use steppe_spec::Frequency;

/// The share of the periods between the first and the last that must be there.
const COVERAGE_MIN: f64 = 0.5;
/// The same of weekdays, where days are those that the data have.
const WEEKDAYS_MIN: f64 = 0.995;
/// The share of the values of a weekday that a day of the weekend has at most, where it is none.
const WEEKEND_MAX: f64 = 0.1;
/// Periods that a history has at least.
const PERIODS_MIN: usize = 3;
/// Years that people count in.
const YEARS: std::ops::Range<i64> = 1_500..2_300;

/// The moments of a column as periods.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// How often there is one.
    pub frequency: Frequency,
    /// How many there are.
    pub periods: usize,
    /// The share of all from the first to the last.
    pub coverage: f64,
    /// Whether they are years that are written as days.
    pub is_year_of_day: bool,
    /// Whether every moment is a day without a time of day, or at midnight.
    pub has_clock: bool,
}

/// The periods that these texts name; why not, when they name none.
pub fn of(moments: &[String]) -> Result<Times, String> {
    let texts: Vec<&str> = moments.iter().map(|text| text.trim_end_matches('Z')).collect();
    for frequency in [Frequency::Yearly, Frequency::Quarterly, Frequency::Monthly] {
        let calendar = Calendar::of(frequency);
        let periods = texts.iter().map(|text| calendar.parse(text)).collect::<Option<Vec<_>>>();
        if let Some(found) = periods.and_then(|periods| times(frequency, &periods)) {
            let year = frequency == Frequency::Yearly;
            if year && texts.iter().any(|_| !YEARS.contains(&first(&calendar, &texts))) {
                return Err("its numbers are no years".to_owned());
            }
            let is_year_of_day = year && texts.iter().any(|text| text.len() > 4);
            return Ok(Times { is_year_of_day, has_clock: texts.iter().any(has_clock), ..found });
        }
    }
    // Without its offset a time is another one.
    if texts.iter().any(|text| text.get(11..).is_some_and(|rest| rest.contains(['+', '-']))) {
        return Err("its times have an offset, which is not read: write them in UTC".to_owned());
    }
    let moments = texts.iter().map(|text| moment(text)).collect::<Option<Vec<_>>>();
    let moments = moments.ok_or("its values are not read as times")?;
    let has_clock = texts.iter().any(has_clock);
    by_days(&moments).map(|found| Times { has_clock, ..found }).ok_or_else(|| irregular(&moments))
}

fn first(calendar: &Calendar, texts: &[&str]) -> i64 {
    texts.iter().filter_map(|text| calendar.parse(text)).min().unwrap_or_default()
}

fn has_clock(text: &&str) -> bool {
    text.len() > 10
}

fn moment(text: &str) -> Option<DateTime> {
    match text.len() {
        10 => text.parse::<Date>().ok().map(|day| day.at(0, 0, 0, 0)),
        _ => text.parse().ok(),
    }
}

/// Weeks, days, hours and half hours.
fn by_days(moments: &[DateTime]) -> Option<Times> {
    let read = |frequency| {
        let calendar = Calendar::observed(frequency, moments.iter().copied(), &[]);
        let periods = moments.iter().map(|moment| calendar.period(*moment));
        times(frequency, &periods.collect::<Option<Vec<_>>>()?)
    };
    let week = read(Frequency::Weekly);
    if week.is_some() {
        return week;
    }
    let weekdays = read(Frequency::Weekdays).filter(|found| found.coverage >= WEEKDAYS_MIN);
    if let Some(days) = read(Frequency::Daily) {
        return Some(match weekdays {
            Some(weekdays) => weekdays,
            None if has_no_weekends(moments) => read(Frequency::ObservedDays)?,
            None => days,
        });
    }
    read(Frequency::Hourly).or_else(|| read(Frequency::HalfHourly))
}

/// Whether hardly any moment is on a weekend.
fn has_no_weekends(moments: &[DateTime]) -> bool {
    let weekend =
        moments.iter().filter(|m| m.date().weekday().to_monday_zero_offset() >= 5).count();
    let share = (weekend as f64 / 2.0) / ((moments.len() - weekend) as f64 / 5.0).max(1.0);
    share <= WEEKEND_MAX
}

/// Periods that cover most of their time, each once.
fn times(frequency: Frequency, periods: &[i64]) -> Option<Times> {
    let distinct: BTreeSet<i64> = periods.iter().copied().collect();
    let (first, last) = (*distinct.first()?, *distinct.last()?);
    let coverage = distinct.len() as f64 / (last - first + 1) as f64;
    let fits = distinct.len() == periods.len() && distinct.len() >= PERIODS_MIN;
    (fits && coverage >= COVERAGE_MIN).then_some(Times {
        frequency,
        periods: distinct.len(),
        coverage,
        is_year_of_day: false,
        has_clock: false,
    })
}

/// What keeps moments from being periods.
fn irregular(moments: &[DateTime]) -> String {
    if moments.len() < PERIODS_MIN {
        return format!("it has {} different times; a history has more", moments.len());
    }
    let mut sorted = moments.to_vec();
    sorted.sort_unstable();
    let mut minutes: Vec<i64> =
        sorted.windows(2).map(|pair| pair[0].duration_until(pair[1]).as_secs() / 60).collect();
    minutes.sort_unstable();
    let told = match minutes[minutes.len() / 2] {
        0 => "less than a minute".to_owned(),
        minutes if minutes < 120 => format!("{minutes} minutes"),
        minutes if minutes < 2 * 1_440 => format!("{} hours", minutes / 60),
        minutes => format!("{} days", minutes / 1_440),
    };
    format!(
        "its times are no years, quarters, months, weeks, days, hours or half hours without large \
         gaps: most are {told} apart"
    )
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn texts(found: impl IntoIterator<Item = String>) -> Result<Frequency, String> {
        of(&found.into_iter().collect::<Vec<_>>()).map(|times| times.frequency)
    }

    fn days(step: i64, count: i64, keep: impl Fn(Date) -> bool) -> Vec<String> {
        let first = Date::constant(2024, 1, 1);
        let all = (0..count).map(|n| first + (n * step).days());
        all.filter(|day| keep(*day)).map(|day| day.to_string()).collect()
    }

    #[test]
    fn frequencies_follow_from_the_moments() {
        let weekday = |day: Date| day.weekday().to_monday_zero_offset() < 5;
        assert_eq!(texts((2000..2020).map(|y| y.to_string())), Ok(Frequency::Yearly));
        assert_eq!(texts((2000..2020).map(|y| format!("{y}-12-31"))), Ok(Frequency::Yearly));
        assert_eq!(texts((1..5).map(|q| format!("2020-Q{q}"))), Ok(Frequency::Quarterly));
        assert_eq!(texts((1..13).map(|m| format!("2020{m:02}"))), Ok(Frequency::Monthly));
        assert_eq!(texts((1..13).map(|m| format!("2020-{m:02}-01"))), Ok(Frequency::Monthly));
        assert_eq!(texts(days(7, 20, |_| true)), Ok(Frequency::Weekly));
        assert_eq!(texts(days(1, 60, |_| true)), Ok(Frequency::Daily));
        assert_eq!(texts(days(1, 60, |day| day.day() != 7)), Ok(Frequency::Daily));
        assert_eq!(texts(days(1, 60, weekday)), Ok(Frequency::Weekdays));
        let trading = |day: Date| weekday(day) && day.day() % 13 != 0;
        assert_eq!(texts(days(1, 60, trading)), Ok(Frequency::ObservedDays));
        let hours = (0..24).map(|h| format!("2024-01-01 {h:02}:00:00"));
        assert_eq!(texts(hours), Ok(Frequency::Hourly));
        let halves = (0..24).map(|h| format!("2024-01-01T{h:02}:30Z"));
        assert_eq!(
            texts(halves.chain(["2024-01-02T00:00Z".to_owned()])),
            Ok(Frequency::HalfHourly)
        );
    }

    #[test]
    fn what_is_no_history_is_told() {
        let told = |found: Vec<String>| texts(found).expect_err("none");
        let offset =
            days(1, 30, |_| true).iter().map(|day| format!("{day}T00:00:00+05:00")).collect();
        assert!(told(offset).contains("have an offset"));
        let five = (0..60).map(|n| format!("2024-01-01 {:02}:{:02}:00", n / 12, n % 12 * 5));
        assert!(told(five.collect()).contains("most are 5 minutes apart"));
        assert!(told(days(17, 30, |_| true)).contains("most are 17 days apart"));
        assert!(told(vec!["2024-01-01".to_owned()]).contains("different times"));
        assert!(told((1000..1020).map(|n| n.to_string()).collect()).contains("no years"));
    }
}
