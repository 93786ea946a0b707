//! Rows in CSV, as the clients of SageMaker send them: with a line of names, or, when every field
//! is there, without.

use bytes::Bytes;
use steppe_spec::ColumnType;

use super::form::Named;
use super::json::check_count;
use super::{Form, Questions};
use crate::problems::RequestError;

/// The rows of a body.
pub fn read(form: &Form, body: &Bytes) -> Result<Questions, RequestError> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&body[..]);
    let broken = |e: csv::Error| invalid(format!("the body is no CSV: {e}"));
    let mut records = reader.records();
    let Some(first) = records.next().transpose().map_err(broken)? else {
        return Err(invalid("the body has no rows; send one per line".to_owned()));
    };
    let named = is_header(form, &first);
    let columns: Vec<Named> = match named {
        true => named_columns(form, &first)?,
        false => (0..form.columns().len()).map(Named::Column).collect(),
    };
    let first = (!named).then_some(Ok(first));
    let mut building = form.building(1);
    for (row, record) in first.into_iter().chain(records).enumerate() {
        check_count(row + 1)?;
        let record = record.map_err(broken)?;
        let bad = |reason: String| RequestError::BadRow { row, reason };
        if record.len() != columns.len() {
            let (fields, needed) = (record.len(), columns.len());
            let names: Vec<&str> = form.columns().iter().map(|(name, _)| name.as_str()).collect();
            let order = if named { "as the line of names has" } else { &names.join(",") };
            return Err(bad(format!("has {fields} fields; expected {needed}: {order}")));
        }
        let mut entity = None;
        for (named, text) in columns.iter().zip(&record) {
            match named {
                Named::Column(place) => building.add_text(*place, text).map_err(bad)?,
                Named::Entity => entity = (!text.is_empty()).then(|| text.to_owned()),
                Named::Aside => {}
            }
        }
        building.end_row(entity).map_err(bad)?;
    }
    if building.rows() == 0 {
        return Err(invalid("the body has a line of names and no rows".to_owned()));
    }
    let (table, entities) = building.table()?;
    Ok(Questions { table, entities })
}

fn invalid(what: String) -> RequestError {
    RequestError::Invalid(what)
}

/// Whether a line names columns: one of its fields is the name of a column that is no text, or all
/// are names.
fn is_header(form: &Form, line: &csv::StringRecord) -> bool {
    let named = |field: &str| form.named(field, 0).ok();
    let of_another_type = |field: &str| match named(field) {
        Some(Named::Column(place)) => form.columns()[place].1 != ColumnType::String,
        _ => false,
    };
    line.iter().any(of_another_type) || line.iter().all(|field| named(field).is_some())
}

fn named_columns(form: &Form, line: &csv::StringRecord) -> Result<Vec<Named>, RequestError> {
    let named: Result<Vec<Named>, String> =
        line.iter().enumerate().map(|(at, name)| form.named(name, at)).collect();
    let named = named.map_err(|e| invalid(format!("the line of names: {e}")))?;
    let count = |wanted| named.iter().filter(|named| **named == wanted).count();
    for (at, (name, _)) in form.columns().iter().enumerate() {
        match count(Named::Column(at)) {
            1 => {}
            0 => return Err(invalid(format!("the line of names lacks `{name}`"))),
            _ => return Err(invalid(format!("the line of names has `{name}` twice"))),
        }
    }
    match count(Named::Entity) > 1 {
        true => Err(invalid("the line of names says twice what a row is about".to_owned())),
        false => Ok(named),
    }
}
