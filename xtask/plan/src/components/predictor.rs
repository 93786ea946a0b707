//! The Lambda function that asks the server and stores its answers, and the states that call it
//! for every series.

use std::collections::BTreeMap;

use serde_json::{Map, json};
use steppe_wire::keys;

use super::workflow::MACHINE;
use super::{Component, Function, Stack, Table, TableColumn, attaches_to_network, server};
use super::{tables::TEXT_FORMATS, writes_logs};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::payload::{
    FORECASTS_SHOWN, LEFT_OUT_PER_CALL, LEFT_OUT_SHOWN, SERIES_PER_CALL, SINGLE_MAX,
};
use crate::smoke_test::{Check, CheckKind};
use crate::workflow::{
    Branch, Choice, Fail, Items, Links, MapState, Next, Processor, Retry, Segment, Slot, State,
    Task, jsonata,
};

const ROLE: &str = "PredictorRole";

/// What Lambda may answer without having called the function, or with a failure that passes.
pub(super) const LAMBDA_IS_BUSY: [&str; 5] = [
    "RetryableError",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
];

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    if stack.spec.manifest.scores_batches() {
        return None;
    }
    let series = &stack.spec.manifest.task().forecast()?.task.series;
    let (function, (role, of_function)) = asks_server(stack, Some(series));
    let invoke = [Cfn::arn("Predictor")];
    let invoke = Statement::allow("InvokePredictor", &["lambda:InvokeFunction"], &invoke);
    let grants = [stores_forecasts(), Grant { role: super::workflow::ROLE, statement: invoke }];
    Some(Component {
        name: "predictor",
        tables: vec![predictions_table()],
        functions: vec![function],
        segments: vec![segment(stack, series)],
        roles: vec![role],
        grants: grants.into_iter().chain(of_function).collect(),
        outputs: vec![
            ("PredictorName", Cfn::reference("Predictor")),
            ("PredictorLogGroup", Cfn::reference("PredictorLogs")),
        ],
        checks: Some(|tested| {
            let (series, place) = (tested.series.to_vec(), tested.place);
            Ok(vec![Check::new("forecasts", CheckKind::Forecasts { series, place })])
        }),
        ..Component::default()
    })
}

/// Lets the function store what it was told of series.
pub(super) fn stores_forecasts() -> Grant {
    let predictions = Cfn::sub(format!("${{DataBucket.Arn}}/{}*", keys::PREDICTIONS_PREFIX));
    let store = Statement::on_buckets("StoreForecasts", &["s3:PutObject"], &[predictions]);
    Grant { role: ROLE, statement: store }
}

/// The function that asks the server about `series`, a column, or about rows when there is none,
/// with its role and what that may do in any case.
pub(super) fn asks_server(
    stack: &Stack<'_>,
    series: Option<&str>,
) -> (Function, (Role, Vec<Grant>)) {
    let spec = stack.spec;
    let mut variables = BTreeMap::from([
        ("MODEL_SERVER_URL", server::url(&stack.server_id)),
        ("DATA_BUCKET", Cfn::reference("DataBucket")),
    ]);
    variables.extend(series.map(|series| ("SERIES_FIELD", Cfn::Text(series.to_owned()))));
    let function = Function {
        logical_id: "Predictor",
        name: "predictor",
        handler: "bootstrap",
        description: "Asks the model server",
        memory_mb: 128,
        timeout_secs: 30,
        code_key: keys::predictor_zip(&spec.hashes.predictor),
        role: ROLE,
        variables,
        attributes: server::when_ready(&stack.server_id),
    };
    let network = attaches_to_network(ROLE, "predictor", &spec.names.stack());
    let logs = writes_logs(ROLE, &["PredictorLogs"]);
    let role = Role::new(ROLE, "predictor", "lambda.amazonaws.com");
    (function, (role, [logs].into_iter().chain(network).collect()))
}

fn predictions_table() -> Table {
    const COLUMNS: [(&str, &str); 20] = [
        ("schema_version", "int"),
        ("execution", "string"),
        ("series", "string"),
        ("observed_until", "string"),
        ("step", "int"),
        ("period", "string"),
        ("value", "double"),
        ("lower", "double"),
        ("upper", "double"),
        ("level", "double"),
        ("procure", "double"),
        ("note", "string"),
        ("decimals", "int"),
        ("model_id", "string"),
        ("model_version", "string"),
        ("backtest_mae", "double"),
        ("backtest_rmse", "double"),
        ("backtest_mape", "double"),
        ("backtest_mase", "double"),
        (
            "steps",
            "array<struct<step:int,period:string,value:double,lower:double,upper:double,\
             level:double,procure:double>>",
        ),
    ];
    let [input_format, output_format] = TEXT_FORMATS;
    Table {
        logical_id: "PredictionsTable".to_owned(),
        name: "predictions".to_owned(),
        description: "Stored forecasts, one JSON object per line".to_owned(),
        prefix: keys::PREDICTIONS_PREFIX.to_owned(),
        partitions: Map::new(),
        parameters: Map::from_iter([("classification".to_owned(), json!("json"))]),
        input_format,
        output_format,
        serde: json!({ "SerializationLibrary": "org.openx.data.jsonserde.JsonSerDe" }),
        columns: COLUMNS.iter().map(|(name, hive)| TableColumn::new(name, hive)).collect(),
    }
}

