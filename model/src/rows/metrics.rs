//! How good answers about rows are: probabilities of two or more classes, and numbers.
//!
//! Ties are treated as scikit-learn treats them. A measure that does not exist for some rows, as
//! the area under a curve with one class only, is `None`, never a number that looks like one.

use crate::parallel;
use serde::{Deserialize, Serialize};

use super::matrix::Matrix;

/// The least probability that is counted for what happened, as scikit-learn has it: a certainty
/// that was wrong costs much, but not everything.
const PROBABILITY_MIN: f64 = f64::EPSILON;

/// Mean negative logarithm of the probability that was given to what happened. Zero is best.
pub fn log_loss(labels: &[bool], probabilities: &[f64]) -> f64 {
    mean(labels.iter().zip(probabilities).map(|(label, p)| log_loss_of(*label, *p)))
}

/// The log loss of one row.
pub fn log_loss_of(label: bool, probability: f64) -> f64 {
    let given = if label { probability } else { 1.0 - probability };
    -given.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN).ln()
}

/// Mean squared difference of probability and what happened (Brier 1950). Zero is best.
pub fn brier(labels: &[bool], probabilities: &[f64]) -> f64 {
    mean(
        labels
            .iter()
            .zip(probabilities)
            .map(|(label, p)| (p - f64::from(u8::from(*label))).powi(2)),
    )
}

/// Log loss of several classes: `labels` has the number of each row's class, `probabilities` a
/// column per class.
pub fn log_loss_of_classes(labels: &[usize], probabilities: &Matrix) -> f64 {
    mean(
        labels
            .iter()
            .enumerate()
            .map(|(row, &label)| log_loss_of(true, probabilities.at(row, label))),
    )
}

/// Brier score of several classes: squared differences, summed over classes. With two classes it
/// is twice [`brier`].
pub fn brier_of_classes(labels: &[usize], probabilities: &Matrix) -> f64 {
    let class = |class: usize| {
        let ones: Vec<bool> = labels.iter().map(|&label| label == class).collect();
        brier(&ones, probabilities.column(class))
    };
    (0..probabilities.columns()).map(class).sum()
}

/// Probabilities of several classes from those of one against the rest: each row's sum to one. A
/// row that no class claims has equal ones.
pub fn normalised(one_against_rest: &Matrix) -> Matrix {
    let (rows, classes) = (one_against_rest.rows(), one_against_rest.columns());
    let sums: Vec<f64> =
        (0..rows).map(|row| (0..classes).map(|c| one_against_rest.at(row, c)).sum()).collect();
    let share = |(at, value): (usize, &f64)| match sums[at % rows] {
        sum if sum > 0.0 => value / sum,
        _ => 1.0 / classes as f64,
    };
    Matrix::new(rows, classes, one_against_rest.values().iter().enumerate().map(share).collect())
}

/// Probability that a row that happened has a higher score than one that did not; a tie counts
/// half. Half is chance.
pub fn roc_auc(labels: &[bool], scores: &[f64]) -> Option<f64> {
    let positives = labels.iter().filter(|label| **label).count() as f64;
    let negatives = labels.len() as f64 - positives;
    let (mut below, mut pairs) = (0.0, 0.0);
    for tied in tied_from_highest(scores).iter().rev() {
        let ones = tied.iter().filter(|row| labels[**row]).count() as f64;
        let zeros = tied.len() as f64 - ones;
        pairs += ones * (below + zeros / 2.0);
        below += zeros;
    }
    (positives > 0.0 && negatives > 0.0).then(|| pairs / (positives * negatives))
}

/// Area under the curve of precision over recall as average precision: the sum over thresholds of
/// precision × gain in recall, without interpolation. The share of what happened is chance.
pub fn average_precision(labels: &[bool], scores: &[f64]) -> Option<f64> {
    let positives = labels.iter().filter(|label| **label).count() as f64;
    let (mut hits, mut told, mut area) = (0.0, 0.0, 0.0);
    for tied in tied_from_highest(scores) {
        let ones = tied.iter().filter(|row| labels[**row]).count() as f64;
        (hits, told) = (hits + ones, told + tied.len() as f64);
        area += hits / told * ones;
    }
    (positives > 0.0).then(|| area / positives)
}

