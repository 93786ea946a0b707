//! Buckets are made, found and deleted.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};
use serde_json::json;

use super::Api;
use super::errors::{custom, invalid_argument, not_implemented};
use super::options::{self, take};
use super::store::StoreError;

/// The region that is named by leaving it out.
const FIRST_REGION: &str = "us-east-1";
/// Buckets in one page.
const PAGE: i32 = 10_000;

pub async fn list_buckets(
    api: &Api,
    req: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    take!(req.input => ListBucketsInput { bucket_region, continuation_token, max_buckets, prefix }
        elsewhere {} refuse {});
    let max = max_buckets.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&max) {
        return Err(invalid_argument(
            "Argument max-buckets must be an integer between 1 and 10000",
        ));
    }
    let region = &api.cloud.config.region;
    let mut found = api.buckets().all();
    found.retain(|(name, bucket)| {
        bucket.owner.is_none()
            && bucket_region.as_ref().is_none_or(|r| r == region)
            && prefix.as_ref().is_none_or(|p| name.starts_with(p))
            && continuation_token.as_ref().is_none_or(|after| name > after)
    });
    let page: Vec<Bucket> = found
        .iter()
        .take(usize::try_from(max).unwrap_or_default())
        .map(|(name, bucket)| Bucket {
            name: Some(name.clone()),
            creation_date: Some(super::timestamp(bucket.created)),
            bucket_region: Some(region.clone()),
        })
        .collect();
    let more = found.len() > page.len();
    Ok(S3Response::new(ListBucketsOutput {
        continuation_token: page.last().and_then(|b| b.name.clone()).filter(|_| more),
        buckets: Some(page),
        owner: Some(super::owner(&api.cloud.config.account)),
        prefix,
    }))
}

/// The region of the request is the one of the cloud, named as AWS wants it named.
fn check_location(region: &str, constraint: Option<&str>) -> S3Result<()> {
    match constraint.filter(|c| !c.is_empty()) {
        None if region == FIRST_REGION => Ok(()),
        Some(asked) if asked == region && region != FIRST_REGION => Ok(()),
        Some("EU") if region == "eu-west-1" => Ok(()),
        Some(FIRST_REGION) => Err(s3_error!(
            InvalidLocationConstraint,
            "The specified location-constraint is not valid"
        )),
        asked => {
            let asked = asked.unwrap_or("unspecified");
            Err(s3_error!(
                IllegalLocationConstraintException,
                "The {asked} location constraint is incompatible for the region specific endpoint \
                 this request was sent to."
            ))
        }
    }
}

fn check_configuration(region: &str, configuration: CreateBucketConfiguration) -> S3Result<()> {
    take!(configuration => CreateBucketConfiguration { location_constraint }
        elsewhere {} refuse { bucket, location });
    let constraint = location_constraint.as_ref().map(BucketLocationConstraint::as_str);
    check_location(region, constraint)
}

pub async fn create_bucket(
    api: &Api,
    req: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    take!(req.input => CreateBucketInput {
            bucket, acl, create_bucket_configuration, grant_full_control, grant_read,
            grant_read_acp, grant_write, grant_write_acp, object_lock_enabled_for_bucket,
            object_ownership,
        }
        elsewhere {} refuse {});
    let grants =
        [&grant_full_control, &grant_read, &grant_read_acp, &grant_write, &grant_write_acp];
    options::check_acl(acl.as_ref().map(BucketCannedACL::as_str), &grants).map_err(|_| {
        custom(
            "InvalidBucketAclWithObjectOwnership",
            400,
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        )
    })?;
    if object_lock_enabled_for_bucket == Some(true) {
        return Err(not_implemented("ObjectLockEnabledForBucket of CreateBucket"));
    }
    if let Some(other) = object_ownership.filter(|o| o.as_str() != "BucketOwnerEnforced") {
        return Err(not_implemented(&format!("the object ownership {}", other.as_str())));
    }
    let region = api.cloud.config.region.clone();
    check_configuration(&region, create_bucket_configuration.unwrap_or_default())?;
    let location = Some(format!("/{bucket}"));
    let made = api.blocking(move |cloud| match cloud.services.s3.create(&bucket, json!([])) {
        // In its first region S3 takes the making of one's own bucket as done.
        Err(StoreError::BucketExists) if cloud.config.region == FIRST_REGION => Ok(()),
        other => other,
    });
    made.await?;
    Ok(S3Response::new(CreateBucketOutput { location }))
}

pub async fn delete_bucket(
    api: &Api,
    req: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    take!(req.input => DeleteBucketInput { bucket } elsewhere { expected_bucket_owner } refuse {});
    api.blocking(move |cloud| cloud.services.s3.delete(&bucket)).await?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

pub async fn head_bucket(
    api: &Api,
    req: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    take!(req.input => HeadBucketInput { bucket } elsewhere { expected_bucket_owner } refuse {});
    api.buckets().get(&bucket)?;
    Ok(S3Response::new(HeadBucketOutput {
        bucket_region: Some(api.cloud.config.region.clone()),
        access_point_alias: Some(false),
        ..Default::default()
    }))
}

pub async fn get_bucket_location(
    api: &Api,
    req: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    take!(req.input => GetBucketLocationInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    api.buckets().get(&bucket)?;
    // AWS answers nothing for its first region.
    let region = Some(api.cloud.config.region.clone()).filter(|r| r != FIRST_REGION);
    Ok(S3Response::new(GetBucketLocationOutput {
        location_constraint: region.map(BucketLocationConstraint::from),
    }))
}
