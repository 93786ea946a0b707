//! Result writers: what the children of a Map Run gave, as files in S3 or as the state's result.
//!
//! A Map Run writes `PREFIX/RUN/manifest.json` and, for what there is, `SUCCEEDED_0.json`,
//! `FAILED_0.json` and `PENDING_0.json` beside it, also when it failed or was aborted. A redrive
//! writes them again; a file of an earlier attempt that has no successor stays, and the manifest
//! does not name it.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html>

use serde_json::{Value, json};

use super::super::interpreter::{Failure, Machine, Outcome, Scope};
use super::super::{Execution, redrive};
use super::runs;
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::identity::Caller;

/// What a bucket's policy or the role must allow, as AWS documents it for files of all sizes.
const ACTIONS: [&str; 4] =
    ["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"];

/// What becomes of the outputs of children that succeeded.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Transformation {
    /// All about the child.
    None,
    /// Its output.
    Compact,
    /// Its output, or the members of it when it is an array.
    Flatten,
}

/// Where results go, and how.
#[derive(Debug)]
pub struct Writer {
    place: Option<Place>,
    transformation: Transformation,
}

/// A bucket and the beginning of keys.
#[derive(Debug)]
struct Place {
    bucket: String,
    prefix: String,
}

/// The children of a Map Run by how they ended.
#[derive(Debug, Default)]
pub struct Results {
    /// All in the order of the items, for a result without files.
    pub all: Vec<Value>,
    /// Those that succeeded.
    pub succeeded: Vec<Value>,
    /// Those that failed or were aborted.
    pub failed: Vec<Value>,
    /// Those that did not start.
    pub pending: Vec<Value>,
}

fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::new("States.ResultWriterFailed", why.to_string())
}

impl Writer {
    /// The writer of a state, whose arguments may be expressions.
    pub async fn of(writer: &Value, scope: &Scope<'_>) -> Result<Self, Failure> {
        let place = match writer.get("Arguments") {
            Some(arguments) => Some(Place::of(&scope.fill(arguments).await?)?),
            None => None,
        };
        let transformation = match writer["WriterConfig"]["Transformation"].as_str() {
            Some("FLATTEN") => Transformation::Flatten,
            Some("COMPACT") => Transformation::Compact,
            Some(_) => Transformation::None,
            None if place.is_some() => Transformation::None,
            None => Transformation::Compact,
        };
        Ok(Self { place, transformation })
    }

    /// Whether the results can be written: asked before any child starts.
    pub fn check(&self, machine: &Machine<'_>, run: &str) -> Result<(), Failure> {
        let Some(place) = &self.place else { return Ok(()) };
        let arn = format!("arn:aws:s3:::{}/{}", place.bucket, place.key(run, "manifest.json"));
        for action in ACTIONS {
            let allowed = machine.cloud.authorize(&machine.caller, action, &arn, &[]);
            allowed.map_err(|error| failed(error.message))?;
        }
        let bucket = machine.cloud.services.s3.get(&place.bucket).map_err(failed)?;
        match bucket.owner {
            Some(_) => Err(failed(format!("{} belongs to another account", place.bucket))),
            None => Ok(()),
        }
    }

    /// Adds a child to the results.
    pub fn add(&self, cloud: &Cloud, results: &mut Results, arn: &str, child: &Execution) {
        if child.status != "SUCCEEDED" {
            let whole = described(cloud, arn, child);
            results.all.push(whole.clone());
            results.failed.push(whole);
            return;
        }
        let output = child.output.clone().unwrap_or_default();
        let given = match (self.transformation, output) {
            (Transformation::None, _) => vec![described(cloud, arn, child)],
            (Transformation::Flatten, Value::Array(members)) => members,
            (_, output) => vec![output],
        };
        results.all.extend(given.iter().cloned());
        results.succeeded.extend(given);
    }

