//! What the card of a model of rows says beside what all cards say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use steppe_spec::Family;
use steppe_spec::tabular::{SplitKind, TabularSpec};

use super::answers::{Answers, fitted};
use super::data::{Rows, Target};
use super::judged::{Judged, likeliest};
use super::model::{Link, Reasons};
use super::search::Tuning;
use super::seen::Seen;
use super::trials::{Entrant, Run};
use crate::error::TrainError;
use crate::families::RowModel;
use crate::rows::calibration::{Calibration, Comparison};
use crate::rows::metrics::mean;
use crate::rows::table::Column;
use crate::task::Data;
use crate::trials::{Score, Trials};

/// Levels of a column that drift tells apart, at most; the others are one.
pub(super) const LEVELS_MAX: usize = 50;
/// Rows whose reasons are in a card, at most.
const SWARM_ROWS: usize = 200;
/// Decimals that are shown of numbers, at most.
const DECIMALS_MAX: usize = 6;

/// The section of models of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// What it was trained on.
    pub data: Summary,
    /// What is predicted.
    pub target: TargetSummary,
    /// Which rows were for what.
    pub split: SplitSummary,
    /// The families that were compared, with the options of the manifest.
    pub candidates: Vec<Candidate>,
    /// The search for options of the chosen one.
    pub tuning: Option<Tuning>,
    /// What turns answers into probabilities, one per output.
    pub calibration: Vec<Calibration>,
    /// How each way of calibrating did in folds, one per output.
    pub calibrations: Vec<Comparison>,
    /// From which probability on the answer of two classes is yes.
    pub threshold: Option<f64>,
    /// How good the model is on rows that were asked in folds.
    pub out_of_fold: Judged,
    /// How good it is on rows that chose nothing; none where no rows were kept.
    pub test: Option<Judged>,
    /// What sums of effects are.
    pub link: Link,
    /// What each column adds, the most important one first.
    pub importance: Vec<Importance>,
}

/// The data that a model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Rows.
    pub rows: usize,
    /// Rows whose target was missing, which are not among them.
    pub unlabelled: usize,
    /// The newest that it knows: a time, or how many rows.
    pub known: String,
    /// [`Data::fingerprint`].
    pub fingerprint: String,
    /// Columns that models see.
    pub columns: Vec<ColumnSummary>,
    /// Which rows they were, by what tells them from others.
    pub seen: Seen,
    /// The same, by all that they say: rows that have changed are told by it.
    pub contents: Seen,
}

/// A column that models see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: String,
    /// Rows without a value.
    pub missing: usize,
    /// Its levels by their rows, most frequent first, as far as drift tells them apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<String>,
    /// Whether it says something about people that must not decide by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

/// What is predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetSummary {
    /// Labels in order; of two, the last is what is predicted. None of numbers.
    pub labels: Vec<String>,
    /// Rows of each.
    pub counts: Vec<usize>,
    /// Least, mean and greatest value, of numbers.
    pub range: Option<[f64; 3]>,
    /// Decimals that numbers have.
    pub decimals: usize,
}

/// Which rows were for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSummary {
    /// How they are told apart.
    pub kind: SplitKind,
    /// Rows that options were searched on.
    pub train: usize,
    /// Rows that told whether that helped.
    pub validation: usize,
    /// Rows that the model was judged on, once.
    pub test: usize,
    /// Folds in which families were compared.
    pub folds: usize,
    /// Times that they were drawn.
    pub repeats: usize,
}

/// A family that took part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The family.
    pub family: Family,
    /// Its scores in folds; the deciding one first.
    pub scores: Vec<InFolds>,
    /// Probability of a difference to the model at least this large when there is none, by a paired
    /// bootstrap of rows; none for the model itself.
    pub p_value: Option<f64>,
}

/// A score in folds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InFolds {
    /// What people call it.
    pub name: String,
    /// Mean over folds.
    pub value: f64,
    /// Deviation of folds.
    pub deviation: f64,
}

/// What a column adds to answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// The column.
    pub column: String,
    /// Mean size of what it adds, in the unit of sums: log odds, or that of the answer.
    pub effect: f64,
    /// Of some rows, the place of the value among all (0 the lowest, 1 the highest; −1 where it is
    /// missing or has no order) and what it adds.
    pub swarm: Vec<(f32, f32)>,
}

