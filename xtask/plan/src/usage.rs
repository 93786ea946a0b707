//! What roles were granted, what they used, and the smallest policies that would have let them.
//!
//! A statement of the smallest policy has the actions of a granted one that were used, with the
//! resources that they were used on and the condition of the granted statement. Where an action was
//! used on more than [`NAMED_MAX`] resources, the patterns of the grant stand for them, so that a
//! policy stays within IAM's quotas; it never grants what was not granted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

/// Resources of an action that are named one by one.
pub const NAMED_MAX: usize = 5;

/// A decision that the audit log of the embedded cloud has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The role.
    pub role: String,
    /// `s3:GetObject`.
    pub action: String,
    /// An ARN, or `*` when the action knows none.
    pub resource: String,
    /// Whether it was allowed.
    pub allowed: bool,
    /// `Sid`s of the statements that decided.
    pub statements: Vec<String>,
}

impl Call {
    /// The decision in a line; `None` when it is about somebody else than a role.
    pub fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let caller = text("caller")?;
        let (_, session) = caller.split_once(":assumed-role/")?;
        let statements = value["statements"].as_array().into_iter().flatten();
        Some(Self {
            role: session.split('/').next()?.to_owned(),
            action: text("action")?,
            resource: text("resource")?,
            allowed: value["allowed"].as_bool()?,
            statements: statements.filter_map(|s| s.as_str().map(str::to_owned)).collect(),
        })
    }
}

/// An action that a statement grants, or that a role called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Used {
    /// The statement's `Sid`, or nothing.
    pub statement: String,
    /// The action, as granted.
    pub action: String,
    /// How often it was allowed by this statement.
    pub calls: usize,
    /// On what.
    pub resources: Vec<String>,
}

/// What there is to say about a role.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoleUsage {
    /// The role.
    pub role: String,
    /// What is granted, and what of it was used.
    pub actions: Vec<Used>,
    /// What it was denied: actions and resources.
    pub denied: BTreeSet<(String, String)>,
    /// The smallest policy; nothing when nothing was used.
    pub policy: Option<Value>,
}

/// Compares what a role is granted with what it called.
pub fn of_role(role: &str, granted: &[Value], calls: &[Call]) -> RoleUsage {
    let grants: Vec<Grant> = granted.iter().filter_map(Grant::of).collect();
    let own: Vec<&Call> = calls.iter().filter(|call| call.role == role).collect();
    let allowed: Vec<&Call> = own.iter().copied().filter(|call| call.allowed).collect();
    let actions = grants.iter().flat_map(|grant| grant.used(&allowed)).collect();
    let denied = own.iter().filter(|call| !call.allowed);
    RoleUsage {
        role: role.to_owned(),
        actions,
        denied: denied.map(|call| (call.action.clone(), call.resource.clone())).collect(),
        policy: smallest(&grants, &allowed),
    }
}

/// A statement that allows something.
struct Grant<'a> {
    sid: &'a str,
    actions: Vec<&'a str>,
    resources: Vec<&'a str>,
    condition: &'a Value,
}

impl<'a> Grant<'a> {
    fn of(statement: &'a Value) -> Option<Self> {
        let allows = statement["Effect"] == "Allow";
        allows.then(|| Self {
            sid: statement["Sid"].as_str().unwrap_or_default(),
            actions: texts(&statement["Action"]),
            resources: texts(&statement["Resource"]),
            condition: &statement["Condition"],
        })
    }

    /// Whether this is a statement that allowed a call.
    fn allowed(&self, call: &Call) -> bool {
        let named = self.sid.is_empty() || call.statements.iter().any(|sid| sid == self.sid);
        let action = call.action.to_ascii_lowercase();
        let fits = |pattern: &&str| matches(&pattern.to_ascii_lowercase(), &action);
        named
            && self.actions.iter().any(fits)
            && self.resources.iter().any(|pattern| matches(pattern, &call.resource))
    }

    fn used(&self, allowed: &[&Call]) -> Vec<Used> {
        let of = |action: &&str| {
            let fits = |call: &&&Call| {
                let called = call.action.to_ascii_lowercase();
                matches(&action.to_ascii_lowercase(), &called) && self.allowed(call)
            };
            let calls: Vec<_> = allowed.iter().filter(fits).collect();
            let resources: BTreeSet<&String> = calls.iter().map(|call| &call.resource).collect();
            Used {
                statement: self.sid.to_owned(),
                action: (*action).to_owned(),
                calls: calls.len(),
                resources: resources.into_iter().cloned().collect(),
            }
        };
        self.actions.iter().map(of).collect()
    }

    /// Resources as a policy names them: one by one, or by the grant's patterns when they are many.
    fn named(&self, resources: &BTreeSet<&str>) -> Vec<String> {
        if resources.len() <= NAMED_MAX {
            // Some actions are asked for on the very pattern of the grant: `log-group:NAME:*`.
            let (granted, others): (Vec<&str>, Vec<&str>) =
                resources.iter().partition(|resource| self.resources.contains(*resource));
            let others = others.into_iter().map(literal);
            return granted.into_iter().map(str::to_owned).chain(others).collect();
        }
        let used = |pattern: &&&str| resources.iter().any(|resource| matches(pattern, resource));
        self.resources.iter().filter(used).map(|pattern| (*pattern).to_owned()).collect()
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        other => other.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    }
}

