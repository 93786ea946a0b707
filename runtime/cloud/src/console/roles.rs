//! What roles may do, what they did, and what they were denied.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Seek, SeekFrom};

use maud::{Markup, html};
use serde_json::Value;

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{
    api_time, arn, bytes, facts, folded, json, link, maybe_time, of, section, status, tags, text,
    time,
};
use super::links::to;
use super::table::{paged, table};
use crate::services::iam::Role;

/// Bytes of the audit log that are read, from its end.
const AUDIT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Denied calls that are shown.
const DENIED_MAX: usize = 100;

/// What the audit log has of a role.
#[derive(Default)]
struct Used {
    calls: usize,
    denied: Vec<Value>,
    /// Calls by action, allowed and denied.
    actions: BTreeMap<String, (usize, usize)>,
    /// Calls that each statement allowed.
    statements: BTreeMap<String, usize>,
    newest: Value,
}

/// The audit log's newest part, by role, and whether that is not all.
fn audited(ask: &Ask) -> (BTreeMap<String, Used>, bool) {
    let mut roles: BTreeMap<String, Used> = BTreeMap::new();
    let Ok(mut file) = std::fs::File::open(ask.cloud.path("audit.ndjson")) else {
        return (roles, false);
    };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let begin = length.saturating_sub(AUDIT_BYTES_MAX);
    if file.seek(SeekFrom::Start(begin)).is_err() {
        return (roles, false);
    }
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    // The first line of a part is the end of one.
    for line in lines.skip(usize::from(begin > 0)) {
        let Ok(call) = serde_json::from_str::<Value>(&line) else { continue };
        let Some(role) = call["caller"].as_str().and_then(role_of) else { continue };
        roles.entry(role.to_owned()).or_default().add(call);
    }
    (roles, begin > 0 || ask.cloud.path("audit.ndjson.1").exists())
}

/// The role of a session: `arn:aws:sts::…:assumed-role/ROLE/SESSION`.
fn role_of(caller: &str) -> Option<&str> {
    let (_, rest) = caller.split_once(":assumed-role/")?;
    rest.split('/').next()
}

impl Used {
    fn add(&mut self, call: Value) {
        self.calls += 1;
        self.newest = call["time"].clone();
        let action = call["action"].as_str().unwrap_or_default().to_owned();
        let entry = self.actions.entry(action).or_default();
        if call["allowed"] == true {
            entry.0 += 1;
            for statement in call["statements"].as_array().into_iter().flatten() {
                let name = statement.as_str().unwrap_or_default().to_owned();
                *self.statements.entry(name).or_default() += 1;
            }
        } else {
            entry.1 += 1;
            self.denied.push(call);
        }
    }

    fn denied_rows(&self) -> Vec<Vec<Markup>> {
        let newest = self.denied.iter().rev().take(DENIED_MAX);
        let resource = |call: &Value| arn(call["resource"].as_str().unwrap_or_default());
        newest
            .map(|call| vec![api_time(&call["time"]), of(&call["action"]), resource(call)])
            .collect()
    }
}

fn cut(is_cut: bool) -> Markup {
    html! {
        @if is_cut { p.quiet { "Of the newest " (bytes(AUDIT_BYTES_MAX)) " of the audit log." } }
    }
}

/// All roles.
pub async fn list(ask: &Ask) -> Result<Answer, Problem> {
    let (used, is_cut) = audited(ask);
    let (roles, pager) = paged(ask, "roles", ask.cloud.services.iam.roles.all());
    let nothing = Used::default();
    let rows: Vec<Vec<Markup>> = roles
        .iter()
        .map(|(name, role)| {
            let used = used.get(name).unwrap_or(&nothing);
            let granted = statements(role).filter(|s| s.statement["Effect"] == "Allow").count();
            vec![
                link(&to("role", &[("name", name)]), name),
                text(&granted.to_string()),
                text(&used.calls.to_string()),
                text(&used.denied.len().to_string()),
                api_time(&used.newest),
                time(role.created),
            ]
        })
        .collect();
    let columns = ["Name", "#Statements", "#Calls", "#Denied", "Newest call", "Created"];
    let body = html! { (cut(is_cut)) (table("Roles", &columns, &rows)) (pager) };
    Ok(Page::new("Roles", body).into())
}

/// A statement of a role's policies.
struct Statement<'r> {
    policy: &'r str,
    statement: &'r Value,
}

