//! Answers about rows: probabilities or numbers, with the reasons.

use std::collections::BTreeMap;
use std::ptr;

use serde_json::Value;
use steppe_wire::drift::Side;
use steppe_wire::score::{Reason, ScoredRow};

use super::answers::Answers;
use super::judged::likeliest;
use super::model::Reasons;
use super::section::{ColumnSummary, LEVELS_MAX, Section};
use super::{Artifact, Row};
use crate::rows::RowsError;
use crate::rows::table::{Column, Table};

/// What drift counts for a value that is missing: more than every other. The least values may be
/// those of most rows, and what is missing would hide among them.
const MISSING: f64 = f64::MAX;

/// How rows are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Whether the reasons are wanted.
    pub reasons: bool,
}

/// What is answered about a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// Of two classes the probability of the second, of more that of each, of numbers the number;
    /// not finite where the row cannot be answered.
    pub answers: Vec<f64>,
    /// Why, if that was asked: of several classes for the likeliest.
    pub reasons: Option<Reasons>,
}

impl Artifact {
    /// Answers about rows. Those of one table are best asked together.
    pub fn answer(&self, rows: &[Row<'_>], asked: Asked) -> Vec<Answered> {
        let same = |a: &Row<'_>, b: &Row<'_>| ptr::eq(a.table, b.table);
        rows.chunk_by(same).flat_map(|rows| self.of_one_table(rows, asked)).collect()
    }

    fn of_one_table(&self, rows: &[Row<'_>], asked: Asked) -> Vec<Answered> {
        let (table, some) = (rows[0].table, rows.iter().map(|row| row.row));
        let all = some.clone().eq(0..table.rows());
        let selected;
        let table = match all {
            true => table,
            false => {
                selected = table.select(&some.collect::<Vec<_>>());
                &selected
            }
        };
        self.of_table(table, asked).unwrap_or_else(|_| {
            let none = || Answered { answers: vec![f64::NAN; self.outputs()], reasons: None };
            rows.iter().map(|_| none()).collect()
        })
    }

    /// Answers about all rows of a table that has the columns of the model.
    pub fn of_table(&self, table: &Table, asked: Asked) -> Result<Vec<Answered>, RowsError> {
        let scorer = self.model.role();
        let answers = Answers::by(&self.model, table)?.calibrated(&self.card.section.calibration);
        let answers: Vec<Vec<f64>> = (0..table.rows()).map(|row| answers.row(row)).collect();
        let mut reasons = Vec::new();
        if asked.reasons {
            let several = self.card.section.target.labels.len() > 2;
            let output = |answers: &Vec<f64>| if several { likeliest(answers) } else { 0 };
            reasons = scorer.reasons(table, &answers.iter().map(output).collect::<Vec<_>>())?;
        }
        let mut reasons = reasons.into_iter();
        let answered = |answers| Answered { answers, reasons: reasons.next() };
        Ok(answers.into_iter().map(answered).collect())
    }

    /// Whether the reasons of an answer take microseconds.
    pub fn reasons_are_quick(&self) -> bool {
        self.model.role().reasons_are_quick()
    }

    fn outputs(&self) -> usize {
        self.card.section.calibration.len().max(1)
    }

    /// A plain row, and one of which nothing is known, must have answers.
    pub(super) fn try_out(&self) -> Result<(), String> {
        if self.model.role().outputs() != self.outputs() {
            return Err("the model has other outputs than its card".to_owned());
        }
        let mut table = Table::new(2);
        for ColumnSummary { name, kind, levels, .. } in &self.card.section.data.columns {
            let column = match kind.as_str() {
                "numbers" => Column::Number(vec![1.0, f64::NAN]),
                "truth values" => Column::Boolean(vec![Some(true), None]),
                _ => Column::category([levels.first().map(String::as_str), None]),
            };
            table.push(name, column).map_err(|error| error.to_string())?;
        }
        let answered = self.of_table(&table, Asked { reasons: true });
        let answered = answered.map_err(|error| error.to_string())?;
        let probability = !self.card.section.target.labels.is_empty();
        let usable = |v: &f64| v.is_finite() && (!probability || (0.0..=1.0).contains(v));
        match answered.iter().all(|answered| answered.answers.iter().all(usable)) {
            true => Ok(()),
            false => Err("a plain row has no usable answer".to_owned()),
        }
    }

    /// What drift counts of a row and its answer, in the order of [`statistics_of`].
    pub(super) fn statistics(&self, row: Row<'_>, answered: &Answered) -> Vec<f64> {
        let columns = self.card.section.data.columns.iter();
        let counted = columns.map(|column| counted(column, row));
        counted.chain(answered.answers.iter().copied()).collect()
    }
}

/// What drift counts, each with the side that it is taken on: every column and every answer.
pub(super) fn statistics_of(section: &Section) -> Vec<(String, Side)> {
    let columns = section.data.columns.iter().map(|column| (column.name.clone(), Side::Input));
    let labels = &section.target.labels;
    let answers = match labels.len() {
        0 => vec!["answer".to_owned()],
        2 => vec![format!("probability of {}", labels[1])],
        _ => labels.iter().map(|label| format!("probability of {label}")).collect(),
    };
    columns.chain(answers.into_iter().map(|name| (name, Side::Output))).collect()
}

/// A value as a number: of a level its place by frequency, of one that was not seen the next.
fn counted(column: &ColumnSummary, Row { table, row }: Row<'_>) -> f64 {
    let value = match table.column(&column.name) {
        Some(Column::Category { codes, levels }) => {
            let place = |code: u32| {
                let place = column.levels.iter().position(|level| *level == levels[code as usize]);
                place.unwrap_or(column.levels.len()) as f64
            };
            codes[row].map(place)
        }
        Some(other) => other.number(row).filter(|value| !value.is_nan()),
        None => None,
    };
    value.unwrap_or(MISSING)
}

impl Artifact {
    /// The answer about a row of a table, as clients get it; none where it is not finite.
    pub fn scored(
        &self,
        Row { table, row }: Row<'_>,
        answered: &Answered,
        asked: &Wanted<'_>,
    ) -> Option<ScoredRow> {
        let (section, answers) = (&self.card.section, &answered.answers);
        let labels = &section.target.labels;
        let reasons = answered.reasons.as_ref();
        // A probability is finite even where what it rests on is beyond all numbers.
        let effects = reasons.iter().flat_map(|reasons| &reasons.effects).map(|(_, effect)| effect);
        if !answers.iter().chain(effects).all(|number| number.is_finite()) {
            return None;
        }
        let two = labels.len() == 2;
        Some(ScoredRow {
            entity: asked.entity.map(str::to_owned),
            probability: two.then(|| answers[0]),
            probabilities: match labels.len() {
                0 | 2 => BTreeMap::new(),
                _ => labels.iter().cloned().zip(answers.iter().copied()).collect(),
            },
            value: labels.is_empty().then(|| answers[0]),
            label: section.label(answers, asked.threshold).map(str::to_owned),
            threshold: if two { asked.threshold.or(section.threshold) } else { None },
            reasons: reasons.map(|reasons| strongest(reasons, asked.most, table, row)),
            base: reasons.map(|reasons| reasons.base),
            unknown_levels: self.unknown_levels(Row { table, row }),
        })
    }

    /// Rows of a table with a level that was not there when the model was trained, by column.
    pub fn unknown_levels_of(&self, table: &Table) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for row in 0..table.rows() {
            for column in self.unknown_levels(Row { table, row }) {
                *counts.entry(column).or_default() += 1;
            }
        }
        counts
    }

    /// Columns with a level that was not there when the model was trained.
    fn unknown_levels(&self, Row { table, row }: Row<'_>) -> Vec<String> {
        let unknown = |column: &&ColumnSummary| match table.column(&column.name) {
            Some(Column::Category { codes, levels }) => codes[row].is_some_and(|code| {
                let whole = column.levels.len() < LEVELS_MAX;
                whole && !column.levels.contains(&levels[code as usize])
            }),
            _ => false,
        };
        let columns = self.card.section.data.columns.iter().filter(unknown);
        columns.map(|column| column.name.clone()).collect()
    }
}

/// How an answer is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What the row is about.
    pub entity: Option<&'a str>,
    /// From which probability on the answer is yes; the model's own when absent.
    pub threshold: Option<f64>,
    /// Reasons, at most.
    pub most: usize,
}

/// The strongest reasons, strongest first.
fn strongest(reasons: &Reasons, most: usize, table: &Table, row: usize) -> Vec<Reason> {
    let mut all: Vec<&(String, f64)> = reasons.effects.iter().collect();
    all.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let reason = |(column, effect): &&(String, f64)| Reason {
        column: column.clone(),
        value: table.column(column).map_or(Value::Null, |column| shown(column, row)),
        effect: *effect,
    };
    all.iter().take(most).map(reason).collect()
}

/// A value as JSON has it.
pub fn shown(column: &Column, row: usize) -> Value {
    match column {
        Column::Category { codes, levels } => {
            codes[row].map_or(Value::Null, |code| levels[code as usize].clone().into())
        }
        Column::Boolean(values) => values[row].map_or(Value::Null, Value::from),
        // Whole numbers are shown as such; what is missing has no number.
        Column::Number(values) if values[row].fract() == 0.0 && values[row].abs() < 9e15 => {
            Value::from(values[row] as i64)
        }
        Column::Number(values) => Value::from(values[row]),
    }
}
