//! The function that scores parts of a table, and the states that call it for every part: in the
//! run itself while parts are few, and in executions of their own when they are many.
//!
//! What a run predicts is a partition of the table `predictions`.

use serde_json::{Map, Value, json};
use steppe_spec::{Catalogue, Manifest, Served};
use steppe_wire::keys;

use super::predictor::{LAMBDA_IS_BUSY, asks_server, kept, stores_forecasts};
use super::tables::parquet;
use super::training::{Asking, asking_grants, job, spec_key};
use super::workflow::{MACHINE, ROLE as WORKFLOW_ROLE};
use super::{Component, Function, Stack, Table, TableColumn, checks, crawler};
use crate::grants::{Cfn, Grant, Role, Statement};
use crate::payload::{
    FORECASTS_SHOWN, LEFT_OUT_PER_PART, LEFT_OUT_SHOWN, PARTS_INLINE_MAX, PARTS_PER_CHILD,
    ROWS_PER_PART, SERIES_PER_PART,
};
use crate::smoke_test::{Check, CheckKind};
use crate::workflow::{
    Branch, Catch, Choice, ItemBatcher, ItemReader, Items, Links, MapState, Next, Pass, Processor,
    ResultWriter, Retry, Segment, Slot, State, Task, jsonata,
};

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
        segments: vec![segment(stack)],
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
    let (names, manifest) = (stack.spec.names, stack.spec.manifest);
    let runs = keys::runs_prefix(&names.pipeline);
    let job = Asking {
        function: "ScoreJob",
        handler: "score",
        role: ROLE,
        stores: ("StoreScores", keys::batches_prefix(manifest.task().name())),
        invoked: "InvokeScoring",
    };
    let of_runs = [Cfn::sub(format!("${{DataBucket.Arn}}/{runs}*"))];
    let parts = Statement::on_buckets("ListParts", &["s3:GetObject", "s3:PutObject"], &of_runs);
    let mut grants = asking_grants(stack, &job);
    grants.push(Grant { role: ROLE, statement: parts });
    let account = "${AWS::Region}:${AWS::AccountId}";
    let states = |what: &str| {
        Cfn::sub(format!("arn:${{AWS::Partition}}:states:{account}:{what}{}", names.stack()))
    };
    let suffixed = |what: &str, suffix: &str| match states(what) {
        Cfn::Sub(text) => Cfn::Sub(text + suffix),
        other => other,
    };
    // <https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html>
    let follow = ["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"];
    let children = [suffixed("execution:", ":*"), suffixed("execution:", &format!("/{LABEL}:*"))];
    let results =
        ["s3:GetObject", "s3:PutObject", "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"];
    let mut workflow = vec![
        Statement::allow("StartChildren", &["states:StartExecution"], &[states("stateMachine:")]),
        Statement::allow("FollowChildren", &follow, &children),
        Statement::on_buckets("KeepResults", &results, &of_runs),
    ];
    if manifest.stack.catalogue == Catalogue::Declared {
        let glue = |what: &str| Cfn::sub(format!("arn:${{AWS::Partition}}:glue:{account}:{what}"));
        let table = format!("table/${{Database}}/{}", name(manifest));
        let catalogue = [glue("catalog"), glue("database/${Database}"), glue(&table)];
        let add = ["glue:CreatePartition"];
        workflow.push(Statement::allow("AddPartitions", &add, &catalogue));
    }
    let of_workflow = |statement| Grant { role: WORKFLOW_ROLE, statement };
    grants.extend(workflow.into_iter().map(of_workflow));
    grants
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

