//! A log of JSON lines that is bounded: the last bytes or less are in its file, the ones before in
//! `FILE.1`, older ones are gone.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use serde_json::Value;

/// Bytes after which a new file is begun.
pub const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The log.
#[derive(Debug)]
pub struct Rotated {
    path: PathBuf,
    bytes_max: u64,
    log: Mutex<Log>,
}

#[derive(Debug)]
struct Log {
    file: File,
    bytes: u64,
}

impl Rotated {
    /// Appends to the file `name` in `dir`.
    pub fn open(dir: &Path, name: &str) -> Result<Self> {
        Self::open_with(dir, name, BYTES_MAX)
    }

    /// The same with another bound.
    pub fn open_with(dir: &Path, name: &str, bytes_max: u64) -> Result<Self> {
        let path = dir.join(name);
        let log = open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { path, bytes_max, log: Mutex::new(log) })
    }

    /// Writes one line. A line that does not fit on the disk leaves nothing behind.
    pub fn append(&self, line: &Value) -> std::io::Result<()> {
        let line = format!("{line}\n");
        let mut log = self.log.lock();
        if log.bytes > 0 && log.bytes + line.len() as u64 > self.bytes_max {
            std::fs::rename(&self.path, self.former())?;
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

    fn former(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".1");
        name.into()
    }

    /// Shows the lines, the newest first, until `each` has seen enough. What is no JSON, such as a
    /// line that a crash cut off, is passed over.
    pub fn newest_first(&self, mut each: impl FnMut(Value) -> bool) -> std::io::Result<()> {
        for path in [&self.path, &self.former()] {
            let text = match std::fs::read(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let lines = text.rsplit(|byte| *byte == b'\n');
            for value in lines.filter_map(|line| serde_json::from_slice(line).ok()) {
                if each(value) {
                    return Ok(());
                }
            }
        }
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
    use serde_json::json;

    use super::*;

    #[test]
    fn the_log_is_bounded_and_read_from_its_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Rotated::open_with(dir.path(), "log.ndjson", 1_000).expect("a log");
        for number in 0..100 {
            let line = json!({ "resource": format!("arn:aws:s3:::bucket/{number}"), "n": number });
            log.append(&line).expect("written");
        }
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("readable");
        let (new, old) = (read("log.ndjson"), read("log.ndjson.1"));
        assert!(new.len() <= 1_000 && old.len() <= 1_000, "{} and {}", new.len(), old.len());
        assert!(new.ends_with('\n') && new.contains("bucket/99\""), "{new}");
        assert!(!old.contains("bucket/1\""), "{old}");
        let mut numbers = Vec::new();
        log.newest_first(|line| {
            numbers.push(line["n"].as_u64().expect("a number"));
            numbers.len() == 30
        })
        .expect("readable");
        assert_eq!(numbers, (70..100).rev().collect::<Vec<_>>());
    }

    #[test]
    fn a_line_that_cannot_be_written_is_an_error() {
        let full = Rotated {
            path: PathBuf::from("/dev/full"),
            bytes_max: BYTES_MAX,
            log: Mutex::new(Log {
                file: OpenOptions::new().append(true).open("/dev/full").expect("opens"),
                bytes: 0,
            }),
        };
        assert!(full.append(&json!({ "resource": "arn:aws:s3:::bucket/x" })).is_err());
    }
}
