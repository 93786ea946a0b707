//! How good answers about rows are, in numbers and in curves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answers::{Answers, scores};
use super::data::Target;
use super::trials::samples;
use crate::rows::matrix::select;
use crate::rows::metrics::{
    Bootstrap, Confusion, Interval, Reliability, calibration_error, mean, quantile, reliability,
};
use crate::rows::threshold::{Choice, sweep, thinned};
use crate::trials::Score;

/// Groups of a reliability table.
const GROUPS: usize = 10;
/// Points of a curve at even steps of rows, at most.
const POINTS: usize = 60;
/// Those at even steps of what is found, at most.
const RECALLS: usize = 40;
/// Share of samples within an interval.
const LEVEL: f64 = 0.9;
/// Values of a column by which scores are told, at most.
const VALUES_MAX: usize = 20;
/// Rows from which scores of a group are told.
const GROUP_ROWS_MIN: usize = 20;

/// A measure with what chance in the choice of rows leaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What people call it.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Its bounds; none where samples do not have it.
    pub interval: Option<Interval>,
}

/// The answers of two classes at the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AtThreshold {
    /// How often each answer was right and wrong.
    pub confusion: Confusion,
    /// Precision, recall and F1.
    pub measures: Vec<Measured>,
}

/// A point of a curve: a threshold and what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Every probability from here on is a yes.
    pub threshold: f64,
    /// Share of what happened that was said.
    pub recall: f64,
    /// Share of what was said that happened; none when nothing was said.
    pub precision: Option<f64>,
    /// Share of what did not happen that was said.
    pub false_alarms: f64,
}

/// Scores of the rows with one value of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The column.
    pub column: String,
    /// The value; none where it is missing.
    pub value: Option<String>,
    /// Its rows.
    pub rows: usize,
    /// Its scores.
    pub scores: Vec<Measured>,
    /// Of two classes, the mean probability, the share that happened, and the share that the
    /// threshold says yes to.
    pub shares: Option<[f64; 3]>,
}

/// Rows of like answers, and what became of them: numbers beside what happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Its rows.
    pub rows: usize,
    /// The mean answer.
    pub answered: f64,
    /// What one row in ten was at most.
    pub low: f64,
    /// The mean of what happened.
    pub happened: f64,
    /// What nine rows in ten were at most.
    pub high: f64,
}

/// How good answers about some rows are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The rows.
    pub rows: usize,
    /// Scores; the deciding one first.
    pub scores: Vec<Measured>,
    /// The answers at the threshold, of two classes.
    pub at_threshold: Option<AtThreshold>,
    /// Groups of rows by probability, of two classes.
    pub reliability: Vec<Reliability>,
    /// How far those are from what was said of them.
    pub calibration_error: Option<f64>,
    /// What every threshold would do, of two classes.
    pub curve: Vec<Point>,
    /// How often each class (a row) was answered as each (a column), of several classes.
    pub matrix: Vec<Vec<usize>>,
    /// Groups of rows by what was answered, of numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<Band>,
    /// Scores by the values of columns.
    pub groups: Vec<Group>,
}

/// Texts by which scores are told, one per row, by column.
pub type ToldBy = BTreeMap<String, Vec<Option<String>>>;

impl Judged {
    /// Of answers about rows.
    pub fn of(target: &Target, answers: &Answers, threshold: Option<f64>, by: &ToldBy) -> Self {
        let rows = target.rows();
        let two = target.labels().len() == 2;
        let happened = if two { target.happened(0) } else { vec![] };
        let said = if two { answers.0[0].as_slice() } else { &[] };
        let reliability = if two { reliability(&happened, said, GROUPS) } else { vec![] };
        Self {
            rows,
            scores: measured(target, answers),
            at_threshold: threshold.filter(|_| two).map(|t| at_threshold(&happened, said, t)),
            calibration_error: two.then(|| calibration_error(&reliability)),
            reliability,
            curve: if two { curve(&happened, said) } else { vec![] },
            matrix: matrix(target, answers),
            bands: bands(target, answers),
            groups: groups(target, answers, threshold, by),
        }
    }

    /// A score by its name.
    pub fn score(&self, name: &str) -> Option<f64> {
        self.scores.iter().find(|score| score.name == name).map(|score| score.value)
    }
}

fn bootstrap(rows: usize) -> Bootstrap {
    Bootstrap { samples: samples(rows), level: LEVEL, seed: 1 }
}

fn measured(target: &Target, answers: &Answers) -> Vec<Measured> {
    let rows = target.rows();
    let all = scores(target, answers);
    let of_sample = |sample: &[usize]| {
        let scores = scores(&target.select(sample), &answers.select(sample));
        let value = |score: &Score| {
            scores.iter().find(|other| other.name == score.name).map(|score| score.value)
        };
        all.iter().map(value).collect()
    };
    let intervals = bootstrap(rows).intervals(rows, all.len(), of_sample);
    let with_interval = |(score, interval): (&Score, Option<Interval>)| Measured {
        name: score.name.to_owned(),
        value: score.value,
        interval,
    };
    all.iter().zip(intervals).map(with_interval).collect()
}

