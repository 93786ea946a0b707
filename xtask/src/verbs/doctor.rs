//! `doctor`: everything that can be wrong with this machine and the configuration, at once.

use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use steppe_plan::environment::Environment;
use steppe_plan::events::{Fact, Finding};

use crate::cli::Args;
use crate::exit::Outcome;
use crate::hint::hints_of;
use crate::host::Host;
use crate::policy;
use crate::project::Workspace;
use crate::target::{check_credentials, local_cloud};

/// Checks and reports.
pub async fn run(args: &Args, host: &Host) -> Result<Outcome> {
    let mut healthy = true;
    let mut check = |what: &str, result: Result<String>| match result {
        Ok(detail) => host.fact(Fact::Healthy { what: what.to_owned(), detail }),
        Err(problem) => {
            healthy = false;
            let (why, hints) = (format!("{problem:#}"), hints_of(&problem));
            host.found(Finding::Problem { what: what.to_owned(), why, hints });
        }
    };
    check("cargo", version("cargo", "--version"));
    check("bash, which runs user data in the embedded cloud", version("bash", "--version"));
    check("C compiler, which one dependency needs", version("cc", "--version"));
    check(
        "platform",
        if cfg!(target_os = "linux") {
            Ok("Linux".to_owned())
        } else {
            Err(anyhow!(
                "the embedded cloud needs Linux: it gives every instance an address in 127.0.0.0/8"
            ))
        },
    );
    let told =
        |w: &Workspace| format!("pipeline {}, environment {}", w.manifest.name, w.environment_name);
    let (workspace, configuration) = match Workspace::open(args) {
        Ok(workspace) => {
            let told = told(&workspace);
            (Some(workspace), Ok(told))
        }
        Err(error) => (None, Err(error)),
    };
    check("configuration", configuration);
    let is_aws = |w: &Workspace| matches!(w.environment, Environment::Aws { .. });
    check("memory for a first build", memory(workspace.as_ref().is_some_and(is_aws)));
    if let Some(workspace) = &workspace {
        let local_stopped = local_cloud(workspace)?.is_some_and(|l| l.running().is_none());
        if local_stopped {
            check("embedded cloud", Ok("stopped; `cargo xtask deploy` starts it".to_owned()));
        } else {
            let checked = check_credentials(workspace).await;
            check("credentials", checked.map(|()| format!("account {}", workspace.names.account)));
        }
    }
    if let Some(workspace) = &workspace
        && matches!(workspace.environment, Environment::Aws { .. })
    {
        let documents = policy::documents(&workspace.names);
        host.fact(Fact::Policies { introduction: policy::introduction(&documents) });
        let pretty = documents.iter().map(serde_json::to_string_pretty);
        let text: Vec<String> = pretty.collect::<Result<_, _>>()?;
        host.result(&json!({ "policies": documents }), &(text.join("\n") + "\n"));
    }
    Ok(if healthy { Outcome::Done } else { Outcome::Found })
}

fn version(program: &str, argument: &str) -> Result<String> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("cannot run `{program}`"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// What a first build takes on two cores, about: the largest clients of the SDK at once.
const BUILD_MEMORY_GB: f64 = 4.0;
/// The same with the client of EC2, which AWS environments need.
const AWS_BUILD_MEMORY_GB: f64 = 9.0;

fn memory(is_aws: bool) -> Result<String> {
    let needed = if is_aws { AWS_BUILD_MEMORY_GB } else { BUILD_MEMORY_GB };
    let text = std::fs::read_to_string("/proc/meminfo").context("unknown")?;
    let total_kb = text
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    match total_kb.map(|kb| kb as f64 / 1e6) {
        Some(gb) if gb < needed => bail!("{gb:.1} GB, less than the {needed} GB that it takes"),
        Some(gb) => Ok(format!("{gb:.1} GB")),
        None => bail!("unknown"),
    }
}
