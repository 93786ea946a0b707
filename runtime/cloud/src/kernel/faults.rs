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
//!     { "service": "s3", "operation": "GetObject", "probability": 0.1, "seed": 7,
//!       "effect": { "slow": { "seconds": 5 } } },
//!     { "service": "s3", "operation": "CreateBucket", "calls": 2,
//!       "effect": { "refuse": { "status": 409, "code": "OperationAborted",
//!                               "message": "…" } } } ],
//!   "parameters": { "/aws/service/…": "ami-0123456789abcdef0" } }
//! ```
//!
//! A rule counts the calls that it fits, from 1, and acts from `from_call` (1 when absent) on: on
//! as many as `calls` says (1 when absent), on each `every`th, or on each with `probability`, which
//! `seed` (0 when absent) and the number of the call decide alone, so a script does the same each
//! time. With `every` or `probability`, `calls` bounds how often, and without it nothing does.
//! Whatever acts is logged with the number of the call.
//!
//! Operations have the names of AWS's API, such as `GetFunction` of Lambda and `ListObjectsV2` of
//! S3; what a service does inside of the cloud is no call. The effects on calls:
//!
//! - `throttle`: refused because there were too many, in the service's words.
//! - `server_error`: failed inside of the service, with a status of 500.
//! - `refuse` with `status`, `code` and `message`: refused with this error.
//! - `expired_token`: refused because the caller's temporary credentials have expired, in the words
//!   of the service's protocol: `ExpiredTokenException`, `ExpiredToken`, `RequestExpired`.
//! - `slow` with `seconds`, at most 900: the call is made when so much time has passed by the
//!   cloud's clock, which a test puts forward.
//! - `reset`: the call is not made, and the connection closed without an answer.
//! - `lost_response`: the call is made, and the connection closed without an answer.
//! - `stale`, of `DescribeStacks` only: answers what was true before the operation under way.
//! - `kill`: the process is gone, at once.
//!
//! Besides operations these points can be named:
//!
//! - CloudFormation's `CreateResource`, `UpdateResource` and `DeleteResource`: `fail_resource` with
//!   `named`, a logical ID or type, and `reason`; or `kill`, before the work. `StackEvent` and
//!   `StackRecord`: `kill`, after an event and before a record of a stack is written.
//! - EC2's `BootInstance`, when an instance is launched: `fail_boot`, which is `"launch"` (the
//!   instance ends in `terminated` with AWS's `Server.InternalError`), `"user_data"` (it runs, and
//!   its user data never do) or `"checks"` (it runs, and its status check is `impaired` and sends
//!   `StatusCheckFailed`). `StartUnit`, each time that a service's program is started in an
//!   instance: `fail_unit` with `named`, the unit without `.service`; the program ends at once with
//!   status 1, so that the unit's `Restart=` decides what comes next.
//!
//! `parameters` gives public SSM parameters other values.

mod script;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use anyhow::{Context, Result};
use axum::response::{IntoResponse, Response};
use parking_lot::{Mutex, MutexGuard};

pub use self::script::{Boot, Effect, Rule, Script};
use self::words::{failed_inside, throttled};
use crate::kernel::clock::Clock;
use crate::kernel::cloud::Config;
use crate::kernel::error::{ApiError, ApiResult};

const CLOUDFORMATION: &str = "cloudformation";

/// What the cloud was told to get wrong.
#[derive(Debug, Default)]
pub struct Faults {
    now: Mutex<(Script, Vec<Count>)>,
    clock: Clock,
}

/// What a rule has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Calls that it fits.
    pub calls: u64,
    /// Those of them whose turn it was.
    pub due: u64,
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
    /// It is not made, and nobody must learn that.
    Reset,
}

impl Faults {
    /// Reads `faults.json` if there is one.
    pub fn open(config: &Config, clock: &Clock) -> Result<Self> {
        let file = config.state_dir.join("faults.json");
        let faults = Self { now: Mutex::default(), clock: clock.clone() };
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
        let counts = vec![Count::default(); script.rules.len()];
        *self.now() = (script, counts);
        Ok(())
    }

    fn now(&self) -> MutexGuard<'_, (Script, Vec<Count>)> {
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
            count.calls += 1;
            if !rule.is_due(count.calls) {
                continue;
            }
            count.due += 1;
            let acts = rule.calls_max().is_none_or(|most| count.due <= most);
            if acts && acting.is_none() {
                let (call, effect) = (count.calls, &rule.effect);
                tracing::warn!(service, operation, call, seed = rule.seed, "fault: {effect:?}");
                acting = Some(rule.effect.clone());
            }
        }
        acting
    }

    /// Counts a call of a service; what is to become of it, after it has been held up.
    pub async fn ahead(&self, service: &str, operation: &str) -> Ahead {
        match self.strike(service, operation, Effect::is_of_calls) {
            Some(Effect::Throttle) => Ahead::Refused(throttled(service)),
            Some(Effect::ServerError) => Ahead::Refused(failed_inside(service)),
            Some(Effect::Refuse { status, code, message }) => {
                Ahead::Refused(ApiError::new(&code, message).with_status(status))
            }
            Some(Effect::ExpiredToken) => Ahead::Refused(ApiError::expired_token()),
            Some(Effect::Slow { seconds }) => {
                self.clock.sleep(Duration::from_secs(seconds)).await;
                Ahead::Made
            }
            Some(Effect::Reset) => Ahead::Reset,
            Some(Effect::LostResponse) => Ahead::Lost,
            Some(Effect::Kill) => die(),
            Some(
                Effect::Stale
                | Effect::FailResource { .. }
                | Effect::FailBoot(_)
                | Effect::FailUnit { .. },
            )
            | None => Ahead::Made,
        }
    }

    /// Makes a call of a service, as the script has it.
    pub async fn around<T>(
        &self,
        service: &str,
        operation: &str,
        call: impl Future<Output = ApiResult<T>>,
    ) -> Outcome<T> {
        match self.ahead(service, operation).await {
            Ahead::Made => Outcome::Answered(call.await),
            Ahead::Refused(error) => Outcome::Answered(Err(error)),
            Ahead::Lost => {
                // What the service would have said is what nobody must learn.
                let _ = call.await;
                Outcome::Lost
            }
            Ahead::Reset => Outcome::Lost,
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
        match self.strike(CLOUDFORMATION, point, fits) {
            Some(Effect::FailResource { reason, .. }) => Err(reason),
            Some(Effect::Kill) => die(),
            _ => Ok(()),
        }
    }

    /// How an instance that is launched has to fail.
    pub fn boot(&self) -> Option<Boot> {
        match self.strike("ec2", "BootInstance", |e| matches!(e, Effect::FailBoot(_)))? {
            Effect::FailBoot(how) => Some(how),
            _ => None,
        }
    }

    /// Whether the program of a unit has to fail that is started in an instance.
    pub fn unit(&self, name: &str) -> bool {
        let fits = |e: &Effect| matches!(e, Effect::FailUnit { named } if named == name);
        self.strike("ec2", "StartUnit", fits).is_some()
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
        if self.strike(CLOUDFORMATION, point, |e| *e == Effect::Kill).is_some() {
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

    /// The script as it is, with what each rule has counted.
    pub fn report(&self) -> (Script, Vec<Count>) {
        self.now().clone()
    }
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
