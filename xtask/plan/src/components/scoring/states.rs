//! The states that have every part of a table scored: in the run itself while parts are few, and in
//! executions of their own when they are many.

use serde_json::{Value, json};
use steppe_spec::{Catalogue, Manifest, Served};
use steppe_wire::keys;

use super::super::predictor::{LAMBDA_IS_BUSY, kept};
use super::super::workflow::MACHINE;
use super::super::{Stack, Table, checks};
use super::{LABEL, table};
use crate::grants::Cfn;
use crate::payload::{
    FORECASTS_SHOWN, LEFT_OUT_PER_PART, LEFT_OUT_SHOWN, PARTS_INLINE_MAX, PARTS_PER_CHILD,
    ROWS_PER_PART, SERIES_PER_PART,
};
use crate::workflow::{
    Branch, Catch, Choice, Fail, ItemBatcher, ItemReader, Items, Links, MapState, Next, Processor,
    ResultWriter, Retry, Segment, Slot, State, Task, jsonata,
};

/// The states, in the order in which a run passes them.
pub(super) fn segment(stack: &Stack<'_>) -> Segment {
    let manifest = stack.spec.manifest;
    let declared = manifest.stack.catalogue == Catalogue::Declared;
    let words = Words::of(manifest);
    let scoring = Scoring {
        partition: stack.spec.names.partition().to_owned(),
        concurrency: manifest.stack.map_concurrency,
        verified: manifest.stack.verify,
        part_size: manifest.stack.part_size.unwrap_or(words.part_size),
        runs: keys::runs_prefix(&stack.spec.names.pipeline),
        declared: declared.then(|| table(manifest)),
        words,
    };
    let own = [("ScoreJob", Cfn::arn("ScoreJob")), ("DataBucket", Cfn::reference("DataBucket"))];
    let database = declared.then(|| ("Database", Cfn::reference("Database")));
    Segment {
        machine: MACHINE,
        slot: Slot::Ask,
        entry: "ListParts",
        when: None,
        states: Box::new(move |links| scoring.states(links)),
        substitutions: own.into_iter().chain(database).collect(),
        secs_max: 0,
    }
}

/// What decides the states.
struct Scoring {
    partition: String,
    words: Words,
    concurrency: u32,
    /// Whether Athena has counted what is to be scored.
    verified: bool,
    part_size: u32,
    /// Prefix of what runs say to themselves.
    runs: String,
    /// The table, if no crawler finds it.
    declared: Option<Table>,
}

impl Scoring {
    fn states(&self, links: &Links) -> Vec<(&'static str, State)> {
        let nothing = json!(format!("the clean table has no {}", self.words.plural));
        let incomplete = jsonata(&self.words.incomplete());
        let add = self.declared.as_ref().map(|table| self.add_partition(table, links));
        let onward = match add {
            Some(_) => Next::to("AddPartition"),
            None => links.onward.clone(),
        };
        let states = [
            ("ListParts", self.list_parts()),
            ("HasParts", has_parts()),
            ("NothingToScore", Fail::of("NothingToScore", nothing)),
            ("Score", self.score()),
            ("ScoreMany", self.score_many()),
            ("SumUp", self.sum_up()),
            ("IsDone", is_done(onward)),
            ("Incomplete", Fail::of("Incomplete", incomplete)),
        ];
        states.into_iter().chain(add.map(|state| ("AddPartition", state))).collect()
    }

