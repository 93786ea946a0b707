//! The same tables and folds as scikit-learn and xgboost had them, with like settings.

use std::fs;
use std::time::Instant;

use serde_json::Value;
use steppe_model::rows::logistic::{self, probability};
use steppe_model::rows::matrix::{Matrix, select};
use steppe_model::rows::metrics::{mean, rmse, roc_auc};
use steppe_model::rows::table::{Column, Table};
use steppe_model::rows::{boosting, trees::Trees};
use steppe_model::tabular::answers::Answers;
use steppe_model::tabular::data::{Rows, Target};
use steppe_spec::Family;
use steppe_spec::tabular::{Boosting, ProductWord, Products, TabularKind};

use super::tables::{Folded, folded, peers_folder, spec_of};
use super::{Result, SEED};

/// Fits whose fastest counts.
const FITS: usize = 3;

/// Prints what both sides did.
pub fn compare() -> Result<()> {
    let path = peers_folder().join("peers.json");
    if !path.exists() {
        println!("\nPeers: {} is not there; tests/peers/rows.py writes it", path.display());
        return Ok(());
    }
    let peers: Value = serde_json::from_slice(&fs::read(path)?)?;
    println!("\nPeers: {}\n", peers["versions"].as_str().unwrap_or("unknown"));
    println!("{:<46}{:>12}{:>12}", "", "steppe", "peer");
    diabetes(&peers["diabetes"])?;
    coefficients(&peers["stroke"])?;
    trees(&peers["stroke"])?;
    time(&peers["large"])
}

fn line(name: &str, own: f64, peer: &Value) {
    println!("{name:<46}{own:>12.4}{:>12.4}", peer.as_f64().unwrap_or(f64::NAN));
}

/// A number of 442 patients, by the families of the task.
fn diabetes(peers: &Value) -> Result<()> {
    let Folded { table, target, folds } = folded("diabetes.csv")?;
    let spec = spec_of("diabetes", TabularKind::Regression, &table).with(|spec| {
        spec.task.model.sum.products = Products::Word(ProductWord::None);
    });
    let data = Rows::plain(table, Some(Target::Numbers(target)));
    for family in [Family::Linear, Family::GradientBoosting, Family::RandomForest] {
        let loss = |fold_of: &Vec<usize>, fold: usize| -> Result<f64> {
            let part = |asked: bool| {
                let rows = (0..data.rows()).filter(|row| (fold_of[*row] == fold) == asked);
                data.select(&rows.collect::<Vec<_>>())
            };
            let asked = part(true);
            let answers = Answers::of(family, &part(false), &spec, &asked)?;
            Ok(rmse(&asked.target().values(0), &answers.0[0]))
        };
        let each = folds.iter().flat_map(|fold_of| (0..5).map(move |fold| (fold_of, fold)));
        let losses = each.map(|(of, fold)| loss(of, fold)).collect::<Result<Vec<_>>>()?;
        let name = format!("diabetes, {}: RMSE", family.name());
        line(&name, mean(losses.into_iter()), &peers[family.name()]);
    }
    Ok(())
}

fn matrix(table: &Table) -> Matrix {
    let mut matrix = Matrix::empty(table.rows());
    for (_, column) in table.columns() {
        if let Column::Number(values) = column {
            matrix.push(values);
        }
    }
    matrix
}

/// A regression of log odds on the very same columns.
fn coefficients(peers: &Value) -> Result<()> {
    let Folded { table, target, .. } = folded("stroke_sums.csv")?;
    let labels: Vec<bool> = target.iter().map(|target| *target == 1.0).collect();
    let options = logistic::Options { l2: 1.0, ..Default::default() };
    let model = logistic::fit(&matrix(&table), &labels, &options)?;
    let expected = peers["coefficients"].as_array().ok_or("no coefficients")?.iter();
    let own = model.coefficients.iter().chain([&model.intercept]);
    let apart = expected.zip(own).map(|(a, b)| (a.as_f64().unwrap_or(f64::NAN) - b).abs());
    println!(
        "stroke, logistic: largest difference of coefficients {:.1e}",
        apart.fold(0.0, f64::max)
    );
    Ok(())
}

fn boosted(columns: &Matrix, target: &[f64]) -> Result<Trees> {
    let options = Boosting {
        rounds: 100,
        depth: 3,
        learning_rate: 0.05,
        min_leaf_weight: 1.0,
        l2: 1.0,
        subsample: 1.0,
        column_share: 1.0,
    };
    Ok(boosting::fit(columns, target, None, boosting::Loss::Log, &options, SEED)?)
}

fn auc(trees: &Trees, columns: &Matrix, target: &[f64]) -> f64 {
    let said: Vec<f64> = trees.margins(columns).into_iter().map(probability).collect();
    let labels: Vec<bool> = target.iter().map(|target| *target == 1.0).collect();
    roc_auc(&labels, &said).unwrap_or(f64::NAN)
}

/// Boosted trees of equal settings.
fn trees(peers: &Value) -> Result<()> {
    let Folded { table, target, folds } = folded("stroke_trees.csv")?;
    let columns = matrix(&table);
    let mut aucs = Vec::new();
    for (fold_of, fold) in folds.iter().flat_map(|of| (0..5).map(move |fold| (of, fold))) {
        let (asked, known): (Vec<usize>, Vec<usize>) =
            (0..target.len()).partition(|row| fold_of[*row] == fold);
        let trees = boosted(&columns.select(&known), &select(&target, &known))?;
        aucs.push(auc(&trees, &columns.select(&asked), &select(&target, &asked)));
    }
    line("stroke, boosting: ROC-AUC", mean(aucs.into_iter()), &peers["boosting"]);
    Ok(())
}

/// How long one core takes for boosted trees on a larger table, and how good they are on its other
/// half. xgboost cuts columns into histograms, or tries every value.
fn time(peers: &Value) -> Result<()> {
    let Folded { table, target, folds } = folded("large.csv")?;
    let (known, asked): (Vec<usize>, Vec<usize>) =
        (0..target.len()).partition(|row| folds[0][*row] == 0);
    let columns = matrix(&table);
    let (of_known, targets) = (columns.select(&known), select(&target, &known));
    let one_core = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut fastest = f64::INFINITY;
    let mut auc_of = f64::NAN;
    for _ in 0..FITS {
        let start = Instant::now();
        let trees = one_core.install(|| boosted(&of_known, &targets))?;
        fastest = fastest.min(start.elapsed().as_secs_f64());
        auc_of = auc(&trees, &columns.select(&asked), &select(&target, &asked));
    }
    let what = format!("{} × {}, boosting", known.len(), columns.columns());
    line(&format!("{what}: ROC-AUC"), auc_of, &peers["boosting"]);
    for method in ["hist", "exact"] {
        line(&format!("{what}: seconds, {method}"), fastest, &peers[method]);
    }
    Ok(())
}
