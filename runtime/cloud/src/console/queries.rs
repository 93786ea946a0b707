//! Queries of Athena and their results.

use maud::{Markup, html};
use serde_json::{Value, json};
use steppe_wire::query::{Statement, Written};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{
    bytes, code, duration, facts, link, maybe_time, section, short, status, text, time,
};
use super::links::{of_s3, to};
use super::table::{onward, paged, table};
use super::{chart_text, sql};
use crate::services::athena::QueryExecution;

/// Rows of a result on one page.
const ROWS: usize = 100;
/// Rows that a chart is made of.
const CHART_ROWS: usize = 1_000;
/// Characters of a value.
const VALUE_CHARS: usize = 300;

/// The queries, newest first, of all work groups or of one.
pub async fn list(ask: &Ask) -> Result<Answer, Problem> {
    let group = ask.text("group");
    let mut queries = ask.cloud.services.athena.queries.all();
    queries.retain(|(_, query)| group.is_none_or(|group| query.work_group == group));
    queries.sort_by_key(|(_, query)| std::cmp::Reverse(query.submitted));
    let is_moving = queries.iter().any(|(_, query)| query.completed.is_none());
    let (queries, pager) = paged(ask, "queries", queries);
    let rows: Vec<Vec<Markup>> = queries
        .iter()
        .map(|(id, query)| {
            vec![
                link(&to("query", &[("id", id)]), &short(&query.sql, 100)),
                status(&query.state),
                link(&to("queries", &[("group", &query.work_group)]), &query.work_group),
                text(query.database.as_deref().unwrap_or_default()),
                time(query.submitted),
                text(&duration(query.engine_ms as f64 / 1e3)),
                text(&bytes(query.scanned_bytes)),
            ]
        })
        .collect();
    let columns =
        ["Statement", "Status", "Work group", "Database", "Submitted", "#Time", "#Scanned"];
    let body = html! {
        p.actions { (link(&to("sql", &[]), "New statement")) }
        (table("Queries", &columns, &rows))
        (pager)
    };
    let title = group.map_or_else(|| "Queries".to_owned(), |group| format!("Queries of {group}"));
    Ok(Page::new(&title, body).moving(is_moving).into())
}

/// One query.
pub async fn one(ask: &Ask) -> Result<Answer, Problem> {
    let id = ask.required("id")?;
    let query = ask.cloud.services.athena.queries.get(id);
    let query = query.ok_or_else(|| Problem::absent(format!("There is no query {id}.")))?;
    let body = html! {
        (code("Statement", &query.sql))
        (about(id, &query))
        p.actions { (link(&sql::again(&query), "Change and run again")) }
        @if query.state == "SUCCEEDED" { (result(ask, id, &query).await?) }
    };
    let page = Page::new("Query", body).below("Queries", to("queries", &[]));
    Ok(page.moving(query.completed.is_none()).into())
}

fn about(id: &str, query: &QueryExecution) -> Markup {
    let (kind, sub_kind) = query.statement.types();
    let output =
        of_s3(&query.output).map_or_else(|| text(&query.output), |a| link(&a, &query.output));
    facts(vec![
        ("Status", status(&query.state)),
        ("Reason", text(query.error.as_deref().unwrap_or_default())),
        ("ID", text(id)),
        ("Work group", text(&query.work_group)),
        ("Database", text(query.database.as_deref().unwrap_or_default())),
        ("Kind", text(&[Some(kind), sub_kind].into_iter().flatten().collect::<Vec<_>>().join(" "))),
        ("Parameters", text(&query.parameters.join(", "))),
        ("Submitted", time(query.submitted)),
        ("Completed", maybe_time(query.completed)),
        ("Engine", text(&duration(query.engine_ms as f64 / 1e3))),
        ("Scanned", text(&bytes(query.scanned_bytes))),
        ("Rows", text(&query.rows.to_string())),
        ("Result", output),
    ])
}

async fn result(ask: &Ask, id: &str, query: &QueryExecution) -> Result<Markup, Problem> {
    if matches!(query.statement.written(), Written::Elsewhere | Written::Table) {
        return Ok(html! { p.quiet { "It wrote its rows elsewhere." } });
    }
    let token = ask.text("rows");
    // The first row has the names.
    let is_headed = query.statement == Statement::Select && token.is_none();
    let params = json!({
        "QueryExecutionId": id, "MaxResults": ROWS + usize::from(is_headed), "NextToken": token,
    });
    let answer = ask.read("athena", "GetQueryResults", params).await?;
    let set = &answer["ResultSet"];
    let columns: Vec<(String, String)> = set["ResultSetMetadata"]["ColumnInfo"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| [&c["Name"], &c["Type"]].map(|v| v.as_str().unwrap_or_default().to_owned()).into())
        .collect();
    let rows: Vec<Vec<Markup>> =
        of(set).skip(usize::from(is_headed)).map(|row| row.iter().map(cell).collect()).collect();
    let headings: Vec<String> = columns
        .iter()
        .map(
            |(name, kind)| {
                if chart_text::is_number(kind) { format!("#{name}") } else { name.clone() }
            },
        )
        .collect();
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let drawn = match is_headed {
        true => chart(ask, id, &columns).await?,
        false => html! {},
    };
    Ok(html! {
        (drawn)
        (section("Rows", &html! {
            (table("Rows of the result", &headings, &rows))
            (onward(ask, "query", "rows", answer["NextToken"].as_str()))
        }))
    })
}

fn of(set: &Value) -> impl Iterator<Item = Vec<Option<String>>> + '_ {
    set["Rows"].as_array().into_iter().flatten().map(sql::values)
}

fn cell(value: &Option<String>) -> Markup {
    match value {
        Some(value) => text(&short(value, VALUE_CHARS)),
        None => html! { span.quiet { "NULL" } },
    }
}

/// A chart, where there is something to draw.
async fn chart(ask: &Ask, id: &str, columns: &[(String, String)]) -> Result<Markup, Problem> {
    if !chart_text::is_drawable(columns) {
        return Ok(html! {});
    }
    let params = json!({ "QueryExecutionId": id, "MaxResults": CHART_ROWS });
    let answer = ask.read("athena", "GetQueryResults", params).await?;
    let rows: Vec<Vec<Option<String>>> = of(&answer["ResultSet"]).skip(1).collect();
    let is_part = answer["NextToken"].is_string();
    Ok(match chart_text::of_rows(columns, &rows) {
        Some(chart) => section(
            "Chart",
            &html! {
                (chart.drawn())
                @if is_part { p.quiet { "Of the first " (rows.len()) " rows." } }
            },
        ),
        None => html! {},
    })
}
