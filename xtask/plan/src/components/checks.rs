//! The checks of every run: of the inputs before anything is cleaned, of the forecasts before
//! anybody is told.

use serde_json::{Map, Value, json};
use steppe_spec::Input;
use steppe_wire::keys;

use super::predictor::LAMBDA_IS_BUSY;
use super::training::job;
use super::workflow::MACHINE;
use super::{Component, Function, Stack, attaches_to_network, writes_logs};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::workflow::{Branch, Choice, Fail, Links, Next, Retry, Segment, Slot, State};
use crate::workflow::{Task, jsonata};

/// Logical ID of the function.
pub(super) const JOB: &str = "CheckJob";
/// Logical ID of the function's role.
pub(super) const ROLE: &str = "CheckJobRole";
/// Memory of the function: it holds beginnings of files, and forecasts of some calls at a time.
const MEMORY_MB: u32 = 256;
/// Longest time of a check.
const TIMEOUT_SECS: u32 = 300;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let spec = stack.spec;
    let description = "Checks inputs before a run, and forecasts after it";
    let plan = Cfn::Text(keys::etl_plan(&spec.hashes.etl_plan));
    let function = Function {
        memory_mb: MEMORY_MB,
        timeout_secs: TIMEOUT_SECS,
        ..job(stack, "CheckJob", "check", ROLE, description).with("ETL_PLAN_KEY", plan)
    };
    Some(Component {
        name: "checks",
        functions: vec![function],
        segments: vec![inputs(stack), outputs(stack)],
        roles: vec![Role::new(ROLE, "check", "lambda.amazonaws.com")],
        grants: grants(stack),
        outputs: vec![("CheckJobLogGroup", Cfn::reference("CheckJobLogs"))],
        ..Component::default()
    })
}

fn grants(stack: &Stack<'_>) -> Vec<Grant> {
    let names = stack.spec.names;
    let pipeline = &names.pipeline;
    let raw = format!("raw/{pipeline}/*");
    let artifacts = format!("arn:${{AWS::Partition}}:s3:::{}", names.artifacts_bucket());
    let in_data = |key: &str| Cfn::sub(format!("${{DataBucket.Arn}}/{key}"));
    let predicted = match stack.spec.manifest.scores_batches() {
        true => keys::BATCHES_PREFIX,
        false => keys::PREDICTIONS_PREFIX,
    };
    let forecasts = format!("{predicted}*");
    let reports = format!("{}*", keys::reports_prefix(pipeline));
    let read = ["s3:GetObject"];
    let inputs = [in_data(&raw), in_data(&keys::etl_report(pipeline))];
    let list = Statement::on_buckets("ListFiles", &["s3:ListBucket"], &[Cfn::arn("DataBucket")]);
    let own = [
        Statement::on_buckets("ReadPlan", &read, &[Cfn::sub(format!("{artifacts}/glue/*"))]),
        list.of_prefixes(&[raw, forecasts.clone(), reports]),
        Statement::on_buckets("ReadInputs", &read, &inputs),
        Statement::on_buckets("ReadForecasts", &read, &[in_data(&forecasts)]),
    ]
    .map(|statement| Grant { role: ROLE, statement });
    let invoke = [Cfn::arn("CheckJob")];
    let invoke = Statement::allow("InvokeChecks", &["lambda:InvokeFunction"], &invoke);
    let workflow = Grant { role: super::workflow::ROLE, statement: invoke };
    let network = attaches_to_network(ROLE, "check", &names.stack());
    let logs = writes_logs(ROLE, &["CheckJobLogs"]);
    own.into_iter().chain([logs, workflow]).chain(network).collect()
}

/// A call of a job that is quick and may be repeated.
pub(super) fn call(
    partition: &str,
    (function, payload): (&str, &Value),
    assign: Value,
    next: Next,
) -> State {
    let function = format!("${{{function}}}");
    let arguments = json!({ "FunctionName": function, "Payload": payload });
    State::Task(Task {
        assign,
        retry: vec![Retry::patiently(&LAMBDA_IS_BUSY, 2, 5)],
        ..Task::new(partition, "lambda:invoke", arguments, next)
    })
}

/// What the function is in a definition.
pub(super) fn substitutions() -> Vec<(&'static str, Cfn)> {
    vec![(JOB, Cfn::arn(JOB))]
}

/// The names of a check's states: the call, whether all is well, and what is wrong.
type Names = [&'static str; 3];

/// A check, after which the run goes on or fails with what is wrong.
fn segment(stack: &Stack<'_>, slot: Slot, names: Names, payload: Value) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let states = move |links: &Links| {
        let [check, verdict, failure] = names;
        let assign = json!({ "defects": jsonata("[$states.result.Payload.defects]") });
        let is_well = Choice {
            choices: vec![Branch::when("$count($defects) = 0", links.onward.clone())],
            default: failure.to_owned(),
        };
        let cause = jsonata("$join($defects, '\\n')");
        vec![
            (check, call(&partition, (JOB, &payload), assign, Next::to(verdict))),
            (verdict, State::Choice(is_well)),
            (failure, Fail::of(failure, cause)),
        ]
    };
    Segment {
        machine: MACHINE,
        slot,
        entry: names[0],
        when: None,
        states: Box::new(states),
        substitutions: substitutions(),
        secs_max: 0,
    }
}

fn inputs(stack: &Stack<'_>) -> Segment {
    let limits = |input: &Input| {
        let limits = json!({
            "fresh_within": input.fresh_within,
            "least_of_last": input.least_of_last,
        });
        (input.name.clone(), limits)
    };
    let limits: Map<String, Value> = stack.spec.manifest.inputs.iter().map(limits).collect();
    let payload = json!({ "check": "inputs", "limits": limits });
    segment(stack, Slot::Before, ["CheckInputs", "InputsAreGood", "BadInputs"], payload)
}

fn outputs(stack: &Stack<'_>) -> Segment {
    let names = ["CheckOutputs", "OutputsAreGood", "BadOutputs"];
    let task = stack.spec.manifest.task();
    if let Some(entry) = task.tabular() {
        let payload = json!({
            "check": "scores",
            "task": entry.name,
            "execution": jsonata("$states.context.Execution.Id"),
            "all": jsonata("$all"),
            "model_version": jsonata("$model_version"),
        });
        return segment(stack, Slot::After, names, payload);
    }
    if let Some(entry) = task.forecast().filter(|_| stack.spec.manifest.scores_batches()) {
        let payload = json!({
            "check": "predictions",
            "task": entry.name,
            "execution": jsonata("$states.context.Execution.Id"),
            "all": jsonata("$all"),
            "absent": jsonata("$absent"),
            "horizon": entry.task.horizon,
            "model_version": jsonata("$model_version"),
        });
        return segment(stack, Slot::After, names, payload);
    }
    let payload = json!({
        "check": "outputs",
        "execution": jsonata("$states.context.Execution.Id"),
        "started": jsonata("$states.context.Execution.StartTime"),
        "all": jsonata("$all"),
        "absent": jsonata("$absent"),
        "model_version": jsonata("$model_version"),
    });
    segment(stack, Slot::After, names, payload)
}
