//! A workspace apart from the repository: configuration and pipelines, no sources.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::root;

/// Makes a workspace: the pipeline `marriages`, an environment `local`, and one `dev` of kind
/// `aws`.
pub fn workspace(folder: &Path) -> PathBuf {
    copy_pipeline(folder, "marriages");
    // The addresses of the manifest are examples, which AWS would send mails to.
    edit_manifest(folder, "marriages", |line| {
        if line.starts_with("emails = ") { "emails = []".to_owned() } else { line.to_owned() }
    });
    let environments = "project = \"steppe\"\npipeline = \"marriages\"\n\n\
        [environments.local]\nkind = \"embedded\"\nport = 4580\n\n[environments.dev]\n\
        kind = \"aws\"\naccount = \"000000000000\"\nregion = \"us-east-1\"\n";
    std::fs::write(folder.join("steppe.toml"), environments).expect("written");
    folder.to_path_buf()
}

/// Puts a pipeline of the repository into a workspace.
pub fn copy_pipeline(folder: &Path, pipeline: &str) {
    let pipelines = folder.join("model/pipelines");
    std::fs::create_dir_all(&pipelines).expect("a folder");
    let own = root().join("model/pipelines").join(pipeline);
    let copied = Command::new("cp").arg("-r").args([own, pipelines]).status();
    assert!(copied.expect("cp runs").success());
}

/// Rewrites the lines of a manifest.
pub fn edit_manifest(folder: &Path, pipeline: &str, line: impl Fn(&str) -> String) {
    let manifest = folder.join("model/pipelines").join(pipeline).join("pipeline.toml");
    let text = std::fs::read_to_string(&manifest).expect("readable");
    let lines: Vec<String> = text.lines().map(line).collect();
    std::fs::write(&manifest, lines.join("\n")).expect("written");
}

/// Lets `marriages` reject records without a usable value instead of stopping.
pub fn reject_odd_values(folder: &Path) {
    edit_manifest(folder, "marriages", |line| match line {
        "sample = \"sample.csv\"" => {
            "sample = \"sample.csv\"\nrules = [{ name = \"marriages_valid\", \
            when = \"marriages IS NULL OR marriages < 0\", reason = \"no number\", \
            action = \"reject\" }]"
                .to_owned()
        }
        other => other.to_owned(),
    });
}

/// Adds a pipeline that is `marriages` under another name.
pub fn add_pipeline(folder: &Path, name: &str) {
    let pipelines = folder.join("model/pipelines");
    let copied = Command::new("cp")
        .arg("-r")
        .args([pipelines.join("marriages"), pipelines.join(name)])
        .status();
    assert!(copied.expect("cp runs").success());
    // The manifest's own name stands first; a column has it, too.
    let manifest = pipelines.join(name).join("pipeline.toml");
    let text = std::fs::read_to_string(&manifest).expect("readable");
    let named = text.replacen("name = \"marriages\"", &format!("name = \"{name}\""), 1);
    std::fs::write(&manifest, named).expect("written");
}
