//! Looks at files of which nothing is known yet: their columns, and which texts each has.
//!
//! Every record is read once, as a stream, and what is remembered of it is bounded. Nothing is
//! decided here: forms are counted, and whoever asked says what they mean.

mod column;
mod form;
mod keys;

use std::fs::File;

use anyhow::{Context, Result, bail};
use csv::ByteRecord;
use steppe_wire::etl::ColumnName;
use steppe_wire::etl::header::trimmed;
use steppe_wire::look::{COLUMNS_MAX, Dialect, InputLook, Look, LookFile, LookRequest};

use crate::formats::{self, text};
use crate::table::{self, Options, Table};
use crate::types;
use column::Column;
use keys::Keys;

/// What was seen in a file.
struct Seen {
    columns: Vec<Column>,
    records: u64,
    has_footnotes: bool,
}

/// Files that are alike.
struct Group<'a> {
    first: &'a LookFile,
    files: Vec<usize>,
    seen: Seen,
}

/// Looks at every file.
pub fn look(request: &LookRequest) -> Result<Look> {
    let mut keys = Keys::new(&request.keys);
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (number, file) in request.files.iter().enumerate() {
        let seen = seen(file, &mut keys).with_context(|| file.called.clone())?;
        match groups.iter_mut().find(|group| group.takes(file, &seen)) {
            Some(group) => group.add(number, seen)?,
            None => groups.push(Group { first: file, files: vec![number], seen }),
        }
    }
    Ok(Look { inputs: groups.into_iter().map(Group::told).collect(), keys: keys.told() })
}

impl Group<'_> {
    fn takes(&self, file: &LookFile, seen: &Seen) -> bool {
        let names = |seen: &Seen| {
            let mut names: Vec<(String, Option<String>)> =
                seen.columns.iter().map(|c| (c.name.clone(), c.kind.clone())).collect();
            names.sort_unstable();
            names
        };
        let first = self.first;
        first.format == file.format
            && first.csv == file.csv
            && first.input == file.input
            && names(&self.seen) == names(seen)
    }

    fn add(&mut self, number: usize, mut seen: Seen) -> Result<()> {
        self.files.push(number);
        self.seen.records += seen.records;
        self.seen.has_footnotes |= seen.has_footnotes;
        for own in &mut self.seen.columns {
            let at = seen.columns.iter().position(|other| other.name == own.name);
            own.merge(seen.columns.swap_remove(at.context("a column is lost")?));
        }
        Ok(())
    }

    fn told(self) -> InputLook {
        InputLook {
            files: self.files,
            records: self.seen.records,
            has_footnotes: self.seen.has_footnotes,
            columns: self.seen.columns.into_iter().map(Column::told).collect(),
        }
    }
}

fn seen(file: &LookFile, keys: &mut Keys) -> Result<Seen> {
    match (file.csv, formats::format(file.format)) {
        (Some(dialect), None) => of_text(file, dialect, keys),
        (None, Some(format)) => of_table(file, format, keys),
        _ => bail!("`{}` is not looked at so", file.format.name()),
    }
}

/// CSV: the table alone, and whether other lines follow it.
fn of_text(file: &LookFile, dialect: Dialect, keys: &mut Keys) -> Result<Seen> {
    let options = |leave_out_footnotes| -> Result<Options> {
        let delimiter = u8::try_from(dialect.delimiter).context("the delimiter is not ASCII")?;
        Ok(Options { delimiter, skip_lines: dialect.skip_lines, leave_out_footnotes })
    };
    // Whether there are notes is known only at the end, so a file with notes is read once more.
    let is_whole = ends_as_it_began(Table::open(File::open(&file.path)?, options(false)?)?);
    if is_whole {
        return table_of(Table::open(File::open(&file.path)?, options(false)?)?, keys);
    }
    let is_noted = ends_as_it_began(Table::open(File::open(&file.path)?, options(true)?)?);
    let table = Table::open(File::open(&file.path)?, options(is_noted)?)?;
    Ok(Seen { has_footnotes: is_noted, ..table_of(table, keys)? })
}

