//! Networks: what is in them, and what cannot be deleted because something still uses it.
//!
//! Functions that are attached to a network have interfaces there, one for each subnet and set of
//! security groups, as in AWS. Lambda removes an interface some time after its last function is
//! gone, with that function's role; when the role is gone by then, the interface stays `available`
//! and blocks its subnet and groups until somebody deletes it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::filter::{Candidate, Filter, page};
use super::{tag_set, zones};
use crate::kernel::cloud::{Cloud, short_id};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// How long Lambda takes to remove an interface. In AWS it is up to 40 minutes.
const RELEASE_AFTER: Duration = Duration::from_millis(200);
/// How long a deletion waits for interfaces that are being removed.
const RELEASE_LIMIT: Duration = Duration::from_secs(10);
/// The type of interfaces among the records.
const INTERFACE: &str = "AWS::EC2::NetworkInterface";
/// What Lambda needs before it attaches a function.
const NEEDED: [&str; 3] =
    ["CreateNetworkInterface", "DescribeNetworkInterfaces", "DeleteNetworkInterface"];

/// A function that is attached to a network, or was.
#[derive(Debug, Clone, Copy)]
pub struct Attached<'a> {
    /// Its name.
    pub function: &'a str,
    /// ARN of its role.
    pub role: &'a str,
}

fn interfaces(cloud: &Cloud) -> Vec<(String, Arc<Value>)> {
    cloud.services.ec2.network.all().into_iter().filter(|(_, r)| r["Type"] == INTERFACE).collect()
}

fn lists(list: &Value, text: &str) -> bool {
    list.as_array().into_iter().flatten().any(|v| v == text)
}

/// Checks what Lambda checks before it attaches a function to a network.
pub fn check_attachment(
    cloud: &Cloud,
    of: Attached<'_>,
    subnets: &[String],
    groups: &[String],
) -> Result<(), String> {
    for (ids, kind, word) in [
        (subnets, "AWS::EC2::Subnet", "subnet"),
        (groups, "AWS::EC2::SecurityGroup", "security group"),
    ] {
        let is_there =
            |id: &str| cloud.services.ec2.network.get(id).is_some_and(|r| r["Type"] == kind);
        if let Some(id) = ids.iter().find(|id| !is_there(id)) {
            return Err(format!("The {word} ID '{id}' does not exist"));
        }
    }
    for subnet in subnets {
        let zone = zone_of(cloud, subnet)?;
        if !zones::has_lambda(cloud, &zone)? {
            return Err(format!(
                "The provided subnets contain availability zone Lambda doesn't support: {}",
                zone.id
            ));
        }
    }
    let caller = cloud.assume(of.role, "lambda.amazonaws.com", of.function)?;
    // Lambda tries the actions on everything: a policy for interfaces only is not enough.
    for action in NEEDED {
        cloud.authorize(&caller, &format!("ec2:{action}"), "*", &[]).map_err(|_| {
            format!("The provided execution role does not have permissions to call {action} on EC2")
        })?;
    }
    Ok(())
}

/// Gives a function its interfaces.
pub fn attach(
    cloud: &Cloud,
    of: Attached<'_>,
    subnets: &[String],
    groups: &[String],
) -> Result<(), String> {
    let mut groups = groups.to_vec();
    groups.sort();
    for subnet in subnets {
        let shared = interfaces(cloud).into_iter().find(|(_, r)| {
            r["SubnetId"] == *subnet && r["Groups"] == json!(groups) && r["Status"] == "in-use"
        });
        if let Some((id, _)) = shared {
            cloud.services.ec2.network.update(&id, |r| {
                if !lists(&r["Functions"], of.function)
                    && let Some(functions) = r["Functions"].as_array_mut()
                {
                    functions.push(of.function.into());
                }
                r["ReleasedBy"] = Value::Null;
            })?;
            continue;
        }
        let record = json!({
            "Type": INTERFACE, "SubnetId": subnet, "Groups": groups, "Status": "in-use",
            "Description":
                format!("AWS Lambda VPC ENI-{}-{}", of.function, uuid::Uuid::new_v4()),
            "Functions": [of.function],
        });
        cloud.services.ec2.network.put(&short_id("eni"), record)?;
    }
    Ok(())
}

