//! How long steps took, so that the next run can tell what to expect.

use std::collections::BTreeMap;
use std::path::PathBuf;

use steppe_plan::events::Step;

use crate::project::write;

/// Steps shorter than this are not worth an expectation.
const SECONDS_MIN: f64 = 0.5;

/// Seconds by deployment and step. Nothing depends on it, so whatever cannot be read or written is
/// left out.
#[derive(Debug, Default)]
pub struct Durations {
    file: Option<PathBuf>,
    deployment: String,
    all: BTreeMap<String, BTreeMap<String, f64>>,
    is_new: bool,
}

impl Durations {
    /// What earlier runs noted about a deployment.
    pub fn load(file: PathBuf, deployment: &str) -> Self {
        let read = std::fs::read(&file).ok();
        let all = read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { file: Some(file), deployment: deployment.to_owned(), all, is_new: false }
    }

    /// How long a step with that object took the last time.
    pub fn of(&self, step: Step, of: Option<&str>) -> Option<f64> {
        self.all.get(&self.deployment)?.get(&name(step, of)?).copied()
    }

    /// Notes how long a step took.
    pub fn note(&mut self, step: Step, of: Option<&str>, seconds: f64) {
        let Some(name) = name(step, of).filter(|_| seconds >= SECONDS_MIN) else { return };
        let rounded = (seconds * 10.0).round() / 10.0;
        self.all.entry(self.deployment.clone()).or_default().insert(name, rounded);
        self.is_new = true;
    }

    /// Keeps them for the next run.
    pub fn save(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.is_new) else { return };
        if let Ok(bytes) = serde_json::to_vec_pretty(&self.all) {
            // An expectation that is lost costs nothing.
            let _ = write(file, &bytes);
        }
        self.is_new = false;
    }
}

/// A step's name in the events, and its object.
fn name(step: Step, of: Option<&str>) -> Option<String> {
    let step = serde_json::to_value(step).ok()?;
    let step = step.as_str()?;
    Some(of.map_or_else(|| step.to_owned(), |of| format!("{step} {of}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_kept_apart_for_each_deployment() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = folder.path().join("durations.json");
        let mut one = Durations::load(file.clone(), "one");
        one.note(Step::Check, Some("history"), 12.34);
        one.note(Step::Check, Some("forecasts"), 0.1);
        one.save();
        let again = Durations::load(file.clone(), "one");
        assert_eq!(again.of(Step::Check, Some("history")), Some(12.3));
        assert_eq!(again.of(Step::Check, Some("forecasts")), None, "too short to be kept");
        assert_eq!(Durations::load(file, "two").of(Step::Check, Some("history")), None);
    }
}
