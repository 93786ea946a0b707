//! Jobs of Glue with their runs, and crawlers with their crawls.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{
    api_time, arn, facts, folded, json as shown_json, link, maybe_time, of, section, status, text,
    time, took,
};
use super::links::{of_s3, to};
use super::logs;
use super::mask::{MASK, hidden, is_secret};
use super::table::{paged, table};
use crate::services::glue::Job;

/// Lines of a log that are shown of each kind.
const LINES: usize = 60;
/// Where Glue writes what jobs say, where their arguments do not say it.
const LOG_GROUPS: &str = "/aws-glue/jobs";
const CRAWLERS_LOG_GROUP: &str = "/aws-glue/crawlers";

/// All jobs and crawlers.
pub async fn list(ask: &Ask) -> Result<Answer, Problem> {
    let glue = &ask.cloud.services.glue;
    let runs = glue.job_runs.texts(["job", "state", "started"]);
    let rows: Vec<Vec<Markup>> = glue
        .jobs
        .all()
        .iter()
        .map(|(name, job)| {
            let own = runs.iter().filter(|(_, [job, ..])| job.as_deref() == Some(name));
            let newest = own.clone().max_by(|(_, [.., one]), (_, [.., other])| one.cmp(other));
            let state = newest.and_then(|(_, [_, state, _])| state.as_deref()).unwrap_or_default();
            vec![
                link(&to("job", &[("name", name)]), name),
                text(&own.count().to_string()),
                status(state),
                maybe_time(job.times.map(|(made, _)| made)),
            ]
        })
        .collect();
    let crawlers: Vec<Vec<Markup>> = glue
        .crawlers
        .all()
        .iter()
        .map(|(name, crawler)| {
            let last = crawler.last.as_ref().map(|last| last.shown(name)).unwrap_or_default();
            vec![
                link(&to("crawler", &[("name", name)]), name),
                status(if crawler.run.is_some() { "RUNNING" } else { "READY" }),
                status(last["Status"].as_str().unwrap_or_default()),
                of(&crawler.described["DatabaseName"]),
                time(crawler.created),
            ]
        })
        .collect();
    let columns = ["Name", "State", "Last crawl", "Database", "Created"];
    let body = html! {
        (section("Jobs", &table("Jobs", &["Name", "#Runs", "Newest run", "Created"], &rows)))
        (section("Crawlers", &table("Crawlers", &columns, &crawlers)))
    };
    Ok(Page::new("Jobs and crawlers", body).into())
}

/// One job.
pub async fn job(ask: &Ask) -> Result<Answer, Problem> {
    let name = ask.required("name")?;
    let glue = &ask.cloud.services.glue;
    let job =
        glue.jobs.get(name).ok_or_else(|| Problem::absent(format!("There is no job {name}.")))?;
    let mut runs = glue.job_runs.all();
    runs.retain(|(_, run)| run.job == name);
    runs.sort_by_key(|(_, run)| std::cmp::Reverse(run.started));
    let is_moving = runs.iter().any(|(_, run)| run.completed.is_none());
    let wanted = ask.text("run").map(str::to_owned).or_else(|| Some(runs.first()?.0.clone()));
    let (shown, pager) = paged(ask, "job", runs);
    let rows: Vec<Vec<Markup>> = shown
        .iter()
        .map(|(id, run)| {
            vec![
                link(&to("job", &[("name", name), ("run", id)]), id),
                status(&run.state),
                text(run.error.as_deref().unwrap_or_default()),
                time(run.started),
                took(run.started, run.completed),
            ]
        })
        .collect();
    let body = html! {
        (about(&job))
        (section("Arguments", &arguments(&job)))
        (section("Runs, newest first", &html! {
            (table("Runs", &["ID", "State", "Error", "Started", "#Took"], &rows))
            (pager)
        }))
        @if let Some(run) = &wanted { (section(&format!("Log of {run}"), &log(ask, &job, run))) }
    };
    let page = Page::new(name, body).below("Jobs and crawlers", to("jobs", &[]));
    Ok(page.moving(is_moving).into())
}

fn about(job: &Job) -> Markup {
    let script = of_s3(&job.script).map_or_else(|| text(&job.script), |a| link(&a, &job.script));
    facts(vec![
        ("Role", arn(&job.role)),
        ("Script", script),
        ("Timeout", text(&format!("{} minutes", job.timeout_mins))),
        ("Runs at once, at most", text(&job.concurrent_max.to_string())),
        ("Created", maybe_time(job.times.map(|(made, _)| made))),
        ("Changed", maybe_time(job.times.map(|(_, changed)| changed))),
    ])
}

fn arguments(job: &Job) -> Markup {
    let value = |name: &str, value: &str| match is_secret(name) {
        true => text(MASK),
        false => of_s3(value).map_or_else(|| text(value), |address| link(&address, value)),
    };
    let rows: Vec<Vec<Markup>> =
        job.arguments.iter().map(|(name, v)| vec![text(name), value(name, v)]).collect();
    table("Arguments", &["Name", "Value"], &rows)
}

fn log(ask: &Ask, job: &Job, run: &str) -> Markup {
    let prefix = job.arguments.get("--custom-logGroup-prefix").map_or(LOG_GROUPS, String::as_str);
    html! {
        @for part in ["output", "error"] {
            @let group = format!("{prefix}/{part}");
            @let events = logs::newest(ask, &group, Some(run));
            h3 { (part) }
            (logs::lines(&group, &events[..events.len().min(LINES)]))
        }
    }
}

/// One crawler.
pub async fn crawler(ask: &Ask) -> Result<Answer, Problem> {
    let name = ask.required("name")?;
    let crawler = ask.cloud.services.glue.crawlers.get(name);
    let crawler = crawler.ok_or_else(|| Problem::absent(format!("There is no crawler {name}.")))?;
    let last = crawler.last.as_ref().map(|last| last.shown(name)).unwrap_or_default();
    let events = logs::newest(ask, CRAWLERS_LOG_GROUP, Some(name));
    let newest = &events[..events.len().min(LINES)];
    let crawls = crawls(&last);
    let database = crawler.described["DatabaseName"].as_str().unwrap_or_default();
    let body = html! {
        (facts(vec![
            ("State", status(if crawler.run.is_some() { "RUNNING" } else { "READY" })),
            ("Role", arn(crawler.described["Role"].as_str().unwrap_or_default())),
            ("Database", link(&to("database", &[("name", database)]), database)),
            ("Created", time(crawler.created)),
            ("Changed", time(crawler.updated)),
            ("Version", text(&crawler.version.to_string())),
        ]))
        (section("Last crawl", &crawls))
        (folded("Settings", &shown_json("Settings", &hidden(&crawler.described))))
        (section("Log, newest first", &logs::lines(CRAWLERS_LOG_GROUP, newest)))
    };
    let page = Page::new(name, body).below("Jobs and crawlers", to("jobs", &[]));
    Ok(page.moving(crawler.run.is_some()).into())
}

fn crawls(last: &Value) -> Markup {
    if last.is_null() || *last == json!({}) {
        return html! { p.quiet { "None yet." } };
    }
    facts(vec![
        ("Status", status(last["Status"].as_str().unwrap_or_default())),
        ("Error", of(&last["ErrorMessage"])),
        ("Started", api_time(&last["StartTime"])),
        ("ID", of(&last["MessagePrefix"])),
    ])
}
