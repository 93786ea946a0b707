//! `cargo xtask`: parses a verb, runs it, maps the result to an exit code.

mod artifacts;
mod cli;
mod deployer;
mod exit;
mod local;
mod progress;
mod project;
mod registry;
mod report;
mod story;
mod training;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                return exit::report(
                    &anyhow::Error::new(error).context("cannot start the runtime"),
                );
            }
        };
    match runtime.block_on(verbs::run(args)) {
        Ok(outcome) => outcome.into(),
        Err(error) => exit::report(&error),
    }
}
