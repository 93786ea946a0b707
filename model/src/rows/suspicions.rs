//! Source columns that tell the target, and rows that come twice: what makes a model look good that
//! will not be.

use std::collections::{HashMap, HashSet};

use super::metrics::{mean, roc_auc};
use super::table::{Column, Table};

/// Area under the curve above which a single column is no predictor, but the target or an id.
pub const AUC_MAX: f64 = 0.999;

/// How well a single column tells two classes apart, numbers either way round: its area under the
/// curve. A level of a category counts as the share of its other rows, so that levels of one row
/// each tell nothing. That a value is missing counts as whichever end tells more. `None` with one
/// class.
pub fn auc_of_column(column: &Column, labels: &[bool]) -> Option<f64> {
    let either = |scores: &[f64]| roc_auc(labels, scores).map(|auc| auc.max(1.0 - auc));
    if let Column::Category { codes, levels } = column {
        // The last one is of missing values.
        let place = |code: &Option<u32>| code.map_or(levels.len(), |code| code as usize);
        let (mut rows, mut hits) = (vec![0.0; levels.len() + 1], vec![0.0; levels.len() + 1]);
        for (code, label) in codes.iter().zip(labels) {
            rows[place(code)] += 1.0;
            hits[place(code)] += f64::from(u8::from(*label));
        }
        let usual = mean(labels.iter().map(|label| f64::from(u8::from(*label))));
        let share = |(code, label): (&Option<u32>, &bool)| {
            let (others, hit) = (rows[place(code)] - 1.0, f64::from(u8::from(*label)));
            if others > 0.0 { (hits[place(code)] - hit) / others } else { usual }
        };
        return roc_auc(labels, &codes.iter().zip(labels).map(share).collect::<Vec<_>>());
    }
    let values = (0..column.rows()).filter_map(|row| column.number(row));
    let with = |end: f64| {
        let ended = values.clone().map(|value| if value.is_nan() { end } else { value });
        either(&ended.collect::<Vec<_>>())
    };
    Some(with(f64::NEG_INFINITY)?.max(with(f64::INFINITY)?))
}

/// How well a single column of numbers orders a numeric target, either way round: Spearman's rank
/// correlation over the rows where it is there. `None` where either does not vary, and of
/// categories.
pub fn rank_correlation(column: &Column, targets: &[f64]) -> Option<f64> {
    let number = |row| Some((column.number(row).filter(|value| !value.is_nan())?, targets[row]));
    let (values, targets): (Vec<f64>, Vec<f64>) = (0..column.rows()).filter_map(number).unzip();
    let (a, b) = (ranks(&values), ranks(&targets));
    let middle = (values.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum()
    };
    let size = (product(&a, &a) * product(&b, &b)).sqrt();
    (size > 0.0).then(|| (product(&a, &b) / size).abs())
}

/// Ranks from 0; those of equal values are their mean.
pub(super) fn ranks(values: &[f64]) -> Vec<f64> {
    let mut rows: Vec<usize> = (0..values.len()).collect();
    rows.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for tied in rows.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = first as f64 + (tied.len() as f64 - 1.0) / 2.0;
        tied.iter().for_each(|&row| ranks[row] = rank);
        first += tied.len();
    }
    ranks
}

/// Pairs of a row of `known` and one of `asked` with the same values in all columns.
pub fn twins(table: &Table, known: &[usize], asked: &[usize]) -> Vec<(usize, usize)> {
    let mut seen: HashMap<Vec<u64>, usize> = HashMap::new();
    for &row in known {
        seen.entry(values(table, row, None)).or_insert(row);
    }
    let twin = |&row: &usize| Some((*seen.get(&values(table, row, None))?, row));
    asked.iter().filter_map(twin).collect()
}

