//! Stack policies: which resources an update may not touch.
//!
//! A resource that no statement allows is protected, and a `Deny` decides. Actions are
//! `Update:Modify`, `Update:Replace` and `Update:Delete`; principals are everybody.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html>

use serde_json::Value;

use crate::kernel::iam::wildcards_match;

/// Bytes of a policy.
const BYTES_MAX: usize = 16_384;
const ACTIONS: [&str; 4] = ["Update:Modify", "Update:Replace", "Update:Delete", "Update:*"];
/// What names a resource by its logical ID.
const RESOURCE: &str = "LogicalResourceId/";

/// Parses a policy and refuses what CloudFormation refuses.
pub fn parse(text: &str) -> Result<Value, String> {
    let invalid = |why: &str| format!("Error validating stack policy: {why}");
    if text.len() > BYTES_MAX {
        return Err(invalid(&format!("it is longer than {BYTES_MAX} bytes")));
    }
    let policy: Value = serde_json::from_str(text).map_err(|_| invalid("Invalid stack policy"))?;
    let known = |name: &String| matches!(name.as_str(), "Statement" | "Version" | "Id");
    let is_whole = policy.as_object().is_some_and(|members| members.keys().all(known));
    let statements = policy["Statement"].as_array().filter(|_| is_whole);
    let statements = statements.ok_or_else(|| invalid("Invalid stack policy"))?;
    for statement in statements {
        check_statement(statement).map_err(|why| invalid(&why))?;
    }
    Ok(policy)
}

fn check_statement(statement: &Value) -> Result<(), String> {
    const MEMBERS: [&str; 9] = [
        "Sid",
        "Effect",
        "Action",
        "NotAction",
        "Principal",
        "Resource",
        "NotResource",
        "Condition",
        "NotPrincipal",
    ];
    let members = statement.as_object().ok_or("a statement is not an object")?;
    if let Some(other) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(format!("unknown field {other}"));
    }
    if !matches!(statement["Effect"].as_str(), Some("Allow" | "Deny")) {
        return Err("Effect must be Allow or Deny".to_owned());
    }
    let everybody = statement["Principal"] == "*" || statement["Principal"]["AWS"] == "*";
    if !everybody {
        return Err("the Principal of a stack policy is \"*\"".to_owned());
    }
    let actions = texts(&statement["Action"]).chain(texts(&statement["NotAction"]));
    for action in actions {
        if action != "*" && !ACTIONS.iter().any(|known| known.eq_ignore_ascii_case(action)) {
            return Err(format!("{action} is no action of stack policies"));
        }
    }
    let resources = texts(&statement["Resource"]).chain(texts(&statement["NotResource"]));
    for resource in resources {
        if resource != "*" && !resource.starts_with(RESOURCE) {
            return Err(format!("{resource} is no resource of stack policies"));
        }
    }
    let conditions = statement["Condition"].as_object().into_iter().flatten();
    for (operator, keys) in conditions {
        if !matches!(operator.as_str(), "StringEquals" | "StringLike") {
            return Err(format!("{operator} is no operator of stack policies"));
        }
        if keys.as_object().is_none_or(|keys| keys.keys().any(|key| key != "ResourceType")) {
            return Err("the only condition key is ResourceType".to_owned());
        }
    }
    Ok(())
}

/// A text, or the texts of a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(Value::as_str)
}

/// What an update would do to a resource.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// `Update:Modify`.
    pub action: &'a str,
    /// Its logical ID.
    pub logical_id: &'a str,
    /// Its type.
    pub kind: &'a str,
}

/// Whether the policy lets an update do that; the error has the words of the resource's event.
pub fn check(policy: &Value, change: Change<'_>) -> Result<(), String> {
    let denied = |number: Option<usize>| {
        let statement = match number {
            Some(number) => format!("Statement [#{number}] does not allow"),
            None => "No statement allows".to_owned(),
        };
        let Change { action, logical_id, .. } = change;
        format!(
            "Action denied by stack policy: {statement} [{action}] for resource \
             [{RESOURCE}{logical_id}];"
        )
    };
    let mut allowed = false;
    for (index, statement) in policy["Statement"].as_array().into_iter().flatten().enumerate() {
        match statement["Effect"].as_str() {
            _ if !fits(statement, change) => {}
            Some("Deny") => return Err(denied(Some(index + 1))),
            _ => allowed = true,
        }
    }
    if allowed { Ok(()) } else { Err(denied(None)) }
}

fn fits(statement: &Value, change: Change<'_>) -> bool {
    let resource = format!("{RESOURCE}{}", change.logical_id);
    let matched = |patterns: &Value, value: &str| {
        texts(patterns).any(|pattern| wildcards_match(pattern, value))
    };
    let one_of = |name: &str, value: &str| {
        let except = &statement[format!("Not{name}")];
        if except.is_null() { matched(&statement[name], value) } else { !matched(except, value) }
    };
    let conditions = statement["Condition"].as_object().into_iter().flatten();
    let mut conditions = conditions.map(|(operator, keys)| match operator.as_str() {
        "StringEquals" => texts(&keys["ResourceType"]).any(|kind| kind == change.kind),
        _ => matched(&keys["ResourceType"], change.kind),
    });
    one_of("Action", change.action)
        && one_of("Resource", &resource)
        && conditions.all(|holds| holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"{ "Statement": [
        { "Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": ["Update:Replace", "Update:Delete"], "Principal": "*",
          "Resource": "LogicalResourceId/Data*",
          "Condition": { "StringLike": { "ResourceType": ["AWS::S3::*"] } } }
    ] }"#;

    fn change<'a>(action: &'a str, logical_id: &'a str, kind: &'a str) -> Change<'a> {
        Change { action, logical_id, kind }
    }

    #[test]
    fn a_denial_decides() {
        let policy = parse(POLICY).expect("valid");
        let bucket = "AWS::S3::Bucket";
        assert_eq!(check(&policy, change("Update:Modify", "DataBucket", bucket)), Ok(()));
        assert_eq!(check(&policy, change("Update:Delete", "Other", bucket)), Ok(()));
        assert_eq!(check(&policy, change("Update:Delete", "DataTopic", "AWS::SNS::Topic")), Ok(()));
        assert_eq!(
            check(&policy, change("Update:Replace", "DataBucket", bucket)),
            Err("Action denied by stack policy: Statement [#2] does not allow [Update:Replace] for \
                 resource [LogicalResourceId/DataBucket];"
                .to_owned())
        );
    }

    #[test]
    fn what_no_statement_allows_is_protected() {
        let policy = r#"{ "Statement": [{ "Effect": "Allow", "Action": "Update:*",
                          "Principal": "*", "NotResource": "LogicalResourceId/Kept" }] }"#;
        let policy = parse(policy).expect("valid");
        assert_eq!(check(&policy, change("Update:Modify", "Other", "AWS::SNS::Topic")), Ok(()));
        assert!(check(&policy, change("Update:Modify", "Kept", "AWS::SNS::Topic")).is_err());
    }

    #[test]
    fn what_is_no_stack_policy_is_refused() {
        for (policy, why) in [
            ("[]", "Invalid stack policy"),
            (r#"{"Statement":[{"Effect":"Maybe"}]}"#, "Effect must be Allow or Deny"),
            (
                r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*"}]}"#,
                "s3:* is no action of stack policies",
            ),
            (
                r#"{"Statement":[{"Effect":"Deny","Principal":"me","Action":"*","Resource":"*"}]}"#,
                "the Principal of a stack policy is \"*\"",
            ),
        ] {
            assert_eq!(parse(policy), Err(format!("Error validating stack policy: {why}")));
        }
    }
}
