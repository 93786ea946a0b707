//! Rules of the workspace that a program can check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::tools::root;

/// What each crate may use of the workspace. Anything else is a wrong direction.
const ALLOWED: [(&str, &[&str]); 12] = [
    (
        "xtask",
        &[
            "steppe-aws",
            "steppe-plan",
            "steppe-spec",
            "steppe-wire",
            "steppe-store",
            "steppe-model",
        ],
    ),
    ("steppe-aws", &["steppe-plan"]),
    ("steppe-plan", &["steppe-spec", "steppe-wire"]),
    ("steppe-wire", &[]),
    ("steppe-spec", &["steppe-wire"]),
    ("steppe-model", &["steppe-spec", "steppe-wire"]),
    ("steppe-store", &["steppe-wire"]),
    ("steppe-predictor", &["steppe-wire"]),
    ("steppe-jobs", &["steppe-spec", "steppe-wire", "steppe-model", "steppe-store"]),
    ("steppe-server", &["steppe-spec", "steppe-wire", "steppe-model", "steppe-store"]),
    ("steppe-etl", &["steppe-wire", "steppe-store"]),
    // A schedule is what a manifest and a rule of EventBridge have in common.
    ("steppe-cloud", &["steppe-spec", "steppe-wire"]),
];

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn crates_depend_in_one_direction() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let own: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    for package in packages.iter().filter(|p| p["name"] != "steppe-tests") {
        let name = package["name"].as_str().expect("a name");
        let may = allowed
            .get(name)
            .unwrap_or_else(|| panic!("`{name}` is not in the table of allowed dependencies"));
        let uses = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|d| d["name"].as_str());
        for used in uses.filter(|d| own.contains(d)) {
            assert!(may.contains(&used), "`{name}` must not depend on `{used}`");
        }
    }
}

#[test]
fn templates_hold_structure_only() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("templates")).expect("a folder").flatten() {
        let file = entry.path();
        let text = std::fs::read_to_string(&file).expect("readable");
        let tera = file.extension().is_some_and(|e| e == "tera");
        for decision in ["if ", "raw ", "set ", "macro "].iter().filter(|_| tera) {
            let found = ["{% ", "{%- "].map(|begin| text.contains(&format!("{begin}{decision}")));
            assert_eq!(found, [false; 2], "{}: `{decision}` is decided in plan", file.display());
        }
        seen += usize::from(tera);
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn the_planner_knows_no_runtime_sdk_clock_or_process() {
    let metadata = metadata();
    let plan = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|p| p["name"] == "steppe-plan")
        .expect("steppe-plan");
    for dependency in
        plan["dependencies"].as_array().into_iter().flatten().filter_map(|d| d["name"].as_str())
    {
        assert!(
            !["tokio", "jiff", "hyper"].contains(&dependency) && !dependency.starts_with("aws-"),
            "steppe-plan depends on `{dependency}`"
        );
    }
    for file in sources().iter().filter(|f| f.starts_with(root().join("xtask/plan/src"))) {
        let text = production_part(file);
        for banned in
            ["std::fs", "std::env::", "std::process", "std::net", "SystemTime", "Instant::now"]
        {
            assert!(!text.contains(banned), "{} uses `{banned}`", file.display());
        }
    }
}

#[test]
fn one_module_of_the_embedded_cloud_starts_programs() {
    let cloud = root().join("runtime/cloud/src");
    let spawner = cloud.join("kernel/processes.rs");
    for file in sources().iter().filter(|f| f.starts_with(&cloud) && **f != spawner) {
        let text = production_part(file);
        for banned in ["Command::new", "process::Command", "pre_exec"] {
            assert!(!text.contains(banned), "{} uses `{banned}`", file.display());
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for file in sources() {
        let text = std::fs::read_to_string(&file).expect("readable");
        assert!(text.starts_with("//! "), "{} does not begin with `//!`", file.display());
    }
}

#[test]
fn production_code_has_no_unwrap_and_no_open_ends() {
    for file in sources().iter().filter(|f| !f.to_string_lossy().contains("/tests/")) {
        let text = production_part(file);
        for banned in [
            concat!(".unw", "rap()"),
            concat!("to", "do!("),
            concat!("unimpl", "emented!("),
            concat!("FIX", "ME"),
            concat!("#[ig", "nore"),
        ] {
            assert!(!text.contains(banned), "{} has `{banned}`", file.display());
        }
    }
}

/// A file without its unit tests, which stand at the end.
fn production_part(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("readable");
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["xtask", "runtime", "model", "tests"] {
        walk(&root().join(folder), &mut found);
    }
    found
}

/// Rust files below a folder.
pub fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Within a process a hint is a field of its error, of an event, of a line. One module writes it
/// into a text, for other processes, and takes it out of one.
#[test]
fn no_hint_is_hidden_in_a_text() {
    let in_text = regex::Regex::new(r#"(\\n\\?\s*|")hint: "#).expect("a pattern");
    let only = root().join("runtime/wire/src/hint.rs");
    let is_test = |file: &PathBuf| {
        file.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "tests")
    };
    for file in sources().into_iter().filter(|file| *file != only && !is_test(file)) {
        let text = production_part(&file);
        let found = in_text.find(&text).map(|found| found.as_str());
        assert_eq!(found, None, "{} has a hint in a text", file.display());
    }
}
