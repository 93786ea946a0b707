//! Objects that are written, replaced and deleted, and what they may be after a crash: what was
//! acknowledged last, or what was being written.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::signed::{Answer, Signed, between};

/// Bucket of all objects.
const BUCKET: &str = "crash-objects";
/// Keys of one writer.
const KEYS: usize = 6;
/// Largest object.
const BYTES_MAX: usize = 40_000;

/// What a key may hold: `None` is nothing.
type Value = Option<String>;

/// One writer's objects; nobody else writes them.
pub struct Objects {
    number: usize,
    random: fastrand::Rng,
    /// Acknowledged, and perhaps done.
    keys: BTreeMap<String, (Value, Option<Value>)>,
    versions: usize,
    /// Changes that were acknowledged.
    pub acknowledged: usize,
}

/// A change of an object.
#[derive(Debug, Clone, Copy)]
enum Change {
    Put,
    PutIfNew,
    PutIfSame,
    Multipart,
    Delete,
}

/// Bytes of an object: its name over and over.
fn bytes(name: &str) -> String {
    let (_, length) = name.rsplit_once(' ').expect("a length");
    let length: usize = length.parse().expect("a number");
    name.chars().cycle().take(length.max(name.len())).collect()
}

/// Objects in all buckets.
pub async fn count_all(client: &Signed) -> usize {
    let buckets = client.send("s3", "GET", "/", &[], "").await.expect("a list").text();
    let mut count = 0;
    for bucket in buckets.split("<Name>").skip(1).filter_map(|b| b.split("</Name>").next()) {
        let path = format!("/{bucket}?list-type=2");
        let list = client.send("s3", "GET", &path, &[], "").await.expect("a list");
        count += list.text().matches("<Contents>").count();
    }
    count
}

impl Objects {
    /// No objects yet.
    pub fn new(number: usize, random: fastrand::Rng) -> Self {
        Self { number, random, keys: BTreeMap::new(), versions: 0, acknowledged: 0 }
    }

    /// Changes objects until the cloud is gone.
    pub async fn load(&mut self, client: &Signed, stop: Instant) {
        // The bucket is there or this makes it.
        if client.send("s3", "PUT", &format!("/{BUCKET}"), &[], "").await.is_err() {
            return;
        }
        while Instant::now() < stop {
            if self.change(client).await.is_err() {
                return;
            }
        }
    }

    async fn change(&mut self, client: &Signed) -> Result<(), String> {
        let key = format!("w{}/k{}", self.number, self.random.usize(..KEYS));
        let changes =
            [Change::Put, Change::PutIfNew, Change::PutIfSame, Change::Multipart, Change::Delete];
        let change = changes[self.random.usize(..changes.len())];
        self.versions += 1;
        let length = self.random.usize(1..BYTES_MAX);
        let name = format!("{key} version {} {length}", self.versions);
        let before = self.keys.get(&key).and_then(|(value, _)| value.clone());
        let after = match change {
            Change::Delete => None,
            _ => Some(name.clone()),
        };
        self.keys.insert(key.clone(), (before.clone(), Some(after.clone())));
        let path = format!("/{BUCKET}/{key}");
        let answer = match change {
            Change::Put => client.send("s3", "PUT", &path, &[], bytes(&name)).await?,
            Change::PutIfNew => {
                let condition = [("if-none-match", "*")];
                client.send("s3", "PUT", &path, &condition, bytes(&name)).await?
            }
            Change::PutIfSame => {
                let head = client.send("s3", "HEAD", &path, &[], "").await?;
                let etag = head.headers.get("etag").and_then(|e| e.to_str().ok());
                let condition = [("if-match", etag.unwrap_or("\"none\""))];
                client.send("s3", "PUT", &path, &condition, bytes(&name)).await?
            }
            Change::Multipart => multipart(client, &path, &name).await?,
            Change::Delete => client.send("s3", "DELETE", &path, &[], "").await?,
        };
        // What is refused has changed nothing; anything but a condition is a fault.
        let refused = match (change, &before) {
            (Change::PutIfNew, Some(_)) => answer.status == 412,
            (Change::PutIfSame, None) => matches!(answer.status, 404 | 412),
            _ => false,
        };
        assert!(answer.is_ok() != refused, "{change:?} {key}: {} {}", answer.status, answer.text());
        self.acknowledged += usize::from(!refused);
        self.keys.insert(key, (if refused { before } else { after }, None));
        Ok(())
    }

    /// After a restart every key has what it may have; from then on that is what it has.
    pub async fn check(&mut self, client: &Signed) {
        for (key, (acknowledged, begun)) in &mut self.keys {
            let answer = client.send("s3", "GET", &format!("/{BUCKET}/{key}"), &[], "").await;
            let answer = answer.expect("the cloud runs");
            let possible = [Some(acknowledged.clone()), begun.clone()];
            let held = possible.into_iter().flatten().find(|value| match value {
                Some(name) => answer.status == 200 && answer.text() == bytes(name),
                None => answer.status == 404,
            });
            let begins: String = answer.text().chars().take(80).collect();
            *acknowledged = held.unwrap_or_else(|| {
                panic!("{key} was {acknowledged:?} or {begun:?}, but is {} {begins}", answer.status)
            });
            *begun = None;
        }
        let path = format!("/{BUCKET}?list-type=2&prefix=w{}%2F", self.number);
        let list = client.send("s3", "GET", &path, &[], "").await.expect("the cloud runs");
        let listed = list.text().matches("<Contents>").count();
        let held = self.keys.values().filter(|(value, _)| value.is_some()).count();
        assert_eq!(listed, held, "{}", list.text());
    }
}

async fn multipart(client: &Signed, path: &str, name: &str) -> Result<Answer, String> {
    let begun = client.send("s3", "POST", &format!("{path}?uploads"), &[], "").await?;
    let text = begun.text();
    let upload = between(&text, "<UploadId>", "</UploadId>").expect("an upload").to_owned();
    let part = format!("{path}?partNumber=1&uploadId={upload}");
    let sent = client.send("s3", "PUT", &part, &[], bytes(name)).await?;
    let etag = sent.headers.get("etag").and_then(|e| e.to_str().ok()).expect("an ETag");
    let body = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    client.send("s3", "POST", &format!("{path}?uploadId={upload}"), &[], body).await
}
