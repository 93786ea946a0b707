//! The state machine of a run.

use serde_json::{Value, json};

use super::{Alarm, Component, Stack};
use crate::grants::{Cfn, Role};
use crate::smoke_test::{Check, CheckKind, MissingOutput, Tested};
use crate::workflow::{Links, Machine, Pass, Segment, Slot, State, jsonata};
use steppe_spec::Served;

/// Logical ID of the machine.
pub(super) const MACHINE: &str = "StateMachine";
/// Output with its ARN.
const OUTPUT: &str = "StateMachineArn";
/// Logical ID of its role.
pub(super) const ROLE: &str = "WorkflowRole";
/// Time of a run for everything but cleaning and training.
const RESERVE_SECS: u32 = 5_400;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let pipeline = &stack.spec.names.pipeline;
    let what = match stack.spec.manifest.task() {
        Served::Forecast(_) => "forecasts every requested series",
        Served::Tabular(_) => "scores every row",
    };
    let told = ["A run of the state machine failed", "A run of the state machine took too long"];
    Some(Component {
        name: "workflow",
        machines: vec![Machine {
            logical_id: MACHINE,
            suffix: "",
            role: ROLE,
            comment: format!("Cleans the data of {pipeline}, {what} and tells people"),
            reserve_secs: RESERVE_SECS,
        }],
        segments: vec![publish(stack)],
        alarms: Alarm::of_machine(MACHINE, "", told).to_vec(),
        roles: vec![Role::new(ROLE, "workflow", "states.amazonaws.com")],
        outputs: vec![(OUTPUT, Cfn::reference(MACHINE))],
        checks: Some(checks),
        ..Component::default()
    })
}

/// A run, in which only the version in service may answer, and that nothing in it was passed over.
fn checks(tested: &Tested<'_>) -> Result<Vec<Check>, MissingOutput> {
    let machine = tested.output(OUTPUT)?.to_owned();
    let (series, version) = (tested.series.to_vec(), tested.version.to_owned());
    let run = CheckKind::Run { machine: machine.clone(), series, version };
    Ok(vec![Check::new("execution", run), Check::new("history", CheckKind::History { machine })])
}

fn publish(stack: &Stack<'_>) -> Segment {
    let mut output = json!({
        "pipeline": stack.spec.names.pipeline,
        "execution": jsonata("$states.context.Execution.Id"),
        "training": jsonata("$training"),
        "bucket": "${DataBucket}",
        "count": jsonata("$done"),
    });
    let own: &[&str] = match stack.spec.manifest.task() {
        Served::Forecast(_) => &["absent", "left_out", "forecasts"],
        Served::Tabular(_) => &["yes", "label"],
    };
    let found: &[&str] = match stack.spec.manifest.unsupervised().next() {
        Some(_) => &["found"],
        None => &[],
    };
    for name in own.iter().chain(found) {
        output[*name] = jsonata(&format!("${name}"));
    }
    let states = move |links: &Links| {
        let (assign, output) = (Value::Null, output.clone());
        vec![("Publish", State::Pass(Pass { assign, output, next: links.onward.clone() }))]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::Publish,
        entry: "Publish",
        when: None,
        states: Box::new(states),
        substitutions: vec![("DataBucket", Cfn::reference("DataBucket"))],
        secs_max: 0,
    }
}
