//! `smoke-test`: runs the pipeline once and proves every result.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use steppe_aws::Answer;
use steppe_wire::drift::DriftOutcome;
use steppe_wire::keys;
use steppe_wire::predict::{PredictRequest, PredictResponse, StoredPrediction};

use super::{Execution, run_pinned, run_to_end};
use crate::deployment::Deployment;
use crate::exit::{DISK_IS_FULL, Outcome, tells_of_a_full_disk};
use crate::freshness::Lake;
use crate::leftovers;
use crate::project::Workspace;
use crate::registry::Registry;
use crate::story::{Story, table};
use crate::target::local_cloud;
use crate::terminal::out;

/// Series with a note that are named.
const NAMES_SHOWN: usize = 5;

/// What a check saw.
struct Seen {
    check: &'static str,
    result: Result<String>,
    took: Duration,
}

/// What the checks share.
struct Test<'a> {
    workspace: &'a Workspace,
    ours: Deployment,
    began: jiff::Timestamp,
    /// The version of the model that was in service when the test began.
    version: String,
}

/// Runs the pipeline and checks it.
pub async fn run(workspace: &Workspace, series: &[String]) -> Result<Outcome> {
    let story = Story::begin();
    let ours = Deployment::open(workspace).await?;
    ours.stack()?;
    let version = Registry::of(&ours)?.some_pointer().await?.in_service.current.model.version;
    let test = Test { workspace, ours, began: jiff::Timestamp::now(), version };
    let mut seen = Vec::new();
    let mut note = |check, started: Instant, result: Result<String>| {
        let ok = result.is_ok();
        seen.push(Seen { check, result, took: started.elapsed() });
        ok
    };
    let started = Instant::now();
    let executed = test.execute(series).await;
    let execution = executed.as_ref().ok().cloned();
    note(
        "execution",
        started,
        executed.map(|e| {
            format!(
                "{} forecasts, {}",
                e.output["count"],
                e.arn.rsplit(':').next().unwrap_or_default()
            )
        }),
    );
    if let Some(execution) = &execution {
        let started = Instant::now();
        note("history", started, test.history(execution).await);
        let started = Instant::now();
        note("row counts", started, test.row_counts().await);
        let started = Instant::now();
        note("forecasts", started, test.forecasts(execution, series).await);
        if workspace.manifest.stack.notify {
            let started = Instant::now();
            note("notification", started, test.notification(execution));
        }
    }
    if workspace.manifest.drift.is_some() {
        let started = Instant::now();
        note("drift check", started, test.drift().await);
    }
    let started = Instant::now();
    note("permissions", started, test.permissions().await);
    Ok(report(&seen, &story))
}

fn report(seen: &[Seen], story: &Story) -> Outcome {
    let row = |s: &Seen| {
        let (verdict, text) = match &s.result {
            Ok(text) => ("ok", text.clone()),
            Err(error) => (
                "FAILED",
                format!("{error:#}").lines().next().unwrap_or_default().chars().take(100).collect(),
            ),
        };
        vec![s.check.to_owned(), verdict.to_owned(), format!("{:.2}", s.took.as_secs_f64()), text]
    };
    out(&table(&["check", "result", "seconds", "seen"], &seen.iter().map(row).collect::<Vec<_>>()));
    let Some(first) = seen.iter().find_map(|s| Some((s.check, s.result.as_ref().err()?))) else {
        story.done("passed", &format!("{} checks", seen.len()), story.elapsed());
        return Outcome::Done;
    };
    let why = format!("{:#}", first.1);
    story.failed("failed", &format!("{}: {why}", first.0));
    if tells_of_a_full_disk(&why) {
        story.note("hint", DISK_IS_FULL);
    }
    Outcome::Found
}

/// The summary that the state Publish made, one entry per forecast.
fn records(execution: &Execution) -> Vec<&Value> {
    execution.output["forecasts"].as_array().into_iter().flatten().collect()
}

