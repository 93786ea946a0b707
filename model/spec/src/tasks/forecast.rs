//! Forecasts: the next values of each series.

mod decide;
mod feature;
mod frequency;
mod holidays;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::column::{ColumnType, Columns};
use crate::defects::Defects;
use crate::families::Model;
use crate::gaps::Gaps;
use crate::rules::{PartialPeriod, Total};
pub use decide::Decide;
pub use feature::{Feature, Known};
pub use frequency::{DayCalendar, Frequency, Spacing};
pub use holidays::Holidays;

/// What is forecast, of which table, and with which model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForecastEntry {
    /// Name of the task: lower-case letters, digits and inner hyphens.
    pub name: String,
    /// The input or table that it is about; the only input when absent.
    pub table: Option<String>,
    /// What is predicted.
    #[serde(flatten)]
    pub task: Task,
    /// Names of series whose records are rejected, such as the total of the others.
    #[serde(default)]
    pub leave_out: Vec<String>,
    /// Whether an incomplete newest period is looked for, and from which share on.
    pub partial_period: Option<PartialPeriod>,
    /// What happens to periods without a value.
    #[serde(default)]
    pub gaps: Gaps,
    /// What happens when a series is the sum of all others, so that sums count everything twice.
    #[serde(default)]
    pub total: Total,
    /// With which model.
    #[serde(default)]
    pub model: Model,
    /// How models are judged: by forecasts of the past.
    #[serde(default)]
    pub backtest: Backtest,
}

/// The kind of a task about series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ForecastKind {
    /// The next values of each series.
    #[default]
    Forecast,
}

/// What is forecast.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The kind of task.
    #[serde(default)]
    pub kind: ForecastKind,
    /// Column that names the series, of the type `string`.
    pub series: String,
    /// Column of the period: an `int` for years, otherwise a `string`.
    pub time: String,
    /// Column that is forecast, a number.
    pub target: String,
    /// How often there is a value.
    #[serde(default)]
    pub frequency: Spacing,
    /// Which days have values; of daily data only.
    #[serde(default)]
    pub calendar: DayCalendar,
    /// Holidays: dates such as `2026-01-01`, or the name of a table with a column `day`. With
    /// `calendar = "as-observed"` they are days to come that will have no values; otherwise models
    /// may use them, so those to come belong to them, too.
    #[serde(default, skip_serializing_if = "Holidays::is_none")]
    pub holidays: Holidays,
    /// Periods ahead.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 366))]
    pub horizon: usize,
    /// Numeric columns beside the target: names, or `{ column = "promotion", known = "always" }`.
    /// `known` is `past` (when the target of the period is, so that models see it late), `forecast`
    /// (before; backtests take the table's values as if they had been forecast) or `always` (as a
    /// calendar is). Records of periods to come have the last two, and no target.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub features: Vec<Feature>,
    /// Numeric columns that do not change in time.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub static_features: Vec<String>,
    /// What is decided by forecasts: with the costs of a unit short and a unit over, they answer
    /// also how much to procure, the quantile that costs least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decide: Option<Decide>,
}

/// How models are judged: by forecasts of the past.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backtest {
    /// Forecast origins.
    #[schemars(range(min = 1, max = 1_000))]
    pub origins: usize,
    /// Periods between two origins; the horizon when absent.
    #[schemars(range(min = 1, max = 10_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stride: Option<usize>,
    /// Whether models that learn from all series are trained anew at every origin, or once before
    /// the first.
    pub refit: bool,
    /// Nominal coverage of the prediction interval.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub interval_level: f64,
    /// What the width of the interval follows: the `changes` of a series, or its `volatility`, in
    /// which the newest changes count most; for series that are calm and wild by turns, as prices.
    #[serde(skip_serializing_if = "Width::is_of_changes")]
    pub interval_width: Width,
}

/// What the width of a prediction interval follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Width {
    /// How large changes of a series have been.
    #[default]
    Changes,
    /// How large its newest changes have been.
    Volatility,
}

impl Width {
    /// Whether it is the usual one.
    pub fn is_of_changes(&self) -> bool {
        *self == Self::Changes
    }
}

impl Default for Backtest {
    fn default() -> Self {
        Self {
            origins: 8,
            stride: None,
            refit: true,
            interval_level: 0.9,
            interval_width: Width::default(),
        }
    }
}

