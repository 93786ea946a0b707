//! What a pipeline is: its manifest, parsed, defaulted and checked once, in types that everybody
//! uses.
//!
//! Values only: nothing here opens a file, reads a clock or knows a service.

mod capabilities;
mod defects;
mod families;
mod gaps;
mod input;
mod manifest;
mod names;
mod problems;
mod quality;
mod tasks;
mod transform;

pub use capabilities::{DriftCheck, Retrain, StackOptions};
pub use families::gradient_boosting::Trees;
pub use families::lstm::{CONTEXT_MAX, HIDDEN_MAX, Lstm, MEMBERS_MAX};
pub use families::{Family, Kind, Model};
pub use gaps::{Ended, Gaps, LongerGap};
pub use input::{Column, ColumnType, Data, Footnotes, Sample, SampleRegion, Wide};
pub use manifest::{MANIFEST_SCHEMA_VERSION, Manifest, NamedQuery};
pub use names::{name_defect, project_defect};
pub use problems::{Problem, Problems, nearest, parse};
pub use quality::{Action, PartialPeriod, Quality, Rule, Total, Unique};
pub use tasks::TaskKind;
pub use tasks::forecast::{Backtest, DayCalendar, Frequency, Task};
pub use transform::Transform;
