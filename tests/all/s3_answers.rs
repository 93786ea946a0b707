//! S3's answers where a suite of others (`tests/s3_tests.py`) found another one than AWS's.

use serde_json::{Value, json};
use steppe_cloud::services::iam::Role;

use crate::signed::{Answer, Keys, Request, Served};

const BUCKET: &str = "some-data";

async fn with_bucket() -> Served {
    let served = Served::start().await;
    served.cloud.services.s3.create(BUCKET, json!([])).expect("made");
    served
}

/// A request that nobody signed.
async fn unsigned(served: &Served, method: &str, path: &str, headers: &str) -> Answer {
    let host = format!("127.0.0.1:{}", served.cloud.config.port);
    let rest = format!("Host: {host}\r\n{headers}Connection: close\r\n\r\n");
    served.raw(&format!("{method} {path} HTTP/1.1\r\n{rest}")).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.element("Code"))
}

fn told(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

async fn signed(
    served: &Served,
    keys: &Keys,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let request = Request::with(keys, "s3", path, headers.to_vec());
    served.send(&Request { method, ..request }).await
}

#[tokio::test]
async fn what_browsers_ask_before_a_request_needs_no_signature_and_is_refused() {
    let served = with_bucket().await;
    let origin = format!("Origin: http://127.0.0.1:{}\r\n", served.cloud.config.port);
    let presigned = "/some-data/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0";
    let answer = unsigned(&served, "OPTIONS", presigned, "").await;
    assert_eq!(code(&answer), told(400, "BadRequest"), "{}", answer.text());
    let words = "Insufficient information. Origin request header needed.";
    assert_eq!(answer.element("Message"), words);
    let asks = format!("{origin}Access-Control-Request-Method: PUT\r\n");
    let answer = unsigned(&served, "OPTIONS", presigned, &asks).await;
    assert_eq!(code(&answer), told(403, "AccessForbidden"), "{}", answer.text());
    let words = "CORSResponse: CORS is not enabled for this bucket.";
    assert_eq!(answer.element("Message"), words);
    assert_eq!((answer.element("Method"), answer.element("ResourceType")), {
        ("PUT".to_owned(), "BUCKET".to_owned())
    });
    let answer = unsigned(&served, "OPTIONS", "/nothing-there/k", &origin).await;
    assert_eq!(answer.element("Message"), "CORSResponse: Bucket not found");
    assert_eq!(answer.element("Method"), "OPTIONS");
}

#[tokio::test]
async fn everybody_learns_that_a_bucket_is_not_there() {
    let served = with_bucket().await;
    for method in ["GET", "DELETE"] {
        let missing = unsigned(&served, method, "/nothing-there/k", "").await;
        assert_eq!(code(&missing), told(404, "NoSuchBucket"), "{method}");
        let closed = unsigned(&served, method, "/some-data/k", "").await;
        assert_eq!(code(&closed), told(403, "AccessDenied"), "{method}");
    }
    let form = "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 118\r\n";
    let file = "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n\
                --x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n1\r\n--x--\r\n";
    let form = form.replace("118", &file.len().to_string());
    let host = format!("Host: 127.0.0.1:{}\r\nConnection: close\r\n", served.cloud.config.port);
    let post = format!("POST /nothing-there HTTP/1.1\r\n{host}{form}\r\n{file}");
    assert_eq!(code(&served.raw(&post).await), told(404, "NoSuchBucket"));
}

#[tokio::test]
async fn how_long_a_url_is_good_is_not_negative() {
    let served = with_bucket().await;
    let keys = served.administrator();
    let day = jiff::Timestamp::now().strftime("%Y%m%d").to_string();
    let expires = async |seconds: &str| {
        let credential = format!("{}%2F{day}%2Fus-east-1%2Fs3%2Faws4_request", keys.id);
        let path = format!(
            "/some-data/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}\
             &X-Amz-Date={day}T000000Z&X-Amz-Expires={seconds}&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=00"
        );
        unsigned(&served, "GET", &path, "").await
    };
    for (seconds, words) in
        [("-7", "X-Amz-Expires must be non-negative"), ("soon", "X-Amz-Expires should be a number")]
    {
        let answer = expires(seconds).await;
        assert_eq!(code(&answer), told(400, "AuthorizationQueryParametersError"), "{seconds}");
        assert_eq!(answer.element("Message"), words);
    }
}

#[tokio::test]
async fn a_condition_deletes_no_version_that_is_named() {
    let served = with_bucket().await;
    let keys = served.administrator();
    let etag = served.cloud.services.s3.put_bytes(BUCKET, "k", b"1").expect("stored").etag;
    let condition = [("if-match", etag.as_str())];
    let path = "/some-data/k?versionId=null";
    let answer = signed(&served, &keys, "DELETE", path, &condition).await;
    assert_eq!(code(&answer), told(501, "NotImplemented"), "{}", answer.text());
    served.cloud.services.s3.head(BUCKET, "k").expect("still there");
    let answer = signed(&served, &keys, "DELETE", "/some-data/k", &condition).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

#[tokio::test]
async fn a_policy_that_asks_for_what_is_not_there_denies_nothing() {
    let served = with_bucket().await;
    let condition: Value = json!({ "StringEquals": { "s3:ExistingObjectTag/a": "b" } });
    let statement = json!({
        "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", "Condition": condition,
    });
    let policy = json!({ "Version": "2012-10-17", "Statement": [statement] });
    let role = Role { policies: vec![("p".into(), policy)], ..Role::new(json!({})) };
    let id = role.id.clone();
    served.cloud.services.iam.roles.put("reader", role).expect("stored");
    let caller = served.cloud.identities.role("reader", &id, "test");
    let session = served.cloud.identities.session(caller);
    let keys = Keys {
        id: session.access_key_id,
        secret: session.secret_access_key,
        token: session.session_token,
    };
    let answer = signed(&served, &keys, "GET", "/some-data/k", &[]).await;
    assert_eq!(code(&answer), told(501, "NotImplemented"), "{}", answer.text());
    assert!(answer.element("Message").contains("s3:ExistingObjectTag/a"), "{}", answer.text());
}
