//! Starts the model server: load, verify, warm up, listen, reload, drain.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use steppe_server::config::Config;
use steppe_server::datasets::Datasets;
use steppe_server::model_store::ModelStore;
use steppe_server::routes::router;
use steppe_server::service::Service;
use tokio::signal::unix::{SignalKind, signal};

/// Time that requests at work get after SIGTERM.
const DRAIN: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().json().with_env_filter(filter).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let config = Config::from_env()?;
    let models = ModelStore::open(bucket(&config.artifacts_bucket)?, &config.pipeline).await?;
    let datasets = Datasets::new(bucket(&config.data_bucket)?, config.limits.dataset_bytes);
    let service = Service::new(models, datasets, &config.data_bucket, config.limits)?;
    let listener = tokio::net::TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    tracing::info!(listen = %config.listen, model = service.models.current().model_ref.version, "ready");
    tokio::spawn(reload(service.clone(), config.reload_every));
    let serving = axum::serve(listener, router(service.clone())).with_graceful_shutdown(stop_signal(service.clone()));
    let drained = async {
        stop_signal(service).await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = serving => result.context("the server broke off"),
        () = drained => Err(anyhow::anyhow!("requests were still at work {} seconds after SIGTERM", DRAIN.as_secs())),
    }
}

fn bucket(name: &str) -> Result<Arc<dyn ObjectStore>> {
    let store =
        AmazonS3Builder::from_env().with_bucket_name(name).build().with_context(|| format!("cannot set up access to bucket `{name}`"))?;
    Ok(Arc::new(store))
}

async fn reload(service: Arc<Service>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let outcome = match service.models.reload().await {
            Ok(None) => continue,
            Ok(Some(version)) => {
                tracing::info!(version, "new model in service");
                "replaced"
            }
            Err(error) => {
                tracing::warn!("the model in service stays: {error:#}");
                "refused"
            }
        };
        service.metrics.reloads.with_label_values(&[outcome]).inc();
    }
}

async fn stop_signal(service: Arc<Service>) {
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
    service.drain();
}
