//! Starts the model server: load, verify, warm up, listen, reload, drain.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use steppe_model::families::lstm::kernel::Cpu;
use steppe_model::forecast::Forecast;
use steppe_model::tabular::Tabular;
use steppe_model::task::Task;
use steppe_server::access_log;
use steppe_server::config::Config;
use steppe_server::datasets::Datasets;
use steppe_server::model_store::{ModelStore, task_in_service};
use steppe_server::routes::router;
use steppe_server::served::Served;
use steppe_server::service::Service;
use steppe_server::serving::{Serving, serve};
use steppe_store::Bucket;
use steppe_wire::text::shown_at_most;
use tokio::signal::unix::{SignalKind, signal};

/// Characters of an error in the log.
const LINE_MAX: usize = 4_000;

/// Requests allocate dozens of small blocks, which this does faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().json().with_env_filter(filter).init();
    // A defect in one request is a line of the log like any other, whatever the message holds.
    std::panic::set_hook(Box::new(|defect| {
        tracing::error!("a defect of this program: {}", line(defect));
    }));
    // Requests run on worker threads of their own; here live accepting, reloading and signals.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("cannot start the runtime").and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", line(&format!("{error:#}")));
            eprintln!("error: {}", line(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let config = Config::from_env()?;
    let _writer = config.access_log.then(access_log::start).flatten();
    let artifacts = bucket(&config.artifacts_bucket, config.bucket_owner.clone())?;
    match task_in_service(artifacts, &config.pipeline).await?.as_str() {
        Tabular::NAME => served::<Tabular>(config).await,
        _ => served::<Forecast>(config).await,
    }
}

async fn served<T: Served>(config: Config) -> Result<()> {
    let bucket = |name: &str| bucket(name, config.bucket_owner.clone());
    let models = ModelStore::<T>::open(bucket(&config.artifacts_bucket)?, &config.pipeline).await?;
    let datasets = Datasets::new(bucket(&config.data_bucket)?, config.limits.dataset_bytes);
    let service = Service::new(models, datasets, &config.data_bucket, config.limits)?;
    let listener = std::net::TcpListener::bind(config.listen)
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    tracing::info!(listen = %config.listen, model = service.models.current().model_ref.version, cpu = Cpu::best().name(), "ready");
    tokio::spawn(reload(service.clone(), config.reload_every));
    let app = router(service.clone(), config.hosts);
    serve(listener, app, Serving::default(), stop_signal(service)).await
}

fn bucket(name: &str, owner: Option<String>) -> Result<Bucket> {
    steppe_store::open(name, owner)
        .with_context(|| format!("cannot set up access to bucket `{name}`"))
}

async fn reload<T: Served>(service: Arc<Service<T>>, every: Duration) {
    loop {
        service.models.time_to_look(every).await;
        let before = service.models.current().model_ref.version.clone();
        let outcome = match service.models.reload().await {
            Ok(None) => continue,
            Ok(Some(version)) => {
                tracing::info!(version, "new model in service");
                service.metrics.keep_only(&before, &version);
                "replaced"
            }
            Err(error) => {
                tracing::warn!("the model in service stays: {}", line(&format!("{error:#}")));
                "refused"
            }
        };
        service.metrics.reloads.with_label_values(&[outcome]).inc();
    }
}

/// What happened as one line of a log, whatever keys and cards hold.
fn line(what: &dyn std::fmt::Display) -> String {
    shown_at_most(&what.to_string(), LINE_MAX).into_owned()
}

async fn stop_signal<T: Served>(service: Arc<Service<T>>) {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
    service.drain();
}
