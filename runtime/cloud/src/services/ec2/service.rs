//! Services of instances: started, watched and started again as systemd does.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::unit::{Restart, Unit};
use crate::kernel::cloud::Cloud;
use crate::kernel::faults::Faults;
use crate::kernel::processes::{Process, Program, Signal};

/// How long a service may take to end before it is killed. systemd waits 90 seconds.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// A log that has grown beyond this is cut down.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What is left of it.
const LOG_BYTES_KEPT: u64 = 1024 * 1024;
/// How often logs are looked at.
const LOG_CHECK: Duration = Duration::from_secs(10);

/// Tells whoever stops something that it has ended.
type Stop = oneshot::Sender<oneshot::Sender<()>>;
/// Instance and unit.
type Key = (String, String);

/// What a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Active,
    /// It waits for its next start.
    Activating,
    /// It is given up.
    Failed,
    /// It ended, and that was right.
    Inactive,
}

impl State {
    /// As `systemctl is-active` says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Activating => "activating",
            Self::Failed => "failed",
            Self::Inactive => "inactive",
        }
    }
}

#[derive(Debug)]
struct Slot {
    generation: u64,
    state: State,
    stop: Option<Stop>,
}

/// What runs in the instances of one cloud.
#[derive(Debug, Default)]
pub struct Services {
    slots: Mutex<BTreeMap<Key, Slot>>,
    generations: AtomicU64,
}

impl Services {
    fn slots(&self) -> MutexGuard<'_, BTreeMap<Key, Slot>> {
        self.slots.lock()
    }

    /// The state of a service.
    pub fn state(&self, instance: &str, name: &str) -> State {
        let key = (instance.to_owned(), name.to_owned());
        self.slots().get(&key).map_or(State::Inactive, |s| s.state)
    }

    /// Enters what is about to run; `None` when it runs already.
    fn enter(&self, key: &Key) -> Option<(u64, oneshot::Receiver<oneshot::Sender<()>>)> {
        let mut slots = self.slots();
        if slots.get(key).is_some_and(|s| matches!(s.state, State::Active | State::Activating)) {
            return None;
        }
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let (stop, stopped) = oneshot::channel();
        slots.insert(key.clone(), Slot { generation, state: State::Active, stop: Some(stop) });
        Some((generation, stopped))
    }

    /// Changes the state of what still is what was entered.
    fn set(&self, key: &Key, generation: u64, state: State) {
        if let Some(slot) = self.slots().get_mut(key).filter(|s| s.generation == generation) {
            slot.state = state;
        }
    }

    /// Stops one service and waits for its end.
    pub async fn stop(&self, instance: &str, name: &str) {
        let slot = self.slots().remove(&(instance.to_owned(), name.to_owned()));
        let Some(stop) = slot.and_then(|s| s.stop) else { return };
        let (done, ended) = oneshot::channel();
        if stop.send(done).is_ok() {
            // An error means that the service ended by itself in the meantime.
            ended.await.unwrap_or_default();
        }
    }

    /// Stops everything in an instance.
    pub async fn stop_instance(&self, instance: &str) {
        let names: Vec<String> =
            self.slots().keys().filter(|(i, _)| i == instance).map(|(_, n)| n.clone()).collect();
        let stops = names.iter().map(|name| self.stop(instance, name));
        futures::future::join_all(stops).await;
    }
}

/// Starts a program that runs once, such as user data, and calls `ended` when it has.
pub fn run_once(
    cloud: &Arc<Cloud>,
    instance: &str,
    name: &str,
    program: Program,
    ended: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    let key = (instance.to_owned(), name.to_owned());
    let services = &cloud.services.ec2.machines.services;
    let Some((generation, mut stopped)) = services.enter(&key) else { return Ok(()) };
    let mut process = program.start().inspect_err(|_| {
        services.set(&key, generation, State::Failed);
    })?;
    let cloud = cloud.clone();
    tokio::spawn(async move {
        let state = tokio::select! {
            status = process.wait() => match status {
                Ok(status) if status.success() => State::Inactive,
                other => {
                    tracing::warn!(instance = key.0, "{} ended with {other:?}", key.1);
                    State::Failed
                }
            },
            done = &mut stopped => {
                process.stop(Duration::ZERO).await;
                return tell(done);
            }
        };
        ended();
        cloud.services.ec2.machines.services.set(&key, generation, state);
    });
    Ok(())
}

