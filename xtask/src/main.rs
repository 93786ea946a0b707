//! `cargo xtask`: parses a verb, runs it, maps the result to an exit code.

mod artifacts;
mod cli;
mod deployer;
mod deployment;
mod exit;
mod freshness;
mod interrupt;
mod leftovers;
mod local;
mod lock;
mod observe;
mod policy;
mod progress;
mod project;
mod reading;
mod registry;
mod report;
mod story;
mod target;
mod terminal;
mod training;
mod verbs;
mod whole;

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
    let ran = runtime.block_on(async {
        interrupt::listen();
        verbs::run(args).await
    });
    match ran {
        Ok(outcome) => exit::with(outcome),
        Err(error) => exit::report(&error),
    }
}
