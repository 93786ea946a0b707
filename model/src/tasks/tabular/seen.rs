//! Which rows a model has learnt from, so that a contest is held on others.
//!
//! A Bloom filter (Bloom 1970): of rows that were not seen about one in a hundred counts as seen,
//! and of those that were seen none as new.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bits per row, and hashes: about one error in a hundred.
const BITS: usize = 10;
const HASHES: u64 = 7;
/// Bytes that are read, at most.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Rows that were seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seen {
    /// The bits, in hexadecimal.
    bits: String,
}

impl Seen {
    /// Of the keys of rows.
    pub fn of(keys: impl ExactSizeIterator<Item = String>) -> Self {
        let mut bytes = vec![0_u8; (keys.len() * BITS).div_ceil(8).max(8)];
        for key in keys {
            for bit in places(&key, bytes.len()) {
                bytes[bit / 8] |= 1 << (bit % 8);
            }
        }
        Self { bits: hex::encode(bytes) }
    }

    /// What tells whether a key was seen.
    pub fn reader(&self) -> impl Fn(&str) -> bool + use<> {
        let bytes = hex::decode(&self.bits).unwrap_or_default();
        move |key| {
            !bytes.is_empty()
                && places(key, bytes.len()).all(|bit| bytes[bit / 8] & (1 << (bit % 8)) != 0)
        }
    }

    /// Refuses what was not written here.
    pub fn check(&self) -> Result<(), String> {
        let sound = self.bits.len() <= 2 * BYTES_MAX && hex::decode(&self.bits).is_ok();
        sound.then_some(()).ok_or_else(|| "the rows that were seen are no bits".to_owned())
    }
}

fn places(key: &str, bytes: usize) -> impl Iterator<Item = usize> + use<> {
    let hash = Sha256::digest(key);
    let word = |at: usize| u64::from_le_bytes(hash[at..at + 8].try_into().expect("eight bytes"));
    let (first, second) = (word(0), word(8) | 1);
    let bits = bytes as u64 * 8;
    (0..HASHES).map(move |n| (first.wrapping_add(n.wrapping_mul(second)) % bits) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_and_of_the_rest_one_in_a_hundred() {
        let seen = Seen::of((0..5_000).map(|n| n.to_string()));
        assert_eq!(seen.check(), Ok(()));
        let known = seen.reader();
        assert!((0..5_000).all(|n| known(&n.to_string())));
        let wrong = (5_000..25_000).filter(|n| known(&n.to_string())).count();
        assert!((50..400).contains(&wrong), "{wrong} of 20,000");
        assert!(!Seen { bits: String::new() }.reader()("1"));
    }
}
