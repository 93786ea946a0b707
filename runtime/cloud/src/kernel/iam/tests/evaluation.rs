//! Statements, principals, and how several policies decide together.

use serde_json::{Value, json};

use super::super::decision::{
    ADMINISTRATOR_SID, Decision, Limits, Reason, Request, Subject, decide, decide_across,
    decide_trust,
};
use super::super::document::{Kind, Policy};
use super::{
    ACCOUNT, ACTION, DEPUTY, LOGIC, NOT_ACTION, NOT_PRINCIPAL, NOT_RESOURCE, PRINCIPAL, RESOURCE,
    TRUST, VARIABLES, VERSION, context, identity, role_session, user,
};

const KEY: &str = "arn:aws:s3:::bucket/dir/key";

fn decided(policies: &[Policy], action: &str, resource: &str) -> Reason {
    let context = context(&[("aws:username", "ann"), ("aws:PrincipalTag/team", "a")]);
    let subject = user();
    let request = Request { subject: &subject, action, resource, context: &context };
    decide(policies, Limits::default(), None, &request).expect("known keys").reason
}

#[test]
fn actions() {
    for (page, element, patterns, action, expected) in [
        (ACTION, "Action", json!("s3:GetObject"), "s3:GetObject", true),
        (ACTION, "Action", json!("S3:getobject"), "s3:GetObject", true),
        (ACTION, "Action", json!("s3:*"), "s3:GetObject", true),
        (ACTION, "Action", json!("s3:Get*"), "s3:PutObject", false),
        (ACTION, "Action", json!("s3:*Object"), "s3:PutObject", true),
        (ACTION, "Action", json!("s3:?etObject"), "s3:GetObject", true),
        (ACTION, "Action", json!(["glue:*", "s3:GetObject"]), "s3:GetObject", true),
        (ACTION, "Action", json!("*"), "s3:GetObject", true),
        (ACTION, "Action", json!("s3:GetObject"), "s3:GetObjectTagging", false),
        (NOT_ACTION, "NotAction", json!("iam:*"), "s3:GetObject", true),
        (NOT_ACTION, "NotAction", json!("iam:*"), "iam:CreateRole", false),
        (NOT_ACTION, "NotAction", json!(["iam:*", "S3:GETOBJECT"]), "s3:GetObject", false),
    ] {
        let policy = identity(json!([{ "Effect": "Allow", element: patterns, "Resource": "*" }]));
        let allowed = decided(&[policy], action, KEY) == Reason::Allowed;
        assert_eq!(allowed, expected, "{element} {patterns} and {action} ({page})");
    }
}

#[test]
fn resources() {
    for (page, element, patterns, resource, expected) in [
        (RESOURCE, "Resource", json!("*"), KEY, true),
        (RESOURCE, "Resource", json!("arn:aws:s3:::bucket/*"), KEY, true),
        (RESOURCE, "Resource", json!("arn:aws:s3:::bucket/*"), "arn:aws:s3:::bucket", false),
        (RESOURCE, "Resource", json!("arn:aws:s3:::bucket"), KEY, false),
        (RESOURCE, "Resource", json!("arn:aws:s3:::BUCKET/*"), KEY, false),
        (RESOURCE, "Resource", json!("arn:aws:s3:::b*/key"), KEY, true),
        (RESOURCE, "Resource", json!("arn:aws:s3:::bucket/???/key"), KEY, true),
        (RESOURCE, "Resource", json!(["arn:aws:s3:::other/*", KEY]), KEY, true),
        (RESOURCE, "Resource", json!("arn:aws:s3:*"), KEY, true),
        (
            RESOURCE,
            "Resource",
            json!("arn:aws:glue:*:*:job/x"),
            "arn:aws:glue:us-east-1:1:job/x",
            true,
        ),
        (
            RESOURCE,
            "Resource",
            json!("arn:aws:glue:us*x:y:z"),
            "arn:aws:glue:us-east-1:1:job/x:y:z",
            false,
        ),
        // An action without resources is only allowed by a star.
        (RESOURCE, "Resource", json!("arn:aws:iam::1:role/*"), "*", false),
        (RESOURCE, "Resource", json!("*"), "*", true),
        (
            VARIABLES,
            "Resource",
            json!("arn:aws:s3:::${aws:username}/*"),
            "arn:aws:s3:::ann/x",
            true,
        ),
        (
            VARIABLES,
            "Resource",
            json!("arn:aws:s3:::${aws:username}/*"),
            "arn:aws:s3:::bob/x",
            false,
        ),
        (VARIABLES, "Resource", json!("arn:aws:s3:::b/${aws:userid}*"), "arn:aws:s3:::b/x", false),
        (NOT_RESOURCE, "NotResource", json!("arn:aws:s3:::bucket/*"), KEY, false),
        (NOT_RESOURCE, "NotResource", json!("arn:aws:s3:::other/*"), KEY, true),
        (NOT_RESOURCE, "NotResource", json!(["arn:aws:s3:::other/*", KEY]), KEY, false),
    ] {
        let policy = identity(json!([{ "Effect": "Allow", "Action": "*", element: patterns }]));
        let allowed = decided(&[policy], "s3:GetObject", resource) == Reason::Allowed;
        assert_eq!(allowed, expected, "{element} {patterns} and {resource} ({page})");
    }
}

