//! `GetQueryResults`: the file that the engine wrote, page by page.
//!
//! A page is read from where the one before ended, so that no result is ever in memory as a whole.
//! NULL is an empty field, an empty string is `""`; the header of a `SELECT` is its first row.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Value, json};
use steppe_wire::place::S3Object;
use steppe_wire::query::{Column, Statement, Written};

use super::{QueryExecution, find, invalid};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::{number_of, token_of};
use crate::kernel::service::Call;
use crate::services::s3::VerifiedBytes;

/// Rows in one answer.
const ROWS_MAX: u64 = 1_000;
/// Bytes of one row; Athena's limit is 32 MB.
const ROW_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// `GetQueryResults`.
pub fn results(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    check_page(params)?;
    let (_, execution) = find(call, params)?;
    let max = match &params["MaxResults"] {
        Value::Null => ROWS_MAX,
        given => given.as_u64().filter(|max| *max <= ROWS_MAX).ok_or_else(|| {
            invalid(format!("MaxResults is more than maximum allowed length {ROWS_MAX}"))
        })?,
    };
    check_state(&execution)?;
    let columns: Vec<Value> = execution.columns.iter().map(column_info).collect();
    let answer = |rows: Vec<Value>| {
        let mut answer = json!({ "ResultSet": {
            "Rows": rows, "ResultSetMetadata": { "ColumnInfo": columns },
        } });
        if execution.statement.is_counted() {
            answer["UpdateCount"] = execution.update_count.unwrap_or(0).into();
        }
        answer
    };
    if matches!(execution.statement.written(), Written::Elsewhere | Written::Table) {
        return Ok(answer(vec![]));
    }
    let object = S3Object::parse(&execution.output).map_err(|e| invalid(e.to_string()))?;
    let arn = format!("arn:aws:s3:::{}/{}", object.bucket, object.key);
    cloud.authorize(caller, "s3:GetObject", &arn, &[])?;
    let (stored, file) = cloud
        .services
        .s3
        .open_object(&object.bucket, &object.key)
        .map_err(|e| invalid(format!("Could not find results: {e}")))?;
    let start = match params["NextToken"].as_str() {
        None => 0,
        Some(token) => number_of(token)
            .filter(|start| *start <= stored.size)
            .ok_or_else(|| invalid(format!("Malformed nextPageToken {token}")))?,
    };
    let rest = cloud.services.s3.reader(&stored, file, start..stored.size);
    let rest = VerifiedBytes::from(rest.map_err(ApiError::internal)?);
    let page = read_page(rest, start, max, execution.statement).map_err(ApiError::internal)?;
    let mut answer = answer(page.rows);
    if let Some(next) = page.next {
        answer["NextToken"] = token_of(next).into();
    }
    Ok(answer)
}

fn check_page(params: &Value) -> ApiResult<()> {
    let mut errors = Vec::new();
    if params["NextToken"] == "" {
        errors.push(
            "Value at 'nextToken' failed to satisfy constraint: Member must have length greater \
             than or equal to 1",
        );
    }
    if params["MaxResults"].as_i64().is_some_and(|max| max < 1) {
        errors.push(
            "Value at 'maxResults' failed to satisfy constraint: Member must have value greater \
             than or equal to 1",
        );
    }
    let plural = if errors.len() == 1 { "error" } else { "errors" };
    if errors.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("{} validation {plural} detected: {}", errors.len(), errors.join("; "))))
}

fn check_state(execution: &QueryExecution) -> ApiResult<()> {
    match execution.state.as_str() {
        "SUCCEEDED" => Ok(()),
        "FAILED" => {
            Err(invalid("Query did not finish successfully. Final query state: FAILED".to_owned()))
        }
        "CANCELLED" => Err(invalid("Could not find results")),
        state => Err(invalid(format!("Query has not yet finished. Current state: {state}"))),
    }
}

fn column_info(column: &Column) -> Value {
    json!({
        "CatalogName": "hive", "SchemaName": "", "TableName": "", "Name": column.name,
        "Label": column.name, "Type": column.type_name, "Precision": column.precision,
        "Scale": column.scale, "Nullable": "UNKNOWN", "CaseSensitive": column.case_sensitive,
    })
}

