//! A change set judged before it is executed.

use crate::status::StackStatus;

/// What a change set does to one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happens.
    pub action: ChangeAction,
    /// Name in the template.
    pub logical_id: String,
    /// Resource type.
    pub resource_type: String,
    /// Whether the resource is made anew.
    pub replacement: bool,
    /// Properties that change.
    pub properties: Vec<String>,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeAction {
    /// It is made.
    Add,
    /// It is changed.
    Modify,
    /// It is deleted.
    Remove,
    /// Something that this program does not know, such as an import.
    Other,
}

/// What a person must agree to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern(pub String);

/// Everything in `changes` that loses data or widens access. An empty list needs nobody's consent.
///
/// A new stack loses nothing, and its policies are the ones in the repository.
pub fn concerns(status: Option<StackStatus>, changes: &[Change]) -> Vec<Concern> {
    if !status.is_some_and(|s| s != StackStatus::ReviewInProgress) {
        return Vec::new();
    }
    changes.iter().filter_map(concern).map(Concern).collect()
}

fn concern(change: &Change) -> Option<String> {
    let Change { action, logical_id, resource_type, replacement, properties } = change;
    let goes = *action == ChangeAction::Remove || (*action == ChangeAction::Modify && *replacement);
    let verb = if *action == ChangeAction::Remove { "is deleted" } else { "is replaced" };
    match resource_type.as_str() {
        "AWS::S3::Bucket" if goes => {
            Some(format!("{logical_id} (bucket) {verb}: its objects are lost"))
        }
        "AWS::Glue::Database" if goes => {
            Some(format!("{logical_id} (database) {verb}: tables made by hand are lost"))
        }
        "AWS::SNS::Topic" if goes => {
            Some(format!("{logical_id} (topic) {verb}: subscribers must confirm again"))
        }
        "AWS::Logs::LogGroup" if goes => {
            Some(format!("{logical_id} (log group) {verb}: its logs are lost"))
        }
        "AWS::IAM::Role"
            if properties.iter().any(|p| {
                matches!(p.as_str(), "Policies" | "AssumeRolePolicyDocument" | "ManagedPolicyArns")
            }) =>
        {
            Some(format!("{logical_id} (role) gets other permissions"))
        }
        "AWS::S3::BucketPolicy" => Some(format!("{logical_id} (bucket policy) changes")),
        _ if *action == ChangeAction::Other => {
            Some(format!("{logical_id} changes in a way that this program cannot judge"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(
        action: ChangeAction,
        resource_type: &str,
        replacement: bool,
        property: &str,
    ) -> Change {
        Change {
            action,
            logical_id: "X".into(),
            resource_type: resource_type.into(),
            replacement,
            properties: vec![property.into()],
        }
    }

    #[test]
    fn only_what_loses_data_or_widens_access_needs_consent() {
        use ChangeAction::{Add, Modify, Remove};
        let judge = |c| concerns(Some(StackStatus::CreateComplete), &[c]).len();
        assert_eq!(judge(change(Remove, "AWS::S3::Bucket", false, "")), 1);
        assert_eq!(judge(change(Modify, "AWS::S3::Bucket", true, "BucketName")), 1);
        assert_eq!(judge(change(Modify, "AWS::IAM::Role", false, "Policies")), 1);
        assert_eq!(judge(change(Modify, "AWS::S3::Bucket", false, "Tags")), 0);
        assert_eq!(judge(change(Add, "AWS::EC2::Instance", false, "")), 0);
        assert_eq!(concerns(None, &[change(Add, "AWS::IAM::Role", false, "Policies")]).len(), 0);
    }
}
