//! What the verbs that only run something, or only change the model in service, are about to do.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use steppe_wire::registry::InService;
use thiserror::Error;

use crate::status::ExecutionStatus;

/// An execution that is to be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunPlan {
    /// ARN of the state machine.
    pub machine: String,
    /// Its input.
    pub input: Value,
    /// What it is for, for people.
    pub what: &'static str,
}

impl fmt::Display for RunPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.machine.rsplit(':').next().unwrap_or(&self.machine);
        writeln!(f, "  1. {}: start {name} with the input {}", self.what, self.input)
    }
}

/// An execution that is to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RedrivePlan {
    /// ARN of the execution.
    pub execution: String,
    /// How it ended.
    pub ended: &'static str,
}

/// Why no execution can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NothingToRedrive {
    /// Nothing ran.
    #[error("the pipeline has not run yet")]
    NoRun,
    /// It goes on by itself.
    #[error("the newest run is under way")]
    UnderWay,
    /// It is whole.
    #[error("the newest run succeeded")]
    Succeeded,
    /// It ended in a state that does nothing but fail.
    #[error("the newest run was ended by its own checks: going on would only end it again")]
    Decided,
}

impl RedrivePlan {
    /// Goes on with the newest execution, if it did not succeed, unless it was `decided` that it
    /// fails.
    pub fn of(
        newest: Option<(String, ExecutionStatus)>,
        decided: bool,
    ) -> Result<Self, NothingToRedrive> {
        let (execution, status) = newest.ok_or(NothingToRedrive::NoRun)?;
        match status {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => {
                Err(NothingToRedrive::UnderWay)
            }
            ExecutionStatus::Succeeded => Err(NothingToRedrive::Succeeded),
            ExecutionStatus::Failed if decided => Err(NothingToRedrive::Decided),
            ExecutionStatus::Failed | ExecutionStatus::TimedOut | ExecutionStatus::Aborted => {
                Ok(Self { execution, ended: status.as_str() })
            }
        }
    }
}

impl NothingToRedrive {
    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NoRun => "`cargo xtask deploy` runs it",
            Self::UnderWay => "wait for its end",
            Self::Succeeded => "`cargo xtask smoke-test` runs the pipeline once more",
            Self::Decided => {
                "the mail about it, and `cargo xtask logs`, tell why; mend that, and `cargo xtask \
                 smoke-test` starts a new run"
            }
        }
    }
}

impl fmt::Display for RedrivePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { execution, ended } = self;
        writeln!(f, "  1. go on with {execution}, which ended {ended}, where it was")
    }
}

/// A change of the model in service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "promotion", rename_all = "kebab-case")]
pub enum Promotion {
    /// The model is in service already.
    Unchanged {
        /// It.
        version: String,
    },
    /// Another one comes into service.
    Replace {
        /// The one in service.
        from: String,
        /// The one that comes.
        to: String,
    },
    /// The one before comes back into service, and the one in service out of the history.
    Back {
        /// The one in service.
        from: String,
        /// The one that comes.
        to: String,
    },
}

/// Why no model can be put into service.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PromotionError {
    /// No version begins like that.
    #[error("there is no model {wanted}")]
    Unknown {
        /// What was asked for.
        wanted: String,
    },
    /// Several versions begin like that.
    #[error("`{wanted}` means {}", .fitting.join(" or "))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// What begins like that.
        fitting: Vec<String>,
    },
    /// The one in service is the first.
    #[error("there was no model before {version}")]
    NothingBefore {
        /// The one in service.
        version: String,
    },
}

impl PromotionError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "`cargo xtask model list` lists those that there are",
            Self::Ambiguous { .. } => "give more of the version",
            Self::NothingBefore { .. } => {
                "`cargo xtask model list` lists the models that there are"
            }
        }
    }
}

