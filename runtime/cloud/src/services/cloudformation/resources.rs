//! Resource types: how they are made, changed and deleted.

mod compute;
mod data;
pub mod nested;
mod network;
pub mod types;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use self::types::Type;
use super::{Resource, permissions};
use crate::kernel::cloud::{Cloud, short_id};
use crate::kernel::store::NotStored;
use crate::services::glue;

/// Bytes of a name before its random end: together they fit all services.
const NAME_BYTES_MAX: usize = 50;

/// Where a resource belongs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The cloud.
    pub cloud: &'a Arc<Cloud>,
    /// The stack's ID.
    pub stack_id: &'a str,
    /// The stack's name.
    pub stack_name: &'a str,
    /// Name in the template.
    pub logical_id: &'a str,
}

impl Place<'_> {
    /// A name for a resource that was given none, in AWS's form: it is free, also when it replaces
    /// another.
    fn name(&self) -> String {
        let mut name = format!("{}-{}", self.stack_name, self.logical_id);
        name.truncate(NAME_BYTES_MAX);
        let random = uuid::Uuid::new_v4().simple().to_string();
        format!("{name}-{}", random[..12].to_uppercase())
    }

    /// Whether who ordered the operation may give a role to a service; roles are named by ARN or,
    /// where AWS allows it, by name.
    fn may_pass(&self, role: &str, service: &str) -> Result<(), Failure> {
        let Some(caller) = permissions::caller(self) else { return Ok(()) };
        let arn = match role.starts_with("arn:") {
            true => role.to_owned(),
            false => self.cloud.config.global_arn("iam", &format!("role/{role}")),
        };
        let allowed = self.cloud.pass_role(&caller, &arn, service);
        let told = |words: String| permissions::may_not_pass(service, &words);
        allowed.map_err(|error| Failure::Other(told(error.message)))
    }
}

/// Why a resource was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is one of that name, and it is somebody else's.
    Exists(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(reason) | Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Other(reason)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        Self::Other(reason.to_owned())
    }
}

impl From<NotStored> for Failure {
    fn from(error: NotStored) -> Self {
        Self::Other(error.to_string())
    }
}

/// Attributes of a resource, or why it failed.
pub type Made = Result<Map<String, Value>, Failure>;

fn not_implemented(kind: &str) -> String {
    format!("the embedded cloud does not implement the resource type {kind}")
}

/// The text of a property.
pub fn text<'a>(properties: &'a Value, name: &str) -> &'a str {
    properties[name].as_str().unwrap_or_default()
}

/// A number, which templates may also write as text.
fn number(value: &Value, default: u64) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(default)
}

