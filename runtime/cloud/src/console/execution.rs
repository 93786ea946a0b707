//! One execution: its graph, its states with what went in and came out, its errors, its history.

use std::sync::Arc;

use maud::{Markup, html};
use serde_json::{Value, json};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::graph::{self, Statuses};
use super::html::{
    api_time, arn, facts, json as shown_json, json_text, link, maybe_time, section, short, status,
    text, time, took,
};
use super::links::to;
use super::states::{Visit, details, visits};
use super::table::{onward, paged, table};
use crate::services::states::Execution;

/// Events that states are made of.
const EVENTS_MAX: usize = 5_000;
/// Events of one page of the API.
const PAGE: usize = 1_000;
/// Events of one page of the history.
const HISTORY_PAGE: usize = 100;
/// Characters of a cause in a table.
const CAUSE_CHARS: usize = 300;

fn find(ask: &Ask) -> Result<(&str, Arc<Execution>), Problem> {
    let arn = ask.required("arn")?;
    let found = ask.cloud.services.states.executions.get(arn);
    Ok((arn, found.ok_or_else(|| Problem::absent(format!("There is no execution {arn}.")))?))
}

/// What the execution was started with, or what its machine has now.
fn definition(ask: &Ask, execution: &Execution) -> Option<Value> {
    let states = &ask.cloud.services.states;
    let kept = execution.definition.as_ref().and_then(|name| states.definitions.get(name));
    kept.map(|definition| (*definition).clone())
        .or_else(|| Some(states.machines.get(&execution.machine)?.definition.clone()))
}

/// Events from the beginning, and whether that is not all.
async fn events(ask: &Ask, arn: &str) -> Result<(Vec<Value>, bool), Problem> {
    let (mut all, mut token) = (Vec::new(), Value::Null);
    while all.len() < EVENTS_MAX {
        let params = json!({ "executionArn": arn, "maxResults": PAGE, "nextToken": token });
        let mut answer = ask.read("states", "GetExecutionHistory", params).await?;
        if let Value::Array(events) = answer["events"].take() {
            all.extend(events);
        }
        token = answer["nextToken"].take();
        if token.is_null() {
            return Ok((all, false));
        }
    }
    Ok((all, true))
}

/// The page.
pub async fn page(ask: &Ask) -> Result<Answer, Problem> {
    let (arn, execution) = find(ask)?;
    let (events, is_cut) = events(ask, arn).await?;
    let visits = visits(&events, &execution.status);
    let drawn = definition(ask, &execution).and_then(|d| graph::drawn(&d, &statuses(&visits)));
    let body = html! {
        (about(arn, &execution))
        @if let Some((error, cause)) = &execution.failure {
            (section("Error", &html! {
                p { strong { (error) } }
                (json_text("Cause", cause))
            }))
        }
        (map_runs(ask, arn).await?)
        @if let Some(drawn) = drawn { (section("Graph", &drawn)) }
        (section("States", &html! {
            @if is_cut { p.quiet { "Of the first " (EVENTS_MAX) " events." } }
            (states(ask, visits))
        }))
        (section("Input", &shown_json("Input", &execution.input)))
        @if let Some(output) = &execution.output {
            (section("Output", &shown_json("Output", output)))
        }
        p { (link(&to("history", &[("arn", arn)]), "All events of its history")) }
    };
    let title = if execution.name.is_empty() { arn } else { &execution.name };
    let page = Page::new(title, body).below("State machines", to("machines", &[]));
    let machine = execution.machine.rsplit(':').next().unwrap_or_default();
    let page = page.below(machine, to("machine", &[("arn", &execution.machine)]));
    Ok(page.moving(execution.status == "RUNNING").into())
}

fn about(execution_arn: &str, execution: &Execution) -> Markup {
    facts(vec![
        ("Status", status(&execution.status)),
        ("ARN", text(execution_arn)),
        ("State machine", arn(&execution.machine)),
        ("Map Run", execution.map_run.as_deref().map_or_else(|| text(""), arn)),
        ("Started", time(execution.started)),
        ("Stopped", maybe_time(execution.stopped)),
        ("Took", took(execution.started, execution.stopped)),
        ("Redrives", text(&execution.redrives.to_string())),
        ("Redriven", maybe_time(execution.redriven)),
    ])
}

