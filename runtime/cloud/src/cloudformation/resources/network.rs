//! Networks: kept and reported, without behaviour of their own. What others still use cannot be
//! deleted, as in AWS.

use serde_json::{Value, json};

use super::{Made, Place, attributes, text};

pub fn set(place: &Place<'_>, kind: &str, id: &str, p: &Value) -> Made {
    if let Some(policy) = p.get("PolicyDocument") {
        crate::iam::check_endpoint_policy(policy)?;
    }
    let mut record = p.clone();
    record["Type"] = kind.into();
    place.cloud.infrastructure.put(id, record)?;
    Ok(attributes(match kind {
        "AWS::EC2::SecurityGroup" => json!({ "GroupId": id, "Id": id, "VpcId": p["VpcId"] }),
        "AWS::EC2::VPC" => json!({ "VpcId": id, "CidrBlock": p["CidrBlock"] }),
        "AWS::EC2::Subnet" => json!({
            "SubnetId": id, "VpcId": p["VpcId"], "AvailabilityZone": p["AvailabilityZone"],
            "CidrBlock": p["CidrBlock"],
        }),
        "AWS::EC2::RouteTable" => json!({ "RouteTableId": id }),
        _ => json!({ "Id": id }),
    }))
}

pub fn delete(place: &Place<'_>, kind: &str, id: &str) -> Result<(), String> {
    if is_used(place, kind, id) {
        let what = match kind {
            "AWS::EC2::VPC" => format!("The vpc '{id}'"),
            "AWS::EC2::Subnet" => format!("The subnet '{id}'"),
            _ => format!("resource {id}"),
        };
        return Err(if kind == "AWS::EC2::SecurityGroup" {
            format!("{what} has a dependent object (Service: Ec2, Status Code: 400)")
        } else {
            format!(
                "{what} has dependencies and cannot be deleted. (Service: Ec2, Status Code: 400)"
            )
        });
    }
    place.cloud.infrastructure.remove(id)?;
    Ok(())
}

/// Whether a network has parts left, or a part has instances. Security groups that name each other
/// and functions are deleted by their stack in the right order; nobody else can refer to them.
fn is_used(place: &Place<'_>, kind: &str, id: &str) -> bool {
    let cloud = place.cloud;
    match kind {
        "AWS::EC2::VPC" => cloud.infrastructure.all().iter().any(|(_, r)| text(r, "VpcId") == id),
        "AWS::EC2::Subnet" => cloud.instances.all().iter().any(|(_, i)| i.subnet == id),
        _ => false,
    }
}
