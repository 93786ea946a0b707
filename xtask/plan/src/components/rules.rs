//! What starts by itself: the rules of all components, the role that they start machines with, and
//! an alarm for each that could not.

use serde_json::{Value, json};

use super::{Alarm, Component, Fragment, Rule, Stack};
use crate::grants::{Cfn, Grant, Role, Statement};

const ROLE: &str = "RulesRole";

pub(super) fn component(_stack: &Stack<'_>, others: &[Component]) -> Option<Component> {
    let rules: Vec<&Rule> = others.iter().flat_map(|other| &other.rules).collect();
    let printed: Vec<Value> = rules.iter().map(printed).collect();
    let start = |rule: &&Rule| {
        let machine = [Cfn::reference(rule.machine)];
        let sid = format!("Start{}", rule.logical_id);
        Grant { role: ROLE, statement: Statement::allow(sid, &["states:StartExecution"], &machine) }
    };
    (!rules.is_empty()).then(|| Component {
        name: "rules",
        resources: vec![Fragment::new("rules.yaml.tera", json!({ "rules": printed }))],
        alarms: rules.iter().map(not_started).collect(),
        roles: vec![Role::new(ROLE, "rules", "events.amazonaws.com")],
        grants: rules.iter().map(start).collect(),
        ..Component::default()
    })
}

/// A rule as its template prints it.
fn printed(rule: &&Rule) -> Value {
    let mut target = json!({
        "Id": rule.name,
        "Arn": Cfn::reference(rule.machine),
        "RoleArn": Cfn::arn(ROLE),
    });
    if let Some(input) = rule.input {
        target["Input"] = input.into();
    }
    json!({
        "logical_id": rule.logical_id,
        "name": rule.name,
        "description": rule.description,
        "trigger": rule.trigger,
        "targets": [target],
    })
}

fn not_started(rule: &&Rule) -> Alarm {
    Alarm {
        logical_id: format!("{}NotStarted", rule.logical_id),
        name: format!("{}-not-started", rule.name),
        description: "A rule could not start what it starts",
        namespace: "AWS/Events",
        metric: "FailedInvocations",
        dimension: "RuleName",
        resource: rule.logical_id.to_owned(),
        period_secs: 300,
        threshold: 1,
    }
}