/// Rows by score, highest first; those of equal scores are together.
pub fn tied_from_highest(scores: &[f64]) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..scores.len()).collect();
    rows.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    rows.chunk_by(|&a, &b| scores[a] == scores[b]).map(<[usize]>::to_vec).collect()
}

/// How often each of two answers was right and wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confusion {
    /// It was said, and happened.
    pub true_positives: usize,
    /// It was said, and did not happen: a false alarm.
    pub false_positives: usize,
    /// It was not said, and happened: missed.
    pub false_negatives: usize,
    /// It was not said, and did not happen.
    pub true_negatives: usize,
}

impl Confusion {
    /// What happens if every probability from `threshold` on says yes.
    pub fn at(labels: &[bool], probabilities: &[f64], threshold: f64) -> Self {
        let mut counts = Self::default();
        for (label, probability) in labels.iter().zip(probabilities) {
            *match (*probability >= threshold, *label) {
                (true, true) => &mut counts.true_positives,
                (true, false) => &mut counts.false_positives,
                (false, true) => &mut counts.false_negatives,
                (false, false) => &mut counts.true_negatives,
            } += 1;
        }
        counts
    }

    /// Share of what was said that happened; 0 if nothing was said.
    pub fn precision(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of what happened that was said; 0 if nothing happened.
    pub fn recall(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Harmonic mean of precision and recall; 0 if nothing was said or happened.
    pub fn f1(&self) -> f64 {
        let wrong = self.false_positives + self.false_negatives;
        share(2 * self.true_positives, 2 * self.true_positives + wrong)
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Rows of like probabilities, and what became of them: a line of the reliability table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Number of rows.
    pub rows: usize,
    /// Lowest probability.
    pub lowest: f64,
    /// Highest probability.
    pub highest: f64,
    /// Mean probability.
    pub predicted: f64,
    /// Share that happened.
    pub observed: f64,
}

/// At most `groups` groups of equally many rows, by probability. Rows of equal probability stay
/// together, so that the table does not depend on the order of rows; then there are fewer groups.
pub fn reliability(labels: &[bool], probabilities: &[f64], groups: usize) -> Vec<Reliability> {
    let mut table = Vec::with_capacity(groups);
    let mut pending: Vec<usize> = Vec::new();
    let (mut seen, mut full) = (0, 0);
    for tied in tied_from_highest(probabilities).into_iter().rev() {
        seen += tied.len();
        pending.extend(tied);
        if seen * groups >= (full + 1) * labels.len() {
            table.push(reliability_of(&pending, labels, probabilities));
            pending.clear();
            // A tie longer than a group takes the place of several.
            full = seen * groups / labels.len();
        }
    }
    table
}

fn reliability_of(rows: &[usize], labels: &[bool], probabilities: &[f64]) -> Reliability {
    let of = |row: &usize| probabilities[*row];
    Reliability {
        rows: rows.len(),
        lowest: rows.iter().map(of).fold(f64::INFINITY, f64::min),
        highest: rows.iter().map(of).fold(f64::NEG_INFINITY, f64::max),
        predicted: mean(rows.iter().map(of)),
        observed: share(rows.iter().filter(|row| labels[**row]).count(), rows.len()),
    }
}

/// Expected calibration error: how far groups of a reliability table are from what was said of
/// them, weighted by their rows.
pub fn calibration_error(table: &[Reliability]) -> f64 {
    let rows: usize = table.iter().map(|group| group.rows).sum();
    let off = |group: &Reliability| group.rows as f64 * (group.predicted - group.observed).abs();
    table.iter().map(off).sum::<f64>() / rows as f64
}

/// Root of the mean squared error.
pub fn rmse(actual: &[f64], predicted: &[f64]) -> f64 {
    mean(actual.iter().zip(predicted).map(|(a, p)| (a - p).powi(2))).sqrt()
}

/// Mean absolute error.
pub fn mae(actual: &[f64], predicted: &[f64]) -> f64 {
    mean(actual.iter().zip(predicted).map(|(a, p)| (a - p).abs()))
}

/// Share of the variance that is explained (R²): 0 for the mean, below it for what is worse.
/// `None` where nothing varies.
pub fn r_squared(actual: &[f64], predicted: &[f64]) -> Option<f64> {
    let centre = mean(actual.iter().copied());
    let total: f64 = actual.iter().map(|a| (a - centre).powi(2)).sum();
    let left: f64 = actual.iter().zip(predicted).map(|(a, p)| (a - p).powi(2)).sum();
    (total > 0.0).then(|| 1.0 - left / total)
}

/// Mean of some values; NaN of none.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

/// Mean of values that weigh as said, or all alike; none where nothing weighs.
pub fn weighted_mean(values: &[f64], weights: Option<&[f64]>) -> Option<f64> {
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let whole: f64 = (0..values.len()).map(weight).sum();
    let sum: f64 = values.iter().enumerate().map(|(row, value)| value * weight(row)).sum();
    (whole > 0.0).then(|| sum / whole)
}

/// Bounds that chance in the choice of rows leaves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}

/// Two models on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// The first one's measure less the second one's.
    pub difference: f64,
    /// Its bounds.
    pub interval: Interval,
    /// Probability of samples that lie so much on one side of zero, if there is no difference.
    pub p_value: f64,
}

/// How a measure's chance is estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Samples of as many rows as there are, drawn with replacement.
    pub samples: usize,
    /// Share of samples whose values lie within the interval.
    pub level: f64,
    /// Its chance.
    pub seed: u64,
}

impl Bootstrap {
    /// A measure's interval by percentiles. `measure` gets numbers of rows out of `rows`, some
    /// more than once; samples for which it does not exist do not count. `None` if it exists for
    /// fewer than half of them.
    pub fn interval(
        &self,
        rows: usize,
        measure: impl Fn(&[usize]) -> Option<f64> + Sync,
    ) -> Option<Interval> {
        self.intervals(rows, 1, |sample| vec![measure(sample)]).pop().flatten()
    }

