//! The search for options of a family, inside of the rows that are for it.

use serde::{Deserialize, Serialize};
use steppe_spec::Family;
use steppe_spec::tabular::{Objective, TabularSpec};

use super::answers::{Answers, loss_by};
use super::data::Rows;
use super::sets::Sets;
use crate::error::TrainError;
use crate::host::Stage;
use crate::rows::RowsError;
use crate::rows::tuning::{Journal, Parameter, Range, Search};

/// What a search for options did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// The family.
    pub family: Family,
    /// What was made better.
    pub objective: Objective,
    /// All trials; the first has the options of the manifest.
    pub journal: Journal,
    /// The objective on the rows that were kept apart to tell, with the options of the manifest
    /// and with those that were found; none without such rows, or when nothing better was found.
    pub validation: Option<(f64, f64)>,
    /// Whether what was found is taken.
    pub taken: bool,
}

/// The objective of a search.
pub fn objective(data: &Rows, spec: &TabularSpec) -> Objective {
    let proper = if data.target().is_number() { Objective::Rmse } else { Objective::LogLoss };
    spec.task.tune.as_ref().and_then(|tune| tune.objective).unwrap_or(proper)
}

/// Looks for better options; none of a family that has none. `share` is the part of the minutes
/// that is over when this family is done.
pub fn search(
    (data, spec, sets): (&Rows, &TabularSpec, &Sets),
    family: Family,
    share: f64,
    stage: &Stage<'_>,
) -> Result<Option<(Tuning, TabularSpec)>, TrainError> {
    let (Some(tune), parameters) = (&spec.task.tune, parameters(family, spec)) else {
        return Ok(None);
    };
    if parameters.is_empty() {
        return Ok(None);
    }
    let (folds, objective) = (sets.of_search(data, spec)?, objective(data, spec));
    let known = data.select(&sets.train);
    let loss = |values: &[f64], fold: usize| {
        let (train, test) = (known.select(&folds[fold].train), known.select(&folds[fold].test));
        let answers = Answers::of(family, &train, &with(spec, family, values), &test);
        let answers = answers.map_err(|error| match error {
            TrainError::Rows(error) => error,
            other => RowsError::Unsuitable(other.to_string()),
        })?;
        let loss = loss_by(objective, test.target(), &answers);
        if loss.is_nan() && !objective.is_proper() {
            let what = "a fold of the search has rows of one class only, about which the \
                        objective says nothing; take fewer folds, or the objective `log-loss`";
            return Err(RowsError::Unsuitable(what.to_owned()));
        }
        Ok(loss)
    };
    let search = Search { parameters, folds: folds.len(), seed: spec.task.model.seed };
    let key = format!("{}.json", stage.part(&format!("tune-{}", family.name())).name());
    let mut journal = resumed(stage, &key, &search).map_or_else(|| Journal::new(search), Ok)?;
    let limit = tune.minutes.map(|minutes| f64::from(minutes) * 60.0 * share);
    let planned = tune.trials.saturating_sub(journal.trials.len());
    let done = journal.trials.len();
    stage.host.plan(planned as u64);
    journal.run(tune.trials, &loss, &mut |journal| {
        stage.host.advance(1);
        let bytes = serde_json::to_vec(journal).expect("a record of plain values");
        stage.host.save(&key, &bytes);
        limit.is_some_and(|limit| stage.host.elapsed().as_secs_f64() >= limit)
    })?;
    // Those that there was no time for.
    let tried = journal.trials.len() - done;
    stage.host.advance(planned.saturating_sub(tried) as u64);
    let best = journal.best().expect("the manifest's options have a model").values.clone();
    let found = with(spec, family, &best);
    let mut tuning = Tuning { family, objective, taken: found != *spec, validation: None, journal };
    if tuning.taken && !sets.validation.is_empty() {
        let asked = data.select(&sets.validation);
        let judged = |spec: &TabularSpec| -> Result<f64, TrainError> {
            let answers = Answers::of(family, &known, spec, &asked)?;
            Ok(loss_by(objective, asked.target(), &answers))
        };
        let (before, after) = (judged(spec)?, judged(&found)?);
        (tuning.validation, tuning.taken) = (Some((before, after)), after < before);
    }
    let spec = if tuning.taken { found } else { spec.clone() };
    Ok(Some((tuning, spec)))
}

/// What an interrupted search did, if it was the same.
fn resumed(stage: &Stage<'_>, key: &str, search: &Search) -> Option<Journal> {
    let journal: Journal = serde_json::from_slice(&stage.host.load(key)?).ok()?;
    (journal.check().is_ok() && journal.search == *search).then_some(journal)
}

/// What is searched of a family, around the manifest's options.
fn parameters(family: Family, spec: &TabularSpec) -> Vec<Parameter> {
    let model = &spec.task.model;
    let log = |name: &str, low: f64, high: f64, default: f64| Parameter {
        name: name.to_owned(),
        range: Range::Log { low: low.min(default), high: high.max(default) },
        default,
    };
    let whole = |name: &str, low: usize, high: usize, default: usize| Parameter {
        name: name.to_owned(),
        range: Range::Integer { low: low.min(default) as u32, high: high.max(default) as u32 },
        default: default as f64,
    };
    match family {
        // Without any penalty there is no ratio to it.
        Family::Logistic | Family::Linear if model.sum.l2 > 0.0 => {
            vec![log("l2", 0.01, 100.0, model.sum.l2)]
        }
        Family::GradientBoosting => {
            let boosting = &model.boosting;
            vec![
                whole("rounds", 20, 300, boosting.rounds),
                whole("depth", 1, 6, boosting.depth),
                log("learning_rate", 0.01, 0.3, boosting.learning_rate),
                log("min_leaf_weight", 0.3, 30.0, boosting.min_leaf_weight.max(1e-3)),
                log("l2", 0.1, 30.0, boosting.l2.max(1e-3)),
            ]
        }
        Family::RandomForest => {
            let forest = &model.forest;
            vec![whole("min_leaf", 2, 50, forest.min_leaf), whole("depth", 4, 32, forest.depth)]
        }
        _ => vec![],
    }
}

/// The configuration with options that were found.
pub(super) fn with(spec: &TabularSpec, family: Family, values: &[f64]) -> TabularSpec {
    let mut spec = spec.clone();
    let model = &mut spec.task.model;
    match (family, values) {
        (Family::Logistic | Family::Linear, [l2]) => model.sum.l2 = *l2,
        (Family::GradientBoosting, [rounds, depth, learning_rate, min_leaf_weight, l2]) => {
            let boosting = &mut model.boosting;
            (boosting.rounds, boosting.depth) = (*rounds as usize, *depth as usize);
            boosting.learning_rate = *learning_rate;
            (boosting.min_leaf_weight, boosting.l2) = (*min_leaf_weight, *l2);
        }
        (Family::RandomForest, [min_leaf, depth]) => {
            (model.forest.min_leaf, model.forest.depth) = (*min_leaf as usize, *depth as usize);
        }
        _ => {}
    }
    spec
}
