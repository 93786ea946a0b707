//! `query`: SQL or a named query through Athena.

use anyhow::{Result, bail};
use steppe_spec::nearest;

use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::project::Workspace;
use crate::story::table;
use crate::terminal::{err, out, say};

/// Asks, or lists what can be asked.
pub async fn run(
    workspace: &Workspace,
    sql_or_name: Option<&str>,
    limit: usize,
) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let aws = ours.aws();
    let (work_group, database) = (ours.output("WorkGroupName")?, ours.output("DatabaseName")?);
    let named = aws.named_queries(work_group).await?;
    let Some(asked) = sql_or_name else {
        let rows: Vec<Vec<String>> =
            named.into_iter().map(|(name, description, _)| vec![name, description]).collect();
        out(&table(&["name", "description"], &rows));
        say!(
            "\ntables: raw, processed, predictions; for example: cargo xtask query \"select \
             count(*) from processed\""
        );
        return Ok(Outcome::Done);
    };
    let sql = match named.iter().find(|(name, ..)| name == asked) {
        Some((_, _, sql)) => sql.as_str(),
        None if !asked.trim().contains(char::is_whitespace) => {
            let names = named.iter().map(|(name, ..)| name.as_str());
            let hint = nearest(asked, names).map_or_else(
                || "`cargo xtask query` lists the names".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            bail!("there is no query `{asked}`\nhint: {hint}");
        }
        None => asked,
    };
    // One row more than is printed tells whether there are more.
    let mut answer = aws.query(work_group, database, sql, limit + 1).await?;
    let more = answer.rows.len() > limit;
    answer.rows.truncate(limit);
    let columns: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = answer
        .rows
        .into_iter()
        .map(|r| r.into_iter().map(Option::unwrap_or_default).collect())
        .collect();
    out(&table(&columns, &rows));
    if more {
        err(&format!("only the first {limit} rows; more with `--limit`"));
    }
    Ok(Outcome::Done)
}