/// The policy of what was used. A call that no statement of the role allowed, but the policy of
/// the resource, needs nothing in it.
fn smallest(grants: &[Grant<'_>], allowed: &[&Call]) -> Option<Value> {
    let mut statements = Vec::new();
    for grant in grants {
        // The first statement that allowed a call is enough for it.
        let first = |call: &&&Call| {
            grants.iter().find(|other| other.allowed(call)).is_some_and(|g| std::ptr::eq(g, grant))
        };
        let mut on: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for call in allowed.iter().filter(first) {
            on.entry(&call.action).or_default().insert(&call.resource);
        }
        let mut together: BTreeMap<Vec<String>, Vec<&str>> = BTreeMap::new();
        for (action, resources) in &on {
            together.entry(grant.named(resources)).or_default().push(action);
        }
        for (number, (resources, actions)) in together.into_iter().enumerate() {
            let mut statement =
                json!({ "Effect": "Allow", "Action": actions, "Resource": resources });
            if !grant.sid.is_empty() {
                let ending = if number == 0 { String::new() } else { (number + 1).to_string() };
                statement["Sid"] = format!("{}{ending}", grant.sid).into();
            }
            if !grant.condition.is_null() {
                statement["Condition"] = grant.condition.clone();
            }
            statements.push(statement);
        }
    }
    let policy = json!({ "Version": "2012-10-17", "Statement": statements });
    (!statements.is_empty()).then_some(policy)
}

/// A resource as a pattern that fits it only.
fn literal(resource: &str) -> String {
    // Actions on all of a kind are asked for in this form.
    if matches!(resource, "*" | "arn:aws:s3:::*") {
        return resource.to_owned();
    }
    let mut text = String::with_capacity(resource.len());
    for c in resource.chars() {
        match c {
            '*' | '?' | '$' => text.extend(["${", c.encode_utf8(&mut [0; 4]), "}"]),
            c => text.push(c),
        }
    }
    text
}

/// Whether a pattern with `*` and `?` fits a text.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            // The last star takes one more.
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(action: &str, resource: &str, statement: Option<&str>) -> Call {
        let line = json!({
            "caller": "arn:aws:sts::0:assumed-role/r/s", "action": action, "resource": resource,
            "allowed": statement.is_some(), "statements": statement.as_slice(),
        });
        Call::parse(&line.to_string()).expect("a role's")
    }

    #[test]
    fn the_smallest_policy_has_what_was_used_under_the_same_conditions() {
        let owned = json!({ "StringEquals": { "aws:ResourceAccount": "0" } });
        let granted = [
            json!({ "Sid": "Read", "Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": ["arn:aws:s3:::b", "arn:aws:s3:::b/*"], "Condition": owned }),
            json!({ "Sid": "Look", "Effect": "Allow", "Action": "glue:Get*", "Resource": "*" }),
            json!({ "Sid": "Write", "Effect": "Allow", "Action": "logs:PutLogEvents",
                "Resource": ["arn:aws:logs:x:0:log-group:/g:*"] }),
            json!({ "Sid": "Idle", "Effect": "Allow", "Action": "sns:Publish", "Resource": "*" }),
            json!({ "Sid": "Not", "Effect": "Deny", "Action": "*", "Resource": "x" }),
        ];
        let calls = [
            call("s3:GetObject", "arn:aws:s3:::b/what?", Some("Read")),
            call("s3:GetObject", "arn:aws:s3:::b/what?", Some("Read")),
            call("glue:GetTable", "arn:aws:glue:x:0:table/d/t", Some("Look")),
            call("logs:PutLogEvents", "arn:aws:logs:x:0:log-group:/g:*", Some("Write")),
            // By the queue's own policy.
            call("sqs:SendMessage", "arn:aws:sqs:x:0:q", Some("Theirs")),
            call("s3:PutObject", "arn:aws:s3:::b/k", None),
        ];
        let usage = of_role("r", &granted, &calls);
        let counts: Vec<_> = usage.actions.iter().map(|u| (u.action.as_str(), u.calls)).collect();
        let expected = [
            ("s3:GetObject", 2),
            ("s3:ListBucket", 0),
            ("glue:Get*", 1),
            ("logs:PutLogEvents", 1),
            ("sns:Publish", 0),
        ];
        assert_eq!(counts, expected);
        assert_eq!(usage.denied.len(), 1);
        let policy = usage.policy.expect("a policy");
        assert_eq!(
            policy["Statement"],
            json!([
                { "Sid": "Read", "Effect": "Allow", "Action": ["s3:GetObject"],
                  "Resource": ["arn:aws:s3:::b/what${?}"], "Condition": owned },
                { "Sid": "Look", "Effect": "Allow", "Action": ["glue:GetTable"],
                  "Resource": ["arn:aws:glue:x:0:table/d/t"] },
                { "Sid": "Write", "Effect": "Allow", "Action": ["logs:PutLogEvents"],
                  "Resource": ["arn:aws:logs:x:0:log-group:/g:*"] },
            ])
        );
        assert_eq!(of_role("other", &granted, &calls).policy, None);
    }

    #[test]
    fn many_resources_are_named_by_the_grant() {
        let granted = [json!({ "Effect": "Allow", "Action": "s3:PutObject",
            "Resource": ["arn:aws:s3:::b/in/*", "arn:aws:s3:::b/out/*"] })];
        let put = |n: usize| call("s3:PutObject", &format!("arn:aws:s3:::b/out/{n}"), Some("x"));
        let calls: Vec<Call> = (0..=NAMED_MAX).map(put).collect();
        let policy = of_role("r", &granted, &calls).policy.expect("a policy");
        assert_eq!(policy["Statement"][0]["Resource"], json!(["arn:aws:s3:::b/out/*"]));
        assert_eq!(policy["Statement"][0].get("Sid"), None);
        let policy = of_role("r", &granted, &calls[..2]).policy.expect("a policy");
        let named = json!(["arn:aws:s3:::b/out/0", "arn:aws:s3:::b/out/1"]);
        assert_eq!(policy["Statement"][0]["Resource"], named);
    }

    #[test]
    fn patterns_fit_as_iams_do() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*b", "abab", true),
            ("abc", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
