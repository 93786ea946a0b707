//! A smoke test as data: which checks prove that a deployed pipeline works, and why these.
//!
//! `smoke-test --dry-run` prints a [`SmokePlan`], `smoke-test` executes the same value.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use steppe_spec::Manifest;
use thiserror::Error;

use crate::components;
use crate::names::Names;

/// A deployment that is tested, and how far.
#[derive(Debug, Clone, Copy)]
pub struct Tested<'a> {
    /// The pipeline.
    pub manifest: &'a Manifest,
    /// The text of each of its checks, in its order.
    pub check_sql: &'a [String],
    /// Outputs of the stack.
    pub outputs: &'a BTreeMap<String, String>,
    /// The version of the model in service.
    pub version: &'a str,
    /// Where it is.
    pub place: Place,
    /// Series to forecast; all when empty.
    pub series: &'a [String],
}

/// What an output of a stack has to say is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the stack has no output {0}")]
pub struct MissingOutput(pub &'static str);

/// Makes the checks of a component.
pub type MakeChecks = fn(&Tested<'_>) -> Result<Vec<Check>, MissingOutput>;

impl Tested<'_> {
    /// An output of the stack.
    pub fn output(&self, name: &'static str) -> Result<&str, MissingOutput> {
        self.outputs.get(name).map(String::as_str).ok_or(MissingOutput(name))
    }
}

/// Where a deployment is, as far as a check can see things there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In an account of AWS: the server is in a private network, emails leave, denials are told
    /// minutes later.
    Aws,
    /// In the embedded cloud: everything can be looked at from here.
    Embedded,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// Its name, as the result has it.
    pub name: String,
    /// What it does.
    #[serde(flatten)]
    pub kind: CheckKind,
}

impl Check {
    /// A check with its name.
    pub fn new(name: &str, kind: CheckKind) -> Self {
        Self { name: name.to_owned(), kind }
    }
}

/// What a check does. Checks are carried out in the order of their kinds here.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum CheckKind {
    /// Runs the pipeline, in which only the version in service may answer.
    Run {
        /// ARN of the state machine.
        machine: String,
        /// Series to forecast; all when empty.
        series: Vec<String>,
        /// The version.
        version: String,
    },
    /// Every state on the way of a success was entered and left.
    History {
        /// ARN of the state machine.
        machine: String,
    },
    /// The clean table is of the raw data, and the cleaning job's counts and Athena's agree.
    RowCounts,
    /// Each forecast lies in S3, keeps the contract, and equals what the server answers.
    Forecasts {
        /// Series that must be among them; all when empty.
        series: Vec<String>,
        /// Where the server is.
        place: Place,
    },
    /// Each row of the clean table is scored once, and some scores equal what the server answers.
    Scores {
        /// The table.
        table: String,
        /// Where the server is.
        place: Place,
    },
    /// Each series is forecast once in the run's partition, forecasts equal what the server
    /// answers, and those of the backtest lie beside what came.
    Predictions {
        /// The table.
        table: String,
        /// Series that must be among them; all when empty.
        series: Vec<String>,
        /// Where the server is.
        place: Place,
    },
    /// The table that the crawler found has the columns of its declared twin, and rows.
    Crawled {
        /// Its database.
        database: String,
        /// Its name.
        table: String,
        /// Names and Hive types of the twin's columns, in order.
        columns: Vec<(String, String)>,
    },
    /// What was found without a target is in its table, about each row once.
    Found {
        /// Name of the task and of its table.
        task: String,
        /// The table that was looked at.
        table: String,
    },
    /// A number that Athena finds in the tables is within the manifest's bounds.
    Value {
        /// What the number is.
        description: String,
        /// The question.
        sql: String,
        /// The least that it may be.
        at_least: f64,
        /// The most that it may be.
        at_most: f64,
    },
    /// The message about the run was taken, and lies in the outbox.
    Notification {
        /// Emails about the run.
        emails: usize,
        /// Where the outbox is.
        place: Place,
    },
    /// The check for drift runs to its end; whatever it finds is not this test's.
    Drift {
        /// ARN of the state machine.
        machine: String,
    },
    /// No role was denied anything.
    Permissions {
        /// Where the audit is.
        place: Place,
    },
}

impl CheckKind {
    fn rank(&self) -> u8 {
        match self {
            Self::Run { .. } => 0,
            Self::History { .. } => 1,
            Self::RowCounts => 2,
            Self::Forecasts { .. } | Self::Predictions { .. } | Self::Scores { .. } => 3,
            Self::Crawled { .. } => 4,
            Self::Found { .. } => 4,
            Self::Value { .. } => 4,
            Self::Notification { .. } => 5,
            Self::Drift { .. } => 6,
            Self::Permissions { .. } => 7,
        }
    }

