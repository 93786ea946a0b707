//! Buckets as the runtime programs see them: keys that XML cannot carry, many pages, and buckets
//! that belong to another account.

use std::sync::Arc;

use futures::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::Cloud;
use steppe_cloud::kernel::identity::Caller;
use steppe_cloud::services::iam::Role;
use steppe_jobs::drift::Monitor;
use steppe_jobs::inputs::data_set;
use steppe_model::Artifact;
use steppe_model::forecast::Forecast;
use steppe_model::host::{Quiet, Stage};
use steppe_server::datasets::Datasets;
use steppe_server::problems::RequestError;
use steppe_spec::{Family, Kind};
use steppe_wire::failure::Failure;

use crate::jobs::drift::{GOOD, Watched, stored, two_dozen};
use crate::serving::Serving;
use crate::tools::spec;

const BUCKET: &str = "some-data";
const ACCOUNT: &str = "000000000000";
const OTHER_ACCOUNT: &str = "111111111111";

/// What XML 1.0 cannot carry at all, or not without loss, and what no path can name.
const STRANGE: [&str; 9] =
    ["\u{1}", "\u{8}", "\u{1b}[2J", "\r\n", "\u{fffe}", "a//b", "/", "..", "a+b %2B&<é>\"'"];

fn bucket(cloud: &Cloud, caller: Caller, owner: Option<&str>) -> Arc<dyn ObjectStore> {
    let session = cloud.identities.session(caller);
    let builder = AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_region("us-east-1")
        .with_endpoint(cloud.config.endpoint())
        .with_allow_http(true)
        .with_access_key_id(session.access_key_id)
        .with_secret_access_key(session.secret_access_key)
        .with_token(session.session_token.expect("a token"));
    steppe_store::with(builder, owner.map(str::to_owned)).expect("a client")
}

/// The administrator's view of a new bucket.
async fn start() -> (Serving, Arc<dyn ObjectStore>) {
    let serving = Serving::start().await;
    serving.cloud.services.s3.create(BUCKET, Value::Null).expect("made");
    let administrator = serving.cloud.identities.administrator();
    let bucket = bucket(&serving.cloud, administrator, Some(ACCOUNT));
    (serving, bucket)
}

fn put(serving: &Serving, key: &str, bytes: &[u8]) {
    serving.cloud.services.s3.put_bytes(BUCKET, key, bytes).expect("stored");
}

async fn keys(bucket: &dyn ObjectStore, folder: &str) -> Vec<String> {
    let listed = bucket.list(Some(&Path::from(folder)));
    listed.map(|entry| steppe_store::key(entry).expect("a key")).collect().await
}

#[tokio::test]
async fn a_strange_key_is_one_entry_of_a_listing_and_not_its_end() {
    let (serving, bucket) = start().await;
    let mut expected: Vec<String> = STRANGE.iter().map(|key| format!("p/{key}")).collect();
    expected.push("p/plain".to_owned());
    expected.sort();
    expected.iter().for_each(|key| put(&serving, key, b"x"));
    put(&serving, "po/other", b"x");
    assert_eq!(keys(&*bucket, "p").await, expected);
    let level = bucket.list_with_delimiter(Some(&Path::from("po"))).await.expect("a level");
    assert_eq!((level.objects.len(), level.common_prefixes.len()), (1, 0));
    let top = bucket.list_with_delimiter(None).await.expect("a level");
    assert_eq!(top.common_prefixes, [Path::from("p"), Path::from("po")]);
}

#[tokio::test]
async fn all_pages_are_read() {
    let (serving, bucket) = start().await;
    let expected: Vec<String> = (0..1_005).map(|i| format!("many/{i:05}")).collect();
    expected.iter().for_each(|key| put(&serving, key, b""));
    assert_eq!(keys(&*bucket, "many").await, expected);
}

/// Of a large group the rest is not read, and nothing behind it is left out.
#[tokio::test]
async fn what_comes_after_a_large_group_is_listed() {
    let (serving, bucket) = start().await;
    for number in 0..150 {
        put(&serving, &format!("large/{number:03}"), b"x");
    }
    for key in ["a", "large/\u{10ffff}", "large/\u{10ffff}x", "large0", "small/1", "z"] {
        put(&serving, key, b"x");
    }
    let listed = bucket.list_with_delimiter(None).await.expect("listed");
    let groups: Vec<String> = listed.common_prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(groups, ["large", "small"]);
    let objects: Vec<String> = listed.objects.iter().map(|o| o.location.to_string()).collect();
    assert_eq!(objects, ["a", "large0", "z"]);
}

