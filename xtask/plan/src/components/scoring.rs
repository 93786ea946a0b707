//! The function that scores rows of a table, and the states that call it for every part of one.

use std::collections::BTreeMap;

use serde_json::{Map, json};
use steppe_wire::keys;

use super::predictor::{LAMBDA_IS_BUSY, asks_server};
use super::tables::parquet;
use super::training::{Asking, asking_grants, job, spec_key};
use super::workflow::MACHINE;
use super::{Component, Function, Stack, Table, TableColumn, checks};
use crate::grants::{Cfn, Grant, Role};
use crate::smoke_test::{Check, CheckKind};
use crate::workflow::{
    Branch, Catch, Choice, Links, MapState, Next, Pass, Processor, Retry, Segment, Slot, State,
    Task, jsonata,
};

const ROLE: &str = "ScoreJobRole";
/// Memory of the function: it holds the model and a part of the table.
const MEMORY_MB: u32 = 1_769;

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let entry = stack.spec.manifest.task().tabular()?;
    let description = "Scores rows of the clean table";
    let function = Function {
        memory_mb: MEMORY_MB,
        ..job(stack, "ScoreJob", "score", ROLE, description).with("TRAIN_SPEC_KEY", spec_key(stack))
    };
    let (predictor, of_predictor) = asks_server(stack, BTreeMap::new());
    let mut component = Component {
        name: "scoring",
        tables: vec![scores_table(&entry.name)],
        functions: vec![function, predictor],
        segments: vec![segment(stack)],
        roles: vec![Role::new(ROLE, "score", "lambda.amazonaws.com")],
        grants: grants(stack, &entry.name),
        outputs: vec![
            ("ScoreJobLogGroup", Cfn::reference("ScoreJobLogs")),
            ("PredictorName", Cfn::reference("Predictor")),
            ("PredictorLogGroup", Cfn::reference("PredictorLogs")),
        ],
        checks: Some(|tested| {
            Ok(vec![Check::new("scores", CheckKind::Scores { place: tested.place })])
        }),
        ..Component::default()
    };
    component.roles.push(of_predictor.0);
    component.grants.extend(of_predictor.1);
    Some(component)
}

fn grants(stack: &Stack<'_>, task: &str) -> Vec<Grant> {
    let job = Asking {
        function: "ScoreJob",
        handler: "score",
        role: ROLE,
        stores: ("StoreScores", keys::scores_prefix(task)),
        invoked: "InvokeScoring",
    };
    asking_grants(stack, &job)
}

fn scores_table(task: &str) -> Table {
    const COLUMNS: [(&str, &str); 12] = [
        ("execution", "string"),
        ("entity", "string"),
        ("label", "string"),
        ("probability", "double"),
        ("value", "double"),
        ("threshold", "double"),
        ("probabilities", "array<struct<label:string,probability:double>>"),
        ("base", "double"),
        ("reasons", "array<struct<column:string,value:string,effect:double>>"),
        ("model_id", "string"),
        ("model_version", "string"),
        ("scored_at", "timestamp"),
    ];
    let reading = parquet();
    Table {
        logical_id: "PredictionsTable".to_owned(),
        name: "predictions".to_owned(),
        description: "Scores of rows, with their reasons".to_owned(),
        prefix: keys::scores_prefix(task),
        parameters: Map::from_iter([("classification".to_owned(), json!("parquet"))]),
        input_format: reading.formats[0],
        output_format: reading.formats[1],
        serde: json!({ "SerializationLibrary": reading.library }),
        columns: COLUMNS.iter().map(|(name, hive)| TableColumn::new(name, hive)).collect(),
    }
}

fn segment(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let concurrency = stack.spec.manifest.stack.map_concurrency;
    let verified = stack.spec.manifest.stack.verify;
    let states = move |links: &Links| {
        // What Athena counted must be what is scored; without its count, the files say it.
        let all = if verified { "$all" } else { "$states.result.Payload.rows" };
        let parts = jsonata("[$states.result.Payload.parts]");
        let assign = json!({ "parts": parts, "all": jsonata(all) });
        let list = ("ScoreJob", &json!({ "score": "list" }));
        let has_rows = Choice {
            choices: vec![Branch::when("$count($parts) > 0", Next::to("Score"))],
            default: "NoRows".to_owned(),
        };
        let no_rows = json!("the clean table has no rows");
        let score = MapState {
            items: jsonata("$parts"),
            item_selector: json!({
                "score": "part",
                "part": jsonata("$states.context.Map.Item.Value"),
                "number": jsonata("$states.context.Map.Item.Index"),
                "execution": jsonata("$states.context.Execution.Id"),
                "model_version": jsonata("$model_version"),
            }),
            max_concurrency: concurrency,
            item_processor: Processor::inline("ScorePart", &score_part(&partition)),
            assign: json!({
                "done": jsonata("$sum([$states.result.rows])"),
                "yes": jsonata("$sum([$states.result.yes])"),
                "label": jsonata("$states.result[0].label"),
            }),
            output: json!({}),
            catch: Catch::failing(links),
            next: Next::to("IsDone"),
        };
        let is_done = Choice {
            choices: vec![Branch::when("$done > 0 and $done = $all", links.onward.clone())],
            default: "Incomplete".to_owned(),
        };
        let incomplete = jsonata("$done & ' rows were scored, of ' & $all & ' in the clean table'");
        vec![
            ("ListParts", checks::call(&partition, list, assign, Next::to("HasRows"), links)),
            ("HasRows", State::Choice(has_rows)),
            ("NoRows", Pass::failing("NoRows", no_rows, links)),
            ("Score", State::Map(Box::new(score))),
            ("IsDone", State::Choice(is_done)),
            ("Incomplete", Pass::failing("Incomplete", incomplete, links)),
        ]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::Ask,
        entry: "ListParts",
        when: None,
        states: Box::new(states),
        substitutions: vec![("ScoreJob", Cfn::arn("ScoreJob"))],
        secs_max: 0,
    }
}

fn score_part(partition: &str) -> State {
    let arguments = json!({
        "FunctionName": "${ScoreJob}",
        "Payload": jsonata("$states.input"),
    });
    let cut_off = ["Sandbox.Timedout", "Lambda.Unknown", "States.Timeout"];
    State::Task(Task {
        output: jsonata("$states.result.Payload"),
        retry: vec![Retry::at_once(&cut_off, 1), Retry::patiently(&LAMBDA_IS_BUSY, 1, 5)],
        ..Task::new(partition, "lambda:invoke", arguments, Next::End(true))
    })
}