fn at_threshold(happened: &[bool], said: &[f64], threshold: f64) -> AtThreshold {
    let confusion = Confusion::at(happened, said, threshold);
    let measure = |name: &str, of: fn(&Confusion) -> f64| {
        let value = |rows: &[usize]| {
            Some(of(&Confusion::at(&select(happened, rows), &select(said, rows), threshold)))
        };
        let interval = bootstrap(happened.len()).interval(happened.len(), value);
        Measured { name: name.to_owned(), value: of(&confusion), interval }
    };
    let measures = vec![
        measure("precision", Confusion::precision),
        measure("recall", Confusion::recall),
        measure("F1", Confusion::f1),
    ];
    AtThreshold { confusion, measures }
}

fn curve(happened: &[bool], said: &[f64]) -> Vec<Point> {
    let point = |Choice { threshold, confusion }: Choice| {
        let Confusion { true_positives, false_positives, true_negatives, .. } = confusion;
        let negatives = false_positives + true_negatives;
        Point {
            threshold,
            recall: confusion.recall(),
            precision: (true_positives + false_positives > 0).then(|| confusion.precision()),
            false_alarms: if negatives > 0 {
                false_positives as f64 / negatives as f64
            } else {
                0.0
            },
        }
    };
    let all = sweep(happened, said);
    let mut some = thinned(&all, POINTS);
    some.extend(by_recall(&all));
    some.sort_by(|a, b| b.threshold.total_cmp(&a.threshold));
    some.dedup();
    some.into_iter().map(point).collect()
}

/// Thresholds at even steps of what is found: where little happens, even steps of rows leave out
/// the highest probabilities, which find most.
fn by_recall(all: &[Choice]) -> Vec<Choice> {
    let mut due = 0.0;
    let mut found = Vec::with_capacity(RECALLS + 1);
    for choice in all.iter().filter(|choice| choice.confusion.true_positives > 0) {
        let recall = choice.confusion.recall();
        if recall >= due {
            found.push(*choice);
            due = recall + 1.0 / RECALLS as f64;
        }
    }
    found
}

fn matrix(target: &Target, answers: &Answers) -> Vec<Vec<usize>> {
    let Target::Classes { labels, codes } = target else { return vec![] };
    if labels.len() < 3 {
        return vec![];
    }
    let mut matrix = vec![vec![0; labels.len()]; labels.len()];
    for (row, code) in codes.iter().enumerate() {
        matrix[*code][likeliest(&answers.row(row))] += 1;
    }
    matrix
}

fn bands(target: &Target, answers: &Answers) -> Vec<Band> {
    let Target::Numbers(values) = target else { return vec![] };
    let answers = &answers.0[0];
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| answers[a].total_cmp(&answers[b]));
    let band = |rows: &[usize]| {
        let mut happened = select(values, rows);
        happened.sort_by(f64::total_cmp);
        Band {
            rows: rows.len(),
            answered: mean(rows.iter().map(|row| answers[*row])),
            low: quantile(&happened, 0.1),
            happened: mean(happened.iter().copied()),
            high: quantile(&happened, 0.9),
        }
    };
    order.chunks(values.len().div_ceil(GROUPS).max(1)).map(band).collect()
}

/// The class with the highest probability.
pub fn likeliest(answers: &[f64]) -> usize {
    let best = answers.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(class, _)| class)
}

fn groups(target: &Target, answers: &Answers, threshold: Option<f64>, by: &ToldBy) -> Vec<Group> {
    let mut all = Vec::new();
    for (column, texts) in by {
        let mut rows_of: BTreeMap<&Option<String>, Vec<usize>> = BTreeMap::new();
        texts.iter().enumerate().for_each(|(row, text)| rows_of.entry(text).or_default().push(row));
        let mut rows_of: Vec<(&Option<String>, Vec<usize>)> = rows_of.into_iter().collect();
        rows_of.retain(|(_, rows)| rows.len() >= GROUP_ROWS_MIN);
        rows_of.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));
        rows_of.truncate(VALUES_MAX);
        for (value, rows) in rows_of {
            let (some, target) = (answers.select(&rows), target.select(&rows));
            let shares = (target.labels().len() == 2).then(|| {
                let (said, happened) = (&some.0[0], target.happened(0));
                let share = |count: usize| count as f64 / rows.len() as f64;
                let yes = |p: &&f64| threshold.is_some_and(|threshold| **p >= threshold);
                [
                    said.iter().sum::<f64>() / rows.len() as f64,
                    share(happened.iter().filter(|happened| **happened).count()),
                    share(said.iter().filter(yes).count()),
                ]
            });
            all.push(Group {
                column: column.clone(),
                value: value.clone(),
                rows: rows.len(),
                scores: measured(&target, &some),
                shares,
            });
        }
    }
    all
}
