//! When something begins by itself: `rate(1 day)` and `cron(0 6 1 * ? *)`, in UTC.
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>
//!
//! Only what EventBridge documents is a schedule. The library that finds the times reads more, and
//! some of it otherwise: every second year begins in its year 1, `L` alone is no weekday, and names
//! are numbers in any field. So it is handed numbers only.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What [`Schedule`]s are in a JSON Schema.
pub(crate) const FORMAT: &str = "schedule";
/// Longest expression, in characters.
const LENGTH_MAX: usize = 256;

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(inline, extend("format" = FORMAT))]
pub struct Schedule {
    expression: String,
    times: Times,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Times {
    /// Again and again after so much time.
    Every(SignedDuration),
    /// Whenever the clock matches.
    At(Box<Cron>),
}

impl Schedule {
    /// The first time after `from`; rates count from `created`, or, when that is in the future
    /// because the clock was set back since, from a whole number of periods earlier.
    pub fn next_after(
        &self,
        from: Timestamp,
        created: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.next_in(TimeZone::UTC, from, created, now)
    }

    /// The same where the clock shows the time of another zone.
    pub fn next_in(
        &self,
        zone: TimeZone,
        from: Timestamp,
        created: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        match &self.times {
            Times::Every(period) => {
                let ahead = created.duration_since(now).as_secs().max(0) as u64;
                let periods = ahead.div_ceil(period.as_secs().unsigned_abs()) as i64;
                let back = SignedDuration::from_secs(period.as_secs().checked_mul(periods)?);
                let created = created.checked_sub(back).ok()?;
                let passed = from.duration_since(created).as_secs().max(0) / period.as_secs();
                let next = period.as_secs().checked_mul(passed + 1)?;
                created.checked_add(SignedDuration::from_secs(next)).ok()
            }
            Times::At(cron) => {
                let after = from.to_zoned(zone);
                cron.find_next_occurrence(&after, false).ok().map(|next| next.timestamp())
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expression)
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.expression
    }
}

impl TryFrom<String> for Schedule {
    type Error = String;

    fn try_from(expression: String) -> Result<Self, String> {
        let inner =
            |name: &str| expression.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        let times = match (inner("rate"), inner("cron")) {
            _ if expression.len() > LENGTH_MAX => {
                return Err(format!("is longer than {LENGTH_MAX} characters"));
            }
            (Some(rate), _) => Times::Every(period(rate)?),
            (_, Some(cron)) => Times::At(Box::new(times(cron)?)),
            _ => return Err("is neither `rate(…)` nor `cron(…)`".to_owned()),
        };
        Ok(Self { expression, times })
    }
}

/// The error goes on after the expression: `needs six fields`.
impl FromStr for Schedule {
    type Err = String;

    fn from_str(expression: &str) -> Result<Self, String> {
        expression.to_owned().try_into()
    }
}

/// What `rate(…)` says.
fn period(rate: &str) -> Result<SignedDuration, String> {
    let Some((number, unit)) = rate.split_once(' ') else {
        return Err("needs a number and a unit, as in `rate(12 hours)`".to_owned());
    };
    let number = digits(number).filter(|_| !number.starts_with('0')).unwrap_or(0);
    let minutes = match (number, unit) {
        (1, "minute") | (2.., "minutes") => 1,
        (1, "hour") | (2.., "hours") => 60,
        (1, "day") | (2.., "days") => 24 * 60,
        _ => {
            let needs = "needs a whole number and a unit that agrees with it, as in `rate(1 day)`";
            return Err(needs.to_owned());
        }
    };
    Ok(SignedDuration::from_mins(i64::from(number) * minutes))
}

/// A number without a sign.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// What `cron(…)` says.
fn times(cron: &str) -> Result<Cron, String> {
    const EXAMPLE: &str = "as in `cron(0 6 1 * ? *)`";
    let given: Vec<&str> = cron.split(' ').collect();
    if given.len() != FIELDS.len() {
        let names = FIELDS.map(|field| field.name).join(", ");
        return Err(format!("needs six fields: {names}, {EXAMPLE}"));
    }
    if (given[2] == "?") == (given[4] == "?") {
        return Err(format!("needs `?` for one of day of month and day of week, {EXAMPLE}"));
    }
    let mut pattern = "0".to_owned();
    for (field, text) in FIELDS.iter().zip(given) {
        let Field { name, first, last, names, wildcards } = field;
        let read = field.read(text).ok_or_else(|| {
            let words = match (names.first(), names.last()) {
                (Some(first), Some(last)) => format!(" or {first}-{last}"),
                _ => String::new(),
            };
            format!("has `{text}` as {name}: {first}-{last}{words} with `{wildcards}`, {EXAMPLE}")
        })?;
        pattern.push(' ');
        pattern.push_str(&read);
    }
    let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Required);
    // The weekdays are Quartz's, from 1 for Sunday.
    let parser = parser.alternative_weekdays(true).build();
    parser.parse(&pattern).map_err(|error| format!("cannot be read: {error}"))
}

/// A field of `cron(…)`.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    /// Names of the values.
    names: &'static [&'static str],
    /// As they are documented.
    wildcards: &'static str,
}

