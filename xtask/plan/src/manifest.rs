//! `pipeline.toml`: what a pipeline reads, checks, trains, asks and deploys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{Problem, Problems, parse};
use crate::elf::Architecture;
use crate::environment::name_defect;

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
    pub description: String,
    /// The input.
    pub data: Data,
    /// What is refused.
    pub quality: Quality,
    /// What is forecast.
    pub task: Task,
    /// With which model.
    pub model: Model,
    /// How it is judged.
    pub backtest: BacktestOptions,
    /// Named questions in SQL.
    #[serde(default)]
    pub queries: Vec<NamedQuery>,
    /// What is deployed.
    pub stack: StackOptions,
    /// Training in the stack; none without it.
    pub retrain: Option<Retrain>,
    /// The check for drift in the stack; none without it.
    pub drift: Option<DriftCheck>,
}

/// The input.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Field separator of the CSV.
    pub delimiter: char,
    /// File of the cleaning SQL, beside the manifest.
    pub sql: String,
    /// Columns of the clean table, in order.
    pub columns: Vec<Column>,
    /// Invented data for a first try.
    pub sample: Option<Sample>,
}

/// A column of the clean table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its name in the file, when that differs.
    pub source: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
}

/// Types of the clean table; the names are Hive's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// Text.
    String,
    /// 32-bit whole number.
    Int,
    /// 64-bit whole number.
    Bigint,
    /// 64-bit floating-point number.
    Double,
}

impl ColumnType {
    /// Hive's word.
    pub fn hive(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Bigint => "bigint",
            Self::Double => "double",
        }
    }
}

/// Invented data: one level per region, and a seed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Seed of everything random.
    pub seed: u64,
    /// First year.
    pub first_year: i32,
    /// Last year.
    pub last_year: i32,
    /// The regions.
    pub regions: Vec<SampleRegion>,
}

/// One region of the sample.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleRegion {
    /// Its name.
    pub name: String,
    /// Value of its first year.
    pub level: f64,
}

/// What is refused.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Rules per record, tried in order.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Two records of one series and period.
    pub unique: Option<Unique>,
    /// An incomplete newest period.
    pub partial_period: Option<PartialPeriod>,
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
    /// Share of the total of the period before, below which it counts as incomplete.
    pub below: f64,
    /// What happens to its records.
    pub action: Action,
}

/// What is forecast.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The kind of task.
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
    /// Periods ahead.
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
    /// `2024-Q1`, or the quarter's first day.
    Quarterly,
    /// `2024-01`, or the month's first day.
    Monthly,
    /// The week's first day, a Monday.
    Weekly,
    /// `2024-01-01`.
    Daily,
    /// `2024-01-01T00:00`.
    Hourly,
    /// `2024-01-01T00:30`.
    HalfHourly,
}

/// Kinds of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// The next values of each series.
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
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The family, or `auto`.
    pub kind: ModelKind,
    /// Families that compete in the backtest; every one that suits the frequency when absent.
    pub candidates: Option<Vec<ModelKind>>,
    /// The scale on which models work.
    #[serde(default)]
    pub transform: Transform,
    /// Seed of everything random.
    pub seed: u64,
    /// Networks.
    #[serde(default)]
    pub lstm: Lstm,
    /// Trees.
    #[serde(default)]
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
#[serde(deny_unknown_fields)]
pub struct BacktestOptions {
    /// Forecast origins.
    pub origins: usize,
    /// Periods between two origins; the horizon when absent.
    pub stride: Option<usize>,
    /// Whether models that learn from all series are trained anew at every origin, or once before the first.
    #[serde(default = "yes")]
    pub refit: bool,
    /// Nominal coverage of the prediction interval.
    pub interval_level: f64,
}

fn yes() -> bool {
    true
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
#[serde(deny_unknown_fields)]
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
    #[serde(default)]
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

/// The check for drift in the stack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftCheck {
    /// When: `rate(…)` or `cron(…)`, in UTC.
    pub schedule: String,
}

