//! The function that records what was predicted beside what came, and the state that calls it.

use serde_json::{Map, json};
use steppe_wire::keys;

use super::predictor::LAMBDA_IS_BUSY;
use super::tables::parquet;
use super::training::{data_prefixes, job, job_grants, spec_key};
use super::workflow::MACHINE;
use super::{Component, Function, Stack, Table, TableColumn, attaches_to_network};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::smoke_test::{Check, CheckKind};
use crate::workflow::{Catch, Links, Retry, Segment, Slot, State, Task, jsonata};

const ROLE: &str = "RecordJobRole";
/// Memory of the function: it holds the model and the clean table.
const MEMORY_MB: u32 = 1_769;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    stack.spec.manifest.task().forecast().filter(|_| stack.spec.manifest.stack.record)?;
    let description = "Records what was predicted beside what came";
    let function = Function {
        memory_mb: MEMORY_MB,
        ..job(stack, "RecordJob", "record", ROLE, description)
            .with("TRAIN_SPEC_KEY", spec_key(stack))
    };
    Some(Component {
        name: "record",
        tables: vec![table(&stack.spec.names.pipeline)],
        functions: vec![function],
        segments: vec![segment(stack)],
        roles: vec![Role::new(ROLE, "record", "lambda.amazonaws.com")],
        grants: grants(stack),
        outputs: vec![("RecordJobLogGroup", Cfn::reference("RecordJobLogs"))],
        checks: Some(|_| Ok(vec![Check::new("record", CheckKind::Record)])),
        ..Component::default()
    })
}

fn grants(stack: &Stack<'_>) -> Vec<Grant> {
    let names = stack.spec.names;
    let bucket = format!("arn:${{AWS::Partition}}:s3:::{}", names.artifacts_bucket());
    let models = [Cfn::sub(format!("{bucket}/{}*", keys::models_prefix(&names.pipeline)))];
    let records = keys::records_prefix(&names.pipeline);
    let records = [Cfn::sub(format!("${{DataBucket.Arn}}/{records}*"))];
    let prefixes: Vec<_> = data_prefixes(stack).map(|prefix| format!("{prefix}*")).collect();
    let list = Statement::on_buckets("ListDataSet", &["s3:ListBucket"], &[Cfn::arn("DataBucket")]);
    let own = [
        list.of_prefixes(&prefixes),
        Statement::on_buckets("ReadModel", &["s3:GetObject"], &models),
        Statement::on_buckets("StoreRecord", &["s3:PutObject"], &records),
    ]
    .map(|statement| Grant { role: ROLE, statement });
    let invoke = [Cfn::arn("RecordJob")];
    let invoke = Statement::allow("InvokeRecording", &["lambda:InvokeFunction"], &invoke);
    let workflow = Grant { role: super::workflow::ROLE, statement: invoke };
    let network = attaches_to_network(ROLE, "record", &names.stack());
    let base = job_grants(stack, ROLE, "RecordJobLogs");
    base.into_iter().chain(own).chain([workflow]).chain(network).collect()
}

fn table(pipeline: &str) -> Table {
    const COLUMNS: [(&str, &str); 13] = [
        ("series", "string"),
        ("observed_until", "string"),
        ("step", "int"),
        ("period", "string"),
        ("actual", "double"),
        ("predicted", "double"),
        ("lower", "double"),
        ("upper", "double"),
        ("level", "double"),
        ("backtest", "boolean"),
        ("model_id", "string"),
        ("model_version", "string"),
        ("recorded_at", "timestamp"),
    ];
    let reading = parquet();
    Table {
        logical_id: "RecordTable".to_owned(),
        name: "record".to_owned(),
        description: "What was predicted beside what came: the backtest of each model that was in \
                      service, and its newest forecasts"
            .to_owned(),
        prefix: keys::records_prefix(pipeline),
        parameters: Map::from_iter([("classification".to_owned(), json!("parquet"))]),
        input_format: reading.formats[0],
        output_format: reading.formats[1],
        serde: json!({ "SerializationLibrary": reading.library }),
        columns: COLUMNS.iter().map(|(name, hive)| TableColumn::new(name, hive)).collect(),
    }
}

fn segment(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let states = move |links: &Links| {
        let arguments = json!({
            "FunctionName": "${RecordJob}",
            "Payload": { "model_version": jsonata("$model_version") },
        });
        let record = Task {
            retry: vec![Retry::patiently(&LAMBDA_IS_BUSY, 2, 5)],
            catch: Catch::failing(links),
            ..Task::new(&partition, "lambda:invoke", arguments, links.onward.clone())
        };
        vec![("Record", State::Task(record))]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::After,
        entry: "Record",
        when: None,
        states: Box::new(states),
        substitutions: vec![("RecordJob", Cfn::arn("RecordJob"))],
        secs_max: 0,
    }
}
