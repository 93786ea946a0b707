//! Which of AWS's protocols a request speaks: what its headers say, else what its service speaks.
//!
//! `models/protocols.tsv` has the protocols of all services, so that also a refusal for a service
//! that is not here can be read by its client.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

/// How a service is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Form in, XML out.
    Query,
    /// The same with EC2's names.
    Ec2,
    /// JSON in, JSON out, operation in a header.
    Json,
    /// JSON, operation in the path.
    RestJson,
    /// XML, operation in the path.
    RestXml,
    /// CBOR in, CBOR out, operation in the path.
    Cbor,
    /// CBOR in, CBOR out, operation in a header: as SDKs for Java speak with Kinesis.
    CborTarget,
}

/// What a service is known to speak.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    protocols: Vec<&'static str>,
    json: &'static str,
    namespace: &'static str,
}

static KNOWN: LazyLock<HashMap<&'static str, Known>> = LazyLock::new(|| {
    let lines = include_str!("../../models/protocols.tsv").lines().filter(|l| !l.starts_with('#'));
    lines.filter_map(known).collect()
});

fn known(line: &'static str) -> Option<(&'static str, Known)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let &[service, protocols, json, namespace] = fields.as_slice() else { return None };
    Some((service, Known { protocols: protocols.split(',').collect(), json, namespace }))
}

/// An API that shares its name in signatures with a greater one: that name, how its targets begin,
/// and its own name.
const SHARING: (&str, &str, &str) = ("dynamodb", "DynamoDBStreams_", "dynamodbstreams");

/// The service of a request and the protocol that its client understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speech {
    /// The service's name in signatures, or its own where several share one.
    pub service: String,
    /// How it is spoken to.
    pub protocol: Protocol,
}

impl Speech {
    /// What a request to `service` speaks.
    pub fn of(service: &str, parts: &Parts) -> Self {
        let (shared, begin, own) = SHARING;
        let target = parts.headers.get("x-amz-target").and_then(|value| value.to_str().ok());
        let is_own = service == shared && target.is_some_and(|target| target.starts_with(begin));
        let name = if is_own { own } else { service };
        Self { service: name.to_owned(), protocol: protocol(service, &parts.headers) }
    }

    fn signed_for(&self) -> &str {
        let (shared, _, own) = SHARING;
        if self.service == own { shared } else { &self.service }
    }

    /// The content type of answers in JSON.
    pub fn json_type(&self) -> &'static str {
        match KNOWN.get(self.signed_for()).map(|known| known.json) {
            Some("1.0") => "application/x-amz-json-1.0",
            _ => "application/x-amz-json-1.1",
        }
    }

    /// The namespace of answers in XML.
    pub fn namespace(&self) -> String {
        let namespace = KNOWN.get(self.service.as_str()).map_or("-", |known| known.namespace);
        format!("{}/", namespace.trim_end_matches('/'))
    }

    /// Whether clients of an older protocol know errors by other names, which are told in a header.
    pub fn once_query(&self) -> bool {
        speaks(&self.service, "query")
    }
}

fn speaks(service: &str, protocol: &str) -> bool {
    KNOWN.get(service).is_some_and(|known| known.protocols.contains(&protocol))
}

fn protocol(service: &str, headers: &HeaderMap) -> Protocol {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if header("smithy-protocol") == Some("rpc-v2-cbor") {
        return Protocol::Cbor;
    }
    if headers.contains_key("x-amz-target") {
        let kind = header(header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let cbor = kind.starts_with("application/x-amz-cbor");
        return if cbor { Protocol::CborTarget } else { Protocol::Json };
    }
    let form = header(header::CONTENT_TYPE.as_str())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let rest = speaks(service, "rest-json") || speaks(service, "rest-xml");
    if speaks(service, "ec2") {
        Protocol::Ec2
    } else if speaks(service, "query") && (form || !rest) {
        Protocol::Query
    } else if speaks(service, "rest-xml") {
        Protocol::RestXml
    } else if rest || !KNOWN.contains_key(service) {
        Protocol::RestJson
    } else {
        Protocol::Json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(service: &str, headers: &[(&'static str, &'static str)]) -> Protocol {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        protocol(service, &map)
    }

    #[test]
    fn each_client_is_answered_in_its_protocol() {
        let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let target = [("x-amz-target", "GraniteServiceVersion20100801.ListMetrics")];
        let cbor = [("smithy-protocol", "rpc-v2-cbor")];
        let cbor_target = [
            ("x-amz-target", "Kinesis_20131202.PutRecord"),
            ("content-type", "application/x-amz-cbor-1.1"),
        ];
        for (service, headers, expected) in [
            ("monitoring", cbor.as_slice(), Protocol::Cbor),
            ("kinesis", cbor_target.as_slice(), Protocol::CborTarget),
            ("monitoring", target.as_slice(), Protocol::Json),
            ("monitoring", form.as_slice(), Protocol::Query),
            ("rds", form.as_slice(), Protocol::Query),
            ("ses", form.as_slice(), Protocol::Query),
            ("ses", [].as_slice(), Protocol::RestJson),
            ("ec2", form.as_slice(), Protocol::Ec2),
            ("scheduler", [].as_slice(), Protocol::RestJson),
            ("pipes", [].as_slice(), Protocol::RestJson),
            ("apigateway", [].as_slice(), Protocol::RestJson),
            ("batch", [].as_slice(), Protocol::RestJson),
            ("route53", [].as_slice(), Protocol::RestXml),
            ("glue", [("x-amz-target", "AWSGlue.GetJob")].as_slice(), Protocol::Json),
            ("glue", [].as_slice(), Protocol::Json),
        ] {
            assert_eq!(spoken(service, headers), expected, "{service} {headers:?}");
        }
    }
}
