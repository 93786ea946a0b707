//! Roles by API, sessions of them, and what policies decide in the whole cloud.

use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::Cloud;
use steppe_cloud::kernel::identity::Caller;
use steppe_cloud::services::iam::Role;

use crate::signed::{Answer, Keys, Request, Served};

const ROLE: &str = "arn:aws:iam::000000000000:role/deployer";

fn root_trust() -> String {
    json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "AWS": "arn:aws:iam::000000000000:root" }
    }] })
    .to_string()
}

fn policy(statements: Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

async fn iam(served: &Served, keys: &Keys, params: &[(&str, &str)]) -> Answer {
    served.query(keys, "iam", params).await
}

async fn assume(served: &Served, keys: &Keys, more: &[(&str, &str)]) -> Answer {
    let mut params = vec![("Action", "AssumeRole"), ("RoleArn", ROLE)];
    params.extend_from_slice(more);
    if !more.iter().any(|(name, _)| *name == "RoleSessionName") {
        params.push(("RoleSessionName", "smoke"));
    }
    served.query(keys, "sts", &params).await
}

/// Makes the role `deployer` with these permissions.
async fn role(served: &Served, statements: Value) -> Keys {
    let administrator = served.administrator();
    let (trust, document) = (root_trust(), policy(statements));
    let created = iam(
        served,
        &administrator,
        &[("Action", "CreateRole"), ("RoleName", "deployer"), ("AssumeRolePolicyDocument", &trust)],
    )
    .await;
    assert_eq!(created.element("Arn"), ROLE, "{}", created.text());
    let put = iam(
        served,
        &administrator,
        &[
            ("Action", "PutRolePolicy"),
            ("RoleName", "deployer"),
            ("PolicyName", "deploy"),
            ("PolicyDocument", &document),
        ],
    )
    .await;
    assert_eq!(put.status, 200, "{}", put.text());
    Keys::assumed(&assume(served, &administrator, &[]).await)
}

#[tokio::test]
async fn a_role_is_made_by_api_taken_on_and_deleted() {
    let served = Served::start().await;
    let administrator = served.administrator();
    let allow =
        json!([{ "Sid": "Look", "Effect": "Allow", "Action": "iam:GetRole", "Resource": ROLE }]);
    let keys = role(&served, allow).await;
    let who = served.query(&keys, "sts", &[("Action", "GetCallerIdentity")]).await;
    assert_eq!(who.element("Arn"), "arn:aws:sts::000000000000:assumed-role/deployer/smoke");
    let id = who.element("UserId");
    assert!(id.starts_with("AROA") && id.ends_with(":smoke"), "{id}");
    let look = [("Action", "GetRole"), ("RoleName", "deployer")];
    assert_eq!(iam(&served, &keys, &look).await.status, 200);
    let list = iam(&served, &keys, &[("Action", "ListRoles")]).await;
    assert_eq!((list.status, list.element("Code").as_str()), (403, "AccessDenied"));
    assert_eq!(
        list.element("Message"),
        "User: arn:aws:sts::000000000000:assumed-role/deployer/smoke is not authorized to perform: \
         iam:ListRoles on resource: * because no identity-based policy allows the iam:ListRoles action"
    );
    let delete = [("Action", "DeleteRole"), ("RoleName", "deployer")];
    let conflict = iam(&served, &administrator, &delete).await;
    assert_eq!((conflict.status, conflict.element("Code").as_str()), (409, "DeleteConflict"));
    let unput =
        [("Action", "DeleteRolePolicy"), ("RoleName", "deployer"), ("PolicyName", "deploy")];
    assert_eq!(iam(&served, &administrator, &unput).await.status, 200);
    assert_eq!(iam(&served, &keys, &look).await.status, 403);
    assert_eq!(iam(&served, &administrator, &delete).await.status, 200);
    // A role made anew is another one: the old session has none of its permissions.
    role(&served, json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }])).await;
    let stale = iam(&served, &keys, &look).await;
    assert_eq!((stale.status, stale.element("Code").as_str()), (403, "InvalidClientTokenId"));
}

#[tokio::test]
async fn sessions_survive_a_restart_and_need_their_token() {
    let served = Served::start().await;
    let keys = role(&served, json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }])).await;
    let again = Cloud::open(served.cloud.config.clone()).expect("opens");
    assert!(again.identities.lookup(&keys.id, keys.token.as_deref()).is_ok());
    assert!(again.identities.lookup(&keys.id, None).is_err());
    assert!(again.identities.lookup(&keys.id, Some("another")).is_err());
}

