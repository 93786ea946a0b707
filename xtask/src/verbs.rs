//! The verbs, one file each.

mod deploy;
mod destroy;
mod doctor;
mod drift;
mod evaluate;
mod inspect;
mod local_cloud;
mod model;
mod predict;
mod query;
mod render;
mod retrain;
mod smoke_test;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use steppe_aws::{Aws, StackView, Target};
use steppe_plan::environment::Environment;

use crate::cli::{Args, DataArgs, Verb};
use crate::exit::Outcome;
use crate::local::LocalCloud;
use crate::project::Workspace;
use crate::story::Story;
use crate::{artifacts, training};

/// Longest time of an execution.
const EXECUTION_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Runs a verb.
pub async fn run(args: Args) -> Result<Outcome> {
    let open = || Workspace::open(&args);
    match &args.verb {
        Verb::Deploy { data, yes, dry_run } => deploy::run(&open()?, data, *yes, *dry_run).await,
        Verb::Plan { data } => deploy::run(&open()?, data, false, true).await,
        Verb::Destroy { yes } => destroy::run(&open()?, *yes).await,
        Verb::SmokeTest { series } => smoke_test::run(&open()?, series).await,
        Verb::Render { every_combination } => render::run(&open()?, every_combination.as_deref()),
        Verb::Train { data } => train(&open()?, data).await,
        Verb::Evaluate { data, json } => evaluate::run(&open()?, data, *json).await,
        Verb::Model { verb, json } => model::run(&open()?, verb.as_ref(), *json).await,
        Verb::Retrain => retrain::run(&open()?).await,
        Verb::Drift { json } => drift::run(&open()?, *json).await,
        Verb::Predict { series, json } => predict::run(&open()?, series, *json).await,
        Verb::Query { sql_or_name, limit } => {
            query::run(&open()?, sql_or_name.as_deref(), *limit).await
        }
        Verb::Status => inspect::status(&open()?).await,
        Verb::Outputs { json } => inspect::outputs(&open()?, *json).await,
        Verb::Logs { of, minutes } => inspect::logs(&open()?, *of, *minutes).await,
        Verb::Local { verb } => local_cloud::run(&args, *verb),
        Verb::Doctor => doctor::run(&args).await,
    }
}

async fn train(workspace: &Workspace, data: &DataArgs) -> Result<Outcome> {
    let story = Story::begin();
    artifacts::build(&workspace.root, &story).await?;
    let (model, _) = training::run(workspace, &workspace.raw_data(data)?, &story).await?;
    print!("{}", model.card.to_text(&model.version()));
    Ok(Outcome::Done)
}

/// The embedded cloud of an embedded environment.
fn local_cloud(workspace: &Workspace) -> Option<LocalCloud> {
    match workspace.environment {
        Environment::Embedded { port } => {
            Some(LocalCloud::new(&workspace.root, &workspace.scratch(), port))
        }
        Environment::Aws { .. } => None,
    }
}

/// How to speak to the environment. The embedded cloud must run already.
fn target(workspace: &Workspace) -> Result<Target> {
    // Another endpoint, for example another emulator, with the usual credentials.
    if let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL") {
        return Ok(Target {
            endpoint: Some(endpoint),
            region: workspace.names.region.clone(),
            ..Target::default()
        });
    }
    match &workspace.environment {
        Environment::Aws { region, profile, .. } => {
            Ok(Target { region: region.clone(), profile: profile.clone(), ..Target::default() })
        }
        Environment::Embedded { port } => {
            let local = LocalCloud::new(&workspace.root, &workspace.scratch(), *port);
            let about = local.running().context(
                "the embedded cloud does not run\nhint: `cargo xtask deploy` starts it and deploys; `cargo xtask local start` only starts it",
            )?;
            local.target(&about)
        }
    }
}

/// Clients of the environment; refuses any account but the configured one.
async fn connect(workspace: &Workspace) -> Result<Aws> {
    let aws = Aws::connect(&target(workspace)?).await;
    let identity = aws.identity().await?;
    if identity.account != workspace.names.account {
        bail!(
            "the credentials belong to account {}, the environment `{}` is account {}\nhint: choose another profile, or correct `account` in steppe.toml",
            identity.account,
            workspace.environment_name,
            workspace.names.account
        );
    }
    Ok(aws)
}

/// The deployed stack, or an error that says how to get one.
async fn deployed(aws: &Aws, workspace: &Workspace) -> Result<StackView> {
    let name = workspace.names.stack();
    let stack = aws.stack(&name).await?.with_context(|| {
        format!("the stack {name} does not exist\nhint: `cargo xtask deploy` makes it")
    })?;
    if !stack.status.is_deployed() && stack.outputs.is_empty() {
        bail!(
            "the stack {name} is in {}\nhint: `cargo xtask deploy` brings it in order",
            stack.status
        );
    }
    Ok(stack)
}

/// An execution that succeeded.
#[derive(Debug, Clone)]
struct Execution {
    arn: String,
    output: Value,
}

/// Starts an execution and waits until it has succeeded.
async fn run_to_end(aws: &Aws, machine: &str, input: &Value) -> Result<Execution> {
    let arn = aws.start_execution(machine, input).await?;
    let (started, mut pause) = (Instant::now(), Duration::from_millis(50));
    loop {
        let view = aws.execution(&arn).await?;
        match view.status.as_str() {
            "RUNNING" if started.elapsed() < EXECUTION_LIMIT => tokio::time::sleep(pause).await,
            "SUCCEEDED" => return Ok(Execution { arn, output: view.output.unwrap_or_default() }),
            status => {
                let (error, cause) = view.failure.unwrap_or_default();
                bail!(
                    "the execution ended with {status}: {error}: {}\nhint: the whole story is in the history of {arn}",
                    cause_in_words(&cause)
                );
            }
        }
        pause = (pause * 5 / 4).min(Duration::from_secs(3));
    }
}

/// The message in a cause, which services give as JSON.
fn cause_in_words(cause: &str) -> String {
    let parsed: Value = serde_json::from_str(cause).unwrap_or_default();
    let candidates =
        [&parsed["ErrorMessage"], &parsed["errorMessage"], &parsed["Status"]["StateChangeReason"]];
    candidates.iter().find_map(|c| c.as_str()).unwrap_or(cause).to_owned()
}

/// An output of the stack.
fn output<'a>(stack: &'a StackView, name: &str) -> Result<&'a str> {
    stack
        .outputs
        .get(name)
        .map(String::as_str)
        .with_context(|| format!("the stack has no output {name}\nhint: it was made by another version; `cargo xtask deploy` updates it"))
}
