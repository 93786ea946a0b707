//! The embedded cloud as a process on this machine: start, find, stop.
//!
//! A process is ours when it proves it: it must know the identity in its state folder, which only
//! the folder's owner can read, and must work on this very folder. A number in a file proves
//! nothing: the file may be a copy, and the number may be another program's by now.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use steppe_aws::Target;
use steppe_plan::environment::EMBEDDED_ACCOUNT;
use steppe_wire::hint::{Hinted, parts};

use crate::artifacts::own_binary;
use crate::hint::OrHint;
use crate::lock::others_work;
use crate::project::{make_private, private_file};

/// Longest time until the cloud answers.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Longest time until it has ended.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Longest time of a question to it.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// The header that proves who asks.
const IDENTITY_HEADER: &str = "x-steppe-identity";

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

/// What it answers to those who know its identity.
#[derive(Debug, Deserialize)]
struct Health {
    pid: u32,
    /// The canonical path of its state folder.
    state: PathBuf,
}

#[derive(Deserialize)]
struct Ticket {
    ticket: String,
}

#[derive(Deserialize)]
struct Keys {
    access_key_id: String,
    secret_access_key: String,
}

impl LocalCloud {
    /// The cloud whose state is in `scratch/local`.
    ///
    /// `STEPPE_PORT` goes before the configured port: tests and second checkouts need one of their
    /// own.
    pub fn new(root: &Path, scratch: &Path, port: u16) -> Result<Self> {
        let port = match std::env::var("STEPPE_PORT") {
            Ok(text) => text.parse().or_hint(|| {
                Hinted::new(
                    format!("STEPPE_PORT is `{text}`, which is not a port"),
                    "a number from 0 to 65535; 0 takes any free one",
                )
            })?,
            Err(_) => port,
        };
        Ok(Self { root: root.to_owned(), dir: scratch.join("local"), port })
    }

    /// The running cloud, if there is one.
    pub fn running(&self) -> Option<About> {
        let about: About =
            serde_json::from_slice(&std::fs::read(self.dir.join("cloud.json")).ok()?).ok()?;
        let (status, body) = self.ask(about.port, "GET", "/_steppe/health").ok()?;
        let health: Health = serde_json::from_slice(&body).ok().filter(|_| status == 200)?;
        let ours = health.state == self.dir.canonicalize().ok()?;
        ours.then_some(About { pid: health.pid, ..about })
    }

    /// Whether the endpoint is where this cloud is or would be.
    pub fn is_at(&self, endpoint: &str) -> bool {
        let port = self.running().map_or(self.port, |about| about.port);
        port != 0 && endpoint.trim_end_matches('/') == format!("http://127.0.0.1:{port}")
    }

    /// Asks with the proof of who we are; nothing of the user's, such as a proxy, is in between.
    fn ask(&self, port: u16, method: &str, path: &str) -> Result<(u16, Vec<u8>)> {
        let file = self.dir.join("identity");
        let identity = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{IDENTITY_HEADER}: {}\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n",
            identity.trim()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n").context("no answer")?;
        let status = std::str::from_utf8(&answer[..head])?.split(' ').nth(1);
        Ok((status.context("no status")?.parse()?, answer.split_off(head + 4)))
    }

    /// The running cloud, unless it is of an older build and nobody is cut off by a restart.
    pub fn current(&self, own_stack: Option<&str>) -> Option<About> {
        let about = self.running()?;
        let scratch = self.dir.parent().unwrap_or(&self.dir);
        (!is_outdated(about.pid) || others_work(scratch, own_stack)).then_some(about)
    }

    /// Starts the cloud unless it runs; says whether it was started. One of an older build is
    /// restarted, unless a command works on another deployment than `own_stack` in it.
    #[expect(clippy::disallowed_methods, reason = "a process's start and end wake nobody")]
    pub fn start(&self, own_stack: Option<&str>) -> Result<(About, bool)> {
        if let Some(about) = self.current(own_stack) {
            return Ok((about, false));
        }
        self.stop()?;
        make_private(&self.dir)?;
        let log_file = self.dir.join("cloud.log");
        let log = private_file()
            .truncate(true)
            .open(&log_file)
            .with_context(|| format!("cannot write {}", log_file.display()))?;
        let mut child = self.spawn(log)?;
        let started = Instant::now();
        loop {
            if let Some(about) = self.running() {
                return Ok((about, true));
            }
            let log = || std::fs::read_to_string(&log_file).unwrap_or_default();
            if child.try_wait().context("cannot ask for the embedded cloud's end")?.is_some() {
                let (why, hints) = parts(log().trim().trim_start_matches("error: "));
                bail!(Hinted::with(format!("the embedded cloud did not start: {why}"), hints));
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

    fn spawn(&self, log: std::fs::File) -> Result<std::process::Child> {
        let binary = own_binary(&self.root, "steppe-cloud");
        let mut command = std::process::Command::new(&binary);
        command.arg("serve").arg("--state").arg(&self.dir).args(["--port", &self.port.to_string()]);
        // The user's keys and endpoints are none of its business.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A group of its own: Ctrl-C in this terminal must not stop the cloud.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().or_hint(|| {
            Hinted::new(
                format!("cannot start {}", binary.display()),
                "`cargo build --bin steppe-cloud` builds it",
            )
        })
    }

    /// Asks the cloud to stop and waits for its end; says whether it ran.
    #[expect(clippy::disallowed_methods, reason = "a process's start and end wake nobody")]
    pub fn stop(&self) -> Result<bool> {
        let Some(about) = self.running() else { return Ok(false) };
        let pid = about.pid;
        let (status, _) = self.ask(about.port, "POST", "/_steppe/stop").with_context(|| {
            format!("the embedded cloud, process {pid}, cannot be asked to stop")
        })?;
        if !(200..300).contains(&status) {
            bail!("the embedded cloud, process {pid}, refuses to stop: status {status}");
        }
        let started = Instant::now();
        while is_alive(pid) {
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

    /// The link into the console of the running cloud, for its owner only.
    pub fn console_link(&self, about: &About) -> Result<String> {
        let file = self.dir.join("identity");
        let identity = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        Ok(console_address(about, identity.trim()))
    }

    /// A link that opens the console once and soon: unlike the other one it may be seen by other
    /// users, as command lines are.
    pub fn console_ticket(&self, about: &About) -> Result<String> {
        let (status, body) = self.ask(about.port, "POST", "/_steppe/ticket")?;
        if status != 200 {
            bail!("the embedded cloud gives no ticket for its console: status {status}");
        }
        let ticket: Ticket = serde_json::from_slice(&body)?;
        Ok(console_address(about, &ticket.ticket))
    }

    /// How to speak to the running cloud.
    pub fn target(&self, about: &About) -> Result<Target> {
        let file = self.dir.join("credentials.json");
        let bytes =
            std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let keys: Keys = serde_json::from_slice(&bytes).or_hint(|| {
            Hinted::new(
                format!("{} is damaged", file.display()),
                "`cargo xtask local reset` starts over",
            )
        })?;
        Ok(Target {
            endpoint: Some(format!("http://127.0.0.1:{}", about.port)),
            region: about.region.clone(),
            account: EMBEDDED_ACCOUNT.to_owned(),
            profile: None,
            keys: Some((keys.access_key_id, keys.secret_access_key)),
        })
    }
}

fn console_address(about: &About, token: &str) -> String {
    format!("http://127.0.0.1:{}/_steppe/login?token={token}", about.port)
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