fn attributes(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The ID that a new resource will have. It is fixed before the work begins, so that what a crash
/// interrupts can still be found and deleted.
pub fn physical_id(place: &Place<'_>, kind: &Type, properties: &Value) -> Result<String, String> {
    let config = &place.cloud.config;
    let named = || types::given_name(kind, properties).map_or_else(|| place.name(), str::to_owned);
    Ok(match kind.name {
        "AWS::S3::Bucket" => types::given_name(kind, properties)
            .map_or_else(|| place.name().to_lowercase(), str::to_owned),
        "AWS::S3::BucketPolicy" => text(properties, "Bucket").to_owned(),
        "AWS::Glue::Database"
        | "AWS::Glue::Table"
        | "AWS::Glue::Crawler"
        | "AWS::Glue::Job"
        | "AWS::Athena::WorkGroup"
        | "AWS::Events::Rule"
        | "AWS::IAM::Role"
        | "AWS::IAM::InstanceProfile"
        | "AWS::Lambda::Function"
        | "AWS::Logs::LogGroup"
        | "AWS::CloudWatch::Alarm" => named(),
        "AWS::Athena::NamedQuery" => uuid::Uuid::new_v4().to_string(),
        "AWS::EC2::VPC" => short_id("vpc"),
        "AWS::EC2::Subnet" => short_id("subnet"),
        "AWS::EC2::RouteTable" => short_id("rtb"),
        "AWS::EC2::SubnetRouteTableAssociation" => short_id("rtbassoc"),
        "AWS::EC2::VPCEndpoint" => short_id("vpce"),
        "AWS::EC2::SecurityGroup" => short_id("sg"),
        "AWS::EC2::Instance" => short_id("i"),
        "AWS::StepFunctions::StateMachine" => {
            config.arn("states", &format!("stateMachine:{}", named()))
        }
        "AWS::SNS::Topic" => config.arn("sns", &named()),
        "AWS::SNS::Subscription" => {
            format!("{}:{}", text(properties, "TopicArn"), uuid::Uuid::new_v4())
        }
        "AWS::CloudFormation::WaitConditionHandle" => {
            format!("{}/_steppe/wait/{}", config.endpoint(), uuid::Uuid::new_v4().simple())
        }
        "AWS::CloudFormation::WaitCondition" => {
            format!("{}/{}/{}", place.stack_id, place.logical_id, uuid::Uuid::new_v4().simple())
        }
        other => return Err(not_implemented(other)),
    })
}

/// Whether [`exists`] can tell for resources of this type.
pub fn is_named(kind: &Type) -> bool {
    kind.named_by.is_some() || kind.name == "AWS::S3::BucketPolicy"
}

/// Whether there is already a resource with that ID. Those with random IDs never are.
pub fn exists(place: &Place<'_>, kind: &Type, id: &str, properties: &Value) -> bool {
    let cloud = place.cloud;
    match kind.name {
        "AWS::S3::Bucket" => cloud.services.s3.get(id).is_ok(),
        "AWS::S3::BucketPolicy" => cloud.services.s3.policy(id).is_some(),
        "AWS::Glue::Database" => cloud.services.glue.databases.contains(id),
        "AWS::Glue::Table" => cloud.services.glue.tables.contains(&data::table_key(id, properties)),
        "AWS::Glue::Crawler" => cloud.services.glue.crawlers.contains(id),
        "AWS::Glue::Job" => cloud.services.glue.jobs.contains(id),
        // Every account has `primary`.
        "AWS::Athena::WorkGroup" => {
            id == "primary" || cloud.services.athena.work_groups.contains(id)
        }
        "AWS::Events::Rule" => cloud.services.events.rules.contains(id),
        "AWS::IAM::Role" => cloud.services.iam.roles.contains(id),
        "AWS::IAM::InstanceProfile" => cloud.services.iam.profiles.contains(id),
        "AWS::Lambda::Function" => cloud.services.lambda.functions.contains(id),
        "AWS::Logs::LogGroup" => cloud.services.logs.groups.contains(id),
        "AWS::CloudWatch::Alarm" => cloud.services.cloudwatch.alarms.contains(id),
        "AWS::StepFunctions::StateMachine" => cloud.services.states.machines.contains(id),
        "AWS::SNS::Topic" => cloud.services.sns.topics.contains(id),
        _ => false,
    }
}

/// What a creation says when the name is taken.
pub fn already_exists(kind: &Type, id: &str, properties: &Value) -> Failure {
    if kind.name == "AWS::S3::BucketPolicy" {
        return Failure::Exists(format!("The bucket policy already exists on bucket {id}."));
    }
    let identifier = match kind.name {
        "AWS::Glue::Table" => data::table_key(id, properties).replacen('.', "|", 1),
        _ => id.to_owned(),
    };
    Failure::Exists(format!(
        "Resource of type '{}' with identifier '{identifier}' already exists.",
        kind.name
    ))
}

/// The name by which a person knows a resource.
pub fn shown_name<'a>(kind: &Type, resource: &'a Resource) -> &'a str {
    types::given_name(kind, &resource.properties).unwrap_or(&resource.physical_id)
}

/// Makes a resource. None of this waits; what has to become ready does so in [`settle`].
pub fn create(place: &Place<'_>, resource: &Resource) -> Made {
    let (id, p) = (resource.physical_id.as_str(), &resource.properties);
    let kind = types::find(&resource.kind).ok_or_else(|| not_implemented(&resource.kind))?;
    // Whoever makes such things without a stack may have been faster.
    if exists(place, kind, id, p) {
        return Err(already_exists(kind, id, p));
    }
    match kind.name {
        "AWS::S3::Bucket" => data::create_bucket(place, id, p),
        "AWS::Athena::NamedQuery" => data::create_named_query(place, id, p),
        "AWS::EC2::Instance" => compute::create_instance(place, id, p),
        "AWS::SNS::Subscription" => data::create_subscription(place, id, p),
        "AWS::CloudFormation::WaitConditionHandle" | "AWS::CloudFormation::WaitCondition" => {
            Ok(Map::new())
        }
        _ => set(place, resource),
    }
}

/// Waits until a resource that was made is ready; its attributes.
pub async fn settle(place: &Place<'_>, resource: &Resource, made: Map<String, Value>) -> Made {
    if resource.kind != "AWS::CloudFormation::WaitCondition" {
        return Ok(made);
    }
    let p = &resource.properties;
    let count = usize::try_from(number(&p["Count"], 1)).unwrap_or(usize::MAX);
    let limit = Duration::from_secs(number(&p["Timeout"], 300));
    place.cloud.services.cloudformation.work.signals.wait(text(p, "Handle"), count, limit).await
}

