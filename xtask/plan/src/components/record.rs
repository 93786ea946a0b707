//! The function that records what was predicted beside what came, and the state that calls it.

use serde_json::{Map, Value, json};
use steppe_spec::{Catalogue, Manifest};
use steppe_wire::keys;

use super::crawler::crawled;
use super::tables::parquet;
use super::training::{Asking, asking_grants, job, spec_key};
use super::workflow::MACHINE;
use super::{Component, Function, Stack, Table, TableColumn, checks};
use crate::grants::{Cfn, Grant, Role};
use crate::smoke_test::{Check, CheckKind};
use crate::workflow::{Links, Segment, Slot, jsonata};

const ROLE: &str = "RecordJobRole";
/// The declared table.
const TABLE: &str = "record";
/// Memory of the function: it holds the model and the clean table.
const MEMORY_MB: u32 = 1_769;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    stack.spec.manifest.task().forecast().filter(|_| stack.spec.manifest.stack.record)?;
    let tables = match stack.spec.manifest.stack.catalogue {
        Catalogue::Declared => vec![table(&stack.spec.names.pipeline)],
        Catalogue::Crawler => vec![],
    };
    let description = "Records what was predicted beside what came";
    let function = Function {
        memory_mb: MEMORY_MB,
        ..job(stack, "RecordJob", "record", ROLE, description)
            .with("TRAIN_SPEC_KEY", spec_key(stack))
    };
    Some(Component {
        name: "record",
        tables,
        functions: vec![function],
        segments: vec![segment(stack)],
        roles: vec![Role::new(ROLE, "record", "lambda.amazonaws.com")],
        grants: grants(stack),
        outputs: vec![("RecordJobLogGroup", Cfn::reference("RecordJobLogs"))],
        checks: Some(|tested| {
            let kind = CheckKind::Record { table: name(tested.manifest) };
            Ok(vec![Check::new("record", kind)])
        }),
        ..Component::default()
    })
}

fn grants(stack: &Stack<'_>) -> Vec<Grant> {
    let job = Asking {
        function: "RecordJob",
        handler: "record",
        role: ROLE,
        stores: ("StoreRecord", keys::records_prefix(&stack.spec.names.pipeline)),
        invoked: "InvokeRecording",
    };
    asking_grants(stack, &job)
}

/// What the table is called: a crawler's is another one.
pub fn name(manifest: &Manifest) -> String {
    match manifest.stack.catalogue {
        Catalogue::Declared => TABLE.to_owned(),
        Catalogue::Crawler => crawled(TABLE),
    }
}

/// The table as a template declares it, which is also what a crawler must find.
pub(super) fn table(pipeline: &str) -> Table {
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
        name: TABLE.to_owned(),
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
        let payload = json!({ "model_version": jsonata("$model_version") });
        let (call, next) = (("RecordJob", &payload), links.onward.clone());
        vec![("Record", checks::call(&partition, call, Value::Null, next, links))]
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
