//! The program with everything: what only AWS needs takes minutes to compile, so it is compiled
//! when a verb needs it, and the verb goes on in the program that has it.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result, bail};
use steppe_plan::environment::Environment;

use crate::artifacts::{SKIP_BUILD, cargo_command};
use crate::project::Workspace;
use crate::story::Story;

/// Set for the program that was built with everything: it does not build itself again.
const GOES_ON: &str = "STEPPE_GOES_ON";
/// How to build it by hand.
const BY_HAND: &str = "`cargo build --bin xtask --features xtask/ec2` builds one that has it";

/// Goes on only in a program that has what the environment needs: returns when this one has it, and
/// else becomes one that does.
pub fn with_ec2(workspace: &Workspace) -> Result<()> {
    let needed = matches!(workspace.environment, Environment::Aws { .. });
    if cfg!(feature = "ec2") || !needed {
        return Ok(());
    }
    let lacks = format!(
        "the environment `{}` is in AWS, and this program was built without the client of EC2",
        workspace.environment_name
    );
    for variable in [SKIP_BUILD, GOES_ON] {
        if std::env::var_os(variable).is_some() {
            bail!("{lacks}, and {variable} is set\nhint: {BY_HAND}");
        }
    }
    let what = "this program with the client of EC2, which AWS needs: minutes, the first time";
    Story::begin().note("building", what);
    let mut command = cargo_command();
    command.args(["run", "--quiet", "--bin", "xtask", "--features", "xtask/ec2"]);
    // Not in its folder: paths among the arguments are meant from here.
    command.arg("--manifest-path").arg(workspace.root.join("Cargo.toml"));
    command.arg("--").args(std::env::args_os().skip(1)).env(GOES_ON, "1");
    Err(command.exec())
        .with_context(|| format!("{lacks}, and cargo does not start\nhint: {BY_HAND}"))
}
