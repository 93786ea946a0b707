//! What each check of a smoke test does.

mod batches;
mod found;
mod rows;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use steppe_aws::{Answer, Passed};
use steppe_plan::made::Made;
use steppe_plan::smoke_test::{CheckKind, Place};
use steppe_wire::drift::DriftOutcome;
use steppe_wire::predict::{PredictRequest, PredictResponse, StoredPrediction};

use crate::deployment::Deployment;
use crate::execution::{Execution, pinned_run, run_to_end};
use crate::freshness::Lake;
use crate::local::LocalCloud;
use crate::project::Workspace;
use crate::target::local_cloud;

/// Series with a note that are named.
const NAMES_SHOWN: usize = 5;

/// What the checks share.
pub struct Test<'a> {
    /// The pipeline.
    pub workspace: &'a Workspace,
    /// Where it is deployed.
    pub ours: &'a Deployment,
    /// When the test began.
    pub began: jiff::Timestamp,
    /// The version of the model that was in service when the test began.
    pub version: &'a str,
}

impl Test<'_> {
    /// Carries out a check that runs the pipeline.
    pub async fn execute(
        &self,
        machine: &str,
        series: &[String],
        version: &str,
    ) -> Result<Execution> {
        run_to_end(self.ours, machine, &pinned_run(version, series)).await
    }

    /// Carries out a check that looks at what the run made.
    pub async fn look(&self, kind: &CheckKind, execution: &Execution) -> Result<String> {
        match kind {
            CheckKind::Run { .. } => Ok(format!(
                "{} answers, {}",
                execution.output["count"],
                execution.arn.rsplit(':').next().unwrap_or_default()
            )),
            CheckKind::History { machine } => self.history(execution, machine).await,
            CheckKind::RowCounts => self.row_counts().await,
            CheckKind::Value { description, sql, at_least, at_most } => {
                self.value((description, sql), (*at_least, *at_most)).await
            }
            CheckKind::Forecasts { series, place } => {
                self.forecasts(execution, series, *place).await
            }
            CheckKind::Predictions { table, series, place } => {
                self.predictions(execution, table, (series, *place)).await
            }
            CheckKind::Crawled { database, table, columns } => {
                self.crawled(database, table, columns).await
            }
            CheckKind::Found { task, table } => self.found(execution, task, table).await,
            CheckKind::Scores { table, place } => self.scores(execution, table, *place).await,
            CheckKind::Notification { emails, place } => {
                self.notification(execution, *emails, *place)
            }
            CheckKind::Drift { .. } | CheckKind::Permissions { .. } => self.alone(kind).await,
        }
    }

    /// Carries out a check that needs no run.
    pub async fn alone(&self, kind: &CheckKind) -> Result<String> {
        match kind {
            CheckKind::Drift { machine } => self.drift(machine).await,
            CheckKind::Permissions { place } => self.permissions(*place).await,
            other => bail!("there is no run that this could look at: {other}"),
        }
    }

    /// The embedded cloud, for checks that look into its folder.
    fn local(&self) -> Result<LocalCloud> {
        local_cloud(self.workspace)?.context("the embedded cloud is not the one that is tested")
    }

    /// The check for drift must run to its end; whatever it finds is not this test's.
    async fn drift(&self, machine: &str) -> Result<String> {
        let checked = run_to_end(self.ours, machine, &json!({})).await?;
        let outcome: DriftOutcome =
            serde_json::from_value(checked.output).context("the check breaks its contract")?;
        Ok(outcome.summary)
    }

    /// Every state on the way of a success must have been entered and left.
    async fn history(&self, execution: &Execution, machine: &str) -> Result<String> {
        let events = self.ours.aws().history(&execution.arn).await?;
        let (mut entered, mut left) = (BTreeSet::new(), BTreeSet::new());
        for passed in events.iter().filter_map(|event| event.passed.as_ref()) {
            match passed {
                Passed::Entered(state) => entered.insert(state),
                Passed::Left(state) => left.insert(state),
            };
        }
        let definition = self.ours.aws().definition(machine).await?;
        let expected = success_path(&definition, &entered);
        let missing: Vec<&String> =
            expected.iter().filter(|s| !entered.contains(s) || !left.contains(s)).collect();
        ensure!(missing.is_empty(), "the history lacks the states {missing:?}");
        Ok(format!("{} events, {} states", events.len(), entered.len()))
    }

    /// The tables must be of the raw data, and the cleaning job's counts and Athena's agree.
    async fn row_counts(&self) -> Result<String> {
        let manifest = &self.workspace.manifest;
        let lake = Lake::of(self.ours, manifest).await?;
        lake.check()?;
        let report = lake.report.context("the cleaning job left no report")?;
        let mut told = Vec::new();
        for input in &report.inputs {
            ensure!(input.adds_up(), "the report's counts do not add up: {input:?}");
        }
        for table in manifest.stored() {
            let name = table.name;
            let made = report.rows_of(name).with_context(|| format!("no report of `{name}`"))?;
            let counted = self.count(&format!("SELECT count(*) AS n FROM {name}")).await?;
            ensure!(
                counted == made,
                "Athena counts {counted} rows of {name}, the cleaning job wrote {made}"
            );
            told.push(match report.inputs.iter().find(|input| input.name == name) {
                Some(input) => format!(
                    "{name}: {counted} clean + {} rejected = {} raw",
                    input.rejected_rows, input.raw_rows
                ),
                None => format!("{name}: {counted}"),
            });
        }
        Ok(told.join("; "))
    }

    /// The crawled table has the columns of its declared twin, and rows.
    async fn crawled(
        &self,
        database: &str,
        table: &str,
        columns: &[(String, String)],
    ) -> Result<String> {
        let found = self.ours.aws().table_columns(database, table).await?;
        ensure!(
            found == columns,
            "the crawler found the columns {found:?} of {table}, and {columns:?} are written"
        );
        let rows = self.count(&format!("SELECT count(*) AS n FROM {table}")).await?;
        ensure!(rows > 0, "the table {table} has no rows");
        Ok(format!("{table}: {} columns as they are declared, {rows} rows", found.len()))
    }

    /// A number within bounds.
    async fn value(
        &self,
        (description, sql): (&str, &str),
        (at_least, at_most): (f64, f64),
    ) -> Result<String> {
        let answer = self.ask_athena(sql.trim().trim_end_matches(';'), 2).await?;
        let [row] = &answer.rows[..] else {
            bail!("the question has {} rows; expected one number", answer.rows.len())
        };
        let [Some(text)] = &row[..] else { bail!("the answer is {row:?}; expected one number") };
        let value: f64 = text.parse().with_context(|| format!("`{text}` is no number"))?;
        ensure!(
            (at_least..=at_most).contains(&value),
            "the number is {value}, expected {at_least} to {at_most}: {description}"
        );
        Ok(format!("{value:.3}, within {at_least} to {at_most}"))
    }

    /// Each forecast must lie in S3, keep the contract, and equal what the model server answers
    /// now.
    async fn forecasts(
        &self,
        execution: &Execution,
        series: &[String],
        place: Place,
    ) -> Result<String> {
        let mut names = BTreeSet::new();
        for record in records(execution) {
            let (path, stored) = self.stored(execution, record).await?;
            if place == Place::Embedded {
                self.compare(execution, &path, &stored).await?;
            }
            let is_new = names.insert(stored.series.clone());
            ensure!(is_new, "there are two forecasts of {}", stored.series);
        }
        ensure!(!names.is_empty(), "there is no forecast");
        let missing: Vec<&String> = series.iter().filter(|s| !names.contains(*s)).collect();
        ensure!(missing.is_empty(), "there is no forecast of {missing:?}");
        let arn = execution.arn.replace('\'', "''");
        let of_run = format!("FROM predictions WHERE execution = '{arn}'");
        let all = self.all_forecast(execution, series, &of_run).await?;
        let compared = match place {
            Place::Embedded => "equal to POST /predict",
            Place::Aws => "model server not reachable from here, so not compared",
        };
        Ok(format!("{all}; {} looked at: valid, {compared}", names.len()))
    }

    /// The forecast that an entry of the summary names, and where it lies.
    async fn stored(
        &self,
        execution: &Execution,
        record: &Value,
    ) -> Result<(String, StoredPrediction)> {
        let bucket = self.ours.output("DataBucket")?;
        let key = record["s3_key"].as_str().context("a forecast has no s3_key")?;
        let path = format!("s3://{bucket}/{key}");
        let object = self.ours.aws().get(bucket, key).await?;
        let object = object.with_context(|| format!("{path} does not exist"))?;
        let series = record["series"].as_str().context("a forecast has no series")?;
        let stored = line_of(&object, series)
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
        Ok((path, stored))
    }

    /// A stored forecast must be what the model server answers now.
    async fn compare(
        &self,
        execution: &Execution,
        path: &str,
        stored: &StoredPrediction,
    ) -> Result<()> {
        let answer = self.ask_server(&stored.series).await?;
        let forecast = answer.forecasts.first().context("the model server answered no forecast")?;
        let again = StoredPrediction::new(&execution.arn, forecast, &answer.model)
            .context("the model server answered no steps")?;
        ensure!(again == *stored, "{path} differs from what the model server answers now");
        Ok(())
    }

    /// Every series of the clean table must be forecast exactly once or left out, as Athena
    /// counts.
    async fn all_forecast(
        &self,
        execution: &Execution,
        series: &[String],
        of_run: &str,
    ) -> Result<String> {
        let column = self.series_column()?;
        let (done, absent) = (&execution.output["count"], &execution.output["absent"]);
        let (done, absent) = (
            done.as_u64().context("the execution does not say how many series it forecast")?,
            absent.as_u64().context("the execution does not say how many series it left out")?,
        );
        let asked = match series.len() {
            0 => {
                let sql = format!(
                    "SELECT count(DISTINCT \"{column}\") AS n FROM {}",
                    self.workspace.manifest.source().name
                );
                self.count(&sql).await?
            }
            named => named as u64,
        };
        ensure!(
            done + absent == asked,
            "{done} series are forecast and {absent} left out, of {asked}"
        );
        let stored = self.count(&format!("SELECT count(DISTINCT series) AS n {of_run}")).await?;
        ensure!(stored == done, "Athena finds forecasts of {stored} series, not of {done}");
        let left = if absent > 0 { format!(", {absent} left out") } else { String::new() };
        Ok(format!("{done} of {asked} series in S3{left}{}", self.noted(of_run).await?))
    }

    /// Series whose forecast has a note, such as that the series is short.
    async fn noted(&self, of_run: &str) -> Result<String> {
        let sql = format!(
            "SELECT series, count(*) OVER () AS n {of_run} AND step = 1 AND note IS NOT NULL \
             ORDER BY series"
        );
        let answer = self.ask_athena(&sql, NAMES_SHOWN).await?;
        let cell = |row: usize, column: usize| answer.rows.get(row)?.get(column)?.as_deref();
        let Some(noted) = cell(0, 1) else { return Ok(String::new()) };
        let names: Vec<&str> = (0..answer.rows.len()).filter_map(|row| cell(row, 0)).collect();
        let more = if noted == names.len().to_string() { "" } else { ", …" };
        Ok(format!(", {noted} with a note: {}{more}", names.join(", ")))
    }

    fn series_column(&self) -> Result<&str> {
        let entry = self.workspace.manifest.task().forecast();
        Ok(&entry.context("the task does not forecast")?.task.series)
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

    /// What the model server answers; it can be reached in the embedded cloud only.
    async fn ask_server(&self, series: &str) -> Result<PredictResponse> {
        let url = format!("{}/predict", self.ours.output("ServerUrl")?);
        let dataset = self.workspace.dataset_key();
        let bucket = self.ours.output("DataBucket")?;
        let body = PredictRequest {
            model_version: Some(self.version.to_owned()),
            ..PredictRequest::one(self.series_column()?, series, bucket, &dataset)
        };
        self.post(&url, &body).await
    }

    /// What the model server answers to a request.
    async fn post<A: DeserializeOwned>(&self, url: &str, body: &impl Serialize) -> Result<A> {
        let request = hyper::Request::post(url)
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?;
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
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// The message must have been taken by SNS and, in the embedded cloud, lie in the outbox.
    fn notification(&self, execution: &Execution, emails: usize, place: Place) -> Result<String> {
        let id = execution.output["message_id"]
            .as_str()
            .context("the execution published no message")?;
        if place == Place::Aws {
            return Ok(format!("SNS took message {id}; its delivery cannot be seen from here"));
        }
        let mails = mails_with(&self.local()?.dir.join("outbox"), id)?;
        let about_this = mails.iter().filter(|m| m.contains(&execution.arn)).count();
        ensure!(
            about_this == emails,
            "{about_this} of {emails} emails about this execution are in the outbox"
        );
        Ok(format!("{about_this} email in the outbox, message {}", &id[..8.min(id.len())]))
    }

    /// No role may have been denied anything; the embedded cloud knows.
    async fn permissions(&self, place: Place) -> Result<String> {
        if place == Place::Aws {
            return Ok("AWS reports denials in CloudTrail only, minutes later".to_owned());
        }
        let file = self.local()?.dir.join("audit.ndjson");
        let audit = std::fs::read_to_string(file).unwrap_or_default();
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
        let mut roles = Made::ever(&self.workspace.names, &self.workspace.manifest).roles;
        roles.sort();
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

/// The summary that the state Publish made, one entry per forecast.
fn records(execution: &Execution) -> Vec<&Value> {
    execution.output["forecasts"].as_array().into_iter().flatten().collect()
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
/// choice that was entered, and what is inside a Map in the same execution.
fn success_path(machine: &Value, entered: &BTreeSet<&String>) -> Vec<String> {
    let mut path = Vec::new();
    let mut name = machine["StartAt"].as_str();
    while let Some(current) = name {
        if path.iter().any(|p| p == current) {
            break;
        }
        path.push(current.to_owned());
        let state = &machine["States"][current];
        let processor = &state["ItemProcessor"];
        if state["Type"] == "Map" && processor["ProcessorConfig"]["Mode"] != "DISTRIBUTED" {
            path.extend(success_path(processor, entered));
        }
        let choices = state["Choices"].as_array().into_iter().flatten();
        let mut ways = choices.filter_map(|choice| choice["Next"].as_str());
        let first = ways.clone().next();
        let taken = ways.find(|way| entered.iter().any(|state| *state == way));
        name = state["Next"].as_str().or(taken).or(first);
    }
    path
}
