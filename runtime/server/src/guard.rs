//! Who may ask: programs that address this server by its own name, and no page of another site.
//!
//! A browser carries any page's requests into the network that it is in, and a page whose name has
//! been pointed at this server's address (DNS rebinding) may read the answers. Such requests name
//! the page's host in `Host`, say in `Origin` or `Sec-Fetch-Site` where they come from, or have
//! none of JSON's content types. This keeps pages out; it does not tell one program from another.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, Uri, Version, header};

use crate::problems::RequestError;

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Names under which clients address the server, beside every IP address and `localhost`.
///
/// An address needs no list: a page cannot point an address anywhere, only a name.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Names separated by commas, as `STEPPE_HOSTS` has them.
    pub fn parse(list: &str) -> Result<Self, String> {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        let checked = |name: &str| {
            let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            if fits { Ok(name) } else { Err(format!("`{name}` is not the name of a host")) }
        };
        names.map(checked).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `authority`, a host with or without a port, is this server.
    fn admit(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else { return false };
        let is_address = match host.strip_prefix('[') {
            Some(rest) => rest.trim_end_matches(']').parse::<Ipv6Addr>().is_ok(),
            None => host.parse::<Ipv4Addr>().is_ok(),
        };
        let is = |name: &str| host.trim_end_matches('.').eq_ignore_ascii_case(name);
        is_address || is("localhost") || self.0.iter().any(|name| is(name))
    }
}

/// The host of `host:port`; `None` when it is neither that nor a host alone.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.rfind(']') {
        Some(end) => authority.split_at(end + 1),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    (!host.is_empty() && port.bytes().all(|b| b.is_ascii_digit())).then_some(host)
}

/// Checks whom a request addresses and where it comes from.
pub fn check(
    hosts: &Hosts,
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), RequestError> {
    let mut named = headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => Some(host.to_str().unwrap_or_default()),
        // Clients of HTTP/1.0 need not name a host, and no browser is one.
        (None, _) if version < Version::HTTP_11 => None,
        (None, _) => return Err(RequestError::Invalid("the header `Host` is missing".to_owned())),
        (Some(_), Some(_)) => {
            return Err(RequestError::Invalid("there is more than one header `Host`".to_owned()));
        }
    };
    let addressed = [host, uri.authority().map(http::uri::Authority::as_str)];
    if let Some(other) = addressed.into_iter().flatten().find(|name| !hosts.admit(name)) {
        return Err(RequestError::WrongHost(other.to_owned()));
    }
    let own = |origin: &str| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
    };
    let origin = headers.get(header::ORIGIN).map(|v| v.to_str().unwrap_or("null"));
    if let Some(other) = origin.filter(|origin| !own(origin)) {
        return Err(RequestError::OtherSite(other.to_owned()));
    }
    let site = headers.get(&FETCH_SITE).map(|v| v.to_str().unwrap_or_default());
    match site.filter(|site| !matches!(*site, "same-origin" | "none")) {
        Some(site) => Err(RequestError::OtherSite(site.to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: Version, uri: &str, given: &[(&'static str, &str)]) -> Option<u16> {
        let hosts = Hosts::parse("Model.Internal, forecasts.example").expect("names");
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, value.parse().expect("a value"));
        }
        let uri = uri.parse().expect("a URI");
        check(&hosts, version, &uri, &headers).err().map(|e| e.problem().status)
    }

    #[test]
    fn only_addresses_and_configured_names_are_this_server() {
        let host = |host: &str| status(Version::HTTP_11, "/predict", &[("host", host)]);
        for own in [
            "127.17.228.10:8080",
            "10.42.0.5",
            "[::1]:8080",
            "localhost:9",
            "model.internal",
            "MODEL.internal.:80",
            "forecasts.example",
        ] {
            assert_eq!(host(own), None, "{own}");
        }
        for other in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "10.0.0.1:80@evil.example",
            "[evil.example]",
            "localhost.evil.example",
            "model.internal:8080x",
            "",
            ":8080",
        ] {
            assert_eq!(host(other), Some(421), "{other}");
        }
        let other =
            status(Version::HTTP_11, "http://evil.example/predict", &[("host", "10.0.0.1")]);
        assert_eq!(other, Some(421), "the target of the request counts as well");
        assert_eq!(status(Version::HTTP_11, "/", &[]), Some(400));
        assert_eq!(status(Version::HTTP_10, "/", &[]), None);
        let two = [("host", "10.0.0.1"), ("host", "evil.example")];
        assert_eq!(status(Version::HTTP_11, "/", &two), Some(400));
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_programs_are_not() {
        let with = |name, value| {
            status(Version::HTTP_11, "/model", &[("host", "10.0.0.1:8080"), (name, value)])
        };
        assert_eq!(with("accept", "*/*"), None);
        assert_eq!(with("origin", "http://10.0.0.1:8080"), None);
        for origin in ["http://evil.example", "null", "http://10.0.0.1:9", "10.0.0.1:8080"] {
            assert_eq!(with("origin", origin), Some(403), "{origin}");
        }
        assert_eq!(with("sec-fetch-site", "none"), None);
        for site in ["cross-site", "same-site", "anything"] {
            assert_eq!(with("sec-fetch-site", site), Some(403), "{site}");
        }
    }

    #[test]
    fn a_list_of_hosts_with_something_else_in_it_is_refused() {
        assert!(
            Hosts::parse("http://x").expect_err("a URL").contains("`http://x` is not the name")
        );
        assert_eq!(Hosts::parse(" , ").expect("nothing").0, [""; 0]);
    }
}
