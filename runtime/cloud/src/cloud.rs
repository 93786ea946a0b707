//! The cloud as a value: configuration, all records, and the few things that every service needs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;

use crate::cloudformation::{ChangeSet, Stack, Work};
use crate::faults::Faults;
use crate::iam::{Audit, Profile, Role};
use crate::identity::Identities;
use crate::s3::Buckets;
use crate::services::athena::{NamedQuery, QueryExecution, WorkGroup};
use crate::services::cloudwatch::Alarm;
use crate::services::ec2::{Instance, Machines};
use crate::services::engine::Engines;
use crate::services::events::Rule;
use crate::services::glue::{Crawler, Database, Job, JobRun, Partition, Table as GlueTable};
use crate::services::lambda::{Environments, Function};
use crate::services::logs::LogGroup;
use crate::services::sns::Topic;
use crate::services::states::{Evaluator, Execution, MapRun, StateMachine, Stop};
use crate::table::Table;

/// What does not change while the process runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of all state.
    pub state_dir: PathBuf,
    /// Account number.
    pub account: String,
    /// Region.
    pub region: String,
    /// Port on 127.0.0.1.
    pub port: u16,
    /// The SQL engine's binary.
    pub engine: PathBuf,
    /// This binary, which is also the instances' `aws`, `curl` and `systemctl`.
    pub own_binary: PathBuf,
}

impl Config {
    /// `http://127.0.0.1:4580`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The ARN of something in this account and region:
    /// `arn:aws:glue:us-east-1:000000000000:job/x`.
    pub fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region, self.account)
    }

    /// The ARN of something that has no region: IAM.
    pub fn global_arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}::{}:{resource}", self.account)
    }

    /// Environment of a process that speaks to this cloud with temporary credentials.
    pub fn client_env(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            // By which the process is found when this one did not live to end it.
            (crate::process::MARK, self.state_dir.display().to_string()),
        ];
        pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }
}

/// Limits of an account and of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Invocations of functions at a time, as in AWS.
    pub invocations: usize,
    /// Processes of all functions together.
    pub processes: usize,
    /// Longest time of a query, as of Athena's for `SELECT`.
    pub query_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { invocations: 1_000, processes: 64, query_time: Duration::from_secs(30 * 60) }
    }
}

/// The whole cloud.
#[derive(Debug)]
pub struct Cloud {
    /// What does not change.
    pub config: Config,
    /// What is bounded.
    pub limits: Limits,
    /// Random, and written into the state folder when the process began: who knows it can read the
    /// folder, and a cloud that answers with it is the one that serves that folder.
    pub identity: String,
    /// Woken when the process is asked to end.
    pub stop: Arc<tokio::sync::Notify>,
    /// Who may call.
    pub identities: Identities,
    /// What roles called and were denied.
    pub audit: Audit,
    /// Buckets and objects.
    pub buckets: Buckets,
    /// Roles by name.
    pub roles: Table<Role>,
    /// Instance profiles by name.
    pub profiles: Table<Profile>,
    /// Stacks by ID.
    pub stacks: Table<Stack>,
    /// Change sets by ARN.
    pub change_sets: Table<ChangeSet>,
    /// Functions by name.
    pub functions: Table<Function>,
    /// Running copies of functions.
    pub environments: Environments,
    /// Instances by ID.
    pub instances: Table<Instance>,
    /// What runs in them.
    pub machines: Machines,
    /// Infrastructure without behaviour here (networks and the like) by ID.
    pub infrastructure: Table<Value>,
    /// Log groups by name.
    pub log_groups: Table<LogGroup>,
    /// Held while a log group's file is written.
    pub log_files: Mutex<()>,
    /// Glue databases by name.
    pub databases: Table<Database>,
    /// Glue tables by `database.table`.
    pub glue_tables: Table<GlueTable>,
    /// Glue partitions by `database.table/` and their values.
    pub glue_partitions: Table<Partition>,
    /// Glue crawlers by name.
    pub crawlers: Table<Crawler>,
    /// Glue jobs by name.
    pub jobs: Table<Job>,
    /// Glue job runs by ID.
    pub job_runs: Table<JobRun>,
    /// Athena work groups by name.
    pub work_groups: Table<WorkGroup>,
    /// Athena named queries by ID.
    pub named_queries: Table<NamedQuery>,
    /// Athena query executions by ID.
    pub query_executions: Table<QueryExecution>,
    /// State machines by ARN.
    pub state_machines: Table<StateMachine>,
    /// Executions by ARN.
    pub executions: Table<Execution>,
    /// Definitions that executions were started with, by their hashes.
    pub definitions: Table<Value>,
    /// Map Runs by ARN.
    pub map_runs: Table<MapRun>,
    /// Woken when a Map Run ends or gets other limits.
    pub map_runs_changed: tokio::sync::Notify,
    /// Topics by ARN.
    pub topics: Table<Topic>,
    /// Alarms by name.
    pub alarms: Table<Alarm>,
    /// Rules by name.
    pub rules: Table<Rule>,
    /// Woken when a rule is made, changed or deleted.
    pub rules_changed: tokio::sync::Notify,
    /// What CloudFormation keeps in memory only.
    pub stack_work: Work,
    /// What goes wrong on demand.
    pub faults: Faults,
    /// Jobs and queries that are at work.
    pub engines: Engines,
    /// Executions to be stopped.
    pub stopping: Mutex<HashMap<String, Arc<Stop>>>,
    /// Evaluates JSONata.
    pub evaluator: Evaluator,
}

