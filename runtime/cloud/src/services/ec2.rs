//! EC2: instances that run their real user data, each in a directory of its own and on a loopback
//! address of its own.
//!
//! Differences from AWS: an instance is a process group and not a machine, so user data sees the
//! machine's files and processes; its private address lies in 127.0.0.0/8; networks, routes and
//! security groups are kept and reported, but filter nothing. An image decides the architecture
//! only. A service has 5 seconds to end (systemd: 90). Of a journal, lines that also go to the
//! console and lines that do not are kept apart, so `journalctl` shows them one after the other.

pub mod checks;
mod filter;
mod images;
pub mod instance_tools;
mod machine;
mod metadata;
mod network;
mod resources;
mod service;
mod unit;
mod zones;

use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use images::{Image, find as find_image, newest as newest_image};
pub use machine::{Machines, resume_all, stop_all, systemctl, terminate, with_token};
pub use metadata::{INSTANCE as INSTANCE_HEADER, answer as metadata};
pub use network::{
    Attached, attach, check_attachment, detach, remove as remove_network_part,
    resume as resume_interfaces, zone_named,
};
pub use unit::service_name;
pub use zones::{Zone, find as find_zone, zones};

use self::filter::{Candidate, Filter, page};
use crate::kernel::cloud::Opening;
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::faults::Boot;
use crate::kernel::service::{Call, Service};
use crate::kernel::store::Table;
use crate::{model, op};
use anyhow::Result;

/// What EC2 has.
#[derive(Debug)]
pub struct State {
    /// Instances by ID.
    pub instances: Table<Instance>,
    /// What runs in them.
    pub machines: Machines,
    /// Parts of networks, which have no behaviour here, by ID.
    pub network: Table<Value>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            instances: opening.table("instances"),
            machines: Machines::default(),
            network: opening.table("infrastructure"),
        })
    }
}

/// Bytes of user data.
const USER_DATA_BYTES_MAX: usize = 16 * 1024;
/// The type of an instance that names none.
const DEFAULT_TYPE: &str = "m1.small";

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
    /// Security groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Availability zone.
    #[serde(default)]
    pub zone: String,
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
    /// Since when its status check fails.
    #[serde(default)]
    pub impaired: Option<Timestamp>,
}

/// An address that no other instance has. It carries the port, so that two clouds on one machine
/// do not share addresses either.
fn free_address(cloud: &Cloud) -> Option<Ipv4Addr> {
    let [high, low] = cloud.config.port.to_be_bytes();
    let used: Vec<Ipv4Addr> =
        cloud.services.ec2.instances.all().iter().map(|(_, i)| i.address).collect();
    (10..250).map(|n| Ipv4Addr::new(127, high, low, n)).find(|a| !used.contains(a))
}

