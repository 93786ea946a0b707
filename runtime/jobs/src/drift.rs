//! The check for drift: what the server saw and said beside its model's backtest, and past
//! forecasts beside what happened since.
//!
//! Everything that is out of line is a finding with a stable name. A finding is told once: what the
//! check before had found already is not new.

mod rows;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Deserialize;
use steppe_model::DataError;
use steppe_model::forecast::Forecast;
use steppe_spec::{TrainSpec, TrainingSpec};
use steppe_store::{Bucket, BucketError, Objects, write_json};
use steppe_wire::drift::{
    DRIFT_SCHEMA_VERSION, DriftOutcome, DriftReport, Finding, Labelled, Realised, ServerDrift,
    StatisticDrift, TableDrift,
};
use steppe_wire::failure::Failure;
use steppe_wire::predict::{Step, StoredPrediction};
use steppe_wire::text::{shown, shown_at_most};
use steppe_wire::{edge, keys};

use crate::inputs::{any_spec, data_set};
use crate::realised::{Promised, realised};
use crate::score::forecasts;

/// Newest objects with forecasts that are looked at.
const OBJECTS_MAX: usize = 10_000;
/// Steps of stored forecasts from which no older ones are looked at.
const STEPS_MAX: usize = 100_000;
/// Largest report of an earlier check that is read.
const REPORT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Characters of a finding.
const FINDING_MAX: usize = 500;
/// Largest object with forecasts that is read.
const OBJECT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Forecasts read at once.
const READS: usize = 32;
/// Longest wait for the model server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer of the model server that is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Past forecasts from which a verdict on a model is possible.
const CASES_MIN: usize = 8;
/// Probability of the coverage below which the interval does not hold what it promises.
const COVERAGE_P: f64 = 0.001;
/// Realised error, in multiples of the backtest's, from which the model has lost its way.
const ERROR_RATIO: f64 = 2.0;

/// What the state machine sends: nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {}

/// The drift check of one pipeline.
#[derive(Debug, Clone)]
pub struct Monitor {
    /// Bucket of the configuration.
    pub artifacts: Bucket,
    /// Bucket of the clean table, forecasts and reports.
    pub data: Bucket,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Key of the configuration in the artifacts bucket.
    pub spec_key: String,
    /// Address of the model server.
    pub server_url: String,
    /// Prefix of what runs predicted.
    pub predictions: String,
}

impl Monitor {
    /// Checks, reports, and says what is new.
    pub async fn run(&self) -> Result<DriftOutcome, Failure> {
        let report_key = keys::drift_report(&self.pipeline);
        let spec = any_spec(&self.artifacts, &self.spec_key).await?;
        let (server, before, looked) = match spec {
            TrainingSpec::Forecast(spec) => {
                tokio::try_join!(self.server(), self.before(&report_key), self.forecasts(&spec))?
            }
            TrainingSpec::Tabular(spec) => {
                tokio::try_join!(self.server(), self.before(&report_key), rows::look(self, &spec))?
            }
        };
        let mut findings = of_server(&server);
        findings.extend(looked.findings);
        let known: BTreeSet<String> =
            before.into_iter().flat_map(|b| b.findings).map(|f| f.id).collect();
        // They become a mail.
        let text = |f: &Finding| shown_at_most(&f.text, FINDING_MAX).into_owned();
        let new: Vec<String> =
            findings.iter().filter(|f| !known.contains(&f.id)).map(text).collect();
        let verdict = match findings.len() {
            0 => "no drift".to_owned(),
            some => format!("{some} findings, {} new", new.len()),
        };
        // About rows the server counts nothing: whom people look up is no sample.
        let counted = match looked.table {
            Some(_) => String::new(),
            None => format!("{} forecasts counted, ", server.forecasts),
        };
        let summary = format!("{verdict}; {counted}{}", looked.told);
        let outcome = DriftOutcome { new, findings: findings.len(), summary };
        let (pipeline, time) = (self.pipeline.clone(), Timestamp::now().to_string());
        let report = DriftReport {
            schema_version: DRIFT_SCHEMA_VERSION,
            pipeline,
            time,
            server,
            realised: looked.realised,
            table: looked.table,
            labelled: looked.labelled,
            findings,
        };
        write_json(&self.data, &report_key, &report).await?;
        Ok(outcome)
    }

