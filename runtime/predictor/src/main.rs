//! The Lambda function's `bootstrap`: builds the predictor once and hands it events.

use std::process::ExitCode;

use anyhow::{Context, Result};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use object_store::aws::AmazonS3Builder;
use serde::Serialize;
use serde_json::{Map, Value};
use steppe_predictor::Predictor;
use steppe_wire::failure::Failure;
use steppe_wire::predict::PredictorOutput;
use steppe_wire::score::ScoreResponse;

/// What the function answers.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Forecasts(Box<PredictorOutput>),
    Scores(ScoreResponse),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let var = |name: &str| {
        std::env::var(name).with_context(|| format!("the environment variable `{name}` is not set"))
    };
    let bucket = var("DATA_BUCKET")?;
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(&bucket)
        .build()
        .context("cannot set up access to S3")?;
    // Without a column of series the pipeline is about rows.
    let field = std::env::var("SERIES_FIELD").ok();
    let url = var("MODEL_SERVER_URL")?;
    let predictor = Predictor::new(&url, store, &bucket, field.as_deref().unwrap_or_default())
        .context("`MODEL_SERVER_URL` is not a URL")?;
    let (predictor, of_rows) = (&predictor, field.is_none());
    let handler = service_fn(move |event: LambdaEvent<Map<String, Value>>| async move {
        let LambdaEvent { payload, context } = event;
        let (request, trace) = (&context.request_id, context.xray_trace_id.as_deref());
        let answer: Result<Answer, Diagnostic> = match of_rows {
            true => predictor.score(&payload, request, trace).await.map(Answer::Scores),
            false => predictor
                .handle(&payload, request, trace)
                .await
                .map(Box::new)
                .map(Answer::Forecasts),
        }
        .map_err(diagnostic);
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
