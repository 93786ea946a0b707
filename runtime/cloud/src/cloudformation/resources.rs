//! Resource types: which properties they take, and how they are made, changed and deleted.

mod compute;
mod data;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Resource;
use crate::cloud::{Cloud, short_id};

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
    /// A name for a resource that was given none: deterministic, so that a repeated creation finds it.
    fn name(&self) -> String {
        format!("{}-{}", self.stack_name, self.logical_id)
    }
}

/// Attributes of a resource, or why it failed.
pub type Made = Result<Map<String, Value>, String>;

/// A resource type.
struct Type {
    name: &'static str,
    /// Properties that it takes.
    properties: &'static [&'static str],
    /// Properties that it must have.
    required: &'static [&'static str],
    /// Properties whose change makes it anew.
    replacing: &'static [&'static str],
}

const TYPES: &[Type] = &[
    Type {
        name: "AWS::S3::Bucket",
        properties: &[
            "BucketName",
            "BucketEncryption",
            "PublicAccessBlockConfiguration",
            "OwnershipControls",
            "LifecycleConfiguration",
            "NotificationConfiguration",
            "Tags",
        ],
        required: &[],
        replacing: &["BucketName"],
    },
    Type {
        name: "AWS::S3::BucketPolicy",
        properties: &["Bucket", "PolicyDocument"],
        required: &["Bucket", "PolicyDocument"],
        replacing: &["Bucket"],
    },
    Type {
        name: "AWS::Glue::Database",
        properties: &["CatalogId", "DatabaseInput"],
        required: &["DatabaseInput"],
        replacing: &["CatalogId", "DatabaseInput"],
    },
    Type {
        name: "AWS::Glue::Table",
        properties: &["CatalogId", "DatabaseName", "TableInput"],
        required: &["DatabaseName", "TableInput"],
        replacing: &["CatalogId", "DatabaseName"],
    },
    Type {
        name: "AWS::Glue::Job",
        properties: &[
            "Name",
            "Description",
            "Role",
            "GlueVersion",
            "WorkerType",
            "NumberOfWorkers",
            "Timeout",
            "MaxRetries",
            "ExecutionProperty",
            "Command",
            "DefaultArguments",
            "Tags",
        ],
        required: &["Role", "Command"],
        replacing: &["Name"],
    },
    Type {
        name: "AWS::Athena::WorkGroup",
        properties: &[
            "Name",
            "Description",
            "RecursiveDeleteOption",
            "WorkGroupConfiguration",
            "State",
            "Tags",
        ],
        required: &["Name"],
        replacing: &["Name"],
    },
    Type {
        name: "AWS::Athena::NamedQuery",
        properties: &["Name", "Description", "Database", "WorkGroup", "QueryString"],
        required: &["Database", "QueryString"],
        replacing: &["Name", "Description", "Database", "WorkGroup", "QueryString"],
    },
    Type {
        name: "AWS::EC2::VPC",
        properties: &["CidrBlock", "EnableDnsSupport", "EnableDnsHostnames", "Tags"],
        required: &["CidrBlock"],
        replacing: &["CidrBlock"],
    },
    Type {
        name: "AWS::EC2::Subnet",
        properties: &[
            "VpcId",
            "CidrBlock",
            "AvailabilityZone",
            "AvailabilityZoneId",
            "MapPublicIpOnLaunch",
            "Tags",
        ],
        required: &["VpcId", "CidrBlock"],
        replacing: &["VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId"],
    },
    Type {
        name: "AWS::EC2::RouteTable",
        properties: &["VpcId", "Tags"],
        required: &["VpcId"],
        replacing: &["VpcId"],
    },
    Type {
        name: "AWS::EC2::SubnetRouteTableAssociation",
        properties: &["SubnetId", "RouteTableId"],
        required: &["SubnetId", "RouteTableId"],
        replacing: &["SubnetId", "RouteTableId"],
    },
    Type {
        name: "AWS::EC2::VPCEndpoint",
        properties: &["VpcId", "VpcEndpointType", "ServiceName", "RouteTableIds", "PolicyDocument"],
        required: &["VpcId"],
        replacing: &["VpcId", "VpcEndpointType", "ServiceName"],
    },
    Type {
        name: "AWS::EC2::SecurityGroup",
        properties: &[
            "GroupDescription",
            "VpcId",
            "SecurityGroupIngress",
            "SecurityGroupEgress",
            "Tags",
        ],
        required: &["GroupDescription"],
        replacing: &["GroupDescription", "VpcId"],
    },
    Type {
        name: "AWS::EC2::Instance",
        properties: &[
            "ImageId",
            "InstanceType",
            "IamInstanceProfile",
            "SubnetId",
            "SecurityGroupIds",
            "MetadataOptions",
            "BlockDeviceMappings",
            "CreditSpecification",
            "UserData",
            "Tags",
        ],
        required: &["ImageId"],
        replacing: &[
            "ImageId",
            "InstanceType",
            "IamInstanceProfile",
            "SubnetId",
            "SecurityGroupIds",
            "MetadataOptions",
            "BlockDeviceMappings",
            "UserData",
        ],
    },
    Type {
        name: "AWS::IAM::Role",
        properties: &["RoleName", "AssumeRolePolicyDocument", "Policies", "Description", "Tags"],
        required: &["AssumeRolePolicyDocument"],
        replacing: &["RoleName"],
    },
    Type {
        name: "AWS::IAM::InstanceProfile",
        properties: &["InstanceProfileName", "Roles"],
        required: &["Roles"],
        replacing: &["InstanceProfileName"],
    },
    Type {
        name: "AWS::Lambda::Function",
        properties: &[
            "FunctionName",
            "Description",
            "Runtime",
            "Handler",
            "Architectures",
            "MemorySize",
            "Timeout",
            "Role",
            "Code",
            "Environment",
            "LoggingConfig",
            "VpcConfig",
            "Tags",
        ],
        required: &["Role", "Code"],
        replacing: &["FunctionName"],
    },
    Type {
        name: "AWS::Logs::LogGroup",
        properties: &["LogGroupName", "RetentionInDays", "Tags"],
        required: &[],
        replacing: &["LogGroupName"],
    },
    Type {
        name: "AWS::StepFunctions::StateMachine",
        properties: &[
            "StateMachineName",
            "StateMachineType",
            "RoleArn",
            "DefinitionSubstitutions",
            "DefinitionString",
            "Tags",
        ],
        required: &["RoleArn", "DefinitionString"],
        replacing: &["StateMachineName", "StateMachineType"],
    },
    Type {
        name: "AWS::SNS::Topic",
        properties: &["TopicName", "DisplayName", "Tags"],
        required: &[],
        replacing: &["TopicName"],
    },
    Type {
        name: "AWS::SNS::Subscription",
        properties: &["TopicArn", "Protocol", "Endpoint"],
        required: &["TopicArn", "Protocol"],
        replacing: &["TopicArn", "Protocol", "Endpoint"],
    },
    Type {
        name: "AWS::CloudWatch::Alarm",
        properties: &[
            "AlarmName",
            "AlarmDescription",
            "Namespace",
            "MetricName",
            "Dimensions",
            "Statistic",
            "Period",
            "EvaluationPeriods",
            "Threshold",
            "ComparisonOperator",
            "TreatMissingData",
            "AlarmActions",
        ],
        required: &["ComparisonOperator", "EvaluationPeriods"],
        replacing: &["AlarmName"],
    },
    Type {
        name: "AWS::Events::Rule",
        properties: &[
            "Name",
            "Description",
            "ScheduleExpression",
            "EventPattern",
            "State",
            "Targets",
        ],
        required: &[],
        replacing: &["Name"],
    },
    Type {
        name: "AWS::CloudFormation::WaitConditionHandle",
        properties: &[],
        required: &[],
        replacing: &[],
    },
    Type {
        name: "AWS::CloudFormation::WaitCondition",
        properties: &["Handle", "Timeout", "Count"],
        required: &[],
        replacing: &["Handle", "Timeout", "Count"],
    },
];

