//! What starts by itself: the rules of all components, the role that they start machines with, and
//! an alarm for each that could not.

use serde_json::json;

use super::{Alarm, Component, Fragment, Rule, Stack};
use crate::grants::{Cfn, Grant, Role, Statement};

const ROLE: &str = "RulesRole";

pub(super) fn component(_stack: &Stack<'_>, others: &[Component]) -> Option<Component> {
    let rules: Vec<&Rule> = others.iter().flat_map(|other| &other.rules).collect();
    let start = |rule: &&Rule| {
        let machine = [Cfn::reference(rule.machine)];
        let sid = format!("Start{}", rule.logical_id);
        Grant { role: ROLE, statement: Statement::allow(sid, &["states:StartExecution"], &machine) }
    };
    (!rules.is_empty()).then(|| Component {
        name: "rules",
        resources: vec![Fragment::new("rules.yaml.tera", json!({ "rules": rules }))],
        alarms: rules.iter().map(not_started).collect(),
        roles: vec![Role::new(ROLE, "rules", "events.amazonaws.com")],
        grants: rules.iter().map(start).collect(),
        ..Component::default()
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
