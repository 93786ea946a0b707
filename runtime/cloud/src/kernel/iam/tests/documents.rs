//! Documents that AWS refuses to store, and ones that it takes.

use serde_json::{Value, json};

use super::super::document::{Kind, Policy};
use super::{
    ACTION, EFFECT, GRAMMAR, NOT_PRINCIPAL, OPERATORS, PRINCIPAL, RESOURCE, SID, TRUST, VERSION,
};

const SYNTAX: &str = "Syntax errors in policy.";
const VENDOR: &str = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";

fn refusal(document: &Value, kind: Kind<'_>) -> String {
    Policy::parse(document, kind).err().map(|e| e.to_string()).unwrap_or_default()
}

/// A valid statement with these members instead; `null` leaves one out.
fn changed(mut statement: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("members") {
        statement[name] = value.clone();
    }
    let members = statement.as_object_mut().expect("members");
    members.retain(|_, value| !value.is_null());
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

#[test]
fn permissions() {
    let valid = json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" });
    for (page, changes, words) in [
        (GRAMMAR, json!({}), ""),
        (GRAMMAR, json!({ "Sid": "A1", "Condition": {} }), ""),
        (GRAMMAR, json!({ "Recource": "*" }), SYNTAX),
        (GRAMMAR, json!({ "action": "s3:*" }), SYNTAX),
        (GRAMMAR, json!({ "NotAction": "s3:*" }), SYNTAX),
        (GRAMMAR, json!({ "NotResource": "*" }), SYNTAX),
        (GRAMMAR, json!({ "Action": 5 }), SYNTAX),
        (GRAMMAR, json!({ "Action": [["s3:*"]] }), SYNTAX),
        (GRAMMAR, json!({ "Condition": [] }), SYNTAX),
        (EFFECT, json!({ "Effect": null }), SYNTAX),
        (EFFECT, json!({ "Effect": "Permit" }), SYNTAX),
        (EFFECT, json!({ "Effect": "allow" }), "The policy failed legacy parsing"),
        (PRINCIPAL, json!({ "Principal": "*" }), "Policy document should not specify a principal."),
        (ACTION, json!({ "Action": null }), "Policy statement must contain actions."),
        (ACTION, json!({ "Action": [] }), "Policy statement must contain actions."),
        (ACTION, json!({ "Action": "GetObject" }), VENDOR),
        (ACTION, json!({ "Action": "s3:a:b" }), "Actions/Condition can contain only one colon."),
        (ACTION, json!({ "Action": "s 3:Get" }), "Vendor s 3 is not valid"),
        (ACTION, json!({ "Action": "*" }), ""),
        (RESOURCE, json!({ "Resource": null }), "Policy statement must contain resources."),
        (RESOURCE, json!({ "Resource": [] }), "Policy statement must contain resources."),
        (
            RESOURCE,
            json!({ "Resource": "bucket" }),
            "Resource bucket must be in ARN format or \"*\".",
        ),
        (
            RESOURCE,
            json!({ "Resource": "arn:aws:s3:us-east-1::b" }),
            "Resource arn:aws:s3:us-east-1::b can not contain region information.",
        ),
        (
            RESOURCE,
            json!({ "Resource": "arn:aws:iam:x:1:role/a" }),
            "IAM resource arn:aws:iam:x:1:role/a cannot contain region information.",
        ),
        (
            RESOURCE,
            json!({ "Resource": "arn:azure:s3:::b" }),
            "Partition \"azure\" is not valid for resource \"arn:azure:s3:::b\".",
        ),
        (
            RESOURCE,
            json!({ "Resource": "arn:aws:s?:::b" }),
            "Resource vendor must be fully qualified and cannot contain regexes.",
        ),
        (RESOURCE, json!({ "Resource": "arn:aws:s3:::b/*" }), ""),
        (OPERATORS, json!({ "Condition": { "StringIs": { "aws:username": "x" } } }), SYNTAX),
        (OPERATORS, json!({ "Condition": { "NullIfExists": { "aws:username": "true" } } }), SYNTAX),
        (OPERATORS, json!({ "Condition": { "ForSome:Bool": { "aws:username": "true" } } }), SYNTAX),
        (OPERATORS, json!({ "Condition": { "StringEquals": { "aws:username": {} } } }), SYNTAX),
        (OPERATORS, json!({ "Condition": { "StringEquals": { "username": "x" } } }), VENDOR),
        (
            OPERATORS,
            json!({ "Condition": { "DateLessThan": { "aws:CurrentTime": "soon" } } }),
            "The policy failed legacy parsing",
        ),
        (
            OPERATORS,
            json!({ "Condition": { "IpAddress": { "aws:SourceIp": "10.0.0.0/33" } } }),
            "The policy failed legacy parsing",
        ),
    ] {
        let document = changed(valid.clone(), &changes);
        assert_eq!(refusal(&document, Kind::Identity), words, "{changes} ({page})");
    }
}

#[test]
fn whole_documents() {
    let statement = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    let twice = |sid: &str| {
        let mut named = statement.clone();
        named["Sid"] = json!(sid);
        json!({ "Version": "2012-10-17", "Statement": [named, named] })
    };
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!([deep]);
    }
    for (page, document, words) in [
        (GRAMMAR, json!([]), SYNTAX),
        (GRAMMAR, json!({ "Version": "2012-10-17" }), SYNTAX),
        (GRAMMAR, json!({ "Version": "2012-10-17", "Statement": [] }), SYNTAX),
        (GRAMMAR, json!({ "Version": "2012-10-17", "Statement": "x" }), SYNTAX),
        (GRAMMAR, json!({ "Statement": statement, "Comment": "x" }), SYNTAX),
        (GRAMMAR, json!({ "Statement": statement, "Id": "x" }), ""),
        (
            GRAMMAR,
            json!({ "Statement": { "Effect": "Allow", "Action": deep, "Resource": "*" } }),
            SYNTAX,
        ),
        (VERSION, json!({ "Version": "2026-01-01", "Statement": statement }), SYNTAX),
        (VERSION, json!({ "Version": "2008-10-17", "Statement": statement }), ""),
        (SID, twice("Same"), "Statement IDs (SID) in a single policy must be unique."),
        (
            SID,
            twice("a b"),
            "Statement IDs (SID) must be alpha-numeric. Check that your input \
            satisfies the regular expression [0-9A-Za-z]*",
        ),
        (SID, twice(""), ""),
    ] {
        assert_eq!(refusal(&document, Kind::Identity), words, "{document} ({page})");
    }
}

