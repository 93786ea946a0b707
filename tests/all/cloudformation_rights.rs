//! CloudFormation of the embedded cloud works with the rights of who ordered it.

use std::sync::Arc;

use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::Cloud;
use steppe_cloud::kernel::identity::Caller;
use steppe_cloud::kernel::service;
use steppe_cloud::services::cloudformation::{Stack, resume};
use steppe_cloud::services::iam::Role;

use crate::cloudformation_account::{Account, TOPIC, inventory, request, settle};

/// Somebody whose role has these statements.
fn person(cloud: &Cloud, statements: Value) -> Caller {
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "Service": "lambda.amazonaws.com" }
    }] });
    let mut role = Role::new(trust);
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    role.policies = vec![("p".to_owned(), document)];
    cloud.services.iam.roles.put("person", role).expect("stored");
    let arn = "arn:aws:iam::000000000000:role/person";
    cloud.assume(arn, "lambda.amazonaws.com", "me").expect("trusted")
}

fn allow(actions: &[&str]) -> Value {
    json!([{ "Effect": "Allow", "Action": actions, "Resource": "*" }])
}

/// Has an operation on the stack `s` done and waits for its end; the stack's status.
async fn ordered(account: &Account, caller: &Caller, operation: &str, params: &Value) -> String {
    let made = service::call(&account.cloud, caller, "cloudformation", operation, params)
        .await
        .expect("accepted");
    if let Some(id) = made["StackId"].as_str() {
        return settle(&account.cloud, id).await;
    }
    // Deleted ones of that name are older.
    let stacks = account.cloud.services.cloudformation.stacks.all();
    let is_there =
        |(_, stack): &&(String, Arc<Stack>)| stack.name == "s" && stack.deleted.is_none();
    let (id, _) = stacks.iter().find(is_there).expect("the stack");
    settle(&account.cloud, id).await
}

/// The text with `UUID` in the place of what differs each time.
fn masked(text: &str) -> String {
    let is_uuid = |word: &&str| {
        let parts: Vec<usize> = word.split('-').map(str::len).collect();
        parts == [8, 4, 4, 4, 12] && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
    };
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(is_uuid).fold(text.to_owned(), |text, uuid| text.replace(uuid, "UUID"))
}

/// Why the resource `R` failed, of the stack `s`.
async fn reason(account: &Account, id: &str, status: &str) -> String {
    let story = account.story(id).await;
    let begin = format!("R {status}: ");
    let found = story.iter().rev().find_map(|line| line.strip_prefix(&begin));
    masked(found.unwrap_or_else(|| panic!("{begin} in {story:#?}")))
}

const USER: &str = "User: arn:aws:sts::000000000000:assumed-role/person/me is not authorized to \
                    perform:";

#[tokio::test]
async fn what_the_caller_may_not_do_fails_in_the_words_of_each_handler() {
    let account = Account::new();
    let caller = person(&account.cloud, allow(&["cloudformation:*", "ec2:Describe*"]));
    let denied = |action: &str, on: &str| {
        format!(
            "{USER} {action} on resource: {on} because no identity-based policy allows the \
                 {action} action"
        )
    };
    let trust = "AssumeRolePolicyDocument: { Version: '2012-10-17', Statement: [] }";
    let arn = |rest: &str| format!("arn:aws:{rest}").replace("HERE", "us-east-1:000000000000");
    for (kind, properties, said, ending) in [
        (
            "AWS::S3::Bucket",
            "BucketName: data-of-nobody",
            denied("s3:CreateBucket", "\"arn:aws:s3:::data-of-nobody\""),
            "S3, Status Code: 403",
        ),
        (
            "AWS::IAM::Role",
            &format!("RoleName: x, {trust}"),
            denied("iam:CreateRole", "arn:aws:iam::000000000000:role/x"),
            "Iam, Status Code: 403",
        ),
        (
            "AWS::EC2::VPC",
            "CidrBlock: 10.0.0.0/16",
            format!(
                "You are not authorized to perform this operation. {}",
                denied("ec2:CreateVpc", &arn("ec2:HERE:vpc/*"))
            ),
            "Ec2, Status Code: 403",
        ),
        (
            "AWS::Logs::LogGroup",
            "LogGroupName: x",
            denied("logs:CreateLogGroup", &arn("logs:HERE:log-group:x:log-stream:")),
            "CloudWatchLogs, Status Code: 400",
        ),
        (
            "AWS::SNS::Topic",
            "TopicName: x",
            denied("SNS:CreateTopic", &arn("sns:HERE:x")),
            "Sns, Status Code: 403",
        ),
        (
            "AWS::Glue::Database",
            "CatalogId: '000000000000', DatabaseInput: { Name: x }",
            denied("glue:CreateDatabase", &arn("glue:HERE:catalog")),
            "Glue, Status Code: 400",
        ),
        (
            "AWS::Athena::WorkGroup",
            "Name: x",
            denied("athena:CreateWorkGroup", &arn("athena:HERE:workgroup/x")),
            "Athena, Status Code: 400",
        ),
    ] {
        let template =
            format!("Resources:\n  R: {{ Type: '{kind}', Properties: {{ {properties} }} }}\n");
        let params = request("s", &template, json!({}));
        assert_eq!(ordered(&account, &caller, "CreateStack", &params).await, "ROLLBACK_COMPLETE");
        let expected = format!(
            "Resource handler returned message: \"{said} (Service: {ending}, Request ID: UUID) \
             (SDK Attempt Count: 1)\" (RequestToken: UUID, HandlerErrorCode: AccessDenied)"
        );
        assert_eq!(reason(&account, "s", "CREATE_FAILED").await, expected);
        assert_eq!(account.delete("s").await, "DELETE_COMPLETE");
    }
    // Nothing was made, and nothing was left.
    assert_eq!(inventory(&account.cloud).into_iter().collect::<Vec<_>>(), ["roles person"]);
}

