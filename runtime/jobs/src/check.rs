//! The checks of a run: of its inputs before anything is cleaned, of its forecasts before anybody
//! is told, and, where uploads start runs, which of several is to be the one.
//!
//! What is wrong with data is an answer, not a failure: the state machine ends with it, in words
//! that people read. A failure is what kept the check from looking.

mod beginning;
mod inputs;
mod outputs;
mod predictions;
mod scores;
mod turns;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use steppe_spec::TimeSpan;
use steppe_store::Bucket;
use steppe_wire::failure::Failure;
use steppe_wire::hint::Hinted;
use steppe_wire::text::shown_at_most;

/// Defects that an answer tells; the others it counts.
const TOLD: usize = 10;
/// Characters of a defect, and of what to do about it.
const CHARS_MAX: usize = 500;

/// What the state machine asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "check", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// Whether the inputs are what the manifest says.
    Inputs {
        /// What is asked of each.
        limits: BTreeMap<String, Limits>,
    },
    /// Whether the forecasts of an execution are whole.
    Outputs(Asked),
    /// Whether the forecasts that an execution made in batches are whole.
    Predictions(predictions::Asked),
    /// Whether the scores of an execution are whole.
    Scores(scores::Asked),
    /// Something was uploaded and started this execution.
    Arrived {
        /// The execution.
        execution: String,
    },
    /// Whether this execution is still the newest that an upload started.
    Turn {
        /// The execution.
        execution: String,
    },
}

/// What is asked of an input beside its form.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How old its newest file may be.
    pub fresh_within: Option<TimeSpan>,
    /// Its least size, as a share of what the run before read.
    pub least_of_last: f64,
}

/// What an execution says of its forecasts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The execution.
    pub execution: String,
    /// When it began.
    pub started: Timestamp,
    /// Series that were asked for.
    pub all: usize,
    /// Series of these that the manifest leaves out.
    pub absent: usize,
    /// The version of the model that had to answer; any when absent.
    pub model_version: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// What is wrong; nothing when everything is as it should be.
    Checked {
        /// Each with what to do about it, which is a line of it: the state machine joins them to
        /// the cause of its failure, which is one text.
        defects: Vec<String>,
    },
    /// Whose turn it is.
    Turn {
        /// The execution that covers this one.
        superseded_by: Option<String>,
    },
}

/// The checks of one pipeline.
#[derive(Debug, Clone)]
pub struct Checker {
    /// Bucket of the cleaning job's plan.
    pub artifacts: Bucket,
    /// Bucket of inputs, reports and forecasts.
    pub data: Bucket,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Key of the plan in the artifacts bucket.
    pub plan_key: String,
}

impl Checker {
    /// Answers a question at the time `now`.
    pub async fn run(&self, event: &Event, now: Timestamp) -> Result<Answer, Failure> {
        let defects = match event {
            Event::Inputs { limits } => inputs::check(self, limits, now).await?,
            Event::Outputs(asked) => outputs::check(&self.data, asked).await?,
            Event::Predictions(asked) => predictions::check(&self.data, asked).await?,
            Event::Scores(asked) => scores::check(&self.data, asked).await?,
            Event::Arrived { execution } => {
                turns::take(&self.data, &self.pipeline, execution).await?;
                return Ok(Answer::Turn { superseded_by: None });
            }
            Event::Turn { execution } => {
                let superseded_by = turns::other(&self.data, &self.pipeline, execution).await?;
                return Ok(Answer::Turn { superseded_by });
            }
        };
        Ok(Answer::Checked { defects: told(&defects) })
    }
}

/// Defects as people read them: the first ones, without anything that a mail would act on.
fn told(defects: &[Hinted]) -> Vec<String> {
    let clean = |text: &str| shown_at_most(text, CHARS_MAX).into_owned();
    let one = |defect: &Hinted| defect.told(clean);
    let more = defects.len().saturating_sub(TOLD);
    let rest = (more > 0).then(|| format!("and {more} more"));
    defects.iter().take(TOLD).map(one).chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_defects_are_counted_and_names_are_shown() {
        let mut defects = vec![Hinted::new("a\nb: odd\u{1b}", "mend it")];
        assert_eq!(told(&defects), ["a\\u{a}b: odd\\u{1b}\nhint: mend it"]);
        defects.extend((0..11).map(|n| n.to_string().into()));
        let told = told(&defects);
        assert_eq!((told.len(), told[10].as_str()), (TOLD + 1, "and 2 more"));
    }
}
