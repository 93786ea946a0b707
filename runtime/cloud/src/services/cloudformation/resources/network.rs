//! Networks: kept and reported, without behaviour of their own.

use serde_json::{Value, json};

use super::{Made, Place, attributes};
use crate::services::ec2;

pub fn set(place: &Place<'_>, kind: &str, id: &str, p: &Value) -> Made {
    if let Some(policy) = p.get("PolicyDocument") {
        crate::kernel::iam::check_endpoint_policy(policy)?;
    }
    let cloud = place.cloud;
    let zone = match kind {
        "AWS::EC2::Subnet" => Some(ec2::zone_named(cloud, p)?.name),
        _ => None,
    };
    let mut record = p.clone();
    record["Type"] = kind.into();
    cloud.services.ec2.network.put(id, record)?;
    Ok(attributes(match kind {
        "AWS::EC2::SecurityGroup" => json!({ "GroupId": id, "Id": id, "VpcId": p["VpcId"] }),
        "AWS::EC2::VPC" => json!({ "VpcId": id, "CidrBlock": p["CidrBlock"] }),
        "AWS::EC2::Subnet" => json!({
            "SubnetId": id, "VpcId": p["VpcId"], "AvailabilityZone": zone,
            "CidrBlock": p["CidrBlock"],
        }),
        "AWS::EC2::RouteTable" => json!({ "RouteTableId": id }),
        _ => json!({ "Id": id }),
    }))
}
