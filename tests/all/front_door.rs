//! The embedded cloud's port: who is answered, how refusals read, and what one request can do.

use serde_json::Value;

use crate::signed::{Answer, Keys, Request, Served, encoded};

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()))
}

#[tokio::test]
async fn web_pages_and_strange_hosts_are_refused_everywhere() {
    let served = Served::start().await;
    for path in ["/_steppe/health", "/", "/bucket/key", "/2015-03-31/functions"] {
        let get = async |headers: &str| {
            let request = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
            served.raw(&request).await.status
        };
        assert_eq!(get("").await, 400, "without Host: {path}");
        assert_eq!(get("Host: evil.example\r\n").await, 403, "{path}");
        let own = "Host: localhost\r\n";
        assert_eq!(get(&format!("{own}Origin: https://evil.example\r\n")).await, 403, "{path}");
        assert_eq!(get(&format!("{own}Sec-Fetch-Site: cross-site\r\n")).await, 403, "{path}");
    }
}

#[tokio::test]
async fn only_the_owner_of_the_folder_learns_which_process_it_is_and_stops_it() {
    let served = Served::start().await;
    let ask = async |request: &str, identity: &str| {
        let header = format!("x-steppe-identity: {identity}\r\n");
        let header = if identity.is_empty() { "" } else { header.as_str() };
        let head = format!(
            "{request} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}Content-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        served.raw(&head).await
    };
    let identity = std::fs::read_to_string(served.cloud.path("identity")).expect("readable");
    assert_eq!(identity.len(), 64);
    for wrong in ["", "0", &"0".repeat(64)] {
        let answer = ask("GET /_steppe/health", wrong).await;
        assert_eq!(json(&answer), serde_json::json!({ "status": "ok" }));
        assert_eq!(ask("POST /_steppe/stop", wrong).await.status, 403);
    }
    let known = json(&ask("GET /_steppe/health", &identity).await);
    assert_eq!(known["pid"], std::process::id());
    assert_eq!(known["identity"], identity.as_str());
    let state = served.state.path().canonicalize().expect("a path");
    assert_eq!(known["state"].as_str(), state.to_str());
    assert_eq!(ask("POST /_steppe/stop", &identity).await.status, 200);
    served.cloud.stop.notified().await;
    use std::os::unix::fs::PermissionsExt;
    let file = std::fs::metadata(served.cloud.path("identity")).expect("a file");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn what_is_nested_too_deeply_is_refused_and_the_cloud_goes_on() {
    let served = Served::start().await;
    let keys = served.administrator();
    let deep = format!("{}a=1", "a.".repeat(200_000));
    let numbers = format!("{}1=1", "1.".repeat(200_000));
    for body in [&deep, &numbers] {
        let answer = served.send(&Request { body, ..Request::form(&keys, "iam") }).await;
        assert_eq!((answer.status, answer.element("Code").as_str()), (400, "MalformedInput"));
    }
    let brackets = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let target = vec![("x-amz-target", "AWSGlue.GetJob")];
    let json = Request { body: &brackets, ..Request::with(&keys, "glue", "/", target) };
    let answer = served.send(&json).await;
    assert!(answer.status == 400 && answer.text().contains("SerializationException"), "{answer:?}");
    let body = "<a>".repeat(100_000);
    let path = "/bucket?delete=";
    let xml = Request { body: &body, path, ..Request::form(&keys, "s3") };
    assert!(served.send(&xml).await.status >= 400);
    let alive = served.query(&keys, "sts", &[("Action", "GetCallerIdentity")]).await;
    assert_eq!(alive.element("Arn"), "arn:aws:iam::000000000000:user/administrator");
}

#[tokio::test]
async fn signatures_cover_what_decides_and_only_here_and_today() {
    let served = Served::start().await;
    let keys = served.administrator();
    let body = encoded(&[("Action", "GetCallerIdentity")]);
    let form = Request { body: &body, ..Request::form(&keys, "sts") };
    assert_eq!(served.send(&form).await.status, 200);
    let foreign = Keys { token: Some("t".repeat(32)), ..keys.clone() };
    for (name, request, code) in [
        ("another day", Request { day: "20200101", ..form.clone() }, "SignatureDoesNotMatch"),
        (
            "another region",
            Request { region: "eu-west-1", ..form.clone() },
            "SignatureDoesNotMatch",
        ),
        ("a late clock", Request { skew: -1_000, ..form.clone() }, "SignatureDoesNotMatch"),
        ("an early clock", Request { skew: 1_000, ..form.clone() }, "SignatureDoesNotMatch"),
        ("host", Request { unsigned: vec!["host"], ..form.clone() }, "SignatureDoesNotMatch"),
        ("date", Request { unsigned: vec!["x-amz-date"], ..form.clone() }, "SignatureDoesNotMatch"),
        ("a token", Request { keys: &foreign, ..form.clone() }, "InvalidClientTokenId"),
    ] {
        let answer = served.send(&request).await;
        assert_eq!((answer.status, answer.element("Code").as_str()), (403, code), "{name}");
    }
    let target = vec![("x-amz-target", "AWSGlue.GetDatabases")];
    let glue = Request { body: "{}", ..Request::with(&keys, "glue", "/", target) };
    assert_eq!(served.send(&glue).await.status, 200);
    let exchangeable = Request { unsigned: vec!["x-amz-target"], ..glue };
    let answer = served.send(&exchangeable).await;
    assert_eq!(answer.status, 400);
    assert_eq!(json(&answer)["__type"], "InvalidSignatureException");
}

#[tokio::test]
async fn signatures_of_s3_are_of_version_4_of_this_region_and_good_for_a_week() {
    let served = Served::start().await;
    let keys = served.administrator();
    let list = Request { method: "GET", headers: vec![], ..Request::form(&keys, "s3") };
    assert_eq!(served.send(&list).await.status, 200);
    let foreign = Keys { token: Some("t".repeat(32)), ..keys.clone() };
    for (name, request, status, code) in [
        (
            "region",
            Request { region: "eu-west-1", ..list.clone() },
            400,
            "AuthorizationHeaderMalformed",
        ),
        ("day", Request { day: "20200101", ..list.clone() }, 403, "SignatureDoesNotMatch"),
        ("host", Request { unsigned: vec!["host"], ..list.clone() }, 403, "AccessDenied"),
        (
            "a header",
            Request {
                headers: vec![("x-amz-acl", "private")],
                unsigned: vec!["x-amz-acl"],
                ..list.clone()
            },
            403,
            "AccessDenied",
        ),
        ("a token", Request { keys: &foreign, ..list.clone() }, 403, "InvalidClientTokenId"),
    ] {
        let answer = served.send(&request).await;
        let said = (answer.status, answer.element("Code"));
        assert_eq!(said, (status, code.to_owned()), "{name}: {}", answer.text());
    }
    let scope = format!("{}%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", keys.id);
    let presigned = format!(
        "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}\
         &X-Amz-Date=20260101T000000Z&X-Amz-Expires=604801&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=00"
    );
    let old = format!("/b/k?AWSAccessKeyId={}&Signature=x&Expires=1", keys.id);
    for (path, code) in [(presigned, "AuthorizationQueryParametersError"), (old, "InvalidRequest")]
    {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = served.raw(&request).await;
        assert_eq!((answer.status, answer.element("Code").as_str()), (400, code), "{path}");
    }
}

#[tokio::test]
async fn refusals_are_in_the_protocol_of_the_client() {
    let served = Served::start().await;
    let keys = served.administrator();
    let json_body = vec![("content-type", "application/json")];
    for service in ["scheduler", "pipes", "apigateway", "batch", "emr-serverless", "lakeformation"]
    {
        let request = Request {
            method: "GET",
            ..Request::with(&keys, service, "/things", json_body.clone())
        };
        let answer = served.send(&request).await;
        assert_eq!(answer.status, 501, "{service}");
        assert!(answer.head.contains("x-amzn-errortype: NotImplemented"), "{}", answer.head);
        let message = json(&answer)["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(&format!("{service}:GET /things")), "{message}");
    }
    for service in ["rds", "ses", "elasticloadbalancing"] {
        let answer = served.query(&keys, service, &[("Action", "DescribeThings")]).await;
        assert_eq!((answer.status, answer.element("Code").as_str()), (501, "NotImplemented"));
        let wanted = format!("{service}:DescribeThings");
        assert!(answer.element("Message").contains(&wanted), "{}", answer.text());
    }
    let path = "/service/GraniteServiceVersion20100801/operation/ListMetricStreams";
    let headers = vec![("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")];
    let cbor = Request { body: "", ..Request::with(&keys, "monitoring", path, headers) };
    let answer = served.send(&cbor).await;
    assert_eq!(answer.status, 501);
    assert!(answer.head.contains("smithy-protocol: rpc-v2-cbor"), "{}", answer.head);
    // A map of two: `__type` first.
    assert!(answer.body.starts_with(b"\xa2\x66__type\x6eNotImplemented"), "{}", answer.text());
    assert!(answer.text().contains("monitoring:ListMetricStreams"), "{}", answer.text());
    let target = vec![("x-amz-target", "AWSGlue.CreateClassifier")];
    let answer =
        served.send(&Request { body: "{}", ..Request::with(&keys, "glue", "/", target) }).await;
    assert_eq!(json(&answer)["__type"], "NotImplemented");
}