#[test]
fn trust_policies() {
    let valid = json!({
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "Service": "lambda.amazonaws.com" }
    });
    let principal = |sort: &str, value: &str| json!({ "Principal": { sort: value } });
    for (page, changes, words) in [
        (TRUST, json!({}), ""),
        (TRUST, json!({ "Resource": "*" }), "Has prohibited field Resource"),
        (TRUST, json!({ "NotResource": "*" }), "Has prohibited field NotResource"),
        (TRUST, json!({ "Principal": null }), "Missing required field Principal"),
        (
            TRUST,
            json!({ "Action": "s3:*" }),
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ),
        (TRUST, json!({ "Action": "AssumeRole" }), VENDOR),
        (
            PRINCIPAL,
            principal("Service", "lambda"),
            "Invalid principal in policy: \"SERVICE\":\"lambda\"",
        ),
        (PRINCIPAL, principal("AWS", "me"), "Invalid principal in policy: \"AWS\":\"me\""),
        (
            PRINCIPAL,
            principal("AWS", "arn:aws:iam::1:role/a"),
            "Invalid principal in policy: \"AWS\":\"arn:aws:iam::1:role/a\"",
        ),
        (
            PRINCIPAL,
            principal("AWS", "arn:aws:iam::111122223333:role/*"),
            "Invalid principal in policy: \"AWS\":\"arn:aws:iam::111122223333:role/*\"",
        ),
        (
            PRINCIPAL,
            principal("AWS", "arn:aws:iam::111122223333:group/a"),
            "Invalid principal in policy: \"AWS\":\"arn:aws:iam::111122223333:group/a\"",
        ),
        (PRINCIPAL, principal("AWS", "arn:aws:iam::111122223333:root"), ""),
        (PRINCIPAL, principal("Robot", "x"), "Invalid principal in policy: \"Robot\":\"x\""),
        (PRINCIPAL, json!({ "Principal": "*" }), ""),
        (PRINCIPAL, json!({ "Principal": {} }), "Invalid principal in policy"),
        (
            NOT_PRINCIPAL,
            json!({ "Principal": null, "NotPrincipal": { "AWS": "111122223333" } }),
            "Allow with NotPrincipal is not allowed.",
        ),
    ] {
        let document = changed(valid.clone(), &changes);
        assert_eq!(refusal(&document, Kind::Trust), words, "{changes} ({page})");
    }
}

#[test]
fn bucket_policies() {
    let valid = json!({
        "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]
    });
    let page = "https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html";
    let reach = "Action does not apply to any resource(s) in statement";
    for (changes, words) in [
        (json!({}), ""),
        (json!({ "Principal": null }), "Missing required field Principal"),
        (json!({ "Action": null }), "Missing required field Action"),
        (json!({ "Resource": null }), "Missing required field Resource"),
        (json!({ "Effect": null }), "Missing required field Effect"),
        (json!({ "Effect": "Maybe" }), "Invalid effect: Maybe"),
        (json!({ "Recource": "x" }), "Unknown field Recource"),
        (json!({ "NotAction": "s3:*" }), "Invalid policy syntax."),
        (json!({ "Action": "glue:*" }), "Policy has invalid action"),
        (json!({ "Resource": "arn:aws:s3:::other/*" }), "Policy has invalid resource"),
        (json!({ "Resource": "*" }), "Policy has invalid resource"),
        (json!({ "Resource": "arn:aws:s3:::*" }), ""),
        (json!({ "Principal": "me" }), "Invalid principal in policy"),
        (json!({ "Principal": { "AWS": "me" } }), "Invalid principal in policy"),
        (json!({ "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket" }), reach),
        (json!({ "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket/*" }), reach),
        (json!({ "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::bucket" }), ""),
        (
            json!({ "Condition": { "StringEquals": { "glue:x": "y" } } }),
            "Policy has an invalid condition key",
        ),
        (
            json!({ "Condition": { "StringIs": { "aws:username": "y" } } }),
            "Invalid Condition type : StringIs",
        ),
    ] {
        let document = changed(valid.clone(), &changes);
        assert_eq!(refusal(&document, Kind::Bucket("bucket")), words, "{changes} ({page})");
    }
}
