//! Statements of Trino's dialect with what Athena answers: types of columns and rows, or the error.
//!
//! They follow the examples and rules of <https://trino.io/docs/current/>. A block of
//! `corpus/*.txt` is a statement, a line `= type, type`, and a line for each row with ` | ` between
//! its values; or a line `! ERROR: …` that the message begins with.

use datafusion::error::DataFusionError;
use futures::StreamExt;
use steppe_wire::query::Query;

use super::*;

const FILES: [(&str, &str); 9] = [
    ("aggregates", include_str!("corpus/aggregates.txt")),
    ("arrays and maps", include_str!("corpus/arrays.txt")),
    ("conversions", include_str!("corpus/conversions.txt")),
    ("dates", include_str!("corpus/dates.txt")),
    ("errors", include_str!("corpus/errors.txt")),
    ("json", include_str!("corpus/json.txt")),
    ("numbers", include_str!("corpus/numbers.txt")),
    ("relations", include_str!("corpus/relations.txt")),
    ("texts", include_str!("corpus/texts.txt")),
];

/// What a statement answers, as a block of the corpus says it.
async fn answered(sql: String) -> String {
    let task = tokio::spawn(async move { rows(&sql).await });
    match task.await {
        Ok(Ok(lines)) => lines.join("\n"),
        Ok(Err(failure)) => format!("! {}", failure.message),
        Err(panic) => format!("! {panic}"),
    }
}

async fn rows(sql: &str) -> Result<Vec<String>, QueryFailure> {
    let query = Query {
        sql: sql.to_owned(),
        parameters: vec![],
        using: None,
        database: None,
        output: String::new(),
        id: String::new(),
        scanned_bytes_max: None,
    };
    let Parsed::Select(select) = Parsed::read(&query)? else { panic!("{sql} selects nothing") };
    let scan = Scan::new(None);
    let context = session(&query, &select, &Sources::default(), &scan).await?;
    let frame = plan(&context, &select, &database_of(&query)).await?;
    let mut types = Vec::new();
    for field in frame.schema().fields() {
        types.push(form::field_column(String::new(), field)?.type_name);
    }
    let mut lines = vec![format!("= {}", types.join(", "))];
    let mut stream = stream(frame).await.map_err(Failed::execution)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(Failed::execution)?;
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter().map(|column| form::value(column, row));
            let values: Result<Vec<_>, DataFusionError> = values.collect();
            let values = values.map_err(Failed::execution)?.into_iter();
            let values = values.map(|value| value.unwrap_or_else(|| "NULL".to_owned()));
            lines.push(values.collect::<Vec<_>>().join(" | "));
        }
    }
    Ok(lines)
}

#[tokio::test]
async fn statements_answer_as_athena_does() {
    let (mut wrong, mut counts) = (Vec::new(), Vec::new());
    for (theme, text) in FILES {
        let (mut all, mut right) = (0, 0);
        for block in text.split("\n\n").map(|block| block.trim_matches('\n')) {
            let lines = block.lines().filter(|line| !line.starts_with('#'));
            let (sql, expected): (Vec<&str>, Vec<&str>) = {
                let lines: Vec<&str> = lines.collect();
                let end = lines.iter().position(|line| line.starts_with(['=', '!']));
                let (sql, expected) = lines.split_at(end.unwrap_or(lines.len()));
                (sql.to_vec(), expected.to_vec())
            };
            if sql.is_empty() {
                continue;
            }
            let (sql, expected) = (sql.join("\n"), expected.join("\n"));
            let answer = answered(sql.clone()).await;
            all += 1;
            let fails = expected.starts_with('!');
            if answer == expected || fails && answer.starts_with(&expected) {
                right += 1;
            } else {
                wrong.push(format!("{sql}\n  expected {expected}\n  answered {answer}"));
            }
        }
        counts.push(format!("{theme}: {right} of {all}"));
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n\n"), counts.join(", "));
}
