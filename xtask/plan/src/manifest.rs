//! `pipeline.toml`: what a pipeline reads, checks, trains, asks and deploys.

mod checks;
mod data;
mod data_checks;
mod defaults;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use data::{Column, ColumnType, Data, Footnotes, Sample, SampleRegion, Wide};

use crate::config::{Problem, Problems, parse};
use crate::elf::Architecture;
use crate::environment::Environment;

/// Version of the manifest's schema.
pub const MANIFEST_SCHEMA_VERSION: u32 = 1;

/// The whole manifest, checked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the pipeline.
    pub name: String,
    /// What it forecasts.
    #[serde(default = "defaults::description")]
    pub description: String,
    /// The input.
    pub data: Data,
    /// What is refused.
    #[serde(default)]
    pub quality: Quality,
    /// What is forecast.
    pub task: Task,
    /// With which model.
    #[serde(default)]
    pub model: Model,
    /// How it is judged.
    #[serde(default)]
    pub backtest: BacktestOptions,
    /// Named questions in SQL.
    #[serde(default)]
    pub queries: Vec<NamedQuery>,
    /// What is deployed.
    #[serde(default)]
    pub stack: StackOptions,
    /// Training in the stack; none without it.
    pub retrain: Option<Retrain>,
    /// The check for drift in the stack; none without it.
    pub drift: Option<DriftCheck>,
}

/// What is refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Rules per record, tried in order; without any, those that follow from the task.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Two records of one series and period.
    pub unique: Option<Unique>,
    /// An incomplete newest period.
    pub partial_period: Option<PartialPeriod>,
    /// Periods without a value.
    #[serde(default)]
    pub gaps: Gaps,
    /// A series that is the sum of all others.
    #[serde(default)]
    pub total: Total,
}

/// What happens when a series is the sum of all others, so that sums count everything twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Total {
    /// The data are refused, until it is left out or meant.
    #[default]
    Fail,
    /// It is a series like the others, and told.
    Keep,
}

/// Periods without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gaps {
    /// How many in a row are filled by the value before them.
    pub fill: usize,
    /// What happens to a longer gap.
    pub longer: LongerGap,
    /// What happens to a series whose newest value is older than that of others by more than
    /// `fill` periods.
    pub ended: Ended,
}

impl Default for Gaps {
    fn default() -> Self {
        Self { fill: 3, longer: LongerGap::Split, ended: Ended::LeaveOut }
    }
}

/// What happens to a gap that is longer than those that are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LongerGap {
    /// The values before it are not used.
    Split,
    /// The series is left out.
    LeaveOut,
    /// It is filled, too.
    Fill,
    /// The data are refused.
    Fail,
}

/// What happens to a series that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Models learn from it, and it is not forecast.
    LeaveOut,
    /// It is forecast from its own end, with a mark.
    Forecast,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The column it looks at, for messages.
    pub column: String,
    /// SQL that is true for a record that breaks it.
    pub when: String,
    /// What people are told.
    pub reason: String,
    /// What happens.
    pub action: Action,
}

/// What happens to a record that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is set aside with the reason.
    Reject,
    /// The job stops before it writes anything.
    Fail,
}

/// Two records of one series and period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// What happens to both.
    pub action: Action,
}

/// An incomplete newest period.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialPeriod {
    /// Share of the total of the period one season before, below which it counts as incomplete.
    pub below: f64,
    /// What happens to its records.
    pub action: Action,
}

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
    pub holidays: Vec<String>,
    /// Periods ahead.
    #[serde(default = "defaults::horizon")]
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

/// Kinds of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// The next values of each series.
    #[default]
    Forecast,
}

/// Families of models, and `auto` for whichever the backtest finds best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the families are described in docs/models.md")]
pub enum ModelKind {
    Auto,
    LastValue,
    Drift,
    MeanOfThree,
    SeasonalNaive,
    Theta,
    ExponentialSmoothing,
    Autoregression,
    PooledAutoregression,
    GradientBoosting,
    Lstm,
    Combination,
}

/// The scale on which models work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// Relative changes; the target must not be negative.
    #[default]
    Log,
    /// Values as they are.
    None,
}

/// With which model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// The family, or `auto`.
    pub kind: ModelKind,
    /// Families that compete in the backtest; every one that suits the frequency when absent.
    pub candidates: Option<Vec<ModelKind>>,
    /// The scale on which models work.
    pub transform: Transform,
    /// Seed of everything random.
    pub seed: u64,
    /// Networks.
    pub lstm: Lstm,
    /// Trees.
    pub trees: Trees,
}