impl Test<'_> {
    async fn execute(&self, series: &[String]) -> Result<Execution> {
        run_pinned(&self.ours, &self.version, series).await
    }

    /// The check for drift must run to its end; whatever it finds is not this test's.
    async fn drift(&self) -> Result<String> {
        let checked =
            run_to_end(&self.ours, self.ours.output("DriftMachineArn")?, &json!({})).await?;
        let outcome: DriftOutcome =
            serde_json::from_value(checked.output).context("the check breaks its contract")?;
        Ok(outcome.summary)
    }

    /// Every state on the way of a success must have been entered and left.
    async fn history(&self, execution: &Execution) -> Result<String> {
        let events = self.ours.aws().history(&execution.arn).await?;
        let named = |suffix: &str| {
            events
                .iter()
                .filter(|e| e.kind.ends_with(suffix))
                .filter_map(|e| e.state.clone())
                .collect::<BTreeSet<_>>()
        };
        let (entered, left) = (named("StateEntered"), named("StateExited"));
        let definition = self.ours.aws().definition(self.ours.output("StateMachineArn")?).await?;
        let expected = success_path(&definition);
        let missing: Vec<&String> =
            expected.iter().filter(|s| !entered.contains(*s) || !left.contains(*s)).collect();
        ensure!(missing.is_empty(), "the history lacks the states {missing:?}");
        Ok(format!("{} events, {} states", events.len(), entered.len()))
    }

    /// The clean table must be of the raw data, and the cleaning job's count and Athena's agree.
    async fn row_counts(&self) -> Result<String> {
        let lake = Lake::of(&self.ours).await?;
        lake.check()?;
        let report = lake.report.context("the cleaning job left no report")?;
        ensure!(report.adds_up(), "the report's counts do not add up: {report:?}");
        let counted = self.count("SELECT count(*) AS n FROM processed").await?;
        ensure!(
            counted == report.clean_rows,
            "Athena counts {counted} rows, the cleaning job wrote {}",
            report.clean_rows
        );
        Ok(format!("{counted} clean + {} rejected = {} raw", report.rejected_rows, report.raw_rows))
    }

    /// Each forecast must lie in S3, keep the contract, and equal what the model server answers
    /// now.
    async fn forecasts(&self, execution: &Execution, series: &[String]) -> Result<String> {
        let bucket = self.ours.output("DataBucket")?;
        let mut names = BTreeSet::new();
        let mut direct = true;
        for record in records(execution) {
            let key = record["s3_key"].as_str().context("a forecast has no s3_key")?;
            let path = format!("s3://{bucket}/{key}");
            let stored = self
                .ours
                .aws()
                .get(bucket, key)
                .await?
                .with_context(|| format!("{path} does not exist"))?;
            let series = record["series"].as_str().context("a forecast has no series")?;
            let stored = line_of(&stored, series)
                .with_context(|| format!("{path} breaks the contract"))?
                .with_context(|| format!("{path} has no forecast of {series}"))?;
            if let Some(defect) = stored.defect() {
                bail!("{path} breaks the contract: {defect}");
            }
            ensure!(
                stored.execution == execution.arn,
                "{path} belongs to the execution {}",
                stored.execution
            );
            ensure!(
                stored.model_version == self.version,
                "{path} is of model {}, not of {}, which is in service",
                stored.model_version,
                self.version
            );
            match self.ask_server(&stored.series).await? {
                Some(answer) => {
                    let forecast = answer
                        .forecasts
                        .first()
                        .context("the model server answered no forecast")?;
                    let again = StoredPrediction::new(&execution.arn, forecast, &answer.model)
                        .context("the model server answered no steps")?;
                    ensure!(
                        again == stored,
                        "{path} differs from what the model server answers now"
                    );
                }
                None => direct = false,
            }
            ensure!(
                names.insert(stored.series.clone()),
                "there are two forecasts of {}",
                stored.series
            );
        }
        ensure!(!names.is_empty(), "there is no forecast");
        let missing: Vec<&String> = series.iter().filter(|s| !names.contains(*s)).collect();
        ensure!(missing.is_empty(), "there is no forecast of {missing:?}");
        let all = self.all_forecast(execution, series).await?;
        let compared = if direct {
            "equal to POST /predict"
        } else {
            "model server not reachable from here, so not compared"
        };
        Ok(format!("{all}; {} looked at: valid, {compared}", names.len()))
    }

    /// Every series of the clean table must be forecast exactly once or left out, as Athena
    /// counts.
    async fn all_forecast(&self, execution: &Execution, series: &[String]) -> Result<String> {
        let column = &self.workspace.manifest.task.series;
        let (done, absent) = (&execution.output["count"], &execution.output["absent"]);
        let (done, absent) = (
            done.as_u64().context("the execution does not say how many series it forecast")?,
            absent.as_u64().context("the execution does not say how many series it left out")?,
        );
        let asked = match series.len() {
            0 => {
                let sql = format!("SELECT count(DISTINCT \"{column}\") AS n FROM processed");
                self.count(&sql).await?
            }
            named => named as u64,
        };
        ensure!(
            done + absent == asked,
            "{done} series are forecast and {absent} left out, of {asked}"
        );
        let arn = execution.arn.replace('\'', "''");
        let stored = format!(
            "SELECT count(DISTINCT series) AS n FROM predictions WHERE execution = '{arn}'"
        );
        let stored = self.count(&stored).await?;
        ensure!(stored == done, "Athena finds forecasts of {stored} series, not of {done}");
        let left = if absent > 0 { format!(", {absent} left out") } else { String::new() };
        Ok(format!("{done} of {asked} series in S3{left}{}", self.noted(&arn).await?))
    }

    /// Series whose forecast has a note, such as that the series is short.
    async fn noted(&self, execution: &str) -> Result<String> {
        let sql = format!(
            "SELECT series, count(*) OVER () AS n FROM predictions WHERE execution = '{execution}' \
             AND note IS NOT NULL ORDER BY series"
        );
        let answer = self.ask_athena(&sql, NAMES_SHOWN).await?;
        let cell = |row: usize, column: usize| answer.rows.get(row)?.get(column)?.as_deref();
        let Some(noted) = cell(0, 1) else { return Ok(String::new()) };
        let names: Vec<&str> = (0..answer.rows.len()).filter_map(|row| cell(row, 0)).collect();
        let more = if noted == names.len().to_string() { "" } else { ", …" };
        Ok(format!(", {noted} with a note: {}{more}", names.join(", ")))
    }

    async fn count(&self, sql: &str) -> Result<u64> {
        let answer = self.ask_athena(sql, 1).await?;
        let counted = answer.rows.first().and_then(|row| row.first().cloned().flatten());
        let counted = counted.context("Athena counted nothing")?;
        counted.parse().with_context(|| format!("Athena's count is `{counted}`"))
    }

    async fn ask_athena(&self, sql: &str, rows: usize) -> Result<Answer> {
        let (group, database) =
            (self.ours.output("WorkGroupName")?, self.ours.output("DatabaseName")?);
        Ok(self.ours.aws().query(group, database, sql, rows).await?)
    }

    /// What the model server answers; `None` when it cannot be reached, as in a private network of
    /// AWS.
    async fn ask_server(&self, series: &str) -> Result<Option<PredictResponse>> {
        if local_cloud(self.workspace)?.is_none() {
            return Ok(None);
        }
        let url = format!("{}/predict", self.ours.output("ServerUrl")?);
        let dataset = keys::processed_prefix(&self.workspace.names.pipeline);
        let column = &self.workspace.manifest.task.series;
        let bucket = self.ours.output("DataBucket")?;
        let body = PredictRequest {
            model_version: Some(self.version.clone()),
            ..PredictRequest::one(column, series, bucket, &dataset)
        };
        let request = hyper::Request::post(&url)
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(&body)?)))?;
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client
            .request(request)
            .await
            .with_context(|| format!("the model server at {url} does not answer"))?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "the model server answered {status}: {}",
            String::from_utf8_lossy(&bytes)
        );
        Ok(Some(serde_json::from_slice(&bytes)?))
    }

    /// The message must have been taken by SNS and, in the embedded cloud, lie in the outbox.
    fn notification(&self, execution: &Execution) -> Result<String> {
        let id = execution.output["message_id"]
            .as_str()
            .context("the execution published no message")?;
        let Some(local) = local_cloud(self.workspace)? else {
            return Ok(format!("SNS took message {id}; its delivery cannot be seen from here"));
        };
        let mails = mails_with(&local.dir.join("outbox"), id)?;
        let about_this = mails.iter().filter(|m| m.contains(&execution.arn)).count();
        let expected = self.workspace.manifest.stack.emails.len();
        ensure!(
            about_this == expected,
            "{about_this} of {expected} emails about this execution are in the outbox"
        );
        Ok(format!("{about_this} email in the outbox, message {}", &id[..8.min(id.len())]))
    }

    /// No role may have been denied anything; the embedded cloud knows.
    async fn permissions(&self) -> Result<String> {
        let Some(local) = local_cloud(self.workspace)? else {
            return Ok("AWS reports denials in CloudTrail only, minutes later".to_owned());
        };
        let audit = std::fs::read_to_string(local.dir.join("audit.ndjson")).unwrap_or_default();
        let since = self.began.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let calls: Vec<Value> = audit
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .filter(|c: &Value| c["time"].as_str().is_some_and(|t| t >= since.as_str()))
            .collect();
        let denied: Vec<String> = calls
            .iter()
            .filter(|c| c["allowed"] == false)
            .map(|c| format!("{} on {} for {}", c["action"], c["resource"], c["caller"]))
            .collect();
        ensure!(denied.is_empty(), "denied: {}", denied.join("; "));
        ensure!(
            !calls.is_empty(),
            "the audit log has no call by any role since the test began, so it proves nothing"
        );
        let used: BTreeSet<(String, String)> = audit
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .flat_map(|c: Value| statements_of(&c))
            .collect();
        let roles = leftovers::roles(&self.workspace.names);
        let granted = self.ours.aws().granted_statements(&roles).await?;
        let prefix = format!("{}-", self.workspace.names.stack());
        let unused = never_used(&granted, &used, &prefix);
        let unused = if unused.is_empty() {
            String::new()
        } else {
            format!("; never used: {}", unused.join(", "))
        };
        Ok(format!("{} calls by roles, none denied{unused}", calls.len()))
    }
}

