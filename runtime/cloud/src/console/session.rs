//! Who may look: whoever knows the identity in the state folder, which only its owner can read.
//!
//! The identity is exchanged for a cookie that is derived from it, and from which it cannot be
//! found. Both are new with each process. Cookies know no ports, so the cookie's name has the
//! port, and its path is the console's.
//!
//! Command lines can be read by all users of a machine. A browser is therefore started with a
//! ticket, which opens the console once, and soon.

use std::time::{Duration, Instant};

use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, Mac};
use maud::html;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::ask::Fields;
use super::frame;
use crate::kernel::cloud::Cloud;

/// How long a ticket is good.
const TICKET_TIME: Duration = Duration::from_secs(60);
/// Tickets that are good at the same time.
const TICKETS_MAX: usize = 16;
static TICKETS: Mutex<Vec<(String, Instant)>> = Mutex::new(Vec::new());

/// What a browser sends back, and what forms carry.
pub struct Session {
    key: String,
    name: String,
}

impl Session {
    /// The one session that this process has.
    pub fn of(cloud: &Cloud) -> Self {
        let name = format!("steppe-console-{}", cloud.config.port);
        Self { key: cloud.identity.clone(), name }
    }

    fn code(&self, purpose: &str) -> Hmac<Sha256> {
        let mut code = Hmac::<Sha256>::new_from_slice(self.key.as_bytes())
            .expect("a key of any length is a key");
        code.update(purpose.as_bytes());
        code
    }

    fn derived(&self, purpose: &str) -> String {
        hex::encode(self.code(purpose).finalize().into_bytes())
    }

    /// Compared in a time that says nothing about where they differ.
    fn is_derived(&self, purpose: &str, given: &str) -> bool {
        hex::decode(given).is_ok_and(|given| self.code(purpose).verify_slice(&given).is_ok())
    }

    /// Makes a ticket for who sends the identity.
    pub fn ticket(&self, headers: &HeaderMap) -> Response {
        let given = headers.get("x-steppe-identity").and_then(|v| v.to_str().ok());
        if !given.is_some_and(|given| self.is_identity(given)) {
            let words = "x-steppe-identity is not this cloud's";
            return (StatusCode::FORBIDDEN, words).into_response();
        }
        let random = || uuid::Uuid::new_v4().simple().to_string();
        let ticket = random() + &random();
        let mut tickets = TICKETS.lock();
        tickets.retain(|(_, made)| made.elapsed() < TICKET_TIME);
        if tickets.len() >= TICKETS_MAX {
            tickets.remove(0);
        }
        // Another cloud of this process must not take it.
        tickets.push((self.derived(&ticket), Instant::now()));
        axum::Json(serde_json::json!({ "ticket": ticket })).into_response()
    }

    /// Takes a ticket, which is good no more.
    fn takes(&self, ticket: &str) -> bool {
        let derived = self.derived(ticket);
        let mut tickets = TICKETS.lock();
        let before = tickets.len();
        let mut is_good = false;
        tickets.retain(|(known, made)| {
            let is_it = *known == derived;
            is_good |= is_it && made.elapsed() < TICKET_TIME;
            !is_it
        });
        is_good && tickets.len() < before
    }

    /// Compared as hashes, so that the time taken tells nothing about where they differ.
    fn is_identity(&self, given: &str) -> bool {
        Sha256::digest(given) == Sha256::digest(&self.key)
    }

    /// What forms carry.
    pub fn form_token(&self) -> String {
        self.derived("form")
    }

    /// Whether the request has this session's cookie.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
        let mut pairs =
            all.flat_map(|v| v.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| name == self.name && self.is_derived("session", value))
    }

    /// Whether a form came from a page of this console.
    pub fn is_form(&self, parts: &Parts, fields: &Fields) -> bool {
        let type_of = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let is_form = type_of.is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
        let token = fields.iter().find(|(name, _)| name == "form_token");
        is_form && token.is_some_and(|(_, given)| self.is_derived("form", given))
    }

    /// Exchanges the identity for the cookie, and leaves it out of the next address.
    pub fn log_in(&self, cloud: &Cloud, fields: &Fields) -> Response {
        let given = fields.iter().find(|(name, _)| name == "token").map(|(_, v)| v.trim());
        match given {
            Some(given) if self.is_identity(given) || self.takes(given) => {
                self.seen(&format!("{}; Path=/_steppe/", self.derived("session")))
            }
            Some(_) => closed(
                cloud,
                StatusCode::FORBIDDEN,
                "That is not this cloud's identity, or a ticket that was used.",
            ),
            None => closed(cloud, StatusCode::OK, ""),
        }
    }

    /// Takes the cookie away.
    pub fn log_out(&self) -> Response {
        self.seen("; Path=/_steppe/; Max-Age=0")
    }

    fn seen(&self, cookie: &str) -> Response {
        let cookie = format!("{}={cookie}; HttpOnly; SameSite=Strict", self.name);
        let Ok(cookie) = HeaderValue::from_str(&cookie) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let headers = [
            (header::SET_COOKIE, cookie),
            (header::LOCATION, HeaderValue::from_static("/_steppe/")),
        ];
        (StatusCode::SEE_OTHER, headers).into_response()
    }
}

