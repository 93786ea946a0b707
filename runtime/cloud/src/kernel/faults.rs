//! Faults on demand, for tests of what speaks to the cloud and of the cloud itself.
//!
//! Rules are read from `faults.json` in the state directory when the cloud starts, and replaced by
//! `PUT /_steppe/faults` with the header `x-steppe-identity`:
//!
//! ```json
//! { "rules": [
//!     { "service": "cloudformation", "operation": "DescribeStacks", "from_call": 2, "calls": 3,
//!       "effect": "throttle" },
//!     { "service": "cloudformation", "operation": "DeleteResource",
//!       "effect": { "fail_resource": { "named": "SubnetA", "reason": "…" } } },
//!     { "service": "s3", "operation": "CreateBucket", "calls": 2,
//!       "effect": { "refuse": { "status": 409, "code": "OperationAborted",
//!                               "message": "…" } } } ],
//!   "parameters": { "/aws/service/…": "ami-0123456789abcdef0" } }
//! ```
//!
//! A rule counts the calls that it fits, from 1, and acts on `calls` of them from `from_call` on
//! (both are 1 when absent). Operations have the names of AWS's API, such as `GetFunction` of
//! Lambda and `ListObjectsV2` of S3; what a service does inside of the cloud is no call. Besides
//! operations these points of CloudFormation can be named: `CreateResource`, `UpdateResource` and
//! `DeleteResource` (for `fail_resource`, which fits resources by logical ID or type, and for
//! `kill` before the work), `StackEvent` and `StackRecord` (for `kill` after an event and before a
//! record of a stack is written). `parameters` gives public SSM parameters other values. Nothing is
//! seeded; what acts is logged.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use axum::response::{IntoResponse, Response};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use crate::kernel::cloud::Config;
use crate::kernel::error::{ApiError, ApiResult};

/// Rules of one script.
const RULES_MAX: usize = 100;
const SERVICE: &str = "cloudformation";

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The call is refused because there were too many, in the service's words.
    Throttle,
    /// The call fails inside the service.
    ServerError,
    /// The call is refused with this error.
    Refuse {
        /// HTTP status.
        status: u16,
        /// AWS's error code.
        code: String,
        /// The message.
        message: String,
    },
    /// `DescribeStacks` answers what was true before the operation under way.
    Stale,
    /// The call is done, and the connection closed without an answer.
    LostResponse,
    /// The process is gone, at once.
    Kill,
    /// A resource fails.
    FailResource {
        /// Its logical ID or type.
        named: String,
        /// Why, in the words of its event.
        reason: String,
    },
}

/// When something fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The service, as in signatures: `cloudformation`.
    pub service: String,
    /// The operation or point.
    pub operation: String,
    /// The first call that it acts on.
    #[serde(default = "one")]
    pub from_call: u64,
    /// On how many calls.
    #[serde(default = "one")]
    pub calls: u64,
    /// What happens.
    pub effect: Effect,
}

fn one() -> u64 {
    1
}

/// Rules, and other values of public parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Values of public SSM parameters by name.
    pub parameters: BTreeMap<String, String>,
}

impl Script {
    fn check(&self) -> Result<()> {
        let bad = |why: &str| anyhow::bail!("a rule is impossible: {why}");
        if self.rules.len() > RULES_MAX || self.parameters.len() > RULES_MAX {
            return bad(&format!("there are more than {RULES_MAX}"));
        }
        for rule in &self.rules {
            let point = rule.operation.ends_with("Resource") && rule.service == SERVICE;
            if rule.from_call == 0 || rule.calls == 0 {
                return bad("calls are counted from 1");
            }
            if rule.effect == Effect::Stale && rule.operation != "DescribeStacks" {
                return bad("only DescribeStacks can be stale");
            }
            if matches!(rule.effect, Effect::Refuse { status, .. } if !(400..600).contains(&status))
            {
                return bad("errors have a status from 400 to 599");
            }
            if matches!(rule.effect, Effect::FailResource { .. }) && !point {
                return bad("resources fail in cloudformation's CreateResource and the like");
            }
        }
        Ok(())
    }
}

/// What the cloud was told to get wrong.
#[derive(Debug, Default)]
pub struct Faults {
    now: Mutex<(Script, Vec<u64>)>,
}

/// How a call ended.
#[derive(Debug)]
pub enum Outcome<T = serde_json::Value> {
    /// As always.
    Answered(ApiResult<T>),
    /// The caller must not learn how: the connection is closed.
    Lost,
}

/// What is to become of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Ahead {
    /// It is made.
    Made,
    /// It is not made.
    Refused(ApiError),
    /// It is made, and nobody must learn how it ended.
    Lost,
}

