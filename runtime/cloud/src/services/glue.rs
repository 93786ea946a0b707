//! Glue: catalogue and jobs.
//!
//! A job run starts the embedded engine with the job's own arguments (`--plan`, `--input`, `--output`,
//! `--rejects`, `--report`) and the role's credentials. The PySpark script itself is not run; a job
//! without these arguments is refused, never reported as succeeded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::AbortHandle;

use crate::cloud::{Cloud, epoch_secs};
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::{logs, required, run_process};

/// Arguments that a job must have, because the engine runs them.
const ENGINE_ARGUMENTS: [&str; 5] = ["--plan", "--input", "--output", "--rejects", "--report"];

/// A database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Database {
    /// What it is.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
}

/// A table, with its input as CloudFormation gave it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// `TableInput`.
    pub input: Value,
    /// When it was made.
    pub created: Timestamp,
}

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
}

/// A run of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobRun {
    /// The job.
    pub job: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMEOUT` or `STOPPED`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub completed: Option<Timestamp>,
}

/// ARN of a table and of what it is in, as policies name them.
pub fn table_arns(cloud: &Cloud, database: &str, table: &str) -> [String; 3] {
    [
        cloud.config.arn("glue", "catalog"),
        cloud.config.arn("glue", &format!("database/{database}")),
        cloud.config.arn("glue", &format!("table/{database}/{table}")),
    ]
}

/// API of Glue.
pub async fn handle(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    operation: &str,
    params: &Value,
) -> ApiResult {
    match operation {
        "StartJobRun" => start(cloud, caller, params),
        "GetJobRun" => {
            let (job, id) = (required(params, "JobName")?, required(params, "RunId")?);
            cloud.authorize(caller, "glue:GetJobRun", &job_arn(cloud, job), &[])?;
            let run = cloud.job_runs.get(id).ok_or_else(|| not_found("Job run", id))?;
            Ok(json!({ "JobRun": describe_run(id, &run) }))
        }
        "GetJobRuns" => {
            let job = required(params, "JobName")?;
            cloud.authorize(caller, "glue:GetJobRuns", &job_arn(cloud, job), &[])?;
            let mut runs: Vec<_> =
                cloud.job_runs.all().into_iter().filter(|(_, r)| r.job == job).collect();
            runs.sort_by_key(|(_, r)| std::cmp::Reverse(r.started));
            Ok(
                json!({ "JobRuns": runs.iter().map(|(id, r)| describe_run(id, r)).collect::<Vec<_>>() }),
            )
        }
        "GetDatabases" => {
            cloud.authorize(
                caller,
                "glue:GetDatabases",
                &cloud.config.arn("glue", "catalog"),
                &[],
            )?;
            let all: Vec<Value> =
                cloud.databases.all().iter().map(|(name, d)| describe_database(name, d)).collect();
            Ok(json!({ "DatabaseList": all }))
        }
        "GetDatabase" => {
            let name = required(params, "Name")?;
            cloud.authorize(
                caller,
                "glue:GetDatabase",
                &cloud.config.arn("glue", &format!("database/{name}")),
                &[],
            )?;
            Ok(
                json!({ "Database": describe_database(name, &*cloud.databases.get(name).ok_or_else(|| not_found("Database", name))?) }),
            )
        }
        "GetTables" => {
            let database = required(params, "DatabaseName")?;
            cloud.authorize(
                caller,
                "glue:GetTables",
                &cloud.config.arn("glue", &format!("table/{database}/*")),
                &[],
            )?;
            let tables: Vec<Value> = cloud
                .glue_tables
                .range(&format!("{database}."), None)
                .iter()
                .map(|(_, t)| describe_table(t))
                .collect();
            Ok(json!({ "TableList": tables }))
        }
        "GetTable" => {
            let (database, name) = (required(params, "DatabaseName")?, required(params, "Name")?);
            let [_, _, arn] = table_arns(cloud, database, name);
            cloud.authorize(caller, "glue:GetTable", &arn, &[])?;
            let table = cloud
                .glue_tables
                .get(&format!("{database}.{name}"))
                .ok_or_else(|| not_found("Table", name))?;
            Ok(json!({ "Table": describe_table(&table) }))
        }
        other => Err(ApiError::unknown_operation("glue", other)),
    }
}

fn not_found(what: &str, name: &str) -> ApiError {
    ApiError::new("EntityNotFoundException", format!("{what} {name} not found."))
}

fn job_arn(cloud: &Cloud, job: &str) -> String {
    cloud.config.arn("glue", &format!("job/{job}"))
}

fn describe_database(name: &str, database: &Database) -> Value {
    json!({ "Name": name, "Description": database.description, "CreateTime": epoch_secs(database.created) })
}

fn describe_table(table: &Table) -> Value {
    let mut out = table.input.clone();
    out["DatabaseName"] = table.database.clone().into();
    out["CreateTime"] = epoch_secs(table.created).into();
    out
}

fn describe_run(id: &str, run: &JobRun) -> Value {
    let mut out = json!({ "Id": id, "JobName": run.job, "JobRunState": run.state, "StartedOn": epoch_secs(run.started), "Attempt": 0 });
    if let Some(completed) = run.completed {
        out["CompletedOn"] = epoch_secs(completed).into();
        out["ExecutionTime"] = completed.duration_since(run.started).as_secs().into();
    }
    if let Some(error) = &run.error {
        out["ErrorMessage"] = error.clone().into();
    }
    out
}

/// `StartJobRun`, from the API and from state machines.
pub fn start(cloud: &Arc<Cloud>, caller: &Caller, params: &Value) -> ApiResult {
    let name = required(params, "JobName")?;
    cloud.authorize(caller, "glue:StartJobRun", &job_arn(cloud, name), &[])?;
    let job = cloud.jobs.get(name).ok_or_else(|| not_found("Job", name))?;
    let mut arguments = job.arguments.clone();
    for (key, value) in params["Arguments"].as_object().into_iter().flatten() {
        arguments.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    if let Some(missing) = ENGINE_ARGUMENTS.iter().find(|a| !arguments.contains_key(**a)) {
        let message = format!(
            "The embedded cloud runs jobs with an ETL plan; the job {name} has no argument {missing}, and its script is not run here."
        );
        return Err(ApiError::new("InvalidInputException", message));
    }
    let running =
        cloud.job_runs.all().iter().filter(|(_, r)| r.job == name && r.completed.is_none()).count()
            as u64;
    if running >= job.concurrent_max {
        return Err(ApiError::new(
            "ConcurrentRunsExceededException",
            format!("Concurrent runs exceeded for {name}"),
        ));
    }
    let id = format!("jr_{}", uuid::Uuid::new_v4().simple());
    let run = JobRun {
        job: name.to_owned(),
        state: "RUNNING".to_owned(),
        error: None,
        started: Timestamp::now(),
        completed: None,
    };
    cloud.job_runs.put(&id, run)?;
    let task = tokio::spawn(execute(cloud.clone(), id.clone(), job, arguments));
    lock(cloud).insert(id.clone(), task.abort_handle());
    Ok(json!({ "JobRunId": id }))
}

fn lock(cloud: &Cloud) -> std::sync::MutexGuard<'_, HashMap<String, AbortHandle>> {
    cloud.job_tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Stops a run that has not ended; its engine is killed with it.
pub fn stop(cloud: &Cloud, id: &str) {
    if let Some(task) = lock(cloud).remove(id) {
        task.abort();
        cloud.job_runs.settle(id, |run| {
            if run.completed.is_none() {
                (run.completed, run.state) = (Some(Timestamp::now()), "STOPPED".to_owned());
            }
        });
    }
}

async fn execute(
    cloud: Arc<Cloud>,
    id: String,
    job: Arc<Job>,
    arguments: BTreeMap<String, String>,
) {
    let result = run_engine(&cloud, &id, &job, &arguments).await;
    lock(&cloud).remove(&id);
    cloud.job_runs.settle(&id, |run| {
        run.completed = Some(Timestamp::now());
        run.state = match &result {
            Ok(()) => "SUCCEEDED",
            Err(message) if message.starts_with("timed out") => "TIMEOUT",
            Err(_) => "FAILED",
        }
        .to_owned();
        run.error = result.err();
    });
}

async fn run_engine(
    cloud: &Arc<Cloud>,
    id: &str,
    job: &Job,
    arguments: &BTreeMap<String, String>,
) -> Result<(), String> {
    let caller = cloud.assume(&job.role, "glue.amazonaws.com", "GlueJobRunnerSession")?;
    // As Glue does, a run begins by fetching its script with the role's permissions.
    let script = job
        .script
        .strip_prefix("s3://")
        .and_then(|s| s.split_once('/'))
        .ok_or("the script's location is not an S3 address")?;
    cloud
        .authorize(&caller, "s3:GetObject", &format!("arn:aws:s3:::{}/{}", script.0, script.1), &[])
        .map_err(|e| e.message)?;
    cloud
        .buckets
        .head(script.0, script.1)
        .map_err(|e| format!("the script {} cannot be read: {e}", job.script))?;
    let mut command = Command::new(&cloud.config.engine);
    command
        .arg("clean")
        .env_clear()
        .envs(cloud.config.client_env())
        .envs(cloud.identities.session(caller.clone()).env());
    for name in ENGINE_ARGUMENTS {
        command.arg(name).arg(&arguments[name]);
    }
    let finished = run_process(command, b"", Duration::from_secs(job.timeout_mins * 60)).await?;
    let lines: Vec<String> =
        finished.stdout.lines().chain(finished.stderr.lines()).map(str::to_owned).collect();
    if let Some(prefix) = arguments.get("--custom-logGroup-prefix") {
        logs::write(cloud, &caller, &format!("{prefix}/output"), id, &lines)
            .map_err(|e| format!("the log could not be written: {}", e.message))?;
    }
    if finished.success {
        Ok(())
    } else {
        Err(finished.stderr.trim().trim_start_matches("error: ").to_owned())
    }
}