/// Types whose creation and change are the same: all of it is written.
fn set(place: &Place<'_>, resource: &Resource) -> Made {
    let (id, p) = (resource.physical_id.as_str(), &resource.properties);
    match resource.kind.as_str() {
        "AWS::S3::BucketPolicy" => data::set_bucket_policy(place, id, p),
        "AWS::Glue::Database" => data::set_database(place, id, p),
        "AWS::Glue::Table" => data::set_table(place, id, p),
        "AWS::Glue::Crawler" => data::set_crawler(place, id, p),
        "AWS::Glue::Job" => data::set_job(place, id, p),
        "AWS::Athena::WorkGroup" => data::set_work_group(place, id, p),
        "AWS::Logs::LogGroup" => data::set_log_group(place, id, p),
        "AWS::SNS::Topic" => data::set_topic(place, id, p),
        "AWS::CloudWatch::Alarm" => data::set_alarm(place, id, p),
        "AWS::IAM::Role" => compute::set_role(place, id, p),
        "AWS::IAM::InstanceProfile" => compute::set_profile(place, id, p),
        "AWS::Lambda::Function" => compute::set_function(place, id, p),
        "AWS::StepFunctions::StateMachine" => compute::set_state_machine(place, id, p),
        "AWS::Events::Rule" => compute::set_rule(place, id, p),
        "AWS::EC2::VPC"
        | "AWS::EC2::Subnet"
        | "AWS::EC2::RouteTable"
        | "AWS::EC2::SubnetRouteTableAssociation"
        | "AWS::EC2::VPCEndpoint"
        | "AWS::EC2::SecurityGroup" => network::set(place, &resource.kind, id, p),
        other => Err(not_implemented(other).into()),
    }
}

/// Changes a resource in place to its properties.
pub async fn update(place: &Place<'_>, resource: &Resource, old: &Value) -> Made {
    let (id, p) = (resource.physical_id.as_str(), &resource.properties);
    let made = match resource.kind.as_str() {
        "AWS::S3::Bucket" => data::configure_bucket(place, id, p),
        "AWS::EC2::Instance" => compute::tag_instance(place, id, p),
        "AWS::Athena::NamedQuery"
        | "AWS::SNS::Subscription"
        | "AWS::CloudFormation::WaitConditionHandle"
        | "AWS::CloudFormation::WaitCondition" => Err(Failure::Other(format!(
            "the embedded cloud cannot change a {} in place ({})",
            resource.kind,
            json!({ "from": old, "to": p })
        ))),
        _ => set(place, resource),
    }?;
    Ok(if made.is_empty() { resource.attributes.clone() } else { made })
}

/// Deletes a resource; one that is not there any more is deleted.
pub async fn delete(place: &Place<'_>, resource: &Resource) -> Result<(), String> {
    let (cloud, id) = (place.cloud, resource.physical_id.as_str());
    match resource.kind.as_str() {
        "AWS::S3::Bucket" => data::delete_bucket(place, id)?,
        "AWS::S3::BucketPolicy" => data::remove_bucket_policy(place, id)?,
        "AWS::Glue::Database" => glue::delete_database(cloud, id)?,
        "AWS::Glue::Table" => {
            glue::delete_table(cloud, text(&resource.properties, "DatabaseName"), id)?;
        }
        "AWS::Glue::Crawler" => {
            glue::crawlers::stop_and_delete(cloud, id).map_err(|e| e.to_string())?;
        }
        "AWS::Glue::Job" => drop(cloud.services.glue.jobs.remove(id)?),
        "AWS::Athena::WorkGroup" => drop(cloud.services.athena.work_groups.remove(id)?),
        "AWS::Athena::NamedQuery" => drop(cloud.services.athena.named_queries.remove(id)?),
        "AWS::EC2::Instance" => {
            crate::services::ec2::terminate(cloud, id).await.map_err(|e| e.to_string())?;
        }
        "AWS::IAM::Role" => drop(cloud.services.iam.roles.remove(id)?),
        "AWS::IAM::InstanceProfile" => drop(cloud.services.iam.profiles.remove(id)?),
        "AWS::Lambda::Function" => crate::services::lambda::delete(cloud, id)?,
        "AWS::Logs::LogGroup" => data::delete_log_group(place, id)?,
        "AWS::StepFunctions::StateMachine" => drop(cloud.services.states.machines.remove(id)?),
        "AWS::SNS::Topic" => drop(cloud.services.sns.topics.remove(id)?),
        "AWS::SNS::Subscription" => data::delete_subscription(place, id)?,
        "AWS::CloudWatch::Alarm" => drop(cloud.services.cloudwatch.alarms.remove(id)?),
        "AWS::Events::Rule" => compute::delete_rule(place, id)?,
        "AWS::EC2::VPC"
        | "AWS::EC2::Subnet"
        | "AWS::EC2::RouteTable"
        | "AWS::EC2::SubnetRouteTableAssociation"
        | "AWS::EC2::VPCEndpoint"
        | "AWS::EC2::SecurityGroup" => {
            crate::services::ec2::remove_network_part(cloud, &resource.kind, id).await?;
        }
        "AWS::CloudFormation::WaitConditionHandle" => {
            cloud.services.cloudformation.work.signals.forget(id)
        }
        "AWS::CloudFormation::WaitCondition" => {}
        other => return Err(not_implemented(other)),
    }
    Ok(())
}
