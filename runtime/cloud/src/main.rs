//! Starts the embedded cloud, or one of the commands that its instances have.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde_json::json;
use steppe_cloud::cloud::{Cloud, Config};
use steppe_cloud::services::{ec2, events, states};
use steppe_cloud::{cloudformation, http, instance_tools};
use tokio::signal::unix::{SignalKind, signal};

/// AWS on this machine, as much of it as Steppe's stacks use.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve until SIGTERM or SIGINT.
    Serve(Serve),
    /// Answers JSONata templates, one line each; state machines call it.
    #[command(hide = true)]
    Evaluate,
    /// What instances call as `aws`, `curl`, `systemctl` and `journalctl`.
    InstanceTool {
        /// The command.
        tool: String,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(clap::Args)]
struct Serve {
    /// Directory of all state.
    #[arg(long)]
    state: PathBuf,
    /// Port on 127.0.0.1; 0 takes any free one.
    #[arg(long)]
    port: u16,
    /// Account number.
    #[arg(long, default_value = "000000000000")]
    account: String,
    /// Region.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// The SQL engine's binary; by default beside this one.
    #[arg(long)]
    engine: Option<PathBuf>,
}

// Two workers are enough for what waits most of the time, and keep the idle process small.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let result = match Args::parse().verb {
        Verb::Serve(serve) => run(serve).await,
        Verb::Evaluate => states::serve_evaluations().context("cannot evaluate"),
        Verb::InstanceTool { tool, arguments } => instance_tools::run(&tool, &arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(serve: Serve) -> Result<()> {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let own_binary = std::env::current_exe().context("cannot find this program's own file")?;
    let engine = serve.engine.unwrap_or_else(|| own_binary.with_file_name("steppe-etl"));
    if !engine.exists() {
        bail!(
            "the SQL engine {} does not exist\nhint: build it with `cargo build --bin steppe-etl`",
            engine.display()
        );
    }
    std::fs::create_dir_all(&serve.state)
        .with_context(|| format!("cannot create {}", serve.state.display()))?;
    let listener = listen_again(serve.port, &serve.state.join("port")).await?;
    let state_dir = serve.state.canonicalize()?;
    let port = listener.local_addr()?.port();
    let cloud = Cloud::open(Config {
        state_dir: state_dir.clone(),
        account: serve.account,
        region: serve.region,
        port,
        engine,
        own_binary,
    })?;
    states::end_orphans(&cloud);
    // Stacks that are taken up again may delete instances, which must run by then.
    ec2::resume_all(&cloud);
    cloudformation::resume(&cloud);
    tokio::spawn(events::run_schedules(cloud.clone()));
    // Written last: whoever sees the file finds a cloud that answers.
    let about = json!({ "pid": std::process::id(), "port": port, "account": cloud.config.account, "region": cloud.config.region });
    std::fs::write(state_dir.join("cloud.json.new"), about.to_string())?;
    std::fs::rename(state_dir.join("cloud.json.new"), state_dir.join("cloud.json"))?;
    tracing::info!(port, state = %state_dir.display(), "ready");
    let stop = Arc::new(tokio::sync::Notify::new());
    let server = tokio::spawn(http::serve(cloud.clone(), listener, stop.clone()));
    tokio::select! {
        signalled = wait_for_signal() => signalled?,
        () = cloud.stop.notified() => {}
    }
    tracing::info!("stopping");
    ec2::stop_all(&cloud).await;
    cloud.environments.retire_all();
    stop.notify_waiters();
    // Connections that clients keep open must not keep the process.
    let ended = tokio::time::timeout(std::time::Duration::from_millis(300), server).await;
    std::fs::remove_file(state_dir.join("cloud.json"))?;
    ended.map_or(Ok(()), |joined| joined?.context("the server broke off"))
}

/// Any free port stays the same one across restarts, because stacks hold addresses with it.
async fn listen_again(port: u16, file: &Path) -> Result<tokio::net::TcpListener> {
    let last = std::fs::read_to_string(file).ok().and_then(|t| t.trim().parse().ok());
    let listener = match last {
        Some(last) if port == 0 => match listen(last).await {
            Ok(listener) => listener,
            Err(_) => listen(0).await?,
        },
        _ => listen(port).await?,
    };
    std::fs::write(file, listener.local_addr()?.port().to_string())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(listener)
}

async fn listen(port: u16) -> Result<tokio::net::TcpListener> {
    match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!(
                "port {port} on 127.0.0.1 is taken by another program\nhint: set another `port` for the environment in steppe.toml, or stop that program"
            )
        }
        other => other.with_context(|| format!("cannot listen on 127.0.0.1:{port}")),
    }
}

async fn wait_for_signal() -> Result<()> {
    let (mut term, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
    Ok(())
}
