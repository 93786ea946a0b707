//! What is in an object, as text: its beginning, rows of CSV and of tables in files.
//!
//! What a file is is told by its name and its bytes; nothing of it ever becomes a part of the page
//! but text.

use maud::{Markup, html};
use serde_json::Value;
use steppe_wire::etl::TableFormat;
use steppe_wire::rows::RowsAsked;

use super::ask::Ask;
use super::html::{bytes, code, json, short, text};
use super::rows;
use super::table::table;
use crate::services::s3::Object;

/// Bytes that are read of an object.
const BYTES_MAX: u64 = 128 * 1024;
/// Bytes of a file of which the engine shows rows; it reads the whole.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Rows that are shown.
const ROWS_MAX: usize = 50;
/// Columns that are shown.
const COLUMNS_MAX: usize = 100;
/// Characters of a value.
const VALUE_CHARS: usize = 300;
/// Lines of JSON that are written anew.
const LINES_MAX: usize = 50;

/// The beginning of an object.
pub async fn of(ask: &Ask, bucket: &str, key: &str, object: &Object) -> Markup {
    let path = format!("s3://{bucket}/{key}");
    let begin = match beginning(ask, bucket, key) {
        Ok(begin) => begin,
        Err(words) => return html! { p.notice { (words) } },
    };
    if let Some(format) = format_of(key, &begin) {
        return in_rows(ask, path, format, object).await;
    }
    let is_whole = begin.len() as u64 == object.size;
    let Some(shown) = as_text(&begin, is_whole) else {
        return html! { p.quiet { "These bytes are no text, so they are only handed out." } };
    };
    let name = key.to_ascii_lowercase();
    let body = if name.ends_with(".csv") || name.ends_with(".tsv") {
        csv(shown, if name.ends_with(".tsv") { b'\t' } else { b',' }, is_whole)
    } else if name.ends_with(".json") || name.ends_with(".jsonl") || name.ends_with(".ndjson") {
        json_lines(shown, is_whole)
    } else {
        code("Text", shown)
    };
    html! {
        @if !is_whole {
            p.quiet { "The first " (bytes(begin.len() as u64)) " of " (bytes(object.size)) "." }
        }
        (body)
    }
}

fn beginning(ask: &Ask, bucket: &str, key: &str) -> Result<Vec<u8>, String> {
    let buckets = &ask.cloud.services.s3;
    let (object, file) = buckets.open_object(bucket, key).map_err(|e| e.to_string())?;
    let end = object.size.min(BYTES_MAX);
    let reader = buckets.reader(&object, file, 0..end).map_err(|e| e.to_string())?;
    reader.read_all().map_err(|e| e.to_string())
}

fn format_of(key: &str, begin: &[u8]) -> Option<TableFormat> {
    let is_named = |end: &str| key.to_ascii_lowercase().ends_with(end);
    if begin.starts_with(b"PAR1") {
        Some(TableFormat::Parquet)
    } else if begin.starts_with(b"Obj\x01") {
        Some(TableFormat::Avro)
    } else if begin.starts_with(b"ORC") && is_named(".orc") {
        Some(TableFormat::Orc)
    } else {
        None
    }
}

/// Text of the bytes; the last character may be cut off.
fn as_text(bytes: &[u8], is_whole: bool) -> Option<&str> {
    let shown = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if !is_whole && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    shown.chars().all(is_text).then_some(shown)
}

