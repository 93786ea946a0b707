//! The policies that a deploying person needs: for what this program calls itself, and for what
//! CloudFormation does on the person's behalf, such as making roles and networks.
//!
//! The calls are one list, which a test compares with those that the sources name. What handlers of
//! resources call is in a table that the embedded cloud asks by, held against what AWS publishes. A
//! scenario deploys under both. Everything is on names of the deployment; only what AWS gives IDs
//! to, such as networks, cannot be told apart by names and is on the account's region.

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
    Crawler,
    Alarms,
    /// Networks and instances, which have no names.
    Network,
    Logs,
    Images,
    /// The action knows no narrower resource.
    Everything,
}

/// The call as the sources name it, the action that IAM asks for, and what it is on. A call that
/// needs no permission has no action.
const CALLS: [(&str, &str, On); 67] = [
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
    ("glue:GetCrawler", "glue:GetCrawler", On::Crawler),
    ("glue:GetDatabase", "glue:GetDatabase", On::Catalogue),
    ("glue:GetJob", "glue:GetJob", On::Job),
    ("glue:GetTable", "glue:GetTable", On::Catalogue),
    ("iam:GetInstanceProfile", "iam:GetInstanceProfile", On::Profiles),
    ("iam:GetRole", "iam:GetRole", On::Roles),
    ("iam:GetRolePolicy", "iam:GetRolePolicy", On::Roles),
    ("iam:ListRolePolicies", "iam:ListRolePolicies", On::Roles),
    ("lambda:GetFunction", "lambda:GetFunction", On::Functions),
    ("lambda:InvokeFunction", "lambda:InvokeFunction", On::Functions),
    ("logs:DescribeLogGroups", "logs:DescribeLogGroups", On::Everything),
    ("logs:FilterLogEvents", "logs:FilterLogEvents", On::Logs),
    ("s3:CompleteMultipartUpload", "s3:PutObject", On::Objects),
    ("s3:CreateBucket", "s3:CreateBucket", On::Buckets),
    ("s3:CreateMultipartUpload", "s3:PutObject", On::Objects),
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
    ("s3:UploadPart", "s3:PutObject", On::Objects),
    ("sns:ListSubscriptionsByTopic", "sns:ListSubscriptionsByTopic", On::Topic),
    ("ssm:GetParameter", "ssm:GetParameter", On::Images),
    ("states:ListExecutions", "states:ListExecutions", On::Machines),
    ("states:StartExecution", "states:StartExecution", On::Machines),
    ("states:DescribeStateMachine", "states:DescribeStateMachine", On::Machines),
    ("tag:GetResources", "tag:GetResources", On::Everything),
    ("sts:GetCallerIdentity", "", On::Everything),
];

/// What services ask of the person in the course of those calls: Athena reads the catalogue and
/// writes the result with the caller's rights, CloudFormation gives roles to what it makes.
/// <https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html>
const IMPLIED: [(&str, On); 11] = [
    ("athena:GetDataCatalog", On::DataCatalog),
    ("glue:GetDatabases", On::Catalogue),
    ("glue:GetPartition", On::Catalogue),
    ("glue:GetPartitions", On::Catalogue),
    ("glue:GetTables", On::Catalogue),
    ("iam:PassRole", On::Roles),
    ("s3:AbortMultipartUpload", On::Objects),
    ("s3:GetBucketLocation", On::Buckets),
    ("s3:ListBucketMultipartUploads", On::Buckets),
    ("s3:ListMultipartUploadParts", On::Objects),
    ("athena:GetWorkGroup", On::WorkGroup),
];

/// What CloudFormation's handlers call: see the head of the table.
const HANDLERS: &str = include_str!("../../runtime/cloud/models/handler_actions.tsv");

/// Characters of a managed policy, white space not counted.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
pub const MANAGED_CHARS_MAX: usize = 6_144;

/// Calls on executions, whose ARNs are not the machine's.
const EXECUTIONS: [&str; 4] = [
    "states:DescribeExecution",
    "states:GetExecutionHistory",
    "states:RedriveExecution",
    "states:StopExecution",
];

/// The policy documents for one deployment, as few as IAM's limit allows.
pub fn documents(names: &Names) -> Vec<Value> {
    let mut documents: Vec<Vec<Value>> = vec![vec![]];
    for statement in statements(names) {
        let last = documents.last_mut().filter(|last| {
            let longer = [last.as_slice(), std::slice::from_ref(&statement)].concat();
            document(&longer).to_string().len() <= MANAGED_CHARS_MAX
        });
        match last {
            Some(last) => last.push(statement),
            None => documents.push(vec![statement]),
        }
    }
    documents.iter().map(|statements| document(statements)).collect()
}

