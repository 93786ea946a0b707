//! Training in the stack: champion against challenger, on a schedule, on demand, and wherever a run
//! asks for it.

use std::collections::BTreeMap;

use serde_json::json;
use steppe_spec::Holidays;
use steppe_wire::keys;

use super::predictor::LAMBDA_IS_BUSY;
use super::workflow::MACHINE;
use super::{Component, Function, Rule, Stack, attaches_to_network, writes_logs};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::workflow::{Branch, Catch, Choice, Links, Retry, Segment, Slot, State, Task, jsonata};

const ROLE: &str = "TrainJobRole";
/// Longest run of a function of the jobs' package: Lambda's limit.
pub(super) const JOB_TIMEOUT_SECS: u32 = 900;
/// Calls of the function in one run: it goes on where the last one was cut off.
const CALLS_MAX: u32 = 7;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let retrain = stack.spec.manifest.retrain.as_ref()?;
    let function = Function {
        memory_mb: retrain.memory_mb,
        ..job(stack, "TrainJob", "train", ROLE, "Trains, and promotes only a better model")
            .with("TRAIN_SPEC_KEY", spec_key(stack))
    };
    let invoke = [Cfn::arn("TrainJob")];
    let invoke = Statement::allow("InvokeTraining", &["lambda:InvokeFunction"], &invoke);
    let grants = job_grants(stack, ROLE, "TrainJobLogs").into_iter().chain(own_grants(stack));
    let workflow = Grant { role: super::workflow::ROLE, statement: invoke };
    let network = attaches_to_network(ROLE, "train", &stack.spec.names.stack());
    Some(Component {
        name: "training",
        functions: vec![function],
        segments: vec![segment(stack)],
        rules: rules(stack),
        roles: vec![Role::new(ROLE, "train", "lambda.amazonaws.com")],
        grants: grants.chain([workflow]).chain(network).collect(),
        outputs: vec![("TrainJobLogGroup", Cfn::reference("TrainJobLogs"))],
        ..Component::default()
    })
}

/// A function of the jobs' package.
pub(super) fn job(
    stack: &Stack<'_>,
    logical_id: &'static str,
    handler: &'static str,
    role: &'static str,
    description: &'static str,
) -> Function {
    let (names, hashes) = (stack.spec.names, &stack.spec.hashes);
    Function {
        logical_id,
        name: handler,
        handler,
        description,
        memory_mb: 128,
        timeout_secs: JOB_TIMEOUT_SECS,
        code_key: keys::jobs_zip(&hashes.jobs),
        role,
        variables: BTreeMap::from([
            ("PIPELINE", Cfn::Text(names.pipeline.clone())),
            ("ARTIFACTS_BUCKET", Cfn::Text(names.artifacts_bucket())),
            ("DATA_BUCKET", Cfn::reference("DataBucket")),
            ("BUCKET_OWNER", Cfn::reference("AWS::AccountId")),
        ]),
        attributes: json!({}),
    }
}

/// Where functions find what to train.
pub(super) fn spec_key(stack: &Stack<'_>) -> Cfn {
    Cfn::Text(keys::train_spec(&stack.spec.hashes.train_spec))
}

/// What functions that read the task's data may do.
pub(super) fn job_grants(stack: &Stack<'_>, role: &'static str, logs: &str) -> Vec<Grant> {
    let names = stack.spec.names;
    let artifacts = format!("arn:${{AWS::Partition}}:s3:::{}", names.artifacts_bucket());
    let specs = [Cfn::sub(format!("{artifacts}/specs/*"))];
    let data = data_prefixes(stack)
        .map(|prefix| Cfn::sub(format!("${{DataBucket.Arn}}/{prefix}*")))
        .collect::<Vec<_>>();
    let read = ["s3:GetObject"];
    let statements = [
        Statement::on_buckets("ReadConfiguration", &read, &specs),
        Statement::on_buckets("ReadDataSet", &read, &data),
    ];
    let grants = statements.map(|statement| Grant { role, statement });
    grants.into_iter().chain([writes_logs(role, &[logs])]).collect()
}