struct Page {
    rows: Vec<Value>,
    next: Option<u64>,
}

/// Reads rows from where `start` is in the file.
fn read_page(
    rest: impl Read,
    start: u64,
    rows_max: u64,
    statement: Statement,
) -> std::io::Result<Page> {
    let mut reader = BufReader::new(rest);
    let (mut rows, mut at) = (Vec::new(), start);
    while (rows.len() as u64) < rows_max {
        let row = if statement.written() == Written::Rows {
            read_record(&mut reader)?
        } else {
            read_line(&mut reader)?
        };
        let Some((fields, bytes)) = row else { return Ok(Page { rows, next: None }) };
        at += bytes;
        let data: Vec<Value> = fields.into_iter().map(datum).collect();
        rows.push(json!({ "Data": data }));
    }
    let more = !reader.fill_buf()?.is_empty();
    Ok(Page { rows, next: more.then_some(at) })
}

fn datum(field: Option<String>) -> Value {
    field.map_or_else(|| json!({}), |text| json!({ "VarCharValue": text }))
}

type Row = Option<(Vec<Option<String>>, u64)>;

/// A line is one value, whatever tabs are in it.
fn read_line(reader: &mut impl BufRead) -> std::io::Result<Row> {
    let mut line = Vec::new();
    let bytes = reader.take(ROW_BYTES_MAX).read_until(b'\n', &mut line)?;
    if bytes == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
    Ok(Some((vec![Some(text)], bytes as u64)))
}

/// A record of the CSV that the engine writes: every value in quotes, nothing for NULL.
fn read_record(reader: &mut impl BufRead) -> std::io::Result<Row> {
    let (mut fields, mut field, mut count) = (Vec::new(), None::<Vec<u8>>, 0);
    let mut quoted = false;
    loop {
        let mut part = Vec::new();
        let bytes = reader.take(ROW_BYTES_MAX - count).read_until(b'\n', &mut part)? as u64;
        if bytes == 0 {
            let cut = count > 0 || quoted;
            return if cut { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(None) };
        }
        count += bytes;
        for byte in part {
            match byte {
                // The second of two quotes opens again, which makes the first one a value.
                b'"' => {
                    quoted = !quoted;
                    match &mut field {
                        Some(value) if quoted => value.push(b'"'),
                        Some(_) => {}
                        None => field = Some(Vec::new()),
                    }
                }
                b',' if !quoted => fields.push(field.take()),
                b'\n' if !quoted => {
                    fields.push(field.take());
                    let texts = fields
                        .into_iter()
                        .map(|f| f.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
                    return Ok(Some((texts.collect(), count)));
                }
                other => field.get_or_insert_default().push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(text: &str, statement: Statement, rows_max: u64) -> Vec<Vec<Value>> {
        let (mut start, mut pages) = (Some(0), Vec::new());
        while let Some(at) = start {
            let rest = &text.as_bytes()[at as usize..];
            let page = read_page(rest, at, rows_max, statement).expect("a page");
            start = page.next;
            pages.push(page.rows);
        }
        pages
    }

    #[test]
    fn empty_texts_are_not_null_and_lines_may_be_in_values() {
        let text = "\"a\",\"b\"\n\"\",\n,\"x \"\"y\"\",\nz\"\n";
        let value = |text: &str| json!({ "VarCharValue": text });
        let rows = [
            json!({ "Data": [value("a"), value("b")] }),
            json!({ "Data": [value(""), {}] }),
            json!({ "Data": [{}, value("x \"y\",\nz")] }),
        ];
        assert_eq!(pages(text, Statement::Select, 10), vec![rows.to_vec()]);
        let single: Vec<Vec<Value>> = rows.iter().map(|row| vec![row.clone()]).collect();
        assert_eq!(pages(text, Statement::Select, 1), single);
    }

    #[test]
    fn a_line_of_a_listing_is_one_value() {
        let rows = pages("a \tint \t \nb", Statement::Describe, 10);
        let value = |text: &str| json!({ "Data": [{ "VarCharValue": text }] });
        assert_eq!(rows, vec![vec![value("a \tint \t "), value("b")]]);
        assert_eq!(pages("", Statement::ShowTables, 10), vec![Vec::<Value>::new()]);
    }
}
