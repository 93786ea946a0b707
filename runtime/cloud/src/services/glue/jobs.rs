//! Jobs and their runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steppe_wire::etl::EtlPlan;
use steppe_wire::place::{PlaceError, S3Object, S3Place};

use super::{invalid, not_found};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::engine::{Engine, Engines};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::eviction::Kept;
use crate::kernel::identity::Caller;
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;
use crate::services::logs::{self, LogGroup};

/// The argument that a job must have, because the engine runs it.
const PLAN: &str = "--plan";
/// Arguments of Glue that a job may have here. The last two are without effect in Glue 5.0.
const GLUE_ARGUMENTS: [&str; 4] = [
    "--custom-logGroup-prefix",
    "--job-language",
    "--enable-continuous-cloudwatch-log",
    "--continuous-log-logGroup",
];
/// Prefix of log groups of jobs that name none.
const LOG_GROUPS: &str = "/aws-glue/jobs";
/// Runs that are remembered, over all jobs, for as long as Glue remembers them.
/// <https://docs.aws.amazon.com/glue/latest/webapi/API_GetJobRun.html>
const KEPT: Kept = Kept { count_max: 1_000, days: 365 };
/// Runs in one answer.
const PAGES: Pages = Pages::of("MaxResults", "NextToken", 200).refusing("InvalidInputException");
/// Runs that one call may stop.
const STOPPED_AT_ONCE_MAX: usize = 25;
/// Lines of a run's log.
const LOG_LINES_MAX: usize = 10_000;
const STOPPED_WITH_CLOUD: &str = "the embedded cloud was stopped while the run was at work";

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// ARN of its role.
    pub role: String,
    /// Where the script is.
    pub script: String,
    /// Arguments.
    pub arguments: BTreeMap<String, String>,
    /// Minutes that a run may take.
    pub timeout_mins: u64,
    /// Runs at once.
    pub concurrent_max: u64,
    /// What the API calls it, as CloudFormation gave it; older records have none.
    #[serde(default)]
    pub described: Value,
    /// When it was made and last changed; older records have neither.
    #[serde(default)]
    pub times: Option<(Timestamp, Timestamp)>,
}

/// A run of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobRun {
    /// The job.
    pub job: String,
    /// `STARTING`, `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMEOUT` or `STOPPED`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub completed: Option<Timestamp>,
}

/// Where a run's plan is.
#[derive(Debug, Clone)]
struct Places {
    plan: S3Object,
}

impl Places {
    fn of(arguments: &BTreeMap<String, String>) -> Result<Self, String> {
        let plan = S3Object::parse(arguments.get(PLAN).map_or("", String::as_str));
        Ok(Self { plan: plan.map_err(|e: PlaceError| format!("{PLAN}: {e}"))? })
    }

    /// What Glue's documentation asks of a role, beside the reads that the engine makes itself. Of
    /// a plan that cannot be read there is nothing to ask: the engine says why.
    fn authorize(&self, cloud: &Cloud, role: &Caller) -> ApiResult<()> {
        let mut buckets = BTreeSet::from([self.plan.bucket.clone()]);
        let mut written = Vec::new();
        let plan = cloud.services.s3.read(&self.plan.bucket, &self.plan.key).ok();
        let plan: Option<EtlPlan> = plan.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(plan) = &plan {
            let root = plan.root.trim_end_matches('/');
            let of = |prefix: &String| S3Place::parse(&format!("{root}/{prefix}")).ok();
            let inputs = plan.inputs.iter().flat_map(|i| [&i.output.prefix, &i.rejects]);
            let tables = plan.tables.iter().map(|table| &table.output.prefix);
            written.extend(inputs.chain(tables).filter_map(of));
        }
        buckets.extend(written.iter().map(|place| place.bucket.clone()));
        for bucket in buckets {
            cloud.authorize(role, "s3:ListBucket", &format!("arn:aws:s3:::{bucket}"), &[])?;
        }
        for target in written {
            let part = format!("arn:aws:s3:::{}/{}part-00000", target.bucket, target.prefix);
            cloud.authorize(role, "s3:PutObject", &part, &[])?;
            cloud.authorize(role, "s3:DeleteObject", &part, &[])?;
        }
        Ok(())
    }
}