/// Takes a function's interfaces away; those that no other function has are removed after a while.
pub fn detach(cloud: &Arc<Cloud>, of: Attached<'_>) -> Result<(), String> {
    for (id, record) in interfaces(cloud) {
        if !lists(&record["Functions"], of.function) {
            continue;
        }
        cloud.services.ec2.network.update(&id, |r| {
            if let Some(functions) = r["Functions"].as_array_mut() {
                functions.retain(|f| f != of.function);
                if functions.is_empty() {
                    r["ReleasedBy"] = of.role.into();
                }
            }
        })?;
        release_later(cloud, &id);
    }
    Ok(())
}

/// Goes on with what an earlier process of this cloud was removing.
pub fn resume(cloud: &Arc<Cloud>) {
    for (id, record) in interfaces(cloud) {
        if record["ReleasedBy"].is_string() {
            release_later(cloud, &id);
        }
    }
}

fn release_later(cloud: &Arc<Cloud>, id: &str) {
    let (cloud, id) = (cloud.clone(), id.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(RELEASE_AFTER).await;
        release(&cloud, &id);
        cloud.services.ec2.machines.released.notify_waiters();
    });
}

/// Removes an interface as the role of its last function, or leaves it behind.
fn release(cloud: &Cloud, id: &str) {
    let Some(record) = cloud.services.ec2.network.get(id) else { return };
    // Another function may have taken it over.
    let Some(role) = record["ReleasedBy"].as_str() else { return };
    let removed = cloud
        .assume(role, "lambda.amazonaws.com", "AWSLambda")
        .and_then(|caller| {
            let arn = cloud.config.arn("ec2", &format!("network-interface/{id}"));
            let allowed = cloud.authorize(&caller, "ec2:DeleteNetworkInterface", &arn, &[]);
            allowed.map_err(|e| e.message)
        })
        .and_then(|()| Ok(cloud.services.ec2.network.remove(id)?));
    if let Err(reason) = removed {
        tracing::warn!("the interface {id} stays: {reason}");
        let left = |r: &mut Value| {
            r["Status"] = "available".into();
            r["ReleasedBy"] = Value::Null;
        };
        cloud.services.ec2.network.settle(id, left);
    }
}

/// Deletes a part of a network, unless something still uses it; the error has AWS's words.
pub async fn remove(cloud: &Cloud, kind: &str, id: &str) -> Result<(), String> {
    let waited = async {
        loop {
            // Asked for before the look, so that a release in between is not missed.
            let released = cloud.services.ec2.machines.released.notified();
            match dependency(cloud, kind, id) {
                Some(Dependency::Passing) => released.await,
                other => return other,
            }
        }
    };
    // What is still there at the end of the wait is a dependency like any other.
    let left =
        tokio::time::timeout(RELEASE_LIMIT, waited).await.unwrap_or(Some(Dependency::Lasting));
    if left.is_some() {
        let words = match kind {
            "AWS::EC2::Subnet" => {
                format!("The subnet '{id}' has dependencies and cannot be deleted.")
            }
            "AWS::EC2::SecurityGroup" => format!("resource {id} has a dependent object"),
            "AWS::EC2::VPC" => format!("The vpc '{id}' has dependencies and cannot be deleted."),
            _ => format!("The routeTable '{id}' has dependencies and cannot be deleted."),
        };
        return Err(format!("{words} (Service: Ec2, Status Code: 400)"));
    }
    cloud.services.ec2.network.remove(id)?;
    Ok(())
}

/// Why something cannot be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dependency {
    /// An interface that Lambda is removing.
    Passing,
    /// Anything else.
    Lasting,
}