#[test]
fn variables_need_the_new_version() {
    for (version, resource, expected) in [
        (Some("2012-10-17"), "arn:aws:s3:::ann/x", true),
        (Some("2008-10-17"), "arn:aws:s3:::ann/x", false),
        (None, "arn:aws:s3:::ann/x", false),
        (Some("2008-10-17"), "arn:aws:s3:::${aws:username}/x", true),
    ] {
        let mut document = json!({ "Statement": {
            "Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::${aws:username}/x"
        } });
        if let Some(version) = version {
            document["Version"] = json!(version);
        }
        let policy = Policy::parse(&document, Kind::Identity).expect("a policy");
        let allowed = decided(&[policy], "s3:GetObject", resource) == Reason::Allowed;
        assert_eq!(allowed, expected, "{version:?} and {resource} ({VERSION})");
    }
}

#[test]
fn a_deny_wins_wherever_it_is() {
    let allow = json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*" });
    let deny = json!({ "Effect": "Deny", "Action": "s3:GetObject", "Resource": KEY });
    for (name, policies, expected) in [
        ("nothing", vec![], Reason::NotAllowed),
        ("allow", vec![json!([allow])], Reason::Allowed),
        ("both in one", vec![json!([allow, deny])], Reason::DeniedByIdentity),
        ("deny first", vec![json!([deny]), json!([allow])], Reason::DeniedByIdentity),
        ("allow first", vec![json!([allow]), json!([deny])], Reason::DeniedByIdentity),
        ("only deny", vec![json!([deny])], Reason::DeniedByIdentity),
    ] {
        let policies: Vec<Policy> = policies.into_iter().map(identity).collect();
        assert_eq!(decided(&policies, "s3:GetObject", KEY), expected, "{name} ({LOGIC})");
    }
    let policies = [identity(json!([allow, deny]))];
    assert_eq!(decided(&policies, "s3:PutObject", KEY), Reason::Allowed, "{LOGIC}");
}

