//! Tasks about rows, by the code that trains them: stroke (classes), with and without a search for
//! options; what a search is worth on other tables; and diabetes (a number) and stroke beside
//! scikit-learn and xgboost on the same folds.
//!
//! In each outer fold `Tabular::trials` is given the outer training rows and nothing else: it
//! splits them, prepares, searches, compares, calibrates and chooses thresholds as a training does.
//! The families are then fitted on all outer training rows with what it found and asked about the
//! outer fold. "auto" takes what the trials chose inside, so the outer fold chooses nothing. The
//! expected calibration error is of the answers of all folds of a repeat.
//!
//! It reads `$STEPPE_SHARED_DATA/stroke/stroke.csv`, and what `tests/peers/rows.py` has written to
//! `accuracy/` in the target folder; without that, all but stroke is left out.

#![expect(clippy::disallowed_macros, reason = "its table is the result")]

mod peers;
mod tables;
mod tuning;

use std::collections::BTreeMap;

use rayon::prelude::*;
use steppe_model::host::{Quiet, Stage};
use steppe_model::rows::matrix::select;
use steppe_model::rows::metrics::{
    Confusion, average_precision, brier, calibration_error, log_loss, mean, reliability, roc_auc,
};
use steppe_model::rows::split::{Fold, stratified_folds};
use steppe_model::tabular::Tabular;
use steppe_model::tabular::answers::{Answers, fitted};
use steppe_model::tabular::data::Rows;
use steppe_model::task::Task;
use steppe_model::trials::Trials;
use steppe_spec::Kind;
use steppe_spec::tabular::{TabularSpec, Tune};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const FOLDS: usize = 5;
const REPEATS: usize = 5;
const TRIALS: usize = 30;
const SEED: u64 = 1;
/// Groups of a reliability table.
const GROUPS: usize = 10;
const AUTO: &str = "auto";

/// What a model did in one outer fold.
struct Outcome {
    answers: Answers,
    threshold: f64,
    /// What it is: of "auto" the family that was chosen, otherwise the way of calibrating.
    about: String,
}

impl Outcome {
    /// Its answers where they are one number each.
    fn only(&self) -> &[f64] {
        &self.answers.0[0]
    }
}

/// Every family of the trials on the training rows of an outer fold, and the chosen one.
fn outcomes(data: &Rows, spec: &TabularSpec, fold: &Fold) -> Result<BTreeMap<String, Outcome>> {
    let (known, asked) = (data.select(&fold.train), data.select(&fold.test));
    let run = Tabular::trials(&known, spec, &Stage::new(&Quiet))?;
    let mut all = BTreeMap::new();
    for number in 0..run.entrants.len() {
        let entrant = run.served(number);
        let model = fitted(entrant.family, &known, &entrant.spec)?;
        let answers = Answers::by(&model, &asked.table)?.calibrated(&entrant.maps);
        let outcome = |about: &str| -> Result<Outcome> {
            Ok(Outcome {
                answers: answers.clone(),
                threshold: run.threshold(entrant)?.unwrap_or_default(),
                about: about.to_owned(),
            })
        };
        let name = entrant.family.name();
        let map = entrant.maps.first().map_or("", |map| map.name());
        all.insert(name.to_owned(), outcome(map)?);
        if number == run.chosen() {
            all.insert(AUTO.to_owned(), outcome(name)?);
        }
    }
    Ok(all)
}

/// The same in all folds, by the names of families.
fn in_folds(
    data: &Rows,
    spec: &TabularSpec,
    folds: &[Fold],
) -> Result<BTreeMap<String, Vec<Outcome>>> {
    let each = folds.par_iter().map(|fold| outcomes(data, spec, fold));
    let mut all: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
    for outcomes in each.collect::<Result<Vec<_>>>()? {
        outcomes.into_iter().for_each(|(name, outcome)| all.entry(name).or_default().push(outcome));
    }
    Ok(all)
}

/// Mean and deviation of folds.
fn spread(values: &[f64]) -> String {
    let centre = mean(values.iter().copied());
    let deviation = mean(values.iter().map(|v| (v - centre).powi(2))).sqrt();
    format!("{centre:.4} ± {deviation:.4}")
}

