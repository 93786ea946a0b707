//! The operations that are here: the permissions that each needs and the parameters that it has.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>

use axum::http::HeaderName;

/// What a permission is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// All buckets.
    Everything,
    /// The bucket of the request.
    Bucket,
    /// The object of the request.
    Object,
}

/// An operation.
pub struct Operation {
    /// Its name.
    pub name: &'static str,
    /// What the permissions are about.
    pub target: Target,
    /// Permissions that it needs.
    pub actions: &'static [&'static str],
    /// Parameters of the query that it has.
    pub parameters: &'static [&'static str],
}

const fn on(
    target: Target,
    name: &'static str,
    actions: &'static [&'static str],
    parameters: &'static [&'static str],
) -> Operation {
    Operation { name, target, actions, parameters }
}

impl Operation {
    /// Whether CloudTrail calls it a data event.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/cloudtrail-logging-s3-info.html>
    pub fn is_of_data(&self) -> bool {
        let lists = ["ListObjects", "ListObjectsV2", "ListObjectVersions"];
        self.target == Object || lists.contains(&self.name) || self.name == "DeleteObjects"
    }
}

/// The names of all.
pub fn names() -> Vec<&'static str> {
    OPERATIONS.iter().map(|operation| operation.name).collect()
}

/// An operation of that name; `None` when the embedded cloud does not have it.
pub fn operation(name: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|o| o.name == name)
}

use Target::{Bucket, Everything, Object};

#[rustfmt::skip]
const OPERATIONS: &[Operation] = &[
    on(Everything, "ListBuckets", &["s3:ListAllMyBuckets"],
        &["bucket-region", "continuation-token", "max-buckets", "prefix"]),
    on(Bucket, "CreateBucket", &["s3:CreateBucket"], &[]),
    on(Bucket, "DeleteBucket", &["s3:DeleteBucket"], &[]),
    on(Bucket, "HeadBucket", &["s3:ListBucket"], &[]),
    on(Bucket, "GetBucketLocation", &["s3:GetBucketLocation"], &["location"]),
    on(Bucket, "ListObjects", &["s3:ListBucket"],
        &["delimiter", "encoding-type", "marker", "max-keys", "prefix"]),
    on(Bucket, "ListObjectsV2", &["s3:ListBucket"],
        &["list-type", "continuation-token", "delimiter", "encoding-type", "fetch-owner",
          "max-keys", "prefix", "start-after"]),
    on(Bucket, "ListObjectVersions", &["s3:ListBucketVersions"],
        &["versions", "delimiter", "encoding-type", "key-marker", "max-keys", "prefix",
          "version-id-marker"]),
    on(Bucket, "ListMultipartUploads", &["s3:ListBucketMultipartUploads"],
        &["uploads", "delimiter", "encoding-type", "key-marker", "max-uploads", "prefix",
          "upload-id-marker"]),
    // The keys are in the body; the operation asks for each.
    on(Bucket, "DeleteObjects", &[], &["delete"]),
    // Settings of buckets.
    on(Bucket, "GetBucketTagging", &["s3:GetBucketTagging"], &["tagging"]),
    on(Bucket, "PutBucketTagging", &["s3:PutBucketTagging"], &["tagging"]),
    on(Bucket, "DeleteBucketTagging", &["s3:PutBucketTagging"], &["tagging"]),
    on(Bucket, "GetBucketPolicy", &["s3:GetBucketPolicy"], &["policy"]),
    on(Bucket, "PutBucketPolicy", &["s3:PutBucketPolicy"], &["policy"]),
    on(Bucket, "DeleteBucketPolicy", &["s3:DeleteBucketPolicy"], &["policy"]),
    on(Bucket, "GetBucketPolicyStatus", &["s3:GetBucketPolicyStatus"], &["policyStatus"]),
    on(Bucket, "GetPublicAccessBlock", &["s3:GetBucketPublicAccessBlock"], &["publicAccessBlock"]),
    on(Bucket, "PutPublicAccessBlock", &["s3:PutBucketPublicAccessBlock"], &["publicAccessBlock"]),
    on(Bucket, "DeletePublicAccessBlock", &["s3:PutBucketPublicAccessBlock"],
        &["publicAccessBlock"]),
    on(Bucket, "GetBucketEncryption", &["s3:GetEncryptionConfiguration"], &["encryption"]),
    on(Bucket, "PutBucketEncryption", &["s3:PutEncryptionConfiguration"], &["encryption"]),
    on(Bucket, "DeleteBucketEncryption", &["s3:PutEncryptionConfiguration"], &["encryption"]),
    on(Bucket, "GetBucketLifecycleConfiguration", &["s3:GetLifecycleConfiguration"],
        &["lifecycle"]),
    on(Bucket, "PutBucketLifecycleConfiguration", &["s3:PutLifecycleConfiguration"],
        &["lifecycle"]),
    on(Bucket, "DeleteBucketLifecycle", &["s3:PutLifecycleConfiguration"], &["lifecycle"]),
    on(Bucket, "GetBucketNotificationConfiguration", &["s3:GetBucketNotification"],
        &["notification"]),
    on(Bucket, "PutBucketNotificationConfiguration", &["s3:PutBucketNotification"],
        &["notification"]),
    on(Bucket, "GetBucketOwnershipControls", &["s3:GetBucketOwnershipControls"],
        &["ownershipControls"]),
    on(Bucket, "PutBucketOwnershipControls", &["s3:PutBucketOwnershipControls"],
        &["ownershipControls"]),
    on(Bucket, "GetBucketAcl", &["s3:GetBucketAcl"], &["acl"]),
    on(Bucket, "PutBucketAcl", &["s3:PutBucketAcl"], &["acl"]),
    on(Bucket, "GetBucketVersioning", &["s3:GetBucketVersioning"], &["versioning"]),
    on(Bucket, "PutBucketVersioning", &["s3:PutBucketVersioning"], &["versioning"]),
    on(Bucket, "GetBucketCors", &["s3:GetBucketCORS"], &["cors"]),
    on(Bucket, "GetBucketLogging", &["s3:GetBucketLogging"], &["logging"]),
    on(Bucket, "GetBucketRequestPayment", &["s3:GetBucketRequestPayment"], &["requestPayment"]),
    on(Bucket, "GetBucketWebsite", &["s3:GetBucketWebsite"], &["website"]),
    on(Bucket, "GetBucketReplication", &["s3:GetReplicationConfiguration"], &["replication"]),
    on(Bucket, "GetObjectLockConfiguration", &["s3:GetBucketObjectLockConfiguration"],
        &["object-lock"]),
    on(Bucket, "GetBucketAccelerateConfiguration", &["s3:GetAccelerateConfiguration"],
        &["accelerate"]),
    // Objects.
    on(Object, "GetObject", &["s3:GetObject"],
        &["partNumber", "versionId", "response-cache-control", "response-content-disposition",
          "response-content-encoding", "response-content-language", "response-content-type",
          "response-expires"]),
    on(Object, "HeadObject", &["s3:GetObject"],
        &["partNumber", "versionId", "response-cache-control", "response-content-disposition",
          "response-content-encoding", "response-content-language", "response-content-type",
          "response-expires"]),
    on(Object, "GetObjectAttributes", &["s3:GetObject", "s3:GetObjectAttributes"],
        &["attributes", "versionId"]),
    on(Object, "GetObjectAcl", &["s3:GetObjectAcl"], &["acl", "versionId"]),
    on(Object, "PutObject", &["s3:PutObject"], &[]),
    on(Object, "CopyObject", &["s3:PutObject"], &[]),
    on(Object, "DeleteObject", &["s3:DeleteObject"], &["versionId"]),
    on(Object, "GetObjectTagging", &["s3:GetObjectTagging"], &["tagging", "versionId"]),
    on(Object, "PutObjectTagging", &["s3:PutObjectTagging"], &["tagging", "versionId"]),
    on(Object, "DeleteObjectTagging", &["s3:DeleteObjectTagging"], &["tagging", "versionId"]),
    on(Object, "CreateMultipartUpload", &["s3:PutObject"], &["uploads"]),
    on(Object, "UploadPart", &["s3:PutObject"], &["partNumber", "uploadId"]),
    on(Object, "UploadPartCopy", &["s3:PutObject"], &["partNumber", "uploadId"]),
    on(Object, "CompleteMultipartUpload", &["s3:PutObject"], &["uploadId"]),
    on(Object, "AbortMultipartUpload", &["s3:AbortMultipartUpload"], &["uploadId"]),
    on(Object, "ListParts", &["s3:ListMultipartUploadParts"],
        &["uploadId", "max-parts", "part-number-marker"]),
];

