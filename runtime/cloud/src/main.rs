//! Starts the embedded cloud, or one of the commands that its instances have.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde_json::json;
use steppe_cloud::kernel::cloud::{Cloud, Config};
use steppe_cloud::kernel::folder::{StateFolder, write_private};
use steppe_cloud::kernel::{log, processes};
use steppe_cloud::protocol;
use steppe_cloud::services;
use steppe_cloud::services::cloudformation;
use steppe_cloud::services::ec2::instance_tools;
use steppe_cloud::services::{
    athena, cloudwatch, dynamodb, ec2, events, firehose, glue, kinesis, lambda, logs, scheduler,
    states,
};
use steppe_wire::hint::{Hinted, told};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What is logged unless `RUST_LOG` says otherwise. `s3s` would make two spans of every request.
const LOG_FILTER: &str = "info,s3s=warn";

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
    /// Lists the operations that there are, with what they read of their inputs.
    #[command(hide = true)]
    Operations,
    /// Lists the resource types that templates can have.
    #[command(hide = true)]
    Types,
    /// Answers JSONata templates, one line each; state machines call it.
    #[command(hide = true)]
    Evaluate,
    /// What instances call as `aws`, `curl`, `systemctl`, `journalctl` and `cfn-signal`.
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
        Verb::Types => write_types(&mut log::Lossy(std::io::stdout())),
        Verb::Operations => write_operations(&mut log::Lossy(std::io::stdout())),
        Verb::Evaluate => states::serve_evaluations().context("cannot evaluate"),
        Verb::InstanceTool { tool, arguments } => instance_tools::run(&tool, &arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody can be told, the exit code still says it.
            let _ = writeln!(log::Lossy(std::io::stderr()), "error: {}", told(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn write_types(out: &mut impl Write) -> Result<()> {
    for kind in steppe_cloud::kernel::resource::all() {
        writeln!(out, "{}", kind.name)?;
    }
    Ok(())
}

fn write_operations(out: &mut impl Write) -> Result<()> {
    for service in steppe_cloud::services::all() {
        for operation in service.operations {
            write!(out, "{} {}", service.id, operation.name)?;
            operation.members.iter().try_for_each(|reads| write!(out, " {}", reads.name))?;
            writeln!(out)?;
        }
        for operation in (service.elsewhere)() {
            writeln!(out, "{} {operation} -", service.id)?;
        }
    }
    Ok(())
}

async fn run(serve: Serve) -> Result<()> {
    processes::keep_private();
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| LOG_FILTER.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| log::Lossy(std::io::stderr()))
        .with_ansi(false)
        .init();
    let own_binary = std::env::current_exe().context("cannot find this program's own file")?;
    let engine = serve.engine.unwrap_or_else(|| own_binary.with_file_name("steppe-etl"));
    // Programs are started in other folders than this one.
    let engine = std::path::absolute(engine).context("cannot find the SQL engine")?;
    if !engine.exists() {
        bail!(Hinted::new(
            format!("the SQL engine {} does not exist", engine.display()),
            "build it with `cargo build --bin steppe-etl`"
        ));
    }
    // From here on: what is taken up again may be waited for, and then stopped.
    let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let folder = StateFolder::take(&serve.state)?;
    let state_dir = folder.path().to_owned();
    let state_text = state_dir.display().to_string();
    // A cloud that was killed may have left children's children.
    let left = processes::end_marked(processes::MARK, &state_text);
    if left > 0 {
        tracing::warn!(left, "processes of an earlier embedded cloud were still there");
    }
    let listener = listen_again(serve.port, &state_dir.join("port")).await?;
    let port = listener.local_addr()?.port();
    folder.describe(&format!("process {}, port {port}", std::process::id()))?;
    let cloud = Cloud::open(Config {
        state_dir: state_dir.clone(),
        account: serve.account,
        region: serve.region,
        port,
        engine,
        own_binary,
    })?;
    resume(&cloud);
    // Written last: whoever sees the file finds a cloud that answers.
    let about = json!({
        "pid": std::process::id(), "port": port, "account": cloud.config.account,
        "region": cloud.config.region,
    });
    let about_file = state_dir.join("cloud.json");
    write_private(&about_file, about.to_string().as_bytes())
        .with_context(|| format!("cannot write {}", about_file.display()))?;
    tracing::info!(port, state = %state_dir.display(), "ready");
    let stop = Arc::new(tokio::sync::Notify::new());
    let server = tokio::spawn(protocol::serve(cloud.clone(), listener, stop.clone()));
    wait_for_the_end(&cloud, signals).await;
    tracing::info!("stopping");
    ec2::stop_all(&cloud).await;
    cloud.services.lambda.environments.retire_all();
    stop.notify_waiters();
    // Connections that clients keep open must not keep the process.
    let ended = tokio::time::timeout(Duration::from_millis(300), server).await;
    processes::end_marked(processes::MARK, &state_text);
    std::fs::remove_file(about_file).context("cannot remove cloud.json")?;
    ended.map_or(Ok(()), |joined| joined?.context("the server broke off"))
}

/// Takes up or ends what an earlier process of this cloud left. Stacks come after what they are
/// made of.
fn resume(cloud: &Arc<Cloud>) {
    ec2::resume_all(cloud);
    ec2::resume_interfaces(cloud);
    lambda::remove_leftovers(cloud);
    glue::end_orphans(cloud);
    athena::end_orphans(cloud);
    // Executions come after the jobs and queries that ended with the process.
    states::resume(cloud);
    // Stacks that are taken up again may delete instances, which must run by then.
    cloudformation::resume(cloud);
    services::run_deliveries(cloud);
    firehose::resume(cloud);
    tokio::spawn(cloudwatch::evaluate(cloud.clone()));
    tokio::spawn(cloudwatch::keep(cloud.clone()));
    tokio::spawn(dynamodb::expire(cloud.clone()));
    tokio::spawn(dynamodb::streams::keep_retention(cloud.clone()));
    tokio::spawn(events::run_schedules(cloud.clone()));
    tokio::spawn(scheduler::run_schedules(cloud.clone()));
    tokio::spawn(kinesis::keep_retention(cloud.clone()));
    tokio::spawn(logs::keep_retention(cloud.clone()));
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
            bail!(Hinted::new(
                format!("port {port} on 127.0.0.1 is taken by another program"),
                "set another `port` for the environment in steppe.toml, or stop that program"
            ))
        }
        other => other.with_context(|| format!("cannot listen on 127.0.0.1:{port}")),
    }
}

/// Waits for SIGTERM, SIGINT, or a request to stop.
async fn wait_for_the_end(cloud: &Cloud, (mut term, mut interrupt): (Signal, Signal)) {
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
        () = cloud.stop.notified() => {}
    }
}
