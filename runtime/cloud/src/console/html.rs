//! Small pieces that all pages are made of. All text is escaped by `maud`.

use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

use super::links;

/// Bytes of a text that is shown as it is.
const TEXT_BYTES_MAX: usize = 256 * 1024;

/// A part of a page under a heading.
pub fn section(title: &str, body: &Markup) -> Markup {
    html! { section { h2 { (title) } (body) } }
}

/// The same, which is closed at first.
pub fn folded(title: &str, body: &Markup) -> Markup {
    html! { details.fold { summary { h2 { (title) } } (body) } }
}

/// Names and what they are. What is nothing is left out.
pub fn facts(pairs: Vec<(&str, Markup)>) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in pairs {
                @if !value.0.is_empty() { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

/// Text as a piece of a page.
pub fn text(text: &str) -> Markup {
    html! { (text) }
}

/// A text of a value; nothing when there is none.
pub fn of(value: &Value) -> Markup {
    match value {
        Value::Null => PreEscaped(String::new()),
        Value::String(text) => html! { (text) },
        Value::Bool(true) => text("yes"),
        Value::Bool(false) => text("no"),
        other => html! { (other) },
    }
}

/// A link. The address is made by [`links`].
pub fn link(address: &str, words: &str) -> Markup {
    html! { a href=(address) { (words) } }
}

/// A type of CloudFormation, which may go on in the next line.
pub fn type_name(name: &str) -> Markup {
    html! {
        @for (index, part) in name.split("::").enumerate() { @if index > 0 { "::" wbr; } (part) }
    }
}

/// Something by its ARN, as a link where there is a page of it.
pub fn arn(arn: &str) -> Markup {
    match links::of_arn(arn) {
        Some(address) => html! { a href=(address) { (arn) } },
        None => html! { (arn) },
    }
}

/// A status, which is told by its text and not by its colour alone.
pub fn status(status: &str) -> Markup {
    html! { span.status.(kind_of(status)) { (status) } }
}

/// How a status is coloured.
pub fn kind_of(status: &str) -> &'static str {
    let status = status.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| status.contains(part));
    if has(&[
        "FAIL",
        "ERROR",
        "ALARM",
        "TIMED_OUT",
        "TIMEOUT",
        "ABORT",
        "ROLLBACK",
        "DRIFTED",
        "DENIED",
        "MODIFIED",
        "DELETED",
        "CAUGHT",
    ]) {
        "bad"
    } else if has(&["PROGRESS", "RUNNING", "QUEUED", "STARTING", "PENDING", "STOPPING"]) {
        "busy"
    } else if has(&[
        "COMPLETE",
        "SUCCE",
        "OK",
        "ACTIVE",
        "ENABLED",
        "READY",
        "IN_SYNC",
        "ALLOWED",
        "AVAILABLE",
    ]) {
        "good"
    } else {
        "idle"
    }
}

/// A time.
pub fn time(time: Timestamp) -> Markup {
    let text = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    html! { time datetime=(time.strftime("%Y-%m-%dT%H:%M:%SZ")) { (text) } }
}

/// A time that may not have come.
pub fn maybe_time(given: Option<Timestamp>) -> Markup {
    given.map_or_else(|| PreEscaped(String::new()), time)
}

/// A time of an API: seconds since 1970, or text.
pub fn api_time(value: &Value) -> Markup {
    let seconds = value.as_f64().and_then(|s| Timestamp::from_millisecond((s * 1e3) as i64).ok());
    match seconds.or_else(|| value.as_str()?.parse().ok()) {
        Some(known) => time(known),
        None => of(value),
    }
}

/// How long something took, or takes.
pub fn took(from: Timestamp, to: Option<Timestamp>) -> Markup {
    match to {
        None => PreEscaped(String::new()),
        Some(to) => text(&duration(to.duration_since(from).as_secs_f64())),
    }
}

/// `1 min 30 s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{seconds:.2} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = count as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    match unit {
        "bytes" => format!("{count} bytes"),
        unit => format!("{size:.1} {unit}"),
    }
}

/// Text as it is, which can be scrolled.
pub fn code(label: &str, text: &str) -> Markup {
    let shown = beginning(text, TEXT_BYTES_MAX);
    html! {
        pre tabindex="0" role="region" aria-label=(label) { code { (shown) } }
        @if shown.len() < text.len() {
            p.quiet {
                "The first " (bytes(shown.len() as u64)) " of " (bytes(text.len() as u64)) "."
            }
        }
    }
}

/// JSON, on several lines.
pub fn json(label: &str, value: &Value) -> Markup {
    code(label, &serde_json::to_string_pretty(value).unwrap_or_default())
}

/// JSON that is a text, on several lines; any other text as it is.
pub fn json_text(label: &str, text: &str) -> Markup {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if text.len() <= TEXT_BYTES_MAX => json(label, &value),
        _ => code(label, text),
    }
}

/// At most so many bytes of the beginning of a text.
pub fn beginning(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// One line, shortened to so many characters.
pub fn short(text: &str, chars_max: usize) -> String {
    let mut line: String =
        text.chars().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(chars_max).is_some() {
        line.push('…');
    }
    line
}

/// Tags as `[{"Key", "Value"}]`.
pub fn tags(tags: &Value) -> Markup {
    let of = |tag: &Value| {
        format!(
            "{} = {}",
            tag["Key"].as_str().unwrap_or_default(),
            tag["Value"].as_str().unwrap_or_default()
        )
    };
    let all: Vec<String> = tags.as_array().into_iter().flatten().map(of).collect();
    text(&all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_readable() {
        assert_eq!(bytes(1), "1 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 * 1024 * 1024), "5.0 MiB");
        assert_eq!(duration(0.5), "0.50 s");
        assert_eq!(duration(90.0), "1 min 30 s");
        assert_eq!(duration(7_260.0), "2 h 1 min");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(beginning("Қазақ", 3), "Қ");
        assert_eq!(beginning("Қазақ", 4), "Қа");
        assert_eq!(short("a\nbc", 3), "a b…");
    }

    #[test]
    fn nothing_is_html_that_was_text() {
        let hostile = "<script>alert('x')</script>\"";
        for piece in
            [text(hostile), status(hostile), code(hostile, hostile), link(hostile, hostile)]
        {
            assert!(!piece.0.contains("<script"), "{}", piece.0);
            assert!(!piece.0.contains("\"\""), "{}", piece.0);
        }
    }
}