/// Whether every record has the fields of the header, and more than one of them is filled where
/// there are several.
fn ends_as_it_began(mut table: Table<File>) -> bool {
    let several = table.header.len() > 1;
    let mut record = ByteRecord::new();
    loop {
        match table.read(&mut record) {
            Ok(None) => return true,
            Err(_) => return false,
            Ok(Some(_)) if !several => {}
            Ok(Some(_)) => {
                let filled = |field: &[u8]| field.iter().any(|b| !b.is_ascii_whitespace());
                if record.iter().filter(|field| filled(field)).count() <= 1 {
                    return false;
                }
            }
        }
    }
}

fn table_of(mut table: Table<File>, keys: &mut Keys) -> Result<Seen> {
    let names: Vec<&str> = table.header.iter().map(String::as_str).collect();
    check_columns(names.len())?;
    if !keys.is_empty() {
        keys.begin(&names)?;
    }
    let column = |name: &&str| Column::new((*name).to_owned(), None, true, names.len());
    let mut columns: Vec<Column> = names.iter().map(column).collect();
    let (mut record, mut records) = (ByteRecord::new(), 0);
    while let Some(line) = table.read(&mut record)? {
        records += 1;
        let fields = record.iter().map(|field| table::text(field, line).map(trimmed));
        if keys.is_empty() {
            for (column, field) in columns.iter_mut().zip(fields) {
                column.see(field?);
            }
        } else {
            keys.see(&fields.collect::<Result<Vec<_>>>()?);
        }
    }
    Ok(Seen { columns, records, has_footnotes: false })
}

/// A format whose rows a library reads.
fn of_table(file: &LookFile, format: &dyn formats::Format, keys: &mut Keys) -> Result<Seen> {
    let found = format.columns(Box::new(File::open(&file.path)?))?;
    check_columns(found.len())?;
    let is_text = file.format == formats::TableFormat::Json;
    let named = |(name, kind): &(String, Option<_>)| {
        let word = kind.as_ref().and_then(types::hive).filter(|_| !is_text);
        Column::new(trimmed(name).to_owned(), word, kind.is_some(), found.len())
    };
    let mut columns: Vec<Column> = found.iter().map(named).collect();
    let places: Vec<usize> = (0..columns.len()).filter(|at| columns[*at].is_read).collect();
    let wanted: Vec<ColumnName> = places
        .iter()
        .map(|at| ColumnName {
            source: found[*at].0.clone(),
            name: format!("column_{at}"),
            kind: String::new(),
        })
        .collect();
    if !keys.is_empty() {
        keys.begin(&columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>())?;
    }
    let read = format.read(Box::new(File::open(&file.path)?), &wanted)?;
    let mut records = 0;
    for batch in read.batches {
        let batch = batch?;
        records += batch.num_rows() as u64;
        let mut texts = vec![vec![String::new(); batch.num_rows()]; columns.len()];
        for (values, at) in text::columns(&batch)?.iter().zip(&places) {
            for (row, text) in texts[*at].iter_mut().enumerate() {
                let mut bytes = Vec::new();
                match values.text(row) {
                    Some(value) => bytes.extend_from_slice(value.as_bytes()),
                    None => drop(values.append(row, &mut bytes)?),
                }
                *text = String::from_utf8(bytes)?;
            }
        }
        if keys.is_empty() {
            for at in &places {
                texts[*at].iter().for_each(|text| columns[*at].see(trimmed(text)));
            }
        } else {
            for row in 0..batch.num_rows() {
                let record: Vec<&str> = texts.iter().map(|column| trimmed(&column[row])).collect();
                keys.see(&record);
            }
        }
    }
    Ok(Seen { columns, records, has_footnotes: false })
}

fn check_columns(found: usize) -> Result<()> {
    if found > COLUMNS_MAX {
        bail!("the file has {found} columns; at most {COLUMNS_MAX} are looked at");
    }
    Ok(())
}
