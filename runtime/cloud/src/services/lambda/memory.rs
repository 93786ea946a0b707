//! How much memory a function's processes use, and what happens when it is more than they may.
//!
//! Lambda's machines have as much memory as the function, and their kernel ends what needs more.
//! Here the memory that the processes have for themselves is added up 20 times a second; between
//! two looks a process can grow beyond its limit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Processes of one function that are added up.
const PROCESSES_MAX: usize = 1_024;
const MIB: u64 = 1024 * 1024;

/// Memory of a process and all its descendants.
#[derive(Debug)]
pub struct Memory {
    leader: u32,
    peak_bytes: AtomicU64,
}

impl Memory {
    /// Of the processes that `leader` started.
    pub fn of(leader: u32) -> Self {
        Self { leader, peak_bytes: AtomicU64::new(0) }
    }

    /// Waits until they use more than `limit_mb`; for ever when they do not.
    pub async fn outgrows(&self, limit_mb: u64) {
        loop {
            // The quick look counts pages of forks more than once, so the exact one decides.
            if self.look() > limit_mb * MIB && self.exact() > limit_mb * MIB {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The most that was seen since the last question.
    pub fn peak_mb(&self) -> u64 {
        self.look();
        self.peak_bytes.swap(0, Ordering::Relaxed).div_ceil(MIB)
    }

    fn look(&self) -> u64 {
        let used = family(self.leader).iter().filter_map(|pid| own_pages(*pid)).sum::<u64>();
        let bytes = used * page_bytes();
        self.peak_bytes.fetch_max(bytes, Ordering::Relaxed);
        bytes
    }

    fn exact(&self) -> u64 {
        family(self.leader).iter().filter_map(|pid| own_share_bytes(*pid)).sum()
    }
}

fn page_bytes() -> u64 {
    // SAFETY: `sysconf` touches no memory of this process.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4_096)
}

/// A process and its descendants.
fn family(leader: u32) -> Vec<u32> {
    let mut family = vec![leader];
    let mut at = 0;
    while at < family.len() && family.len() < PROCESSES_MAX {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", family[at]));
        for task in tasks.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    family
}

/// Resident pages that belong to no file.
fn own_pages(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut fields = text.split_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, of_files) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(resident.saturating_sub(of_files))
}

/// The same in bytes, where what several processes share is divided among them.
fn own_share_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_used_is_counted() {
        let own = Memory::of(std::process::id());
        let before = own.peak_mb();
        let used = std::hint::black_box(vec![1_u8; 64 * MIB as usize]);
        assert!(own.peak_mb() >= before.max(64), "{before} MB, then {}", own.peak_mb());
        assert!(own.exact() >= 64 * MIB);
        drop(used);
    }
}