impl Model {
    /// The families that compete.
    pub fn candidates(&self, frequency: Frequency) -> Vec<ModelKind> {
        use ModelKind::{
            Autoregression, ExponentialSmoothing, GradientBoosting, Lstm, PooledAutoregression,
            Theta,
        };
        // One series of yearly values is too short for a regression of its own.
        let linear =
            if frequency == Frequency::Yearly { PooledAutoregression } else { Autoregression };
        self.candidates
            .clone()
            .unwrap_or_else(|| vec![Theta, ExponentialSmoothing, linear, GradientBoosting, Lstm])
    }
}

/// How networks are trained.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lstm {
    /// Observations that a network sees.
    pub context: usize,
    /// Width of the layer.
    pub hidden: usize,
    /// Passes over the training windows, at most.
    pub epochs: usize,
    /// Networks that are averaged.
    pub members: usize,
    /// Step size.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Windows per gradient step.
    pub batch: usize,
    /// Epochs without a better validation loss before training stops; all epochs when absent.
    pub patience: Option<usize>,
    /// Windows per epoch, at most.
    pub epoch_windows: usize,
}

impl Default for Lstm {
    fn default() -> Self {
        Self {
            context: 24,
            hidden: 32,
            epochs: 20,
            members: 3,
            learning_rate: 0.003,
            weight_decay: 0.01,
            batch: 64,
            patience: None,
            epoch_windows: 50_000,
        }
    }
}

/// How trees are grown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trees {
    /// Trees.
    pub rounds: usize,
    /// Depth of a tree.
    pub depth: usize,
    /// Share of each tree's answer that is taken.
    pub learning_rate: f64,
    /// Training rows, at most.
    pub rows_max: usize,
}

impl Default for Trees {
    fn default() -> Self {
        Self { rounds: 200, depth: 6, learning_rate: 0.08, rows_max: 200_000 }
    }
}

/// How the model is judged.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BacktestOptions {
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

/// A named question in SQL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedQuery {
    /// Its name.
    pub name: String,
    /// What it answers.
    pub description: String,
    /// Its file, beside the manifest.
    pub file: String,
}

/// What is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StackOptions {
    /// Instance type by architecture.
    pub instance_type: BTreeMap<String, String>,
    /// Glue workers.
    pub etl_workers: u32,
    /// Forecasts at once.
    pub map_concurrency: u32,
    /// Days that logs are kept.
    pub log_retention_days: u32,
    /// Whether Athena checks the clean table.
    pub verify: bool,
    /// Whether alarms are made.
    pub alarms: bool,
    /// Whether people are told.
    pub notify: bool,
    /// Who.
    pub emails: Vec<String>,
}

/// Training in the stack, champion against challenger.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retrain {
    /// When: `rate(…)` or `cron(…)`, in UTC; only on demand when absent.
    pub schedule: Option<String>,
    /// Whether new raw data in the bucket start a run.
    #[serde(default)]
    pub on_new_data: bool,
    /// Memory of the function; a core comes with every 1,769 MB.
    #[serde(default = "one_core")]
    pub memory_mb: u32,
}

fn one_core() -> u32 {
    1_769
}

impl Default for Retrain {
    fn default() -> Self {
        Self { schedule: None, on_new_data: false, memory_mb: one_core() }
    }
}

/// The check for drift in the stack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftCheck {
    /// When: `rate(…)` or `cron(…)`, in UTC.
    pub schedule: String,
}

impl StackOptions {
    /// The instance type for an architecture: the manifest's, or the smallest sensible one.
    pub fn instance_type(&self, architecture: Architecture) -> &str {
        let default = match architecture {
            Architecture::X86_64 => "t3.micro",
            Architecture::Arm64 => "t4g.micro",
        };
        self.instance_type.get(architecture.as_str()).map_or(default, String::as_str)
    }
}

impl Manifest {
    /// Parses and checks `text`, the content of `file`. Everything wrong is reported at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let mut manifest: Self = parse(file, text)?;
        if manifest.quality.rules.is_empty() {
            manifest.quality.rules = defaults::rules(&manifest);
        }
        let problems: Vec<Problem> = checks::folder_defect(&manifest, file)
            .into_iter()
            .chain(checks::defects(&manifest))
            .map(|message| Problem { place: file.to_owned(), message, hint: None })
            .collect();
        if problems.is_empty() { Ok(manifest) } else { Err(Problems(problems)) }
    }

    /// What keeps a checked manifest from being deployed to `environment`.
    pub fn check_for(&self, file: &str, environment: &Environment) -> Result<(), Problems> {
        let problems: Vec<Problem> = checks::unreachable_emails(self, environment)
            .map(|message| Problem {
                place: file.to_owned(),
                message,
                hint: Some("name your own in `stack.emails`, or nobody: `emails = []`".to_owned()),
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }

    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.data.columns.iter().find(|c| c.name == name)
    }
}