fn dependency(cloud: &Cloud, kind: &str, id: &str) -> Option<Dependency> {
    let records = cloud.services.ec2.network.all();
    let mut dependencies = Vec::new();
    for (_, r) in records.iter().filter(|(other, _)| other != id) {
        let uses = match (kind, r["Type"].as_str().unwrap_or_default()) {
            ("AWS::EC2::Subnet", INTERFACE) => r["SubnetId"] == id,
            ("AWS::EC2::SecurityGroup", INTERFACE) => lists(&r["Groups"], id),
            ("AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroup") => names_group(r, id),
            ("AWS::EC2::VPC", _) => r["VpcId"] == id,
            ("AWS::EC2::RouteTable", "AWS::EC2::SubnetRouteTableAssociation") => {
                r["RouteTableId"] == id
            }
            _ => false,
        };
        if uses {
            let passing = r["ReleasedBy"].is_string();
            dependencies.push(if passing { Dependency::Passing } else { Dependency::Lasting });
        }
    }
    let instances = cloud.services.ec2.instances.all();
    let occupied = instances.iter().any(|(_, i)| match kind {
        "AWS::EC2::Subnet" => i.subnet == id,
        "AWS::EC2::SecurityGroup" => i.groups.iter().any(|g| g == id),
        _ => false,
    });
    dependencies.extend(occupied.then_some(Dependency::Lasting));
    // What passes is worth waiting for only when nothing else is in the way.
    dependencies.into_iter().max_by_key(|d| *d == Dependency::Lasting)
}

fn names_group(group: &Value, id: &str) -> bool {
    let rules = ["SecurityGroupIngress", "SecurityGroupEgress"];
    let mut rules = rules.iter().flat_map(|r| group[*r].as_array().into_iter().flatten());
    rules.any(|r| r["SourceSecurityGroupId"] == id || r["DestinationSecurityGroupId"] == id)
}

/// The zone of a subnet.
pub fn zone_of(cloud: &Cloud, subnet: &str) -> Result<zones::Zone, String> {
    let record = cloud.services.ec2.network.get(subnet);
    zone_named(cloud, record.as_deref().unwrap_or(&Value::Null))
}

/// The zone that a subnet's properties name; one that names none is in the first.
pub fn zone_named(cloud: &Cloud, properties: &Value) -> Result<zones::Zone, String> {
    let named = ["AvailabilityZone", "AvailabilityZoneId"];
    match named.iter().find_map(|name| properties[*name].as_str()) {
        Some(zone) => zones::find(cloud, zone),
        None => zones::zones(cloud)?.into_iter().next().ok_or("there is no zone".to_owned()),
    }
}

/// `DescribeNetworkInterfaces`.
pub fn describe_interfaces(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let names = [
        "description",
        "status",
        "subnet-id",
        "group-id",
        "vpc-id",
        "network-interface-id",
        "interface-type",
        "availability-zone",
        "owner-id",
    ];
    let filter = Filter::new(params, "NetworkInterfaceIds", &names)?;
    let all = interfaces(cloud);
    if let Some(id) = filter.missing(|id| all.iter().any(|(other, _)| other == id)) {
        return Err(unknown_interface(id));
    }
    let mut set = Vec::new();
    for (id, record) in &all {
        let field = |name: &str| record[name].as_str().unwrap_or_default();
        let vpc = vpc_of(cloud, field("SubnetId"));
        let zone = zone_of(cloud, field("SubnetId")).map_err(ApiError::internal)?;
        let mut fields = vec![
            ("description", field("Description")),
            ("status", field("Status")),
            ("subnet-id", field("SubnetId")),
            ("vpc-id", &vpc),
            ("network-interface-id", id),
            ("interface-type", "lambda"),
            ("availability-zone", &zone.name),
            ("owner-id", &cloud.config.account),
        ];
        let groups = record["Groups"].as_array().into_iter().flatten();
        fields.extend(groups.filter_map(Value::as_str).map(|g| ("group-id", g)));
        if filter.admits(&Candidate { id, tags: &Value::Null, fields: &fields }) {
            set.push(describe_interface(cloud, id, record, &vpc, &zone.name));
        }
    }
    let (set, next) = page(set, params)?;
    Ok(json!({ "NetworkInterfaces": set, "NextToken": next }))
}

