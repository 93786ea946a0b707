//! What the rows of requests are read by: the columns of a model, and their types.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use steppe_model::rows::table::{Column, Table};
use steppe_spec::tabular::TabularSpec;
use steppe_spec::{ColumnType, nearest};

use super::push;
use crate::problems::RequestError;

/// Microseconds of a day.
const MICROS_A_DAY: f64 = 86_400e6;

/// The columns of a model.
#[derive(Debug)]
pub struct Form {
    columns: Vec<(String, ColumnType)>,
    places: HashMap<String, usize>,
    /// Columns that rows may have and that the model does not see.
    aside: Vec<String>,
    entity: Option<String>,
}

/// Columns that are being filled.
pub struct Building<'a> {
    form: &'a Form,
    columns: Vec<Values>,
    entities: Vec<Option<String>>,
}

/// Values of a column that is being filled.
enum Values {
    Numbers(Vec<f64>),
    Booleans(Vec<Option<bool>>),
    Texts(Vec<Option<String>>),
}

impl Form {
    /// Of the model of a configuration.
    pub fn of(spec: &TabularSpec) -> Self {
        let task = &spec.task;
        let columns: Vec<(String, ColumnType)> =
            spec.columns.iter().map(|column| (column.name.clone(), column.kind)).collect();
        let own = [Some(&task.target), task.entity.as_ref(), task.time.as_ref()];
        let aside = own.into_iter().flatten().chain(&task.weights).chain(&task.ignore);
        Self {
            places: columns.iter().map(|(name, _)| name.clone()).zip(0..).collect(),
            aside: aside.cloned().collect(),
            entity: task.entity.clone(),
            columns,
        }
    }

    /// The columns with their types.
    pub fn columns(&self) -> &[(String, ColumnType)] {
        &self.columns
    }

    /// The place of a column; none of one that the model does not see.
    pub fn place(&self, name: &str) -> Result<Option<usize>, String> {
        match self.places.get(name) {
            Some(place) => Ok(Some(*place)),
            None if self.aside.iter().any(|aside| aside == name) => Ok(None),
            None => {
                let near = nearest(name, self.columns.iter().map(|(name, _)| name.as_str()));
                let hint =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                Err(format!("the model has no column `{name}`{hint}"))
            }
        }
    }

    /// Whether a column says what a row is about.
    pub fn is_entity(&self, name: &str) -> bool {
        self.entity.as_deref() == Some(name)
    }

    /// Columns for some rows.
    pub fn building(&self, rows: usize) -> Building<'_> {
        let values = |(_, kind): &(String, ColumnType)| match kind {
            ColumnType::Boolean => Values::Booleans(Vec::with_capacity(rows)),
            ColumnType::String => Values::Texts(Vec::with_capacity(rows)),
            _ => Values::Numbers(Vec::with_capacity(rows)),
        };
        let columns = self.columns.iter().map(values).collect();
        Building { form: self, columns, entities: Vec::with_capacity(rows) }
    }
}

