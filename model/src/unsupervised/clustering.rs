//! Which groups the rows of a table form, and what each is like.

use steppe_spec::unsupervised::clustering::{ClusteringFamily, ClusteringModel, ClusteringTask};

use super::data::Entities;
use super::prepared::{self, filled, sample};
use crate::rows::RowsError;
use crate::rows::agreement::silhouette_of_sample;
use crate::rows::dbscan::{self, Dbscan};
use crate::rows::k_means::{self, Candidate, KMeans};
use crate::rows::matrix::Matrix;
use crate::rows::metrics::mean;
use crate::rows::standard::Standard;

/// Deviations from the mean of all, from which on a group is said to be high or low.
const NOTABLE: f64 = 0.5;
/// Columns that the words about a group name, at most.
const WORDS_MAX: usize = 3;
/// Rows that a silhouette looks at.
const SILHOUETTE_ROWS: usize = 2_000;

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// The group of each row, from 0; none where it is in none.
    pub labels: Vec<Option<usize>>,
    /// How far each row is from the centre of its group, or from the nearest dense place, in
    /// standard deviations.
    pub distances: Vec<f64>,
    /// The groups, the largest first.
    pub profiles: Vec<Profile>,
    /// Numbers of groups that were tried, where one was chosen.
    pub candidates: Vec<Candidate>,
    /// How much nearer rows are to their own group than to the next one, from −1 to 1; none of one
    /// group.
    pub silhouette: Option<f64>,
    /// What people should know, a sentence each.
    pub notes: Vec<String>,
}

/// What a group is like.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its rows.
    pub rows: usize,
    /// Means of the columns, in their order, of what is there; NaN where nothing is.
    pub means: Vec<f64>,
    /// By how many standard deviations of all rows these differ from the mean of all.
    pub deviations: Vec<f64>,
    /// The same in words: `high level, low season`.
    pub words: String,
}

/// Looks for groups.
///
/// # Errors
/// If a value is infinite, no column has a value, or an option does not fit the rows.
pub fn find(table: &Entities, task: &ClusteringTask) -> Result<Groups, RowsError> {
    let notes = missing(table)?;
    let filled = filled(&table.looked_at(&task.log)?);
    let fitted = Standard::fit(&filled)?;
    let standard = fitted.apply(&filled)?;
    let (labels, distances, candidates) = match task.model.kind {
        ClusteringFamily::KMeans => around_means(&standard, &task.model)?,
        ClusteringFamily::Dbscan => where_dense(&standard, &task.model)?,
    };
    let labels = largest_first(labels);
    let count = labels.iter().flatten().max().map_or(0, |last| last + 1);
    let profile = |group| Profile::of(table, &standard, &labels, group);
    let profiles = (0..count).map(profile).collect();
    let known: Vec<usize> = (0..labels.len()).filter(|row| labels[*row].is_some()).collect();
    let of_known: Vec<usize> = labels.iter().flatten().copied().collect();
    let silhouette =
        silhouette_of_sample(&standard.select(&known), &of_known, SILHOUETTE_ROWS, task.model.seed);
    Ok(Groups { labels, distances, profiles, candidates, silhouette, notes })
}

/// What is missing, a sentence per column.
///
/// # Errors
/// If a column has no value at all.
fn missing(table: &Entities) -> Result<Vec<String>, RowsError> {
    let mut notes = Vec::new();
    for (number, name) in table.columns.iter().enumerate() {
        let column = table.values.column(number);
        let missing = column.iter().filter(|value| value.is_nan()).count();
        if missing == column.len() {
            let what = format!("`{name}` has no value in any row");
            return Err(RowsError::Setting { what, hint: "`ignore` leaves the column out" });
        }
        if missing > 0 {
            notes.push(format!(
                "`{name}` is missing in {missing} of {} rows, which count as its median",
                column.len()
            ));
        }
    }
    Ok(notes)
}

type Labelled = (Vec<Option<usize>>, Vec<f64>, Vec<Candidate>);

fn around_means(columns: &Matrix, model: &ClusteringModel) -> Result<Labelled, RowsError> {
    let options = KMeans::default();
    let wanted = (model.clusters, model.clusters_max);
    let (clusters, candidates) = prepared::clusters(columns, wanted, &options, model.seed)?;
    let found = k_means::fit(columns, clusters, &options, model.seed)?;
    Ok((found.labels.into_iter().map(Some).collect(), found.distances, candidates))
}

fn where_dense(columns: &Matrix, model: &ClusteringModel) -> Result<Labelled, RowsError> {
    let eps = match model.eps {
        Some(eps) => eps,
        None => dbscan::knee(&sample(columns, model.seed), model.min_points)?,
    };
    let found = dbscan::fit(columns, &Dbscan { eps, min_points: model.min_points })?;
    Ok((found.labels, found.distances, vec![]))
}

/// The same groups, numbered by how many rows they have.
fn largest_first(labels: Vec<Option<usize>>) -> Vec<Option<usize>> {
    let count = labels.iter().flatten().max().map_or(0, |last| last + 1);
    let mut rows = vec![0_usize; count];
    labels.iter().flatten().for_each(|label| rows[*label] += 1);
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|label| (std::cmp::Reverse(rows[*label]), *label));
    let mut place = vec![0; count];
    order.into_iter().enumerate().for_each(|(at, label)| place[label] = at);
    labels.into_iter().map(|label| label.map(|label| place[label])).collect()
}

impl Profile {
    fn of(table: &Entities, standard: &Matrix, labels: &[Option<usize>], group: usize) -> Self {
        let rows: Vec<usize> = (0..labels.len()).filter(|r| labels[*r] == Some(group)).collect();
        let of = |columns: &Matrix| -> Vec<f64> {
            let some = columns.select(&rows);
            let known = |at| some.column(at).iter().copied().filter(|value| !value.is_nan());
            (0..some.columns()).map(|at| mean(known(at))).collect()
        };
        let (means, deviations) = (of(&table.values), of(standard));
        let words = words(&table.columns, &deviations);
        Self { rows: rows.len(), means, deviations, words }
    }
}

fn words(names: &[String], deviations: &[f64]) -> String {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.retain(|at| deviations[*at].abs() >= NOTABLE);
    order.sort_by(|a, b| deviations[*b].abs().total_cmp(&deviations[*a].abs()));
    let word =
        |at: usize| format!("{} {}", if deviations[at] > 0.0 { "high" } else { "low" }, names[at]);
    let words: Vec<String> = order.into_iter().take(WORDS_MAX).map(word).collect();
    if words.is_empty() { "like all rows".to_owned() } else { words.join(", ") }
}
