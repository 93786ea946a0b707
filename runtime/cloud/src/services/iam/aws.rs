//! AWS's own policies, of which `models/managed_policies.json` has those that a data pipeline and
//! its people could use, as AWS has them now; `models/managed_policy_names.txt` has the names of
//! all. Origin and date are in these files.
//!
//! Differences from AWS: only the version in force is here, an older one is refused by name. IDs
//! and descriptions are not published as data, and left out. A policy that AWS has and that is not
//! here is refused by name. One that AWS made after the list was written does not exist here.
//!
//! <https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::policies::{ManagedPolicy, Version, not_attachable};
use crate::kernel::error::{ApiError, ApiResult};

/// What their ARNs begin with.
const ARN: &str = "arn:aws:iam::aws:policy/";
/// Those that only AWS's own services attach, to roles of their own.
const OF_SERVICES: &str = "aws-service-role/";

static POLICIES: LazyLock<BTreeMap<String, Arc<ManagedPolicy>>> = LazyLock::new(|| {
    let data = include_str!("../../../models/managed_policies.json");
    let data: Data = serde_json::from_str(data).expect("a test parses the same text");
    let policies = data.policies.into_iter();
    policies.map(|(name, published)| (format!("{ARN}{name}"), published.policy(&name))).collect()
});

static NAMES: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("../../../models/managed_policy_names.txt").lines();
    lines.filter(|line| !line.starts_with('#')).collect()
});

#[derive(Deserialize)]
struct Data {
    policies: BTreeMap<String, Published>,
}

#[derive(Deserialize)]
struct Published {
    version: u32,
    created: Timestamp,
    updated: Timestamp,
    document: Value,
}

impl Published {
    fn policy(self, name: &str) -> Arc<ManagedPolicy> {
        let Self { version: number, created, updated, document } = self;
        Arc::new(ManagedPolicy {
            name: name.rsplit('/').next().unwrap_or(name).to_owned(),
            id: None,
            description: None,
            versions: vec![Version { number, document, created: updated }],
            default: number,
            made: number,
            created,
        })
    }
}

/// Whether it is the ARN of a policy of AWS's.
pub fn is_arn(arn: &str) -> bool {
    arn.starts_with(ARN)
}

/// All that are here, by ARN.
pub fn all<'a>() -> impl Iterator<Item = (&'a str, &'a Arc<ManagedPolicy>)> {
    POLICIES.iter().map(|(arn, policy)| (arn.as_str(), policy))
}

/// The policy of that ARN.
pub fn get(arn: &str) -> Option<Arc<ManagedPolicy>> {
    POLICIES.get(arn).cloned()
}

/// The policy of that ARN; `gone` is what AWS says of one that it does not have.
pub fn find(arn: &str, gone: impl FnOnce(&str) -> ApiError) -> ApiResult<Arc<ManagedPolicy>> {
    let name = arn.strip_prefix(ARN).unwrap_or(arn);
    match get(arn) {
        Some(policy) => Ok(policy),
        None if NAMES.contains(name) => Err(not_here(arn)),
        None => Err(gone(arn)),
    }
}

/// The policy of that ARN, to be attached.
pub fn attachable(arn: &str) -> ApiResult<Arc<ManagedPolicy>> {
    let name = arn.strip_prefix(ARN).unwrap_or(arn);
    if name.starts_with(OF_SERVICES) && NAMES.contains(name) {
        let message = "Cannot attach a Service Role Policy to a Customer Role.";
        return Err(ApiError::new("PolicyNotAttachable", message));
    }
    find(arn, not_attachable)
}

fn not_here(arn: &str) -> ApiError {
    let message = format!(
        "The embedded cloud does not have the document of AWS's policy {arn}: write the statements \
         that are needed as a policy of your own."
    );
    ApiError::new("NotImplemented", message).with_status(501)
}

/// That a version is not here, which AWS might have: it keeps former ones.
pub fn no_former_version(arn: &str, id: &str) -> ApiError {
    let message = format!(
        "The embedded cloud does not have version {id} of AWS's policy {arn}, only the one in force."
    );
    ApiError::new("NotImplemented", message).with_status(501)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::iam::check_policy;

    #[test]
    fn every_document_is_one_that_is_evaluated() {
        assert!(POLICIES.len() > 80 && NAMES.len() > 1_500);
        for (arn, policy) in all() {
            assert_eq!(check_policy(policy.document()), Ok(()), "{arn}");
            assert!(NAMES.contains(arn.strip_prefix(ARN).expect("of AWS's")), "{arn}");
            assert!(policy.created <= policy.versions[0].created, "{arn}");
        }
    }

    #[test]
    fn what_is_not_here_is_refused_and_what_aws_does_not_have_is_gone() {
        let code = |name: &str| {
            let refusal = attachable(&format!("{ARN}{name}")).expect_err("refused");
            (refusal.code, refusal.status)
        };
        assert!(attachable(&format!("{ARN}service-role/AWSLambdaBasicExecutionRole")).is_ok());
        assert_eq!(code("ReadOnlyAccess"), ("NotImplemented".into(), 501));
        // A path that is left out is a common mistake.
        assert_eq!(code("AWSLambdaBasicExecutionRole"), ("NoSuchEntity".into(), 404));
        let of_service = "aws-service-role/AWSLambdaServiceRolePolicy";
        assert_eq!(code(of_service), ("PolicyNotAttachable".into(), 400));
    }
}
