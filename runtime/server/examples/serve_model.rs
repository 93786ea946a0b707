//! The model server with a model of its own making and S3 in memory, for benchmarks and protocol
//! tests.
//!
//! `serve_model FAMILY [FOLDER]` trains on invented monthly series (context 24, hidden 64, 12
//! steps), or with a family for classes on invented rows of ten columns, writes
//! `card.json`, `weights.safetensors` and, of rows, `rows.csv` to the folder for peers, prints its
//! address, and serves until it is told to stop.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, path::Path};
use steppe_model::artifact::Artifact;
use steppe_model::forecast::Forecast;
use steppe_model::host::{Quiet, Stage};
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::Tabular;
use steppe_model::tabular::data::{Rows, Target};
use steppe_model::{Dataset, Series};
use steppe_server::access_log;
use steppe_server::config::Limits;
use steppe_server::datasets::Datasets;
use steppe_server::guard::Hosts;
use steppe_server::model_store::ModelStore;
use steppe_server::routes::router;
use steppe_server::served::Served;
use steppe_server::service::Service;
use steppe_server::serving::{Serving, serve};
use steppe_spec::tabular::{TabularKind, TabularSpec};
use steppe_spec::{Backtest, ColumnType, Does, Family, Frequency, Kind, Lstm, TrainSpec, Trees};
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
    let folder = arguments.next();
    if family.does(Does::Classes) {
        let people = People::invented(5_000);
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder)?;
            std::fs::write(format!("{folder}/rows.csv"), people.csv())?;
        }
        let artifact =
            Artifact::<Tabular>::train(&people.rows(), &spec_of_rows(family), &Stage::new(&Quiet))?;
        return run(artifact, folder).await;
    }
    let artifact = Artifact::<Forecast>::train(&data(), &spec(family), &Stage::new(&Quiet))?;
    run(artifact, folder).await
}

async fn run<T: Served>(
    artifact: Artifact<T>,
    folder: Option<String>,
) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(folder) = folder {
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
    let models = ModelStore::<T>::open(store.clone(), PIPELINE).await?;
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
        s.backtest = Backtest { origins: 2, stride: Some(1), refit: false, ..Backtest::default() };
    })
}

/// Columns of the invented rows.
const COLUMNS: [(&str, ColumnType); 10] = [
    ("gender", ColumnType::String),
    ("age", ColumnType::Double),
    ("hypertension", ColumnType::Boolean),
    ("heart_disease", ColumnType::Boolean),
    ("ever_married", ColumnType::Boolean),
    ("work_type", ColumnType::String),
    ("residence_type", ColumnType::String),
    ("avg_glucose_level", ColumnType::Double),
    ("bmi", ColumnType::Double),
    ("smoking_status", ColumnType::String),
];

/// Invented people, of whom some fall ill: texts by column, and whether each does.
struct People {
    texts: Vec<[String; 10]>,
    ill: Vec<bool>,
}

impl People {
    fn invented(count: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut texts, mut ill) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let age = f64::from(rng.u32(1..90));
            let glucose = 60.0 + 120.0 * rng.f64() * rng.f64();
            let pressure = rng.f64() < age / 300.0;
            let margin = 0.07 * (age - 70.0) + 0.004 * glucose + f64::from(u8::from(pressure));
            ill.push(rng.f64() < 1.0 / (1.0 + (1.5 - margin).exp()));
            let bmi = format!("{:.1}", 18.0 + 20.0 * rng.f64());
            let mut one_of = |all: &[&str]| all[rng.usize(..all.len())].to_owned();
            texts.push([
                one_of(&["Female", "Male"]),
                age.to_string(),
                pressure.to_string(),
                one_of(&["false", "false", "true"]),
                one_of(&["false", "true"]),
                one_of(&["Private", "Self-employed", "Govt_job", "children"]),
                one_of(&["Urban", "Rural"]),
                format!("{glucose:.2}"),
                one_of(&[&bmi, &bmi, &bmi, &bmi, &bmi, &bmi, &bmi, &bmi, &bmi, ""]),
                one_of(&["never smoked", "smokes", "formerly smoked", "Unknown"]),
            ]);
        }
        Self { texts, ill }
    }

    fn csv(&self) -> String {
        let names = COLUMNS.map(|(name, _)| name).join(",");
        let line = |(texts, ill): (&[String; 10], &bool)| {
            format!("{},{}\n", texts.join(","), u8::from(*ill))
        };
        let lines: String = self.texts.iter().zip(&self.ill).map(line).collect();
        format!("{names},stroke\n{lines}")
    }

    fn rows(&self) -> Rows {
        let mut table = Table::new(self.texts.len());
        for (place, (name, kind)) in COLUMNS.iter().enumerate() {
            let texts = self.texts.iter().map(|texts| texts[place].as_str());
            let column = match kind {
                ColumnType::String => Column::category(texts.map(Some)),
                ColumnType::Boolean => {
                    Column::Boolean(texts.map(|text| Some(text == "true")).collect())
                }
                _ => Column::Number(texts.map(|text| text.parse().unwrap_or(f64::NAN)).collect()),
            };
            table.push(name, column).expect("a column of numbers, truth values or levels");
        }
        let labels = Arc::new(vec!["0".to_owned(), "1".to_owned()]);
        let codes = self.ill.iter().map(|ill| usize::from(*ill)).collect();
        Rows::plain(table, Some(Target::Classes { labels, codes }))
    }
}

fn spec_of_rows(family: Family) -> TabularSpec {
    let mut spec = TabularSpec::new(PIPELINE, TabularKind::Classification, "stroke", &COLUMNS);
    spec.task.model.kind = Kind::Of(family);
    spec.task.model.candidates = Some(vec![]);
    spec
}
