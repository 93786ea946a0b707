//! Which rows of a table are unlike the others of their group, and why.

use std::collections::BTreeMap;

use crate::parallel;
use serde::Serialize;
use steppe_spec::unsupervised::anomaly::{AnomalyFamily, AnomalyModel, AnomalyTask};

use super::data::Entities;
use super::prepared::{self, filled, middle, sample};
use crate::rows::dbscan::{self, Dbscan};
use crate::rows::isolation::{self, Isolation, IsolationForest};
use crate::rows::k_means::{self, Centres, KMeans};
use crate::rows::matrix::{Matrix, select};
use crate::rows::standard::Standard;
use crate::rows::{RowsError, tails, vote};

/// Rows of a group, below which it is compared with all rows: of fewer nothing is usual.
pub const GROUP_MIN: usize = 20;
/// Weight of all columns beside the strangest one, in `tails`.
const TIE_BREAK: f64 = 1e-6;
/// Groups that `k-means-distance` may have, at most, where their number is chosen.
const CLUSTERS_MAX: usize = 8;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// One per row, in the order of the table.
    pub rows: Vec<Judged>,
    /// What people should know of the comparison, a sentence each.
    pub notes: Vec<String>,
}

/// What was found of one row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// What it is about.
    pub entity: String,
    /// The group that it was compared within; none where that was all rows.
    pub within: Option<String>,
    /// −ln p, where p is the share of the rows compared that are at least as unusual; of a vote the
    /// mean over the families.
    pub score: f64,
    /// 1 is the most unusual one of those that it was compared with.
    pub rank: usize,
    /// Whether it belongs to the share that is flagged.
    pub flagged: bool,
    /// Families that flag it by themselves: of those that decide, and of the other candidates.
    pub families: Vec<AnomalyFamily>,
    /// Of a flagged row the columns that make it unusual, the strongest first.
    pub reasons: Vec<Reason>,
}

/// Why a row is unusual.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reason {
    /// The column.
    pub column: String,
    /// Its value; none where it is missing.
    pub value: Option<f64>,
    /// The median of the rows compared.
    pub usual: f64,
    /// Its share of what makes the row unusual, from 0 to 1.
    pub share: f64,
}

/// Looks at all rows, and tells of each which of the candidates would have flagged it.
///
/// # Errors
/// If a value is infinite, no column has a value, or an option does not fit the rows.
pub fn find(table: &Entities, task: &AnomalyTask) -> Result<Found, RowsError> {
    found(table, task, &task.candidates())
}

/// The same, asking only the families that decide.
///
/// # Errors
/// As [`find`] has.
pub fn decide(table: &Entities, task: &AnomalyTask) -> Result<Found, RowsError> {
    found(table, task, &[])
}

fn found(
    table: &Entities,
    task: &AnomalyTask,
    witnesses: &[AnomalyFamily],
) -> Result<Found, RowsError> {
    let seen = table.looked_at(&task.log)?;
    let (comparisons, mut notes) = comparisons(table);
    let mut rows: Vec<Option<Judged>> = vec![None; table.names.len()];
    for Comparison { within, rows: compared, own } in comparisons {
        let group = Group::of((table, &seen), (task, witnesses), &compared)?;
        notes.extend(group.notes(within.as_deref()));
        let judged = |place: &usize| {
            let entity = table.names[compared[*place]].clone();
            Ok((compared[*place], group.judged(*place, entity, within.clone(), task)?))
        };
        let judged = parallel::of(&own, judged).into_iter();
        let judged = judged.collect::<Result<Vec<_>, RowsError>>()?;
        judged.into_iter().for_each(|(row, judged)| rows[row] = Some(judged));
    }
    let rows = rows.into_iter().collect::<Option<Vec<_>>>().expect("every row is in a comparison");
    Ok(Found { rows, notes })
}

/// Rows that are held against each other.
struct Comparison {
    /// The group; none where it is all rows.
    within: Option<String>,
    /// Numbers of the rows.
    rows: Vec<usize>,
    /// Places among them of those whose result counts.
    own: Vec<usize>,
}

