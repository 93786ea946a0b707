//! What tests share: places, binaries, a small model.

use std::path::{Path, PathBuf};

use steppe_model::host::{Quiet, Stage};
use steppe_model::spec::{BacktestSpec, Family, Kind, LstmSpec, TreesSpec};
use steppe_model::transform::Transform;
use steppe_model::{Artifact, Dataset, Frequency, TrainSpec};

/// Root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the repository").to_path_buf()
}

/// A binary of the workspace beside this test.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    let file = test.ancestors().nth(2).expect("target/PROFILE/deps/test").join(name);
    assert!(file.exists(), "{} is missing: build it with `cargo build --bins`, or run `make test`", file.display());
    file
}

/// Folder of public data, which users do not get: `STEPPE_SHARED_DATA`, or beside the repository.
pub fn shared_data(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("STEPPE_SHARED_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let path = folder.join(file);
    if path.exists() {
        return Some(path);
    }
    eprintln!("left out: {} is not there; set STEPPE_SHARED_DATA to the folder with the public data sets", path.display());
    None
}

/// Two series of sixteen years.
pub fn dataset() -> Dataset {
    let value = |s: i64, t: i64| 1_000.0 * (s + 1) as f64 + 10.0 * (t * (s + 1)) as f64;
    let rows = (0..2).flat_map(|s| (0..16).map(move |t| (["Almaty", "Astana"][s as usize].to_owned(), 2000 + t, value(s, t))));
    Dataset::from_rows(rows).expect("valid rows")
}

/// A model of them that trains in milliseconds.
pub fn artifact() -> Artifact {
    Artifact::train(&dataset(), &spec(), &Stage::new(&Quiet)).expect("trains")
}

/// Its configuration.
pub fn spec() -> TrainSpec {
    TrainSpec {
        pipeline: "marriages".into(),
        series_column: "region".into(),
        time_column: "year".into(),
        target_column: "marriages".into(),
        covariates: vec![],
        statics: vec![],
        frequency: Frequency::Yearly,
        transform: Transform::Log,
        kind: Kind::Of(Family::Lstm),
        candidates: vec![],
        horizon: 2,
        seed: 1,
        lstm: LstmSpec {
            context: 4,
            hidden: 4,
            epochs: 2,
            members: 1,
            learning_rate: 0.01,
            weight_decay: 0.01,
            batch: 32,
            patience: None,
            epoch_windows: None,
        },
        trees: TreesSpec { rounds: 10, depth: 3, learning_rate: 0.1, rows_max: 1_000 },
        backtest: BacktestSpec { origins: 3, stride: 1, refit: true, interval_level: 0.9 },
    }
}
