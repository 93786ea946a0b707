//! The embedded cloud as a process on this machine: start, find, stop.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use steppe_aws::Target;

use crate::artifacts::own_binary;

/// Longest time until the cloud answers.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Longest time until it has ended.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// The embedded cloud of this checkout.
#[derive(Debug, Clone)]
pub struct LocalCloud {
    root: PathBuf,
    /// Its state.
    pub dir: PathBuf,
    port: u16,
}

/// `cloud.json`: what a running cloud says about itself.
#[derive(Debug, Clone, Deserialize)]
pub struct About {
    /// Process.
    pub pid: u32,
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Region.
    pub region: String,
}

#[derive(Deserialize)]
struct Keys {
    access_key_id: String,
    secret_access_key: String,
}

impl LocalCloud {
    /// The cloud whose state is in `scratch/local`.
    ///
    /// `STEPPE_PORT` goes before the configured port: tests and second checkouts need one of their own.
    pub fn new(root: &Path, scratch: &Path, port: u16) -> Self {
        let port = std::env::var("STEPPE_PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(port);
        Self { root: root.to_owned(), dir: scratch.join("local"), port }
    }

    /// The running cloud, if there is one.
    pub fn running(&self) -> Option<About> {
        let about: About =
            serde_json::from_slice(&std::fs::read(self.dir.join("cloud.json")).ok()?).ok()?;
        // A crash leaves the file; another program may have got the number since.
        let command_line = std::fs::read(format!("/proc/{}/cmdline", about.pid)).ok()?;
        let ours = String::from_utf8_lossy(&command_line).contains("steppe-cloud");
        (ours && answers(about.port)).then_some(about)
    }

    /// Starts the cloud unless it runs; one of an older build is restarted. Says whether it was started.
    pub fn start(&self) -> Result<(About, bool)> {
        if let Some(about) = self.running() {
            if !is_outdated(about.pid) {
                return Ok((about, false));
            }
            self.stop()?;
        }
        std::fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot create {}", self.dir.display()))?;
        let log_file = self.dir.join("cloud.log");
        let log = std::fs::File::create(&log_file)
            .with_context(|| format!("cannot write {}", log_file.display()))?;
        let binary = own_binary(&self.root, "steppe-cloud");
        let mut command = std::process::Command::new(&binary);
        command.arg("serve").arg("--state").arg(&self.dir).args(["--port", &self.port.to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A group of its own: Ctrl-C in this terminal must not stop the cloud.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().with_context(|| {
            format!(
                "cannot start {}\nhint: `cargo build --bin steppe-cloud` builds it",
                binary.display()
            )
        })?;
        let started = Instant::now();
        loop {
            if let Some(about) = self.running() {
                return Ok((about, true));
            }
            let log = || std::fs::read_to_string(&log_file).unwrap_or_default();
            if child.try_wait()?.is_some() {
                bail!(
                    "the embedded cloud did not start: {}",
                    log().trim().trim_start_matches("error: ")
                );
            }
            if started.elapsed() > START_LIMIT {
                bail!(
                    "the embedded cloud did not answer within {} seconds:\n{}",
                    START_LIMIT.as_secs(),
                    log().trim()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the cloud; says whether it ran.
    pub fn stop(&self) -> Result<bool> {
        let Some(about) = self.running() else { return Ok(false) };
        let pid = about.pid.to_string();
        let status = std::process::Command::new("kill")
            .args(["-s", "TERM", &pid])
            .status()
            .context("cannot run `kill`")?;
        if !status.success() {
            bail!("cannot stop the embedded cloud, process {pid}");
        }
        let started = Instant::now();
        while is_alive(about.pid) {
            if started.elapsed() > STOP_LIMIT {
                bail!(
                    "the embedded cloud, process {pid}, did not end within {} seconds",
                    STOP_LIMIT.as_secs()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(true)
    }

    /// Stops the cloud and deletes its state.
    pub fn reset(&self) -> Result<()> {
        self.stop()?;
        match std::fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("cannot delete {}", self.dir.display()))
            }
            _ => Ok(()),
        }
    }

    /// How to speak to the running cloud.
    pub fn target(&self, about: &About) -> Result<Target> {
        let file = self.dir.join("credentials.json");
        let keys: Keys = serde_json::from_slice(&std::fs::read(&file)?).with_context(|| {
            format!("{} is damaged\nhint: `cargo xtask local reset` starts over", file.display())
        })?;
        Ok(Target {
            endpoint: Some(format!("http://127.0.0.1:{}", about.port)),
            region: about.region.clone(),
            profile: None,
            keys: Some((keys.access_key_id, keys.secret_access_key)),
        })
    }
}

fn answers(port: u16) -> bool {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}

/// Whether the process still exists and is more than a zombie.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next())
        .is_some_and(|state| state != "Z")
}

/// Whether the program's file was replaced after the process began.
fn is_outdated(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe"))
        .is_ok_and(|exe| exe.to_string_lossy().ends_with(" (deleted)"))
}
