//! By what names events are looked up: of users, and of resources and their types.
//!
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events-supported-resource-types.html>

use serde_json::Value;

/// Types by service and kind in ARNs; a kind of nothing is for ARNs that name no kind.
const TYPES: [(&str, &str, &str); 32] = [
    ("athena", "workgroup", "AWS::Athena::WorkGroup"),
    ("cloudformation", "changeSet", "AWS::CloudFormation::ChangeSet"),
    ("cloudformation", "stack", "AWS::CloudFormation::Stack"),
    ("cloudwatch", "alarm", "AWS::CloudWatch::Alarm"),
    ("dynamodb", "table", "AWS::DynamoDB::Table"),
    ("ec2", "instance", "AWS::EC2::Instance"),
    ("ec2", "network-interface", "AWS::EC2::NetworkInterface"),
    ("ec2", "security-group", "AWS::EC2::SecurityGroup"),
    ("ec2", "subnet", "AWS::EC2::Subnet"),
    ("ec2", "vpc", "AWS::EC2::VPC"),
    ("events", "rule", "AWS::Events::Rule"),
    ("firehose", "deliverystream", "AWS::KinesisFirehose::DeliveryStream"),
    ("glue", "crawler", "AWS::Glue::Crawler"),
    ("glue", "database", "AWS::Glue::Database"),
    ("glue", "job", "AWS::Glue::Job"),
    ("glue", "table", "AWS::Glue::Table"),
    ("iam", "group", "AWS::IAM::Group"),
    ("iam", "instance-profile", "AWS::IAM::InstanceProfile"),
    ("iam", "policy", "AWS::IAM::Policy"),
    ("iam", "role", "AWS::IAM::Role"),
    ("iam", "user", "AWS::IAM::User"),
    ("kinesis", "stream", "AWS::Kinesis::Stream"),
    ("kms", "key", "AWS::KMS::Key"),
    ("lambda", "function", "AWS::Lambda::Function"),
    ("logs", "log-group", "AWS::Logs::LogGroup"),
    ("s3", "", "AWS::S3::Bucket"),
    ("scheduler", "schedule", "AWS::Scheduler::Schedule"),
    ("scheduler", "schedule-group", "AWS::Scheduler::ScheduleGroup"),
    ("sns", "", "AWS::SNS::Topic"),
    ("sqs", "", "AWS::SQS::Queue"),
    ("ssm", "parameter", "AWS::SSM::Parameter"),
    ("states", "stateMachine", "AWS::StepFunctions::StateMachine"),
];

/// Who called: the user's name, or that of the session.
pub fn user(event: &Value) -> Option<&str> {
    let identity = &event["userIdentity"];
    match identity["type"].as_str()? {
        "AssumedRole" => identity["arn"].as_str()?.rsplit('/').next(),
        _ => identity["userName"].as_str(),
    }
}

/// What an event is about: types and names, of those whose type is known.
pub fn resources(line: &Value) -> impl Iterator<Item = (&'static str, &str)> {
    let arns = line["resources"].as_array().into_iter().flatten().filter_map(Value::as_str);
    arns.filter_map(named)
}

fn named(arn: &str) -> Option<(&'static str, &str)> {
    let mut parts = arn.splitn(6, ':').skip(2);
    let (service, rest) = (parts.next()?, parts.nth(2)?);
    let of_service = TYPES.iter().filter(|(of, ..)| *of == service);
    let named = |kind: &str| {
        let name = if kind.is_empty() { rest.split('/').next() } else { name_after(rest, kind) };
        name.filter(|name| !name.is_empty())
    };
    of_service.clone().find_map(|(_, kind, called)| Some((*called, named(kind)?)))
}

/// The name after a kind: `role/NAME`, `function:NAME`, `table/DATABASE/NAME`.
fn name_after<'a>(rest: &'a str, kind: &str) -> Option<&'a str> {
    let name = rest.strip_prefix(kind)?.strip_prefix(['/', ':'])?;
    match kind {
        // The ID of a stack follows its name.
        "stack" | "changeSet" => name.split('/').next(),
        "log-group" => Some(name.trim_end_matches(":*")),
        "parameter" => Some(&rest[kind.len()..]),
        _ => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_have_types_and_names() {
        for (arn, expected) in [
            ("arn:aws:s3:::bucket", Some(("AWS::S3::Bucket", "bucket"))),
            ("arn:aws:iam::0:role/r", Some(("AWS::IAM::Role", "r"))),
            ("arn:aws:lambda:x:0:function:f", Some(("AWS::Lambda::Function", "f"))),
            ("arn:aws:logs:x:0:log-group:/a/b:*", Some(("AWS::Logs::LogGroup", "/a/b"))),
            ("arn:aws:cloudformation:x:0:stack/s/1-2", Some(("AWS::CloudFormation::Stack", "s"))),
            ("arn:aws:ssm:x:0:parameter/a/b", Some(("AWS::SSM::Parameter", "/a/b"))),
            ("arn:aws:glue:x:0:table/d/t", Some(("AWS::Glue::Table", "d/t"))),
            ("arn:aws:glue:x:0:catalog", None),
            ("*", None),
        ] {
            assert_eq!(named(arn), expected, "{arn}");
        }
    }
}