impl Promotion {
    /// The one version that begins with `wanted`, into service.
    pub fn of(
        in_service: &InService,
        versions: &[String],
        wanted: &str,
    ) -> Result<Self, PromotionError> {
        let fitting: Vec<&String> = versions.iter().filter(|v| v.starts_with(wanted)).collect();
        let version = match (fitting.as_slice(), wanted.is_empty()) {
            ([one], false) => (*one).clone(),
            ([], _) => return Err(PromotionError::Unknown { wanted: wanted.to_owned() }),
            _ => {
                let fitting = fitting.into_iter().cloned().collect();
                return Err(PromotionError::Ambiguous { wanted: wanted.to_owned(), fitting });
            }
        };
        let from = in_service.current.model.version.clone();
        if from == version {
            return Ok(Self::Unchanged { version });
        }
        Ok(Self::Replace { from, to: version })
    }

    /// The model before the one in service, back into service.
    pub fn back(in_service: &InService) -> Result<Self, PromotionError> {
        let from = in_service.current.model.version.clone();
        match in_service.previous.first() {
            Some(before) => Ok(Self::Back { from, to: before.model.version.clone() }),
            None => Err(PromotionError::NothingBefore { version: from }),
        }
    }
}

impl fmt::Display for Promotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged { version } => {
                writeln!(f, "nothing to do: model {version} is in service already")
            }
            Self::Replace { from, to } => {
                writeln!(f, "  1. put model {to} into service, after {from}")
            }
            Self::Back { from, to } => {
                writeln!(f, "  1. put model {to} back into service, instead of {from}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use steppe_wire::predict::ModelPointer;
    use steppe_wire::registry::{Promoter, Service};

    use super::*;

    #[test]
    fn only_what_did_not_come_to_its_end_goes_on() {
        use ExecutionStatus::{Aborted, Failed, PendingRedrive, Running, Succeeded, TimedOut};
        let of = |status| RedrivePlan::of(Some(("arn:e".to_owned(), status)), false);
        for status in [Aborted, Failed, TimedOut] {
            let plan = of(status).expect("goes on").to_string();
            let expected = format!("  1. go on with arn:e, which ended {}", status.as_str());
            assert!(plan.starts_with(&expected), "{plan}");
        }
        let decided = RedrivePlan::of(Some(("arn:e".to_owned(), Failed)), true);
        assert_eq!(decided, Err(NothingToRedrive::Decided));
        assert_eq!(of(Succeeded), Err(NothingToRedrive::Succeeded));
        assert_eq!(of(Running), Err(NothingToRedrive::UnderWay));
        assert_eq!(of(PendingRedrive), Err(NothingToRedrive::UnderWay));
        assert_eq!(RedrivePlan::of(None, false), Err(NothingToRedrive::NoRun));
    }

    fn service(version: &str) -> Service {
        let model = ModelPointer { version: version.into(), card_sha256: String::new() };
        Service { model, since: String::new(), by: Promoter::Deploy, reason: String::new() }
    }

    #[test]
    fn a_version_may_be_shortened_while_it_is_clear() {
        let in_service = InService { current: service("ab12"), previous: vec![service("cd56")] };
        let versions = ["ab12", "ab34", "cd56"].map(str::to_owned);
        let of = |wanted| {
            Promotion::of(&in_service, &versions, wanted).map_err(|error| error.to_string())
        };
        let replaced = Promotion::Replace { from: "ab12".into(), to: "cd56".into() };
        assert_eq!(of("cd"), Ok(replaced));
        assert_eq!(of("ab12"), Ok(Promotion::Unchanged { version: "ab12".into() }));
        assert_eq!(of("ab").expect_err("two"), "`ab` means ab12 or ab34");
        assert_eq!(of("x").expect_err("none"), "there is no model x");
        assert!(of("").is_err());
        let back = Promotion::Back { from: "ab12".into(), to: "cd56".into() };
        assert_eq!(Promotion::back(&in_service), Ok(back));
        let first = InService { current: service("a"), previous: vec![] };
        assert!(Promotion::back(&first).is_err());
    }
}
