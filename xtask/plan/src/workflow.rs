//! State machines as values: states of Amazon States Language in JSONata, and the linking of
//! segments that components contribute.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::grants::Cfn;

/// An expression of JSONata, as a state has it.
pub fn jsonata(expression: &str) -> Value {
    Value::String(format!("{{% {expression} %}}"))
}

/// Where a state leads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Next {
    /// To another state.
    #[serde(rename = "Next")]
    State(String),
    /// To the end of the execution.
    #[serde(rename = "End")]
    End(bool),
}

impl Next {
    /// To a state of the same segment.
    pub fn to(state: &str) -> Self {
        Self::State(state.to_owned())
    }

    /// The state, for what must lead to one.
    pub fn state(&self) -> &str {
        match self {
            Self::State(state) => state,
            Self::End(_) => unreachable!("a choice is no end of a machine"),
        }
    }
}

/// A state.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "Type")]
pub enum State {
    Task(Task),
    Choice(Choice),
    Map(Box<MapState>),
    Wait(Wait),
    Pass(Pass),
    Succeed,
    Fail(Fail),
}

/// Calls a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Task {
    /// `arn:aws:states:::` and the integration.
    pub resource: String,
    /// What it is given.
    pub arguments: Value,
    /// Variables that are set afterwards.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub assign: Value,
    /// What the next state gets; the result when absent.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Longest time of one attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// What is tried again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retry: Vec<Retry>,
    /// Where failures lead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub catch: Vec<Catch>,
    /// Where success leads.
    #[serde(flatten)]
    pub next: Next,
}

impl Task {
    /// A call that is made once and whose result goes on.
    pub fn new(partition: &str, integration: &str, arguments: Value, next: Next) -> Self {
        Self {
            resource: format!("arn:{partition}:states:::{integration}"),
            arguments,
            assign: Value::Null,
            output: Value::Null,
            timeout_seconds: None,
            retry: vec![],
            catch: vec![],
            next,
        }
    }
}

/// Decides by what is true.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Choice {
    /// Tried in order.
    pub choices: Vec<Branch>,
    /// When none holds.
    pub default: String,
}

/// One way out of a choice.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Branch {
    condition: Value,
    #[serde(flatten)]
    next: Next,
}

impl Branch {
    /// To `next` when `condition`, an expression, is true.
    pub fn when(condition: &str, next: Next) -> Self {
        Self { condition: jsonata(condition), next }
    }
}

/// Does the same for many items.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MapState {
    /// The items.
    #[serde(flatten)]
    pub items: Items,
    /// What each gets; the item itself when absent.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub item_selector: Value,
    /// How many of them an execution of its own gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_batcher: Option<ItemBatcher>,
    /// How many at once.
    pub max_concurrency: u32,
    /// Part of the names of executions of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<&'static str>,
    /// How many of these may fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerated_failure_percentage: Option<u32>,
    /// What is done.
    pub item_processor: Processor,
    /// Where results of executions of their own go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_writer: Option<ResultWriter>,
    /// Variables that are set afterwards.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub assign: Value,
    /// What the next state gets; the results when absent.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Where failures lead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub catch: Vec<Catch>,
    /// Where success leads.
    #[serde(flatten)]
    pub next: Next,
}

impl MapState {
    /// Does this for all items, one at a time.
    pub fn new(items: Items, item_processor: Processor, next: Next) -> Self {
        Self {
            items,
            item_selector: Value::Null,
            item_batcher: None,
            max_concurrency: 1,
            label: None,
            tolerated_failure_percentage: None,
            item_processor,
            result_writer: None,
            assign: Value::Null,
            output: Value::Null,
            catch: vec![],
            next,
        }
    }
}

/// The items of a map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Items {
    /// A list.
    #[serde(rename = "Items")]
    Given(Value),
    /// What an object has.
    #[serde(rename = "ItemReader")]
    Read(ItemReader),
}

/// Reads items from S3.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ItemReader {
    resource: String,
    reader_config: Value,
    arguments: Value,
}

impl ItemReader {
    /// From an object with an item of JSON a line.
    pub fn json_lines(partition: &str, bucket: &str, key: Value) -> Self {
        Self {
            resource: format!("arn:{partition}:states:::s3:getObject"),
            reader_config: json!({ "InputType": "JSONL" }),
            arguments: json!({ "Bucket": bucket, "Key": key }),
        }
    }
}

/// Puts several items together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ItemBatcher {
    /// Items of a batch.
    pub max_items_per_batch: u32,
    /// What each batch gets beside them.
    pub batch_input: Value,
}

/// Writes results to S3.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResultWriter {
    resource: String,
    arguments: Value,
    writer_config: Value,
}

impl ResultWriter {
    /// The outputs alone, as lists of JSON.
    pub fn new(partition: &str, bucket: &str, prefix: Value) -> Self {
        Self {
            resource: format!("arn:{partition}:states:::s3:putObject"),
            arguments: json!({ "Bucket": bucket, "Prefix": prefix }),
            writer_config: json!({ "Transformation": "COMPACT", "OutputType": "JSON" }),
        }
    }
}

/// The machine inside of a map.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Processor {
    processor_config: Value,
    start_at: &'static str,
    states: Map<String, Value>,
}

impl Processor {
    /// One state per item, in the same execution.
    pub fn inline(name: &'static str, state: &State) -> Self {
        Self::of(json!({ "Mode": "INLINE" }), name, state)
    }

    /// One state per item or batch, in an execution of its own.
    pub fn distributed(name: &'static str, state: &State) -> Self {
        Self::of(json!({ "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" }), name, state)
    }

