//! Forecasts: the next values of each series.

mod frequency;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TaskKind;
use crate::column::{ColumnType, Columns};
use crate::defects::Defects;
pub use frequency::{DayCalendar, Frequency, Spacing};

/// What is forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The kind of task.
    #[serde(default)]
    pub kind: TaskKind,
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
    /// Days to come that will have no values: `2026-01-01`; with `calendar = "as-observed"` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<Date>,
    /// Periods ahead.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 366))]
    pub horizon: usize,
    /// Numeric columns known for the future, too: records of future periods have them and no
    /// target.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub covariates: Vec<String>,
    /// Numeric columns that do not change in time.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub static_features: Vec<String>,
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
}

impl Default for Backtest {
    fn default() -> Self {
        Self { origins: 8, stride: None, refit: true, interval_level: 0.9 }
    }
}

fn one() -> usize {
    1
}

impl Task {
    /// Forecasts of the next year of `target`.
    pub fn new(series: &str, time: &str, target: &str) -> Self {
        Self {
            kind: TaskKind::default(),
            series: series.to_owned(),
            time: time.to_owned(),
            target: target.to_owned(),
            frequency: Spacing::default(),
            calendar: DayCalendar::default(),
            holidays: vec![],
            horizon: one(),
            covariates: vec![],
            static_features: vec![],
        }
    }

    /// How often there is a value, and on which days.
    pub fn frequency(&self) -> Frequency {
        Frequency::of(self.frequency, self.calendar)
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
        let observed = self.calendar == DayCalendar::AsObserved;
        out.need("task.holidays", observed || self.holidays.is_empty(), || {
            "`task.holidays` needs `task.calendar = \"as-observed\"`".to_owned()
        });
        for (key, feature) in self.features() {
            let used = [&self.target, &self.time].contains(&feature);
            out.need(key, !used, || {
                format!("`{feature}` cannot be a feature: it is the target or the time")
            });
        }
    }

    /// What is wrong with it as a task about these columns of `table`.
    pub(crate) fn column_defects(&self, table: &str, columns: &Columns, out: &mut Defects) {
        use ColumnType::{Date, Int, String, Timestamp};
        let (times, said): (&[ColumnType], _) = match self.frequency {
            Spacing::Yearly => (&[Int], "`int`, whole years"),
            Spacing::Hourly => {
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
        let lists = [("covariates", &self.covariates), ("static_features", &self.static_features)];
        lists.into_iter().flat_map(|(key, names)| {
            let numbered = names.iter().enumerate();
            numbered.map(move |(at, name)| (format!("task.{key}[{at}]"), name))
        })
    }
}