/// The last status of each state, and how often it was visited.
fn statuses(visits: &[Visit]) -> Statuses {
    let mut statuses = Statuses::new();
    for visit in visits {
        let entry = statuses.entry(visit.name.clone()).or_insert((visit.status, 0));
        // Of many visits the worst is told.
        let is_worse = matches!(visit.status, "FAILED" | "RUNNING") || entry.0 == "SUCCEEDED";
        *entry =
            (if is_worse && entry.0 != "FAILED" { visit.status } else { entry.0 }, entry.1 + 1);
    }
    statuses
}

fn states(ask: &Ask, visits: Vec<Visit>) -> Markup {
    let (shown, pager) = paged(ask, "execution", visits);
    let rows: Vec<Vec<Markup>> = shown.iter().map(row).collect();
    let columns = ["State", "Type", "Status", "Entered", "#Took", "Error", "Input and output"];
    html! { (table("States", &columns, &rows)) (pager) }
}

fn row(visit: &Visit) -> Vec<Markup> {
    let error = html! {
        @if let Some((error, cause)) = &visit.error {
            strong { (error) } " " (short(cause, CAUSE_CHARS))
        }
        @if visit.failures > 1 { " (" (visit.failures) " attempts failed)" }
    };
    let data = html! {
        @for (name, data) in [("Input", &visit.input), ("Output", &visit.output)] {
            @if let Some(data) = data { details { summary { (name) } (json_text(name, data)) } }
        }
    };
    vec![
        text(&visit.name),
        text(&visit.kind),
        status(visit.status),
        time(visit.entered),
        took(visit.entered, visit.exited),
        error,
        data,
    ]
}

async fn map_runs(ask: &Ask, execution: &str) -> Result<Markup, Problem> {
    let answer = ask
        .read("states", "ListMapRuns", json!({ "executionArn": execution, "maxResults": 100 }))
        .await?;
    let rows: Vec<Vec<Markup>> = answer["mapRuns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|run| {
            let run_arn = run["mapRunArn"].as_str().unwrap_or_default();
            let status_of = ask.cloud.services.states.map_runs.get(run_arn);
            vec![
                arn(run_arn),
                status(status_of.as_ref().map_or("", |run| run.status.as_str())),
                api_time(&run["startDate"]),
                api_time(&run["stopDate"]),
            ]
        })
        .collect();
    Ok(match rows.is_empty() {
        true => html! {},
        false => section(
            "Map Runs",
            &table("Map Runs", &["Map Run", "Status", "Started", "Stopped"], &rows),
        ),
    })
}

/// The history, page by page.
pub async fn history(ask: &Ask) -> Result<Answer, Problem> {
    let (arn, execution) = find(ask)?;
    let is_backwards = ask.text("backwards").is_some();
    let params = json!({
        "executionArn": arn, "maxResults": HISTORY_PAGE, "nextToken": ask.text("events"),
        "reverseOrder": is_backwards,
    });
    let answer = ask.read("states", "GetExecutionHistory", params).await?;
    let rows: Vec<Vec<Markup>> = answer["events"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|event| {
            let about = details(event);
            let name = about.and_then(|details| details["name"].as_str()).unwrap_or_default();
            let about = about.map(|details| {
                html! {
                    details { summary { "Show" } (shown_json("Details", details)) }
                }
            });
            vec![
                text(&event["id"].to_string()),
                text(event["type"].as_str().unwrap_or_default()),
                text(name),
                api_time(&event["timestamp"]),
                about.unwrap_or_else(|| text("")),
            ]
        })
        .collect();
    let other = match is_backwards {
        true => link(&to("history", &[("arn", arn)]), "Oldest first"),
        false => link(&to("history", &[("arn", arn), ("backwards", "1")]), "Newest first"),
    };
    let body = html! {
        p { (other) }
        (table("Events", &["#ID", "Type", "Name", "When", "Details"], &rows))
        (onward(ask, "history", "events", answer["nextToken"].as_str()))
    };
    let page = Page::new("History", body).below("State machines", to("machines", &[]));
    Ok(page.below(&execution.name, to("execution", &[("arn", arn)])).into())
}
