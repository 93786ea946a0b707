//! Preparation of source columns, fitted on some rows and applied to any.
//!
//! What families take differs: a sum takes finite numbers of one size, and a column per level;
//! trees take numbers as they are, missing ones too, and levels by their order. So a preparation
//! belongs to the model that was fitted behind it, and is stored with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::RowsError;
use super::fitted::Fitted;
use super::matrix::Matrix;
use super::plan::{Plan, Taken};
use super::table::{Column, Table};

/// A source column's preparation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What is done.
    pub fitted: Fitted,
    /// Which of the prepared columns are there: those that were not constant where it was fitted.
    pub kept: Vec<bool>,
}

/// The preparation of all columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// The source columns, in order.
    pub sources: Vec<Source>,
}

impl Preparation {
    /// Fits it on some rows of a table: `plans` has those columns that differ from what is usual
    /// for `taken`, by name.
    ///
    /// # Errors
    /// If a plan is of no column, does not fit its column, or no column differs between the rows.
    pub fn fit(
        table: &Table,
        rows: &[usize],
        taken: Taken,
        plans: &BTreeMap<String, Plan>,
    ) -> Result<Self, RowsError> {
        if let Some(name) = plans.keys().find(|name| table.column(name).is_none()) {
            return Err(RowsError::Unsuitable(format!("there is no column `{name}` to prepare")));
        }
        let mut sources = Vec::new();
        for (name, column) in table.columns() {
            let usual;
            let plan = match plans.get(name) {
                Some(plan) => plan,
                None => {
                    usual = Plan::usual(column, taken);
                    &usual
                }
            };
            sources.push(Source::fit(name, column, rows, plan, taken)?);
        }
        match sources.iter().any(|source| source.kept.contains(&true)) {
            true => Ok(Self { sources }),
            false => Err(RowsError::Unsuitable("no column differs between rows".to_owned())),
        }
    }

    /// The prepared columns of a table, which may have other columns and levels, too.
    ///
    /// # Errors
    /// If a column is not there, or has values of another kind.
    pub fn apply(&self, table: &Table) -> Result<Matrix, RowsError> {
        let mut matrix = Matrix::empty(table.rows());
        for source in &self.sources {
            let name = &source.name;
            let Some(column) = table.column(name) else {
                return Err(RowsError::Unsuitable(format!("there is no column `{name}`")));
            };
            let columns = source.fitted.prepared(column, table.rows()).ok_or_else(|| {
                let (has, had) = (column.kind(), source.fitted.kind());
                RowsError::Unsuitable(format!("`{name}` has {has} instead of {had}"))
            })?;
            for (values, _) in columns.iter().zip(&source.kept).filter(|(_, kept)| **kept) {
                matrix.push(values);
            }
        }
        Ok(matrix)
    }

    /// Names of the prepared columns: `age`, `bmi = missing`, `gender = Male`.
    pub fn names(&self) -> Vec<String> {
        let of = |source: &Source| {
            let names = source.fitted.parts().into_iter().zip(source.kept.clone());
            let kept = names.filter(|(_, kept)| *kept).map(|(part, _)| part);
            let full = |part: Option<String>| match part {
                Some(part) => format!("{} = {part}", source.name),
                None => source.name.clone(),
            };
            kept.map(full).collect::<Vec<_>>()
        };
        self.sources.iter().flat_map(of).collect()
    }

    /// The place among the sources of each prepared column.
    pub fn source_of(&self) -> Vec<usize> {
        let sources = self.sources.iter().enumerate();
        let kept = |source: &Source| source.kept.iter().filter(|kept| **kept).count();
        sources.flat_map(|(at, source)| std::iter::repeat_n(at, kept(source))).collect()
    }

