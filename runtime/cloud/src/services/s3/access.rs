//! Who may do what: signatures' secrets, permissions of operations, owners of buckets, and
//! parameters that no operation here has.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::{Extensions, HeaderMap};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::CopySource;
use s3s::path::S3Path;
use s3s::{S3Error, S3Result, s3_error};

use super::errors::{access_denied, denied, invalid_argument, not_implemented};
use super::operations::{Operation, Target, known_header, operation};
use crate::kernel::cloud::Cloud;
use crate::kernel::identity::{Caller, Origin};

/// Looks up the secrets of access keys.
pub struct Auth(pub Arc<Cloud>);

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let secret = self.0.identities.secret(access_key).map(SecretKey::from);
        secret.ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

/// Checks each request before its operation begins.
pub struct Access(pub Arc<Cloud>);

/// A request as far as permissions look at it.
struct Asked<'a> {
    caller: Caller,
    bucket: &'a str,
    key: Option<&'a str>,
    headers: &'a HeaderMap,
    query: HashMap<String, String>,
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = cx.credentials() else {
            return Err(self.anonymous(cx.s3_path().get_bucket_name()));
        };
        let query: HashMap<String, String> =
            url::form_urlencoded::parse(cx.uri().query().unwrap_or("").as_bytes())
                .into_owned()
                .collect();
        let token = header(cx.headers(), "x-amz-security-token")
            .or_else(|| query.get("X-Amz-Security-Token").cloned());
        let (_, caller) =
            self.0.identities.lookup(&credentials.access_key, token.as_deref()).map_err(denied)?;
        let origin = cx.extensions_mut().get::<Origin>().cloned().unwrap_or_default();
        let caller = caller.from(origin);
        let lost = cx.extensions_mut().get::<super::front::Losing>().cloned();
        let called = cx.extensions_mut().get::<super::front::Called>().cloned();
        let name = cx.s3_op().name();
        let operation =
            operation(name).ok_or_else(|| not_implemented(&format!("the operation {name}")))?;
        check_names(name, operation, cx.headers(), &query)?;
        let path = cx.s3_path();
        let asked = Asked {
            caller: caller.clone(),
            bucket: path.get_bucket_name().unwrap_or("*"),
            key: path.as_object().map(|(_, key)| key),
            headers: cx.headers(),
            query,
        };
        super::front::strike(&self.0.faults, name, lost.as_ref()).await?;
        if let Some(called) = called.filter(|_| !operation.is_of_data()) {
            called.note(&caller, operation.name);
        }
        self.check_owners(&asked, path)?;
        self.check_permissions(&asked, operation)?;
        cx.extensions_mut().insert(caller);
        Ok(())
    }
}

/// Refuses headers and parameters of S3 that neither `s3s` nor an operation here reads: a newer
/// operation that hides behind a parameter must not be taken for an older one without it.
fn check_names(
    name: &str,
    operation: &Operation,
    headers: &HeaderMap,
    query: &HashMap<String, String>,
) -> S3Result<()> {
    let unknown = headers.keys().find(|h| h.as_str().starts_with("x-amz-") && !known_header(h));
    if let Some(header) = unknown {
        return Err(not_implemented(&format!("the header {header} of {name}")));
    }
    let known = |p: &str| {
        operation.parameters.contains(&p)
            || p == "x-id"
            || p.starts_with("X-Amz-")
            // Presigned URLs carry headers as parameters; those were checked above.
            || (p.starts_with("x-amz-") && headers.contains_key(p))
            // S3 ignores parameters of the user, which are for its access logs.
            || (p.starts_with("x-") && !p.starts_with("x-amz-"))
    };
    match query.keys().find(|p| !known(p)) {
        Some(unknown) => Err(not_implemented(&format!("the parameter {unknown} of {name}"))),
        None => Ok(()),
    }
}

impl Access {
    /// Nobody signed the request. Where the bucket is open to everybody that is not a mistake of
    /// the client, so it is refused by name. That a bucket is not there is told to everybody.
    pub fn anonymous(&self, bucket: Option<&str>) -> S3Error {
        let Some(bucket) = bucket else { return access_denied() };
        match self.0.services.s3.get(bucket) {
            Err(error) => error.into(),
            Ok(found) if found.policy.as_ref().is_some_and(super::settings::is_public) => {
                not_implemented("anonymous requests")
            }
            Ok(_) => access_denied(),
        }
    }

    /// Buckets that belong to somebody else, and requests that say whose bucket they mean.
    fn check_owners(&self, asked: &Asked<'_>, path: &S3Path) -> S3Result<()> {
        if !path.is_root() {
            let expected = header(asked.headers, "x-amz-expected-bucket-owner");
            self.check_owner(asked.bucket, expected.as_deref())?;
        }
        if let Some((bucket, ..)) = copy_source(asked.headers)? {
            let expected = header(asked.headers, "x-amz-source-expected-bucket-owner");
            self.check_owner(&bucket, expected.as_deref())?;
        }
        Ok(())
    }