    /// Past forecasts beside what came.
    async fn forecasts(&self, spec: &TrainSpec) -> Result<Looked, Failure> {
        let prefix = keys::table_prefix(&self.pipeline, &spec.table);
        let (data, promised) =
            tokio::try_join!(data_set::<Forecast>(&self.data, &prefix, spec), self.promised())?;
        // Before anything was cleaned there is nothing to hold forecasts against; that is no
        // failure.
        let absent = if data.is_some() { "" } else { "; there is no clean table yet" };
        let realised = data.map_or_else(Vec::new, |data| realised(&promised, &data, spec));
        let checked = realised.iter().map(|r| r.cases).sum::<usize>();
        let told = format!("{checked} past ones beside actual values{absent}");
        let findings = realised.iter().filter(|r| r.cases >= CASES_MIN).flat_map(wrong).collect();
        Ok(Looked { realised, findings, told, ..Looked::default() })
    }

    /// The findings of the check before. One that cannot be read counts as none: then they are told
    /// again.
    async fn before(&self, key: &str) -> Result<Option<DriftReport>, Failure> {
        let found = self.data.read(key, REPORT_BYTES_MAX).await?;
        let Some(report) = found else { return Ok(None) };
        let parsed = serde_json::from_slice(&report.bytes);
        let said = |e: &serde_json::Error| shown(&e.to_string()).into_owned();
        Ok(parsed.inspect_err(|e| eprintln!("`{key}` cannot be read: {}", said(e))).ok())
    }