fn vpc_of(cloud: &Cloud, subnet: &str) -> String {
    let record = cloud.services.ec2.network.get(subnet);
    record.and_then(|r| r["VpcId"].as_str().map(str::to_owned)).unwrap_or_default()
}

fn describe_interface(cloud: &Cloud, id: &str, record: &Value, vpc: &str, zone: &str) -> Value {
    let groups = record["Groups"].as_array().into_iter().flatten();
    let groups: Vec<Value> = groups.map(|g| json!({ "GroupId": g, "GroupName": g })).collect();
    let attachment = (record["Status"] == "in-use").then(|| {
        json!({
            "AttachmentId": format!("ela-attach-{}", id.trim_start_matches("eni-")),
            "DeleteOnTermination": false, "DeviceIndex": 1, "InstanceOwnerId": "amazon-aws",
            "Status": "attached",
        })
    });
    json!({
        "NetworkInterfaceId": id, "SubnetId": record["SubnetId"], "VpcId": vpc,
        "AvailabilityZone": zone, "Description": record["Description"],
        "OwnerId": cloud.config.account, "RequesterManaged": true, "Status": record["Status"],
        "InterfaceType": "lambda", "SourceDestCheck": true, "Groups": groups,
        "Attachment": attachment,
    })
}

fn unknown_interface(id: &str) -> ApiError {
    let message = format!("The networkInterface ID '{id}' does not exist");
    ApiError::new("InvalidNetworkInterfaceID.NotFound", message)
}

