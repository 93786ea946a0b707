//! Whether what is served belongs to what was uploaded.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use steppe_aws::{Aws, ObjectView};
use steppe_plan::names::Names;
use steppe_wire::etl::EtlReport;
use steppe_wire::keys;

use crate::deployment::Deployment;
use crate::hint::Hinted;

/// The raw data of a deployment, and what the cleaning job said last.
pub struct Lake {
    raw: Option<ObjectView>,
    /// The report of the last run; none before the first one.
    pub report: Option<EtlReport>,
}

impl Lake {
    /// Looks at both in a deployment that is there.
    pub async fn of(ours: &Deployment) -> Result<Self> {
        ours.stack()?;
        Self::look(ours.aws(), ours.names()).await
    }

    /// Looks at both.
    async fn look(aws: &Aws, names: &Names) -> Result<Self> {
        let (bucket, pipeline) = (&names.data_bucket(), &names.pipeline);
        let (raw_key, report_key) = (keys::raw(pipeline), keys::etl_report(pipeline));
        let (raw, report) =
            tokio::try_join!(aws.object(bucket, &raw_key), aws.get(bucket, &report_key))?;
        let report = report.map(|bytes| {
            serde_json::from_slice(&bytes)
                .with_context(|| format!("`{report_key}` is no report of a cleaning job"))
        });
        Ok(Self { raw, report: report.transpose()? })
    }

    /// Fails when the clean table was made from other raw data than those that are there.
    pub fn check(&self) -> Result<()> {
        let (Some(raw), Some(report)) = (&self.raw, &self.report) else { return Ok(()) };
        let read = report.input.map(|input| (input.bytes, input.modified));
        if read == Some((raw.bytes, raw.modified)) {
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

/// Whether the newest run was one of all series, with this version of the model, and its clean
/// table is of the raw data that are there.
pub async fn has_run(aws: &Aws, names: &Names, machine: &str, version: &str) -> Result<bool> {
    let ran = aws.newest_success(machine).await?;
    if ran != Some(run_of_all(version)) {
        return Ok(false);
    }
    let lake = Lake::look(aws, names).await?;
    Ok(lake.report.is_some() && lake.check().is_ok())
}

/// The input of a run of all series in which only that version of the model may answer.
pub fn run_of_all(version: &str) -> Value {
    json!({ "model_version": version })
}
