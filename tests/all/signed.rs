//! Requests over HTTP as somebody may send them: signed with any key and any header, or not at all.

use std::ops::Deref;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::serving::Serving;
pub use crate::signature::{Keys, Request};

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

impl Keys {
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

impl Request<'_> {
    fn text(&self, port: u16) -> String {
        let headers = self.signed(port, None);
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
}
