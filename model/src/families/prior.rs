//! The share of each class, or the mean of a number, whatever is asked: what a model has to beat.

use serde::{Deserialize, Serialize};
use steppe_spec::tabular::TabularSpec;

use crate::artifact::ArtifactError;
use crate::error::TrainError;
use crate::family::Family;
use crate::host::Stage;
use crate::rows::RowsError;
use crate::rows::logistic::log_odds;
use crate::rows::metrics::weighted_mean;
use crate::rows::table::Table;
use crate::stored::{Saved, Stored};
use crate::tabular::Tabular;
use crate::tabular::data::Rows;
use crate::tabular::model::{Link, Reasons, Scorer, weights};

/// What is answered, per output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior {
    margins: Vec<f64>,
    link: Link,
}

impl Family<Tabular> for Prior {
    const QUICK: bool = true;

    fn fit(data: &Rows, spec: &TabularSpec, _: &Stage<'_>) -> Result<Self, TrainError> {
        let target = data.target();
        let link = if target.is_number() { Link::Identity } else { Link::LogOdds };
        let margin = |output: usize| {
            let weights = weights(data, spec, output);
            let mean = weighted_mean(&target.values(output), weights.as_deref());
            let mean = mean.unwrap_or(f64::NAN);
            if target.is_number() { mean } else { log_odds(mean) }
        };
        let margins: Vec<f64> = (0..target.outputs()).map(margin).collect();
        match margins.iter().all(|margin| margin.is_finite()) {
            true => Ok(Self { margins, link }),
            false => {
                let what = "no row of a fold has a weight above 0: nothing is learnt";
                Err(RowsError::Unsuitable(what.to_owned()).into())
            }
        }
    }

    fn save(&self, saved: &mut Saved) {
        saved.record(self);
    }

    fn load(stored: &Stored<'_>, _: &TabularSpec) -> Result<Self, ArtifactError> {
        let prior: Self = stored.record()?;
        match prior.margins.iter().all(|margin| margin.is_finite()) {
            true if !prior.margins.is_empty() => Ok(prior),
            _ => Err(ArtifactError::Defect("a prior is a finite number".to_owned())),
        }
    }
}

impl Scorer for Prior {
    fn margins(&self, table: &Table) -> Result<Vec<Vec<f64>>, RowsError> {
        Ok(self.margins.iter().map(|margin| vec![*margin; table.rows()]).collect())
    }

    fn outputs(&self) -> usize {
        self.margins.len()
    }

    fn link(&self) -> Link {
        self.link
    }

    fn reasons(&self, table: &Table, outputs: &[usize]) -> Result<Vec<Reasons>, RowsError> {
        let effects: Vec<_> = table.columns().map(|(name, _)| (name.to_owned(), 0.0)).collect();
        let reasons =
            |output: &usize| Reasons { base: self.margins[*output], effects: effects.clone() };
        Ok(outputs.iter().map(reasons).collect())
    }
}
