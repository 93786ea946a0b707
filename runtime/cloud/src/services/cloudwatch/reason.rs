//! Why an alarm has its state, in words and as JSON, as AWS tells it. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::alarm::Alarm;
use super::data::described_dimensions;
use super::evaluation::State;
use crate::kernel::cloud::iso;

/// The reason of a state, by the datapoints of the last periods, the newest first.
pub fn of(
    alarm: &Alarm,
    state: State,
    points: &[Option<f64>],
    end: i64,
    now: Timestamp,
) -> (String, String) {
    let at = |index: usize| {
        let begin = end - alarm.period_secs * (index as i64 + 1);
        Timestamp::from_second(begin).unwrap_or(Timestamp::UNIX_EPOCH)
    };
    let points = points.iter().enumerate();
    let real = points.filter_map(|(index, value)| Some((at(index), (*value)?)));
    let real: Vec<(Timestamp, f64)> = real.take(alarm.periods).collect();
    (words(alarm, state, &real), data(alarm, &real, now))
}

fn words(alarm: &Alarm, state: State, real: &[(Timestamp, f64)]) -> String {
    let rule = alarm.rule();
    let counts =
        |value: f64| rule.comparison.breaches(value, rule.threshold) == (state == State::Alarm);
    let shown: Vec<String> = real
        .iter()
        .filter(|(_, value)| counts(*value))
        .map(|(time, value)| format!("{value:?} ({})", time.strftime("%d/%m/%y %H:%M:%S")))
        .collect();
    let periods = alarm.periods;
    if state == State::InsufficientData {
        let were = if periods == 1 { " was" } else { "s were" };
        return format!("Insufficient Data: {periods} datapoint{were} unknown.");
    }
    if shown.is_empty() {
        let treated = json!(rule.missing);
        let treated = treated.as_str().unwrap_or_default();
        return format!(
            "Threshold Crossed: no datapoints were received for {periods} period(s) and missing \
             datapoints were treated as [{treated}]."
        );
    }
    let were = if shown.len() == 1 { "was" } else { "were" };
    let not = if state == State::Alarm { "" } else { "not " };
    format!(
        "Threshold Crossed: {} out of the last {periods} datapoints [{}] {were} {not}{} the \
         threshold ({:?}).",
        shown.len(),
        shown.join(", "),
        rule.comparison.words(),
        rule.threshold
    )
}

fn data(alarm: &Alarm, real: &[(Timestamp, f64)], now: Timestamp) -> String {
    let recent: Vec<f64> = real.iter().rev().map(|(_, value)| *value).collect();
    let evaluated: Vec<Value> = real
        .iter()
        .map(|(time, value)| json!({ "timestamp": iso(*time), "value": value }))
        .collect();
    let data = json!({
        "version": "1.0", "queryDate": iso(now), "statistic": alarm.statistic,
        "period": alarm.period_secs, "recentDatapoints": recent, "threshold": alarm.threshold,
        "dimensions": described_dimensions(&alarm.metric.dimensions),
        "evaluatedDatapoints": evaluated,
    });
    data.to_string()
}
