//! Schedules: `rate(1 day)` and `cron(0 6 1 * ? *)`, in UTC.
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A schedule.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// Again and again after so much time.
    Rate(SignedDuration),
    /// Whenever the clock matches.
    Cron(Box<Cron>),
}

impl Schedule {
    /// Parses an expression; the error says what is wrong with it.
    pub fn parse(expression: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("Parameter ScheduleExpression is not valid: `{expression}` {why}");
        let inner =
            |name: &str| expression.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(rate) = inner("rate") {
            let parts: Vec<&str> = rate.split_whitespace().collect();
            let [number, unit] = parts[..] else { return Err(wrong("needs a number and a unit")) };
            let number: i64 = number
                .parse()
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| wrong("needs a whole number above 0"))?;
            let minutes = match (unit, number) {
                ("minute", 1) => 1,
                ("hour", 1) => 60,
                ("day", 1) => 24 * 60,
                ("minutes", 2..) => number,
                ("hours", 2..) => number.saturating_mul(60),
                ("days", 2..) => number.saturating_mul(24 * 60),
                _ => {
                    return Err(wrong(
                        "needs `minute`, `hour` or `day` after 1, `minutes`, `hours` or `days` after more",
                    ));
                }
            };
            return Ok(Self::Rate(SignedDuration::from_secs(minutes.saturating_mul(60))));
        }
        let cron = inner("cron").ok_or_else(|| wrong("is neither `rate(…)` nor `cron(…)`"))?;
        let fields: Vec<&str> = cron.split_whitespace().collect();
        if fields.len() != 6 {
            return Err(wrong(
                "needs six fields: minutes, hours, day of month, month, day of week, year",
            ));
        }
        if (fields[2] == "?") == (fields[4] == "?") {
            return Err(wrong("needs `?` for one of day of month and day of week"));
        }
        // The weekdays are Quartz's, from 1 for Sunday, and `0/15` is a step.
        let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Required);
        let parser = parser.alternative_weekdays(true).sloppy_ranges(true).build();
        parser
            .parse(&format!("0 {cron}"))
            .map(|cron| Self::Cron(Box::new(cron)))
            .map_err(|e| wrong(&format!("cannot be read: {e}")))
    }

    /// The first time after `from`; rates count from `created`, or, when that is in the future
    /// because the clock was set back since, from a whole number of periods earlier.
    pub fn next_after(
        &self,
        from: Timestamp,
        created: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        match self {
            Self::Rate(every) => {
                let ahead = created.duration_since(now).as_secs().max(0) as u64;
                let periods = ahead.div_ceil(every.as_secs().unsigned_abs()) as i64;
                let back = SignedDuration::from_secs(every.as_secs().checked_mul(periods)?);
                let created = created.checked_sub(back).ok()?;
                let passed = from.duration_since(created).as_secs().max(0) / every.as_secs();
                created
                    .checked_add(SignedDuration::from_secs(
                        every.as_secs().checked_mul(passed + 1)?,
                    ))
                    .ok()
            }
            Self::Cron(cron) => {
                let after = from.to_zoned(TimeZone::UTC);
                cron.find_next_occurrence(&after, false).ok().map(|next| next.timestamp())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn next(expression: &str, from: &str) -> String {
        let from = time(from);
        let next = Schedule::parse(expression).expect("valid").next_after(
            from,
            time("2026-01-01T00:00:30Z"),
            from,
        );
        next.map_or_else(|| "never".to_owned(), |t| t.to_string())
    }

    #[test]
    fn times_are_those_of_the_documentation() {
        // Examples of https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
        assert_eq!(next("cron(0 10 * * ? *)", "2026-11-25T10:00:00Z"), "2026-11-26T10:00:00Z");
        assert_eq!(next("cron(15 12 * * ? *)", "2026-11-25T10:00:00Z"), "2026-11-25T12:15:00Z");
        assert_eq!(
            next("cron(0 18 ? * MON-FRI *)", "2026-11-27T18:00:00Z"),
            "2026-11-30T18:00:00Z"
        );
        assert_eq!(next("cron(0 8 1 * ? *)", "2026-11-25T10:00:00Z"), "2026-12-01T08:00:00Z");
        assert_eq!(next("cron(0/15 * * * ? *)", "2026-11-25T10:01:00Z"), "2026-11-25T10:15:00Z");
        assert_eq!(
            next("cron(0/5 8-17 ? * MON-FRI *)", "2026-11-25T17:55:00Z"),
            "2026-11-26T08:00:00Z"
        );
        // 1 is Sunday.
        assert_eq!(next("cron(0 9 ? * 1 *)", "2026-11-25T10:00:00Z"), "2026-11-29T09:00:00Z");
        assert_eq!(next("cron(0 9 ? * 2#1 *)", "2026-11-25T10:00:00Z"), "2026-12-07T09:00:00Z");
        assert_eq!(next("cron(0 9 L * ? *)", "2026-11-25T10:00:00Z"), "2026-11-30T09:00:00Z");
        assert_eq!(next("cron(0 9 1 1 ? 2025)", "2026-11-25T10:00:00Z"), "never");
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
        let schedule = Schedule::parse("rate(5 minutes)").expect("valid");
        let next = |now: &str| schedule.next_after(time(now), created, time(now));
        assert_eq!(next("2026-01-01T00:02:00Z"), Some(time("2026-01-01T00:05:30Z")));
        assert_eq!(next("2026-01-02T00:00:30Z"), Some(time("2026-01-02T00:05:30Z")));
        // A rule that is made after the last look does not fire at once.
        let from = time("2026-01-02T00:00:00Z");
        assert_eq!(schedule.next_after(from, created, created), Some(time("2026-01-02T00:05:30Z")));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error =
            |expression: &str| Schedule::parse(expression).map(|_| ()).expect_err("refused");
        assert!(error("rate(1 days)").contains("`minute`, `hour` or `day` after 1"));
        assert!(
            error("rate(0 days)").contains("above 0")
                && error("rate(5)").contains("a number and a unit")
        );
        assert!(
            error("cron(0 10 * * *)").contains("six fields")
                && error("cron(0 10 * * * *)").contains("needs `?`")
        );
        assert!(
            error("cron(0 25 * * ? *)").contains("cannot be read")
                && error("daily").contains("neither")
        );
    }
}
