//! A statement of SQL, run by Athena as the administrator. Only statements that read are run.

use std::time::{Duration, Instant};

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde_json::{Value, json};
use steppe_wire::query::Statement;

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::links::to;
use crate::kernel::service;

/// How long a statement is awaited before its page is shown as it is.
const WAIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Whether a statement only reads.
fn reads(statement: Statement) -> bool {
    matches!(
        statement,
        Statement::Select
            | Statement::Explain
            | Statement::Describe
            | Statement::ShowDatabases
            | Statement::ShowTables
            | Statement::ShowColumns
            | Statement::ShowPartitions
            | Statement::ShowTableProperties
            | Statement::ShowCreateTable
            | Statement::ShowCreateView
            | Statement::ShowViews
    )
}

/// The form.
pub async fn form(ask: &Ask) -> Result<Answer, Problem> {
    shown(ask, "").await
}

async fn shown(ask: &Ask, refusal: &str) -> Result<Answer, Problem> {
    let groups = ask.read("athena", "ListWorkGroups", json!({})).await?;
    let groups: Vec<&str> = groups["WorkGroups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|g| g["Name"].as_str())
        .collect();
    // The one that a pipeline made is likelier meant than the one that is always there.
    let usual = groups.iter().find(|name| **name != "primary").or(groups.first());
    let group = ask.text("group").or(usual.copied()).unwrap_or_default();
    let databases = ask.cloud.services.glue.databases.names("");
    let databases: Vec<&str> = databases.iter().map(String::as_str).collect();
    let database = ask.text("database").or(databases.first().copied()).unwrap_or_default();
    let body = html! {
        @if !refusal.is_empty() { p.notice role="alert" { (refusal) } }
        form.sql method="post" action="/_steppe/sql" {
            input type="hidden" name="form_token" value=(ask.form_token);
            div.fields {
                (choice("database", "Database", &databases, database))
                (choice("group", "Work group", &groups, group))
            }
            label for="sql" { "Statement" }
            textarea #sql name="sql" rows="8" required spellcheck="false" autocapitalize="none"
                aria-describedby="hint" { (ask.text("sql").unwrap_or_default()) }
            label for="output" { "Results go to, where the work group does not say it" }
            input #output name="output" placeholder="s3://bucket/prefix/"
                value=(ask.text("output").unwrap_or_default());
            button type="submit" { "Run" }
            p.quiet #hint {
                "Run by Athena as the administrator. SELECT, WITH, VALUES, EXPLAIN, SHOW and "
                "DESCRIBE are run; what changes something is not."
            }
        }
        p { (super::html::link(&to("queries", &[]), "Queries that were run")) }
    };
    Ok(Page::new("SQL", body).with_form().into())
}

fn choice(name: &str, title: &str, options: &[&str], chosen: &str) -> Markup {
    html! {
        div {
            label for=(name) { (title) }
            select id=(name) name=(name) {
                @if options.is_empty() { option value="" { "none" } }
                @for option in options {
                    option value=(option) selected[*option == chosen] { (option) }
                }
            }
        }
    }
}

/// Runs the statement of the form, and shows its result.
pub async fn run(ask: &Ask) -> Result<Answer, Problem> {
    let Some(sql) = ask.text("sql") else { return shown(ask, "There is no statement.").await };
    if !reads(Statement::of(sql)) {
        let words = "The console only reads, and this statement may change tables or write files. \
            Any client of Athena runs it.";
        return shown(ask, words).await;
    }
    let token = uuid::Uuid::new_v4().to_string();
    let group = ask.text("group");
    let mut params = json!({ "QueryString": sql, "WorkGroup": group, "ClientRequestToken": token });
    if let Some(database) = ask.text("database") {
        params["QueryExecutionContext"] = json!({ "Database": database });
    }
    if let Some(output) = ask.text("output") {
        params["ResultConfiguration"] = json!({ "OutputLocation": output });
    }
    let administrator = ask.cloud.identities.administrator();
    let operation = "StartQueryExecution";
    let started = service::call(&ask.cloud, &administrator, "athena", operation, &params).await;
    let id = match &started {
        Ok(answer) => answer["QueryExecutionId"].as_str().unwrap_or_default(),
        Err(error) => return shown(ask, &error.message).await,
    };
    wait(ask, id).await;
    let address = HeaderValue::from_str(&to("query", &[("id", id)]));
    let address = address.map_err(|error| Problem::failed(&error))?;
    Ok(Answer::Other((StatusCode::SEE_OTHER, [(header::LOCATION, address)]).into_response()))
}

async fn wait(ask: &Ask, id: &str) {
    let began = Instant::now();
    let is_done = || {
        let query = ask.cloud.services.athena.queries.get(id);
        query.is_none_or(|query| query.completed.is_some())
    };
    while began.elapsed() < WAIT && !is_done() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The statement again, with what it was run with.
pub fn again(query: &crate::services::athena::QueryExecution) -> String {
    let database = query.database.as_deref().unwrap_or_default();
    to("sql", &[("database", database), ("group", &query.work_group), ("sql", &query.sql)])
}

/// Texts of a row of a result.
pub fn values(row: &Value) -> Vec<Option<String>> {
    let data = row["Data"].as_array().into_iter().flatten();
    data.map(|value| value["VarCharValue"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_is_run() {
        for sql in [
            "SELECT 1",
            "-- x\nwith a as (select 1) select * from a",
            "SHOW TABLES",
            "DESCRIBE t",
            "EXPLAIN SELECT 1",
        ] {
            assert!(reads(Statement::of(sql)), "{sql}");
        }
        for sql in [
            "INSERT INTO t VALUES (1)",
            "CREATE TABLE t AS SELECT 1",
            "DROP TABLE t",
            "UNLOAD (SELECT 1) TO 's3://b/'",
            "EXECUTE p",
            "PREPARE p FROM SELECT 1",
            "MSCK REPAIR TABLE t",
            "ALTER TABLE t ADD COLUMNS (a int)",
            "",
        ] {
            assert!(!reads(Statement::of(sql)), "{sql}");
        }
    }
}
