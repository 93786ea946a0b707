//! The embedded engine as a process: `clean` runs an ETL plan, `query` answers SQL.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use object_store::ObjectStoreExt;
use steppe_etl::clean::{Places, clean};
use steppe_etl::query::query;
use steppe_etl::storage::Place;

/// Runs Steppe's cleaning jobs and SQL queries.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Clean a CSV; every place is an `s3://` address or a path.
    Clean {
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
    },
    /// Read a query as JSON from standard input, answer as JSON on standard output.
    Query,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
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

async fn run(args: Args) -> Result<String> {
    match args.verb {
        Verb::Clean { plan, input, output, rejects, report } => {
            let plan_place = Place::parse(&plan)?;
            let bytes = plan_place
                .store
                .get(&plan_place.path)
                .await
                .with_context(|| format!("cannot read the plan at {plan}"))?
                .bytes()
                .await?;
            let plan = serde_json::from_slice(&bytes)
                .with_context(|| format!("{plan} is not an ETL plan"))?;
            let directory =
                |text: String| Place::parse(&format!("{}/", text.trim_end_matches('/')));
            let places = Places {
                input: Place::parse(&input)?,
                output: directory(output)?,
                rejects: directory(rejects)?,
                report: Place::parse(&report)?,
            };
            Ok(serde_json::to_string(&clean(&plan, &places).await?)?)
        }
        Verb::Query => Ok(serde_json::to_string(
            &query(
                &serde_json::from_reader(std::io::stdin())
                    .context("standard input is not a query")?,
            )
            .await?,
        )?),
    }
}
