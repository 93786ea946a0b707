//! The stack as a template: every decision is a field here, the templates hold structure only.

mod cost;
mod parts;
mod tables;

use serde::Serialize;
use sha2::{Digest, Sha256};
use steppe_wire::keys;
use tera::{Context, Tera};
use thiserror::Error;

use crate::catalogue::RawHeader;
use crate::elf::Architecture;
use crate::manifest::Manifest;
use crate::names::Names;
use crate::site::{self, Site};
use crate::{payload, yaml};

pub use cost::{glue_run_usd, idle_cost_usd, told};

const TEMPLATES: [(&str, &str); 19] = [
    ("stack.yaml.tera", include_str!("../../../templates/stack.yaml.tera")),
    ("storage.yaml.tera", include_str!("../../../templates/storage.yaml.tera")),
    ("etl.yaml.tera", include_str!("../../../templates/etl.yaml.tera")),
    ("athena.yaml.tera", include_str!("../../../templates/athena.yaml.tera")),
    ("network.yaml.tera", include_str!("../../../templates/network.yaml.tera")),
    ("instance.yaml.tera", include_str!("../../../templates/instance.yaml.tera")),
    ("server.yaml.tera", include_str!("../../../templates/server.yaml.tera")),
    ("predictor.yaml.tera", include_str!("../../../templates/predictor.yaml.tera")),
    ("attach_to_network.yaml.tera", include_str!("../../../templates/attach_to_network.yaml.tera")),
    ("workflow.yaml.tera", include_str!("../../../templates/workflow.yaml.tera")),
    ("jobs.yaml.tera", include_str!("../../../templates/jobs.yaml.tera")),
    ("drift.yaml.tera", include_str!("../../../templates/drift.yaml.tera")),
    ("rules.yaml.tera", include_str!("../../../templates/rules.yaml.tera")),
    ("notify.yaml.tera", include_str!("../../../templates/notify.yaml.tera")),
    ("alarms.yaml.tera", include_str!("../../../templates/alarms.yaml.tera")),
    ("user_data.sh.tera", include_str!("../../../templates/user_data.sh.tera")),
    ("state_machine.json.tera", include_str!("../../../templates/state_machine.json.tera")),
    ("drift_machine.json.tera", include_str!("../../../templates/drift_machine.json.tera")),
    ("failure_states.json.tera", include_str!("../../../templates/failure_states.json.tera")),
];

/// The script that runs the ETL plan on Glue and on any Spark.
pub const GLUE_SCRIPT: &str = include_str!("../../../templates/etl.py");

/// Port of the model server.
pub const SERVER_PORT: u16 = 8080;
/// Network of the stack.
const VPC_CIDR: &str = "10.42.0.0/16";
/// Days after which an upload that was never completed is removed.
pub const UNFINISHED_UPLOAD_DAYS: u32 = 7;
/// Longest run of the cleaning job.
const CLEAN_TIMEOUT_MINS: u32 = 30;
/// Longest run of a function of the jobs' package: Lambda's limit.
const JOB_TIMEOUT_SECS: u32 = 900;
/// Calls of the training function in one run: it goes on where the last one was cut off.
const TRAINING_CALLS_MAX: u32 = 7;
/// Time of a run for everything but cleaning and training.
const RUN_RESERVE_SECS: u32 = 5_400;
/// Bytes that one query may read.
const QUERY_BYTES_MAX: u64 = 10 * 1024 * 1024 * 1024;

/// A template did not render: a defect of this program, not of its input.
#[derive(Debug, Error)]
#[error("the template does not render")]
pub struct RenderError(#[from] tera::Error);

/// Content hashes of what the stack is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactHashes {
    /// The model server's binary.
    pub server: String,
    /// The predictor's package.
    pub predictor: String,
    /// The package of training and drift check.
    pub jobs: String,
    /// What to train.
    pub train_spec: String,
    /// The Glue script.
    pub glue_script: String,
    /// The ETL plan.
    pub etl_plan: String,
}

/// Everything that decides a stack.
#[derive(Debug, Clone)]
pub struct StackSpec<'a> {
    /// Names and place.
    pub names: &'a Names,
    /// The pipeline.
    pub manifest: &'a Manifest,
    /// Text of each of the manifest's queries, in its order.
    pub query_sql: Vec<String>,
    /// What is before the first record of the raw file.
    pub raw_header: RawHeader,
    /// Content hashes.
    pub hashes: ArtifactHashes,
    /// Architecture of function and instance.
    pub architecture: Architecture,
    /// What the place gives.
    pub site: &'a Site,
}

