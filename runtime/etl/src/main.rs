//! The embedded engine as a process: `clean` runs an ETL plan, `query` answers SQL, `look` says
//! what files have, `crawl` which tables a crawler finds, `convert` makes Parquet of records, and
//! `rows` shows rows of a file.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use steppe_etl::clean::{Called, clean};
use steppe_etl::look::look;
use steppe_etl::storage::Realm;
use steppe_etl::{convert, crawl, file_rows, process, query};
use steppe_wire::hint::told;
use tokio::sync::mpsc::Receiver;

/// Runs Steppe's cleaning jobs and SQL queries.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run an ETL plan in S3; the plan is at an `s3://` address, and so are its places.
    Clean {
        /// Work only as long as standard input is open: whoever started this holds the other end.
        #[arg(long)]
        leashed: bool,
        /// The ETL plan, JSON.
        #[arg(long)]
        plan: String,
    },
    /// Run an ETL plan on this machine; the plan is a path, and so are its places.
    CleanFiles {
        /// The ETL plan, JSON.
        #[arg(long)]
        plan: String,
        /// JSON of what messages call files, by their paths, when people know them by other names.
        #[arg(long, default_value = "{}")]
        called: String,
    },
    /// Look at files of which nothing is known: their columns, and the texts of each.
    Look {
        /// A file with the request, JSON.
        #[arg(long)]
        request: std::path::PathBuf,
    },
    /// Look for tables below folders in S3: JSON, a line each way, on standard input and output.
    Crawl,
    /// Show rows of one file of a table in S3: JSON, a line each way, on standard input and output.
    Rows,
    /// Convert records in files of this machine: JSON, a line each way, on standard input and
    /// output.
    Convert,
    /// Answer one query: JSON, a line each way, on standard input and output.
    Query,
}

#[expect(clippy::disallowed_macros, reason = "the answer is the result")]
fn main() -> ExitCode {
    let verb = Args::parse().verb;
    let leashed = matches!(
        verb,
        Verb::Query | Verb::Crawl | Verb::Convert | Verb::Rows | Verb::Clean { leashed: true, .. }
    );
    let done = process::start(leashed, |lines| run(verb, lines));
    match done {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", told(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb, lines: Receiver<String>) -> Result<String> {
    let report = match verb {
        Verb::Clean { plan, .. } => {
            clean(Realm::S3, &Realm::S3.file(&plan)?, &Called::default()).await?
        }
        Verb::CleanFiles { plan, called } => {
            let called = serde_json::from_str(&called).context("`--called` is not readable")?;
            clean(Realm::Files, &Realm::Files.file(&plan)?, &called).await?
        }
        Verb::Look { request } => return seen(&request),
        Verb::Crawl => return Ok(serde_json::to_string(&crawl::answer(lines).await?)?),
        Verb::Rows => return Ok(serde_json::to_string(&file_rows::answer(lines).await?)?),
        Verb::Convert => return Ok(serde_json::to_string(&convert::answer(lines).await?)?),
        Verb::Query => return Ok(serde_json::to_string(&query::answer(lines).await?)?),
    };
    Ok(serde_json::to_string(&report)?)
}

fn seen(request: &std::path::Path) -> Result<String> {
    let bytes =
        std::fs::read(request).with_context(|| format!("cannot read {}", request.display()))?;
    let request = serde_json::from_slice(&bytes).context("the request is not readable")?;
    Ok(serde_json::to_string(&look(&request)?)?)
}
