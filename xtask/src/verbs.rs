//! The verbs, one file each.

mod console;
mod deploy;
mod destroy;
mod doctor;
mod drift;
mod evaluate;
mod iam;
mod inspect;
mod local_cloud;
mod model;
mod pipeline;
mod predict;
mod profile;
mod query;
mod redrive;
mod render;
mod retrain;
mod smoke_test;
mod train;

use anyhow::Result;

use crate::cli::{Args, PipelineVerb, Verb};
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::Workspace;
use crate::whole::with_ec2;

/// Where durations of steps are kept in `.steppe`.
const DURATIONS: &str = "durations.json";

/// Runs a verb.
pub async fn run(args: &Args, host: &Host) -> Result<Outcome> {
    let open = || -> Result<Workspace> {
        let workspace = Workspace::open(args)?;
        host.remember(workspace.scratch().join(DURATIONS), &workspace.names.stack());
        Ok(workspace)
    };
    let whole = || -> Result<Workspace> {
        let workspace = open()?;
        with_ec2(&workspace, host)?;
        Ok(workspace)
    };
    match &args.verb {
        Verb::Deploy { data, yes, dry_run, no_run } => {
            let options = deploy::Options { yes: *yes, dry_run: *dry_run, runs: !no_run };
            deploy::run(&whole()?, host, data, options).await
        }
        Verb::Plan { data } => {
            let options = deploy::Options { yes: false, dry_run: true, runs: true };
            deploy::run(&whole()?, host, data, options).await
        }
        Verb::Destroy { yes, dry_run } => {
            let options = destroy::Options { yes: *yes, dry_run: *dry_run };
            destroy::run(&open()?, host, options).await
        }
        Verb::SmokeTest { series, dry_run } => {
            let options = smoke_test::Options { series, dry_run: *dry_run };
            smoke_test::run(&open()?, host, options).await
        }
        Verb::Render { every_combination } => {
            render::run(&open()?, host, every_combination.as_deref())
        }
        Verb::Train { data } => train::run(&open()?, host, data).await,
        Verb::Evaluate { data } => evaluate::run(&open()?, host, data).await,
        Verb::Pipeline { verb: PipelineVerb::New(new) } => pipeline::new(args, host, new).await,
        Verb::Model { verb } => model::run(&open()?, host, verb.as_ref()).await,
        Verb::Redrive(options) => redrive::run(&open()?, host, *options).await,
        Verb::Retrain(options) => retrain::run(&open()?, host, *options).await,
        Verb::Drift(options) => drift::run(&open()?, host, *options).await,
        Verb::Predict { name, row } => {
            let asked = predict::Asked { name: name.as_deref(), row: row.as_deref() };
            predict::run(&open()?, host, asked).await
        }
        Verb::Query { sql_or_name, limit, chart } => {
            query::run(&open()?, host, sql_or_name.as_deref(), (*limit, *chart)).await
        }
        Verb::Profile { tables, output } => {
            profile::run(&open()?, host, tables, output.as_deref()).await
        }
        Verb::Status => inspect::status(&whole()?, host).await,
        Verb::Outputs => inspect::outputs(&open()?, host).await,
        Verb::Logs { of, minutes } => inspect::logs(&open()?, host, *of, *minutes).await,
        Verb::Iam => iam::run(&open()?, host).await,
        Verb::Local { verb } => local_cloud::run(args, host, *verb),
        Verb::Console { no_open } => console::run(args, host, *no_open),
        Verb::Doctor => doctor::run(args, host).await,
    }
}
