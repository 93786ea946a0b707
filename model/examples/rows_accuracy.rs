//! Classification of rows: stroke, 5 × 5 stratified cross-validation.
//!
//! Preparation, products, parameters, calibration and threshold are fitted within the outer
//! training part; calibration and threshold on answers of inner folds of it. `chosen` takes,
//! for every outer fold, whatever had the least log loss on its inner folds, so the outer fold
//! chooses nothing. The declared products are those that a trial on the same rows had found good,
//! so their line is not of an unseen choice. `all pairs` names no column: it multiplies numbers,
//! truth values and what tells that a number was missing. The expected calibration error is of the
//! answers of all folds of a repeat.
//!
//! It reads `$STEPPE_SHARED_DATA/stroke/stroke.csv`.

#![expect(clippy::disallowed_macros, reason = "its table is the result")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use rayon::prelude::*;
use steppe_model::rows::interactions::{self, Search};
use steppe_model::rows::linear_model::LinearModel;
use steppe_model::rows::logistic::{self, probability};
use steppe_model::rows::matrix::select;
use steppe_model::rows::metrics::{
    Confusion, average_precision, brier, calibration_error, log_loss, mean, reliability, roc_auc,
};
use steppe_model::rows::plan::Taken;
use steppe_model::rows::prepare::Preparation;
use steppe_model::rows::split::{Fold, stratified_folds};
use steppe_model::rows::table::{Column, Table};
use steppe_model::rows::trees::Trees;
use steppe_model::rows::tuning::{self, Journal, Parameter, Range};
use steppe_model::rows::{RowsError, boosting, calibration, forest, threshold};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const FOLDS: usize = 5;
const REPEATS: usize = 5;
const SEED: u64 = 1;
/// Trials of a search for parameters.
const TRIALS: usize = 25;
/// Times that the inner folds are drawn: by all of them an entrant is chosen.
const INNER_REPEATS: usize = 3;
/// What a penalty is without a search, as in scikit-learn.
const L2: f64 = 1.0;
/// Products of all pairs, at most.
const PAIRS_MAX: usize = 100;
/// Groups of a reliability table.
const GROUPS: usize = 10;

const DECLARED: [(&str, &str); 4] = [
    ("bmi = missing", "age"),
    ("bmi = missing", "avg_glucose_level"),
    ("age", "hypertension"),
    ("age", "heart_disease"),
];

/// Rows and what became of them.
struct Data {
    table: Table,
    labels: Vec<bool>,
}

impl Data {
    fn select(&self, rows: &[usize]) -> Self {
        Self { table: self.table.select(rows), labels: select(&self.labels, rows) }
    }

    fn classes(&self) -> Vec<usize> {
        self.labels.iter().map(|label| usize::from(*label)).collect()
    }

    fn targets(&self) -> Vec<f64> {
        self.labels.iter().map(|label| f64::from(u8::from(*label))).collect()
    }

    fn prepared(&self, taken: Taken) -> std::result::Result<Preparation, RowsError> {
        let rows: Vec<usize> = (0..self.labels.len()).collect();
        Preparation::fit(&self.table, &rows, taken, &BTreeMap::new())
    }
}

fn read(path: &PathBuf) -> Result<Data> {
    let mut reader = csv::Reader::from_path(path)?;
    let names: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let records = reader.records().collect::<std::result::Result<Vec<_>, _>>()?;
    let mut table = Table::new(records.len());
    let mut labels = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let texts = records.iter().map(|record| &record[at]);
        match name.as_str() {
            "id" => {}
            "stroke" => labels = texts.map(|text| text == "1").collect(),
            "age" | "avg_glucose_level" | "bmi" => {
                let number = |text: &str| if text == "N/A" { Ok(f64::NAN) } else { text.parse() };
                let numbers = texts.map(number).collect::<std::result::Result<_, _>>()?;
                table.push(name, Column::Number(numbers))?;
            }
            "hypertension" | "heart_disease" => {
                table.push(name, Column::Boolean(texts.map(|text| Some(text == "1")).collect()))?;
            }
            _ => table.push(name, Column::category(texts.map(Some)))?,
        }
    }
    Ok(Data { table, labels })
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Candidate {
    Prior,
    Age,
    Logistic,
    LogisticTuned,
    Declared,
    Pairs,
    PairsTuned,
    Searched,
    Boosting,
    BoostingTuned,
    Forest,
}

