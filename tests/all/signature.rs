//! Requests signed as AWS's clients do it (Signature Version 4).

use std::path::Path;

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A key pair with its token.
#[derive(Debug, Clone)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

impl Keys {
    /// The administrator's, from the folder of a cloud.
    pub fn of_administrator(folder: &Path) -> Self {
        let file = std::fs::read(folder.join("credentials.json")).expect("readable");
        let read: Value = serde_json::from_slice(&file).expect("JSON");
        let text = |name: &str| read[name].as_str().map(str::to_owned);
        Self {
            id: text("access_key_id").expect("an ID"),
            secret: text("secret_access_key").expect("a secret"),
            token: text("session_token"),
        }
    }
}

/// A request and how it is signed.
#[derive(Clone)]
pub struct Request<'a> {
    pub keys: &'a Keys,
    pub method: &'a str,
    pub path: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    /// Day of the scope; today when empty.
    pub day: &'a str,
    /// Seconds that the client's clock is off.
    pub skew: i64,
    pub headers: Vec<(&'a str, &'a str)>,
    /// Headers that are sent and not signed.
    pub unsigned: Vec<&'a str>,
    pub body: &'a str,
}

impl<'a> Request<'a> {
    /// A call of the query protocol.
    pub fn form(keys: &'a Keys, service: &'a str) -> Self {
        Self {
            keys,
            method: "POST",
            path: "/",
            service,
            region: "us-east-1",
            day: "",
            skew: 0,
            headers: vec![("content-type", "application/x-www-form-urlencoded")],
            unsigned: vec![],
            body: "",
        }
    }

    /// A call with these headers.
    pub fn with(
        keys: &'a Keys,
        service: &'a str,
        path: &'a str,
        headers: Vec<(&'a str, &'a str)>,
    ) -> Self {
        Self { path, headers, ..Self::form(keys, service) }
    }

    /// All headers of the request, with the signature; `bytes` are its body when it is no text.
    pub fn signed(&self, port: u16, bytes: Option<&[u8]>) -> Vec<(String, String)> {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(self.skew);
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = if self.day.is_empty() { &date[..8] } else { self.day };
        let host = format!("127.0.0.1:{port}");
        let payload = hex::encode(Sha256::digest(bytes.unwrap_or(self.body.as_bytes())));
        let mut headers: Vec<(&str, &str)> = self.headers.clone();
        headers.extend([("host", host.as_str()), ("x-amz-date", date.as_str())]);
        if self.service == "s3" {
            headers.push(("x-amz-content-sha256", payload.as_str()));
        }
        headers.extend(self.keys.token.iter().map(|t| ("x-amz-security-token", t.as_str())));
        headers.sort_unstable();
        let signed: Vec<&(&str, &str)> =
            headers.iter().filter(|(name, _)| !self.unsigned.contains(name)).collect();
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String =
            signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (path, query) = self.path.split_once('?').unwrap_or((self.path, ""));
        let canonical = format!("{}\n{path}\n{query}\n{lines}\n{names}\n{payload}", self.method);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let signature = signature(&self.keys.secret, &scope, &date, &canonical);
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.keys.id
        );
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut all: Vec<(String, String)> = headers.iter().map(owned).collect();
        all.push(("authorization".to_owned(), authorization));
        all
    }
}

fn signature(secret: &str, scope: &str, date: &str, canonical: &str) -> String {
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, p| mac(&key, p));
    let hash = hex::encode(Sha256::digest(canonical));
    hex::encode(mac(&key, &format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}")))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
