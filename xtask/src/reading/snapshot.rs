//! A private copy of the data, for as long as a command works on them.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::project::{make_private, private_file};

/// The folder of the copies, in `.steppe`.
const FOLDER: &str = "copies";
/// The file in it that is locked while copies are made and removed.
const GATE: &str = "gate";
/// Largest object that S3 takes.
const BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024 * 1024;
/// The number of the next copy.
static NUMBER: AtomicUsize = AtomicUsize::new(1);
/// Names that are tried for a copy, at most.
const COPIES_MAX: usize = 20_000;

/// A file that only its owner reads and that goes with this value.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    /// Locked, so that no other command takes it for one that was left behind.
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Snapshot {
    /// An empty file; what killed commands left behind is removed.
    pub fn new(scratch: &Path) -> Result<Self> {
        let folder = scratch.join(FOLDER);
        make_private(&folder)?;
        let gate = folder.join(GATE);
        let context = || format!("cannot make a copy of the data in {}", folder.display());
        let gate = private_file().truncate(false).open(gate).with_context(context)?;
        gate.lock().with_context(context)?;
        sweep(&folder).with_context(context)?;
        for _ in 0..COPIES_MAX {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{}-{number}.csv", std::process::id()));
            if path.exists() {
                continue;
            }
            let file = private_file().create_new(true).open(&path).with_context(context)?;
            file.lock().with_context(context)?;
            return Ok(Self { path, file, hash: Sha256::new(), bytes: 0 });
        }
        bail!("{} has too many copies of this command", folder.display())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of what was written.
    pub fn sha256(&self) -> String {
        let digest = self.hash.clone().finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// From its beginning.
    pub fn read(&self) -> Result<File> {
        File::open(&self.path).with_context(|| format!("cannot read {}", self.path.display()))
    }
}

/// Removes the copies that no command holds any more.
fn sweep(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_left = path.extension().is_some_and(|e| e == "csv")
            && File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if is_left {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

impl Write for Snapshot {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes + part.len() as u64 > BYTES_MAX {
            return Err(io::Error::other("they have more than 5 TB, which S3 takes as one object"));
        }
        let written = self.file.write(part).map_err(|error| {
            let path = self.path.display();
            io::Error::new(error.kind(), format!("cannot write the copy {path}: {error}"))
        })?;
        self.hash.update(&part[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next command.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_goes_with_its_command_and_what_was_left_with_the_next() {
        let scratch = tempfile::TempDir::new().expect("a folder");
        let mut copy = Snapshot::new(scratch.path()).expect("a copy");
        copy.write_all(b"region\n").expect("written");
        assert_eq!((copy.bytes(), &copy.sha256()[..8]), (7, "42b8bfc4"));
        let left = copy.path().with_file_name("1-1.csv");
        std::fs::write(&left, "left by a killed command").expect("written");
        let second = Snapshot::new(scratch.path()).expect("a second copy");
        assert!(copy.path().exists() && second.path() != copy.path() && !left.exists());
        let path = copy.path().to_owned();
        drop(copy);
        assert!(!path.exists() && second.path().exists());
    }
}
