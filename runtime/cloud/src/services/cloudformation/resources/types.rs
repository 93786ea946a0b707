//! The resource types, and which of their properties this cloud uses. What AWS publishes about them
//! is in [`schema`](crate::services::cloudformation::schema).

use serde_json::Value;

use crate::services::cloudformation::schema;

/// A resource type.
#[derive(Debug)]
pub struct Type {
    /// AWS's name.
    pub name: &'static str,
    /// Properties that this cloud uses.
    pub properties: &'static [&'static str],
    /// Where a template writes the name of the resource, if it may have one.
    pub named_by: Option<&'static str>,
    /// What makes a resource anew here although AWS changes it in place or refuses the change.
    pub also_replacing: &'static [&'static str],
}

/// All of them.
pub const TYPES: &[Type] = &[
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
        named_by: Some("BucketName"),
        also_replacing: &[],
    },
    Type {
        name: "AWS::S3::BucketPolicy",
        properties: &["Bucket", "PolicyDocument"],
        named_by: None,
        also_replacing: &[],
    },
    Type {
        name: "AWS::Glue::Database",
        properties: &["CatalogId", "DatabaseInput"],
        named_by: Some("DatabaseInput/Name"),
        also_replacing: &["DatabaseInput/Name"],
    },
    Type {
        name: "AWS::Glue::Table",
        properties: &["CatalogId", "DatabaseName", "TableInput"],
        named_by: Some("TableInput/Name"),
        also_replacing: &[],
    },
    Type {
        name: "AWS::Glue::Crawler",
        properties: &[
            "Name",
            "Role",
            "DatabaseName",
            "Description",
            "Targets",
            "TablePrefix",
            "SchemaChangePolicy",
            "RecrawlPolicy",
            "Configuration",
            "Tags",
        ],
        named_by: Some("Name"),
        also_replacing: &[],
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
        named_by: Some("Name"),
        also_replacing: &[],
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
        named_by: Some("Name"),
        also_replacing: &[],
    },
    Type {
        name: "AWS::Athena::NamedQuery",
        properties: &["Name", "Description", "Database", "WorkGroup", "QueryString"],
        named_by: None,
        also_replacing: &[],
    },
    Type {
        name: "AWS::EC2::VPC",
        properties: &["CidrBlock", "EnableDnsSupport", "EnableDnsHostnames", "Tags"],
        named_by: None,
        also_replacing: &[],
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
        named_by: None,
        also_replacing: &[],
    },
    Type {
        name: "AWS::EC2::RouteTable",
        properties: &["VpcId", "Tags"],
        named_by: None,
        also_replacing: &[],
    },
    Type {
        name: "AWS::EC2::SubnetRouteTableAssociation",
        properties: &["SubnetId", "RouteTableId"],
        named_by: None,
        also_replacing: &[],
    },
    Type {
        name: "AWS::EC2::VPCEndpoint",
        properties: &["VpcId", "VpcEndpointType", "ServiceName", "RouteTableIds", "PolicyDocument"],
        named_by: None,
        also_replacing: &[],
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
        named_by: None,
        also_replacing: &[],
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
        named_by: None,
        also_replacing: &[
            "InstanceType",
            "IamInstanceProfile",
            "SecurityGroupIds",
            "MetadataOptions",
            "BlockDeviceMappings",
            "UserData",
        ],
    },
    Type {
        name: "AWS::IAM::Role",
        properties: &["RoleName", "AssumeRolePolicyDocument", "Policies", "Description", "Tags"],
        named_by: Some("RoleName"),
        also_replacing: &[],
    },
    Type {
        name: "AWS::IAM::InstanceProfile",
        properties: &["InstanceProfileName", "Roles"],
        named_by: Some("InstanceProfileName"),
        also_replacing: &[],
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
        named_by: Some("FunctionName"),
        also_replacing: &[],
    },
    Type {
        name: "AWS::Logs::LogGroup",
        properties: &["LogGroupName", "RetentionInDays", "Tags"],
        named_by: Some("LogGroupName"),
        also_replacing: &[],
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
        named_by: Some("StateMachineName"),
        also_replacing: &[],
    },
    Type {
        name: "AWS::SNS::Topic",
        properties: &["TopicName", "DisplayName", "Tags"],
        named_by: Some("TopicName"),
        also_replacing: &[],
    },
    Type {
        name: "AWS::SNS::Subscription",
        properties: &["TopicArn", "Protocol", "Endpoint"],
        named_by: None,
        also_replacing: &[],
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
        named_by: Some("AlarmName"),
        also_replacing: &[],
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
        named_by: Some("Name"),
        also_replacing: &[],
    },
    Type {
        name: "AWS::CloudFormation::WaitConditionHandle",
        properties: &[],
        named_by: None,
        also_replacing: &[],
    },
    Type {
        name: "AWS::CloudFormation::WaitCondition",
        properties: &["Handle", "Timeout", "Count"],
        named_by: None,
        also_replacing: &["Handle", "Timeout", "Count"],
    },
];

/// The type of that name.
pub fn find(kind: &str) -> Option<&'static Type> {
    TYPES.iter().find(|t| t.name == kind)
}

/// The name that a template gives a resource.
pub fn given_name<'a>(kind: &Type, properties: &'a Value) -> Option<&'a str> {
    at(properties, kind.named_by?).as_str().filter(|n| !n.is_empty())
}

/// Whether the change from `old` to `new` in a property makes the resource anew.
pub fn replaces(kind: &Type, property: &str, old: &Value, new: &Value) -> bool {
    let is_changed =
        |path: &str| path.split('/').next() == Some(property) && at(old, path) != at(new, path);
    schema::create_only(kind.name).chain(kind.also_replacing.iter().copied()).any(is_changed)
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('/').fold(value, |value, name| &value[name])
}
