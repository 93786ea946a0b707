//! How often a series is observed: what the manifest says in two keys, as one value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often there is a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// Whole years, an `int` column.
    #[default]
    Yearly,
    /// `2024-Q1`, or the quarter's first or last day.
    Quarterly,
    /// `2024-01`, or the month's first or last day.
    Monthly,
    /// A day of the week, the same weekday always.
    Weekly,
    /// `2024-01-01`.
    Daily,
    /// `2024-01-01T00:00`.
    Hourly,
    /// `2024-01-01T00:30`.
    HalfHourly,
}

/// Which days have values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DayCalendar {
    /// Every day.
    #[default]
    EveryDay,
    /// Monday to Friday.
    Weekdays,
    /// The days that the data have, such as trading days, and after them their weekdays.
    AsObserved,
}

/// How often a series is observed, days and all.
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
    /// Once a week, named by one of its days, always the same weekday: `2023-11-06`.
    Weekly,
    /// Once a day: `2023-11-06`.
    Daily,
    /// Once a day from Monday to Friday.
    Weekdays,
    /// Once on each of the days that the data have, such as trading days.
    ObservedDays,
    /// Once an hour: `2023-11-06T05:00`.
    Hourly,
    /// Twice an hour: `2023-11-06T05:30`.
    HalfHourly,
}

impl Frequency {
    /// Every frequency, slowest first.
    pub const ALL: [Self; 9] = [
        Self::Yearly,
        Self::Quarterly,
        Self::Monthly,
        Self::Weekly,
        Self::Daily,
        Self::Weekdays,
        Self::ObservedDays,
        Self::Hourly,
        Self::HalfHourly,
    ];

    /// What the two keys of a task say together; which days have values only counts for days.
    pub(super) fn of(spacing: Spacing, calendar: DayCalendar) -> Self {
        let calendar = if spacing == Spacing::Daily { calendar } else { DayCalendar::default() };
        let found = Self::ALL.into_iter().find(|f| f.keys() == (spacing, calendar));
        found.expect("there is a frequency of every spacing, and of days with every calendar")
    }

    /// The keys of a task that say so.
    pub(super) fn keys(self) -> (Spacing, DayCalendar) {
        let every = DayCalendar::EveryDay;
        match self {
            Self::Yearly => (Spacing::Yearly, every),
            Self::Quarterly => (Spacing::Quarterly, every),
            Self::Monthly => (Spacing::Monthly, every),
            Self::Weekly => (Spacing::Weekly, every),
            Self::Daily => (Spacing::Daily, every),
            Self::Weekdays => (Spacing::Daily, DayCalendar::Weekdays),
            Self::ObservedDays => (Spacing::Daily, DayCalendar::AsObserved),
            Self::Hourly => (Spacing::Hourly, every),
            Self::HalfHourly => (Spacing::HalfHourly, every),
        }
    }

    /// Its name in cards and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yearly => "yearly",
            Self::Quarterly => "quarterly",
            Self::Monthly => "monthly",
            Self::Weekly => "weekly",
            Self::Daily => "daily",
            Self::Weekdays => "weekdays",
            Self::ObservedDays => "observed-days",
            Self::Hourly => "hourly",
            Self::HalfHourly => "half-hourly",
        }
    }

    /// Lengths of its seasons in periods, shortest first: a day and a week for hours.
    ///
    /// The year of weekly data counts as 52 weeks, and daily data have a week but no year: a season
    /// that few histories hold twice cannot be learned from them. Observed days have none: after a
    /// holiday the fifth day before is another weekday.
    pub fn seasons(self) -> &'static [usize] {
        match self {
            Self::Yearly | Self::ObservedDays => &[],
            Self::Quarterly => &[4],
            Self::Monthly => &[12],
            Self::Weekly => &[52],
            Self::Daily => &[7],
            Self::Weekdays => &[5],
            Self::Hourly => &[24, 168],
            Self::HalfHourly => &[48, 336],
        }
    }

    /// Length of the shortest season; 1 when there is none.
    pub fn season(self) -> usize {
        self.seasons().first().copied().unwrap_or(1)
    }
}
