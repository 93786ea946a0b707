//! S3 of the embedded cloud: what a crash, a full disk, a race or a stranger may not do to objects.

use std::path::{Path as File, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use futures::future::join_all;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::{Cloud, Config};
use steppe_cloud::kernel::identity::Caller;
use steppe_cloud::protocol;
use steppe_cloud::services::iam::Role;
use steppe_cloud::services::s3::StoreError;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::records::{damage, refused};
use crate::tools::binary;

const BUCKET: &str = "some-data";

fn config(state: &File, port: u16) -> Config {
    Config {
        state_dir: state.canonicalize().expect("a path"),
        account: "000000000000".into(),
        region: "us-east-1".into(),
        port,
        engine: binary("steppe-etl"),
        own_binary: binary("steppe-cloud"),
    }
}

/// A cloud that does not serve.
fn open(state: &File) -> Arc<Cloud> {
    Cloud::open(config(state, 0)).expect("opens")
}

/// A cloud with a bucket that serves until it is dropped.
struct Running {
    cloud: Arc<Cloud>,
    stop: Arc<Notify>,
    _state: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.notify_waiters();
    }
}

async fn start() -> Running {
    let state = TempDir::new().expect("a folder");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let cloud = Cloud::open(config(state.path(), port)).expect("opens");
    cloud.services.s3.create(BUCKET, json!([])).expect("made");
    let stop = Arc::new(Notify::new());
    tokio::spawn(protocol::serve(cloud.clone(), listener, stop.clone()));
    Running { cloud, stop, _state: state }
}

impl Running {
    fn client(&self, caller: Caller) -> AmazonS3 {
        let session = self.cloud.identities.session(caller);
        AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_region("us-east-1")
            .with_endpoint(self.cloud.config.endpoint())
            .with_allow_http(true)
            .with_access_key_id(session.access_key_id)
            .with_secret_access_key(session.secret_access_key)
            .with_token(session.session_token.expect("a token"))
            .build()
            .expect("a client")
    }

    fn administrator(&self) -> AmazonS3 {
        self.client(self.cloud.identities.administrator())
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.cloud.path("s3").join(name)
    }

    /// Path and query of a presigned URL.
    async fn presigned(&self, method: Method, key: &str) -> String {
        let day = Duration::from_secs(60);
        let url = self.administrator().signed_url(method, &Path::from(key), day).await;
        let url = url.expect("a URL");
        format!("{}?{}", url.path(), url.query().expect("a signature"))
    }

    /// Sends a request as it stands and returns the answer, up to the end of the connection.
    async fn exchange(&self, request: String) -> String {
        let address = ("127.0.0.1", self.cloud.config.port);
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn head(&self, method: &str, target: &str, headers: &str) -> String {
        let port = self.cloud.config.port;
        format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n")
    }
}

fn files(folder: &File) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|e| e.expect("an entry").path()).collect()
}

/// Waits until a folder is empty.
async fn until_empty(folder: &File) {
    for _ in 0..1_000 {
        if files(folder).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} still has {:?}", folder.display(), files(folder));
}

#[tokio::test]
async fn of_eight_writers_one_creates_a_key() {
    let running = start().await;
    let clients: Vec<AmazonS3> = (0..8).map(|_| running.administrator()).collect();
    for round in 0..5 {
        let key = Path::from(format!("key-{round}"));
        let write = |client: &AmazonS3| {
            let (client, key) = (client.clone(), key.clone());
            let options = PutOptions { mode: PutMode::Create, ..Default::default() };
            let body = Bytes::from(vec![7; 200_000]);
            async move { client.put_opts(&key, body.into(), options).await }
        };
        let ended = join_all(clients.iter().map(write)).await;
        let won = ended.iter().filter(|r| r.is_ok()).count();
        assert_eq!(won, 1, "{ended:?}");
    }
    assert_eq!(files(&running.folder("files")).len(), 5, "losers leave nothing");
    assert!(files(&running.folder("incoming")).is_empty());
}