    /// The same of `count` measures that are taken together of each sample, in one order.
    pub fn intervals(
        &self,
        rows: usize,
        count: usize,
        measures: impl Fn(&[usize]) -> Vec<Option<f64>> + Sync,
    ) -> Vec<Option<Interval>> {
        let samples = self.drawn(rows, measures);
        let of = |at: usize| self.within(&existing(samples.iter().map(|sample| sample[at])));
        (0..count).map(of).collect()
    }

    /// By how much a measure of one model is above that of another one, when both answer the same
    /// samples. `None` where an interval would be.
    pub fn paired(
        &self,
        rows: usize,
        one: impl Fn(&[usize]) -> Option<f64> + Sync,
        other: impl Fn(&[usize]) -> Option<f64> + Sync,
    ) -> Option<Paired> {
        let difference = |sample: &[usize]| Some(one(sample)? - other(sample)?);
        let all: Vec<usize> = (0..rows).collect();
        let values = existing(self.drawn(rows, difference).into_iter());
        let interval = self.within(&values)?;
        // One more on either side: that no sample of some says otherwise is no proof.
        let beyond = |below: &dyn Fn(f64) -> bool| {
            let beyond = values.iter().filter(|value| below(**value)).count();
            (beyond as f64 + 1.0) / (values.len() as f64 + 1.0)
        };
        let rarer = beyond(&|value| value <= 0.0).min(beyond(&|value| value >= 0.0));
        Some(Paired { difference: difference(&all)?, interval, p_value: (2.0 * rarer).min(1.0) })
    }

