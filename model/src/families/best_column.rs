//! The single column that predicts best, on folds of what is learnt from: what a model of many
//! columns has to beat.

use crate::parallel;
use steppe_spec::tabular::{ProductWord, Products, TabularSpec};

use crate::rows::RowsError;
use crate::rows::linear_model::LinearModel;
use crate::rows::logistic::probability;
use crate::rows::matrix::Matrix;
use crate::rows::metrics::log_loss;
use crate::rows::plan::Taken;
use crate::rows::prepare::Preparation;
use crate::rows::split::{Fold, stratified_folds};
use crate::rows::table::Table;
use crate::tabular::data::{Rows, Target};
use crate::tabular::model::{Output, Prepared, Way, plans};

use super::sum_of_columns::Sums;

/// Folds on which columns are compared.
const FOLDS: usize = 3;

/// A regression on the best single column.
pub type BestColumn = Prepared<OfOneColumn>;

/// Of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct OfOneColumn;

impl Way for OfOneColumn {
    type Fitted = LinearModel;
    const TAKEN: Taken = Taken::Sums;

    fn narrowed(data: &Rows, spec: &TabularSpec) -> Result<Option<Rows>, RowsError> {
        let (classes, seed) = (data.target().classes(), spec.task.model.seed);
        // A class of fewer rows than folds is in as many folds as it can be.
        let folds = stratified_folds(&classes, FOLDS, 1, seed)
            .or_else(|_| stratified_folds(&vec![0; classes.len()], FOLDS, 1, seed))?;
        let names: Vec<&str> = data.table.columns().map(|(name, _)| name).collect();
        let compared = parallel::of(&names, |name| {
            let one = of_one(data, name);
            // A column that is the same in a fold predicts nothing.
            let losses = folds.iter().map(|fold| loss(&one, fold, spec).unwrap_or(f64::INFINITY));
            (losses.sum::<f64>(), *name)
        });
        let best = compared.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
        Ok(best.map(|(_, name)| of_one(data, name)))
    }

    fn fit(
        preparation: &Preparation,
        columns: &Matrix,
        output: Output<'_>,
        spec: &TabularSpec,
    ) -> Result<LinearModel, RowsError> {
        let mut spec = spec.clone();
        spec.task.model.sum.products = Products::Word(ProductWord::None);
        match output.target {
            Target::Numbers(_) => Sums::<false>::fit(preparation, columns, output, &spec),
            Target::Classes { .. } => Sums::<true>::fit(preparation, columns, output, &spec),
        }
    }
}

/// The rows with one of their columns.
fn of_one(data: &Rows, name: &str) -> Rows {
    let column = data.table.column(name).expect("one of its columns");
    let mut table = Table::new(data.rows());
    table.push(name, column.clone()).expect("it was in a table");
    Rows { weights: data.weights.clone(), ..Rows::plain(table, data.target.clone()) }
}

/// How wrong the column is on a fold.
fn loss(data: &Rows, fold: &Fold, spec: &TabularSpec) -> Result<f64, RowsError> {
    let (known, asked) = (data.select(&fold.train), data.select(&fold.test));
    let rows: Vec<usize> = (0..known.rows()).collect();
    let plans = plans(&known.table, spec, Taken::Sums);
    let preparation = Preparation::fit(&known.table, &rows, Taken::Sums, &plans)?;
    let (columns, others) = (preparation.apply(&known.table)?, preparation.apply(&asked.table)?);
    let of = |number: usize| {
        let output = Output { target: known.target(), number, weights: None };
        let margins = OfOneColumn::fit(&preparation, &columns, output, spec)?.margins(&others);
        Ok(match asked.target() {
            Target::Numbers(values) => {
                values.iter().zip(&margins).map(|(value, margin)| (value - margin).powi(2)).sum()
            }
            target => {
                let answers: Vec<f64> = margins.into_iter().map(probability).collect();
                log_loss(&target.happened(number), &answers)
            }
        })
    };
    (0..known.target().outputs()).map(of).sum()
}
