//! Uploads that are refused, or fail on the way: they leave nothing, and what was uploaded before
//! can still be used.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::json;

use crate::signed::{Answer, Keys, Request, Served};

const BUCKET: &str = "some-data";
/// The least size of a part that is not the last.
const PART_BYTES: usize = 5 * 1024 * 1024;

struct Uploads {
    served: Served,
    keys: Keys,
}

impl Uploads {
    async fn start() -> Self {
        let served = Served::start().await;
        served.cloud.services.s3.create(BUCKET, json!([])).expect("made");
        let keys = served.administrator();
        Self { served, keys }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let path = format!("/{BUCKET}/{path}");
        let request = Request::with(&self.keys, "s3", &path, headers.to_vec());
        self.served.send(&Request { method, body, ..request }).await
    }

    /// What lies in a folder of the store.
    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let folder = self.served.cloud.config.state_dir.join("s3").join(folder);
        let entries = std::fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    async fn begin(&self) -> String {
        let begun = self.send("POST", "large?uploads=", &[], "").await;
        assert_eq!(begun.status, 200, "{}", begun.text());
        begun.element("UploadId")
    }

    async fn part(&self, upload: &str, number: u32, body: &str) -> String {
        let path = format!("large?partNumber={number}&uploadId={upload}");
        let answer = self.send("PUT", &path, &[], body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let tag = answer.head.split_once("etag: \"").and_then(|(_, rest)| rest.split_once('"'));
        tag.expect("a tag").0.to_owned()
    }

    async fn complete(&self, upload: &str, tags: &[&str], headers: &[(&str, &str)]) -> Answer {
        let parts: String = (1..)
            .zip(tags)
            .map(|(n, tag)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>"))
            .collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        self.send("POST", &format!("large?uploadId={upload}"), headers, &body).await
    }
}

#[tokio::test]
async fn refused_uploads_leave_no_file() {
    let uploads = Uploads::start().await;
    let wrong = BASE64.encode([7; 16]);
    let refusals = [
        ("BadDigest", vec![("content-md5", wrong.as_str())]),
        ("BadDigest", vec![("x-amz-checksum-crc32", "AAAAAA==")]),
        ("InvalidDigest", vec![("content-md5", "short")]),
    ];
    for (code, headers) in &refusals {
        let refused = uploads.send("PUT", "k", headers, "some bytes").await;
        assert_eq!(refused.element("Code"), *code, "{headers:?}: {}", refused.text());
    }
    // Somebody else's bytes under the signature of the first.
    let request = Request::with(&uploads.keys, "s3", "/some-data/k", vec![]);
    let signed = Request { method: "PUT", body: "signed", ..request };
    let port = uploads.served.cloud.config.port;
    let lines: String =
        signed.signed(port, None).iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let head = format!("PUT /some-data/k HTTP/1.1\r\n{lines}content-length: 6\r\n");
    let changed = uploads.served.raw(&(head + "connection: close\r\n\r\nforged")).await;
    assert_eq!(changed.element("Code"), "XAmzContentSHA256Mismatch", "{}", changed.text());
    let upload = uploads.begin().await;
    let path = format!("large?partNumber=1&uploadId={upload}");
    let refused = uploads.send("PUT", &path, &refusals[0].1, "some bytes").await;
    assert_eq!(refused.element("Code"), "BadDigest");
    for folder in ["incoming", "files"] {
        assert!(uploads.files(folder).is_empty(), "{folder}: {:?}", uploads.files(folder));
    }
}

#[tokio::test]
async fn parts_lie_on_the_disk_and_a_completion_that_failed_leaves_them() {
    let uploads = Uploads::start().await;
    let upload = uploads.begin().await;
    let (first, last) = ("a".repeat(PART_BYTES), "b".repeat(10));
    let tags = [uploads.part(&upload, 1, &first).await, uploads.part(&upload, 2, &last).await];
    let sizes = || {
        let files = uploads.files("files");
        let mut sizes: Vec<u64> =
            files.iter().map(|f| f.metadata().expect("there").len()).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(), [10, PART_BYTES as u64], "each part is a file");
    let (first_tag, last_tag) = (tags[0].as_str(), tags[1].as_str());
    for (tags, headers, code) in [
        (vec![first_tag, first_tag], vec![], "InvalidPart"),
        (vec![first_tag, last_tag, last_tag], vec![], "InvalidPart"),
        (vec![first_tag, last_tag], vec![("x-amz-mp-object-size", "7")], "InvalidRequest"),
        (vec![first_tag, last_tag], vec![("if-match", "\"other\"")], "NoSuchKey"),
        (vec![], vec![], "MalformedXML"),
    ] {
        let refused = uploads.complete(&upload, &tags, &headers).await;
        assert_eq!(refused.element("Code"), code, "{}", refused.text());
        assert!(uploads.files("incoming").is_empty(), "what was put together is gone");
        assert_eq!(sizes(), [10, PART_BYTES as u64]);
    }
    let whole = uploads.complete(&upload, &[first_tag, last_tag], &[]).await;
    assert_eq!(whole.status, 200, "{}", whole.text());
    let read = uploads.served.cloud.services.s3.read(BUCKET, "large").expect("read");
    assert!(read == [first, last].concat().into_bytes(), "{} bytes", read.len());
    assert_eq!(sizes(), [PART_BYTES as u64 + 10], "the parts are gone");
    let gone = uploads.complete(&upload, &[first_tag], &[]).await;
    assert_eq!(gone.element("Code"), "NoSuchUpload");
}

#[tokio::test]
async fn an_upload_that_is_given_up_leaves_no_file() {
    let uploads = Uploads::start().await;
    let upload = uploads.begin().await;
    uploads.part(&upload, 1, "some bytes").await;
    assert_eq!(uploads.files("files").len(), 1);
    let given_up = uploads.send("DELETE", &format!("large?uploadId={upload}"), &[], "").await;
    assert_eq!(given_up.status, 204, "{}", given_up.text());
    assert!(uploads.files("files").is_empty() && uploads.files("incoming").is_empty());
}