    async fn server(&self) -> Result<ServerDrift, Failure> {
        let url = format!("{}/drift", self.server_url.trim_end_matches('/'));
        let uri = url
            .parse()
            .map_err(|e| Failure::permanent(format!("`{url}` is not an address: {e}")))?;
        let absent = |e: &dyn std::fmt::Display| {
            Failure::retryable(format!("the model server at {url} did not answer: {e}"))
        };
        let client: Client<HttpConnector, Empty<Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        let exchange = async {
            let response = client.get(uri).await.map_err(|e| absent(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|e| absent(&e))?;
            if !status.is_success() {
                return Err(absent(&status));
            }
            let broken = |e| {
                Failure::permanent(format!("the model server's answer breaks the contract: {e}"))
            };
            serde_json::from_slice(&body.to_bytes()).map_err(broken)
        };
        tokio::time::timeout(SERVER_TIMEOUT, exchange).await.map_err(|e| absent(&e))?
    }

    /// The steps of the newest stored forecasts, oldest first. What cannot be read is left out and
    /// logged.
    async fn promised(&self) -> Result<Vec<Promised>, Failure> {
        let failure = |e: object_store::Error| Failure::from(BucketError::of(&self.predictions, e));
        let mut newest: BinaryHeap<Reverse<(i64, Path)>> = BinaryHeap::new();
        let prefix = Path::from(self.predictions.as_str());
        let mut listed = self.data.list(Some(&prefix));
        while let Some(entry) = listed.next().await {
            if let Some(key) = entry.as_ref().err().and_then(steppe_store::unnameable) {
                eprintln!("{} is left out: nothing reads such a key", shown(key));
                continue;
            }
            let ObjectMeta { location, last_modified, size, .. } = entry.map_err(failure)?;
            // Among them are marks of folders, which the console makes, and whatever else people
            // put here.
            let has_forecasts =
                location.as_ref().ends_with(".json") || keys::is_batch(location.as_ref());
            if !has_forecasts || !(1..=OBJECT_BYTES_MAX).contains(&size) {
                continue;
            }
            newest.push(Reverse((last_modified.timestamp_micros(), location)));
            if newest.len() > OBJECTS_MAX {
                newest.pop();
            }
        }
        let mut paths: Vec<(i64, Path)> = newest.into_iter().map(|Reverse(entry)| entry).collect();
        // The newest ones first, until there are enough.
        paths.sort_by(|a, b| b.cmp(a));
        let one = |(_, path): (i64, Path)| async move {
            let read = async { self.data.get(&path).await?.bytes().await };
            match read.await {
                Ok(bytes) => Ok(promised(&path, &bytes)),
                // It was deleted since it was listed.
                Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        };
        let mut read = futures::stream::iter(paths).map(one).buffered(READS);
        let (mut found, mut steps) = (Vec::new(), 0);
        while let Some(object) = read.try_next().await.map_err(failure)? {
            steps += object.len();
            found.push(object);
            if steps >= STEPS_MAX {
                break;
            }
        }
        Ok(found.into_iter().rev().flatten().collect())
    }
}

/// The steps of the forecasts in an object.
fn promised(path: &Path, bytes: &Bytes) -> Vec<Promised> {
    let place = shown(path.as_ref()).into_owned();
    if keys::is_batch(path.as_ref()) {
        let read = forecasts::read(bytes.clone());
        let told = |e: &DataError| eprintln!("{place} is left out: {}", shown(&e.to_string()));
        let steps = read.inspect_err(told).unwrap_or_default().into_iter().map(Promised::from);
        return steps.filter(|step| is_promise(&step.model_version, &step.step)).collect();
    }
    // A run over many series has several forecasts in an object, a line each.
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let told = |e: &String| eprintln!("a line of {place} is left out: {}", shown(e));
    let forecasts = lines.filter_map(|line| stored(line).inspect_err(told).ok());
    forecasts.flat_map(|forecast| Promised::of(&forecast).collect::<Vec<_>>()).collect()
}

/// Whether a step says something that can be held against what came.
fn is_promise(model_version: &str, step: &Step) -> bool {
    // The version goes into findings, and so into mails.
    edge::check_version(model_version).is_ok()
        && step.lower <= step.value
        && step.value <= step.upper
        && step.lower.is_finite()
        && step.upper.is_finite()
        && step.level > 0.0
        && step.level < 1.0
}

/// A stored forecast that can be held against what came, or what is wrong with it.
fn stored(bytes: &[u8]) -> Result<StoredPrediction, String> {
    let parsed: StoredPrediction = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    // The version goes into findings, and so into mails.
    edge::check_version(&parsed.model_version).map_err(|e| e.to_string())?;
    let levels = parsed.steps.iter().all(|step| step.level > 0.0 && step.level < 1.0);
    match parsed.defect() {
        Some(defect) => Err(defect),
        None if !levels => Err("its level is no share between 0 and 1".to_owned()),
        None => Ok(parsed),
    }
}

/// What was looked at beside the server's counts.
#[derive(Debug, Default)]
struct Looked {
    realised: Vec<Realised>,
    table: Option<TableDrift>,
    labelled: Vec<Labelled>,
    findings: Vec<Finding>,
    /// What it was, for people.
    told: String,
}

fn of_server(server: &ServerDrift) -> Vec<Finding> {
    drifted(&server.model_version, &server.statistics, "answers").collect()
}

/// Statistics that drift, over `count` of something.
fn drifted<'a>(
    version: &'a str,
    statistics: &'a [StatisticDrift],
    what: &'a str,
) -> impl Iterator<Item = Finding> + use<'a> {
    statistics.iter().filter(|d| d.drifted).map(move |d| Finding {
        id: format!("statistic/{version}/{}", d.statistic),
        text: format!(
            "model {version} drifts: `{}` has PSI {:.2} (limit {:.2}) and KS {:.2} (limit {:.2}) \
             over {} {what}",
            d.statistic, d.psi, d.psi_limit, d.ks, d.ks_limit, d.count
        ),
    })
}

/// What is wrong with a model's past forecasts.
fn wrong(r: &Realised) -> Vec<Finding> {
    let (version, cases, last) = (&r.model_version, r.cases, &r.last);
    let mut out = Vec::new();
    if r.coverage < r.level && r.coverage_p < COVERAGE_P {
        let text = format!(
            "model {version} promised too much: {:.0} % of {cases} actual values up to {last} are inside of its {:.0} % intervals",
            r.coverage * 100.0,
            r.level * 100.0
        );
        out.push(Finding { id: format!("coverage/{version}/{last}"), text });
    }
    if r.mase > ERROR_RATIO * r.backtest_mase {
        let text = format!(
            "model {version} lost its way: MASE {:.2} on {cases} actual values up to {last}, {:.2} in its backtest",
            r.mase, r.backtest_mase
        );
        out.push(Finding { id: format!("error/{version}/{last}"), text });
    }
    out
}
