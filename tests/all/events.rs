//! What a program is told by `--json`.

use std::collections::BTreeSet;

use serde_json::Value;
use steppe_plan::events::{Event, Outcome, SCHEMA};

use crate::checkout::Checkout;
use crate::tools::root;

/// What a command told, each line held against the events that there are.
fn told(checkout: &Checkout, arguments: &[&str]) -> Vec<Event> {
    let said = checkout.run(&[arguments, &["--json"]].concat());
    assert_eq!(said.err, "", "{arguments:?}");
    let events: Vec<Event> = said.out.lines().map(event).collect();
    let (first, last) = (events.first().expect("events"), events.last().expect("events"));
    assert!(matches!(first, Event::Began { verb } if verb == arguments[0]), "{first:?}");
    let Event::Ended { exit_code, .. } = last else { panic!("{last:?}") };
    assert_eq!(Some(i32::from(*exit_code)), said.code);
    events
}

/// The event of a line, which has nothing that the event has not.
fn event(line: &str) -> Event {
    let mut document: Value = serde_json::from_str(line).expect("JSON");
    let event: Event = serde_json::from_value(document.clone()).expect("an event");
    let fields = document.as_object_mut().expect("an object");
    assert_eq!(fields.remove("schema"), Some(SCHEMA.into()));
    let at = fields.remove("at").expect("a time");
    assert!(at.as_str().is_some_and(|at| at.parse::<jiff::Timestamp>().is_ok()), "{at}");
    assert_eq!(serde_json::to_value(&event).expect("JSON"), document);
    event
}

fn results(events: &[Event]) -> Vec<&Value> {
    let mut found = Vec::new();
    for event in events {
        if let Event::Result { result } = event {
            found.push(result);
        }
    }
    found
}

#[test]
fn a_program_is_told_every_event_and_each_is_documented() {
    let checkout = Checkout::new();
    let page = std::fs::read_to_string(root().join("docs/events.md")).expect("readable");
    let mut names = BTreeSet::new();
    for verb in ["plan", "deploy", "smoke-test", "drift", "outputs", "destroy"] {
        let events = told(&checkout, &[verb]);
        assert_eq!(results(&events).len(), 1, "{verb}: {events:?}");
        assert!(
            matches!(events.last(), Some(Event::Ended { outcome: Outcome::Done, .. })),
            "{verb}: {events:?}"
        );
        for event in &events {
            let json = serde_json::to_value(event).expect("JSON");
            let name = |tag: &str| json[tag].as_str().map(|name| format!("| `{name}` |"));
            names.extend(["event", "step", "fact", "finding"].iter().filter_map(|tag| name(tag)));
        }
    }
    for name in &names {
        assert!(page.contains(name.as_str()), "docs/events.md has no {name}");
    }
    assert!(names.len() > 30, "{names:?}");
}

#[test]
fn an_error_has_its_causes_and_hints_as_fields() {
    let checkout = Checkout::new();
    let events = told(&checkout, &["train", "--data", "docs/pipeline.schema.json"]);
    let Event::Error { message, causes, hints } = &events[events.len() - 2] else {
        panic!("{events:?}")
    };
    assert_eq!(message, "cannot read the data docs/pipeline.schema.json");
    assert_eq!(causes, &["the file is JSON"]);
    assert_eq!(hints, &["`format = \"json\"` of the input in the manifest reads it"]);
    assert!(results(&events).is_empty());
}
