//! The models of a pipeline: which one is in service, since when and why, and what each training
//! found.

use serde::{Deserialize, Serialize};

use crate::predict::{ModelPointer, ModelRef};

/// Models that a pointer remembers beside the one in service.
const REMEMBERED_MAX: usize = 50;
/// Version of the training record's schema.
pub const TRAINING_SCHEMA_VERSION: u32 = 2;

/// Who put a model into service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Promoter {
    /// `cargo xtask deploy`.
    #[default]
    Deploy,
    /// A training in the stack, after a contest.
    Training,
    /// Somebody, with `cargo xtask model promote` or `rollback`.
    Person,
}

/// A model's time in service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The model.
    #[serde(flatten)]
    pub model: ModelPointer,
    /// When it began, in RFC 3339.
    #[serde(default)]
    pub since: String,
    /// Who put it into service.
    #[serde(default)]
    pub by: Promoter,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// `models/<pipeline>/current.json`: the model in service and those before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InService {
    /// The model in service.
    #[serde(flatten)]
    pub current: Service,
    /// The models before it, newest first.
    #[serde(default)]
    pub previous: Vec<Service>,
}

impl InService {
    /// `next` in service, after whatever was before.
    pub fn promote(before: Option<Self>, next: Service) -> Self {
        let mut previous = before.map_or_else(Vec::new, |b| [vec![b.current], b.previous].concat());
        previous.truncate(REMEMBERED_MAX);
        Self { current: next, previous }
    }

    /// The model before the one in service, back in service; `None` when there was none.
    pub fn roll_back(&self, since: String) -> Option<Self> {
        let (before, rest) = self.previous.split_first()?;
        let reason = format!("rolled back from {}", self.current.model.version);
        let current = Service { model: before.model.clone(), since, by: Promoter::Person, reason };
        Some(Self { current, previous: rest.to_vec() })
    }
}

/// `models/<pipeline>/trainings/<key>.json`: what became of one configuration on one set of data.
/// Both cards lie beside it, under their models' versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// [`TRAINING_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Names configuration and data.
    pub key: String,
    /// When it ended, in RFC 3339.
    pub time: String,
    /// Who asked: an execution, or `deploy`.
    pub execution: String,
    /// The newest that the data have: a period, or how many rows.
    pub observed_until: String,
    /// The model that was trained.
    pub challenger: ModelRef<Scores>,
    /// The model that was in service, if any.
    pub champion: Option<ModelRef<Scores>>,
    /// How the two compared, if they could be compared.
    pub contest: Option<Contest>,
    /// Whether the challenger was put into service.
    pub promoted: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Two models on the same cases, none of which either had seen the answer of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contest {
    /// What made the comparison fair.
    pub basis: Basis,
    /// When the cases were asked: of forecasts the last periods known, oldest first.
    pub origins: Vec<String>,
    /// Answers that were compared.
    pub cases: usize,
    /// The model in service.
    pub champion: Scores,
    /// The model that was trained.
    pub challenger: Scores,
    /// Probability of a difference at least this large when there is none: of forecasts by
    /// Wilcoxon's signed-rank test over the series' mean errors, of rows by a paired bootstrap.
    /// None for too few.
    pub p_value: Option<f64>,
}

/// What makes a contest fair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The champion as it is, against the challenger's family fitted without the answers, over
    /// cases that came after the champion's training: periods, or rows.
    NewPeriods,
    /// No such cases: both configurations, fitted anew without the answers.
    Configurations,
}

/// How well a model did, by one measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What people call the measure: `MASE`.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// How well a model did: the deciding score first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scores(pub Vec<Score>);

impl Scores {
    /// The value of a measure.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|score| score.name == name).map(|score| score.value)
    }

    /// The score that decides.
    pub fn deciding(&self) -> Option<&Score> {
        self.0.first()
    }
}

/// What a training answers to the state machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingOutcome {
    /// Version of the model in service now: forecasts that follow are made by it.
    pub in_service: String,
    /// Whether this training put it there.
    pub promoted: bool,
    /// One sentence for people.
    pub summary: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(version: &str) -> Service {
        let model = ModelPointer { version: version.into(), card_sha256: "0".into() };
        Service {
            model,
            since: "2026-01-01T00:00:00Z".into(),
            by: Promoter::Training,
            reason: "better".into(),
        }
    }

    #[test]
    fn a_rollback_goes_back_one_model_at_a_time() {
        let three = ["a", "b", "c"]
            .into_iter()
            .fold(None, |before, v| Some(InService::promote(before, service(v))))
            .expect("three");
        assert_eq!(three.current.model.version, "c");
        let two = three.roll_back("later".into()).expect("two are left");
        assert_eq!(
            (two.current.model.version.as_str(), two.current.by, two.previous.len()),
            ("b", Promoter::Person, 1)
        );
        assert_eq!(two.current.reason, "rolled back from c");
        let one = two.roll_back("later".into()).expect("one is left");
        assert_eq!(
            (one.current.model.version.as_str(), one.roll_back("later".into())),
            ("a", None)
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let many = (0..200)
            .fold(None, |before, n| Some(InService::promote(before, service(&n.to_string()))))
            .expect("many");
        assert_eq!(
            (many.previous.len(), many.previous[0].model.version.as_str()),
            (REMEMBERED_MAX, "198")
        );
    }

    #[test]
    fn a_bare_pointer_is_read_as_deployed() {
        let bare: InService =
            serde_json::from_str(r#"{"version":"a","card_sha256":"0"}"#).expect("a pointer");
        assert_eq!((bare.current.by, bare.previous.len()), (Promoter::Deploy, 0));
        let text =
            serde_json::to_string(&InService::promote(Some(bare), service("b"))).expect("JSON");
        assert_eq!(
            serde_json::from_str::<ModelPointer>(&text).expect("also a plain pointer").version,
            "b"
        );
    }
}
