//! The one place that starts programs: functions, what runs in instances, engines, evaluators.
//!
//! A program gets what its [`Program`] names and nothing else of this process: no environment, no
//! open files, no input. It leaves no core file, which would have its secrets, and has limits where
//! its caller sets them.
//!
//! It ends with this process, whatever happens to it. Three nets, one below the other: everything
//! is started in a process group of its own, which is killed as a whole when its [`Process`] is
//! dropped; Linux kills a direct child when the cloud dies (`PR_SET_PDEATHSIG`); and what speaks to
//! the cloud has the state folder in its environment ([`MARK`]), so the next cloud on that folder
//! finds what is left of children's children and ends it.

mod marks;

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

pub use marks::{end_marked, made_by};

/// Variable in the environment of everything that a cloud starts: its state folder.
pub const MARK: &str = "STEPPE_CLOUD";
/// What is kept of the errors that a program tells.
const ERRORS_BYTES_MAX: u64 = 64 * 1024;

/// A program that is to be started, in `/`, without environment, input and output unless they are
/// named.
#[derive(Debug)]
pub struct Program {
    command: Command,
    address_space: Option<u64>,
    open_files: Option<u64>,
}

impl Program {
    /// The program at a path, or of that name in the `PATH` that it is given.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { command, address_space: None, open_files: None }
    }

    /// More arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// More variables; a later one of the same name counts.
    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.command.envs(variables);
        self
    }

    /// The folder that it runs in.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Where standard output and standard error go.
    pub fn output(mut self, output: impl Into<Stdio>, errors: impl Into<Stdio>) -> Self {
        self.command.stdout(output).stderr(errors);
        self
    }

    /// Bytes of its address space.
    pub fn address_space(mut self, bytes_max: u64) -> Self {
        self.address_space = Some(bytes_max);
        self
    }

    /// Files that it may have open.
    pub fn open_files(mut self, count_max: u64) -> Self {
        self.open_files = Some(count_max);
        self
    }

    /// Starts it. This must be called within a runtime.
    pub fn start(mut self) -> io::Result<Process> {
        let parent = std::process::id();
        let (address_space, open_files) = (self.address_space, self.open_files);
        self.command.process_group(0).kill_on_drop(true);
        // SAFETY: what runs between fork and exec only makes system calls; it takes no lock and
        // allocates nothing.
        unsafe {
            self.command.pre_exec(move || {
                die_with(parent)?;
                inherit_nothing();
                limit(libc::RLIMIT_CORE, Some(0))?;
                limit(libc::RLIMIT_AS, address_space)?;
                limit(libc::RLIMIT_NOFILE, open_files)
            });
        }
        let child = hand_over(self.command)?;
        let leader = child.id().ok_or_else(|| io::Error::other("the process has no number"))?;
        Ok(Process { child, leader, ended: false })
    }

    /// Starts it with pipes, to speak with.
    pub fn start_with_pipes(mut self) -> io::Result<(Process, Pipes)> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = self.start()?;
        let missing = || io::Error::other("the process has no pipes");
        let child = &mut process.child;
        let pipes = Pipes {
            input: child.stdin.take().ok_or_else(missing)?,
            output: child.stdout.take().ok_or_else(missing)?,
            errors: tokio::spawn(head_of(child.stderr.take().ok_or_else(missing)?)),
        };
        Ok((process, pipes))
    }
}

/// Our ends of a process's pipes.
#[derive(Debug)]
pub struct Pipes {
    /// What it reads.
    pub input: ChildStdin,
    /// What it writes.
    pub output: ChildStdout,
    /// The beginning of what it says of errors, once it has ended.
    pub errors: JoinHandle<String>,
}

