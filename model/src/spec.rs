//! What to train: the part of the manifest that decides a model, and nothing else of it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::forecast::calendar::Frequency;
use crate::forecast::dataset::{Columns, Dataset, Gaps};
use crate::transform::Transform;

/// Bumped when the same configuration on the same data trains another model than before, or one that
/// is written in another way.
const TRAINING_VERSION: u32 = 7;

/// Families of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// The last value.
    LastValue,
    /// The last value plus the mean change.
    Drift,
    /// The mean of the last three values.
    MeanOfThree,
    /// The value one season before.
    SeasonalNaive,
    /// The dynamic optimised theta model.
    Theta,
    /// Exponential smoothing.
    ExponentialSmoothing,
    /// A seasonal autoregression per series.
    Autoregression,
    /// One autoregression for all series.
    PooledAutoregression,
    /// Gradient-boosted trees over all series.
    GradientBoosting,
    /// Long short-term memory networks over all series.
    Lstm,
    /// A weighted mean of other families.
    Combination,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 11] = [
        Self::LastValue,
        Self::Drift,
        Self::MeanOfThree,
        Self::SeasonalNaive,
        Self::Theta,
        Self::ExponentialSmoothing,
        Self::Autoregression,
        Self::PooledAutoregression,
        Self::GradientBoosting,
        Self::Lstm,
        Self::Combination,
    ];

    /// Its name in manifests, cards and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::LastValue => "last-value",
            Self::Drift => "drift",
            Self::MeanOfThree => "mean-of-three",
            Self::SeasonalNaive => "seasonal-naive",
            Self::Theta => "theta",
            Self::ExponentialSmoothing => "exponential-smoothing",
            Self::Autoregression => "autoregression",
            Self::PooledAutoregression => "pooled-autoregression",
            Self::GradientBoosting => "gradient-boosting",
            Self::Lstm => "lstm",
            Self::Combination => "combination",
        }
    }

    /// Whether it is a rule without anything fitted: what every model is compared with.
    pub fn is_baseline(self) -> bool {
        matches!(self, Self::LastValue | Self::Drift | Self::MeanOfThree | Self::SeasonalNaive)
    }
}

/// What the manifest asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Whatever the backtest finds best.
    Auto,
    /// This family.
    #[serde(untagged)]
    Of(Family),
}

/// How networks are trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LstmSpec {
    /// Observations that a network sees.
    pub context: usize,
    /// Width of the LSTM layer.
    pub hidden: usize,
    /// Passes over the training windows, at most.
    pub epochs: usize,
    /// Networks whose forecasts are averaged; each has its own seed.
    pub members: usize,
    /// Step size of AdamW at the start; it falls along a cosine.
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Windows per gradient step.
    pub batch: usize,
    /// Epochs without a better validation loss before training stops. The validation window is the
    /// newest `horizon` periods, which are then not trained on; without patience everything is.
    pub patience: Option<usize>,
    /// Windows per epoch, drawn anew for each; all of them without it.
    pub epoch_windows: Option<usize>,
}

/// How trees are grown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreesSpec {
    /// Trees.
    pub rounds: usize,
    /// Depth of a tree.
    pub depth: usize,
    /// Share of each tree's answer that is taken.
    pub learning_rate: f64,
    /// Training rows, drawn at random when there are more.
    pub rows_max: usize,
}

/// How a model is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BacktestSpec {
    /// Forecast origins, the newest ones of the data.
    pub origins: usize,
    /// Periods between two origins.
    pub stride: usize,
    /// Whether global models are trained anew at every origin; if not, once before the first.
    pub refit: bool,
    /// Nominal coverage of the prediction interval, in (0, 1).
    pub interval_level: f64,
}

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
    pub lstm: LstmSpec,
    /// Trees.
    pub trees: TreesSpec,
    /// Judgement.
    pub backtest: BacktestSpec,
}

/// Largest sizes of a configuration that is read from a card; a manifest's are no larger.
const HORIZON_MAX: usize = 366;
pub(crate) const CONTEXT_MAX: usize = 1_000;
const HIDDEN_MAX: usize = 512;
const MEMBERS_MAX: usize = 32;
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
        Family::ALL.into_iter().filter(wanted).collect()
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
            lstm: LstmSpec {
                context: 4,
                hidden: 6,
                epochs: 8,
                members: 2,
                learning_rate: 0.01,
                weight_decay: 1e-3,
                batch: 16,
                patience: None,
                epoch_windows: None,
            },
            trees: TreesSpec { rounds: 40, depth: 3, learning_rate: 0.1, rows_max: 10_000 },
            backtest: BacktestSpec { origins: 3, stride: 1, refit: true, interval_level: 0.9 },
        }
    }

    #[test]
    fn kinds_have_names() {
        let json = |kind: Kind| serde_json::to_string(&kind).expect("JSON");
        assert_eq!(
            (json(Kind::Auto), json(Kind::Of(Family::LastValue))),
            ("\"auto\"".into(), "\"last-value\"".into())
        );
        for family in Family::ALL {
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
