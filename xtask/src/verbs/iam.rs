//! `iam`: what the roles of the deployed stack are granted, what they used, and the smallest
//! policies that would have let them.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use steppe_plan::usage::{Call, RoleUsage, of_role};
use steppe_wire::hint::Hinted;

use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::Workspace;
use crate::table::table;
use crate::target::local_cloud;

/// The audit log of the embedded cloud, older part first.
const LOGS: [&str; 2] = ["audit.ndjson.1", "audit.ndjson"];

/// Compares and shows.
pub async fn run(workspace: &Workspace, host: &Host) -> Result<Outcome> {
    let Some(local) = local_cloud(workspace)? else {
        bail!(Hinted::new(
            "what roles used is known of the embedded cloud only: CloudTrail's event history, \
             which every account has, leaves out what is done with objects, functions, items and \
             messages, so a policy made of it would be too small",
            "on AWS, IAM Access Analyzer makes policies of a trail with data events: `aws \
             accessanalyzer start-policy-generation`",
        ));
    };
    let ours = Deployment::open(workspace).await?;
    let (aws, stack) = (ours.aws(), ours.stack()?);
    let calls = calls(&local.dir)?;
    let mut roles = Vec::new();
    for resource in aws.stack_resources(&stack.id).await? {
        if resource.resource_type == "AWS::IAM::Role" && !resource.physical_id.is_empty() {
            let granted = aws.role_statements(&resource.physical_id).await?;
            roles.push(of_role(&resource.physical_id, &granted, &calls));
        }
    }
    roles.sort_by(|a, b| a.role.cmp(&b.role));
    let result = json!({ "stack": ours.names().stack(), "calls": calls.len(), "roles": roles });
    host.result(&result, &shown(&roles, &format!("{}-", ours.names().stack()))?);
    Ok(Outcome::Done)
}

/// What roles called, as far as the log goes back.
fn calls(folder: &Path) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for name in LOGS {
        let file = folder.join(name);
        match std::fs::read_to_string(&file) {
            Ok(text) => calls.extend(text.lines().filter_map(Call::parse)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        }
    }
    Ok(calls)
}

fn shown(roles: &[RoleUsage], prefix: &str) -> Result<String> {
    let mut rows = Vec::new();
    for role in roles {
        let name = role.role.strip_prefix(prefix).unwrap_or(&role.role);
        for used in &role.actions {
            let resources = match used.resources.as_slice() {
                [] => "never used".to_owned(),
                [one] => one.clone(),
                many => format!("{} resources", many.len()),
            };
            let calls = used.calls.to_string();
            let (statement, action) = (used.statement.clone(), used.action.clone());
            rows.push(vec![name.to_owned(), statement, action, calls, resources]);
        }
        for (action, resource) in &role.denied {
            let (action, denied) = (action.clone(), format!("denied: {resource}"));
            rows.push(vec![name.to_owned(), String::new(), action, "0".to_owned(), denied]);
        }
    }
    let mut text = table(&["role", "statement", "action", "calls", "used on"], &rows);
    for role in roles {
        let name = role.role.strip_prefix(prefix).unwrap_or(&role.role);
        text += &match &role.policy {
            Some(policy) => {
                let policy = serde_json::to_string_pretty(policy)?;
                format!("\nthe smallest policy for what {name} used:\n{policy}\n")
            }
            None => format!("\n{name} used nothing\n"),
        };
    }
    Ok(text)
}