impl Cloud {
    /// Opens the state in `config.state_dir`.
    pub fn open(config: Config) -> Result<Arc<Self>> {
        Self::open_with(config, Limits::default())
    }

    /// The same with other limits.
    pub fn open_with(config: Config, limits: Limits) -> Result<Arc<Self>> {
        let state = config.state_dir.join("state");
        std::fs::create_dir_all(&state)
            .with_context(|| format!("cannot create {}", state.display()))?;
        let dir = |name: &str| state.join(name);
        Ok(Arc::new(Self {
            identity: crate::folder::new_identity(&config.state_dir)?,
            stop: Arc::default(),
            identities: Identities::open(&config)?,
            audit: Audit::open(&config.state_dir)?,
            buckets: Buckets::open(&config.state_dir)?,
            roles: Table::open(dir("roles"))?,
            profiles: Table::open(dir("profiles"))?,
            stacks: Table::open(dir("stacks"))?,
            change_sets: Table::open(dir("change_sets"))?,
            functions: Table::open(dir("functions"))?,
            environments: Environments::new(limits),
            instances: Table::open(dir("instances"))?,
            machines: Machines::default(),
            infrastructure: Table::open(dir("infrastructure"))?,
            log_groups: Table::open(dir("log_groups"))?,
            log_files: Mutex::default(),
            databases: Table::open(dir("databases"))?,
            glue_tables: Table::open(dir("glue_tables"))?,
            glue_partitions: Table::open(dir("glue_partitions"))?,
            crawlers: Table::open(dir("crawlers"))?,
            jobs: Table::open(dir("jobs"))?,
            job_runs: Table::open(dir("job_runs"))?,
            work_groups: Table::open(dir("work_groups"))?,
            named_queries: Table::open(dir("named_queries"))?,
            query_executions: Table::open(dir("query_executions"))?,
            state_machines: Table::open(dir("state_machines"))?,
            executions: Table::open(dir("executions"))?,
            definitions: Table::open(dir("definitions"))?,
            map_runs: Table::open(dir("map_runs"))?,
            map_runs_changed: tokio::sync::Notify::new(),
            topics: Table::open(dir("topics"))?,
            alarms: Table::open(dir("alarms"))?,
            rules: Table::open(dir("rules"))?,
            rules_changed: tokio::sync::Notify::new(),
            stack_work: Work::default(),
            faults: Faults::open(&config)?,
            engines: Engines::default(),
            stopping: Mutex::default(),
            evaluator: Evaluator::default(),
            config,
            limits,
        }))
    }

    /// A directory below the state directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.config.state_dir.join(name)
    }
}

/// Seconds since 1970, as AWS's JSON protocols write times.
pub fn epoch_secs(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

/// `2026-01-31T12:00:00.123Z`, as AWS's XML protocols write times.
pub fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// An ID in EC2's form: `i-0123456789abcdef0`.
pub fn short_id(prefix: &str) -> String {
    format!("{prefix}-{}", &uuid::Uuid::new_v4().simple().to_string()[..17])
}
