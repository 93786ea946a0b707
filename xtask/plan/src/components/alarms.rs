//! The alarms of all components. Errors of functions are no alarm of their own: an attempt that is
//! repeated with success is no failure, and one that is not ends the state machine's run.

use serde_json::json;

use super::{Alarm, Component, Cost, Fragment, Stack};
use crate::grants::Cfn;

/// Price of an alarm for a month, in US dollars. <https://aws.amazon.com/cloudwatch/pricing/>
const ALARM_USD: f64 = 0.10;

pub(super) fn component(stack: &Stack<'_>, others: &[Component]) -> Option<Component> {
    let alarms: Vec<&Alarm> = others.iter().flat_map(|other| &other.alarms).collect();
    let actions: Vec<&Cfn> = others.iter().flat_map(|other| &other.alarm_actions).collect();
    stack.spec.manifest.stack.alarms.then(|| Component {
        name: "alarms",
        resources: vec![Fragment::new(
            "alarms.yaml.tera",
            json!({ "alarms": alarms, "actions": actions }),
        )],
        cost: Cost { idle_month: Some(alarms.len() as f64 * ALARM_USD), ..Cost::default() },
        ..Component::default()
    })
}
