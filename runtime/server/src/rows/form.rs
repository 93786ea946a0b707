//! What the rows of requests are read by: the columns of a model, and their types.
//!
//! What a client sends becomes columns as it is read, so nothing is kept in between.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use steppe_model::rows::table::{Column, Table};
use steppe_spec::tabular::TabularSpec;
use steppe_spec::{ColumnType, nearest};

use super::push;
use crate::problems::RequestError;

/// Microseconds of a day.
const MICROS_A_DAY: f64 = 86_400e6;
/// Levels of a column that are looked through; more are looked up.
const LOOKED_THROUGH: usize = 8;

/// The columns of a model.
#[derive(Debug)]
pub struct Form {
    columns: Vec<(String, ColumnType)>,
    places: HashMap<String, usize>,
    /// Columns that rows may have and that the model does not see.
    aside: Vec<String>,
    entity: Option<String>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A column of the model, by its place.
    Column(usize),
    /// What a row is about.
    Entity,
    /// A column of the table that the model does not see.
    Aside,
}

/// A value as it was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Given<'a> {
    /// None.
    Missing,
    /// A truth value.
    Truth(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(&'a str),
    /// Something that no column has, by its name.
    Other(&'static str),
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
    Levels(Levels),
}

/// Levels of a column that is being filled.
#[derive(Default)]
struct Levels {
    codes: Vec<Option<u32>>,
    names: Vec<String>,
    /// Where each is, once there are more than are looked through.
    places: HashMap<String, u32>,
}

impl Form {
    /// Of the model of a configuration.
    pub fn of(spec: &TabularSpec) -> Self {
        let task = &spec.task;
        let columns: Vec<(String, ColumnType)> =
            spec.columns.iter().map(|column| (column.name.clone(), column.kind)).collect();
        let own = [Some(&task.target), task.time.as_ref(), task.weights.as_ref()];
        let told = task.split.by.iter().chain(&task.report_by).chain(&spec.sensitive);
        let aside = own.into_iter().flatten().chain(&task.ignore).chain(told);
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

    /// What a name stands for. Clients mostly send columns in order, so the one at `likely` is
    /// looked at first.
    pub fn named(&self, name: &str, likely: usize) -> Result<Named, String> {
        if self.columns.get(likely).is_some_and(|(column, _)| column == name) {
            return Ok(Named::Column(likely));
        }
        if let Some(place) = self.places.get(name) {
            return Ok(Named::Column(*place));
        }
        if self.entity.as_deref() == Some(name) {
            return Ok(Named::Entity);
        }
        if self.aside.iter().any(|aside| aside == name) {
            return Ok(Named::Aside);
        }
        let near = nearest(name, self.columns.iter().map(|(name, _)| name.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        Err(format!("the model has no column `{}`{hint}", shortened(name)))
    }

    /// Columns for some rows.
    pub fn building(&self, rows: usize) -> Building<'_> {
        let values = |(_, kind): &(String, ColumnType)| match kind {
            ColumnType::Boolean => Values::Booleans(Vec::with_capacity(rows)),
            ColumnType::String => Values::Levels(Levels::default()),
            _ => Values::Numbers(Vec::with_capacity(rows)),
        };
        let columns = self.columns.iter().map(values).collect();
        Building { form: self, columns, entities: Vec::with_capacity(rows) }
    }
}

impl<'a> Building<'a> {
    /// What it is filled by.
    pub fn form(&self) -> &'a Form {
        self.form
    }

    /// Rows that are whole.
    pub fn rows(&self) -> usize {
        self.entities.len()
    }

    /// Whether the row that is being filled has a value of a column.
    pub fn has(&self, place: usize) -> bool {
        self.columns[place].len() > self.entities.len()
    }

    /// Ends a row that is about `entity`; every column has to have its value.
    pub fn end_row(&mut self, entity: Option<String>) -> Result<(), String> {
        if let Some(place) = (0..self.columns.len()).find(|place| !self.has(*place)) {
            let name = &self.form.columns[place].0;
            return Err(format!("lacks `{name}`; send null where a value is missing"));
        }
        self.entities.push(entity);
        Ok(())
    }

    /// Adds a value that JSON has to the row that is being filled.
    pub fn add(&mut self, place: usize, given: Given<'_>) -> Result<(), String> {
        let (name, kind) = &self.form.columns[place];
        let wrong = |expected: &str| {
            format!("`{name}` is {}; expected {expected}, or null where it is missing", given)
        };
        match (&mut self.columns[place], given) {
            (Values::Numbers(all), Given::Missing) => all.push(f64::NAN),
            (Values::Booleans(all), Given::Missing) => all.push(None),
            (Values::Levels(all), Given::Missing) => all.codes.push(None),
            (Values::Booleans(all), Given::Truth(value)) => all.push(Some(value)),
            (Values::Booleans(all), Given::Number(number)) if number == 0.0 || number == 1.0 => {
                all.push(Some(number == 1.0));
            }
            (Values::Booleans(_), _) => return Err(wrong("true or false")),
            (Values::Levels(all), Given::Text(text)) => all.push(text),
            (Values::Levels(_), _) => return Err(wrong("a text")),
            (Values::Numbers(all), Given::Text(text)) if is_time(*kind) => {
                all.push(days(*kind, text).ok_or_else(|| wrong(time_form(*kind)))?);
            }
            (Values::Numbers(_), _) if is_time(*kind) => return Err(wrong(time_form(*kind))),
            (Values::Numbers(all), Given::Number(number)) if number.is_finite() => {
                all.push(number);
            }
            (Values::Numbers(_), _) => return Err(wrong("a finite number")),
        }
        Ok(())
    }

    /// Adds a value that is written as text; an empty one is missing.
    pub fn add_text(&mut self, place: usize, text: &str) -> Result<(), String> {
        let (name, kind) = &self.form.columns[place];
        let wrong = |expected: &str| {
            let text = shortened(text);
            format!("`{name}` is `{text}`; expected {expected}, or nothing where it is missing")
        };
        let given = match (&self.columns[place], text) {
            (_, "") => Given::Missing,
            (Values::Booleans(_), "1" | "true" | "True" | "TRUE") => Given::Truth(true),
            (Values::Booleans(_), "0" | "false" | "False" | "FALSE") => Given::Truth(false),
            (Values::Booleans(_), _) => return Err(wrong("true or false")),
            (Values::Levels(_), text) => Given::Text(text),
            (Values::Numbers(_), text) if is_time(*kind) => match days(*kind, text) {
                Some(_) => Given::Text(text),
                None => return Err(wrong(time_form(*kind))),
            },
            (Values::Numbers(_), text) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Given::Number(number),
                _ => return Err(wrong("a finite number")),
            },
        };
        self.add(place, given)
    }

    /// The table, and what each row is about.
    pub fn table(self) -> Result<(Table, Vec<Option<String>>), RequestError> {
        let mut table = Table::new(self.entities.len());
        for ((name, _), values) in self.form.columns.iter().zip(self.columns) {
            let column = match values {
                Values::Numbers(values) => Column::Number(values),
                Values::Booleans(values) => Column::Boolean(values),
                Values::Levels(Levels { codes, names, .. }) => {
                    Column::Category { codes, levels: names }
                }
            };
            push(&mut table, name, column)?;
        }
        Ok((table, self.entities))
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(all) => all.len(),
            Self::Booleans(all) => all.len(),
            Self::Levels(all) => all.codes.len(),
        }
    }
}

impl Levels {
    fn push(&mut self, name: &str) {
        let known = match self.names.len() <= LOOKED_THROUGH {
            true => self.names.iter().position(|known| known == name).map(|place| place as u32),
            false => self.places.get(name).copied(),
        };
        let code = known.unwrap_or_else(|| self.add(name));
        self.codes.push(Some(code));
    }

    fn add(&mut self, name: &str) -> u32 {
        let code = self.names.len() as u32;
        self.names.push(name.to_owned());
        if self.names.len() > LOOKED_THROUGH {
            let from = self.places.len();
            self.places.extend(self.names[from..].iter().cloned().zip(from as u32..));
        }
        code
    }
}

/// For messages, not longer than a line.
impl std::fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => write!(f, "`null`"),
            Self::Truth(value) => write!(f, "`{value}`"),
            Self::Number(value) => write!(f, "`{value}`"),
            Self::Text(text) => write!(f, "`{:?}`", shortened(text)),
            Self::Other(what) => write!(f, "{what}"),
        }
    }
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(60).map_or(text, |(end, _)| &text[..end])
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

