//! Networks: kept and reported, without behaviour of their own.

use serde_json::{Value, json};

use super::{Made, Place, attributes};

pub fn set(place: &Place<'_>, kind: &str, id: &str, p: &Value) -> Made {
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