#[tokio::test]
async fn tags_of_the_stack_need_the_right_to_tag() {
    let account = Account::new();
    let actions = ["cloudformation:*", "logs:*LogGroup*", "iam:CreateRole", "iam:GetRole"];
    let caller = person(&account.cloud, allow(&actions));
    let group =
        "Resources:\n  R: { Type: 'AWS::Logs::LogGroup', Properties: { LogGroupName: x } }\n";
    let tags = json!({ "Tags": [{ "Key": "team", "Value": "a" }] });
    let params = request("s", group, tags);
    assert_eq!(ordered(&account, &caller, "CreateStack", &params).await, "ROLLBACK_COMPLETE");
    let expected = format!(
        "Resource handler returned message: \"Encountered a permissions error performing a tagging \
         operation, please add required tag permissions. See \
         https://repost.aws/knowledge-center/cloudformation-tagging-permission-error for how to \
         resolve. Resource handler returned message: \"{USER} logs:TagResource on resource: \
         arn:aws:logs:us-east-1:000000000000:log-group:x because no identity-based policy allows \
         the logs:TagResource action (Service: CloudWatchLogs, Status Code: 400, Request ID: UUID) \
         (SDK Attempt Count: 1)\"\" (RequestToken: UUID, HandlerErrorCode: \
         UnauthorizedTaggingOperation)"
    );
    assert_eq!(reason(&account, "s", "CREATE_FAILED").await, expected);
    let params = request("t", group, json!({}));
    assert_eq!(ordered(&account, &caller, "CreateStack", &params).await, "CREATE_COMPLETE");
}

#[tokio::test]
async fn what_is_undone_or_deleted_needs_rights_as_well() {
    let account = Account::new();
    let cloud = &account.cloud;
    let actions = ["cloudformation:*", "sns:CreateTopic", "sns:GetTopicAttributes"];
    let caller = person(cloud, allow(&actions));
    let topic = "Resources:\n  R: { Type: 'AWS::SNS::Topic', Properties: { TopicName: x } }\n";
    let both = format!("{topic}  G: {{ Type: 'AWS::Logs::LogGroup', DependsOn: R }}\n");
    let params = request("s", &both, json!({}));
    assert_eq!(ordered(&account, &caller, "CreateStack", &params).await, "ROLLBACK_FAILED");
    let words = "because no identity-based policy allows the SNS:DeleteTopic action";
    let why = reason(&account, "s", "DELETE_FAILED").await;
    assert!(why.contains(words) && why.contains("HandlerErrorCode: AccessDenied"), "{why}");
    assert_eq!(account.delete("s").await, "DELETE_COMPLETE", "the administrator may");
    // An update, and its rollback.
    let params = request("s", topic, json!({}));
    assert_eq!(ordered(&account, &caller, "CreateStack", &params).await, "CREATE_COMPLETE");
    let changed = topic.replace("TopicName: x", "TopicName: x, DisplayName: y");
    let params = request("s", &changed, json!({}));
    let status = ordered(&account, &caller, "UpdateStack", &params).await;
    assert_eq!(status, "UPDATE_ROLLBACK_FAILED");
    let why = reason(&account, "s", "UPDATE_FAILED").await;
    assert!(why.contains("allows the SNS:SetTopicAttributes action"), "{why}");
    let caller = person(cloud, allow(&[&actions[..], &["sns:SetTopicAttributes"]].concat()));
    let params = json!({ "StackName": "s" });
    let status = ordered(&account, &caller, "ContinueUpdateRollback", &params).await;
    assert_eq!(status, "UPDATE_ROLLBACK_COMPLETE");
    assert_eq!(ordered(&account, &caller, "DeleteStack", &params).await, "DELETE_FAILED");
    assert!(reason(&account, "s", "DELETE_FAILED").await.contains(words));
}

