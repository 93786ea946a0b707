//! What models of rows have in common: a preparation, something fitted behind it for each output,
//! and what is done with its sums.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::parallel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use steppe_spec::tabular::{Encode, Impute, ImputeWord, Prepare, TabularSpec};

use super::Tabular;
use super::data::{Rows, Target};
use crate::artifact::ArtifactError;
use crate::error::TrainError;
use crate::family::Family;
use crate::host::Stage;
use crate::rows::RowsError;
use crate::rows::linear_model::{Effects, LinearModel};
use crate::rows::logistic::{log_odds, probability};
use crate::rows::matrix::Matrix;
use crate::rows::plan::{self, Clip, Plan, Taken};
use crate::rows::prepare::Preparation;
use crate::rows::table::Table;
use crate::rows::trees::Trees;
use crate::rows::tuning::Parameter;
use crate::stored::{Saved, Stored};

/// Rows whose reasons are worked out on the caller's thread.
const ALONE: usize = 8;

/// A fitted model of any family, as what answers.
pub trait Scorer: Send + Sync {
    /// Sums of each output, one per row.
    fn margins(&self, table: &Table) -> Result<Vec<Vec<f64>>, RowsError>;

    /// Number of outputs.
    fn outputs(&self) -> usize;

    /// What a sum means.
    fn link(&self) -> Link;

    /// Whether the reasons of an answer take microseconds.
    fn reasons_are_quick(&self) -> bool {
        true
    }

    /// What each source column adds to the sum of an output; `outputs` has one per row.
    fn reasons(&self, table: &Table, outputs: &[usize]) -> Result<Vec<Reasons>, RowsError>;

    /// Rows with a level that the model has no number for, by column.
    fn others(&self, _table: &Table) -> Vec<(String, usize)> {
        vec![]
    }
}

/// What a sum means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// It is what is answered.
    Identity,
    /// It is the logarithm of odds.
    LogOdds,
}

impl Link {
    /// What is answered for a sum, before it is calibrated.
    pub fn answer(self, margin: f64) -> f64 {
        match self {
            Self::Identity => margin,
            Self::LogOdds => probability(margin),
        }
    }
}

/// A sum's parts: with `base` they add up to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reasons {
    /// What would be answered if nothing were known of the row.
    pub base: f64,
    /// What each source column adds, by its name.
    pub effects: Vec<(String, f64)>,
}

/// Something fitted on prepared columns.
pub trait Fitted:
    Debug + Clone + PartialEq + Send + Sync + Serialize + DeserializeOwned + 'static
{
    /// Its name in an artifact.
    const FILE: &'static str;

    /// The same for every row.
    fn constant(margin: f64, columns: &Matrix) -> Self;

    /// The sum for each row.
    fn margins(&self, columns: &Matrix) -> Vec<f64>;

    /// What each column adds for one row.
    fn effects(&self, row: &[f64]) -> Effects;

    /// Refuses what cannot be followed for rows of so many columns.
    fn check(&self, columns: usize) -> Result<(), RowsError>;
}

impl Fitted for LinearModel {
    const FILE: &'static str = "sums.json";

    fn constant(margin: f64, columns: &Matrix) -> Self {
        Self::constant(margin, columns)
    }

    fn margins(&self, columns: &Matrix) -> Vec<f64> {
        self.margins(columns)
    }

    fn effects(&self, row: &[f64]) -> Effects {
        self.effects(row)
    }

    fn check(&self, columns: usize) -> Result<(), RowsError> {
        self.check(columns)
    }
}

impl Fitted for Trees {
    const FILE: &'static str = "trees.json";

    fn constant(margin: f64, _: &Matrix) -> Self {
        Self { base: margin, trees: vec![] }
    }

    fn margins(&self, columns: &Matrix) -> Vec<f64> {
        self.margins(columns)
    }

    fn effects(&self, row: &[f64]) -> Effects {
        self.effects(row)
    }

    fn check(&self, columns: usize) -> Result<(), RowsError> {
        self.check(columns)
    }
}

/// A way to fit something on prepared columns: what tells one family from another.
pub trait Way: Debug + Clone + PartialEq + Send + Sync + 'static {
    /// What is fitted.
    type Fitted: Fitted;
    /// What columns are prepared for.
    const TAKEN: Taken;

    /// What sums mean, of a target that is a number or not.
    fn link(number: bool) -> Link {
        if number { Link::Identity } else { Link::LogOdds }
    }

    /// Fits it for an output.
    fn fit(
        preparation: &Preparation,
        columns: &Matrix,
        output: Output<'_>,
        spec: &TabularSpec,
    ) -> Result<Self::Fitted, RowsError>;

    /// Whether the reasons of an answer take microseconds.
    const QUICK_REASONS: bool = true;

    /// The rows with fewer columns, when it does not look at all.
    fn narrowed(_data: &Rows, _spec: &TabularSpec) -> Result<Option<Rows>, RowsError> {
        Ok(None)
    }

    /// See [`Family::about`].
    fn about(_spec: &TabularSpec) -> Option<String> {
        None
    }

    /// See [`Family::shorten`].
    fn shorten(_spec: &mut TabularSpec) {}

    /// See [`Family::parameters`].
    fn parameters(_spec: &TabularSpec) -> Vec<Parameter> {
        vec![]
    }

    /// See [`Family::set`].
    fn set(_spec: &mut TabularSpec, _values: &[f64]) {}
}

