//! Retriers: which failures are tried again, when, and how often.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html>

use std::time::Duration;

use serde_json::Value;

use super::interpreter::Failure;

/// Largest interval and number of attempts.
const NUMBER_MAX: u64 = 99_999_999;
/// Largest `MaxDelaySeconds`: below 366 days.
const DELAY_SECS_MAX: u64 = 31_622_400;

/// What is wrong with the retriers of a state.
pub fn check(retriers: &Value) -> Result<(), String> {
    let Some(retriers) = retriers.as_array() else {
        return if retriers.is_null() { Ok(()) } else { Err("Retry is not an array".to_owned()) };
    };
    check_names(retriers)?;
    retriers.iter().try_for_each(check_one)
}

/// What is wrong with `ErrorEquals` of retriers or catchers.
pub fn check_names(handlers: &[Value]) -> Result<(), String> {
    for (at, handler) in handlers.iter().enumerate() {
        let names = handler["ErrorEquals"].as_array().filter(|names| !names.is_empty());
        let names = names.ok_or("ErrorEquals must be a list of at least one name")?;
        if !names.iter().all(Value::is_string) {
            return Err("ErrorEquals must be a list of texts".to_owned());
        }
        let everything = names.iter().any(|name| name == "States.ALL");
        if everything && (names.len() > 1 || at + 1 < handlers.len()) {
            return Err("States.ALL must stand alone and in the last entry".to_owned());
        }
    }
    Ok(())
}

fn check_one(retrier: &Value) -> Result<(), String> {
    let fields = [
        "Comment",
        "ErrorEquals",
        "IntervalSeconds",
        "MaxAttempts",
        "BackoffRate",
        "MaxDelaySeconds",
        "JitterStrategy",
    ];
    super::definition::check_keys("a retrier", retrier, &fields)?;
    whole(retrier, "IntervalSeconds", 1, NUMBER_MAX)?;
    whole(retrier, "MaxAttempts", 0, NUMBER_MAX)?;
    whole(retrier, "MaxDelaySeconds", 1, DELAY_SECS_MAX)?;
    match &retrier["BackoffRate"] {
        Value::Null => {}
        rate if rate.as_f64().is_some_and(|rate| (1.0..=1e6).contains(&rate)) => {}
        rate => return Err(format!("BackoffRate must be a number from 1.0, but is {rate}")),
    }
    match retrier["JitterStrategy"].as_str() {
        None if retrier["JitterStrategy"].is_null() => Ok(()),
        Some("FULL" | "NONE") => Ok(()),
        _ => Err("JitterStrategy must be FULL or NONE".to_owned()),
    }
}

fn whole(retrier: &Value, field: &str, least: u64, most: u64) -> Result<(), String> {
    match &retrier[field] {
        Value::Null => Ok(()),
        number if number.as_u64().is_some_and(|n| (least..=most).contains(&n)) => Ok(()),
        other => {
            Err(format!("{field} must be a whole number from {least} to {most}, but is {other}"))
        }
    }
}

/// The pause before another attempt; `None` when the failure is not to be retried. `attempts`
/// counts per retrier.
pub fn pause(state: &Value, failure: &Failure, attempts: &mut [u64]) -> Option<Duration> {
    let retriers = state["Retry"].as_array()?;
    let (at, retrier) =
        retriers.iter().enumerate().find(|(_, r)| failure.matches(&r["ErrorEquals"]))?;
    let made = attempts[at];
    if made >= retrier["MaxAttempts"].as_u64().unwrap_or(3) {
        return None;
    }
    attempts[at] += 1;
    let interval = retrier["IntervalSeconds"].as_f64().unwrap_or(1.0);
    let rate = retrier["BackoffRate"].as_f64().unwrap_or(2.0);
    let longest = retrier["MaxDelaySeconds"].as_f64().unwrap_or(NUMBER_MAX as f64);
    let exponent = i32::try_from(made).unwrap_or(i32::MAX);
    let pause = (interval * rate.powi(exponent)).min(longest);
    // Full jitter: anything from nothing to the whole pause.
    let share = if retrier["JitterStrategy"] == "FULL" { fastrand::f64() } else { 1.0 };
    Some(Duration::from_secs_f64(pause * share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn retriers_count_their_own_attempts_and_wait_longer_each_time() {
        let state = json!({ "Retry": [
            { "ErrorEquals": ["A"], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 2 },
            { "ErrorEquals": ["States.ALL"], "MaxAttempts": 1 },
        ] });
        let mut attempts = vec![0, 0];
        let a = Failure::new("A", "");
        let mut next = |failure: &Failure| pause(&state, failure, &mut attempts);
        assert_eq!(next(&a), Some(Duration::from_secs(2)));
        assert_eq!(next(&Failure::new("B", "")), Some(Duration::from_secs(1)));
        assert_eq!(next(&a), Some(Duration::from_secs(6)));
        assert_eq!(next(&a), None);
        assert_eq!(next(&Failure::new("States.Runtime", "")), None);
    }

    #[test]
    fn pauses_stay_finite_however_often_it_was_tried() {
        let state = json!({ "Retry": [{
            "ErrorEquals": ["A"], "IntervalSeconds": 99_999_999, "BackoffRate": 1000.0,
            "MaxAttempts": 99_999_999,
        }] });
        let longest = Duration::from_secs(NUMBER_MAX);
        assert_eq!(pause(&state, &Failure::new("A", ""), &mut [99_999_998]), Some(longest));
    }

    #[test]
    fn numbers_out_of_range_and_unknown_fields_are_refused() {
        let with = |field: &str, value: Value| {
            let mut retrier = json!({ "ErrorEquals": ["A"] });
            retrier[field] = value;
            check(&json!([retrier]))
        };
        assert_eq!(with("IntervalSeconds", json!(1)), Ok(()));
        for (field, value) in [
            ("IntervalSeconds", json!(-1)),
            ("IntervalSeconds", json!(1e25)),
            ("IntervalSeconds", json!(0)),
            ("MaxAttempts", json!(0.5)),
            ("BackoffRate", json!(0.5)),
            ("MaxDelaySeconds", json!(31_622_401)),
            ("JitterStrategy", json!("SOME")),
            ("Interval", json!(1)),
            ("ErrorEquals", json!([])),
            ("ErrorEquals", json!(["States.ALL", "A"])),
        ] {
            assert!(with(field, value.clone()).is_err(), "{field}: {value}");
        }
    }
}