fn job_arn(cloud: &Cloud, job: &str) -> String {
    cloud.config.arn("glue", &format!("job/{job}"))
}

fn describe(id: &str, run: &JobRun) -> Value {
    let mut out = json!({
        "Id": id, "JobName": run.job, "JobRunState": run.state, "Attempt": 0,
        "StartedOn": epoch_secs(run.started),
    });
    if let Some(completed) = run.completed {
        out["CompletedOn"] = epoch_secs(completed).into();
        out["ExecutionTime"] = completed.duration_since(run.started).as_secs().into();
    }
    if let Some(error) = &run.error {
        out["ErrorMessage"] = error.clone().into();
    }
    out
}

/// `GetJob`.
pub fn get_job(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let name = call.required("JobName")?;
    call.authorize(&job_arn(cloud, name))?;
    let job =
        cloud.services.glue.jobs.get(name).ok_or_else(|| not_found("Job with name:", name))?;
    let mut described = json!({
        "Name": name, "Role": job.role, "Command": { "ScriptLocation": job.script },
        "DefaultArguments": job.arguments, "Timeout": job.timeout_mins,
        "ExecutionProperty": { "MaxConcurrentRuns": job.concurrent_max },
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut described, job.described.clone()) {
        all.extend(more);
    }
    if let Some((created, modified)) = job.times {
        described["CreatedOn"] = epoch_secs(created).into();
        described["LastModifiedOn"] = epoch_secs(modified).into();
    }
    Ok(json!({ "Job": described }))
}

/// `GetJobRun`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let (job, id) = (call.required("JobName")?, call.required("RunId")?);
    call.authorize(&job_arn(cloud, job))?;
    let run = cloud.services.glue.job_runs.get(id).filter(|run| run.job == job);
    let run = run.ok_or_else(|| not_found("Job run", id))?;
    Ok(json!({ "JobRun": describe(id, &run) }))
}

/// `GetJobRuns`, newest first.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let job = call.required("JobName")?;
    call.authorize(&job_arn(cloud, job))?;
    let mut runs: Vec<_> =
        cloud.services.glue.job_runs.all().into_iter().filter(|(_, run)| run.job == job).collect();
    runs.sort_by_key(|(_, run)| std::cmp::Reverse(run.started));
    let runs = runs.iter().map(|(id, run)| describe(id, run)).collect();
    PAGES.answer(params, "JobRuns", runs)
}

/// `BatchStopJobRun`.
pub fn batch_stop(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let job = call.required("JobName")?;
    call.authorize(&job_arn(cloud, job))?;
    let ids = params["JobRunIds"].as_array().map_or(&[][..], Vec::as_slice);
    if !(1..=STOPPED_AT_ONCE_MAX).contains(&ids.len()) {
        return Err(invalid(format!("JobRunIds must have 1 to {STOPPED_AT_ONCE_MAX} items.")));
    }
    let (mut stopped, mut errors) = (Vec::new(), Vec::new());
    for id in ids.iter().filter_map(Value::as_str) {
        let entry = json!({ "JobName": job, "JobRunId": id });
        let run = cloud.services.glue.job_runs.get(id).filter(|run| run.job == job);
        let problem = match run {
            Some(run) if run.completed.is_none() => {
                stop(cloud, id);
                stopped.push(entry);
                continue;
            }
            Some(_) => ("JobRunNotInStoppableStateException", "The job run has ended."),
            None => ("EntityNotFoundException", "The job run was not found."),
        };
        let mut entry = entry;
        entry["ErrorDetail"] = json!({ "ErrorCode": problem.0, "ErrorMessage": problem.1 });
        errors.push(entry);
    }
    Ok(json!({ "SuccessfulSubmissions": stopped, "Errors": errors }))
}

