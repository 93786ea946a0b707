//! `render`: the template on standard output, or one per combination of options in a folder.

use std::path::Path;

use anyhow::{Context, Result};
use steppe_plan::elf::Architecture;
use steppe_plan::events::Fact;
use steppe_plan::site::Site;
use steppe_plan::stack::{ArtifactHashes, StackSpec, combinations};
use steppe_spec::Manifest;

use crate::artifacts;
use crate::cli::DataArgs;
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::Workspace;

/// Renders.
pub fn run(
    workspace: &Workspace,
    host: &Host,
    every_combination: Option<&Path>,
) -> Result<Outcome> {
    let (hashes, architecture) = match artifacts::collect(workspace) {
        Ok(artifacts) => (artifacts.hashes, artifacts.architecture),
        Err(_) => {
            host.fact(Fact::NothingBuilt);
            let zeros = || "0".repeat(64);
            (
                ArtifactHashes {
                    server: zeros(),
                    predictor: zeros(),
                    jobs: zeros(),
                    train_spec: zeros(),
                    tasks: zeros(),
                    glue_script: zeros(),
                    etl_plan: zeros(),
                },
                Architecture::X86_64,
            )
        }
    };
    let raw = workspace.raw_data(&DataArgs { data: vec![] })?;
    let raw_headers: Vec<_> = raw.inputs.into_iter().map(|input| input.header).collect();
    let render = |manifest: &Manifest, architecture| {
        let (query_sql, raw_headers, hashes) =
            (workspace.query_sql.clone(), raw_headers.clone(), hashes.clone());
        StackSpec {
            names: &workspace.names,
            manifest,
            query_sql,
            raw_headers,
            hashes,
            architecture,
            site: &Site::embedded(architecture),
        }
        .render()
    };
    let Some(folder) = every_combination else {
        let template = render(&workspace.manifest, architecture)?;
        host.result(&template, &template);
        return Ok(Outcome::Done);
    };
    for architecture in [Architecture::X86_64, Architecture::Arm64] {
        for (options, manifest) in combinations(&workspace.manifest) {
            let file = folder.join(format!("{}-{options}.yaml", architecture.as_str()));
            let template = render(&manifest, architecture)?;
            // The user's folder, and nothing secret: others may read it as they may read the rest.
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&file, template))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(Outcome::Done)
}
