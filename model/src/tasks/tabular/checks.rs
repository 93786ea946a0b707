//! Checks that the answer does not reach a model by another way: by a column that is the target or
//! an id in disguise, by rows that come twice, or from rows that are asked about.

use steppe_spec::Family;
use steppe_spec::tabular::TabularSpec;

use super::answers::{Answers, fitted};
use super::data::{Rows, Target};
use super::sets::Sets;
use crate::error::TrainError;
use crate::families::RowModel;
use crate::family::Fitted;
use crate::rows::matrix::select;
use crate::rows::suspicions::{AUC_MAX, auc_of_column, rank_correlation, twins, twins_by_chance};
use crate::rows::table::Column;
use crate::stored::Saved;

/// Rows from which columns are looked at.
const ROWS_MIN: usize = 50;
/// Copies that may be chance.
const COPIES_MAX: f64 = 2.0;
/// Multiples of what chance explains from which rows that are alike are copies.
const BEYOND_CHANCE: f64 = 5.0;
/// Share of the differences that two rows by chance have in their targets, above which rows that
/// are alike are no copies.
const DIFFER_BY_CHANCE: f64 = 0.2;

/// Refuses rows whose columns, or whose copies, give the answer away.
pub fn check_data(data: &Rows, spec: &TabularSpec) -> Result<(), TrainError> {
    let sets = Sets::of(data, spec)?;
    if data.rows() < ROWS_MIN {
        return Ok(());
    }
    let meant = |name: &str| {
        spec.task.features.as_ref().is_some_and(|named| named.iter().any(|n| n == name))
    };
    for (name, column) in data.table.columns() {
        if is_id(column) && !meant(name) {
            return Err(TrainError::Leak(format!(
                "`{name}` is different in every row, as ids are; name it in `ignore` of the task, \
                 or as its `entity`, or in `features` if it is none"
            )));
        }
        if let Some(telling) = telling(column, data.target()) {
            return Err(TrainError::Leak(format!(
                "`{name}` tells `{}` by itself ({telling}): it is that in disguise, or known only \
                 afterwards; name it in `ignore` of the task",
                spec.task.target
            )));
        }
    }
    copies(data, &sets)
}

/// Whether every row has another whole number or text.
fn is_id(column: &Column) -> bool {
    match column {
        Column::Category { codes, levels } => {
            // Of rows that were left out there may be levels that no row has.
            let mut seen = vec![false; levels.len()];
            let mut known = codes.iter().flatten().map(|code| *code as usize);
            let distinct = known.all(|level| !std::mem::replace(&mut seen[level], true));
            distinct && codes.iter().flatten().count() >= ROWS_MIN
        }
        Column::Number(values) => {
            let mut known: Vec<u64> =
                values.iter().filter(|v| !v.is_nan()).map(|v| (v + 0.0).to_bits()).collect();
            let whole = values.iter().all(|v| v.is_nan() || v.fract() == 0.0);
            let count = known.len();
            known.sort_unstable();
            known.dedup();
            whole && count >= ROWS_MIN && known.len() == count
        }
        Column::Boolean(_) => false,
    }
}

/// How a column tells the target by itself, if it does.
fn telling(column: &Column, target: &Target) -> Option<String> {
    match target {
        Target::Numbers(values) => {
            let correlation = rank_correlation(column, values)?;
            (correlation > AUC_MAX).then(|| format!("rank correlation {correlation:.4}"))
        }
        Target::Classes { .. } => {
            // One of several classes may well be told from the rest by a column.
            let each = (0..target.outputs())
                .map(|output| auc_of_column(column, &target.happened(output)).unwrap_or_default());
            let worst = each.fold(f64::INFINITY, f64::min);
            (worst > AUC_MAX).then(|| format!("ROC-AUC {worst:.4}"))
        }
    }
}