/// The forecast of `series` among the lines of an object.
fn line_of(object: &[u8], series: &str) -> Result<Option<StoredPrediction>> {
    let lines = object.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for line in lines {
        let stored: StoredPrediction = serde_json::from_slice(line)?;
        if stored.series == series {
            return Ok(Some(stored));
        }
    }
    Ok(None)
}

/// Role and `Sid` of the statements that allowed an audited call.
fn statements_of(call: &Value) -> Vec<(String, String)> {
    let role = call["caller"].as_str().and_then(|arn| arn.split('/').nth(1)).unwrap_or_default();
    let sids = call["statements"].as_array().into_iter().flatten().filter_map(Value::as_str);
    sids.map(|sid| (role.to_owned(), sid.to_owned())).collect()
}

/// Statements that allowed nothing yet, as `role/Sid`; `role/*` for a role that was never used at
/// all.
fn never_used(
    granted: &[(String, String)],
    used: &BTreeSet<(String, String)>,
    prefix: &str,
) -> Vec<String> {
    let idle = |role: &str| !used.iter().any(|(r, _)| r == role);
    let name = |(role, sid): &(String, String)| {
        format!(
            "{}/{}",
            role.trim_start_matches(prefix),
            if idle(role) { "*" } else { sid.as_str() }
        )
    };
    let mut names: Vec<String> = granted.iter().filter(|g| !used.contains(*g)).map(name).collect();
    names.dedup();
    names
}

fn mails_with(outbox: &Path, id: &str) -> Result<Vec<String>> {
    let mut mails = Vec::new();
    for entry in
        std::fs::read_dir(outbox).with_context(|| format!("there is no {}", outbox.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "eml") && path.to_string_lossy().contains(id) {
            mails.push(std::fs::read_to_string(path)?);
        }
    }
    Ok(mails)
}

/// The states that a successful execution passes: `Next` from the start, the first way of each
/// choice, and what is inside a Map.
fn success_path(machine: &Value) -> Vec<String> {
    let mut path = Vec::new();
    let mut name = machine["StartAt"].as_str();
    while let Some(current) = name {
        if path.iter().any(|p| p == current) {
            break;
        }
        path.push(current.to_owned());
        let state = &machine["States"][current];
        if state["Type"] == "Map" {
            path.extend(success_path(&state["ItemProcessor"]));
        }
        name = state["Next"].as_str().or_else(|| state["Choices"][0]["Next"].as_str());
    }
    path
}
