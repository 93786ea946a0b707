//! The stack as a template: every decision is a field here, the templates hold structure only.

use serde::Serialize;
use sha2::{Digest, Sha256};
use steppe_wire::keys;
use tera::{Context, Tera};
use thiserror::Error;

use crate::elf::Architecture;
use crate::manifest::Manifest;
use crate::names::Names;

const TEMPLATES: [(&str, &str); 18] = [
    ("stack.yaml.tera", include_str!("../../../templates/stack.yaml.tera")),
    ("storage.yaml.tera", include_str!("../../../templates/storage.yaml.tera")),
    ("etl.yaml.tera", include_str!("../../../templates/etl.yaml.tera")),
    ("athena.yaml.tera", include_str!("../../../templates/athena.yaml.tera")),
    ("network.yaml.tera", include_str!("../../../templates/network.yaml.tera")),
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
/// Memory of the drift check: it holds the clean table and the newest forecasts.
const DRIFT_MEMORY_MB: u32 = 512;
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
    /// Columns of the raw file, in its order.
    pub raw_columns: Vec<String>,
    /// Content hashes.
    pub hashes: ArtifactHashes,
    /// Architecture of function and instance.
    pub architecture: Architecture,
}

#[derive(Serialize)]
struct Table {
    logical_id: &'static str,
    name: &'static str,
    description: String,
    prefix: String,
    classification: &'static str,
    has_header: bool,
    input_format: &'static str,
    output_format: &'static str,
    serde: &'static str,
    columns: Vec<TableColumn>,
}

#[derive(Serialize)]
struct TableColumn {
    name: String,
    hive_type: String,
}

#[derive(Serialize)]
struct Query<'a> {
    logical_id: String,
    name: &'a str,
    description: &'a str,
    sql: String,
}

#[derive(Serialize)]
struct Subnet {
    name: &'static str,
    cidr: &'static str,
    zone_index: usize,
}

/// A Lambda function of the jobs' package.
#[derive(Serialize)]
struct Job {
    logical_id: &'static str,
    /// The package's handler, and the function's name.
    handler: &'static str,
    description: &'static str,
    memory_mb: u32,
    trains: bool,
    asks_server: bool,
}

/// Something that starts a state machine by itself.
#[derive(Serialize)]
struct Rule {
    logical_id: &'static str,
    name: &'static str,
    description: &'static str,
    /// On new raw data when absent.
    schedule: Option<String>,
    /// Logical ID of the state machine.
    machine: &'static str,
    /// Input of the execution.
    input: &'static str,
}

#[derive(Serialize)]
struct Alarm {
    logical_id: &'static str,
    name: &'static str,
    description: &'static str,
    namespace: &'static str,
    metric: &'static str,
    dimension: &'static str,
    resource: &'static str,
    statistic: &'static str,
    period_secs: u32,
}

