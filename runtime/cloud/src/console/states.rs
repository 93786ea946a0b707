//! What the history of an execution says of each of its states.

use jiff::Timestamp;
use serde_json::Value;

/// One visit of a state.
#[derive(Debug, Clone, PartialEq)]
pub struct Visit {
    /// The state.
    pub name: String,
    /// Its type: `Task`.
    pub kind: String,
    /// `RUNNING`, `SUCCEEDED`, `CAUGHT`, `FAILED` or `ABORTED`.
    pub status: &'static str,
    /// When it began.
    pub entered: Timestamp,
    /// When it ended.
    pub exited: Option<Timestamp>,
    /// Its input.
    pub input: Option<String>,
    /// Its output.
    pub output: Option<String>,
    /// The last error in it, and how often there was one.
    pub error: Option<(String, String)>,
    /// Attempts that failed.
    pub failures: usize,
}

/// Details of an event: the one member that has them.
pub fn details(event: &Value) -> Option<&Value> {
    let members = event.as_object()?;
    members.iter().find(|(name, _)| name.ends_with("EventDetails")).map(|(_, details)| details)
}

/// When an event was.
pub fn time_of(event: &Value) -> Option<Timestamp> {
    Timestamp::from_millisecond((event["timestamp"].as_f64()? * 1e3).round() as i64).ok()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The visits, in the order in which they began. Branches that are at work at the same time are
/// told apart by the names of their states; an error belongs to the state that was entered last.
pub fn visits(events: &[Value], status: &str) -> Vec<Visit> {
    let mut visits: Vec<Visit> = Vec::new();
    for event in events {
        let kind = event["type"].as_str().unwrap_or_default();
        let Some(time) = time_of(event) else { continue };
        let nothing = Value::Null;
        let about = details(event).unwrap_or(&nothing);
        if let Some(of) = kind.strip_suffix("StateEntered") {
            visits.push(entered(of, about, time));
        } else if kind.ends_with("StateExited") {
            if let Some(visit) = open(&mut visits, about["name"].as_str()) {
                visit.exited = Some(time);
                visit.output = text(&about["output"]);
                visit.status = if visit.error.is_some() { "CAUGHT" } else { "SUCCEEDED" };
            }
        } else if is_failure(kind) {
            if let Some(visit) = open(&mut visits, None) {
                let word = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
                if !word("error").is_empty() || visit.error.is_none() {
                    visit.error = Some((word("error"), word("cause")));
                }
                visit.failures += usize::from(is_attempt(kind));
            }
        } else if is_attempt(kind)
            && kind.ends_with("Succeeded")
            && let Some(visit) = open(&mut visits, None)
        {
            // What was tried again and went well.
            visit.error = None;
        }
    }
    end(&mut visits, status);
    visits
}

fn entered(kind: &str, about: &Value, time: Timestamp) -> Visit {
    Visit {
        name: text(&about["name"]).unwrap_or_default(),
        kind: kind.to_owned(),
        status: "RUNNING",
        entered: time,
        exited: None,
        input: text(&about["input"]),
        output: None,
        error: None,
        failures: 0,
    }
}

/// The last visit that has not ended, of a state or of any.
fn open<'v>(visits: &'v mut [Visit], name: Option<&str>) -> Option<&'v mut Visit> {
    let is_it =
        |visit: &&mut Visit| visit.exited.is_none() && name.is_none_or(|name| visit.name == name);
    visits.iter_mut().rev().find(is_it)
}

/// Whether an event is of what a state calls, and not of the state itself.
fn is_attempt(kind: &str) -> bool {
    ["Task", "Lambda", "Activity"].iter().any(|begin| kind.starts_with(begin))
        && !kind.contains("State")
}

fn is_failure(kind: &str) -> bool {
    ["Failed", "TimedOut", "Aborted"].iter().any(|end| kind.ends_with(end))
}

/// What an execution that has ended did not finish.
fn end(visits: &mut [Visit], status: &str) {
    if status == "RUNNING" {
        return;
    }
    for visit in visits.iter_mut().filter(|visit| visit.exited.is_none()) {
        visit.status = match visit.kind.as_str() {
            "Succeed" => "SUCCEEDED",
            "Fail" => "FAILED",
            _ if visit.error.is_some() => "FAILED",
            // A Parallel or a Map fails with what is in it.
            "Parallel" | "Map" if status == "FAILED" => "FAILED",
            _ => "ABORTED",
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: u64, kind: &str, member: &str, details: Value) -> Value {
        json!({ "id": id, "timestamp": id as f64, "type": kind, (member): details })
    }

    fn entered(id: u64, kind: &str, name: &str) -> Value {
        event(
            id,
            &format!("{kind}StateEntered"),
            "stateEnteredEventDetails",
            json!({ "name": name, "input": "{}" }),
        )
    }

    fn exited(id: u64, kind: &str, name: &str) -> Value {
        event(
            id,
            &format!("{kind}StateExited"),
            "stateExitedEventDetails",
            json!({ "name": name, "output": "1" }),
        )
    }

    fn failed(id: u64) -> Value {
        event(
            id,
            "TaskFailed",
            "taskFailedEventDetails",
            json!({ "error": "E", "cause": "because" }),
        )
    }

    #[test]
    fn states_have_what_their_events_say() {
        let succeeded = event(4, "TaskSucceeded", "taskSucceededEventDetails", json!({}));
        let events = [
            entered(1, "Task", "Retried"),
            failed(2),
            failed(3),
            succeeded,
            exited(5, "Task", "Retried"),
            entered(6, "Task", "Caught"),
            failed(7),
            exited(8, "Task", "Caught"),
            entered(9, "Task", "Last"),
            failed(10),
            event(11, "ExecutionFailed", "executionFailedEventDetails", json!({ "error": "E" })),
        ];
        let all = visits(&events, "FAILED");
        let seen: Vec<_> = all.iter().map(|v| (v.name.as_str(), v.status, v.failures)).collect();
        assert_eq!(
            seen,
            [("Retried", "SUCCEEDED", 2), ("Caught", "CAUGHT", 1), ("Last", "FAILED", 1)]
        );
        assert_eq!(all[1].error, Some(("E".to_owned(), "because".to_owned())));
        assert_eq!(visits(&events[..9], "RUNNING")[2].status, "RUNNING");
        assert_eq!(visits(&events[..9], "ABORTED")[2].status, "ABORTED");
    }

    #[test]
    fn branches_at_work_at_the_same_time_are_told_apart() {
        let events = [
            entered(1, "Parallel", "Both"),
            entered(2, "Pass", "A"),
            entered(3, "Pass", "B"),
            exited(4, "Pass", "A"),
            exited(5, "Pass", "B"),
            exited(6, "Parallel", "Both"),
        ];
        let all = visits(&events, "SUCCEEDED");
        assert!(all.iter().all(|v| v.status == "SUCCEEDED"), "{all:?}");
        assert_eq!(all[1].exited, Timestamp::from_second(4).ok());
    }
}
