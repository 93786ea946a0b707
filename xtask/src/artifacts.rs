//! Builds what is shipped, and turns it into objects with content-addressed keys.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use steppe_plan::deploy::Upload;
use steppe_plan::elf::{self, Architecture};
use steppe_plan::events::{Did, Fact, Step};
use steppe_plan::stack::{ArtifactHashes, GLUE_SCRIPT, sha256_hex};
use steppe_spec::{TrainingSpec, UnsupervisedSpec};
use steppe_wire::hint::Hinted;
use steppe_wire::keys;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::hint::OrHint;
use crate::host::Host;
use crate::project::{Workspace, write};
use crate::terminal::err;

/// Binaries that this machine runs: the embedded cloud and its engine.
const OWN: [&str; 2] = ["steppe-cloud", "steppe-etl"];
/// Set where what is there is to be used.
pub const SKIP_BUILD: &str = "STEPPE_SKIP_BUILD";
/// Binaries that are deployed: the model server, the predictor, the jobs.
const DEPLOYED: [&str; 3] = ["steppe-server", "bootstrap", "steppe-jobs"];
/// Their packages.
const PACKAGES: [&str; 3] = ["steppe-server", "steppe-predictor", "steppe-jobs"];

/// Everything that the stack is made of.
#[derive(Debug)]
pub struct Artifacts {
    /// Objects for the artifacts bucket.
    pub objects: Vec<(Upload, Vec<u8>)>,
    /// Their hashes.
    pub hashes: ArtifactHashes,
    /// Architecture of the binaries.
    pub architecture: Architecture,
}

/// Folder of cargo's output.
pub fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// A binary of this workspace that this machine runs.
pub fn own_binary(root: &Path, name: &str) -> PathBuf {
    // Beside this very program, so that every profile and folder finds its own.
    let beside =
        std::env::current_exe().ok().map(|exe| exe.with_file_name(name)).filter(|f| f.exists());
    beside.unwrap_or_else(|| target_dir(root).join("debug").join(name))
}

/// Builds what a deployment needs. What goes to AWS is small and fast; what the embedded cloud runs
/// is built as that itself is, so that nothing is compiled twice.
pub async fn build(workspace: &Workspace, host: &Host) -> Result<()> {
    let root = &*workspace.root;
    if workspace.environment.is_embedded() {
        let binaries = OWN.iter().chain(&DEPLOYED);
        return building(host, cargo(root, &of_binaries(binaries))).await;
    }
    let (own, mut release) = (of_binaries(&OWN), vec!["build", "--release"]);
    release.extend(PACKAGES.iter().flat_map(|package| ["--package", *package]));
    let both = async { tokio::try_join!(cargo(root, &own), cargo(root, &release)).map(drop) };
    building(host, both).await
}

/// Builds the embedded cloud and its engine alone, which nothing but this machine needs.
pub async fn build_own(root: &Path, host: &Host) -> Result<()> {
    building(host, cargo(root, &of_binaries(&OWN))).await
}

async fn building(host: &Host, build: impl Future<Output = Result<()>>) -> Result<()> {
    if std::env::var_os(SKIP_BUILD).is_some() {
        host.fact(Fact::BuildSkipped);
        return Ok(());
    }
    let work = host.begin(Step::Build, None);
    build.await?;
    work.done(Did::Build);
    Ok(())
}

/// Without `--package`: features are resolved for the whole workspace, as for this program.
fn of_binaries<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> Vec<&'a str> {
    let binaries = names.into_iter().flat_map(|name| ["--bin", *name]);
    std::iter::once("build").chain(binaries).collect()
}

/// The cargo that runs this program.
pub fn cargo_command() -> std::process::Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(program);
    // Cargo sets these for the program it runs; a build below must not inherit them.
    for (name, _) in std::env::vars_os()
        .filter(|(n, _)| n.to_string_lossy().starts_with("CARGO_PKG_") || n == "CARGO_MANIFEST_DIR")
    {
        command.env_remove(name);
    }
    command
}

async fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = tokio::process::Command::from(cargo_command());
    command
        .args(arguments)
        .arg("--quiet")
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    if let Some(told) = child.stderr.take() {
        // Line by line, so that nothing is torn by what is drawn on the terminal.
        let mut lines = BufReader::new(told).lines();
        while let Some(line) = lines.next_line().await.context("cannot read what cargo tells")? {
            err(&line);
        }
    }
    let status = child.wait().await.context("cannot wait for cargo")?;
    if !status.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}

/// Reads the built binaries, checks them and packs them.
pub fn collect(workspace: &Workspace) -> Result<Artifacts> {
    let (root, embedded) = (&*workspace.root, workspace.environment.is_embedded());
    let binary = |name: &str| {
        let release = || target_dir(root).join("release").join(name);
        let file = if embedded { own_binary(root, name) } else { release() };
        let bytes = std::fs::read(&file).or_hint(|| {
            Hinted::new(format!("cannot read {}", file.display()), "`cargo xtask deploy` builds it")
        })?;
        anyhow::Ok((elf::check(name, &bytes)?, bytes))
    };
    let [server, predictor, jobs] = DEPLOYED.map(binary);
    let ((architecture, server), (_, predictor), (_, jobs)) = (server?, predictor?, jobs?);
    let small = !embedded;
    let (predictor, jobs) =
        (package(workspace, &predictor, small)?, package(workspace, &jobs, small)?);
    let plan = serde_json::to_vec_pretty(&workspace.etl_plan)?;
    let spec = serde_json::to_vec_pretty(&TrainingSpec::of(&workspace.manifest))?;
    let tasks = UnsupervisedSpec::all(&workspace.manifest);
    let looked_for = serde_json::to_vec_pretty(&tasks)?;
    let hashes = ArtifactHashes {
        server: sha256_hex(&server),
        predictor: sha256_hex(&predictor),
        jobs: sha256_hex(&jobs),
        train_spec: sha256_hex(&spec),
        tasks: sha256_hex(&looked_for),
        glue_script: sha256_hex(GLUE_SCRIPT.as_bytes()),
        etl_plan: sha256_hex(&plan),
    };
    let object = |what: &str, key: String, bytes: Vec<u8>| {
        (Upload { what: what.to_owned(), key, bytes: bytes.len() }, bytes)
    };
    let mut objects = vec![
        object("the model server", keys::server_binary(&hashes.server), server),
        object("the predictor", keys::predictor_zip(&hashes.predictor), predictor),
        object(
            "the Glue script",
            keys::glue_script(&hashes.glue_script),
            GLUE_SCRIPT.as_bytes().to_vec(),
        ),
        object("the ETL plan", keys::etl_plan(&hashes.etl_plan), plan),
        object("the jobs", keys::jobs_zip(&hashes.jobs), jobs),
    ];
    // Trainings read it, checks for drift, scores of rows and records of forecasts.
    objects.push(object("what to train", keys::train_spec(&hashes.train_spec), spec));
    if !tasks.is_empty() {
        objects.push(object("what to look for", keys::train_spec(&hashes.tasks), looked_for));
    }
    Ok(Artifacts { objects, hashes, architecture })
}

/// A function's package; kept by the hash of its binary, because packing takes longer than all
/// other checks. It is as `small` as can be, or made quickly.
fn package(workspace: &Workspace, bootstrap: &[u8], small: bool) -> Result<Vec<u8>> {
    let size = if small { "" } else { "-quick" };
    let name = format!("{}{size}.zip", &sha256_hex(bootstrap)[..16]);
    let file = workspace.scratch().join("packages").join(name);
    if let Ok(zip) = std::fs::read(&file) {
        return Ok(zip);
    }
    let zip = pack("bootstrap", bootstrap, small)?;
    write(&file, &zip)?;
    Ok(zip)
}

/// A zip with one executable file and a fixed date, so that equal files give equal packages.
fn pack(name: &str, bytes: &[u8], small: bool) -> Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level((!small).then_some(1))
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o755);
    zip.start_file(name, options)?;
    zip.write_all(bytes)?;
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    #[test]
    fn equal_files_give_equal_packages() {
        let packed = || super::pack("bootstrap", b"x", true).expect("packs");
        assert_eq!(packed(), packed());
    }
}
