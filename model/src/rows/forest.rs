//! A random forest (Breiman 2001): each tree is grown on rows drawn with replacement, and each of
//! its splits is the best one of some columns drawn anew.
//!
//! A class is a target of 0 or 1, and a forest's answer the mean of its trees' shares of ones; the
//! variance of such a target is half of Gini's index, so one criterion serves classes and numbers.
//! In that mean, one tree more answers the share of ones among all rows: trees that agree are no
//! proof of a probability of 0 or 1, which a single row would refute for ever.

use crate::parallel;
use steppe_spec::tabular::Forest;

use super::error::RowsError;
use super::logistic::check_weights;
use super::matrix::Matrix;
use super::metrics::weighted_mean;
use super::trees::{DEPTH_MAX, TREES_MAX, Tree, Trees};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Whether it is of a class: targets are 0 and 1.
    Class,
    /// A number.
    Number,
}

/// Grows a forest. A missing value goes to the side of each split that is better for it.
pub fn fit(
    columns: &Matrix,
    targets: &[f64],
    weights: Option<&[f64]>,
    asked: Asked,
    options: &Forest,
    seed: u64,
) -> Result<Trees, RowsError> {
    check(columns, targets, asked, options)?;
    check_weights(weights, columns.rows(), 0.0)?;
    let ranks: Vec<Ranks> = (0..columns.columns()).map(|c| Ranks::new(columns.column(c))).collect();
    let drawn = match (options.columns, asked) {
        (Some(drawn), _) => drawn.clamp(1, ranks.len()),
        (None, Asked::Class) => ranks.len().isqrt().max(1),
        (None, Asked::Number) => (ranks.len() / 3).max(1),
    };
    let tree = |number: usize| {
        // Neighbouring seeds of one generator are related: a multiple of an odd constant is not.
        let seed = seed.wrapping_add((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rng = fastrand::Rng::with_seed(seed);
        let tree = Tree::default();
        Grower { ranks: &ranks, targets, weights, options, drawn, rng, tree }.grown()
    };
    let mut trees: Vec<Tree> = parallel::each(options.trees, tree);
    let (base, of) = match asked {
        Asked::Class => (weighted_mean(targets, weights).unwrap_or_default(), options.trees + 1),
        Asked::Number => (0.0, options.trees),
    };
    let shares = trees.iter_mut().flat_map(|tree| &mut tree.value);
    shares.for_each(|value| *value /= of as f64);
    let trees = Trees { base: base / of as f64, trees };
    trees.check(ranks.len())?;
    Ok(trees)
}

fn check(
    columns: &Matrix,
    targets: &[f64],
    asked: Asked,
    options: &Forest,
) -> Result<(), RowsError> {
    let refuse = |what: String| Err(RowsError::Unsuitable(what));
    columns.not_infinite("a random forest")?;
    let rows = columns.rows();
    if targets.len() != rows || rows == 0 || rows >= MISSING as usize || columns.columns() == 0 {
        let count = columns.columns();
        return refuse(format!("{} targets of {rows} rows, {count} columns", targets.len()));
    }
    let fits = |target: &f64| match asked {
        Asked::Class => *target == 0.0 || *target == 1.0,
        Asked::Number => target.is_finite(),
    };
    if let Some(row) = targets.iter().position(|target| !fits(target)) {
        return refuse(format!("the target of row {row} is {}", targets[row]));
    }
    let sizes = (1..=TREES_MAX).contains(&options.trees) && options.depth <= DEPTH_MAX;
    match sizes && options.min_leaf >= 1 {
        true => Ok(()),
        false => refuse(format!("trees cannot be grown with {options:?}")),
    }
}

/// Rank of a missing value.
const MISSING: u32 = u32::MAX;

/// A column's values by their order, because whole numbers are sorted faster.
struct Ranks {
    of_rows: Vec<u32>,
    values: Vec<f64>,
}

impl Ranks {
    fn new(column: &[f64]) -> Self {
        let mut values: Vec<f64> = column.iter().copied().filter(|v| !v.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        values.dedup_by(|a, b| a == b);
        let rank = |value: &f64| match value.is_nan() {
            true => MISSING,
            false => values.partition_point(|v| v < value) as u32,
        };
        Self { of_rows: column.iter().map(rank).collect(), values }
    }

    /// A number that tells values up to a rank from those above it.
    fn above(&self, rank: u32) -> f64 {
        let low = self.values[rank as usize];
        match self.values.get(rank as usize + 1) {
            Some(&high) if f64::midpoint(low, high) > low => f64::midpoint(low, high),
            Some(&high) => high,
            // All values to the left, missing ones to the right.
            None => f64::MAX,
        }
    }
}

/// A row as often as it was drawn.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    row: u32,
    times: u32,
}

/// Some rows added up.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    times: u32,
    weight: f64,
    target: f64,
    square: f64,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.times += other.times;
        self.weight += other.weight;
        self.target += other.target;
        self.square += other.square;
    }

    fn without(&self, other: &Self) -> Self {
        Self {
            times: self.times - other.times,
            weight: self.weight - other.weight,
            target: self.target - other.target,
            square: self.square - other.square,
        }
    }

    /// What of the squares is explained by the mean.
    fn explained(&self) -> f64 {
        if self.weight > 0.0 { self.target * self.target / self.weight } else { 0.0 }
    }
}

