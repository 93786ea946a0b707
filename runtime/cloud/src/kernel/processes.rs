//! Processes that the cloud starts: functions, instances, engines. They end with it, whatever
//! happens to it.
//!
//! Three nets, one below the other. Everything is started in a process group of its own, which is
//! killed as a whole. Linux kills a direct child when the cloud dies (`PR_SET_PDEATHSIG`). And each
//! process has the state folder in its environment, so the next cloud on that folder finds what is
//! left of children's children and ends it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;

/// Variable in the environment of everything that a cloud starts: its state folder.
pub const MARK: &str = "STEPPE_CLOUD";
/// A process that keeps forking is looked for this often.
const SWEEPS_MAX: usize = 20;

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

/// Starts a child that leads a process group of its own and dies with this process. It must be
/// called within a runtime.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    let parent = std::process::id();
    command.process_group(0).kill_on_drop(true);
    // SAFETY: what runs between fork and exec only makes system calls; it takes no lock and
    // allocates nothing.
    unsafe {
        command.pre_exec(move || die_with(parent));
    }
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

/// Tells a process group.
pub fn tell_group(leader: u32, signal: Signal) {
    send(-i64::from(leader), signal);
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

/// Ends every process that has `name=value` in its environment; returns how many there were.
pub fn end_marked(name: &str, value: &str) -> usize {
    let mut ended = std::collections::BTreeSet::new();
    for _ in 0..SWEEPS_MAX {
        let found = marked(name, value);
        if found.is_empty() {
            break;
        }
        found.iter().for_each(|pid| tell(*pid, Signal::Kill));
        ended.extend(found);
        std::thread::yield_now();
    }
    ended.len()
}

/// Other processes that have `name=value` in their environment. Those of other users cannot be
/// looked into, and those that have ended have none.
fn marked(name: &str, value: &str) -> Vec<u32> {
    let mark = format!("{name}={value}");
    let own = std::process::id();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|p| p.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != own && has_mark(*pid, mark.as_bytes())).collect()
}

fn has_mark(pid: u32, mark: &[u8]) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark)
}

/// Whether the connection from `peer` to `local` on this machine was made by a process that has
/// `name=value` in its environment; `likely` is looked at first.
pub fn made_by(local: SocketAddr, peer: SocketAddr, likely: u32, name: &str, value: &str) -> bool {
    let Some(inode) = inode_of(local, peer) else { return false };
    let link = format!("socket:[{inode}]");
    let mark = format!("{name}={value}");
    (has_mark(likely, mark.as_bytes()) && holds(likely, &link))
        || marked(name, value).into_iter().any(|pid| holds(pid, &link))
}

fn holds(pid: u32, link: &str) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.into_iter().any(|f| std::fs::read_link(f.path()).is_ok_and(|l| l == Path::new(link)))
}

/// The inode of the other end of a connection.
fn inode_of(local: SocketAddr, peer: SocketAddr) -> Option<String> {
    let (local, peer) = (in_table(local)?, in_table(peer)?);
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = std::fs::read_to_string(table).ok()?;
        text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_it = fields.get(1)?.ends_with(&peer) && fields.get(2)?.ends_with(&local);
            is_it.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
        })
    })
}

/// `0100007F:1F90`, as Linux writes 127.0.0.1:8080; a socket for both families has it at its end.
fn in_table(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep(variable: (&str, &str)) -> Command {
        let mut command = Command::new("sleep");
        command.arg("1000").env(variable.0, variable.1);
        command
    }

    #[tokio::test]
    async fn a_process_is_found_by_its_mark_and_ended() {
        let value = uuid::Uuid::new_v4().to_string();
        let mut child = spawn(sleep(("STEPPE_TEST", &value))).expect("started");
        assert_eq!(marked("STEPPE_TEST", &value), [child.id().expect("running")]);
        assert_eq!(end_marked("STEPPE_TEST", &value), 1);
        assert!(!child.wait().await.expect("ended").success());
        assert_eq!(end_marked("STEPPE_TEST", &value), 0);
    }

    #[tokio::test]
    async fn the_process_behind_a_connection_is_known() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let local = listener.local_addr().expect("an address");
        let value = uuid::Uuid::new_v4().to_string();
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("exec 3<>/dev/tcp/127.0.0.1/{}; sleep 1000", local.port()));
        command.env("STEPPE_TEST", &value);
        let child = spawn(command).expect("started");
        let (_connection, peer) = listener.accept().await.expect("connects");
        let pid = child.id().expect("running");
        assert!(made_by(local, peer, pid, "STEPPE_TEST", &value));
        assert!(!made_by(local, peer, pid, "STEPPE_TEST", "another"));
        let _own = tokio::net::TcpStream::connect(local).await.expect("connects");
        let (_connection, own) = listener.accept().await.expect("connects");
        assert!(!made_by(local, own, pid, "STEPPE_TEST", &value));
    }
}
