//! Users with keys of their own, groups, and AWS's own policies, by the API and from templates.

use serde_json::{Value, json};
use steppe_cloud::kernel::service;

use crate::cloudformation_account::Account;
use crate::signed::{Answer, Keys, Request, Served};

const BASIC: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
const READ_S3: &str = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";

/// Calls IAM; code and message of a refusal.
async fn iam(
    served: &Served,
    keys: &Keys,
    operation: &str,
    params: &[(&str, &str)],
) -> Result<Answer, (String, String)> {
    let mut all = vec![("Action", operation)];
    all.extend_from_slice(params);
    let answer = served.query(keys, "iam", &all).await;
    match answer.status {
        200 => Ok(answer),
        _ => Err((answer.element("Code"), answer.element("Message"))),
    }
}

fn document(statements: Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

fn refusal(code: &str, message: impl Into<String>) -> (String, String) {
    (code.to_owned(), message.into())
}

/// Makes a user and a key of it.
async fn user(served: &Served, name: &str) -> Keys {
    let administrator = served.administrator();
    let named = [("UserName", name)];
    let made = iam(served, &administrator, "CreateUser", &named).await.expect("made");
    assert_eq!(made.element("Arn"), format!("arn:aws:iam::000000000000:user/{name}"));
    let key = iam(served, &administrator, "CreateAccessKey", &named).await.expect("a key");
    let keys = Keys {
        id: key.element("AccessKeyId"),
        secret: key.element("SecretAccessKey"),
        token: None,
    };
    assert!(keys.id.starts_with("AKIA") && keys.id.len() == 20 && keys.secret.len() == 40);
    keys
}

async fn s3(served: &Served, keys: &Keys, method: &str, path: &str) -> (u16, String) {
    let form = Request::form(keys, "s3");
    let answer = served.send(&Request { method, path, headers: vec![], ..form }).await;
    (answer.status, answer.element("Code"))
}

#[tokio::test]
async fn a_user_works_with_its_own_key_as_its_policies_and_its_groups_let_it() {
    let served = Served::start().await;
    let administrator = served.administrator();
    let keys = user(&served, "ana").await;
    assert_eq!(s3(&served, &administrator, "PUT", "/shared-data").await.0, 200);
    let who = served.query(&keys, "sts", &[("Action", "GetCallerIdentity")]).await;
    assert_eq!(who.element("Arn"), "arn:aws:iam::000000000000:user/ana");
    assert!(who.element("UserId").starts_with("AIDA"), "{}", who.text());

    // Nothing is allowed before a policy allows it.
    let denied = iam(&served, &keys, "ListRoles", &[]).await.expect_err("denied");
    let words = "User: arn:aws:iam::000000000000:user/ana is not authorized to perform: \
                 iam:ListRoles on resource: * because no identity-based policy allows the \
                 iam:ListRoles action";
    assert_eq!(denied, refusal("AccessDenied", words));
    assert_eq!(s3(&served, &keys, "GET", "/shared-data").await, (403, "AccessDenied".to_owned()));

    // A policy of AWS's lets it read buckets, and not write.
    let attach = [("UserName", "ana"), ("PolicyArn", READ_S3)];
    iam(&served, &administrator, "AttachUserPolicy", &attach).await.expect("attached");
    assert_eq!(s3(&served, &keys, "GET", "/shared-data").await.0, 200);
    assert_eq!(s3(&served, &keys, "PUT", "/other-data").await, (403, "AccessDenied".to_owned()));

    // An inline policy, by the user's name and tags.
    let own = document(json!([
        { "Effect": "Allow", "Action": "iam:GetUser",
          "Resource": "arn:aws:iam::*:user/${aws:username}" },
        { "Effect": "Allow", "Action": "iam:ListUsers", "Resource": "*",
          "Condition": { "StringEquals": { "aws:PrincipalTag/team": "a" } } },
    ]));
    let put = [("UserName", "ana"), ("PolicyName", "own"), ("PolicyDocument", own.as_str())];
    iam(&served, &administrator, "PutUserPolicy", &put).await.expect("put");
    let me = iam(&served, &keys, "GetUser", &[]).await.expect("allowed");
    assert_eq!(me.element("UserName"), "ana");
    assert!(iam(&served, &keys, "GetUser", &[("UserName", "administrator")]).await.is_err());
    assert!(iam(&served, &keys, "ListUsers", &[]).await.is_err());
    let tag = [("UserName", "ana"), ("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "a")];
    iam(&served, &administrator, "TagUser", &tag).await.expect("tagged");
    let listed = iam(&served, &keys, "ListUsers", &[]).await.expect("allowed").text();
    assert!(listed.contains("<UserName>administrator<") && listed.contains("<UserName>ana<"));

    // A group's policy.
    let writers = document(json!([
        { "Effect": "Allow", "Action": "s3:CreateBucket", "Resource": "*" },
    ]));
    let group = ("GroupName", "writers");
    iam(&served, &administrator, "CreateGroup", &[group]).await.expect("made");
    let put = [group, ("PolicyName", "write"), ("PolicyDocument", writers.as_str())];
    iam(&served, &administrator, "PutGroupPolicy", &put).await.expect("put");
    let membership = [group, ("UserName", "ana")];
    iam(&served, &administrator, "AddUserToGroup", &membership).await.expect("added");
    assert_eq!(s3(&served, &keys, "PUT", "/other-data").await.0, 200);
    iam(&served, &administrator, "RemoveUserFromGroup", &membership).await.expect("removed");
    assert_eq!(s3(&served, &keys, "PUT", "/third-data").await.0, 403);

    // A boundary of AWS's narrows all of it.
    let boundary = [("UserName", "ana"), ("PermissionsBoundary", BASIC)];
    iam(&served, &administrator, "PutUserPermissionsBoundary", &boundary).await.expect("put");
    assert_eq!(s3(&served, &keys, "GET", "/shared-data").await.0, 403);
    let out = iam(&served, &keys, "GetUser", &[]).await.expect_err("out of the boundary");
    assert!(out.1.ends_with("because no permissions boundary allows the iam:GetUser action"));
    let named = [("UserName", "ana")];
    let deleted = iam(&served, &administrator, "DeleteUserPermissionsBoundary", &named).await;
    deleted.expect("deleted");
    assert_eq!(s3(&served, &keys, "GET", "/shared-data").await.0, 200);

    // What it did and was denied is in the audit log, and no secret is in any log.
    let audit = std::fs::read_to_string(served.cloud.path("audit.ndjson")).expect("readable");
    let of_ana = audit.lines().filter(|line| line.contains(":user/ana\""));
    assert!(of_ana.filter(|line| line.contains("\"allowed\":false")).count() >= 5, "{audit}");
    let trail = std::fs::read_to_string(served.cloud.path("trail.ndjson")).expect("readable");
    assert!(trail.contains("\"userName\":\"ana\""), "{trail}");
    assert!(!audit.contains(&keys.secret) && !trail.contains(&keys.secret));
}

#[tokio::test]
async fn an_inactive_or_deleted_key_is_invalid() {
    let served = Served::start().await;
    let administrator = served.administrator();
    let keys = user(&served, "ana").await;
    let who = async |keys: &Keys| {
        let answer = served.query(keys, "sts", &[("Action", "GetCallerIdentity")]).await;
        (answer.status, answer.element("Code"), answer.element("Message"))
    };
    let invalid = (
        403,
        "InvalidClientTokenId".to_owned(),
        "The security token included in the request is invalid.".to_owned(),
    );
    let set = async |status: &str| {
        let params = [("UserName", "ana"), ("AccessKeyId", &*keys.id), ("Status", status)];
        iam(&served, &administrator, "UpdateAccessKey", &params).await
    };
    assert_eq!(who(&keys).await.0, 200);
    set("Inactive").await.expect("changed");
    assert_eq!(who(&keys).await, invalid);
    assert_eq!(s3(&served, &keys, "GET", "/").await, (403, "InvalidAccessKeyId".to_owned()));
    let list = iam(&served, &administrator, "ListAccessKeys", &[("UserName", "ana")]).await;
    let list = list.expect("listed");
    assert_eq!(list.element("Status"), "Inactive");
    assert!(!list.text().contains(&keys.secret));
    set("Active").await.expect("changed");
    assert_eq!(who(&keys).await.0, 200);
    assert_eq!(set("Expired").await.expect_err("not here").0, "NotImplemented");
    let wrong = Keys { secret: "x".repeat(40), ..keys.clone() };
    assert_eq!(who(&wrong).await.1, "SignatureDoesNotMatch");

    // Two keys are the most.
    let named = [("UserName", "ana")];
    iam(&served, &administrator, "CreateAccessKey", &named).await.expect("the second");
    let third = iam(&served, &administrator, "CreateAccessKey", &named).await;
    let words = "Cannot exceed quota for AccessKeysPerUser: 2";
    assert_eq!(third.expect_err("a third"), refusal("LimitExceeded", words));
    let delete = [("UserName", "ana"), ("AccessKeyId", &*keys.id)];
    iam(&served, &administrator, "DeleteAccessKey", &delete).await.expect("deleted");
    assert_eq!(who(&keys).await, invalid);
    let again = iam(&served, &administrator, "DeleteAccessKey", &delete).await;
    let words = format!("The Access Key with id {} cannot be found.", keys.id);
    assert_eq!(again.expect_err("gone"), refusal("NoSuchEntity", words));
}

#[tokio::test]
async fn a_user_takes_on_a_role_that_trusts_it() {
    let served = Served::start().await;
    let administrator = served.administrator();
    let keys = user(&served, "ana").await;
    let other = user(&served, "bob").await;
    let trust = document(json!([{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "AWS": "arn:aws:iam::000000000000:user/ana" }
    }]));
    let role = [("RoleName", "r"), ("AssumeRolePolicyDocument", trust.as_str())];
    iam(&served, &administrator, "CreateRole", &role).await.expect("made");
    let assume = async |keys: &Keys| {
        let params = [
            ("Action", "AssumeRole"),
            ("RoleArn", "arn:aws:iam::000000000000:role/r"),
            ("RoleSessionName", "mine"),
        ];
        served.query(keys, "sts", &params).await
    };
    let session = Keys::assumed(&assume(&keys).await);
    let who = served.query(&session, "sts", &[("Action", "GetCallerIdentity")]).await;
    assert_eq!(who.element("Arn"), "arn:aws:sts::000000000000:assumed-role/r/mine");
    assert_eq!(assume(&other).await.element("Code"), "AccessDenied");
    let nobody = trust.replace("user/ana", "user/nobody");
    let role = [("RoleName", "q"), ("AssumeRolePolicyDocument", nobody.as_str())];
    let refused = iam(&served, &administrator, "CreateRole", &role).await.expect_err("refused");
    let words = "Invalid principal in policy: \"AWS\":\"arn:aws:iam::000000000000:user/nobody\"";
    assert_eq!(refused, refusal("MalformedPolicyDocument", words));

    // A session of a role has no user, and the administrator is none that can be changed.
    let all = document(json!([{ "Effect": "Allow", "Action": "iam:*", "Resource": "*" }]));
    let put = [("RoleName", "r"), ("PolicyName", "p"), ("PolicyDocument", all.as_str())];
    iam(&served, &administrator, "PutRolePolicy", &put).await.expect("put");
    let refused = iam(&served, &session, "CreateAccessKey", &[]).await.expect_err("no user");
    let words = "Must specify userName when calling with non-User credentials";
    assert_eq!(refused, refusal("ValidationError", words));
    let refused = iam(&served, &administrator, "CreateAccessKey", &[]).await.expect_err("fixed");
    assert_eq!(refused.0, "NotImplemented");
}

#[tokio::test]
async fn what_is_not_there_or_still_used_is_refused_in_aws_words() {
    let served = Served::start().await;
    let keys = served.administrator();
    let refused = async |operation: &str, params: &[(&str, &str)]| {
        iam(&served, &keys, operation, params).await.expect_err(operation)
    };
    let done = async |operation: &str, params: &[(&str, &str)]| {
        iam(&served, &keys, operation, params).await.expect(operation)
    };
    let (ana, group) = (("UserName", "ana"), ("GroupName", "g"));
    let no_user = refusal("NoSuchEntity", "The user with name ana cannot be found.");
    assert_eq!(refused("GetUser", &[ana]).await, no_user);
    assert_eq!(refused("CreateAccessKey", &[ana]).await, no_user);
    let no_group = refusal("NoSuchEntity", "The group with name g cannot be found.");
    assert_eq!(refused("GetGroup", &[group]).await, no_group);
    let key = user(&served, "ana").await;
    assert_eq!(refused("AddUserToGroup", &[ana, group]).await, no_group);
    done("CreateGroup", &[group]).await;
    done("AddUserToGroup", &[ana, group]).await;
    for (operation, name, words) in [
        ("CreateUser", ("UserName", "ANA"), "User with name ANA already exists."),
        (
            "CreateUser",
            ("UserName", "administrator"),
            "User with name administrator already exists.",
        ),
        ("CreateGroup", group, "Group with name g already exists."),
    ] {
        assert_eq!(refused(operation, &[name]).await, refusal("EntityAlreadyExists", words));
    }
    let policy = ("PolicyName", "p");
    let words = "The user policy with name p cannot be found.";
    assert_eq!(refused("GetUserPolicy", &[ana, policy]).await, refusal("NoSuchEntity", words));
    let detach = [ana, ("PolicyArn", READ_S3)];
    let words = format!("Policy {READ_S3} was not found.");
    assert_eq!(refused("DetachUserPolicy", &detach).await, refusal("NoSuchEntity", words));
    let large = "x".repeat(2_000);
    let large = document(json!([{ "Effect": "Allow", "Action": "s3:*",
        "Resource": format!("arn:aws:s3:::{large}") }]));
    let put = [ana, policy, ("PolicyDocument", large.as_str())];
    let words = "Maximum policy size of 2048 bytes exceeded for user ana";
    assert_eq!(refused("PutUserPolicy", &put).await, refusal("LimitExceeded", words));

    // In the order in which people clear it away.
    let conflict =
        |words: &str| refusal("DeleteConflict", format!("Cannot delete entity, {words}"));
    done("AttachUserPolicy", &detach).await;
    let words = "must detach all policies first.";
    assert_eq!(refused("DeleteUser", &[ana]).await, conflict(words));
    done("DetachUserPolicy", &detach).await;
    let words = "must delete access keys first.";
    assert_eq!(refused("DeleteUser", &[ana]).await, conflict(words));
    done("DeleteAccessKey", &[ana, ("AccessKeyId", &key.id)]).await;
    let words = "must remove users from group first.";
    assert_eq!(refused("DeleteUser", &[ana]).await, conflict(words));
    assert_eq!(refused("DeleteGroup", &[group]).await, conflict(words));
    assert_eq!(done("GetGroup", &[group]).await.element("UserName"), "ana");
    assert_eq!(done("ListGroupsForUser", &[ana]).await.element("GroupName"), "g");
    done("RemoveUserFromGroup", &[ana, group]).await;
    done("DeleteGroup", &[group]).await;
    done("DeleteUser", &[ana]).await;
    assert_eq!(refused("CreateLoginProfile", &[ana]).await.0, "NotImplemented");
}

#[tokio::test]
async fn policies_of_aws_are_read_attached_counted_and_never_changed() {
    let served = Served::start().await;
    let keys = served.administrator();
    let refused = async |operation: &str, params: &[(&str, &str)]| {
        iam(&served, &keys, operation, params).await.expect_err(operation)
    };
    let done = async |operation: &str, params: &[(&str, &str)]| {
        iam(&served, &keys, operation, params).await.expect(operation)
    };
    let basic = ("PolicyArn", BASIC);
    let got = done("GetPolicy", &[basic]).await;
    let found = ["PolicyName", "Path", "DefaultVersionId", "AttachmentCount", "CreateDate"]
        .map(|name| got.element(name));
    let expected =
        ["AWSLambdaBasicExecutionRole", "/service-role/", "v1", "0", "2015-04-09T15:03:43.000Z"];
    assert_eq!(found, expected, "{}", got.text());
    let version = done("GetPolicyVersion", &[basic, ("VersionId", "v1")]).await;
    assert!(version.element("Document").contains("logs%3APutLogEvents"), "{}", version.text());
    let glue = ("PolicyArn", "arn:aws:iam::aws:policy/service-role/AWSGlueServiceRole");
    let former = refused("GetPolicyVersion", &[glue, ("VersionId", "v1")]).await;
    assert_eq!(former.0, "NotImplemented");
    let later = refused("GetPolicyVersion", &[basic, ("VersionId", "v9")]).await;
    let words = format!("Policy {BASIC} version v9 does not exist or is not attachable.");
    assert_eq!(later, refusal("NoSuchEntity", words));

    // Attached to a role, a user and a group.
    let trust = document(json!([{ "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "Service": "lambda.amazonaws.com" } }]));
    let (role, ana, group) = (("RoleName", "r"), ("UserName", "ana"), ("GroupName", "g"));
    done("CreateRole", &[role, ("AssumeRolePolicyDocument", &trust)]).await;
    done("CreateUser", &[ana, ("PermissionsBoundary", BASIC)]).await;
    done("CreateGroup", &[group]).await;
    done("AttachRolePolicy", &[role, basic]).await;
    done("AttachUserPolicy", &[ana, basic]).await;
    done("AttachGroupPolicy", &[group, basic]).await;
    let got = done("GetPolicy", &[basic]).await;
    let counts = ["AttachmentCount", "PermissionsBoundaryUsageCount"].map(|n| got.element(n));
    assert_eq!(counts, ["3", "1"]);
    let who = done("ListEntitiesForPolicy", &[basic]).await;
    let names = ["RoleName", "UserName", "GroupName"].map(|name| who.element(name));
    assert_eq!(names, ["r", "ana", "g"]);
    let who = done("ListEntitiesForPolicy", &[basic, ("EntityFilter", "Role")]).await;
    assert!(who.text().contains("<RoleName>r<") && !who.text().contains("<UserName>"));
    let attached = done("ListAttachedRolePolicies", &[role]).await;
    assert_eq!(attached.element("PolicyName"), "AWSLambdaBasicExecutionRole");

    // What it lets a role do.
    let arn = "arn:aws:iam::000000000000:role/r";
    let caller = served.cloud.assume(arn, "lambda.amazonaws.com", "f").expect("trusted");
    let may = |action: &str| served.cloud.authorize(&caller, action, "*", &[]).is_ok();
    assert!(may("logs:PutLogEvents") && !may("logs:DeleteLogGroup"));
    let simulated = [
        ("PolicySourceArn", arn),
        ("ActionNames.member.1", "logs:PutLogEvents"),
        ("ActionNames.member.2", "s3:GetObject"),
    ];
    let simulated = done("SimulatePrincipalPolicy", &simulated).await.text();
    assert!(simulated.contains("<EvalDecision>allowed<"), "{simulated}");
    assert!(simulated.contains("<EvalDecision>implicitDeny<"), "{simulated}");

    // Lists by scope, in pages.
    let own = document(json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]));
    done("CreatePolicy", &[("PolicyName", "own"), ("PolicyDocument", &own)]).await;
    let local = done("ListPolicies", &[("Scope", "Local")]).await.text();
    assert_eq!(local.matches("<PolicyName>").count(), 1, "{local}");
    let aws = done("ListPolicies", &[("Scope", "AWS"), ("OnlyAttached", "true")]).await.text();
    assert!(aws.matches("<PolicyName>").count() == 1 && aws.contains(BASIC), "{aws}");
    let page = done("ListPolicies", &[("MaxItems", "40")]).await;
    assert_eq!(page.text().matches("<PolicyName>").count(), 40);
    assert_eq!(page.element("IsTruncated"), "true");
    let more = [("MaxItems", "1000"), ("Marker", &*page.element("Marker"))];
    let rest = done("ListPolicies", &more).await;
    assert_eq!(rest.element("IsTruncated"), "false");
    let all = 40 + rest.text().matches("<PolicyName>").count();
    assert!(all > 80, "{all}");

    // They belong to AWS.
    let owned = |operation: &str| {
        let words = format!(
            "User: arn:aws:iam::000000000000:user/administrator is not authorized to perform: \
             iam:{operation} on resource: policy {BASIC}"
        );
        refusal("AccessDenied", words)
    };
    assert_eq!(refused("DeletePolicy", &[basic]).await, owned("DeletePolicy"));
    let version = [basic, ("PolicyDocument", own.as_str())];
    assert_eq!(refused("CreatePolicyVersion", &version).await, owned("CreatePolicyVersion"));

    // Those that AWS has not, those that are not here, and what is no ARN.
    let attach = async |arn: &str| refused("AttachRolePolicy", &[role, ("PolicyArn", arn)]).await;
    let wrong = "arn:aws:iam::aws:policy/AWSLambdaBasicExecutionRole";
    let words = format!("Policy {wrong} does not exist or is not attachable.");
    assert_eq!(attach(wrong).await, refusal("NoSuchEntity", words));
    let (code, words) = attach("arn:aws:iam::aws:policy/ReadOnlyAccess").await;
    assert_eq!(code, "NotImplemented");
    assert!(words.contains("policy/ReadOnlyAccess") && words.contains("of your own"), "{words}");
    let words = "Invalid ARN:  Could not be parsed!";
    assert_eq!(attach("AWSLambdaBasicExecutionRole").await, refusal("ValidationError", words));
}

const TEMPLATE: &str = "
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: r
      AssumeRolePolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: Allow, Principal:
        { Service: lambda.amazonaws.com }, Action: sts:AssumeRole }] }
      PermissionsBoundary: arn:aws:iam::aws:policy/PowerUserAccess
      ManagedPolicyArns:
        - arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole
        - arn:aws:iam::aws:policy/NAME
  Group:
    Type: AWS::IAM::Group
    Properties: { GroupName: g, ManagedPolicyArns: ['arn:aws:iam::aws:policy/AmazonSQSFullAccess'] }
  User:
    Type: AWS::IAM::User
    Properties:
      UserName: ana
      Groups: [!Ref Group]
      Tags: [{ Key: team, Value: a }]
      Policies: [{ PolicyName: p, PolicyDocument: { Version: '2012-10-17', Statement: [{ Effect:
        Allow, Action: 'iam:GetUser', Resource: '*' }] } }]
  Bob: { Type: 'AWS::IAM::User', Properties: { UserName: bob } }
  More:
    Type: AWS::IAM::UserToGroupAddition
    Properties: { GroupName: !Ref Group, Users: [!Ref Bob] }
  Key: { Type: 'AWS::IAM::AccessKey', Properties: { UserName: !Ref User } }
  Shared:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      ManagedPolicyName: shared
      Roles: [!Ref Role]
      Users: [!Ref Bob]
      PolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: Allow, Action:
        'sns:Publish', Resource: '*' }] }
  Own:
    Type: AWS::IAM::Policy
    Properties:
      PolicyName: own
      Roles: [!Ref Role]
      Groups: [!Ref Group]
      PolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: Allow, Action:
        ['kms:Decrypt', 'iam:CreateUser'], Resource: '*' }] }
