//! Deployment packages: fetched from S3 and unpacked.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use sha2::{Digest, Sha256};

use crate::kernel::cloud::Cloud;

/// Bytes of an unpacked package, as in AWS.
const UNPACKED_BYTES_MAX: u64 = 250 * 1024 * 1024;
/// Entries of a package.
const ENTRIES_MAX: usize = 65_535;

/// An unpacked package.
#[derive(Debug)]
pub struct Package {
    /// Directory of its files.
    pub directory: PathBuf,
    /// SHA-256, base64.
    pub sha256: String,
    /// Size as it was uploaded.
    pub bytes: usize,
}

/// Folder of a function's packages.
pub fn folder(cloud: &Cloud, name: &str) -> PathBuf {
    cloud.path("lambda").join(name)
}

/// Fetches and unpacks a package. The directory is there with all its files or not at all.
pub fn unpack(cloud: &Cloud, name: &str, bucket: &str, key: &str) -> Result<Package, String> {
    let package = cloud
        .services
        .s3
        .read(bucket, key)
        .map_err(|e| format!("Error occurred while GetObject. S3 Error Message: {e}"))?;
    let hash = Sha256::digest(&package);
    let directory = folder(cloud, name).join(hex::encode(&hash[..8]));
    if !directory.exists() {
        let incoming = folder(cloud, name).join(format!("incoming-{}", uuid::Uuid::new_v4()));
        let unpacked = unpack_into(&package, &incoming, UNPACKED_BYTES_MAX).and_then(|()| {
            std::fs::rename(&incoming, &directory).map_err(|e| format!("the disk failed: {e}"))
        });
        if let Err(error) = unpacked {
            // What cannot be deleted now is deleted at the next start.
            let _ = std::fs::remove_dir_all(&incoming);
            return Err(error);
        }
    }
    let sha256 = base64::engine::general_purpose::STANDARD.encode(hash);
    Ok(Package { directory, sha256, bytes: package.len() })
}

fn unpack_into(package: &[u8], directory: &Path, bytes_max: u64) -> Result<(), String> {
    let unreadable = |e: zip::result::ZipError| format!("Could not unzip uploaded file: {e}");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(package)).map_err(unreadable)?;
    if archive.len() > ENTRIES_MAX {
        return Err(format!("the package has {} entries, {ENTRIES_MAX} at most", archive.len()));
    }
    let mut left = bytes_max;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(unreadable)?;
        let path = entry.enclosed_name().ok_or("the package has a file outside of it")?;
        if entry.is_symlink() {
            let link = path.display();
            return Err(format!("the embedded cloud unpacks no symbolic links: {link}"));
        }
        let target = directory.join(path);
        let failed = |e: std::io::Error| format!("{} cannot be unpacked: {e}", target.display());
        if entry.is_dir() {
            std::fs::create_dir_all(&target).map_err(failed)?;
            continue;
        }
        std::fs::create_dir_all(target.parent().unwrap_or(&target)).map_err(failed)?;
        // What an entry says about its size need not be true.
        let mut contents = entry.by_ref().take(left + 1);
        let written = write_executable(&target, &mut contents).map_err(failed)?;
        left = left
            .checked_sub(written)
            .ok_or_else(|| format!("Unzipped size must be smaller than {bytes_max} bytes"))?;
    }
    if !directory.join("bootstrap").is_file() {
        return Err("the package has no `bootstrap`".to_owned());
    }
    Ok(())
}

fn write_executable(target: &Path, contents: &mut impl Read) -> std::io::Result<u64> {
    let mut options = OpenOptions::new();
    let mut file: File = options.write(true).create_new(true).mode(0o700).open(target)?;
    let written = std::io::copy(contents, &mut file)?;
    file.flush()?;
    Ok(written)
}

/// Deletes what no function has any more: packages of older versions, and what a crash left.
pub fn remove_leftovers(cloud: &Cloud) {
    for function in folders(&cloud.path("lambda")) {
        let name = function.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let Some(record) = cloud.services.lambda.functions.get(name) else {
            remove(&function);
            continue;
        };
        for package in folders(&function).into_iter().filter(|p| *p != record.directory) {
            remove(&package);
        }
    }
}

fn folders(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|e| e.path()).collect()
}

fn remove(directory: &Path) {
    let removed = std::fs::remove_dir_all(directory);
    removed.unwrap_or_else(|e| tracing::error!("cannot delete {}: {e}", directory.display()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use zip::write::SimpleFileOptions;

    fn package(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        for (name, bytes) in entries {
            match name.strip_suffix('/') {
                Some(folder) => writer.add_directory(folder, options).expect("added"),
                None => {
                    writer.start_file(*name, options).expect("started");
                    writer.write_all(bytes).expect("written");
                }
            }
        }
        writer.finish().expect("finished").into_inner()
    }

    fn unpacked(entries: &[(&str, &[u8])], max: u64) -> Result<PathBuf, String> {
        let directory = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        unpack_into(&package(entries), &directory, max).map(|()| directory)
    }

    #[test]
    fn folders_and_neighbours_are_unpacked() {
        let entries: [(&str, &[u8]); 4] =
            [("lib/", b""), ("lib/x.new", b"new"), ("lib/x", b"x"), ("bootstrap", b"#!")];
        let directory = unpacked(&entries, 100).expect("unpacked");
        let read = |name: &str| std::fs::read(directory.join(name)).expect("there");
        assert_eq!((read("lib/x.new"), read("lib/x")), (b"new".to_vec(), b"x".to_vec()));
        std::fs::remove_dir_all(directory).expect("removed");
    }

    #[test]
    fn what_is_too_large_or_no_package_is_refused() {
        let zeros = vec![0; 1_000];
        let error = unpacked(&[("bootstrap", &zeros)], 999).expect_err("too large");
        assert_eq!(error, "Unzipped size must be smaller than 999 bytes");
        assert!(unpacked(&[("bootstrap", &zeros)], 1_000).is_ok());
        let error = unpacked(&[("x", b"")], 100).expect_err("no bootstrap");
        assert_eq!(error, "the package has no `bootstrap`");
        let error = unpacked(&[("../x", b"")], 100).expect_err("outside");
        assert!(error.contains("outside"), "{error}");
        assert!(unpack_into(b"no zip", Path::new("/nonexistent"), 1).is_err());
    }
}