fn statements(role: &Role) -> impl Iterator<Item = Statement<'_>> {
    role.policies.iter().flat_map(|(policy, document)| {
        let all = match &document["Statement"] {
            Value::Array(all) => all.iter().collect(),
            one => vec![one],
        };
        all.into_iter().map(move |statement| Statement { policy, statement })
    })
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// Whether a pattern of a policy covers an action, whatever their case.
fn covers(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(rest) = action.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut rest = rest;
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(last) => last.is_empty() || action.ends_with(last),
    }
}

/// One role: what each statement grants, which of its actions were called, and denials.
pub async fn one(ask: &Ask) -> Result<Answer, Problem> {
    let name = ask.required("name")?;
    let role = ask.cloud.services.iam.roles.get(name);
    let role = role.ok_or_else(|| Problem::absent(format!("There is no role {name}.")))?;
    let (mut all, is_cut) = audited(ask);
    let used = all.remove(name).unwrap_or_default();
    let granted: Vec<Vec<Markup>> =
        statements(&role).map(|statement| granted(&statement, &used)).collect();
    let called: Vec<Vec<Markup>> = used
        .actions
        .iter()
        .map(|(action, (allowed, denied))| {
            vec![text(action), text(&allowed.to_string()), text(&denied.to_string())]
        })
        .collect();
    let columns =
        ["Statement", "Effect", "Actions that were called", "Actions that were not", "Resources"];
    let denied = table("Denied calls", &["When", "Action", "Resource"], &used.denied_rows());
    let body = html! {
        (facts(vec![
            ("ARN", text(&ask.cloud.config.global_arn("iam", &format!("role/{name}")))),
            ("Description", text(role.description.as_deref().unwrap_or_default())),
            ("Created", maybe_time(Some(role.created))),
            ("Calls", text(&used.calls.to_string())),
            ("Denied calls", text(&used.denied.len().to_string())),
            ("Managed policies", text(&role.attached.join(", "))),
            ("Permissions boundary", text(role.boundary.as_deref().unwrap_or_default())),
            ("Tags", tags(&role.tags)),
        ]))
        (cut(is_cut))
        (section("Denied calls, newest first", &denied))
        (section("Granted", &table("Granted", &columns, &granted)))
        (section("Called", &table("Called", &["Action", "#Allowed", "#Denied"], &called)))
        (folded("Trust policy", &json("Trust policy", &role.trust)))
        @for (policy, document) in &role.policies {
            (folded(&format!("Policy {policy}"), &json(policy, document)))
        }
    };
    Ok(Page::new(name, body).below("Roles", to("roles", &[])).into())
}

fn granted(granted: &Statement<'_>, used: &Used) -> Vec<Markup> {
    let statement = granted.statement;
    let actions = texts(&statement["Action"]);
    let was_called = |pattern: &&&str| {
        used.actions.iter().any(|(action, (allowed, _))| *allowed > 0 && covers(pattern, action))
    };
    let (called, idle): (Vec<&&str>, Vec<&&str>) = actions.iter().partition(was_called);
    let joined =
        |names: Vec<&&str>| text(&names.into_iter().copied().collect::<Vec<_>>().join(", "));
    let name = statement["Sid"]
        .as_str()
        .map_or_else(|| granted.policy.to_owned(), |sid| format!("{}/{sid}", granted.policy));
    let effect = statement["Effect"].as_str().unwrap_or_default();
    vec![
        text(&name),
        status(if effect == "Allow" { "ALLOWED" } else { "DENIED" }),
        joined(called),
        joined(idle),
        html! { @for resource in texts(&statement["Resource"]) { div { (arn(resource)) } } },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_covered_by_patterns() {
        for (pattern, action) in [
            ("s3:GetObject", "s3:getobject"),
            ("s3:*", "s3:GetObject"),
            ("*", "a:B"),
            ("s3:Get*", "s3:GetObject"),
            ("s3:*Object", "s3:GetObject"),
        ] {
            assert!(covers(pattern, action), "{pattern} {action}");
        }
        for (pattern, action) in
            [("s3:Get", "s3:GetObject"), ("s3:*Tagging", "s3:GetObject"), ("sns:*", "s3:GetObject")]
        {
            assert!(!covers(pattern, action), "{pattern} {action}");
        }
    }

    #[test]
    fn sessions_belong_to_roles() {
        assert_eq!(role_of("arn:aws:sts::000000000000:assumed-role/r/s"), Some("r"));
        assert_eq!(role_of("arn:aws:iam::000000000000:user/administrator"), None);
    }
}