/// The first part; the rest is read and forgotten, so that nobody waits for a reader.
async fn head_of(mut errors: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut first = (&mut errors).take(ERRORS_BYTES_MAX);
    if let Err(error) = first.read_to_end(&mut kept).await {
        tracing::warn!("the errors of a process cannot be read: {error}");
    }
    if let Err(error) = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await {
        tracing::warn!("the errors of a process cannot be read: {error}");
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// A process that was started. Dropping it while it runs kills its whole group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    leader: u32,
    ended: bool,
}

impl Process {
    /// Its number, which is its group's, too.
    pub fn id(&self) -> u32 {
        self.leader
    }

    /// Waits for its end. What it leaves in its group goes on until somebody tells it otherwise.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.ended |= status.is_ok();
        status
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        let status = self.child.try_wait();
        self.ended |= matches!(status, Ok(Some(_)));
        matches!(status, Ok(None))
    }

    /// Tells its group.
    pub fn tell(&self, signal: Signal) {
        send(-i64::from(self.leader), signal);
    }

    /// Asks its group to end, kills what is left of it after `patience`, and waits for its end.
    pub async fn stop(&mut self, patience: Duration) {
        if !patience.is_zero() {
            self.tell(Signal::Terminate);
            // Whether it ended or not, what is left of its group goes now.
            let _ = tokio::time::timeout(patience, self.wait()).await;
        }
        self.tell(Signal::Kill);
        if let Err(error) = self.wait().await {
            tracing::warn!("the process {} did not end: {error}", self.leader);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Signal::Kill);
        }
    }
}

/// A command that somebody wants to have started.
struct Order {
    command: Command,
    runtime: Handle,
    answer: Sender<io::Result<Child>>,
}

/// Linux sends the signal of `PR_SET_PDEATHSIG` when the *thread* ends that started the child, and
/// threads of the runtime come and go. So one thread, which never ends, starts all of them. It also
/// starts them one after the other, so that none inherits the open file of a program that another
/// is about to run ("Text file busy").
static STARTER: LazyLock<Option<Sender<Order>>> = LazyLock::new(|| {
    let (orders, received) = channel();
    let thread = std::thread::Builder::new().name("starter".to_owned());
    thread.spawn(move || start_all(&received)).ok().map(|_| orders)
});

fn start_all(orders: &Receiver<Order>) {
    for mut order in orders {
        let _entered = order.runtime.enter();
        // Whoever asked may have gone away; the child is killed with its handle.
        order.answer.send(order.command.spawn()).unwrap_or_default();
    }
}