const MONTHS: &[&str] =
    &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const FIELDS: [Field; 6] = [
    Field { name: "minutes", first: 0, last: 59, names: &[], wildcards: ", - * /" },
    Field { name: "hours", first: 0, last: 23, names: &[], wildcards: ", - * /" },
    Field { name: "day of month", first: 1, last: 31, names: &[], wildcards: ", - * ? / L W" },
    Field { name: "month", first: 1, last: 12, names: MONTHS, wildcards: ", - * /" },
    Field { name: "day of week", first: 1, last: 7, names: WEEKDAYS, wildcards: ", - * ? L #" },
    Field { name: "year", first: 1970, last: 2199, names: &[], wildcards: ", - * /" },
];

impl Field {
    /// It as the library reads it.
    fn read(&self, text: &str) -> Option<String> {
        let has = |wildcard: char| self.wildcards.contains(wildcard);
        let special = |wildcard: char| text.split_once(wildcard).filter(|_| has(wildcard));
        if text == "?" && has('?') {
            return Some("*".to_owned());
        }
        // The last day of the month, the last of the week, and the month's last of a weekday.
        if let Some((day, "")) = special('L') {
            return match (day, self.names) {
                ("", []) => Some("L".to_owned()),
                ("", _) => Some(self.last.to_string()),
                (_, []) => None,
                (day, _) => Some(format!("{}#L", self.value(day)?)),
            };
        }
        if let Some((day, "")) = special('W') {
            return Some(format!("{}W", self.value(day)?));
        }
        if let Some((day, nth)) = special('#') {
            let nth = digits(nth).filter(|nth| (1..=5).contains(nth))?;
            return Some(format!("{}#{nth}", self.value(day)?));
        }
        if text == "*" {
            return Some(format!("{}-{}", self.first, self.last));
        }
        let parts: Option<Vec<String>> = text.split(',').map(|part| self.part(part)).collect();
        Some(parts?.join(","))
    }