#[derive(Serialize)]
struct Query<'a> {
    logical_id: String,
    name: &'a str,
    description: String,
    sql: String,
}

#[derive(Serialize)]
struct Subnet<'a> {
    name: String,
    cidr: String,
    zone: &'a str,
}

impl StackSpec<'_> {
    /// Renders the CloudFormation template.
    pub fn render(&self) -> Result<String, RenderError> {
        let mut tera = Tera::default();
        tera.autoescape_on(vec![]);
        tera.add_raw_templates(TEMPLATES)?;
        let mut context = self.context();
        // The instance's logical ID carries the hash of what makes it, see server.yaml.tera. While
        // that is hashed, another name stands for the ID.
        let server_id = self.describe_server(&tera, &mut context, "ModelServer")?;
        let server_id = format!("ModelServer{}", &sha256_hex(server_id.as_bytes())[..8]);
        self.describe_server(&tera, &mut context, &server_id)?;
        context.insert("alarm_list", &parts::alarms(self.manifest, &server_id));
        for machine in ["state_machine", "drift_machine"] {
            context.insert(
                machine,
                &indented(&tera.render(&format!("{machine}.json.tera"), &context)?, 8),
            );
        }
        Ok(tera.render("stack.yaml.tera", &context)?)
    }

    /// Puts the server's ID and user data into the context; gives the whole instance as text.
    fn describe_server(
        &self,
        tera: &Tera,
        context: &mut Context,
        server_id: &str,
    ) -> Result<String, RenderError> {
        context.insert("server_id", server_id);
        context.insert("user_data", &indented(&tera.render("user_data.sh.tera", context)?, 14));
        Ok(tera.render("instance.yaml.tera", context)?)
    }

    fn context(&self) -> Context {
        let (names, stack, task) = (self.names, &self.manifest.stack, &self.manifest.task);
        let pipeline = names.pipeline.as_str();
        let mut c = Context::new();
        for (key, value) in [
            ("pipeline", pipeline),
            ("environment", &names.environment),
            ("prefix", &names.stack()),
            ("partition", names.partition()),
            ("data_bucket", &names.data_bucket()),
            ("artifacts_bucket", &names.artifacts_bucket()),
            ("database", &names.database()),
            ("log_prefix", &names.log_prefix()),
            ("series_column", &task.series),
            ("instance_type", self.manifest.stack.instance_type(self.architecture)),
            ("image_id", &self.site.image_id),
            ("s3_prefix_list", &self.site.s3_prefix_list),
            ("zones", &self.site.zones.join(",")),
            ("lambda_architecture", self.architecture.as_str()),
            ("vpc_cidr", VPC_CIDR),
            ("athena_prefix", keys::ATHENA_PREFIX),
            ("predictions_prefix", keys::PREDICTIONS_PREFIX),
            ("raw_key", &keys::raw(pipeline)),
            ("models_prefix", &keys::models_prefix(pipeline)),
            ("reports_prefix", &keys::reports_prefix(pipeline)),
            ("drift_report_key", &keys::drift_report(pipeline)),
            ("jobs_key", &keys::jobs_zip(&self.hashes.jobs)),
            ("train_spec_key", &keys::train_spec(&self.hashes.train_spec)),
            ("processed_prefix", &keys::processed_prefix(pipeline)),
            ("rejects_prefix", &keys::rejects_prefix(pipeline)),
            ("report_key", &keys::etl_report(pipeline)),
            ("glue_script_key", &keys::glue_script(&self.hashes.glue_script)),
            ("etl_plan_key", &keys::etl_plan(&self.hashes.etl_plan)),
            ("server_key", &keys::server_binary(&self.hashes.server)),
            ("server_sha256", &self.hashes.server),
            ("predictor_key", &keys::predictor_zip(&self.hashes.predictor)),
            ("subject_done", &format!("Steppe {pipeline}: forecasts are ready")),
            ("subject_failed", &format!("Steppe {pipeline}: the run failed")),
            ("subject_drift", &format!("Steppe {pipeline}: drift was found")),
            (
                "after_verify",
                if self.manifest.retrain.is_some() { "WantsNoTraining" } else { "HasSeries" },
            ),
            ("after_check", if stack.notify { "HasNews" } else { "Checked" }),
            ("after_clean", if stack.verify { "Verify" } else { "HasSeries" }),
            ("on_failure", if stack.notify { "NotifyFailure" } else { "Failed" }),
            ("tags", &self.tags(8, &[])),
            ("tags_named", &self.tags(8, &[("Name", &names.stack())])),
            ("tags_map", &self.tags_map(8)),
        ] {
            c.insert(key, value);
        }
        c.insert("server_port", &SERVER_PORT);
        c.insert("query_bytes_max", &QUERY_BYTES_MAX);
        c.insert("unfinished_upload_days", &UNFINISHED_UPLOAD_DAYS);
        c.insert("clean_timeout_mins", &CLEAN_TIMEOUT_MINS);
        c.insert("job_timeout_secs", &JOB_TIMEOUT_SECS);
        c.insert("run_timeout_secs", &self.run_timeout_secs());
        c.insert("page_rows", &payload::PAGE_ROWS);
        c.insert("single_max", &payload::SINGLE_MAX);
        c.insert("series_per_call", &payload::SERIES_PER_CALL);
        c.insert("forecasts_shown", &payload::FORECASTS_SHOWN);
        c.insert("left_out_shown", &payload::LEFT_OUT_SHOWN);
        c.insert("left_out_per_call", &payload::LEFT_OUT_PER_CALL);
        c.insert("etl_workers", &stack.etl_workers);
        c.insert("map_concurrency", &stack.map_concurrency);
        c.insert("log_retention_days", &stack.log_retention_days);
        c.insert("verify", &stack.verify);
        c.insert("notify", &stack.notify);
        c.insert("alarms", &stack.alarms);
        let quoted = |texts: &[String]| texts.iter().map(|t| yaml::quoted(t)).collect::<Vec<_>>();
        c.insert("emails", &quoted(&stack.emails));
        c.insert("tables", &self.tables());
        c.insert("queries", &self.queries());
        c.insert("retrain", &self.manifest.retrain.is_some());
        c.insert("drift", &self.manifest.drift.is_some());
        c.insert("sends_events", &self.manifest.retrain.as_ref().is_some_and(|r| r.on_new_data));
        let jobs = parts::jobs(self.manifest);
        let job_roles = jobs.iter().map(|job| format!("{}Role", job.logical_id));
        let network_roles: Vec<String> =
            ["PredictorRole".to_owned()].into_iter().chain(job_roles).collect();
        c.insert("network_roles", &network_roles);
        c.insert("jobs", &jobs);
        c.insert("rules", &parts::rules(self.manifest));
        c.insert("burstable", &is_burstable(stack.instance_type(self.architecture)));
        c.insert("subnets", &self.subnets());
        c
    }

    fn subnets(&self) -> Vec<Subnet<'_>> {
        let subnet = |zone| {
            let site::SubnetPlace { name, cidr } = site::subnet(zone);
            Subnet { name, cidr, zone }
        };
        self.site.zones.iter().map(|zone| subnet(zone.as_str())).collect()
    }

    /// Longest run of the state machine: its longest parts one after the other, and a reserve.
    fn run_timeout_secs(&self) -> u32 {
        let training =
            if self.manifest.retrain.is_some() { TRAINING_CALLS_MAX * JOB_TIMEOUT_SECS } else { 0 };
        CLEAN_TIMEOUT_MINS * 60 + training + RUN_RESERVE_SECS
    }

    fn tags(&self, indent: usize, more: &[(&str, &str)]) -> String {
        let own = self.names.tags();
        let all = own.iter().map(|(k, v)| (k.as_str(), v.as_str())).chain(more.iter().copied());
        let pad = " ".repeat(indent);
        all.map(|(k, v)| format!("{pad}- Key: {k}\n{pad}  Value: {v}"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn tags_map(&self, indent: usize) -> String {
        let pad = " ".repeat(indent);
        self.names
            .tags()
            .iter()
            .map(|(k, v)| format!("{pad}{k}: {v}"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn queries(&self) -> Vec<Query<'_>> {
        let queries = self.manifest.queries.iter().zip(&self.query_sql);
        queries
            .map(|(query, sql)| Query {
                logical_id: query.name.split('-').map(capitalised).collect(),
                name: &query.name,
                description: yaml::quoted(&query.description),
                sql: indented(sql, 8),
            })
            .collect()
    }
}

/// Whether an instance type earns credits for bursts: `t3.micro`, `t4g.small`.
fn is_burstable(instance_type: &str) -> bool {
    let family = instance_type.strip_prefix('t').unwrap_or_default();
    family.starts_with(|c: char| c.is_ascii_digit())
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn indented(text: &str, by: usize) -> String {
    let pad = " ".repeat(by);
    text.trim_end()
        .lines()
        .map(|line| if line.is_empty() { String::new() } else { format!("{pad}{line}") })
        .collect::<Vec<_>>()
        .join("\n")
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
