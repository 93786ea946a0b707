//! EC2: instances that run their real user data, each in a directory of its own and on a loopback
//! address of its own.
//!
//! Differences from AWS: an instance is a process group and not a machine; its private address lies
//! in 127.0.0.0/8; networks, routes and security groups are kept and reported, but filter nothing.

mod machine;
mod metadata;
mod unit;

use std::net::Ipv4Addr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use machine::{launch, resume_all, stop_all, systemctl, terminate};
pub use metadata::answer as metadata;

use crate::cloud::{Cloud, iso};
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;

/// An instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Instance {
    /// Image.
    pub image: String,
    /// Type.
    pub instance_type: String,
    /// Instance profile.
    pub profile: String,
    /// Subnet.
    pub subnet: String,
    /// Private address.
    pub address: Ipv4Addr,
    /// Secret of its metadata service and tools.
    pub token: String,
    /// Tags.
    pub tags: Value,
    /// When it was launched.
    pub launched: Timestamp,
    /// Units that run.
    pub units: Vec<String>,
}

/// An address that no other instance has. It carries the port, so that two clouds on one machine
/// do not share addresses either.
pub fn free_address(cloud: &Cloud) -> Option<Ipv4Addr> {
    let [high, low] = cloud.config.port.to_be_bytes();
    let used: Vec<Ipv4Addr> = cloud.instances.all().iter().map(|(_, i)| i.address).collect();
    (10..250).map(|n| Ipv4Addr::new(127, high, low, n)).find(|a| !used.contains(a))
}

/// API of EC2.
pub fn handle(cloud: &Cloud, caller: &Caller, operation: &str, params: &Value) -> ApiResult {
    let action = format!("ec2:{operation}");
    match operation {
        "DescribeInstances" => {
            cloud.authorize(caller, &action, &cloud.config.arn("ec2", "instance/*"), &[])?;
            let filter = Filter::new(params, "InstanceId")?;
            let instances = cloud.instances.all();
            let chosen = instances.iter().filter(|(id, i)| filter.admits(id, &i.tags));
            let reservations: Vec<Value> = chosen
                .map(|(id, i)| json!({ "reservationId": "r-embedded", "ownerId": cloud.config.account, "instancesSet": [describe(id, i)] }))
                .collect();
            Ok(json!({ "reservationSet": reservations }))
        }
        "DescribeVpcs" => {
            cloud.authorize(caller, &action, &cloud.config.arn("ec2", "vpc/*"), &[])?;
            let filter = Filter::new(params, "VpcId")?;
            let infrastructure = cloud.infrastructure.all();
            let vpcs = infrastructure
                .iter()
                .filter(|(id, v)| v["Type"] == "AWS::EC2::VPC" && filter.admits(id, &v["Tags"]));
            let set: Vec<Value> = vpcs
                .map(|(id, v)| json!({ "vpcId": id, "state": "available", "cidrBlock": v["CidrBlock"], "tagSet": tag_set(&v["Tags"]) }))
                .collect();
            Ok(json!({ "vpcSet": set }))
        }
        "GetConsoleOutput" => {
            let id = crate::services::required(params, "InstanceId")?;
            cloud.authorize(
                caller,
                &action,
                &cloud.config.arn("ec2", &format!("instance/{id}")),
                &[],
            )?;
            let instance = cloud.instances.get(id).ok_or_else(|| unknown(id))?;
            use base64::Engine;
            let tail = machine::console(cloud, id, CONSOLE_BYTES_MAX);
            Ok(
                json!({ "instanceId": id, "timestamp": iso(instance.launched), "output": base64::engine::general_purpose::STANDARD.encode(tail) }),
            )
        }
        other => Err(ApiError::unknown_operation("ec2", other)),
    }
}

/// AWS keeps the last 64 kB of a console.
const CONSOLE_BYTES_MAX: usize = 64 * 1024;

fn unknown(id: &str) -> ApiError {
    ApiError::new("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
}

fn tag_set(tags: &Value) -> Vec<Value> {
    tags.as_array()
        .into_iter()
        .flatten()
        .map(|t| json!({ "key": t["Key"], "value": t["Value"] }))
        .collect()
}

fn describe(id: &str, instance: &Instance) -> Value {
    json!({
        "instanceId": id, "imageId": instance.image, "instanceType": instance.instance_type, "launchTime": iso(instance.launched),
        "privateIpAddress": instance.address.to_string(), "subnetId": instance.subnet, "instanceState": { "code": 16, "name": "running" },
        "tagSet": tag_set(&instance.tags),
    })
}

/// IDs and filters by tag; any other filter is an error.
struct Filter {
    ids: Vec<String>,
    tags: Vec<(String, Vec<String>)>,
    running: bool,
}

impl Filter {
    fn new(params: &Value, id_parameter: &str) -> ApiResult<Self> {
        let texts = |v: &Value| {
            v.as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (mut tags, mut running) = (Vec::new(), true);
        for filter in params["Filter"].as_array().into_iter().flatten() {
            let name = filter["Name"].as_str().unwrap_or_default();
            match name.strip_prefix("tag:") {
                Some(tag) => tags.push((tag.to_owned(), texts(&filter["Value"]))),
                // Instances here run or do not exist.
                None if name == "instance-state-name" => {
                    running &= texts(&filter["Value"]).iter().any(|v| v == "running")
                }
                None => {
                    return Err(ApiError::new(
                        "InvalidParameterValue",
                        format!("The embedded cloud does not filter by `{name}`."),
                    ));
                }
            }
        }
        Ok(Self { ids: texts(&params[id_parameter]), tags, running })
    }

    fn admits(&self, id: &str, tags: &Value) -> bool {
        let has = |(key, values): &(String, Vec<String>)| {
            tags.as_array()
                .into_iter()
                .flatten()
                .any(|t| t["Key"] == *key && values.iter().any(|v| t["Value"] == *v))
        };
        self.running
            && (self.ids.is_empty() || self.ids.iter().any(|i| i == id))
            && self.tags.iter().all(has)
    }
}

/// The role of an instance, through its profile.
pub fn role_of(cloud: &Cloud, instance: &Instance) -> Option<Arc<String>> {
    cloud.profiles.get(&instance.profile)
}
