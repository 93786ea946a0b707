//! `render`: the template on standard output, or one per combination of options in a folder.

use std::path::Path;

use anyhow::Result;
use steppe_plan::elf::Architecture;
use steppe_plan::manifest::Manifest;
use steppe_plan::stack::{ArtifactHashes, StackSpec};

use crate::artifacts;
use crate::cli::DataArgs;
use crate::exit::Outcome;
use crate::project::{Workspace, write};
use crate::story::Story;

/// Renders.
pub fn run(workspace: &Workspace, every_combination: Option<&Path>) -> Result<Outcome> {
    let (hashes, architecture) = match artifacts::collect(workspace) {
        Ok(artifacts) => (artifacts.hashes, artifacts.architecture),
        Err(_) => {
            Story::begin().note("note", "nothing is built yet: hashes in the template are zeros");
            let zeros = || "0".repeat(64);
            (ArtifactHashes { server: zeros(), predictor: zeros(), glue_script: zeros(), etl_plan: zeros() }, Architecture::X86_64)
        }
    };
    let raw_columns = workspace.raw_data(&DataArgs { data: None })?.columns;
    let render = |manifest: &Manifest, architecture| {
        let (query_sql, raw_columns, hashes) = (workspace.query_sql.clone(), raw_columns.clone(), hashes.clone());
        StackSpec { names: &workspace.names, manifest, query_sql, raw_columns, hashes, architecture }.render()
    };
    let Some(folder) = every_combination else {
        print!("{}", render(&workspace.manifest, architecture)?);
        return Ok(Outcome::Done);
    };
    for bits in 0..16u8 {
        let mut manifest = workspace.manifest.clone();
        manifest.stack.verify = bits & 1 != 0;
        manifest.stack.alarms = bits & 2 != 0;
        manifest.stack.notify = bits & 4 != 0;
        let architecture = if bits & 8 != 0 { Architecture::Arm64 } else { Architecture::X86_64 };
        let on = |flag: bool, name: &str| if flag { format!("-{name}") } else { String::new() };
        let options = on(manifest.stack.verify, "verify") + &on(manifest.stack.alarms, "alarms") + &on(manifest.stack.notify, "notify");
        write(&folder.join(format!("{}{options}.yaml", architecture.as_str())), render(&manifest, architecture)?.as_bytes())?;
    }
    Ok(Outcome::Done)
}
