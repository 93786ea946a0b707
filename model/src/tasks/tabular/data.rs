//! Rows that models learn from and are asked about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use steppe_spec::ColumnType;
use steppe_spec::tabular::{FeatureColumn, TabularKind, TabularSpec};

use super::columns::{Raw, RawTable};
use super::judged::ToldBy;
use crate::forecast::dataset::DataError;
use crate::rows::RowsError;
use crate::rows::matrix::select;
use crate::rows::table::{Column, Table};
use crate::task::Data;

/// Different whole numbers up to which `auto` takes a target for classes.
const AUTO_CLASSES_MAX: usize = 10;
/// Classes, at most.
const CLASSES_MAX: usize = 100;
/// Microseconds of a day.
const MICROS_A_DAY: f64 = 86_400e6;

/// What is predicted.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Classes, by their places in a list of labels. Of two, the second is what is predicted.
    Classes {
        /// The labels.
        labels: Arc<Vec<String>>,
        /// A place per row.
        codes: Vec<usize>,
    },
    /// Numbers.
    Numbers(Vec<f64>),
}

/// Rows with what is known of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// What models see.
    pub table: Table,
    /// What is predicted, of the rows where it is known; without it the rows can only be asked
    /// about.
    pub target: Option<Target>,
    /// What each row is about, if the task says so.
    pub entities: Option<Vec<String>>,
    /// When each row was known, in microseconds since 1970, if the task says so.
    pub times: Option<Vec<i64>>,
    /// A number per row that is the same within groups, if the split is by group.
    pub groups: Option<Vec<usize>>,
    /// The weight of each row, if the task has weights.
    pub weights: Option<Vec<f64>>,
    /// Texts by which scores are told, one per row, by column.
    pub told_by: ToldBy,
    /// Rows whose target was missing and that are left out.
    pub unlabelled: usize,
}

impl Data for Rows {
    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        for (name, column) in self.table.columns() {
            text(name);
            text(column.kind());
            for row in 0..column.rows() {
                match column {
                    Column::Category { codes, levels } => {
                        text(codes[row].map_or("\u{0}", |code| &levels[code as usize]));
                    }
                    _ => text(&column.number(row).unwrap_or(f64::NAN).to_bits().to_string()),
                }
            }
        }
        match &self.target {
            None => text("none"),
            Some(Target::Classes { labels, codes }) => {
                codes.iter().for_each(|code| text(&labels[*code]));
            }
            Some(Target::Numbers(values)) => {
                values.iter().for_each(|value| text(&value.to_bits().to_string()));
            }
        }
        self.entities.iter().flatten().for_each(|entity| text(entity));
        self.times.iter().flatten().for_each(|time| text(&time.to_string()));
        self.weights.iter().flatten().for_each(|weight| text(&weight.to_bits().to_string()));
        self.groups.iter().flatten().for_each(|group| text(&group.to_string()));
        hex::encode(hash.finalize())
    }
}

impl Rows {
    /// Reads rows that models learn from: those whose target is known.
    pub fn learnt(spec: &TabularSpec, files: Vec<Bytes>) -> Result<Self, DataError> {
        let mut raw = RawTable::read(files, &wanted(spec))?;
        if raw.rows() == 0 {
            return Err(DataError::Empty);
        }
        let Some(target) = raw.take(&spec.task.target) else {
            return Err(missing(&spec.task.target, &raw));
        };
        let (known, target) = target_of(spec, &target)?;
        if known.is_empty() {
            return unsuitable(format!("`{}` has no value in any row", spec.task.target));
        }
        let told_by = told_by(spec, &raw)?;
        let task = &spec.task;
        let weights = task.weights.as_ref().map(|name| weights(name, raw.get(name)?, &known));
        let weights = weights.transpose()?;
        let by = task.split.by.as_ref().map(|name| raw.get(name)).transpose()?;
        let groups = by.map(|column| numbered(&column.texts()));
        let mut all = Self::of(spec, raw)?;
        let numbers = |all: &Vec<String>| numbered(&all.iter().map(Some).collect::<Vec<_>>());
        let groups = groups.or_else(|| all.entities.as_ref().map(numbers));
        all = Self { told_by, weights, groups, ..all };
        let unlabelled = all.rows() - known.len();
        if unlabelled > 0 {
            all = all.select(&known);
        }
        Ok(Self { target: Some(target), unlabelled, ..all })
    }

    /// Reads rows that models are asked about: what they see, and what tells rows apart.
    pub fn asked(spec: &TabularSpec, files: Vec<Bytes>) -> Result<Self, DataError> {
        Self::of(spec, RawTable::read(files, &seen(spec).collect::<Vec<_>>())?)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.table.rows()
    }