#[tokio::test]
async fn taking_on_a_role_has_bounds_and_conditions() {
    let served = Served::start().await;
    let keys =
        role(&served, json!([{ "Effect": "Allow", "Action": "sts:*", "Resource": "*" }])).await;
    let administrator = served.administrator();
    for (more, status, words) in [
        (("DurationSeconds", "900"), 200, ""),
        (("DurationSeconds", "899"), 400, "greater than or equal to 900"),
        (("DurationSeconds", "43201"), 400, "less than or equal to 43200"),
        (("DurationSeconds", "3601"), 400, "exceeds the MaxSessionDuration set for this role."),
        (("RoleSessionName", "x"), 400, "length greater than or equal to 2"),
        (("RoleSessionName", "a b"), 400, "[\\w+=,.@-]*"),
        (("Policy", "{}"), 400, "<Code>MalformedPolicyDocument</Code>"),
        (("SourceIdentity", "me"), 501, "the parameter SourceIdentity of sts:AssumeRole"),
    ] {
        let answer = assume(&served, &administrator, &[more]).await;
        assert_eq!(answer.status, status, "{more:?}: {}", answer.text());
        assert!(answer.text().contains(words), "{more:?}: {}", answer.text());
    }
    assert_eq!(assume(&served, &keys, &[]).await.status, 200, "a session takes a role on");
    let external = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "AWS": "arn:aws:iam::000000000000:user/administrator" },
        "Condition": { "StringEquals": { "sts:ExternalId": "secret" } }
    }] });
    let trust = |role: &mut Role| role.trust = external;
    served.cloud.services.iam.roles.update("deployer", trust).expect("stored").expect("the role");
    let with = async |id: &str| assume(&served, &administrator, &[("ExternalId", id)]).await;
    assert_eq!(with("secret").await.status, 200);
    let denied = with("guess").await;
    assert_eq!((denied.status, denied.element("Code").as_str()), (403, "AccessDenied"));
    assert_eq!(
        denied.element("Message"),
        format!(
            "User: arn:aws:iam::000000000000:user/administrator is not authorized to perform: \
             sts:AssumeRole on resource: {ROLE}"
        )
    );
}

#[tokio::test]
async fn malformed_roles_are_refused_in_aws_words() {
    let served = Served::start().await;
    let administrator = served.administrator();
    let create = async |trust: &str, more: (&str, &str)| {
        let params = [
            ("Action", "CreateRole"),
            ("RoleName", "r"),
            ("AssumeRolePolicyDocument", trust),
            more,
        ];
        let answer = iam(&served, &administrator, &params).await;
        (answer.element("Code"), answer.element("Message"))
    };
    let malformed = |message: &str| ("MalformedPolicyDocument".to_owned(), message.to_owned());
    let nobody = root_trust().replace(":root", ":role/nobody");
    let found = create(&nobody, ("Description", "x")).await;
    let words = "Invalid principal in policy: \"AWS\":\"arn:aws:iam::000000000000:role/nobody\"";
    assert_eq!(found, malformed(words));
    let found = create("{", ("Description", "x")).await;
    assert_eq!(found, malformed("This policy contains invalid Json"));
    let large = root_trust()
        .replace("\"Effect\"", &format!("\"Sid\":\"{}\",\"Effect\"", "a".repeat(2_048)));
    assert_eq!(create(&large, ("Description", "x")).await.0, "LimitExceeded");
    let aws = "arn:aws:iam::aws:policy/SecurityAudit";
    let (code, message) = create(&root_trust(), ("PermissionsBoundary", aws)).await;
    assert_eq!(code, "NotImplemented");
    assert!(message.contains("AWS's policy"), "{message}");
    let gone = "arn:aws:iam::000000000000:policy/x";
    let found = create(&root_trust(), ("PermissionsBoundary", gone)).await;
    let words = format!("Policy {gone} does not exist or is not attachable.");
    assert_eq!(found, ("NoSuchEntity".to_owned(), words));
}

