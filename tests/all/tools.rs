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

/// Columns of the tests' data set.
pub const MARRIAGES: [(&str, &str); 3] =
    [("region", "string"), ("year", "int"), ("marriages", "double")];

/// A clean table with these columns, made by the real engine; what cannot be read is NULL.
pub fn clean_table(csv: &str, columns: &[(&str, &str)]) -> Bytes {
    let typed = |(name, kind): &(&str, &str)| format!("TRY_CAST({name} AS {kind}) AS {name}");
    let typed: Vec<String> = columns.iter().map(typed).collect();
    let own = |(name, kind): &(&str, &str)| json!({ "source": name, "name": name, "type": kind });
    let plan = json!({
        "schema_version": 4, "pipeline": "test", "root": ".", "report": "report.json",
        "tables": [],
        "inputs": [{
            "name": "x", "prefix": "raw/", "format": "csv",
            "csv": { "delimiter": ",", "skip_lines": 0, "leave_out_footnotes": false },
            "columns": columns.iter().map(own).collect::<Vec<_>>(),
            "fatal_rules": [], "rule_columns": [],
            "cleaning_sql": "SELECT * FROM raw",
            "judged_sql": "SELECT *, CAST(NULL AS STRING) AS _rule FROM typed",
            "clean_sql": format!("SELECT {} FROM judged ORDER BY 1, 2", typed.join(", ")),
            "rejects_sql": "SELECT file.*, '' AS _rule, '' AS _reason FROM file WHERE 1 = 0",
            "output": { "prefix": "o/", "format": "parquet" }, "rejects": "r/",
        }],
    });
    let plan = serde_json::from_value(plan).expect("a plan");
    let cleaned = crate::etl::run_one(&plan, csv.as_bytes()).expect("cleaned");
    cleaned.table("x").remove(0)
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
        s.backtest = Backtest { origins: 3, stride: Some(1), ..Backtest::default() };
    })
}
