//! Rows of one file of a table, as text for people who look into it.
//!
//! What is answered is bounded in rows and in the bytes of all values; a longer value is cut off.

use anyhow::{Context, Result, bail, ensure};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use steppe_wire::etl::ColumnName;
use steppe_wire::rows::{ROWS_MAX, RowsAsked, RowsColumn, RowsSeen};
use tokio::sync::mpsc::Receiver;

use crate::formats::text::{self, Kind, Texts};
use crate::formats::{self, Bytes, Format};
use crate::objects::Object;
use crate::scan::on_own_thread;
use crate::storage::Realm;
use crate::types;

/// Bytes of a value.
const VALUE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of all values.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Answers the first line.
pub async fn answer(mut lines: Receiver<String>) -> Result<RowsSeen> {
    let line = lines.recv().await.context("nobody said which rows")?;
    let asked: RowsAsked = serde_json::from_str(&line).context("what to show cannot be read")?;
    find(Realm::S3, asked).await
}

/// The rows of a file of that realm.
pub async fn find(realm: Realm, asked: RowsAsked) -> Result<RowsSeen> {
    ensure!(asked.rows <= ROWS_MAX, "more than {ROWS_MAX} rows are asked for");
    let place = realm.file(&asked.object)?;
    let object = Object { name: place.name.clone(), place, size: 0 };
    // Once for what there is, and once for the rows.
    let (_, head) = object.open().await?;
    let (_, bytes) = object.open().await?;
    on_own_thread(move || read(&asked, head, bytes)).await
}

fn read(asked: &RowsAsked, head: Bytes, bytes: Bytes) -> Result<RowsSeen> {
    let Some(format) = formats::format(asked.format) else {
        bail!("CSV has no columns of its own");
    };
    let (wanted, columns, unread) = columns(format, head, asked)?;
    let mut seen = RowsSeen { columns, unread, rows: vec![] };
    let mut left = BYTES_MAX;
    let is_at = |name: &str| wanted.iter().position(|column| column.source == name);
    let only = match &asked.only {
        Some((column, value)) => {
            let at = is_at(column).with_context(|| format!("there is no column `{column}`"))?;
            Some((at, value.as_str()))
        }
        None => None,
    };
    for batch in format.read(bytes, &wanted)?.batches {
        let batch = batch?;
        add(&mut seen.rows, &batch, only, asked.rows, &mut left)?;
        if seen.rows.len() >= asked.rows || left == 0 {
            break;
        }
    }
    let shown = match asked.columns.len() {
        0 => wanted.len(),
        count => count,
    };
    seen.rows.iter_mut().for_each(|row| row.truncate(shown));
    seen.columns.truncate(shown);
    Ok(seen)
}

type Found = (Vec<ColumnName>, Vec<RowsColumn>, Vec<String>);

/// The columns that are read: those that are asked for, and behind them what chooses rows.
fn columns(format: &dyn Format, head: Bytes, asked: &RowsAsked) -> Result<Found> {
    let found = format.columns(head)?;
    let kind_of = |name: &str| {
        let column = found.iter().find(|(own, _)| own == name);
        column.with_context(|| format!("there is no column `{name}`"))
    };
    let mut names: Vec<&str> = match asked.columns.is_empty() {
        true => found.iter().filter(|(_, kind)| kind.is_some()).map(|(n, _)| n.as_str()).collect(),
        false => asked.columns.iter().map(String::as_str).collect(),
    };
    if let Some((column, _)) = &asked.only
        && !names.contains(&column.as_str())
    {
        names.push(column);
    }
    let word = |kind: &Option<DataType>| kind.as_ref().and_then(types::hive).unwrap_or_default();
    let told = |name: &&str| {
        let (name, kind) = kind_of(name)?;
        Ok(RowsColumn { name: name.clone(), type_name: word(kind) })
    };
    let columns = names.iter().map(told).collect::<Result<Vec<_>>>()?;
    let wanted = names.iter().enumerate().map(|(at, name)| ColumnName {
        source: (*name).to_owned(),
        name: format!("column_{at}"),
        kind: String::new(),
        zone: None,
    });
    let unread = found.iter().filter(|(_, kind)| kind.is_none()).map(|(name, _)| name.clone());
    Ok((wanted.collect(), columns, unread.collect()))
}

