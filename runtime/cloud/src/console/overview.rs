//! The first page: what this cloud is, how much is in it, and what failed last.

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::json;

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{facts, kind_of, link, section, short, status, text, time};
use super::links::to;
use super::table::table;

/// Failures that are shown.
const FAILURES_MAX: usize = 15;
/// Characters of a reason.
const REASON_CHARS: usize = 200;

struct Failure {
    when: Timestamp,
    what: &'static str,
    name: Markup,
    status: String,
    reason: String,
}

/// The overview.
pub async fn page(ask: &Ask) -> Result<Answer, Problem> {
    let cloud = &ask.cloud;
    let failures = failures(ask).await;
    let rows: Vec<Vec<Markup>> = failures
        .into_iter()
        .map(|f| {
            vec![
                time(f.when),
                text(f.what),
                f.name,
                status(&f.status),
                text(&short(&f.reason, REASON_CHARS)),
            ]
        })
        .collect();
    let body = html! {
        (facts(vec![
            ("Account", text(&cloud.config.account)),
            ("Region", text(&cloud.config.region)),
            ("Endpoint", text(&cloud.config.endpoint())),
            ("State folder", text(&cloud.config.state_dir.display().to_string())),
            ("Version", text(env!("CARGO_PKG_VERSION"))),
            ("Process", text(&std::process::id().to_string())),
            ("Clock", time(cloud.clock.now())),
        ]))
        (section("What is here", &counts(ask)))
        (section("Newest failures", &table("Newest failures",
            &["When", "What", "Name", "Status", "Reason"], &rows)))
        form method="post" action="/_steppe/logout" {
            input type="hidden" name="form_token" value=(ask.form_token);
            button type="submit" { "Log out" }
        }
    };
    Ok(Page::new("Overview", body).with_form().into())
}

fn counts(ask: &Ask) -> Markup {
    let services = &ask.cloud.services;
    let count = |path: &'static str, name: &'static str, count: usize| (path, name, count);
    let counts = [
        count("stacks", "stacks", live_stacks(ask)),
        count("buckets", "buckets", services.s3.all().len()),
        count("databases", "databases", services.glue.databases.len()),
        count("databases", "tables", services.glue.tables.len()),
        count("queries", "queries", services.athena.queries.len()),
        count("machines", "state machines", services.states.machines.len()),
        count("machines", "executions", services.states.executions.len()),
        count("functions", "functions", services.lambda.functions.len()),
        count("instances", "instances", services.ec2.instances.len()),
        count("jobs", "jobs", services.glue.jobs.len()),
        count("jobs", "crawlers", services.glue.crawlers.len()),
        count("logs", "log groups", services.logs.groups.len()),
        count("rules", "rules", services.events.rules.len()),
        count("topics", "topics", services.sns.topics.len()),
        count("alarms", "alarms", services.cloudwatch.alarms.len()),
        count("roles", "roles", services.iam.roles.len()),
    ];
    html! {
        ul.counts {
            @for (path, name, count) in counts {
                li { a href=(to(path, &[])) { strong { (count) } " " (name) } }
            }
        }
    }
}

fn live_stacks(ask: &Ask) -> usize {
    let statuses = ask.cloud.services.cloudformation.stacks.texts(["status"]);
    statuses.iter().filter(|(_, [status])| status.as_deref() != Some("DELETE_COMPLETE")).count()
}

/// What failed, newest first. Of what there may be much of, rows are chosen by their status before
/// they are read.
async fn failures(ask: &Ask) -> Vec<Failure> {
    let all = [stacks(ask).await, executions(ask), queries(ask), jobs(ask), alarms(ask)];
    let mut all: Vec<Failure> = all.into_iter().flatten().collect();
    all.sort_by_key(|failure| std::cmp::Reverse(failure.when));
    all.truncate(FAILURES_MAX);
    all
}