/// Each group by itself; rows of small groups, and of none, are held against all.
fn comparisons(table: &Entities) -> (Vec<Comparison>, Vec<String>) {
    let mut groups: BTreeMap<&Option<String>, Vec<usize>> = BTreeMap::new();
    for (row, group) in table.groups.iter().enumerate() {
        groups.entry(group).or_default().push(row);
    }
    let (mut found, mut small, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (group, rows) in groups {
        match group {
            Some(group) if rows.len() >= GROUP_MIN => {
                let own = (0..rows.len()).collect();
                found.push(Comparison { within: Some(group.clone()), rows, own });
            }
            group => {
                names.extend(group.as_ref().map(|group| format!("`{group}`")));
                small.extend(rows);
            }
        }
    }
    if !small.is_empty() {
        small.sort_unstable();
        let rows = (0..table.names.len()).collect();
        found.push(Comparison { within: None, rows, own: small });
    }
    let note = format!(
        "{} has fewer than {GROUP_MIN} rows, which are compared with all rows",
        names.join(", ")
    );
    (found, if names.is_empty() { vec![] } else { vec![note] })
}

/// The families' scores of rows that are held against each other.
struct Group {
    /// Columns that have a value, by name.
    columns: Vec<String>,
    /// Their values, as people are told; NaN is missing.
    told: Matrix,
    medians: Vec<f64>,
    /// What families say, those first that decide.
    voices: Vec<Voice>,
    deciding: usize,
    score: Vec<f64>,
    flagged: Vec<bool>,
    ranks: Vec<usize>,
    empty: Vec<String>,
}

/// What one family says of all rows.
struct Voice {
    family: AnomalyFamily,
    scores: Vec<f64>,
    /// −ln p of each row.
    surprises: Vec<f64>,
    flagged: Vec<bool>,
    why: Why,
}

/// What a family needs to say why.
enum Why {
    /// How strange each value is.
    Surprises(Matrix),
    /// The forest, and what it looked at.
    Forest(IsolationForest, Matrix),
    /// Squared differences to what is usual: a centre, or the mean of dense rows.
    Squares(Matrix),
}

impl Group {
    fn of(
        (table, seen): (&Entities, &Matrix),
        (task, witnesses): (&AnomalyTask, &[AnomalyFamily]),
        rows: &[usize],
    ) -> Result<Self, RowsError> {
        let (plain, seen) = (table.values.select(rows), seen.select(rows));
        let (mut columns, mut empty) = (Vec::new(), Vec::new());
        let (mut values, mut told) = (Matrix::empty(rows.len()), Matrix::empty(rows.len()));
        let mut medians = Vec::new();
        for (number, name) in table.columns.iter().enumerate() {
            match middle(plain.column(number)) {
                Some(middle) => {
                    columns.push(name.clone());
                    values.push(seen.column(number));
                    told.push(plain.column(number));
                    medians.push(middle);
                }
                None => empty.push(name.clone()),
            }
        }
        if columns.is_empty() {
            let what = format!("none of {} rows has a value in any column", rows.len());
            return Err(RowsError::Setting { what, hint: "look at columns that have values" });
        }
        let high = columns.iter().enumerate().filter(|(_, name)| task.high.contains(name));
        let high: Vec<usize> = high.map(|(number, _)| number).collect();
        let deciding = task.deciding();
        let others = witnesses.iter().filter(|family| !deciding.contains(family));
        let all: Vec<AnomalyFamily> = deciding.iter().chain(others).copied().collect();
        let voices = voices(&values, &high, (task, &all))?;
        let scores: Vec<&[f64]> =
            voices.iter().take(deciding.len()).map(|voice| &*voice.scores).collect();
        let score = vote::surprise(&scores)?;
        let flagged = vote::flagged(&score, task.share)?;
        let ranks = places(&score);
        let deciding = deciding.len();
        Ok(Self { columns, told, medians, voices, deciding, score, flagged, ranks, empty })
    }

    fn notes(&self, within: Option<&str>) -> Option<String> {
        let empty = self.empty.join("`, `");
        let of = within.map_or("all rows".to_owned(), |within| format!("the rows of `{within}`"));
        (!empty.is_empty()).then(|| format!("`{empty}` has no value in {of} and is not looked at"))
    }

    fn judged(
        &self,
        place: usize,
        entity: String,
        within: Option<String>,
        task: &AnomalyTask,
    ) -> Result<Judged, RowsError> {
        let flagged = self.flagged[place];
        let alone = self.voices.iter().filter(|voice| voice.flagged[place]);
        Ok(Judged {
            entity,
            within,
            score: self.score[place],
            rank: self.ranks[place],
            flagged,
            families: alone.map(|voice| voice.family).collect(),
            reasons: if flagged { self.reasons(place, task.explain)? } else { vec![] },
        })
    }

    /// Each family's shares, weighed by how unusual it finds the row.
    fn reasons(&self, place: usize, count: usize) -> Result<Vec<Reason>, RowsError> {
        let (mut shares, mut weight) = (vec![0.0; self.columns.len()], 0.0);
        for voice in &self.voices[..self.deciding] {
            let effects = voice.why.effects(place)?;
            let positive = effects.iter().map(|effect| effect.max(0.0));
            let sum: f64 = positive.clone().sum();
            if sum > 0.0 {
                weight += voice.surprises[place];
                for (share, effect) in shares.iter_mut().zip(positive) {
                    *share += voice.surprises[place] * effect / sum;
                }
            }
        }
        let mut order: Vec<usize> = (0..shares.len()).filter(|at| shares[*at] > 0.0).collect();
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
        let reason = |at: usize| {
            let value = self.told.at(place, at);
            Reason {
                column: self.columns[at].clone(),
                value: (!value.is_nan()).then_some(value),
                usual: self.medians[at],
                share: shares[at] / weight,
            }
        };
        Ok(order.into_iter().take(count).map(reason).collect())
    }
}

impl Why {
    fn effects(&self, place: usize) -> Result<Vec<f64>, RowsError> {
        match self {
            Self::Surprises(parts) | Self::Squares(parts) => Ok(parts.row(place)),
            Self::Forest(forest, columns) => forest.reasons(&columns.row(place)),
        }
    }
}

/// 1 for the highest score; equal ones share the first of their places.
fn places(scores: &[f64]) -> Vec<usize> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    scores.iter().map(|score| sorted.partition_point(|other| other > score) + 1).collect()
}

