//! `[stack]`, `[retrain]`, `[drift]`: what is deployed beside the pipeline itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::defects::Defects;
use crate::manifest::Manifest;
use crate::schedule::Schedule;
use crate::time_span::TimeSpan;

/// Days that CloudWatch Logs can keep events.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html>
const RETENTION_DAYS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

/// Longest wait for further files.
const SETTLE_SECS_MAX: u64 = 3_600;

/// What is deployed, and how large it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StackOptions {
    /// Instance type of the model server by architecture, `x86_64` and `arm64`; the smallest when
    /// absent.
    pub instance_type: BTreeMap<String, String>,
    /// Workers of the cleaning job on Glue.
    #[schemars(range(min = 2, max = 299))]
    pub etl_workers: u32,
    /// Forecasts that a run asks for at once.
    #[schemars(range(min = 1, max = 40))]
    pub map_concurrency: u32,
    /// Days that CloudWatch Logs keeps logs.
    #[schemars(extend("enum" = RETENTION_DAYS))]
    pub log_retention_days: u32,
    /// Whether Athena checks the clean table in each run.
    pub verify: bool,
    /// Who answers a run of a task `forecast`: `"online"`, the model server, asked for series by a
    /// function, into an object of JSON each; or `"batch"`, functions that score parts of the
    /// table, into files of Parquet, with the backtest's forecasts beside what came. Rows are always
    /// scored in batches.
    pub scoring: Scoring,
    /// Rows or series that one call scores in batches; 10,000 rows or 500 series when absent. Above
    /// 40 such parts a run scores them in executions of their own.
    #[schemars(range(min = 1, max = 100_000))]
    pub part_size: Option<u32>,
    /// Who says which columns the table of batches has: `"declared"`, the template, or `"crawler"`,
    /// a crawler of Glue after each run, whose table is called `crawled_` and the task's name,
    /// hyphens as underscores.
    pub catalogue: Catalogue,
    /// Whether there are alarms for state machines, rules and the server's instance.
    pub alarms: bool,
    /// Whether runs tell people their forecasts or what went wrong.
    pub notify: bool,
    /// Who is told by email.
    pub emails: Vec<String>,
}

/// Who answers a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scoring {
    /// The model server.
    #[default]
    Online,
    /// Functions that score parts of the table.
    Batch,
}

/// Who says which columns a table has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Catalogue {
    /// The template.
    #[default]
    Declared,
    /// A crawler, from the files.
    Crawler,
}

/// Training in the stack, champion against challenger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retrain {
    /// When a run begins: `rate(…)` or `cron(…)` in UTC; only on demand when absent.
    pub schedule: Option<Schedule>,
    /// Whether an upload to the bucket's `raw/` starts a run; `deploy` uploads, too.
    #[serde(default)]
    pub on_new_data: bool,
    /// How long no further file may arrive until the run of an upload begins, at most `1 hour`: so
    /// many files that are uploaded together make one run.
    #[serde(default = "one_minute")]
    pub settle: TimeSpan,
    /// Memory of the training function in MB; a core comes with every 1,769.
    #[serde(default = "one_core")]
    #[schemars(range(min = 128, max = 10_240))]
    pub memory_mb: u32,
}

fn one_minute() -> TimeSpan {
    TimeSpan::MINUTE
}

fn one_core() -> u32 {
    1_769
}

impl Default for Retrain {
    fn default() -> Self {
        Self { schedule: None, on_new_data: false, settle: one_minute(), memory_mb: one_core() }
    }
}

/// The check for drift in the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DriftCheck {
    /// When the check begins: `rate(…)` or `cron(…)` in UTC.
    pub schedule: Schedule,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            instance_type: BTreeMap::new(),
            etl_workers: 2,
            map_concurrency: 4,
            log_retention_days: 30,
            verify: true,
            scoring: Scoring::Online,
            part_size: None,
            catalogue: Catalogue::Declared,
            alarms: true,
            notify: true,
            emails: vec![],
        }
    }
}

impl StackOptions {
    /// What is wrong with everything that is deployed.
    pub(crate) fn defects(&self, manifest: &Manifest, out: &mut Defects) {
        self.instances(out);
        let (batch, crawls) = (manifest.scores_batches(), self.catalogue == Catalogue::Crawler);
        out.need("stack.catalogue", batch || !crawls, || {
            "`stack.catalogue = \"crawler\"` is about the table of `stack.scoring = \"batch\"`"
                .to_owned()
        });
        out.need("stack.part_size", batch || self.part_size.is_none(), || {
            "`stack.part_size` is about `stack.scoring = \"batch\"`".to_owned()
        });
        for (at, email) in self.emails.iter().enumerate() {
            let valid =
                email.split_once('@').is_some_and(|(a, b)| !a.is_empty() && b.contains('.'))
                    && email.chars().all(|c| !c.is_whitespace() && !c.is_control());
            out.need(format!("stack.emails[{at}]"), valid, || {
                format!("`{email}` is not an email address")
            });
        }
        out.need("stack.verify", manifest.runs_by_itself() || manifest.retrain.is_none(), || {
            "`retrain` needs `stack.verify = true`: a run that nobody started takes its series \
             from there"
                .to_owned()
        });
        if let Some(settle) = manifest.retrain.as_ref().map(|retrain| retrain.settle) {
            out.need("retrain.settle", settle.secs() <= SETTLE_SECS_MAX, || {
                format!("`retrain.settle` is `{settle}`; at most `1 hour`")
            });
        }
    }

    fn instances(&self, out: &mut Defects) {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        for (architecture, instance_type) in &self.instance_type {
            let key = format!("stack.instance_type.{architecture}");
            out.need(&key, matches!(architecture.as_str(), "x86_64" | "arm64"), || {
                format!(
                    "`stack.instance_type` has the architecture `{architecture}`; there are \
                     `x86_64` and `arm64`"
                )
            });
            out.need(&key, instance_type.contains('.') && instance_type.bytes().all(plain), || {
                format!("`{instance_type}` is not an instance type, such as `t3.micro`")
            });
        }
    }
}