/// `StartJobRun`.
pub fn start(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let name = call.required("JobName")?;
    call.authorize(&job_arn(cloud, name))?;
    let job = cloud.services.glue.jobs.get(name).ok_or_else(|| not_found("Job", name))?;
    let arguments = arguments(name, &job, params)?;
    let places = Places::of(&arguments).map_err(|message| {
        invalid(format!("The embedded cloud cannot run the job {name}: {message}"))
    })?;
    let id = format!("jr_{}", uuid::Uuid::new_v4().simple());
    let run = JobRun {
        job: name.to_owned(),
        state: "STARTING".to_owned(),
        error: None,
        started: cloud.clock.now(),
        completed: None,
    };
    // Two starts at once must not both find the last place free.
    let admission = cloud.engines.admission();
    let runs = cloud.services.glue.job_runs.all();
    let at_work = runs.iter().filter(|(_, r)| r.job == name && r.completed.is_none()).count();
    if at_work as u64 >= job.concurrent_max {
        return Err(ApiError::new(
            "ConcurrentRunsExceededException",
            format!("Concurrent runs exceeded for {name}"),
        ));
    }
    forget_oldest(cloud, runs)?;
    cloud.services.glue.job_runs.put(&id, run)?;
    drop(admission);
    let work = execute(cloud.clone(), id.clone(), job, arguments, places);
    Engines::begin(cloud, &id, work, settle);
    Ok(json!({ "JobRunId": id }))
}

/// The job's arguments with those of the call.
fn arguments(name: &str, job: &Job, params: &Value) -> ApiResult<BTreeMap<String, String>> {
    let mut arguments = job.arguments.clone();
    for (key, value) in params["Arguments"].as_object().into_iter().flatten() {
        let value = value
            .as_str()
            .ok_or_else(|| invalid(format!("The value of the argument {key} is not a text.")))?;
        arguments.insert(key.clone(), value.to_owned());
    }
    if !arguments.contains_key(PLAN) {
        return Err(invalid(format!(
            "The embedded cloud runs jobs with an ETL plan; the job {name} has no argument {PLAN}, \
             and its script is not run here."
        )));
    }
    let known = |key: &&String| *key == PLAN || GLUE_ARGUMENTS.contains(&key.as_str());
    if let Some(unknown) = arguments.keys().find(|key| !known(key)) {
        return Err(invalid(format!(
            "The embedded cloud does not implement the argument {unknown} of the job {name}."
        )));
    }
    Ok(arguments)
}

/// Makes room for one more run.
fn forget_oldest(cloud: &Cloud, runs: Vec<(String, Arc<JobRun>)>) -> ApiResult<()> {
    let ended = runs.into_iter().filter_map(|(id, run)| Some((run.completed?, id))).collect();
    for id in KEPT.surplus(ended, cloud.clock.now()) {
        cloud.services.glue.job_runs.remove(&id)?;
    }
    Ok(())
}

/// Stops a run that has not ended; its engine is killed with it.
pub fn stop(cloud: &Cloud, id: &str) {
    cloud.engines.stop(id);
    finish(cloud, id, "STOPPED", None);
}

/// Ends what a cloud that is no more left at work.
pub fn end_orphans(cloud: &Cloud) {
    for (id, run) in cloud.services.glue.job_runs.all() {
        if run.completed.is_none() {
            finish(cloud, &id, "FAILED", Some(STOPPED_WITH_CLOUD.to_owned()));
        }
    }
}

/// A run ends once: what comes later changes nothing.
fn finish(cloud: &Cloud, id: &str, state: &str, error: Option<String>) {
    cloud.services.glue.job_runs.settle(id, |run| {
        if run.completed.is_none() {
            run.completed = Some(cloud.clock.now());
            run.state = state.to_owned();
            run.error = error;
        }
    });
}

/// How a run's work ended, when it did not succeed.
#[derive(Debug)]
enum Ending {
    TimedOut(String),
    Failed(String),
}

