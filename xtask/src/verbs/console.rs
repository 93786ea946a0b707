//! `console`: the way into the embedded cloud's console.

use std::io::IsTerminal;
use std::process::{Command, Stdio};

use anyhow::Result;
use serde_json::json;

use super::local_cloud;
use crate::cli::Args;
use crate::exit::Outcome;
use crate::host::Host;

/// What opens an address in the user's browser.
const OPENER: &str = "xdg-open";

/// Prints the link, and opens the console where somebody looks at a screen.
pub fn run(args: &Args, host: &Host, no_open: bool) -> Result<Outcome> {
    let local = local_cloud::of(args)?;
    let about = local_cloud::running(&local)?;
    let link = local.console_link(&about)?;
    let is_watched = std::io::stdout().is_terminal() && !args.json;
    let opened = !no_open && is_watched && open(&local.console_ticket(&about)?);
    let result = json!({ "link": link, "opened": opened });
    host.result(&result, &format!("{link}\n"));
    Ok(Outcome::Done)
}

/// Whether a browser was asked. That there is none is no error: the link is printed.
fn open(address: &str) -> bool {
    let mut command = Command::new(OPENER);
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: Ctrl-C in this terminal must not end the browser.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().is_ok()
}
