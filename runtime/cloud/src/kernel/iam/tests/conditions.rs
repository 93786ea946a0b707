//! Condition operators, several values, variables.

use serde_json::{Value, json};

use super::{CONDITION_LOGIC, KEYS, MULTIVALUED, OPERATORS, VARIABLES, condition};

type Row = (&'static str, &'static str, &'static str, Value, &'static [&'static str], bool);

/// Page, operator, key, values of the policy, values of the request, whether the condition holds.
fn check(rows: &[Row]) {
    for (page, operator, key, values, given, expected) in rows {
        let pairs: Vec<(&str, &str)> = given.iter().map(|value| (*key, *value)).collect();
        let held = condition(json!({ *operator: { *key: values } }), &pairs).expect("known keys");
        assert_eq!(held, *expected, "{operator} {key} {values} of {given:?} ({page})");
    }
}

#[test]
fn strings() {
    let (agent, prefix) = ("aws:UserAgent", "s3:prefix");
    check(&[
        (OPERATORS, "StringEquals", agent, json!("a"), &["a"], true),
        (OPERATORS, "StringEquals", agent, json!("a"), &["A"], false),
        (OPERATORS, "StringEquals", agent, json!(["a", "b"]), &["b"], true),
        (OPERATORS, "StringEquals", agent, json!("a*"), &["ab"], false),
        (OPERATORS, "StringEquals", agent, json!("a*"), &["a*"], true),
        (OPERATORS, "StringEquals", agent, json!("a"), &[], false),
        (OPERATORS, "StringNotEquals", agent, json!("a"), &["b"], true),
        (OPERATORS, "StringNotEquals", agent, json!("a"), &["a"], false),
        (OPERATORS, "StringNotEquals", agent, json!(["a", "b"]), &["b"], false),
        (OPERATORS, "StringNotEquals", agent, json!("a"), &[], true),
        (OPERATORS, "StringEqualsIgnoreCase", agent, json!("a"), &["A"], true),
        (OPERATORS, "StringNotEqualsIgnoreCase", agent, json!("a"), &["A"], false),
        (OPERATORS, "StringLike", prefix, json!("raw/*"), &["raw/x"], true),
        (OPERATORS, "StringLike", prefix, json!("raw/*"), &["RAW/x"], false),
        (OPERATORS, "StringLike", prefix, json!("r?w/"), &["raw/"], true),
        (OPERATORS, "StringLike", prefix, json!("r?w/"), &["rw/"], false),
        (OPERATORS, "StringLike", prefix, json!(["x", "raw/*"]), &["raw/"], true),
        (OPERATORS, "StringNotLike", prefix, json!("raw/*"), &["raw/x"], false),
        (OPERATORS, "StringNotLike", prefix, json!("raw/*"), &["models/x"], true),
        (OPERATORS, "StringNotLike", prefix, json!("raw/*"), &[], true),
        (OPERATORS, "StringEqualsIfExists", agent, json!("a"), &[], true),
        (OPERATORS, "StringEqualsIfExists", agent, json!("a"), &["b"], false),
        (OPERATORS, "StringLikeIfExists", prefix, json!("raw/*"), &[], true),
    ]);
}

#[test]
fn numbers_and_dates() {
    let (keys, now) = ("s3:max-keys", "aws:CurrentTime");
    check(&[
        (OPERATORS, "NumericEquals", keys, json!("10"), &["10"], true),
        (OPERATORS, "NumericEquals", keys, json!(10), &["10.0"], true),
        (OPERATORS, "NumericEquals", keys, json!("10"), &["ten"], false),
        (OPERATORS, "NumericNotEquals", keys, json!("10"), &["11"], true),
        (OPERATORS, "NumericNotEquals", keys, json!("10"), &[], true),
        (OPERATORS, "NumericLessThan", keys, json!("10"), &["9"], true),
        (OPERATORS, "NumericLessThan", keys, json!("10"), &["10"], false),
        (OPERATORS, "NumericLessThanEquals", keys, json!("10"), &["10"], true),
        (OPERATORS, "NumericLessThanEquals", keys, json!("9"), &["10"], false),
        (OPERATORS, "NumericGreaterThan", keys, json!("9"), &["10"], true),
        (OPERATORS, "NumericGreaterThan", keys, json!("10"), &["10"], false),
        (OPERATORS, "NumericGreaterThanEquals", keys, json!("10"), &["10"], true),
        (OPERATORS, "NumericLessThanEquals", keys, json!("10"), &[], false),
        (
            OPERATORS,
            "DateEquals",
            now,
            json!("2026-01-01T00:00:00Z"),
            &["2026-01-01T00:00:00Z"],
            true,
        ),
        (OPERATORS, "DateNotEquals", now, json!("2026-01-01"), &["2026-01-02T00:00:00Z"], true),
        (OPERATORS, "DateLessThan", now, json!("2026-01-01"), &["2025-12-31T23:59:59Z"], true),
        (OPERATORS, "DateLessThan", now, json!("2026-01-01"), &["2026-01-01T00:00:00Z"], false),
        (
            OPERATORS,
            "DateLessThanEquals",
            now,
            json!("2026-01-01"),
            &["2026-01-01T00:00:00Z"],
            true,
        ),
        (
            OPERATORS,
            "DateGreaterThan",
            now,
            json!("2026-01-01T01:00:00+01:00"),
            &["2026-01-01T00:00:01Z"],
            true,
        ),
        (OPERATORS, "DateGreaterThanEquals", now, json!("2026"), &["2025-12-31T00:00:00Z"], false),
        (OPERATORS, "DateGreaterThan", "aws:EpochTime", json!("1767225600"), &["1767225601"], true),
        (OPERATORS, "DateLessThan", "aws:EpochTime", json!(1_767_225_600), &["1767225601"], false),
        (OPERATORS, "DateLessThan", "aws:TokenIssueTime", json!("2026-01-01"), &[], false),
        (OPERATORS, "DateLessThanIfExists", "aws:TokenIssueTime", json!("2026-01-01"), &[], true),
    ]);
}

#[test]
fn booleans_binaries_and_null() {
    let (secure, mfa, agent) =
        ("aws:SecureTransport", "aws:MultiFactorAuthPresent", "aws:UserAgent");
    check(&[
        (OPERATORS, "Bool", secure, json!("true"), &["true"], true),
        (OPERATORS, "Bool", secure, json!(true), &["true"], true),
        (OPERATORS, "Bool", secure, json!("false"), &["true"], false),
        (OPERATORS, "Bool", secure, json!(["true", "false"]), &["false"], true),
        (OPERATORS, "Bool", mfa, json!("false"), &[], false),
        (OPERATORS, "BoolIfExists", mfa, json!("false"), &[], true),
        (OPERATORS, "BoolIfExists", mfa, json!("true"), &["false"], false),
        (OPERATORS, "BinaryEquals", agent, json!("QmluYXJ5"), &["QmluYXJ5"], true),
        (OPERATORS, "BinaryEquals", agent, json!("QmluYXJ5"), &["QmluYXJ6"], false),
        (OPERATORS, "Null", "aws:TokenIssueTime", json!("true"), &[], true),
        (OPERATORS, "Null", "aws:TokenIssueTime", json!("true"), &["x"], false),
        (OPERATORS, "Null", "aws:TokenIssueTime", json!("false"), &["x"], true),
        (OPERATORS, "Null", "aws:TokenIssueTime", json!(false), &[], false),
    ]);
}

#[test]
fn addresses_and_arns() {
    let (ip, arn) = ("aws:SourceIp", "aws:PrincipalArn");
    let reader = "arn:aws:iam::111122223333:role/reader";
    check(&[
        (OPERATORS, "IpAddress", ip, json!("203.0.113.0/24"), &["203.0.113.9"], true),
        (OPERATORS, "IpAddress", ip, json!("203.0.113.0/24"), &["203.0.114.9"], false),
        (OPERATORS, "IpAddress", ip, json!("203.0.113.9"), &["203.0.113.9"], true),
        (OPERATORS, "IpAddress", ip, json!("0.0.0.0/0"), &["203.0.113.9"], true),
        (
            OPERATORS,
            "IpAddress",
            ip,
            json!("2001:DB8:1234:5678::/64"),
            &["2001:db8:1234:5678::1"],
            true,
        ),
        (
            OPERATORS,
            "IpAddress",
            ip,
            json!("2001:DB8:1234:5678::/64"),
            &["2001:db8:1234:5679::1"],
            false,
        ),
        (OPERATORS, "IpAddress", ip, json!("::/0"), &["203.0.113.9"], false),
        (OPERATORS, "IpAddress", ip, json!("203.0.113.0/24"), &[], false),
        (OPERATORS, "NotIpAddress", ip, json!("203.0.113.0/24"), &["198.51.100.1"], true),
        (OPERATORS, "NotIpAddress", ip, json!("203.0.113.0/24"), &["203.0.113.1"], false),
        (OPERATORS, "NotIpAddress", ip, json!("203.0.113.0/24"), &[], true),
        (
            OPERATORS,
            "ArnEquals",
            arn,
            json!(reader),
            &["arn:aws:iam::111122223333:role/reader"],
            true,
        ),
        (
            OPERATORS,
            "ArnEquals",
            arn,
            json!("arn:aws:iam::*:role/r*"),
            &["arn:aws:iam::111122223333:role/reader"],
            true,
        ),
        (
            OPERATORS,
            "ArnLike",
            arn,
            json!("arn:aws:iam::111122223333:role/*"),
            &["arn:aws:iam::111122223333:user/x"],
            false,
        ),
        (
            OPERATORS,
            "ArnLike",
            arn,
            json!("arn:aws:iam*:role/reader"),
            &["arn:aws:iam::111122223333:role/reader"],
            false,
        ),
        (
            OPERATORS,
            "ArnLike",
            arn,
            json!("arn:*:*:*:*:*"),
            &["arn:aws:iam::111122223333:role/reader"],
            true,
        ),
        (OPERATORS, "ArnLike", arn, json!("*"), &["arn:aws:iam::111122223333:role/reader"], false),
        (
            OPERATORS,
            "ArnNotLike",
            arn,
            json!("arn:aws:iam::*:role/r*"),
            &["arn:aws:iam::111122223333:role/reader"],
            false,
        ),
        (
            OPERATORS,
            "ArnNotEquals",
            arn,
            json!(reader),
            &["arn:aws:iam::111122223333:role/other"],
            true,
        ),
        (OPERATORS, "ArnNotEquals", "aws:SourceArn", json!(reader), &[], true),
    ]);
}

#[test]
fn several_values() {
    let via = "aws:CalledVia";
    let two = &["athena.amazonaws.com", "glue.amazonaws.com"];
    check(&[
        (MULTIVALUED, "ForAllValues:StringEquals", via, json!(two), two, true),
        (MULTIVALUED, "ForAllValues:StringEquals", via, json!("athena.amazonaws.com"), two, false),
        (MULTIVALUED, "ForAllValues:StringLike", via, json!("*.amazonaws.com"), two, true),
        (MULTIVALUED, "ForAllValues:StringEquals", via, json!("x"), &[], true),
        (MULTIVALUED, "ForAllValues:StringNotEquals", via, json!("x"), two, true),
        (MULTIVALUED, "ForAllValues:StringNotEquals", via, json!("glue.amazonaws.com"), two, false),
        (MULTIVALUED, "ForAnyValue:StringEquals", via, json!("glue.amazonaws.com"), two, true),
        (MULTIVALUED, "ForAnyValue:StringEquals", via, json!("x"), two, false),
        (MULTIVALUED, "ForAnyValue:StringEquals", via, json!("x"), &[], false),
        (MULTIVALUED, "ForAnyValue:StringNotEquals", via, json!("glue.amazonaws.com"), two, true),
        (MULTIVALUED, "ForAnyValue:StringNotEquals", via, json!(two), two, false),
        (MULTIVALUED, "ForAnyValue:StringEqualsIfExists", via, json!("x"), &[], true),
    ]);
}

#[test]
fn several_operators_and_keys_are_all_asked_for() {
    let both = json!({
        "StringEquals": { "aws:username": "ann", "aws:PrincipalType": ["User", "Account"] },
        "IpAddress": { "aws:SourceIp": "203.0.113.0/24" },
    });
    let ann = ("aws:username", "ann");
    let kind = ("aws:PrincipalType", "User");
    let near = ("aws:SourceIp", "203.0.113.1");
    for (given, expected) in [
        (vec![ann, kind, near], true),
        (vec![ann, near], false),
        (vec![ann, kind], false),
        (vec![("aws:username", "bob"), kind, near], false),
        // Names of keys are compared without regard to case.
        (vec![("AWS:USERNAME", "ann"), ("aws:principaltype", "User"), near], true),
    ] {
        let held = condition(both.clone(), &given).expect("known keys");
        assert_eq!(held, expected, "{given:?} ({CONDITION_LOGIC})");
    }
}

#[test]
fn variables() {
    let home = |pattern: &str| json!({ "StringLike": { "s3:prefix": pattern } });
    let ann = ("aws:username", "ann");
    for (pattern, given, expected) in [
        ("home/${aws:username}/*", vec![ann, ("s3:prefix", "home/ann/x")], true),
        ("home/${aws:username}/*", vec![ann, ("s3:prefix", "home/bob/x")], false),
        ("home/${aws:username}/*", vec![("s3:prefix", "home//x")], false),
        ("home/${aws:username, 'guest'}/*", vec![("s3:prefix", "home/guest/x")], true),
        ("home/${aws:username, 'guest'}/*", vec![ann, ("s3:prefix", "home/guest/x")], false),
        // What a variable stands for has no wildcards.
        ("home/${aws:username}", vec![("aws:username", "*"), ("s3:prefix", "home/ann")], false),
        ("home/${*}", vec![("s3:prefix", "home/*")], true),
        ("home/${*}", vec![("s3:prefix", "home/x")], false),
        ("what${?}", vec![("s3:prefix", "what?")], true),
        ("${$}5", vec![("s3:prefix", "$5")], true),
        (
            "t/${aws:PrincipalTag/team}",
            vec![("aws:PrincipalTag/team", "a"), ("s3:prefix", "t/a")],
            true,
        ),
        (
            "t/${AWS:principaltag/TEAM}",
            vec![("aws:PrincipalTag/team", "a"), ("s3:prefix", "t/a")],
            true,
        ),
    ] {
        let held = condition(home(pattern), &given).expect("known keys");
        assert_eq!(held, expected, "{pattern} of {given:?} ({VARIABLES})");
    }
}

#[test]
fn unknown_keys_are_named() {
    let vpce = json!({ "StringNotEquals": { "aws:SourceVpce": "vpce-1" } });
    let unknown = condition(vpce, &[]).expect_err("unknown");
    assert!(unknown.to_string().contains("aws:SourceVpce"), "{unknown} ({KEYS})");
    let variable = json!({ "StringLike": { "s3:prefix": "${aws:Ec2InstanceSourceVpc}" } });
    assert!(condition(variable, &[("s3:prefix", "x")]).is_err(), "{VARIABLES}");
    // Beside a condition that does not hold it does not matter.
    let beside = json!({
        "StringEquals": { "aws:SourceVpce": "vpce-1" }, "Bool": { "aws:SecureTransport": "false" },
    });
    assert_eq!(condition(beside, &[("aws:SecureTransport", "true")]), Ok(false));
    // Nobody here is in an organisation, so AWS has no value either.
    let organisation = json!({ "StringEquals": { "aws:PrincipalOrgID": "o-1" } });
    assert_eq!(condition(organisation, &[]), Ok(false), "{KEYS}");
}
