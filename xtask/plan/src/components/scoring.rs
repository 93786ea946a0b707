//! The function that scores parts of a table, what it and the workflow may do, and the table: what
//! a run predicts is a partition of it.

use serde_json::{Map, json};
use steppe_spec::{Catalogue, Manifest, Served};
use steppe_wire::keys;

use super::predictor::{asks_server, stores_forecasts};
use super::tables::parquet;
use super::training::{Asking, asking_grants, job, spec_key};
use super::workflow::ROLE as WORKFLOW_ROLE;
use super::{Component, Function, Stack, Table, TableColumn, crawler};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::smoke_test::{Check, CheckKind};

mod states;

const ROLE: &str = "ScoreJobRole";
/// Memory of the function: it holds the model and the table, or a file of it.
const MEMORY_MB: u32 = 1_769;
/// Part of the names of child executions.
const LABEL: &str = "Parts";

pub(super) fn component(stack: &Stack<'_>, _others: &[Component]) -> Option<Component> {
    let manifest = stack.spec.manifest;
    manifest.scores_batches().then_some(())?;
    let task = manifest.task();
    let description = "Scores parts of the clean table";
    let function = Function {
        memory_mb: MEMORY_MB,
        ..job(stack, "ScoreJob", "score", ROLE, description).with("TRAIN_SPEC_KEY", spec_key(stack))
    };
    let (predictor, of_predictor) = match task.forecast() {
        Some(entry) => {
            let (function, (role, mut grants)) = asks_server(stack, Some(&entry.task.series));
            grants.push(stores_forecasts());
            (function, (role, grants))
        }
        None => asks_server(stack, None),
    };
    let table = match manifest.stack.catalogue {
        Catalogue::Declared => Some(table(manifest)),
        Catalogue::Crawler => None,
    };
    let mut component = Component {
        name: "scoring",
        tables: table.into_iter().collect(),
        functions: vec![function, predictor],
        segments: vec![states::segment(stack)],
        roles: vec![Role::new(ROLE, "score", "lambda.amazonaws.com")],
        grants: grants(stack),
        outputs: vec![
            ("ScoreJobLogGroup", Cfn::reference("ScoreJobLogs")),
            ("PredictorName", Cfn::reference("Predictor")),
            ("PredictorLogGroup", Cfn::reference("PredictorLogs")),
        ],
        checks: Some(|tested| {
            let (table, place) = (name(tested.manifest), tested.place);
            let series = tested.series.to_vec();
            Ok(vec![match tested.manifest.task() {
                Served::Forecast(_) => {
                    Check::new("forecasts", CheckKind::Predictions { table, series, place })
                }
                Served::Tabular(_) => Check::new("scores", CheckKind::Scores { table, place }),
            }])
        }),
        ..Component::default()
    };
    component.roles.push(of_predictor.0);
    component.grants.extend(of_predictor.1);
    Some(component)
}

fn grants(stack: &Stack<'_>) -> Vec<Grant> {
    let task = stack.spec.manifest.task();
    let job = Asking {
        function: "ScoreJob",
        handler: "score",
        role: ROLE,
        stores: ("StoreScores", keys::batches_prefix(task.name())),
        invoked: "InvokeScoring",
    };
    let write = ["s3:GetObject", "s3:PutObject"];
    let parts = Statement::on_buckets("ListParts", &write, &[runs(stack)]);
    let mut grants = asking_grants(stack, &job);
    grants.push(Grant { role: ROLE, statement: parts });
    grants.extend(of_workflow(stack));
    grants
}

/// What the workflow itself may do: start, follow and redrive its children, read what they are to
/// do and keep what they say, and tell the catalogue of a run's folder.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html>
fn of_workflow(stack: &Stack<'_>) -> Vec<Grant> {
    let (names, manifest) = (stack.spec.names, stack.spec.manifest);
    let arn = |service: &str, what: &str| {
        Cfn::sub(format!(
            "arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{what}"
        ))
    };
    let machine = names.stack();
    let machines = [arn("states", &format!("stateMachine:{machine}"))];
    let follow = ["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"];
    let children = [
        arn("states", &format!("execution:{machine}:*")),
        arn("states", &format!("execution:{machine}/{LABEL}:*")),
    ];
    let keep =
        ["s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"];
    let mut statements = vec![
        Statement::allow("StartChildren", &["states:StartExecution"], &machines),
        Statement::allow("FollowChildren", &follow, &children),
        Statement::on_buckets("KeepResults", &keep, &[runs(stack)]),
    ];
    if manifest.stack.catalogue == Catalogue::Declared {
        let table = format!("table/${{Database}}/{}", name(manifest));
        let catalogue = ["catalog", "database/${Database}", &table].map(|what| arn("glue", what));
        statements.push(Statement::allow("AddPartitions", &["glue:CreatePartition"], &catalogue));
    }
    statements.into_iter().map(|statement| Grant { role: WORKFLOW_ROLE, statement }).collect()
}

/// What runs say to themselves.
fn runs(stack: &Stack<'_>) -> Cfn {
    let prefix = keys::runs_prefix(&stack.spec.names.pipeline);
    Cfn::sub(format!("${{DataBucket.Arn}}/{prefix}*"))
}

/// What the table is called: a crawler calls its own by the folder.
pub fn name(manifest: &Manifest) -> String {
    match manifest.stack.catalogue {
        Catalogue::Declared => "predictions".to_owned(),
        Catalogue::Crawler => crawler::crawled(manifest.task().name()),
    }
}

/// The table as a template declares it, which is also what a crawler must find.
pub(super) fn table(manifest: &Manifest) -> Table {
    const OF_ROWS: [(&str, &str); 12] = [
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
    const OF_SERIES: [(&str, &str); 17] = [
        ("execution", "string"),
        ("series", "string"),
        ("observed_until", "string"),
        ("step", "int"),
        ("period", "string"),
        ("actual", "double"),
        ("predicted", "double"),
        ("lower", "double"),
        ("upper", "double"),
        ("level", "double"),
        ("procure", "double"),
        ("note", "string"),
        ("backtest", "boolean"),
        ("model_id", "string"),
        ("model_version", "string"),
        ("backtest_mase", "double"),
        ("scored_at", "timestamp"),
    ];
    let (description, columns) = match manifest.task() {
        Served::Forecast(_) => (
            "What each run predicted: its newest forecasts, and those of the model's backtest \
             beside what came",
            &OF_SERIES[..],
        ),
        Served::Tabular(_) => ("Scores of rows, with their reasons", &OF_ROWS[..]),
    };
    let reading = parquet();
    Table {
        logical_id: "PredictionsTable".to_owned(),
        name: "predictions".to_owned(),
        description: description.to_owned(),
        prefix: keys::batches_prefix(manifest.task().name()),
        parameters: Map::from_iter([("classification".to_owned(), json!("parquet"))]),
        input_format: reading.formats[0],
        output_format: reading.formats[1],
        serde: json!({ "SerializationLibrary": reading.library }),
        columns: columns.iter().map(|(name, hive)| TableColumn::new(name, hive)).collect(),
        partitions: Map::from_iter([(
            "PartitionKeys".to_owned(),
            json!([TableColumn::new("run", "string")]),
        )]),
    }
}