impl From<String> for Ending {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

fn settle(cloud: &Cloud, id: &str, result: Result<Result<(), Ending>, String>) {
    match result {
        Ok(Ok(())) => finish(cloud, id, "SUCCEEDED", None),
        Ok(Err(Ending::TimedOut(reason))) => finish(cloud, id, "TIMEOUT", Some(reason)),
        Ok(Err(Ending::Failed(reason))) | Err(reason) => finish(cloud, id, "FAILED", Some(reason)),
    }
}

async fn execute(
    cloud: Arc<Cloud>,
    id: String,
    job: Arc<Job>,
    arguments: BTreeMap<String, String>,
    places: Places,
) -> Result<(), Ending> {
    let places_for_jobs = cloud.engines.jobs.clone();
    let _place = places_for_jobs.acquire().await.map_err(|e| e.to_string())?;
    cloud.services.glue.job_runs.settle(&id, |run| {
        if run.completed.is_none() {
            run.state = "RUNNING".to_owned();
        }
    });
    let source = cloud.services.glue.job_runs.get(&id).map(|run| job_arn(&cloud, &run.job));
    let role = cloud.assume_for(
        &job.role,
        "glue.amazonaws.com",
        "GlueJobRunnerSession",
        source.as_deref(),
    )?;
    fetch_script(&cloud, &role, &job.script)?;
    places.authorize(&cloud, &role).map_err(|e| e.message)?;
    let limit = Duration::from_secs(job.timeout_mins.saturating_mul(60));
    let worked = tokio::time::timeout(limit, run_engine(&cloud, &role, &places)).await;
    let Ok(worked) = worked else {
        return Err(Ending::TimedOut(format!("timed out after {} minutes", job.timeout_mins)));
    };
    let (output, error) = worked?;
    let prefix = arguments.get("--custom-logGroup-prefix").map_or(LOG_GROUPS, String::as_str);
    keep_log(&cloud, &role, &format!("{prefix}/output"), &id, &output);
    let errors: Vec<String> =
        error.iter().flat_map(|e| e.lines()).take(LOG_LINES_MAX).map(str::to_owned).collect();
    keep_log(&cloud, &role, &format!("{prefix}/error"), &id, &errors);
    error.map_or(Ok(()), |reason| Err(Ending::Failed(reason)))
}

/// As Glue does, a run begins by fetching its script with the role's permissions.
fn fetch_script(cloud: &Cloud, role: &Caller, script: &str) -> Result<(), String> {
    let object = S3Object::parse(script).map_err(|e| format!("the script's location: {e}"))?;
    let arn = format!("arn:aws:s3:::{}/{}", object.bucket, object.key);
    cloud.authorize(role, "s3:GetObject", &arn, &[]).map_err(|e| e.message)?;
    let found = cloud.services.s3.head(&object.bucket, &object.key);
    found.map(|_| ()).map_err(|e| format!("the script {script} cannot be read: {e}"))
}

/// Lines of standard output, and why it failed.
async fn run_engine(
    cloud: &Cloud,
    role: &Caller,
    places: &Places,
) -> Result<(Vec<String>, Option<String>), String> {
    let plan = places.plan.to_string();
    let arguments = ["clean", "--leashed", PLAN, &plan];
    let mut engine = Engine::start(cloud, role, &arguments)?;
    let mut lines = Vec::new();
    while let Some(line) = engine.hear().await? {
        if lines.len() < LOG_LINES_MAX {
            lines.push(line);
        }
    }
    let ended = engine.end().await?;
    let error = (!ended.status.success()).then(|| ended.reason());
    Ok((lines, error))
}

/// A log that cannot be written is lost, as in AWS; the run goes on.
pub(super) fn keep_log(cloud: &Cloud, role: &Caller, group: &str, stream: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let written = make_group(cloud, role, group)
        .and_then(|()| logs::write(cloud, role, group, stream, lines));
    if let Err(error) = written {
        tracing::warn!("the log of {stream} in {group} is lost: {error}");
    }
}

/// Glue makes its groups itself when its role may.
fn make_group(cloud: &Cloud, role: &Caller, group: &str) -> ApiResult<()> {
    if cloud.services.logs.groups.contains(group) {
        return Ok(());
    }
    cloud.authorize(role, "logs:CreateLogGroup", &logs::arn(cloud, group), &[])?;
    let made = LogGroup { retention_days: None, created: cloud.clock.now() };
    Ok(cloud.services.logs.groups.put(group, made)?)
}
