//! The stack as a template: components decide, the templates hold structure only.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tera::{Context, Tera};
use thiserror::Error;

use crate::catalogue::RawHeader;
use crate::components::{self, Component, Function, Stack};
use crate::elf::Architecture;
use crate::grants::Role;
use crate::names::Names;
use crate::site::{self, Site};
use crate::workflow::{Machine, Segment};
use crate::yaml;
use steppe_spec::Manifest;

pub use crate::components::{
    SERVER_PORT, UNFINISHED_UPLOAD_DAYS, combinations, pairs, predictions_table,
};

const TEMPLATES: [(&str, &str); 16] = [
    ("alarms.yaml.tera", include_str!("../../../templates/alarms.yaml.tera")),
    ("catalogue.yaml.tera", include_str!("../../../templates/catalogue.yaml.tera")),
    ("cleaning.yaml.tera", include_str!("../../../templates/cleaning.yaml.tera")),
    ("crawler.yaml.tera", include_str!("../../../templates/crawler.yaml.tera")),
    ("function.yaml.tera", include_str!("../../../templates/function.yaml.tera")),
    ("instance.yaml.tera", include_str!("../../../templates/instance.yaml.tera")),
    ("machine.yaml.tera", include_str!("../../../templates/machine.yaml.tera")),
    ("network.yaml.tera", include_str!("../../../templates/network.yaml.tera")),
    ("notify.yaml.tera", include_str!("../../../templates/notify.yaml.tera")),
    ("query.yaml.tera", include_str!("../../../templates/query.yaml.tera")),
    ("role.yaml.tera", include_str!("../../../templates/role.yaml.tera")),
    ("rules.yaml.tera", include_str!("../../../templates/rules.yaml.tera")),
    ("server.yaml.tera", include_str!("../../../templates/server.yaml.tera")),
    ("storage.yaml.tera", include_str!("../../../templates/storage.yaml.tera")),
    ("stack.yaml.tera", include_str!("../../../templates/stack.yaml.tera")),
    ("user_data.sh.tera", include_str!("../../../templates/user_data.sh.tera")),
];

/// The script that runs the ETL plan on Glue and on any Spark.
pub const GLUE_SCRIPT: &str = include_str!("../../../templates/etl.py");

/// Network of the stack.
const VPC_CIDR: &str = "10.42.0.0/16";
/// Region of the prices that components know.
const PRICE_REGION: &str = "us-east-1";

/// A template did not render: a defect of this program, not of its input.
#[derive(Debug, Error)]
#[error("the template does not render")]
pub struct RenderError(#[from] tera::Error);

/// Content hashes of what the stack is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactHashes {
    /// The model server's binary.
    pub server: String,
    /// The predictor's package.
    pub predictor: String,
    /// The package of the jobs: checks, training, drift.
    pub jobs: String,
    /// What to train.
    pub train_spec: String,
    /// What is looked for without a target.
    pub tasks: String,
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
    /// What is before the first record of each input's files, in the manifest's order.
    pub raw_headers: Vec<RawHeader>,
    /// Content hashes.
    pub hashes: ArtifactHashes,
    /// Architecture of function and instance.
    pub architecture: Architecture,
    /// What the place gives.
    pub site: &'a Site,
}