#[test]
fn writers_of_one_key_do_not_fail_each_other() {
    let state = TempDir::new().expect("a folder");
    let cloud = open(state.path());
    cloud.services.s3.create(BUCKET, json!([])).expect("made");
    std::thread::scope(|scope| {
        for writer in 0..6u8 {
            let cloud = &cloud;
            scope.spawn(move || {
                for _ in 0..10 {
                    cloud.services.s3.put_bytes(BUCKET, "k", &[writer; 100]).expect("written");
                    assert_eq!(cloud.services.s3.read(BUCKET, "k").expect("read").len(), 100);
                }
            });
        }
    });
    assert_eq!(files(&state.path().join("s3/files")).len(), 1, "old bytes are gone");
}

#[test]
fn a_start_collects_what_a_crash_left_and_keeps_what_was_stored() {
    let state = TempDir::new().expect("a folder");
    let cloud = open(state.path());
    cloud.services.s3.create(BUCKET, json!([])).expect("made");
    cloud.services.s3.put_bytes(BUCKET, "k", b"kept").expect("written");
    drop(cloud);
    let s3 = state.path().join("s3");
    for place in ["files/stray", "incoming/half"] {
        std::fs::write(s3.join(place), b"x").expect("written");
    }
    let cloud = open(state.path());
    assert_eq!(cloud.services.s3.read(BUCKET, "k").expect("read"), b"kept");
    assert!(files(&s3.join("incoming")).is_empty());
    while files(&s3.join("files")).len() > 1 {
        std::thread::yield_now();
    }
    // A record that cannot be read may be the one that names a file.
    drop(cloud);
    damage(state.path(), "objects", "{}");
    let cloud = open(state.path());
    assert!(matches!(cloud.services.s3.head(BUCKET, "k"), Err(StoreError::NoSuchKey)));
    assert_eq!(files(&s3.join("files")).len(), 1, "the bytes are still there");
}

#[tokio::test]
async fn damaged_bytes_are_an_error_and_not_an_answer() {
    let running = start().await;
    let client = running.administrator();
    for (key, size) in [("small", 1_000), ("large", 9_000_000)] {
        client.put(&Path::from(key), vec![1; size].into()).await.expect("stored");
        let file = files(&running.folder("files")).pop().expect("a file");
        let mut bytes = std::fs::read(&file).expect("bytes");
        std::fs::write(&file, &bytes[..400]).expect("written");
        client.get(&Path::from(key)).await.expect_err("another length");
        let told = running.cloud.services.s3.read(BUCKET, key).expect_err("damaged").to_string();
        assert!(told.contains("has 400 bytes instead of"), "{told}");
        bytes[500] = 2;
        std::fs::write(&file, &bytes).expect("written");
        // Clients go on by range where a larger download was broken off, so the store is asked.
        running.cloud.services.s3.read(BUCKET, key).expect_err("another byte");
        if size < 1_000_000 {
            client.get(&Path::from(key)).await.expect_err("another byte");
        }
        client.delete(&Path::from(key)).await.expect("deleted");
    }
}

#[tokio::test]
async fn a_disk_that_refuses_the_record_leaves_the_old_object() {
    let running = start().await;
    let buckets = &running.cloud.services.s3;
    buckets.put_bytes(BUCKET, "k", b"old").expect("written");
    let refusing = refused(&running.cloud.config.state_dir);
    buckets.put_bytes(BUCKET, "k", b"new").expect_err("no place for the record");
    buckets.remove_now(BUCKET, "k").expect_err("the record cannot be deleted");
    assert_eq!(buckets.read(BUCKET, "k").expect("read"), b"old");
    assert_eq!(files(&running.folder("files")).len(), 1);
    assert!(files(&running.folder("incoming")).is_empty());
    drop(refusing);
    buckets.put_bytes(BUCKET, "k", b"new").expect("written");
    assert_eq!(buckets.read(BUCKET, "k").expect("read"), b"new");
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let running = start().await;
    let target = running.presigned(Method::PUT, "k").await;
    let request = running.head("PUT", &target, "Content-Length: 100000\r\n") + "only the beginning";
    let address = ("127.0.0.1", running.cloud.config.port);
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("sent");
    while files(&running.folder("incoming")).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    until_empty(&running.folder("incoming")).await;
    assert!(files(&running.folder("files")).is_empty());
    assert!(matches!(running.cloud.services.s3.head(BUCKET, "k"), Err(StoreError::NoSuchKey)));
}

