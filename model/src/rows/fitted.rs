//! What is done with a source column, with all its numbers.

use serde::{Deserialize, Serialize};

use super::metrics::{mean, quantile};
use super::plan::{CategoryPlan, Clip, Encode, FLAGGED_ABOVE, Impute, NumberPlan};
use super::table::Column;

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

impl Fitted {
    pub(crate) fn number(plan: &NumberPlan, values: Vec<f64>) -> Result<Self, String> {
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
            Some(Clip::Quantiles(low, high)) => match 0.0 <= low && low <= high && high <= 1.0 {
                true => Some((ranked(low), ranked(high))),
                false => return Err("quantiles are shares from 0 to 1".to_owned()),
            },
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

    pub(crate) fn category(
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

    /// What the values of its column are, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Number { .. } => "numbers",
            Self::Category { .. } => "categories",
        }
    }

    /// Names of the prepared columns; that of the column itself has none.
    pub(crate) fn parts(&self) -> Vec<Option<String>> {
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
    pub(crate) fn prepared(&self, column: &Column, rows: usize) -> Option<Vec<Vec<f64>>> {
        let indicators = |count: usize, at: &dyn Fn(usize) -> Option<usize>| {
            let mut columns = vec![vec![0.0; rows]; count];
            let marked = (0..rows).filter_map(|row| Some((row, at(row)?)));
            marked.for_each(|(row, at)| columns[at][row] = 1.0);
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

    pub(crate) fn is_sound(&self) -> bool {
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
