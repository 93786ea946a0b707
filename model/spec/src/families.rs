//! `[model]`: which families compete, and their options.
//!
//! Adding a family is a line of the list here, a file with its options if it has any, and its
//! fitting in the crate of the models.

pub mod gradient_boosting;
pub mod lstm;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use crate::defects::Defects;
use crate::tasks::forecast::Frequency;
use crate::transform::Transform;
use gradient_boosting::Trees;
use lstm::Lstm;

/// The closed list of families, with the names that manifests, cards and metrics have.
macro_rules! families {
    ($($(#[$doc:meta])* $family:ident = $name:literal;)*) => {
        /// Families of models.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Family {
            $($(#[$doc])* #[serde(rename = $name)] $family,)*
        }

        impl Family {
            /// Every family.
            pub const ALL: &[Self] = &[$(Self::$family,)*];

            /// Its name in manifests, cards and metrics.
            pub fn name(self) -> &'static str {
                match self { $(Self::$family => $name,)* }
            }
        }

        /// What `kind` may say.
        const KINDS: &[&str] = &["auto", $($name,)*];
    };
}

families! {
    /// The last value.
    LastValue = "last-value";
    /// The last value plus the mean change.
    Drift = "drift";
    /// The mean of the last three values.
    MeanOfThree = "mean-of-three";
    /// The value one season before.
    SeasonalNaive = "seasonal-naive";
    /// The dynamic optimised theta model.
    Theta = "theta";
    /// Exponential smoothing.
    ExponentialSmoothing = "exponential-smoothing";
    /// A seasonal autoregression per series.
    Autoregression = "autoregression";
    /// One autoregression for all series.
    PooledAutoregression = "pooled-autoregression";
    /// Gradient-boosted trees over all series.
    GradientBoosting = "gradient-boosting";
    /// Long short-term memory networks over all series.
    Lstm = "lstm";
    /// A weighted mean of other families.
    Combination = "combination";
}

impl Family {
    /// Whether it is a rule without anything fitted: what every model is compared with.
    pub fn is_baseline(self) -> bool {
        matches!(self, Self::LastValue | Self::Drift | Self::MeanOfThree | Self::SeasonalNaive)
    }
}

/// What the manifest asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Whatever the backtest finds best.
    Auto,
    /// This family.
    #[serde(untagged)]
    Of(Family),
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == "auto" {
            return Ok(Self::Auto);
        }
        let family = Family::ALL.iter().find(|family| family.name() == name);
        family
            .map(|family| Self::Of(*family))
            .ok_or_else(|| D::Error::unknown_variant(&name, KINDS))
    }
}

/// With which model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// The family, or `auto`.
    pub kind: Kind,
    /// Families that compete in the backtest; every one that suits the frequency when absent.
    pub candidates: Option<Vec<Family>>,
    /// The scale on which models work.
    pub transform: Transform,
    /// Seed of everything random.
    pub seed: u64,
    /// Networks.
    pub lstm: Lstm,
    /// Trees.
    pub trees: Trees,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            kind: Kind::Auto,
            candidates: None,
            transform: Transform::default(),
            seed: 1,
            lstm: Lstm::default(),
            trees: Trees::default(),
        }
    }
}

impl Model {
    /// The families that compete.
    pub fn candidates(&self, frequency: Frequency) -> Vec<Family> {
        use Family::{
            Autoregression, ExponentialSmoothing, GradientBoosting, Lstm, PooledAutoregression,
            Theta,
        };
        // One series of yearly values is too short for a regression of its own.
        let linear =
            if frequency == Frequency::Yearly { PooledAutoregression } else { Autoregression };
        self.candidates
            .clone()
            .unwrap_or_else(|| vec![Theta, ExponentialSmoothing, linear, GradientBoosting, Lstm])
    }

    pub(crate) fn defects(&self, out: &mut Defects) {
        let candidates = self.candidates.iter().flatten();
        let combined = candidates.into_iter().any(|family| *family == Family::Combination);
        out.need("model.candidates", !combined, || {
            "`model.candidates` names families; a `combination` is made of them".to_owned()
        });
        self.lstm.defects(out);
        self.trees.defects(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_auto_and_every_family() {
        for name in KINDS {
            let read: Kind =
                toml::from_str::<Model>(&format!("kind = \"{name}\"")).expect("a kind").kind;
            let family = Family::ALL.iter().find(|family| family.name() == *name);
            assert_eq!(read, family.map_or(Kind::Auto, |family| Kind::Of(*family)));
        }
        let error = toml::from_str::<Model>("kind = \"lstmm\"").expect_err("unknown").to_string();
        assert!(error.contains("unknown variant `lstmm`, expected one of `auto`, `last-value`"));
    }
}
