//! What is told of a change, in the two forms that S3 has: the records that functions, queues and
//! topics get, and EventBridge's events.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>

use jiff::Timestamp;
use serde_json::{Value, json};

use super::notifications::Notifications;
use super::store::{Object, To};
use crate::kernel::cloud::iso;

/// Who S3 itself is in its messages.
const SERVICE: &str = "s3.amazonaws.com";

/// Who made a change, and by what.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The operation: `PutObject`; `Lifecycle Expiration` when it was a rule.
    pub reason: &'static str,
    /// The caller's unique ID; nothing when it was S3 itself.
    pub caller: Option<String>,
    /// Address of the client.
    pub source_ip: String,
    /// ID of the request.
    pub request_id: String,
}

impl Cause {
    /// A change that a service of this cloud made for somebody.
    pub fn of_a_service(reason: &'static str) -> Self {
        let source_ip = "127.0.0.1".to_owned();
        Self { reason, caller: Some(SERVICE.to_owned()), source_ip, request_id: new_request_id() }
    }

    /// A lifecycle rule.
    pub fn lifecycle() -> Self {
        let reason = "Lifecycle Expiration";
        let source_ip = SERVICE.to_owned();
        Self { reason, caller: None, source_ip, request_id: new_request_id() }
    }
}

/// An ID of a request in AWS's form.
pub fn new_request_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..16].to_uppercase()
}

/// What was done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Written,
    Removed,
    Marked,
    Tagged,
}

/// A change of an object.
#[derive(Debug)]
pub struct Change<'a> {
    kind: Kind,
    key: &'a str,
    object: &'a Object,
}

impl<'a> Change<'a> {
    /// An object was written.
    pub fn written(key: &'a str, object: &'a Object) -> Self {
        Self { kind: Kind::Written, key, object }
    }

    /// A version was deleted for good.
    pub fn removed(key: &'a str, object: &'a Object) -> Self {
        Self { kind: Kind::Removed, key, object }
    }

    /// A delete marker was made.
    pub fn marked(key: &'a str, object: &'a Object) -> Self {
        Self { kind: Kind::Marked, key, object }
    }

    /// An object has other tags.
    pub fn tagged(key: &'a str, object: &'a Object) -> Self {
        Self { kind: Kind::Tagged, key, object }
    }

    /// Its name without `s3:`.
    fn event(&self, cause: &Cause) -> String {
        let family = match (self.kind, cause.caller.is_none()) {
            (Kind::Written, _) => "ObjectCreated",
            (Kind::Removed | Kind::Marked, true) => "LifecycleExpiration",
            (Kind::Removed | Kind::Marked, false) => "ObjectRemoved",
            (Kind::Tagged, _) => "ObjectTagging",
        };
        let what = match (self.kind, cause.reason) {
            (Kind::Removed, _) | (Kind::Tagged, "DeleteObjectTagging") => "Delete",
            (Kind::Marked, _) => "DeleteMarkerCreated",
            (_, "CopyObject") => "Copy",
            (_, "PostObject") => "Post",
            (_, "CompleteMultipartUpload") => "CompleteMultipartUpload",
            _ => "Put",
        };
        format!("{family}:{what}")
    }

    /// When it happened: objects have the time of their writing.
    fn time(&self, place: &Place<'_>) -> Timestamp {
        match self.kind {
            Kind::Written | Kind::Marked => self.object.modified,
            Kind::Removed | Kind::Tagged => place.now,
        }
    }

    /// Later changes of a key have greater ones.
    fn sequencer(&self, place: &Place<'_>) -> String {
        format!("{:016X}", self.time(place).as_microsecond())
    }
}

/// The bucket of a change.
#[derive(Debug)]
pub struct Place<'a> {
    /// Account.
    pub account: &'a str,
    /// Region.
    pub region: &'a str,
    /// Name.
    pub bucket: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// What is told of a change, and to whom.
pub fn of(
    place: &Place<'_>,
    notifications: &Notifications,
    change: &Change<'_>,
    cause: &Cause,
) -> Vec<(To, Value)> {
    if notifications.is_empty() {
        return vec![];
    }
    let event = change.event(cause);
    let full = format!("s3:{event}");
    let wanted = notifications.for_event(&full, change.key);
    let told = |to: &super::notifications::Destination| {
        let record = record(place, change, cause, &event, &to.id);
        (To::Arn(to.arn.clone()), json!({ "Records": [record] }))
    };
    let mut all: Vec<_> = wanted.map(told).collect();
    if notifications.event_bridge {
        all.push((To::EventBridge, bridged(place, change, cause)));
    }
    all
}

