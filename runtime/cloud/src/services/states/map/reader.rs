//! Item readers: items out of S3, with the permissions of the machine's role.
//!
//! Not done: compressed files, versions of objects, Parquet, inventories, manifests of Athena,
//! the contents of listed objects, and members of an object as items; they are refused by name.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html>

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::interpreter::{Failure, Machine, Scope};
use super::super::limits::json_bytes;
use super::{csv, settings};
use crate::kernel::cloud::Cloud;

/// Bytes of an item before it is selected from.
const ITEM_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Endings of keys whose objects Step Functions takes for compressed.
const COMPRESSED: [&str; 3] = [".gz", ".zst", ".zstd"];

fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::new("States.ItemReaderFailed", why.to_string())
}

/// The items of a reader.
pub async fn read(
    machine: &Machine<'_>,
    reader: &Value,
    scope: &Scope<'_>,
) -> Result<Vec<Value>, Failure> {
    let arguments = scope.fill(&reader["Arguments"]).await?;
    let known: &[&str] = match reader["Resource"].as_str() {
        Some("arn:aws:states:::s3:listObjectsV2") => &["Bucket", "Prefix"],
        _ => &["Bucket", "Key"],
    };
    super::super::definition::check_keys("Arguments", &arguments, known).map_err(failed)?;
    let bucket = text(&arguments, "Bucket")?;
    let mut items = match known.contains(&"Key") {
        true => content(machine, reader, bucket, text(&arguments, "Key")?).await?,
        false => listing(machine, bucket, arguments["Prefix"].as_str())?,
    };
    if let Some(most) = reader["ReaderConfig"]["MaxItems"].as_u64() {
        items.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    if items.iter().any(|item| json_bytes(item) > ITEM_BYTES_MAX) {
        return Err(failed("an item has more than 8 MiB"));
    }
    Ok(items)
}

fn text<'a>(arguments: &'a Value, name: &str) -> Result<&'a str, Failure> {
    let value = arguments[name].as_str().filter(|text| !text.is_empty());
    value.ok_or_else(|| failed(format!("the Arguments of the ItemReader have no {name}")))
}

async fn content(
    machine: &Machine<'_>,
    reader: &Value,
    bucket: &str,
    key: &str,
) -> Result<Vec<Value>, Failure> {
    if COMPRESSED.iter().any(|ending| key.ends_with(ending)) {
        let why =
            format!("the embedded cloud reads no compressed items, as of s3://{bucket}/{key}");
        return Err(failed(why));
    }
    let arn = format!("arn:aws:s3:::{bucket}/{key}");
    let allowed = machine.cloud.authorize(&machine.caller, "s3:GetObject", &arn, &[]);
    allowed.map_err(|error| failed(error.message))?;
    let (cloud, place) = (machine.cloud.clone(), (bucket.to_owned(), key.to_owned()));
    let config = reader["ReaderConfig"].clone();
    let read = tokio::task::spawn_blocking(move || parse(&cloud, &place, &config));
    read.await.map_err(failed)?.map_err(|why| failed(format!("s3://{bucket}/{key}: {why}")))
}

fn parse(
    cloud: &Arc<Cloud>,
    (bucket, key): &(String, String),
    config: &Value,
) -> Result<Vec<Value>, String> {
    let bytes = cloud.services.s3.read(bucket, key).map_err(|e| e.to_string())?;
    let text = String::from_utf8(bytes).map_err(|e| format!("it is not UTF-8: {e}"))?;
    items(&text, config)
}

/// The items of a text.
fn items(text: &str, config: &Value) -> Result<Vec<Value>, String> {
    match config["InputType"].as_str() {
        Some("JSONL") => {
            let line = |(at, line): (usize, &str)| {
                serde_json::from_str(line).map_err(|e| format!("line {} is no JSON: {e}", at + 1))
            };
            text.lines().enumerate().map(line).collect()
        }
        Some("CSV") => {
            let header = config["CSVHeaders"]
                .as_array()
                .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect());
            let first = text.lines().next().unwrap_or_default();
            if header.is_none() && first.len() > settings::HEADER_BYTES_MAX {
                return Err("the header has more than 10 KiB".to_owned());
            }
            let delimiter = settings::delimiter(config).unwrap_or(',');
            Ok(csv::rows(text, delimiter, header))
        }
        _ => {
            let whole: Value =
                serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
            let pointer = config["ItemsPointer"].as_str().unwrap_or_default();
            match whole.pointer(pointer) {
                Some(Value::Array(items)) => Ok(items.clone()),
                Some(Value::Object(_)) => {
                    Err("the embedded cloud takes arrays of items, not objects".to_owned())
                }
                Some(_) => Err("Attempting to map over non-iterable node.".to_owned()),
                None => Err(format!("there is nothing at {pointer}")),
            }
        }
    }
}

/// What `ListObjectsV2` tells of the objects of a bucket of this account.
fn listing(
    machine: &Machine<'_>,
    bucket: &str,
    prefix: Option<&str>,
) -> Result<Vec<Value>, Failure> {
    let cloud = machine.cloud;
    let conditions: Vec<_> = prefix.iter().map(|p| ("s3:prefix", (*p).to_owned())).collect();
    let arn = format!("arn:aws:s3:::{bucket}");
    let allowed = cloud.authorize(&machine.caller, "s3:ListBucket", &arn, &conditions);
    allowed.map_err(|error| failed(error.message))?;
    let settings = cloud.services.s3.get(bucket).map_err(failed)?;
    if settings.owner.is_some() {
        return Err(failed(format!("the bucket {bucket} belongs to another account")));
    }
    let objects = cloud.services.s3.objects(bucket).map_err(failed)?;
    let objects = objects.range(prefix.unwrap_or_default(), None);
    let item = |(key, object): (String, Arc<crate::services::s3::Object>)| {
        json!({
            "Etag": format!("\"{}\"", object.etag), "Key": key,
            "LastModified": object.modified.as_second(), "Size": object.size,
            "StorageClass": "STANDARD",
        })
    };
    Ok(objects.into_iter().map(item).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_lines_rows_or_members_of_an_array() {
        let of = |kind: &str, text: &str| items(text, &json!({ "InputType": kind }));
        assert_eq!(of("JSONL", "{\"a\":1}\n2\n"), Ok(vec![json!({ "a": 1 }), json!(2)]));
        assert_eq!(of("JSONL", ""), Ok(vec![]));
        assert!(of("JSONL", "1\n\n2\n").expect_err("an empty line").starts_with("line 2"));
        assert_eq!(of("CSV", "a\n1\n"), Ok(vec![json!({ "a": "1" })]));
        assert_eq!(of("JSON", "[1, 2]"), Ok(vec![json!(1), json!(2)]));
        for wrong in ["{}", "1", "["] {
            assert!(of("JSON", wrong).is_err(), "{wrong}");
        }
        let config = json!({ "InputType": "JSON", "ItemsPointer": "/a/b" });
        assert_eq!(items("{\"a\":{\"b\":[3]}}", &config), Ok(vec![json!(3)]));
        assert!(items("{\"a\":{}}", &config).is_err());
        let long = format!("{}\n1\n", "x".repeat(settings::HEADER_BYTES_MAX + 1));
        assert!(of("CSV", &long).is_err());
    }
}