impl StackSpec<'_> {
    /// Renders the CloudFormation template.
    pub fn render(&self) -> Result<String, RenderError> {
        let mut tera = Tera::default();
        tera.autoescape_on(vec![]);
        tera.add_raw_templates(TEMPLATES)?;
        let mut context = self.context();
        // The instance's logical ID carries the hash of what makes it, see server.yaml.tera.
        context.insert("server_id", "ModelServer");
        let made_of = format!(
            "{}\n{}\n{}",
            tera.render("user_data.sh.tera", &context)?,
            self.manifest.stack.instance_type(self.architecture),
            self.architecture.as_str()
        );
        context
            .insert("server_id", &format!("ModelServer{}", &sha256_hex(made_of.as_bytes())[..8]));
        context.insert("user_data", &indented(&tera.render("user_data.sh.tera", &context)?, 14));
        for machine in ["state_machine", "drift_machine"] {
            context.insert(
                machine,
                &indented(&tera.render(&format!("{machine}.json.tera"), &context)?, 8),
            );
        }
        Ok(tera.render("stack.yaml.tera", &context)?)
    }

    fn context(&self) -> Context {
        let (names, stack, task) = (self.names, &self.manifest.stack, &self.manifest.task);
        let pipeline = names.pipeline.as_str();
        let mut c = Context::new();
        for (key, value) in [
            ("pipeline", pipeline),
            ("environment", &names.environment),
            ("prefix", &names.stack()),
            ("data_bucket", &names.data_bucket()),
            ("artifacts_bucket", &names.artifacts_bucket()),
            ("database", &names.database()),
            ("log_prefix", &names.log_prefix()),
            ("series_column", &task.series),
            ("instance_type", self.manifest.stack.instance_type(self.architecture)),
            ("ami_architecture", self.architecture.as_str()),
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
        c.insert("etl_workers", &stack.etl_workers);
        c.insert("map_concurrency", &stack.map_concurrency);
        c.insert("log_retention_days", &stack.log_retention_days);
        c.insert("verify", &stack.verify);
        c.insert("notify", &stack.notify);
        c.insert("alarms", &stack.alarms);
        c.insert("emails", &stack.emails);
        c.insert("tables", &self.tables());
        c.insert("queries", &self.queries());
        c.insert("alarm_list", &alarms(self.manifest));
        c.insert("retrain", &self.manifest.retrain.is_some());
        c.insert("drift", &self.manifest.drift.is_some());
        c.insert("sends_events", &self.manifest.retrain.as_ref().is_some_and(|r| r.on_new_data));
        c.insert("jobs", &self.jobs());
        c.insert("rules", &self.rules());
        c.insert(
            "subnets",
            &[
                Subnet { name: "A", cidr: "10.42.0.0/24", zone_index: 0 },
                Subnet { name: "B", cidr: "10.42.1.0/24", zone_index: 1 },
            ],
        );
        c
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

    fn tables(&self) -> Vec<Table> {
        const TEXT_INPUT: &str = "org.apache.hadoop.mapred.TextInputFormat";
        const TEXT_OUTPUT: &str = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat";
        let column = |name: &str, hive: &str| TableColumn {
            name: name.to_owned(),
            hive_type: hive.to_owned(),
        };
        let pipeline = &self.names.pipeline;
        let raw = Table {
            logical_id: "RawTable",
            name: "raw",
            description: "The input as it came; every column is text".to_owned(),
            prefix: format!("raw/{pipeline}/"),
            classification: "csv",
            has_header: true,
            input_format: TEXT_INPUT,
            output_format: TEXT_OUTPUT,
            serde: "org.apache.hadoop.hive.serde2.OpenCSVSerde",
            columns: self.raw_columns.iter().map(|c| column(c, "string")).collect(),
        };
        let processed = Table {
            logical_id: "ProcessedTable",
            name: "processed",
            description: "The clean table".to_owned(),
            prefix: keys::processed_prefix(pipeline),
            classification: "parquet",
            has_header: false,
            input_format: "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
            output_format: "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
            serde: "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
            columns: self
                .manifest
                .data
                .columns
                .iter()
                .map(|c| column(&c.name, c.kind.hive()))
                .collect(),
        };
        let predictions = [
            ("schema_version", "int"),
            ("execution", "string"),
            ("series", "string"),
            ("observed_until", "string"),
            ("step", "int"),
            ("period", "string"),
            ("value", "double"),
            ("lower", "double"),
            ("upper", "double"),
            ("level", "double"),
            ("model_id", "string"),
            ("model_version", "string"),
            ("backtest_mae", "double"),
            ("backtest_rmse", "double"),
            ("backtest_mape", "double"),
            ("backtest_mase", "double"),
            (
                "steps",
                "array<struct<step:int,period:string,value:double,lower:double,upper:double,level:double>>",
            ),
        ];
        let predictions = Table {
            logical_id: "PredictionsTable",
            name: "predictions",
            description: "Stored forecasts, one JSON object per file".to_owned(),
            prefix: keys::PREDICTIONS_PREFIX.to_owned(),
            classification: "json",
            has_header: false,
            input_format: TEXT_INPUT,
            output_format: TEXT_OUTPUT,
            serde: "org.openx.data.jsonserde.JsonSerDe",
            columns: predictions.iter().map(|(name, hive)| column(name, hive)).collect(),
        };
        vec![raw, processed, predictions]
    }

    fn jobs(&self) -> Vec<Job> {
        let train = self.manifest.retrain.as_ref().map(|retrain| Job {
            logical_id: "TrainJob",
            handler: "train",
            description: "Trains, and promotes only a better model",
            memory_mb: retrain.memory_mb,
            trains: true,
            asks_server: false,
        });
        let drift = self.manifest.drift.as_ref().map(|_| Job {
            logical_id: "DriftJob",
            handler: "drift",
            description: "Compares what the model sees, says and said with its backtest",
            memory_mb: DRIFT_MEMORY_MB,
            trains: false,
            asks_server: true,
        });
        train.into_iter().chain(drift).collect()
    }

    fn rules(&self) -> Vec<Rule> {
        const TRAIN: &str = r#"{"train":true}"#;
        let (retrain, drift) = (self.manifest.retrain.as_ref(), self.manifest.drift.as_ref());
        let on_schedule = retrain.and_then(|r| r.schedule.clone()).map(|schedule| Rule {
            logical_id: "TrainOnSchedule",
            name: "train-on-schedule",
            description: "Runs the pipeline with training",
            schedule: Some(schedule),
            machine: "StateMachine",
            input: TRAIN,
        });
        let on_new_data = retrain.filter(|r| r.on_new_data).map(|_| Rule {
            logical_id: "TrainOnNewData",
            name: "train-on-new-data",
            description: "Runs the pipeline with training when new raw data arrive",
            schedule: None,
            machine: "StateMachine",
            input: TRAIN,
        });
        let check = drift.map(|drift| Rule {
            logical_id: "CheckDrift",
            name: "check-drift",
            description: "Looks for drift",
            schedule: Some(drift.schedule.clone()),
            machine: "DriftMachine",
            input: "{}",
        });
        [on_schedule, on_new_data, check].into_iter().flatten().collect()
    }

    fn queries(&self) -> Vec<Query<'_>> {
        let queries = self.manifest.queries.iter().zip(&self.query_sql);
        queries
            .map(|(query, sql)| Query {
                logical_id: query.name.split('-').map(capitalised).collect(),
                name: &query.name,
                description: &query.description,
                sql: indented(sql, 8),
            })
            .collect()
    }
}