fn hand_over(command: Command) -> io::Result<Child> {
    let (answer, started) = channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    let starter = STARTER.as_ref().ok_or_else(gone)?;
    let order = Order { command, runtime: Handle::current(), answer };
    starter.send(order).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

/// Asks Linux to kill this process when its parent dies, which it may already have done.
fn die_with(parent: u32) -> io::Result<()> {
    // SAFETY: these arguments make `prctl` touch no memory.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if std::os::unix::process::parent_id() == parent {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

/// Closes, when the program begins, the files that somebody left open for this process's children.
/// Where Linux is older than 5.11 they stay open.
fn inherit_nothing() {
    let (first, last) = (libc::STDERR_FILENO + 1, libc::c_uint::MAX);
    // SAFETY: the call has no pointers; files are marked and not closed, so none is missing here.
    unsafe {
        libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC);
    }
}

/// Lowers a limit of this process and its children; none is raised.
fn limit(resource: libc::__rlimit_resource_t, most: Option<u64>) -> io::Result<()> {
    let Some(most) = most else { return Ok(()) };
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls use one structure, which lives until they return.
    let done = unsafe {
        libc::getrlimit(resource, &mut limit) == 0 && {
            limit.rlim_max = limit.rlim_max.min(most);
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(resource, &limit) == 0
        }
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Files and folders that this process and its children make are their owner's only.
pub fn keep_private() {
    // SAFETY: `umask` cannot fail and touches no memory.
    unsafe {
        libc::umask(0o077);
    }
}

/// What a process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Please end.
    Terminate,
    /// It ends.
    Kill,
}

/// Tells one process; one that is gone needs no telling.
pub fn tell(pid: u32, signal: Signal) {
    send(i64::from(pid), signal);
}

fn send(target: i64, signal: Signal) {
    let number = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
    };
    // 0 and -1 mean this process's own group and everybody.
    let Some(target) = i32::try_from(target).ok().filter(|t| !(-1..=1).contains(t)) else { return };
    // SAFETY: `kill` touches no memory of this process.
    if unsafe { libc::kill(target, number) } != 0 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ESRCH) {
            tracing::warn!("cannot signal the process {target}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shell says, and whether it ended well.
    async fn said(program: Program, script: &str) -> (bool, String, String) {
        let (mut process, mut pipes) =
            program.args(["-c", script]).start_with_pipes().expect("started");
        drop(pipes.input);
        let mut text = String::new();
        pipes.output.read_to_string(&mut text).await.expect("text");
        let status = process.wait().await.expect("ended");
        (status.success(), text, pipes.errors.await.expect("errors"))
    }

    #[tokio::test]
    async fn a_program_has_what_is_named_and_no_more() {
        let plain = || Program::new("/bin/bash").env([("GIVEN", "yes")]);
        let script = "env | grep -v -e '^_=' -e '^SHLVL' -e PWD; pwd; ulimit -c; ls /proc/$$/fd; :";
        // A file that this process leaves open for its children, as a careless library may.
        let open = std::fs::File::open("/dev/null").expect("there");
        // SAFETY: the call only copies a descriptor, which lives as long as the test.
        assert!(unsafe { libc::dup(std::os::fd::AsRawFd::as_raw_fd(&open)) } > 2);
        let path = [("PATH", "/usr/bin:/bin")];
        let (_, text, _) = said(plain().env(path), script).await;
        let mut lines: Vec<&str> = text.lines().collect();
        let files = lines.split_off(4);
        lines.sort_unstable();
        assert_eq!(lines, ["/", "0", "GIVEN=yes", "PATH=/usr/bin:/bin"]);
        assert_eq!(files, ["0", "1", "2"], "what others left open is closed");
        let limited = plain().address_space(512 * 1024 * 1024).open_files(64);
        let (_, text, _) = said(limited, "ulimit -v; ulimit -n; ulimit -Hn").await;
        assert_eq!(text, "524288\n64\n64\n");
    }

    #[tokio::test]
    async fn errors_without_end_are_read_and_only_their_beginning_kept() {
        let script = "for i in {1..20000}; do echo 'something is wrong' >&2; done; exit 3";
        let (well, text, errors) = said(Program::new("/bin/bash"), script).await;
        assert!(!well && text.is_empty());
        assert_eq!(errors.len() as u64, ERRORS_BYTES_MAX);
    }

    /// A shell that says the number of a child which it does not wait for.
    async fn parent() -> (Process, u32) {
        let script = "sleep 1000 & echo $!; wait";
        let program = Program::new("/bin/bash").args(["-c", script]);
        let (process, mut pipes) =
            program.env([("PATH", "/usr/bin:/bin")]).start_with_pipes().expect("started");
        let (mut text, mut byte) = (String::new(), [0]);
        while !text.ends_with('\n') {
            pipes.output.read_exact(&mut byte).await.expect("a number");
            text.push(byte[0] as char);
        }
        (process, text.trim().parse().expect("a number"))
    }

    async fn until_gone(pid: u32) {
        let is_there = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
        };
        while is_there() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_group_ends_with_its_handle_or_when_it_is_told() {
        let (process, child) = parent().await;
        drop(process);
        until_gone(child).await;
        for patience in [Duration::ZERO, Duration::from_secs(10)] {
            let (mut process, child) = parent().await;
            assert!(process.is_running());
            process.stop(patience).await;
            assert!(!process.is_running());
            until_gone(child).await;
        }
    }
}
