//! Regressions of rows on columns and on products of two: of log odds for classes, of the number
//! itself.

use steppe_spec::tabular::{ProductWord, Products, Sum, TabularSpec};

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
        let options = Options { pairs: &pairs, ..options(spec, output) };
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
        let Sum { l2, products_l2, .. } = &spec.task.model.sum;
        let of_products = products_l2.map(|l2| format!(" with penalty {l2}")).unwrap_or_default();
        Some(format!("penalty {l2}, {products}{of_products}"))
    }

    /// The penalties. Without any there is no ratio to it.
    fn parameters(spec: &TabularSpec) -> Vec<Parameter> {
        let Sum { l2, products_l2, products } = &spec.task.model.sum;
        let penalty = |name: &str, high: f64, l2: f64| {
            (l2 > 0.0).then(|| Parameter::log(name, 0.01, high, l2))
        };
        let multiplied = *products != Products::Word(ProductWord::None);
        let of_products = multiplied.then(|| products_l2.unwrap_or(*l2));
        let of_products = of_products.and_then(|l2| penalty("products_l2", 1_000.0, l2));
        penalty("l2", 100.0, *l2).into_iter().chain(of_products).collect()
    }

    fn set(spec: &mut TabularSpec, values: &[f64]) {
        let names = Self::parameters(spec).into_iter().map(|parameter| parameter.name);
        for (name, value) in names.zip(values) {
            match name.as_str() {
                "l2" => spec.task.model.sum.l2 = *value,
                _ => spec.task.model.sum.products_l2 = Some(*value),
            }
        }
    }
}

fn options<'a>(spec: &TabularSpec, output: Output<'a>) -> Options<'a> {
    let Sum { l2, products_l2, .. } = spec.task.model.sum;
    Options { l2, products_l2, pairs: &[], weights: output.weights }
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
            let search = Search { seed: spec.task.model.seed, ..Search::default() };
            let (happened, options) = (output.happened(), options(spec, output));
            interactions::search(columns, &happened, &all(), &options, &search)
        }
    }
}
