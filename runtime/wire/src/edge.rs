//! What is refused at every edge, because what lies behind it could not answer: the predictor sends
//! nothing on that the model server refuses, and the server asks S3 nothing that S3 refuses.

use thiserror::Error;

/// Longest key of an object in S3, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Largest body of a forecast request.
pub const BODY_BYTES_MAX: usize = 128 * 1024;
/// Length of a model's version.
const VERSION_LENGTH: usize = 16;

/// Why a text is no key of a data set, or no version of a model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EdgeError {
    /// No key at all.
    #[error("`dataset_key` is not a key: it is empty")]
    Empty,
    /// Longer than S3's keys.
    #[error("`dataset_key` is not a key: it has {0} bytes, S3 takes at most {KEY_BYTES_MAX}")]
    TooLong(usize),
    /// Control characters, which no listing can show.
    #[error("`dataset_key` is not a key: it has a control character")]
    Control,
    /// A part between two slashes that clients of S3 resolve differently.
    #[error("`dataset_key` is not a key: it has a part that is empty, `.` or `..`")]
    Part,
    /// Not the shortened hash of a card.
    #[error(
        "`model_version` is not a version: expected {VERSION_LENGTH} digits and letters a to f"
    )]
    Version,
}

/// Checks the key of an object, or a prefix that ends with `/`.
pub fn check_key(key: &str) -> Result<(), EdgeError> {
    if key.is_empty() {
        return Err(EdgeError::Empty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(EdgeError::TooLong(key.len()));
    }
    if key.chars().any(char::is_control) {
        return Err(EdgeError::Control);
    }
    let parts = key.strip_suffix('/').unwrap_or(key);
    if parts.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(EdgeError::Part);
    }
    Ok(())
}

/// Checks the version of a model: 16 hexadecimal digits in lower case.
pub fn check_version(version: &str) -> Result<(), EdgeError> {
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if version.len() == VERSION_LENGTH && version.bytes().all(digit) {
        Ok(())
    } else {
        Err(EdgeError::Version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_s3_takes_and_every_client_resolves_alike() {
        for key in ["processed/marriages/", "a", "a b/ц.parquet", &"k".repeat(KEY_BYTES_MAX)] {
            assert_eq!(check_key(key), Ok(()), "{key}");
        }
        let cases = [
            ("", EdgeError::Empty),
            ("/", EdgeError::Part),
            ("a//b", EdgeError::Part),
            ("/a", EdgeError::Part),
            ("a/../b", EdgeError::Part),
            ("./", EdgeError::Part),
            ("a\u{1}", EdgeError::Control),
            ("a\r\nHost: x", EdgeError::Control),
        ];
        for (key, error) in cases {
            assert_eq!(check_key(key), Err(error), "{key:?}");
        }
        let long = "ц".repeat(513);
        assert_eq!(check_key(&long), Err(EdgeError::TooLong(1_026)), "bytes count");
    }

    #[test]
    fn versions_are_shortened_hashes() {
        assert_eq!(check_version("0123456789abcdef"), Ok(()));
        for version in ["", "old", "0123456789ABCDEF", "0123456789abcde/", "0123456789abcdef0"] {
            assert_eq!(check_version(version), Err(EdgeError::Version), "{version}");
        }
    }
}
