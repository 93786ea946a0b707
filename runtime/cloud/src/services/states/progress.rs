//! What an execution has done so far, as its history tells it: the ground of a redrive, and of
//! going on after the process that ran it is gone.
//!
//! A state is unsuccessful when it was entered and not exited. Iterations of a Map and branches of
//! a Parallel are runs of states of their own, with variables of their own; those that ended are
//! kept, the others go on where they were. A Map or a Parallel that failed because of
//! `States.DataLimitExceeded` begins anew.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html>

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::interpreter::Failure;

/// Which run of states: the states around it and the numbers of their iterations or branches;
/// nothing is the whole execution.
pub type Place = Vec<(String, usize)>;

/// How far a run of states has come.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Reached {
    /// The state that is next or under way, and its input.
    pub state: Option<(String, Value)>,
    /// Whether that state was entered.
    pub entered: bool,
    /// Whether that state, a Map or a Parallel, began its iterations or branches.
    pub begun: bool,
    /// The Map Run of that state.
    pub map_run: Option<String>,
    /// What was seen of that state's work.
    pub seen: Seen,
    /// Variables that were assigned.
    pub variables: Map<String, Value>,
    /// Output of a run of states that has ended.
    pub output: Option<Value>,
}

/// What was seen of the work of a state that is under way.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Seen {
    /// When the state was entered.
    pub entered: Timestamp,
    /// When its last task began.
    pub scheduled: Timestamp,
    /// What its task waits for: a task token or an execution.
    pub awaited: Option<Awaited>,
    /// Failures of its tasks, the first at the front.
    pub failures: Vec<Failure>,
    /// When the last one was, if nothing was tried since.
    pub failed: Option<Timestamp>,
}

/// What a task waits for that goes on without it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Awaited {
    /// Somebody who has this token.
    Token(String),
    /// The execution of this ARN.
    Execution(String),
}

/// How far all runs of states have come.
#[derive(Debug, Default)]
pub struct Progress {
    runs: BTreeMap<Place, Reached>,
    is_resumed: bool,
}

/// A place as the events have it.
pub fn written(place: &Place) -> Value {
    json!(place)
}

impl Progress {
    /// Reads a history.
    pub fn of(events: &[Value]) -> Self {
        let mut progress = Self::default();
        for event in events {
            progress.follow(event);
        }
        progress
    }

    /// The same for a process that goes on with what another left under way. A redrive begins the
    /// state that did not succeed anew.
    pub fn resumed(self) -> Self {
        Self { is_resumed: true, ..self }
    }

    /// Whether a process goes on with what another left under way.
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// What tasks under way wait for.
    pub fn awaited(&self) -> impl Iterator<Item = &Awaited> {
        self.runs.values().filter_map(|reached| reached.seen.awaited.as_ref())
    }

    /// How far a run of states has come; it is told once.
    pub fn take(&mut self, place: &Place) -> Option<Reached> {
        self.runs.remove(place)
    }

    /// Whether a run of states has begun and was not taken.
    pub fn has(&self, place: &Place) -> bool {
        self.runs.contains_key(place)
    }

    /// Whether a run of states has ended and was not taken.
    pub fn is_done(&self, place: &Place) -> bool {
        self.runs.get(place).is_some_and(|reached| reached.output.is_some())
    }

    /// Forgets the iterations or branches of a state.
    pub fn forget(&mut self, place: &Place, state: &str) {
        let inside = |other: &Place| {
            other.starts_with(place) && other.get(place.len()).is_some_and(|(s, _)| s == state)
        };
        self.runs.retain(|other, _| !inside(other));
    }

    fn follow(&mut self, event: &Value) {
        let kind = event["type"].as_str().unwrap_or_default();
        let place: Place = serde_json::from_value(event["_at"].clone()).unwrap_or_default();
        let reached = self.runs.entry(place.clone()).or_default();
        if kind.ends_with("StateEntered") {
            let details = &event["stateEnteredEventDetails"];
            let name = details["name"].as_str().unwrap_or_default();
            reached.state = Some((name.to_owned(), parsed(&details["input"])));
            (reached.entered, reached.begun, reached.map_run) = (true, false, None);
            reached.seen = Seen { entered: time(event), ..Seen::default() };
        } else if kind.ends_with("StateExited") {
            reached.exit(event);
        } else if kind == "MapRunStarted" {
            let arn = &event["mapRunStartedEventDetails"]["mapRunArn"];
            reached.map_run = arn.as_str().map(str::to_owned);
        } else if matches!(kind, "MapStateStarted" | "ParallelStateStarted") {
            (reached.begun, reached.map_run) = (true, None);
            self.forget_inside(&place);
        } else if matches!(kind, "MapStateFailed" | "ParallelStateFailed")
            && event["_again"] == true
        {
            (reached.begun, reached.map_run) = (false, None);
            self.forget_inside(&place);
        } else {
            reached.seen.follow(kind, event);
        }
    }