    /// A value, a range, or either with a step: a range in any case.
    fn part(&self, part: &str) -> Option<String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) if self.wildcards.contains('/') => (range, Some(step)),
            _ => (part, None),
        };
        let step = step.map(|step| digits(step).filter(|step| (1..=self.last).contains(step)));
        let (first, last) = match (range.split_once('-'), &step) {
            (Some((first, last)), _) => (self.value(first)?, self.value(last)?),
            (None, Some(_)) if range == "*" => (self.first, self.last),
            (None, Some(_)) => (self.value(range)?, self.last),
            (None, None) => (self.value(range)?, self.value(range)?),
        };
        (first <= last).then_some(())?;
        Some(format!("{first}-{last}/{}", step.unwrap_or(Some(1))?))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().zip(self.first..).find(|(name, _)| **name == text);
        let value = named.map(|(_, value)| value).or_else(|| digits(text))?;
        (self.first..=self.last).contains(&value).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn schedule(expression: &str) -> Schedule {
        expression.parse().unwrap_or_else(|error| panic!("`{expression}` {error}"))
    }

    fn next(expression: &str, from: &str) -> String {
        let from = time(from);
        let next = schedule(expression).next_after(from, time("2026-01-01T00:00:30Z"), from);
        next.map_or_else(|| "never".to_owned(), |t| t.to_string())
    }

    #[test]
    fn times_are_those_of_the_documentation() {
        // A Wednesday, and a Friday.
        let (wednesday, friday) = ("2026-11-25T10:00:00Z", "2026-11-27T18:00:00Z");
        for (expression, from, expected) in [
            ("cron(0 10 * * ? *)", wednesday, "2026-11-26T10:00:00Z"),
            ("cron(15 12 * * ? *)", wednesday, "2026-11-25T12:15:00Z"),
            ("cron(0 18 ? * MON-FRI *)", friday, "2026-11-30T18:00:00Z"),
            ("cron(0 8 1 * ? *)", wednesday, "2026-12-01T08:00:00Z"),
            ("cron(0/15 * * * ? *)", "2026-11-25T10:01:00Z", "2026-11-25T10:15:00Z"),
            ("cron(0/5 8-17 ? * MON-FRI *)", "2026-11-25T17:55:00Z", "2026-11-26T08:00:00Z"),
            ("cron(1/10 * * * ? *)", "2026-11-25T10:52:00Z", "2026-11-25T11:01:00Z"),
            ("cron(0 9 1 JAN,FEB,MAR ? *)", wednesday, "2027-01-01T09:00:00Z"),
            ("cron(15 10 ? * 6L 2022-2027)", wednesday, "2026-11-27T10:15:00Z"),
            // 1 is Sunday.
            ("cron(0 9 ? * 1 *)", wednesday, "2026-11-29T09:00:00Z"),
            ("cron(0 9 ? * 3#2 *)", wednesday, "2026-12-08T09:00:00Z"),
            ("cron(0 9 ? * MON#1 *)", wednesday, "2026-12-07T09:00:00Z"),
            ("cron(0 9 L * ? *)", wednesday, "2026-11-30T09:00:00Z"),
            // The third of January is a Sunday.
            ("cron(0 9 3W 1 ? *)", wednesday, "2027-01-04T09:00:00Z"),
            ("cron(0 9 1 1 ? 2025)", wednesday, "never"),
            ("cron(0 9 30 2 ? *)", wednesday, "never"),
        ] {
            assert_eq!(next(expression, from), expected, "{expression}");
        }
    }

    #[test]
    fn what_the_library_reads_otherwise_is_read_as_documented() {
        let from = "2026-11-25T10:00:00Z";
        // The last day of the week, and steps that begin where the field does.
        assert_eq!(next("cron(0 9 ? * L *)", from), "2026-11-28T09:00:00Z");
        assert_eq!(next("cron(0 9 1 1 ? */2)", from), "2028-01-01T09:00:00Z");
        assert_eq!(next("cron(0 9 1 1 ? *)", "2199-01-01T09:00:00Z"), "never");
    }

    const NOT_DOCUMENTED: [&str; 6] = [
        "@daily; @daily 6 1 * ? *",
        // Out of range; 0 and 8 are no weekdays, and `*/60` is no step.
        "60 6 1 * ? *; 0 24 1 * ? *; 0 6 0 * ? *; 0 6 32 * ? *; 0 6 1 13 ? *; 0 6 ? * 0 *; \
         0 6 ? * 8 *; 0 6 1 * ? 1969; 0 6 1 * ? 2200; */60 * * * ? *; 0 */24 * * ? *; \
         0/0 6 1 * ? *; +5 6 1 * ? *",
        // Ranges that go backwards or have no end, and empty parts.
        "0 22-2 1 * ? *; 0 6 ? * SAT-SUN *; 0 6 ? * FRI-MON *; -5 6 1 * ? *; 5- 6 1 * ? *; \
         0, 6 1 * ? *; 0,,5 6 1 * ? *; /5 6 1 * ? *; 5/ 6 1 * ? *; *,5 6 1 * ? *; *-5 6 1 * ? *; \
         0/5/5 6 1 * ? *",
        // Names elsewhere, misspelt, or beside digits.
        "0 6 1 MON ? *; 0 6 ? * JAN *; JAN 6 1 * ? *; 0 6 1 1JAN ? *; 0 6 ? * MONDAY *; \
         0 6 ? * mon *",
        // Wildcards where there are none.
        "? 6 1 * ? *; 0 6 1 ? ? *; L 6 1 * ? *; 0 6 1 L ? *; 0 6 1 * ? L; 0 6 5L * ? *; \
         0 6 ? * 2W *; 0 6 1#2 * ? *; 0 6 ? * 2/2 *; 0 6 ? * */2 *; 0 6 ? * +2 *",
        // Two at once, or one without its number.
        "0 6 1W,2 * ? *; 0 6 1,L * ? *; 0 6 L-3 * ? *; 0 6 LW * ? *; 0 6 W * ? *; 0 6 ?,1 * ? *; \
         0 6 ? * 3#1,6#3 *; 0 6 ? * 3#6 *; 0 6 ? * 3#0 *; 0 6 ? * 3# *; 0 6 ? * MON-FRI#1 *",
    ];

    #[test]
    fn what_is_not_documented_is_refused() {
        let blanks = ["0  6 1 * ? *", "0 6 1 * ? *\n", " 0 6 1 * ? *"];
        for cron in NOT_DOCUMENTED.iter().flat_map(|some| some.split("; ")).chain(blanks) {
            let error = format!("cron({cron})").parse::<Schedule>().expect_err(cron);
            assert!(error.contains("as in `cron(0 6 1 * ? *)`"), "{cron}: {error}");
        }
        let rates = "0 days; 05 days; -1 days; +5 days; 1.5 days; 1 days; 2 day; 5 weeks; 5  days; \
                     5 days 1; 4294967296 days";
        for rate in rates.split("; ") {
            let error = format!("rate({rate})").parse::<Schedule>().expect_err(rate);
            assert!(error.contains("as in `rate(1 day)`"), "{rate}: {error}");
        }
        let long = format!("cron({}0 6 1 * ? *)", "0,".repeat(126));
        assert_eq!(long.parse::<Schedule>(), Err("is longer than 256 characters".to_owned()));
        for other in ["daily", "at(2026-11-25T10:00:00)", "Rate(1 day)", "cron(", ""] {
            let error = other.parse::<Schedule>().expect_err(other);
            assert_eq!(error, "is neither `rate(…)` nor `cron(…)`", "{other}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |expression: &str| expression.parse::<Schedule>().expect_err("refused");
        assert!(error("rate(5)").contains("a number and a unit"));
        assert!(error("cron(0 10 * * *)").contains("six fields: minutes, hours, day of month"));
        assert!(error("cron(0 10 * * * *)").contains("needs `?`"));
        assert_eq!(
            error("cron(0 9 ? * MOO *)"),
            "has `MOO` as day of week: 1-7 or SUN-SAT with `, - * ? L #`, \
             as in `cron(0 6 1 * ? *)`"
        );
    }

    #[test]
    fn rates_count_from_the_rules_creation() {
        assert_eq!(next("rate(1 day)", "2026-01-01T00:00:30Z"), "2026-01-02T00:00:30Z");
        assert_eq!(next("rate(5 minutes)", "2026-01-01T00:07:00Z"), "2026-01-01T00:10:30Z");
        assert_eq!(next("rate(2 hours)", "2026-01-01T02:00:30Z"), "2026-01-01T04:00:30Z");
    }

    #[test]
    fn rates_go_on_when_the_clock_was_set_back() {
        let created = time("2026-01-02T00:00:30Z");
        let schedule = schedule("rate(5 minutes)");
        let next = |now: &str| schedule.next_after(time(now), created, time(now));
        assert_eq!(next("2026-01-01T00:02:00Z"), Some(time("2026-01-01T00:05:30Z")));
        assert_eq!(next("2026-01-02T00:00:30Z"), Some(time("2026-01-02T00:05:30Z")));
        // A rule that is made after the last look does not fire at once.
        let from = time("2026-01-02T00:00:00Z");
        assert_eq!(schedule.next_after(from, created, created), Some(time("2026-01-02T00:05:30Z")));
    }

    #[test]
    fn a_schedule_is_written_as_it_was_read() {
        let text = "\"cron(0 6 1 * ? *)\"";
        let schedule: Schedule = serde_json::from_str(text).expect("a schedule");
        assert_eq!(serde_json::to_string(&schedule).expect("JSON"), text);
        assert_eq!(schedule.to_string(), "cron(0 6 1 * ? *)");
    }
}
