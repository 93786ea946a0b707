//! Faults over HTTP: what a lost answer looks like, what S3 and Lambda refuse as scripted, and what
//! the deployer makes of it.

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::checkout::Checkout;
use crate::signed::{Answer, Request, Served};

/// In S3's words, for a while after a bucket was made or deleted.
const ABORTED: &str = "A conflicting conditional operation is currently in progress against this \
                       resource. Please try again.";

/// Sends a request and reads until the connection is closed.
async fn raw(port: u16, head: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    let request = format!("{head} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A reset is what some clients see in the place of the end.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn a_lost_answer_is_a_connection_that_is_closed_without_a_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let app = Router::new().route("/", get(|| async { steppe_cloud::kernel::faults::lost() }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(raw(port, "GET /").await, b"");
}

#[tokio::test]
async fn s3_and_lambda_fail_as_they_are_told() {
    let served = Served::start().await;
    let aborted =
        json!({ "refuse": { "status": 409, "code": "OperationAborted", "message": ABORTED } });
    let busy = json!({ "refuse": { "status": 409, "code": "ResourceConflictException", "message":
        "The operation cannot be performed at this time." } });
    let script = json!({ "rules": [
        { "service": "s3", "operation": "CreateBucket", "calls": 2, "effect": aborted },
        { "service": "s3", "operation": "ListObjectsV2", "effect": "throttle" },
        { "service": "s3", "operation": "PutObject", "effect": "server_error" },
        { "service": "s3", "operation": "DeleteBucket", "effect": "lost_response" },
        { "service": "lambda", "operation": "Invoke", "effect": "throttle" },
        { "service": "lambda", "operation": "GetFunction", "effect": busy },
    ] });
    served.cloud.faults.set(script.to_string().as_bytes()).expect("a script");
    let administrator = served.administrator();
    let send = async |service: &str, method: &str, path: &str| -> Answer {
        let form = Request::form(&administrator, service);
        served.send(&Request { method, path, headers: vec![], body: "", ..form }).await
    };
    for _ in 0..2 {
        let refused = send("s3", "PUT", "/new-data").await;
        let said = (refused.status, refused.element("Code"), refused.element("Message"));
        assert_eq!(said, (409, "OperationAborted".to_owned(), ABORTED.to_owned()));
    }
    assert_eq!(send("s3", "PUT", "/new-data").await.status, 200);
    let slow = send("s3", "GET", "/new-data?list-type=2").await;
    let said = (slow.status, slow.element("Code"), slow.element("Message"));
    assert_eq!(said, (503, "SlowDown".to_owned(), "Please reduce your request rate.".to_owned()));
    assert_eq!(send("s3", "GET", "/new-data?list-type=2").await.status, 200);
    let broken = send("s3", "PUT", "/new-data/key").await;
    assert_eq!((broken.status, broken.element("Code")), (500, "InternalError".to_owned()));
    assert_eq!(send("s3", "PUT", "/new-data/key").await.status, 200);
    assert_eq!(send("s3", "DELETE", "/new-data/key").await.status, 204);
    let lost = send("s3", "DELETE", "/new-data").await;
    assert_eq!((lost.status, lost.body.len()), (0, 0));
    assert_eq!(send("s3", "HEAD", "/new-data").await.status, 404, "what is lost was done");
    let invoke = async || send("lambda", "POST", "/2015-03-31/functions/f/invocations").await;
    let throttled = invoke().await;
    assert_eq!(throttled.status, 429);
    assert!(throttled.head.contains("TooManyRequestsException"), "{}", throttled.head);
    assert_eq!(invoke().await.status, 404);
    let look = async || send("lambda", "GET", "/2015-03-31/functions/f").await;
    let conflict = look().await;
    assert_eq!(conflict.status, 409);
    assert!(conflict.head.contains("ResourceConflictException"), "{}", conflict.head);
    assert_eq!(look().await.status, 404);
}

#[test]
fn a_deployment_waits_while_s3_is_busy_with_a_bucket() {
    let checkout = Checkout::new();
    let state = checkout.path().join("local");
    std::fs::create_dir_all(&state).expect("a folder");
    let script = json!({ "rules": [{ "service": "s3", "operation": "CreateBucket", "calls": 2,
        "effect": { "refuse": { "status": 409, "code": "OperationAborted", "message": ABORTED } }
    }] });
    std::fs::write(state.join("faults.json"), script.to_string()).expect("written");
    assert!(checkout.done(&["deploy"]).err.contains("deployed"));
    let log = std::fs::read_to_string(state.join("cloud.log")).expect("readable");
    let struck = log.lines().filter(|l| l.contains("CreateBucket") && l.contains("fault:"));
    assert_eq!(struck.count(), 2, "{log}");
    checkout.done(&["destroy", "--yes"]);
}
