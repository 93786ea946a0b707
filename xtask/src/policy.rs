//! The policy that a deploying person needs for what this program calls itself.
//!
//! One list, beside nothing else: a test compares it with the calls that the sources name, and a
//! scenario deploys under it. What CloudFormation does on the person's behalf, such as making roles
//! and networks, comes on top.

use serde_json::{Value, json};
use steppe_plan::names::Names;

/// What an action is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Buckets,
    Objects,
    Stack,
    Roles,
    Profiles,
    Functions,
    Machines,
    Rules,
    Topic,
    WorkGroup,
    DataCatalog,
    Catalogue,
    Job,
    Logs,
    Images,
    /// The action knows no narrower resource.
    Everything,
}

/// The call as the sources name it, the action that IAM asks for, and what it is on. A call that
/// needs no permission has no action.
const CALLS: [(&str, &str, On); 62] = [
    ("athena:BatchGetNamedQuery", "athena:BatchGetNamedQuery", On::WorkGroup),
    ("athena:GetQueryExecution", "athena:GetQueryExecution", On::WorkGroup),
    ("athena:GetQueryResults", "athena:GetQueryResults", On::WorkGroup),
    ("athena:ListNamedQueries", "athena:ListNamedQueries", On::WorkGroup),
    ("athena:ListWorkGroups", "athena:ListWorkGroups", On::Everything),
    ("athena:StartQueryExecution", "athena:StartQueryExecution", On::WorkGroup),
    ("cloudformation:ContinueUpdateRollback", "cloudformation:ContinueUpdateRollback", On::Stack),
    ("cloudformation:CreateChangeSet", "cloudformation:CreateChangeSet", On::Stack),
    ("cloudformation:DeleteChangeSet", "cloudformation:DeleteChangeSet", On::Stack),
    ("cloudformation:DeleteStack", "cloudformation:DeleteStack", On::Stack),
    ("cloudformation:DescribeChangeSet", "cloudformation:DescribeChangeSet", On::Stack),
    ("cloudformation:DescribeEvents", "cloudformation:DescribeEvents", On::Stack),
    ("cloudformation:DescribeStackEvents", "cloudformation:DescribeStackEvents", On::Stack),
    ("cloudformation:DescribeStacks", "cloudformation:DescribeStacks", On::Stack),
    ("cloudformation:ExecuteChangeSet", "cloudformation:ExecuteChangeSet", On::Stack),
    ("cloudformation:ListStackResources", "cloudformation:ListStackResources", On::Stack),
    ("cloudformation:ListStacks", "cloudformation:ListStacks", On::Everything),
    ("cloudwatch:DescribeAlarms", "cloudwatch:DescribeAlarms", On::Everything),
    ("ec2:DeleteNetworkInterface", "ec2:DeleteNetworkInterface", On::Everything),
    ("ec2:DescribeImages", "ec2:DescribeImages", On::Everything),
    ("ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstanceTypeOfferings", On::Everything),
    ("ec2:DescribeInstances", "ec2:DescribeInstances", On::Everything),
    ("ec2:DescribeNetworkInterfaces", "ec2:DescribeNetworkInterfaces", On::Everything),
    ("ec2:DescribePrefixLists", "ec2:DescribePrefixLists", On::Everything),
    ("ec2:DescribeVpcs", "ec2:DescribeVpcs", On::Everything),
    ("ec2:GetConsoleOutput", "ec2:GetConsoleOutput", On::Everything),
    ("events:DescribeRule", "events:DescribeRule", On::Rules),
    ("glue:GetDatabase", "glue:GetDatabase", On::Catalogue),
    ("glue:GetJob", "glue:GetJob", On::Job),
    ("iam:GetInstanceProfile", "iam:GetInstanceProfile", On::Profiles),
    ("iam:GetRole", "iam:GetRole", On::Roles),
    ("iam:GetRolePolicy", "iam:GetRolePolicy", On::Roles),
    ("iam:ListRolePolicies", "iam:ListRolePolicies", On::Roles),
    ("lambda:GetFunction", "lambda:GetFunction", On::Functions),
    ("lambda:InvokeFunction", "lambda:InvokeFunction", On::Functions),
    ("logs:DescribeLogGroups", "logs:DescribeLogGroups", On::Everything),
    ("logs:FilterLogEvents", "logs:FilterLogEvents", On::Logs),
    ("s3:CreateBucket", "s3:CreateBucket", On::Buckets),
    ("s3:DeleteBucket", "s3:DeleteBucket", On::Buckets),
    ("s3:DeleteObject", "s3:DeleteObject", On::Objects),
    ("s3:DeleteObjects", "s3:DeleteObject", On::Objects),
    ("s3:GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration", On::Buckets),
    ("s3:GetBucketPolicy", "s3:GetBucketPolicy", On::Buckets),
    ("s3:GetBucketTagging", "s3:GetBucketTagging", On::Buckets),
    ("s3:GetObject", "s3:GetObject", On::Objects),
    ("s3:GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock", On::Buckets),
    ("s3:HeadBucket", "s3:ListBucket", On::Buckets),
    ("s3:HeadObject", "s3:GetObject", On::Objects),
    ("s3:ListBuckets", "s3:ListAllMyBuckets", On::Everything),
    ("s3:ListObjectsV2", "s3:ListBucket", On::Buckets),
    ("s3:PutBucketLifecycleConfiguration", "s3:PutLifecycleConfiguration", On::Buckets),
    ("s3:PutBucketPolicy", "s3:PutBucketPolicy", On::Buckets),
    ("s3:PutBucketTagging", "s3:PutBucketTagging", On::Buckets),
    ("s3:PutObject", "s3:PutObject", On::Objects),
    ("s3:PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock", On::Buckets),
    ("sns:ListSubscriptionsByTopic", "sns:ListSubscriptionsByTopic", On::Topic),
    ("sns:ListTopics", "sns:ListTopics", On::Everything),
    ("ssm:GetParameter", "ssm:GetParameter", On::Images),
    ("states:ListExecutions", "states:ListExecutions", On::Machines),
    ("states:StartExecution", "states:StartExecution", On::Machines),
    ("states:DescribeStateMachine", "states:DescribeStateMachine", On::Machines),
    ("sts:GetCallerIdentity", "", On::Everything),
];

