//! The model card: what a model is, what it was trained on, and how wrong it usually is.
//!
//! The head is the same for every task; a task adds its section.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::drift::Reference;
use crate::task::Task;
use steppe_spec::{Family, Training};

/// Version of the artifact's layout; a loader refuses any other.
pub const ARTIFACT_SCHEMA_VERSION: u32 = 9;

/// How far from 1 the sum of shares may be.
const WEIGHTS_ROUNDING: f64 = 1e-6;

/// A model inside of an artifact: one, or the parts of a combination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The family.
    pub family: Family,
    /// Its share of the answer; all shares add up to 1.
    pub weight: f64,
    /// What the family keeps in the card; none for one that learns nothing.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub record: Value,
}

/// `card.json` of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(serialize = "T::Section: Serialize", deserialize = "T::Section: DeserializeOwned"))]
pub struct ModelCard<T: Task> {
    /// [`ARTIFACT_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// [`Task::NAME`].
    pub task: String,
    /// Pipeline and family: `marriages-lstm`.
    pub id: String,
    /// Family of the model.
    pub family: Family,
    /// What the model consists of; never empty.
    pub members: Vec<Member>,
    /// How it was trained.
    pub spec: T::Spec,
    /// What only cards of this task say.
    #[serde(flatten)]
    pub section: T::Section,
    /// What its answers and their questions looked like in the trials; drift is measured against
    /// it.
    pub reference: Reference,
    /// SHA-256 of `weights.safetensors`, in hexadecimal.
    pub weights_sha256: String,
}

impl<T: Task> ModelCard<T> {
    /// Checks everything of a card that was read on which answers rest. That its hash is right says
    /// only that it is what somebody wrote.
    pub fn check(&self) -> Result<(), String> {
        if self.task != T::NAME {
            return Err(format!("the card is of a model for `{}`, not `{}`", self.task, T::NAME));
        }
        self.spec.check()?;
        let id = format!("{}-{}", self.spec.pipeline(), self.family.name());
        if self.id != id {
            return Err(format!("the card's id is not `{id}`"));
        }
        self.check_members()?;
        T::check_section(&self.section, &self.spec)?;
        self.reference.check(&T::statistics_of(&self.section))
    }

    fn check_members(&self) -> Result<(), String> {
        let combined = self.family == Family::Combination;
        if self.members.is_empty() || self.members.len() > Family::ALL.len() {
            return Err(format!("the card names {} members", self.members.len()));
        }
        if !combined && (self.members.len() != 1 || self.members[0].family != self.family) {
            return Err(format!("the only member of a `{}` is itself", self.family.name()));
        }
        let sum: f64 = self.members.iter().map(|m| m.weight).sum();
        let share = |m: &Member| m.weight >= 0.0 && m.weight <= 1.0 + WEIGHTS_ROUNDING;
        if !self.members.iter().all(share) || (sum - 1.0).abs() > WEIGHTS_ROUNDING {
            return Err(format!("the shares of the members add up to {sum}, not to 1"));
        }
        Ok(())
    }

    /// The model that the card is of, from its members, in the card's order; none where several are
    /// no model.
    pub(crate) fn assembled(&self, mut models: Vec<T::Model>) -> Option<T::Model> {
        if self.family != Family::Combination && models.len() == 1 {
            return models.pop();
        }
        let weights = self.members.iter().map(|member| member.weight);
        T::combined(weights.zip(models).collect(), &self.spec)
    }

    /// What the model consists of, on one line.
    pub fn consists(&self) -> String {
        let about = |member: &Member| {
            let share = match self.members.len() {
                1 => String::new(),
                _ => format!("{:.0} % ", member.weight * 100.0),
            };
            let about = T::recipe(member.family).and_then(|recipe| (recipe.about)(&self.spec));
            let about = about.map_or_else(String::new, |about| format!(" ({about})"));
            format!("{share}{}{about}", member.family.name())
        };
        self.members.iter().map(about).collect::<Vec<_>>().join(", ")
    }
}
