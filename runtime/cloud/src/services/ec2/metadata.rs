//! The instance metadata service, version 2 only.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>

use axum::http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use crate::cloud::{Cloud, iso};

use super::role_of;

/// Answers a request below an instance's metadata address; `token` is the secret in that address.
pub fn answer(
    cloud: &Cloud,
    method: &Method,
    token: &str,
    path: &str,
    headers: &HeaderMap,
) -> (StatusCode, String) {
    let found = cloud.instances.all().into_iter().find(|(_, i)| i.token == token);
    let Some((id, instance)) = found else { return (StatusCode::NOT_FOUND, String::new()) };
    if path == "latest/api/token" {
        return match *method {
            Method::PUT => (StatusCode::OK, session_token(token)),
            _ => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
        };
    }
    let given = headers.get("x-aws-ec2-metadata-token").and_then(|v| v.to_str().ok());
    if given != Some(session_token(token).as_str()) {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    let role = role_of(cloud, &instance);
    let text = match (path.trim_end_matches('/'), &role) {
        ("latest/meta-data/local-ipv4", _) => instance.address.to_string(),
        ("latest/meta-data/instance-id", _) => id,
        ("latest/meta-data/instance-type", _) => instance.instance_type.clone(),
        ("latest/meta-data/placement/region", _) => cloud.config.region.clone(),
        ("latest/meta-data/iam/security-credentials", Some(role)) => role.to_string(),
        (path, Some(role))
            if path.strip_prefix("latest/meta-data/iam/security-credentials/") == Some(role) =>
        {
            match cloud.assume(role, "ec2.amazonaws.com", &id) {
                Ok(caller) => {
                    let c = cloud.identities.session(caller);
                    json!({
                        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": iso(Timestamp::now()), "AccessKeyId": c.access_key_id,
                        "SecretAccessKey": c.secret_access_key, "Token": c.session_token, "Expiration": c.expires.map(iso),
                    })
                    .to_string()
                }
                Err(error) => return (StatusCode::FORBIDDEN, error),
            }
        }
        _ => return (StatusCode::NOT_FOUND, String::new()),
    };
    (StatusCode::OK, text)
}

/// A session token that belongs to the address; it needs no memory.
fn session_token(token: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(&Sha256::digest(format!("imds:{token}"))[..20])
}