    /// Effects of prepared columns, summed by source column.
    pub fn by_source(&self, effects: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.sources.len()];
        for (source, effect) in self.source_of().into_iter().zip(effects) {
            sums[source] += effect;
        }
        sums
    }

    /// Numbers of prepared columns by their names, in pairs.
    ///
    /// # Errors
    /// If there is none of a name.
    pub fn pairs(&self, named: &[(&str, &str)]) -> Result<Vec<(usize, usize)>, RowsError> {
        let names = self.names();
        let place = |name: &str| {
            names.iter().position(|found| found == name).ok_or_else(|| {
                let names = names.join("`, `");
                RowsError::Unsuitable(format!("there is no prepared column `{name}`: `{names}`"))
            })
        };
        named.iter().map(|(a, b)| Ok((place(a)?, place(b)?))).collect()
    }

    /// All pairs of prepared columns whose product can matter without being one of hundreds: those
    /// of numbers, truth values and what tells that they were missing, of different sources. Levels
    /// of categories are too many. None at all if there are more than `pairs_max`.
    pub fn pairs_of_numbers(&self, pairs_max: usize) -> Vec<(usize, usize)> {
        let source_of = self.source_of();
        let number = |column: &usize| {
            let fitted = &self.sources[source_of[*column]].fitted;
            matches!(fitted, Fitted::Number { .. })
        };
        let numbers: Vec<usize> = (0..source_of.len()).filter(number).collect();
        let pairs = numbers.iter().flat_map(|&a| numbers.iter().map(move |&b| (a, b)));
        let pairs = pairs.filter(|&(a, b)| a < b && source_of[a] != source_of[b]);
        let pairs: Vec<(usize, usize)> = pairs.take(pairs_max + 1).collect();
        if pairs.len() > pairs_max { Vec::new() } else { pairs }
    }

    /// Rows of a table with a level that has no number of its own, by source column: levels that
    /// were rare, and those that were never seen.
    pub fn others(&self, table: &Table) -> Vec<(&str, usize)> {
        let mut counts = Vec::new();
        for Source { name, fitted, .. } in &self.sources {
            let (Fitted::Category { levels, .. }, Some(Column::Category { codes, levels: names })) =
                (fitted, table.column(name))
            else {
                continue;
            };
            let other: Vec<bool> =
                names.iter().map(|name| levels.binary_search(name).is_err()).collect();
            let count = codes.iter().flatten().filter(|code| other[**code as usize]).count();
            counts.push((name.as_str(), count));
        }
        counts
    }

    /// Refuses a preparation that gives no numbers: one that was read is what somebody wrote.
    pub fn check(&self) -> Result<(), RowsError> {
        let broken = self.sources.iter().find(|source| {
            !source.fitted.is_sound() || source.kept.len() != source.fitted.parts().len()
        });
        match broken {
            None => Ok(()),
            Some(source) => {
                let why = format!("column `{}` has numbers that cannot be", source.name);
                Err(RowsError::stored("a preparation", why))
            }
        }
    }
}

