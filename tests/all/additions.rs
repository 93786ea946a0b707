//! What can be added is added in one place: nothing else may name it.

use std::path::PathBuf;

use steppe_spec::Family;

use crate::structure::walk;
use crate::tools::root;

/// Places that name families: the specification, the list, and the families themselves.
const OF_FAMILIES: [&str; 4] =
    ["model/spec/", "model/src/spec.rs", "model/src/families.rs", "model/src/families/"];

/// Rust files below the given folders, and their text without unit tests, which stand at the end.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    folders.iter().for_each(|folder| walk(&root().join(folder), &mut files));
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).expect("readable");
        let name = file.strip_prefix(root()).expect("below the root").display().to_string();
        (name, text.split("#[cfg(test)]").next().unwrap_or_default().to_owned())
    };
    files.into_iter().map(read).collect()
}

#[test]
fn nothing_but_its_file_and_the_lists_names_a_family() {
    let folders = ["model/src", "runtime", "xtask"];
    let elsewhere = |name: &str| !OF_FAMILIES.iter().any(|place| name.starts_with(place));
    // A combination is what trials make of the others, and no family of its own.
    let families = Family::ALL.iter().copied().filter(|family| *family != Family::Combination);
    let names: Vec<String> = families.map(|family| format!("Family::{family:?}")).collect();
    for (file, text) in sources(&folders).iter().filter(|(name, _)| elsewhere(name)) {
        for name in &names {
            let named = text.split(name.as_str()).skip(1);
            let whole = |after: &str| !after.starts_with(|c: char| c.is_alphanumeric());
            assert!(!named.into_iter().any(whole), "{file} names `{name}`");
        }
    }
}
