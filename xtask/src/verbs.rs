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

use anyhow::{Result, bail};
use serde_json::{Value, json};
use steppe_aws::{ExecutionStatus, ExecutionView};
use steppe_plan::names::Names;

use crate::cli::{Args, DataArgs, Verb};
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::freshness::run_of_all;
use crate::interrupt::UnderWay;
use crate::project::Workspace;
use crate::story::Story;
use crate::terminal::out;
use crate::whole::with_ec2;
use crate::{artifacts, training};

/// Longest time of an execution.
const EXECUTION_LIMIT: Duration = Duration::from_secs(4 * 60 * 60);
/// Longest time until an execution that was started is known: reads may be old.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(30);
/// Failed looks at an execution that are borne.
const FAILURES_MAX: u32 = 5;

/// Runs a verb.
pub async fn run(args: Args) -> Result<Outcome> {
    let open = || Workspace::open(&args);
    let whole = || -> Result<Workspace> {
        let workspace = open()?;
        with_ec2(&workspace)?;
        Ok(workspace)
    };
    match &args.verb {
        Verb::Deploy { data, yes, dry_run, no_run } => {
            let options = deploy::Options { yes: *yes, dry_run: *dry_run, runs: !no_run };
            deploy::run(&whole()?, data, options).await
        }
        Verb::Plan { data } => {
            let options = deploy::Options { yes: false, dry_run: true, runs: true };
            deploy::run(&whole()?, data, options).await
        }
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
        Verb::Status => inspect::status(&whole()?).await,
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
    out(&model.card.to_text(&model.version()));
    Ok(Outcome::Done)
}

/// An execution that succeeded.
#[derive(Debug, Clone)]
struct Execution {
    arn: String,
    output: Value,
}

/// Runs the pipeline for `series`, all of them when none is named, with that version of the model:
/// the server looks whether it has just been promoted, and no other version answers.
async fn run_pinned(ours: &Deployment, version: &str, series: &[String]) -> Result<Execution> {
    let mut input = run_of_all(version);
    if !series.is_empty() {
        input["series"] = json!(series);
    }
    run_to_end(ours, ours.output("StateMachineArn")?, &input).await
}

/// Starts an execution and waits until it has succeeded.
async fn run_to_end(ours: &Deployment, machine: &str, input: &Value) -> Result<Execution> {
    let aws = ours.aws();
    let arn = aws.start_execution(machine, input).await?;
    let _under_way = UnderWay::begin(&format!("the execution goes on in the cloud: {arn}"));
    let (started, mut pause, mut failures) = (Instant::now(), Duration::from_millis(50), 0);
    loop {
        let view = match aws.execution(&arn).await {
            Ok(view) => view,
            Err(error) if error.is_passing() && failures < FAILURES_MAX => {
                failures += 1;
                None
            }
            Err(error) => return Err(error.into()),
        };
        match view {
            Some(ExecutionView { status: ExecutionStatus::Succeeded, output, .. }) => {
                return Ok(Execution { arn, output: output.unwrap_or_default() });
            }
            Some(ExecutionView { status: ExecutionStatus::Ended(how), failure, .. }) => {
                let (error, cause) = failure.unwrap_or_default();
                bail!(
                    "the execution ended with {how}: {error}: {}\nhint: the whole story is in the \
                     history of {arn}{}",
                    cause_in_words(&cause),
                    grants(&cause, ours.names())
                );
            }
            Some(_) if started.elapsed() > EXECUTION_LIMIT => bail!(
                "the execution still runs after {} hours\nhint: its history tells where it is: \
                 {arn}",
                EXECUTION_LIMIT.as_secs() / 3600
            ),
            // What was just started may not be known everywhere yet.
            None if started.elapsed() > UNKNOWN_LIMIT => {
                bail!("the execution {arn} was started, but is not known")
            }
            _ => tokio::time::sleep(pause).await,
        }
        pause = (pause * 5 / 4).min(Duration::from_secs(3));
    }
}

/// What lets the stack's queries read its catalogue, where Lake Formation has refused them.
/// <https://docs.aws.amazon.com/lake-formation/latest/dg/granting-table-permissions.html>
fn grants(cause: &str, names: &Names) -> String {
    if !cause.contains("Lake Formation") {
        return String::new();
    }
    let role =
        format!("arn:{}:iam::{}:role/{}-workflow", names.partition(), names.account, names.stack());
    let database = names.database();
    let grant = |permission: &str, resource: String| {
        format!(
            "`aws lakeformation grant-permissions --principal DataLakePrincipalIdentifier={role} \
             --permissions {permission} --resource '{resource}'`"
        )
    };
    format!(
        "\nhint: this account lets Lake Formation decide about the Glue catalogue; its \
         administrator grants what the queries need: {} and {}",
        grant("DESCRIBE", format!("{{\"Database\":{{\"Name\":\"{database}\"}}}}")),
        grant(
            "SELECT",
            format!("{{\"Table\":{{\"DatabaseName\":\"{database}\",\"TableWildcard\":{{}}}}}}")
        )
    )
}

/// The message in a cause, which services give as JSON.
fn cause_in_words(cause: &str) -> String {
    let parsed: Value = serde_json::from_str(cause).unwrap_or_default();
    let candidates =
        [&parsed["ErrorMessage"], &parsed["errorMessage"], &parsed["Status"]["StateChangeReason"]];
    candidates.iter().find_map(|c| c.as_str()).unwrap_or(cause).to_owned()
}