fn find(kind: &str) -> Option<&'static Type> {
    TYPES.iter().find(|t| t.name == kind)
}

/// Checks a declaration: everything in it must be implemented.
pub fn check(id: &str, declaration: &Value) -> Result<(), String> {
    let fields = declaration
        .as_object()
        .ok_or_else(|| format!("Template format error: the resource {id} is not an object"))?;
    let known = [
        "Type",
        "Properties",
        "DependsOn",
        "Condition",
        "DeletionPolicy",
        "UpdateReplacePolicy",
        "Metadata",
    ];
    if let Some(other) = fields.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(format!("{id}: the embedded cloud does not implement the attribute {other}"));
    }
    let kind = declaration["Type"].as_str().unwrap_or_default();
    let Some(kind) = find(kind) else {
        return Err(format!(
            "{id}: the embedded cloud does not implement the resource type {kind}"
        ));
    };
    let empty = Map::new();
    let properties = declaration["Properties"].as_object().unwrap_or(&empty);
    if let Some(other) = properties.keys().find(|p| !kind.properties.contains(&p.as_str())) {
        return Err(format!(
            "{id}: the embedded cloud does not implement the property {other} of {}",
            kind.name
        ));
    }
    match kind.required.iter().find(|r| !properties.contains_key(**r)) {
        Some(missing) => Err(format!("{id}: {} needs the property {missing}", kind.name)),
        None => Ok(()),
    }
}

