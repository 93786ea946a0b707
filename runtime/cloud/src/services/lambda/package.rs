//! Deployment packages: brought along or fetched from S3, and unpacked.
//!
//! Differences from AWS: a package without `bootstrap` and one with symbolic links are refused
//! here, not when the function is invoked.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::function::invalid;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::s3::{StoreError, Which};

/// Bytes of a package that a request brings along.
const ZIP_BYTES_MAX: usize = 50 * 1024 * 1024;
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

/// The bytes of a package that a request brings along or names in S3.
pub fn fetch(call: &Call<'_>, code: &Value) -> ApiResult<Vec<u8>> {
    let text = |name: &str| code[name].as_str();
    match (text("ZipFile"), text("S3Bucket"), text("S3Key")) {
        (Some(zip), None, None) => {
            let bytes = STANDARD.decode(zip).map_err(|_| not_a_package())?;
            if bytes.len() > ZIP_BYTES_MAX {
                let message = format!("Zip file must be smaller than {ZIP_BYTES_MAX} bytes");
                return Err(invalid(message));
            }
            Ok(bytes)
        }
        (Some(_), ..) => {
            let message =
                "Please do not provide other FunctionCode parameters when providing a ZipFile.";
            Err(invalid(message))
        }
        (None, Some(bucket), Some(key)) => from_s3(call, bucket, key, text("S3ObjectVersion")),
        _ => Err(invalid("Please provide a source for function code.")),
    }
}

/// Reads a package from S3, with the rights of the caller.
fn from_s3(call: &Call<'_>, bucket: &str, key: &str, version: Option<&str>) -> ApiResult<Vec<u8>> {
    let cloud = call.cloud;
    let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    let allowed =
        cloud.authorize(call.caller, action, &format!("arn:aws:s3:::{bucket}/{key}"), &[]);
    allowed.map_err(|error| {
        let message = format!(
            "Your access has been denied by S3, please make sure your request credentials have \
             permission to GetObject for {bucket}/{key}. S3 Error Code: AccessDenied. S3 Error \
             Message: {}",
            error.message
        );
        ApiError::new("AccessDeniedException", message).with_status(403)
    })?;
    let which = match version {
        None => Which::Current,
        Some("null") => Which::Null,
        Some(id) => Which::Id(id.to_owned()),
    };
    let s3 = &cloud.services.s3;
    let opened = s3.open_version(bucket, key, &which);
    let read =
        opened.and_then(|(object, file)| s3.reader(&object, file, 0..object.size)?.read_all());
    read.map_err(|error| {
        let code = match &error {
            StoreError::NoSuchBucket | StoreError::InvalidName => "NoSuchBucket",
            StoreError::NoSuchVersion => "NoSuchVersion",
            StoreError::NoSuchKey | StoreError::Marker(_) => "NoSuchKey",
            _ => return ApiError::internal(error),
        };
        invalid(format!(
            "Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {error}"
        ))
    })
}

fn not_a_package() -> ApiError {
    let message =
        "Could not unzip uploaded file. Please check your file, then try to upload again.";
    invalid(message)
}

/// Unpacks a package. The directory is there with all its files or not at all. Blocks.
pub fn unpack(cloud: &Cloud, name: &str, package: &[u8]) -> ApiResult<Package> {
    let hash = Sha256::digest(package);
    let directory = folder(cloud, name).join(hex::encode(&hash[..8]));
    if !directory.exists() {
        let incoming = folder(cloud, name).join(format!("incoming-{}", uuid::Uuid::new_v4()));
        let unpacked = unpack_into(package, &incoming, UNPACKED_BYTES_MAX).and_then(|()| {
            std::fs::rename(&incoming, &directory).map_err(|e| format!("the disk failed: {e}"))
        });
        if let Err(error) = unpacked {
            // What cannot be deleted now is deleted at the next start.
            let _ = std::fs::remove_dir_all(&incoming);
            // Somebody else may have unpacked the same package meanwhile.
            if !directory.exists() {
                return Err(invalid(error));
            }
        }
    }
    Ok(Package { directory, sha256: sha256(package), bytes: package.len() })
}

/// The hash of a package as the API shows it.
pub fn sha256(package: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(package))
}

/// Whether a package could be unpacked.
pub fn check(package: &[u8]) -> ApiResult<()> {
    let archive = zip::ZipArchive::new(std::io::Cursor::new(package));
    archive.map(drop).map_err(|_| not_a_package())
}

fn unpack_into(package: &[u8], directory: &Path, bytes_max: u64) -> Result<(), String> {
    let unreadable = |_| not_a_package().message;
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
    let lambda = &cloud.services.lambda;
    let Some(all) = lambda.functions.complete().filter(|_| !lambda.versions.lacks_some()) else {
        return;
    };
    for function in folders(&cloud.path("lambda")) {
        let name = function.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if !all.iter().any(|(known, _)| known == name) {
            remove(&function);
            continue;
        }
        let versions = super::versions::all(cloud, name);
        let is_used = |package: &PathBuf| versions.iter().any(|(_, f)| f.directory == *package);
        for package in folders(&function).into_iter().filter(|package| !is_used(package)) {
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
    use tempfile::TempDir;
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

    fn unpacked(entries: &[(&str, &[u8])], max: u64) -> Result<TempDir, String> {
        let directory = tempfile::tempdir().expect("a folder");
        unpack_into(&package(entries), directory.path(), max).map(|()| directory)
    }

    #[test]
    fn folders_and_neighbours_are_unpacked() {
        let entries: [(&str, &[u8]); 4] =
            [("lib/", b""), ("lib/x.new", b"new"), ("lib/x", b"x"), ("bootstrap", b"#!")];
        let directory = unpacked(&entries, 100).expect("unpacked");
        let read = |name: &str| std::fs::read(directory.path().join(name)).expect("there");
        assert_eq!((read("lib/x.new"), read("lib/x")), (b"new".to_vec(), b"x".to_vec()));
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
