//! Versions: their IDs, the names of their rows, and their order.
//!
//! The current version of a key is in the table of objects, under the key. All others, and delete
//! markers, are in the table of versions, each key's newest first. So a bucket without versions
//! never looks into the second table, and listings of objects see no markers.

use base64::Engine;
use base64::alphabet::Alphabet;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;

/// AWS's IDs of versions have these characters.
const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._";
/// Bytes of an ID: eight of the sequence, the others random.
const ID_BYTES: usize = 24;

/// The version that a request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The newest one.
    Current,
    /// The one that was written while the bucket kept no versions.
    Null,
    /// The one with this ID.
    Id(String),
}

impl Which {
    /// Whether `version` is meant; that of an object that is the current one.
    pub fn means(&self, version: Option<&str>) -> bool {
        match self {
            Self::Current => true,
            Self::Null => version.is_none(),
            Self::Id(id) => version == Some(id),
        }
    }
}

fn coding() -> GeneralPurpose {
    let alphabet = Alphabet::new(ALPHABET).expect("64 different characters");
    GeneralPurpose::new(&alphabet, NO_PAD)
}

/// A new ID for the version with that sequence.
pub fn new_id(sequence: u64) -> String {
    let mut bytes = [0; ID_BYTES];
    bytes[..8].copy_from_slice(&sequence.to_be_bytes());
    bytes[8..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    coding().encode(bytes)
}

/// The sequence of the version with that ID; `None` when it is no ID.
pub fn sequence_of(id: &str) -> Option<u64> {
    let bytes: [u8; ID_BYTES] = coding().decode(id).ok()?.try_into().ok()?;
    bytes[..8].try_into().ok().map(u64::from_be_bytes)
}

/// What the names of a key's rows begin with: the key, in which a NUL is written so that no key's
/// rows lie among those of another, and its end.
pub fn of_key(key: &str) -> String {
    format!("{}\0\0", written(key))
}

/// What the names of the rows begin with whose keys begin with `prefix`.
pub fn written(prefix: &str) -> String {
    prefix.replace('\0', "\0\u{1}")
}

/// The name of a version's row.
pub fn row(key: &str, sequence: u64) -> String {
    format!("{}{:016x}", of_key(key), !sequence)
}

/// The key of a row.
pub fn key_of(row: &str) -> String {
    let end = row.find("\0\0").unwrap_or(row.len());
    row[..end].replace("\0\u{1}", "\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_sequence_and_the_form_of_aws() {
        let id = new_id(7);
        assert_eq!((id.len(), sequence_of(&id)), (32, Some(7)));
        assert_ne!(id, new_id(7));
        for other in ["", "null", "v", &"-".repeat(32), &id[..31]] {
            assert_eq!(sequence_of(other), None, "{other}");
        }
    }

    #[test]
    fn rows_follow_the_order_of_their_keys_and_the_newest_is_first() {
        let keys = ["a", "a\0", "a\0b", "a\u{1}", "ab", "b"];
        let rows: Vec<String> =
            keys.iter().flat_map(|key| [row(key, 9), row(key, 8), row(key, 7)]).collect();
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        assert_eq!(rows, sorted);
        for (row, key) in rows.iter().step_by(3).zip(keys) {
            assert_eq!(key_of(row), key);
            let own = rows.iter().filter(|row| row.starts_with(&of_key(key))).count();
            assert_eq!(own, 3, "{key:?}");
        }
    }
}
