//! Settings that no bucket here has: reading them is answered as AWS answers for a bucket where
//! nobody set them, setting them is refused by name.

use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::Api;
use super::options::take;

/// An operation that reads a setting of a bucket.
macro_rules! unset {
    ($name:ident, $Input:ident -> $Output:ident, $answer:expr) => {
        pub async fn $name(api: &Api, req: S3Request<$Input>) -> S3Result<S3Response<$Output>> {
            take!(req.input => $Input { bucket } elsewhere { expected_bucket_owner } refuse {});
            api.buckets().get(&bucket)?;
            let answer: Result<$Output, S3Error> = $answer;
            answer.map(S3Response::new)
        }
    };
}

unset!(get_bucket_logging, GetBucketLoggingInput -> GetBucketLoggingOutput,
    Ok(GetBucketLoggingOutput::default()));
unset!(get_bucket_request_payment, GetBucketRequestPaymentInput -> GetBucketRequestPaymentOutput,
    Ok(GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) }));
unset!(get_bucket_cors, GetBucketCorsInput -> GetBucketCorsOutput,
    Err(s3_error!(NoSuchCORSConfiguration, "The CORS configuration does not exist")));
unset!(get_bucket_website, GetBucketWebsiteInput -> GetBucketWebsiteOutput,
    Err(s3_error!(NoSuchWebsiteConfiguration,
        "The specified bucket does not have a website configuration")));
unset!(get_bucket_replication, GetBucketReplicationInput -> GetBucketReplicationOutput,
    Err(s3_error!(ReplicationConfigurationNotFoundError,
        "The replication configuration was not found")));
unset!(get_object_lock_configuration,
    GetObjectLockConfigurationInput -> GetObjectLockConfigurationOutput,
    Err(s3_error!(ObjectLockConfigurationNotFoundError,
        "Object Lock configuration does not exist for this bucket")));

pub async fn get_bucket_accelerate_configuration(
    api: &Api,
    req: S3Request<GetBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
    take!(req.input => GetBucketAccelerateConfigurationInput { bucket }
        elsewhere { expected_bucket_owner, request_payer } refuse {});
    api.buckets().get(&bucket)?;
    Ok(S3Response::new(GetBucketAccelerateConfigurationOutput::default()))
}
