//! One command at a time works on a deployment; the second says who holds the lock.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use steppe_wire::hint::Hinted;

use crate::project::{Workspace, make_private, private_file};

/// Takes the lock of a deployment until the file is closed.
pub fn lock(workspace: &Workspace, verb: &str) -> Result<File> {
    let scratch = workspace.scratch();
    let file = scratch.join(file_name(&workspace.names.stack()));
    make_private(&scratch)?;
    let mut lock = private_file()
        .read(true)
        .truncate(false)
        .open(&file)
        .with_context(|| format!("cannot open {}", file.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", file.display()));
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            lock.read_to_string(&mut holder)
                .with_context(|| format!("cannot read {}", file.display()))?;
            bail!(Hinted::new(
                format!("another command works on {}: {}", workspace.names.stack(), holder.trim()),
                "wait until it has ended",
            ));
        }
    }
    let holder = format!(
        "`cargo xtask {verb}`, process {}, since {}",
        std::process::id(),
        jiff::Timestamp::now().strftime("%H:%M:%S UTC")
    );
    lock.set_len(0)
        .and_then(|()| lock.write_all(holder.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(lock)
}

/// Whether a command works on another deployment than the one with this stack.
pub fn others_work(scratch: &Path, own_stack: Option<&str>) -> bool {
    let own = own_stack.map(file_name);
    let entries = std::fs::read_dir(scratch).into_iter().flatten().flatten();
    entries.filter(|e| e.path().extension().is_some_and(|e| e == "lock")).any(|entry| {
        let is_own = own.as_ref().is_some_and(|own| entry.file_name().to_str() == Some(own));
        let is_held = || {
            let file = File::options().read(true).write(true).open(entry.path());
            file.is_ok_and(|f| matches!(f.try_lock(), Err(TryLockError::WouldBlock)))
        };
        !is_own && is_held()
    })
}

fn file_name(stack: &str) -> String {
    format!("{stack}.lock")
}
