//! Forecasts: the next values of each series.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::TaskKind;
use crate::defects::Defects;
use crate::input::ColumnType;
use crate::manifest::Manifest;

/// What is forecast.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The kind of task.
    #[serde(default)]
    pub kind: TaskKind,
    /// Column that names the series.
    pub series: String,
    /// Column of the period.
    pub time: String,
    /// Column that is forecast.
    pub target: String,
    /// How often there is a value.
    #[serde(default)]
    pub frequency: Frequency,
    /// Which days have values; of daily data only.
    #[serde(default)]
    pub calendar: DayCalendar,
    /// Days to come that will have no values: `2026-01-01`; of observed days only.
    #[serde(default)]
    pub holidays: Vec<Date>,
    /// Periods ahead.
    #[serde(default = "one")]
    pub horizon: usize,
    /// Numeric columns known for the future too: records of future periods have them and no target.
    #[serde(default)]
    pub covariates: Vec<String>,
    /// Numeric columns that do not change in time.
    #[serde(default)]
    pub static_features: Vec<String>,
}

/// How often there is a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frequency {
    /// Whole years, an `int` column.
    #[default]
    Yearly,
    /// `2024-Q1`, or the quarter's first or last day.
    Quarterly,
    /// `2024-01`, or the month's first or last day.
    Monthly,
    /// A day of the week, the same weekday always.
    Weekly,
    /// `2024-01-01`.
    Daily,
    /// `2024-01-01T00:00`.
    Hourly,
    /// `2024-01-01T00:30`.
    HalfHourly,
}

/// Which days have values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DayCalendar {
    /// Every day.
    #[default]
    EveryDay,
    /// Monday to Friday.
    Weekdays,
    /// The days that the data have, such as trading days, and after them their weekdays.
    AsObserved,
}

/// How the model is judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backtest {
    /// Forecast origins.
    pub origins: usize,
    /// Periods between two origins; the horizon when absent.
    pub stride: Option<usize>,
    /// Whether models that learn from all series are trained anew at every origin, or once before
    /// the first.
    pub refit: bool,
    /// Nominal coverage of the prediction interval.
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
    pub(crate) fn defects(&self, manifest: &Manifest, out: &mut Defects) {
        out.range("task.horizon", self.horizon, (1, 366));
        self.columns(manifest, out);
        self.calendar(out);
        self.features(manifest, out);
    }

    fn columns(&self, manifest: &Manifest, out: &mut Defects) {
        let named = [("series", &self.series), ("time", &self.time), ("target", &self.target)];
        for (key, column) in named {
            out.need(format!("task.{key}"), manifest.column(column).is_some(), || {
                format!("`task.{key}` is `{column}`, but `data.columns` has no such column")
            });
        }
        let is = |name: &str, fits: &dyn Fn(ColumnType) -> bool| {
            manifest.column(name).is_none_or(|column| fits(column.kind))
        };
        out.need("task.series", is(&self.series, &|k| k == ColumnType::String), || {
            format!("the series column `{}` must have the type `string`", self.series)
        });
        let (time_type, said) = match self.frequency {
            Frequency::Yearly => (ColumnType::Int, "`int`, whole years"),
            _ => (ColumnType::String, "`string`, dates and times in ISO 8601"),
        };
        out.need("task.time", is(&self.time, &|k| k == time_type), || {
            format!("the time column `{}` must have the type {said}", self.time)
        });
        out.need("task.target", is(&self.target, &|k| k != ColumnType::String), || {
            format!("the target column `{}` must be a number", self.target)
        });
    }

    fn calendar(&self, out: &mut Defects) {
        let plain = self.calendar == DayCalendar::EveryDay;
        out.need("task.calendar", plain || self.frequency == Frequency::Daily, || {
            "`task.calendar` says which days have values, so it needs `task.frequency = \"daily\"`"
                .to_owned()
        });
        let observed = self.calendar == DayCalendar::AsObserved;
        out.need("task.holidays", observed || self.holidays.is_empty(), || {
            "`task.holidays` needs `task.calendar = \"as-observed\"`".to_owned()
        });
    }

    fn features(&self, manifest: &Manifest, out: &mut Defects) {
        let covariates = self.covariates.iter().map(|name| ("task.covariates", name));
        let statics = self.static_features.iter().map(|name| ("task.static_features", name));
        for (key, feature) in covariates.chain(statics) {
            match manifest.column(feature).map(|column| column.kind) {
                None => out.add(key, format!("the feature `{feature}` is not in `data.columns`")),
                Some(ColumnType::String) => {
                    out.add(key, format!("the feature `{feature}` must be a number"));
                }
                Some(_) => {}
            }
            let used = [&self.target, &self.time].contains(&feature);
            out.need(key, !used, || {
                format!("`{feature}` cannot be a feature: it is the target or the time")
            });
        }
    }
}

impl Backtest {
    pub(crate) fn defects(&self, out: &mut Defects) {
        out.range("backtest.origins", self.origins, (1, 1_000));
        out.range("backtest.stride", self.stride.unwrap_or(1), (1, 10_000));
        let level = self.interval_level;
        out.need("backtest.interval_level", level > 0.0 && level < 1.0, || {
            format!("`backtest.interval_level` is {level}; expected a share between 0 and 1")
        });
    }
}
