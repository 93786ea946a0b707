//! State machines, their executions, and Map Runs.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::graph::{self, Statuses};
use super::html::{
    api_time, arn, facts, folded, json as shown_json, link, maybe_time, of, section, status, text,
    time, took,
};
use super::links::to;
use super::table::{onward, paged, table};

/// All state machines.
pub async fn list(ask: &Ask) -> Result<Answer, Problem> {
    let states = &ask.cloud.services.states;
    let (machines, pager) = paged(ask, "machines", states.machines.all());
    let executions = states.executions.texts(["machine", "status"]);
    let count = |arn: &str, wanted: Option<&str>| {
        let of = |(_, [machine, status]): &&(String, [Option<String>; 2])| {
            machine.as_deref() == Some(arn) && (wanted.is_none() || status.as_deref() == wanted)
        };
        text(&executions.iter().filter(of).count().to_string())
    };
    let rows: Vec<Vec<Markup>> = machines
        .iter()
        .map(|(machine, about)| {
            vec![
                link(&to("machine", &[("arn", machine)]), &about.name),
                count(machine, None),
                count(machine, Some("RUNNING")),
                count(machine, Some("FAILED")),
                time(about.created),
            ]
        })
        .collect();
    let body = html! {
        (table("State machines", &["Name", "#Executions", "#Running", "#Failed", "Created"], &rows))
        (pager)
    };
    Ok(Page::new("State machines", body).into())
}

/// One state machine.
pub async fn one(ask: &Ask) -> Result<Answer, Problem> {
    let machine = ask.required("arn")?;
    let found = ask.cloud.services.states.machines.get(machine);
    let found =
        found.ok_or_else(|| Problem::absent(format!("There is no state machine {machine}.")))?;
    let drawn = graph::drawn(&found.definition, &Statuses::new());
    let (shown, is_moving) = executions(ask, machine);
    let body = html! {
        (facts(vec![
            ("ARN", text(machine)),
            ("Role", arn(&found.role)),
            ("Created", time(found.created)),
            ("Comment", of(&found.definition["Comment"])),
        ]))
        (section("Executions, newest first", &shown))
        @if let Some(drawn) = drawn { (section("Graph", &drawn)) }
        (folded("Definition", &shown_json("Definition", &found.definition)))
    };
    let page = Page::new(&found.name, body).below("State machines", to("machines", &[]));
    Ok(page.moving(is_moving).into())
}

/// Executions of a machine; rows are read of those that are shown only.
fn executions(ask: &Ask, machine: &str) -> (Markup, bool) {
    let table_of = &ask.cloud.services.states.executions;
    let mut all = table_of.texts(["machine", "started", "status"]);
    all.retain(|(_, [own, ..])| own.as_deref() == Some(machine));
    all.sort_by(|(_, [_, one, _]), (_, [_, other, _])| other.cmp(one));
    let is_moving = all.iter().any(|(_, [.., status])| status.as_deref() == Some("RUNNING"));
    let (shown, pager) = paged(ask, "machine", all);
    let rows: Vec<Vec<Markup>> = shown
        .iter()
        .filter_map(|(arn, _)| {
            let execution = table_of.get(arn)?;
            let error = execution.failure.as_ref().map_or("", |(error, _)| error.as_str());
            Some(vec![
                link(&to("execution", &[("arn", arn)]), &execution.name),
                status(&execution.status),
                text(error),
                time(execution.started),
                maybe_time(execution.stopped),
                took(execution.started, execution.stopped),
            ])
        })
        .collect();
    let columns = ["Name", "Status", "Error", "Started", "Stopped", "#Took"];
    (html! { (table("Executions", &columns, &rows)) (pager) }, is_moving)
}

/// A Map Run with its children.
pub async fn map_run(ask: &Ask) -> Result<Answer, Problem> {
    let run = ask.required("arn")?;
    let about = ask.read("states", "DescribeMapRun", json!({ "mapRunArn": run })).await?;
    let params = json!({ "mapRunArn": run, "maxResults": 100, "nextToken": ask.text("children") });
    let children = ask.read("states", "ListExecutions", params).await?;
    let rows: Vec<Vec<Markup>> = children["executions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|child| {
            let child_arn = child["executionArn"].as_str().unwrap_or_default();
            vec![
                link(
                    &to("execution", &[("arn", child_arn)]),
                    child["name"].as_str().unwrap_or_default(),
                ),
                status(child["status"].as_str().unwrap_or_default()),
                of(&child["itemCount"]),
                api_time(&child["startDate"]),
                api_time(&child["stopDate"]),
            ]
        })
        .collect();
    let state = about["status"].as_str().unwrap_or_default();
    let body = html! {
        (facts(vec![
            ("Status", status(state)),
            ("ARN", text(run)),
            ("Execution", arn(about["executionArn"].as_str().unwrap_or_default())),
            ("Started", api_time(&about["startDate"])),
            ("Stopped", api_time(&about["stopDate"])),
            ("Concurrency, at most", of(&about["maxConcurrency"])),
            ("Tolerated failures", of(&about["toleratedFailureCount"])),
            ("Tolerated failures, percent", of(&about["toleratedFailurePercentage"])),
        ]))
        (section("Counts", &counts(&about)))
        (section("Children", &html! {
            (table("Children", &["Name", "Status", "#Items", "Started", "Stopped"], &rows))
            (onward(ask, "map_run", "children", children["nextToken"].as_str()))
        }))
    };
    let page = Page::new("Map Run", body).below("State machines", to("machines", &[]));
    Ok(page.moving(state == "RUNNING").into())
}

fn counts(about: &Value) -> Markup {
    let names = [
        ("total", "Total"),
        ("pending", "Pending"),
        ("running", "Running"),
        ("succeeded", "Succeeded"),
        ("failed", "Failed"),
        ("timedOut", "Timed out"),
        ("aborted", "Aborted"),
        ("resultsWritten", "Results written"),
    ];
    let row = |(name, title): &(&str, &str)| {
        vec![text(title), of(&about["executionCounts"][*name]), of(&about["itemCounts"][*name])]
    };
    table("Counts", &["What", "#Executions", "#Items"], &names.iter().map(row).collect::<Vec<_>>())
}
