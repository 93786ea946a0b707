//! Records of older clouds, which had a file for each: they are taken over once.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::store::{Store, Table};

/// A record's file.
#[derive(Deserialize)]
struct Former {
    name: String,
    value: Value,
}

/// Takes over what an older cloud left in its state folder.
pub fn import(store: &std::sync::Arc<Store>, folder: &Path) -> Result<()> {
    let (state, s3) = (folder.join("state"), folder.join("s3"));
    for kind in folders(&state)? {
        take(&Table::new(store, &kind), &state.join(&kind))?;
    }
    for kind in ["buckets", "uploads", "parts"] {
        take(&Table::new(store, kind), &s3.join(kind))?;
    }
    for bucket in folders(&s3.join("objects"))? {
        let table = Table::scoped(store, "objects", &format!("{bucket}/"));
        take(&table, &s3.join("objects").join(&bucket))?;
    }
    Ok(())
}

/// The names of the folders in a folder, which need not be there.
fn folders(folder: &Path) -> Result<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(vec![]) };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Takes the records of a folder over, and then the folder away; those that are damaged stay.
fn take(table: &Table<Value>, folder: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let is_record = path.extension().is_some_and(|extension| extension == "json");
        let read = is_record.then(|| std::fs::read(&path)).transpose();
        let text = read.with_context(|| format!("cannot read {}", path.display()))?;
        match text.map(|text| serde_json::from_slice::<Former>(&text)) {
            Some(Ok(former)) => table.put(&former.name, former.value)?,
            Some(Err(error)) => {
                tracing::error!("{} is damaged ({error}) and stays there", path.display());
                continue;
            }
            None => continue,
        }
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    // What is damaged keeps its folder.
    let _ = std::fs::remove_dir(folder);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_are_taken_over_once_and_damaged_ones_stay() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write("state/roles/1.json", r#"{"name": "r", "value": {"id": "AROA"}}"#);
        write("state/roles/2.json", "{");
        write("state/rules/1.json", r#"{"name": "daily", "value": 1}"#);
        write("s3/buckets/1.json", r#"{"name": "b", "value": 2}"#);
        write("s3/objects/b/1.json", r#"{"name": "k", "value": 3}"#);
        let store = Store::open(folder.path()).expect("opens");
        import(&store, folder.path()).expect("taken over");
        import(&store, folder.path()).expect("nothing is left");
        let all = |kind: &str| {
            let rows = Table::<Value>::new(&store, kind).all().into_iter();
            rows.map(|(name, value)| (name, (*value).clone())).collect::<Vec<_>>()
        };
        assert_eq!(all("roles"), [("r".to_owned(), json!({ "id": "AROA" }))]);
        assert_eq!(all("rules"), [("daily".to_owned(), json!(1))]);
        assert_eq!(all("buckets"), [("b".to_owned(), json!(2))]);
        assert_eq!(all("objects"), [("b/k".to_owned(), json!(3))]);
        let left = |path: &str| folder.path().join(path).exists();
        assert!(left("state/roles/2.json") && !left("state/roles/1.json"));
        assert!(!left("state/rules") && !left("s3/objects/b"));
    }
}
