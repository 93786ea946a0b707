//! A change set judged before it is executed.
//!
//! Everything is a concern that is not known to be harmless: a type or a property that this program
//! does not know, too. A new stack needs no question, because it is what the repository says; a new
//! role in a stack that is there does.

use crate::status::StackStatus;

/// What a change set does to one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happens.
    pub action: ChangeAction,
    /// Name in the template.
    pub logical_id: String,
    /// Resource type.
    pub resource_type: String,
    /// Whether the resource is made anew.
    pub replacement: bool,
    /// Properties that change in the template.
    pub properties: Vec<String>,
    /// Properties that may change because something that they name changes.
    pub derived: Vec<Derived>,
    /// What else changes, in CloudFormation's words: `DeletionPolicy`, `UpdateReplacePolicy`.
    pub attributes: Vec<String>,
}

/// A property that CloudFormation will look at again when the resource `from` is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// The property.
    pub property: String,
    /// Logical ID of the resource that it names.
    pub from: String,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeAction {
    /// It is made.
    Add,
    /// It is changed.
    Modify,
    /// It is deleted.
    Remove,
    /// Something that this program does not know, such as an import.
    Other,
}

/// What a person must agree to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern(pub String);

/// Everything in `changes` that loses data or widens access, or that cannot be judged. An empty
/// list needs nobody's consent.
pub fn concerns(status: Option<StackStatus>, changes: &[Change]) -> Vec<Concern> {
    if !status.is_some_and(|s| s != StackStatus::ReviewInProgress) {
        return Vec::new();
    }
    changes.iter().flat_map(|change| judge(change, changes)).map(Concern).collect()
}

fn judge(change: &Change, all: &[Change]) -> Vec<String> {
    let id = &change.logical_id;
    match change.action {
        ChangeAction::Other => {
            vec![format!("{id} changes in a way that this program cannot judge")]
        }
        ChangeAction::Add => added(change).into_iter().collect(),
        ChangeAction::Remove => lost(change, "is deleted").into_iter().collect(),
        ChangeAction::Modify if change.replacement => {
            // What is made anew loses what it held, and has properties like any other change.
            lost(change, "is replaced").into_iter().chain(modified(change, all)).collect()
        }
        ChangeAction::Modify => modified(change, all),
    }
}

/// What is lost with a resource.
fn lost(change: &Change, verb: &str) -> Option<String> {
    let id = &change.logical_id;
    Some(match change.resource_type.as_str() {
        "AWS::S3::Bucket" => format!("{id} (bucket) {verb}: its objects are lost"),
        "AWS::S3::BucketPolicy" => {
            format!("{id} (bucket policy) {verb}: what it forbids becomes possible")
        }
        "AWS::Glue::Database" => format!("{id} (database) {verb}: tables made by hand are lost"),
        "AWS::SNS::Topic" => format!("{id} (topic) {verb}: subscribers must confirm again"),
        "AWS::Logs::LogGroup" => format!("{id} (log group) {verb}: its logs are lost"),
        kind if known(kind).is_none() => {
            format!("{id} ({kind}) {verb}; this program does not know what is lost")
        }
        _ => return None,
    })
}

/// What becomes possible with a new resource.
fn added(change: &Change) -> Option<String> {
    let (id, kind) = (&change.logical_id, change.resource_type.as_str());
    Some(match kind {
        "AWS::IAM::Role" => format!("{id} (role) is new: somebody gets new permissions"),
        "AWS::S3::BucketPolicy" => format!("{id} (bucket policy) is new"),
        "AWS::EC2::SecurityGroup" => format!("{id} (security group) is new: it opens ways"),
        "AWS::EC2::VPCEndpoint" => format!("{id} (endpoint) is new: a way out of the network"),
        "AWS::S3::Bucket" => format!("{id} (bucket) is new"),
        kind if known(kind).is_none() => {
            format!("{id} ({kind}) is new, and of a kind that this program does not know")
        }
        _ => return None,
    })
}

fn modified(change: &Change, all: &[Change]) -> Vec<String> {
    let (id, kind) = (&change.logical_id, change.resource_type.as_str());
    let mut out: Vec<String> = change
        .attributes
        .iter()
        .filter(|attribute| *attribute != "Metadata" && *attribute != "Tags")
        .map(|attribute| format!("{id}: {attribute} changes, which decides what deletions delete"))
        .collect();
    // A name or an ARN is another one only when what it names is another thing.
    let anew = |id: &str| {
        all.iter()
            .any(|c| c.logical_id == id && (c.replacement || c.action != ChangeAction::Modify))
    };
    let derived = change.derived.iter().filter(|d| anew(&d.from)).map(|d| &d.property);
    let mut properties: Vec<&String> = change.properties.iter().chain(derived).collect();
    properties.sort();
    properties.dedup();
    let Some(harmless) = known(kind) else {
        out.push(format!("{id} changes, and is of a kind that this program does not know: {kind}"));
        return out;
    };
    let judged = properties.into_iter().filter(|p| !harmless.contains(&p.as_str()));
    out.extend(judged.map(|property| concern_of(id, kind, property)));
    out
}