    fn of(processor_config: Value, name: &'static str, state: &State) -> Self {
        let states = Map::from_iter([(name.to_owned(), json!(state))]);
        Self { processor_config, start_at: name, states }
    }
}

/// Lets time pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Wait {
    /// How long.
    pub seconds: u32,
    /// Where it leads.
    #[serde(flatten)]
    pub next: Next,
}

/// Changes what is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pass {
    /// Variables that are set.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub assign: Value,
    /// What the next state gets.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Where it leads.
    #[serde(flatten)]
    pub next: Next,
}

/// Ends the execution.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Fail {
    /// The error's name.
    pub error: Value,
    /// What happened.
    pub cause: Value,
}

impl Fail {
    /// The execution fails with `error`.
    pub fn of(error: &str, cause: Value) -> State {
        State::Fail(Self { error: error.into(), cause })
    }
}

/// What is tried again, and how often.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Retry {
    error_equals: Vec<&'static str>,
    interval_seconds: u32,
    backoff_rate: u32,
    max_attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter_strategy: Option<&'static str>,
}

impl Retry {
    /// Waits twice as long after each attempt, and by chance, so that many do not come at once.
    pub fn patiently(errors: &[&'static str], first_secs: u32, attempts: u32) -> Self {
        Self {
            error_equals: errors.to_vec(),
            interval_seconds: first_secs,
            backoff_rate: 2,
            max_attempts: attempts,
            jitter_strategy: Some("FULL"),
        }
    }

    /// Goes on at once.
    pub fn at_once(errors: &[&'static str], attempts: u32) -> Self {
        Self::regularly(errors, 1, attempts)
    }

    /// Waits as long after each attempt.
    pub fn regularly(errors: &[&'static str], secs: u32, attempts: u32) -> Self {
        Self {
            error_equals: errors.to_vec(),
            interval_seconds: secs,
            backoff_rate: 1,
            max_attempts: attempts,
            jitter_strategy: None,
        }
    }
}

/// Where failures lead.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Catch {
    error_equals: Vec<&'static str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    assign: Value,
    next: String,
}

impl Catch {
    /// Every failure leads to `next`; the variables of `assign` are set.
    pub fn all(assign: Value, next: &str) -> Vec<Self> {
        vec![Self { error_equals: vec!["States.ALL"], assign, next: next.to_owned() }]
    }

    /// Some failures lead to `next`.
    pub fn of(errors: &[&'static str], next: &str) -> Self {
        Self { error_equals: errors.to_vec(), assign: Value::Null, next: next.to_owned() }
    }
}

/// A place in a machine. Places follow one another in this order; those that are empty are passed
/// over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Of several starts one goes on.
    Gather,
    /// What is there is checked.
    Before,
    /// Data are made ready.
    Prepare,
    /// They are looked at.
    Verify,
    /// A model is trained.
    Train,
    /// Models are asked.
    Ask,
    /// What they said is checked.
    After,
    /// The result is put together.
    Publish,
    /// People are told.
    Tell,
    /// The machine's good end.
    Done,
    /// More for [`Slot::Ask`] is fetched; that leads back to it.
    More,
}

/// What a segment must know of the others.
#[derive(Debug)]
pub struct Links {
    /// Where it leads when it is done.
    pub onward: Next,
    /// Under which conditions there is more to ask, and which state fetches it.
    pub more: Vec<Branch>,
}

/// Makes the states of a segment.
pub type States = Box<dyn Fn(&Links) -> Vec<(&'static str, State)>>;

/// Some states of a machine, contributed by a component.
pub struct Segment {
    /// Logical ID of the machine.
    pub machine: &'static str,
    /// Its place.
    pub slot: Slot,
    /// Its first state.
    pub entry: &'static str,
    /// Of [`Slot::More`]: the expression that is true when there is more.
    pub when: Option<&'static str>,
    /// Its states.
    pub states: States,
    /// What its `${…}` are.
    pub substitutions: Vec<(&'static str, Cfn)>,
    /// Its longest time.
    pub secs_max: u32,
}

/// A state machine, before its states are put together.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its logical ID.
    pub logical_id: &'static str,
    /// The end of its name.
    pub suffix: &'static str,
    /// Logical ID of its role.
    pub role: &'static str,
    /// What it does.
    pub comment: String,
    /// Time for everything that is in no segment's `secs_max`.
    pub reserve_secs: u32,
}

impl Machine {
    /// The definition: this machine's segments, linked.
    pub fn definition(&self, segments: &[&Segment]) -> Value {
        let mut own: Vec<&Segment> =
            segments.iter().copied().filter(|s| s.machine == self.logical_id).collect();
        own.sort_by_key(|segment| segment.slot);
        let first = |from: Slot| own.iter().find(|s| s.slot >= from).map(|s| s.entry);
        let more = own.iter().filter(|s| s.slot == Slot::More);
        let more: Vec<Branch> =
            more.filter_map(|s| Some(Branch::when(s.when?, Next::to(s.entry)))).collect();
        let states = own.iter().enumerate().flat_map(|(at, segment)| {
            let onward = match segment.slot {
                Slot::More => first(Slot::Ask),
                _ => own.get(at + 1).filter(|next| next.slot != Slot::More).map(|s| s.entry),
            };
            let onward = onward.map_or(Next::End(true), Next::to);
            let links = Links { onward, more: more.clone() };
            (segment.states)(&links)
        });
        let states: Map<String, Value> =
            states.map(|(name, state)| (name.to_owned(), json!(state))).collect();
        json!({
            "Comment": self.comment,
            "QueryLanguage": "JSONata",
            "TimeoutSeconds": self.reserve_secs + own.iter().map(|s| s.secs_max).sum::<u32>(),
            "StartAt": first(Slot::Gather),
            "States": states,
        })
    }
}
