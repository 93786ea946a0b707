//! What decides a model: parts of the manifest, and nothing else of it.

use std::fmt::Debug;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::defects::Defects;
use crate::families::{Does, Family, Kind, Model};
use crate::gaps::Gaps;
use crate::manifest::Manifest;
use crate::schema::json_schema;
use crate::shape;
use crate::tasks::Served;
use crate::tasks::forecast::{Backtest, ForecastEntry, Frequency, Task};
use crate::tasks::tabular::TabularSpec;

/// What decides a model, whatever kind of task it is for. Two equal ones on equal data give equal
/// artifacts.
pub trait Training:
    Debug + Clone + PartialEq + Send + Sync + Serialize + DeserializeOwned + 'static
{
    /// Name of the pipeline.
    fn pipeline(&self) -> &str;

    /// Name of the table that it reads.
    fn table(&self) -> &str;

    /// Checks a configuration that was read from somewhere else than a manifest: whatever is built
    /// by it has a bounded size.
    fn check(&self) -> Result<(), String>;

    /// Whether both read the same data from a table.
    fn reads_like(&self, other: &Self) -> bool;
}

/// Checks a configuration by the schema of its type, and by what else is said of it.
pub(crate) fn checked<T: Serialize + JsonSchema>(
    spec: &T,
    defects_of: impl FnOnce(&mut Defects),
) -> Result<(), String> {
    let mut value = serde_json::to_value(spec).map_err(|error| error.to_string())?;
    let mut defects = Defects::default();
    shape::check(&json_schema::<T>(), &mut value, "", &mut defects);
    defects_of(&mut defects);
    defects.told()
}

/// What decides a model, of any kind of task.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TrainingSpec {
    /// Forecasts of series.
    Forecast(Box<TrainSpec>),
    /// About rows.
    Tabular(Box<TabularSpec>),
}

impl TrainingSpec {
    /// What a manifest says about the training of its task.
    pub fn of(manifest: &Manifest) -> Self {
        match manifest.task() {
            Served::Forecast(entry) => {
                Self::Forecast(Box::new(TrainSpec::of_entry(manifest, entry)))
            }
            Served::Tabular(_) => {
                let spec = TabularSpec::of(manifest).expect("the task is about rows");
                Self::Tabular(Box::new(spec))
            }
        }
    }

    /// A configuration by the kind of task that it names itself.
    pub fn of_json(value: Value) -> serde_json::Result<Self> {
        if value["task"]["kind"] == "forecast" {
            return serde_json::from_value(value).map(Box::new).map(Self::Forecast);
        }
        serde_json::from_value(value).map(Box::new).map(Self::Tabular)
    }
}

/// Configuration of one training of forecasts. Two equal specs on equal data give equal artifacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Name of the table that it reads.
    pub table: String,
    /// What is forecast.
    pub task: Task,
    /// What happens to periods without a value.
    pub gaps: Gaps,
    /// With which model.
    pub model: Model,
    /// How it is judged.
    pub backtest: Backtest,
}

impl TrainSpec {
    /// What a manifest says about the training of its task, when that forecasts.
    pub fn of(manifest: &Manifest) -> Option<Self> {
        manifest.task().forecast().map(|entry| Self::of_entry(manifest, entry))
    }

    pub(crate) fn of_entry(manifest: &Manifest, entry: &ForecastEntry) -> Self {
        Self {
            pipeline: manifest.name.clone(),
            table: manifest.source().name.to_owned(),
            task: entry.task.clone(),
            gaps: entry.gaps,
            model: entry.model.clone(),
            backtest: entry.backtest,
        }
    }

    /// Forecasts of `target` per `series`, with everything else as it is by default.
    pub fn forecast(pipeline: &str, [series, time, target]: [&str; 3]) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            table: pipeline.to_owned(),
            task: Task::new(series, time, target),
            gaps: Gaps::default(),
            model: Model::default(),
            backtest: Backtest::default(),
        }
    }

    /// The same, changed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// What is wrong beyond the form, in a manifest as on a card.
    pub(crate) fn defects(&self, out: &mut Defects) {
        self.task.defects(out);
        self.model.defects(out);
    }

    /// How often there is a value, and on which days.
    pub fn frequency(&self) -> Frequency {
        self.task.frequency()
    }

    /// Periods between two origins of the backtest.
    pub fn stride(&self) -> usize {
        self.backtest.stride.unwrap_or(self.task.horizon).max(1)
    }

    /// Families that compete when the best is asked for, and that a combination weighs.
    pub fn candidates(&self) -> Vec<Family> {
        self.model.candidates(&self.task)
    }

    /// Families that the backtest compares: the baselines, the candidates, what is asked for, and
    /// the combination when there is something to combine.
    pub fn families(&self) -> Vec<Family> {
        let (kind, candidates) = (self.model.kind, self.candidates());
        let asked = |family: &Family| kind == Kind::Of(*family) || candidates.contains(family);
        let seasonal = self.frequency().season() > 1;
        let wanted = |family: &Family| match family {
            Family::SeasonalNaive => seasonal || asked(family),
            Family::MeanOfThree => !seasonal || asked(family),
            Family::Combination => asked(family) || kind == Kind::Auto,
            family => family.is_baseline() || asked(family),
        };
        let wanted = |family: &Family| family.does(Does::Series) && wanted(family);
        Family::ALL.iter().copied().filter(wanted).collect()
    }
}