fn concern_of(id: &str, kind: &str, property: &str) -> String {
    match (kind, property) {
        ("AWS::IAM::Role", _) => format!("{id} (role) gets other permissions: {property} changes"),
        ("AWS::S3::BucketPolicy", _) => format!("{id} (bucket policy) changes"),
        ("AWS::S3::Bucket", "LifecycleConfiguration") => {
            format!("{id} (bucket): its lifecycle changes, objects may be deleted earlier")
        }
        ("AWS::S3::Bucket", _) => format!("{id} (bucket): {property} changes, which protects it"),
        ("AWS::EC2::SecurityGroup", _) => {
            format!("{id} (security group): {property} changes, other ways open")
        }
        ("AWS::EC2::VPCEndpoint", _) => {
            format!("{id} (endpoint): {property} changes, other ways open")
        }
        ("AWS::Logs::LogGroup", "RetentionInDays") => {
            format!("{id} (log group): logs may be deleted earlier")
        }
        _ => format!("{id} ({kind}): {property} changes, which this program cannot judge"),
    }
}

/// Properties whose change neither loses data nor widens access, for each type that the templates
/// use; `None` for any other type.
fn known(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "AWS::S3::Bucket" => &["Tags", "NotificationConfiguration"],
        "AWS::IAM::Role" => &["Tags", "Description"],
        "AWS::S3::BucketPolicy" | "AWS::IAM::InstanceProfile" => &[],
        "AWS::EC2::SecurityGroup" | "AWS::EC2::VPCEndpoint" | "AWS::EC2::RouteTable" => &["Tags"],
        "AWS::EC2::VPC" => &["Tags", "EnableDnsSupport", "EnableDnsHostnames"],
        "AWS::EC2::Subnet" => &["Tags", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId"],
        "AWS::EC2::SubnetRouteTableAssociation" => &["SubnetId"],
        "AWS::EC2::Instance" => &[
            "Tags",
            "ImageId",
            "InstanceType",
            "CreditSpecification",
            "UserData",
            "BlockDeviceMappings",
        ],
        "AWS::CloudFormation::WaitConditionHandle" => &[],
        "AWS::CloudFormation::WaitCondition" => &["Handle", "Timeout", "Count"],
        "AWS::Glue::Database" => &["DatabaseInput"],
        "AWS::Glue::Table" => &["TableInput"],
        "AWS::Glue::Job" => &[
            "Tags",
            "Description",
            "Command",
            "DefaultArguments",
            "ExecutionProperty",
            "GlueVersion",
            "MaxRetries",
            "NumberOfWorkers",
            "Timeout",
            "WorkerType",
        ],
        "AWS::Glue::Crawler" => &[
            "Tags",
            "Configuration",
            "DatabaseName",
            "Description",
            "RecrawlPolicy",
            "SchemaChangePolicy",
            "TablePrefix",
            "Targets",
        ],
        "AWS::Athena::WorkGroup" => &["Tags", "Description", "State", "WorkGroupConfiguration"],
        "AWS::Athena::NamedQuery" => {
            &["Name", "Description", "QueryString", "WorkGroup", "Database"]
        }
        "AWS::Lambda::Function" => &[
            "Tags",
            "Architectures",
            "Code",
            "Description",
            "Environment",
            "Handler",
            "LoggingConfig",
            "MemorySize",
            "Runtime",
            "Timeout",
        ],
        "AWS::Logs::LogGroup" => &["Tags"],
        "AWS::StepFunctions::StateMachine" => {
            &["Tags", "DefinitionString", "DefinitionSubstitutions"]
        }
        "AWS::SNS::Topic" => &["Tags", "DisplayName"],
        "AWS::SNS::Subscription" => &["Endpoint", "Protocol", "TopicArn"],
        "AWS::CloudWatch::Alarm" => &[
            "AlarmActions",
            "AlarmDescription",
            "ComparisonOperator",
            "Dimensions",
            "EvaluationPeriods",
            "MetricName",
            "Namespace",
            "Period",
            "Statistic",
            "Threshold",
            "TreatMissingData",
        ],
        "AWS::Events::Rule" => {
            &["Description", "EventPattern", "ScheduleExpression", "State", "Targets"]
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ChangeAction::{Add, Modify, Other, Remove};

    fn change(action: ChangeAction, resource_type: &str, properties: &[&str]) -> Change {
        Change {
            action,
            logical_id: "X".into(),
            resource_type: resource_type.into(),
            replacement: false,
            properties: properties.iter().map(|p| (*p).to_owned()).collect(),
            derived: vec![],
            attributes: vec![],
        }
    }

    fn judged(change: Change) -> Vec<String> {
        let concerns = concerns(Some(StackStatus::CreateComplete), &[change]);
        concerns.into_iter().map(|Concern(text)| text).collect()
    }

    #[test]
    fn what_loses_data_needs_consent() {
        assert_eq!(judged(change(Remove, "AWS::S3::Bucket", &[])).len(), 1);
        assert_eq!(judged(change(Remove, "AWS::S3::BucketPolicy", &[])).len(), 1);
        let replaced = Change { replacement: true, ..change(Modify, "AWS::SNS::Topic", &["Tags"]) };
        assert_eq!(judged(replaced), ["X (topic) is replaced: subscribers must confirm again"]);
        assert_eq!(judged(change(Modify, "AWS::S3::Bucket", &["Tags"])), [""; 0]);
        let earlier = judged(change(Modify, "AWS::S3::Bucket", &["LifecycleConfiguration"]));
        assert!(earlier[0].contains("may be deleted earlier"), "{earlier:?}");
        let kept = Change {
            attributes: vec!["DeletionPolicy".into()],
            ..change(Modify, "AWS::S3::Bucket", &[])
        };
        assert_eq!(judged(kept).len(), 1);
        assert_eq!(judged(change(Remove, "AWS::EC2::Instance", &[])), [""; 0]);
    }

    #[test]
    fn what_widens_access_needs_consent() {
        for (kind, property) in [
            ("AWS::IAM::Role", "Policies"),
            ("AWS::IAM::Role", "AssumeRolePolicyDocument"),
            ("AWS::IAM::InstanceProfile", "Roles"),
            ("AWS::S3::BucketPolicy", "PolicyDocument"),
            ("AWS::S3::Bucket", "PublicAccessBlockConfiguration"),
            ("AWS::S3::Bucket", "BucketEncryption"),
            ("AWS::EC2::SecurityGroup", "SecurityGroupIngress"),
            ("AWS::EC2::SecurityGroup", "SecurityGroupEgress"),
            ("AWS::EC2::Subnet", "MapPublicIpOnLaunch"),
            ("AWS::EC2::VPCEndpoint", "PolicyDocument"),
            ("AWS::EC2::Instance", "SecurityGroupIds"),
            ("AWS::EC2::Instance", "MetadataOptions"),
            ("AWS::Lambda::Function", "Role"),
            ("AWS::Lambda::Function", "VpcConfig"),
            ("AWS::StepFunctions::StateMachine", "RoleArn"),
        ] {
            assert_eq!(judged(change(Modify, kind, &[property])).len(), 1, "{kind} {property}");
        }
        for kind in ["AWS::IAM::Role", "AWS::EC2::SecurityGroup", "AWS::S3::BucketPolicy"] {
            assert_eq!(judged(change(Add, kind, &[])).len(), 1, "{kind}");
            assert_eq!(concerns(None, &[change(Add, kind, &[])]), [], "a new stack");
        }
    }

    #[test]
    fn what_is_not_known_needs_consent() {
        for kind in ["AWS::Lambda::Permission", "AWS::Lambda::Url", "AWS::EC2::InternetGateway"] {
            assert_eq!(judged(change(Add, kind, &[])).len(), 1, "{kind}");
            assert_eq!(judged(change(Modify, kind, &["X"])).len(), 1, "{kind}");
            assert_eq!(judged(change(Remove, kind, &[])).len(), 1, "{kind}");
        }
        assert_eq!(judged(change(Modify, "AWS::Lambda::Function", &["Layers"])).len(), 1);
        assert_eq!(judged(change(Other, "AWS::EC2::VPC", &[])).len(), 1);
    }

    #[test]
    fn an_ordinary_update_needs_no_consent() {
        for (action, kind, property) in [
            (Add, "AWS::EC2::Instance", ""),
            (Add, "AWS::CloudFormation::WaitCondition", ""),
            (Modify, "AWS::Lambda::Function", "Code"),
            (Modify, "AWS::Lambda::Function", "Environment"),
            (Modify, "AWS::StepFunctions::StateMachine", "DefinitionString"),
            (Modify, "AWS::Glue::Table", "TableInput"),
            (Modify, "AWS::CloudWatch::Alarm", "Dimensions"),
        ] {
            assert_eq!(judged(change(action, kind, &[property])), [""; 0], "{kind} {property}");
        }
    }

    #[test]
    fn a_name_changes_only_with_what_it_names() {
        let derived = vec![Derived { property: "Policies".into(), from: "Y".into() }];
        let role = Change { derived, ..change(Modify, "AWS::IAM::Role", &[]) };
        let named =
            Change { logical_id: "Y".into(), ..change(Modify, "AWS::Lambda::Function", &["Code"]) };
        let status = Some(StackStatus::CreateComplete);
        assert_eq!(concerns(status, &[role.clone(), named.clone()]), []);
        let anew = Change { replacement: true, ..named };
        assert_eq!(concerns(status, &[role, anew]).len(), 1);
    }
}