/// Whether a request names this port of this machine, and nothing else that resolves to it.
pub fn is_own_host(parts: &Parts, port: u16) -> bool {
    let own = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let is_own = |name: &str| own.iter().any(|own| own.eq_ignore_ascii_case(name));
    let host = parts.headers.get(header::HOST).and_then(|v| v.to_str().ok());
    host.is_some_and(is_own) && authority(&parts.uri).is_none_or(is_own)
}

fn authority(uri: &Uri) -> Option<&str> {
    uri.authority().map(axum::http::uri::Authority::as_str)
}

/// How to get in.
pub fn closed(cloud: &Cloud, status: StatusCode, words: &str) -> Response {
    let file = cloud.path("identity");
    let body = html! {
        @if !words.is_empty() { p.notice role="alert" { (words) } }
        p { "This console is for the owner of this cloud's state folder. Run" }
        pre { code { "cargo xtask console" } }
        p { "and follow the link that it prints, or paste the content of" }
        pre { code { (file.display()) } }
        form method="post" action="/_steppe/login" {
            label for="token" { "Identity" }
            input #token name="token" type="password" autocomplete="off" required
                autocapitalize="none" spellcheck="false";
            button type="submit" { "Log in" }
        }
        p.quiet { "It is valid until this process ends." }
    };
    let text = frame::bare("Log in", &body).into_string();
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (status, headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn session(key: &str) -> Session {
        Session { key: key.to_owned(), name: "steppe-console-1".to_owned() }
    }

    fn with_cookie(cookie: &str) -> HeaderMap {
        let value = HeaderValue::from_str(cookie).expect("a header");
        HeaderMap::from_iter([(header::COOKIE, value)])
    }

    #[test]
    fn only_the_cookie_of_this_process_is_a_session() {
        let own = session("identity");
        let value = own.derived("session");
        assert!(own.is_in(&with_cookie(&format!("a=b; steppe-console-1={value}"))));
        for other in [
            format!("steppe-console-2={value}"),
            format!("steppe-console-1={}", own.derived("form")),
            format!("steppe-console-1={}", session("other").derived("session")),
            format!("steppe-console-1={}", &value[..62]),
            "steppe-console-1=".to_owned(),
            "steppe-console-1=identity".to_owned(),
        ] {
            assert!(!own.is_in(&with_cookie(&other)), "{other}");
        }
        assert!(!own.is_in(&HeaderMap::new()));
    }

    #[test]
    fn a_ticket_opens_its_own_console_once() {
        let own = session("identity");
        let headers = |identity| {
            let value = HeaderValue::from_static(identity);
            HeaderMap::from_iter([(header::HeaderName::from_static("x-steppe-identity"), value)])
        };
        assert_eq!(own.ticket(&headers("other")).status(), StatusCode::FORBIDDEN);
        assert_eq!(own.ticket(&HeaderMap::new()).status(), StatusCode::FORBIDDEN);
        let answer = own.ticket(&headers("identity"));
        let body = axum::body::to_bytes(answer.into_body(), 1024);
        let body = futures::executor::block_on(body).expect("a body");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let ticket = body["ticket"].as_str().expect("a ticket");
        assert!(!session("other").takes(ticket));
        assert!(own.takes(ticket) && !own.takes(ticket));
        assert!(!own.takes("identity") && !own.takes(""));
    }

    #[test]
    fn only_this_machine_with_this_port_is_the_host() {
        let is_own = |host: &str| {
            let request = Request::builder().uri("/").header("host", host).body(());
            is_own_host(&request.expect("a request").into_parts().0, 4580)
        };
        for host in ["127.0.0.1:4580", "localhost:4580", "LOCALHOST:4580"] {
            assert!(is_own(host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.2:4580",
            "x.localhost:4580",
            "[::1]:4580",
            "evil.example:4580",
        ] {
            assert!(!is_own(host), "{host}");
        }
    }
}
