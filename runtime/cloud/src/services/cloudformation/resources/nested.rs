//! What is inside of properties: which members of AWS's this cloud uses or keeps and shows. Any
//! other would be without effect, and is refused by name before anything is made.

use serde_json::Value;

use crate::services::cloudformation::schema;
use crate::services::cloudformation::template::UNKNOWN;

/// A type, a property with members of its own, and the members that there are here. A member
/// stands for all that is in it; `=` gives the values that it may have. Lists are looked through.
const USED: &[(&str, &str, &[&str])] = &[
    (
        "AWS::S3::Bucket",
        "BucketEncryption",
        &[
            "ServerSideEncryptionConfiguration/ServerSideEncryptionByDefault/SSEAlgorithm=AES256",
            // It saves calls of KMS only.
            "ServerSideEncryptionConfiguration/BucketKeyEnabled",
        ],
    ),
    (
        "AWS::S3::Bucket",
        "PublicAccessBlockConfiguration",
        &["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"],
    ),
    ("AWS::S3::Bucket", "OwnershipControls", &["Rules/ObjectOwnership=BucketOwnerEnforced"]),
    (
        "AWS::S3::Bucket",
        "LifecycleConfiguration",
        &[
            "Rules/Id",
            "Rules/Status",
            "Rules/Prefix",
            "Rules/ExpirationInDays",
            "Rules/AbortIncompleteMultipartUpload",
        ],
    ),
    ("AWS::S3::Bucket", "NotificationConfiguration", &["EventBridgeConfiguration"]),
    ("AWS::Glue::Database", "DatabaseInput", &["Name", "Description"]),
    (
        "AWS::Glue::Table",
        "TableInput",
        &[
            "Name",
            "Description",
            "Owner",
            "TableType",
            "Parameters",
            "PartitionKeys",
            "StorageDescriptor/Columns",
            "StorageDescriptor/Location",
            "StorageDescriptor/InputFormat",
            "StorageDescriptor/OutputFormat",
            "StorageDescriptor/SerdeInfo",
        ],
    ),
    ("AWS::Glue::Crawler", "Targets", &["S3Targets/Path", "S3Targets/Exclusions"]),
    ("AWS::Glue::Crawler", "SchemaChangePolicy", &["UpdateBehavior", "DeleteBehavior"]),
    ("AWS::Glue::Crawler", "RecrawlPolicy", &["RecrawlBehavior=CRAWL_EVERYTHING"]),
    ("AWS::Glue::Job", "ExecutionProperty", &["MaxConcurrentRuns"]),
    ("AWS::Glue::Job", "Command", &["Name=glueetl", "PythonVersion=3", "ScriptLocation"]),
    (
        "AWS::Athena::WorkGroup",
        "WorkGroupConfiguration",
        &[
            "BytesScannedCutoffPerQuery",
            "EnforceWorkGroupConfiguration",
            "EngineVersion/SelectedEngineVersion=AUTO|Athena engine version 3",
            "PublishCloudWatchMetricsEnabled=false",
            "RequesterPaysEnabled=false",
            "ResultConfiguration/OutputLocation",
            "ResultConfiguration/EncryptionConfiguration/EncryptionOption=SSE_S3",
        ],
    ),
    ("AWS::EC2::SecurityGroup", "SecurityGroupIngress", RULE_IN),
    ("AWS::EC2::SecurityGroup", "SecurityGroupEgress", RULE_OUT),
    (
        "AWS::EC2::Instance",
        "MetadataOptions",
        &["HttpEndpoint=enabled", "HttpTokens", "HttpPutResponseHopLimit"],
    ),
    (
        "AWS::EC2::Instance",
        "BlockDeviceMappings",
        &[
            "DeviceName",
            "Ebs/DeleteOnTermination",
            "Ebs/Encrypted",
            "Ebs/VolumeSize",
            "Ebs/VolumeType",
        ],
    ),
    ("AWS::EC2::Instance", "CreditSpecification", &["CPUCredits"]),
    ("AWS::IAM::Role", "Policies", &["PolicyName", "PolicyDocument"]),
    ("AWS::Lambda::Function", "Code", &["S3Bucket", "S3Key"]),
    ("AWS::Lambda::Function", "Environment", &["Variables"]),
    ("AWS::Lambda::Function", "LoggingConfig", &["LogGroup", "LogFormat=Text"]),
    ("AWS::Lambda::Function", "VpcConfig", &["SubnetIds", "SecurityGroupIds"]),
    ("AWS::CloudWatch::Alarm", "Dimensions", &["Name", "Value"]),
    ("AWS::Events::Rule", "Targets", &["Id", "Arn", "RoleArn", "Input"]),
];

