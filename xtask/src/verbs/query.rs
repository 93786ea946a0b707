//! `query`: SQL or a named query through Athena.

use anyhow::{Result, bail};
use serde_json::json;
use steppe_plan::events::{Did, Fact, Step};
use steppe_spec::nearest;
use steppe_wire::hint::Hinted;

use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::Workspace;
use crate::table::table;

/// A named query: name, description, SQL.
type Named = (String, String, String);

/// Asks, or lists what can be asked.
pub async fn run(
    workspace: &Workspace,
    host: &Host,
    sql_or_name: Option<&str>,
    limit: usize,
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
    let mut answer = aws.query(work_group, database, sql(asked, &named)?, limit + 1).await?;
    work.done(Did::Query);
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

fn list(workspace: &Workspace, host: &Host, named: Vec<Named>) {
    let rows: Vec<Vec<String>> =
        named.into_iter().map(|(name, description, _)| vec![name, description]).collect();
    let queries = table(&["name", "description"], &rows);
    let manifest = &workspace.manifest;
    let made = manifest.stored().map(|table| table.name.to_owned());
    let raw = manifest.inputs.iter().map(|input| format!("raw_{}", input.name));
    let tables: Vec<String> = made.chain(raw).chain(["predictions".to_owned()]).collect();
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
        None => Ok(asked),
    }
}