    /// Whether the bucket belongs to whom the request says, and is open to this account.
    pub fn check_owner(&self, bucket: &str, expected: Option<&str>) -> S3Result<()> {
        if expected.is_some_and(|e| e.len() != 12 || !e.bytes().all(|b| b.is_ascii_digit())) {
            return Err(invalid_argument(
                "The value of the expected bucket owner parameter is invalid",
            ));
        }
        let Ok(found) = self.0.services.s3.get(bucket) else { return Ok(()) };
        let account = &self.0.config.account;
        if expected.is_some_and(|e| e != found.owner.as_ref().unwrap_or(account)) {
            return Err(access_denied());
        }
        // Somebody else's bucket is closed unless its policy opens it.
        if found.owner.is_some() && found.policy.is_none() { Err(access_denied()) } else { Ok(()) }
    }

    fn check_permissions(&self, asked: &Asked<'_>, operation: &Operation) -> S3Result<()> {
        let may = |action: &str, resource: &str, conditions: &[(&'static str, String)]| {
            self.0.authorize(&asked.caller, action, resource, conditions).map_err(denied)
        };
        let on_bucket = format!("arn:aws:s3:::{}", asked.bucket);
        let on_object = format!("{on_bucket}/{}", asked.key.unwrap_or("*"));
        let resource = match operation.target {
            Target::Everything => "arn:aws:s3:::*",
            Target::Bucket => &on_bucket,
            Target::Object => &on_object,
        };
        let prefix = asked.query.get("prefix").filter(|_| operation.target == Target::Bucket);
        let conditions: Vec<_> = prefix.map(|p| ("s3:prefix", p.clone())).into_iter().collect();
        let of_version = asked.query.contains_key("versionId");
        for action in operation.actions {
            let action = if of_version { of_a_version(action) } else { action };
            may(action, resource, &conditions)?;
        }
        // Nothing here is retained, so there is nothing to bypass but the permission.
        if header(asked.headers, "x-amz-bypass-governance-retention").is_some_and(|v| v == "true") {
            may("s3:BypassGovernanceRetention", &on_object, &[])?;
        }
        if asked.headers.contains_key("x-amz-tagging") {
            may("s3:PutObjectTagging", &on_object, &[])?;
        }
        if let Some((bucket, key, version)) = copy_source(asked.headers)? {
            let action = if version { "s3:GetObjectVersion" } else { "s3:GetObject" };
            may(action, &format!("arn:aws:s3:::{bucket}/{key}"), &[])?;
        }
        Ok(())
    }
}

/// Bucket and key that a copy reads, decoded as the operation decodes them, and whether it names a
/// version.
fn copy_source(headers: &HeaderMap) -> S3Result<Option<(String, String, bool)>> {
    let Some(value) = headers.get("x-amz-copy-source") else { return Ok(None) };
    let invalid = || invalid_argument("Copy Source must mention the source bucket and key");
    match CopySource::parse(value.to_str().map_err(|_| invalid())?) {
        Ok(CopySource::Bucket { bucket, key, version_id }) => {
            Ok(Some((bucket.into(), key.into(), version_id.is_some())))
        }
        Ok(_) => Err(not_implemented("copies from access points and outposts")),
        Err(_) => Err(invalid()),
    }
}

/// The permission to do the same to a version that is named.
pub fn of_a_version(action: &'static str) -> &'static str {
    match action {
        "s3:GetObject" => "s3:GetObjectVersion",
        "s3:GetObjectAttributes" => "s3:GetObjectVersionAttributes",
        "s3:GetObjectAcl" => "s3:GetObjectVersionAcl",
        "s3:GetObjectTagging" => "s3:GetObjectVersionTagging",
        "s3:PutObjectTagging" => "s3:PutObjectVersionTagging",
        "s3:DeleteObjectTagging" => "s3:DeleteObjectVersionTagging",
        "s3:DeleteObject" => "s3:DeleteObjectVersion",
        other => other,
    }
}

/// A header as text.
pub fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The caller whom [`Access`] noted.
pub fn caller(extensions: &Extensions) -> S3Result<&Caller> {
    extensions.get::<Caller>().ok_or_else(access_denied)
}

/// Whether the caller may list the key. Everybody else is denied what is not there. A condition on
/// `s3:prefix` is asked about the key: <https://github.com/ceph/ceph/pull/68577> compared it with
/// AWS.
pub fn may_list(cloud: &Cloud, extensions: &Extensions, bucket: &str, key: &str) -> bool {
    let bucket = format!("arn:aws:s3:::{bucket}");
    let prefix = [("s3:prefix", key.to_owned())];
    caller(extensions)
        .is_ok_and(|c| cloud.allows(c, "s3:ListBucket", &bucket, &prefix).is_ok_and(|yes| yes))
}
