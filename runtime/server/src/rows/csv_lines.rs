//! Rows in CSV, as the clients of SageMaker send them: with a line of names, or, when every field
//! is there, without.

use bytes::Bytes;
use steppe_spec::ColumnType;

use super::{Form, Questions};
use crate::problems::RequestError;

/// The rows of a body.
pub fn read(form: &Form, body: &Bytes) -> Result<Questions, RequestError> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&body[..]);
    let broken = |e: csv::Error| RequestError::Invalid(format!("the body is no CSV: {e}"));
    let records: Vec<csv::StringRecord> =
        reader.records().collect::<Result<_, _>>().map_err(broken)?;
    let Some(first) = records.first() else {
        return Err(RequestError::Invalid("the body has no rows".to_owned()));
    };
    let named = is_header(form, first);
    let columns: Vec<(Option<usize>, bool)> = match named {
        true => named_columns(form, first)?,
        false => (0..form.columns().len()).map(|place| (Some(place), false)).collect(),
    };
    let rows = &records[usize::from(named)..];
    if rows.is_empty() {
        return Err(RequestError::Invalid("the body has a line of names and no rows".to_owned()));
    }
    let mut building = form.building(rows.len());
    for (number, record) in rows.iter().enumerate() {
        if record.len() != columns.len() {
            let (fields, needed) = (record.len(), columns.len());
            let reason = format!("has {fields} fields; expected {needed}");
            return Err(RequestError::BadRow { row: number, reason });
        }
        let texts =
            columns.iter().zip(record).map(|((place, entity), text)| (*place, *entity, text));
        building.add_texts(number, texts)?;
    }
    let (table, entities) = building.table()?;
    Ok(Questions { table, entities })
}

/// Whether a line names columns: one of its fields is the name of a column that is no text, or all
/// are names.
fn is_header(form: &Form, line: &csv::StringRecord) -> bool {
    let names = |field: &str| form.columns().iter().any(|(name, _)| name == field);
    let of_another_type = |field: &str| {
        form.columns().iter().any(|(name, kind)| name == field && *kind != ColumnType::String)
    };
    line.iter().any(of_another_type) || line.iter().all(names)
}

fn named_columns(
    form: &Form,
    line: &csv::StringRecord,
) -> Result<Vec<(Option<usize>, bool)>, RequestError> {
    let place = |name: &str| Ok((form.place(name)?, form.is_entity(name)));
    let places: Result<Vec<_>, String> = line.iter().map(place).collect();
    let places = places.map_err(RequestError::Invalid)?;
    for (at, (name, _)) in form.columns().iter().enumerate() {
        match places.iter().filter(|(place, _)| *place == Some(at)).count() {
            1 => {}
            0 => return Err(RequestError::Invalid(format!("the line of names lacks `{name}`"))),
            _ => {
                let what = format!("the line of names has `{name}` twice");
                return Err(RequestError::Invalid(what));
            }
        }
    }
    Ok(places)
}