impl Faults {
    /// Reads `faults.json` if there is one.
    pub fn open(config: &Config) -> Result<Self> {
        let file = config.state_dir.join("faults.json");
        let faults = Self::default();
        match std::fs::read(&file) {
            Ok(bytes) => {
                faults.set(&bytes).with_context(|| format!("cannot use {}", file.display()))?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", file.display())),
        }
        Ok(faults)
    }

    /// Replaces the script.
    pub fn set(&self, text: &[u8]) -> Result<()> {
        let script: Script = serde_json::from_slice(text).context("this is no script of faults")?;
        script.check()?;
        tracing::warn!("{} faults are scripted", script.rules.len());
        let counts = vec![0; script.rules.len()];
        *self.now() = (script, counts);
        Ok(())
    }

    fn now(&self) -> MutexGuard<'_, (Script, Vec<u64>)> {
        self.now.lock()
    }

    /// Counts a call for all rules that fit it; the effect of the first that acts.
    fn strike(
        &self,
        service: &str,
        operation: &str,
        fits: impl Fn(&Effect) -> bool,
    ) -> Option<Effect> {
        let mut now = self.now();
        let (script, counts) = &mut *now;
        let mut acting = None;
        for (rule, count) in script.rules.iter().zip(counts) {
            if rule.service != service || rule.operation != operation || !fits(&rule.effect) {
                continue;
            }
            *count += 1;
            let acts = *count >= rule.from_call && *count - rule.from_call < rule.calls;
            if acts && acting.is_none() {
                tracing::warn!(service, operation, call = *count, "fault: {:?}", rule.effect);
                acting = Some(rule.effect.clone());
            }
        }
        acting
    }

    /// Counts a call of a service; what is to become of it.
    pub fn ahead(&self, service: &str, operation: &str) -> Ahead {
        let handled = |e: &Effect| !matches!(e, Effect::Stale | Effect::FailResource { .. });
        match self.strike(service, operation, handled) {
            Some(Effect::Throttle) => Ahead::Refused(throttled(service)),
            Some(Effect::ServerError) => Ahead::Refused(failed_inside(service)),
            Some(Effect::Refuse { status, code, message }) => {
                Ahead::Refused(ApiError::new(&code, message).with_status(status))
            }
            Some(Effect::LostResponse) => Ahead::Lost,
            Some(Effect::Kill) => die(),
            Some(Effect::Stale | Effect::FailResource { .. }) | None => Ahead::Made,
        }
    }

    /// Makes a call of a service, as the script has it.
    pub async fn around<T>(
        &self,
        service: &str,
        operation: &str,
        call: impl Future<Output = ApiResult<T>>,
    ) -> Outcome<T> {
        match self.ahead(service, operation) {
            Ahead::Made => Outcome::Answered(call.await),
            Ahead::Refused(error) => Outcome::Answered(Err(error)),
            Ahead::Lost => {
                // What the service would have said is what nobody must learn.
                let _ = call.await;
                Outcome::Lost
            }
        }
    }

    /// Whether an answer has to be stale.
    pub fn is_stale(&self, service: &str, operation: &str) -> bool {
        self.strike(service, operation, |e| *e == Effect::Stale).is_some()
    }

    /// Why a resource has to fail at `point`: `CreateResource`, `UpdateResource`, `DeleteResource`.
    pub fn resource(&self, point: &str, logical_id: &str, kind: &str) -> Result<(), String> {
        let fits = |e: &Effect| match e {
            Effect::FailResource { named, .. } => named == logical_id || named == kind,
            other => *other == Effect::Kill,
        };
        match self.strike(SERVICE, point, fits) {
            Some(Effect::FailResource { reason, .. }) => Err(reason),
            Some(Effect::Kill) => die(),
            _ => Ok(()),
        }
    }

    /// An event of a stack was written.
    pub fn event(&self) {
        self.kill_at("StackEvent");
    }

    /// A record of a stack is about to be written.
    pub fn record(&self) {
        self.kill_at("StackRecord");
    }

    fn kill_at(&self, point: &str) {
        if self.strike(SERVICE, point, |e| *e == Effect::Kill).is_some() {
            die();
        }
    }

    /// Another value of a public SSM parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.now().0.parameters.get(name).cloned()
    }

    /// The script as it is.
    pub fn script(&self) -> Script {
        self.now().0.clone()
    }

    /// The script as it is, with the calls that each rule has counted.
    pub fn report(&self) -> (Script, Vec<u64>) {
        self.now().clone()
    }
}

