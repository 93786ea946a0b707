//! What S3 reads: nothing that is damaged, and nothing that the caller may not read.

use std::path::PathBuf;

use serde_json::json;
use steppe_cloud::services::iam::Role;

use crate::signed::{Answer, Keys, Request, Served};

const BUCKET: &str = "some-data";
const MIB: usize = 1024 * 1024;

async fn with_bucket() -> Served {
    let served = Served::start().await;
    served.cloud.services.s3.create(BUCKET, json!([])).expect("made");
    served
}

async fn s3(
    served: &Served,
    keys: &Keys,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let path = format!("/{BUCKET}/{path}");
    let request = Request::with(keys, "s3", &path, headers.to_vec());
    served.send(&Request { method, ..request }).await
}

/// The file that holds the only object's bytes.
fn file_of(served: &Served) -> PathBuf {
    let folder = served.cloud.config.state_dir.join("s3/files");
    let mut files = std::fs::read_dir(folder).expect("a folder");
    let file = files.next().expect("a file").expect("an entry").path();
    assert!(files.next().is_none(), "one object has one file");
    file
}

#[tokio::test]
async fn no_range_gets_past_a_damaged_byte() {
    let served = with_bucket().await;
    let keys = served.administrator();
    let bytes: Vec<u8> = (0..9 * MIB).map(|n| (n % 249) as u8).collect();
    served.cloud.services.s3.put_bytes(BUCKET, "large", &bytes).expect("stored");
    let get = async |range: &str| s3(&served, &keys, "GET", "large", &[("range", range)]).await;
    let sound = get("bytes=8500000-8600000").await;
    assert_eq!((sound.status, sound.body.len()), (206, 100_001));
    assert_eq!(sound.body, bytes[8_500_000..=8_600_000]);
    let mut damaged = bytes.clone();
    damaged[9 * MIB - 10] ^= 1;
    std::fs::write(file_of(&served), &damaged).expect("written");
    // Chunks before the damaged one are as they were written.
    assert_eq!(get("bytes=100-200").await.body, bytes[100..=200]);
    // A download is broken off before the damaged chunk, and cannot be resumed behind it.
    let whole = s3(&served, &keys, "GET", "large", &[]).await;
    assert!(whole.body.len() < bytes.len(), "{} bytes", whole.body.len());
    for range in ["bytes=8388608-", "bytes=-5", "bytes=9437174-9437183", "bytes=0-0"] {
        let answer = get(range).await;
        assert_eq!(answer.status, 500, "{range}: {}", answer.head);
        assert_eq!(answer.element("Code"), "InternalError", "{range}");
    }
    let source = format!("/{BUCKET}/large");
    let copied = s3(&served, &keys, "PUT", "copy", &[("x-amz-copy-source", &source)]).await;
    assert_eq!(copied.element("Code"), "InternalError", "{}", copied.text());
    // What is written anew is read again.
    served.cloud.services.s3.put_bytes(BUCKET, "large", b"new").expect("stored");
    assert_eq!(get("bytes=0-1").await.body, b"ne");
}

#[tokio::test]
async fn a_damaged_range_is_an_error_also_when_nobody_has_read_the_object_before() {
    let served = with_bucket().await;
    let keys = served.administrator();
    let bytes = vec![7; 9 * MIB];
    served.cloud.services.s3.put_bytes(BUCKET, "large", &bytes).expect("stored");
    let mut damaged = bytes.clone();
    damaged[9 * MIB - 1] = 8;
    std::fs::write(file_of(&served), &damaged).expect("written");
    let answer = s3(&served, &keys, "GET", "large", &[("range", "bytes=8400000-8400010")]).await;
    assert_eq!((answer.status, answer.element("Code").as_str()), (500, "InternalError"));
}

#[tokio::test]
async fn a_copy_needs_the_right_to_read_its_source() {
    let served = with_bucket().await;
    for key in ["open/a", "secret/a"] {
        served.cloud.services.s3.put_bytes(BUCKET, key, b"bytes").expect("stored");
    }
    let bucket = format!("arn:aws:s3:::{BUCKET}");
    let allow = |action: &str, resource: String| {
        let effect = "Allow";
        json!({ "Effect": effect, "Action": action, "Resource": resource })
    };
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        allow("s3:PutObject", format!("{bucket}/*")),
        allow("s3:GetObject", format!("{bucket}/open/*")),
        allow("s3:ListBucket", bucket.clone()),
    ] });
    let role = Role { policies: vec![("p".into(), policy)], ..Role::new(json!({})) };
    let id = role.id.clone();
    served.cloud.services.iam.roles.put("writer", role).expect("stored");
    let session =
        served.cloud.identities.session(served.cloud.identities.role("writer", &id, "test"));
    let keys = Keys {
        id: session.access_key_id,
        secret: session.secret_access_key,
        token: session.session_token,
    };
    let begun = s3(&served, &keys, "POST", "open/parts?uploads=", &[]).await;
    let part = format!("open/parts?partNumber=1&uploadId={}", begun.element("UploadId"));
    for target in ["open/copy", part.as_str()] {
        let copy = async |source: &str| {
            let source = format!("/{BUCKET}/{source}");
            s3(&served, &keys, "PUT", target, &[("x-amz-copy-source", &source)]).await
        };
        let copied = copy("open/a").await;
        assert_eq!(copied.status, 200, "{target}: {}", copied.text());
        for source in ["secret/a", "%73ecret/a", "secret%2Fa"] {
            let refused = copy(source).await;
            assert_eq!(refused.status, 403, "{target} of {source}: {}", refused.text());
            assert_eq!(refused.element("Code"), "AccessDenied");
        }
    }
}
