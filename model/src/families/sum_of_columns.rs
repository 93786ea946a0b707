//! Regressions of rows on columns and on products of two: of log odds for classes, of the number
//! itself.

use steppe_spec::tabular::{ProductWord, Products, TabularSpec};

use crate::rows::interactions::{self, Search};
use crate::rows::linear_model::LinearModel;
use crate::rows::logistic::Options;
use crate::rows::matrix::Matrix;
use crate::rows::plan::Taken;
use crate::rows::prepare::Preparation;
use crate::rows::tuning::Parameter;
use crate::rows::{RowsError, linear, logistic};
use crate::tabular::model::{Output, Prepared, Way};

/// Products of all pairs, at most: above, there are none.
const PAIRS_MAX: usize = 100;

/// A regression of log odds.
pub type Logistic = Prepared<Sums<true>>;
/// A regression of numbers.
pub type Linear = Prepared<Sums<false>>;

/// Sums of columns and products of two. A family is known by its type, so there are two.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums<const OF_CLASSES: bool>;

impl<const OF_CLASSES: bool> Way for Sums<OF_CLASSES> {
    type Fitted = LinearModel;
    const TAKEN: Taken = Taken::Sums;

    fn fit(
        preparation: &Preparation,
        columns: &Matrix,
        output: Output<'_>,
        spec: &TabularSpec,
    ) -> Result<LinearModel, RowsError> {
        let pairs = pairs(preparation, columns, output, spec)?;
        let l2 = spec.task.model.sum.l2;
        let options = Options { l2, pairs: &pairs, weights: output.weights };
        if OF_CLASSES {
            logistic::fit(columns, &output.happened(), &options)
        } else {
            linear::fit(columns, &output.values(), &options)
        }
    }

    fn about(spec: &TabularSpec) -> Option<String> {
        let products = match &spec.task.model.sum.products {
            Products::Word(ProductWord::All) => "products of all pairs of numbers".to_owned(),
            Products::Word(ProductWord::Search) => "products that help".to_owned(),
            Products::Word(ProductWord::None) => "no products".to_owned(),
            Products::Pairs(pairs) => format!("{} products", pairs.len()),
        };
        Some(format!("penalty {}, {products}", spec.task.model.sum.l2))
    }

    /// The penalty. Without any there is no ratio to it.
    fn parameters(spec: &TabularSpec) -> Vec<Parameter> {
        let l2 = spec.task.model.sum.l2;
        (l2 > 0.0).then(|| Parameter::log("l2", 0.01, 100.0, l2)).into_iter().collect()
    }

    fn set(spec: &mut TabularSpec, values: &[f64]) {
        if let [l2] = values {
            spec.task.model.sum.l2 = *l2;
        }
    }
}

/// The products that take part.
fn pairs(
    preparation: &Preparation,
    columns: &Matrix,
    output: Output<'_>,
    spec: &TabularSpec,
) -> Result<Vec<(usize, usize)>, RowsError> {
    let all = || preparation.pairs_of_numbers(PAIRS_MAX);
    match &spec.task.model.sum.products {
        Products::Word(ProductWord::None) => Ok(vec![]),
        Products::Word(ProductWord::All) => Ok(all()),
        Products::Pairs(pairs) => {
            let named = pairs.iter().map(|[a, b]| (a.as_str(), b.as_str()));
            preparation.pairs(&named.collect::<Vec<_>>())
        }
        Products::Word(ProductWord::Search) if output.target.is_number() => {
            let what = "products are searched for classes only; name them, or take `all`";
            Err(RowsError::Unsuitable(what.to_owned()))
        }
        Products::Word(ProductWord::Search) => {
            let l2 = spec.task.model.sum.l2;
            let options = Options { l2, pairs: &[], weights: output.weights };
            let search = Search { seed: spec.task.model.seed, ..Search::default() };
            interactions::search(columns, &output.happened(), &all(), &options, &search)
        }
    }
}