/// A preparation, and what a way has fitted behind it for each output.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared<W: Way> {
    /// The preparation.
    pub preparation: Preparation,
    /// What was fitted, one per output.
    pub outputs: Vec<W::Fitted>,
    /// What its sums mean.
    pub link: Link,
}

/// What a card has of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    preparation: Preparation,
    link: Link,
}

impl<W: Way> Prepared<W> {
    fn fitted(data: &Rows, spec: &TabularSpec) -> Result<Self, RowsError> {
        let narrowed = W::narrowed(data, spec)?;
        let data = narrowed.as_ref().unwrap_or(data);
        let rows: Vec<usize> = (0..data.rows()).collect();
        let plans = plans(&data.table, spec, W::TAKEN);
        let preparation = Preparation::fit(&data.table, &rows, W::TAKEN, &plans)?;
        let columns = preparation.apply(&data.table)?;
        let of = |number: usize| {
            let weights = weights(data, spec, number);
            let output = Output { target: data.target(), number, weights: weights.as_deref() };
            match output.one_class() {
                Some(share) => {
                    let identity = W::link(false) == Link::Identity;
                    let margin = if identity { share } else { log_odds(share) };
                    Ok(W::Fitted::constant(margin, &columns))
                }
                None => W::fit(&preparation, &columns, output, spec),
            }
        };
        let outputs = (0..data.target().outputs()).map(of).collect::<Result<_, _>>()?;
        Ok(Self { preparation, outputs, link: W::link(data.target().is_number()) })
    }

    fn check(&self) -> Result<(), RowsError> {
        self.preparation.check()?;
        if self.outputs.is_empty() {
            return Err(RowsError::stored("a model", "it answers nothing"));
        }
        let columns = self.preparation.source_of().len();
        self.outputs.iter().try_for_each(|output| output.check(columns))
    }
}

impl<W: Way> Family<Tabular> for Prepared<W> {
    const QUICK: bool = true;

    fn fit(data: &Rows, spec: &TabularSpec, _: &Stage<'_>) -> Result<Self, TrainError> {
        Ok(Self::fitted(data, spec)?)
    }

    fn save(&self, saved: &mut Saved) {
        saved.record(&Record { preparation: self.preparation.clone(), link: self.link });
        let outputs = serde_json::to_string(&self.outputs).expect("plain numbers");
        saved.text(W::Fitted::FILE, &outputs);
    }

    fn load(stored: &Stored<'_>, _: &TabularSpec) -> Result<Self, ArtifactError> {
        let Record { preparation, link } = stored.record()?;
        let file = W::Fitted::FILE;
        let outputs: Vec<W::Fitted> = serde_json::from_str(&stored.text(file)?)
            .map_err(|e| ArtifactError::Model(format!("{file}: {e}")))?;
        let model = Self { preparation, outputs, link };
        model.check().map_err(|e| ArtifactError::Defect(e.to_string()))?;
        Ok(model)
    }

    fn about(spec: &TabularSpec) -> Option<String> {
        W::about(spec)
    }

    fn shorten(spec: &mut TabularSpec) {
        W::shorten(spec);
    }

    fn parameters(spec: &TabularSpec) -> Vec<Parameter> {
        W::parameters(spec)
    }

    fn set(spec: &mut TabularSpec, values: &[f64]) {
        W::set(spec, values);
    }
}

impl<W: Way> Scorer for Prepared<W> {
    fn margins(&self, table: &Table) -> Result<Vec<Vec<f64>>, RowsError> {
        let columns = self.preparation.apply(table)?;
        Ok(self.outputs.iter().map(|output| output.margins(&columns)).collect())
    }

    fn outputs(&self) -> usize {
        self.outputs.len()
    }

    fn link(&self) -> Link {
        self.link
    }

    fn reasons_are_quick(&self) -> bool {
        W::QUICK_REASONS
    }