/// A session of a new role with these permissions.
fn session(cloud: &Cloud, name: &str, statements: Value) -> Caller {
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "Service": "lambda.amazonaws.com" }
    }] });
    let mut role = Role::new(trust);
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    role.policies = vec![("p".to_owned(), document)];
    role.tags = json!([{ "Key": "team", "Value": "a" }]);
    cloud.services.iam.roles.put(name, role).expect("stored");
    let arn = format!("arn:aws:iam::000000000000:role/{name}");
    cloud.assume(&arn, "lambda.amazonaws.com", "f").expect("trusted")
}

#[tokio::test]
async fn the_context_of_a_request_is_what_aws_fills_in() {
    let served = Served::start().await;
    let cloud = &served.cloud;
    let role = "arn:aws:iam::000000000000:role/reader";
    for (operator, key, value, denied) in [
        ("ArnEquals", "aws:PrincipalArn", role, true),
        ("ArnEquals", "aws:PrincipalArn", "arn:aws:sts::000000000000:assumed-role/reader/f", false),
        ("StringEquals", "aws:PrincipalAccount", "000000000000", true),
        ("StringEquals", "aws:PrincipalType", "AssumedRole", true),
        ("StringLike", "aws:userid", "AROA*:f", true),
        ("StringEquals", "aws:PrincipalTag/team", "a", true),
        ("Null", "aws:username", "true", true),
        ("Null", "aws:SourceAccount", "true", true),
        ("Null", "aws:SourceArn", "true", true),
        ("Null", "aws:TokenIssueTime", "false", true),
        ("Bool", "aws:SecureTransport", "false", false),
        ("Bool", "aws:SecureTransport", "true", true),
        ("Bool", "aws:ViaAWSService", "false", true),
        ("Bool", "aws:PrincipalIsAWSService", "false", true),
        ("StringEquals", "aws:RequestedRegion", "us-east-1", true),
        ("StringEquals", "aws:ResourceAccount", "000000000000", true),
        ("DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:00Z", true),
        ("NumericGreaterThan", "aws:EpochTime", "1577836800", true),
        ("StringNotEquals", "aws:PrincipalOrgID", "o-1", true),
    ] {
        let statements = json!([
            { "Effect": "Allow", "Action": "*", "Resource": "*" },
            { "Effect": "Deny", "Action": "glue:*", "Resource": "*",
              "Condition": { operator: { key: value } } },
        ]);
        let caller = session(cloud, "reader", statements);
        let result = cloud.authorize(
            &caller,
            "glue:GetJob",
            "arn:aws:glue:us-east-1:000000000000:job/j",
            &[],
        );
        assert_eq!(result.is_err(), denied, "{operator} {key} {value}: {result:?}");
    }
    let vpce = json!([{ "Effect": "Deny", "Action": "*", "Resource": "*",
        "Condition": { "StringNotEquals": { "aws:SourceVpce": "vpce-1" } } }]);
    let caller = session(cloud, "reader", vpce);
    let error = cloud.authorize(&caller, "glue:GetJob", "*", &[]).expect_err("unknown");
    assert_eq!(error.code, "NotImplemented");
    assert!(error.message.contains("aws:SourceVpce"), "{error}");
}

#[tokio::test]
async fn addresses_are_those_of_the_connection() {
    let served = Served::start().await;
    let deny = json!([
        { "Effect": "Allow", "Action": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": "iam:ListRoles", "Resource": "*",
          "Condition": { "IpAddress": { "aws:SourceIp": "127.0.0.0/8" } } },
    ]);
    let keys = role(&served, deny).await;
    let listed = iam(&served, &keys, &[("Action", "ListRoles")]).await;
    assert_eq!(listed.status, 403);
    assert!(
        listed.element("Message").ends_with("with an explicit deny in an identity-based policy"),
        "{}",
        listed.text()
    );
    let look = [("Action", "GetRole"), ("RoleName", "deployer")];
    assert_eq!(iam(&served, &keys, &look).await.status, 200);
}

