//! Everything that reads what others wrote, for the fuzzer: each takes any bytes, and neither panics
//! nor hangs.

use axum::http::Request;
use serde_json::Value;

use crate::kernel::{iam, resource, schema};
use crate::protocol;
use crate::services::{cloudformation, events, glue, states};

/// A parser.
#[derive(Debug, Clone, Copy)]
pub struct Parser {
    /// Its name, which is that of the folder of its seeds.
    pub name: &'static str,
    /// What it does with bytes; whether they were an input at all.
    pub run: fn(&[u8]) -> bool,
}

/// All of them.
pub const PARSERS: &[Parser] = &[
    Parser { name: "query", run: |bytes| request("sns", &[FORM], "/", bytes) },
    Parser { name: "ec2", run: |bytes| request("ec2", &[FORM], "/", bytes) },
    Parser { name: "json", run: |bytes| request("glue", &[TARGET], "/", bytes) },
    Parser { name: "cbor", run: |bytes| request("monitoring", &[CBOR], CBOR_PATH, bytes) },
    Parser { name: "rest", run: rest },
    Parser { name: "template", run: |bytes| text(bytes, cloudformation::parses) },
    Parser { name: "properties", run: |bytes| json(bytes, properties) },
    Parser { name: "policy", run: |bytes| json(bytes, |value| iam::check_policy(value).is_ok()) },
    Parser { name: "trust", run: |bytes| json(bytes, iam::parses_trust) },
    Parser { name: "pattern", run: |bytes| json(bytes, events::check_pattern) },
    Parser { name: "definition", run: |bytes| json(bytes, |v| states::check(v).is_ok()) },
    Parser { name: "partitions", run: |bytes| text(bytes, glue::parses_filter) },
];

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const TARGET: (&str, &str) = ("x-amz-target", "AWSGlue.CreateTable");
const CBOR: (&str, &str) = ("smithy-protocol", "rpc-v2-cbor");
const CBOR_PATH: &str = "/service/GraniteServiceVersion20100801/operation/DescribeAlarms";

fn text(bytes: &[u8], run: impl Fn(&str) -> bool) -> bool {
    std::str::from_utf8(bytes).is_ok_and(run)
}

fn json(bytes: &[u8], run: impl Fn(&Value) -> bool) -> bool {
    serde_json::from_slice(bytes).is_ok_and(|value| run(&value))
}

fn request(service: &str, headers: &[(&str, &str)], path: &str, body: &[u8]) -> bool {
    let builder = Request::builder().method("POST").uri(path);
    let builder = headers.iter().fold(builder, |b, (name, value)| b.header(*name, *value));
    builder.body(()).is_ok_and(|request| {
        let (parts, ()) = request.into_parts();
        protocol::reads(service, &parts, body)
    })
}

/// Method and address in the first line, the body after it.
fn rest(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
    let (line, body) = bytes.split_at(end);
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let (method, address) = line.split_once(' ').unwrap_or(("GET", line));
    let request = Request::builder().method(method).uri(address).body(());
    request.is_ok_and(|request| {
        let (parts, ()) = request.into_parts();
        protocol::reads("lambda", &parts, body.get(1..).unwrap_or_default())
    })
}

/// `{"Type": …, "Properties": …}` against the schema and what is used of it.
fn properties(resource: &Value) -> bool {
    let Ok(kind) = resource::find(resource["Type"].as_str().unwrap_or_default()) else {
        return false;
    };
    let properties = &resource["Properties"];
    schema::problems(kind.name, properties).is_empty()
        && cloudformation::check_used(kind, properties).is_ok()
}
