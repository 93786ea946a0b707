//! The instance metadata service, version 2 only.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>
//!
//! An instance is known by its secret: in the address, as SDKs get it in their environment, or in
//! the header [`INSTANCE`], which the instance's `curl` adds.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde_json::json;
use sha2::Sha256;

use super::{Instance, role_of};
use crate::kernel::cloud::{Cloud, iso};

/// Header with an instance's secret.
pub const INSTANCE: &str = "x-steppe-instance";
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// Longest life of a session token.
const TTL_SECS_MAX: i64 = 21_600;

/// Answers a request below the metadata address. `first` and `rest` are its path: the secret and
/// what is asked for, or `latest` and the rest of what is asked for.
pub fn answer(
    cloud: &Cloud,
    method: &Method,
    first: &str,
    rest: &str,
    headers: &HeaderMap,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    // A request that came through a proxy is not the instance's own.
    if headers.contains_key("x-forwarded-for") {
        return StatusCode::FORBIDDEN.into_response();
    }
    let (secret, path) = match first {
        "latest" => (header(INSTANCE).unwrap_or_default(), format!("latest/{rest}")),
        secret => (secret, rest.to_owned()),
    };
    let all = cloud.services.ec2.instances.all();
    let Some((id, instance)) = all.into_iter().find(|(_, i)| i.token == secret) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if path == "latest/api/token" {
        return match *method {
            Method::PUT => session_token(secret, header(TTL)),
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        };
    }
    let given = header("x-aws-ec2-metadata-token").unwrap_or_default();
    if !is_good(secret, given, Timestamp::now().as_second()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match *method {
        Method::GET | Method::HEAD => value(cloud, &id, &instance, &path).into_response(),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn value(cloud: &Cloud, id: &str, instance: &Instance, path: &str) -> (StatusCode, String) {
    let role = role_of(cloud, instance);
    let text = match (path.trim_end_matches('/'), &role) {
        ("latest/meta-data/local-ipv4", _) => instance.address.to_string(),
        ("latest/meta-data/instance-id", _) => id.to_owned(),
        ("latest/meta-data/instance-type", _) => instance.instance_type.clone(),
        ("latest/meta-data/ami-id", _) => instance.image.clone(),
        ("latest/meta-data/placement/region", _) => cloud.config.region.clone(),
        ("latest/meta-data/iam/security-credentials", Some(role)) => role.to_string(),
        (path, Some(role))
            if path.strip_prefix("latest/meta-data/iam/security-credentials/") == Some(role) =>
        {
            return credentials(cloud, id, role);
        }
        _ => return (StatusCode::NOT_FOUND, String::new()),
    };
    (StatusCode::OK, text)
}

fn credentials(cloud: &Cloud, id: &str, role: &str) -> (StatusCode, String) {
    let caller = match cloud.assume(role, "ec2.amazonaws.com", id) {
        Ok(caller) => caller,
        Err(error) => return (StatusCode::FORBIDDEN, error),
    };
    let c = cloud.services.ec2.machines.credentials(id, || cloud.identities.session(caller));
    let answer = json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": iso(Timestamp::now()),
        "AccessKeyId": c.access_key_id, "SecretAccessKey": c.secret_access_key,
        "Token": c.session_token, "Expiration": c.expires.map(iso),
    });
    (StatusCode::OK, answer.to_string())
}

/// A session token that says itself when it ends; it needs no memory.
fn session_token(secret: &str, ttl: Option<&str>) -> Response {
    let seconds = ttl.and_then(|t| t.trim().parse::<i64>().ok());
    let Some(seconds) = seconds.filter(|s| (1..=TTL_SECS_MAX).contains(s)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let token = signed(secret, Timestamp::now().as_second() + seconds);
    let mut response = (StatusCode::OK, token).into_response();
    response.headers_mut().insert(TTL, HeaderValue::from(seconds));
    response
}

fn signed(secret: &str, end: i64) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("imds:{end}").as_bytes());
    format!("{end}.{}", hex::encode(&mac.finalize().into_bytes()[..20]))
}

fn is_good(secret: &str, token: &str, now: i64) -> bool {
    let end = token.split_once('.').and_then(|(end, _)| end.parse::<i64>().ok());
    end.is_some_and(|end| end > now && signed(secret, end) == token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_tokens_end_and_cannot_be_made_up() {
        let token = signed("secret", 100);
        assert!(is_good("secret", &token, 99));
        assert!(!is_good("secret", &token, 100), "ended");
        assert!(!is_good("another", &token, 99), "of another instance");
        assert!(!is_good("secret", &token.replace("100.", "900."), 99), "prolonged");
        assert!(!is_good("secret", "", 0));
        for (ttl, status) in
            [(Some("60"), 200), (None, 400), (Some("0"), 400), (Some("21601"), 400)]
        {
            assert_eq!(session_token("secret", ttl).status().as_u16(), status);
        }
    }
}