impl Source {
    fn fit(
        name: &str,
        column: &Column,
        rows: &[usize],
        plan: &Plan,
        taken: Taken,
    ) -> Result<Self, RowsError> {
        let fitted = match (plan, column) {
            (Plan::Number(plan), Column::Number(_) | Column::Boolean(_)) => {
                let values = rows.iter().filter_map(|&row| column.number(row)).collect();
                Fitted::number(plan, values).map_err(|why| {
                    RowsError::Unsuitable(format!("`{name}` cannot be prepared: {why}"))
                })?
            }
            (Plan::Category(plan), Column::Category { codes, levels }) => {
                Fitted::category(plan, rows.iter().map(|&row| codes[row]), levels)
            }
            _ => {
                let what = format!("the preparation of `{name}` is not one of {}", column.kind());
                return Err(RowsError::Unsuitable(what));
            }
        };
        let missing = matches!(fitted, Fitted::Number { impute: None, .. });
        if missing && taken == Taken::Sums {
            let what = format!("`{name}` would keep missing values, which a sum cannot take");
            return Err(RowsError::Unsuitable(what));
        }
        let columns = fitted.prepared(column, column.rows()).expect("it was fitted on the column");
        let differs = |values: &Vec<f64>| {
            let first = rows.first().map_or(0.0, |&row| values[row]);
            rows.iter().any(|&row| values[row].total_cmp(&first).is_ne())
        };
        let kept = columns.iter().map(differs).collect();
        Ok(Self { name: name.to_owned(), fitted, kept })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::metrics::mean;
    use crate::rows::plan::{Clip, Encode, Impute, NumberPlan};

    /// 200 rows: a number of which every fifth is missing, one that is all there, a truth value,
    /// a category with a rare level, and a constant.
    fn table() -> Table {
        let mut table = Table::new(200);
        let mut push = |name: &str, column| table.push(name, column).expect("a column");
        let bmi =
            |row: usize| if row.is_multiple_of(5) { f64::NAN } else { 20.0 + (row % 17) as f64 };
        push("bmi", Column::Number((0..200).map(bmi).collect()));
        push("age", Column::Number((0..200).map(|row| (row % 90) as f64).collect()));
        push("heart", Column::Boolean((0..200).map(|row| Some(row % 3 == 0)).collect()));
        let work = |row: usize| match row % 50 {
            0 => "never",
            n if n % 2 == 0 => "private",
            _ => "public",
        };
        push("work", Column::category((0..200).map(|row| Some(work(row)))));
        push("same", Column::Number(vec![3.0; 200]));
        table
    }

    fn fitted(rows: &[usize], taken: Taken, plans: &[(&str, Plan)]) -> Preparation {
        let plans = plans.iter().map(|(name, plan)| ((*name).to_owned(), plan.clone())).collect();
        Preparation::fit(&table(), rows, taken, &plans).expect("a preparation")
    }

    fn all() -> Vec<usize> {
        (0..200).collect()
    }

    fn number() -> NumberPlan {
        match Plan::usual(&Column::Number(vec![]), Taken::Sums) {
            Plan::Number(plan) => plan,
            Plan::Category(_) => panic!("of numbers"),
        }
    }

    #[test]
    fn sums_get_finite_numbers_of_one_size() {
        let preparation = fitted(&all(), Taken::Sums, &[]);
        let names = [
            "bmi",
            "bmi = missing",
            "age",
            "heart",
            "work = private",
            "work = public",
            "work = other",
        ];
        assert_eq!(preparation.names(), names);
        assert_eq!(preparation.source_of(), [0, 0, 1, 2, 3, 3, 3]);
        let matrix = preparation.apply(&table()).expect("a matrix");
        assert_eq!(matrix.finite("a sum"), Ok(()));
        for column in [0, 2] {
            let values = matrix.column(column);
            assert!(mean(values.iter().copied()).abs() < 1e-12);
            assert!((mean(values.iter().map(|v| v * v)) - 1.0).abs() < 1e-12);
        }
        assert_eq!(matrix.column(1)[..6], [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(matrix.column(3)[..3], [1.0, 0.0, 0.0]);
        assert_eq!(matrix.row(50)[4..], [0.0, 0.0, 1.0], "a rare level");
        let effects = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];
        let sums = preparation.by_source(&effects);
        assert!((sums[0] - 0.3).abs() < 1e-12 && (sums[3] - 1.8).abs() < 1e-12 && sums[4] == 0.0);
        assert_eq!(preparation.pairs(&[("bmi = missing", "age")]).expect("pairs"), [(1, 2)]);
        assert!(preparation.pairs(&[("bmi = missing", "same")]).is_err());
        let pairs = [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
        assert_eq!(preparation.pairs_of_numbers(5), pairs, "not of bmi and that it is missing");
        assert_eq!(preparation.pairs_of_numbers(4), []);
    }

    #[test]
    fn trees_get_numbers_as_they_are() {
        let preparation = fitted(&all(), Taken::Trees, &[]);
        assert_eq!(preparation.names(), ["bmi", "age", "heart", "work"]);
        let matrix = preparation.apply(&table()).expect("a matrix");
        assert!(matrix.at(0, 0).is_nan());
        assert_eq!(matrix.row(51), [20.0, 51.0, 1.0, 1.0]);
        assert_eq!(matrix.at(50, 3), -1.0, "a rare level");
    }

    #[test]
    fn only_the_rows_it_is_fitted_on_decide() {
        let rows: Vec<usize> = (0..200).filter(|row| row % 4 != 0).collect();
        let mut scrambled = table();
        for (_, column) in scrambled.columns_mut() {
            for row in (0..200).step_by(4) {
                match column {
                    Column::Number(values) => values[row] = 1e6 * (row as f64 - 90.0),
                    Column::Boolean(values) => values[row] = None,
                    Column::Category { codes, .. } => codes[row] = None,
                }
            }
        }
        for taken in [Taken::Sums, Taken::Trees] {
            let other = Preparation::fit(&scrambled, &rows, taken, &BTreeMap::new());
            assert_eq!(other.expect("a preparation"), fitted(&rows, taken, &[]));
        }
    }

    #[test]
    fn levels_that_were_never_seen_are_one_with_the_rare_ones() {
        let preparation = fitted(&all(), Taken::Sums, &[]);
        let mut asked = table().select(&[1, 2, 3]);
        for (name, column) in asked.columns_mut() {
            if name == "work" {
                *column = Column::category([Some("public"), Some("abroad"), None]);
            }
        }
        let matrix = preparation.apply(&asked).expect("a matrix");
        assert_eq!(matrix.row(0)[4..], [0.0, 1.0, 0.0]);
        assert_eq!(matrix.row(1)[4..], [0.0, 0.0, 1.0]);
        assert_eq!(matrix.row(2)[4..], [0.0, 0.0, 0.0], "none was missing before");
        assert_eq!(preparation.others(&asked), [("work", 1)]);
    }

    #[test]
    fn numbers_are_bounded_cut_and_made_logarithms() {
        let shaped = |plan: NumberPlan, column: usize, row: usize| {
            let preparation = fitted(&all(), Taken::Sums, &[("age", Plan::Number(plan))]);
            let names = preparation.names();
            (preparation.apply(&table()).expect("a matrix").at(row, 2 + column), names)
        };
        let plain = NumberPlan { scale: false, ..number() };
        let clip = NumberPlan { clip: Some(Clip::Values(10.0, 60.0)), ..plain.clone() };
        assert_eq!((shaped(clip.clone(), 0, 3).0, shaped(clip, 0, 80).0), (10.0, 60.0));
        let clip = NumberPlan { clip: Some(Clip::Quantiles(0.0, 0.5)), ..plain.clone() };
        assert_eq!(shaped(clip, 0, 80).0, 39.5);
        let log = NumberPlan { log: true, ..plain.clone() };
        assert_eq!(shaped(log, 0, 80).0, 80_f64.ln_1p());
        let bins = NumberPlan { bins: vec![18.0, 35.0], ..plain.clone() };
        let (value, names) = shaped(bins.clone(), 1, 18);
        assert_eq!(
            (value, &names[2..5]),
            (
                1.0,
                &["age = below 18", "age = 18 to 35", "age = 35 and above"].map(String::from)[..]
            )
        );
        let place = NumberPlan { encode: Encode::Ordinal, ..bins };
        assert_eq!(shaped(place, 0, 40).0, 2.0);
        let constant =
            NumberPlan { impute: Impute::Constant(7.0), flag_missing: Some(false), ..plain };
        let preparation = fitted(&all(), Taken::Sums, &[("bmi", Plan::Number(constant))]);
        assert_eq!(preparation.names()[..2], ["bmi", "age"]);
        assert_eq!(preparation.apply(&table()).expect("a matrix").at(5, 0), 7.0);
    }

    #[test]
    fn many_levels_are_bounded() {
        let mut table = Table::new(10_000);
        let names: Vec<String> = (0..10_000).map(|row| format!("l{}", row % 700)).collect();
        let column = Column::category(names.iter().map(|name| Some(name.as_str())));
        table.push("level", column).expect("a column");
        let rows: Vec<usize> = (0..10_000).collect();
        let preparation = Preparation::fit(&table, &rows, Taken::Sums, &BTreeMap::new());
        assert_eq!(preparation.expect("a preparation").names().len(), 101);
    }

    #[test]
    fn preparations_without_sense_are_refused() {
        let refused = |name: &str, plan: Plan| {
            let plans = BTreeMap::from([(name.to_owned(), plan)]);
            let refused = Preparation::fit(&table(), &all(), Taken::Sums, &plans);
            refused.expect_err("refused").to_string()
        };
        let plan = |change: &dyn Fn(&mut NumberPlan)| {
            let mut plan = number();
            change(&mut plan);
            Plan::Number(plan)
        };
        assert!(refused("none", plan(&|_| {})).contains("there is no column `none`"));
        assert!(refused("work", plan(&|_| {})).contains("not one of categories"));
        assert!(refused("bmi", plan(&|p| p.impute = Impute::Keep)).contains("a sum cannot take"));
        assert!(refused("age", plan(&|p| p.bins = vec![2.0, 1.0])).contains("without sense"));
        assert!(refused("age", plan(&|p| p.clip = Some(Clip::Values(2.0, 1.0)))).contains("sense"));
        let beyond = plan(&|p| p.clip = Some(Clip::Quantiles(0.0, 1.5)));
        assert!(refused("age", beyond).contains("shares from 0 to 1"));
        let negative = plan(&|p| {
            p.log = true;
            p.clip = Some(Clip::Values(-9.0, -5.0));
        });
        assert!(refused("age", negative).contains("a logarithm without sense"));
        let same = BTreeMap::new();
        let constant = Preparation::fit(&table(), &[3], Taken::Trees, &same).expect_err("one row");
        assert_eq!(constant.to_string(), "no column differs between rows");
        let preparation = fitted(&all(), Taken::Sums, &[]);
        let mut without = Table::new(1);
        without.push("bmi", Column::Number(vec![20.0])).expect("a column");
        let missing = preparation.apply(&without).expect_err("no age");
        assert_eq!(missing.to_string(), "there is no column `age`");
        let mut other = Table::new(1);
        other.push("bmi", Column::category([Some("high")])).expect("a column");
        let kind = preparation.apply(&other).expect_err("no number");
        assert_eq!(kind.to_string(), "`bmi` has categories instead of numbers");
    }

    #[test]
    fn what_is_stored_is_what_is_read_and_sound() {
        let preparation = fitted(&all(), Taken::Sums, &[]);
        let text = serde_json::to_string(&preparation).expect("text");
        let mut read: Preparation = serde_json::from_str(&text).expect("a preparation");
        assert_eq!((&read, read.check()), (&preparation, Ok(())));
        read.sources[0].kept.pop();
        assert!(read.check().is_err());
        let mut read = preparation;
        if let Fitted::Number { spread, .. } = &mut read.sources[1].fitted {
            *spread = 0.0;
        }
        assert!(read.check().is_err());
    }
}
