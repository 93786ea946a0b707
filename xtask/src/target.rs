//! How to speak to an environment: which endpoint, with whose credentials.

use anyhow::{Context, Result, bail};
use steppe_aws::{Aws, AwsError, Kind, Target};
use steppe_plan::environment::Environment;
use steppe_wire::hint::Hinted;

use crate::hint::OrHint;
use crate::local::LocalCloud;
use crate::project::Workspace;

/// The variable that SDKs take an endpoint from.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
/// What `local env` exports beside it, so that its own leftovers are known as such.
pub const EXPORTED: &str = "STEPPE_LOCAL_ENDPOINT";

/// Variables that decide where calls go and as whom, when steppe.toml does not.
const DECIDING: [&str; 8] = [
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
];

/// Somebody else's endpoint, such as another emulator's. What `cargo xtask local env` exported is
/// not: an environment of steppe.toml says itself where its embedded cloud is.
pub fn foreign_endpoint(workspace: &Workspace) -> Result<Option<String>> {
    let Some(endpoint) = variable(ENDPOINT) else { return Ok(None) };
    if variable(EXPORTED).as_deref() == Some(&endpoint) {
        return Ok(None);
    }
    let own = own_cloud(workspace)?.is_some_and(|local| local.is_at(&endpoint));
    Ok((!own).then_some(endpoint))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The embedded cloud that an environment names.
fn own_cloud(workspace: &Workspace) -> Result<Option<LocalCloud>> {
    match workspace.environment {
        Environment::Embedded { port, .. } => {
            LocalCloud::new(&workspace.root, &workspace.scratch(), port).map(Some)
        }
        Environment::Aws { .. } => Ok(None),
    }
}

/// The embedded cloud of an embedded environment, unless another endpoint takes its place.
pub fn local_cloud(workspace: &Workspace) -> Result<Option<LocalCloud>> {
    if foreign_endpoint(workspace)?.is_some() {
        return Ok(None);
    }
    own_cloud(workspace)
}

/// How to speak to the environment. The embedded cloud must run already.
fn target(workspace: &Workspace) -> Result<Target> {
    let target = Target {
        endpoint: foreign_endpoint(workspace)?,
        region: workspace.names.region.clone(),
        account: workspace.names.account.clone(),
        ..Target::default()
    };
    // Another endpoint takes the usual credentials.
    if target.endpoint.is_some() {
        return Ok(target);
    }
    match (&workspace.environment, own_cloud(workspace)?) {
        (Environment::Aws { profile, .. }, _) => Ok(Target { profile: profile.clone(), ..target }),
        (Environment::Embedded { .. }, local) => {
            let local = local.context("an embedded environment has an embedded cloud")?;
            let about = local.running().or_hint(|| {
                Hinted::new(
                    "the embedded cloud does not run",
                    "`cargo xtask deploy` starts it and deploys; `cargo xtask local start` only \
                     starts it",
                )
            })?;
            local.target(&about)
        }
    }
}

/// Whether the environment takes us, and as the configured account.
pub async fn check_credentials(workspace: &Workspace) -> Result<()> {
    connect(workspace).await.map(|_| ())
}

/// Clients of the environment; refuses any account but the configured one. For
/// [`crate::deployment::Deployment`], which compares before it gives them away.
pub async fn connect(workspace: &Workspace) -> Result<Aws> {
    let target = target(workspace)?;
    let connected = Aws::connect(&target).await;
    let (aws, identity) = connected.map_err(|error| explained(error, &target))?;
    if identity.account != workspace.names.account {
        let hints = ["choose another profile, or correct `account` in steppe.toml".to_owned()];
        bail!(Hinted::with(
            format!(
                "the credentials belong to account {}, the environment `{}` is account {}",
                identity.account, workspace.environment_name, workspace.names.account
            ),
            hints.into_iter().chain(deciding(&target)).collect(),
        ));
    }
    Ok(aws)
}

/// The error with what of the user's surroundings may have caused it.
fn explained(error: AwsError, target: &Target) -> anyhow::Error {
    let decides = matches!(error.kind, Kind::Credentials | Kind::Unreachable | Kind::Refused);
    let set = decides.then(|| deciding(target)).flatten();
    let process = error.message.contains("credentials-login").then(|| {
        let profile = target.profile.as_deref().unwrap_or("default");
        format!(
            "the profile `{profile}` signs in with `aws login`, whose session this program cannot \
             read: make a profile with `credential_process = aws configure export-credentials \
             --profile {profile} --format process` and name it in steppe.toml"
        )
    });
    let hints: Vec<String> = set.into_iter().chain(process).collect();
    if hints.is_empty() {
        return error.into();
    }
    let at = target.endpoint.as_deref().unwrap_or("AWS");
    Hinted::with(format!("{at} does not take us"), hints).because(error).into()
}

/// A hint about variables that are set and count.
fn deciding(target: &Target) -> Option<String> {
    // Keys of the embedded cloud and an explicit profile go before all of them.
    if target.keys.is_some() {
        return None;
    }
    let counts = |name: &&&str| match **name {
        ENDPOINT => target.endpoint.is_some(),
        "AWS_CONFIG_FILE" | "AWS_SHARED_CREDENTIALS_FILE" => true,
        _ => target.profile.is_none(),
    };
    let set: Vec<&str> =
        DECIDING.iter().filter(counts).copied().filter(|name| variable(name).is_some()).collect();
    (!set.is_empty()).then(|| {
        let set = set.join(", ");
        format!("set in your environment, and counted: {set}; `unset` what is not meant")
    })
}
