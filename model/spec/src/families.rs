//! `[model]`: which families compete, and their options.
//!
//! Adding a family is a line of the list here, a file with its options if it has any, and its
//! fitting in the crate of the models.

pub mod gradient_boosting;
pub mod lstm;
pub mod random_forest;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::defects::Defects;
use crate::tasks::forecast::{Frequency, Task};
use crate::transform::Transform;
use gradient_boosting::Trees;
use lstm::Lstm;
use random_forest::SeriesForest;

/// What a family is in a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A rule without anything fitted: what every model is compared with.
    Baseline,
    /// It competes when it is asked for.
    Candidate,
}

/// What a family can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Forecasts of series.
    Series,
    /// Classes of rows.
    Classes,
    /// Numbers of rows.
    Numbers,
}

/// The closed list of families: the name in manifests, cards and metrics, the role, what it does,
/// and, if it has options for forecasts, the key of `[model]` under which they stand, and their
/// type.
macro_rules! families {
    ($($(#[$doc:meta])* $family:ident = $name:literal, $role:ident of $($does:ident)+
        $(, $key:ident: $options:ty)?;)*) => {
        /// Families of models.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            Serialize, Deserialize, JsonSchema,
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

            /// Whether it is a rule without anything fitted: what every model is compared with.
            pub fn is_baseline(self) -> bool {
                match self { $(Self::$family => Role::$role == Role::Baseline,)* }
            }

            /// Whether it can do something.
            pub fn does(self, what: Does) -> bool {
                match self { $(Self::$family => [$(Does::$does),+].contains(&what),)* }
            }

            /// Every family that can do something.
            pub fn that(what: Does) -> impl Iterator<Item = Self> {
                Self::ALL.iter().copied().filter(move |family| family.does(what))
            }
        }

        /// With which model.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Model {
            /// The family that serves, or `auto`.
            pub kind: Kind,
            /// Families that compete in the backtest; every one that suits the frequency when
            /// absent.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub candidates: Option<Vec<Family>>,
            /// The scale on which models work and errors are compared.
            pub transform: Transform,
            /// Seed of everything random.
            pub seed: u64,
            $($(#[doc = concat!("Options of `", $name, "`.")] pub $key: $options,)?)*
        }

        impl Default for Model {
            fn default() -> Self {
                Self {
                    kind: Kind::Auto,
                    candidates: None,
                    transform: Transform::default(),
                    seed: 1,
                    $($($key: Default::default(),)?)*
                }
            }
        }
    };
}

families! {
    /// The last value.
    LastValue = "last-value", Baseline of Series;
    /// The last value plus the mean change.
    Drift = "drift", Baseline of Series;
    /// The mean of the last three values.
    MeanOfThree = "mean-of-three", Baseline of Series;
    /// The value one season before.
    SeasonalNaive = "seasonal-naive", Baseline of Series;
    /// The share of each class, or the mean, whatever is asked.
    Prior = "prior", Baseline of Classes Numbers;
    /// The best single column.
    BestColumn = "best-column", Baseline of Classes Numbers;
    /// The dynamic optimised theta model.
    Theta = "theta", Candidate of Series;
    /// Exponential smoothing.
    ExponentialSmoothing = "exponential-smoothing", Candidate of Series;
    /// A seasonal autoregression per series.
    Autoregression = "autoregression", Candidate of Series;
    /// A seasonal ARIMA model with orders chosen per series.
    Arima = "arima", Candidate of Series;
    /// The level of a cycle, such as a day of hours, times its shape.
    LevelShape = "level-shape", Candidate of Series;
    /// A regression: per series on lags, weekdays, holidays and features; of rows on columns.
    Linear = "linear", Candidate of Series Numbers;
    /// A regression of log odds on columns.
    Logistic = "logistic", Candidate of Classes;
    /// A damped trend whose parameters all series share.
    DampedTrend = "damped-trend", Candidate of Series;
    /// One autoregression for all series.
    PooledAutoregression = "pooled-autoregression", Candidate of Series;
    /// Gradient-boosted trees over all series, or over rows.
    GradientBoosting = "gradient-boosting", Candidate of Series Classes Numbers, trees: Trees;
    /// A forest of trees on drawn rows and columns: of all series, or of rows.
    RandomForest = "random-forest", Candidate of Series Classes Numbers, forest: SeriesForest;
    /// Long short-term memory networks over all series.
    Lstm = "lstm", Candidate of Series, lstm: Lstm;
    /// A weighted mean of other families.
    Combination = "combination", Candidate of Series;
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

impl JsonSchema for Kind {
    fn schema_name() -> Cow<'static, str> {
        "Kind".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Family::json_schema(generator);
        let auto = json!({
            "description": "Whatever the backtest finds best.",
            "type": "string",
            "const": "auto",
        });
        if let Some(Value::Array(words)) = schema.get_mut("oneOf") {
            words.insert(0, auto);
        }
        schema
    }
}

impl Model {
    /// The families that compete: when none are named, all that suit the frequency, and `linear`
    /// where there is something that it knows more than they do. Those for short series are for
    /// months and quarters: years have too few values for orders and trends of their own, and
    /// histories of days are long, which makes them slow. That of cycles is for days and hours,
    /// whose histories have many.
    pub fn candidates(&self, task: &Task) -> Vec<Family> {
        use Family::{
            Arima, Autoregression, DampedTrend, ExponentialSmoothing, GradientBoosting, LevelShape,
            Linear, Lstm, PooledAutoregression, Theta,
        };
        use Frequency::{Daily, HalfHourly, Hourly, Monthly, Quarterly, Weekdays, Yearly};
        // One series of yearly values is too short for a regression of its own.
        let autoregression =
            if task.frequency() == Yearly { PooledAutoregression } else { Autoregression };
        self.candidates.clone().unwrap_or_else(|| {
            let mut all = vec![Theta, ExponentialSmoothing, autoregression, GradientBoosting, Lstm];
            let short = matches!(task.frequency(), Quarterly | Monthly);
            all.extend([Arima, DampedTrend].into_iter().filter(|_| short));
            let cyclic = matches!(task.frequency(), Daily | Weekdays | Hourly | HalfHourly);
            all.extend(cyclic.then_some(LevelShape));
            all.extend(task.tells_of_days().then_some(Linear));
            all
        })
    }

    pub(crate) fn defects(&self, out: &mut Defects) {
        let candidates = self.candidates.iter().flatten();
        let combined = candidates.into_iter().any(|family| *family == Family::Combination);
        out.need("model.candidates", !combined, || {
            "`model.candidates` names families; a `combination` is made of them".to_owned()
        });
        let asked = match self.kind {
            Kind::Auto => None,
            Kind::Of(family) => Some(("model.kind".to_owned(), family)),
        };
        let listed = self.candidates.iter().flatten().enumerate();
        let listed = listed.map(|(at, family)| (format!("model.candidates[{at}]"), *family));
        for (key, family) in asked.into_iter().chain(listed) {
            out.need(&key, family.does(Does::Series), || {
                format!("`{key}` is `{}`, which cannot forecast", family.name())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::json_schema;
    use crate::shape::words;
    use crate::tasks::forecast::{Feature, Holidays, Known};

    #[test]
    fn linear_competes_unasked_where_there_are_features_or_holidays() {
        let competes = |change: fn(&mut Task)| {
            let mut task = Task::new("s", "t", "v");
            change(&mut task);
            Model::default().candidates(&task).contains(&Family::Linear)
        };
        assert!(!competes(|_| {}));
        assert!(competes(|task| task.features.push(Feature::new("heat", Known::Past))));
        assert!(competes(|task| task.holidays = Holidays::Table("days".into())));
        assert!(!competes(|task| {
            task.set_frequency(Frequency::ObservedDays);
            task.holidays = Holidays::Table("days".into());
        }));
    }

    #[test]
    fn families_for_short_series_compete_unasked_for_months_and_quarters() {
        let competes = |frequency: Frequency| {
            let mut task = Task::new("s", "t", "v");
            task.set_frequency(frequency);
            let all = Model::default().candidates(&task);
            [Family::Arima, Family::DampedTrend].map(|family| all.contains(&family))
        };
        assert_eq!([Frequency::Quarterly, Frequency::Monthly].map(competes), [[true; 2]; 2]);
        assert_eq!([Frequency::Yearly, Frequency::Hourly].map(competes), [[false; 2]; 2]);
    }

    #[test]
    fn level_and_shape_compete_unasked_where_histories_have_many_cycles() {
        let competes = |frequency: &Frequency| {
            let mut task = Task::new("s", "t", "v");
            task.set_frequency(*frequency);
            Model::default().candidates(&task).contains(&Family::LevelShape)
        };
        use Frequency::{Daily, HalfHourly, Hourly, Weekdays};
        let found: Vec<Frequency> = Frequency::ALL.into_iter().filter(competes).collect();
        assert_eq!(found, [Daily, Weekdays, Hourly, HalfHourly]);
    }

    #[test]
    fn kinds_are_auto_and_every_family() {
        let schema = json_schema::<Kind>();
        let names: Vec<&str> = words(&schema).map(|(word, _)| word).collect();
        let families = Family::ALL.iter().map(|family| family.name());
        assert!(std::iter::once("auto").chain(families).eq(names.iter().copied()));
        for name in names {
            let read: Kind = serde_json::from_value(json!(name)).expect("a kind");
            assert_eq!(serde_json::to_value(read).expect("JSON"), json!(name));
        }
    }
}