/// Refuses rows that are asked about and have been learnt from under another name: more of them
/// than chance explains, and with the same target.
fn copies(data: &Rows, sets: &Sets) -> Result<(), TrainError> {
    let (known, asked) = match (sets.test.is_empty(), sets.folds.first()) {
        (false, _) => (sets.rest.clone(), sets.test.clone()),
        (true, Some(fold)) => (select(&sets.rest, &fold.train), select(&sets.rest, &fold.test)),
        (true, None) => return Ok(()),
    };
    let mut pairs = twins(&data.table, &known, &asked);
    let all = pairs.len() as f64;
    let classes = data.target().classes();
    pairs.retain(|(a, b)| match data.target() {
        Target::Numbers(values) => values[*a] == values[*b],
        Target::Classes { .. } => classes[*a] == classes[*b],
    });
    // People who are alike by chance differ in what becomes of them.
    let differ = all - pairs.len() as f64;
    if differ > DIFFER_BY_CHANCE * all * unlikeness(data.target()) {
        return Ok(());
    }
    let by_chance = BEYOND_CHANCE * twins_by_chance(&data.table, &known, &asked);
    match pairs.first() {
        Some(&(one, other)) if pairs.len() as f64 > by_chance.max(COPIES_MAX) => {
            Err(TrainError::Leak(format!(
                "{} rows that are asked about are the same as rows that are learnt from, for \
                 example {} and {}; take copies out, by `unique` of the input and `duplicates = \
                 \"reject\"`, or keep them together with `split.kind = \"group\"`",
                pairs.len(),
                data.called(one),
                data.called(other)
            )))
        }
        _ => Ok(()),
    }
}

/// The probability that the targets of two rows differ.
fn unlikeness(target: &Target) -> f64 {
    let Target::Classes { labels, codes } = target else { return 1.0 };
    let mut counts = vec![0.0; labels.len()];
    codes.iter().for_each(|code| counts[*code] += 1.0);
    1.0 - counts.iter().map(|count: &f64| (count / codes.len() as f64).powi(2)).sum::<f64>()
}

/// The rows, and the same with everything changed that is in a fold: no fit without the fold may
/// notice.
pub fn scrambled(data: &Rows, spec: &TabularSpec, fold: i64) -> (Rows, Rows) {
    let Some(asked) = asked(data, spec, fold) else { return (data.clone(), data.clone()) };
    let mut other = data.clone();
    let turn = asked.len().div_ceil(2).max(1);
    for (_, column) in other.table.columns_mut() {
        let from = column.clone();
        for (at, &row) in asked.iter().enumerate() {
            let source = asked[(at + turn) % asked.len()];
            match (&mut *column, &from) {
                // Far from everything, so that a mean or a median of all rows moves.
                (Column::Number(to), Column::Number(from)) => to[row] = 7.0 - 3.0 * from[source],
                (Column::Boolean(to), Column::Boolean(from)) => {
                    to[row] = from[source].map(|value| !value);
                }
                (Column::Category { codes: to, .. }, Column::Category { codes: from, levels }) => {
                    let next = |code: u32| (code + 1) % levels.len().max(1) as u32;
                    to[row] = from[source].map(next);
                }
                _ => {}
            }
        }
    }
    match &mut other.target {
        Some(Target::Numbers(values)) => {
            asked.iter().for_each(|&row| values[row] = 11.0 - 2.0 * values[row]);
        }
        Some(Target::Classes { labels, codes }) => {
            let count = labels.len();
            asked.iter().for_each(|&row| codes[row] = (codes[row] + 1) % count);
        }
        None => {}
    }
    (data.clone(), other)
}

/// What a family that is fitted without a fold says of the rows that it knows, and everything that
/// it keeps.
pub fn told_at(
    data: &Rows,
    fold: i64,
    family: Family,
    spec: &TabularSpec,
) -> Result<Vec<Vec<f64>>, TrainError> {
    told_by(data, fold, spec, &|rows, known| fitted(family, &rows.select(known), spec))
}

/// What fits a model on some of the rows, by their numbers.
type Fit<'a> = dyn Fn(&Rows, &[usize]) -> Result<RowModel, TrainError> + 'a;

fn told_by(
    data: &Rows,
    fold: i64,
    spec: &TabularSpec,
    fit: &Fit<'_>,
) -> Result<Vec<Vec<f64>>, TrainError> {
    let mut is_asked = vec![false; data.rows()];
    asked(data, spec, fold).into_iter().flatten().for_each(|row| is_asked[row] = true);
    let known: Vec<usize> = (0..data.rows()).filter(|row| !is_asked[*row]).collect();
    let model = fit(data, &known)?;
    let mut all = Answers::by(&model, &data.table.select(&known))?.0;
    let mut saved = Saved::default();
    model.save(&mut saved);
    all.push(saved.record.to_string().bytes().map(f64::from).collect());
    Ok(all)
}

