//! What templates can make of EC2.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate::kernel::cloud::{Cloud, short_id};
use crate::kernel::iam::check_endpoint_policy;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes, text};

/// The types.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new(
        "AWS::EC2::VPC",
        &["CidrBlock", "EnableDnsSupport", "EnableDnsHostnames", "Tags"],
        &Part { kind: "AWS::EC2::VPC", prefix: "vpc", arn: Some("vpc") },
    ),
    ResourceType::new(
        "AWS::EC2::Subnet",
        &[
            "VpcId",
            "CidrBlock",
            "AvailabilityZone",
            "AvailabilityZoneId",
            "MapPublicIpOnLaunch",
            "Tags",
        ],
        &Part { kind: "AWS::EC2::Subnet", prefix: "subnet", arn: Some("subnet") },
    ),
    ResourceType::new(
        "AWS::EC2::RouteTable",
        &["VpcId", "Tags"],
        &Part { kind: "AWS::EC2::RouteTable", prefix: "rtb", arn: Some("route-table") },
    ),
    ResourceType::new(
        "AWS::EC2::SubnetRouteTableAssociation",
        &["SubnetId", "RouteTableId"],
        &Part { kind: "AWS::EC2::SubnetRouteTableAssociation", prefix: "rtbassoc", arn: None },
    ),
    ResourceType::new(
        "AWS::EC2::VPCEndpoint",
        &["VpcId", "VpcEndpointType", "ServiceName", "RouteTableIds", "PolicyDocument"],
        &Part { kind: "AWS::EC2::VPCEndpoint", prefix: "vpce", arn: Some("vpc-endpoint") },
    ),
    ResourceType::new(
        "AWS::EC2::SecurityGroup",
        &[
            "GroupDescription",
            "VpcId",
            "SecurityGroupIngress/CidrIp",
            "SecurityGroupIngress/Description",
            "SecurityGroupIngress/FromPort",
            "SecurityGroupIngress/IpProtocol",
            "SecurityGroupIngress/SourceSecurityGroupId",
            "SecurityGroupIngress/ToPort",
            "SecurityGroupEgress/CidrIp",
            "SecurityGroupEgress/Description",
            "SecurityGroupEgress/DestinationPrefixListId",
            "SecurityGroupEgress/FromPort",
            "SecurityGroupEgress/IpProtocol",
            "SecurityGroupEgress/ToPort",
            "Tags",
        ],
        &Part { kind: "AWS::EC2::SecurityGroup", prefix: "sg", arn: Some("security-group") },
    ),
    ResourceType::new(
        "AWS::EC2::Instance",
        &[
            "ImageId",
            "InstanceType",
            "IamInstanceProfile",
            "SubnetId",
            "SecurityGroupIds",
            "MetadataOptions/HttpEndpoint=enabled",
            "MetadataOptions/HttpTokens",
            "MetadataOptions/HttpPutResponseHopLimit",
            "BlockDeviceMappings/DeviceName",
            "BlockDeviceMappings/Ebs/DeleteOnTermination",
            "BlockDeviceMappings/Ebs/Encrypted",
            "BlockDeviceMappings/Ebs/VolumeSize",
            "BlockDeviceMappings/Ebs/VolumeType",
            "CreditSpecification/CPUCredits",
            "UserData",
            "Tags",
        ],
        &Instance,
    )
    .also_replacing(&[
        "InstanceType",
        "IamInstanceProfile",
        "SecurityGroupIds",
        "MetadataOptions",
        "BlockDeviceMappings",
        "UserData",
    ]),
];

/// A part of a network: kept and reported, without behaviour of its own.
#[derive(Debug)]
struct Part {
    kind: &'static str,
    /// Of its IDs.
    prefix: &'static str,
    /// What its ARN calls it.
    arn: Option<&'static str>,
}

impl Part {
    fn set(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        if let Some(policy) = properties.get("PolicyDocument") {
            check_endpoint_policy(policy)?;
        }
        let cloud = place.cloud;
        let zone = match self.kind {
            "AWS::EC2::Subnet" => Some(super::zone_named(cloud, properties)?.name),
            _ => None,
        };
        let mut record = properties.clone();
        record["Type"] = self.kind.into();
        cloud.services.ec2.network.put(id, record)?;
        let p = properties;
        Ok(attributes(match self.kind {
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
}

#[async_trait]
impl Handler for Part {
    fn id(&self, _: &Place<'_>, _: Option<&str>, _: &Value) -> String {
        short_id(self.prefix)
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        self.set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        self.set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        super::remove_network_part(place.cloud, self.kind, id).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.ec2.network.get(id).map(|part| {
            let members = part.as_object().into_iter().flatten();
            let own = members.filter(|(name, _)| *name != "Type");
            Value::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect())
        }))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(cloud.config.arn("ec2", &format!("{}/{id}", self.arn?)))
    }
}

#[derive(Debug)]
struct Instance;

/// Bursts of the processor cost nothing here, but what AWS refuses is refused here, too.
fn check_credits(properties: &Value) -> Result<(), String> {
    let (credits, kind) = (&properties["CreditSpecification"], text(properties, "InstanceType"));
    match credits["CPUCredits"].as_str() {
        None if credits.is_null() => Ok(()),
        Some("standard" | "unlimited") if kind.starts_with('t') => Ok(()),
        Some("standard" | "unlimited") => {
            Err(format!("The instance type {kind} does not support CreditSpecification"))
        }
        other => Err(format!("Invalid CPU credit option: {}", other.unwrap_or("none given"))),
    }
}

#[async_trait]
impl Handler for Instance {
    fn id(&self, _: &Place<'_>, _: Option<&str>, _: &Value) -> String {
        short_id("i")
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        check_credits(properties)?;
        let instance = super::launch(place.cloud, id, properties)?;
        Ok(attributes(json!({
            "InstanceId": id, "PrivateIp": instance.address.to_string(),
            "AvailabilityZone": instance.zone,
        })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        let instances = &place.cloud.services.ec2.instances;
        let tagged = instances.update(id, |i| i.tags = properties["Tags"].clone())?;
        tagged.ok_or_else(|| format!("the instance {id} does not exist"))?;
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        super::terminate(place.cloud, id).await.map_err(|e| e.to_string())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        Live::of(cloud.services.ec2.instances.get(id).map(|instance| {
            // What cannot be changed is what it was launched with.
            let mut is = properties.clone();
            is["ImageId"] = instance.image.clone().into();
            is["InstanceType"] = instance.instance_type.clone().into();
            is["IamInstanceProfile"] = instance.profile.clone().into();
            is["SubnetId"] = instance.subnet.clone().into();
            is["SecurityGroupIds"] = json!(instance.groups);
            is["Tags"] = instance.tags.clone();
            is
        }))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(cloud.config.arn("ec2", &format!("instance/{id}")))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.ec2.instances.names(""))
    }
}