impl Building<'_> {
    /// Adds a row.
    pub fn add(&mut self, number: usize, row: &Map<String, Value>) -> Result<(), RequestError> {
        let bad = |reason: String| RequestError::BadRow { row: number, reason };
        let mut entity = None;
        let mut given = 0;
        for (name, value) in row {
            match self.form.place(name).map_err(bad)? {
                Some(place) => {
                    given += 1;
                    self.value(place, value).map_err(bad)?;
                }
                None if self.form.is_entity(name) => entity = Some(plain(value)),
                None => {}
            }
        }
        if given < self.form.columns.len() {
            let missing = self.form.columns.iter().find(|(name, _)| !row.contains_key(name));
            let name = missing.map_or("", |(name, _)| name);
            return Err(bad(format!("lacks `{name}`; send null where a value is missing")));
        }
        self.entities.push(entity);
        Ok(())
    }

    /// Adds a row without a name, of texts; an empty one is missing.
    pub fn add_texts<'t>(
        &mut self,
        number: usize,
        texts: impl Iterator<Item = (Option<usize>, bool, &'t str)>,
    ) -> Result<(), RequestError> {
        let bad = |reason: String| RequestError::BadRow { row: number, reason };
        let mut entity = None;
        for (place, is_entity, text) in texts {
            if let Some(place) = place {
                self.text(place, text).map_err(bad)?;
            } else if is_entity {
                entity = Some(text.to_owned());
            }
        }
        self.entities.push(entity);
        Ok(())
    }

    fn value(&mut self, place: usize, value: &Value) -> Result<(), String> {
        let (name, kind) = &self.form.columns[place];
        let wrong = |expected: &str| format!("`{name}` is {}; expected {expected}", shown(value));
        match (&mut self.columns[place], value) {
            (Values::Numbers(all), Value::Null) => all.push(f64::NAN),
            (Values::Booleans(all), Value::Null) => all.push(None),
            (Values::Texts(all), Value::Null) => all.push(None),
            (Values::Booleans(all), Value::Bool(value)) => all.push(Some(*value)),
            (Values::Booleans(all), Value::Number(number)) => match number.as_f64() {
                Some(number) if number == 0.0 || number == 1.0 => all.push(Some(number == 1.0)),
                _ => return Err(wrong("true or false")),
            },
            (Values::Booleans(_), _) => return Err(wrong("true or false")),
            (Values::Texts(all), Value::String(text)) => all.push(Some(text.clone())),
            (Values::Texts(_), _) => return Err(wrong("a text")),
            (Values::Numbers(all), Value::String(text)) if is_time(*kind) => {
                all.push(days(*kind, text).ok_or_else(|| wrong(time_form(*kind)))?);
            }
            (Values::Numbers(all), Value::Number(number)) if !is_time(*kind) => {
                let number = number.as_f64().filter(|number| number.is_finite());
                all.push(number.ok_or_else(|| wrong("a finite number"))?);
            }
            (Values::Numbers(_), _) if is_time(*kind) => return Err(wrong(time_form(*kind))),
            (Values::Numbers(_), _) => return Err(wrong("a number")),
        }
        Ok(())
    }

    fn text(&mut self, place: usize, text: &str) -> Result<(), String> {
        let (name, kind) = &self.form.columns[place];
        let wrong = |expected: &str| format!("`{name}` is `{text}`; expected {expected}");
        match (&mut self.columns[place], text) {
            (Values::Numbers(all), "") => all.push(f64::NAN),
            (Values::Booleans(all), "") => all.push(None),
            (Values::Texts(all), "") => all.push(None),
            (Values::Booleans(all), text) => all.push(Some(match text {
                "1" | "true" | "True" | "TRUE" => true,
                "0" | "false" | "False" | "FALSE" => false,
                _ => return Err(wrong("true or false")),
            })),
            (Values::Texts(all), text) => all.push(Some(text.to_owned())),
            (Values::Numbers(all), text) if is_time(*kind) => {
                all.push(days(*kind, text).ok_or_else(|| wrong(time_form(*kind)))?);
            }
            (Values::Numbers(all), text) => {
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                all.push(number.ok_or_else(|| wrong("a finite number"))?);
            }
        }
        Ok(())
    }

    /// The table, and what each row is about.
    pub fn table(self) -> Result<(Table, Vec<Option<String>>), RequestError> {
        let mut table = Table::new(self.entities.len());
        for ((name, _), values) in self.form.columns.iter().zip(self.columns) {
            let column = match values {
                Values::Numbers(values) => Column::Number(values),
                Values::Booleans(values) => Column::Boolean(values),
                Values::Texts(texts) => Column::category(texts.iter().map(Option::as_deref)),
            };
            push(&mut table, name, column)?;
        }
        Ok((table, self.entities))
    }
}

/// What a row is about, as a text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value for a message, not longer than a line.
fn shown(value: &Value) -> String {
    let text: String = value.to_string().chars().take(60).collect();
    format!("`{text}`")
}

fn is_time(kind: ColumnType) -> bool {
    matches!(kind, ColumnType::Date | ColumnType::Timestamp)
}

fn time_form(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Date => "a date, such as `2026-01-31`",
        _ => "a time, such as `2026-01-31T12:00:00`",
    }
}

/// Days since 1970, as models see times.
fn days(kind: ColumnType, text: &str) -> Option<f64> {
    if kind == ColumnType::Date {
        let since = Date::constant(1970, 1, 1);
        return Some(f64::from((text.parse::<Date>().ok()? - since).get_days()));
    }
    let moment = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<DateTime>().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    Some(moment.as_microsecond() as f64 / MICROS_A_DAY)
}
