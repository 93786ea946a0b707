//! What a Linux binary needs to run: its architecture and the newest glibc symbol it asks for.

use object::read::elf::{ElfFile64, Sym};
use object::{Endianness, Object};
use steppe_spec::Manifest;
use thiserror::Error;

/// The glibc of Amazon Linux 2023, which Lambda's `provided.al2023` and the server's image have.
pub const AL2023_GLIBC: (u32, u32) = (2, 34);

/// Processor architectures that AWS offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// The name that Lambda and the image's parameter use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }

    /// The instance type for it: the manifest's, or the smallest sensible one.
    pub fn instance_type(self, manifest: &Manifest) -> &str {
        let default = match self {
            Self::X86_64 => "t3.micro",
            Self::Arm64 => "t4g.micro",
        };
        manifest.stack.instance_type.get(self.as_str()).map_or(default, String::as_str)
    }
}

/// Why a binary cannot be deployed.
#[derive(Debug, Error)]
pub enum ElfError {
    /// Not an ELF file.
    #[error("`{name}` is not a Linux binary: {reason}")]
    NotElf {
        /// The binary.
        name: String,
        /// The parser's words.
        reason: String,
    },
    /// An architecture that AWS does not offer.
    #[error("`{name}` is built for {found}; AWS offers x86-64 and 64-bit ARM")]
    Architecture {
        /// The binary.
        name: String,
        /// Its architecture.
        found: String,
    },
    /// A glibc newer than Amazon Linux 2023's.
    #[error(
        "`{name}` needs glibc {}.{}, Amazon Linux 2023 has {}.{}",
        .found.0, .found.1, AL2023_GLIBC.0, AL2023_GLIBC.1
    )]
    Glibc {
        /// The binary.
        name: String,
        /// The newest glibc symbol version it needs.
        found: (u32, u32),
    },
}

impl ElfError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotElf { .. } => Some("build on Linux, or with a Linux target"),
            Self::Architecture { .. } => None,
            Self::Glibc { .. } => Some(
                "build where glibc is not newer, for example in a container of amazonlinux:2023 \
                 or debian:11, with this folder as it is: `cargo xtask deploy` there, or its \
                 `target/release` here with STEPPE_SKIP_BUILD=1",
            ),
        }
    }
}

/// Checks that `bytes` run on Amazon Linux 2023; returns their architecture.
pub fn check(name: &str, bytes: &[u8]) -> Result<Architecture, ElfError> {
    let not_elf =
        |e: object::Error| ElfError::NotElf { name: name.to_owned(), reason: e.to_string() };
    let file = ElfFile64::<Endianness>::parse(bytes).map_err(not_elf)?;
    let architecture = match file.architecture() {
        object::Architecture::X86_64 => Architecture::X86_64,
        object::Architecture::Aarch64 => Architecture::Arm64,
        other => {
            return Err(ElfError::Architecture {
                name: name.to_owned(),
                found: format!("{other:?}"),
            });
        }
    };
    match newest_glibc(&file).map_err(not_elf)? {
        Some(found) if found > AL2023_GLIBC => {
            Err(ElfError::Glibc { name: name.to_owned(), found })
        }
        _ => Ok(architecture),
    }
}

/// The newest `GLIBC_x.y` among the undefined symbols that the loader insists on; weak ones are
/// optional.
fn newest_glibc(file: &ElfFile64<'_, Endianness>) -> object::Result<Option<(u32, u32)>> {
    let (endian, data, sections) = (file.endian(), file.data(), file.elf_section_table());
    let Some(versions) = sections.versions(endian, data)? else { return Ok(None) };
    let symbols = sections.symbols(endian, data, object::elf::SHT_DYNSYM)?;
    let mut newest = None;
    for (index, symbol) in symbols.enumerate() {
        let weak = symbol.st_bind() == object::elf::STB_WEAK;
        if !symbol.is_undefined(endian) || weak {
            continue;
        }
        let Some(version) = versions.version(versions.version_index(endian, index).into())? else {
            continue;
        };
        let text = String::from_utf8_lossy(version.name());
        let numbers = text.strip_prefix("GLIBC_").and_then(|v| {
            let mut parts = v.split('.');
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        });
        newest = newest.max(numbers);
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_elf_is_refused_by_name() {
        let error = check("bootstrap", b"#!/bin/sh\n").expect_err("not ELF").to_string();
        assert!(error.starts_with("`bootstrap` is not a Linux binary"), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_very_test_is_recognised() {
        let bytes = std::fs::read(std::env::current_exe().expect("own path")).expect("own bytes");
        let expected =
            if cfg!(target_arch = "x86_64") { Architecture::X86_64 } else { Architecture::Arm64 };
        match check("test", &bytes) {
            Ok(found) => assert_eq!(found, expected),
            Err(ElfError::Glibc { found, .. }) => assert!(found > AL2023_GLIBC),
            Err(other) => panic!("{other}"),
        }
    }
}