/// What keeps an expression from being a schedule of EventBridge, as far as its form tells.
/// <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html>
fn schedule_defect(expression: &str) -> Option<&'static str> {
    let inner = |name: &str| expression.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(rate) = inner("rate") {
        let parts: Vec<&str> = rate.split(' ').collect();
        let [number, unit] = parts[..] else {
            return Some("needs a number and a unit, as in `rate(12 hours)`");
        };
        let units =
            if number == "1" { ["minute", "hour", "day"] } else { ["minutes", "hours", "days"] };
        let whole = number.parse::<u32>().is_ok_and(|n| n > 0);
        return (!whole || !units.contains(&unit))
            .then_some("needs a whole number and a unit that agrees with it, as in `rate(1 day)`");
    }
    let Some(cron) = inner("cron") else { return Some("is neither `rate(…)` nor `cron(…)`") };
    let fields: Vec<&str> = cron.split(' ').collect();
    let plain = |field: &&str| {
        !field.is_empty()
            && field.bytes().all(|b| b.is_ascii_alphanumeric() || b"*?,-/#".contains(&b))
    };
    if fields.len() != 6 || !fields.iter().all(plain) {
        return Some(
            "needs six fields: minutes, hours, day of month, month, day of week, year, as in `cron(0 6 1 * ? *)`",
        );
    }
    ((fields[2] == "?") == (fields[4] == "?"))
        .then_some("needs `?` for one of day of month and day of week, as in `cron(0 6 1 * ? *)`")
}