/// Whether a change of `property` makes a resource anew.
pub fn replaces(kind: &str, property: &str) -> bool {
    find(kind).is_none_or(|t| t.replacing.contains(&property))
}

/// The text of a property.
fn text<'a>(properties: &'a Value, name: &str) -> &'a str {
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
pub fn physical_id(place: &Place<'_>, kind: &str, properties: &Value) -> String {
    let config = &place.cloud.config;
    let named = |property: &str| match text(properties, property) {
        "" => place.name(),
        name => name.to_owned(),
    };
    match kind {
        "AWS::S3::Bucket" => named("BucketName").to_lowercase(),
        "AWS::S3::BucketPolicy" => text(properties, "Bucket").to_owned(),
        "AWS::Glue::Database" => text(&properties["DatabaseInput"], "Name").to_owned(),
        "AWS::Glue::Table" => text(&properties["TableInput"], "Name").to_owned(),
        "AWS::Glue::Job" | "AWS::Athena::WorkGroup" | "AWS::Events::Rule" => named("Name"),
        "AWS::Athena::NamedQuery" => uuid::Uuid::new_v4().to_string(),
        "AWS::EC2::VPC" => short_id("vpc"),
        "AWS::EC2::Subnet" => short_id("subnet"),
        "AWS::EC2::RouteTable" => short_id("rtb"),
        "AWS::EC2::SubnetRouteTableAssociation" => short_id("rtbassoc"),
        "AWS::EC2::VPCEndpoint" => short_id("vpce"),
        "AWS::EC2::SecurityGroup" => short_id("sg"),
        "AWS::EC2::Instance" => short_id("i"),
        "AWS::IAM::Role" => named("RoleName"),
        "AWS::IAM::InstanceProfile" => named("InstanceProfileName"),
        "AWS::Lambda::Function" => named("FunctionName"),
        "AWS::Logs::LogGroup" => named("LogGroupName"),
        "AWS::StepFunctions::StateMachine" => {
            config.arn("states", &format!("stateMachine:{}", named("StateMachineName")))
        }
        "AWS::SNS::Topic" => config.arn("sns", &named("TopicName")),
        "AWS::SNS::Subscription" => {
            format!("{}:{}", text(properties, "TopicArn"), uuid::Uuid::new_v4())
        }
        "AWS::CloudWatch::Alarm" => named("AlarmName"),
        "AWS::CloudFormation::WaitConditionHandle" => {
            format!("{}/_steppe/wait/{}", config.endpoint(), uuid::Uuid::new_v4().simple())
        }
        _ => format!("{}/{}", place.stack_id, place.logical_id),
    }
}

/// Makes a resource.
pub async fn create(place: &Place<'_>, resource: &Resource) -> Made {
    let (id, p) = (resource.physical_id.as_str(), &resource.properties);
    match resource.kind.as_str() {
        "AWS::S3::Bucket" => data::create_bucket(place, id, p),
        "AWS::S3::BucketPolicy" => data::set_bucket_policy(place, id, p),
        "AWS::Glue::Database" => data::set_database(place, id, p, true),
        "AWS::Glue::Table" => data::set_table(place, id, p, true),
        "AWS::Glue::Job" => data::set_job(place, id, p, true),
        "AWS::Athena::WorkGroup" => data::set_work_group(place, id, p, true),
        "AWS::Athena::NamedQuery" => data::create_named_query(place, id, p),
        "AWS::EC2::Instance" => compute::create_instance(place, id, p),
        kind if kind.starts_with("AWS::EC2::") => compute::set_infrastructure(place, kind, id, p),
        "AWS::IAM::Role" => compute::set_role(place, id, p, true),
        "AWS::IAM::InstanceProfile" => compute::set_profile(place, id, p, true),
        "AWS::Lambda::Function" => compute::set_function(place, id, p, true),
        "AWS::Logs::LogGroup" => data::set_log_group(place, id, p, true),
        "AWS::StepFunctions::StateMachine" => compute::set_state_machine(place, id, p, true),
        "AWS::SNS::Topic" => data::set_topic(place, id, p, true),
        "AWS::SNS::Subscription" => data::create_subscription(place, id, p),
        "AWS::CloudWatch::Alarm" => data::set_alarm(place, id, p, true),
        "AWS::Events::Rule" => compute::set_rule(place, id, p, true),
        "AWS::CloudFormation::WaitConditionHandle" => Ok(Map::new()),
        "AWS::CloudFormation::WaitCondition" => compute::wait(place, p).await,
        other => Err(format!("the embedded cloud does not implement the resource type {other}")),
    }
}

