//! Runs the children of a Map Run, in a task that outlives the parent: when that is stopped, its
//! children are stopped and what they gave is written, before the run counts as aborted.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::super::interpreter::{Failure, Machine, Outcome};
use super::super::{Execution, StateMachine, executions, limits, redrive};
use super::runs;
use super::writer::{Results, Writer, pending};
use crate::kernel::cloud::Cloud;
use crate::kernel::identity::Caller;

/// Children at once of a run, whatever it may have: each keeps a file open.
const CHILDREN_MAX: usize = 200;

/// What a child is to get.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// How many items it is for.
    pub items: u64,
    /// The input.
    pub input: Value,
}

impl Input {
    /// Of a new child.
    pub fn of(input: Value, items: u64) -> Self {
        Self { name: uuid::Uuid::new_v4().to_string(), items, input }
    }
}

/// Cares for a Map Run when its parent goes away.
pub struct Care {
    cloud: Arc<Cloud>,
    arn: String,
    parent_gone: CancellationToken,
    is_supervised: bool,
}

impl Care {
    /// For a run that nobody works on yet.
    pub fn of(cloud: &Arc<Cloud>, arn: String) -> Self {
        Self {
            cloud: cloud.clone(),
            arn,
            parent_gone: CancellationToken::new(),
            is_supervised: false,
        }
    }

    /// ARN of the run.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Lets the run be worked on until it ends.
    pub async fn hand_over(&mut self, supervisor: Supervisor) -> Outcome {
        self.is_supervised = true;
        let task = tokio::spawn(supervisor.run(self.parent_gone.clone()));
        task.await.unwrap_or_else(|error| {
            let cause = format!("the embedded cloud failed while it ran the Map Run: {error}");
            Err(Failure::new("States.Runtime", cause))
        })
    }
}

impl Drop for Care {
    fn drop(&mut self) {
        self.parent_gone.cancel();
        // A run that was handed over is ended by its supervisor.
        if !self.is_supervised {
            runs::end(&self.cloud, &self.arn, "ABORTED");
        }
    }
}

/// What is needed to run children.
pub struct Supervisor {
    cloud: Arc<Cloud>,
    caller: Caller,
    program: Arc<StateMachine>,
    writer: Writer,
    state: String,
    run: String,
    inputs: Vec<Input>,
}

/// How the children ended so far.
#[derive(Default)]
struct Tally {
    failed: u64,
    total: u64,
}

/// Why no more children are started.
enum Verdict {
    AllEnded,
    TooManyFailed,
    ParentGone,
}

impl Supervisor {
    /// For the children of a Map.
    pub fn new(
        machine: &Machine<'_>,
        map: &Value,
        writer: Writer,
        run: &str,
        inputs: Vec<Input>,
    ) -> Result<Self, Failure> {
        let labelled = runs::child_machine(run);
        let program = StateMachine {
            name: labelled.rsplit(':').next().unwrap_or_default().to_owned(),
            role: machine.program.role.clone(),
            definition: map["ItemProcessor"].clone(),
            created: machine.program.created,
        };
        Ok(Self {
            cloud: machine.cloud.clone(),
            caller: machine.caller.clone(),
            program: Arc::new(program),
            writer,
            state: labelled,
            run: run.to_owned(),
            inputs,
        })
    }

    /// Runs the children to their ends; the result of the state.
    async fn run(self, parent_gone: CancellationToken) -> Outcome {
        let verdict = self.children(&parent_gone).await;
        let result = self.finish(&verdict).await;
        match verdict {
            Verdict::ParentGone => runs::end(&self.cloud, &self.run, "ABORTED"),
            _ => runs::settle(&self.cloud, &self.run, &result),
        }
        result
    }

    async fn finish(&self, verdict: &Verdict) -> Outcome {
        let (results, written) = self.results();
        let size = limits::json_bytes(&Value::from(results.all.as_slice()));
        let finished = self.writer.finish(&self.cloud, &self.caller, &self.run, results).await;
        if finished.is_ok() && self.writer.has_files() {
            self.note_written(written);
        }
        match verdict {
            Verdict::ParentGone => {
                Err(Failure::new("States.Runtime", "the execution of the Map Run was stopped"))
            }
            Verdict::TooManyFailed => Err(Failure::new(
                "States.ExceedToleratedFailureThreshold",
                "The specified tolerated failure threshold was exceeded",
            )),
            Verdict::AllEnded => {
                if !self.writer.has_files() {
                    limits::check_bytes(&self.state, size)?;
                }
                finished
            }
        }
    }