    fn reasons(&self, table: &Table, outputs: &[usize]) -> Result<Vec<Reasons>, RowsError> {
        let columns = self.preparation.apply(table)?;
        let reasons = |row: usize| {
            let Effects { base, effects } = self.outputs[outputs[row]].effects(&columns.row(row));
            let sums = self.preparation.by_source(&effects);
            let named = self.preparation.sources.iter().zip(sums);
            let effects = named.map(|(source, effect)| (source.name.clone(), effect)).collect();
            Reasons { base, effects }
        };
        // Handing a few rows to other threads takes longer than answering.
        match outputs.len() <= ALONE {
            true => Ok((0..outputs.len()).map(reasons).collect()),
            false => Ok(parallel::each(outputs.len(), reasons)),
        }
    }

    fn others(&self, table: &Table) -> Vec<(String, usize)> {
        let counts = self.preparation.others(table).into_iter();
        counts.map(|(name, count)| (name.to_owned(), count)).collect()
    }
}

/// What is fitted for: an output of a target.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// The target.
    pub target: &'a Target,
    /// The number of the output.
    pub number: usize,
    /// The weight of each row; all alike without.
    pub weights: Option<&'a [f64]>,
}

impl Output<'_> {
    /// What is to be answered, as numbers.
    pub fn values(&self) -> Vec<f64> {
        self.target.values(self.number)
    }

    /// Whether each row is of the class.
    pub fn happened(&self) -> Vec<bool> {
        self.target.happened(self.number)
    }

    /// Where all rows of a fold are of the class, or none is, there is nothing to fit: how likely
    /// it then is. Half a row more of either is no certainty.
    fn one_class(&self) -> Option<f64> {
        let happened = self.happened();
        let ones = happened.iter().filter(|happened| **happened).count();
        let one = !happened.is_empty() && (ones == 0 || ones == happened.len());
        one.then(|| (ones as f64 + 0.5) / (happened.len() as f64 + 1.0))
    }
}

/// The weight of each row in fitting an output.
pub fn weights(data: &Rows, spec: &TabularSpec, output: usize) -> Option<Vec<f64>> {
    let given = data.weights.as_deref();
    if !spec.task.balanced || data.target().is_number() {
        return given.map(<[f64]>::to_vec);
    }
    let happened = data.target().happened(output);
    let weight = |row: usize| given.map_or(1.0, |weights| weights[row]);
    let mut sums = [0.0; 2];
    (0..happened.len()).for_each(|row| sums[usize::from(happened[row])] += weight(row));
    let whole = sums[0] + sums[1];
    let balanced = |row: usize| {
        let sum = sums[usize::from(happened[row])];
        if sum > 0.0 { weight(row) * whole / (2.0 * sum) } else { weight(row) }
    };
    Some((0..happened.len()).map(balanced).collect())
}

/// Plans of the columns that the manifest prepares in another way than is usual.
pub fn plans(table: &Table, spec: &TabularSpec, taken: Taken) -> BTreeMap<String, Plan> {
    let said = spec.task.prepare.iter();
    let plan = |(name, prepare): (&String, &Prepare)| {
        let column = table.column(name)?;
        Some((name.clone(), changed(Plan::usual(column, taken), prepare, taken)))
    };
    said.filter_map(plan).collect()
}

fn changed(plan: Plan, prepare: &Prepare, taken: Taken) -> Plan {
    let encode = prepare.encode.map(|encode| match encode {
        Encode::OneHot => plan::Encode::OneHot,
        Encode::Ordinal => plan::Encode::Ordinal,
    });
    match plan {
        Plan::Category(mut plan) => {
            plan.rare_below = prepare.rare_below.unwrap_or(plan.rare_below);
            plan.levels_max = prepare.levels_max.unwrap_or(plan.levels_max);
            plan.encode = encode.unwrap_or(plan.encode);
            Plan::Category(plan)
        }
        Plan::Number(mut plan) => {
            plan.impute = match prepare.impute {
                None => plan.impute,
                // Sums take no missing number, whatever is said for trees.
                Some(Impute::Word(ImputeWord::Keep)) if taken == Taken::Sums => plan.impute,
                Some(Impute::Word(ImputeWord::Keep)) => plan::Impute::Keep,
                Some(Impute::Word(ImputeWord::Median)) => plan::Impute::Median,
                Some(Impute::Constant(value)) => plan::Impute::Constant(value),
            };
            plan.flag_missing = prepare.flag_missing.or(plan.flag_missing);
            if let Some([low, high]) = prepare.clip.as_deref() {
                plan.clip = Some(Clip::Values(*low, *high));
            }
            plan.log = prepare.log;
            plan.bins.clone_from(&prepare.bins);
            plan.encode = encode.unwrap_or(plan.encode);
            plan.scale = prepare.scale.unwrap_or(plan.scale);
            Plan::Number(plan)
        }
    }
}
