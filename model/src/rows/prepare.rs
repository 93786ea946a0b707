//! Preparation of source columns, fitted on some rows and applied to any.
//!
//! What families take differs: a sum takes finite numbers of one size, and a column per level; trees
//! take numbers as they are, missing ones too, and levels by their order. So a preparation belongs
//! to the model that was fitted behind it, and is stored with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::RowsError;
use super::matrix::Matrix;
use super::metrics::{mean, quantile};
use super::plan::{CategoryPlan, Clip, Encode, FLAGGED_ABOVE, Impute, NumberPlan, Plan, Taken};
use super::table::{Column, Table};

/// A column's preparation with its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fitted {
    /// Of numbers or truth values.
    Number {
        /// What takes the place of a missing one; without, it stays missing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        impute: Option<f64>,
        /// Whether a column tells that it was missing.
        flag_missing: bool,
        /// Bounds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clip: Option<(f64, f64)>,
        /// Whether its logarithm is taken: ln(1 + x).
        log: bool,
        /// Edges that cut it into levels.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bins: Vec<f64>,
        /// How those become numbers.
        encode: Encode,
        /// What is subtracted at last.
        centre: f64,
        /// By what it is divided then.
        spread: f64,
    },
    /// Of categories.
    Category {
        /// Levels of their own, sorted. Every other one, known or not, is one level together.
        levels: Vec<String>,
        /// How levels become numbers.
        encode: Encode,
    },
}

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
                RowsError::Unsuitable(format!("`{name}` has {}, as it had not", column.kind()))
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
    /// of categories are too many.
    pub fn pairs_of_numbers(&self) -> Vec<(usize, usize)> {
        let source_of = self.source_of();
        let number = |column: &usize| {
            let fitted = &self.sources[source_of[*column]].fitted;
            matches!(fitted, Fitted::Number { .. })
        };
        let numbers: Vec<usize> = (0..source_of.len()).filter(number).collect();
        let pairs = numbers.iter().flat_map(|&a| numbers.iter().map(move |&b| (a, b)));
        pairs.filter(|&(a, b)| a < b && source_of[a] != source_of[b]).collect()
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

impl Fitted {
    fn number(plan: &NumberPlan, values: Vec<f64>) -> Result<Self, String> {
        let mut known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        known.sort_by(f64::total_cmp);
        let missing = values.len() - known.len();
        let ranked = |share| if known.is_empty() { 0.0 } else { quantile(&known, share) };
        let impute = match plan.impute {
            Impute::Median => Some(ranked(0.5)),
            Impute::Constant(value) => Some(value),
            Impute::Keep => None,
        };
        let usual = impute.is_some() && missing as f64 > FLAGGED_ABOVE * values.len() as f64;
        let mut clip = match plan.clip {
            Some(Clip::Values(low, high)) => Some((low, high)),
            Some(Clip::Quantiles(low, high)) => Some((ranked(low), ranked(high))),
            None => None,
        };
        if plan.log {
            // What is lower later counts as the lowest that was seen, whose logarithm exists.
            let (low, high) = clip.unwrap_or((ranked(0.0), f64::MAX));
            clip = Some((low.max(ranked(0.0).min(high)), high));
        }
        let mut fitted = Self::Number {
            impute,
            flag_missing: plan.flag_missing.unwrap_or(usual),
            clip,
            log: plan.log,
            bins: plan.bins.clone(),
            encode: plan.encode,
            centre: 0.0,
            spread: 1.0,
        };
        if !fitted.is_sound() {
            return Err("bounds, edges or a logarithm without sense".to_owned());
        }
        if plan.scale && plan.bins.is_empty() {
            let shaped = values.iter().map(|value| fitted.shaped(*value));
            let shaped: Vec<f64> = shaped.filter(|value| !value.is_nan()).collect();
            let middle = mean(shaped.iter().copied());
            let deviation = mean(shaped.iter().map(|v| (v - middle).powi(2))).sqrt();
            if let (Self::Number { centre, spread, .. }, true) = (&mut fitted, deviation > 0.0) {
                (*centre, *spread) = (middle, deviation);
            }
        }
        Ok(fitted)
    }

    fn category(
        plan: &CategoryPlan,
        codes: impl Iterator<Item = Option<u32>>,
        names: &[String],
    ) -> Self {
        let mut counts = vec![0_usize; names.len()];
        codes.flatten().for_each(|code| counts[code as usize] += 1);
        let mut frequent: Vec<(usize, &String)> = counts.into_iter().zip(names).collect();
        frequent.retain(|(count, _)| *count >= plan.rare_below.max(1));
        frequent.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        frequent.truncate(plan.levels_max);
        let mut levels: Vec<String> = frequent.into_iter().map(|(_, name)| name.clone()).collect();
        levels.sort();
        levels.dedup();
        Self::Category { levels, encode: plan.encode }
    }

    /// Names of the prepared columns; that of the column itself has none.
    fn parts(&self) -> Vec<Option<String>> {
        let one = |name: &str| Some(name.to_owned());
        match self {
            Self::Number { flag_missing, bins, encode, .. } => {
                let mut parts = match encode {
                    Encode::OneHot if !bins.is_empty() => bin_names(bins),
                    _ => vec![None],
                };
                parts.extend(flag_missing.then(|| one("missing")));
                parts
            }
            Self::Category { encode: Encode::Ordinal, .. } => vec![None],
            Self::Category { levels, encode: Encode::OneHot } => levels
                .iter()
                .map(|level| one(level))
                .chain([one("other"), one("missing")])
                .collect(),
        }
    }

    /// The prepared columns, one per part; none if the column has values of another kind.
    fn prepared(&self, column: &Column, rows: usize) -> Option<Vec<Vec<f64>>> {
        let indicators = |count: usize, at: &dyn Fn(usize) -> Option<usize>| {
            let mut columns = vec![vec![0.0; rows]; count];
            for row in 0..rows {
                if let Some(at) = at(row) {
                    columns[at][row] = 1.0;
                }
            }
            columns
        };
        match (self, column) {
            (_, Column::Category { codes, levels: names }) => {
                let Self::Category { levels, encode } = self else { return None };
                let place = |name: &String| levels.binary_search(name).ok();
                let places: Vec<Option<usize>> = names.iter().map(place).collect();
                let place = |row: usize| codes[row].map(|code| places[code as usize]);
                if *encode == Encode::OneHot {
                    let at = |row: usize| match place(row) {
                        None => levels.len() + 1,
                        Some(level) => level.unwrap_or(levels.len()),
                    };
                    return Some(indicators(levels.len() + 2, &|row| Some(at(row))));
                }
                let number = |row: usize| match place(row) {
                    None => f64::NAN,
                    Some(level) => level.map_or(-1.0, |level| level as f64),
                };
                Some(vec![(0..rows).map(number).collect()])
            }
            (Self::Category { .. }, _) => None,
            (Self::Number { flag_missing, bins, encode, centre, spread, .. }, column) => {
                let raw: Vec<f64> = (0..rows).filter_map(|row| column.number(row)).collect();
                let shaped = |row: usize| self.shaped(raw[row]);
                let mut columns = match encode {
                    Encode::OneHot if !bins.is_empty() => indicators(bins.len() + 1, &|row| {
                        Some(shaped(row)).filter(|bin| !bin.is_nan()).map(|bin| bin as usize)
                    }),
                    _ => vec![(0..rows).map(|row| (shaped(row) - centre) / spread).collect()],
                };
                if *flag_missing {
                    columns.push(raw.iter().map(|v| f64::from(u8::from(v.is_nan()))).collect());
                }
                Some(columns)
            }
        }
    }

    /// A number before it is centred: imputed, within bounds, its bin or its logarithm.
    fn shaped(&self, value: f64) -> f64 {
        let Self::Number { impute, clip, log, bins, .. } = self else { return f64::NAN };
        let value = if value.is_nan() { impute.unwrap_or(f64::NAN) } else { value };
        let value = clip.map_or(value, |(low, high)| value.clamp(low, high));
        match bins.is_empty() || value.is_nan() {
            true if *log => value.ln_1p(),
            true => value,
            false => bins.partition_point(|edge| *edge <= value) as f64,
        }
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::Number { impute, clip, log, bins, centre, spread, .. } => {
                let bounds = clip.unwrap_or((0.0, 0.0));
                let numbers = bins.iter().chain([centre, spread, &bounds.0, &bounds.1]);
                numbers.chain(impute).all(|number| number.is_finite())
                    && bounds.0 <= bounds.1
                    && (!log || clip.is_some() && bounds.0 > -1.0)
                    && bins.is_sorted_by(|a, b| a < b)
                    && *spread > 0.0
            }
            Self::Category { levels, .. } => levels.is_sorted_by(|a, b| a < b),
        }
    }
}