    /// Whether it looks at what the run of this test has made, so that there is nothing to check
    /// when that failed.
    pub fn needs_run(&self) -> bool {
        match self {
            Self::History { .. }
            | Self::RowCounts
            | Self::Crawled { .. }
            | Self::Found { .. }
            | Self::Value { .. }
            | Self::Forecasts { .. }
            | Self::Predictions { .. }
            | Self::Scores { .. }
            | Self::Notification { .. } => true,
            Self::Run { .. } | Self::Drift { .. } | Self::Permissions { .. } => false,
        }
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |series: &[String]| match series {
            [] => "all series".to_owned(),
            some => some.join(", "),
        };
        match self {
            Self::Run { series, version, .. } => write!(
                f,
                "run the pipeline for {}; only model {version}, which is in service, may answer",
                named(series)
            ),
            Self::History { .. } => f.write_str("every state up to the end was entered and left"),
            Self::Crawled { table, columns, .. } => write!(
                f,
                "the table {table}, which a crawler found, has the {} columns that it would be \
                 declared with, and rows",
                columns.len()
            ),
            Self::RowCounts => f.write_str(
                "the clean table is of the raw data that are there; the cleaning job's counts and \
                 Athena's agree",
            ),
            Self::Found { task, table } => {
                write!(f, "`{task}` says of each row of `{table}` once what was found of it")
            }
            Self::Value { description, at_least, at_most, .. } => {
                write!(f, "{description}: from {at_least} to {at_most}")
            }
            Self::Forecasts { series, place } => {
                write!(f, "{} forecast once or left out; each keeps the contract", named(series))?;
                match place {
                    Place::Embedded => f.write_str(" and equals what the model server answers now"),
                    Place::Aws => Ok(()),
                }
            }
            Self::Predictions { series, place, .. } => {
                write!(
                    f,
                    "{} forecast once or left out; the backtest's forecasts once, beside what came",
                    named(series)
                )?;
                match place {
                    Place::Embedded => f.write_str("; forecasts equal what the server answers now"),
                    Place::Aws => Ok(()),
                }
            }
            Self::Scores { place: Place::Embedded, .. } => f.write_str(
                "each row of the clean table is scored once, and scores equal what the model \
                 server answers now",
            ),
            Self::Scores { place: Place::Aws, .. } => {
                f.write_str("each row of the clean table is scored once")
            }
            Self::Notification { emails, place: Place::Embedded } => {
                write!(f, "SNS took the message, and {emails} email about it lies in the outbox")
            }
            Self::Notification { place: Place::Aws, .. } => f.write_str("SNS took the message"),
            Self::Drift { .. } => f.write_str("the check for drift runs to its end"),
            Self::Permissions { place: Place::Embedded } => {
                f.write_str("no role was denied anything; which grants were never used")
            }
            Self::Permissions { place: Place::Aws } => {
                f.write_str("not seen from here: CloudTrail reports denials minutes later")
            }
        }
    }
}

/// The checks, in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SmokePlan {
    /// The checks.
    pub checks: Vec<Check>,
}

impl SmokePlan {
    /// What proves that the pipeline works: what each component of its stack wants to see.
    pub fn new(names: &Names, tested: &Tested<'_>) -> Result<Self, MissingOutput> {
        let mut makers = Vec::new();
        components::outline(names, tested.manifest, |component| makers.extend(component.checks));
        let checks = makers.into_iter().map(|make| make(tested)).collect::<Result<Vec<_>, _>>()?;
        let mut checks: Vec<Check> = checks.into_iter().flatten().collect();
        checks.sort_by_key(|check| check.kind.rank());
        Ok(Self { checks })
    }
}

impl fmt::Display for SmokePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checks
            .iter()
            .zip(1..)
            .try_for_each(|(check, n)| writeln!(f, "{n:>3}. {}: {}", check.name, check.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let text = include_str!("../../../model/pipelines/marriages/pipeline.toml");
        Manifest::parse("pipeline.toml", text).expect("valid")
    }

    fn plan(manifest: &Manifest, outputs: &[&str], series: &[String]) -> Result<SmokePlan, String> {
        let names = Names {
            project: "p".into(),
            pipeline: "marriages".into(),
            environment: "e".into(),
            account: "000000000000".into(),
            region: "us-east-1".into(),
        };
        let outputs = outputs.iter().map(|name| ((*name).to_owned(), format!("arn:{name}")));
        let tested = Tested {
            manifest,
            check_sql: &[],
            outputs: &outputs.collect(),
            version: "v1",
            place: Place::Embedded,
            series,
        };
        SmokePlan::new(&names, &tested).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_deployed_is_checked_and_nothing_else() {
        let outputs = ["StateMachineArn", "DriftMachineArn"];
        let all = plan(&manifest(), &outputs, &[]).expect("complete");
        let names: Vec<&str> = all.checks.iter().map(|c| c.name.as_str()).collect();
        let expected = "execution, history, row counts, forecasts, notification, drift check, \
                        permissions";
        assert_eq!(names.join(", "), expected);
        let mut quiet = manifest();
        quiet.stack.notify = false;
        quiet.drift = None;
        let fewer = plan(&quiet, &outputs[..1], &["Almaty".to_owned()]).expect("complete");
        assert_eq!(fewer.checks.len(), 5);
        let text = fewer.to_string();
        assert!(text.starts_with("  1. execution: run the pipeline for Almaty; only model v1"));
        let error = plan(&manifest(), &outputs[..1], &[]).expect_err("made by another version");
        assert_eq!(error, "the stack has no output DriftMachineArn");
    }
}
