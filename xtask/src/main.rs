//! `cargo xtask`: parses a verb, runs it, maps the result to an exit code.

mod artifacts;
mod cleaning;
mod cli;
mod deployer;
mod deployment;
mod draft;
mod execution;
mod exit;
mod freshness;
mod hint;
mod host;
mod inputs;
mod interrupt;
mod local;
mod lock;
mod observe;
mod policy;
mod progress;
mod project;
mod reading;
mod registry;
mod report;
mod table;
mod target;
mod terminal;
mod training;
mod unsupervised;
mod verbs;
mod watch;
mod whole;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use host::{Host, Show};

fn main() -> ExitCode {
    let args = cli::Args::parse();
    let host = Host::new(Show::of(&args), args.verb.name());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ran = runtime.context("cannot start the runtime").and_then(|runtime| {
        runtime.block_on(async {
            interrupt::listen();
            verbs::run(&args, &host).await
        })
    });
    exit::end(&host, ran)
}