fn bin_names(bins: &[f64]) -> Vec<Option<String>> {
    let between = bins.windows(2).map(|pair| format!("{} to {}", pair[0], pair[1]));
    let first = bins.first().map(|edge| format!("below {edge}"));
    let last = bins.last().map(|edge| format!("{edge} and above"));
    first.into_iter().chain(between).chain(last).map(Some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 rows: a number of which every fifth is missing, one that is all there, a truth value,
    /// a category with a rare level, and a constant.
    fn table() -> Table {
        let mut table = Table::new(200);
        let mut push = |name: &str, column| table.push(name, column).expect("a column");
        let bmi = |row: usize| if row % 5 == 0 { f64::NAN } else { 20.0 + (row % 17) as f64 };
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
        assert_eq!(preparation.pairs_of_numbers(), pairs, "not of bmi and that it is missing");
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
        let negative = plan(&|p| {
            p.log = true;
            p.clip = Some(Clip::Values(-5.0, 50.0));
        });
        assert!(!refused("none", negative).is_empty());
        let same = BTreeMap::new();
        let constant = Preparation::fit(&table(), &[3], Taken::Trees, &same).expect_err("one row");
        assert_eq!(constant.to_string(), "no column differs between rows");
        let preparation = fitted(&all(), Taken::Sums, &[]);
        let mut without = Table::new(1);
        without.push("bmi", Column::Number(vec![20.0])).expect("a column");
        let missing = preparation.apply(&without).expect_err("no age");
        assert_eq!(missing.to_string(), "there is no column `age`");
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
