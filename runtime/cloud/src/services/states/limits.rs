//! Limits of data and numbers, as Step Functions has them.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>

use std::time::Duration;

use serde_json::{Map, Value};

use super::interpreter::Failure;

/// Bytes of a state's input, output and result, as JSON.
pub const DATA_BYTES_MAX: usize = 262_144;
/// Bytes of all variables of a scope together.
const VARIABLES_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Seconds of a wait or a timeout.
const SECONDS_MAX: u64 = 99_999_999;

/// Refuses what a state may not take, return or hand on.
pub fn check_data(state: &str, value: &Value) -> Result<(), Failure> {
    check_bytes(state, json_bytes(value))
}

/// The same for data of which the size is known.
pub fn check_bytes(state: &str, bytes: usize) -> Result<(), Failure> {
    if bytes <= DATA_BYTES_MAX {
        return Ok(());
    }
    let cause = format!(
        "The state/task '{state}' returned a result with a size exceeding the maximum number of \
         bytes service limit."
    );
    Err(Failure::new("States.DataLimitExceeded", cause))
}

/// Refuses variables that are too large, alone or together with those that are there.
pub fn check_variables(
    state: &str,
    there: &Map<String, Value>,
    assigned: &Map<String, Value>,
) -> Result<(), Failure> {
    assigned.values().try_for_each(|value| check_data(state, value))?;
    let kept = there.iter().filter(|(name, _)| !assigned.contains_key(*name)).map(|(_, v)| v);
    if kept.chain(assigned.values()).map(json_bytes).sum::<usize>() <= VARIABLES_BYTES_MAX {
        return Ok(());
    }
    let cause = format!("The variables after the state '{state}' exceed the limit of 10 MiB.");
    Err(Failure::new("States.DataLimitExceeded", cause))
}

/// A number of seconds that an expression gave or a definition has; `least` is 0 or 1.
pub fn seconds(value: &Value, field: &str, least: u64) -> Result<Duration, String> {
    // JSONata knows one kind of number, so a whole one may come as 5.0.
    let whole = value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|n| n.fract() == 0.0 && *n >= 0.0)?;
        (number <= SECONDS_MAX as f64).then_some(number as u64)
    });
    match whole.filter(|n| (least..=SECONDS_MAX).contains(n)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(format!(
            "{field} must be a whole number from {least} to {SECONDS_MAX}, but is {value}"
        )),
    }
}

/// Bytes of a value as JSON.
pub fn json_bytes(value: &Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Neither the counter nor a JSON value can fail to be written.
    let written = serde_json::to_writer(&mut counter, value);
    written.map_or(usize::MAX, |()| counter.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_end_at_262144_bytes_of_utf_8() {
        let text = |bytes: usize| Value::from("é".repeat((bytes - 2) / 2));
        assert!(check_data("A", &text(DATA_BYTES_MAX)).is_ok());
        let failure = check_data("A", &text(DATA_BYTES_MAX + 2)).expect_err("too large");
        assert_eq!(failure.error, "States.DataLimitExceeded");
        assert!(failure.cause.starts_with("The state/task 'A' returned a result"));
    }

    #[test]
    fn variables_are_limited_one_by_one_and_together() {
        let large = json!("x".repeat(200_000));
        let many = |n: usize| Map::from_iter((0..n).map(|i| (format!("v{i}"), large.clone())));
        assert!(check_variables("A", &many(52), &Map::new()).is_ok());
        assert!(check_variables("A", &many(52), &many(1)).is_ok());
        assert!(check_variables("A", &many(52), &many(53)).is_err());
        let one = Map::from_iter([("v".to_owned(), json!("x".repeat(300_000)))]);
        assert!(check_variables("A", &Map::new(), &one).is_err());
    }

    #[test]
    fn seconds_are_whole_and_bounded() {
        assert_eq!(seconds(&json!(5), "Seconds", 0), Ok(Duration::from_secs(5)));
        assert_eq!(seconds(&json!(5.0), "Seconds", 0), Ok(Duration::from_secs(5)));
        for wrong in [json!(-1), json!(1e20), json!(1e300), json!(0.5), json!("5"), json!(null)] {
            assert!(seconds(&wrong, "Seconds", 0).is_err(), "{wrong}");
        }
        assert!(seconds(&json!(0), "TimeoutSeconds", 1).is_err());
    }
}
