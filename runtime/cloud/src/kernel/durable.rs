//! Files that are there whole or not at all, also after a crash of the machine.

use std::io::Write;
use std::path::Path;

/// Replaces a file whole, durably: its readers see the old bytes or the new ones, also after a
/// crash of the machine.
pub fn replace_file(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let written = write_durably(&new, bytes).and_then(|()| std::fs::rename(&new, file));
    if let Err(error) = written {
        // A full disk must not stay full of what nobody will read; the error that counts is above.
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    file.parent().map_or(Ok(()), sync_dir)
}

fn write_durably(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(file)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Removes the folders in a folder that have none of these names; there need be none.
pub fn keep_only(folder: &Path, names: &[String]) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !names.iter().any(|name| entry.file_name() == name.as_str()) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Makes renames and deletions in a folder durable.
pub fn sync_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}
