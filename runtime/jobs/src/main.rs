//! The jobs' `bootstrap`: the function's handler says which job it runs, `check`, `train`, `score`,
//! `look` or `drift`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use steppe_jobs::check::{self, Checker};
use steppe_jobs::drift::{self, Monitor};
use steppe_jobs::look::{self, Looker};
use steppe_jobs::score::{self, Scorer};
use steppe_jobs::train::{self, Trainer};
use steppe_store::Bucket;
use steppe_wire::failure::Failure;
use steppe_wire::hint::told;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", told(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let (artifacts, data) = (bucket(&var("ARTIFACTS_BUCKET")?)?, bucket(&var("DATA_BUCKET")?)?);
    let pipeline = var("PIPELINE")?;
    let spec_key = || var("TRAIN_SPEC_KEY");
    match var("_HANDLER")?.as_str() {
        "check" => {
            let checker = Checker { artifacts, data, pipeline, plan_key: var("ETL_PLAN_KEY")? };
            serve(async |event: check::Event| checker.run(&event, Timestamp::now()).await).await
        }
        "train" => {
            let trainer = Trainer { artifacts, data, pipeline, spec_key: spec_key()? };
            serve(async |event: train::Event| trainer.run(&event).await).await
        }
        "score" => {
            let (spec_key, held) = (spec_key()?, Default::default());
            let scorer = Scorer { artifacts, data, pipeline, spec_key, held };
            serve(async |event: score::Event| scorer.run(&event).await).await
        }
        "look" => {
            let looker = Looker { artifacts, data, pipeline, tasks_key: var("TASKS_KEY")? };
            serve(async |event: look::Event| looker.run(&event, Timestamp::now()).await).await
        }
        "drift" => {
            let monitor = Monitor {
                artifacts,
                data,
                pipeline,
                spec_key: spec_key()?,
                server_url: var("MODEL_SERVER_URL")?,
                predictions: var("PREDICTIONS_PREFIX")?,
            };
            serve(async |_: drift::Event| monitor.run().await).await
        }
        other => {
            bail!(
                "the function's handler is `{other}`; there are `check`, `train`, `score`, `look` \
                 and `drift`"
            )
        }
    }
}

fn var(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("the environment variable `{name}` is not set"))
}

fn bucket(name: &str) -> Result<Bucket> {
    let owner = std::env::var("BUCKET_OWNER").ok();
    steppe_store::open(name, owner)
        .with_context(|| format!("cannot set up access to bucket `{name}`"))
}

/// Hands `job` one event after the other.
async fn serve<E: DeserializeOwned, A: Serialize>(
    job: impl AsyncFn(E) -> Result<A, Failure>,
) -> Result<()> {
    let job = &job;
    let handler = service_fn(move |event: LambdaEvent<Value>| async move {
        let parsed = serde_json::from_value(event.payload)
            .map_err(|e| Failure::permanent(format!("the event is not a request: {e}")));
        let answer: Result<A, Diagnostic> = match parsed {
            Ok(event) => job(event).await.map_err(diagnostic),
            Err(error) => Err(diagnostic(error)),
        };
        answer
    });
    lambda_runtime::run(handler)
        .await
        .map_err(|e| anyhow::anyhow!("the Lambda runtime stopped: {e}"))
}

fn diagnostic(error: Failure) -> Diagnostic {
    let (error_type, error_message) = (error.error_type().to_owned(), error.error_message());
    eprintln!("{error_type}: {error_message}");
    Diagnostic { error_type, error_message }
}