const CANDIDATES: [(Candidate, &str); 11] = [
    (Candidate::Prior, "prior"),
    (Candidate::Age, "age alone"),
    (Candidate::Logistic, "logistic"),
    (Candidate::LogisticTuned, "logistic, tuned penalty"),
    (Candidate::Declared, "logistic, declared products"),
    (Candidate::Pairs, "logistic, all pairs"),
    (Candidate::PairsTuned, "logistic, all pairs, tuned"),
    (Candidate::Searched, "logistic, searched products"),
    (Candidate::Boosting, "gradient boosting"),
    (Candidate::BoostingTuned, "gradient boosting, tuned"),
    (Candidate::Forest, "random forest"),
];

/// A fitted candidate.
enum Model {
    Prior(f64),
    Sum(Preparation, LinearModel),
    Boosted(Preparation, Trees),
    Forest(Preparation, Trees),
}

impl Model {
    fn answers(&self, table: &Table) -> std::result::Result<Vec<f64>, RowsError> {
        let odds = |margins: Vec<f64>| margins.into_iter().map(probability).collect();
        Ok(match self {
            Self::Prior(share) => vec![*share; table.rows()],
            Self::Sum(preparation, model) => odds(model.margins(&preparation.apply(table)?)),
            Self::Boosted(preparation, trees) => odds(trees.margins(&preparation.apply(table)?)),
            Self::Forest(preparation, trees) => trees.margins(&preparation.apply(table)?),
        })
    }
}

/// Parameters of a candidate: none where nothing is tuned.
fn tuned(candidate: Candidate, data: &Data) -> std::result::Result<Vec<f64>, RowsError> {
    let usual = boosting::Options::default();
    let parameter =
        |name: &str, range, default| Parameter { name: name.to_owned(), range, default };
    let parameters = match candidate {
        Candidate::LogisticTuned | Candidate::PairsTuned => {
            vec![parameter("l2", Range::Log { low: 0.01, high: 100.0 }, L2)]
        }
        Candidate::BoostingTuned => vec![
            parameter("rounds", Range::Integer { low: 20, high: 300 }, usual.rounds as f64),
            parameter("depth", Range::Integer { low: 1, high: 6 }, usual.depth as f64),
            parameter("rate", Range::Log { low: 0.01, high: 0.3 }, usual.learning_rate),
            parameter("leaf", Range::Log { low: 0.3, high: 30.0 }, usual.min_leaf_weight),
            parameter("l2", Range::Log { low: 0.1, high: 30.0 }, usual.l2),
        ],
        _ => return Ok(Vec::new()),
    };
    let folds = stratified_folds(&data.classes(), FOLDS, 1, SEED)?;
    let loss = |values: &[f64], fold: usize| {
        let Fold { train, test } = &folds[fold];
        let (known, asked) = (data.select(train), data.select(test));
        let answers = fit_with(candidate, &known, values)?.answers(&asked.table)?;
        Ok(log_loss(&asked.labels, &answers))
    };
    let search = tuning::Search { parameters, folds: FOLDS, seed: SEED };
    let mut journal = Journal::new(search)?;
    journal.run(TRIALS, &loss, &mut |_| false)?;
    Ok(journal.best().expect("the defaults have a model").values.clone())
}

fn fit_with(
    candidate: Candidate,
    data: &Data,
    values: &[f64],
) -> std::result::Result<Model, RowsError> {
    let sum = |l2: f64, pairs: &Pairs<'_>| {
        let preparation = data.prepared(Taken::Sums)?;
        let pairs = pairs(&preparation)?;
        let options = logistic::Options { l2, pairs: &pairs, weights: None };
        let matrix = preparation.apply(&data.table)?;
        let model = logistic::fit(&matrix, &data.labels, &options)?;
        Ok(Model::Sum(preparation, model))
    };
    let none = |_: &Preparation| Ok(Vec::new());
    let all = |preparation: &Preparation| Ok(preparation.pairs_of_numbers(PAIRS_MAX));
    let boosted = |options: &boosting::Options| {
        let preparation = data.prepared(Taken::Trees)?;
        let matrix = preparation.apply(&data.table)?;
        let loss = boosting::Loss::Log;
        let trees = boosting::fit(&matrix, &data.targets(), None, loss, options, SEED)?;
        Ok(Model::Boosted(preparation, trees))
    };
    match candidate {
        Candidate::Prior => Ok(Model::Prior(mean(data.targets().into_iter()))),
        Candidate::Age => {
            let mut table = Table::new(data.table.rows());
            table.push("age", data.table.column("age").expect("a column").clone())?;
            let age = Data { table, labels: data.labels.clone() };
            fit_with(Candidate::Logistic, &age, values)
        }
        Candidate::Logistic => sum(L2, &none),
        Candidate::LogisticTuned => sum(values[0], &none),
        Candidate::Declared => sum(L2, &|preparation| preparation.pairs(&DECLARED)),
        Candidate::Pairs => sum(L2, &all),
        Candidate::PairsTuned => sum(values[0], &all),
        Candidate::Searched => sum(L2, &|preparation| searched(data, preparation)),
        Candidate::Boosting => boosted(&boosting::Options::default()),
        Candidate::BoostingTuned => boosted(&boosting::Options {
            rounds: values[0] as usize,
            depth: values[1] as usize,
            learning_rate: values[2],
            min_leaf_weight: values[3],
            l2: values[4],
            ..boosting::Options::default()
        }),
        Candidate::Forest => {
            let preparation = data.prepared(Taken::Trees)?;
            let matrix = preparation.apply(&data.table)?;
            let (asked, options) = (forest::Asked::Class, forest::Options::default());
            let trees = forest::fit(&matrix, &data.targets(), None, asked, &options, SEED)?;
            Ok(Model::Forest(preparation, trees))
        }
    }
}

