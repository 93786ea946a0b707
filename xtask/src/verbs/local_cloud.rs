//! `local`: the embedded cloud itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::json;
use steppe_plan::environment::{Environment, Project};
use steppe_wire::hint::Hinted;

use crate::cli::{Args, LocalVerb};
use crate::exit::Outcome;
use crate::hint::OrHint;
use crate::host::Host;
use crate::local::{About, LocalCloud};
use crate::project::{read, root, scratch};
use crate::target::EXPORTED;

/// The embedded cloud of the environment, whether it runs or not.
pub fn of(args: &Args) -> Result<LocalCloud> {
    let root = root()?;
    let project = Project::parse("steppe.toml", &read(&root.join("steppe.toml"))?)?;
    let Environment::Embedded { port } = *project.environment("steppe.toml", &args.env)? else {
        bail!("the environment `{}` is not embedded", args.env);
    };
    LocalCloud::new(&root, &scratch(&root), port)
}

/// What it says about itself; an error when it does not run.
pub fn running(local: &LocalCloud) -> Result<About> {
    local.running().or_hint(|| {
        Hinted::new("the embedded cloud does not run", "start it with `cargo xtask local start`")
    })
}

/// Starts, stops, resets or describes the embedded cloud.
pub fn run(args: &Args, host: &Host, verb: LocalVerb) -> Result<Outcome> {
    let local = of(args)?;
    let state = local.dir.display().to_string();
    match verb {
        LocalVerb::Start => {
            let (about, new) = local.start(None)?;
            let how = if new { "was started" } else { "runs already" };
            let text = format!(
                "the embedded cloud {how} on 127.0.0.1:{}, process {}\n",
                about.port, about.pid
            );
            let result = json!({ "port": about.port, "process": about.pid, "started": new });
            host.result(&result, &text);
        }
        LocalVerb::Stop => {
            let ran = local.stop()?;
            let how = if ran { "was stopped" } else { "did not run" };
            host.result(&json!({ "ran": ran }), &format!("the embedded cloud {how}\n"));
        }
        LocalVerb::Status => {
            let running = local.running().map(|about| (about.port, about.pid));
            let text = match running {
                Some((port, pid)) => format!("runs on 127.0.0.1:{port}, process {pid}"),
                None => "does not run".to_owned(),
            };
            let (port, process) = running.unzip();
            let result = json!({ "port": port, "process": process, "state": state });
            host.result(&result, &format!("the embedded cloud {text}; state in {state}\n"));
        }
        LocalVerb::Env => environment(host, &local)?,
        LocalVerb::Reset => {
            local.reset()?;
            host.result(&json!({ "state": state }), "the embedded cloud is empty\n");
        }
    }
    Ok(Outcome::Done)
}

/// What other clients need to speak to the running cloud.
fn environment(host: &Host, local: &LocalCloud) -> Result<()> {
    let about = running(local)?;
    let target = local.target(&about)?;
    let (id, secret) = target.keys.context("the embedded cloud has no keys")?;
    let (endpoint, region) = (target.endpoint.unwrap_or_default(), target.region);
    let variables = [
        ("AWS_ENDPOINT_URL", &endpoint),
        (EXPORTED, &endpoint),
        ("AWS_REGION", &region),
        ("AWS_DEFAULT_REGION", &region),
        ("AWS_ACCESS_KEY_ID", &id),
        ("AWS_SECRET_ACCESS_KEY", &secret),
    ];
    let lines = variables.map(|(name, value)| format!("export {name}={value}\n"));
    host.result(&BTreeMap::from(variables), &lines.concat());
    Ok(())
}
