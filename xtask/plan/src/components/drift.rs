//! The check for drift: a function, and a machine that calls it and tells.

use serde_json::json;
use steppe_wire::keys;

use super::predictor::LAMBDA_IS_BUSY;
use super::training::{data_prefixes, job, job_grants, spec_key};
use super::{Alarm, Component, Function, Rule, Stack, attaches_to_network, server};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::smoke_test::{Check, CheckKind};
use crate::workflow::{Links, Machine, Retry, Segment, Slot, State, Task, jsonata};

/// Logical ID of the machine.
pub(super) const MACHINE: &str = "DriftMachine";
/// Logical ID of the machine's role.
pub(super) const MACHINE_ROLE: &str = "DriftRole";
/// Output with its ARN.
const OUTPUT: &str = "DriftMachineArn";
const ROLE: &str = "DriftJobRole";
/// Memory of the function: it holds the clean table and the newest forecasts.
const MEMORY_MB: u32 = 512;
/// Longest time of a check, with what is tried again.
const RESERVE_SECS: u32 = 3_600;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let drift = stack.spec.manifest.drift.as_ref()?;
    let description = "Compares what the model sees, says and said with its backtest";
    let base = job(stack, "DriftJob", "drift", ROLE, description);
    let function = Function {
        memory_mb: MEMORY_MB,
        attributes: server::when_ready(&stack.server_id),
        ..base
            .with("TRAIN_SPEC_KEY", spec_key(stack))
            .with("MODEL_SERVER_URL", server::url(&stack.server_id))
            .with("PREDICTIONS_PREFIX", Cfn::Text(predictions(stack)))
    };
    let rule = Rule {
        logical_id: "CheckDrift",
        name: "check-drift",
        description: "Looks for drift",
        trigger: json!({ "ScheduleExpression": drift.schedule }),
        on_bucket_events: false,
        machine: MACHINE,
        input: Some("{}"),
    };
    let told = ["A check for drift failed", "A check for drift took too long"];
    Some(Component {
        name: "drift",
        functions: vec![function],
        machines: vec![Machine {
            logical_id: MACHINE,
            suffix: "-drift",
            role: MACHINE_ROLE,
            comment: format!(
                "Looks for drift in the model of {} and tells people what is new",
                stack.spec.names.pipeline
            ),
            reserve_secs: RESERVE_SECS,
        }],
        segments: vec![check(stack), checked()],
        rules: vec![rule],
        alarms: Alarm::of_machine(MACHINE, "drift-", told).to_vec(),
        roles: vec![
            Role::new(ROLE, "drift", "lambda.amazonaws.com"),
            Role::new(MACHINE_ROLE, "drift-workflow", "states.amazonaws.com"),
        ],
        grants: grants(stack),
        outputs: vec![
            ("DriftJobLogGroup", Cfn::reference("DriftJobLogs")),
            (OUTPUT, Cfn::reference(MACHINE)),
        ],
        checks: Some(|tested| {
            let machine = tested.output(OUTPUT)?.to_owned();
            Ok(vec![Check::new("drift check", CheckKind::Drift { machine })])
        }),
        ..Component::default()
    })
}

/// Where runs store what they predict.
fn predictions(stack: &Stack<'_>) -> String {
    match stack.spec.manifest.scores_batches() {
        true => keys::batches_prefix(stack.spec.manifest.task().name()),
        false => keys::PREDICTIONS_PREFIX.to_owned(),
    }
}

fn grants(stack: &Stack<'_>) -> Vec<Grant> {
    let names = stack.spec.names;
    let own = [predictions(stack), keys::reports_prefix(&names.pipeline)];
    let prefixes: Vec<_> =
        data_prefixes(stack).chain(own).map(|prefix| format!("{prefix}*")).collect();
    let predictions = Cfn::sub(format!("${{DataBucket.Arn}}/{}*", predictions(stack)));
    let report = keys::drift_report(&names.pipeline);
    let report = [Cfn::sub(format!("${{DataBucket.Arn}}/{report}"))];
    let own = [
        Statement::on_buckets("ListForecasts", &["s3:ListBucket"], &[Cfn::arn("DataBucket")])
            .of_prefixes(&prefixes),
        Statement::on_buckets("ReadForecasts", &["s3:GetObject"], &[predictions]),
        Statement::on_buckets("KeepReport", &["s3:GetObject", "s3:PutObject"], &report),
    ]
    .map(|statement| Grant { role: ROLE, statement });
    let artifacts = format!("arn:${{AWS::Partition}}:s3:::{}", names.artifacts_bucket());
    let models = [Cfn::sub(format!("{artifacts}/{}*", keys::models_prefix(&names.pipeline)))];
    let models = Statement::on_buckets("ReadModels", &["s3:GetObject"], &models);
    // Rows are held against the model itself, which knows what it has seen.
    let tabular = stack.spec.manifest.task().tabular();
    let models = tabular.map(|_| Grant { role: ROLE, statement: models });
    let invoke = [Cfn::arn("DriftJob")];
    let invoke = Statement::allow("InvokeCheck", &["lambda:InvokeFunction"], &invoke);
    job_grants(stack, ROLE, "DriftJobLogs")
        .into_iter()
        .chain(own)
        .chain(models)
        .chain(attaches_to_network(ROLE, "drift", &names.stack()))
        .chain([Grant { role: MACHINE_ROLE, statement: invoke }])
        .collect()
}

fn check(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let states = move |links: &Links| {
        let arguments = json!({ "FunctionName": "${DriftJob}", "Payload": {} });
        let check = Task {
            output: jsonata("$states.result.Payload"),
            retry: vec![Retry::patiently(&LAMBDA_IS_BUSY, 5, 5)],
            ..Task::new(&partition, "lambda:invoke", arguments, links.onward.clone())
        };
        vec![("Check", State::Task(check))]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::Ask,
        entry: "Check",
        when: None,
        states: Box::new(states),
        substitutions: vec![("DriftJob", Cfn::arn("DriftJob"))],
        secs_max: 0,
    }
}

fn checked() -> Segment {
    Segment {
        machine: MACHINE,
        slot: Slot::Done,
        entry: "Checked",
        when: None,
        states: Box::new(|_| vec![("Checked", State::Succeed)]),
        substitutions: vec![],
        secs_max: 0,
    }
}
