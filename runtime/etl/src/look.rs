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
    /// Whether each record has more than one field with something in it.
    is_even: bool,
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
    let open = |leave_out| Table::open(File::open(&file.path)?, options(leave_out)?);
    if let Some(has_footnotes) = file.has_footnotes {
        return Ok(Seen { has_footnotes, ..table_of(open(has_footnotes)?, keys)? });
    }
    // Whether notes follow is known only at the end, so a file with notes is read once more: first
    // as if they were none, then up to them.
    let whole = table_of(open(false)?, keys);
    if matches!(whole, Ok(Seen { is_even: true, .. })) {
        return whole;
    }
    match table_of(open(true)?, keys) {
        Ok(noted) => Ok(Seen { has_footnotes: true, ..noted }),
        Err(_) => whole,
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
    let (mut record, mut records, mut is_even) = (ByteRecord::new(), 0, true);
    let several = columns.len() > 1;
    while let Some(line) = table.read(&mut record)? {
        records += 1;
        let fields = record.iter().map(|field| table::text(field, line).map(inner));
        if !keys.is_empty() {
            keys.see(&fields.collect::<Result<Vec<_>>>()?);
            continue;
        }
        let mut filled = 0;
        for (column, field) in columns.iter_mut().zip(fields) {
            let field = field?;
            filled += usize::from(!field.is_empty());
            column.see(field);
        }
        is_even &= filled > 1 || !several;
    }
    Ok(Seen { columns, records, has_footnotes: false, is_even })
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
            zone: None,
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
    Ok(Seen { columns, records, has_footnotes: false, is_even: true })
}

/// A field without white space around it; most have none.
fn inner(field: &str) -> &str {
    match field.as_bytes() {
        [] => field,
        [first, .., last] | [first @ last]
            if first.is_ascii_graphic() && last.is_ascii_graphic() =>
        {
            field
        }
        _ => trimmed(field),
    }
}

fn check_columns(found: usize) -> Result<()> {
    if found > COLUMNS_MAX {
        bail!("the file has {found} columns; at most {COLUMNS_MAX} are looked at");
    }
    Ok(())
}
