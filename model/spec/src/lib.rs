//! What a pipeline is: its manifest, parsed, defaulted and checked once, in types that everybody
//! uses.
//!
//! Values only: nothing here opens a file, reads a clock or knows a service.

mod as_of;
mod capabilities;
mod column;
mod defects;
mod families;
mod gaps;
mod input;
mod manifest;
mod names;
mod problems;
#[cfg(test)]
mod reference;
mod rules;
mod schedule;
mod schema;
mod shape;
mod tables;
mod tasks;
mod time_span;
mod training;
mod transform;

pub use as_of::AsOf;
pub use capabilities::{Catalogue, DriftCheck, Retrain, Scoring, StackOptions};
pub use column::{Column, ColumnType, Columns};
pub use defects::Defects;
pub use families::gradient_boosting::Trees;
pub use families::lstm::{CONTEXT_MAX, Lstm};
pub use families::{Does, Family, Kind, Model};
pub use gaps::{Ended, Gaps, LongerGap};
pub use input::{Container, Footnotes, Format, Input, Wide};
pub use manifest::{Chart, MANIFEST_SCHEMA_VERSION, Manifest, NamedQuery, Source, TableCheck};
pub use names::{name_defect, project_defect};
pub use problems::{Problem, Problems, nearest, parse};
pub use rules::{Action, PartialPeriod, Rule, Total};
pub use schedule::Schedule;
pub use schema::json_schema;
pub use tables::Table;
pub use tasks::forecast::{
    Backtest, DayCalendar, Decide, Feature, ForecastEntry, Frequency, Holidays, Known, Spacing,
    Task, Width,
};
pub use tasks::tabular;
pub use tasks::unsupervised::{self, Unsupervised, UnsupervisedSpec, UnsupervisedTask};
pub use tasks::{Served, TaskEntry};
pub use time_span::TimeSpan;
pub use training::{TrainSpec, Training, TrainingSpec};
pub use transform::Transform;