#[tokio::test]
async fn a_refusal_is_read_by_a_client_that_has_sent_its_body() {
    let running = start().await;
    let target = running.presigned(Method::PUT, "k").await;
    let headers = "If-None-Match: \"0\"\r\nConnection: close\r\nContent-Length: 3000000\r\n";
    let body = "x".repeat(3_000_000);
    let answer = running.exchange(running.head("PUT", &target, headers) + &body).await;
    assert!(answer.starts_with("HTTP/1.1 501"), "{answer}");
    assert!(answer.contains("does not implement If-None-Match with anything but *"), "{answer}");
}

#[tokio::test]
async fn a_bucket_of_somebody_else_is_closed_unless_its_policy_opens_it() {
    let running = start().await;
    let buckets = &running.cloud.services.s3;
    buckets.put_bytes(BUCKET, "k", b"here").expect("written");
    let own = |b: &mut steppe_cloud::services::s3::Bucket| b.owner = Some("111111111111".into());
    buckets.configure(BUCKET, own).expect("stored");
    let client = running.administrator();
    let error = client.get(&Path::from("k")).await.expect_err("closed");
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
    let statement = json!({
        "Effect": "Allow", "Principal": "*", "Action": "s3:*",
        "Resource": [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")],
    });
    let policy = json!({ "Version": "2012-10-17", "Statement": [statement] });
    buckets.configure(BUCKET, |b| b.policy = Some(policy)).expect("stored");
    client.get(&Path::from("k")).await.expect("open");
}

#[test]
fn a_bucket_can_belong_to_somebody_else() {
    let state = TempDir::new().expect("a folder");
    let foreign = json!({ BUCKET: { "owner": "111111111111" } });
    std::fs::write(state.path().join("foreign_buckets.json"), foreign.to_string())
        .expect("written");
    let cloud = open(state.path());
    let taken = cloud.services.s3.create(BUCKET, json!([])).expect_err("taken");
    assert!(matches!(taken, StoreError::BucketTaken), "{taken}");
    let owner = cloud.services.s3.get(BUCKET).expect("there").owner.clone();
    assert_eq!(owner.as_deref(), Some("111111111111"));
}

/// A role that may read `open/*` and list with this condition.
fn reader(running: &Running, condition: Value) -> Caller {
    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let mut list = json!({ "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket });
    if !condition.is_null() {
        list["Condition"] = condition;
    }
    let read = json!({
        "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": format!("{bucket}/*"),
    });
    let policy = json!({ "Version": "2012-10-17", "Statement": [read, list] });
    let role = Role { policies: vec![("p".into(), policy)], ..Role::new(json!({})) };
    let id = role.id.clone();
    running.cloud.services.iam.roles.put("reader", role).expect("stored");
    running.cloud.identities.role("reader", &id, "test")
}

#[tokio::test]
async fn only_those_who_may_list_learn_that_a_key_is_not_there() {
    let running = start().await;
    let (missing, hidden) = (Path::from("open/missing"), Path::from("secret/missing"));
    // A condition on the prefix is asked about the key.
    let narrow = json!({ "StringLike": { "s3:prefix": "open/*" } });
    let client = running.client(reader(&running, narrow));
    for error in [client.head(&hidden).await.err(), client.get(&hidden).await.err()] {
        assert!(matches!(error, Some(Error::PermissionDenied { .. })), "{error:?}");
    }
    let copied = client.copy(&hidden, &Path::from("open/copy")).await.expect_err("no source");
    assert!(matches!(copied, Error::PermissionDenied { .. }), "{copied:?}");
    let error = client.head(&missing).await.expect_err("not there");
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let client = running.client(reader(&running, Value::Null));
    let error = client.head(&missing).await.expect_err("not there");
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}
