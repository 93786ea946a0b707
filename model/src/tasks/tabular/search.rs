//! The search for options of a family, inside of the rows that are for it.

use serde::{Deserialize, Serialize};
use steppe_spec::Family;
use steppe_spec::tabular::{Objective, TabularSpec};

use super::Tabular;
use super::answers::{Answers, loss_by};
use super::data::Rows;
use super::sets::Sets;
use crate::error::TrainError;
use crate::host::Stage;
use crate::rows::RowsError;
use crate::rows::tuning::{Journal, Search};
use crate::task::Task;

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

impl Tuning {
    /// The configuration with the best options; as it is where a card that was read knows none.
    pub fn found(&self, spec: &TabularSpec) -> TabularSpec {
        let best = self.journal.best().map(|best| with(spec, self.family, &best.values));
        best.unwrap_or_else(|| spec.clone())
    }
}

/// Looks for better options; none of a family that has none.
pub fn search(
    (data, spec, sets): (&Rows, &TabularSpec, &Sets),
    family: Family,
    stage: &Stage<'_>,
) -> Result<Option<Tuning>, TrainError> {
    let (Some(tune), Some(recipe)) = (&spec.task.tune, Tabular::recipe(family)) else {
        return Ok(None);
    };
    let parameters = (recipe.parameters)(spec);
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
    let limit = tune.minutes.map(|minutes| f64::from(minutes) * 60.0);
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
    let first = Some(&journal.trials[0].values);
    let taken = journal.best().map(|best| &best.values) != first;
    let mut tuning = Tuning { family, objective, taken, validation: None, journal };
    if tuning.taken && !sets.validation.is_empty() {
        let asked = data.select(&sets.validation);
        let judged = |spec: &TabularSpec| -> Result<f64, TrainError> {
            let answers = Answers::of(family, &known, spec, &asked)?;
            Ok(loss_by(objective, asked.target(), &answers))
        };
        let (before, after) = (judged(spec)?, judged(&tuning.found(spec))?);
        (tuning.validation, tuning.taken) = (Some((before, after)), after < before);
    }
    Ok(Some(tuning))
}

/// What an interrupted search did, if it was the same.
fn resumed(stage: &Stage<'_>, key: &str, search: &Search) -> Option<Journal> {
    let journal: Journal = serde_json::from_slice(&stage.host.load(key)?).ok()?;
    (journal.check().is_ok() && journal.search == *search).then_some(journal)
}

/// The configuration with options that were found.
fn with(spec: &TabularSpec, family: Family, values: &[f64]) -> TabularSpec {
    let mut spec = spec.clone();
    if let Some(recipe) = Tabular::recipe(family) {
        (recipe.set)(&mut spec, values);
    }
    spec
}
