//! The model server with a model of its own making and S3 in memory, for benchmarks and protocol
//! tests.
//!
//! `serve_model FAMILY [FOLDER]` trains on invented monthly series (context 24, hidden 64, 12
//! steps), writes `card.json` and `weights.safetensors` to the folder for peers, prints its
//! address, and serves until it is told to stop.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, path::Path};
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset, Series};
use steppe_server::access_log;
use steppe_server::config::Limits;
use steppe_server::datasets::Datasets;
use steppe_server::guard::Hosts;
use steppe_server::model_store::ModelStore;
use steppe_server::routes::router;
use steppe_server::service::Service;
use steppe_server::serving::{Serving, serve};
use steppe_spec::{Backtest, Family, Frequency, Kind, Lstm, TrainSpec, Trees};
use steppe_wire::keys::{self, CARD_FILE, WEIGHTS_FILE};

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PIPELINE: &str = "bench";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let family: Family =
        serde_json::from_value(arguments.next().unwrap_or_else(|| "lstm".to_owned()).into())?;
    let artifact = Artifact::train(&data(), &spec(family), &Stage::new(&Quiet))?;
    if let Some(folder) = arguments.next() {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(format!("{folder}/{CARD_FILE}"), &artifact.card_bytes)?;
        std::fs::write(format!("{folder}/{WEIGHTS_FILE}"), &artifact.weights_bytes)?;
    }
    let store = Arc::new(InMemory::new());
    let version = artifact.version();
    let objects = [
        (keys::model_file(PIPELINE, &version, CARD_FILE), artifact.card_bytes.clone()),
        (keys::model_file(PIPELINE, &version, WEIGHTS_FILE), artifact.weights_bytes.clone()),
        (keys::model_pointer(PIPELINE), serde_json::to_vec(&artifact.pointer())?),
    ];
    for (key, bytes) in objects {
        store.put(&Path::from(key), bytes.into()).await?;
    }
    let _writer = if std::env::var_os("STEPPE_ACCESS_LOG").is_some_and(|v| v == "off") {
        None
    } else {
        access_log::start()
    };
    let limits = Limits::default();
    let models = <ModelStore>::open(store.clone(), PIPELINE).await?;
    let service = Service::new(models, Datasets::new(store, limits.dataset_bytes), "data", limits)?;
    let listener = std::net::TcpListener::bind(
        std::env::var("STEPPE_LISTEN").unwrap_or_else(|_| "127.0.0.1:0".to_owned()),
    )?;
    eprintln!("{}", listener.local_addr()?);
    let stop = async {
        let mut signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .expect("signals can be handled");
        signal.recv().await;
    };
    serve(listener, router(service, Hosts::default()), Serving::default(), stop).await?;
    Ok(())
}

fn data() -> Dataset {
    let mut rng = fastrand::Rng::with_seed(1);
    let series = (0..8).map(|s| {
        let level = 100.0 * f64::from(s + 1);
        let values = (0..84).map(|t| {
            let season = 1.0 + 0.2 * (std::f64::consts::TAU * f64::from(t % 12) / 12.0).sin();
            level * season * (1.0 + 0.004 * f64::from(t)) * (1.0 + 0.05 * (rng.f64() - 0.5))
        });
        Series::new(format!("s{s}"), 2015 * 12, values.collect())
    });
    Dataset::new(Frequency::Monthly, series.collect())
}

fn spec(family: Family) -> TrainSpec {
    TrainSpec::forecast(PIPELINE, ["series", "time", "value"]).with(|s| {
        s.task.set_frequency(Frequency::Monthly);
        s.model.kind = Kind::Of(family);
        s.model.candidates = Some(vec![]);
        s.task.horizon = 12;
        s.model.lstm = Lstm {
            context: 24,
            hidden: 64,
            epochs: 3,
            members: 1,
            learning_rate: 0.003,
            weight_decay: 0.01,
            batch: 32,
            ..Lstm::default()
        };
        s.model.trees = Trees { rounds: 20, depth: 3, learning_rate: 0.1, rows_max: 1_000 };
        s.backtest = Backtest { origins: 2, stride: Some(1), refit: false, interval_level: 0.9 };
    })
}