impl Training for TrainSpec {
    fn pipeline(&self) -> &str {
        &self.pipeline
    }

    fn table(&self) -> &str {
        &self.table
    }

    fn check(&self) -> Result<(), String> {
        checked(self, |defects| self.defects(defects))
    }

    fn reads_like(&self, other: &Self) -> bool {
        let read = |spec: &Self| {
            // As far as that, periods to come must have what is known of them.
            let horizon = if spec.task.knows_ahead() { spec.task.horizon } else { 1 };
            let task = Task { horizon, decide: None, ..spec.task.clone() };
            (task, spec.gaps, spec.model.transform.signed())
        };
        read(self) == read(other)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Lstm;

    #[test]
    fn a_backtest_compares_baselines_candidates_and_what_is_asked_for() {
        let spec = TrainSpec::forecast("test", ["s", "t", "v"]);
        let names =
            |spec: TrainSpec| spec.families().into_iter().map(Family::name).collect::<Vec<_>>();
        let lstm = spec.clone().with(|s| {
            s.model.kind = Kind::Of(Family::Lstm);
            s.model.candidates = Some(vec![]);
        });
        assert_eq!(names(lstm), ["last-value", "drift", "mean-of-three", "lstm"]);
        let monthly = spec.with(|s| {
            s.task.set_frequency(Frequency::Monthly);
            s.model.candidates = Some(vec![Family::Theta]);
        });
        assert_eq!(
            names(monthly),
            ["last-value", "drift", "seasonal-naive", "theta", "combination"]
        );
    }

    #[test]
    fn features_and_holidays_are_written_as_they_are_read() {
        let forms = [
            json!({ "features": [], "holidays": [] }),
            json!({ "features": ["tmax"], "holidays": "closed_days" }),
            json!({
                "features": ["tmax", { "column": "promotion", "known": "always" }],
                "holidays": ["2026-01-01"],
            }),
        ];
        for form in forms {
            let plain = TrainSpec::forecast("test", ["s", "t", "v"]);
            let mut value = serde_json::to_value(&plain).expect("JSON");
            value["task"]["features"] = form["features"].clone();
            value["task"]["holidays"] = form["holidays"].clone();
            let read: TrainSpec = serde_json::from_value(value.clone()).expect("a spec");
            assert_eq!(read.check(), Ok(()));
            let written = serde_json::to_value(&read).expect("JSON");
            assert_eq!(written["task"]["features"], form["features"]);
            let holidays = &written["task"]["holidays"];
            assert!(*holidays == form["holidays"] || read == plain, "{holidays}");
            let further = read.clone().with(|s| s.task.horizon = 7);
            assert_eq!(read.reads_like(&further), !read.task.knows_ahead());
        }
    }

    #[test]
    fn what_a_manifest_may_not_say_is_refused_on_a_card_in_the_same_words() {
        let spec = TrainSpec::forecast("test", ["s", "t", "v"]);
        assert_eq!(spec.check(), Ok(()));
        let large = spec.clone().with(|s| {
            s.task.horizon = 400;
            s.model.lstm = Lstm { hidden: 1_000_000, ..Lstm::default() };
            s.backtest.interval_level = 1.0;
        });
        let words = "`task.horizon` is 400; expected 1 to 366; `model.lstm.hidden` is 1000000; \
                     expected 1 to 512; `backtest.interval_level` is 1.0; expected more than 0 and \
                     less than 1";
        assert_eq!(large.check(), Err(words.to_owned()));
        let nowhere = spec.with(|s| s.model.lstm.learning_rate = f64::NAN);
        assert!(nowhere.check().expect_err("no number").contains("no finite number"));
    }
}
