//! What was called: `trail.ndjson`, one event a line in the form of CloudTrail, of every call of an
//! operation that is no data event. It is bounded: [`crate::kernel::rotated`].
//!
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>
//!
//! Requests and answers are not kept, because they hold secrets: `requestParameters` and
//! `responseElements` are null. What an event is about are the resources that permissions were
//! asked for. Requests that no service saw have no events: those whose signature was wrong, and
//! those that a scripted fault refused; neither has what is not implemented. What CloudFormation
//! makes without an operation of its service has the events of the actions that AWS's handlers
//! call. A service that uses a role of its own accord has AWS's `AWS Internal` as its address.
//! Unlike a decision of the audit log, an event is written after the call, and one that the disk
//! does not take is lost.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::cloud::Cloud;
use super::error::ApiError;
use super::identity::{Caller, Principal};
use super::rotated::Rotated;

/// Version of the events' form.
const EVENT_VERSION: &str = "1.11";
/// What AWS writes where a service has no address.
const INTERNAL: &str = "AWS Internal";
/// Begins of the names of operations that only look.
const READING: [&str; 11] = [
    "BatchGet", "Check", "Describe", "Estimate", "Filter", "Get", "Head", "List", "Lookup",
    "Simulate", "Validate",
];
/// More of them.
const ALSO_READING: [&str; 8] = [
    "AssumeRole",
    "Decrypt",
    "DecodeAuthorizationMessage",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "SearchTables",
    "TestEventPattern",
];
/// Operations whose events have other names, by service.
const CALLED: [(&str, &str, &str); 21] = [
    ("lambda", "AddPermission", "AddPermission20150331v2"),
    ("lambda", "CreateFunction", "CreateFunction20150331"),
    ("lambda", "DeleteFunction", "DeleteFunction20150331"),
    ("lambda", "GetFunction", "GetFunction20150331v2"),
    ("lambda", "GetFunctionConfiguration", "GetFunctionConfiguration20150331v2"),
    ("lambda", "GetPolicy", "GetPolicy20150331v2"),
    ("lambda", "ListFunctions", "ListFunctions20150331"),
    ("lambda", "ListTags", "ListTags20170331"),
    ("lambda", "RemovePermission", "RemovePermission20150331v2"),
    ("lambda", "TagResource", "TagResource20170331v2"),
    ("lambda", "UntagResource", "UntagResource20170331v2"),
    ("lambda", "UpdateFunctionCode", "UpdateFunctionCode20150331v2"),
    ("lambda", "UpdateFunctionConfiguration", "UpdateFunctionConfiguration20150331v2"),
    ("s3", "GetBucketLifecycleConfiguration", "GetBucketLifecycle"),
    ("s3", "PutBucketLifecycleConfiguration", "PutBucketLifecycle"),
    ("s3", "GetBucketNotificationConfiguration", "GetBucketNotification"),
    ("s3", "PutBucketNotificationConfiguration", "PutBucketNotification"),
    ("s3", "GetPublicAccessBlock", "GetBucketPublicAccessBlock"),
    ("s3", "PutPublicAccessBlock", "PutBucketPublicAccessBlock"),
    ("s3", "DeletePublicAccessBlock", "DeleteBucketPublicAccessBlock"),
    ("s3", "GetObjectLockConfiguration", "GetBucketObjectLockConfiguration"),
];

/// The log.
#[derive(Debug)]
pub struct Trail(Rotated);

impl Trail {
    /// Appends to `trail.ndjson` in `dir`.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self(Rotated::open(dir, "trail.ndjson")?))
    }

    /// Shows the events with what they are about (`event`, `resources`), the newest first, until
    /// `each` has seen enough.
    pub fn newest_first(&self, each: impl FnMut(Value) -> bool) -> std::io::Result<()> {
        self.0.newest_first(each)
    }
}