fn segment(stack: &Stack<'_>, series: &str) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let series_column = series.to_owned();
    let dataset_key =
        keys::table_prefix(&stack.spec.names.pipeline, stack.spec.manifest.source().name);
    let concurrency = stack.spec.manifest.stack.map_concurrency;
    let states = move |links: &Links| {
        let has_series = Choice {
            choices: vec![Branch::when("$count($series) > 0", Next::to("Forecast"))],
            default: "NoSeries".to_owned(),
        };
        let no_series =
            json!("the input names no series; start the execution with {\"series\": [\"...\"]}");
        let predict = Processor::inline("Predict", &predict(&partition));
        let forecast = MapState {
            item_selector: json!({
                "asked": jsonata(&asked(&series_column)),
                "where": {
                    "dataset_key": dataset_key,
                    "bucket_name": "${DataBucket}",
                    "execution": jsonata("$states.context.Execution.Id"),
                    "model_version": jsonata("$model_version"),
                },
            }),
            max_concurrency: concurrency,
            assign: json!({
                "done": jsonata("$done + $sum([$states.result.count])"),
                "absent": jsonata("$absent + $sum([$states.result.absent])"),
                "left_out": jsonata(&kept("left_out", "$states.result", LEFT_OUT_SHOWN)),
                "forecasts": jsonata(&kept("forecasts", "$states.result", FORECASTS_SHOWN)),
            }),
            output: json!({}),
            ..MapState::new(Items::Given(jsonata(&calls())), predict, Next::to("IsDone"))
        };
        let all = "$token = null and $done > 0 and $done + $absent = $all";
        let is_done = Choice {
            choices: [Branch::when(all, links.onward.clone())]
                .into_iter()
                .chain(links.more.iter().cloned())
                .collect(),
            default: "Incomplete".to_owned(),
        };
        let incomplete = jsonata(
            "$done & ' series were forecast and ' & $absent & ' left out, of ' & $all & ' in the \
             clean table' & ($count($left_out) > 0 ? ': ' & $left_out[0].reason : '')",
        );
        vec![
            ("HasSeries", State::Choice(has_series)),
            ("NoSeries", Fail::of("NoSeries", no_series)),
            ("Forecast", State::Map(Box::new(forecast))),
            ("IsDone", State::Choice(is_done)),
            ("Incomplete", Fail::of("Incomplete", incomplete)),
        ]
    };
    Segment {
        machine: MACHINE,
        slot: Slot::Ask,
        entry: "HasSeries",
        when: None,
        states: Box::new(states),
        substitutions: vec![
            ("Predictor", Cfn::arn("Predictor")),
            ("DataBucket", Cfn::reference("DataBucket")),
        ],
        secs_max: 0,
    }
}

/// The calls: a few series are asked for one by one, many in groups.
fn calls() -> String {
    format!(
        "($size := $all > {SINGLE_MAX} ? {SERIES_PER_CALL} : 1; \
         [$map([0..$ceil($count($series) / $size) - 1], function($i) {{ \
         {{'series': [$series[[$i * $size..($i + 1) * $size - 1]]], 'single': $size = 1, \
         'shown': $count($forecasts) + $i * $size < {FORECASTS_SHOWN} }} }})])"
    )
}

/// What one call asks for.
fn asked(series_column: &str) -> String {
    let item = "$states.context.Map.Item.Value";
    format!(
        "{item}.single ? {{'{series_column}': {item}.series[0]}} : \
         {{'series': {item}.series, 'shown': {item}.shown}}"
    )
}

/// What is carried along of a list of the calls' `answers`.
pub(super) fn kept(list: &str, answers: &str, at_most: usize) -> String {
    format!("[$append(${list}, {answers}.{list})[[0..{}]]]", at_most - 1)
}

fn predict(partition: &str) -> State {
    let arguments = json!({
        "FunctionName": "${Predictor}",
        "Payload": jsonata("$merge([$states.input.asked, $states.input.where])"),
    });
    let output = format!(
        "$states.result.Payload.{{ 'forecasts': [forecasts], 'count': count, 'absent': \
         $count(left_out), 'left_out': [left_out[[0..{}]]] }}",
        LEFT_OUT_PER_CALL - 1
    );
    let passing: Vec<&str> = LAMBDA_IS_BUSY.into_iter().chain(["States.Timeout"]).collect();
    State::Task(Task {
        output: jsonata(&output),
        timeout_seconds: Some(60),
        retry: vec![Retry::patiently(&passing, 1, 5)],
        ..Task::new(partition, "lambda:invoke", arguments, Next::End(true))
    })
}
