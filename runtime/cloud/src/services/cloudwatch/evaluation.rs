//! What state an alarm has by its datapoints. Pure.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>

use serde::{Deserialize, Serialize};

/// Periods that are looked at beyond those that are evaluated: real datapoints there are better
/// than what missing ones are treated as.
pub const MORE_PERIODS: usize = 2;

/// The state of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// All is well.
    #[serde(rename = "OK")]
    Ok,
    /// It is not.
    #[serde(rename = "ALARM")]
    Alarm,
    /// Nobody knows.
    #[serde(rename = "INSUFFICIENT_DATA")]
    InsufficientData,
}

impl State {
    /// AWS's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }

    /// The state of that word.
    pub fn named(word: &str) -> Option<Self> {
        [Self::Ok, Self::Alarm, Self::InsufficientData].into_iter().find(|s| s.word() == word)
    }
}

/// How a datapoint is compared with the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::enum_variant_names, reason = "the names are AWS's")]
pub enum Comparison {
    /// `>=`
    GreaterThanOrEqualToThreshold,
    /// `>`
    GreaterThanThreshold,
    /// `<`
    LessThanThreshold,
    /// `<=`
    LessThanOrEqualToThreshold,
}

impl Comparison {
    /// Whether a value breaches the threshold.
    pub fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::GreaterThanOrEqualToThreshold => value >= threshold,
            Self::GreaterThanThreshold => value > threshold,
            Self::LessThanThreshold => value < threshold,
            Self::LessThanOrEqualToThreshold => value <= threshold,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::GreaterThanOrEqualToThreshold => "greater than or equal to",
            Self::GreaterThanThreshold => "greater than",
            Self::LessThanThreshold => "less than",
            Self::LessThanOrEqualToThreshold => "less than or equal to",
        }
    }

    /// Whether more data can only take a value further beyond the threshold that it breaches, as
    /// long as it is a sum, a count or a maximum.
    pub fn is_upwards(self) -> bool {
        matches!(self, Self::GreaterThanOrEqualToThreshold | Self::GreaterThanThreshold)
    }
}

/// What a missing datapoint is treated as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::enum_variant_names, reason = "the names are AWS's")]
pub enum Missing {
    /// As missing.
    #[default]
    Missing,
    /// The state stays.
    Ignore,
    /// As one that breaches.
    Breaching,
    /// As one that does not.
    NotBreaching,
}

/// How an alarm judges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Datapoints that are evaluated.
    pub periods: usize,
    /// Of which so many have to breach.
    pub to_alarm: usize,
    /// How they are compared.
    pub comparison: Comparison,
    /// With what.
    pub threshold: f64,
    /// What missing ones are treated as.
    pub missing: Missing,
}

/// The state by the datapoints of the last periods, the newest first; the rule's periods and
/// [`MORE_PERIODS`] of them. Nothing when the state stays.
pub fn evaluate(rule: &Rule, points: &[Option<f64>]) -> Option<State> {
    let real: Vec<f64> = points.iter().flatten().copied().take(rule.periods).collect();
    let breaching =
        real.iter().filter(|value| rule.comparison.breaches(**value, rule.threshold)).count();
    let filled = rule.periods - real.len();
    let alarm_if = |holds: bool| Some(if holds { State::Alarm } else { State::Ok });
    if filled == 0 {
        return alarm_if(breaching >= rule.to_alarm);
    }
    match rule.missing {
        Missing::Missing if real.is_empty() => Some(State::InsufficientData),
        Missing::Missing => alarm_if(breaching >= rule.to_alarm.min(real.len())),
        Missing::Ignore if breaching >= rule.to_alarm => Some(State::Alarm),
        Missing::Ignore if breaching == real.len() => None,
        Missing::Ignore => Some(State::Ok),
        Missing::Breaching => alarm_if(breaching + filled >= rule.to_alarm),
        Missing::NotBreaching => alarm_if(breaching >= rule.to_alarm),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of AWS's tables: the oldest datapoint first, `X` breaches, `0` does not, `-` is
    /// missing; the states when missing ones are missing, ignored, breaching, not breaching.
    fn check(periods: usize, to_alarm: usize, rows: &[(&str, [&str; 4])]) {
        for (points, expected) in rows {
            let points: Vec<Option<f64>> = points
                .split(' ')
                .rev()
                .map(|point| match point {
                    "X" => Some(9.0),
                    "0" => Some(0.0),
                    _ => None,
                })
                .collect();
            let kinds =
                [Missing::Missing, Missing::Ignore, Missing::Breaching, Missing::NotBreaching];
            let states = kinds.map(|missing| {
                let comparison = Comparison::GreaterThanThreshold;
                let rule = Rule { periods, to_alarm, comparison, threshold: 5.0, missing };
                evaluate(&rule, &points).map_or("stays", State::word)
            });
            assert_eq!(states, *expected, "{points:?}");
        }
    }

    #[test]
    fn missing_datapoints_of_three_out_of_three() {
        check(
            3,
            3,
            &[
                ("0 - X - X", ["OK", "OK", "OK", "OK"]),
                ("0 - - - -", ["OK", "OK", "OK", "OK"]),
                ("- - - - -", ["INSUFFICIENT_DATA", "stays", "ALARM", "OK"]),
                ("0 X X - X", ["ALARM", "ALARM", "ALARM", "ALARM"]),
                ("- - X - -", ["ALARM", "stays", "ALARM", "OK"]),
                ("- - - - X", ["ALARM", "stays", "ALARM", "OK"]),
            ],
        );
    }

    #[test]
    fn missing_datapoints_of_two_out_of_three() {
        check(
            3,
            2,
            &[
                ("0 - X - X", ["ALARM", "ALARM", "ALARM", "ALARM"]),
                ("0 0 X 0 X", ["ALARM", "ALARM", "ALARM", "ALARM"]),
                ("0 - X - -", ["OK", "OK", "ALARM", "OK"]),
                ("- - - - 0", ["OK", "OK", "ALARM", "OK"]),
                ("- - - X -", ["ALARM", "stays", "ALARM", "OK"]),
            ],
        );
    }

    #[test]
    fn comparisons_know_the_threshold_itself() {
        use Comparison::*;
        let cases = [
            (GreaterThanOrEqualToThreshold, [false, true, true]),
            (GreaterThanThreshold, [false, false, true]),
            (LessThanThreshold, [true, false, false]),
            (LessThanOrEqualToThreshold, [true, true, false]),
        ];
        for (comparison, expected) in cases {
            assert_eq!([1.0, 2.0, 3.0].map(|value| comparison.breaches(value, 2.0)), expected);
        }
    }
}