#[tokio::test]
async fn strange_keys_beside_a_table_do_not_matter_and_in_it_are_named() {
    let (serving, bucket) = start().await;
    for key in STRANGE {
        put(&serving, &format!("processed/x/{key}"), b"x");
    }
    put(&serving, "processed/x/_temporary/0/part-0.parquet", b"half a table");
    let prefix = "processed/x/";
    let empty = data_set::<Forecast>(&bucket, prefix, &spec()).await.expect("no table is no error");
    assert!(empty.is_none());
    let served = Datasets::new(bucket.clone(), 1 << 20);
    let theta = spec().with(|s| s.model.kind = Kind::Of(Family::Theta));
    let card = Artifact::train(&two_dozen(), &theta, &Stage::new(&Quiet)).expect("trains").card;
    let absent = served.get(prefix, &card).await.expect_err("no table");
    assert!(matches!(absent, RequestError::NoDataset(_)), "{absent:?}");

    put(&serving, "processed/x/a//part-0.parquet", b"rows");
    let error = data_set::<Forecast>(&bucket, prefix, &spec()).await.expect_err("rows would lack");
    assert!(error.to_string().contains("processed/x/a//part-0.parquet"), "{error}");
    let error = served.get(prefix, &card).await.expect_err("rows would lack");
    assert!(!matches!(error, RequestError::NoDataset(_)), "{error:?}");
}

#[tokio::test]
async fn strange_keys_among_forecasts_do_not_stop_the_check_for_drift() {
    let (serving, bucket) = start().await;
    let spec = spec().with(|s| {
        s.model.kind = Kind::Of(Family::Theta);
        s.task.horizon = 1;
    });
    let watched = Watched::start(&spec, &two_dozen()).await;
    for (i, prediction) in stored(&two_dozen(), GOOD, 0.05, 0.001).iter().enumerate() {
        let line = serde_json::to_vec(prediction).expect("JSON");
        put(&serving, &format!("predictions/output_{i}.json"), &line);
    }
    for key in STRANGE {
        put(&serving, &format!("predictions/{key}.json"), b"{}");
    }
    let table = "processed/marriages/marriages/part-00000.parquet";
    let rows = watched.stack.data.get(&Path::from(table)).await.expect("a table");
    put(&serving, table, &rows.bytes().await.expect("its bytes"));
    let monitor = Monitor { data: bucket, ..watched.monitor.clone() };
    let outcome = monitor.run().await.expect("checked");
    assert!(outcome.summary.contains("24 past ones"), "{outcome:?}");
}

/// A role that may do everything with the bucket, under a condition.
fn role(cloud: &Cloud, name: &str, condition: &Value) -> Caller {
    let statement = json!({
        "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
        "Resource": [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")],
        "Condition": condition,
    });
    let policy = json!({ "Version": "2012-10-17", "Statement": [statement] });
    let role = Role { policies: vec![("p".into(), policy)], ..Role::new(json!({})) };
    let id = role.id.clone();
    cloud.services.iam.roles.put(name, role).expect("stored");
    cloud.identities.role(name, &id, "test")
}

/// What a role may with the bucket: read, write, list.
async fn allowed(bucket: &dyn ObjectStore) -> [bool; 3] {
    let key = Path::from("p/x");
    let denied = |error: &Error| matches!(error, Error::PermissionDenied { .. });
    let written = bucket.put(&key, "x".into()).await;
    let read = bucket.get(&key).await;
    let listed = bucket.list(Some(&Path::from("p"))).next().await.expect("an entry");
    for error in [written.as_ref().err(), read.as_ref().err(), listed.as_ref().err()] {
        assert!(error.is_none_or(denied), "{error:?}");
    }
    [read.is_ok(), written.is_ok(), listed.is_ok()]
}

#[tokio::test]
async fn a_bucket_of_another_account_under_our_name_is_refused_for_our_roles() {
    let own = json!({ "StringEquals": { "aws:ResourceAccount": ACCOUNT } });
    let own_of_s3 = json!({ "StringEquals": { "s3:ResourceAccount": ACCOUNT } });
    let any = json!({ "StringLike": { "aws:ResourceAccount": "*" } });
    let (ours, _) = start().await;
    put(&ours, "p/x", b"x");
    for (name, condition) in [("a", &own), ("b", &own_of_s3), ("c", &any)] {
        let caller = role(&ours.cloud, name, condition);
        assert_eq!(allowed(&*bucket(&ours.cloud, caller, None)).await, [true; 3], "{condition}");
    }
    // Its policy opens it to us: that is how a stranger would gather what we write.
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
        "Action": "s3:*",
        "Resource": [format!("arn:aws:s3:::{BUCKET}"), format!("arn:aws:s3:::{BUCKET}/*")],
    }] });
    let foreign = json!({ BUCKET: { "owner": OTHER_ACCOUNT, "policy": policy } });
    let theirs = Serving::start_with(|state| {
        std::fs::write(state.join("foreign_buckets.json"), foreign.to_string()).expect("written");
    })
    .await;
    put(&theirs, "p/x", b"x");
    for (name, condition, expected) in
        [("a", &own, [false; 3]), ("b", &own_of_s3, [false; 3]), ("c", &any, [true; 3])]
    {
        let caller = role(&theirs.cloud, name, condition);
        assert_eq!(allowed(&*bucket(&theirs.cloud, caller, None)).await, expected, "{condition}");
    }
    // Listings say whose bucket they mean, whatever the role may.
    let caller = role(&theirs.cloud, "c", &any);
    let meant = bucket(&theirs.cloud, caller, Some(ACCOUNT));
    assert_eq!(allowed(&*meant).await, [true, true, false]);
    let failure = data_set::<Forecast>(&meant, "processed/x/", &spec()).await.expect_err("refused");
    assert!(matches!(failure, Failure::Permanent(_)), "{failure:?}");
}