impl Cloud {
    /// Writes a call into the trail that was answered, or failed so.
    pub fn note(&self, caller: &Caller, service: &str, operation: &str, error: Option<&ApiError>) {
        let is_data = crate::services::find(service).is_none_or(|s| s.data.contains(&operation));
        if is_data || error.is_some_and(|error| error.status == 501) {
            return;
        }
        let line = json!({
            "event": self.event(caller, service, operation, error),
            "resources": caller.origin.touched.all(),
        });
        if let Err(error) = self.trail.0.append(&line) {
            tracing::error!("the call {service}:{operation} is not in the trail: {error}");
        }
    }

    fn event(
        &self,
        caller: &Caller,
        service: &str,
        operation: &str,
        error: Option<&ApiError>,
    ) -> Value {
        let origin = &caller.origin;
        let invoked_by = origin.called_via.as_deref().or(match &caller.principal {
            Principal::Service { name, .. } => Some(name),
            _ => None,
        });
        let address = origin.source_ip.map(|ip| ip.to_string());
        let address = address.as_deref().or(invoked_by).unwrap_or(INTERNAL);
        let agent = origin.user_agent.as_deref().or(invoked_by).unwrap_or(INTERNAL);
        let random = || uuid::Uuid::new_v4().to_string();
        let called = CALLED.iter().find(|(of, name, _)| *of == service && *name == operation);
        let mut event = json!({
            "eventVersion": EVENT_VERSION,
            "userIdentity": self.identity_of(caller, invoked_by),
            "eventTime": self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "eventSource": format!("{service}.amazonaws.com"),
            "eventName": called.map_or(operation, |(.., name)| name),
            "awsRegion": if service == "iam" { "us-east-1" } else { &self.config.region },
            "sourceIPAddress": address,
            "userAgent": agent,
            "requestParameters": null,
            "responseElements": null,
            "requestID": origin.request_id.clone().unwrap_or_else(random),
            "eventID": random(),
            "readOnly": only_reads(operation),
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": self.config.account,
            "eventCategory": "Management",
        });
        if let Some(error) = error {
            event["errorCode"] = code(service, &error.code).into();
            event["errorMessage"] = error.message.as_str().into();
        }
        event
    }

    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>
    fn identity_of(&self, caller: &Caller, invoked_by: Option<&str>) -> Value {
        let account = &self.config.account;
        let mut identity = match &caller.principal {
            Principal::Service { .. } => json!({ "type": "AWSService" }),
            Principal::Administrator | Principal::User { .. } => json!({
                "type": "IAMUser", "principalId": caller.user_id(), "arn": caller.arn,
                "accountId": account,
                "userName": caller.arn.rsplit('/').next().unwrap_or_default(),
            }),
            Principal::Role { role, role_id, .. } => json!({
                "type": "AssumedRole", "principalId": caller.user_id(), "arn": caller.arn,
                "accountId": account,
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "Role", "principalId": role_id,
                        "arn": self.config.global_arn("iam", &format!("role/{role}")),
                        "accountId": account, "userName": role,
                    },
                    "attributes": {
                        "creationDate": caller
                            .issued
                            .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
                        "mfaAuthenticated": "false",
                    },
                },
            }),
        };
        if let Some(key) = &caller.origin.access_key_id {
            identity["accessKeyId"] = key.as_str().into();
        }
        if let Some(service) = invoked_by {
            identity["invokedBy"] = service.into();
        }
        identity
    }
}

/// Whether an operation changes nothing.
fn only_reads(operation: &str) -> bool {
    READING.iter().any(|begin| operation.starts_with(begin)) || ALSO_READING.contains(&operation)
}

/// An error's code as events have it: a denial has the same everywhere but in EC2, whose codes say
/// whose fault it was.
fn code(service: &str, code: &str) -> String {
    match (service, code) {
        ("ec2", "AccessDeniedException") => "Client.UnauthorizedOperation".to_owned(),
        ("ec2", code) if code.starts_with("Internal") => format!("Server.{code}"),
        ("ec2", code) => format!("Client.{code}"),
        (_, "AccessDeniedException") => "AccessDenied".to_owned(),
        (_, code) => code.to_owned(),
    }
}
