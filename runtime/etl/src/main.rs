//! The embedded engine as a process: `clean` runs an ETL plan, `query` answers SQL.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use steppe_etl::clean::{Places, clean};
use steppe_etl::storage::Realm;
use steppe_etl::{process, query};
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
    /// Clean a CSV in S3; every place is an `s3://` address.
    Clean {
        /// Work only as long as standard input is open: whoever started this holds the other end.
        #[arg(long)]
        leashed: bool,
        #[command(flatten)]
        job: Job,
    },
    /// Clean a CSV on this machine; every place is a path.
    CleanFiles {
        /// What messages call the CSV, when people know it by another name.
        #[arg(long)]
        called: Option<String>,
        #[command(flatten)]
        job: Job,
    },
    /// Answer one query: JSON, a line each way, on standard input and output.
    Query,
}

#[derive(clap::Args)]
struct Job {
    /// The ETL plan, JSON.
    #[arg(long)]
    plan: String,
    /// The CSV.
    #[arg(long)]
    input: String,
    /// Prefix of the clean table.
    #[arg(long)]
    output: String,
    /// Prefix of the rejected records.
    #[arg(long)]
    rejects: String,
    /// The report, JSON.
    #[arg(long)]
    report: String,
}

#[expect(clippy::disallowed_macros, reason = "the answer is the result")]
fn main() -> ExitCode {
    let verb = Args::parse().verb;
    let leashed = matches!(verb, Verb::Query | Verb::Clean { leashed: true, .. });
    let done = process::start(leashed, |lines| run(verb, lines));
    match done {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(verb: Verb, lines: Receiver<String>) -> Result<String> {
    match verb {
        Verb::Clean { job, .. } => job.run(Realm::S3, None).await,
        Verb::CleanFiles { called, job } => job.run(Realm::Files, called).await,
        Verb::Query => Ok(serde_json::to_string(&query::answer(lines).await?)?),
    }
}

impl Job {
    async fn run(self, realm: Realm, called: Option<String>) -> Result<String> {
        let mut places = Places {
            realm,
            plan: realm.file(&self.plan)?,
            input: realm.file(&self.input)?,
            output: realm.prefix(&self.output)?,
            rejects: realm.prefix(&self.rejects)?,
            report: realm.file(&self.report)?,
        };
        if let Some(name) = called {
            places.input.name = name;
        }
        Ok(serde_json::to_string(&clean(&places).await?)?)
    }
}
