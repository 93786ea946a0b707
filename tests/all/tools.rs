//! What tests share: places, binaries, a small model.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, path::Path as Key};
use serde_json::json;
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset};
use steppe_spec::{Backtest, Family, Kind, Lstm, TrainSpec, Trees};
use steppe_wire::keys::{self, CARD_FILE, WEIGHTS_FILE};

/// Root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the repository")
        .to_path_buf()
}

/// A binary of the workspace beside this test.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let file = test.ancestors().nth(2).expect("target/PROFILE/deps/test").join(name);
    assert!(
        file.exists(),
        "{} is missing: build it with `cargo build --bins`, or run `make test`",
        file.display()
    );
    file
}

/// The command line with the client of EC2, which `make test` puts beside the other one.
pub fn whole_xtask() -> Option<PathBuf> {
    let file = binary("xtask").with_file_name("xtask-aws");
    if file.exists() {
        return Some(file);
    }
    let plain = binary("xtask");
    eprintln!(
        "left out: {} is not there; `cargo build --bin xtask --features xtask/ec2` builds it as {}",
        file.display(),
        plain.display()
    );
    None
}

/// Cargo's output, in which this test lies.
pub fn target_dir() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    test.ancestors().nth(3).expect("target/PROFILE/deps/test").to_path_buf()
}

/// Folder of public data, which users do not get: `STEPPE_SHARED_DATA`, or beside the repository.
pub fn shared_data(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("STEPPE_SHARED_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let path = folder.join(file);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "left out: {} is not there; set STEPPE_SHARED_DATA to the folder with the public data sets",
        path.display()
    );
    None
}

/// Cleaning SQL that keeps what the tests' data set needs.
pub const MARRIAGES_SQL: &str = "SELECT region, CAST(year AS INT) AS year, CAST(marriages AS DOUBLE) AS marriages FROM raw ORDER BY region, year";

/// A clean table, made by the real engine.
pub fn clean_table(csv: &str, clean_sql: &str) -> Bytes {
    let out = tempfile::TempDir::new().expect("a folder");
    std::fs::write(out.path().join("d.csv"), csv).expect("written");
    let plan = json!({
        "schema_version": 2, "pipeline": "test", "delimiter": ",", "columns": [],
        "fatal_rules": [], "rule_columns": [],
        "clean_sql": clean_sql,
        "rejects_sql": "SELECT raw.*, '' AS _rule, '' AS _reason FROM raw WHERE 1 = 0",
    });
    std::fs::write(out.path().join("p.json"), plan.to_string()).expect("written");
    let arguments = [
        "clean-files",
        "--plan",
        "p.json",
        "--input",
        "d.csv",
        "--output",
        "o",
        "--rejects",
        "r",
        "--report",
        "report.json",
    ];
    let output = std::process::Command::new(binary("steppe-etl"))
        .args(arguments)
        .current_dir(out.path())
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(out.path().join("o/part-00000.parquet")).expect("a table").into()
}

/// Rows `region,year,value` of a data set.
pub fn csv_rows(data: &Dataset) -> String {
    data.series()
        .iter()
        .flat_map(|s| (s.start..).zip(&s.values).map(move |(y, v)| format!("{},{y},{v}\n", s.name)))
        .collect()
}

/// Puts a model into service in a bucket.
pub async fn put_model(store: &InMemory, artifact: &Artifact) {
    let version = artifact.version();
    let objects = [
        (keys::model_file("marriages", &version, CARD_FILE), artifact.card_bytes.clone()),
        (keys::model_file("marriages", &version, WEIGHTS_FILE), artifact.weights_bytes.clone()),
        (keys::model_pointer("marriages"), serde_json::to_vec(&artifact.pointer()).expect("JSON")),
    ];
    for (key, bytes) in objects {
        store.put(&Key::from(key), bytes.into()).await.expect("stored");
    }
}

/// Two series of sixteen years.
pub fn dataset() -> Dataset {
    let value = |s: i64, t: i64| 1_000.0 * (s + 1) as f64 + 10.0 * (t * (s + 1)) as f64;
    let rows = (0..2).flat_map(|s| {
        (0..16).map(move |t| (["Almaty", "Astana"][s as usize].to_owned(), 2000 + t, value(s, t)))
    });
    Dataset::from_rows(rows).expect("valid rows")
}

/// A model of them that trains in milliseconds.
pub fn artifact() -> Artifact {
    Artifact::train(&dataset(), &spec(), &Stage::new(&Quiet)).expect("trains")
}

/// Its configuration.
pub fn spec() -> TrainSpec {
    TrainSpec::forecast("marriages", ["region", "year", "marriages"]).with(|s| {
        s.model.kind = Kind::Of(Family::Lstm);
        s.model.candidates = Some(vec![]);
        s.task.horizon = 2;
        s.model.lstm = Lstm {
            context: 4,
            hidden: 4,
            epochs: 2,
            members: 1,
            learning_rate: 0.01,
            weight_decay: 0.01,
            batch: 32,
            ..Lstm::default()
        };
        s.model.trees = Trees { rounds: 10, depth: 3, learning_rate: 0.1, rows_max: 1_000 };
        s.backtest = Backtest { origins: 3, stride: Some(1), refit: true, interval_level: 0.9 };
    })
}
