//! People are told: of forecasts, of failures, of drift, of alarms.

use serde_json::json;

use super::{Alarm, Component, Fragment, Rule, Stack, drift, scoring, workflow};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::made::Made;
use crate::payload::FORECASTS_SHOWN;
use crate::smoke_test::{Check, CheckKind};
use crate::workflow::{
    Branch, Choice, Links, Machine, Next, Retry, Segment, Slot, State, Task, jsonata,
};

/// Logical ID of the machine that tells of executions of the others that failed.
const MACHINE: &str = "FailureMachine";
const ROLE: &str = "FailureRole";
/// Longest time of telling, with what is tried again.
const RESERVE_SECS: u32 = 600;

pub(super) fn component(stack: &Stack<'_>, others: &[Component]) -> Option<Component> {
    let options = &stack.spec.manifest.stack;
    let machines: Vec<&Machine> = others.iter().flat_map(|other| &other.machines).collect();
    let told = ["People were not told of a failure", "Telling of a failure took too long"];
    options.notify.then(|| Component {
        name: "notify",
        resources: vec![Fragment::new("notify.yaml.tera", json!({ "emails": options.emails }))],
        machines: vec![Machine {
            logical_id: MACHINE,
            suffix: "-failures",
            role: ROLE,
            comment: format!("Tells people of failures of {}", stack.spec.names.pipeline),
            reserve_secs: RESERVE_SECS,
        }],
        segments: vec![of_forecasts(stack), of_drift(stack), of_failure(stack)],
        rules: vec![on_failure(&machines)],
        alarms: Alarm::of_machine(MACHINE, "failures-", told).to_vec(),
        roles: vec![Role::new(ROLE, "failures", "states.amazonaws.com")],
        checks: Some(|tested| {
            let emails = tested.manifest.stack.emails.len();
            let kind = CheckKind::Notification { emails, place: tested.place };
            Ok(vec![Check::new("notification", kind)])
        }),
        made: Made { topics: vec![stack.spec.names.stack()], ..Made::default() },
        alarm_actions: vec![Cfn::reference("Topic")],
        grants: grants(&machines),
        outputs: vec![("TopicArn", Cfn::reference("Topic"))],
        ..Component::default()
    })
}

fn grants(machines: &[&Machine]) -> Vec<Grant> {
    let publish = |role| {
        let topic = [Cfn::reference("Topic")];
        Grant { role, statement: Statement::allow("Notify", &["sns:Publish"], &topic) }
    };
    let executions = |machine: &&Machine| {
        Cfn::sub(format!(
            "arn:${{AWS::Partition}}:states:${{AWS::Region}}:${{AWS::AccountId}}:execution:\
             ${{{}.Name}}:*",
            machine.logical_id
        ))
    };
    let executions: Vec<Cfn> = machines.iter().map(executions).collect();
    let look = Statement::allow("LookAtFailure", &["states:DescribeExecution"], &executions);
    let roles = [workflow::ROLE, drift::MACHINE_ROLE, ROLE].map(publish);
    roles.into_iter().chain([Grant { role: ROLE, statement: look }]).collect()
}

/// Every way in which an execution ends badly by itself. It is told from outside, so that nothing
/// is in the way of going on with the execution where it failed.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html>
fn on_failure(machines: &[&Machine]) -> Rule {
    let machines: Vec<Cfn> = machines.iter().map(|m| Cfn::reference(m.logical_id)).collect();
    Rule {
        logical_id: "TellFailure",
        name: "tell-failure",
        description: "Tells people of failures",
        trigger: json!({ "EventPattern": {
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": { "stateMachineArn": machines, "status": ["FAILED", "TIMED_OUT"] },
        } }),
        on_bucket_events: false,
        machine: MACHINE,
        input: None,
    }
}

/// A message: its subject, and an expression that makes its text.
fn message(partition: &str, subject: &str, text: &str, next: Next) -> Task {
    let arguments = json!({ "TopicArn": "${Topic}", "Subject": subject, "Message": jsonata(text) });
    Task::new(partition, "sns:publish", arguments, next)
}

fn tried_again() -> Vec<Retry> {
    vec![Retry::patiently(&["States.TaskFailed"], 1, 3)]
}

fn segment(
    machine: &'static str,
    slot: Slot,
    entry: &'static str,
    states: crate::workflow::States,
) -> Segment {
    let substitutions = vec![("Topic", Cfn::reference("Topic"))];
    Segment { machine, slot, entry, when: None, states, substitutions, secs_max: 0 }
}

fn of_forecasts(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let what = if stack.spec.manifest.task().forecast().is_some() { "forecasts" } else { "scores" };
    let subject = format!("Steppe {}: {what} are ready", stack.spec.names.pipeline);
    let forecast = stack.spec.manifest.task().forecast();
    let text = match forecast {
        Some(entry) => forecasts_text(entry.task.decide.is_some()),
        None => scored_text(&scoring::name(stack.spec.manifest)),
    };
    let states = move |links: &Links| {
        let told = "$merge([$states.input, { 'message_id': $states.result.MessageId }])";
        let notify = Task {
            output: jsonata(told),
            retry: tried_again(),
            ..message(&partition, &subject, &text, links.onward.clone())
        };
        vec![("Notify", State::Task(notify))]
    };
    segment(workflow::MACHINE, Slot::Tell, "Notify", Box::new(states))
}