    fn forget_inside(&mut self, place: &Place) {
        let state = self.runs.get(place).and_then(|reached| reached.state.clone());
        if let Some((name, _)) = state {
            self.forget(place, &name);
        }
    }
}

impl Seen {
    fn follow(&mut self, kind: &str, event: &Value) {
        match kind {
            "TaskScheduled" => {
                (self.scheduled, self.awaited, self.failed) = (time(event), None, None);
            }
            "TaskSubmitted" => {
                self.awaited = serde_json::from_value(event["_awaited"].clone()).ok();
            }
            "TaskFailed" => self.fail(event, "taskFailedEventDetails"),
            "TaskTimedOut" => self.fail(event, "taskTimedOutEventDetails"),
            _ => {}
        }
    }

    fn fail(&mut self, event: &Value, details: &str) {
        let text = |field: &str| event[details][field].as_str().unwrap_or_default();
        self.failures.push(Failure::new(text("error"), text("cause")));
        (self.awaited, self.failed) = (None, Some(time(event)));
    }
}

impl Reached {
    fn exit(&mut self, event: &Value) {
        let details = &event["stateExitedEventDetails"];
        let assigned = details["assignedVariables"].as_object().into_iter().flatten();
        self.variables.extend(assigned.map(|(name, value)| (name.clone(), parsed(value))));
        let output = parsed(&details["output"]);
        (self.entered, self.begun, self.map_run) = (false, false, None);
        self.seen = Seen::default();
        match event["_next"].as_str() {
            Some(next) => self.state = Some((next.to_owned(), output)),
            None => (self.state, self.output) = (None, Some(output)),
        }
    }
}

/// When an event was written.
fn time(event: &Value) -> Timestamp {
    let millis = event["timestamp"].as_f64().unwrap_or_default() * 1_000.0;
    Timestamp::from_millisecond(millis.round() as i64).unwrap_or_default()
}

/// Data stand in events as texts of JSON.
fn parsed(text: &Value) -> Value {
    text.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(name: &str, at: Value) -> Value {
        json!({
            "type": "XStateEntered", "_at": at,
            "stateEnteredEventDetails": { "name": name, "input": "1" },
        })
    }

    fn exited(name: &str, at: Value, next: Value) -> Value {
        json!({
            "type": "XStateExited", "_at": at, "_next": next,
            "stateExitedEventDetails": {
                "name": name, "output": "2", "assignedVariables": { "v": "[3]" },
            },
        })
    }

    #[test]
    fn what_was_entered_and_not_exited_is_unsuccessful() {
        let events = [
            entered("A", json!(null)),
            exited("A", json!(null), json!("M")),
            entered("M", json!(null)),
            json!({ "type": "MapStateStarted" }),
            entered("I", json!([["M", 0]])),
            entered("I", json!([["M", 1]])),
            exited("I", json!([["M", 0]]), json!(null)),
        ];
        let mut progress = Progress::of(&events);
        let whole = progress.take(&vec![]).expect("the whole");
        assert_eq!(whole.state, Some(("M".to_owned(), json!(1))));
        assert!(whole.entered && whole.begun);
        assert_eq!(whole.variables["v"], json!([3]));
        let first = progress.take(&vec![("M".to_owned(), 0)]).expect("the first");
        assert_eq!(first.output, Some(json!(2)));
        let second = progress.take(&vec![("M".to_owned(), 1)]).expect("the second");
        assert_eq!((second.output, second.entered), (None, true));
        assert!(!progress.has(&vec![("M".to_owned(), 2)]));
    }

    #[test]
    fn a_state_that_begins_anew_has_no_iterations() {
        let started = json!({ "type": "MapStateStarted" });
        let run =
            json!({ "type": "MapRunStarted", "mapRunStartedEventDetails": { "mapRunArn": "a" } });
        let begun =
            [entered("M", json!(null)), started.clone(), run, entered("I", json!([["M", 0]]))];
        let place = vec![("M".to_owned(), 0)];
        let mut progress = Progress::of(&begun);
        assert!(progress.has(&place));
        assert_eq!(progress.take(&vec![]).and_then(|r| r.map_run).as_deref(), Some("a"));
        let failed = json!({ "type": "MapStateFailed", "_again": true });
        for more in [started, failed, entered("M", json!(null))] {
            let is_entry = more["type"] == "XStateEntered";
            let events = [begun.to_vec(), vec![more]].concat();
            let mut progress = Progress::of(&events);
            assert_eq!(progress.has(&place), is_entry, "an entry is followed by a start");
            assert_eq!(progress.take(&vec![]).and_then(|r| r.map_run), None);
        }
    }
}
