//! What `evaluate` tells of models of rows: all families in folds, without a look at the rows that
//! are kept for the end.

use serde::{Deserialize, Serialize};
use steppe_spec::tabular::TabularSpec;
use steppe_spec::{Family, Kind};

use super::Tabular;
use super::card::wrapped;
use super::data::Rows;
use super::section::Section;
use super::trials;
use crate::error::TrainError;
use crate::host::Stage;
use crate::leaks;
use crate::task::Task;
use crate::trials::Trials;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Column that is predicted.
    pub target: String,
    /// The family that would be served.
    pub chosen: Family,
    /// Families whose answers do not change when the rows that they are asked about do.
    pub checked: Vec<Family>,
    /// What was found; `test` is empty.
    pub section: Section,
}

/// Compares every family in folds.
pub fn evaluate(
    data: &Rows,
    spec: &TabularSpec,
    stage: &Stage<'_>,
) -> Result<Evaluation, TrainError> {
    Tabular::check_data(data, spec)?;
    let families = spec.task.model.families(data.target().is_number());
    let checked = leaks::check::<Tabular>(data, spec, &families)?;
    let mut run = trials::run(data, spec, stage)?;
    // The rows that are kept for the end are not looked at.
    run.sets.test.clear();
    let section = Section::of(data, spec, &run)?;
    Ok(Evaluation {
        pipeline: spec.pipeline.clone(),
        target: spec.task.target.clone(),
        chosen: run.families()[run.chosen()],
        checked,
        section,
    })
}

impl Evaluation {
    /// As a page of text.
    pub fn to_text(&self) -> String {
        let names: Vec<&str> = self.checked.iter().map(|family| family.name()).collect();
        let checked = format!(
            "for leaks: what is learnt of other rows does not change when rows that are asked \
             about do ({})",
            names.join(", ")
        );
        format!("{}\n{}", self.section.to_text(self.chosen), wrapped("checked", &checked))
    }

    /// The best family, when another one is asked for.
    pub fn better(&self, spec: &TabularSpec) -> Option<Family> {
        let deciding = |c: &super::section::Candidate| c.scores.first().map(|score| score.value);
        let best = self.section.candidates.iter().filter_map(|c| Some((deciding(c)?, c.family)));
        let best = best.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, family)| family)?;
        (spec.task.model.kind != Kind::Auto && best != self.chosen).then_some(best)
    }
}