type Pairs<'a> = dyn Fn(&Preparation) -> std::result::Result<Vec<(usize, usize)>, RowsError> + 'a;

fn searched(
    data: &Data,
    preparation: &Preparation,
) -> std::result::Result<Vec<(usize, usize)>, RowsError> {
    let matrix = preparation.apply(&data.table)?;
    let options = logistic::Options { l2: L2, ..logistic::Options::default() };
    let candidates = preparation.pairs_of_numbers(PAIRS_MAX);
    let search = Search { seed: SEED, ..Search::default() };
    interactions::search(&matrix, &data.labels, &candidates, &options, &search)
}

/// What a candidate did in one outer fold.
#[derive(Debug, Clone)]
struct Outcome {
    /// Log loss of inner folds: what may choose.
    inner: f64,
    raw: Vec<f64>,
    answers: Vec<f64>,
    threshold: f64,
    calibration: &'static str,
    pairs: Vec<String>,
}

fn outcome(
    candidate: Candidate,
    data: &Data,
    fold: &Fold,
) -> std::result::Result<Outcome, RowsError> {
    let (known, asked) = (data.select(&fold.train), data.select(&fold.test));
    let values = tuned(candidate, &known)?;
    let mut unseen = vec![0.0; known.labels.len()];
    let mut fold_of = vec![0; known.labels.len()];
    let mut losses = Vec::new();
    let (mut labels, mut all) = (Vec::new(), Vec::new());
    let inner = stratified_folds(&known.classes(), FOLDS, INNER_REPEATS, SEED + 1)?;
    for (number, Fold { train, test }) in inner.iter().enumerate().rev() {
        let model = fit_with(candidate, &known.select(train), &values)?;
        let answers = model.answers(&known.table.select(test))?;
        losses.push(log_loss(&select(&known.labels, test), &answers));
        labels.extend(select(&known.labels, test));
        all.extend_from_slice(&answers);
        // The first repeat comes last and stays.
        for (&row, answer) in test.iter().zip(answers) {
            (unseen[row], fold_of[row]) = (answer, number % FOLDS);
        }
    }
    let out_of_fold =
        calibration::OutOfFold { labels: &known.labels, answers: &unseen, folds: &fold_of };
    let (map, _) = calibration::choose(&out_of_fold);
    // A threshold follows few rows: those of all repeats together tell more than those of one.
    let calibrated: Vec<f64> = all.iter().map(|answer| map.apply(*answer)).collect();
    let chosen = threshold::choose(&labels, &calibrated, threshold::Aim::F1)?;
    let model = fit_with(candidate, &known, &values)?;
    let raw = model.answers(&asked.table)?;
    let pairs = match &model {
        Model::Sum(preparation, sum) => {
            let names = preparation.names();
            let name = |(a, b): (usize, usize)| format!("{} × {}", names[a], names[b]);
            sum.products.iter().map(|product| name(product.columns)).collect()
        }
        _ => Vec::new(),
    };
    Ok(Outcome {
        inner: mean(losses.into_iter()),
        answers: raw.iter().map(|answer| map.apply(*answer)).collect(),
        raw,
        threshold: chosen.threshold,
        calibration: map.name(),
        pairs,
    })
}

/// Mean and deviation of folds.
fn spread(values: &[f64]) -> (f64, f64) {
    let centre = mean(values.iter().copied());
    (centre, mean(values.iter().map(|v| (v - centre).powi(2))).sqrt())
}

