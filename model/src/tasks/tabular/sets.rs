//! Which rows are for what: learning, choosing, judging once; and the folds of all but the last.

use std::collections::HashMap;

use steppe_spec::tabular::{SplitKind, TabularSpec};

use super::data::Rows;
use crate::error::TrainError;
use crate::rows::matrix::select;
use crate::rows::split::{self, Fold, Shares};

/// Rows below which folds are drawn three times, if nothing is said.
const FEW_ROWS: usize = 10_000;

/// Which rows are for what.
#[derive(Debug, Clone)]
pub struct Sets {
    /// How they are told apart.
    pub kind: SplitKind,
    /// Rows that options are searched on.
    pub train: Vec<usize>,
    /// Rows that tell whether that helped; may be empty.
    pub validation: Vec<usize>,
    /// Rows that the model is judged on, once; may be empty.
    pub test: Vec<usize>,
    /// All but those, in order: what families are compared on.
    pub rest: Vec<usize>,
    /// Folds of them, by their places in `rest`.
    pub folds: Vec<Fold>,
    /// Folds of one drawing.
    pub folds_a_repeat: usize,
}

impl Sets {
    /// As the manifest wants it.
    pub fn of(data: &Rows, spec: &TabularSpec) -> Result<Self, TrainError> {
        let (said, seed) = (&spec.task.split, spec.task.model.seed);
        let kind = kind(data, spec)?;
        let shares: Shares = [said.shares[0], said.shares[1], said.shares[2]];
        let classes = data.target().classes();
        let parts = match kind {
            SplitKind::Stratified => split::stratified(&classes, shares, seed)?,
            SplitKind::Chronological => split::chronological(times(data), shares)?,
            SplitKind::Group => split::by_group(groups(data), shares, seed)?,
            SplitKind::KFold => {
                let train = (0..data.rows()).collect();
                split::Split { train, validation: vec![], test: vec![] }
            }
        };
        let split::Split { train, validation, test } = parts;
        let mut rest = [&train[..], &validation[..]].concat();
        rest.sort_unstable();
        let repeats = said.repeats.unwrap_or(if rest.len() < FEW_ROWS { 3 } else { 1 });
        let folds = folds(data, &rest, kind, (said.folds, repeats), seed)?;
        let folds_a_repeat = said.folds;
        Ok(Self { kind, train, validation, test, rest, folds, folds_a_repeat })
    }

    /// Folds of the rows that options are searched on, by their places in `train`, drawn as often
    /// as those that families are compared on.
    pub fn of_search(&self, data: &Rows, spec: &TabularSpec) -> Result<Vec<Fold>, TrainError> {
        let (count, seed) = (self.folds_a_repeat, spec.task.model.seed);
        let drawings = self.folds.len() / count;
        folds(data, &self.train, self.kind, (count, drawings), seed.wrapping_add(1))
    }
}

fn folds(
    data: &Rows,
    rows: &[usize],
    kind: SplitKind,
    (folds, repeats): (usize, usize),
    seed: u64,
) -> Result<Vec<Fold>, TrainError> {
    Ok(match kind {
        SplitKind::Stratified | SplitKind::KFold => {
            let classes = select(&data.target().classes(), rows);
            split::stratified_folds(&classes, folds, repeats, seed)?
        }
        SplitKind::Chronological => split::chronological_folds(&select(times(data), rows), folds)?,
        SplitKind::Group => {
            let groups = select(groups(data), rows);
            let repeat = |n: usize| split::group_folds(&groups, folds, seed.wrapping_add(n as u64));
            let all = (0..repeats).map(repeat).collect::<Result<Vec<_>, _>>()?;
            all.into_iter().flatten().collect()
        }
    })
}

fn times(data: &Rows) -> &[i64] {
    data.times.as_deref().unwrap_or_default()
}

fn groups(data: &Rows) -> &[usize] {
    data.groups.as_deref().unwrap_or_default()
}

/// How rows are told apart. By chance only where rows know nothing of each other.
fn kind(data: &Rows, spec: &TabularSpec) -> Result<SplitKind, TrainError> {
    let repeated = data.entities.as_ref().and_then(|entities| twice(entities));
    let usual = match (&data.times, repeated) {
        (Some(_), _) => SplitKind::Chronological,
        (None, Some(_)) => SplitKind::Group,
        (None, None) => SplitKind::Stratified,
    };
    let kind = spec.task.split.kind.unwrap_or(usual);
    if !matches!(kind, SplitKind::Stratified | SplitKind::KFold) {
        return Ok(kind);
    }
    if let (Some((first, second)), Some(entities)) = (repeated, &data.entities) {
        return Err(TrainError::Leak(format!(
            "rows {first} and {second} are both about `{}`: by chance one is learnt from and the \
             other asked; leave `split.kind` out, or say `group`",
            entities[first]
        )));
    }
    if let Some(times) = &data.times {
        let (newest, oldest) = (extreme(times, true), extreme(times, false));
        return Err(TrainError::Leak(format!(
            "rows have a time: by chance {}, the newest, is learnt from, and {}, the oldest, \
             asked; leave `split.kind` out, or say `chronological`",
            data.called(newest),
            data.called(oldest)
        )));
    }
    Ok(kind)
}

fn extreme(times: &[i64], newest: bool) -> usize {
    let rows = 0..times.len();
    let found =
        if newest { rows.max_by_key(|r| times[*r]) } else { rows.min_by_key(|r| times[*r]) };
    found.unwrap_or_default()
}

/// Two rows about the same.
fn twice(entities: &[String]) -> Option<(usize, usize)> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    entities.iter().enumerate().find_map(|(row, entity)| Some((seen.insert(entity, row)?, row)))
}
