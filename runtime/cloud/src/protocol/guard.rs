//! Who may speak to the port at all: programs on this machine, not web pages.
//!
//! A page whose name is made to resolve to this machine (DNS rebinding) sends its own name in
//! `Host`; a page that sends requests across sites says so in `Origin` or `Sec-Fetch-Site`.

use std::net::Ipv4Addr;

use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Version, header};

use crate::kernel::error::ApiError;

/// Refuses what no client of this machine sends.
pub fn check(parts: &Parts) -> Result<(), ApiError> {
    let hosts: Vec<_> = parts.headers.get_all(header::HOST).iter().collect();
    let host = match hosts.as_slice() {
        [] if parts.version >= Version::HTTP_11 => {
            return Err(ApiError::new("InvalidRequest", "The header Host is missing."));
        }
        [] => None,
        [host] => Some(host.to_str().unwrap_or_default()),
        _ => return Err(ApiError::new("InvalidRequest", "The header Host is there twice.")),
    };
    let named = parts.uri.authority().map(Authority::as_str);
    for name in host.iter().chain(named.iter()) {
        if !own(name) {
            return Err(refused(format!(
                "The embedded cloud answers to 127.0.0.1, [::1] and localhost only, not to the \
                 host `{name}`."
            )));
        }
    }
    let header = |name: &str| parts.headers.get(name).map(|v| v.to_str().unwrap_or_default());
    if let Some(origin) = header("origin")
        && origin.split_once("://").map(|(_, rest)| rest) != host
    {
        return Err(refused(format!(
            "The embedded cloud does not answer to web pages of other origins (`{origin}`)."
        )));
    }
    match header("sec-fetch-site") {
        None | Some("none" | "same-origin") => Ok(()),
        Some(site) => Err(refused(format!(
            "The embedded cloud does not answer to web pages of other sites (`{site}`)."
        ))),
    }
}

fn refused(message: String) -> ApiError {
    ApiError::new("AccessDeniedException", message).with_status(403)
}

/// `127.0.0.1`, any other loopback address, `[::1]`, `localhost` and names below it; any port.
fn own(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host().to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    name == "localhost"
        || name.ends_with(".localhost")
        || name == "[::1]"
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn refusal(headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        check(&parts).err().map(|error| error.status)
    }

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for host in [
            "127.0.0.1:4580",
            "127.17.228.10",
            "localhost",
            "LOCALHOST:1",
            "bucket.localhost:4580",
            "[::1]:4580",
        ] {
            assert_eq!(refusal(&[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1:4580",
            "127.0.0.1@evil.example",
            "notlocalhost",
            "0.0.0.0",
            "",
        ] {
            assert_eq!(refusal(&[("host", host)]), Some(403), "{host}");
        }
        assert_eq!(refusal(&[]), Some(400));
        assert_eq!(refusal(&[("host", "localhost"), ("host", "localhost")]), Some(400));
    }

    #[test]
    fn web_pages_are_refused() {
        let host = ("host", "127.0.0.1:4580");
        assert_eq!(refusal(&[host, ("origin", "http://127.0.0.1:4580")]), None);
        assert_eq!(refusal(&[host, ("sec-fetch-site", "none")]), None);
        assert_eq!(refusal(&[host, ("sec-fetch-site", "same-origin")]), None);
        for header in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:3000"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(refusal(&[host, header]), Some(403), "{header:?}");
        }
    }
}
