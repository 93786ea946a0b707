//! Ownership: access control lists are switched off, as in every new bucket of AWS. They can be
//! read, and say that the owner owns.

use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

use super::Api;
use super::errors::not_implemented;
use super::options::{self, take};

const ENFORCED: &str = "BucketOwnerEnforced";

/// The owner has full control, nobody else has any.
fn grants(account: &str) -> Vec<Grant> {
    let grantee = Grantee {
        id: super::owner(account).id,
        type_: Type::from_static(Type::CANONICAL_USER),
        display_name: None,
        email_address: None,
        uri: None,
    };
    let permission = Permission::from_static(Permission::FULL_CONTROL);
    vec![Grant { grantee: Some(grantee), permission: Some(permission) }]
}

pub async fn get_bucket_acl(
    api: &Api,
    req: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    take!(req.input => GetBucketAclInput { bucket } elsewhere { expected_bucket_owner } refuse {});
    api.buckets().get(&bucket)?;
    let account = &api.cloud.config.account;
    Ok(S3Response::new(GetBucketAclOutput {
        grants: Some(grants(account)),
        owner: Some(super::owner(account)),
    }))
}

pub async fn get_object_acl(
    api: &Api,
    req: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let S3Request { input, extensions, .. } = req;
    take!(input => GetObjectAclInput { bucket, key, version_id }
        elsewhere { expected_bucket_owner, request_payer } refuse {});
    api.head(&extensions, &bucket, &key, version_id.as_deref())?;
    let account = &api.cloud.config.account;
    Ok(S3Response::new(GetObjectAclOutput {
        grants: Some(grants(account)),
        owner: Some(super::owner(account)),
        request_charged: None,
    }))
}

pub async fn put_bucket_acl(
    api: &Api,
    req: S3Request<PutBucketAclInput>,
) -> S3Result<S3Response<PutBucketAclOutput>> {
    take!(req.input => PutBucketAclInput {
            bucket, acl, grant_full_control, grant_read, grant_read_acp, grant_write,
            grant_write_acp,
        }
        elsewhere { checksum_algorithm, content_md5, expected_bucket_owner }
        refuse { access_control_policy });
    api.buckets().get(&bucket)?;
    let grants =
        [&grant_full_control, &grant_read, &grant_read_acp, &grant_write, &grant_write_acp];
    options::check_acl(acl.as_ref().map(BucketCannedACL::as_str), &grants)?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

pub async fn get_bucket_ownership_controls(
    api: &Api,
    req: S3Request<GetBucketOwnershipControlsInput>,
) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
    take!(req.input => GetBucketOwnershipControlsInput { bucket }
        elsewhere { expected_bucket_owner } refuse {});
    api.buckets().get(&bucket)?;
    let rule = OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(ENFORCED) };
    let ownership_controls = Some(OwnershipControls { rules: vec![rule] });
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls }))
}

pub async fn put_bucket_ownership_controls(
    api: &Api,
    req: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
    take!(req.input => PutBucketOwnershipControlsInput { bucket, ownership_controls }
        elsewhere { content_md5, expected_bucket_owner } refuse {});
    api.buckets().get(&bucket)?;
    let mut rules = ownership_controls.rules.iter();
    match rules.find(|r| r.object_ownership.as_str() != ENFORCED) {
        Some(other) => {
            let name = other.object_ownership.as_str();
            Err(not_implemented(&format!("the object ownership {name}")))
        }
        None => Ok(S3Response::new(PutBucketOwnershipControlsOutput::default())),
    }
}