fn record(
    place: &Place<'_>,
    change: &Change<'_>,
    cause: &Cause,
    event: &str,
    configuration: &str,
) -> Value {
    let object = change.object;
    let encoded: String =
        url::form_urlencoded::byte_serialize(change.key.as_bytes()).collect::<String>();
    let mut told =
        json!({ "key": encoded.replace("%2F", "/"), "sequencer": change.sequencer(place) });
    if matches!(change.kind, Kind::Written) {
        told["size"] = object.size.into();
    }
    if matches!(change.kind, Kind::Written | Kind::Tagged) {
        told["eTag"] = object.etag.clone().into();
    }
    if let Some(version) = object.version() {
        told["versionId"] = version.into();
    }
    let principal = cause.caller.as_ref().map_or(SERVICE.to_owned(), |id| format!("AWS:{id}"));
    let newer = event.starts_with("LifecycleExpiration") || event.starts_with("ObjectTagging");
    json!({
        "eventVersion": if newer { "2.3" } else { "2.1" },
        "eventSource": "aws:s3",
        "awsRegion": place.region,
        "eventTime": iso(change.time(place)),
        "eventName": event,
        "userIdentity": { "principalId": principal },
        "requestParameters": { "sourceIPAddress": cause.source_ip },
        "responseElements": {
            "x-amz-request-id": cause.request_id, "x-amz-id-2": host_id(&cause.request_id),
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration,
            "bucket": {
                "name": place.bucket,
                "ownerIdentity": { "principalId": place.account },
                "arn": format!("arn:aws:s3:::{}", place.bucket),
            },
            "object": told,
        },
    })
}

fn bridged(place: &Place<'_>, change: &Change<'_>, cause: &Cause) -> Value {
    let object = change.object;
    let mut told = json!({ "key": change.key });
    if !matches!(change.kind, Kind::Marked) && !object.etag.is_empty() {
        told["etag"] = object.etag.clone().into();
    }
    if let Some(version) = object.version() {
        told["version-id"] = version.into();
    }
    if matches!(change.kind, Kind::Written) {
        told["size"] = object.size.into();
    }
    if !matches!(change.kind, Kind::Tagged) {
        told["sequencer"] = change.sequencer(place).into();
    }
    let mut detail = json!({
        "version": "0", "bucket": { "name": place.bucket }, "object": told,
        "request-id": cause.request_id,
        "requester": if cause.caller.is_some() { place.account } else { SERVICE },
    });
    if cause.caller.is_some() {
        detail["source-ip-address"] = cause.source_ip.clone().into();
    }
    if !matches!(change.kind, Kind::Tagged) {
        detail["reason"] = cause.reason.into();
    }
    match change.kind {
        Kind::Removed => detail["deletion-type"] = "Permanently Deleted".into(),
        Kind::Marked => detail["deletion-type"] = "Delete Marker Created".into(),
        Kind::Written | Kind::Tagged => {}
    }
    let kind = match (change.kind, cause.reason) {
        (Kind::Written, _) => "Object Created",
        (Kind::Removed | Kind::Marked, _) => "Object Deleted",
        (Kind::Tagged, "DeleteObjectTagging") => "Object Tags Deleted",
        (Kind::Tagged, _) => "Object Tags Added",
    };
    json!({
        "version": "0", "id": uuid::Uuid::new_v4().to_string(), "detail-type": kind,
        "source": "aws.s3", "account": place.account, "time": iso(change.time(place)),
        "region": place.region, "resources": [format!("arn:aws:s3:::{}", place.bucket)],
        "detail": detail,
    })
}

/// What is sent to a queue or topic when a bucket begins to tell it of changes.
pub fn test_message(bucket: &str, time: Timestamp, request_id: &str) -> Value {
    json!({
        "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": iso(time), "Bucket": bucket,
        "RequestId": request_id, "HostId": host_id(request_id),
    })
}

/// Stands for the host that answered, which AWS tells beside the request's ID.
pub fn host_id(request_id: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(request_id.repeat(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: &Change<'_>, cause: &Cause) -> Vec<(To, Value)> {
        let notifications = Notifications::read(&json!({
            "EventBridgeConfiguration": {},
            "QueueConfigurations": [{
                "Id": "q", "Queue": "arn:aws:sqs:us-east-1:000000000000:q",
                "Event": "s3:ObjectRemoved:*",
                "Filter": { "S3Key": { "Rules": [{ "Name": "prefix", "Value": "a/" }] } },
            }],
        }));
        let now = Timestamp::UNIX_EPOCH;
        let place = Place { account: "000000000000", region: "us-east-1", bucket: "b", now };
        of(&place, &notifications.expect("valid"), change, cause)
    }

    #[test]
    fn deletions_are_told_to_those_who_want_to_know() {
        let mut object = Object::marker(Timestamp::UNIX_EPOCH);
        object.version = Some("v".to_owned());
        let cause = Cause::of_a_service("DeleteObject");
        let all = told(&Change::marked("a/b c", &object), &cause);
        let [(To::Arn(_), queue), (To::EventBridge, bridge)] = all.as_slice() else {
            panic!("{all:?}")
        };
        let record = &queue["Records"][0];
        assert_eq!(record["eventName"], "ObjectRemoved:DeleteMarkerCreated");
        assert_eq!(record["s3"]["object"]["key"], "a/b+c");
        assert_eq!(record["s3"]["object"]["versionId"], "v");
        assert_eq!(bridge["detail-type"], "Object Deleted");
        assert_eq!(bridge["detail"]["deletion-type"], "Delete Marker Created");
        assert_eq!(bridge["detail"]["object"]["key"], "a/b c");
        assert_eq!(told(&Change::marked("c", &object), &cause).len(), 1);
        assert_eq!(told(&Change::removed("a/b", &object), &Cause::lifecycle()).len(), 1);
    }
}
