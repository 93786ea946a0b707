//! Settings that make the cloud act by itself: lifecycle rules and notifications.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use serde_json::Value;

use super::Api;
use super::delivery;
use super::errors::malformed_xml;
use super::front::RequestId;
use super::lifecycle::{forms, setting};
use super::notifications::request;
use super::options::take;
use super::settings::done;

/// Where the settings are kept.
pub const LIFECYCLE: &str = "LifecycleConfiguration";
pub const NOTIFICATION: &str = "NotificationConfiguration";
/// Bytes from which on objects change their storage class; nothing here does.
const MINIMUM_SIZE: &str = "all_storage_classes_128K";

fn minimum_size() -> Option<TransitionDefaultMinimumObjectSize> {
    Some(TransitionDefaultMinimumObjectSize::from_static(MINIMUM_SIZE))
}

pub async fn get_bucket_lifecycle_configuration(
    api: &Api,
    req: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    take!(req.input => GetBucketLifecycleConfigurationInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    let about = api.buckets().about(&bucket)?;
    if about.rules.is_empty() {
        return Err(forms::none_set());
    }
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(forms::answer(&about.rules)),
        transition_default_minimum_object_size: minimum_size(),
    }))
}

pub async fn put_bucket_lifecycle_configuration(
    api: &Api,
    req: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    take!(req.input => PutBucketLifecycleConfigurationInput { bucket, lifecycle_configuration }
        elsewhere { checksum_algorithm, expected_bucket_owner }
        refuse { transition_default_minimum_object_size });
    api.buckets().get(&bucket)?;
    let configuration = lifecycle_configuration.ok_or_else(malformed_xml)?;
    let rules = forms::of_request(configuration.rules)?;
    api.set(bucket, LIFECYCLE, setting::write(&rules)).await?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput {
        transition_default_minimum_object_size: minimum_size(),
    }))
}

pub async fn delete_bucket_lifecycle(
    api: &Api,
    req: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    take!(req.input => DeleteBucketLifecycleInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    api.set(bucket, LIFECYCLE, Value::Null).await?;
    done()
}

pub async fn get_bucket_notification_configuration(
    api: &Api,
    req: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    take!(req.input => GetBucketNotificationConfigurationInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    let about = api.buckets().about(&bucket)?;
    Ok(S3Response::new(request::answer(&about.notifications)))
}

pub async fn put_bucket_notification_configuration(
    api: &Api,
    req: S3Request<PutBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
    let S3Request { input, extensions, .. } = req;
    take!(input => PutBucketNotificationConfigurationInput {
            bucket, notification_configuration, skip_destination_validation,
        }
        elsewhere { expected_bucket_owner } refuse {});
    api.buckets().get(&bucket)?;
    let wanted = request::of_request(notification_configuration)?;
    if skip_destination_validation != Some(true) {
        let id = extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        delivery::validate(&api.cloud, &bucket, &wanted, &id).await?;
    }
    api.set(bucket, NOTIFICATION, wanted.write()).await?;
    done()
}
