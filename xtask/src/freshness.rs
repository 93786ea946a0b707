//! Whether what is served belongs to what was uploaded.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use steppe_aws::{Aws, Listed};
use steppe_plan::names::Names;
use steppe_spec::Manifest;
use steppe_store::table::is_hidden;
use steppe_wire::etl::{EtlReport, InputObjects, Uploaded};
use steppe_wire::hint::Hinted;
use steppe_wire::keys;

use crate::deployment::Deployment;

/// The raw data of a deployment, and what the cleaning job said last.
pub struct Lake {
    raw: InputObjects,
    /// The report of the last run; none before the first one.
    pub report: Option<EtlReport>,
}

impl Lake {
    /// Looks at both in a deployment that is there.
    pub async fn of(ours: &Deployment, manifest: &Manifest) -> Result<Self> {
        ours.stack()?;
        Self::look(ours.aws(), ours.names(), manifest).await
    }

    /// Looks at both.
    async fn look(aws: &Aws, names: &Names, manifest: &Manifest) -> Result<Self> {
        let (bucket, pipeline) = (&names.data_bucket(), &names.pipeline);
        let report_key = keys::etl_report(pipeline);
        let prefix = format!("raw/{pipeline}/");
        let (listed, report) =
            tokio::try_join!(aws.objects(bucket, &prefix), aws.get(bucket, &report_key))?;
        let report = report.map(|bytes| {
            serde_json::from_slice(&bytes)
                .with_context(|| format!("`{report_key}` is no report of a cleaning job"))
        });
        Ok(Self { raw: inputs_of(&listed, pipeline, manifest), report: report.transpose()? })
    }

    /// Fails when the clean tables were made from other raw data than those that are there.
    pub fn check(&self) -> Result<()> {
        let (raw, Some(report)) = (&self.raw, &self.report) else { return Ok(()) };
        if raw.objects == 0 || report.read() == *raw {
            return Ok(());
        }
        bail!(Hinted::new(
            format!(
                "the raw data of {} were uploaded after the pipeline ran last, so that what it \
                 cleaned are not these data",
                jiff::Timestamp::from_second(raw.modified)?
            ),
            "`cargo xtask deploy` runs the pipeline, and so does `cargo xtask smoke-test`",
        ))
    }
}

/// Of the objects below the pipeline's raw data those that a run reads, added up.
fn inputs_of(listed: &[Listed], pipeline: &str, manifest: &Manifest) -> InputObjects {
    let prefixes = manifest.inputs.iter().map(|input| keys::raw_prefix(pipeline, &input.name));
    let prefixes: Vec<String> = prefixes.collect();
    let read = |object: &&Listed| {
        let below = prefixes.iter().find_map(|prefix| object.key.strip_prefix(prefix.as_str()));
        below.is_some_and(|below| !below.is_empty() && !is_hidden(below))
    };
    let sum = |sum: InputObjects, object: &Listed| InputObjects {
        objects: sum.objects + 1,
        bytes: sum.bytes + object.bytes,
        modified: sum.modified.max(object.modified),
    };
    listed.iter().filter(read).fold(InputObjects::default(), sum)
}

/// Whether the newest run was one of all series, with this version of the model, and its clean
/// table is of the raw data that are there.
pub async fn has_run(
    aws: &Aws,
    names: &Names,
    manifest: &Manifest,
    machine: &str,
    version: &str,
) -> Result<bool> {
    let ran = aws.newest_success(machine).await?;
    if ran != Some(run_of_all(version)) {
        return Ok(false);
    }
    let lake = Lake::look(aws, names, manifest).await?;
    Ok(lake.report.is_some() && lake.check().is_ok())
}

/// The input of a run of all series in which only that version of the model may answer.
pub fn run_of_all(version: &str) -> Value {
    json!({ "model_version": version })
}

/// The hash of the raw data that are there; none when they are not what was uploaded last.
pub async fn uploaded(aws: &Aws, names: &Names) -> Result<Option<String>> {
    let (bucket, key) = (names.data_bucket(), keys::uploaded(&names.pipeline));
    let Some(note) = aws.get(&bucket, &key).await? else { return Ok(None) };
    // One that cannot be read says nothing.
    let Ok(note) = serde_json::from_slice::<Uploaded>(&note) else { return Ok(None) };
    let there = objects_of(&aws.objects(&bucket, &format!("raw/{}/", names.pipeline)).await?);
    Ok((there == note.objects).then_some(note.sha256))
}

/// Keys and ETags of what readers see.
pub fn objects_of(listed: &[Listed]) -> BTreeMap<String, String> {
    let seen = listed.iter().filter(|object| !is_hidden(&object.key));
    seen.map(|object| (object.key.clone(), object.etag.clone())).collect()
}