    /// What is predicted.
    pub fn target(&self) -> &Target {
        self.target.as_ref().expect("only rows with a target are learnt from")
    }

    /// Rows of which nothing is known beside what models see and, if given, what is predicted.
    pub fn plain(table: Table, target: Option<Target>) -> Self {
        Self {
            table,
            target,
            entities: None,
            times: None,
            groups: None,
            weights: None,
            told_by: ToldBy::new(),
            unlabelled: 0,
        }
    }

    /// Some of the rows, in the order of their numbers.
    pub fn select(&self, rows: &[usize]) -> Self {
        let texts = |texts: &Vec<Option<String>>| rows.iter().map(|&r| texts[r].clone()).collect();
        Self {
            table: self.table.select(rows),
            target: self.target.as_ref().map(|target| target.select(rows)),
            entities: self
                .entities
                .as_ref()
                .map(|all| rows.iter().map(|&r| all[r].clone()).collect()),
            times: self.times.as_ref().map(|all| select(all, rows)),
            groups: self.groups.as_ref().map(|all| select(all, rows)),
            weights: self.weights.as_ref().map(|all| select(all, rows)),
            told_by: self.told_by.iter().map(|(name, all)| (name.clone(), texts(all))).collect(),
            unlabelled: 0,
        }
    }

    /// The row about an entity, the newest one where there are several.
    pub fn find(&self, entity: &str) -> Option<usize> {
        let entities = self.entities.as_ref()?;
        let of_it = (0..self.rows()).filter(|row| entities[*row] == entity);
        of_it.max_by_key(|row| (self.times.as_ref().map(|times| times[*row]), *row))
    }

    /// What tells a row from every other: its entity and time, or else all its values.
    pub fn key(&self, row: usize) -> String {
        match &self.entities {
            Some(entities) => {
                let time = self.times.as_ref().map(|times| times[row]).unwrap_or_default();
                format!("{}\u{0}{time}", entities[row])
            }
            None => self.values(row),
        }
    }

    /// All that a row says, but its target.
    pub fn content(&self, row: usize) -> String {
        format!("{}\u{0}{}", self.key(row), self.values(row))
    }

    fn values(&self, row: usize) -> String {
        let part = |(_, column): (&str, &Column)| match column {
            Column::Category { codes, levels } => {
                codes[row].map_or_else(String::new, |c| levels[c as usize].clone())
            }
            _ => column.number(row).unwrap_or(f64::NAN).to_bits().to_string(),
        };
        self.table.columns().map(part).collect::<Vec<_>>().join("\u{0}")
    }

    /// A row for people: by its entity, or its number.
    pub fn called(&self, row: usize) -> String {
        match &self.entities {
            Some(entities) => format!("the row of `{}`", entities[row]),
            None => format!("row {row}"),
        }
    }

    fn of(spec: &TabularSpec, mut raw: RawTable) -> Result<Self, DataError> {
        let (task, rows) = (&spec.task, raw.rows());
        let entities = match &task.entity {
            Some(name) => {
                let texts = raw.get(name)?.texts();
                let empty = || {
                    let what = format!("the entity `{name}` is missing in a row");
                    DataError::from(RowsError::Unsuitable(what))
                };
                let all: Option<Vec<String>> = texts.into_iter().collect();
                Some(all.ok_or_else(empty)?)
            }
            None => None,
        };
        let times = task.time.as_ref().map(|name| moments(name, raw.get(name)?)).transpose()?;
        let mut table = Table::new(rows);
        for FeatureColumn { name, kind } in &spec.columns {
            raw.get(name)?;
            let column = raw.take(name).expect("it is there");
            if !fits(&column, *kind) {
                return Err(DataError::Column {
                    column: name.clone(),
                    problem: "is of another type than the model's",
                    available: raw.names(),
                });
            }
            table.push(name, feature(column))?;
        }
        Ok(Self { entities, times, ..Self::plain(table, None) })
    }
}