/// Everything that can fail by itself: the state machines and the functions.
fn alarms(manifest: &Manifest) -> Vec<Alarm> {
    let machine = |logical_id, name, description, resource| Alarm {
        logical_id,
        name,
        description,
        namespace: "AWS/States",
        metric: "ExecutionsFailed",
        dimension: "StateMachineArn",
        resource,
        statistic: "Sum",
        period_secs: 300,
    };
    let function = |logical_id, name, description, resource| Alarm {
        namespace: "AWS/Lambda",
        metric: "Errors",
        dimension: "FunctionName",
        ..machine(logical_id, name, description, resource)
    };
    let mut alarms = vec![
        machine(
            "ExecutionsFailed",
            "executions-failed",
            "A run of the state machine failed",
            "StateMachine",
        ),
        function("PredictorErrors", "predictor-errors", "The predictor failed", "Predictor"),
    ];
    if manifest.retrain.is_some() {
        alarms.push(function(
            "TrainErrors",
            "train-errors",
            "A training failed; the model in service stays",
            "TrainJob",
        ));
    }
    if manifest.drift.is_some() {
        alarms.push(machine(
            "DriftCheckFailed",
            "drift-check-failed",
            "A check for drift failed",
            "DriftMachine",
        ));
    }
    alarms
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

/// What the stack costs while nothing runs, in US dollars a month; `None` for an unknown instance type.
///
/// On-demand Linux prices of us-east-1 (<https://aws.amazon.com/ec2/pricing/on-demand/>), 730 hours,
/// 8 GiB of gp3 at 0.08 $/GiB, 0.10 $ per alarm; other regions differ by up to a third.
pub fn idle_cost_usd(manifest: &Manifest, instance_type: &str) -> Option<f64> {
    let per_hour = match instance_type {
        "t3.nano" => 0.0052,
        "t3.micro" => 0.0104,
        "t3.small" => 0.0208,
        "t3.medium" => 0.0416,
        "t4g.nano" => 0.0042,
        "t4g.micro" => 0.0084,
        "t4g.small" => 0.0168,
        "t4g.medium" => 0.0336,
        "c7g.medium" => 0.0363,
        "m7g.medium" => 0.0408,
        _ => return None,
    };
    let alarm_cost = if manifest.stack.alarms { alarms(manifest).len() as f64 * 0.10 } else { 0.0 };
    Some(per_hour * 730.0 + 8.0 * 0.08 + alarm_cost)
}