/// How many twins chance explains, where the column with most values says nothing of the others:
/// rows that are alike in all others, times the probability that two rows have it in common. What
/// is known counts once however often it is there: copies would explain themselves.
pub fn twins_by_chance(table: &Table, known: &[usize], asked: &[usize]) -> f64 {
    let mut seen = HashSet::new();
    let mut known = known.to_vec();
    known.retain(|&row| seen.insert(values(table, row, None)));
    let counts_of = |column: usize| {
        let mut counts: HashMap<u64, usize> = HashMap::new();
        seen.iter().for_each(|row| *counts.entry(row[column]).or_default() += 1);
        counts
    };
    let columns = (0..table.columns().count()).map(|column| (column, counts_of(column)));
    let Some((finest, counts)) = columns.max_by_key(|(_, counts)| counts.len()) else {
        return 0.0;
    };
    let share = |count: &usize| (*count as f64 / known.len() as f64).powi(2);
    let in_common: f64 = counts.values().map(share).sum();
    let mut alike: HashMap<Vec<u64>, usize> = HashMap::new();
    known.iter().for_each(|&row| *alike.entry(values(table, row, Some(finest))).or_default() += 1);
    let expected = |&row: &usize| {
        let others = alike.get(&values(table, row, Some(finest))).copied().unwrap_or_default();
        (others as f64 * in_common).min(1.0)
    };
    asked.iter().map(expected).sum()
}

/// What a row says, but in one column.
fn values(table: &Table, row: usize, without: Option<usize>) -> Vec<u64> {
    let columns = table.columns().enumerate().filter(|(at, _)| Some(*at) != without);
    let value = |(_, (_, column)): (usize, (&str, &Column))| match column {
        Column::Category { codes, .. } => codes[row].map_or(u64::MAX, u64::from),
        // Zero is equal to its negative, and one missing value to another.
        _ => column.number(row).map_or(0, |value| match value {
            value if value.is_nan() => u64::MAX,
            value => (value + 0.0).to_bits(),
        }),
    };
    columns.map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<bool> {
        (0..400).map(|row| row % 7 == 0).collect()
    }

    fn table() -> Table {
        let mut table = Table::new(400);
        let mut push = |name: &str, column| table.push(name, column).expect("a column");
        let number = |of: &dyn Fn(usize) -> f64| Column::Number((0..400).map(of).collect());
        push("age", number(&|row| ((row * 37) % 101) as f64));
        push("copy", number(&|row| f64::from(u8::from(row % 7 != 0))));
        push("missing if", number(&|row| if row % 7 == 0 { f64::NAN } else { row as f64 }));
        let names: Vec<String> = (0..400).map(|row| format!("p{row}")).collect();
        push("id", Column::category(names.iter().map(|name| Some(name.as_str()))));
        let word = |row: usize| Some(if row.is_multiple_of(7) { "ill" } else { "well" });
        push("word", Column::category((0..400).map(word)));
        push("work", Column::category((0..400).map(|row| [Some("a"), Some("b"), None][row % 3])));
        table
    }

    #[test]
    fn copies_are_found_and_predictors_are_not() {
        let (table, labels) = (table(), labels());
        let auc = |column| auc_of_column(column, &labels).expect("both classes");
        let columns = table.columns().filter(|(_, column)| auc(column) > AUC_MAX);
        assert_eq!(
            columns.map(|(name, _)| name).collect::<Vec<_>>(),
            ["copy", "missing if", "word"]
        );
        let age = auc_of_column(table.column("age").expect("a column"), &labels);
        assert!(age.expect("both classes") < 0.6, "{age:?}");
        assert_eq!(auc_of_column(table.column("age").expect("a column"), &[true; 400]), None);
    }

    #[test]
    fn a_column_that_orders_a_numeric_target_is_found() {
        let table = table();
        let age = table.column("age").expect("a column");
        let cubed: Vec<f64> =
            (0..400).map(|row| -age.number(row).expect("a number").powi(3)).collect();
        assert!((rank_correlation(age, &cubed).expect("varies") - 1.0).abs() < 1e-12);
        let other: Vec<f64> = (0..400).map(|row| ((row * 13) % 29) as f64).collect();
        assert!(rank_correlation(age, &other).expect("varies") < 0.2);
        assert_eq!(rank_correlation(age, &[1.0; 400]), None);
    }

    #[test]
    fn rows_that_come_twice_are_found_across_a_split() {
        let table = table().select(&[0, 1, 2, 1, 0, 7]);
        assert_eq!(twins(&table, &[0, 1, 2], &[3, 4, 5]), [(1, 3), (0, 4)]);
        assert_eq!(twins(&table, &[0, 1], &[2, 5]), []);
    }
}