const RULE_IN: &[&str] =
    &["CidrIp", "Description", "FromPort", "IpProtocol", "SourceSecurityGroupId", "ToPort"];
const RULE_OUT: &[&str] =
    &["CidrIp", "Description", "DestinationPrefixListId", "FromPort", "IpProtocol", "ToPort"];

/// Refuses members that are not used, in resolved properties that are as AWS's schema has them:
/// what the schema refuses, it tells in its own words.
pub fn check(logical_id: &str, kind: &str, properties: &Value) -> Result<(), String> {
    if !schema::problems(kind, properties).is_empty() {
        return Ok(());
    }
    for (_, property, members) in USED.iter().filter(|(of, ..)| *of == kind) {
        if let Err(found) = look(&properties[*property], "", members) {
            return Err(format!(
                "{logical_id}: the embedded cloud does not implement {property}/{found} of {kind}"
            ));
        }
    }
    Ok(())
}

/// The first member, or value of one, that is not among those that are used.
fn look(value: &Value, path: &str, members: &[&str]) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| look(item, path, members)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            match find(&inner, members) {
                Found::Inside => look(field, &inner, members),
                Found::Used(None) => Ok(()),
                Found::Used(Some(allowed)) => allows(field, &inner, allowed),
                Found::Unused => Err(inner),
            }
        }),
        // What is known only later, and what the schema has judged.
        _ => Ok(()),
    }
}

enum Found<'a> {
    Used(Option<&'a str>),
    Inside,
    Unused,
}

fn find<'a>(path: &str, members: &[&'a str]) -> Found<'a> {
    for member in members {
        let (name, values) = match member.split_once('=') {
            Some((name, values)) => (name, Some(values)),
            None => (*member, None),
        };
        if name == path {
            return Found::Used(values);
        }
        if name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')) {
            return Found::Inside;
        }
    }
    Found::Unused
}

fn allows(value: &Value, path: &str, allowed: &str) -> Result<(), String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.contains(UNKNOWN) || allowed.split('|').any(|one| one == text) {
        Ok(())
    } else {
        Err(format!("{path}: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::types::TYPES;
    use super::*;

    #[test]
    fn every_property_with_members_says_which_are_used() {
        let listed = |kind: &str, property: &str| {
            USED.iter().any(|(of, name, _)| *of == kind && *name == property)
        };
        for kind in TYPES {
            for property in kind.properties.iter().filter(|p| **p != "Tags") {
                let members = schema::members(kind.name, property);
                let has = !members.is_empty();
                assert_eq!(listed(kind.name, property), has, "{} {property}", kind.name);
            }
        }
    }

    #[test]
    fn every_member_is_one_of_awss() {
        for (kind, property, members) in USED {
            let known = schema::members(kind, property);
            for member in *members {
                let name = member.split('=').next().unwrap_or(member);
                assert!(known.contains(name), "{kind} {property}/{name}");
            }
        }
    }

    #[test]
    fn what_would_be_without_effect_is_refused_by_name() {
        let bucket = |encryption: Value| {
            let rule = json!({ "ServerSideEncryptionByDefault": encryption });
            let rules = json!({ "ServerSideEncryptionConfiguration": [rule] });
            check("Data", "AWS::S3::Bucket", &json!({ "BucketEncryption": rules }))
        };
        assert_eq!(bucket(json!({ "SSEAlgorithm": "AES256" })), Ok(()));
        assert_eq!(
            bucket(json!({ "SSEAlgorithm": "aws:kms" })),
            Err("Data: the embedded cloud does not implement BucketEncryption/\
                 ServerSideEncryptionConfiguration/ServerSideEncryptionByDefault/SSEAlgorithm: \
                 aws:kms of AWS::S3::Bucket"
                .to_owned())
        );
        assert_eq!(
            bucket(json!({ "SSEAlgorithm": "AES256", "KMSMasterKeyID": "k" })),
            Err("Data: the embedded cloud does not implement BucketEncryption/\
                 ServerSideEncryptionConfiguration/ServerSideEncryptionByDefault/KMSMasterKeyID of \
                 AWS::S3::Bucket"
                .to_owned())
        );
        // What AWS does not have either is told in the schema's words.
        assert_eq!(bucket(json!({ "Algorithm": "AES256" })), Ok(()));
        // A value that is known only when the stack is made.
        assert_eq!(bucket(json!({ "SSEAlgorithm": UNKNOWN })), Ok(()));
    }
}