async fn in_rows(ask: &Ask, path: String, format: TableFormat, object: &Object) -> Markup {
    if object.size > FILE_BYTES_MAX {
        let most = bytes(FILE_BYTES_MAX);
        return html! { p.quiet { "Rows are shown of files of at most " (most) "." } };
    }
    let asked = RowsAsked { object: path, format, columns: vec![], only: None, rows: ROWS_MAX };
    match rows::of(ask, &asked).await {
        Ok(seen) => {
            let columns: Vec<String> =
                seen.columns.iter().map(|c| format!("{} ({})", c.name, c.type_name)).collect();
            let shown = lines(seen.rows.iter().map(|row| {
                row.iter().map(|value| value.as_deref().unwrap_or("NULL").to_owned()).collect()
            }));
            html! {
                p.quiet { "The first " (seen.rows.len()) " rows." }
                @if !seen.unread.is_empty() {
                    p.quiet { "Columns of types that are not read: " (seen.unread.join(", ")) "." }
                }
                (rows_of(&columns, &shown))
            }
        }
        Err(words) => html! { p.notice { "The engine cannot read it: " (words) } },
    }
}

fn lines(rows: impl Iterator<Item = Vec<String>>) -> Vec<Vec<Markup>> {
    let cell = |value: &String| text(&short(value, VALUE_CHARS));
    rows.map(|row| row.iter().take(COLUMNS_MAX).map(cell).collect()).collect()
}

fn rows_of(columns: &[String], rows: &[Vec<Markup>]) -> Markup {
    let names: Vec<&str> = columns.iter().take(COLUMNS_MAX).map(String::as_str).collect();
    html! {
        (table("Rows", &names, rows))
        @if columns.len() > COLUMNS_MAX {
            p.quiet { "The first " (COLUMNS_MAX) " of " (columns.len()) " columns." }
        }
    }
}

fn csv(shown: &str, separator: u8, is_whole: bool) -> Markup {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .has_headers(false)
        .from_reader(shown.as_bytes());
    let mut records: Vec<Vec<String>> = reader
        .records()
        .map_while(Result::ok)
        .take(ROWS_MAX + 2)
        .map(|record| record.iter().map(str::to_owned).collect())
        .collect();
    if !is_whole && records.len() < ROWS_MAX + 2 {
        // Of the last one only a part was read.
        records.pop();
    }
    if records.len() < 2 {
        return code("Text", shown);
    }
    let header = records.remove(0);
    records.truncate(ROWS_MAX);
    html! {
        p.quiet { "The first " (records.len()) " rows; the first line is taken for names." }
        (rows_of(&header, &lines(records.into_iter())))
    }
}

/// One value, or values line by line.
fn json_lines(shown: &str, is_whole: bool) -> Markup {
    if is_whole && let Ok(value) = serde_json::from_str::<Value>(shown) {
        return json("JSON", &value);
    }
    let values: Vec<Value> =
        shown.lines().take(LINES_MAX).map_while(|line| serde_json::from_str(line).ok()).collect();
    if values.is_empty() {
        return code("Text", shown);
    }
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    let all: Vec<String> = values.iter().map(pretty).collect();
    html! {
        p.quiet { "The first " (values.len()) " lines." }
        (code("JSON lines", &all.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_shown() {
        assert_eq!(as_text("Қазақ".as_bytes(), true), Some("Қазақ"));
        assert_eq!(as_text(&"Қазақ".as_bytes()[..3], false), Some("Қ"));
        assert_eq!(as_text(&"Қазақ".as_bytes()[..3], true), None);
        assert_eq!(as_text(b"a\0b", true), None);
        assert_eq!(as_text(b"\x1b]0;title\x07", true), None);
    }

    #[test]
    fn records_that_were_cut_off_are_left_out() {
        let shown = csv("a,b\n1,<i>\n2,3", b',', false).into_string();
        assert!(shown.contains("&lt;i&gt;") && !shown.contains("<i>"), "{shown}");
        assert!(!shown.contains('3'), "{shown}");
    }

    #[test]
    fn files_are_told_by_their_first_bytes() {
        assert_eq!(format_of("x.csv", b"PAR1..."), Some(TableFormat::Parquet));
        assert_eq!(format_of("x.avro", b"Obj\x01"), Some(TableFormat::Avro));
        assert_eq!(format_of("x.txt", b"ORCHIDS"), None);
    }
}