/// How often each of some names comes, most frequent first.
fn counted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
}

/// A line of the table of classes.
fn line(name: &str, data: &Rows, folds: &[Fold], outcomes: &[Outcome]) {
    let labels: Vec<Vec<bool>> =
        folds.iter().map(|fold| select(&data.target().happened(0), &fold.test)).collect();
    let each = |measure: &dyn Fn(&[bool], &Outcome) -> f64| {
        let values = labels.iter().zip(outcomes).map(|(labels, outcome)| measure(labels, outcome));
        spread(&values.collect::<Vec<_>>())
    };
    let of_repeat = |repeat: usize| {
        let part = repeat * FOLDS..(repeat + 1) * FOLDS;
        let answers = outcomes[part.clone()].iter().flat_map(Outcome::only).copied();
        let answers: Vec<f64> = answers.collect();
        calibration_error(&reliability(&labels[part].concat(), &answers, GROUPS))
    };
    let both = "both classes are in every fold";
    println!(
        "{name:<20}{}  {}  {}  {}  {:.4}  {}  {}",
        each(&|labels, o| average_precision(labels, o.only()).expect(both)),
        each(&|labels, o| roc_auc(labels, o.only()).expect(both)),
        each(&|labels, o| log_loss(labels, o.only())),
        each(&|labels, o| brier(labels, o.only())),
        mean((0..folds.len() / FOLDS).map(of_repeat)),
        each(&|labels, o| Confusion::at(labels, o.only(), o.threshold).f1()),
        counted(outcomes.iter().map(|outcome| outcome.about.as_str())),
    );
}

fn stroke() -> Result<()> {
    let (data, spec) = tables::stroke()?;
    let ones = data.target().happened(0).into_iter().filter(|happened| *happened).count();
    println!("Stroke, {} rows, {ones} of them 1; {REPEATS} × {FOLDS} folds\n", data.rows());
    let header = || {
        println!(
            "{:<20}{:<17}{:<17}{:<17}{:<17}{:<8}F1 at its threshold",
            "", "AUC-PR", "ROC-AUC", "log loss", "Brier", "ECE"
        );
    };
    header();
    let folds = stratified_folds(&data.target().classes(), FOLDS, REPEATS, SEED)?;
    let usual = in_folds(&data, &spec, &folds)?;
    usual.iter().for_each(|(name, outcomes)| line(name, &data, &folds, outcomes));
    println!("\nWith a search of {TRIALS} trials");
    header();
    for (name, outcomes) in tuned(&data, spec, &folds)? {
        line(&name, &data, &folds, &outcomes);
    }
    Ok(())
}

/// With a search in every fold: each family that has options as if it were wanted, and "auto".
fn tuned(data: &Rows, spec: TabularSpec, folds: &[Fold]) -> Result<BTreeMap<String, Vec<Outcome>>> {
    let spec = spec.with(|s| s.task.tune = Some(Tune { trials: TRIALS, ..Tune::default() }));
    let families = spec.task.model.families(data.target().is_number());
    let families = families.into_iter().filter(|family| !family.is_baseline());
    let kinds = families.map(Kind::Of).chain([Kind::Auto]);
    let of_kind = |kind: Kind| {
        let name = if let Kind::Of(family) = kind { family.name() } else { AUTO };
        let spec = spec.clone().with(|spec| spec.task.model.kind = kind);
        let outcomes = in_folds(data, &spec, folds)?.remove(name);
        Ok((name.to_owned(), outcomes.expect("it took part")))
    };
    kinds.map(of_kind).collect()
}

fn main() -> Result<()> {
    // A word of the command line keeps one of the parts.
    let word = std::env::args().nth(1);
    let wanted = |part: &str| word.as_ref().is_none_or(|word| word == part);
    if wanted("stroke") {
        stroke()?;
    }
    if wanted("tuning") {
        tuning::compare()?;
    }
    if wanted("peers") {
        peers::compare()?;
    }
    Ok(())
}
