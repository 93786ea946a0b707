//! What tests share: places, binaries, a small model.

use std::path::{Path, PathBuf};

use steppe_model::{Artifact, Dataset, TrainSpec};

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
    let value = |s: i32, t: i32| 1_000.0 * f64::from(s + 1) + 10.0 * f64::from(t * (s + 1));
    let rows = (0..2).flat_map(|s| (0..16).map(move |t| (["Almaty", "Astana"][s as usize].to_owned(), 2000 + t, value(s, t))));
    Dataset::from_rows(rows).expect("valid rows")
}

/// A model of them that trains in milliseconds.
pub fn artifact() -> Artifact {
    let spec = TrainSpec {
        pipeline: "marriages".into(),
        series_column: "region".into(),
        time_column: "year".into(),
        target_column: "marriages".into(),
        horizon: 2,
        context: 4,
        hidden: 4,
        epochs: 2,
        members: 1,
        learning_rate: 0.01,
        weight_decay: 0.01,
        seed: 1,
        origins: 3,
        interval_level: 0.9,
    };
    Artifact::train(&dataset(), &spec).expect("trains")
}