fn voices(
    values: &Matrix,
    high: &[usize],
    (task, families): (&AnomalyTask, &[AnomalyFamily]),
) -> Result<Vec<Voice>, RowsError> {
    let filled = filled(values);
    let standard = Standard::fit(&filled)?.apply(&filled)?;
    let voice = |family: &AnomalyFamily| {
        let family = *family;
        let (scores, why) = match family {
            AnomalyFamily::IsolationForest => isolated(&filled, &task.model)?,
            AnomalyFamily::KMeansDistance => centred(&standard, &task.model)?,
            AnomalyFamily::DbscanNoise => dense(&standard, &task.model)?,
            _ => tailed(values, high)?,
        };
        let surprises = vote::surprise(&[&scores])?;
        let flagged = vote::flagged(&scores, task.share)?;
        Ok(Voice { family, scores, surprises, flagged, why })
    };
    parallel::of(families, voice).into_iter().collect()
}

type Said = (Vec<f64>, Why);

fn tailed(values: &Matrix, high: &[usize]) -> Result<Said, RowsError> {
    let surprises = tails::surprises(values, high)?;
    // What else is strange decides between rows whose strangest columns are alike.
    let score = |row: usize| {
        let of_row = surprises.row(row);
        let most = of_row.iter().copied().fold(0.0, f64::max);
        most + TIE_BREAK * of_row.iter().sum::<f64>()
    };
    Ok(((0..values.rows()).map(score).collect(), Why::Surprises(surprises)))
}

fn isolated(columns: &Matrix, model: &AnomalyModel) -> Result<Said, RowsError> {
    let options = Isolation { trees: model.trees, ..Isolation::default() };
    let forest = isolation::fit(columns, &options, model.seed)?;
    Ok((forest.scores(columns)?, Why::Forest(forest, columns.clone())))
}

fn centred(columns: &Matrix, model: &AnomalyModel) -> Result<Said, RowsError> {
    let options = KMeans::default();
    let wanted = (model.clusters, CLUSTERS_MAX);
    let (clusters, _) = prepared::clusters(columns, wanted, &options, model.seed)?;
    let found = k_means::fit(columns, clusters, &options, model.seed)?;
    // The centre of a few rows far from all others is near to them, and says nothing of what is
    // usual. The largest group comes first.
    let rows_of = |group| found.labels.iter().filter(|label| **label == group).count();
    let usual = (0..clusters).filter(|&group| group == 0 || rows_of(group) >= model.min_points);
    let of_usual = |group| found.centres.each().nth(group).unwrap_or_default().to_vec();
    let values = usual.flat_map(of_usual).collect();
    let centres = Centres { columns: columns.columns(), values };
    let (labels, distances) = centres.nearest(columns)?;
    let squares = squares(columns, &centres, &labels);
    Ok((distances, Why::Squares(squares)))
}

fn dense(columns: &Matrix, model: &AnomalyModel) -> Result<Said, RowsError> {
    let points = model.min_points.min(columns.rows());
    let eps = match model.eps {
        Some(eps) => eps,
        // Where most rows are equal there is no knee; then anything that differs is noise.
        None => dbscan::knee(&sample(columns, model.seed), points).unwrap_or(f64::EPSILON),
    };
    let found = dbscan::fit(columns, &Dbscan { eps, min_points: model.min_points })?;
    // Where nothing is dense, all are as far from it.
    let farthest = found.distances.iter().copied().filter(|d| d.is_finite()).fold(0.0, f64::max);
    let near = found.distances.iter().map(|d| if d.is_finite() { *d } else { farthest });
    let cores: Vec<usize> = (0..columns.rows()).filter(|row| found.cores[*row]).collect();
    let centres = centre_of(columns, &cores);
    let squares = squares(columns, &centres, &vec![0; columns.rows()]);
    Ok((near.collect(), Why::Squares(squares)))
}

/// The mean of some rows; of none that of all.
fn centre_of(columns: &Matrix, rows: &[usize]) -> Centres {
    let mean = |number: usize| {
        let column = columns.column(number);
        let some = if rows.is_empty() { column.to_vec() } else { select(column, rows) };
        some.iter().sum::<f64>() / some.len() as f64
    };
    let values = (0..columns.columns()).map(mean).collect();
    Centres { columns: columns.columns(), values }
}

fn squares(columns: &Matrix, centres: &Centres, labels: &[usize]) -> Matrix {
    let mut squares = Matrix::empty(columns.rows());
    for number in 0..columns.columns() {
        let from = |(value, label): (&f64, &usize)| {
            (value - centres.values[label * centres.columns + number]).powi(2)
        };
        let column = columns.column(number).iter().zip(labels).map(from);
        squares.push(&column.collect::<Vec<_>>());
    }
    squares
}