/// Days that CloudWatch Logs can keep events.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html>
const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

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
        let manifest: Self = parse(file, text)?;
        let problems: Vec<Problem> = manifest
            .defects()
            .into_iter()
            .map(|message| Problem { place: file.to_owned(), message, hint: None })
            .collect();
        if problems.is_empty() { Ok(manifest) } else { Err(Problems(problems)) }
    }

    fn defects(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut need = |holds: bool, message: String| {
            if !holds {
                out.push(message);
            }
        };
        need(
            self.schema_version == MANIFEST_SCHEMA_VERSION,
            format!(
                "`schema_version` is {}, this program reads {MANIFEST_SCHEMA_VERSION}",
                self.schema_version
            ),
        );
        if let Some(defect) = name_defect(&self.name) {
            need(false, format!("the name `{}` {defect}", self.name));
        }
        for (key, column) in [
            ("series", &self.task.series),
            ("time", &self.task.time),
            ("target", &self.task.target),
        ] {
            need(
                self.column(column).is_some(),
                format!("`task.{key}` is `{column}`, but `data.columns` has no such column"),
            );
        }
        let kind = |name: &str| self.column(name).map(|c| c.kind);
        need(
            kind(&self.task.series).is_none_or(|k| k == ColumnType::String),
            format!("the series column `{}` must have the type `string`", self.task.series),
        );
        let (time_type, said) = match self.task.frequency {
            Frequency::Yearly => (ColumnType::Int, "`int`, whole years"),
            _ => (ColumnType::String, "`string`, dates and times in ISO 8601"),
        };
        need(
            kind(&self.task.time).is_none_or(|k| k == time_type),
            format!("the time column `{}` must have the type {said}", self.task.time),
        );
        for feature in self.task.covariates.iter().chain(&self.task.static_features) {
            let message = match kind(feature) {
                None => format!("the feature `{feature}` is not in `data.columns`"),
                Some(_) => format!("the feature `{feature}` must be a number"),
            };
            need(kind(feature).is_some_and(|k| k != ColumnType::String), message);
            let used = [&self.task.target, &self.task.time].contains(&feature);
            need(!used, format!("`{feature}` cannot be a feature: it is the target or the time"));
        }
        need(
            self.model
                .candidates
                .iter()
                .flatten()
                .all(|k| !matches!(k, ModelKind::Auto | ModelKind::Combination)),
            "`model.candidates` names families; `auto` and `combination` are made of them"
                .to_owned(),
        );
        need(
            kind(&self.task.target).is_none_or(|k| k != ColumnType::String),
            format!("the target column `{}` must be a number", self.task.target),
        );
        for (i, column) in self.data.columns.iter().enumerate() {
            let plain = column
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                && !column.name.starts_with('_');
            need(
                plain && !column.name.is_empty(),
                format!(
                    "the column name `{}` must consist of lower-case letters, digits and inner underscores; give the file's own name as `source`",
                    column.name
                ),
            );
            need(
                self.data.columns[..i].iter().all(|c| c.name != column.name),
                format!("the column `{}` is declared twice", column.name),
            );
        }
        for rule in &self.quality.rules {
            let plain = !rule.name.is_empty()
                && rule.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            need(
                plain,
                format!(
                    "the rule name `{}` must consist of letters, digits and underscores",
                    rule.name
                ),
            );
            need(
                self.column(&rule.column).is_some(),
                format!(
                    "the rule `{}` looks at `{}`, but `data.columns` has no such column",
                    rule.name, rule.column
                ),
            );
        }
        for query in &self.queries {
            need(
                name_defect(&query.name).is_none(),
                format!(
                    "the query name `{}` {}",
                    query.name,
                    name_defect(&query.name).unwrap_or_default()
                ),
            );
        }
        let range = |what: &str, value: usize, low: usize, high: usize| {
            (low..=high)
                .contains(&value)
                .then_some(())
                .ok_or(format!("`{what}` is {value}; expected {low} to {high}"))
        };
        let counts = [
            range("task.horizon", self.task.horizon, 1, 366),
            range("model.lstm.context", self.model.lstm.context, 2, 1_000),
            range("model.lstm.hidden", self.model.lstm.hidden, 1, 512),
            range("model.lstm.epochs", self.model.lstm.epochs, 1, 10_000),
            range("model.lstm.members", self.model.lstm.members, 1, 32),
            range("model.lstm.batch", self.model.lstm.batch, 1, 4_096),
            range("model.lstm.patience", self.model.lstm.patience.unwrap_or(1), 1, 1_000),
            range("model.lstm.epoch_windows", self.model.lstm.epoch_windows, 1, 10_000_000),
            range("model.trees.rounds", self.model.trees.rounds, 1, 10_000),
            range("model.trees.depth", self.model.trees.depth, 1, 12),
            range("model.trees.rows_max", self.model.trees.rows_max, 100, 10_000_000),
            range("backtest.origins", self.backtest.origins, 1, 100),
            range("backtest.stride", self.backtest.stride.unwrap_or(1), 1, 10_000),
            range("stack.etl_workers", self.stack.etl_workers as usize, 2, 299),
            range(
                "retrain.memory_mb",
                self.retrain.as_ref().map_or(one_core(), |r| r.memory_mb) as usize,
                128,
                10_240,
            ),
            range("stack.map_concurrency", self.stack.map_concurrency as usize, 1, 40),
        ];
        counts.into_iter().filter_map(Result::err).for_each(|message| need(false, message));
        let level = self.backtest.interval_level;
        need(
            level > 0.0 && level < 1.0,
            format!("`backtest.interval_level` is {level}; expected a share between 0 and 1"),
        );
        need(
            RETENTION_DAYS.contains(&self.stack.log_retention_days),
            format!(
                "`stack.log_retention_days` is {}; CloudWatch Logs keeps {RETENTION_DAYS:?}",
                self.stack.log_retention_days
            ),
        );
        let schedules = [
            ("retrain.schedule", self.retrain.as_ref().and_then(|r| r.schedule.as_deref())),
            ("drift.schedule", self.drift.as_ref().map(|d| d.schedule.as_str())),
        ];
        for (key, expression) in schedules {
            if let Some(defect) = expression.and_then(schedule_defect) {
                need(
                    false,
                    format!("`{key}` is `{}`, which {defect}", expression.unwrap_or_default()),
                );
            }
        }
        need(
            self.retrain.is_none() || self.stack.verify,
            "`retrain` needs `stack.verify = true`: a run that nobody started takes its series from there".to_owned(),
        );
        for architecture in self.stack.instance_type.keys() {
            need(
                matches!(architecture.as_str(), "x86_64" | "arm64"),
                format!(
                    "`stack.instance_type` has the architecture `{architecture}`; there are `x86_64` and `arm64`"
                ),
            );
        }
        for email in &self.stack.emails {
            let valid =
                email.split_once('@').is_some_and(|(a, b)| !a.is_empty() && b.contains('.'))
                    && !email.contains(char::is_whitespace);
            need(valid, format!("`{email}` is not an email address"));
        }
        out
    }

    /// The manifest with every combination of options that changes which resources there are, each with
    /// a name that lists what is on. For checks of the template.
    pub fn combinations(&self) -> Vec<(String, Self)> {
        let one = |bits: u8| {
            let on = |bit: u8| bits & (1 << bit) != 0;
            let mut manifest = self.clone();
            (manifest.stack.verify, manifest.stack.alarms, manifest.stack.notify) =
                (on(0), on(1), on(2));
            let schedule = || "cron(0 6 1 * ? *)".to_owned();
            manifest.retrain = on(3).then(|| Retrain {
                schedule: Some(schedule()),
                on_new_data: true,
                memory_mb: one_core(),
            });
            manifest.drift = on(4).then(|| DriftCheck { schedule: "rate(1 day)".to_owned() });
            let names = ["verify", "alarms", "notify", "retrain", "drift"];
            let listed: String = (0..5)
                .zip(names)
                .filter(|(bit, _)| on(*bit))
                .map(|(_, name)| format!("-{name}"))
                .collect();
            (listed, manifest)
        };
        (0..32).map(one).filter(|(_, manifest)| manifest.defects().is_empty()).collect()
    }

    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.data.columns.iter().find(|c| c.name == name)
    }
}
