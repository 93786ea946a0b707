//! The operations that are here, each beside the place that does it. All others are refused by
//! `s3s` or by the access check, by name.

use std::sync::Arc;

use axum::http::Extensions;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result};

use super::access::{self, Access, Auth};
use super::errors::{access_denied, internal, marker_itself};
use super::front::{self, RequestId, Service};
use super::messages::{Cause, new_request_id};
use super::names::Hosts;
use super::store::{Buckets, Object as StoredObject, StoreError, Versioning, Which};
use super::{
    acl, buckets, completion, conditions, copy, lifecycle, listing, objects, parts, reads, rules,
    settings, tagging, unset, versioning,
};
use crate::kernel::cloud::Cloud;
use crate::kernel::identity::Caller;

/// S3's protocol over `cloud`.
pub fn service(cloud: &Arc<Cloud>) -> Service {
    let mut builder = S3ServiceBuilder::new(Api { cloud: cloud.clone() });
    builder.set_auth(Auth(cloud.clone()));
    builder.set_access(Access(cloud.clone()));
    builder.set_host(Hosts);
    let mut config = S3Config::default();
    config.xml_max_body_size = front::PARSED_BYTES_MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    Service::new(cloud.clone(), builder.build())
}

/// What operations work on.
pub struct Api {
    /// The cloud that they belong to.
    pub cloud: Arc<Cloud>,
}

impl Api {
    /// The store.
    pub fn buckets(&self) -> &Buckets {
        &self.cloud.services.s3
    }

    /// Runs work that waits for the disk where it does not hold up other requests.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Cloud>) -> Result<T, StoreError> + Send + 'static,
    ) -> S3Result<T> {
        let cloud = self.cloud.clone();
        let done = tokio::task::spawn_blocking(move || work(&cloud)).await.map_err(internal)?;
        Ok(done?)
    }

    /// The record of a version; callers who may not list learn nothing about keys that are not
    /// there.
    pub fn head(
        &self,
        extensions: &Extensions,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> S3Result<Arc<StoredObject>> {
        let which = conditions::which(version)?;
        let found = self.buckets().find(bucket, key, &which);
        found.map_err(|error| self.missing(extensions, (bucket, key), &which, error))
    }

    /// Why a version cannot be read, as far as the caller may know.
    pub fn missing(
        &self,
        extensions: &Extensions,
        (bucket, key): (&str, &str),
        which: &Which,
        error: StoreError,
    ) -> S3Error {
        match error {
            StoreError::Marker(marker) if *which != Which::Current => marker_itself(&marker),
            StoreError::NoSuchKey | StoreError::Marker(_) | StoreError::NoSuchVersion
                if !access::may_list(&self.cloud, extensions, bucket, key) =>
            {
                access_denied()
            }
            error => error.into(),
        }
    }

    /// Who asks for a change, for the events that tell of it.
    pub fn cause(&self, extensions: &Extensions, reason: &'static str) -> Cause {
        let caller = extensions.get::<Caller>();
        let source = caller.and_then(|caller| caller.origin.source_ip);
        let request_id = extensions.get::<RequestId>();
        Cause {
            reason,
            caller: Some(caller.map(Caller::user_id).unwrap_or_default()),
            source_ip: source.map(|ip| ip.to_string()).unwrap_or_default(),
            request_id: request_id.map(|id| id.0.clone()).unwrap_or_else(new_request_id),
        }
    }

    /// The ID of a version as answers tell it: where the bucket keeps versions, or did.
    pub fn version_id(&self, bucket: &str, object: &StoredObject) -> Option<String> {
        let about = self.buckets().about(bucket).ok()?;
        (about.versioning != Versioning::Never).then(|| object.version_id())
    }

    /// The ID of a version that was written: where the bucket keeps versions.
    pub fn new_version_id(&self, bucket: &str, object: &StoredObject) -> Option<String> {
        self.version_id(bucket, object).filter(|_| object.version.is_some())
    }

    /// When an object expires: `x-amz-expiration`.
    pub fn expiration(&self, bucket: &str, key: &str, object: &StoredObject) -> Option<String> {
        lifecycle::expiration(&self.buckets().about(bucket).ok()?.rules, key, object)
    }
}

/// The trait's implementation from a table: method, input and output, and the module that does it.
macro_rules! operations {
    ($($module:ident :: $method:ident($Input:ident) -> $Output:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Api {
            $(async fn $method(&self, req: S3Request<$Input>) -> S3Result<S3Response<$Output>> {
                $module::$method(self, req).await
            })*
        }
    };
}

#[rustfmt::skip]
operations! {
    buckets::list_buckets(ListBucketsInput) -> ListBucketsOutput;
    buckets::create_bucket(CreateBucketInput) -> CreateBucketOutput;
    buckets::delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
    buckets::head_bucket(HeadBucketInput) -> HeadBucketOutput;
    buckets::get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    listing::list_objects(ListObjectsInput) -> ListObjectsOutput;
    listing::list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
    versioning::list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput;
    settings::get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput;
    settings::put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput;
    settings::delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput;
    settings::get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput;
    settings::put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput;
    settings::delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput;
    settings::get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput;
    settings::get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput;
    settings::put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput;
    settings::delete_public_access_block(DeletePublicAccessBlockInput)
        -> DeletePublicAccessBlockOutput;
    settings::get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput;
    settings::put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput;
    settings::delete_bucket_encryption(DeleteBucketEncryptionInput)
        -> DeleteBucketEncryptionOutput;
    rules::get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
        -> GetBucketLifecycleConfigurationOutput;
    rules::put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput)
        -> PutBucketLifecycleConfigurationOutput;
    rules::delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput;
    rules::get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
        -> GetBucketNotificationConfigurationOutput;
    rules::put_bucket_notification_configuration(PutBucketNotificationConfigurationInput)
        -> PutBucketNotificationConfigurationOutput;
    acl::get_bucket_ownership_controls(GetBucketOwnershipControlsInput)
        -> GetBucketOwnershipControlsOutput;
    acl::put_bucket_ownership_controls(PutBucketOwnershipControlsInput)
        -> PutBucketOwnershipControlsOutput;
    acl::get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput;
    acl::put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput;
    acl::get_object_acl(GetObjectAclInput) -> GetObjectAclOutput;
    versioning::get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput;
    versioning::put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput;
    unset::get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput;
    unset::get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput;
    unset::get_bucket_request_payment(GetBucketRequestPaymentInput)
        -> GetBucketRequestPaymentOutput;
    unset::get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput;
    unset::get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput;
    unset::get_object_lock_configuration(GetObjectLockConfigurationInput)
        -> GetObjectLockConfigurationOutput;
    unset::get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput)
        -> GetBucketAccelerateConfigurationOutput;
    objects::put_object(PutObjectInput) -> PutObjectOutput;
    reads::get_object(GetObjectInput) -> GetObjectOutput;
    reads::head_object(HeadObjectInput) -> HeadObjectOutput;
    reads::get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput;
    objects::delete_object(DeleteObjectInput) -> DeleteObjectOutput;
    objects::delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    copy::copy_object(CopyObjectInput) -> CopyObjectOutput;
    tagging::get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput;
    tagging::put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput;
    tagging::delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput;
    parts::create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    parts::upload_part(UploadPartInput) -> UploadPartOutput;
    parts::upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    parts::abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
    parts::list_parts(ListPartsInput) -> ListPartsOutput;
    completion::complete_multipart_upload(CompleteMultipartUploadInput)
        -> CompleteMultipartUploadOutput;
    listing::list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput;
}
