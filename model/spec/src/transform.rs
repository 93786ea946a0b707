//! The scale on which models work and errors are compared.

use serde::{Deserialize, Serialize};

/// On a scale on which 1 is added before logarithms, nothing smaller can be told from 0.
const NOTHING: f64 = 1e-9;

/// A monotone map of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// `ln(1 + v)`: relative changes count alike for small and large series. Values must not be
    /// negative.
    #[default]
    Log,
    /// Values as they are; they may be negative.
    None,
}

impl Transform {
    /// From units of the target.
    pub fn apply(self, value: f64) -> f64 {
        match self {
            Self::Log => value.ln_1p(),
            Self::None => value,
        }
    }

    /// Back to units of the target.
    pub fn invert(self, value: f64) -> f64 {
        match self {
            Self::Log => self.bound(value.exp_m1()),
            Self::None => value,
        }
    }

    /// A whole history, from units of the target.
    pub fn all(self, values: &[f64]) -> Vec<f64> {
        values.iter().map(|&v| self.apply(v)).collect()
    }

    /// Whether the target may be negative.
    pub fn signed(self) -> bool {
        self == Self::None
    }

    /// A forecast in units of the target, at least 0 where the target cannot be negative.
    pub fn bound(self, value: f64) -> f64 {
        // Not `max`, which takes 0 for what is not a number. What is left of 0 after a way through
        // logarithms is 0, not a count of 10⁻¹³.
        if self.signed() || value > NOTHING || value.is_nan() { value } else { 0.0 }
    }
}