/// A service to be started.
#[derive(Debug)]
pub struct Service {
    /// Its unit.
    pub unit: Unit,
    /// Environment besides the unit's own.
    pub environment: Vec<(String, String)>,
    /// Folder of its logs.
    pub logs: PathBuf,
    /// Name without `.service`.
    pub name: String,
}

/// Starts a service unless it runs.
pub fn start(cloud: &Arc<Cloud>, instance: &str, service: Service) {
    let key = (instance.to_owned(), service.name.clone());
    let Some((generation, stopped)) = cloud.services.ec2.machines.services.enter(&key) else {
        return;
    };
    let cloud = cloud.clone();
    tokio::spawn(async move {
        let tell_state = |state| cloud.services.ec2.machines.services.set(&key, generation, state);
        let last = service.supervise(&cloud.faults, &tell_state, stopped).await;
        tell_state(last);
    });
}

impl Service {
    /// Runs the service until it is stopped, ends for good, or is given up.
    async fn supervise(
        &self,
        faults: &Faults,
        tell_state: &(impl Fn(State) + Sync),
        mut stopped: oneshot::Receiver<oneshot::Sender<()>>,
    ) -> State {
        let mut starts = Starts::new(self.unit.start_interval, self.unit.start_burst);
        loop {
            if !starts.allow(Instant::now()) {
                self.note("Start request repeated too quickly.");
                self.note("Failed with result 'start-limit-hit'.");
                return State::Failed;
            }
            let mut process = match self.spawn(faults.unit(&self.name)) {
                Ok(process) => process,
                Err(error) => {
                    self.note(&format!("Failed to start: {}: {error}", self.unit.exec[0]));
                    return State::Failed;
                }
            };
            tell_state(State::Active);
            let status = tokio::select! {
                status = self.watch(&mut process) => status,
                done = &mut stopped => {
                    process.stop(STOP_LIMIT).await;
                    tell(done);
                    return State::Inactive;
                }
            };
            let clean = status.is_ok_and(is_clean);
            self.note(&format!("Main process exited, {}", if clean { "clean" } else { "failed" }));
            if self.unit.restart == Restart::No
                || (clean && self.unit.restart == Restart::OnFailure)
            {
                return if clean { State::Inactive } else { State::Failed };
            }
            tell_state(State::Activating);
            tokio::select! {
                () = tokio::time::sleep(self.unit.restart_after) => {}
                done = &mut stopped => {
                    tell(done);
                    return State::Inactive;
                }
            }
        }
    }

    /// Starts the program; or, when it has to fail, one that does nothing else.
    fn spawn(&self, fails: bool) -> std::io::Result<Process> {
        self.note("Started.");
        let out = self.log(self.unit.out_on_console)?;
        let err = self.log(self.unit.err_on_console.unwrap_or(self.unit.out_on_console))?;
        let failing = ["false".to_owned()];
        let exec = if fails { failing.as_slice() } else { self.unit.exec.as_slice() };
        Program::new(&exec[0])
            .args(&exec[1..])
            .env(self.environment.iter().cloned())
            .env(self.unit.environment.iter().cloned())
            .output(out, err)
            .start()
    }

    /// Waits for the end of the main process, and ends what it leaves in its group.
    async fn watch(&self, process: &mut Process) -> std::io::Result<ExitStatus> {
        let status = loop {
            tokio::select! {
                status = process.wait() => break status,
                () = tokio::time::sleep(LOG_CHECK) => self.trim(),
            }
        };
        process.tell(Signal::Kill);
        status
    }

