//! The name of a training: what it is made by, and of which data.

use sha2::{Digest, Sha256};
use steppe_spec::Training;

use crate::task::Data;

/// Bumped when the same configuration on the same data trains another model than before, or one
/// that is written in another way.
const TRAINING_VERSION: u32 = 15;

/// Names a configuration on `data`: another of either has another name, and trains another model.
pub fn training_key(spec: &impl Training, data: &impl Data) -> String {
    let text = format!(
        "{TRAINING_VERSION}\n{}\n{}",
        serde_json::to_string(spec).expect("a record of plain values"),
        data.fingerprint()
    );
    hex::encode(Sha256::digest(text))[..16].to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use steppe_spec::{Backtest, Family, Kind, Lstm, TrainSpec, Trees};

    use super::*;

    /// A small spec for tests.
    pub(crate) fn spec() -> TrainSpec {
        TrainSpec::forecast("test", ["s", "t", "v"]).with(|s| {
            s.task.horizon = 2;
            s.model.kind = Kind::Of(Family::Lstm);
            s.model.candidates = Some(vec![]);
            s.model.seed = 5;
            s.model.lstm = Lstm {
                context: 4,
                hidden: 6,
                epochs: 8,
                members: 2,
                learning_rate: 0.01,
                weight_decay: 1e-3,
                batch: 16,
                ..Lstm::default()
            };
            s.model.trees = Trees { rounds: 40, depth: 3, learning_rate: 0.1, rows_max: 10_000 };
            s.backtest = Backtest { origins: 3, stride: Some(1), ..Backtest::default() };
        })
    }

    #[test]
    fn another_configuration_is_another_training() {
        let data = crate::Dataset::new(steppe_spec::Frequency::Yearly, vec![]);
        let (one, other) = (spec(), spec().with(|s| s.model.seed = 6));
        assert_eq!(training_key(&one, &data), training_key(&one.clone(), &data));
        assert_ne!(training_key(&one, &data), training_key(&other, &data));
    }
}