/// What services ask of the person in the course of those calls: Athena reads the catalogue and
/// writes the result with the caller's rights, CloudFormation gives roles to what it makes.
/// <https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html>
const IMPLIED: [(&str, On); 12] = [
    ("athena:GetDataCatalog", On::DataCatalog),
    ("glue:GetDatabases", On::Catalogue),
    ("glue:GetPartition", On::Catalogue),
    ("glue:GetPartitions", On::Catalogue),
    ("glue:GetTable", On::Catalogue),
    ("glue:GetTables", On::Catalogue),
    ("iam:PassRole", On::Roles),
    ("s3:AbortMultipartUpload", On::Objects),
    ("s3:GetBucketLocation", On::Buckets),
    ("s3:ListBucketMultipartUploads", On::Buckets),
    ("s3:ListMultipartUploadParts", On::Objects),
    ("athena:GetWorkGroup", On::WorkGroup),
];

/// Calls on executions, whose ARNs are not the machine's.
const EXECUTIONS: [&str; 3] =
    ["states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution"];

/// The policy document for one deployment.
pub fn document(names: &Names) -> Value {
    let mut by_place: Vec<(On, Vec<&str>)> = Vec::new();
    let own = CALLS.iter().map(|(_, action, on)| (action, on));
    let implied = IMPLIED.iter().map(|(action, on)| (action, on));
    for (action, on) in own.chain(implied).filter(|(action, _)| !action.is_empty()) {
        match by_place.iter_mut().find(|(place, _)| place == on) {
            Some((_, actions)) if !actions.contains(action) => actions.push(action),
            Some(_) => {}
            None => by_place.push((*on, vec![action])),
        }
    }
    let allow = |sid: String, actions: Value, resources: Vec<String>| json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources });
    let mut statements: Vec<Value> = by_place
        .into_iter()
        .map(|(on, actions)| allow(format!("{on:?}"), json!(actions), resources(on, names)))
        .collect();
    let executions = arn(names, "states", &format!("execution:{}*:*", names.stack()));
    statements.push(allow("Executions".to_owned(), json!(EXECUTIONS), vec![executions]));
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn arn(names: &Names, service: &str, rest: &str) -> String {
    let Names { account, region, .. } = names;
    format!("arn:{}:{service}:{region}:{account}:{rest}", names.partition())
}

fn resources(on: On, names: &Names) -> Vec<String> {
    let (partition, account, stack) = (names.partition(), &names.account, names.stack());
    let buckets = [names.artifacts_bucket(), names.data_bucket()];
    let iam = |kind: &str| vec![format!("arn:{partition}:iam::{account}:{kind}/{stack}-*")];
    match on {
        On::Buckets => buckets.map(|b| format!("arn:{partition}:s3:::{b}")).to_vec(),
        On::Objects => buckets.map(|b| format!("arn:{partition}:s3:::{b}/*")).to_vec(),
        On::Stack => vec![arn(names, "cloudformation", &format!("stack/{stack}/*"))],
        On::Roles => iam("role"),
        On::Profiles => iam("instance-profile"),
        On::Functions => vec![arn(names, "lambda", &format!("function:{stack}-*"))],
        On::Machines => ["", "-drift"]
            .map(|end| arn(names, "states", &format!("stateMachine:{stack}{end}")))
            .to_vec(),
        On::Rules => vec![arn(names, "events", &format!("rule/{stack}-*"))],
        On::Topic => vec![arn(names, "sns", &stack)],
        On::WorkGroup => vec![arn(names, "athena", &format!("workgroup/{stack}"))],
        On::DataCatalog => vec![arn(names, "athena", "datacatalog/AwsDataCatalog")],
        On::Catalogue => [
            "catalog".to_owned(),
            "database/default".to_owned(),
            format!("database/{}", names.database()),
            format!("table/{}/*", names.database()),
        ]
        .map(|rest| arn(names, "glue", &rest))
        .to_vec(),
        On::Job => vec![arn(names, "glue", &format!("job/{stack}-clean"))],
        On::Logs => vec![arn(names, "logs", &format!("log-group:{}/*", names.log_prefix()))],
        On::Images => vec![format!(
            "arn:{partition}:ssm:{}::parameter/aws/service/ami-amazon-linux-latest/*",
            names.region
        )],
        On::Everything => vec!["*".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{CALLS, EXECUTIONS};

    #[test]
    fn the_list_has_every_call_and_no_other() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("aws/src");
        let mut named = BTreeSet::new();
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("readable");
            named.extend(text.split('"').filter(|word| is_call(word)).map(str::to_owned));
        }
        let listed = CALLS.iter().map(|(call, ..)| *call).chain(EXECUTIONS);
        let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
        assert_eq!(named, listed);
    }

    /// `s3:PutObject`.
    fn is_call(word: &str) -> bool {
        word.split_once(':').is_some_and(|(service, operation)| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            // `aws:SecureTransport` is a key of conditions.
            !service.is_empty()
                && service != "aws"
                && service.chars().all(plain)
                && operation.starts_with(|c: char| c.is_ascii_uppercase())
                && operation.chars().all(|c| c.is_ascii_alphanumeric())
        })
    }
}
