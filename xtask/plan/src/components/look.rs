//! The function that looks for what is unusual and for groups, and the states that call it for each
//! such task.

use serde_json::{Map, json};
use steppe_spec::Unsupervised;
use steppe_wire::keys;

use super::predictor::LAMBDA_IS_BUSY;
use super::tables::parquet;
use super::training::job;
use super::workflow::MACHINE;
use super::{Component, Function, Stack, Table, TableColumn, attaches_to_network, writes_logs};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::smoke_test::{Check, CheckKind};
use crate::workflow::{
    Items, Links, MapState, Next, Processor, Retry, Segment, Slot, State, Task, jsonata,
};

const ROLE: &str = "LookJobRole";
/// Memory of the function: it holds a whole table.
const MEMORY_MB: u32 = 1_769;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let manifest = stack.spec.manifest;
    let tasks: Vec<Unsupervised<'_>> = manifest.unsupervised().collect();
    if tasks.is_empty() {
        return None;
    }
    let description = "Looks for what is unusual, and for groups";
    let key = Cfn::Text(keys::train_spec(&stack.spec.hashes.tasks));
    let function = Function {
        memory_mb: MEMORY_MB,
        ..job(stack, "LookJob", "look", ROLE, description).with("TASKS_KEY", key)
    };
    Some(Component {
        name: "look",
        tables: tasks.iter().map(|task| table(*task)).collect(),
        functions: vec![function],
        segments: vec![segment(stack, &tasks)],
        roles: vec![Role::new(ROLE, "look", "lambda.amazonaws.com")],
        grants: grants(stack, &tasks),
        outputs: vec![("LookJobLogGroup", Cfn::reference("LookJobLogs"))],
        checks: Some(|tested| {
            let check = |task: Unsupervised<'_>| {
                let (task, table) = (task.name().to_owned(), task.table().to_owned());
                Check::new(&task.clone(), CheckKind::Found { task, table })
            };
            Ok(tested.manifest.unsupervised().map(check).collect())
        }),
        ..Component::default()
    })
}

fn grants(stack: &Stack<'_>, tasks: &[Unsupervised<'_>]) -> Vec<Grant> {
    let names = stack.spec.names;
    let bucket = format!("arn:${{AWS::Partition}}:s3:::{}", names.artifacts_bucket());
    let mut read: Vec<String> =
        tasks.iter().map(|task| keys::table_prefix(&names.pipeline, task.table())).collect();
    read.sort();
    read.dedup();
    let listed: Vec<String> = read.iter().map(|prefix| format!("{prefix}*")).collect();
    let in_data = |prefix: &str| Cfn::sub(format!("${{DataBucket.Arn}}/{prefix}*"));
    let tables: Vec<Cfn> = read.iter().map(|prefix| in_data(prefix)).collect();
    let found: Vec<Cfn> =
        tasks.iter().map(|task| in_data(&keys::found_prefix(task.name()))).collect();
    let get = ["s3:GetObject"];
    let specs = [Cfn::sub(format!("{bucket}/specs/*"))];
    let own = [
        Statement::on_buckets("ReadConfiguration", &get, &specs),
        Statement::on_buckets("ListTables", &["s3:ListBucket"], &[Cfn::arn("DataBucket")])
            .of_prefixes(&listed),
        Statement::on_buckets("ReadTables", &get, &tables),
        Statement::on_buckets("StoreFindings", &["s3:PutObject"], &found),
    ]
    .map(|statement| Grant { role: ROLE, statement });
    let invoke = [Cfn::arn("LookJob")];
    let invoke = Statement::allow("InvokeSearches", &["lambda:InvokeFunction"], &invoke);
    let workflow = Grant { role: super::workflow::ROLE, statement: invoke };
    let network = attaches_to_network(ROLE, "look", &names.stack());
    let logs = writes_logs(ROLE, &["LookJobLogs"]);
    own.into_iter().chain([logs, workflow]).chain(network).collect()
}

fn table(task: Unsupervised<'_>) -> Table {
    const ROWS: [(&str, &str); 12] = [
        ("execution", "string"),
        ("entity", "string"),
        ("within", "string"),
        ("score", "double"),
        ("rank", "bigint"),
        ("flagged", "boolean"),
        ("families", "string"),
        ("reason", "string"),
        ("reason_value", "double"),
        ("reason_usual", "double"),
        ("reasons", "array<struct<column:string,value:double,usual:double,share:double>>"),
        ("looked_at", "timestamp"),
    ];
    const VALUES: [(&str, &str); 6] = [
        ("execution", "string"),
        ("series", "string"),
        ("time", "string"),
        ("value", "double"),
        ("score", "double"),
        ("looked_at", "timestamp"),
    ];
    const GROUPS: [(&str, &str); 6] = [
        ("execution", "string"),
        ("entity", "string"),
        ("cluster", "int"),
        ("distance", "double"),
        ("words", "string"),
        ("looked_at", "timestamp"),
    ];
    let (columns, description): (&[(&str, &str)], _) = match task {
        Unsupervised::Anomaly(entry) if entry.task.is_of_series() => {
            (&VALUES, format!("Values of `{}` that are unlike those before them", task.table()))
        }
        Unsupervised::Anomaly(_) => {
            (&ROWS, format!("How unusual each row of `{}` is, and why", task.table()))
        }
        Unsupervised::Clustering(_) => {
            (&GROUPS, format!("The group of each row of `{}`", task.table()))
        }
    };
    let reading = parquet();
    Table {
        logical_id: format!("{}FoundTable", logical(task.name())),
        name: task.name().to_owned(),
        description,
        prefix: keys::found_prefix(task.name()),
        partitions: Map::new(),
        parameters: Map::from_iter([("classification".to_owned(), json!("parquet"))]),
        input_format: reading.formats[0],
        output_format: reading.formats[1],
        serde: json!({ "SerializationLibrary": reading.library }),
        columns: columns.iter().map(|(name, hive)| TableColumn::new(name, hive)).collect(),
    }
}

/// A name as part of a logical ID, which has letters and digits only: `zero_days` is `ZeroDays`.
fn logical(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    };
    name.split('_').map(word).collect()
}

fn segment(stack: &Stack<'_>, tasks: &[Unsupervised<'_>]) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let names: Vec<String> = tasks.iter().map(|task| task.name().to_owned()).collect();
    let states = move |links: &Links| {
        let processor = Processor::inline("LookAtTable", &look_at_table(&partition));
        let look = MapState {
            item_selector: json!({
                "task": jsonata("$states.context.Map.Item.Value"),
                "execution": jsonata("$states.context.Execution.Id"),
            }),
            max_concurrency: 2,
            assign: json!({ "found": jsonata("[$states.result]") }),
            output: json!({}),
            ..MapState::new(Items::Given(json!(names)), processor, links.onward.clone())
        };
        vec![("LookFor", State::Map(Box::new(look)))]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::After,
        entry: "LookFor",
        when: None,
        states: Box::new(states),
        substitutions: vec![("LookJob", Cfn::arn("LookJob"))],
        secs_max: 0,
    }
}

fn look_at_table(partition: &str) -> State {
    let arguments = json!({
        "FunctionName": "${LookJob}",
        "Payload": jsonata("$states.input"),
    });
    State::Task(Task {
        output: jsonata("$states.result.Payload"),
        retry: vec![Retry::patiently(&LAMBDA_IS_BUSY, 2, 5)],
        ..Task::new(partition, "lambda:invoke", arguments, Next::End(true))
    })
}