/// Makes an instance of the properties that CloudFormation's `AWS::EC2::Instance` has.
pub fn launch(cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Result<Instance, String> {
    let text = |name: &str| properties[name].as_str().unwrap_or_default().to_owned();
    let user_data =
        BASE64.decode(text("UserData")).map_err(|e| format!("the user data is not base64: {e}"))?;
    let user_data =
        String::from_utf8(user_data).map_err(|_| "the user data is not text".to_owned())?;
    if user_data.len() > USER_DATA_BYTES_MAX {
        return Err(format!(
            "User data is limited to {USER_DATA_BYTES_MAX} bytes, this is {}",
            user_data.len()
        ));
    }
    let instance_type = Some(text("InstanceType")).filter(|t| !t.is_empty());
    let zone = network::zone_of(cloud, &text("SubnetId"))?;
    if let Some(kind) = &instance_type {
        zones::architecture(kind).ok_or_else(|| {
            format!("Invalid value '{kind}' for InstanceType: the embedded cloud does not know it.")
        })?;
        zones::check_offered(cloud, &zone, kind)?;
        images::check_architecture(cloud, &text("ImageId"), kind)?;
    }
    let boot = cloud.faults.boot();
    let groups = properties["SecurityGroupIds"].as_array().into_iter().flatten();
    let instance = Instance {
        image: text("ImageId"),
        instance_type: instance_type.unwrap_or_else(|| DEFAULT_TYPE.to_owned()),
        profile: text("IamInstanceProfile"),
        subnet: text("SubnetId"),
        groups: groups.filter_map(Value::as_str).map(str::to_owned).collect(),
        zone: zone.name,
        address: free_address(cloud).ok_or("there is no free address")?,
        token: uuid::Uuid::new_v4().simple().to_string(),
        tags: properties["Tags"].clone(),
        launched: Timestamp::now(),
        units: vec![],
        impaired: (boot == Some(Boot::Checks)).then(|| cloud.clock.now()),
    };
    if boot == Some(Boot::Launch) {
        cloud.services.ec2.machines.list_as_gone(id, Arc::new(instance));
        return Err(format!(
            "Instance {id} failed to stabilize. Current state: terminated. Reason: \
             Server.InternalError: Internal error on launch"
        ));
    }
    // A machine without its user data.
    let user_data = if boot == Some(Boot::UserData) { "" } else { &user_data };
    machine::launch(cloud, id, instance.clone(), user_data)
        .map_err(|e| format!("the instance cannot be launched: {e}"))?;
    Ok(instance)
}

/// API of EC2.
pub static SERVICE: Service = Service {
    invalid: "InvalidParameterValue",
    types: resources::TYPES,
    ..Service::new(
        "ec2",
        model!("ec2"),
        &[
            op!(DescribeInstances(InstanceIds, Filters, MaxResults, NextToken) => describe_instances),
            op!(DescribeInstanceStatus(
                InstanceIds, Filters, MaxResults, NextToken, IncludeAllInstances
            ) => checks::describe),
            op!(GetConsoleOutput(InstanceId, Latest) => console_output),
            op!(DescribeAvailabilityZones(ZoneNames, ZoneIds, Filters) => zones::describe),
            op!(DescribeInstanceTypeOfferings(LocationType, Filters, MaxResults, NextToken)
            => zones::describe_offerings),
            op!(DescribePrefixLists(PrefixListIds, Filters, MaxResults)
            => zones::describe_prefix_lists),
            op!(DescribeImages(ImageIds, Owners, Filters, MaxResults, NextToken) => images::describe),
            op!(DescribeNetworkInterfaces(NetworkInterfaceIds, Filters, MaxResults, NextToken)
            => network::describe_interfaces),
            op!(DeleteNetworkInterface(NetworkInterfaceId) => network::delete_interface),
            op!(DescribeVpcs(VpcIds, Filters, MaxResults, NextToken) => network::describe_parts),
            op!(DescribeSubnets(SubnetIds, Filters, MaxResults, NextToken) => network::describe_parts),
            op!(DescribeSecurityGroups(GroupIds, Filters, MaxResults, NextToken)
            => network::describe_parts),
        ],
    )
};

/// State of an instance in AWS's numbers and words.
#[derive(Debug, Clone, Copy)]
enum InstanceState {
    Running,
    ShuttingDown,
    Terminated,
}

impl InstanceState {
    fn code(self) -> u8 {
        match self {
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }
}

/// All instances that are listed, with their states.
fn listed(cloud: &Cloud) -> Vec<(String, Arc<Instance>, InstanceState)> {
    let machines = &cloud.services.ec2.machines;
    let state = |id: &str| match machines.is_leaving(id) {
        true => InstanceState::ShuttingDown,
        false => InstanceState::Running,
    };
    let all = cloud.services.ec2.instances.all().into_iter();
    let there = all.map(|(id, instance)| {
        let state = state(&id);
        (id, instance, state)
    });
    let gone = machines.gone().into_iter();
    there.chain(gone.map(|(id, instance)| (id, instance, InstanceState::Terminated))).collect()
}

fn describe_instances(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let names = [
        "instance-state-name",
        "instance-id",
        "instance-type",
        "image-id",
        "subnet-id",
        "private-ip-address",
        "availability-zone",
    ];
    let filter = Filter::new(params, "InstanceIds", &names)?;
    let all = listed(cloud);
    if let Some(id) = filter.missing(|id| all.iter().any(|(other, _, _)| other == id)) {
        return Err(unknown(id));
    }
    let chosen = all.iter().filter(|(id, i, state)| {
        let address = i.address.to_string();
        let fields = [
            ("instance-state-name", state.word()),
            ("instance-id", id),
            ("instance-type", &i.instance_type),
            ("image-id", &i.image),
            ("subnet-id", &i.subnet),
            ("private-ip-address", &address),
            ("availability-zone", &i.zone),
        ];
        filter.admits(&Candidate { id, tags: &i.tags, fields: &fields })
    });
    let reservations = chosen.map(|(id, instance, state)| {
        json!({
            "ReservationId": format!("r-{}", id.trim_start_matches("i-")),
            "OwnerId": cloud.config.account, "Instances": [describe(id, instance, *state)],
        })
    });
    let (reservations, next) = page(reservations.collect(), params)?;
    Ok(json!({ "Reservations": reservations, "NextToken": next }))
}

fn describe(id: &str, instance: &Instance, state: InstanceState) -> Value {
    let groups = instance.groups.iter().map(|g| json!({ "GroupId": g, "GroupName": g }));
    let mut described = json!({
        "InstanceId": id, "ImageId": instance.image, "InstanceType": instance.instance_type,
        "LaunchTime": iso(instance.launched),
        "State": { "Code": state.code(), "Name": state.word() },
        "Placement": { "AvailabilityZone": instance.zone, "Tenancy": "default" },
        "Architecture": zones::architecture(&instance.instance_type),
        "Tags": tag_set(&instance.tags),
    });
    // What has no machine any more has no place in a network either.
    if !matches!(state, InstanceState::Terminated) {
        described["PrivateIpAddress"] = instance.address.to_string().into();
        described["SubnetId"] = instance.subnet.as_str().into();
        described["SecurityGroups"] = groups.collect();
    }
    described
}

fn console_output(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let id = call.required("InstanceId")?;
    let arn = cloud.config.arn("ec2", &format!("instance/{id}"));
    call.authorize(&arn)?;
    let instance = cloud.services.ec2.instances.get(id).ok_or_else(|| unknown(id))?;
    let (text, time) = if params["Latest"] == true {
        if !zones::is_nitro(&instance.instance_type) {
            let message = format!(
                "This instance type ({}) does not support retrieving the latest console logs",
                instance.instance_type
            );
            return Err(ApiError::new("UnsupportedOperation", message));
        }
        (Some(machine::console(cloud, id)), Timestamp::now())
    } else {
        match machine::posted_console(cloud, id) {
            Some((text, posted)) => (Some(text), posted),
            None => (None, instance.launched),
        }
    };
    let output = text.filter(|t| !t.is_empty()).map(|t| BASE64.encode(t));
    Ok(json!({ "InstanceId": id, "Timestamp": iso(time), "Output": output }))
}

fn unknown(id: &str) -> ApiError {
    ApiError::new("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
}

fn tag_set(tags: &Value) -> Vec<Value> {
    let tags = tags.as_array().into_iter().flatten();
    tags.map(|t| json!({ "Key": t["Key"], "Value": t["Value"] })).collect()
}

/// The role of an instance, through its profile.
fn role_of(cloud: &Cloud, instance: &Instance) -> Option<String> {
    cloud.services.iam.profiles.get(&instance.profile).map(|profile| profile.role.clone())
}