/// Headers of S3 that signatures, `s3s` or operations here read.
#[rustfmt::skip]
const HEADERS: &[&str] = &[
    // Sent by the SDK for C++; there is one version.
    "api-version",
    "abort-date", "acl", "bucket-object-lock-enabled", "bypass-governance-retention",
    "checksum-algorithm", "checksum-crc32", "checksum-crc32c", "checksum-crc64nvme",
    "checksum-mode", "checksum-sha1", "checksum-sha256", "checksum-type",
    "confirm-remove-self-bucket-access", "content-sha256", "copy-source", "copy-source-if-match",
    "copy-source-if-modified-since", "copy-source-if-none-match",
    "copy-source-if-unmodified-since", "copy-source-range",
    "copy-source-server-side-encryption-customer-algorithm",
    "copy-source-server-side-encryption-customer-key",
    "copy-source-server-side-encryption-customer-key-md5", "date", "decoded-content-length",
    "expected-bucket-owner", "grant-full-control", "grant-read", "grant-read-acp", "grant-write",
    "grant-write-acp", "if-match-initiated-time", "if-match-last-modified-time", "if-match-size",
    "max-parts", "metadata-directive", "mfa", "mp-object-size", "object-attributes",
    "object-lock-legal-hold", "object-lock-mode", "object-lock-retain-until-date",
    "object-ownership", "optional-object-attributes", "part-number-marker", "request-payer",
    "sdk-checksum-algorithm", "security-token", "server-side-encryption",
    "server-side-encryption-aws-kms-key-id", "server-side-encryption-bucket-key-enabled",
    "server-side-encryption-context", "server-side-encryption-customer-algorithm",
    "server-side-encryption-customer-key", "server-side-encryption-customer-key-md5",
    "skip-destination-validation", "source-expected-bucket-owner", "storage-class", "tagging",
    "tagging-directive", "trailer", "transition-default-minimum-object-size", "user-agent",
    "website-redirect-location", "write-offset-bytes",
];

/// Whether a header that begins with `x-amz-` is one of those.
pub fn known_header(name: &HeaderName) -> bool {
    let Some(name) = name.as_str().strip_prefix("x-amz-") else { return true };
    name.starts_with("meta-") || HEADERS.contains(&name)
}