Outputs:
  Key: { Value: !Ref Key }
  Secret: { Value: !GetAtt Key.SecretAccessKey }
  Arn: { Value: !GetAtt User.Arn }
";

#[tokio::test]
async fn a_template_makes_roles_with_policies_of_aws_and_users_with_keys() {
    let account = Account::new();
    let cloud = &account.cloud;
    let template = TEMPLATE.replace("NAME", "AmazonS3ReadOnlyAccess");
    let (id, status) = account.create("s", &template).await;
    assert_eq!(status, "CREATE_COMPLETE", "{:#?}", account.story(&id).await);
    let role = cloud.services.iam.roles.get("r").expect("the role");
    let shared = "arn:aws:iam::000000000000:policy/shared";
    assert_eq!(role.attached, [BASIC, READ_S3, shared]);
    let arn = "arn:aws:iam::000000000000:role/r";
    let caller = cloud.assume(arn, "lambda.amazonaws.com", "f").expect("trusted");
    let may = |action: &str| cloud.authorize(&caller, action, "*", &[]).is_ok();
    for action in ["logs:PutLogEvents", "s3:GetObject", "sns:Publish", "kms:Decrypt"] {
        assert!(may(action), "{action}");
    }
    // One is allowed by nothing, the other is out of the boundary.
    assert!(!may("s3:PutObject") && !may("iam:CreateUser"));

    // The key in the outputs is good.
    let described = account.call("DescribeStacks", json!({ "StackName": "s" })).await;
    let outputs = described.expect("described")["Stacks"][0]["Outputs"].clone();
    let output = |name: &str| {
        let all = outputs.as_array().into_iter().flatten();
        let found = all.filter(|o| o["OutputKey"] == name).map(|o| o["OutputValue"].clone()).next();
        found.and_then(|value| value.as_str().map(str::to_owned)).expect("the output")
    };
    assert_eq!(output("Arn"), "arn:aws:iam::000000000000:user/ana");
    let (secret, ana) = cloud.identities.lookup(&output("Key"), None).expect("the key");
    assert_eq!((secret, &*ana.arn), (output("Secret"), "arn:aws:iam::000000000000:user/ana"));
    let allowed = |action: &str| cloud.authorize(&ana, action, "*", &[]).is_ok();
    assert!(allowed("iam:GetUser") && allowed("sqs:SendMessage") && !allowed("sns:Publish"));

    // Changed in place: another policy of AWS's, and nobody but bob in the group.
    let changed = TEMPLATE
        .replace("NAME", "AmazonSNSFullAccess")
        .replace("Groups: [!Ref Group]\n      Tags", "Tags");
    assert_eq!(account.update("s", &changed).await, "UPDATE_COMPLETE");
    assert!(may("sns:Publish") && may("kms:Decrypt") && !may("s3:GetObject"));
    assert!(!allowed("sqs:SendMessage") && allowed("iam:GetUser"));

    // What was added by others is in the way, as on AWS.
    let administrator = cloud.identities.administrator();
    let attach = json!({ "UserName": "bob", "PolicyArn": READ_S3 });
    let call = async |operation: &str, params: &Value| {
        service::call(cloud, &administrator, "iam", operation, params).await.expect("done")
    };
    call("AttachUserPolicy", &attach).await;
    assert_eq!(account.delete("s").await, "DELETE_FAILED");
    let story = account.story(&id).await.join("\n");
    assert!(story.contains("Cannot delete entity, must detach all policies first."), "{story}");
    call("DetachUserPolicy", &attach).await;
    assert_eq!(account.delete("s").await, "DELETE_COMPLETE");
    let iam = &cloud.services.iam;
    assert!(iam.users.is_empty() && iam.groups.is_empty() && iam.roles.is_empty());
    assert!(iam.managed.is_empty() && cloud.identities.keys.is_empty());
}

#[tokio::test]
async fn a_policy_of_aws_that_there_is_not_fails_the_stack() {
    let account = Account::new();
    for (name, words) in [
        ("AWSLambdaBasicExecutionRole", "does not exist or is not attachable."),
        ("ReadOnlyAccess", "The embedded cloud does not have the document of AWS's policy"),
    ] {
        let (id, status) = account.create("s", &TEMPLATE.replace("NAME", name)).await;
        assert_eq!(status, "ROLLBACK_COMPLETE", "{name}");
        let story = account.story(&id).await.join("\n");
        assert!(story.contains("Role CREATE_FAILED") && story.contains(words), "{story}");
        assert!(account.cloud.services.iam.roles.is_empty());
        assert!(account.cloud.services.iam.users.is_empty());
        account.delete("s").await;
    }
}