/// A bucket's policy for a session of the role `reader`, which may read when `may` is set.
fn shared(effect: &str, element: &str, principal: &Value, may: bool, subject: &Subject) -> Reason {
    let bucket = Policy::parse(
        &json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": effect, element: principal, "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::bucket/*"
        }] }),
        Kind::Bucket("bucket"),
    )
    .expect("a policy");
    let own = identity(json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]));
    let context = context(&[]);
    let request = Request { subject, action: "s3:GetObject", resource: KEY, context: &context };
    let identity = if may { vec![own] } else { vec![] };
    decide(&identity, Limits::default(), Some(&bucket), &request).expect("known keys").reason
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html>
#[test]
fn what_belongs_to_another_account_needs_both_sides() {
    let subject = role_session();
    let context = context(&[]);
    let request =
        Request { subject: &subject, action: "s3:GetObject", resource: KEY, context: &context };
    let statement = |effect: &str, principal: &Value| {
        let document = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": effect, "Principal": principal, "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::bucket/*"
        }] });
        Policy::parse(&document, Kind::Bucket("bucket")).expect("a policy")
    };
    let role = json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:role/reader") });
    let account = json!({ "AWS": ACCOUNT });
    for (resource, may, expected) in [
        (None, true, Reason::NotAllowed),
        (Some(("Allow", &role)), false, Reason::NotAllowed),
        (Some(("Allow", &role)), true, Reason::Allowed),
        (Some(("Allow", &account)), false, Reason::NotAllowed),
        (Some(("Allow", &account)), true, Reason::Allowed),
        (Some(("Allow", &json!("*"))), true, Reason::Allowed),
        (Some(("Allow", &json!({ "AWS": "999999999999" }))), true, Reason::NotAllowed),
        (Some(("Deny", &account)), true, Reason::DeniedByResource),
    ] {
        let resource = resource.map(|(effect, principal)| statement(effect, principal));
        let own = identity(json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]));
        let identity = if may { vec![own] } else { vec![] };
        let decision = decide_across(&identity, Limits::default(), resource.as_ref(), &request)
            .expect("known keys");
        assert_eq!(decision.reason, expected, "{resource:?}, identity {may}");
    }
}

#[test]
fn principals_of_resources() {
    let arn = |rest: &str| format!("arn:aws:{rest}").replace("ACCOUNT", ACCOUNT);
    let role = arn("iam::ACCOUNT:role/reader");
    let session = arn("sts::ACCOUNT:assumed-role/reader/f");
    let other = arn("sts::ACCOUNT:assumed-role/reader/g");
    let root = arn("iam::ACCOUNT:root");
    let denied = Reason::DeniedByResource;
    for (page, effect, principal, may, expected) in [
        (PRINCIPAL, "Allow", json!("*"), false, Reason::Allowed),
        (PRINCIPAL, "Allow", json!({ "AWS": "*" }), false, Reason::Allowed),
        (PRINCIPAL, "Allow", json!({ "AWS": role }), false, Reason::Allowed),
        (PRINCIPAL, "Allow", json!({ "AWS": session }), false, Reason::Allowed),
        (PRINCIPAL, "Allow", json!({ "AWS": other }), false, Reason::NotAllowed),
        (PRINCIPAL, "Allow", json!({ "AWS": ["111111111111", role] }), false, Reason::Allowed),
        (PRINCIPAL, "Allow", json!({ "AWS": root }), false, Reason::NotAllowed),
        (PRINCIPAL, "Allow", json!({ "AWS": ACCOUNT }), false, Reason::NotAllowed),
        (PRINCIPAL, "Allow", json!({ "AWS": ACCOUNT }), true, Reason::Allowed),
        (PRINCIPAL, "Allow", json!({ "AWS": "999999999999" }), false, Reason::NotAllowed),
        (PRINCIPAL, "Allow", json!({ "Service": "glue.amazonaws.com" }), false, Reason::NotAllowed),
        (
            PRINCIPAL,
            "Allow",
            json!({ "AWS": arn("iam::ACCOUNT:user/ann") }),
            false,
            Reason::NotAllowed,
        ),
        (LOGIC, "Deny", json!({ "AWS": role }), true, denied),
        (LOGIC, "Deny", json!({ "AWS": session }), true, denied),
        (LOGIC, "Deny", json!({ "AWS": other }), true, Reason::Allowed),
        (LOGIC, "Deny", json!({ "AWS": root }), true, denied),
        (LOGIC, "Deny", json!("*"), true, denied),
        (LOGIC, "Deny", json!({ "AWS": "999999999999" }), true, Reason::Allowed),
    ] {
        let reason = shared(effect, "Principal", &principal, may, &role_session());
        assert_eq!(reason, expected, "{effect} {principal}, identity {may} ({page})");
    }
    let full = json!({ "AWS": [session, role, root] });
    for (principal, expected) in [
        (full, Reason::Allowed),
        (json!({ "AWS": [role, root] }), denied),
        (json!({ "AWS": [session, role] }), denied),
        (json!({ "AWS": root }), denied),
        (json!({ "AWS": "999999999999" }), denied),
        (json!("*"), Reason::Allowed),
    ] {
        let reason = shared("Deny", "NotPrincipal", &principal, true, &role_session());
        assert_eq!(reason, expected, "{principal} ({NOT_PRINCIPAL})");
    }
    let ann = json!({ "AWS": [arn("iam::ACCOUNT:user/ann"), root] });
    assert_eq!(shared("Deny", "NotPrincipal", &ann, true, &user()), Reason::Allowed);
}

/// What a trust policy says to `subject`, whose permissions allow `sts:AssumeRole` if `may` is set.
fn trusted(statements: &Value, subject: &Subject, may: bool, pairs: &[(&str, &str)]) -> bool {
    let trust =
        Policy::parse(&json!({ "Version": "2012-10-17", "Statement": statements }), Kind::Trust)
            .unwrap_or_else(|e| panic!("{e}: {statements}"));
    let own = identity(json!([{ "Effect": "Allow", "Action": "sts:*", "Resource": "*" }]));
    let context = context(pairs);
    let resource = "arn:aws:iam::111122223333:role/target";
    let request = Request { subject, action: "sts:AssumeRole", resource, context: &context };
    let identity = if may { vec![own] } else { vec![] };
    decide_trust(&identity, Limits::default(), &trust, &request).expect("known keys").allowed()
}

#[test]
fn trust_policies_decide_about_services() {
    let glue = Subject::Service("glue.amazonaws.com".to_owned());
    let service = json!({ "Service": "glue.amazonaws.com" });
    let allow = json!({ "Effect": "Allow", "Principal": service, "Action": "sts:AssumeRole" });
    let when = |statement: &Value, operator: &str, key: &str, value: &str| {
        let mut statement = statement.clone();
        statement["Condition"] = json!({ operator: { key: value } });
        json!([statement])
    };
    let account = "aws:SourceAccount";
    let own = &[("aws:SourceAccount", ACCOUNT), ("aws:SourceArn", "arn:aws:glue:r:1:job/x")];
    let mut deny = allow.clone();
    deny["Effect"] = json!("Deny");
    let mut not_action = json!({ "Effect": "Allow", "Principal": service });
    not_action["NotAction"] = json!("sts:AssumeRole");
    for (page, name, statements, expected) in [
        (TRUST, "plain", json!([allow]), true),
        (TRUST, "one statement", allow.clone(), true),
        (
            TRUST,
            "other service",
            json!([{ "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"] } }]),
            false,
        ),
        (
            TRUST,
            "other action",
            json!([{ "Effect": "Allow", "Action": "sts:TagSession",
            "Principal": service }]),
            false,
        ),
        (TRUST, "not this action", json!([not_action]), false),
        (TRUST, "denied", json!([allow, deny]), false),
        (
            TRUST,
            "account only",
            json!([{ "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "AWS": ACCOUNT } }]),
            false,
        ),
        (DEPUTY, "this account", when(&allow, "StringEquals", account, ACCOUNT), true),
        (DEPUTY, "other account", when(&allow, "StringEquals", account, "999999999999"), false),
        (
            DEPUTY,
            "this resource",
            when(&allow, "ArnLike", "aws:SourceArn", "arn:aws:glue:*:*:job/*"),
            true,
        ),
        (
            DEPUTY,
            "other resource",
            when(&allow, "ArnLike", "aws:SourceArn", "arn:aws:glue:*:*:job/y"),
            false,
        ),
        (DEPUTY, "no external id", when(&allow, "StringEquals", "sts:ExternalId", "x"), false),
    ] {
        assert_eq!(trusted(&statements, &glue, false, own), expected, "{name} ({page})");
    }
}

#[test]
fn trust_policies_decide_about_people() {
    let allow = |principal: Value| {
        let action = "sts:AssumeRole";
        json!([{ "Effect": "Allow", "Principal": principal, "Action": action }])
    };
    let ann = json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:user/ann") });
    let reader = json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:role/reader") });
    let root = json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:root") });
    for (name, principal, subject, may, expected) in [
        ("the account and permission", root.clone(), user(), true, true),
        ("the account without permission", root, user(), false, false),
        ("the number", json!({ "AWS": ACCOUNT }), user(), true, true),
        ("the user by name", ann.clone(), user(), false, true),
        ("another by name", ann, role_session(), true, false),
        ("a session by its role", reader, role_session(), false, true),
        ("another account", json!({ "AWS": "999999999999" }), user(), true, false),
        ("a service", json!({ "Service": "ec2.amazonaws.com" }), user(), true, false),
    ] {
        let held = trusted(&allow(principal), &subject, may, &[]);
        assert_eq!(held, expected, "{name} ({TRUST})");
    }
}

#[test]
fn the_administrator_is_decided_on_as_its_statement_is() {
    let statement = json!([{
        "Sid": ADMINISTRATOR_SID, "Effect": "Allow", "Action": "*",
        "Resource": "*",
    }]);
    let (subject, context) = (user(), context(&[]));
    let request = Request {
        subject: &subject,
        action: "s3:GetObject",
        resource: "arn:aws:s3:::bucket/key",
        context: &context,
    };
    let decided = decide(&[identity(statement)], Limits::default(), None, &request);
    assert_eq!(decided.expect("decided"), Decision::administrator());
}
