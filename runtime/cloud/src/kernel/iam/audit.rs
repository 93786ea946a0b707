//! The log of what sessions of roles called: `audit.ndjson`, one JSON object a line.
//!
//! It is rotated: the last [`BYTES_MAX`] bytes or less are in `audit.ndjson`, the ones before in
//! `audit.ndjson.1`, older ones are gone.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use serde_json::json;

use crate::kernel::cloud::iso;

/// Bytes after which a new file is begun.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Log of what roles called.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    bytes_max: u64,
    log: Mutex<Log>,
}

#[derive(Debug)]
struct Log {
    file: File,
    bytes: u64,
}

/// One decision.
pub(super) struct Entry<'a> {
    pub caller: &'a str,
    pub action: &'a str,
    pub resource: &'a str,
    pub allowed: bool,
    pub statements: &'a [String],
}

impl Audit {
    /// Appends to `audit.ndjson` in `dir`.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, BYTES_MAX)
    }

    fn open_with(dir: &Path, bytes_max: u64) -> Result<Self> {
        let path = dir.join("audit.ndjson");
        let log = open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { path, bytes_max, log: Mutex::new(log) })
    }

    /// Writes one line. A line that does not fit on the disk leaves nothing behind.
    pub(super) fn write(&self, entry: &Entry<'_>) -> std::io::Result<()> {
        let line = json!({
            "time": iso(jiff::Timestamp::now()), "caller": entry.caller, "action": entry.action,
            "resource": entry.resource, "allowed": entry.allowed, "statements": entry.statements,
        });
        let line = format!("{line}\n");
        let mut log = self.log.lock();
        if log.bytes > 0 && log.bytes + line.len() as u64 > self.bytes_max {
            std::fs::rename(&self.path, self.path.with_extension("ndjson.1"))?;
            *log = open(&self.path)?;
        }
        if let Err(error) = log.file.write_all(line.as_bytes()) {
            let bytes = log.bytes;
            log.file.set_len(bytes)?;
            return Err(error);
        }
        log.bytes += line.len() as u64;
        Ok(())
    }
}

fn open(path: &Path) -> std::io::Result<Log> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Log { file, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(resource: &str) -> Entry<'_> {
        Entry { caller: "c", action: "s3:GetObject", resource, allowed: true, statements: &[] }
    }

    #[test]
    fn the_log_is_bounded() {
        let dir = std::env::temp_dir().join(format!("audit-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let audit = Audit::open_with(&dir, 1_000).expect("a log");
        for number in 0..100 {
            audit.write(&entry(&format!("arn:aws:s3:::bucket/{number}"))).expect("written");
        }
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).expect("readable");
        let (new, old) = (read("audit.ndjson"), read("audit.ndjson.1"));
        assert!(new.len() <= 1_000 && old.len() <= 1_000, "{} and {}", new.len(), old.len());
        assert!(new.ends_with('\n') && new.contains("bucket/99\""), "{new}");
        assert!(!old.contains("bucket/1\""), "{old}");
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn a_line_that_cannot_be_written_is_an_error() {
        let full = Audit {
            path: PathBuf::from("/dev/full"),
            bytes_max: BYTES_MAX,
            log: Mutex::new(Log {
                file: OpenOptions::new().append(true).open("/dev/full").expect("opens"),
                bytes: 0,
            }),
        };
        assert!(full.write(&entry("arn:aws:s3:::bucket/x")).is_err());
    }
}