#[tokio::test]
async fn buckets_deny_roles_and_passing_a_role_is_asked_for() {
    let served = Served::start().await;
    let administrator = served.administrator();
    let send = async |path: &str, body: &str| {
        let form = Request::form(&administrator, "s3");
        served.send(&Request { method: "PUT", path, headers: vec![], body, ..form }).await
    };
    assert_eq!(send("/shared-data", "").await.status, 200);
    let caller = session(
        &served.cloud,
        "reader",
        json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" },
               { "Effect": "Allow", "Action": "iam:PassRole", "Resource": "*",
                 "Condition": { "StringEquals": { "iam:PassedToService": "glue.amazonaws.com" } } }]),
    );
    let bucket_policy = policy(json!([{
        "Effect": "Deny", "Principal": { "AWS": "arn:aws:iam::000000000000:role/reader" },
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::shared-data/secret/*"
    }]));
    let stored = send("/shared-data?policy=", &bucket_policy).await;
    assert!(stored.status < 300, "{}", stored.text());
    let read = |key: &str| {
        let object = format!("arn:aws:s3:::shared-data/{key}");
        served.cloud.authorize(&caller, "s3:GetObject", &object, &[])
    };
    assert!(read("open/x").is_ok());
    let denied = read("secret/x").expect_err("denied").message;
    assert!(denied.ends_with("with an explicit deny in a resource-based policy"), "{denied}");
    let other = bucket_policy.replace("shared-data", "other-data");
    let refused = send("/shared-data?policy=", &other).await;
    assert_eq!(refused.element("Message"), "Policy has invalid resource", "{}", refused.text());
    let nobody = bucket_policy.replace("role/reader", "role/nobody");
    let refused = send("/shared-data?policy=", &nobody).await;
    assert_eq!(refused.element("Message"), "Invalid principal in policy", "{}", refused.text());
    let pass = |service: &str| served.cloud.pass_role(&caller, ROLE, service);
    assert!(pass("glue.amazonaws.com").is_ok());
    let denied = pass("lambda.amazonaws.com").expect_err("denied").message;
    assert!(denied.contains("is not authorized to perform: iam:PassRole on resource"), "{denied}");
}

#[tokio::test]
async fn what_sessions_do_is_audited() {
    let served = Served::start().await;
    let caller = session(
        &served.cloud,
        "reader",
        json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }]),
    );
    assert!(served.cloud.authorize(&caller, "glue:GetJob", "*", &[]).is_ok());
    let audit = std::fs::read_to_string(served.cloud.path("audit.ndjson")).expect("readable");
    let line: Value = serde_json::from_str(audit.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&line["action"], &line["allowed"]), (&json!("glue:GetJob"), &json!(true)));
    // A question that only chooses between two answers leaves no line.
    assert_eq!(served.cloud.allows(&caller, "glue:GetJob", "*", &[]), Ok(true));
    let after = std::fs::read_to_string(served.cloud.path("audit.ndjson")).expect("readable");
    assert_eq!(after, audit);
}

#[tokio::test]
async fn somebody_elses_bucket_needs_its_owners_policy_and_the_callers() {
    let served = Served::start().await;
    let cloud = &served.cloud;
    cloud.services.s3.create("their-data", json!([])).expect("made");
    let object = "arn:aws:s3:::their-data/key";
    let may = |caller: &Caller| cloud.authorize(caller, "s3:GetObject", object, &[]);
    let reads = json!([{ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" }]);
    let reader = session(cloud, "reader", reads);
    let elsewhere = json!([{ "Effect": "Allow", "Action": "glue:GetJob", "Resource": "*" }]);
    let nobody = session(cloud, "nobody", elsewhere);
    let open_to = |principal: &str| {
        let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow",
            "Principal": { "AWS": principal }, "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::their-data/*" }] });
        cloud.services.s3.configure("their-data", |b| b.policy = Some(policy)).expect("stored");
    };
    open_to("arn:aws:iam::000000000000:role/nobody");
    assert!(may(&nobody).is_ok(), "in one account the bucket's policy is enough");
    let owner = Some("111111111111".to_owned());
    cloud.services.s3.configure("their-data", |b| b.owner = owner).expect("stored");
    for (principal, by_reader, by_nobody) in [
        ("arn:aws:iam::000000000000:role/nobody", false, false),
        ("arn:aws:iam::000000000000:role/reader", true, false),
        ("000000000000", true, false),
        ("222222222222", false, false),
    ] {
        open_to(principal);
        assert_eq!((may(&reader).is_ok(), may(&nobody).is_ok()), (by_reader, by_nobody));
    }
    assert_eq!(may(&reader).expect_err("denied").message, "Access Denied");
    let administrator = cloud.identities.administrator();
    assert!(may(&administrator).is_err(), "it does not belong to the administrator either");
    // A policy can tell whose the bucket is.
    open_to("000000000000");
    let own_only = json!([{ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*",
        "Condition": { "StringEquals": { "aws:ResourceAccount": "000000000000" } } }]);
    assert!(may(&session(cloud, "reader", own_only)).is_err());
}
