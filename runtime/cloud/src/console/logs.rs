//! Log groups and what is in them, newest first.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{bytes, link, section, text, time};
use super::links::to;
use super::table::{paged, paged_by, table};
use crate::services::logs as service;

/// Events on one page.
const PAGE: usize = 200;
/// Characters of a stream's name beside its lines.
const STREAM_CHARS: usize = 14;
/// Bytes of a line.
const LINE_BYTES: usize = 8 * 1024;

/// An event.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its stream.
    pub stream: String,
    /// Its text.
    pub message: String,
    millis: i64,
}

impl Line {
    /// When it was.
    pub fn when(&self) -> Markup {
        Timestamp::from_millisecond(self.millis).map_or_else(|_| text(""), time)
    }
}

/// The events of a group or of one of its streams, newest first; none when there is no such group.
pub fn newest(ask: &Ask, group: &str, stream: Option<&str>) -> Vec<Line> {
    let mut events = service::events(&ask.cloud, group).unwrap_or_default();
    events.retain(|event| stream.is_none_or(|stream| event.stream == stream));
    events.reverse();
    let line = |event: service::Event| Line {
        stream: event.stream,
        message: event.message,
        millis: event.time,
    };
    events.into_iter().map(line).collect()
}

/// Lines of a log.
pub fn lines(group: &str, lines: &[Line]) -> Markup {
    let rows: Vec<Vec<Markup>> = lines
        .iter()
        .map(|line| {
            let address = to("log", &[("group", group), ("stream", &line.stream)]);
            let shown = super::html::beginning(&line.message, LINE_BYTES);
            let mark = if shown.len() < line.message.len() { "…" } else { "" };
            let stream = html! { a href=(address) title=(line.stream) { (end_of(&line.stream)) } };
            vec![line.when(), html! { span.line { (shown) (mark) } }, stream]
        })
        .collect();
    table("Lines", &["When", "Line", "Stream"], &rows)
}

/// Streams differ at their ends.
fn end_of(stream: &str) -> String {
    let count = stream.chars().count();
    match count {
        0..=STREAM_CHARS => stream.to_owned(),
        _ => format!("…{}", stream.chars().skip(count - STREAM_CHARS).collect::<String>()),
    }
}

/// All log groups.
pub async fn groups(ask: &Ask) -> Result<Answer, Problem> {
    let (groups, pager) = paged(ask, "logs", ask.cloud.services.logs.groups.all());
    let rows: Vec<Vec<Markup>> = groups
        .iter()
        .map(|(name, group)| {
            let days =
                group.retention_days.map_or_else(|| "for ever".to_owned(), |d| format!("{d} days"));
            vec![
                link(&to("log", &[("group", name)]), name),
                text(&days),
                text(&bytes(service::stored_bytes(&ask.cloud, name))),
                time(group.created),
            ]
        })
        .collect();
    let body =
        html! { (table("Log groups", &["Name", "Kept", "#Stored", "Created"], &rows)) (pager) };
    Ok(Page::new("Log groups", body).into())
}

/// The events of one group or stream.
pub async fn events(ask: &Ask) -> Result<Answer, Problem> {
    let group = ask.required("group")?;
    if !ask.cloud.services.logs.groups.contains(group) {
        return Err(Problem::absent(format!("There is no log group {group}.")));
    }
    let stream = ask.text("stream");
    let all = newest(ask, group, stream);
    let streams = match stream {
        None => streams(group, &all),
        Some(_) => html! {},
    };
    let (shown, pager) = paged_by(ask, "log", all, PAGE);
    let body = html! {
        (streams)
        (section("Lines, newest first", &html! { (lines(group, &shown)) (pager) }))
    };
    let page = Page::new(stream.unwrap_or(group), body).below("Log groups", to("logs", &[]));
    Ok(match stream {
        Some(_) => page.below(group, to("log", &[("group", group)])),
        None => page,
    }
    .into())
}

/// The streams that the events are of, the newest first.
fn streams(group: &str, events: &[Line]) -> Markup {
    let mut found: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for event in events {
        let entry = found.entry(&event.stream).or_insert((0, event.millis));
        entry.0 += 1;
    }
    let mut found: Vec<(&str, (usize, i64))> = found.into_iter().collect();
    found.sort_by_key(|(_, (_, newest))| std::cmp::Reverse(*newest));
    let count = found.len();
    found.truncate(super::table::ROWS);
    let rows: Vec<Vec<Markup>> = found
        .iter()
        .map(|(stream, (events, millis))| {
            let newest = Timestamp::from_millisecond(*millis).map_or_else(|_| text(""), time);
            let address = to("log", &[("group", group), ("stream", stream)]);
            vec![link(&address, stream), text(&events.to_string()), newest]
        })
        .collect();
    super::html::folded(
        &format!("Streams ({count})"),
        &table("Streams", &["Name", "#Events", "Newest"], &rows),
    )
}