/// `DeleteNetworkInterface`.
pub fn delete_interface(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let id = call.required("NetworkInterfaceId")?;
    let arn = cloud.config.arn("ec2", &format!("network-interface/{id}"));
    call.authorize(&arn)?;
    let record = cloud.services.ec2.network.get(id).filter(|r| r["Type"] == INTERFACE);
    let record = record.ok_or_else(|| unknown_interface(id))?;
    if record["Status"] != "available" {
        let message = format!("Network interface '{id}' is currently in use.");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    cloud.services.ec2.network.remove(id)?;
    cloud.services.ec2.machines.released.notify_waiters();
    Ok(json!({}))
}

/// One of the parts of a network that are only described.
struct Part {
    operation: &'static str,
    kind: &'static str,
    id_parameter: &'static str,
    filters: &'static [(&'static str, &'static str)],
    set: &'static str,
    /// Code of the error for an ID that is not there, and how it calls the thing.
    missing: (&'static str, &'static str),
    describe: fn(&Cloud, &str, &Value) -> ApiResult,
}

const PARTS: [Part; 3] = [
    Part {
        operation: "DescribeVpcs",
        kind: "AWS::EC2::VPC",
        id_parameter: "VpcIds",
        filters: &[("cidr", "CidrBlock"), ("cidr-block", "CidrBlock")],
        set: "Vpcs",
        missing: ("InvalidVpcID.NotFound", "vpc ID"),
        describe: describe_vpc,
    },
    Part {
        operation: "DescribeSubnets",
        kind: "AWS::EC2::Subnet",
        id_parameter: "SubnetIds",
        filters: &[("vpc-id", "VpcId"), ("cidr-block", "CidrBlock")],
        set: "Subnets",
        missing: ("InvalidSubnetID.NotFound", "subnet ID"),
        describe: describe_subnet,
    },
    Part {
        operation: "DescribeSecurityGroups",
        kind: "AWS::EC2::SecurityGroup",
        id_parameter: "GroupIds",
        filters: &[("vpc-id", "VpcId"), ("description", "GroupDescription")],
        set: "SecurityGroups",
        missing: ("InvalidGroup.NotFound", "security group"),
        describe: describe_group,
    },
];

/// `DescribeVpcs`, `DescribeSubnets`, `DescribeSecurityGroups`.
pub fn describe_parts(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let part = PARTS.iter().find(|part| part.operation == call.operation);
    let part = part.ok_or_else(|| ApiError::unknown_operation("ec2", call.operation))?;
    call.authorize("*")?;
    let names: Vec<&str> = part.filters.iter().map(|(name, _)| *name).collect();
    let filter = Filter::new(params, part.id_parameter, &names)?;
    let mut all = cloud.services.ec2.network.all();
    all.retain(|(_, r)| r["Type"] == part.kind);
    if let Some(id) = filter.missing(|id| all.iter().any(|(other, _)| other == id)) {
        let (code, what) = part.missing;
        return Err(ApiError::new(code, format!("The {what} '{id}' does not exist")));
    }
    let mut set = Vec::new();
    for (id, record) in &all {
        let field = |(name, property): &(&'static str, &str)| {
            (*name, record[*property].as_str().unwrap_or_default())
        };
        let fields: Vec<(&str, &str)> = part.filters.iter().map(field).collect();
        if filter.admits(&Candidate { id, tags: &record["Tags"], fields: &fields }) {
            set.push((part.describe)(cloud, id, record)?);
        }
    }
    let (set, next) = page(set, params)?;
    Ok(json!({ part.set: set, "NextToken": next }))
}

fn describe_vpc(cloud: &Cloud, id: &str, record: &Value) -> ApiResult {
    Ok(json!({
        "VpcId": id, "State": "available", "CidrBlock": record["CidrBlock"],
        "OwnerId": cloud.config.account, "IsDefault": false, "InstanceTenancy": "default",
        "Tags": tag_set(&record["Tags"]),
    }))
}

fn describe_subnet(cloud: &Cloud, id: &str, record: &Value) -> ApiResult {
    let zone = zone_of(cloud, id).map_err(ApiError::internal)?;
    Ok(json!({
        "SubnetId": id, "VpcId": record["VpcId"], "CidrBlock": record["CidrBlock"],
        "State": "available", "AvailabilityZone": zone.name, "AvailabilityZoneId": zone.id,
        "OwnerId": cloud.config.account, "DefaultForAz": false,
        "MapPublicIpOnLaunch": record["MapPublicIpOnLaunch"] == true,
        "Tags": tag_set(&record["Tags"]),
    }))
}

fn describe_group(cloud: &Cloud, id: &str, record: &Value) -> ApiResult {
    let everything = json!([{ "IpProtocol": "-1", "CidrIp": "0.0.0.0/0" }]);
    // A group that says nothing about egress lets everything out.
    let egress = match &record["SecurityGroupEgress"] {
        Value::Null => &everything,
        rules => rules,
    };
    Ok(json!({
        "GroupId": id, "GroupName": id, "VpcId": record["VpcId"],
        "OwnerId": cloud.config.account, "Description": record["GroupDescription"],
        "IpPermissions": rules(cloud, &record["SecurityGroupIngress"]),
        "IpPermissionsEgress": rules(cloud, egress), "Tags": tag_set(&record["Tags"]),
    }))
}

fn rules(cloud: &Cloud, rules: &Value) -> Vec<Value> {
    let described = rules.as_array().into_iter().flatten().map(|rule| {
        let group = ["SourceSecurityGroupId", "DestinationSecurityGroupId"]
            .iter()
            .find_map(|name| rule[*name].as_str());
        let pairs = group.map(|g| {
            let account = &cloud.config.account;
            json!({ "GroupId": g, "UserId": account, "Description": rule["Description"] })
        });
        let ranges = rule["CidrIp"]
            .as_str()
            .map(|cidr| json!({ "CidrIp": cidr, "Description": rule["Description"] }));
        json!({
            "IpProtocol": rule["IpProtocol"], "FromPort": rule["FromPort"],
            "ToPort": rule["ToPort"], "UserIdGroupPairs": pairs.into_iter().collect::<Vec<_>>(),
            "IpRanges": ranges.into_iter().collect::<Vec<_>>(),
        })
    });
    described.collect()
}
