//! The forecasts that an execution made in batches, as they lie in S3: each series once, whole, and
//! by the right model.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;
use steppe_model::DataError;
use steppe_store::Bucket;
use steppe_wire::failure::Failure;
use steppe_wire::hint::Hinted;

use super::scores::of_each;
use crate::score::forecasts::{Stored, read};

/// What an execution says of its forecasts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The task.
    pub task: String,
    /// The execution.
    pub execution: String,
    /// Series that were asked for.
    pub all: usize,
    /// Series of these that the manifest leaves out.
    pub absent: usize,
    /// Steps of each forecast.
    pub horizon: u32,
    /// The version of the model that had to answer; any when absent.
    pub model_version: Option<String>,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    /// Steps of each series.
    steps: BTreeMap<String, BTreeSet<u32>>,
    twice: usize,
    versions: BTreeSet<String>,
    /// Steps that are no forecast.
    strange: usize,
}

/// What is wrong with the forecasts of an execution.
pub async fn check(data: &Bucket, asked: &Asked) -> Result<Vec<Hinted>, Failure> {
    let mut seen = Seen::default();
    let add = |file: Bytes| -> Result<(), DataError> {
        read(file)?.into_iter().for_each(|step| seen.add(step, &asked.execution));
        Ok(())
    };
    let mut defects = of_each(data, &asked.task, &asked.execution, add).await?;
    defects.extend(seen.defects(asked));
    Ok(defects)
}

impl Seen {
    fn add(&mut self, stored: Stored, execution: &str) {
        if stored.execution != execution {
            return;
        }
        let step = &stored.step;
        let ordered = step.lower <= step.value && step.value <= step.upper;
        let finite = step.lower.is_finite() && step.upper.is_finite();
        self.strange += usize::from(!ordered || !finite);
        self.versions.insert(stored.model_version);
        let is_new = self.steps.entry(stored.series).or_default().insert(step.step);
        self.twice += usize::from(!is_new);
    }

    fn defects(&self, asked: &Asked) -> Vec<Hinted> {
        let mut defects = Vec::new();
        let (forecast, Asked { all, absent, horizon, .. }) = (self.steps.len(), asked);
        if forecast + absent != *all {
            defects.push(Hinted::new(
                format!(
                    "{forecast} series have a forecast in S3 and {absent} are left out, of {all}"
                ),
                "`cargo xtask logs score` tells what was forecast",
            ));
        }
        let whole: BTreeSet<u32> = (1..=*horizon).collect();
        if let Some((series, steps)) = self.steps.iter().find(|(_, steps)| **steps != whole) {
            let steps = steps.len();
            let told = format!("`{series}` is forecast for {steps} periods, and not for {horizon}");
            defects.push(told.into());
        }
        if self.twice > 0 {
            let told = format!("{} forecasts lie in S3 more than once", self.twice);
            defects.push(told.into());
        }
        if self.strange > 0 {
            let told = format!("{} forecasts are not within their intervals", self.strange);
            defects.push(told.into());
        }
        if let Some(wanted) = &asked.model_version
            && let Some(other) = self.versions.iter().find(|version| *version != wanted)
        {
            defects.push(format!("forecasts are of model {other}, not of {wanted}").into());
        }
        defects
    }
}