impl Target {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes { codes, .. } => codes.len(),
            Self::Numbers(values) => values.len(),
        }
    }

    /// Of some rows, in the order of their numbers.
    pub fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Classes { labels, codes } => {
                Self::Classes { labels: labels.clone(), codes: select(codes, rows) }
            }
            Self::Numbers(values) => Self::Numbers(select(values, rows)),
        }
    }

    /// Whether it is a number.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Numbers(_))
    }

    /// What is answered of a row, each a number: of two classes the probability of the second, of
    /// more that of each, of numbers the number.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Classes { labels, .. } if labels.len() > 2 => labels.len(),
            _ => 1,
        }
    }

    /// The labels; none of numbers.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::Classes { labels, .. } => labels,
            Self::Numbers(_) => &[],
        }
    }

    /// The class of each row, as splits keep their shares: one class of numbers.
    pub fn classes(&self) -> Vec<usize> {
        match self {
            Self::Classes { codes, .. } => codes.clone(),
            Self::Numbers(values) => vec![0; values.len()],
        }
    }

    /// What is to be answered for an output, as numbers: 0 and 1 of a class.
    pub fn values(&self, output: usize) -> Vec<f64> {
        match self {
            Self::Numbers(values) => values.clone(),
            Self::Classes { .. } => {
                self.happened(output).into_iter().map(|yes| f64::from(u8::from(yes))).collect()
            }
        }
    }

    /// Whether each row is of the class of an output.
    pub fn happened(&self, output: usize) -> Vec<bool> {
        match self {
            Self::Numbers(_) => vec![],
            Self::Classes { labels, codes } => {
                let class = if labels.len() > 2 { output } else { 1 };
                codes.iter().map(|code| *code == class).collect()
            }
        }
    }
}

/// What models see, and what tells rows apart.
fn seen(spec: &TabularSpec) -> impl Iterator<Item = &str> {
    let own = [spec.task.entity.as_ref(), spec.task.time.as_ref()].into_iter().flatten();
    spec.columns.iter().map(|column| &column.name).chain(own).map(String::as_str)
}

/// All columns that a task learns from.
fn wanted(spec: &TabularSpec) -> Vec<&str> {
    let task = &spec.task;
    let own = [Some(&task.target), task.weights.as_ref(), task.split.by.as_ref()];
    let lists = own.into_iter().flatten().chain(&task.report_by).chain(&spec.sensitive);
    let all: BTreeSet<&str> = seen(spec).chain(lists.map(String::as_str)).collect();
    all.into_iter().collect()
}

fn missing(name: &str, raw: &RawTable) -> DataError {
    DataError::Column { column: name.to_owned(), problem: "is missing", available: raw.names() }
}

/// Texts by which scores are told.
fn told_by(spec: &TabularSpec, raw: &RawTable) -> Result<ToldBy, DataError> {
    let names = spec.task.report_by.iter().chain(&spec.sensitive);
    let texts = |name: &String| {
        // A target by whose values scores are told was taken out.
        let texts = if *name == spec.task.target { vec![] } else { raw.get(name)?.texts() };
        Ok((name.clone(), texts))
    };
    let all = names.map(texts).collect::<Result<ToldBy, DataError>>()?;
    Ok(all.into_iter().filter(|(_, texts)| !texts.is_empty()).collect())
}

/// Whether values are what the model's column has.
fn fits(raw: &Raw, kind: ColumnType) -> bool {
    use ColumnType::{Bigint, Boolean, Date, Decimal, Double, Int, String, Timestamp};
    match kind {
        Boolean => matches!(raw, Raw::Boolean(_)),
        String => matches!(raw, Raw::Text { .. }),
        Int | Bigint | Double | Decimal(..) => matches!(raw, Raw::Whole(_) | Raw::Number(_)),
        Date | Timestamp => matches!(raw, Raw::Day(_) | Raw::Moment(_)),
    }
}

/// A column that models see. What is a time is the number of days since 1970.
fn feature(raw: Raw) -> Column {
    let scaled = |values: Vec<Option<i64>>, unit: f64| {
        let number = |value: Option<i64>| value.map_or(f64::NAN, |value| value as f64 / unit);
        Column::Number(values.into_iter().map(number).collect())
    };
    match raw {
        Raw::Boolean(values) => Column::Boolean(values),
        Raw::Whole(values) | Raw::Day(values) => scaled(values, 1.0),
        Raw::Moment(values) => scaled(values, MICROS_A_DAY),
        Raw::Number(values) => Column::Number(values),
        Raw::Text { codes, texts } => Column::Category { codes, levels: texts },
    }
}

fn moments(name: &str, raw: &Raw) -> Result<Vec<i64>, DataError> {
    let times: Option<Vec<i64>> = match raw {
        Raw::Day(days) => days.iter().map(|day| (*day)?.checked_mul(86_400_000_000)).collect(),
        Raw::Moment(moments) => moments.iter().copied().collect(),
        _ => None,
    };
    times.ok_or_else(|| {
        RowsError::Unsuitable(format!("the time `{name}` is missing in a row, or no time")).into()
    })
}