/// Adds rows of a batch until there are enough.
fn add(
    rows: &mut Vec<Vec<Option<String>>>,
    batch: &RecordBatch,
    only: Option<(usize, &str)>,
    rows_max: usize,
    left: &mut usize,
) -> Result<()> {
    let columns = text::columns(batch)?;
    for row in 0..batch.num_rows() {
        if rows.len() >= rows_max || *left == 0 {
            break;
        }
        if let Some((at, value)) = only
            && shown(&columns[at], row)?.as_deref() != Some(value)
        {
            continue;
        }
        let mut values = Vec::with_capacity(columns.len());
        for column in &columns {
            let mut value = shown(column, row)?;
            if let Some(value) = &mut value {
                cut(value);
                *left = left.saturating_sub(value.len());
            }
            values.push(value);
        }
        rows.push(values);
    }
    Ok(())
}

fn shown(column: &Texts<'_>, row: usize) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    if let Some(value) = column.text(row) {
        return Ok(Some(value.to_owned()));
    }
    match column.append(row, &mut bytes)? {
        Kind::Null => Ok(None),
        Kind::Literal | Kind::Word => Ok(Some(String::from_utf8(bytes)?)),
    }
}

fn cut(value: &mut String) {
    if value.len() > VALUE_BYTES_MAX {
        let end = (0..=VALUE_BYTES_MAX).rev().find(|at| value.is_char_boundary(*at));
        value.truncate(end.unwrap_or(0));
        value.push('…');
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};
    use steppe_wire::etl::TableFormat;

    use super::*;

    fn file() -> tempfile::NamedTempFile {
        let regions: ArrayRef = Arc::new(StringArray::from(vec![Some("A"), None, Some("B")]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("region", regions), ("n", numbers)]);
        let batch = batch.expect("a batch");
        let file = tempfile::NamedTempFile::new().expect("a file");
        let out = file.reopen().expect("opens");
        let writer = formats::writer(TableFormat::Parquet, batch.schema(), out);
        let mut writer = writer.expect("a writer");
        writer.write(&batch).expect("written");
        writer.finish().expect("finished");
        file
    }

    async fn seen(change: impl FnOnce(&mut RowsAsked)) -> Result<RowsSeen> {
        let file = file();
        let mut asked = RowsAsked {
            object: file.path().display().to_string(),
            format: TableFormat::Parquet,
            columns: vec![],
            only: None,
            rows: 10,
        };
        change(&mut asked);
        find(Realm::Files, asked).await
    }

    fn texts(seen: &RowsSeen) -> Vec<Vec<&str>> {
        seen.rows
            .iter()
            .map(|row| row.iter().map(|v| v.as_deref().unwrap_or("-")).collect())
            .collect()
    }

    #[tokio::test]
    async fn rows_are_shown_from_the_beginning() {
        let all = seen(|_| {}).await.expect("rows");
        assert_eq!(texts(&all), [["A", "1"], ["-", "2"], ["B", "3"]]);
        let columns: Vec<_> = all.columns.iter().map(|c| (&*c.name, &*c.type_name)).collect();
        assert_eq!(columns, [("region", "string"), ("n", "bigint")]);
        let first = seen(|asked| asked.rows = 1).await.expect("rows");
        assert_eq!(texts(&first), [["A", "1"]]);
    }

    #[tokio::test]
    async fn columns_and_rows_are_chosen() {
        let chosen = seen(|asked| {
            asked.columns = vec!["n".to_owned()];
            asked.only = Some(("region".to_owned(), "B".to_owned()));
        });
        let chosen = chosen.await.expect("rows");
        assert_eq!((texts(&chosen), chosen.columns.len()), (vec![vec!["3"]], 1));
        let absent = seen(|asked| asked.columns = vec!["other".to_owned()]).await;
        assert!(absent.expect_err("none").to_string().contains("there is no column `other`"));
        assert!(seen(|asked| asked.rows = ROWS_MAX + 1).await.is_err());
    }

    #[test]
    fn values_are_cut_between_characters() {
        let mut value = "ә".repeat(VALUE_BYTES_MAX);
        cut(&mut value);
        assert!(value.len() <= VALUE_BYTES_MAX + 3 && value.ends_with('…'));
    }
}
