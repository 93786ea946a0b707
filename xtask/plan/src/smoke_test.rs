//! A smoke test as data: which checks prove that a deployed pipeline works, and why these.
//!
//! `smoke-test --dry-run` prints a [`SmokePlan`], `smoke-test` executes the same value.

use std::fmt;

use serde::Serialize;

use steppe_spec::Manifest;

/// What a smoke test has to know of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// ARN of the pipeline's state machine.
    pub machine: String,
    /// ARN of the state machine that looks for drift, if there is one.
    pub drift_machine: Option<String>,
    /// The version of the model in service.
    pub version: String,
    /// Where it is.
    pub place: Place,
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

/// What a check does.
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
    /// Each forecast lies in S3, keeps the contract, and equals what the server answers.
    Forecasts {
        /// Series that must be among them; all when empty.
        series: Vec<String>,
        /// Where the server is.
        place: Place,
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
    /// Whether it looks at what the run of this test has made, so that there is nothing to check
    /// when that failed.
    pub fn needs_run(&self) -> bool {
        match self {
            Self::History { .. }
            | Self::RowCounts
            | Self::Value { .. }
            | Self::Forecasts { .. }
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
            Self::RowCounts => f.write_str(
                "the clean table is of the raw data that are there; the cleaning job's counts and \
                 Athena's agree",
            ),
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
    /// What proves that the pipeline works, for these series; for all when none is named.
    pub fn new(
        manifest: &Manifest,
        check_sql: &[String],
        deployed: &Deployed,
        series: &[String],
    ) -> Self {
        let Deployed { machine, drift_machine, version, place } = deployed;
        let (place, series) = (*place, series.to_vec());
        let check = |name: &str, kind| Check { name: name.to_owned(), kind };
        let (machine, version) = (machine.clone(), version.clone());
        let mut checks = vec![
            check(
                "execution",
                CheckKind::Run { machine: machine.clone(), series: series.clone(), version },
            ),
            check("history", CheckKind::History { machine }),
            check("row counts", CheckKind::RowCounts),
            check("forecasts", CheckKind::Forecasts { series, place }),
        ];
        checks.extend(manifest.checks.iter().zip(check_sql).map(|(own, sql)| {
            let (description, sql) = (own.description.clone(), sql.clone());
            let (at_least, at_most) = (own.at_least, own.at_most);
            check(&own.name, CheckKind::Value { description, sql, at_least, at_most })
        }));
        if manifest.stack.notify {
            let emails = manifest.stack.emails.len();
            checks.push(check("notification", CheckKind::Notification { emails, place }));
        }
        if let Some(machine) = drift_machine {
            let machine = machine.clone();
            checks.push(check("drift check", CheckKind::Drift { machine }));
        }
        checks.push(check("permissions", CheckKind::Permissions { place }));
        Self { checks }
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

    fn deployed(drift_machine: Option<&str>) -> Deployed {
        Deployed {
            machine: "arn:m".into(),
            drift_machine: drift_machine.map(str::to_owned),
            version: "v1".into(),
            place: Place::Embedded,
        }
    }

    #[test]
    fn what_is_deployed_is_checked_and_nothing_else() {
        let plan = SmokePlan::new(&manifest(), &[], &deployed(Some("arn:d")), &[]);
        let names: Vec<&str> = plan.checks.iter().map(|c| c.name.as_str()).collect();
        let all = "execution, history, row counts, forecasts, notification, drift check, \
                   permissions";
        assert_eq!(names.join(", "), all);
        let mut quiet = manifest();
        quiet.stack.notify = false;
        let fewer = SmokePlan::new(&quiet, &[], &deployed(None), &["Almaty".to_owned()]);
        assert_eq!(fewer.checks.len(), 5);
        let text = fewer.to_string();
        assert!(text.starts_with("  1. execution: run the pipeline for Almaty; only model v1"));
    }
}