#[tokio::test]
async fn an_operation_goes_on_after_a_restart_with_the_rights_of_who_ordered_it() {
    let account = Account::new();
    let cloud = &account.cloud;
    let (id, status) = account.create("s", TOPIC).await;
    assert_eq!(status, "CREATE_COMPLETE");
    let caller = person(cloud, allow(&["cloudformation:*"]));
    let begun = cloud.services.cloudformation.stacks.update(&id, |stack| {
        stack.status = "DELETE_IN_PROGRESS".to_owned();
        stack.operation.caller = Some(caller);
    });
    assert!(begun.expect("stored").is_some());
    resume(cloud);
    assert_eq!(settle(cloud, &id).await, "DELETE_FAILED");
    assert_eq!(cloud.services.sns.topics.all().len(), 1);
}

#[tokio::test]
async fn parameters_of_ssm_are_read_as_the_caller() {
    let account = Account::new();
    let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    let template = format!(
        "Parameters:\n  Image: {{ Type: 'AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>', \
         Default: {name} }}\n{TOPIC}"
    );
    let params = request("s", &template, json!({}));
    let caller = person(&account.cloud, allow(&["cloudformation:*", "sns:*"]));
    let refused =
        service::call(&account.cloud, &caller, "cloudformation", "CreateStack", &params).await;
    let expected = format!(
        "{USER} ssm:GetParameters on resource: arn:aws:ssm:us-east-1::parameter{name} because no \
         identity-based policy allows the ssm:GetParameters action (Service: \
         AWSSimpleSystemsManagement; Status Code: 400; Error Code: AccessDeniedException; Request \
         ID: UUID; Proxy: null)"
    );
    assert_eq!(masked(&refused.expect_err("denied").message), expected);
    let caller = person(&account.cloud, allow(&["cloudformation:*", "sns:*", "ssm:GetParameters"]));
    assert_eq!(ordered(&account, &caller, "CreateStack", &params).await, "CREATE_COMPLETE");
}

#[tokio::test]
async fn a_function_is_made_only_from_code_that_the_caller_may_read() {
    let account = Account::new();
    let caller = person(&account.cloud, allow(&["cloudformation:*", "lambda:*", "iam:PassRole"]));
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let function = format!(
        "Resources:\n  R: {{ Type: 'AWS::Lambda::Function', Properties: {{ FunctionName: f, \
         Runtime: provided.al2023, Handler: bootstrap, Architectures: [{architecture}], Role: \
         'arn:aws:iam::000000000000:role/person', Code: {{ S3Bucket: packages, S3Key: a/b.zip }} \
         }} }}\n"
    );
    let params = request("s", &function, json!({}));
    assert_eq!(ordered(&account, &caller, "CreateStack", &params).await, "ROLLBACK_COMPLETE");
    let why = reason(&account, "s", "CREATE_FAILED").await;
    let words = "\"Your access has been denied by S3, please make sure your request credentials \
                 have permission to GetObject for packages/a/b.zip. S3 Error Code: AccessDenied. \
                 S3 Error Message: Access Denied (Service: Lambda, Status Code: 403,";
    assert!(why.contains(words), "{why}");
}

#[tokio::test]
async fn a_buckets_policy_denies_the_administrators_stacks_too() {
    let account = Account::new();
    let bucket =
        "Resources:\n  R: { Type: 'AWS::S3::Bucket', Properties: { BucketName: kept-data } }\n";
    assert_eq!(account.create("s", bucket).await.1, "CREATE_COMPLETE");
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket",
        "Resource": "arn:aws:s3:::kept-data"
    }] });
    account.cloud.services.s3.configure("kept-data", |b| b.policy = Some(policy)).expect("stored");
    assert_eq!(account.delete("s").await, "DELETE_FAILED");
    let why = reason(&account, "s", "DELETE_FAILED").await;
    assert!(
        why.contains(
            "s3:DeleteBucket on resource: \"arn:aws:s3:::kept-data\" with an explicit \
                          deny in a resource-based policy"
        ),
        "{why}"
    );
}

