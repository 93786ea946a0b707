//! The state folder: private, and held by one cloud at a time.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use steppe_wire::hint::Hinted;

/// Folders of private things are their owner's only.
const FOLDER_MODE: u32 = 0o700;
/// So are files.
const FILE_MODE: u32 = 0o600;

/// A state folder that belongs to this process until it ends. The kernel gives the lock back
/// also when the process is killed.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    lock: File,
}

impl StateFolder {
    /// Makes the folder if it is missing, closes it to other users and takes it, or says who
    /// holds it.
    pub fn take(path: &Path) -> Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("no folder {}", path.display()))?;
        if path.to_string_lossy().contains([':', '\n', '"']) {
            bail!(Hinted::new(
                format!(
                    "the state folder {} has a colon, quote or line end in its path, which \
                     programs of instances cannot be given",
                    path.display()
                ),
                "move the folder to another path"
            ));
        }
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path.join("lock"))
            .with_context(|| format!("cannot open {}", path.join("lock").display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).context("cannot read who holds the folder")?;
                let (path, holder) = (path.display(), holder.trim());
                bail!(Hinted::new(
                    format!("the state folder {path} is held by another embedded cloud: {holder}"),
                    "stop it with `cargo xtask local stop`, or take another folder"
                ));
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).context("the state folder cannot be locked");
            }
        }
        close(&path).with_context(|| format!("cannot close {} to others", path.display()))?;
        let held = Self { path, lock };
        held.describe(&format!("process {}", std::process::id()))?;
        Ok(held)
    }

    /// The folder, without links and dots in its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What another cloud is told that wants the folder, too.
    pub fn describe(&self, holder: &str) -> Result<()> {
        let mut lock = &self.lock;
        let written =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{holder}"));
        written.context("cannot write into the lock of the state folder")
    }
}

/// Takes the rights of others away. What lies in a closed folder was closed when it was made, so
/// only a folder of an earlier version is gone through.
fn close(path: &Path) -> std::io::Result<()> {
    if std::fs::metadata(path)?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    // The inside first: a crash in between must not leave a closed folder with open files.
    close_contents(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))
}

fn close_contents(path: &Path) -> std::io::Result<()> {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                continue;
            }
            let mode = entry.metadata()?.permissions().mode() & 0o7700;
            std::fs::set_permissions(entry.path(), Permissions::from_mode(mode))?;
            if kind.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

/// Writes a new random identity into the folder and returns it. Who knows it has read the folder,
/// so a cloud that answers with it is the one that serves this folder; a copy of the folder gets
/// another one as soon as it is served.
pub fn new_identity(path: &Path) -> Result<String> {
    let mut random = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("the system gives no random numbers")?;
    let identity = hex::encode(random);
    let file = path.join("identity");
    write_private(&file, identity.as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(identity)
}

/// Replaces a file whole; only its owner can read it.
pub fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(FILE_MODE);
        let mut handle = options.open(&new)?;
        handle.write_all(bytes)?;
        handle.sync_data()?;
        std::fs::rename(&new, file)
    };
    let written = write();
    if written.is_err() {
        // The error that counts is the first one.
        let _ = std::fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_is_closed_with_all_that_is_in_it_and_held_once() {
        let scratch = tempfile::tempdir().expect("a folder");
        let state = scratch.path().join("local");
        std::fs::create_dir_all(state.join("state/roles")).expect("made");
        std::fs::write(state.join("state/roles/a.json"), "{}").expect("written");
        std::fs::set_permissions(&state, Permissions::from_mode(0o755)).expect("set");
        let held = StateFolder::take(&state).expect("free");
        assert_eq!(mode(&state), 0o700);
        assert_eq!(mode(&state.join("state/roles")) & 0o077, 0);
        assert_eq!(mode(&state.join("state/roles/a.json")) & 0o077, 0);
        held.describe("process 7, port 8").expect("written");
        let error = format!("{:#}", StateFolder::take(&state).expect_err("held"));
        assert!(error.contains("process 7, port 8"), "{error}");
        drop(held);
        StateFolder::take(&state).expect("free again");
        let (first, second) = (new_identity(&state).expect("one"), new_identity(&state));
        assert_ne!(first, second.expect("another"));
        assert_eq!(mode(&state.join("identity")), 0o600);
    }
}