fn one() -> usize {
    1
}

impl Task {
    /// Forecasts of the next year of `target`.
    pub fn new(series: &str, time: &str, target: &str) -> Self {
        Self {
            kind: ForecastKind::default(),
            series: series.to_owned(),
            time: time.to_owned(),
            target: target.to_owned(),
            frequency: Spacing::default(),
            calendar: DayCalendar::default(),
            holidays: Holidays::None,
            horizon: one(),
            features: vec![],
            static_features: vec![],
            decide: None,
        }
    }

    /// How often there is a value, and on which days.
    pub fn frequency(&self) -> Frequency {
        Frequency::of(self.frequency, self.calendar)
    }

    /// Whether periods to come have values of features.
    pub fn knows_ahead(&self) -> bool {
        self.features.iter().any(|feature| feature.known.ahead())
    }

    /// Whether it says more of periods than their values: features, or holidays that are days like
    /// others.
    pub fn tells_of_days(&self) -> bool {
        !self.features.is_empty() || self.has_holidays()
    }

    /// Whether there are holidays that are days like others, of which models may know.
    pub fn has_holidays(&self) -> bool {
        self.calendar != DayCalendar::AsObserved && !self.holidays.is_none()
    }

    /// Says how often there is a value, and on which days.
    pub fn set_frequency(&mut self, frequency: Frequency) {
        (self.frequency, self.calendar) = frequency.keys();
    }

    /// What is wrong with it whatever the data are.
    pub(crate) fn defects(&self, out: &mut Defects) {
        let plain = self.calendar == DayCalendar::EveryDay;
        out.need("task.calendar", plain || self.frequency == Spacing::Daily, || {
            "`task.calendar` says which days have values, so it needs `task.frequency = \"daily\"`"
                .to_owned()
        });
        let nameless = matches!(&self.holidays, Holidays::Table(name) if name.is_empty());
        out.need("task.holidays", !nameless, || {
            "`task.holidays` names no table; expected its name, or dates".to_owned()
        });
        if let Some(decide) = self.decide {
            decide.defects(out);
        }
        let mut named = BTreeSet::new();
        for (key, feature) in self.features() {
            let used = [&self.target, &self.time].contains(&feature);
            out.need(&key, !used, || {
                format!("`{feature}` cannot be a feature: it is the target or the time")
            });
            out.need(key, named.insert(feature), || {
                format!("the feature `{feature}` is declared twice")
            });
        }
    }

    /// What is wrong with it as a task about these columns of `table`.
    pub(crate) fn column_defects(&self, table: &str, columns: &Columns, out: &mut Defects) {
        use ColumnType::{Date, Int, String, Timestamp};
        let (times, said): (&[ColumnType], _) = match self.frequency {
            Spacing::Yearly => (&[Int], "`int`, whole years"),
            Spacing::Hourly | Spacing::HalfHourly => {
                (&[Timestamp, String], "`timestamp`, or `string` with times in ISO 8601")
            }
            _ => (&[Date, String], "`date`, or `string` with dates in ISO 8601"),
        };
        if let Some(column) = columns.known(table, "task.series", &self.series, out) {
            out.need("task.series", column.kind == String, || {
                format!("the series column `{}` must have the type `string`", self.series)
            });
        }
        if let Some(column) = columns.known(table, "task.time", &self.time, out) {
            out.need("task.time", times.contains(&column.kind), || {
                format!("the time column `{}` must have the type {said}", self.time)
            });
        }
        if let Some(column) = columns.known(table, "task.target", &self.target, out) {
            out.need("task.target", column.kind.is_number(), || {
                format!("the target column `{}` must be a number", self.target)
            });
        }
        for (key, feature) in self.features() {
            let Some(column) = columns.known(table, &key, feature, out) else { continue };
            out.need(&key, column.kind.is_number(), || {
                format!("the feature `{feature}` must be a number")
            });
        }
    }

    fn features(&self) -> impl Iterator<Item = (String, &String)> {
        let key = |list: &str, at: usize| format!("task.{list}[{at}]");
        let dynamic = self.features.iter().enumerate();
        let fixed = self.static_features.iter().enumerate();
        dynamic
            .map(move |(at, feature)| (key("features", at), &feature.column))
            .chain(fixed.map(move |(at, name)| (key("static_features", at), name)))
    }
}