/// What the documents are.
pub fn introduction(documents: &[Value]) -> String {
    let what = "for what this program calls and what CloudFormation does in your name";
    match documents.len() {
        1 => format!("{what}; one managed policy"),
        count => format!(
            "{what}; {count} managed policies to be attached together, because IAM takes \
             {MANAGED_CHARS_MAX} characters in one"
        ),
    }
}

fn document(statements: &[Value]) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// One statement for each kind of thing that actions are on.
fn statements(names: &Names) -> Vec<Value> {
    let mut by_place: Vec<(On, Vec<&str>)> = Vec::new();
    let own = CALLS.iter().map(|(_, action, on)| (*action, *on));
    let implied = IMPLIED.iter().copied();
    for (action, on) in own.chain(implied).chain(handled()).filter(|(action, _)| !action.is_empty())
    {
        match by_place.iter_mut().find(|(place, _)| *place == on) {
            Some((_, actions)) if !actions.contains(&action) => actions.push(action),
            Some(_) => {}
            None => by_place.push((on, vec![action])),
        }
    }
    let allow = |sid: String, actions: Value, resources: Vec<String>| -> Value {
        json!({ "Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources })
    };
    let mut statements: Vec<Value> = by_place
        .into_iter()
        .map(|(on, actions)| allow(format!("{on:?}"), json!(actions), resources(on, names)))
        .collect();
    let executions = arn(names, "states", &format!("execution:{}*:*", names.stack()));
    statements.push(allow("Executions".to_owned(), json!(EXECUTIONS), vec![executions]));
    statements
}

/// What the handlers of the templates' resources call.
fn handled() -> impl Iterator<Item = (&'static str, On)> {
    HANDLERS.lines().filter(|line| !line.starts_with('#')).flat_map(|line| {
        let mut columns = line.split('\t').skip(3);
        let mut column = || columns.next().unwrap_or_default();
        let (actions, resources) = (column(), column());
        let on = place(actions, resources);
        actions.split(',').map(move |action| (action, on))
    })
}

/// What the resources of a row of the table are in a deployment.
fn place(actions: &str, resources: &str) -> On {
    let first = resources.split(',').next().unwrap_or_default();
    let mut parts = first.splitn(4, ':');
    let (service, name) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
    match service {
        "s3" if name.contains('/') => On::Objects,
        "s3" => On::Buckets,
        "glue" if name.starts_with("job/") => On::Job,
        "glue" if name.starts_with("crawler/") => On::Crawler,
        "glue" => On::Catalogue,
        "athena" => On::WorkGroup,
        "ec2" => On::Network,
        "iam" if name.starts_with("role/") => On::Roles,
        "iam" => On::Profiles,
        "lambda" => On::Functions,
        "logs" if name.starts_with("log-group:{id}") => On::Logs,
        "cloudwatch" => On::Alarms,
        "events" => On::Rules,
        // The ID is the ARN.
        _ if resources != "*" && actions.starts_with("states:") => On::Machines,
        _ if resources != "*" && actions.starts_with("sns:") => On::Topic,
        _ => On::Everything,
    }
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
        On::Machines => ["", "-drift", "-failures"]
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
            format!("userDefinedFunction/{}/*", names.database()),
        ]
        .map(|rest| arn(names, "glue", &rest))
        .to_vec(),
        On::Job => vec![arn(names, "glue", &format!("job/{stack}-clean"))],
        On::Crawler => vec![arn(names, "glue", &format!("crawler/{stack}"))],
        On::Alarms => vec![arn(names, "cloudwatch", &format!("alarm:{stack}-*"))],
        On::Network => {
            vec![arn(names, "ec2", "*"), format!("arn:{partition}:ec2:{}::image/*", names.region)]
        }
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

    use steppe_plan::names::Names;

    use super::{CALLS, EXECUTIONS, HANDLERS, MANAGED_CHARS_MAX, documents};

    #[test]
    fn the_documents_fit_and_have_all_actions() {
        let names = Names {
            project: "sixteen-letters-".into(),
            pipeline: "elevenchars".into(),
            environment: "elevenchars".into(),
            account: "123456789012".into(),
            region: "ap-southeast-2".into(),
        };
        let documents = documents(&names);
        let mut granted = BTreeSet::new();
        for document in &documents {
            let chars = document.to_string().chars().count();
            assert!(chars <= MANAGED_CHARS_MAX, "{chars}");
            for statement in document["Statement"].as_array().expect("statements") {
                let actions = statement["Action"].as_array().expect("actions");
                granted.extend(actions.iter().filter_map(|a| a.as_str()));
            }
        }
        let rows = HANDLERS.lines().filter(|line| !line.starts_with('#'));
        for action in rows.filter_map(|row| row.split('\t').nth(3)).flat_map(|a| a.split(',')) {
            assert!(granted.contains(action), "{action}");
        }
        assert_eq!(documents.len(), 2, "a role takes ten managed policies");
    }

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