    /// What is measured of each sample. A sample follows from the seed and its number alone, so
    /// that it is the same on every number of cores.
    fn drawn<M: Send + Sync>(&self, rows: usize, measure: impl Fn(&[usize]) -> M + Sync) -> Vec<M> {
        let one = |number: usize| {
            let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut rng = fastrand::Rng::with_seed(self.seed ^ mixed);
            measure(&(0..rows).map(|_| rng.usize(..rows)).collect::<Vec<_>>())
        };
        parallel::each(self.samples, one)
    }

    /// What sorted values leave out on both sides; none of too few.
    fn within(&self, values: &[f64]) -> Option<Interval> {
        let tail = (1.0 - self.level) / 2.0;
        let enough = values.len() * 2 >= self.samples && !values.is_empty();
        enough.then(|| Interval {
            lower: quantile(values, tail),
            upper: quantile(values, 1.0 - tail),
        })
    }
}

/// The values that there are, sorted.
fn existing(values: impl Iterator<Item = Option<f64>>) -> Vec<f64> {
    let mut values: Vec<f64> = values.flatten().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// A quantile of sorted values, linear between neighbours. NaN of none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let (below, above) = (place.floor() as usize, (place.ceil() as usize).min(last));
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten rows with ties; the expected numbers are scikit-learn 1.9.1's (`log_loss`,
    /// `brier_score_loss`, `roc_auc_score`, `average_precision_score`, `f1_score` at ≥ 0.4).
    const LABELS: [bool; 10] = [false, false, true, true, false, true, false, false, true, false];
    const PROBABILITIES: [f64; 10] = [0.1, 0.4, 0.35, 0.8, 0.4, 0.4, 0.05, 0.9, 0.7, 0.1];

    #[track_caller]
    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value} instead of {expected}");
    }

    #[test]
    fn probabilities_are_judged_as_scikit_learn_judges_them() {
        close(log_loss(&LABELS, &PROBABILITIES), 0.613_218_201_785_500_5);
        close(brier(&LABELS, &PROBABILITIES), 0.2065);
        close(roc_auc(&LABELS, &PROBABILITIES).expect("both"), 0.708_333_333_333_333_4);
        close(average_precision(&LABELS, &PROBABILITIES).expect("some"), 0.559_523_809_523_809_5);
        let confusion = Confusion::at(&LABELS, &PROBABILITIES, 0.4);
        let expected = Confusion {
            true_positives: 3,
            false_positives: 3,
            false_negatives: 1,
            true_negatives: 3,
        };
        assert_eq!(confusion, expected);
        close(confusion.f1(), 0.6);
        close(confusion.precision(), 0.5);
        close(confusion.recall(), 0.75);
    }

    #[test]
    fn measures_that_do_not_exist_are_none() {
        assert_eq!(roc_auc(&[true, true], &[0.1, 0.2]), None);
        assert_eq!(average_precision(&[false], &[0.1]), None);
        assert_eq!(r_squared(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(Confusion::default().f1(), 0.0);
        assert!(log_loss(&[true], &[0.0]).is_finite());
    }

    #[test]
    fn a_constant_score_is_chance() {
        assert_eq!(roc_auc(&LABELS, &[0.3; 10]), Some(0.5));
        close(average_precision(&LABELS, &[0.3; 10]).expect("some"), 0.4);
    }

    #[test]
    fn numbers_are_judged_as_scikit_learn_judges_them() {
        let (actual, predicted) = ([3.0, -0.5, 2.0, 7.0, 4.2], [2.5, 0.0, 2.0, 8.0, 3.9]);
        close(rmse(&actual, &predicted), 0.563_914_887_194_867_4);
        close(mae(&actual, &predicted), 0.46);
        close(r_squared(&actual, &predicted).expect("varies"), 0.948_025_627_615_062_7);
    }

    #[test]
    fn several_classes_are_judged_as_scikit_learn_judges_them() {
        let probabilities =
            Matrix::from_rows(3, &[0.7, 0.2, 0.1, 0.1, 0.8, 0.1, 0.2, 0.2, 0.6, 0.3, 0.4, 0.3]);
        close(log_loss_of_classes(&[0, 1, 2, 0], &probabilities), 0.573_654_230_836_217_2);
        close(brier_of_classes(&[0, 1, 2, 0], &probabilities), 0.295);
        let claims = Matrix::from_rows(2, &[0.3, 0.1, 0.0, 0.0]);
        assert_eq!(normalised(&claims).row(0), [0.3 / 0.4, 0.1 / 0.4]);
        assert_eq!(normalised(&claims).row(1), [0.5, 0.5]);
    }

    #[test]
    fn groups_of_the_reliability_table_keep_ties_together() {
        let probabilities: Vec<f64> = (0..100).map(|i| f64::from(i) / 100.0).collect();
        let labels: Vec<bool> = (0..100).map(|i| i % 2 == 0).collect();
        let table = reliability(&labels, &probabilities, 10);
        assert_eq!(table.len(), 10);
        assert!(table.iter().all(|group| group.rows == 10 && group.observed == 0.5));
        close(calibration_error(&table), 0.25);
        let tied: Vec<f64> =
            (0..100).map(|i| if i < 55 { 0.1 } else { f64::from(i) / 100.0 }).collect();
        let table = reliability(&labels, &tied, 10);
        assert_eq!(
            table.iter().map(|group| group.rows).collect::<Vec<_>>(),
            [55, 5, 10, 10, 10, 10]
        );
        let prior = reliability(&labels, &[0.5; 100], 10);
        assert_eq!((prior.len(), calibration_error(&prior)), (1, 0.0));
    }

    #[test]
    fn an_interval_holds_the_measure_and_shrinks_with_rows() {
        let bootstrap = Bootstrap { samples: 400, level: 0.9, seed: 3 };
        let of = |rows: usize| {
            let values: Vec<f64> = (0..rows).map(|i| (i % 10) as f64).collect();
            let mean_of = |sample: &[usize]| Some(mean(sample.iter().map(|row| values[*row])));
            bootstrap.interval(rows, mean_of).expect("exists")
        };
        let (few, many) = (of(50), of(5000));
        assert!(few.lower < 4.5 && 4.5 < few.upper);
        // 90 % of means of 50 with deviation √8.25 are within 4.5 ± 0.668.
        assert!((few.upper - few.lower - 1.336).abs() < 0.2, "{few:?}");
        assert!((many.upper - many.lower) * 5.0 < few.upper - few.lower);
        assert_eq!(few, of(50), "seeded");
        assert_eq!(bootstrap.interval(10, |_| None), None);
    }

    #[test]
    fn two_models_are_compared_on_the_same_samples() {
        let bootstrap = Bootstrap { samples: 500, level: 0.9, seed: 3 };
        let mut rng = fastrand::Rng::with_seed(1);
        let losses: Vec<f64> = (0..300).map(|_| 10.0 * rng.f64()).collect();
        let compared = |better: f64, noise: f64| {
            let mut rng = fastrand::Rng::with_seed(2);
            let other: Vec<f64> =
                losses.iter().map(|loss| loss - better + noise * (rng.f64() - 0.5)).collect();
            let of = |losses: &[f64], rows: &[usize]| Some(mean(rows.iter().map(|r| losses[*r])));
            let compared = bootstrap.paired(300, |rows| of(&losses, rows), |rows| of(&other, rows));
            compared.expect("exists")
        };
        // A tenth of the deviation of a loss, and yet sure: both answered the same.
        let better = compared(0.3, 1.0);
        assert!(better.p_value < 0.01 && better.interval.lower > 0.0, "{better:?}");
        assert!((better.difference - 0.3).abs() < 0.1, "{better:?}");
        let same = compared(0.0, 1.0);
        assert!(same.p_value > 0.05, "{same:?}");
        assert_eq!(compared(0.0, 0.0).p_value, 1.0);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
