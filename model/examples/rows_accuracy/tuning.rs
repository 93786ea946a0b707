//! What a search for options is worth beyond the folds that it saw, on tables of all kinds.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use steppe_model::rows::metrics::mean;
use steppe_model::rows::split::Fold;
use steppe_model::tabular::answers::loss_by;
use steppe_model::tabular::data::{Rows, Target};
use steppe_spec::tabular::{Objective, TabularKind};

use super::tables::{Folded, folded, peers_folder, spec_of};
use super::{FOLDS, Outcome, Result, TRIALS, in_folds, tuned};

/// Prints the outer losses with the manifest's options, and with those that a search found.
pub fn compare() -> Result<()> {
    let path = peers_folder().join("tuning.json");
    let Ok(bytes) = std::fs::read(&path) else {
        println!("\nTuning: {} is not there; tests/peers/rows.py writes it", path.display());
        return Ok(());
    };
    println!("\nWith {TRIALS} trials: log loss or RMSE of outer folds\n");
    println!("{:<34}{:>10}{:>10}{:>9}   outer folds", "", "without", "with", "change");
    let names: Value = serde_json::from_slice(&bytes)?;
    let of = |kind: &str| names[kind].as_array().cloned().unwrap_or_default();
    for (kind, names) in [("classes", of("classes")), ("numbers", of("numbers"))] {
        for name in names.iter().filter_map(Value::as_str) {
            table(name, kind == "numbers")?;
        }
    }
    Ok(())
}

fn table(name: &str, numbers: bool) -> Result<()> {
    let Folded { table, target, folds } = folded(&format!("{name}.csv"))?;
    let kind = if numbers { TabularKind::Regression } else { TabularKind::Classification };
    let spec = spec_of(name, kind, &table);
    let target = if numbers { Target::Numbers(target) } else { classes(&target) };
    let objective = if numbers { Objective::Rmse } else { Objective::LogLoss };
    let data = Rows::plain(table, Some(target));
    let folds: Vec<Fold> = folds.iter().flat_map(|fold_of| folds_of(fold_of)).collect();
    let losses = |(name, outcomes): (String, Vec<Outcome>)| {
        let losses = outcomes.iter().zip(&folds).map(|(outcome, fold)| {
            loss_by(objective, data.select(&fold.test).target(), &outcome.answers)
        });
        (name, losses.collect::<Vec<f64>>())
    };
    let before: BTreeMap<_, _> = in_folds(&data, &spec, &folds)?.into_iter().map(losses).collect();
    for (family, after) in tuned(&data, spec, &folds)?.into_iter().map(losses) {
        let before = &before[&family];
        let count = |keep: fn(&f64, &f64) -> bool| {
            before.iter().zip(&after).filter(|(before, after)| keep(before, after)).count()
        };
        let (without, with) = (mean(before.iter().copied()), mean(after.iter().copied()));
        println!(
            "{:<34}{without:>10.4}{with:>10.4}{:>+8.2} %   {} better, {} worse",
            format!("{}, {family}", name.trim_start_matches("tuning_")),
            100.0 * (with / without - 1.0),
            count(|before, after| after < before),
            count(|before, after| after > before),
        );
    }
    Ok(())
}

fn classes(target: &[f64]) -> Target {
    let codes: Vec<usize> = target.iter().map(|class| *class as usize).collect();
    let count = codes.iter().max().map_or(0, |last| last + 1);
    Target::Classes { labels: Arc::new((0..count).map(|class| class.to_string()).collect()), codes }
}

fn folds_of(fold_of: &[usize]) -> Vec<Fold> {
    let fold = |fold: usize| {
        let (test, train) = (0..fold_of.len()).partition(|row| fold_of[*row] == fold);
        Fold { train, test }
    };
    (0..FOLDS).map(fold).collect()
}