#[tokio::test]
async fn a_template_in_s3_is_read_with_the_callers_rights() {
    let account = Account::new();
    let cloud = &account.cloud;
    let role = "Resources:\n  Role: { Type: 'AWS::IAM::Role', Properties: { RoleName: builder, \
                AssumeRolePolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: Allow, \
                Principal: { Service: lambda.amazonaws.com }, Action: sts:AssumeRole }] }, \
                Policies: [{ PolicyName: p, PolicyDocument: { Version: '2012-10-17', Statement: \
                [{ Effect: Allow, Action: 'cloudformation:*', Resource: '*' }, { Effect: Allow, \
                Action: s3:GetObject, Resource: 'arn:aws:s3:::templates/open/*' }] } }] } }\n";
    let (_, status) = account.create("roles", role).await;
    assert_eq!(status, "CREATE_COMPLETE", "{:#?}", account.story("roles").await);
    cloud.services.s3.create("templates", json!([])).expect("made");
    for key in ["open/t.yaml", "secret/t.yaml"] {
        cloud.services.s3.put_bytes("templates", key, TOPIC.as_bytes()).expect("stored");
    }
    let arn = "arn:aws:iam::000000000000:role/builder";
    let builder = cloud.assume(arn, "lambda.amazonaws.com", "f").expect("trusted");
    let validate = |key: &'static str| {
        let url = format!("https://s3.us-east-1.amazonaws.com/templates/{key}");
        let builder = &builder;
        async move {
            service::call(
                cloud,
                builder,
                "cloudformation",
                "ValidateTemplate",
                &json!({ "TemplateURL": url }),
            )
            .await
        }
    };
    assert!(validate("open/t.yaml").await.is_ok());
    for key in ["secret/t.yaml", "%73ecret/t.yaml", "secret/missing.yaml"] {
        let error = validate(key).await.expect_err("refused").message;
        assert!(error.starts_with("S3 error: Access Denied\n"), "{key}: {error}");
    }
}

#[tokio::test]
async fn a_role_is_passed_to_a_service_only_by_who_may() {
    let account = Account::new();
    let cloud = &account.cloud;
    let trust = "AssumeRolePolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: Allow, \
                 Principal: { Service: [lambda.amazonaws.com, states.amazonaws.com, \
                 ec2.amazonaws.com] }, Action: sts:AssumeRole }] }";
    let roles = format!(
        "Resources:\n  Worker: {{ Type: 'AWS::IAM::Role', Properties: {{ RoleName: worker, {trust} \
         }} }}\n  Builder: {{ Type: 'AWS::IAM::Role', Properties: {{ RoleName: builder, {trust}, \
         Policies: [{{ PolicyName: p, PolicyDocument: {{ Version: '2012-10-17', Statement: \
         [{{ Effect: Allow, Action: 'cloudformation:*', Resource: '*' }}, {{ Effect: Allow, Action: \
         iam:PassRole, Resource: 'arn:aws:iam::000000000000:role/worker', Condition: \
         {{ StringEquals: {{ 'iam:PassedToService': states.amazonaws.com }} }} }}, {{ Effect: \
         Allow, Action: ['states:*', 'iam:*InstanceProfile'], Resource: '*' }}] }} }}] }} }}\n"
    );
    let (_, status) = account.create("roles", &roles).await;
    assert_eq!(status, "CREATE_COMPLETE", "{:#?}", account.story("roles").await);
    let arn = "arn:aws:iam::000000000000:role/builder";
    let builder = cloud.assume(arn, "lambda.amazonaws.com", "f").expect("trusted");
    let build = |name: &'static str, template: String| {
        let builder = &builder;
        async move {
            let params = request(name, &template, json!({}));
            let made = service::call(cloud, builder, "cloudformation", "CreateStack", &params)
                .await
                .expect("accepted");
            settle(cloud, made["StackId"].as_str().expect("an ID")).await
        }
    };
    let machine = "Resources:\n  M: { Type: 'AWS::StepFunctions::StateMachine', Properties: { RoleArn: \
                   'arn:aws:iam::000000000000:role/worker', DefinitionString: '{\"QueryLanguage\": \
                   \"JSONata\", \"StartAt\": \"A\", \"States\": {\"A\": {\"Type\": \"Pass\", \
                   \"End\": true}}}' } }\n";
    assert_eq!(build("machine", machine.to_owned()).await, "CREATE_COMPLETE");
    let profile = "Resources:\n  P: { Type: 'AWS::IAM::InstanceProfile', Properties: { Roles: \
                   [worker] } }\n";
    assert_eq!(build("profile", profile.to_owned()).await, "ROLLBACK_COMPLETE");
    let story = account.story("profile").await.join("\n");
    let words = "P CREATE_FAILED: Resource handler returned message: \"User: \
                 arn:aws:sts::000000000000:assumed-role/builder/f is not \
                 authorized to perform: iam:PassRole on resource: \
                 arn:aws:iam::000000000000:role/worker";
    assert!(story.contains(words), "{story}");
}
