//! What fails, when: the rules that `faults.json` has.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::CLOUDFORMATION;

/// Rules of one script.
const RULES_MAX: usize = 100;
/// Longest delay of a call: as long as a function may run.
const SECONDS_MAX: u64 = 900;

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
    /// The call is refused because the credentials have expired, in the protocol's words.
    ExpiredToken,
    /// The call is made later.
    Slow {
        /// After so many seconds of the cloud's clock.
        seconds: u64,
    },
    /// The call is not made, and the connection closed without an answer.
    Reset,
    /// The call is done, and the connection closed without an answer.
    LostResponse,
    /// `DescribeStacks` answers what was true before the operation under way.
    Stale,
    /// The process is gone, at once.
    Kill,
    /// A resource fails.
    FailResource {
        /// Its logical ID or type.
        named: String,
        /// Why, in the words of its event.
        reason: String,
    },
    /// An instance does not boot.
    FailBoot(Boot),
    /// A service of an instance fails when it is started.
    FailUnit {
        /// The unit without `.service`.
        named: String,
    },
}

/// How an instance does not boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boot {
    /// It is terminated before it runs.
    Launch,
    /// It runs, and its user data do not.
    UserData,
    /// It runs, and its status check fails.
    Checks,
}

impl Effect {
    /// Whether it is about a call, and not about a point of a service's work.
    pub fn is_of_calls(&self) -> bool {
        !matches!(
            self,
            Self::Stale | Self::FailResource { .. } | Self::FailBoot(_) | Self::FailUnit { .. }
        )
    }

    /// Why it cannot act there.
    fn misplaced(&self, service: &str, operation: &str) -> Option<&'static str> {
        let resource = service == CLOUDFORMATION && operation.ends_with("Resource");
        let record = service == CLOUDFORMATION && matches!(operation, "StackEvent" | "StackRecord");
        let boot = service == "ec2" && operation == "BootInstance";
        let unit = service == "ec2" && operation == "StartUnit";
        match self {
            Self::Kill if resource || record => None,
            Self::Stale if operation != "DescribeStacks" => {
                Some("only DescribeStacks can be stale")
            }
            Self::FailResource { .. } if !resource => {
                Some("resources fail in cloudformation's CreateResource and the like")
            }
            Self::FailBoot(_) if !boot => Some("instances fail in ec2's BootInstance"),
            Self::FailUnit { .. } if !unit => Some("units fail in ec2's StartUnit"),
            Self::FailResource { .. } | Self::FailBoot(_) | Self::FailUnit { .. } => None,
            _ if resource || record || boot || unit => Some("this point has other effects"),
            _ => None,
        }
    }
}

/// When something fails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The service, as in signatures: `cloudformation`.
    pub service: String,
    /// The operation or point.
    pub operation: String,
    /// The first call that it acts on.
    #[serde(default = "one")]
    pub from_call: u64,
    /// On how many calls at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// On each so many-th call only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// On each call with this probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// What decides, with the number of the call, which calls these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// What happens.
    pub effect: Effect,
}

fn one() -> u64 {
    1
}

impl Rule {
    /// On how many calls it acts at most, if that is bounded.
    pub fn calls_max(&self) -> Option<u64> {
        let scheduled = self.every.is_some() || self.probability.is_some();
        self.calls.or(if scheduled { None } else { Some(1) })
    }

    /// Whether its turn is at the call of that number.
    pub fn is_due(&self, call: u64) -> bool {
        let Some(since) = call.checked_sub(self.from_call) else { return false };
        match (self.every, self.probability) {
            (Some(every), _) => since % every == 0,
            (None, Some(probability)) => chance(self.seed.unwrap_or(0), call) < probability,
            (None, None) => true,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.from_call == 0 || self.calls == Some(0) || self.every == Some(0) {
            return Err("calls are counted from 1");
        }
        if self.every.is_some() && self.probability.is_some() {
            return Err("a rule has `every` or `probability`");
        }
        if self.probability.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
            return Err("a probability is above 0 and at most 1");
        }
        if self.seed.is_some() && self.probability.is_none() {
            return Err("a seed is of a probability");
        }
        match self.effect {
            Effect::Refuse { status, .. } if !(400..600).contains(&status) => {
                return Err("errors have a status from 400 to 599");
            }
            Effect::Slow { seconds } if !(1..=SECONDS_MAX).contains(&seconds) => {
                return Err("a slow call takes 1 to 900 seconds");
            }
            _ => {}
        }
        self.effect.misplaced(&self.service, &self.operation).map_or(Ok(()), Err)
    }
}

/// A number from 0 to 1 of a seed and a call, by SplitMix64 (Steele, Lea and Flood, 2014).
fn chance(seed: u64, call: u64) -> f64 {
    let mut mixed = seed.wrapping_add(call.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// Rules, and other values of public parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Values of public SSM parameters by name.
    pub parameters: BTreeMap<String, String>,
}

impl Script {
    /// Whether all of it can be done.
    pub fn check(&self) -> Result<()> {
        if self.rules.len() > RULES_MAX || self.parameters.len() > RULES_MAX {
            anyhow::bail!("a rule is impossible: there are more than {RULES_MAX}");
        }
        for rule in &self.rules {
            rule.check().map_err(|why| anyhow::anyhow!("a rule is impossible: {why}"))?;
        }
        Ok(())
    }
}