    fn list_parts(&self) -> State {
        let run = self.words.run();
        // What Athena counted must be what is scored; without its count, the table says it.
        let all = if self.verified { "$all" } else { "$states.result.Payload.all" };
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
            "part_size": self.part_size,
            "inline_max": PARTS_INLINE_MAX,
        });
        self.ask(&list, assign, "HasParts")
    }

    /// A few parts, in the run itself.
    fn score(&self) -> State {
        let score_part = Processor::inline("ScorePart", &self.score_part());
        State::Map(Box::new(MapState {
            item_selector: part_of(&jsonata("$run")),
            max_concurrency: self.concurrency,
            assign: self.words.sums("$states.result"),
            output: json!({}),
            ..MapState::new(Items::Given(jsonata("$parts")), score_part, Next::to("IsDone"))
        }))
    }

    /// Many parts: some of them to an execution of its own each, whose results lie in S3.
    fn score_many(&self) -> State {
        let partition = &self.partition;
        let score_part = Processor::inline("ScorePartOfMany", &self.score_part());
        let items = Items::Given(jsonata("$states.input.Items"));
        let parts = MapState {
            item_selector: part_of(&jsonata("$states.input.BatchInput.run")),
            ..MapState::new(items, score_part, Next::End(true))
        };
        let processor = Processor::distributed("ScoreParts", &State::Map(Box::new(parts)));
        let reader = ItemReader::json_lines(partition, "${DataBucket}", jsonata("$parts_key"));
        let prefix = format!("'{}' & $states.context.Execution.Name & '/results'", self.runs);
        State::Map(Box::new(MapState {
            item_batcher: Some(ItemBatcher {
                max_items_per_batch: PARTS_PER_CHILD,
                batch_input: json!({ "run": jsonata("$run") }),
            }),
            max_concurrency: self.concurrency,
            label: Some(LABEL),
            // Who is missing is missing in every answer: a run is whole, or it fails.
            tolerated_failure_percentage: Some(0),
            result_writer: Some(ResultWriter::new(partition, "${DataBucket}", jsonata(&prefix))),
            assign: json!({ "results": jsonata("$states.result.ResultWriterDetails.Key") }),
            output: json!({}),
            ..MapState::new(Items::Read(reader), processor, Next::to("SumUp"))
        }))
    }

    fn sum_up(&self) -> State {
        let sum = json!({
            "score": "sum",
            "run": jsonata("$run"),
            "results": jsonata("$results"),
            "left_out_max": LEFT_OUT_SHOWN,
        });
        self.ask(&sum, self.words.sums("$states.result.Payload"), "IsDone")
    }

    fn ask(&self, event: &Value, assign: Value, next: &str) -> State {
        checks::call(&self.partition, ("ScoreJob", event), assign, Next::to(next))
    }

    fn score_part(&self) -> State {
        let arguments = json!({
            "FunctionName": "${ScoreJob}",
            "Payload": jsonata("$states.input"),
        });
        let cut_off = ["Sandbox.Timedout", "Lambda.Unknown", "States.Timeout"];
        State::Task(Task {
            output: jsonata("$states.result.Payload"),
            retry: vec![Retry::at_once(&cut_off, 1), Retry::patiently(&LAMBDA_IS_BUSY, 1, 5)],
            ..Task::new(&self.partition, "lambda:invoke", arguments, Next::End(true))
        })
    }

    /// Tells the catalogue of the run's folder. A run that is redriven has told it already.
    fn add_partition(&self, table: &Table, links: &Links) -> State {
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
            catch: vec![Catch::of(&there, links.onward.state())],
            ..Task::new(
                &self.partition,
                "aws-sdk:glue:createPartition",
                arguments,
                links.onward.clone(),
            )
        })
    }
}

/// What a call is asked of an item of a Map.
fn part_of(run: &Value) -> Value {
    json!({ "score": "part", "run": run, "part": jsonata("$states.context.Map.Item.Value") })
}

fn has_parts() -> State {
    let few = format!("$part_count > 0 and $part_count <= {PARTS_INLINE_MAX}");
    State::Choice(Choice {
        choices: vec![
            Branch::when(&few, Next::to("Score")),
            Branch::when("$part_count > 0", Next::to("ScoreMany")),
        ],
        default: "NothingToScore".to_owned(),
    })
}

fn is_done(onward: Next) -> State {
    State::Choice(Choice {
        choices: vec![Branch::when("$done > 0 and $done + $absent = $all", onward)],
        default: "Incomplete".to_owned(),
    })
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