impl Section {
    /// Of the model that was chosen: it is asked, once, about the rows that were kept.
    pub fn of(data: &Rows, spec: &TabularSpec, run: &Run<'_>) -> Result<Self, TrainError> {
        let chosen = run.chosen();
        let entrant = run.served(chosen);
        let threshold = run.threshold(entrant)?;
        let asked = data.select(&run.asked);
        let out_of_fold = Judged::of(&run.target, &entrant.answers[0], threshold, &asked.told_by);
        // It has seen no row that is kept: what these are asked of, and what tells reasons.
        let model = fitted(entrant.family, &data.select(&run.sets.rest), &entrant.spec)?;
        let test = match run.sets.test.is_empty() {
            true => None,
            false => Some(of_kept(data, run, (entrant, &model), threshold)?),
        };
        let repeats = run.fold_of.len();
        Ok(Self {
            data: Summary::of(data, spec),
            target: TargetSummary::of(data.target()),
            split: SplitSummary {
                kind: run.sets.kind,
                train: run.sets.train.len(),
                validation: run.sets.validation.len(),
                test: run.sets.test.len(),
                folds: run.sets.folds_a_repeat,
                repeats,
            },
            candidates: candidates(run, chosen),
            tuning: run.tuning.clone(),
            calibration: entrant.maps.clone(),
            calibrations: entrant.compared.clone(),
            threshold,
            out_of_fold,
            test,
            link: model.role().link(),
            importance: importance(data, run, (entrant, &model))?,
        })
    }

    pub(super) fn check(&self, spec: &TabularSpec) -> Result<(), String> {
        let labels = self.target.labels.len();
        if labels == 1 || self.target.counts.len() != labels {
            return Err("the labels and their counts do not belong together".to_owned());
        }
        let outputs = match labels {
            0 => 0,
            2 => 1,
            many => many,
        };
        if self.calibration.len() != outputs {
            return Err(format!("there are {} calibrations of {outputs}", self.calibration.len()));
        }
        for map in &self.calibration {
            map.check().map_err(|error| error.to_string())?;
        }
        if let Some(tuning) = &self.tuning {
            tuning.journal.check().map_err(|error| error.to_string())?;
        }
        if self.threshold.is_some() != (labels == 2)
            || self.threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold))
        {
            return Err("the threshold is no probability".to_owned());
        }
        let names = self.data.columns.iter().map(|column| &column.name);
        if !names.eq(spec.columns.iter().map(|column| &column.name)) {
            return Err("the columns are not those of the configuration".to_owned());
        }
        if self.target.decimals > DECIMALS_MAX {
            return Err(format!("`decimals` is {}, at most {DECIMALS_MAX}", self.target.decimals));
        }
        self.data.contents.check()?;
        self.data.seen.check()
    }

    /// The label that an answer is.
    pub fn label(&self, answer: &[f64], threshold: Option<f64>) -> Option<&str> {
        let labels = &self.target.labels;
        let class = match labels.len() {
            0 => return None,
            2 => usize::from(answer[0] >= threshold.or(self.threshold).unwrap_or(0.5)),
            _ => likeliest(answer),
        };
        labels.get(class).map(String::as_str)
    }
}

/// What a model says of the rows that were kept.
fn of_kept(
    data: &Rows,
    run: &Run<'_>,
    (entrant, model): (&Entrant, &RowModel),
    threshold: Option<f64>,
) -> Result<Judged, TrainError> {
    let asked = data.select(&run.sets.test);
    let answers = Answers::by(model, &asked.table)?.calibrated(&entrant.maps);
    Ok(Judged::of(asked.target(), &answers, threshold, &asked.told_by))
}

fn candidates(run: &Run<'_>, chosen: usize) -> Vec<Candidate> {
    let own = run.entrants[chosen].each();
    let candidate = |(number, entrant): (usize, &Entrant)| {
        let pairs = || {
            let others = entrant.each().into_iter().zip(own.iter().cloned());
            others.enumerate().map(|(case, (other, own))| (case, own, other)).collect::<Vec<_>>()
        };
        Candidate {
            family: entrant.family,
            scores: in_folds(&run.by_fold(entrant)),
            p_value: (number != chosen).then(|| run.p_value(&pairs())).flatten(),
        }
    };
    let mut all: Vec<Candidate> = run.entrants.iter().enumerate().map(candidate).collect();
    all.sort_by_key(|candidate| !candidate.family.is_baseline());
    all
}

/// Mean and deviation of each score over folds; a fold without it does not count.
fn in_folds(folds: &[Vec<Score>]) -> Vec<InFolds> {
    let mut names: Vec<&str> = Vec::new();
    for score in folds.iter().flatten() {
        if !names.contains(&score.name) {
            names.push(score.name);
        }
    }
    let one = |name: &&str| {
        let of_fold = |fold: &Vec<Score>| Some(fold.iter().find(|s| s.name == *name)?.value);
        let values: Vec<f64> = folds.iter().filter_map(of_fold).collect();
        let value = mean(values.iter().copied());
        let deviation = mean(values.iter().map(|v| (v - value).powi(2))).sqrt();
        InFolds { name: (*name).to_owned(), value, deviation }
    };
    names.iter().map(one).collect()
}

