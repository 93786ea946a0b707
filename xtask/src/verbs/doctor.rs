//! `doctor`: everything that can be wrong with this machine and the configuration, at once.

use std::process::Command;

use anyhow::Result;
use steppe_plan::environment::Environment;

use crate::cli::Args;
use crate::exit::Outcome;
use crate::policy;
use crate::project::Workspace;
use crate::story::Story;
use crate::target::{check_credentials, local_cloud};
use crate::terminal::out_json;

/// Checks and reports.
pub async fn run(args: &Args) -> Result<Outcome> {
    let story = Story::begin();
    let mut healthy = true;
    let mut check = |what: &str, result: Result<String, String>| match result {
        Ok(detail) => story.note("ok", &format!("{what}: {detail}")),
        Err(problem) => {
            healthy = false;
            story.failed("problem", &format!("{what}: {problem}"));
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
            Err("the embedded cloud needs Linux: it gives every instance an address in 127.0.0.0/8"
                .to_owned())
        },
    );
    check("memory for a first build", memory());
    let workspace = Workspace::open(args);
    check(
        "configuration",
        workspace
            .as_ref()
            .map(|w| format!("pipeline {}, environment {}", w.manifest.name, w.environment_name))
            .map_err(|e| format!("{e:#}")),
    );
    if let Ok(workspace) = &workspace {
        let local_stopped = local_cloud(workspace)?.is_some_and(|l| l.running().is_none());
        if local_stopped {
            check("embedded cloud", Ok("stopped; `cargo xtask deploy` starts it".to_owned()));
        } else {
            check(
                "credentials",
                check_credentials(workspace)
                    .await
                    .map(|()| format!("account {}", workspace.names.account))
                    .map_err(|e| format!("{e:#}")),
            );
        }
    }
    if let Ok(workspace) = &workspace
        && matches!(workspace.environment, Environment::Aws { .. })
    {
        let documents = policy::documents(&workspace.names);
        story.note("policy", &policy::introduction(&documents));
        for document in &documents {
            out_json(&serde_json::to_string_pretty(document)?);
        }
    }
    Ok(if healthy { Outcome::Done } else { Outcome::Found })
}

fn version(program: &str, argument: &str) -> Result<String, String> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .map_err(|e| format!("cannot run `{program}`: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// What a first build takes on two cores; the EC2 client alone takes 7.5 GB of it.
const BUILD_MEMORY_GB: f64 = 11.0;

fn memory() -> Result<String, String> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(|e| e.to_string())?;
    let total_kb = text
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    match total_kb.map(|kb| kb as f64 / 1e6) {
        Some(gb) if gb < BUILD_MEMORY_GB => Err(format!(
            "{gb:.1} GB, less than {BUILD_MEMORY_GB} GB: leave out the EC2 client with `cargo run \
             --bin xtask --no-default-features -- VERB`"
        )),
        Some(gb) => Ok(format!("{gb:.1} GB")),
        None => Err("unknown".to_owned()),
    }
}