/// The rows of a fold. Where folds follow the classes, so that other labels would make other folds,
/// they are every fifth row instead.
fn asked(data: &Rows, spec: &TabularSpec, fold: i64) -> Option<Vec<usize>> {
    let folds = spec.task.split.folds;
    let of_fold = |row: &usize| row % folds == fold as usize;
    let asked: Vec<usize> = (0..data.rows()).filter(of_fold).collect();
    (asked.len() > 1).then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::sum_of_columns::{Logistic, Sums};
    use crate::rows::plan::Taken;
    use crate::rows::prepare::Preparation;
    use crate::rows::table::Table;
    use crate::tabular::model::{Link, Output, Way};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use steppe_spec::ColumnType;
    use steppe_spec::tabular::TabularKind;

    /// A number of which some are missing, and towns.
    fn data() -> (Rows, TabularSpec) {
        let mut rng = fastrand::Rng::with_seed(1);
        let rows = 200;
        let bmi = |_| if rng.f64() < 0.2 { f64::NAN } else { 20.0 + 10.0 * rng.f64() };
        let bmi: Vec<f64> = (0..rows).map(bmi).collect();
        let towns = (0..rows).map(|row| Some(["a", "b", "c"][row * 7 % 11 % 3]));
        let mut table = Table::new(rows);
        table.push("bmi", Column::Number(bmi)).expect("a column");
        table.push("town", Column::category(towns)).expect("a column");
        let labels = Arc::new(vec!["no".to_owned(), "yes".to_owned()]);
        let codes = (0..rows).map(|row| usize::from(row * 31 % 17 < 6)).collect();
        let data = Rows::plain(table, Some(Target::Classes { labels, codes }));
        let columns = [("bmi", ColumnType::Double), ("town", ColumnType::String)];
        (data, TabularSpec::new("towns", TabularKind::Classification, "ill", &columns))
    }

    /// A regression behind a preparation of some rows, fitted on others.
    fn behind(
        preparation: Preparation,
        known: &Rows,
        spec: &TabularSpec,
    ) -> Result<RowModel, TrainError> {
        let columns = preparation.apply(&known.table)?;
        let output = Output { target: known.target(), number: 0, weights: None };
        let outputs = vec![Sums::<true>::fit(&preparation, &columns, output, spec)?];
        Ok(Logistic { preparation, outputs, link: Link::LogOdds }.into())
    }

    fn prepared(data: &Rows) -> Result<Preparation, TrainError> {
        let rows: Vec<usize> = (0..data.rows()).collect();
        Ok(Preparation::fit(&data.table, &rows, Taken::Sums, &BTreeMap::new())?)
    }

    /// The rows with the share of their town's rows that are ill in place of the town.
    fn encoded(data: &Rows) -> Rows {
        let happened = data.target().happened(0);
        let Some(Column::Category { codes, .. }) = data.table.column("town") else {
            panic!("towns")
        };
        let share = |code: &Option<u32>| {
            let of_town = codes.iter().zip(&happened).filter(|(other, _)| *other == code);
            let (ill, all) = of_town.fold((0.0, 0.0), |(ill, all), (_, happened)| {
                (ill + f64::from(u8::from(*happened)), all + 1.0)
            });
            ill / all
        };
        let mut table = Table::new(data.rows());
        for (name, column) in data.table.columns() {
            let column = match name {
                "town" => Column::Number(codes.iter().map(share).collect()),
                _ => column.clone(),
            };
            table.push(name, column).expect("a column");
        }
        Rows { table, ..data.clone() }
    }

    #[test]
    fn a_family_that_looks_at_rows_that_are_asked_about_is_found() {
        let (data, spec) = data();
        let found = |fit: &Fit<'_>| {
            let told = |data: &Rows| told_by(data, 0, &spec, fit).expect("fits");
            let (as_it_was, scrambled) = scrambled(&data, &spec, 0);
            told(&as_it_was) != told(&scrambled)
        };
        let honest = |data: &Rows, known: &[usize]| {
            let known = data.select(known);
            behind(prepared(&known)?, &known, &spec)
        };
        assert!(!found(&honest));
        let imputing =
            |data: &Rows, known: &[usize]| behind(prepared(data)?, &data.select(known), &spec);
        assert!(found(&imputing), "its median and its deviation are of all rows");
        let encoding = |data: &Rows, known: &[usize]| {
            let shares = encoded(data);
            let town = shares.table.column("town").cloned().expect("a column");
            let mut table = Table::new(data.rows());
            table.push("bmi", town).expect("a column");
            let known = Rows { table, ..shares }.select(known);
            behind(prepared(&known)?, &known, &spec)
        };
        assert!(found(&encoding), "its shares are of all rows");
    }
}