/// The forecasts with their intervals and, where something is decided by them, how much to procure;
/// how many more there are, and what was left out.
fn forecasts_text(decides: bool) -> String {
    let value = |field: &str| format!("$formatNumber({field}, $picture(decimals))");
    let procure = match decides {
        true => format!(" & ($exists(procure) ? '; procure ' & {} : '')", value("procure")),
        false => String::new(),
    };
    let forecast = format!(
        "$substring(series, 0, 100) & ', ' & period & ': ' & {} & ' (' & {} & ' to ' & {} & \
         ')'{procure} & ($exists(note) ? '\\n  note: ' & note : '') \
         & '\\n  s3://${{DataBucket}}/' & s3_key",
        value("value"),
        value("lower"),
        value("upper")
    );
    let input = "$states.input";
    [
        "($picture := function($d) { $d > 0 ? '#,##0.' & $substring('000000', 0, $d) : '#,##0' }; \
         'Execution: ' & "
            .to_owned(),
        format!("{input}.execution & '\\n\\n' & "),
        format!(
            "($exists({input}.training.summary) ? 'Training: ' & {input}.training.summary & \
             '\\n\\n' : '') & "
        ),
        format!("$join({input}.forecasts[[0..{}]].({forecast}), '\\n') & ", FORECASTS_SHOWN - 1),
        format!(
            "'\\n' & ({input}.count > $count({input}.forecasts) ? '\\nand ' & ({input}.count - \
             $count({input}.forecasts)) & ' more: cargo xtask query forecasts\\n' : '') & "
        ),
        format!(
            "({input}.absent > 0 ? '\\nNot forecast: ' & {input}.absent & '\\n' & \
             $join({input}.left_out.('  ' & $substring(reason, 0, 200)), '\\n') & '\\n' : '') & "
        ),
        format!("{FOUND})"),
    ]
    .concat()
}

/// What was found without a target, in words.
const FOUND: &str = "($exists($states.input.found) ? '\\n' & \
                     $join([$states.input.found.found], '\\n') & '\\n' : '')";

/// How many rows were scored, and those with the highest scores.
fn scored_text(table: &str) -> String {
    let input = "$states.input";
    [
        "'Execution: ' & ".to_owned(),
        format!("{input}.execution & '\\n\\n' & "),
        format!(
            "($exists({input}.training.summary) ? 'Training: ' & {input}.training.summary & \
             '\\n\\n' : '') & "
        ),
        format!("$formatNumber({input}.count, '#,##0') & ' rows were scored' & "),
        format!(
            "($exists({input}.yes) and {input}.yes != null ? ', ' & $formatNumber({input}.yes, \
             '#,##0') & ' of them ' & {input}.label : '') & "
        ),
        format!("'\\nAll of them: cargo xtask query \"select * from {table}\"\\n' & {FOUND}"),
    ]
    .concat()
}

fn of_drift(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let subject = format!("Steppe {}: drift was found", stack.spec.names.pipeline);
    let states = move |links: &Links| {
        let has_news = Choice {
            choices: vec![Branch::when("$count($states.input.new) > 0", Next::to("Alarm"))],
            default: links.onward.state().to_owned(),
        };
        let text = "'Execution: ' & $states.context.Execution.Id & '\\n\\n' & \
                    $join($states.input.new, '\\n') & '\\n\\nAll of it: cargo xtask drift\\n'";
        let alarm = Task {
            output: jsonata("$states.input"),
            retry: tried_again(),
            ..message(&partition, &subject, text, links.onward.clone())
        };
        vec![("HasNews", State::Choice(has_news)), ("Alarm", State::Task(alarm))]
    };
    segment(drift::MACHINE, Slot::Tell, "HasNews", Box::new(states))
}

/// Events do not say why an execution failed, so the execution is asked.
fn of_failure(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let subject = format!("Steppe {}: the run failed", stack.spec.names.pipeline);
    let states = move |links: &Links| {
        let execution = json!({ "ExecutionArn": jsonata("$states.input.detail.executionArn") });
        let busy = ["Sfn.SfnException", "Sfn.ThrottlingException"];
        let look = Task {
            retry: vec![Retry::patiently(&busy, 2, 5)],
            ..Task::new(&partition, "aws-sdk:sfn:describeExecution", execution, Next::to("Tell"))
        };
        let text = "'Execution: ' & $states.input.ExecutionArn & '\\n\\nError: ' & \
                    ($exists($states.input.Error) ? $states.input.Error : \
                    $states.input.Status) & '\\nCause: ' & ($exists($states.input.Cause) ? \
                    $states.input.Cause : 'none was given') & '\\n'";
        let tell = Task {
            retry: tried_again(),
            ..message(&partition, &subject, text, links.onward.clone())
        };
        vec![("LookAtFailure", State::Task(look)), ("Tell", State::Task(tell))]
    };
    segment(MACHINE, Slot::Tell, "LookAtFailure", Box::new(states))
}