/// Changes a resource in place to its properties.
pub async fn update(place: &Place<'_>, resource: &Resource, old: &Value) -> Made {
    let (id, p) = (resource.physical_id.as_str(), &resource.properties);
    let made = match resource.kind.as_str() {
        "AWS::S3::Bucket" => data::configure_bucket(place, id, p),
        "AWS::S3::BucketPolicy" => data::set_bucket_policy(place, id, p),
        "AWS::Glue::Table" => data::set_table(place, id, p, false),
        "AWS::Glue::Job" => data::set_job(place, id, p, false),
        "AWS::Athena::WorkGroup" => data::set_work_group(place, id, p, false),
        "AWS::EC2::Instance" => compute::tag_instance(place, id, p),
        kind if kind.starts_with("AWS::EC2::") => compute::set_infrastructure(place, kind, id, p),
        "AWS::IAM::Role" => compute::set_role(place, id, p, false),
        "AWS::IAM::InstanceProfile" => compute::set_profile(place, id, p, false),
        "AWS::Lambda::Function" => compute::set_function(place, id, p, false),
        "AWS::Logs::LogGroup" => data::set_log_group(place, id, p, false),
        "AWS::StepFunctions::StateMachine" => compute::set_state_machine(place, id, p, false),
        "AWS::SNS::Topic" => data::set_topic(place, id, p, false),
        "AWS::CloudWatch::Alarm" => data::set_alarm(place, id, p, false),
        "AWS::Events::Rule" => compute::set_rule(place, id, p, false),
        other => Err(format!(
            "the embedded cloud cannot change a {other} in place ({})",
            json!({ "from": old, "to": p })
        )),
    }?;
    Ok(if made.is_empty() { resource.attributes.clone() } else { made })
}

/// Deletes a resource; one that is not there any more is deleted.
pub async fn delete(place: &Place<'_>, resource: &Resource) -> Result<(), String> {
    let (cloud, id) = (place.cloud, resource.physical_id.as_str());
    match resource.kind.as_str() {
        "AWS::S3::Bucket" => return data::delete_bucket(place, id),
        "AWS::S3::BucketPolicy" => data::remove_bucket_policy(place, id),
        "AWS::Glue::Database" => drop(cloud.databases.remove(id)?),
        "AWS::Glue::Table" => drop(
            cloud
                .glue_tables
                .remove(&format!("{}.{id}", text(&resource.properties, "DatabaseName")))?,
        ),
        "AWS::Glue::Job" => drop(cloud.jobs.remove(id)?),
        "AWS::Athena::WorkGroup" => drop(cloud.work_groups.remove(id)?),
        "AWS::Athena::NamedQuery" => drop(cloud.named_queries.remove(id)?),
        "AWS::EC2::Instance" => {
            return crate::services::ec2::terminate(cloud, id).await.map_err(|e| e.to_string());
        }
        "AWS::IAM::Role" => drop(cloud.roles.remove(id)?),
        "AWS::IAM::InstanceProfile" => drop(cloud.profiles.remove(id)?),
        "AWS::Lambda::Function" => compute::delete_function(place, id)?,
        "AWS::Logs::LogGroup" => data::delete_log_group(place, id)?,
        "AWS::StepFunctions::StateMachine" => drop(cloud.state_machines.remove(id)?),
        "AWS::SNS::Topic" => drop(cloud.topics.remove(id)?),
        "AWS::SNS::Subscription" => data::delete_subscription(place, id)?,
        "AWS::CloudWatch::Alarm" => drop(cloud.alarms.remove(id)?),
        "AWS::Events::Rule" => compute::delete_rule(place, id)?,
        kind if kind.starts_with("AWS::EC2::") => drop(cloud.infrastructure.remove(id)?),
        _ => {}
    }
    Ok(())
}

/// Refuses to make what is there already under that name.
fn must_be_new(exists: bool, what: &str, id: &str) -> Result<(), String> {
    if exists { Err(format!("{what} {id} already exists")) } else { Ok(()) }
}