fn failed_inside(service: &str) -> ApiError {
    let (code, words) = match service {
        "s3" => ("InternalError", "We encountered an internal error. Please try again."),
        "ec2" => ("InternalError", "An internal error has occurred."),
        "lambda" => ("ServiceException", "The Lambda service encountered an internal error."),
        _ => ("InternalFailure", "An internal error has occurred."),
    };
    ApiError::new(code, words).with_status(500)
}

fn throttled(service: &str) -> ApiError {
    let (code, words, status) = match service {
        "ec2" => ("RequestLimitExceeded", "Request limit exceeded.", 503),
        "s3" => ("SlowDown", "Please reduce your request rate.", 503),
        "lambda" => ("TooManyRequestsException", "Rate Exceeded.", 429),
        "sns" => ("Throttled", "Rate exceeded", 429),
        "cloudformation" | "iam" | "sts" => ("Throttling", "Rate exceeded", 400),
        _ => ("ThrottlingException", "Rate exceeded", 400),
    };
    ApiError::new(code, words).with_status(status)
}

/// The process ends as if somebody had killed it: nothing is written, nothing is put in order.
fn die() -> ! {
    std::process::abort()
}

/// An answer that is none: the connection is closed before a byte of it was sent.
pub fn lost() -> Response {
    let broken = futures::stream::once(async {
        Err::<bytes::Bytes, _>(std::io::Error::other("a fault of the script"))
    });
    axum::body::Body::from_stream(broken).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_act_on_the_calls_that_they_name() {
        let faults = Faults::default();
        let script = r#"{"rules": [{"service": "cloudformation", "operation": "DescribeStacks",
            "from_call": 2, "calls": 2, "effect": "stale"},
            {"service": "cloudformation", "operation": "DeleteResource",
            "effect": {"fail_resource": {"named": "A", "reason": "busy"}}}]}"#;
        faults.set(script.as_bytes()).expect("a script");
        let seen: Vec<bool> =
            (0..4).map(|_| faults.is_stale("cloudformation", "DescribeStacks")).collect();
        assert_eq!(seen, [false, true, true, false]);
        assert_eq!(faults.resource("DeleteResource", "B", "T"), Ok(()));
        assert_eq!(faults.resource("DeleteResource", "A", "T"), Err("busy".to_owned()));
        assert_eq!(faults.resource("DeleteResource", "A", "T"), Ok(()));
    }

    #[tokio::test]
    async fn calls_are_refused_in_the_services_words_or_done_without_an_answer() {
        let faults = Faults::default();
        let rule = |service: &str, effect: &str| {
            format!(r#"{{"service": "{service}", "operation": "Describe", "effect": "{effect}"}}"#)
        };
        let rules = [
            rule("cloudformation", "throttle"),
            rule("ec2", "throttle"),
            rule("glue", "server_error"),
            rule("sns", "lost_response"),
        ];
        let script = format!(r#"{{"rules": [{}]}}"#, rules.join(", "));
        faults.set(script.as_bytes()).expect("a script");
        let calls = std::sync::atomic::AtomicU32::new(0);
        let call = async |service: &str| {
            let done = async {
                calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                Ok(serde_json::json!({}))
            };
            match faults.around(service, "Describe", done).await {
                Outcome::Answered(Err(error)) => format!("{} {}", error.status, error.code),
                Outcome::Answered(Ok(_)) => "done".to_owned(),
                Outcome::Lost => "lost".to_owned(),
            }
        };
        let mut said = Vec::new();
        for service in ["cloudformation", "ec2", "glue", "sns", "sns"] {
            said.push(call(service).await);
        }
        let expected =
            ["400 Throttling", "503 RequestLimitExceeded", "500 InternalFailure", "lost", "done"];
        assert_eq!(said, expected);
        assert_eq!(calls.into_inner(), 2, "what is lost was done");
    }

    #[test]
    fn what_cannot_be_done_is_an_error() {
        let faults = Faults::default();
        let refused = |text: &str| faults.set(text.as_bytes()).map_err(|e| format!("{e:#}"));
        for (effect, why) in [
            (r#""explode""#, "unknown variant `explode`"),
            (r#""stale""#, "only DescribeStacks can be stale"),
            (r#"{"fail_resource": {"named": "A", "reason": "r"}}"#, "resources fail in"),
        ] {
            let rule = format!(
                r#"{{"rules": [{{"service": "s3", "operation": "PutObject", "effect": {effect}}}]}}"#
            );
            let error = refused(&rule).expect_err("refused");
            assert!(error.contains(why), "{error}");
        }
        assert!(refused(r#"{"rules": [], "more": 1}"#).is_err());
    }
}