/// What columns add to the answers about some rows, of the rows that were kept if there are any.
fn importance(
    data: &Rows,
    run: &Run<'_>,
    (entrant, model): (&Entrant, &RowModel),
) -> Result<Vec<Importance>, TrainError> {
    let (rest, test) = (&run.sets.rest, &run.sets.test);
    let asked = if test.is_empty() { rest } else { test };
    let step = asked.len().div_ceil(SWARM_ROWS).max(1);
    let asked = data.select(&asked.iter().copied().step_by(step).collect::<Vec<_>>());
    let outputs = match entrant.maps.len() {
        0 | 1 => vec![0; asked.rows()],
        // Of several classes, the one that is answered.
        _ => {
            let answers = Answers::by(model, &asked.table)?;
            (0..asked.rows()).map(|row| likeliest(&answers.row(row))).collect()
        }
    };
    let reasons: Vec<Reasons> = model.role().reasons(&asked.table, &outputs)?;
    let mut by_column: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, effect) in reasons.iter().flat_map(|reasons| &reasons.effects) {
        by_column.entry(name.clone()).or_default().push(*effect);
    }
    let one = |(column, effects): (String, Vec<f64>)| {
        let places = places(asked.table.column(&column));
        let swarm = effects.iter().zip(places).map(|(effect, place)| (place, *effect as f32));
        let effect = mean(effects.iter().map(|effect| effect.abs()));
        Importance { effect, swarm: swarm.collect(), column }
    };
    let mut all: Vec<Importance> = by_column.into_iter().map(one).collect();
    all.sort_by(|a, b| b.effect.total_cmp(&a.effect));
    Ok(all)
}

/// The place of each value among all, from 0 to 1; −1 of what has none.
fn places(column: Option<&Column>) -> Vec<f32> {
    let Some(column) = column else { return vec![] };
    let values: Vec<f64> =
        (0..column.rows()).map(|row| column.number(row).unwrap_or(f64::NAN)).collect();
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let place = |value: &f64| match (value.is_nan(), sorted.len()) {
        (true, _) => -1.0,
        (false, 1) => 0.5,
        _ => {
            let below = sorted.partition_point(|other| other < value);
            let equal = sorted.partition_point(|other| other <= value) - below;
            ((below as f32) + (equal as f32 - 1.0) / 2.0) / (sorted.len() as f32 - 1.0)
        }
    };
    values.iter().map(place).collect()
}

impl Summary {
    fn of(data: &Rows, spec: &TabularSpec) -> Self {
        let newest = data.times.as_ref().and_then(|times| times.iter().max());
        let known = newest.and_then(|micros| jiff::Timestamp::from_microsecond(*micros).ok());
        let rows = data.rows();
        let column = |(name, column): (&str, &Column)| ColumnSummary {
            name: name.to_owned(),
            kind: column.kind().to_owned(),
            missing: missing(column),
            levels: frequent(column),
            sensitive: spec.sensitive.iter().any(|sensitive| sensitive == name),
        };
        Self {
            rows,
            unlabelled: data.unlabelled,
            known: known.map_or_else(|| format!("{rows} rows"), |time| time.to_string()),
            fingerprint: data.fingerprint(),
            columns: data.table.columns().map(column).collect(),
            seen: Seen::of((0..rows).map(|row| data.key(row))),
            contents: Seen::of((0..rows).map(|row| data.content(row))),
        }
    }
}

fn missing(column: &Column) -> usize {
    match column {
        Column::Category { codes, .. } => codes.iter().filter(|code| code.is_none()).count(),
        _ => (0..column.rows()).filter(|row| column.number(*row).is_some_and(f64::is_nan)).count(),
    }
}

fn frequent(column: &Column) -> Vec<String> {
    let Column::Category { codes, levels } = column else { return vec![] };
    let mut counts: Vec<(usize, &String)> = levels.iter().map(|level| (0, level)).collect();
    codes.iter().flatten().for_each(|code| counts[*code as usize].0 += 1);
    counts.retain(|(count, _)| *count > 0);
    counts.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    counts.truncate(LEVELS_MAX);
    counts.into_iter().map(|(_, level)| level.clone()).collect()
}

impl TargetSummary {
    fn of(target: &Target) -> Self {
        match target {
            Target::Classes { labels, codes } => {
                let mut counts = vec![0; labels.len()];
                codes.iter().for_each(|code| counts[*code] += 1);
                Self { labels: labels.to_vec(), counts, range: None, decimals: 0 }
            }
            Target::Numbers(values) => {
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let range = Some([least, mean(values.iter().copied()), greatest]);
                let fits = |decimals: &usize| {
                    let power = 10_f64.powi(*decimals as i32);
                    values.iter().all(|v| ((v * power).round() / power - v).abs() <= 1e-9 * v.abs())
                };
                let decimals = (0..DECIMALS_MAX).find(fits).unwrap_or(DECIMALS_MAX);
                Self { labels: vec![], counts: vec![], range, decimals }
            }
        }
    }
}