fn segment(stack: &Stack<'_>) -> Segment {
    let partition = stack.spec.names.partition().to_owned();
    let manifest = stack.spec.manifest;
    let options = &manifest.stack;
    let what = Words::of(manifest);
    let (concurrency, verified) = (options.map_concurrency, options.verify);
    let part_size = options.part_size.unwrap_or(what.part_size);
    let runs = keys::runs_prefix(&stack.spec.names.pipeline);
    let adds = (options.catalogue == Catalogue::Declared).then(|| table(manifest));
    let states = move |links: &Links| {
        let run = what.run();
        // What Athena counted must be what is scored; without its count, the table says it.
        let all = if verified { "$all" } else { "$states.result.Payload.all" };
        let assign = json!({
            "run": run,
            "parts": jsonata("[$states.result.Payload.parts]"),
            "part_count": jsonata("$states.result.Payload.count"),
            "parts_key": jsonata("$states.result.Payload.key"),
            "all": jsonata(all),
        });
        let list = json!({
            "score": "list",
            "run": run,
            "part_size": part_size,
            "inline_max": PARTS_INLINE_MAX,
        });
        let has_parts = Choice {
            choices: vec![
                Branch::when(
                    &format!("$part_count > 0 and $part_count <= {PARTS_INLINE_MAX}"),
                    Next::to("Score"),
                ),
                Branch::when("$part_count > 0", Next::to("ScoreMany")),
            ],
            default: "NothingToScore".to_owned(),
        };
        let nothing = json!(format!("the clean table has no {}", what.plural));
        let score_part = Processor::inline("ScorePart", &score_part(&partition));
        let score = MapState {
            item_selector: json!({
                "score": "part",
                "run": jsonata("$run"),
                "part": jsonata("$states.context.Map.Item.Value"),
            }),
            max_concurrency: concurrency,
            assign: what.sums("$states.result"),
            output: json!({}),
            catch: Catch::failing(links),
            ..MapState::new(Items::Given(jsonata("$parts")), score_part, Next::to("IsDone"))
        };
        let sum = json!({
            "score": "sum",
            "run": jsonata("$run"),
            "results": jsonata("$results"),
            "left_out_max": LEFT_OUT_SHOWN,
        });
        let summed = what.sums("$states.result.Payload");
        let after = if adds.is_some() { Next::to("AddPartition") } else { links.onward.clone() };
        let is_done = Choice {
            choices: vec![Branch::when("$done > 0 and $done + $absent = $all", after)],
            default: "Incomplete".to_owned(),
        };
        let mut states = vec![
            (
                "ListParts",
                checks::call(&partition, ("ScoreJob", &list), assign, Next::to("HasParts"), links),
            ),
            ("HasParts", State::Choice(has_parts)),
            ("NothingToScore", Pass::failing("NothingToScore", nothing, links)),
            ("Score", State::Map(Box::new(score))),
            ("ScoreMany", State::Map(Box::new(score_many(&partition, concurrency, &runs, links)))),
            (
                "SumUp",
                checks::call(&partition, ("ScoreJob", &sum), summed, Next::to("IsDone"), links),
            ),
            ("IsDone", State::Choice(is_done)),
            ("Incomplete", Pass::failing("Incomplete", jsonata(&what.incomplete()), links)),
        ];
        if let Some(table) = &adds {
            states.push(("AddPartition", add_partition(&partition, table, links)));
        }
        states
    };
    Segment {
        machine: MACHINE,
        slot: Slot::Ask,
        entry: "ListParts",
        when: None,
        states: Box::new(states),
        substitutions: [
            Some(("ScoreJob", Cfn::arn("ScoreJob"))),
            Some(("DataBucket", Cfn::reference("DataBucket"))),
            (options.catalogue == Catalogue::Declared)
                .then(|| ("Database", Cfn::reference("Database"))),
        ]
        .into_iter()
        .flatten()
        .collect(),
        secs_max: 0,
    }
}

/// What differs between rows and series.
#[derive(Clone)]
struct Words {
    task: String,
    plural: &'static str,
    done: &'static str,
    part_size: u32,
    has_series: bool,
}

impl Words {
    fn of(manifest: &Manifest) -> Self {
        let task = manifest.task().name().to_owned();
        match manifest.task() {
            Served::Forecast(_) => Self {
                task,
                plural: "series",
                done: "series were forecast",
                part_size: SERIES_PER_PART,
                has_series: true,
            },
            Served::Tabular(_) => Self {
                task,
                plural: "rows",
                done: "rows were scored",
                part_size: ROWS_PER_PART,
                has_series: false,
            },
        }
    }