/// The weights of all rows; those of `known` rows have to be there.
fn weights(name: &str, raw: &Raw, known: &[usize]) -> Result<Vec<f64>, DataError> {
    let values: Vec<f64> = match raw {
        Raw::Number(values) => values.clone(),
        Raw::Whole(values) => values.iter().map(|v| v.map_or(f64::NAN, |v| v as f64)).collect(),
        _ => return unsuitable(format!("the weights `{name}` are no numbers")),
    };
    let usable = |row: &&usize| values[**row].is_finite() && values[**row] >= 0.0;
    match known.iter().find(|row| !usable(row)) {
        Some(row) => unsuitable(format!("row {row} has no weight in `{name}` that is 0 or more")),
        None if !known.iter().any(|row| values[*row] > 0.0) => {
            unsuitable(format!("no row has a weight in `{name}` above 0: nothing is learnt"))
        }
        None => Ok(values),
    }
}

fn unsuitable<T>(what: String) -> Result<T, DataError> {
    Err(RowsError::Unsuitable(what).into())
}

/// A number per text, the same for the same one.
fn numbered<T: Ord>(texts: &[T]) -> Vec<usize> {
    let mut numbers = BTreeMap::new();
    let mut number = |text| {
        let next = numbers.len();
        *numbers.entry(text).or_insert(next)
    };
    texts.iter().map(&mut number).collect()
}

/// Rows whose target is known, and it.
fn target_of(spec: &TabularSpec, raw: &Raw) -> Result<(Vec<usize>, Target), DataError> {
    let task = &spec.task;
    let distinct = |values: &[Option<i64>]| values.iter().flatten().collect::<BTreeSet<_>>().len();
    let of_numbers = match (task.kind, raw) {
        (TabularKind::Regression, _) => true,
        (TabularKind::Classification, _) => false,
        (TabularKind::Auto, Raw::Number(_)) => true,
        (TabularKind::Auto, Raw::Whole(values)) => distinct(values) > AUTO_CLASSES_MAX,
        (TabularKind::Auto, _) => false,
    };
    if of_numbers {
        let values: Vec<f64> = match raw {
            Raw::Number(values) => values.clone(),
            Raw::Whole(values) => values.iter().map(|v| v.map_or(f64::NAN, |v| v as f64)).collect(),
            _ => {
                let what = format!("`{}` is no number", task.target);
                return Err(RowsError::Unsuitable(what).into());
            }
        };
        let known: Vec<usize> = (0..values.len()).filter(|row| !values[*row].is_nan()).collect();
        if let Some(&row) = known.iter().find(|row| values[**row].is_infinite()) {
            let what = format!("`{}` is {} in row {row}", task.target, values[row]);
            return Err(RowsError::Unsuitable(what).into());
        }
        let target = Target::Numbers(select(&values, &known));
        return Ok((known, target));
    }
    let texts = raw.texts();
    let labels = labels_of(spec, raw, &texts)?;
    let places: BTreeMap<&str, usize> = labels.iter().map(String::as_str).zip(0..).collect();
    let (mut known, mut codes) = (Vec::new(), Vec::new());
    for (row, text) in texts.iter().enumerate() {
        let Some(text) = text else { continue };
        let Some(code) = places.get(text.as_str()) else {
            let what = format!(
                "`{}` is `{text}` in row {row}; `labels` has `{}`",
                task.target,
                labels.join("`, `")
            );
            return Err(RowsError::Unsuitable(what).into());
        };
        known.push(row);
        codes.push(*code);
    }
    if let Some(first) = codes.first().filter(|first| codes.iter().all(|code| code == *first)) {
        let (target, only) = (&task.target, &labels[*first]);
        let what = format!("`{target}` is `{only}` in every row: there is nothing to learn");
        return unsuitable(what);
    }
    Ok((known, Target::Classes { labels: Arc::new(labels), codes }))
}

/// The labels that a target may have, in order.
fn labels_of(
    spec: &TabularSpec,
    raw: &Raw,
    texts: &[Option<String>],
) -> Result<Vec<String>, DataError> {
    if !spec.task.labels.is_empty() {
        return Ok(spec.task.labels.clone());
    }
    let mut labels: Vec<String> =
        texts.iter().flatten().collect::<BTreeSet<_>>().into_iter().cloned().collect();
    if matches!(raw, Raw::Whole(_)) {
        labels.sort_by_key(|label| label.parse::<i64>().unwrap_or_default());
    }
    if labels.len() > CLASSES_MAX {
        return unsuitable(format!(
            "`{}` has {} different labels; at most {CLASSES_MAX} are told apart",
            spec.task.target,
            labels.len()
        ));
    }
    Ok(labels)
}
