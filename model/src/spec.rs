//! What to train: the part of the manifest that decides a model, and nothing else of it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use steppe_spec::{
    Backtest, CONTEXT_MAX, Family, Gaps, HIDDEN_MAX, Kind, Lstm, MEMBERS_MAX, Transform, Trees,
};

use crate::forecast::calendar::Frequency;
use crate::forecast::dataset::{Columns, Dataset};

/// Bumped when the same configuration on the same data trains another model than before, or one that
/// is written in another way.
const TRAINING_VERSION: u32 = 7;

/// Configuration of one training. Two equal specs on equal data give equal artifacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSpec {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Column that names the series: `region`.
    pub series_column: String,
    /// Column of the period: `year`.
    pub time_column: String,
    /// Column that is forecast: `marriages`.
    pub target_column: String,
    /// Numeric columns known for the future too.
    pub covariates: Vec<String>,
    /// Numeric columns that do not change in time.
    pub statics: Vec<String>,
    /// How often there is a value.
    pub frequency: Frequency,
    /// Days without values that are still to come; of observed days only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<jiff::civil::Date>,
    /// What happens to periods without a value.
    pub gaps: Gaps,
    /// The scale on which models work.
    pub transform: Transform,
    /// The family to serve.
    pub kind: Kind,
    /// Families that compete when `kind` is auto, and that a combination weighs.
    pub candidates: Vec<Family>,
    /// Steps ahead.
    pub horizon: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Networks.
    pub lstm: Lstm,
    /// Trees.
    pub trees: Trees,
    /// Judgement.
    pub backtest: Backtest,
}

/// Largest sizes of a configuration that is read from a card; a manifest's are no larger.
const HORIZON_MAX: usize = 366;
const COLUMNS_MAX: usize = 200;

impl TrainSpec {
    /// Checks a configuration that was read: whatever is built by it has a bounded size.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            ("horizon", self.horizon, 1, HORIZON_MAX),
            ("context", self.lstm.context, 1, CONTEXT_MAX),
            ("hidden", self.lstm.hidden, 1, HIDDEN_MAX),
            ("members", self.lstm.members, 0, MEMBERS_MAX),
            ("covariates", self.covariates.len(), 0, COLUMNS_MAX),
            ("statics", self.statics.len(), 0, COLUMNS_MAX),
        ];
        for (what, size, low, high) in sizes {
            if !(low..=high).contains(&size) {
                return Err(format!("`{what}` is {size}; expected {low} to {high}"));
            }
        }
        let level = self.backtest.interval_level;
        if level > 0.0 && level < 1.0 {
            Ok(())
        } else {
            Err(format!("`interval_level` is {level}; expected a share between 0 and 1"))
        }
    }

    /// Periods between two origins of the backtest.
    pub fn stride(&self) -> usize {
        self.backtest.stride.unwrap_or(self.horizon).max(1)
    }

    /// How to read a table.
    pub fn columns(&self) -> Columns {
        Columns {
            series: self.series_column.clone(),
            time: self.time_column.clone(),
            target: self.target_column.clone(),
            covariates: self.covariates.clone(),
            statics: self.statics.clone(),
            frequency: self.frequency,
            holidays: self.holidays.clone(),
            gaps: self.gaps,
            signed: self.transform.signed(),
        }
    }

    /// Names this configuration on `data`: another of either has another name, and trains another
    /// model.
    pub fn key(&self, data: &Dataset) -> String {
        let text = format!(
            "{TRAINING_VERSION}\n{}\n{}",
            serde_json::to_string(self).expect("a record of plain values"),
            data.fingerprint()
        );
        hex::encode(Sha256::digest(text))[..16].to_owned()
    }

    /// Families that the backtest compares: the baselines, the candidates, what is asked for, and
    /// the combination when there is something to combine.
    pub fn families(&self) -> Vec<Family> {
        let asked =
            |family: &Family| self.kind == Kind::Of(*family) || self.candidates.contains(family);
        let seasonal = self.frequency.season() > 1;
        let wanted = |family: &Family| match family {
            Family::SeasonalNaive => seasonal || asked(family),
            Family::MeanOfThree => !seasonal || asked(family),
            Family::Combination => asked(family) || self.kind == Kind::Auto,
            family => family.is_baseline() || asked(family),
        };
        Family::ALL.iter().copied().filter(wanted).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A small spec for tests.
    pub(crate) fn spec() -> TrainSpec {
        TrainSpec {
            pipeline: "test".into(),
            series_column: "s".into(),
            time_column: "t".into(),
            target_column: "v".into(),
            covariates: vec![],
            statics: vec![],
            frequency: Frequency::Yearly,
            holidays: vec![],
            gaps: Gaps::default(),
            transform: Transform::Log,
            kind: Kind::Of(Family::Lstm),
            candidates: vec![],
            horizon: 2,
            seed: 5,
            lstm: Lstm {
                context: 4,
                hidden: 6,
                epochs: 8,
                members: 2,
                learning_rate: 0.01,
                weight_decay: 1e-3,
                batch: 16,
                patience: None,
                epoch_windows: usize::MAX,
            },
            trees: Trees { rounds: 40, depth: 3, learning_rate: 0.1, rows_max: 10_000 },
            backtest: Backtest { origins: 3, stride: Some(1), refit: true, interval_level: 0.9 },
        }
    }

    #[test]
    fn kinds_have_names() {
        let json = |kind: Kind| serde_json::to_string(&kind).expect("JSON");
        assert_eq!(
            (json(Kind::Auto), json(Kind::Of(Family::LastValue))),
            ("\"auto\"".into(), "\"last-value\"".into())
        );
        for &family in Family::ALL {
            assert_eq!(
                serde_json::from_str::<Kind>(&format!("\"{}\"", family.name())).expect("a kind"),
                Kind::Of(family)
            );
        }
    }

    #[test]
    fn a_backtest_compares_baselines_candidates_and_what_is_asked_for() {
        let names =
            |spec: TrainSpec| spec.families().into_iter().map(Family::name).collect::<Vec<_>>();
        assert_eq!(names(spec()), ["last-value", "drift", "mean-of-three", "lstm"]);
        let monthly = TrainSpec {
            frequency: Frequency::Monthly,
            kind: Kind::Auto,
            candidates: vec![Family::Theta],
            ..spec()
        };
        assert_eq!(
            names(monthly),
            ["last-value", "drift", "seasonal-naive", "theta", "combination"]
        );
    }
}
