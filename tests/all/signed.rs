//! Requests over HTTP as somebody may send them: signed with any key and any header, or not at all.

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::ops::Deref;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::serving::Serving;

/// A cloud that serves on a port of its own until it is dropped.
pub struct Served(Serving);

impl Deref for Served {
    type Target = Serving;
    fn deref(&self) -> &Serving {
        &self.0
    }
}

impl Served {
    pub async fn start() -> Self {
        Self(Serving::start().await)
    }

    /// The administrator's key, from the file that a user reads.
    pub fn administrator(&self) -> Keys {
        Keys::of_administrator(&self.cloud.config.state_dir)
    }

    /// Sends bytes and reads until the server closes the connection.
    pub async fn raw(&self, request: &str) -> Answer {
        let address = ("127.0.0.1", self.cloud.config.port);
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.expect("an answer");
        Answer::parse(&bytes)
    }

    /// Sends a request.
    pub async fn send(&self, request: &Request<'_>) -> Answer {
        let text = request.text(self.cloud.config.port);
        self.raw(&text).await
    }

    /// Calls an operation of the query protocol.
    pub async fn query(&self, keys: &Keys, service: &str, params: &[(&str, &str)]) -> Answer {
        let body = encoded(params);
        self.send(&Request { body: &body, ..Request::form(keys, service) }).await
    }
}

/// A form.
pub fn encoded(params: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| {
        let escaped: String = value
            .bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect();
        format!("{name}={escaped}")
    };
    params.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
        Self { status, head, body: bytes.get(end + 4..).unwrap_or_default().to_vec() }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of the first element of this name.
    pub fn element(&self, name: &str) -> String {
        let text = self.text();
        let rest = text.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
        let inner = rest.and_then(|rest| rest.split_once(&format!("</{name}>")));
        inner.map(|(inner, _)| inner.to_owned()).unwrap_or_default()
    }
}

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

    /// The credentials in an answer of `AssumeRole`.
    pub fn assumed(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        Self {
            id: answer.element("AccessKeyId"),
            secret: answer.element("SecretAccessKey"),
            token: Some(answer.element("SessionToken")),
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

    fn text(&self, port: u16) -> String {
        let headers = self.signed(port, self.body.as_bytes());
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!(
            "{} {} HTTP/1.1\r\n{lines}content-length: {}\r\nconnection: close\r\n\r\n{}",
            self.method,
            self.path,
            self.body.len(),
            self.body
        )
    }

    /// All headers of the request, with the signature.
    pub fn signed(&self, port: u16, body: &[u8]) -> Vec<(String, String)> {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(self.skew);
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = if self.day.is_empty() { &date[..8] } else { self.day };
        let host = format!("127.0.0.1:{port}");
        let payload = hex::encode(Sha256::digest(body));
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
