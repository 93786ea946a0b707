//! Lengths of time as people write them: `36 hours`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What [`TimeSpan`]s are in a JSON Schema.
pub(crate) const FORMAT: &str = "time-span";
/// Largest number of units.
const COUNT_MAX: u32 = 1_000;

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan {
    count: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
}

const UNITS: [(Unit, &str, u64); 5] = [
    (Unit::Second, "second", 1),
    (Unit::Minute, "minute", 60),
    (Unit::Hour, "hour", 3_600),
    (Unit::Day, "day", 86_400),
    (Unit::Week, "week", 604_800),
];

impl TimeSpan {
    /// Of one minute.
    pub const MINUTE: Self = Self { count: 1, unit: Unit::Minute };

    /// It in seconds.
    pub fn secs(self) -> u64 {
        let (_, _, secs) = UNITS[self.unit as usize];
        secs * u64::from(self.count)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, name, _) = UNITS[self.unit as usize];
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} {name}{plural}", self.count)
    }
}

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (count, unit) = text.split_once(' ')?;
            let count = count.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count))?;
            let named =
                |(_, name, _): &&(Unit, &str, u64)| unit.strip_suffix('s').unwrap_or(unit) == *name;
            Some(Self { count, unit: UNITS.iter().find(named)?.0 })
        };
        parsed().ok_or_else(|| format!("`{text}` is no length of time, such as `36 hours`"))
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for TimeSpan {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": FORMAT,
            "pattern": "^[1-9][0-9]* (second|minute|hour|day|week)s?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_a_number_and_a_unit() {
        let secs = |text: &str| text.parse::<TimeSpan>().map(TimeSpan::secs);
        for (text, expected) in
            [("36 hours", 129_600), ("1 hour", 3_600), ("90 seconds", 90), ("2 weeks", 1_209_600)]
        {
            assert_eq!(secs(text), Ok(expected));
            assert_eq!(text.parse::<TimeSpan>().expect("a span").to_string(), text);
        }
        for text in ["", "36", "36h", "0 hours", "-1 hours", "1.5 hours", "1 month", "1001 days"] {
            assert!(secs(text).is_err(), "{text}");
        }
        assert_eq!(TimeSpan::MINUTE.secs(), 60);
    }
}