#[cfg(test)]
mod tests {
    use super::*;
    use steppe_spec::tabular::TabularKind;

    fn spec() -> TabularSpec {
        let columns = [("level", ColumnType::String), ("day", ColumnType::Date)];
        TabularSpec::new("test", TabularKind::Classification, "target", &columns)
    }

    #[test]
    fn levels_are_told_apart_however_many_they_are() {
        let form = Form::of(&spec());
        let mut building = form.building(200);
        let name = |row: usize| format!("l{}", row % 20);
        for row in 0..200 {
            building.add(0, Given::Text(&name(row))).expect("a level");
            building.add(1, Given::Text("2026-01-31")).expect("a day");
            building.end_row(None).expect("a row");
        }
        let (table, _) = building.table().expect("a table");
        let Some(Column::Category { codes, levels }) = table.column("level") else {
            panic!("of levels")
        };
        assert_eq!(levels.len(), 20);
        for (row, code) in codes.iter().enumerate() {
            assert_eq!(levels[code.expect("a level") as usize], name(row));
        }
        assert_eq!(table.column("day"), Some(&Column::Number(vec![20_484.0; 200])));
    }

    #[test]
    fn times_are_days_since_1970() {
        assert_eq!(days(ColumnType::Date, "1970-01-02"), Some(1.0));
        assert_eq!(days(ColumnType::Date, "1969-12-31"), Some(-1.0));
        assert_eq!(days(ColumnType::Timestamp, "1970-01-01T12:00:00"), Some(0.5));
        assert_eq!(days(ColumnType::Timestamp, "1970-01-01T12:00:00+06:00"), Some(0.25));
        for none in ["", "31.01.2026", "2026-02-30", "12"] {
            assert_eq!(days(ColumnType::Date, none), None, "{none}");
            assert_eq!(days(ColumnType::Timestamp, none), None, "{none}");
        }
    }
}