    async fn children(&self, parent_gone: &CancellationToken) -> Verdict {
        let mut tally =
            Tally { failed: 0, total: self.inputs.iter().map(|input| input.items).sum() };
        let mut waiting = VecDeque::new();
        for input in &self.inputs {
            match self.cloud.services.states.executions.get(&self.arn(input)) {
                Some(child) if child.status == "SUCCEEDED" => {}
                Some(child) if self.is_lost(&child) => tally.failed += input.items,
                _ => waiting.push_back(input),
            }
        }
        let mut running = FuturesUnordered::new();
        let verdict = loop {
            // Before the look, so that no change is missed.
            let changed = self.cloud.services.states.map_runs_changed.notified();
            let limits =
                self.cloud.services.states.map_runs.get(&self.run).map(|run| run.limits.clone());
            if limits.as_ref().is_some_and(|l| l.are_exceeded(tally.failed, tally.total)) {
                break Verdict::TooManyFailed;
            }
            let wanted = limits.map_or(0, |l| usize::try_from(l.concurrency).unwrap_or(usize::MAX));
            let most = if wanted == 0 { CHILDREN_MAX } else { wanted.min(CHILDREN_MAX) };
            while running.len() < most
                && let Some(input) = waiting.pop_front()
            {
                running.push(self.child(input));
            }
            tokio::select! {
                biased;
                () = parent_gone.cancelled() => break Verdict::ParentGone,
                ended = running.next() => match ended {
                    Some(input) => tally.failed += self.failed_items(input),
                    None => break Verdict::AllEnded,
                },
                () = changed => {}
            }
        };
        for input in &self.inputs {
            executions::stop_child(&self.cloud, &self.arn(input));
        }
        while running.next().await.is_some() {}
        verdict
    }

    /// Whether a child is not run again: its last error is permanent, or it failed in this very
    /// attempt, which an earlier process began.
    fn is_lost(&self, child: &Execution) -> bool {
        let run = self.cloud.services.states.map_runs.get(&self.run);
        let since = run.map_or(Timestamp::MIN, |run| run.redriven.unwrap_or(run.started));
        child.stopped.is_some_and(|stopped| {
            stopped >= since || redrive::refusal(&self.cloud, child).is_some()
        })
    }

    fn arn(&self, input: &Input) -> String {
        runs::child_arn(&self.run, &input.name)
    }

    /// Runs a child, from its start or from where it was.
    async fn child<'i>(&self, input: &'i Input) -> &'i Input {
        let arn = self.arn(input);
        let launched = match self.cloud.services.states.executions.get(&arn) {
            Some(child) if child.stopped.is_none() => {
                Ok(executions::go_on(&self.cloud, arn.clone(), &child, self.program.clone()))
            }
            Some(_) => redrive::child(&self.cloud, &arn, self.program.clone()),
            None => executions::start_child(&self.cloud, &self.run, input, self.program.clone()),
        };
        match launched {
            // A task that panics settles nothing; the record then still says that it runs.
            Ok(task) => drop(task.await),
            Err(error) => tracing::error!("{arn} cannot be run: {error}"),
        }
        input
    }

    /// Items that failed: all of a child that did anything but succeed.
    fn failed_items(&self, input: &Input) -> u64 {
        let child = self.cloud.services.states.executions.get(&self.arn(input));
        if child.is_some_and(|child| child.status == "SUCCEEDED") { 0 } else { input.items }
    }

    fn results(&self) -> (Results, (u64, u64)) {
        let (mut results, mut written) = (Results::default(), (0, 0));
        for input in &self.inputs {
            let arn = self.arn(input);
            match self.cloud.services.states.executions.get(&arn) {
                Some(child) => {
                    self.writer.add(&self.cloud, &mut results, &arn, &child);
                    written = (written.0 + 1, written.1 + input.items);
                }
                None => results.pending.push(pending(&input.input)),
            }
        }
        (results, written)
    }

    fn note_written(&self, (children, items): (u64, u64)) {
        self.cloud.services.states.map_runs.settle(&self.run, |run| {
            (run.written, run.items_written) = (children, items);
        });
    }
}