/// A job that asks the model about the task's data and stores what it says.
pub(super) struct Asking {
    /// Logical ID of the function.
    pub(super) function: &'static str,
    /// Its handler.
    pub(super) handler: &'static str,
    /// Logical ID of its role.
    pub(super) role: &'static str,
    /// Name of the statement that lets it store, and the prefix where.
    pub(super) stores: (&'static str, String),
    /// Name of the statement that lets the workflow call it.
    pub(super) invoked: &'static str,
}

/// What such a job may do, and that the workflow may call it.
pub(super) fn asking_grants(stack: &Stack<'_>, job: &Asking) -> Vec<Grant> {
    let names = stack.spec.names;
    let bucket = format!("arn:${{AWS::Partition}}:s3:::{}", names.artifacts_bucket());
    let models = [Cfn::sub(format!("{bucket}/{}*", keys::models_prefix(&names.pipeline)))];
    let (store, prefix) = &job.stores;
    let stored = [Cfn::sub(format!("${{DataBucket.Arn}}/{prefix}*"))];
    let prefixes: Vec<_> = data_prefixes(stack).map(|prefix| format!("{prefix}*")).collect();
    let list = Statement::on_buckets("ListDataSet", &["s3:ListBucket"], &[Cfn::arn("DataBucket")]);
    let own = [
        list.of_prefixes(&prefixes),
        Statement::on_buckets("ReadModel", &["s3:GetObject"], &models),
        Statement::on_buckets(store, &["s3:PutObject"], &stored),
    ]
    .map(|statement| Grant { role: job.role, statement });
    let invoke = [Cfn::arn(job.function)];
    let invoke = Statement::allow(job.invoked, &["lambda:InvokeFunction"], &invoke);
    let workflow = Grant { role: super::workflow::ROLE, statement: invoke };
    let network = attaches_to_network(job.role, job.handler, &names.stack());
    let base = job_grants(stack, job.role, &format!("{}Logs", job.function));
    base.into_iter().chain(own).chain([workflow]).chain(network).collect()
}

/// Prefix of the table that the task is about.
pub(super) fn data_prefix(stack: &Stack<'_>) -> String {
    keys::table_prefix(&stack.spec.names.pipeline, stack.spec.manifest.source().name)
}

/// Prefixes of the tables that a job of the task reads.
pub(super) fn data_prefixes(stack: &Stack<'_>) -> impl Iterator<Item = String> {
    let forecast = stack.spec.manifest.task().forecast();
    let holidays = match forecast.map(|entry| &entry.task.holidays) {
        Some(Holidays::Table(name)) => Some(keys::table_prefix(&stack.spec.names.pipeline, name)),
        Some(Holidays::None | Holidays::Dates(_)) | None => None,
    };
    [data_prefix(stack)].into_iter().chain(holidays)
}

fn own_grants(stack: &Stack<'_>) -> [Grant; 4] {
    let names = stack.spec.names;
    let bucket = format!("arn:${{AWS::Partition}}:s3:::{}", names.artifacts_bucket());
    let models = keys::models_prefix(&names.pipeline);
    let kept = [Cfn::sub(format!("{bucket}/{models}*"))];
    let checkpoints = [Cfn::sub(format!("{bucket}/{models}checkpoints/*"))];
    let list = ["s3:ListBucket"];
    let data_prefixes: Vec<_> = data_prefixes(stack).map(|prefix| format!("{prefix}*")).collect();
    [
        Statement::on_buckets("ListDataSet", &list, &[Cfn::arn("DataBucket")])
            .of_prefixes(&data_prefixes),
        Statement::on_buckets("ListModels", &list, &[Cfn::sub(bucket)])
            .of_prefixes(&[format!("{models}*")]),
        Statement::on_buckets("KeepModels", &["s3:GetObject", "s3:PutObject"], &kept),
        Statement::on_buckets("ForgetCheckpoints", &["s3:DeleteObject"], &checkpoints),
    ]
    .map(|statement| Grant { role: ROLE, statement })
}

fn rules(stack: &Stack<'_>) -> Vec<Rule> {
    let Some(retrain) = &stack.spec.manifest.retrain else { return vec![] };
    let on_schedule = retrain.schedule.as_ref().map(|schedule| Rule {
        logical_id: "TrainOnSchedule",
        name: "train-on-schedule",
        description: "Runs the pipeline with training",
        trigger: json!({ "ScheduleExpression": schedule }),
        on_bucket_events: false,
        machine: MACHINE,
        input: Some(r#"{"train":true}"#),
    });
    on_schedule.into_iter().collect()
}

fn segment(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let states = move |links: &Links| {
        let asked = "$states.context.Execution.Input";
        let no = format!("$not($exists({asked}.train) and {asked}.train = true)");
        let wants_none = Choice {
            choices: vec![Branch::when(&no, links.onward.clone())],
            default: "Train".to_owned(),
        };
        let arguments = json!({
            "FunctionName": "${TrainJob}",
            "Payload": { "execution": jsonata("$states.context.Execution.Id") },
        });
        let cut_off = ["Sandbox.Timedout", "Lambda.Unknown", "States.Timeout"];
        // A training that fails leaves the model in service, which then forecasts.
        let failure = json!({ "training": {
            "promoted": false,
            "summary": jsonata(
                "'FAILED, the model in service stays: ' & $states.errorOutput.Error & ': ' & \
                 $substring($exists($states.errorOutput.Cause) ? $states.errorOutput.Cause : \
                 'no cause was given', 0, 1000)",
            ),
        } });
        let train = Task {
            assign: json!({
                "model_version": jsonata("$states.result.Payload.in_service"),
                "training": jsonata("$states.result.Payload"),
            }),
            retry: vec![
                Retry::at_once(&cut_off, CALLS_MAX - 1),
                Retry::patiently(&LAMBDA_IS_BUSY, 2, 5),
            ],
            catch: Catch::all(failure, links.onward.state()),
            ..Task::new(&partition, "lambda:invoke", arguments, links.onward.clone())
        };
        vec![("WantsNoTraining", State::Choice(wants_none)), ("Train", State::Task(train))]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::Train,
        entry: "WantsNoTraining",
        when: None,
        states: Box::new(states),
        substitutions: vec![("TrainJob", Cfn::arn("TrainJob"))],
        secs_max: CALLS_MAX * JOB_TIMEOUT_SECS,
    }
}