/// What every template may print.
#[derive(Serialize)]
struct Common<'a> {
    pipeline: &'a str,
    environment: &'a str,
    prefix: String,
    log_prefix: String,
    log_retention_days: u32,
    artifacts_bucket: String,
    lambda_architecture: &'a str,
    server_id: &'a str,
    server_port: u16,
    vpc_cidr: &'a str,
    subnets: Vec<Subnet<'a>>,
    tags: Value,
    tags_map: Value,
    tags_named: Value,
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
        let tera = tera()?;
        let stack = self.stack(&tera)?;
        let components = stack.components();
        let common = Context::from_serialize(self.common(&stack.server_id))?;
        let mut resources = String::new();
        for component in &components {
            resources += &self.resources(&tera, &common, component, &components)?;
        }
        let outputs = components.iter().flat_map(|component| &component.outputs);
        let outputs: Map<String, Value> =
            outputs.map(|(name, value)| ((*name).to_owned(), json!({ "Value": value }))).collect();
        let context = json!({ "resources": resources, "outputs": outputs });
        Ok(tera.render("stack.yaml.tera", &extended(&common, context)?)?)
    }

    /// What the deployment costs, for people.
    pub fn costs(&self) -> Result<String, RenderError> {
        let components = self.stack(&tera()?)?.components();
        let idle: Option<f64> = components.iter().map(|c| c.cost.idle_month).sum();
        let run: f64 = components.iter().map(|c| c.cost.run).sum();
        let idle = match idle {
            Some(usd) => format!("about {usd:.2} US dollars a month while nothing runs"),
            None => "unknown while nothing runs".to_owned(),
        };
        Ok(format!(
            "{idle} ({}), and from {run:.3} for each run of the cleaning job; prices of \
             {PRICE_REGION}, other regions differ by up to a third",
            self.architecture.instance_type(self.manifest)
        ))
    }

    /// The server's logical ID carries the hash of what makes the instance, see server.yaml.tera.
    /// While that is hashed, another name stands for the ID.
    fn stack(&self, tera: &Tera) -> Result<Stack<'_>, RenderError> {
        let common = Context::from_serialize(self.common("ModelServer"))?;
        let context = extended(&common, components::instance(self))?;
        let instance = tera.render("instance.yaml.tera", &context)?;
        let hash = sha256_hex(instance.as_bytes());
        Ok(Stack { spec: self, server_id: format!("ModelServer{}", &hash[..8]) })
    }

    /// A component's resources.
    fn resources(
        &self,
        tera: &Tera,
        common: &Context,
        component: &Component,
        all: &[Component],
    ) -> Result<String, RenderError> {
        let fragments = component.resources.iter().map(|f| (f.template, f.context.clone()));
        let functions = component.functions.iter().map(function);
        let machines = component.machines.iter().map(|machine| definition(machine, all));
        let roles = component.roles.iter().map(|role| policy(role, all));
        let mut out = format!("\n  # --- {} ---\n", component.name);
        for (template, context) in fragments.chain(functions).chain(machines).chain(roles) {
            let text = tera.render(template, &extended(common, context)?)?;
            out += &format!("{}\n\n", text.trim_start_matches('\n').trim_end());
        }
        Ok(out)
    }

    fn common<'s>(&'s self, server_id: &'s str) -> Common<'s> {
        let own = self.names.tags();
        let tag = |(key, value): &(String, String)| json!({ "Key": key, "Value": value });
        let tags: Vec<Value> = own.iter().map(tag).collect();
        let name = tag(&("Name".to_owned(), self.names.stack()));
        let zones = self.site.zones.iter().map(|zone| {
            let site::SubnetPlace { name, cidr } = site::subnet(zone);
            Subnet { name, cidr, zone }
        });
        Common {
            pipeline: &self.names.pipeline,
            environment: &self.names.environment,
            prefix: self.names.stack(),
            log_prefix: self.names.log_prefix(),
            log_retention_days: self.manifest.stack.log_retention_days,
            artifacts_bucket: self.names.artifacts_bucket(),
            lambda_architecture: self.architecture.as_str(),
            server_id,
            server_port: SERVER_PORT,
            vpc_cidr: VPC_CIDR,
            subnets: zones.collect(),
            tags_named: tags.iter().cloned().chain([name]).collect(),
            tags: Value::Array(tags),
            tags_map: own.iter().map(|(key, value)| (key.clone(), json!(value))).collect(),
        }
    }
}

/// The templates, with filters that print values in YAML's block style, below their key, and texts
/// in quotes.
fn tera() -> Result<Tera, RenderError> {
    let mut tera = Tera::default();
    tera.autoescape_on(vec![]);
    tera.register_filter("yaml", |value: &Value, arguments: &HashMap<String, Value>| {
        let indent = arguments.get("indent").and_then(Value::as_u64).unwrap_or_default();
        let indent = usize::try_from(indent).unwrap_or_default();
        Ok(Value::String(yaml::block(value, indent)))
    });
    tera.register_filter("quoted", |value: &Value, _: &HashMap<String, Value>| {
        Ok(value.as_str().map(yaml::quoted).map_or(Value::Null, Value::String))
    });
    tera.add_raw_templates(TEMPLATES)?;
    Ok(tera)
}

fn extended(common: &Context, own: Value) -> Result<Context, RenderError> {
    let mut context = common.clone();
    context.extend(Context::from_value(own)?);
    Ok(context)
}

fn function(function: &Function) -> (&'static str, Value) {
    ("function.yaml.tera", json!({ "function": function }))
}

/// A machine with the states of all components.
fn definition(machine: &Machine, all: &[Component]) -> (&'static str, Value) {
    let segments: Vec<&Segment> = all.iter().flat_map(|component| &component.segments).collect();
    let own = segments.iter().filter(|segment| segment.machine == machine.logical_id);
    let substitutions: Map<String, Value> = own
        .flat_map(|segment| &segment.substitutions)
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    let definition = format!("{:#}", machine.definition(&segments));
    let context = json!({
        "logical_id": machine.logical_id,
        "suffix": machine.suffix,
        "role": machine.role,
        "substitutions": substitutions,
        "definition": definition,
    });
    ("machine.yaml.tera", context)
}

/// A role with everything that is granted to it.
fn policy(role: &Role, all: &[Component]) -> (&'static str, Value) {
    let grants = all.iter().flat_map(|component| &component.grants);
    let statements: Vec<_> =
        grants.filter(|g| g.role == role.logical_id).map(|g| &g.statement).collect();
    ("role.yaml.tera", json!({ "role": role, "statements": statements }))
}

/// SHA-256 in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