    /// What every call is told of the run.
    fn run(&self) -> Value {
        let mut run = json!({
            "execution": jsonata("$states.context.Execution.Id"),
            "started": jsonata("$states.context.Execution.StartTime"),
            "task": self.task,
            "model_version": jsonata("$model_version"),
            "shown": FORECASTS_SHOWN,
            "left_out_shown": LEFT_OUT_PER_PART,
        });
        if self.has_series {
            run["series"] = jsonata("$named ? $series : null");
        }
        run
    }

    /// What is kept of the answers about parts.
    fn sums(&self, answers: &str) -> Value {
        let sum = |member: &str| jsonata(&format!("$sum([{answers}.{member}])"));
        let mut assign = json!({ "done": sum("count"), "absent": sum("absent") });
        if self.has_series {
            assign["left_out"] = jsonata(&kept("left_out", answers, LEFT_OUT_SHOWN));
            assign["forecasts"] = jsonata(&kept("forecasts", answers, FORECASTS_SHOWN));
        } else {
            assign["yes"] = sum("yes");
            let label = format!("[{answers}.label][0]");
            assign["label"] = jsonata(&format!("$exists({label}) ? {label} : null"));
        }
        assign
    }

    fn incomplete(&self) -> String {
        let Self { done, .. } = self;
        match self.has_series {
            true => format!(
                "$done & ' {done} and ' & $absent & ' left out, of ' & $all & ' in the clean \
                 table' & ($count($left_out) > 0 ? ': ' & $left_out[0].reason : '')"
            ),
            false => format!("$done & ' {done}, of ' & $all & ' in the clean table'"),
        }
    }
}

/// Many parts: some of them to an execution of its own each, whose results lie in S3.
fn score_many(partition: &str, concurrency: u32, runs: &str, links: &Links) -> MapState {
    let score_part = Processor::inline("ScorePartOfMany", &score_part(partition));
    let items = Items::Given(jsonata("$states.input.Items"));
    let parts = MapState {
        item_selector: json!({
            "score": "part",
            "run": jsonata("$states.input.BatchInput.run"),
            "part": jsonata("$states.context.Map.Item.Value"),
        }),
        ..MapState::new(items, score_part, Next::End(true))
    };
    let processor = Processor::distributed("ScoreParts", &State::Map(Box::new(parts)));
    let reader = ItemReader::json_lines(partition, "${DataBucket}", jsonata("$parts_key"));
    let prefix = format!("'{runs}' & $states.context.Execution.Name & '/results'");
    MapState {
        item_batcher: Some(ItemBatcher {
            max_items_per_batch: PARTS_PER_CHILD,
            batch_input: json!({ "run": jsonata("$run") }),
        }),
        max_concurrency: concurrency,
        label: Some(LABEL),
        // Who is missing is missing in every answer: a run is whole, or it fails.
        tolerated_failure_percentage: Some(0),
        result_writer: Some(ResultWriter::new(partition, "${DataBucket}", jsonata(&prefix))),
        assign: json!({ "results": jsonata("$states.result.ResultWriterDetails.Key") }),
        output: json!({}),
        catch: Catch::failing(links),
        ..MapState::new(Items::Read(reader), processor, Next::to("SumUp"))
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

/// Tells the catalogue of the run's folder. A run that is redriven has told it already.
fn add_partition(partition: &str, table: &Table, links: &Links) -> State {
    let run = "$states.context.Execution.Name";
    let location = format!("'s3://${{DataBucket}}/{}run=' & {run} & '/'", table.prefix);
    let arguments = json!({
        "DatabaseName": "${Database}",
        "TableName": table.name,
        "PartitionInput": {
            "Values": [jsonata(run)],
            "StorageDescriptor": {
                "Columns": table.columns,
                "Location": jsonata(&location),
                "InputFormat": table.input_format,
                "OutputFormat": table.output_format,
                "SerdeInfo": table.serde,
            },
        },
    });
    let busy = ["Glue.GlueException", "Glue.InternalServiceException"];
    let there = ["Glue.AlreadyExistsException"];
    State::Task(Task {
        output: json!({}),
        retry: vec![Retry::patiently(&busy, 2, 5)],
        catch: [Catch::of(&there, links.onward.state())]
            .into_iter()
            .chain(Catch::failing(links))
            .collect(),
        ..Task::new(partition, "aws-sdk:glue:createPartition", arguments, links.onward.clone())
    })
}
