//! Moments on the wire: seconds since 1970, ISO 8601, and the dates of HTTP's headers.

use jiff::Timestamp;
use serde_json::Value;

use crate::kernel::cloud::{epoch_secs, iso};

/// The seconds of a moment in any of the forms that AWS's protocols know.
pub fn read(text: &str) -> Option<Value> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    let iso = || text.parse::<Timestamp>().ok();
    let http = || jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp());
    seconds.or_else(|| iso().or_else(http).map(epoch_secs)).map(Value::from)
}

/// A moment that a service answers, as seconds or as a text of ISO 8601.
pub fn of(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => Timestamp::from_millisecond((other.as_f64()? * 1000.0).round() as i64).ok(),
    }
}

/// A moment in the form of this name, or in the protocol's own.
pub fn write(value: &Value, format: Option<&str>, own: Format) -> Value {
    let Some(time) = of(value) else { return value.clone() };
    let format = match format {
        Some("iso8601") => Format::Iso,
        Some("unixTimestamp") => Format::Seconds,
        Some("rfc822") => Format::Http,
        _ => own,
    };
    match format {
        Format::Iso => iso(time).into(),
        Format::Seconds => epoch_secs(time).into(),
        Format::Http => time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string().into(),
    }
}

/// How a moment is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `2026-01-31T12:00:00.123Z`.
    Iso,
    /// Seconds since 1970.
    Seconds,
    /// `Sat, 31 Jan 2026 12:00:00 GMT`.
    Http,
}
