//! `local`: the embedded cloud itself.

use anyhow::{Context, Result, bail};
use steppe_plan::environment::{Environment, Project};

use crate::cli::{Args, LocalVerb};
use crate::exit::Outcome;
use crate::local::LocalCloud;
use crate::project::{read, root, scratch};
use crate::target::EXPORTED;
use crate::terminal::say;

/// Starts, stops, resets or describes the embedded cloud.
pub fn run(args: &Args, verb: LocalVerb) -> Result<Outcome> {
    let root = root()?;
    let project = Project::parse("steppe.toml", &read(&root.join("steppe.toml"))?)?;
    let Environment::Embedded { port } = *project.environment("steppe.toml", &args.env)? else {
        bail!("the environment `{}` is not embedded", args.env);
    };
    let local = LocalCloud::new(&root, &scratch(&root), port)?;
    match verb {
        LocalVerb::Start => {
            let (about, new) = local.start(None)?;
            say!(
                "the embedded cloud {} on 127.0.0.1:{}, process {}",
                if new { "was started" } else { "runs already" },
                about.port,
                about.pid
            );
        }
        LocalVerb::Stop => say!(
            "{}",
            if local.stop()? {
                "the embedded cloud was stopped"
            } else {
                "the embedded cloud did not run"
            }
        ),
        LocalVerb::Status => match local.running() {
            Some(about) => {
                say!(
                    "the embedded cloud runs on 127.0.0.1:{}, process {}; state in {}",
                    about.port,
                    about.pid,
                    local.dir.display()
                )
            }
            None => say!("the embedded cloud does not run; state in {}", local.dir.display()),
        },
        LocalVerb::Env => {
            let about = local.running().context(
                "the embedded cloud does not run\nhint: start it with `cargo xtask local start`",
            )?;
            let target = local.target(&about)?;
            let (id, secret) = target.keys.context("the embedded cloud has no keys")?;
            let endpoint = target.endpoint.unwrap_or_default();
            say!("export AWS_ENDPOINT_URL={endpoint}\nexport {EXPORTED}={endpoint}");
            say!("export AWS_REGION={0}\nexport AWS_DEFAULT_REGION={0}", target.region);
            say!("export AWS_ACCESS_KEY_ID={id}\nexport AWS_SECRET_ACCESS_KEY={secret}");
        }
        LocalVerb::Reset => {
            local.reset()?;
            say!("the embedded cloud is empty");
        }
    }
    Ok(Outcome::Done)
}