struct Cut {
    column: usize,
    rank: u32,
    missing_left: bool,
    explained: f64,
}

struct Grower<'a> {
    ranks: &'a [Ranks],
    targets: &'a [f64],
    weights: Option<&'a [f64]>,
    options: &'a Forest,
    drawn: usize,
    rng: fastrand::Rng,
    tree: Tree,
}

impl Grower<'_> {
    fn grown(mut self) -> Tree {
        let count = self.targets.len();
        let mut times = vec![0; count];
        for _ in 0..count {
            times[self.rng.usize(..count)] += 1;
        }
        let drawn = times.iter().enumerate().filter(|(_, times)| **times > 0);
        let weighs = |row: usize| self.weights.is_none_or(|weights| weights[row] > 0.0);
        let drawn = drawn.filter(|(row, _)| weighs(*row));
        let mut rows: Vec<Drawn> =
            drawn.map(|(row, &times)| Drawn { row: row as u32, times }).collect();
        if rows.is_empty() {
            // Only rows of no weight were drawn.
            self.tree.leaf(0.0, 1.0);
            return self.tree;
        }
        self.node(&mut rows, 0);
        self.tree
    }

    fn sums_of(&self, drawn: &Drawn) -> Sums {
        let row = drawn.row as usize;
        let weight = f64::from(drawn.times) * self.weights.map_or(1.0, |weights| weights[row]);
        let target = self.targets[row];
        Sums {
            times: drawn.times,
            weight,
            target: weight * target,
            square: weight * target * target,
        }
    }

    fn node(&mut self, rows: &mut [Drawn], depth: usize) {
        let mut all = Sums::default();
        rows.iter().for_each(|drawn| all.add(&self.sums_of(drawn)));
        let cut = if depth < self.options.depth { self.best_cut(rows, &all) } else { None };
        let Some(cut) = cut else {
            self.tree.leaf(all.target / all.weight, all.weight);
            return;
        };
        let ranks = &self.ranks[cut.column];
        let left = |drawn: &Drawn| match ranks.of_rows[drawn.row as usize] {
            MISSING => cut.missing_left,
            rank => rank <= cut.rank,
        };
        rows.sort_by_key(|drawn| !left(drawn));
        let (left, right) = rows.split_at_mut(rows.partition_point(left));
        let parent = self.tree.split(cut.column, ranks.above(cut.rank), cut.missing_left);
        self.node(left, depth + 1);
        self.tree.join(parent);
        self.node(right, depth + 1);
        self.tree.close(parent);
    }

    /// The best cut of some columns; more are drawn for those that are all of one value here.
    fn best_cut(&mut self, rows: &[Drawn], all: &Sums) -> Option<Cut> {
        let varies = all.square - all.explained() > 1e-12 * all.square.abs();
        if !varies || (all.times as usize) < 2 * self.options.min_leaf {
            return None;
        }
        let count = self.ranks.len();
        let mut columns: Vec<usize> = (0..count).collect();
        let (mut best, mut looked): (Option<Cut>, usize) = (None, 0);
        for at in 0..count {
            columns.swap(at, self.rng.usize(at..count));
            let (differs, cut) = self.cut_of(columns[at], rows, all);
            looked += usize::from(differs);
            let least = best.as_ref().map_or(all.explained() * (1.0 + 1e-12), |b| b.explained);
            best = cut.filter(|cut| cut.explained > least).or(best);
            if looked == self.drawn {
                break;
            }
        }
        best
    }

    /// Whether a column differs between the rows, and its best cut.
    fn cut_of(&self, column: usize, rows: &[Drawn], all: &Sums) -> (bool, Option<Cut>) {
        let ranks = &self.ranks[column].of_rows;
        let mut missing = Sums::default();
        let mut known: Vec<(u32, Sums)> = Vec::with_capacity(rows.len());
        for drawn in rows {
            match ranks[drawn.row as usize] {
                MISSING => missing.add(&self.sums_of(drawn)),
                rank => known.push((rank, self.sums_of(drawn))),
            }
        }
        known.sort_unstable_by_key(|(rank, _)| *rank);
        let (mut below, mut best) = (Sums::default(), None);
        let mut groups = 0;
        let last = known.last().map(|(rank, _)| *rank);
        for same in known.chunk_by(|a, b| a.0 == b.0) {
            groups += 1;
            let rank = same[0].0;
            same.iter().for_each(|(_, sums)| below.add(sums));
            if Some(rank) == last && missing.times == 0 {
                break;
            }
            self.better(&mut best, (column, rank), &below, all, false);
            if missing.times > 0 && Some(rank) != last {
                let mut left = below;
                left.add(&missing);
                self.better(&mut best, (column, rank), &left, all, true);
            }
        }
        if let (Some(cut), 0) = (&mut best, missing.times) {
            // Nothing was missing here: where more rows go.
            let known_left = known.iter().filter(|(rank, _)| *rank <= cut.rank);
            let left: u32 = known_left.map(|(_, sums)| sums.times).sum();
            cut.missing_left = 2 * left >= all.times;
        }
        (groups + usize::from(missing.times > 0) > 1, best)
    }

    fn better(
        &self,
        best: &mut Option<Cut>,
        (column, rank): (usize, u32),
        left: &Sums,
        all: &Sums,
        missing_left: bool,
    ) {
        let right = all.without(left);
        if (left.times.min(right.times) as usize) < self.options.min_leaf {
            return;
        }
        let explained = left.explained() + right.explained();
        if best.as_ref().is_none_or(|best| explained > best.explained) {
            *best = Some(Cut { column, rank, missing_left, explained });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rows::logistic::probability;
    use crate::rows::metrics::{r_squared, roc_auc};
    use crate::rows::tree_shap;

    /// Rows of five columns: a class of two of them and of whether one is missing.
    pub(crate) fn sample(rows: usize, seed: u64) -> (Matrix, Vec<bool>) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut values = Vec::with_capacity(rows * 5);
        let mut labels = Vec::with_capacity(rows);
        for _ in 0..rows {
            let mut row: Vec<f64> = (0..5).map(|_| rng.f64() * 4.0 - 2.0).collect();
            row[2] = row[2].round();
            let missing = rng.f64() < 0.2;
            let margin = 2.0 * row[0] + row[1] * row[1] - 1.0 + if missing { 1.5 } else { 0.0 };
            if missing {
                row[3] = f64::NAN;
            }
            labels.push(rng.f64() < probability(margin * 1.5));
            values.extend(row);
        }
        (Matrix::from_rows(5, &values), labels)
    }

    pub(crate) fn targets_of(labels: &[bool]) -> Vec<f64> {
        labels.iter().map(|label| f64::from(u8::from(*label))).collect()
    }

    fn grown(options: &Forest, seed: u64) -> Trees {
        let (columns, labels) = sample(400, 1);
        fit(&columns, &targets_of(&labels), None, Asked::Class, options, seed).expect("trees")
    }

    #[test]
    fn it_learns_and_is_seeded() {
        let trees = grown(&Forest::default(), 7);
        let (unseen, truth) = sample(2_000, 2);
        let answers = trees.margins(&unseen);
        assert!(answers.iter().all(|p| (0.0..=1.0 + 1e-12).contains(p)));
        assert!(roc_auc(&truth, &answers).expect("both") > 0.85);
        assert_eq!(grown(&Forest::default(), 7), trees);
        assert_ne!(grown(&Forest::default(), 8), trees);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        assert_eq!(one.install(|| grown(&Forest::default(), 7)), trees, "on any number of cores");
    }

    #[test]
    fn effects_are_shapley_values_by_definition() {
        let (columns, _) = sample(400, 1);
        let trees = grown(&Forest { trees: 10, depth: 8, ..Forest::default() }, 7);
        let with_missing = (0..400).filter(|&row| columns.at(row, 3).is_nan());
        for row in (0..4).chain(with_missing.take(4)) {
            tree_shap::tests::check(&trees, &columns.row(row));
        }
    }

    #[test]
    fn that_a_value_is_missing_can_be_all_that_counts() {
        let mut columns = Matrix::empty(200);
        let value = |row: usize| if row.is_multiple_of(4) { f64::NAN } else { (row % 7) as f64 };
        columns.push(&(0..200).map(value).collect::<Vec<_>>());
        let targets: Vec<f64> = (0..200).map(|row| f64::from(u8::from(row % 4 == 0))).collect();
        let options = Forest { trees: 20, min_leaf: 1, ..Forest::default() };
        let trees = fit(&columns, &targets, None, Asked::Class, &options, 1).expect("trees");
        // All 20 trees, and one that answers 1/4 whatever is asked.
        assert!((trees.margin(&[f64::NAN]) - 20.25 / 21.0).abs() < 1e-12);
        assert!((trees.margin(&[3.0]) - 0.25 / 21.0).abs() < 1e-12);
    }

    #[test]
    fn leaves_have_rows_and_ways_an_end() {
        let trees = grown(&Forest { trees: 5, depth: 3, min_leaf: 20, columns: None }, 1);
        for tree in &trees.trees {
            let leaves = (0..tree.nodes()).filter(|&node| tree.is_leaf(node));
            assert!(leaves.clone().all(|leaf| tree.cover[leaf] >= 20.0));
            assert!(leaves.count() <= 8);
            assert_eq!(tree.cover[0], 400.0);
        }
    }

    #[test]
    fn a_number_is_learnt_too() {
        let (columns, _) = sample(1_000, 1);
        let targets: Vec<f64> = (0..1_000).map(|row| 100.0 + 10.0 * columns.at(row, 0)).collect();
        let options = Forest { trees: 50, ..Forest::default() };
        let trees = fit(&columns, &targets, None, Asked::Number, &options, 1).expect("trees");
        let r_squared = r_squared(&targets, &trees.margins(&columns)).expect("varies");
        assert!(r_squared > 0.9, "{r_squared}");
    }

    #[test]
    fn rows_without_weight_teach_nothing() {
        let (columns, labels) = sample(400, 1);
        let mut targets = targets_of(&labels);
        let weights: Vec<f64> = (0..400).map(|row| f64::from(u8::from(row % 2 == 0))).collect();
        let options = Forest { trees: 5, ..Forest::default() };
        let fitted = |targets: &[f64]| {
            fit(&columns, targets, Some(&weights), Asked::Class, &options, 1).expect("trees")
        };
        let trees = fitted(&targets);
        targets.iter_mut().skip(1).step_by(2).for_each(|target| *target = 1.0 - *target);
        assert_eq!(fitted(&targets), trees);
    }

    #[test]
    fn what_cannot_be_learnt_from_is_refused() {
        let (columns, labels) = sample(50, 1);
        let targets = targets_of(&labels);
        let refused = |targets: &[f64], options: &Forest| {
            let refused = fit(&columns, targets, None, Asked::Class, options, 1);
            refused.expect_err("refused").to_string()
        };
        let options = Forest::default();
        assert!(refused(&[0.5; 50], &options).contains("the target of row 0 is 0.5"));
        assert!(refused(&targets[..49], &options).contains("49 targets of 50 rows"));
        assert!(refused(&targets, &Forest { trees: 0, ..options }).contains("trees: 0"));
    }
}
