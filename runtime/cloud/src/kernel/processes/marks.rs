//! Processes known by what they have in their environment, also when nobody holds them any more.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::{Signal, tell};

/// A process that keeps forking is looked for this often.
const SWEEPS_MAX: usize = 20;

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
    use crate::kernel::processes::Program;

    #[tokio::test]
    async fn a_process_is_found_by_its_mark_and_ended() {
        let value = uuid::Uuid::new_v4().to_string();
        let program = Program::new("sleep").args(["1000"]).env([("STEPPE_TEST", &value)]);
        let mut process = program.start().expect("started");
        assert_eq!(marked("STEPPE_TEST", &value), [process.id()]);
        assert_eq!(end_marked("STEPPE_TEST", &value), 1);
        assert!(!process.wait().await.expect("ended").success());
        assert_eq!(end_marked("STEPPE_TEST", &value), 0);
    }

    #[tokio::test]
    async fn the_process_behind_a_connection_is_known() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let local = listener.local_addr().expect("an address");
        let value = uuid::Uuid::new_v4().to_string();
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; sleep 1000", local.port());
        let program = Program::new("bash").args(["-c", &script]).env([("STEPPE_TEST", &value)]);
        let process = program.start().expect("started");
        let (_connection, peer) = listener.accept().await.expect("connects");
        assert!(made_by(local, peer, process.id(), "STEPPE_TEST", &value));
        assert!(!made_by(local, peer, process.id(), "STEPPE_TEST", "another"));
        let _own = tokio::net::TcpStream::connect(local).await.expect("connects");
        let (_connection, own) = listener.accept().await.expect("connects");
        assert!(!made_by(local, own, process.id(), "STEPPE_TEST", &value));
    }
}
