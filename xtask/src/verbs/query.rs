//! `query`: SQL or a named query through Athena.

use anyhow::{Result, bail};
use serde_json::json;
use steppe_plan::events::{Did, Fact, Step};
use steppe_plan::stack::predictions_table;
use steppe_spec::nearest;
use steppe_wire::hint::Hinted;
use steppe_wire::query::Statement;

use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::{Workspace, write};
use crate::report::answer::Answer;
use crate::table::table;

/// Rows of an answer that are drawn, at most.
const ROWS_DRAWN: usize = 100_000;

/// A named query: name, description, SQL.
type Named = (String, String, String);

/// Asks, or lists what can be asked.
pub async fn run(
    workspace: &Workspace,
    host: &Host,
    sql_or_name: Option<&str>,
    (limit, draws): (usize, bool),
) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let aws = ours.aws();
    let (work_group, database) = (ours.output("WorkGroupName")?, ours.output("DatabaseName")?);
    let named = aws.named_queries(work_group).await?;
    let Some(asked) = sql_or_name else {
        list(workspace, host, named);
        return Ok(Outcome::Done);
    };
    let work = host.begin(Step::Query, None);
    // One row more than is printed tells whether there are more.
    let rows = if draws { ROWS_DRAWN.max(limit) } else { limit };
    let mut answer = aws.query(work_group, database, sql(asked, &named)?, rows + 1).await?;
    work.done(Did::Query);
    if draws {
        draw(workspace, host, asked, &answer)?;
    }
    let more = answer.rows.len() > limit;
    answer.rows.truncate(limit);
    let result = json!({ "columns": answer.columns, "rows": answer.rows, "more": more });
    let columns: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = answer
        .rows
        .into_iter()
        .map(|r| r.into_iter().map(Option::unwrap_or_default).collect())
        .collect();
    host.result(&result, &table(&columns, &rows));
    if more {
        host.fact(Fact::MoreRows { limit });
    }
    Ok(Outcome::Done)
}

/// The answer as a page.
fn draw(
    workspace: &Workspace,
    host: &Host,
    asked: &str,
    answer: &steppe_aws::Answer,
) -> Result<()> {
    if answer.rows.len() > ROWS_DRAWN {
        bail!(Hinted::new(
            format!("the answer has more than {ROWS_DRAWN} rows, which no chart shows"),
            "a `WHERE` or a `GROUP BY` makes it smaller"
        ));
    }
    let name = &workspace.manifest.name;
    let query = workspace.manifest.queries.iter().find(|query| query.name == asked);
    let drawn = Answer { columns: &answer.columns, rows: &answer.rows };
    let chart =
        query.and_then(|query| query.chart.clone()).map_or_else(|| drawn.usual_chart(), Ok)?;
    let (file, description) = match query {
        Some(query) => (format!("{}.html", query.name), query.description.as_str()),
        None => ("query.html".to_owned(), asked),
    };
    let title = format!("{name}: {}", query.map_or("query", |query| &query.name));
    let page = drawn.html(&title, description, &chart)?;
    let file = workspace.scratch().join("reports").join(name).join(file);
    write(&file, page.as_bytes())?;
    host.fact(Fact::Report { file: file.display().to_string() });
    Ok(())
}

fn list(workspace: &Workspace, host: &Host, named: Vec<Named>) {
    let rows: Vec<Vec<String>> =
        named.into_iter().map(|(name, description, _)| vec![name, description]).collect();
    let queries = table(&["name", "description"], &rows);
    let manifest = &workspace.manifest;
    let made = manifest.stored().map(|table| table.name.to_owned());
    let raw = manifest.inputs.iter().map(|input| format!("raw_{}", input.name));
    let tables = made.chain(raw).chain([predictions_table(manifest)]);
    let tables: Vec<String> = tables.collect();
    let text = format!(
        "{queries}\ntables: {}; for example: cargo xtask query \"select count(*) from {}\"\n",
        tables.join(", "),
        manifest.source().name
    );
    let query = |row: &Vec<String>| json!({ "name": row[0], "description": row[1] });
    host.result(&json!({ "queries": rows.iter().map(query).collect::<Vec<_>>() }), &text);
}

/// The SQL that is asked for, as itself or by a name.
fn sql<'a>(asked: &'a str, named: &'a [Named]) -> Result<&'a str> {
    match named.iter().find(|(name, ..)| name == asked) {
        Some((_, _, sql)) => Ok(sql),
        None if !asked.trim().contains(char::is_whitespace) => {
            let names = named.iter().map(|(name, ..)| name.as_str());
            let hint = nearest(asked, names).map_or_else(
                || "`cargo xtask query` lists the names".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            bail!(Hinted::new(format!("there is no query `{asked}`"), hint));
        }
        None if Statement::of(asked).changes() => bail!(Hinted::new(
            "`query` only reads, and this statement changes tables or writes files",
            "`eval \"$(cargo xtask local env)\"` and `aws athena start-query-execution`, or any \
             other client of Athena, run it"
        )),
        None => Ok(asked),
    }
}