    fn file(&self, on_console: bool) -> PathBuf {
        self.logs.join(format!("{}.{}", self.name, if on_console { CONSOLE } else { JOURNAL }))
    }

    fn log(&self, on_console: bool) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.file(on_console))
    }

    /// Writes what systemd would write about the service.
    fn note(&self, text: &str) {
        tracing::info!(service = self.name, "{text}");
        // In one piece: the service writes to the same file.
        let line = format!("{}.service: {text}\n", self.name);
        let written =
            self.log(self.unit.out_on_console).and_then(|mut log| log.write_all(line.as_bytes()));
        written.unwrap_or_else(|e| tracing::warn!("a line of a journal is lost: {e}"));
    }

    fn trim(&self) {
        for on_console in [false, true] {
            trim(&self.file(on_console)).unwrap_or_else(|e| tracing::warn!("a log is full: {e}"));
        }
    }
}

/// What only the journal has.
pub const JOURNAL: &str = "journal";
/// What journal and console have.
pub const CONSOLE: &str = "console";

/// The end of a file.
pub fn tail(file: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut text = Vec::new();
    file.take(bytes_max).read_to_end(&mut text)?;
    Ok(text)
}

/// Cuts down a log that others append to; lines that they write meanwhile may be lost.
fn trim(file: &Path) -> std::io::Result<()> {
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() > LOG_BYTES_MAX => {
            let kept = tail(file, LOG_BYTES_KEPT)?;
            let mut file = OpenOptions::new().append(true).open(file)?;
            file.set_len(0)?;
            file.write_all(&kept)
        }
        _ => Ok(()),
    }
}

/// Whether systemd calls an end clean: exit code 0, or a signal that asks to end.
fn is_clean(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let polite = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE];
    status.success() || status.signal().is_some_and(|s| polite.contains(&s))
}

/// Recent starts of a service, for systemd's limit of starts within a time.
#[derive(Debug)]
struct Starts {
    interval: Duration,
    burst: usize,
    recent: VecDeque<Instant>,
}

impl Starts {
    fn new(interval: Duration, burst: usize) -> Self {
        Self { interval, burst, recent: VecDeque::new() }
    }

    /// Whether the service may be started once more. An interval or burst of 0 is no limit.
    fn allow(&mut self, now: Instant) -> bool {
        if self.interval.is_zero() || self.burst == 0 {
            return true;
        }
        self.recent.retain(|start| now.duration_since(*start) < self.interval);
        if self.recent.len() >= self.burst {
            return false;
        }
        self.recent.push_back(now);
        true
    }
}

/// Tells whoever stopped a process that it has ended; they may have stopped waiting.
fn tell(done: Result<oneshot::Sender<()>, oneshot::error::RecvError>) {
    if let Ok(done) = done {
        done.send(()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_limited_within_a_time_and_not_for_ever() {
        let began = Instant::now();
        let after = |secs| began + Duration::from_secs(secs);
        let mut starts = Starts::new(Duration::from_secs(10), 2);
        assert!(starts.allow(began) && starts.allow(after(1)));
        assert!(!starts.allow(after(9)));
        assert!(starts.allow(after(11)));
        let mut unlimited = Starts::new(Duration::ZERO, 2);
        assert!((0..100).all(|_| unlimited.allow(began)));
    }

    #[test]
    fn a_log_that_grows_is_cut_down_to_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("log");
        std::fs::write(&file, vec![b'a'; LOG_BYTES_MAX as usize]).expect("written");
        OpenOptions::new().append(true).open(&file).expect("there").write_all(b"end").expect("ok");
        trim(&file).expect("trimmed");
        let left = std::fs::read(&file).expect("there");
        assert!(left.len() as u64 == LOG_BYTES_KEPT && left.ends_with(b"aend"));
    }
}
