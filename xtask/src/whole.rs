//! The program with everything: what only AWS needs takes minutes to compile, so it is compiled
//! when a verb needs it, and the verb goes on in the program that has it.

use std::os::unix::process::CommandExt;

use anyhow::{Result, bail};
use steppe_plan::environment::Environment;
use steppe_plan::events::Fact;
use steppe_wire::hint::Hinted;

use crate::artifacts::{SKIP_BUILD, cargo_command};
use crate::hint::OrHint;
use crate::host::Host;
use crate::project::Workspace;

/// Set for the program that was built with everything: it does not build itself again.
const GOES_ON: &str = "STEPPE_GOES_ON";
/// How to build it by hand.
const BY_HAND: &str = "`cargo build --bin xtask --features xtask/ec2` builds one that has it";

/// Goes on only in a program that has what the environment needs: returns when this one has it, and
/// else becomes one that does.
pub fn with_ec2(workspace: &Workspace, host: &Host) -> Result<()> {
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
            bail!(Hinted::new(format!("{lacks}, and {variable} is set"), BY_HAND));
        }
    }
    host.fact(Fact::BuildingForAws);
    let mut command = cargo_command();
    command.args(["run", "--quiet", "--bin", "xtask", "--features", "xtask/ec2"]);
    // Not in its folder: paths among the arguments are meant from here.
    command.arg("--manifest-path").arg(workspace.root.join("Cargo.toml"));
    command.arg("--").args(std::env::args_os().skip(1)).env(GOES_ON, "1");
    let failed = || Hinted::new(format!("{lacks}, and cargo does not start"), BY_HAND);
    Err(command.exec()).or_hint(failed)
}
