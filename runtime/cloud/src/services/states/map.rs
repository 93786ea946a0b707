//! Map states: iterations inside the execution (INLINE), or executions of their own (DISTRIBUTED,
//! in [`runs`]).
//! <https://docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html>,
//! <https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html>

pub mod api;
mod batcher;
mod csv;
mod reader;
pub mod runs;
mod settings;
mod supervisor;
mod writer;

use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

pub use settings::{check, check_labels};
pub use supervisor::Input as ChildInput;

use self::runs::Limits;
use self::supervisor::{Care, Input, Supervisor};
use super::interpreter::{Begun, Failure, Frame, Machine, Outcome};
use super::limits;

/// Iterations at once when an inline Map sets no limit, as in AWS.
const CONCURRENCY_DEFAULT: usize = 40;

/// A Map state and what it works on.
struct State<'s> {
    name: &'s str,
    fields: &'s Value,
    input: &'s Value,
    frame: &'s Frame,
}

impl Machine<'_> {
    /// Runs a Map.
    pub async fn map(
        &self,
        (name, fields): (&str, &Value),
        input: &Value,
        frame: &Frame,
        begun: Begun,
    ) -> Outcome {
        let state = State { name, fields, input, frame };
        if settings::is_distributed(fields) {
            return self.distributed(&state, begun).await;
        }
        let items = self.items(&state).await?;
        if !begun.is_begun {
            let length = json!({ "length": items.len() });
            let details = json!({ "mapStateStartedEventDetails": length });
            self.begin(name, frame, "MapStateStarted", details);
        }
        let limit = fields["MaxConcurrency"].as_u64().filter(|n| *n > 0);
        let limit = limit.map_or(CONCURRENCY_DEFAULT, |n| n as usize);
        let numbered = items.into_iter().enumerate();
        let iterations = numbered.map(|(index, item)| self.iteration(&state, index, item));
        let mut iterations = futures::stream::iter(iterations).buffered(limit);
        let (mut outputs, mut bytes) = (Vec::new(), 0);
        while let Some(output) = iterations.try_next().await? {
            // Told as soon as it is certain, so that what cannot be handed on is not gathered
            // either.
            bytes += limits::json_bytes(&output);
            limits::check_bytes(name, bytes)?;
            outputs.push(output);
        }
        self.tell(frame, "MapStateSucceeded", json!({}));
        Ok(Value::from(outputs))
    }

    /// The items of a Map that come from its input.
    async fn items(&self, state: &State<'_>) -> Result<Vec<Value>, Failure> {
        let items = match state.fields.get("Items") {
            Some(template) => {
                let scope = self.scope(state.name, state.input, state.frame, None);
                scope.fill(template).await?
            }
            None => state.input.clone(),
        };
        match items {
            Value::Array(items) => Ok(items),
            _ => Err(Failure::new(
                "States.QueryEvaluationError",
                "The Items of the Map are not an array.",
            )),
        }
    }

    /// What an iteration gets for an item.
    async fn selected(&self, state: &State<'_>, frame: &Frame, item: Value) -> Outcome {
        let selected = match state.fields.get("ItemSelector") {
            Some(template) => {
                self.scope(state.name, state.input, frame, None).fill(template).await?
            }
            None => item,
        };
        limits::check_data(state.name, &selected)?;
        Ok(selected)
    }

    async fn iteration(&self, state: &State<'_>, index: usize, item: Value) -> Outcome {
        let mut frame = state.frame.inside(state.name, index);
        frame.map = Some(json!({ "Index": index, "Value": item }));
        let details = |kind: &str| {
            json!({ (format!("mapIteration{kind}EventDetails")): {
                "name": state.name, "index": index,
            } })
        };
        // What was begun before has its input.
        let is_begun = self.progress.lock().has(&frame.place);
        let selected = match is_begun {
            true => Value::Null,
            false => self.selected(state, &frame, item).await?,
        };
        if !is_begun {
            self.tell(state.frame, "MapIterationStarted", details("Started"));
        }
        let was_done = self.progress.lock().is_done(&frame.place);
        let result = self.states(&state.fields["ItemProcessor"], selected, frame).await;
        if !was_done {
            let kind = if result.is_ok() { "Succeeded" } else { "Failed" };
            self.tell(state.frame, &format!("MapIteration{kind}"), details(kind));
        }
        result
    }

    /// Runs a Map whose items are executions of their own.
    async fn distributed(&self, state: &State<'_>, begun: Begun) -> Outcome {
        let resumed = begun.map_run.filter(|arn| self.cloud.services.states.map_runs.contains(arn));
        let items = match (&resumed, state.fields.get("ItemReader")) {
            (None, None) => Some(self.items(state).await?),
            _ => None,
        };
        let mut care = match resumed {
            Some(arn) => self.resume(state, arn, begun.seen.is_some()).await?,
            None => {
                let length = json!({ "length": items.as_ref().map_or(0, Vec::len) });
                let details = json!({ "mapStateStartedEventDetails": length });
                self.begin(state.name, state.frame, "MapStateStarted", details);
                self.start(state).await?
            }
        };
        let arn = care.arn().to_owned();
        let result = self.work(state, items, &mut care).await;
        runs::settle(self.cloud, &arn, &result);
        match &result {
            Ok(_) => {
                self.tell(state.frame, "MapRunSucceeded", json!({}));
                self.tell(state.frame, "MapStateSucceeded", json!({}));
            }
            Err(failure) => {
                let details = json!({ "error": failure.error, "cause": failure.cause });
                let details = json!({ "mapRunFailedEventDetails": details });
                self.tell(state.frame, "MapRunFailed", details);
            }
        }
        result
    }

    /// Begins a Map Run. The role is asked for what AWS documents as the least that it needs.
    async fn start(&self, state: &State<'_>) -> Result<Care, Failure> {
        let machine = self.execution.machine.as_str();
        self.allowed("states:StartExecution", machine)?;
        self.allowed("states:DescribeExecution", self.arn)?;
        let label = settings::label(machine, state.name, state.fields);
        let limits = Limits::of(state.fields);
        let arn = runs::create(self.cloud, self.arn, machine, &label, limits)?;
        let details = json!({ "mapRunStartedEventDetails": { "mapRunArn": arn } });
        self.tell(state.frame, "MapRunStarted", details);
        Ok(Care::of(self.cloud, arn))
    }

    /// Goes on with a Map Run, once what is left of its last attempt has ended; with one that an
    /// earlier process left under way (`is_left`), as if nothing had happened.
    async fn resume(&self, state: &State<'_>, arn: String, is_left: bool) -> Result<Care, Failure> {
        if is_left && runs::is_running(self.cloud, &arn) {
            return Ok(Care::of(self.cloud, arn));
        }
        let redrives = runs::redrive(self.cloud, &arn).await?;
        if let Some(redrives) = redrives {
            let details = json!({ "mapRunArn": arn, "redriveCount": redrives });
            let details = json!({ "mapRunRedrivenEventDetails": details });
            self.tell(state.frame, "MapRunRedriven", details);
        }
        Ok(Care::of(self.cloud, arn))
    }

    /// Asks for a permission that a Map Run needs.
    fn allowed(&self, action: &str, resource: &str) -> Result<(), Failure> {
        let asked = self.cloud.authorize(&self.caller, action, resource, &[]);
        asked.map_err(|error| Failure::new("States.Permissions", error.message))
    }

    /// Reads what there is to do, unless it is known, and lets it be done.
    async fn work(&self, state: &State<'_>, items: Option<Vec<Value>>, care: &mut Care) -> Outcome {
        let scope = self.scope(state.name, state.input, state.frame, None);
        let writer = writer::Writer::of(&state.fields["ResultWriter"], &scope).await?;
        writer.check(self, care.arn())?;
        let inputs = match runs::inputs(self.cloud, care.arn())? {
            Some(inputs) => inputs,
            None => {
                let inputs = self.inputs(state, items).await?;
                runs::keep_inputs(self.cloud, care.arn(), &inputs)?;
                inputs
            }
        };
        self.may_redrive(care.arn(), &inputs)?;
        let supervisor = Supervisor::new(self, state.fields, writer, care.arn(), inputs)?;
        care.hand_over(supervisor).await
    }

    /// The inputs of all children: items, selected and batched.
    async fn inputs(
        &self,
        state: &State<'_>,
        items: Option<Vec<Value>>,
    ) -> Result<Vec<Input>, Failure> {
        let scope = self.scope(state.name, state.input, state.frame, None);
        let items = match items {
            Some(items) => items,
            None => match state.fields.get("ItemReader") {
                Some(reader) => reader::read(self, reader, &scope).await?,
                None => self.items(state).await?,
            },
        };
        let mut selected = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let mut frame = state.frame.clone();
            frame.map = Some(json!({ "Index": index, "Value": item }));
            selected.push(self.selected(state, &frame, item).await?);
        }
        match state.fields.get("ItemBatcher") {
            Some(batcher) => batcher::batches(state.name, batcher, &scope, selected).await,
            None => Ok(selected.into_iter().map(|item| Input::of(item, 1)).collect()),
        }
    }

    /// Children that ran before are redriven, for which the role needs a permission of its own.
    fn may_redrive(&self, run: &str, inputs: &[Input]) -> Result<(), Failure> {
        let mut children = inputs.iter().map(|input| runs::child_arn(run, &input.name));
        let ran = children.find(|arn| {
            self.cloud
                .services
                .states
                .executions
                .get(arn)
                .is_some_and(|child| child.stopped.is_some() && child.status != "SUCCEEDED")
        });
        ran.map_or(Ok(()), |arn| self.allowed("states:RedriveExecution", &arn))
    }
}