/// A line of the table.
fn line(name: &str, data: &Data, folds: &[Fold], outcomes: &[&Outcome], raw: bool) {
    let answers = |at: usize| if raw { &outcomes[at].raw } else { &outcomes[at].answers };
    let each = |measure: &dyn Fn(&[bool], &[f64]) -> f64| -> (f64, f64) {
        let of = |at: usize| measure(&select(&data.labels, &folds[at].test), answers(at));
        spread(&(0..folds.len()).map(of).collect::<Vec<_>>())
    };
    let whole = |repeat: usize| {
        let (mut labels, mut all) = (Vec::new(), Vec::new());
        let of_repeat = folds.iter().enumerate().skip(repeat * FOLDS).take(FOLDS);
        for (at, fold) in of_repeat {
            labels.extend(select(&data.labels, &fold.test));
            all.extend_from_slice(answers(at));
        }
        calibration_error(&reliability(&labels, &all, GROUPS))
    };
    let ap = each(&|labels, p| average_precision(labels, p).expect("both classes"));
    let auc = each(&|labels, p| roc_auc(labels, p).expect("both classes"));
    let (loss, squared) = (each(&log_loss), each(&brier));
    let f1 = |at: usize| {
        let labels = select(&data.labels, &folds[at].test);
        Confusion::at(&labels, &outcomes[at].answers, outcomes[at].threshold).f1()
    };
    let f1 = spread(&(0..folds.len()).map(f1).collect::<Vec<_>>());
    let text = |(centre, deviation): (f64, f64)| format!("{centre:.4} ± {deviation:.4}");
    println!(
        "{name:<30}{}  {}  {}  {}  {:.4}  {}",
        text(ap),
        text(auc),
        text(loss),
        text(squared),
        mean((0..REPEATS).map(whole)),
        text(f1)
    );
}

/// How often each of some names comes, most frequent first.
fn counted(names: impl Iterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let texts = counts.into_iter().take(6).map(|(name, count)| format!("{name} {count}"));
    texts.collect::<Vec<_>>().join(", ")
}

fn main() -> Result<()> {
    let folder = std::env::var("STEPPE_SHARED_DATA")?;
    let data = read(&PathBuf::from(folder).join("stroke/stroke.csv"))?;
    let ones = data.labels.iter().filter(|label| **label).count();
    println!("Stroke, {} rows, {ones} of them 1; {REPEATS} × {FOLDS} folds\n", data.labels.len());
    println!(
        "{:<30}{:<17}{:<17}{:<17}{:<17}{:<8}F1 at its threshold",
        "", "AUC-PR", "ROC-AUC", "log loss", "Brier", "ECE"
    );
    let folds = stratified_folds(&data.classes(), FOLDS, REPEATS, SEED)?;
    let mut all: Vec<Vec<Outcome>> = Vec::new();
    // Words of the command line keep the candidates whose names have one of them.
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let entrants: Vec<(Candidate, &str)> =
        CANDIDATES.into_iter().filter(|(_, name)| wanted(name)).collect();
    for &(candidate, name) in &entrants {
        let outcomes = folds.par_iter().map(|fold| outcome(candidate, &data, fold));
        let outcomes = outcomes.collect::<std::result::Result<Vec<_>, _>>()?;
        let each: Vec<&Outcome> = outcomes.iter().collect();
        line(name, &data, &folds, &each, false);
        if each.iter().any(|outcome| outcome.calibration != "none") {
            line("  without calibration", &data, &folds, &each, true);
            let names = each.iter().map(|outcome| outcome.calibration.to_owned());
            println!("  calibration: {}", counted(names));
        }
        if candidate == Candidate::Searched {
            println!("  {}", counted(each.iter().flat_map(|outcome| outcome.pairs.clone())));
        }
        all.push(outcomes);
    }
    let families = [Candidate::Pairs, Candidate::Boosting, Candidate::Forest];
    let of_families = |candidate| families.contains(&candidate);
    let not_declared = |candidate| candidate != Candidate::Declared;
    let rules: [(&str, &dyn Fn(Candidate) -> bool); 3] = [
        ("chosen of three families", &of_families),
        ("chosen of all but declared", &not_declared),
        ("chosen of all", &|_| true),
    ];
    for (name, takes_part) in rules {
        let part: Vec<usize> =
            (0..entrants.len()).filter(|&entrant| takes_part(entrants[entrant].0)).collect();
        let inner = |entrant: usize, at: usize| all[entrant][at].inner;
        let least = |at: usize| {
            let least = part.iter().min_by(|a, b| inner(**a, at).total_cmp(&inner(**b, at)));
            *least.expect("somebody takes part")
        };
        let chosen: Vec<usize> = (0..folds.len()).map(least).collect();
        let each: Vec<&Outcome> =
            chosen.iter().enumerate().map(|(at, &entrant)| &all[entrant][at]).collect();
        line(name, &data, &folds, &each, false);
        println!("  {}", counted(chosen.iter().map(|&entrant| entrants[entrant].1.to_owned())));
    }
    Ok(())
}