    /// Writes the files, if there are to be any, and gives the result of the state.
    pub async fn finish(
        &self,
        cloud: &std::sync::Arc<Cloud>,
        caller: &Caller,
        run: &str,
        results: Results,
    ) -> Outcome {
        let Some(place) = &self.place else { return Ok(Value::from(results.all)) };
        let mut files = json!({});
        let mut objects = vec![];
        for (kind, of_kind) in [
            ("FAILED", results.failed),
            ("PENDING", results.pending),
            ("SUCCEEDED", results.succeeded),
        ] {
            files[kind] = json!([]);
            if of_kind.is_empty() {
                continue;
            }
            let key = place.key(run, &format!("{kind}_0.json"));
            let bytes = serde_json::to_vec(&of_kind).map_err(failed)?;
            files[kind] = json!([{ "Key": key, "Size": bytes.len() }]);
            objects.push((key, bytes));
        }
        let manifest = json!({
            "DestinationBucket": place.bucket, "MapRunArn": run, "ResultFiles": files,
        });
        let key = place.key(run, "manifest.json");
        objects.push((key.clone(), manifest.to_string().into_bytes()));
        for (key, _) in &objects {
            let arn = format!("arn:aws:s3:::{}/{key}", place.bucket);
            let allowed = cloud.authorize(caller, "s3:PutObject", &arn, &[]);
            allowed.map_err(|error| failed(error.message))?;
        }
        let (cloud, bucket) = (cloud.clone(), place.bucket.clone());
        let write = move || {
            let mut objects = objects.iter();
            objects.try_for_each(|(key, bytes)| {
                cloud.services.s3.put_bytes(&bucket, key, bytes).map(|_| ())
            })
        };
        tokio::task::spawn_blocking(write).await.map_err(failed)?.map_err(failed)?;
        Ok(json!({
            "MapRunArn": run,
            "ResultWriterDetails": { "Bucket": place.bucket, "Key": key },
        }))
    }

    /// Whether the results go to files.
    pub fn has_files(&self) -> bool {
        self.place.is_some()
    }
}

impl Place {
    fn of(arguments: &Value) -> Result<Self, Failure> {
        let known = ["Bucket", "Prefix"];
        super::super::definition::check_keys("Arguments", arguments, &known).map_err(failed)?;
        let bucket = arguments["Bucket"].as_str().filter(|bucket| !bucket.is_empty());
        let bucket = bucket.ok_or_else(|| failed("the Arguments have no Bucket"))?;
        let mut prefix = arguments["Prefix"].as_str().unwrap_or_default().to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        Ok(Self { bucket: bucket.to_owned(), prefix })
    }

    /// `csvJobs/ad9b5f27-090b-3ac6-9beb-243cd77144a7/manifest.json`.
    fn key(&self, run: &str, file: &str) -> String {
        format!("{}{}/{file}", self.prefix, runs::id(run))
    }
}

/// All about a child, as the files have it.
fn described(cloud: &Cloud, arn: &str, child: &Execution) -> Value {
    let (status, reason) = redrive::status(cloud, child);
    let mut out = json!({
        "ExecutionArn": arn, "Input": child.input.to_string(),
        "InputDetails": { "Included": true }, "Name": child.name,
        "RedriveCount": child.redrives, "RedriveStatus": status,
        "StartDate": iso(child.started), "StateMachineArn": child.machine,
        "Status": child.status,
    });
    if let Some(output) = &child.output {
        out["Output"] = output.to_string().into();
        out["OutputDetails"] = json!({ "Included": true });
    }
    if let Some((error, cause)) = &child.failure {
        (out["Error"], out["Cause"]) = (error.clone().into(), cause.clone().into());
    }
    if let Some(reason) = reason {
        out["RedriveStatusReason"] = reason.into();
    }
    if let Some(stopped) = child.stopped {
        out["StopDate"] = iso(stopped).into();
    }
    out
}

/// An item that no child was started for.
pub fn pending(input: &Value) -> Value {
    json!({
        "Input": input.to_string(), "InputDetails": { "Included": true }, "Status": "PENDING",
    })
}