async fn stacks(ask: &Ask) -> Vec<Failure> {
    let mut stacks = ask.cloud.services.cloudformation.stacks.all();
    stacks.retain(|(_, stack)| kind_of(&stack.status) == "bad");
    stacks.sort_by_key(|(_, stack)| std::cmp::Reverse(stack.updated.unwrap_or(stack.created)));
    stacks.truncate(FAILURES_MAX);
    let mut failures = Vec::new();
    for (id, stack) in stacks {
        let reason = match &stack.reason {
            Some(reason) => reason.clone(),
            None => first_reason(ask, &id).await,
        };
        failures.push(Failure {
            when: stack.updated.unwrap_or(stack.created),
            what: "stack",
            name: link(&to("stack", &[("id", &id)]), &stack.name),
            status: stack.status.clone(),
            reason: super::stacks::masked(&stack, &reason),
        });
    }
    failures
}

/// A stack that was rolled back has no reason of its own: it is that of what failed first.
async fn first_reason(ask: &Ask, id: &str) -> String {
    let answer =
        ask.read("cloudformation", "DescribeStackEvents", json!({ "StackName": id })).await;
    let answer = answer.unwrap_or_default();
    let events = answer["StackEvents"].as_array().into_iter().flatten();
    // The newest come first.
    let mut failed = events.filter(|event| {
        event["ResourceStatus"].as_str().is_some_and(|status| status.ends_with("_FAILED"))
    });
    let reason = failed.next_back().and_then(|event| event["ResourceStatusReason"].as_str());
    reason.unwrap_or_default().to_owned()
}

/// The names of rows whose status is bad, newest first.
fn chosen(mut rows: Vec<(String, [Option<String>; 2])>) -> Vec<String> {
    rows.retain(|(_, [status, _])| status.as_deref().is_some_and(|s| kind_of(s) == "bad"));
    rows.sort_by(|(_, [_, one]), (_, [_, other])| other.cmp(one));
    rows.into_iter().take(FAILURES_MAX).map(|(name, _)| name).collect()
}

fn executions(ask: &Ask) -> Vec<Failure> {
    let executions = &ask.cloud.services.states.executions;
    let failed = chosen(executions.texts(["status", "stopped"]));
    let failed = failed.into_iter().filter_map(|arn| Some((executions.get(&arn)?, arn)));
    failed
        .map(|(execution, arn)| Failure {
            when: execution.stopped.unwrap_or(execution.started),
            what: "execution",
            name: link(&to("execution", &[("arn", &arn)]), &execution.name),
            status: execution.status.clone(),
            reason: execution
                .failure
                .as_ref()
                .map(|(error, cause)| format!("{error}: {cause}"))
                .unwrap_or_default(),
        })
        .collect()
}

fn queries(ask: &Ask) -> Vec<Failure> {
    let queries = &ask.cloud.services.athena.queries;
    let failed = chosen(queries.texts(["state", "submitted"]));
    let failed = failed.into_iter().filter_map(|id| Some((queries.get(&id)?, id)));
    failed
        .map(|(query, id)| Failure {
            when: query.completed.unwrap_or(query.submitted),
            what: "query",
            name: link(&to("query", &[("id", &id)]), &short(&query.sql, 60)),
            status: query.state.clone(),
            reason: query.error.clone().unwrap_or_default(),
        })
        .collect()
}

fn jobs(ask: &Ask) -> Vec<Failure> {
    let runs = &ask.cloud.services.glue.job_runs;
    let failed = chosen(runs.texts(["state", "started"]));
    let failed = failed.into_iter().filter_map(|id| runs.get(&id));
    failed
        .map(|run| Failure {
            when: run.completed.unwrap_or(run.started),
            what: "job run",
            name: link(&to("job", &[("name", &run.job)]), &run.job),
            status: run.state.clone(),
            reason: run.error.clone().unwrap_or_default(),
        })
        .collect()
}

fn alarms(ask: &Ask) -> Vec<Failure> {
    let alarms = ask.cloud.services.cloudwatch.alarms.all();
    let raised = alarms.into_iter().filter(|(_, alarm)| alarm.state.value.word() == "ALARM");
    raised
        .map(|(name, alarm)| Failure {
            when: alarm.state.since,
            what: "alarm",
            name: link(&to("alarms", &[]), &name),
            status: "ALARM".to_owned(),
            reason: alarm.state.reason.clone(),
        })
        .collect()
}
