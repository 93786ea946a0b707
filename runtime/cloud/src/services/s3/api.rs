//! The operations that are here, each beside the place that does it. All others are refused by
//! `s3s` or by the access check, by name.

use std::sync::Arc;

use axum::http::Extensions;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::access::{self, Access, Auth};
use super::errors::internal;
use super::front::{self, Service};
use super::names::Hosts;
use super::store::{Buckets, Object as StoredObject, StoreError};
use super::{
    acl, buckets, completion, copy, listing, objects, parts, reads, settings, tagging, unset,
};
use crate::kernel::cloud::Cloud;

/// S3's protocol over `cloud`.
pub fn service(cloud: &Arc<Cloud>) -> Service {
    let mut builder = S3ServiceBuilder::new(Api { cloud: cloud.clone() });
    builder.set_auth(Auth(cloud.clone()));
    builder.set_access(Access(cloud.clone()));
    builder.set_host(Hosts);
    let mut config = S3Config::default();
    config.xml_max_body_size = front::PARSED_BYTES_MAX;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    Service::new(builder.build(), cloud.config.region.clone())
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

    /// An object's record; callers who may not list learn nothing about keys that are not there.
    pub fn head(
        &self,
        extensions: &Extensions,
        bucket: &str,
        key: &str,
    ) -> S3Result<Arc<StoredObject>> {
        match self.buckets().head(bucket, key) {
            Err(StoreError::NoSuchKey) => Err(access::no_such_key(&self.cloud, extensions, bucket)),
            other => Ok(other?),
        }
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
    listing::list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput;
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
    settings::get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
        -> GetBucketLifecycleConfigurationOutput;
    settings::put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput)
        -> PutBucketLifecycleConfigurationOutput;
    settings::delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput;
    settings::get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
        -> GetBucketNotificationConfigurationOutput;
    settings::put_bucket_notification_configuration(PutBucketNotificationConfigurationInput)
        -> PutBucketNotificationConfigurationOutput;
    acl::get_bucket_ownership_controls(GetBucketOwnershipControlsInput)
        -> GetBucketOwnershipControlsOutput;
    acl::put_bucket_ownership_controls(PutBucketOwnershipControlsInput)
        -> PutBucketOwnershipControlsOutput;
    acl::get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput;
    acl::put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput;
    acl::get_object_acl(GetObjectAclInput) -> GetObjectAclOutput;
    unset::get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput;
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
