//! What S3 checks of a bucket's policy beyond the grammar.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>

use super::document::{Malformed, What, malformed};
use super::pattern::Pattern;

/// Bytes of a bucket's policy.
pub const BUCKET_POLICY_BYTES_MAX: usize = 20 * 1024;

const ARN: &str = "arn:aws:s3:::";

/// Only S3's actions.
pub fn check_action(action: &str) -> Result<(), Malformed> {
    let name = action.to_ascii_lowercase();
    if name == "*" || name.strip_prefix("s3:").is_some_and(|name| !name.is_empty()) {
        Ok(())
    } else {
        malformed("Policy has invalid action")
    }
}

/// Only this bucket and its objects.
pub fn check_resources(resources: &[String], bucket: &str) -> Result<(), Malformed> {
    let own = |resource: &String| {
        resource.strip_prefix(ARN).is_some_and(|rest| {
            let named = rest.split('/').next().unwrap_or(rest);
            named.contains("${") || Pattern::wildcards(named).matches(bucket)
        })
    };
    if !resources.is_empty() && resources.iter().all(own) {
        Ok(())
    } else {
        malformed("Policy has invalid resource")
    }
}

/// Each action must be about one of the resources: some are done to buckets, some to objects.
pub fn check_reach(actions: &What, resources: &What) -> Result<(), Malformed> {
    let (What::Only(actions), What::Only(resources)) = (actions, resources) else {
        return Ok(());
    };
    let names = |resource: &String| resource.strip_prefix(ARN).unwrap_or(resource).to_owned();
    let buckets = resources.iter().any(|r| !names(r).contains('/'));
    let objects = resources.iter().any(|r| names(r).contains(['/', '*']));
    let reaches = |action: &String| match about_objects(action) {
        Some(true) => objects,
        Some(false) => buckets,
        None => true,
    };
    if actions.iter().all(reaches) {
        Ok(())
    } else {
        malformed("Action does not apply to any resource(s) in statement")
    }
}

/// Whether an action is done to objects; `None` when its pattern may mean both.
fn about_objects(action: &str) -> Option<bool> {
    const OBJECTS: &[&str] = &[
        "abortmultipartupload",
        "bypassgovernanceretention",
        "listmultipartuploadparts",
        "objectowneroverridetobucketowner",
        "replicatedelete",
        "replicateobject",
        "replicatetags",
    ];
    let name = action.to_ascii_lowercase();
    let name = name.strip_prefix("s3:").unwrap_or(&name);
    if name.contains(['*', '?']) {
        return None;
    }
    let settings_of_bucket = name.starts_with("getbucket") || name.starts_with("putbucket");
    Some(OBJECTS.contains(&name) || (name.contains("object") && !settings_of_bucket))
}
